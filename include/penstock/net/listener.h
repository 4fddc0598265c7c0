/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_LISTENER_H
#define PENSTOCK_NET_LISTENER_H

#include "penstock/net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Listening sockets. Opening (bind, listen) is apart from accepting, so that all loops can share
 * what was opened: TCP gets one SO_REUSEPORT socket per loop, a Unix socket one descriptor for all.
 *
 * When the process is out of descriptors, a spare one is given up to accept and close the
 * connection, and accepting rests for 100 ms: no spinning.
 */

/*
 * Opens, binds and listens; blocks only for a name lookup ("localhost" is 127.0.0.1 without one).
 * "::" takes IPv4 too. A descriptor, or -errno with a sentence in ret_error.
 */
int ps_listen_tcp(const char *host, uint16_t port, char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
/*
 * Whether the address is free: 0, or -errno with a sentence. Sockets of ps_listen_tcp share a port
 * with others of the same user, so a second program would quietly get half of the connections; ask
 * before opening the first one.
 */
int ps_listen_check_tcp(const char *host, uint16_t port, char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
/* A socket file left by a dead process is replaced, one that answers is an error. Mode 0660. */
int ps_listen_unix(const char *path, char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
/* The port a TCP socket is bound to. */
uint16_t ps_listen_port(int fd);

struct ps_listener;
/* `fd` of a new connection, non-blocking and close-on-exec; the callee owns it. */
typedef void (*ps_accept_fn)(void *arg, int fd);

/* Accepts on `fd` (borrowed: the opener closes it after the last listener). NULL when memory is
 * short. At most 16 connections a turn, so that one burst does not hold the loop. */
struct ps_listener *ps_listener_new(struct ps_loop *loop, int fd, ps_accept_fn on_accept, void *arg)
    __attribute__((warn_unused_result));
/* Stops or goes on accepting (connection limit, drain). */
void ps_listener_pause(struct ps_listener *listener, bool paused);
/* Asynchronous: freed by the loop later. */
void ps_listener_close(struct ps_listener *listener);

#endif
