/* SPDX-License-Identifier: Apache-2.0 */
#include "answer_rig.h"

/*
 * Each answer is fed whole, byte by byte and cut at every byte, and must give the same events each
 * time. The log has one line per event; pieces of a whole answer count once. Where the bytes only
 * go by, those of all events together must be the answer itself, up to its end.
 */

#define LOG_BYTES 16384
#define SSE       "text/event-stream; charset=utf-8"
#define JSON      "application/json"

#define EVENT(name, json) "event: " name "\ndata: " json "\n\n"
#define START                                                                                      \
    EVENT("message_start",                                                                         \
          "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","        \
          "\"role\":\"assistant\",\"model\":\"m-1\",\"content\":[],\"stop_reason\":null,"          \
          "\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"cache_creation_input_tokens\":"  \
          "100,\"cache_read_input_tokens\":1000,\"output_tokens\":1}}}")
#define BLOCK(index, block)                                                                        \
    EVENT("content_block_start",                                                                   \
          "{\"type\":\"content_block_start\",\"index\":" #index ",\"content_block\":" block "}")
#define TEXT_BLOCK(index) BLOCK(index, "{\"type\":\"text\",\"text\":\"\"}")
#define DELTA(index, delta)                                                                        \
    EVENT("content_block_delta",                                                                   \
          "{\"type\":\"content_block_delta\",\"index\":" #index ",\"delta\":" delta "}")
#define TEXT(index, text) DELTA(index, "{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define ARGUMENTS(index, text)                                                                     \
    DELTA(index, "{\"type\":\"input_json_delta\",\"partial_json\":\"" text "\"}")
#define STOP(index)                                                                                \
    EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":" #index "}")
#define END(delta, usage)                                                                          \
    EVENT("message_delta", "{\"type\":\"message_delta\",\"delta\":" delta ",\"usage\":" usage "}")
#define DONE EVENT("message_stop", "{\"type\":\"message_stop\"}")
#define PING EVENT("ping", "{\"type\": \"ping\"}")

struct seen {
    struct rig_log log;
    char raw[LOG_BYTES];
    size_t raw_len;
    bool opaque_last;
    bool is_stream;
};

struct sample {
    enum ps_operation operation;
    bool fields;
    const char *type;
    const char *body;
    const char *expected;
    const char *dropped; /* end of the body that no raw holds */
};

static const char *const kinds[] = {
    [PS_EVENT_START] = "start",         [PS_EVENT_BLOCK_START] = "block",
    [PS_EVENT_BLOCK_STOP] = "stop",     [PS_EVENT_TEXT] = "text",
    [PS_EVENT_REASONING] = "reasoning", [PS_EVENT_REFUSAL] = "refusal",
    [PS_EVENT_TOOL_CALL] = "tool",      [PS_EVENT_CITATION] = "citation",
    [PS_EVENT_RESULT] = "result",       [PS_EVENT_USAGE] = "usage",
    [PS_EVENT_FINISH] = "finish",       [PS_EVENT_PING] = "ping",
    [PS_EVENT_OPAQUE] = "opaque",       [PS_EVENT_FAULT] = "fault",
    [PS_EVENT_DONE] = "done",
};

static void put_fields(struct seen *seen, const struct ps_event *event)
{
    const struct ps_usage *u = &event->usage;

    if (event->kind == PS_EVENT_START && event->start != NULL) {
        rig_put_text(&seen->log, "id=", event->start->id);
        rig_put_text(&seen->log, "model=", event->start->model);
    } else if (event->kind == PS_EVENT_TOOL_CALL && event->tool != NULL) {
        rig_put_text(&seen->log, "id=", event->tool->id);
        rig_put_text(&seen->log, "name=", event->tool->name);
    } else if (event->kind == PS_EVENT_REASONING && event->thought != NULL) {
        rig_put_text(&seen->log, "signature=", event->thought->signature);
        rig_put_text(&seen->log, "redacted=", event->thought->redacted);
    } else if (event->kind == PS_EVENT_CITATION && event->citation != NULL) {
        rig_put(&seen->log, " %d-%d", (int)event->citation->start, (int)event->citation->end);
        rig_put_text(&seen->log, "url=", event->citation->url);
        rig_put_text(&seen->log, "title=", event->citation->title);
        rig_put_text(&seen->log, "quote=", event->citation->quote);
    } else if (event->kind == PS_EVENT_USAGE) {
        rig_put(&seen->log, " %d,%d,%d,%d,%d", (int)u->input, (int)u->output, (int)u->cached,
                (int)u->cache_write, (int)u->reasoning);
    } else if (event->kind == PS_EVENT_FINISH) {
        rig_put(&seen->log, " %d %.*s", (int)event->finish, (int)event->finish_text.len,
                event->finish_text.ptr);
    } else if (event->kind == PS_EVENT_FAULT) {
        rig_put(&seen->log, " %s: %s", ps_fault_name(event->fault->kind), event->fault->message);
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct seen *seen = arg;
    bool line_feed = event->kind == PS_EVENT_PING && ps_slice_eq(event->raw, PS_SLICE_LIT("\n"));

    assert_true(event->raw.len < LOG_BYTES - seen->raw_len);
    if (event->raw.len > 0) {
        memcpy(seen->raw + seen->raw_len, event->raw.ptr, event->raw.len);
    }
    seen->raw_len += event->raw.len;
    if (line_feed || (event->kind == PS_EVENT_OPAQUE && seen->opaque_last && !seen->is_stream)) {
        return true;
    }
    seen->opaque_last = event->kind == PS_EVENT_OPAQUE;
    rig_put(&seen->log, "%s", kinds[event->kind]);
    if (event->block > 0) {
        rig_put(&seen->log, "[%u]", event->block);
    }
    put_fields(seen, event);
    rig_put_text(&seen->log, "=", event->text);
    rig_put(&seen->log, "\n");
    return true;
}

static void decode(const struct sample *sample, size_t at, bool bytes, struct seen *seen)
{
    struct rig rig;
    struct ps_decoder_options options = {
        .operation = sample->operation,
        .front = sample->fields ? PS_FAMILY_OPENAI : PS_FAMILY_ANTHROPIC,
        .stream = strcmp(sample->type, SSE) == 0,
        .fields = sample->fields,
        .content_type = ps_slice_cstr(sample->type),
        .event_bytes = 8192,
    };
    struct ps_decoder *decoder;
    enum ps_decode result;

    memset(seen, 0, sizeof(*seen));
    seen->is_stream = options.stream;
    rig_init(&rig);
    decoder = ps_decoder_new(ps_dialect_find("anthropic"), &options, &rig.arena, on_event, seen);
    assert_non_null(decoder);
    result =
        rig_decode(decoder, ps_slice_cstr(sample->body), &(struct cut){.at = at, .bytes = bytes});
    if (result == PS_DECODE_BROKEN) {
        assert_true(ps_decoder_fault(decoder)->message[0] != '\0');
        rig_put(&seen->log, "=%s\n", ps_fault_name(ps_decoder_fault(decoder)->kind));
    }
    ps_decoder_free(decoder);
    rig_deinit(&rig);
}

static void compare(const struct sample *sample, size_t at, const struct seen *seen)
{
    size_t dropped = sample->dropped != NULL ? strlen(sample->dropped) : 0;
    size_t expected = strlen(sample->body) - dropped;

    if (strcmp(seen->log.text, sample->expected) != 0) {
        fail_msg("%s\n(cut %zu) expected\n%s\nfound\n%s", sample->body, at, sample->expected,
                 seen->log.text);
    }
    if (!sample->fields && strchr(sample->expected, '=') == NULL) {
        assert_int_equal(seen->raw_len, expected);
        assert_memory_equal(seen->raw, sample->body, expected);
    }
}

static void run(const struct sample *samples, size_t count)
{
    static struct seen seen;

    for (size_t i = 0; i < count; i++) {
        decode(&samples[i], 0, true, &seen);
        compare(&samples[i], 1, &seen);
        for (size_t at = 0; at < strlen(samples[i].body); at++) {
            decode(&samples[i], at, false, &seen);
            compare(&samples[i], at, &seen);
        }
    }
}
#define RUN(samples) run(samples, sizeof(samples) / sizeof((samples)[0]))

/* ---- streams ---- */

#define CHAT_TEXT                                                                                  \
    START TEXT_BLOCK(0) PING TEXT(0, "Hi \\u00e4\\n") TEXT(0, "you") STOP(0)                       \
        END("{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}",                               \
            "{\"output_tokens\":15,\"output_tokens_details\":{\"thinking_tokens\":4}}") DONE

static void test_text(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, true, SSE, CHAT_TEXT,
         "start id=msg_1 model=m-1\nusage 1109,1,1000,100,-1\nblock\nping\ntext =Hi \xc3\xa4\n\n"
         "text =you\nstop\nusage 1109,15,1000,100,4\nfinish 1 end_turn\ndone\n",
         NULL},
        {PS_OP_CHAT, false, SSE, CHAT_TEXT PING,
         "start\nusage 1109,1,1000,100,-1\nblock\nping\ntext\ntext\nstop\n"
         "usage 1109,15,1000,100,4\nfinish 1 end_turn\ndone\n",
         PING},
        /* counts that come late replace the first; what stopped it */
        {PS_OP_CHAT, true, SSE,
         START TEXT_BLOCK(0) TEXT(0, "x") STOP(0)
             END("{\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"\\n\\nH:\"}",
                 "{\"input_tokens\":10,\"cache_read_input_tokens\":0,\"output_tokens\":3}") DONE,
         "start id=msg_1 model=m-1\nusage 1109,1,1000,100,-1\nblock\ntext =x\nstop\n"
         "usage 110,3,0,100,-1\nfinish 1 stop_sequence =\n\nH:\ndone\n",
         NULL},
        /* other white space than Anthropic's own, CRLF, an end without its empty line */
        {PS_OP_CHAT, false, SSE,
         "data: { \"type\" : \"content_block_delta\", \"index\": 0, \"delta\": { \"type\": "
         "\"text_delta\", \"text\": \"a\" } }\r\n\r\n"
         "data: {\"delta\":{\"stop_reason\":\"max_tokens\"},\"type\":\"message_delta\"}\r\n\r\n"
         "data: {\"type\":\"message_stop\"}",
         "text\nfinish 2 max_tokens\ndone\n", NULL},
    };

    (void)state;
    RUN(samples);
}

static void test_blocks(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, true, SSE,
         START BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
             DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
                 DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"s\\/g\"}") STOP(0)
                     BLOCK(1, "{\"type\":\"redacted_thinking\",\"data\":\"xyz\"}") STOP(1)
                         TEXT_BLOCK(2) TEXT(2, "ok") STOP(2)
                             BLOCK(3, "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\","
                                      "\"input\":{}}") ARGUMENTS(3, "") ARGUMENTS(3, "{\\\"a\\\":")
                                 ARGUMENTS(3, "1}") STOP(3)
                                     BLOCK(4, "{\"type\":\"tool_use\",\"id\":\"toolu_2\","
                                              "\"name\":\"g\",\"input\":{}}") STOP(4)
                                         END("{\"stop_reason\":\"tool_use\"}",
                                             "{\"output_tokens\":5}") DONE,
         "start id=msg_1 model=m-1\nusage 1109,1,1000,100,-1\nblock\nreasoning =hm\n"
         "reasoning signature=s/g\nstop\nreasoning[1] redacted=xyz\nstop\nblock\ntext[2] =ok\n"
         "stop\ntool id=toolu_1 name=f\nopaque\ntool ={\"a\":\ntool =1}\nstop\n"
         "tool[1] id=toolu_2 name=g\nstop\nusage 1109,5,1000,100,-1\nfinish 3 tool_use\ndone\n",
         NULL},
        /* arguments with the start, from servers that are not Anthropic's; what a provider's own
           tool does is not for others */
        {PS_OP_CHAT, true, SSE,
         BLOCK(0, "{\"type\":\"server_tool_use\",\"id\":\"srv\",\"name\":\"web_search\","
                  "\"input\":{}}") ARGUMENTS(0, "{}") STOP(0)
             BLOCK(1, "{\"type\":\"web_search_tool_result\",\"content\":[]}") STOP(1)
                 BLOCK(2, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":"
                          "1}}") ARGUMENTS(2, "{\\\"a\\\":1}") STOP(2)
                     END("{\"stop_reason\":\"pause_turn\"}", "{\"output_tokens\":5}") DONE,
         "block\nopaque\nstop\nblock\nstop\ntool id=t name=f ={\"a\":1}\nopaque\nstop\n"
         "usage -1,5,-1,-1,-1\nfinish 1 pause_turn\ndone\n",
         NULL},
        {PS_OP_CHAT, true, SSE,
         TEXT_BLOCK(0) TEXT(0, "so")
             DELTA(0, "{\"type\":\"citations_delta\",\"citation\":{\"type\":"
                      "\"web_search_result_location\",\"url\":\"https:\\/\\/a\",\"title\":\"A\","
                      "\"cited_text\":\"so it is\",\"encrypted_index\":\"E\"}}") STOP(0)
                 EVENT("news", "{\"type\":\"news\",\"x\":[1]}")
                     DELTA(0, "{\"type\":\"dream_delta\",\"dream\":\"z\"}")
                         END("{\"stop_reason\":\"later\"}", "{\"output_tokens\":5}") DONE,
         "block\ntext =so\ncitation -1--1 url=https://a title=A quote=so it is\nstop\nopaque\n"
         "opaque\nusage -1,5,-1,-1,-1\nfinish 5 later\ndone\n",
         NULL},
        {PS_OP_CHAT, true, SSE,
         START END("{\"stop_reason\":\"refusal\",\"stop_details\":{\"type\":\"refusal\","
                   "\"category\":\"x\",\"explanation\":\"I can't.\"}}",
                   "{\"output_tokens\":1}") DONE,
         "start id=msg_1 model=m-1\nusage 1109,1,1000,100,-1\nusage 1109,1,1000,100,-1\n"
         "refusal =I can't.\nfinish 4 refusal\ndone\n",
         NULL},
        /* going by: what commits and what does not */
        {PS_OP_CHAT, false, SSE,
         START BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
             DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}") TEXT(0, "")
                 BLOCK(1, "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}")
                     ARGUMENTS(1, "{}") BLOCK(2, "{\"type\":\"server_tool_use\"}")
                         END("{\"stop_reason\":\"model_context_window_exceeded\"}",
                             "{\"output_tokens\":5}") DONE,
         "start\nusage 1109,1,1000,100,-1\nblock\nreasoning\nopaque\ntool\ntool\ntool\n"
         "usage 1109,5,1000,100,-1\nfinish 2 model_context_window_exceeded\ndone\n",
         NULL},
    };

    (void)state;
    RUN(samples);
}

#define OVERLOADED                                                                                 \
    EVENT("error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"     \
                   "\"Overloaded\"}}")

static void test_broken_streams(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, false, SSE, START OVERLOADED,
         "start\nusage 1109,1,1000,100,-1\nfault upstream_overloaded: Overloaded\n", NULL},
        {PS_OP_CHAT, true, SSE, OVERLOADED, "fault upstream_overloaded: Overloaded\n", NULL},
        {PS_OP_CHAT, false, SSE, "event: error\ndata: nonsense\n\n",
         "fault upstream_error: The provider reported an error in its answer.\n", NULL},
        {PS_OP_CHAT, false, SSE,
         "data: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":"
         "\"invalid x-api-key\"}}",
         "fault upstream_auth: The provider did not accept the gateway's own credentials.\n",
         "data: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":"
         "\"invalid x-api-key\"}}"},
        {PS_OP_CHAT, false, SSE, START TEXT(0, "x"),
         "start\nusage 1109,1,1000,100,-1\ntext\n=stream_incomplete\n", NULL},
        {PS_OP_CHAT, false, SSE, TEXT(0, "x") DONE, "text\n=stream_incomplete\n", NULL},
        {PS_OP_CHAT, false, SSE, "", "=stream_incomplete\n", NULL},
        {PS_OP_CHAT, true, SSE, TEXT(0, "x") END("{\"stop_reason\":\"end_turn\"}", "{}"),
         "text =x\nfinish 1 end_turn\n=stream_incomplete\n", NULL},
        {PS_OP_CHAT, true, SSE, "data: {\"type\":\n\n", "=upstream_broken\n", NULL},
        {PS_OP_CHAT, false, SSE, "data: {\"type\":\n\n", "opaque\n=stream_incomplete\n", NULL},
    };

    (void)state;
    RUN(samples);
}

/* ---- whole answers ---- */

#define WHOLE(content, rest)                                                                       \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m-1\",\"content\":" \
    "[" content "]," rest "}"
#define USAGE                                                                                      \
    "\"usage\":{\"input_tokens\":9,\"cache_creation_input_tokens\":0,"                             \
    "\"cache_read_input_tokens\":1,\"cache_creation\":{\"ephemeral_5m_input_tokens\":0},"          \
    "\"output_tokens\":2,\"service_tier\":\"standard\"}"

static void test_whole(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, true, JSON,
         WHOLE("{\"type\":\"thinking\",\"thinking\":\"h\\nm\",\"signature\":\"sig\"},"
               "{\"type\":\"redacted_thinking\",\"data\":\"d\"},"
               "{\"type\":\"text\",\"text\":\"\xc3\xa4h \"},"
               "{\"type\":\"text\",\"text\":\"so\",\"citations\":[{\"type\":\"char_location\","
               "\"cited_text\":\"q\",\"document_title\":\"D\",\"document_index\":0}]},"
               "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web\",\"input\":{}},"
               "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"n\":1e2}},"
               "{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\"}",
               "\"stop_reason\":\"tool_use\",\"stop_sequence\":null," USAGE),
         "start id=msg_1 model=m-1\nreasoning signature=sig =h\nm\nreasoning[1] redacted=d\n"
         "text[2] =\xc3\xa4h \ntext[3] =so\ncitation 3-5 title=D quote=q\n"
         "tool id=toolu_1 name=f ={\"n\":1e2}\ntool[1] id=toolu_2 name=g ={}\n"
         "usage 10,2,1,0,-1\nfinish 3 tool_use\nresult\ndone\n",
         NULL},
        {PS_OP_CHAT, false, JSON,
         WHOLE("{\"type\":\"text\",\"text\":\"hi\"}",
               "\"stop_reason\":\"end_turn\",\"stop_sequence\":null," USAGE),
         "opaque\nresult\nusage 10,2,1,0,-1\nfinish 1 end_turn\ndone\n", NULL},
        {PS_OP_CHAT, true, JSON,
         WHOLE("", "\"stop_reason\":\"refusal\",\"stop_details\":{\"explanation\":\"No.\"}," USAGE),
         "start id=msg_1 model=m-1\nusage 10,2,1,0,-1\nrefusal =No.\nfinish 4 refusal\nresult\n"
         "done\n",
         NULL},
        {PS_OP_COUNT_TOKENS, false, JSON, "{\"input_tokens\":14}",
         "opaque\nresult\nusage 14,-1,-1,-1,-1\ndone\n", NULL},
        {PS_OP_COUNT_TOKENS, true, JSON, "{\"input_tokens\":14}",
         "usage 14,-1,-1,-1,-1\nresult\ndone\n", NULL},
        {PS_OP_COUNT_TOKENS, true, JSON, "{\"tokens\":14}", "=upstream_broken\n", NULL},
        {PS_OP_COUNT_TOKENS, true, JSON, "{\"input_tokens\":\"14\"}", "=upstream_broken\n", NULL},
        {PS_OP_CHAT, false, JSON,
         "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"},"
         "\"request_id\":\"req_1\"}",
         "opaque\nfault rate_limited: slow\n", NULL},
        {PS_OP_CHAT, true, JSON, "{\"error\":{\"message\":\"boom\"}}",
         "fault upstream_error: boom\n", NULL},
        {PS_OP_CHAT, true, JSON, "{\"type\":\"message\"}", "=upstream_broken\n", NULL},
        {PS_OP_CHAT, true, JSON, "[]", "=upstream_broken\n", NULL},
        {PS_OP_CHAT, false, JSON, "[]", "opaque\n=upstream_broken\n", NULL},
        {PS_OP_CHAT, true, JSON, "{\"content\":[", "=upstream_broken\n", NULL},
        {PS_OP_CHAT, true, JSON, "", "=upstream_broken\n", NULL},
    };

    (void)state;
    RUN(samples);
}

/* Values far apart, and one too long to be kept as it passes. */
static void test_long_whole(void **state)
{
    static char body[12000];
    static char text[9000];
    static const struct sample error = {
        .operation = PS_OP_CHAT,
        .type = JSON,
        .body = body,
        .expected = "opaque\nfault upstream_overloaded: The provider reported an error in its "
                    "answer.\n"};
    static const struct sample answer = {
        .operation = PS_OP_CHAT,
        .type = JSON,
        .body = body,
        .expected = "opaque\nresult\nusage 10,2,1,0,-1\nfinish 1 end_turn\ndone\n"};
    static struct seen seen;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    (void)snprintf(body, sizeof(body),
                   "{\"stop_reason\":\"end_turn\",\"content\":[{\"text\":\"%s\"}]," USAGE "}",
                   text);
    for (size_t at = 0; at < strlen(body); at += at < 60 || at > 8990 ? 1 : 97) {
        decode(&answer, at, false, &seen);
        compare(&answer, at, &seen);
    }
    decode(&answer, 0, true, &seen);
    compare(&answer, 1, &seen);
    text[2000] = '\0';
    (void)snprintf(body, sizeof(body),
                   "{\"type\":\"error\",\"error\":{\"message\":\"%s\",\"type\":"
                   "\"overloaded_error\"}}",
                   text);
    decode(&error, 0, true, &seen);
    compare(&error, 1, &seen);
}

/* Every allocation fails once: the answer is broken, and nothing leaks. */
static void test_short_memory(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, true, SSE, CHAT_TEXT, "", NULL},
        {PS_OP_CHAT, true, JSON,
         WHOLE("{\"type\":\"text\",\"text\":\"h\\u00e4\"}", "\"stop_reason\":\"end_turn\"," USAGE),
         "", NULL},
        {PS_OP_CHAT, false, JSON, WHOLE("", "\"stop_reason\":\"end_turn\"," USAGE), "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        for (int64_t after = 0; after < 12; after++) {
            struct ps_decoder_options options = {
                .operation = PS_OP_CHAT,
                .fields = samples[i].fields,
                .content_type = ps_slice_cstr(samples[i].type),
                .event_bytes = 8192,
            };
            static struct seen seen;
            struct rig rig;
            struct ps_decoder *decoder;
            enum ps_decode result = PS_DECODE_BROKEN;

            memset(&seen, 0, sizeof(seen));
            rig_init(&rig);
            (void)ps_mem_fail_after(after);
            decoder =
                ps_decoder_new(ps_dialect_find("anthropic"), &options, &rig.arena, on_event, &seen);
            if (decoder != NULL) {
                for (const char *at = samples[i].body; *at != '\0'; at++) {
                    result = ps_decoder_feed(decoder, at, 1);
                    if (result != PS_DECODE_OK) {
                        break;
                    }
                }
                if (result == PS_DECODE_OK) {
                    result = ps_decoder_finish(decoder);
                }
            }
            (void)ps_mem_fail_after(-1);
            assert_true(result == PS_DECODE_OK || decoder == NULL ||
                        ps_decoder_fault(decoder)->kind == PS_FAULT_NO_MEMORY ||
                        ps_decoder_fault(decoder)->kind == PS_FAULT_UPSTREAM_BROKEN);
            ps_decoder_free(decoder);
            rig_deinit(&rig);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),           cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_broken_streams), cmocka_unit_test(test_whole),
        cmocka_unit_test(test_long_whole),     cmocka_unit_test(test_short_memory),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
