/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include "penstock/base/json_scan.h"

/* Each body is read whole, byte by byte, cut at every byte, and with the border of two blocks at
 * every byte. */

enum form {
    JSON,
    TEXT,
    EITHER
};

struct sample {
    enum form form;
    bool want_text;
    const char *body;
    const char *expected; /* values by name, or "fault param" */
};

static void show_value(char *out, size_t size, const char *name, struct ps_slice raw)
{
    size_t len = strlen(out);

    if (raw.len > 0) {
        (void)snprintf(out + len, size - len, " %s=%.*s", name, (int)raw.len, raw.ptr);
    }
}

/* Whether the prompt is the whole body, as text. */
static bool is_bare(const struct ps_request *request)
{
    char text[1024];
    char body[1024];

    if (request->generate->prompt.len > sizeof(text) || request->body->len > sizeof(body)) {
        return false;
    }
    ps_chain_copy(request->body, 0, request->body->len, body);
    return ps_slice_eq(ps_slice(text, ps_json_unescape(request->generate->prompt, text)),
                       ps_slice(body, request->body->len));
}

static void show(const struct rig *rig, int rc, char *out, size_t size)
{
    const struct ps_request *request = &rig->request;

    if (rc != 0) {
        (void)snprintf(out, size, "%s %s", ps_fault_name(rig->fault.kind), rig->fault.param);
        return;
    }
    if (request->family != PS_FAMILY_GENERATE) {
        (void)snprintf(out, size, "tgi%s", request->stream ? " stream" : "");
        return;
    }
    (void)snprintf(out, size, "[%.*s]%s%s", (int)request->model.len,
                   request->model.len > 0 ? request->model.ptr : "",
                   request->stream ? " stream" : "", request->background ? " background" : "");
    if (request->shape != 0) {
        (void)snprintf(out + strlen(out), size - strlen(out), " sglang");
        return;
    }
    show_value(out, size, "system", request->generate->system);
    show_value(out, size, "prompt", request->generate->prompt);
    show_value(out, size, "messages", request->generate->messages);
    show_value(out, size, "max", request->generate->max_tokens);
    show_value(out, size, "t", request->generate->temperature);
    show_value(out, size, "p", request->generate->top_p);
    show_value(out, size, "seed", request->generate->seed);
    show_value(out, size, "stop", request->generate->stop);
    show_value(out, size, "webhook", request->generate->webhook);
    if (request->generate->bare != (request->generate->prompt.len > 0 && request->body->len > 0 &&
                                    request->model_span.end == 0 && is_bare(request))) {
        show_value(out, size, "bare", PS_SLICE_LIT("wrong"));
    }
}

static void read_one(const struct sample *sample, const struct cut *cut)
{
    struct rig rig;
    struct ps_reader_options options = {
        .operation = PS_OP_CHAT,
        .bare_text = sample->form == TEXT,
        .text_or_json = sample->form == EITHER,
        .want_text = sample->want_text,
    };
    char seen[512];
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_GENERATE;
    rig.request.operation = PS_OP_CHAT;
    rc = rig_read(&rig, &options, ps_slice_cstr(sample->body), cut);
    show(&rig, rc, seen, sizeof(seen));
    if (strcmp(seen, sample->expected) != 0) {
        fail_msg("%s (cut %zu, shift %zu)\nexpected %s\nfound    %s (%s)", sample->body, cut->at,
                 cut->shift, sample->expected, seen, rig.fault.message);
    }
    rig_deinit(&rig);
}

static void read_all(const struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(samples[i].body);

        read_one(&samples[i], &(struct cut){.at = 0});
        read_one(&samples[i], &(struct cut){.bytes = true});
        for (size_t at = 1; at < len; at++) {
            read_one(&samples[i], &(struct cut){.at = at});
        }
        for (size_t shift = 1; samples[i].form == JSON && shift <= len; shift++) {
            read_one(&samples[i], &(struct cut){.shift = shift});
        }
    }
}
#define READ_ALL(samples) read_all(samples, sizeof(samples) / sizeof((samples)[0]))

/* Who says inputs speaks TGI's language. */
static void knows_tgi(void **state)
{
    static const struct sample samples[] = {
        {JSON, false, "{\"inputs\":\"a\"}", "tgi"},
        {EITHER, true, "{\"inputs\":\"a\",\"parameters\":{},\"new\":1}", "tgi"},
        {JSON, false, "{\"stream\":true,\"inputs\":\"a\"}", "tgi stream"},
        {EITHER, false, "{\"inputs\":\"a\"} no", "[] prompt=\"{\\\"inputs\\\":\\\"a\\\"} no\""},
    };

    (void)state;
    READ_ALL(samples);
}

/* SGLang's shape: the text is read with the rest of it, later. */
static void takes_sglang(void **state)
{
    static const struct sample samples[] = {
        {JSON, false, "{\"text\":\"hi\",\"sampling_params\":{},\"stream\":true,\"model\":\"m\"}",
         "[m] stream sglang"},
        {JSON, true, "{\"text\":\"hi\"}", "[] stream sglang"},
        {JSON, false, "{\"text\":\"\"}", "bad_field text"},
        {JSON, false, "{\"text\":\"a\",\"messages\":[{\"role\":\"user\"}]}", "bad_field messages"},
        {JSON, false, "{\"text\":\"a\",\"text\":\"b\"}", "bad_json text"},
    };

    (void)state;
    READ_ALL(samples);
}

static void takes_good_requests(void **state)
{
    static const struct sample samples[] = {
        {JSON, false, "{\"prompt\":\"hi\"}", "[] prompt=\"hi\""},
        {JSON, false,
         "{\"prompt\":\"hi\",\"system\":\"\",\"model\":\"a/"
         "b\",\"max_tokens\":7,\"temperature\":0.5,\"top_p\":1,"
         "\"stop\":[\"x\"],\"seed\":-1,\"stream\":true}",
         "[a/b] stream system=\"\" prompt=\"hi\" max=7 t=0.5 p=1 seed=-1 stop=[\"x\"]"},
        {JSON, false,
         "{\"messages\":[{\"role\":\"user\",\"x\":{\"y\":[{\"z\":1}]}}],\"prompt\":null,\"stop\":"
         "null}",
         "[] messages=[{\"role\":\"user\",\"x\":{\"y\":[{\"z\":1}]}}]"},
        {JSON, true, "{\"prompt\":\"hi\",\"stream\":false}", "[] stream prompt=\"hi\""},
        {JSON, true, "{\"prompt\":\"hi\",\"background\":true}", "[] background prompt=\"hi\""},
        {JSON, false, "{\"prompt\":\"hi\",\"background\":true,\"webhook\":\"http://h/\"}",
         "[] background prompt=\"hi\" webhook=\"http://h/\""},
        {JSON, false, "{\"prompt\":\"hi\",\"webhook\":{\"url\":1}}",
         "[] prompt=\"hi\" webhook={\"url\":1}"},
        {JSON, false, "{\"prompt\":\"hi\",\"webhook\":null}", "[] prompt=\"hi\""},
        {JSON, false, "{\"pr\\u006fmpt\":\"{\\\"x\\\":1}\"}", "[] prompt=\"{\\\"x\\\":1}\""},
        {TEXT, false, "Why is\nthe \"sky\" \\ blue\x7f?\t\x1b",
         "[] prompt=\"Why is\\nthe \\\"sky\\\" \\\\ blue\x7f?\\t\\u001b\""},
        {TEXT, true, "{\"prompt\":\"hi\"}", "[] stream prompt=\"{\\\"prompt\\\":\\\"hi\\\"}\""},
        {TEXT, false, "\xf0\x9f\x98\x80\xc3\xa9", "[] prompt=\"\xf0\x9f\x98\x80\xc3\xa9\""},
        {EITHER, true, "Why?", "[] stream prompt=\"Why?\""},
        {EITHER, false, " \n Why?", "[] prompt=\" \\n Why?\""},
        {EITHER, false, "  ", "[] prompt=\"  \""},
        {EITHER, false, "a=b&c=%20+d", "[] prompt=\"a=b&c=%20+d\""},
        {EITHER, false, " {\"prompt\":\"hi\",\"max_tokens\":2} ", "[] prompt=\"hi\" max=2"},
        {EITHER, false, "{not json}", "[] prompt=\"{not json}\""},
        {EITHER, false, " {\"prompt\":\"hi\"", "[] prompt=\" {\\\"prompt\\\":\\\"hi\\\"\""},
        {EITHER, false, "{\"prompt\":\"hi\"} and more",
         "[] prompt=\"{\\\"prompt\\\":\\\"hi\\\"} and more\""},
        {EITHER, false, "[1]", "[] prompt=\"[1]\""},
    };

    (void)state;
    READ_ALL(samples);
}

static void refuses_bad_requests(void **state)
{
    static const struct sample samples[] = {
        {JSON, false, "", "bad_json "},
        {JSON, false, "hi", "bad_json "},
        {JSON, false, "{\"prompt\":\"hi\"", "bad_json "},
        {JSON, false, "{\"prompt\":\"hi\"}}", "bad_json "},
        {JSON, false, "{\"prompt\":\"a\",\"prompt\":\"b\"}", "bad_json prompt"},
        {JSON, false, "{}", "missing_field prompt"},
        {JSON, false, "{\"prompt\":\"\"}", "bad_field prompt"},
        {JSON, false, "{\"prompt\":[\"a\"]}", "bad_field prompt"},
        {JSON, false, "{\"messages\":[]}", "bad_field messages"},
        {JSON, false, "{\"messages\":[{}]}", "bad_field messages[0].role"},
        {JSON, false, "{\"prompt\":\"a\",\"messages\":[{\"role\":\"user\"}]}",
         "bad_field messages"},
        {JSON, false, "{\"prompt\":\"a\",\"system\":7}", "bad_field system"},
        {JSON, false, "{\"prompt\":\"a\",\"max_tokens\":0}", "bad_field max_tokens"},
        {JSON, false, "{\"prompt\":\"a\",\"stream\":\"yes\"}", "bad_field stream"},
        {JSON, false, "{\"prompt\":\"a\",\"stream\":true,\"background\":true}",
         "bad_field background"},
        {JSON, false, "{\"prompt\":\"a\",\"webhook\":[]}", "bad_field webhook"},
        {JSON, false, "{\"prompt\":\"a\",\"webhook\":\"a\",\"webhook\":\"b\"}", "bad_json webhook"},
        {JSON, false, "{\"prompt\":\"a\",\"api_key\":\"k\"}", "forbidden_field api_key"},
        {JSON, false, "{\"prompt\":\"a\",\"base_url\":null}", "forbidden_field base_url"},
        {JSON, false, "{\"prompt\":\"a\",\"n\":1}", "unknown_field n"},
        {JSON, false, "{\"inputs\":\"a\",\"prompt\":\"b\"}", "bad_field prompt"},
        {JSON, false, "{\"prompt\":\"a\",\"\":1}", "unknown_field "},
        {JSON, false, "{\"x\\u0079\":{\"a\":[{\"b\":1}]},\"zz\":1,\"prompt\":\"a\"}",
         "unknown_field xy"},
        {JSON, false, "{\"messages.*\":1,\"prompt\":\"a\"}", "unknown_field messages.*"},
        {JSON, false, "{\"prompt\":\"a\",\"a\\u0000\\nb\":1}", "unknown_field a??b"},
        {TEXT, false, "", "bad_field prompt"},
        {TEXT, false, "a\xff", "bad_field prompt"},
        {TEXT, false, "a\xc3", "bad_field prompt"},
        {TEXT, false, "\xed\xa0\x80", "bad_field prompt"},
        {TEXT, false, "\xc0\xaf", "bad_field prompt"},
        {TEXT, false, "\xf4\x90\x80\x80", "bad_field prompt"},
        {EITHER, false, "", "bad_field prompt"},
        {EITHER, false, "{\xff}", "bad_field prompt"},
        {EITHER, false, "{\"prompt\":\"a\",\"prompt\":\"b\"}", "bad_json prompt"},
        {EITHER, false, "{\"prompt\":\"a\",\"x\":1}", "unknown_field x"},
    };

    (void)state;
    READ_ALL(samples);
}

static void refuses_nul(void **state)
{
    struct rig rig;
    struct ps_reader_options options = {.operation = PS_OP_CHAT, .bare_text = true};

    (void)state;
    rig_init(&rig);
    rig.request.family = PS_FAMILY_GENERATE;
    assert_int_equal(rig_read(&rig, &options, ps_slice("a\0b", 3), &(struct cut){.at = 0}), -1);
    assert_int_equal(rig.fault.kind, PS_FAULT_BAD_FIELD);
    rig_deinit(&rig);
}

static void says_what_was_meant(void **state)
{
    static const struct {
        const char *name;
        const char *hint; /* NULL: none */
    } rows[] = {
        {"input", "prompt"},
        {"max_new_tokens", "max_tokens"},
        {"Prompt", "prompt"},
        {"promt", "prompt"},
        {"modle", "model"},
        {"max-tokens", "max_tokens"},
        {"temprature", "temperature"},
        {"banana", NULL},
        {"tools", NULL},
        {"a_name_that_is_much_longer_than_any_that_we_have_and_goes_on_and_on_so_that_it_has_to_be_"
         "cut_off_somewhere_now",
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rig rig;
        struct ps_reader_options options = {.operation = PS_OP_CHAT};
        char body[256];
        char hint[64];

        rig_init(&rig);
        rig.request.family = PS_FAMILY_GENERATE;
        (void)snprintf(body, sizeof(body), "{\"prompt\":\"a\",\"%s\":1}", rows[i].name);
        assert_int_equal(rig_read(&rig, &options, ps_slice_cstr(body), &(struct cut){.at = 0}), -1);
        assert_int_equal(rig.fault.kind, PS_FAULT_UNKNOWN_FIELD);
        (void)snprintf(hint, sizeof(hint), "did you mean \"%s\"?",
                       rows[i].hint != NULL ? rows[i].hint : "");
        if ((strstr(rig.fault.message, hint) != NULL) != (rows[i].hint != NULL) ||
            (rows[i].hint == NULL && strstr(rig.fault.message, "did you mean") != NULL)) {
            fail_msg("%s: %s", rows[i].name, rig.fault.message);
        }
        rig_deinit(&rig);
    }
}

static void survives_short_memory(void **state)
{
    static const struct sample samples[] = {
        {JSON, false, "{\"prompt\":\"hi\",\"model\":\"m\"}", ""},
        {TEXT, false, "some text that is a prompt", ""},
        {EITHER, false, "{\"prompt\":\"hi\",\"model\":\"m\"} no", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        int failures = 0;

        for (int64_t after = 0; after < 40; after++) {
            struct rig rig;
            struct ps_reader_options options = {
                .operation = PS_OP_CHAT,
                .bare_text = samples[i].form == TEXT,
                .text_or_json = samples[i].form == EITHER,
            };
            int rc;

            rig_init(&rig);
            rig.request.family = PS_FAMILY_GENERATE;
            (void)ps_mem_fail_after(after);
            rc =
                rig_read(&rig, &options, ps_slice_cstr(samples[i].body), &(struct cut){.shift = 4});
            (void)ps_mem_fail_after(-1);
            if (rc != 0) {
                assert_int_equal(rig.fault.kind, PS_FAULT_NO_MEMORY);
                failures++;
            }
            rig_deinit(&rig);
        }
        assert_in_range(failures, 2, 39);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_tgi),
        cmocka_unit_test(takes_sglang),
        cmocka_unit_test(takes_good_requests),
        cmocka_unit_test(refuses_bad_requests),
        cmocka_unit_test(refuses_nul),
        cmocka_unit_test(says_what_was_meant),
        cmocka_unit_test(survives_short_memory),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
