/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct range4 {
    uint32_t network;
    unsigned bits;
};

/* The registry of special-purpose addresses (RFC 6890 and after it), without those that are plain
 * servers; and one host of Azure's, a metadata service under a public address. */
static const struct range4 special4[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared by carriers (RFC 6598) */
    {0x7f000000, 8},  /* this machine */
    {0xa83f8110, 32}, /* 168.63.129.16 */
    {0xa9fe0000, 16}, /* link-local, metadata services */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 4},  /* multicast */
    {0xf0000000, 4},  /* reserved, broadcast */
};

static bool is_public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof(special4) / sizeof(special4[0]); i++) {
        uint32_t mask = UINT32_MAX << (32 - special4[i].bits);
        if ((address & mask) == special4[i].network) {
            return false;
        }
    }
    return true;
}

static uint32_t read4(const uint8_t *ptr)
{
    return (uint32_t)ptr[0] << 24 | (uint32_t)ptr[1] << 16 | (uint32_t)ptr[2] << 8 | ptr[3];
}

static bool begins(const uint8_t *address, const char *prefix, size_t len)
{
    return memcmp(address, prefix, len) == 0;
}

/*
 * Of IPv6 only 2000::/3 is given to anybody (RFC 4291 section 2.4), so what lies outside need not
 * be listed: this machine, mapped and compatible IPv4, unique local, link-local, site-local,
 * multicast. The exception is NAT64, through which IPv4 is reached.
 */
static bool is_public6(const uint8_t *a)
{
    if (begins(a, "\x00\x64\xff\x9b\0\0\0\0\0\0\0\0", 12)) {
        return is_public4(read4(a + 12)); /* RFC 6052 */
    }
    if ((a[0] & 0xe0) != 0x20) {
        return false;
    }
    if (begins(a, "\x20\x02", 2)) {
        return is_public4(read4(a + 2)); /* 6to4, RFC 3056 */
    }
    if (begins(a, "\x20\x01", 2) && a[2] < 2) {
        return false; /* 2001::/23: Teredo, ORCHID and other protocols (RFC 2928) */
    }
    if (begins(a, "\x20\x01\x0d\xb8", 4)) {
        return false; /* documentation (RFC 3849) */
    }
    return !(begins(a, "\x3f\xff", 2) && (a[2] & 0xf0) == 0); /* the same (RFC 9637) */
}

bool ps_address_is_public(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        return is_public4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof(v6));
        return is_public6(v6.sin6_addr.s6_addr);
    }
    return false;
}

static bool is_local_name(struct ps_slice name)
{
    static const char local[] = "localhost";
    size_t len = sizeof(local) - 1;

    if (name.len > 0 && name.ptr[name.len - 1] == '.') {
        name.len--;
    }
    if (name.len < len || strncasecmp(name.ptr + name.len - len, local, len) != 0) {
        return false;
    }
    return name.len == len || name.ptr[name.len - len - 1] == '.'; /* RFC 6761 section 6.3 */
}

enum ps_address_host ps_address_host(struct ps_slice host)
{
    char text[256];
    struct in_addr v4;
    struct in6_addr v6;

    if (host.len == 0 || host.len >= sizeof(text) || memchr(host.ptr, '\0', host.len) != NULL) {
        return PS_ADDRESS_NAME;
    }
    if (is_local_name(host)) {
        return PS_ADDRESS_PRIVATE;
    }
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (strchr(text, ':') != NULL) {
        if (inet_pton(AF_INET6, text, &v6) != 1) {
            return PS_ADDRESS_PRIVATE;
        }
        return is_public6(v6.s6_addr) ? PS_ADDRESS_PUBLIC : PS_ADDRESS_PRIVATE;
    }
    if (text[host.len - 1] == '.') {
        text[host.len - 1] = '\0';
    }
    /* Takes octal, hexadecimal and fewer than four parts, as getaddrinfo does. */
    if (strpbrk(text, " \t\r\n\v\f") == NULL && inet_aton(text, &v4) != 0) {
        return is_public4(ntohl(v4.s_addr)) ? PS_ADDRESS_PUBLIC : PS_ADDRESS_PRIVATE;
    }
    return PS_ADDRESS_NAME;
}
