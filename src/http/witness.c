/* SPDX-License-Identifier: Apache-2.0 */
#include "witness.h"

static struct ps_http_witness *witness_of(llhttp_t *llhttp)
{
    return llhttp->data;
}

/* Heads are handed over whole, so every span comes in one piece and in the very bytes of `head`. */
static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    const struct ps_http_head *head = witness_of(llhttp)->head;

    if (head == NULL) {
        return HPE_USER;
    }
    if (head->method == PS_HTTP_OTHER) {
        return 0;
    }
    return at == head->target.ptr && len == head->target.len ? 0 : HPE_USER;
}

static int on_field(llhttp_t *llhttp, const char *at, size_t len)
{
    const struct ps_http_witness *witness = witness_of(llhttp);
    const struct ps_http_header *header;

    if (witness->head == NULL) {
        return 0; /* a trailer */
    }
    if (witness->headers == witness->head->header_count) {
        return HPE_USER;
    }
    header = &witness->head->headers[witness->headers];
    return at == header->name.ptr && len == header->name.len ? 0 : HPE_USER;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    const struct ps_http_witness *witness = witness_of(llhttp);
    struct ps_slice value = ps_slice_trim(ps_slice(at, len));
    const struct ps_http_header *header;

    if (witness->head == NULL) {
        return 0;
    }
    if (witness->headers == witness->head->header_count) {
        return HPE_USER;
    }
    header = &witness->head->headers[witness->headers];
    return value.len == header->value.len && (value.len == 0 || value.ptr == header->value.ptr)
               ? 0
               : HPE_USER;
}

static int on_value_complete(llhttp_t *llhttp)
{
    witness_of(llhttp)->headers++;
    return 0;
}

static int on_head(llhttp_t *llhttp)
{
    struct ps_http_witness *witness = witness_of(llhttp);
    const struct ps_http_head *head = witness->head;
    bool chunked = (llhttp->flags & F_CHUNKED) != 0;
    bool same = head != NULL && witness->headers == head->header_count && llhttp->http_major == 1 &&
                llhttp->http_minor == head->minor && chunked == head->chunked &&
                llhttp->content_length == head->content_length;

    witness->head = NULL;
    llhttp->upgrade = 0; /* RFC 9110 section 7.8: a server may ignore Upgrade, and we do */
    return same ? 0 : -1;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct ps_http_witness *witness = witness_of(llhttp);

    witness->body += len;
    if (!witness->on_body(witness->arg, at, len)) {
        witness->stopped = true;
        return HPE_USER;
    }
    return 0;
}

static int on_message(llhttp_t *llhttp)
{
    witness_of(llhttp)->complete = true;
    return 0;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_message,
};

static int execute(struct ps_http_witness *witness, struct ps_slice bytes)
{
    return llhttp_execute(&witness->llhttp, bytes.ptr, bytes.len) == HPE_OK ? 0 : -1;
}

int ps_http_witness_head(struct ps_http_witness *witness, struct ps_slice raw,
                         const struct ps_http_head *head, struct ps_fault *fault)
{
    llhttp_init(&witness->llhttp, HTTP_REQUEST, &settings);
    witness->llhttp.data = witness;
    witness->head = head;
    witness->headers = 0;
    witness->complete = false;
    witness->body = 0;
    witness->stopped = false;
    if (head->method == PS_HTTP_OTHER) {
        /* Which methods llhttp knows depends on its version, and some of them end HTTP for it. */
        size_t line = head->method_text.len + head->target.len + sizeof("  HTTP/1.1\r\n") - 1;
        struct ps_slice instead = head->minor == 1 ? PS_SLICE_LIT("GET / HTTP/1.1\r\n")
                                                   : PS_SLICE_LIT("GET / HTTP/1.0\r\n");

        raw = ps_slice(raw.ptr + line, raw.len - line);
        if (execute(witness, instead) < 0) {
            return ps_fault_set(fault, PS_FAULT_INTERNAL, NULL, "The HTTP parser is out of order.");
        }
    }
    if (execute(witness, raw) < 0 || witness->head != NULL) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request head can be read in more than one way.");
    }
    return 0;
}

int ps_http_witness_chunked(struct ps_http_witness *witness, const char *ptr, size_t len,
                            struct ps_fault *fault)
{
    if (execute(witness, ps_slice(ptr, len)) < 0) {
        return witness->stopped
                   ? -1
                   : ps_fault_set(
                         fault, PS_FAULT_BAD_HTTP, NULL,
                         "The chunks of the request body can be read in more than one way.");
    }
    return 0;
}
