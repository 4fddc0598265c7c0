/* SPDX-License-Identifier: Apache-2.0 */
#include "prompt_rig.h"

#define FINE PS_FAULT_NONE, NULL

static void reads_its_fields(void **state)
{
    static const struct prompt_row rows[] = {
        {"{\"prompt\":\"why\\n\"}", "user=[why\n]", FINE},
        {"{\"prompt\":\"why\",\"system\":\"be \\u00e9\",\"max_tokens\":5,\"temperature\":0.5,"
         "\"top_p\":0,\"stop\":[\"a\",\"b\"],\"seed\":-9007199254740993,\"model\":\"m\"}",
         "system=[be \xc3\xa9] user=[why] max=5 temperature=0.5 top_p=1e-06 "
         "seed=-9007199254740993 stop=[a] stop=[b]",
         FINE},
        {"{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"x\"}]},{\"role\":\"assistant\",\"content\":\"y\"}],\"stop\":\"q\"}",
         "system=[s] user=[x] assistant=[y] stop=[q]", FINE},
        {"{\"prompt\":\"a\\u0000\"}", NULL, PS_FAULT_BAD_FIELD, "prompt"},
        {"{\"prompt\":\"a\",\"system\":\"\\u0000\"}", NULL, PS_FAULT_BAD_FIELD, "system"},
        {"{\"prompt\":\"a\",\"stop\":\"\"}", NULL, PS_FAULT_BAD_FIELD, "stop"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", NULL,
         PS_FAULT_UNSUPPORTED_OPERATION, "messages[0].role"},
    };

    (void)state;
    run_prompt_rows(rows, sizeof(rows) / sizeof(rows[0]), PS_FAMILY_GENERATE, PS_OP_CHAT,
                    &(struct ps_reader_options){.operation = PS_OP_CHAT});
}

static void reads_bare_text(void **state)
{
    static const struct prompt_row row = {"tell \"me\"\n\xc3\xa9\\",
                                          "user=[tell \"me\"\n\xc3\xa9\\]", FINE};
    const struct ps_reader_options options = {.operation = PS_OP_CHAT, .bare_text = true};
    const struct ps_reader_options either = {.operation = PS_OP_CHAT, .text_or_json = true};
    const struct cut cut = {.bytes = true};

    (void)state;
    run_prompt_row(&row, PS_FAMILY_GENERATE, PS_OP_CHAT, &options, &cut);
    run_prompt_row(&row, PS_FAMILY_GENERATE, PS_OP_CHAT, &either, &cut);
}

static void offers_no_more_than_text(void **state)
{
    static const struct ps_request request = {.family = PS_FAMILY_GENERATE,
                                              .operation = PS_OP_EMBED};
    struct rig rig;
    struct ps_prompt prompt;

    (void)state;
    rig_init(&rig);
    assert_int_equal(ps_dialect_prompt(ps_dialect_of_family(PS_FAMILY_GENERATE), &request,
                                       &rig.arena, &prompt, &rig.fault),
                     -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_UNSUPPORTED_OPERATION);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_its_fields),
        cmocka_unit_test(reads_bare_text),
        cmocka_unit_test(offers_no_more_than_text),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
