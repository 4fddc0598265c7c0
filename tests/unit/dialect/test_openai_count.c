/* SPDX-License-Identifier: Apache-2.0 */
#include "back_rig.h"

/* How long a prompt is: Anthropic's question to servers of OpenAI's family, and what they say. */

struct row {
    const char *dialect;
    const char *base_path;
    const struct ps_dialect_settings *settings;
    const char *body;
    const char *path; /* NULL: refused */
    const char *expected;
    const char *dropped; /* or the param of the fault */
    bool from_root;
};

static void run_row(const struct row *row)
{
    const struct ps_reader_options reading = {.operation = PS_OP_COUNT_TOKENS};
    const struct ps_encode_options options = {
        .model = PS_SLICE_LIT("m"),
        .settings = row->settings,
        .base_path = ps_slice_cstr(row->base_path),
    };
    struct ps_encoded encoded = {.method = NULL};
    struct rig rig;
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_ANTHROPIC;
    rig.request.operation = PS_OP_COUNT_TOKENS;
    if (rig_read(&rig, &reading, ps_slice_cstr(row->body), &(struct cut){.shift = 5}) != 0) {
        fail_msg("%s: %s", row->body, rig.fault.message);
    }
    rc = ps_dialect_encode(ps_dialect_find(row->dialect), &rig.request, &options, &rig.arena,
                           &encoded, &rig.fault);
    if (row->path == NULL) {
        assert_int_equal(rc, -1);
        assert_int_equal(ps_fault_status(&rig.fault), 400);
        assert_string_equal(rig.fault.param, row->dropped);
    } else {
        char *text;

        if (rc != 0) {
            fail_msg("%s: %s", row->body, rig.fault.message);
        }
        text = rig_join(&encoded);
        assert_string_equal(text, row->expected);
        free(text);
        assert_true(ps_slice_eq_cstr(encoded.path, row->path));
        assert_true(ps_slice_eq_cstr(encoded.dropped, row->dropped != NULL ? row->dropped : ""));
        assert_int_equal(encoded.from_root, row->from_root);
        assert_false(encoded.stream);
    }
    rig_deinit(&rig);
}

#define ASK                                                                                        \
    "{\"model\":\"x\",\"system\":\"be brief\",\"messages\":[{\"role\":\"user\",\"content\":["      \
    "{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\","   \
    "\"media_type\":\"image/png\",\"data\":\"AAAA\"}},{\"type\":\"document\",\"source\":{"         \
    "\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"d\"}}]},{\"role\":\"assistant\","  \
    "\"content\":[{\"type\":\"text\",\"text\":\"hm\"},{\"type\":\"tool_use\",\"id\":\"t\","        \
    "\"name\":\"f\",\"input\":{\"a\":1}}]},{\"role\":\"user\",\"content\":[{\"type\":"             \
    "\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"r\"}]}],\"tools\":[{\"name\":\"f\","      \
    "\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}]}"
#define HI "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define CHAT                                                                                       \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":"     \
    "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\","         \
    "\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}},{\"type\":\"text\",\"text\":\"d\"}]}" \
    ",{\"role\":\"assistant\",\"content\":\"hm\",\"tool_calls\":[{\"id\":\"t\",\"type\":"          \
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":"     \
    "\"tool\",\"tool_call_id\":\"t\",\"content\":\"r\"}],\"tools\":[{\"type\":\"function\","       \
    "\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}}}]"
#define ITEMS                                                                                      \
    "{\"model\":\"m\",\"input\":[{\"role\":\"developer\",\"content\":\"be brief\"},{\"role\":"     \
    "\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"look\"},{\"type\":\"input_image\"," \
    "\"image_url\":\"data:image/png;base64,AAAA\",\"detail\":\"auto\"},{\"type\":\"input_text\","  \
    "\"text\":\"d\"}]},{\"role\":\"assistant\",\"content\":\"hm\"},{\"type\":\"function_call\","   \
    "\"call_id\":\"t\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"},{\"type\":"                 \
    "\"function_call_output\",\"call_id\":\"t\",\"output\":\"r\"}],\"tools\":[{\"type\":"          \
    "\"function\",\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"},"      \
    "\"strict\":false}]}"

static void test_asks(void **state)
{
    static const struct ps_dialect_settings native = {.native_responses = true};
    static const struct row rows[] = {
        {"vllm", "/v1", NULL, ASK, "/tokenize", CHAT ",\"add_generation_prompt\":true}", NULL,
         true},
        {"vllm", "/proxy/v1", NULL, ASK, "/proxy/tokenize", CHAT ",\"add_generation_prompt\":true}",
         NULL, true},
        {"vllm", "", NULL, ASK, "/tokenize", CHAT ",\"add_generation_prompt\":true}", NULL, true},
        {"llama-server", "/v1", NULL, ASK, "/chat/completions/input_tokens", CHAT "}", NULL, false},
        {"openai", "/v1", &native, ASK, "/responses/input_tokens", ITEMS, NULL, false},
        {"openai", "/v1", &native,
         HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},\"x_new\":1}",
         "/responses/input_tokens",
         "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "thinking, x_new",
         false},
        /* cannot */
        {"openai", "/v1", NULL, ASK, NULL, NULL, "model", false},
        {"sglang", "/v1", NULL, ASK, NULL, NULL, "", false},
        {"azure", "", &native, ASK, NULL, NULL, "", false},
        {"openai", "/v1", &native,
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
         "\"file\",\"file_id\":\"f\"}}]}]}",
         NULL, NULL, "messages[0].content[0]", false},
        {"openai", "/v1", &native,
         HI ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]}", NULL, NULL,
         "tools[0]", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_row(&rows[i]);
    }
}

static void test_answers(void **state)
{
#define NO_COUNT "broken upstream_broken: The provider's answer has no count of tokens.\n"
#define COUNT(body, expected)                                                                      \
    {                                                                                              \
        PS_OP_COUNT_TOKENS, false, "application/json", body, expected                              \
    }
    static const struct back_answer answers[] = {
        COUNT("{\"count\":7,\"max_model_len\":99,\"tokens\":[1,2,3,4,5,6,7]}",
              "usage 7,-1,-1\nresult\ndone\n"),
        COUNT(" {\"object\":\"response.input_tokens\",\"input_tokens\":14}\n",
              "usage 14,-1,-1\nresult\ndone\n"),
        COUNT("{\"tokens\":[1]}", NO_COUNT),
        COUNT("{\"count\":-1}", NO_COUNT),
        COUNT("{\"count\":\"7\"}", NO_COUNT),
        COUNT("[7]", "broken upstream_broken: The provider's answer is not a JSON object.\n"),
        COUNT("{\"error\":{\"message\":\"no\"}}", "fault upstream_error: no\n"),
    };

    (void)state;
    back_decode_all("vllm", answers, BACK_COUNT(answers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
