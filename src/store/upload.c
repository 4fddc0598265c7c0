/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_io.h"

#include "penstock/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

/*
 * Happy path: the loop copies bytes into pieces and puts the upload into the writers' queue; a
 * thread writes at most half a MiB of them and queues up again behind other uploads, until all is
 * written; after ps_upload_finish it commits, posts, and the loop tells on_end and frees.
 *
 * A disk error ends it at once: the file goes, what waits is dropped, on_end has the errno. Memory
 * that is short on the loop's side is the caller's to end, by ps_upload_cancel.
 *
 * Cancelled: the loop lets go of it at once, the mailbox may close. A thread removes the file;
 * whoever of thread and mailbox holds the upload last frees it.
 */

enum {
    PIECE = 64 << 10,
    FULL = 1 << 20,
    TURN = 512 << 10, /* written before others have their turn */
};

struct piece {
    struct ps_link link;
    size_t len;
    char bytes[PIECE];
};

struct ps_upload {
    struct ps_message message; /* in the mailbox while `posted` */
    struct ps_blob_task task;  /* waits or runs while `scheduled` */
    struct ps_blobs *blobs;    /* borrowed */
    struct ps_blob_threads *threads;
    struct ps_mailbox *mailbox; /* borrowed until the end or the cancel */
    struct ps_budget *budget;   /* the same */
    const struct ps_upload_ops *ops;
    void *arg;
    bool ending; /* loop: on_end runs */

    pthread_mutex_t lock;
    struct ps_link pieces; /* under lock; owned */
    size_t waiting;        /* under lock: bytes in pieces and in the thread's hand */
    size_t charged;        /* under lock: what their memory takes of the budget */
    bool full;             /* written by the loop, under lock: on_room is owed */
    bool finish;           /* under lock */
    bool cancelled;        /* under lock */
    bool over;             /* under lock: committed or failed, and nobody was told yet */
    bool scheduled;        /* under lock */
    bool posted;           /* under lock */

    /* The thread's until `over`, or until it finds the upload cancelled. */
    struct ps_blob_file *file; /* owned */
    int error;
    struct ps_blob_name name;
    uint64_t length;
    unsigned char sha256[32];
};

/* Under the lock. When it was cancelled nothing is charged any more: the budget may be gone. */
static void give_back(struct ps_upload *upload, struct piece *piece)
{
    if (!upload->cancelled) {
        ps_budget_release(upload->budget, sizeof(*piece));
        upload->charged -= sizeof(*piece);
        upload->waiting -= piece->len;
    }
    ps_free(piece);
}

static void drop_pieces(struct ps_upload *upload)
{
    struct ps_link *link;
    while ((link = ps_list_pop(&upload->pieces)) != NULL) {
        give_back(upload, PS_CONTAINER_OF(link, struct piece, link));
    }
}

static void destroy(struct ps_upload *upload)
{
    (void)pthread_mutex_destroy(&upload->lock);
    ps_free(upload);
}

/* ---- on a thread ---- */

/* Moves at most a turn's bytes to `batch`; true: they are the last, and a commit follows. */
static bool take_batch(struct ps_upload *upload, struct ps_link *batch)
{
    size_t taken = 0;

    (void)pthread_mutex_lock(&upload->lock);
    while (taken < TURN && !ps_list_empty(&upload->pieces)) {
        struct ps_link *link = ps_list_pop(&upload->pieces);
        taken += PS_CONTAINER_OF(link, struct piece, link)->len;
        ps_list_push_back(batch, link);
    }
    bool last = upload->finish && ps_list_empty(&upload->pieces) && !upload->cancelled;
    (void)pthread_mutex_unlock(&upload->lock);
    return last;
}

static void write_batch(struct ps_upload *upload, struct ps_link *batch)
{
    if (upload->file == NULL) {
        upload->file = ps_blob_create(upload->blobs);
        if (upload->file == NULL) {
            upload->error = errno;
            return;
        }
    }
    for (struct ps_link *link = batch->next; link != batch; link = link->next) {
        const struct piece *piece = PS_CONTAINER_OF(link, struct piece, link);
        if (ps_blob_append(upload->file, piece->bytes, piece->len) != 0) {
            upload->error = errno;
            return;
        }
    }
}

static void commit(struct ps_upload *upload)
{
    struct ps_blob_file *file = upload->file;

    upload->file = NULL;
    upload->length = ps_blob_length(file);
    if (ps_blob_commit(file, &upload->name, upload->sha256) != 0) {
        upload->error = errno;
    }
}

/* Nobody asks for it any more: not a trace is left. */
static void discard(struct ps_upload *upload)
{
    ps_blob_abort(upload->file);
    upload->file = NULL;
    ps_blob_remove(upload->blobs, &upload->name); /* "" until it is committed */

    (void)pthread_mutex_lock(&upload->lock);
    upload->scheduled = false;
    bool mine = !upload->posted;
    (void)pthread_mutex_unlock(&upload->lock);
    if (mine) {
        destroy(upload);
    }
}

static void post(struct ps_upload *upload)
{
    if (!upload->posted) {
        upload->posted = true;
        bool open = ps_mailbox_post(upload->mailbox, &upload->message);
        assert(open); /* see the header: until the end or the cancel */
        (void)open;
    }
}

/* Under the lock. Whether the loop waits to hear of it. */
static bool has_room(const struct ps_upload *upload)
{
    return upload->full && !upload->finish && upload->waiting <= FULL / 2;
}

/* After a turn: what was written is given back; the loop is told, or another turn is asked for.
 * False: it was cancelled. */
static bool settle(struct ps_upload *upload, struct ps_link *batch, bool last)
{
    struct ps_link *link;

    (void)pthread_mutex_lock(&upload->lock);
    while ((link = ps_list_pop(batch)) != NULL) {
        give_back(upload, PS_CONTAINER_OF(link, struct piece, link));
    }
    bool cancelled = upload->cancelled;
    if (!cancelled) {
        upload->over = last || upload->error != 0;
        if (upload->over) {
            drop_pieces(upload);
        }
        if (upload->over || has_room(upload)) {
            post(upload);
        }
        upload->scheduled = !upload->over && (upload->finish || upload->waiting >= PIECE);
        if (upload->scheduled) {
            ps_blob_threads_submit(upload->threads, &upload->task);
        }
    }
    (void)pthread_mutex_unlock(&upload->lock);
    return !cancelled;
}

static void run_upload(struct ps_blob_task *task)
{
    struct ps_upload *upload = PS_CONTAINER_OF(task, struct ps_upload, task);
    struct ps_link batch;

    ps_list_init(&batch);
    bool last = take_batch(upload, &batch);
    if (last || !ps_list_empty(&batch)) {
        write_batch(upload, &batch);
        if (upload->error != 0) {
            ps_blob_abort(upload->file);
            upload->file = NULL;
        } else if (last) {
            commit(upload);
        }
    }
    if (!settle(upload, &batch, last)) {
        discard(upload);
    }
}

/* ---- on the loop ---- */

static void deliver(struct ps_message *message)
{
    struct ps_upload *upload = PS_CONTAINER_OF(message, struct ps_upload, message);

    (void)pthread_mutex_lock(&upload->lock);
    upload->posted = false;
    bool cancelled = upload->cancelled;
    bool abandoned = cancelled && !upload->scheduled;
    bool over = upload->over;
    bool room = has_room(upload);
    if (room) {
        upload->full = false;
    }
    (void)pthread_mutex_unlock(&upload->lock);

    if (abandoned) {
        destroy(upload);
    } else if (!cancelled && over) {
        upload->ending = true;
        upload->ops->on_end(upload->arg, upload->error, &upload->name, upload->length,
                            upload->sha256);
        destroy(upload);
    } else if (!cancelled && room) {
        upload->ops->on_room(upload->arg);
    }
}

struct ps_upload *ps_upload_new(struct ps_blobs *blobs, struct ps_mailbox *mailbox,
                                const struct ps_upload_ops *ops, void *arg)
{
    struct ps_blob_threads *threads = ps_blobs_writers(blobs);
    struct ps_upload *upload = threads != NULL ? ps_calloc(1, sizeof(*upload)) : NULL;
    if (upload == NULL) {
        return NULL;
    }
    upload->message.deliver = deliver;
    upload->task.run = run_upload;
    upload->blobs = blobs;
    upload->threads = threads;
    upload->mailbox = mailbox;
    upload->budget = mailbox->loop->pool.budget;
    upload->ops = ops;
    upload->arg = arg;
    ps_list_init(&upload->pieces);
    (void)pthread_mutex_init(&upload->lock, NULL); /* does not fail with default attributes */
    return upload;
}

static void schedule(struct ps_upload *upload)
{
    if (!upload->scheduled) {
        upload->scheduled = true;
        ps_blob_threads_submit(upload->threads, &upload->task);
    }
}

/* The last piece when it has room, else a new one; NULL when memory is short. */
static struct piece *open_piece(struct ps_upload *upload)
{
    if (!ps_list_empty(&upload->pieces)) {
        struct piece *tail = PS_CONTAINER_OF(upload->pieces.prev, struct piece, link);
        if (tail->len < PIECE) {
            return tail;
        }
    }
    if (!ps_budget_reserve(upload->budget, sizeof(struct piece))) {
        return NULL;
    }
    struct piece *piece = ps_malloc(sizeof(*piece));
    if (piece == NULL) {
        ps_budget_release(upload->budget, sizeof(*piece));
        return NULL;
    }
    piece->len = 0;
    upload->charged += sizeof(*piece);
    ps_list_push_back(&upload->pieces, &piece->link);
    return piece;
}

int ps_upload_write(struct ps_upload *upload, const void *ptr, size_t len)
{
    const char *bytes = ptr;
    int rc = 0;

    (void)pthread_mutex_lock(&upload->lock);
    assert(!upload->finish && !upload->cancelled);
    while (len > 0 && !upload->over) { /* over: it failed, which is told soon */
        struct piece *piece = open_piece(upload);
        if (piece == NULL) {
            rc = -1;
            break;
        }
        size_t part = PIECE - piece->len < len ? PIECE - piece->len : len;
        memcpy(piece->bytes + piece->len, bytes, part);
        piece->len += part;
        upload->waiting += part;
        bytes += part;
        len -= part;
    }
    upload->full = upload->full || upload->waiting >= FULL;
    if (upload->waiting >= PIECE && !upload->over) {
        schedule(upload);
    }
    (void)pthread_mutex_unlock(&upload->lock);
    return rc;
}

bool ps_upload_full(const struct ps_upload *upload)
{
    return upload->full;
}

void ps_upload_finish(struct ps_upload *upload)
{
    (void)pthread_mutex_lock(&upload->lock);
    upload->finish = true;
    if (!upload->over) {
        schedule(upload);
    }
    (void)pthread_mutex_unlock(&upload->lock);
}

void ps_upload_cancel(struct ps_upload *upload)
{
    if (upload->ending) {
        return;
    }
    (void)pthread_mutex_lock(&upload->lock);
    drop_pieces(upload);
    ps_budget_release(upload->budget, upload->charged); /* of those a thread is writing */
    upload->cancelled = true;
    schedule(upload);
    (void)pthread_mutex_unlock(&upload->lock);
}
