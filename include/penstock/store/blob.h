/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_BLOB_H
#define PENSTOCK_STORE_BLOB_H

#include "penstock/base/slice.h"
#include "penstock/net/mailbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Big payloads: uploads, results above 64 KiB, output files. A folder of files now; the names are
 * opaque, so that an object store fits later. A blob is written once, whole, and read often: it
 * exists from its commit on (written, fdatasync, renamed into place, folder fsynced), never half.
 * A row that names it is written after that; a blob that no row names is swept after an hour.
 *
 * Disk I/O happens on the blobs' own few threads, never on a loop.
 */
struct ps_blobs;

struct ps_blob_name {
    char text[40]; /* NUL-terminated; "": none */
};

/* ---- on any thread that may block ---- */

struct ps_blob_file;
/* A new blob in the making. NULL with errno. */
struct ps_blob_file *ps_blob_create(struct ps_blobs *blobs) __attribute__((warn_unused_result));
/* 0, or -1 with errno (ENOSPC when the disk's reserve is reached): then only _abort is left. */
int ps_blob_append(struct ps_blob_file *file, const void *ptr, size_t len)
    __attribute__((warn_unused_result));
uint64_t ps_blob_length(const struct ps_blob_file *file);
/* On disk when it returns 0; the file is freed either way. `sha256` may be NULL. */
int ps_blob_commit(struct ps_blob_file *file, struct ps_blob_name *ret_name,
                   unsigned char *ret_sha256) __attribute__((warn_unused_result));
void ps_blob_abort(struct ps_blob_file *file); /* NULL is allowed */
/* A descriptor for reading, or -1 with errno. The caller closes it; it stays readable when the blob
 * is removed meanwhile. */
int ps_blob_open(struct ps_blobs *blobs, const struct ps_blob_name *name, uint64_t *ret_length)
    __attribute__((warn_unused_result));
/* Whole reads of a part: 0, or -1 with errno (EIO when it is shorter than that). */
int ps_blob_read(struct ps_blobs *blobs, const struct ps_blob_name *name, uint64_t offset,
                 void *ret, size_t len) __attribute__((warn_unused_result));
void ps_blob_remove(struct ps_blobs *blobs, const struct ps_blob_name *name);

/* ---- from a loop ---- */

/*
 * Writing from a loop. Bytes are copied and written in order on a thread; `on_room` comes after
 * ps_upload_full was true and half has been written. ps_upload_finish commits; then on_end comes
 * once: error 0 with the blob's name, or an errno, as soon as one is known (nothing is left on disk
 * then); there is no on_room after a finish, and the upload is gone when on_end returns.
 * ps_upload_cancel is legal in every state until then: no callback comes after it, a blob that was
 * committed already but not told is removed. The mailbox stays open until on_end or the cancel; the
 * memory of what waits is drawn on the budget of its loop.
 */
struct ps_upload;
struct ps_upload_ops {
    void (*on_room)(void *arg);
    void (*on_end)(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                   const unsigned char *sha256);
};
struct ps_upload *ps_upload_new(struct ps_blobs *blobs, struct ps_mailbox *mailbox,
                                const struct ps_upload_ops *ops, void *arg)
    __attribute__((warn_unused_result));
/* -1: memory is short (the upload must be cancelled). */
int ps_upload_write(struct ps_upload *upload, const void *ptr, size_t len)
    __attribute__((warn_unused_result));
bool ps_upload_full(const struct ps_upload *upload); /* 1 MiB waits: write no more */
void ps_upload_finish(struct ps_upload *upload);
void ps_upload_cancel(struct ps_upload *upload);

/*
 * Reading from a loop: the part [offset, offset+length) in pieces of at most 256 KiB, at most two
 * of them ahead of the reader. on_end comes once, after the last piece: 0, or an errno (EIO: the
 * blob is shorter than that); the download is gone when it returns. No callback while paused, none
 * from within ps_download_resume. ps_download_cancel is legal in every state until on_end, also in
 * on_data; no callback comes after it. Mailbox and budget: as with uploads.
 */
struct ps_download;
struct ps_download_ops {
    void (*on_data)(void *arg, const char *ptr, size_t len);
    void (*on_end)(void *arg, int error);
};
struct ps_download *ps_download_new(struct ps_blobs *blobs, struct ps_mailbox *mailbox,
                                    const struct ps_blob_name *name, uint64_t offset,
                                    uint64_t length, const struct ps_download_ops *ops, void *arg)
    __attribute__((warn_unused_result));
void ps_download_pause(struct ps_download *download);
void ps_download_resume(struct ps_download *download);
void ps_download_cancel(struct ps_download *download);

#endif
