/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

#include "penstock/base/mem.h"

/* A whole answer of OpenAI's API: held by choice until the end. */

void ps_openai_answer_free(struct ps_openai_answer *answer)
{
    struct ps_openai_call *calls;

    if (answer == NULL) {
        return;
    }
    calls = (struct ps_openai_call *)(void *)answer->calls.ptr;
    for (size_t i = 0; i < answer->calls.len / sizeof(*calls); i++) {
        ps_buf_deinit(&calls[i].head);
        ps_buf_deinit(&calls[i].arguments);
        ps_buf_deinit(&calls[i].tail);
    }
    for (int i = 0; i < PS_OPENAI_SAID; i++) {
        ps_buf_deinit(&answer->said[i]);
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        ps_buf_deinit(&answer->logprobs[i]);
    }
    ps_buf_deinit(&answer->thoughts);
    ps_buf_deinit(&answer->citations);
    ps_buf_deinit(&answer->images);
    ps_buf_deinit(&answer->calls);
    ps_free(answer);
}

/* ---- while it comes ---- */

static struct ps_json_out list_of(struct ps_buf *buf)
{
    return (struct ps_json_out){buf, NULL, buf->len > 0};
}

static void think(struct ps_openai_answer *answer, const struct ps_event *event)
{
    const struct ps_event_thought *thought = event->thought;
    struct ps_buf *said = &answer->said[PS_OPENAI_REASONING];
    struct ps_json_out list = list_of(&answer->thoughts);

    ps_buf_slice(said, event->text);
    if (thought == NULL || (thought->signature.len == 0 && thought->redacted.len == 0)) {
        return;
    }
    ps_out_open(&list, '{');
    if (thought->redacted.len > 0) {
        ps_out_member_cstr(&list, "type", "redacted_thinking");
        ps_out_member_text(&list, "data", thought->redacted);
    } else {
        ps_out_member_cstr(&list, "type", "thinking");
        ps_out_key(&list, "thinking");
        struct ps_slice thinking = ps_buf_view(said);
        if (answer->thought_at < thinking.len) {
            thinking.ptr += answer->thought_at;
            thinking.len -= answer->thought_at;
        } else {
            thinking = PS_SLICE_LIT(""); /* signed, but nothing of it was shown */
        }
        ps_out_text(&list, thinking);
        ps_out_member_text(&list, "signature", thought->signature);
        answer->thought_at = said->len;
    }
    ps_out_close(&list, '}');
}

/* NULL: too many of them, or it never began. */
static struct ps_openai_call *call_of(const struct ps_openai_writer *writer,
                                      struct ps_openai_answer *answer, const struct ps_event *event)
{
    struct ps_openai_call *calls = (struct ps_openai_call *)(void *)answer->calls.ptr;
    struct ps_openai_call call = {.block = event->block};
    size_t max = writer->base.options.max_bytes;
    size_t count = answer->calls.len / sizeof(call);

    for (size_t i = count; i > 0; i--) {
        if (calls[i - 1].block == event->block) {
            return &calls[i - 1];
        }
    }
    if (event->tool == NULL || event->tool->name.len == 0 || count == PS_OPENAI_CALLS) {
        return NULL;
    }
    call.custom = event->tool->custom;
    ps_buf_init(&call.head, max);
    ps_buf_init(&call.arguments, max);
    ps_buf_init(&call.tail, max);
    ps_buf_append(&answer->calls, &call, sizeof(call));
    if (answer->calls.failed) {
        return NULL;
    }
    answer->call_count++;
    return (struct ps_openai_call *)(void *)answer->calls.ptr + count;
}

static void call(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                 const struct ps_event *event)
{
    struct ps_openai_call *known = call_of(writer, answer, event);
    bool legacy = ps_openai_is_legacy(writer);
    struct ps_json_out head;

    if (known == NULL || (legacy && event->block > 0)) {
        return;
    }
    if (known->head.len == 0 && !known->head.failed) {
        const char *kind = known->custom ? "custom" : "function";

        head = ps_json_out(&known->head);
        ps_out_open(&head, '{');
        if (!legacy) {
            ps_out_member_text(&head, "id", event->tool->id);
            ps_out_member_cstr(&head, "type", kind);
            ps_out_key(&head, kind);
            ps_out_open(&head, '{');
        }
        ps_out_member_text(&head, "name", event->tool->name);
        ps_out_key(&head, known->custom ? "input" : "arguments");
        if (event->tool->signature.len > 0) {
            struct ps_json_out tail = {&known->tail, NULL, true};

            ps_openai_write_signature(event->tool->signature, &tail);
        }
    }
    ps_buf_slice(&known->arguments, event->text);
}

static void say_text(struct ps_openai_answer *answer, struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        answer->chars += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    ps_buf_slice(&answer->said[PS_OPENAI_TEXT], text);
}

void ps_openai_whole_event(struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                           const struct ps_event *event)
{
    struct ps_json_out list;

    if (event->kind == PS_EVENT_TEXT) {
        say_text(answer, event->text);
    } else if (!ps_openai_is_chat(writer)) {
        return;
    } else if (event->kind == PS_EVENT_REASONING) {
        think(answer, event);
    } else if (event->kind == PS_EVENT_REFUSAL) {
        ps_buf_slice(&answer->said[PS_OPENAI_REFUSAL], event->text);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        call(writer, answer, event);
    } else if (event->kind == PS_EVENT_CITATION) {
        list = list_of(&answer->citations);
        (void)ps_openai_write_citation(answer, event->citation, &list);
    } else if (event->kind == PS_EVENT_MEDIA && event->media != NULL) {
        list = list_of(&answer->images);
        ps_openai_write_image(event->media, &list);
    }
}

/* ---- the end ---- */

static void write_calls(const struct ps_openai_answer *answer, struct ps_json_out *out)
{
    const struct ps_openai_call *calls =
        (const struct ps_openai_call *)(const void *)answer->calls.ptr;

    ps_out_key(out, "tool_calls");
    ps_out_open(out, '[');
    for (size_t i = 0; i < answer->calls.len / sizeof(*calls); i++) {
        struct ps_slice arguments = ps_buf_view(&calls[i].arguments);

        ps_out_raw(out, ps_buf_view(&calls[i].head));
        out->comma = false;
        ps_out_text(out, arguments.len == 0 && !calls[i].custom ? PS_SLICE_LIT("{}") : arguments);
        ps_out_close(out, '}');
        ps_buf_slice(out->buf, ps_buf_view(&calls[i].tail));
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
}

/* Before tools a message had room for one call, without an id. */
static void write_function_call(const struct ps_openai_answer *answer, struct ps_json_out *out)
{
    const struct ps_openai_call *call =
        (const struct ps_openai_call *)(const void *)answer->calls.ptr;
    struct ps_slice arguments = ps_buf_view(&call->arguments);

    ps_out_key(out, "function_call");
    ps_out_raw(out, ps_buf_view(&call->head));
    out->comma = false;
    ps_out_text(out, arguments.len == 0 ? PS_SLICE_LIT("{}") : arguments);
    ps_out_close(out, '}');
}

static void write_elements(const char *name, const struct ps_buf *elements, struct ps_json_out *out)
{
    if (elements->len > 0) {
        ps_out_key(out, name);
        ps_out_open(out, '[');
        ps_buf_slice(out->buf, ps_buf_view(elements));
        ps_out_close(out, ']');
    }
}

static void write_message(const struct ps_openai_writer *writer,
                          const struct ps_openai_answer *answer, struct ps_json_out *out)
{
    const struct ps_buf *said = answer->said;
    bool other = said[PS_OPENAI_REFUSAL].len > 0 || answer->calls.len > 0;

    ps_out_key(out, "message");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", "assistant");
    ps_out_key(out, "content");
    if (said[PS_OPENAI_TEXT].len == 0 && other) {
        ps_out_null(out);
    } else {
        ps_out_text(out, ps_buf_view(&said[PS_OPENAI_TEXT]));
    }
    ps_out_member_text(out, "reasoning_content", ps_buf_view(&said[PS_OPENAI_REASONING]));
    write_elements("thinking_blocks", &answer->thoughts, out);
    ps_out_key(out, "refusal");
    if (said[PS_OPENAI_REFUSAL].len > 0) {
        ps_out_text(out, ps_buf_view(&said[PS_OPENAI_REFUSAL]));
    } else {
        ps_out_null(out);
    }
    write_elements("annotations", &answer->citations, out);
    write_elements("images", &answer->images, out);
    if (answer->calls.len > 0 && ps_openai_is_legacy(writer)) {
        write_function_call(answer, out);
    } else if (answer->calls.len > 0) {
        write_calls(answer, out);
    }
    ps_out_close(out, '}');
}

static void write_answer(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                         struct ps_json_out *out)
{
    ps_out_open(out, '{');
    ps_out_member_int(out, "index", answer->index);
    if (ps_openai_is_chat(writer)) {
        write_message(writer, answer, out);
    } else {
        ps_out_key(out, "text");
        ps_out_text(out, ps_buf_view(&answer->said[PS_OPENAI_TEXT]));
    }
    ps_out_key(out, "logprobs");
    ps_openai_write_logprobs(writer, answer, out->buf);
    ps_openai_write_finish(answer, out->buf);
    ps_out_close(out, '}');
}

void ps_openai_whole_end(struct ps_openai_writer *writer, struct ps_buf *out)
{
    struct ps_json_out list = ps_json_out(out);

    ps_openai_write_head(writer, out);
    for (int i = 0; i < PS_OPENAI_CHOICES; i++) {
        if (writer->answers[i] != NULL) {
            write_answer(writer, writer->answers[i], &list);
        }
    }
    ps_buf_byte(out, ']');
    ps_openai_write_usage(writer, out);
    ps_buf_cstr(out, "}\n");
}
