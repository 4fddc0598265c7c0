/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_BLOB_IO_H
#define PENSTOCK_STORE_BLOB_IO_H

#include "blob_priv.h"

#include "penstock/base/list.h"

/*
 * The blobs' own threads. Not ps_pool, whose works are always told by mailbox: of an upload that
 * was cancelled nobody wants to hear, and its loop may be gone by the time its file is removed.
 */
struct ps_blob_task {
    struct ps_link link;
    void (*run)(struct ps_blob_task *task); /* on a thread; may submit the task again, or free it */
};

struct ps_blob_threads;

/* NULL when no thread can be had. */
struct ps_blob_threads *ps_blob_threads_new(unsigned count) __attribute__((warn_unused_result));
/* Any thread; the task is in no queue. First come, first served. */
void ps_blob_threads_submit(struct ps_blob_threads *threads, struct ps_blob_task *task);
/* Runs what waits, and what that submits. NULL is allowed. */
void ps_blob_threads_free(struct ps_blob_threads *threads);

/* Started when first asked for; NULL when no thread can be had. Readers never wait for a disk that
 * is busy syncing what writers wrote, so they have threads of their own. */
struct ps_blob_threads *ps_blobs_writers(struct ps_blobs *blobs);
struct ps_blob_threads *ps_blobs_readers(struct ps_blobs *blobs);

/* A whole part, or -1 with errno: EIO when the file ends before it does. */
int ps_blob_pread(int fd, uint64_t offset, void *ret, size_t len)
    __attribute__((warn_unused_result));

#endif
