/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_SRC_HTTP_CHUNKED_H
#define PENSTOCK_SRC_HTTP_CHUNKED_H

#include "penstock/base/fault.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The framing of a chunked body and its trailer section (RFC 9112 section 7.1), read strictly: no
 * white space around sizes, CRLF only, extensions and trailers bounded and dropped. Decides where
 * the body ends.
 */

#define PS_CHUNK_EXTENSION_BYTES 4096 /* of all extensions of a body together */

struct ps_chunked {
    uint8_t state;
    uint8_t digits;    /* of the chunk size at hand */
    uint8_t name_len;  /* of the trailer's name at hand, up to one more than `name` holds */
    char name[18];     /* its beginning, in lower case */
    uint32_t trailers; /* lines seen */
    uint64_t left;     /* bytes of the chunk at hand still to come */
    uint64_t total;    /* sizes of all chunks so far */
    size_t extension_bytes;
    size_t trailer_bytes;
};

struct ps_chunked_limits {
    uint64_t body_bytes;
    size_t trailer_bytes;
    size_t trailers;
};

enum ps_chunked_result {
    PS_CHUNKED_MORE,
    PS_CHUNKED_END,   /* the last byte taken is the last one of the body */
    PS_CHUNKED_ERROR, /* *fault says why; the byte after those taken is at fault */
};

void ps_chunked_init(struct ps_chunked *chunked);

/* What a scan took: first `shown` bytes of sizes, chunks and trailers, then a (piece of a) chunk
 * extension. */
struct ps_chunked_part {
    size_t used;
    size_t shown;
    uint64_t data; /* how many of those shown are body */
};
/* May take less than all bytes without being at an end: call again with the rest. */
enum ps_chunked_result ps_chunked_scan(struct ps_chunked *chunked,
                                       const struct ps_chunked_limits *limits, const char *ptr,
                                       size_t len, struct ps_chunked_part *ret_part,
                                       struct ps_fault *fault);

#endif
