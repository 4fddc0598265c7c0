/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <assert.h>

/* The engine thread's side of a port. */

void ps_port_stage(struct ps_engine_port *port, const struct ps_record *head, struct ps_slice body)
{
    static const char padding[8];
    struct ps_record record = *head;
    size_t size = sizeof(record) + body.len;
    size_t padded = (size + 7) & ~(size_t)7;
    record.size = (uint32_t)padded;
    size_t before = port->staged.len;
    ps_buf_append(&port->staged, &record, sizeof(record));
    ps_buf_slice(&port->staged, body);
    ps_buf_append(&port->staged, padding, padded - size);
    if (port->staged.failed) {
        port->staged.len =
            before; /* no half records; flush tells the loop that something is missing */
    }
}

void ps_port_stage_fault(struct ps_engine_port *port, ps_engine_ticket ticket,
                         const struct ps_fault *fault)
{
    struct ps_record record = {.kind = PS_ENGINE_FAULT, .ticket = ticket};
    ps_port_stage(port, &record, ps_slice((const char *)fault, sizeof(*fault)));
}

void ps_port_flush(struct ps_engine_port *port)
{
    if (port->staged.len == 0 && !port->staged.failed) {
        return;
    }
    bool post = false;
    (void)pthread_mutex_lock(&port->lock);
    port->lost = port->lost || port->staged.failed;
    if (port->ready.len == 0 && !port->ready.failed) {
        struct ps_buf other = port->ready;
        port->ready = port->staged;
        port->ready.failed = false;
        port->staged = other;
    } else {
        size_t before = port->ready.len;
        ps_buf_slice(&port->ready, ps_buf_view(&port->staged));
        if (port->ready.failed) {
            port->ready.len = before;
            port->ready.failed = false;
            port->lost = true;
        }
    }
    atomic_store(&port->backlog, port->ready.len);
    post = !port->posted;
    port->posted = true;
    (void)pthread_mutex_unlock(&port->lock);
    ps_buf_reset(&port->staged);
    if (post) {
        bool open = ps_mailbox_post(&port->mailbox, &port->mail);
        assert(open); /* it closes after the engine thread has let go of the port */
        (void)open;
    }
}

void ps_port_tell_state(struct ps_engine_port *port)
{
    (void)pthread_mutex_lock(&port->lock);
    bool post = !port->state_posted;
    port->state_posted = true;
    (void)pthread_mutex_unlock(&port->lock);
    if (post) {
        (void)ps_mailbox_post(&port->mailbox, &port->state_mail);
    }
}

void ps_port_tell_gone(struct ps_engine_port *port)
{
    (void)ps_mailbox_post(&port->mailbox, &port->gone_mail);
}
