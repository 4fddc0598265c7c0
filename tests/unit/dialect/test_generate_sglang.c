/* SPDX-License-Identifier: Apache-2.0 */
#include "front_rig.h"

/* SGLang's shape at /generate: bodies in, OpenAI's out; events in, its answers out. */

#define OURS PS_FAMILY_GENERATE, "/generate"
#define SAYS(more)                                                                                 \
    "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"
#define PARAMS(text) "{\"text\":\"hi\",\"sampling_params\":{" text "}}"

static void becomes_a_chat(void **state)
{
    static const struct front_row rows[] = {
        {OURS, "{\"text\":\"hi\"}", SAYS(""), NULL},
        {OURS, "{\"sampling_params\":null,\"text\":\"hi\",\"stream\":true}",
         SAYS(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"), NULL},
        /* as SGLang's own client sends it, whatever is asked for */
        {OURS,
         PARAMS("\"max_new_tokens\":128,\"min_new_tokens\":0,\"n\":1,\"stop\":[],"
                "\"stop_token_ids\":[],\"stop_regex\":[],\"temperature\":1.0,\"top_p\":1.0,"
                "\"top_k\":-1,\"min_p\":0.0,\"frequency_penalty\":0.0,\"presence_penalty\":0.0,"
                "\"ignore_eos\":false,\"regex\":null,\"json_schema\":null,"
                "\"skip_special_tokens\":true"),
         SAYS(",\"max_tokens\":128,\"temperature\":1.0,\"top_p\":1.0"), NULL},
        {OURS,
         PARAMS("\"max_new_tokens\":7,\"top_k\":4,\"min_p\":0.1,\"frequency_penalty\":0.2,"
                "\"presence_penalty\":0.3,\"repetition_penalty\":1.1,\"sampling_seed\":3,"
                "\"stop\":\"x\",\"min_new_tokens\":2,\"skip_special_tokens\":false,"
                "\"no_stop_trim\":true,\"odd\":1"),
         SAYS(",\"max_tokens\":7,\"presence_penalty\":0.3,\"frequency_penalty\":0.2,"
              "\"stop\":[\"x\"],\"seed\":3"),
         "top_k, min_p, repetition_penalty, sampling_params.odd, "
         "sampling_params.skip_special_tokens, sampling_params.min_new_tokens, "
         "sampling_params.no_stop_trim"},
        {OURS, PARAMS("\"json_schema\":\"{\\\"type\\\":\\\"object\\\"}\""),
         SAYS(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
              "\"answer\",\"schema\":{\"type\":\"object\"}}}"),
         NULL},
        {OURS, "{\"text\":\"hi\",\"rid\":\"a\",\"return_logprob\":false}", SAYS(""), "rid"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        front_check_cuts(&rows[i]);
    }
}

static void refuses(void **state)
{
    static const struct front_row rows[] = {
        {OURS, "{\"text\":[\"a\"]}", NULL, "text"},
        {OURS, "{\"text\":\"\"}", NULL, "text"},
        {OURS, "{\"text\":\"a\",\"prompt\":\"b\"}", NULL, "prompt"},
        {OURS, "{\"text\":\"a\",\"background\":true}", NULL, "background"},
        {OURS, "{\"text\":\"a\",\"api_key\":\"b\"}", NULL, "api_key"},
        {OURS, "{\"sampling_params\":{}}", NULL, "sampling_params"},
        {OURS, "{\"text\":\"a\",\"sampling_params\":[]}", NULL, "sampling_params"},
        {OURS, "{\"text\":\"a\",\"image_data\":\"b\"}", NULL, "image_data"},
        {OURS, "{\"text\":\"a\",\"return_logprob\":true}", NULL, "return_logprob"},
        {OURS, "{\"text\":\"a\",\"lora_path\":\"b\"}", NULL, "lora_path"},
        {OURS, PARAMS("\"n\":2"), NULL, "sampling_params.n"},
        {OURS, PARAMS("\"regex\":\"a+\""), NULL, "sampling_params.regex"},
        {OURS, PARAMS("\"ebnf\":\"a\""), NULL, "sampling_params.ebnf"},
        {OURS, PARAMS("\"stop_token_ids\":[1]"), NULL, "sampling_params.stop_token_ids"},
        {OURS, PARAMS("\"stop_regex\":\"a\""), NULL, "sampling_params.stop_regex"},
        {OURS, PARAMS("\"ignore_eos\":true"), NULL, "sampling_params.ignore_eos"},
        {OURS, PARAMS("\"temperature\":\"a\""), NULL, "sampling_params.temperature"},
        {OURS, PARAMS("\"json_schema\":\"a\""), NULL, "sampling_params.json_schema"},
        {OURS, PARAMS("\"stop\":7"), NULL, "sampling_params.stop"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        front_check(&rows[i], &(struct cut){.at = 0});
    }
}

/* ---- answers ---- */

static const struct ps_event answer[] = {
    {.kind = PS_EVENT_TEXT, .text = {"a\"", 2}},
    {.kind = PS_EVENT_TEXT, .choice = 1, .text = {"other", 5}},
    {.kind = PS_EVENT_TEXT, .text = {"\xc3\xa9", 2}},
    {.kind = PS_EVENT_USAGE, .usage = {3, 4, -1, 2, -1, -1}},
    {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP, .text = {"x", 1}},
};

static void write_all(struct rig *rig, enum ps_writer_mode mode, const struct ps_event *last,
                      struct ps_buf *out)
{
    static const struct ps_answer_info info = {
        .queue_us = -1, .first_token_us = -1, .total_us = 1500000};
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT,
        .mode = mode,
        .max_bytes = 64,
        .request = &rig->request,
        .id = PS_SLICE_LIT("gen_1"),
    };
    struct ps_writer *writer =
        ps_writer_new(ps_dialect_of_family(PS_FAMILY_GENERATE), &options, &rig->arena);

    assert_non_null(writer);
    for (size_t i = 0; i < sizeof(answer) / sizeof(answer[0]); i++) {
        assert_int_equal(ps_writer_event(writer, &answer[i], out, &rig->fault), 0);
    }
    if (last != NULL) {
        assert_int_equal(ps_writer_event(writer, last, out, &rig->fault), 0);
    }
    ps_writer_end(writer, &info, out);
    ps_buf_byte(out, '\0');
    ps_writer_free(writer);
}

#define META(finish, prompt, completion, cached)                                                   \
    ",\"meta_info\":{\"id\":\"gen_1\",\"finish_reason\":" finish ",\"prompt_tokens\":" prompt      \
    ",\"completion_tokens\":" completion ",\"cached_tokens\":" cached

static void writes_a_stream(void **state)
{
    struct rig rig;
    struct ps_buf out;

    (void)state;
    assert_int_equal(
        front_read(&rig, OURS, "{\"text\":\"a\",\"stream\":true}", &(struct cut){.at = 0}), 0);
    assert_true(rig.request.stream);
    ps_buf_init(&out, 4096);
    write_all(&rig, PS_WRITER_STREAM, NULL, &out);
    assert_string_equal(
        out.ptr, "data: {\"text\":\"a\\\"\"" META(
                     "null", "null", "null",
                     "0") "}}\n\n"
                          "data: {\"text\":\"a\\\"\xc3\xa9\"" META(
                              "null", "null", "null",
                              "0") "}}\n\n"
                                   "data: {\"text\":\"a\\\"\xc3\xa9\"" META(
                                       "{\"type\":\"stop\",\"matched\":\"x\"}", "3", "4",
                                       "2") ",\"e2e_latency\":1.500000}}\n\ndata: [DONE]\n\n");
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

static void writes_a_whole_answer(void **state)
{
    static const struct ps_event cut = {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH};
    struct rig rig;
    struct ps_buf out;

    (void)state;
    assert_int_equal(front_read(&rig, OURS, "{\"text\":\"a\"}", &(struct cut){.at = 0}), 0);
    ps_buf_init(&out, 4096);
    write_all(&rig, PS_WRITER_WHOLE, &cut, &out);
    assert_non_null(strstr(out.ptr, "\"text\":\"a\\\"\xc3\xa9\",\"finish_reason\":\"length\""));
    assert_non_null(strstr(out.ptr, META("{\"type\":\"length\",\"length\":4}", "3", "4",
                                         "2") ",\"e2e_latency\":1.500000}}\n"));
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

static void bounds_what_it_holds(void **state)
{
    struct rig rig;
    struct ps_buf out;

    (void)state;
    assert_int_equal(
        front_read(&rig, OURS, "{\"text\":\"a\",\"stream\":true}", &(struct cut){.at = 0}), 0);
    ps_buf_init(&out, 4096);
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM, .max_bytes = 5, .request = &rig.request};
    struct ps_writer *writer =
        ps_writer_new(ps_dialect_of_family(PS_FAMILY_GENERATE), &options, &rig.arena);
    assert_int_equal(ps_writer_event(writer, &answer[2], &out, &rig.fault), 0);
    assert_int_equal(ps_writer_event(writer, &answer[0], &out, &rig.fault), -1);
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(becomes_a_chat),       cmocka_unit_test(refuses),
        cmocka_unit_test(writes_a_stream),      cmocka_unit_test(writes_a_whole_answer),
        cmocka_unit_test(bounds_what_it_holds),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
