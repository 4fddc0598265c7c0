/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"
#include "rig.h"
#include "signature.h"

/*
 * What models sign, through two turns: the answer of each family as each door gives it to its
 * client, and the client's next request for each family. The family that signed gets what it
 * signed, to the byte; no other sees any of it.
 */

#define OUT_BYTES 16384

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

/* The whole answer of a provider as a client gets it, NUL-terminated. */
static char *answer(const char *row, enum ps_family door, const char *body)
{
    static const struct ps_answer_info info;
    struct ps_request request = {.family = door, .operation = PS_OP_CHAT};
    const struct ps_decoder_options options = {
        .operation = PS_OP_CHAT,
        .front = door,
        .fields = true,
        .content_type = PS_SLICE_LIT("application/json"),
        .event_bytes = 8192,
    };
    const struct ps_writer_options writing = {
        .operation = PS_OP_CHAT,
        .mode = PS_WRITER_WHOLE,
        .max_bytes = OUT_BYTES,
        .request = &request,
        .id = PS_SLICE_LIT("gen_01"),
        .model = PS_SLICE_LIT("m"),
    };
    struct ps_decoder *decoder;
    struct front front;
    struct rig rig;
    char *text;

    rig_init(&rig);
    ps_buf_init(&front.out, 2 * OUT_BYTES);
    front.writer = ps_writer_new(ps_dialect_of_family(door), &writing, &rig.arena);
    decoder = ps_decoder_new(ps_dialect_find(row), &options, &rig.arena, write_event, &front);
    assert_non_null(front.writer);
    assert_non_null(decoder);
    assert_int_equal(ps_decoder_feed(decoder, body, strlen(body)), PS_DECODE_OK);
    assert_int_equal(ps_decoder_finish(decoder), PS_DECODE_OK);
    ps_writer_end(front.writer, &info, &front.out);
    ps_buf_byte(&front.out, '\0');
    text = strdup(front.out.ptr);
    assert_non_null(text);
    ps_decoder_free(decoder);
    ps_writer_free(front.writer);
    ps_buf_deinit(&front.out);
    rig_deinit(&rig);
    return text;
}

#define GEMINI(parts)                                                                              \
    "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts                          \
    "]},\"finishReason\":\"STOP\"}]}"
#define GEMINI_SAID                                                                                \
    "{\"text\":\"hm\",\"thought\":true},{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\","          \
    "\"args\":{}},\"thoughtSignature\":\"Zw+/\"}"
#define ANTHROPIC_SAID                                                                             \
    "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"YQ+/\"},"                          \
    "{\"type\":\"redacted_thinking\",\"data\":\"YR+/\"},"                                          \
    "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}}"
#define ANTHROPIC(content)                                                                         \
    "{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":"       \
    "[" content                                                                                    \
    "],\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}"
#define OPENAI_SAID                                                                                \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"            \
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"},\"extra_content\":"           \
    "{\"google\":{\"thought_signature\":\"bw+/\"}}}]}"
#define OPENAI(message)                                                                            \
    "{\"choices\":[{\"index\":0,\"message\":" message ",\"finish_reason\":\"tool_calls\"}]}"

/* "penstock.anthropic.s.YQ+/", "…r.YR+/" and "penstock.openai.c.bw+/" as base64 */
#define ANTHROPIC_BYTES "cGVuc3RvY2suYW50aHJvcGljLnMuWVErLw=="
#define HIDDEN_BYTES    "cGVuc3RvY2suYW50aHJvcGljLnIuWVIrLw=="
#define OPENAI_BYTES    "cGVuc3RvY2sub3BlbmFpLmMuYncrLw=="

struct said {
    const char *row;
    const char *body;
    enum ps_family door;
    const char *shown[2]; /* to the client */
};

static void test_shown(void **state)
{
    static const struct said rows[] = {
        {"gemini",
         GEMINI(GEMINI_SAID),
         PS_FAMILY_OPENAI,
         {"\"extra_content\":{\"google\":{\"thought_signature\":\"penstock.gemini.c.Zw+/\"}}"}},
        {"gemini",
         GEMINI(GEMINI_SAID),
         PS_FAMILY_ANTHROPIC,
         {"{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"penstock.none.s.\"},"
          "{\"type\":\"redacted_thinking\",\"data\":\"penstock.gemini.c.Zw+/\"},"
          "{\"type\":\"tool_use\",\"id\":\"c1\""}},
        {"gemini",
         GEMINI(GEMINI_SAID),
         PS_FAMILY_RESPONSES,
         {"\"encrypted_content\":\"penstock.gemini.c.Zw+/\""}},
        {"anthropic",
         ANTHROPIC(ANTHROPIC_SAID),
         PS_FAMILY_OPENAI,
         {"\"thinking\":\"hm\",\"signature\":\"penstock.anthropic.s.YQ+/\"}",
          "{\"type\":\"redacted_thinking\",\"data\":\"penstock.anthropic.r.YR+/\"}"}},
        {"anthropic",
         ANTHROPIC(ANTHROPIC_SAID),
         PS_FAMILY_RESPONSES,
         {"\"encrypted_content\":\"penstock.anthropic.s.YQ+/\"",
          "\"encrypted_content\":\"penstock.anthropic.r.YR+/\""}},
        {"anthropic",
         ANTHROPIC(ANTHROPIC_SAID),
         PS_FAMILY_ANTHROPIC,
         {"\"signature\":\"YQ+/\"", "\"data\":\"YR+/\""}},
        {"openai",
         OPENAI(OPENAI_SAID),
         PS_FAMILY_ANTHROPIC,
         {"{\"type\":\"redacted_thinking\",\"data\":\"penstock.openai.c.bw+/\"},{\"type\":"
          "\"tool_use\""}},
        {"openai", OPENAI(OPENAI_SAID), PS_FAMILY_OPENAI, {"\"thought_signature\":\"bw+/\""}},
        {"anthropic",
         ANTHROPIC(ANTHROPIC_SAID),
         PS_FAMILY_GEMINI,
         {"\"thoughtSignature\":\"" ANTHROPIC_BYTES "\"",
          "\"thoughtSignature\":\"" HIDDEN_BYTES "\""}},
        {"openai",
         OPENAI(OPENAI_SAID),
         PS_FAMILY_GEMINI,
         {"\"thoughtSignature\":\"" OPENAI_BYTES "\""}},
        {"openai",
         OPENAI(OPENAI_SAID),
         PS_FAMILY_RESPONSES,
         {"\"encrypted_content\":\"penstock.openai.c.bw+/\""}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = answer(rows[i].row, rows[i].door, rows[i].body);

        for (size_t j = 0; j < 2 && rows[i].shown[j] != NULL; j++) {
            if (strstr(text, rows[i].shown[j]) == NULL) {
                fail_msg("%s is not in %s", rows[i].shown[j], text);
            }
        }
        free(text);
    }
}

/* ---- the next turn ---- */

static char *ask(enum ps_family door, const char *to, const char *model, const char *body)
{
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = ps_slice_cstr(model)};
    struct ps_encoded encoded;
    struct rig rig;
    char *text;

    rig_init(&rig);
    rig.request.family = door;
    rig.request.operation = PS_OP_CHAT;
    rig.request.content_type = PS_SLICE_LIT("application/json");
    if (rig_read(&rig, &reading, ps_slice_cstr(body), &(struct cut){.shift = 3}) != 0 ||
        ps_encode_translate(ps_dialect_find(to), &rig.request, &options, &rig.arena, &encoded,
                            &rig.fault) != 0) {
        fail_msg("%s: %s", body, rig.fault.message);
    }
    text = rig_join(&encoded);
    rig_deinit(&rig);
    return text;
}

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define CHAT(thoughts, extra)                                                                      \
    "{\"model\":\"m\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":null" thoughts    \
    ",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","          \
    "\"arguments\":\"{}\"}" extra "}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":"    \
    "\"r\"}]}"
#define BLOCKS(thought, hidden)                                                                    \
    ",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"" thought    \
    "\"},{\"type\":\"redacted_thinking\",\"data\":\"" hidden "\"}]"
#define EXTRA(signature) ",\"extra_content\":{\"google\":{\"thought_signature\":\"" signature "\"}}"
#define MESSAGES(blocks)                                                                           \
    "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER                                        \
    ",{\"role\":\"assistant\",\"content\":[" blocks                                                \
    "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\","      \
    "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"r\"}]}]}"
#define THOUGHT(signature)                                                                         \
    "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"" signature "\"},"
#define HIDDEN(data) "{\"type\":\"redacted_thinking\",\"data\":\"" data "\"},"
#define RESPONSES(items)                                                                           \
    "{\"model\":\"m\",\"input\":[" USER "," items                                                  \
    "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"         \
    "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"r\"}]}"
#define SUMMED(text, hidden)                                                                       \
    "{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[" text "],\"encrypted_content\":\"" hidden \
    "\"},"
#define SUMMARY "{\"type\":\"summary_text\",\"text\":\"hm\"}"

#define CONTENTS(parts)                                                                            \
    "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\","        \
    "\"parts\":[" parts "{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{}}}]},{"        \
                        "\"role\":\"user\",\"parts\":["                                            \
    "{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\",\"response\":{\"output\":\"r\"}}}]}]}"
#define THOUGHT_PART(text, signature)                                                              \
    "{\"text\":\"" text "\",\"thought\":true,\"thoughtSignature\":\"" signature "\"},"
#define CALLED(signature)                                                                          \
    "{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\",\"args\":{}}," \
    "\"thoughtSignature\":\"" signature "\"}]}"
#define LOST "skip_thought_signature_validator"
#define USED "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}}]}"
#define TURN "{\"role\":\"assistant\",\"content\":["
#define CALLS(extra)                                                                               \
    "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","           \
    "\"arguments\":\"{}\"}" extra "}]"

struct turn {
    enum ps_family door;
    const char *body;
    const char *to;
    const char *expected; /* a part of the body; nothing else of it has a signature */
};

static const struct turn turns[] = {
    /* Gemini's calls */
    {PS_FAMILY_OPENAI, CHAT("", EXTRA("penstock.gemini.c.Zw+/")), "gemini", CALLED("Zw+/")},
    {PS_FAMILY_ANTHROPIC, MESSAGES(THOUGHT("penstock.none.s.") HIDDEN("penstock.gemini.c.Zw+/")),
     "gemini", CALLED("Zw+/")},
    {PS_FAMILY_ANTHROPIC, MESSAGES(HIDDEN("penstock.gemini.c.Zw\\/\\u002b")), "gemini",
     CALLED("Zw\\/\\u002b")},
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED("", "penstock.gemini.c.Zw+/")), "gemini",
     CALLED("Zw+/")},
    {PS_FAMILY_OPENAI, CHAT("", EXTRA("penstock.gemini.c.Zw+/")), "anthropic", TURN USED},
    {PS_FAMILY_ANTHROPIC, MESSAGES(THOUGHT("penstock.none.s.") HIDDEN("penstock.gemini.c.Zw+/")),
     "anthropic", TURN USED},
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED("", "penstock.gemini.c.Zw+/")), "anthropic", TURN USED},
    {PS_FAMILY_ANTHROPIC, MESSAGES(HIDDEN("penstock.gemini.c.Zw+/")), "openai", CALLS("")},
    {PS_FAMILY_OPENAI, CHAT("", EXTRA("penstock.gemini.c.Zw+/")), "openai", CALLS("")},
    {PS_FAMILY_OPENAI, CHAT("", EXTRA("penstock.gemini.c.Zw+/")), "cohere", CALLS("")},
    {PS_FAMILY_OPENAI, CHAT("", EXTRA("penstock.gemini.c.Zw+/")), "ollama", "\"f\""},
    /* Google's own endpoint in OpenAI's shape gives the same without a tag */
    {PS_FAMILY_OPENAI, CHAT("", EXTRA("Zw+/")), "gemini", CALLED("Zw+/")},
    /* Anthropic's thoughts */
    {PS_FAMILY_OPENAI, CHAT(BLOCKS("penstock.anthropic.s.YQ+/", "penstock.anthropic.r.YR+/"), ""),
     "anthropic", TURN THOUGHT("YQ+/") HIDDEN("YR+/") USED},
    {PS_FAMILY_RESPONSES,
     RESPONSES(SUMMED(SUMMARY, "penstock.anthropic.s.YQ+/")
                   SUMMED("", "penstock.anthropic.r.YR+/")),
     "anthropic", TURN THOUGHT("YQ+/") HIDDEN("YR+/") USED},
    /* one that was not to be shown, at a door with one place for both */
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED("", "penstock.anthropic.s.YQ+/")), "anthropic",
     TURN "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"YQ+/\"}," USED},
    {PS_FAMILY_ANTHROPIC, MESSAGES(THOUGHT("YQ+/") HIDDEN("YR+/")), "anthropic",
     TURN THOUGHT("YQ+/") HIDDEN("YR+/") USED},
    {PS_FAMILY_OPENAI, CHAT(BLOCKS("penstock.anthropic.s.YQ+/", "penstock.anthropic.r.YR+/"), ""),
     "gemini", CALLED(LOST)},
    {PS_FAMILY_ANTHROPIC, MESSAGES(THOUGHT("YQ+/") HIDDEN("YR+/")), "gemini", CALLED(LOST)},
    {PS_FAMILY_ANTHROPIC, MESSAGES(THOUGHT("YQ+/") HIDDEN("YR+/")), "openai", CALLS("")},
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED(SUMMARY, "penstock.anthropic.s.YQ+/")), "gemini",
     CALLED(LOST)},
    /* without a tag: of the door's family, whatever it looks like */
    {PS_FAMILY_OPENAI, CHAT(BLOCKS("YQ+/", "YR+/"), ""), "anthropic", TURN USED},
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED(SUMMARY, "gAAA+/")), "anthropic", TURN USED},
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED(SUMMARY, "gAAA+/")), "gemini", CALLED(LOST)},
    /* OpenAI's, which others behind that API make */
    {PS_FAMILY_ANTHROPIC, MESSAGES(HIDDEN("penstock.openai.c.bw+/")), "openai",
     CALLS(EXTRA("bw+/"))},
    {PS_FAMILY_RESPONSES, RESPONSES(SUMMED("", "penstock.openai.c.bw+/")), "openai",
     CALLS(EXTRA("bw+/"))},
    {PS_FAMILY_ANTHROPIC, MESSAGES(HIDDEN("penstock.openai.c.bw+/")), "gemini", CALLED(LOST)},
    /* Google's clients, which keep bytes */
    {PS_FAMILY_GEMINI, CONTENTS(THOUGHT_PART("hm", ANTHROPIC_BYTES) THOUGHT_PART("", HIDDEN_BYTES)),
     "anthropic", TURN THOUGHT("YQ+/") HIDDEN("YR+/") USED},
    {PS_FAMILY_GEMINI, CONTENTS(THOUGHT_PART("hm", ANTHROPIC_BYTES)), "openai", CALLS("")},
    {PS_FAMILY_GEMINI, CONTENTS(THOUGHT_PART("hm", "Zw+/")), "anthropic", TURN USED},
    /* tags that are none */
    {PS_FAMILY_OPENAI, CHAT(BLOCKS("penstock.anthropic.x.YQ+/", "penstock."), ""), "anthropic",
     TURN USED},
    {PS_FAMILY_OPENAI, CHAT(BLOCKS("penstock..s.YQ+/", "penstock.anthropic.r."), ""), "anthropic",
     TURN USED},
};

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;

    for (text = strstr(text, what); text != NULL; text = strstr(text + 1, what)) {
        count++;
    }
    return count;
}

static void test_given_back(void **state)
{
    static const char *const marks[] = {"+/", "penstock"};

    (void)state;
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
        const char *model = strcmp(turns[i].to, "gemini") == 0 ? "gemini-3-pro" : "m";
        char *text = ask(turns[i].door, turns[i].to, model, turns[i].body);

        if (strstr(text, turns[i].expected) == NULL) {
            fail_msg("%s\nis not in %s", turns[i].expected, text);
        }
        for (size_t j = 0; j < 2; j++) {
            if (count_of(text, marks[j]) != count_of(turns[i].expected, marks[j])) {
                fail_msg("there is more in %s", text);
            }
        }
        free(text);
    }
}

/* A turn that went on without its thoughts goes on without thinking: Anthropic refuses it else. */
static void test_thinking_goes_on(void **state)
{
    static const char asked[] = "\"reasoning_effort\":\"high\",\"reasoning\":null,\"thinking\":"
                                "{\"type\":\"enabled\"},\"messages\"";
    static const struct {
        const char *body;
        bool thinks;
    } rows[] = {
        {CHAT(BLOCKS("penstock.anthropic.s.YQ+/", "penstock.anthropic.r.YR+/"), ""), true},
        {CHAT(BLOCKS("penstock.none.s.", "penstock.gemini.r.YR+/"), ""), false},
        {CHAT("", EXTRA("penstock.gemini.c.Zw+/")), false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[2048];
        const char *at = strstr(rows[i].body, "\"messages\"");
        char *text;

        (void)snprintf(body, sizeof(body), "%.*s%s%s", (int)(at - rows[i].body), rows[i].body,
                       asked, at + strlen("\"messages\""));
        text = ask(PS_FAMILY_OPENAI, "anthropic", "m", body);
        if ((strstr(text, "\"type\":\"adaptive\"") != NULL) != rows[i].thinks) {
            fail_msg("thinks: %d expected: %s", rows[i].thinks, text);
        }
        free(text);
    }
}

/* ---- relayed to Anthropic's API ---- */

#define OTHER(text)                                                                                \
    "{\"signature\":\"penstock.none.s.\",\"thinking\":\"" text "\",\"type\":\"thinking\"}"
#define CALLED_BEFORE "{ \"type\":\"redacted_thinking\",\"data\":\"penstock.gemini.c.Zw==\" }"
#define OWN           "{\"type\":\"thinking\",\"thinking\":\"x\",\"signature\":\"YQ==\"}"
#define TEXT          "{\"type\":\"text\",\"text\":\"\\\"penstock.gemini.c.\"}"
#define SAID(blocks)  "{\"role\":\"assistant\", \"content\" : [" blocks "]}"
#define BODY(model, messages)                                                                      \
    "{\"model\":\"" model "\",\"max_tokens\":9,\"messages\": [" messages " ]}"
#define BEHIND(model, messages)                                                                    \
    "{\"messages\":[" messages "],\"max_tokens\":9,\"model\":\"" model "\" }"

/* Every byte stays but those of other models' thoughts. */
static void test_cut_where_relayed(void **state)
{
    static const char *const rows[][2] = {
        {BODY("a", USER "," SAID(OWN "," TEXT)), BODY("m", USER "," SAID(OWN "," TEXT))},
        {BODY("a", USER "," SAID(OTHER("a") " , " TEXT)), BODY("m", USER "," SAID(TEXT))},
        {BODY("a", USER " , " SAID(OTHER("a") "," CALLED_BEFORE "," OWN "," TEXT)),
         BODY("m", USER " , " SAID(OWN "," TEXT))},
        {BEHIND("a", USER "," SAID(OWN " ," OTHER("a") "\n"
                                                       "," CALLED_BEFORE ", " TEXT)),
         BEHIND("m", USER "," SAID(OWN ", " TEXT))},
        {BEHIND("a", USER "," SAID(TEXT "," CALLED_BEFORE " ") "," USER),
         BEHIND("m", USER "," SAID(TEXT " ") "," USER)},
        {BODY("a",
              USER "," SAID(OTHER("a") "," CALLED_BEFORE) ", " USER "," SAID(OTHER("b") "," TEXT)),
         BODY("m", USER ", " USER "," SAID(TEXT))},
        {BODY("a", SAID(OTHER("a")) " , " USER), BODY("m", USER)},
        {BODY("a", USER "," SAID("")), BODY("m", USER "," SAID(""))},
        {BODY("m", USER "," SAID(OTHER("a") "," TEXT)), BODY("m", USER "," SAID(TEXT))},
        /* not where it means anything */
        {BODY("a", "{\"role\":\"user\",\"content\":\"penstock.none.s.\"}"),
         BODY("m", "{\"role\":\"user\",\"content\":\"penstock.none.s.\"}")},
    };
    const struct ps_reader_options reading = {.operation = PS_OP_CHAT};
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("m")};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t shift = 0; shift <= strlen(rows[i][0]); shift++) {
            struct ps_encoded encoded;
            struct rig rig;
            char *text;

            rig_init(&rig);
            rig.request.family = PS_FAMILY_ANTHROPIC;
            rig.request.operation = PS_OP_CHAT;
            if (rig_read(&rig, &reading, ps_slice_cstr(rows[i][0]),
                         &(struct cut){.shift = shift}) != 0 ||
                ps_dialect_encode(ps_dialect_find("anthropic"), &rig.request, &options, &rig.arena,
                                  &encoded, &rig.fault) != 0) {
                fail_msg("%s: %s", rows[i][0], rig.fault.message);
            }
            assert_true(encoded.relayed);
            text = rig_join(&encoded);
            assert_string_equal(text + strspn(text, " "), rows[i][1]);
            free(text);
            rig_deinit(&rig);
        }
    }
}

/* ---- clients that keep bytes ---- */

static int note(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                struct ps_fault *ret_fault)
{
    struct ps_slice signature = event->kind == PS_EVENT_TOOL_CALL  ? event->tool->signature
                                : event->thought->redacted.len > 0 ? event->thought->redacted
                                                                   : event->thought->signature;

    (void)writer;
    (void)ret_fault;
    ps_buf_slice(out, signature);
    return 0;
}

/* A door of Gemini's family: what it shows is base64, whatever was signed, and is found again in
 * whichever alphabet a client writes it. */
static void test_kept_as_bytes(void **state)
{
    static const struct ps_dialect door = {
        .name = "gemini", .family = PS_FAMILY_GEMINI, .writer_event = note};
    static const char *const texts[] = {"YQ+/", "a", "ab", "\xc3\xa4\"\\ ~~~?>?>?>", "x.y"};
    struct ps_writer writer = {.dialect = &door};
    struct ps_request request = {.family = PS_FAMILY_GEMINI};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct ps_event_thought thought = {.signature = ps_slice_cstr(texts[i])};
        const struct ps_event event = {
            .kind = PS_EVENT_REASONING, .maker = "anthropic", .thought = &thought};

        for (int spelling = 0; spelling < 3; spelling++) {
            struct ps_buf out;
            struct ps_buf raw;
            struct ps_buf expected;
            struct rig rig;
            struct ps_encode encode = {.request = &request};
            struct ps_neutral_reasoning reasoning = {.id = PS_SLICE_NONE};
            struct ps_signed back;

            rig_init(&rig);
            ps_buf_init(&out, 4096);
            ps_buf_init(&raw, 4096);
            ps_buf_init(&expected, 4096);
            assert_int_equal(ps_signature_write(&writer, &event, &out, &rig.fault), 0);
            assert_true(ps_base64_is(ps_buf_view(&out)));
            for (size_t j = 0; j < out.len && spelling > 0; j++) {
                out.ptr[j] = out.ptr[j] == '+' ? '-' : out.ptr[j] == '/' ? '_' : out.ptr[j];
            }
            while (spelling == 2 && out.ptr[out.len - 1] == '=') {
                out.len--;
            }
            ps_buf_json(&raw, ps_buf_view(&out));
            ps_buf_json(&expected, thought.signature);
            reasoning.signature = ps_buf_view(&raw);
            encode.arena = &rig.arena;
            encode.dialect = ps_dialect_find("anthropic");
            back = ps_encode_thought(&encode, &reasoning);
            assert_true(ps_slice_eq(back.signature, ps_buf_view(&expected)));
            assert_int_equal(back.redacted.len, 0);
            encode.dialect = ps_dialect_find("gemini");
            assert_false(ps_encode_is_signed(&encode, &reasoning));
            ps_buf_deinit(&expected);
            ps_buf_deinit(&raw);
            ps_buf_deinit(&out);
            rig_deinit(&rig);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_thinking_goes_on),
        cmocka_unit_test(test_cut_where_relayed),
        cmocka_unit_test(test_kept_as_bytes),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
