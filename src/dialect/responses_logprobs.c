/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"
#include "responses_priv.h"

/*
 * Log probabilities of a text's tokens. They come before the text that they are of, and wait for
 * it. A part has them as chat has them; the events about its text say the same without the bytes.
 */

void ps_responses_note_logprob(struct ps_responses_writer *writer, const struct ps_event *event)
{
    ps_openai_note_logprob(&writer->waiting, event);
}

void ps_responses_take_logprobs(struct ps_responses_writer *writer)
{
    if (writer->waiting.len == 0) {
        return;
    }
    if (writer->tokens.len > 0) {
        ps_buf_byte(&writer->tokens, ',');
    }
    ps_buf_slice(&writer->tokens, ps_buf_view(&writer->waiting));
    writer->waiting.len = 0;
}

/* The list is our own: elements, between them commas. */
static struct ps_json_walk walk_over(struct ps_slice list)
{
    return (struct ps_json_walk){list.ptr, list.len > 0 ? list.ptr + list.len : list.ptr};
}

static void write_token(struct ps_slice token, struct ps_json_out *out)
{
    ps_out_member(out, "token", ps_raw_member(token, "token"));
    ps_out_member(out, "logprob", ps_raw_member(token, "logprob"));
}

static void write_likeliest(struct ps_slice list, struct ps_json_out *out)
{
    struct ps_json_walk walk;
    struct ps_slice token;

    ps_json_walk_init(&walk, list);
    ps_out_key(out, "top_logprobs");
    ps_out_open(out, '[');
    while (ps_json_walk_element(&walk, &token)) {
        ps_out_open(out, '{');
        write_token(token, out);
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
}

void ps_responses_write_logprobs(const struct ps_buf *list, struct ps_buf *buf)
{
    struct ps_json_walk walk = walk_over(ps_buf_view(list));
    struct ps_json_out out = ps_json_out(buf);
    struct ps_slice token;

    ps_out_open(&out, '[');
    while (ps_json_walk_element(&walk, &token)) {
        ps_out_open(&out, '{');
        write_token(token, &out);
        write_likeliest(ps_raw_member(token, "top_logprobs"), &out);
        ps_out_close(&out, '}');
    }
    ps_out_close(&out, ']');
}
