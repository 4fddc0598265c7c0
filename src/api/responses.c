/* SPDX-License-Identifier: Apache-2.0 */
#include "responses.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"

/*
 * Responses of the Responses API that are kept: POST /v1/responses keeps what it answered; GET and
 * DELETE /v1/responses/{id} and its input items. What a request goes on from is found in
 * responses_lookup.c.
 *
 * The happy path: when an answer is complete it is put into the store together with all its input,
 * and only then the client gets its end: an id that a client has seen in a complete answer is kept.
 *
 * How it fails: an answer that cannot be kept fails as a whole: whoever asks with "store": false
 * does not depend on that.
 */

#define PREFIX     PS_RESPONSE_PREFIX
#define PATH       "/v1/responses/"
#define LIST_BYTES (64u << 20)

struct ps_responses_side *ps_responses_side(struct ps_conn *conn)
{
    if (conn->request.side == NULL) {
        conn->request.side = ps_calloc(1, sizeof(struct ps_responses_side));
    }
    return conn->request.side;
}

static void close_responses(struct ps_conn *conn)
{
    struct ps_responses_side *side = conn->request.side;
    ps_response_lookup_leave(side->lookup);
    ps_store_call_drop(&side->call);
    ps_buf_deinit(&side->out);
    ps_free(side);
}

/* Only its end: the rest of the request is its exchange's. */
const struct ps_side_ops ps_responses_ops = {NULL, NULL, NULL, NULL, close_responses};

struct ps_store_command *ps_response_command(struct ps_conn *conn, enum ps_store_verb verb,
                                             const struct ps_id *id)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    if (command == NULL) {
        return NULL;
    }
    command->in.tenant = ps_store_command_copy(command, conn->request.identity.tenant);
    command->in.now_ms = ps_clock_wall_ms();
    command->in.object.tenant = command->in.tenant;
    command->in.object.kind = PS_SLICE_LIT("response");
    command->in.object.id = *id;
    if (command->in.tenant.ptr == NULL) {
        ps_store_command_free(command);
        return NULL;
    }
    return command;
}

/* ---- keeping ---- */

static void on_kept(struct ps_conn *conn, struct ps_store_command *command)
{
    struct ps_responses_side *side = conn->request.side;
    if (command->status == PS_STORE_OK) {
        ps_inference_finish(conn, ps_buf_view(&side->out));
    } else {
        struct ps_fault fault;
        ps_store_fault(command->status, "response", &fault);
        ps_inference_fail(conn, &fault);
    }
}

/* A command that holds what is to be kept. False: nothing is; *ret NULL: memory is short. */
static bool make_put(struct ps_conn *conn, struct ps_store_command **ret)
{
    struct ps_buf value;
    struct ps_id id;
    *ret = NULL;
    ps_buf_init(&value, LIST_BYTES);
    if (!ps_writer_kept(conn->request.writer, &id, &value)) {
        ps_buf_deinit(&value);
        return false;
    }
    if (!value.failed) {
        *ret = ps_response_command(conn, PS_STORE_OBJECT_PUT, &id);
    }
    if (*ret != NULL) {
        struct ps_store_object *object = &(*ret)->in.object;
        object->value = ps_store_command_copy(*ret, ps_buf_view(&value));
        object->created_ms = (*ret)->in.now_ms;
        object->expires_ms = object->created_ms + ps_conn_config(conn)->jobs_response_life;
        if (object->value.ptr == NULL) {
            ps_store_command_free(*ret);
            *ret = NULL;
        }
    }
    ps_buf_deinit(&value);
    return true;
}

bool ps_responses_keep(struct ps_conn *conn, struct ps_buf *out)
{
    struct ps_store_command *command;
    if (conn->request.door->side != &ps_responses_ops || ps_side_jobs(conn) == NULL ||
        out->failed || !make_put(conn, &command)) {
        return false;
    }
    if (command == NULL || ps_responses_side(conn) == NULL) {
        struct ps_fault fault;
        ps_store_command_free(command);
        ps_store_fault(PS_STORE_NO_MEMORY, "response", &fault);
        ps_inference_fail(conn, &fault);
        return true;
    }
    struct ps_responses_side *side = conn->request.side;
    side->out = *out;
    ps_buf_init(out, 0);
    ps_store_call(&side->call, conn, command, on_kept);
    return true;
}

/* ---- GET, DELETE /v1/responses/{id} ---- */

static void on_one(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "response");
    } else if (command->verb == PS_STORE_OBJECT_GET) {
        ps_reply(conn, 200, "application/json",
                 ps_object_member(command->out.object.value, "response"));
    } else {
        struct ps_buf out;
        ps_buf_init(&out, 1024);
        ps_buf_cstr(&out, "{\"id\":");
        ps_buf_json(&out, ps_slice_cstr(command->in.object.id.text));
        ps_buf_cstr(&out, ",\"object\":\"response\",\"deleted\":true}");
        ps_side_json(conn, &out);
    }
}

static void ask_one(struct ps_conn *conn, enum ps_store_verb verb,
                    void (*done)(struct ps_conn *conn, struct ps_store_command *command))
{
    struct ps_side *side = conn->request.side;
    struct ps_id id;
    if (!ps_side_id(conn, PATH, PREFIX, "response", &id)) {
        return;
    }
    struct ps_store_command *command = ps_response_command(conn, verb, &id);
    if (command == NULL) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "response");
    } else {
        ps_store_call(&side->call, conn, command, done);
    }
}

/* A gateway that keeps nothing has none of them. */
static int open_one(struct ps_conn *conn, struct ps_fault *fault)
{
    return ps_side_jobs(conn) != NULL ? ps_side_open(conn, fault)
                                      : ps_fault_set(fault, PS_FAULT_NOT_FOUND, NULL,
                                                     "No such response: this gateway keeps none.");
}

static void run_one(struct ps_conn *conn)
{
    bool deletes = conn->request.head->method == PS_HTTP_DELETE;
    ask_one(conn, deletes ? PS_STORE_OBJECT_DELETE : PS_STORE_OBJECT_GET, on_one);
}

const struct ps_side_ops ps_responses_one_ops = {open_one, ps_side_ignore, run_one, NULL,
                                                 ps_side_close};

/* ---- GET /v1/responses/{id}/input_items ---- */

#define ITEM_ID 200 /* of ids that are shown: whoever makes longer ones, or odd ones, gets ours */

static bool is_plain_id(struct ps_slice raw)
{
    return raw.len > 2 && raw.len <= ITEM_ID && raw.ptr[0] == '"' &&
           memchr(raw.ptr, '\\', raw.len) == NULL;
}

void ps_response_item_id(struct ps_buf *out, const struct ps_id *response, size_t index,
                         struct ps_slice item)
{
    struct ps_slice own = ps_object_member(item, "id");
    out->len = 0;
    if (is_plain_id(own)) {
        ps_buf_slice(out, own);
    } else {
        ps_buf_printf(out, "\"item_%s_%zu\"", response->text + sizeof(PREFIX) - 1, index);
    }
}

/* Content of a message that was given as its text alone. */
static void write_text(struct ps_buf *out, struct ps_slice text, bool is_answer)
{
    ps_buf_cstr(out, is_answer ? "[{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[]"
                               : "[{\"type\":\"input_text\"");
    ps_buf_cstr(out, ",\"text\":");
    ps_buf_slice(out, text);
    ps_buf_cstr(out, "}]");
}

static bool is_missing(struct ps_slice object, const char *name)
{
    struct ps_slice value = ps_object_member(object, name);
    return value.len == 0 || ps_slice_eq_cstr(value, "null");
}

/* A part of content as it came, and what a list has of it that a request may leave out. */
static void write_part(struct ps_buf *out, struct ps_slice part)
{
    static const struct {
        const char *type;
        const char *name;
        const char *value;
    } rows[] = {{"\"output_text\"", "annotations", "[]"},
                {"\"output_text\"", "logprobs", "[]"},
                {"\"input_image\"", "detail", "\"auto\""}};
    struct ps_slice type = ps_object_member(part, "type");
    struct ps_members members;
    struct ps_slice key;
    struct ps_slice value;
    unsigned added = 0;
    ps_buf_cstr(out, "{\"type\":");
    ps_buf_slice(out, type);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ps_slice_eq_cstr(type, rows[i].type) && is_missing(part, rows[i].name)) {
            ps_buf_printf(out, ",\"%s\":%s", rows[i].name, rows[i].value);
            added |= 1U << i;
        }
    }
    ps_members_begin(&members, part);
    while (ps_members_next(&members, &key, &value)) {
        bool written = ps_member_is(key, "type");
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            written = written || ((added & (1U << i)) != 0 && ps_member_is(key, rows[i].name));
        }
        if (!written) {
            ps_buf_byte(out, ',');
            ps_buf_slice(out, key);
            ps_buf_byte(out, ':');
            ps_buf_slice(out, value);
        }
    }
    ps_buf_byte(out, '}');
}

static void write_parts(struct ps_buf *out, struct ps_slice parts)
{
    struct ps_slice rest = ps_array_inside(parts);
    struct ps_slice part;
    const char *comma = "";
    ps_buf_byte(out, '[');
    while (ps_array_next(&rest, &part)) {
        ps_buf_cstr(out, comma);
        if (part.ptr[0] == '{' && ps_object_member(part, "type").len > 0) {
            write_part(out, part);
        } else {
            ps_buf_slice(out, part);
        }
        comma = ",";
    }
    ps_buf_byte(out, ']');
}

/* As it came, and with what a list has that a request may leave out: id, type, status, the content
 * of messages in parts, what these lack. */
static void write_listed(struct ps_buf *out, struct ps_slice item, struct ps_slice id)
{
    struct ps_slice type = ps_object_member(item, "type");
    bool is_message = type.len == 0 || ps_slice_eq_cstr(type, "\"message\"");
    bool is_answer = ps_slice_eq_cstr(ps_object_member(item, "role"), "\"assistant\"");
    struct ps_members members;
    struct ps_slice key;
    struct ps_slice value;
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_slice(out, id);
    if (type.len == 0) {
        ps_buf_cstr(out, ",\"type\":\"message\"");
    }
    if (is_missing(item, "status")) {
        ps_buf_cstr(out, ",\"status\":\"completed\"");
    }
    ps_members_begin(&members, item);
    while (ps_members_next(&members, &key, &value)) {
        bool null_status = ps_member_is(key, "status") && ps_slice_eq_cstr(value, "null");
        if (null_status || ps_member_is(key, "id")) {
            continue;
        }
        ps_buf_byte(out, ',');
        ps_buf_slice(out, key);
        ps_buf_byte(out, ':');
        if (is_message && ps_member_is(key, "content") && value.ptr[0] == '"') {
            write_text(out, value, is_answer);
        } else if (value.ptr[0] == '[' &&
                   (ps_member_is(key, "output") || (is_message && ps_member_is(key, "content")))) {
            write_parts(out, value);
        } else {
            ps_buf_slice(out, value);
        }
    }
    ps_buf_byte(out, '}');
}

struct wanted {
    struct ps_slice after; /* empty: from the beginning */
    bool ascending;
    size_t limit;
};

static int read_wanted(struct ps_conn *conn, struct wanted *ret, struct ps_fault *fault)
{
    struct ps_slice limit;
    struct ps_slice order;
    int64_t number = 20;
    if (ps_query_find(conn, "limit", &limit, fault) != 0 ||
        ps_query_find(conn, "order", &order, fault) != 0 ||
        ps_query_find(conn, "after", &ret->after, fault) != 0) {
        return -1;
    }
    if (limit.ptr != NULL && (!ps_json_int(limit, &number) || number < 1 || number > 100)) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "limit", "limit must be 1 to 100.");
    }
    ret->ascending = order.ptr != NULL && ps_slice_eq_cstr(order, "asc");
    if (order.ptr != NULL && !ret->ascending && !ps_slice_eq_cstr(order, "desc")) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "order", "order must be asc or desc.");
    }
    ret->limit = (size_t)number;
    return 0;
}

/* Every element of the array, in the order that was asked for. NULL: memory is short. */
static struct ps_slice *order_items(struct ps_slice array, bool ascending, size_t *ret_count)
{
    struct ps_slice rest = ps_array_inside(array);
    struct ps_slice element;
    size_t count = 0;
    while (ps_array_next(&rest, &element)) {
        count++;
    }
    struct ps_slice *items = ps_calloc(count + 1, sizeof(*items));
    rest = ps_array_inside(array);
    for (size_t i = 0; items != NULL && ps_array_next(&rest, &element); i++) {
        items[ascending ? i : count - 1 - i] = element;
    }
    *ret_count = count;
    return items;
}

/* The list, as far as it is wanted. -1: `after` is none of them. */
static int write_items(struct ps_buf *out, const struct ps_id *response,
                       const struct ps_slice *items, size_t count, const struct wanted *wanted)
{
    struct ps_buf id;
    char first[ITEM_ID] = "";
    char last[ITEM_ID] = "";
    size_t shown = 0;
    bool begun = wanted->after.len == 0;
    size_t i;
    ps_buf_init(&id, 1024);
    ps_buf_cstr(out, "{\"object\":\"list\",\"data\":[");
    for (i = 0; i < count && shown < wanted->limit; i++) {
        ps_response_item_id(&id, response, wanted->ascending ? i : count - 1 - i, items[i]);
        if (id.failed) {
            out->failed = true;
            begun = true;
            break;
        }
        struct ps_slice plain = ps_slice(id.ptr + 1, id.len - 2);
        if (!begun) {
            begun = ps_slice_eq(plain, wanted->after);
            continue;
        }
        ps_buf_cstr(out, shown > 0 ? "," : "");
        write_listed(out, items[i], ps_buf_view(&id));
        memcpy(last, plain.ptr, plain.len);
        last[plain.len] = '\0';
        if (shown++ == 0) {
            memcpy(first, last, plain.len + 1);
        }
    }
    ps_side_list_end(out, shown > 0 ? first : NULL, shown > 0 ? last : NULL, i < count);
    ps_buf_deinit(&id);
    return begun ? 0 : -1;
}

static void on_items(struct ps_conn *conn, struct ps_store_command *command)
{
    struct ps_fault fault;
    struct wanted wanted;
    struct ps_buf out;
    size_t count = 0;
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "response");
        return;
    }
    if (read_wanted(conn, &wanted, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    struct ps_slice *items =
        order_items(ps_object_member(command->out.object.value, "input"), wanted.ascending, &count);
    if (items == NULL) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "response");
        return;
    }
    ps_buf_init(&out, LIST_BYTES);
    if (write_items(&out, &command->in.object.id, items, count, &wanted) != 0) {
        ps_buf_deinit(&out);
        (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "after",
                           "after must be an id of this list.");
        ps_reply_fault(conn, &fault);
    } else {
        ps_side_json(conn, &out);
    }
    ps_free(items);
}

static void run_items(struct ps_conn *conn)
{
    ask_one(conn, PS_STORE_OBJECT_GET, on_items);
}

const struct ps_side_ops ps_responses_items_ops = {open_one, ps_side_ignore, run_items, NULL,
                                                   ps_side_close};
