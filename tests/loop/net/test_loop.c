/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"
#include "penstock/net/loop.h"

#include <string.h>
#include <unistd.h>

static struct ps_budget budget;
static struct ps_loop loop;

static int set_up(void **state)
{
    (void)state;
    atomic_store(&budget.limit, 1 << 20);
    return ps_loop_init(&loop, 0, &budget);
}

static int tear_down(void **state)
{
    (void)state;
    ps_loop_deinit(&loop);
    return 0;
}

/* What ran, in order, one letter each. */
static char trace[256];
static size_t trace_len;

struct step {
    struct ps_task task;
    char letter;
    struct step *next; /* deferred when this one runs */
    enum ps_phase next_phase;
    unsigned repeat;         /* how often it defers `next` */
    struct ps_task *cancels; /* cancelled when this one runs */
};

static void run_step(struct ps_task *task)
{
    struct step *step = PS_CONTAINER_OF(task, struct step, task);
    trace[trace_len++] = step->letter;
    trace[trace_len] = '\0';
    if (step->cancels != NULL) {
        ps_task_cancel(step->cancels);
    }
    if (step->next != NULL && step->repeat > 0) {
        step->repeat--;
        ps_loop_defer(&loop, &step->next->task, step->next_phase);
    }
}

static void step_init(struct step *step, char letter)
{
    *step = (struct step){.letter = letter};
    ps_task_init(&step->task, run_step);
}

static void clear_trace(void)
{
    trace_len = 0;
    trace[0] = '\0';
}

static void all_work_runs_before_any_flush(void **state)
{
    struct step a, b, c, d;
    (void)state;
    clear_trace();
    step_init(&a, 'a');
    step_init(&b, 'b');
    step_init(&c, 'C');
    step_init(&d, 'd');
    b.next = &d;
    b.next_phase = PS_PHASE_WORK;
    b.repeat = 1;
    ps_loop_defer(&loop, &c.task, PS_PHASE_FLUSH);
    ps_loop_defer(&loop, &a.task, PS_PHASE_WORK);
    ps_loop_defer(&loop, &b.task, PS_PHASE_WORK);
    ps_loop_defer(&loop, &a.task, PS_PHASE_WORK); /* queued once */
    assert_false(ps_loop_turn(&loop, true));
    assert_string_equal(trace, "abdC");
}

static void what_flush_defers_runs_without_sleeping(void **state)
{
    struct step a, b;
    (void)state;
    clear_trace();
    step_init(&a, 'A');
    step_init(&b, 'b');
    a.next = &b;
    a.next_phase = PS_PHASE_WORK;
    a.repeat = 1;
    ps_loop_defer(&loop, &a.task, PS_PHASE_FLUSH);
    /* Nothing but the deferred task could end this sleep. */
    (void)ps_loop_turn(&loop, true);
    while (strcmp(trace, "Ab") != 0) {
        assert_true(ps_loop_turn(&loop, true));
    }
}

static void a_task_that_defers_itself_runs_once_a_pass(void **state)
{
    struct step a, b;
    (void)state;
    clear_trace();
    step_init(&a, 'a');
    step_init(&b, 'B');
    a.next = &a;
    a.next_phase = PS_PHASE_WORK;
    a.repeat = 3;
    ps_loop_defer(&loop, &a.task, PS_PHASE_WORK);
    ps_loop_defer(&loop, &b.task, PS_PHASE_FLUSH);
    while (ps_loop_turn(&loop, true)) {
    }
    assert_string_equal(trace, "aBaaa");
}

static void two_tasks_that_defer_each_other_let_flush_have_its_turn(void **state)
{
    struct step a, b, c;
    (void)state;
    clear_trace();
    step_init(&a, 'a');
    step_init(&b, 'b');
    step_init(&c, 'C');
    a.next = &b;
    b.next = &a;
    a.repeat = 3;
    b.repeat = 3;
    ps_loop_defer(&loop, &a.task, PS_PHASE_WORK);
    ps_loop_defer(&loop, &c.task, PS_PHASE_FLUSH);
    while (ps_loop_turn(&loop, true)) {
    }
    assert_string_equal(trace, "abCababa");
}

static void a_flush_that_defers_itself_runs_once_a_pass(void **state)
{
    struct step a, b;
    (void)state;
    clear_trace();
    step_init(&a, 'A');
    step_init(&b, 'B');
    a.next = &a;
    a.next_phase = PS_PHASE_FLUSH;
    a.repeat = 2;
    ps_loop_defer(&loop, &a.task, PS_PHASE_FLUSH);
    ps_loop_defer(&loop, &b.task, PS_PHASE_FLUSH);
    while (ps_loop_turn(&loop, true)) {
    }
    assert_string_equal(trace, "ABAA");
}

static void a_cancelled_task_does_not_run(void **state)
{
    struct step a, b, c;
    (void)state;
    clear_trace();
    step_init(&a, 'a');
    step_init(&b, 'b');
    step_init(&c, 'C');
    a.cancels = &b.task; /* in the list that is being run */
    ps_loop_defer(&loop, &a.task, PS_PHASE_WORK);
    ps_loop_defer(&loop, &b.task, PS_PHASE_WORK);
    ps_loop_defer(&loop, &c.task, PS_PHASE_FLUSH);
    ps_task_cancel(&c.task);
    ps_task_cancel(&c.task);
    while (ps_loop_turn(&loop, true)) {
    }
    assert_string_equal(trace, "a");
}

static void run_leaves_when_nothing_is_left(void **state)
{
    struct step a, b;
    (void)state;
    clear_trace();
    step_init(&a, 'A');
    step_init(&b, 'b');
    a.next = &b;
    a.repeat = 1;
    ps_loop_run(&loop);
    assert_string_equal(trace, "");
    ps_loop_defer(&loop, &a.task, PS_PHASE_FLUSH);
    ps_loop_run(&loop);
    assert_string_equal(trace, "Ab");
}

static void stop_now(struct ps_task *task)
{
    (void)task;
    trace[trace_len++] = 's';
    trace[trace_len] = '\0';
    ps_loop_stop(&loop);
}

static uv_async_t keeper;

static void stop_ends_run(void **state)
{
    struct ps_task task;
    (void)state;
    clear_trace();
    /* A live handle that would keep the loop for ever. */
    assert_int_equal(uv_async_init(&loop.uv, &keeper, NULL), 0);
    ps_task_init(&task, stop_now);
    ps_loop_defer(&loop, &task, PS_PHASE_WORK);
    ps_loop_run(&loop);
    assert_string_equal(trace, "s");
    /* And only that run. */
    ps_loop_defer(&loop, &task, PS_PHASE_WORK);
    ps_loop_run(&loop);
    assert_string_equal(trace, "ss");
    /* A stop before the run ends it at once, and again only that one. */
    ps_loop_stop(&loop);
    ps_loop_run(&loop);
    assert_string_equal(trace, "ss");
    ps_loop_defer(&loop, &task, PS_PHASE_WORK);
    ps_loop_run(&loop);
    assert_string_equal(trace, "sss");
    uv_close((uv_handle_t *)&keeper, NULL);
}

static int64_t busy_most;
static int64_t busy_sum;
static unsigned turns;

static void on_turn(void *arg, int64_t busy_us)
{
    (void)arg;
    assert_true(busy_us >= 0);
    turns++;
    busy_sum += busy_us;
    if (busy_us > busy_most) {
        busy_most = busy_us;
    }
}

static void ignore_timer(struct ps_timer *timer)
{
    (void)timer;
}

static void spin_task(struct ps_task *task)
{
    (void)task;
    int64_t end = ps_clock_us() + 20000;
    while (ps_clock_us() < end) {
    }
}

static void on_turn_counts_the_work_and_not_the_sleep(void **state)
{
    struct ps_task task;
    (void)state;
    loop.on_turn = on_turn;
    turns = 0;
    busy_most = 0;
    ps_task_init(&task, spin_task);
    ps_loop_defer(&loop, &task, PS_PHASE_WORK);
    (void)ps_loop_turn(&loop, true);
    assert_true(turns > 0);
    assert_true(busy_most >= 20000);

    /* A sleep is not work. On a machine that takes the CPU away another attempt may be needed. */
    struct ps_timer timer;
    ps_timer_init(&timer, &loop, ignore_timer);
    int64_t slept;
    do {
        busy_sum = 0;
        slept = -ps_clock_us();
        assert_int_equal(ps_timer_set(&timer, 50000), 0);
        while (ps_loop_turn(&loop, true)) {
        }
        slept += ps_clock_us();
    } while (busy_sum > slept / 2);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct ps_loop *owner = poll->data;
    (void)status;
    (void)events;
    int64_t stale = owner->now_us;
    ps_loop_enter(owner);
    assert_true(owner->now_us >= stale);
    assert_true(ps_clock_us() - owner->now_us < 1000000);
    trace[trace_len++] = 'p';
    trace[trace_len] = '\0';
    uv_close((uv_handle_t *)poll, NULL);
}

static void now_is_fresh_in_the_first_callback_after_a_sleep(void **state)
{
    uv_poll_t poll;
    int fds[2];
    (void)state;
    clear_trace();
    assert_int_equal(uv_pipe(fds, 0, 0), 0);
    assert_int_equal(uv_poll_init(&loop.uv, &poll, fds[0]), 0);
    poll.data = &loop;
    assert_int_equal(uv_poll_start(&poll, UV_READABLE, on_poll), 0);
    int64_t before = loop.now_us;
    int64_t end = ps_clock_us() + 3000;
    while (ps_clock_us() < end) {
    }
    assert_int_equal(write(fds[1], "x", 1), 1);
    ps_loop_run(&loop);
    assert_string_equal(trace, "p");
    assert_true(loop.now_us >= before + 3000);
    close(fds[0]);
    close(fds[1]);
}

static void init_reports_short_memory(void **state)
{
    struct ps_loop other;
    (void)state;
    (void)ps_mem_fail_after(0);
    assert_int_equal(ps_loop_init(&other, 1, &budget), UV_ENOMEM);
    (void)ps_mem_fail_after(-1);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(all_work_runs_before_any_flush),
        LOOP_TEST(what_flush_defers_runs_without_sleeping),
        LOOP_TEST(a_task_that_defers_itself_runs_once_a_pass),
        LOOP_TEST(two_tasks_that_defer_each_other_let_flush_have_its_turn),
        LOOP_TEST(a_flush_that_defers_itself_runs_once_a_pass),
        LOOP_TEST(a_cancelled_task_does_not_run),
        LOOP_TEST(run_leaves_when_nothing_is_left),
        LOOP_TEST(stop_ends_run),
        LOOP_TEST(on_turn_counts_the_work_and_not_the_sleep),
        LOOP_TEST(now_is_fresh_in_the_first_callback_after_a_sleep),
        LOOP_TEST(init_reports_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
