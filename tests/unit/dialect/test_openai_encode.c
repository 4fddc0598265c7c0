/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/* Requests are read and then encoded; also with the border between two blocks of the chain at every
 * byte. */

struct sample {
    enum ps_operation operation;
    const char *content_type;
    const char *body;
    const char *model; /* the target's */
    bool active;
    const char *expected; /* the body that goes out */
    bool withhold;
};

static void encode_one(const struct sample *sample, const struct cut *cut)
{
    struct rig rig;
    struct ps_reader_options options = {.operation = sample->operation};
    struct ps_encode_options encode = {.model = ps_slice_cstr(sample->model),
                                       .active_accounting = sample->active};
    struct ps_encoded encoded;
    size_t pad = cut->shift > 0 ? PS_BLOCK_BYTES - cut->shift : 0;
    char *out;

    rig_init(&rig);
    rig.request.operation = sample->operation;
    rig.request.method = PS_SLICE_LIT("POST");
    rig.request.path = PS_SLICE_LIT("/responses");
    rig.request.content_type = ps_slice_cstr(sample->content_type);
    if (rig_read(&rig, &options, ps_slice_cstr(sample->body), cut) != 0) {
        fail_msg("%s: %s", sample->body, rig.fault.message);
    }
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &encode, &rig.arena,
                                       &encoded, &rig.fault),
                     0);
    assert_true(encoded.has_body);
    assert_int_equal(encoded.withhold_usage, sample->withhold);
    out = rig_join(&encoded);
    assert_true(encoded.length >= pad);
    if (strcmp(out + pad, sample->expected) != 0) {
        fail_msg("%s (shift %zu)\nexpected %s\nfound    %s", sample->body, cut->shift,
                 sample->expected, out + pad);
    }
    free(out);
    rig_deinit(&rig);
}

#define JSON "application/json"
#define MSG  "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define WANT "\"stream_options\":{\"include_usage\":true}"

static void edits_only_what_it_must(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, JSON, "{\"model\":\"a\", " MSG ",\"x\":1e999}", "a", true,
         "{\"model\":\"a\", " MSG ",\"x\":1e999}", false},
        {PS_OP_CHAT, JSON, "{\"model\":\"\\u0061\"," MSG "}", "a", true,
         "{\"model\":\"\\u0061\"," MSG "}", false},
        {PS_OP_CHAT, JSON, "{" MSG ",\"model\" : \"a\" }", "b\"/\xc3\xa9", true,
         "{" MSG ",\"model\" : \"b\\\"/\xc3\xa9\" }", false},
        {PS_OP_CHAT, JSON, "{\"model\":\"a\"," MSG "}", "", true, "{\"model\":\"a\"," MSG "}",
         false},
        {PS_OP_CHAT, JSON, " {" MSG "}", "b", true, " {\"model\":\"b\"," MSG "}", false},
        {PS_OP_CHAT, JSON, "{\"model\":\"a\"," MSG ",\"stream\":true}", "b", true,
         "{" WANT ",\"model\":\"b\"," MSG ",\"stream\":true}", true},
        {PS_OP_CHAT, JSON, "{\"model\":\"a\"," MSG ",\"stream\":true}", "b", false,
         "{\"model\":\"b\"," MSG ",\"stream\":true}", false},
        {PS_OP_CHAT, JSON, "{\"stream\":true," MSG "}", "b", true,
         "{\"model\":\"b\"," WANT ",\"stream\":true," MSG "}", true},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream_options\":null," MSG ",\"model\":\"a\"}", "b",
         true, "{\"stream\":true," WANT "," MSG ",\"model\":\"b\"}", true},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream_options\":{ }," MSG ",\"model\":\"a\"}", "a",
         true,
         "{\"stream\":true,\"stream_options\":{\"include_usage\":true }," MSG ",\"model\":\"a\"}",
         true},
        {PS_OP_CHAT, JSON,
         "{\"model\":\"a\",\"stream\":true,\"stream_options\":{\"x\":{}}," MSG "}", "b", true,
         "{\"model\":\"b\",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":{}}"
         "," MSG "}",
         true},
        {PS_OP_CHAT, JSON,
         "{\"stream\":true,\"stream_options\":{\"include_usage\": false},\"model\":\"a\"," MSG "}",
         "b", true,
         "{\"stream\":true,\"stream_options\":{\"include_usage\": true},\"model\":\"b\"," MSG "}",
         true},
        {PS_OP_CHAT, JSON,
         "{\"stream\":true,\"stream_options\":{\"include_usage\":null}," MSG ",\"model\":\"a\"}",
         "a", true,
         "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," MSG ",\"model\":\"a\"}",
         true},
        {PS_OP_CHAT, JSON, "{\"stream\":true," WANT "," MSG ",\"model\":\"a\"}", "a", true,
         "{\"stream\":true," WANT "," MSG ",\"model\":\"a\"}", false},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":\"x\",\"stream\":true}", "", true,
         "{" WANT ",\"prompt\":\"x\",\"stream\":true}", true},
        {PS_OP_EMBED, JSON, "{\"input\":\"x\",\"stream\":true}", "e", true,
         "{\"model\":\"e\",\"input\":\"x\",\"stream\":true}", false},
        {PS_OP_PASS, JSON, "{\"stream\":true,\"model\":\"a\"}", "b", true,
         "{\"stream\":true,\"model\":\"b\"}", false},
        {PS_OP_PASS, JSON, "{ }", "b", true, "{\"model\":\"b\" }", false},
        {PS_OP_PASS, "image/png", "{}", "b", true, "{}", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        encode_one(&samples[i], &(struct cut){.at = 0});
        for (size_t shift = 1; shift <= strlen(samples[i].body); shift++) {
            encode_one(&samples[i], &(struct cut){.shift = shift});
        }
    }
}

static void edits_forms(void **state)
{
    static const struct sample sample = {
        PS_OP_PASS,
        "multipart/form-data; boundary=\"a b\"",
        "--a b\r\nContent-Disposition: form-data; name=model\r\n\r\nalias\r\n--a b--\r\n",
        "real \"one\"",
        true,
        "--a b\r\nContent-Disposition: form-data; name=model\r\n\r\nreal \"one\"\r\n--a b--\r\n",
        false};

    (void)state;
    encode_one(&sample, &(struct cut){.at = 0});
}

/* Line by line: operation, stream → method, path, types. */
static void addresses_requests(void **state)
{
    static const struct {
        enum ps_operation operation;
        bool stream;
        const char *expected;
    } rows[] = {
        {PS_OP_CHAT, false, "POST /chat/completions application/json application/json 0"},
        {PS_OP_CHAT, true, "POST /chat/completions application/json text/event-stream 1"},
        {PS_OP_COMPLETE, false, "POST /completions application/json application/json 0"},
        {PS_OP_EMBED, false, "POST /embeddings application/json application/json 0"},
        {PS_OP_MODELS, false, "GET /models  application/json 0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        struct ps_encode_options options = {.active_accounting = false};
        struct ps_encoded encoded;
        char seen[256];

        rig_init(&rig);
        rig.request.operation = rows[i].operation;
        rig.request.stream = rows[i].stream;
        assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options,
                                           &rig.arena, &encoded, &rig.fault),
                         0);
        (void)snprintf(seen, sizeof(seen), "%s %.*s %.*s %.*s %d", encoded.method,
                       (int)encoded.path.len, encoded.path.ptr, (int)encoded.content_type.len,
                       encoded.content_type.ptr, (int)encoded.accept.len, encoded.accept.ptr,
                       encoded.stream);
        assert_string_equal(seen, rows[i].expected);
        rig_deinit(&rig);
    }
}

static void relays_paths(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        const char *query;
        const char *expected; /* NULL: refused */
    } rows[] = {
        {"GET", "/files/file-1/content", "", "GET /files/file-1/content 0"},
        {"GET", "/x", "a=b&c=%20", "GET /x?a=b&c=%20 0"},
        {"POST", "/audio/speech", "", "POST /audio/speech 1"},
        {"DELETE", "/a/..b/b../...", "", "DELETE /a/..b/b../... 0"},
        {"GET", "/%41%2fb", "", "GET /%41%2fb 0"},
        {"GET", "", "", NULL},
        {"GET", "x", "", NULL},
        {"GET", "/../admin", "", NULL},
        {"GET", "/a/..", "", NULL},
        {"GET", "/a/./b", "", NULL},
        {"GET", "/a/%2e%2E/b", "", NULL},
        {"GET", "/a%2f..%2Fb", "", NULL},
        {"GET", "/a/.%2e", "", NULL},
        {"GET", "/a%5c..%5cb", "", NULL},
        {"GET", "/a\\..", "", NULL},
        {"GET", "/a b", "", NULL},
        {"GET", "/a?b", "", NULL},
        {"GET", "/a#b", "", NULL},
        {"GET", "/\xc3\xa9", "", NULL},
        {"GET", "/a", "x\r\ny", NULL},
        {"GET", "/a", "x#y", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        struct ps_encode_options options = {.active_accounting = true};
        struct ps_encoded encoded;
        char seen[256];
        int rc;

        rig_init(&rig);
        rig.request.operation = PS_OP_PASS;
        rig.request.method = ps_slice_cstr(rows[i].method);
        rig.request.path = ps_slice_cstr(rows[i].path);
        rig.request.query = ps_slice_cstr(rows[i].query);
        rc = ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &options, &rig.arena,
                               &encoded, &rig.fault);
        if (rows[i].expected == NULL) {
            assert_int_equal(rc, -1);
            assert_int_equal(rig.fault.kind, PS_FAULT_NOT_FOUND);
        } else {
            assert_int_equal(rc, 0);
            (void)snprintf(seen, sizeof(seen), "%s %.*s %d", encoded.method, (int)encoded.path.len,
                           encoded.path.ptr, encoded.has_body);
            assert_string_equal(seen, rows[i].expected);
        }
        rig_deinit(&rig);
    }
}

/* What `curl -d` sends goes up as what it is. */
static void names_json_json(void **state)
{
    struct rig rig;
    struct ps_reader_options options = {.operation = PS_OP_PASS};
    struct ps_encode_options encode = {.active_accounting = true};
    struct ps_encoded encoded;

    (void)state;
    rig_init(&rig);
    rig.request.operation = PS_OP_PASS;
    rig.request.method = PS_SLICE_LIT("POST");
    rig.request.path = PS_SLICE_LIT("/responses");
    rig.request.content_type = PS_SLICE_LIT("application/x-www-form-urlencoded");
    assert_int_equal(
        rig_read(&rig, &options, PS_SLICE_LIT("{\"stream\":true}"), &(struct cut){.at = 0}), 0);
    assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &encode, &rig.arena,
                                       &encoded, &rig.fault),
                     0);
    assert_true(ps_slice_eq(encoded.content_type, PS_SLICE_LIT("application/json")));
    assert_true(encoded.stream);
    rig_deinit(&rig);
}

static void writes_chats_for_generate(void **state)
{
    static const struct {
        const char *body;
        bool bare;
        bool text;
        const char *model;
        const char *expected;
    } rows[] = {
        {"{\"prompt\":\"h\\u0069\"}", false, false, "m",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\\u0069\"}]}"},
        {"{\"prompt\":\"hi\",\"model\":\"mine\",\"stream\":true,\"seed\":1e2}", false, false, "",
         "{\"model\":\"mine\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"seed\":1e2,"
         "\"stream\":true," WANT "}"},
        {"{\"messages\":[ "
         "{\"role\":\"user\",\"content\":[1]}],\"system\":\"be\",\"max_tokens\":5,\"temperature\":"
         "0.50,"
         "\"top_p\":1,\"stop\":[\"a\"],\"model\":null_is_not_here}",
         false, false, "m", NULL},
        {"{\"messages\":[ "
         "{\"role\":\"user\",\"content\":\"x\"}],\"system\":\"be\",\"max_tokens\":5,"
         "\"temperature\":0.50,"
         "\"top_p\":1,\"stop\":[\"a\"]}",
         false, false, "m",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be\"},"
         "{\"role\":\"user\",\"content\":\"x\"}],"
         "\"max_tokens\":5,\"temperature\":0.50,\"top_p\":1,\"stop\":[\"a\"]}"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}}]}]}",
         false, false, "",
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}}]}]}"},
        {"say \"\\\n\x01\"", true, true, "m",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"say "
         "\\\"\\\\\\n\\u0001\\\"\"}],"
         "\"stream\":true," WANT "}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t shift = 0; shift <= (rows[i].bare ? 0 : strlen(rows[i].body)); shift++) {
            struct rig rig;
            struct ps_reader_options options = {
                .operation = PS_OP_CHAT, .bare_text = rows[i].bare, .want_text = rows[i].text};
            struct ps_encode_options encode = {.model = ps_slice_cstr(rows[i].model),
                                               .active_accounting = true};
            struct ps_encoded encoded;
            char *out;

            rig_init(&rig);
            rig.request.family = PS_FAMILY_GENERATE;
            rig.request.operation = PS_OP_CHAT;
            if (rows[i].expected == NULL) {
                assert_int_equal(rig_read(&rig, &options, ps_slice_cstr(rows[i].body),
                                          &(struct cut){.shift = shift}),
                                 -1);
                rig_deinit(&rig);
                continue;
            }
            if (rig_read(&rig, &options, ps_slice_cstr(rows[i].body),
                         &(struct cut){.shift = shift}) != 0) {
                fail_msg("%s: %s", rows[i].body, rig.fault.message);
            }
            assert_int_equal(ps_dialect_encode(ps_dialect_find("openai"), &rig.request, &encode,
                                               &rig.arena, &encoded, &rig.fault),
                             0);
            assert_false(encoded.withhold_usage);
            out = rig_join(&encoded);
            assert_string_equal(out, rows[i].expected);
            free(out);
            rig_deinit(&rig);
        }
    }
}

static void refuses_what_it_does_not_speak(void **state)
{
    const struct ps_dialect *openai = ps_dialect_find("openai");
    struct ps_encode_options options = {.active_accounting = true};
    struct ps_encoded encoded;
    struct rig rig;
    const char *header;
    const char *prefix;

    (void)state;
    assert_true(ps_dialect_speaks(openai, PS_FAMILY_OPENAI, PS_OP_PASS));
    assert_true(ps_dialect_speaks(openai, PS_FAMILY_GENERATE, PS_OP_CHAT));
    assert_false(ps_dialect_speaks(openai, PS_FAMILY_GENERATE, PS_OP_EMBED));
    assert_false(ps_dialect_speaks(ps_dialect_of_family(PS_FAMILY_GENERATE), PS_FAMILY_GENERATE,
                                   PS_OP_CHAT));
    assert_null(ps_dialect_find("generate"));
    assert_null(ps_dialect_find("OpenAI"));
    assert_int_equal(ps_dialect_family(openai), PS_FAMILY_OPENAI);
    for (const char *const *name = ps_dialect_names(); *name != NULL; name++) {
        assert_non_null(ps_dialect_find(*name));
    }
    ps_dialect_credential(openai, &header, &prefix);
    assert_string_equal(header, "authorization");
    assert_string_equal(prefix, "Bearer ");
    rig_init(&rig);
    rig.request.family = PS_FAMILY_GENERATE;
    rig.request.operation = PS_OP_EMBED;
    assert_int_equal(
        ps_dialect_encode(openai, &rig.request, &options, &rig.arena, &encoded, &rig.fault), -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_UNSUPPORTED_OPERATION);
    rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_only_what_it_must),
        cmocka_unit_test(edits_forms),
        cmocka_unit_test(addresses_requests),
        cmocka_unit_test(relays_paths),
        cmocka_unit_test(names_json_json),
        cmocka_unit_test(writes_chats_for_generate),
        cmocka_unit_test(refuses_what_it_does_not_speak),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
