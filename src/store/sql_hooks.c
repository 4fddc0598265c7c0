/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

/*
 * Webhooks to be delivered: made with what they tell of, leased to whoever delivers them. Receivers
 * are served by turns, each so many at once, so that one which is slow, or for which thousands
 * wait, keeps nobody else waiting.
 */

#define HOOKS_MAX    64
#define HOSTS_LOOKED 256 /* at, by one command: most of them may have nothing that is due */

void ps_sql_add_hook(struct ps_store_session *sql, const struct ps_id *id, struct ps_slice url,
                     struct ps_slice type, struct ps_slice payload, int64_t now_ms)
{
    struct ps_query query;

    if (url.len == 0) {
        return;
    }
    ps_query_begin(&query, sql, PS_SQL_HOOK_ADD);
    ps_put_id(&query, id);
    ps_put_text(&query, url);
    ps_put_text(&query, type);
    ps_put_bytes(&query, payload.ptr, payload.len);
    ps_put_int(&query, now_ms);
    (void)ps_query_run(&query);
}

static void claim_hook(struct ps_store_session *sql, const struct ps_store_hook *hook,
                       int64_t until_ms)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_HOOK_CLAIM);
    ps_put_id(&query, &hook->id);
    ps_put_int(&query, until_ms);
    (void)ps_query_run(&query);
}

static void read_hook(struct ps_query *query, struct ps_store_hook *hook)
{
    ps_get_id(query, &hook->id);
    hook->fence = ps_get_count(query) + 1;
    hook->attempt = (unsigned)ps_get_int(query) + 1;
    hook->url = ps_get_text(query);
    hook->type = ps_get_text(query);
    hook->payload = ps_get_text(query);
    hook->created_ms = ps_get_int(query);
}

/* What is due of one receiver, as far as its bound and `limit` rows in all allow. */
static void take_of_host(struct ps_store_session *sql, const struct ps_store_in *in,
                         struct ps_slice host, uint32_t limit, struct ps_rows *rows)
{
    struct ps_query query;
    int64_t room = (int64_t)limit - (int64_t)rows->count;

    if (in->per_host > 0) {
        ps_query_begin(&query, sql, PS_SQL_HOOK_LEASED);
        ps_put_text(&query, host);
        ps_put_int(&query, in->now_ms);
        int64_t left = (int64_t)in->per_host - ps_query_value(&query, 0);
        room = left < room ? left : room;
    }
    if (room <= 0) {
        return;
    }
    ps_query_begin(&query, sql, PS_SQL_HOOK_TAKE);
    ps_put_text(&query, host);
    ps_put_int(&query, in->now_ms);
    ps_put_int(&query, room);
    while (ps_query_row(&query)) {
        struct ps_store_hook *hook = ps_rows_add(rows);
        if (hook == NULL) {
            break;
        }
        read_hook(&query, hook);
    }
    ps_query_end(&query);
}

/* The receiver behind `host` in the alphabet; len 0: there is none. */
static struct ps_slice next_host(struct ps_store_session *sql, struct ps_slice host)
{
    struct ps_slice next = PS_SLICE_NONE;
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_HOOK_HOST);
    ps_put_text(&query, host);
    if (ps_query_row(&query)) {
        next = ps_get_text(&query);
    }
    ps_query_end(&query);
    return next;
}

static int compare(struct ps_slice a, struct ps_slice b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* Once around, from behind the receiver that was served last. */
static void take_by_turns(struct ps_store_session *sql, const struct ps_store_in *in,
                          uint32_t limit, struct ps_rows *rows)
{
    struct ps_slice first = ps_arena_copy(sql->arena, ps_slice_cstr(sql->hook_host));
    struct ps_slice at = first;
    bool wrapped = false;

    if (first.ptr == NULL) {
        sql->no_memory = true;
        return;
    }
    for (int i = 0; i < HOSTS_LOOKED && rows->count < limit; i++) {
        struct ps_slice next = next_host(sql, at);
        if (next.len == 0 && !wrapped) {
            wrapped = true;
            next = next_host(sql, PS_SLICE_LIT(""));
        }
        if (next.len == 0 || (wrapped && compare(next, first) > 0)) {
            break;
        }
        take_of_host(sql, in, next, limit, rows);
        at = next;
    }
    size_t len = at.len < sizeof(sql->hook_host) ? at.len : sizeof(sql->hook_host) - 1;
    memcpy(sql->hook_host, at.ptr, len);
    sql->hook_host[len] = '\0';
}

enum ps_store_status ps_sql_hook_take(struct ps_store_session *sql, const struct ps_store_in *in,
                                      struct ps_store_out *out)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_hook);
    struct ps_query query;

    take_by_turns(sql, in, in->limit < HOOKS_MAX ? in->limit : HOOKS_MAX, &rows);
    out->hooks = rows.ptr;
    out->hook_count = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        claim_hook(sql, &out->hooks[i], in->now_ms + in->lease_ms);
    }
    ps_query_begin(&query, sql, PS_SQL_HOOK_DUE);
    ps_put_int(&query, in->now_ms);
    out->more = ps_query_value(&query, 0) != 0;
    ps_query_begin(&query, sql, PS_SQL_HOOK_NEXT);
    ps_put_int(&query, in->now_ms);
    out->next_ms = ps_query_value(&query, 0);
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_hook_settle(struct ps_store_session *sql, const struct ps_store_in *in,
                                        struct ps_store_out *out)
{
    struct ps_query query;

    (void)out;
    ps_query_begin(&query, sql, in->run_at_ms == 0 ? PS_SQL_HOOK_DONE : PS_SQL_HOOK_AGAIN);
    ps_put_id(&query, &in->ref.id);
    ps_put_count(&query, in->ref.fence);
    if (in->run_at_ms != 0) {
        ps_put_int(&query, in->run_at_ms);
    }
    return ps_query_run(&query) > 0 ? PS_STORE_OK : PS_STORE_STALE;
}
