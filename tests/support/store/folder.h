/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_STORE_FOLDER_H
#define PENSTOCK_TESTS_STORE_FOLDER_H

#include "penstock/store/blob.h"

#include <stddef.h>

/* A folder of the test's own, and blobs in it. */
struct folder {
    char path[64];  /* exists */
    char blobs[80]; /* <path>/data/blobs: does not exist yet */
};

void folder_make(struct folder *folder);
void folder_remove(struct folder *folder);
/* Blobs that lie in the buckets; unfinished ones in tmp. */
unsigned folder_blobs(const struct folder *folder);
unsigned folder_unfinished(const struct folder *folder);
/* The file of a blob. */
void folder_path(const struct folder *folder, const struct ps_blob_name *name, char *ret,
                 size_t size);

/* No reserve of disk space. */
struct ps_blobs *folder_open(const struct folder *folder);

#endif
