/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_UTF8_H
#define PENSTOCK_DIALECT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* UTF-8 (RFC 3629) that arrives in pieces: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
struct ps_utf8 {
    unsigned char left; /* continuation bytes still due */
    unsigned char low;  /* bounds of the next one */
    unsigned char high;
};

static inline bool ps_utf8_lead(struct ps_utf8 *utf8, unsigned char byte)
{
    if (byte < 0x80) {
        return true;
    }
    if (byte < 0xc2 || byte > 0xf4) {
        return false;
    }
    utf8->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    utf8->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    utf8->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
}

static inline bool ps_utf8_feed(struct ps_utf8 *utf8, const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)ptr[i];

        if (utf8->left == 0) {
            if (!ps_utf8_lead(utf8, byte)) {
                return false;
            }
        } else if (byte < utf8->low || byte > utf8->high) {
            return false;
        } else {
            utf8->left--;
            utf8->low = 0x80;
            utf8->high = 0xbf;
        }
    }
    return true;
}

static inline bool ps_utf8_whole(const struct ps_utf8 *utf8)
{
    return utf8->left == 0;
}

#endif
