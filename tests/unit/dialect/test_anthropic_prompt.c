/* SPDX-License-Identifier: Apache-2.0 */
#include "prompt_rig.h"

/* Requests at Anthropic's door for a model inside the gateway. */

#define ASK(more) "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"

static const struct prompt_row rows[] = {
    {ASK(""), "user=[hi] max=9", 0, NULL},
    {"{\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":\"s\"},{\"type\":\"text\",\"text\":"
     "\"t\"}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e4"
     "\"},{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":"
     "\"thinking\",\"thinking\":\"h\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"c\"}]},"
     "{\"role\":\"user\",\"content\":\"d\"}]}",
     "system=[s\nt] user=[a\xc3\xa4\nb] assistant=[c] user=[d] max=9", 0, NULL},
    {ASK(",\"temperature\":0.5,\"top_p\":0.25,\"top_k\":3,\"stop_sequences\":[\"x\",\"\\n\"],"
         "\"stream\":true,\"metadata\":{\"user_id\":\"u\"}"),
     "user=[hi] max=9 temperature=0.5 top_p=0.25 top_k=3 stop=[x] stop=[\n] -user", 0, NULL},
    {ASK(",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":"
         "\"object\"}}}"),
     "user=[hi] max=9 schema schema=[{\"type\":\"object\"}]", 0, NULL},
    {ASK(",\"tools\":[{\"name\":\"f\",\"input_schema\":{}}]"), NULL, PS_FAULT_UNSUPPORTED_OPERATION,
     "tools"},
    {ASK(",\"tools\":[{\"name\":\"f\",\"input_schema\":7}]"), NULL, PS_FAULT_BAD_FIELD,
     "tools[0].input_schema"},
    {"{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
     "\"source\":{\"type\":\"url\",\"url\":\"u\"}}]}]}",
     NULL, PS_FAULT_UNSUPPORTED_OPERATION, "messages[0].content[0]"},
    {"{\"max_tokens\":0,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", NULL,
     PS_FAULT_BAD_FIELD, "max_tokens"},
};

static void prompts(void **state)
{
    static const struct ps_reader_options options = {.operation = PS_OP_CHAT};

    (void)state;
    run_prompt_rows(rows, sizeof(rows) / sizeof(rows[0]), PS_FAMILY_ANTHROPIC, PS_OP_CHAT,
                    &options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
