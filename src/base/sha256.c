/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/sha256.h"

#include <string.h>

/* FIPS 180-4, sections 4.2.2, 5.1.1, 5.3.3 and 6.2. */

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

/*
 * One round writes two of the eight variables; instead of moving the rest along, the next round
 * calls them by other names, and after eight rounds the names are back.
 */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                           \
    do {                                                                                           \
        uint32_t t1 = (h) + (rotate((e), 6) ^ rotate((e), 11) ^ rotate((e), 25)) +                 \
                      ((g) ^ ((e) & ((f) ^ (g)))) + constants[i] + w[i];                           \
        (d) += t1;                                                                                 \
        (h) = t1 + (rotate((a), 2) ^ rotate((a), 13) ^ rotate((a), 22)) +                          \
              (((a) & (b)) | ((c) & ((a) | (b))));                                                 \
    } while (0)

static void rounds(uint32_t state[8], const uint32_t w[64])
{
    uint32_t a = state[0];
    uint32_t b = state[1];
    uint32_t c = state[2];
    uint32_t d = state[3];
    uint32_t e = state[4];
    uint32_t f = state[5];
    uint32_t g = state[6];
    uint32_t h = state[7];

    for (size_t i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

/* `w` is the caller's, so that it is wiped once and not for every block. */
static void compress(uint32_t state[8], const uint8_t block[64], uint32_t w[64])
{
    for (size_t i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | (uint32_t)block[4 * i + 3];
    }
    for (size_t i = 16; i < 64; i++) {
        uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    rounds(state, w);
}

void ps_sha256_init(struct ps_sha256 *hash)
{
    static const uint32_t begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    hash->len = 0;
    memcpy(hash->state, begin, sizeof begin);
}

void ps_sha256_update(struct ps_sha256 *hash, const void *ptr, size_t len)
{
    const uint8_t *bytes = ptr;
    size_t have = (size_t)(hash->len % sizeof hash->block);
    uint32_t w[64];

    if (len == 0) {
        return;
    }
    hash->len += len;
    if (have > 0) {
        size_t take = sizeof hash->block - have < len ? sizeof hash->block - have : len;
        memcpy(hash->block + have, bytes, take);
        bytes += take;
        len -= take;
        if (have + take < sizeof hash->block) {
            return;
        }
        compress(hash->state, hash->block, w);
    }
    for (; len >= sizeof hash->block; bytes += sizeof hash->block, len -= sizeof hash->block) {
        compress(hash->state, bytes, w);
    }
    if (len > 0) {
        memcpy(hash->block, bytes, len);
    }
    explicit_bzero(w, sizeof w);
}

void ps_sha256_final(struct ps_sha256 *hash, uint8_t ret[PS_SHA256_SIZE])
{
    uint64_t bits = hash->len * 8;
    size_t have = (size_t)(hash->len % sizeof hash->block);
    uint32_t w[64];

    hash->block[have++] = 0x80;
    memset(hash->block + have, 0, sizeof hash->block - have);
    if (have > 56) {
        compress(hash->state, hash->block, w);
        memset(hash->block, 0, sizeof hash->block);
    }
    for (size_t i = 0; i < 8; i++) {
        hash->block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    compress(hash->state, hash->block, w);
    for (size_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < 4; j++) {
            ret[4 * i + j] = (uint8_t)(hash->state[i] >> (24 - 8 * j));
        }
    }
    explicit_bzero(w, sizeof w);
    explicit_bzero(hash, sizeof *hash);
}

void ps_sha256(const void *ptr, size_t len, uint8_t ret[PS_SHA256_SIZE])
{
    struct ps_sha256 hash;
    ps_sha256_init(&hash);
    ps_sha256_update(&hash, ptr, len);
    ps_sha256_final(&hash, ret);
}
