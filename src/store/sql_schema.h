/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_SQL_SCHEMA_H
#define PENSTOCK_STORE_SQL_SCHEMA_H

/*
 * The tables, as steps: those of version N make it (PRAGMA user_version) out of version N - 1, in
 * one transaction. A step that has been released never changes; what comes later is a new version.
 *
 * Batches and their lines: a batch has a number, `base`, that is never used again; a line's key is
 * base << 24 | line, so that a batch's lines lie together in their order. Long texts stay out of
 * rows that change often, bodies in tables of their own. Statuses are the numbers of the enums in
 * store.h (sql_statements.h holds them against it); a line's `state` is an enum ps_job_status.
 *
 * batch.ready_at: when one of its lines can be taken, at the earliest; NULL: none can (none waits,
 * or the batch is not in progress). batch.turn: the higher, the later it was served.
 * purge: bases whose lines are to be deleted, a slice at a time.
 * hook.host: scheme, name and port of its URL (PS_SQL_HOST_OF).
 * file.purpose: what is PS_STORE_UNLISTED is in no list, nor in its index.
 */
#define PS_SQL_VERSION 2

static const struct {
    int version;
    const char *text;
} ps_sql_schema[] = {
    {1, "CREATE TABLE file("
        " id TEXT PRIMARY KEY, tenant TEXT NOT NULL, purpose TEXT NOT NULL, filename TEXT NOT NULL,"
        " bytes INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
        " blob TEXT) STRICT;"
        "CREATE INDEX file_tenant ON file(tenant, id);"
        "CREATE INDEX file_purpose ON file(tenant, purpose, id);"
        "CREATE INDEX file_expires ON file(expires) WHERE expires > 0;"
        "CREATE INDEX file_blob ON file(blob) WHERE blob IS NOT NULL;"},
    {1,
     "CREATE TABLE batch("
     " base INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, api INTEGER NOT NULL,"
     " tenant TEXT NOT NULL, key TEXT NOT NULL, endpoint TEXT NOT NULL, input_file TEXT NOT NULL,"
     " input TEXT, status INTEGER NOT NULL, becomes INTEGER NOT NULL,"
     " validated INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0,"
     " priority INTEGER NOT NULL, webhook TEXT NOT NULL, model TEXT NOT NULL DEFAULT '',"
     " output_life INTEGER NOT NULL, created INTEGER NOT NULL, started INTEGER NOT NULL DEFAULT 0,"
     " expires INTEGER NOT NULL, finalizing INTEGER NOT NULL DEFAULT 0,"
     " completed_at INTEGER NOT NULL DEFAULT 0, failed_at INTEGER NOT NULL DEFAULT 0,"
     " expired_at INTEGER NOT NULL DEFAULT 0, cancelling INTEGER NOT NULL DEFAULT 0,"
     " cancelled_at INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,"
     " running INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0,"
     " failed INTEGER NOT NULL DEFAULT 0, canceled INTEGER NOT NULL DEFAULT 0,"
     " expired INTEGER NOT NULL DEFAULT 0, input_tokens INTEGER NOT NULL DEFAULT 0,"
     " output_tokens INTEGER NOT NULL DEFAULT 0, cached_tokens INTEGER NOT NULL DEFAULT 0,"
     " reasoning_tokens INTEGER NOT NULL DEFAULT 0, output_file TEXT NOT NULL DEFAULT '',"
     " error_file TEXT NOT NULL DEFAULT '', ready_at INTEGER,"
     " turn INTEGER NOT NULL DEFAULT 0) STRICT;"
     "CREATE INDEX batch_list ON batch(tenant, api, id);"
     "CREATE INDEX batch_status ON batch(status);"
     "CREATE INDEX batch_due ON batch(created)"
     " WHERE status IN (0,2,3) AND (ended = 1 OR validated = 0);"
     "CREATE INDEX batch_input ON batch(input) WHERE input IS NOT NULL;"
     "CREATE INDEX batch_ready ON batch(tenant, priority DESC, turn, ready_at, expires)"
     " WHERE ready_at IS NOT NULL;"
     "CREATE INDEX batch_wait ON batch(ready_at) WHERE ready_at IS NOT NULL;"
     "CREATE TABLE batch_text("
     " base INTEGER PRIMARY KEY, metadata TEXT NOT NULL, errors TEXT NOT NULL) STRICT;"},
    {1,
     "CREATE TABLE line("
     " key INTEGER PRIMARY KEY, base INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
     " run_at INTEGER NOT NULL DEFAULT 0, fence INTEGER NOT NULL DEFAULT 0,"
     " lease INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,"
     " lost INTEGER NOT NULL DEFAULT 0, custom_id TEXT NOT NULL, offset INTEGER NOT NULL,"
     " length INTEGER NOT NULL, why TEXT NOT NULL DEFAULT '') STRICT;"
     "CREATE INDEX line_ready ON line(base, run_at, key) WHERE state = 0;"
     "CREATE INDEX line_lease ON line(lease) WHERE state = 1;"
     "CREATE TABLE line_result("
     " key INTEGER PRIMARY KEY, http_status INTEGER NOT NULL, request_id TEXT NOT NULL, bytes BLOB,"
     " blob TEXT, offset INTEGER NOT NULL, length INTEGER NOT NULL, error TEXT NOT NULL) STRICT;"
     "CREATE INDEX line_result_blob ON line_result(blob) WHERE blob IS NOT NULL;"
     "CREATE TABLE purge(base INTEGER PRIMARY KEY) STRICT;"},
    {1,
     "CREATE TABLE job("
     " num INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,"
     " key TEXT NOT NULL, endpoint TEXT NOT NULL, status INTEGER NOT NULL DEFAULT 0,"
     " priority INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL,"
     " started INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0,"
     " expires INTEGER NOT NULL, run_at INTEGER NOT NULL, fence INTEGER NOT NULL DEFAULT 0,"
     " lease INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,"
     " webhook TEXT NOT NULL, why TEXT NOT NULL DEFAULT '') STRICT;"
     "CREATE INDEX job_list ON job(tenant, id);"
     "CREATE INDEX job_list_status ON job(tenant, status, id);"
     "CREATE INDEX job_status ON job(status);"
     "CREATE INDEX job_ready ON job(tenant, priority DESC, run_at, num) WHERE status = 0;"
     "CREATE INDEX job_wait ON job(run_at) WHERE status = 0;"
     "CREATE INDEX job_expires ON job(expires) WHERE status = 0 AND expires > 0;"
     "CREATE INDEX job_lease ON job(lease) WHERE status = 1;"
     "CREATE INDEX job_ended ON job(ended) WHERE ended > 0;"
     "CREATE TABLE job_request("
     " num INTEGER PRIMARY KEY, bytes BLOB, blob TEXT, offset INTEGER NOT NULL,"
     " length INTEGER NOT NULL) STRICT;"
     "CREATE INDEX job_request_blob ON job_request(blob) WHERE blob IS NOT NULL;"
     "CREATE TABLE job_result("
     " num INTEGER PRIMARY KEY, http_status INTEGER NOT NULL, request_id TEXT NOT NULL, bytes BLOB,"
     " blob TEXT, offset INTEGER NOT NULL, length INTEGER NOT NULL, error TEXT NOT NULL) STRICT;"
     "CREATE INDEX job_result_blob ON job_result(blob) WHERE blob IS NOT NULL;"},
    {1, "CREATE TABLE hook("
        " id TEXT PRIMARY KEY, url TEXT NOT NULL, type TEXT NOT NULL, payload BLOB NOT NULL,"
        " created INTEGER NOT NULL, fence INTEGER NOT NULL DEFAULT 0,"
        " attempts INTEGER NOT NULL DEFAULT 0, run_at INTEGER NOT NULL,"
        " leased INTEGER NOT NULL DEFAULT 0) STRICT;"
        "CREATE INDEX hook_wait ON hook(run_at);"},
    {1, "CREATE TABLE idempotency("
        " num INTEGER PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,"
        " hash BLOB NOT NULL, ref TEXT NOT NULL, expires INTEGER NOT NULL,"
        " UNIQUE(tenant, kind, key)) STRICT;"
        "CREATE INDEX idempotency_expires ON idempotency(expires);"},
    {1, "CREATE TABLE object("
        " num INTEGER PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,"
        " created INTEGER NOT NULL, expires INTEGER NOT NULL, value BLOB NOT NULL,"
        " UNIQUE(tenant, kind, id)) STRICT;"
        "CREATE INDEX object_expires ON object(expires) WHERE expires > 0;"},
    {2, "CREATE INDEX batch_ended"
        " ON batch(max(completed_at, failed_at, expired_at, cancelled_at)) WHERE status >= 5;"
        "UPDATE file SET purpose = 'message_batch_output'"
        " WHERE id IN (SELECT output_file FROM batch WHERE api = 1);"
        "DROP INDEX file_tenant;"
        "CREATE INDEX file_tenant ON file(tenant, id) WHERE purpose <> 'message_batch_output';"
        "ALTER TABLE hook ADD COLUMN host TEXT NOT NULL DEFAULT '';"
        "UPDATE hook SET host = lower(substr(url, 1,"
        " instr(replace(substr(url, 9), '?', '/') || '/', '/') + 7));"
        "CREATE INDEX hook_host ON hook(host, run_at);"
        "CREATE INDEX hook_leased ON hook(host, run_at) WHERE leased = 1;"},
};

#endif
