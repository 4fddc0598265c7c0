/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_IDLE_US    (50 * 1000000LL)
#define DEFAULT_CONNECT_US (10 * 1000000LL)

struct url_parts {
    char *scheme;
    char *host;
    char *port;
    char *path;
};

static void free_parts(struct url_parts *parts)
{
    curl_free(parts->scheme);
    curl_free(parts->host);
    curl_free(parts->port);
    curl_free(parts->path);
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return found;
}

static bool is_printable_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= 0x20 || *text >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* NULL, or what is wrong with it. */
static const char *parse_url(CURLU *url, const char *text, struct url_parts *ret_parts)
{
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
        return "is not a URL";
    }
    if (curl_url_get(url, CURLUPART_SCHEME, &ret_parts->scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &ret_parts->host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PATH, &ret_parts->path, 0) != CURLUE_OK) {
        return "is not a URL with a host";
    }
    (void)curl_url_get(url, CURLUPART_PORT, &ret_parts->port, 0);
    if (strcasecmp(ret_parts->scheme, "http") != 0 && strcasecmp(ret_parts->scheme, "https") != 0) {
        return "is neither http nor https";
    }
    if (!is_printable_ascii(ret_parts->host) || !is_printable_ascii(ret_parts->path)) {
        return "has characters that must be encoded (punycode for a host, %XX for a path)";
    }
    if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD)) {
        return "holds a user name or password";
    }
    if (has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT)) {
        return "holds a query or fragment";
    }
    return NULL;
}

/*
 * The request line needs only the path, since curl's own URL never changes. Through a proxy without
 * a tunnel, which is how plain http goes, it needs the whole URL.
 */
static char *make_prefix(const struct url_parts *parts, bool absolute, size_t *ret_root)
{
    struct ps_buf buf;
    size_t path_len = strlen(parts->path);
    char *prefix = NULL;

    while (path_len > 0 && parts->path[path_len - 1] == '/') {
        path_len--;
    }
    ps_buf_init(&buf, 65536);
    if (absolute) {
        ps_buf_cstr(&buf, "http://");
        ps_buf_cstr(&buf, parts->host);
        if (parts->port != NULL) {
            ps_buf_byte(&buf, ':');
            ps_buf_cstr(&buf, parts->port);
        }
    }
    *ret_root = buf.len;
    ps_buf_append(&buf, parts->path, path_len);
    if (!buf.failed) {
        prefix = ps_strndup(buf.ptr, buf.len);
    }
    ps_buf_deinit(&buf);
    return prefix;
}

/* As curl would write it: the port only where it is not the scheme's own. */
static char *make_host(const struct url_parts *parts, bool https)
{
    const char *usual = https ? "443" : "80";
    struct ps_buf buf;
    char *host = NULL;

    ps_buf_init(&buf, 65536);
    ps_buf_cstr(&buf, parts->host);
    if (parts->port != NULL && strcmp(parts->port, usual) != 0) {
        ps_buf_byte(&buf, ':');
        ps_buf_cstr(&buf, parts->port);
    }
    if (!buf.failed) {
        host = ps_strndup(buf.ptr, buf.len);
    }
    ps_buf_deinit(&buf);
    return host;
}

static bool is_socks(const char *proxy)
{
    return strncasecmp(proxy, "socks", 5) == 0;
}

static const char *fill(struct ps_upstream_shared *shared,
                        const struct ps_upstream_options *options, struct url_parts *parts)
{
    bool https;

    shared->url = curl_url();
    if (shared->url == NULL) {
        return "cannot be held: memory is short";
    }
    const char *wrong = parse_url(shared->url, options->base_url, parts);
    if (wrong != NULL) {
        return wrong;
    }
    https = strcasecmp(parts->scheme, "https") == 0;
    if (https && options->ca == NULL) {
        return "is https, but there are no trusted certificates";
    }
    if (options->proxy != NULL && options->proxy[0] != '\0') {
        if (options->public_only) {
            return "has a proxy, which knows alone where it connects to";
        }
        shared->proxy = ps_strndup(options->proxy, strlen(options->proxy));
        if (shared->proxy == NULL) {
            return "cannot be held: memory is short";
        }
    }
    shared->target_prefix = make_prefix(
        parts, shared->proxy != NULL && !https && !is_socks(shared->proxy), &shared->root_len);
    shared->host = make_host(parts, https);
    if (shared->target_prefix == NULL || shared->host == NULL ||
        curl_url_set(shared->url, CURLUPART_PATH, "/", 0) != CURLUE_OK) {
        return "cannot be held: memory is short";
    }
    if (https) {
        shared->ca = ps_upstream_ca_ref(options->ca);
    }
    return NULL;
}

static void free_shared(struct ps_upstream_shared *shared)
{
    curl_url_cleanup(shared->url);
    ps_upstream_ca_unref(shared->ca);
    ps_free(shared->target_prefix);
    ps_free(shared->host);
    ps_free(shared->proxy);
    ps_free(shared);
}

struct ps_upstream_shared *ps_upstream_shared_new(const struct ps_upstream_options *options,
                                                  char *ret_error, size_t error_size)
{
    struct ps_upstream_shared *shared = ps_calloc(1, sizeof(*shared));
    struct url_parts parts = {NULL, NULL, NULL, NULL};

    if (shared == NULL) {
        (void)snprintf(ret_error, error_size, "memory is short");
        return NULL;
    }
    atomic_init(&shared->refs, 1);
    ps_list_init(&shared->queue);
    ps_list_init(&shared->background);
    shared->max_connections = options->max_connections > 0 ? options->max_connections : 1;
    uint32_t quarter = shared->max_connections / 4;
    shared->max_background = shared->max_connections == 1 ? 1
                             : quarter == 0               ? shared->max_connections - 1
                                                          : shared->max_connections - quarter;
    shared->max_queue = options->max_queue;
    shared->connect_timeout_us =
        options->connect_timeout_us > 0 ? options->connect_timeout_us : DEFAULT_CONNECT_US;
    shared->idle_timeout_us =
        options->idle_timeout_us > 0 ? options->idle_timeout_us : DEFAULT_IDLE_US;
    shared->public_only = options->public_only;
    const char *wrong = fill(shared, options, &parts);
    free_parts(&parts);
    if (wrong == NULL && uv_mutex_init(&shared->lock) != 0) {
        wrong = "cannot be used: there is no lock to be had";
    }
    if (wrong != NULL) {
        (void)snprintf(ret_error, error_size, "the upstream's URL %s", wrong);
        free_shared(shared);
        return NULL;
    }
    return shared;
}

struct ps_upstream_shared *ps_upstream_shared_ref(struct ps_upstream_shared *shared)
{
    (void)atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

void ps_upstream_shared_unref(struct ps_upstream_shared *shared)
{
    if (shared != NULL && atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) == 1) {
        uv_mutex_destroy(&shared->lock);
        free_shared(shared);
    }
}

void ps_upstream_shared_stats(const struct ps_upstream_shared *shared,
                              struct ps_upstream_stats *ret)
{
    ret->active = atomic_load_explicit(&shared->active, memory_order_relaxed);
    ret->queued = atomic_load_explicit(&shared->waiting, memory_order_relaxed) +
                  atomic_load_explicit(&shared->waiting_background, memory_order_relaxed);
    ret->connections = atomic_load_explicit(&shared->connections, memory_order_relaxed);
    ret->opened = atomic_load_explicit(&shared->opened, memory_order_relaxed);
    ret->reuse_deaths = atomic_load_explicit(&shared->reuse_deaths, memory_order_relaxed);
    ret->stray_closed = atomic_load_explicit(&shared->stray_closed, memory_order_relaxed);
}
