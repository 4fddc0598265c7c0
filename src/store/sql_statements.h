/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_SQL_STATEMENTS_H
#define PENSTOCK_STORE_SQL_STATEMENTS_H

#include "penstock/store/store.h"

/*
 * All of the SQL. Parameters are bound, never pasted. A statement costs a few index look-ups for
 * each row it gives, however many rows wait; tests/unit/store/test_sql_plans.c holds that. INDEXED
 * BY where SQLite, which does not know how many rows have which status, would choose badly.
 */

/* What the database keeps for an enum's name: released numbers stay. */
#define B_VALIDATING  "0"
#define B_IN_PROGRESS "1"
#define B_FINALIZING  "2"
#define B_CANCELLING  "3"
#define B_EXPIRING    "4"
#define B_COMPLETED   "5"
#define B_CANCELLED   "8"
#define J_QUEUED      "0"
#define J_RUNNING     "1"
#define J_COMPLETED   "2"
#define J_CANCELLED   "4"
#define J_EXPIRED     "5"
_Static_assert(PS_BATCH_VALIDATING == 0 && PS_BATCH_IN_PROGRESS == 1 && PS_BATCH_FINALIZING == 2 &&
                   PS_BATCH_CANCELLING == 3 && PS_BATCH_EXPIRING == 4 && PS_BATCH_COMPLETED == 5 &&
                   PS_BATCH_FAILED == 6 && PS_BATCH_EXPIRED == 7 && PS_BATCH_CANCELLED == 8,
               "numbers of batch.status");
_Static_assert(PS_JOB_QUEUED == 0 && PS_JOB_RUNNING == 1 && PS_JOB_COMPLETED == 2 &&
                   PS_JOB_FAILED == 3 && PS_JOB_CANCELLED == 4 && PS_JOB_EXPIRED == 5,
               "numbers of job.status and line.state");
_Static_assert(PS_BATCH_OPENAI == 0 && PS_BATCH_ANTHROPIC == 1, "numbers of batch.api");

/* clang-format off */
#define FILE_COLUMNS "id, tenant, purpose, filename, bytes, created, expires, blob"

#define BATCH_COLUMNS                                                                              \
    "b.id, b.api, b.tenant, b.key, b.endpoint, b.input_file, b.input, b.status, b.ended,"          \
    " b.becomes, b.priority, b.webhook, t.metadata, t.errors, b.model, b.output_life, b.created,"  \
    " b.started, b.expires, b.finalizing, b.completed_at, b.failed_at, b.expired_at, b.cancelling,"\
    " b.cancelled_at, b.total, b.completed, b.failed, b.canceled, b.expired, b.input_tokens,"      \
    " b.output_tokens, b.cached_tokens, b.reasoning_tokens, b.output_file, b.error_file"
#define BATCH_TABLES " FROM batch b LEFT JOIN batch_text t ON t.base = b.base "

#define JOB_COLUMNS                                                                                \
    "j.id, j.tenant, j.key, j.endpoint, j.status, j.priority, j.attempts, j.created, j.started,"   \
    " j.ended, j.expires, j.webhook, r.http_status, r.request_id,"                                 \
    " CASE WHEN r.num IS NOT NULL THEN r.error ELSE j.why END"
#define JOB_TABLES " FROM job j LEFT JOIN job_result r ON r.num = j.num "

/* "https://host:port" of an URL, however it goes on. */
#define PS_SQL_HOST_OF(url)                                                                        \
    "lower(substr(" url ", 1, instr(replace(substr(" url ", 9), '?', '/') || '/', '/') + 7))"

#define PS_SQL_STATEMENTS(X)                                                                       \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                              \
    X(BEGIN_READ, "BEGIN")                                                                         \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVE, "SAVEPOINT command")                                                                   \
    X(UNDO, "ROLLBACK TO command")                                                                 \
    X(RELEASE, "RELEASE command")                                                                  \
                                                                                                   \
    X(FILE_ADD, "INSERT INTO file(" FILE_COLUMNS ") VALUES(?,?,?,?,?,?,?,?)")                      \
    X(FILE_GET, "SELECT " FILE_COLUMNS " FROM file WHERE id = ? AND tenant = ?")                   \
    X(FILE_DOWN, "SELECT " FILE_COLUMNS " FROM file WHERE tenant = ? AND id < ?"                   \
        " AND purpose <> '" PS_STORE_UNLISTED "' ORDER BY id DESC LIMIT ?")                        \
    X(FILE_UP, "SELECT " FILE_COLUMNS " FROM file WHERE tenant = ? AND id > ?"                     \
        " AND purpose <> '" PS_STORE_UNLISTED "' ORDER BY id LIMIT ?")                             \
    X(FILE_PURPOSE_DOWN, "SELECT " FILE_COLUMNS " FROM file WHERE tenant = ? AND purpose = ?"      \
        " AND id < ? ORDER BY id DESC LIMIT ?")                                                    \
    X(FILE_PURPOSE_UP, "SELECT " FILE_COLUMNS " FROM file WHERE tenant = ? AND purpose = ?"        \
        " AND id > ? ORDER BY id LIMIT ?")                                                         \
    X(FILE_BLOB, "SELECT blob FROM file WHERE id = ?")                                             \
    X(FILE_DELETE, "DELETE FROM file WHERE id = ?")                                                \
    X(FILE_INPUT, "SELECT blob FROM file WHERE id = ? AND tenant = ?"                              \
        " AND (expires = 0 OR expires > ?)")                                                       \
    X(FILE_EXPIRED, "SELECT id FROM file WHERE expires > 0 AND expires <= ? LIMIT ?")              \
                                                                                                   \
    X(BLOB_USED, "SELECT EXISTS(SELECT 1 FROM file WHERE blob = ?1)"                               \
        " OR EXISTS(SELECT 1 FROM batch WHERE input = ?1)"                                         \
        " OR EXISTS(SELECT 1 FROM line_result WHERE blob = ?1)"                                    \
        " OR EXISTS(SELECT 1 FROM job_request WHERE blob = ?1)"                                    \
        " OR EXISTS(SELECT 1 FROM job_result WHERE blob = ?1)")                                    \
                                                                                                   \
    X(BATCH_ADD, "INSERT INTO batch(id, api, tenant, key, endpoint, input_file, input, status,"    \
        " becomes, priority, webhook, model, output_life, created, expires)"                       \
        " VALUES(?,?,?,?,?,?,?," B_VALIDATING "," B_COMPLETED ",?,?,?,?,?,?)")                     \
    X(BATCH_TEXT, "INSERT OR REPLACE INTO batch_text(base, metadata, errors)"                      \
        " SELECT base, ?2, ?3 FROM batch WHERE id = ?1")                                           \
    X(BATCH_ERRORS, "UPDATE batch_text SET errors = ?2 WHERE base = ?1")                           \
    X(BATCH_GET, "SELECT " BATCH_COLUMNS BATCH_TABLES "WHERE b.id = ?")                            \
    X(BATCH_GET_OWN, "SELECT " BATCH_COLUMNS BATCH_TABLES "WHERE b.id = ? AND b.tenant = ?")       \
    X(BATCH_DOWN, "SELECT " BATCH_COLUMNS BATCH_TABLES                                             \
        "WHERE b.tenant = ? AND b.api = ? AND b.id < ? ORDER BY b.id DESC LIMIT ?")                \
    X(BATCH_UP, "SELECT " BATCH_COLUMNS BATCH_TABLES                                               \
        "WHERE b.tenant = ? AND b.api = ? AND b.id > ? ORDER BY b.id LIMIT ?")                     \
    X(BATCH_FIND, "SELECT base, status, validated, ended, input, tenant FROM batch WHERE id = ?")  \
    X(BATCH_BASE, "SELECT base FROM batch WHERE id = ?")                                           \
    X(BATCH_CANCEL, "UPDATE batch SET status = " B_CANCELLING ", becomes = " B_CANCELLED ","       \
        " cancelling = ?2, ready_at = NULL WHERE base = ?1")                                       \
    X(BATCH_LINE, "INSERT OR REPLACE INTO line(key, base, custom_id, offset, length)"              \
        " VALUES(?,?,?,?,?)")                                                                      \
    X(BATCH_GROW, "UPDATE batch SET total = max(total, ?2) WHERE base = ?1")                       \
    X(BATCH_TOTAL, "SELECT total FROM batch WHERE base = ?")                                       \
    X(BATCH_START, "UPDATE batch SET validated = 1, model = ?2,"                                   \
        " started = CASE status WHEN " B_VALIDATING " THEN ?3 ELSE 0 END,"                         \
        " ready_at = CASE status WHEN " B_VALIDATING " THEN 0 END,"                                \
        " status = CASE status WHEN " B_VALIDATING " THEN " B_IN_PROGRESS " ELSE status END"       \
        " WHERE base = ?1")                                                                        \
    X(BATCH_FAIL, "UPDATE batch SET status = ?2, validated = 1, ended = 1, input = NULL,"          \
        " total = 0, failed_at = ?3, cancelled_at = ?4 WHERE base = ?1")                           \
    X(BATCH_FINISH, "UPDATE batch SET status = becomes, input = NULL, output_file = ?2,"           \
        " error_file = ?3,"                                                                        \
        " completed_at = CASE becomes WHEN " B_COMPLETED " THEN ?4 ELSE 0 END,"                    \
        " cancelled_at = CASE becomes WHEN " B_CANCELLED " THEN ?4 ELSE 0 END,"                    \
        " expired_at = CASE WHEN becomes NOT IN (" B_COMPLETED "," B_CANCELLED ") THEN ?4"         \
        " ELSE 0 END WHERE base = ?1")                                                             \
    X(BATCH_OLD, "SELECT base FROM batch INDEXED BY batch_ended WHERE status >= " B_COMPLETED      \
        " AND max(completed_at, failed_at, expired_at, cancelled_at) <= ?1"                        \
        " AND max(completed_at, failed_at, expired_at, cancelled_at) + output_life <= ?2"          \
        " LIMIT ?3")                                                                               \
    X(BATCH_DELETE, "DELETE FROM batch WHERE base = ?")                                            \
    X(BATCH_TEXT_DELETE, "DELETE FROM batch_text WHERE base = ?")                                  \
    X(BATCH_END, "UPDATE batch SET ended = 1, ready_at = NULL,"                                    \
        " finalizing = CASE status WHEN " B_CANCELLING " THEN finalizing ELSE ?2 END,"             \
        " canceled = canceled + CASE becomes WHEN " B_CANCELLED                                    \
        " THEN total - completed - failed ELSE 0 END,"                                             \
        " expired = expired + CASE becomes WHEN " B_CANCELLED                                      \
        " THEN 0 ELSE total - completed - failed END,"                                             \
        " failed = total - completed,"                                                             \
        " status = CASE status WHEN " B_CANCELLING " THEN status ELSE " B_FINALIZING " END"        \
        " WHERE base = ?1 AND ended = 0 AND validated = 1"                                         \
        " AND ((status = " B_IN_PROGRESS " AND completed + failed >= total)"                       \
        " OR (status IN (" B_CANCELLING "," B_EXPIRING ") AND running = 0))")                      \
    X(BATCH_BACK, "UPDATE batch SET running = running - 1,"                                        \
        " ready_at = CASE status WHEN " B_IN_PROGRESS " THEN min(coalesce(ready_at, ?2), ?2) END"  \
        " WHERE base = ?1")                                                                        \
    X(BATCH_SETTLE, "UPDATE batch SET running = running - 1,"                                      \
        " completed = completed + (?2 = " J_COMPLETED "), failed = failed + (?2 <> " J_COMPLETED   \
        "), canceled = canceled + (?2 = " J_CANCELLED "), expired = expired + (?2 = " J_EXPIRED    \
        "), input_tokens = input_tokens + ?3, output_tokens = output_tokens + ?4,"                 \
        " cached_tokens = cached_tokens + ?5, reasoning_tokens = reasoning_tokens + ?6"            \
        " WHERE base = ?1")                                                                        \
    X(BATCH_EXPIRED, "SELECT base FROM batch WHERE status = " B_IN_PROGRESS                        \
        " AND expires > 0 AND expires <= ? LIMIT ?")                                               \
    X(BATCH_EXPIRE, "UPDATE batch SET status = " B_EXPIRING ", becomes = ?2, ready_at = NULL"      \
        " WHERE base = ?1")                                                                        \
    X(BATCH_DUE, "SELECT " BATCH_COLUMNS " FROM batch b INDEXED BY batch_due"                      \
        " LEFT JOIN batch_text t ON t.base = b.base"                                               \
        " WHERE b.status IN (0,2,3) AND (b.ended = 1 OR b.validated = 0)"                          \
        " ORDER BY b.created LIMIT ?")                                                             \
    X(BATCH_RESTART, "UPDATE batch SET total = 0 WHERE validated = 0"                              \
        " AND status IN (" B_VALIDATING "," B_CANCELLING ")")                                      \
    X(PURGE_ADD, "INSERT OR IGNORE INTO purge(base) VALUES(?)")                                    \
    X(PURGE_NEXT, "SELECT base FROM purge LIMIT 1")                                                \
    X(PURGE_DONE, "DELETE FROM purge WHERE base = ?")                                              \
    X(PURGE_LAST, "SELECT max(key) FROM (SELECT key FROM line WHERE key >= ?1 AND key < ?2"        \
        " ORDER BY key LIMIT ?3)")                                                                 \
    X(PURGE_BLOBS, "SELECT blob FROM line_result WHERE key >= ? AND key <= ?"                      \
        " AND +blob IS NOT NULL")                                                                  \
    X(PURGE_RESULTS, "DELETE FROM line_result WHERE key >= ? AND key <= ?")                        \
    X(PURGE_LINES, "DELETE FROM line WHERE key >= ? AND key <= ?")                                 \
    X(OUTCOMES, "SELECT l.key, l.custom_id, l.state, r.http_status, r.request_id, r.bytes,"        \
        " r.blob, r.offset, r.length, r.error"                                                    \
        " FROM line l LEFT JOIN line_result r ON r.key = l.key"                                    \
        " WHERE l.key >= ? AND l.key < ? AND l.state >= ? ORDER BY l.key LIMIT ?")                 \
    X(BATCH_BECOMES, "SELECT becomes FROM batch WHERE base = ?")                                   \
                                                                                                   \
    X(JOB_ADD, "INSERT INTO job(id, tenant, key, endpoint, priority, created, expires, run_at,"    \
        " webhook) VALUES(?,?,?,?,?,?,?,?,?)")                                                     \
    X(JOB_REQUEST, "INSERT INTO job_request(num, bytes, blob, offset, length)"                     \
        " SELECT num, ?2, ?3, ?4, ?5 FROM job WHERE id = ?1")                                      \
    X(JOB_GET, "SELECT " JOB_COLUMNS JOB_TABLES "WHERE j.id = ? AND j.tenant = ?")                 \
    X(JOB_NUM, "SELECT num, webhook FROM job WHERE id = ?")                                        \
    X(JOB_REQUEST_GET, "SELECT bytes, blob, offset, length FROM job_request WHERE num = ?")        \
    X(JOB_RESULT_GET, "SELECT bytes, blob, offset, length FROM job_result WHERE num = ?")          \
    X(JOB_DOWN, "SELECT " JOB_COLUMNS JOB_TABLES                                                   \
        "WHERE j.tenant = ? AND j.id < ? ORDER BY j.id DESC LIMIT ?")                              \
    X(JOB_UP, "SELECT " JOB_COLUMNS JOB_TABLES                                                     \
        "WHERE j.tenant = ? AND j.id > ? ORDER BY j.id LIMIT ?")                                   \
    X(JOB_STATUS_DOWN, "SELECT " JOB_COLUMNS JOB_TABLES                                            \
        "WHERE j.tenant = ? AND j.status = ? AND j.id < ? ORDER BY j.id DESC LIMIT ?")             \
    X(JOB_STATUS_UP, "SELECT " JOB_COLUMNS JOB_TABLES                                              \
        "WHERE j.tenant = ? AND j.status = ? AND j.id > ? ORDER BY j.id LIMIT ?")                  \
    X(JOB_CANCEL, "UPDATE job SET status = " J_CANCELLED ", ended = ?2, fence = fence + 1"         \
        " WHERE num = ?1")                                                                         \
    X(JOB_EXPIRED, "SELECT num FROM job INDEXED BY job_expires WHERE status = " J_QUEUED           \
        " AND expires > 0 AND expires <= ? LIMIT ?")                                               \
    X(JOB_EXPIRE, "UPDATE job SET status = " J_EXPIRED ", ended = ?2 WHERE num = ?1")              \
    X(JOB_HOOK, "SELECT id, webhook FROM job WHERE num = ?")                                       \
    X(JOB_OLD, "SELECT num FROM job WHERE ended > 0 AND ended <= ? LIMIT ?")                       \
    X(JOB_DELETE, "DELETE FROM job WHERE num = ?")                                                 \
    X(JOB_REQUEST_DELETE, "DELETE FROM job_request WHERE num = ? RETURNING blob")                  \
    X(JOB_RESULT_DELETE, "DELETE FROM job_result WHERE num = ? RETURNING blob")                    \
                                                                                                   \
    X(TAKE_TENANT, "SELECT min(tenant) FROM ("                                                     \
        "SELECT * FROM (SELECT tenant FROM job INDEXED BY job_ready WHERE status = " J_QUEUED      \
        " AND tenant >= ?1 ORDER BY tenant LIMIT 1)"                                               \
        " UNION ALL SELECT * FROM (SELECT tenant FROM batch"                                       \
        " INDEXED BY batch_ready WHERE ready_at IS NOT NULL"                                       \
        " AND tenant >= ?1 ORDER BY tenant LIMIT 1))")                                             \
    X(TAKE_PRIORITY, "SELECT max(priority) FROM ("                                                 \
        "SELECT * FROM (SELECT priority FROM job INDEXED BY job_ready WHERE status = " J_QUEUED    \
        " AND tenant = ?1 AND priority < ?2 ORDER BY priority DESC LIMIT 1)"                       \
        " UNION ALL SELECT * FROM (SELECT priority FROM batch"                                     \
        " INDEXED BY batch_ready WHERE ready_at IS NOT NULL"                                       \
        " AND tenant = ?1 AND priority < ?2 ORDER BY priority DESC LIMIT 1))")                     \
    X(TAKE_JOB, "SELECT num, id, fence, attempts, lost, key, endpoint, created, expires, webhook"  \
        " FROM job INDEXED BY job_ready WHERE status = " J_QUEUED                                  \
        " AND tenant = ? AND priority = ? AND run_at <= ?"                                         \
        " ORDER BY run_at, num LIMIT 1")                                                           \
    X(TAKE_BATCH, "SELECT base, id FROM batch INDEXED BY batch_ready"                              \
        " WHERE ready_at IS NOT NULL AND tenant = ?1"                                              \
        " AND priority = ?2 AND ready_at <= ?3 AND (expires = 0 OR expires > ?3) ORDER BY turn")   \
    X(TAKE_FROM, "SELECT id, api, key, endpoint, input, created, expires FROM batch"               \
        " WHERE base = ?")                                                                         \
    X(TAKE_LINE, "SELECT key, fence, attempts, lost, custom_id, offset, length"                    \
        " FROM line INDEXED BY line_ready"                                                         \
        " WHERE base = ? AND state = " J_QUEUED " AND run_at <= ? ORDER BY run_at, key LIMIT 1")   \
    X(JOB_CLAIM, "UPDATE job SET status = " J_RUNNING ", fence = fence + 1, lease = ?2,"           \
        " started = CASE started WHEN 0 THEN ?3 ELSE started END WHERE num = ?1")                  \
    X(LINE_CLAIM, "UPDATE line SET state = " J_RUNNING ", fence = fence + 1, lease = ?2"           \
        " WHERE key = ?1")                                                                         \
    X(LINE_NEXT, "SELECT run_at FROM line INDEXED BY line_ready WHERE base = ?"                    \
        " AND state = " J_QUEUED                                                                   \
        " ORDER BY run_at LIMIT 1")                                                                \
    X(BATCH_TOOK, "UPDATE batch SET running = running + 1, turn = ?2, ready_at = ?3"               \
        " WHERE base = ?1")                                                                        \
    X(BATCH_READY, "UPDATE batch SET ready_at = ?2 WHERE base = ?1")                               \
    X(BATCH_TURN, "SELECT max(turn) FROM batch")                                                   \
    X(NEXT_JOB, "SELECT min(run_at) FROM job INDEXED BY job_wait"                                  \
        " WHERE status = " J_QUEUED " AND run_at > ?")                                             \
    X(NEXT_BATCH, "SELECT min(ready_at) FROM batch INDEXED BY batch_wait WHERE ready_at > ?")      \
                                                                                                   \
    X(JOB_RENEW, "UPDATE job SET lease = ?3 WHERE num = ?1 AND status = " J_RUNNING                \
        " AND fence = ?2")                                                                         \
    X(LINE_RENEW, "UPDATE line SET lease = ?3 WHERE key = ?1 AND state = " J_RUNNING               \
        " AND fence = ?2")                                                                         \
    X(JOB_SETTLE, "UPDATE job SET status = ?3, attempts = attempts + 1, ended = ?4"                \
        " WHERE num = ?1 AND status = " J_RUNNING " AND fence = ?2")                               \
    X(LINE_SETTLE, "UPDATE line SET state = ?3, attempts = attempts + 1"                           \
        " WHERE key = ?1 AND state = " J_RUNNING " AND fence = ?2")                                \
    X(JOB_RESULT, "INSERT INTO job_result(num, http_status, request_id, bytes, blob, offset,"      \
        " length, error) VALUES(?,?,?,?,?,?,?,?)")                                                 \
    X(LINE_RESULT, "INSERT INTO line_result(key, http_status, request_id, bytes, blob, offset,"    \
        " length, error) VALUES(?,?,?,?,?,?,?,?)")                                                 \
    X(JOB_DEFER, "UPDATE job SET status = " J_QUEUED ", run_at = ?3, attempts = attempts + ?4,"    \
        " why = ?5 WHERE num = ?1 AND status = " J_RUNNING " AND fence = ?2")                      \
    X(LINE_DEFER, "UPDATE line SET state = " J_QUEUED ", run_at = ?3, attempts = attempts + ?4,"   \
        " why = ?5 WHERE key = ?1 AND state = " J_RUNNING " AND fence = ?2")                       \
    X(JOB_LOST, "SELECT num FROM job INDEXED BY job_lease"                                         \
        " WHERE status = " J_RUNNING " AND lease <= ? LIMIT ?")                                    \
    X(LINE_LOST, "SELECT key FROM line INDEXED BY line_lease"                                      \
        " WHERE state = " J_RUNNING " AND lease <= ? LIMIT ?")                                     \
    X(JOB_RETURN, "UPDATE job SET status = " J_QUEUED ", run_at = created, lost = lost + 1"        \
        " WHERE num = ?")                                                                          \
    X(LINE_RETURN, "UPDATE line SET state = " J_QUEUED ", run_at = 0, lost = lost + 1"             \
        " WHERE key = ?")                                                                          \
                                                                                                   \
    X(HOOK_ADD, "INSERT OR REPLACE INTO hook(id, url, type, payload, created, run_at, host)"       \
        " VALUES(?1,?2,?3,?4,?5,?5," PS_SQL_HOST_OF("?2") ")")                                     \
    X(HOOK_HOST, "SELECT min(host) FROM hook WHERE host > ?")                                      \
    X(HOOK_LEASED, "SELECT count(*) FROM hook INDEXED BY hook_leased"                              \
        " WHERE host = ? AND leased = 1 AND run_at > ?")                                           \
    X(HOOK_TAKE, "SELECT id, fence, attempts, url, type, payload, created FROM hook"               \
        " INDEXED BY hook_host WHERE host = ? AND run_at <= ? ORDER BY run_at LIMIT ?")            \
    X(HOOK_DUE, "SELECT 1 FROM hook INDEXED BY hook_wait WHERE run_at <= ? LIMIT 1")               \
    X(HOOK_CLAIM, "UPDATE hook SET fence = fence + 1, attempts = attempts + 1, run_at = ?2,"       \
        " leased = 1 WHERE id = ?1")                                                               \
    X(HOOK_NEXT, "SELECT min(run_at) FROM hook WHERE run_at > ?")                                  \
    X(HOOK_DONE, "DELETE FROM hook WHERE id = ? AND fence = ? AND leased = 1")                     \
    X(HOOK_AGAIN, "UPDATE hook SET run_at = ?3, leased = 0 WHERE id = ?1 AND fence = ?2"           \
        " AND leased = 1")                                                                         \
    X(HOOK_RETURN, "UPDATE hook SET run_at = ?1, leased = 0 WHERE leased = 1")                     \
                                                                                                   \
    X(KEY_GET, "SELECT hash, ref, expires FROM idempotency WHERE tenant = ? AND kind = ?"          \
        " AND key = ?")                                                                            \
    X(KEY_PUT, "INSERT OR REPLACE INTO idempotency(tenant, kind, key, hash, ref, expires)"         \
        " VALUES(?,?,?,?,?,?)")                                                                    \
    X(KEY_SWEEP, "DELETE FROM idempotency WHERE num IN"                                            \
        " (SELECT num FROM idempotency WHERE expires <= ? LIMIT ?)")                               \
    X(JOB_EXISTS, "SELECT 1 FROM job WHERE id = ?")                                                \
    X(BATCH_EXISTS, "SELECT 1 FROM batch WHERE id = ?")                                            \
                                                                                                   \
    X(OBJECT_PUT, "INSERT OR REPLACE INTO object(tenant, kind, id, created, expires, value)"       \
        " VALUES(?,?,?,?,?,?)")                                                                    \
    X(OBJECT_GET, "SELECT created, expires, value FROM object"                                     \
        " WHERE tenant = ? AND kind = ? AND id = ?")                                               \
    X(OBJECT_DELETE, "DELETE FROM object WHERE tenant = ? AND kind = ? AND id = ?")                \
    X(OBJECT_SWEEP, "DELETE FROM object WHERE num IN"                                              \
        " (SELECT num FROM object WHERE expires > 0 AND expires <= ? LIMIT ?)")                    \
                                                                                                   \
    X(COUNT_JOBS, "SELECT status, count(*) FROM job GROUP BY status")                              \
    X(COUNT_BATCHES, "SELECT status, count(*) FROM batch GROUP BY status")                         \
    X(COUNT_LINES, "SELECT coalesce(sum(total - completed - failed - running), 0),"                \
        " coalesce(sum(running), 0) FROM batch WHERE ended = 0 AND validated = 1"                  \
        " AND status IN (" B_IN_PROGRESS "," B_CANCELLING "," B_EXPIRING ")")                      \
    X(COUNT_FILES, "SELECT count(*), coalesce(sum(bytes), 0) FROM file")                           \
    X(COUNT_HOOKS, "SELECT count(*) FROM hook")                                                    \
    X(OLDEST_JOB, "SELECT min(created) FROM job WHERE status = " J_QUEUED)                         \
    X(OLDEST_BATCH, "SELECT min(created) FROM batch WHERE ready_at IS NOT NULL")                   \
                                                                                                   \
    X(FREE_PAGES, "PRAGMA freelist_count")                                                         \
    X(ALL_PAGES, "PRAGMA page_count")                                                              \
    X(SHRINK, "PRAGMA incremental_vacuum(512)")
/* clang-format on */

enum ps_sql_name {
#define X(name, text) PS_SQL_##name,
    PS_SQL_STATEMENTS(X)
#undef X
    PS_SQL_NAMES
};

/* The texts, by name; for the query layer and tests. */
extern const char *const ps_sql_texts[];

#endif
