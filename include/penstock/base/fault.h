/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_FAULT_H
#define PENSTOCK_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Every way a request can fail, once: kind, HTTP status, OpenAI's error `type`, its `code` (NULL:
 * null), and whether another target may be tried for it before the commit. The doors make their own
 * error shape from this; metrics and logs use the kind's name.
 *
 * 429 is only for a limit of the caller; what we lack ourselves is 503.
 */
#define PS_FAULT_TABLE(X)                                                                          \
    /* the caller's request */                                                                     \
    X(BAD_HTTP, 400, "invalid_request_error", "bad_request", false)                                \
    X(BAD_JSON, 400, "invalid_request_error", "invalid_json", false)                               \
    X(BAD_FIELD, 400, "invalid_request_error", "invalid_value", false)                             \
    X(MISSING_FIELD, 400, "invalid_request_error", "missing_required_parameter", false)            \
    X(UNKNOWN_FIELD, 400, "invalid_request_error", "unknown_parameter", false)                     \
    X(FORBIDDEN_FIELD, 400, "invalid_request_error", "forbidden_parameter", false)                 \
    X(UNSUPPORTED_OPERATION, 400, "invalid_request_error", "unsupported_operation", false)         \
    X(CONTEXT_LENGTH, 400, "invalid_request_error", "context_length_exceeded", false)              \
    X(UNAUTHORIZED, 401, "invalid_request_error", "invalid_api_key", false)                        \
    X(FORBIDDEN_ORIGIN, 403, "permission_error", "origin_not_allowed", false)                      \
    X(FORBIDDEN_HOST, 403, "permission_error", "host_not_allowed", false)                          \
    X(FORBIDDEN, 403, "permission_error", "forbidden", false)                                      \
    X(NOT_FOUND, 404, "invalid_request_error", "not_found", false)                                 \
    X(MODEL_NOT_FOUND, 404, "invalid_request_error", "model_not_found", false)                     \
    X(PREVIOUS_NOT_FOUND, 404, "invalid_request_error", "previous_response_not_found", false)      \
    X(METHOD_NOT_ALLOWED, 405, "invalid_request_error", "method_not_allowed", false)               \
    X(REQUEST_TIMEOUT, 408, "invalid_request_error", "request_timeout", false)                     \
    X(CONFLICT, 409, "invalid_request_error", "conflict", false)                                   \
    X(IDEMPOTENCY, 409, "invalid_request_error", "idempotency_key_reused", false)                  \
    X(BODY_TOO_LARGE, 413, "invalid_request_error", "request_too_large", false)                    \
    X(FILE_TOO_LARGE, 413, "invalid_request_error", "file_too_large", false)                       \
    X(URI_TOO_LONG, 414, "invalid_request_error", "uri_too_long", false)                           \
    X(UNSUPPORTED_MEDIA, 415, "invalid_request_error", "unsupported_media_type", false)            \
    X(RANGE, 416, "invalid_request_error", "range_not_satisfiable", false)                         \
    X(EXPECTATION_FAILED, 417, "invalid_request_error", "expectation_failed", false)               \
    X(HEADERS_TOO_LARGE, 431, "invalid_request_error", "headers_too_large", false)                 \
    X(NOT_IMPLEMENTED, 501, "invalid_request_error", "not_implemented", false)                     \
    X(RATE_LIMITED, 429, "rate_limit_error", "rate_limit_exceeded", true)                          \
    X(QUOTA, 429, "insufficient_quota", "insufficient_quota", true)                                \
    X(CONTENT_POLICY, 400, "invalid_request_error", "content_policy_violation", false)             \
    /* ours */                                                                                     \
    X(INTERNAL, 500, "server_error", "internal_error", true)                                       \
    X(NO_MEMORY, 503, "server_error", "out_of_memory", false)                                      \
    X(OVERLOADED, 503, "server_error", "server_is_overloaded", false)                              \
    X(DRAINING, 503, "server_error", "server_is_shutting_down", false)                             \
    X(STORE_FAILED, 503, "server_error", "storage_unavailable", false)                             \
    X(DISK_FULL, 503, "server_error", "disk_full", false)                                          \
    X(QUEUE_FULL, 503, "server_error", "upstream_queue_full", true)                                \
    X(LOADING, 503, "server_error", "model_is_loading", true)                                      \
    X(NO_TARGET, 503, "server_error", "no_target_available", false)                                \
    /* the upstream's */                                                                           \
    X(UPSTREAM_REFUSED, 502, "upstream_error", "upstream_rejected_request", false)                 \
    X(UPSTREAM_AUTH, 502, "upstream_error", "upstream_authentication_failed", true)                \
    X(UPSTREAM_CONNECT, 502, "upstream_error", "upstream_connection_failed", true)                 \
    X(UPSTREAM_TLS, 502, "upstream_error", "upstream_tls_failed", true)                            \
    X(UPSTREAM_BROKEN, 502, "upstream_error", "upstream_protocol_error", true)                     \
    X(UPSTREAM_ERROR, 502, "upstream_error", "upstream_error", true)                               \
    X(UPSTREAM_OVERLOADED, 503, "upstream_error", "upstream_overloaded", true)                     \
    X(STREAM_INCOMPLETE, 502, "upstream_error", "stream_incomplete", true)                         \
    X(UPSTREAM_TIMEOUT, 504, "upstream_error", "upstream_timeout", true)                           \
    /* no answer can be sent any more */                                                           \
    X(CLIENT_GONE, 499, "client_error", "client_closed_request", false)                            \
    X(CLIENT_SLOW, 499, "client_error", "client_too_slow", false)

enum ps_fault_kind {
    PS_FAULT_NONE,
#define X(name, status, type, code, retry) PS_FAULT_##name,
    PS_FAULT_TABLE(X)
#undef X
    PS_FAULT_COUNT
};

#define PS_FAULT_TEXT  240
#define PS_FAULT_PARAM 64

/* One failure, by value; says what a client may know, never a secret. */
struct ps_fault {
    enum ps_fault_kind kind;
    int status;             /* HTTP; 0: the kind's own. Set where an upstream's status is kept */
    int64_t retry_after_ms; /* 0: unknown */
    bool no_retry;          /* send x-should-retry: false */
    char param[PS_FAULT_PARAM];  /* path of the field at fault, "" when none */
    char message[PS_FAULT_TEXT]; /* one sentence for a person */
};

int ps_fault_status(const struct ps_fault *fault);
const char *ps_fault_type(enum ps_fault_kind kind);
const char *ps_fault_code(enum ps_fault_kind kind);
/* The kind's name in lower case, "none" for PS_FAULT_NONE: a bounded label for metrics and logs. */
const char *ps_fault_name(enum ps_fault_kind kind);
/* Whether another target may be tried for it. */
bool ps_fault_retryable(enum ps_fault_kind kind);

/*
 * Fills `fault` (all other members zero). `param` may be NULL. Text that is too long is cut at a
 * character. Returns -1, so that a parser can `return ps_fault_set(...)`.
 */
int ps_fault_set(struct ps_fault *fault, enum ps_fault_kind kind, const char *param,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
