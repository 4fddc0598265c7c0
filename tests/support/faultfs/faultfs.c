/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * A disk that fails on demand, and one that tells what a power cut would have left: a library for
 * LD_PRELOAD that stands between a program and the calls by which it changes files.
 *
 *   FAULTFS_ROOT     folder, absolute, without links: only what lies in it is looked at
 *   FAULTFS_CONTROL  a file that says which call fails, read again before each one; empty: none
 *                        <kinds> <n> <errno> once|always|short
 *                    the n-th (from 1) of the calls of these kinds since the line was written, or
 * it and all that follow. Kinds: open,write,sync,rename,unlink,truncate,mkdir or all. short: half
 * of a write is done and the rest fails, from then on. FAULTFS_STATE    a file of two 64-bit
 * numbers: calls of these kinds, and failures so far FAULTFS_LOG      a file that gets a record of
 * each change and each sync (struct record), for tests/e2e/support/powercut.py; written to standard
 * output goes there as well, so that it is known what had been said when the power went
 *
 * One lock is held over each call and its record: the order of the log is that of the disk. Files
 * whose name ends in -shm are SQLite's shared memory, which no start relies on: not recorded.
 */

enum kind {
    KIND_OPEN,
    KIND_WRITE,
    KIND_SYNC,
    KIND_RENAME,
    KIND_UNLINK,
    KIND_TRUNCATE,
    KIND_MKDIR,
    KIND_COUNT
};
static const char *const kind_names[KIND_COUNT] = {"open",   "write",    "sync", "rename",
                                                   "unlink", "truncate", "mkdir"};

enum record_kind {
    RECORD_CREATE = 1, /* path, inode */
    RECORD_WRITE,      /* inode, offset, data */
    RECORD_TRUNCATE,   /* inode, offset: the new length */
    RECORD_SYNC,       /* inode */
    RECORD_SYNC_FOLDER,
    RECORD_RENAME, /* path, path2 */
    RECORD_UNLINK,
    RECORD_MKDIR,
    RECORD_RMDIR,
    RECORD_SAID, /* data: written to standard output */
};

#define RECORD_MAGIC 0x31534646U /* "FFS1" */
struct record {
    uint32_t magic;
    uint8_t kind;
    uint8_t ok; /* of syncs: 0 is a failed one */
    uint16_t path_len;
    uint32_t path2_len;
    uint32_t data_len;
    uint64_t inode;
    uint64_t offset;
    /* then path, path2, data */
};

struct control {
    char text[128]; /* as read */
    bool kinds[KIND_COUNT];
    uint64_t n; /* 0: no fault */
    int error;
    bool always;
    bool is_short;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_len;
static const char *control_path;
static int log_fd = -1;
static struct control control;
static uint64_t no_state[2];
static volatile uint64_t *state = no_state; /* calls, failures */

/* The functions behind ours. */
static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rmdir)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_ftruncate)(int, off_t);

static void find(void *slot, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(slot, &found, sizeof found);
}

static void find_all(void)
{
    find(&real_open, "open");
    find(&real_openat, "openat");
    find(&real_write, "write");
    find(&real_pwrite, "pwrite");
    find(&real_fsync, "fsync");
    find(&real_fdatasync, "fdatasync");
    find(&real_rename, "rename");
    find(&real_unlink, "unlink");
    find(&real_unlinkat, "unlinkat");
    find(&real_rmdir, "rmdir");
    find(&real_mkdir, "mkdir");
    find(&real_ftruncate, "ftruncate");
}

static void open_state(const char *path)
{
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    if (real_ftruncate(fd, 4096) == 0) {
        void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) {
            state = map;
        }
    }
    (void)close(fd);
}

/* Other libraries' constructors may write before ours runs: nothing is looked at until then. */
__attribute__((constructor)) static void begin(void)
{
    const char *log = getenv("FAULTFS_LOG");
    const char *state_path = getenv("FAULTFS_STATE");

    find_all();
    if (log != NULL) {
        log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (state_path != NULL) {
        open_state(state_path);
    }
    control_path = getenv("FAULTFS_CONTROL");
    root = getenv("FAULTFS_ROOT");
    root_len = root != NULL ? strlen(root) : 0;
}

static void need_real(void)
{
    if (real_open == NULL) {
        find_all();
    }
}

/* ---- paths ---- */

static bool is_inside(const char *path)
{
    return root != NULL && strncmp(path, root, root_len) == 0 &&
           (path[root_len] == '/' || path[root_len] == '\0');
}

static bool is_recorded(const char *path)
{
    size_t len = strlen(path);
    return log_fd >= 0 && (len < 4 || strcmp(path + len - 4, "-shm") != 0);
}

/* Absolute; false: not in the root. */
static bool find_path(int folder_fd, const char *path, char ret[PATH_MAX])
{
    char folder[PATH_MAX] = "";
    if (root == NULL) {
        return false;
    }
    if (path[0] == '/') {
        (void)snprintf(ret, PATH_MAX, "%s", path);
    } else {
        if (folder_fd == AT_FDCWD) {
            if (getcwd(folder, sizeof folder) == NULL) {
                return false;
            }
        } else {
            char link[64];
            (void)snprintf(link, sizeof link, "/proc/self/fd/%d", folder_fd);
            ssize_t len = readlink(link, folder, sizeof folder - 1);
            folder[len > 0 ? len : 0] = '\0';
        }
        if (snprintf(ret, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX) {
            return false;
        }
    }
    return is_inside(ret);
}

static bool find_fd(int fd, char ret[PATH_MAX])
{
    char link[64];
    if (root == NULL) {
        return false;
    }
    int saved = errno;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, ret, PATH_MAX - 1);
    errno = saved;
    ret[len > 0 ? len : 0] = '\0';
    return is_inside(ret);
}

/* ---- faults ---- */

static int error_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT}};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (strcmp(errors[i].name, name) == 0) {
            return errors[i].number;
        }
    }
    return EIO;
}

static void parse_control(const char *text)
{
    char kinds[64];
    char error[16];
    char mode[16];
    unsigned long long n;

    control = (struct control){{0}, {0}, 0, 0, false, false};
    (void)snprintf(control.text, sizeof control.text, "%s", text);
    state[0] = 0;
    state[1] = 0;
    if (sscanf(text, "%63s %llu %15s %15s", kinds, &n, error, mode) != 4) {
        return;
    }
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        const char *found = strstr(kinds, kind_names[kind]);
        control.kinds[kind] = found != NULL || strcmp(kinds, "all") == 0;
    }
    control.n = n;
    control.error = error_number(error);
    control.is_short = strcmp(mode, "short") == 0;
    control.always = control.is_short || strcmp(mode, "always") == 0;
}

static void read_control(void)
{
    char text[sizeof control.text] = "";
    if (control_path == NULL) {
        return;
    }
    int fd = real_open(control_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[len > 0 ? len : 0] = '\0';
    if (strcmp(text, control.text) != 0) {
        parse_control(text);
    }
}

/* Under the lock, once for each call in the root. 0, or the errno it is to fail with. */
static int fault(enum kind kind)
{
    int saved = errno;
    read_control();
    errno = saved;
    if (control.n == 0 || !control.kinds[kind]) {
        return 0;
    }
    uint64_t call = ++state[0];
    if (call == control.n || (control.always && call > control.n)) {
        state[1]++;
        return control.error;
    }
    return 0;
}

/* ---- the log ---- */

static void put(enum record_kind kind, bool ok, const char *path, const char *path2, uint64_t inode,
                uint64_t offset, const void *data, size_t len)
{
    struct record record = {.magic = RECORD_MAGIC,
                            .kind = (uint8_t)kind,
                            .ok = ok,
                            .path_len = (uint16_t)(path != NULL ? strlen(path) : 0),
                            .path2_len = (uint32_t)(path2 != NULL ? strlen(path2) : 0),
                            .data_len = (uint32_t)len,
                            .inode = inode,
                            .offset = offset};
    char *whole = malloc(sizeof record + record.path_len + record.path2_len + len);
    int saved = errno;
    if (whole == NULL) {
        abort();
    }
    char *at = whole;
    memcpy(at, &record, sizeof record);
    at += sizeof record;
    if (path != NULL) {
        memcpy(at, path, record.path_len);
        at += record.path_len;
    }
    if (path2 != NULL) {
        memcpy(at, path2, record.path2_len);
        at += record.path2_len;
    }
    if (len > 0) {
        memcpy(at, data, len);
        at += len;
    }
    if (real_write(log_fd, whole, (size_t)(at - whole)) != at - whole) {
        abort(); /* a log with holes proves nothing */
    }
    free(whole);
    errno = saved;
}

static uint64_t inode_of(int fd)
{
    struct stat info;
    int saved = errno;
    uint64_t inode = fstat(fd, &info) == 0 ? (uint64_t)info.st_ino : 0;
    errno = saved;
    return inode;
}

/* ---- the calls ---- */

static int open_any(int folder_fd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    need_real();
    if (!find_path(folder_fd, path, full)) {
        return real_openat(folder_fd, path, flags, mode);
    }
    (void)pthread_mutex_lock(&lock);
    int fd = -1;
    int error = fault(KIND_OPEN);
    if (error != 0) {
        errno = error;
    } else {
        bool existed = faccessat(AT_FDCWD, full, F_OK, 0) == 0;
        fd = real_openat(folder_fd, path, flags, mode);
        if (fd >= 0 && is_recorded(full)) {
            if (!existed && (flags & O_CREAT) != 0) {
                put(RECORD_CREATE, true, full, NULL, inode_of(fd), 0, NULL, 0);
            } else if (existed && (flags & O_TRUNC) != 0) {
                put(RECORD_TRUNCATE, true, NULL, NULL, inode_of(fd), 0, NULL, 0);
            }
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_argument(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int folder_fd, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_any(folder_fd, path, flags, mode);
}

int openat64(int folder_fd, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_any(folder_fd, path, flags, mode);
}

/* offset < 0: at the file's own. */
static ssize_t write_any(int fd, const void *bytes, size_t len, off_t offset)
{
    char path[PATH_MAX];
    need_real();
    bool said = fd == STDOUT_FILENO && log_fd >= 0 && offset < 0;
    if (fd == log_fd || (!said && !find_fd(fd, path))) {
        return offset < 0 ? real_write(fd, bytes, len) : real_pwrite(fd, bytes, len, offset);
    }
    (void)pthread_mutex_lock(&lock);
    int error = said ? 0 : fault(KIND_WRITE);
    ssize_t done = -1;
    if (error != 0 && control.is_short && state[1] == 1 && len > 1) {
        len /= 2; /* a disk that fills up takes what still fits */
        error = 0;
    }
    if (error != 0) {
        errno = error;
    } else {
        off_t at = offset;
        if (!said && offset < 0) {
            struct stat info;
            bool append = (fcntl(fd, F_GETFL) & O_APPEND) != 0 && fstat(fd, &info) == 0;
            at = append ? info.st_size : lseek(fd, 0, SEEK_CUR);
        }
        done = offset < 0 ? real_write(fd, bytes, len) : real_pwrite(fd, bytes, len, offset);
        if (said) {
            put(RECORD_SAID, true, NULL, NULL, 0, 0, bytes, len);
        } else if (done > 0 && is_recorded(path)) {
            put(RECORD_WRITE, true, NULL, NULL, inode_of(fd), (uint64_t)at, bytes, (size_t)done);
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return write_any(fd, bytes, len, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    return write_any(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    return write_any(fd, bytes, len, offset);
}

static int sync_any(int fd, int (*real)(int fd))
{
    char path[PATH_MAX];
    if (!find_fd(fd, path)) {
        return real(fd);
    }
    (void)pthread_mutex_lock(&lock);
    int error = fault(KIND_SYNC);
    int rc = error != 0 ? -1 : real(fd);
    if (error != 0) {
        errno = error;
    }
    if (is_recorded(path)) {
        struct stat info;
        int saved = errno;
        bool folder = fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
        errno = saved;
        put(folder ? RECORD_SYNC_FOLDER : RECORD_SYNC, rc == 0, folder ? path : NULL, NULL,
            inode_of(fd), 0, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int fsync(int fd)
{
    need_real();
    return sync_any(fd, real_fsync);
}

int fdatasync(int fd)
{
    need_real();
    return sync_any(fd, real_fdatasync);
}

int rename(const char *from, const char *to)
{
    char full_from[PATH_MAX];
    char full_to[PATH_MAX];
    need_real();
    if (!find_path(AT_FDCWD, from, full_from) || !find_path(AT_FDCWD, to, full_to)) {
        return real_rename(from, to);
    }
    (void)pthread_mutex_lock(&lock);
    int error = fault(KIND_RENAME);
    int rc = error != 0 ? -1 : real_rename(from, to);
    if (error != 0) {
        errno = error;
    } else if (rc == 0 && is_recorded(full_to)) {
        put(RECORD_RENAME, true, full_from, full_to, 0, 0, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

static int remove_any(int folder_fd, const char *path, bool folder)
{
    char full[PATH_MAX];
    need_real();
    int flags = folder ? AT_REMOVEDIR : 0;
    if (!find_path(folder_fd, path, full)) {
        return real_unlinkat(folder_fd, path, flags);
    }
    (void)pthread_mutex_lock(&lock);
    int error = fault(KIND_UNLINK);
    int rc = error != 0 ? -1 : real_unlinkat(folder_fd, path, flags);
    if (error != 0) {
        errno = error;
    } else if (rc == 0 && is_recorded(full)) {
        put(folder ? RECORD_RMDIR : RECORD_UNLINK, true, full, NULL, 0, 0, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int unlink(const char *path)
{
    return remove_any(AT_FDCWD, path, false);
}

int unlinkat(int folder_fd, const char *path, int flags)
{
    return remove_any(folder_fd, path, (flags & AT_REMOVEDIR) != 0);
}

int rmdir(const char *path)
{
    return remove_any(AT_FDCWD, path, true);
}

int mkdir(const char *path, mode_t mode)
{
    char full[PATH_MAX];
    need_real();
    if (!find_path(AT_FDCWD, path, full)) {
        return real_mkdir(path, mode);
    }
    (void)pthread_mutex_lock(&lock);
    int error = fault(KIND_MKDIR);
    int rc = error != 0 ? -1 : real_mkdir(path, mode);
    if (error != 0) {
        errno = error;
    } else if (rc == 0 && is_recorded(full)) {
        put(RECORD_MKDIR, true, full, NULL, 0, 0, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate(int fd, off_t length)
{
    char path[PATH_MAX];
    need_real();
    if (!find_fd(fd, path)) {
        return real_ftruncate(fd, length);
    }
    (void)pthread_mutex_lock(&lock);
    int error = fault(KIND_TRUNCATE);
    int rc = error != 0 ? -1 : real_ftruncate(fd, length);
    if (error != 0) {
        errno = error;
    } else if (rc == 0 && is_recorded(path)) {
        put(RECORD_TRUNCATE, true, NULL, NULL, inode_of(fd), (uint64_t)length, NULL, 0);
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate64(int fd, off64_t length)
{
    return ftruncate(fd, length);
}
