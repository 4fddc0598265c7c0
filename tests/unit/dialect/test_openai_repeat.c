/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * An event that differs from the one before only in its text is not scanned. It must mean what it
 * means when it is scanned: each event is decoded behind one that looks like it and behind one that
 * does not, and must give the same events both times.
 */

#define LOG_BYTES 8192

struct seen {
    char log[LOG_BYTES];
    size_t len;
};

static const char unlike[] =
    "data: {\"id\":\"unlike\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"u\"}}]}\n\n";

#define HEAD "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{"
#define TAIL "},\"finish_reason\":null}],\"usage\":null}\n\n"

/* What comes first. */
static const char *const firsts[] = {
    HEAD "\"content\":\"first\"" TAIL,
    HEAD "\"content\":\"with \\\"quotes\\\" and \xc3\xa9\"" TAIL,
    HEAD "\"reasoning_content\":\"first\",\"content\":null" TAIL,
    HEAD "\"content\":\"\",\"reasoning_content\":\"first\"" TAIL,
    HEAD "\"content\":\"said\",\"reasoning_content\":\"thought\"" TAIL,
    HEAD "\"content\":[{\"type\":\"text\",\"text\":\"first\"}]" TAIL,
    HEAD "\"content\":\"\"" TAIL,
    "data: {\"choices\":[{\"index\":3,\"delta\":{\"content\":\"first\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"text\":\"first\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}},{\"delta\":{\"content\":\"b\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"total_tokens\":1}}\n\n",
    HEAD "\"content\":\"first\",\"tool_calls\":[{\"id\":\"t\"}]" TAIL,
    "event: x\n" HEAD "\"content\":\"first\"" TAIL,
};

/* What comes behind it. */
static const char *const nexts[] = {
    HEAD "\"content\":\"next\"" TAIL,
    HEAD "\"content\":\"\"" TAIL,
    HEAD "\"content\":\"\\n\\u00e9\\\\\"" TAIL,
    HEAD "\"content\":\"caf\xc3\xa9 \xe4\xbd\xa0\"" TAIL,
    HEAD "\"content\":\"bad \x01\"" TAIL,
    HEAD "\"content\":\"bad \xc0\xaf\"" TAIL,
    HEAD "\"content\":\"bad \\x\"" TAIL,
    HEAD "\"content\":\"a\",\"refusal\":\"b\"" TAIL,
    HEAD "\"content\":\"a\",\"tool_calls\":[{\"id\":\"t\"}],\"x\":\"y\"" TAIL,
    HEAD "\"content\":\"a\\\"" TAIL,
    HEAD "\"content\":\"a\"},\"finish_reason\":\"stop\",\"x\":{\"y\":\"z\"" TAIL,
    HEAD "\"reasoning_content\":\"next\",\"content\":null" TAIL,
    HEAD "\"reasoning_content\":\"next\",\"content\":\"said\"" TAIL,
    HEAD "\"content\":\"\",\"reasoning_content\":\"next\"" TAIL,
    HEAD "\"content\":\"more\",\"reasoning_content\":\"thought\"" TAIL,
    HEAD "\"content\":[{\"type\":\"text\",\"text\":\"next\"}]" TAIL,
    "data: {\"choices\":[{\"index\":3,\"delta\":{\"content\":\"next\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"text\":\"next\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}},{\"delta\":{\"content\":\"c\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"c\"}},{\"delta\":{\"content\":\"b\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}],\"usage\":{\"total_tokens\":1}}\n\n",
    HEAD "\"content\":\"next\",\"tool_calls\":[{\"id\":\"t\"}]" TAIL,
    "event: x\n" HEAD "\"content\":\"next\"" TAIL,
    "event: error\n" HEAD "\"content\":\"next\"" TAIL,
    HEAD "\"content\":\"cut",
};

static bool on_event(void *arg, const struct ps_event *event)
{
    struct seen *seen = arg;
    int len = snprintf(seen->log + seen->len, LOG_BYTES - seen->len, "%d:%u(%.*s)[%.*s]%d ",
                       (int)event->kind, event->choice, (int)event->text.len, event->text.ptr,
                       (int)event->raw.len, event->raw.ptr, (int)event->finish);

    assert_true(len > 0 && (size_t)len < LOG_BYTES - seen->len);
    seen->len += (size_t)len;
    return true;
}

/* A decoder that has stopped stays where it is. */
static void feed(struct ps_decoder *decoder, const char *text, enum ps_decode *result)
{
    size_t len = strlen(text);
    char *piece = malloc(len);

    assert_non_null(piece);
    memcpy(piece, text, len);
    if (*result == PS_DECODE_OK) {
        *result = ps_decoder_feed(decoder, piece, len);
    }
    free(piece);
}

/* What `next` and the end of the stream say behind `first`. */
static void decode(const char *first, const char *between, const char *next, bool fields,
                   struct seen *seen)
{
    const struct ps_decoder_options options = {
        .operation = PS_OP_CHAT,
        .stream = true,
        .fields = fields,
        .content_type = PS_SLICE_LIT("text/event-stream"),
        .event_bytes = 4096,
    };
    struct rig rig;
    enum ps_decode result = PS_DECODE_OK;
    struct ps_decoder *decoder;

    rig_init(&rig);
    decoder = ps_decoder_new(ps_dialect_find("openai"), &options, &rig.arena, on_event, seen);
    assert_non_null(decoder);
    seen->len = 0;
    feed(decoder, first, &result);
    feed(decoder, between, &result);
    memset(seen, 0, sizeof(*seen));
    feed(decoder, next, &result);
    feed(decoder, "data: [DONE]\n\n", &result);
    if (result == PS_DECODE_OK) {
        result = ps_decoder_finish(decoder);
    }
    (void)snprintf(seen->log + seen->len, LOG_BYTES - seen->len, "=%d", (int)result);
    ps_decoder_free(decoder);
    rig_deinit(&rig);
}

static void means_what_a_scan_finds(void **state)
{
    static struct seen repeated;
    static struct seen scanned;

    (void)state;
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        for (size_t j = 0; j < 2 * sizeof(nexts) / sizeof(nexts[0]); j++) {
            const char *next = nexts[j / 2];

            decode(firsts[i], firsts[i], next, j % 2 == 1, &repeated);
            decode(firsts[i], unlike, next, j % 2 == 1, &scanned);
            assert_string_equal(repeated.log, scanned.log);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_what_a_scan_finds),
    };
    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
