/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_BLOB_PRIV_H
#define PENSTOCK_STORE_BLOB_PRIV_H

#include "penstock/store/blob.h"

#include <stdbool.h>
#include <stdint.h>

/* The store's side of the blobs: it makes them, ends them, and says which ones no row names. */

struct ps_blobs_options {
    const char *folder;       /* "<data_dir>/blobs"; made (0700) when first needed, as its parents */
    uint64_t reserve_bytes;   /* below so much free disk ps_blob_append fails with ENOSPC */
    unsigned reserve_percent; /* or below this part of the disk; above 100: off */
};
/* Touches no disk. NULL when memory or threads are short. */
struct ps_blobs *ps_blobs_new(const struct ps_blobs_options *options)
    __attribute__((warn_unused_result));
/* Waits for what its threads still do. Uploads and downloads must be over. NULL is allowed. */
void ps_blobs_free(struct ps_blobs *blobs);

/*
 * For the sweep, a slice at a time: calls `each` for every blob of a bucket that is older than
 * before_ms (wall clock), and removes unfinished ones of that age itself. `each` may remove the
 * blob it is called with. 0, or -1 with errno; a folder that is not there yet is empty.
 */
#define PS_BLOB_BUCKETS 256
int ps_blobs_walk(struct ps_blobs *blobs, unsigned bucket, int64_t before_ms,
                  void (*each)(void *arg, const struct ps_blob_name *name), void *arg)
    __attribute__((warn_unused_result));

#endif
