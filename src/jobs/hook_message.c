/* SPDX-License-Identifier: Apache-2.0 */
#include "hook_priv.h"

#include "penstock/base/base64.h"
#include "penstock/base/clock.h"
#include "penstock/base/sha256.h"
#include "penstock/net/address.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* What a webhook is, without sending it: its URL, its payload, its signature, its schedule. */

/* ---- the URL ---- */

static bool is_plain(struct ps_slice url)
{
    for (size_t i = 0; i < url.len; i++) {
        if (url.ptr[i] <= 0x20 || url.ptr[i] >= 0x7f || strchr("\"<>\\^`{|}", url.ptr[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static bool is_port(struct ps_slice text)
{
    unsigned port = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || i >= 5) {
            return false;
        }
        port = port * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static bool is_host_name(struct ps_slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool dot = c == '.' && i > 0 && host.ptr[i - 1] != '.';
        if (!letter && !dot && c != '-' && c != '_') {
            return false;
        }
    }
    return host.len > 0 && host.len <= 253;
}

static bool is_v6(struct ps_slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (strchr("0123456789abcdefABCDEF:.", host.ptr[i]) == NULL) {
            return false;
        }
    }
    return host.len >= 2 && host.len <= 45 && memchr(host.ptr, ':', host.len) != NULL;
}

/* host, host:port, [v6] or [v6]:port. */
static const char *parse_authority(struct ps_slice text, struct ps_slice *ret_host)
{
    struct ps_slice port = PS_SLICE_NONE;
    const char *end = NULL;

    if (text.len > 0 && text.ptr[0] == '[') {
        end = memchr(text.ptr, ']', text.len);
        if (end == NULL) {
            return "has no host";
        }
        *ret_host = ps_slice(text.ptr + 1, (size_t)(end - text.ptr) - 1);
        end++;
        if (end < text.ptr + text.len && *end != ':') {
            return "has no host";
        }
        if (!is_v6(*ret_host)) {
            return "has no host";
        }
    } else {
        end = text.len > 0 ? memchr(text.ptr, ':', text.len) : NULL;
        end = end != NULL ? end : text.ptr + text.len;
        *ret_host = ps_slice(text.ptr, (size_t)(end - text.ptr));
        if (!is_host_name(*ret_host)) {
            return "has no host, or one that is not in ASCII";
        }
    }
    if (end < text.ptr + text.len) {
        port = ps_slice(end + 1, (size_t)(text.ptr + text.len - end) - 1);
        if (!is_port(port)) {
            return "has a port that is none";
        }
    }
    return NULL;
}

const char *ps_hook_url_parse(struct ps_slice url, struct ps_hook_url *ret)
{
    size_t scheme;

    if (url.len > PS_HOOK_URL_MAX) {
        return "is longer than 2048 bytes";
    }
    if (!is_plain(url)) {
        return "holds characters that must be encoded";
    }
    if (url.len > 7 && strncasecmp(url.ptr, "http://", 7) == 0) {
        scheme = 7;
    } else if (url.len > 8 && strncasecmp(url.ptr, "https://", 8) == 0) {
        scheme = 8;
    } else {
        return "does not begin with http:// or https://";
    }
    if (memchr(url.ptr, '#', url.len) != NULL) {
        return "holds a fragment";
    }
    size_t end = scheme;
    while (end < url.len && url.ptr[end] != '/' && url.ptr[end] != '?') {
        end++;
    }
    struct ps_slice authority = ps_slice(url.ptr + scheme, end - scheme);
    if (memchr(authority.ptr, '@', authority.len) != NULL) {
        return "holds a user name or password";
    }
    const char *wrong = parse_authority(authority, &ret->host);
    if (wrong != NULL) {
        return wrong;
    }
    ret->https = scheme == 8;
    ret->base = ps_slice(url.ptr, end);
    ret->rest = ps_slice(url.ptr + end, url.len - end);
    return NULL;
}

bool ps_hooks_accept(const struct ps_config *config, struct ps_slice url,
                     struct ps_fault *ret_fault)
{
    struct ps_hook_url parsed;

    if (config->webhook_secret.value == NULL) {
        (void)ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "webhook",
                           "webhooks are not set up on this gateway: it has no secret to sign them "
                           "with (jobs.webhook_secret)");
        return false;
    }
    const char *wrong = ps_hook_url_parse(url, &parsed);
    if (wrong != NULL) {
        (void)ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "webhook", "the webhook's URL %s", wrong);
        return false;
    }
    if (!config->webhook_private && ps_address_host(parsed.host) == PS_ADDRESS_PRIVATE) {
        (void)ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "webhook",
                           "the webhook's URL leads to an address that is not public");
        return false;
    }
    return true;
}

/* ---- the payload ---- */

struct ps_slice ps_hooks_job_type(enum ps_job_status status)
{
    switch (status) {
    case PS_JOB_COMPLETED:
        return PS_SLICE_LIT("job.completed");
    case PS_JOB_FAILED:
        return PS_SLICE_LIT("job.failed");
    case PS_JOB_CANCELLED:
        return PS_SLICE_LIT("job.cancelled");
    case PS_JOB_EXPIRED:
        return PS_SLICE_LIT("job.expired");
    case PS_JOB_QUEUED:
    case PS_JOB_RUNNING:
    case PS_JOB_STATUS_COUNT:
        break;
    }
    return PS_SLICE_LIT("");
}

struct ps_slice ps_hooks_batch_type(enum ps_batch_status status)
{
    switch (status) {
    case PS_BATCH_COMPLETED:
        return PS_SLICE_LIT("batch.completed");
    case PS_BATCH_FAILED:
        return PS_SLICE_LIT("batch.failed");
    case PS_BATCH_CANCELLED:
        return PS_SLICE_LIT("batch.cancelled");
    case PS_BATCH_EXPIRED:
        return PS_SLICE_LIT("batch.expired");
    case PS_BATCH_VALIDATING:
    case PS_BATCH_IN_PROGRESS:
    case PS_BATCH_FINALIZING:
    case PS_BATCH_CANCELLING:
    case PS_BATCH_EXPIRING:
    case PS_BATCH_STATUS_COUNT:
        break;
    }
    return PS_SLICE_LIT("");
}

/* Up to the status, which is what stands behind the dot of the type. */
static void begin_payload(struct ps_buf *out, struct ps_slice type, const struct ps_id *id,
                          int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm when;
    const char *dot = type.len > 0 ? memchr(type.ptr, '.', type.len) : NULL;

    (void)gmtime_r(&seconds, &when);
    ps_buf_cstr(out, "{\"type\":");
    ps_buf_json(out, type);
    ps_buf_printf(out, ",\"timestamp\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"data\":{\"id\":",
                  when.tm_year + 1900, when.tm_mon + 1, when.tm_mday, when.tm_hour, when.tm_min,
                  when.tm_sec, (int)(now_ms % 1000));
    ps_buf_json(out, ps_slice_cstr(id->text));
    ps_buf_cstr(out, ",\"status\":");
    ps_buf_json(out, dot != NULL ? ps_slice(dot + 1, (size_t)(type.ptr + type.len - dot) - 1)
                                 : PS_SLICE_NONE);
}

void ps_hook_bare_payload(struct ps_buf *out, struct ps_slice type, const struct ps_id *id,
                          int64_t now_ms)
{
    begin_payload(out, type, id, now_ms);
    ps_buf_cstr(out, "}}");
}

void ps_hooks_job_payload(struct ps_buf *out, const struct ps_id *id, enum ps_job_status status,
                          struct ps_slice error, int64_t now_ms)
{
    begin_payload(out, ps_hooks_job_type(status), id, now_ms);
    if (error.len > 0) {
        ps_buf_cstr(out, ",\"error\":");
        ps_buf_slice(out, error);
    }
    ps_buf_cstr(out, "}}");
}

int ps_hooks_fill_cancel(struct ps_store_command *command)
{
    struct ps_buf payload;

    ps_buf_init(&payload, 1024);
    ps_hooks_job_payload(&payload, &command->in.id, PS_JOB_CANCELLED, PS_SLICE_NONE,
                         ps_clock_wall_ms());
    command->in.hook_type = ps_hooks_job_type(PS_JOB_CANCELLED);
    command->in.hook_payload = ps_store_command_copy(command, ps_buf_view(&payload));
    int result = payload.failed || command->in.hook_payload.ptr == NULL ? -1 : 0;
    ps_buf_deinit(&payload);
    return result;
}

static void put_file(struct ps_buf *out, const char *name, const struct ps_id *id)
{
    ps_buf_printf(out, ",\"%s\":", name);
    if (id->text[0] != '\0') {
        ps_buf_json(out, ps_slice_cstr(id->text));
    } else {
        ps_buf_cstr(out, "null");
    }
}

void ps_hooks_batch_payload(struct ps_buf *out, const struct ps_store_batch *batch,
                            enum ps_batch_status status, int64_t now_ms)
{
    begin_payload(out, ps_hooks_batch_type(status), &batch->id, now_ms);
    ps_buf_cstr(out, ",\"request_counts\":{\"total\":");
    ps_buf_uint(out, batch->total);
    ps_buf_cstr(out, ",\"completed\":");
    ps_buf_uint(out, batch->completed);
    ps_buf_cstr(out, ",\"failed\":");
    ps_buf_uint(out, batch->failed);
    ps_buf_byte(out, '}');
    put_file(out, "output_file_id", &batch->output_file);
    put_file(out, "error_file_id", &batch->error_file);
    ps_buf_cstr(out, "}}");
}

/* ---- the signature ---- */

struct hmac {
    struct ps_sha256 inner;
    uint8_t outer_key[64];
};

/* RFC 2104; a key of at most 64 bytes. */
static void hmac_begin(struct hmac *hmac, const uint8_t *key, size_t len)
{
    uint8_t inner_key[64];

    for (size_t i = 0; i < sizeof(inner_key); i++) {
        uint8_t byte = i < len ? key[i] : 0;
        inner_key[i] = byte ^ 0x36;
        hmac->outer_key[i] = byte ^ 0x5c;
    }
    ps_sha256_init(&hmac->inner);
    ps_sha256_update(&hmac->inner, inner_key, sizeof(inner_key));
    explicit_bzero(inner_key, sizeof(inner_key));
}

static void hmac_end(struct hmac *hmac, uint8_t ret[PS_SHA256_SIZE])
{
    struct ps_sha256 outer;
    uint8_t digest[PS_SHA256_SIZE];

    ps_sha256_final(&hmac->inner, digest);
    ps_sha256_init(&outer);
    ps_sha256_update(&outer, hmac->outer_key, sizeof(hmac->outer_key));
    ps_sha256_update(&outer, digest, sizeof(digest));
    ps_sha256_final(&outer, ret);
    explicit_bzero(hmac, sizeof(*hmac));
}

bool ps_hook_sign(const char *secret, struct ps_slice id, int64_t timestamp_s,
                  struct ps_slice payload, char ret[PS_HOOK_SIGNATURE])
{
    static const char prefix[] = "whsec_";
    struct ps_slice text = ps_slice_cstr(secret);
    uint8_t key[66];
    uint8_t digest[PS_SHA256_SIZE];
    char stamp[32];
    struct hmac hmac;
    size_t len = 0;

    if (!ps_slice_starts(text, ps_slice_cstr(prefix)) ||
        text.len - (sizeof(prefix) - 1) > PS_BASE64_LENGTH(64)) {
        return false;
    }
    text = ps_slice(text.ptr + sizeof(prefix) - 1, text.len - (sizeof(prefix) - 1));
    if (!ps_base64_decode(text, key, &len) || len == 0 || len > 64) {
        return false;
    }
    hmac_begin(&hmac, key, len);
    explicit_bzero(key, sizeof(key));
    (void)snprintf(stamp, sizeof(stamp), ".%lld.", (long long)timestamp_s);
    ps_sha256_update(&hmac.inner, id.ptr, id.len);
    ps_sha256_update(&hmac.inner, stamp, strlen(stamp));
    ps_sha256_update(&hmac.inner, payload.ptr, payload.len);
    hmac_end(&hmac, digest);
    memcpy(ret, "v1,", 3);
    len = ps_base64_encode(digest, sizeof(digest), ret + 3);
    ret[3 + len] = '\0';
    return true;
}

/* ---- the schedule ---- */

int64_t ps_hook_delay_ms(unsigned attempt)
{
    static const int64_t seconds[] = {5,         5 * 60,    30 * 60,   2 * 3600, 5 * 3600,
                                      10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600};
    size_t count = sizeof(seconds) / sizeof(seconds[0]);

    return attempt >= 1 && attempt <= count ? seconds[attempt - 1] * 1000 : -1;
}
