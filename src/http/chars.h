/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_SRC_HTTP_CHARS_H
#define PENSTOCK_SRC_HTTP_CHARS_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a byte may be part of. */
enum {
    PS_CHAR_TOKEN = 1,  /* RFC 9110 tchar */
    PS_CHAR_TARGET = 2, /* a request target: visible ASCII without '"' '#' '<' '>' '\' */
    PS_CHAR_HOST = 4,   /* a host that is a name or IPv4: letters, digits, '-' '.' '_' '~' */
    PS_CHAR_HEX = 8,
};
extern const uint8_t ps_http_chars[256];

static inline bool ps_char_is(char c, int kind)
{
    return (ps_http_chars[(uint8_t)c] & kind) != 0;
}

/* How many bytes at the start of the text are of that kind. */
static inline size_t ps_char_span(const char *ptr, size_t len, int kind)
{
    size_t i = 0;

    while (i < len && ps_char_is(ptr[i], kind)) {
        i++;
    }
    return i;
}

/* The value of a hexadecimal digit (PS_CHAR_HEX). */
static inline unsigned ps_char_hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* The first byte that is no part of a field value: a control other than HTAB; len when there is
 * none. */
size_t ps_http_find_control(const char *ptr, size_t len);

#endif
