/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_TGI_PRIV_H
#define PENSTOCK_DIALECT_TGI_PRIV_H

#include "fields_reader.h"
#include "plain_priv.h"

/* request->shape: what its writer has to know of a request. */
enum ps_tgi_shape {
    PS_TGI_COMPAT = 1 << 0,  /* asked at "/": a whole answer is an array of one */
    PS_TGI_DETAILS = 1 << 1, /* counts and the reason are wanted */
};

/* ---- tgi_encode.c ---- */

int ps_tgi_encode_neutral(struct ps_encode *encode);
/* Its own family: the body as it came. */
int ps_tgi_encode(const struct ps_request *request, const struct ps_encode_options *options,
                  struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);

/* ---- tgi_reader.c ---- */

int ps_tgi_reader_global_init(void);
void ps_tgi_reader_global_deinit(void);
int ps_tgi_reader_init(struct ps_reader *reader);
int ps_tgi_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

/* What of a body in this shape the reader of our own /generate has found. */
struct ps_tgi_found {
    const struct ps_field *inputs;
    const struct ps_field *seed;
    const struct ps_field *details;
    const struct ps_field *full_text;
};
/* Makes the request one of this family; what its answer repeats is kept, since the body may be gone
 * by then. 0, or -1 with a fault. */
int ps_tgi_take(struct ps_request *request, const struct ps_tgi_found *found,
                struct ps_arena *arena, struct ps_fault *ret_fault);

/* ---- tgi_request.c ---- */

int ps_tgi_neutral(const struct ps_request *request, struct ps_arena *arena, struct ps_neutral *ret,
                   struct ps_fault *ret_fault);

/* ---- tgi_writer.c ---- */

struct ps_tgi_writer {
    struct ps_writer base;
    struct ps_buf text; /* what was said so far; its streams end with all of it */
    uint32_t tokens;    /* told */
    bool has_stop;      /* the end was a stop sequence */
    enum ps_finish finish;
    struct ps_usage usage;
};

int ps_tgi_writer_init(struct ps_writer *writer);
void ps_tgi_writer_deinit(struct ps_writer *writer);
int ps_tgi_writer_event(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                        struct ps_fault *ret_fault);
void ps_tgi_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                       struct ps_buf *out);
void ps_tgi_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *out);
void ps_tgi_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out);

#endif
