/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "openai_priv.h"

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

#define OPERATIONS (PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COUNT_TOKENS))

const struct ps_dialect ps_dialect_anthropic = {
    .name = "anthropic",
    .family = PS_FAMILY_ANTHROPIC,
    .credential_header = "x-api-key",
    .credential_prefix = "",
    .global_init = init,
    .global_deinit = deinit,
    .reader_size = sizeof(struct ps_anthropic_reader),
    .reader_init = ps_anthropic_reader_init,
    .reader_feed = ps_anthropic_reader_feed,
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
