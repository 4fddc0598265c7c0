/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/*
 * Who may knock. A web page must not be able to spend the keys of a gateway on its reader's
 * machine: a foreign Origin is refused (forms and text posts need no preflight), and on loopback
 * Host must name this machine (a name that an attacker's DNS points at 127.0.0.1 does not).
 */

static bool is_local_host(struct ps_slice host)
{
    /* host[:port] or [v6][:port]; the parser has checked the syntax */
    struct ps_slice name = host;
    if (host.len > 0 && host.ptr[0] == '[') {
        const char *end = memchr(host.ptr, ']', host.len);
        name = end != NULL ? ps_slice(host.ptr + 1, (size_t)(end - host.ptr) - 1) : PS_SLICE_NONE;
    } else {
        const char *colon = host.len > 0 ? memchr(host.ptr, ':', host.len) : NULL;
        if (colon != NULL) {
            name.len = (size_t)(colon - host.ptr);
        }
    }
    struct ps_slice local = PS_SLICE_LIT("localhost");
    if (ps_slice_ieq(name, local)) {
        return true;
    }
    if (name.len > local.len + 1 && name.ptr[name.len - local.len - 1] == '.' &&
        ps_slice_ieq(ps_slice(name.ptr + name.len - local.len, local.len), local)) {
        return true; /* RFC 6761: every name under localhost is this machine */
    }
    char text[INET6_ADDRSTRLEN];
    if (name.len == 0 || name.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static bool in_net(const uint8_t *address, const struct ps_config_net *net)
{
    unsigned whole = net->bits / 8;
    unsigned rest = net->bits % 8;
    if (memcmp(address, net->address, whole) != 0) {
        return false;
    }
    return rest == 0 || ((address[whole] ^ net->address[whole]) >> (8 - rest)) == 0;
}

static bool is_trusted(const struct ps_config *config, const struct ps_peer *peer)
{
    for (size_t i = 0; i < config->trusted_proxy_count; i++) {
        const struct ps_config_net *net = &config->trusted_proxies[i];
        if (net->is_unix || peer->is_unix ? net->is_unix && peer->is_unix
                                          : in_net(peer->address, net)) {
            return true;
        }
    }
    return false;
}

static bool origin_allowed(const struct ps_config *config, struct ps_slice origin)
{
    for (size_t i = 0; i < config->cors_origin_count; i++) {
        if (ps_slice_eq_cstr(origin, config->cors_origins[i])) {
            return true;
        }
    }
    return false;
}

int ps_access_check(struct ps_conn *conn, struct ps_fault *fault)
{
    const struct ps_http_head *head = conn->request.head;
    const struct ps_config *config = ps_conn_config(conn);
    if (conn->listener_loopback && !conn->listener_unix && head->host.len > 0 &&
        !is_local_host(head->host) && !is_trusted(config, ps_stream_peer(conn->stream))) {
        return ps_fault_set(fault, PS_FAULT_FORBIDDEN_HOST, NULL,
                            "This address is only for this machine: the Host header must be "
                            "localhost, 127.0.0.1 or "
                            "[::1] (or come from one of trusted_proxies).");
    }
    size_t origins = 0;
    struct ps_slice origin = ps_http_value(head, "origin", &origins);
    if (origins == 0) {
        return 0;
    }
    if (origins > 1 || !origin_allowed(config, origin)) {
        return ps_fault_set(
            fault, PS_FAULT_FORBIDDEN_ORIGIN, NULL,
            "Web pages of this origin may not use this gateway: it is not in cors.origins.");
    }
    conn->request.origin = origin;
    return 0;
}

static struct ps_slice bearer(struct ps_slice value)
{
    struct ps_slice scheme = PS_SLICE_LIT("Bearer ");
    if (value.len <= scheme.len || !ps_slice_ieq(ps_slice(value.ptr, scheme.len), scheme)) {
        return PS_SLICE_NONE;
    }
    return ps_slice_trim(ps_slice(value.ptr + scheme.len, value.len - scheme.len));
}

#define CREDENTIALS 4

/* What was presented, in the order we look: a header that comes twice counts as none. */
static void presented(const struct ps_conn *conn, struct ps_slice *ret)
{
    static const char *const names[CREDENTIALS] = {"authorization", "x-api-key", "api-key",
                                                   "x-goog-api-key"};
    for (size_t i = 0; i < CREDENTIALS; i++) {
        size_t count = 0;
        struct ps_slice value = ps_http_value(conn->request.head, names[i], &count);
        ret[i] = count != 1 ? PS_SLICE_NONE : i == 0 ? bearer(value) : value;
    }
}

int ps_access_identify(struct ps_conn *conn, struct ps_fault *fault)
{
    struct ps_slice keys[CREDENTIALS];
    bool granted = false;
    presented(conn, keys);
    for (size_t i = 0; i < CREDENTIALS; i++) {
        struct ps_identity identity;
        if (ps_identify(ps_conn_config(conn), keys[i], &identity) && !granted) {
            conn->request.identity = identity;
            granted = true;
        }
    }
    if (granted) {
        return 0;
    }
    return ps_fault_set(
        fault, PS_FAULT_UNAUTHORIZED, NULL,
        "A valid API key is needed, in \"Authorization: Bearer …\", \"x-api-key\", \"api-key\" or "
        "\"x-goog-api-key\".");
}

struct ps_slice ps_access_credential(const struct ps_conn *conn)
{
    struct ps_slice keys[CREDENTIALS];
    const struct ps_config *config = ps_conn_config(conn);
    presented(conn, keys);
    for (size_t i = 0; i < CREDENTIALS; i++) {
        struct ps_identity identity;
        if (keys[i].len > 0 &&
            (config->auth != PS_AUTH_KEYS || !ps_identify(config, keys[i], &identity))) {
            return keys[i];
        }
    }
    return PS_SLICE_NONE;
}

void ps_access_client(struct ps_conn *conn)
{
    const struct ps_peer *peer = ps_stream_peer(conn->stream);
    struct ps_conn_request *request = &conn->request;
    (void)snprintf(request->client, sizeof(request->client), "%s", peer->text);
    if (ps_conn_config(conn)->trusted_proxy_count == 0 || !is_trusted(ps_conn_config(conn), peer)) {
        return;
    }
    /* The last address was written by the proxy we trust; what stands before it anybody may have
     * sent. */
    size_t count = 0;
    struct ps_slice forwarded = ps_http_value(request->head, "x-forwarded-for", &count);
    if (count != 1) {
        return;
    }
    const char *comma = memrchr(forwarded.ptr, ',', forwarded.len);
    if (comma != NULL) {
        forwarded.len -= (size_t)(comma + 1 - forwarded.ptr);
        forwarded.ptr = comma + 1;
    }
    forwarded = ps_slice_trim(forwarded);
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    if (forwarded.len > 0 && forwarded.len < sizeof(text)) {
        memcpy(text, forwarded.ptr, forwarded.len);
        text[forwarded.len] = '\0';
        if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1) {
            (void)snprintf(request->client, sizeof(request->client), "%s", text);
        }
    }
}

bool ps_access_is_https(const struct ps_conn *conn)
{
    const struct ps_config *config = ps_conn_config(conn);
    size_t count = 0;
    struct ps_slice told = ps_http_value(conn->request.head, "x-forwarded-proto", &count);
    if (count == 1 && config->trusted_proxy_count > 0 &&
        is_trusted(config, ps_stream_peer(conn->stream))) {
        return ps_slice_ieq(ps_slice_trim(told), PS_SLICE_LIT("https"));
    }
    return ps_stream_is_tls(conn->stream);
}
