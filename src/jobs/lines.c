/* SPDX-License-Identifier: Apache-2.0 */
#include "validate_priv.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * One line of a batch's input after the other, as its bytes come: scanned strictly, then judged. A
 * value that is looked at is read where it lies, in the piece at hand or once more from the file.
 */

#define MAX_LINES  50000
#define MAX_FAULTS 100
#define MAX_ID     512 /* characters */

static const struct ps_json_path openai_fields[PS_LINE_FIELDS] = {
    [PS_LINE_CUSTOM_ID] = {"custom_id", true},
    [PS_LINE_BODY] = {"body", true},
    [PS_LINE_MODEL] = {"body.model", true},
    [PS_LINE_STREAM] = {"body.stream", true},
    [PS_LINE_METHOD] = {"method", true},
    [PS_LINE_URL] = {"url", true},
    [PS_LINE_BACKGROUND] = {"body.background", false},
};
static const struct ps_json_path anthropic_fields[PS_LINE_METHOD] = {
    [PS_LINE_CUSTOM_ID] = {"custom_id", true},
    [PS_LINE_BODY] = {"params", true},
    [PS_LINE_MODEL] = {"params.model", true},
    [PS_LINE_STREAM] = {"params.stream", true},
};

static struct ps_json_paths *paths[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void compile(void)
{
    paths[PS_BATCH_OPENAI] = ps_json_paths_new(openai_fields, PS_LINE_FIELDS);
    paths[PS_BATCH_ANTHROPIC] = ps_json_paths_new(anthropic_fields, PS_LINE_METHOD);
}

int ps_validate_global_init(void)
{
    (void)pthread_once(&once, compile);
    return paths[0] != NULL && paths[1] != NULL ? 0 : -1;
}

/* ---- faults ---- */

void ps_line_fault(struct ps_validation *v, uint64_t line, const char *code, const char *param,
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
    v->found[value->path] = (struct ps_line_found){true, value->type, value->start, value->end};
    return true;
}

/* The string as text, in v->plain. False: it is none, or too long to be right. */
static bool text_of(struct ps_validation *v, int field, struct ps_slice *ret)
{
    const struct ps_line_found *found = &v->found[field];
    size_t len = (size_t)(found->end - found->start);
    uint64_t at = v->line_off + found->start;
    if (!found->there || found->type != PS_JSON_STRING || len > PS_LINE_TEXT) {
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
    if (!text_of(v, PS_LINE_METHOD, &text) || !ps_slice_eq_cstr(text, "POST")) {
        ps_line_fault(v, v->number, "invalid_request", "method", "method must be \"POST\".");
        return false;
    }
    if (!text_of(v, PS_LINE_URL, &text)) {
        ps_line_fault(v, v->number, "invalid_request", "url", "url is missing or not a string.");
        return false;
    }
    if (!ps_slice_eq(text, v->desk->batch.endpoint)) {
        (void)snprintf(message, sizeof(message), "url must be the batch's endpoint, %.*s.",
                       ps_utf8_quoted(v->desk->batch.endpoint, 100), v->desk->batch.endpoint.ptr);
        ps_line_fault(v, v->number, "url_mismatch", "url", message);
        return false;
    }
    return true;
}

static void note_model(struct ps_validation *v, struct ps_slice model)
{
    if (v->requests == 1) {
        v->model_len = model.len < sizeof(v->model) ? model.len : sizeof(v->model);
        if (v->model_len > 0) {
            memcpy(v->model, model.ptr, v->model_len);
        }
    }
}

static bool check_model(struct ps_validation *v)
{
    static const char param[] = "body.model";
    const struct ps_snapshot *snapshot = v->desk->snapshot;
    struct ps_slice model = PS_SLICE_NONE;
    struct ps_slice rest;
    char message[240];
    if (v->desk->batch.api == PS_BATCH_ANTHROPIC) {
        /* such a batch cannot fail as a whole: a model that is none is its request's result */
        note_model(v, text_of(v, PS_LINE_MODEL, &model) ? model : PS_SLICE_NONE);
        return true;
    }
    if (v->found[PS_LINE_MODEL].there && (!text_of(v, PS_LINE_MODEL, &model) || model.len == 0)) {
        ps_line_fault(v, v->number, "invalid_request", param,
                      "model must be a string that names one.");
        return false;
    }
    const struct ps_route *route = ps_snapshot_route(snapshot, model, &rest);
    if (route == NULL) {
        (void)snprintf(message, sizeof(message),
                       model.len > 0 ? "The model \"%.*s\" does not exist."
                                     : "No model was named, and there is no default.%.*s",
                       ps_utf8_quoted(model, 120), model.len > 0 ? model.ptr : "");
        ps_line_fault(v, v->number, "model_not_found", param, message);
        return false;
    }
    if (ps_route_of_client_key(route) != NULL) {
        ps_line_fault(v, v->number, "invalid_request", param,
                      "The provider behind this model is asked with the client's own key, which is "
                      "not there in the background.");
        return false;
    }
    note_model(v, model);
    return true;
}

static bool check_body(struct ps_validation *v)
{
    bool openai = v->desk->batch.api == PS_BATCH_OPENAI;
    if (!v->found[PS_LINE_BODY].there || v->found[PS_LINE_BODY].type != PS_JSON_OBJECT) {
        ps_line_fault(v, v->number, "invalid_request", openai ? "body" : "params",
                      openai ? "body must be an object." : "params must be an object.");
        return false;
    }
    if (v->found[PS_LINE_STREAM].there && v->found[PS_LINE_STREAM].type == PS_JSON_TRUE) {
        ps_line_fault(v, v->number, "invalid_request", openai ? "body.stream" : "params.stream",
                      "stream must not be true in a batch.");
        return false;
    }
    /* it would be answered before it was done */
    if (v->found[PS_LINE_BACKGROUND].there && v->found[PS_LINE_BACKGROUND].type == PS_JSON_TRUE &&
        ps_slice_eq_cstr(v->desk->batch.endpoint, "/v1/responses")) {
        ps_line_fault(v, v->number, "invalid_request", "body.background",
                      "background must not be true in a batch.");
        return false;
    }
    return check_model(v);
}

/* The custom_id goes behind the others, so that it is there when the store is told. */
static bool take_id(struct ps_validation *v)
{
    struct ps_slice id;
    char message[160];
    if (!text_of(v, PS_LINE_CUSTOM_ID, &id) || id.len == 0 || characters(id) > MAX_ID) {
        ps_line_fault(v, v->number, "invalid_request", "custom_id",
                      "custom_id must be a string of 1 to 512 characters.");
        return false;
    }
    int added = ps_id_set_add(&v->ids, id);
    if (added == 0) {
        (void)snprintf(message, sizeof(message), "The custom_id \"%.*s\" was used before.",
                       ps_utf8_quoted(id, 80), id.ptr);
        ps_line_fault(v, v->number, "duplicate_custom_id", "custom_id", message);
        return false;
    }
    if (v->line_count < PS_SLICE_LINES) {
        v->name_at[v->line_count] = v->names.len;
    }
    if (v->fault_count == 0) {
        ps_buf_slice(&v->names, id);
    }
    v->short_of_memory = v->short_of_memory || added < 0 || v->names.failed;
    return true;
}

/* ---- lines ---- */

void ps_line_begin(struct ps_validation *v, uint64_t offset)
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

void ps_line_feed(struct ps_validation *v, const char *ptr, size_t len)
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
        ps_line_fault(v, v->number, "invalid_request", NULL,
                      "The line is longer than a request may be.");
        return;
    }
    if (v->error == PS_JSON_OK) {
        v->error = ps_json_scan_finish(&v->scan);
    }
    if (v->error != PS_JSON_OK) {
        (void)snprintf(message, sizeof(message), "The line %s.", ps_json_error_text(v->error));
        ps_line_fault(v, v->number, "invalid_json_line", NULL, message);
        return;
    }
    if (v->scan.root != PS_JSON_OBJECT) {
        ps_line_fault(v, v->number, "invalid_json_line", NULL, "The line is not a JSON object.");
        return;
    }
    if (!take_id(v) || !check_endpoint(v) || !check_body(v) || v->fault_count > 0) {
        return;
    }
    v->lines[v->line_count++] = (struct ps_store_line){
        .line = v->requests - 1,
        .offset = v->line_off + v->found[PS_LINE_BODY].start,
        .length = v->found[PS_LINE_BODY].end - v->found[PS_LINE_BODY].start,
    };
}

void ps_line_end(struct ps_validation *v)
{
    v->number++;
    if (v->blank) {
        v->blank_at = v->blank_at == 0 ? v->number : v->blank_at;
        return;
    }
    if (v->blank_at != 0) {
        ps_line_fault(v, v->blank_at, "invalid_json_line", NULL, "The line is empty.");
        v->blank_at = 0;
    }
    v->requests++;
    if (v->requests > MAX_LINES) {
        ps_line_fault(v, 0, "too_many_tasks", NULL, "A batch has at most 50000 requests.");
        v->ended = true;
        return;
    }
    check_line(v);
}

void ps_line_end_of_input(struct ps_validation *v)
{
    if (v->any) {
        ps_line_end(v);
    }
    if (v->requests == 0 && v->fault_count == 0) {
        ps_line_fault(v, 0, "empty_batch", NULL, "The file has no requests.");
    }
    v->ended = true;
}
