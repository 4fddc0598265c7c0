/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"
#include "number.h"

#include "penstock/base/mem.h"

#include <math.h>

/*
 * One candidate of an answer, out of events. Parts are held as JSON until they are written: all of
 * them for a whole answer, what one event has brought for a stream. A call is one part with all of
 * its arguments, so calls wait for their last fragment.
 */

#define CALLS 128       /* in one answer */
#define NEVER (-9999.0) /* JSON has no number for the logarithm of zero */

struct open_call {
    uint32_t block;
    struct ps_buf head; /* members "id" and "name" */
    struct ps_buf arguments;
    struct ps_buf signature;
};

struct ps_gemini_answer *ps_gemini_answer_new(size_t max)
{
    struct ps_gemini_answer *answer = ps_calloc(1, sizeof(*answer));

    if (answer != NULL) {
        ps_buf_init(&answer->parts, max);
        ps_buf_init(&answer->tail, max);
        ps_buf_init(&answer->calls, CALLS * sizeof(struct open_call));
        ps_buf_init(&answer->chunks, max);
        ps_buf_init(&answer->chosen, max);
        ps_buf_init(&answer->top, max);
    }
    return answer;
}

static struct open_call *calls_of(const struct ps_gemini_answer *answer, size_t *ret_count)
{
    *ret_count = answer->calls.len / sizeof(struct open_call);
    return (struct open_call *)(void *)answer->calls.ptr;
}

static void forget_calls(struct ps_gemini_answer *answer)
{
    size_t count;
    struct open_call *calls = calls_of(answer, &count);

    for (size_t i = 0; i < count; i++) {
        ps_buf_deinit(&calls[i].head);
        ps_buf_deinit(&calls[i].arguments);
        ps_buf_deinit(&calls[i].signature);
    }
    answer->calls.len = 0;
    answer->call_bytes = 0;
}

void ps_gemini_answer_free(struct ps_gemini_answer *answer)
{
    if (answer != NULL) {
        forget_calls(answer);
        ps_buf_deinit(&answer->parts);
        ps_buf_deinit(&answer->tail);
        ps_buf_deinit(&answer->calls);
        ps_buf_deinit(&answer->chunks);
        ps_buf_deinit(&answer->chosen);
        ps_buf_deinit(&answer->top);
        ps_free(answer);
    }
}

size_t ps_gemini_answer_bytes(const struct ps_gemini_answer *answer)
{
    return answer->parts.len + answer->tail.len + answer->call_bytes + answer->chunks.len +
           answer->chosen.len + answer->top.len;
}

bool ps_gemini_answer_failed(const struct ps_gemini_answer *answer)
{
    return answer->parts.failed || answer->tail.failed || answer->calls.failed ||
           answer->chunks.failed || answer->chosen.failed || answer->top.failed;
}

static struct ps_json_out list_of(struct ps_buf *buf)
{
    return (struct ps_json_out){buf, NULL, buf->len > 0};
}

/* ---- text ---- */

static void close_text(struct ps_gemini_answer *answer)
{
    struct ps_json_out out = {&answer->parts, NULL, true};

    if (answer->open == PS_GEMINI_NONE_OPEN) {
        return;
    }
    ps_out_string_end(&out);
    if (answer->open == PS_GEMINI_THOUGHT_OPEN) {
        ps_out_member_bool(&out, "thought", true);
        ps_out_member_text(&out, "thoughtSignature", ps_buf_view(&answer->tail));
    }
    ps_out_close(&out, '}');
    answer->tail.len = 0;
    answer->open = PS_GEMINI_NONE_OPEN;
}

static void open_text(struct ps_gemini_answer *answer, bool thought)
{
    struct ps_json_out out;

    ps_gemini_answer_settle(answer);
    out = list_of(&answer->parts);
    ps_out_open(&out, '{');
    ps_out_key(&out, "text");
    ps_out_string_begin(&out);
    answer->open = thought ? PS_GEMINI_THOUGHT_OPEN : PS_GEMINI_TEXT_OPEN;
}

static void add_text(struct ps_gemini_answer *answer, struct ps_slice text)
{
    struct ps_json_out out = {&answer->parts, NULL, false};

    if (text.len == 0) {
        return;
    }
    if (answer->open != PS_GEMINI_TEXT_OPEN) {
        open_text(answer, false);
    }
    ps_out_string_text(&out, text);
}

/* What nobody may read is a thought of nothing, and its signature. */
static void add_thought(struct ps_gemini_answer *answer, const struct ps_event *event)
{
    static const struct ps_event_thought none;
    const struct ps_event_thought *thought = event->thought != NULL ? event->thought : &none;
    struct ps_json_out out = {&answer->parts, NULL, false};

    if (event->text.len == 0 && thought->signature.len == 0 && thought->redacted.len == 0) {
        return;
    }
    if (answer->open != PS_GEMINI_THOUGHT_OPEN || answer->block != event->block ||
        thought->redacted.len > 0) {
        open_text(answer, true);
        answer->block = event->block;
    }
    ps_out_string_text(&out, event->text);
    if (thought->signature.len > 0 || thought->redacted.len > 0) {
        ps_buf_slice(&answer->tail,
                     thought->redacted.len > 0 ? thought->redacted : thought->signature);
        close_text(answer);
    }
}

static void add_media(struct ps_gemini_answer *answer, const struct ps_event_media *media)
{
    struct ps_json_out out;
    bool inside;

    if (media == NULL || (media->data.len == 0 && media->url.len == 0)) {
        return;
    }
    inside = media->data.len > 0;
    ps_gemini_answer_settle(answer);
    out = list_of(&answer->parts);
    ps_out_open(&out, '{');
    ps_out_key(&out, inside ? "inlineData" : "fileData");
    ps_out_open(&out, '{');
    ps_out_member_text(&out, "mimeType",
                       media->media_type.len > 0 || !inside ? media->media_type
                                                            : PS_SLICE_LIT("image/png"));
    ps_out_member_text(&out, inside ? "data" : "fileUri", inside ? media->data : media->url);
    ps_out_close(&out, '}');
    ps_out_close(&out, '}');
}

/* ---- calls ---- */

static struct open_call *begin_call(struct ps_gemini_answer *answer, const struct ps_event *event)
{
    struct open_call call = {.block = event->block};
    struct ps_json_out head;
    size_t count;

    ps_buf_init(&call.head, answer->parts.max);
    ps_buf_init(&call.arguments, answer->parts.max);
    ps_buf_init(&call.signature, answer->parts.max);
    ps_buf_append(&answer->calls, &call, sizeof(call));
    if (answer->calls.failed) {
        return NULL;
    }
    (void)calls_of(answer, &count);
    head = ps_json_out(&calls_of(answer, &count)[count - 1].head);
    if (event->tool != NULL) {
        ps_out_member_text(&head, "id", event->tool->id);
        ps_out_key(&head, "name");
        ps_out_text(&head, event->tool->name);
    }
    return &calls_of(answer, &count)[count - 1];
}

static int add_call(struct ps_gemini_answer *answer, const struct ps_event *event,
                    struct ps_fault *ret_fault)
{
    size_t count;
    struct open_call *calls = calls_of(answer, &count);
    struct open_call *call = NULL;

    for (size_t i = count; call == NULL && i > 0; i--) {
        call = calls[i - 1].block == event->block ? &calls[i - 1] : NULL;
    }
    if (call == NULL && event->block < answer->told_calls) {
        return event->text.len == 0
                   ? 0
                   : ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                                  "The model's calls of tools are mixed with what it says.");
    }
    if (call == NULL && count == CALLS) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The model's answer holds more calls of tools than the gateway can "
                            "hold.");
    }
    call = call != NULL ? call : begin_call(answer, event);
    if (call == NULL) {
        return 0; /* the failure is found with the others */
    }
    ps_buf_slice(&call->arguments, event->text);
    if (event->tool != NULL) {
        ps_buf_slice(&call->signature, event->tool->signature);
        answer->call_bytes +=
            event->tool->id.len + event->tool->name.len + event->tool->signature.len;
    }
    answer->call_bytes += event->text.len;
    answer->calls.failed = answer->calls.failed || call->head.failed || call->arguments.failed ||
                           call->signature.failed;
    return 0;
}

void ps_gemini_answer_settle(struct ps_gemini_answer *answer)
{
    size_t count;
    struct open_call *calls = calls_of(answer, &count);
    struct ps_json_out out;

    close_text(answer);
    out = list_of(&answer->parts);
    for (size_t i = 0; i < count; i++) {
        ps_out_open(&out, '{');
        ps_out_key(&out, "functionCall");
        ps_out_open(&out, '{');
        ps_buf_slice(&answer->parts, ps_buf_view(&calls[i].head));
        out.comma = calls[i].head.len > 0;
        ps_out_key(&out, "args");
        ps_out_arguments(&out, ps_buf_view(&calls[i].arguments));
        ps_out_close(&out, '}');
        ps_out_member_text(&out, "thoughtSignature", ps_buf_view(&calls[i].signature));
        ps_out_close(&out, '}');
        if (answer->told_calls <= calls[i].block) {
            answer->told_calls = calls[i].block + 1;
        }
    }
    forget_calls(answer);
}

/* ---- beside the parts ---- */

static void add_source(struct ps_gemini_answer *answer, const struct ps_event_citation *citation)
{
    struct ps_json_out out = list_of(&answer->chunks);
    bool web;

    if (citation == NULL ||
        (citation->url.len == 0 && citation->title.len == 0 && citation->quote.len == 0)) {
        return;
    }
    web = citation->url.len > 0;
    ps_out_open(&out, '{');
    ps_out_key(&out, web ? "web" : "retrievedContext");
    ps_out_open(&out, '{');
    ps_out_member_text(&out, "uri", citation->url);
    ps_out_member_text(&out, "title", citation->title);
    if (!web) {
        ps_out_member_text(&out, "text", citation->quote);
    }
    ps_out_close(&out, '}');
    ps_out_close(&out, '}');
}

static void write_token(const struct ps_event_logprob *logprob, struct ps_json_out *out)
{
    ps_out_open(out, '{');
    ps_out_key(out, "token");
    ps_out_text(out, logprob->token);
    ps_out_key(out, "logProbability");
    ps_dialect_write_float(out->buf, isfinite(logprob->logprob) ? logprob->logprob : (float)NEVER);
    ps_out_close(out, '}');
}

static void add_logprob(struct ps_gemini_answer *answer, const struct ps_event *event)
{
    struct ps_json_out chosen = list_of(&answer->chosen);
    struct ps_json_out top = list_of(&answer->top);

    write_token(&event->logprob, &chosen);
    ps_out_open(&top, '{');
    ps_out_key(&top, "candidates");
    ps_out_open(&top, '[');
    for (size_t i = 0; i < event->top_count; i++) {
        write_token(&event->top[i], &top);
    }
    ps_out_close(&top, ']');
    ps_out_close(&top, '}');
    answer->logprobs += isfinite(event->logprob.logprob) ? (double)event->logprob.logprob : NEVER;
    answer->logprob_count++;
}

int ps_gemini_answer_add(struct ps_gemini_answer *answer, const struct ps_event *event,
                         struct ps_fault *ret_fault)
{
    size_t before = ps_gemini_answer_bytes(answer);
    int rc = 0;

    if (event->kind == PS_EVENT_TEXT || event->kind == PS_EVENT_REFUSAL) {
        answer->refused = answer->refused || event->kind == PS_EVENT_REFUSAL;
        add_text(answer, event->text);
    } else if (event->kind == PS_EVENT_REASONING) {
        add_thought(answer, event);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        rc = add_call(answer, event, ret_fault);
        answer->said = true;
    } else if (event->kind == PS_EVENT_MEDIA) {
        add_media(answer, event->media);
    } else if (event->kind == PS_EVENT_CITATION) {
        add_source(answer, event->citation);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        add_logprob(answer, event);
    } else if (event->kind == PS_EVENT_FINISH && answer->finish == PS_FINISH_NONE) {
        answer->finish = event->finish;
        ps_gemini_answer_settle(answer);
    }
    answer->said = answer->said || ps_gemini_answer_bytes(answer) > before;
    return rc;
}

/* ---- the candidate ---- */

static const char *reason_of(const struct ps_gemini_answer *answer)
{
    if (answer->refused) {
        return "SAFETY";
    }
    switch (answer->finish) {
    case PS_FINISH_LENGTH:
        return "MAX_TOKENS";
    case PS_FINISH_CONTENT_FILTER:
        return "SAFETY";
    case PS_FINISH_OTHER:
        return "OTHER";
    case PS_FINISH_STOP:
    case PS_FINISH_TOOL_CALLS:
    case PS_FINISH_NONE:
    default:
        return "STOP";
    }
}

/* Clients look into the parts of every candidate: one that has said nothing has an empty text. */
static void write_content(struct ps_gemini_answer *answer, struct ps_json_out *out)
{
    ps_out_key(out, "content");
    ps_out_open(out, '{');
    ps_out_key(out, "parts");
    ps_out_open(out, '[');
    if (answer->parts.len > 0) {
        ps_buf_slice(out->buf, ps_buf_view(&answer->parts));
    } else {
        ps_out_raw(out, PS_SLICE_LIT("{\"text\":\"\"}"));
    }
    ps_out_close(out, ']');
    ps_out_member_cstr(out, "role", "model");
    ps_out_close(out, '}');
    answer->parts.len = 0;
}

static void write_sources(struct ps_gemini_answer *answer, struct ps_json_out *out)
{
    if (answer->chunks.len == 0) {
        return;
    }
    ps_out_key(out, "groundingMetadata");
    ps_out_open(out, '{');
    ps_out_key(out, "groundingChunks");
    ps_out_open(out, '[');
    ps_buf_slice(out->buf, ps_buf_view(&answer->chunks));
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    answer->chunks.len = 0;
}

static void write_logprobs(struct ps_gemini_answer *answer, struct ps_json_out *out)
{
    if (answer->chosen.len == 0) {
        return;
    }
    ps_out_key(out, "logprobsResult");
    ps_out_open(out, '{');
    ps_out_key(out, "topCandidates");
    ps_out_open(out, '[');
    ps_buf_slice(out->buf, ps_buf_view(&answer->top));
    ps_out_close(out, ']');
    ps_out_key(out, "chosenCandidates");
    ps_out_open(out, '[');
    ps_buf_slice(out->buf, ps_buf_view(&answer->chosen));
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    answer->chosen.len = 0;
    answer->top.len = 0;
}

void ps_gemini_answer_write(struct ps_gemini_answer *answer, uint32_t index, bool ends,
                            struct ps_json_out *out)
{
    close_text(answer);
    ps_out_open(out, '{');
    write_content(answer, out);
    if (ends) {
        ps_out_member_cstr(out, "finishReason", reason_of(answer));
    }
    ps_out_member_int(out, "index", index);
    if (ends) {
        write_sources(answer, out);
    }
    if (ends && answer->logprob_count > 0) {
        ps_out_key(out, "avgLogprobs");
        ps_dialect_write_float(out->buf, (float)(answer->logprobs / answer->logprob_count));
        out->comma = true;
    }
    write_logprobs(answer, out);
    ps_out_close(out, '}');
}
