/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"

#include <stdio.h>

/* Answers of /generate. There is one answer: what other choices say is left out. */

int ps_generate_writer_init(struct ps_writer *base)
{
    struct ps_generate_writer *writer = (struct ps_generate_writer *)base;

    writer->sglang =
        base->options.request != NULL && base->options.request->shape == PS_GENERATE_SGLANG;
    ps_buf_init(&writer->text, base->options.max_bytes);
    writer->usage = PS_USAGE_NONE;
    return 0;
}

void ps_generate_writer_deinit(struct ps_writer *base)
{
    struct ps_generate_writer *writer = (struct ps_generate_writer *)base;

    ps_buf_deinit(&writer->text);
}

static int text_lost(const struct ps_generate_writer *writer, size_t more,
                     struct ps_fault *ret_fault)
{
    if (writer->text.len + more <= writer->base.options.max_bytes) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The provider's answer is larger than the gateway can hold.");
}

static int write_text(struct ps_generate_writer *writer, struct ps_slice text, struct ps_buf *out,
                      struct ps_fault *ret_fault)
{
    if (text.len == 0) {
        return 0;
    }
    switch (writer->base.options.mode) {
    case PS_WRITER_TEXT:
        ps_buf_slice(out, text);
        return 0;
    case PS_WRITER_STREAM:
        if (writer->sglang) {
            ps_generate_sglang_text(writer, text, out);
            return writer->text.failed ? text_lost(writer, text.len, ret_fault) : 0;
        }
        ps_buf_cstr(out, "data: {\"text\":");
        ps_buf_json(out, text);
        ps_buf_cstr(out, "}\n\n");
        return 0;
    case PS_WRITER_WHOLE:
    default:
        ps_buf_slice(&writer->text, text);
        return writer->text.failed ? text_lost(writer, text.len, ret_fault) : 0;
    }
}

static void note_finish(struct ps_generate_writer *writer, const struct ps_event *event)
{
    static const char *const words[] = {
        [PS_FINISH_NONE] = "",
        [PS_FINISH_STOP] = "stop",
        [PS_FINISH_LENGTH] = "length",
        [PS_FINISH_TOOL_CALLS] = "tool_calls",
        [PS_FINISH_CONTENT_FILTER] = "content_filter",
        [PS_FINISH_OTHER] = "",
    };
    const char *word = words[event->finish];
    size_t len = event->finish_text.len;

    if (word[0] != '\0') {
        (void)snprintf(writer->finish, sizeof(writer->finish), "%s", word);
    } else {
        len = len < sizeof(writer->finish) ? len : sizeof(writer->finish) - 1;
        if (len > 0) {
            memcpy(writer->finish, event->finish_text.ptr, len);
        }
        writer->finish[len] = '\0';
    }
    writer->has_finish = writer->finish[0] != '\0';
    if (event->text.len > 0 && event->text.len <= sizeof(writer->stop)) {
        memcpy(writer->stop, event->text.ptr, event->text.len);
        writer->stop_len = event->text.len;
    }
}

int ps_generate_writer_event(struct ps_writer *base, const struct ps_event *event,
                             struct ps_buf *out, struct ps_fault *ret_fault)
{
    struct ps_generate_writer *writer = (struct ps_generate_writer *)base;

    if (event->kind == PS_EVENT_USAGE) {
        writer->has_usage = true;
        writer->usage = event->usage;
    } else if (event->choice != 0) {
        return 0;
    } else if (event->kind == PS_EVENT_TEXT || event->kind == PS_EVENT_REFUSAL) {
        return write_text(writer, event->text, out, ret_fault);
    } else if (event->kind == PS_EVENT_FINISH) {
        note_finish(writer, event);
    }
    return 0;
}

/* ---- the end ---- */

void ps_generate_count(struct ps_buf *out, const char *key, int64_t count)
{
    ps_buf_cstr(out, key);
    if (count >= 0) {
        ps_buf_int(out, count);
    } else {
        ps_buf_cstr(out, "null");
    }
}

static void write_usage(const struct ps_generate_writer *writer, struct ps_buf *out)
{
    struct ps_usage usage = writer->usage;

    if (usage.total < 0 && usage.input >= 0 && usage.output >= 0 &&
        usage.input <= INT64_MAX - usage.output) {
        usage.total = usage.input + usage.output;
    }
    ps_buf_cstr(out, ",\"usage\":");
    if (!writer->has_usage) {
        ps_buf_cstr(out, "null");
        return;
    }
    ps_generate_count(out, "{\"prompt_tokens\":", usage.input);
    ps_generate_count(out, ",\"completion_tokens\":", usage.output);
    ps_generate_count(out, ",\"total_tokens\":", usage.total);
    ps_buf_byte(out, '}');
}

/* Microseconds as milliseconds with three decimals. */
static void write_ms(struct ps_buf *out, const char *key, int64_t us)
{
    ps_buf_cstr(out, key);
    if (us < 0) {
        ps_buf_cstr(out, "null");
    } else {
        ps_buf_printf(out, "%lld.%03d", (long long)(us / 1000), (int)(us % 1000));
    }
}

static void write_timing(const struct ps_answer_info *info, struct ps_buf *out)
{
    write_ms(out, ",\"timing\":{\"queue_ms\":", info->queue_us);
    write_ms(out, ",\"first_token_ms\":", info->first_token_us);
    write_ms(out, ",\"total_ms\":", info->total_us);
    ps_buf_byte(out, '}');
}

static void write_finish(const struct ps_generate_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, "\"finish_reason\":");
    if (writer->has_finish) {
        ps_buf_json(out, ps_slice_cstr(writer->finish));
    } else {
        ps_buf_cstr(out, "null");
    }
}

static void write_source(const struct ps_answer_info *info, struct ps_buf *out)
{
    ps_buf_cstr(out, "\"model\":");
    ps_buf_json(out, info->model);
    ps_buf_cstr(out, ",\"provider\":");
    ps_buf_json(out, info->provider);
}

static void write_whole(const struct ps_generate_writer *writer, const struct ps_answer_info *info,
                        struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_json(out, info->id);
    ps_buf_byte(out, ',');
    write_source(info, out);
    ps_buf_cstr(out, ",\"text\":");
    ps_buf_json(out, ps_buf_view(&writer->text));
    ps_buf_byte(out, ',');
    write_finish(writer, out);
    write_usage(writer, out);
    write_timing(info, out);
    if (writer->sglang) {
        ps_generate_sglang_meta(writer, info->total_us, out);
    }
    ps_buf_cstr(out, "}\n");
}

static void write_last_event(const struct ps_generate_writer *writer,
                             const struct ps_answer_info *info, struct ps_buf *out)
{
    ps_buf_cstr(out, "data: {");
    write_finish(writer, out);
    ps_buf_byte(out, ',');
    write_source(info, out);
    write_usage(writer, out);
    write_timing(info, out);
    ps_buf_cstr(out, "}\n\ndata: [DONE]\n\n");
}

void ps_generate_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                            struct ps_buf *out)
{
    const struct ps_generate_writer *writer = (const struct ps_generate_writer *)base;

    switch (base->options.mode) {
    case PS_WRITER_WHOLE:
        write_whole(writer, info, out);
        break;
    case PS_WRITER_STREAM:
        if (writer->sglang) {
            ps_generate_sglang_end(writer, info, out);
        } else {
            write_last_event(writer, info, out);
        }
        break;
    case PS_WRITER_TEXT:
    default:
        break;
    }
}
