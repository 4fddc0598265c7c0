/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * The Responses API: requests of its clients as bodies for OpenAI's chat, and answers of OpenAI's
 * chat as its clients get them, cut at every byte.
 */

#define OUT_BYTES 65536

/* ---- requests ---- */

struct asked {
    const char *body;
    const char *previous; /* items before, or NULL */
    const char *expected; /* body; NULL: refused */
    const char *said;     /* dropped, or the param */
};

#define MODEL      "\"model\":\"m\""
#define TWENTY_SIX "01j00000000000000000000000"
#define USER(x)    "{\"role\":\"user\",\"content\":\"" x "\"}"

static const struct asked asks[] = {
    {"{" MODEL ",\"input\":\"hi\"}", NULL, "{" MODEL ",\"messages\":[" USER("hi") "]}", ""},
    {"{" MODEL ",\"input\":\"h\\u0069\",\"instructions\":\"brief\",\"store\":false,\"metadata\":"
     "{\"a\":\"b\"},\"max_output_tokens\":9,\"temperature\":0.50,\"top_p\":1,\"stream\":false}",
     NULL,
     "{" MODEL ",\"messages\":[{\"role\":\"system\",\"content\":\"brief\"}," USER(
         "h\\u0069") "],"
                     "\"max_tokens\":9,\"temperature\":0.50,\"top_p\":1}",
     ""},
    /* what an assistant did is one message */
    {"{" MODEL ",\"input\":[" USER(
         "q") ",{\"type\":\"message\",\"id\":\"msg_1\",\"status\":"
              "\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
              "\"text\":\"a\","
              "\"annotations\":[],\"logprobs\":[]}]},{\"type\":\"function_call\",\"id\":\"fc_1\","
              "\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\",\"status\":"
              "\"completed\"},"
              "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"f\",\"arguments\":\"{}\"},"
              "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"r2\"},"
              "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":[{\"type\":\"input_"
              "text\","
              "\"text\":\"r1\"}]}]}",
     NULL,
     "{" MODEL ",\"messages\":[" USER(
         "q") ",{\"role\":\"assistant\",\"content\":\"a\","
              "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
              "\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":"
              "{"
              "\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c2\","
              "\"content\":\"r2\"},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"r1\"}]"
              "}",
     ""},
    /* a second text is a message of its own */
    {"{" MODEL ",\"input\":[" USER("q") ",{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":"
                                        "\"assistant\",\"content\":\"b\"}]}",
     NULL,
     "{" MODEL ",\"messages\":[" USER("q") ",{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":"
                                           "\"assistant\",\"content\":\"b\"}]}",
     ""},
    {"{" MODEL ",\"previous_response_id\":\"resp_1\",\"input\":\"and?\"}",
     "[" USER("q") ",{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
                   "\"output_text\",\"text\":\"a\"}]}]",
     "{" MODEL
     ",\"messages\":[" USER("q") ",{\"role\":\"assistant\",\"content\":\"a\"}," USER("and?") "]}",
     ""},
    {"{" MODEL
     ",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"t\"}"
     ",{\"type\":\"input_image\",\"image_url\":\"https://a/b\",\"detail\":\"low\"}]}]}",
     NULL,
     "{" MODEL ",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"t\"},{"
     "\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a/b\",\"detail\":\"low\"}}]}]}",
     ""},
    {"{" MODEL ",\"input\":\"q\",\"truncation\":\"auto\",\"max_tool_calls\":3}", NULL,
     "{" MODEL ",\"messages\":[" USER("q") "]}", "truncation, max_tool_calls"},
    {"{" MODEL ",\"input\":\"q\",\"include\":[\"reasoning.encrypted_content\"]}", NULL,
     "{" MODEL ",\"messages\":[" USER("q") "]}", ""},
    {"{" MODEL ",\"input\":\"q\",\"include\":[\"reasoning.encrypted_content\",\"x\"]}", NULL,
     "{" MODEL ",\"messages\":[" USER("q") "]}", "include"},
    {"{" MODEL
     ",\"input\":\"q\",\"include\":[\"message.output_text.logprobs\"],\"top_logprobs\":2}",
     NULL, "{" MODEL ",\"messages\":[" USER("q") "],\"logprobs\":true,\"top_logprobs\":2}", ""},
    {"{" MODEL ",\"input\":\"q\",\"include\":[\"message.output_text.logprobs\",\"x\"]}", NULL,
     "{" MODEL ",\"messages\":[" USER("q") "],\"logprobs\":true}", "include"},
    {"{" MODEL ",\"input\":\"q\",\"top_logprobs\":2}", NULL,
     "{" MODEL ",\"messages\":[" USER("q") "]}", ""},

    {"{" MODEL ",\"input\":\"q\",\"top_logprobs\":21}", NULL, NULL, "top_logprobs"},
    {"{" MODEL "}", NULL, NULL, "input"},
    {"{" MODEL ",\"input\":\"\"}", NULL, NULL, "input"},
    {"{" MODEL ",\"input\":7}", NULL, NULL, "input"},
    {"{" MODEL ",\"input\":[7]}", NULL, NULL, "input[0]"},
    {"{" MODEL ",\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", NULL, NULL,
     "input[0].id"},
    {"{" MODEL ",\"input\":[{\"type\":\"item_reference\"}]}", NULL, NULL, "input[0].id"},
    {"{" MODEL ",\"input\":[" USER("q") ",{\"id\":\"msg_" TWENTY_SIX "_0\"}]}", NULL, NULL,
     "input[1].id"},
    {"{" MODEL ",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\"}]}]}", NULL,
     NULL, "input[0].content[0].file_data"},
    {"{" MODEL ",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"refusal\",\"refusal\":"
     "\"x\"}]}]}",
     NULL, NULL, "input[0].content[0].type"},
    {"{" MODEL ",\"input\":[{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\","
     "\"arguments\":\"[]\"}]}",
     NULL, NULL, "input[0].arguments"},
    {"{" MODEL
     ",\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"r\"}]}",
     NULL, NULL, "input[0].call_id"},
    {"{" MODEL ",\"input\":\"q\",\"tools\":[{\"type\":\"web_search\"}]}", NULL, NULL, "tools[0]"},
    {"{" MODEL ",\"input\":\"q\",\"tools\":[{\"type\":\"function\"}]}", NULL, NULL,
     "tools[0].name"},
    {"{" MODEL ",\"input\":\"q\",\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}}", NULL,
     NULL, "tool_choice.name"},
    {"{" MODEL ",\"input\":\"q\",\"text\":{\"format\":{\"type\":\"xml\"}}}", NULL, NULL,
     "text.format.type"},
    {"{" MODEL ",\"input\":\"q\",\"reasoning\":{\"effort\":\"a bit\"}}", NULL, NULL,
     "reasoning.effort"},
    {"{" MODEL ",\"input\":\"q\",\"truncation\":\"some\"}", NULL, NULL, "truncation"},
    {"{" MODEL ",\"input\":\"q\",\"previous_response_id\":\"resp_1\"}", NULL, NULL,
     "previous_response_id"},
    {"{" MODEL ",\"input\":\"q\",\"conversation\":{\"id\":\"c\"}}", NULL, NULL, "conversation"},
    {"{" MODEL ",\"input\":\"q\",\"store\":1}", NULL, NULL, "store"},
    {"{" MODEL ",\"input\":\"q\",\"include\":\"x\"}", NULL, NULL, "include"},
    {"{" MODEL ",\"input\":\"q\",\"include\":[1]}", NULL, NULL, "include"},
};

static void ask(const struct asked *asked, const struct cut *cut)
{
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m")};
    struct ps_encoded encoded;
    struct rig rig;
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_RESPONSES;
    rig.request.operation = PS_OP_CHAT;
    rc = rig_read(&rig, &reading, ps_slice_cstr(asked->body), cut);
    rig.request.previous = asked->previous != NULL ? ps_slice_cstr(asked->previous) : PS_SLICE_NONE;
    if (rc == 0) {
        rc = ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options, &rig.arena,
                               &encoded, &rig.fault);
    }
    if (rc == 0 && asked->expected != NULL) {
        char *text = rig_join(&encoded);
        char dropped[128];

        (void)snprintf(dropped, sizeof(dropped), "%.*s", (int)encoded.dropped.len,
                       encoded.dropped.len > 0 ? encoded.dropped.ptr : "");
        assert_string_equal(text, asked->expected);
        assert_string_equal(dropped, asked->said);
        free(text);
    } else if (rc == 0 || asked->expected != NULL) {
        fail_msg("%s: %s", asked->body, rc == 0 ? "taken" : rig.fault.message);
    } else {
        assert_string_equal(rig.fault.param, asked->said);
        assert_true(rig.fault.message[0] != '\0');
    }
    rig_deinit(&rig);
}

static void requests_become_chats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        ask(&asks[i], &(struct cut){.shift = 3});
        ask(&asks[i], &(struct cut){.bytes = true});
    }
}

static void requests_are_cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t at = 1; at < strlen(asks[2].body); at++) {
        ask(&asks[2], &(struct cut){.at = at});
    }
}

/* ---- items that are named by their ids ---- */

static void ids_tell_who_holds_an_item(void **state)
{
    static const char *const ids[] = {"msg_" TWENTY_SIX "_0", "rs_" TWENTY_SIX "_17",
                                      "item_" TWENTY_SIX "_1234567890"};
    static const char *const others[] = {"",
                                         "msg",
                                         "msg_",
                                         "msg_" TWENTY_SIX,
                                         "msg_" TWENTY_SIX "_",
                                         "msg_" TWENTY_SIX "_x",
                                         "msg_" TWENTY_SIX "_12345678901",
                                         "_" TWENTY_SIX "_0",
                                         "Msg_" TWENTY_SIX "_0",
                                         "ninechars_" TWENTY_SIX "_0",
                                         "msg_01j0000000000000000000000u_0",
                                         "msg_01j0000000000000000000000_0",
                                         "msg_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
                                         "resp_" TWENTY_SIX};
    struct ps_id id;

    (void)state;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_true(ps_dialect_item_holder(ps_slice_cstr(ids[i]), &id));
        assert_string_equal(id.text, "resp_" TWENTY_SIX);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(ps_dialect_item_holder(ps_slice_cstr(others[i]), &id));
    }
}

#define REFERENCE(id) "{\"type\":\"item_reference\",\"id\":\"" id "\"}"
static const char referring[] =
    "{" MODEL
    ",\"tools\":[{\"type\":\"function\",\"name\":\"f\"}],\"input\":[" USER("q") "," REFERENCE(
        "msg_" TWENTY_SIX
        "_0") ", { \"id\" : \"fc_\\u0030"
              "1j00000000000000000000000_1\",\"type\":null } ,{\"id\":\"msg_67\",\"role\":"
              "\"user\",\"content\":\"w\"},{\"type\":\"function_call_output\",\"id\":"
              "\"fco_1\",\"call_id\":\"c\",\"output\":\"r\"}]}";

static void read_referring(struct rig *rig, const char *body, const struct cut *cut)
{
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};

    rig_init(rig);
    rig->request.family = PS_FAMILY_RESPONSES;
    rig->request.operation = PS_OP_CHAT;
    assert_int_equal(rig_read(rig, &reading, ps_slice_cstr(body), cut), 0);
}

static void items_that_are_named_are_found(void **state)
{
    static const char expected[] = "{" MODEL ",\"messages\":[" USER(
        "q") ",{\"role\":\"assistant\",\"content\":\"a\","
             "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"{}\"}}]}," USER("w") ",{\"role\":\"tool\",\"tool_call_id\":\"c\","
                                                   "\"content\":\"r\"}],\"tools\":[{\"type\":"
                                                   "\"function\",\"function\":{\"name\":\"f\"}}]"
                                                   "}";
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m")};

    (void)state;
    for (size_t at = 0; at < strlen(referring); at++) {
        const struct cut cut = {.at = at, .shift = at % 3 == 0 ? at : 0};
        struct ps_encoded encoded;
        struct rig rig;

        read_referring(&rig, referring, &cut);
        assert_int_equal(rig.request.reference_count, 2);
        assert_int_equal(rig.request.references[0].index, 1);
        assert_int_equal(rig.request.references[1].index, 2);
        assert_memory_equal(rig.request.references[0].id, "msg_" TWENTY_SIX "_0", 32);
        assert_memory_equal(rig.request.references[1].id, "fc_" TWENTY_SIX "_1", 31);
        rig.request.references[0].item =
            PS_SLICE_LIT("{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
                         "\"output_text\",\"text\":\"a\"}]}");
        rig.request.references[1].item = PS_SLICE_LIT(
            "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}"
            "\"}");
        if (ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options, &rig.arena,
                              &encoded, &rig.fault) != 0) {
            fail_msg("%s: %s", rig.fault.param, rig.fault.message);
        }
        char *text = rig_join(&encoded);
        assert_string_equal(text, expected);
        free(text);
        rig_deinit(&rig);
    }
}

static void an_item_that_is_not_found_is_named(void **state)
{
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m")};
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    read_referring(&rig, referring, &(struct cut){0});
    rig.request.references[0].item = PS_SLICE_LIT(USER("x"));
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_NOT_FOUND);
    assert_string_equal(rig.fault.param, "input[2].id");
    rig_deinit(&rig);
}

/* A provider that has the API itself gets the items that are kept here, and its own ids. */
static void native_ones_get_items_that_are_kept_here(void **state)
{
    static const char body[] = "{\"input\":[" REFERENCE("msg_67") "," REFERENCE(
        "msg_" TWENTY_SIX "_0") " ],"
                                "\"previous_response_id\":\"resp_1\",\"model\":\"m\"}";
    static const char expected[] = "{\"input\":[{\"b\":2}," REFERENCE(
        "msg_67") ",{\"a\":1} ],\"previous_response_id\":null,\"model\":\"m\"}";
    const struct ps_dialect_settings settings = {.native_responses = true};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m"), .settings = &settings};
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    read_referring(&rig, body, &(struct cut){0});
    assert_int_equal(rig.request.reference_count, 1);
    rig.request.references[0].item = PS_SLICE_LIT("{\"a\":1}");
    rig.request.previous = PS_SLICE_LIT("[{\"b\":2}]");
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    char *text = rig_join(&encoded);
    assert_string_equal(text, expected);
    free(text);
    rig_deinit(&rig);
}

static void no_more_items_are_noted_than_are_looked_up(void **state)
{
    static const char reference[] = REFERENCE("msg_" TWENTY_SIX "_0");
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m")};
    size_t size = 64 + (PS_REFERENCES + 1) * (sizeof(reference) + 1);
    char *body = malloc(size);
    size_t len;
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    assert_non_null(body);
    len = (size_t)snprintf(body, size, "{" MODEL ",\"input\":[");
    for (size_t i = 0; i <= PS_REFERENCES; i++) {
        len += (size_t)snprintf(body + len, size - len, "%s%s", i > 0 ? "," : "", reference);
    }
    (void)snprintf(body + len, size - len, "]}");
    read_referring(&rig, body, &(struct cut){.shift = 5});
    assert_int_equal(rig.request.reference_count, PS_REFERENCES);
    for (size_t i = 0; i < PS_REFERENCES; i++) {
        assert_int_equal(rig.request.references[i].index, i);
        rig.request.references[i].item = PS_SLICE_LIT(USER("x"));
    }
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_BAD_FIELD);
    assert_string_equal(rig.fault.param, "input");
    rig_deinit(&rig);
    free(body);
}

/* ---- relayed ---- */

static void native_ones_pass(void **state)
{
    static const char body[] =
        "{ \"model\":\"x\",\"odd\":1e2,\"previous_response_id\":\"resp_67\",\"input\":[7]}";
    const struct ps_dialect_settings settings = {.native_responses = true};
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m"), .settings = &settings};
    struct ps_encoded encoded;
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.request.family = PS_FAMILY_RESPONSES;
    rig.request.operation = PS_OP_CHAT;
    assert_int_equal(rig_read(&rig, &reading, ps_slice_cstr(body), &(struct cut){.shift = 3}), 0);
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    assert_true(encoded.relayed);
    assert_true(ps_slice_eq_cstr(encoded.path, "/responses"));
    char *text = rig_join(&encoded);
    assert_non_null(strstr(text, "{ \"model\":\"m\",\"odd\":1e2,\"previous_response_id\":"
                                 "\"resp_67\",\"input\":[7]}"));
    free(text);
    rig_deinit(&rig);
}

/* What is kept here goes in front of the input, whatever that is; the rest stays as it was. */
static void native_ones_get_what_is_kept_here(void **state)
{
    static const char *const bodies[][2] = {
        {"{\"model\":\"m\", \"previous_response_id\":\"resp_1\",\"input\":\"q\",\"odd\":1e2}",
         "{\"model\":\"m\", \"previous_response_id\":null,\"input\":[{\"a\":1},{\"b\":2},{\"role\":"
         "\"user\",\"content\":\"q\"}],\"odd\":1e2}"},
        {"{\"input\": [ {} ] ,\"previous_response_id\":\"resp_1\",\"model\":\"m\"}",
         "{\"input\": [{\"a\":1},{\"b\":2}, {} ] ,\"previous_response_id\":null,\"model\":\"m\"}"},
        {"{\"input\":[],\"previous_response_id\":\"resp_1\",\"model\":\"m\"}",
         "{\"input\":[{\"a\":1},{\"b\":2}],\"previous_response_id\":null,\"model\":\"m\"}"},
        {"{\"input\":null,\"previous_response_id\":\"resp_1\",\"model\":\"m\"}",
         "{\"input\":[{\"a\":1},{\"b\":2}],\"previous_response_id\":null,\"model\":\"m\"}"},
        {"{\"previous_response_id\":\"resp_1\"}",
         "{\"model\":\"m\",\"input\":[{\"a\":1},{\"b\":2}],\"previous_response_id\":null}"},
    };
    const struct ps_dialect_settings settings = {.native_responses = true};
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m"), .settings = &settings};

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct ps_encoded encoded;
        struct rig rig;
        char *text;

        rig_init(&rig);
        rig.request.family = PS_FAMILY_RESPONSES;
        rig.request.operation = PS_OP_CHAT;
        assert_int_equal(rig_read(&rig, &reading, ps_slice_cstr(bodies[i][0]), &(struct cut){0}),
                         0);
        rig.request.previous = PS_SLICE_LIT("[{\"a\":1},{\"b\":2}]");
        assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                           &rig.arena, &encoded, &rig.fault),
                         0);
        text = rig_join(&encoded);
        assert_string_equal(text, bodies[i][1]);
        free(text);
        rig_deinit(&rig);
    }
}

/* ---- answers ---- */

struct front {
    struct ps_writer *writer;
    struct ps_buf out;
    struct ps_fault fault;
    int rc;
};

static bool write_event(void *arg, const struct ps_event *event)
{
    struct front *front = arg;

    if (front->rc == 0) {
        front->rc = ps_writer_event(front->writer, event, &front->out, &front->fault);
    }
    return front->rc == 0;
}

/* An upstream's bytes, cut at `at`, as this family's; NUL-terminated in front->out. */
static void answer(struct rig *rig, struct front *front, const char *body, bool stream, size_t at)
{
    static const struct ps_answer_info info;
    const struct ps_decoder_options decoding = {
        .operation = PS_OP_CHAT,
        .front = PS_FAMILY_RESPONSES,
        .stream = stream,
        .fields = true,
        .id = PS_SLICE_LIT("gen_01"),
        .content_type =
            stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
        .event_bytes = OUT_BYTES,
        .json_depth = 64,
        .json_nodes = 100000,
    };
    const struct ps_writer_options writing = {
        .operation = PS_OP_CHAT,
        .mode = stream ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
        .max_bytes = OUT_BYTES,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
        .created_s = 1,
    };
    struct ps_decoder *decoder;

    rig_init(rig);
    *front = (struct front){.rc = 0};
    ps_buf_init(&front->out, OUT_BYTES);
    front->writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_RESPONSES), &writing, &rig->arena);
    decoder = ps_decoder_new(ps_dialect_find("openai"), &decoding, &rig->arena, write_event, front);
    assert_non_null(front->writer);
    assert_non_null(decoder);
    assert_int_equal(ps_decoder_feed(decoder, body, at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_feed(decoder, body + at, strlen(body) - at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
    assert_int_equal(front->rc, 0);
    ps_writer_end(front->writer, &info, &front->out);
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
    ps_decoder_free(decoder);
}

static void done(struct rig *rig, struct front *front)
{
    ps_writer_free(front->writer);
    ps_buf_deinit(&front->out);
    rig_deinit(rig);
}

/* A writer alone, for events that a test makes itself. */
static void open_front(struct rig *rig, struct front *front, bool stream, size_t max_bytes)
{
    const struct ps_writer_options writing = {.operation = PS_OP_CHAT,
                                              .mode = stream ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
                                              .max_bytes = max_bytes,
                                              .id = PS_SLICE_LIT("gen_01"),
                                              .model = PS_SLICE_LIT("m")};

    rig_init(rig);
    *front = (struct front){.rc = 0};
    ps_buf_init(&front->out, OUT_BYTES);
    front->writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_RESPONSES), &writing, &rig->arena);
    assert_non_null(front->writer);
}

static void end_front(struct front *front)
{
    static const struct ps_answer_info info;

    ps_writer_end(front->writer, &info, &front->out);
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
}

/* Behind the next `before` there is `list`; what comes after it. */
static const char *expect_list(const char *text, const char *before, const char *list)
{
    const char *at = strstr(text, before);

    assert_non_null(at);
    at += strlen(before);
    if (strncmp(at, list, strlen(list)) != 0) {
        fail_msg("expected %s\nfound %s", list, at);
    }
    return at + strlen(list);
}

#define EVENT(name, number, rest)                                                                  \
    "event: " name "\ndata: {\"type\":\"" name "\",\"sequence_number\":" #number "," rest "}\n\n"
#define RESPONSE(status, incomplete, output, usage)                                                \
    "{\"id\":\"resp_01\",\"object\":\"response\",\"created_at\":1,\"status\":\"" status            \
    "\",\"background\":false,\"error\":null,\"incomplete_details\":" incomplete                    \
    ",\"instructions\":null,\"max_output_tokens\":null,\"max_tool_calls\":null,\"model\":\"m\","   \
    "\"output\":[" output "],\"parallel_tool_calls\":true,\"previous_response_id\":null,"          \
    "\"prompt_cache_key\":null,\"reasoning\":{\"effort\":null,\"summary\":null},"                  \
    "\"safety_identifier\":null,\"service_tier\":\"default\",\"store\":false,\"temperature\":"     \
    "null,"                                                                                        \
    "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],"             \
    "\"top_logprobs\":0,\"top_p\":null,\"truncation\":\"disabled\"," usage "\"metadata\":{}}"
#define BEGUN RESPONSE("in_progress", "null", "", "")
#define USAGE                                                                                      \
    "\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":0,\"cache_write_"   \
    "tokens\":0},"                                                                                 \
    "\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":14},"
#define PART(text)                                                                                 \
    "{\"type\":\"output_text\",\"text\":\"" text "\",\"annotations\":[],\"logprobs\":[]}"
#define THOUGHT(text) "{\"type\":\"reasoning_text\",\"text\":\"" text "\"}"
#define THOUGHTS(parts, status)                                                                    \
    "{\"id\":\"rs_01_0\",\"type\":\"reasoning\",\"summary\":[],\"content\":[" parts                \
    "],\"status\":\"" status "\"}"
#define MESSAGE(parts, status)                                                                     \
    "{\"id\":\"msg_01_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[" parts         \
    "],\"status\":\"" status "\"}"
#define CALL(arguments, status)                                                                    \
    "{\"id\":\"fc_01_2\",\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\","            \
    "\"arguments\":\"" arguments "\",\"status\":\"" status "\"}"
#define OUTPUT                                                                                     \
    THOUGHTS(THOUGHT("hm"), "completed")                                                           \
    "," MESSAGE(PART("Hi"), "completed") "," CALL("{\\\"a\\\":1}", "completed")

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish  \
    "}]}\n\n"

static const char upstream[] = CHUNK("{\"role\":\"assistant\",\"reasoning_content\":\"hm\"}",
                                     "null") CHUNK("{\"content\":\"H\"}",
                                                   "null") CHUNK("{\"content\":\"i\"}", "null")
    CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{"
          "\"name\":\"f\",\"arguments\":\"\"}}]}",
          "null") CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1}"
                        "\"}}]}",
                        "null")
        CHUNK("{}",
              "\"tool_calls\"") "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,"
                                "\"completion_tokens\":5,\"total_tokens\":14,\"completion_tokens_"
                                "details\":{"
                                "\"reasoning_tokens\":2}}}\n\ndata: [DONE]\n\n";

#define AT(item, index)      "\"item_id\":\"" item "\",\"output_index\":" #index
#define PART_AT(item, index) AT(item, index) ",\"content_index\":0"
#define ITEM(index, item)    "\"output_index\":" #index ",\"item\":" item

static const char *const streamed[] = {
    EVENT("response.created", 0, "\"response\":" BEGUN)
        EVENT("response.in_progress", 1, "\"response\":" BEGUN),
    EVENT("response.output_item.added", 2, ITEM(0, THOUGHTS("", "in_progress"))),
    EVENT("response.content_part.added", 3, PART_AT("rs_01_0", 0) ",\"part\":" THOUGHT(""))
        EVENT("response.reasoning_text.delta", 4, PART_AT("rs_01_0", 0) ",\"delta\":\"hm\""),
    EVENT("response.reasoning_text.done", 5, PART_AT("rs_01_0", 0) ",\"text\":\"hm\"")
        EVENT("response.content_part.done", 6, PART_AT("rs_01_0", 0) ",\"part\":" THOUGHT("hm")),
    EVENT("response.output_item.done", 7, ITEM(0, THOUGHTS(THOUGHT("hm"), "completed"))),
    EVENT("response.output_item.added", 8, ITEM(1, MESSAGE("", "in_progress")))
        EVENT("response.content_part.added", 9, PART_AT("msg_01_1", 1) ",\"part\":" PART("")),
    EVENT("response.output_text.delta", 10,
          PART_AT("msg_01_1", 1) ",\"delta\":\"H\",\"logprobs\":[]"),
    EVENT("response.output_text.delta", 11,
          PART_AT("msg_01_1", 1) ",\"delta\":\"i\",\"logprobs\":[]"),
    EVENT("response.output_text.done", 12,
          PART_AT("msg_01_1", 1) ",\"text\":\"Hi\",\"logprobs\":[]"),
    EVENT("response.content_part.done", 13, PART_AT("msg_01_1", 1) ",\"part\":" PART("Hi")),
    EVENT("response.output_item.done", 14, ITEM(1, MESSAGE(PART("Hi"), "completed"))),
    EVENT("response.output_item.added", 15, ITEM(2, CALL("", "in_progress"))),
    EVENT("response.function_call_arguments.delta", 16,
          AT("fc_01_2", 2) ",\"delta\":\"{\\\"a\\\":1}\"")
        EVENT("response.function_call_arguments.done", 17,
              AT("fc_01_2", 2) ",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\""),
    EVENT("response.output_item.done", 18, ITEM(2, CALL("{\\\"a\\\":1}", "completed"))),
    EVENT("response.completed", 19, "\"response\":" RESPONSE("completed", "null", OUTPUT, USAGE))};

static void answers_are_streamed(void **state)
{
    struct front front;
    struct rig rig;

    (void)state;
    for (size_t at = 0; at <= strlen(upstream); at++) {
        answer(&rig, &front, upstream, true, at);
        const char *rest = front.out.ptr;
        for (size_t i = 0; i < sizeof(streamed) / sizeof(streamed[0]); i++) {
            if (strncmp(rest, streamed[i], strlen(streamed[i])) != 0) {
                fail_msg("expected %s\nfound %s", streamed[i], rest);
            }
            rest += strlen(streamed[i]);
        }
        assert_string_equal(rest, "");
        done(&rig, &front);
    }
}

static void answers_are_whole(void **state)
{
    static const char body[] =
        "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"Hi\",\"reasoning_content\":\"hm\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},\"finish_reason\":"
        "\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,"
        "\"total_tokens\":14,\"completion_tokens_details\":{\"reasoning_tokens\":2}}}";
    struct front front;
    struct rig rig;

    (void)state;
    for (size_t at = 0; at <= strlen(body); at++) {
        answer(&rig, &front, body, false, at);
        assert_string_equal(front.out.ptr, RESPONSE("completed", "null", OUTPUT, USAGE));
        done(&rig, &front);
    }
}

/* ---- log probabilities ---- */

/* Events as a decoder would tell them: 'p' a token, 'x' text, 'r' a thought, 'c' a call, 'f' the
 * end. */
static void tell_all(struct front *front, const char *what)
{
    const struct ps_event_logprob top[] = {{PS_SLICE_LIT("\xc3"), -0.5F},
                                           {PS_SLICE_LIT("b"), -2.0F}};
    const struct ps_event_tool tool = {.id = PS_SLICE_LIT("c1"), .name = PS_SLICE_LIT("f")};

    for (; *what != '\0'; what++) {
        struct ps_event event = {.usage = PS_USAGE_NONE};

        switch (*what) {
        case 'p':
            event.kind = PS_EVENT_LOGPROBS;
            event.logprob = top[0];
            event.top = top;
            event.top_count = 2;
            break;
        case 'c':
            event.kind = PS_EVENT_TOOL_CALL;
            event.tool = &tool;
            break;
        case 'f':
            event.kind = PS_EVENT_FINISH;
            event.finish = PS_FINISH_STOP;
            break;
        default:
            event.kind = *what == 'r' ? PS_EVENT_REASONING : PS_EVENT_TEXT;
            event.text = PS_SLICE_LIT("x");
            break;
        }
        assert_true(write_event(front, &event));
    }
}

#define SHORT                                                                                      \
    "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"top_logprobs\":[{\"token\":\"\xef\xbf\xbd\","  \
    "\"logprob\":"                                                                                 \
    "-0.5},{\"token\":\"b\",\"logprob\":-2.0}]}"
#define LONG                                                                                       \
    "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195],\"top_logprobs\":[{\"token\":"   \
    "\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195]},{\"token\":\"b\",\"logprob\":-2.0,"        \
    "\"bytes\":[98]}]}"

static void tokens_are_told_with_their_text(void **state)
{
    static const struct {
        const char *events;
        const char *deltas[2]; /* the lists of the text's events; those of the first part */
        const char *told;
        const char *part;
    } rows[] = {
        {"xf", {"[]", NULL}, "[]", "[]"},
        {"pxf", {"[" SHORT "]", NULL}, "[" SHORT "]", "[" LONG "]"},
        {"ppxpxf",
         {"[" SHORT "," SHORT "]", "[" SHORT "]"},
         "[" SHORT "," SHORT "," SHORT "]",
         "[" LONG "," LONG "," LONG "]"},
        {"xpf", {"[]", NULL}, "[" SHORT "]", "[" LONG "]"},            /* told behind the text */
        {"prpxf", {"[" SHORT "]", NULL}, "[" SHORT "]", "[" LONG "]"}, /* a thought's are not */
        {"pxpcf", {"[" SHORT "]", NULL}, "[" SHORT "]", "[" LONG "]"}, /* nor those of a call */
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        bool stream = i % 2 == 0;
        const char *rest;
        struct front front;
        struct rig rig;

        open_front(&rig, &front, stream, OUT_BYTES);
        tell_all(&front, rows[i / 2].events);
        end_front(&front);
        rest = front.out.ptr;
        for (size_t n = 0; stream && n < 2 && rows[i / 2].deltas[n] != NULL; n++) {
            rest = expect_list(rest, "\"delta\":\"x\",\"logprobs\":", rows[i / 2].deltas[n]);
        }
        if (stream) {
            rest = strstr(rest, "event: response.output_text.done");
            assert_non_null(rest);
            rest = expect_list(rest, ",\"logprobs\":", rows[i / 2].told);
            rest = expect_list(rest, "\"annotations\":[],\"logprobs\":", rows[i / 2].part);
            rest = strstr(rest, "event: response.completed");
            assert_non_null(rest);
        }
        (void)expect_list(rest, "\"annotations\":[],\"logprobs\":", rows[i / 2].part);
        done(&rig, &front);
    }
}

static void tokens_are_held_within_bounds(void **state)
{
    struct ps_event event = {.kind = PS_EVENT_LOGPROBS, .usage = PS_USAGE_NONE};
    struct front front;
    struct rig rig;
    int count = 0;

    (void)state;
    event.logprob = (struct ps_event_logprob){PS_SLICE_LIT("x"), -1.0F};
    open_front(&rig, &front, true, 1024);
    while (count < 1024 && write_event(&front, &event)) {
        count++;
    }
    assert_in_range(count, 1, 1024 / 50);
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    done(&rig, &front);
}

static void a_cut_answer_is_incomplete(void **state)
{
    static const char body[] = "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                               "\"assistant\",\"content\":null,\"refusal\":\"no\"},"
                               "\"finish_reason\":\"length\"}]}";
    struct front front;
    struct rig rig;

    (void)state;
    answer(&rig, &front, body, false, 0);
    assert_string_equal(
        front.out.ptr,
        RESPONSE("incomplete", "{\"reason\":\"max_output_tokens\"}",
                 "{\"id\":\"msg_01_0\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{"
                 "\"type\":\"refusal\",\"refusal\":\"no\"}],\"status\":\"incomplete\"}",
                 ""));
    done(&rig, &front);
}

static void an_answer_too_long_is_refused(void **state)
{
    const struct ps_event event = {.kind = PS_EVENT_TEXT, .text = PS_SLICE_LIT("0123456789")};
    struct front front;
    struct rig rig;

    (void)state;
    open_front(&rig, &front, true, 16);
    assert_true(write_event(&front, &event));
    assert_false(write_event(&front, &event));
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    done(&rig, &front);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_become_chats),
        cmocka_unit_test(requests_are_cut_at_every_byte),
        cmocka_unit_test(ids_tell_who_holds_an_item),
        cmocka_unit_test(items_that_are_named_are_found),
        cmocka_unit_test(an_item_that_is_not_found_is_named),
        cmocka_unit_test(native_ones_get_items_that_are_kept_here),
        cmocka_unit_test(no_more_items_are_noted_than_are_looked_up),
        cmocka_unit_test(native_ones_pass),
        cmocka_unit_test(native_ones_get_what_is_kept_here),
        cmocka_unit_test(answers_are_streamed),
        cmocka_unit_test(answers_are_whole),
        cmocka_unit_test(tokens_are_told_with_their_text),
        cmocka_unit_test(tokens_are_held_within_bounds),
        cmocka_unit_test(a_cut_answer_is_incomplete),
        cmocka_unit_test(an_answer_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
