/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * One process owns a database: it holds a lock on "<path>.lock" as long as it lives; the kernel
 * gives it back whatever the process dies of. The file's one byte says how the last owner ended:
 * 'c' in order, 'o' it had the database open.
 */

struct ps_sql_lock {
    int fd;
    bool unclean;
};

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int rc = fsync(fd);
    int error = errno;
    (void)close(fd);
    errno = error;
    return rc;
}

/* Cuts the last part off. False: there is none above. */
static bool cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return false;
    }
    *slash = '\0';
    return true;
}

static int make_folder(const char *path);

/* What is above `path`: made when it is not there, then told of its new entry. */
static int in_folder_above(const char *path, int (*act)(const char *above))
{
    char *above = ps_strndup(path, strlen(path));
    if (above == NULL) {
        errno = ENOMEM;
        return -1;
    }
    const char *name = cut(above) ? above : (path[0] == '/' ? "/" : ".");
    int rc = act(name);
    ps_free(above);
    return rc;
}

/* mkdir -p, on disk. */
static int make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0) {
        return in_folder_above(path, sync_folder);
    }
    if (errno == EEXIST) {
        return 0;
    }
    if (errno != ENOENT || in_folder_above(path, make_folder) != 0) {
        return -1;
    }
    return mkdir(path, 0700) == 0 ? in_folder_above(path, sync_folder) : -1;
}

static void tell(char *ret_problem, size_t size, const char *what, const char *path)
{
    char text[64];
    const char *reason = strerror_r(errno, text, sizeof(text));
    (void)snprintf(ret_problem, size, "cannot %s %.120s: %s", what, path, reason);
}

/* The descriptor, or -1 with a sentence. */
static int open_locked(const char *name, char *ret_problem, size_t problem_size)
{
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        tell(ret_problem, problem_size, "open", name);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            (void)snprintf(ret_problem, problem_size, "another process has %.150s locked", name);
        } else {
            tell(ret_problem, problem_size, "lock", name);
        }
        (void)close(fd);
        return -1;
    }
    return fd;
}

static struct ps_sql_lock *take(const char *path, char *name, char *ret_problem,
                                size_t problem_size)
{
    (void)snprintf(name, strlen(path) + sizeof(".lock"), "%s", path);
    if (cut(name) && make_folder(name) != 0) {
        tell(ret_problem, problem_size, "make", name);
        return NULL;
    }
    (void)snprintf(name, strlen(path) + sizeof(".lock"), "%s.lock", path);
    struct ps_sql_lock *lock = ps_calloc(1, sizeof(*lock));
    if (lock == NULL) {
        (void)snprintf(ret_problem, problem_size, "memory is short");
        return NULL;
    }
    lock->fd = open_locked(name, ret_problem, problem_size);
    if (lock->fd < 0) {
        ps_free(lock);
        return NULL;
    }
    char mark = 'c';
    lock->unclean = pread(lock->fd, &mark, 1, 0) == 1 && mark != 'c';
    return lock;
}

bool ps_sql_sync_names(const char *path)
{
    return in_folder_above(path, sync_folder) == 0;
}

struct ps_sql_lock *ps_sql_lock_take(const char *path, char *ret_problem, size_t problem_size)
{
    char *name = ps_malloc(strlen(path) + sizeof(".lock"));
    if (name == NULL) {
        (void)snprintf(ret_problem, problem_size, "memory is short");
        return NULL;
    }
    struct ps_sql_lock *lock = take(path, name, ret_problem, problem_size);
    ps_free(name);
    return lock;
}

bool ps_sql_lock_was_unclean(const struct ps_sql_lock *lock)
{
    return lock->unclean;
}

static bool write_mark(struct ps_sql_lock *lock, char mark)
{
    return pwrite(lock->fd, &mark, 1, 0) == 1 && fdatasync(lock->fd) == 0;
}

bool ps_sql_lock_mark(struct ps_sql_lock *lock)
{
    return write_mark(lock, 'o');
}

void ps_sql_lock_give(struct ps_sql_lock *lock, bool clean)
{
    if (lock == NULL) {
        return;
    }
    if (clean) {
        (void)write_mark(lock, 'c'); /* or it is checked once more than need be */
    }
    (void)close(lock->fd);
    ps_free(lock);
}
