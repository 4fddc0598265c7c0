/* SPDX-License-Identifier: Apache-2.0 */
#include "responses.h"

#include "penstock/base/mem.h"
#include "penstock/net/pool.h"

#include <stdlib.h>

/*
 * What a request of the Responses API goes on from: the response that previous_response_id names,
 * and items which the input only names by their ids.
 *
 * The happy path: kept responses are fetched one after the other, first the one before, then those
 * that the last references are of. An item's id says which response holds it, and what is kept of a
 * response has all of its input: so the last one mostly has what all references mean. Items are
 * copied out and the rest is let go before the next one is fetched. A long one is read by a thread
 * of the offload pool.
 *
 * How it fails: an unknown id, or another tenant's, is 404 before the model is asked, and names the
 * field; more responses or bytes than are looked through, 400 or 413; a store that does not answer,
 * 503. The request may end at any time: then a thread that still reads has what it reads for
 * itself, and frees it on the loop.
 */

#define ASKED_MAX   64           /* responses for one request */
#define PAYS_BYTES  (256u << 10) /* 1 ms of reading: then a thread does it */
#define BEARS_BYTES (1u << 20)   /* so much is read on the loop when the pool is busy */
#define LISTED      "item_"      /* of items without an id of their own */

/* An id that the input names, maybe more than once. */
struct want {
    char id[PS_REFERENCE_ID];
    size_t id_len;
    struct ps_slice item; /* owned; empty: not found yet */
};

struct ps_response_lookup {
    struct ps_work work;
    struct ps_mailbox mailbox; /* open while a thread reads */
    struct ps_conn *conn;      /* NULL: the request has ended */
    unsigned holders;          /* the request's arena; the mailbox */
    unsigned asked;
    bool before_due; /* the response before has not been fetched yet */
    /* the thread's, while it reads */
    struct ps_arena held; /* `value`, as the store gave it */
    struct ps_slice value;
    struct ps_id id;        /* whose it is */
    bool whole;             /* it is the response before: all of its items go in front */
    struct ps_slice before; /* owned: these, as an array */
    struct want *wants;     /* owned, sorted by id */
    size_t want_count;
    size_t left; /* not found yet */
    bool listed; /* some id is of an item without one of its own */
    size_t bytes;
    size_t max_bytes; /* of items that are found */
    bool no_memory;
    bool too_large;
};

static void let_go(struct ps_response_lookup *lookup)
{
    if (--lookup->holders > 0) {
        return;
    }
    for (size_t i = 0; i < lookup->want_count; i++) {
        ps_free((char *)(uintptr_t)lookup->wants[i].item.ptr);
    }
    ps_free(lookup->wants);
    ps_free((char *)(uintptr_t)lookup->before.ptr);
    ps_arena_deinit(&lookup->held);
    ps_free(lookup);
}

static void on_arena_end(void *lookup)
{
    let_go(lookup);
}

void ps_response_lookup_leave(struct ps_response_lookup *lookup)
{
    if (lookup != NULL) {
        lookup->conn = NULL;
    }
}

/* ---- reading one response ---- */

static int by_id(const void *a, const void *b)
{
    const struct want *left = a;
    const struct want *right = b;
    size_t len = left->id_len < right->id_len ? left->id_len : right->id_len;
    int order = memcmp(left->id, right->id, len);
    return order != 0 ? order : (left->id_len > right->id_len) - (left->id_len < right->id_len);
}

static struct want *find_want(const struct ps_response_lookup *lookup, struct ps_slice id)
{
    struct want key = {.id_len = id.len};
    if (id.len == 0 || id.len > sizeof(key.id) || lookup->want_count == 0) {
        return NULL;
    }
    memcpy(key.id, id.ptr, id.len);
    return bsearch(&key, lookup->wants, lookup->want_count, sizeof(key), by_id);
}

/* `raw_id`: with its quotes. */
static void take_item(struct ps_response_lookup *lookup, struct ps_slice item,
                      struct ps_slice raw_id)
{
    struct want *want =
        raw_id.len > 2 ? find_want(lookup, ps_slice(raw_id.ptr + 1, raw_id.len - 2)) : NULL;
    if (want == NULL || want->item.len > 0 || item.ptr[0] != '{') {
        return;
    }
    if (item.len > lookup->max_bytes - lookup->bytes) {
        lookup->too_large = true;
        return;
    }
    char *copy = ps_malloc(item.len);
    if (copy == NULL) {
        lookup->no_memory = true;
        return;
    }
    memcpy(copy, item.ptr, item.len);
    want->item = ps_slice(copy, item.len);
    lookup->bytes += item.len;
    lookup->left--;
}

static void take_items(struct ps_response_lookup *lookup, struct ps_slice rest, bool is_input)
{
    struct ps_slice item;
    struct ps_buf made;
    ps_buf_init(&made, 256);
    for (size_t i = 0; lookup->left > 0 && ps_array_next(&rest, &item); i++) {
        struct ps_slice id = ps_object_member(item, "id");
        if (is_input && lookup->listed) {
            ps_response_item_id(&made, &lookup->id, i, item);
            id = ps_buf_view(&made);
            lookup->no_memory = lookup->no_memory || made.failed;
        }
        take_item(lookup, item, id);
    }
    ps_buf_deinit(&made);
}

/* Input, then output, as one array. */
static void take_all(struct ps_response_lookup *lookup, struct ps_slice input,
                     struct ps_slice output)
{
    char *text = ps_malloc(input.len + output.len + 3);
    size_t len = 0;
    if (text == NULL) {
        lookup->no_memory = true;
        return;
    }
    text[len++] = '[';
    if (input.len > 0) {
        memcpy(text + len, input.ptr, input.len);
        len += input.len;
    }
    if (input.len > 0 && output.len > 0) {
        text[len++] = ',';
    }
    if (output.len > 0) {
        memcpy(text + len, output.ptr, output.len);
        len += output.len;
    }
    text[len++] = ']';
    lookup->before = ps_slice(text, len);
}

static void read_value(struct ps_response_lookup *lookup)
{
    struct ps_slice input = ps_array_inside(ps_object_member(lookup->value, "input"));
    struct ps_slice response = ps_object_member(lookup->value, "response");
    struct ps_slice output = ps_array_inside(ps_object_member(response, "output"));
    if (lookup->whole) {
        take_all(lookup, input, output);
    }
    take_items(lookup, output, false);
    take_items(lookup, input, true);
}

/* ---- one after the other ---- */

static void step(struct ps_response_lookup *lookup);

static void refuse(struct ps_response_lookup *lookup, const struct ps_fault *fault)
{
    ps_exchange_previous(lookup->conn->request.exchange, PS_SLICE_NONE, fault);
}

static void refuse_status(struct ps_response_lookup *lookup, enum ps_store_status status)
{
    struct ps_fault fault;
    ps_store_fault(status, "response", &fault);
    refuse(lookup, &fault);
}

static void no_such_response(struct ps_conn *conn)
{
    struct ps_exchange *ex = conn->request.exchange;
    struct ps_slice id = ps_exchange_request(ex)->previous_id;
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_PREVIOUS_NOT_FOUND, "previous_response_id",
                       "Previous response with id '%.*s' not found.", ps_utf8_quoted(id, 80),
                       id.ptr);
    ps_exchange_previous(ex, PS_SLICE_NONE, &fault);
}

/* The last reference that nothing has been found for. */
static const struct ps_reference *last_open(const struct ps_response_lookup *lookup)
{
    const struct ps_request *request = ps_exchange_request(lookup->conn->request.exchange);
    for (size_t i = request->reference_count; i-- > 0;) {
        const struct ps_reference *reference = &request->references[i];
        const struct want *want = find_want(lookup, ps_slice(reference->id, reference->id_len));
        if (want != NULL && want->item.len == 0) {
            return reference;
        }
    }
    return NULL;
}

static void no_such_item(struct ps_response_lookup *lookup)
{
    const struct ps_reference *reference = last_open(lookup);
    char param[PS_FAULT_PARAM];
    struct ps_fault fault;
    (void)snprintf(param, sizeof(param), "input[%u].id", reference->index);
    (void)ps_fault_set(&fault, PS_FAULT_NOT_FOUND, param,
                       "Item with id '%.*s' not found. Items are kept with the response that they "
                       "are of, unless it said \"store\": false.",
                       (int)reference->id_len, reference->id);
    refuse(lookup, &fault);
}

static void too_much(struct ps_response_lookup *lookup, enum ps_fault_kind kind, const char *what)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, kind, "input", "What input refers to by ids %s.", what);
    refuse(lookup, &fault);
}

/* `value` has been read. */
static void go_on(struct ps_response_lookup *lookup)
{
    bool whole = lookup->whole;
    struct ps_id holder;
    ps_arena_deinit(&lookup->held);
    lookup->value = PS_SLICE_NONE;
    lookup->whole = false;
    if (lookup->no_memory) {
        refuse_status(lookup, PS_STORE_NO_MEMORY);
        return;
    }
    if (lookup->too_large) {
        too_much(lookup, PS_FAULT_BODY_TOO_LARGE, "is more than a request may be");
        return;
    }
    const struct ps_reference *reference = whole ? NULL : last_open(lookup);
    if (reference != NULL &&
        ps_dialect_item_holder(ps_slice(reference->id, reference->id_len), &holder) &&
        strcmp(holder.text, lookup->id.text) == 0) {
        no_such_item(lookup); /* it should have been in there */
        return;
    }
    step(lookup);
}

/* ---- on a thread ---- */

static void on_mailbox_closed(struct ps_mailbox *mailbox)
{
    struct ps_response_lookup *lookup =
        PS_CONTAINER_OF(mailbox, struct ps_response_lookup, mailbox);
    if (lookup->conn != NULL) {
        go_on(lookup);
    }
    let_go(lookup);
}

static void run(struct ps_work *work)
{
    read_value(PS_CONTAINER_OF(work, struct ps_response_lookup, work));
}

static void done(struct ps_work *work)
{
    struct ps_response_lookup *lookup = PS_CONTAINER_OF(work, struct ps_response_lookup, work);
    ps_mailbox_close(&lookup->mailbox, on_mailbox_closed);
}

static void on_given_up(struct ps_mailbox *mailbox)
{
    let_go(PS_CONTAINER_OF(mailbox, struct ps_response_lookup, mailbox));
}

/* False: nobody reads it. */
static bool hand_over(struct ps_response_lookup *lookup)
{
    struct ps_gateway_loop *gl = lookup->conn->server->gl;
    if (gl->gateway->offload == NULL || ps_mailbox_init(&lookup->mailbox, gl->loop) != 0) {
        return false;
    }
    lookup->holders++;
    lookup->work = (struct ps_work){.mailbox = &lookup->mailbox, .run = run, .done = done};
    if (!ps_pool_submit(gl->gateway->offload, &lookup->work)) {
        ps_mailbox_close(&lookup->mailbox, on_given_up);
        return false;
    }
    return true;
}

/* ---- the store ---- */

static void on_value(struct ps_conn *conn, struct ps_store_command *command)
{
    struct ps_responses_side *side = conn->request.side;
    struct ps_response_lookup *lookup = side->lookup;
    if (command->status == PS_STORE_NOT_FOUND) {
        if (lookup->whole) {
            no_such_response(conn);
        } else {
            no_such_item(lookup);
        }
        return;
    }
    if (command->status != PS_STORE_OK) {
        refuse_status(lookup, command->status);
        return;
    }
    lookup->value = command->out.object.value;
    ps_arena_move(&command->arena, &lookup->held);
    if (lookup->value.len >= PAYS_BYTES && hand_over(lookup)) {
        return;
    }
    if (lookup->value.len > BEARS_BYTES && conn->server->gl->gateway->offload != NULL) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_OVERLOADED, NULL,
                           "Too many long requests wait to be read; try again later.");
        refuse(lookup, &fault);
        return;
    }
    read_value(lookup);
    go_on(lookup);
}

static void ask(struct ps_response_lookup *lookup)
{
    struct ps_conn *conn = lookup->conn;
    struct ps_responses_side *side = conn->request.side;
    struct ps_store_command *command = ps_response_command(conn, PS_STORE_OBJECT_GET, &lookup->id);
    if (command == NULL) {
        refuse_status(lookup, PS_STORE_NO_MEMORY);
        return;
    }
    lookup->asked++;
    ps_store_call(&side->call, conn, command, on_value);
}

/* Everything is there. */
static void answer(struct ps_response_lookup *lookup)
{
    struct ps_exchange *ex = lookup->conn->request.exchange;
    const struct ps_request *request = ps_exchange_request(ex);
    size_t bytes = 0;
    for (size_t i = 0; i < request->reference_count; i++) {
        struct ps_reference *reference = &request->references[i];
        const struct want *want = find_want(lookup, ps_slice(reference->id, reference->id_len));
        reference->item = want != NULL ? want->item : PS_SLICE_NONE;
        if (reference->item.len > lookup->max_bytes - bytes) {
            too_much(lookup, PS_FAULT_BODY_TOO_LARGE, "is more than a request may be");
            return;
        }
        bytes += reference->item.len;
    }
    ps_exchange_previous(ex, lookup->before, NULL);
}

static void step(struct ps_response_lookup *lookup)
{
    struct ps_slice before = ps_exchange_request(lookup->conn->request.exchange)->previous_id;
    const struct ps_reference *reference;
    if (lookup->before_due) {
        lookup->before_due = false;
        if (ps_id_read(&lookup->id, PS_RESPONSE_PREFIX, before)) {
            lookup->whole = true;
            ask(lookup);
            return;
        } /* else nobody here has it: whoever reads the request without it says so */
    }
    reference = last_open(lookup);
    if (reference == NULL) {
        answer(lookup);
    } else if (lookup->asked == ASKED_MAX) {
        too_much(lookup, PS_FAULT_BAD_FIELD, "is of more responses than are looked through");
    } else if (ps_dialect_item_holder(ps_slice(reference->id, reference->id_len), &lookup->id)) {
        ask(lookup);
    } else {
        no_such_item(lookup);
    }
}

/* ---- begin ---- */

/* Each id once, in order. -1: no memory. */
static int note_wants(struct ps_response_lookup *lookup, const struct ps_request *request)
{
    size_t count = 0;
    lookup->wants = ps_calloc(request->reference_count + 1, sizeof(*lookup->wants));
    if (lookup->wants == NULL) {
        return -1;
    }
    for (size_t i = 0; i < request->reference_count; i++) {
        const struct ps_reference *reference = &request->references[i];
        struct want *want = &lookup->wants[i];
        want->id_len = reference->id_len;
        memcpy(want->id, reference->id, want->id_len);
        lookup->listed = lookup->listed ||
                         ps_slice_starts(ps_slice(want->id, want->id_len), PS_SLICE_LIT(LISTED));
    }
    qsort(lookup->wants, request->reference_count, sizeof(*lookup->wants), by_id);
    for (size_t i = 0; i < request->reference_count; i++) {
        if (count == 0 || by_id(&lookup->wants[count - 1], &lookup->wants[i]) != 0) {
            lookup->wants[count++] = lookup->wants[i];
        }
    }
    lookup->want_count = count;
    lookup->left = count;
    return 0;
}

static struct ps_response_lookup *new_lookup(struct ps_conn *conn)
{
    const struct ps_request *request = ps_exchange_request(conn->request.exchange);
    struct ps_response_lookup *lookup = ps_calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        return NULL;
    }
    lookup->conn = conn;
    lookup->holders = 1;
    lookup->before_due = request->previous_id.len > 0;
    lookup->max_bytes = ps_conn_config(conn)->limits.body_bytes;
    ps_arena_init(&lookup->held, SIZE_MAX);
    if (note_wants(lookup, request) != 0 ||
        ps_arena_defer(&conn->arena, on_arena_end, lookup) != 0) {
        let_go(lookup);
        return NULL;
    }
    return lookup;
}

void ps_responses_previous(struct ps_conn *conn)
{
    struct ps_exchange *ex = conn->request.exchange;
    struct ps_responses_side *side;
    struct ps_fault fault;
    if (ps_side_jobs(conn) == NULL) {
        bool before = ps_exchange_request(ex)->previous_id.len > 0;
        (void)ps_fault_set(
            &fault, PS_FAULT_UNSUPPORTED_OPERATION, before ? "previous_response_id" : "input",
            "This gateway keeps no responses: send the whole conversation as input.");
        ps_exchange_previous(ex, PS_SLICE_NONE, &fault);
        return;
    }
    side = ps_responses_side(conn);
    if (side != NULL) {
        side->lookup = new_lookup(conn);
    }
    if (side == NULL || side->lookup == NULL) {
        ps_store_fault(PS_STORE_NO_MEMORY, "response", &fault);
        ps_exchange_previous(ex, PS_SLICE_NONE, &fault);
        return;
    }
    step(side->lookup);
}
