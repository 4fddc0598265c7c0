/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

#include "penstock/base/mem.h"

/*
 * Answers of OpenAI's API out of events, for models that do not speak it themselves. A stream goes
 * out as it comes (openai_writer_stream.c), a whole answer is held until the end
 * (openai_writer_whole.c).
 */

#define HEAD_BYTES 65536 /* of id and model, escaped */

/* ---- the members around the choices ---- */

static const char *id_prefix(const struct ps_openai_writer *writer)
{
    if (ps_openai_is_chat(writer)) {
        return "chatcmpl-";
    }
    return writer->base.options.operation == PS_OP_RERANK ? "rerank-" : "cmpl-";
}

void ps_openai_write_head(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    const char *object = !ps_openai_is_chat(writer)                      ? "text_completion"
                         : writer->base.options.mode == PS_WRITER_STREAM ? "chat.completion.chunk"
                                                                         : "chat.completion";

    ps_buf_cstr(out, "{\"id\":");
    ps_writer_write_id(&writer->base, id_prefix(writer), -1, out);
    if (writer->base.options.operation == PS_OP_RERANK) {
        ps_buf_cstr(out, ",\"model\":");
        ps_buf_json(out, writer->base.options.model);
        return;
    }
    ps_buf_cstr(out, ",\"object\":\"");
    ps_buf_cstr(out, object);
    ps_buf_cstr(out, "\",\"created\":");
    ps_buf_int(out, writer->base.options.created_s);
    ps_buf_cstr(out, ",\"model\":");
    ps_buf_json(out, writer->base.options.model);
    ps_buf_cstr(out, ",\"system_fingerprint\":\"penstock\",\"choices\":[");
}

/* The API has no word for a count that nobody told. */
static int64_t or_zero(int64_t count)
{
    return count > 0 ? count : 0;
}

static int64_t total_of(const struct ps_usage *usage)
{
    int64_t input = or_zero(usage->input);
    int64_t output = or_zero(usage->output);

    return usage->total >= 0 ? usage->total
                             : (input <= INT64_MAX - output ? input + output : INT64_MAX);
}

static void write_prompt_details(const struct ps_usage *usage, struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    if (usage->cached < 0 && usage->cache_write <= 0) {
        return;
    }
    ps_buf_cstr(out, ",\"prompt_tokens_details\":");
    ps_out_open(&json, '{');
    if (usage->cached >= 0) {
        ps_out_member_int(&json, "cached_tokens", usage->cached);
    }
    if (usage->cache_write > 0) {
        ps_out_member_int(&json, "cache_write_tokens", usage->cache_write);
    }
    ps_out_close(&json, '}');
}

void ps_openai_write_usage(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    const struct ps_usage *usage = &writer->usage;
    enum ps_operation operation = writer->base.options.operation;
    bool answers = operation != PS_OP_EMBED && operation != PS_OP_RERANK;
    struct ps_json_out json = {out, NULL, true};

    if (!writer->has_usage && operation != PS_OP_EMBED) {
        return;
    }
    ps_out_key(&json, "usage");
    ps_out_open(&json, '{');
    ps_out_member_int(&json, "prompt_tokens", or_zero(usage->input));
    if (answers) {
        ps_out_member_int(&json, "completion_tokens", or_zero(usage->output));
    }
    ps_out_member_int(&json, "total_tokens", total_of(usage));
    if (answers) {
        write_prompt_details(usage, out);
    }
    if (answers && usage->reasoning >= 0) {
        ps_out_key(&json, "completion_tokens_details");
        ps_out_open(&json, '{');
        ps_out_member_int(&json, "reasoning_tokens", usage->reasoning);
        ps_out_close(&json, '}');
    }
    ps_out_close(&json, '}');
}

void ps_openai_write_finish(const struct ps_openai_answer *answer, struct ps_buf *out)
{
    ps_buf_cstr(out, ",\"finish_reason\":");
    if (answer->finish != NULL) {
        ps_buf_byte(out, '"');
        ps_buf_cstr(out, answer->finish);
        ps_buf_byte(out, '"');
    } else {
        ps_buf_cstr(out, "null");
    }
}

/* ---- elements that both ways have ---- */

bool ps_openai_write_citation(const struct ps_openai_answer *answer,
                              const struct ps_event_citation *citation, struct ps_json_out *out)
{
    int64_t here = (int64_t)answer->chars;

    if (citation == NULL || citation->url.len == 0) {
        return false; /* the API cites only from the web */
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "url_citation");
    ps_out_key(out, "url_citation");
    ps_out_open(out, '{');
    ps_out_member_int(out, "start_index", citation->start >= 0 ? citation->start : here);
    ps_out_member_int(out, "end_index", citation->end >= 0 ? citation->end : here);
    ps_out_member_text(out, "url", citation->url);
    ps_out_key(out, "title");
    ps_out_text(out, citation->title);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return true;
}

void ps_openai_write_image(const struct ps_event_media *media, struct ps_json_out *out)
{
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "image_url");
    ps_out_key(out, "image_url");
    ps_out_open(out, '{');
    ps_out_key(out, "url");
    ps_out_string_begin(out);
    if (media->data.len > 0) {
        ps_out_string_plain(out, PS_SLICE_LIT("data:"));
        ps_out_string_text(out, media->media_type);
        ps_out_string_plain(out, PS_SLICE_LIT(";base64,"));
        ps_out_string_text(out, media->data);
    } else {
        ps_out_string_text(out, media->url);
    }
    ps_out_string_end(out);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
}

/* Where Gemini's own clients of this API look for it. */
void ps_openai_write_signature(struct ps_slice signature, struct ps_json_out *out)
{
    if (signature.len == 0) {
        return;
    }
    ps_out_key(out, "extra_content");
    ps_out_open(out, '{');
    ps_out_key(out, "google");
    ps_out_open(out, '{');
    ps_out_member_text(out, "thought_signature", signature);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
}

/* ---- life ---- */

int ps_openai_writer_init(struct ps_writer *base)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;
    enum ps_operation operation = base->options.operation;

    writer->usage = PS_USAGE_NONE;
    if (operation != PS_OP_CHAT && operation != PS_OP_COMPLETE) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    ps_buf_init(&writer->data, base->options.max_bytes);
    ps_buf_init(&writer->head, HEAD_BYTES);
    if (base->options.mode == PS_WRITER_STREAM) {
        ps_openai_write_head(writer, &writer->head);
    }
    return writer->head.failed ? -1 : 0;
}

void ps_openai_writer_deinit(struct ps_writer *base)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;

    for (int i = 0; i < PS_OPENAI_CHOICES; i++) {
        ps_openai_answer_free(writer->answers[i]);
    }
    ps_buf_deinit(&writer->data);
    ps_buf_deinit(&writer->head);
}

/* NULL: more choices than may be asked for, or no memory. */
static struct ps_openai_answer *answer_of(struct ps_openai_writer *writer, uint32_t choice)
{
    size_t max = writer->base.options.max_bytes;
    struct ps_openai_answer *answer;

    if (choice >= PS_OPENAI_CHOICES || writer->answers[choice] != NULL) {
        return choice < PS_OPENAI_CHOICES ? writer->answers[choice] : NULL;
    }
    answer = ps_calloc(1, sizeof(*answer));
    if (answer == NULL) {
        return NULL;
    }
    answer->index = choice;
    for (int i = 0; i < PS_OPENAI_SAID; i++) {
        ps_buf_init(&answer->said[i], max);
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        ps_buf_init(&answer->logprobs[i], max);
    }
    ps_buf_init(&answer->thoughts, max);
    ps_buf_init(&answer->citations, max);
    ps_buf_init(&answer->images, max);
    ps_buf_init(&answer->calls, PS_OPENAI_CALLS * sizeof(struct ps_openai_call));
    writer->answers[choice] = answer;
    return answer;
}

/* ---- what is held ---- */

static void add_held(const struct ps_buf *buf, size_t *held, bool *failed)
{
    *held += buf->len;
    *failed = *failed || buf->failed;
}

static size_t held_of(const struct ps_openai_answer *answer, bool *failed)
{
    const struct ps_openai_call *calls =
        (const struct ps_openai_call *)(const void *)answer->calls.ptr;
    size_t held = 0;

    for (int i = 0; i < PS_OPENAI_SAID; i++) {
        add_held(&answer->said[i], &held, failed);
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        add_held(&answer->logprobs[i], &held, failed);
    }
    add_held(&answer->thoughts, &held, failed);
    add_held(&answer->citations, &held, failed);
    add_held(&answer->images, &held, failed);
    add_held(&answer->calls, &held, failed);
    if (answer->calls.len > 0) { /* only the last one grows, as good as always */
        for (size_t i = 0; i < answer->calls.len / sizeof(*calls); i++) {
            add_held(&calls[i].head, &held, failed);
            add_held(&calls[i].arguments, &held, failed);
            add_held(&calls[i].tail, &held, failed);
        }
    }
    return held;
}

/* What is held must not grow above the bound, all of it together. */
static int check_held(const struct ps_openai_writer *writer, const struct ps_event *event,
                      bool failed, struct ps_fault *ret_fault)
{
    size_t max = writer->base.options.max_bytes;
    size_t held = writer->held + writer->data.len;

    failed = failed || writer->data.failed;
    if (!failed && held <= max) {
        return 0;
    }
    if (event->text.len > 0 && held <= max && event->text.len <= max - held) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The model's answer is larger than the gateway can hold.");
}

/* ---- events ---- */

bool ps_openai_is_legacy(const struct ps_openai_writer *writer)
{
    const struct ps_request *request = writer->base.options.request;

    return request != NULL && request->neutral != NULL && request->neutral->legacy_calls;
}

static const char *word_of(const struct ps_openai_writer *writer, enum ps_finish finish,
                           bool called)
{
    const char *calls = ps_openai_is_legacy(writer) ? "function_call" : "tool_calls";

    switch (finish) {
    case PS_FINISH_LENGTH:
        return "length";
    case PS_FINISH_TOOL_CALLS:
        return calls;
    case PS_FINISH_CONTENT_FILTER:
        return "content_filter";
    case PS_FINISH_NONE:
    case PS_FINISH_STOP:
    case PS_FINISH_OTHER:
    default:
        return called ? calls : "stop";
    }
}

static int answer_event(struct ps_openai_writer *writer, const struct ps_event *event,
                        struct ps_buf *out, struct ps_fault *ret_fault)
{
    struct ps_openai_answer *answer = answer_of(writer, event->choice);
    bool failed = false;
    size_t before;

    if (answer == NULL) {
        return event->choice < PS_OPENAI_CHOICES
                   ? ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                                  "The gateway is short of memory for this answer.")
                   : 0;
    }
    if (event->kind == PS_EVENT_FINISH && answer->finish != NULL) {
        answer->finish = word_of(writer, event->finish, answer->call_count > 0);
        return 0;
    }
    before = held_of(answer, &failed);
    if (event->kind == PS_EVENT_LOGPROBS) {
        ps_openai_note_logprobs(writer, answer, event);
    } else if (event->kind == PS_EVENT_FINISH) {
        answer->finish = word_of(writer, event->finish, answer->call_count > 0);
    }
    if (writer->base.options.mode == PS_WRITER_STREAM) {
        ps_openai_stream_event(writer, answer, event, out);
    } else {
        ps_openai_whole_event(writer, answer, event);
    }
    writer->held += held_of(answer, &failed) - before;
    return check_held(writer, event, failed, ret_fault);
}

/* The client's own, for providers that only number them. */
static void echo_document(const struct ps_openai_writer *writer, uint32_t index,
                          struct ps_json_out *out)
{
    const struct ps_request *request = writer->base.options.request;
    const struct ps_neutral *neutral = request != NULL ? request->neutral : NULL;

    if (neutral == NULL || neutral->return_documents != PS_TRI_YES ||
        index >= neutral->input_count) {
        return;
    }
    if (neutral->inputs[index].ptr[0] == '{') {
        ps_out_member(out, "document", neutral->inputs[index]);
        return;
    }
    ps_out_key(out, "document");
    ps_out_open(out, '{');
    ps_out_member(out, "text", neutral->inputs[index]);
    ps_out_close(out, '}');
}

static void add_score(struct ps_openai_writer *writer, const struct ps_event *event)
{
    struct ps_json_out out = {&writer->data, NULL, writer->data.len > 0};

    ps_out_open(&out, '{');
    ps_out_member_int(&out, "index", event->index);
    if (event->score->document.len > 0) {
        ps_out_member(&out, "document", event->score->document);
    } else {
        echo_document(writer, event->index, &out);
    }
    ps_out_key(&out, "relevance_score");
    if (event->score->number.len > 0) {
        ps_out_raw(&out, event->score->number);
    } else {
        ps_buf_printf(out.buf, "%.9g", event->score->relevance);
    }
    ps_out_close(&out, '}');
}

static void add_image(struct ps_openai_writer *writer, const struct ps_event *event)
{
    struct ps_json_out out = {&writer->data, NULL, writer->data.len > 0};

    ps_out_open(&out, '{');
    ps_out_member_text(&out, "b64_json", event->media->data);
    ps_out_member_text(&out, "url", event->media->url);
    ps_out_member_text(&out, "revised_prompt", event->media->prompt);
    ps_out_close(&out, '}');
}

/* Operations whose answer is a list of things. */
static int list_event(struct ps_openai_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    switch (writer->base.options.operation) {
    case PS_OP_EMBED:
        if (event->kind == PS_EVENT_EMBEDDING &&
            !ps_openai_write_embedding(event, writer->base.options.base64, &writer->data)) {
            return ps_fault_set(ret_fault, PS_FAULT_INTERNAL, NULL,
                                "The model gave a vector that holds no number.");
        }
        break;
    case PS_OP_RERANK:
        if (event->kind == PS_EVENT_SCORE) {
            add_score(writer, event);
        }
        break;
    case PS_OP_IMAGE:
        if (event->kind == PS_EVENT_MEDIA && event->media != NULL) {
            add_image(writer, event);
        }
        break;
    case PS_OP_CHAT:
    case PS_OP_COMPLETE:
    case PS_OP_COUNT_TOKENS:
    case PS_OP_PASS:
    case PS_OP_MODELS:
    case PS_OP_COUNT:
    default:
        break;
    }
    return check_held(writer, event, false, ret_fault);
}

static void text_event(const struct ps_event *event, struct ps_buf *out)
{
    if (event->kind == PS_EVENT_TEXT && event->choice == 0) {
        ps_buf_slice(out, event->text);
    }
}

int ps_openai_writer_event(struct ps_writer *base, const struct ps_event *event, struct ps_buf *out,
                           struct ps_fault *ret_fault)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;

    switch (event->kind) {
    case PS_EVENT_USAGE:
        writer->has_usage = true;
        writer->usage = event->usage;
        return 0;
    case PS_EVENT_BLOCK_START:
    case PS_EVENT_BLOCK_STOP:
    case PS_EVENT_RESULT:
    case PS_EVENT_PING:
    case PS_EVENT_OPAQUE:
    case PS_EVENT_FAULT:
    case PS_EVENT_DONE:
        return 0;
    case PS_EVENT_START:
    case PS_EVENT_TEXT:
    case PS_EVENT_REASONING:
    case PS_EVENT_REFUSAL:
    case PS_EVENT_TOOL_CALL:
    case PS_EVENT_CITATION:
    case PS_EVENT_LOGPROBS:
    case PS_EVENT_EMBEDDING:
    case PS_EVENT_SCORE:
    case PS_EVENT_MEDIA:
    case PS_EVENT_FINISH:
    default:
        break;
    }
    if (base->options.operation != PS_OP_CHAT && base->options.operation != PS_OP_COMPLETE) {
        return list_event(writer, event, ret_fault);
    }
    if (base->options.mode == PS_WRITER_TEXT) {
        text_event(event, out);
        return 0;
    }
    return answer_event(writer, event, out, ret_fault);
}

/* ---- the end ---- */

static void write_list(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"object\":\"list\",\"data\":[");
    ps_buf_slice(out, ps_buf_view(&writer->data));
    ps_buf_cstr(out, "],\"model\":");
    ps_buf_json(out, writer->base.options.model);
    ps_openai_write_usage(writer, out);
    ps_buf_cstr(out, "}\n");
}

static void write_ranking(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_openai_write_head(writer, out);
    ps_buf_cstr(out, ",\"results\":[");
    ps_buf_slice(out, ps_buf_view(&writer->data));
    ps_buf_byte(out, ']');
    ps_openai_write_usage(writer, out);
    ps_buf_cstr(out, "}\n");
}

static void write_images(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    ps_out_open(&json, '{');
    ps_out_member_int(&json, "created", writer->base.options.created_s);
    ps_out_key(&json, "data");
    ps_out_open(&json, '[');
    ps_buf_slice(out, ps_buf_view(&writer->data));
    ps_out_close(&json, ']');
    ps_out_close(&json, '}');
    ps_buf_byte(out, '\n');
}

void ps_openai_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                          struct ps_buf *out)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;

    (void)info; /* the API has no place for it */
    if (base->options.operation == PS_OP_EMBED) {
        write_list(writer, out);
    } else if (base->options.operation == PS_OP_RERANK) {
        write_ranking(writer, out);
    } else if (base->options.operation == PS_OP_IMAGE) {
        write_images(writer, out);
    } else if (base->options.mode == PS_WRITER_WHOLE) {
        if (answer_of(writer, 0) == NULL) {
            out->failed = true;
            return;
        }
        ps_openai_whole_end(writer, out);
    } else if (base->options.mode == PS_WRITER_STREAM) {
        ps_openai_stream_end(writer, out);
    }
}
