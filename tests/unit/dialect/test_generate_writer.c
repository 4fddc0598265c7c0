/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

static const struct ps_answer_info info = {
    .id = {"gen_1", 5},
    .model = {"tiny \"x\"", 8},
    .provider = {"embedded", 8},
    .queue_us = 0,
    .first_token_us = 12345,
    .total_us = 2000001,
};

static const struct ps_event answer[] = {
    {.kind = PS_EVENT_START},
    {.kind = PS_EVENT_REASONING, .text = {"hm", 2}},
    {.kind = PS_EVENT_TEXT, .text = {"a\"\n", 3}},
    {.kind = PS_EVENT_TEXT, .choice = 1, .text = {"other", 5}},
    {.kind = PS_EVENT_TEXT},
    {.kind = PS_EVENT_TEXT, .text = {"\xc3\xa9", 2}},
    {.kind = PS_EVENT_FINISH,
     .choice = 1,
     .finish = PS_FINISH_LENGTH,
     .finish_text = {"length", 6}},
    {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP, .finish_text = {"eos", 3}},
    {.kind = PS_EVENT_USAGE, .usage = {3, 4, -1, -1, -1}},
    {.kind = PS_EVENT_DONE},
};
#define ANSWER_COUNT (sizeof(answer) / sizeof(answer[0]))

#define TAIL                                                                                       \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7},"                  \
    "\"timing\":{\"queue_ms\":0.000,\"first_token_ms\":12.345,\"total_ms\":2000.001}}"

static struct ps_writer *new_writer(struct rig *rig, enum ps_writer_mode mode, size_t max_bytes)
{
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT, .mode = mode, .max_bytes = max_bytes};

    return ps_writer_new(ps_dialect_of_family(PS_FAMILY_GENERATE), &options, &rig->arena);
}

static void writes_each_mode(void **state)
{
    static const struct {
        enum ps_writer_mode mode;
        const char *type;
        const char *expected;
    } rows[] = {
        {PS_WRITER_WHOLE, "application/json",
         "{\"id\":\"gen_1\",\"model\":\"tiny "
         "\\\"x\\\"\",\"provider\":\"embedded\",\"text\":\"a\\\"\\n\xc3\xa9\","
         "\"finish_reason\":\"stop\"," TAIL "\n"},
        {PS_WRITER_STREAM, "text/event-stream; charset=utf-8",
         "data: {\"text\":\"a\\\"\\n\"}\n\ndata: {\"text\":\"\xc3\xa9\"}\n\n"
         "data: {\"finish_reason\":\"stop\",\"model\":\"tiny "
         "\\\"x\\\"\",\"provider\":\"embedded\"," TAIL "\n\n"
         "data: [DONE]\n\n"},
        {PS_WRITER_TEXT, "text/plain; charset=utf-8", "a\"\n\xc3\xa9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        struct ps_buf out;
        struct ps_writer *writer;

        rig_init(&rig);
        ps_buf_init(&out, 4096);
        writer = new_writer(&rig, rows[i].mode, 4096);
        assert_non_null(writer);
        assert_string_equal(ps_writer_content_type(writer), rows[i].type);
        for (size_t j = 0; j < ANSWER_COUNT; j++) {
            assert_int_equal(ps_writer_event(writer, &answer[j], &out, &rig.fault), 0);
        }
        ps_writer_end(writer, &info, &out);
        ps_buf_byte(&out, '\0');
        assert_false(out.failed);
        assert_string_equal(out.ptr, rows[i].expected);
        ps_writer_free(writer);
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

static void says_null_for_what_is_unknown(void **state)
{
    static const struct ps_answer_info nothing = {
        .queue_us = -1, .first_token_us = -1, .total_us = -1};
    static const struct ps_event odd = {
        .kind = PS_EVENT_FINISH, .finish = PS_FINISH_OTHER, .finish_text = {"abort", 5}};
    static const struct ps_event refusal = {.kind = PS_EVENT_REFUSAL, .text = {"no", 2}};
    struct rig rig;
    struct ps_buf out;
    struct ps_writer *writer;

    (void)state;
    rig_init(&rig);
    ps_buf_init(&out, 4096);
    writer = new_writer(&rig, PS_WRITER_WHOLE, 4096);
    assert_non_null(writer);
    ps_writer_end(writer, &nothing, &out);
    ps_buf_byte(&out, '\0');
    assert_string_equal(
        out.ptr,
        "{\"id\":\"\",\"model\":\"\",\"provider\":\"\",\"text\":\"\",\"finish_reason\":null,"
        "\"usage\":null,\"timing\":{\"queue_ms\":null,\"first_token_ms\":null,"
        "\"total_ms\":null}}\n");
    ps_buf_reset(&out);
    assert_int_equal(ps_writer_event(writer, &refusal, &out, &rig.fault), 0);
    assert_int_equal(ps_writer_event(writer, &odd, &out, &rig.fault), 0);
    ps_writer_end(writer, &nothing, &out);
    ps_buf_byte(&out, '\0');
    assert_non_null(strstr(out.ptr, "\"text\":\"no\",\"finish_reason\":\"abort\""));
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

static void bounds_whole_answers(void **state)
{
    static const struct ps_event piece = {.kind = PS_EVENT_TEXT, .text = {"12345", 5}};
    struct rig rig;
    struct ps_buf out;
    struct ps_writer *writer;

    (void)state;
    rig_init(&rig);
    ps_buf_init(&out, 4096);
    writer = new_writer(&rig, PS_WRITER_WHOLE, 12);
    assert_non_null(writer);
    assert_int_equal(ps_writer_event(writer, &piece, &out, &rig.fault), 0);
    assert_int_equal(ps_writer_event(writer, &piece, &out, &rig.fault), 0);
    assert_int_equal(ps_writer_event(writer, &piece, &out, &rig.fault), -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    ps_writer_free(writer);
    (void)ps_mem_fail_after(1);
    writer = new_writer(&rig, PS_WRITER_WHOLE, 12);
    assert_non_null(writer);
    assert_int_equal(ps_writer_event(writer, &piece, &out, &rig.fault), -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_NO_MEMORY);
    ps_writer_free(writer);
    (void)ps_mem_fail_after(0);
    assert_null(new_writer(&rig, PS_WRITER_WHOLE, 12));
    (void)ps_mem_fail_after(-1);
    assert_false(ps_dialect_has_writer(ps_dialect_of_family(PS_FAMILY_GENERATE), PS_OP_EMBED));
    assert_null(ps_writer_new(ps_dialect_of_family(PS_FAMILY_GENERATE),
                              &(struct ps_writer_options){.operation = PS_OP_EMBED}, &rig.arena));
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

static void writes_errors(void **state)
{
    struct ps_fault fault;
    struct ps_buf out;

    (void)state;
    (void)ps_fault_set(&fault, PS_FAULT_STREAM_INCOMPLETE, NULL, "gone");
    ps_buf_init(&out, 4096);
    ps_dialect_write_fault(ps_dialect_of_family(PS_FAMILY_GENERATE), &fault, PS_SLICE_LIT("req_1"),
                           &out);
    ps_dialect_write_fault_event(ps_dialect_of_family(PS_FAMILY_GENERATE), &fault, PS_SLICE_NONE,
                                 &out);
    ps_buf_byte(&out, '\0');
    assert_string_equal(
        out.ptr,
        "{\"error\":{\"message\":\"gone\",\"type\":\"upstream_error\",\"param\":null,"
        "\"code\":\"stream_incomplete\"},\"request_id\":\"req_1\"}"
        "data: {\"error\":{\"message\":\"gone\",\"type\":\"upstream_error\",\"param\":null,"
        "\"code\":\"stream_incomplete\"}}\n\n");
    ps_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_each_mode),
        cmocka_unit_test(says_null_for_what_is_unknown),
        cmocka_unit_test(bounds_whole_answers),
        cmocka_unit_test(writes_errors),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
