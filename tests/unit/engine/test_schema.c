/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"
#include "testing.h"

#include <string.h>

static const struct {
    const char *schema;
    const char *part; /* of the grammar */
} good[] = {
    {"{\"type\":\"string\"}", "s0 ::= string\n"},
    {"{\"type\":\"integer\",\"description\":\"how many\"}", "s0 ::= integer\n"},
    {"{}", "s0 ::= value\n"},
    {"{\"type\":\"object\"}", "s0 ::= object\n"},
    {"{\"enum\":[\"a\",1,null]}", "s0 ::= \"\\\"a\\\"\" | \"1\" | \"null\"\n"},
    {"{\"const\":{\"x\":true}}", "s0 ::= \"{\\\"x\\\":true}\"\n"},
    {"{\"type\":\"array\",\"items\":{\"type\":\"number\"}}",
     "s0 ::= \"[\" ws (s1 (ws \",\" ws s1){0,})? ws \"]\"\n"},
    {"{\"type\":\"array\",\"minItems\":2,\"maxItems\":3}", "(value (ws \",\" ws value){1,2}) ws"},
    {"{\"type\":\"array\",\"maxItems\":0}", "s0 ::= \"[\" ws \"]\"\n"},
    {"{\"type\":\"string\",\"maxLength\":5}", "s0 ::= \"\\\"\" char{0,5} \"\\\"\"\n"},
    {"{\"type\":[\"string\",\"null\"]}", "s0 ::= s1 | s2\n"},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "s0 ::= s1 | s2\n"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"a\"]}",
     "s0-first-0 ::= \"\\\"a\\\"\" \":\" ws s1 s0-rest-1\n"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"a\"]}",
     "s0-rest-1 ::= ws \",\" ws \"\\\"b\\\"\" \":\" ws s2 s0-rest-2 | s0-rest-2\n"},
    {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#/$defs/"
     "n\"}}}},\"$ref\":\"#/$defs/n\"}",
     "s0-first-0 ::= \"\\\"next\\\"\" \":\" ws s0 s0-rest-1 | s0-first-1\n"},
    {"{\"type\":\"object\",\"properties\":{\"we \\\"ird\\u0001\":true}}",
     "\"\\\"we \\\\\\\"ird\\\\u0001\\\"\" \":\" ws s1"},
};

static const struct {
    const char *schema;
    const char *word; /* in the message */
} bad[] = {
    {"{\"type\":\"string\",\"pattern\":\"a+\"}", "pattern"},
    {"{\"type\":\"integer\",\"minimum\":3}", "minimum"},
    {"{\"allOf\":[{}]}", "allOf"},
    {"{\"not\":{}}", "not"},
    {"{\"type\":\"object\",\"patternProperties\":{}}", "patternProperties"},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}",
     "additionalProperties"},
    {"{\"type\":\"object\",\"properties\":{},\"required\":[\"ghost\"]}", "requires"},
    {"{\"type\":\"tuple\"}", "tuple"},
    {"{\"type\":\"array\",\"maxItems\":100000}", "maxItems"},
    {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "maxItems"},
    {"{\"type\":\"string\",\"maxLength\":-1}", "maxLength"},
    {"{\"$ref\":\"https://example.com/schema\"}", "$ref"},
    {"{\"$ref\":\"#/$defs/ghost\"}", "$ref"},
    {"{\"enum\":[]}", "enum"},
    {"{\"type\":5}", "type"},
    {"{\"type\":[]}", "type"},
    {"[1]", "no schema"},
    {"{\"type\":\"string\"", "too early"},
    {"", "too early"},
    {"{\"type\":\"object\",\"properties\":{\"a\":false}}", "no schema"},
};

static void good_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ps_buf out;
        struct ps_fault fault = {0};
        ps_buf_init(&out, PS_SCHEMA_GRAMMAR_MAX);
        if (ps_schema_grammar(ps_slice_cstr(good[i].schema), &out, &fault) != 0) {
            fail_msg("%s: %s", good[i].schema, fault.message);
        }
        ps_buf_byte(&out, '\0');
        if (strstr(out.ptr, good[i].part) == NULL) {
            fail_msg("%s: expected %s in\n%s", good[i].schema, good[i].part, out.ptr);
        }
        assert_non_null(strstr(out.ptr, "root ::= s0\n"));
        ps_buf_deinit(&out);
    }
}

static void bad_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ps_buf out;
        struct ps_fault fault = {0};
        ps_buf_init(&out, PS_SCHEMA_GRAMMAR_MAX);
        assert_int_equal(ps_schema_grammar(ps_slice_cstr(bad[i].schema), &out, &fault), -1);
        assert_int_equal(fault.kind, PS_FAULT_BAD_FIELD);
        assert_string_equal(fault.param, "response_format");
        if (strstr(fault.message, bad[i].word) == NULL) {
            fail_msg("%s: expected %s in: %s", bad[i].schema, bad[i].word, fault.message);
        }
        ps_buf_deinit(&out);
    }
}

static void bounded(void **state)
{
    struct ps_buf schema;
    struct ps_buf out;
    struct ps_fault fault = {0};
    (void)state;
    ps_buf_init(&schema, 1u << 20);
    for (int i = 0; i < 60; i++) {
        ps_buf_cstr(&schema, "{\"type\":\"array\",\"items\":");
    }
    ps_buf_cstr(&schema, "true");
    for (int i = 0; i < 60; i++) {
        ps_buf_byte(&schema, '}');
    }
    ps_buf_init(&out, PS_SCHEMA_GRAMMAR_MAX);
    assert_int_equal(ps_schema_grammar(ps_buf_view(&schema), &out, &fault), -1);
    assert_non_null(strstr(fault.message, "too deep"));
    ps_buf_deinit(&out);
    ps_buf_deinit(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),
        cmocka_unit_test(bad_ones),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
