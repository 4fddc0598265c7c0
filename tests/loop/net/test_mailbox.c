/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "net/bench.h"
#include "testing.h"

#include "penstock/net/mailbox.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS  4
#define MESSAGES 20000

struct letter {
    struct ps_message message;
    unsigned sender;
    unsigned number;
};

struct office {
    struct bench bench;
    struct ps_mailbox mailbox;
    pthread_t thread;       /* the loop's */
    unsigned next[THREADS]; /* number expected of each sender */
    unsigned delivered;
    unsigned closes;
    unsigned close_at; /* closes itself in this delivery; 0: never */
};

static struct office office;

static void on_closed(struct ps_mailbox *mailbox)
{
    assert_ptr_equal(mailbox, &office.mailbox);
    office.closes++;
}

static void deliver(struct ps_message *message)
{
    struct letter *letter = PS_CONTAINER_OF(message, struct letter, message);
    assert_true(pthread_equal(office.thread, pthread_self()));
    assert_int_equal(office.closes, 0);
    assert_int_equal(letter->number, office.next[letter->sender]);
    office.next[letter->sender]++;
    office.delivered++;
    if (office.delivered == office.close_at) {
        ps_mailbox_close(&office.mailbox, on_closed);
        ps_mailbox_close(&office.mailbox, on_closed);
    }
}

static int open_office(void **state)
{
    (void)state;
    office = (struct office){.thread = pthread_self()};
    bench_init(&office.bench);
    return ps_mailbox_init(&office.mailbox, &office.bench.loop);
}

static int close_office(void **state)
{
    (void)state;
    if (office.closes == 0) {
        ps_mailbox_close(&office.mailbox, on_closed);
    }
    bench_deinit(&office.bench);
    assert_int_equal(office.closes, 1);
    return 0;
}

static struct letter *letters;

struct sender {
    unsigned index;
    unsigned posted; /* until it was refused */
};

static void *post_all(void *arg)
{
    struct sender *sender = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct letter *letter = &letters[sender->index * MESSAGES + i];
        letter->sender = sender->index;
        letter->number = i;
        letter->message.deliver = deliver;
        if (!ps_mailbox_post(&office.mailbox, &letter->message)) {
            break;
        }
        sender->posted++;
    }
    return NULL;
}

static void start(pthread_t *threads, struct sender *senders)
{
    letters = calloc((size_t)THREADS * MESSAGES, sizeof(*letters));
    assert_non_null(letters);
    for (unsigned i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){.index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &senders[i]), 0);
    }
}

static void every_message_comes_once_and_in_order(void **state)
{
    pthread_t threads[THREADS];
    struct sender senders[THREADS];
    (void)state;
    start(threads, senders);
    WAIT_FOR(&office.bench, (void)0, office.delivered == THREADS * MESSAGES);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(office.next[i], MESSAGES);
    }
    free(letters);
}

/* Closed in the middle of the rush: what was accepted is delivered, nothing else. */
static void closing_delivers_what_was_accepted(void **state)
{
    pthread_t threads[THREADS];
    struct sender senders[THREADS];
    (void)state;
    office.close_at = 5000;
    start(threads, senders);
    /* on_closed waits for the threads: only then may the lock go. */
    while (office.delivered < office.close_at) {
        bench_turn(&office.bench);
        if (uv_is_closing((uv_handle_t *)&office.mailbox.async)) {
            break;
        }
    }
    unsigned posted = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        posted += senders[i].posted;
    }
    WAIT_FOR(&office.bench, (void)0, office.closes == 1);
    assert_true(office.delivered >= office.close_at);
    assert_int_equal(office.delivered, posted);
    free(letters);
}

static struct letter reply;

static void deliver_and_post(struct ps_message *message)
{
    (void)message;
    reply = (struct letter){.message.deliver = deliver};
    assert_true(ps_mailbox_post(&office.mailbox, &reply.message));
    assert_int_equal(office.delivered, 0);
}

static void a_delivery_may_post(void **state)
{
    struct ps_message first = {.deliver = deliver_and_post};
    (void)state;
    assert_true(ps_mailbox_post(&office.mailbox, &first));
    WAIT_FOR(&office.bench, (void)0, office.delivered == 1);
}

/* An open mailbox keeps its loop running, a closed one lets it end. */
static void an_open_mailbox_keeps_the_loop_alive(void **state)
{
    (void)state;
    assert_true(uv_loop_alive(&office.bench.loop.uv));
    ps_mailbox_close(&office.mailbox, on_closed);
    ps_loop_run(&office.bench.loop);
    assert_int_equal(office.closes, 1);
}

#define OFFICE_TEST(name) cmocka_unit_test_setup_teardown(name, open_office, close_office)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OFFICE_TEST(every_message_comes_once_and_in_order),
        OFFICE_TEST(closing_delivers_what_was_accepted),
        OFFICE_TEST(a_delivery_may_post),
        OFFICE_TEST(an_open_mailbox_keeps_the_loop_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
