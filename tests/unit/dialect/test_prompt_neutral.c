/* SPDX-License-Identifier: Apache-2.0 */
#include "prompt_rig.h"

/* Prompts of a front that has no reader of its own for models inside: Anthropic's. */

#define FINE PS_FAULT_NONE, NULL

static void reads_what_is_text(void **state)
{
    static const struct prompt_row rows[] = {
        {"{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"h\\u0069\"}]}",
         "user=[hi] max=5", FINE},
        {"{\"max_tokens\":5,\"system\":[{\"type\":\"text\",\"text\":\"be\"},{\"type\":\"text\","
         "\"text\":\"brief\"}],\"temperature\":0.5,\"top_p\":0.9,\"top_k\":7,\"stop_sequences\":["
         "\"a\",\"b\"],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
         "\"x\"},{\"type\":\"text\",\"text\":\"y\"}]},{\"role\":\"assistant\",\"content\":[{"
         "\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"},{\"type\":\"text\","
         "\"text\":\"z\"}]},{\"role\":\"user\",\"content\":\"go\"}]}",
         "system=[be\nbrief] user=[x\ny] assistant=[z] user=[go] max=5 temperature=0.5 top_p=0.9 "
         "top_k=7 stop=[a] stop=[b]",
         FINE},
        {"{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"x\"},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x\"}}"
         "]}]}",
         NULL, PS_FAULT_UNSUPPORTED_OPERATION, "messages[0].content[1]"},
        {"{\"max_tokens\":5,\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}],"
         "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         NULL, PS_FAULT_UNSUPPORTED_OPERATION, "tools"},
        {"{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000\"}]}", NULL,
         PS_FAULT_BAD_FIELD, "messages[0].content"},
    };

    (void)state;
    run_prompt_rows(rows, sizeof(rows) / sizeof(rows[0]), PS_FAMILY_ANTHROPIC, PS_OP_CHAT,
                    &(struct ps_reader_options){.operation = PS_OP_CHAT});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_text),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
