/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"
#include "testing.h"

#include <string.h>

struct seen {
    char text[512]; /* items, a line each */
    size_t len;
    uint64_t count;
};

static int on_item(void *arg, uint64_t index, struct ps_slice item, struct ps_fault *fault)
{
    struct seen *seen = arg;
    assert_int_equal(index, seen->count++);
    assert_true(seen->len + item.len + 1 < sizeof(seen->text));
    memcpy(seen->text + seen->len, item.ptr, item.len);
    seen->len += item.len;
    seen->text[seen->len++] = '\n';
    if (ps_slice_eq_cstr(item, "\"refuse\"")) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "requests.x", "Refused.");
    }
    return 0;
}

static const struct ps_split_ops ops = {on_item};

/* In pieces: [0, cut), [cut, len). */
static int split_text(struct ps_slice text, size_t cut, struct seen *seen, struct ps_fault *fault)
{
    struct ps_split split;
    *seen = (struct seen){.count = 0};
    ps_split_init(&split, 64, &ops, seen);
    int result = ps_split_feed(&split, text.ptr, cut, fault);
    if (result == 0) {
        result = ps_split_feed(&split, text.ptr + cut, text.len - cut, fault);
    }
    if (result == 0) {
        result = ps_split_finish(&split, fault);
    }
    ps_split_deinit(&split);
    return result;
}

static void items_come_whole(void **state)
{
    static const struct {
        const char *text;
        const char *items;
    } cases[] = {
        {"{\"requests\":[1]}", "1\n"},
        {" {\r\n\"a\" : [ 7 ], \"requests\" :\n[ 1 , \"x\" ,\n null ] , \"b\":[9]}\n",
         "1\n\"x\"\nnull\n"},
        {"{\"requests\":[{\"a\" : [1,\n2], \"b\":\"c d,]}\"},{}]}",
         "{\"a\":[1,2],\"b\":\"c d,]}\"}\n{}\n"},
        {"{\"requests\":[\"\\\"\",\"\\\\\",\"]\"]}", "\"\\\"\"\n\"\\\\\"\n\"]\"\n"},
        {"{\"requests\":[[],[[]],[\"requests\"]]}", "[]\n[[]]\n[\"requests\"]\n"},
        {"{\"x\":{\"requests\":[1]},\"requests\":[2]}", "2\n"},
        {"{\"x\":\"requests\",\"y\":[1],\"requests\":[2]}", "2\n"},
        {"{\"requests\":[12345678901234567890,1.50]}", "12345678901234567890\n1.50\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ps_slice text = ps_slice_cstr(cases[i].text);
        for (size_t cut = 0; cut <= text.len; cut++) {
            struct seen seen;
            struct ps_fault fault;
            assert_int_equal(split_text(text, cut, &seen, &fault), 0);
            if (!ps_slice_eq_cstr(ps_slice(seen.text, seen.len), cases[i].items)) {
                fail_msg("%s cut at %zu: %.*s", cases[i].text, cut, (int)seen.len, seen.text);
            }
        }
    }
}

static void what_is_no_list_of_requests_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum ps_fault_kind kind;
        const char *param;
    } cases[] = {
        {"", PS_FAULT_BAD_JSON, ""},
        {"{\"requests\":[1}", PS_FAULT_BAD_JSON, ""},
        {"{\"requests\":[1]} x", PS_FAULT_BAD_JSON, ""},
        {"{\"requests\":[1,]}", PS_FAULT_BAD_JSON, ""},
        {"{}", PS_FAULT_BAD_FIELD, "requests"},
        {"[\"requests\",[1]]", PS_FAULT_BAD_FIELD, "requests"},
        {"{\"requests\":{\"requests\":[1]}}", PS_FAULT_BAD_FIELD, "requests"},
        {"{\"requests\":[]}", PS_FAULT_BAD_FIELD, "requests"},
        {"{\"requests\":[1],\"requests\":[2]}", PS_FAULT_BAD_FIELD, "requests"},
        {"{\"requests_and_more_than_fits\":[1]}", PS_FAULT_BAD_FIELD, "requests"},
        {"{\"requests\":[1,\"refuse\",2]}", PS_FAULT_BAD_FIELD, "requests.x"},
        {"{\"requests\":[1,\"0123456789012345678901234567890123456789012345678901234567890123\"]}",
         PS_FAULT_BODY_TOO_LARGE, "requests.1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ps_slice text = ps_slice_cstr(cases[i].text);
        for (size_t cut = 0; cut <= text.len; cut++) {
            struct seen seen;
            struct ps_fault fault;
            assert_int_equal(split_text(text, cut, &seen, &fault), -1);
            assert_int_equal(fault.kind, cases[i].kind);
            assert_string_equal(fault.param, cases[i].param);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_whole),
        cmocka_unit_test(what_is_no_list_of_requests_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
