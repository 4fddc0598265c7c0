/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_ID_H
#define PENSTOCK_BASE_ID_H

#include "penstock/base/slice.h"

#include <stdbool.h>

/*
 * Ids: prefix + 26 characters of Crockford base32 in lower case: 48 bits of ms since the epoch,
 * then 80 random bits, so that ids sort by time and cannot be guessed.
 */
#define PS_ID_MAX 40

struct ps_id {
    char text[PS_ID_MAX]; /* NUL-terminated */
};

/* `prefix` such as "req_", at most 12 bytes. Random bytes from the kernel, drawn in bulk per
 * thread. */
void ps_id_make(struct ps_id *id, const char *prefix);
/* Whether `text` is an id of ours with this prefix; then it is in *ret. A look at its shape saves the
 * store a question. */
bool ps_id_read(struct ps_id *ret, const char *prefix, struct ps_slice text);
/* Cryptographically random bytes, from the same per-thread reserve. */
void ps_random_bytes(void *bytes, unsigned len);
/* A client's x-request-id that is safe to echo and log: 1-128 of [A-Za-z0-9._:-]. */
bool ps_id_is_sane(struct ps_slice text);

#endif
