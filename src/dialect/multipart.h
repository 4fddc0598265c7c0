/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_MULTIPART_H
#define PENSTOCK_DIALECT_MULTIPART_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"
#include "penstock/dialect/request.h"

/*
 * Finds named fields in a multipart/form-data body (RFC 7578, RFC 2046 section 5.1) as its bytes
 * come, cut anywhere. Files pass by unseen; memory is the struct alone. Lines end with CRLF.
 */

#define PS_MULTIPART_PARTS    64
#define PS_MULTIPART_HEADER   4096 /* bytes of one part's head at most */
#define PS_MULTIPART_BOUNDARY 70

enum ps_multipart_state {
    PS_MULTIPART_PREAMBLE,
    PS_MULTIPART_DELIMITER, /* behind a boundary: the end, or a line end */
    PS_MULTIPART_END_DASH,
    PS_MULTIPART_PADDING,
    PS_MULTIPART_LINE_FEED,
    PS_MULTIPART_HEAD,
    PS_MULTIPART_CONTENT,
    PS_MULTIPART_EPILOGUE,
};

struct ps_multipart_field {
    const char *name;    /* static */
    struct ps_span span; /* of its bytes */
    bool given;
};

struct ps_multipart {
    enum ps_multipart_state state;
    struct ps_multipart_field *fields; /* borrowed: what is looked for */
    size_t field_count;
    int current; /* index of the field whose content goes by, -1: another part */
    unsigned parts;
    uint64_t offset;
    size_t matched; /* bytes of the delimiter that have gone by */
    size_t delimiter_len;
    char delimiter[4 + PS_MULTIPART_BOUNDARY]; /* CRLF "--" boundary */
    char head[PS_MULTIPART_HEADER];
    size_t head_len;
};

/* -1 with a fault when the content type has no usable boundary. */
int ps_multipart_init(struct ps_multipart *multipart, struct ps_slice content_type,
                      struct ps_multipart_field *fields, size_t field_count,
                      struct ps_fault *ret_fault) __attribute__((warn_unused_result));
int ps_multipart_feed(struct ps_multipart *multipart, const char *ptr, size_t len,
                      struct ps_fault *ret_fault) __attribute__((warn_unused_result));
int ps_multipart_finish(struct ps_multipart *multipart, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));

#endif
