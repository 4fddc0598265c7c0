/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

static void maps_errors(void **state)
{
    static const struct {
        int status;
        const char *body;
        const char *expected; /* "kind status param: message" */
    } rows[] = {
        {400,
         "{\"error\":{\"message\":\"Bad "
         "\\u00e9\\nx\",\"type\":\"invalid_request_error\",\"param\":\"n\",\"code\":null}}",
         "bad_field 400 n: Bad \xc3\xa9 x"},
        {422, "{\"detail\":\"wrong\"}", "bad_field 400 : wrong"},
        {400, "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}",
         "context_length 400 : too long"},
        {400,
         "{\"error\":{\"code\":400,\"message\":\"m\",\"type\":\"exceed_context_size_error\",\"n_"
         "ctx\":5}}",
         "context_length 400 : m"},
        {400,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 5 "
         "tokens\",\"code\":400}",
         "context_length 400 : This model's maximum context length is 5 tokens"},
        {400, "{\"error\":{\"code\":\"content_policy_violation\",\"message\":\"no\"}}",
         "content_policy 400 : no"},
        {400, "{\"error\":{\"message\":\"Incorrect API key provided: sk-abc\"}}",
         "upstream_auth 502 : The provider did not accept the gateway's own credentials."},
        {401, "{\"error\":{\"message\":\"You passed sk-secret\",\"code\":\"invalid_api_key\"}}",
         "upstream_auth 502 : The provider did not accept the gateway's own credentials."},
        {403, "", "upstream_auth 502 : The provider did not accept the gateway's own credentials."},
        {402, "{\"error\":{\"message\":\"pay\"}}", "quota 429 : pay no_retry"},
        {429, "{\"error\":{\"message\":\"quota\",\"type\":\"insufficient_quota\"}}",
         "quota 429 : quota no_retry"},
        {429, "{\"error\":{\"message\":\"m\",\"code\":\"project_spend_limit_exceeded\"}}",
         "quota 429 : m no_retry"},
        {429, "{\"error\":{\"message\":\"slow\",\"code\":\"rate_limit_exceeded\"}}",
         "rate_limited 429 : slow"},
        {429, "<html>", "rate_limited 429 : The provider answered with status 429."},
        {404, "{\"error\":{\"message\":\"m\",\"code\":\"model_not_found\"}}",
         "model_not_found 404 : m"},
        {404, "{\"error\":\"model 'x' not found, try pulling it first\"}",
         "model_not_found 404 : model 'x' not found, try pulling it first"},
        {404, "{\"error\":{\"message\":\"no route\"}}", "upstream_refused 404 : no route"},
        {405, "", "upstream_refused 405 : The provider answered with status 405."},
        {409, "", "upstream_refused 409 : The provider answered with status 409."},
        {413, "", "body_too_large 413 : The provider answered with status 413."},
        {408, "", "upstream_timeout 504 : The provider answered with status 408."},
        {500, "{\"error\":{\"message\":\"oops\",\"type\":\"server_error\"}}",
         "upstream_error 502 : oops"},
        {500, "{\"error\":{\"message\":\"bad api key sk-1\"}}",
         "upstream_error 502 : The provider answered with status 500."},
        {503,
         "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
         "loading 503 : Loading model"},
        {503, "", "upstream_overloaded 503 : The provider answered with status 503."},
        {529, "[{\"error\":{\"message\":\"busy\"}}]", "upstream_overloaded 503 : busy"},
        {504, "", "upstream_timeout 504 : The provider answered with status 504."},
        {302, "", "upstream_broken 502 : The provider answered with status 302, a redirect."},
        /* a body that was cut still says what it said before */
        {500, "{\"error\":{\"message\":\"oops\",\"type\":\"server", "upstream_error 502 : oops"},
        {500, "{\"error\":{\"message\":\"oo",
         "upstream_error 502 : The provider answered with status 500."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_fault fault;
        char seen[512];

        memset(&fault, 0xff, sizeof(fault));
        ps_dialect_fault(ps_dialect_find("openai"), rows[i].status, ps_slice_cstr(rows[i].body),
                         &fault);
        (void)snprintf(seen, sizeof(seen), "%s %d %s: %s%s", ps_fault_name(fault.kind),
                       ps_fault_status(&fault), fault.param, fault.message,
                       fault.no_retry ? " no_retry" : "");
        if (strcmp(seen, rows[i].expected) != 0) {
            fail_msg("%d %s\nexpected %s\nfound    %s", rows[i].status, rows[i].body,
                     rows[i].expected, seen);
        }
        assert_int_equal(fault.retry_after_ms, 0);
    }
}

/* Long messages, and escapes at the place of the cut. */
static void bounds_messages(void **state)
{
    static char body[9000];

    (void)state;
    for (size_t pad = 0; pad < 1100; pad++) {
        struct ps_fault fault;
        size_t len = (size_t)snprintf(body, sizeof(body), "{\"error\":{\"message\":\"");

        memset(body + len, 'x', pad);
        len += pad;
        for (int i = 0; i < 300; i++) {
            len += (size_t)snprintf(body + len, sizeof(body) - len, "\\ud83d\\ude00\\n");
        }
        len += (size_t)snprintf(body + len, sizeof(body) - len, "\"}}");
        ps_dialect_fault(ps_dialect_find("openai"), 500, ps_slice(body, len), &fault);
        assert_true(strlen(fault.message) >= PS_FAULT_TEXT - 4);
        assert_null(strchr(fault.message, '\n'));
    }
}

static void writes_errors(void **state)
{
    struct ps_fault fault;
    struct ps_buf out;

    (void)state;
    (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "n", "a \"b\"\n");
    ps_buf_init(&out, 4096);
    ps_dialect_write_fault(ps_dialect_of_family(PS_FAMILY_OPENAI), &fault, PS_SLICE_LIT("req_1"),
                           &out);
    ps_buf_byte(&out, '\0');
    assert_string_equal(
        out.ptr, "{\"error\":{\"message\":\"a \\\"b\\\"\\n\",\"type\":\"invalid_request_error\","
                 "\"param\":\"n\",\"code\":\"invalid_value\"}}");
    ps_buf_reset(&out);
    fault.param[0] = '\0';
    ps_dialect_write_fault_event(ps_dialect_of_family(PS_FAMILY_OPENAI), &fault,
                                 PS_SLICE_LIT("req_1"), &out);
    ps_buf_byte(&out, '\0');
    assert_string_equal(
        out.ptr,
        "data: {\"error\":{\"message\":\"a \\\"b\\\"\\n\",\"type\":\"invalid_request_error\","
        "\"param\":null,\"code\":\"invalid_value\"}}\n\n");
    ps_buf_deinit(&out);
}

static void list_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    char *log = arg;
    size_t len = strlen(log);

    (void)snprintf(log + len, 256 - len, "[%.*s %.*s]", (int)id.len, id.ptr, (int)object.len,
                   object.ptr);
}

static void lists_models(void **state)
{
    static const struct {
        const char *body;
        const char *expected; /* NULL: no list */
    } rows[] = {
        {"{\"object\":\"list\",\"data\":[{\"id\":\"a\\/"
         "b\"},{\"x\":1},{\"id\":7},{\"id\":\"\"},3,{\"id\":\"c\",\"o\":{}}]}",
         "[a/b {\"id\":\"a\\/b\"}][c {\"id\":\"c\",\"o\":{}}]"},
        {"[{\"id\":\"a\"}]", "[a {\"id\":\"a\"}]"},
        {"{\"data\":[]}", ""},
        {"[]", ""},
        {"{\"data\":{}}", NULL},
        {"{}", NULL},
        {"7", NULL},
        {"", NULL},
        {"{\"data\":[{\"id\":\"a\"}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char log[256] = "";
        int rc = ps_dialect_models(ps_dialect_find("openai"), ps_slice_cstr(rows[i].body),
                                   list_model, log);

        assert_int_equal(rc, rows[i].expected != NULL ? 0 : -1);
        assert_string_equal(log, rows[i].expected != NULL ? rows[i].expected : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_errors),
        cmocka_unit_test(bounds_messages),
        cmocka_unit_test(writes_errors),
        cmocka_unit_test(lists_models),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
