/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"
#include "penstock/net/address.h"

#include <openssl/ssl.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * An easy handle with the options that never change set once, for it belongs to one upstream. What
 * changes from call to call is set in one function, ps_lane_prepare, all of it every time: nothing
 * of one tenant's call can reach the next. A handle whose call ended in any other way than well is
 * thrown away.
 *
 * curl would send a request again by itself when a reused connection dies. Model calls cost money:
 * the second time curl is about to send, or wants a new socket for it, it is refused.
 */

#define LANE_HEAD_KEPT    8192
#define LANE_BUFFER       8192L
#define UPLOAD_LEAST      65536L
#define UPLOAD_MOST       262144L
#define KEEPALIVE_AFTER_S 45
#define KEEPALIVE_EVERY_S 15

/* Headers curl would add by itself: named without a value, they are left out. request.c writes the
 * head. */
static char no_host[] = "Host:";
static char no_accept[] = "Accept:";
static char no_type[] = "Content-Type:";
static char no_length[] = "Content-Length:";
static char no_expect[] = "Expect:";
static struct curl_slist no_headers[] = {
    {no_host, &no_headers[1]},   {no_accept, &no_headers[2]}, {no_type, &no_headers[3]},
    {no_length, &no_headers[4]}, {no_expect, NULL},
};

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct ps_lane *lane = arg;
    size_t len = size * count;

    if (lane->call->state != PS_CALL_RUNNING || !ps_head_line(lane, line, len)) {
        return 0;
    }
    return len;
}

static size_t on_body(char *ptr, size_t size, size_t count, void *arg)
{
    struct ps_lane *lane = arg;
    struct ps_call *call = lane->call;
    size_t len = size * count;

    if (call->state != PS_CALL_RUNNING) {
        return 0;
    }
    if (call->paused) {
        lane->held = true; /* curl keeps the bytes and brings them again */
        if (lane->slot != NULL) {
            (void)ps_slot_arm(lane->slot,
                              0); /* curl may not have had it watched yet, and then says nothing */
        }
        return CURL_WRITEFUNC_PAUSE;
    }
    ps_call_touch(call);
    call->ops->on_data(call->arg, ptr, len);
    return call->state == PS_CALL_RUNNING ? len : 0;
}

static void skip_empty_parts(struct ps_call *call)
{
    while (call->part < call->part_count && call->part_offset == call->parts[call->part].len) {
        call->part++;
        call->part_offset = 0;
    }
}

static size_t on_read(char *room, size_t size, size_t count, void *arg)
{
    struct ps_lane *lane = arg;
    struct ps_call *call = lane->call;
    size_t left = size * count;
    size_t copied = 0;

    if (call->state != PS_CALL_RUNNING) {
        return CURL_READFUNC_ABORT; /* the bytes may be gone */
    }
    skip_empty_parts(call);
    while (left > 0 && call->part < call->part_count) {
        struct ps_slice part = call->parts[call->part];
        size_t len = part.len - call->part_offset;
        len = len < left ? len : left;
        memcpy(room + copied, part.ptr + call->part_offset, len);
        call->part_offset += len;
        copied += len;
        left -= len;
        skip_empty_parts(call);
    }
    if (call->part == call->part_count && !call->sent_told && ps_list_empty(&call->sent)) {
        ps_list_push_back(&lane->mux->sent, &call->sent);
    }
    return copied;
}

static int refuse_seek(void *arg, curl_off_t offset, int origin)
{
    (void)arg;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL; /* only a re-send rewinds */
}

static int on_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    struct ps_lane *lane = arg;
    struct ps_call *call = lane->call;
    long opened = 0;

    (void)peer;
    (void)local;
    (void)peer_port;
    if (call->state != PS_CALL_RUNNING) {
        return CURL_PREREQFUNC_ABORT;
    }
    if (lane->requests++ > 0) {
        lane->resend_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    (void)curl_easy_getinfo(lane->easy, CURLINFO_NUM_CONNECTS, &opened);
    call->timing.reused = opened == 0;
    if (!call->timing.reused) {
        ps_slot_settle(lane);
    }
    /*
     * Since the loop last looked at the pooled connection, bytes may have come: curl would read
     * them as this request's answer. Looking right before sending leaves no gap but the one that
     * HTTP/1.1 itself has.
     */
    if (call->timing.reused && !ps_slot_claim(lane, local_port)) {
        lane->stale = true;
        (void)atomic_fetch_add_explicit(&lane->upstream->shared->stray_closed, 1,
                                        memory_order_relaxed);
        return CURL_PREREQFUNC_ABORT;
    }
    if (call->part == call->part_count) {
        /* Right after this curl copies head and body together. */
        ps_list_push_back(&lane->mux->sent, &call->sent);
    }
    return CURL_PREREQFUNC_OK;
}

static void keep_alive(int fd)
{
    int on = 1;
    int after = KEEPALIVE_AFTER_S;
    int every = KEEPALIVE_EVERY_S;

    /* Minutes may pass before a model's first token; address translators forget silent connections.
     */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct ps_lane *lane = arg;

    (void)purpose;
    if (lane->call == NULL || lane->call->state != PS_CALL_RUNNING) {
        return CURL_SOCKET_BAD;
    }
    if (lane->requests > 0) {
        lane->resend_refused = true;
        return CURL_SOCKET_BAD;
    }
    /* Here and nowhere else is it known where a name leads this time. */
    if (lane->upstream->shared->public_only && !ps_address_is_public(&address->addr)) {
        lane->forbidden = true;
        return CURL_SOCKET_BAD; /* curl goes on to the name's next address */
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    if (fd < 0) {
        return CURL_SOCKET_BAD;
    }
    if (ps_slot_open(lane->mux, fd, lane) == NULL) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    keep_alive(fd);
    return fd;
}

/* May come long after the lane that opened it is gone: its argument is the upstream. */
static int on_close(void *arg, curl_socket_t fd)
{
    struct ps_slot *slot = ps_slot_find(arg, fd);

    if (slot != NULL) {
        ps_slot_look_back(slot);
        ps_slot_close(slot);
    }
    return close(fd);
}

static CURLcode on_ssl_ctx(CURL *easy, void *ctx, void *arg)
{
    const struct ps_upstream_shared *shared = arg;

    (void)easy;
    SSL_CTX_set1_cert_store(ctx, shared->ca->store);
    return CURLE_OK;
}

static bool set_tls(CURL *easy, struct ps_upstream *upstream)
{
    if (upstream->shared->ca == NULL) {
        return true;
    }
    CURLcode failed = CURLE_OK;
    /* No files: the store comes parsed. Peer and host name are verified, which is curl's default.
     */
    failed |= curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    failed |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    failed |= curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL);
    failed |= curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    failed |= curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
    failed |= curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, upstream->shared);
    failed |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    return failed == CURLE_OK;
}

static bool set_transport(CURL *easy, struct ps_upstream *upstream)
{
    const struct ps_upstream_shared *shared = upstream->shared;
    long idle_s = (long)(shared->idle_timeout_us / 1000000);
    CURLcode failed = CURLE_OK;

    failed |= curl_easy_setopt(easy, CURLOPT_CURLU, upstream->url);
    failed |= curl_easy_setopt(easy, CURLOPT_SHARE, upstream->share);
    failed |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_PROXY, shared->proxy != NULL ? shared->proxy : "");
    failed |= curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* nor does the environment decide */
    failed |= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    failed |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                               (long)(shared->connect_timeout_us / 1000));
    failed |= curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, idle_s > 0 ? idle_s : 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, LANE_BUFFER);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, no_headers);
    return failed == CURLE_OK && set_tls(easy, upstream);
}

static bool set_callbacks(struct ps_lane *lane)
{
    CURL *easy = lane->easy;
    CURLcode failed = CURLE_OK;

    failed |= curl_easy_setopt(easy, CURLOPT_PRIVATE, lane);
    failed |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, lane->error);
    failed |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    failed |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, lane);
    failed |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    failed |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, lane);
    failed |= curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    failed |= curl_easy_setopt(easy, CURLOPT_READDATA, lane);
    failed |= curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, refuse_seek);
    failed |= curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
    failed |= curl_easy_setopt(easy, CURLOPT_PREREQDATA, lane);
    failed |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    failed |= curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, lane);
    failed |= curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    failed |= curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, lane->upstream);
    return failed == CURLE_OK;
}

static struct ps_lane *lane_new(struct ps_upstream *upstream)
{
    struct ps_lane *lane = ps_calloc(1, sizeof(*lane));

    if (lane == NULL) {
        return NULL;
    }
    lane->upstream = upstream;
    ps_buf_init(&lane->head, PS_HEAD_BYTES);
    lane->easy = curl_easy_init();
    if (lane->easy == NULL || !set_transport(lane->easy, upstream) || !set_callbacks(lane)) {
        ps_lane_free(lane);
        return NULL;
    }
    return lane;
}

void ps_lane_free(struct ps_lane *lane)
{
    curl_easy_cleanup(lane->easy);
    ps_buf_deinit(&lane->head);
    ps_free(lane);
}

struct ps_lane *ps_lane_take(struct ps_upstream *upstream)
{
    struct ps_lane *lane = upstream->lanes;

    if (lane == NULL) {
        return lane_new(upstream);
    }
    upstream->lanes = lane->next;
    upstream->lane_count--;
    lane->next = NULL;
    return lane;
}

void ps_lane_give(struct ps_lane *lane, bool clean)
{
    struct ps_upstream *upstream = lane->upstream;

    lane->call = NULL;
    lane->mux = NULL;
    if (!clean || upstream->closing || upstream->lane_count >= PS_LANES_KEPT) {
        ps_lane_free(lane);
        return;
    }
    /* It holds the credential; and the body belonged to the call. */
    (void)curl_easy_setopt(lane->easy, CURLOPT_REQUEST_TARGET, NULL);
    if (lane->headless) {
        lane->headless = false;
        (void)curl_easy_setopt(lane->easy, CURLOPT_NOBODY, 0L);
    }
    (void)curl_easy_setopt(lane->easy, CURLOPT_POSTFIELDS, NULL); /* from here on it is a POST */
    if (lane->head.cap > LANE_HEAD_KEPT) {
        ps_buf_deinit(&lane->head);
        ps_buf_init(&lane->head, PS_HEAD_BYTES);
    }
    lane->next = upstream->lanes;
    upstream->lanes = lane;
    upstream->lane_count++;
}

/* A lane stands at POST; a body, be it empty, leaves it there. */
static CURLcode set_method(struct ps_lane *lane, const struct ps_call *call)
{
    const char *own = "POST"; /* what curl writes by itself */
    CURLcode failed = CURLE_OK;

    if (!call->has_body) {
        lane->headless = strcmp(call->method, "HEAD") == 0;
        own = lane->headless ? "HEAD" : "GET";
        failed |=
            curl_easy_setopt(lane->easy, lane->headless ? CURLOPT_NOBODY : CURLOPT_HTTPGET, 1L);
    }
    bool custom = strcmp(call->method, own) != 0;
    if (custom || lane->custom_method) {
        failed |= curl_easy_setopt(lane->easy, CURLOPT_CUSTOMREQUEST, custom ? call->method : NULL);
        lane->custom_method = custom;
    }
    return failed;
}

/*
 * Of a body above PS_BODY_INLINE, curl copies so much at once, and wants to be called again for
 * each piece: a piece costs a send, a look at the socket and two changes of what the loop watches.
 * The buffer lives as long as the transfer.
 */
static long upload_buffer(const struct ps_call *call)
{
    return call->body_len < UPLOAD_LEAST  ? UPLOAD_LEAST
           : call->body_len > UPLOAD_MOST ? UPLOAD_MOST
                                          : (long)call->body_len;
}

static CURLcode set_body(struct ps_lane *lane, const struct ps_call *call)
{
    const char *bytes = NULL;
    CURLcode failed = CURLE_OK;

    if (!call->has_body) {
        return CURLE_OK;
    }
    if (call->part == call->part_count) { /* small: handed over whole */
        bytes = call->gathered != NULL ? call->gathered : call->small.ptr;
    }
    failed |= curl_easy_setopt(lane->easy, CURLOPT_POSTFIELDS, bytes);
    if (bytes == NULL && lane->upload_buffer != upload_buffer(call)) {
        lane->upload_buffer = upload_buffer(call);
        failed |= curl_easy_setopt(lane->easy, CURLOPT_UPLOAD_BUFFERSIZE, lane->upload_buffer);
    }
    failed |= curl_easy_setopt(lane->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
    return failed;
}

int ps_lane_prepare(struct ps_lane *lane, struct ps_call *call)
{
    CURLcode failed = CURLE_OK;

    ps_head_reset(lane);
    lane->head_bytes = 0;
    lane->requests = 0;
    lane->resend_refused = false;
    lane->stale = false;
    lane->got_line = false;
    lane->got_bytes = false;
    lane->held = false;
    lane->forbidden = false;
    lane->stranded = false;
    lane->error[0] = '\0';
    failed |= curl_easy_setopt(lane->easy, CURLOPT_REQUEST_TARGET, call->target);
    failed |= set_method(lane, call);
    failed |= set_body(lane, call);
    if (lane->fresh != call->fresh) {
        lane->fresh = call->fresh;
        failed |= curl_easy_setopt(lane->easy, CURLOPT_FRESH_CONNECT, call->fresh ? 1L : 0L);
    }
    if (lane->no_reuse) {
        lane->no_reuse = false;
        failed |= curl_easy_setopt(lane->easy, CURLOPT_FORBID_REUSE, 0L);
    }
    if (failed != CURLE_OK) {
        return -1;
    }
    lane->call = call;
    return 0;
}
