/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * Our errors as Google's clients know them: google.rpc.Status, and in its details what the code of
 * the fault is, which field it is about, when to come again and the request's id.
 */

static const char *word_of(int status)
{
    switch (status) {
    case 401:
        return "UNAUTHENTICATED";
    case 403:
        return "PERMISSION_DENIED";
    case 404:
        return "NOT_FOUND";
    case 408:
    case 504:
        return "DEADLINE_EXCEEDED";
    case 409:
        return "ABORTED";
    case 429:
        return "RESOURCE_EXHAUSTED";
    case 499:
        return "CANCELLED";
    case 405:
    case 501:
        return "UNIMPLEMENTED";
    case 502:
    case 503:
        return "UNAVAILABLE";
    default:
        return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
    }
}

static void open_detail(struct ps_json_out *out, const char *type)
{
    ps_out_open(out, '{');
    ps_out_key(out, "@type");
    ps_out_string_begin(out);
    ps_out_string_plain(out, PS_SLICE_LIT("type.googleapis.com/google.rpc."));
    ps_out_string_plain(out, ps_slice_cstr(type));
    ps_out_string_end(out);
}

/* Reasons are words in capitals there. */
static void write_reason(const char *code, struct ps_json_out *out)
{
    char reason[64];
    size_t len = 0;

    for (; code[len] != '\0' && len < sizeof(reason); len++) {
        reason[len] =
            code[len] >= 'a' && code[len] <= 'z' ? (char)(code[len] - 'a' + 'A') : code[len];
    }
    open_detail(out, "ErrorInfo");
    ps_out_member_text(out, "reason", ps_slice(reason, len));
    ps_out_member_cstr(out, "domain", "penstock");
    ps_out_close(out, '}');
}

static void write_field(const struct ps_fault *fault, struct ps_json_out *out)
{
    open_detail(out, "BadRequest");
    ps_out_key(out, "fieldViolations");
    ps_out_open(out, '[');
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "field", fault->param);
    ps_out_member_cstr(out, "description", fault->message);
    ps_out_close(out, '}');
    ps_out_close(out, ']');
    ps_out_close(out, '}');
}

static void write_retry(int64_t wait_ms, struct ps_json_out *out)
{
    char delay[40];

    if (wait_ms % 1000 == 0) {
        (void)snprintf(delay, sizeof(delay), "%" PRId64 "s", wait_ms / 1000);
    } else {
        (void)snprintf(delay, sizeof(delay), "%" PRId64 ".%03ds", wait_ms / 1000,
                       (int)(wait_ms % 1000));
    }
    open_detail(out, "RetryInfo");
    ps_out_member_cstr(out, "retryDelay", delay);
    ps_out_close(out, '}');
}

static void write_details(const struct ps_fault *fault, struct ps_slice request_id,
                          struct ps_json_out *out)
{
    const char *code = ps_fault_code(fault->kind);

    ps_out_key(out, "details");
    ps_out_open(out, '[');
    if (code != NULL) {
        write_reason(code, out);
    }
    if (fault->param[0] != '\0' && ps_fault_status(fault) == 400) {
        write_field(fault, out);
    }
    if (fault->retry_after_ms > 0) {
        write_retry(fault->retry_after_ms, out);
    }
    if (request_id.len > 0) {
        open_detail(out, "RequestInfo");
        ps_out_member_text(out, "requestId", request_id);
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
}

void ps_gemini_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                           struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);
    int status = ps_fault_status(fault);

    ps_out_open(&json, '{');
    ps_out_key(&json, "error");
    ps_out_open(&json, '{');
    ps_out_member_int(&json, "code", status);
    ps_out_key(&json, "message");
    ps_out_cstr(&json, fault->message);
    ps_out_member_cstr(&json, "status", word_of(status));
    write_details(fault, request_id, &json);
    ps_out_close(&json, '}');
    ps_out_close(&json, '}');
}

void ps_gemini_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                                 struct ps_buf *out)
{
    ps_buf_cstr(out, "data: ");
    ps_gemini_write_fault(fault, request_id, out);
    ps_buf_cstr(out, "\n\n");
}
