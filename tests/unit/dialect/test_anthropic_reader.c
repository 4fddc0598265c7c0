/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/* Requests of Anthropic's clients to an upstream of the family: checked, and relayed byte for byte
 * but for the model's name. Each body is cut at every byte. */

#define ASK "\"max_tokens\":8,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

struct row {
    enum ps_operation operation;
    const char *body;
    const char *expected; /* what goes out with the model "t"; NULL: refused */
    enum ps_fault_kind kind;
    const char *param;
    bool stream;
};

static const struct row rows[] = {
    {PS_OP_CHAT, "{\"model\":\"claude-x\",\"zzz\":{\"a\":1e400}," ASK ",\"stream\":true}",
     "{\"model\":\"t\",\"zzz\":{\"a\":1e400}," ASK ",\"stream\":true}", 0, NULL, true},
    {PS_OP_CHAT, " { " ASK ", \"thinking\" : null }",
     " {\"model\":\"t\", " ASK ", \"thinking\" : null }", 0, NULL, false},
    {PS_OP_CHAT, "{\"model\":\"t\"," ASK ",\"stream\":false}",
     "{\"model\":\"t\"," ASK ",\"stream\":false}", 0, NULL, false},
    /* a prompt that only warms the cache; members that this gateway has never heard of */
    {PS_OP_CHAT,
     "{\"max_tokens\":0,\"messages\":[{\"role\":\"narrator\",\"content\":7}],\"model\":\"a\","
     "\"tools\":[{\"type\":\"x_2030\"}]}",
     "{\"max_tokens\":0,\"messages\":[{\"role\":\"narrator\",\"content\":7}],\"model\":\"t\","
     "\"tools\":[{\"type\":\"x_2030\"}]}",
     0, NULL, false},
    {PS_OP_COUNT_TOKENS, "{\"model\":\"a\",\"messages\":[{\"role\":\"user\"}],\"stream\":1}",
     "{\"model\":\"t\",\"messages\":[{\"role\":\"user\"}],\"stream\":1}", 0, NULL, false},
    {PS_OP_CHAT, "{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", NULL,
     PS_FAULT_MISSING_FIELD, "max_tokens", false},
    {PS_OP_CHAT, "{\"max_tokens\":8}", NULL, PS_FAULT_MISSING_FIELD, "messages", false},
    {PS_OP_COUNT_TOKENS, "{\"messages\":{}}", NULL, PS_FAULT_BAD_FIELD, "messages", false},
    {PS_OP_CHAT, "{\"max_tokens\":8,\"messages\":[]}", NULL, PS_FAULT_BAD_FIELD, "messages", false},
    {PS_OP_CHAT, "{\"max_tokens\":8,\"messages\":[{\"role\":\"user\"},{\"content\":\"\"}]}", NULL,
     PS_FAULT_BAD_FIELD, "messages[1].role", false},
    {PS_OP_CHAT, "{\"max_tokens\":-1," ASK "}", NULL, PS_FAULT_BAD_JSON, "max_tokens", false},
    {PS_OP_CHAT, "{\"max_tokens\":\"8\",\"messages\":[{\"role\":\"user\"}]}", NULL,
     PS_FAULT_BAD_FIELD, "max_tokens", false},
    {PS_OP_CHAT, "{" ASK ",\"stream\":\"yes\"}", NULL, PS_FAULT_BAD_FIELD, "stream", false},
    {PS_OP_CHAT, "{" ASK ",\"model\":null}", NULL, PS_FAULT_BAD_FIELD, "model", false},
    {PS_OP_CHAT, "{" ASK ",\"model\":\"a\",\"mod\\u0065l\":\"b\"}", NULL, PS_FAULT_BAD_JSON,
     "model", false},
    {PS_OP_CHAT, "{" ASK ",\"base_url\":\"http://x\"}", NULL, PS_FAULT_FORBIDDEN_FIELD, "base_url",
     false},
    {PS_OP_COUNT_TOKENS, "{" ASK ",\"api_key\":null}", NULL, PS_FAULT_FORBIDDEN_FIELD, "api_key",
     false},
    {PS_OP_CHAT, "[]", NULL, PS_FAULT_BAD_JSON, "", false},
    {PS_OP_CHAT, "{" ASK, NULL, PS_FAULT_BAD_JSON, "", false},
};

static void run_row(const struct row *row, const struct cut *cut)
{
    const struct ps_reader_options options = {.operation = row->operation};
    const struct ps_encode_options encode = {.model = PS_SLICE_LIT("t")};
    struct ps_encoded encoded;
    struct rig rig;
    char *text;
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_ANTHROPIC;
    rig.request.operation = row->operation;
    rig.request.query = PS_SLICE_LIT("beta=true");
    rc = rig_read(&rig, &options, ps_slice_cstr(row->body), cut);
    if (row->expected == NULL) {
        if (rc == 0 || rig.fault.kind != row->kind || strcmp(rig.fault.param, row->param) != 0) {
            fail_msg("%s: expected %s at %s, found %d %s at %s", row->body,
                     ps_fault_name(row->kind), row->param, rc, ps_fault_name(rig.fault.kind),
                     rig.fault.param);
        }
        rig_deinit(&rig);
        return;
    }
    if (rc != 0) {
        fail_msg("%s: %s", row->body, rig.fault.message);
    }
    assert_int_equal(rig.request.stream, row->stream);
    assert_int_equal(ps_dialect_encode(ps_dialect_find("anthropic"), &rig.request, &encode,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    text = rig_join(&encoded);
    assert_string_equal(text, row->expected);
    free(text);
    assert_true(encoded.relayed);
    assert_int_equal(encoded.stream, row->stream);
    assert_true(ps_slice_eq_cstr(encoded.path, row->operation == PS_OP_CHAT
                                                   ? "/v1/messages?beta=true"
                                                   : "/v1/messages/count_tokens?beta=true"));
    assert_int_equal(encoded.header_count, 1);
    assert_true(ps_slice_eq_cstr(encoded.headers[0].value, "2023-06-01"));
    rig_deinit(&rig);
}

static void relays_or_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_row(&rows[i], &(struct cut){.bytes = true});
        for (size_t at = 0; at < strlen(rows[i].body); at++) {
            run_row(&rows[i], &(struct cut){.at = at});
        }
    }
}

static void lists_models(void **state)
{
    static const struct ps_dialect_settings settings = {.api_version = PS_SLICE_INIT("2030-01-01")};
    const struct ps_encode_options options = {.base_path = PS_SLICE_LIT("/v1"),
                                              .settings = &settings};
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.request.family = PS_FAMILY_OPENAI;
    rig.request.operation = PS_OP_MODELS;
    assert_int_equal(ps_dialect_encode(ps_dialect_find("anthropic"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    assert_string_equal(encoded.method, "GET");
    assert_true(ps_slice_eq_cstr(encoded.path, "/models?limit=1000"));
    assert_true(ps_slice_eq_cstr(encoded.headers[0].value, "2030-01-01"));
    assert_false(encoded.has_body);
    rig_deinit(&rig);
}

static void refuses_queries_that_are_none(void **state)
{
    const struct ps_reader_options options = {.operation = PS_OP_CHAT};
    const struct ps_encode_options encode = {.model = PS_SLICE_LIT("t")};
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.request.family = PS_FAMILY_ANTHROPIC;
    rig.request.operation = PS_OP_CHAT;
    rig.request.query = PS_SLICE_LIT("a=b c");
    assert_int_equal(
        rig_read(&rig, &options, PS_SLICE_LIT("{" ASK "}"), &(struct cut){.bytes = true}), 0);
    assert_int_equal(ps_dialect_encode(ps_dialect_find("anthropic"), &rig.request, &encode,
                                       &rig.arena, &encoded, &rig.fault),
                     -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_NOT_FOUND);
    rig_deinit(&rig);
}

static void speaks(void **state)
{
    const struct ps_dialect *anthropic = ps_dialect_find("anthropic");
    const struct ps_dialect *openai = ps_dialect_find("openai");
    const char *header;
    const char *prefix;

    (void)state;
    assert_true(ps_dialect_speaks(anthropic, PS_FAMILY_ANTHROPIC, PS_OP_CHAT));
    assert_true(ps_dialect_speaks(anthropic, PS_FAMILY_ANTHROPIC, PS_OP_COUNT_TOKENS));
    assert_true(ps_dialect_speaks(anthropic, PS_FAMILY_OPENAI, PS_OP_CHAT));
    assert_true(ps_dialect_speaks(openai, PS_FAMILY_ANTHROPIC, PS_OP_CHAT));
    assert_true(ps_dialect_speaks(openai, PS_FAMILY_ANTHROPIC, PS_OP_COUNT_TOKENS));
    assert_false(
        ps_dialect_speaks(ps_dialect_find("sglang"), PS_FAMILY_ANTHROPIC, PS_OP_COUNT_TOKENS));
    assert_false(ps_dialect_speaks(anthropic, PS_FAMILY_OPENAI, PS_OP_EMBED));
    assert_false(ps_dialect_speaks(anthropic, PS_FAMILY_ANTHROPIC, PS_OP_PASS));
    ps_dialect_credential(anthropic, &header, &prefix);
    assert_string_equal(header, "x-api-key");
    assert_string_equal(prefix, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relays_or_refuses),
        cmocka_unit_test(lists_models),
        cmocka_unit_test(refuses_queries_that_are_none),
        cmocka_unit_test(speaks),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
