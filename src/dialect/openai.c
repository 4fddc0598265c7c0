/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_paths.h"
#include "openai_priv.h"

/* OpenAI's API, and the many servers that speak it. */

static int init(void)
{
    if (ps_openai_reader_global_init() != 0 || ps_openai_paths_global_init() != 0 ||
        ps_openai_models_global_init() != 0) {
        return -1; /* the caller undoes */
    }
    return 0;
}

static void deinit(void)
{
    ps_openai_reader_global_deinit();
    ps_openai_paths_global_deinit();
    ps_openai_models_global_deinit();
}

static void write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *out)
{
    (void)request_id; /* a header says it */
    ps_buf_cstr(out, "{\"error\":");
    ps_dialect_write_error_object(fault, out);
    ps_buf_byte(out, '}');
}

static void write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out)
{
    ps_buf_cstr(out, "data: ");
    write_fault(fault, request_id, out);
    ps_buf_cstr(out, "\n\n");
}

bool ps_openai_relays(const struct ps_dialect_settings *settings, enum ps_family front,
                      enum ps_operation operation)
{
    if (front == PS_FAMILY_RESPONSES) {
        return settings->native_responses && operation == PS_OP_CHAT;
    }
    return front == PS_FAMILY_OPENAI && operation < PS_OP_COUNT;
}

/* What a server of this family is to a client: all of the back side. */
#define TRANSLATES                                                                                 \
    (PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED) | PS_FOR(PS_OP_RERANK))
#define COUNTS (TRANSLATES | PS_FOR(PS_OP_COUNT_TOKENS)) /* openai_count.c */
#define BACK(operations)                                                                           \
    .family = PS_FAMILY_OPENAI, .credential_header = "authorization",                              \
    .credential_prefix = "Bearer ", .own = ~0U, .translates = (operations),                        \
    .relays = ps_openai_relays, .encode = ps_openai_encode,                                        \
    .encode_neutral = ps_openai_encode_neutral, .decoder_size = sizeof(struct ps_openai_decoder),  \
    .decoder_init = ps_openai_decoder_init, .decoder_deinit = ps_openai_decoder_deinit,            \
    .decoder_feed = ps_openai_decoder_feed, .decoder_finish = ps_openai_decoder_finish,            \
    .fault = ps_openai_fault, .models = ps_openai_models

/* Most servers of this family are not OpenAI's own, and know what its older models knew. */
static const struct ps_dialect_settings defaults = {.old_max_tokens = true};

const struct ps_dialect ps_dialect_openai = {
    BACK(COUNTS),
    .name = "openai",
    .defaults = &defaults,
    .global_init = init,
    .global_deinit = deinit,
    .reader_size = sizeof(struct ps_openai_reader),
    .reader_init = ps_openai_reader_init,
    .reader_feed = ps_openai_reader_feed,
    .reader_finish = ps_openai_reader_finish,
    .reads = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED) |
             PS_FOR(PS_OP_RERANK) | PS_FOR(PS_OP_IMAGE),
    .neutral = ps_openai_neutral,
    .prompt = ps_openai_prompt,
    .writer_size = sizeof(struct ps_openai_writer),
    .writes = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED) |
              PS_FOR(PS_OP_RERANK) | PS_FOR(PS_OP_IMAGE),
    .writer_init = ps_openai_writer_init,
    .writer_deinit = ps_openai_writer_deinit,
    .writer_event = ps_openai_writer_event,
    .writer_end = ps_openai_writer_end,
    .models_begin = "{\"object\":\"list\",\"data\":[",
    .write_model = ps_openai_write_model,
    .write_fault = write_fault,
    .write_fault_event = write_fault_event,
};

/*
 * Servers that one runs oneself. They speak the same, take samplers and fields that OpenAI does not
 * know, and tell their health.
 */
static const struct ps_dialect_settings hosted = {.self_hosted = true, .old_max_tokens = true};

const struct ps_dialect ps_dialect_vllm = {BACK(COUNTS), .name = "vllm", .defaults = &hosted,
                                           .health_path = "/health"};
const struct ps_dialect ps_dialect_sglang = {BACK(TRANSLATES), .name = "sglang",
                                             .defaults = &hosted, .health_path = "/health"};
const struct ps_dialect ps_dialect_llama_server = {BACK(COUNTS), .name = "llama-server",
                                                   .defaults = &hosted, .health_path = "/health"};
const struct ps_dialect ps_dialect_ray = {BACK(TRANSLATES), .name = "ray", .defaults = &hosted,
                                          .health_path = "/-/healthz"};
