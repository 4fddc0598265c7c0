/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_SHA256_H
#define PENSTOCK_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

/*
 * SHA-256 (FIPS 180-4) for the rooms that may not use OpenSSL: hashes of keys in the configuration,
 * check sums of stored files. In pieces; nothing is allocated. Any thread.
 */
#define PS_SHA256_SIZE 32

struct ps_sha256 {
    uint32_t state[8];
    uint64_t len;      /* bytes so far */
    uint8_t block[64]; /* the first len % 64 bytes wait */
};

void ps_sha256_init(struct ps_sha256 *hash);
void ps_sha256_update(struct ps_sha256 *hash, const void *ptr, size_t len);
/* The hash is wiped: it may have seen a secret. */
void ps_sha256_final(struct ps_sha256 *hash, uint8_t ret[PS_SHA256_SIZE]);
/* All at once. */
void ps_sha256(const void *ptr, size_t len, uint8_t ret[PS_SHA256_SIZE]);

#endif
