/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

#include <stdio.h>

/*
 * Whole answers that go to a client of the family as they are: the bytes are handed up as they come
 * and scanned on the way; counts and reasons are told at the end, when the JSON has proved whole.
 * An array is a stream without events: there a piece that holds the end of a part is told as text,
 * so that the answer begins. Ways to fail: bytes that are no JSON or end too early (BROKEN), an
 * error in the place of an answer (FAULT).
 */

enum {
    COUNTS, /* in the order of ps_gemini_decoder.counts, then countTokens' */
    REASON = COUNTS + PS_GEMINI_COUNTS + 1,
    PART,
    CALL,
    BLOCK_REASON,
    ERROR_CODE,
    ERROR_STATUS,
    ERROR_MESSAGE,
    ERROR,
    VALUES,
};

#define PATHS(before)                                                                              \
    {before "usageMetadata.promptTokenCount", false},                                              \
        {before "usageMetadata.cachedContentTokenCount", false},                                   \
        {before "usageMetadata.candidatesTokenCount", false},                                      \
        {before "usageMetadata.thoughtsTokenCount", false},                                        \
        {before "usageMetadata.toolUsePromptTokenCount", false},                                   \
        {before "usageMetadata.totalTokenCount", false}, {before "totalTokens", false},            \
        {before "candidates.*.finishReason", false},                                               \
        {before "candidates.*.content.parts.*", false},                                            \
        {before "candidates.*.content.parts.*.functionCall", false},                               \
        {before "promptFeedback.blockReason", false}, {before "error.code", false},                \
        {before "error.status", false}, {before "error.message", false},                           \
    {                                                                                              \
        before "error", false                                                                      \
    }
/* An object's, then those of an array's elements. */
static const struct ps_json_path list[2 * VALUES] = {PATHS(""), PATHS("*.")};

static struct ps_json_paths *paths;

int ps_gemini_tap_global_init(void)
{
    paths = ps_json_paths_new(list, 2 * (size_t)VALUES);
    return paths != NULL ? 0 : -1;
}

void ps_gemini_tap_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

/* ---- values ---- */

/* Its bytes, which may have begun in a piece that is gone; empty when it is too long for that. */
static struct ps_slice text_of(const struct ps_gemini_tap *tap, const struct ps_json_value *value,
                               char room[PS_GEMINI_TAIL])
{
    size_t len = (size_t)(value->end - value->start);
    size_t behind = value->start < tap->start ? (size_t)(tap->start - value->start) : 0;
    size_t of_tail = behind < len ? behind : len;

    if (len > PS_GEMINI_TAIL || behind > tap->tail_len) {
        return PS_SLICE_NONE;
    }
    if (behind == 0) {
        return ps_slice(tap->piece.ptr + (value->start - tap->start), len);
    }
    memcpy(room, tap->tail + tap->tail_len - behind, of_tail);
    if (of_tail < len) {
        memcpy(room + of_tail, tap->piece.ptr, len - of_tail);
    }
    return ps_slice(room, len);
}

static void keep_tail(struct ps_gemini_tap *tap)
{
    struct ps_slice piece = tap->piece;
    size_t keep;

    if (piece.len >= PS_GEMINI_TAIL) {
        memcpy(tap->tail, piece.ptr + piece.len - PS_GEMINI_TAIL, PS_GEMINI_TAIL);
        tap->tail_len = PS_GEMINI_TAIL;
        return;
    }
    keep = tap->tail_len < PS_GEMINI_TAIL - piece.len ? tap->tail_len : PS_GEMINI_TAIL - piece.len;
    memmove(tap->tail, tap->tail + tap->tail_len - keep, keep);
    memcpy(tap->tail + keep, piece.ptr, piece.len);
    tap->tail_len = keep + piece.len;
}

static void note_count(struct ps_gemini_tap *tap, int which, struct ps_slice raw)
{
    if (raw.len <= PS_GEMINI_NUMBER && raw.len > 0) {
        memcpy(tap->numbers[which], raw.ptr, raw.len);
        tap->told[which] = ps_slice(tap->numbers[which], raw.len);
    }
}

static void note_reason(struct ps_gemini_decoder *decoder, uint32_t index, struct ps_slice raw)
{
    struct ps_gemini_choice *choice;

    if (!ps_raw_says(raw) || index >= PS_GEMINI_CHOICES) {
        return;
    }
    choice = &decoder->choices[index];
    (void)snprintf(choice->word, sizeof(choice->word), "%.*s", (int)(raw.len - 2), raw.ptr + 1);
    if (decoder->choice_count <= index) {
        decoder->choice_count = index + 1;
    }
}

/* Members as JSON, so that they are read like any error's. */
static void note_error(struct ps_gemini_tap *tap, const char *name, struct ps_slice raw)
{
    size_t len = strlen(tap->error);
    size_t room = sizeof(tap->error) - len;

    if (raw.len > 0 && raw.len + strlen(name) + 8 < room) {
        (void)snprintf(tap->error + len, room, "%s\"%s\":%.*s", len > 0 ? "," : "", name,
                       (int)raw.len, raw.ptr);
    }
}

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_gemini_decoder *decoder = arg;
    struct ps_gemini_tap *tap = &decoder->tap;
    char room[PS_GEMINI_TAIL];
    struct ps_slice raw = value->type == PS_JSON_NULL ? PS_SLICE_NONE : text_of(tap, value, room);
    int path = value->path % VALUES;

    switch (path) {
    case PART:
        tap->said = true;
        break;
    case CALL:
        decoder->choices[0].calls++;
        break;
    case REASON:
        note_reason(decoder, value->element, raw);
        break;
    case BLOCK_REASON:
        if (decoder->choice_count == 0) {
            decoder->choices[0].blocked = ps_raw_says(raw);
            note_reason(decoder, 0, raw);
        }
        break;
    case ERROR_CODE:
    case ERROR_STATUS:
    case ERROR_MESSAGE:
        note_error(tap,
                   path == ERROR_CODE     ? "code"
                   : path == ERROR_STATUS ? "status"
                                          : "message",
                   raw);
        break;
    case ERROR:
        tap->is_error = value->type != PS_JSON_NULL;
        break;
    default:
        note_count(tap, path - COUNTS, raw);
        break;
    }
    return true;
}

/* ---- bytes ---- */

static enum ps_decode broken_json(struct ps_gemini_decoder *decoder)
{
    (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, "");
    (void)ps_fault_set(&decoder->base.fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                       "The provider's answer %s.", ps_json_error_text(decoder->tap.scan.error));
    return PS_DECODE_BROKEN;
}

void ps_gemini_tap_init(struct ps_gemini_decoder *decoder)
{
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};

    ps_json_scan_init(&decoder->tap.scan, paths, &limits, on_value, decoder);
}

enum ps_decode ps_gemini_tap_feed(struct ps_gemini_decoder *decoder, const char *ptr, size_t len)
{
    struct ps_gemini_tap *tap = &decoder->tap;

    tap->piece = ps_slice(ptr, len);
    tap->start = tap->scan.offset;
    tap->said = false;
    if (ps_json_scan_feed(&tap->scan, ptr, len) != PS_JSON_OK) {
        return broken_json(decoder);
    }
    keep_tail(tap);
    decoder->base.raw = tap->piece;
    (void)ps_decoder_emit_kind(&decoder->base, tap->said && tap->scan.root == PS_JSON_ARRAY
                                                   ? PS_EVENT_TEXT
                                                   : PS_EVENT_OPAQUE);
    return ps_decoder_result(&decoder->base);
}

/* ---- the end ---- */

static bool say_error(struct ps_gemini_decoder *decoder)
{
    char text[sizeof(decoder->tap.error) + 2];
    struct ps_event event = {.kind = PS_EVENT_FAULT, .usage = PS_USAGE_NONE};
    int len = snprintf(text, sizeof(text), "{%s}", decoder->tap.error);

    ps_gemini_fault_of(0, ps_slice(text, (size_t)len), &decoder->base.fault);
    event.fault = &decoder->base.fault;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool say_usage(struct ps_gemini_decoder *decoder)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    struct ps_slice raw = decoder->tap.told[PS_GEMINI_COUNTS];

    if (decoder->base.options.operation != PS_OP_COUNT_TOKENS) {
        for (size_t i = 0; i < PS_GEMINI_COUNTS; i++) {
            decoder->found.values[PS_GEMINI_V_PROMPT + i] = decoder->tap.told[i];
        }
        return ps_gemini_say_usage(decoder);
    }
    return raw.len == 0 || !ps_json_int(raw, &event.usage.input) || event.usage.input < 0 ||
           ps_decoder_emit(&decoder->base, &event);
}

enum ps_decode ps_gemini_tap_finish(struct ps_gemini_decoder *decoder)
{
    struct ps_gemini_tap *tap = &decoder->tap;

    if (ps_json_scan_finish(&tap->scan) != PS_JSON_OK) {
        return broken_json(decoder);
    }
    if (tap->is_error) {
        (void)say_error(decoder);
    } else if (tap->scan.root != PS_JSON_OBJECT && tap->scan.root != PS_JSON_ARRAY) {
        return ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                                "The provider's answer is not a JSON object.");
    } else if (ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT) && say_usage(decoder) &&
               ps_gemini_say_ends(decoder)) {
        (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    }
    return ps_decoder_result(&decoder->base);
}
