/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * Calls whose fragments are mixed, for families that have them one after the other. A script is a
 * row of events, each behind a space: "0{}" a fragment of call 0 (its first event says its name as
 * well), "tx" text, "u" usage, "f" the end. What is written is compared with what the same events
 * give in another order.
 */

#define OUT_BYTES 65536

static const enum ps_family families[] = {PS_FAMILY_ANTHROPIC, PS_FAMILY_RESPONSES,
                                          PS_FAMILY_COHERE};

struct front {
    struct rig rig;
    struct ps_writer *writer;
    struct ps_buf out;
    struct ps_fault fault;
};

static void front_init(struct front *front, enum ps_family family, enum ps_writer_mode mode,
                       size_t max_bytes)
{
    const struct ps_writer_options options = {.operation = PS_OP_CHAT,
                                              .mode = mode,
                                              .max_bytes = max_bytes,
                                              .id = PS_SLICE_LIT("gen_01"),
                                              .model = PS_SLICE_LIT("m")};

    rig_init(&front->rig);
    ps_buf_init(&front->out, OUT_BYTES);
    front->writer = ps_writer_new(ps_dialect_of_family(family), &options, &front->rig.arena);
    assert_non_null(front->writer);
}

static void front_deinit(struct front *front)
{
    ps_writer_free(front->writer);
    ps_buf_deinit(&front->out);
    rig_deinit(&front->rig);
}

static int tell(struct front *front, struct ps_slice word, bool *called)
{
    static const struct ps_event_tool tools[] = {
        {.id = PS_SLICE_INIT("c0"), .name = PS_SLICE_INIT("f")},
        {.id = PS_SLICE_INIT("c1"), .name = PS_SLICE_INIT("g"), .signature = PS_SLICE_INIT("sig")},
        {.id = PS_SLICE_INIT("c2"), .name = PS_SLICE_INIT("h")}};
    struct ps_event event = {.kind = PS_EVENT_TOOL_CALL,
                             .maker = "gemini",
                             .usage = PS_USAGE_NONE,
                             .text = ps_slice(word.ptr + 1, word.len - 1)};

    switch (word.ptr[0]) {
    case 't':
        event.kind = PS_EVENT_TEXT;
        break;
    case 'u':
        event.kind = PS_EVENT_USAGE;
        break;
    case 'f':
        event.kind = PS_EVENT_FINISH;
        event.finish = PS_FINISH_TOOL_CALLS;
        break;
    default:
        event.block = (uint32_t)(word.ptr[0] - '0');
        event.tool = called[event.block] ? NULL : &tools[event.block];
        called[event.block] = true;
        break;
    }
    return ps_writer_event(front->writer, &event, &front->out, &front->fault);
}

/* -1: refused. */
static int play(struct front *front, const char *script)
{
    static const struct ps_answer_info info;
    bool called[3] = {false};

    while (*script != '\0') {
        size_t len = strcspn(script, " ");

        if (tell(front, ps_slice(script, len), called) != 0) {
            return -1;
        }
        script += len + (script[len] == ' ');
    }
    ps_writer_end(front->writer, &info, &front->out);
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
    return 0;
}

static void mixed_calls_are_told_one_after_the_other(void **state)
{
    static const struct {
        const char *mixed;
        const char *told;
    } rows[] = {
        {"0{\"a\" 1{\"b\" 0:1} 1:2} f", "0{\"a\" 0:1} 1{\"b\" 1:2} f"},
        /* all of them begin before any goes on */
        {"0 1 2 0{ 1{ 2{ 0} 1} 2} f", "0 0{ 0} 1{ 1} 2{ 2} f"},
        {"tx 0 1{} u 2{\"a\":[{}]} 0{} f", "tx 0 u 0{} 1{} 2{\"a\":[{}]} f"},
        /* what only looks like an end */
        {"0{\"}\": 1{} 0\"\\\"}\" 0} f", "0{\"}\": 0\"\\\"}\" 0} 1{} f"},
        /* never whole: the end or another word says that it is all */
        {"0{\"a 1{} f", "0{\"a 1{} f"},
        {"0 1 f", "0 1 f"},
        {"0 1{} tx 2{} f", "0 1{} tx 2{} f"},
        {"0{} 1 0 1{} f", "0{} 1 1{} f"},
    };
    struct front mixed;
    struct front told;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t n = 0; n < 2 * sizeof(families) / sizeof(families[0]); n++) {
            enum ps_writer_mode mode = n % 2 == 0 ? PS_WRITER_STREAM : PS_WRITER_WHOLE;

            front_init(&mixed, families[n / 2], mode, OUT_BYTES);
            front_init(&told, families[n / 2], mode, OUT_BYTES);
            if (play(&mixed, rows[i].mixed) != 0) {
                fail_msg("%s: %s", rows[i].mixed, mixed.fault.message);
            }
            assert_int_equal(play(&told, rows[i].told), 0);
            if (strcmp(mixed.out.ptr, told.out.ptr) != 0) {
                fail_msg("%s: expected %s\nfound %s", rows[i].mixed, told.out.ptr, mixed.out.ptr);
            }
            front_deinit(&mixed);
            front_deinit(&told);
        }
    }
}

static void a_call_that_is_over_does_not_go_on(void **state)
{
    static const char *const rows[] = {"0{} 1{} 0{}", "0{ tx 0}", "0{ 1{} tx 1{}"};
    struct front front;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t n = 0; n < sizeof(families) / sizeof(families[0]); n++) {
            front_init(&front, families[n], PS_WRITER_STREAM, OUT_BYTES);
            assert_int_equal(play(&front, rows[i]), -1);
            assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
            front_deinit(&front);
        }
    }
}

static void no_more_waits_than_may(void **state)
{
    struct ps_event event = {.kind = PS_EVENT_TOOL_CALL, .usage = PS_USAGE_NONE};
    struct front front;
    int waiting = 0;

    (void)state;
    front_init(&front, PS_FAMILY_ANTHROPIC, PS_WRITER_STREAM, 100);
    assert_int_equal(ps_writer_event(front.writer, &event, &front.out, &front.fault), 0);
    event.block = 1;
    event.text = PS_SLICE_LIT("0123456789");
    while (waiting < 20 && ps_writer_event(front.writer, &event, &front.out, &front.fault) == 0) {
        waiting++;
    }
    assert_int_equal(waiting, 10);
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_deinit(&front);

    front_init(&front, PS_FAMILY_ANTHROPIC, PS_WRITER_STREAM, OUT_BYTES);
    event.text = PS_SLICE_NONE;
    for (waiting = 0; waiting < 1000; waiting++) {
        event.block = (uint32_t)waiting;
        if (ps_writer_event(front.writer, &event, &front.out, &front.fault) != 0) {
            break;
        }
    }
    assert_int_equal(waiting, 129);
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_deinit(&front);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixed_calls_are_told_one_after_the_other),
        cmocka_unit_test(a_call_that_is_over_does_not_go_on),
        cmocka_unit_test(no_more_waits_than_may),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
