/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_MULTIPART_H
#define PENSTOCK_API_MULTIPART_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The parts of a multipart/form-data body (RFC 7578, RFC 2046 section 5.1) as its bytes come, cut
 * anywhere: the contents are handed on, never kept. Memory is the struct alone. Lines end with
 * CRLF; how the body is cut changes nothing but the cuts of `data`.
 */

#define PS_FORM_PARTS    32
#define PS_FORM_HEAD     8192 /* bytes of one part's head at most */
#define PS_FORM_BOUNDARY 70
#define PS_FORM_NAME     128  /* bytes of a field's name */
#define PS_FORM_FILENAME 1024 /* bytes of a file's name as sent */

struct ps_form_part {
    struct ps_slice name;     /* at least a byte */
    struct ps_slice filename; /* as sent */
    bool has_filename;
};

/* Each returns 0, or -1 with a fault, which ends the feed. Slices live until it returns. */
struct ps_form_ops {
    int (*part)(void *arg, const struct ps_form_part *part, struct ps_fault *ret_fault);
    int (*data)(void *arg, const char *ptr, size_t len, struct ps_fault *ret_fault);
    int (*end)(void *arg, struct ps_fault *ret_fault); /* of the part */
};

enum ps_form_state {
    PS_FORM_PREAMBLE,
    PS_FORM_DELIMITER, /* behind a boundary: the end, or a line end */
    PS_FORM_END_DASH,
    PS_FORM_PADDING,
    PS_FORM_LINE_FEED,
    PS_FORM_HEADERS,
    PS_FORM_CONTENT,
    PS_FORM_EPILOGUE,
};

struct ps_form {
    enum ps_form_state state;
    const struct ps_form_ops *ops; /* borrowed */
    void *arg;
    unsigned parts;
    size_t matched; /* bytes of the delimiter that have gone by, content if it is none */
    size_t phantom; /* of those, how many are no content in any case */
    size_t delimiter_len;
    char delimiter[4 + PS_FORM_BOUNDARY]; /* CRLF "--" boundary */
    size_t head_len;
    char head[PS_FORM_HEAD];
};

/* -1 with a fault when the content type is not multipart/form-data with a usable boundary. */
int ps_form_init(struct ps_form *form, struct ps_slice content_type, const struct ps_form_ops *ops,
                 void *arg, struct ps_fault *ret_fault) __attribute__((warn_unused_result));
int ps_form_feed(struct ps_form *form, const char *ptr, size_t len, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));
/* The body is complete: -1 when its closing boundary has not come. */
int ps_form_finish(const struct ps_form *form, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));

#endif
