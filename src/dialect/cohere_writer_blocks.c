/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"
#include "number.h"
#include "openai_priv.h"

#include <math.h>

/* What a chat's answer is made of, as events of a stream or as elements of lists that are held. */

#define NEVER (-9999.0F) /* a probability of zero, which JSON has no number for */

static bool is_stream(const struct ps_cohere_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_STREAM;
}

/* ---- events of a stream ---- */

struct ps_json_out ps_cohere_begin_event(struct ps_buf *out, const char *type)
{
    struct ps_json_out json = ps_json_out(out);

    ps_buf_cstr(out, "event: ");
    ps_buf_cstr(out, type);
    ps_buf_cstr(out, "\ndata: ");
    ps_out_open(&json, '{');
    ps_out_member_cstr(&json, "type", type);
    return json;
}

void ps_cohere_end_event(struct ps_json_out *json)
{
    ps_out_close(json, '}');
    ps_buf_cstr(json->buf, "\n\n");
}

/* An event about a thing of a number; `member` and the rest of what it says follow. */
static struct ps_json_out begin_delta(struct ps_buf *out, const char *type, uint32_t index,
                                      const char *member)
{
    struct ps_json_out json = ps_cohere_begin_event(out, type);

    ps_out_member_int(&json, "index", index);
    ps_out_key(&json, "delta");
    ps_out_open(&json, '{');
    ps_out_key(&json, "message");
    ps_out_open(&json, '{');
    ps_out_key(&json, member);
    return json;
}

static void end_message(struct ps_json_out *json)
{
    ps_out_close(json, '}');
    ps_out_close(json, '}');
}

static void write_end(struct ps_buf *out, const char *type, uint32_t index)
{
    struct ps_json_out json = ps_cohere_begin_event(out, type);

    ps_out_member_int(&json, "index", index);
    ps_cohere_end_event(&json);
}

void ps_cohere_start(struct ps_cohere_writer *writer, struct ps_buf *out)
{
    struct ps_json_out json;

    if (writer->started || !is_stream(writer)) {
        return;
    }
    writer->started = true;
    json = ps_cohere_begin_event(out, "message-start");
    ps_out_member_text(&json, "id", writer->base.options.id);
    ps_out_key(&json, "delta");
    ps_out_raw(&json, PS_SLICE_LIT("{\"message\":{\"role\":\"assistant\",\"content\":[],"
                                   "\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}"));
    ps_cohere_end_event(&json);
}

/* ---- log probabilities ---- */

/* {"text":…,"token_ids":[],"logprobs":[…]}: ids of tokens are nothing to others. */
static void write_logprobs(struct ps_slice text, struct ps_slice numbers, struct ps_json_out *json)
{
    ps_out_open(json, '{');
    ps_out_key(json, "text");
    ps_out_text(json, text);
    ps_out_key(json, "token_ids");
    ps_out_raw(json, PS_SLICE_LIT("[]"));
    ps_out_key(json, "logprobs");
    ps_out_open(json, '[');
    ps_out_raw(json, numbers);
    ps_out_close(json, ']');
    ps_out_close(json, '}');
}

void ps_cohere_note_logprob(struct ps_cohere_writer *writer, const struct ps_event_logprob *logprob)
{
    struct ps_json_out list = {&writer->tokens, NULL, writer->tokens.len > 0};

    if (!is_stream(writer)) {
        ps_buf_reset(&writer->chances);
    } else if (writer->chances.len > 0) {
        ps_buf_byte(&writer->chances, ',');
    }
    ps_dialect_write_float(&writer->chances, isfinite(logprob->logprob) ? logprob->logprob : NEVER);
    if (is_stream(writer)) {
        ps_buf_slice(&writer->tokens, logprob->token);
    } else {
        write_logprobs(logprob->token, ps_buf_view(&writer->chances), &list);
    }
}

/* Beside the text that they are of. */
static void tell_logprobs(struct ps_cohere_writer *writer, struct ps_json_out *json)
{
    if (writer->chances.len > 0) {
        ps_out_key(json, "logprobs");
        write_logprobs(ps_buf_view(&writer->tokens), ps_buf_view(&writer->chances), json);
        ps_buf_reset(&writer->tokens);
        ps_buf_reset(&writer->chances);
    }
}

/* ---- blocks ---- */

static void close_held(struct ps_cohere_writer *writer)
{
    struct ps_buf *to = writer->open == PS_COHERE_CALL ? &writer->tools : &writer->content;

    if (writer->open == PS_COHERE_CALL && !writer->has_arguments) {
        ps_buf_cstr(to, "{}");
    }
    if (!writer->sealed) {
        ps_buf_byte(to, '"');
    }
    ps_buf_cstr(to, writer->open == PS_COHERE_CALL ? "}}" : "}");
}

static void write_arguments(const struct ps_cohere_writer *writer, struct ps_slice text,
                            struct ps_buf *out)
{
    struct ps_json_out json = begin_delta(out, "tool-call-delta", writer->calls, "tool_calls");

    ps_out_open(&json, '{');
    ps_out_key(&json, "function");
    ps_out_open(&json, '{');
    ps_out_member_text(&json, "arguments", text);
    ps_out_close(&json, '}');
    ps_out_close(&json, '}');
    end_message(&json);
    ps_cohere_end_event(&json);
}

void ps_cohere_close(struct ps_cohere_writer *writer, struct ps_buf *out)
{
    bool is_call = writer->open == PS_COHERE_CALL;

    if (writer->open == PS_COHERE_NO_BLOCK) {
        return;
    }
    if (!is_stream(writer)) {
        close_held(writer);
    } else if (is_call) {
        if (!writer->has_arguments) {
            write_arguments(writer, PS_SLICE_LIT("{}"), out);
        }
        write_end(out, "tool-call-end", writer->calls);
    } else {
        write_end(out, "content-end", writer->contents);
    }
    writer->open = PS_COHERE_NO_BLOCK;
    *(is_call ? &writer->calls : &writer->contents) += 1;
}

static void open_content(struct ps_cohere_writer *writer, enum ps_cohere_block kind, uint32_t block,
                         struct ps_buf *out)
{
    const char *name = kind == PS_COHERE_TEXT ? "text" : "thinking";
    struct ps_json_out json;

    if (writer->open == kind && writer->block == block) {
        return;
    }
    ps_cohere_start(writer, out);
    ps_cohere_close(writer, out);
    writer->open = kind;
    writer->block = block;
    writer->sealed = false;
    writer->block_at = writer->characters;
    ps_buf_reset(&writer->said);
    if (is_stream(writer)) {
        json = begin_delta(out, "content-start", writer->contents, "content");
        ps_out_open(&json, '{');
        ps_out_member_cstr(&json, "type", name);
        ps_out_key(&json, name);
        ps_out_cstr(&json, "");
        ps_out_close(&json, '}');
        end_message(&json);
        ps_cohere_end_event(&json);
        return;
    }
    json = (struct ps_json_out){&writer->content, NULL, writer->content.len > 0};
    ps_out_open(&json, '{');
    ps_out_member_cstr(&json, "type", name);
    ps_out_key(&json, name);
    ps_buf_byte(&writer->content, '"'); /* close_held ends it */
}

/* A piece of the block that is open; `extra` has no place of its own in the API: clients hand it
 * back with what they know. */
static void write_content(struct ps_cohere_writer *writer, struct ps_slice text, const char *extra,
                          struct ps_slice value, struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(&writer->content);

    writer->sealed = extra != NULL;
    if (!is_stream(writer)) {
        ps_out_string_text(&json, text);
        if (extra != NULL) {
            ps_buf_byte(&writer->content, '"');
            json.comma = true;
            ps_out_member_text(&json, extra, value);
        }
        return;
    }
    json = begin_delta(out, "content-delta", writer->contents, "content");
    ps_out_open(&json, '{');
    ps_out_key(&json, writer->open == PS_COHERE_TEXT ? "text" : "thinking");
    ps_out_text(&json, text);
    if (extra != NULL) {
        ps_out_member_text(&json, extra, value);
    }
    ps_out_close(&json, '}');
    end_message(&json);
    tell_logprobs(writer, &json);
    ps_cohere_end_event(&json);
}

void ps_cohere_write_text(struct ps_cohere_writer *writer, uint32_t block, struct ps_slice text,
                          struct ps_buf *out)
{
    if (text.len == 0) {
        return;
    }
    open_content(writer, PS_COHERE_TEXT, block, out);
    write_content(writer, text, NULL, PS_SLICE_NONE, out);
    for (size_t i = 0; i < text.len; i++) {
        writer->characters += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    if (writer->cites) {
        ps_buf_slice(&writer->said, text);
    }
}

void ps_cohere_write_thought(struct ps_cohere_writer *writer, const struct ps_event *event,
                             struct ps_buf *out)
{
    const struct ps_event_thought *thought = event->thought;
    const char *extra = NULL;
    struct ps_slice value = PS_SLICE_NONE;

    if (thought != NULL && thought->redacted.len > 0) {
        ps_cohere_close(writer, out); /* one of its own */
        extra = "data";
        value = thought->redacted;
    } else if (thought != NULL && thought->signature.len > 0) {
        extra = "signature";
        value = thought->signature;
    }
    if (event->text.len == 0 && extra == NULL) {
        return;
    }
    if (writer->open == PS_COHERE_THINKING && writer->sealed) {
        ps_cohere_close(writer, out); /* it was signed: what follows is another */
    }
    open_content(writer, PS_COHERE_THINKING, event->block, out);
    write_content(writer, event->text, extra, value, out);
}

/* ---- tools ---- */

static void open_call(struct ps_cohere_writer *writer, const struct ps_event *event,
                      struct ps_buf *out)
{
    static const struct ps_event_tool nameless;
    const struct ps_event_tool *tool = event->tool != NULL ? event->tool : &nameless;
    struct ps_json_out json;

    ps_cohere_start(writer, out);
    ps_cohere_close(writer, out);
    writer->open = PS_COHERE_CALL;
    writer->last_call = event->block;
    writer->has_arguments = false;
    writer->sealed = false;
    if (is_stream(writer)) {
        json = begin_delta(out, "tool-call-start", writer->calls, "tool_calls");
    } else {
        json = (struct ps_json_out){&writer->tools, NULL, writer->tools.len > 0};
    }
    ps_out_open(&json, '{');
    ps_out_key(&json, "id");
    ps_out_text(&json, tool->id);
    ps_out_member_cstr(&json, "type", "function");
    if (tool->signature.len > 0) {
        ps_openai_write_signature(tool->signature, &json);
    }
    ps_out_key(&json, "function");
    ps_out_open(&json, '{');
    ps_out_key(&json, "name");
    ps_out_text(&json, tool->name);
    ps_out_key(&json, "arguments");
    if (!is_stream(writer)) {
        ps_buf_byte(&writer->tools, '"'); /* close_held ends it */
        return;
    }
    ps_out_cstr(&json, "");
    ps_out_close(&json, '}');
    ps_out_close(&json, '}');
    end_message(&json);
    ps_cohere_end_event(&json);
}

int ps_cohere_write_call(struct ps_cohere_writer *writer, const struct ps_event *event,
                         struct ps_buf *out, struct ps_fault *ret_fault)
{
    bool begun = writer->open == PS_COHERE_CALL
                     ? event->block <= writer->last_call
                     : writer->calls > 0 && event->block <= writer->last_call;
    bool is_open = writer->open == PS_COHERE_CALL && writer->last_call == event->block;
    struct ps_json_out json = ps_json_out(&writer->tools);

    if (begun && !is_open) {
        return event->text.len == 0
                   ? 0
                   : ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                                  "The model's calls of tools are mixed with each other.");
    }
    if (!is_open) {
        open_call(writer, event, out);
    }
    if (event->text.len == 0) {
        return 0;
    }
    writer->has_arguments = true;
    if (is_stream(writer)) {
        write_arguments(writer, event->text, out);
    } else {
        ps_out_string_text(&json, event->text);
    }
    return 0;
}

/* ---- citations ---- */

/* Characters [start, end) of what is held of the block's text. */
static struct ps_slice quote_of(const struct ps_cohere_writer *writer, int64_t start, int64_t end)
{
    struct ps_slice said = ps_buf_view(&writer->said);
    size_t from = said.len;
    size_t to = said.len;
    int64_t at = -1;

    if (writer->said.failed) {
        return PS_SLICE_NONE;
    }
    for (size_t i = 0; i < said.len; i++) {
        at += ((unsigned char)said.ptr[i] & 0xc0) != 0x80;
        if (at == start && from == said.len) {
            from = i;
        }
        if (at == end) {
            to = i;
            break;
        }
    }
    return from < to ? ps_slice(said.ptr + from, to - from) : PS_SLICE_NONE;
}

/* A document is known by the name that it was given under its title, what lies on the web by its
 * address. */
static void write_source(const struct ps_event_citation *citation, struct ps_json_out *json)
{
    ps_out_key(json, "sources");
    ps_out_open(json, '[');
    ps_out_open(json, '{');
    ps_out_member_cstr(json, "type", "document");
    ps_out_member_text(json, "id", citation->url.len > 0 ? citation->url : citation->title);
    ps_out_key(json, "document");
    ps_out_open(json, '{');
    ps_out_member_text(json, "url", citation->url);
    ps_out_member_text(json, "title", citation->title);
    ps_out_member_text(json, "snippet", citation->quote);
    ps_out_close(json, '}');
    ps_out_close(json, '}');
    ps_out_close(json, ']');
}

void ps_cohere_write_citation(struct ps_cohere_writer *writer,
                              const struct ps_event_citation *citation, struct ps_buf *out)
{
    int64_t length = writer->characters - writer->block_at;
    int64_t start = 0;
    int64_t end = length;
    struct ps_json_out json;

    if (citation == NULL || writer->open != PS_COHERE_TEXT ||
        (citation->url.len == 0 && citation->title.len == 0 && citation->quote.len == 0)) {
        return;
    }
    if (citation->start >= writer->block_at && citation->end >= citation->start) {
        start = citation->start - writer->block_at;
        end = citation->end - writer->block_at;
    }
    if (is_stream(writer)) {
        json = begin_delta(out, "citation-start", writer->citations, "citations");
    } else {
        json = (struct ps_json_out){&writer->cited, NULL, writer->cited.len > 0};
    }
    ps_out_open(&json, '{');
    ps_out_member_int(&json, "start", start);
    ps_out_member_int(&json, "end", end);
    ps_out_member_text(&json, "text", quote_of(writer, start, end));
    write_source(citation, &json);
    ps_out_member_int(&json, "content_index", writer->contents);
    ps_out_member_cstr(&json, "type", "TEXT_CONTENT");
    ps_out_close(&json, '}');
    if (is_stream(writer)) {
        end_message(&json);
        ps_cohere_end_event(&json);
        write_end(out, "citation-end", writer->citations);
    }
    writer->citations++;
}
