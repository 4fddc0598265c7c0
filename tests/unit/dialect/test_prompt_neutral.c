/* SPDX-License-Identifier: Apache-2.0 */
#include "prompt_rig.h"

/* Prompts of fronts that have no reader of their own for models inside: Anthropic's, Cohere's. */

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

static void reads_documents_and_logprobs(void **state)
{
    static const struct prompt_row rows[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"documents\":[\"x\",{\"data\":{"
         "\"a\":1,\"b\":2}}],\"citation_options\":{\"mode\":\"OFF\"},\"logprobs\":true,\"k\":3}",
         "user=[x\n{\"a\":1,\"b\":2}\nhi] top_k=3 logprobs=0", FINE},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{\"type\":"
         "\"function\",\"function\":{\"name\":\"f\"}}]}",
         NULL, PS_FAULT_UNSUPPORTED_OPERATION, "tools"},
    };

    (void)state;
    run_prompt_rows(rows, sizeof(rows) / sizeof(rows[0]), PS_FAMILY_COHERE, PS_OP_CHAT,
                    &(struct ps_reader_options){.operation = PS_OP_CHAT});
}

static void reads_texts_to_embed(void **state)
{
    static const struct prompt_row rows[] = {
        {"{\"texts\":[\"a\",\"\\u00e4\"],\"input_type\":\"search_query\"}",
         "input=[a] input=[\xc3\xa4] -input_type", FINE},
        {"{\"texts\":[\"a\",\"b\\u0000\"]}", NULL, PS_FAULT_BAD_FIELD, "texts[1]"},
        {"{\"texts\":[\"a\"],\"output_dimension\":2}", NULL, PS_FAULT_UNSUPPORTED_OPERATION,
         "dimensions"},
    };

    (void)state;
    run_prompt_rows(rows, sizeof(rows) / sizeof(rows[0]), PS_FAMILY_COHERE, PS_OP_EMBED,
                    &(struct ps_reader_options){.operation = PS_OP_EMBED});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_text),
        cmocka_unit_test(reads_documents_and_logprobs),
        cmocka_unit_test(reads_texts_to_embed),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
