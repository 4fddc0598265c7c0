/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"--1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"01", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {"1.0", false, 0},
        {"1_000", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t value = 0;
        if (ps_config_parse_int(ps_slice_cstr(rows[i].text), &value) != rows[i].ok ||
            value != rows[i].value) {
            fail_msg("%s: %lld", rows[i].text, (long long)value);
        }
    }
    uint64_t big = 0;
    assert_true(ps_config_parse_uint(PS_SLICE_LIT("18446744073709551615"), &big));
    assert_true(big == UINT64_MAX);
    assert_false(ps_config_parse_uint(PS_SLICE_LIT("-1"), &big));
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {
        {"0", true, 0},
        {"1048576", true, 1048576},
        {"32KiB", true, 32768},
        {"1MiB", true, 1048576},
        {"2GiB", true, UINT64_C(2147483648)},
        {"17179869183GiB", true, UINT64_C(18446744072635809792)},
        {"17179869184GiB", false, 0},
        {"32kb", false, 0},
        {"32KB", false, 0},
        {"32K", false, 0},
        {"32 KiB", false, 0},
        {"KiB", false, 0},
        {"1.5MiB", false, 0},
        {"-1KiB", false, 0},
        {"", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 0;
        if (ps_config_parse_size(ps_slice_cstr(rows[i].text), &value) != rows[i].ok ||
            value != rows[i].value) {
            fail_msg("%s: %llu", rows[i].text, (unsigned long long)value);
        }
    }
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"250ms", true, 250},
        {"10s", true, 10000},
        {"5m", true, 300000},
        {"2h", true, 7200000},
        {"0s", true, 0},
        {"10", false, 0},
        {"10 s", false, 0},
        {"10S", false, 0},
        {"1d", false, 0},
        {"ms", false, 0},
        {"s", false, 0},
        {"-1s", false, 0},
        {"1.5s", false, 0},
        {"", false, 0},
        {"9223372036854775807ms", true, INT64_MAX},
        {"9223372036854775807s", false, 0},
        {"2562047788015h", true, INT64_C(9223372036854000000)},
        {"2562047788016h", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t value = 0;
        if (ps_config_parse_time(ps_slice_cstr(rows[i].text), &value) != rows[i].ok ||
            value != rows[i].value) {
            fail_msg("%s: %lld", rows[i].text, (long long)value);
        }
    }
}

static void test_formats_are_read_back(void **state)
{
    static const uint64_t sizes[] = {
        0, 1, 1023, 1024, 1536, 1048576, UINT64_C(209715200), UINT64_C(1) << 42};
    static const int64_t times[] = {0,     1,      999,     1000,    1500,     60000,
                                    75000, 600000, 3600000, 5400000, 604800000};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct ps_buf buf;
        uint64_t value = 1;
        ps_buf_init(&buf, 64);
        ps_config_format_size(sizes[i], &buf);
        assert_true(ps_config_parse_size(ps_buf_view(&buf), &value));
        assert_true(value == sizes[i]);
        ps_buf_deinit(&buf);
    }
    for (size_t i = 0; i < COUNT(times); i++) {
        struct ps_buf buf;
        int64_t value = -1;
        ps_buf_init(&buf, 64);
        ps_config_format_time(times[i], &buf);
        assert_true(ps_config_parse_time(ps_buf_view(&buf), &value));
        assert_int_equal(value, times[i]);
        ps_buf_deinit(&buf);
    }
}

static void test_words(void **state)
{
    static const char *const choices[] = {"one", "two", NULL};
    bool flag = false;
    int choice = -1;
    (void)state;
    assert_true(ps_config_parse_bool(PS_SLICE_LIT("true"), &flag) && flag);
    assert_true(ps_config_parse_bool(PS_SLICE_LIT("false"), &flag) && !flag);
    assert_false(ps_config_parse_bool(PS_SLICE_LIT("yes"), &flag));
    assert_false(ps_config_parse_bool(PS_SLICE_LIT("True"), &flag));
    assert_true(ps_config_parse_choice(PS_SLICE_LIT("two"), choices, &choice));
    assert_int_equal(choice, 1);
    assert_false(ps_config_parse_choice(PS_SLICE_LIT("tw"), choices, &choice));
    assert_false(ps_config_parse_choice(PS_SLICE_LIT(""), choices, &choice));
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        int port;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:8080", "127.0.0.1", 8080, true},
        {"127.9.8.7:1", "127.9.8.7", 1, true},
        {"localhost:0", "localhost", 0, true},
        {"LOCALHOST:80", "LOCALHOST", 80, true},
        {"localhost.example.com:80", "localhost.example.com", 80, false},
        {"[::1]:8080", "::1", 8080, true},
        {"[0:0:0:0:0:0:0:1]:80", "0:0:0:0:0:0:0:1", 80, true},
        {"[::]:65535", "::", 65535, false},
        {"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, false},
        {"0.0.0.0:80", "0.0.0.0", 80, false},
        {"10.0.0.5:80", "10.0.0.5", 80, false},
        {"gpu_box-1.example:80", "gpu_box-1.example", 80, false},
        {"128.0.0.1:80", "128.0.0.1", 80, false},
        {"127.0.0.1", NULL, 0, false},
        {"127.0.0.1:", NULL, 0, false},
        {"127.0.0.1:65536", NULL, 0, false},
        {"127.0.0.1:-1", NULL, 0, false},
        {"127.0.0.1:080", NULL, 0, false},
        {"127.1:80", NULL, 0, false},
        {"256.0.0.1:80", NULL, 0, false},
        {":8080", NULL, 0, false},
        {"8080", NULL, 0, false},
        {"*:8080", NULL, 0, false},
        {"::1:8080", NULL, 0, false},
        {"[::1]", NULL, 0, false},
        {"[::1]8080", NULL, 0, false},
        {"[::1:8080", NULL, 0, false},
        {"[127.0.0.1]:80", NULL, 0, false},
        {"[]:80", NULL, 0, false},
        {"http://h:80", NULL, 0, false},
        {"a b:80", NULL, 0, false},
        {"-a:80", NULL, 0, false},
        {"unix:", NULL, 0, false},
        {"", NULL, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ps_config_address address = {.port = 9};
        const char *expected = ps_config_parse_address(ps_slice_cstr(rows[i].text), &address);
        bool ok = rows[i].host == NULL
                      ? expected != NULL
                      : expected == NULL && ps_slice_eq_cstr(address.host, rows[i].host) &&
                            address.port == rows[i].port && address.is_loopback == rows[i].loopback;
        if (!ok) {
            fail_msg("%s: %s", rows[i].text, expected != NULL ? expected : "taken");
        }
    }
    struct ps_config_address address;
    assert_null(ps_config_parse_address(PS_SLICE_LIT("unix:/run/p.sock"), &address));
    assert_true(address.is_unix && address.is_loopback &&
                ps_slice_eq_cstr(address.path, "/run/p.sock"));
}

static void test_networks(void **state)
{
    static const struct {
        const char *text;
        int bits; /* -1: refused */
        uint8_t last;
    } rows[] = {
        {"10.0.0.0/8", 104, 0},
        {"10.1.2.3", 128, 3},
        {"10.1.2.3/32", 128, 3},
        {"0.0.0.0/0", 96, 0},
        {"::1", 128, 1},
        {"fd00::/8", 8, 0},
        {"::/0", 0, 0},
        {"2001:db8::/32", 32, 0},
        {"unix", 0, 0},
        {"10.0.0.1/8", -1, 0},
        {"10.0.0.0/33", -1, 0},
        {"fd00::/129", -1, 0},
        {"fd00::1/8", -1, 0},
        {"10.0.0.0/", -1, 0},
        {"10.0.0.0/-1", -1, 0},
        {"10.0.0/8", -1, 0},
        {"example.com", -1, 0},
        {"/8", -1, 0},
        {"", -1, 0},
        {"10.0.0.0/8/8", -1, 0},
        {"10.0.0.128/25", 121, 128},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ps_config_net net;
        const char *expected = ps_config_parse_net(ps_slice_cstr(rows[i].text), &net);
        bool ok = rows[i].bits < 0 ? expected != NULL
                                   : expected == NULL && net.bits == rows[i].bits &&
                                         net.address[15] == rows[i].last;
        if (!ok) {
            fail_msg("%s: %s", rows[i].text, expected != NULL ? expected : "taken");
        }
    }
}

static void test_urls(void **state)
{
    static const struct {
        const char *text;
        enum ps_config_url_kind kind;
        const char *taken; /* NULL: refused */
    } rows[] = {
        {"https://api.openai.com/v1", PS_URL_BASE, "https://api.openai.com/v1"},
        {"https://api.openai.com/v1/", PS_URL_BASE, "https://api.openai.com/v1"},
        {"https://api.openai.com///", PS_URL_BASE, "https://api.openai.com"},
        {"http://10.0.0.5:8000", PS_URL_BASE, "http://10.0.0.5:8000"},
        {"http://[::1]:8000/v1", PS_URL_BASE, "http://[::1]:8000/v1"},
        {"HTTP://host", PS_URL_BASE, "HTTP://host"},
        {"http://h/a%20b", PS_URL_BASE, "http://h/a%20b"},
        {"http://h/a%2", PS_URL_BASE, NULL},
        {"http://h/a b", PS_URL_BASE, NULL},
        {"http://h/a?b", PS_URL_BASE, NULL},
        {"http://h/a#b", PS_URL_BASE, NULL},
        {"http://h?x", PS_URL_BASE, NULL},
        {"http://u:p@h/", PS_URL_BASE, NULL},
        {"http://h:0/", PS_URL_BASE, NULL},
        {"http://h:/", PS_URL_BASE, NULL},
        {"http://h:65536/", PS_URL_BASE, NULL},
        {"http:///v1", PS_URL_BASE, NULL},
        {"http://", PS_URL_BASE, NULL},
        {"http:/h", PS_URL_BASE, NULL},
        {"ftp://h", PS_URL_BASE, NULL},
        {"h/v1", PS_URL_BASE, NULL},
        {"http://1.2.3/", PS_URL_BASE, NULL},
        {"http://h\\a", PS_URL_BASE, NULL},
        {"", PS_URL_BASE, NULL},
        {"http://proxy:3128", PS_URL_PROXY, "http://proxy:3128"},
        {"http://u:p%40@proxy:3128/", PS_URL_PROXY, "http://u:p%40@proxy:3128"},
        {"socks5h://proxy:1080", PS_URL_PROXY, "socks5h://proxy:1080"},
        {"http://proxy/path", PS_URL_PROXY, NULL},
        {"http://@proxy", PS_URL_PROXY, NULL},
        {"proxy:3128", PS_URL_PROXY, NULL},
        {"https://app.example.com", PS_URL_ORIGIN, "https://app.example.com"},
        {"tauri://localhost", PS_URL_ORIGIN, "tauri://localhost"},
        {"https://app.example.com/", PS_URL_ORIGIN, NULL},
        {"https://app.example.com/x", PS_URL_ORIGIN, NULL},
        {"https://u@app.example.com", PS_URL_ORIGIN, NULL},
        {"*", PS_URL_ORIGIN, NULL},
        {"null", PS_URL_ORIGIN, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = 0;
        const char *expected = ps_config_parse_url(ps_slice_cstr(rows[i].text), rows[i].kind, &len);
        bool ok =
            rows[i].taken == NULL
                ? expected != NULL
                : expected == NULL && ps_slice_eq_cstr(ps_slice(rows[i].text, len), rows[i].taken);
        if (!ok) {
            fail_msg("%s: %s", rows[i].text, expected != NULL ? expected : "taken");
        }
    }
}

static void test_names(void **state)
{
    typedef const char *(*parse_fn)(struct ps_slice text);
    static const struct {
        parse_fn parse;
        const char *text;
        bool ok;
    } rows[] = {
        {ps_config_parse_provider_name, "gpu-box_1.a", true},
        {ps_config_parse_provider_name, "a/b", false},
        {ps_config_parse_provider_name, "a b", false},
        {ps_config_parse_provider_name, "", false},
        {ps_config_parse_provider_name, "\xc3\xa9", false},
        {ps_config_parse_model_name, "meta/llama:70b", true},
        {ps_config_parse_model_name, "a b", false},
        {ps_config_parse_model_name, "", false},
        {ps_config_parse_label, "alice@example", true},
        {ps_config_parse_label, "a/b", false},
        {ps_config_parse_header_name, "X-A", true},
        {ps_config_parse_header_name, "X A", false},
        {ps_config_parse_header_name, "X:", false},
        {ps_config_parse_header_name, "", false},
        {ps_config_parse_header_value, "a\tb", true},
        {ps_config_parse_header_value, "", true},
        {ps_config_parse_header_value, "a\r\nb: c", false},
        {ps_config_parse_header_value, "a\x7f", false},
        {ps_config_parse_header_value, " a", false},
        {ps_config_parse_secret, "sk-1 2", true},
        {ps_config_parse_secret, "sk-1\n", false},
        {ps_config_parse_secret, "sk-1 ", false},
        {ps_config_parse_secret, "sk\x01", false},
        {ps_config_parse_signing_secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", true},
        {ps_config_parse_signing_secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", false},
        {ps_config_parse_signing_secret, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", false},
        {ps_config_parse_signing_secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI ", false},
        {ps_config_parse_signing_secret, "whsec_", false},
        {ps_config_parse_path, "a/b c", true},
        {ps_config_parse_path, "", false},
        {ps_config_parse_path, "a\nb", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if ((rows[i].parse(ps_slice_cstr(rows[i].text)) == NULL) != rows[i].ok) {
            fail_msg("row %zu: %s", i, rows[i].text);
        }
    }
    assert_non_null(ps_config_parse_header_value(ps_slice("a\0b", 3)));
    char longest[PS_CONFIG_SECRET_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_null(ps_config_parse_secret(ps_slice(longest, PS_CONFIG_SECRET_MAX)));
    char signing[6 + 88 + 1] = "whsec_";
    memset(signing + 6, 'A', 88);
    memcpy(signing + 6 + 86, "==", 2);
    assert_null(ps_config_parse_signing_secret(ps_slice_cstr(signing)));
    memcpy(signing + 6 + 86, "A=", 2);
    assert_non_null(ps_config_parse_signing_secret(ps_slice_cstr(signing)));
    assert_non_null(ps_config_parse_secret(ps_slice(longest, sizeof longest)));
    assert_null(ps_config_parse_provider_name(ps_slice(longest, 64)));
    assert_non_null(ps_config_parse_provider_name(ps_slice(longest, 65)));
    assert_null(ps_config_parse_model_name(ps_slice(longest, 128)));
    assert_non_null(ps_config_parse_model_name(ps_slice(longest, 129)));
}

static void put_hex(const uint8_t hash[PS_KEY_HASH], char out[2 * PS_KEY_HASH + 1])
{
    for (size_t i = 0; i < PS_KEY_HASH; i++) {
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    }
}

static void test_sha256(void **state)
{
    char hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    char again[sizeof hex];
    uint8_t hash[PS_KEY_HASH];
    (void)state;
    assert_true(ps_config_parse_sha256(ps_slice_cstr(hex), hash));
    put_hex(hash, again);
    assert_string_equal(again, hex);
    assert_false(ps_config_parse_sha256(ps_slice(hex, 63), hash));
    hex[5] = 'g';
    assert_false(ps_config_parse_sha256(ps_slice_cstr(hex), hash));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),    cmocka_unit_test(test_formats_are_read_back),
        cmocka_unit_test(test_words),    cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_networks), cmocka_unit_test(test_urls),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
