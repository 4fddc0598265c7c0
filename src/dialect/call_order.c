/* SPDX-License-Identifier: Apache-2.0 */
#include "call_order.h"

#include "dialect_priv.h"
#include "signature.h"

#include <string.h>

#define CALLS 128 /* that wait at once */

struct held_call {
    uint32_t block;
    bool custom;
    const char *maker;
    struct ps_buf text; /* id, name, signature, and then the arguments */
    size_t id;          /* lengths of the first three */
    size_t name;
    size_t signature;
};

static struct held_call *calls_of(const struct ps_call_order *order, size_t *ret_count)
{
    *ret_count = order->held.len / sizeof(struct held_call);
    return (struct held_call *)(void *)order->held.ptr;
}

void ps_call_order_init(struct ps_call_order *order)
{
    ps_buf_init(&order->held, CALLS * sizeof(struct held_call));
    order->whole = true;
}

void ps_call_order_deinit(struct ps_call_order *order)
{
    size_t count;
    struct held_call *calls = calls_of(order, &count);

    for (size_t i = 0; i < count; i++) {
        ps_buf_deinit(&calls[i].text);
    }
    ps_buf_deinit(&order->held);
}

/* ---- the open call ---- */

static void open_call(struct ps_call_order *order, uint32_t block, bool custom)
{
    order->open = block;
    order->called = true;
    order->whole = custom; /* free text: nothing says where it ends */
    order->quoted = false;
    order->escaped = false;
    order->depth = 0;
}

static void follow(struct ps_call_order *order, struct ps_slice arguments)
{
    for (size_t i = 0; i < arguments.len && !order->whole; i++) {
        char byte = arguments.ptr[i];

        if (order->quoted) {
            order->quoted = byte != '"' || order->escaped;
            order->escaped = byte == '\\' && !order->escaped;
        } else if (byte == '"') {
            order->quoted = true;
        } else if (byte == '{' || byte == '[') {
            order->depth++;
        } else if ((byte == '}' || byte == ']') && order->depth > 0) {
            order->whole = --order->depth == 0;
        }
    }
}

/* ---- those that wait ---- */

static int hold(struct ps_writer *writer, struct held_call *call, struct ps_slice text,
                struct ps_fault *ret_fault)
{
    if (text.len > writer->options.max_bytes - writer->order.bytes) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The model's answer is larger than the gateway can hold.");
    }
    ps_buf_slice(&call->text, text);
    writer->order.bytes += text.len;
    return !call->text.failed ? 0
                              : ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                                             "The gateway is short of memory for this answer.");
}

static int hold_new(struct ps_writer *writer, const struct ps_event *event,
                    struct ps_fault *ret_fault)
{
    static const struct ps_event_tool nameless;
    const struct ps_event_tool *tool = event->tool != NULL ? event->tool : &nameless;
    struct held_call call = {.block = event->block,
                             .custom = tool->custom,
                             .maker = event->maker,
                             .id = tool->id.len,
                             .name = tool->name.len,
                             .signature = tool->signature.len};
    struct held_call *calls;
    size_t count;

    (void)calls_of(&writer->order, &count);
    if (count == CALLS) {
        return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                            "The model's answer holds more calls of tools than the gateway can "
                            "hold.");
    }
    ps_buf_init(&call.text, writer->options.max_bytes);
    ps_buf_append(&writer->order.held, &call, sizeof(call));
    if (writer->order.held.failed) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    calls = calls_of(&writer->order, &count);
    return hold(writer, &calls[count - 1], tool->id, ret_fault) == 0 &&
                   hold(writer, &calls[count - 1], tool->name, ret_fault) == 0 &&
                   hold(writer, &calls[count - 1], tool->signature, ret_fault) == 0
               ? hold(writer, &calls[count - 1], event->text, ret_fault)
               : -1;
}

static int tell(struct ps_writer *writer, const struct held_call *call, struct ps_buf *out,
                struct ps_fault *ret_fault)
{
    struct ps_slice rest = ps_buf_view(&call->text);
    size_t before = call->id + call->name + call->signature;
    struct ps_event_tool tool = {.custom = call->custom};
    struct ps_event event = {.kind = PS_EVENT_TOOL_CALL,
                             .maker = call->maker,
                             .block = call->block,
                             .usage = PS_USAGE_NONE,
                             .tool = &tool};

    if (rest.len > 0) {
        tool.id = ps_slice(rest.ptr, call->id);
        tool.name = ps_slice(rest.ptr + call->id, call->name);
        tool.signature = ps_slice(rest.ptr + call->id + call->name, call->signature);
        event.text = ps_slice(rest.ptr + before, rest.len - before);
    }
    open_call(&writer->order, call->block, call->custom);
    follow(&writer->order, event.text);
    return ps_signature_write(writer, &event, out, ret_fault);
}

/* Tells those whose turn has come; `all`: whether the one before is whole or not. */
static int release(struct ps_writer *writer, bool all, struct ps_buf *out,
                   struct ps_fault *ret_fault)
{
    struct ps_call_order *order = &writer->order;
    size_t count;
    struct held_call *calls = calls_of(order, &count);
    size_t told = 0;
    int rc = 0;

    while (rc == 0 && told < count && (all || order->whole)) {
        rc = tell(writer, &calls[told], out, ret_fault);
        order->bytes -= calls[told].text.len;
        ps_buf_deinit(&calls[told].text);
        told++;
    }
    ps_buf_drop(&order->held, told * sizeof(*calls));
    return rc;
}

/* ---- events ---- */

static int write_call(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                      struct ps_fault *ret_fault)
{
    struct ps_call_order *order = &writer->order;
    size_t count;
    struct held_call *calls = calls_of(order, &count);

    for (size_t i = count; i > 0; i--) {
        if (calls[i - 1].block == event->block) {
            return hold(writer, &calls[i - 1], event->text, ret_fault);
        }
    }
    if (!order->called || event->block > order->open) {
        if (!order->whole) {
            return hold_new(writer, event, ret_fault);
        }
        open_call(order, event->block, event->tool != NULL && event->tool->custom);
    }
    /* what belongs to a call that is closed, the writer knows to refuse */
    if (event->block == order->open) {
        follow(order, event->text);
    }
    return ps_signature_write(writer, event, out, ret_fault) == 0
               ? release(writer, false, out, ret_fault)
               : -1;
}

/* Whether this closes an open call. */
static bool closes(const struct ps_event *event)
{
    if (event->kind == PS_EVENT_TEXT || event->kind == PS_EVENT_REFUSAL) {
        return event->text.len > 0;
    }
    if (event->kind == PS_EVENT_REASONING) {
        return event->text.len > 0 || event->thought != NULL;
    }
    return event->kind == PS_EVENT_FINISH || event->kind == PS_EVENT_DONE;
}

static bool has_one_open(enum ps_family family)
{
    return family == PS_FAMILY_ANTHROPIC || family == PS_FAMILY_RESPONSES ||
           family == PS_FAMILY_COHERE;
}

int ps_call_order_write(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                        struct ps_fault *ret_fault)
{
    if (event->choice == 0 && has_one_open(writer->dialect->family)) {
        if (event->kind == PS_EVENT_TOOL_CALL) {
            return write_call(writer, event, out, ret_fault);
        }
        if (closes(event)) {
            if (release(writer, true, out, ret_fault) != 0) {
                return -1;
            }
            writer->order.whole = true;
        }
    }
    return ps_signature_write(writer, event, out, ret_fault);
}
