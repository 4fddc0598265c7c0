/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/store/blob.h"

#include "blob_io.h"

#include "penstock/base/clock.h"
#include "penstock/base/id.h"
#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 *     <folder>/tmp/<32 hex digits>      in the making
 *     <folder>/ab/<the other 30>        whole, and on disk
 *
 * Happy path: create → tmp file; append → write; commit → fdatasync, rename into its bucket, fsync
 * of the bucket. A bucket's own entry is synced before the first blob goes into it.
 *
 * Any failure on the way removes the file: a failed write or sync is final, since the kernel may
 * drop the pages and call the next sync a success. A crash leaves a file in tmp, which the next run
 * removes, or a blob that no row names, which the sweep removes.
 */

enum {
    NAME_LEN = 32,
    BUCKET_LEN = 2,
    WRITER_THREADS = 4,
    READER_THREADS = 2,
    SPACE_STEP = 1 << 20, /* between two looks at the free space */
    FLUSH_STEP = 8 << 20, /* written back early, so that the commit does not wait for all of it */
};

struct ps_blobs {
    char *folder; /* owned */
    uint64_t reserve_bytes;
    unsigned reserve_percent;
    pthread_mutex_t lock; /* held while folders are made and synced: never on a loop */
    bool ready;           /* under lock: the folder stands */
    bool bucket_ready[PS_BLOB_BUCKETS]; /* under lock: its entry is on disk */
    int tmp_fd;                         /* under lock; holds the flock that says "in use" */
    pthread_mutex_t threads_lock;
    struct ps_blob_threads *writers; /* under threads_lock; owned */
    struct ps_blob_threads *readers; /* under threads_lock; owned */
};

struct ps_blob_file {
    struct ps_blobs *blobs; /* borrowed */
    struct ps_blob_name name;
    int fd;
    int error; /* of an append: the file cannot become whole any more */
    uint64_t length;
    uint64_t flushed;    /* writing back was begun up to here */
    uint64_t space_next; /* length at which the free space is looked at again */
    struct ps_sha256 hash;
};

/* ---- paths ---- */

struct path {
    char text[PATH_MAX];
};

/* "<folder>/<middle>/<last>", the last two may be empty. -1: too long. */
static int path_make(struct path *path, const struct ps_blobs *blobs, struct ps_slice middle,
                     struct ps_slice last)
{
    int len = snprintf(path->text, sizeof path->text, "%s%s%.*s%s%.*s", blobs->folder,
                       middle.len > 0 ? "/" : "", (int)middle.len, middle.ptr,
                       last.len > 0 ? "/" : "", (int)last.len, last.ptr);
    if (len < 0 || (size_t)len >= sizeof path->text) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

static int path_of_tmp(struct path *path, const struct ps_blobs *blobs,
                       const struct ps_blob_name *name)
{
    return path_make(path, blobs, PS_SLICE_LIT("tmp"), ps_slice(name->text, NAME_LEN));
}

static int path_of_bucket(struct path *path, const struct ps_blobs *blobs, unsigned bucket)
{
    char text[BUCKET_LEN + 1];
    (void)snprintf(text, sizeof text, "%02x", bucket & (PS_BLOB_BUCKETS - 1));
    return path_make(path, blobs, ps_slice(text, BUCKET_LEN), PS_SLICE_NONE);
}

static unsigned digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

static bool is_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f')) {
            return false;
        }
    }
    return text[len] == '\0';
}

static unsigned bucket_of(const struct ps_blob_name *name)
{
    return digit(name->text[0]) << 4 | digit(name->text[1]);
}

/* Names come from rows: one that is not ours never becomes a path. */
static int path_of_blob(struct path *path, const struct ps_blobs *blobs,
                        const struct ps_blob_name *name)
{
    if (strnlen(name->text, sizeof name->text) != NAME_LEN || !is_hex(name->text, NAME_LEN)) {
        errno = EINVAL;
        return -1;
    }
    return path_make(path, blobs, ps_slice(name->text, BUCKET_LEN),
                     ps_slice(name->text + BUCKET_LEN, NAME_LEN - BUCKET_LEN));
}

/* ---- folders ---- */

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
    return rc == 0 || error == EINVAL ? 0 : -1; /* EINVAL: a file system without it */
}

static int sync_parent(const char *path)
{
    struct path parent;
    const char *slash = strrchr(path, '/');
    int len = slash == NULL ? 0 : (int)(slash - path);
    const char *text = slash == NULL ? "." : len == 0 ? "/" : parent.text;

    (void)snprintf(parent.text, sizeof parent.text, "%.*s", len, path);
    return sync_folder(text);
}

/*
 * One folder whose entry is on disk afterwards. One that was there already may have been made just
 * before a crash, so its entry is synced too, as far as its parent may be opened.
 */
static int make_folder(const char *path)
{
    if (mkdir(path, 0700) != 0) {
        if (errno != EEXIST) {
            return -1;
        }
        (void)sync_parent(path);
        return 0;
    }
    if (sync_parent(path) == 0 || errno == EACCES) {
        return 0;
    }
    int error = errno;
    (void)rmdir(path); /* made anew next time: the next sync of this one would prove nothing */
    errno = error;
    return -1;
}

/* The folder and what is missing above it. */
static int make_folders(const char *folder)
{
    struct path path;

    if (strnlen(folder, sizeof path.text) == sizeof path.text) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (const char *at = folder + (*folder == '/'); *at != '\0';) {
        const char *slash = strchrnul(at, '/');
        (void)snprintf(path.text, sizeof path.text, "%.*s", (int)(slash - folder), folder);
        struct stat info;
        bool above = *slash != '\0';
        if (!(above && stat(path.text, &info) == 0) && make_folder(path.text) != 0) {
            return -1;
        }
        at = above ? slash + 1 : slash;
    }
    return 0;
}

static int64_t age_mark_ms(const struct stat *info)
{
    const struct timespec *last = info->st_mtim.tv_sec > info->st_ctim.tv_sec
                                      ? &info->st_mtim
                                      : &info->st_ctim; /* of the rename */
    return (int64_t)last->tv_sec * 1000 + last->tv_nsec / 1000000;
}

/* Regular files of a folder that were last changed before `before_ms`. 0, or -1 with errno. */
static int each_file(const char *folder, int64_t before_ms,
                     void (*fn)(void *arg, int folder_fd, const char *file), void *arg)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return errno == ENOENT ? 0 : -1;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            break;
        }
        struct stat info;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode) && age_mark_ms(&info) < before_ms) {
            fn(arg, dirfd(dir), entry->d_name);
        }
    }
    int error = errno;
    (void)closedir(dir);
    errno = error;
    return error == 0 ? 0 : -1;
}

static void remove_file(void *arg, int folder_fd, const char *file)
{
    (void)arg;
    (void)unlinkat(folder_fd, file, 0);
}

/*
 * tmp stays open and locked, shared, as long as the process runs: whoever gets it for itself alone
 * knows that what lies in it was left behind by a crash.
 */
static int open_tmp(struct ps_blobs *blobs)
{
    struct path path;
    if (path_make(&path, blobs, PS_SLICE_LIT("tmp"), PS_SLICE_NONE) != 0 ||
        make_folder(path.text) != 0) {
        return -1;
    }
    int fd = open(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        (void)each_file(path.text, INT64_MAX, remove_file, NULL);
    }
    (void)flock(fd, LOCK_SH);
    blobs->tmp_fd = fd;
    return 0;
}

/* Makes the folder at the first use. Buckets that a crash left unsynced get their entries synced.
 */
static int prepare(struct ps_blobs *blobs)
{
    (void)pthread_mutex_lock(&blobs->lock);
    if (!blobs->ready) {
        blobs->ready = make_folders(blobs->folder) == 0 && sync_folder(blobs->folder) == 0 &&
                       open_tmp(blobs) == 0;
    }
    bool ready = blobs->ready;
    int error = errno;
    (void)pthread_mutex_unlock(&blobs->lock);
    errno = error;
    return ready ? 0 : -1;
}

/* Under the lock: nobody may take a bucket for safe while another thread still syncs its entry. */
static int prepare_bucket(struct ps_blobs *blobs, unsigned bucket)
{
    struct path path;
    int rc = path_of_bucket(&path, blobs, bucket);

    (void)pthread_mutex_lock(&blobs->lock);
    if (rc == 0 && !blobs->bucket_ready[bucket]) {
        rc = make_folder(path.text);
        blobs->bucket_ready[bucket] = rc == 0;
    }
    int error = errno;
    (void)pthread_mutex_unlock(&blobs->lock);
    errno = error;
    return rc;
}

/* ---- life ---- */

struct ps_blobs *ps_blobs_new(const struct ps_blobs_options *options)
{
    struct ps_blobs *blobs = ps_calloc(1, sizeof(*blobs));
    if (blobs == NULL) {
        return NULL;
    }
    blobs->folder = ps_strndup(options->folder, strlen(options->folder));
    if (blobs->folder == NULL) {
        ps_free(blobs);
        return NULL;
    }
    blobs->reserve_bytes = options->reserve_bytes;
    blobs->reserve_percent = options->reserve_percent;
    blobs->tmp_fd = -1;
    /* Neither fails with default attributes. */
    (void)pthread_mutex_init(&blobs->lock, NULL);
    (void)pthread_mutex_init(&blobs->threads_lock, NULL);
    return blobs;
}

void ps_blobs_free(struct ps_blobs *blobs)
{
    if (blobs == NULL) {
        return;
    }
    ps_blob_threads_free(blobs->writers);
    ps_blob_threads_free(blobs->readers);
    if (blobs->tmp_fd >= 0) {
        (void)close(blobs->tmp_fd);
    }
    (void)pthread_mutex_destroy(&blobs->lock);
    (void)pthread_mutex_destroy(&blobs->threads_lock);
    ps_free(blobs->folder);
    ps_free(blobs);
}

static struct ps_blob_threads *start_once(struct ps_blobs *blobs, struct ps_blob_threads **threads,
                                          unsigned count)
{
    (void)pthread_mutex_lock(&blobs->threads_lock);
    if (*threads == NULL) {
        *threads = ps_blob_threads_new(count);
    }
    struct ps_blob_threads *started = *threads;
    (void)pthread_mutex_unlock(&blobs->threads_lock);
    return started;
}

struct ps_blob_threads *ps_blobs_writers(struct ps_blobs *blobs)
{
    return start_once(blobs, &blobs->writers, WRITER_THREADS);
}

struct ps_blob_threads *ps_blobs_readers(struct ps_blobs *blobs)
{
    return start_once(blobs, &blobs->readers, READER_THREADS);
}

/* ---- writing ---- */

static void make_name(struct ps_blob_name *name)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[NAME_LEN / 2];

    ps_random_bytes(bytes, sizeof bytes);
    *name = (struct ps_blob_name){""};
    for (size_t i = 0; i < sizeof bytes; i++) {
        name->text[2 * i] = digits[bytes[i] >> 4];
        name->text[2 * i + 1] = digits[bytes[i] & 15];
    }
}

struct ps_blob_file *ps_blob_create(struct ps_blobs *blobs)
{
    struct path path;
    if (prepare(blobs) != 0) {
        return NULL;
    }
    struct ps_blob_file *file = ps_calloc(1, sizeof(*file));
    if (file == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    file->blobs = blobs;
    make_name(&file->name);
    ps_sha256_init(&file->hash);
    file->fd = path_of_tmp(&path, blobs, &file->name) != 0
                   ? -1
                   : open(path.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd < 0) {
        int error = errno;
        ps_free(file);
        errno = error;
        return NULL;
    }
    return file;
}

/* Whether `len` more bytes leave the reserve alone. A file system that does not say has room. */
static bool has_space(const struct ps_blobs *blobs, uint64_t len)
{
    struct statvfs info;
    if (statvfs(blobs->folder, &info) != 0 || info.f_blocks == 0) {
        return true;
    }
    uint64_t available = (uint64_t)info.f_bavail * info.f_frsize;
    uint64_t total = (uint64_t)info.f_blocks * info.f_frsize;
    uint64_t left = available > len ? available - len : 0;
    bool percent_off = blobs->reserve_percent > 100;
    return left >= blobs->reserve_bytes &&
           (percent_off || left / 100 >= total / 10000 * blobs->reserve_percent);
}

static int write_all(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, ptr, len);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }
        ptr += n;
        len -= (size_t)n;
    }
    return 0;
}

int ps_blob_append(struct ps_blob_file *file, const void *ptr, size_t len)
{
    if (file->error == 0 && file->length + len >= file->space_next) {
        file->space_next = file->length + len + SPACE_STEP;
        if (!has_space(file->blobs, len)) {
            file->error = ENOSPC;
        }
    }
    if (file->error == 0 && write_all(file->fd, ptr, len) != 0) {
        file->error = errno;
    }
    if (file->error != 0) {
        errno = file->error;
        return -1;
    }
    ps_sha256_update(&file->hash, ptr, len);
    file->length += len;
    if (file->length - file->flushed >= FLUSH_STEP) {
        /* Only a hint: what fails to be written shows at the commit's sync. */
        (void)sync_file_range(file->fd, (off_t)file->flushed, (off_t)(file->length - file->flushed),
                              SYNC_FILE_RANGE_WRITE);
        file->flushed = file->length;
    }
    return 0;
}

uint64_t ps_blob_length(const struct ps_blob_file *file)
{
    return file->length;
}

/* From tmp to its place; -1 with errno, and then in neither. */
static int move_into_place(struct ps_blob_file *file)
{
    struct path from;
    struct path to;
    struct path bucket;

    if (path_of_tmp(&from, file->blobs, &file->name) != 0 ||
        path_of_blob(&to, file->blobs, &file->name) != 0 ||
        path_of_bucket(&bucket, file->blobs, bucket_of(&file->name)) != 0 ||
        prepare_bucket(file->blobs, bucket_of(&file->name)) != 0) {
        return -1;
    }
    if (rename(from.text, to.text) != 0 || sync_folder(bucket.text) != 0) {
        int error = errno;
        (void)unlink(to.text);
        errno = error;
        return -1;
    }
    return 0;
}

int ps_blob_commit(struct ps_blob_file *file, struct ps_blob_name *ret_name,
                   unsigned char *ret_sha256)
{
    int rc = -1;

    if (file->error != 0) {
        errno = file->error;
    } else if (fdatasync(file->fd) == 0) {
        rc = move_into_place(file);
    }
    if (rc != 0) {
        int error = errno;
        ps_blob_abort(file);
        errno = error;
        return -1;
    }
    *ret_name = file->name;
    if (ret_sha256 != NULL) {
        ps_sha256_final(&file->hash, ret_sha256);
    }
    (void)close(file->fd);
    ps_free(file);
    return 0;
}

void ps_blob_abort(struct ps_blob_file *file)
{
    struct path path;

    if (file == NULL) {
        return;
    }
    if (path_of_tmp(&path, file->blobs, &file->name) == 0) {
        (void)unlink(path.text);
    }
    (void)close(file->fd);
    ps_free(file);
}

/* ---- reading ---- */

int ps_blob_open(struct ps_blobs *blobs, const struct ps_blob_name *name, uint64_t *ret_length)
{
    struct path path;
    struct stat info;

    if (path_of_blob(&path, blobs, name) != 0) {
        return -1;
    }
    int fd = open(path.text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &info) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    *ret_length = (uint64_t)info.st_size;
    return fd;
}

int ps_blob_read(struct ps_blobs *blobs, const struct ps_blob_name *name, uint64_t offset,
                 void *ret, size_t len)
{
    uint64_t length;
    int fd = ps_blob_open(blobs, name, &length);
    if (fd < 0) {
        return -1;
    }
    int rc = ps_blob_pread(fd, offset, ret, len);
    int error = errno;
    (void)close(fd);
    errno = error;
    return rc;
}

int ps_blob_pread(int fd, uint64_t offset, void *ret, size_t len)
{
    char *at = ret;

    if (offset > INT64_MAX - len) {
        errno = EINVAL;
        return -1;
    }
    while (len > 0) {
        ssize_t n = pread(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* shorter than its row says */
            return -1;
        }
        at += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

void ps_blob_remove(struct ps_blobs *blobs, const struct ps_blob_name *name)
{
    struct path path;
    if (path_of_blob(&path, blobs, name) == 0) {
        (void)unlink(path.text);
    }
}

/* ---- the sweep ---- */

struct walk {
    unsigned bucket;
    void (*each)(void *arg, const struct ps_blob_name *name);
    void *arg;
};

static void visit(void *arg, int folder_fd, const char *file)
{
    const struct walk *walk = arg;
    struct ps_blob_name name;

    (void)folder_fd;
    if (strlen(file) == NAME_LEN - BUCKET_LEN && is_hex(file, NAME_LEN - BUCKET_LEN)) {
        (void)snprintf(name.text, sizeof name.text, "%02x%s", walk->bucket, file);
        walk->each(walk->arg, &name);
    }
}

int ps_blobs_walk(struct ps_blobs *blobs, unsigned bucket, int64_t before_ms,
                  void (*each)(void *arg, const struct ps_blob_name *name), void *arg)
{
    struct walk walk = {bucket & (PS_BLOB_BUCKETS - 1), each, arg};
    struct path path;

    if (walk.bucket == 0 && (path_make(&path, blobs, PS_SLICE_LIT("tmp"), PS_SLICE_NONE) != 0 ||
                             each_file(path.text, before_ms, remove_file, NULL) != 0)) {
        return -1;
    }
    if (path_of_bucket(&path, blobs, walk.bucket) != 0) {
        return -1;
    }
    return each_file(path.text, before_ms, visit, &walk);
}
