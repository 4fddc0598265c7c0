/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * Each body is read whole, byte by byte, cut at every byte, and with the border between two blocks
 * of the chain at every byte. What comes out is put into one line of text.
 */

struct sample {
    enum ps_operation operation;
    const char *content_type;
    const char *body;
    const char *expected; /* "model stream …" or "fault param" */
};

static void show_span(const struct rig *rig, char *out, size_t size, const char *name,
                      struct ps_span span)
{
    char text[128];
    size_t len = strlen(out);

    if (span.end != 0) {
        assert_true(span.end > span.start && span.end <= rig->body.len &&
                    span.end - span.start < sizeof(text));
        ps_chain_copy(&rig->body, (size_t)span.start, (size_t)(span.end - span.start), text);
        (void)snprintf(out + len, size - len, " %s=%.*s", name, (int)(span.end - span.start), text);
    }
}

static void show(const struct rig *rig, int rc, char *out, size_t size)
{
    const struct ps_request *request = &rig->request;

    if (rc != 0) {
        (void)snprintf(out, size, "%s %s", ps_fault_name(rig->fault.kind), rig->fault.param);
        assert_true(rig->fault.message[0] != '\0');
        return;
    }
    (void)snprintf(out, size, "[%.*s]%s%s%s%s", (int)request->model.len,
                   request->model.len > 0 ? request->model.ptr : "",
                   request->stream ? " stream" : "", request->include_usage ? " include" : "",
                   request->stream_options_empty ? " empty" : "",
                   request->multipart ? " form" : "");
    show_span(rig, out, size, "model", request->model_span);
    show_span(rig, out, size, "options", request->stream_options_span);
    show_span(rig, out, size, "usage", request->include_usage_span);
}

static void read_one(const struct sample *sample, struct ps_slice body, const struct cut *cut,
                     const char *expected)
{
    struct rig rig;
    struct ps_reader_options options = {.operation = sample->operation};
    char seen[512];
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_OPENAI;
    rig.request.operation = sample->operation;
    rig.request.method = PS_SLICE_LIT("POST");
    rig.request.path = PS_SLICE_LIT("/responses");
    rig.request.content_type = ps_slice_cstr(sample->content_type);
    rc = rig_read(&rig, &options, body, cut);
    show(&rig, rc, seen, sizeof(seen));
    if (strcmp(seen, expected) != 0) {
        fail_msg("%s (cut %zu, shift %zu): expected %s, found %s (%s)", sample->body, cut->at,
                 cut->shift, expected, seen, rig.fault.message);
    }
    rig_deinit(&rig);
}

static void read_every_way(const struct sample *sample)
{
    struct ps_slice body = ps_slice_cstr(sample->body);
    bool form = strstr(sample->content_type, "multipart") != NULL;

    read_one(sample, body, &(struct cut){.at = 0}, sample->expected);
    read_one(sample, body, &(struct cut){.bytes = true}, sample->expected);
    for (size_t at = 1; at < body.len; at++) {
        read_one(sample, body, &(struct cut){.at = at}, sample->expected);
    }
    for (size_t shift = 1; !form && shift <= body.len && body.len < 300; shift++) {
        read_one(sample, body, &(struct cut){.shift = shift}, sample->expected);
    }
}

static void read_all(const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        read_every_way(&samples[i]);
    }
}
#define READ_ALL(samples) read_all(samples, sizeof(samples) / sizeof((samples)[0]))

#define JSON "application/json"
#define MSG  "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void takes_good_requests(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, JSON, "{" MSG "}", "[]"},
        {PS_OP_CHAT, "", "{\"model\":\"m\"," MSG "} ", "[m] model=\"m\""},
        {PS_OP_CHAT, "text/plain", "{" MSG ",\"model\":\"a\\u00e9\\/b\"}",
         "[a\xc3\xa9/b] model=\"a\\u00e9\\/b\""},
        {PS_OP_CHAT, JSON, "{\"stream\":true," MSG "}", "[] stream"},
        {PS_OP_CHAT, JSON, "{\"stream\":null," MSG ",\"stream_options\":null}", "[] options=null"},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream_options\":{ }," MSG "}",
         "[] stream empty options={ }"},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," MSG "}",
         "[] stream include options={\"include_usage\":true} usage=true"},
        {PS_OP_CHAT, JSON,
         "{\"stream\":true,\"stream_options\":{\"x\":1,\"include_usage\":false}," MSG "}",
         "[] stream options={\"x\":1,\"include_usage\":false} usage=false"},
        {PS_OP_CHAT, JSON,
         "{" MSG ",\"max_tokens\":2147483647,\"max_completion_tokens\":1e2,\"temperature\":100,"
         "\"top_p\":0.0,"
         "\"n\":128,\"seed\":-9223372036854775808,\"stop\":[\"a\",\"b\"],\"unknown\":{\"base_url\":"
         "1}}",
         "[]"},
        {PS_OP_CHAT, JSON,
         "{" MSG ",\"max_tokens\":null,\"temperature\":null,\"n\":null,\"stop\":null}", "[]"},
        {PS_OP_CHAT, JSON, "{" MSG ",\"stop\":\"x\",\"input\":5,\"prompt\":5}", "[]"},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":\"x\",\"model\":\"m\"}", "[m] model=\"m\""},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":[1,2],\"max_tokens\":0}", "[]"},
        {PS_OP_EMBED, JSON, "{\"input\":[\"a\"],\"stream_options\":1,\"temperature\":\"x\"}",
         "[] options=1"},
        {PS_OP_EMBED, JSON, "{\"input\":\"a\"}", "[]"},
    };

    (void)state;
    READ_ALL(samples);
}

static void refuses_bad_json(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, JSON, "", "bad_json "},
        {PS_OP_CHAT, JSON, "  ", "bad_json "},
        {PS_OP_CHAT, JSON, "[" MSG "]", "bad_json "},
        {PS_OP_CHAT, JSON, "[}", "bad_json "},
        {PS_OP_CHAT, JSON, "1", "bad_json "},
        {PS_OP_CHAT, JSON, "null", "bad_json "},
        {PS_OP_CHAT, JSON, "{" MSG, "bad_json "},
        {PS_OP_CHAT, JSON, "{" MSG "} x", "bad_json "},
        {PS_OP_CHAT, JSON, "{" MSG ",}", "bad_json "},
        {PS_OP_CHAT, JSON, "{\"a\":\"\xff\"," MSG "}", "bad_json "},
        {PS_OP_CHAT, JSON, "{\"model\":\"a\"," MSG ",\"mod\\u0065l\":\"b\"}", "bad_json model"},
        {PS_OP_CHAT, JSON, "{" MSG "," MSG "}", "bad_json messages"},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream\":false}", "bad_json stream"},
        {PS_OP_CHAT, JSON, "{\"max_tokens\":1,\"max_tokens\":2}", "bad_json max_tokens"},
        {PS_OP_CHAT, JSON, "{\"stream_options\":{\"include_usage\":true,\"include_usage\":true}}",
         "bad_json stream_options.include_usage"},
    };

    (void)state;
    READ_ALL(samples);
}

static void refuses_bad_fields(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_CHAT, JSON, "{}", "missing_field messages"},
        {PS_OP_CHAT, JSON, "{\"messages\":null}", "missing_field messages"},
        {PS_OP_CHAT, JSON, "{\"messages\":[ ]}", "bad_field messages"},
        {PS_OP_CHAT, JSON, "{\"messages\":{}}", "bad_field messages"},
        {PS_OP_CHAT, JSON, "{\"messages\":[{\"role\":\"user\"},7]}", "bad_field messages[1]"},
        {PS_OP_CHAT, JSON, "{\"messages\":[{\"role\":\"user\"},{\"content\":\"x\"}]}",
         "bad_field messages[1].role"},
        {PS_OP_CHAT, JSON, "{\"messages\":[{\"role\":7}]}", "bad_field messages[0].role"},
        {PS_OP_CHAT, JSON, "{\"messages\":[{\"role\":\"a\",\"role\":7}]}",
         "bad_field messages[0].role"},
        {PS_OP_CHAT, JSON, "{\"messages\":[[{\"role\":\"user\"}]]}", "bad_field messages[0]"},
        {PS_OP_CHAT, JSON, "{\"model\":\"\"," MSG "}", "bad_field model"},
        {PS_OP_CHAT, JSON, "{\"model\":null," MSG "}", "bad_field model"},
        {PS_OP_CHAT, JSON, "{\"model\":[\"m\"]," MSG "}", "bad_field model"},
        {PS_OP_CHAT, JSON, "{\"model\":\"a\\r\\nb\"," MSG "}", "bad_field model"},
        {PS_OP_CHAT, JSON, "{\"stream\":\"true\"," MSG "}", "bad_field stream"},
        {PS_OP_CHAT, JSON, "{\"stream\":1," MSG "}", "bad_field stream"},
        {PS_OP_CHAT, JSON, "{\"stream_options\":{}," MSG "}", "bad_field stream_options"},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream_options\":[]," MSG "}",
         "bad_field stream_options"},
        {PS_OP_CHAT, JSON, "{\"stream\":true,\"stream_options\":{\"include_usage\":1}," MSG "}",
         "bad_field stream_options.include_usage"},
        {PS_OP_CHAT, JSON, "{\"max_tokens\":0," MSG "}", "bad_field max_tokens"},
        {PS_OP_CHAT, JSON, "{\"max_tokens\":-1," MSG "}", "bad_field max_tokens"},
        {PS_OP_CHAT, JSON, "{\"max_tokens\":2147483648," MSG "}", "bad_field max_tokens"},
        {PS_OP_CHAT, JSON, "{\"max_tokens\":1.5," MSG "}", "bad_field max_tokens"},
        {PS_OP_CHAT, JSON, "{\"max_tokens\":\"5\"," MSG "}", "bad_field max_tokens"},
        {PS_OP_CHAT, JSON, "{\"max_completion_tokens\":false," MSG "}",
         "bad_field max_completion_tokens"},
        {PS_OP_CHAT, JSON, "{\"temperature\":-0.1," MSG "}", "bad_field temperature"},
        {PS_OP_CHAT, JSON, "{\"temperature\":1e400," MSG "}", "bad_field temperature"},
        {PS_OP_CHAT, JSON, "{\"temperature\":\"1\"," MSG "}", "bad_field temperature"},
        {PS_OP_CHAT, JSON, "{\"top_p\":1.01," MSG "}", "bad_field top_p"},
        {PS_OP_CHAT, JSON, "{\"n\":0," MSG "}", "bad_field n"},
        {PS_OP_CHAT, JSON, "{\"n\":1e9," MSG "}", "bad_field n"},
        {PS_OP_CHAT, JSON, "{\"seed\":9223372036854775808," MSG "}", "bad_field seed"},
        {PS_OP_CHAT, JSON, "{\"stop\":5," MSG "}", "bad_field stop"},
        {PS_OP_CHAT, JSON, "{\"stop\":[\"a\",null]," MSG "}", "bad_field stop"},
        {PS_OP_CHAT, JSON, "{\"base_url\":\"http://x\"," MSG "}", "forbidden_field base_url"},
        {PS_OP_CHAT, JSON, "{\"api_base\":null," MSG "}", "forbidden_field api_base"},
        {PS_OP_EMBED, JSON, "{\"api_key\":\"k\",\"input\":\"a\"}", "forbidden_field api_key"},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":\"x\",\"max_tokens\":-1}", "bad_field max_tokens"},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":\"x\",\"max_tokens\":[]}", "bad_field max_tokens"},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":\"\"}", "bad_field prompt"},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":[]}", "bad_field prompt"},
        {PS_OP_COMPLETE, JSON, "{\"prompt\":{}}", "bad_field prompt"},
        {PS_OP_COMPLETE, JSON, "{}", "missing_field prompt"},
        {PS_OP_EMBED, JSON, "{\"prompt\":\"x\"}", "missing_field input"},
        {PS_OP_EMBED, JSON, "{\"input\":[\n]}", "bad_field input"},
    };

    (void)state;
    READ_ALL(samples);
}

/* The name's bound is in unescaped bytes. */
static void bounds_the_model(void **state)
{
    static const size_t lengths[] = {1, 255, 256, 257, 300, 2000};
    char body[16384];

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (int escaped = 0; escaped < 2; escaped++) {
            struct rig rig;
            struct ps_reader_options options = {.operation = PS_OP_CHAT};
            size_t len = (size_t)snprintf(body, sizeof(body), "{%s,\"model\":\"", MSG);

            for (size_t j = 0; j < lengths[i]; j++) {
                len += (size_t)snprintf(body + len, sizeof(body) - len, "%s",
                                        escaped != 0 ? "\\u0061" : "a");
            }
            len += (size_t)snprintf(body + len, sizeof(body) - len, "\"}");
            rig_init(&rig);
            rig.request.operation = PS_OP_CHAT;
            assert_int_equal(rig_read(&rig, &options, ps_slice(body, len), &(struct cut){.at = 0}),
                             lengths[i] <= 256 ? 0 : -1);
            if (lengths[i] <= 256) {
                assert_int_equal(rig.request.model.len, lengths[i]);
            } else {
                assert_string_equal(rig.fault.param, "model");
            }
            rig_deinit(&rig);
        }
    }
}

#define FORM "multipart/form-data; boundary=XX"
#define PART(name, value)                                                                          \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void relays_other_paths(void **state)
{
    static const struct sample samples[] = {
        {PS_OP_PASS, JSON,
         "{\"model\":\"m\",\"stream\":true,\"temperature\":\"hot\",\"base_url\":1}",
         "[m] stream model=\"m\""},
        {PS_OP_PASS, JSON, "{\"stream\":\"yes\"}", "[]"},
        {PS_OP_PASS, JSON, "", "[]"},
        {PS_OP_PASS, JSON, "[]", "bad_json "},
        {PS_OP_PASS, "application/vnd.x+json; charset=utf-8", "{\"model\":\"m\"}",
         "[m] model=\"m\""},
        {PS_OP_PASS, JSON, "{\"model\":\"m\",\"model\":\"n\"}", "bad_json model"},
        {PS_OP_PASS, JSON, "{\"model\":7}", "bad_field model"},
        {PS_OP_PASS, "application/x-www-form-urlencoded", " {\"model\":\"m\"}", "[m] model=\"m\""},
        {PS_OP_PASS, "application/x-www-form-urlencoded", "model=m", "[]"},
        {PS_OP_PASS, "", "  ", "[]"},
        {PS_OP_PASS, "application/octet-stream", "{\"model\":\"m\"", "[]"},
        {PS_OP_PASS, FORM, PART("file", "a\r\n--XY\r\n") PART("model", "whisper") "--XX--\r\n",
         "[whisper] form model=whisper"},
        {PS_OP_PASS, FORM, PART("model", "w") PART("stream", "true") "--XX--",
         "[w] stream form model=w"},
        {PS_OP_PASS, FORM, PART("stream", "1") "--XX--", "[] form"},
        {PS_OP_PASS, FORM, PART("model", "") "--XX--", "bad_field model"},
        {PS_OP_PASS, FORM, PART("model", "a") PART("model", "b") "--XX--", "bad_field model"},
        {PS_OP_PASS, FORM, PART("model", "a"), "bad_field "},
        {PS_OP_PASS, "multipart/form-data", "--XX--", "bad_field "},
        {PS_OP_PASS, "multipart/form-data", "", "[]"},
    };

    (void)state;
    READ_ALL(samples);
}

/* Whichever allocation fails, the reader says so and leaks nothing. */
static void survives_short_memory(void **state)
{
    static const char body[] = "{\"model\":\"m\",\"stream\":true," MSG "}";
    struct ps_reader_options options = {.operation = PS_OP_CHAT};
    int failures = 0;

    (void)state;
    for (int64_t after = 0; after < 64; after++) {
        struct rig rig;
        int rc;

        rig_init(&rig);
        rig.request.operation = PS_OP_CHAT;
        (void)ps_mem_fail_after(after);
        rc = rig_read(&rig, &options, PS_SLICE_LIT(body), &(struct cut){.bytes = true});
        (void)ps_mem_fail_after(-1);
        if (rc != 0) {
            assert_int_equal(rig.fault.kind, PS_FAULT_NO_MEMORY);
            failures++;
        } else {
            assert_true(rig.request.stream);
        }
        rig_deinit(&rig);
    }
    assert_in_range(failures, 2, 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_good_requests), cmocka_unit_test(refuses_bad_json),
        cmocka_unit_test(refuses_bad_fields),  cmocka_unit_test(bounds_the_model),
        cmocka_unit_test(relays_other_paths),  cmocka_unit_test(survives_short_memory),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
