/* SPDX-License-Identifier: Apache-2.0 */
#include "answer_rig.h"

/*
 * Answers of the Gemini API, each fed whole, byte by byte and cut at every byte: the same events
 * each time. The log has one line per event.
 */

#define SSE  "text/event-stream"
#define JSON "application/json; charset=UTF-8"

#define DATA(json) "data: " json "\r\n\r\n"
#define SAYS(parts, more)                                                                          \
    "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts "]}" more ",\"index\":"  \
    "0}]"
#define TEXT(text)     "{\"text\":\"" text "\"}"
#define END(reason)    ",\"finishReason\":\"" reason "\""
#define COUNTS(counts) ",\"usageMetadata\":{" counts "}"
#define NAMED          ",\"modelVersion\":\"g-1\",\"responseId\":\"r1\"}"

struct sample {
    enum ps_operation operation;
    uint32_t memo;
    const char *type;
    const char *body;
    const char *expected;
    enum ps_family front;
};

struct seen {
    struct rig_log log;
    size_t raw_len;
};

static const char *const kinds[] = {
    [PS_EVENT_START] = "start",         [PS_EVENT_TEXT] = "text",
    [PS_EVENT_REASONING] = "reasoning", [PS_EVENT_REFUSAL] = "refusal",
    [PS_EVENT_TOOL_CALL] = "tool",      [PS_EVENT_CITATION] = "citation",
    [PS_EVENT_LOGPROBS] = "logprobs",   [PS_EVENT_EMBEDDING] = "embedding",
    [PS_EVENT_MEDIA] = "media",         [PS_EVENT_RESULT] = "result",
    [PS_EVENT_USAGE] = "usage",         [PS_EVENT_FINISH] = "finish",
    [PS_EVENT_PING] = "ping",           [PS_EVENT_FAULT] = "fault",
    [PS_EVENT_DONE] = "done",
};

static void put_fields(struct seen *seen, const struct ps_event *event)
{
    const struct ps_usage *u = &event->usage;

    switch ((int)event->kind) {
    case PS_EVENT_START:
        rig_put_text(&seen->log, "id=", event->start->id);
        rig_put_text(&seen->log, "model=", event->start->model);
        break;
    case PS_EVENT_TOOL_CALL:
        rig_put_text(&seen->log, "id=", event->tool->id);
        rig_put_text(&seen->log, "name=", event->tool->name);
        rig_put_text(&seen->log, "signature=", event->tool->signature);
        break;
    case PS_EVENT_REASONING:
        rig_put_text(&seen->log, "signature=", event->thought->signature);
        break;
    case PS_EVENT_CITATION:
        rig_put_text(&seen->log, "url=", event->citation->url);
        rig_put_text(&seen->log, "title=", event->citation->title);
        break;
    case PS_EVENT_MEDIA:
        rig_put_text(&seen->log, "type=", event->media->media_type);
        rig_put_text(&seen->log, "data=", event->media->data);
        break;
    case PS_EVENT_LOGPROBS:
        rig_put_text(&seen->log, "token=", event->logprob.token);
        rig_put(&seen->log, " %.2f", (double)event->logprob.logprob);
        for (size_t i = 0; i < event->top_count; i++) {
            rig_put_text(&seen->log, "top=", event->top[i].token);
            rig_put(&seen->log, " %.2f", (double)event->top[i].logprob);
        }
        break;
    case PS_EVENT_EMBEDDING:
        rig_put(&seen->log, " %u", event->index);
        for (size_t i = 0; event->vector != NULL && i < event->dimensions; i++) {
            rig_put(&seen->log, " %.2f", (double)event->vector[i]);
        }
        break;
    case PS_EVENT_USAGE:
        rig_put(&seen->log, " %d,%d,%d,%d,%d", (int)u->input, (int)u->output, (int)u->total,
                (int)u->cached, (int)u->reasoning);
        break;
    case PS_EVENT_FINISH:
        rig_put(&seen->log, " %d %.*s", (int)event->finish, (int)event->finish_text.len,
                event->finish_text.ptr);
        break;
    case PS_EVENT_FAULT:
        rig_put(&seen->log, " %s: %s", ps_fault_name(event->fault->kind), event->fault->message);
        break;
    default:
        break;
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct seen *seen = arg;

    seen->raw_len += event->raw.len;
    if (event->kind == PS_EVENT_PING && ps_slice_eq(event->raw, PS_SLICE_LIT("\n"))) {
        return true; /* of a CRLF that was cut */
    }
    rig_put(&seen->log, "%s", kinds[event->kind]);
    if (event->choice > 0) {
        rig_put(&seen->log, "(%u)", event->choice);
    }
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
        .front = sample->front,
        .stream = strcmp(sample->type, SSE) == 0,
        .fields = true,
        .memo = sample->memo,
        .id = PS_SLICE_LIT("gen_7"),
        .content_type = ps_slice_cstr(sample->type),
        .event_bytes = 4096,
    };
    struct ps_decoder *decoder;
    enum ps_decode result;

    memset(seen, 0, sizeof(*seen));
    rig_init(&rig);
    decoder = ps_decoder_new(ps_dialect_find("gemini"), &options, &rig.arena, on_event, seen);
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

static void run(const struct sample *samples, size_t count)
{
    static struct seen seen;

    for (size_t i = 0; i < count; i++) {
        const struct sample *sample = &samples[i];

        for (size_t at = 0; at <= strlen(sample->body); at++) {
            decode(sample, at, at == strlen(sample->body), &seen);
            if (strcmp(seen.log.text, sample->expected) != 0) {
                fail_msg("%s\n(cut %zu) expected\n%s\nfound\n%s", sample->body, at,
                         sample->expected, seen.log.text);
            }
        }
    }
}
#define RUN(samples) run(samples, sizeof(samples) / sizeof((samples)[0]))

/* ---- streams ---- */

#define HELLO                                                                                      \
    DATA(SAYS(TEXT("He"), "") COUNTS("\"promptTokenCount\":4,\"totalTokenCount\":5") NAMED)        \
    DATA(SAYS(TEXT("llo \\u00e4\\n"), END("STOP"))                                                 \
             COUNTS("\"promptTokenCount\":4,\"cachedContentTokenCount\":2,"                        \
                    "\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3,\"totalTokenCount\":9,"   \
                    "\"toolUsePromptTokenCount\":1") NAMED)

static void test_stream(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, 0, SSE, HELLO,
         "start id=r1 model=g-1\ntext =He\nusage 4,-1,5,-1,-1\ntext =llo \xc3\xa4\n\n"
         "usage 5,5,9,2,3\nfinish 1 STOP\ndone\n",
         PS_FAMILY_OPENAI},
        /* comments are life; a last event without its empty line is taken when it is whole */
        {PS_OP_CHAT, 0, SSE, ": x\n\ndata: " SAYS(TEXT("a"), END("MAX_TOKENS")) "}",
         "ping\nstart\ntext =a\nfinish 2 MAX_TOKENS\ndone\n", PS_FAMILY_OPENAI},
        /* several candidates, a piece without parts */
        {PS_OP_CHAT, 0, SSE,
         DATA("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"index\":1,"
              "\"content\":{\"parts\":[{\"text\":\"b\"}]}}]}")
             DATA("{\"candidates\":[{\"index\":1,\"finishReason\":\"SAFETY\",\"finishMessage\":"
                  "\"No.\"}]}") DATA("{\"candidates\":[{\"index\":0,\"content\":{},"
                                     "\"finishReason\":\"STOP\"}]}"),
         "start\ntext =a\ntext(1) =b\nrefusal(1) =No.\nfinish 1 STOP\nfinish(1) 4 SAFETY\ndone\n",
         PS_FAMILY_OPENAI},
    };

    (void)state;
    RUN(samples);
}

static void test_broken_streams(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, 0, SSE, "", "=stream_incomplete\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, SSE, DATA(SAYS(TEXT("a"), "") "}"), "start\ntext =a\n=stream_incomplete\n",
         PS_FAMILY_OPENAI},
        /* one of two has not ended */
        {PS_OP_CHAT, 0, SSE,
         DATA("{\"candidates\":[{\"finishReason\":\"STOP\"},{\"content\":{\"parts\":[{\"text\":"
              "\"b\"}]}}]}"),
         "start\ntext(1) =b\n=stream_incomplete\n", PS_FAMILY_OPENAI},
        /* a piece behind the end that was cut */
        {PS_OP_CHAT, 0, SSE, DATA(SAYS(TEXT("a"), END("STOP")) "}") "data: {\"candi",
         "start\ntext =a\n=stream_incomplete\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, SSE, DATA("{nothing}"), "=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, SSE,
         DATA(SAYS(TEXT("a"), "") "}")
             DATA("{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":"
                  "\"UNAVAILABLE\"}}"),
         "start\ntext =a\nfault upstream_overloaded: The model is overloaded.\n", PS_FAMILY_OPENAI},
    };

    (void)state;
    RUN(samples);
}

#define CALL(more) "{\"functionCall\":{" more "},\"thoughtSignature\":\"c2ln\"}"

static void test_parts(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, 0, SSE,
         DATA(SAYS("{\"text\":\"hm\",\"thought\":true}", "") "}") DATA(
             SAYS(CALL("\"id\":\"c1\",\"name\":\"f\",\"args\":{\"a\":[1]}") ","
                                                                            "{\"functionCall\":{"
                                                                            "\"name\":\"g\"}}",
                  END("STOP")) "}"),
         "start\nreasoning =hm\ntool id=c1 name=f signature=c2ln ={\"a\":[1]}\n"
         "tool[1] id=call_7_0 name=g ={}\nfinish 3 STOP\ndone\n",
         PS_FAMILY_OPENAI},
        /* only one call was asked for */
        {PS_OP_CHAT, 1, SSE,
         DATA(SAYS(CALL("\"name\":\"f\"") "," CALL("\"name\":\"g\""), END("STOP")) "}"),
         "start\ntool id=call_7_0 name=f signature=c2ln ={}\nfinish 3 STOP\ndone\n",
         PS_FAMILY_OPENAI},
        /* the signature of a text: where the front gives it back */
        {PS_OP_CHAT, 0, SSE,
         DATA(SAYS("{\"text\":\"a\",\"thoughtSignature\":\"c2ln\"}", END("STOP")) "}"),
         "start\ntext =a\nreasoning[1] signature=c2ln\nfinish 1 STOP\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, SSE,
         DATA(SAYS("{\"text\":\"\",\"thoughtSignature\":\"c2ln\"}", END("STOP")) "}"),
         "start\nfinish 1 STOP\ndone\n", PS_FAMILY_ANTHROPIC},
        {PS_OP_CHAT, 0, JSON,
         SAYS("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}", END("STOP")) "}",
         "start\nmedia type=image/png data=AAAA\nfinish 1 STOP\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON,
         SAYS(TEXT("ab"),
              END("STOP") ",\"logprobsResult\":{\"topCandidates\":[{\"candidates\":[{\"token\":"
                          "\"a\",\"logProbability\":-0.25},{\"token\":\"x\",\"logProbability\":-2}"
                          "]}],\"chosenCandidates\":[{\"token\":\"a\",\"logProbability\":-0.25},"
                          "{\"token\":\"b\",\"logProbability\":-1e999}]}") "}",
         "start\nlogprobs token=a -0.25 top=a -0.25 top=x -2.00\nlogprobs token=b -9999.00\n"
         "text =ab\nfinish 1 STOP\nresult\ndone\n",
         PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON,
         SAYS("{\"text\":\"hm\",\"thought\":true}," TEXT("a") "," TEXT("b"),
              END("STOP") ",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"ab\","
                          "\"logProbability\":-0.5}]}") "}",
         "start\nreasoning =hm\nlogprobs token=ab -0.50\ntext =a\ntext =b\n"
         "finish 1 STOP\nresult\ndone\n",
         PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON,
         SAYS("", END("STOP") ",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"a\","
                              "\"logProbability\":-0.5}]}") "}",
         "start\nlogprobs token=a -0.50\nfinish 1 STOP\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON,
         SAYS(TEXT("a"), END("STOP") ",\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{"
                                     "\"uri\":\"https://a.example\",\"title\":\"A\"}},{}]}") "}",
         "start\ntext =a\ncitation url=https://a.example title=A\nfinish 1 STOP\nresult\ndone\n",
         PS_FAMILY_OPENAI},
    };

    (void)state;
    RUN(samples);
}

static void test_ends(void **state)
{
#define ENDS(word, number)                                                                         \
    {                                                                                              \
        PS_OP_CHAT, 0, JSON, SAYS("", END(word)) "}",                                              \
            "start\nfinish " #number " " word "\nresult\ndone\n", PS_FAMILY_OPENAI                 \
    }
    static const struct sample samples[] = {
        ENDS("STOP", 1),
        ENDS("MAX_TOKENS", 2),
        ENDS("SAFETY", 4),
        ENDS("RECITATION", 4),
        ENDS("BLOCKLIST", 4),
        ENDS("PROHIBITED_CONTENT", 4),
        ENDS("SPII", 4),
        ENDS("IMAGE_SAFETY", 4),
        ENDS("MALFORMED_FUNCTION_CALL", 5),
        ENDS("OTHER", 5),
        ENDS("A_NEW_ONE", 5),
        {PS_OP_CHAT, 0, JSON,
         "{\"promptFeedback\":{\"blockReason\":\"OTHER\"}" COUNTS("\"promptTokenCount\":4") "}",
         "start\nusage 4,-1,-1,-1,-1\nfinish 4 OTHER\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, SSE, DATA("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"),
         "start\nfinish 4 SAFETY\ndone\n", PS_FAMILY_OPENAI},
    };

    (void)state;
    RUN(samples);
}

static void test_whole(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, 0, JSON,
         " " SAYS(TEXT("Hi"), END("STOP")) COUNTS("\"promptTokenCount\":4,"
                                                  "\"candidatesTokenCount\":2,"
                                                  "\"totalTokenCount\":6") NAMED "\n",
         "start id=r1 model=g-1\ntext =Hi\nusage 4,2,6,-1,-1\nfinish 1 STOP\nresult\ndone\n",
         PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, "[" SAYS(TEXT("H"), "") "}\n,\n" SAYS(TEXT("i"), END("STOP")) "}]\n",
         "start\ntext =H\ntext =i\nfinish 1 STOP\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, "{\"candidates\":[]}", "start\n=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, SAYS(TEXT("Hi"), "") "}", "start\ntext =Hi\n=upstream_broken\n",
         PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, "{\"candidates\":", "=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, "", "=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, "7", "=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON, "[1]", "=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_CHAT, 0, JSON,
         "[{\"error\":{\"code\":429,\"message\":\"Slow.\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
         "fault rate_limited: Slow.\n", PS_FAMILY_OPENAI},
        {PS_OP_COUNT_TOKENS, 0, JSON, "{\"totalTokens\":31}",
         "usage 31,-1,-1,-1,-1\nresult\ndone\n", PS_FAMILY_ANTHROPIC},
        {PS_OP_COUNT_TOKENS, 0, JSON, "{}", "=upstream_broken\n", PS_FAMILY_ANTHROPIC},
        {PS_OP_EMBED, 0, JSON, "{\"embedding\":{\"values\":[0.5,-1e-3]}}",
         "embedding 0 =[0.5,-1e-3]\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_EMBED, 0, JSON, "{\"embeddings\":[{\"values\":[1]},{\"values\":[2]}]}",
         "embedding 0 =[1]\nembedding 1 =[2]\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_EMBED, 2, JSON, "{\"embedding\":{\"values\":[3,4]}}",
         "embedding 0 0.60 0.80 =[3,4]\nresult\ndone\n", PS_FAMILY_OPENAI},
        {PS_OP_EMBED, 2, JSON, "{\"embedding\":{\"values\":[\"a\"]}}", "=upstream_broken\n",
         PS_FAMILY_OPENAI},
        {PS_OP_EMBED, 0, JSON, "{\"embeddings\":[]}", "=upstream_broken\n", PS_FAMILY_OPENAI},
        {PS_OP_EMBED, 0, JSON, "{}", "=upstream_broken\n", PS_FAMILY_OPENAI},
    };

    (void)state;
    RUN(samples);
}

/* What is above the limit ends it, whatever it says. */
static void test_limits(void **state)
{
    static char body[8192];
    static struct seen seen;
    struct sample sample = {PS_OP_CHAT, 0, SSE, body, NULL, PS_FAMILY_OPENAI};

    (void)state;
    memset(body, 'x', sizeof(body) - 1);
    memcpy(body, "data: \"", 7);
    decode(&sample, 0, false, &seen);
    assert_string_equal(seen.log.text, "=upstream_broken\n");
    sample.type = JSON;
    decode(&sample, 0, true, &seen);
    assert_string_equal(seen.log.text, "=upstream_broken\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream), cmocka_unit_test(test_broken_streams),
        cmocka_unit_test(test_parts),  cmocka_unit_test(test_ends),
        cmocka_unit_test(test_whole),  cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
