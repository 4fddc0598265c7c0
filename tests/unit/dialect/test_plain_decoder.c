/* SPDX-License-Identifier: Apache-2.0 */
#include "answer_rig.h"

/*
 * Answers of models that take a text: Triton, TGI, plain HTTP. Each is fed whole, byte by byte and
 * cut at every byte, and must give the same events each time: one line each, but pings. `join`: the
 * body itself is the text, so pieces of it are put together.
 */

#define SSE         "text/event-stream"
#define JSON        "application/json"
#define NDJSON      "application/x-ndjson"
#define TEXT        "text/plain; charset=utf-8"
#define EVENT(json) "data: " json "\n\n"

struct seen {
    struct rig_log log;
    bool join;
    bool in_text;
};

struct sample {
    const char *name;
    enum ps_operation operation;
    const struct ps_dialect_settings *settings;
    uint32_t memo;
    bool stream;
    const char *type;
    const char *body;
    const char *expected;
    bool join;
};

static bool on_event(void *arg, const struct ps_event *event)
{
    struct seen *seen = arg;
    struct ps_slice text = event->text;

    if (seen->join && event->kind == PS_EVENT_TEXT) {
        assert_true(text.len > 0 && ps_utf8_length(text.ptr, text.len) > 0);
        rig_put(&seen->log, "%s%.*s", seen->in_text ? "" : "text ", (int)text.len, text.ptr);
        seen->in_text = true;
        return true;
    }
    if (seen->in_text) {
        rig_put(&seen->log, "\n");
        seen->in_text = false;
    }
    switch ((int)event->kind) {
    case PS_EVENT_TEXT:
        rig_put(&seen->log, "text %.*s\n", (int)text.len, text.ptr);
        break;
    case PS_EVENT_EMBEDDING:
        rig_put(&seen->log, "vector %u %.*s\n", event->index, (int)text.len, text.ptr);
        break;
    case PS_EVENT_USAGE:
        rig_put(&seen->log, "usage %d %d\n", (int)event->usage.input, (int)event->usage.output);
        break;
    case PS_EVENT_FINISH:
        rig_put(&seen->log, "finish %d %.*s\n", (int)event->finish, (int)event->finish_text.len,
                event->finish_text.ptr);
        break;
    case PS_EVENT_FAULT:
        rig_put(&seen->log, "fault %s %s\n", ps_fault_name(event->fault->kind),
                event->fault->message);
        break;
    case PS_EVENT_RESULT:
        rig_put(&seen->log, "result\n");
        break;
    case PS_EVENT_DONE:
        rig_put(&seen->log, "done\n");
        break;
    case PS_EVENT_PING:
    case PS_EVENT_OPAQUE:
        break;
    default:
        rig_put(&seen->log, "event %d\n", (int)event->kind);
        break;
    }
    return true;
}

static void decode(const struct sample *sample, size_t at, bool bytes, struct seen *seen)
{
    struct rig rig;
    struct ps_decoder_options options = {
        .operation = sample->operation,
        .front = PS_FAMILY_OPENAI,
        .stream = sample->stream,
        .fields = true,
        .memo = sample->memo,
        .settings = sample->settings,
        .content_type = ps_slice_cstr(sample->type),
        .event_bytes = 4096,
    };
    struct ps_decoder *decoder;
    enum ps_decode result;

    memset(seen, 0, sizeof(*seen));
    seen->join = sample->join;
    rig_init(&rig);
    decoder = ps_decoder_new(ps_dialect_find(sample->name), &options, &rig.arena, on_event, seen);
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
    if (strcmp(seen->log.text, sample->expected) != 0) {
        fail_msg("%s: %s\n(cut %zu) expected\n%s\nfound\n%s", sample->name, sample->body, at,
                 sample->expected, seen->log.text);
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

/* ---- Triton ---- */

static void test_triton_generate(void **state)
{
    static const struct sample samples[] = {
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON,
         "{\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"H\\u00e4\\n\","
         "\"num_input_tokens\":3,\"num_output_tokens\":2,\"finish_reason\":\"stop\"}",
         "text H\xc3\xa4\n\nusage 3 2\nfinish 1 stop\nresult\ndone\n", false},
        /* tensors of one element come as arrays, too; no reason, but all that was allowed */
        {"triton", PS_OP_COMPLETE, NULL, 2, false, JSON,
         " {\"text_output\":[\"x\"],\"num_output_tokens\":[2]} \n",
         "text x\nusage -1 2\nfinish 2 length\nresult\ndone\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, "{\"text_output\":\"\"}",
         "finish 1 \nresult\ndone\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, "{\"error\":\"the model is busy\"}",
         "fault upstream_error the model is busy\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, "{\"model_name\":\"m\"}", "=upstream_broken\n",
         false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, "{\"text_output\":\"x\"", "=upstream_broken\n",
         false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, "[1]", "=upstream_broken\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, "", "=upstream_broken\n", false},
    };

    (void)state;
    RUN(samples);
}

static void test_triton_stream(void **state)
{
    static const struct ps_dialect_settings named = {.text_at = PS_SLICE_INIT("OUT")};
    static const struct sample samples[] = {
        /* input tokens are repeated, output tokens are those of each event */
        {"triton", PS_OP_CHAT, NULL, 0, true, SSE,
         EVENT("{\"text_output\":\"a\",\"num_input_tokens\":5,\"num_output_tokens\":1,"
               "\"finish_reason\":\"None\"}") ": ping\n\n" EVENT("{\"text_output\":\" "
                                                                 "b\",\"num_input_tokens\":5,\"num_"
                                                                 "output_tokens\":2}")
             EVENT("{\"text_output\":\"\",\"num_input_tokens\":5,\"num_output_tokens\":0,"
                   "\"finish_reason\":\"length\"}"),
         "text a\ntext  b\nusage 5 3\nfinish 2 length\ndone\n", false},
        {"triton", PS_OP_CHAT, &named, 0, true, SSE, EVENT("{\"OUT\":\"a\"}"),
         "text a\nfinish 1 \ndone\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, true, SSE,
         EVENT("{\"text_output\":\"a\"}") EVENT("{\"error\":\"out of memory\"}")
             EVENT("{\"text_output\":\"b\"}"),
         "text a\nfault upstream_error out of memory\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, true, SSE, "", "=stream_incomplete\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, true, SSE, EVENT("{\"model_name\":\"m\"}"),
         "=stream_incomplete\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, true, SSE, EVENT("{\"text_output\":\"a\"}") "data: {\"te",
         "text a\n=stream_incomplete\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, true, SSE, EVENT("{\"text_output\"") EVENT("{}"),
         "=upstream_broken\n", false},
        /* a failure before the first token is a whole answer */
        {"triton", PS_OP_CHAT, NULL, 0, true, JSON, "{\"text_output\":\"a\"}",
         "text a\nfinish 1 \nresult\ndone\n", false},
    };

    (void)state;
    RUN(samples);
}

static void test_triton_infer(void **state)
{
    static const struct ps_dialect_settings named = {.vector_at = PS_SLICE_INIT("E")};
#define TENSOR(name, shape, data)                                                                  \
    "{\"model_name\":\"m\",\"outputs\":[{\"name\":\"other\",\"shape\":[1],\"datatype\":"           \
    "\"INT32\",\"data\":[7]},{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"FP32\","    \
    "\"data\":" data "}]}"
    static const struct sample samples[] = {
        {"triton", PS_OP_EMBED, NULL, 2, false, JSON,
         TENSOR("embedding", "[2,3]", "[1,2.5,-3e-2, 4, 5,6]"),
         "vector 0 [1,2.5,-3e-2]\nvector 1 [4,5,6]\nresult\ndone\n", false},
        {"triton", PS_OP_EMBED, &named, 1, false, JSON, TENSOR("E", "[3]", "[1,2,3]"),
         "vector 0 [1,2,3]\nresult\ndone\n", false},
        {"triton", PS_OP_EMBED, NULL, 2, false, JSON, TENSOR("embedding", "[2,1]", "[[1],[2]]"),
         "vector 0 [1]\nvector 1 [2]\nresult\ndone\n", false},
        {"triton", PS_OP_EMBED, NULL, 2, false, JSON, TENSOR("embedding", "[1,2]", "[1,2]"),
         "=upstream_broken\n", false},
        {"triton", PS_OP_EMBED, NULL, 2, false, JSON, TENSOR("embedding", "[2,2]", "[1,2,3]"),
         "=upstream_broken\n", false},
        {"triton", PS_OP_EMBED, NULL, 1, false, JSON, TENSOR("embedding", "[0,2]", "[1,2]"),
         "=upstream_broken\n", false},
        {"triton", PS_OP_EMBED, NULL, 1, false, JSON, TENSOR("embedding", "[2]", "[1,\"x\"]"),
         "=upstream_broken\n", false},
        {"triton", PS_OP_EMBED, NULL, 1, false, JSON, TENSOR("none", "[1]", "[1]"),
         "=upstream_broken\n", false},
        {"triton", PS_OP_CHAT, NULL, 0, false, JSON, TENSOR("text_output", "[1,1]", "[[\"hi\"]]"),
         "text hi\nfinish 1 \nresult\ndone\n", false},
    };

    (void)state;
    RUN(samples);
}

/* ---- TGI ---- */

#define TOKEN(text) EVENT("{\"token\":{\"id\":1,\"text\":\"" text "\",\"special\":false}}")

static void test_tgi(void **state)
{
    static const struct sample samples[] = {
        {"tgi", PS_OP_CHAT, NULL, 0, false, JSON,
         "{\"generated_text\":\"Hi\",\"details\":{\"finish_reason\":\"eos_token\","
         "\"generated_tokens\":2,\"prefill\":[{\"id\":1},{\"id\":2},{\"id\":3}]}}",
         "text Hi\nusage 3 2\nfinish 1 eos_token\nresult\ndone\n", false},
        {"tgi", PS_OP_CHAT, NULL, 0, false, JSON, "[{\"generated_text\":\"Hi\"}]",
         "text Hi\nfinish 1 \nresult\ndone\n", false},
        {"tgi", PS_OP_CHAT, NULL, 0, false, JSON, "{\"text\":\"Hi\"}", "=upstream_broken\n", false},
        /* no space behind "data:", a special token at the end, the whole text once more */
        {"tgi", PS_OP_CHAT, NULL, 0, true, SSE,
         "data:{\"index\":1,\"token\":{\"id\":5,\"text\":\"H\\\"i\",\"special\":false},"
         "\"generated_text\":null,\"details\":null}\n\n" TOKEN(" you")
             EVENT("{\"index\":3,\"token\":{\"id\":2,\"text\":\"</s>\",\"special\":true},"
                   "\"generated_text\":\"H\\\"i you\",\"details\":{\"finish_reason\":\"length\","
                   "\"generated_tokens\":3,\"input_length\":9,\"seed\":null}}"),
         "text H\"i\ntext  you\nusage 9 3\nfinish 2 length\ndone\n", false},
        {"tgi", PS_OP_CHAT, NULL, 0, true, SSE, TOKEN("a"), "text a\n=stream_incomplete\n", false},
        {"tgi", PS_OP_CHAT, NULL, 0, true, SSE,
         TOKEN("a") EVENT("{\"error\":\"cuda\",\"error_type\":\"generation\"}"),
         "text a\nfault upstream_error cuda\n", false},
        {"tgi", PS_OP_CHAT, NULL, 0, true, SSE,
         EVENT("{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}"),
         "fault upstream_overloaded Model is overloaded\n", false},
    };

    (void)state;
    RUN(samples);
}

/* ---- plain HTTP ---- */

#define AT(literal) PS_SLICE_INIT(literal)

static void test_http(void **state)
{
    static const struct ps_dialect_settings deep = {.text_at = AT("/out/0/t~1x"),
                                                    .finish_at = AT("/why"),
                                                    .stream_mode = AT("sse"),
                                                    .error_at = AT("/problem")};
    static const struct ps_dialect_settings lines = {.stream_mode = AT("ndjson"),
                                                     .text_at = AT("/t")};
    static const struct ps_dialect_settings raw = {.stream_mode = AT("raw")};
    static const struct sample samples[] = {
        {"http", PS_OP_CHAT, NULL, 0, false, JSON, "\"just so\"",
         "text just so\nfinish 1 \nresult\ndone\n", false},
        {"http", PS_OP_CHAT, NULL, 0, false, JSON, "{\"text\":\"so\"}",
         "text so\nfinish 1 \nresult\ndone\n", false},
        {"http", PS_OP_CHAT, NULL, 0, false, TEXT, "W\xc3\xa4r\xf0\x9f\x98\x80",
         "text W\xc3\xa4r\xf0\x9f\x98\x80\nfinish 1 \nresult\ndone\n", true},
        {"http", PS_OP_CHAT, &deep, 0, false, JSON,
         "{\"why\":\"max_tokens\",\"out\":[{\"t/x\":\"so\"},{}]}",
         "text so\nfinish 2 max_tokens\nresult\ndone\n", false},
        {"http", PS_OP_CHAT, &deep, 0, false, JSON, "{\"out\":[]}", "=upstream_broken\n", false},
        {"http", PS_OP_CHAT, &deep, 0, false, JSON, "{\"problem\":{\"message\":\"no\"}}",
         "fault upstream_error no\n", false},
        {"http", PS_OP_CHAT, &deep, 0, true, SSE,
         EVENT("{\"out\":[{\"t/x\":\"a\"}]}") EVENT("{\"out\":[{\"t/x\":\"b\"}],\"why\":\"stop\"}"),
         "text a\ntext b\nfinish 1 stop\ndone\n", false},
        {"http", PS_OP_CHAT, &deep, 0, true, SSE, EVENT("{\"out\":[{\"t/x\":\"a\"}]}"),
         "text a\n=stream_incomplete\n", false},
        {"http", PS_OP_CHAT, &deep, 0, true, SSE,
         EVENT("{\"out\":[{\"t/x\":\"a\"}]}") EVENT("[DONE]") EVENT("{}"),
         "text a\nfinish 1 \ndone\n", false},
        {"http", PS_OP_CHAT, &lines, 0, true, NDJSON, "{\"t\":\"a\"}\n\n{\"t\":\"b\"}\r\n",
         "text a\ntext b\nfinish 1 \ndone\n", false},
        /* whatever it calls its lines */
        {"http", PS_OP_CHAT, &lines, 0, true, JSON, "{\"t\":\"a\"}\n{\"t\":\"b\"}",
         "text a\ntext b\nfinish 1 \ndone\n", false},
        {"http", PS_OP_CHAT, &lines, 0, true, NDJSON,
         "{\"t\":\"a\"}\n{\"t\":", "text a\n=stream_incomplete\n", false},
        {"http", PS_OP_CHAT, &raw, 0, true, TEXT, "\xe2\x82\xac 5",
         "text \xe2\x82\xac 5\nfinish 1 \ndone\n", true},
        {"http", PS_OP_CHAT, &raw, 0, true, TEXT, "", "finish 1 \ndone\n", true},
    };

    (void)state;
    RUN(samples);
}

static void test_http_vectors(void **state)
{
    static const struct ps_dialect_settings deep = {.vector_at = AT("/data/e")};
    static const struct sample samples[] = {
        {"http", PS_OP_EMBED, NULL, 0, false, JSON, "[1,2]", "vector 0 [1,2]\nresult\ndone\n",
         false},
        {"http", PS_OP_EMBED, NULL, 0, false, JSON, "{\"embedding\":[[1],[2]]}",
         "vector 0 [1]\nvector 1 [2]\nresult\ndone\n", false},
        {"http", PS_OP_EMBED, &deep, 0, false, JSON, "{\"data\":{\"e\":[[1]]}}",
         "vector 0 [1]\nresult\ndone\n", false},
        {"http", PS_OP_EMBED, &deep, 0, false, JSON, "{\"data\":{\"e\":[[true]]}}",
         "=upstream_broken\n", false},
        {"http", PS_OP_EMBED, &deep, 0, false, JSON, "{\"data\":1}", "=upstream_broken\n", false},
    };

    (void)state;
    RUN(samples);
}

/* ---- errors by status ---- */

static void test_faults(void **state)
{
    static const struct {
        const char *name;
        int status;
        const char *body;
        enum ps_fault_kind kind;
        const char *message;
    } rows[] = {
        {"triton", 400, "{\"error\":\"unexpected inference input 'x'\"}", PS_FAULT_BAD_FIELD,
         "unexpected inference input 'x'"},
        {"triton", 404, "{\"error\":\"Request for unknown model: 'm' is not found\"}",
         PS_FAULT_MODEL_NOT_FOUND, "Request for unknown model: 'm' is not found"},
        {"triton", 503, "{\"error\":\"Exceeds maximum queue size\"}", PS_FAULT_UPSTREAM_OVERLOADED,
         "Exceeds maximum queue size"},
        {"triton", 500, "{\"error\":\"boom\"}", PS_FAULT_UPSTREAM_ERROR, "boom"},
        {"tgi", 422, "{\"error\":\"Input validation error: x\",\"error_type\":\"validation\"}",
         PS_FAULT_BAD_FIELD, "Input validation error: x"},
        {"tgi", 422,
         "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
         "10\",\"error_type\":\"validation\"}",
         PS_FAULT_CONTEXT_LENGTH,
         "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 10"},
        {"tgi", 424, "{\"error\":\"cuda\",\"error_type\":\"generation\"}", PS_FAULT_UPSTREAM_ERROR,
         "cuda"},
        {"tgi", 429, "{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}",
         PS_FAULT_UPSTREAM_OVERLOADED, "Model is overloaded"},
        {"http", 422, "{\"detail\":\"bad\"}", PS_FAULT_BAD_FIELD, "bad"},
        {"http", 500, "Internal Server Error", PS_FAULT_UPSTREAM_ERROR,
         "The provider answered with status 500."},
        {"azure", 400,
         "{\"error\":{\"message\":\"filtered\",\"type\":null,\"param\":\"prompt\",\"code\":"
         "\"content_filter\",\"status\":400,\"innererror\":{\"code\":"
         "\"ResponsibleAIPolicyViolation\",\"content_filter_result\":{}}}}",
         PS_FAULT_CONTENT_POLICY, "filtered"},
        {"azure", 404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"gone\"}}",
         PS_FAULT_MODEL_NOT_FOUND, "gone"},
        {"azure", 401, "{\"statusCode\":401,\"message\":\"Unauthorized\"}", PS_FAULT_UPSTREAM_AUTH,
         "The provider did not accept the gateway's own credentials."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_fault fault = {.kind = PS_FAULT_NONE};

        ps_dialect_fault(ps_dialect_find(rows[i].name), rows[i].status, ps_slice_cstr(rows[i].body),
                         &fault);
        if (fault.kind != rows[i].kind || strcmp(fault.message, rows[i].message) != 0) {
            fail_msg("%s %d %s: found %s %s", rows[i].name, rows[i].status, rows[i].body,
                     ps_fault_name(fault.kind), fault.message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_triton_generate),
        cmocka_unit_test(test_triton_stream),
        cmocka_unit_test(test_triton_infer),
        cmocka_unit_test(test_tgi),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_http_vectors),
        cmocka_unit_test(test_faults),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}
