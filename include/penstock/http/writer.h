/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_HTTP_WRITER_H
#define PENSTOCK_HTTP_WRITER_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * HTTP/1.1 responses into a buffer (RFC 9112). Names and values are checked: a byte that could
 * break the framing (CR, LF, NUL, other controls) makes the header be left out, never sent.
 */

enum ps_http_framing {
    PS_HTTP_NO_BODY, /* 204, 304, 1xx; HEAD too, with the length of what GET would have sent (0: not
                        said) */
    PS_HTTP_LENGTH,  /* content-length */
    PS_HTTP_CHUNKED, /* transfer-encoding: chunked */
    PS_HTTP_UNTIL_CLOSE, /* HTTP/1.0 clients */
};

/* Status line and Date. `wall_ms`: for Date; the text is made once a second per thread. */
void ps_http_write_status(struct ps_buf *buf, int status, int64_t wall_ms);
/* Connection, Content-Length and Transfer-Encoding are left out too: ps_http_write_end alone writes
 * them. */
void ps_http_write_header(struct ps_buf *buf, struct ps_slice name, struct ps_slice value);
void ps_http_write_header_cstr(struct ps_buf *buf, const char *name, const char *value);
void ps_http_write_header_uint(struct ps_buf *buf, const char *name, uint64_t value);
/* Framing headers, `connection: close` unless keep_alive (and keep-alive spelled out for HTTP/1.0),
 * empty line. */
void ps_http_write_end(struct ps_buf *buf, enum ps_http_framing framing, uint64_t length,
                       bool keep_alive, int minor);

/* "HTTP/1.1 100 Continue" CRLF CRLF. */
extern const struct ps_slice ps_http_continue;
/* "0" CRLF CRLF: the mark of a whole chunked body. */
extern const struct ps_slice ps_http_last_chunk;
/* Chunk head ("1f4" CRLF) into `ret` (at least 20 bytes); its length. The chunk's bytes and CRLF
 * follow it. Nothing for `len` 0: an empty chunk would be the mark of a whole body. */
size_t ps_http_chunk_head(char *ret, size_t len);
/* "Unknown" for a status without a name. */
const char *ps_http_reason(int status);

/* RFC 9110 token, for header names. */
bool ps_http_is_token(struct ps_slice text);
/* Field value without CR, LF, NUL and other controls but HTAB. */
bool ps_http_is_field_value(struct ps_slice text);

#endif
