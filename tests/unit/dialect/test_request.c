/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

static void join_into(char *out, const struct ps_slice *parts, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(out + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    out[len] = '\0';
}

/* Against a plain copy: every pair of edits around the border between two blocks. */
static void applies_edits(void **state)
{
    enum {
        BEFORE = 6,
        AFTER = 6
    };
    static char body[PS_BLOCK_BYTES + AFTER];
    static char expected[sizeof(body) + 64];
    static char seen[sizeof(expected)];
    struct rig rig;
    const uint64_t from = PS_BLOCK_BYTES - BEFORE;

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (char)('a' + i % 26);
    }
    rig_init(&rig);
    assert_int_equal(ps_chain_append(&rig.body, body, sizeof(body)), 0);
    for (uint64_t a = from; a < sizeof(body); a++) {
        for (uint64_t b = a; b <= sizeof(body); b++) {
            for (uint64_t c = b; c <= sizeof(body); c += 3) {
                const struct ps_edit edits[] = {{a, b, PS_SLICE_LIT("<1>")},
                                                {c, sizeof(body), PS_SLICE_LIT("")}};
                struct ps_slice *parts;
                struct ps_arena arena;
                size_t count;
                uint64_t length;

                ps_arena_init(&arena, 65536);
                assert_int_equal(
                    ps_request_parts(&rig.body, edits, 2, &arena, &parts, &count, &length), 0);
                join_into(seen, parts, count);
                (void)snprintf(expected, sizeof(expected), "%.*s<1>%.*s", (int)a, body,
                               (int)(c - b), body + b);
                assert_string_equal(seen, expected);
                assert_int_equal(length, strlen(expected));
                ps_arena_deinit(&arena);
            }
        }
    }
    rig_deinit(&rig);
}

static void leaves_bodies_alone(void **state)
{
    struct rig rig;
    struct ps_slice *parts;
    size_t count;
    uint64_t length;

    (void)state;
    rig_init(&rig);
    assert_int_equal(ps_request_parts(&rig.body, NULL, 0, &rig.arena, &parts, &count, &length), 0);
    assert_int_equal(count, 0);
    assert_int_equal(length, 0);
    assert_int_equal(ps_chain_append(&rig.body, "abc", 3), 0);
    assert_int_equal(ps_request_parts(&rig.body, NULL, 0, &rig.arena, &parts, &count, &length), 0);
    assert_int_equal(count, 1);
    assert_ptr_equal(parts[0].ptr, ps_chain_run(&rig.body, 0, 3).ptr); /* no copy */
    assert_int_equal(length, 3);
    (void)ps_mem_fail_after(0);
    rig.arena.left = 0;
    assert_int_equal(ps_request_parts(&rig.body, NULL, 0, &rig.arena, &parts, &count, &length), -1);
    (void)ps_mem_fail_after(-1);
    rig_deinit(&rig);
}

static void names_operations(void **state)
{
    (void)state;
    for (int i = 0; i < PS_OP_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(ps_operation_name((enum ps_operation)i),
                                    ps_operation_name((enum ps_operation)j));
        }
    }
}

static void commits_on_what_was_said(void **state)
{
    static const enum ps_event_kind commits[] = {
        PS_EVENT_TEXT,      PS_EVENT_REASONING, PS_EVENT_REFUSAL,  PS_EVENT_TOOL_CALL,
        PS_EVENT_EMBEDDING, PS_EVENT_SCORE,     PS_EVENT_LOGPROBS, PS_EVENT_MEDIA,
        PS_EVENT_RESULT,    PS_EVENT_FINISH,
    };
    unsigned expected = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(commits) / sizeof(commits[0]); i++) {
        expected |= 1U << commits[i];
    }
    for (unsigned kind = PS_EVENT_START; kind <= PS_EVENT_DONE; kind++) {
        assert_int_equal(ps_event_commits((enum ps_event_kind)kind), (expected >> kind & 1) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(applies_edits),
        cmocka_unit_test(leaves_bodies_alone),
        cmocka_unit_test(names_operations),
        cmocka_unit_test(commits_on_what_was_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
