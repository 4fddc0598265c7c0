/* SPDX-License-Identifier: Apache-2.0 */
#include "back_rig.h"

#define SSE  "text/event-stream"
#define JSON "application/json"
#define HI   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static const struct back_how chat = {.dialect = "cohere", .path = "/v2/chat"};

static void asks_for_chats(void **state)
{
    static const struct back_row rows[] = {
        {"{\"model\":\"x\"," HI "}", "{\"model\":\"m\"," HI "}", NULL, 0},
        {"{\"model\":\"x\"," HI ",\"stream\":true,\"max_tokens\":9,\"temperature\":0.3,\"top_p\":"
         "0.75,\"top_k\":40,\"seed\":7,\"stop\":\"a\",\"presence_penalty\":0.5,"
         "\"frequency_penalty\":1}",
         "{\"model\":\"m\"," HI ",\"max_tokens\":9,\"temperature\":0.3,\"p\":0.75,\"k\":40,"
         "\"presence_penalty\":0.5,\"frequency_penalty\":1,\"seed\":7,\"stop_sequences\":[\"a\"],"
         "\"stream\":true}",
         NULL, 0},
        {"{\"model\":\"x\"," HI ",\"temperature\":1.5,\"top_p\":1,\"presence_penalty\":-1,"
         "\"seed\":-1,\"user\":\"u\",\"logit_bias\":{\"1\":2},\"safety_mode\":\"OFF\"}",
         "{\"model\":\"m\"," HI ",\"temperature\":1,\"p\":0.99,\"presence_penalty\":0}",
         "temperature, top_p, presence_penalty, seed, logit_bias, user, safety_mode", 0},
        {"{\"model\":\"x\"," HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
         "{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}},\"reasoning_effort\":\"high\"}",
         "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"json_object\",\"json_schema\":{"
         "\"type\":\"object\"}},\"thinking\":{\"type\":\"enabled\"}}",
         NULL, 0},
        {"{\"model\":\"x\"," HI ",\"response_format\":{\"type\":\"json_object\"},"
         "\"reasoning_effort\":\"none\"}",
         "{\"model\":\"m\"," HI ",\"response_format\":{\"type\":\"json_object\"},\"thinking\":{"
         "\"type\":\"disabled\"}}",
         NULL, 0},
        {"{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"what\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://a/b\","
         "\"detail\":\"low\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"data:image/png;base64,aGk=\"}}]}]}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"what\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://a/b\","
         "\"detail\":\"low\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"data:image/png;base64,aGk=\"}}]}]}",
         NULL, 0},
        {"{\"model\":\"x\"," HI ",\"n\":2}", NULL, "n", PS_FAULT_UNSUPPORTED_OPERATION},
        {"{\"model\":\"x\"," HI ",\"logprobs\":true}", NULL, "logprobs",
         PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    back_encode_rows(&chat, rows, BACK_COUNT(rows));
}

#define FUNCTION(name)                                                                             \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name                                        \
    "\",\"parameters\":{\"type\":\"object\"}}}"
#define TOOLS "\"tools\":[" FUNCTION("f") "," FUNCTION("g") "]"
#define CALLS                                                                                      \
    "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","           \
    "\"arguments\":\"{\\\"a\\\":1}\"}}]"
#define RESULT "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}"

static void asks_with_tools(void **state)
{
    static const struct back_row rows[] = {
        {"{\"model\":\"x\",\"messages\":[{\"role\":\"developer\",\"content\":\"be\"},{\"role\":"
         "\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":null,"
         "\"reasoning_content\":\"plan\"," CALLS "}," RESULT "]," TOOLS "}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be\"},{\"role\":"
         "\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"tool_plan\":\"plan\"," CALLS
         "}," RESULT "]," TOOLS "}",
         NULL, 0},
        {"{\"model\":\"x\"," HI "," TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{"
         "\"name\":\"g\"}}}",
         "{\"model\":\"m\"," HI ",\"tools\":[" FUNCTION("g") "],\"tool_choice\":\"REQUIRED\"}",
         NULL, 0},
        {"{\"model\":\"x\"," HI "," TOOLS ",\"tool_choice\":\"none\"}",
         "{\"model\":\"m\"," HI "," TOOLS ",\"tool_choice\":\"NONE\"}", NULL, 0},
        {"{\"model\":\"x\"," HI "," TOOLS ",\"tool_choice\":\"required\","
         "\"parallel_tool_calls\":false}",
         "{\"model\":\"m\"," HI "," TOOLS ",\"tool_choice\":\"REQUIRED\"}", "parallel_tool_calls",
         0},
    };

    (void)state;
    back_encode_rows(&chat, rows, BACK_COUNT(rows));
}

static void asks_for_others(void **state)
{
    static const struct back_row embeddings[] = {
        {"{\"model\":\"x\",\"input\":\"a\",\"dimensions\":256}",
         "{\"model\":\"m\",\"input_type\":\"search_document\",\"texts\":[\"a\"],"
         "\"embedding_types\":[\"float\"],\"output_dimension\":256}",
         NULL, 0},
        {"{\"model\":\"x\",\"input\":[\"a\",\"b\"],\"input_type\":\"search_query\"}",
         "{\"model\":\"m\",\"input_type\":\"search_query\",\"texts\":[\"a\",\"b\"],"
         "\"embedding_types\":[\"float\"]}",
         NULL, 0},
    };
    static const struct back_row rankings[] = {
        {"{\"model\":\"x\",\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\",\"id\":1}],"
         "\"top_n\":1}",
         "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_n\":1}", NULL, 0},
        {"{\"model\":\"x\",\"query\":\"q\",\"documents\":[{\"id\":1}]}", NULL, "documents[0].text",
         PS_FAULT_BAD_FIELD},
        {"{\"model\":\"x\",\"documents\":[\"a\"]}", NULL, "query", PS_FAULT_MISSING_FIELD},
    };
    static const struct back_how embed = {
        .dialect = "cohere", .operation = PS_OP_EMBED, .path = "/v2/embed"};
    static const struct back_how rerank = {
        .dialect = "cohere", .operation = PS_OP_RERANK, .path = "/rerank", .base_path = "/v2"};

    (void)state;
    back_encode_rows(&embed, embeddings, BACK_COUNT(embeddings));
    back_encode_rows(&rerank, rankings, BACK_COUNT(rankings));
}

#define EVENT(type, more) "event: " type "\ndata: {\"type\":\"" type "\"" more "}\n\n"
#define START                                                                                      \
    EVENT("message-start", ",\"id\":\"a1\",\"delta\":{\"message\":{\"role\":\"assistant\"}}")
#define CONTENT(type, member)                                                                      \
    EVENT(type, ",\"index\":0,\"delta\":{\"message\":{\"content\":{" member "}}}")
#define END(reason, more)                                                                          \
    EVENT("message-end", ",\"delta\":{\"finish_reason\":\"" reason                                 \
                         "\",\"usage\":{\"billed_units\":{\"input_tokens\":1},\"tokens\":{"        \
                         "\"input_tokens\":9,\"output_tokens\":4},\"cached_tokens\":2}" more "}")
#define CITED                                                                                      \
    "{\"start\":0,\"end\":2,\"text\":\"Hi\",\"sources\":[{\"type\":\"document\",\"id\":\"d\","     \
    "\"document\":{\"title\":\"T\",\"url\":\"http://u\",\"snippet\":\"s\"}}]}"

static void tells_streams(void **state)
{
    static const struct back_answer answers[] = {
        {PS_OP_CHAT, true, SSE,
         START CONTENT("content-start", "\"type\":\"thinking\",\"thinking\":\"\"")
             CONTENT("content-delta", "\"thinking\":\"hm\"") EVENT("content-end", ",\"index\":0")
                 CONTENT("content-start", "\"type\":\"text\",\"text\":\"\"")
                     CONTENT("content-delta", "\"text\":\"H\\u00e9\"")
                         CONTENT("content-delta", "\"text\":\" you\"")
                             EVENT("citation-start",
                                   ",\"index\":0,\"delta\":{\"message\":{\"citations\":" CITED "}}")
                                 EVENT("citation-end", ",\"index\":0")
                                     EVENT("content-end", ",\"index\":0") END("COMPLETE", ""),
         "start id=a1\nreasoning 1 | hm\ntext | Hé\ntext |  you\n"
         "citation 0-2 url=http://u title=T quote=s\nusage 9,4,2\nfinish 1 COMPLETE\ndone\n"},
        {PS_OP_CHAT, true, SSE,
         START EVENT("tool-plan-delta", ",\"delta\":{\"message\":{\"tool_plan\":\"I will\"}}")
             EVENT("tool-call-start",
                   ",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"f_1\",\"type\":"
                   "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}}}")
                 EVENT("tool-call-delta", ",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{"
                                          "\"function\":{\"arguments\":\"{\\\"a\\\"\"}}}}")
                     EVENT("tool-call-delta", ",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":"
                                              "{\"function\":{\"arguments\":\":1}\"}}}}")
                         EVENT("tool-call-end", ",\"index\":0")
                             END("TOOL_CALL", "") "data: [DONE]\n\n",
         "start id=a1\nreasoning 0 | I will\ntool 0 id=f_1 name=f\ntool 0 | {\"a\"\n"
         "tool 0 | :1}\nusage 9,4,2\nfinish 3 TOOL_CALL\ndone\n"},
        {PS_OP_CHAT, true, SSE, START END("ERROR", ",\"error\":\"it broke\""),
         "start id=a1\nusage 9,4,2\nfault upstream_error: it broke\n"},
        {PS_OP_CHAT, true, SSE, START CONTENT("content-delta", "\"text\":\"a\""),
         "start id=a1\ntext | a\nbroken stream_incomplete: The provider's stream ended before the "
         "answer was finished.\n"},
        {PS_OP_CHAT, true, SSE, START "data: {]\n\n",
         "start id=a1\nbroken upstream_broken: The provider sent an event that is not valid "
         "JSON.\n"},
        {PS_OP_CHAT, true, SSE, END("MAX_TOKENS", ""), "usage 9,4,2\nfinish 2 MAX_TOKENS\ndone\n"},
    };

    (void)state;
    back_decode_all("cohere", answers, BACK_COUNT(answers));
}

static void tells_whole_answers(void **state)
{
    static const struct back_answer answers[] = {
        {PS_OP_CHAT, false, JSON,
         "{\"id\":\"a1\",\"finish_reason\":\"COMPLETE\",\"message\":{\"role\":\"assistant\","
         "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},{\"type\":\"text\",\"text\":"
         "\"Hi you\"}],\"citations\":[" CITED "]},\"usage\":{\"tokens\":{\"input_tokens\":9,"
         "\"output_tokens\":4}}}",
         "start id=a1\nreasoning 1 | hm\ntext | Hi you\ncitation 0-2 url=http://u title=T quote=s\n"
         "usage 9,4,-1\nfinish 1 COMPLETE\nresult\ndone\n"},
        {PS_OP_CHAT, false, JSON,
         "{\"id\":\"a1\",\"finish_reason\":\"TOOL_CALL\",\"message\":{\"tool_plan\":\"p\","
         "\"tool_calls\":[{\"id\":\"f_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
         "\"arguments\":\"{}\"}}]}}",
         "start id=a1\nreasoning 0 | p\ntool 0 id=f_1 name=f | {}\nfinish 3 TOOL_CALL\nresult\n"
         "done\n"},
        {PS_OP_CHAT, false, JSON, "{\"id\":\"a1\"}",
         "broken upstream_broken: The provider's answer has no message.\n"},
        {PS_OP_EMBED, false, JSON,
         "{\"id\":\"e\",\"embeddings\":{\"float\":[[0.5,1],[2,-3e-2]]},\"meta\":{\"billed_units\":{"
         "\"input_tokens\":5}}}",
         "vector 0 | [0.5,1]\nvector 1 | [2,-3e-2]\nusage 5,-1,-1\nresult\ndone\n"},
        {PS_OP_RERANK, false, JSON,
         "{\"id\":\"r\",\"results\":[{\"index\":1,\"relevance_score\":0.90},{\"index\":0,"
         "\"relevance_score\":0.1}],\"meta\":{\"billed_units\":{\"search_units\":1}}}",
         "start id=r\nscore 1 0.90\nscore 0 0.1\nresult\ndone\n"},
        {PS_OP_RERANK, false, JSON, "{\"results\":[{\"index\":-1,\"relevance_score\":0.9}]}",
         "start\nbroken upstream_broken: The provider's answer has a result without index or "
         "score.\n"},
        {PS_OP_RERANK, false, JSON, "[1",
         "broken upstream_broken: The provider's answer ends too early.\n"},
    };

    (void)state;
    back_decode_all("cohere", answers, BACK_COUNT(answers));
}

static void tells_errors(void **state)
{
    static const struct back_error errors[] = {
        {400, "{\"message\":\"too many tokens: 9000\"}", PS_FAULT_CONTEXT_LENGTH, NULL},
        {400, "{\"message\":\"bad p\"}", PS_FAULT_BAD_FIELD, "bad p"},
        {401, "{\"message\":\"invalid api token\"}", PS_FAULT_UPSTREAM_AUTH,
         "The provider did not accept the gateway's own credentials."},
        {404, "{\"message\":\"model 'x' not found\"}", PS_FAULT_MODEL_NOT_FOUND, NULL},
        {498, "{\"message\":\"blocked\"}", PS_FAULT_CONTENT_POLICY, "blocked"},
        {499, "{\"message\":\"request cancelled\"}", PS_FAULT_UPSTREAM_ERROR, NULL},
        {429, "{\"message\":\"40 calls / minute\"}", PS_FAULT_RATE_LIMITED, NULL},
        {429, "{\"message\":\"1000 calls / month\"}", PS_FAULT_QUOTA, NULL},
        {503, "", PS_FAULT_UPSTREAM_OVERLOADED, NULL},
    };

    (void)state;
    back_errors("cohere", errors, BACK_COUNT(errors));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_chats),      cmocka_unit_test(asks_with_tools),
        cmocka_unit_test(asks_for_others),     cmocka_unit_test(tells_streams),
        cmocka_unit_test(tells_whole_answers), cmocka_unit_test(tells_errors),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
