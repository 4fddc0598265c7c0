/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/clock.h"
#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"
#include "penstock/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * What e2e/test_store_faults.py starts on a disk that fails, and kills:
 *
 *   store_driver run FOLDER SEED STEPS THREADS [heal]
 *       A workload; says a line for each command that was answered, as soon as it was:
 *         file ID BYTES SHA · gone ID (a file, deleted) · job ID SHA (of its request) ·
 *         batch ID LINES · settled ID LINE SHA (of the result) · finished ID
 *       and before the command `try …`, since what was asked but not answered may be there or not.
 *       Commands that fail are said as `refused VERB ID STATUS`. heal: at the end, on a disk that
 *       works again, the store must work again too.
 *   store_driver verify FOLDER < what run said
 *       Reopens: what was answered is there, what is there is whole, and the store works. Says what
 *       is not so and exits 1.
 */

enum {
    SHA_HEX = 2 * PS_SHA256_SIZE + 1,
    LINE_MAX_BYTES = 512,
    BODY_MAX = 200000,
    HELD = 64,
};
#define TENANT PS_SLICE_LIT("t")

static struct ps_store *store;

static void fail(const char *what, const char *id, const char *why)
{
    (void)fprintf(stderr, "store_driver: %s %s: %s\n", what, id, why);
    exit(1);
}

/* One write for each line: it is said wholly or not at all. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof line || write(STDOUT_FILENO, line, (size_t)len) != len) {
        _exit(2);
    }
}

static void sha_hex(const void *bytes, size_t len, char ret[SHA_HEX])
{
    uint8_t hash[PS_SHA256_SIZE];
    ps_sha256(bytes, len, hash);
    for (size_t i = 0; i < sizeof hash; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", hash[i]);
    }
}

static struct ps_store_command *command_new(enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    if (command == NULL) {
        fail("memory", "", "short");
    }
    command->in.tenant = TENANT;
    command->in.now_ms = ps_clock_wall_ms();
    return command;
}

/* ---- the workload ---- */

struct worker {
    pthread_t thread;
    uint64_t seed;
    unsigned steps;
    struct ps_id files[HELD];
    struct ps_blob_name blobs[HELD];
    uint64_t lengths[HELD];
    size_t file_count;
    char body[BODY_MAX];
};

static uint64_t draw(struct worker *worker)
{
    worker->seed = worker->seed * 6364136223846793005U + 1442695040888963407U;
    return worker->seed >> 33;
}

/* Sizes on both sides of what lies in a row, mostly small. */
static size_t draw_body(struct worker *worker)
{
    static const size_t sizes[] = {20, 300, 3000, 9000, PS_STORE_INLINE_BYTES, BODY_MAX};
    size_t len = sizes[draw(worker) % (draw(worker) % 4 == 0 ? 6 : 4)];
    int head =
        snprintf(worker->body, sizeof worker->body, "{\"n\":%" PRIu64 ",\"fill\":\"", worker->seed);
    for (size_t i = (size_t)head; i < len; i++) {
        worker->body[i] = (char)('a' + (i * 7 + worker->seed) % 26);
    }
    return len > (size_t)head ? len : (size_t)head;
}

static bool put_blob(const void *bytes, size_t len, struct ps_blob_name *ret)
{
    struct ps_blob_file *file = ps_blob_create(ps_store_blobs(store));
    if (file == NULL) {
        say("refused blob - %d\n", errno);
        return false;
    }
    if (ps_blob_append(file, bytes, len) != 0) {
        say("refused blob - %d\n", errno);
        ps_blob_abort(file);
        return false;
    }
    if (ps_blob_commit(file, ret, NULL) != 0) {
        say("refused blob - %d\n", errno);
        return false;
    }
    return true;
}

/* In the row or in a file, as its length wants it. */
static bool put_body(struct ps_store_command *command, const char *bytes, size_t len,
                     struct ps_store_body *ret)
{
    *ret = (struct ps_store_body){.length = len};
    if (len <= PS_STORE_INLINE_BYTES) {
        ret->bytes = ps_store_command_copy(command, ps_slice(bytes, len));
        return ret->bytes.ptr != NULL;
    }
    return put_blob(bytes, len, &ret->blob);
}

/* OK, or it is said that it was refused; then nothing of it may be kept. */
static bool do_it(struct ps_store_command *command, const char *verb, const char *id)
{
    enum ps_store_status status = ps_store_do(store, command);
    if (status == PS_STORE_OK) {
        return true;
    }
    say("refused %s %s %s\n", verb, id, ps_store_status_name(status));
    if (status == PS_STORE_BROKEN) {
        (void)usleep(20000); /* it is opened again once a second at the most */
    }
    return false;
}

static void add_file(struct worker *worker)
{
    char sha[SHA_HEX];
    struct ps_blob_name blob;
    size_t len = draw_body(worker);
    if (worker->file_count == HELD || !put_blob(worker->body, len, &blob)) {
        return;
    }
    struct ps_store_command *command = command_new(PS_STORE_FILE_ADD);
    struct ps_store_file *file = &command->in.file;
    ps_id_make(&file->id, "file-");
    file->tenant = TENANT;
    file->purpose = PS_SLICE_LIT("batch");
    file->filename = PS_SLICE_LIT("x.jsonl");
    file->bytes = len;
    file->created_ms = command->in.now_ms;
    file->blob = blob;
    sha_hex(worker->body, len, sha);
    say("try file %s\n", file->id.text);
    if (do_it(command, "file", file->id.text)) {
        say("file %s %zu %s\n", file->id.text, len, sha);
        worker->files[worker->file_count] = file->id;
        worker->blobs[worker->file_count] = blob;
        worker->lengths[worker->file_count++] = len;
    }
    ps_store_command_free(command);
}

static void delete_file(struct worker *worker)
{
    if (worker->file_count == 0) {
        return;
    }
    struct ps_store_command *command = command_new(PS_STORE_FILE_DELETE);
    command->in.id = worker->files[--worker->file_count];
    say("try gone %s\n", command->in.id.text);
    if (do_it(command, "gone", command->in.id.text)) {
        say("gone %s\n", command->in.id.text);
    }
    ps_store_command_free(command);
}

static void add_job(struct worker *worker)
{
    char sha[SHA_HEX];
    struct ps_store_command *command = command_new(PS_STORE_JOB_ADD);
    struct ps_store_job *job = &command->in.job;
    size_t len = draw_body(worker);
    if (put_body(command, worker->body, len, &job->request)) {
        ps_id_make(&job->id, "job_");
        job->tenant = TENANT;
        job->key = PS_SLICE_LIT("k");
        job->endpoint = PS_SLICE_LIT("/generate");
        job->created_ms = command->in.now_ms;
        job->expires_ms = command->in.now_ms + 86400000;
        sha_hex(worker->body, len, sha);
        say("try job %s\n", job->id.text);
        if (do_it(command, "job", job->id.text)) {
            say("job %s %s\n", job->id.text, sha);
        }
    }
    ps_store_command_free(command);
}

static bool add_lines(struct worker *worker, const struct ps_id *id, size_t count, uint64_t bytes)
{
    struct ps_store_line lines[8];
    struct ps_store_command *command = command_new(PS_STORE_BATCH_LINES);
    for (size_t i = 0; i < count; i++) {
        lines[i] = (struct ps_store_line){.line = i,
                                          .custom_id = i % 2 == 0 ? PS_SLICE_LIT("even")
                                                                  : PS_SLICE_LIT("odd"),
                                          .offset = i,
                                          .length = bytes - i};
    }
    command->in.id = *id;
    command->in.lines = lines;
    command->in.line_count = count;
    bool ok = do_it(command, "lines", id->text);
    ps_store_command_free(command);
    if (ok) {
        command = command_new(PS_STORE_BATCH_START);
        command->in.id = *id;
        ok = do_it(command, "start", id->text);
        ps_store_command_free(command);
    }
    (void)worker;
    return ok;
}

static void add_batch(struct worker *worker)
{
    if (worker->file_count == 0) {
        add_file(worker);
        return;
    }
    size_t chosen = draw(worker) % worker->file_count;
    size_t count = 1 + draw(worker) % 4;
    struct ps_store_command *command = command_new(PS_STORE_BATCH_ADD);
    struct ps_store_batch *batch = &command->in.batch;
    ps_id_make(&batch->id, "batch_");
    batch->tenant = TENANT;
    batch->key = PS_SLICE_LIT("k");
    batch->endpoint = PS_SLICE_LIT("/v1/chat/completions");
    batch->input_file = worker->files[chosen];
    batch->created_ms = command->in.now_ms;
    batch->expires_ms = command->in.now_ms + 86400000;
    struct ps_id id = batch->id;
    say("try batch %s\n", id.text);
    bool ok = do_it(command, "batch", id.text);
    ps_store_command_free(command);
    if (ok && add_lines(worker, &id, count, worker->lengths[chosen])) {
        say("batch %s %zu\n", id.text, count);
    }
}

static void finish(const struct ps_id *id)
{
    struct ps_store_command *command = command_new(PS_STORE_BATCH_FINISH);
    struct ps_store_file file = {.tenant = TENANT,
                                 .purpose = PS_SLICE_LIT("batch_output"),
                                 .filename = PS_SLICE_LIT("out.jsonl"),
                                 .bytes = 3,
                                 .created_ms = command->in.now_ms};
    if (put_blob("{}\n", 3, &file.blob)) {
        char sha[SHA_HEX];
        sha_hex("{}\n", 3, sha);
        ps_id_make(&file.id, "file-");
        command->in.id = *id;
        command->in.files = &file;
        command->in.file_count = 1;
        command->in.batch.output_file = file.id;
        say("try finished %s\n", id->text);
        say("try file %s\n", file.id.text);
        if (do_it(command, "finish", id->text)) {
            say("finished %s\n", id->text);
            say("file %s 3 %s\n", file.id.text, sha);
        }
    }
    ps_store_command_free(command);
}

static void settle(struct worker *worker, const struct ps_store_claim *claim)
{
    char sha[SHA_HEX];
    struct ps_store_command *command = command_new(PS_STORE_SETTLE);
    struct ps_store_settlement *settlement = &command->in.settlement;
    size_t len = draw_body(worker);
    *settlement = (struct ps_store_settlement){.id = claim->id,
                                               .line = claim->line,
                                               .fence = claim->fence,
                                               .status = PS_JOB_COMPLETED,
                                               .http_status = 200,
                                               .request_id = PS_SLICE_LIT("req_1"),
                                               .input_tokens = 1,
                                               .output_tokens = 2};
    if (put_body(command, worker->body, len, &settlement->body)) {
        sha_hex(worker->body, len, sha);
        say("try settled %s %" PRId64 "\n", claim->id.text, claim->line);
        if (do_it(command, "settle", claim->id.text)) {
            say("settled %s %" PRId64 " %s\n", claim->id.text, claim->line, sha);
            if (command->out.finished) {
                finish(&claim->id);
            }
        }
    }
    ps_store_command_free(command);
}

static void take(struct worker *worker)
{
    struct ps_store_command *command = command_new(PS_STORE_TAKE);
    command->in.lease_ms = 60000;
    command->in.limit = 4;
    if (do_it(command, "take", "-")) {
        for (size_t i = 0; i < command->out.claim_count; i++) {
            settle(worker, &command->out.claims[i]);
        }
    }
    ps_store_command_free(command);
}

static void *work(void *arg)
{
    static void (*const actions[])(struct worker *) = {add_job,   add_job, add_job, add_file,
                                                       add_batch, take,    take,    delete_file};
    struct worker *worker = arg;
    for (unsigned i = 0; i < worker->steps; i++) {
        actions[draw(worker) % (sizeof actions / sizeof actions[0])](worker);
    }
    return NULL;
}

/* On a disk that works: the store comes back by itself. */
static void heal(struct worker *worker)
{
    int64_t end = ps_clock_us() + 30000000;
    for (;;) {
        struct ps_store_command *command = command_new(PS_STORE_COUNT);
        enum ps_store_status status = ps_store_do(store, command);
        ps_store_command_free(command);
        if (status == PS_STORE_OK) {
            struct ps_blob_name name;
            if (put_blob("x", 1, &name)) {
                break;
            }
        }
        if (ps_clock_us() > end) {
            char problem[256];
            ps_store_problem(store, problem, sizeof problem);
            fail("heal", ps_store_status_name(status), problem);
        }
        (void)usleep(20000);
    }
    add_job(worker);
    take(worker);
    say("healed\n");
}

static int run(uint64_t seed, unsigned steps, unsigned threads, bool heals)
{
    struct worker *workers = calloc(threads, sizeof(*workers));
    if (workers == NULL) {
        return 1;
    }
    struct ps_store_command *command = command_new(PS_STORE_RECOVER);
    (void)do_it(command, "recover", "-");
    ps_store_command_free(command);
    for (unsigned i = 0; i < threads; i++) {
        workers[i].seed = seed * 1000 + i;
        workers[i].steps = steps;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            return 1;
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    if (heals) {
        heal(&workers[0]);
    }
    free(workers);
    return 0;
}

/* ---- afterwards ---- */

static void hash_body(const struct ps_store_body *body, const char *id, char ret[SHA_HEX])
{
    if (body->blob.text[0] == '\0') {
        sha_hex(body->bytes.ptr, body->bytes.len, ret);
        return;
    }
    char *bytes = malloc(body->length + 1);
    if (bytes == NULL ||
        ps_blob_read(ps_store_blobs(store), &body->blob, body->offset, bytes, body->length) != 0) {
        fail("a row without its file", id, strerror(errno));
    }
    sha_hex(bytes, body->length, ret);
    free(bytes);
}

static struct ps_store_command *get(enum ps_store_verb verb, const char *id)
{
    struct ps_store_command *command = command_new(verb);
    (void)snprintf(command->in.id.text, sizeof command->in.id.text, "%s", id);
    (void)ps_store_do(store, command);
    return command;
}

static void check_file(const char *id, size_t len, const char *sha, bool may_be_gone)
{
    char found[SHA_HEX];
    struct ps_store_command *command = get(PS_STORE_FILE_GET, id);
    if (command->status == PS_STORE_OK) {
        const struct ps_store_file *file = &command->out.files[0];
        struct ps_store_body body = {.blob = file->blob, .length = file->bytes};
        hash_body(&body, id, found);
        if (file->bytes != len || strcmp(found, sha) != 0) {
            fail("file", id, "other bytes than were acknowledged");
        }
    } else if (!may_be_gone || command->status != PS_STORE_NOT_FOUND) {
        fail("file", id, ps_store_status_name(command->status));
    }
    ps_store_command_free(command);
}

static void check_gone(const char *id)
{
    struct ps_store_command *command = get(PS_STORE_FILE_GET, id);
    if (command->status != PS_STORE_NOT_FOUND) {
        fail("deleted file", id, ps_store_status_name(command->status));
    }
    ps_store_command_free(command);
}

/* `sha`: of the request, or of the result. */
static void check_job(const char *id, const char *sha, bool settled)
{
    char found[SHA_HEX];
    struct ps_store_command *command = get(PS_STORE_JOB_GET, id);
    if (command->status != PS_STORE_OK) {
        fail("job", id, ps_store_status_name(command->status));
    }
    const struct ps_store_job *job = &command->out.jobs[0];
    bool waits = job->status == PS_JOB_QUEUED || job->status == PS_JOB_RUNNING;
    if (settled && job->status != PS_JOB_COMPLETED) {
        fail("settled job", id, "is not completed");
    }
    if (settled || waits) {
        hash_body(settled ? &job->result : &job->request, id, found);
        if (strcmp(found, sha) != 0) {
            fail("job", id, "other bytes than were acknowledged");
        }
    }
    ps_store_command_free(command);
}

static void check_batch(const char *id, size_t lines, bool finished)
{
    struct ps_store_command *command = get(PS_STORE_BATCH_GET, id);
    if (command->status != PS_STORE_OK) {
        fail("batch", id, ps_store_status_name(command->status));
    }
    const struct ps_store_batch *batch = &command->out.batches[0];
    if (lines > 0 && batch->total != lines) {
        fail("batch", id, "has another number of lines");
    }
    if (finished && batch->status != PS_BATCH_COMPLETED) {
        fail("finished batch", id, "is not completed");
    }
    uint64_t length;
    if (batch->status < PS_BATCH_COMPLETED) {
        int fd = ps_blob_open(ps_store_blobs(store), &batch->input, &length);
        if (fd < 0 || close(fd) != 0) {
            fail("batch", id, "has lost its input");
        }
    }
    ps_store_command_free(command);
}

static void check_line(const char *id, uint64_t line, const char *sha)
{
    struct ps_store_command *command = get(PS_STORE_BATCH_GET, id);
    bool over =
        command->status == PS_STORE_OK && command->out.batches[0].status == PS_BATCH_COMPLETED;
    ps_store_command_free(command);
    if (over) {
        return; /* its lines went when the files came */
    }
    command = command_new(PS_STORE_OUTCOMES);
    (void)snprintf(command->in.id.text, sizeof command->in.id.text, "%s", id);
    command->in.after_line = line;
    command->in.limit = 1;
    if (ps_store_do(store, command) != PS_STORE_OK || command->out.outcome_count != 1 ||
        command->out.outcomes[0].line != line) {
        fail("settled line of", id, "is not there");
    }
    char found[SHA_HEX];
    hash_body(&command->out.outcomes[0].body, id, found);
    if (strcmp(found, sha) != 0) {
        fail("settled line of", id, "other bytes than were acknowledged");
    }
    ps_store_command_free(command);
}

/* Every row that there is, whoever was told of it: its file is there. */
static void check_all_rows(void)
{
    char sha[SHA_HEX];
    struct ps_id after = {""};
    for (bool more = true; more;) {
        struct ps_store_command *command = command_new(PS_STORE_FILE_LIST);
        command->in.list.after = after;
        command->in.list.limit = 100;
        if (ps_store_do(store, command) != PS_STORE_OK) {
            fail("files", "-", ps_store_status_name(command->status));
        }
        for (size_t i = 0; i < command->out.file_count; i++) {
            const struct ps_store_file *file = &command->out.files[i];
            struct ps_store_body body = {.blob = file->blob, .length = file->bytes};
            hash_body(&body, file->id.text, sha);
            after = file->id;
        }
        more = command->out.more;
        ps_store_command_free(command);
    }
    after = (struct ps_id){""};
    for (bool more = true; more;) {
        struct ps_store_command *command = command_new(PS_STORE_JOB_LIST);
        command->in.list.after = after;
        command->in.list.limit = 100;
        if (ps_store_do(store, command) != PS_STORE_OK) {
            fail("jobs", "-", ps_store_status_name(command->status));
        }
        for (size_t i = 0; i < command->out.job_count; i++) {
            after = command->out.jobs[i].id;
            struct ps_store_command *one = get(PS_STORE_JOB_GET, after.text);
            if (one->status != PS_STORE_OK) {
                fail("listed job", after.text, ps_store_status_name(one->status));
            }
            bool over = one->out.jobs[0].status == PS_JOB_COMPLETED;
            hash_body(over ? &one->out.jobs[0].result : &one->out.jobs[0].request, after.text, sha);
            ps_store_command_free(one);
        }
        more = command->out.more;
        ps_store_command_free(command);
    }
}

/* What waits can be taken and settled, to the last one. */
static void drain(void)
{
    struct ps_store_command *command = command_new(PS_STORE_RECOVER);
    if (ps_store_do(store, command) != PS_STORE_OK) {
        char problem[256];
        ps_store_problem(store, problem, sizeof problem);
        fail("recover", ps_store_status_name(command->status), problem);
    }
    ps_store_command_free(command);
    for (size_t count = 1; count > 0;) {
        command = command_new(PS_STORE_TAKE);
        command->in.now_ms += 3600000; /* back-off is over */
        command->in.lease_ms = 60000;
        command->in.limit = 100;
        if (ps_store_do(store, command) != PS_STORE_OK) {
            fail("take", "-", ps_store_status_name(command->status));
        }
        count = command->out.claim_count;
        for (size_t i = 0; i < count; i++) {
            const struct ps_store_claim *claim = &command->out.claims[i];
            struct ps_store_command *one = command_new(PS_STORE_SETTLE);
            one->in.settlement = (struct ps_store_settlement){.id = claim->id,
                                                              .line = claim->line,
                                                              .fence = claim->fence,
                                                              .status = PS_JOB_COMPLETED,
                                                              .http_status = 200,
                                                              .body.bytes = PS_SLICE_LIT("{}"),
                                                              .body.length = 2};
            if (ps_store_do(store, one) != PS_STORE_OK) {
                fail("settle", claim->id.text, ps_store_status_name(one->status));
            }
            ps_store_command_free(one);
        }
        ps_store_command_free(command);
    }
    command = command_new(PS_STORE_COUNT);
    if (ps_store_do(store, command) != PS_STORE_OK ||
        command->out.counts.jobs[PS_JOB_QUEUED] + command->out.counts.jobs[PS_JOB_RUNNING] != 0) {
        fail("jobs", "-", "are left after all were settled");
    }
    ps_store_command_free(command);
}

struct said {
    char (*lines)[LINE_MAX_BYTES];
    size_t count;
};

static struct said read_said(void)
{
    struct said said = {NULL, 0};
    size_t room = 0;
    char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (said.count == room) {
            room = 2 * room + 64;
            said.lines = realloc(said.lines, room * sizeof said.lines[0]);
            if (said.lines == NULL) {
                fail("memory", "", "short");
            }
        }
        memcpy(said.lines[said.count++], line, sizeof line);
    }
    return said;
}

/* Whether there is a line "<start> <id>…". */
static bool was_said(const struct said *said, const char *start, const char *id)
{
    char wanted[LINE_MAX_BYTES];
    int len = snprintf(wanted, sizeof wanted, "%s %s", start, id);
    for (size_t i = 0; i < said->count; i++) {
        if (strncmp(said->lines[i], wanted, (size_t)len) == 0) {
            return true;
        }
    }
    return false;
}

/* Answered with an error: nothing of it was kept. */
static void check_refused(const char *verb, const char *id)
{
    enum ps_store_verb asked = strcmp(verb, "job") == 0     ? PS_STORE_JOB_GET
                               : strcmp(verb, "file") == 0  ? PS_STORE_FILE_GET
                               : strcmp(verb, "batch") == 0 ? PS_STORE_BATCH_GET
                                                            : PS_STORE_VERB_COUNT;
    if (asked == PS_STORE_VERB_COUNT) {
        return;
    }
    struct ps_store_command *command = get(asked, id);
    if (command->status != PS_STORE_NOT_FOUND) {
        fail("refused, but kept:", id, verb);
    }
    ps_store_command_free(command);
}

static int verify(void)
{
    struct said said = read_said();
    for (size_t i = 0; i < said.count; i++) {
        char verb[32] = "";
        char id[PS_ID_MAX] = "";
        char third[128] = "";
        char fourth[128] = "";
        (void)sscanf(said.lines[i], "%31s %39s %127s %127s", verb, id, third, fourth);
        if (strcmp(verb, "file") == 0) {
            check_file(id, strtoull(third, NULL, 10), fourth, was_said(&said, "try gone", id));
        } else if (strcmp(verb, "gone") == 0) {
            check_gone(id);
        } else if (strcmp(verb, "job") == 0) {
            check_job(id, third, false);
        } else if (strcmp(verb, "batch") == 0) {
            check_batch(id, strtoull(third, NULL, 10), false);
        } else if (strcmp(verb, "finished") == 0) {
            check_batch(id, 0, true);
        } else if (strcmp(verb, "settled") == 0 && strcmp(third, "-1") == 0) {
            check_job(id, fourth, true);
        } else if (strcmp(verb, "settled") == 0) {
            check_line(id, strtoull(third, NULL, 10), fourth);
        } else if (strcmp(verb, "refused") == 0) {
            check_refused(id, third);
        }
    }
    free(said.lines);
    check_all_rows();
    drain();
    check_all_rows();
    return 0;
}

int main(int argc, char **argv)
{
    bool runs = argc >= 6 && strcmp(argv[1], "run") == 0;
    if (!runs && !(argc == 3 && strcmp(argv[1], "verify") == 0)) {
        (void)fprintf(stderr, "usage: store_driver run FOLDER SEED STEPS THREADS [heal]\n"
                              "       store_driver verify FOLDER\n");
        return 2;
    }
    store = ps_store_new(&(struct ps_store_options){
        .url = "sqlite:jobs.db", .folder = argv[2], .reserve_bytes = 1, .reserve_percent = 101});
    if (store == NULL) {
        return 1;
    }
    int rc = runs ? run(strtoull(argv[3], NULL, 10), (unsigned)strtoul(argv[4], NULL, 10),
                        (unsigned)strtoul(argv[5], NULL, 10), argc > 6)
                  : verify();
    ps_store_free(store);
    return rc;
}
