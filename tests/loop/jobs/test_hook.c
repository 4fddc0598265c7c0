/* SPDX-License-Identifier: Apache-2.0 */
#include "hook_priv.h"
#include "testing.h"
#include "upstream/fake_http.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The sender of webhooks between a store and a receiver that do as they are told. The store of this
 * file stands in for the room's: the sender knows only its commands.
 */

#define SECRET "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
#define MOST   128

/* ---- a store that holds webhooks and nothing else ---- */

struct row {
    struct ps_id id;
    char url[256];
    const char *payload;
    unsigned attempt;
    uint64_t fence; /* 0: not taken */
    bool over;
    int64_t run_at_ms; /* of the last settlement that was no end */
    unsigned settled;
};

struct ps_store {
    struct row rows[MOST];
    size_t count;
    size_t taken; /* at this moment */
    size_t most_taken;
    unsigned takes;
    uint64_t last_fence;
    enum ps_store_status fail; /* the next command ends so */
    bool exists;
};

static void deliver_command(struct ps_message *message)
{
    struct ps_store_command *command = PS_CONTAINER_OF(message, struct ps_store_command, message);
    command->done(command);
}

static void run_take(struct ps_store *store, struct ps_store_command *command)
{
    struct ps_store_hook *hooks =
        ps_arena_calloc(&command->arena, MOST * sizeof(struct ps_store_hook));
    size_t count = 0;

    store->takes++;
    for (size_t i = 0; hooks != NULL && i < store->count && count < command->in.limit; i++) {
        struct row *row = &store->rows[i];
        if (row->over || row->fence != 0) {
            continue;
        }
        row->fence = ++store->last_fence;
        row->attempt++;
        store->taken++;
        hooks[count++] = (struct ps_store_hook){
            .id = row->id,
            .fence = row->fence,
            .attempt = row->attempt,
            .url = ps_slice_cstr(row->url),
            .type = PS_SLICE_LIT("job.completed"),
            .payload = ps_slice_cstr(row->payload),
            .created_ms = 1790000000000,
        };
    }
    store->most_taken = store->taken > store->most_taken ? store->taken : store->most_taken;
    command->out.hooks = hooks;
    command->out.hook_count = count;
    command->out.more = count == command->in.limit;
}

static void run_settle(struct ps_store *store, struct ps_store_command *command)
{
    for (size_t i = 0; i < store->count; i++) {
        struct row *row = &store->rows[i];
        if (row->fence == command->in.ref.fence &&
            strcmp(row->id.text, command->in.ref.id.text) == 0) {
            row->settled++;
            row->run_at_ms = command->in.run_at_ms;
            row->over = command->in.run_at_ms == 0;
            row->fence = 0;
            store->taken--;
            return;
        }
    }
    command->status = PS_STORE_STALE;
}

struct ps_store_command *ps_store_command_new(enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_calloc(1, sizeof(*command));
    if (command != NULL) {
        command->verb = verb;
        ps_arena_init(&command->arena, 1u << 20);
    }
    return command;
}

void ps_store_command_free(struct ps_store_command *command)
{
    if (command != NULL) {
        ps_arena_deinit(&command->arena);
        ps_free(command);
    }
}

struct ps_slice ps_store_command_copy(struct ps_store_command *command, struct ps_slice text)
{
    return ps_arena_copy(&command->arena, text);
}

void ps_store_submit(struct ps_store *store, struct ps_store_command *command,
                     struct ps_mailbox *mailbox, void (*done)(struct ps_store_command *command))
{
    command->done = done;
    command->status = store->fail;
    store->fail = PS_STORE_OK;
    if (command->status == PS_STORE_OK && command->verb == PS_STORE_HOOK_TAKE) {
        run_take(store, command);
    } else if (command->status == PS_STORE_OK) {
        assert_int_equal(command->verb, PS_STORE_HOOK_SETTLE);
        run_settle(store, command);
    }
    command->message.deliver = deliver_command;
    ps_list_init(&command->message.link);
    assert_true(ps_mailbox_post(mailbox, &command->message));
}

void ps_store_stats(const struct ps_store *store, struct ps_store_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->commands = store->takes;
}

bool ps_store_exists(const struct ps_store *store)
{
    return store->exists;
}

/* ---- the receiver ---- */

static char answer_text[1024];
static struct fake_step answer[8];

static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? answer : NULL;
}

static void answer_with(int status, const char *headers, size_t body)
{
    (void)snprintf(answer_text, sizeof(answer_text),
                   "HTTP/1.1 %d X\r\n%scontent-length: %zu\r\n\r\n", status, headers, body);
    answer[0] = (struct fake_step){FAKE_SEND, answer_text, 0};
    answer[1] = (struct fake_step){body > 0 ? FAKE_PATTERN : FAKE_END, NULL, body};
    answer[2] = (struct fake_step){FAKE_END, NULL, 0};
}

/* ---- the world ---- */

struct world {
    struct ps_budget budget;
    struct ps_loop loop;
    struct ps_mailbox mailbox;
    struct ps_pool *pool;
    struct ps_config config;
    struct ps_snapshot snapshot;
    struct ps_gateway_loop gl;
    struct ps_metrics *metrics;
    struct ps_store store;
    struct ps_hooks *hooks;
    struct fake_http *server;
    uv_timer_t tick;
    bool stopped;
};

static void on_tick(uv_timer_t *tick)
{
    (void)tick;
}

static void on_stopped(void *arg)
{
    struct world *w = arg;
    assert_false(w->stopped);
    w->stopped = true;
}

#define UNTIL(w, condition)                                                                        \
    do {                                                                                           \
        int64_t deadline_ = ps_clock_us() + 30000000;                                              \
        while (!(condition)) {                                                                     \
            if (ps_clock_us() > deadline_) {                                                       \
                fail_msg("%s:%d: timed out: %s", __FILE__, __LINE__, #condition);                  \
            }                                                                                      \
            (void)ps_loop_turn(&(w)->loop, true);                                                  \
        }                                                                                          \
    } while (0)

static void world_open(struct world *w)
{
    memset(w, 0, sizeof(*w));
    atomic_init(&w->budget.limit, SIZE_MAX);
    assert_int_equal(ps_loop_init(&w->loop, 0, &w->budget), 0);
    assert_int_equal(ps_mailbox_init(&w->mailbox, &w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop.uv, &w->tick), 0);
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 2, 2), 0);
    w->pool = ps_pool_new(1, 4);
    assert_non_null(w->pool);
    w->config.webhook_secret.value = SECRET;
    w->config.webhook_private = true;
    w->snapshot.config = &w->config;
    w->gl.loop = &w->loop;
    w->gl.snapshot = &w->snapshot;
    w->metrics = ps_metrics_new();
    assert_non_null(w->metrics);
    w->gl.shard = ps_metrics_shard_new(w->metrics);
    assert_non_null(w->gl.shard);
    w->hooks = ps_hooks_new(&w->store, w->pool);
    assert_non_null(w->hooks);
    answer_with(200, "", 2);
    w->server = fake_http_start(script, NULL);
    assert_int_equal(ps_hooks_start(w->hooks, &w->gl, &w->mailbox), 0);
}

static void world_close(struct world *w)
{
    if (!w->stopped) {
        ps_hooks_stop(w->hooks, on_stopped, w);
        UNTIL(w, w->stopped);
    }
    ps_hooks_free(w->hooks);
    ps_pool_free(w->pool);
    ps_mailbox_close(&w->mailbox, NULL);
    uv_close((uv_handle_t *)&w->tick, NULL);
    ps_loop_deinit(&w->loop);
    ps_metrics_free(w->metrics);
    fake_http_stop(w->server);
}

static struct row *add_url(struct world *w, const char *format, int port)
{
    struct row *row = &w->store.rows[w->store.count];

    assert_true(w->store.count < MOST);
    memset(row, 0, sizeof(*row));
    (void)snprintf(row->id.text, sizeof(row->id.text), "job_%zu", w->store.count);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(row->url, sizeof(row->url), format, port);
#pragma GCC diagnostic pop
    row->payload = "{\"hello\":\"world\"}";
    w->store.count++;
    return row;
}

static struct row *add(struct world *w)
{
    return add_url(w, "http://127.0.0.1:%d/hook?a=b", fake_http_port(w->server));
}

/* How long after now it is to be tried again, in s. */
static int64_t wait_of(const struct row *row)
{
    return (row->run_at_ms - ps_clock_wall_ms() + 500) / 1000;
}

static void header_of(const char *head, const char *name, char *ret, size_t size)
{
    const char *at = strcasestr(head, name);

    assert_non_null(at);
    at += strlen(name);
    (void)snprintf(ret, size, "%.*s", (int)strcspn(at, "\r"), at);
}

/* ---- tests ---- */

static void delivered_and_signed(void **state)
{
    struct world w;
    char head[4096];
    char stamp[32];
    char said[128];
    char signature[PS_HOOK_SIGNATURE];

    (void)state;
    world_open(&w);
    struct row *row = add(&w);
    for (int i = 0; i < 5; i++) {
        (void)ps_loop_turn(&w.loop, true);
    }
    assert_int_equal(w.store.takes, 0); /* there is no store yet: it is not to be made */
    ps_hooks_wake(w.hooks);
    UNTIL(&w, row->settled == 1);
    assert_true(row->over);
    assert_int_equal(fake_http_requests(w.server), 1);
    assert_int_equal(fake_http_body_hash(w.server),
                     fake_hash(FAKE_HASH_START, row->payload, strlen(row->payload)));
    fake_http_last_head(w.server, head, sizeof(head));
    assert_int_equal(strncmp(head, "POST /hook?a=b HTTP/1.1\r\n", 25), 0);
    assert_non_null(strcasestr(head, "\r\ncontent-type: application/json\r\n"));
    header_of(head, "\r\nwebhook-id: ", said, sizeof(said));
    assert_string_equal(said, row->id.text);
    header_of(head, "\r\nwebhook-timestamp: ", stamp, sizeof(stamp));
    int64_t when = strtoll(stamp, NULL, 10);
    assert_true(llabs(when - ps_clock_wall_ms() / 1000) < 60);
    header_of(head, "\r\nwebhook-signature: ", said, sizeof(said));
    assert_true(ps_hook_sign(SECRET, ps_slice_cstr(row->id.text), when, ps_slice_cstr(row->payload),
                             signature));
    assert_string_equal(said, signature);
    world_close(&w);
}

static void what_the_last_run_left(void **state)
{
    struct world w;

    (void)state;
    memset(&w, 0, sizeof(w));
    world_open(&w);
    struct row *row = add(&w);
    row->payload = ""; /* DUE ended the job */
    w.store.exists = true;
    assert_int_equal(ps_hooks_start(w.hooks, &w.gl, &w.mailbox), 0);
    UNTIL(&w, row->over);
    static const char made[] =
        "{\"type\":\"job.completed\",\"timestamp\":\"2026-09-21T14:13:20.000Z\","
        "\"data\":{\"id\":\"job_0\",\"status\":\"completed\"}}";
    assert_int_equal(fake_http_body_hash(w.server), fake_hash(FAKE_HASH_START, made, strlen(made)));
    world_close(&w);
}

static const struct {
    int status;
    const char *headers;
    unsigned attempt; /* this one is it */
    bool over;
    int64_t least_s; /* until the next, when not over */
    int64_t most_s;
} ends[] = {
    {200, "", 1, true, 0, 0},
    {204, "", 1, true, 0, 0},
    {299, "", 1, true, 0, 0},
    {410, "", 1, true, 0, 0},
    {301, "location: /elsewhere\r\n", 1, false, 4, 6},
    {307, "location: http://127.0.0.1:1/\r\n", 1, false, 4, 6},
    {304, "", 1, false, 4, 6},
    {400, "", 1, false, 4, 6},
    {404, "", 2, false, 270, 330},
    {500, "", 3, false, 1600, 1990},
    {503, "retry-after: 100\r\n", 1, false, 99, 101},
    {429, "retry-after: 1\r\n", 2, false, 270, 330},
    {429, "retry-after: 99999999999999999999999\r\n", 1, false, 86399, 86401},
    {429, "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 1, false, 4, 6},
    {500, "", 9, false, 77000, 95100},
    {500, "", 10, true, 0, 0},
};

static void every_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct world w;
        world_open(&w);
        struct row *row = add(&w);
        answer_with(ends[i].status, ends[i].headers, 0);
        row->attempt = ends[i].attempt - 1;
        ps_hooks_wake(w.hooks);
        UNTIL(&w, row->settled == 1);
        if (row->over != ends[i].over) {
            fail_msg("row %zu", i);
        }
        if (!row->over && (wait_of(row) < ends[i].least_s || wait_of(row) > ends[i].most_s)) {
            fail_msg("row %zu: %lld s", i, (long long)wait_of(row));
        }
        assert_int_equal(fake_http_requests(w.server), 1); /* no redirect is followed */
        world_close(&w);
    }
}

/* One delivery that fails before there is an answer. Returns how many connections came. */
static unsigned fail_once(const char *format, bool private_too, struct row *ret)
{
    struct world w;

    world_open(&w);
    w.config.webhook_private = private_too;
    struct row *row = add_url(&w, format, fake_http_port(w.server));
    ps_hooks_wake(w.hooks);
    UNTIL(&w, row->settled == 1);
    unsigned accepted = fake_http_accepted(w.server);
    *ret = *row;
    world_close(&w);
    return accepted;
}

static void no_answer(void **state)
{
    struct row row;

    (void)state;
    assert_int_equal(fail_once("http://127.0.0.1:1/%d", true, &row), 0);
    assert_false(row.over);
    /* Speaks no TLS; the certificates are read on the way. */
    (void)fail_once("https://127.0.0.1:%d/", true, &row);
    assert_false(row.over);
    /* Whoever wrote that into the store. */
    assert_int_equal(fail_once("gopher://127.0.0.1:%d/", true, &row), 0);
    assert_true(row.over);
}

static void not_to_private_addresses(void **state)
{
    static const char *const urls[] = {
        "http://127.0.0.1:%d/",  "http://localhost:%d/", "http://[::ffff:127.0.0.1]:%d/",
        "http://2130706433:%d/", "http://127.1:%d",
    };
    struct row row;

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        assert_int_equal(fail_once(urls[i], false, &row), 0);
        assert_false(row.over); /* the setting, or the name, may change */
    }
    assert_int_equal(fail_once(urls[0], true, &row), 1);
    assert_true(row.over);
}

static void large_answers_are_not_read(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    struct row *row = add(&w);
    answer_with(200, "", (size_t)1 << 40);
    ps_hooks_wake(w.hooks);
    UNTIL(&w, row->over);
    world_close(&w);
}

static void connections_that_died(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    struct row *first = add(&w);
    ps_hooks_wake(w.hooks);
    UNTIL(&w, first->over);
    /* The next one goes out on the kept connection, which the server resets instead of answering;
     * so does the one after it, on a connection of its own. */
    answer[0] = (struct fake_step){FAKE_RESET, NULL, 0};
    struct row *second = add(&w);
    ps_hooks_wake(w.hooks);
    UNTIL(&w, second->settled == 1);
    assert_false(second->over);
    assert_int_equal(fake_http_requests(w.server), 3);
    assert_int_equal(fake_http_accepted(w.server), 2);
    world_close(&w);
}

static void many_at_once(void **state)
{
    struct world w;
    size_t over;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < MOST; i++) {
        (void)add(&w);
    }
    ps_hooks_wake(w.hooks);
    ps_hooks_wake(w.hooks);
    do {
        (void)ps_loop_turn(&w.loop, true);
        over = 0;
        for (size_t i = 0; i < MOST; i++) {
            over += w.store.rows[i].over;
        }
    } while (over < MOST);
    for (size_t i = 0; i < MOST; i++) {
        assert_int_equal(w.store.rows[i].settled, 1);
    }
    assert_int_equal(w.store.most_taken, 32);
    assert_int_equal(fake_http_requests(w.server), MOST);
    world_close(&w);
}

static void many_hosts(void **state)
{
    struct world w;
    size_t settled;

    (void)state;
    world_open(&w);
    for (int i = 0; i < MOST; i++) {
        (void)add_url(&w, "http://127.0.1.%d:1/", i + 1);
    }
    ps_hooks_wake(w.hooks);
    do {
        (void)ps_loop_turn(&w.loop, true);
        settled = 0;
        for (size_t i = 0; i < MOST; i++) {
            struct row *row = &w.store.rows[i];
            row->over = row->settled > 0; /* not again in this test */
            settled += row->settled;
        }
    } while (settled < MOST);
    world_close(&w);
}

static void a_store_that_fails(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    struct row *row = add(&w);
    w.store.fail = PS_STORE_BROKEN;
    ps_hooks_wake(w.hooks);
    for (int i = 0; i < 5; i++) {
        (void)ps_loop_turn(&w.loop, true);
    }
    assert_int_equal(w.store.takes, 0);
    ps_hooks_wake(w.hooks);
    UNTIL(&w, row->over);
    world_close(&w);
}

static void nobody_to_sign(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    struct row *row = add(&w);
    w.config.webhook_secret.value = NULL;
    ps_hooks_wake(w.hooks);
    for (int i = 0; i < 5; i++) {
        (void)ps_loop_turn(&w.loop, true);
    }
    assert_int_equal(w.store.takes, 0);
    w.config.webhook_secret.value = SECRET; /* a reload */
    ps_hooks_wake(w.hooks);
    UNTIL(&w, row->over);
    world_close(&w);
}

static void stop_waits(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    answer[2] = answer[1];
    answer[1] = answer[0];
    answer[0] = (struct fake_step){FAKE_GATE, NULL, 1};
    struct row *row = add(&w);
    ps_hooks_wake(w.hooks);
    UNTIL(&w, fake_http_requests(w.server) == 1);
    ps_hooks_stop(w.hooks, on_stopped, &w);
    (void)add(&w);
    ps_hooks_wake(w.hooks);
    for (int i = 0; i < 5; i++) {
        (void)ps_loop_turn(&w.loop, true);
    }
    assert_false(w.stopped);
    fake_http_open(w.server, 1);
    UNTIL(&w, w.stopped);
    assert_true(row->over);
    assert_int_equal(w.store.rows[1].attempt, 0);
    world_close(&w);
}

static void abort_does_not(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct world w;
        world_open(&w);
        answer[0] = (struct fake_step){FAKE_GATE, NULL, 1};
        struct row *first = add(&w);
        struct row *second = add_url(&w, "https://127.0.0.1:%d/", fake_http_port(w.server));
        ps_hooks_wake(w.hooks);
        for (int i = 0; i < turns; i++) {
            (void)ps_loop_turn(&w.loop, true);
        }
        ps_hooks_stop(w.hooks, on_stopped, &w);
        ps_hooks_abort(w.hooks);
        UNTIL(&w, w.stopped);
        assert_false(first->over);
        assert_int_equal(w.store.taken, 0); /* whatever was taken has been given back */
        if (first->attempt > 0) {
            assert_true(wait_of(first) <= 0);
        }
        assert_false(second->over);
        fake_http_open(w.server, 1);
        world_close(&w);
    }
}

/* Each allocation fails once, wherever: it arrives in the end. */
static void short_of_memory(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 60; n++) {
        struct world w;
        world_open(&w);
        struct row *row = add(&w);
        (void)ps_mem_fail_after(n);
        ps_hooks_wake(w.hooks);
        for (int i = 0; i < 8; i++) {
            (void)ps_loop_turn(&w.loop, true);
        }
        (void)ps_mem_fail_after(-1);
        int64_t deadline = ps_clock_us() + 30000000;
        while (!row->over && ps_clock_us() < deadline) {
            if (row->fence != 0 && w.store.taken == 1) {
                /* Lost on the way or under way: the lease runs out. */
                for (int i = 0; i < 20 && row->fence != 0; i++) {
                    (void)ps_loop_turn(&w.loop, true);
                }
                w.store.taken -= row->fence != 0;
                row->fence = 0;
            }
            ps_hooks_wake(w.hooks);
            (void)ps_loop_turn(&w.loop, true);
        }
        assert_true(row->over);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivered_and_signed),
        cmocka_unit_test(what_the_last_run_left),
        cmocka_unit_test(every_answer),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(not_to_private_addresses),
        cmocka_unit_test(large_answers_are_not_read),
        cmocka_unit_test(connections_that_died),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(many_hosts),
        cmocka_unit_test(a_store_that_fails),
        cmocka_unit_test(nobody_to_sign),
        cmocka_unit_test(stop_waits),
        cmocka_unit_test(abort_does_not),
        cmocka_unit_test(short_of_memory),
    };
    ps_log_configure(PS_LOG_ERROR, PS_LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
