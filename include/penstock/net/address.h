/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_ADDRESS_H
#define PENSTOCK_NET_ADDRESS_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <sys/socket.h>

/*
 * What kind of place an address is, for connections that others choose (webhooks). Everything that
 * is not plainly somebody's public server counts as not public: this machine, private and shared
 * networks, link-local ones with their metadata services, multicast, reserved and documentation
 * ranges; and IPv6 addresses that carry such an IPv4 address. Pure; any thread.
 */
bool ps_address_is_public(const struct sockaddr *address);

enum ps_address_host {
    PS_ADDRESS_NAME,    /* not an address: must be looked up */
    PS_ADDRESS_PUBLIC,  /* an address, and a public one */
    PS_ADDRESS_PRIVATE, /* an address that is not public, or "localhost" */
};
/*
 * The host of a URL, without brackets. Every spelling of IPv4 that a resolver takes counts as an
 * address: "127.1", "0x7f000001", "2130706433", "0177.0.0.1"; an IPv6 scope ("fe80::1%eth0") is
 * private.
 */
enum ps_address_host ps_address_host(struct ps_slice host);

#endif
