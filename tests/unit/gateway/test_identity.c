/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/gateway/exchange.h"
#include "penstock/gateway/identity.h"

#include <openssl/sha.h>

#include <string.h>

static struct ps_config_key keys[2];
static struct ps_config config;

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    keys[0] = (struct ps_config_key){.name = "alice", .tenant = "team"};
    keys[1] = (struct ps_config_key){.name = "bob", .tenant = "bob"};
    (void)SHA256((const unsigned char *)"key-alice", 9, keys[0].sha256);
    (void)SHA256((const unsigned char *)"key-bob", 7, keys[1].sha256);
    config.auth = PS_AUTH_KEYS;
    config.keys = keys;
    config.key_count = 2;
    return 0;
}

static void a_known_key_names_its_tenant(void **state)
{
    (void)state;
    struct ps_identity who;
    assert_true(ps_identify(&config, PS_SLICE_LIT("key-alice"), &who));
    assert_true(ps_slice_eq_cstr(who.tenant, "team"));
    assert_true(ps_slice_eq_cstr(who.key, "alice"));
    assert_true(ps_identify(&config, PS_SLICE_LIT("key-bob"), &who));
    assert_true(ps_slice_eq_cstr(who.tenant, "bob"));
}

static void anything_else_is_nobody(void **state)
{
    (void)state;
    const char *wrong[] = {"", "key-alic", "key-alice ", "KEY-ALICE", "key-bobkey-bob", "alice"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct ps_identity who;
        assert_false(ps_identify(&config, ps_slice_cstr(wrong[i]), &who));
    }
}

static void an_empty_key_is_nobody_even_when_its_hash_is_configured(void **state)
{
    (void)state;
    struct ps_identity who;
    (void)SHA256((const unsigned char *)"", 0, keys[1].sha256);
    assert_false(ps_identify(&config, PS_SLICE_NONE, &who));
}

static void without_keys_everybody_is_the_default_tenant(void **state)
{
    (void)state;
    struct ps_identity who;
    config.auth = PS_AUTH_NONE;
    assert_true(ps_identify(&config, PS_SLICE_NONE, &who));
    assert_true(ps_slice_eq_cstr(who.tenant, "default"));
    config.auth = PS_AUTH_UNSET;
    assert_true(ps_identify(&config, PS_SLICE_LIT("whatever"), &who));
}

static void the_allow_list_has_two_directions(void **state)
{
    (void)state;
    const char *up[] = {"openai-beta", "OpenAI-Organization", "anthropic-version"};
    const char *down[] = {"retry-after", "X-RateLimit-Remaining-Tokens", "openai-processing-ms",
                          "Content-Encoding"};
    const char *neither[] = {"authorization",    "x-api-key",
                             "api-key",          "cookie",
                             "set-cookie",       "host",
                             "connection",       "server",
                             "x-forwarded-for",  "proxy-authorization",
                             "expect",           "transfer-encoding",
                             "x-stainless-lang", "openai-betas",
                             "retry-afte",       "traceparent"};
    for (size_t i = 0; i < sizeof(up) / sizeof(up[0]); i++) {
        assert_true(ps_header_goes_up(ps_slice_cstr(up[i])));
        assert_false(ps_header_comes_down(ps_slice_cstr(up[i])));
    }
    for (size_t i = 0; i < sizeof(down) / sizeof(down[0]); i++) {
        assert_true(ps_header_comes_down(ps_slice_cstr(down[i])));
        assert_false(ps_header_goes_up(ps_slice_cstr(down[i])));
    }
    for (size_t i = 0; i < sizeof(neither) / sizeof(neither[0]); i++) {
        assert_false(ps_header_goes_up(ps_slice_cstr(neither[i])));
        assert_false(ps_header_comes_down(ps_slice_cstr(neither[i])));
    }
}

static void limits_are_called_as_the_client_calls_them(void **state)
{
    (void)state;
    static const struct {
        enum ps_family client;
        const char *name;
        const char *called; /* "": not told */
    } cases[] = {
        {PS_FAMILY_OPENAI, "anthropic-ratelimit-requests-limit", "x-ratelimit-limit-requests"},
        {PS_FAMILY_GENERATE, "Anthropic-RateLimit-Tokens-Remaining",
         "x-ratelimit-remaining-tokens"},
        {PS_FAMILY_OPENAI, "anthropic-ratelimit-tokens-reset", ""},
        {PS_FAMILY_ANTHROPIC, "x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit"},
        {PS_FAMILY_ANTHROPIC, "x-ratelimit-reset-tokens", ""},
        {PS_FAMILY_ANTHROPIC, "anthropic-ratelimit-tokens-reset",
         "anthropic-ratelimit-tokens-reset"},
        {PS_FAMILY_OPENAI, "x-ratelimit-reset-tokens", "x-ratelimit-reset-tokens"},
        {PS_FAMILY_ANTHROPIC, "retry-after", "retry-after"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ps_slice called = ps_header_called(cases[i].client, ps_slice_cstr(cases[i].name));
        assert_true(ps_slice_eq_cstr(called, cases[i].called));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_known_key_names_its_tenant, set_up),
        cmocka_unit_test_setup(anything_else_is_nobody, set_up),
        cmocka_unit_test_setup(an_empty_key_is_nobody_even_when_its_hash_is_configured, set_up),
        cmocka_unit_test_setup(without_keys_everybody_is_the_default_tenant, set_up),
        cmocka_unit_test(the_allow_list_has_two_directions),
        cmocka_unit_test(limits_are_called_as_the_client_calls_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
