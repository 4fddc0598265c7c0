/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_SRC_HTTP_WITNESS_H
#define PENSTOCK_SRC_HTTP_WITNESS_H

#include "penstock/base/fault.h"
#include "penstock/http/parser.h"

#include <llhttp.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * llhttp as the second reader of every request. Our own reading comes first and gives the sentence
 * of a refusal, whatever llhttp's version; then llhttp, all lenient flags off, must read the same
 * headers, the same framing and the same body out of the same bytes. A request on which two readers
 * differ is what request smuggling is made of, so it is refused.
 */
struct ps_http_witness {
    llhttp_t llhttp;
    const struct ps_http_head *head; /* borrowed; what is to be confirmed, NULL once it is */
    size_t headers;                  /* confirmed so far */
    bool complete;                   /* llhttp has seen the end of the message */
    uint64_t body;                   /* bytes of body given to on_body */
    bool (*on_body)(void *arg, const char *ptr, size_t len);
    void *arg;
    bool stopped; /* on_body said so */
};

/* The head `raw`, out of which `head` was read. 0, or -1 with *fault. */
int ps_http_witness_head(struct ps_http_witness *witness, struct ps_slice raw,
                         const struct ps_http_head *head, struct ps_fault *fault);
/* More bytes of a chunked message, framing and all; body bytes go to on_body. 0, or -1 with *fault,
 * or with `stopped` set. */
int ps_http_witness_chunked(struct ps_http_witness *witness, const char *ptr, size_t len,
                            struct ps_fault *fault);

#endif
