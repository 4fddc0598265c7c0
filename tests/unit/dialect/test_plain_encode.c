/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * What a request of OpenAI's family becomes for models that take a text (Triton, TGI, plain HTTP),
 * and where Azure has OpenAI's paths: path and body out, or the path of the field at fault.
 */

#define AT(literal) PS_SLICE_INIT(literal)

struct row {
    const char *name;
    const struct ps_dialect_settings *settings;
    enum ps_operation operation;
    const char *body;
    const char *path; /* NULL: refused */
    const char *expected;
    const char *dropped; /* or the field at fault */
    const char *base_path;
};

static void run_row(const struct row *row)
{
    const struct ps_reader_options reader = {.operation = row->operation};
    const struct cut cut = {.shift = strcmp(row->name, "azure") != 0 ? 7 : 0}; /* it is relayed */
    struct ps_encode_options options = {
        .model = PS_SLICE_LIT("org/m"),
        .settings = row->settings,
        .base_path = row->base_path != NULL ? ps_slice_cstr(row->base_path) : PS_SLICE_NONE,
    };
    struct ps_encoded encoded;
    struct rig rig;
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_OPENAI;
    rig.request.operation = row->operation;
    rig.request.content_type = PS_SLICE_LIT("application/json");
    if (rig_read(&rig, &reader, ps_slice_cstr(row->body), &cut) != 0) {
        fail_msg("the reader refused %s: %s", row->body, rig.fault.message);
    }
    rc = ps_dialect_encode(ps_dialect_find(row->name), &rig.request, &options, &rig.arena, &encoded,
                           &rig.fault);
    if (row->path == NULL) {
        if (rc == 0 || strcmp(rig.fault.param, row->dropped) != 0) {
            fail_msg("%s %s: expected a fault at %s, found %d %s: %s", row->name, row->body,
                     row->dropped, rc, rig.fault.param, rig.fault.message);
        }
    } else {
        char *text;

        if (rc != 0) {
            fail_msg("%s: %s (%s)", row->body, rig.fault.message, rig.fault.param);
        }
        text = rig_join(&encoded);
        if (strcmp(text, row->expected) != 0 || !ps_slice_eq_cstr(encoded.path, row->path)) {
            fail_msg("%s\nexpected %s %s\nfound    %.*s %s", row->body, row->path, row->expected,
                     (int)encoded.path.len, encoded.path.ptr, text);
        }
        free(text);
        assert_true(ps_slice_eq_cstr(encoded.dropped, row->dropped != NULL ? row->dropped : ""));
        assert_string_equal(encoded.method, "POST");
    }
    rig_deinit(&rig);
}

static void run(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_row(&rows[i]);
    }
}
#define RUN(rows) run(rows, sizeof(rows) / sizeof((rows)[0]))

#define USER "{\"role\":\"user\",\"content\":\"h\\u00e4\"}"
#define ASK  "{\"messages\":[" USER "]"
#define TALK                                                                                       \
    "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"}," USER                                 \
    ",{\"role\":\"assistant\",\"content\":\"a\"}," USER "]"
#define TALKED                                                                                     \
    "\"system: s\\n\\nuser: h\\u00e4\\n\\nassistant: a\\n\\nuser: h\\u00e4\\n\\nassistant:\""
#define TOOLS                                                                                      \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":"              \
    "{\"type\":\"object\"}}}]"
#define SCHEMA                                                                                     \
    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":"   \
    "{\"type\":\"object\"}}}"
#define COUNTS "\"return_num_input_tokens\":true,\"return_num_output_tokens\":true"

static void test_triton(void **state)
{
    static const struct ps_dialect_settings trtllm = {.shape = AT("trtllm")};
    static const struct ps_dialect_settings llmapi = {.shape = AT("llmapi")};
    static const struct ps_dialect_settings hosted = {.self_hosted = true,
                                                      .path = AT("/v2/models/{model}/versions/2")};
    static const struct row rows[] = {
        {"triton", NULL, PS_OP_CHAT,
         ASK ",\"max_tokens\":7,\"temperature\":0.50,\"top_k\":3,\"stop\":[\"x\\\"\"],\"user\":"
             "\"u\",\"ignore_eos\":true}",
         "/v2/models/org%2Fm/generate",
         "{\"text_input\":\"h\\u00e4\",\"stream\":false,\"exclude_input_in_output\":true," COUNTS
         ",\"return_finish_reason\":true,\"sampling_parameters\":\"{\\\"max_tokens\\\":7,"
         "\\\"temperature\\\":0.50,\\\"top_k\\\":3,\\\"stop\\\":[\\\"x\\\\\\\"\\\"]}\"}",
         "user, ignore_eos", "/v2x"},
        {"triton", &hosted, PS_OP_CHAT, TALK ",\"stream\":true,\"ignore_eos\":true}",
         "/v2/models/org%2Fm/versions/2",
         "{\"text_input\":" TALKED ",\"stream\":true,\"exclude_input_in_output\":true," COUNTS
         ",\"return_finish_reason\":true,\"sampling_parameters\":\"{\\\"ignore_eos\\\":true}\"}",
         NULL, NULL},
        {"triton", &trtllm, PS_OP_CHAT,
         ASK ",\"stream\":true,\"stop\":\"x\",\"min_p\":0.1" SCHEMA "}",
         "/models/org%2Fm/generate_stream",
         "{\"text_input\":\"h\\u00e4\",\"stream\":true,\"exclude_input_in_output\":true," COUNTS
         ",\"stop_words\":[\"x\"],\"guided_decoding_guide_type\":\"json_schema\","
         "\"guided_decoding_guide\":\"{\\\"type\\\":\\\"object\\\"}\"}",
         "min_p", "/v2"},
        {"triton", &llmapi, PS_OP_COMPLETE, "{\"prompt\":\"p\",\"max_tokens\":3,\"echo\":true}",
         "/v2/models/org%2Fm/generate",
         "{\"text_input\":\"p\",\"streaming\":false,\"sampling_param_exclude_input_from_output\":"
         "false," COUNTS ",\"sampling_param_max_tokens\":3}",
         NULL, NULL},
        {"triton", NULL, PS_OP_CHAT, ASK SCHEMA "}", NULL, NULL, "response_format", NULL},
        {"triton", NULL, PS_OP_CHAT, ASK TOOLS "}", NULL, NULL, "tools", NULL},
        {"triton", NULL, PS_OP_CHAT, ASK ",\"n\":2}", NULL, NULL, "n", NULL},
        {"triton", NULL, PS_OP_CHAT, ASK ",\"logprobs\":true}", NULL, NULL, "logprobs", NULL},
        {"triton", NULL, PS_OP_COMPLETE, "{\"prompt\":[\"a\",\"b\"]}", NULL, NULL, "prompt", NULL},
        {"triton", NULL, PS_OP_CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
         "{\"url\":\"http://x/y.png\"}}]}]}",
         NULL, NULL, "messages[0].content[0]", NULL},
    };

    (void)state;
    RUN(rows);
}

static void test_tensors(void **state)
{
    static const struct ps_dialect_settings tensor = {.shape = AT("tensor"),
                                                      .prompt_at = AT("P"),
                                                      .text_at = AT("T"),
                                                      .max_tokens_at = AT("N"),
                                                      .temperature_at = AT("H"),
                                                      .stop_at = AT("S")};
    static const struct ps_dialect_settings batch = {
        .shape = AT("tensor-batch"), .prompt_at = AT("P"), .vector_at = AT("V")};
    static const struct row rows[] = {
        {"triton", &tensor, PS_OP_CHAT,
         ASK ",\"max_tokens\":7,\"temperature\":1,\"stop\":[\"a\",\"b\"],\"stream\":true}",
         "/v2/models/org%2Fm/infer",
         "{\"inputs\":[{\"name\":\"P\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"h\\u00e4\"]"
         "},{\"name\":\"N\",\"shape\":[1],\"datatype\":\"INT32\",\"data\":[7]},{\"name\":\"H\","
         "\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]},{\"name\":\"S\",\"shape\":[2],"
         "\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]}],\"outputs\":[{\"name\":\"T\"}]}",
         NULL, NULL},
        {"triton", &batch, PS_OP_EMBED, "{\"input\":[\"a\",\"b\"],\"user\":\"u\"}",
         "/v2/models/org%2Fm/infer",
         "{\"inputs\":[{\"name\":\"P\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"a\","
         "\"b\"]}],\"outputs\":[{\"name\":\"V\"}]}",
         "user", NULL},
        {"triton", NULL, PS_OP_EMBED, "{\"input\":\"a\"}", "/v2/models/org%2Fm/infer",
         "{\"inputs\":[{\"name\":\"text_input\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":["
         "\"a\"]}],\"outputs\":[{\"name\":\"embedding\"}]}",
         NULL, NULL},
        {"triton", NULL, PS_OP_EMBED, "{\"input\":\"a\",\"dimensions\":3}", NULL, NULL,
         "dimensions", NULL},
        {"triton", &batch, PS_OP_CHAT, ASK ",\"stop\":\"x\"}", NULL, NULL, "stop", NULL},
    };

    (void)state;
    RUN(rows);
}

static void test_tgi(void **state)
{
    static const struct row rows[] = {
        {"tgi", NULL, PS_OP_CHAT,
         TALK ",\"max_tokens\":7,\"temperature\":0.5,\"top_p\":0.9,\"seed\":1,\"stop\":\"x\","
              "\"presence_penalty\":1,\"typical_p\":0.3}",
         "/generate",
         "{\"inputs\":" TALKED ",\"parameters\":{\"max_new_tokens\":7,\"do_sample\":true,"
         "\"temperature\":0.5,\"top_p\":0.9,\"seed\":1,\"stop\":[\"x\"],\"details\":true,"
         "\"typical_p\":0.3}}",
         "presence_penalty", NULL},
        {"tgi", NULL, PS_OP_CHAT,
         ASK ",\"temperature\":0,\"top_p\":1,\"seed\":-1,\"stream\":true" SCHEMA "}",
         "/generate_stream",
         "{\"inputs\":\"h\\u00e4\",\"parameters\":{\"do_sample\":false,\"grammar\":{\"type\":"
         "\"json\",\"value\":{\"type\":\"object\"}},\"details\":true}}",
         "seed", NULL},
        {"tgi", NULL, PS_OP_COMPLETE, "{\"prompt\":\"p\",\"echo\":true,\"best_of\":2}", "/generate",
         "{\"inputs\":\"p\",\"parameters\":{\"best_of\":2,\"return_full_text\":true,\"details\":"
         "true}}",
         NULL, NULL},
        {"tgi", NULL, PS_OP_COMPLETE, "{\"prompt\":\"p\",\"echo\":true,\"stream\":true}", NULL,
         NULL, "echo", NULL},
        {"tgi", NULL, PS_OP_CHAT, ASK TOOLS "}", NULL, NULL, "tools", NULL},
    };

    (void)state;
    RUN(rows);
}

static void test_http(void **state)
{
    static const struct ps_dialect_settings deep = {
        .path = AT("/run/{model}"),
        .stream_path = AT("/stream"),
        .stream_mode = AT("sse"),
        .body_template = AT("{\"a\" : [1,{\"keep\":null}],\"opts\":{\"n\":0,\"m\":1}}"),
        .prompt_at = AT("/a/1/text"),
        .model_at = AT("/opts/x~1y"),
        .max_tokens_at = AT("/opts/n"),
        .temperature_at = AT("/new/0/t~0"),
        .stop_at = AT("/opts/stop"),
        .stream_at = AT("/a/-"),
    };
    static const struct ps_dialect_settings messages = {.messages_at = AT("/in/messages")};
    static const struct row rows[] = {
        {"http", NULL, PS_OP_CHAT, ASK ",\"stream\":true}", "/", "{\"prompt\":\"h\\u00e4\"}", NULL,
         NULL},
        {"http", &deep, PS_OP_CHAT,
         ASK ",\"max_tokens\":7,\"temperature\":1,\"stop\":\"x\",\"stream\":true}", "/stream",
         "{\"a\":[1,{\"keep\":null,\"text\":\"h\\u00e4\"},true],\"opts\":{\"n\":7,\"m\":1,"
         "\"x/y\":\"org/m\",\"stop\":[\"x\"]},\"new\":[{\"t~\":1}]}",
         NULL, NULL},
        {"http", &deep, PS_OP_CHAT, ASK "}", "/run/org%2Fm",
         "{\"a\":[1,{\"keep\":null,\"text\":\"h\\u00e4\"},false],\"opts\":{\"n\":0,\"m\":1,"
         "\"x/y\":\"org/m\"}}",
         NULL, NULL},
        {"http", &messages, PS_OP_CHAT, ASK ",\"max_tokens\":7,\"top_p\":0.5}", "/",
         "{\"in\":{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e4\"}]}}",
         "max_tokens, top_p", NULL},
        {"http", &messages, PS_OP_CHAT, ASK ",\"stop\":\"x\"}", NULL, NULL, "stop", NULL},
        {"http", NULL, PS_OP_EMBED, "{\"input\":\"a\"}", "/", "{\"prompt\":\"a\"}", NULL, NULL},
        {"http", NULL, PS_OP_EMBED, "{\"input\":[\"a\"]}", "/", "{\"prompt\":[\"a\"]}", NULL, NULL},
    };

    (void)state;
    RUN(rows);
}

/* Bodies are OpenAI's, as they came but for the name. */
static void test_azure(void **state)
{
    static const struct ps_dialect_settings dated = {.api_version = AT("2024-10-21")};
    static const struct ps_dialect_settings preview = {.api_version = AT("preview")};
    static const char body[] = "{\"model\":\"x\" , \"messages\":[" USER "]}";
    static const char sent[] = "{\"model\":\"org/m\" , \"messages\":[" USER "]}";
    static const struct row rows[] = {
        {"azure", &dated, PS_OP_CHAT, body,
         "/openai/deployments/org%2Fm/chat/completions?api-version=2024-10-21", sent, NULL, NULL},
        {"azure", &dated, PS_OP_CHAT, body,
         "/deployments/org%2Fm/chat/completions?api-version=2024-10-21", sent, NULL, "/openai"},
        {"azure", &dated, PS_OP_EMBED, "{\"model\":\"org/m\",\"input\":\"a\"}",
         "/openai/deployments/org%2Fm/embeddings?api-version=2024-10-21",
         "{\"model\":\"org/m\",\"input\":\"a\"}", NULL, NULL},
        {"azure", NULL, PS_OP_CHAT, body, "/openai/v1/chat/completions", sent, NULL, NULL},
        {"azure", NULL, PS_OP_CHAT, body, "/v1/chat/completions", sent, NULL, "/openai"},
        {"azure", NULL, PS_OP_CHAT, body, "/chat/completions", sent, NULL, "/openai/v1"},
        {"azure", &preview, PS_OP_CHAT, body, "/openai/v1/chat/completions?api-version=preview",
         sent, NULL, NULL},
    };

    (void)state;
    RUN(rows);
}

/* Paths that are only passed on. */
static void test_azure_pass(void **state)
{
    static const struct ps_dialect_settings dated = {.api_version = AT("2024-10-21")};
    static const struct {
        const char *path;
        const char *query;
        const char *expected;
    } rows[] = {
        {"/files", "limit=2", "/openai/files?limit=2&api-version=2024-10-21"},
        {"/files", "a=1&api-version=2025-01-01", "/openai/files?a=1&api-version=2025-01-01"},
        {"/audio/speech", "", "/openai/deployments/d%201/audio/speech?api-version=2024-10-21"},
        {"/responses/r1", "", "/openai/responses/r1?api-version=2024-10-21"},
    };
    const struct ps_encode_options options = {.settings = &dated, .model = PS_SLICE_LIT("d 1")};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_encoded encoded;
        struct rig rig;

        rig_init(&rig);
        rig.request.family = PS_FAMILY_OPENAI;
        rig.request.operation = PS_OP_PASS;
        rig.request.method = PS_SLICE_LIT("GET");
        rig.request.path = ps_slice_cstr(rows[i].path);
        rig.request.query = ps_slice_cstr(rows[i].query);
        assert_int_equal(ps_dialect_encode(ps_dialect_find("azure"), &rig.request, &options,
                                           &rig.arena, &encoded, &rig.fault),
                         0);
        if (!ps_slice_eq_cstr(encoded.path, rows[i].expected)) {
            fail_msg("expected %s, found %.*s", rows[i].expected, (int)encoded.path.len,
                     encoded.path.ptr);
        }
        assert_true(encoded.relayed);
        rig_deinit(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_triton), cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_tgi),    cmocka_unit_test(test_http),
        cmocka_unit_test(test_azure),  cmocka_unit_test(test_azure_pass),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
