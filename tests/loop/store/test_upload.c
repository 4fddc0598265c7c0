/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "blob_priv.h"
#include "net/bench.h"
#include "store/folder.h"
#include "testing.h"

#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB          ((size_t)1 << 20)

static struct folder folder;
static struct ps_blobs *blobs;
static struct bench bench;
static struct ps_mailbox mailbox;
static bool mailbox_open;

/* One upload of a pattern that begins at `seed`, and what is told of it. */
struct sender {
    struct ps_upload *upload; /* NULL: over */
    size_t seed;
    size_t len;
    size_t sent;
    unsigned fulls; /* it had to stop */
    unsigned rooms;
    unsigned ends;
    bool cancelled;
    bool cancel_in_room;
    int error;
    struct ps_blob_name name;
    uint64_t length;
    uint8_t sha256[PS_SHA256_SIZE];
};

static void cancel(struct sender *sender)
{
    ps_upload_cancel(sender->upload);
    sender->upload = NULL;
    sender->cancelled = true;
}

/* Sends until it is full or all is sent; then it is finished. */
static void send_all(struct sender *sender)
{
    static char piece[70000];
    while (sender->sent < sender->len && !ps_upload_full(sender->upload)) {
        size_t part = 1 + (sender->sent * 7 + sender->seed) % sizeof piece;
        if (part > sender->len - sender->sent) {
            part = sender->len - sender->sent;
        }
        fill_pattern(piece, part, sender->seed + sender->sent);
        assert_int_equal(ps_upload_write(sender->upload, piece, part), 0);
        sender->sent += part;
    }
    if (sender->sent == sender->len) {
        ps_upload_finish(sender->upload);
    } else {
        sender->fulls++;
    }
}

static void on_room(void *arg)
{
    struct sender *sender = arg;
    assert_false(sender->cancelled);
    assert_int_equal(sender->ends, 0);
    assert_false(ps_upload_full(sender->upload));
    sender->rooms++;
    if (sender->cancel_in_room) {
        cancel(sender);
    } else {
        send_all(sender);
    }
}

static void on_end(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                   const unsigned char *sha256)
{
    struct sender *sender = arg;
    assert_false(sender->cancelled);
    assert_int_equal(sender->ends, 0);
    sender->ends++;
    sender->error = error;
    sender->name = *name;
    sender->length = length;
    memcpy(sender->sha256, sha256, sizeof sender->sha256);
    /* Legal to the last, and without effect by now. */
    ps_upload_cancel(sender->upload);
    sender->upload = NULL;
}

static const struct ps_upload_ops ops = {on_room, on_end};

static void start(struct sender *sender, size_t seed, size_t len)
{
    *sender = (struct sender){.seed = seed, .len = len};
    sender->upload = ps_upload_new(blobs, &mailbox, &ops, sender);
    assert_non_null(sender->upload);
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

static int close_all(void **state)
{
    (void)state;
    close_mailbox();
    ps_blobs_free(blobs);
    bench_deinit(&bench);
    assert_int_equal(folder_unfinished(&folder), 0);
    folder_remove(&folder);
    return 0;
}

static void check_stored(const struct sender *sender)
{
    uint8_t hash[PS_SHA256_SIZE];
    char *back = malloc(sender->len + 1);
    assert_non_null(back);
    assert_int_equal(sender->error, 0);
    assert_int_equal(sender->length, sender->len);
    assert_int_equal(ps_blob_read(blobs, &sender->name, 0, back, sender->len), 0);
    assert_true(is_pattern(back, sender->len, sender->seed));
    ps_sha256(back, sender->len, hash);
    assert_memory_equal(hash, sender->sha256, sizeof hash);
    free(back);
}

static void bytes_arrive_in_order(void **state)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 1048576, 9 * 1048576 + 11};
    struct sender sender;
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        start(&sender, i, sizes[i]);
        send_all(&sender);
        WAIT_FOR(&bench, (void)0, sender.ends == 1);
        check_stored(&sender);
        assert_int_equal(sender.rooms, sender.fulls);
    }
    assert_int_equal(folder_blobs(&folder), COUNT(sizes));
}

/* A MiB waits and no more, however fast the sender; and all of it is charged. */
static void memory_is_bounded(void **state)
{
    static const char bytes[60000];
    struct sender sender;
    (void)state;
    start(&sender, 0, 16 * MIB);
    while (!ps_upload_full(sender.upload)) {
        assert_int_equal(ps_upload_write(sender.upload, bytes, sizeof bytes), 0);
        /* The last write goes beyond, and the last pieces are not full. */
        assert_true(atomic_load(&bench.budget.used) < MIB + MIB / 4);
    }
    cancel(&sender);
    assert_int_equal(atomic_load(&bench.budget.used), 0);
}

static void many_at_once(void **state)
{
    enum {
        SENDERS = 100
    };
    static struct sender senders[SENDERS];
    unsigned done = 0;
    (void)state;
    for (size_t i = 0; i < SENDERS; i++) {
        start(&senders[i], i * 1000, i % 10 == 0 ? 3 * MIB + i : i * 700);
        send_all(&senders[i]);
    }
    while (done < SENDERS) {
        done = 0;
        for (size_t i = 0; i < SENDERS; i++) {
            done += senders[i].ends;
        }
        bench_turn(&bench);
    }
    for (size_t i = 0; i < SENDERS; i++) {
        check_stored(&senders[i]);
    }
    assert_int_equal(folder_blobs(&folder), SENDERS);
}

/* A client that stopped sending holds no thread: others go by. */
static void slow_ones_hold_nobody_up(void **state)
{
    struct sender slow[20];
    struct sender quick;
    (void)state;
    for (size_t i = 0; i < COUNT(slow); i++) {
        start(&slow[i], i, MIB);
        assert_int_equal(ps_upload_write(slow[i].upload, "begun", 5), 0);
    }
    start(&quick, 7, 2 * MIB);
    send_all(&quick);
    WAIT_FOR(&bench, (void)0, quick.ends == 1);
    check_stored(&quick);
    for (size_t i = 0; i < COUNT(slow); i++) {
        assert_int_equal(slow[i].ends, 0);
        cancel(&slow[i]);
    }
}

/*
 * Cancelled after every number of turns, at every length: either it was told and is stored, or
 * nothing was told and nothing is left, whatever the thread was doing.
 */
static void cancelled_at_every_moment(void **state)
{
    enum {
        LAST = 59
    };
    static const size_t sizes[] = {0, 10, 200000, MIB + 7};
    unsigned stored = 0;
    unsigned cancelled = 0;
    (void)state;
    bench.busy = true;
    for (unsigned turns = 0; turns <= LAST; turns++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct sender sender;
            start(&sender, turns, sizes[i]);
            if (turns > 0) {
                send_all(&sender);
            }
            for (unsigned turn = 0; turn < turns * turns / 4 && sender.ends == 0; turn++) {
                bench_turn(&bench);
            }
            if (turns == LAST) {
                WAIT_FOR(&bench, (void)0, sender.ends == 1);
            }
            if (sender.upload != NULL) {
                cancel(&sender);
                cancelled++;
                for (unsigned turn = 0; turn < turns; turn++) {
                    bench_turn(&bench); /* the sender stands on the stack: a late callback shows */
                }
            } else {
                check_stored(&sender);
                stored++;
            }
        }
    }
    close_mailbox();
    ps_blobs_free(blobs);
    blobs = NULL;
    assert_true(cancelled > 0 && stored >= COUNT(sizes));
    assert_int_equal(folder_unfinished(&folder), 0);
    assert_int_equal(folder_blobs(&folder), stored);
}

/* Committed, and the loop is about to be told: the cancel comes before. */
static void cancelled_between_commit_and_telling(void **state)
{
    struct sender sender;
    (void)state;
    start(&sender, 0, 10);
    send_all(&sender);
    while (folder_blobs(&folder) == 0) {
        (void)usleep(100); /* the loop does not turn */
    }
    cancel(&sender);
    WAIT_FOR(&bench, (void)0, folder_blobs(&folder) == 0);
}

static void cancelled_within_on_room(void **state)
{
    struct sender sender;
    (void)state;
    start(&sender, 0, 8 * MIB);
    sender.cancel_in_room = true;
    send_all(&sender);
    WAIT_FOR(&bench, (void)0, sender.cancelled);
    WAIT_FOR(&bench, (void)0, folder_unfinished(&folder) == 0);
    assert_int_equal(folder_blobs(&folder), 0);
}

/* The loop and its mailbox are gone long before the threads have cleared away. */
static void the_loop_goes_first(void **state)
{
    struct sender senders[30];
    (void)state;
    for (size_t i = 0; i < COUNT(senders); i++) {
        start(&senders[i], i, i * MIB / 8);
        send_all(&senders[i]);
    }
    bench_turn(&bench);
    unsigned stored = 0;
    for (size_t i = 0; i < COUNT(senders); i++) {
        if (senders[i].upload != NULL) {
            cancel(&senders[i]);
        } else {
            stored++;
        }
    }
    close_mailbox();
    ps_blobs_free(blobs);
    blobs = NULL;
    assert_int_equal(folder_unfinished(&folder), 0);
    assert_int_equal(folder_blobs(&folder), stored);
}

/* The disk refuses in the middle: told at once, before the sender has finished; nothing is left. */
static void a_disk_that_fails(void **state)
{
    struct rlimit before;
    struct sender sender;
    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {300000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static const char bytes[400000];
    start(&sender, 0, MIB);
    assert_int_equal(ps_upload_write(sender.upload, bytes, sizeof bytes), 0);
    WAIT_FOR(&bench, (void)0, sender.ends == 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(sender.error, EFBIG);
    assert_string_equal(sender.name.text, "");
    assert_int_equal(folder_unfinished(&folder), 0);
    assert_int_equal(folder_blobs(&folder), 0);
}

/* It fails while the loop does not look: writing on and finishing are legal until it is told. */
static void written_after_the_failure(void **state)
{
    struct sender sender;
    char path[128];
    char bytes[100000] = {0};
    (void)state;
    (void)snprintf(path, sizeof path, "%s/data", folder.path);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && close(fd) == 0);
    start(&sender, 0, sizeof bytes);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(ps_upload_write(sender.upload, bytes, sizeof bytes), 0);
        (void)usleep(100);
        if (atomic_load(&bench.budget.used) == 0) {
            break; /* it was dropped: the failure is known */
        }
    }
    assert_int_equal(ps_upload_write(sender.upload, bytes, sizeof bytes), 0);
    ps_upload_finish(sender.upload);
    WAIT_FOR(&bench, (void)0, sender.ends == 1);
    assert_int_equal(sender.error, ENOTDIR);
}

static void memory_that_is_short(void **state)
{
    struct sender sender;
    char byte = 0;
    (void)state;
    start(&sender, 0, 1); /* the threads run by now */
    cancel(&sender);
    (void)ps_mem_fail_after(0);
    assert_null(ps_upload_new(blobs, &mailbox, &ops, &sender));
    (void)ps_mem_fail_after(-1);
    start(&sender, 0, 1);
    (void)ps_mem_fail_after(0);
    assert_int_equal(ps_upload_write(sender.upload, &byte, 1), -1);
    (void)ps_mem_fail_after(-1);
    cancel(&sender);
    start(&sender, 0, 1);
    size_t limit = atomic_exchange(&bench.budget.limit, 1000);
    assert_int_equal(ps_upload_write(sender.upload, &byte, 1), -1);
    atomic_store(&bench.budget.limit, limit);
    assert_int_equal(atomic_load(&bench.budget.used), 0);
    cancel(&sender);
}

#define UPLOAD_TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UPLOAD_TEST(bytes_arrive_in_order),
        UPLOAD_TEST(memory_is_bounded),
        UPLOAD_TEST(many_at_once),
        UPLOAD_TEST(slow_ones_hold_nobody_up),
        UPLOAD_TEST(cancelled_at_every_moment),
        UPLOAD_TEST(cancelled_between_commit_and_telling),
        UPLOAD_TEST(cancelled_within_on_room),
        UPLOAD_TEST(the_loop_goes_first),
        UPLOAD_TEST(a_disk_that_fails),
        UPLOAD_TEST(written_after_the_failure),
        UPLOAD_TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
