/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_CALL_ORDER_H
#define PENSTOCK_DIALECT_CALL_ORDER_H

#include "penstock/base/buf.h"
#include "penstock/dialect/event.h"

/*
 * Some providers stream the fragments of parallel calls mixed with each other. Families whose
 * streams have one call open at a time get them one after the other: what belongs to a later call
 * waits until the arguments of the open one are a whole object, or something else is said.
 */
struct ps_writer;
struct ps_call_order {
    struct ps_buf held; /* calls that wait, in the order in which they began */
    size_t bytes;       /* of memory for them */
    uint32_t open;      /* number of the call that the writer has open */
    bool called;
    bool whole; /* its arguments are; or no call is open */
    bool quoted;
    bool escaped;
    size_t depth;
};
void ps_call_order_init(struct ps_call_order *order);
void ps_call_order_deinit(struct ps_call_order *order);

/* Hands an event on to the writer's row, now or later. As ps_writer_event. */
int ps_call_order_write(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                        struct ps_fault *ret_fault);

#endif
