/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "penstock/gateway/models.h"

/* The doors that answer by themselves: health, metrics, models. None of them waits for anything. */

#define JSON          "application/json"
#define METRICS_BYTES (16u << 20)
#define MODELS_BYTES  (16u << 20)

static void answer_ready(struct ps_conn *conn)
{
    static const struct {
        int status;
        struct ps_slice text;
    } answers[] = {
        [PS_READINESS_READY] = {200, PS_SLICE_INIT("{\"status\":\"ready\"}\n")},
        [PS_READINESS_DEGRADED] = {200, PS_SLICE_INIT("{\"status\":\"degraded\"}\n")},
        [PS_READINESS_LOADING] = {503, PS_SLICE_INIT("{\"status\":\"loading\"}\n")},
        [PS_READINESS_FAILED] = {503, PS_SLICE_INIT("{\"status\":\"failed\"}\n")},
    };
    if (conn->server->draining || atomic_load(&conn->server->gl->gateway->draining)) {
        ps_reply(conn, 503, JSON, PS_SLICE_LIT("{\"status\":\"draining\"}\n"));
    } else {
        enum ps_readiness readiness = ps_gateway_readiness(conn->server->gl->snapshot);
        ps_reply(conn, answers[readiness].status, JSON, answers[readiness].text);
    }
}

static void answer_metrics(struct ps_conn *conn)
{
    struct ps_buf out;
    ps_buf_init(&out, METRICS_BYTES);
    ps_metrics_render(conn->server->gl->gateway->metrics, &out);
    if (out.failed) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL,
                           "Not enough memory to print the metrics.");
        ps_reply_fault(conn, &fault);
    } else {
        ps_reply(conn, 200, PS_METRICS_CONTENT_TYPE, ps_buf_view(&out));
    }
    ps_buf_deinit(&out);
}

/* Clients of several families ask at OpenAI's path, and say who they are by a header. */
enum ps_family ps_own_family(const struct ps_conn *conn)
{
    static const struct {
        const char *header;
        struct ps_slice begins;
        enum ps_family family;
    } marks[] = {
        {"anthropic-version", PS_SLICE_INIT(""), PS_FAMILY_ANTHROPIC},
        {"x-goog-api-client", PS_SLICE_INIT(""), PS_FAMILY_GEMINI},
        {"x-goog-api-key", PS_SLICE_INIT(""), PS_FAMILY_GEMINI},
        {"x-fern-sdk-name", PS_SLICE_INIT("cohere"), PS_FAMILY_COHERE},
    };
    const struct ps_door *door = conn->request.door;
    if (door != NULL && door->family != PS_FAMILY_OPENAI) {
        return door->family;
    }
    for (size_t i = 0; conn->request.head != NULL && i < sizeof(marks) / sizeof(marks[0]); i++) {
        struct ps_slice value = ps_http_value(conn->request.head, marks[i].header, NULL);
        if (value.len > 0 && ps_slice_starts(value, marks[i].begins)) {
            return marks[i].family;
        }
    }
    return PS_FAMILY_OPENAI;
}

static void no_such_model(struct ps_conn *conn, struct ps_slice id)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_MODEL_NOT_FOUND, "model",
                       "The model \"%.*s\" does not exist.", ps_utf8_quoted(id, 100), id.ptr);
    ps_reply_fault(conn, &fault);
}

static void answer_models(struct ps_conn *conn)
{
    struct ps_slice prefix = ps_slice_cstr(conn->request.door->path); /* ends with '/': of one */
    struct ps_slice path = conn->request.head->path;
    enum ps_family shape = ps_own_family(conn);
    struct ps_buf out;
    ps_buf_init(&out, MODELS_BYTES);
    if (path.len > prefix.len) {
        struct ps_slice raw = ps_slice(path.ptr + prefix.len, path.len - prefix.len);
        char *id = ps_arena_alloc(&conn->arena, raw.len + 1);
        ptrdiff_t len = id != NULL ? ps_http_unescape(raw, true, id) : -1;
        if (len <= 0 || !ps_models_get(conn->server->gl, shape, ps_slice(id, (size_t)len), &out)) {
            no_such_model(conn, len > 0 ? ps_slice(id, (size_t)len) : raw);
            ps_buf_deinit(&out);
            return;
        }
    } else {
        ps_models_list(conn->server->gl, shape, &out);
    }
    ps_reply(conn, 200, JSON, ps_buf_view(&out));
    ps_buf_deinit(&out);
}

void ps_own_answer(struct ps_conn *conn)
{
    switch (conn->request.door->kind) {
    case PS_DOOR_HEALTH_LIVE:
        ps_reply(conn, 200, JSON, PS_SLICE_LIT("{\"status\":\"live\"}\n"));
        break;
    case PS_DOOR_HEALTH_READY:
        answer_ready(conn);
        break;
    case PS_DOOR_METRICS:
        answer_metrics(conn);
        break;
    case PS_DOOR_MODELS:
        answer_models(conn);
        break;
    case PS_DOOR_OLLAMA:
        ps_ollama_answer(conn);
        break;
    case PS_DOOR_EXCHANGE:
    case PS_DOOR_SIDE:
        break; /* not here: its exchange answers, or what the door keeps */
    }
}
