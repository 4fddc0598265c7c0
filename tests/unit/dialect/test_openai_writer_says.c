/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "penstock/base/json_scan.h"
#include "penstock/dialect/neutral.h"

/*
 * What answers say beside text: tool calls, thoughts with signatures, citations, images, several
 * choices, scores. What is written whole is also read again by our own decoder, byte by byte, and
 * must say the same.
 */

#define HEAD(object)                                                                               \
    "{\"id\":\"chatcmpl-1\",\"object\":\"" object "\",\"created\":7,\"model\":\"m\","              \
    "\"system_fingerprint\":\"penstock\",\"choices\":["
#define WHOLE       HEAD("chat.completion")
#define CHUNK       "data: " HEAD("chat.completion.chunk") "{\"index\":0,\"delta\":{"
#define GOES_ON     "},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
#define ROLE        CHUNK "\"role\":\"assistant\",\"content\":\"\"" GOES_ON
#define ENDS(word)  "},\"logprobs\":null,\"finish_reason\":\"" word "\"}]}\n\n"
#define DONE        "data: [DONE]\n\n"
#define TAIL        "}\n"
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

#define TEXT(said)                                                                                 \
    {                                                                                              \
        .kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT(said)                                         \
    }
#define CALL(at, which, said)                                                                      \
    {                                                                                              \
        .kind = PS_EVENT_TOOL_CALL, .block = (at), .tool = (which), .text = PS_SLICE_INIT(said)    \
    }
#define FINISH(why)                                                                                \
    {                                                                                              \
        .kind = PS_EVENT_FINISH, .finish = (why)                                                   \
    }

static const struct ps_event_tool first = {.id = PS_SLICE_INIT("call_1"),
                                           .name = PS_SLICE_INIT("f")};
static const struct ps_event_tool second = {
    .id = PS_SLICE_INIT("call_2"), .name = PS_SLICE_INIT("g\""), .signature = PS_SLICE_INIT("sig")};
static const struct ps_event_tool free_text = {
    .id = PS_SLICE_INIT("call_3"), .name = PS_SLICE_INIT("h"), .custom = true};
static const struct ps_event_thought signature = {.signature = PS_SLICE_INIT("S")};
static const struct ps_event_thought redacted = {.redacted = PS_SLICE_INIT("R")};
static const struct ps_event_citation cited = {
    .start = -1, .end = -1, .url = PS_SLICE_INIT("https://x"), .title = PS_SLICE_INIT("t")};
static const struct ps_event_citation placed = {
    .start = 1, .end = 3, .url = PS_SLICE_INIT("https://y")};
static const struct ps_event_citation elsewhere = {.start = 0, .end = 1};
static const struct ps_event_media image = {.media_type = PS_SLICE_INIT("image/png"),
                                            .data = PS_SLICE_INIT("QUJD")};
static const struct ps_event_media linked = {.url = PS_SLICE_INIT("https://z"),
                                             .prompt = PS_SLICE_INIT("p")};
static const struct ps_event_score score = {.relevance = 0.25,
                                            .document = PS_SLICE_INIT("{\"text\":\"d\"}")};
static const struct ps_event_score exact = {.relevance = 0.5, .number = PS_SLICE_INIT("0.50")};

struct row {
    enum ps_operation operation;
    enum ps_writer_mode mode;
    const struct ps_event *events;
    size_t count;
    const char *expected;
};

/* `legacy`: the client knows no tools, but functions. */
static void write_row(struct rig *rig, const struct row *row, bool legacy, struct ps_buf *out)
{
    const struct ps_neutral neutral = {.operation = row->operation, .legacy_calls = legacy};
    const struct ps_request request = {.operation = row->operation, .neutral = &neutral};
    const struct ps_writer_options options = {
        .operation = row->operation,
        .mode = row->mode,
        .max_bytes = 65536,
        .request = &request,
        .id = PS_SLICE_LIT("gen_1"),
        .model = PS_SLICE_LIT("m"),
        .created_s = 7,
    };
    struct ps_answer_info info = {.queue_us = -1};
    struct ps_writer *writer =
        ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &options, &rig->arena);

    assert_non_null(writer);
    for (size_t i = 0; i < row->count; i++) {
        assert_int_equal(ps_writer_event(writer, &row->events[i], out, &rig->fault), 0);
    }
    ps_writer_end(writer, &info, out);
    ps_writer_free(writer);
    ps_buf_byte(out, '\0');
    assert_false(out->failed);
}

static void run_rows_as(const struct row *rows, size_t count, bool legacy)
{
    for (size_t i = 0; i < count; i++) {
        struct rig rig;
        struct ps_buf out;

        rig_init(&rig);
        ps_buf_init(&out, 1 << 20);
        write_row(&rig, &rows[i], legacy, &out);
        assert_string_equal(out.ptr, rows[i].expected);
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

static void run_rows(const struct row *rows, size_t count)
{
    run_rows_as(rows, count, false);
}

static void writes_tool_calls(void **state)
{
    static const struct ps_event streamed[] = {
        {.kind = PS_EVENT_START}, TEXT("so"),
        CALL(0, &first, ""),      CALL(0, NULL, "{\"a\""),
        CALL(0, NULL, ":1}"),     CALL(1, &second, ""),
        CALL(2, &free_text, "x"), FINISH(PS_FINISH_STOP),
        {.kind = PS_EVENT_DONE},
    };
    static const struct row rows[] = {
        {PS_OP_CHAT, PS_WRITER_STREAM, streamed, COUNT(streamed),
         ROLE CHUNK
         "\"content\":\"so\"" GOES_ON CHUNK
         "\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\","
         "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]" GOES_ON CHUNK
         "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}"
         "]" GOES_ON CHUNK
         "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]" GOES_ON CHUNK
         "\"tool_calls\":[{\"index\":1,\"id\":\"call_2\",\"type\":\"function\","
         "\"function\":{\"name\":\"g\\\"\",\"arguments\":\"\"},\"extra_content\":"
         "{\"google\":{\"thought_signature\":\"sig\"}}}]" GOES_ON CHUNK
         "\"tool_calls\":[{\"index\":2,\"id\":\"call_3\",\"type\":\"custom\","
         "\"custom\":{\"name\":\"h\",\"input\":\"x\"}}]" GOES_ON CHUNK
         "\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{}\"}}]" GOES_ON CHUNK ENDS(
             "tool_calls") DONE},
        {PS_OP_CHAT, PS_WRITER_WHOLE, streamed + 2, COUNT(streamed) - 2,
         WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
               "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":"
               "\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"call_2\",\"type\":\"function\","
               "\"function\":{\"name\":\"g\\\"\",\"arguments\":\"{}\"},\"extra_content\":"
               "{\"google\":{\"thought_signature\":\"sig\"}}},{\"id\":\"call_3\",\"type\":"
               "\"custom\",\"custom\":{\"name\":\"h\",\"input\":\"x\"}}]},\"logprobs\":null,"
               "\"finish_reason\":\"tool_calls\"}]" TAIL},
    };

    (void)state;
    run_rows(rows, COUNT(rows));
}

/* To a client of before tools: one call, without an id. */
static void writes_function_calls(void **state)
{
    static const struct ps_event said[] = {
        TEXT("so"),           CALL(0, &first, ""),  CALL(0, NULL, "{\"a\""),
        CALL(0, NULL, ":1}"), CALL(1, &second, ""), FINISH(PS_FINISH_TOOL_CALLS),
    };
    static const struct ps_event bare[] = {CALL(0, &second, ""), FINISH(PS_FINISH_STOP)};
    static const struct row rows[] = {
        {PS_OP_CHAT, PS_WRITER_STREAM, said, COUNT(said),
         ROLE CHUNK "\"content\":\"so\"" GOES_ON CHUNK
                    "\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}" GOES_ON CHUNK
                    "\"function_call\":{\"arguments\":\"{\\\"a\\\"\"}" GOES_ON CHUNK
                    "\"function_call\":{\"arguments\":\":1}\"}" GOES_ON CHUNK ENDS("function_call")
                        DONE},
        {PS_OP_CHAT, PS_WRITER_STREAM, bare, COUNT(bare),
         ROLE CHUNK "\"function_call\":{\"name\":\"g\\\"\",\"arguments\":\"\"}" GOES_ON CHUNK
                    "\"function_call\":{\"arguments\":\"{}\"}" GOES_ON CHUNK ENDS("function_call")
                        DONE},
        {PS_OP_CHAT, PS_WRITER_WHOLE, said, COUNT(said),
         WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"so\",\"refusal\":"
               "null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},"
               "\"logprobs\":null,\"finish_reason\":\"function_call\"}]" TAIL},
        {PS_OP_CHAT, PS_WRITER_WHOLE, bare, COUNT(bare),
         WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":"
               "null,\"function_call\":{\"name\":\"g\\\"\",\"arguments\":\"{}\"}},"
               "\"logprobs\":null,\"finish_reason\":\"function_call\"}]" TAIL},
    };

    (void)state;
    run_rows_as(rows, COUNT(rows), true);
}

static void writes_thoughts(void **state)
{
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("hm")},
        {.kind = PS_EVENT_REASONING, .thought = &signature},
        {.kind = PS_EVENT_REASONING, .block = 1, .text = PS_SLICE_INIT("so")},
        {.kind = PS_EVENT_REASONING, .block = 1, .thought = &signature},
        {.kind = PS_EVENT_REASONING, .block = 2, .thought = &redacted},
        TEXT("a"),
        FINISH(PS_FINISH_STOP),
    };
    static const struct row rows[] = {
        {PS_OP_CHAT, PS_WRITER_STREAM, events, 4,
         ROLE CHUNK "\"reasoning_content\":\"hm\"" GOES_ON CHUNK
                    "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":"
                    "\"S\"}]" GOES_ON CHUNK "\"reasoning_content\":\"so\"" GOES_ON CHUNK
                    "\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"so\",\"signature\":"
                    "\"S\"}]" GOES_ON DONE},
        {PS_OP_CHAT, PS_WRITER_WHOLE, events, COUNT(events),
         WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\","
               "\"reasoning_content\":\"hmso\",\"thinking_blocks\":[{\"type\":\"thinking\","
               "\"thinking\":\"hm\",\"signature\":\"S\"},{\"type\":\"thinking\",\"thinking\":"
               "\"so\",\"signature\":\"S\"},{\"type\":\"redacted_thinking\",\"data\":\"R\"}],"
               "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}]" TAIL},
    };

    (void)state;
    run_rows(rows, COUNT(rows));
}

static void writes_sources_and_images(void **state)
{
    static const struct ps_event events[] = {
        TEXT("a\xc3\xa9"),
        {.kind = PS_EVENT_CITATION, .citation = &cited},
        {.kind = PS_EVENT_CITATION, .citation = &placed},
        {.kind = PS_EVENT_CITATION, .citation = &elsewhere},
        {.kind = PS_EVENT_CITATION},
        {.kind = PS_EVENT_MEDIA, .media = &image},
        {.kind = PS_EVENT_MEDIA},
        FINISH(PS_FINISH_STOP),
    };
#define CITED                                                                                      \
    "{\"type\":\"url_citation\",\"url_citation\":{\"start_index\":2,\"end_index\":2,"              \
    "\"url\":\"https://x\",\"title\":\"t\"}}"
#define PLACED                                                                                     \
    "{\"type\":\"url_citation\",\"url_citation\":{\"start_index\":1,\"end_index\":3,"              \
    "\"url\":\"https://y\",\"title\":\"\"}}"
#define IMAGE "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QUJD\"}}"
    static const struct row rows[] = {
        {PS_OP_CHAT, PS_WRITER_STREAM, events, COUNT(events),
         ROLE CHUNK "\"content\":\"a\xc3\xa9\"" GOES_ON CHUNK "\"annotations\":[" CITED
                    "]" GOES_ON CHUNK "\"annotations\":[" PLACED "]" GOES_ON CHUNK
                    "\"images\":[" IMAGE "]" GOES_ON CHUNK ENDS("stop") DONE},
        {PS_OP_CHAT, PS_WRITER_WHOLE, events, COUNT(events),
         WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\xc3\xa9\","
               "\"refusal\":null,\"annotations\":[" CITED "," PLACED "],\"images\":[" IMAGE
               "]},\"logprobs\":null,\"finish_reason\":\"stop\"}]" TAIL},
    };

    (void)state;
    run_rows(rows, COUNT(rows));
}

static void writes_several_choices(void **state)
{
    static const struct ps_event events[] = {
        TEXT("a"),
        {.kind = PS_EVENT_TEXT, .choice = 2, .text = PS_SLICE_INIT("c")},
        FINISH(PS_FINISH_STOP),
        {.kind = PS_EVENT_TEXT, .choice = 500, .text = PS_SLICE_INIT("nobody asked")},
        {.kind = PS_EVENT_FINISH, .choice = 2, .finish = PS_FINISH_LENGTH},
    };
#define SECOND "data: " HEAD("chat.completion.chunk") "{\"index\":2,\"delta\":{"
    static const struct row rows[] = {
        {PS_OP_CHAT, PS_WRITER_STREAM, events, COUNT(events),
         ROLE CHUNK "\"content\":\"a\"" GOES_ON SECOND
                    "\"role\":\"assistant\",\"content\":\"\"" GOES_ON SECOND
                    "\"content\":\"c\"" GOES_ON CHUNK ENDS("stop") SECOND ENDS("length") DONE},
        {PS_OP_CHAT, PS_WRITER_WHOLE, events, COUNT(events),
         WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\","
               "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"},{\"index\":2,"
               "\"message\":{\"role\":\"assistant\",\"content\":\"c\",\"refusal\":null},"
               "\"logprobs\":null,\"finish_reason\":\"length\"}]" TAIL},
        {PS_OP_COMPLETE, PS_WRITER_WHOLE, events, COUNT(events),
         "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\","
         "\"system_fingerprint\":\"penstock\",\"choices\":[{\"index\":0,\"text\":\"a\","
         "\"logprobs\":null,\"finish_reason\":\"stop\"},{\"index\":2,\"text\":\"c\","
         "\"logprobs\":null,\"finish_reason\":\"length\"}]" TAIL},
    };

    (void)state;
    run_rows(rows, COUNT(rows));
}

static void writes_lists(void **state)
{
    static const struct ps_event scores[] = {
        {.kind = PS_EVENT_SCORE, .index = 1, .score = &exact},
        {.kind = PS_EVENT_SCORE, .index = 0, .score = &score},
        {.kind = PS_EVENT_USAGE, .usage = {3, -1, -1, -1, -1, -1}},
    };
    static const struct ps_event images[] = {
        {.kind = PS_EVENT_MEDIA, .media = &image},
        {.kind = PS_EVENT_MEDIA, .index = 1, .media = &linked},
    };
    static const struct ps_event vectors[] = {
        {.kind = PS_EVENT_EMBEDDING, .text = PS_SLICE_INIT("[1.50,-2e-1]")},
    };
    static const struct row rows[] = {
        {PS_OP_RERANK, PS_WRITER_WHOLE, scores, COUNT(scores),
         "{\"id\":\"rerank-1\",\"model\":\"m\",\"results\":[{\"index\":1,\"relevance_score\":0.50},"
         "{\"index\":0,\"document\":{\"text\":\"d\"},\"relevance_score\":0.25}],\"usage\":"
         "{\"prompt_tokens\":3,\"total_tokens\":3}}\n"},
        {PS_OP_RERANK, PS_WRITER_STREAM, scores, 1,
         "{\"id\":\"rerank-1\",\"model\":\"m\",\"results\":[{\"index\":1,\"relevance_score\":0.50}]"
         "}\n"},
        {PS_OP_IMAGE, PS_WRITER_WHOLE, images, COUNT(images),
         "{\"created\":7,\"data\":[{\"b64_json\":\"QUJD\"},{\"url\":\"https://z\","
         "\"revised_prompt\":\"p\"}]}\n"},
        {PS_OP_EMBED, PS_WRITER_WHOLE, vectors, COUNT(vectors),
         "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
         "[1.50,-2e-1]}],\"model\":\"m\",\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0}}\n"},
    };

    (void)state;
    run_rows(rows, COUNT(rows));
}

/* A count that nobody told is 0, since the API wants a number; where none was told there is no
 * usage. */
static void writes_counts(void **state)
{
#define COUNTS(...)                                                                                \
    {                                                                                              \
        .kind = PS_EVENT_USAGE, .usage = { __VA_ARGS__ }                                           \
    }
#define SAID                                                                                       \
    WHOLE "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null},"  \
          "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{"
    static const struct ps_event answers[] = {TEXT("a"), COUNTS(-1, 2, -1, -1, -1, -1),
                                              FINISH(PS_FINISH_STOP)};
    static const struct ps_event all[] = {TEXT("a"), COUNTS(3, 2, 6, 1, 2, 1),
                                          FINISH(PS_FINISH_STOP)};
    static const struct ps_event vectors[] = {
        {.kind = PS_EVENT_EMBEDDING, .text = PS_SLICE_INIT("[1]")},
        COUNTS(3, -1, -1, 1, -1, -1),
    };
    static const struct row rows[] = {
        {PS_OP_CHAT, PS_WRITER_WHOLE, answers, COUNT(answers),
         SAID "\"prompt_tokens\":0,\"completion_tokens\":2,\"total_tokens\":2}}\n"},
        {PS_OP_CHAT, PS_WRITER_WHOLE, all, COUNT(all),
         SAID "\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":6,"
              "\"prompt_tokens_details\":{\"cached_tokens\":1,\"cache_write_tokens\":1},"
              "\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n"},
        {PS_OP_EMBED, PS_WRITER_WHOLE, vectors, COUNT(vectors),
         "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"
         "[1]}],\"model\":\"m\",\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}\n"},
    };

    (void)state;
    run_rows(rows, COUNT(rows));
}

/* ---- read again ---- */

struct heard {
    char calls[256];
    char text[64];
    bool done;
};

static bool on_event(void *arg, const struct ps_event *event)
{
    struct heard *heard = arg;
    size_t len = strlen(heard->calls);
    size_t text = strlen(heard->text);

    if (event->kind == PS_EVENT_TOOL_CALL) {
        (void)snprintf(heard->calls + len, sizeof(heard->calls) - len, "%.*s%.*s%.*s%.*s",
                       (int)event->tool->id.len, event->tool->id.ptr, (int)event->tool->name.len,
                       event->tool->name.ptr, (int)event->tool->signature.len,
                       event->tool->signature.ptr, (int)event->text.len, event->text.ptr);
    } else if (event->kind == PS_EVENT_TEXT) {
        (void)snprintf(heard->text + text, sizeof(heard->text) - text, "%.*s", (int)event->text.len,
                       event->text.ptr);
    }
    heard->done = heard->done || event->kind == PS_EVENT_DONE;
    return true;
}

static void is_read_again(void **state)
{
    static const struct ps_event events[] = {
        TEXT("so"),
        CALL(0, &first, "{\"a\":\"\\u0001\"}"),
        CALL(1, &second, ""),
        FINISH(PS_FINISH_TOOL_CALLS),
    };

    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        const struct row row = {PS_OP_CHAT, mode == 0 ? PS_WRITER_WHOLE : PS_WRITER_STREAM, events,
                                COUNT(events), NULL};
        const struct ps_decoder_options options = {
            .operation = PS_OP_CHAT,
            .stream = mode == 1,
            .fields = true,
            .event_bytes = 65536,
        };
        struct heard heard = {.done = false};
        struct rig rig;
        struct ps_buf out;
        struct ps_decoder *decoder;

        rig_init(&rig);
        ps_buf_init(&out, 1 << 20);
        write_row(&rig, &row, false, &out);
        decoder = ps_decoder_new(ps_dialect_find("openai"), &options, &rig.arena, on_event, &heard);
        assert_non_null(decoder);
        for (size_t i = 0; i + 1 < out.len; i++) {
            assert_int_equal(ps_decoder_feed(decoder, out.ptr + i, 1), PS_DECODE_OK);
        }
        assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
        assert_true(heard.done);
        assert_string_equal(heard.text, "so");
        assert_string_equal(heard.calls, "call_1f{\"a\":\"\\u0001\"}call_2g\"sig{}");
        ps_decoder_free(decoder);
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

/* Many calls of many choices: bounded, and refused as one. */
static void bounds_what_it_holds(void **state)
{
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT, .mode = PS_WRITER_WHOLE, .max_bytes = 20000};
    const struct ps_event event = {
        .kind = PS_EVENT_TOOL_CALL, .tool = &first, .text = PS_SLICE_INIT("0123456789")};
    struct rig rig;
    struct ps_buf out;
    struct ps_writer *writer;
    int rc = 0;

    (void)state;
    rig_init(&rig);
    ps_buf_init(&out, 1 << 20);
    writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &options, &rig.arena);
    assert_non_null(writer);
    for (uint32_t i = 0; i < 5000 && rc == 0; i++) {
        struct ps_event next = event;

        next.choice = i % 128;
        next.block = i / 128;
        rc = ps_writer_event(writer, &next, &out, &rig.fault);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_tool_calls),      cmocka_unit_test(writes_function_calls),
        cmocka_unit_test(writes_thoughts),        cmocka_unit_test(writes_sources_and_images),
        cmocka_unit_test(writes_several_choices), cmocka_unit_test(writes_lists),
        cmocka_unit_test(writes_counts),          cmocka_unit_test(is_read_again),
        cmocka_unit_test(bounds_what_it_holds),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
