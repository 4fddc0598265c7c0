/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"
#include "openai_priv.h"
#include "utf8.h"

#include <math.h>

/*
 * Log probabilities of tokens. A token is bytes and may be part of a character: chat says the bytes
 * beside it, completions write such a token as "bytes:\xe2\x82".
 */

#define NEVER                                                                                      \
    (-9999.0F) /* the API's word for a probability of zero, which JSON has no number for */

static void write_value(float logprob, struct ps_buf *out)
{
    ps_dialect_write_float(out, isfinite(logprob) ? logprob : NEVER);
}

static bool is_text(struct ps_slice token)
{
    struct ps_utf8 utf8 = {0};

    return ps_utf8_feed(&utf8, token.ptr, token.len) && ps_utf8_whole(&utf8);
}

/* ---- chat ---- */

static void write_token(const struct ps_event_logprob *logprob, struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"token\":");
    ps_buf_json(out, logprob->token);
    ps_buf_cstr(out, ",\"logprob\":");
    write_value(logprob->logprob, out);
    ps_buf_cstr(out, ",\"bytes\":[");
    for (size_t i = 0; i < logprob->token.len; i++) {
        if (i > 0) {
            ps_buf_byte(out, ',');
        }
        ps_buf_uint(out, (unsigned char)logprob->token.ptr[i]);
    }
    ps_buf_byte(out, ']');
}

void ps_openai_note_logprob(struct ps_buf *list, const struct ps_event *event)
{
    if (list->len > 0) {
        ps_buf_byte(list, ',');
    }
    write_token(&event->logprob, list);
    ps_buf_cstr(list, ",\"top_logprobs\":[");
    for (size_t i = 0; i < event->top_count; i++) {
        if (i > 0) {
            ps_buf_byte(list, ',');
        }
        write_token(&event->top[i], list);
        ps_buf_byte(list, '}');
    }
    ps_buf_cstr(list, "]}");
}

/* ---- completions ---- */

static void write_name(struct ps_slice token, struct ps_buf *out)
{
    if (is_text(token)) {
        ps_buf_json(out, token);
        return;
    }
    ps_buf_cstr(out, "\"bytes:");
    for (size_t i = 0; i < token.len; i++) {
        ps_buf_printf(out, "\\\\x%02x", (unsigned)(unsigned char)token.ptr[i]);
    }
    ps_buf_byte(out, '"');
}

static void write_pair(const struct ps_event_logprob *logprob, struct ps_buf *out)
{
    write_name(logprob->token, out);
    ps_buf_byte(out, ':');
    write_value(logprob->logprob, out);
}

/* The likeliest, and the chosen one when it is not among them. */
static void write_top(const struct ps_event *event, struct ps_buf *out)
{
    bool chosen = false;

    ps_buf_byte(out, '{');
    for (size_t i = 0; i < event->top_count; i++) {
        if (i > 0) {
            ps_buf_byte(out, ',');
        }
        write_pair(&event->top[i], out);
        chosen = chosen || ps_slice_eq(event->top[i].token, event->logprob.token);
    }
    if (!chosen) {
        if (event->top_count > 0) {
            ps_buf_byte(out, ',');
        }
        write_pair(&event->logprob, out);
    }
    ps_buf_byte(out, '}');
}

static void note_lists(struct ps_openai_answer *answer, const struct ps_event *event)
{
    struct ps_buf *lists = answer->logprobs;
    struct ps_slice token = event->logprob.token;

    if (lists[PS_LOGPROB_TOKENS].len > 0) {
        for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
            ps_buf_byte(&lists[i], ',');
        }
    }
    write_name(token, &lists[PS_LOGPROB_TOKENS]);
    write_value(event->logprob.logprob, &lists[PS_LOGPROB_VALUES]);
    write_top(event, &lists[PS_LOGPROB_TOP]);
    ps_buf_uint(&lists[PS_LOGPROB_OFFSETS], answer->offset);
    for (size_t i = 0; i < token.len; i++) {
        answer->offset += ((unsigned char)token.ptr[i] & 0xc0) != 0x80;
    }
}

/* ---- both ---- */

void ps_openai_note_logprobs(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                             const struct ps_event *event)
{
    if (ps_openai_is_chat(writer)) {
        ps_openai_note_logprob(&answer->logprobs[PS_LOGPROB_TOKENS], event);
    } else {
        note_lists(answer, event);
    }
}

void ps_openai_write_logprobs(const struct ps_openai_writer *writer,
                              struct ps_openai_answer *answer, struct ps_buf *out)
{
    static const char *const names[PS_LOGPROB_LISTS] = {
        [PS_LOGPROB_TOKENS] = "{\"tokens\":[",
        [PS_LOGPROB_VALUES] = "],\"token_logprobs\":[",
        [PS_LOGPROB_TOP] = "],\"top_logprobs\":[",
        [PS_LOGPROB_OFFSETS] = "],\"text_offset\":[",
    };
    struct ps_buf *lists = answer->logprobs;

    if (lists[PS_LOGPROB_TOKENS].len == 0) {
        ps_buf_cstr(out, "null");
        return;
    }
    if (ps_openai_is_chat(writer)) {
        ps_buf_cstr(out, "{\"content\":[");
        ps_buf_slice(out, ps_buf_view(&lists[PS_LOGPROB_TOKENS]));
        ps_buf_cstr(out, "],\"refusal\":null}");
    } else {
        for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
            ps_buf_cstr(out, names[i]);
            ps_buf_slice(out, ps_buf_view(&lists[i]));
        }
        ps_buf_cstr(out, "]}");
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        ps_buf_reset(&lists[i]);
    }
}
