/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"
#include "openai_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/*
 * Answers of Ollama's API out of events: for models that do not speak it themselves. There is one
 * answer: what other choices say is left out.
 *
 * A stream is a line for every piece of text or thought; calls of tools are told whole, in one line
 * when the model has ended; the last line says why, and counts tokens and time. A whole answer is
 * that last line with all that was said in it.
 */

#define NS_PER_US 1000

static bool is_stream(const struct ps_ollama_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_STREAM;
}

static enum ps_ollama_shape shape_of(const struct ps_ollama_writer *writer)
{
    enum ps_ollama_shape shape = ps_ollama_shape_of(writer->base.options.request);

    if (writer->base.options.operation == PS_OP_EMBED) {
        return shape == PS_OLLAMA_EMBEDDINGS ? shape : PS_OLLAMA_EMBED;
    }
    return shape == PS_OLLAMA_GENERATE ? shape : PS_OLLAMA_CHAT;
}

int ps_ollama_writer_init(struct ps_writer *base)
{
    struct ps_ollama_writer *writer = (struct ps_ollama_writer *)base;
    size_t max = base->options.max_bytes;

    if (base->options.operation != PS_OP_CHAT || base->options.mode != PS_WRITER_STREAM) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    writer->usage = PS_USAGE_NONE;
    ps_buf_init(&writer->content, max);
    ps_buf_init(&writer->thought, max);
    ps_buf_init(&writer->images, max);
    ps_buf_init(&writer->tokens, max);
    ps_buf_init(&writer->calls, PS_OLLAMA_CALLS * sizeof(struct ps_ollama_call));
    ps_buf_init(&writer->vectors, PS_NEUTRAL_INPUTS * sizeof(struct ps_ollama_vector));
    return 0;
}

static struct ps_ollama_call *calls_of(const struct ps_ollama_writer *writer, size_t *ret_count)
{
    *ret_count = writer->calls.len / sizeof(struct ps_ollama_call);
    return (struct ps_ollama_call *)(void *)writer->calls.ptr;
}

static void forget_calls(struct ps_ollama_writer *writer)
{
    size_t count;
    struct ps_ollama_call *calls = calls_of(writer, &count);

    for (size_t i = 0; i < count; i++) {
        ps_buf_deinit(&calls[i].head);
        ps_buf_deinit(&calls[i].arguments);
    }
    writer->calls.len = 0;
}

void ps_ollama_writer_deinit(struct ps_writer *base)
{
    struct ps_ollama_writer *writer = (struct ps_ollama_writer *)base;

    forget_calls(writer);
    ps_buf_deinit(&writer->content);
    ps_buf_deinit(&writer->thought);
    ps_buf_deinit(&writer->images);
    ps_buf_deinit(&writer->tokens);
    ps_buf_deinit(&writer->calls);
    ps_buf_deinit(&writer->vectors);
}

/* ---- lines ---- */

void ps_ollama_write_time(int64_t seconds, struct ps_json_out *out)
{
    time_t time = (time_t)seconds;
    struct tm utc;
    char at[32] = "1970-01-01T00:00:00Z";

    if (gmtime_r(&time, &utc) != NULL) {
        (void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    ps_out_cstr(out, at);
}

static void write_list(const char *name, struct ps_slice elements, struct ps_json_out *out)
{
    if (elements.len > 0) {
        ps_out_key(out, name);
        ps_out_open(out, '[');
        ps_out_raw(out, elements);
        ps_out_close(out, ']');
    }
}

static void write_calls(const struct ps_ollama_writer *writer, struct ps_json_out *out)
{
    size_t count;
    const struct ps_ollama_call *calls = calls_of(writer, &count);

    if (count == 0) {
        return;
    }
    ps_out_key(out, "tool_calls");
    ps_out_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        ps_out_raw(out, ps_buf_view(&calls[i].head));
        out->comma = false;
        ps_out_arguments(out, ps_buf_view(&calls[i].arguments));
        ps_out_close(out, '}');
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
}

/* What one line says; all may be empty. */
struct said {
    struct ps_slice content;
    struct ps_slice thought;
    struct ps_slice images; /* elements of their list */
    bool calls;             /* those that are held */
};

static void open_line(const struct ps_ollama_writer *writer, const struct said *said,
                      struct ps_json_out *out)
{
    bool chat = shape_of(writer) == PS_OLLAMA_CHAT;

    ps_out_open(out, '{');
    ps_out_key(out, "model");
    ps_out_text(out, writer->base.options.model);
    ps_out_key(out, "created_at");
    ps_ollama_write_time(writer->base.options.created_s, out);
    if (chat) {
        ps_out_key(out, "message");
        ps_out_open(out, '{');
        ps_out_member_cstr(out, "role", "assistant");
    }
    ps_out_key(out, chat ? "content" : "response");
    ps_out_text(out, said->content);
    ps_out_member_text(out, "thinking", said->thought);
    if (chat) {
        write_list("images", said->images, out);
        if (said->calls) {
            write_calls(writer, out);
        }
        ps_out_close(out, '}');
    }
}

static void write_tokens(struct ps_ollama_writer *writer, struct ps_json_out *out)
{
    write_list("logprobs", ps_buf_view(&writer->tokens), out);
    ps_buf_reset(&writer->tokens);
}

static void write_line(struct ps_ollama_writer *writer, const struct said *said, struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    open_line(writer, said, &json);
    ps_out_member_bool(&json, "done", false);
    if (said->content.len > 0) {
        write_tokens(writer, &json);
    }
    ps_out_close(&json, '}');
    ps_buf_byte(out, '\n');
}

static void tell_calls(struct ps_ollama_writer *writer, struct ps_buf *out)
{
    const struct said said = {.calls = true};

    if (is_stream(writer) && writer->calls.len > 0) {
        write_line(writer, &said, out);
        forget_calls(writer);
    }
}

/* ---- events ---- */

static void say_text(struct ps_ollama_writer *writer, struct ps_slice text, struct ps_buf *out)
{
    const struct said said = {.content = text};

    if (!is_stream(writer)) {
        ps_buf_slice(&writer->content, text);
    } else if (text.len > 0) {
        write_line(writer, &said, out);
    }
}

static void say_thought(struct ps_ollama_writer *writer, struct ps_slice text, struct ps_buf *out)
{
    const struct said said = {.thought = text};

    if (!is_stream(writer)) {
        ps_buf_slice(&writer->thought, text);
    } else if (text.len > 0) {
        write_line(writer, &said, out);
    }
}

/* Only bytes have a place. */
static void say_image(struct ps_ollama_writer *writer, const struct ps_event_media *media,
                      struct ps_buf *out)
{
    struct ps_json_out list = {&writer->images, NULL, writer->images.len > 0};
    struct said said = {.calls = false};

    if (media == NULL || media->data.len == 0 || shape_of(writer) != PS_OLLAMA_CHAT) {
        return;
    }
    ps_out_text(&list, media->data);
    if (is_stream(writer) && !writer->images.failed) {
        said.images = ps_buf_view(&writer->images);
        write_line(writer, &said, out);
        ps_buf_reset(&writer->images);
    }
}

/* NULL: it never began, or `calls` has failed. */
static struct ps_ollama_call *call_of(struct ps_ollama_writer *writer, const struct ps_event *event)
{
    struct ps_ollama_call call = {.block = event->block};
    struct ps_json_out head;
    size_t count;
    struct ps_ollama_call *calls = calls_of(writer, &count);

    for (size_t i = count; i > 0; i--) {
        if (calls[i - 1].block == event->block) {
            return &calls[i - 1];
        }
    }
    if (event->tool == NULL || event->tool->name.len == 0) {
        return NULL;
    }
    ps_buf_init(&call.head, writer->base.options.max_bytes);
    ps_buf_init(&call.arguments, writer->base.options.max_bytes);
    ps_buf_append(&writer->calls, &call, sizeof(call));
    if (writer->calls.failed) {
        return NULL;
    }
    calls = calls_of(writer, &count);
    head = ps_json_out(&calls[count - 1].head);
    ps_out_open(&head, '{');
    ps_out_member_text(&head, "id", event->tool->id);
    ps_out_key(&head, "function");
    ps_out_open(&head, '{');
    ps_out_member_int(&head, "index", (int64_t)count - 1);
    ps_out_member_text(&head, "name", event->tool->name);
    ps_out_key(&head, "arguments");
    return &calls[count - 1];
}

static void say_call(struct ps_ollama_writer *writer, const struct ps_event *event)
{
    struct ps_ollama_call *call = call_of(writer, event);

    if (call != NULL) {
        ps_buf_slice(&call->arguments, event->text);
    }
}

static void note_finish(struct ps_ollama_writer *writer, const struct ps_event *event)
{
    if (writer->finish != PS_FINISH_NONE) {
        return;
    }
    writer->finish = event->finish;
    if (event->finish == PS_FINISH_OTHER && event->finish_text.len < sizeof(writer->reason)) {
        (void)snprintf(writer->reason, sizeof(writer->reason), "%.*s", (int)event->finish_text.len,
                       event->finish_text.len > 0 ? event->finish_text.ptr : "");
    }
}

static int add_vector(struct ps_ollama_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    struct ps_ollama_vector vector = {.index = event->index, .at = writer->content.len};

    if (!ps_openai_write_vector(event, false, &writer->content)) {
        return ps_fault_set(ret_fault, PS_FAULT_INTERNAL, NULL,
                            "The model gave a vector that holds no number.");
    }
    vector.len = writer->content.len - vector.at;
    ps_buf_append(&writer->vectors, &vector, sizeof(vector));
    return 0;
}

static void add_held(const struct ps_buf *buf, size_t *held, bool *failed)
{
    *held += buf->len;
    *failed = *failed || buf->failed;
}

static int check_held(const struct ps_ollama_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    size_t max = writer->base.options.max_bytes;
    bool failed = writer->calls.failed || writer->vectors.failed;
    size_t held = 0;
    size_t count;
    const struct ps_ollama_call *calls = calls_of(writer, &count);

    add_held(&writer->content, &held, &failed);
    add_held(&writer->thought, &held, &failed);
    add_held(&writer->images, &held, &failed);
    add_held(&writer->tokens, &held, &failed);
    for (size_t i = 0; i < count; i++) {
        add_held(&calls[i].head, &held, &failed);
        add_held(&calls[i].arguments, &held, &failed);
    }
    if (!failed && held <= max) {
        return 0;
    }
    if (writer->calls.failed && count == PS_OLLAMA_CALLS) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The model calls more tools at once than the gateway can hold.");
    }
    if (held <= max && event->text.len > 0 && event->text.len <= max - held) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The model's answer is larger than the gateway can hold.");
}

static void chat_event(struct ps_ollama_writer *writer, const struct ps_event *event,
                       struct ps_buf *out)
{
    if (event->kind == PS_EVENT_TEXT || event->kind == PS_EVENT_REFUSAL) {
        say_text(writer, event->text, out);
    } else if (event->kind == PS_EVENT_REASONING) {
        say_thought(writer, event->text, out);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        say_call(writer, event);
    } else if (event->kind == PS_EVENT_MEDIA) {
        say_image(writer, event->media, out);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        ps_openai_note_logprob(&writer->tokens, event);
    } else if (event->kind == PS_EVENT_FINISH) {
        note_finish(writer, event);
        tell_calls(writer, out);
    }
}

int ps_ollama_writer_event(struct ps_writer *base, const struct ps_event *event, struct ps_buf *out,
                           struct ps_fault *ret_fault)
{
    struct ps_ollama_writer *writer = (struct ps_ollama_writer *)base;

    if (event->kind == PS_EVENT_USAGE) {
        writer->usage = event->usage;
        return 0;
    }
    if (event->choice != 0) {
        return 0;
    }
    if (base->options.operation == PS_OP_CHAT) {
        chat_event(writer, event, out);
    } else if (event->kind == PS_EVENT_EMBEDDING && add_vector(writer, event, ret_fault) != 0) {
        return -1;
    }
    return check_held(writer, event, ret_fault);
}

/* ---- the end ---- */

static const char *reason_of(const struct ps_ollama_writer *writer)
{
    const struct ps_request *request = writer->base.options.request;

    if (writer->finish == PS_FINISH_NONE && request != NULL && request->own_answer) {
        return (request->shape & PS_OLLAMA_UNLOADS) != 0 ? "unload" : "load";
    }
    switch (writer->finish) {
    case PS_FINISH_LENGTH:
        return "length";
    case PS_FINISH_CONTENT_FILTER:
        return "content_filter";
    case PS_FINISH_OTHER:
        return writer->reason[0] != '\0' ? writer->reason : "stop";
    case PS_FINISH_NONE:
    case PS_FINISH_STOP:
    case PS_FINISH_TOOL_CALLS: /* the calls themselves say so */
    default:
        return "stop";
    }
}

static void write_ns(const char *name, int64_t us, struct ps_json_out *out)
{
    ps_out_member_int(out, name, us > 0 && us < INT64_MAX / NS_PER_US ? us * NS_PER_US : 0);
}

static void write_count(const char *name, int64_t count, struct ps_json_out *out)
{
    if (count >= 0) {
        ps_out_member_int(out, name, count);
    }
}

/* Clients divide tokens by time. When the first token came is seen in a stream only; of a whole
 * answer all of the time is the model's. */
static void write_times(const struct ps_ollama_writer *writer, const struct ps_answer_info *info,
                        struct ps_json_out *out)
{
    int64_t queue = info->queue_us > 0 ? info->queue_us : 0;
    int64_t first =
        is_stream(writer) && info->first_token_us > queue ? info->first_token_us : queue;

    write_ns("total_duration", info->total_us, out);
    write_ns("load_duration", queue, out);
    write_count("prompt_eval_count", writer->usage.input, out);
    if (is_stream(writer)) {
        write_ns("prompt_eval_duration", first - queue, out);
    }
    write_count("eval_count", writer->usage.output, out);
    write_ns("eval_duration", info->total_us - first, out);
}

static void end_chat(struct ps_ollama_writer *writer, const struct ps_answer_info *info,
                     struct ps_buf *out)
{
    const struct said said = {ps_buf_view(&writer->content), ps_buf_view(&writer->thought),
                              ps_buf_view(&writer->images), true};
    struct ps_json_out json = ps_json_out(out);

    tell_calls(writer, out);
    json.comma = false;
    open_line(writer, &said, &json);
    ps_out_member_bool(&json, "done", true);
    ps_out_member_cstr(&json, "done_reason", reason_of(writer));
    write_times(writer, info, &json);
    write_tokens(writer, &json);
    ps_out_close(&json, '}');
    ps_buf_byte(out, '\n');
}

static int by_index(const void *left, const void *right)
{
    const struct ps_ollama_vector *a = left;
    const struct ps_ollama_vector *b = right;

    return a->index < b->index ? -1 : a->index > b->index;
}

static void end_embedding(struct ps_ollama_writer *writer, const struct ps_answer_info *info,
                          struct ps_buf *out)
{
    struct ps_ollama_vector *vectors = (struct ps_ollama_vector *)(void *)writer->vectors.ptr;
    size_t count = writer->vectors.len / sizeof(*vectors);
    bool older = shape_of(writer) == PS_OLLAMA_EMBEDDINGS;
    struct ps_json_out json = ps_json_out(out);

    if (count > 1) {
        qsort(vectors, count, sizeof(*vectors), by_index);
    }
    ps_out_open(&json, '{');
    if (older) {
        ps_out_key(&json, "embedding");
        ps_out_raw(&json, count > 0 ? ps_slice(writer->content.ptr + vectors[0].at, vectors[0].len)
                                    : PS_SLICE_LIT("[]"));
    } else {
        ps_out_key(&json, "model");
        ps_out_text(&json, writer->base.options.model);
        ps_out_key(&json, "embeddings");
        ps_out_open(&json, '[');
        for (size_t i = 0; i < count; i++) {
            ps_out_raw(&json, ps_slice(writer->content.ptr + vectors[i].at, vectors[i].len));
        }
        ps_out_close(&json, ']');
        write_ns("total_duration", info->total_us, &json);
        write_ns("load_duration", info->queue_us, &json);
        write_count("prompt_eval_count", writer->usage.input, &json);
    }
    ps_out_close(&json, '}');
}

void ps_ollama_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                          struct ps_buf *out)
{
    struct ps_ollama_writer *writer = (struct ps_ollama_writer *)base;

    if (base->options.operation == PS_OP_EMBED) {
        end_embedding(writer, info, out);
    } else {
        end_chat(writer, info, out);
    }
}
