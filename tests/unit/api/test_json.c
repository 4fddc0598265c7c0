/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "testing.h"

#include <string.h>

static void members_are_found(void **state)
{
    static const struct {
        const char *text;
        const char *name;
        const char *value; /* raw; "": there is none */
    } cases[] = {
        {"{}", "a", ""},
        {" { } ", "a", ""},
        {"{\"a\":1}", "a", "1"},
        {" {\n\"a\" :\t-1.5e3 } ", "a", "-1.5e3"},
        {"{\"b\":[1,{\"a\":2}],\"a\":null}", "a", "null"},
        {"{\"b\":\"a\",\"a\":\"x\\\"}\"}", "a", "\"x\\\"}\""},
        {"{\"b\":{\"c\":\"}\"} , \"a\" : [ \"]\" , [] ] , \"d\":1}", "a", "[ \"]\" , [] ]"},
        {"{\"a\":{},\"b\":{}}", "b", "{}"},
        {"{\"a\":{ \"x\" : true , \"y\":[1 , 2]}}", "a", "{ \"x\" : true , \"y\":[1 , 2]}"},
        {"{\"\\u0061\":1}", "a", "1"},
        {"{\"\\u0061b\":1}", "a", ""},
        {"{\"a\\u0062\":1}", "ab", "1"},
        {"{\"ab\":1}", "a", ""},
        {"{\"a\":1,\"a\":2}", "a", "2"},
        {"{\"\":5}", "", "5"},
        {"{\"a\":false}", "a", "false"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ps_fault fault;
        struct ps_slice text = ps_slice_cstr(cases[i].text);
        assert_int_equal(ps_object_check(text, &fault), 0);
        struct ps_slice found = ps_object_member(text, cases[i].name);
        if (!ps_slice_eq_cstr(found, cases[i].value)) {
            fail_msg("%s: found %.*s", cases[i].text, (int)found.len, found.ptr);
        }
    }
}

static void only_whole_objects_pass(void **state)
{
    static const char *const bad[] = {"",        "[]",         "1",           "null",
                                      "{",       "{\"a\":1,}", "{\"a\":1} x", "{\"a\":\"\xff\"}",
                                      "{\"a\"}", "{a:1}",      "{\"a\":01}",  "\xef\xbb\xbf{}"};
    struct ps_fault fault;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ps_object_check(ps_slice_cstr(bad[i]), &fault), -1);
        assert_int_equal(fault.kind, PS_FAULT_BAD_JSON);
    }
    char deep[200];
    memset(deep, '[', sizeof(deep));
    memcpy(deep, "{\"a\":", 5);
    assert_int_equal(ps_object_check(ps_slice(deep, sizeof(deep)), &fault), -1);
}

static void fields_are_taken_once(void **state)
{
    struct ps_slice a;
    struct ps_slice b;
    const struct ps_object_want wants[] = {{"a", &a}, {"b", &b}};
    struct ps_fault fault;
    (void)state;
    assert_int_equal(ps_object_take(PS_SLICE_LIT("{\"x\":1,\"b\":2,\"x\":3}"), wants, 2, &fault),
                     0);
    assert_int_equal(a.len, 0);
    assert_true(ps_slice_eq_cstr(b, "2"));
    assert_int_equal(ps_object_take(PS_SLICE_LIT("{\"a\":null,\"b\":[]}"), wants, 2, &fault), 0);
    assert_int_equal(a.len, 0);
    assert_true(ps_slice_eq_cstr(b, "[]"));
    assert_int_equal(ps_object_take(PS_SLICE_LIT("{\"a\":1,\"\\u0061\":1}"), wants, 2, &fault), -1);
    assert_string_equal(fault.param, "a");
    assert_int_equal(ps_object_take(PS_SLICE_LIT("{\"a\":null,\"a\":1}"), wants, 2, &fault), -1);
}

static void text_is_unescaped_and_counted(void **state)
{
    struct ps_arena arena;
    (void)state;
    ps_arena_init(&arena, 65536);
    struct ps_slice text = ps_object_text(PS_SLICE_LIT("\"a\\n\\u00e9\\ud83d\\ude00\""), &arena);
    assert_true(ps_slice_eq_cstr(text, "a\n\xc3\xa9\xf0\x9f\x98\x80"));
    assert_int_equal(ps_text_length(text), 4);
    assert_int_equal(ps_text_length(PS_SLICE_NONE), 0);
    ps_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(only_whole_objects_pass),
        cmocka_unit_test(fields_are_taken_once),
        cmocka_unit_test(text_is_unescaped_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
