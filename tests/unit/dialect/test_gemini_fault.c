/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/* Errors of the Gemini API, and its list of models. */

#define ERROR(code, word, message)                                                                 \
    "{\"error\":{\"code\":" #code ",\"message\":\"" message "\",\"status\":\"" word "\"}}"
#define DETAILED(code, word, details)                                                              \
    "{\"error\":{\"code\":" #code ",\"message\":\"m\",\"status\":\"" word                          \
    "\",\"details\":[" details "]}}"
#define RETRY(delay)                                                                               \
    "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"" delay "\"}"
#define QUOTA(id)                                                                                  \
    "{\"@type\":\"type.googleapis.com/"                                                            \
    "google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":\"" id "\"}]}"

static const struct {
    int status;
    const char *body;
    enum ps_fault_kind kind;
    int64_t retry_ms;
    const char *message; /* NULL: any */
} rows[] = {
    {400, ERROR(400, "INVALID_ARGUMENT", "temperature is odd"), PS_FAULT_BAD_FIELD, 0,
     "temperature is odd"},
    {400,
     ERROR(400, "INVALID_ARGUMENT",
           "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
     PS_FAULT_CONTEXT_LENGTH, 0, NULL},
    /* a bad key is a 400 there; its words stay here */
    {400, ERROR(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid one: AIzaX"),
     PS_FAULT_UPSTREAM_AUTH, 0, "The provider did not accept the gateway's own credentials."},
    {400, DETAILED(400, "INVALID_ARGUMENT", "{\"reason\":\"API_KEY_INVALID\"}"),
     PS_FAULT_UPSTREAM_AUTH, 0, NULL},
    {400, ERROR(400, "FAILED_PRECONDITION", "User location is not supported"),
     PS_FAULT_UPSTREAM_REFUSED, 0, "User location is not supported"},
    {401, ERROR(401, "UNAUTHENTICATED", "x"), PS_FAULT_UPSTREAM_AUTH, 0, NULL},
    {403, ERROR(403, "PERMISSION_DENIED", "x"), PS_FAULT_UPSTREAM_AUTH, 0, NULL},
    {404, ERROR(404, "NOT_FOUND", "models/x is not found for API version v1beta"),
     PS_FAULT_MODEL_NOT_FOUND, 0, NULL},
    {404, ERROR(404, "NOT_FOUND", "no such file"), PS_FAULT_UPSTREAM_REFUSED, 0, NULL},
    {402, ERROR(402, "X", "pay"), PS_FAULT_QUOTA, 0, NULL},
    {429, ERROR(429, "RESOURCE_EXHAUSTED", "slow"), PS_FAULT_RATE_LIMITED, 0, "slow"},
    {429, DETAILED(429, "RESOURCE_EXHAUSTED", RETRY("30s")), PS_FAULT_RATE_LIMITED, 30000, NULL},
    {429, DETAILED(429, "RESOURCE_EXHAUSTED", QUOTA("PerMinute") "," RETRY("0.25s")),
     PS_FAULT_RATE_LIMITED, 250, NULL},
    {429, DETAILED(429, "RESOURCE_EXHAUSTED", RETRY("-1s")), PS_FAULT_RATE_LIMITED, 0, NULL},
    {429, DETAILED(429, "RESOURCE_EXHAUSTED", RETRY("1e300s")), PS_FAULT_RATE_LIMITED, 86400000,
     NULL},
    {429,
     DETAILED(429, "RESOURCE_EXHAUSTED",
              QUOTA("GenerateRequestsPerDayPerProjectPerModel") "," RETRY("30s")),
     PS_FAULT_QUOTA, 0, NULL},
    {499, ERROR(499, "CANCELLED", "x"), PS_FAULT_UPSTREAM_ERROR, 0, NULL},
    {500, ERROR(500, "INTERNAL", "x"), PS_FAULT_UPSTREAM_ERROR, 0, "x"},
    {503, ERROR(503, "UNAVAILABLE", "x"), PS_FAULT_UPSTREAM_OVERLOADED, 0, NULL},
    {504, ERROR(504, "DEADLINE_EXCEEDED", "x"), PS_FAULT_UPSTREAM_TIMEOUT, 0, NULL},
    {400, "[" ERROR(400, "INVALID_ARGUMENT", "in an array") "]", PS_FAULT_BAD_FIELD, 0,
     "in an array"},
    {503, "<html>", PS_FAULT_UPSTREAM_OVERLOADED, 0, "The provider answered with status 503."},
    {500, "", PS_FAULT_UPSTREAM_ERROR, 0, NULL},
    {500, "{\"error\":7}", PS_FAULT_UPSTREAM_ERROR, 0, NULL},
    {500, "{\"error\":\"odd\"}", PS_FAULT_UPSTREAM_ERROR, 0, "odd"},
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_fault fault = {0};

        ps_dialect_fault(ps_dialect_find("gemini"), rows[i].status, ps_slice_cstr(rows[i].body),
                         &fault);
        if (fault.kind != rows[i].kind || fault.retry_after_ms != rows[i].retry_ms ||
            (rows[i].message != NULL && strcmp(fault.message, rows[i].message) != 0)) {
            fail_msg("%d %s: found %s %lld %s", rows[i].status, rows[i].body,
                     ps_fault_name(fault.kind), (long long)fault.retry_after_ms, fault.message);
        }
        assert_null(strstr(fault.message, "AIza"));
        assert_int_equal(fault.no_retry, fault.kind == PS_FAULT_QUOTA);
    }
}

static void on_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    struct ps_buf *out = arg;

    assert_true(object.len > 0 && object.ptr[0] == '{');
    ps_buf_slice(out, id);
    ps_buf_byte(out, ';');
}

static void test_models(void **state)
{
    static const struct {
        const char *body;
        const char *expected; /* NULL: no list */
    } lists[] = {
        {" {\"models\":[{\"name\":\"models/gemini-x\",\"version\":\"1\"},{\"name\":\"tunedModels/"
         "y\"},{\"name\":7},{}],\"nextPageToken\":\"t\"} \n",
         "gemini-x;tunedModels/y;"},
        {"{\"models\":[]}", ""},
        {"{}", NULL},
        {"{\"models\":{}}", NULL},
        {"{\"models\":[{\"name\":\"models/a\"}", NULL},
        {"", NULL},
        {"7", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct ps_buf out;
        int rc;

        ps_buf_init(&out, 4096);
        rc = ps_dialect_models(ps_dialect_find("gemini"), ps_slice_cstr(lists[i].body), on_model,
                               &out);
        assert_int_equal(rc, lists[i].expected != NULL ? 0 : -1);
        if (!ps_slice_eq_cstr(ps_buf_view(&out),
                              lists[i].expected != NULL ? lists[i].expected : "")) {
            fail_msg("%s: found %.*s", lists[i].body, (int)out.len, out.ptr);
        }
        ps_buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_models),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
