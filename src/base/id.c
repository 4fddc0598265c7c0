/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/id.h"

#include "penstock/base/clock.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RESERVE      512
#define TIME_CHARS   10 /* 48 bits in 50 */
#define RANDOM_BYTES 10 /* 80 bits in 16 characters */
#define PREFIX_MAX   12

_Static_assert(PREFIX_MAX + TIME_CHARS + RANDOM_BYTES * 8 / 5 < PS_ID_MAX, "an id fits");

/* Crockford's alphabet: no i, l, o, u. */
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static _Thread_local unsigned char reserve[RESERVE];
static _Thread_local size_t reserve_left;

static void draw(unsigned char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t got = getrandom(bytes, len, 0);

        if (got > 0) {
            bytes += got;
            len -= (size_t)got;
        } else if (got < 0 && errno != EINTR) {
            abort(); /* no kernel randomness: ids and tokens that can be guessed are worse than none
                      */
        }
    }
}

void ps_random_bytes(void *bytes, unsigned len)
{
    unsigned char *from;

    if (len > RESERVE / 4) {
        draw(bytes, len);
        return;
    }
    if (len > reserve_left) {
        draw(reserve, RESERVE);
        reserve_left = RESERVE;
    }
    reserve_left -= len;
    from = reserve + reserve_left;
    memcpy(bytes, from, len);
    memset(from, 0, len); /* what was handed out is not kept */
}

/* Five bytes are eight characters. */
static void encode_five(const unsigned char *bytes, char *ret_text)
{
    uint64_t bits = 0;

    for (int i = 0; i < 5; i++) {
        bits = bits << 8 | bytes[i];
    }
    for (int i = 7; i >= 0; i--) {
        ret_text[i] = alphabet[bits & 31];
        bits >>= 5;
    }
}

void ps_id_make(struct ps_id *id, const char *prefix)
{
    uint64_t ms = (uint64_t)ps_clock_wall_ms();
    unsigned char bytes[RANDOM_BYTES];
    size_t len = strnlen(prefix, PREFIX_MAX);
    char *at = id->text + len;

    memcpy(id->text, prefix, len);
    for (int i = TIME_CHARS - 1; i >= 0; i--) {
        at[i] = alphabet[ms & 31];
        ms >>= 5;
    }
    at += TIME_CHARS;
    ps_random_bytes(bytes, sizeof(bytes));
    encode_five(bytes, at);
    encode_five(bytes + 5, at + 8);
    at[16] = '\0';
}

bool ps_id_read(struct ps_id *ret, const char *prefix, struct ps_slice text)
{
    size_t len = strlen(prefix);

    if (text.len != len + TIME_CHARS + RANDOM_BYTES * 8 / 5 || text.len >= PS_ID_MAX ||
        memcmp(text.ptr, prefix, len) != 0) {
        return false;
    }
    for (size_t i = len; i < text.len; i++) {
        if (text.ptr[i] == '\0' || strchr(alphabet, text.ptr[i]) == NULL) {
            return false;
        }
    }
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->text, text.ptr, text.len);
    return true;
}

bool ps_id_is_sane(struct ps_slice text)
{
    if (text.len < 1 || text.len > 128) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != ':' && c != '-') {
            return false;
        }
    }
    return true;
}
