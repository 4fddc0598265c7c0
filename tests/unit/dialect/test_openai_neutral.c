/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "rig.h"

/*
 * Requests of OpenAI's API through the neutral form and back into the same API. Each body is tried
 * with its bytes cut between two blocks of the chain at every place.
 */

struct row {
    enum ps_operation operation;
    bool self_hosted;
    const char *body;
    const char *expected; /* the body that goes out; NULL: refused */
    const char *said;     /* what is dropped; or the param of the fault */
};

static const struct ps_dialect_settings hosted = {.self_hosted = true};
static const struct ps_dialect_settings plain;

static int translate(struct rig *rig, const struct row *row, size_t shift,
                     struct ps_encoded *encoded)
{
    struct ps_reader_options options = {.operation = row->operation};
    const struct ps_encode_options encode = {.settings = row->self_hosted ? &hosted : &plain};

    rig->request.family = PS_FAMILY_OPENAI;
    rig->request.operation = row->operation;
    if (rig_read(rig, &options, ps_slice_cstr(row->body), &(struct cut){.shift = shift}) != 0) {
        return -1;
    }
    return ps_encode_translate(ps_dialect_find("openai"), &rig->request, &encode, &rig->arena,
                               encoded, &rig->fault);
}

static void run_row(const struct row *row)
{
    for (size_t shift = 0; shift <= strlen(row->body); shift++) {
        struct ps_encoded encoded = {.method = NULL};
        struct rig rig;
        char dropped[512];
        int rc;

        rig_init(&rig);
        rc = translate(&rig, row, shift, &encoded);
        if (row->expected == NULL) {
            if (rc == 0 || strcmp(rig.fault.param, row->said) != 0) {
                fail_msg("%s: %d, param %s, not %s (%s)", row->body, rc, rig.fault.param, row->said,
                         rig.fault.message);
            }
            assert_true(ps_fault_status(&rig.fault) == 400);
            assert_true(strlen(rig.fault.message) > 0);
        } else {
            char *out;

            if (rc != 0) {
                fail_msg("%s: %s", row->body, rig.fault.message);
            }
            out = rig_join(&encoded);
            assert_string_equal(out, row->expected);
            free(out);
            (void)snprintf(dropped, sizeof(dropped), "%.*s", (int)encoded.dropped.len,
                           encoded.dropped.len > 0 ? encoded.dropped.ptr : "");
            assert_string_equal(dropped, row->said != NULL ? row->said : "");
        }
        rig_deinit(&rig);
    }
}

static void run_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_row(&rows[i]);
    }
}
#define RUN(rows) run_rows(rows, sizeof(rows) / sizeof((rows)[0]))

#define CHAT(rest) PS_OP_CHAT, false, "{\"messages\":[" rest
#define HOST(rest) PS_OP_CHAT, true, "{\"messages\":[" rest
#define USER       "{\"role\":\"user\",\"content\":\"hi\"}"
#define CALLS(id)                                                                                  \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"" id                       \
    "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"
#define SAME(rest) "{\"messages\":[" rest

static void keeps_what_it_knows(void **state)
{
    static const struct row rows[] = {
        {CHAT("{\"role\":\"developer\",\"content\":\"be\"},{\"role\":\"user\",\"name\":\"ann\","
              "\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\\/\"},{\"type\":\"image_url\","
              "\"image_url\":{\"url\":\"https:\\/\\/x\",\"detail\":\"low\"}},{\"type\":"
              "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QUJD\"}},{\"type\":"
              "\"input_audio\",\"input_audio\":{\"data\":\"QUJD\",\"format\":\"wav\"}},{\"type\":"
              "\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":"
              "\"data:application/pdf;base64,QUJD\"}}]}]}"),
         SAME("{\"role\":\"developer\",\"content\":\"be\"},{\"role\":\"user\",\"name\":\"ann\","
              "\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\\/\"},{\"type\":\"image_url\","
              "\"image_url\":{\"url\":\"https:\\/\\/x\",\"detail\":\"low\"}},{\"type\":"
              "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QUJD\"}},{\"type\":"
              "\"input_audio\",\"input_audio\":{\"data\":\"QUJD\",\"format\":\"wav\"}},{\"type\":"
              "\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":"
              "\"data:application/pdf;base64,QUJD\"}}]}]}"),
         NULL},
        {CHAT(USER "," CALLS("c\\u0031") ",{\"role\":\"tool\",\"tool_call_id\":\"c\\u0031\","
                                         "\"content\":[{\"type\":\"text\",\"text\":\"1\"},"
                                         "{\"type\":\"text\",\"text\":\"2\"}]}]}"),
         SAME(USER "," CALLS("c\\u0031") ",{\"role\":\"tool\",\"tool_call_id\":\"c\\u0031\","
                                         "\"content\":[{\"type\":\"text\",\"text\":\"1\"},"
                                         "{\"type\":\"text\",\"text\":\"2\"}]}]}"),
         NULL},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"x\":1e0},"
                   "\"strict\":true}},{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"format\":"
                   "{\"type\":\"text\"}}}],\"tool_choice\":{\"type\":\"function\",\"function\":{"
                   "\"name\":\"f\"}},\"parallel_tool_calls\":false}"),
         SAME(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"x\":1e0},"
                   "\"strict\":true}},{\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"format\":"
                   "{\"type\":\"text\"}}}],\"tool_choice\":{\"type\":\"function\",\"function\":{"
                   "\"name\":\"f\"}},\"parallel_tool_calls\":false}"),
         NULL},
        /* allowed tools become the tools there are */
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
                   "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":{"
                   "\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":"
                   "[{\"type\":\"function\",\"function\":{\"name\":\"\\u0067\"}}]}}}"),
         SAME(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],"
                   "\"tool_choice\":\"required\"}"),
         NULL},
        {CHAT(USER "],\"max_completion_tokens\":5,\"temperature\":0.50,\"top_p\":1,"
                   "\"presence_penalty\":-1,\"frequency_penalty\":2e0,\"n\":2,\"logit_bias\":{\"5\""
                   ":-100},\"logprobs\":true,\"top_logprobs\":3,\"stop\":[\"a\",\"\\n\"],\"seed\":"
                   "-9007199254740993,\"response_format\":{\"type\":\"json_schema\",\"json_schema\""
                   ":{\"name\":\"s\",\"description\":\"d\",\"schema\":{\"type\":[\"object\","
                   "\"null\"]},\"strict\":false}},\"reasoning_effort\":\"xhigh\",\"user\":\"u\","
                   "\"verbosity\":\"low\",\"prompt_cache_key\":\"k\",\"web_search_options\":{},"
                   "\"service_tier\":\"flex\",\"store\":true,\"metadata\":{\"a\":\"b\"}}"),
         SAME(USER "],\"max_completion_tokens\":5,\"temperature\":0.50,\"top_p\":1,"
                   "\"presence_penalty\":-1,\"frequency_penalty\":2e0,\"n\":2,\"logit_bias\":{\"5\""
                   ":-100},\"logprobs\":true,\"top_logprobs\":3,\"stop\":[\"a\",\"\\n\"],\"seed\":"
                   "-9007199254740993,\"response_format\":{\"type\":\"json_schema\",\"json_schema\""
                   ":{\"name\":\"s\",\"description\":\"d\",\"schema\":{\"type\":[\"object\","
                   "\"null\"]},\"strict\":false}},\"reasoning_effort\":\"xhigh\",\"user\":\"u\","
                   "\"verbosity\":\"low\",\"prompt_cache_key\":\"k\",\"web_search_options\":{},"
                   "\"service_tier\":\"flex\",\"store\":true,\"metadata\":{\"a\":\"b\"}}"),
         NULL},
        /* other forms of the same */
        {CHAT(USER "],\"stop\":\"x\",\"max_tokens\":7,\"seed\":null,\"stream\":false}"),
         SAME(USER "],\"max_completion_tokens\":7,\"stop\":[\"x\"]}"), NULL},
        {CHAT("{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}," USER "]}"),
         SAME("{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"}," USER "]}"), NULL},
        {PS_OP_COMPLETE, false,
         "{\"prompt\":[\"a\",\"b\"],\"suffix\":\"c\",\"echo\":true,\"best_of\":2,\"max_tokens\":0,"
         "\"logprobs\":3}",
         "{\"prompt\":[\"a\",\"b\"],\"suffix\":\"c\",\"echo\":true,\"best_of\":2,\"max_tokens\":0,"
         "\"logprobs\":3}",
         NULL},
        {PS_OP_EMBED, false,
         "{\"input\":\"a\",\"dimensions\":8,\"encoding_format\":\"base64\",\"user\":\"u\"}",
         "{\"input\":\"a\",\"dimensions\":8,\"encoding_format\":\"float\",\"user\":\"u\"}", NULL},
        {PS_OP_RERANK, false,
         "{\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"}],\"top_n\":1,"
         "\"return_documents\":true}",
         "{\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"}],\"top_n\":1,"
         "\"return_documents\":true}",
         NULL},
    };

    (void)state;
    RUN(rows);
}

static void passes_or_names_the_rest(void **state)
{
    static const struct row rows[] = {
        {CHAT(USER "],\"top_k\":5,\"min_p\":0.1,\"repetition_penalty\":1.1,\"guided_json\":{\"a\":"
                   "1},\"x y\":2}"),
         SAME(USER "]}"), "top_k, min_p, repetition_penalty, guided_json"},
        {HOST(USER "],\"top_k\":5,\"min_p\":0.1,\"repetition_penalty\":1.1,\"guided_json\":{\"a\":"
                   "1},\"x\\u0020y\":2}"),
         SAME(USER "],\"top_k\":5,\"min_p\":0.1,\"repetition_penalty\":1.1,\"guided_json\":{"
                   "\"a\":1},\"x\\u0020y\":2}"),
         NULL},
        {CHAT("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"hm\"}," USER "]}"),
         SAME("{\"role\":\"assistant\",\"content\":\"a\"}," USER "]}"), "reasoning"},
        {HOST("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"hm\"}," USER "]}"),
         SAME("{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"hm\"}," USER "]}"),
         NULL},
        {CHAT("{\"role\":\"user\",\"content\":\"a\",\"prefix\":true,\"cache_control\":{\"type\":"
              "\"ephemeral\"}}]}"),
         SAME("{\"role\":\"user\",\"content\":\"a\"}]}"), "cache_control, messages[0].prefix"},
        {CHAT(USER "],\"metadata\":{\"a\":\"b\"},\"prediction\":{\"type\":\"content\"}}"),
         SAME(USER "]}"), "metadata, prediction"},
        {HOST("{\"role\":\"developer\",\"content\":\"be\"}," USER "]}"),
         SAME("{\"role\":\"system\",\"content\":\"be\"}," USER "]}"), NULL},
        {CHAT(USER "],\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5000}}"),
         SAME(USER "],\"reasoning_effort\":\"medium\"}"), NULL},
        {CHAT(USER "],\"reasoning\":{\"effort\":\"low\"}}"),
         SAME(USER "],\"reasoning_effort\":\"low\"}"), NULL},
    };

    (void)state;
    RUN(rows);
}

static void refuses_what_is_wrong(void **state)
{
    static const struct row rows[] = {
        {CHAT("{\"role\":\"robot\",\"content\":\"x\"}]}"), NULL, "messages[0].role"},
        {CHAT("{\"role\":\"user\"}]}"), NULL, "messages[0].content"},
        {CHAT("{\"role\":\"user\",\"content\":[]}]}"), NULL, "messages[0].content"},
        {CHAT("{\"role\":\"user\",\"content\":5}]}"), NULL, "messages[0].content"},
        {CHAT("{\"role\":\"user\",\"content\":[5]}]}"), NULL, "messages[0].content[0]"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]}"), NULL,
         "messages[0].content[0].type"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}"), NULL,
         "messages[0].content[0].text"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"hologram\"}]}]}"), NULL,
         "messages[0].content[0]"},
        {CHAT("{\"role\":\"system\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
              "\"https://x\"}}]}]}"),
         NULL, "messages[0].content[0].type"},
        {CHAT(USER ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":"
                   "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QU*D\"}}]}]}"),
         NULL, "messages[1].content[1].image_url.url"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
              "\"data:image/png,x\"}}]}]}"),
         NULL, "messages[0].content[0].image_url.url"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
              "\"data:;base64,QUJD\"}}]}]}"),
         NULL, "messages[0].content[0].image_url.url"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
              "\"data:image/png;base64,QUJDR\"}}]}]}"),
         NULL, "messages[0].content[0].image_url.url"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]}"),
         NULL, "messages[0].content[0].image_url.url"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}"), NULL,
         "messages[0].content[0].image_url"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\",\"input_audio\":{"
              "\"data\":\"==\",\"format\":\"wav\"}}]}]}"),
         NULL, "messages[0].content[0].input_audio.data"},
        {CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"a\","
              "\"file_data\":\"QUJD\"}}]}]}"),
         NULL, "messages[0].content[0].file.file_data"},
        {CHAT(USER ",{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"x\"}]}"), NULL,
         "messages[1].tool_call_id"},
        {CHAT(USER
              "," CALLS("c") ",{\"role\":\"tool\",\"tool_call_id\":\"d\",\"content\":\"x\"}]}"),
         NULL, "messages[2].tool_call_id"},
        {CHAT(USER "," CALLS("c") ",{\"role\":\"tool\",\"content\":\"x\"}]}"), NULL,
         "messages[2].tool_call_id"},
        {CHAT(USER "," CALLS("c") ",{\"role\":\"tool\",\"tool_call_id\":\"c\"}]}"), NULL,
         "messages[2].content"},
        {CHAT("{\"role\":\"user\",\"content\":\"x\",\"tool_call_id\":\"c\"}]}"), NULL,
         "messages[0].tool_call_id"},
        {CHAT("{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[{}]}]}"), NULL,
         "messages[0].tool_calls"},
        {CHAT("{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":{}}]}"), NULL,
         "messages[0].tool_calls"},
        {CHAT("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\","
              "\"arguments\":\"[1]\"}}]}]}"),
         NULL, "messages[0].tool_calls[0].function.arguments"},
        {CHAT("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\","
              "\"arguments\":\"{\\\"a\\\"\"}}]}]}"),
         NULL, "messages[0].tool_calls[0].function.arguments"},
        {CHAT("{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}]}"), NULL,
         "messages[0].tool_calls[0].id"},
        {CHAT("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"function\":{}}]}]}"), NULL,
         "messages[0].tool_calls[0].function.name"},
        {CHAT("{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\"}]}]}"), NULL,
         "messages[0].tool_calls[0].function"},
        {CHAT("{\"role\":\"assistant\",\"content\":null}]}"), NULL, "messages[0].content"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\"},\"tool_calls\":[]}]}"),
         NULL, "messages[0].function_call"},
        {CHAT("{\"role\":\"user\",\"content\":\"x\",\"function_call\":{\"name\":\"f\"}}]}"), NULL,
         "messages[0].function_call"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":\"f\"}]}"), NULL,
         "messages[0].function_call"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{}}]}"), NULL,
         "messages[0].function_call.name"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{\"name\":\"\"}}]}"), NULL,
         "messages[0].function_call.name"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"[]\"}}]}"),
         NULL, "messages[0].function_call.arguments"},
        {CHAT("{\"role\":\"function\",\"name\":\"f\",\"content\":\"x\"}]}"), NULL,
         "messages[0].name"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\"}},{\"role\":\"function\","
              "\"name\":\"g\",\"content\":\"x\"}]}"),
         NULL, "messages[1].name"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\"}},{\"role\":\"function\","
              "\"content\":\"x\"}]}"),
         NULL, "messages[1].name"},
        {CHAT("{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\"}},{\"role\":\"function\","
              "\"name\":\"f\"}]}"),
         NULL, "messages[1].content"},
        {CHAT("{\"role\":\"assistant\",\"audio\":{\"id\":\"a\"}}]}"), NULL, "messages[0].audio"},
        {CHAT("{\"role\":\"user\",\"content\":\"x\",\"content\":\"y\"}]}"), NULL,
         "messages[0].content"},
        {CHAT(USER "],\"tools\":{}}"), NULL, "tools"},
        {CHAT(USER "],\"tools\":[1]}"), NULL, "tools[0]"},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\"}]}"), NULL, "tools[0].function"},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{}}]}"), NULL,
         "tools[0].function.name"},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"parameters\":[]}}]}"),
         NULL, "tools[0].function.parameters"},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"parameters\":{\"type\":\"string\"}}}]}"),
         NULL, "tools[0].function.parameters"},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"parameters\":{\"type\":\"object\",\"properties\":[]}}}]}"),
         NULL, "tools[0].function.parameters"},
        {CHAT(USER "],\"tools\":[{\"type\":\"web_search\"}]}"), NULL, "tools[0]"},
        {CHAT(USER "],\"tool_choice\":\"required\"}"), NULL, "tool_choice"},
        {CHAT(USER "],\"tool_choice\":\"maybe\"}"), NULL, "tool_choice"},
        {CHAT(USER "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
                   "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}}"),
         NULL, "tool_choice"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"tools\":[]}"), NULL, "functions"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"tool_choice\":\"none\"}"), NULL,
         "functions"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"parallel_tool_calls\":true}"), NULL,
         "functions"},
        {CHAT(USER "],\"function_call\":\"none\",\"tools\":[]}"), NULL, "function_call"},
        {CHAT(USER "],\"function_call\":\"auto\"}"), NULL, "function_call"},
        {CHAT(USER "],\"functions\":[]}"), NULL, "functions"},
        {CHAT(USER "],\"functions\":{\"name\":\"f\"}}"), NULL, "functions"},
        {CHAT(USER "],\"functions\":[1]}"), NULL, "functions[0]"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"},{}]}"), NULL, "functions[1].name"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\",\"parameters\":{\"type\":\"array\"}}]}"), NULL,
         "functions[0].parameters"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"function_call\":\"required\"}"), NULL,
         "function_call"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"function_call\":{}}"), NULL,
         "function_call.name"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"g\"}}"), NULL,
         "function_call.name"},
        {CHAT(USER "],\"max_tokens\":5,\"max_completion_tokens\":5}"), NULL, "max_tokens"},
        {CHAT(USER "],\"top_logprobs\":5}"), NULL, "top_logprobs"},
        {CHAT(USER "],\"response_format\":{}}"), NULL, "response_format.type"},
        {CHAT(USER "],\"response_format\":{\"type\":\"xml\"}}"), NULL, "response_format.type"},
        {CHAT(USER "],\"response_format\":{\"type\":\"json_schema\"}}"), NULL,
         "response_format.json_schema"},
        {CHAT(USER "],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                   "\"s\"}}}"),
         NULL, "response_format.json_schema.schema"},
        {CHAT(USER "],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":"
                   "{\"type\":\"objekt\"}}}}"),
         NULL, "response_format.json_schema.schema"},
        {CHAT(USER "],\"response_format\":{\"type\":\"text\",\"json_schema\":{}}}"), NULL,
         "response_format.json_schema"},
        {CHAT(USER "],\"reasoning_effort\":\"huge\"}"), NULL, "reasoning_effort"},
        {CHAT(USER "],\"reasoning_effort\":\"low\",\"reasoning\":{\"effort\":\"low\"}}"), NULL,
         "reasoning"},
        {CHAT(USER "],\"thinking\":{\"type\":\"deep\"}}"), NULL, "thinking.type"},
        {CHAT(USER "],\"modalities\":[\"text\",\"audio\"]}"), NULL, "modalities"},
        {CHAT(USER "],\"stop\":[\"a\",\"\"]}"), NULL, "stop[1]"},
        {CHAT(USER "],\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}"), NULL, "stop"},
        {CHAT(USER "],\"presence_penalty\":3}"), NULL, "presence_penalty"},
        {CHAT(USER "],\"logit_bias\":[]}"), NULL, "logit_bias"},
        {PS_OP_COMPLETE, false, "{\"prompt\":[1,2]}", NULL, "prompt[0]"},
        {PS_OP_EMBED, false, "{\"input\":[\"a\",[1]]}", NULL, "input[1]"},
        {PS_OP_EMBED, false, "{\"input\":[\"\"]}", NULL, "input[0]"},
        {PS_OP_RERANK, false, "{\"query\":\"q\"}", NULL, "documents"},
        {PS_OP_RERANK, false, "{\"query\":\"q\",\"documents\":[5]}", NULL, "documents[0]"},
        {PS_OP_RERANK, false, "{\"documents\":[\"a\"]}", NULL, "query"},
    };

    (void)state;
    RUN(rows);
}

/* What there was before tools becomes tools. */
static void reads_functions(void **state)
{
#define TOOL(name, more) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"" more "}}"
    static const struct row rows[] = {
        {CHAT(USER "],\"functions\":[{\"name\":\"f\",\"description\":\"d\",\"parameters\":{"
                   "\"type\":\"object\",\"x\":1e0},\"x_new\":1},{\"name\":\"g\"}]}"),
         SAME(USER "],\"tools\":[" TOOL(
             "f", ",\"description\":\"d\",\"parameters\":{\"type\":"
                  "\"object\",\"x\":1e0}") "," TOOL("g", "") "],\"parallel_tool_calls\":false}"),
         "functions[0].x_new"},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"\\u0066\"}}"),
         SAME(USER "],\"tools\":[" TOOL(
             "f", "") "],\"tool_choice\":{\"type\":\"function\","
                      "\"function\":{\"name\":\"\\u0066\"}},\"parallel_tool_calls\":false}"),
         NULL},
        {CHAT(USER "],\"functions\":[{\"name\":\"f\"}],\"function_call\":\"none\"}"),
         SAME(USER "],\"tools\":[" TOOL("f", "") "],\"tool_choice\":\"none\","
                                                 "\"parallel_tool_calls\":false}"),
         NULL},
        {CHAT(USER ",{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\","
                   "\"arguments\":\"{\\\"a\\\":1.0}\"}},{\"role\":\"function\",\"name\":"
                   "\"\\u0066\",\"content\":\"r\"},{\"role\":\"assistant\",\"content\":\"so\","
                   "\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}},{\"role\":\"function\","
                   "\"name\":\"f\",\"content\":\"s\"}]}"),
         SAME(USER ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
                   "\"call_function_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"arguments\":\"{\\\"a\\\":1.0}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
                   "\"call_function_1\",\"content\":\"r\"},{\"role\":\"assistant\",\"content\":"
                   "\"so\",\"tool_calls\":[{\"id\":\"call_function_3\",\"type\":\"function\","
                   "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
                   "\"tool_call_id\":\"call_function_3\",\"content\":\"s\"}]}"),
         NULL},
    };

    (void)state;
    RUN(rows);
}

/* Two results of a round, one with an image: texts first, then what is no text. */
static void keeps_media_of_results(void **state)
{
#define RESULT(id, content)                                                                        \
    "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":" content "}"
#define CALL(id)                                                                                   \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"
#define IMAGE "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x\"}}"
    static const struct row row = {
        CHAT(USER ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("b") "," CALL(
            "a") "]}," RESULT("a", "[{\"type\":\"text\",\"text\":\"t\"}," IMAGE
                                   "]") "," RESULT("b", "\"u\"") "," USER "]}"),
        SAME(USER ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("b") "," CALL(
            "a") "]}," RESULT("a", "\"t\"") "," RESULT("b", "\"u\"") ",{\"role\":\"user\","
                                                                     "\"content\":[" IMAGE
                                                                     "]}," USER "]}"),
        NULL};

    (void)state;
    run_row(&row);
}

/* Long values are pointed at, not copied: the bytes must be the same. */
static void carries_long_values(void **state)
{
    enum {
        LONG = 300000
    };
    char *body = malloc(3 * LONG);
    char *data = malloc(LONG + 1);
    struct ps_encoded encoded;
    struct rig rig;
    struct row row = {PS_OP_CHAT, false, body, NULL, NULL};
    char *out;
    int len;

    (void)state;
    assert_non_null(body);
    assert_non_null(data);
    memset(data, 'Q', LONG);
    data[LONG] = '\0';
    len = snprintf(body, 3 * LONG,
                   "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
                   "\"image_url\":{\"url\":\"data:image/png;base64,%s\"}},{\"type\":\"text\","
                   "\"text\":\"\\n%s\"}]}]}",
                   data, data);
    assert_true(len > 2 * LONG);
    rig_init(&rig);
    assert_int_equal(translate(&rig, &row, 0, &encoded), 0);
    assert_true(encoded.part_count > 2);
    out = rig_join(&encoded);
    assert_string_equal(out, body);
    free(out);
    rig_deinit(&rig);
    free(data);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_knows),   cmocka_unit_test(passes_or_names_the_rest),
        cmocka_unit_test(refuses_what_is_wrong), cmocka_unit_test(keeps_media_of_results),
        cmocka_unit_test(reads_functions),       cmocka_unit_test(carries_long_values),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
