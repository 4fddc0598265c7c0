/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

/*
 * A stream of OpenAI's API: for each choice a chunk with the role, a chunk per thing said, a chunk
 * with the reason for the end; then the chunk with the usage, when the client asked for it, and
 * [DONE]. Log probabilities go out with the next chunk that has their choice.
 */

/* ---- chunks ---- */

static void begin_chunk(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, "data: ");
    ps_buf_slice(out, ps_buf_view(&writer->head));
}

static void begin_choice(const struct ps_openai_writer *writer,
                         const struct ps_openai_answer *answer, struct ps_buf *out)
{
    begin_chunk(writer, out);
    ps_buf_cstr(out, "{\"index\":");
    ps_buf_uint(out, answer->index);
    ps_buf_cstr(out, ps_openai_is_chat(writer) ? ",\"delta\":{" : ",\"text\":");
}

static void end_choice(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                       struct ps_buf *out)
{
    ps_buf_cstr(out, ps_openai_is_chat(writer) ? "},\"logprobs\":" : ",\"logprobs\":");
    ps_openai_write_logprobs(writer, answer, out);
    ps_openai_write_finish(answer, out);
    ps_buf_cstr(out, writer->base.options.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

/* The chunk with the role has no log probabilities, even when some are noted. */
static void start(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                  struct ps_buf *out)
{
    if (answer->started || !ps_openai_is_chat(writer)) {
        return;
    }
    answer->started = true;
    begin_choice(writer, answer, out);
    ps_buf_cstr(out, "\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
                     "\"finish_reason\":null");
    ps_buf_cstr(out, writer->base.options.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

/* ---- what is said ---- */

static void say(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                const char *name, struct ps_slice text, struct ps_buf *out)
{
    if (text.len == 0) {
        return;
    }
    start(writer, answer, out);
    begin_choice(writer, answer, out);
    if (ps_openai_is_chat(writer)) {
        ps_buf_cstr(out, name);
    }
    ps_buf_json(out, text);
    end_choice(writer, answer, out);
}

static void say_text(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                     struct ps_slice text, struct ps_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        answer->chars += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    say(writer, answer, "\"content\":", text, out);
}

/* A list of one element in a delta: what `fn` writes. */
static struct ps_json_out begin_list(const struct ps_openai_writer *writer,
                                     struct ps_openai_answer *answer, const char *name,
                                     struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    start(writer, answer, out);
    begin_choice(writer, answer, out);
    ps_out_key(&json, name);
    ps_out_open(&json, '[');
    return json;
}

static void end_list(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                     struct ps_json_out *json)
{
    ps_out_close(json, ']');
    end_choice(writer, answer, json->buf);
}

/* A signed block is whole, since it goes back whole: its text, which has gone out as
 * reasoning_content, stands in it once more. */
static void hold_thought(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                         const struct ps_event *event)
{
    struct ps_buf *said = &answer->said[PS_OPENAI_REASONING];

    if (answer->thought != event->block) {
        answer->thought = event->block;
        answer->thought_lost = false;
        said->len = 0;
    }
    if (answer->index > 0 || said->len + event->text.len > writer->base.options.max_bytes / 2) {
        answer->thought_lost = answer->thought_lost || event->text.len > 0;
    } else {
        ps_buf_slice(said, event->text);
    }
}

static void think(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                  const struct ps_event *event, struct ps_buf *out)
{
    const struct ps_event_thought *thought = event->thought;
    struct ps_json_out json;

    say(writer, answer, "\"reasoning_content\":", event->text, out);
    hold_thought(writer, answer, event);
    if (thought == NULL || (thought->signature.len == 0 && thought->redacted.len == 0) ||
        answer->thought_lost) {
        return;
    }
    json = begin_list(writer, answer, "thinking_blocks", out);
    ps_out_open(&json, '{');
    if (thought->redacted.len > 0) {
        ps_out_member_cstr(&json, "type", "redacted_thinking");
        ps_out_member_text(&json, "data", thought->redacted);
    } else {
        ps_out_member_cstr(&json, "type", "thinking");
        ps_out_key(&json, "thinking");
        ps_out_text(&json, ps_buf_view(&answer->said[PS_OPENAI_REASONING]));
        ps_out_member_text(&json, "signature", thought->signature);
        answer->said[PS_OPENAI_REASONING].len = 0;
    }
    ps_out_close(&json, '}');
    end_list(writer, answer, &json);
}

/* ---- tool calls ---- */

/* Before tools a message had room for one call, without an id. */
static void write_function_call(const struct ps_openai_writer *writer,
                                struct ps_openai_answer *answer, const struct ps_event_tool *tool,
                                bool begins, struct ps_slice text, struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    start(writer, answer, out);
    begin_choice(writer, answer, out);
    ps_out_key(&json, "function_call");
    ps_out_open(&json, '{');
    if (begins) {
        ps_out_member_text(&json, "name", tool->name);
    }
    ps_out_key(&json, "arguments");
    ps_out_text(&json, text);
    ps_out_close(&json, '}');
    end_choice(writer, answer, out);
}

static void write_fragment(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                           uint32_t block, const struct ps_event_tool *tool, bool begins,
                           struct ps_slice text, struct ps_buf *out)
{
    const char *kind = tool != NULL && tool->custom ? "custom" : "function";
    struct ps_json_out json;

    if (ps_openai_is_legacy(writer)) {
        write_function_call(writer, answer, tool, begins, text, out);
        return;
    }
    json = begin_list(writer, answer, "tool_calls", out);
    ps_out_open(&json, '{');
    ps_out_member_int(&json, "index", block);
    if (begins) {
        ps_out_member_text(&json, "id", tool->id);
        ps_out_member_cstr(&json, "type", kind);
    }
    ps_out_key(&json, kind);
    ps_out_open(&json, '{');
    if (begins) {
        ps_out_member_text(&json, "name", tool->name);
    }
    ps_out_key(&json, tool != NULL && tool->custom ? "input" : "arguments");
    ps_out_text(&json, text);
    ps_out_close(&json, '}');
    if (begins) {
        ps_openai_write_signature(tool->signature, &json);
    }
    ps_out_close(&json, '}');
    end_list(writer, answer, &json);
}

static void call(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                 const struct ps_event *event, struct ps_buf *out)
{
    const struct ps_event_tool *tool = event->tool;
    bool begins = event->block >= answer->call_count && tool != NULL && tool->name.len > 0;

    if (event->block >= (ps_openai_is_legacy(writer) ? 1 : PS_OPENAI_CALLS) ||
        (!begins && event->text.len == 0)) {
        return;
    }
    if (begins) {
        answer->call_count = event->block + 1;
    }
    if (event->text.len > 0 || (tool != NULL && tool->custom)) {
        answer->argued[event->block / 64] |= UINT64_C(1) << (event->block % 64);
    }
    write_fragment(writer, answer, event->block, tool, begins, event->text, out);
}

/* Calls without arguments have none to give: an empty object. */
static void finish_calls(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                         struct ps_buf *out)
{
    for (uint32_t block = 0; block < answer->call_count; block++) {
        if ((answer->argued[block / 64] >> (block % 64) & 1) == 0) {
            write_fragment(writer, answer, block, NULL, false, PS_SLICE_LIT("{}"), out);
        }
    }
}

/* ---- the end of a choice ---- */

static void finish(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                   struct ps_buf *out)
{
    const char *word = answer->finish;

    answer->finish = NULL; /* not in the chunks before the last */
    finish_calls(writer, answer, out);
    start(writer, answer, out);
    answer->finish = word;
    begin_choice(writer, answer, out);
    ps_buf_cstr(out, ps_openai_is_chat(writer) ? "" : "\"\"");
    end_choice(writer, answer, out);
}

/* ---- events ---- */

static void cite(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                 const struct ps_event *event, struct ps_buf *out)
{
    struct ps_json_out json;

    if (event->citation == NULL || event->citation->url.len == 0) {
        return;
    }
    json = begin_list(writer, answer, "annotations", out);
    (void)ps_openai_write_citation(answer, event->citation, &json);
    end_list(writer, answer, &json);
}

static void show(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                 const struct ps_event *event, struct ps_buf *out)
{
    struct ps_json_out json;

    if (event->media == NULL) {
        return;
    }
    json = begin_list(writer, answer, "images", out);
    ps_openai_write_image(event->media, &json);
    end_list(writer, answer, &json);
}

/* What only a chat can say. */
static void chat_event(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                       const struct ps_event *event, struct ps_buf *out)
{
    if (event->kind == PS_EVENT_REASONING) {
        think(writer, answer, event, out);
    } else if (event->kind == PS_EVENT_REFUSAL) {
        say(writer, answer, "\"refusal\":", event->text, out);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        call(writer, answer, event, out);
    } else if (event->kind == PS_EVENT_CITATION) {
        cite(writer, answer, event, out);
    } else if (event->kind == PS_EVENT_MEDIA) {
        show(writer, answer, event, out);
    }
}

void ps_openai_stream_event(struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                            const struct ps_event *event, struct ps_buf *out)
{
    if (event->kind == PS_EVENT_TEXT) {
        say_text(writer, answer, event->text, out);
    } else if (event->kind == PS_EVENT_START) {
        start(writer, answer, out);
    } else if (event->kind == PS_EVENT_FINISH) {
        finish(writer, answer, out);
    } else if (ps_openai_is_chat(writer)) {
        chat_event(writer, answer, event, out);
    }
}

void ps_openai_stream_end(struct ps_openai_writer *writer, struct ps_buf *out)
{
    if (writer->base.options.include_usage && writer->has_usage) {
        begin_chunk(writer, out);
        ps_buf_byte(out, ']');
        ps_openai_write_usage(writer, out);
        ps_buf_cstr(out, "}\n\n");
    }
    ps_buf_cstr(out, "data: [DONE]\n\n");
}
