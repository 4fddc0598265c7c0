/* SPDX-License-Identifier: Apache-2.0 */
#include "chars.h"

#include "penstock/http/writer.h"

/* A row for every 16 characters of ASCII; sums of PS_CHAR_*. Nothing above ASCII is part of
 * anything. */
/* clang-format off */
const uint8_t ps_http_chars[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* controls */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* controls */
     0,  3,  0,  1,  3,  3,  3,  3,  2,  2,  3,  3,  2,  7,  7,  2, /* space ! " # $ % & ' ( ) * + , - . / */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  2,  2,  0,  2,  0,  2, /* 0-9 : ; < = > ? */
     2, 15, 15, 15, 15, 15, 15,  7,  7,  7,  7,  7,  7,  7,  7,  7, /* @ A-O */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  2,  0,  2,  3,  7, /* P-Z [ backslash ] ^ _ */
     3, 15, 15, 15, 15, 15, 15,  7,  7,  7,  7,  7,  7,  7,  7,  7, /* ` a-o */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  2,  3,  2,  7,  0, /* p-z { | } ~ DEL */
};
/* clang-format on */

/* Eight bytes at a time: some byte is below 0x20 or is 0x7f. May say yes for a byte above such a
 * one, never no where there is one. */
static bool maybe_control(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t del = word ^ (ones * 0x7f);

    return ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops) != 0;
}

static bool is_control(char c)
{
    return ((uint8_t)c < 0x20 && c != '\t') || c == 0x7f;
}

size_t ps_http_find_control(const char *ptr, size_t len)
{
    size_t i = 0;

    while (len - i >= sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, ptr + i, sizeof(word));
        if (maybe_control(word)) {
            for (size_t end = i + sizeof(word); i < end; i++) {
                if (is_control(ptr[i])) {
                    return i;
                }
            }
        } else {
            i += sizeof(word);
        }
    }
    while (i < len && !is_control(ptr[i])) {
        i++;
    }
    return i;
}

bool ps_http_is_token(struct ps_slice text)
{
    return text.len > 0 && ps_char_span(text.ptr, text.len, PS_CHAR_TOKEN) == text.len;
}

bool ps_http_is_field_value(struct ps_slice text)
{
    return ps_http_find_control(text.ptr, text.len) == text.len;
}
