/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "blob_priv.h"
#include "net/bench.h"
#include "store/folder.h"
#include "testing.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KIB          ((size_t)1 << 10)

static struct folder folder;
static struct ps_blobs *blobs;
static struct bench bench;
static struct ps_mailbox mailbox;
static bool mailbox_open;

struct reader {
    struct ps_download *download; /* NULL: over */
    uint64_t offset;
    size_t got;
    unsigned pieces;
    unsigned ends;
    int error;
    bool paused;
    bool cancelled;
    bool inside;
    bool pause_each;    /* pauses in every on_data */
    unsigned cancel_at; /* cancels in that on_data; 0: never */
};

static void pause_it(struct reader *reader)
{
    reader->paused = true;
    ps_download_pause(reader->download);
}

static void resume(struct reader *reader)
{
    reader->paused = false;
    reader->inside = true; /* nothing is told from within */
    ps_download_resume(reader->download);
    reader->inside = false;
}

static void cancel(struct reader *reader)
{
    ps_download_cancel(reader->download);
    reader->download = NULL;
    reader->cancelled = true;
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct reader *reader = arg;
    assert_false(reader->paused || reader->cancelled || reader->inside);
    assert_int_equal(reader->ends, 0);
    assert_in_range(len, 1, 256 * KIB);
    assert_true(is_pattern(ptr, len, (size_t)reader->offset + reader->got));
    reader->got += len;
    reader->pieces++;
    if (reader->pieces == reader->cancel_at) {
        cancel(reader);
        assert_true(is_pattern(ptr, len, (size_t)reader->offset + reader->got - len));
    } else if (reader->pause_each) {
        pause_it(reader);
    }
}

static void on_end(void *arg, int error)
{
    struct reader *reader = arg;
    assert_false(reader->paused || reader->cancelled || reader->inside);
    assert_int_equal(reader->ends, 0);
    reader->ends++;
    reader->error = error;
    /* Legal to the last, and without effect by now. */
    ps_download_pause(reader->download);
    ps_download_resume(reader->download);
    ps_download_cancel(reader->download);
    reader->download = NULL;
}

static const struct ps_download_ops ops = {on_data, on_end};

static void start(struct reader *reader, const struct ps_blob_name *name, uint64_t offset,
                  uint64_t length)
{
    *reader = (struct reader){.offset = offset};
    reader->download = ps_download_new(blobs, &mailbox, name, offset, length, &ops, reader);
    assert_non_null(reader->download);
}

static int open_all(void **state)
{
    (void)state;
    folder_make(&folder);
    blobs = folder_open(&folder);
    bench_init(&bench);
    mailbox_open = true;
    return ps_mailbox_init(&mailbox, &bench.loop);
}

static void on_mailbox_closed(struct ps_mailbox *closed)
{
    (void)closed;
    mailbox_open = false;
}

/* The mailbox goes first, as it does when a loop ends: what was cancelled is cleared away all the
 * same. (The loop's descriptors stay, since ThreadSanitizer does not see libuv close them, and
 * takes the next file with the same number for the same.) */
static void close_mailbox(void)
{
    if (mailbox_open) {
        ps_mailbox_close(&mailbox, on_mailbox_closed);
        WAIT_FOR(&bench, (void)0, !mailbox_open);
        assert_int_equal(atomic_load(&bench.budget.used), 0);
    }
}

/* Descriptors of blobs that this process holds. */
static unsigned open_files(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[64];
        char target[256] = {0};
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) > 0 &&
            strncmp(target, folder.blobs, strlen(folder.blobs)) == 0) {
            count += strcmp(target + strlen(folder.blobs), "/tmp") != 0;
        }
    }
    return count;
}

static int close_all(void **state)
{
    (void)state;
    close_mailbox();
    ps_blobs_free(blobs);
    bench_deinit(&bench);
    assert_int_equal(open_files(), 0);
    folder_remove(&folder);
    return 0;
}

static struct ps_blob_name put(size_t len)
{
    struct ps_blob_name name;
    char *bytes = malloc(len + 1);
    struct ps_blob_file *file = ps_blob_create(blobs);
    assert_true(bytes != NULL && file != NULL);
    fill_pattern(bytes, len, 0);
    assert_int_equal(ps_blob_append(file, bytes, len), 0);
    assert_int_equal(ps_blob_commit(file, &name, NULL), 0);
    free(bytes);
    return name;
}

static void a_part_of_every_kind(void **state)
{
    enum {
        LEN = 1100 << 10
    };
    static const struct {
        size_t offset;
        size_t length;
        int error;
    } rows[] = {
        {0, LEN, 0},
        {0, 0, 0},
        {LEN, 0, 0},
        {7, 1, 0},
        {LEN - 1, 1, 0},
        {3, 256 << 10, 0},
        {5, (256 << 10) + 1, 0},
        {1000, 512 << 10, 0},
        {0, LEN + 1, EIO},
        {LEN, 1, EIO},
        {LEN + 1, 1, EIO},
    };
    (void)state;
    struct ps_blob_name name = put(LEN);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct reader reader;
        start(&reader, &name, rows[i].offset, rows[i].length);
        WAIT_FOR(&bench, (void)0, reader.ends == 1);
        assert_int_equal(reader.error, rows[i].error);
        if (rows[i].error == 0) {
            assert_int_equal(reader.got, rows[i].length);
        }
        assert_int_equal(atomic_load(&bench.budget.used), 0);
    }
}

static void what_is_not_there(void **state)
{
    static const struct {
        const char *name;
        int error;
    } rows[] = {
        {"00112233445566778899aabbccddeeff", ENOENT},
        {"../../../../../../etc/passwd", EINVAL},
        {"", EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        struct reader reader;
        struct ps_blob_name name = {""};
        (void)snprintf(name.text, sizeof name.text, "%s", rows[i / 2].name);
        start(&reader, &name, 0, i % 2 == 0 ? 0 : 10);
        WAIT_FOR(&bench, (void)0, reader.ends == 1);
        assert_int_equal(reader.error, rows[i / 2].error);
        assert_int_equal(reader.pieces, 0);
    }
}

/* It reads one piece, rests, reads the next: in between nothing comes, and little is kept. */
static void a_slow_reader(void **state)
{
    struct reader reader;
    (void)state;
    struct ps_blob_name name = put(3000 * KIB);
    start(&reader, &name, 0, 3000 * KIB);
    reader.pause_each = true;
    for (unsigned i = 1; reader.ends == 0; i++) {
        WAIT_FOR(&bench, (void)0, reader.paused || reader.ends == 1);
        for (unsigned turn = 0; turn < 20; turn++) {
            bench_turn(&bench); /* the callbacks check that it is not told while paused */
        }
        assert_true(atomic_load(&bench.budget.used) <= 512 * KIB);
        if (reader.paused) {
            assert_int_equal(reader.pieces, i);
            resume(&reader);
            resume(&reader);
        }
    }
    assert_int_equal(reader.error, 0);
    assert_int_equal(reader.got, 3000 * KIB);
}

/* Paused before the first byte, and at the end: on_end waits too. */
static void nothing_comes_while_paused(void **state)
{
    struct reader reader;
    (void)state;
    struct ps_blob_name name = put(100);
    start(&reader, &name, 0, 0);
    pause_it(&reader);
    for (unsigned turn = 0; turn < 50; turn++) {
        bench_turn(&bench);
    }
    assert_int_equal(reader.ends, 0);
    resume(&reader);
    pause_it(&reader);
    bench_turn(&bench);
    resume(&reader);
    WAIT_FOR(&bench, (void)0, reader.ends == 1);
    assert_int_equal(reader.error, 0);
}

/* A file that is open stays readable; one that is not is not found. */
static void removed_meanwhile(void **state)
{
    struct reader reader;
    struct reader late;
    (void)state;
    struct ps_blob_name name = put(2000 * KIB);
    start(&reader, &name, 0, 2000 * KIB);
    reader.pause_each = true;
    WAIT_FOR(&bench, (void)0, reader.paused);
    assert_int_equal(open_files(), 1);
    ps_blob_remove(blobs, &name);
    start(&late, &name, 0, 2000 * KIB);
    WAIT_FOR(&bench, (void)0, late.ends == 1);
    assert_int_equal(late.error, ENOENT);
    reader.pause_each = false;
    resume(&reader);
    WAIT_FOR(&bench, (void)0, reader.ends == 1);
    assert_int_equal(reader.error, 0);
    assert_int_equal(reader.got, 2000 * KIB);
}

/* Cut short behind our back: what could be read comes, then the error. */
static void cut_short_meanwhile(void **state)
{
    struct reader reader;
    char path[256];
    (void)state;
    struct ps_blob_name name = put(2000 * KIB);
    start(&reader, &name, 0, 2000 * KIB);
    reader.pause_each = true;
    WAIT_FOR(&bench, (void)0, reader.paused);
    folder_path(&folder, &name, path, sizeof path);
    assert_int_equal(truncate(path, 1500 * 1024), 0);
    reader.pause_each = false;
    resume(&reader);
    WAIT_FOR(&bench, (void)0, reader.ends == 1);
    assert_int_equal(reader.error, EIO);
    assert_in_range(reader.got, 256 * KIB, 1500 * KIB);
}

static void many_at_once(void **state)
{
    enum {
        READERS = 100
    };
    static struct reader readers[READERS];
    unsigned done = 0;
    (void)state;
    struct ps_blob_name name = put(1500 * KIB);
    for (size_t i = 0; i < READERS; i++) {
        start(&readers[i], &name, i * 100, 1000 * KIB + i);
        readers[i].pause_each = i % 3 == 0;
    }
    while (done < READERS) {
        done = 0;
        for (size_t i = 0; i < READERS; i++) {
            done += readers[i].ends;
            if (readers[i].paused) {
                resume(&readers[i]);
            }
        }
        bench_turn(&bench);
    }
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].error, 0);
        assert_int_equal(readers[i].got, 1000 * KIB + i);
    }
}

/* Readers that stand still hold no thread: others go by. */
static void stalled_ones_hold_nobody_up(void **state)
{
    struct reader stalled[20];
    struct reader quick;
    (void)state;
    struct ps_blob_name name = put(1500 * KIB);
    for (size_t i = 0; i < COUNT(stalled); i++) {
        start(&stalled[i], &name, 0, 1500 * KIB);
        pause_it(&stalled[i]);
    }
    start(&quick, &name, 0, 1500 * KIB);
    WAIT_FOR(&bench, (void)0, quick.ends == 1);
    assert_int_equal(quick.error, 0);
    for (size_t i = 0; i < COUNT(stalled); i++) {
        cancel(&stalled[i]);
    }
}

static void cancelled_at_every_moment(void **state)
{
    enum {
        LAST = 99
    };
    static const size_t sizes[] = {0, 10, 300000, 1500 << 10};
    unsigned cancelled = 0;
    unsigned ended = 0;
    (void)state;
    struct ps_blob_name name = put(1500 * KIB);
    bench.busy = true;
    for (unsigned turns = 0; turns <= LAST; turns++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct reader reader;
            start(&reader, &name, 0, sizes[i]);
            for (unsigned turn = 0; turn < turns * turns / 8 && reader.ends == 0; turn++) {
                bench_turn(&bench);
                if (turns % 2 == 1 && reader.ends == 0) {
                    pause_it(&reader);
                    resume(&reader);
                }
            }
            if (turns == LAST) {
                WAIT_FOR(&bench, (void)0, reader.ends == 1);
            }
            if (reader.download != NULL) {
                cancel(&reader);
                cancelled++;
                for (unsigned turn = 0; turn < turns; turn++) {
                    bench_turn(&bench); /* the reader stands on the stack: a late callback shows */
                }
            } else {
                assert_int_equal(reader.error, 0);
                assert_int_equal(reader.got, sizes[i]);
                ended++;
            }
        }
    }
    assert_true(cancelled > 0 && ended >= COUNT(sizes));
}

static void cancelled_within_on_data(void **state)
{
    (void)state;
    struct ps_blob_name name = put(1500 * KIB);
    for (unsigned at = 1; at <= 6; at++) {
        for (unsigned pause = 0; pause < 2; pause++) {
            struct reader reader;
            start(&reader, &name, 0, 1500 * KIB);
            reader.cancel_at = at;
            reader.pause_each = pause == 1;
            WAIT_FOR(&bench, reader.paused ? resume(&reader) : (void)0, reader.cancelled);
            assert_int_equal(reader.pieces, at);
            assert_int_equal(atomic_load(&bench.budget.used), 0);
        }
    }
}

/* The loop and its mailbox are gone before the threads have cleared away. */
static void the_loop_goes_first(void **state)
{
    struct reader readers[30];
    (void)state;
    struct ps_blob_name name = put(1500 * KIB);
    for (size_t i = 0; i < COUNT(readers); i++) {
        start(&readers[i], &name, 0, i * 50 * KIB);
    }
    bench_turn(&bench);
    for (size_t i = 0; i < COUNT(readers); i++) {
        if (readers[i].download != NULL) {
            cancel(&readers[i]);
        }
    }
    close_mailbox();
}

static void memory_that_is_short(void **state)
{
    struct reader reader;
    (void)state;
    struct ps_blob_name name = put(1500 * KIB);
    start(&reader, &name, 0, 1500 * KIB); /* the threads run by now */
    cancel(&reader);
    for (int64_t i = 0; i < 3; i++) {
        (void)ps_mem_fail_after(i);
        assert_null(ps_download_new(blobs, &mailbox, &name, 0, 1500 * KIB, &ops, &reader));
    }
    (void)ps_mem_fail_after(-1);
    size_t limit = atomic_exchange(&bench.budget.limit, 300 * KIB);
    assert_null(ps_download_new(blobs, &mailbox, &name, 0, 1500 * KIB, &ops, &reader));
    start(&reader, &name, 0, 299 * KIB);
    atomic_store(&bench.budget.limit, limit);
    WAIT_FOR(&bench, (void)0, reader.ends == 1);
    assert_int_equal(reader.error, 0);
}

#define DOWNLOAD_TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOWNLOAD_TEST(a_part_of_every_kind),
        DOWNLOAD_TEST(what_is_not_there),
        DOWNLOAD_TEST(a_slow_reader),
        DOWNLOAD_TEST(nothing_comes_while_paused),
        DOWNLOAD_TEST(removed_meanwhile),
        DOWNLOAD_TEST(cut_short_meanwhile),
        DOWNLOAD_TEST(many_at_once),
        DOWNLOAD_TEST(stalled_ones_hold_nobody_up),
        DOWNLOAD_TEST(cancelled_at_every_moment),
        DOWNLOAD_TEST(cancelled_within_on_data),
        DOWNLOAD_TEST(the_loop_goes_first),
        DOWNLOAD_TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
