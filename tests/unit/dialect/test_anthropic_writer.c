/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * Answers for Anthropic's clients: out of events, and out of what an OpenAI upstream sends, cut at
 * every byte.
 */

#define OUT_BYTES         16384
#define EVENT(name, json) "event: " name "\ndata: " json "\n\n"
#define START(usage)                                                                               \
    EVENT("message_start",                                                                         \
          "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\","       \
          "\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,"            \
          "\"stop_sequence\":null,\"usage\":" usage "}}")
#define NO_USAGE "{\"input_tokens\":0,\"output_tokens\":0}"
#define BLOCK(index, block)                                                                        \
    EVENT("content_block_start",                                                                   \
          "{\"type\":\"content_block_start\",\"index\":" #index ",\"content_block\":" block "}")
#define TEXT_BLOCK(index) BLOCK(index, "{\"type\":\"text\",\"text\":\"\"}")
#define THINKING(index)   BLOCK(index, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
#define TOOL(index, id, name)                                                                      \
    BLOCK(index, "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}}")
#define DELTA(index, delta)                                                                        \
    EVENT("content_block_delta",                                                                   \
          "{\"type\":\"content_block_delta\",\"index\":" #index ",\"delta\":" delta "}")
#define TEXT(index, text) DELTA(index, "{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define UNSIGNED(index)                                                                            \
    DELTA(index, "{\"type\":\"signature_delta\",\"signature\":\"penstock.none.s.\"}")
#define THOUGHT(index, text) DELTA(index, "{\"type\":\"thinking_delta\",\"thinking\":\"" text "\"}")
#define ARGUMENTS(index, text)                                                                     \
    DELTA(index, "{\"type\":\"input_json_delta\",\"partial_json\":\"" text "\"}")
#define STOP(index)                                                                                \
    EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":" #index "}")
#define END(reason, sequence, usage)                                                               \
    EVENT("message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":" reason        \
                           ",\"stop_sequence\":" sequence "},\"usage\":" usage "}")                \
    EVENT("message_stop", "{\"type\":\"message_stop\"}")
#define WHOLE(content, reason, sequence, usage)                                                    \
    "{\"id\":\"msg_01\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":"  \
    "[" content "],\"stop_reason\":" reason ",\"stop_sequence\":" sequence ",\"usage\":" usage "}"

struct front {
    struct ps_writer *writer;
    struct ps_buf out;
    struct ps_fault fault;
    int rc;
};

static void front_init(struct front *front, struct rig *rig, enum ps_operation operation,
                       enum ps_writer_mode mode, size_t max)
{
    const struct ps_writer_options options = {
        .operation = operation,
        .mode = mode,
        .max_bytes = max,
        .include_usage = true,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
        .created_s = 1,
    };

    rig_init(rig);
    *front = (struct front){.rc = 0};
    ps_buf_init(&front->out, OUT_BYTES);
    front->writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_ANTHROPIC), &options, &rig->arena);
    assert_non_null(front->writer);
}

static void front_deinit(struct front *front, struct rig *rig)
{
    ps_writer_free(front->writer);
    ps_buf_deinit(&front->out);
    rig_deinit(rig);
}

static bool write_event(void *arg, const struct ps_event *event)
{
    struct front *front = arg;

    if (front->rc == 0) {
        front->rc = ps_writer_event(front->writer, event, &front->out, &front->fault);
    }
    return front->rc == 0;
}

static void expect(struct front *front, const char *expected)
{
    static const struct ps_answer_info info;

    assert_int_equal(front->rc, 0);
    ps_writer_end(front->writer, &info, &front->out);
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
    if (strcmp(front->out.ptr, expected) != 0) {
        fprintf(stderr, "expected %s\nfound    %s\n", expected, front->out.ptr);
        fail();
    }
}

/* ---- events ---- */

struct answer {
    const struct ps_event *events;
    size_t count;
    const char *stream;
    const char *whole;
};

static void run_answer(const struct answer *answer)
{
    for (int whole = 0; whole < 2; whole++) {
        struct front front;
        struct rig rig;

        front_init(&front, &rig, PS_OP_CHAT, whole ? PS_WRITER_WHOLE : PS_WRITER_STREAM, OUT_BYTES);
        for (size_t i = 0; i < answer->count; i++) {
            struct ps_event event = answer->events[i];

            if (event.kind != PS_EVENT_USAGE) {
                event.usage = PS_USAGE_NONE;
            }
            assert_true(write_event(&front, &event));
        }
        expect(&front, whole ? answer->whole : answer->stream);
        assert_string_equal(ps_writer_content_type(front.writer),
                            whole ? "application/json" : "text/event-stream; charset=utf-8");
        front_deinit(&front, &rig);
    }
}

#define RUN(events, stream, whole)                                                                 \
    run_answer(&(struct answer){events, sizeof(events) / sizeof((events)[0]), stream, whole})

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
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP, .text = PS_SLICE_INIT("\n\n")},
        {.kind = PS_EVENT_USAGE, .usage = {7, 3, 10, 2, 1, 4}},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define USAGE                                                                                      \
    "{\"input_tokens\":1,\"cache_creation_input_tokens\":4,\"cache_read_input_tokens\":2,"         \
    "\"output_tokens\":3,\"output_tokens_details\":{\"thinking_tokens\":1}}"
    RUN(events,
        START(NO_USAGE) TEXT_BLOCK(0) TEXT(0, "a\\\"\xc3\xa4") TEXT(0, "b\\n") STOP(0) TEXT_BLOCK(1)
            TEXT(1, "c") STOP(1) END("\"stop_sequence\"", "\"\\n\\n\"", USAGE),
        WHOLE("{\"type\":\"text\",\"text\":\"a\\\"\xc3\xa4"
              "b\\n\"},{\"type\":\"text\",\"text\":\"c\"}",
              "\"stop_sequence\"", "\"\\n\\n\"", USAGE));
}

static void writes_thinking_and_tools(void **state)
{
    static const struct ps_event_thought signature = {.signature = PS_SLICE_INIT("sig")};
    static const struct ps_event_thought redacted = {.redacted = PS_SLICE_INIT("xyz")};
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t1"), .name = PS_SLICE_INIT("f")};
    static const struct ps_event_tool g = {.id = PS_SLICE_INIT("t2"), .name = PS_SLICE_INIT("g")};
    static const struct ps_event_tool h = {.id = PS_SLICE_INIT("t3"), .name = PS_SLICE_INIT("h")};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_USAGE, .usage = {7, 1, -1, -1, -1, -1}},
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("h")},
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("m")},
        {.kind = PS_EVENT_REASONING, .thought = &signature},
        {.kind = PS_EVENT_REASONING, .block = 1, .thought = &redacted},
        {.kind = PS_EVENT_REASONING, .block = 2, .text = PS_SLICE_INIT("no signature")},
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("x")},
        {.kind = PS_EVENT_TOOL_CALL, .tool = &f},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("{\"a\":")},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("1}")},
        {.kind = PS_EVENT_TOOL_CALL, .block = 1, .tool = &g},
        {.kind = PS_EVENT_TOOL_CALL, .block = 2, .tool = &h, .text = PS_SLICE_INIT("{\"b")},
        {.kind = PS_EVENT_TOOL_CALL, .block = 1},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
    RUN(events,
        START("{\"input_tokens\":7,\"output_tokens\":1}") THINKING(0) THOUGHT(0, "h")
            THOUGHT(0, "m") DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"sig\"}") STOP(0)
                BLOCK(1, "{\"type\":\"redacted_thinking\",\"data\":\"xyz\"}") STOP(1) THINKING(2)
                    THOUGHT(2, "no signature") UNSIGNED(2) STOP(2) TEXT_BLOCK(3) TEXT(3, "x")
                        STOP(3) TOOL(4, "t1", "f") ARGUMENTS(4, "{\\\"a\\\":") ARGUMENTS(4, "1}")
                            STOP(4) TOOL(5, "t2", "g") ARGUMENTS(5, "{}") STOP(5) TOOL(6, "t3", "h")
                                ARGUMENTS(6, "{\\\"b") STOP(6)
                                    END("\"tool_use\"", "null",
                                        "{\"input_tokens\":7,\"output_tokens\":1}"),
        WHOLE("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"},"
              "{\"type\":\"redacted_thinking\",\"data\":\"xyz\"},"
              "{\"type\":\"thinking\",\"thinking\":\"no "
              "signature\",\"signature\":\"penstock.none.s.\"},"
              "{\"type\":\"text\",\"text\":\"x\"},"
              "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{\"a\":1}},"
              "{\"type\":\"tool_use\",\"id\":\"t2\",\"name\":\"g\",\"input\":{}},"
              "{\"type\":\"tool_use\",\"id\":\"t3\",\"name\":\"h\",\"input\":{\"INVALID_JSON\":"
              "\"{\\\"b\"}}",
              "\"tool_use\"", "null", "{\"input_tokens\":7,\"output_tokens\":1}"));
}

static void writes_refusals_and_sources(void **state)
{
    static const struct ps_event_citation web = {.url = PS_SLICE_INIT("https://a"),
                                                 .title = PS_SLICE_INIT("A"),
                                                 .quote = PS_SLICE_INIT("q")};
    static const struct ps_event_citation other = {.title = PS_SLICE_INIT("A")};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_CITATION, .citation = &web}, /* of nothing */
        {.kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT("x")},
        {.kind = PS_EVENT_CITATION, .citation = &web},
        {.kind = PS_EVENT_CITATION, .citation = &other},
        {.kind = PS_EVENT_REFUSAL, .text = PS_SLICE_INIT("No")},
        {.kind = PS_EVENT_REFUSAL, .text = PS_SLICE_INIT(".")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_CONTENT_FILTER},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH},
        {.kind = PS_EVENT_DONE},
    };
    static const struct ps_event nothing[] = {
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH},
        {.kind = PS_EVENT_DONE},
    };

    (void)state;
#define WEB                                                                                        \
    "{\"type\":\"web_search_result_location\",\"url\":\"https://a\",\"title\":\"A\","              \
    "\"cited_text\":\"q\",\"encrypted_index\":\"\"}"
    RUN(events,
        START(NO_USAGE) TEXT_BLOCK(0) TEXT(0, "x")
            DELTA(0, "{\"type\":\"citations_delta\",\"citation\":" WEB "}") STOP(0) TEXT_BLOCK(1)
                TEXT(1, "No") TEXT(1, ".") STOP(1) END("\"refusal\"", "null", NO_USAGE),
        WHOLE("{\"type\":\"text\",\"text\":\"x\",\"citations\":[" WEB "]},{\"type\":\"text\","
              "\"text\":\"No.\"}",
              "\"refusal\"", "null", NO_USAGE));
    RUN(nothing, START(NO_USAGE) END("\"max_tokens\"", "null", NO_USAGE),
        WHOLE("", "\"max_tokens\"", "null", NO_USAGE));
}

/* ---- what cannot be written ---- */

static void refuses_mixed_calls(void **state)
{
    static const struct ps_event_tool f = {.id = PS_SLICE_INIT("t"), .name = PS_SLICE_INIT("f")};
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_TOOL_CALL, .tool = &f, .text = PS_SLICE_INIT("{}")},
        {.kind = PS_EVENT_TOOL_CALL, .block = 1, .tool = &f},
        {.kind = PS_EVENT_TOOL_CALL, .text = PS_SLICE_INIT("{}")},
    };
    struct front front;
    struct rig rig;

    (void)state;
    front_init(&front, &rig, PS_OP_CHAT, PS_WRITER_STREAM, OUT_BYTES);
    assert_true(write_event(&front, &events[0]));
    assert_true(write_event(&front, &events[1]));
    assert_false(write_event(&front, &events[2]));
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_deinit(&front, &rig);
}

static void holds_no_more_than_it_may(void **state)
{
    static const struct ps_event text = {.kind = PS_EVENT_TEXT,
                                         .text = PS_SLICE_INIT("0123456789")};
    struct front front;
    struct rig rig;
    int written = 0;

    (void)state;
    front_init(&front, &rig, PS_OP_CHAT, PS_WRITER_WHOLE, 100);
    while (written < 20 && write_event(&front, &text)) {
        written++;
    }
    assert_in_range(written, 5, 9);
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_deinit(&front, &rig);
    /* a stream holds nothing */
    front_init(&front, &rig, PS_OP_CHAT, PS_WRITER_STREAM, 100);
    for (written = 0; written < 20; written++) {
        assert_true(write_event(&front, &text));
    }
    front_deinit(&front, &rig);
}

static void writes_counts_of_tokens(void **state)
{
    static const struct ps_event usage = {.kind = PS_EVENT_USAGE,
                                          .usage = {14, -1, -1, -1, -1, -1}};
    static const struct ps_event done = {.kind = PS_EVENT_DONE};
    struct front front;
    struct rig rig;

    (void)state;
    front_init(&front, &rig, PS_OP_COUNT_TOKENS, PS_WRITER_WHOLE, 100);
    assert_true(write_event(&front, &usage));
    assert_true(write_event(&front, &done));
    expect(&front, "{\"input_tokens\":14}");
    front_deinit(&front, &rig);
    front_init(&front, &rig, PS_OP_COUNT_TOKENS, PS_WRITER_WHOLE, 100);
    assert_false(write_event(&front, &done));
    front_deinit(&front, &rig);
}

/* ---- from an OpenAI upstream ---- */

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"c\",\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":" delta              \
    ",\"finish_reason\":" finish "}]}\n\n"

struct crossing {
    bool stream;
    const char *body;
    const char *expected;
};

static void cross(const struct crossing *crossing, size_t at)
{
    const struct ps_decoder_options options = {
        .operation = PS_OP_CHAT,
        .front = PS_FAMILY_ANTHROPIC,
        .stream = crossing->stream,
        .fields = true,
        .content_type =
            crossing->stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
        .event_bytes = 8192,
    };
    size_t len = strlen(crossing->body);
    struct ps_decoder *decoder;
    struct front front;
    struct rig rig;

    front_init(&front, &rig, PS_OP_CHAT, crossing->stream ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
               OUT_BYTES);
    decoder = ps_decoder_new(ps_dialect_find("openai"), &options, &rig.arena, write_event, &front);
    assert_non_null(decoder);
    assert_int_equal(ps_decoder_feed(decoder, crossing->body, at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_feed(decoder, crossing->body + at, len - at), PS_DECODE_OK);
    assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
    expect(&front, crossing->expected);
    ps_decoder_free(decoder);
    front_deinit(&front, &rig);
}

static void crosses_from_openai(void **state)
{
    static const struct crossing crossings[] = {
        {true,
         CHUNK("{\"role\":\"assistant\",\"content\":\"\"}",
               "null") CHUNK("{\"reasoning_content\":\"hm\"}", "null")
             CHUNK("{\"content\":\"Hi\\u00e4\"}", "null") CHUNK(
                 "{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\","
                 "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
                 "null") CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a"
                               "\\\":\"}}]}",
                               "null")
                 CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}"
                       "]}",
                       "null")
                     CHUNK("{\"tool_calls\":[{\"index\":1,\"id\":\"call_2\",\"type\":"
                           "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}"
                           "]}",
                           "null")
                         CHUNK("{}", "\"tool_calls\"") "data: "
                                                       "{\"id\":\"c\",\"choices\":[],\"usage\":{"
                                                       "\"prompt_tokens\":10,"
                                                       "\"completion_tokens\":5,\"total_tokens\":"
                                                       "15,\"prompt_tokens_details\":{"
                                                       "\"cached_tokens\":4}}}\n\ndata: [DONE]\n\n",
         START(NO_USAGE) THINKING(0) THOUGHT(0, "hm") UNSIGNED(0) STOP(0) TEXT_BLOCK(1)
             TEXT(1, "Hi\xc3\xa4") STOP(1) TOOL(2, "call_1", "f") ARGUMENTS(2, "{\\\"a\\\":")
                 ARGUMENTS(2, "1}") STOP(2) TOOL(3, "call_2", "g") ARGUMENTS(3, "{}") STOP(3)
                     END("\"tool_use\"", "null",
                         "{\"input_tokens\":6,\"cache_read_input_tokens\":4,"
                         "\"output_tokens\":5}")},
        {false,
         "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"up\",\"choices\":[{\"index\":0,"
         "\"message\":{\"role\":\"assistant\",\"content\":\"Hi\",\"tool_calls\":[{\"id\":\"call_1\""
         ",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},"
         "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":10,"
         "\"completion_tokens\":5,\"total_tokens\":15}}",
         WHOLE("{\"type\":\"text\",\"text\":\"Hi\"},{\"type\":\"tool_use\",\"id\":\"call_1\","
               "\"name\":\"f\",\"input\":{\"a\":1}}",
               "\"tool_use\"", "null", "{\"input_tokens\":10,\"output_tokens\":5}")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(crossings) / sizeof(crossings[0]); i++) {
        for (size_t at = 0; at <= strlen(crossings[i].body); at++) {
            cross(&crossings[i], at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text),
        cmocka_unit_test(writes_thinking_and_tools),
        cmocka_unit_test(writes_refusals_and_sources),
        cmocka_unit_test(refuses_mixed_calls),
        cmocka_unit_test(holds_no_more_than_it_may),
        cmocka_unit_test(writes_counts_of_tokens),
        cmocka_unit_test(crosses_from_openai),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
