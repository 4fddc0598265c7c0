/* SPDX-License-Identifier: Apache-2.0 */
#include "chunked.h"

#include "chars.h"

#include <stdbool.h>

enum state {
    SIZE,
    SIZE_LF,
    EXT_NAME_FIRST,
    EXT_NAME,
    EXT_VALUE_FIRST,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_QUOTED_END,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
};

void ps_chunked_init(struct ps_chunked *chunked)
{
    *chunked = (struct ps_chunked){.state = SIZE};
}

static int bad(struct ps_fault *fault, const char *sentence)
{
    return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL, "%s", sentence);
}

static int bad_extension(struct ps_fault *fault)
{
    return bad(fault, "A chunk extension of the request body is malformed.");
}

static int bad_trailer(struct ps_fault *fault)
{
    return bad(fault, "A trailer line behind the chunked body is malformed.");
}

static int on_size(struct ps_chunked *chunked, char c, struct ps_fault *fault)
{
    if (ps_char_is(c, PS_CHAR_HEX) && chunked->digits < 16) {
        chunked->digits++;
        chunked->left = chunked->left << 4 | ps_char_hex(c);
        return SIZE;
    }
    if (chunked->digits > 0 && c == '\r') {
        return SIZE_LF;
    }
    if (chunked->digits > 0 && c == ';') {
        return EXT_NAME_FIRST;
    }
    return bad(fault, "A chunk size of the request body is not a hexadecimal number of at most 16 "
                      "digits with CRLF behind it.");
}

/* The line of a chunk size has ended. */
static int on_size_lf(struct ps_chunked *chunked, const struct ps_chunked_limits *limits, char c,
                      struct ps_fault *fault)
{
    if (c != '\n') {
        return bad(fault, "The line of a chunk size does not end in CRLF.");
    }
    if (chunked->total > limits->body_bytes ||
        chunked->left > limits->body_bytes - chunked->total) {
        return ps_fault_set(fault, PS_FAULT_BODY_TOO_LARGE, NULL,
                            "The request body is larger than the limit of %llu bytes.",
                            (unsigned long long)limits->body_bytes);
    }
    chunked->total += chunked->left;
    chunked->digits = 0;
    return chunked->left > 0 ? DATA : TRAILER_FIRST;
}

/* RFC 9110 section 5.6.4, without bytes above ASCII. */
static bool is_quotable(char c)
{
    return c == '\t' || (c >= ' ' && c <= '~');
}

static int on_quoted(char c, struct ps_fault *fault)
{
    if (c == '"') {
        return EXT_QUOTED_END;
    }
    if (c == '\\') {
        return EXT_ESCAPED;
    }
    return is_quotable(c) ? EXT_QUOTED : bad_extension(fault);
}

/* Behind a whole name or value. */
static int on_extension_end(char c, struct ps_fault *fault)
{
    if (c == ';') {
        return EXT_NAME_FIRST;
    }
    return c == '\r' ? SIZE_LF : bad_extension(fault);
}

static int on_extension(struct ps_chunked *chunked, char c, struct ps_fault *fault)
{
    bool token = ps_char_is(c, PS_CHAR_TOKEN);

    if (chunked->extension_bytes >= PS_CHUNK_EXTENSION_BYTES) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The chunk extensions of the request body exceed %d bytes.",
                            PS_CHUNK_EXTENSION_BYTES);
    }
    chunked->extension_bytes++;
    switch (chunked->state) {
    case EXT_NAME_FIRST:
        return token ? EXT_NAME : bad_extension(fault);
    case EXT_NAME:
        if (c == '=') {
            return EXT_VALUE_FIRST;
        }
        return token ? EXT_NAME : on_extension_end(c, fault);
    case EXT_VALUE_FIRST:
        if (c == '"') {
            return EXT_QUOTED;
        }
        return token ? EXT_VALUE : bad_extension(fault);
    case EXT_VALUE:
        return token ? EXT_VALUE : on_extension_end(c, fault);
    case EXT_QUOTED:
        return on_quoted(c, fault);
    case EXT_ESCAPED:
        return is_quotable(c) ? EXT_QUOTED : bad_extension(fault);
    default:
        return on_extension_end(c, fault);
    }
}

/* RFC 9110 section 6.5.1: what frames or routes a message does not belong behind it. */
static bool is_forbidden_trailer(const struct ps_chunked *chunked)
{
    static const struct ps_slice names[] = {
        {"host", 4}, {"content-length", 14}, {"transfer-encoding", 17}};
    struct ps_slice name = {chunked->name, chunked->name_len};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ps_slice_eq(name, names[i])) {
            return true;
        }
    }
    return false;
}

static int on_trailer_name(struct ps_chunked *chunked, char c, struct ps_fault *fault)
{
    if (ps_char_is(c, PS_CHAR_TOKEN)) {
        if (chunked->name_len < sizeof(chunked->name)) {
            chunked->name[chunked->name_len++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        }
        return TRAILER_NAME;
    }
    if (c != ':' || chunked->name_len == 0) {
        return bad_trailer(fault);
    }
    if (is_forbidden_trailer(chunked)) {
        return bad(fault,
                   "Content-Length, Transfer-Encoding and Host must not stand in a trailer.");
    }
    return TRAILER_VALUE;
}

static int on_trailer(struct ps_chunked *chunked, const struct ps_chunked_limits *limits, char c,
                      struct ps_fault *fault)
{
    if (chunked->trailer_bytes >= limits->trailer_bytes) {
        return ps_fault_set(fault, PS_FAULT_HEADERS_TOO_LARGE, NULL,
                            "The trailers behind the request body exceed the limit of %zu bytes.",
                            limits->trailer_bytes);
    }
    chunked->trailer_bytes++;
    switch (chunked->state) {
    case TRAILER_FIRST:
        if (c == '\r') {
            return END_LF;
        }
        if (chunked->trailers == limits->trailers) {
            return ps_fault_set(fault, PS_FAULT_HEADERS_TOO_LARGE, NULL,
                                "There are more than %zu trailers behind the request body.",
                                limits->trailers);
        }
        chunked->trailers++;
        chunked->name_len = 0;
        return on_trailer_name(chunked, c, fault);
    case TRAILER_NAME:
        return on_trailer_name(chunked, c, fault);
    case TRAILER_VALUE:
        if (c == '\r') {
            return TRAILER_LF;
        }
        return ps_http_find_control(&c, 1) == 1 ? TRAILER_VALUE : bad_trailer(fault);
    default:
        return c == '\n' ? TRAILER_FIRST : bad_trailer(fault);
    }
}

static const char chunk_end[] =
    "A chunk of the request body does not end in CRLF where its size says.";

/* The next state, or -1. Not for DATA and END_LF. */
static int on_byte(struct ps_chunked *chunked, const struct ps_chunked_limits *limits, char c,
                   struct ps_fault *fault)
{
    switch (chunked->state) {
    case SIZE:
        return on_size(chunked, c, fault);
    case SIZE_LF:
        return on_size_lf(chunked, limits, c, fault);
    case DATA_CR:
        return c == '\r' ? DATA_LF : bad(fault, chunk_end);
    case DATA_LF:
        return c == '\n' ? SIZE : bad(fault, chunk_end);
    case EXT_NAME_FIRST:
    case EXT_NAME:
    case EXT_VALUE_FIRST:
    case EXT_VALUE:
    case EXT_QUOTED:
    case EXT_ESCAPED:
    case EXT_QUOTED_END:
        return on_extension(chunked, c, fault);
    case TRAILER_FIRST:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
    case DATA:
    case END_LF:
    default:
        return on_trailer(chunked, limits, c, fault);
    }
}

static size_t skip_data(struct ps_chunked *chunked, size_t len)
{
    size_t part = len < chunked->left ? len : (size_t)chunked->left;

    chunked->left -= part;
    if (chunked->left == 0) {
        chunked->state = DATA_CR;
    }
    return part;
}

static bool is_extension(const struct ps_chunked *chunked)
{
    return chunked->state >= EXT_NAME_FIRST && chunked->state <= EXT_QUOTED_END;
}

/* Takes one byte of framing. */
static enum ps_chunked_result take_byte(struct ps_chunked *chunked,
                                        const struct ps_chunked_limits *limits, char c,
                                        struct ps_fault *fault)
{
    int next;

    if (chunked->state == END_LF) {
        return c == '\n' ? PS_CHUNKED_END : (bad_trailer(fault), PS_CHUNKED_ERROR);
    }
    next = on_byte(chunked, limits, c, fault);
    if (next < 0) {
        return PS_CHUNKED_ERROR;
    }
    chunked->state = (uint8_t)next;
    return PS_CHUNKED_MORE;
}

enum ps_chunked_result ps_chunked_scan(struct ps_chunked *chunked,
                                       const struct ps_chunked_limits *limits, const char *ptr,
                                       size_t len, struct ps_chunked_part *ret_part,
                                       struct ps_fault *fault)
{
    enum ps_chunked_result result = PS_CHUNKED_MORE;
    struct ps_chunked_part part = {.used = 0};

    while (part.used < len && result == PS_CHUNKED_MORE) {
        if (chunked->state == DATA) {
            size_t skipped = skip_data(chunked, len - part.used);

            part.used += skipped;
            part.shown += skipped;
            part.data += skipped;
            continue;
        }
        if (part.shown < part.used && ptr[part.used] == '\r') {
            break; /* the extension is over: its line's end is to be shown */
        }
        result = take_byte(chunked, limits, ptr[part.used], fault);
        if (result != PS_CHUNKED_ERROR) {
            part.used++;
            part.shown += !is_extension(chunked);
        }
    }
    *ret_part = part;
    return result;
}
