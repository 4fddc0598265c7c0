/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_JSON_BYTES_H
#define PENSTOCK_BASE_JSON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* The insides of JSON strings: what is special in them, characters, escapes. */

/* Whether a byte inside a string is more than itself: quote, backslash, control, not ASCII. */
static inline bool ps_json_is_special(unsigned char byte)
{
    return byte == '"' || byte == '\\' || byte < 0x20 || byte >= 0x80;
}

static inline const char *ps_json_find_special_bytewise(const char *at, const char *end)
{
    while (at < end && !ps_json_is_special((unsigned char)*at)) {
        at++;
    }
    return at;
}

/* First special byte in [at, end), or end; eight bytes at a time in plain C. */
static inline const char *ps_json_find_special_portable(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        uint64_t quote = word ^ (ones * '"');
        uint64_t slash = word ^ (ones * '\\');
        /* x - n borrows into the top bit where x < n, if x itself has it clear. Borrows can mark a
         * byte above a true hit too, so a hit only says that one of the eight is special. */
        uint64_t hit = (quote - ones) | (slash - ones) | (word - ones * 0x20) | word;
        if ((hit & tops) != 0) {
            const char *found = ps_json_find_special_bytewise(at, at + 8);
            if (found < at + 8) {
                return found;
            }
        }
        at += 8;
    }
    return ps_json_find_special_bytewise(at, end);
}

/* The same, sixteen at a time where the machine can. */
static inline const char *ps_json_find_special(const char *at, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(' ');
    while (end - at >= 16) {
        __m128i chunk = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* Compared as signed bytes, what is below a space is control or not ASCII. */
        __m128i hit =
            _mm_or_si128(_mm_cmplt_epi8(chunk, space),
                         _mm_or_si128(_mm_cmpeq_epi8(chunk, quote), _mm_cmpeq_epi8(chunk, slash)));
        unsigned int mask = (unsigned int)_mm_movemask_epi8(hit);
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
        at += 16;
    }
#endif
    return ps_json_find_special_portable(at, end);
}

/*
 * Behind the characters beyond ASCII that begin at `at`, as far as they are valid and have four
 * bytes of text before `end`; the rest is for the slow way.
 */
static inline const char *ps_json_skip_utf8(const char *at, const char *end)
{
    while (end - at >= 4) {
        unsigned char lead = (unsigned char)at[0];
        unsigned char second = (unsigned char)at[1];
        if (lead < 0xc2 || lead > 0xf4 || (second & 0xc0) != 0x80) {
            return at;
        }
        if (lead < 0xe0) {
            at += 2;
            continue;
        }
        if (((unsigned char)at[2] & 0xc0) != 0x80 || (lead == 0xe0 && second < 0xa0) ||
            (lead == 0xed && second > 0x9f)) {
            return at;
        }
        if (lead < 0xf0) {
            at += 3;
            continue;
        }
        if (((unsigned char)at[3] & 0xc0) != 0x80 || (lead == 0xf0 && second < 0x90) ||
            (lead == 0xf4 && second > 0x8f)) {
            return at;
        }
        at += 4;
    }
    return at;
}

/* Writes one character; returns its length. */
static inline size_t ps_json_utf8(uint32_t code, char ret[4])
{
    if (code < 0x80) {
        ret[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        ret[0] = (char)(0xc0 | code >> 6);
        ret[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        ret[0] = (char)(0xe0 | code >> 12);
        ret[1] = (char)(0x80 | (code >> 6 & 0x3f));
        ret[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    ret[0] = (char)(0xf0 | code >> 18);
    ret[1] = (char)(0x80 | (code >> 12 & 0x3f));
    ret[2] = (char)(0x80 | (code >> 6 & 0x3f));
    ret[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* What a backslash and this byte stand for; 0: it is no simple escape. */
static inline char ps_json_escape(char byte)
{
    switch (byte) {
    case '"':
    case '\\':
    case '/':
        return byte;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

/* The value of a hexadecimal digit, or -1. */
static inline int ps_json_hex(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

#endif
