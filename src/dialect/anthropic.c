/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "openai_priv.h"

#include <time.h>

/* Anthropic's messages API, and the servers that speak it. */

static int init(void)
{
    if (ps_anthropic_reader_global_init() != 0 || ps_anthropic_found_global_init() != 0) {
        return -1; /* the caller undoes */
    }
    return 0;
}

static void deinit(void)
{
    ps_anthropic_reader_global_deinit();
    ps_anthropic_found_global_deinit();
}

static const struct ps_dialect_settings defaults = {
    .max_tokens = 4096,
    .thinking = PS_SLICE_INIT("effort"),
};

static void write_model(const struct ps_model_info *model, struct ps_buf *out)
{
    time_t seconds = (time_t)model->created_s;
    struct tm utc;
    char at[32] = "1970-01-01T00:00:00Z";

    if (gmtime_r(&seconds, &utc) != NULL) {
        (void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    ps_buf_cstr(out, "{\"type\":\"model\",\"id\":");
    ps_buf_json(out, model->id);
    ps_buf_cstr(out, ",\"display_name\":");
    ps_buf_json(out, model->id);
    ps_buf_cstr(out, ",\"created_at\":\"");
    ps_buf_cstr(out, at);
    ps_buf_cstr(out, "\"}");
}

static void write_border(struct ps_slice id, struct ps_buf *out)
{
    if (id.len > 0) {
        ps_buf_json(out, id);
    } else {
        ps_buf_cstr(out, "null");
    }
}

static void write_models_end(struct ps_slice first, struct ps_slice last, struct ps_buf *out)
{
    ps_buf_cstr(out, "],\"has_more\":false,\"first_id\":");
    write_border(first, out);
    ps_buf_cstr(out, ",\"last_id\":");
    write_border(last, out);
    ps_buf_byte(out, '}');
}

#define OPERATIONS (PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COUNT_TOKENS))

const struct ps_dialect ps_dialect_anthropic = {
    .name = "anthropic",
    .family = PS_FAMILY_ANTHROPIC,
    .credential_header = "x-api-key",
    .credential_prefix = "",
    .global_init = init,
    .global_deinit = deinit,
    .reader_size = sizeof(struct ps_fields_reader),
    .reader_init = ps_anthropic_reader_init,
    .reader_feed = ps_fields_reader_feed,
    .reader_finish = ps_anthropic_reader_finish,
    .reads = OPERATIONS,
    .neutral = ps_anthropic_neutral,
    .writer_size = sizeof(struct ps_anthropic_writer),
    .writes = OPERATIONS,
    .writer_init = ps_anthropic_writer_init,
    .writer_deinit = ps_anthropic_writer_deinit,
    .writer_event = ps_anthropic_writer_event,
    .writer_end = ps_anthropic_writer_end,
    .write_fault = ps_anthropic_write_fault,
    .write_fault_event = ps_anthropic_write_fault_event,
    .models_begin = "{\"data\":[",
    .write_model = write_model,
    .write_models_end = write_models_end,
    .ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    .own = OPERATIONS,
    .translates = OPERATIONS,
    .defaults = &defaults,
    .encode = ps_anthropic_encode,
    .encode_neutral = ps_anthropic_encode_neutral,
    .decoder_size = sizeof(struct ps_anthropic_decoder),
    .decoder_init = ps_anthropic_decoder_init,
    .decoder_deinit = ps_anthropic_decoder_deinit,
    .decoder_feed = ps_anthropic_decoder_feed,
    .decoder_finish = ps_anthropic_decoder_finish,
    .fault = ps_anthropic_fault,
    .models = ps_openai_models, /* lists of the same shape */
};
