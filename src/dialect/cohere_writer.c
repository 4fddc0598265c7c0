/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"
#include "openai_priv.h"

/*
 * Answers of Cohere's API out of events: for models that do not speak it themselves. There is one
 * answer: what other choices say is left out.
 *
 * A stream: message-start at the first event; each run of text, thoughts or arguments is a block
 * with its start, deltas and end, one after the other; message-end, with the reason and the usage,
 * waits for the end. A whole answer is held until then, its lists as JSON. A fragment of a
 * call that is closed ends the answer with a fault (call_order.h: calls come one after the other).
 */

#define SAID_BYTES   65536      /* of a block's text, in which citations are quoted */
#define REFUSAL_TEXT UINT32_MAX /* number of the block that a refusal's words make */

static bool is_stream(const struct ps_cohere_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_STREAM;
}

int ps_cohere_writer_init(struct ps_writer *base)
{
    struct ps_cohere_writer *writer = (struct ps_cohere_writer *)base;
    const struct ps_request *request = base->options.request;
    size_t max = base->options.max_bytes;

    if (base->options.operation != PS_OP_CHAT || base->options.mode != PS_WRITER_STREAM) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    writer->usage = PS_USAGE_NONE;
    writer->cites = request != NULL && request->neutral != NULL && request->neutral->has_media;
    ps_buf_init(&writer->said, SAID_BYTES);
    ps_buf_init(&writer->content, max);
    ps_buf_init(&writer->tools, max);
    ps_buf_init(&writer->cited, max);
    ps_buf_init(&writer->tokens, max);
    ps_buf_init(&writer->chances, max);
    return 0;
}

void ps_cohere_writer_deinit(struct ps_writer *base)
{
    struct ps_cohere_writer *writer = (struct ps_cohere_writer *)base;

    ps_buf_deinit(&writer->said);
    ps_buf_deinit(&writer->content);
    ps_buf_deinit(&writer->tools);
    ps_buf_deinit(&writer->cited);
    ps_buf_deinit(&writer->tokens);
    ps_buf_deinit(&writer->chances);
}

/* ---- lists ---- */

static int add_vector(struct ps_cohere_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    const struct ps_request *request = writer->base.options.request;
    unsigned wants = request != NULL ? request->shape : 0;
    bool fine = true;

    if (event->index != writer->vectors) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The provider's vectors are not in the order of the texts.");
    }
    if (wants == 0 || (wants & PS_COHERE_FLOAT) != 0) {
        ps_buf_cstr(&writer->content, writer->vectors > 0 ? "," : "");
        fine = ps_openai_write_vector(event, false, &writer->content);
    }
    if ((wants & PS_COHERE_BASE64) != 0) {
        ps_buf_cstr(&writer->tools, writer->vectors > 0 ? "," : "");
        fine = fine && ps_openai_write_vector(event, true, &writer->tools);
    }
    writer->vectors++;
    return fine ? 0
                : ps_fault_set(ret_fault, PS_FAULT_INTERNAL, NULL,
                               "The model gave a vector that holds no number.");
}

static void add_score(struct ps_cohere_writer *writer, const struct ps_event *event)
{
    struct ps_json_out json = {&writer->content, NULL, writer->content.len > 0};

    ps_out_open(&json, '{');
    ps_out_member_int(&json, "index", event->index);
    ps_out_key(&json, "relevance_score");
    if (event->score->number.len > 0) {
        ps_out_raw(&json, event->score->number);
    } else {
        ps_buf_printf(json.buf, "%.9g", event->score->relevance);
    }
    ps_out_close(&json, '}');
}

/* ---- events ---- */

static int check_held(const struct ps_cohere_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    const struct ps_buf *const held[] = {&writer->content, &writer->tools, &writer->cited,
                                         &writer->tokens, &writer->chances};
    size_t max = writer->base.options.max_bytes;
    bool failed = false;
    size_t len = 0;

    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        failed = failed || held[i]->failed;
        len += held[i]->len;
    }
    if (!failed && len <= max) {
        return 0;
    }
    if (len <= max && event->text.len > 0 && event->text.len <= max - len) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The model's answer is larger than the gateway can hold.");
}

static int chat_event(struct ps_cohere_writer *writer, const struct ps_event *event,
                      struct ps_buf *out, struct ps_fault *ret_fault)
{
    if (event->kind == PS_EVENT_START) {
        ps_cohere_start(writer, out);
    } else if (event->kind == PS_EVENT_TEXT) {
        ps_cohere_write_text(writer, event->block, event->text, out);
    } else if (event->kind == PS_EVENT_REASONING) {
        ps_cohere_write_thought(writer, event, out);
    } else if (event->kind == PS_EVENT_REFUSAL) {
        ps_cohere_write_text(writer, REFUSAL_TEXT, event->text, out);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        return ps_cohere_write_call(writer, event, out, ret_fault);
    } else if (event->kind == PS_EVENT_CITATION) {
        ps_cohere_write_citation(writer, event->citation, out);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        ps_cohere_note_logprob(writer, &event->logprob);
    } else if (event->kind == PS_EVENT_FINISH && writer->finish == PS_FINISH_NONE) {
        ps_cohere_start(writer, out);
        ps_cohere_close(writer, out);
        writer->finish = event->finish;
        writer->stop_met = event->text.len > 0;
    }
    return 0;
}

int ps_cohere_writer_event(struct ps_writer *base, const struct ps_event *event, struct ps_buf *out,
                           struct ps_fault *ret_fault)
{
    struct ps_cohere_writer *writer = (struct ps_cohere_writer *)base;
    int rc = 0;

    if (event->kind == PS_EVENT_USAGE) {
        writer->usage = event->usage;
    } else if (event->choice != 0) {
        return 0;
    } else if (base->options.operation == PS_OP_CHAT) {
        rc = chat_event(writer, event, out, ret_fault);
    } else if (event->kind == PS_EVENT_EMBEDDING) {
        rc = add_vector(writer, event, ret_fault);
    } else if (event->kind == PS_EVENT_SCORE) {
        add_score(writer, event);
    }
    return rc != 0 ? rc : check_held(writer, event, ret_fault);
}

/* ---- the end ---- */

static const char *reason_of(const struct ps_cohere_writer *writer)
{
    switch (writer->finish) {
    case PS_FINISH_LENGTH:
        return "MAX_TOKENS";
    case PS_FINISH_TOOL_CALLS:
        return "TOOL_CALL";
    case PS_FINISH_CONTENT_FILTER:
        return "ERROR";
    case PS_FINISH_STOP:
    case PS_FINISH_OTHER:
    case PS_FINISH_NONE:
    default:
        /* Some servers say no more than "stop" behind a call that they were told to make. */
        return writer->calls > 0 ? "TOOL_CALL" : writer->stop_met ? "STOP_SEQUENCE" : "COMPLETE";
    }
}

static void write_counts(const char *name, const struct ps_usage *usage, struct ps_json_out *json)
{
    ps_out_key(json, name);
    ps_out_open(json, '{');
    if (usage->input >= 0) {
        ps_out_member_int(json, "input_tokens", usage->input);
    }
    if (usage->output >= 0) {
        ps_out_member_int(json, "output_tokens", usage->output);
    }
    ps_out_close(json, '}');
}

/* What is billed is for the provider to say: as far as is known, all of it. */
static void write_usage(const char *name, const struct ps_usage *usage, struct ps_json_out *json)
{
    if (usage->input < 0 && usage->output < 0) {
        return;
    }
    ps_out_key(json, name);
    ps_out_open(json, '{');
    write_counts("billed_units", usage, json);
    write_counts("tokens", usage, json);
    if (usage->cached >= 0) {
        ps_out_member_int(json, "cached_tokens", usage->cached);
    }
    ps_out_close(json, '}');
}

static void write_list(const char *name, const struct ps_buf *elements, struct ps_json_out *json)
{
    if (elements->len > 0) {
        ps_out_key(json, name);
        ps_out_open(json, '[');
        ps_out_raw(json, ps_buf_view(elements));
        ps_out_close(json, ']');
    }
}

static void end_stream(struct ps_cohere_writer *writer, struct ps_buf *out)
{
    struct ps_json_out json;

    ps_cohere_start(writer, out);
    ps_cohere_close(writer, out);
    json = ps_cohere_begin_event(out, "message-end");
    ps_out_member_text(&json, "id", writer->base.options.id);
    ps_out_key(&json, "delta");
    ps_out_open(&json, '{');
    ps_out_member_cstr(&json, "finish_reason", reason_of(writer));
    if (writer->finish == PS_FINISH_CONTENT_FILTER) {
        ps_out_member_cstr(&json, "error", "The provider's content filter ended the answer.");
    }
    write_usage("usage", &writer->usage, &json);
    ps_out_close(&json, '}');
    ps_cohere_end_event(&json);
}

static void end_chat(struct ps_cohere_writer *writer, struct ps_json_out *json)
{
    ps_cohere_close(writer, json->buf);
    ps_out_member_cstr(json, "finish_reason", reason_of(writer));
    ps_out_key(json, "message");
    ps_out_open(json, '{');
    ps_out_member_cstr(json, "role", "assistant");
    if (writer->content.len + writer->tools.len == 0) { /* clients look at the first of them */
        ps_buf_cstr(&writer->content, "{\"type\":\"text\",\"text\":\"\"}");
    }
    write_list("content", &writer->content, json);
    write_list("tool_calls", &writer->tools, json);
    write_list("citations", &writer->cited, json);
    ps_out_close(json, '}');
    write_usage("usage", &writer->usage, json);
    write_list("logprobs", &writer->tokens, json);
}

static void end_embedding(struct ps_cohere_writer *writer, struct ps_json_out *json)
{
    const struct ps_request *request = writer->base.options.request;
    const struct ps_neutral *neutral = request != NULL ? request->neutral : NULL;

    ps_out_key(json, "embeddings");
    ps_out_open(json, '{');
    write_list("float", &writer->content, json);
    write_list("base64", &writer->tools, json);
    ps_out_close(json, '}');
    if (neutral != NULL) {
        ps_out_key(json, "texts");
        ps_out_open(json, '[');
        for (size_t i = 0; i < neutral->input_count; i++) {
            ps_out_raw(json, neutral->inputs[i]);
        }
        ps_out_close(json, ']');
    }
}

/* What came before the usage, which is called otherwise there. */
static void end_list(struct ps_cohere_writer *writer, struct ps_json_out *json)
{
    if (writer->base.options.operation == PS_OP_EMBED) {
        end_embedding(writer, json);
    } else {
        ps_out_key(json, "results");
        ps_out_open(json, '[');
        ps_buf_slice(json->buf, ps_buf_view(&writer->content));
        ps_out_close(json, ']');
    }
    ps_out_key(json, "meta");
    ps_out_open(json, '{');
    ps_out_key(json, "api_version");
    ps_out_raw(json, PS_SLICE_LIT("{\"version\":\"2\"}"));
    if (writer->usage.input >= 0) {
        write_counts("billed_units", &writer->usage, json);
    }
    ps_out_close(json, '}');
    if (writer->base.options.operation == PS_OP_EMBED) {
        ps_out_member_cstr(json, "response_type", "embeddings_by_type");
    }
}

void ps_cohere_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                          struct ps_buf *out)
{
    struct ps_cohere_writer *writer = (struct ps_cohere_writer *)base;
    struct ps_json_out json = ps_json_out(out);

    (void)info; /* the API has no place for it */
    if (is_stream(writer)) {
        end_stream(writer, out);
        return;
    }
    ps_out_open(&json, '{');
    ps_out_member_text(&json, "id", base->options.id);
    if (base->options.operation == PS_OP_CHAT) {
        end_chat(writer, &json);
    } else {
        end_list(writer, &json);
    }
    ps_out_close(&json, '}');
}

/* ---- faults ---- */

void ps_cohere_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                           struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    ps_out_open(&json, '{');
    ps_out_member_text(&json, "id", request_id);
    ps_out_key(&json, "message");
    ps_out_cstr(&json, fault->message);
    ps_out_close(&json, '}');
}

void ps_cohere_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                                 struct ps_buf *out)
{
    struct ps_json_out json = ps_cohere_begin_event(out, "message-end");

    ps_out_member_text(&json, "id", request_id);
    ps_out_key(&json, "delta");
    ps_out_open(&json, '{');
    ps_out_member_cstr(&json, "finish_reason", "ERROR");
    ps_out_key(&json, "error");
    ps_out_cstr(&json, fault->message);
    ps_out_close(&json, '}');
    ps_cohere_end_event(&json);
}
