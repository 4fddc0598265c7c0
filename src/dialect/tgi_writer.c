/* SPDX-License-Identifier: Apache-2.0 */
#include "tgi_priv.h"

/*
 * Answers of TGI's API out of events. There is one answer, of text: what other choices say is left
 * out. A stream is an event per piece of text, as if it were a token, and a last one with the whole
 * text, whose own token is empty and special, so that nobody takes it for text. Others tell no
 * numbers of tokens: `id` is 0 and `logprob` null throughout, and a whole answer lists none.
 */

int ps_tgi_writer_init(struct ps_writer *base)
{
    struct ps_tgi_writer *writer = (struct ps_tgi_writer *)base;

    ps_buf_init(&writer->text, base->options.max_bytes);
    writer->usage = PS_USAGE_NONE;
    return 0;
}

void ps_tgi_writer_deinit(struct ps_writer *base)
{
    struct ps_tgi_writer *writer = (struct ps_tgi_writer *)base;

    ps_buf_deinit(&writer->text);
}

static bool wants(const struct ps_tgi_writer *writer, unsigned what)
{
    const struct ps_request *request = writer->base.options.request;

    return request != NULL && (request->shape & what) != 0;
}

/* ---- while it comes ---- */

static void write_token(struct ps_tgi_writer *writer, struct ps_slice text, bool special,
                        struct ps_buf *out)
{
    ps_buf_cstr(out, "data:{\"index\":");
    ps_buf_uint(out, ++writer->tokens);
    ps_buf_cstr(out, ",\"token\":{\"id\":0,\"text\":");
    ps_buf_json(out, text);
    ps_buf_cstr(out, special ? ",\"logprob\":null,\"special\":true},\"generated_text\":"
                             : ",\"logprob\":null,\"special\":false},\"generated_text\":");
}

static int take_text(struct ps_tgi_writer *writer, struct ps_slice text, struct ps_buf *out,
                     struct ps_fault *ret_fault)
{
    if (writer->base.options.mode == PS_WRITER_TEXT) {
        ps_buf_slice(out, text);
        return 0;
    }
    ps_buf_slice(&writer->text, text);
    if (writer->text.failed) {
        return writer->text.len + text.len <= writer->base.options.max_bytes
                   ? ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                                  "The gateway is short of memory for this answer.")
                   : ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                                  "The provider's answer is larger than the gateway can hold.");
    }
    if (writer->base.options.mode == PS_WRITER_STREAM && text.len > 0) {
        write_token(writer, text, false, out);
        ps_buf_cstr(out, "null,\"details\":null}\n\n");
    }
    return 0;
}

int ps_tgi_writer_event(struct ps_writer *base, const struct ps_event *event, struct ps_buf *out,
                        struct ps_fault *ret_fault)
{
    struct ps_tgi_writer *writer = (struct ps_tgi_writer *)base;

    if (event->kind == PS_EVENT_USAGE) {
        writer->usage = event->usage;
    } else if (event->choice != 0) {
        return 0;
    } else if (event->kind == PS_EVENT_TEXT || event->kind == PS_EVENT_REFUSAL) {
        return take_text(writer, event->text, out, ret_fault);
    } else if (event->kind == PS_EVENT_FINISH) {
        writer->finish = event->finish;
        writer->has_stop =
            event->text.len > 0 || ps_slice_eq(event->finish_text, PS_SLICE_LIT("stop_sequence"));
    }
    return 0;
}

/* ---- the end ---- */

/* What the answer repeats, escaped and with quotes; or empty. */
static struct ps_slice prompt_of(const struct ps_tgi_writer *writer)
{
    const struct ps_request *request = writer->base.options.request;

    return request != NULL && request->generate != NULL ? request->generate->prompt : PS_SLICE_NONE;
}

static struct ps_slice seed_of(const struct ps_tgi_writer *writer)
{
    const struct ps_request *request = writer->base.options.request;

    return request != NULL && request->generate != NULL && request->generate->seed.len > 0
               ? request->generate->seed
               : PS_SLICE_LIT("null");
}

/* All that was said, behind the prompt where the client wants that. */
static void write_whole_text(const struct ps_tgi_writer *writer, struct ps_buf *out)
{
    struct ps_slice prompt = prompt_of(writer);
    size_t at;

    if (prompt.len == 0) {
        ps_buf_json(out, ps_buf_view(&writer->text));
        return;
    }
    ps_buf_slice(out, ps_slice(prompt.ptr, prompt.len - 1));
    at = out->len;
    ps_buf_json(out, ps_buf_view(&writer->text));
    if (!out->failed) {
        memmove(out->ptr + at, out->ptr + at + 1, out->len - at - 1);
        out->len--;
    }
}

static void write_count(struct ps_buf *out, const char *key, int64_t count)
{
    ps_buf_cstr(out, key);
    ps_buf_int(out, count > 0 ? count : 0);
}

static void write_details(const struct ps_tgi_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, ",\"details\":");
    if (!wants(writer, PS_TGI_DETAILS)) {
        ps_buf_cstr(out, "null");
        return;
    }
    ps_buf_cstr(out, "{\"finish_reason\":\"");
    ps_buf_cstr(out, writer->finish == PS_FINISH_LENGTH ? "length"
                     : writer->has_stop                 ? "stop_sequence"
                                                        : "eos_token");
    write_count(out, "\",\"generated_tokens\":", writer->usage.output);
    ps_buf_cstr(out, ",\"seed\":");
    ps_buf_slice(out, seed_of(writer));
    if (writer->base.options.mode == PS_WRITER_STREAM) {
        write_count(out, ",\"input_length\":", writer->usage.input);
    } else {
        ps_buf_cstr(out, ",\"prefill\":[],\"tokens\":[]");
    }
    ps_buf_byte(out, '}');
}

void ps_tgi_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                       struct ps_buf *out)
{
    struct ps_tgi_writer *writer = (struct ps_tgi_writer *)base;
    bool compat = wants(writer, PS_TGI_COMPAT);

    (void)info;
    switch (base->options.mode) {
    case PS_WRITER_WHOLE:
        ps_buf_cstr(out, compat ? "[{\"generated_text\":" : "{\"generated_text\":");
        write_whole_text(writer, out);
        write_details(writer, out);
        ps_buf_cstr(out, compat ? "}]" : "}");
        break;
    case PS_WRITER_STREAM:
        write_token(writer, PS_SLICE_LIT(""), true, out);
        write_whole_text(writer, out);
        write_details(writer, out);
        ps_buf_cstr(out, "}\n\n");
        break;
    case PS_WRITER_TEXT:
    default:
        break;
    }
}

/* ---- errors ---- */

static const char *type_of(const struct ps_fault *fault)
{
    int status = ps_fault_status(fault);

    if (fault->kind == PS_FAULT_STREAM_INCOMPLETE) {
        return "incomplete_generation";
    }
    if (status == 401 || status == 403) {
        return "unauthorized";
    }
    if (status == 429 || status == 503) {
        return "overloaded";
    }
    return status < 500 ? "validation" : "generation";
}

void ps_tgi_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *out)
{
    (void)request_id;
    ps_buf_cstr(out, "{\"error\":");
    ps_buf_json(out, ps_slice_cstr(fault->message));
    ps_buf_cstr(out, ",\"error_type\":\"");
    ps_buf_cstr(out, type_of(fault));
    ps_buf_cstr(out, "\"}");
}

void ps_tgi_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out)
{
    ps_buf_cstr(out, "data:");
    ps_tgi_write_fault(fault, request_id, out);
    ps_buf_cstr(out, "\n\n");
}
