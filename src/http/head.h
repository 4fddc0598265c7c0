/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_SRC_HTTP_HEAD_H
#define PENSTOCK_SRC_HTTP_HEAD_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"
#include "penstock/http/parser.h"

#include <stddef.h>

/*
 * A request head out of its bytes (RFC 9112 sections 2 to 6), which all lie there already. Every
 * function returns 0, or -1 with *fault filled.
 */

/* Where the parts of a request line lie: method, one space, target, one space, version. */
struct ps_http_request_line {
    size_t method_len;
    size_t target_len;
    enum ps_http_method method;
    int minor;
};

/* One line of a head with its LF: it ends in CRLF, is no continuation of the one before, holds no
 * controls. */
int ps_http_check_line(const char *ptr, size_t len, bool first, struct ps_fault *fault);

/* `line` without its CRLF, after ps_http_check_line. */
int ps_http_read_request_line(struct ps_slice line, struct ps_http_request_line *ret_line,
                              struct ps_fault *fault);

/*
 * `raw` is a whole head, each line of which has passed the checks above; `headers` has room for all
 * of its header lines. Fills *ret_head, whose slices point into `raw`.
 */
int ps_http_read_head(struct ps_slice raw, const struct ps_http_request_line *line,
                      struct ps_http_header *headers, struct ps_http_head *ret_head,
                      struct ps_fault *fault);

/* host or host:port, nothing else. */
int ps_http_check_host(struct ps_slice host, struct ps_fault *fault);

#endif
