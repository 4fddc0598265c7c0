/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/net/loop.h"

#include "timer_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <assert.h>
#include <signal.h>

/*
 * One turn of libuv is: timers, idle, prepare, sleep in poll and I/O callbacks, check, close
 * callbacks. Tasks run in check (what I/O deferred) and in prepare (what timers and close callbacks
 * deferred). Only when a pass leaves tasks behind is the idle handle started, which makes the next
 * poll return at once.
 *
 * All four handles are unreferenced: they do not keep the loop alive.
 */

/* Blocks kept for reuse: 2 MiB, which covers one turn's worth of answers on a busy loop. */
#define FREE_BLOCKS 512

void ps_loop_begin_turn(struct ps_loop *loop)
{
    loop->now_us = ps_clock_us();
    loop->busy_since_us = loop->now_us;
    loop->in_turn = true;
}

static bool has_tasks(const struct ps_loop *loop)
{
    return !ps_list_empty(&loop->tasks[PS_PHASE_WORK]) ||
           !ps_list_empty(&loop->tasks[PS_PHASE_FLUSH]);
}

static struct ps_task *pop_task(struct ps_link *list)
{
    struct ps_link *link = ps_list_pop(list);
    return link == NULL ? NULL : PS_CONTAINER_OF(link, struct ps_task, link);
}

/*
 * WORK until its list is empty, each task at most once; then what FLUSH holds now. Both local lists
 * are ordinary lists to ps_task_cancel.
 */
static void run_tasks(struct ps_loop *loop)
{
    struct ps_link later;
    struct ps_link flush;
    struct ps_task *task;

    ps_list_init(&later);
    ps_list_init(&flush);
    loop->pass++;
    while ((task = pop_task(&loop->tasks[PS_PHASE_WORK])) != NULL) {
        if (task->ran == loop->pass) {
            ps_list_push_back(&later, &task->link);
            continue;
        }
        task->ran = loop->pass;
        task->fn(task);
    }
    ps_list_move(&later, &loop->tasks[PS_PHASE_WORK]);

    ps_list_move(&loop->tasks[PS_PHASE_FLUSH], &flush);
    while ((task = pop_task(&flush)) != NULL) {
        task->fn(task);
    }
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* that it is active is its whole work */
}

static void on_check(uv_check_t *handle)
{
    struct ps_loop *loop = handle->data;
    if (!loop->in_turn) {
        ps_loop_begin_turn(loop);
        /* Callbacks that did not call ps_loop_enter have run already; libuv knows to the ms since
         * when. */
        int64_t slept_until_us = (int64_t)uv_now(&loop->uv) * 1000 + 1000;
        if (slept_until_us < loop->busy_since_us) {
            loop->busy_since_us = slept_until_us;
        }
    }
    if (has_tasks(loop)) {
        run_tasks(loop);
    }
}

static void on_wake(uv_timer_t *handle)
{
    struct ps_loop *loop = handle->data;
    loop->wake_due_us = INT64_MAX;
    ps_loop_enter(loop);
    loop->now_us = ps_clock_us();
    ps_timers_run(loop);
}

/*
 * libuv counts in whole ms of the same clock and runs a timer when its ms has come, so rounding the
 * due time up is never early. At least 1 ms from libuv's now: in 1.44 a timer set to 0 in a timer
 * callback runs again in the same pass.
 */
static void set_wake(struct ps_loop *loop)
{
    int64_t due_us = ps_timers_next(loop);
    if (due_us == loop->wake_due_us) {
        return;
    }
    loop->wake_due_us = due_us;
    if (due_us == INT64_MAX) {
        uv_timer_stop(&loop->wake);
        return;
    }
    int64_t after_ms = (due_us / 1000) + (due_us % 1000 != 0) - (int64_t)uv_now(&loop->uv);
    uv_timer_start(&loop->wake, on_wake, after_ms < 1 ? 1 : (uint64_t)after_ms, 0);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct ps_loop *loop = handle->data;
    ps_loop_enter(loop);
    if (has_tasks(loop)) {
        run_tasks(loop);
    }
    if (has_tasks(loop)) {
        uv_idle_start(&loop->idle, on_idle);
    } else {
        uv_idle_stop(&loop->idle);
    }
    set_wake(loop);
    if (loop->on_turn != NULL) {
        loop->on_turn(loop->on_turn_arg, ps_clock_us() - loop->busy_since_us);
    }
    loop->in_turn = false;
}

static void ignore_sigpipe(void)
{
    struct sigaction action;
    /* libuv writes to sockets with write(2), which has no MSG_NOSIGNAL. A handler somebody set
     * stays. */
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

int ps_loop_init(struct ps_loop *loop, unsigned index, struct ps_budget *budget)
{
    *loop = (struct ps_loop){.index = index, .wake_due_us = INT64_MAX};
    ps_list_init(&loop->tasks[PS_PHASE_WORK]);
    ps_list_init(&loop->tasks[PS_PHASE_FLUSH]);
    loop->read_buffer = ps_malloc(PS_READ_BUFFER);
    if (loop->read_buffer == NULL) {
        return UV_ENOMEM;
    }
    int rc = uv_loop_init(&loop->uv);
    if (rc != 0) {
        ps_free(loop->read_buffer);
        loop->read_buffer = NULL;
        return rc;
    }
    ignore_sigpipe();
    loop->uv.data = loop;
    ps_block_pool_init(&loop->pool, budget, FREE_BLOCKS);
    /* None of these can fail. */
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->wake);
    loop->prepare.data = loop;
    loop->check.data = loop;
    loop->idle.data = loop;
    loop->wake.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->idle);
    uv_unref((uv_handle_t *)&loop->wake);
    loop->now_us = ps_clock_us();
    return 0;
}

void ps_loop_deinit(struct ps_loop *loop)
{
    while (uv_loop_alive(&loop->uv) || has_tasks(loop)) {
        (void)ps_loop_turn(loop, true);
    }
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop->uv);
    assert(rc == 0);
    (void)rc;
    ps_timers_deinit(loop);
    ps_block_pool_deinit(&loop->pool);
    ps_free(loop->read_buffer);
    loop->read_buffer = NULL;
}

void ps_loop_run(struct ps_loop *loop)
{
    for (;;) {
        /* After a stop that came before the run it returns at once. */
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
        /* Without a live handle libuv leaves before it gets to prepare; tasks may open new ones. */
        if (loop->stopping || !has_tasks(loop)) {
            break;
        }
        ps_loop_enter(loop);
        run_tasks(loop);
    }
    loop->stopping = false;
    loop->in_turn = false;
}

void ps_loop_stop(struct ps_loop *loop)
{
    loop->stopping = true;
    uv_stop(&loop->uv);
}

bool ps_loop_turn(struct ps_loop *loop, bool wait)
{
    if (!uv_loop_alive(&loop->uv) && !has_tasks(loop) && loop->heap_len == 0) {
        return false;
    }
    /* Timers and tasks alone do not make libuv turn; with tasks alone there is nothing to wait for.
     */
    uv_ref((uv_handle_t *)&loop->prepare);
    (void)uv_run(&loop->uv, wait && !has_tasks(loop) ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&loop->prepare);
    loop->stopping = false;
    loop->in_turn = false;
    return uv_loop_alive(&loop->uv) || has_tasks(loop) || loop->heap_len > 0;
}

void ps_task_init(struct ps_task *task, void (*fn)(struct ps_task *task))
{
    ps_list_init(&task->link);
    task->fn = fn;
    task->ran = 0;
}

void ps_loop_defer(struct ps_loop *loop, struct ps_task *task, enum ps_phase phase)
{
    if (ps_list_empty(&task->link)) {
        ps_list_push_back(&loop->tasks[phase], &task->link);
    }
}

void ps_task_cancel(struct ps_task *task)
{
    ps_list_remove(&task->link);
}
