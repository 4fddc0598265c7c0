/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_io.h"

#include "penstock/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

/*
 * Happy path: a thread of the readers opens the blob and reads a piece into one of two buffers,
 * posts, and reads the second while the loop hands out the first; then it waits until one is free
 * again. After the last piece the file is closed, and the loop tells on_end and frees.
 *
 * A blob that is not there, or shorter than its row says, ends it with an errno after the pieces
 * that could be read. While paused nothing is told, and at most the two buffers are filled.
 *
 * Cancelled: the loop lets go of it at once, the mailbox may close. A thread closes the file;
 * whoever of thread and mailbox holds the download last frees it.
 */

enum {
    PIECE = 256 << 10,
    BUFFERS = 2,
};

struct buffer {
    char *bytes; /* owned; NULL until first needed */
    size_t len;  /* 0: free */
};

struct ps_download {
    struct ps_message message; /* in the mailbox while `posted` */
    struct ps_blob_task task;  /* waits or runs while `scheduled` */
    struct ps_blobs *blobs;    /* borrowed */
    struct ps_blob_threads *threads;
    struct ps_mailbox *mailbox; /* borrowed until the end or the cancel */
    struct ps_budget *budget;   /* the same */
    size_t charged;             /* of the budget */
    const struct ps_download_ops *ops;
    void *arg;
    bool paused;   /* loop */
    bool ending;   /* loop: on_end runs */
    unsigned next; /* loop: the buffer that is handed out next */

    pthread_mutex_t lock;
    struct buffer buffers[BUFFERS]; /* `len` under lock; bytes: the loop's when filled, else the
                                       thread's */
    bool cancelled;                 /* under lock; set by the loop */
    bool over;                      /* under lock: all is read, or `error` */
    bool scheduled;                 /* under lock */
    bool posted;                    /* under lock */

    /* The thread's until `over`, or until it finds the download cancelled. */
    struct ps_blob_name name;
    int fd; /* owned; -1: not open */
    int error;
    unsigned fill; /* the buffer that is filled next */
    uint64_t offset;
    uint64_t left;
};

static void destroy(struct ps_download *download)
{
    for (unsigned i = 0; i < BUFFERS; i++) {
        ps_free(download->buffers[i].bytes);
    }
    (void)pthread_mutex_destroy(&download->lock);
    ps_free(download);
}

static void close_file(struct ps_download *download)
{
    if (download->fd >= 0) {
        (void)close(download->fd);
        download->fd = -1;
    }
}

/* ---- on a thread ---- */

static void read_piece(struct ps_download *download, struct buffer *buffer, size_t *ret_len)
{
    size_t len = download->left < PIECE ? (size_t)download->left : PIECE;

    if (download->fd < 0) {
        uint64_t length;
        download->fd = ps_blob_open(download->blobs, &download->name, &length);
        if (download->fd < 0) {
            download->error = errno;
            return;
        }
    }
    if (len > 0 && ps_blob_pread(download->fd, download->offset, buffer->bytes, len) != 0) {
        download->error = errno;
        return;
    }
    download->offset += len;
    download->left -= len;
    *ret_len = len;
}

/* Nobody asks for it any more. */
static void discard(struct ps_download *download)
{
    close_file(download);
    (void)pthread_mutex_lock(&download->lock);
    download->scheduled = false;
    bool mine = !download->posted;
    (void)pthread_mutex_unlock(&download->lock);
    if (mine) {
        destroy(download);
    }
}

/* Under the lock. */
static void post(struct ps_download *download)
{
    if (!download->posted) {
        download->posted = true;
        bool open = ps_mailbox_post(download->mailbox, &download->message);
        assert(open); /* see the header: until the end or the cancel */
        (void)open;
    }
}

/* Under the lock. A turn reads one piece; then others have theirs. */
static void schedule(struct ps_download *download)
{
    if (!download->scheduled && !download->over && download->buffers[download->fill].len == 0) {
        download->scheduled = true;
        ps_blob_threads_submit(download->threads, &download->task);
    }
}

static void run_download(struct ps_blob_task *task)
{
    struct ps_download *download = PS_CONTAINER_OF(task, struct ps_download, task);
    struct buffer *buffer = &download->buffers[download->fill];
    size_t len = 0;

    (void)pthread_mutex_lock(&download->lock);
    bool cancelled = download->cancelled;
    (void)pthread_mutex_unlock(&download->lock);
    if (!cancelled) {
        read_piece(download, buffer, &len);
        if (download->error != 0 || download->left == 0) {
            close_file(download);
        }
    }
    (void)pthread_mutex_lock(&download->lock);
    cancelled = download->cancelled;
    if (!cancelled) {
        buffer->len = len;
        download->over = download->error != 0 || download->left == 0;
        download->fill = (download->fill + (len > 0)) % BUFFERS;
        download->scheduled = false;
        schedule(download);
        post(download);
    }
    (void)pthread_mutex_unlock(&download->lock);
    if (cancelled) {
        discard(download);
    }
}

/* ---- on the loop ---- */

/* Hands out the next piece. False: there is none, or it was paused or cancelled. */
static bool hand_out(struct ps_download *download)
{
    struct buffer *buffer = &download->buffers[download->next];

    (void)pthread_mutex_lock(&download->lock);
    size_t len = download->paused || download->cancelled ? 0 : buffer->len;
    (void)pthread_mutex_unlock(&download->lock);
    if (len == 0) {
        return false;
    }
    download->next = (download->next + 1) % BUFFERS;
    download->ops->on_data(download->arg, buffer->bytes, len);

    (void)pthread_mutex_lock(&download->lock);
    buffer->len = 0;
    if (!download->cancelled) {
        schedule(download);
    }
    (void)pthread_mutex_unlock(&download->lock);
    return true;
}

static void deliver(struct ps_message *message)
{
    struct ps_download *download = PS_CONTAINER_OF(message, struct ps_download, message);
    unsigned pieces = 0;

    /* It stays `posted` meanwhile: a cancel inside on_data leaves the memory to us. */
    while (pieces < BUFFERS && hand_out(download)) {
        pieces++;
    }
    (void)pthread_mutex_lock(&download->lock);
    download->posted = false;
    bool cancelled = download->cancelled;
    bool abandoned = cancelled && !download->scheduled;
    bool filled = download->buffers[download->next].len > 0;
    bool ends = !cancelled && download->over && !filled && !download->paused;
    if (!cancelled && filled && !download->paused) {
        post(download); /* filled while the others were handed out: in the next turn */
    }
    (void)pthread_mutex_unlock(&download->lock);

    if (abandoned) {
        destroy(download);
    } else if (ends) {
        download->ending = true;
        ps_budget_release(download->budget, download->charged);
        download->ops->on_end(download->arg, download->error);
        destroy(download);
    }
}

static bool get_buffers(struct ps_download *download)
{
    uint64_t left = download->left;

    for (unsigned i = 0; i < BUFFERS && left > 0; i++) {
        size_t size = left < PIECE ? (size_t)left : PIECE;
        left -= size;
        if (!ps_budget_reserve(download->budget, size)) {
            return false;
        }
        download->charged += size;
        download->buffers[i].bytes = ps_malloc(size);
        if (download->buffers[i].bytes == NULL) {
            return false;
        }
    }
    return true;
}

struct ps_download *ps_download_new(struct ps_blobs *blobs, struct ps_mailbox *mailbox,
                                    const struct ps_blob_name *name, uint64_t offset,
                                    uint64_t length, const struct ps_download_ops *ops, void *arg)
{
    struct ps_blob_threads *threads = ps_blobs_readers(blobs);
    struct ps_download *download = threads != NULL ? ps_calloc(1, sizeof(*download)) : NULL;
    if (download == NULL) {
        return NULL;
    }
    download->message.deliver = deliver;
    download->task.run = run_download;
    download->blobs = blobs;
    download->threads = threads;
    download->mailbox = mailbox;
    download->budget = mailbox->loop->pool.budget;
    download->ops = ops;
    download->arg = arg;
    download->name = *name;
    download->fd = -1;
    download->offset = offset;
    download->left = length;
    (void)pthread_mutex_init(&download->lock, NULL); /* does not fail with default attributes */
    if (!get_buffers(download)) {
        ps_budget_release(download->budget, download->charged);
        destroy(download);
        return NULL;
    }
    (void)pthread_mutex_lock(&download->lock);
    schedule(download);
    (void)pthread_mutex_unlock(&download->lock);
    return download;
}

void ps_download_pause(struct ps_download *download)
{
    download->paused = true;
}

void ps_download_resume(struct ps_download *download)
{
    if (!download->paused || download->ending) {
        return;
    }
    download->paused = false;
    (void)pthread_mutex_lock(&download->lock);
    if (!download->cancelled && (download->over || download->buffers[download->next].len > 0)) {
        post(download); /* told in the next turn, not from here */
    }
    (void)pthread_mutex_unlock(&download->lock);
}

void ps_download_cancel(struct ps_download *download)
{
    if (download->ending) {
        return;
    }
    (void)pthread_mutex_lock(&download->lock);
    if (!download->cancelled) {
        download->cancelled = true;
        ps_budget_release(download->budget, download->charged);
        if (!download->scheduled) {
            download->scheduled = true;
            ps_blob_threads_submit(download->threads, &download->task);
        }
    }
    (void)pthread_mutex_unlock(&download->lock);
}
