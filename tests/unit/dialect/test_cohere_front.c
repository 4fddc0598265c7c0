/* SPDX-License-Identifier: Apache-2.0 */
#include "front_rig.h"

#include "penstock/dialect/neutral.h"

/*
 * Cohere's doors: what their clients ask as bodies for other families, or byte for byte for their
 * own, and answers out of events.
 */

#define OUT_BYTES 16384
#define SCHEMA    "{\"type\":\"object\",\"properties\":{\"a\":{\"maximum\":1e400}}}"
#define HI        "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

/* ---- requests ---- */

struct row {
    enum ps_operation operation;
    const char *body;
    const char *to;
    const char *expected; /* NULL: refused */
    const char *dropped;  /* or the path at fault */
    enum ps_fault_kind kind;
};

static void run_row(const struct row *row, const struct cut *cut)
{
    const struct ps_reader_options reading = {.operation = row->operation};
    const struct front_fate fate = {row->to, row->expected, row->dropped, row->kind};
    struct ps_encoded encoded;
    struct rig rig;
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_COHERE;
    rig.request.operation = row->operation;
    rig.request.content_type = PS_SLICE_LIT("application/json");
    rc = rig_read(&rig, &reading, ps_slice_cstr(row->body), cut);
    front_meet(&rig, rc, row->body, &fate, &encoded);
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

#define CHAT(body, expected, dropped)                                                              \
    {                                                                                              \
        PS_OP_CHAT, body, "openai", expected, dropped, PS_FAULT_NONE                               \
    }
#define REFUSED(operation, body, path, fault)                                                      \
    {                                                                                              \
        operation, body, "openai", NULL, path, PS_FAULT_##fault                                    \
    }
#define BAD(body, path) REFUSED(PS_OP_CHAT, body, path, BAD_FIELD)

static void asks_for_chats(void **state)
{
    static const struct row rows[] = {
        CHAT("{\"model\":\"m\"," HI "}", "{\"model\":\"up\"," HI "}", NULL),
        CHAT("{" HI ",\"temperature\":0.50,\"p\":0.9,\"k\":0,\"seed\":7,\"max_tokens\":9,"
             "\"frequency_penalty\":0.1,\"presence_penalty\":1,\"stop_sequences\":[\"a\",\"b\"],"
             "\"logprobs\":true,\"stream\":true,\"safety_mode\":\"OFF\",\"priority\":1,\"x\":null}",
             "{\"model\":\"up\"," HI ",\"max_tokens\":9,\"temperature\":0.50,\"top_p\":0.9,"
             "\"presence_penalty\":1,\"frequency_penalty\":0.1,\"logprobs\":true,"
             "\"stop\":[\"a\",\"b\"],\"seed\":7,\"stream\":true,\"stream_options\":{"
             "\"include_usage\":true}}",
             "safety_mode, priority"),
        CHAT("{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"s\"}]}"
             ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":"
             "\"image_url\",\"image_url\":{\"url\":\"https://a/b\",\"detail\":\"low\"}}]},"
             "{\"role\":\"assistant\",\"tool_plan\":\"I call f.\",\"tool_calls\":[{\"id\":\"c1\","
             "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}"
             "]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":[{\"type\":\"document\","
             "\"document\":{\"id\":\"d\",\"data\":{\"a\":1,\"b\":[2]}}},{\"type\":\"text\","
             "\"text\":\"t\"}]}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
             "\"parameters\":" SCHEMA "}}],\"strict_tools\":true,\"tool_choice\":\"NONE\"}",
             "{\"model\":\"up\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
             "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},{\"type\":\"image_url\","
             "\"image_url\":{\"url\":\"https://a/b\",\"detail\":\"low\"}}]},{\"role\":"
             "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
             "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\","
             "\"tool_call_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":"
             "\"{\\\"a\\\":1,\\\"b\\\":[2]}\"},{\"type\":\"text\",\"text\":\"t\"}]}],\"tools\":[{"
             "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" SCHEMA
             ",\"strict\":true}}],\"tool_choice\":\"none\"}",
             "reasoning, messages[3].content[0].id"),
        CHAT(
            "{" HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
            "\"tool_choice\":\"REQUIRED\",\"thinking\":{\"type\":\"disabled\"},"
            "\"response_format\":{\"type\":\"json_object\"}}",
            "{\"model\":\"up\"," HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
            "\"f\"}}],\"tool_choice\":\"required\",\"response_format\":{\"type\":\"json_object\"}}",
            NULL),
        CHAT("{" HI ",\"response_format\":{\"type\":\"json_object\",\"json_schema\":" SCHEMA "}}",
             "{\"model\":\"up\"," HI ",\"response_format\":{\"type\":\"json_schema\","
             "\"json_schema\":{\"name\":\"answer\",\"schema\":" SCHEMA "}}}",
             NULL),
        CHAT("{" HI ",\"response_format\":{\"type\":\"text\"},\"citation_options\":{\"mode\":"
             "\"FAST\"},\"documents\":[]}",
             "{\"model\":\"up\"," HI "}", NULL),
    };

    (void)state;
    RUN_ROWS(rows);
}

#define AT_ANTHROPIC(body, expected)                                                               \
    {                                                                                              \
        PS_OP_CHAT, body, "anthropic", expected, NULL, PS_FAULT_NONE                               \
    }
#define DOCUMENT(title, text, more)                                                                \
    "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":" \
    "\"" text "\"},\"title\":\"" title "\"" more "}"
#define CITED ",\"citations\":{\"enabled\":true}"

static void hands_documents_on(void **state)
{
    static const struct row rows[] = {
        AT_ANTHROPIC(
            "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{"
            "\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":"
            "\"c\"},{\"role\":\"assistant\",\"content\":\"d\"}],\"documents\":[\"x\\n\",{"
            "\"data\":{\"text\":\"y\"}},{\"id\":\"z\",\"data\":{\"n\":1,\"t\":\"q\"}}]}",
            "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{"
            "\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":"
            "[" DOCUMENT("doc:0", "x\\n", CITED) "," DOCUMENT("doc:1", "y", CITED) "," DOCUMENT(
                "z", "{\\\"n\\\":1,\\\"t\\\":\\\"q\\\"}",
                CITED) ",{\"type\":"
                       "\"text\",\"text\":\"c\"}]},{\"role\":\"assistant\",\"content\":\"d\"}],"
                       "\"max_tokens\":9}"),
        AT_ANTHROPIC("{\"max_tokens\":9," HI ",\"documents\":[\"x\"],\"citation_options\":{"
                     "\"mode\":\"OFF\"}}",
                     "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":[" DOCUMENT(
                         "doc:0", "x", "") ",{\"type\":\"text\",\"text\":\"hi\"}]}],"
                                           "\"max_tokens\":9}"),
        REFUSED(PS_OP_CHAT,
                "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"}],\"documents\":[\"x\"]}",
                "documents", UNSUPPORTED_OPERATION),
        BAD("{" HI ",\"documents\":\"x\"}", "documents"),
        BAD("{" HI ",\"documents\":[7]}", "documents[0]"),
        BAD("{" HI ",\"documents\":[\"a\",{\"data\":[]}]}", "documents[1].data"),
        REFUSED(PS_OP_CHAT, "{" HI ",\"documents\":[{\"id\":\"x\"}]}", "documents[0].data",
                MISSING_FIELD),
        BAD("{" HI ",\"citation_options\":{\"mode\":\"no\"}}", "citation_options.mode"),
    };

    (void)state;
    RUN_ROWS(rows);
}

static void takes_thoughts_back(void **state)
{
    static const struct row rows[] = {
        AT_ANTHROPIC("{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{"
                     "\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\""
                     ",\"signature\":\"penstock.anthropic.s.c2ln\"},{\"type\":\"thinking\","
                     "\"thinking\":\"\",\"data\":\"penstock.anthropic.r.eHl6\"},{\"type\":\"text\","
                     "\"text\":\"b\"}]},{\"role\":\"user\",\"content\":\"c\"}],\"thinking\":{"
                     "\"type\":\"enabled\",\"token_budget\":2000}}",
                     "{\"model\":\"up\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{"
                     "\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\""
                     ",\"signature\":\"c2ln\"},{\"type\":\"redacted_thinking\",\"data\":\"eHl6\"},"
                     "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"user\",\"content\":\"c\"}],"
                     "\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},"
                     "\"output_config\":{\"effort\":\"low\"},\"max_tokens\":9}"),
    };

    (void)state;
    RUN_ROWS(rows);
}

static void refuses_bad_chats(void **state)
{
    static const struct row rows[] = {
        BAD("{\"messages\":[]}", "messages"),
        BAD("{\"messages\":[7]}", "messages[0]"),
        REFUSED(PS_OP_CHAT, "{}", "messages", MISSING_FIELD),
        BAD("{" HI ",\"max_tokens\":0}", "max_tokens"),
        BAD("{" HI ",\"temperature\":1.5}", "temperature"),
        BAD("{" HI ",\"k\":501}", "k"),
        BAD("{" HI ",\"p\":2}", "p"),
        BAD("{" HI ",\"seed\":-1}", "seed"),
        BAD("{" HI ",\"presence_penalty\":2}", "presence_penalty"),
        BAD("{" HI ",\"stop_sequences\":\"x\"}", "stop_sequences"),
        BAD("{" HI ",\"stop_sequences\":[7]}", "stop_sequences"),
        BAD("{" HI ",\"logprobs\":1}", "logprobs"),
        BAD("{" HI ",\"stream\":1}", "stream"),
        BAD("{" HI ",\"tools\":{}}", "tools"),
        BAD("{" HI ",\"tool_choice\":\"REQUIRED\"}", "tool_choice"),
        BAD("{" HI ",\"tool_choice\":\"auto\"}", "tool_choice"),
        BAD("{" HI ",\"strict_tools\":\"yes\"}", "strict_tools"),
        BAD("{" HI ",\"response_format\":7}", "response_format"),
        REFUSED(PS_OP_CHAT, "{" HI ",\"response_format\":{}}", "response_format.type",
                MISSING_FIELD),
        BAD("{" HI ",\"response_format\":{\"type\":\"text\",\"json_schema\":{}}}",
            "response_format.json_schema"),
        BAD("{" HI ",\"thinking\":{\"type\":\"enabled\",\"token_budget\":0}}",
            "thinking.token_budget"),
        REFUSED(PS_OP_CHAT, "{" HI ",\"thinking\":{\"token_budget\":9}}", "thinking.type",
                MISSING_FIELD),
        BAD("{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"x\"}]}",
            "messages[0].tool_call_id"),
        BAD("{\"messages\":[{\"role\":\"judge\",\"content\":\"x\"}]}", "messages[0].role"),
        REFUSED(PS_OP_CHAT, "{" HI ",\"api_key\":\"k\"}", "api_key", FORBIDDEN_FIELD),
    };

    (void)state;
    RUN_ROWS(rows);
}

static void asks_for_vectors_and_ranks(void **state)
{
    static const struct row rows[] = {
        {PS_OP_EMBED,
         "{\"model\":\"m\",\"texts\":[\"a\",\"b\"],\"input_type\":\"search_query\","
         "\"embedding_types\":[\"base64\",\"float\"],\"output_dimension\":256,\"truncate\":"
         "\"END\"}",
         "gemini",
         "{\"requests\":[{\"model\":\"models/up\",\"content\":{\"parts\":[{\"text\":\"a\"}]},"
         "\"taskType\":\"RETRIEVAL_QUERY\",\"outputDimensionality\":256},{\"model\":\"models/up\","
         "\"content\":{\"parts\":[{\"text\":\"b\"}]},\"taskType\":\"RETRIEVAL_QUERY\","
         "\"outputDimensionality\":256}]}",
         "truncate", PS_FAULT_NONE},
        {PS_OP_EMBED,
         "{\"inputs\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],\"output_dimension\":2}",
         "openai",
         "{\"model\":\"up\",\"input\":[\"a\"],\"dimensions\":2,"
         "\"encoding_format\":\"float\"}",
         NULL, PS_FAULT_NONE},
        {PS_OP_RERANK,
         "{\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_n\":1,\"max_tokens_per_doc\":9}",
         "openai", "{\"model\":\"up\",\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_n\":1}",
         "max_tokens_per_doc", PS_FAULT_NONE},
        REFUSED(PS_OP_EMBED, "{}", "texts", MISSING_FIELD),
        REFUSED(PS_OP_EMBED, "{\"texts\":\"a\"}", "texts", BAD_FIELD),
        REFUSED(PS_OP_EMBED, "{\"texts\":[\"\"]}", "texts[0]", BAD_FIELD),
        REFUSED(PS_OP_EMBED, "{\"images\":[\"data:\"]}", "images", UNSUPPORTED_OPERATION),
        REFUSED(PS_OP_EMBED, "{\"texts\":[\"a\"],\"inputs\":[]}", "inputs", BAD_FIELD),
        REFUSED(PS_OP_EMBED, "{\"inputs\":[]}", "inputs", BAD_FIELD),
        REFUSED(PS_OP_EMBED, "{\"inputs\":[{\"content\":[]}]}", "inputs[0].content", BAD_FIELD),
        REFUSED(PS_OP_EMBED, "{\"inputs\":[{\"content\":[{\"type\":\"image_url\"}]}]}",
                "inputs[0].content", UNSUPPORTED_OPERATION),
        REFUSED(PS_OP_EMBED, "{\"texts\":[\"a\"],\"embedding_types\":[\"float\",\"int8\"]}",
                "embedding_types[1]", UNSUPPORTED_OPERATION),
        REFUSED(PS_OP_EMBED, "{\"texts\":[\"a\"],\"embedding_types\":\"float\"}", "embedding_types",
                BAD_FIELD),
        REFUSED(PS_OP_RERANK, "{\"documents\":[\"a\"]}", "query", MISSING_FIELD),
        REFUSED(PS_OP_RERANK, "{\"query\":\"q\",\"documents\":[]}", "documents", BAD_FIELD),
        REFUSED(PS_OP_RERANK, "{\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":0}", "top_n",
                BAD_FIELD),
    };

    (void)state;
    RUN_ROWS(rows);
}

#define OWN(operation, body, expected)                                                             \
    {                                                                                              \
        operation, body, "cohere", expected, NULL, PS_FAULT_NONE                                   \
    }

static void relays_to_its_own(void **state)
{
    static const struct row rows[] = {
        OWN(PS_OP_CHAT, " {\"x\":[1.50, 12345678901234567890],\n\"model\" : \"m\", " HI "}",
            " {\"x\":[1.50, 12345678901234567890],\n\"model\" : \"up\", " HI "}"),
        OWN(PS_OP_CHAT, "{ " HI ",\"stream\":true}", "{\"model\":\"up\", " HI ",\"stream\":true}"),
        OWN(PS_OP_EMBED, "{\"images\":[\"data:\"],\"embedding_types\":[\"int8\"]}",
            "{\"model\":\"up\",\"images\":[\"data:\"],\"embedding_types\":[\"int8\"]}"),
        OWN(PS_OP_RERANK, "{\"query\":\"\",\"documents\":[{\"y\":1}]}",
            "{\"model\":\"up\",\"query\":\"\",\"documents\":[{\"y\":1}]}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_row(&rows[i], &(struct cut){.at = 5});
        assert_true(ps_dialect_relays(ps_dialect_find("cohere"), NULL, PS_FAMILY_COHERE,
                                      rows[i].operation));
    }
}

static void finds_its_paths(void **state)
{
    static const struct {
        enum ps_operation operation;
        const char *base;
        const char *path;
    } rows[] = {
        {PS_OP_CHAT, "", "/v2/chat"},
        {PS_OP_CHAT, "/v2", "/chat"},
        {PS_OP_EMBED, "/proxy", "/v2/embed"},
        {PS_OP_RERANK, "/proxy/v2", "/rerank"},
        {PS_OP_MODELS, "", "/v1/models?page_size=1000"},
        {PS_OP_MODELS, "/v2", "/models?page_size=1000"},
        {PS_OP_MODELS, "/v1", "/models?page_size=1000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct ps_encode_options options = {.base_path = ps_slice_cstr(rows[i].base)};
        struct ps_encoded encoded;
        struct rig rig;

        rig_init(&rig);
        rig.request.family = PS_FAMILY_COHERE;
        rig.request.operation = rows[i].operation;
        assert_int_equal(ps_chain_append(&rig.body, "{}", 2), 0);
        assert_int_equal(ps_dialect_encode(ps_dialect_find("cohere"), &rig.request, &options,
                                           &rig.arena, &encoded, &rig.fault),
                         0);
        if (!ps_slice_eq_cstr(encoded.path, rows[i].path)) {
            fail_msg("%s: %.*s", rows[i].path, (int)encoded.path.len, encoded.path.ptr);
        }
        assert_string_equal(encoded.method, rows[i].operation == PS_OP_MODELS ? "GET" : "POST");
        rig_deinit(&rig);
    }
}

/* ---- answers ---- */

static void front_init(struct front *front, struct rig *rig, enum ps_operation operation,
                       enum ps_writer_mode mode, size_t max)
{
    const struct ps_writer_options options = {
        .operation = operation,
        .mode = mode,
        .max_bytes = max,
        .request = &rig->request,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
    };

    front_open(front, PS_FAMILY_COHERE, &options, &rig->arena);
}

static void expect(struct front *front, const char *expected)
{
    static const struct ps_answer_info info;

    front_expect(front, &info, expected);
}

static void run(const struct ps_event *events, size_t count, const char *stream, const char *whole)
{
    static const struct ps_neutral neutral = {.has_media = true};

    for (int i = 0; i < 2; i++) {
        struct front front;
        struct rig rig;

        rig_init(&rig);
        rig.request.neutral = &neutral;
        front_init(&front, &rig, PS_OP_CHAT, i == 0 ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
                   OUT_BYTES);
        for (size_t j = 0; j < count; j++) {
            assert_true(front_tell(&front, events[j]));
        }
        expect(&front, i == 0 ? stream : whole);
        front_close(&front);
        rig_deinit(&rig);
    }
}
#define RUN(events, stream, whole) run(events, sizeof(events) / sizeof((events)[0]), stream, whole)

#define EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define START                                                                                      \
    EVENT("message-start",                                                                         \
          ",\"id\":\"gen_01\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],"      \
          "\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}")
#define DELTA(type, index, member, value, more)                                                    \
    EVENT(type, ",\"index\":" #index ",\"delta\":{\"message\":{\"" member "\":" value "}}" more)
#define OPEN(index, kind)                                                                          \
    DELTA("content-start", index, "content", "{\"type\":\"" kind "\",\"" kind "\":\"\"}", "")
#define SAID(index, kind, text)                                                                    \
    DELTA("content-delta", index, "content", "{\"" kind "\":\"" text "\"}", "")
#define TEXT(index, text) SAID(index, "text", text)
#define CLOSE(index)      EVENT("content-end", ",\"index\":" #index)
#define END(reason, usage)                                                                         \
    EVENT("message-end", ",\"id\":\"gen_01\",\"delta\":{\"finish_reason\":\"" reason "\"" usage "}")
#define CALL(index, id, name)                                                                      \
    DELTA("tool-call-start", index, "tool_calls",                                                  \
          "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                \
          "\",\"arguments\":\"\"}}",                                                               \
          "")
#define ARGUMENTS(index, text)                                                                     \
    DELTA("tool-call-delta", index, "tool_calls", "{\"function\":{\"arguments\":\"" text "\"}}", "")
#define CALLED(index) EVENT("tool-call-end", ",\"index\":" #index)
#define WHOLE(reason, message, rest)                                                               \
    "{\"id\":\"gen_01\",\"finish_reason\":\"" reason                                               \
    "\",\"message\":{\"role\":\"assistant\"" message "}" rest "}"
#define ITEM(kind, text) "{\"type\":\"" kind "\",\"" kind "\":\"" text "\"}"

static void writes_text(void **state)
{
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_START},
        {.kind = PS_EVENT_USAGE, .usage = {7, -1, -1, -1, -1, -1}},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("a\"\xc3\xa4")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("")},
        {.kind = PS_EVENT_TEXT, .choice = 1, .text = PS_SLICE_INIT("other")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("b\n")},
        {.kind = PS_EVENT_TEXT, .block = 1, .text = PS_SLICE_INIT("c")},
        {.kind = PS_EVENT_REFUSAL, .text = PS_SLICE_INIT("No.")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP, .text = PS_SLICE_INIT("\n\n")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH},
        {.kind = PS_EVENT_USAGE, .usage = {7, 3, 10, 2, 1, 4}},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define COUNTS "{\"input_tokens\":7,\"output_tokens\":3}"
#define USAGE  ",\"usage\":{\"billed_units\":" COUNTS ",\"tokens\":" COUNTS ",\"cached_tokens\":2}"
    RUN(events,
        START OPEN(0, "text") TEXT(0, "a\\\"\xc3\xa4") TEXT(0, "b\\n") CLOSE(0) OPEN(1, "text")
            TEXT(1, "c") CLOSE(1) OPEN(2, "text") TEXT(2, "No.") CLOSE(2)
                END("STOP_SEQUENCE", USAGE),
        WHOLE("STOP_SEQUENCE",
              ",\"content\":[" ITEM("text",
                                    "a\\\"\xc3\xa4"
                                    "b\\n") "," ITEM("text", "c") "," ITEM("text", "No.") "]",
              USAGE));
}

static void writes_reasons(void **state)
{
    static const struct {
        enum ps_finish finish;
        const char *stream;
        const char *whole;
    } rows[] = {
#define ROW(finish, reason)                                                                        \
    {PS_FINISH_##finish, START END(reason, ""),                                                    \
     WHOLE(reason, ",\"content\":[" ITEM("text", "") "]", "")}
        ROW(STOP, "COMPLETE"),
        ROW(LENGTH, "MAX_TOKENS"),
        ROW(TOOL_CALLS, "TOOL_CALL"),
        ROW(OTHER, "COMPLETE"),
        {PS_FINISH_CONTENT_FILTER,
         START END("ERROR", ",\"error\":\"The provider's content filter ended the answer.\""),
         WHOLE("ERROR", ",\"content\":[" ITEM("text", "") "]", "")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct ps_event events[] = {{.kind = PS_EVENT_FINISH, .finish = rows[i].finish},
                                          {.kind = PS_EVENT_DONE}};

        RUN(events, rows[i].stream, rows[i].whole);
    }
}

static void writes_thoughts_and_calls(void **state)
{
    static const struct ps_event_thought signature = {.signature = PS_SLICE_INIT("sig")};
    static const struct ps_event_thought redacted = {.redacted = PS_SLICE_INIT("xyz")};
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t1"), .name = PS_SLICE_INIT("f")};
    static const struct ps_event_tool g = {.id = PS_SLICE_INIT("t2"), .name = PS_SLICE_INIT("g")};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("h")},
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("m")},
        {.kind = PS_EVENT_REASONING, .thought = &signature},
        {.kind = PS_EVENT_REASONING, .block = 1, .thought = &redacted},
        {.kind = PS_EVENT_REASONING, .block = 2, .text = PS_SLICE_INIT("so")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("x")},
        {.kind = PS_EVENT_TOOL_CALL, .tool = &f},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("{\"a\":")},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("1}")},
        {.kind = PS_EVENT_TOOL_CALL, .block = 1, .tool = &g},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define SIGNED(index, member, text)                                                                \
    DELTA("content-delta", index, "content", "{\"thinking\":\"\",\"" member "\":\"" text "\"}", "")
#define DONE_CALL(id, name, text)                                                                  \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"" text "\"}}"
    RUN(events,
        START OPEN(0, "thinking") SAID(0, "thinking", "h") SAID(0, "thinking", "m")
            SIGNED(0, "signature", "sig") CLOSE(0) OPEN(1, "thinking") SIGNED(1, "data", "xyz")
                CLOSE(1) OPEN(2, "thinking") SAID(2, "thinking", "so") CLOSE(2) OPEN(3, "text")
                    TEXT(3, "x") CLOSE(3) CALL(0, "t1", "f") ARGUMENTS(0, "{\\\"a\\\":")
                        ARGUMENTS(0, "1}") CALLED(0) CALL(1, "t2", "g") ARGUMENTS(1, "{}") CALLED(1)
                            END("TOOL_CALL", ""),
        WHOLE(
            "TOOL_CALL",
            ",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"},"
            "{\"type\":\"thinking\",\"thinking\":\"\",\"data\":\"xyz\"}," ITEM("thinking", "so") "," ITEM(
                "text",
                "x") "],\"tool_calls\":[" DONE_CALL("t1", "f",
                                                    "{\\\"a\\\":1}") "," DONE_CALL("t2", "g",
                                                                                   "{}") "]",
            ""));
}

static void writes_sources(void **state)
{
    static const struct ps_event_citation web = {.start = 3,
                                                 .end = 5,
                                                 .url = PS_SLICE_INIT("https://a"),
                                                 .title = PS_SLICE_INIT("A"),
                                                 .quote = PS_SLICE_INIT("q")};
    static const struct ps_event_citation document = {
        .start = -1, .end = -1, .title = PS_SLICE_INIT("doc:0")};
    static const struct ps_event_citation nothing = {.start = 0, .end = 1};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_CITATION, .citation = &web}, /* of nothing */
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("ab")},
        {.kind = PS_EVENT_TEXT, .block = 1, .text = PS_SLICE_INIT("c\xc3\xa4\xe2\x82\xacx")},
        {.kind = PS_EVENT_CITATION, .citation = &web},
        {.kind = PS_EVENT_CITATION, .citation = &document},
        {.kind = PS_EVENT_CITATION, .citation = &nothing},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define WEB                                                                                        \
    "{\"start\":1,\"end\":3,\"text\":\"\xc3\xa4\xe2\x82\xac\",\"sources\":[{\"type\":"             \
    "\"document\","                                                                                \
    "\"id\":\"https://a\",\"document\":{\"url\":\"https://"                                        \
    "a\",\"title\":\"A\",\"snippet\":\"q\"}}],"                                                    \
    "\"content_index\":1,\"type\":\"TEXT_CONTENT\"}"
#define FILED                                                                                      \
    "{\"start\":0,\"end\":4,\"text\":\"c\xc3\xa4\xe2\x82\xacx\",\"sources\":[{\"type\":"           \
    "\"document\",\"id\":\"doc:0\",\"document\":{\"title\":\"doc:0\"}}],\"content_index\":1,"      \
    "\"type\":\"TEXT_CONTENT\"}"
#define CITED_AS(index, citation)                                                                  \
    DELTA("citation-start", index, "citations", citation, "")                                      \
    EVENT("citation-end", ",\"index\":" #index)
    RUN(events,
        START OPEN(0, "text") TEXT(0, "ab") CLOSE(0) OPEN(1, "text")
            TEXT(1, "c\xc3\xa4\xe2\x82\xacx") CITED_AS(0, WEB) CITED_AS(1, FILED) CLOSE(1)
                END("COMPLETE", ""),
        WHOLE("COMPLETE",
              ",\"content\":[" ITEM("text", "ab") "," ITEM(
                  "text", "c\xc3\xa4\xe2\x82\xacx") "],\"citations\":[" WEB "," FILED "]",
              ""));
}

static void writes_logprobs(void **state)
{
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("a"), -0.5F}},
        {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("b"), -1.0F / 0.0F}},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("ab")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("c")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define CHANCE(text, numbers) "{\"text\":\"" text "\",\"token_ids\":[],\"logprobs\":[" numbers "]}"
    RUN(events,
        START OPEN(0, "text") DELTA("content-delta", 0, "content", "{\"text\":\"ab\"}",
                                    ",\"logprobs\":" CHANCE("ab", "-0.5,-9999.0")) TEXT(0, "c")
            CLOSE(0) END("COMPLETE", ""),
        WHOLE("COMPLETE", ",\"content\":[" ITEM("text", "abc") "]",
              ",\"logprobs\":[" CHANCE("a", "-0.5") "," CHANCE("b", "-9999.0") "]"));
}

/* From an OpenAI upstream that was asked for them, cut at every byte. */
static uint32_t memo_of_request(void)
{
    static const char body[] = "{" HI ",\"logprobs\":true}";
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("up")};
    struct ps_encoded encoded;
    struct rig rig;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_COHERE;
    rig.request.operation = PS_OP_CHAT;
    assert_int_equal(rig_read(&rig, &reading, ps_slice_cstr(body), &(struct cut){.at = 0}), 0);
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                       &rig.arena, &encoded, &rig.fault),
                     0);
    rig_deinit(&rig);
    return encoded.memo;
}

static bool on_event(void *arg, const struct ps_event *event)
{
    return front_tell(arg, *event);
}

static void cross(bool stream, const char *body, const char *expected, size_t at)
{
    const struct ps_decoder_options options = {
        .operation = PS_OP_CHAT,
        .front = PS_FAMILY_COHERE,
        .stream = stream,
        .fields = true,
        .memo = memo_of_request(),
        .id = PS_SLICE_LIT("gen_01"),
        .content_type =
            stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
        .event_bytes = OUT_BYTES,
    };
    struct ps_decoder *decoder;
    struct front front;
    struct rig rig;

    rig_init(&rig);
    front_init(&front, &rig, PS_OP_CHAT, stream ? PS_WRITER_STREAM : PS_WRITER_WHOLE, OUT_BYTES);
    decoder = ps_decoder_new(ps_dialect_find("openai"), &options, &rig.arena, on_event, &front);
    assert_non_null(decoder);
    assert_int_equal(ps_decoder_feed(decoder, body, at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_feed(decoder, body + at, strlen(body) - at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
    expect(&front, expected);
    ps_decoder_free(decoder);
    front_close(&front);
    rig_deinit(&rig);
}

static void takes_logprobs_from_openai(void **state)
{
#define TOKEN(text, number, bytes)                                                                 \
    "{\"token\":\"" text "\",\"logprob\":" number ",\"bytes\":" bytes ",\"top_logprobs\":[]}"
#define CHUNK(text, token)                                                                         \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text                              \
    "\"},\"logprobs\":{\"content\":[" token "]},\"finish_reason\":null}]}\n\n"
    static const char stream[] =
        CHUNK("a", TOKEN("a", "-0.5", "null")) CHUNK("b", TOKEN("?", "-99999", "[98]")) CHUNK(
            "c",
            "7") "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                 "data: [DONE]\n\n";
    static const char whole[] = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"ab\"},"
                                "\"logprobs\":{\"content\":[" TOKEN("a", "-0.5", "null") "," TOKEN(
                                    "?", "-99999", "[98]") "]},\"finish_reason\":\"stop\"}]}";

    (void)state;
    for (size_t at = 0; at < sizeof(stream) - 1; at++) {
        cross(true, stream,
              START OPEN(0, "text") DELTA("content-delta", 0, "content", "{\"text\":\"a\"}",
                                          ",\"logprobs\":" CHANCE("a", "-0.5"))
                  DELTA("content-delta", 0, "content", "{\"text\":\"b\"}",
                        ",\"logprobs\":" CHANCE("b", "-9999.0")) TEXT(0, "c") CLOSE(0)
                      END("COMPLETE", ""),
              at);
    }
    for (size_t at = 0; at < sizeof(whole) - 1; at++) {
        cross(false, whole,
              WHOLE("COMPLETE", ",\"content\":[" ITEM("text", "ab") "]",
                    ",\"logprobs\":[" CHANCE("a", "-0.5") "," CHANCE("b", "-9999.0") "]"),
              at);
    }
}

static void refuses_mixed_calls(void **state)
{
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t"), .name = PS_SLICE_INIT("f")};
    struct front front;
    struct rig rig;

    (void)state;
    for (int i = 0; i < 2; i++) {
        rig_init(&rig);
        front_init(&front, &rig, PS_OP_CHAT, i == 0 ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
                   OUT_BYTES);
        assert_true(front_tell(
            &front,
            (struct ps_event){.kind = PS_EVENT_TOOL_CALL, .tool = &f, .text = PS_SLICE_LIT("{}")}));
        assert_true(front_tell(
            &front, (struct ps_event){.kind = PS_EVENT_TOOL_CALL, .block = 1, .tool = &f}));
        assert_true(front_tell(&front, (struct ps_event){.kind = PS_EVENT_TOOL_CALL}));
        assert_false(front_tell(
            &front, (struct ps_event){.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_LIT("{}")}));
        assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
        front_close(&front);
        rig_deinit(&rig);
    }
}

static void holds_no_more_than_it_may(void **state)
{
    static const struct ps_event text = {.kind = PS_EVENT_TEXT,
                                         .text = PS_SLICE_INIT("0123456789")};
    struct front front;
    struct rig rig;
    int written = 0;

    (void)state;
    rig_init(&rig);
    front_init(&front, &rig, PS_OP_CHAT, PS_WRITER_WHOLE, 100);
    while (written < 20 && front_tell(&front, text)) {
        written++;
    }
    assert_in_range(written, 5, 9);
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_close(&front);
    /* a stream holds nothing */
    front_init(&front, &rig, PS_OP_CHAT, PS_WRITER_STREAM, 100);
    for (written = 0; written < 20; written++) {
        assert_true(front_tell(&front, text));
    }
    front_close(&front);
    rig_deinit(&rig);
}

static void writes_vectors_and_ranks(void **state)
{
    static const float vector[] = {0.5F, -1.0F};
    static const struct ps_slice texts[] = {PS_SLICE_INIT("\"a\""), PS_SLICE_INIT("\"\\u00e4\"")};
    static const struct ps_neutral neutral = {.inputs = texts, .input_count = 2};
    static const struct ps_event_score first = {.number = PS_SLICE_INIT("0.50")};
    static const struct ps_event_score second = {.relevance = 0.25};
    static const struct {
        unsigned shape;
        const char *vectors;
    } shapes[] = {
        {0, "\"float\":[[1.50,2],[0.5,-1.0]]"},
        {1, "\"float\":[[1.50,2],[0.5,-1.0]]"},
        {2, "\"base64\":[\"AADAPwAAAEA=\",\"AAAAPwAAgL8=\"]"},
        {3, "\"float\":[[1.50,2],[0.5,-1.0]],\"base64\":[\"AADAPwAAAEA=\",\"AAAAPwAAgL8=\"]"},
    };
    struct front front;
    struct rig rig;

    (void)state;
    rig_init(&rig);
    rig.request.neutral = &neutral;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        char expected[512];

        rig.request.shape = shapes[i].shape;
        front_init(&front, &rig, PS_OP_EMBED, PS_WRITER_WHOLE, OUT_BYTES);
        assert_true(front_tell(&front, (struct ps_event){.kind = PS_EVENT_EMBEDDING,
                                                         .text = PS_SLICE_LIT("[1.50,2]")}));
        assert_true(front_tell(&front, (struct ps_event){.kind = PS_EVENT_EMBEDDING,
                                                         .index = 1,
                                                         .vector = vector,
                                                         .dimensions = 2}));
        assert_true(front_tell(
            &front, (struct ps_event){.kind = PS_EVENT_USAGE, .usage = {4, -1, -1, -1, -1, -1}}));
        (void)snprintf(expected, sizeof(expected),
                       "{\"id\":\"gen_01\",\"embeddings\":{%s},\"texts\":[\"a\",\"\\u00e4\"],"
                       "\"meta\":{\"api_version\":{\"version\":\"2\"},\"billed_units\":{"
                       "\"input_tokens\":4}},\"response_type\":\"embeddings_by_type\"}",
                       shapes[i].vectors);
        expect(&front, expected);
        front_close(&front);
    }
    front_init(&front, &rig, PS_OP_EMBED, PS_WRITER_WHOLE, OUT_BYTES);
    assert_false(front_tell(
        &front,
        (struct ps_event){.kind = PS_EVENT_EMBEDDING, .index = 1, .text = PS_SLICE_LIT("[1]")}));
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_close(&front);
    front_init(&front, &rig, PS_OP_RERANK, PS_WRITER_WHOLE, OUT_BYTES);
    assert_true(
        front_tell(&front, (struct ps_event){.kind = PS_EVENT_SCORE, .index = 1, .score = &first}));
    assert_true(front_tell(&front, (struct ps_event){.kind = PS_EVENT_SCORE, .score = &second}));
    expect(&front, "{\"id\":\"gen_01\",\"results\":[{\"index\":1,\"relevance_score\":0.50},{"
                   "\"index\":0,\"relevance_score\":0.25}],\"meta\":{\"api_version\":{\"version\":"
                   "\"2\"}}}");
    front_close(&front);
    rig_deinit(&rig);
}

static void writes_faults(void **state)
{
    const struct ps_dialect *dialect = ps_dialect_of_family(PS_FAMILY_COHERE);
    struct ps_fault fault;
    struct ps_buf out;

    (void)state;
    (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "k", "k is \"odd\".");
    ps_buf_init(&out, OUT_BYTES);
    ps_dialect_write_fault(dialect, &fault, PS_SLICE_LIT("req_1"), &out);
    assert_true(ps_slice_eq_cstr(ps_buf_view(&out), "{\"id\":\"req_1\",\"message\":\"k is "
                                                    "\\\"odd\\\".\"}"));
    ps_buf_reset(&out);
    ps_dialect_write_fault_event(dialect, &fault, PS_SLICE_NONE, &out);
    assert_true(ps_slice_eq_cstr(
        ps_buf_view(&out),
        EVENT("message-end",
              ",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"k is \\\"odd\\\".\"}")));
    ps_buf_deinit(&out);
}

static int setup(void **state)
{
    (void)state;
    return ps_dialect_global_init();
}

static int teardown(void **state)
{
    (void)state;
    ps_dialect_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_chats),
        cmocka_unit_test(hands_documents_on),
        cmocka_unit_test(takes_thoughts_back),
        cmocka_unit_test(refuses_bad_chats),
        cmocka_unit_test(asks_for_vectors_and_ranks),
        cmocka_unit_test(relays_to_its_own),
        cmocka_unit_test(finds_its_paths),
        cmocka_unit_test(writes_text),
        cmocka_unit_test(writes_reasons),
        cmocka_unit_test(writes_thoughts_and_calls),
        cmocka_unit_test(writes_sources),
        cmocka_unit_test(writes_logprobs),
        cmocka_unit_test(takes_logprobs_from_openai),
        cmocka_unit_test(refuses_mixed_calls),
        cmocka_unit_test(holds_no_more_than_it_may),
        cmocka_unit_test(writes_vectors_and_ranks),
        cmocka_unit_test(writes_faults),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
