/* SPDX-License-Identifier: Apache-2.0 */
#include "store/depot.h"

#include "testing.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEASE_MS 60000

void depot_make(struct depot *depot)
{
    *depot = (struct depot){.folder = "/tmp/penstock-store-XXXXXX"};
    assert_non_null(mkdtemp(depot->folder));
}

void depot_open(struct depot *depot)
{
    depot->store = ps_store_new(&(struct ps_store_options){
        .url = "sqlite:jobs.db",
        .folder = depot->folder,
        .reserve_bytes = 1,
        .reserve_percent = 101,
    });
    assert_non_null(depot->store);
}

void depot_close(struct depot *depot)
{
    ps_store_free(depot->store);
    depot->store = NULL;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void depot_remove(struct depot *depot)
{
    assert_int_equal(nftw(depot->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *depot_path(const struct depot *depot, const char *name)
{
    static char path[160];
    (void)snprintf(path, sizeof(path), "%s/%s", depot->folder, name);
    return path;
}

struct ps_id depot_id(const char *text)
{
    struct ps_id id = {""};
    (void)snprintf(id.text, sizeof(id.text), "%s", text);
    return id;
}

struct ps_slice depot_text(const char *text)
{
    return ps_slice_cstr(text);
}

struct ps_store_command *depot_command(enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    assert_non_null(command);
    return command;
}

void depot_ask(struct depot *depot, struct ps_store_command *command, enum ps_store_status status)
{
    enum ps_store_status got = ps_store_do(depot->store, command);
    if (got != status) {
        char problem[200];
        ps_store_problem(depot->store, problem, sizeof(problem));
        fail_msg("expected '%s', found '%s' %s", ps_store_status_name(status),
                 ps_store_status_name(got), problem);
    }
}

void depot_run(struct depot *depot, struct ps_store_command *command, enum ps_store_status status)
{
    depot_ask(depot, command, status);
    ps_store_command_free(command);
}

static struct ps_slice keep(struct ps_store_command *command, const char *text)
{
    struct ps_slice copy = ps_store_command_copy(command, ps_slice_cstr(text));
    assert_non_null(copy.ptr);
    return copy;
}

struct ps_store_command *depot_on(enum ps_store_verb verb, const char *tenant, const char *id,
                                  int64_t now_ms)
{
    struct ps_store_command *command = depot_command(verb);
    command->in.tenant = keep(command, tenant);
    command->in.id = depot_id(id);
    command->in.now_ms = now_ms;
    return command;
}

struct ps_store_command *depot_file_add(const char *tenant, const char *id, const char *blob)
{
    struct ps_store_command *command = depot_command(PS_STORE_FILE_ADD);
    command->in.file = (struct ps_store_file){
        .id = depot_id(id),
        .tenant = keep(command, tenant),
        .purpose = PS_SLICE_LIT("batch"),
        .filename = PS_SLICE_LIT("in.jsonl"),
        .bytes = 100,
        .created_ms = 1,
    };
    (void)snprintf(command->in.file.blob.text, sizeof(command->in.file.blob.text), "%s", blob);
    return command;
}

struct ps_store_command *depot_batch_add(const char *tenant, const char *id, const char *file,
                                         int64_t now_ms)
{
    struct ps_store_command *command = depot_command(PS_STORE_BATCH_ADD);
    command->in.batch = (struct ps_store_batch){
        .id = depot_id(id),
        .tenant = keep(command, tenant),
        .key = PS_SLICE_LIT("k"),
        .endpoint = PS_SLICE_LIT("/v1/chat/completions"),
        .input_file = depot_id(file),
        .metadata = PS_SLICE_LIT("{\"a\":\"b\"}"),
        .created_ms = now_ms,
        .expires_ms = now_ms + 86400000,
    };
    return command;
}

struct ps_store_command *depot_batch_lines(const char *id, uint64_t first, size_t count)
{
    struct ps_store_command *command = depot_command(PS_STORE_BATCH_LINES);
    struct ps_store_line *lines = ps_arena_calloc(&command->arena, count * sizeof(*lines));
    assert_non_null(lines);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "c-%zu", (size_t)first + i);
        lines[i] = (struct ps_store_line){
            .line = first + i,
            .custom_id = keep(command, name),
            .offset = 10 * (first + i),
            .length = 9,
        };
    }
    command->in.id = depot_id(id);
    command->in.lines = lines;
    command->in.line_count = count;
    return command;
}

struct ps_store_command *depot_job_add(const char *tenant, const char *id, int64_t now_ms)
{
    struct ps_store_command *command = depot_command(PS_STORE_JOB_ADD);
    command->in.job = (struct ps_store_job){
        .id = depot_id(id),
        .tenant = keep(command, tenant),
        .key = PS_SLICE_LIT("k"),
        .endpoint = PS_SLICE_LIT("/generate"),
        .created_ms = now_ms,
        .expires_ms = now_ms + 86400000,
        .request = {.bytes = PS_SLICE_LIT("{\"prompt\":\"hi\"}")},
    };
    return command;
}

struct ps_store_command *depot_take(int64_t now_ms, uint32_t limit)
{
    struct ps_store_command *command = depot_command(PS_STORE_TAKE);
    command->in.now_ms = now_ms;
    command->in.lease_ms = LEASE_MS;
    command->in.limit = limit;
    return command;
}

struct ps_store_command *depot_settle(const struct ps_store_claim *claim, enum ps_job_status status,
                                      int64_t now_ms)
{
    struct ps_store_command *command = depot_command(PS_STORE_SETTLE);
    bool good = status == PS_JOB_COMPLETED;
    command->in.now_ms = now_ms;
    command->in.settlement = (struct ps_store_settlement){
        .id = claim->id,
        .line = claim->line,
        .fence = claim->fence,
        .status = status,
        .http_status = good ? 200 : 0,
        .request_id = PS_SLICE_LIT("req_1"),
        .input_tokens = 3,
        .output_tokens = 5,
    };
    if (good) {
        command->in.settlement.body.bytes = PS_SLICE_LIT("{\"ok\":true}");
    } else {
        command->in.settlement.error = PS_SLICE_LIT("{\"code\":\"x\",\"message\":\"y\"}");
    }
    return command;
}

void depot_start_batch(struct depot *depot, const char *tenant, const char *id, size_t lines,
                       int64_t now_ms)
{
    char file[PS_ID_MAX];
    struct ps_blob_name blob = depot_blob(depot, "input");
    (void)snprintf(file, sizeof(file), "file-of-%.30s", id);
    depot_run(depot, depot_file_add(tenant, file, blob.text), PS_STORE_OK);
    depot_run(depot, depot_batch_add(tenant, id, file, now_ms), PS_STORE_OK);
    if (lines > 0) {
        depot_run(depot, depot_batch_lines(id, 0, lines), PS_STORE_OK);
    }
    depot_run(depot, depot_on(PS_STORE_BATCH_START, tenant, id, now_ms), PS_STORE_OK);
}

struct ps_blob_name depot_blob(struct depot *depot, const char *text)
{
    struct ps_blob_name name = {""};
    struct ps_blob_file *file = ps_blob_create(ps_store_blobs(depot->store));
    assert_non_null(file);
    assert_int_equal(ps_blob_append(file, text, strlen(text)), 0);
    assert_int_equal(ps_blob_commit(file, &name, NULL), 0);
    return name;
}

bool depot_has_blob(struct depot *depot, const struct ps_blob_name *name)
{
    uint64_t length;
    int fd = ps_blob_open(ps_store_blobs(depot->store), name, &length);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}
