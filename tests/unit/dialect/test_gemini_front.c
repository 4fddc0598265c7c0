/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "penstock/dialect/neutral.h"

/*
 * Requests of Google's clients: as bodies for other families, or byte for byte for their own; where
 * the model stands in the path, and how a stream is wanted in the query.
 */

#define MODEL        "/v1beta/models/m:"
#define GENERATE     MODEL "generateContent"
#define STREAM       MODEL "streamGenerateContent"
#define COUNT_TOKENS MODEL "countTokens"
#define EMBED_ONE    MODEL "embedContent"
#define EMBED_MANY   MODEL "batchEmbedContents"

struct row {
    const char *path;
    const char *query;
    const char *to;
    const char *body;
    const char *expected; /* NULL: refused */
    const char *dropped;  /* or the path at fault */
    enum ps_fault_kind kind;
};

static enum ps_operation operation_of(const char *path)
{
    return strstr(path, "mbed") != NULL                      ? PS_OP_EMBED
           : strcmp(strrchr(path, ':'), ":countTokens") == 0 ? PS_OP_COUNT_TOKENS
                                                             : PS_OP_CHAT;
}

static int read_row(struct rig *rig, const struct row *row, const struct cut *cut)
{
    const struct ps_reader_options options = {.operation = operation_of(row->path)};

    rig_init(rig);
    rig->request.family = PS_FAMILY_GEMINI;
    rig->request.operation = options.operation;
    rig->request.path = ps_slice_cstr(row->path);
    rig->request.query = ps_slice_cstr(row->query);
    rig->request.content_type = PS_SLICE_LIT("application/json");
    return rig_read(rig, &options, ps_slice_cstr(row->body), cut);
}

static void check_refused(const struct rig *rig, const struct row *row, int rc)
{
    if (rc == 0 || rig->fault.kind != row->kind || strcmp(rig->fault.param, row->dropped) != 0) {
        fail_msg("%s: expected %s at %s, found %d %s at %s: %s", row->body,
                 ps_fault_name(row->kind), row->dropped, rc, ps_fault_name(rig->fault.kind),
                 rig->fault.param, rig->fault.message);
    }
}

static void check_body(const struct ps_encoded *encoded, const struct row *row)
{
    char *text = rig_join(encoded);

    if (strcmp(text, row->expected) != 0) {
        fail_msg("%s\nexpected %s\nfound    %s", row->body, row->expected, text);
    }
    free(text);
    if (!ps_slice_eq_cstr(encoded->dropped, row->dropped != NULL ? row->dropped : "")) {
        fail_msg("%s: dropped %.*s", row->body, (int)encoded->dropped.len, encoded->dropped.ptr);
    }
}

static void run_row(const struct row *row, const struct cut *cut)
{
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("up")};
    struct ps_encoded encoded;
    struct rig rig;
    int rc = read_row(&rig, row, cut);

    if (rc == 0) {
        rc = ps_dialect_encode(ps_dialect_find(row->to), &rig.request, &options, &rig.arena,
                               &encoded, &rig.fault);
    }
    if (row->expected == NULL) {
        check_refused(&rig, row, rc);
    } else if (rc != 0) {
        fail_msg("%s: %s (%s)", row->body, rig.fault.message, rig.fault.param);
    } else {
        check_body(&encoded, row);
    }
    rig_deinit(&rig);
}

static void run_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_row(&rows[i], &(struct cut){.shift = 7});
        for (size_t at = 1; at < strlen(rows[i].body); at++) {
            run_row(&rows[i], &(struct cut){.at = at});
        }
    }
}
#define RUN_ROWS(rows) run_rows(rows, sizeof(rows) / sizeof((rows)[0]))

static void asks_for_chats(void **state)
{
    static const struct row rows[] = {
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", NULL,
         PS_FAULT_NONE},
        {STREAM, "alt=sse", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"temperature"
         "\":0.50,\"topP\":0.9,\"topK\":40.0,\"candidateCount\":2,\"maxOutputTokens\":9,\"stop"
         "Sequences\":[\"a\",\"b\"],\"seed\":7,\"presencePenalty\":1,\"frequencyPenalty\":0.1,"
         "\"responseLogprobs\":true,\"logprobs\":3,\"mediaResolution\":\"X\"},\"safetySettings"
         "\":[{}],\"labels\":{\"a\":\"b\"},\"x\":null}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens"
         "\":9,\"temperature\":0.50,\"top_p\":0.9,\"presence_penalty\":1,\"frequency_penalty\""
         ":0.1,\"n\":2,\"logprobs\":true,\"top_logprobs\":3,\"stop\":[\"a\",\"b\"],\"seed\":7,"
         "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "top_k, safetySettings, labels, generationConfig.mediaResolution", PS_FAULT_NONE},
        {GENERATE, "", "anthropic",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generation_config\":{\"top_p\":0.9"
         ",\"top_k\":4,\"max_output_tokens\":9,\"stop_sequences\":[\"a\"],\"thinking_config\":"
         "{\"include_thoughts\":true,\"thinking_budget\":2048}},\"system_instruction\":{\"part"
         "s\":[{\"text\":\"s\"},{\"text\":\"t\"}]}}",
         "{\"model\":\"up\",\"system\":\"s\\n\\nt\",\"messages\":[{\"role\":\"user\",\"content"
         "\":\"hi\"}],\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},\"output"
         "_config\":{\"effort\":\"low\"},\"max_tokens\":9,\"stop_sequences\":[\"a\"]}",
         "top_p, top_k", PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"thinkingConf"
         "ig\":{\"thinkingLevel\":\"low\"}},\"serviceTier\":\"flex\",\"store\":true}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_"
         "effort\":\"low\",\"service_tier\":\"flex\",\"store\":true}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "anthropic",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"thinkingConf"
         "ig\":{\"thinkingBudget\":0}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"thinking\""
         ":{\"type\":\"disabled\"},\"max_tokens\":4096}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseMime"
         "Type\":\"application/json\",\"responseSchema\":{\"type\":\"OBJECT\",\"properties\":{"
         "\"a\":{\"type\":\"STRING\",\"nullable\":true,\"enum\":[\"x\"],\"format\":\"enum\"},"
         "\"b\":{\"type\":\"ARRAY\",\"min_items\":\"1\",\"items\":{\"any_of\":[{\"type\":\"INT"
         "EGER\"}],\"nullable\":true}},\"type\":{\"ref\":\"#/defs/t\",\"example\":1e400}},\"pr"
         "opertyOrdering\":[\"a\"],\"defs\":{\"t\":{\"type\":\"NUMBER\",\"title\":\"T\"}},\"re"
         "quired\":[\"a\"]}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_f"
         "ormat\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"schema\":{"
         "\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"],\"enum\":["
         "\"x\",null]},\"b\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[{\"type"
         "\":\"integer\"},{\"type\":\"null\"}]}},\"type\":{\"$ref\":\"#/$defs/t\",\"examples\""
         ":[1e400]}},\"$defs\":{\"t\":{\"type\":\"number\",\"title\":\"T\"}},\"required\":[\"a"
         "\"]}}}}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseMime"
         "Type\":\"application/json\"}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_f"
         "ormat\":{\"type\":\"json_object\"}}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseJson"
         "Schema\":{\"type\":\"object\",\"x\":1e400}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_f"
         "ormat\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"schema\":{"
         "\"type\":\"object\",\"x\":1e400}}}}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"OBJECT\",\"proper"
         "ties\":{\"a\":{\"type\":\"INTEGER\"}}},\"response\":{}}]},{\"function_declarations\""
         ":[{\"name\":\"g\",\"parameters_json_schema\":{\"type\":\"object\"}},{\"name\":\"h\"}"
         "]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\",\"allowedFunctionNam"
         "es\":[\"f\"]}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameter"
         "s\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}}},{\"type\":"
         "\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\"}}},{\""
         "type\":\"function\",\"function\":{\"name\":\"h\"}}],\"tool_choice\":{\"type\":\"func"
         "tion\",\"function\":{\"name\":\"f\"}}}",
         "tools[0].functionDeclarations[0].response", PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{\"name\":\"f\"},{\"name\":\"g\"},{\"name\":\"h\"}]}],\"tool_config\":{\"function_"
         "calling_config\":{\"mode\":\"any\",\"allowed_function_names\":[\"f\",\"h\"]}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"functi"
         "on\":{\"name\":\"h\"}}],\"tool_choice\":\"required\"}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{\"name\":\"f\"}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"VALIDATE"
         "D\"},\"retrievalConfig\":{}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"auto\"}",
         "toolConfig.retrievalConfig, toolConfig.functionCallingConfig.mode", PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{\"name\":\"f\"}]},{}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"NONE"
         "\"}}}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{"
         "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"none\"}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"},{\"inlineData\":{\"mim"
         "eType\":\"image/png\",\"data\":\"-_8\"}},{\"fileData\":{\"mimeType\":\"image/png\","
         "\"fileUri\":\"https://a/b\"}},{\"inline_data\":{\"mime_type\":\"audio/mp3\",\"data\""
         ":\"AAAA\"}},{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"AAAA\",\"di"
         "splayName\":\"d\"},\"videoMetadata\":{}}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base"
         "64,+/8=\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a/b\"}},{\"type"
         "\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\",\"format\":\"mp3\"}},{\"type\""
         ":\"file\",\"file\":{\"filename\":\"d\",\"file_data\":\"data:application/pdf;base64,A"
         "AAA\"}}]}]}",
         "contents[0].parts[4].videoMetadata", PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\",\"parts\":[{\"func"
         "tionCall\":{\"name\":\"f\",\"args\":{\"a\":1}}},{\"functionCall\":{\"name\":\"g\"}}]"
         "},{\"role\":\"user\",\"parts\":[{\"text\":\"b\"},{\"functionResponse\":{\"name\":\"g"
         "\",\"response\":{\"output\":\"x\\n\"}}},{\"functionResponse\":{\"name\":\"f\",\"resp"
         "onse\":{\"a\":[1, 2]}}}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"as"
         "sistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_0\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"call_1\",\""
         "type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},{\"role\":"
         "\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"x\\n\"},{\"role\":\"tool\",\"tool"
         "_call_id\":\"call_0\",\"content\":\"{\\\"a\\\":[1, 2]}\"},{\"role\":\"user\",\"conte"
         "nt\":\"b\"}]}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "anthropic",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\",\"parts\":[{\"func"
         "tionCall\":{\"id\":\"c1\",\"name\":\"f\"}},{\"functionCall\":{\"id\":\"c2\",\"name\""
         ":\"f\"}}]},{\"role\":\"function\",\"parts\":[{\"function_response\":{\"id\":\"c2\","
         "\"name\":\"f\",\"response\":{\"error\":\"no\"},\"parts\":[{\"inlineData\":{\"mimeTyp"
         "e\":\"image/png\",\"data\":\"AAAA\"}}]}},{\"functionResponse\":{\"id\":\"c1\",\"name"
         "\":\"f\"}}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"as"
         "sistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\""
         ":{}},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"f\",\"input\":{}}]},{\"role\":"
         "\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c2\",\"content\":["
         "{\"type\":\"text\",\"text\":\"no\"},{\"type\":\"image\",\"source\":{\"type\":\"base6"
         "4\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}}],\"is_error\":true},{\"type\":"
         "\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"\"}]}],\"max_tokens\":4096}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "anthropic",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\",\"parts\":[{\"text"
         "\":\"th\",\"thought\":true}]},{\"role\":\"model\",\"parts\":[{\"text\":\"ink\",\"tho"
         "ught\":true},{\"text\":\"\",\"thought\":true,\"thoughtSignature\":\"cGVuc3RvY2suYW50"
         "aHJvcGljLnMuYzJsbg==\"},{\"text\":\"b\\ud83d\"}]},{\"role\":\"model\",\"parts\":[{\""
         "text\":\"\\ude00c\"},{\"text\":\"\"}]},{\"parts\":[{\"text\":\"d\"}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"as"
         "sistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"think\",\"signature\":"
         "\"c2ln\"},{\"type\":\"text\",\"text\":\"b\\ud83d\\ude00c\"}]},{\"role\":\"user\",\"c"
         "ontent\":\"d\"}],\"max_tokens\":4096}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\",\"parts\":[{\"text"
         "\":\"b\"},{\"text\":\"c\",\"thoughtSignature\":\"cGVuc3RvY2suZ2VtaW5pLnMueHg=\"},{\""
         "functionCall\":{\"name\":\"f\"},\"thoughtSignature\":\"cGVuc3RvY2suYW50aHJvcGljLmMue"
         "Hg=\"}]},{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{}}}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"as"
         "sistant\",\"content\":\"bc\",\"tool_calls\":[{\"id\":\"call_0\",\"type\":\"function"
         "\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_c"
         "all_id\":\"call_0\",\"content\":\"{}\"}]}",
         "reasoning", PS_FAULT_NONE},
        {COUNT_TOKENS, "", "anthropic", "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", NULL,
         PS_FAULT_NONE},
        {COUNT_TOKENS, "", "anthropic",
         "{\"generateContentRequest\":{\"model\":\"models/m\",\"contents\":[{\"parts\":[{\"tex"
         "t\":\"hi\"}]}],\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"tools\":[{\"fu"
         "nctionDeclarations\":[{\"name\":\"f\"}]}]}}",
         "{\"model\":\"up\",\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi"
         "\"}],\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\""
         ":{}}}]}",
         NULL, PS_FAULT_NONE},
    };

    (void)state;
    RUN_ROWS(rows);
}

static void asks_for_vectors(void **state)
{
    static const struct row rows[] = {
        {EMBED_ONE, "", "cohere",
         "{\"model\":\"models/m\",\"content\":{\"parts\":[{\"text\":\"a\"},{\"text\":\"b\"}]},"
         "\"taskType\":\"RETRIEVAL_QUERY\",\"title\":\"t\",\"outputDimensionality\":3}",
         "{\"model\":\"up\",\"input_type\":\"search_query\",\"texts\":[\"a\\nb\"],\"embedding_"
         "types\":[\"float\"],\"output_dimension\":3}",
         "title", PS_FAULT_NONE},
        {EMBED_MANY, "", "openai",
         "{\"requests\":[{\"model\":\"models/m\",\"content\":{\"parts\":[{\"text\":\"a\"}]},\""
         "task_type\":\"SEMANTIC_SIMILARITY\"},{\"content\":{\"role\":\"user\",\"parts\":[{\"t"
         "ext\":\"b\"}]},\"taskType\":\"SEMANTIC_SIMILARITY\"}]}",
         "{\"model\":\"up\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"float\"}",
         "requests[0].taskType, requests[1].taskType", PS_FAULT_NONE},
        {EMBED_MANY, "", "openai",
         "{\"requests\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"outputDimensionality\":"
         "4.0},{\"content\":{\"parts\":[{\"text\":\"b\"}]},\"outputDimensionality\":4}]}",
         "{\"model\":\"up\",\"input\":[\"a\",\"b\"],\"dimensions\":4,\"encoding_format\":\"flo"
         "at\"}",
         NULL, PS_FAULT_NONE},
    };

    (void)state;
    RUN_ROWS(rows);
}

static void refuses_bad_requests(void **state)
{
    static const struct row rows[] = {
        {GENERATE, "", "openai", "{\"contents\":[]}", NULL, "contents", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":\"x\"}", NULL, "contents", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{}", NULL, "contents", PS_FAULT_MISSING_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[7]}", NULL, "contents[0]", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"judge\",\"parts\":[{\"text\":\"a\"}]}]}", NULL,
         "contents[0].role", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[]}]}", NULL, "contents[0].parts",
         PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":{}}]}", NULL, "contents[0].parts",
         PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[7]}]}", NULL, "contents[0].parts[0]",
         PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[{}]}]}", NULL, "contents[0].parts[0]",
         PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[{\"text\":7}]}]}", NULL,
         "contents[0].parts[0].text", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\",\"inlineData\":{\"mimeType\":\"a/b\",\"da"
         "ta\":\"AAAA\"}}]}]}",
         NULL, "contents[0].parts[0].inlineData", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"inlineData\":{\"data\":\"AAAA\"}}]}]}", NULL,
         "contents[0].parts[0].inlineData.mimeType", PS_FAULT_MISSING_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":\"png\",\"data\":\"AAAA\"}}"
         "]}]}",
         NULL, "contents[0].parts[0].inlineData.mimeType", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"A"
         "\"}}]}]}",
         NULL, "contents[0].parts[0].inlineData.data", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"-"
         "\"}}]}]}",
         NULL, "contents[0].parts[0].inlineData.data", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"fileData\":{\"mimeType\":\"image/png\"}}]}]}", NULL,
         "contents[0].parts[0].fileData.fileUri", PS_FAULT_MISSING_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]}]}", NULL,
         "contents[0].parts[0].functionCall", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionResponse\":{\"name\":\"f\"}"
         "}]}]}",
         NULL, "contents[0].parts[0].functionResponse", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"functionResponse\":{\"name\":\"f\"}}]}]}", NULL,
         "contents[0].parts[0].functionResponse", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]},"
         "{\"parts\":[{\"functionResponse\":{\"name\":\"f\"}},{\"functionResponse\":{\"name\":"
         "\"f\"}}]}]}",
         NULL, "contents[1].parts[1].functionResponse", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"args\":{}}}]}]}", NULL,
         "contents[0].parts[0].functionCall.name", PS_FAULT_MISSING_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\",\"ar"
         "gs\":[]}}]}]}",
         NULL, "contents[0].parts[0].functionCall.args", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"a\",\"name"
         "\":\"f\"}},{\"functionCall\":{\"id\":\"a\",\"name\":\"f\"}}]}]}",
         NULL, "contents[0]", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[{\"executableCode\":{}}]}]}", NULL,
         "contents[0].parts[0].executableCode", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"systemInstruction\":\"x\"}", NULL,
         "systemInstruction", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"systemInstruction\":{\"parts\":[{"
         "\"inlineData\":{}}]}}",
         NULL, "systemInstruction.parts[0]", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"cachedContent\":\"cachedContents/x"
         "\"}",
         NULL, "cachedContent", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"googleSearch\":{}}]}", NULL,
         "tools[0].googleSearch", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"code_execution\":{}}]}",
         NULL, "tools[0].code_execution", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai", "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":{}}",
         NULL, "tools", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{}]}]}",
         NULL, "tools[0].functionDeclarations[0].name", PS_FAULT_MISSING_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{\"name\":\"f\",\"parameters\":{},\"parametersJsonSchema\":{}}]}]}",
         NULL, "tools[0].functionDeclarations[0].parametersJsonSchema", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"toolConfig\":{\"functionCallingCon"
         "fig\":{\"mode\":\"ANY\"}}}",
         NULL, "toolConfig.functionCallingConfig.mode", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\""
         ":[{\"name\":\"f\"}]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\",\""
         "allowedFunctionNames\":[\"g\"]}}}",
         NULL, "toolConfig.functionCallingConfig.allowedFunctionNames", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"toolConfig\":{\"functionCallingCon"
         "fig\":{\"mode\":\"SOME\"}}}",
         NULL, "toolConfig.functionCallingConfig.mode", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"temperature"
         "\":3}}",
         NULL, "generationConfig.temperature", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"topK\":0.5}}",
         NULL, "generationConfig.topK", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"candidateCou"
         "nt\":9}}",
         NULL, "generationConfig.candidateCount", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"maxOutputTok"
         "ens\":0}}",
         NULL, "generationConfig.maxOutputTokens", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"stopSequence"
         "s\":\"x\"}}",
         NULL, "generationConfig.stopSequences", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"topP\":1,\"t"
         "op_p\":1}}",
         NULL, "generationConfig.topP", PS_FAULT_BAD_JSON},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseMime"
         "Type\":\"text/x.enum\"}}",
         NULL, "generationConfig.responseMimeType", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseMime"
         "Type\":\"text/html\"}}",
         NULL, "generationConfig.responseMimeType", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseSche"
         "ma\":{},\"responseJsonSchema\":{}}}",
         NULL, "generationConfig.responseJsonSchema", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"responseModa"
         "lities\":[\"TEXT\",\"IMAGE\"]}}",
         NULL, "generationConfig.responseModalities", PS_FAULT_UNSUPPORTED_OPERATION},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":{\"thinkingConf"
         "ig\":{\"thinkingBudget\":1024,\"thinkingLevel\":\"LOW\"}}}",
         NULL, "generationConfig.thinkingConfig.thinkingLevel", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"generationConfig\":7}", NULL,
         "generationConfig", PS_FAULT_BAD_FIELD},
        {GENERATE, "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"api_key\":\"k\"}", NULL, "api_key",
         PS_FAULT_FORBIDDEN_FIELD},
        {"/v1beta/models/a%2:generateContent", "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}", NULL, "model", PS_FAULT_BAD_FIELD},
        {"/v1beta/models/%ff:generateContent", "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}", NULL, "model", PS_FAULT_BAD_FIELD},
        {"/v1beta/models/:generateContent", "", "openai",
         "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}", NULL, "model", PS_FAULT_BAD_FIELD},
        {COUNT_TOKENS, "", "openai", "{\"generateContentRequest\":[]}", NULL,
         "generateContentRequest", PS_FAULT_BAD_FIELD},
        {COUNT_TOKENS, "", "openai", "{\"generateContentRequest\":{}}", NULL,
         "generateContentRequest.contents", PS_FAULT_BAD_FIELD},
        {EMBED_ONE, "", "openai", "{}", NULL, "content", PS_FAULT_MISSING_FIELD},
        {EMBED_ONE, "", "openai", "{\"content\":{}}", NULL, "content.parts", PS_FAULT_BAD_FIELD},
        {EMBED_ONE, "", "openai", "{\"content\":{\"parts\":[{\"text\":\"\"}]}}", NULL,
         "content.parts", PS_FAULT_BAD_FIELD},
        {EMBED_ONE, "", "openai",
         "{\"content\":{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA"
         "\"}}]}}",
         NULL, "content.parts[0]", PS_FAULT_UNSUPPORTED_OPERATION},
        {EMBED_ONE, "", "openai", "{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"taskType\":\"X\"}",
         NULL, "taskType", PS_FAULT_BAD_FIELD},
        {EMBED_MANY, "", "openai", "{\"requests\":[]}", NULL, "requests", PS_FAULT_BAD_FIELD},
        {EMBED_MANY, "", "openai", "{\"requests\":[7]}", NULL, "requests[0]", PS_FAULT_BAD_FIELD},
        {EMBED_MANY, "", "openai",
         "{\"requests\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"content\":{\"parts\":"
         "[{\"text\":\"a\"}]},\"outputDimensionality\":3}]}",
         NULL, "requests[1].outputDimensionality", PS_FAULT_BAD_FIELD},
        {EMBED_MANY, "", "openai",
         "{\"requests\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"content\":{\"parts\":"
         "[{\"text\":\"a\"}]},\"taskType\":\"CLUSTERING\"}]}",
         NULL, "requests[1].taskType", PS_FAULT_BAD_FIELD},
    };

    (void)state;
    RUN_ROWS(rows);
}

/* Two tools of many functions each. */
static char *many_functions(size_t first, size_t second)
{
    static const char declared[] = "{\"functionDeclarations\":[";
    static const char function[] = "{\"name\":\"f\"}";
    struct ps_buf body;

    ps_buf_init(&body, 65536);
    ps_buf_cstr(&body, "{\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[");
    ps_buf_cstr(&body, declared);
    for (size_t i = 0; i < first + second; i++) {
        if (i == first) {
            ps_buf_cstr(&body, "]},");
            ps_buf_cstr(&body, declared);
        } else if (i > 0) {
            ps_buf_byte(&body, ',');
        }
        ps_buf_cstr(&body, function);
    }
    ps_buf_cstr(&body, "]}]}");
    ps_buf_byte(&body, '\0');
    assert_false(body.failed);
    return body.ptr;
}

static void bounds_functions(void **state)
{
    char *most = many_functions(PS_NEUTRAL_TOOLS - 3, 3);
    char *more = many_functions(PS_NEUTRAL_TOOLS - 3, 4);
    const struct row row = {GENERATE, "", "openai", more, NULL, "tools[1]", PS_FAULT_BAD_FIELD};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("up")};
    struct ps_encoded encoded;
    struct rig rig;
    char *text;

    (void)state;
    run_row(&row, &(struct cut){.shift = 7});
    assert_int_equal(read_row(&rig, &(struct row){.path = GENERATE, .query = "", .body = most},
                              &(struct cut){.shift = 7}),
                     0);
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    text = rig_join(&encoded);
    for (size_t i = 0, at = 0; i < PS_NEUTRAL_TOOLS; i++) {
        const char *found = strstr(text + at, "{\"name\":\"f\"}");

        assert_non_null(found);
        at = (size_t)(found - text) + 1;
    }
    free(text);
    rig_deinit(&rig);
    ps_free(most);
    ps_free(more);
}

static void relays_to_its_own(void **state)
{
    static const struct row rows[] = {
        {GENERATE, "key=k", "gemini",
         " {\"x\":[1.50, 12345678901234567890], \"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]"
         "}",
         " {\"x\":[1.50, 12345678901234567890], \"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]"
         "}",
         NULL, PS_FAULT_NONE},
        {STREAM, "alt=sse", "gemini",
         "{\"model\":\"models/m\",\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}",
         "{\"model\":\"models/up\",\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}", NULL,
         PS_FAULT_NONE},
        {STREAM, "", "gemini",
         "{\"model\":\"models/up\",\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}",
         "{\"model\":\"models/up\",\"contents\":[{\"parts\":[{\"text\":\"hi\"}]}]}", NULL,
         PS_FAULT_NONE},
        {COUNT_TOKENS, "", "gemini",
         "{\"generateContentRequest\":{\"model\":\"models/m\",\"contents\":[{\"parts\":[{\"tex"
         "t\":\"hi\"}]}]}}",
         "{\"generateContentRequest\":{\"model\":\"models/up\",\"contents\":[{\"parts\":[{\"te"
         "xt\":\"hi\"}]}]}}",
         NULL, PS_FAULT_NONE},
        {EMBED_ONE, "", "gemini", "{\"content\":{\"parts\":[]},\"model\" : \"models/m\"}",
         "{\"content\":{\"parts\":[]},\"model\" : \"models/up\"}", NULL, PS_FAULT_NONE},
        {EMBED_MANY, "", "gemini",
         "{\"requests\":[{\"model\":\"models/m\",\"content\":1},{\"content\":2},{\"content\":3"
         ",\"model\":\"models/up\"},{\"model\":\"m\"}]}",
         "{\"requests\":[{\"model\":\"models/up\",\"content\":1},{\"content\":2},{\"content\":"
         "3,\"model\":\"models/up\"},{\"model\":\"models/up\"}]}",
         NULL, PS_FAULT_NONE},
        {GENERATE, "", "gemini",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"thoughtSignature\":\"cGVuc3RvY2suYW"
         "50aHJvcGljLmMueHg=\",\"functionCall\":{\"name\":\"f\"}},{\"text\":\"x\",\"thought_si"
         "gnature\":\"QUJD\"}]}],\"model\":\"m\"}",
         "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"thoughtSignature\":\"skip_thought_s"
         "ignature_validator\",\"functionCall\":{\"name\":\"f\"}},{\"text\":\"x\",\"thought_si"
         "gnature\":\"QUJD\"}]}],\"model\":\"models/up\"}",
         NULL, PS_FAULT_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t at = 1; at < strlen(rows[i].body); at++) {
            run_row(&rows[i], &(struct cut){.at = at});
        }
    }
    assert_true(ps_dialect_relays(ps_dialect_find("gemini"), NULL, PS_FAMILY_GEMINI, PS_OP_CHAT));
}

static void finds_its_paths(void **state)
{
    static const struct {
        const char *path;
        const char *query;
        const char *base;
        const char *model; /* of the target */
        const char *expected;
    } rows[] = {
        {GENERATE, "key=secret&alt=sse", "", "up", "/v1beta/models/up:generateContent"},
        {STREAM, "alt=sse", "/v1beta", "up", "/models/up:streamGenerateContent?alt=sse"},
        {STREAM, "key=secret&%24alt=SSE", "", "up",
         "/v1beta/models/up:streamGenerateContent?alt=sse"},
        {STREAM, "alt=json&xalt=sse", "", "up", "/v1beta/models/up:streamGenerateContent"},
        {COUNT_TOKENS, "", "/v1/projects/p", "a/b:c", "/models/a%2Fb%3Ac:countTokens"},
        {EMBED_ONE, "", "", "tunedModels/x", "/v1beta/tunedModels/x:embedContent"},
        {EMBED_MANY, "", "", "models/x", "/v1beta/models/x:batchEmbedContents"},
        {GENERATE, "", "", "", "/v1beta/models/m:generateContent"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row row = {rows[i].path, rows[i].query, "gemini",     "{\"contents\":[7]}",
                                NULL,         NULL,          PS_FAULT_NONE};
        const struct ps_encode_options options = {.model = ps_slice_cstr(rows[i].model),
                                                  .base_path = ps_slice_cstr(rows[i].base)};
        struct ps_encoded encoded;
        struct rig rig;

        assert_int_equal(read_row(&rig, &row, &(struct cut){.at = 0}), 0);
        assert_int_equal(ps_dialect_encode(ps_dialect_find("gemini"), &rig.request, &options,
                                           &rig.arena, &encoded, &rig.fault),
                         0);
        if (!ps_slice_eq_cstr(encoded.path, rows[i].expected)) {
            fail_msg("%zu: %.*s", i, (int)encoded.path.len, encoded.path.ptr);
        }
        assert_true(encoded.relayed);
        assert_string_equal(encoded.method, "POST");
        rig_deinit(&rig);
    }
}

static void finds_the_model(void **state)
{
    static const struct {
        const char *path;
        const char *model;
    } rows[] = {
        {GENERATE, "m"},
        {"/v1/models/a/b:c:generateContent", "a/b:c"},
        {"/v1alpha/models/a%2fB%3A%25:generateContent", "a/B:%"},
        {"/v1beta/tunedModels/x:generateContent", "tunedModels/x"},
        {"/v1beta/models/models/x:generateContent", "models/x"},
        {"/v1beta/m:generateContent", "m"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row row = {rows[i].path, "",   "",           "{\"contents\":[7]}",
                                NULL,         NULL, PS_FAULT_NONE};
        struct rig rig;

        assert_int_equal(read_row(&rig, &row, &(struct cut){.at = 0}), 0);
        if (!ps_slice_eq_cstr(rig.request.model, rows[i].model)) {
            fail_msg("%s: %.*s", rows[i].path, (int)rig.request.model.len, rig.request.model.ptr);
        }
        rig_deinit(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_chats),       cmocka_unit_test(asks_for_vectors),
        cmocka_unit_test(refuses_bad_requests), cmocka_unit_test(relays_to_its_own),
        cmocka_unit_test(finds_its_paths),      cmocka_unit_test(finds_the_model),
        cmocka_unit_test(bounds_functions),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
