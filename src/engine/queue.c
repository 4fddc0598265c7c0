/* SPDX-License-Identifier: Apache-2.0 */
#include "queue.h"

/*
 * The first waiting job of a tenant carries the ring link and is the head of the tenant's list (its
 * `link` is the list); those behind it are linked to it. When the head leaves, the next one takes
 * its place.
 */

void ps_queue_init(struct ps_queue *queue)
{
    *queue = (struct ps_queue){0};
    for (size_t i = 0; i < PS_QUEUE_PRIORITIES; i++) {
        ps_list_init(&queue->rings[i]);
    }
}

static struct ps_queued *head_of(struct ps_queue *queue, const struct ps_queued *queued)
{
    struct ps_link *ring = &queue->rings[queued->priority];
    for (struct ps_link *at = ring->next; at != ring; at = at->next) {
        struct ps_queued *head = PS_CONTAINER_OF(at, struct ps_queued, ring);
        if (ps_slice_eq(head->tenant, queued->tenant)) {
            return head;
        }
    }
    return NULL;
}

void ps_queue_push(struct ps_queue *queue, struct ps_queued *queued)
{
    struct ps_queued *head = head_of(queue, queued);
    ps_list_init(&queued->link);
    ps_list_init(&queued->ring);
    if (head != NULL) {
        ps_list_push_back(&head->link, &queued->link);
    } else {
        ps_list_push_back(&queue->rings[queued->priority], &queued->ring);
    }
    queue->count++;
    queue->tokens += queued->tokens;
}

/* Takes a tenant's first out; what was behind it stays in the ring at the same place. */
static void remove_head(struct ps_queued *head)
{
    if (!ps_list_empty(&head->link)) {
        struct ps_queued *next = PS_CONTAINER_OF(head->link.next, struct ps_queued, link);
        ps_list_push_front(&head->ring, &next->ring);
        ps_list_remove(&head->link); /* the rest is a list around `next` now */
    }
    ps_list_remove(&head->ring);
}

void ps_queue_remove(struct ps_queue *queue, struct ps_queued *queued)
{
    if (!ps_list_empty(&queued->ring)) {
        remove_head(queued);
    } else {
        ps_list_remove(&queued->link);
    }
    queue->count--;
    queue->tokens -= queued->tokens;
}

struct ps_queued *ps_queue_pop(struct ps_queue *queue)
{
    for (size_t i = 0; i < PS_QUEUE_PRIORITIES; i++) {
        struct ps_link *ring = &queue->rings[i];
        if (ps_list_empty(ring)) {
            continue;
        }
        struct ps_queued *head = PS_CONTAINER_OF(ring->next, struct ps_queued, ring);
        struct ps_queued *next = ps_list_empty(&head->link)
                                     ? NULL
                                     : PS_CONTAINER_OF(head->link.next, struct ps_queued, link);
        ps_queue_remove(queue, head);
        if (next != NULL) { /* its tenant goes to the end of the round */
            ps_list_remove(&next->ring);
            ps_list_push_back(ring, &next->ring);
        }
        return head;
    }
    return NULL;
}

struct ps_queued *ps_queue_find(struct ps_queue *queue,
                                int (*fn)(struct ps_queued *queued, void *arg), void *arg)
{
    for (size_t i = 0; i < PS_QUEUE_PRIORITIES; i++) {
        struct ps_link *ring = &queue->rings[i];
        for (struct ps_link *at = ring->next; at != ring; at = at->next) {
            struct ps_queued *head = PS_CONTAINER_OF(at, struct ps_queued, ring);
            if (fn(head, arg)) {
                return head;
            }
            for (struct ps_link *more = head->link.next; more != &head->link; more = more->next) {
                struct ps_queued *queued = PS_CONTAINER_OF(more, struct ps_queued, link);
                if (fn(queued, arg)) {
                    return queued;
                }
            }
        }
    }
    return NULL;
}

struct deadline {
    int64_t now_us;
    int64_t next_us;
};

static int is_expired(struct ps_queued *queued, void *arg)
{
    struct deadline *deadline = arg;
    if (queued->deadline_us == 0) {
        return 0;
    }
    if (queued->deadline_us <= deadline->now_us) {
        return 1;
    }
    if (queued->deadline_us < deadline->next_us) {
        deadline->next_us = queued->deadline_us;
    }
    return 0;
}

struct ps_queued *ps_queue_expired(struct ps_queue *queue, int64_t now_us, int64_t *ret_next)
{
    struct deadline deadline = {now_us, INT64_MAX};
    struct ps_queued *found = ps_queue_find(queue, is_expired, &deadline);
    *ret_next = deadline.next_us;
    return found;
}
