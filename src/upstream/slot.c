/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A poll handle per socket, from its opening to its closing. curl asks to watch and to forget a
 * socket at every request; obeying costs libuv two epoll_ctl each time. So the handle stays armed
 * for reading when a transfer ends, and the next transfer on that connection finds it as it wants
 * it.
 *
 * While it is pooled, nothing may arrive on a connection. What does is the peer's goodbye, or bytes
 * that would be taken for the answer to the next request: the connection is shut down, and curl
 * finds it dead.
 *
 * libuv must never hear of a descriptor after its closing, and uv_close on a poll handle makes
 * epoll forget the descriptor by number: so a handle is closed right before its socket, never kept
 * for the next socket that may get the same number.
 *
 * curl 7.88 closes a socket that is still connecting without telling (cancelled, timed out, the
 * slower of two addresses). So those are looked after: whenever curl has been entered, and before
 * libuv runs again, each is checked to be the socket it was.
 */

#define FIRST_SLOTS 64
#define DRAIN_READS 64

static int reserve(struct ps_upstream *upstream, int fd)
{
    size_t want = (size_t)fd + 1;
    size_t count = upstream->slot_count > 0 ? upstream->slot_count : FIRST_SLOTS;

    if (want <= upstream->slot_count) {
        return 0;
    }
    while (count < want) {
        count *= 2;
    }
    struct ps_slot **slots = ps_realloc(upstream->slots, count * sizeof(struct ps_slot *));
    if (slots == NULL) {
        return UV_ENOMEM;
    }
    for (size_t i = upstream->slot_count; i < count; i++) {
        slots[i] = NULL;
    }
    upstream->slots = slots;
    upstream->slot_count = count;
    return 0;
}

static ino_t inode_of(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? info.st_ino : 0;
}

static struct ps_slot *new_slot(struct ps_mux *mux, int fd)
{
    struct ps_slot *slot = ps_calloc(1, sizeof(*slot));

    if (slot == NULL) {
        return NULL;
    }
    slot->upstream = mux->upstream;
    slot->mux = mux;
    slot->fd = fd;
    ps_list_init(&slot->port_link);
    ps_list_init(&slot->connecting);
    if (uv_poll_init(&mux->upstream->loop->uv, &slot->poll, fd) != 0) {
        ps_free(slot);
        return NULL;
    }
    slot->poll.data = slot;
    mux->upstream->handles++;
    return slot;
}

struct ps_slot *ps_slot_open(struct ps_mux *mux, int fd, struct ps_lane *lane)
{
    struct ps_upstream *upstream = mux->upstream;
    int inherited = 0;

    if (reserve(upstream, fd) != 0) {
        return NULL;
    }
    if (upstream->slots[fd] != NULL) {
        /* Closed and opened again within one call of curl, which then may think it still watches
         * it. */
        inherited = upstream->slots[fd]->wanted;
        ps_slot_close(upstream->slots[fd]);
    }
    struct ps_slot *slot = new_slot(mux, fd);
    if (slot == NULL) {
        return NULL;
    }
    upstream->slots[fd] = slot;
    slot->foreign = lane == NULL;
    if (!slot->foreign) {
        slot->lane = lane;
        slot->inode = inode_of(fd);
        ps_list_push_back(&upstream->connecting, &slot->connecting);
        (void)atomic_fetch_add_explicit(&upstream->shared->connections, 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&upstream->shared->opened, 1, memory_order_relaxed);
        (void)ps_slot_arm(slot, inherited);
    }
    return slot;
}

void ps_slot_settle(struct ps_lane *lane)
{
    struct ps_link *list = &lane->upstream->connecting;

    ps_slot_sweep(lane->upstream);
    for (struct ps_link *link = list->next; link != list;) {
        struct ps_slot *slot = PS_CONTAINER_OF(link, struct ps_slot, connecting);
        link = link->next;
        if (slot->lane == lane) {
            ps_list_remove(&slot->connecting);
        }
    }
}

void ps_slot_sweep(struct ps_upstream *upstream)
{
    struct ps_link *list = &upstream->connecting;

    for (struct ps_link *link = list->next; link != list;) {
        struct ps_slot *slot = PS_CONTAINER_OF(link, struct ps_slot, connecting);
        link = link->next;
        if (inode_of(slot->fd) != slot->inode) {
            ps_slot_close(slot);
        }
    }
}

struct ps_slot *ps_slot_find(struct ps_upstream *upstream, int fd)
{
    return fd >= 0 && (size_t)fd < upstream->slot_count ? upstream->slots[fd] : NULL;
}

static void on_slot_closed(uv_handle_t *handle)
{
    struct ps_slot *slot = handle->data;
    struct ps_upstream *upstream = slot->upstream;

    ps_free(slot);
    ps_upstream_handle_closed(upstream);
}

static void unlink_lane(struct ps_slot *slot)
{
    if (slot->user != NULL) {
        slot->user->slot = NULL;
        slot->user = NULL;
    }
}

void ps_slot_close(struct ps_slot *slot)
{
    unlink_lane(slot);
    if (!ps_list_empty(&slot->connecting) && slot->lane->call != NULL) {
        slot->lane->stranded = true;
        slot->upstream->has_stranded = true;
        ps_upstream_defer(slot->upstream);
    }
    slot->closing = true;
    ps_list_remove(&slot->port_link);
    ps_list_remove(&slot->connecting);
    if (!slot->foreign) {
        (void)atomic_fetch_sub_explicit(&slot->upstream->shared->connections, 1,
                                        memory_order_relaxed);
    }
    slot->upstream->slots[slot->fd] = NULL;
    uv_close((uv_handle_t *)&slot->poll, on_slot_closed);
}

/* The shutdown comes first: what arrives after it is answered with a reset, not queued behind our
 * back. */
static void refuse_bytes(struct ps_slot *slot)
{
    char sink[4096];

    (void)shutdown(slot->fd, SHUT_RDWR);
    for (int i = 0; i < DRAIN_READS; i++) {
        ssize_t got = recv(slot->fd, sink, sizeof(sink), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            break;
        }
    }
    (void)ps_slot_arm(slot, 0);
    (void)atomic_fetch_add_explicit(&slot->upstream->shared->stray_closed, 1, memory_order_relaxed);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct ps_slot *slot = handle->data;
    int flags = 0;

    ps_loop_enter(slot->upstream->loop);
    if (status < 0) {
        /* libuv has stopped it and hides what is readable: a whole answer may stand before the
         * error. */
        slot->armed = 0;
        flags = CURL_CSELECT_IN | CURL_CSELECT_ERR;
    }
    if (slot->idle) {
        refuse_bytes(slot);
        return;
    }
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    int wanted = slot->wanted;
    ps_mux_action(slot->mux, slot->fd, flags);
    if (status < 0 && !slot->closing && slot->armed == 0 && slot->wanted == wanted) {
        (void)ps_slot_arm(slot, wanted);
    }
}

int ps_slot_arm(struct ps_slot *slot, int events)
{
    slot->wanted = events;
    if (slot->armed == events) {
        return 0;
    }
    slot->armed = events;
    return events == 0 ? uv_poll_stop(&slot->poll) : uv_poll_start(&slot->poll, events, on_poll);
}

static struct ps_link *port_bucket(struct ps_upstream *upstream, int port)
{
    return &upstream->by_port[(unsigned)port % PS_PORT_BUCKETS];
}

static int local_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size = sizeof(address);

    memset(&address, 0, sizeof(address));
    if (getsockname(fd, &address.any, &size) != 0) {
        return 0;
    }
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void ps_slot_look_back(struct ps_slot *slot)
{
    /* A FIN counts as one. Under TLS the peer's goodbye has bytes of its own, and nothing can be
     * told. */
    if (slot->user != NULL && slot->upstream->shared->ca == NULL) {
        slot->user->got_bytes = ps_tcp_received(slot->fd) > slot->received + 1;
    }
}

/*
 * curl may send and read a whole answer, or pause in the middle of one, before it ever asks for the
 * socket to be watched. So a connection leaves the pool here and not with curl's first word about
 * it.
 */
bool ps_slot_claim(struct ps_lane *lane, int port)
{
    struct ps_link *bucket = port_bucket(lane->upstream, port);
    char byte;

    for (struct ps_link *link = bucket->next; link != bucket; link = link->next) {
        struct ps_slot *slot = PS_CONTAINER_OF(link, struct ps_slot, port_link);
        if (slot->port != port) {
            continue;
        }
        if (slot->idle && recv(slot->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            return false;
        }
        slot->idle = false;
        unlink_lane(slot); /* a call that is over, but not yet told so */
        slot->user = lane;
        slot->received = ps_tcp_received(slot->fd);
        lane->slot = slot;
        break;
    }
    return true;
}

void ps_slot_unclaim(struct ps_lane *lane, bool pooled)
{
    struct ps_slot *slot = lane->slot;

    if (slot == NULL) {
        return;
    }
    unlink_lane(slot);
    if (pooled && !slot->idle) {
        /* curl never asked for it to be watched, so it does not say that it is over. */
        ps_slot_idle(slot);
    }
}

void ps_slot_idle(struct ps_slot *slot)
{
    slot->idle = true;
    if (slot->port == 0) {
        slot->port = local_port(slot->fd);
        ps_list_push_back(port_bucket(slot->upstream, slot->port), &slot->port_link);
    }
    if (ps_slot_arm(slot, UV_READABLE) != 0) {
        refuse_bytes(slot);
    }
}
