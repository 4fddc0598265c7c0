/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/* Bodies in, paths and bodies out: what requests of other families become for the Gemini API, and
 * what is refused with which path. */

#define JSON "application/json"

struct how {
    enum ps_family family;
    enum ps_operation operation;
    const char *model;     /* NULL: "gemini-2.5-flash" */
    const char *base_path; /* NULL: "/v1beta" */
    const struct ps_dialect_settings *settings;
    uint32_t memo;
    enum ps_drop_policy drop;
};

struct row {
    const char *body;
    const char *path;     /* NULL: refused */
    const char *expected; /* the body */
    const char *dropped;  /* or the path at fault */
    enum ps_fault_kind kind;
};

static void run_row(const struct how *how, const struct row *row)
{
    struct ps_reader_options reading = {.operation = how->operation};
    struct ps_encode_options options = {
        .model = ps_slice_cstr(how->model != NULL ? how->model : "gemini-2.5-flash"),
        .drop = how->drop,
        .settings = how->settings,
        .base_path = ps_slice_cstr(how->base_path != NULL ? how->base_path : "/v1beta"),
    };
    const struct cut cut = {.shift = 7};
    struct ps_encoded encoded;
    struct rig rig;
    int rc;

    rig_init(&rig);
    rig.request.family = how->family;
    rig.request.operation = how->operation;
    rig.request.content_type = PS_SLICE_LIT(JSON);
    if (rig_read(&rig, &reading, ps_slice_cstr(row->body), &cut) != 0) {
        fail_msg("the reader refused %s: %s", row->body, rig.fault.message);
    }
    rc = ps_dialect_encode(ps_dialect_find("gemini"), &rig.request, &options, &rig.arena, &encoded,
                           &rig.fault);
    if (row->path == NULL) {
        if (rc == 0 || rig.fault.kind != row->kind || strcmp(rig.fault.param, row->dropped) != 0) {
            fail_msg("%s: expected %s at %s, found %d %s at %s: %s", row->body,
                     ps_fault_name(row->kind), row->dropped, rc, ps_fault_name(rig.fault.kind),
                     rig.fault.param, rig.fault.message);
        }
    } else {
        char *text;

        if (rc != 0) {
            fail_msg("%s: %s (%s)", row->body, rig.fault.message, rig.fault.param);
        }
        text = rig_join(&encoded);
        if (strcmp(text, row->expected) != 0) {
            fail_msg("%s\nexpected %s\nfound    %s", row->body, row->expected, text);
        }
        free(text);
        if (!ps_slice_eq_cstr(encoded.path, row->path)) {
            fail_msg("%s: expected %s, found %.*s", row->body, row->path, (int)encoded.path.len,
                     encoded.path.ptr);
        }
        if (!ps_slice_eq_cstr(encoded.dropped, row->dropped != NULL ? row->dropped : "")) {
            fail_msg("%s: dropped %.*s", row->body, (int)encoded.dropped.len, encoded.dropped.ptr);
        }
        assert_int_equal(encoded.memo, how->memo);
        assert_string_equal(encoded.method, "POST");
        assert_false(encoded.relayed);
    }
    rig_deinit(&rig);
}

static void run(const struct how *how, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_row(how, &rows[i]);
    }
}
#define RUN(how, rows) run(how, rows, sizeof(rows) / sizeof((rows)[0]))

static const struct how chat = {.family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT};
static const struct how messages = {.family = PS_FAMILY_ANTHROPIC, .operation = PS_OP_CHAT};

#define PATH            "/models/gemini-2.5-flash:generateContent"
#define USER            "{\"role\":\"user\",\"content\":\"hi\"}"
#define ASK             "{\"messages\":[" USER "]"
#define HI              "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"
#define HEAD            "{" HI
#define CONFIG(members) HEAD ",\"generationConfig\":{" members "}}"

static void test_conversation(void **state)
{
    static const struct row rows[] = {
        {ASK "}", PATH, CONFIG(""), NULL, 0},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"a\\u00e4\"},{\"role\":\"developer\","
         "\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}," USER "],\"stream\":true}",
         "/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"a\\u00e4\"},{\"text\":\"b\"}]}," HI
         ",\"generationConfig\":{}}",
         NULL, 0},
        /* neighbours of one side make one turn; a system message in the middle is marked */
        {"{\"messages\":[" USER "," USER ",{\"role\":\"assistant\",\"content\":\"x\"},"
         "{\"role\":\"assistant\",\"content\":\"y\"},{\"role\":\"system\",\"content\":\"be "
         "brief\"},{\"role\":\"user\",\"name\":\"bob\",\"content\":\"z\"}]}",
         PATH,
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{\"text\":\"hi\"}]},"
         "{\"role\":\"model\",\"parts\":[{\"text\":\"x\"},{\"text\":\"y\"}]},{\"role\":\"user\","
         "\"parts\":[{\"text\":\"<system>\\nbe brief\\n</system>\"},{\"text\":\"z\"}]}],"
         "\"generationConfig\":{}}",
         "messages[5].name", 0},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}", NULL, NULL, "messages",
         PS_FAULT_BAD_FIELD},
        /* what says nothing goes */
        {"{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\"}," USER "]}", PATH,
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"},{\"text\":\"hi\"}]}],"
         "\"generationConfig\":{}}",
         NULL, 0},
    };

    (void)state;
    RUN(&chat, rows);
}

#define PART(part) "{\"messages\":[{\"role\":\"user\",\"content\":[" part "]}]}"
#define OUT(part)                                                                                  \
    "{\"contents\":[{\"role\":\"user\",\"parts\":[" part "]}],\"generationConfig\":{}}"

static void test_media(void **state)
{
    static const struct row rows[] = {
        {PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}"),
         PATH, OUT("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}"), NULL, 0},
        {PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.example/a.png\","
              "\"detail\":\"low\"}}"),
         PATH, OUT("{\"fileData\":{\"fileUri\":\"https://x.example/a.png\"}}"),
         "messages[0].content[0].detail", 0},
        {PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}}"),
         PATH, OUT("{\"inlineData\":{\"mimeType\":\"audio/wav\",\"data\":\"AAAA\"}}"), NULL, 0},
        {PART("{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,AAAA\"}}"),
         PATH, OUT("{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"AAAA\"}}"), NULL,
         0},
        {PART("{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}"), NULL, NULL,
         "messages[0].content[0].file_id", PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    RUN(&chat, rows);
}

#define TOOL                                                                                       \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{"   \
    "\"type\":\"object\",\"additionalProperties\":false}}}"
#define STRICT "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"strict\":true}}"
#define DECLARED                                                                                   \
    ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\","                \
    "\"parametersJsonSchema\":{\"type\":\"object\",\"additionalProperties\":false}}]}]"
#define MODE(config) ",\"toolConfig\":{\"functionCallingConfig\":{" config "}}"
#define END          ",\"generationConfig\":{}}"

static void test_tools(void **state)
{
    static const struct row rows[] = {
        {ASK ",\"tools\":[" TOOL "]}", PATH, HEAD DECLARED END, NULL, 0},
        {ASK ",\"tools\":[" TOOL "],\"tool_choice\":\"none\"}", PATH,
         HEAD DECLARED MODE("\"mode\":\"NONE\"") END, NULL, 0},
        {ASK ",\"tools\":[" TOOL "],\"tool_choice\":\"auto\"}", PATH,
         HEAD DECLARED MODE("\"mode\":\"AUTO\"") END, NULL, 0},
        {ASK ",\"tools\":[" TOOL "],\"tool_choice\":\"required\"}", PATH,
         HEAD DECLARED MODE("\"mode\":\"ANY\"") END, NULL, 0},
        {ASK ",\"tools\":[" TOOL
             "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
         PATH, HEAD DECLARED MODE("\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]") END, NULL,
         0},
        {ASK ",\"tools\":[" STRICT "]}", PATH,
         HEAD ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"g\"}]}]" MODE(
             "\"mode\":\"VALIDATED\"") END,
         NULL, 0},
        {ASK ",\"web_search_options\":{}}", PATH, HEAD ",\"tools\":[{\"googleSearch\":{}}]" END,
         NULL, 0},
        {ASK ",\"web_search_options\":{\"search_context_size\":\"low\"}}", PATH,
         HEAD ",\"tools\":[{\"googleSearch\":{}}]" END, "web_search_options", 0},
        {ASK ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}]}", NULL, NULL,
         "tools[0].type", PS_FAULT_UNSUPPORTED_OPERATION},
    };
    static const struct row serial[] = {
        {ASK ",\"tools\":[" TOOL "],\"parallel_tool_calls\":false}", PATH, HEAD DECLARED END, NULL,
         0},
    };
    static const struct how one_call = {
        .family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT, .memo = 1};

    (void)state;
    RUN(&chat, rows);
    RUN(&one_call, serial);
}

#define CALL(id, more)                                                                             \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"         \
    "\"{\\\"a\\\":1}\"}" more "}"
#define CALLS(calls)     "{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":[" calls "]}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"}"
#define SIGNED           ",\"extra_content\":{\"google\":{\"thought_signature\":\"c2ln\"}}"
#define OUT_CALL(id, more)                                                                         \
    "{\"functionCall\":{\"id\":\"" id "\",\"name\":\"f\",\"args\":{\"a\":1}}" more "}"
#define OUT_RESULT(id, text)                                                                       \
    "{\"functionResponse\":{\"id\":\"" id "\",\"name\":\"f\",\"response\":{\"output\":\"" text     \
    "\"}}}"
#define OUT_TURNS(calls, results)                                                                  \
    "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\","        \
    "\"parts\":[{\"text\":\"t\"}," calls "]},{\"role\":\"user\",\"parts\":[" results "]},"         \
    "{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]" END

static void test_calls(void **state)
{
    static const struct row rows[] = {
        {"{\"messages\":[" USER "," CALLS(CALL("c1", "") "," CALL("c2", "")) "," RESULT(
             "c2", "two") "," RESULT("c1", "one") "," USER "]}",
         PATH,
         OUT_TURNS(OUT_CALL("c1", "") "," OUT_CALL("c2", ""),
                   OUT_RESULT("c2", "two") "," OUT_RESULT("c1", "one")),
         NULL, 0},
        {"{\"messages\":[" USER "," CALLS(CALL("c1", SIGNED)) "," RESULT("c1", "one") "," USER "]}",
         PATH, OUT_TURNS(OUT_CALL("c1", ",\"thoughtSignature\":\"c2ln\""), OUT_RESULT("c1", "one")),
         NULL, 0},
    };
    /* Gemini 3 wants a word where a signature is lost, in the first call of a turn. */
    static const struct row unsigned_rows[] = {
        {"{\"messages\":[" USER "," CALLS(CALL("c1", "") "," CALL("c2", "")) "," RESULT(
             "c1", "one") "," RESULT("c2", "two") "," USER "]}",
         "/v1beta/models/gemini-3-pro:generateContent",
         OUT_TURNS(
             OUT_CALL(
                 "c1",
                 ",\"thoughtSignature\":\"skip_thought_signature_validator\"") "," OUT_CALL("c2",
                                                                                            ""),
             OUT_RESULT("c1", "one") "," OUT_RESULT("c2", "two")),
         NULL, 0},
    };
    static const struct row anthropic[] = {
        {"{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":"
         "\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":"
         "\"penstock.gemini.s.c2ln\"},{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\","
         "\"input\":{}}]},{\"role\":"
         "\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\",\"is_error\":true,"
         "\"content\":[{\"type\":\"text\",\"text\":\"bad\"},{\"type\":\"image\",\"source\":{"
         "\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}}]}]}]}",
         PATH,
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\","
         "\"parts\":[{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"c2ln\"},"
         "{\"functionCall\":{\"id\":\"t1\",\"name\":\"f\",\"args\":{}}}]},{\"role\":\"user\","
         "\"parts\":[{\"functionResponse\":{\"id\":\"t1\",\"name\":\"f\",\"response\":{\"error\":"
         "\"bad\"},\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}]}}]}]"
         ",\"generationConfig\":{\"maxOutputTokens\":9}}",
         NULL, 0},
    };
    static const struct how third = {.family = PS_FAMILY_OPENAI,
                                     .operation = PS_OP_CHAT,
                                     .model = "gemini-3-pro",
                                     .base_path = ""};

    (void)state;
    RUN(&chat, rows);
    RUN(&third, unsigned_rows);
    RUN(&messages, anthropic);
}

static void test_sampling(void **state)
{
    static const struct row rows[] = {
        {ASK ",\"temperature\":0.70,\"top_p\":0.9,\"top_k\":40,\"max_completion_tokens\":5,"
             "\"stop\":[\"a\",\"b\"],\"seed\":7,\"n\":2,\"presence_penalty\":0.5,"
             "\"frequency_penalty\":-0.5,\"logprobs\":true,\"top_logprobs\":3}",
         PATH,
         CONFIG("\"temperature\":0.70,\"topP\":0.9,\"topK\":40,\"maxOutputTokens\":5,"
                "\"stopSequences\":[\"a\",\"b\"],\"seed\":7,\"candidateCount\":2,"
                "\"presencePenalty\":0.5,\"frequencyPenalty\":-0.5,\"responseLogprobs\":true,"
                "\"logprobs\":3"),
         NULL, 0},
        {ASK ",\"top_k\":-1,\"n\":1,\"logprobs\":true,\"top_logprobs\":0,\"seed\":2147483648,"
             "\"temperature\":3}",
         PATH, CONFIG("\"temperature\":2,\"responseLogprobs\":true"), "temperature, seed", 0},
        {ASK ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]}", NULL, NULL, "stop",
         PS_FAULT_BAD_FIELD},
        {ASK ",\"n\":9}", NULL, NULL, "n", PS_FAULT_BAD_FIELD},
        {ASK ",\"min_p\":0.1,\"logit_bias\":{\"1\":2},\"user\":\"u\",\"metadata\":{\"a\":\"b\"},"
             "\"verbosity\":\"low\",\"store\":true,\"prompt_cache_key\":\"k\",\"x\":1}",
         PATH, CONFIG(""),
         "min_p, logit_bias, user, metadata, verbosity, prompt_cache_key, store, x", 0},
        {ASK ",\"service_tier\":\"flex\"}", PATH,
         HEAD ",\"generationConfig\":{},\"serviceTier\":\"flex\"}", NULL, 0},
        {ASK ",\"service_tier\":\"scale\"}", PATH, CONFIG(""), "service_tier", 0},
        {ASK ",\"response_format\":{\"type\":\"json_object\"}}", PATH,
         CONFIG("\"responseMimeType\":\"application/json\""), NULL, 0},
        {ASK ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
             "\"strict\":true,\"schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
             "\"integer\"}}}}}}",
         PATH,
         CONFIG("\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{\"type\":"
                "\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}"),
         NULL, 0},
    };
    static const struct how strict = {
        .family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT, .drop = PS_DROP_REFUSE};
    static const struct row refused[] = {
        {ASK ",\"user\":\"u\"}", NULL, NULL, "user", PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    RUN(&chat, rows);
    RUN(&strict, refused);
}

static void test_thinking(void **state)
{
    static const struct row by_budget[] = {
        {ASK ",\"reasoning_effort\":\"none\"}", PATH,
         CONFIG("\"thinkingConfig\":{\"thinkingBudget\":0}"), NULL, 0},
        {ASK ",\"reasoning_effort\":\"low\"}", PATH,
         CONFIG("\"thinkingConfig\":{\"thinkingBudget\":1024}"), NULL, 0},
        {ASK ",\"reasoning_effort\":\"high\"}", PATH,
         CONFIG("\"thinkingConfig\":{\"thinkingBudget\":24576}"), NULL, 0},
    };
    static const struct row by_level[] = {
        {ASK ",\"reasoning_effort\":\"none\"}", PATH,
         CONFIG("\"thinkingConfig\":{\"thinkingLevel\":\"MINIMAL\"}"), NULL, 0},
        {ASK ",\"reasoning_effort\":\"medium\"}", PATH,
         CONFIG("\"thinkingConfig\":{\"thinkingLevel\":\"MEDIUM\"}"), NULL, 0},
        {ASK ",\"reasoning_effort\":\"xhigh\"}", PATH,
         CONFIG("\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\"}"), NULL, 0},
    };
    static const struct row anthropic[] = {
        {"{\"max_tokens\":9000,\"messages\":[" USER
         "],\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}",
         PATH,
         CONFIG("\"maxOutputTokens\":9000,\"thinkingConfig\":{\"includeThoughts\":true,"
                "\"thinkingBudget\":2000}"),
         NULL, 0},
    };
    static const struct ps_dialect_settings levels = {.thinking = PS_SLICE_INIT("effort")};
    static const struct how effort = {
        .family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT, .settings = &levels};

    (void)state;
    RUN(&chat, by_budget);
    RUN(&effort, by_level);
    RUN(&messages, anthropic);
}

static void test_paths(void **state)
{
    static const struct how vertex = {
        .family = PS_FAMILY_OPENAI,
        .operation = PS_OP_CHAT,
        .base_path = "/v1/projects/p/locations/l/publishers/google",
    };
    static const struct how odd = {.family = PS_FAMILY_OPENAI,
                                   .operation = PS_OP_CHAT,
                                   .model = "tunedModels/../a b",
                                   .base_path = "/gemini"};
    static const struct row plain[] = {{ASK "}", PATH, CONFIG(""), NULL, 0}};
    static const struct row escaped[] = {
        {ASK "}", "/v1beta/tunedModels/..%2Fa%20b:generateContent", CONFIG(""), NULL, 0}};

    (void)state;
    RUN(&vertex, plain);
    RUN(&odd, escaped);
}

#define INPUT(text, more)                                                                          \
    "{\"model\":\"models/gemini-2.5-flash\",\"content\":{\"parts\":[{\"text\":\"" text             \
    "\"}]}" more "}"

static void test_embeddings(void **state)
{
    static const struct how embed = {.family = PS_FAMILY_OPENAI, .operation = PS_OP_EMBED};
    static const struct how shortened = {
        .family = PS_FAMILY_OPENAI, .operation = PS_OP_EMBED, .memo = 2};
    static const struct row rows[] = {
        {"{\"input\":\"a\",\"encoding_format\":\"base64\",\"user\":\"u\"}",
         "/models/gemini-2.5-flash:embedContent", INPUT("a", ""), "user", 0},
        {"{\"input\":[\"a\",\"b\"],\"input_type\":\"query\"}",
         "/models/gemini-2.5-flash:batchEmbedContents",
         "{\"requests\":[" INPUT("a", ",\"taskType\":\"RETRIEVAL_QUERY\"") "," INPUT(
             "b", ",\"taskType\":\"RETRIEVAL_QUERY\"") "]}",
         NULL, 0},
    };
    static const struct row cut[] = {
        {"{\"input\":[\"a\"],\"dimensions\":256}", "/models/gemini-2.5-flash:embedContent",
         INPUT("a", ",\"outputDimensionality\":256"), NULL, 0},
    };

    (void)state;
    RUN(&embed, rows);
    RUN(&shortened, cut);
}

static void test_count(void **state)
{
    static const struct how count = {.family = PS_FAMILY_ANTHROPIC,
                                     .operation = PS_OP_COUNT_TOKENS};
    static const struct row rows[] = {
        {"{\"system\":\"s\",\"messages\":[" USER "],\"tools\":[{\"name\":\"f\",\"input_schema\":{"
         "\"type\":\"object\"}}]}",
         "/models/gemini-2.5-flash:countTokens",
         "{\"generateContentRequest\":{\"model\":\"models/gemini-2.5-flash\","
         "\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]}," HI
         ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{"
         "\"type\":\"object\"}}]}]}}",
         NULL, 0},
    };

    (void)state;
    RUN(&count, rows);
}

static void test_models(void **state)
{
    const struct ps_encode_options options = {.base_path = PS_SLICE_LIT("/v1beta")};
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.request.family = PS_FAMILY_OPENAI;
    rig.request.operation = PS_OP_MODELS;
    assert_int_equal(ps_dialect_encode(ps_dialect_find("gemini"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    assert_string_equal(encoded.method, "GET");
    assert_true(ps_slice_eq_cstr(encoded.path, "/models?pageSize=1000"));
    assert_false(encoded.has_body);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation), cmocka_unit_test(test_media),
        cmocka_unit_test(test_tools),        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_sampling),     cmocka_unit_test(test_thinking),
        cmocka_unit_test(test_paths),        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_count),        cmocka_unit_test(test_models),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
