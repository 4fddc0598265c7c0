/* SPDX-License-Identifier: Apache-2.0 */
#include "hook_priv.h"
#include "testing.h"

#include "penstock/base/json_scan.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECRET       "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

static struct ps_config with_secret = {.webhook_secret = {.value = SECRET}};

static const struct {
    const char *url;
    const char *wrong; /* NULL: taken */
    const char *base;
    const char *host;
    const char *rest;
} urls[] = {
    {"http://example.com", NULL, "http://example.com", "example.com", ""},
    {"https://example.com/", NULL, "https://example.com", "example.com", "/"},
    {"HTTPS://Example.com:8443/a/b?c=d&e=%20", NULL, "HTTPS://Example.com:8443", "Example.com",
     "/a/b?c=d&e=%20"},
    {"http://example.com?x=1", NULL, "http://example.com", "example.com", "?x=1"},
    {"http://example.com/@a:b", NULL, "http://example.com", "example.com", "/@a:b"},
    {"http://[2606:4700::1111]:80/x", NULL, "http://[2606:4700::1111]:80", "2606:4700::1111", "/x"},
    {"http://[2606:4700::1111]", NULL, "http://[2606:4700::1111]", "2606:4700::1111", ""},
    {"http://8.8.8.8/x", NULL, "http://8.8.8.8", "8.8.8.8", "/x"},
    {"http://a_b.example.com./", NULL, "http://a_b.example.com.", "a_b.example.com.", "/"},

    {"", "does not begin", NULL, NULL, NULL},
    {"http://", "does not begin", NULL, NULL, NULL},
    {"http:///x", "no host", NULL, NULL, NULL},
    {"ftp://example.com", "does not begin", NULL, NULL, NULL},
    {"file:///etc/passwd", "does not begin", NULL, NULL, NULL},
    {"gopher://example.com", "does not begin", NULL, NULL, NULL},
    {"//example.com", "does not begin", NULL, NULL, NULL},
    {"example.com", "does not begin", NULL, NULL, NULL},
    {" http://example.com", "must be encoded", NULL, NULL, NULL},
    {"http://example.com/a b", "must be encoded", NULL, NULL, NULL},
    {"http://example.com/\r\nx: y", "must be encoded", NULL, NULL, NULL},
    {"http://example.com\\@127.0.0.1", "must be encoded", NULL, NULL, NULL},
    {"http://ex\xc3\xa4mple.com", "must be encoded", NULL, NULL, NULL},
    {"http://example.com/#x", "fragment", NULL, NULL, NULL},
    {"http://user@example.com/", "user name", NULL, NULL, NULL},
    {"http://user:pass@example.com/", "user name", NULL, NULL, NULL},
    {"http://example.com:0/", "port", NULL, NULL, NULL},
    {"http://example.com:65536/", "port", NULL, NULL, NULL},
    {"http://example.com:080000/", "port", NULL, NULL, NULL},
    {"http://example.com:/", "port", NULL, NULL, NULL},
    {"http://example.com:8a/", "port", NULL, NULL, NULL},
    {"http://example.com:80:80/", "port", NULL, NULL, NULL},
    {"http://exa%6dple.com/", "no host", NULL, NULL, NULL},
    {"http://.example.com/", "no host", NULL, NULL, NULL},
    {"http://a..b/", "no host", NULL, NULL, NULL},
    {"http://[::1/", "no host", NULL, NULL, NULL},
    {"http://[::1]x/", "no host", NULL, NULL, NULL},
    {"http://[fe80::1%25eth0]/", "no host", NULL, NULL, NULL},
    {"http://[example.com]/", "no host", NULL, NULL, NULL},
    {"http://?x", "no host", NULL, NULL, NULL},
};

static bool same(struct ps_slice a, const char *b)
{
    return ps_slice_eq(a, ps_slice_cstr(b));
}

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        struct ps_hook_url parsed;
        struct ps_fault fault = {.kind = PS_FAULT_NONE};
        const char *wrong = ps_hook_url_parse(ps_slice_cstr(urls[i].url), &parsed);
        bool taken = ps_hooks_accept(&with_secret, ps_slice_cstr(urls[i].url), &fault);
        if (urls[i].wrong != NULL) {
            if (wrong == NULL || strstr(wrong, urls[i].wrong) == NULL || taken) {
                fail_msg("%s: %s", urls[i].url, wrong != NULL ? wrong : "taken");
            }
            assert_int_equal(ps_fault_status(&fault), 400);
            assert_string_equal(fault.param, "webhook");
        } else if (wrong != NULL || !taken || !same(parsed.base, urls[i].base) ||
                   !same(parsed.host, urls[i].host) || !same(parsed.rest, urls[i].rest)) {
            fail_msg("%s: %s", urls[i].url, wrong != NULL ? wrong : "taken apart wrongly");
        }
    }
}

static void test_length(void **state)
{
    char url[PS_HOOK_URL_MAX + 2];
    struct ps_hook_url parsed;

    (void)state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "http://h/", 9);
    assert_null(ps_hook_url_parse(ps_slice(url, PS_HOOK_URL_MAX), &parsed));
    assert_non_null(ps_hook_url_parse(ps_slice(url, PS_HOOK_URL_MAX + 1), &parsed));
}

static void test_private_and_secret(void **state)
{
    static const char *const inside[] = {
        "http://127.0.0.1/",  "http://localhost:80/",   "http://[::1]/",    "http://10.0.0.1/x",
        "http://2130706433/", "http://169.254.169.254", "http://0x7f.1:8/", "http://a.localhost/",
    };
    struct ps_config private_too = {.webhook_secret = {.value = SECRET}, .webhook_private = true};
    struct ps_config no_secret = {.webhook_private = true};

    (void)state;
    for (size_t i = 0; i < COUNT(inside); i++) {
        struct ps_fault fault = {.kind = PS_FAULT_NONE};
        struct ps_slice url = ps_slice_cstr(inside[i]);
        assert_false(ps_hooks_accept(&with_secret, url, &fault));
        assert_non_null(strstr(fault.message, "not public"));
        assert_true(ps_hooks_accept(&private_too, url, &fault));
        assert_false(ps_hooks_accept(&no_secret, url, &fault));
        assert_non_null(strstr(fault.message, "jobs.webhook_secret"));
    }
}

/* Made with the HMAC of Python's standard library. */
static void test_signature(void **state)
{
    static const struct {
        const char *secret;
        const char *id;
        int64_t when;
        const char *payload;
        const char *signature;
    } rows[] = {
        {"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "job_1", 1790000000, "{\"a\":1}",
         "v1,DfogUt2LmzbersZgQAzaTTvDcSLX4AllqC7VlZ4gOS8="},
        {"whsec_"
         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
         "msg", 0, "", "v1,TaoS0RhpP+NIYX6UxyUcACC3NvapEIjhTfXqA/3L6B8="},
        {"whsec_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=", "batch_0abc", 2147483648,
         "xxxxxxxxxx", "v1,FzRD2+05ADGVuDb3C0qjA1mIs1Q0PoQKAxXrqYnpZig="},
    };
    char signature[PS_HOOK_SIGNATURE];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(ps_hook_sign(rows[i].secret, ps_slice_cstr(rows[i].id), rows[i].when,
                                 ps_slice_cstr(rows[i].payload), signature));
        assert_string_equal(signature, rows[i].signature);
    }
    assert_false(ps_hook_sign("whsec_", PS_SLICE_LIT("a"), 1, PS_SLICE_LIT("b"), signature));
    assert_false(ps_hook_sign("whsec_*", PS_SLICE_LIT("a"), 1, PS_SLICE_LIT("b"), signature));
    assert_false(ps_hook_sign("MDEy", PS_SLICE_LIT("a"), 1, PS_SLICE_LIT("b"), signature));
}

static void check_json(const struct ps_buf *buf, const char *expected)
{
    struct ps_json_limits limits = {.depth = 8, .nodes = 100};

    assert_false(buf->failed);
    assert_int_equal(buf->len, strlen(expected));
    assert_memory_equal(buf->ptr, expected, buf->len);
    assert_int_equal(ps_json_scan_text(ps_buf_view(buf), NULL, &limits, NULL, NULL), PS_JSON_OK);
}

static void test_payloads(void **state)
{
    struct ps_store_batch batch = {
        .id = {"batch_1"},
        .total = 3,
        .completed = 2,
        .failed = 1,
        .output_file = {"file-1"},
    };
    struct ps_id id = {"job_1"};
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4096);
    ps_hooks_job_payload(&buf, &id, PS_JOB_COMPLETED, PS_SLICE_NONE, 1790000000007);
    check_json(&buf, "{\"type\":\"job.completed\",\"timestamp\":\"2026-09-21T14:13:20.007Z\","
                     "\"data\":{\"id\":\"job_1\",\"status\":\"completed\"}}");
    ps_buf_reset(&buf);
    ps_hooks_job_payload(&buf, &id, PS_JOB_FAILED, PS_SLICE_LIT("{\"code\":\"x\"}"), 0);
    check_json(&buf,
               "{\"type\":\"job.failed\",\"timestamp\":\"1970-01-01T00:00:00.000Z\","
               "\"data\":{\"id\":\"job_1\",\"status\":\"failed\",\"error\":{\"code\":\"x\"}}}");
    ps_buf_reset(&buf);
    ps_hooks_batch_payload(&buf, &batch, PS_BATCH_EXPIRED, 0);
    check_json(&buf, "{\"type\":\"batch.expired\",\"timestamp\":\"1970-01-01T00:00:00.000Z\","
                     "\"data\":{\"id\":\"batch_1\",\"status\":\"expired\",\"request_counts\":"
                     "{\"total\":3,\"completed\":2,\"failed\":1},\"output_file_id\":\"file-1\","
                     "\"error_file_id\":null}}");
    ps_buf_deinit(&buf);
    assert_true(same(ps_hooks_job_type(PS_JOB_CANCELLED), "job.cancelled"));
    assert_true(same(ps_hooks_job_type(PS_JOB_EXPIRED), "job.expired"));
    assert_int_equal(ps_hooks_job_type(PS_JOB_RUNNING).len, 0);
    assert_true(same(ps_hooks_batch_type(PS_BATCH_COMPLETED), "batch.completed"));
    assert_int_equal(ps_hooks_batch_type(PS_BATCH_FINALIZING).len, 0);
}

static void test_schedule(void **state)
{
    int64_t before = 0;
    int64_t sum = 0;
    unsigned attempt = 1;

    (void)state;
    assert_int_equal(ps_hook_delay_ms(0), -1);
    assert_int_equal(ps_hook_delay_ms(1), 5000);
    assert_int_equal(ps_hook_delay_ms(2), 300000);
    for (; ps_hook_delay_ms(attempt) > 0; attempt++) {
        assert_true(ps_hook_delay_ms(attempt) > before);
        before = ps_hook_delay_ms(attempt);
        sum += before;
    }
    assert_int_equal(attempt, 10);
    assert_true(sum > INT64_C(3) * 86400000 && sum < INT64_C(4) * 86400000);
    assert_int_equal(ps_hook_delay_ms(attempt), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_private_and_secret),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
