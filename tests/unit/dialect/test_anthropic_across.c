/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * From door to upstream of the other family: requests of Anthropic's clients as bodies for OpenAI's
 * API, there and back again, and answers of Anthropic's API as OpenAI's clients get them. Answers
 * are cut at every byte.
 */

#define OUT_BYTES 16384

/* ---- requests ---- */

static char *translate(enum ps_family family, const char *body, const char *to, char *dropped,
                       size_t size)
{
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m")};
    struct ps_encoded encoded;
    struct rig rig;
    char *text;

    rig_init(&rig);
    rig.request.family = family;
    rig.request.operation = PS_OP_CHAT;
    rig.request.content_type = PS_SLICE_LIT("application/json");
    if (rig_read(&rig, &reading, ps_slice_cstr(body), &(struct cut){.shift = 3}) != 0 ||
        ps_dialect_encode(ps_dialect_find(to), &rig.request, &options, &rig.arena, &encoded,
                          &rig.fault) != 0) {
        fail_msg("%s: %s", body, rig.fault.message);
    }
    text = rig_join(&encoded);
    (void)snprintf(dropped, size, "%.*s", (int)encoded.dropped.len,
                   encoded.dropped.len > 0 ? encoded.dropped.ptr : "");
    rig_deinit(&rig);
    return text;
}

#define SCHEMA "{\"type\":\"object\",\"properties\":{\"a\":{\"maximum\":1e400}}}"

static const char asked[] =
    "{\"model\":\"m\",\"system\":\"be brief\",\"messages\":[{\"role\":\"user\",\"content\":[{"
    "\"type\":\"text\",\"text\":\"look \\ud83d\\ude00\"},{\"type\":\"image\",\"source\":{\"type\":"
    "\"base64\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}},{\"type\":\"image\",\"source\":{"
    "\"type\":\"url\",\"url\":\"https://a/b\"}}]},{\"role\":\"assistant\",\"content\":[{\"type\":"
    "\"text\",\"text\":\"hm\"},{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{"
    "\"a\":12345678901234567890}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
    "\"tool_use_id\":\"toolu_1\",\"content\":\"r\"},{\"type\":\"text\",\"text\":\"and?\"}]}],"
    "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":" SCHEMA "}],"
    "\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true},\"output_config\":{"
    "\"effort\":\"low\"},\"max_tokens\":99,\"temperature\":0.50,\"top_p\":0.9,"
    "\"stop_sequences\":[\"x\"],\"metadata\":{\"user_id\":\"u\"},\"stream\":true}";

static void asks_openai_and_back(void **state)
{
    char dropped[256];
    char *openai = translate(PS_FAMILY_ANTHROPIC, asked, "openai", dropped, sizeof(dropped));
    char *again;
    static const char *const parts[] = {
        "{\"role\":\"system\",\"content\":\"be brief\"}",
        "\"look \\ud83d\\ude00\"",
        "data:image/png;base64,AAAA",
        "\"url\":\"https://a/b\"",
        "\"id\":\"toolu_1\"",
        "{\\\"a\\\":12345678901234567890}",
        "\"tool_call_id\":\"toolu_1\"",
        "\"parameters\":" SCHEMA,
        "\"tool_choice\":\"required\"",
        "\"parallel_tool_calls\":false",
        "\"reasoning_effort\":\"low\"",
        "_tokens\":99", /* either name */
        "\"temperature\":0.50",
        "\"stop\":[\"x\"]",
        "\"user\":\"u\"",
        "\"stream\":true",
        "\"include_usage\":true",
    };

    (void)state;
    assert_string_equal(dropped, "");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strstr(openai, parts[i]) == NULL) {
            fprintf(stderr, "%s is not in %s\n", parts[i], openai);
            fail();
        }
    }
    /* What a result says comes before what the user says. */
    assert_true(strstr(openai, "tool_call_id") < strstr(openai, "and?"));
    again = translate(PS_FAMILY_OPENAI, openai, "anthropic", dropped, sizeof(dropped));
    assert_string_equal(dropped, "");
    if (strcmp(again, asked) != 0) {
        fprintf(stderr, "expected %s\nfound    %s\n", asked, again);
        fail();
    }
    free(openai);
    free(again);
}

static void names_what_it_leaves_out(void **state)
{
    char dropped[256];
    char *text = translate(PS_FAMILY_ANTHROPIC,
                           "{\"max_tokens\":9,\"top_k\":3,\"container\":\"c\",\"messages\":[{"
                           "\"role\":\"user\",\"content\":\"hi\"}],\"cache_control\":{\"type\":"
                           "\"ephemeral\"}}",
                           "openai", dropped, sizeof(dropped));

    (void)state;
    assert_non_null(strstr(dropped, "top_k"));
    assert_non_null(strstr(dropped, "container"));
    assert_non_null(strstr(dropped, "cache_control"));
    assert_null(strstr(text, "top_k"));
    free(text);
}

/* ---- answers ---- */

struct front {
    struct ps_writer *writer;
    struct ps_buf out;
};

static bool write_event(void *arg, const struct ps_event *event)
{
    struct front *front = arg;
    struct ps_fault fault;

    assert_int_equal(ps_writer_event(front->writer, event, &front->out, &fault), 0);
    return true;
}

/* What an OpenAI client gets for this answer, NUL-terminated in front->out. */
static void answer(struct rig *rig, struct front *front, const char *body, bool stream, size_t at)
{
    static const struct ps_answer_info info;
    const struct ps_decoder_options options = {
        .operation = PS_OP_CHAT,
        .front = PS_FAMILY_OPENAI,
        .stream = stream,
        .fields = true,
        .content_type =
            stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
        .event_bytes = 8192,
    };
    const struct ps_writer_options writing = {
        .operation = PS_OP_CHAT,
        .mode = stream ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
        .max_bytes = OUT_BYTES,
        .include_usage = true,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
        .created_s = 1,
    };
    struct ps_decoder *decoder;

    rig_init(rig);
    ps_buf_init(&front->out, OUT_BYTES);
    front->writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &writing, &rig->arena);
    decoder =
        ps_decoder_new(ps_dialect_find("anthropic"), &options, &rig->arena, write_event, front);
    assert_non_null(front->writer);
    assert_non_null(decoder);
    assert_int_equal(ps_decoder_feed(decoder, body, at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_feed(decoder, body + at, strlen(body) - at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
    ps_writer_end(front->writer, &info, &front->out);
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
    ps_decoder_free(decoder);
    ps_writer_free(front->writer);
}

/* The parts must be there, in this order. */
static void expect(const char *text, const char *const *parts)
{
    const char *at = text;

    for (; *parts != NULL; parts++) {
        at = strstr(at, *parts);
        if (at == NULL) {
            fail_msg("%s is not, or too early, in %s", *parts, text);
            return;
        }
        at += strlen(*parts);
    }
}

#define EVENT(json) "data: " json "\n\n"

static void answers_openai_clients(void **state)
{
    static const char stream[] = EVENT(
        "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"up\",\"usage\":{"
        "\"input_tokens\":9,\"cache_read_input_tokens\":1,\"output_tokens\":1}}}")
        EVENT("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
              "\"thinking\",\"thinking\":\"\"}}")
            EVENT("{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
                  "\"thinking_delta\",\"thinking\":\"hm\"}}")
                EVENT("{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":"
                      "\"text\",\"text\":\"\"}}")
                    EVENT("{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
                          "\"text_delta\",\"text\":\"Hi\"}}")
                        EVENT("{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{"
                              "\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}"
                              "}}")
                            EVENT("{\"type\":\"content_block_delta\",\"index\":2,\"delta\":{"
                                  "\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1}\""
                                  "}}")
                                EVENT("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
                                      "\"tool_use\"},\"usage\":{\"output_tokens\":15}}")
                                    EVENT("{\"type\":\"message_stop\"}");
    static const char *const chunks[] = {
        "\"role\":\"assistant\"",
        "\"reasoning_content\":\"hm\"",
        "\"content\":\"Hi\"",
        "\"id\":\"toolu_1\"",
        "\"name\":\"f\"",
        "{\\\"a\\\":1}",
        "\"finish_reason\":\"tool_calls\"",
        "\"prompt_tokens\":10",
        "\"completion_tokens\":15",
        "data: [DONE]",
        NULL,
    };
    static const char whole[] =
        "{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"up\",\"content\":[{\"type\":"
        "\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"Hi\"},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"a\":1}}],"
        "\"stop_reason\":\"max_tokens\",\"usage\":{\"input_tokens\":9,\"output_tokens\":15}}";
    static const char *const members[] = {
        "\"content\":\"Hi\"",           "\"id\":\"toolu_1\"",  "{\\\"a\\\":1}",
        "\"finish_reason\":\"length\"", "\"prompt_tokens\":9", NULL,
    };
    struct front front;
    struct rig rig;

    (void)state;
    for (size_t at = 0; at <= strlen(stream); at++) {
        answer(&rig, &front, stream, true, at);
        expect(front.out.ptr, chunks);
        ps_buf_deinit(&front.out);
        rig_deinit(&rig);
    }
    for (size_t at = 0; at <= strlen(whole); at++) {
        answer(&rig, &front, whole, false, at);
        expect(front.out.ptr, members);
        ps_buf_deinit(&front.out);
        rig_deinit(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_openai_and_back),
        cmocka_unit_test(names_what_it_leaves_out),
        cmocka_unit_test(answers_openai_clients),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
