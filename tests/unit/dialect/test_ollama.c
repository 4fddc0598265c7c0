/* SPDX-License-Identifier: Apache-2.0 */
#include "back_rig.h"

#define NDJSON "application/x-ndjson"
#define JSON   "application/json; charset=utf-8"
#define HI     "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define SAID   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static const struct back_how chat = {.dialect = "ollama", .path = "/api/chat"};

static void asks_for_chats(void **state)
{
    static const struct back_row rows[] = {
        {"{\"model\":\"x\"," HI "}", "{\"model\":\"m\"," SAID ",\"stream\":false}", NULL, 0},
        {"{\"model\":\"x\"," HI ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "{\"model\":\"m\"," SAID ",\"stream\":true}", NULL, 0},
        {"{\"model\":\"x\"," HI ",\"max_tokens\":5,\"temperature\":0.50,\"top_p\":0.9,\"top_k\":40,"
         "\"min_p\":0.05,\"seed\":7,\"stop\":[\"a\",\"\\n\"],\"presence_penalty\":1,"
         "\"frequency_penalty\":0.5,\"repetition_penalty\":1.1,\"keep_alive\":\"5m\"}",
         "{\"model\":\"m\"," SAID ",\"options\":{\"num_predict\":5,\"temperature\":0.50,"
         "\"top_p\":0.9,\"top_k\":40,\"min_p\":0.05,\"seed\":7,\"presence_penalty\":1,"
         "\"frequency_penalty\":0.5,\"repeat_penalty\":1.1,\"stop\":[\"a\",\"\\n\"]},"
         "\"stream\":false,\"keep_alive\":\"5m\"}",
         NULL, 0},
        {"{\"model\":\"x\"," HI ",\"temperature\":1,\"options\":{\"num_ctx\":8192,"
         "\"temperature\":0}}",
         "{\"model\":\"m\"," SAID ",\"options\":{\"temperature\":1,\"num_ctx\":8192},"
         "\"stream\":false}",
         NULL, 0},
        {"{\"model\":\"x\"," HI ",\"response_format\":{\"type\":\"json_object\"},"
         "\"reasoning_effort\":\"none\",\"user\":\"u\"}",
         "{\"model\":\"m\"," SAID ",\"format\":\"json\",\"think\":false,\"stream\":false}", "user",
         0},
        {"{\"model\":\"x\"," HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
         "{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}},\"reasoning_effort\":\"low\","
         "\"logprobs\":true,\"top_logprobs\":2}",
         "{\"model\":\"m\"," SAID ",\"format\":{\"type\":\"object\"},\"think\":\"low\","
         "\"logprobs\":true,\"top_logprobs\":2,\"stream\":false}",
         NULL, 0},
        {"{\"model\":\"x\"," HI ",\"think\":true,\"reasoning_effort\":\"low\"}",
         "{\"model\":\"m\"," SAID ",\"stream\":false,\"think\":true}", NULL, 0},
        {"{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"what\"},{\"type\":\"text\",\"text\":\"is it\"},{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"data:image/png;base64,aGk=\"}}]}]}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"what\\nis it\","
         "\"images\":[\"aGk=\"]}],\"stream\":false}",
         NULL, 0},
        {"{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"http://a/b.png\"}}]}]}",
         NULL, "messages[0].content[0]", PS_FAULT_UNSUPPORTED_OPERATION},
        {"{\"model\":\"x\"," HI ",\"n\":2}", NULL, "n", PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    back_encode_rows(&chat, rows, BACK_COUNT(rows));
}

#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"     \
    "\"object\"}}}]"
#define TALK                                                                                       \
    "\"messages\":[{\"role\":\"developer\",\"content\":\"be\"},{\"role\":\"user\",\"content\":"    \
    "\"hi\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"    \
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":"     \
    "\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}]"
#define TALKED                                                                                     \
    "\"messages\":[{\"role\":\"system\",\"content\":\"be\"},{\"role\":\"user\",\"content\":\"hi\"" \
    "},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{"     \
    "\"name\":\"f\",\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"content\":\"42\","            \
    "\"tool_name\":\"f\",\"tool_call_id\":\"c1\"}]"

static void asks_with_tools(void **state)
{
    static const struct back_row rows[] = {
        {"{\"model\":\"x\"," TALK "," TOOLS "}",
         "{\"model\":\"m\"," TALKED "," TOOLS ",\"stream\":false}", NULL, 0},
        {"{\"model\":\"x\"," HI "," TOOLS ",\"tool_choice\":\"none\"}",
         "{\"model\":\"m\"," SAID ",\"stream\":false}", NULL, 0},
        {"{\"model\":\"x\"," HI "," TOOLS ",\"tool_choice\":\"auto\",\"parallel_tool_calls\":"
         "false}",
         "{\"model\":\"m\"," SAID "," TOOLS ",\"stream\":false}", "parallel_tool_calls", 0},
        {"{\"model\":\"x\"," HI "," TOOLS ",\"tool_choice\":\"required\"}", NULL, "tool_choice",
         PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    back_encode_rows(&chat, rows, BACK_COUNT(rows));
}

static void asks_for_others(void **state)
{
    static const struct back_row completions[] = {
        {"{\"model\":\"x\",\"prompt\":\"once\",\"suffix\":\"end\",\"max_tokens\":3}",
         "{\"model\":\"m\",\"prompt\":\"once\",\"suffix\":\"end\",\"options\":{\"num_predict\":3},"
         "\"stream\":false}",
         NULL, 0},
        {"{\"model\":\"x\",\"prompt\":[\"a\",\"b\"]}", NULL, "prompt[1]",
         PS_FAULT_UNSUPPORTED_OPERATION},
    };
    static const struct back_row embeddings[] = {
        {"{\"model\":\"x\",\"input\":\"a\",\"dimensions\":8}",
         "{\"model\":\"m\",\"input\":[\"a\"],\"dimensions\":8}", NULL, 0},
        {"{\"model\":\"x\",\"input\":[\"a\",\"b\"],\"truncate\":false}",
         "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"truncate\":false}", NULL, 0},
    };
    static const struct back_how complete = {
        .dialect = "ollama", .operation = PS_OP_COMPLETE, .path = "/api/generate"};
    static const struct back_how embed = {
        .dialect = "ollama", .operation = PS_OP_EMBED, .path = "/embed", .base_path = "/x/api"};

    (void)state;
    back_encode_rows(&complete, completions, BACK_COUNT(completions));
    back_encode_rows(&embed, embeddings, BACK_COUNT(embeddings));
}

#define LINE(message, more) "{\"model\":\"q\",\"message\":" message "," more "}\n"
#define END_LINE                                                                                   \
    LINE("{\"role\":\"assistant\",\"content\":\"\"}",                                              \
         "\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2")

static void tells_answers(void **state)
{
    static const struct back_answer answers[] = {
        {PS_OP_CHAT, true, NDJSON,
         LINE("{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"}", "\"done\":false")
             LINE("{\"role\":\"assistant\",\"content\":\"H\\u00e9\"}", "\"done\":false")
                 LINE("{\"role\":\"assistant\",\"content\":\"y\"}", "\"done\":false") END_LINE,
         "start model=q\nreasoning 0 | hm\ntext | Hé\ntext | y\nusage 3,2,-1\nfinish 1 stop\n"
         "done\n"},
        {PS_OP_CHAT, true, NDJSON,
         LINE("{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":"
              "\"f\",\"arguments\":{\"a\": 1}}},{\"id\":\"c7\",\"function\":{\"name\":\"g\","
              "\"arguments\":{}}}]}",
              "\"done\":false") END_LINE,
         "start model=q\ntool 0 id=call_9_0 name=f | {\"a\": 1}\ntool 1 id=c7 name=g | {}\n"
         "usage 3,2,-1\nfinish 3 stop\ndone\n"},
        {PS_OP_CHAT, true, NDJSON,
         "{\"model\":\"q\",\"message\":{\"content\":\"a\"},\"logprobs\":[{\"token\":\"a\","
         "\"logprob\":-0.5,\"bytes\":[97],\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-1}]}],"
         "\"done\":false}\r\n" END_LINE,
         "start model=q\nlogprobs a=-0.5 (b=-1)\ntext | a\nusage 3,2,-1\nfinish 1 stop\ndone\n"},
        {PS_OP_CHAT, true, NDJSON,
         LINE("{\"role\":\"assistant\",\"content\":\"a\"}",
              "\"done\":false") "{\"error\":\"the runner has ended\"}\n",
         "start model=q\ntext | a\nfault upstream_error: the runner has ended\n"},
        {PS_OP_CHAT, true, NDJSON,
         LINE("{\"role\":\"assistant\",\"content\":\"a\"}", "\"done\":false") "{\"model\":\"q\",\"",
         "start model=q\ntext | a\nbroken stream_incomplete: The provider's stream ended before "
         "the answer was finished.\n"},
        {PS_OP_CHAT, true, NDJSON, "nothing\n",
         "broken upstream_broken: The provider sent an event that is not valid JSON.\n"},
        /* the last line may lack its LF */
        {PS_OP_COMPLETE, true, NDJSON,
         "{\"model\":\"q\",\"response\":\"a\",\"done\":false}\n{\"model\":\"q\",\"response\":\"\","
         "\"done\":true,\"done_reason\":\"length\"}",
         "start model=q\ntext | a\nfinish 2 length\ndone\n"},
        {PS_OP_CHAT, false, JSON,
         " {\"model\":\"q\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\",\"thinking\":"
         "\"t\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2}"
         "\n",
         "start model=q\nreasoning 0 | t\ntext | Hi\nusage 3,2,-1\nfinish 1 stop\nresult\ndone\n"},
        {PS_OP_CHAT, false, JSON, "{\"model\":\"q\",\"message\":{\"content\":\"Hi\"}}",
         "broken upstream_broken: The provider's answer is not finished.\n"},
        {PS_OP_CHAT, false, JSON, "{\"error\":\"no\"}", "fault upstream_error: no\n"},
        {PS_OP_EMBED, false, JSON,
         "{\"model\":\"q\",\"embeddings\":[[0.5,-1e-3],[1,2]],\"prompt_eval_count\":4}",
         "start model=q\nvector 0 | [0.5,-1e-3]\nvector 1 | [1,2]\nusage 4,-1,-1\nresult\ndone\n"},
        {PS_OP_EMBED, false, JSON, "{\"model\":\"q\"}",
         "start model=q\nbroken upstream_broken: The provider's answer has no vectors.\n"},
    };

    (void)state;
    back_decode_all("ollama", answers, BACK_COUNT(answers));
}

static void tells_errors(void **state)
{
    static const struct back_error errors[] = {
        {404, "{\"error\":\"model \\\"q\\\" not found, try pulling it first\"}",
         PS_FAULT_MODEL_NOT_FOUND, "model \"q\" not found, try pulling it first"},
        {400, "{\"error\":\"\\\"q\\\" does not support tools\"}", PS_FAULT_BAD_FIELD,
         "\"q\" does not support tools"},
        {400, "{\"error\":\"the input length exceeds the context length\"}",
         PS_FAULT_CONTEXT_LENGTH, NULL},
        {503, "{\"error\":\"server busy, please try again\"}", PS_FAULT_UPSTREAM_OVERLOADED, NULL},
        {401, "{\"error\":\"unauthorized\"}", PS_FAULT_UPSTREAM_AUTH, NULL},
        {500, "boom", PS_FAULT_UPSTREAM_ERROR, NULL},
    };

    (void)state;
    back_errors("ollama", errors, BACK_COUNT(errors));
}

static void lists_models(void **state)
{
    struct rig_log log = {.len = 0};
    const struct ps_dialect *ollama = ps_dialect_find("ollama");
    const char *list = "{\"models\":[{\"name\":\"a:latest\",\"size\":1},{\"name\":\"b\\u0021\"}]}";

    (void)state;
    assert_int_equal(ps_dialect_models(ollama, ps_slice_cstr(list), back_on_model, &log), 0);
    assert_string_equal(log.text, "a:latest b! ");
    assert_int_equal(ps_dialect_models(ollama, PS_SLICE_LIT("{\"data\":[]}"), back_on_model, &log),
                     -1);
    assert_int_equal(ps_dialect_models(ollama, PS_SLICE_LIT("{\"models\":["), back_on_model, &log),
                     -1);
    assert_string_equal(ps_dialect_health_path(ollama), "/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_chats),  cmocka_unit_test(asks_with_tools),
        cmocka_unit_test(asks_for_others), cmocka_unit_test(tells_answers),
        cmocka_unit_test(tells_errors),    cmocka_unit_test(lists_models),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
