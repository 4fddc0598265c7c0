/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_TEXT_OUT_H
#define PENSTOCK_ENGINE_TEXT_OUT_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * From pieces of tokens to text that may be shown. Pieces end anywhere: inside a character, inside
 * a stop string. Held back is a character that has begun, and what may yet become a stop string;
 * what is no UTF-8 becomes U+FFFD. A stop string and all behind it never come out.
 */
struct ps_text_out {
    struct ps_buf held;           /* valid UTF-8 that waits, then at most 3 bytes of a character */
    size_t checked;               /* of held: bytes known to be whole characters */
    const struct ps_slice *stops; /* borrowed */
    size_t stop_count;
    int stopped;       /* index of the stop string that came; -1 */
    uint64_t taken;    /* bytes pushed so far (as text) */
    uint64_t released; /* bytes that came out so far */
};

void ps_text_out_init(struct ps_text_out *out, const struct ps_slice *stops, size_t stop_count);
void ps_text_out_deinit(struct ps_text_out *out);
/*
 * Takes a piece; appends to `ret` what may be shown now. 0; 1 when a stop string is complete (then
 * nothing more is taken); -1 when memory is short.
 */
int ps_text_out_push(struct ps_text_out *out, struct ps_slice piece, struct ps_buf *ret);
/* The end, unless stopped: what is held is text after all. 0 or -1. */
int ps_text_out_finish(struct ps_text_out *out, struct ps_buf *ret);

#endif
