/* SPDX-License-Identifier: Apache-2.0 */
#include "id_set.h"
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
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
#define SLICE_LINES 1000
#define MAX_LINES   50000
#define MAX_FAULTS  100
#define MAX_ID      512  /* characters */
#define MAX_TEXT    8192 /* bytes of a value as it stands in the line */
#define ERROR_BYTES 65536

enum {
    CUSTOM_ID,
    BODY,
    MODEL,
    STREAM,
    METHOD,
    URL,
    FIELDS
};

static const struct ps_json_path openai_fields[FIELDS] = {
    [CUSTOM_ID] = {"custom_id", true}, [BODY] = {"body", true},     [MODEL] = {"body.model", true},
    [STREAM] = {"body.stream", true},  [METHOD] = {"method", true}, [URL] = {"url", true},
};
static const struct ps_json_path anthropic_fields[METHOD] = {
    [CUSTOM_ID] = {"custom_id", true},
    [BODY] = {"params", true},
    [MODEL] = {"params.model", true},
    [STREAM] = {"params.stream", true},
};

static struct ps_json_paths *paths[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void compile(void)
{
    paths[PS_BATCH_OPENAI] = ps_json_paths_new(openai_fields, FIELDS);
    paths[PS_BATCH_ANTHROPIC] = ps_json_paths_new(anthropic_fields, METHOD);
}

int ps_validate_global_init(void)
{
    (void)pthread_once(&once, compile);
    return paths[0] != NULL && paths[1] != NULL ? 0 : -1;
}

struct found {
    bool there;
    enum ps_json_type type;
    uint64_t start; /* in the line */
    uint64_t end;
};

struct ps_validation {
    struct ps_desk *desk;
    int fd;
    uint64_t length;
    uint64_t read; /* bytes of the input read so far */
    char *piece;   /* owned */
    size_t piece_len;
    size_t at;          /* of the piece, taken */
    uint64_t piece_off; /* where the piece stands in the input */
    bool open;

    struct ps_json_scan scan;
    enum ps_json_error error;
    struct found found[FIELDS];
    uint64_t line_off; /* where the line begins */
    uint64_t line_len;
    bool blank;        /* white space only, so far */
    bool any;          /* a byte of it was there */
    uint64_t number;   /* of the line, from 1 */
    uint64_t blank_at; /* an empty line that is the last one, or a fault; 0: none */
    uint64_t requests;

    struct ps_id_set ids;
    struct ps_store_line lines[SLICE_LINES];
    size_t line_count;
    struct ps_buf names;         /* custom_ids of `lines`, one after the other */
    size_t name_at[SLICE_LINES]; /* where each begins */
    bool ended;                  /* the input, or our patience */
    bool short_of_memory;
    struct ps_buf faults; /* JSON array, without its end */
    unsigned fault_count;
    char model[256]; /* of the first line */
    size_t model_len;
    char text[MAX_TEXT];
    char plain[MAX_TEXT];
};

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

/* ---- faults ---- */

static void add_fault(struct ps_validation *v, uint64_t line, const char *code, const char *param,
                      const char *message)
{
    struct ps_buf *out = &v->faults;
    if (v->fault_count >= MAX_FAULTS) {
        return;
    }
    ps_buf_cstr(out, v->fault_count == 0 ? "[" : ",");
    v->fault_count++;
    ps_buf_cstr(out, "{\"code\":");
    ps_buf_json(out, ps_slice_cstr(code));
    ps_buf_cstr(out, ",\"message\":");
    ps_buf_json(out, ps_slice_cstr(message));
    ps_buf_cstr(out, ",\"param\":");
    if (param != NULL) {
        ps_buf_json(out, ps_slice_cstr(param));
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_cstr(out, ",\"line\":");
    if (line > 0) {
        ps_buf_uint(out, line);
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_byte(out, '}');
    v->ended = v->ended || v->fault_count == MAX_FAULTS;
}

/* ---- values ---- */

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_validation *v = arg;
    v->found[value->path] = (struct found){true, value->type, value->start, value->end};
    return true;
}

/* The string as text, in v->plain. False: it is none, or too long to be right. */
static bool text_of(struct ps_validation *v, int field, struct ps_slice *ret)
{
    const struct found *found = &v->found[field];
    size_t len = (size_t)(found->end - found->start);
    uint64_t at = v->line_off + found->start;
    if (!found->there || found->type != PS_JSON_STRING || len > MAX_TEXT) {
        return false;
    }
    const char *raw = v->text;
    if (at >= v->piece_off && at + len <= v->piece_off + v->piece_len) {
        raw = v->piece + (at - v->piece_off);
    } else if (pread(v->fd, v->text, len, (off_t)at) != (ssize_t)len) {
        return false;
    }
    *ret = ps_slice(v->plain, ps_json_unescape(ps_slice(raw, len), v->plain));
    return true;
}

static size_t characters(struct ps_slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return count;
}

static bool check_endpoint(struct ps_validation *v)
{
    struct ps_slice text;
    char message[160];
    if (v->desk->batch.api == PS_BATCH_ANTHROPIC) {
        return true;
    }
    if (!text_of(v, METHOD, &text) || !ps_slice_eq_cstr(text, "POST")) {
        add_fault(v, v->number, "invalid_request", "method", "method must be \"POST\".");
        return false;
    }
    if (!text_of(v, URL, &text)) {
        add_fault(v, v->number, "invalid_request", "url", "url is missing or not a string.");
        return false;
    }
    if (!ps_slice_eq(text, v->desk->batch.endpoint)) {
        (void)snprintf(message, sizeof(message), "url must be the batch's endpoint, %.*s.",
                       (int)(v->desk->batch.endpoint.len < 100 ? v->desk->batch.endpoint.len : 100),
                       v->desk->batch.endpoint.ptr);
        add_fault(v, v->number, "url_mismatch", "url", message);
        return false;
    }
    return true;
}

static bool check_model(struct ps_validation *v)
{
    bool openai = v->desk->batch.api == PS_BATCH_OPENAI;
    const char *param = openai ? "body.model" : "params.model";
    const struct ps_snapshot *snapshot = v->desk->snapshot;
    struct ps_slice model = PS_SLICE_NONE;
    struct ps_slice rest;
    char message[240];
    if (v->found[MODEL].there && v->found[MODEL].type != PS_JSON_NULL &&
        (!text_of(v, MODEL, &model) || model.len == 0)) {
        add_fault(v, v->number, "invalid_request", param, "model must be a string that names one.");
        return false;
    }
    if (ps_snapshot_route(snapshot, model, &rest) == NULL) {
        (void)snprintf(message, sizeof(message),
                       model.len > 0 ? "The model \"%.*s\" does not exist."
                                     : "No model was named, and there is no default.%.*s",
                       (int)(model.len < 120 ? model.len : 120), model.len > 0 ? model.ptr : "");
        add_fault(v, v->number, "model_not_found", param, message);
        return false;
    }
    if (v->requests == 1) {
        v->model_len = model.len < sizeof(v->model) ? model.len : sizeof(v->model);
        if (v->model_len > 0) {
            memcpy(v->model, model.ptr, v->model_len);
        }
    }
    return true;
}

static bool check_body(struct ps_validation *v)
{
    bool openai = v->desk->batch.api == PS_BATCH_OPENAI;
    if (!v->found[BODY].there || v->found[BODY].type != PS_JSON_OBJECT) {
        add_fault(v, v->number, "invalid_request", openai ? "body" : "params",
                  openai ? "body must be an object." : "params must be an object.");
        return false;
    }
    if (v->found[STREAM].there && v->found[STREAM].type == PS_JSON_TRUE) {
        add_fault(v, v->number, "invalid_request", openai ? "body.stream" : "params.stream",
                  "stream must not be true in a batch.");
        return false;
    }
    return check_model(v);
}

/* The custom_id goes behind the others, so that it is there when the store is told. */
static bool take_id(struct ps_validation *v)
{
    struct ps_slice id;
    char message[160];
    if (!text_of(v, CUSTOM_ID, &id) || id.len == 0 || characters(id) > MAX_ID) {
        add_fault(v, v->number, "invalid_request", "custom_id",
                  "custom_id must be a string of 1 to 512 characters.");
        return false;
    }
    int added = ps_id_set_add(&v->ids, id);
    if (added == 0) {
        (void)snprintf(message, sizeof(message), "The custom_id \"%.*s\" was used before.",
                       (int)(id.len < 80 ? id.len : 80), id.ptr);
        add_fault(v, v->number, "duplicate_custom_id", "custom_id", message);
        return false;
    }
    if (v->line_count < SLICE_LINES) {
        v->name_at[v->line_count] = v->names.len;
    }
    if (v->fault_count == 0) {
        ps_buf_slice(&v->names, id);
    }
    v->short_of_memory = v->short_of_memory || added < 0 || v->names.failed;
    return true;
}

/* ---- lines ---- */

static void begin_line(struct ps_validation *v, uint64_t offset)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 2000000};
    ps_json_scan_init(&v->scan, paths[v->desk->batch.api], &limits, on_value, v);
    memset(v->found, 0, sizeof(v->found));
    v->error = PS_JSON_OK;
    v->line_off = offset;
    v->line_len = 0;
    v->blank = true;
    v->any = false;
}

static bool is_blank(const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] != ' ' && ptr[i] != '\t' && ptr[i] != '\r') {
            return false;
        }
    }
    return true;
}

static void feed_line(struct ps_validation *v, const char *ptr, size_t len)
{
    v->line_len += len;
    v->any = v->any || len > 0;
    v->blank = v->blank && is_blank(ptr, len);
    if (v->error == PS_JSON_OK && v->line_len <= v->desk->snapshot->config->limits.body_bytes) {
        v->error = ps_json_scan_feed(&v->scan, ptr, len);
    }
}

/* A line is whole, and not empty. */
static void check_line(struct ps_validation *v)
{
    char message[160];
    if (v->line_len > v->desk->snapshot->config->limits.body_bytes) {
        add_fault(v, v->number, "invalid_request", NULL,
                  "The line is longer than a request may be.");
        return;
    }
    if (v->error == PS_JSON_OK) {
        v->error = ps_json_scan_finish(&v->scan);
    }
    if (v->error != PS_JSON_OK) {
        (void)snprintf(message, sizeof(message), "The line %s.", ps_json_error_text(v->error));
        add_fault(v, v->number, "invalid_json_line", NULL, message);
        return;
    }
    if (v->scan.root != PS_JSON_OBJECT) {
        add_fault(v, v->number, "invalid_json_line", NULL, "The line is not a JSON object.");
        return;
    }
    if (!take_id(v) || !check_endpoint(v) || !check_body(v) || v->fault_count > 0) {
        return;
    }
    v->lines[v->line_count++] = (struct ps_store_line){
        .line = v->requests - 1,
        .offset = v->line_off + v->found[BODY].start,
        .length = v->found[BODY].end - v->found[BODY].start,
    };
}

static void end_line(struct ps_validation *v)
{
    v->number++;
    if (v->blank) {
        v->blank_at = v->blank_at == 0 ? v->number : v->blank_at;
        return;
    }
    if (v->blank_at != 0) {
        add_fault(v, v->blank_at, "invalid_json_line", NULL, "The line is empty.");
        v->blank_at = 0;
    }
    v->requests++;
    if (v->requests > MAX_LINES) {
        add_fault(v, 0, "too_many_tasks", NULL, "A batch has at most 50000 requests.");
        v->ended = true;
        return;
    }
    check_line(v);
}

static void end_input(struct ps_validation *v)
{
    if (v->any) {
        end_line(v);
    }
    if (v->requests == 0 && v->fault_count == 0) {
        add_fault(v, 0, "empty_batch", NULL, "The file has no requests.");
    }
    v->ended = true;
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
        begin_line(v, 3);
    }
    return 0;
}

static void take_piece(struct ps_validation *v)
{
    while (v->at < v->piece_len && v->line_count < SLICE_LINES && !v->ended) {
        const char *from = v->piece + v->at;
        size_t left = v->piece_len - v->at;
        const char *end = memchr(from, '\n', left);
        size_t len = end != NULL ? (size_t)(end - from) : left;
        feed_line(v, from, len);
        v->at += len;
        if (end != NULL) {
            v->at++;
            end_line(v);
            begin_line(v, v->piece_off + v->at);
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
    ps_buf_init(&v->names, (size_t)SLICE_LINES * MAX_TEXT);
    ps_buf_init(&v->faults, ERROR_BYTES);
    if (v->piece == NULL || open_input(v) != 0) {
        ps_validation_free(v);
        return NULL;
    }
    begin_line(v, 0);
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
            result = v->faults.failed ? 1 : send_faults(v);
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
    while (v->line_count < SLICE_LINES && !v->ended) {
        if (v->at < v->piece_len) {
            take_piece(v);
        } else if (v->read == v->length) {
            end_input(v);
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
