/* SPDX-License-Identifier: Apache-2.0 */
#include "log_priv.h"

#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Callers copy whole lines into a ring of bytes; the writer thread writes them out from there, as
 * many as lie together, and then moves the ring's start. The lock is held for the copy and for
 * moving the start, never while something is written.
 *
 * Sink full or stuck: the ring fills, then lines are dropped and counted. Sink broken (EPIPE,
 * ENOSPC, …): what was to be written is dropped and counted. Stuck at ps_log_stop: after a second
 * the thread is left to itself; it frees its writer if it ever comes back. The descriptor stays
 * blocking because stderr is shared with other processes; instead whatever is not a file is polled
 * first and gets at most PIPE_BUF bytes, which a pipe that polls writable takes without blocking,
 * and without mixing lines.
 *
 * Waking: a writer that has run dry waits LINGER_MS before it sleeps, so that under load it is
 * woken a few dozen times a second and not once a line.
 */
#define RING_BYTES ((size_t)4 << 20)
#define LINGER_MS  20
#define STOP_MS    1000
#define DIRECT_MS  100

struct writer {
    pthread_t thread;
    char *ring;   /* owned */
    char *file;   /* owned; NULL: stderr */
    size_t start; /* of the oldest byte */
    size_t len;   /* bytes in the ring */
    int fd;       /* owned by the thread, unless it is stderr */
    bool small;   /* fd is no file: poll, write little */
    bool broken;  /* thread only: the last write failed */
    bool asleep;  /* waits without a deadline: wants a signal */
    bool reopen;
    bool stopping;
    bool finished;       /* the thread is about to return */
    bool abandoned;      /* ps_log_stop has given up: the thread frees the writer */
    struct timespec end; /* valid when stopping */
    uint64_t reported;   /* of `dropped`, said in the log */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake; /* monotonic clock; initialised once */
static pthread_cond_t done;
static pthread_once_t conds_once = PTHREAD_ONCE_INIT;
static struct writer *current; /* guarded by lock */
static atomic_uint_fast64_t dropped;

static void init_conds(void)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&wake, &attr);
    (void)pthread_cond_init(&done, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static struct timespec in_ms(long ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

static bool is_past(const struct timespec *at)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > at->tv_sec || (now.tv_sec == at->tv_sec && now.tv_nsec >= at->tv_nsec);
}

uint64_t ps_log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

void ps_log_count_dropped(size_t lines)
{
    (void)atomic_fetch_add_explicit(&dropped, lines, memory_order_relaxed);
}

/* A pipe, socket or terminal can stop taking bytes; a file or /dev/null cannot. */
static bool can_stall(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd) == 1;
}

static void write_direct(const char *ptr, size_t len)
{
    struct pollfd poller = {.fd = STDERR_FILENO, .events = POLLOUT};

    while (len > 0) {
        ssize_t put;

        if (poll(&poller, 1, DIRECT_MS) <= 0) {
            break;
        }
        put = write(STDERR_FILENO, ptr, len < PIPE_BUF ? len : PIPE_BUF);
        if (put < 0 && errno != EINTR && errno != EAGAIN) {
            break;
        }
        if (put > 0) {
            ptr += put;
            len -= (size_t)put;
        }
    }
    if (len > 0) {
        ps_log_count_dropped(1);
    }
}

static void put_in_ring(struct writer *writer, const char *ptr, size_t len)
{
    size_t end = (writer->start + writer->len) % RING_BYTES;
    size_t part = len < RING_BYTES - end ? len : RING_BYTES - end;

    memcpy(writer->ring + end, ptr, part);
    memcpy(writer->ring, ptr + part, len - part);
    writer->len += len;
}

void ps_log_submit(const char *ptr, size_t len)
{
    struct writer *writer;
    bool signal = false;

    (void)pthread_mutex_lock(&lock);
    writer = current;
    if (writer != NULL) {
        if (len > RING_BYTES - writer->len) {
            ps_log_count_dropped(1);
        } else {
            signal = writer->asleep ||
                     (writer->len < RING_BYTES / 2 && writer->len + len >= RING_BYTES / 2);
            put_in_ring(writer, ptr, len);
            writer->asleep = false;
        }
    }
    (void)pthread_mutex_unlock(&lock);
    if (signal) {
        (void)pthread_cond_signal(&wake);
    }
    if (writer == NULL) {
        write_direct(ptr, len);
    }
}

static void free_writer(struct writer *writer)
{
    if (writer->file != NULL && writer->fd >= 0) {
        (void)close(writer->fd);
    }
    ps_free(writer->file);
    ps_free(writer->ring);
    ps_free(writer);
}

static int open_file(const char *file)
{
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

    return fd >= 0 ? fd : -errno;
}

/* Thread only, without the lock. The old file stays when the new one cannot be opened. */
static void reopen(struct writer *writer)
{
    int fd = open_file(writer->file);

    if (fd < 0) {
        ps_log(PS_LOG_ERROR, "cannot reopen the log file %s: %s", writer->file,
               strerrordesc_np(-fd));
        return;
    }
    (void)close(writer->fd);
    writer->fd = fd;
    writer->small = can_stall(fd);
}

static size_t count_lines(const char *ptr, size_t len)
{
    const char *end = ptr + len;
    size_t lines = 0;

    while ((ptr = memchr(ptr, '\n', (size_t)(end - ptr))) != NULL) {
        lines++;
        ptr++;
    }
    return lines;
}

/* As many whole lines as one write may have; of a line that is longer the beginning. */
static size_t portion(const struct writer *writer, const char *ptr, size_t len)
{
    const char *end;

    if (!writer->small || len <= PIPE_BUF) {
        return len;
    }
    end = memrchr(ptr, '\n', PIPE_BUF);
    return end != NULL ? (size_t)(end - ptr) + 1 : PIPE_BUF;
}

static bool must_give_up(struct writer *writer)
{
    bool past;

    (void)pthread_mutex_lock(&lock);
    past = writer->abandoned || (writer->stopping && is_past(&writer->end));
    (void)pthread_mutex_unlock(&lock);
    return past;
}

/* Waits until the sink takes bytes; false when there is no more time for it. */
static bool wait_for_sink(struct writer *writer)
{
    struct pollfd poller = {.fd = writer->fd, .events = POLLOUT};

    for (;;) {
        int ready = poll(&poller, 1, 100);

        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return true;
        }
        if (must_give_up(writer)) {
            return false;
        }
    }
}

/* Returns how many bytes are done with: written, or dropped because the sink is broken. 0: give up.
 */
static size_t write_some(struct writer *writer, const char *ptr, size_t len)
{
    size_t part = portion(writer, ptr, len);

    for (;;) {
        ssize_t put;

        if (writer->small && !wait_for_sink(writer)) {
            return 0;
        }
        put = write(writer->fd, ptr, part);
        if (put > 0) {
            writer->broken = false;
            return (size_t)put;
        }
        if (put < 0 && errno == EAGAIN) {
            writer->small = true; /* somebody made the shared descriptor non-blocking */
        } else if (put == 0 || errno != EINTR) {
            writer->broken = true;
            ps_log_count_dropped(count_lines(ptr, part));
            return part;
        }
    }
}

/* Into this writer's ring, which is no longer the one that callers use when it is stopping. */
static void submit_own(struct writer *writer, struct ps_log_line *line)
{
    if (ps_log_finish(line)) {
        (void)pthread_mutex_lock(&lock);
        if (line->buf.len <= RING_BYTES - writer->len) {
            put_in_ring(writer, line->buf.ptr, line->buf.len);
        }
        (void)pthread_mutex_unlock(&lock);
    }
    ps_buf_deinit(&line->buf);
}

/* A line about lost lines, once the sink takes lines again. Returns whether there were any. */
static bool report_dropped(struct writer *writer)
{
    uint64_t now = ps_log_dropped();
    uint64_t lost = now - writer->reported;
    struct ps_log_line line;

    if (lost == 0 || writer->broken) {
        return false;
    }
    writer->reported = now;
    ps_log_begin(&line, PS_LOG_WARN, "log lines dropped");
    ps_log_int(&line, "count", (int64_t)lost);
    submit_own(writer, &line);
    return true;
}

/* Called and left with the lock held. Returns false when the sink is given up. */
static bool drain(struct writer *writer)
{
    while (writer->len > 0) {
        const char *ptr = writer->ring + writer->start;
        size_t run = RING_BYTES - writer->start;
        size_t len = writer->len < run ? writer->len : run;
        size_t done_with;

        (void)pthread_mutex_unlock(&lock);
        done_with = write_some(writer, ptr, len);
        (void)pthread_mutex_lock(&lock);
        writer->start = (writer->start + done_with) % RING_BYTES;
        writer->len -= done_with;
        if (done_with == 0) {
            return false;
        }
    }
    writer->start = 0; /* the pages that a quiet log touches stay few */
    return true;
}

/* Called and left with the lock held, the ring being empty. */
static void rest(struct writer *writer)
{
    struct timespec until = in_ms(LINGER_MS);

    while (writer->len < RING_BYTES / 2 && !writer->stopping && !writer->reopen) {
        if (pthread_cond_timedwait(&wake, &lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    writer->asleep = true;
    while (writer->len == 0 && !writer->stopping && !writer->reopen) {
        (void)pthread_cond_wait(&wake, &lock);
    }
    writer->asleep = false;
}

static void count_rest(const struct writer *writer)
{
    size_t run = RING_BYTES - writer->start;
    size_t len = writer->len < run ? writer->len : run;

    ps_log_count_dropped(count_lines(writer->ring + writer->start, len));
    ps_log_count_dropped(count_lines(writer->ring, writer->len - len));
}

/* What is done between two rests, the lock not held. Returns whether there may be more to write. */
static bool work_unlocked(struct writer *writer, bool reopening)
{
    if (reopening && writer->file != NULL) {
        reopen(writer);
    }
    return report_dropped(writer);
}

static void *run_writer(void *arg)
{
    struct writer *writer = arg;
    bool abandoned;

    (void)pthread_setname_np(pthread_self(), "ps-log");
    (void)pthread_mutex_lock(&lock);
    while (drain(writer)) {
        bool reopening = writer->reopen;
        bool more;

        writer->reopen = false;
        (void)pthread_mutex_unlock(&lock);
        more = work_unlocked(writer, reopening);
        (void)pthread_mutex_lock(&lock);
        if (more) {
            continue;
        }
        if (writer->stopping && writer->len == 0) {
            break;
        }
        rest(writer);
    }
    count_rest(writer);
    writer->finished = true;
    abandoned = writer->abandoned;
    (void)pthread_cond_broadcast(&done);
    (void)pthread_mutex_unlock(&lock);
    if (abandoned) {
        free_writer(writer);
    }
    return NULL;
}

static struct writer *new_writer(const char *file, int *ret_error)
{
    struct writer *writer = ps_calloc(1, sizeof(*writer));

    *ret_error = -ENOMEM;
    if (writer == NULL) {
        return NULL;
    }
    writer->fd = STDERR_FILENO;
    writer->ring = ps_malloc(RING_BYTES);
    if (file != NULL) {
        writer->fd = -1;
        writer->file = ps_strndup(file, strlen(file));
    }
    if (writer->ring == NULL || (file != NULL && writer->file == NULL)) {
        free_writer(writer);
        return NULL;
    }
    if (file != NULL) {
        writer->fd = open_file(file);
        if (writer->fd < 0) {
            *ret_error = writer->fd;
            free_writer(writer);
            return NULL;
        }
    }
    writer->small = can_stall(writer->fd);
    writer->reported = ps_log_dropped();
    return writer;
}

/* Signals are for other threads; SIGPIPE of a closed stderr stays pending here. */
static int start_thread(struct writer *writer)
{
    sigset_t all;
    sigset_t before;
    int rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&writer->thread, NULL, run_writer, writer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

int ps_log_start(const struct ps_log_options *options)
{
    struct writer *writer;
    int error;

    (void)pthread_once(&conds_once, init_conds);
    ps_log_stop();
    writer = new_writer(options->file, &error);
    if (writer == NULL) {
        return error;
    }
    ps_log_configure(options->level, options->format);
    (void)pthread_mutex_lock(&lock);
    error = start_thread(writer);
    if (error == 0) {
        current = writer;
    }
    (void)pthread_mutex_unlock(&lock);
    if (error != 0) {
        free_writer(writer);
    }
    return error;
}

void ps_log_reopen(void)
{
    (void)pthread_mutex_lock(&lock);
    if (current != NULL) {
        current->reopen = true;
        (void)pthread_cond_signal(&wake);
    }
    (void)pthread_mutex_unlock(&lock);
}

void ps_log_stop(void)
{
    struct writer *writer;
    pthread_t thread;
    struct timespec grace;
    bool finished;

    (void)pthread_mutex_lock(&lock);
    writer = current;
    current = NULL;
    if (writer == NULL) {
        (void)pthread_mutex_unlock(&lock);
        return;
    }
    thread = writer->thread;
    writer->stopping = true;
    writer->end = in_ms(STOP_MS);
    grace = in_ms(STOP_MS + 200); /* the thread looks at the clock every 100 ms */
    (void)pthread_cond_broadcast(&wake);
    while (!writer->finished) {
        if (pthread_cond_timedwait(&done, &lock, &grace) == ETIMEDOUT) {
            break;
        }
    }
    finished = writer->finished;
    writer->abandoned = !finished;
    (void)pthread_mutex_unlock(&lock);
    if (finished) {
        (void)pthread_join(thread, NULL);
        free_writer(writer);
    } else {
        (void)pthread_detach(thread);
    }
}
