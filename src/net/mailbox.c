/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/net/mailbox.h"

/*
 * Posters append under the lock; the one that finds the queue empty wakes the loop. The loop takes
 * the whole queue at once and delivers it without the lock. `batch` is a member, so that a delivery
 * which closes the mailbox still sees the rest delivered in order.
 */

static void take_queue(struct ps_mailbox *mailbox, bool close)
{
    struct ps_link taken;

    ps_list_init(&taken);
    uv_mutex_lock(&mailbox->lock);
    ps_list_move(&mailbox->queue, &taken);
    mailbox->closed = mailbox->closed || close;
    uv_mutex_unlock(&mailbox->lock);

    struct ps_link *link;
    while ((link = ps_list_pop(&taken)) != NULL) {
        ps_list_push_back(&mailbox->batch, link);
    }
}

static void deliver_batch(struct ps_mailbox *mailbox)
{
    struct ps_link *link;
    while ((link = ps_list_pop(&mailbox->batch)) != NULL) {
        struct ps_message *message = PS_CONTAINER_OF(link, struct ps_message, link);
        message->deliver(message);
    }
}

static void on_async(uv_async_t *async)
{
    struct ps_mailbox *mailbox = async->data;
    ps_loop_enter(mailbox->loop);
    take_queue(mailbox, false);
    deliver_batch(mailbox);
}

int ps_mailbox_init(struct ps_mailbox *mailbox, struct ps_loop *loop)
{
    *mailbox = (struct ps_mailbox){.loop = loop};
    ps_list_init(&mailbox->queue);
    ps_list_init(&mailbox->batch);
    int rc = uv_mutex_init(&mailbox->lock);
    if (rc != 0) {
        return rc;
    }
    rc = uv_async_init(&loop->uv, &mailbox->async, on_async);
    if (rc != 0) {
        uv_mutex_destroy(&mailbox->lock);
        return rc;
    }
    mailbox->async.data = mailbox;
    return 0;
}

bool ps_mailbox_post(struct ps_mailbox *mailbox, struct ps_message *message)
{
    uv_mutex_lock(&mailbox->lock);
    bool open = !mailbox->closed;
    if (open) {
        bool first = ps_list_empty(&mailbox->queue);
        ps_list_push_back(&mailbox->queue, &message->link);
        /* Under the lock: after close has taken it, nobody touches the handle any more. */
        if (first) {
            uv_async_send(&mailbox->async);
        }
    }
    uv_mutex_unlock(&mailbox->lock);
    return open;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ps_mailbox *mailbox = handle->data;
    ps_loop_enter(mailbox->loop);
    /*
     * The lock stays as it is (on POSIX it owns nothing): a thread that still posts is refused as
     * long as the owner keeps the memory.
     */
    if (mailbox->on_closed != NULL) {
        mailbox->on_closed(mailbox);
    }
}

void ps_mailbox_close(struct ps_mailbox *mailbox, void (*on_closed)(struct ps_mailbox *mailbox))
{
    if (uv_is_closing((uv_handle_t *)&mailbox->async)) {
        return;
    }
    mailbox->on_closed = on_closed;
    uv_close((uv_handle_t *)&mailbox->async, on_handle_closed);
    take_queue(mailbox, true);
    deliver_batch(mailbox);
}
