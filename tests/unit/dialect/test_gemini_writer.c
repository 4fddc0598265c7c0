/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/* Answers for Google's clients, out of events: whole, as events and as one array; and errors. */

#define OUT_BYTES 65536
#define PIECES    8

/* The shape that requests were asked in: gemini_priv.h */
#define ARRAY 1U
#define BATCH 2U

#define TAIL                  ",\"modelVersion\":\"m\",\"responseId\":\"01\"}"
#define ANSWER(candidates)    "{\"candidates\":[" candidates "]" TAIL
#define COUNTED(c, usage)     "{\"candidates\":[" c "],\"usageMetadata\":{" usage "}" TAIL
#define SAYS(parts, more)     "{\"content\":{\"parts\":[" parts "],\"role\":\"model\"}" more "}"
#define PART(parts)           SAYS(parts, ",\"index\":0")
#define ENDS(parts, word)     SAYS(parts, ",\"finishReason\":\"" word "\",\"index\":0")
#define ENDS_WITH(p, word, m) SAYS(p, ",\"finishReason\":\"" word "\",\"index\":0," m)
#define TEXT(text)            "{\"text\":\"" text "\"}"
#define THOUGHT(text)         "{\"text\":\"" text "\",\"thought\":true}"
#define SIGNED(text, s)       "{\"text\":\"" text "\",\"thought\":true,\"thoughtSignature\":\"" s "\"}"

struct front {
    struct rig rig;
    struct ps_writer *writer;
    struct ps_buf out;
    struct ps_fault fault;
    int rc;
};

static void front_init(struct front *front, enum ps_operation operation, enum ps_writer_mode mode,
                       unsigned shape, size_t max)
{
    struct ps_writer_options options = {
        .operation = operation,
        .mode = mode,
        .max_bytes = max,
        .request = &front->rig.request,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
    };

    rig_init(&front->rig);
    front->rig.request.shape = shape;
    front->rc = 0;
    ps_buf_init(&front->out, OUT_BYTES);
    front->writer =
        ps_writer_new(ps_dialect_of_family(PS_FAMILY_GEMINI), &options, &front->rig.arena);
    assert_non_null(front->writer);
}

static void front_deinit(struct front *front)
{
    ps_writer_free(front->writer);
    ps_buf_deinit(&front->out);
    rig_deinit(&front->rig);
}

static void write_events(struct front *front, const struct ps_event *events, size_t count)
{
    for (size_t i = 0; i < count && front->rc == 0; i++) {
        front->rc = ps_writer_event(front->writer, &events[i], &front->out, &front->fault);
    }
}

static void expect_out(struct front *front, const char *expected)
{
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
    if (strcmp(front->out.ptr, expected) != 0) {
        fail_msg("\nexpected %s\nfound    %s", expected, front->out.ptr);
    }
}

static void expect(struct front *front, const char *expected)
{
    static const struct ps_answer_info info;

    assert_int_equal(front->rc, 0);
    ps_writer_end(front->writer, &info, &front->out);
    expect_out(front, expected);
}

/* ---- conversations ---- */

#define COUNTS(in, all, thought, from_cache)                                                       \
    .usage = {                                                                                     \
        .input = (in),                                                                             \
        .output = (all),                                                                           \
        .total = -1,                                                                               \
        .cached = (from_cache),                                                                    \
        .reasoning = (thought),                                                                    \
        .cache_write = -1,                                                                         \
    }
#define SAID(words) .text = PS_SLICE_INIT(words)
#define FINISH(how)                                                                                \
    {                                                                                              \
        .kind = PS_EVENT_FINISH, .finish = PS_FINISH_##how                                         \
    }
#define SAY(words)                                                                                 \
    {                                                                                              \
        .kind = PS_EVENT_TEXT, SAID(words)                                                         \
    }
#define REFUSE(words)                                                                              \
    {                                                                                              \
        .kind = PS_EVENT_REFUSAL, SAID(words)                                                      \
    }

static const struct ps_event_tool f = {
    .id = PS_SLICE_INIT("c1"), .name = PS_SLICE_INIT("f"), .signature = PS_SLICE_INIT("sig")};
static const struct ps_event_tool g = {.id = PS_SLICE_INIT("c2"), .name = PS_SLICE_INIT("g")};
static const struct ps_event_thought signature = {.signature = PS_SLICE_INIT("sig")};
static const struct ps_event_thought hidden = {.redacted = PS_SLICE_INIT("red")};
static const struct ps_event_citation page = {
    .start = -1, .end = -1, .url = PS_SLICE_INIT("https://a/"), .title = PS_SLICE_INIT("A")};
static const struct ps_event_citation document = {
    .start = 0, .end = 2, .title = PS_SLICE_INIT("D"), .quote = PS_SLICE_INIT("q")};
static const struct ps_event_media image = {.media_type = PS_SLICE_INIT("image/png"),
                                            .data = PS_SLICE_INIT("AAAA")};
static const struct ps_event_media linked = {.url = PS_SLICE_INIT("https://a/b")};
static const struct ps_event_logprob top[] = {{PS_SLICE_INIT("a"), -0.5F},
                                              {PS_SLICE_INIT("b"), -1.5F}};

struct answer {
    struct ps_event events[12];
    const char *whole;
    const char *pieces[PIECES];
};

#define USAGE                                                                                      \
    "\"promptTokenCount\":9,\"candidatesTokenCount\":2,\"totalTokenCount\":14,"                    \
    "\"cachedContentTokenCount\":4,\"thoughtsTokenCount\":3"
#define CALLS                                                                                      \
    "{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"a\":1}},\"thoughtSignature\":"    \
    "\"sig\"},{\"functionCall\":{\"id\":\"c2\",\"name\":\"g\",\"args\":{}}}"
#define BROKEN_CALL                                                                                \
    "{\"functionCall\":{\"id\":\"c2\",\"name\":\"g\",\"args\":{\"INVALID_JSON\":\"{broken\"}}}"
#define LOGPROB(token, value) "{\"token\":\"" token "\",\"logProbability\":" value "}"
#define LOGPROBS(top, chosen)                                                                      \
    "\"logprobsResult\":{\"topCandidates\":[" top "],\"chosenCandidates\":[" chosen "]}"
#define TOP    "{\"candidates\":[" LOGPROB("a", "-0.5") "," LOGPROB("b", "-1.5") "]}"
#define IMAGE  "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}"
#define LINKED "{\"fileData\":{\"fileUri\":\"https://a/b\"}}"
#define SOURCES                                                                                    \
    "\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":\"https://a/\",\"title\":"      \
    "\"A\"}},{\"retrievedContext\":{\"title\":\"D\",\"text\":\"q\"}}]}"
#define BLOCKED                                                                                    \
    "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":7"   \
    ",\"totalTokenCount\":7}" TAIL

static const struct answer answers[] = {
    {{SAY("He\n"), SAY("llo"), {.kind = PS_EVENT_USAGE, COUNTS(9, 5, 3, 4)}, FINISH(STOP)},
     COUNTED(ENDS(TEXT("He\\nllo"), "STOP"), USAGE),
     {ANSWER(PART(TEXT("He\\n"))), ANSWER(PART(TEXT("llo"))),
      COUNTED(ENDS(TEXT(""), "STOP"), USAGE)}},
    {{{.kind = PS_EVENT_REASONING, SAID("th")},
      {.kind = PS_EVENT_REASONING, SAID("ink")},
      {.kind = PS_EVENT_REASONING, .thought = &signature},
      {.kind = PS_EVENT_REASONING, .block = 1, .thought = &hidden},
      SAY("x"),
      {.kind = PS_EVENT_TOOL_CALL, .block = 0, .tool = &f, SAID("{\"a\"")},
      {.kind = PS_EVENT_TOOL_CALL, .block = 1, .tool = &g},
      {.kind = PS_EVENT_TOOL_CALL, .block = 0, SAID(":1}")},
      FINISH(TOOL_CALLS)},
     ANSWER(ENDS(SIGNED("think", "sig") "," SIGNED("", "red") "," TEXT("x") "," CALLS, "STOP")),
     {ANSWER(PART(THOUGHT("th"))), ANSWER(PART(THOUGHT("ink"))), ANSWER(PART(SIGNED("", "sig"))),
      ANSWER(PART(SIGNED("", "red"))), ANSWER(PART(TEXT("x"))), ANSWER(ENDS(CALLS, "STOP"))}},
    {{{.kind = PS_EVENT_TOOL_CALL, .tool = &g, SAID("{broken")}, SAY("then"), FINISH(STOP)},
     ANSWER(ENDS(BROKEN_CALL "," TEXT("then"), "STOP")),
     {ANSWER(PART(BROKEN_CALL "," TEXT("then"))), ANSWER(ENDS(TEXT(""), "STOP"))}},
    {{{.kind = PS_EVENT_LOGPROBS,
       .logprob = {PS_SLICE_INIT("a"), -0.5F},
       .top = top,
       .top_count = 2},
      SAY("a"),
      {.kind = PS_EVENT_LOGPROBS, .logprob = {PS_SLICE_INIT("b"), -1.5F}},
      SAY("b"),
      FINISH(LENGTH)},
     ANSWER(
         ENDS_WITH(TEXT("ab"), "MAX_TOKENS",
                   "\"avgLogprobs\":-1.0," LOGPROBS(
                       TOP ",{\"candidates\":[]}", LOGPROB("a", "-0.5") "," LOGPROB("b", "-1.5")))),
     {ANSWER(SAYS(TEXT("a"), ",\"index\":0," LOGPROBS(TOP, LOGPROB("a", "-0.5")))),
      ANSWER(
          SAYS(TEXT("b"), ",\"index\":0," LOGPROBS("{\"candidates\":[]}", LOGPROB("b", "-1.5")))),
      ANSWER(ENDS_WITH(TEXT(""), "MAX_TOKENS", "\"avgLogprobs\":-1.0"))}},
    {{SAY("a"),
      {.kind = PS_EVENT_CITATION, .citation = &page},
      {.kind = PS_EVENT_CITATION, .citation = &document},
      {.kind = PS_EVENT_MEDIA, .media = &image},
      {.kind = PS_EVENT_MEDIA, .media = &linked, .index = 1},
      FINISH(OTHER)},
     ANSWER(ENDS_WITH(TEXT("a") "," IMAGE "," LINKED, "OTHER", SOURCES)),
     {ANSWER(PART(TEXT("a"))), ANSWER(PART(IMAGE)), ANSWER(PART(LINKED)),
      ANSWER(ENDS_WITH(TEXT(""), "OTHER", SOURCES))}},
    {{{.kind = PS_EVENT_TEXT, .choice = 1, SAID("a")},
      SAY("b"),
      {.kind = PS_EVENT_FINISH, .choice = 1, .finish = PS_FINISH_STOP},
      FINISH(LENGTH),
      {.kind = PS_EVENT_TEXT, .choice = 8, SAID("one too many")}},
     ANSWER(ENDS(TEXT("b"), "MAX_TOKENS") "," SAYS(TEXT("a"),
                                                   ",\"finishReason\":\"STOP\",\"index\":1")),
     {ANSWER(SAYS(TEXT("a"), ",\"index\":1")), ANSWER(PART(TEXT("b"))),
      ANSWER(ENDS(TEXT(""), "MAX_TOKENS") "," SAYS(TEXT(""),
                                                   ",\"finishReason\":\"STOP\",\"index\":1"))}},
    {{FINISH(CONTENT_FILTER), {.kind = PS_EVENT_USAGE, COUNTS(7, -1, -1, -1)}}, BLOCKED, {BLOCKED}},
    {{REFUSE("I ca"), REFUSE("nnot"), FINISH(STOP)},
     ANSWER(ENDS(TEXT("I cannot"), "SAFETY")),
     {ANSWER(PART(TEXT("I ca"))), ANSWER(PART(TEXT("nnot"))), ANSWER(ENDS(TEXT(""), "SAFETY"))}},
    {{SAY("so"), FINISH(CONTENT_FILTER)},
     ANSWER(ENDS(TEXT("so"), "SAFETY")),
     {ANSWER(PART(TEXT("so"))), ANSWER(ENDS(TEXT(""), "SAFETY"))}},
    {{FINISH(STOP)}, ANSWER(ENDS(TEXT(""), "STOP")), {ANSWER(ENDS(TEXT(""), "STOP"))}},
};

static size_t count_of(const struct answer *answer)
{
    size_t count = 0;

    while (count < 12 && answer->events[count].kind != PS_EVENT_START) {
        count++;
    }
    return count;
}

/* The pieces as a stream has them. */
static void join(const struct answer *answer, bool array, struct ps_buf *ret)
{
    for (size_t i = 0; i < PIECES && answer->pieces[i] != NULL; i++) {
        ps_buf_cstr(ret, !array ? "data: " : i == 0 ? "[" : ",\n");
        ps_buf_cstr(ret, answer->pieces[i]);
        ps_buf_cstr(ret, array ? "" : "\n\n");
    }
    ps_buf_cstr(ret, array ? "]" : "");
    ps_buf_byte(ret, '\0');
}

static void run_answer(const struct answer *answer, enum ps_writer_mode mode, unsigned shape)
{
    struct front front;
    struct ps_buf expected;

    ps_buf_init(&expected, OUT_BYTES);
    if (mode == PS_WRITER_WHOLE) {
        ps_buf_cstr(&expected, answer->whole);
        ps_buf_byte(&expected, '\0');
    } else {
        join(answer, shape == ARRAY, &expected);
    }
    front_init(&front, PS_OP_CHAT, mode, shape, OUT_BYTES);
    write_events(&front, answer->events, count_of(answer));
    expect(&front, expected.ptr);
    front_deinit(&front);
    ps_buf_deinit(&expected);
}

static void writes_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        run_answer(&answers[i], PS_WRITER_WHOLE, 0);
        run_answer(&answers[i], PS_WRITER_STREAM, 0);
        run_answer(&answers[i], PS_WRITER_STREAM, ARRAY);
    }
}

static void tells_the_type_of_its_streams(void **state)
{
    static const struct {
        enum ps_writer_mode mode;
        unsigned shape;
        const char *type;
    } rows[] = {{PS_WRITER_WHOLE, 0, "application/json"},
                {PS_WRITER_STREAM, 0, "text/event-stream; charset=utf-8"},
                {PS_WRITER_STREAM, ARRAY, "application/json"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct front front;

        front_init(&front, PS_OP_CHAT, rows[i].mode, rows[i].shape, OUT_BYTES);
        assert_string_equal(ps_writer_content_type(front.writer), rows[i].type);
        front_deinit(&front);
    }
}

/* ---- vectors and counts ---- */

static const float numbers[] = {0.5F, -1.5F};

static void writes_vectors(void **state)
{
    static const struct ps_event events[] = {
        {.kind = PS_EVENT_EMBEDDING, .index = 1, SAID("[1e-3, 2]")},
        {.kind = PS_EVENT_EMBEDDING, .index = 0, .vector = numbers, .dimensions = 2},
        {.kind = PS_EVENT_USAGE, COUNTS(4, -1, -1, -1)},
        {.kind = PS_EVENT_DONE},
    };
    struct front front;

    (void)state;
    front_init(&front, PS_OP_EMBED, PS_WRITER_WHOLE, BATCH, OUT_BYTES);
    write_events(&front, events, 4);
    expect(&front, "{\"embeddings\":[{\"values\":[0.5,-1.5]},{\"values\":[1e-3, 2]}],"
                   "\"usageMetadata\":{\"promptTokenCount\":4}}");
    front_deinit(&front);

    front_init(&front, PS_OP_EMBED, PS_WRITER_WHOLE, 0, OUT_BYTES);
    write_events(&front, events + 1, 1);
    expect(&front, "{\"embedding\":{\"values\":[0.5,-1.5]}}");
    front_deinit(&front);
}

static void writes_counts(void **state)
{
    static const struct ps_event events[] = {{.kind = PS_EVENT_USAGE, COUNTS(14, -1, -1, 4)},
                                             {.kind = PS_EVENT_DONE}};
    struct front front;

    (void)state;
    front_init(&front, PS_OP_COUNT_TOKENS, PS_WRITER_WHOLE, 0, OUT_BYTES);
    write_events(&front, events, 2);
    expect(&front, "{\"totalTokens\":14,\"cachedContentTokenCount\":4}");
    front_deinit(&front);
}

/* ---- what cannot be written ---- */

static void refuses_what_has_no_form(void **state)
{
    static const struct ps_event late[] = {{.kind = PS_EVENT_TOOL_CALL, .tool = &f, SAID("{")},
                                           SAY("a"),
                                           {.kind = PS_EVENT_TOOL_CALL, SAID("}")}};
    static const struct ps_event done[] = {{.kind = PS_EVENT_DONE}};
    struct front front;

    (void)state;
    front_init(&front, PS_OP_CHAT, PS_WRITER_STREAM, 0, OUT_BYTES);
    write_events(&front, late, 3);
    assert_int_equal(front.rc, -1);
    assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
    front_deinit(&front);
    for (size_t i = 0; i < 2; i++) {
        front_init(&front, i == 0 ? PS_OP_EMBED : PS_OP_COUNT_TOKENS, PS_WRITER_WHOLE, 0,
                   OUT_BYTES);
        write_events(&front, done, 1);
        assert_int_equal(front.rc, -1);
        front_deinit(&front);
    }
}

/* A stream holds nothing but what waits for its end. */
static void holds_no_more_than_it_may(void **state)
{
    static const struct ps_event text = SAY("0123456789");
    static const struct ps_event call = {
        .kind = PS_EVENT_TOOL_CALL, .tool = &f, SAID("0123456789")};
    static const struct {
        enum ps_writer_mode mode;
        const struct ps_event *event;
        bool ends;
    } rows[] = {{PS_WRITER_WHOLE, &text, true},
                {PS_WRITER_STREAM, &text, false},
                {PS_WRITER_STREAM, &call, true}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct front front;

        front_init(&front, PS_OP_CHAT, rows[i].mode, 0, 200);
        for (size_t j = 0; j < 100; j++) {
            write_events(&front, rows[i].event, 1);
        }
        assert_int_equal(front.rc, rows[i].ends ? -1 : 0);
        if (rows[i].ends) {
            assert_int_equal(front.fault.kind, PS_FAULT_UPSTREAM_BROKEN);
        }
        front_deinit(&front);
    }
}

#define CUT                                                                                        \
    "{\"error\":{\"code\":502,\"message\":\"It broke.\",\"status\":\"UNAVAILABLE\",\"details\":["  \
    "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"STREAM_INCOMPLETE\","    \
    "\"domain\":\"penstock\"}]}}"

static void ends_streams_that_break(void **state)
{
    static const struct ps_event text = SAY("a");
    static const struct {
        unsigned shape;
        size_t before;
        const char *expected;
    } rows[] = {
        {0, 0, "data: " CUT "\n\n"},
        {0, 1, "data: " ANSWER(PART(TEXT("a"))) "\n\ndata: " CUT "\n\n"},
        {ARRAY, 0, "[" CUT "]"},
        {ARRAY, 1, "[" ANSWER(PART(TEXT("a"))) ",\n" CUT "]"},
    };
    struct ps_fault fault = {.kind = PS_FAULT_NONE};

    (void)state;
    (void)ps_fault_set(&fault, PS_FAULT_STREAM_INCOMPLETE, NULL, "It broke.");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct front front;

        front_init(&front, PS_OP_CHAT, PS_WRITER_STREAM, rows[i].shape, OUT_BYTES);
        write_events(&front, &text, rows[i].before);
        assert_true(ps_writer_fail(front.writer, &fault, &front.out));
        expect_out(&front, rows[i].expected);
        front_deinit(&front);
    }
}

/* ---- errors and lists ---- */

#define INFO(reason)                                                                               \
    "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"" reason                 \
    "\",\"domain\":\"penstock\"}"
#define ERROR(code, word, details)                                                                 \
    "{\"error\":{\"code\":" code ",\"message\":\"No.\",\"status\":\"" word                         \
    "\",\"details\":[" details "]}}"

static void writes_errors(void **state)
{
    static const struct {
        enum ps_fault_kind kind;
        int64_t retry_ms;
        const char *param;
        const char *id;
        const char *expected;
    } rows[] = {
        {PS_FAULT_BAD_FIELD, 0, "contents[0]", "req_1",
         ERROR("400", "INVALID_ARGUMENT",
               INFO("INVALID_VALUE") ",{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\","
                                     "\"fieldViolations\":[{\"field\":\"contents[0]\","
                                     "\"description\":\"No.\"}]},{\"@type\":\"type.googleapis.com/"
                                     "google.rpc.RequestInfo\",\"requestId\":\"req_1\"}")},
        {PS_FAULT_UNAUTHORIZED, 0, "", "",
         ERROR("401", "UNAUTHENTICATED", INFO("INVALID_API_KEY"))},
        {PS_FAULT_FORBIDDEN, 0, "", "", ERROR("403", "PERMISSION_DENIED", INFO("FORBIDDEN"))},
        {PS_FAULT_MODEL_NOT_FOUND, 0, "model", "",
         ERROR("404", "NOT_FOUND", INFO("MODEL_NOT_FOUND"))},
        {PS_FAULT_METHOD_NOT_ALLOWED, 0, "", "",
         ERROR("405", "UNIMPLEMENTED", INFO("METHOD_NOT_ALLOWED"))},
        {PS_FAULT_BODY_TOO_LARGE, 0, "", "",
         ERROR("413", "INVALID_ARGUMENT", INFO("REQUEST_TOO_LARGE"))},
        {PS_FAULT_RATE_LIMITED, 7000, "", "",
         ERROR(
             "429", "RESOURCE_EXHAUSTED",
             INFO("RATE_LIMIT_EXCEEDED") ",{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\""
                                         ",\"retryDelay\":\"7s\"}")},
        {PS_FAULT_QUEUE_FULL, 1500, "", "",
         ERROR(
             "503", "UNAVAILABLE",
             INFO("UPSTREAM_QUEUE_FULL") ",{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\""
                                         ",\"retryDelay\":\"1.500s\"}")},
        {PS_FAULT_INTERNAL, 0, "", "", ERROR("500", "INTERNAL", INFO("INTERNAL_ERROR"))},
        {PS_FAULT_UPSTREAM_TIMEOUT, 0, "", "",
         ERROR("504", "DEADLINE_EXCEEDED", INFO("UPSTREAM_TIMEOUT"))},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_fault fault;
        struct ps_buf out;

        (void)ps_fault_set(&fault, rows[i].kind, rows[i].param, "No.");
        fault.retry_after_ms = rows[i].retry_ms;
        ps_buf_init(&out, OUT_BYTES);
        ps_dialect_write_fault(ps_dialect_of_family(PS_FAMILY_GEMINI), &fault,
                               ps_slice_cstr(rows[i].id), &out);
        ps_buf_byte(&out, '\0');
        assert_string_equal(out.ptr, rows[i].expected);
        ps_buf_deinit(&out);
    }
}

static void lists_models(void **state)
{
    const struct ps_dialect *dialect = ps_dialect_of_family(PS_FAMILY_GEMINI);
    const struct ps_model_info model = {.id = PS_SLICE_LIT("a/\"b\"")};
    struct ps_buf out;

    (void)state;
    ps_buf_init(&out, OUT_BYTES);
    ps_dialect_write_models_begin(dialect, &out);
    ps_dialect_write_model(dialect, &model, &out);
    ps_dialect_write_models_end(dialect, model.id, model.id, &out);
    ps_buf_byte(&out, '\0');
    assert_string_equal(out.ptr,
                        "{\"models\":[{\"name\":\"models/a/\\\"b\\\"\",\"displayName\":"
                        "\"a/\\\"b\\\"\",\"supportedGenerationMethods\":[\"generateContent\","
                        "\"streamGenerateContent\",\"countTokens\",\"embedContent\","
                        "\"batchEmbedContents\"]}]}");
    ps_buf_deinit(&out);
    assert_int_equal(ps_dialect_ping(dialect).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_answers),
        cmocka_unit_test(tells_the_type_of_its_streams),
        cmocka_unit_test(writes_vectors),
        cmocka_unit_test(writes_counts),
        cmocka_unit_test(refuses_what_has_no_form),
        cmocka_unit_test(holds_no_more_than_it_may),
        cmocka_unit_test(ends_streams_that_break),
        cmocka_unit_test(writes_errors),
        cmocka_unit_test(lists_models),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
