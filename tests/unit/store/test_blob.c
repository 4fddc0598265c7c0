/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_priv.h"
#include "store/folder.h"
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct folder folder;
static struct ps_blobs *blobs;

static int open_blobs(void **state)
{
    (void)state;
    folder_make(&folder);
    blobs = folder_open(&folder);
    return 0;
}

static int close_blobs(void **state)
{
    (void)state;
    ps_blobs_free(blobs);
    folder_remove(&folder);
    return 0;
}

static void reopen(const struct ps_blobs_options *options)
{
    ps_blobs_free(blobs);
    blobs = ps_blobs_new(options);
    assert_non_null(blobs);
}

static char *make_bytes(size_t len)
{
    char *bytes = malloc(len + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 31 + i / 251);
    }
    return bytes;
}

static struct ps_blob_name put(const void *bytes, size_t len)
{
    struct ps_blob_name name;
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_non_null(file);
    assert_int_equal(ps_blob_append(file, bytes, len), 0);
    assert_int_equal(ps_blob_commit(file, &name, NULL), 0);
    return name;
}

static void what_is_written_is_read(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 65536, 100001, (9 << 20) + 7};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t len = sizes[i];
        char *bytes = make_bytes(len);
        char *back = calloc(1, len + 1);
        uint8_t hash[PS_SHA256_SIZE];
        uint8_t expected[PS_SHA256_SIZE];
        struct ps_blob_name name;
        struct ps_blob_file *file = ps_blob_create(blobs);
        assert_true(file != NULL && back != NULL);
        for (size_t done = 0, step = 1; done < len; step = step * 3 + 1) {
            size_t part = step < len - done ? step : len - done;
            assert_int_equal(ps_blob_append(file, bytes + done, part), 0);
            done += part;
            assert_int_equal(ps_blob_length(file), done);
        }
        assert_int_equal(folder_blobs(&folder), i);
        assert_int_equal(folder_unfinished(&folder), 1);
        assert_int_equal(ps_blob_commit(file, &name, hash), 0);
        assert_int_equal(folder_blobs(&folder), i + 1);
        assert_int_equal(folder_unfinished(&folder), 0);
        ps_sha256(bytes, len, expected);
        assert_memory_equal(hash, expected, sizeof hash);

        assert_int_equal(ps_blob_read(blobs, &name, 0, back, len), 0);
        assert_memory_equal(back, bytes, len);
        uint64_t length = 1;
        int fd = ps_blob_open(blobs, &name, &length);
        assert_true(fd >= 0);
        assert_int_equal(length, len);
        assert_int_equal(close(fd), 0);
        if (len > 1) {
            assert_int_equal(ps_blob_read(blobs, &name, len / 3, back, len / 2), 0);
            assert_memory_equal(back, bytes + len / 3, len / 2);
        }
        errno = 0;
        assert_int_equal(ps_blob_read(blobs, &name, 0, back, len + 1), -1);
        assert_int_equal(errno, EIO);
        assert_int_equal(ps_blob_read(blobs, &name, UINT64_MAX - 1, back, 1), -1);
        free(bytes);
        free(back);
    }
}

static mode_t mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

/* Nothing is on disk before the first blob; then only the owner may look. */
static void the_folder_comes_with_the_first_blob(void **state)
{
    char path[256];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/data", folder.path);
    uint64_t length;
    struct ps_blob_name name = {"00112233445566778899aabbccddeeff"};
    assert_int_equal(ps_blob_open(blobs, &name, &length), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(access(path, F_OK), -1);

    mode_t before = umask(0);
    name = put("x", 1);
    (void)umask(before);
    assert_int_equal(mode_of(path), 0700);
    assert_int_equal(mode_of(folder.blobs), 0700);
    folder_path(&folder, &name, path, sizeof path);
    assert_int_equal(mode_of(path), 0600);
    *strrchr(path, '/') = '\0';
    assert_int_equal(mode_of(path), 0700);
}

static void an_abort_leaves_nothing(void **state)
{
    (void)state;
    ps_blob_abort(NULL);
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_non_null(file);
    assert_int_equal(ps_blob_append(file, "abc", 3), 0);
    assert_int_equal(folder_unfinished(&folder), 1);
    ps_blob_abort(file);
    assert_int_equal(folder_unfinished(&folder), 0);
    assert_int_equal(folder_blobs(&folder), 0);
}

/* A run that was killed leaves a file in tmp; one that still runs keeps its own. */
static void leftovers_go_at_the_start(void **state)
{
    char path[256];
    (void)state;
    struct ps_blob_name kept = put("kept", 4);
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_non_null(file);
    (void)snprintf(path, sizeof path, "%s/tmp/0123456789abcdef0123456789abcdef", folder.blobs);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && close(fd) == 0);

    struct ps_blobs *other = folder_open(&folder);
    struct ps_blob_file *second = ps_blob_create(other);
    assert_non_null(second);
    assert_int_equal(folder_unfinished(&folder), 3); /* the first run is still there */
    ps_blob_abort(second);
    ps_blobs_free(other);

    ps_blob_abort(file);
    assert_int_equal(folder_unfinished(&folder), 1);
    reopen(&(struct ps_blobs_options){.folder = folder.blobs, .reserve_percent = 101});
    file = ps_blob_create(blobs);
    assert_non_null(file);
    assert_int_equal(folder_unfinished(&folder), 1);
    assert_int_equal(access(path, F_OK), -1);
    ps_blob_abort(file);
    char back[4];
    assert_int_equal(ps_blob_read(blobs, &kept, 0, back, 4), 0);
}

/* Names come from rows, and a row may be damaged: none becomes a path that is not a blob's. */
static void names_of_others_are_refused(void **state)
{
    static const char *const names[] = {
        "",
        "00112233445566778899aabbccddeef",
        "00112233445566778899aabbccddeeff0",
        "00112233445566778899AABBCCDDEEFF",
        "../../etc/passwd",
        "00/../../../../../../../tmp/file",
        "tmp/2233445566778899aabbccddeeff",
        "0011223344556677.899aabbccddeeff",
        "001122334455667788\n9aabbccddeeff",
    };
    uint64_t length;
    char byte;
    (void)state;
    (void)put("x", 1);
    for (size_t i = 0; i < COUNT(names); i++) {
        struct ps_blob_name name = {""};
        (void)snprintf(name.text, sizeof name.text, "%s", names[i]);
        errno = 0;
        assert_int_equal(ps_blob_open(blobs, &name, &length), -1);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(ps_blob_read(blobs, &name, 0, &byte, 1), -1);
        ps_blob_remove(blobs, &name);
    }
    struct ps_blob_name open_ended;
    memset(open_ended.text, 'a', sizeof open_ended.text);
    assert_int_equal(ps_blob_open(blobs, &open_ended, &length), -1);
    assert_int_equal(folder_blobs(&folder), 1);
}

static void removed_while_it_is_read(void **state)
{
    uint64_t length;
    char back[5];
    (void)state;
    struct ps_blob_name name = put("hello", 5);
    int fd = ps_blob_open(blobs, &name, &length);
    assert_true(fd >= 0);
    ps_blob_remove(blobs, &name);
    assert_int_equal(folder_blobs(&folder), 0);
    assert_int_equal(read(fd, back, 5), 5);
    assert_memory_equal(back, "hello", 5);
    assert_int_equal(close(fd), 0);
    assert_int_equal(ps_blob_open(blobs, &name, &length), -1);
    assert_int_equal(errno, ENOENT);
    ps_blob_remove(blobs, &name);
}

static void the_reserve_is_left_alone(void **state)
{
    static const struct {
        uint64_t bytes;
        unsigned percent;
        bool refused;
    } rows[] = {
        {0, 101, false}, {0, 0, false}, {1, 101, false}, {UINT64_MAX / 2, 101, true},
        {0, 100, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        reopen(&(struct ps_blobs_options){.folder = folder.blobs,
                                          .reserve_bytes = rows[i].bytes,
                                          .reserve_percent = rows[i].percent});
        struct ps_blob_name name;
        struct ps_blob_file *file = ps_blob_create(blobs);
        assert_non_null(file);
        unsigned before = folder_blobs(&folder);
        errno = 0;
        assert_int_equal(ps_blob_append(file, "x", 1), rows[i].refused ? -1 : 0);
        assert_int_equal(errno, rows[i].refused ? ENOSPC : 0);
        /* What failed once never becomes a blob. */
        assert_int_equal(ps_blob_append(file, "", 0), rows[i].refused ? -1 : 0);
        assert_int_equal(ps_blob_commit(file, &name, NULL), rows[i].refused ? -1 : 0);
        assert_int_equal(folder_blobs(&folder), before + !rows[i].refused);
        assert_int_equal(folder_unfinished(&folder), 0);
    }
}

/* The kernel refuses in the middle of a write. */
static void a_failed_write_is_final(void **state)
{
    struct rlimit before;
    struct ps_blob_name name;
    char bytes[1000] = {0};
    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {2500, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_non_null(file);
    assert_int_equal(ps_blob_append(file, bytes, sizeof bytes), 0);
    assert_int_equal(ps_blob_append(file, bytes, sizeof bytes), 0);
    assert_int_equal(ps_blob_append(file, bytes, sizeof bytes), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(ps_blob_append(file, bytes, sizeof bytes), -1);
    assert_int_equal(ps_blob_commit(file, &name, NULL), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(folder_unfinished(&folder), 0);
    assert_int_equal(folder_blobs(&folder), 0);
}

/* Its bucket cannot be: the file goes, and the next one is not harmed. */
static void a_commit_that_fails_leaves_nothing(void **state)
{
    struct ps_blob_name name;
    char path[256];
    (void)state;
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_non_null(file);
    for (unsigned i = 0; i < PS_BLOB_BUCKETS; i++) {
        (void)snprintf(path, sizeof path, "%s/%02x", folder.blobs, i);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && close(fd) == 0);
    }
    assert_int_equal(ps_blob_commit(file, &name, NULL), -1);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(folder_unfinished(&folder), 0);
    for (unsigned i = 0; i < PS_BLOB_BUCKETS; i++) {
        (void)snprintf(path, sizeof path, "%s/%02x", folder.blobs, i);
        assert_int_equal(unlink(path), 0);
    }
    reopen(&(struct ps_blobs_options){.folder = folder.blobs, .reserve_percent = 101});
    (void)put("x", 1);
}

/* Where the folder cannot be made, every try fails alike, until it can. */
static void a_folder_that_cannot_be(void **state)
{
    char path[80];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/data", folder.path);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && close(fd) == 0);
    for (int i = 0; i < 2; i++) {
        assert_null(ps_blob_create(blobs));
        assert_int_equal(errno, ENOTDIR);
    }
    assert_int_equal(unlink(path), 0);
    (void)put("x", 1);

    char *deep = malloc(5001);
    assert_non_null(deep);
    memset(deep, 'a', 5000);
    deep[5000] = '\0';
    reopen(&(struct ps_blobs_options){.folder = deep});
    assert_null(ps_blob_create(blobs));
    assert_int_equal(errno, ENAMETOOLONG);
    free(deep);
}

static void relative_folders_and_doubled_slashes(void **state)
{
    char *home = getcwd(NULL, 0);
    char path[128];
    (void)state;
    assert_non_null(home);
    assert_int_equal(chdir(folder.path), 0);
    static const char *const folders[] = {"a", "./b/c", "d//e/"};
    for (size_t i = 0; i < COUNT(folders); i++) {
        reopen(&(struct ps_blobs_options){.folder = folders[i], .reserve_percent = 101});
        (void)put("x", 1);
        (void)snprintf(path, sizeof path, "%s/%s/tmp", folder.path, folders[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    assert_int_equal(chdir(home), 0);
    free(home);
}

/* ---- the sweep ---- */

struct seen {
    struct ps_blob_name names[16];
    size_t count;
};

static void see(void *arg, const struct ps_blob_name *name)
{
    struct seen *seen = arg;
    assert_true(seen->count < COUNT(seen->names));
    seen->names[seen->count++] = *name;
    ps_blob_remove(blobs, name);
}

static void age(const char *path, int64_t ms)
{
    int64_t then = ps_clock_wall_ms() - ms;
    struct timespec times[2] = {{.tv_sec = then / 1000}, {.tv_sec = then / 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static unsigned walk_all(int64_t before_ms, struct seen *seen)
{
    *seen = (struct seen){.count = 0};
    for (unsigned i = 0; i < PS_BLOB_BUCKETS; i++) {
        assert_int_equal(ps_blobs_walk(blobs, i, before_ms, see, seen), 0);
    }
    return (unsigned)seen->count;
}

static void the_walk_finds_what_is_old(void **state)
{
    struct seen seen;
    char path[256];
    int64_t hour = 3600 * 1000;
    (void)state;
    assert_int_equal(walk_all(INT64_MAX, &seen), 0); /* no folder yet */
    struct ps_blob_name names[8];
    for (size_t i = 0; i < COUNT(names); i++) {
        names[i] = put("x", 1);
    }
    /* A file whose name is no blob's is nobody's business. */
    folder_path(&folder, &names[0], path, sizeof path);
    (void)snprintf(strrchr(path, '/'), 16, "/README");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && close(fd) == 0);

    assert_int_equal(walk_all(ps_clock_wall_ms() - hour, &seen), 0);
    assert_int_equal(folder_blobs(&folder), COUNT(names) + 1);
    /* When it came into its place counts, whatever the time of its bytes says. */
    folder_path(&folder, &names[0], path, sizeof path);
    age(path, 2 * hour);
    assert_int_equal(walk_all(ps_clock_wall_ms() - hour, &seen), 0);
    assert_int_equal(walk_all(ps_clock_wall_ms() + hour, &seen), COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++) {
        size_t found = 0;
        for (size_t j = 0; j < seen.count; j++) {
            found += strcmp(names[i].text, seen.names[j].text) == 0;
        }
        assert_int_equal(found, 1);
    }
    assert_int_equal(folder_blobs(&folder), 1); /* README */
}

static void the_walk_removes_old_unfinished_files(void **state)
{
    struct seen seen;
    (void)state;
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_non_null(file);
    assert_int_equal(walk_all(ps_clock_wall_ms() - 1000, &seen), 0);
    assert_int_equal(folder_unfinished(&folder), 1);
    assert_int_equal(walk_all(ps_clock_wall_ms() + 60000, &seen), 0);
    assert_int_equal(folder_unfinished(&folder), 0);
    /* Its writer learns of it, and nothing comes of it. */
    struct ps_blob_name name;
    assert_int_equal(ps_blob_append(file, "x", 1), 0);
    assert_int_equal(ps_blob_commit(file, &name, NULL), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(folder_blobs(&folder), 0);
}

static void memory_that_is_short(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 2; i++) {
        (void)ps_mem_fail_after(i);
        assert_null(ps_blobs_new(&(struct ps_blobs_options){.folder = folder.blobs}));
    }
    (void)ps_mem_fail_after(0);
    assert_null(ps_blob_create(blobs));
    assert_int_equal(errno, ENOMEM);
    (void)ps_mem_fail_after(-1);
    (void)put("x", 1);
    ps_blobs_free(NULL);
}

#define BLOB_TEST(name) cmocka_unit_test_setup_teardown(name, open_blobs, close_blobs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOB_TEST(what_is_written_is_read),
        BLOB_TEST(the_folder_comes_with_the_first_blob),
        BLOB_TEST(an_abort_leaves_nothing),
        BLOB_TEST(leftovers_go_at_the_start),
        BLOB_TEST(names_of_others_are_refused),
        BLOB_TEST(removed_while_it_is_read),
        BLOB_TEST(the_reserve_is_left_alone),
        BLOB_TEST(a_failed_write_is_final),
        BLOB_TEST(a_commit_that_fails_leaves_nothing),
        BLOB_TEST(a_folder_that_cannot_be),
        BLOB_TEST(relative_folders_and_doubled_slashes),
        BLOB_TEST(the_walk_finds_what_is_old),
        BLOB_TEST(the_walk_removes_old_unfinished_files),
        BLOB_TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
