/* SPDX-License-Identifier: Apache-2.0 */
#include "answer_rig.h"

/*
 * Each answer is fed whole, byte by byte and cut at every byte, and must give the same events each
 * time. A log of them has one word per event; pieces of a whole answer count once. The raw bytes of
 * all events together must be the answer itself, up to its end, less what is withheld.
 */

#define LOG_BYTES 8192
#define SSE       "text/event-stream; charset=utf-8"
#define JSON      "application/json"

struct seen {
    char log[LOG_BYTES];
    size_t log_len;
    char raw[LOG_BYTES];
    size_t raw_len;
    char withheld[LOG_BYTES];
    size_t withheld_len;
    int events;
    int stop_after; /* 0: never */
    bool opaque_last;
    bool events_apart; /* a stream: each opaque event counts */
};

struct sample {
    enum ps_operation operation;
    bool stream;
    bool fields;
    bool withhold;
    const char *content_type;
    const char *body;
    const char *expected;
    const char *dropped; /* end of the body that no raw holds; NULL: nothing is dropped */
};

static void put(char *to, size_t *len, const char *ptr, size_t count)
{
    assert_true(count < LOG_BYTES - *len);
    if (count > 0) {
        memcpy(to + *len, ptr, count);
    }
    *len += count;
    to[*len] = '\0';
}

static const char *const kinds[] = {
    [PS_EVENT_START] = "start",
    [PS_EVENT_BLOCK_START] = "block_start",
    [PS_EVENT_BLOCK_STOP] = "block_stop",
    [PS_EVENT_TEXT] = "text",
    [PS_EVENT_REASONING] = "reasoning",
    [PS_EVENT_REFUSAL] = "refusal",
    [PS_EVENT_TOOL_CALL] = "tool",
    [PS_EVENT_CITATION] = "citation",
    [PS_EVENT_LOGPROBS] = "logprobs",
    [PS_EVENT_EMBEDDING] = "embedding",
    [PS_EVENT_SCORE] = "score",
    [PS_EVENT_MEDIA] = "media",
    [PS_EVENT_RESULT] = "result",
    [PS_EVENT_USAGE] = "usage",
    [PS_EVENT_FINISH] = "finish",
    [PS_EVENT_PING] = "ping",
    [PS_EVENT_OPAQUE] = "opaque",
    [PS_EVENT_FAULT] = "fault",
    [PS_EVENT_DONE] = "done",
};

static void log_event(struct seen *seen, const struct ps_event *event)
{
    char text[512] = "";
    int len =
        snprintf(text, sizeof(text), "%s%s", seen->log_len > 0 ? " " : "", kinds[event->kind]);

    if (event->choice > 0) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, ":%u", event->choice);
    }
    if (event->kind == PS_EVENT_TOOL_CALL && event->tool != NULL) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "#%u%s[%.*s %.*s]", event->block,
                        event->tool->custom ? "*" : "", (int)event->tool->id.len,
                        event->tool->id.ptr, (int)event->tool->name.len, event->tool->name.ptr);
        len += snprintf(text + len, sizeof(text) - (size_t)len, "(%.*s)", (int)event->text.len,
                        event->text.ptr);
    } else if (event->kind == PS_EVENT_CITATION) {
        const struct ps_event_citation *c = event->citation;

        len += snprintf(text + len, sizeof(text) - (size_t)len, "[%lld %lld %.*s %.*s]",
                        (long long)c->start, (long long)c->end, (int)c->url.len, c->url.ptr,
                        (int)c->title.len, c->title.ptr);
    } else if (event->kind == PS_EVENT_SCORE) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "[%u %.*s %.*s]", event->index,
                        (int)event->score->number.len, event->score->number.ptr,
                        (int)event->score->document.len, event->score->document.ptr);
    } else if (event->text.ptr != NULL) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "(%.*s)", (int)event->text.len,
                        event->text.ptr);
    }
    if (event->kind == PS_EVENT_FINISH) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "(%d %.*s)", (int)event->finish,
                        (int)event->finish_text.len, event->finish_text.ptr);
    } else if (event->kind == PS_EVENT_USAGE) {
        const struct ps_usage *u = &event->usage;

        len += snprintf(text + len, sizeof(text) - (size_t)len, "(%lld,%lld,%lld,%lld,%lld",
                        (long long)u->input, (long long)u->output, (long long)u->total,
                        (long long)u->cached, (long long)u->reasoning);
        len += u->cache_write < 0 ? snprintf(text + len, sizeof(text) - (size_t)len, ")")
                                  : snprintf(text + len, sizeof(text) - (size_t)len, ",%lld)",
                                             (long long)u->cache_write);
    } else if (event->kind == PS_EVENT_FAULT) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "(%s: %s)",
                        ps_fault_name(event->fault->kind), event->fault->message);
    }
    if (event->withheld) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "!");
    }
    put(seen->log, &seen->log_len, text, (size_t)len);
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct seen *seen = arg;
    bool line_feed = event->kind == PS_EVENT_PING && ps_slice_eq(event->raw, PS_SLICE_LIT("\n"));

    if (event->withheld) {
        put(seen->withheld, &seen->withheld_len, event->raw.ptr, event->raw.len);
    } else {
        put(seen->raw, &seen->raw_len, event->raw.ptr, event->raw.len);
    }
    if (line_feed || (event->kind == PS_EVENT_OPAQUE && seen->opaque_last && !seen->events_apart)) {
        return true; /* half of a CRLF that was cut; one more piece of a whole answer */
    }
    seen->opaque_last = event->kind == PS_EVENT_OPAQUE;
    log_event(seen, event);
    seen->events++;
    return seen->stop_after == 0 || seen->events < seen->stop_after;
}

static void decode(const struct sample *sample, size_t at, bool bytes, int stop_after,
                   struct seen *seen)
{
    struct rig rig;
    struct ps_decoder_options options = {
        .operation = sample->operation,
        .stream = sample->stream,
        .fields = sample->fields,
        .withhold_usage = sample->withhold,
        .content_type = ps_slice_cstr(sample->content_type),
        .id = PS_SLICE_LIT("gen_X"),
        .event_bytes = 4096,
    };
    struct ps_decoder *decoder;
    enum ps_decode result;

    memset(seen, 0, sizeof(*seen));
    seen->stop_after = stop_after;
    seen->events_apart = strcmp(sample->content_type, SSE) == 0;
    rig_init(&rig);
    decoder = ps_decoder_new(ps_dialect_find("openai"), &options, &rig.arena, on_event, seen);
    assert_non_null(decoder);
    result =
        rig_decode(decoder, ps_slice_cstr(sample->body), &(struct cut){.at = at, .bytes = bytes});
    if (result == PS_DECODE_BROKEN) {
        const char *name = ps_fault_name(ps_decoder_fault(decoder)->kind);

        assert_true(ps_decoder_fault(decoder)->message[0] != '\0');
        put(seen->log, &seen->log_len, seen->log_len > 0 ? " =" : "=", seen->log_len > 0 ? 2 : 1);
        put(seen->log, &seen->log_len, name, strlen(name));
    } else if (result == PS_DECODE_STOPPED) {
        put(seen->log, &seen->log_len, " =stopped", 9);
        assert_int_equal(ps_decoder_feed(decoder, "data: x\n\n", 9), PS_DECODE_STOPPED);
    }
    ps_decoder_free(decoder);
    rig_deinit(&rig);
}

static void compare(const struct sample *sample, size_t at, const struct seen *seen)
{
    size_t dropped = sample->dropped != NULL ? strlen(sample->dropped) : 0;
    size_t expected = strlen(sample->body) - dropped - seen->withheld_len;
    bool broken = strchr(sample->expected, '=') != NULL;

    if (strcmp(seen->log, sample->expected) != 0) {
        fail_msg("%s\n(cut %zu) expected %s\n            found %s", sample->body, at,
                 sample->expected, seen->log);
    }
    if (sample->fields || (broken && sample->dropped == NULL)) {
        return;
    }
    if (dropped > 0) {
        assert_string_equal(sample->body + strlen(sample->body) - dropped, sample->dropped);
    }
    assert_int_equal(seen->raw_len, expected);
    if (seen->withheld_len == 0) {
        assert_memory_equal(seen->raw, sample->body, expected);
    } else {
        const char *held = strstr(sample->body, seen->withheld);
        size_t before;

        assert_non_null(held);
        before = (size_t)(held - sample->body);
        assert_memory_equal(seen->raw, sample->body, before);
        assert_memory_equal(seen->raw + before, held + seen->withheld_len, expected - before);
    }
}

static void decode_every_way(const struct sample *sample)
{
    static struct seen seen;

    decode(sample, 0, false, 0, &seen);
    compare(sample, 0, &seen);
    decode(sample, 0, true, 0, &seen);
    compare(sample, 1, &seen);
    for (size_t at = 1; at < strlen(sample->body); at++) {
        decode(sample, at, false, 0, &seen);
        compare(sample, at, &seen);
    }
}

static void decode_all(const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        decode_every_way(&samples[i]);
    }
}
#define DECODE_ALL(samples) decode_all(samples, sizeof(samples) / sizeof((samples)[0]))

#define SSE                 "text/event-stream; charset=utf-8"
#define JSON                "application/json"
#define CHUNK(choice, rest) "data: {\"id\":\"c\",\"choices\":[{" choice "}]" rest "}\n\n"
#define ROLE                                                                                       \
    CHUNK(                                                                                         \
        "\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null",  \
        "")
#define SAY(text)                                                                                  \
    CHUNK("\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null", "")
#define STOP CHUNK("\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"", "")
#define USAGE                                                                                      \
    "data: "                                                                                       \
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":14,"  \
    "\"prompt_tokens_details\":{\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_"  \
    "tokens\":2}}}\n\n"
#define DONE        "data: [DONE]\n\n"
#define CHAT_STREAM PS_OP_CHAT, true, false, false, SSE
#define CHAT_FIELDS PS_OP_CHAT, true, true, false, SSE

static void taps_streams(void **state)
{
    static const struct sample samples[] = {
        {CHAT_STREAM, ROLE SAY("He") SAY("llo") STOP DONE, "start text text finish(1 stop) done",
         NULL},
        {CHAT_STREAM, ": hi\n\n" ROLE SAY("a") STOP USAGE DONE,
         "ping start text finish(1 stop) usage(9,5,14,3,2) done", NULL},
        {PS_OP_CHAT, true, false, true, SSE, ROLE SAY("a") STOP USAGE DONE,
         "start text finish(1 stop) usage(9,5,14,3,2)! done", NULL},
        /* usage beside choices is the client's, asked for or not */
        {PS_OP_CHAT, true, false, true, SSE,
         SAY("a") CHUNK("\"delta\":{},\"finish_reason\":\"length\"",
                        ",\"usage\":{\"prompt_tokens\":1}") DONE,
         "text finish(2 length) usage(1,-1,-1,-1,-1) done", NULL},
        {PS_OP_CHAT, true, false, true, SSE,
         CHUNK("\"delta\":{\"content\":\"a\"}", ",\"usage\":null") STOP DONE,
         "text finish(1 stop) done", NULL},
        {CHAT_STREAM,
         CHUNK("\"delta\":{\"content\":\"a\"}", ",\"x_groq\":{\"id\":\"r\"}")
             CHUNK("\"delta\":{},\"finish_reason\":\"stop\"",
                   ",\"x_groq\":{\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2,\"total_"
                   "tokens\":6}}") DONE,
         "text finish(1 stop) usage(4,2,6,-1,-1) done", NULL},
        {CHAT_STREAM, "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n" SAY("a") STOP DONE,
         "opaque text finish(1 stop) done", NULL},
        {CHAT_STREAM,
         CHUNK("\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"x\"}]}", "")
             CHUNK("\"delta\":{\"tool_calls\":[ ]}", "")
                 CHUNK("\"delta\":{\"tool_calls\":null},\"finish_reason\":\"tool_calls\"", "") DONE,
         "tool start finish(3 tool_calls) done", NULL},
        {CHAT_STREAM,
         CHUNK("\"delta\":{\"reasoning_content\":\"hm\"}", "") CHUNK(
             "\"delta\":{\"reasoning\":\"hm\"}", "") CHUNK("\"delta\":{\"refusal\":\"no\"}", "")
             CHUNK("\"delta\":{\"function_call\":{\"name\":\"f\"}}", "")
                 CHUNK("\"delta\":{\"audio\":{\"data\":\"x\"}}", "") STOP DONE,
         "reasoning reasoning refusal tool media finish(1 stop) done", NULL},
        /* two answers, their chunks mixed and in one event */
        {CHAT_STREAM,
         "data: "
         "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":1},{\"index\":0,\"delta\":{"
         "\"content\":\"b\"}}]}"
         "\n\n" CHUNK("\"index\":1,\"delta\":{},\"finish_reason\":\"content_filter\"", "")
             STOP DONE,
         "text:1 text finish:1(4 content_filter) finish(1 stop) done", NULL},
        {PS_OP_COMPLETE, true, false, false, SSE,
         CHUNK("\"text\":\"\",\"index\":0", "") CHUNK("\"text\":\"a\",\"index\":0", "")
             CHUNK("\"text\":\"b\",\"finish_reason\":\"eos\"", "") DONE,
         "start text text finish(1 eos) done", NULL},
        {CHAT_STREAM,
         SAY("a") "data: {broken\n\n"
                  "data: 7\n\n" STOP DONE,
         "text opaque opaque finish(1 stop) done", NULL},
        {CHAT_STREAM, SAY("a") STOP DONE "data: late\n\n: x", "text finish(1 stop) done",
         "data: late\n\n: x"},
        {CHAT_STREAM, SAY("a") STOP "data: [DONE]", "text finish(1 stop) done", NULL},
        {CHAT_STREAM, SAY("a") STOP "data:[DONE]\n", "text finish(1 stop) done", NULL},
        {CHAT_STREAM,
         "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n"
         "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r",
         "text finish(1 stop) done", NULL},
        /* a server whose header is wrong */
        {PS_OP_CHAT, true, false, false, "text/plain", SAY("a") STOP DONE,
         "text finish(1 stop) done", NULL},
        {PS_OP_CHAT, true, false, false, "", SAY("a") STOP DONE, "text finish(1 stop) done", NULL},
    };

    (void)state;
    DECODE_ALL(samples);
}

static void tells_how_streams_break(void **state)
{
    static const struct sample samples[] = {
        {CHAT_STREAM, "", "=stream_incomplete", NULL},
        {CHAT_STREAM, DONE, "=stream_incomplete", DONE},
        {CHAT_STREAM, ROLE DONE, "start =stream_incomplete", DONE},
        {CHAT_STREAM, SAY("a") DONE, "text =stream_incomplete", DONE},
        {CHAT_STREAM, SAY("a"), "text =stream_incomplete", ""},
        {CHAT_STREAM, SAY("a") STOP, "text finish(1 stop) =stream_incomplete", ""},
        {CHAT_STREAM, SAY("a") "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}",
         "text =stream_incomplete", "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}"},
        {CHAT_STREAM, SAY("a") CHUNK("\"index\":1,\"delta\":{\"content\":\"b\"}", "") STOP DONE,
         "text text:1 finish(1 stop) =stream_incomplete", DONE},
        {CHAT_STREAM, "<html>nginx</html>", "=stream_incomplete", "<html>nginx</html>"},
        {CHAT_STREAM,
         "data: {\"error\":{\"message\":\"Slow down\",\"code\":\"rate_limit_exceeded\"}}\n\n" DONE,
         "fault(rate_limited: Slow down)", DONE},
        {CHAT_STREAM, SAY("a") "data: {\"error\":\"boom\\n\"}\n\n",
         "text fault(upstream_error: boom )", NULL},
        {CHAT_STREAM,
         "event: error\ndata: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n",
         "fault(upstream_overloaded: busy)", NULL},
        {CHAT_STREAM, "event: error\ndata: oops\n\n",
         "fault(upstream_error: The provider reported an error in its answer.)", NULL},
        {CHAT_STREAM, "data: {\"object\":\"error\",\"message\":\"bad\",\"code\":400}\n\n",
         "fault(bad_field: bad)", NULL},
        {CHAT_STREAM,
         "data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n" STOP DONE,
         "text finish(1 stop) done", NULL},
        {CHAT_STREAM,
         "data: {\"error\":{ },\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n" STOP DONE,
         "text finish(1 stop) done", NULL},
        {CHAT_STREAM, CHUNK("\"delta\":{\"content\":\"a\"},\"finish_reason\":\"error\"", "") DONE,
         "text fault(upstream_error: The provider reported an error in its answer.)", DONE},
        {CHAT_STREAM, "data: {\"error\":{\"message\":\"cut\"}}", "fault(upstream_error: cut)",
         "data: {\"error\":{\"message\":\"cut\"}}"},
        {PS_OP_CHAT, true, false, false, "text/html", "<html></html>", "=stream_incomplete",
         "<html></html>"},
    };

    (void)state;
    DECODE_ALL(samples);
}

static void fills_fields_of_streams(void **state)
{
    static const struct sample samples[] = {
        {CHAT_FIELDS, ROLE SAY("a\\u00e9\\n\\\"") SAY("\xf0\x9f\x98\x80") STOP USAGE DONE,
         "start text(a\xc3\xa9\n\") text(\xf0\x9f\x98\x80) finish(1 stop) usage(9,5,14,3,2) done",
         NULL},
        {CHAT_FIELDS,
         CHUNK("\"delta\":{\"reasoning\":\"hm\",\"content\":\"a\"},\"finish_reason\":\"stop\"", "")
             DONE,
         "reasoning(hm) text(a) finish(1 stop) done", NULL},
        {CHAT_FIELDS, CHUNK("\"delta\":{\"content\":[{\"type\":\"text\"}]}", "") STOP DONE,
         "start finish(1 stop) done", NULL},
        {CHAT_FIELDS,
         CHUNK("\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"type\":\"function\","
               "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
               "") CHUNK("\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
                         "\"{\\\"a\"}}]}",
                         "")
             CHUNK("\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"y\",\"function\":{"
                   "\"name\":\"g\"}},{\"index\":0,\"function\":{\"arguments\":"
                   "\"\\\":1}\"}}]}",
                   "") CHUNK("\"delta\":{},\"finish_reason\":\"tool_calls\"", "") DONE,
         "tool#0[x f]() tool#0[ ]({\"a) tool#1[y g]() tool#0[ ](\":1}) finish(3 tool_calls) done",
         NULL},
        /* without an index: an id or a name begins the next */
        {CHAT_FIELDS,
         CHUNK(
             "\"delta\":{\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"s\"}}}]"
             "}",
             "") CHUNK("\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"g\"}},{\"function\":{"
                       "\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"",
                       "") DONE,
         "tool#0[x f]({}) tool#1[call_X_0 g]() tool#1[ ]({}) finish(3 tool_calls) done", NULL},
        {CHAT_FIELDS,
         SAY("a") CHUNK("\"delta\":{\"annotations\":[{\"type\":\"url_citation\","
                        "\"url_citation\":{\"url\":\"u\",\"title\":\"\\u0074\"}}]}",
                        "")
             CHUNK("\"delta\":{},\"finish_reason\":\"stop\",\"stop_reason\":\"#\"", "") DONE,
         "text(a) citation[-1 -1 u t] finish(#)(1 stop) done", NULL},
        {CHAT_FIELDS, CHUNK("\"delta\":{\"refusal\":\"no\"}", "") STOP DONE,
         "refusal(no) finish(1 stop) done", NULL},
    };

    (void)state;
    DECODE_ALL(samples);
}

#define ANSWER(message, finish)                                                                    \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{" message \
    "},\"finish_reason\":" finish                                                                  \
    "}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}"
#define CHAT_WHOLE        PS_OP_CHAT, false, false, false, JSON
#define CHAT_WHOLE_FIELDS PS_OP_CHAT, false, true, false, JSON

static void reads_whole_answers(void **state)
{
    static const struct sample samples[] = {
        {CHAT_WHOLE, ANSWER("\"content\":\"hi\"", "\"stop\""),
         "opaque result usage(9,2,11,-1,-1) finish(1 stop) done", NULL},
        {CHAT_WHOLE, "\n \n" ANSWER("\"content\":null", "\"tool_calls\"") "\n",
         "opaque result usage(9,2,11,-1,-1) finish(3 tool_calls) done", NULL},
        {PS_OP_CHAT, true, false, true, JSON, ANSWER("\"content\":\"hi\"", "null"),
         "opaque result usage(9,2,11,-1,-1) done", NULL},
        {PS_OP_CHAT, false, false, false, "text/plain", "{}", "opaque result done", NULL},
        {CHAT_WHOLE,
         "{\"choices\":[{\"finish_reason\":\"length\",\"index\":1},{\"finish_reason\":\"weird\","
         "\"index\":0}]}",
         "opaque result finish:1(2 length) finish(5 weird) done", NULL},
        {PS_OP_EMBED, false, false, false, JSON,
         "{\"object\":\"list\",\"data\":[{\"embedding\":[1,2]}],\"usage\":{\"prompt_tokens\":8,"
         "\"total_tokens\":8}}",
         "opaque result usage(8,-1,8,-1,-1) done", NULL},
        {PS_OP_MODELS, false, false, false, JSON, "[{\"id\":\"m\"}]", "opaque result done", NULL},
        {CHAT_WHOLE_FIELDS, ANSWER("\"content\":\"h\\u0069\"", "\"stop\""),
         "text(hi) usage(9,2,11,-1,-1) finish(1 stop) result done", NULL},
        {CHAT_WHOLE_FIELDS,
         ANSWER("\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]", "\"tool_calls\""),
         "tool#0[c ]() usage(9,2,11,-1,-1) finish(3 tool_calls) result done", NULL},
        {CHAT_WHOLE_FIELDS,
         ANSWER("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\","
                "\"text\":\"hm\"}]},{\"type\":\"text\",\"text\":\"a\"},"
                "{\"type\":\"text\",\"text\":\"b\"}],\"tool_calls\":["
                "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                "\"arguments\":\"{\\\"a\\\":1}\"}},"
                "{\"function\":{\"name\":\"g\",\"arguments\":{\"b\": 2}}},"
                "{\"id\":\"d\",\"type\":\"custom\",\"custom\":{\"name\":\"h\",\"input\":\"x\"}}],"
                "\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{"
                "\"start_index\":1,\"end_index\":2,\"url\":\"u\",\"title\":\"t\"}}]",
                "\"tool_calls\""),
         "reasoning(hm) text(a) text(b) tool#0[c f]({\"a\":1}) tool#1[call_X_0 g]({\"b\": 2}) "
         "tool#2*[d h](x) citation[1 2 u t] usage(9,2,11,-1,-1) finish(3 tool_calls) result done",
         NULL},
        {CHAT_WHOLE_FIELDS,
         " {\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\","
         "\"stop_reason\":\"EN\\u0044\"}],\"usage\":{\"prompt_tokens\":3,"
         "\"prompt_tokens_details\":{\"cached_tokens\":1,\"cache_write_tokens\":2}}}",
         "text(x) usage(3,-1,-1,1,-1,2) finish(END)(1 stop) result done", NULL},
        {CHAT_WHOLE_FIELDS,
         "{\"choices\":[{\"index\":1,\"message\":{\"content\":null,\"function_call\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}},\"finish_reason\":\"function_call\"}]}",
         "tool:1#0[call_X_0 f]({}) finish:1(3 function_call) result done", NULL},
        {PS_OP_RERANK, false, true, false, JSON,
         "{\"results\":[{\"index\":1,\"relevance_score\":0.50,\"document\":{\"text\":\"b\"}},"
         "{\"index\":0,\"score\":1e-3}],\"usage\":{\"total_tokens\":4}}",
         "score[1 0.50 {\"text\":\"b\"}] score[0 1e-3 ] usage(-1,-1,4,-1,-1) result done", NULL},
        {PS_OP_EMBED, false, true, false, JSON,
         "{\"data\":[{\"index\":0,\"embedding\":[1,-2.50]}],\"usage\":{\"prompt_tokens\":4}}",
         "embedding([1,-2.50]) usage(4,-1,-1,-1,-1) result done", NULL},
        {CHAT_WHOLE_FIELDS,
         ANSWER("\"content\":null,\"refusal\":\"no\",\"reasoning\":\"hm\"", "\"stop\""),
         "reasoning(hm) refusal(no) usage(9,2,11,-1,-1) finish(1 stop) result done", NULL},
        {CHAT_WHOLE, "{\"choices\":[{\"finish_reason\":\"a\\u0062\"}]}",
         "opaque result finish(5 \"a\\u0062\") done", NULL},
    };

    (void)state;
    DECODE_ALL(samples);
}

static void tells_how_whole_answers_break(void **state)
{
    static const struct sample samples[] = {
        {CHAT_WHOLE, "", "=upstream_broken", NULL},
        {CHAT_WHOLE, "{\"choices\":[", "opaque =upstream_broken", ""},
        {CHAT_WHOLE, "[]", "opaque =upstream_broken", ""},
        {CHAT_WHOLE_FIELDS, "{\"choices\":[}", "=upstream_broken", NULL},
        {CHAT_WHOLE_FIELDS, "{}", "=upstream_broken", NULL},
        {CHAT_WHOLE_FIELDS, "{\"choices\":[]}", "=upstream_broken", NULL},
        {CHAT_WHOLE_FIELDS, "<html>", "=upstream_broken", NULL},
        {CHAT_WHOLE, "{\"error\":{\"code\":502,\"message\":\"provider down\"}}",
         "opaque fault(upstream_error: provider down)", NULL},
        {CHAT_WHOLE, "{\"error\":\"no\",\"choices\":[]}", "opaque fault(upstream_error: no)", NULL},
        {CHAT_WHOLE, "{\"object\":\"error\",\"message\":\"m\",\"code\":429}",
         "opaque fault(rate_limited: m)", NULL},
        {CHAT_WHOLE_FIELDS, "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\"}}",
         "fault(bad_field: m)", NULL},
        {CHAT_WHOLE, "{\"error\":false,\"choices\":[]}", "opaque result done", NULL},
        {PS_OP_PASS, false, false, false, JSON, "{\"error\":{\"message\":\"m\",\"code\":500}}",
         "opaque fault(upstream_error: m)", NULL},
        {PS_OP_PASS, false, false, false, JSON,
         "{\"object\":\"response\",\"error\":{\"message\":\"m\"}}", "opaque result done", NULL},
    };

    (void)state;
    DECODE_ALL(samples);
}

#define PASS_STREAM   PS_OP_PASS, true, false, false, SSE
#define R(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"

static void relays_other_answers(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_PASS, false, false, false, "audio/mpeg", "\xff\xfb garbage {", "opaque result done",
         NULL},
        {PS_OP_PASS, false, false, false, "", "plain", "opaque result done", NULL},
        {PS_OP_PASS, false, false, false, "", "", "result done", NULL},
        {PS_OP_PASS, false, false, false, JSON, "", "result done", NULL},
        {PS_OP_PASS, false, false, false, JSON,
         "{\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}",
         "opaque result usage(3,4,-1,-1,-1) done", NULL},
        {PS_OP_PASS, false, false, false, JSON, "{", "opaque =upstream_broken", ""},
        {PASS_STREAM,
         R("response.created", "") R("response.output_text.delta", ",\"delta\":\"a\"")
             R("response.completed", ",\"response\":{\"error\":null,\"usage\":{\"input_tokens\":3,"
                                     "\"output_tokens\":4,\"input_tokens_details\":"
                                     "{\"cached_tokens\":1}}}"),
         "start text finish(1 stop) usage(3,4,-1,1,-1) result done", NULL},
        {PASS_STREAM, R("response.created", "") R("response.output_text.delta", ",\"delta\":\"a\""),
         "start text =stream_incomplete", ""},
        {PASS_STREAM,
         R("response.created", "") R("response.failed", ",\"response\":{\"error\":{\"code\":"
                                                        "\"server_error\",\"message\":\"m\"}}"),
         "start fault(upstream_error: m)", NULL},
        {PASS_STREAM, R("error", ",\"code\":\"rate_limit\",\"message\":\"m\""),
         "fault(rate_limited: m)", NULL},
        {PASS_STREAM, "data: {\"type\":\"x\"}\n\ndata: piece\n\nid: 7",
         "text text opaque result done", NULL},
        {PASS_STREAM, "data: a\n\n" DONE, "text done", NULL},
        {PASS_STREAM, "", "=stream_incomplete", NULL},
    };

    (void)state;
    DECODE_ALL(samples);
}

static void stops_when_told(void **state)
{
    static struct seen seen;
    static const struct sample stream = {CHAT_STREAM, ROLE SAY("a") STOP DONE, "", NULL};
    static const struct sample whole = {CHAT_WHOLE, ANSWER("\"content\":\"hi\"", "\"stop\""), "",
                                        NULL};

    (void)state;
    decode(&stream, 0, false, 2, &seen);
    assert_string_equal(seen.log, "start text =stopped");
    decode(&stream, 0, true, 1, &seen);
    assert_string_equal(seen.log, "start =stopped");
    decode(&whole, 0, false, 2, &seen);
    assert_string_equal(seen.log, "opaque result =stopped");
}

static void bounds_events(void **state)
{
    static struct seen seen;
    static char body[12000];
    struct sample sample = {CHAT_FIELDS, body, "", NULL};

    (void)state;
    memcpy(body, "data: {\"a\":\"", 12);
    memset(body + 12, 'x', 6000);
    decode(&sample, 100, false, 0, &seen);
    assert_string_equal(seen.log, "=upstream_broken");
    sample.stream = false;
    sample.content_type = JSON;
    memcpy(body, "{\"choices\":\"", 12);
    decode(&sample, 100, false, 0, &seen);
    assert_string_equal(seen.log, "=upstream_broken");
}

/* A message too long to be kept of a passing answer is left out, however the answer is cut. */
static void keeps_little(void **state)
{
    static const size_t lengths[] = {10, 1022, 1023, 2000};
    static const char begin[] = "{\"error\":{\"message\":\"";
    static const char end[] = "\",\"code\":503}}";
    static struct seen seen;
    static char body[4000];
    struct sample sample = {CHAT_WHOLE, body, "", NULL};

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        memcpy(body, begin, sizeof(begin) - 1);
        memset(body + sizeof(begin) - 1, 'x', lengths[i]);
        memcpy(body + sizeof(begin) - 1 + lengths[i], end, sizeof(end));
        for (size_t at = 0; at < strlen(body); at += 1 + at / 16) {
            decode(&sample, at, false, 0, &seen);
            if (lengths[i] <= 1022) {
                assert_non_null(strstr(seen.log, "fault(upstream_overloaded: xxxxxxxxxx"));
            } else {
                assert_string_equal(
                    seen.log, "opaque fault(upstream_overloaded: The provider reported an error in "
                              "its answer.)");
            }
        }
    }
}

/* Whichever allocation fails, nothing leaks, and no answer is taken for whole that is not. */
static void survives_short_memory(void **state)
{
    static const struct sample samples[] = {
        {CHAT_FIELDS, ROLE SAY("a") STOP USAGE DONE,
         "start text(a) finish(1 stop) usage(9,5,14,3,2) done", NULL},
        {CHAT_WHOLE_FIELDS, ANSWER("\"content\":\"hi\"", "\"stop\""),
         "text(hi) usage(9,2,11,-1,-1) finish(1 stop) result done", NULL},
        {CHAT_WHOLE, ANSWER("\"content\":\"hi\"", "\"stop\""),
         "opaque result usage(9,2,11,-1,-1) finish(1 stop) done", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const struct sample *sample = &samples[i];
        int failures = 0;

        for (int64_t after = 0; after < 24; after++) {
            static struct seen seen;
            struct ps_decoder_options options = {
                .operation = sample->operation,
                .stream = sample->stream,
                .fields = sample->fields,
                .content_type = ps_slice_cstr(sample->content_type),
                .event_bytes = 4096,
            };
            struct rig rig;
            struct ps_decoder *decoder;
            enum ps_decode result = PS_DECODE_OK;

            memset(&seen, 0, sizeof(seen));
            rig_init(&rig);
            (void)ps_mem_fail_after(after);
            decoder =
                ps_decoder_new(ps_dialect_find("openai"), &options, &rig.arena, on_event, &seen);
            for (size_t at = 0;
                 decoder != NULL && at < strlen(sample->body) && result == PS_DECODE_OK; at++) {
                result = ps_decoder_feed(decoder, sample->body + at, 1);
            }
            if (decoder != NULL && result == PS_DECODE_OK) {
                result = ps_decoder_finish(decoder);
            }
            (void)ps_mem_fail_after(-1);
            if (decoder == NULL || result == PS_DECODE_BROKEN) {
                failures++;
                assert_null(strstr(seen.log, "done"));
            } else if (sample->fields) {
                assert_string_equal(seen.log, sample->expected);
            }
            ps_decoder_free(decoder);
            rig_deinit(&rig);
        }
        assert_in_range(failures, 2, 23);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taps_streams),
        cmocka_unit_test(tells_how_streams_break),
        cmocka_unit_test(fills_fields_of_streams),
        cmocka_unit_test(reads_whole_answers),
        cmocka_unit_test(tells_how_whole_answers_break),
        cmocka_unit_test(relays_other_answers),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(bounds_events),
        cmocka_unit_test(keeps_little),
        cmocka_unit_test(survives_short_memory),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
