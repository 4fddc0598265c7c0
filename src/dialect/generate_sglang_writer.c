/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"

/*
 * What SGLang's clients read of an answer beside "text": "meta_info". A stream of theirs says in
 * every event all that was said so far, which they cut themselves; so the text is held, escaped.
 */

static void write_finish(const struct ps_generate_writer *writer, struct ps_buf *out)
{
    bool cut = strcmp(writer->finish, "length") == 0;

    if (!writer->has_finish) {
        ps_buf_cstr(out, "null");
        return;
    }
    ps_buf_cstr(out, cut ? "{\"type\":\"length\"" : "{\"type\":\"stop\"");
    if (cut && writer->usage.output >= 0) {
        ps_generate_count(out, ",\"length\":", writer->usage.output);
    } else if (!cut && writer->stop_len > 0) {
        ps_buf_cstr(out, ",\"matched\":");
        ps_buf_json(out, ps_slice(writer->stop, writer->stop_len));
    }
    ps_buf_byte(out, '}');
}

void ps_generate_sglang_meta(const struct ps_generate_writer *writer, int64_t total_us,
                             struct ps_buf *out)
{
    const struct ps_usage *usage = &writer->usage;

    ps_buf_cstr(out, ",\"meta_info\":{\"id\":");
    ps_buf_json(out, writer->base.options.id);
    ps_buf_cstr(out, ",\"finish_reason\":");
    write_finish(writer, out);
    ps_generate_count(out, ",\"prompt_tokens\":", usage->input);
    ps_generate_count(out, ",\"completion_tokens\":", usage->output);
    ps_generate_count(out, ",\"cached_tokens\":", usage->cached > 0 ? usage->cached : 0);
    if (total_us >= 0) {
        ps_buf_printf(out, ",\"e2e_latency\":%lld.%06d", (long long)(total_us / 1000000),
                      (int)(total_us % 1000000));
    }
    ps_buf_byte(out, '}');
}

static void write_event(const struct ps_generate_writer *writer, int64_t total_us,
                        struct ps_buf *out)
{
    ps_buf_cstr(out, "data: {\"text\":\"");
    ps_buf_slice(out, ps_buf_view(&writer->text));
    ps_buf_byte(out, '"');
    ps_generate_sglang_meta(writer, total_us, out);
    ps_buf_cstr(out, "}\n\n");
}

void ps_generate_sglang_text(struct ps_generate_writer *writer, struct ps_slice text,
                             struct ps_buf *out)
{
    size_t at = writer->text.len;

    ps_buf_json(&writer->text, text);
    if (!writer->text.failed) {
        memmove(writer->text.ptr + at, writer->text.ptr + at + 1, writer->text.len - at - 2);
        writer->text.len -= 2;
        write_event(writer, -1, out);
    }
}

void ps_generate_sglang_end(const struct ps_generate_writer *writer,
                            const struct ps_answer_info *info, struct ps_buf *out)
{
    write_event(writer, info->total_us, out);
    ps_buf_cstr(out, "data: [DONE]\n\n");
}
