/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"

/* POST /generate, our own door: a front only. */

static void write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"error\":");
    ps_dialect_write_error_object(fault, out);
    if (request_id.len > 0) {
        ps_buf_cstr(out, ",\"request_id\":");
        ps_buf_json(out, request_id);
    }
    ps_buf_byte(out, '}');
}

static void write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out)
{
    ps_buf_cstr(out, "data: ");
    write_fault(fault, request_id, out);
    ps_buf_cstr(out, "\n\n");
}

const struct ps_dialect ps_dialect_generate = {
    .name = "generate",
    .family = PS_FAMILY_GENERATE,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .global_init = ps_generate_reader_global_init,
    .global_deinit = ps_generate_reader_global_deinit,
    .reader_size = sizeof(struct ps_generate_reader),
    .reader_init = ps_generate_reader_init,
    .reader_feed = ps_generate_reader_feed,
    .reader_finish = ps_generate_reader_finish,
    .reads = PS_FOR(PS_OP_CHAT),
    .neutral = ps_generate_neutral,
    .prompt = ps_generate_prompt,
    .writes = PS_FOR(PS_OP_CHAT),
    .writer_size = sizeof(struct ps_generate_writer),
    .writer_init = ps_generate_writer_init,
    .writer_deinit = ps_generate_writer_deinit,
    .writer_event = ps_generate_writer_event,
    .writer_end = ps_generate_writer_end,
    .write_fault = write_fault,
    .write_fault_event = write_fault_event,
};
