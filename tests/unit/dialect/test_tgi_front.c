/* SPDX-License-Identifier: Apache-2.0 */
#include "front_rig.h"

/* TGI's own shape at its doors and at /generate: bodies in, OpenAI's and TGI's own out; events in,
 * its answers out. */

#define SAYS(text, more)                                                                           \
    "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]" more "}"
#define PARAMS(text) "{\"inputs\":\"hi\",\"parameters\":{" text "}}"
#define GENERATE     PS_FAMILY_GENERATE, "/generate"
#define STREAM       PS_FAMILY_TGI, "/generate_stream"
#define SLASH        PS_FAMILY_TGI, "/"

static void becomes_a_chat(void **state)
{
    static const struct front_row rows[] = {
        {GENERATE, "{\"inputs\":\"h\\u00e9\"}", SAYS("h\\u00e9", ""), NULL},
        {SLASH, "{\"inputs\":\"hi\",\"parameters\":null,\"stream\":false}", SAYS("hi", ""), NULL},
        {GENERATE, "{\"inputs\":\"hi\",\"stream\":true}",
         SAYS("hi", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"), NULL},
        {STREAM, "{\"inputs\":\"hi\"}",
         SAYS("hi", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"), NULL},
        {GENERATE,
         PARAMS("\"max_new_tokens\":7,\"temperature\":0.5,\"top_p\":0.9,\"top_k\":4,"
                "\"typical_p\":0.9,\"repetition_penalty\":1.1,\"frequency_penalty\":0.1,"
                "\"seed\":3,\"stop\":[\"x\"],\"do_sample\":true,\"details\":true"),
         SAYS("hi", ",\"max_tokens\":7,\"temperature\":0.5,\"top_p\":0.9,"
                    "\"frequency_penalty\":0.1,\"stop\":[\"x\"],\"seed\":3"),
         "top_k, repetition_penalty, parameters.typical_p"},
        {GENERATE,
         PARAMS("\"best_of\":1,\"top_n_tokens\":0,\"watermark\":false,\"adapter_id\":null,"
                "\"decoder_input_details\":false,\"truncate\":null,\"grammar\":null,"
                "\"return_full_text\":false"),
         SAYS("hi", ""), NULL},
        {GENERATE, PARAMS("\"do_sample\":false"), SAYS("hi", ",\"temperature\":0"), NULL},
        {GENERATE, PARAMS("\"do_sample\":false,\"temperature\":1.0"),
         SAYS("hi", ",\"temperature\":0"), NULL},
        {GENERATE, PARAMS("\"do_sample\":false,\"temperature\":0.7"),
         SAYS("hi", ",\"temperature\":0.7"), NULL},
        {GENERATE, PARAMS("\"odd\":1"), SAYS("hi", ""), "parameters.odd"},
        {GENERATE,
         PARAMS("\"grammar\":{\"type\":\"json\",\"value\":\"{\\\"type\\\":\\\"object\\\"}\"}"),
         SAYS("hi", ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                    "\"answer\",\"schema\":{\"type\":\"object\"}}}"),
         NULL},
        {GENERATE,
         PARAMS("\"grammar\":{\"type\":\"json_schema\",\"value\":{\"name\":\"n\",\"schema\":"
                "{\"type\":\"object\"}}}"),
         SAYS("hi", ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                    "\"n\",\"schema\":{\"type\":\"object\"}}}"),
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        front_check_cuts(&rows[i]);
    }
}

static void refuses(void **state)
{
    static const struct front_row rows[] = {
        {STREAM, "{}", NULL, "inputs"},
        {SLASH, "{\"inputs\":\"\"}", NULL, "inputs"},
        {GENERATE, "{\"inputs\":[\"a\"]}", NULL, "inputs"},
        {GENERATE, "{\"inputs\":\"a\",\"prompt\":\"b\"}", NULL, "prompt"},
        {GENERATE, "{\"inputs\":\"a\",\"background\":true}", NULL, "background"},
        {GENERATE, "{\"parameters\":{}}", NULL, "parameters"},
        {SLASH, "{\"inputs\":\"a\",\"stream\":1}", NULL, "stream"},
        {SLASH, "{\"inputs\":\"a\",\"parameters\":[]}", NULL, "parameters"},
        {GENERATE, "{\"inputs\":\"a\",\"parameters\":[]}", NULL, "parameters"},
        {SLASH, "{\"inputs\":\"a\",\"base_url\":\"x\"}", NULL, "base_url"},
        {GENERATE, PARAMS("\"max_new_tokens\":0"), NULL, "parameters.max_new_tokens"},
        {GENERATE, PARAMS("\"temperature\":\"a\""), NULL, "parameters.temperature"},
        {GENERATE, PARAMS("\"stop\":\"a\""), NULL, "parameters.stop"},
        {GENERATE, PARAMS("\"best_of\":2"), NULL, "parameters.best_of"},
        {GENERATE, PARAMS("\"top_n_tokens\":5"), NULL, "parameters.top_n_tokens"},
        {GENERATE, PARAMS("\"truncate\":5"), NULL, "parameters.truncate"},
        {GENERATE, PARAMS("\"watermark\":true"), NULL, "parameters.watermark"},
        {GENERATE, PARAMS("\"adapter_id\":\"a\""), NULL, "parameters.adapter_id"},
        {GENERATE, PARAMS("\"decoder_input_details\":true"), NULL,
         "parameters.decoder_input_details"},
        {GENERATE, PARAMS("\"grammar\":{\"type\":\"regex\",\"value\":\"a\"}"), NULL,
         "parameters.grammar.type"},
        {GENERATE, PARAMS("\"grammar\":{\"value\":{}}"), NULL, "parameters.grammar.type"},
        {GENERATE, PARAMS("\"grammar\":{\"type\":\"json\"}"), NULL, "parameters.grammar.value"},
        {GENERATE, PARAMS("\"grammar\":{\"type\":\"json\",\"value\":\"a\"}"), NULL,
         "parameters.grammar.value"},
        {GENERATE, PARAMS("\"details\":1"), NULL, "parameters.details"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        front_check(&rows[i], &(struct cut){.at = 0});
    }
}

/* To its own family all of it goes as it came, what others cannot take too. */
static void passes_to_its_own(void **state)
{
    static const struct {
        enum ps_family door;
        const char *path;
        const char *body;
        const char *expected;
    } rows[] = {
        {GENERATE, "{\"inputs\": \"a\",\"parameters\":{\"truncate\":5}}", "/generate"},
        {GENERATE, "{\"inputs\":\"a\",\"stream\":true, \"model\":\"m\"}", "/generate_stream"},
        {STREAM, "{\"inputs\":\"a\",\"new\":1.10}", "/generate_stream"},
        {SLASH, "{\"inputs\":\"a\"}", "/"},
        {SLASH, "{\"inputs\":\"a\",\"stream\":true}", "/generate_stream"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct cut cut = {.bytes = true};
        struct ps_encoded encoded;
        struct rig rig;
        char *text;

        assert_int_equal(front_read(&rig, rows[i].door, rows[i].path, rows[i].body, &cut), 0);
        assert_int_equal(front_encode(&rig, "tgi", &encoded), 0);
        assert_true(encoded.relayed);
        assert_int_equal(rig.request.family, PS_FAMILY_TGI);
        text = rig_join(&encoded);
        assert_string_equal(text, rows[i].body);
        assert_true(ps_slice_eq_cstr(encoded.path, rows[i].expected));
        assert_int_equal(encoded.stream, rig.request.stream);
        free(text);
        rig_deinit(&rig);
    }
}

/* ---- answers ---- */

static const struct ps_event answer[] = {
    {.kind = PS_EVENT_START},
    {.kind = PS_EVENT_REASONING, .text = {"hm", 2}},
    {.kind = PS_EVENT_TEXT, .text = {"a\"", 2}},
    {.kind = PS_EVENT_TEXT, .choice = 1, .text = {"other", 5}},
    {.kind = PS_EVENT_TEXT, .text = {"\xc3\xa9", 2}},
    {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP, .text = {"x", 1}},
    {.kind = PS_EVENT_USAGE, .usage = {3, 4, -1, -1, -1, -1}},
    {.kind = PS_EVENT_DONE},
};
#define TOKEN(index, text, special)                                                                \
    "data:{\"index\":" index ",\"token\":{\"id\":0,\"text\":\"" text                               \
    "\",\"logprob\":null,\"special\":" special "},\"generated_text\":"

static void writes(enum ps_writer_mode mode, const char *path, const char *body,
                   const char *expected)
{
    static const struct ps_answer_info info = {.total_us = 1};
    const struct cut cut = {.at = 0};
    struct ps_encoded encoded;
    struct ps_buf out;
    struct rig rig;

    assert_int_equal(front_read(&rig, PS_FAMILY_TGI, path, body, &cut), 0);
    assert_int_equal(front_encode(&rig, "openai", &encoded), 0);
    ps_buf_init(&out, 4096);
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT, .mode = mode, .max_bytes = 64, .request = &rig.request};
    struct ps_writer *writer =
        ps_writer_new(ps_dialect_of_family(PS_FAMILY_TGI), &options, &rig.arena);
    assert_non_null(writer);
    for (size_t i = 0; i < sizeof(answer) / sizeof(answer[0]); i++) {
        assert_int_equal(ps_writer_event(writer, &answer[i], &out, &rig.fault), 0);
    }
    ps_writer_end(writer, &info, &out);
    ps_buf_byte(&out, '\0');
    assert_string_equal(out.ptr, expected);
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

static void writes_answers(void **state)
{
    (void)state;
    writes(PS_WRITER_WHOLE, "/generate", "{\"inputs\":\"hi\"}",
           "{\"generated_text\":\"a\\\"\xc3\xa9\",\"details\":null}");
    writes(PS_WRITER_WHOLE, "/", PARAMS("\"details\":true,\"return_full_text\":true,\"seed\":7"),
           "[{\"generated_text\":\"hia\\\"\xc3\xa9\",\"details\":{\"finish_reason\":"
           "\"stop_sequence\",\"generated_tokens\":4,\"seed\":7,\"prefill\":[],\"tokens\":[]}}]");
    writes(
        PS_WRITER_STREAM, "/generate_stream", PARAMS("\"details\":true"),
        TOKEN("1", "a\\\"", "false") "null,\"details\":null}\n\n" TOKEN(
            "2", "\xc3\xa9",
            "false") "null,\"details\":null}\n\n" TOKEN("3", "",
                                                        "true") "\"a\\\"\xc3\xa9\",\"details\":{"
                                                                "\"finish_reason\":\"stop_"
                                                                "sequence\","
                                                                "\"generated_tokens\":4,\"seed\":"
                                                                "null,\"input_length\":3}}\n\n");
    writes(PS_WRITER_TEXT, "/", "{\"inputs\":\"hi\"}", "a\"\xc3\xa9");
}

static void bounds_what_it_holds(void **state)
{
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM, .max_bytes = 3};
    struct rig rig;
    struct ps_buf out;

    (void)state;
    rig_init(&rig);
    ps_buf_init(&out, 4096);
    struct ps_writer *writer =
        ps_writer_new(ps_dialect_of_family(PS_FAMILY_TGI), &options, &rig.arena);
    assert_int_equal(ps_writer_event(writer, &answer[2], &out, &rig.fault), 0);
    assert_int_equal(ps_writer_event(writer, &answer[4], &out, &rig.fault), -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

static void writes_faults(void **state)
{
    static const struct {
        enum ps_fault_kind kind;
        const char *type;
    } rows[] = {
        {PS_FAULT_BAD_FIELD, "validation"},
        {PS_FAULT_MODEL_NOT_FOUND, "validation"},
        {PS_FAULT_UNAUTHORIZED, "unauthorized"},
        {PS_FAULT_NO_MEMORY, "overloaded"},
        {PS_FAULT_UPSTREAM_BROKEN, "generation"},
        {PS_FAULT_STREAM_INCOMPLETE, "incomplete_generation"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_fault fault;
        struct ps_buf out;
        char expected[128];

        (void)ps_fault_set(&fault, rows[i].kind, NULL, "no \"x\"");
        ps_buf_init(&out, 4096);
        ps_dialect_write_fault_event(ps_dialect_of_family(PS_FAMILY_TGI), &fault, PS_SLICE_NONE,
                                     &out);
        ps_buf_byte(&out, '\0');
        (void)snprintf(expected, sizeof(expected),
                       "data:{\"error\":\"no \\\"x\\\"\",\"error_type\":\"%s\"}\n\n", rows[i].type);
        assert_string_equal(out.ptr, expected);
        ps_buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(becomes_a_chat),       cmocka_unit_test(refuses),
        cmocka_unit_test(passes_to_its_own),    cmocka_unit_test(writes_answers),
        cmocka_unit_test(bounds_what_it_holds), cmocka_unit_test(writes_faults),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
