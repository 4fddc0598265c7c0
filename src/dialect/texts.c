/* SPDX-License-Identifier: Apache-2.0 */
#include "texts.h"

#define ID_BYTES 512

/* ---- framing ---- */

bool ps_texts_break(struct ps_texts *texts, const char *why)
{
    (void)ps_decoder_break(&texts->base, PS_FAULT_UPSTREAM_BROKEN, why);
    return false;
}

static enum ps_decode out_of_memory(struct ps_texts *texts)
{
    return ps_decoder_break(&texts->base, PS_FAULT_NO_MEMORY,
                            "The gateway is short of memory for this answer.");
}

static enum ps_decode incomplete(struct ps_texts *texts)
{
    return ps_decoder_break(&texts->base, PS_FAULT_STREAM_INCOMPLETE,
                            "The provider's stream ended before the answer was finished.");
}

static bool is_json(const struct ps_texts *texts, struct ps_slice text)
{
    const struct ps_json_limits limits = {texts->base.options.json_depth,
                                          texts->base.options.json_nodes};

    return ps_json_scan_text(text, NULL, &limits, NULL, NULL) == PS_JSON_OK;
}

static bool on_sse(void *arg, const struct ps_sse_event *event)
{
    struct ps_texts *texts = arg;
    struct ps_decoder *base = &texts->base;
    struct ps_slice text = ps_raw_trimmed(event->data);

    base->raw = event->raw;
    if (!event->has_data || text.len == 0) {
        return ps_decoder_emit_kind(base, PS_EVENT_PING);
    }
    if (!is_json(texts, text)) {
        if (texts->finishing) {
            return false; /* cut: the end says what is wrong */
        }
        if (!texts->ops->ndjson && ps_slice_eq(text, PS_SLICE_LIT("[DONE]"))) {
            return ps_decoder_emit_kind(base, PS_EVENT_PING);
        }
        return ps_texts_break(texts, "The provider sent an event that is not valid JSON.");
    }
    if (!texts->ops->on_text(texts, event->name, text) || base->ended) {
        return false;
    }
    return base->raw.len == 0 || ps_decoder_emit_kind(base, PS_EVENT_OPAQUE);
}

static bool is_stream(const struct ps_texts *texts, struct ps_slice content_type)
{
    struct ps_slice type = ps_dialect_media_type(content_type);

    if (ps_dialect_is_stream(type)) {
        return true;
    }
    return texts->base.options.stream && !ps_dialect_is_json(type);
}

int ps_texts_init(struct ps_texts *texts, const struct ps_texts_ops *ops,
                  struct ps_slice content_type)
{
    const struct ps_decoder_options *options = &texts->base.options;
    const struct ps_json_limits limits = {options->json_depth, options->json_nodes};

    texts->ops = ops;
    texts->is_stream = is_stream(texts, content_type);
    ps_sse_init(&texts->sse, options->event_bytes, ops->ndjson, on_sse, texts);
    ps_buf_init(&texts->body, options->event_bytes);
    ps_buf_init(&texts->plain, options->event_bytes);
    ps_json_scan_init(&texts->scan, NULL, &limits, NULL, NULL);
    return 0;
}

void ps_texts_deinit(struct ps_decoder *base)
{
    struct ps_texts *texts = (struct ps_texts *)base;

    ps_sse_deinit(&texts->sse);
    ps_buf_deinit(&texts->body);
    ps_buf_deinit(&texts->plain);
}

static enum ps_decode broken_json(struct ps_texts *texts)
{
    (void)ps_texts_break(texts, "");
    (void)ps_fault_set(&texts->base.fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                       "The provider's answer %s.", ps_json_error_text(texts->scan.error));
    return PS_DECODE_BROKEN;
}

static enum ps_decode whole_feed(struct ps_texts *texts, const char *ptr, size_t len)
{
    ps_buf_append(&texts->body, ptr, len);
    if (texts->body.failed && texts->base.options.fields) {
        (void)ps_texts_break(texts,
                             "The provider's answer is larger than the gateway can translate.");
        return PS_DECODE_BROKEN;
    }
    if (ps_json_scan_feed(&texts->scan, ptr, len) != PS_JSON_OK) {
        return broken_json(texts);
    }
    if (!texts->base.options.fields) {
        texts->base.raw = ps_slice(ptr, len);
        (void)ps_decoder_emit_kind(&texts->base, PS_EVENT_OPAQUE);
    }
    return ps_decoder_result(&texts->base);
}

enum ps_decode ps_texts_feed(struct ps_decoder *base, const char *ptr, size_t len)
{
    struct ps_texts *texts = (struct ps_texts *)base;

    if (!texts->is_stream) {
        return whole_feed(texts, ptr, len);
    }
    switch (ps_sse_feed(&texts->sse, ptr, len)) {
    case PS_SSE_TOO_LARGE:
        return ps_decoder_break(base, PS_FAULT_UPSTREAM_BROKEN,
                                "The provider sent an event above the limit.");
    case PS_SSE_NO_MEMORY:
        return out_of_memory(texts);
    case PS_SSE_OK:
    case PS_SSE_STOPPED:
    default:
        return ps_decoder_result(base);
    }
}

static enum ps_decode whole_finish(struct ps_texts *texts)
{
    struct ps_decoder *base = &texts->base;

    if (ps_json_scan_finish(&texts->scan) != PS_JSON_OK) {
        return broken_json(texts);
    }
    if (texts->scan.root != PS_JSON_OBJECT) {
        (void)ps_texts_break(texts, "The provider's answer is not a JSON object.");
    } else if ((texts->body.failed || /* it has gone by all the same */
                texts->ops->on_whole(texts, ps_raw_trimmed(ps_buf_view(&texts->body)))) &&
               ps_decoder_emit_kind(base, PS_EVENT_RESULT)) {
        (void)ps_decoder_emit_kind(base, PS_EVENT_DONE);
    }
    return ps_decoder_result(base);
}

enum ps_decode ps_texts_finish(struct ps_decoder *base)
{
    struct ps_texts *texts = (struct ps_texts *)base;
    bool partial;

    if (!texts->is_stream) {
        return whole_finish(texts);
    }
    texts->finishing = true;
    if (ps_sse_finish(&texts->sse, &partial) == PS_SSE_NO_MEMORY) {
        return out_of_memory(texts);
    }
    return base->broken || base->stopped || base->ended ? ps_decoder_result(base)
                                                        : incomplete(texts);
}

/* ---- values ---- */

bool ps_texts_is_json(struct ps_slice text)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};

    return ps_json_scan_text(text, NULL, &limits, NULL, NULL) == PS_JSON_OK;
}

int64_t ps_texts_count(struct ps_slice raw)
{
    int64_t count;

    return raw.len > 0 && ps_json_int(raw, &count) && count >= 0 ? count : -1;
}

bool ps_texts_begin(struct ps_texts *texts, size_t len)
{
    ps_buf_reset(&texts->plain);
    if (len > 0 && ps_buf_reserve(&texts->plain, len) == NULL) {
        (void)out_of_memory(texts); /* text left out would be a lie */
        return false;
    }
    return true;
}

struct ps_slice ps_texts_plain(struct ps_texts *texts, struct ps_slice raw)
{
    size_t start = texts->plain.len;
    char *room;

    if (!ps_raw_says(raw)) {
        return PS_SLICE_NONE;
    }
    if (memchr(raw.ptr, '\\', raw.len) == NULL) {
        return ps_slice(raw.ptr + 1, raw.len - 2);
    }
    room = ps_buf_reserve(&texts->plain, raw.len); /* room was made: it does not move */
    if (room == NULL) {
        return PS_SLICE_NONE;
    }
    ps_buf_commit(&texts->plain, ps_json_unescape(raw, room));
    return ps_slice(texts->plain.ptr + start, texts->plain.len - start);
}

/* ---- events ---- */

bool ps_texts_emit_start(struct ps_texts *texts, struct ps_slice id, struct ps_slice model)
{
    struct ps_event_start start;
    struct ps_event event = {.kind = PS_EVENT_START, .start = &start, .usage = PS_USAGE_NONE};

    if (!ps_texts_begin(texts, id.len + model.len)) {
        return false;
    }
    start.id = ps_texts_plain(texts, id);
    start.model = ps_texts_plain(texts, model);
    return ps_decoder_emit(&texts->base, &event);
}

bool ps_texts_emit_text(struct ps_texts *texts, enum ps_event_kind kind, uint32_t block,
                        struct ps_slice raw)
{
    struct ps_event event = {.kind = kind, .block = block, .usage = PS_USAGE_NONE};

    if (!ps_raw_says(raw)) {
        return true;
    }
    if (!ps_texts_begin(texts, raw.len)) {
        return false;
    }
    event.text = ps_texts_plain(texts, raw);
    return ps_decoder_emit(&texts->base, &event);
}

bool ps_texts_emit_call(struct ps_texts *texts, uint32_t number, struct ps_slice call)
{
    struct ps_slice function = ps_raw_member(call, "function");
    struct ps_slice arguments = ps_raw_member(function, "arguments");
    struct ps_event_tool tool = {.custom = false};
    struct ps_event event = {
        .kind = PS_EVENT_TOOL_CALL, .block = number, .usage = PS_USAGE_NONE, .tool = &tool};
    char id[64];

    if (!ps_raw_says(ps_raw_member(function, "name"))) {
        return ps_texts_break(texts, "The provider sent a tool call without a name.");
    }
    if (!ps_texts_begin(texts, call.len)) {
        return false;
    }
    tool.id = ps_texts_plain(texts, ps_raw_member(call, "id"));
    if (tool.id.len == 0) {
        tool.id = ps_decoder_call_id(&texts->base, id);
    }
    tool.name = ps_texts_plain(texts, ps_raw_member(function, "name"));
    event.text = ps_raw_begins(arguments, '{') ? arguments : ps_texts_plain(texts, arguments);
    return ps_decoder_emit(&texts->base, &event);
}

bool ps_texts_emit_usage(struct ps_texts *texts, const struct ps_usage *usage)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = *usage};

    if (usage->input < 0 && usage->output < 0) {
        return true;
    }
    return ps_decoder_emit(&texts->base, &event);
}

bool ps_texts_emit_finish(struct ps_texts *texts, enum ps_finish finish, struct ps_slice word)
{
    struct ps_event event = {.kind = PS_EVENT_FINISH, .finish = finish, .usage = PS_USAGE_NONE};

    if (!ps_texts_begin(texts, word.len)) {
        return false;
    }
    event.finish_text = ps_texts_plain(texts, word);
    return ps_decoder_emit(&texts->base, &event);
}

bool ps_texts_emit_vectors(struct ps_texts *texts, struct ps_slice array)
{
    struct ps_event event = {.kind = PS_EVENT_EMBEDDING, .usage = PS_USAGE_NONE};
    struct ps_json_walk walk;

    if (!ps_raw_begins(array, '[')) {
        return ps_texts_break(texts, "The provider's answer has no vectors.");
    }
    ps_json_walk_init(&walk, array);
    for (; ps_json_walk_element(&walk, &event.text); event.index++) {
        if (!ps_raw_begins(event.text, '[')) {
            return ps_texts_break(texts, "The provider's answer has no vectors.");
        }
        if (!ps_decoder_emit(&texts->base, &event)) {
            return false;
        }
    }
    return true;
}

bool ps_texts_emit_fault(struct ps_texts *texts)
{
    struct ps_event event = {
        .kind = PS_EVENT_FAULT, .fault = &texts->base.fault, .usage = PS_USAGE_NONE};

    (void)ps_decoder_emit(&texts->base, &event);
    return false;
}

/* ---- models ---- */

int ps_texts_models(struct ps_slice body,
                    void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg)
{
    struct ps_slice list;
    struct ps_json_walk walk;
    struct ps_slice model;

    if (!ps_texts_is_json(body)) {
        return -1;
    }
    list = ps_raw_member(ps_raw_trimmed(body), "models");
    if (!ps_raw_begins(list, '[')) {
        return -1;
    }
    ps_json_walk_init(&walk, list);
    while (ps_json_walk_element(&walk, &model)) {
        struct ps_slice name = ps_raw_member(model, "name");
        char id[ID_BYTES];

        if (ps_raw_says(name) && name.len <= sizeof(id)) {
            fn(arg, ps_slice(id, ps_json_unescape(name, id)), model);
        }
    }
    return 0;
}
