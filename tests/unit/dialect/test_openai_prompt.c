/* SPDX-License-Identifier: Apache-2.0 */
#include "prompt_rig.h"

#define USER       "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define CHAT(more) "{\"model\":\"m\"," more "," USER "}"
#define TALK(list) "{\"model\":\"m\",\"messages\":[" list "]}"
#define TEXT(more) "{\"model\":\"m\",\"prompt\":\"hi\"," more "}"
#define EMBED(in)  "{\"model\":\"m\",\"input\":" in "}"

#define BAD         NULL, PS_FAULT_BAD_FIELD
#define TWICE       NULL, PS_FAULT_BAD_JSON
#define MISSING     NULL, PS_FAULT_MISSING_FIELD
#define UNSUPPORTED NULL, PS_FAULT_UNSUPPORTED_OPERATION
#define FINE        PS_FAULT_NONE, NULL

#define ROWS(rows, asked)                                                                          \
    run_prompt_rows(rows, sizeof(rows) / sizeof((rows)[0]), PS_FAMILY_OPENAI, asked,               \
                    &(struct ps_reader_options){.operation = (asked)})

static void reads_messages(void **state)
{
    static const struct prompt_row rows[] = {
        {TALK("{\"role\":\"user\",\"content\":\"a \\\"b\\\" \\u00e9\\ud83d\\ude00\\n\"}"),
         "user=[a \"b\" \xc3\xa9\xf0\x9f\x98\x80\n]", FINE},
        {TALK("{\"content\":\"be kind\",\"role\":\"developer\"},"
              "{\"role\":\"system\",\"content\":\"s\"} , {\"role\":\"user\",\"content\":\"\"},"
              "{\"role\":\"assistant\",\"name\":\"x\",\"content\":\"a\",\"tool_calls\":[]}"),
         "system=[be kind] system=[s] user=[] assistant=[a]", FINE},
        {TALK("{\"role\":\"us\\u0065r\",\"cont\\u0065nt\":\"k\"}"), "user=[k]", FINE},
        {TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
              "{\"text\":\"two\\\\\",\"type\":\"text\",\"cache_control\":{\"type\":\"]\"}}]}"),
         "user=[one\ntwo\\]", FINE},
        {TALK("{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
              "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"never\"}"),
         "assistant=[no] assistant=[never]", FINE},
        {TALK("{\"role\":\"user\",\"content\":\"\\ud800\"}"), "user=[\xef\xbf\xbd]", FINE},
        {TALK("{\"role\":\"user\",\"content\":\"a\\u0000b\"}"), BAD, "messages[0].content"},
        {TALK("{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\"}"), MISSING,
         "messages[1].content"},
        {TALK("{\"role\":\"user\",\"content\":null,\"refusal\":\"x\"}"), MISSING,
         "messages[0].content"},
        {TALK("{\"role\":\"assistant\",\"content\":null}"), MISSING, "messages[0].content"},
        {TALK("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\"}]}"),
         UNSUPPORTED, "messages[0].tool_calls"},
        {TALK("{\"role\":\"assistant\",\"content\":\"x\",\"function_call\":{\"name\":\"f\"}}"),
         UNSUPPORTED, "messages[0].function_call"},
        {TALK("{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"x\"}"), UNSUPPORTED,
         "messages[0].role"},
        {TALK("{\"role\":\"robot\",\"content\":\"x\"}"), BAD, "messages[0].role"},
        {TALK("{\"role\":\"user\",\"content\":5}"), BAD, "messages[0].content"},
        {TALK("{\"role\":\"user\",\"content\":{}}"), BAD, "messages[0].content"},
        {TALK("{\"role\":\"user\",\"content\":[]}"), BAD, "messages[0].content"},
        {TALK("{\"role\":\"user\",\"content\":[\"x\"]}"), BAD, "messages[0].content[0]"},
        {TALK("{\"role\":\"user\",\"content\":[{}]}"), BAD, "messages[0].content[0].type"},
        {TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), BAD,
         "messages[0].content[0].text"},
        {TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},"
              "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/\"}}]}"),
         UNSUPPORTED, "messages[0].content[1]"},
        {TALK("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}"), UNSUPPORTED,
         "messages[0].content[0]"},
        {TALK("{\"role\":\"user\",\"content\":[{\"type\":\"file\"}]}"), UNSUPPORTED,
         "messages[0].content[0]"},
        {TALK("{\"role\":\"user\",\"content\":\"x\",\"c\\u006fntent\":\"y\"}"), TWICE,
         "messages[0].content"},
        {TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\","
              "\"text\":\"y\"}]}"),
         TWICE, "messages[0].content[0].text"},
    };

    (void)state;
    ROWS(rows, PS_OP_CHAT);
}

static void reads_chat_fields(void **state)
{
    static const struct prompt_row rows[] = {
        {CHAT("\"max_tokens\":7"), "user=[hi] max=7", FINE},
        {CHAT("\"max_completion_tokens\":2147483647"), "user=[hi] max=2147483647", FINE},
        {CHAT("\"max_tokens\":7,\"max_completion_tokens\":7e0"), "user=[hi] max=7", FINE},
        {CHAT("\"max_tokens\":null,\"max_completion_tokens\":9"), "user=[hi] max=9", FINE},
        {CHAT("\"max_tokens\":7,\"max_completion_tokens\":8"), BAD, "max_tokens"},
        {CHAT("\"temperature\":0,\"top_p\":1,\"top_k\":40,\"min_p\":0.05"),
         "user=[hi] temperature=0 top_p=1 top_k=40 min_p=0.05", FINE},
        {CHAT("\"top_p\":0,\"top_k\":-1,\"min_p\":1"), "user=[hi] top_p=1e-06 top_k=0 min_p=1",
         FINE},
        {CHAT("\"temperature\":null,\"top_p\":null,\"seed\":null,\"stop\":null,\"n\":null,"
              "\"tools\":null,\"response_format\":null,\"logprobs\":null,\"logit_bias\":null"),
         "user=[hi]", FINE},
        {CHAT("\"seed\":9007199254740993"), "user=[hi] seed=9007199254740993", FINE},
        {CHAT("\"seed\":-9223372036854775808"), "user=[hi] seed=-9223372036854775808", FINE},
        {CHAT("\"frequency_penalty\":-2,\"presence_penalty\":0.5"), "user=[hi] penalties=-2,0.5",
         FINE},
        {CHAT("\"stop\":\"\\n\\n\""), "user=[hi] stop=[\n\n]", FINE},
        {CHAT("\"stop\":[\"a\",\"\\u0062\"]"), "user=[hi] stop=[a] stop=[b]", FINE},
        {CHAT("\"stop\":[]"), "user=[hi]", FINE},
        {CHAT("\"stop\":[\"a\",\"\"]"), BAD, "stop"},
        {CHAT("\"stop\":\"\""), BAD, "stop"},
        {CHAT("\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\","
              "\"d\",\"e\",\"f\",\"g\"]"),
         "user=[hi] stop=[1] stop=[2] stop=[3] stop=[4] stop=[5] stop=[6] stop=[7] stop=[8] "
         "stop=[9] stop=[a] stop=[b] stop=[c] stop=[d] stop=[e] stop=[f] stop=[g]",
         FINE},
        {CHAT("\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\","
              "\"d\",\"e\",\"f\",\"g\",\"h\"]"),
         BAD, "stop"},
        {CHAT("\"n\":1"), "user=[hi]", FINE},
        {CHAT("\"n\":2"), UNSUPPORTED, "n"},
        {CHAT("\"logprobs\":true"), "user=[hi] logprobs=0", FINE},
        {CHAT("\"logprobs\":true,\"top_logprobs\":20"), "user=[hi] logprobs=20", FINE},
        {CHAT("\"logprobs\":false,\"top_logprobs\":0"), "user=[hi]", FINE},
        {CHAT("\"logprobs\":true,\"top_logprobs\":21"), BAD, "top_logprobs"},
        {CHAT("\"logprobs\":false,\"top_logprobs\":1"), BAD, "top_logprobs"},
        {CHAT("\"logprobs\":3"), BAD, "logprobs"},
        {CHAT("\"top_k\":1.5"), BAD, "top_k"},
        {CHAT("\"top_k\":-2"), BAD, "top_k"},
        {CHAT("\"min_p\":1.01"), BAD, "min_p"},
        {CHAT("\"min_p\":\"0\""), BAD, "min_p"},
        {CHAT("\"frequency_penalty\":2.1"), BAD, "frequency_penalty"},
        {CHAT("\"presence_penalty\":-2.1"), BAD, "presence_penalty"},
        {CHAT("\"min_p\":0,\"min_p\":0"), TWICE, "min_p"},
        {CHAT("\"min_p\":0,\"\\u006din_p\":0"), TWICE, "min_p"},
    };

    (void)state;
    ROWS(rows, PS_OP_CHAT);
}

static void knows_its_limits(void **state)
{
    static const struct prompt_row rows[] = {
        {CHAT("\"response_format\":{\"type\":\"text\"}"), "user=[hi]", FINE},
        {CHAT("\"response_format\":{\"type\":\"json_object\"}"), "user=[hi] json", FINE},
        {CHAT("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
              "\"schema\":{ \"type\": \"object\", \"const\": 1e400, \"}\":\"]\" },"
              "\"strict\":true}}"),
         "user=[hi] schema schema=[{ \"type\": \"object\", \"const\": 1e400, \"}\":\"]\" }]", FINE},
        {CHAT("\"response_format\":\"json\""), BAD, "response_format"},
        {CHAT("\"response_format\":{}"), BAD, "response_format.type"},
        {CHAT("\"response_format\":{\"type\":\"xml\"}"), BAD, "response_format.type"},
        {CHAT("\"response_format\":{\"type\":\"json_schema\"}"), BAD,
         "response_format.json_schema"},
        {CHAT("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}"), BAD,
         "response_format.json_schema.schema"},
        {CHAT("\"response_format\":{\"type\":\"text\",\"type\":\"json_object\"}"), TWICE,
         "response_format.type"},
        {CHAT("\"tools\":[]"), "user=[hi]", FINE},
        {CHAT("\"tools\":[{\"type\":\"function\"}],\"tool_choice\":\"none\""), "user=[hi]", FINE},
        {CHAT("\"tools\":[{\"type\":\"function\"}]"), UNSUPPORTED, "tools"},
        {CHAT("\"tools\":[{\"type\":\"function\"}],\"tool_choice\":\"auto\""), UNSUPPORTED,
         "tools"},
        {CHAT("\"tool_choice\":\"auto\""), "user=[hi]", FINE},
        {CHAT("\"tool_choice\":\"required\""), UNSUPPORTED, "tool_choice"},
        {CHAT("\"functions\":[{\"name\":\"f\"}]"), UNSUPPORTED, "functions"},
        {CHAT("\"functions\":[{\"name\":\"f\"}],\"function_call\":\"none\""), "user=[hi]", FINE},
        {CHAT("\"modalities\":[\"text\"]"), "user=[hi]", FINE},
        {CHAT("\"modalities\":[\"text\",\"audio\"]"), UNSUPPORTED, "modalities"},
        {CHAT("\"modalities\":\"text\""), BAD, "modalities"},
        {CHAT("\"audio\":{\"voice\":\"x\"}"), UNSUPPORTED, "audio"},
        {CHAT("\"web_search_options\":{\"x\":1}"), UNSUPPORTED, "web_search_options"},
        {CHAT("\"moderation\":{\"model\":\"x\"}"), UNSUPPORTED, "moderation"},
        {CHAT("\"logit_bias\":{}"), "user=[hi]", FINE},
        {CHAT("\"logit_bias\":{\"5\":1}"), UNSUPPORTED, "logit_bias"},
        {CHAT("\"reasoning_effort\":\"low\",\"user\":\"u\",\"user\":\"v\",\"metadata\":{\"a\":1},"
              "\"store\":false,\"service_tier\":\"auto\",\"parallel_tool_calls\":true,"
              "\"something\":{\"else\":[1]},\"suffix\":\"x\",\"dimensions\":3,\"echo\":true"),
         "user=[hi] -reasoning_effort -user -metadata -service_tier -parallel_tool_calls", FINE},
    };

    (void)state;
    ROWS(rows, PS_OP_CHAT);
}

static void reads_completions(void **state)
{
    static const struct prompt_row rows[] = {
        {TEXT("\"max_tokens\":3,\"logprobs\":5,\"best_of\":1,\"echo\":false,\"suffix\":\"\""),
         "text=[hi] max=3 logprobs=5", FINE},
        {TEXT("\"logprobs\":0"), "text=[hi] logprobs=0", FINE},
        {"{\"prompt\":[ \"o\\tne\" ],\"model\":\"m\"}", "text=[o\tne]", FINE},
        {TEXT("\"response_format\":{\"type\":\"json_object\"}"), "text=[hi] json", FINE},
        {TEXT("\"messages\":5,\"tools\":[1],\"user\":\"u\""), "text=[hi] -user", FINE},
        {TEXT("\"logprobs\":6"), BAD, "logprobs"},
        {TEXT("\"logprobs\":true"), BAD, "logprobs"},
        {TEXT("\"max_tokens\":0"), UNSUPPORTED, "max_tokens"},
        {TEXT("\"echo\":true"), UNSUPPORTED, "echo"},
        {TEXT("\"suffix\":\"x\""), UNSUPPORTED, "suffix"},
        {TEXT("\"best_of\":2"), UNSUPPORTED, "best_of"},
        {TEXT("\"best_of\":0"), BAD, "best_of"},
        {TEXT("\"n\":3"), UNSUPPORTED, "n"},
        {"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", UNSUPPORTED, "prompt"},
        {"{\"model\":\"m\",\"prompt\":[1,2,3]}", UNSUPPORTED, "prompt"},
        {"{\"model\":\"m\",\"prompt\":[[1,2,3]]}", UNSUPPORTED, "prompt"},
        {"{\"model\":\"m\",\"prompt\":[\"\"]}", BAD, "prompt"},
        {"{\"model\":\"m\",\"prompt\":\"\\u0000\"}", BAD, "prompt"},
    };

    (void)state;
    ROWS(rows, PS_OP_COMPLETE);
}

static void reads_inputs(void **state)
{
    static const struct prompt_row rows[] = {
        {EMBED("\"a\\u0062\""), "input=[ab]", FINE},
        {EMBED("[\"a\", \"b\" ,\"c\"],\"encoding_format\":\"base64\""),
         "input=[a] input=[b] input=[c] base64", FINE},
        {EMBED("\"a\",\"encoding_format\":\"float\",\"user\":\"u\",\"tools\":[1],\"n\":7"),
         "input=[a] -user", FINE},
        {EMBED("\"a\",\"encoding_format\":\"int8\""), BAD, "encoding_format"},
        {EMBED("\"a\",\"encoding_format\":true"), BAD, "encoding_format"},
        {EMBED("\"a\",\"dimensions\":64"), UNSUPPORTED, "dimensions"},
        {EMBED("\"a\",\"dimensions\":null"), "input=[a]", FINE},
        {EMBED("[\"a\",\"\"]"), BAD, "input"},
        {EMBED("[\"a\",null]"), BAD, "input"},
        {EMBED("[1,2,3]"), UNSUPPORTED, "input"},
        {EMBED("[[1,2],[3]]"), UNSUPPORTED, "input"},
        {EMBED("[\"a\",{}]"), BAD, "input"},
    };

    (void)state;
    ROWS(rows, PS_OP_EMBED);
}

static void counts_inputs(void **state)
{
    static const struct {
        const char *element;
        size_t count;
        enum ps_fault_kind kind;
    } rows[] = {
        {"\"x\"", PS_PROMPT_INPUTS, PS_FAULT_NONE},
        {"\"x\"", PS_PROMPT_INPUTS + 1, PS_FAULT_BAD_FIELD},
        {"7", PS_PROMPT_INPUTS + 1, PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct prompt_row row = {.kind = rows[i].kind, .param = "input"};
        struct ps_buf body;
        struct ps_buf words;

        ps_buf_init(&body, 65536);
        ps_buf_init(&words, 65536);
        ps_buf_cstr(&body, "{\"model\":\"m\",\"input\":[");
        for (size_t j = 0; j < rows[i].count; j++) {
            ps_buf_cstr(&body, j > 0 ? "," : "");
            ps_buf_cstr(&body, rows[i].element);
            ps_buf_cstr(&words, j > 0 ? " input=[x]" : "input=[x]");
        }
        ps_buf_append(&body, "]}", 3);
        ps_buf_byte(&words, '\0');
        row.body = body.ptr;
        row.words = rows[i].kind == PS_FAULT_NONE ? words.ptr : NULL;
        run_prompt_rows(&row, 1, PS_FAMILY_OPENAI, PS_OP_EMBED,
                        &(struct ps_reader_options){.operation = PS_OP_EMBED});
        ps_buf_deinit(&body);
        ps_buf_deinit(&words);
    }
}

static void takes_bodies_of_many_blocks(void **state)
{
    static const char begin[] = "{\"model\":\"m\",\"messages\":[";
    static const char one[] = "{\"role\":\"user\",\"content\":\"0123456789\\n\"},";
    struct rig rig;
    struct ps_prompt prompt;
    struct ps_buf body;
    const struct cut cut = {.at = 10000};
    const size_t count = PS_PROMPT_MESSAGES;

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        int rc;

        rig_init(&rig);
        ps_buf_init(&body, (size_t)1 << 20);
        ps_buf_cstr(&body, begin);
        for (size_t i = 0; i < count + extra; i++) {
            ps_buf_cstr(&body, one);
        }
        body.len--;
        ps_buf_cstr(&body, "]}");
        assert_false(body.failed);
        rig.request.family = PS_FAMILY_OPENAI;
        rig.request.operation = PS_OP_CHAT;
        assert_int_equal(rig_read(&rig, &(struct ps_reader_options){.operation = PS_OP_CHAT},
                                  ps_buf_view(&body), &cut),
                         0);
        rc = ps_dialect_prompt(ps_dialect_of_family(PS_FAMILY_OPENAI), &rig.request, &rig.arena,
                               &prompt, &rig.fault);
        if (extra == 0) {
            assert_int_equal(rc, 0);
            assert_int_equal(prompt.message_count, count);
            for (size_t i = 0; i < count; i++) {
                assert_true(ps_slice_eq(prompt.messages[i].content, PS_SLICE_LIT("0123456789\n")));
            }
        } else {
            assert_int_equal(rc, -1);
            assert_int_equal(rig.fault.kind, PS_FAULT_BAD_FIELD);
            assert_string_equal(rig.fault.param, "messages");
        }
        ps_buf_deinit(&body);
        rig_deinit(&rig);
    }
}

static void survives_short_memory(void **state)
{
    static const char body[] =
        CHAT("\"stop\":[\"a\"],\"response_format\":{\"type\":\"json_schema\","
             "\"json_schema\":{\"schema\":{}}}");
    struct rig rig;
    struct ps_prompt prompt;
    const struct cut cut = {.shift = 20}; /* in two blocks, so that it is copied too */
    int64_t failures = 0;

    (void)state;
    for (int64_t after = 0;; after++) {
        int rc;

        rig_init(&rig);
        rig.request.family = PS_FAMILY_OPENAI;
        rig.request.operation = PS_OP_CHAT;
        assert_int_equal(rig_read(&rig, &(struct ps_reader_options){.operation = PS_OP_CHAT},
                                  ps_slice_cstr(body), &cut),
                         0);
        (void)ps_mem_fail_after(after);
        rc = ps_dialect_prompt(ps_dialect_of_family(PS_FAMILY_OPENAI), &rig.request, &rig.arena,
                               &prompt, &rig.fault);
        (void)ps_mem_fail_after(-1);
        if (rc != 0) {
            assert_int_equal(rig.fault.kind, PS_FAULT_NO_MEMORY);
            failures++;
        }
        rig_deinit(&rig);
        if (rc == 0) {
            break;
        }
    }
    assert_true(failures >= 2);
}

static void notes_base64(void **state)
{
    static const struct {
        const char *body;
        bool base64;
    } rows[] = {
        {EMBED("\"a\",\"encoding_format\":\"base64\""), true},
        {EMBED("\"a\",\"encoding_format\":\"b\\u0061se64\""), true},
        {EMBED("\"a\",\"encoding_format\":\"float\""), false},
        {EMBED("\"a\",\"encoding_format\":null"), false},
        {EMBED("\"a\""), false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        const struct cut cut = {.bytes = true};

        rig_init(&rig);
        rig.request.family = PS_FAMILY_OPENAI;
        rig.request.operation = PS_OP_EMBED;
        assert_int_equal(rig_read(&rig, &(struct ps_reader_options){.operation = PS_OP_EMBED},
                                  ps_slice_cstr(rows[i].body), &cut),
                         0);
        assert_int_equal(rig.request.base64, rows[i].base64);
        rig_deinit(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_messages),
        cmocka_unit_test(reads_chat_fields),
        cmocka_unit_test(knows_its_limits),
        cmocka_unit_test(reads_completions),
        cmocka_unit_test(reads_inputs),
        cmocka_unit_test(counts_inputs),
        cmocka_unit_test(takes_bodies_of_many_blocks),
        cmocka_unit_test(survives_short_memory),
        cmocka_unit_test(notes_base64),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
