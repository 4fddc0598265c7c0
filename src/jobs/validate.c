/* SPDX-License-Identifier: Apache-2.0 */
#include "validate_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/*
 * The input of a batch, read once from begin to end in pieces, line by line through the strict
 * scanner: never more of it is in memory than a piece and what a line is called.
 *
 * The happy path: each line is an object with a custom_id of its own and a body for the batch's
 * endpoint; where the body lies goes to the store, a thousand lines at a time, and with the last
 * line the batch starts.
 *
 * How it fails: from the first fault on nothing more goes to the store; with the hundredth, or at
 * the end, the batch fails with the list of them, and none of its lines has run. When the store
 * does not take something, the step is repeated; a line that is told twice is one line.
 */

#define PIECE_BYTES 262144
#define STEP_BYTES  ((uint64_t)8 << 20)
#define ERROR_BYTES 262144 /* a hundred faults, each escaped to its last byte */

void ps_validation_free(struct ps_validation *v)
{
    if (v == NULL) {
        return;
    }
    if (v->open) {
        (void)close(v->fd);
    }
    ps_buf_deinit(&v->names);
    ps_buf_deinit(&v->faults);
    ps_id_set_deinit(&v->ids);
    ps_free(v->piece);
    ps_free(v);
}

/* ---- the input ---- */

static int open_input(struct ps_validation *v)
{
    v->fd = ps_blob_open(ps_store_blobs(v->desk->jobs->store), &v->desk->batch.input, &v->length);
    v->open = v->fd >= 0;
    return v->open ? 0 : -1;
}

/* 0, or -1 when the disk is ill. */
static int read_piece(struct ps_validation *v)
{
    uint64_t left = v->length - v->read;
    size_t want = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    size_t got = 0;
    while (got < want) {
        ssize_t n = pread(v->fd, v->piece + got, want - got, (off_t)(v->read + got));
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return -1;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    v->piece_off = v->read;
    v->piece_len = got;
    v->at = 0;
    v->read += got;
    if (v->piece_off == 0 && got >= 3 && memcmp(v->piece, "\xef\xbb\xbf", 3) == 0) {
        v->at = 3;
        ps_line_begin(v, 3);
    }
    return 0;
}

static void take_piece(struct ps_validation *v)
{
    while (v->at < v->piece_len && v->line_count < PS_SLICE_LINES && !v->ended) {
        const char *from = v->piece + v->at;
        size_t left = v->piece_len - v->at;
        const char *end = memchr(from, '\n', left);
        size_t len = end != NULL ? (size_t)(end - from) : left;
        ps_line_feed(v, from, len);
        v->at += len;
        if (end != NULL) {
            v->at++;
            ps_line_end(v);
            ps_line_begin(v, v->piece_off + v->at);
        }
    }
}

/* ---- the store ---- */

/* 0: taken; 1: ill, again later; -1: the batch is not to be validated any more. */
static int judge(enum ps_store_status status)
{
    switch (status) {
    case PS_STORE_OK:
        return 0;
    case PS_STORE_DISK_FULL:
    case PS_STORE_BUSY:
    case PS_STORE_BROKEN:
    case PS_STORE_NO_MEMORY:
        return 1;
    case PS_STORE_NOT_FOUND:
    case PS_STORE_CONFLICT:
    case PS_STORE_STALE:
    case PS_STORE_REPEATED:
    case PS_STORE_REUSED:
    default:
        return -1;
    }
}

static int send_lines(struct ps_validation *v)
{
    struct ps_store_command *command = ps_jobs_command(PS_STORE_BATCH_LINES, NULL);
    if (command == NULL) {
        return 1;
    }
    for (size_t i = 0; i < v->line_count; i++) {
        size_t end = i + 1 < v->line_count ? v->name_at[i + 1] : v->names.len;
        v->lines[i].custom_id = ps_slice(v->names.ptr + v->name_at[i], end - v->name_at[i]);
    }
    /* It is waited for: what it names may stay where it is. */
    command->in.id = v->desk->batch.id;
    command->in.lines = v->lines;
    command->in.line_count = v->line_count;
    int result = judge(ps_store_do(v->desk->jobs->store, command));
    ps_store_command_free(command);
    if (result == 0) {
        v->line_count = 0;
        ps_buf_reset(&v->names);
    }
    return result;
}

static int send_start(struct ps_validation *v)
{
    struct ps_desk *desk = v->desk;
    struct ps_store_command *command = ps_jobs_command(PS_STORE_BATCH_START, NULL);
    if (command == NULL) {
        return 1;
    }
    command->in.id = desk->batch.id;
    command->in.batch.model = ps_slice(v->model, v->model_len);
    int result = judge(ps_store_do(desk->jobs->store, command));
    desk->changed = result == 0;
    desk->status = result == 0 && command->out.batch_count > 0 ? command->out.batches[0].status
                                                               : PS_BATCH_IN_PROGRESS;
    ps_store_command_free(command);
    return result;
}

static int fill_hook(struct ps_desk *desk, struct ps_store_command *command)
{
    struct ps_buf payload;
    if (desk->batch.webhook.len == 0) {
        return 0;
    }
    ps_buf_init(&payload, PS_JOBS_INLINE);
    ps_hooks_batch_payload(&payload, &desk->batch, PS_BATCH_FAILED, command->in.now_ms);
    command->in.hook_type = ps_hooks_batch_type(PS_BATCH_FAILED);
    command->in.hook_payload = ps_store_command_copy(command, ps_buf_view(&payload));
    bool failed = payload.failed || command->in.hook_payload.ptr == NULL;
    ps_buf_deinit(&payload);
    return failed ? -1 : 0;
}

static int send_faults(struct ps_validation *v)
{
    struct ps_desk *desk = v->desk;
    struct ps_store_command *command = ps_jobs_command(PS_STORE_BATCH_FAIL, NULL);
    if (command == NULL || fill_hook(desk, command) != 0) {
        ps_store_command_free(command);
        return 1;
    }
    command->in.id = desk->batch.id;
    command->in.batch.errors = ps_buf_view(&v->faults);
    int result = judge(ps_store_do(desk->jobs->store, command));
    desk->changed = result == 0;
    desk->status = result == 0 && command->out.batch_count > 0 ? command->out.batches[0].status
                                                               : PS_BATCH_FAILED;
    ps_store_command_free(command);
    return result;
}

/* ---- steps ---- */

static struct ps_validation *begin(struct ps_desk *desk)
{
    struct ps_validation *v = ps_calloc(1, sizeof(*v));
    if (v == NULL) {
        return NULL;
    }
    v->desk = desk;
    v->piece = ps_malloc(PIECE_BYTES);
    ps_buf_init(&v->names, (size_t)PS_SLICE_LINES * PS_LINE_TEXT);
    ps_buf_init(&v->faults, ERROR_BYTES);
    if (v->piece == NULL || (open_input(v) != 0 && errno != ENOENT)) {
        ps_validation_free(v);
        return NULL;
    }
    ps_line_begin(v, 0);
    if (!v->open) {
        ps_line_fault(v, 0, "invalid_request", NULL, "The input file is not there any more.");
        v->ended = true;
    }
    return v;
}

/* Nothing of it can be kept: the desk begins anew. */
static enum ps_desk_step begin_anew(struct ps_desk *desk)
{
    ps_validation_free(desk->validation);
    desk->validation = NULL;
    return PS_DESK_LATER;
}

static enum ps_desk_step tell_store(struct ps_validation *v)
{
    struct ps_desk *desk = v->desk;
    int result = 0;
    if (v->line_count > 0 && v->fault_count == 0) {
        result = send_lines(v);
    }
    if (result == 0 && v->ended) {
        if (v->fault_count > 0) {
            if (v->faults.len == 0 || v->faults.ptr[v->faults.len - 1] != ']') {
                ps_buf_byte(&v->faults, ']');
            }
            if (v->faults.failed) {
                return begin_anew(desk);
            }
            result = send_faults(v);
        } else {
            result = send_start(v);
        }
        if (result == 0) {
            desk->lines = v->requests;
            desk->faults = v->fault_count;
            return PS_DESK_OVER;
        }
    }
    return result == 0 ? PS_DESK_AGAIN : result > 0 ? PS_DESK_LATER : PS_DESK_OVER;
}

enum ps_desk_step ps_validate_step(struct ps_desk *desk)
{
    struct ps_validation *v = desk->validation;
    if (v == NULL) {
        v = begin(desk);
        if (v == NULL) {
            return PS_DESK_LATER;
        }
        desk->validation = v;
    }
    uint64_t limit = v->read + STEP_BYTES;
    while (v->line_count < PS_SLICE_LINES && !v->ended) {
        if (v->at < v->piece_len) {
            take_piece(v);
        } else if (v->read == v->length) {
            ps_line_end_of_input(v);
        } else if (v->read >= limit) {
            break;
        } else if (read_piece(v) != 0) {
            return begin_anew(desk);
        }
        if (v->short_of_memory) {
            return begin_anew(desk);
        }
    }
    return tell_store(v);
}
