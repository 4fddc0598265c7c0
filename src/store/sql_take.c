/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#include "penstock/base/mem.h"

/*
 * Handing out work, piece by piece: the next tenant after the last one served, then its highest
 * priority that has something ready, then by turns a job and a line of a batch, and of batches the
 * one that was served longest ago. Each step is a look into an index; rows that wait for their time
 * or belong to batches that are skipped are never walked over.
 */
#define LIMIT_MAX 256

struct taking {
    struct ps_store_session *sql;
    const struct ps_store_in *in;
    struct ps_rows claims;
    struct ps_slice tenant; /* whose turn it is */
    struct ps_slice served; /* the last one who got something */
    int64_t priority;
    unsigned expired; /* jobs that were found too late */
    unsigned rounds;  /* begun since somebody had nothing */
};

static bool is_skipped(const struct taking *taking, const struct ps_id *id)
{
    for (size_t i = 0; i < taking->in->skip_count; i++) {
        if (strcmp(taking->in->skip[i].text, id->text) == 0) {
            return true;
        }
    }
    return false;
}

static bool *took_line(const struct taking *taking)
{
    unsigned char hash = 0;

    for (size_t i = 0; i < taking->tenant.len; i++) {
        hash = (unsigned char)(hash * 31U + (unsigned char)taking->tenant.ptr[i]);
    }
    return &taking->sql->took_line[hash];
}

/* ---- a job ---- */

static void read_job_claim(struct ps_query *query, struct ps_store_claim *claim)
{
    ps_get_id(query, &claim->id);
    claim->line = -1;
    claim->fence = ps_get_count(query) + 1;
    claim->attempt = (unsigned)ps_get_int(query) + 1;
    claim->lost = (unsigned)ps_get_int(query);
    claim->key = ps_get_text(query);
    claim->endpoint = ps_get_text(query);
    claim->created_ms = ps_get_int(query);
    claim->expires_ms = ps_get_int(query);
    claim->webhook = ps_get_text(query);
}

/* The job that is next; 0: none is ready. */
static int64_t find_job(struct taking *taking, struct ps_store_claim *claim)
{
    struct ps_query query;
    int64_t num = 0;

    ps_query_begin(&query, taking->sql, PS_SQL_TAKE_JOB);
    ps_put_text(&query, taking->tenant);
    ps_put_int(&query, taking->priority);
    ps_put_int(&query, taking->in->now_ms);
    if (ps_query_row(&query)) {
        num = ps_get_int(&query);
        read_job_claim(&query, claim);
    }
    ps_query_end(&query);
    return num;
}

static void claim_job(struct taking *taking, int64_t num, struct ps_store_claim *claim)
{
    struct ps_query query;

    ps_query_begin(&query, taking->sql, PS_SQL_JOB_CLAIM);
    ps_put_int(&query, num);
    ps_put_int(&query, taking->in->now_ms + taking->in->lease_ms);
    ps_put_int(&query, taking->in->now_ms);
    (void)ps_query_run(&query);
    ps_query_begin(&query, taking->sql, PS_SQL_JOB_REQUEST_GET);
    ps_put_int(&query, num);
    if (ps_query_row(&query)) {
        ps_get_body(&query, &claim->body);
    }
    ps_query_end(&query);
}

static bool take_job(struct taking *taking)
{
    struct ps_store_claim claim = {.tenant = taking->tenant};
    int64_t now = taking->in->now_ms;
    int64_t num;

    while ((num = find_job(taking, &claim)) != 0) {
        if (claim.expires_ms == 0 || claim.expires_ms > now) {
            struct ps_store_claim *row = ps_rows_add(&taking->claims);
            if (row != NULL) {
                claim_job(taking, num, &claim);
                *row = claim;
            }
            return true;
        }
        /* DUE ends such jobs; here only as many as stand in the way, and not too many. */
        if (taking->expired == PS_SQL_SLICE) {
            return false;
        }
        taking->expired++;
        ps_sql_expire_job(taking->sql, num, now);
        claim = (struct ps_store_claim){.tenant = taking->tenant};
    }
    return false;
}

/* ---- a line ---- */

static int64_t find_batch(struct taking *taking)
{
    struct ps_query query;
    int64_t base = 0;

    ps_query_begin(&query, taking->sql, PS_SQL_TAKE_BATCH);
    ps_put_text(&query, taking->tenant);
    ps_put_int(&query, taking->priority);
    ps_put_int(&query, taking->in->now_ms);
    while (base == 0 && ps_query_row(&query)) {
        struct ps_id id;
        base = ps_get_int(&query);
        ps_get_id(&query, &id);
        if (is_skipped(taking, &id)) {
            base = 0;
        }
    }
    ps_query_end(&query);
    return base;
}

static int64_t find_line(struct taking *taking, int64_t base, struct ps_store_claim *claim)
{
    struct ps_query query;
    int64_t key = 0;

    ps_query_begin(&query, taking->sql, PS_SQL_TAKE_LINE);
    ps_put_int(&query, base);
    ps_put_int(&query, taking->in->now_ms);
    if (ps_query_row(&query)) {
        key = ps_get_int(&query);
        claim->line = (int64_t)((uint64_t)key & (PS_SQL_LINES_MAX - 1));
        claim->fence = ps_get_count(&query) + 1;
        claim->attempt = (unsigned)ps_get_int(&query) + 1;
        claim->lost = (unsigned)ps_get_int(&query);
        claim->custom_id = ps_get_text(&query);
        claim->body.offset = ps_get_count(&query);
        claim->body.length = ps_get_count(&query);
    }
    ps_query_end(&query);
    return key;
}

static void read_batch_claim(struct taking *taking, int64_t base, struct ps_store_claim *claim)
{
    struct ps_query query;

    ps_query_begin(&query, taking->sql, PS_SQL_TAKE_FROM);
    ps_put_int(&query, base);
    if (ps_query_row(&query)) {
        ps_get_id(&query, &claim->id);
        claim->api = (enum ps_batch_api)ps_get_int(&query);
        claim->key = ps_get_text(&query);
        claim->endpoint = ps_get_text(&query);
        ps_get_blob(&query, &claim->body.blob);
        claim->created_ms = ps_get_int(&query);
        claim->expires_ms = ps_get_int(&query);
    }
    ps_query_end(&query);
}

/* When the batch's next line is ready, or NULL's stand-in -1: none waits. */
static int64_t next_line(struct taking *taking, int64_t base)
{
    struct ps_query query;

    ps_query_begin(&query, taking->sql, PS_SQL_LINE_NEXT);
    ps_put_int(&query, base);
    return ps_query_value(&query, -1);
}

static void put_ready(struct ps_query *query, int64_t ready_at)
{
    if (ready_at < 0) {
        query->put++; /* stays NULL */
    } else {
        ps_put_int(query, ready_at);
    }
}

static void claim_line(struct taking *taking, int64_t base, int64_t key)
{
    struct ps_query query;

    ps_query_begin(&query, taking->sql, PS_SQL_LINE_CLAIM);
    ps_put_int(&query, key);
    ps_put_int(&query, taking->in->now_ms + taking->in->lease_ms);
    (void)ps_query_run(&query);
    int64_t ready_at = next_line(taking, base);
    ps_query_begin(&query, taking->sql, PS_SQL_BATCH_TOOK);
    ps_put_int(&query, base);
    ps_put_int(&query, ++taking->sql->turn);
    put_ready(&query, ready_at);
    (void)ps_query_run(&query);
}

static bool take_line(struct taking *taking)
{
    int64_t base;

    while ((base = find_batch(taking)) != 0) {
        struct ps_store_claim claim = {.tenant = taking->tenant};
        int64_t key = find_line(taking, base, &claim);
        if (key != 0) {
            struct ps_store_claim *row = ps_rows_add(&taking->claims);
            if (row != NULL) {
                read_batch_claim(taking, base, &claim);
                claim_line(taking, base, key);
                *row = claim;
            }
            return true;
        }
        /* It was thought to be ready too early: looked at again when it is. */
        struct ps_query query;
        int64_t ready_at = next_line(taking, base);
        ps_query_begin(&query, taking->sql, PS_SQL_BATCH_READY);
        ps_put_int(&query, base);
        put_ready(&query, ready_at);
        (void)ps_query_run(&query);
    }
    return false;
}

/* ---- whose turn ---- */

/* One piece of the tenant's work at the priority. */
static bool take_at(struct taking *taking)
{
    bool *line = took_line(taking);
    bool first = *line ? take_job(taking) : take_line(taking);

    if (first) {
        *line = !*line;
        return true;
    }
    return *line ? take_line(taking) : take_job(taking);
}

static bool take_one(struct taking *taking)
{
    struct ps_query query;

    taking->priority = INT32_MAX;
    while (ps_sql_ok(taking->sql)) {
        ps_query_begin(&query, taking->sql, PS_SQL_TAKE_PRIORITY);
        ps_put_text(&query, taking->tenant);
        ps_put_int(&query, taking->priority);
        taking->priority = ps_query_value(&query, INT32_MIN);
        if (taking->priority == INT32_MIN) {
            return false;
        }
        if (take_at(taking)) {
            return true;
        }
    }
    return false;
}

/* The first tenant from `from` on that has something in the queue; empty: none. */
static struct ps_slice tenant_from(struct taking *taking, struct ps_slice from)
{
    struct ps_slice tenant = PS_SLICE_NONE;
    struct ps_query query;

    ps_query_begin(&query, taking->sql, PS_SQL_TAKE_TENANT);
    ps_put_text(&query, from);
    if (ps_query_row(&query)) {
        tenant = ps_get_text(&query);
    }
    ps_query_end(&query);
    return tenant;
}

/* After the last one it begins again, which is counted. */
static struct ps_slice next_tenant(struct taking *taking, struct ps_slice after)
{
    struct ps_slice tenant = PS_SLICE_NONE;

    if (after.len > 0) {
        /* The next name after X is X and a NUL. */
        char *border = ps_arena_strdup(taking->sql->arena, after);
        if (border == NULL) {
            taking->sql->no_memory = true;
            return tenant;
        }
        tenant = tenant_from(taking, ps_slice(border, after.len + 1));
    }
    if (tenant.len == 0) {
        taking->rounds++;
        tenant = tenant_from(taking, PS_SLICE_NONE);
    }
    return tenant;
}

static void remember(struct ps_store_session *sql, struct ps_slice tenant)
{
    if (tenant.len == 0 || !ps_sql_ok(sql)) {
        return;
    }
    char *copy = ps_strndup(tenant.ptr, tenant.len);
    if (copy == NULL) {
        sql->no_memory = true;
        return;
    }
    ps_free(sql->tenant);
    sql->tenant = copy;
}

/* Whether everybody has been asked since `first` had nothing. It may be gone itself by now. */
static bool went_round(const struct taking *taking, struct ps_slice first)
{
    struct ps_slice now = taking->tenant;
    size_t len = now.len < first.len ? now.len : first.len;
    int order = memcmp(now.ptr, first.ptr, len);

    if (taking->rounds == 1) {
        return order > 0 || (order == 0 && now.len >= first.len);
    }
    return taking->rounds > 1;
}

static void take_all(struct taking *taking, uint32_t limit)
{
    struct ps_slice idle = PS_SLICE_NONE; /* the first of those in a row that had nothing */

    taking->tenant = ps_slice_cstr(taking->sql->tenant);
    while (taking->claims.count < limit && ps_sql_ok(taking->sql)) {
        taking->tenant = next_tenant(taking, taking->tenant);
        if (taking->tenant.len == 0 || (idle.len > 0 && went_round(taking, idle))) {
            break;
        }
        if (take_one(taking)) {
            idle = PS_SLICE_NONE;
            taking->served = taking->tenant;
        } else if (idle.len == 0) {
            idle = taking->tenant;
            taking->rounds = 0;
        }
    }
}

static int64_t value_after(struct ps_store_session *sql, enum ps_sql_name name, int64_t now_ms)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    ps_put_int(&query, now_ms);
    return ps_query_value(&query, 0);
}

int64_t ps_sql_next_ready(struct ps_store_session *sql, int64_t now_ms)
{
    int64_t job = value_after(sql, PS_SQL_NEXT_JOB, now_ms);
    int64_t line = value_after(sql, PS_SQL_NEXT_BATCH, now_ms);

    if (job == 0 || line == 0) {
        return job + line;
    }
    return job < line ? job : line;
}

enum ps_store_status ps_sql_take(struct ps_store_session *sql, const struct ps_store_in *in,
                                 struct ps_store_out *out)
{
    struct taking taking = {
        .sql = sql,
        .in = in,
        .claims = PS_ROWS(sql, struct ps_store_claim),
    };
    uint32_t limit = in->limit < LIMIT_MAX ? in->limit : LIMIT_MAX;

    (void)ps_sql_return_claims(sql, in->now_ms, in->now_ms);
    take_all(&taking, limit);
    out->claims = taking.claims.ptr;
    out->claim_count = taking.claims.count;
    bool more = taking.claims.count == limit || taking.expired == PS_SQL_SLICE;
    out->next_ms = more ? in->now_ms : ps_sql_next_ready(sql, in->now_ms);
    remember(sql, taking.served);
    return PS_STORE_OK;
}
