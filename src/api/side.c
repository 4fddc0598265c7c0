/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"

/* Doors that need one command of the store, and what their requests and answers have in common. */

#define SMALL_BODY 65536

int ps_side_open_sized(struct ps_conn *conn, size_t size, struct ps_fault *fault)
{
    if (ps_side_check(conn, fault) != 0) {
        return -1;
    }
    struct ps_side *side = ps_calloc(1, size);
    if (side == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    ps_buf_init(&side->body, SMALL_BODY);
    conn->request.side = side;
    ps_http_parser_limit_body(conn->parser, SMALL_BODY);
    return 0;
}

int ps_side_open(struct ps_conn *conn, struct ps_fault *fault)
{
    return ps_side_open_sized(conn, sizeof(struct ps_side), fault);
}

int ps_side_ignore(struct ps_conn *conn, const char *ptr, size_t len, struct ps_fault *fault)
{
    (void)conn;
    (void)ptr;
    (void)len;
    (void)fault;
    return 0;
}

void ps_side_close(struct ps_conn *conn)
{
    struct ps_side *side = conn->request.side;
    ps_store_call_drop(&side->call);
    ps_buf_deinit(&side->body);
    ps_free(side);
}

/* ---- paths ---- */

void ps_side_no_such(struct ps_conn *conn, const char *what)
{
    ps_side_refuse(conn, PS_STORE_NOT_FOUND, what);
}

bool ps_side_id(struct ps_conn *conn, const char *path_prefix, const char *id_prefix,
                const char *what, struct ps_id *ret)
{
    struct ps_slice path = conn->request.head->path;
    size_t skip = strlen(path_prefix);
    struct ps_slice id = ps_slice(path.ptr + skip, path.len - skip);
    const char *slash = memchr(id.ptr, '/', id.len);
    if (slash != NULL) {
        id.len = (size_t)(slash - id.ptr);
    }
    if (!ps_id_read(ret, id_prefix, id)) {
        ps_side_no_such(conn, what);
        return false;
    }
    return true;
}

/* ---- queries ---- */

/* Percent-decoded, '+' as a space. ptr NULL: malformed, or memory is short. */
static struct ps_slice decode(struct ps_conn *conn, struct ps_slice raw)
{
    char *plain = ps_arena_alloc(&conn->arena, raw.len + 1);
    char *text = ps_arena_alloc(&conn->arena, raw.len + 1);
    if (plain == NULL || text == NULL) {
        return PS_SLICE_NONE;
    }
    for (size_t i = 0; i < raw.len; i++) {
        plain[i] = raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
    }
    ptrdiff_t len = ps_http_unescape(ps_slice(plain, raw.len), true, text);
    return len < 0 ? PS_SLICE_NONE : ps_slice(text, (size_t)len);
}

int ps_query_find(struct ps_conn *conn, const char *name, struct ps_slice *ret,
                  struct ps_fault *fault)
{
    struct ps_slice rest = conn->request.head->query;
    *ret = PS_SLICE_NONE;
    while (rest.len > 0) {
        const char *amp = memchr(rest.ptr, '&', rest.len);
        struct ps_slice pair =
            ps_slice(rest.ptr, amp != NULL ? (size_t)(amp - rest.ptr) : rest.len);
        size_t step = pair.len + (amp != NULL ? 1 : 0);
        rest = ps_slice(rest.ptr + step, rest.len - step);
        const char *equals = pair.len > 0 ? memchr(pair.ptr, '=', pair.len) : NULL;
        size_t key = equals != NULL ? (size_t)(equals - pair.ptr) : pair.len;
        if (!ps_slice_eq_cstr(ps_slice(pair.ptr, key), name)) {
            continue;
        }
        if (ret->ptr != NULL) {
            return ps_fault_set(fault, PS_FAULT_BAD_FIELD, name,
                                "The parameter %s is given more than once.", name);
        }
        *ret = equals != NULL ? decode(conn, ps_slice(equals + 1, pair.len - key - 1))
                              : PS_SLICE_LIT("");
        if (ret->ptr == NULL) {
            return ps_fault_set(fault, PS_FAULT_BAD_FIELD, name,
                                "The parameter %s is not percent-encoded as it should be.", name);
        }
    }
    return 0;
}

int ps_query_page(struct ps_conn *conn, const char *id_prefix, uint32_t standard, uint32_t most,
                  struct ps_store_page *ret, struct ps_fault *fault)
{
    struct ps_slice limit;
    struct ps_slice after;
    int64_t number = standard;
    if (ps_query_find(conn, "limit", &limit, fault) != 0 ||
        ps_query_find(conn, "after", &after, fault) != 0) {
        return -1;
    }
    if (limit.ptr != NULL && (!ps_json_int(limit, &number) || number < 1 || number > most)) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "limit", "limit must be 1 to %u.",
                            (unsigned)most);
    }
    if (after.ptr != NULL && after.len > 0 && !ps_id_read(&ret->after, id_prefix, after)) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "after",
                            "after must be an id of this list.");
    }
    ret->limit = (uint32_t)number;
    return 0;
}

/* ---- answers ---- */

void ps_side_json(struct ps_conn *conn, struct ps_buf *out)
{
    if (out->failed) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory for this answer.");
        ps_reply_fault(conn, &fault);
    } else {
        ps_reply(conn, 200, "application/json", ps_buf_view(out));
    }
    ps_buf_deinit(out);
}

static void write_id(struct ps_buf *out, const char *name, const char *id)
{
    ps_buf_cstr(out, name);
    if (id != NULL) {
        ps_buf_json(out, ps_slice_cstr(id));
    } else {
        ps_buf_cstr(out, "null");
    }
}

void ps_side_list_end(struct ps_buf *out, const char *first, const char *last, bool more)
{
    write_id(out, "],\"first_id\":", first);
    write_id(out, ",\"last_id\":", last);
    ps_buf_cstr(out, more ? ",\"has_more\":true}" : ",\"has_more\":false}");
}

void ps_side_time(struct ps_buf *out, const char *name, int64_t ms)
{
    ps_buf_cstr(out, ",\"");
    ps_buf_cstr(out, name);
    ps_buf_cstr(out, "\":");
    if (ms == 0) {
        ps_buf_cstr(out, "null");
    } else {
        ps_buf_int(out, ms / 1000);
    }
}
