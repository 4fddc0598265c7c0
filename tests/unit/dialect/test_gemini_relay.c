/* SPDX-License-Identifier: Apache-2.0 */
#include "answer_rig.h"

/*
 * Answers of Google's API that go to a client of the family as they are, each fed whole, byte by
 * byte and cut at every byte: all bytes are handed up in their order, and what is told of them is
 * the same each time.
 */

#define LOG_BYTES 4096
#define SSE       "text/event-stream"
#define JSON      "application/json; charset=UTF-8"
#define LONG      "0123456789012345678901234567890123456789012345678901234567890123456789"

struct sample {
    enum ps_operation operation;
    bool stream;
    const char *type;
    const char *body;
    const char *expected;
    bool cut; /* not all of it is handed up */
};

struct seen {
    struct rig_log log;
    char raw[LOG_BYTES];
    size_t raw_len;
};

/* Pieces without meaning come as often as the body was cut; so do beginnings of an array. */
static void put_event(struct seen *seen, const struct ps_event *event)
{
    const struct ps_usage *u = &event->usage;

    switch ((int)event->kind) {
    case PS_EVENT_TEXT:
        if (seen->log.len < 5 || strcmp(seen->log.text + seen->log.len - 5, "text|") != 0) {
            rig_put(&seen->log, "text|");
        }
        break;
    case PS_EVENT_RESULT:
        rig_put(&seen->log, "result|");
        break;
    case PS_EVENT_USAGE:
        rig_put(&seen->log, "usage %lld %lld %lld %lld %lld|", (long long)u->input,
                (long long)u->output, (long long)u->total, (long long)u->cached,
                (long long)u->reasoning);
        break;
    case PS_EVENT_FINISH:
        rig_put(&seen->log, "finish %u %d %.*s|", event->choice, (int)event->finish,
                (int)event->finish_text.len, event->finish_text.ptr);
        break;
    case PS_EVENT_FAULT:
        rig_put(&seen->log, "fault %s %s|", ps_fault_name(event->fault->kind),
                event->fault->message);
        break;
    case PS_EVENT_DONE:
        rig_put(&seen->log, "done|");
        break;
    default:
        break;
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct seen *seen = arg;

    assert_true(event->raw.len <= LOG_BYTES - seen->raw_len);
    memcpy(seen->raw + seen->raw_len, event->raw.ptr != NULL ? event->raw.ptr : "", event->raw.len);
    seen->raw_len += event->raw.len;
    put_event(seen, event);
    return true;
}

static void run_sample(const struct sample *sample, const struct cut *cut)
{
    const struct ps_decoder_options options = {
        .operation = sample->operation,
        .front = PS_FAMILY_GEMINI,
        .stream = sample->stream,
        .id = PS_SLICE_LIT("gen_1"),
        .content_type = ps_slice_cstr(sample->type),
        .event_bytes = LOG_BYTES,
    };
    struct seen seen = {.raw_len = 0};
    struct ps_decoder *decoder;
    struct ps_arena arena;

    ps_arena_init(&arena, 65536);
    decoder = ps_decoder_new(ps_dialect_find("gemini"), &options, &arena, on_event, &seen);
    assert_non_null(decoder);
    if (rig_decode(decoder, ps_slice_cstr(sample->body), cut) == PS_DECODE_BROKEN) {
        rig_put(&seen.log, "broken %s|", ps_fault_name(ps_decoder_fault(decoder)->kind));
    }
    ps_decoder_free(decoder);
    ps_arena_deinit(&arena);
    if (strcmp(seen.log.text, sample->expected) != 0) {
        fail_msg("%s\ncut at %zu\nexpected %s\nfound    %s", sample->body, cut->at,
                 sample->expected, seen.log.text);
    }
    assert_true(seen.raw_len <= strlen(sample->body));
    assert_memory_equal(seen.raw, sample->body, seen.raw_len);
    if (!sample->cut && seen.raw_len != strlen(sample->body)) {
        fail_msg("%s: %zu bytes were handed up", sample->body, seen.raw_len);
    }
}

#define USAGE                                                                                      \
    "\"usageMetadata\":{\"promptTokenCount\":9,\"cachedContentTokenCount\":4,"                     \
    "\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3,\"totalTokenCount\":14}"
#define COUNTED "usage 9 5 14 4 3|"
#define SAID    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}"
#define LAST                                                                                       \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"" LONG "\"}]},\"finishReason\":"        \
    "\"STOP\"}],\"new\":[1e400]," USAGE "}"
#define FAILED                                                                                     \
    "{\"error\":{\"code\":503,\"message\":\"Over\\\"loaded.\",\"status\":\"UNAVAILABLE\","         \
    "\"details\":[]}}"

static void passes_answers_on(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, false, JSON, " " LAST "\n", "result|" COUNTED "finish 0 1 STOP|done|", false},
        {PS_OP_CHAT, false, JSON,
         "{\"candidates\":[{\"finishReason\":\"SAFETY\"},{\"content\":{\"parts\":[{"
         "\"functionCall\":{}}]},\"finishReason\":\"MAX_TOKENS\"}]}",
         "result|finish 0 4 SAFETY|finish 1 2 MAX_TOKENS|done|", false},
        {PS_OP_CHAT, false, JSON,
         "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{}}]},\"finishReason\":"
         "\"STOP\"}]}",
         "result|finish 0 3 STOP|done|", false},
        {PS_OP_CHAT, false, JSON, "{\"promptFeedback\":{\"blockReason\":\"OTHER\"}}",
         "result|finish 0 4 OTHER|done|", false},
        {PS_OP_CHAT, false, JSON, "{\"what\":\"is new\"}", "result|done|", false},
        {PS_OP_COUNT_TOKENS, false, JSON, "{\"totalTokens\":14}",
         "result|usage 14 -1 -1 -1 -1|done|", false},
        {PS_OP_EMBED, false, JSON,
         "{\"embedding\":{\"values\":[0.5]},\"usageMetadata\":{\"promptTokenCount\":4}}",
         "result|usage 4 -1 -1 -1 -1|done|", false},
        {PS_OP_CHAT, true, JSON, "[" SAID "\n,\r\n" LAST "]",
         "text|result|" COUNTED "finish 0 1 STOP|done|", false},
        {PS_OP_CHAT, true, SSE,
         "data: " SAID "\n\n: note\n\ndata: {\"candidates\":[{\"index\":0}]}"
         "\n\ndata: " LAST "\n\n",
         "text|" COUNTED "finish 0 1 STOP|done|", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        run_sample(&samples[i], &(struct cut){.at = 0});
        run_sample(&samples[i], &(struct cut){.bytes = true});
        for (size_t at = 1; at < strlen(samples[i].body); at++) {
            run_sample(&samples[i], &(struct cut){.at = at});
        }
    }
}

static void tells_what_is_wrong(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, false, JSON, FAILED, "fault upstream_overloaded Over\"loaded.|", false},
        {PS_OP_CHAT, true, JSON, "[" FAILED "]", "fault upstream_overloaded Over\"loaded.|", false},
        {PS_OP_CHAT, true, SSE, "data: " FAILED "\n\n", "fault upstream_overloaded Over\"loaded.|",
         false},
        {PS_OP_CHAT, false, JSON, "{\"candidates\":[", "broken upstream_broken|", true},
        {PS_OP_CHAT, false, JSON, "{\"candidates\":]", "broken upstream_broken|", true},
        {PS_OP_CHAT, false, JSON, "7", "broken upstream_broken|", true},
        {PS_OP_CHAT, true, JSON, "[" SAID, "text|broken upstream_broken|", true},
        {PS_OP_CHAT, true, SSE, "data: " SAID "\n\n", "text|broken stream_incomplete|", false},
        {PS_OP_CHAT, true, SSE, "data: {\n\n", "broken upstream_broken|", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        run_sample(&samples[i], &(struct cut){.at = 0});
        for (size_t at = 1; at < strlen(samples[i].body); at++) {
            run_sample(&samples[i], &(struct cut){.at = at});
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_answers_on),
        cmocka_unit_test(tells_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
