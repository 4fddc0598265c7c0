/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"
#include "openai_priv.h"

#include "penstock/base/mem.h"

#include <stdlib.h>

/*
 * Answers of the Gemini API out of events: for models that do not speak it themselves.
 *
 * A stream: each event is an answer of its own shape with the next part, as server-sent events or
 * as the elements of one JSON array. Calls of tools wait for their arguments; reasons wait for the
 * end, since usage may come behind them, and are told in one last piece. There is no terminal
 * marker. A whole answer is held until the end.
 */

struct place {
    uint32_t index; /* of the input */
    size_t start;
    size_t end;
};

static bool is_stream(const struct ps_gemini_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_STREAM;
}

int ps_gemini_writer_init(struct ps_writer *base)
{
    struct ps_gemini_writer *writer = (struct ps_gemini_writer *)base;
    const struct ps_request *request = base->options.request;

    if (base->options.operation != PS_OP_CHAT || base->options.mode != PS_WRITER_STREAM) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    writer->is_array =
        is_stream(writer) && request != NULL && (request->shape & PS_GEMINI_ARRAY) != 0;
    writer->usage = PS_USAGE_NONE;
    ps_buf_init(&writer->vectors, base->options.max_bytes);
    ps_buf_init(&writer->places, base->options.max_bytes);
    return 0;
}

void ps_gemini_writer_deinit(struct ps_writer *base)
{
    struct ps_gemini_writer *writer = (struct ps_gemini_writer *)base;

    for (size_t i = 0; i < PS_GEMINI_CHOICES; i++) {
        ps_gemini_answer_free(writer->choices[i]);
    }
    ps_buf_deinit(&writer->vectors);
    ps_buf_deinit(&writer->places);
}

const char *ps_gemini_writer_type(const struct ps_writer *base)
{
    const struct ps_gemini_writer *writer = (const struct ps_gemini_writer *)base;

    return writer->is_array ? "application/json" : NULL;
}

/* ---- around the candidates ---- */

static int64_t at_least_zero(int64_t count)
{
    return count > 0 ? count : 0;
}

static void write_usage(const struct ps_usage *usage, struct ps_json_out *out)
{
    int64_t thoughts = at_least_zero(usage->reasoning);
    int64_t output = at_least_zero(usage->output) - thoughts;
    int64_t total = usage->total;

    if (usage->input < 0 && usage->output < 0 && total < 0) {
        return;
    }
    if (total < 0) {
        total = at_least_zero(usage->input) + at_least_zero(usage->output);
    }
    ps_out_key(out, "usageMetadata");
    ps_out_open(out, '{');
    ps_out_member_int(out, "promptTokenCount", at_least_zero(usage->input));
    if (usage->output >= 0) {
        ps_out_member_int(out, "candidatesTokenCount", at_least_zero(output));
    }
    ps_out_member_int(out, "totalTokenCount", total);
    if (usage->cached >= 0) {
        ps_out_member_int(out, "cachedContentTokenCount", usage->cached);
    }
    if (usage->reasoning >= 0) {
        ps_out_member_int(out, "thoughtsTokenCount", thoughts);
    }
    ps_out_close(out, '}');
}

static void write_tail(const struct ps_gemini_writer *writer, struct ps_json_out *out)
{
    write_usage(&writer->usage, out);
    ps_out_key(out, "modelVersion");
    ps_out_text(out, writer->base.options.model);
    ps_out_key(out, "responseId");
    ps_writer_write_id(&writer->base, "", -1, out->buf);
    ps_out_close(out, '}');
}

/* ---- pieces of a stream ---- */

static struct ps_json_out begin_piece(struct ps_gemini_writer *writer, struct ps_buf *out)
{
    if (writer->is_array) {
        ps_buf_cstr(out, writer->started ? ",\n" : "[");
    } else if (is_stream(writer)) {
        ps_buf_cstr(out, "data: ");
    }
    writer->started = true;
    return ps_json_out(out);
}

static void end_piece(const struct ps_gemini_writer *writer, struct ps_buf *out)
{
    if (is_stream(writer) && !writer->is_array) {
        ps_buf_cstr(out, "\n\n");
    }
}

static void write_piece(struct ps_gemini_writer *writer, uint32_t choice, struct ps_buf *out)
{
    struct ps_json_out json = begin_piece(writer, out);

    ps_out_open(&json, '{');
    ps_out_key(&json, "candidates");
    ps_out_open(&json, '[');
    ps_gemini_answer_write(writer->choices[choice], choice, false, &json);
    ps_out_close(&json, ']');
    write_tail(writer, &json);
    end_piece(writer, out);
}

/* ---- the last piece, or the only one ---- */

/* Refused before a word was said: that is about the prompt. */
static bool is_blocked(const struct ps_gemini_writer *writer)
{
    bool any = false;

    for (size_t i = 0; i < PS_GEMINI_CHOICES; i++) {
        const struct ps_gemini_answer *answer = writer->choices[i];

        if (answer != NULL && (answer->said || answer->finish != PS_FINISH_CONTENT_FILTER)) {
            return false;
        }
        any = any || answer != NULL;
    }
    return any;
}

static void write_last(struct ps_gemini_writer *writer, struct ps_buf *out)
{
    struct ps_json_out json = begin_piece(writer, out);

    ps_out_open(&json, '{');
    if (is_blocked(writer)) {
        ps_out_key(&json, "promptFeedback");
        ps_out_open(&json, '{');
        ps_out_member_cstr(&json, "blockReason", "SAFETY");
        ps_out_close(&json, '}');
    } else {
        ps_out_key(&json, "candidates");
        ps_out_open(&json, '[');
        for (uint32_t i = 0; i < PS_GEMINI_CHOICES; i++) {
            if (writer->choices[i] != NULL) {
                ps_gemini_answer_settle(writer->choices[i]);
                ps_gemini_answer_write(writer->choices[i], i, true, &json);
            }
        }
        ps_out_close(&json, ']');
    }
    write_tail(writer, &json);
    end_piece(writer, out);
}

/* ---- vectors ---- */

/* They may come in any order; a batch's order is that of its requests. */
static int by_index(const void *left, const void *right)
{
    const struct place *a = left;
    const struct place *b = right;

    return a->index < b->index ? -1 : a->index > b->index;
}

static int add_vector(struct ps_gemini_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    struct place place = {.index = event->index, .start = writer->vectors.len};

    if (!ps_openai_write_vector(event, false, &writer->vectors)) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The provider's answer has a vector that holds no numbers.");
    }
    place.end = writer->vectors.len;
    ps_buf_append(&writer->places, &place, sizeof(place));
    if (writer->vectors.failed || writer->places.failed) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The model's answer is larger than the gateway can hold.");
    }
    return 0;
}

static void write_vector(const struct ps_gemini_writer *writer, const struct place *place,
                         struct ps_json_out *out)
{
    ps_out_open(out, '{');
    ps_out_member(out, "values",
                  ps_slice(writer->vectors.ptr + place->start, place->end - place->start));
    ps_out_close(out, '}');
}

static void write_vectors(struct ps_gemini_writer *writer, struct ps_buf *out)
{
    const struct ps_request *request = writer->base.options.request;
    struct place *places = (struct place *)(void *)writer->places.ptr;
    size_t count = writer->places.len / sizeof(*places);
    struct ps_json_out json = ps_json_out(out);

    if (count > 0) {
        qsort(places, count, sizeof(*places), by_index);
    }
    ps_out_open(&json, '{');
    if (request != NULL && (request->shape & PS_GEMINI_BATCH) != 0) {
        ps_out_key(&json, "embeddings");
        ps_out_open(&json, '[');
        for (size_t i = 0; i < count; i++) {
            write_vector(writer, &places[i], &json);
        }
        ps_out_close(&json, ']');
    } else if (count > 0) {
        ps_out_key(&json, "embedding");
        write_vector(writer, &places[0], &json);
    }
    if (writer->usage.input >= 0) {
        ps_out_key(&json, "usageMetadata");
        ps_out_open(&json, '{');
        ps_out_member_int(&json, "promptTokenCount", writer->usage.input);
        ps_out_close(&json, '}');
    }
    ps_out_close(&json, '}');
}

/* ---- events ---- */

static int check_held(const struct ps_gemini_writer *writer, const struct ps_gemini_answer *answer,
                      struct ps_fault *ret_fault)
{
    size_t max = writer->base.options.max_bytes;

    if (writer->held > max || (ps_gemini_answer_failed(answer) && writer->held > max / 2)) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The model's answer is larger than the gateway can hold.");
    }
    return !ps_gemini_answer_failed(answer)
               ? 0
               : ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                              "The gateway is short of memory for this answer.");
}

/* Whether a stream can tell at once what an event has brought. Calls that nothing follows go with
 * the reason: some clients look for them in the last piece only. */
static bool is_due(const struct ps_gemini_writer *writer, const struct ps_gemini_answer *answer,
                   const struct ps_event *event)
{
    return is_stream(writer) && answer->parts.len > 0 && event->kind != PS_EVENT_FINISH;
}

static int tell(struct ps_gemini_writer *writer, const struct ps_event *event, struct ps_buf *out,
                struct ps_fault *ret_fault)
{
    struct ps_gemini_answer **choice = &writer->choices[event->choice];
    size_t before;

    if (*choice == NULL) {
        *choice = ps_gemini_answer_new(writer->base.options.max_bytes);
        if (*choice == NULL) {
            return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                                "The gateway is short of memory for this answer.");
        }
    }
    before = ps_gemini_answer_bytes(*choice);
    if (ps_gemini_answer_add(*choice, event, ret_fault) != 0) {
        return -1;
    }
    writer->held += ps_gemini_answer_bytes(*choice);
    writer->held -= before;
    if (check_held(writer, *choice, ret_fault) != 0) {
        return -1;
    }
    if (is_due(writer, *choice, event)) {
        before = ps_gemini_answer_bytes(*choice);
        write_piece(writer, event->choice, out);
        writer->held -= before - ps_gemini_answer_bytes(*choice);
    }
    return 0;
}

static int check_done(const struct ps_gemini_writer *writer, struct ps_fault *ret_fault)
{
    if (writer->base.options.operation == PS_OP_COUNT_TOKENS && writer->usage.input < 0) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The provider's answer has no count of tokens.");
    }
    if (writer->base.options.operation == PS_OP_EMBED && writer->places.len == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The provider's answer has no vector.");
    }
    return 0;
}

static bool is_said(enum ps_event_kind kind)
{
    return kind == PS_EVENT_TEXT || kind == PS_EVENT_REFUSAL || kind == PS_EVENT_REASONING ||
           kind == PS_EVENT_TOOL_CALL || kind == PS_EVENT_MEDIA || kind == PS_EVENT_CITATION ||
           kind == PS_EVENT_LOGPROBS || kind == PS_EVENT_FINISH;
}

int ps_gemini_writer_event(struct ps_writer *base, const struct ps_event *event, struct ps_buf *out,
                           struct ps_fault *ret_fault)
{
    struct ps_gemini_writer *writer = (struct ps_gemini_writer *)base;
    enum ps_operation operation = base->options.operation;

    if (event->kind == PS_EVENT_USAGE) {
        writer->usage = event->usage;
    } else if (event->kind == PS_EVENT_DONE) {
        return check_done(writer, ret_fault);
    } else if (event->kind == PS_EVENT_EMBEDDING && operation == PS_OP_EMBED) {
        return add_vector(writer, event, ret_fault);
    } else if (operation == PS_OP_CHAT && event->choice < PS_GEMINI_CHOICES &&
               is_said(event->kind)) {
        return tell(writer, event, out, ret_fault);
    }
    return 0;
}

void ps_gemini_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                          struct ps_buf *out)
{
    struct ps_gemini_writer *writer = (struct ps_gemini_writer *)base;
    struct ps_json_out json = ps_json_out(out);

    (void)info; /* the API has no place for it */
    if (base->options.operation == PS_OP_EMBED) {
        write_vectors(writer, out);
    } else if (base->options.operation == PS_OP_COUNT_TOKENS) {
        ps_out_open(&json, '{');
        ps_out_member_int(&json, "totalTokens", at_least_zero(writer->usage.input));
        if (writer->usage.cached > 0) {
            ps_out_member_int(&json, "cachedContentTokenCount", writer->usage.cached);
        }
        ps_out_close(&json, '}');
    } else {
        write_last(writer, out);
        if (writer->is_array) {
            ps_buf_byte(out, ']');
        }
    }
}

void ps_gemini_writer_fail(struct ps_writer *base, const struct ps_fault *fault, struct ps_buf *out)
{
    struct ps_gemini_writer *writer = (struct ps_gemini_writer *)base;

    (void)begin_piece(writer, out);
    ps_gemini_write_fault(fault, PS_SLICE_NONE, out);
    end_piece(writer, out);
    if (writer->is_array) {
        ps_buf_byte(out, ']');
    }
}
