/* SPDX-License-Identifier: Apache-2.0 */
#include "threads_priv.h"

#include "penstock/base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What threads_priv.h says about queues, and how answers leave. */

static uint64_t weigh(const struct ps_store_command *command)
{
    return sizeof(*command) + command->arena.used;
}

static void deliver(struct ps_message *message)
{
    struct ps_store_command *command = PS_CONTAINER_OF(message, struct ps_store_command, message);
    command->done(command);
}

/* Those that ps_store_do waits for are woken together. */
void ps_store_answer(struct ps_store *store, struct ps_link *commands)
{
    struct ps_link *link;
    bool awaited = false;

    while ((link = ps_list_pop(commands)) != NULL) {
        struct ps_store_command *command = ps_store_command_of(link);
        if (command->mailbox != NULL) {
            if (!ps_mailbox_post(command->mailbox, &command->message)) {
                ps_store_command_free(command); /* its loop has ended: nobody waits any more */
            }
            continue;
        }
        (void)pthread_mutex_lock(&store->lock);
        command->answered = true;
        (void)pthread_mutex_unlock(&store->lock);
        awaited = true;
    }
    if (awaited) {
        (void)pthread_mutex_lock(&store->lock);
        (void)pthread_cond_broadcast(&store->answered);
        (void)pthread_mutex_unlock(&store->lock);
    }
}

static bool enqueue(struct ps_store *store, struct ps_store_command *command)
{
    uint64_t bytes = weigh(command);

    (void)pthread_mutex_lock(&store->lock);
    bool room = store->writes.count + store->reads.count < store->queue_max &&
                store->queue_bytes + bytes <= store->queue_bytes_max;
    if (room) {
        bool reads = store->readable && !ps_store_verb_writes(command->verb);
        struct ps_store_queue *queue = reads ? &store->reads : &store->writes;
        ps_list_push_back(&queue->list, &command->message.link);
        queue->count++;
        store->queue_bytes += bytes;
        if (queue->count >= queue->wanted) {
            (void)pthread_cond_signal(&queue->wake);
        }
    }
    (void)pthread_mutex_unlock(&store->lock);
    return room;
}

static void submit(struct ps_store *store, struct ps_store_command *command)
{
    command->message.deliver = deliver;
    command->answered = false;
    (void)atomic_fetch_add(&store->commands, 1);
    if (!enqueue(store, command)) {
        struct ps_link alone;
        ps_list_init(&alone);
        ps_list_push_back(&alone, &command->message.link);
        command->status = PS_STORE_BUSY;
        ps_store_answer(store, &alone);
    }
}

void ps_store_submit(struct ps_store *store, struct ps_store_command *command,
                     struct ps_mailbox *mailbox, void (*done)(struct ps_store_command *command))
{
    command->mailbox = mailbox;
    command->done = done;
    submit(store, command);
}

enum ps_store_status ps_store_do(struct ps_store *store, struct ps_store_command *command)
{
    command->mailbox = NULL;
    command->done = NULL;
    submit(store, command);
    (void)pthread_mutex_lock(&store->lock);
    while (!command->answered) {
        (void)pthread_cond_wait(&store->answered, &store->lock);
    }
    (void)pthread_mutex_unlock(&store->lock);
    return command->status;
}

/* Takes at most `max` commands out. The lock is held. */
void ps_store_take(struct ps_store *store, struct ps_store_queue *queue, size_t max,
                   struct ps_store_group *group)
{
    struct ps_link *link;

    while (group->count < max && (link = ps_list_pop(&queue->list)) != NULL) {
        ps_list_push_back(&group->list, link);
        group->count++;
        queue->count--;
        store->queue_bytes -= weigh(ps_store_command_of(link));
    }
}

static struct timespec in_us(int64_t us)
{
    struct timespec when;
    (void)clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_nsec += (long)(us % 1000000) * 1000;
    when.tv_sec += (time_t)(us / 1000000) + when.tv_nsec / 1000000000;
    when.tv_nsec %= 1000000000;
    return when;
}

/* Waits until the queue holds `wanted` commands, the store stops, or time is up. Lock held. */
void ps_store_wait_for(struct ps_store *store, struct ps_store_queue *queue, size_t wanted,
                       int64_t us)
{
    struct timespec until = in_us(us);
    int rc = 0;

    queue->wanted = wanted;
    while (queue->count < wanted && !store->stopping && rc == 0) {
        rc = us < 0 ? pthread_cond_wait(&queue->wake, &store->lock)
                    : pthread_cond_timedwait(&queue->wake, &store->lock, &until);
    }
    queue->wanted = 1;
}

void ps_store_fail_group(struct ps_store_group *group, enum ps_store_status status)
{
    for (struct ps_link *link = group->list.next; link != &group->list; link = link->next) {
        struct ps_store_command *command = ps_store_command_of(link);
        command->out = (struct ps_store_out){0};
        command->status = status;
    }
}

/* An operator hears of it once, when it changes; clients are told no paths. */
void ps_store_set_problem(struct ps_store *store, const char *text)
{
    (void)pthread_mutex_lock(&store->lock);
    bool news = strcmp(store->problem, text) != 0;
    (void)snprintf(store->problem, sizeof(store->problem), "%s", text);
    (void)pthread_mutex_unlock(&store->lock);
    if (news && text[0] != '\0') {
        ps_log(PS_LOG_ERROR, "the job store does not work: %s", text);
    } else if (news) {
        ps_log(PS_LOG_INFO, "the job store works again");
    }
}

void ps_store_problem(struct ps_store *store, char *ret, size_t size)
{
    (void)pthread_mutex_lock(&store->lock);
    (void)snprintf(ret, size, "%s", store->problem);
    (void)pthread_mutex_unlock(&store->lock);
}
