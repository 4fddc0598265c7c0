/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

/*
 * Answers of the Responses API out of events. There is one answer: what other choices say is left
 * out.
 *
 * The output is a list of items, one open at a time: a message with its parts, a thought, a call of
 * a tool. In a stream each has its events from "added" to "done"; in a whole answer nothing goes
 * out before the end. Either way what is complete is held as JSON, since the last event of a
 * stream, and what is kept, is the whole response. A fragment of a call that is
 * closed ends the answer with a fault (call_order.h: calls come one after the other).
 */

static bool is_stream(const struct ps_responses_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_STREAM;
}

static struct ps_buf *const *held_bufs(struct ps_responses_writer *writer, struct ps_buf **ret)
{
    ret[0] = &writer->done;
    ret[1] = &writer->parts;
    ret[2] = &writer->summary;
    ret[3] = &writer->text;
    ret[4] = &writer->annotations;
    ret[5] = &writer->call_id;
    ret[6] = &writer->name;
    ret[7] = &writer->signature;
    ret[8] = &writer->tokens;
    ret[9] = &writer->waiting;
    return ret;
}
#define HELD 10

int ps_responses_writer_init(struct ps_writer *base)
{
    struct ps_responses_writer *writer = (struct ps_responses_writer *)base;
    struct ps_buf *held[HELD];

    if (base->options.mode != PS_WRITER_STREAM) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    writer->usage = PS_USAGE_NONE;
    (void)held_bufs(writer, held);
    for (size_t i = 0; i < HELD; i++) {
        ps_buf_init(held[i], base->options.max_bytes);
    }
    return 0;
}

void ps_responses_writer_deinit(struct ps_writer *base)
{
    struct ps_buf *held[HELD];

    (void)held_bufs((struct ps_responses_writer *)base, held);
    for (size_t i = 0; i < HELD; i++) {
        ps_buf_deinit(held[i]);
    }
}

/* ---- events of a stream ---- */

static void begin_event(struct ps_responses_writer *writer, struct ps_buf *out, const char *name)
{
    ps_buf_cstr(out, "event: ");
    ps_buf_cstr(out, name);
    ps_buf_cstr(out, "\ndata: {\"type\":\"");
    ps_buf_cstr(out, name);
    ps_buf_cstr(out, "\",\"sequence_number\":");
    ps_buf_uint(out, writer->sequence++);
}

static void end_event(struct ps_buf *out)
{
    ps_buf_cstr(out, "}\n\n");
}

static void write_item_id(const struct ps_responses_writer *writer, struct ps_buf *out)
{
    static const char *const prefixes[] = {[PS_RESPONSES_NO_ITEM] = "",
                                           [PS_RESPONSES_MESSAGE] = "msg_",
                                           [PS_RESPONSES_REASONING_ITEM] = "rs_",
                                           [PS_RESPONSES_CALL] = "fc_",
                                           [PS_RESPONSES_CUSTOM_CALL] = "ctc_"};

    ps_writer_write_id(&writer->base, prefixes[writer->open], writer->index, out);
}

/* An event about the open item. */
static void begin_item_event(struct ps_responses_writer *writer, struct ps_buf *out,
                             const char *name)
{
    begin_event(writer, out, name);
    ps_buf_cstr(out, ",\"item_id\":");
    write_item_id(writer, out);
    ps_buf_cstr(out, ",\"output_index\":");
    ps_buf_uint(out, writer->index);
}

/* An event about the open part of it. */
static void begin_part_event(struct ps_responses_writer *writer, struct ps_buf *out,
                             const char *name)
{
    bool summary = writer->part == PS_RESPONSES_SUMMARY_TEXT;

    begin_item_event(writer, out, name);
    ps_buf_cstr(out, summary ? ",\"summary_index\":" : ",\"content_index\":");
    ps_buf_uint(out, summary ? writer->summary_count : writer->part_count);
}

static void write_text_event(struct ps_responses_writer *writer, struct ps_buf *out,
                             const char *name, const char *key, struct ps_slice text,
                             const struct ps_buf *tokens)
{
    begin_part_event(writer, out, name);
    ps_buf_cstr(out, ",\"");
    ps_buf_cstr(out, key);
    ps_buf_cstr(out, "\":");
    ps_buf_json(out, text);
    if (writer->part == PS_RESPONSES_OUTPUT_TEXT) {
        ps_buf_cstr(out, ",\"logprobs\":");
        ps_responses_write_logprobs(tokens, out);
    }
    end_event(out);
}

static void write_response_event(struct ps_responses_writer *writer, struct ps_buf *out,
                                 const char *name, const char *status, const struct ps_fault *fault)
{
    begin_event(writer, out, name);
    ps_buf_cstr(out, ",\"response\":");
    ps_responses_write_object(writer, status, fault, out);
    end_event(out);
}

static void start(struct ps_responses_writer *writer, struct ps_buf *out)
{
    if (!writer->started && is_stream(writer)) {
        write_response_event(writer, out, "response.created", "in_progress", NULL);
        write_response_event(writer, out, "response.in_progress", "in_progress", NULL);
    }
    writer->started = true;
}

/* ---- parts ---- */

struct part_words {
    const char *type;
    const char *key;
    const char *added;
    const char *delta;
    const char *text_done;
    const char *done;
};
static const struct part_words words[] = {
    [PS_RESPONSES_NO_PART] = {NULL, NULL, NULL, NULL, NULL, NULL},
    [PS_RESPONSES_OUTPUT_TEXT] = {"output_text", "text", "response.content_part.added",
                                  "response.output_text.delta", "response.output_text.done",
                                  "response.content_part.done"},
    [PS_RESPONSES_REFUSAL] = {"refusal", "refusal", "response.content_part.added",
                              "response.refusal.delta", "response.refusal.done",
                              "response.content_part.done"},
    [PS_RESPONSES_REASONING_TEXT] = {"reasoning_text", "text", "response.content_part.added",
                                     "response.reasoning_text.delta",
                                     "response.reasoning_text.done", "response.content_part.done"},
    [PS_RESPONSES_SUMMARY_TEXT] = {"summary_text", "text", "response.reasoning_summary_part.added",
                                   "response.reasoning_summary_text.delta",
                                   "response.reasoning_summary_text.done",
                                   "response.reasoning_summary_part.done"},
};

static void write_part(const struct ps_responses_writer *writer, struct ps_buf *out)
{
    const struct part_words *part = &words[writer->part];

    ps_buf_cstr(out, "{\"type\":\"");
    ps_buf_cstr(out, part->type);
    ps_buf_cstr(out, "\",\"");
    ps_buf_cstr(out, part->key);
    ps_buf_cstr(out, "\":");
    ps_buf_json(out, ps_buf_view(&writer->text));
    if (writer->part == PS_RESPONSES_OUTPUT_TEXT) {
        ps_buf_cstr(out, ",\"annotations\":[");
        ps_buf_slice(out, ps_buf_view(&writer->annotations));
        ps_buf_cstr(out, "],\"logprobs\":[");
        ps_buf_slice(out, ps_buf_view(&writer->tokens));
        ps_buf_byte(out, ']');
    }
    ps_buf_byte(out, '}');
}

static void close_part(struct ps_responses_writer *writer, struct ps_buf *out)
{
    const struct part_words *part = &words[writer->part];
    bool summary = writer->part == PS_RESPONSES_SUMMARY_TEXT;
    struct ps_buf *held = summary ? &writer->summary : &writer->parts;

    if (writer->part == PS_RESPONSES_NO_PART) {
        return;
    }
    if (is_stream(writer)) {
        write_text_event(writer, out, part->text_done, part->key, ps_buf_view(&writer->text),
                         &writer->tokens);
        begin_part_event(writer, out, part->done);
        ps_buf_cstr(out, ",\"part\":");
        write_part(writer, out);
        end_event(out);
    }
    if (held->len > 0) {
        ps_buf_byte(held, ',');
    }
    write_part(writer, held);
    writer->tokens.len = 0;
    *(summary ? &writer->summary_count : &writer->part_count) += 1;
    writer->part = PS_RESPONSES_NO_PART;
}

static void open_part(struct ps_responses_writer *writer, enum ps_responses_part part,
                      uint32_t block, struct ps_buf *out)
{
    close_part(writer, out);
    writer->part = part;
    writer->block = block;
    writer->text.len = 0;
    writer->annotations.len = 0;
    writer->annotation_count = 0;
    if (is_stream(writer)) {
        begin_part_event(writer, out, words[part].added);
        ps_buf_cstr(out, ",\"part\":");
        write_part(writer, out);
        end_event(out);
    }
}

static void say(struct ps_responses_writer *writer, struct ps_slice text, struct ps_buf *out)
{
    if (text.len == 0) {
        return;
    }
    ps_buf_slice(&writer->text, text);
    if (is_stream(writer)) {
        write_text_event(writer, out, words[writer->part].delta, "delta", text, &writer->waiting);
    }
    ps_responses_take_logprobs(writer);
}

/* ---- items ---- */

static bool is_call(const struct ps_responses_writer *writer)
{
    return writer->open == PS_RESPONSES_CALL || writer->open == PS_RESPONSES_CUSTOM_CALL;
}

static void write_call(const struct ps_responses_writer *writer, struct ps_buf *out)
{
    bool custom = writer->open == PS_RESPONSES_CUSTOM_CALL;

    ps_buf_cstr(out, custom ? ",\"type\":\"custom_tool_call\"" : ",\"type\":\"function_call\"");
    ps_buf_cstr(out, ",\"call_id\":");
    ps_buf_json(out, ps_buf_view(&writer->call_id));
    ps_buf_cstr(out, ",\"name\":");
    ps_buf_json(out, ps_buf_view(&writer->name));
    ps_buf_cstr(out, custom ? ",\"input\":" : ",\"arguments\":");
    ps_buf_json(out, ps_buf_view(&writer->text));
}

static void write_item(const struct ps_responses_writer *writer, const char *status,
                       struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"id\":");
    write_item_id(writer, out);
    if (is_call(writer)) {
        write_call(writer, out);
    } else if (writer->open == PS_RESPONSES_MESSAGE) {
        ps_buf_cstr(out, ",\"type\":\"message\",\"role\":\"assistant\",\"content\":[");
        ps_buf_slice(out, ps_buf_view(&writer->parts));
        ps_buf_byte(out, ']');
    } else {
        ps_buf_cstr(out, ",\"type\":\"reasoning\",\"summary\":[");
        ps_buf_slice(out, ps_buf_view(&writer->summary));
        ps_buf_cstr(out, "],\"content\":[");
        ps_buf_slice(out, ps_buf_view(&writer->parts));
        ps_buf_byte(out, ']');
        if (writer->signature.len > 0) {
            ps_buf_cstr(out, ",\"encrypted_content\":");
            ps_buf_json(out, ps_buf_view(&writer->signature));
        }
    }
    ps_buf_cstr(out, ",\"status\":\"");
    ps_buf_cstr(out, status);
    ps_buf_cstr(out, "\"}");
}

static void write_item_event(struct ps_responses_writer *writer, const char *name,
                             const char *status, struct ps_buf *out)
{
    begin_event(writer, out, name);
    ps_buf_cstr(out, ",\"output_index\":");
    ps_buf_uint(out, writer->index);
    ps_buf_cstr(out, ",\"item\":");
    write_item(writer, status, out);
    end_event(out);
}

static void close_call(struct ps_responses_writer *writer, struct ps_buf *out)
{
    bool custom = writer->open == PS_RESPONSES_CUSTOM_CALL;

    if (writer->text.len == 0 && !custom) {
        ps_buf_cstr(&writer->text, "{}");
        if (is_stream(writer)) {
            begin_item_event(writer, out, "response.function_call_arguments.delta");
            ps_buf_cstr(out, ",\"delta\":\"{}\"");
            end_event(out);
        }
    }
    if (!is_stream(writer)) {
        return;
    }
    begin_item_event(writer, out,
                     custom ? "response.custom_tool_call_input.done"
                            : "response.function_call_arguments.done");
    if (!custom) {
        ps_buf_cstr(out, ",\"name\":");
        ps_buf_json(out, ps_buf_view(&writer->name));
    }
    ps_buf_cstr(out, custom ? ",\"input\":" : ",\"arguments\":");
    ps_buf_json(out, ps_buf_view(&writer->text));
    end_event(out);
}

/* `status`: "completed", or "incomplete" when the answer was cut short in it. */
static void close_item(struct ps_responses_writer *writer, const char *status, struct ps_buf *out)
{
    if (writer->open == PS_RESPONSES_NO_ITEM) {
        return;
    }
    if (is_call(writer)) {
        close_call(writer, out);
    } else {
        if (writer->part == PS_RESPONSES_OUTPUT_TEXT) {
            ps_responses_take_logprobs(writer); /* some providers tell them at the end */
        }
        close_part(writer, out);
    }
    if (is_stream(writer)) {
        write_item_event(writer, "response.output_item.done", status, out);
    }
    if (writer->done.len > 0) {
        ps_buf_byte(&writer->done, ',');
    }
    write_item(writer, status, &writer->done);
    writer->open = PS_RESPONSES_NO_ITEM;
    writer->index++;
}

/* A call's id and name are there before. */
static void open_item(struct ps_responses_writer *writer, enum ps_responses_item item,
                      struct ps_slice id, struct ps_slice name, struct ps_buf *out)
{
    start(writer, out);
    close_item(writer, "completed", out);
    writer->open = item;
    writer->part = PS_RESPONSES_NO_PART;
    writer->parts.len = 0;
    writer->summary.len = 0;
    writer->part_count = 0;
    writer->summary_count = 0;
    writer->text.len = 0;
    writer->signature.len = 0;
    writer->call_id.len = 0;
    writer->name.len = 0;
    ps_buf_slice(&writer->call_id, id);
    ps_buf_slice(&writer->name, name);
    if (is_stream(writer)) {
        write_item_event(writer, "response.output_item.added", "in_progress", out);
    }
}

/* ---- what events say ---- */

static void say_text(struct ps_responses_writer *writer, enum ps_responses_part part,
                     const struct ps_event *event, struct ps_buf *out)
{
    if (event->text.len == 0) {
        return;
    }
    if (writer->open != PS_RESPONSES_MESSAGE) {
        open_item(writer, PS_RESPONSES_MESSAGE, PS_SLICE_NONE, PS_SLICE_NONE, out);
    }
    if (writer->part != part || writer->block != event->block) {
        open_part(writer, part, event->block, out);
    }
    say(writer, event->text, out);
}

static void say_reasoning(struct ps_responses_writer *writer, const struct ps_event *event,
                          struct ps_buf *out)
{
    const struct ps_event_thought *thought = event->thought;
    bool hidden = thought != NULL && thought->redacted.len > 0;
    bool is_signed = thought != NULL && thought->signature.len > 0;
    enum ps_responses_part part = thought != NULL && thought->is_summary
                                      ? PS_RESPONSES_SUMMARY_TEXT
                                      : PS_RESPONSES_REASONING_TEXT;

    if (event->text.len == 0 && !hidden && !is_signed) {
        return;
    }
    /* a signature is over the text before it: one block is one item */
    if (writer->open != PS_RESPONSES_REASONING_ITEM || writer->signature.len > 0 || hidden) {
        open_item(writer, PS_RESPONSES_REASONING_ITEM, PS_SLICE_NONE, PS_SLICE_NONE, out);
    }
    if (event->text.len > 0) {
        if (writer->part != part || writer->block != event->block) {
            open_part(writer, part, event->block, out);
        }
        say(writer, event->text, out);
    }
    if (hidden) {
        ps_buf_slice(&writer->signature, thought->redacted);
    } else if (is_signed) {
        ps_buf_slice(&writer->signature, thought->signature);
    }
}

static int say_call(struct ps_responses_writer *writer, const struct ps_event *event,
                    struct ps_buf *out, struct ps_fault *ret_fault)
{
    static const struct ps_event_tool nameless;
    const struct ps_event_tool *tool = event->tool != NULL ? event->tool : &nameless;
    bool is_open = is_call(writer) && writer->last_call == event->block;

    if (!is_open && writer->called && event->block <= writer->last_call) {
        return event->text.len == 0
                   ? 0
                   : ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                                  "The model's calls of tools are mixed with each other.");
    }
    if (!is_open) {
        writer->called = true;
        writer->last_call = event->block;
        open_item(writer, tool->custom ? PS_RESPONSES_CUSTOM_CALL : PS_RESPONSES_CALL, tool->id,
                  tool->name, out);
    }
    if (event->text.len == 0) {
        return 0;
    }
    ps_buf_slice(&writer->text, event->text);
    if (is_stream(writer)) {
        begin_item_event(writer, out,
                         writer->open == PS_RESPONSES_CUSTOM_CALL
                             ? "response.custom_tool_call_input.delta"
                             : "response.function_call_arguments.delta");
        ps_buf_cstr(out, ",\"delta\":");
        ps_buf_json(out, event->text);
        end_event(out);
    }
    return 0;
}

/* Only sources on the web have a form here. */
static void say_citation(struct ps_responses_writer *writer,
                         const struct ps_event_citation *citation, struct ps_buf *out)
{
    struct ps_buf *held = &writer->annotations;
    size_t from;

    if (citation == NULL || citation->url.len == 0 || writer->part != PS_RESPONSES_OUTPUT_TEXT) {
        return;
    }
    if (held->len > 0) {
        ps_buf_byte(held, ',');
    }
    from = held->len;
    ps_buf_cstr(held, "{\"type\":\"url_citation\",\"url\":");
    ps_buf_json(held, citation->url);
    ps_buf_cstr(held, ",\"title\":");
    ps_buf_json(held, citation->title);
    ps_buf_cstr(held, ",\"start_index\":");
    ps_buf_int(held, citation->start > 0 ? citation->start : 0);
    ps_buf_cstr(held, ",\"end_index\":");
    ps_buf_int(held, citation->end > 0 ? citation->end : 0);
    ps_buf_byte(held, '}');
    if (is_stream(writer) && !held->failed) {
        begin_part_event(writer, out, "response.output_text.annotation.added");
        ps_buf_cstr(out, ",\"annotation_index\":");
        ps_buf_uint(out, writer->annotation_count);
        ps_buf_cstr(out, ",\"annotation\":");
        ps_buf_append(out, held->ptr + from, held->len - from);
        end_event(out);
    }
    writer->annotation_count++;
}

/* ---- events ---- */

static int check_held(struct ps_responses_writer *writer, struct ps_fault *ret_fault)
{
    struct ps_buf *held[HELD];
    size_t total = 0;
    bool failed = false;

    (void)held_bufs(writer, held);
    for (size_t i = 0; i < HELD; i++) {
        total += held[i]->len;
        failed = failed || held[i]->failed;
    }
    return !failed && total <= writer->base.options.max_bytes
               ? 0
               : ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                              "The model's answer is larger than the gateway can hold.");
}

/* What is said in tokens that have no place here. */
static bool is_untold(const struct ps_event *event)
{
    return event->choice == 0 &&
           (event->kind == PS_EVENT_TOOL_CALL ||
            ((event->kind == PS_EVENT_REASONING || event->kind == PS_EVENT_REFUSAL) &&
             event->text.len > 0));
}

int ps_responses_writer_event(struct ps_writer *base, const struct ps_event *event,
                              struct ps_buf *out, struct ps_fault *ret_fault)
{
    struct ps_responses_writer *writer = (struct ps_responses_writer *)base;

    if (is_untold(event)) {
        writer->waiting.len = 0;
    }
    if (event->kind == PS_EVENT_USAGE) {
        writer->usage = event->usage;
    } else if (event->choice != 0) {
        return 0;
    } else if (event->kind == PS_EVENT_START) {
        start(writer, out);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        ps_responses_note_logprob(writer, event);
    } else if (event->kind == PS_EVENT_TEXT) {
        say_text(writer, PS_RESPONSES_OUTPUT_TEXT, event, out);
    } else if (event->kind == PS_EVENT_REFUSAL) {
        say_text(writer, PS_RESPONSES_REFUSAL, event, out);
    } else if (event->kind == PS_EVENT_REASONING) {
        say_reasoning(writer, event, out);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        if (say_call(writer, event, out, ret_fault) != 0) {
            return -1;
        }
    } else if (event->kind == PS_EVENT_CITATION) {
        say_citation(writer, event->citation, out);
    } else if (event->kind == PS_EVENT_FINISH && writer->finish == PS_FINISH_NONE) {
        writer->finish = event->finish;
        start(writer, out);
        close_item(writer, ps_responses_status(writer), out);
    }
    return check_held(writer, ret_fault);
}

void ps_responses_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                             struct ps_buf *out)
{
    struct ps_responses_writer *writer = (struct ps_responses_writer *)base;
    const char *status = ps_responses_status(writer);

    (void)info; /* the API has no place for it */
    writer->ended = true;
    writer->told = writer->sequence;
    start(writer, out);
    close_item(writer, status, out);
    if (!is_stream(writer)) {
        ps_responses_write_object(writer, status, NULL, out);
        return;
    }
    write_response_event(writer, out,
                         strcmp(status, "completed") == 0 ? "response.completed"
                                                          : "response.incomplete",
                         status, NULL);
}

void ps_responses_writer_fail(struct ps_writer *base, const struct ps_fault *fault,
                              struct ps_buf *out)
{
    struct ps_responses_writer *writer = (struct ps_responses_writer *)base;

    if (is_stream(writer)) {
        /* an end that could not be kept was shown to nobody */
        writer->sequence = writer->ended ? writer->told : writer->sequence;
        start(writer, out);
        close_item(writer, "incomplete", out);
        write_response_event(writer, out, "response.failed", "failed", fault);
    }
}
