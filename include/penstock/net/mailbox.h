/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_MAILBOX_H
#define PENSTOCK_NET_MAILBOX_H

#include "penstock/base/list.h"
#include "penstock/net/loop.h"

#include <uv.h>

#include <stdbool.h>

/*
 * How threads meet a loop: any thread posts a message, the loop takes all that wait in one wake-up,
 * in the order they were posted. Messages are embedded in what their sender owns; posting hands
 * them over until they are delivered. Senders bound their own number.
 */
struct ps_message {
    struct ps_link link;
    void (*deliver)(struct ps_message *message); /* on the loop's thread */
};

struct ps_mailbox {
    uv_async_t async;
    uv_mutex_t lock;
    struct ps_link queue; /* under lock */
    struct ps_link batch; /* being delivered; loop thread */
    bool closed;          /* under lock */
    struct ps_loop *loop; /* borrowed */
    void (*on_closed)(struct ps_mailbox *mailbox);
};

/* 0 or a negative libuv error. An open mailbox keeps its loop running. */
int ps_mailbox_init(struct ps_mailbox *mailbox, struct ps_loop *loop)
    __attribute__((warn_unused_result));
/* Any thread. false when the mailbox is closed: the message stays the caller's. */
bool ps_mailbox_post(struct ps_mailbox *mailbox, struct ps_message *message);
/*
 * Loop thread. Delivers what waits, then refuses more; on_closed (may be NULL) when the loop has
 * done with the mailbox. The memory may go then, if no thread posts any more.
 */
void ps_mailbox_close(struct ps_mailbox *mailbox, void (*on_closed)(struct ps_mailbox *mailbox));

#endif
