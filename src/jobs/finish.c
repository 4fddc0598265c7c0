/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * The files of a batch that has ended: answers with a 2xx go to one, everything else to the other.
 *
 * The happy path: outcomes are read from the store a page at a time and written as lines; the files
 * are committed, then one transaction makes them appear and ends the batch.
 *
 * How it fails: the page, the commit or the transaction is tried again after a while. A process
 * that dies leaves files that no row names, which are swept, and the next one begins anew: there is
 * one set of files whatever happened.
 */

#define PAGE       100
#define FLUSH      262144
#define LINE_EXTRA 65536
#define NOT_JSON   ((size_t)1 << 20) /* kept of a large answer that is no JSON */

enum {
    OUTPUT,
    ERRORS,
    FILES
};

struct file {
    struct ps_blob_file *blob; /* owned; NULL: nothing was written, or it is committed */
    struct ps_buf buf;
    struct ps_blob_name name; /* committed */
    uint64_t bytes;
    struct ps_id id;
};

struct ps_finishing {
    struct ps_desk *desk;
    struct file files[FILES];
    uint64_t line; /* the next */
    uint64_t lines;
    bool written;   /* all of it */
    bool committed; /* both */
    bool told;      /* the store may know already */
    char *piece;    /* owned, FLUSH bytes */
};

void ps_finishing_free(struct ps_finishing *f)
{
    if (f == NULL) {
        return;
    }
    for (int i = 0; i < FILES; i++) {
        ps_blob_abort(f->files[i].blob);
        ps_buf_deinit(&f->files[i].buf);
    }
    ps_free(f->piece);
    ps_free(f);
}

static struct ps_blobs *blobs_of(const struct ps_finishing *f)
{
    return ps_store_blobs(f->desk->jobs->store);
}

/* ---- writing ---- */

static int flush(struct ps_finishing *f, struct file *file)
{
    if (file->buf.failed) {
        return -1;
    }
    if (file->buf.len == 0) {
        return 0;
    }
    if (file->blob == NULL) {
        file->blob = ps_blob_create(blobs_of(f));
    }
    if (file->blob == NULL || ps_blob_append(file->blob, file->buf.ptr, file->buf.len) != 0) {
        return -1;
    }
    file->bytes += file->buf.len;
    ps_buf_reset(&file->buf);
    return 0;
}

/* JSON with its line ends taken out: they are white space, or it would be none. */
static void put_json(struct ps_buf *out, struct ps_slice json)
{
    size_t run = 0;
    for (size_t i = 0; i < json.len; i++) {
        if (json.ptr[i] == '\n' || json.ptr[i] == '\r') {
            ps_buf_append(out, json.ptr + run, i - run);
            run = i + 1;
        }
    }
    ps_buf_append(out, json.ptr + run, json.len - run);
}

static bool is_json(struct ps_slice text)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    return ps_json_scan_text(text, NULL, &limits, NULL, NULL) == PS_JSON_OK;
}

/* A blob a piece at a time. `fn` 0, or -1 to stop. */
static int each_piece(struct ps_finishing *f, const struct ps_store_body *body,
                      int (*fn)(void *arg, const char *ptr, size_t len), void *arg)
{
    for (uint64_t at = 0; at < body->length;) {
        size_t len = body->length - at < FLUSH ? (size_t)(body->length - at) : FLUSH;
        if (ps_blob_read(blobs_of(f), &body->blob, body->offset + at, f->piece, len) != 0) {
            return -1;
        }
        if (fn(arg, f->piece, len) != 0) {
            return 1;
        }
        at += len;
    }
    return 0;
}

static int scan_piece(void *arg, const char *ptr, size_t len)
{
    return ps_json_scan_feed(arg, ptr, len) == PS_JSON_OK ? 0 : -1;
}

struct pouring {
    struct ps_finishing *f;
    struct file *file;
    bool failed;
};

static int pour_piece(void *arg, const char *ptr, size_t len)
{
    struct pouring *pouring = arg;
    put_json(&pouring->file->buf, ps_slice(ptr, len));
    pouring->failed = flush(pouring->f, pouring->file) != 0;
    return pouring->failed ? -1 : 0;
}

/* A result that somebody has damaged must not keep all the others back for ever. Any other failure
 * to read may pass. */
static int put_lost(struct file *file, const struct ps_store_body *body)
{
    if (errno != ENOENT && errno != EIO) {
        return -1;
    }
    ps_log(PS_LOG_ERROR, "the stored result %s cannot be read: it is missing or damaged",
           body->blob.text);
    ps_buf_cstr(&file->buf, "{\"error\":{\"message\":\"The stored result is damaged.\",\"type\":"
                            "\"server_error\",\"param\":null,\"code\":\"result_lost\"}}");
    return 0;
}

static int put_large(struct ps_finishing *f, struct file *file, const struct ps_store_body *body)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    struct ps_json_scan scan;
    ps_json_scan_init(&scan, NULL, &limits, NULL, NULL);
    int result = each_piece(f, body, scan_piece, &scan);
    if (result < 0) {
        return put_lost(file, body);
    }
    if (result == 0 && ps_json_scan_finish(&scan) == PS_JSON_OK) {
        struct pouring pouring = {f, file, false};
        return each_piece(f, body, pour_piece, &pouring) != 0 ? -1 : 0;
    }
    size_t len = body->length < NOT_JSON ? (size_t)body->length : NOT_JSON;
    char *text = ps_malloc(len);
    result = text != NULL ? ps_blob_read(blobs_of(f), &body->blob, body->offset, text, len) : -1;
    if (result == 0) {
        ps_buf_json(&file->buf, ps_slice(text, len));
    }
    ps_free(text);
    return result;
}

static int put_body(struct ps_finishing *f, struct file *file, const struct ps_store_body *body)
{
    if (body->blob.text[0] != '\0') {
        return put_large(f, file, body);
    }
    if (is_json(body->bytes)) {
        put_json(&file->buf, body->bytes);
    } else {
        ps_buf_json(&file->buf, body->bytes);
    }
    return 0;
}

/* ---- lines ---- */

static void put_error(struct ps_buf *out, const struct ps_store_outcome *outcome)
{
    if (outcome->error.len > 0 && is_json(outcome->error)) {
        put_json(out, outcome->error);
    } else if (outcome->status == PS_JOB_EXPIRED) {
        ps_buf_cstr(out, "{\"code\":\"batch_expired\",\"message\":\"This request could not be "
                         "executed before the completion window expired.\"}");
    } else if (outcome->status == PS_JOB_CANCELLED) {
        ps_buf_cstr(out, "{\"code\":\"batch_cancelled\",\"message\":\"This request was not "
                         "executed, since the batch was cancelled.\"}");
    } else {
        ps_buf_cstr(out, "{\"code\":\"server_error\",\"message\":\"This request could not be "
                         "executed.\"}");
    }
}

static int put_openai(struct ps_finishing *f, const struct ps_store_outcome *outcome)
{
    bool good = outcome->http_status >= 200 && outcome->http_status < 300;
    struct file *file = &f->files[good ? OUTPUT : ERRORS];
    struct ps_buf *out = &file->buf;
    const char *id = f->desk->batch.id.text;
    const char *mark = strchr(id, '_');
    ps_buf_printf(out, "{\"id\":\"batch_req_%s_%llu\",\"custom_id\":", mark != NULL ? mark + 1 : id,
                  (unsigned long long)outcome->line);
    ps_buf_json(out, outcome->custom_id);
    if (outcome->http_status == 0) {
        ps_buf_cstr(out, ",\"response\":null,\"error\":");
        put_error(out, outcome);
        ps_buf_cstr(out, "}\n");
        return 0;
    }
    ps_buf_printf(out, ",\"response\":{\"status_code\":%d,\"request_id\":", outcome->http_status);
    ps_buf_json(out, outcome->request_id);
    ps_buf_cstr(out, ",\"body\":");
    if (put_body(f, file, &outcome->body) != 0) {
        return -1;
    }
    ps_buf_cstr(out, "},\"error\":null}\n");
    return 0;
}

/* All of them in one file. */
static int put_anthropic(struct ps_finishing *f, const struct ps_store_outcome *outcome)
{
    struct file *file = &f->files[OUTPUT];
    struct ps_buf *out = &file->buf;
    bool good = outcome->http_status >= 200 && outcome->http_status < 300;
    ps_buf_cstr(out, "{\"custom_id\":");
    ps_buf_json(out, outcome->custom_id);
    ps_buf_cstr(out, ",\"result\":{\"type\":");
    if (outcome->http_status != 0) {
        ps_buf_cstr(out, good ? "\"succeeded\",\"message\":" : "\"errored\",\"error\":");
        if (put_body(f, file, &outcome->body) != 0) {
            return -1;
        }
    } else if (outcome->status == PS_JOB_EXPIRED || outcome->status == PS_JOB_CANCELLED) {
        ps_buf_cstr(out, outcome->status == PS_JOB_EXPIRED ? "\"expired\"" : "\"canceled\"");
    } else {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL, "This request could not be executed.");
        ps_buf_cstr(out, "\"errored\",\"error\":");
        ps_dialect_write_fault(ps_dialect_of_family(PS_FAMILY_ANTHROPIC), &fault,
                               outcome->request_id, out);
    }
    ps_buf_cstr(out, "}}\n");
    return 0;
}

static int write_page(struct ps_finishing *f, const struct ps_store_out *page)
{
    bool openai = f->desk->batch.api == PS_BATCH_OPENAI;
    for (size_t i = 0; i < page->outcome_count; i++) {
        const struct ps_store_outcome *outcome = &page->outcomes[i];
        if ((openai ? put_openai(f, outcome) : put_anthropic(f, outcome)) != 0) {
            return -1;
        }
        for (int k = 0; k < FILES; k++) {
            if (f->files[k].buf.len >= FLUSH && flush(f, &f->files[k]) != 0) {
                return -1;
            }
        }
        f->line = outcome->line + 1;
        f->lines++;
    }
    return f->files[OUTPUT].buf.failed || f->files[ERRORS].buf.failed ? -1 : 0;
}

/* ---- the store ---- */

static bool is_ill(enum ps_store_status status)
{
    return status == PS_STORE_BROKEN || status == PS_STORE_DISK_FULL || status == PS_STORE_BUSY ||
           status == PS_STORE_NO_MEMORY;
}

/* What was half written is worth nothing: the desk begins anew. */
static enum ps_desk_step begin_anew(struct ps_desk *desk)
{
    ps_finishing_free(desk->files);
    desk->files = NULL;
    return PS_DESK_LATER;
}

static enum ps_desk_step take_page(struct ps_finishing *f)
{
    struct ps_desk *desk = f->desk;
    struct ps_store_command *command = ps_jobs_command(PS_STORE_OUTCOMES, NULL);
    if (command == NULL) {
        return PS_DESK_LATER;
    }
    command->in.id = desk->batch.id;
    command->in.after_line = f->line;
    command->in.limit = PAGE;
    enum ps_store_status status = ps_store_do(desk->jobs->store, command);
    enum ps_desk_step step = PS_DESK_AGAIN;
    if (is_ill(status)) {
        step = PS_DESK_LATER;
    } else if (status != PS_STORE_OK) {
        step = PS_DESK_OVER; /* it is gone */
    } else if (write_page(f, &command->out) != 0) {
        step = begin_anew(desk);
    } else {
        f->written = !command->out.more || command->out.outcome_count == 0;
    }
    ps_store_command_free(command);
    return step;
}

static void remove_files(struct ps_finishing *f)
{
    for (int i = 0; i < FILES; i++) {
        if (f->files[i].name.text[0] != '\0') {
            ps_blob_remove(blobs_of(f), &f->files[i].name);
        }
    }
}

static enum ps_desk_step commit_files(struct ps_finishing *f)
{
    for (int i = 0; i < FILES; i++) {
        struct file *file = &f->files[i];
        if (flush(f, file) != 0) {
            return begin_anew(f->desk);
        }
        if (file->blob != NULL) {
            struct ps_blob_file *blob = file->blob;
            file->blob = NULL;
            if (ps_blob_commit(blob, &file->name, NULL) != 0) {
                file->name.text[0] = '\0';
                remove_files(f);
                return begin_anew(f->desk);
            }
            ps_id_make(&file->id, "file-");
        }
    }
    f->committed = true;
    return PS_DESK_AGAIN;
}

static size_t fill_files(struct ps_finishing *f, struct ps_store_command *command,
                         struct ps_store_file *files)
{
    static const char *const words[] = {"output", "error"};
    const struct ps_store_batch *batch = &f->desk->batch;
    size_t count = 0;
    for (int i = 0; i < FILES; i++) {
        struct file *file = &f->files[i];
        if (file->name.text[0] == '\0') {
            continue;
        }
        const char *name =
            ps_arena_printf(&command->arena, "%s_%s.jsonl", batch->id.text, words[i]);
        files[count++] = (struct ps_store_file){
            .id = file->id,
            .tenant = batch->tenant,
            .purpose = batch->api == PS_BATCH_OPENAI ? PS_SLICE_LIT("batch_output")
                                                     : PS_SLICE_LIT(PS_STORE_UNLISTED),
            .filename = ps_slice_cstr(name != NULL ? name : words[i]),
            .bytes = file->bytes,
            .created_ms = command->in.now_ms,
            .expires_ms =
                batch->output_life_ms > 0 ? command->in.now_ms + batch->output_life_ms : 0,
            .blob = file->name,
        };
        *(i == OUTPUT ? &command->in.batch.output_file : &command->in.batch.error_file) = file->id;
    }
    return count;
}

static int fill_hook(struct ps_finishing *f, struct ps_store_command *command)
{
    struct ps_store_batch batch = f->desk->batch;
    struct ps_buf payload;
    if (batch.webhook.len == 0) {
        return 0;
    }
    batch.output_file = command->in.batch.output_file;
    batch.error_file = command->in.batch.error_file;
    ps_buf_init(&payload, PS_JOBS_INLINE);
    ps_hooks_batch_payload(&payload, &batch, batch.becomes, command->in.now_ms);
    command->in.hook_type = ps_hooks_batch_type(batch.becomes);
    command->in.hook_payload = ps_store_command_copy(command, ps_buf_view(&payload));
    bool failed = payload.failed || command->in.hook_payload.ptr == NULL;
    ps_buf_deinit(&payload);
    return failed ? -1 : 0;
}

/* From the row as it is now. */
static void note_end(struct ps_desk *desk, const struct ps_store_out *out)
{
    desk->changed = true;
    desk->status = desk->batch.becomes;
    if (out->batch_count > 0) {
        const struct ps_store_batch *last = &out->batches[0];
        desk->status = last->status;
        desk->batch.completed = last->completed;
        desk->batch.failed = last->failed;
        desk->batch.input_tokens = last->input_tokens;
        desk->batch.output_tokens = last->output_tokens;
    }
}

static enum ps_desk_step tell_store(struct ps_finishing *f)
{
    struct ps_desk *desk = f->desk;
    struct ps_store_file files[FILES];
    struct ps_store_command *command = ps_jobs_command(PS_STORE_BATCH_FINISH, NULL);
    if (command == NULL) {
        return PS_DESK_LATER;
    }
    command->in.id = desk->batch.id;
    command->in.files = files;
    command->in.file_count = fill_files(f, command, files);
    enum ps_store_status status =
        fill_hook(f, command) == 0 ? ps_store_do(desk->jobs->store, command) : PS_STORE_NO_MEMORY;
    if (status == PS_STORE_OK) {
        note_end(desk, &command->out);
    } else if (!is_ill(status) && !f->told) {
        remove_files(f); /* somebody else has ended it */
    }
    f->told = f->told || status == PS_STORE_BROKEN || status == PS_STORE_DISK_FULL;
    desk->lines = f->lines;
    ps_store_command_free(command);
    return is_ill(status) ? PS_DESK_LATER : PS_DESK_OVER;
}

/* ---- steps ---- */

static struct ps_finishing *begin(struct ps_desk *desk)
{
    struct ps_finishing *f = ps_calloc(1, sizeof(*f));
    if (f == NULL) {
        return NULL;
    }
    f->desk = desk;
    for (int i = 0; i < FILES; i++) {
        ps_buf_init(&f->files[i].buf, NOT_JSON * 6 + 4 * FLUSH + LINE_EXTRA);
    }
    f->piece = ps_malloc(FLUSH);
    if (f->piece == NULL) {
        ps_finishing_free(f);
        return NULL;
    }
    return f;
}

enum ps_desk_step ps_finish_step(struct ps_desk *desk)
{
    struct ps_finishing *f = desk->files;
    if (f == NULL) {
        f = begin(desk);
        if (f == NULL) {
            return PS_DESK_LATER;
        }
        desk->files = f;
    }
    if (!f->written) {
        return take_page(f);
    }
    if (!f->committed) {
        return commit_files(f);
    }
    return tell_store(f);
}
