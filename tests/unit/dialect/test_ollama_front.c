/* SPDX-License-Identifier: Apache-2.0 */
#include "front_rig.h"

#include "penstock/dialect/neutral.h"

/*
 * Ollama's doors: what their clients ask as bodies for other families, or byte for byte for their
 * own, and answers out of events.
 */

#define OUT_BYTES 16384
#define HI        "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define CHAT      "/api/chat"
#define GENERATE  "/api/generate"
#define PNG       "iVBORw0KGgo="

/* ---- requests ---- */

struct row {
    const char *path;
    const char *body;
    const char *to;
    const char *expected; /* NULL: refused */
    const char *dropped;  /* or the path at fault */
    enum ps_fault_kind kind;
};

static enum ps_operation operation_of(const char *path)
{
    return strstr(path, "embed") != NULL  ? PS_OP_EMBED
           : strstr(path, "show") != NULL ? PS_OP_PASS
                                          : PS_OP_CHAT;
}

static int read_request(struct rig *rig, const char *path, const char *body, const struct cut *cut)
{
    const struct ps_reader_options reading = {.operation = operation_of(path)};

    rig_init(rig);
    rig->request.family = PS_FAMILY_OLLAMA;
    rig->request.operation = reading.operation;
    rig->request.path = ps_slice_cstr(path);
    rig->request.content_type = PS_SLICE_LIT("application/json");
    return rig_read(rig, &reading, ps_slice_cstr(body), cut);
}

static void run_row(const struct row *row, const struct cut *cut)
{
    const struct front_fate fate = {row->to, row->expected, row->dropped, row->kind};
    struct ps_encoded encoded;
    struct rig rig;
    int rc = read_request(&rig, row->path, row->body, cut);

    front_meet(&rig, rc, row->body, &fate, &encoded);
    if (encoded.relayed && !ps_slice_eq_cstr(encoded.path, row->path)) {
        fail_msg("%s: path %.*s", row->body, (int)encoded.path.len, encoded.path.ptr);
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

#define ASKS(path, body, expected, dropped)                                                        \
    {                                                                                              \
        path, body, "openai", expected, dropped, PS_FAULT_NONE                                     \
    }
#define REFUSED(path, body, at, fault)                                                             \
    {                                                                                              \
        path, body, "openai", NULL, at, PS_FAULT_##fault                                           \
    }
#define BAD(body, at) REFUSED(CHAT, "{" HI "," body "}", at, BAD_FIELD)
#define STREAMED      ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"
#define WHOLE         ",\"stream\":false}"

static void asks_for_chats(void **state)
{
    static const struct row rows[] = {
        ASKS(CHAT, "{\"model\":\"m\"," HI "}", "{\"model\":\"up\"," HI STREAMED, NULL),
        ASKS(CHAT, "{" HI ",\"stream\":null}", "{\"model\":\"up\"," HI STREAMED, NULL),
        ASKS(CHAT, "{" HI WHOLE, "{\"model\":\"up\"," HI "}", NULL),
        ASKS(CHAT,
             "{" HI ",\"options\":{\"num_predict\":9,\"temperature\":0.50,\"top_p\":0.9,\"seed\":7,"
             "\"presence_penalty\":1,\"frequency_penalty\":0.1,\"stop\":\"a\"},\"format\":\"json\","
             "\"think\":\"high\",\"logprobs\":true,\"top_logprobs\":2,\"tools\":[]" WHOLE,
             "{\"model\":\"up\"," HI ",\"max_tokens\":9,\"temperature\":0.50,\"top_p\":0.9,"
             "\"presence_penalty\":1,\"frequency_penalty\":0.1,\"logprobs\":true,"
             "\"top_logprobs\":2,\"stop\":[\"a\"],\"seed\":7,\"response_format\":{\"type\":"
             "\"json_object\"},\"reasoning_effort\":\"high\"}",
             NULL),
        /* what means "none" there is not handed on */
        ASKS(CHAT,
             "{" HI ",\"options\":{\"num_predict\":-1,\"seed\":-1,\"top_k\":-1},\"format\":\"\","
             "\"think\":false,\"logprobs\":false,\"top_logprobs\":2" WHOLE,
             "{\"model\":\"up\"," HI "}", NULL),
        ASKS(CHAT, "{" HI ",\"options\":{\"num_ctx\":9,\"x\":{}},\"keep_alive\":0,\"y\":1" WHOLE,
             "{\"model\":\"up\"," HI "}", "keep_alive, y, options.num_ctx, options.x"),
        ASKS(CHAT, "{" HI ",\"format\":{\"type\":\"object\"}" WHOLE,
             "{\"model\":\"up\"," HI ",\"response_format\":{\"type\":\"json_schema\","
             "\"json_schema\":{\"name\":\"answer\",\"schema\":{\"type\":\"object\"}}}}",
             NULL),
        ASKS(CHAT,
             "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\""
             ":\"look\",\"images\":[\"" PNG "\",\"/9j/AAAA\"]},{\"role\":\"assistant\"},{\"role\":"
             "\"user\",\"images\":[\"R0lGODlh\"]}]" WHOLE,
             "{\"model\":\"up\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
             "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\","
             "\"image_url\":{\"url\":\"data:image/png;base64," PNG "\"}},{\"type\":\"image_url\","
             "\"image_url\":{\"url\":\"data:image/jpeg;base64,/9j/AAAA\"}}]},{\"role\":"
             "\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":[{\"type\":"
             "\"image_url\",\"image_url\":{\"url\":\"data:image/gif;base64,R0lGODlh\"}}]}]}",
             NULL),
    };

    (void)state;
    RUN_ROWS(rows);
}

#define CALL_OF(id, name, arguments)                                                               \
    "{" id "\"function\":{\"name\":\"" name "\",\"arguments\":" arguments "}}"
#define CALLS(calls)   "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[" calls "]}"
#define RESULT(more)   "{\"role\":\"tool\",\"content\":\"r\"" more "}"
#define TALK(messages) "{\"messages\":[" messages "]" WHOLE
#define UP_CALL(id, name, arguments)                                                               \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" arguments "\"}}"
#define UP_CALLS(calls)   "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" calls "]}"
#define UP_RESULT(id)     "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"r\"}"
#define UP_TALK(messages) "{\"model\":\"up\",\"messages\":[" messages "]}"

/* Results answer calls by id where there is one, else the first of the name that has none yet. */
static void finds_the_calls_of_results(void **state)
{
    static const struct row rows[] = {
        ASKS(
            CHAT,
            TALK(CALLS(CALL_OF("", "f", "{\"a\":1}") "," CALL_OF("", "g", "{}") "," CALL_OF(
                "", "f",
                "null")) "," RESULT(",\"tool_name\":\"f\"") "," RESULT(",\"name\":\"f\"") "," RESULT("")),
            UP_TALK(UP_CALLS(
                UP_CALL("call_0_0", "f", "{\\\"a\\\":1}") "," UP_CALL("call_0_1", "g", "{}") "," UP_CALL(
                    "call_0_2", "f",
                    "{}")) "," UP_RESULT("call_0_0") "," UP_RESULT("call_0_2") "," UP_RESULT("call_"
                                                                                             "0_"
                                                                                             "1")),
            NULL),
        ASKS(CHAT,
             TALK(CALLS(CALL_OF("\"id\":\"c1\",", "f", "{}") "," CALL_OF(
                 "\"id\":\"c2\",\"type\":\"function\",", "f",
                 "{}")) "," RESULT(",\"tool_call_id\":\"c2\",\"tool_name\":"
                                   "\"f\"") "," RESULT(",\"tool_call_id\":"
                                                       "\"c1\"")),
             UP_TALK(UP_CALLS(UP_CALL("c1", "f", "{}") "," UP_CALL("c2", "f", "{}")) "," UP_RESULT(
                 "c2") "," UP_RESULT("c1")),
             NULL),
        REFUSED(CHAT, TALK(RESULT(",\"tool_name\":\"f\"")), "messages[0].tool_name", BAD_FIELD),
        REFUSED(CHAT, TALK(CALLS(CALL_OF("", "f", "{}")) "," RESULT(",\"tool_name\":\"g\"")),
                "messages[1].tool_name", BAD_FIELD),
        REFUSED(CHAT, TALK(CALLS(CALL_OF("", "f", "{}")) "," RESULT("") "," RESULT("")),
                "messages[2].tool_name", BAD_FIELD),
        REFUSED(CHAT, TALK(CALLS(CALL_OF("", "f", "{}")) "," RESULT(",\"tool_call_id\":\"x\"")),
                "messages[1].tool_call_id", BAD_FIELD),
        REFUSED(CHAT, TALK(CALLS("{}")), "messages[0].tool_calls[0].function", MISSING_FIELD),
        REFUSED(CHAT, TALK(CALLS(CALL_OF("", "", "{}"))), "messages[0].tool_calls[0].function.name",
                BAD_FIELD),
        REFUSED(CHAT, TALK(CALLS(CALL_OF("", "f", "[]"))),
                "messages[0].tool_calls[0].function.arguments", BAD_FIELD),
    };

    (void)state;
    RUN_ROWS(rows);
}

static void hands_thoughts_on(void **state)
{
    static const struct row rows[] = {
        {CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
         "\"b\",\"thinking\":\"t\"},{\"role\":\"user\",\"content\":\"c\"}],\"think\":true" WHOLE,
         "anthropic",
         "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
         "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"user\","
         "\"content\":\"c\"}],\"thinking\":{"
         "\"type\":\"adaptive\",\"display\":\"summarized\"},\"max_tokens\":4096}",
         "messages[1].thinking", PS_FAULT_NONE},
        {CHAT, "{" HI ",\"think\":false" WHOLE, "anthropic",
         "{\"model\":\"up\"," HI ",\"thinking\":{\"type\":\"disabled\"},\"max_tokens\":4096}", NULL,
         PS_FAULT_NONE},
    };

    (void)state;
    RUN_ROWS(rows);
}

static void refuses_bad_chats(void **state)
{
    static const struct row rows[] = {
        REFUSED(CHAT, "{\"messages\":[7]}", "messages[0]", BAD_FIELD),
        REFUSED(CHAT, "{\"messages\":7}", "messages", BAD_FIELD),
        REFUSED(CHAT, "{\"messages\":[{}]}", "messages[0].role", MISSING_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"judge\",\"content\":\"x\"}"), "messages[0].role",
                BAD_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"user\",\"content\":[]}"), "messages[0].content", BAD_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"user\",\"images\":\"x\"}"), "messages[0].images",
                BAD_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"user\",\"images\":[\"" PNG "\",\"!\"]}"),
                "messages[0].images[1]", BAD_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"user\",\"images\":[\"AAAA\"]}"), "messages[0].images[0]",
                BAD_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"assistant\",\"tool_calls\":{}}"), "messages[0].tool_calls",
                BAD_FIELD),
        REFUSED(CHAT, TALK("{\"role\":\"assistant\",\"thinking\":7}"), "messages[0].thinking",
                BAD_FIELD),
        BAD("\"stream\":1", "stream"),
        BAD("\"format\":7", "format"),
        BAD("\"format\":\"xml\"", "format"),
        BAD("\"think\":7", "think"),
        BAD("\"think\":\"hard\"", "think"),
        BAD("\"tools\":{}", "tools"),
        BAD("\"logprobs\":1", "logprobs"),
        BAD("\"top_logprobs\":21", "top_logprobs"),
        BAD("\"options\":[]", "options"),
        BAD("\"options\":{\"temperature\":\"hot\"}", "options.temperature"),
        BAD("\"options\":{\"temperature\":-1}", "options.temperature"),
        BAD("\"options\":{\"num_predict\":1.5}", "options.num_predict"),
        BAD("\"options\":{\"stop\":[\"\"]}", "options.stop[0]"),
        REFUSED(CHAT, "{" HI ",\"options\":{\"seed\":1,\"seed\":2}}", "options.seed", BAD_JSON),
        REFUSED(CHAT, "{\"model\":\"m\",\"model\":\"n\"}", "model", BAD_JSON),
        REFUSED(CHAT, "{" HI ",\"api_key\":\"k\"}", "api_key", FORBIDDEN_FIELD),
    };

    (void)state;
    RUN_ROWS(rows);
}

#define AROUND(field, value)                                                                       \
    REFUSED(GENERATE, "{\"prompt\":\"p\",\"" field "\":" value "}", field, UNSUPPORTED_OPERATION)

static void asks_for_completions(void **state)
{
    static const struct row rows[] = {
        ASKS(GENERATE,
             "{\"prompt\":\"p\\n\",\"system\":\"s\",\"options\":{\"num_predict\":3},\"raw\":false,"
             "\"suffix\":\"\",\"template\":\"\",\"context\":[],\"images\":[\"" PNG "\"]}",
             "{\"model\":\"up\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
             "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"p\\n\"},{\"type\":\"image_url\","
             "\"image_url\":{\"url\":\"data:image/png;base64," PNG "\"}}]}],\"max_tokens\":3"
             ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
             NULL),
        /* what the other door has */
        ASKS(GENERATE, "{\"prompt\":\"p\",\"messages\":[],\"tools\":[]" WHOLE,
             "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"p\"}]}",
             "messages, tools"),
        AROUND("raw", "true"),
        AROUND("suffix", "\"x\""),
        AROUND("template", "\"x\""),
        AROUND("context", "[1]"),
        REFUSED(GENERATE, "{\"prompt\":7}", "prompt", BAD_FIELD),
        REFUSED(GENERATE, "{\"prompt\":\"\"}", "prompt", MISSING_FIELD),
        REFUSED(GENERATE, "{\"prompt\":\"p\",\"system\":[]}", "system", BAD_FIELD),
        REFUSED(GENERATE, "{\"prompt\":\"p\",\"images\":[7]}", "images[0]", BAD_FIELD),
        REFUSED(GENERATE, "{\"prompt\":\"p\",\"raw\":1}", "raw", BAD_FIELD),
        REFUSED(GENERATE, "{\"prompt\":\"p\",\"suffix\":1}", "suffix", BAD_FIELD),
    };

    (void)state;
    RUN_ROWS(rows);
}

static void asks_for_vectors(void **state)
{
    static const struct row rows[] = {
        ASKS("/api/embed", "{\"input\":[\"a\",\"b\"],\"dimensions\":2,\"truncate\":true}",
             "{\"model\":\"up\",\"input\":[\"a\",\"b\"],\"dimensions\":2,"
             "\"encoding_format\":\"float\"}",
             "truncate"),
        ASKS("/api/embed", "{\"input\":\"a\",\"options\":{\"num_ctx\":1}}",
             "{\"model\":\"up\",\"input\":\"a\",\"encoding_format\":\"float\"}", "options"),
        ASKS("/api/embeddings", "{\"prompt\":\"a\"}",
             "{\"model\":\"up\",\"input\":\"a\",\"encoding_format\":\"float\"}", NULL),
        REFUSED("/api/embed", "{}", "input", MISSING_FIELD),
        REFUSED("/api/embed", "{\"input\":[]}", "input", BAD_FIELD),
        REFUSED("/api/embed", "{\"input\":[\"a\",7]}", "input[1]", BAD_FIELD),
        REFUSED("/api/embed", "{\"input\":\"a\",\"dimensions\":0}", "dimensions", BAD_FIELD),
        REFUSED("/api/embeddings", "{\"input\":\"a\"}", "prompt", MISSING_FIELD),
        REFUSED("/api/embeddings", "{\"prompt\":[\"a\",\"b\"]}", "prompt", BAD_FIELD),
        REFUSED("/api/show", "{\"model\":\"m\"}", "", UNSUPPORTED_OPERATION),
    };

    (void)state;
    RUN_ROWS(rows);
}

#define OWN(path, body, expected)                                                                  \
    {                                                                                              \
        path, body, "ollama", expected, NULL, PS_FAULT_NONE                                        \
    }

static void relays_to_its_own(void **state)
{
    static const struct row rows[] = {
        OWN(CHAT, " {\"x\":[1.50, 12345678901234567890],\n\"model\" : \"m\", " HI "}",
            " {\"x\":[1.50, 12345678901234567890],\n\"model\" : \"up\", " HI "}"),
        OWN(CHAT, "{ " HI "}", "{\"model\":\"up\", " HI "}"),
        OWN(CHAT, " { }\n", " {\"model\":\"up\" }\n"),
        OWN(GENERATE, "{\"prompt\":\"p\",\"raw\":true,\"suffix\":\"s\",\"context\":[1]}",
            "{\"model\":\"up\",\"prompt\":\"p\",\"raw\":true,\"suffix\":\"s\",\"context\":[1]}"),
        OWN("/api/embed", "{\"input\":\"\",\"model\":\"m\"}", "{\"input\":\"\",\"model\":\"up\"}"),
        OWN("/api/embeddings", "{\"model\":\"m\",\"x\":1}", "{\"model\":\"up\",\"x\":1}"),
        OWN("/api/show", "{\"model\":\"m\",\"verbose\":true}",
            "{\"model\":\"up\",\"verbose\":true}"),
        OWN("/api/show", "{\"name\":\"m\"}", "{\"name\":\"up\"}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t at = 1; at < strlen(rows[i].body); at++) {
            run_row(&rows[i], &(struct cut){.at = at});
        }
        assert_true(ps_dialect_relays(ps_dialect_find("ollama"), NULL, PS_FAMILY_OLLAMA,
                                      operation_of(rows[i].path)));
    }
}

static void finds_its_paths(void **state)
{
    static const struct {
        enum ps_operation operation;
        const char *path;
        const char *base;
        const char *expected;
    } rows[] = {
        {PS_OP_CHAT, CHAT, "", "/api/chat"},
        {PS_OP_CHAT, GENERATE, "/proxy", "/api/generate"},
        {PS_OP_CHAT, GENERATE, "/proxy/api", "/generate"},
        {PS_OP_EMBED, "/api/embed", "/api", "/embed"},
        {PS_OP_MODELS, "", "", "/api/tags"},
        {PS_OP_MODELS, "", "/api", "/tags"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct ps_encode_options options = {.base_path = ps_slice_cstr(rows[i].base)};
        struct ps_encoded encoded;
        struct rig rig;

        assert_int_equal(read_request(&rig, rows[i].path, "{\"prompt\":\"p\"}", &(struct cut){0}),
                         0);
        rig.request.operation = rows[i].operation;
        assert_int_equal(ps_dialect_encode(ps_dialect_find("ollama"), &rig.request, &options,
                                           &rig.arena, &encoded, &rig.fault),
                         0);
        if (!ps_slice_eq_cstr(encoded.path, rows[i].expected)) {
            fail_msg("%s: %.*s", rows[i].expected, (int)encoded.path.len, encoded.path.ptr);
        }
        assert_string_equal(encoded.method, rows[i].operation == PS_OP_MODELS ? "GET" : "POST");
        rig_deinit(&rig);
    }
}

/* What asks a model for nothing, and with which word it is answered. */
static void knows_who_asks_for_nothing(void **state)
{
    static const struct {
        const char *path;
        const char *body;
        const char *reason; /* NULL: it asks for something; "": it is shown */
    } rows[] = {
        {CHAT, "{\"model\":\"m\"}", "load"},
        {CHAT, "{\"messages\":[ ],\"keep_alive\":\"5m\"}", "load"},
        {CHAT, "{\"messages\":null,\"keep_alive\":0}", "unload"},
        {CHAT, "{\"messages\":[{}]}", NULL},
        {CHAT, "{\"prompt\":\"p\"}", "load"},
        {GENERATE, "{}", "load"},
        {GENERATE, "{\"prompt\":\"\",\"keep_alive\":-1}", "load"},
        {GENERATE, "{\"prompt\":\"\",\"keep_alive\":\"0s\"}", "unload"},
        {GENERATE, "{\"prompt\":\"\",\"keep_alive\":null}", "load"},
        {GENERATE, "{\"prompt\":\"p\",\"keep_alive\":0}", NULL},
        {GENERATE, "{\"messages\":[{}]}", "load"},
        {"/api/embed", "{}", NULL},
        {"/api/show", "{}", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static const struct ps_answer_info info;
        struct ps_writer_options options = {.operation = operation_of(rows[i].path),
                                            .max_bytes = OUT_BYTES};
        struct ps_writer *writer;
        struct ps_buf out;
        struct rig rig;

        assert_int_equal(read_request(&rig, rows[i].path, rows[i].body, &(struct cut){0}), 0);
        if (rig.request.own_answer != (rows[i].reason != NULL)) {
            fail_msg("%s", rows[i].body);
        }
        if (rows[i].reason != NULL && rows[i].reason[0] != '\0') {
            options.request = &rig.request;
            ps_buf_init(&out, OUT_BYTES);
            writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OLLAMA), &options, &rig.arena);
            assert_non_null(writer);
            ps_writer_end(writer, &info, &out);
            ps_buf_byte(&out, '\0');
            if (strstr(out.ptr, rows[i].reason) == NULL ||
                (rows[i].reason[0] == 'l' && strstr(out.ptr, "unload") != NULL)) {
                fail_msg("%s: %s", rows[i].body, out.ptr);
            }
            ps_writer_free(writer);
            ps_buf_deinit(&out);
        }
        rig_deinit(&rig);
    }
}

/* ---- answers ---- */

static void front_init(struct front *front, struct rig *rig, const char *path,
                       enum ps_writer_mode mode, size_t max)
{
    struct ps_writer_options options = {
        .operation = operation_of(path),
        .mode = mode,
        .max_bytes = max,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
        .created_s = 1764000000,
    };

    assert_int_equal(
        read_request(rig, path, "{\"prompt\":\"p\",\"messages\":[{}]}", &(struct cut){0}), 0);
    options.request = &rig->request;
    front_open(front, PS_FAMILY_OLLAMA, &options, &rig->arena);
}

static void expect(struct front *front, const char *expected)
{
    static const struct ps_answer_info info = {
        .queue_us = 10, .first_token_us = 40, .total_us = 100};

    front_expect(front, &info, expected);
}

static void run(const char *path, const struct ps_event *events, size_t count, const char *stream,
                const char *whole)
{
    for (int i = 0; i < 2; i++) {
        struct front front;
        struct rig rig;

        front_init(&front, &rig, path, i == 0 ? PS_WRITER_STREAM : PS_WRITER_WHOLE, OUT_BYTES);
        assert_string_equal(ps_writer_content_type(front.writer),
                            i == 0 ? "application/x-ndjson" : "application/json");
        for (size_t j = 0; j < count; j++) {
            assert_true(front_tell(&front, events[j]));
        }
        expect(&front, i == 0 ? stream : whole);
        front_close(&front);
        rig_deinit(&rig);
    }
}
#define RUN(path, events, stream, whole)                                                           \
    run(path, events, sizeof(events) / sizeof((events)[0]), stream, whole)

#define HEAD "{\"model\":\"m\",\"created_at\":\"2025-11-24T16:00:00Z\","
#define SAYS(content, more)                                                                        \
    HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"" content "\"" more "}"
#define PIECE(content, more, rest) SAYS(content, more) ",\"done\":false" rest "}\n"
#define ENDS(reason, prompt, prompt_time, answer, answer_time)                                     \
    ",\"done\":true,\"done_reason\":\"" reason                                                     \
    "\",\"total_duration\":100000,\"load_duration\":10000" prompt prompt_time answer               \
    ",\"eval_duration\":" answer_time
#define LAST(reason, prompt, answer)                                                               \
    SAYS("", "")                                                                                   \
    ENDS(reason, prompt, ",\"prompt_eval_duration\":30000", answer, "60000") "}\n"
#define ALL(content, more, reason, prompt, answer, rest)                                           \
    SAYS(content, more) ENDS(reason, prompt, "", answer, "90000") rest "}\n"
#define PROMPTED ",\"prompt_eval_count\":7"
#define ANSWERED ",\"eval_count\":3"

static void writes_text(void **state)
{
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_START},
        {.kind = PS_EVENT_USAGE, .usage = {7, -1, -1, -1, -1, -1}},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("a\"\xc3\xa4")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("")},
        {.kind = PS_EVENT_TEXT, .choice = 1, .text = PS_SLICE_INIT("other")},
        {.kind = PS_EVENT_TEXT, .block = 1, .text = PS_SLICE_INIT("b\n")},
        {.kind = PS_EVENT_REFUSAL, .text = PS_SLICE_INIT("No.")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH},
        {.kind = PS_EVENT_USAGE, .usage = {7, 3, 10, 2, 1, 4}},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
    RUN(CHAT, events,
        PIECE("a\\\"\xc3\xa4", "", "") PIECE("b\\n", "", "") PIECE("No.", "", "")
            LAST("stop", PROMPTED, ANSWERED),
        ALL("a\\\"\xc3\xa4"
            "b\\nNo.",
            "", "stop", PROMPTED, ANSWERED, ""));
}

static void writes_completions(void **state)
{
    static const struct ps_event_media image = {.data = PS_SLICE_INIT("AAAA")};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("hm")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("a")},
        {.kind = PS_EVENT_MEDIA, .media = &image}, /* has no place there */
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define RESPONSE(text, more) HEAD "\"response\":\"" text "\"" more
    RUN(GENERATE, events,
        RESPONSE("", ",\"thinking\":\"hm\",\"done\":false}\n") RESPONSE("a", ",\"done\":false}\n")
            RESPONSE("", ENDS("length", "", ",\"prompt_eval_duration\":30000", "", "60000") "}\n"),
        RESPONSE("a", ",\"thinking\":\"hm\"" ENDS("length", "", "", "", "90000") "}\n"));
}

static void writes_reasons(void **state)
{
    static const struct {
        enum ps_finish finish;
        const char *text;
        const char *stream;
        const char *whole;
    } rows[] = {
#define ROW(finish, text, reason)                                                                  \
    {PS_FINISH_##finish, text, LAST(reason, "", ""), ALL("", "", reason, "", "", "")}
        ROW(NONE, "", "stop"),
        ROW(STOP, "end", "stop"),
        ROW(LENGTH, "", "length"),
        ROW(TOOL_CALLS, "", "stop"),
        ROW(CONTENT_FILTER, "SAFETY", "content_filter"),
        ROW(OTHER, "", "stop"),
        ROW(OTHER, "weary", "weary"),
        ROW(OTHER, "a word that is too long to be handed on",
            "a word that is too long to be handed on"),
        ROW(OTHER, "a word that is too long to be handed on!", "stop"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct ps_event events[] = {{.kind = PS_EVENT_FINISH,
                                           .finish = rows[i].finish,
                                           .finish_text = ps_slice_cstr(rows[i].text)},
                                          {.kind = PS_EVENT_DONE}};

        RUN(CHAT, events, rows[i].stream, rows[i].whole);
    }
}

static void writes_thoughts_calls_and_images(void **state)
{
    static const struct ps_event_thought signature = {.signature = PS_SLICE_INIT("sig")};
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t1"), .name = PS_SLICE_INIT("f")};
    static const struct ps_event_tool g = {.id = PS_SLICE_INIT("t2"), .name = PS_SLICE_INIT("g")};
    static const struct ps_event_tool h = {.name = PS_SLICE_INIT("h")};
    static const struct ps_event_media image = {.data = PS_SLICE_INIT("AAAA")};
    static const struct ps_event_media far = {.url = PS_SLICE_INIT("https://a/b")};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("h")},
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("m")},
        {.kind = PS_EVENT_REASONING, .thought = &signature},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("x")},
        {.kind = PS_EVENT_MEDIA, .media = &image},
        {.kind = PS_EVENT_MEDIA, .media = &far},
        /* mixed with each other: told when all are whole */
        {.kind = PS_EVENT_TOOL_CALL, .tool = &f},
        {.kind = PS_EVENT_TOOL_CALL, .block = 1, .tool = &g},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("{\"a\":")},
        {.kind = PS_EVENT_TOOL_CALL, .block = 2, .tool = &h, .text = PS_SLICE_INIT("{\"b\"")},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("\n1}")}, /* a line is one line */
        {.kind = PS_EVENT_TOOL_CALL, .block = 9, .text = PS_SLICE_INIT("never begun")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_TOOL_CALLS},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define CALLED                                                                                     \
    ",\"tool_calls\":[{\"id\":\"t1\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{"     \
    "\"a\": 1}}},{\"id\":\"t2\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":{}}},{"     \
    "\"function\":{\"index\":2,\"name\":\"h\",\"arguments\":{\"INVALID_JSON\":\"{\\\"b\\\"\"}}}]"
    RUN(CHAT, events,
        PIECE("", ",\"thinking\":\"h\"", "") PIECE("", ",\"thinking\":\"m\"", "") PIECE("x", "", "")
            PIECE("", ",\"images\":[\"AAAA\"]", "") PIECE("", CALLED, "") LAST("stop", "", ""),
        ALL("x", ",\"thinking\":\"hm\",\"images\":[\"AAAA\"]" CALLED, "stop", "", "", ""));
}

static void writes_logprobs(void **state)
{
    static const struct ps_event_logprob top[] = {{PS_SLICE_INIT("b"), -1.0F}};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_LOGPROBS,
         .logprob = {PS_SLICE_INIT("a"), -0.5F},
         .top = top,
         .top_count = 1},
        {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("\xe2\x82"), -1.0F / 0.0F}},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("a")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("c")},
        {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("d"), -0.5F}},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define TOKEN(text, number, bytes, top)                                                            \
    "{\"token\":\"" text "\",\"logprob\":" number ",\"bytes\":[" bytes "],\"top_logprobs\":[" top  \
    "]}"
#define FIRST                                                                                      \
    TOKEN("a", "-0.5", "97", "{\"token\":\"b\",\"logprob\":-1.0,\"bytes\":[98]}")                  \
    "," TOKEN("\xef\xbf\xbd\xef\xbf\xbd", "-9999.0", "226,130", "")
#define TOLD(tokens) ",\"logprobs\":[" tokens "]"
    RUN(CHAT, events,
        PIECE("a", "", TOLD(FIRST)) PIECE("c", "", "") SAYS("", "")
            ENDS("stop", "", ",\"prompt_eval_duration\":30000", "", "60000")
                TOLD(TOKEN("d", "-0.5", "100", "")) "}\n",
        ALL("ac", "", "stop", "", "", TOLD(FIRST "," TOKEN("d", "-0.5", "100", ""))));
}

static void writes_vectors(void **state)
{
    static const float vector[] = {0.5F, -1.0F};
    static const float odd[] = {0.0F / 0.0F};
    static const struct ps_event second = {
        .kind = PS_EVENT_EMBEDDING, .index = 1, .text = PS_SLICE_INIT("[1.50,2]")};
    static const struct ps_event first = {
        .kind = PS_EVENT_EMBEDDING, .vector = vector, .dimensions = 2};
    static const struct ps_event usage = {.kind = PS_EVENT_USAGE, .usage = {4, -1, -1, -1, -1, -1}};
    struct front front;
    struct rig rig;

    (void)state;
    front_init(&front, &rig, "/api/embed", PS_WRITER_STREAM, OUT_BYTES);
    assert_true(front_tell(&front, second)); /* in the order of the texts, whatever theirs was */
    assert_true(front_tell(&front, first));
    assert_true(front_tell(&front, usage));
    expect(&front, "{\"model\":\"m\",\"embeddings\":[[0.5,-1.0],[1.50,2]],\"total_duration\":"
                   "100000,\"load_duration\":10000,\"prompt_eval_count\":4}");
    front_close(&front);
    rig_deinit(&rig);
    front_init(&front, &rig, "/api/embeddings", PS_WRITER_WHOLE, OUT_BYTES);
    assert_true(front_tell(&front, first));
    expect(&front, "{\"embedding\":[0.5,-1.0]}");
    front_close(&front);
    rig_deinit(&rig);
    front_init(&front, &rig, "/api/embeddings", PS_WRITER_WHOLE, OUT_BYTES);
    expect(&front, "{\"embedding\":[]}");
    front_close(&front);
    rig_deinit(&rig);
    front_init(&front, &rig, "/api/embed", PS_WRITER_WHOLE, OUT_BYTES);
    assert_false(front_tell(
        &front, (struct ps_event){.kind = PS_EVENT_EMBEDDING, .vector = odd, .dimensions = 1}));
    assert_int_equal(front.fault.kind, PS_FAULT_INTERNAL);
    front_close(&front);
    rig_deinit(&rig);
}

static void holds_no_more_than_it_may(void **state)
{
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t"), .name = PS_SLICE_INIT("f")};
    static const struct ps_event texts[] = {
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("0123456789")},
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("0123456789")},
        {.kind = PS_EVENT_TOOL_CALL, .tool = &f, .text = PS_SLICE_INIT("0123456789")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (int mode = PS_WRITER_WHOLE; mode <= PS_WRITER_STREAM; mode++) {
            bool held = mode == PS_WRITER_WHOLE || texts[i].kind == PS_EVENT_TOOL_CALL;
            struct front front;
            struct rig rig;
            int written = 0;

            front_init(&front, &rig, CHAT, (enum ps_writer_mode)mode, 100);
            while (written < 20 && front_tell(&front, texts[i])) {
                written++;
            }
            if (held) {
                assert_in_range(written, 3, 10);
                assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
            } else {
                assert_int_equal(written, 20);
            }
            front_close(&front);
            rig_deinit(&rig);
        }
    }
}

/* Left out, a call would be one that the model never made. */
static void refuses_more_calls_than_it_holds(void **state)
{
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t"), .name = PS_SLICE_INIT("f")};
    struct ps_event call = {.kind = PS_EVENT_TOOL_CALL, .tool = &f, .text = PS_SLICE_INIT("{}")};

    (void)state;
    for (int mode = PS_WRITER_WHOLE; mode <= PS_WRITER_STREAM; mode++) {
        struct front front;
        struct rig rig;

        front_init(&front, &rig, CHAT, (enum ps_writer_mode)mode, 1u << 20);
        for (call.block = 0; call.block < 128; call.block++) {
            assert_true(front_tell(&front, call));
        }
        assert_false(front_tell(&front, call));
        assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
        front_close(&front);
        rig_deinit(&rig);
    }
}

static void writes_faults_and_models(void **state)
{
    const struct ps_dialect *dialect = ps_dialect_of_family(PS_FAMILY_OLLAMA);
    const struct ps_model_info model = {.id = PS_SLICE_LIT("a\""), .created_s = 1764000000};
    const struct ps_model_info other = {.id = PS_SLICE_LIT("b"), .created_s = 1764000000};
    struct ps_fault fault;
    struct ps_buf out;
    size_t len;

    (void)state;
    (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "k", "k is \"odd\".");
    ps_buf_init(&out, OUT_BYTES);
    ps_dialect_write_fault(dialect, &fault, PS_SLICE_LIT("req_1"), &out);
    assert_true(ps_slice_eq_cstr(ps_buf_view(&out), "{\"error\":\"k is \\\"odd\\\".\"}"));
    ps_buf_reset(&out);
    ps_dialect_write_fault_event(dialect, &fault, PS_SLICE_NONE, &out);
    assert_true(ps_slice_eq_cstr(ps_buf_view(&out), "{\"error\":\"k is \\\"odd\\\".\"}\n"));
    assert_int_equal(ps_dialect_ping(dialect).len, 0);

    ps_buf_reset(&out);
    ps_dialect_write_models_begin(dialect, &out);
    len = out.len;
    ps_dialect_write_model(dialect, &model, &out);
    assert_true(ps_slice_starts(
        ps_slice(out.ptr + len, out.len - len),
        PS_SLICE_LIT("{\"name\":\"a\\\"\",\"model\":\"a\\\"\",\"modified_at\":\"2025-11-24T16:00:"
                     "00Z\",\"size\":0,\"digest\":\"")));
    /* another name, another digest */
    len = out.len;
    ps_dialect_write_model(dialect, &other, &out);
    assert_memory_not_equal((const char *)memmem(out.ptr, len, "digest", 6),
                            (const char *)memmem(out.ptr + len, out.len - len, "digest", 6), 72);
    ps_buf_deinit(&out);
}

/* ---- its own answers as they pass ---- */

struct passing {
    struct ps_buf raw;
    char words[512]; /* one for each event */
    struct ps_usage usage;
};

static bool on_event(void *arg, const struct ps_event *event)
{
    static const char letters[] = "S__TRrtCLEsMxUFPofD";
    struct passing *passing = arg;
    size_t len = strlen(passing->words);

    ps_buf_slice(&passing->raw, event->raw);
    if (event->kind != PS_EVENT_OPAQUE && event->kind != PS_EVENT_PING &&
        len + 1 < sizeof(passing->words)) {
        passing->words[len] = letters[event->kind];
    }
    if (event->kind == PS_EVENT_USAGE) {
        passing->usage = event->usage;
    }
    return true;
}

static void taps_what_it_relays(void **state)
{
    static const struct {
        enum ps_operation operation;
        bool stream;
        size_t event_bytes;
        const char *body;
        const char *words;
        int64_t output;
    } rows[] = {
        {PS_OP_CHAT, true, 1024,
         "{\"model\":\"q\",\"message\":{\"content\":\"\"},\"done\":false}\r\n\n{\"message\":{"
         "\"content\":\"a\",\"thinking\":\"t\"},\"n\":1.50}\n{\"message\":{\"tool_calls\":[{"
         "\"function\":{\"name\":\"f\",\"arguments\":{}}}]}}\n{\"done\":true,\"eval_count\":3}\n",
         "SRTtUFD", 3},
        {PS_OP_CHAT, true, 1024,
         "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"thinking\":\"t\"}\n"
         "{\"done\":true,\"done_reason\":\"load\",\"eval_count\":1}",
         "STRUFD", 1},
        {PS_OP_CHAT, true, 1024, "{\"response\":\"a\"}\n{\"error\":\"no\"}\n", "STf", -1},
        {PS_OP_CHAT, false, 1024,
         " {\"response\":\"a\",\"done\":true,\"eval_count\":2, \"x\":[1.50]}\n", "STUFxD", 2},
        {PS_OP_CHAT, false, 1024, "{\"done\":true,\"done_reason\":\"load\"}", "SFxD", -1},
        {PS_OP_EMBED, false, 1024, "{\"embeddings\":[[1]],\"prompt_eval_count\":2}", "SUxD", -1},
        {PS_OP_EMBED, false, 1024, "{\"embedding\":[1]}", "SxD", -1},
        {PS_OP_EMBED, false, 16, "{\"embedding\":[1,2,3,4,5,6,7,8,9]}", "xD", -1},
        {PS_OP_PASS, false, 1024, "{\"capabilities\":[]}\n", "xD", -1},
        {PS_OP_PASS, false, 1024, "{\"error\":\"no\"}", "f", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].body);

        for (size_t at = 0; at <= len; at++) {
            const struct ps_decoder_options options = {
                .operation = rows[i].operation,
                .front = PS_FAMILY_OLLAMA,
                .stream = rows[i].stream,
                .content_type = rows[i].stream ? PS_SLICE_LIT("application/x-ndjson")
                                               : PS_SLICE_LIT("application/json"),
                .event_bytes = rows[i].event_bytes,
            };
            struct passing passing = {.usage = PS_USAGE_NONE};
            struct ps_decoder *decoder;
            struct rig rig;

            rig_init(&rig);
            ps_buf_init(&passing.raw, OUT_BYTES);
            decoder =
                ps_decoder_new(ps_dialect_find("ollama"), &options, &rig.arena, on_event, &passing);
            assert_non_null(decoder);
            assert_int_equal(ps_decoder_feed(decoder, rows[i].body, at), PS_DECODE_OK);
            assert_int_equal(ps_decoder_feed(decoder, rows[i].body + at, len - at), PS_DECODE_OK);
            assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
            assert_string_equal(passing.words, rows[i].words);
            assert_int_equal(passing.usage.output, rows[i].output);
            assert_true(ps_slice_eq_cstr(ps_buf_view(&passing.raw), rows[i].body));
            ps_decoder_free(decoder);
            ps_buf_deinit(&passing.raw);
            rig_deinit(&rig);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_chats),
        cmocka_unit_test(finds_the_calls_of_results),
        cmocka_unit_test(hands_thoughts_on),
        cmocka_unit_test(refuses_bad_chats),
        cmocka_unit_test(asks_for_completions),
        cmocka_unit_test(asks_for_vectors),
        cmocka_unit_test(relays_to_its_own),
        cmocka_unit_test(finds_its_paths),
        cmocka_unit_test(knows_who_asks_for_nothing),
        cmocka_unit_test(writes_text),
        cmocka_unit_test(writes_completions),
        cmocka_unit_test(writes_reasons),
        cmocka_unit_test(writes_thoughts_calls_and_images),
        cmocka_unit_test(writes_logprobs),
        cmocka_unit_test(writes_vectors),
        cmocka_unit_test(holds_no_more_than_it_may),
        cmocka_unit_test(refuses_more_calls_than_it_holds),
        cmocka_unit_test(writes_faults_and_models),
        cmocka_unit_test(taps_what_it_relays),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
