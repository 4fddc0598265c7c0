/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "penstock/base/json_scan.h"

#include <math.h>

static const struct ps_answer_info info = {.id = {"gen_1", 5}};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        .kind = PS_EVENT_TEXT, .text = PS_SLICE_INIT(literal)                                      \
    }
#define STOP                                                                                       \
    {                                                                                              \
        .kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP                                          \
    }
#define LENGTH                                                                                     \
    {                                                                                              \
        .kind = PS_EVENT_FINISH, .finish = PS_FINISH_LENGTH                                        \
    }
#define USAGE                                                                                      \
    {                                                                                              \
        .kind = PS_EVENT_USAGE, .usage = { 3, 4, -1, -1, -1 }                                      \
    }
#define DONE                                                                                       \
    {                                                                                              \
        .kind = PS_EVENT_DONE                                                                      \
    }

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct ps_writer *new_writer(struct rig *rig, const struct ps_writer_options *options)
{
    struct ps_writer_options all = *options;

    all.id = all.id.len > 0 ? all.id : PS_SLICE_LIT("gen_01abc");
    all.model = PS_SLICE_LIT("tiny \"x\"");
    all.created_s = 1790000000;
    all.max_bytes = all.max_bytes > 0 ? all.max_bytes : 65536;
    return ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &all, &rig->arena);
}

/* What the events are written as, NUL-terminated. */
static void write_all(struct rig *rig, const struct ps_writer_options *options,
                      const struct ps_event *events, size_t count, struct ps_buf *out)
{
    struct ps_writer *writer = new_writer(rig, options);

    assert_non_null(writer);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ps_writer_event(writer, &events[i], out, &rig->fault), 0);
    }
    ps_writer_end(writer, &info, out);
    ps_writer_free(writer);
    ps_buf_byte(out, '\0');
    assert_false(out->failed);
}

/* What our own decoder makes of it again, with the text of one event after the other. */
struct heard {
    struct ps_buf text;
    enum ps_finish finish;
    struct ps_usage usage;
    bool result;
    bool done;
};

static bool on_event(void *arg, const struct ps_event *event)
{
    struct heard *heard = arg;

    assert_int_equal(event->choice, 0);
    assert_int_not_equal(event->kind, PS_EVENT_FAULT);
    if (event->kind == PS_EVENT_TEXT) {
        ps_buf_slice(&heard->text, event->text);
    } else if (event->kind == PS_EVENT_FINISH) {
        assert_int_equal(heard->finish, PS_FINISH_NONE);
        heard->finish = event->finish;
    } else if (event->kind == PS_EVENT_USAGE) {
        heard->usage = event->usage;
    } else if (event->kind == PS_EVENT_RESULT) {
        heard->result = true;
    } else if (event->kind == PS_EVENT_DONE) {
        heard->done = true;
    }
    return true;
}

static void decode(struct rig *rig, const struct ps_writer_options *written, struct ps_slice bytes,
                   struct heard *heard)
{
    bool stream = written->mode == PS_WRITER_STREAM;
    const struct ps_decoder_options options = {
        .operation = written->operation,
        .stream = stream,
        .fields = true,
        .content_type =
            ps_slice_cstr(stream ? "text/event-stream; charset=utf-8" : "application/json"),
        .event_bytes = 65536,
    };
    struct ps_decoder *decoder = ps_decoder_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &options,
                                                &rig->arena, on_event, heard);

    assert_non_null(decoder);
    *heard = (struct heard){.usage = PS_USAGE_NONE};
    ps_buf_init(&heard->text, 65536);
    if (ps_decoder_feed(decoder, bytes.ptr, bytes.len) != PS_DECODE_OK ||
        ps_decoder_finish(decoder) != PS_DECODE_OK) {
        fail_msg("%s", ps_decoder_fault(decoder)->message);
    }
    assert_true(heard->done);
    ps_buf_byte(&heard->text, '\0');
    ps_decoder_free(decoder);
}

#define CHAT_HEAD(object)                                                                          \
    "{\"id\":\"chatcmpl-01abc\",\"object\":\"" object "\",\"created\":1790000000,"                 \
    "\"model\":\"tiny \\\"x\\\"\",\"system_fingerprint\":\"penstock\",\"choices\":["
#define CHUNK "data: " CHAT_HEAD("chat.completion.chunk")
#define TEXT_HEAD                                                                                  \
    "{\"id\":\"cmpl-01abc\",\"object\":\"text_completion\",\"created\":1790000000,"                \
    "\"model\":\"tiny \\\"x\\\"\",\"system_fingerprint\":\"penstock\",\"choices\":["
#define DELTA(members) CHUNK "{\"index\":0,\"delta\":{" members "},\"logprobs\":null,"
#define GOES_ON        "\"finish_reason\":null}]"
#define ENDS(word)     "\"finish_reason\":\"" word "\"}]"
#define TOTALS         "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}"
#define NEXT           "}\n\n"
#define NO_USAGE       ",\"usage\":null}\n\n"
#define END            "data: [DONE]\n\n"

static void writes_answers(void **state)
{
    static const struct ps_event answer[] = {
        {.kind = PS_EVENT_START},
        TEXT("a\"\n"),
        {.kind = PS_EVENT_TEXT},
        TEXT("\xc3\xa9"),
        LENGTH,
        USAGE,
        DONE,
    };
    static const struct {
        struct ps_writer_options options;
        const char *type;
        const char *expected;
    } rows[] = {
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_WHOLE},
         "application/json",
         CHAT_HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\","
                                      "\"content\":\"a\\\"\\n\xc3\xa9\",\"refusal\":null},"
                                      "\"logprobs\":null," ENDS("length") "," TOTALS "}\n"},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM},
         "text/event-stream; charset=utf-8",
         DELTA("\"role\":\"assistant\",\"content\":\"\"") GOES_ON NEXT /* the role */
             DELTA("\"content\":\"a\\\"\\n\"") GOES_ON NEXT            /* two texts */
                 DELTA("\"content\":\"\xc3\xa9\"") GOES_ON NEXT DELTA("") ENDS("length") NEXT END},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM, .include_usage = true},
         "text/event-stream; charset=utf-8",
         DELTA("\"role\":\"assistant\",\"content\":\"\"") GOES_ON NO_USAGE /* the role */
             DELTA("\"content\":\"a\\\"\\n\"") GOES_ON NO_USAGE            /* two texts */
                 DELTA("\"content\":\"\xc3\xa9\"") GOES_ON NO_USAGE DELTA("") ENDS("length")
                     NO_USAGE CHUNK "]," TOTALS NEXT END},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_TEXT},
         "text/plain; charset=utf-8",
         "a\"\n\xc3\xa9"},
        {{.operation = PS_OP_COMPLETE, .mode = PS_WRITER_WHOLE},
         "application/json",
         TEXT_HEAD "{\"index\":0,\"text\":\"a\\\"\\n\xc3\xa9\",\"logprobs\":null," ENDS(
             "length") "," TOTALS "}\n"},
        {{.operation = PS_OP_COMPLETE, .mode = PS_WRITER_STREAM, .include_usage = true},
         "text/event-stream; charset=utf-8",
         "data: " TEXT_HEAD "{\"index\":0,\"text\":\"a\\\"\\n\",\"logprobs\":null," GOES_ON NO_USAGE
         "data: " TEXT_HEAD "{\"index\":0,\"text\":\"\xc3\xa9\",\"logprobs\":null," GOES_ON NO_USAGE
         "data: " TEXT_HEAD "{\"index\":0,\"text\":\"\",\"logprobs\":null," ENDS("length") NO_USAGE
         "data: " TEXT_HEAD "]," TOTALS NEXT END},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig rig;
        struct ps_buf out;
        struct heard heard;
        struct ps_writer *writer;

        rig_init(&rig);
        ps_buf_init(&out, 65536);
        writer = new_writer(&rig, &rows[i].options);
        assert_string_equal(ps_writer_content_type(writer), rows[i].type);
        ps_writer_free(writer);
        write_all(&rig, &rows[i].options, answer, COUNT(answer), &out);
        assert_string_equal(out.ptr, rows[i].expected);
        if (rows[i].options.mode != PS_WRITER_TEXT) {
            decode(&rig, &rows[i].options, ps_slice(out.ptr, out.len - 1), &heard);
            assert_string_equal(heard.text.ptr, "a\"\n\xc3\xa9");
            assert_int_equal(heard.finish, PS_FINISH_LENGTH);
            if (rows[i].options.mode == PS_WRITER_WHOLE || rows[i].options.include_usage) {
                assert_int_equal(heard.usage.input, 3);
                assert_int_equal(heard.usage.output, 4);
                assert_int_equal(heard.usage.total, 7);
            }
            ps_buf_deinit(&heard.text);
        }
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

/* The less usual: no text at all, what was thought and refused, words for ends, names. */
static void writes_odd_answers(void **state)
{
    static const struct ps_event silent[] = {STOP, DONE};
    static const struct ps_event refusing[] = {
        {.kind = PS_EVENT_REASONING, .text = PS_SLICE_INIT("hm")},
        {.kind = PS_EVENT_REFUSAL, .text = PS_SLICE_INIT("no")},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_CONTENT_FILTER},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_CONTENT_FILTER},
        {.kind = PS_EVENT_USAGE, .usage = {3, 4, 8, 1, 2}},
        DONE,
    };
    static const struct ps_event strange[] = {
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_OTHER, .finish_text = PS_SLICE_INIT("abort")},
        DONE,
    };
    static const struct {
        struct ps_writer_options options;
        const struct ps_event *events;
        size_t count;
        const char *expected;
    } rows[] = {
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM, .include_usage = true},
         silent,
         COUNT(silent),
         DELTA("\"role\":\"assistant\",\"content\":\"\"") GOES_ON NO_USAGE DELTA("") ENDS("stop")
             NO_USAGE END},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_WHOLE},
         refusing,
         COUNT(refusing),
         CHAT_HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\","
                                      "\"content\":null,\"reasoning_content\":\"hm\","
                                      "\"refusal\":\"no\"},\"logprobs\":null," ENDS(
                                          "content_filter") ",\"usage\":{\"prompt_tokens\":3,"
                                                            "\"completion_tokens\":4,"
                                                            "\"total_tokens\":8,"
                                                            "\"prompt_tokens_details\":{\"cached_"
                                                            "tokens\":1},\"completion_tokens_"
                                                            "details\":{\"reasoning_tokens\":2}}}"
                                                            "\n"},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM},
         refusing,
         COUNT(refusing),
         DELTA("\"role\":\"assistant\",\"content\":\"\"") GOES_ON NEXT /* then what it says */
             DELTA("\"reasoning_content\":\"hm\"") GOES_ON NEXT DELTA("\"refusal\":\"no\"")
                 GOES_ON NEXT DELTA("") ENDS("content_filter") NEXT END},
        {{.operation = PS_OP_COMPLETE, .mode = PS_WRITER_WHOLE, .id = PS_SLICE_INIT("my \"id\"")},
         strange,
         COUNT(strange),
         "{\"id\":\"my \\\"id\\\"\",\"object\":\"text_completion\",\"created\":1790000000,"
         "\"model\":\"tiny \\\"x\\\"\",\"system_fingerprint\":\"penstock\",\"choices\":["
         "{\"index\":0,\"text\":\"\",\"logprobs\":null," ENDS("stop") "}\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig rig;
        struct ps_buf out;

        rig_init(&rig);
        ps_buf_init(&out, 65536);
        write_all(&rig, &rows[i].options, rows[i].events, rows[i].count, &out);
        assert_string_equal(out.ptr, rows[i].expected);
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

/* ---- log probabilities ---- */

static const struct ps_event_logprob top[] = {
    {PS_SLICE_INIT("He"), -0.1F},
    {PS_SLICE_INIT("\"\xe2\x82"), -2.5F},
};

/* Two tokens share a character, and so a text; the last has none, since a stop string took it. */
static const struct ps_event scored[] = {
    {.kind = PS_EVENT_LOGPROBS,
     .logprob = {PS_SLICE_INIT("He"), -0.1F},
     .top = top,
     .top_count = 2},
    TEXT("He"),
    {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("\xe2\x82"), 0.0F}},
    {.kind = PS_EVENT_LOGPROBS,
     .logprob = {PS_SLICE_INIT("\xac!"), -INFINITY},
     .top = top,
     .top_count = 1},
    TEXT("\xe2\x82\xac!"),
    {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("END"), -1.0F}},
    STOP,
    DONE,
};

#define CHAT_FIRST                                                                                 \
    "{\"token\":\"He\",\"logprob\":-0.1,\"bytes\":[72,101],\"top_logprobs\":["                     \
    "{\"token\":\"He\",\"logprob\":-0.1,\"bytes\":[72,101]},"                                      \
    "{\"token\":\"\\\"\xef\xbf\xbd\xef\xbf\xbd\",\"logprob\":-2.5,\"bytes\":[34,226,130]}]}"
#define CHAT_SECOND                                                                                \
    "{\"token\":\"\xef\xbf\xbd\xef\xbf\xbd\",\"logprob\":0.0,\"bytes\":[226,130],\"top_"           \
    "logprobs\":[]},"                                                                              \
    "{\"token\":\"\xef\xbf\xbd!\",\"logprob\":-9999.0,\"bytes\":[172,33],\"top_logprobs\":["       \
    "{\"token\":\"He\",\"logprob\":-0.1,\"bytes\":[72,101]}]}"
#define CHAT_THIRD    "{\"token\":\"END\",\"logprob\":-1.0,\"bytes\":[69,78,68],\"top_logprobs\":[]}"
#define SCORES(list)  "\"logprobs\":{\"content\":[" list "],\"refusal\":null},"
#define SCORED(delta) CHUNK "{\"index\":0,\"delta\":{" delta "},"

static void writes_logprobs(void **state)
{
    static const struct {
        struct ps_writer_options options;
        const char *expected;
    } rows[] = {
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_WHOLE},
         CHAT_HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\","
                                      "\"content\":\"He\xe2\x82\xac!\",\"refusal\":null}," SCORES(
                                          CHAT_FIRST "," CHAT_SECOND "," CHAT_THIRD)
                                          ENDS("stop") "}\n"},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM},
         DELTA("\"role\":\"assistant\",\"content\":\"\"") GOES_ON NEXT SCORED("\"content\":\"He\"")
             SCORES(CHAT_FIRST) GOES_ON NEXT SCORED("\"content\":\"\xe2\x82\xac!\"") SCORES(
                 CHAT_SECOND) GOES_ON NEXT SCORED("") SCORES(CHAT_THIRD) ENDS("stop") NEXT END},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_TEXT}, "He\xe2\x82\xac!"},
        {{.operation = PS_OP_COMPLETE, .mode = PS_WRITER_WHOLE},
         TEXT_HEAD
         "{\"index\":0,\"text\":\"He\xe2\x82\xac!\",\"logprobs\":{\"tokens\":[\"He\","
         "\"bytes:\\\\xe2\\\\x82\",\"bytes:\\\\xac\\\\x21\",\"END\"],"
         "\"token_logprobs\":[-0.1,0.0,-9999.0,-1.0],\"top_logprobs\":["
         "{\"He\":-0.1,\"bytes:\\\\x22\\\\xe2\\\\x82\":-2.5},{\"bytes:\\\\xe2\\\\x82\":0.0},"
         "{\"He\":-0.1,\"bytes:\\\\xac\\\\x21\":-9999.0},{\"END\":-1.0}],"
         "\"text_offset\":[0,2,3,4]}," ENDS("stop") "}\n"},
        {{.operation = PS_OP_COMPLETE, .mode = PS_WRITER_STREAM},
         "data: " TEXT_HEAD "{\"index\":0,\"text\":\"He\",\"logprobs\":{\"tokens\":[\"He\"],"
         "\"token_logprobs\":[-0.1],\"top_logprobs\":[{\"He\":-0.1,"
         "\"bytes:\\\\x22\\\\xe2\\\\x82\":-2.5}],\"text_offset\":[0]}," GOES_ON NEXT
         "data: " TEXT_HEAD "{\"index\":0,\"text\":\"\xe2\x82\xac!\",\"logprobs\":{\"tokens\":["
         "\"bytes:\\\\xe2\\\\x82\",\"bytes:\\\\xac\\\\x21\"],\"token_logprobs\":[0.0,-9999.0],"
         "\"top_logprobs\":[{\"bytes:\\\\xe2\\\\x82\":0.0},{\"He\":-0.1,"
         "\"bytes:\\\\xac\\\\x21\":-9999.0}],\"text_offset\":[2,3]}," GOES_ON NEXT
         "data: " TEXT_HEAD "{\"index\":0,\"text\":\"\",\"logprobs\":{\"tokens\":[\"END\"],"
         "\"token_logprobs\":[-1.0],\"top_logprobs\":[{\"END\":-1.0}],\"text_offset\":[4]}," ENDS(
             "stop") NEXT END},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig rig;
        struct ps_buf out;
        struct heard heard;

        rig_init(&rig);
        ps_buf_init(&out, 65536);
        write_all(&rig, &rows[i].options, scored, COUNT(scored), &out);
        assert_string_equal(out.ptr, rows[i].expected);
        if (rows[i].options.mode != PS_WRITER_TEXT) {
            decode(&rig, &rows[i].options, ps_slice(out.ptr, out.len - 1), &heard);
            assert_string_equal(heard.text.ptr, "He\xe2\x82\xac!");
            assert_int_equal(heard.finish, PS_FINISH_STOP);
            ps_buf_deinit(&heard.text);
        }
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

/* ---- embeddings ---- */

static void writes_embeddings(void **state)
{
    static const float first[] = {1.0F, -0.5F};
    static const float second[] = {0.33333334F, 0.0F, 1e-7F};
    static const float third[] = {-2.0F};
    static const struct ps_event vectors[] = {
        {.kind = PS_EVENT_START},
        {.kind = PS_EVENT_EMBEDDING, .index = 0, .vector = first, .dimensions = 2},
        {.kind = PS_EVENT_EMBEDDING, .index = 1, .vector = second, .dimensions = 3},
        {.kind = PS_EVENT_EMBEDDING, .index = 2, .vector = third, .dimensions = 1},
        {.kind = PS_EVENT_USAGE, .usage = {9, 0, -1, -1, -1}},
        DONE,
    };
    static const struct {
        bool base64;
        enum ps_writer_mode mode;
        const char *expected[3];
    } rows[] = {
        {false, PS_WRITER_WHOLE, {"[1.0,-0.5]", "[0.33333334,0.0,1e-7]", "[-2.0]"}},
        /* whatever was asked for: there are no streams of vectors */
        {true, PS_WRITER_STREAM, {"\"AACAPwAAAL8=\"", "\"q6qqPgAAAACVv9Yz\"", "\"AAAAwA==\""}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct ps_writer_options options = {
            .operation = PS_OP_EMBED, .mode = rows[i].mode, .base64 = rows[i].base64};
        const struct ps_writer_options whole = {.operation = PS_OP_EMBED};
        struct rig rig;
        struct ps_buf out;
        struct ps_buf expected;
        struct heard heard;

        rig_init(&rig);
        ps_buf_init(&out, 65536);
        ps_buf_init(&expected, 65536);
        ps_buf_cstr(&expected, "{\"object\":\"list\",\"data\":[");
        for (int j = 0; j < 3; j++) {
            ps_buf_printf(&expected, "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":%s}",
                          j > 0 ? "," : "", j, rows[i].expected[j]);
        }
        ps_buf_append(&expected,
                      "],\"model\":\"tiny \\\"x\\\"\",\"usage\":{\"prompt_tokens\":9,"
                      "\"total_tokens\":9}}\n",
                      sizeof("],\"model\":\"tiny \\\"x\\\"\",\"usage\":{\"prompt_tokens\":9,"
                             "\"total_tokens\":9}}\n"));
        write_all(&rig, &options, vectors, COUNT(vectors), &out);
        assert_string_equal(out.ptr, expected.ptr);
        decode(&rig, &whole, ps_slice(out.ptr, out.len - 1), &heard);
        assert_true(heard.result);
        assert_int_equal(heard.usage.input, 9);
        ps_buf_deinit(&heard.text);
        ps_buf_deinit(&expected);
        ps_buf_deinit(&out);
        rig_deinit(&rig);
    }
}

static void refuses_broken_vectors(void **state)
{
    static const float broken[] = {1.0F, NAN};
    static const struct ps_event event = {
        .kind = PS_EVENT_EMBEDDING, .vector = broken, .dimensions = 2};
    struct rig rig;
    struct ps_buf out;
    struct ps_writer *writer;

    (void)state;
    rig_init(&rig);
    ps_buf_init(&out, 4096);
    writer = new_writer(&rig, &(struct ps_writer_options){.operation = PS_OP_EMBED});
    assert_int_equal(ps_writer_event(writer, &event, &out, &rig.fault), -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_INTERNAL);
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
}

/* ---- bounds ---- */

/* How many of the same event go in before the writer refuses. */
static int capacity(const struct ps_writer_options *options, const struct ps_event *event)
{
    struct rig rig;
    struct ps_buf out;
    struct ps_writer *writer;
    int count = 0;

    rig_init(&rig);
    ps_buf_init(&out, (size_t)1 << 20);
    writer = new_writer(&rig, options);
    while (count < 1000 && ps_writer_event(writer, event, &out, &rig.fault) == 0) {
        count++;
    }
    if (count < 1000) {
        assert_int_equal(rig.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    }
    ps_writer_free(writer);
    ps_buf_deinit(&out);
    rig_deinit(&rig);
    return count;
}

static void bounds_what_it_holds(void **state)
{
    static const float vector[] = {1.0F};
    static const struct ps_event text = TEXT("12345");
    static const struct ps_event score = {.kind = PS_EVENT_LOGPROBS,
                                          .logprob = {PS_SLICE_INIT("a"), -1.0F}};
    static const struct ps_event embedding = {
        .kind = PS_EVENT_EMBEDDING, .vector = vector, .dimensions = 1};
    static const struct {
        struct ps_writer_options options;
        const struct ps_event *event;
        int count;
    } rows[] = {
        {{.operation = PS_OP_CHAT, .max_bytes = 12}, &text, 2},
        {{.operation = PS_OP_COMPLETE, .max_bytes = 15}, &text, 3},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM, .max_bytes = 12}, &text, 1000},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_TEXT, .max_bytes = 12}, &text, 1000},
        /* an entry takes 59 bytes and a comma */
        {{.operation = PS_OP_CHAT, .max_bytes = 119}, &score, 2},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM, .max_bytes = 118}, &score, 1},
        {{.operation = PS_OP_CHAT, .mode = PS_WRITER_TEXT, .max_bytes = 12}, &score, 1000},
        /* 3 + 4 + 10 + 1 bytes and four commas */
        {{.operation = PS_OP_COMPLETE, .max_bytes = 40}, &score, 2},
        {{.operation = PS_OP_COMPLETE, .max_bytes = 39}, &score, 1},
        /* 50 bytes and a comma */
        {{.operation = PS_OP_EMBED, .max_bytes = 101}, &embedding, 2},
        {{.operation = PS_OP_EMBED, .max_bytes = 100}, &embedding, 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int count = capacity(&rows[i].options, rows[i].event);

        if (count != rows[i].count) {
            fail_msg("row %zu: expected %d, found %d", i, rows[i].count, count);
        }
    }
}

static void survives_short_memory(void **state)
{
    static const struct ps_writer_options rows[] = {
        {.operation = PS_OP_CHAT},
        {.operation = PS_OP_CHAT, .mode = PS_WRITER_STREAM},
        {.operation = PS_OP_COMPLETE},
    };
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("a"), -1.0F}}, TEXT("a"), STOP};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int64_t after = 0; after < 16; after++) {
            struct rig rig;
            struct ps_buf out;
            struct ps_writer *writer;

            rig_init(&rig);
            ps_buf_init(&out, 65536);
            (void)ps_mem_fail_after(after);
            writer = new_writer(&rig, &rows[i]);
            if (writer != NULL) {
                for (size_t j = 0; j < COUNT(events); j++) {
                    if (ps_writer_event(writer, &events[j], &out, &rig.fault) != 0) {
                        assert_true(rig.fault.kind == PS_FAULT_UPSTREAM_BROKEN ||
                                    rig.fault.kind == PS_FAULT_NO_MEMORY);
                        break;
                    }
                }
            }
            (void)ps_mem_fail_after(-1);
            assert_true(after > 0 || writer == NULL);
            ps_writer_free(writer);
            ps_buf_deinit(&out);
            rig_deinit(&rig);
        }
    }
}

static void says_what_it_writes(void **state)
{
    static const struct {
        enum ps_family family;
        enum ps_operation operation;
        bool expected;
    } rows[] = {
        {PS_FAMILY_OPENAI, PS_OP_CHAT, true},     {PS_FAMILY_OPENAI, PS_OP_COMPLETE, true},
        {PS_FAMILY_OPENAI, PS_OP_EMBED, true},    {PS_FAMILY_OPENAI, PS_OP_PASS, false},
        {PS_FAMILY_OPENAI, PS_OP_MODELS, false},  {PS_FAMILY_GENERATE, PS_OP_CHAT, true},
        {PS_FAMILY_GENERATE, PS_OP_EMBED, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct ps_dialect *dialect = ps_dialect_of_family(rows[i].family);
        const struct ps_writer_options options = {.operation = rows[i].operation, .max_bytes = 10};
        struct rig rig;
        struct ps_writer *writer;

        rig_init(&rig);
        assert_int_equal(ps_dialect_has_writer(dialect, rows[i].operation), rows[i].expected);
        writer = ps_writer_new(dialect, &options, &rig.arena);
        assert_int_equal(writer != NULL, rows[i].expected);
        ps_writer_free(writer);
        rig_deinit(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_answers),         cmocka_unit_test(writes_odd_answers),
        cmocka_unit_test(writes_logprobs),        cmocka_unit_test(writes_embeddings),
        cmocka_unit_test(refuses_broken_vectors), cmocka_unit_test(bounds_what_it_holds),
        cmocka_unit_test(survives_short_memory),  cmocka_unit_test(says_what_it_writes),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
