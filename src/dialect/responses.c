/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

/*
 * OpenAI's Responses API: a door only. Upstreams that have it themselves are of OpenAI's family and
 * get such requests as they are (native_responses); all others get the neutral form.
 */

static void write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *out)
{
    (void)request_id; /* a header says it */
    ps_buf_cstr(out, "{\"error\":");
    ps_dialect_write_error_object(fault, out);
    ps_buf_byte(out, '}');
}

/* Where no writer of ours has begun the stream, its numbers are not known. */
static void write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out)
{
    const char *code = ps_fault_code(fault->kind);

    (void)request_id;
    ps_buf_cstr(out, "event: error\ndata: {\"type\":\"error\",\"code\":");
    ps_buf_json(out, ps_slice_cstr(code != NULL ? code : "server_error"));
    ps_buf_cstr(out, ",\"message\":");
    ps_buf_json(out, ps_slice_cstr(fault->message));
    ps_buf_cstr(out, ",\"param\":null,\"sequence_number\":0}\n\n");
}

#define OPERATIONS PS_FOR(PS_OP_CHAT)

const struct ps_dialect ps_dialect_responses = {
    .name = "responses",
    .family = PS_FAMILY_RESPONSES,
    .global_init = ps_responses_reader_global_init,
    .global_deinit = ps_responses_reader_global_deinit,
    .reader_size = sizeof(struct ps_responses_reader),
    .reader_init = ps_responses_reader_init,
    .reader_feed = ps_responses_reader_feed,
    .reader_finish = ps_responses_reader_finish,
    .reads = OPERATIONS,
    .neutral = ps_responses_neutral,
    .writer_size = sizeof(struct ps_responses_writer),
    .writes = OPERATIONS,
    .writer_init = ps_responses_writer_init,
    .writer_deinit = ps_responses_writer_deinit,
    .writer_event = ps_responses_writer_event,
    .writer_end = ps_responses_writer_end,
    .writer_fail = ps_responses_writer_fail,
    .writer_kept = ps_responses_writer_kept,
    .write_fault = write_fault,
    .write_fault_event = write_fault_event,
};
