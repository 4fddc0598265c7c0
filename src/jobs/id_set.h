/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_ID_SET_H
#define PENSTOCK_JOBS_ID_SET_H

#include "penstock/base/slice.h"

#include <stddef.h>

#define PS_ID_SET_HASH 16

/*
 * Which texts have come: 128 bits of SHA-256 of each, so that nobody can make two that are taken
 * for one. Zeroed: empty. One thread.
 */
struct ps_id_set {
    unsigned char (*places)[PS_ID_SET_HASH]; /* owned; all zero: empty */
    size_t size;                             /* a power of two */
    size_t count;
};

/* 1: new; 0: it was there; -1: memory is short. */
int ps_id_set_add(struct ps_id_set *set, struct ps_slice text) __attribute__((warn_unused_result));
void ps_id_set_deinit(struct ps_id_set *set);

#endif
