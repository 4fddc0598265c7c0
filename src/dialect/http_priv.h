/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_HTTP_PRIV_H
#define PENSTOCK_DIALECT_HTTP_PRIV_H

#include "plain_priv.h"

/* ---- http_pointer.c: JSON pointers (RFC 6901) ---- */

#define PS_POINTER_STEPS 16

struct ps_pointer {
    struct ps_slice steps[PS_POINTER_STEPS]; /* still escaped with ~ */
    size_t count;
};
/* False: it does not begin with '/', has a bad escape or too many steps. "" is the whole. */
bool ps_pointer_read(struct ps_slice text, struct ps_pointer *ret);
/* Whether a raw key is this step. */
bool ps_pointer_is(struct ps_slice step, struct ps_slice key);
/* An index, or -1: no number. */
int ps_pointer_index(struct ps_slice step);
/* The value that it points at in scanned JSON; empty when there is none, or null. */
struct ps_slice ps_pointer_get(struct ps_slice json, struct ps_slice pointer);

/* ---- http_encode.c, http.c ---- */

enum ps_http_stream {
    PS_HTTP_NONE, /* asked for a whole answer, which then goes out in one piece */
    PS_HTTP_NDJSON,
    PS_HTTP_SSE,
    PS_HTTP_RAW,
};
enum ps_http_stream ps_http_stream_of(const struct ps_dialect_settings *settings);

int ps_http_encode_neutral(struct ps_encode *encode);

#endif
