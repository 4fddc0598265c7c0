/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t ps_base64_encode(const void *ptr, size_t len, char *ret)
{
    const uint8_t *from = ptr;
    char *to = ret;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)from[i] << 16;
        bits |= i + 1 < len ? (uint32_t)from[i + 1] << 8 : 0;
        bits |= i + 2 < len ? (uint32_t)from[i + 2] : 0;
        *to++ = alphabet[bits >> 18 & 63];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = i + 1 < len ? alphabet[bits >> 6 & 63] : '=';
        *to++ = i + 2 < len ? alphabet[bits & 63] : '=';
    }
    return (size_t)(to - ret);
}

/* 64: none of the alphabet. */
static uint32_t value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint32_t)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (uint32_t)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

bool ps_base64_decode(struct ps_slice text, uint8_t *ret, size_t *ret_len)
{
    size_t padding = 0;
    size_t made = 0;

    if (text.len % 4 != 0) {
        return false;
    }
    while (padding < 2 && padding < text.len && text.ptr[text.len - 1 - padding] == '=') {
        padding++;
    }
    for (size_t i = 0; i < text.len; i += 4) {
        size_t missing = i + 4 == text.len ? padding : 0;
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            uint32_t value = j + missing < 4 ? value_of(text.ptr[i + j]) : 0;
            if (value > 63) {
                return false;
            }
            bits = bits << 6 | value;
        }
        if (missing > 0 && (bits & (missing == 1 ? 0xffU : 0xffffU)) != 0) {
            return false;
        }
        for (size_t j = 0; j + missing < 3; j++) {
            ret[made++] = (uint8_t)(bits >> (16 - 8 * j));
        }
    }
    *ret_len = made;
    return true;
}
