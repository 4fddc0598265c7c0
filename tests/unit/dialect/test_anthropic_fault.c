/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/* What an upstream's error means, and how ours look. */

#define ERROR(type, message)                                                                       \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message                  \
    "\"},\"request_id\":\"req_1\"}"

static void reads_errors(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum ps_fault_kind kind;
        int client_status;
        const char *message; /* NULL: any */
    } rows[] = {
        {400, ERROR("invalid_request_error", "messages.0.content: Field required"),
         PS_FAULT_BAD_FIELD, 400, "messages.0.content: Field required"},
        {400, ERROR("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
         PS_FAULT_CONTEXT_LENGTH, 400, NULL},
        {400,
         ERROR("invalid_request_error",
               "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
         PS_FAULT_CONTEXT_LENGTH, 400, NULL},
        {400,
         ERROR("invalid_request_error",
               "Your credit balance is too low to access the API. Please go to Plans & Billing."),
         PS_FAULT_QUOTA, 429, NULL},
        {400, ERROR("invalid_request_error", "Output blocked by content filtering policy"),
         PS_FAULT_CONTENT_POLICY, 400, NULL},
        {401, ERROR("authentication_error", "invalid x-api-key"), PS_FAULT_UPSTREAM_AUTH, 502,
         "The provider did not accept the gateway's own credentials."},
        {402, ERROR("billing_error", "pay"), PS_FAULT_QUOTA, 429, NULL},
        {403, ERROR("permission_error", "not yours"), PS_FAULT_UPSTREAM_AUTH, 502, NULL},
        {404, ERROR("not_found_error", "model: claude-x"), PS_FAULT_MODEL_NOT_FOUND, 404,
         "model: claude-x"},
        {404, ERROR("not_found_error", "no such path"), PS_FAULT_UPSTREAM_REFUSED, 404, NULL},
        {409, ERROR("conflict_error", "busy"), PS_FAULT_UPSTREAM_REFUSED, 409, NULL},
        {413, ERROR("request_too_large", "Request exceeds the maximum size"),
         PS_FAULT_BODY_TOO_LARGE, 413, NULL},
        {429, ERROR("rate_limit_error", "slow down"), PS_FAULT_RATE_LIMITED, 429, "slow down"},
        {500, ERROR("api_error", "Internal server error"), PS_FAULT_UPSTREAM_ERROR, 502, NULL},
        {503, "<html>no</html>", PS_FAULT_UPSTREAM_OVERLOADED, 503, NULL},
        {504, ERROR("timeout_error", "late"), PS_FAULT_UPSTREAM_TIMEOUT, 504, NULL},
        {529, ERROR("overloaded_error", "Overloaded"), PS_FAULT_UPSTREAM_OVERLOADED, 503,
         "Overloaded"},
        {400, "", PS_FAULT_BAD_FIELD, 400, NULL},
        {400, "{\"type\":\"error\",\"error\":{\"message\":\"prompt is too long\",\"typ",
         PS_FAULT_CONTEXT_LENGTH, 400, "prompt is too long"},
    };
    struct ps_fault fault;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ps_dialect_fault(ps_dialect_find("anthropic"), rows[i].status, ps_slice_cstr(rows[i].body),
                         &fault);
        if (fault.kind != rows[i].kind || ps_fault_status(&fault) != rows[i].client_status) {
            fail_msg("%d %s: %s %d", rows[i].status, rows[i].body, ps_fault_name(fault.kind),
                     ps_fault_status(&fault));
        }
        assert_true(fault.message[0] != '\0');
        if (rows[i].message != NULL) {
            assert_string_equal(fault.message, rows[i].message);
        }
    }
}

static void writes_errors(void **state)
{
    static const struct {
        enum ps_fault_kind kind;
        int status;
        const char *type;
    } rows[] = {
        {PS_FAULT_BAD_FIELD, 0, "invalid_request_error"},
        {PS_FAULT_CONTEXT_LENGTH, 0, "invalid_request_error"},
        {PS_FAULT_UNAUTHORIZED, 0, "authentication_error"},
        {PS_FAULT_FORBIDDEN, 0, "permission_error"},
        {PS_FAULT_MODEL_NOT_FOUND, 0, "not_found_error"},
        {PS_FAULT_REQUEST_TIMEOUT, 0, "timeout_error"},
        {PS_FAULT_BODY_TOO_LARGE, 0, "request_too_large"},
        {PS_FAULT_UNSUPPORTED_MEDIA, 0, "invalid_request_error"},
        {PS_FAULT_RATE_LIMITED, 0, "rate_limit_error"},
        {PS_FAULT_QUOTA, 0, "rate_limit_error"},
        {PS_FAULT_INTERNAL, 0, "api_error"},
        {PS_FAULT_UPSTREAM_AUTH, 0, "api_error"},
        {PS_FAULT_OVERLOADED, 0, "overloaded_error"},
        {PS_FAULT_UPSTREAM_OVERLOADED, 0, "overloaded_error"},
        {PS_FAULT_UPSTREAM_TIMEOUT, 0, "timeout_error"},
        {PS_FAULT_UPSTREAM_REFUSED, 402, "billing_error"},
        {PS_FAULT_UPSTREAM_REFUSED, 409, "conflict_error"},
    };
    const struct ps_dialect *door = ps_dialect_of_family(PS_FAMILY_ANTHROPIC);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char expected[256];
        char event[300];
        struct ps_fault fault;
        struct ps_buf out;

        (void)ps_fault_set(&fault, rows[i].kind, NULL, "a \"b\"");
        fault.status = rows[i].status;
        (void)snprintf(
            expected, sizeof(expected),
            "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"a \\\"b\\\"\"},"
            "\"request_id\":\"req_1\"}",
            rows[i].type);
        (void)snprintf(event, sizeof(event), "event: error\ndata: %s\n\n", expected);
        ps_buf_init(&out, 1024);
        ps_dialect_write_fault(door, &fault, PS_SLICE_LIT("req_1"), &out);
        ps_buf_byte(&out, '\0');
        assert_string_equal(out.ptr, expected);
        ps_buf_reset(&out);
        ps_dialect_write_fault_event(door, &fault, PS_SLICE_LIT("req_1"), &out);
        ps_buf_byte(&out, '\0');
        assert_string_equal(out.ptr, event);
        ps_buf_deinit(&out);
    }
    assert_true(
        ps_slice_eq_cstr(ps_dialect_ping(door), "event: ping\ndata: {\"type\":\"ping\"}\n\n"));
}

static void note_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    struct ps_buf *seen = arg;

    (void)object;
    ps_buf_slice(seen, id);
    ps_buf_byte(seen, ' ');
}

static void lists_models(void **state)
{
    static const char body[] =
        "{\"data\":[{\"type\":\"model\",\"id\":\"claude-a\",\"display_name\":\"A\",\"created_at\":"
        "\"2026-01-01T00:00:00Z\"},{\"id\":\"claude-b\"}],\"has_more\":false,\"first_id\":"
        "\"claude-a\",\"last_id\":\"claude-b\"}";
    struct ps_buf seen;

    (void)state;
    ps_buf_init(&seen, 100);
    assert_int_equal(
        ps_dialect_models(ps_dialect_find("anthropic"), ps_slice_cstr(body), note_model, &seen), 0);
    ps_buf_byte(&seen, '\0');
    assert_string_equal(seen.ptr, "claude-a claude-b ");
    assert_int_equal(ps_dialect_models(ps_dialect_find("anthropic"),
                                       PS_SLICE_LIT("{\"type\":\"error\"}"), note_model, &seen),
                     -1);
    ps_buf_deinit(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_errors),
        cmocka_unit_test(writes_errors),
        cmocka_unit_test(lists_models),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
