/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

/*
 * POST /generate that is to be a job: the exchange has read and checked the request, and does no
 * more.
 *
 * The happy path: a body of at most 64 KiB goes into the row, a longer one to disk first; the row
 * is added; when that is on disk the client is told 202 and where to look.
 *
 * How it fails: a status of the store or of the disk is its fault; then nothing was kept. A client
 * that leaves before the answer may have a job all the same: with an Idempotency-Key it can ask
 * again and gets the same one.
 */

#define LIFE_MS    INT64_C(86400000) /* what has not ended by then is expired */
#define HEAD_BYTES 65536

struct background {
    struct ps_store_call call;
    struct ps_conn *conn;
    struct ps_upload *upload; /* owned; NULL: none runs */
    /* The stored body: the client's own, or, where that was bare text, an object around it. */
    struct ps_slice before;
    struct ps_slice behind;
    struct ps_slice text;         /* NULL: the chain */
    const struct ps_chain *chain; /* of the exchange */
    uint64_t length;
    uint64_t at; /* handed to the upload so far */
    struct ps_slice webhook;
};

bool ps_background_preferred(const struct ps_http_head *head)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct ps_slice value = head->headers[i].value;
        if (!ps_slice_ieq(head->headers[i].name, PS_SLICE_LIT("prefer"))) {
            continue;
        }
        while (value.len > 0) {
            const char *comma = memchr(value.ptr, ',', value.len);
            size_t len = comma != NULL ? (size_t)(comma - value.ptr) : value.len;
            struct ps_slice one = ps_slice(value.ptr, len);
            const char *semicolon = memchr(one.ptr, ';', one.len);
            if (semicolon != NULL) {
                one.len = (size_t)(semicolon - one.ptr);
            }
            if (ps_slice_ieq(ps_slice_trim(one), PS_SLICE_LIT("respond-async"))) {
                return true;
            }
            len += comma != NULL ? 1 : 0;
            value = ps_slice(value.ptr + len, value.len - len);
        }
    }
    return false;
}

/* ---- the answer ---- */

static void on_added(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK && command->status != PS_STORE_REPEATED) {
        ps_side_refuse(conn, command->status, "job");
        return;
    }
    const struct ps_store_job *job =
        command->out.job_count > 0 ? &command->out.jobs[0] : &command->in.job;
    char location[16 + PS_ID_MAX] = "/jobs/";
    memcpy(location + 6, job->id.text, strlen(job->id.text) + 1);
    ps_jobs_wake(ps_side_jobs(conn));

    struct ps_buf out;
    struct ps_buf body;
    ps_buf_init(&out, HEAD_BYTES);
    ps_buf_init(&body, HEAD_BYTES);
    ps_buf_cstr(&body, "{\"id\":");
    ps_buf_json(&body, ps_slice_cstr(job->id.text));
    ps_buf_cstr(&body, ",\"status\":\"queued\"}");
    ps_reply_begin(conn, &out, 202);
    ps_http_write_header_cstr(&out, "content-type", "application/json");
    ps_http_write_header_cstr(&out, "location", location);
    if (ps_background_preferred(conn->request.head)) {
        ps_http_write_header_cstr(&out, "preference-applied", "respond-async");
    }
    ps_reply_send(conn, &out, ps_buf_view(&body));
    ps_buf_deinit(&out);
    ps_buf_deinit(&body);
}

/* ---- the row ---- */

/* The longest run of the stored body at `at`. */
static struct ps_slice run_at(const struct background *job, uint64_t at, uint64_t most)
{
    uint64_t middle = job->text.ptr != NULL ? job->text.len : job->chain->len;
    struct ps_slice part;
    if (at < job->before.len) {
        part = ps_slice(job->before.ptr + at, job->before.len - (size_t)at);
    } else if (at - job->before.len < middle) {
        size_t inside = (size_t)(at - job->before.len);
        part = job->text.ptr != NULL ? ps_slice(job->text.ptr + inside, job->text.len - inside)
                                     : ps_chain_run(job->chain, inside, job->chain->len - inside);
    } else {
        size_t inside = (size_t)(at - job->before.len - middle);
        part = ps_slice(job->behind.ptr + inside, job->behind.len - inside);
    }
    part.len = part.len < most ? part.len : (size_t)most;
    return part;
}

static int put_inline(const struct background *job, struct ps_store_command *command,
                      unsigned char *hash)
{
    char *bytes = ps_arena_alloc(&command->arena, (size_t)job->length + 1);
    if (bytes == NULL) {
        return -1;
    }
    for (uint64_t at = 0; at < job->length;) {
        struct ps_slice part = run_at(job, at, job->length - at);
        memcpy(bytes + at, part.ptr, part.len);
        at += part.len;
    }
    ps_sha256(bytes, (size_t)job->length, hash);
    command->in.job.request.bytes = ps_slice(bytes, (size_t)job->length);
    command->in.job.request.length = job->length;
    return 0;
}

static int fill_row(struct background *job, struct ps_store_command *command,
                    const struct ps_blob_name *blob, const unsigned char *sha256,
                    struct ps_fault *fault)
{
    struct ps_conn *conn = job->conn;
    struct ps_store_job *row = &command->in.job;
    unsigned char hash[PS_SHA256_SIZE];
    ps_id_make(&row->id, "job_");
    command->in.id = row->id;
    row->tenant = command->in.tenant;
    row->key = ps_store_command_copy(command, conn->request.identity.key);
    row->endpoint = PS_SLICE_LIT("/generate");
    row->status = PS_JOB_QUEUED;
    row->created_ms = command->in.now_ms;
    row->expires_ms = row->created_ms + LIFE_MS;
    row->webhook = ps_store_command_copy(command, job->webhook);
    bool short_of_memory = row->key.ptr == NULL || row->webhook.ptr == NULL;
    if (blob != NULL) {
        row->request.blob = *blob;
        row->request.length = job->length;
        memcpy(hash, sha256, sizeof(hash));
    } else if (!short_of_memory) {
        short_of_memory = put_inline(job, command, hash) != 0;
    }
    if (short_of_memory) {
        ps_store_fault(PS_STORE_NO_MEMORY, "job", fault);
        return -1;
    }
    return ps_side_idempotency(conn, command, hash, fault);
}

static void add_row(struct background *job, const struct ps_blob_name *blob,
                    const unsigned char *sha256)
{
    struct ps_fault fault;
    struct ps_store_command *command = ps_store_call_new(job->conn, PS_STORE_JOB_ADD);
    if (command == NULL) {
        return;
    }
    if (fill_row(job, command, blob, sha256, &fault) != 0) {
        ps_store_command_free(command);
        ps_reply_fault(job->conn, &fault);
        return;
    }
    ps_store_call(&job->call, job->conn, command, on_added);
}

/* ---- a long body ---- */

static void refuse_upload(struct background *job, const struct ps_fault *fault)
{
    if (job->upload != NULL) {
        ps_upload_cancel(job->upload);
        job->upload = NULL;
    }
    ps_reply_fault(job->conn, fault);
}

static void write_more(struct background *job)
{
    while (job->at < job->length && !ps_upload_full(job->upload)) {
        struct ps_slice part = run_at(job, job->at, 256 << 10);
        if (ps_upload_write(job->upload, part.ptr, part.len) != 0) {
            struct ps_fault fault;
            ps_store_fault(PS_STORE_NO_MEMORY, "job", &fault);
            refuse_upload(job, &fault);
            return;
        }
        job->at += part.len;
    }
    if (job->at == job->length) {
        ps_upload_finish(job->upload);
    }
}

static void on_room(void *arg)
{
    struct background *job = arg;
    if (job->at < job->length) {
        write_more(job);
    }
}

static void on_upload_end(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                          const unsigned char *sha256)
{
    struct background *job = arg;
    (void)length;
    job->upload = NULL;
    if (error != 0) {
        struct ps_fault fault;
        ps_side_errno(error, &fault);
        ps_reply_fault(job->conn, &fault);
    } else {
        add_row(job, name, sha256);
    }
}

static const struct ps_upload_ops upload_ops = {on_room, on_upload_end};

/* ---- the request ---- */

static int prepare(struct background *job, struct ps_fault *fault)
{
    const struct ps_request *asked = ps_exchange_request(job->conn->request.exchange);
    const struct ps_generate_values *values = asked->generate;
    if (ps_side_check(job->conn, fault) != 0) {
        return -1;
    }
    if (ps_http_find(job->conn->request.head, "x-penstock-provider") != NULL) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "x-penstock-provider",
                            "x-penstock-provider does not go with the background: name the model "
                            "as provider/model.");
    }
    job->chain = asked->body;
    job->length = asked->body->len;
    if (values->bare) {
        job->before = PS_SLICE_LIT("{\"prompt\":");
        job->text = values->prompt;
        job->behind = PS_SLICE_LIT("}");
        job->length = job->before.len + job->text.len + job->behind.len;
    }
    return ps_side_webhook(job->conn, values->webhook, &job->webhook, fault);
}

void ps_background_accept(struct ps_conn *conn)
{
    struct ps_fault fault;
    struct background *job = ps_calloc(1, sizeof(*job));
    if (job == NULL) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "job");
        return;
    }
    job->conn = conn;
    conn->request.side = job;
    if (prepare(job, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    if (job->length <= PS_STORE_INLINE_BYTES) {
        add_row(job, NULL, NULL);
        return;
    }
    job->upload = ps_upload_new(ps_store_blobs(ps_jobs_store(ps_side_jobs(conn))),
                                conn->server->gl->mailbox, &upload_ops, job);
    if (job->upload == NULL) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "job");
        return;
    }
    write_more(job);
}

static void close_background(struct ps_conn *conn)
{
    struct background *job = conn->request.side;
    if (job->upload != NULL) {
        ps_upload_cancel(job->upload);
    }
    ps_store_call_drop(&job->call);
    ps_free(job);
}

/* Only its end: the rest of the request is its exchange's. */
const struct ps_side_ops ps_background_ops = {NULL, NULL, NULL, NULL, close_background};
