/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/mem.h"

/*
 * GET /jobs/{id}/events: a person watches.
 *
 * The happy path: the row is read and shown as the first event; the runner tells when it has moved;
 * four times a second at most it is read again, and shown when it looks different. The event that
 * shows its end has the result in it and is the last one.
 *
 * How it fails: a job that is not there is 404 before anything is streamed. A row that cannot be
 * read any more, or a gateway that goes down, cuts the stream: who watches asks again. A client
 * that reads slowly misses what moved meanwhile, never the end.
 */

#define TICK_US    INT64_C(250000)
#define QUIET      8 /* ticks without a word: then it is looked at all the same */
#define PART_BYTES (1u << 20)

struct watcher {
    struct ps_jobs_watch watch; /* outlives the door until nobody tells it any more */
    struct events_door *door;
};

struct events_door {
    struct ps_side side; /* first: opened and closed as one. side.body: the last event */
    struct ps_stored stored;
    struct ps_conn *conn;
    struct watcher *watcher; /* NULL: not yet */
    struct ps_timer timer;
    struct ps_id id;
    bool batch;
    bool begun;
    bool moved;
    unsigned quiet;
    uint64_t tokens; /* as last shown */
};

static void look(struct events_door *door);

/* ---- events ---- */

static void begin(struct events_door *door)
{
    struct ps_conn *conn = door->conn;
    struct ps_body_head head = {
        .status = 200,
        .content_type = PS_SLICE_LIT("text/event-stream"),
        .length = -1,
        .live = true,
    };
    if (!door->begun) {
        door->begun = true;
        conn->request.sse = true;
        (void)ps_body_begin(conn, &head);
    }
}

static void begin_event(struct ps_buf *out, const char *name)
{
    ps_buf_cstr(out, "event: ");
    ps_buf_cstr(out, name);
    ps_buf_cstr(out, "\ndata: ");
}

static void fail(struct events_door *door, enum ps_store_status status)
{
    struct ps_fault fault;
    ps_store_fault(status, "job", &fault);
    if (door->begun) {
        ps_body_cut(door->conn, &fault);
    } else {
        ps_reply_fault(door->conn, &fault);
    }
}

/* Unless it is the one that was sent last. */
static void send_progress(struct events_door *door, struct ps_buf *event)
{
    struct ps_buf *last = &door->side.body;
    if (event->failed) {
        fail(door, PS_STORE_NO_MEMORY);
        return;
    }
    if (ps_slice_eq(ps_buf_view(event), ps_buf_view(last))) {
        return;
    }
    ps_buf_reset(last);
    ps_buf_slice(last, ps_buf_view(event));
    (void)ps_body_write(door->conn, ps_buf_view(event));
}

/* The last event: `text` up to where the result stands. */
static void send_last(struct events_door *door, struct ps_slice text,
                      const struct ps_store_body *result, struct ps_buf *tail)
{
    struct ps_arena *arena = &door->conn->arena;
    ps_buf_cstr(tail, "\n\n");
    struct ps_slice before = ps_arena_copy(arena, text);
    struct ps_slice behind = ps_arena_copy(arena, ps_buf_view(tail));
    if (tail->failed || before.ptr == NULL || behind.ptr == NULL) {
        fail(door, PS_STORE_NO_MEMORY);
        return;
    }
    door->stored.begun = true;
    door->stored.one_line = true;
    ps_stored_send(&door->stored, door->conn, NULL, before, result, behind);
}

static void show_job(struct events_door *door, const struct ps_store_job *job, struct ps_buf *out)
{
    static const struct ps_store_body nothing = {.bytes = PS_SLICE_INIT("null")};
    struct ps_jobs_progress progress;
    bool running = ps_jobs_progress(ps_side_jobs(door->conn), &job->id, &progress);
    bool over = ps_job_is_over(job->status);
    bool has_result = job->status == PS_JOB_COMPLETED &&
                      (job->result.blob.text[0] != '\0' || job->result.bytes.len > 0);
    door->tokens = running ? progress.tokens : 0;
    begin_event(out, over ? ps_job_status_word(job->status) : "progress");
    ps_job_write_head(out, job, running && !over ? &progress : NULL);
    if (over) {
        struct ps_buf tail;
        ps_buf_init(&tail, PART_BYTES);
        ps_job_write_tail(&tail, job);
        tail.failed = tail.failed || out->failed;
        send_last(door, ps_buf_view(out), has_result ? &job->result : &nothing, &tail);
        ps_buf_deinit(&tail);
        return;
    }
    ps_buf_cstr(out, "null");
    ps_job_write_tail(out, job);
    ps_buf_cstr(out, "\n\n");
    send_progress(door, out);
}

static void show_batch(struct events_door *door, const struct ps_store_batch *batch,
                       struct ps_buf *out)
{
    bool over = ps_batch_is_over(batch->status);
    begin_event(out, over ? ps_job_status_word(ps_job_of_batch(batch->status)) : "progress");
    ps_job_write_batch(out, batch);
    ps_buf_cstr(out, "\n\n");
    send_progress(door, out);
    if (over && !door->conn->request.answered) {
        ps_body_end(door->conn);
    }
}

static void on_row(struct ps_conn *conn, struct ps_store_command *command)
{
    struct events_door *door = conn->request.side;
    struct ps_store_out *found = &command->out;
    if (conn->request.answered) {
        return;
    }
    if (command->status != PS_STORE_OK || found->job_count + found->batch_count == 0) {
        fail(door, command->status != PS_STORE_OK ? command->status : PS_STORE_NOT_FOUND);
        return;
    }
    begin(door);
    struct ps_buf out;
    ps_buf_init(&out, 2 * PART_BYTES);
    if (conn->request.answered) {
        return; /* no memory for the head: cut */
    }
    if (found->job_count > 0) {
        show_job(door, &found->jobs[0], &out);
    } else {
        show_batch(door, &found->batches[0], &out);
    }
    ps_buf_deinit(&out);
    if (!conn->request.answered && door->stored.download == NULL) {
        (void)ps_timer_set(&door->timer, TICK_US);
    }
}

/* ---- when to look ---- */

static void look(struct events_door *door)
{
    if (door->side.call.command != NULL) {
        return;
    }
    door->moved = false;
    door->quiet = 0;
    struct ps_store_command *command =
        ps_store_command_new(door->batch ? PS_STORE_BATCH_GET : PS_STORE_JOB_GET);
    if (command != NULL) {
        command->in.tenant = ps_store_command_copy(command, door->conn->request.identity.tenant);
    }
    if (command == NULL || command->in.tenant.ptr == NULL) {
        ps_store_command_free(command);
        fail(door, PS_STORE_NO_MEMORY);
        return;
    }
    command->in.id = door->id;
    ps_store_call(&door->side.call, door->conn, command, on_row);
}

static void on_tick(struct ps_timer *timer)
{
    struct events_door *door = PS_CONTAINER_OF(timer, struct events_door, timer);
    struct ps_conn *conn = door->conn;
    struct ps_jobs_progress progress;
    if (conn->server->draining) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_DRAINING, NULL, "The gateway is shutting down.");
        ps_body_cut(conn, &fault);
        return;
    }
    bool more = !door->batch && ps_jobs_progress(ps_side_jobs(conn), &door->id, &progress) &&
                progress.tokens != door->tokens;
    bool slow = ps_stream_is_full(conn->stream);
    door->quiet++;
    if (!slow && (door->moved || more || door->quiet >= QUIET)) {
        look(door);
    } else {
        (void)ps_timer_set(timer, TICK_US);
    }
}

static void on_moved(struct ps_jobs_watch *watch)
{
    struct watcher *watcher = PS_CONTAINER_OF(watch, struct watcher, watch);
    watcher->door->moved = true;
}

static void on_gone(struct ps_jobs_watch *watch)
{
    ps_free(PS_CONTAINER_OF(watch, struct watcher, watch));
}

/* ---- the door ---- */

static int open_events(struct ps_conn *conn, struct ps_fault *fault)
{
    return ps_side_open_sized(conn, sizeof(struct events_door), fault);
}

static void run_events(struct ps_conn *conn)
{
    struct events_door *door = conn->request.side;
    door->conn = conn;
    ps_timer_init(&door->timer, conn->server->gl->loop, on_tick);
    ps_buf_deinit(&door->side.body);
    ps_buf_init(&door->side.body, 2 * PART_BYTES);
    if (!ps_job_id(conn, &door->id, &door->batch)) {
        return;
    }
    door->watcher = ps_calloc(1, sizeof(*door->watcher));
    if (door->watcher == NULL) {
        fail(door, PS_STORE_NO_MEMORY);
        return;
    }
    door->watcher->door = door;
    door->watcher->watch.mailbox = conn->server->gl->mailbox;
    door->watcher->watch.id = door->id;
    door->watcher->watch.fn = on_moved;
    door->watcher->watch.gone = on_gone;
    /* first, so that nothing is missed between the look and the watch */
    ps_jobs_watch(ps_side_jobs(conn), &door->watcher->watch);
    look(door);
}

static void drain_events(struct ps_conn *conn)
{
    struct events_door *door = conn->request.side;
    ps_stored_drain(&door->stored);
}

static void close_events(struct ps_conn *conn)
{
    struct events_door *door = conn->request.side;
    if (door->conn != NULL) { /* it has run */
        ps_timer_cancel(&door->timer);
    }
    if (door->watcher != NULL) {
        ps_jobs_unwatch(ps_side_jobs(conn), &door->watcher->watch);
    }
    ps_stored_cancel(&door->stored);
    ps_side_close(conn);
}

const struct ps_side_ops ps_jobs_events_ops = {open_events, ps_side_ignore, run_events,
                                               drain_events, close_events};
