/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "rig.h"

/*
 * A property: whatever a client of OpenAI's API says that the neutral form has a place for comes
 * out of it byte for byte. Requests are drawn at random from everything in the table of fields, in
 * the order in which they are written; what has no place is added at random, and must be passed on
 * to a server of the self-hosted kind, and be named as dropped to any other.
 */

#define BODY 65536

struct draw {
    uint64_t seed;
    char body[BODY];
    size_t len;
    bool comma;
    int calls; /* ids so far */
};

static uint32_t draw(struct draw *d, uint32_t below)
{
    d->seed ^= d->seed << 13;
    d->seed ^= d->seed >> 7;
    d->seed ^= d->seed << 17;
    return (uint32_t)(d->seed >> 32) % below;
}

static bool maybe(struct draw *d)
{
    return draw(d, 2) == 0;
}

static void say(struct draw *d, const char *text)
{
    size_t len = strlen(text);

    assert_true(len < BODY - d->len);
    memcpy(d->body + d->len, text, len + 1);
    d->len += len;
}

static void open_list(struct draw *d, const char *text)
{
    say(d, text);
    d->comma = false;
}

static void close_list(struct draw *d, const char *text)
{
    say(d, text);
    d->comma = true;
}

static void next(struct draw *d)
{
    say(d, d->comma ? "," : "");
    d->comma = true;
}

static void member(struct draw *d, const char *text)
{
    next(d);
    say(d, text);
}

/* A raw string, escapes and all. */
static const char *text_of(struct draw *d)
{
    static const char *const texts[] = {
        "\"\"",
        "\"a\"",
        "\"\\u00e9\\n\"",
        "\"\xf0\x9f\x98\x80\"",
        "\"\\\"\\\\\"",
        "\"a\\/b\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\" x \"",
    };

    return texts[draw(d, sizeof(texts) / sizeof(texts[0]))];
}

static void text_part(struct draw *d)
{
    next(d);
    say(d, "{\"type\":\"text\",\"text\":");
    say(d, text_of(d));
    say(d, "}");
}

/* Two texts at least: a single one is written as a string. */
static void texts(struct draw *d)
{
    open_list(d, "[");
    for (uint32_t i = draw(d, 3) + 2; i > 0; i--) {
        text_part(d);
    }
    close_list(d, "]");
}

static void user_parts(struct draw *d)
{
    static const char *const media[] = {
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y.png?a=\\u0062\"}}",
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/jpeg;base64,QUJDRA==\","
        "\"detail\":\"high\"}}",
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"QUJD\",\"format\":\"mp3\"}}",
        "{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}",
        "{\"type\":\"file\",\"file\":{\"filename\":\"a\\u00e9.pdf\",\"file_data\":"
        "\"data:application/pdf;base64,QUJD\"}}",
        "{\"type\":\"video_url\",\"video_url\":{\"url\":\"https://x/z\"}}",
    };

    open_list(d, "[");
    for (uint32_t i = draw(d, 3) + 1; i > 0; i--) {
        if (maybe(d)) {
            text_part(d);
        }
        member(d, media[draw(d, sizeof(media) / sizeof(media[0]))]);
    }
    close_list(d, "]");
}

static void content(struct draw *d, bool user)
{
    say(d, "\"content\":");
    if (user && maybe(d)) {
        user_parts(d);
    } else if (maybe(d)) {
        texts(d);
    } else {
        say(d, text_of(d));
    }
}

static void plain_message(struct draw *d)
{
    static const char *const roles[] = {"system", "developer", "user"};
    uint32_t role = draw(d, 3);

    next(d);
    say(d, "{\"role\":\"");
    say(d, roles[role]);
    say(d, maybe(d) ? "\",\"name\":\"ann\"," : "\",");
    content(d, role == 2);
    close_list(d, "}");
}

static void tool_call(struct draw *d, int id)
{
    static const char *const arguments[] = {"{}", "{\\\"a\\\":[1,2.50]}", "{\\\"\\u00e9\\\": 1e3}"};
    char call[256];

    (void)snprintf(call, sizeof(call),
                   draw(d, 4) == 0 ? "{\"id\":\"call_%d\",\"type\":\"custom\",\"custom\":{\"name\":"
                                     "\"g\",\"input\":\"free\\n\"}}"
                                   : "{\"id\":\"call_%d\",\"type\":\"function\",\"function\":{"
                                     "\"name\":\"f\",\"arguments\":\"",
                   id);
    member(d, call);
    if (strstr(call, "custom") == NULL) {
        /* escapes that the writer chooses itself are the only ones that come out the same */
        say(d, arguments[draw(d, 2)]);
        say(d, "\"}}");
    }
}

static void assistant(struct draw *d)
{
    uint32_t calls = draw(d, 4);
    int first = d->calls;
    char result[128];

    next(d);
    say(d, "{\"role\":\"assistant\",");
    if (calls > 0 && maybe(d)) {
        say(d, "\"content\":null");
    } else {
        content(d, false);
        say(d, calls == 0 && draw(d, 5) == 0 ? ",\"refusal\":\"no\"" : "");
    }
    if (calls > 0) {
        open_list(d, ",\"tool_calls\":[");
        for (uint32_t i = 0; i < calls; i++) {
            tool_call(d, d->calls++);
        }
        close_list(d, "]");
    }
    close_list(d, "}");
    for (int i = d->calls - 1; i >= first; i--) { /* in another order than they were made */
        (void)snprintf(result, sizeof(result), "{\"role\":\"tool\",\"tool_call_id\":\"call_%d\",",
                       i);
        member(d, result);
        content(d, false);
        close_list(d, "}");
    }
}

static void messages(struct draw *d)
{
    open_list(d, "\"messages\":[");
    plain_message(d);
    for (uint32_t i = draw(d, 6); i > 0; i--) {
        if (maybe(d)) {
            assistant(d);
        } else {
            plain_message(d);
        }
    }
    close_list(d, "]");
}

static void tools(struct draw *d)
{
    static const char *const list[] = {
        "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
        "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"description\":\"\\u00e9\","
        "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"maximum\":1e400}}},"
        "\"strict\":true}}",
        "{\"type\":\"custom\",\"custom\":{\"name\":\"h\",\"format\":{\"type\":\"grammar\",\"grammar"
        "\":{}}}}",
    };
    static const char *const choices[] = {
        "\"tool_choice\":\"auto\"",
        "\"tool_choice\":\"none\"",
        "\"tool_choice\":\"required\"",
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
        "\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"h\"}}",
    };

    if (maybe(d)) {
        return;
    }
    next(d);
    open_list(d, "\"tools\":[");
    for (size_t i = 0; i < 3; i++) {
        member(d, list[i]);
    }
    close_list(d, "]");
    if (maybe(d)) {
        member(d, choices[draw(d, 5)]);
    }
    if (maybe(d)) {
        member(d, maybe(d) ? "\"parallel_tool_calls\":true" : "\"parallel_tool_calls\":false");
    }
}

/* Fields one by one, in the order in which they are written. */
static void fields(struct draw *d)
{
    static const char *const all[] = {
        "\"max_completion_tokens\":1e2",
        "\"temperature\":0.10",
        "\"top_p\":1.0e-1",
        "\"presence_penalty\":-2",
        "\"frequency_penalty\":0.0",
        "\"n\":3",
        "\"logit_bias\":{\"1\":-100,\"1\":5}",
        "\"logprobs\":true,\"top_logprobs\":20",
        "\"stop\":[\"\\n\",\"b\"]",
        "\"seed\":9223372036854775807",
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{"
        "\"type\":\"object\",\"x\":[1.0]},\"strict\":true}}",
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}",
        "\"reasoning_effort\":\"none\"",
        "\"user\":\"\\u0075\"",
        "\"verbosity\":\"high\"",
        "\"prompt_cache_key\":\"k\"",
        "\"web_search_options\":{\"search_context_size\":\"low\"}",
        "\"service_tier\":\"priority\"",
        "\"store\":true,\"metadata\":{\"a\":\"\\n\"}",
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (maybe(d)) {
            member(d, all[i]);
        }
    }
}

static char *translate(const struct draw *d, const struct ps_dialect_settings *settings,
                       size_t shift, char *ret_dropped, size_t room)
{
    struct ps_reader_options options = {.operation = PS_OP_CHAT};
    const struct ps_encode_options encode = {.settings = settings};
    struct ps_encoded encoded;
    struct rig rig;
    char *out;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_OPENAI;
    rig.request.operation = PS_OP_CHAT;
    if (rig_read(&rig, &options, ps_slice(d->body, d->len), &(struct cut){.shift = shift}) != 0 ||
        ps_encode_translate(ps_dialect_find("openai"), &rig.request, &encode, &rig.arena, &encoded,
                            &rig.fault) != 0) {
        fail_msg("%s: %s", d->body, rig.fault.message);
    }
    out = rig_join(&encoded);
    (void)snprintf(ret_dropped, room, "%.*s", (int)encoded.dropped.len,
                   encoded.dropped.len > 0 ? encoded.dropped.ptr : "");
    rig_deinit(&rig);
    return out;
}

static void loses_nothing(void **state)
{
    static const struct ps_dialect_settings settings;
    char dropped[512];

    (void)state;
    for (uint64_t i = 1; i <= 3000; i++) {
        struct draw d = {.seed = i * UINT64_C(0x9e3779b97f4a7c15)};
        char *out;

        open_list(&d, "{");
        messages(&d);
        tools(&d);
        fields(&d);
        say(&d, "}");
        out = translate(&d, &settings, draw(&d, (uint32_t)d.len), dropped, sizeof(dropped));
        assert_string_equal(out, d.body);
        assert_string_equal(dropped, "");
        free(out);
    }
}

static void tells_of_what_it_has_no_place_for(void **state)
{
    static const struct ps_dialect_settings plain;
    static const struct ps_dialect_settings hosted = {.self_hosted = true};
    static const char *const extras[] = {
        "\"guided_regex\":\"[a-z]\\u002b\"",
        "\"chat_template_kwargs\":{\"a\":false}",
        "\"ignore_eos\":true",
        "\"queue_priority\":12345678901234567890",
    };
    static const char *const names[] = {"guided_regex", "chat_template_kwargs", "ignore_eos",
                                        "queue_priority"};
    char dropped[512];

    (void)state;
    for (uint64_t i = 1; i <= 300; i++) {
        struct draw d = {.seed = i * UINT64_C(0x2545f4914f6cdd1d)};
        uint32_t given = draw(&d, 16);
        char *out;

        open_list(&d, "{");
        say(&d, "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]");
        d.comma = true;
        fields(&d);
        for (uint32_t j = 0; j < 4; j++) {
            if (given >> j & 1) {
                member(&d, extras[j]);
            }
        }
        say(&d, "}");
        out = translate(&d, &hosted, 0, dropped, sizeof(dropped));
        assert_string_equal(out, d.body);
        assert_string_equal(dropped, "");
        free(out);
        out = translate(&d, &plain, 0, dropped, sizeof(dropped));
        for (uint32_t j = 0; j < 4; j++) {
            assert_int_equal(strstr(dropped, names[j]) != NULL, given >> j & 1);
            assert_null(strstr(out, names[j]));
        }
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loses_nothing),
        cmocka_unit_test(tells_of_what_it_has_no_place_for),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
