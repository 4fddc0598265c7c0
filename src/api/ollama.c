/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/clock.h"
#include "penstock/gateway/models.h"

/*
 * What clients of Ollama look at beside their answers. Models are of the configuration here: what
 * would fetch, make or remove one is refused. What a provider of the family could answer itself is
 * relayed to it, and does not come here.
 */

#define JSON  "application/json"
#define BYTES (1u << 20)
#define API_VERSION                                                                                \
    "0.13.0" /* the one whose API this is: clients look whether it is new enough                   \
              */
#define FOREVER "2106-01-01T00:00:00Z"

/* ---- doors that answer by themselves ---- */

static void write_running(const struct ps_conn *conn, const struct ps_route *route,
                          struct ps_buf *out)
{
    const struct ps_provider *provider = route->targets[0].provider;
    struct ps_buf model;
    ps_buf_init(&model, BYTES);
    if (provider->dialect == NULL &&
        ps_models_get(conn->server->gl, PS_FAMILY_OLLAMA, route->name, &model) && !model.failed) {
        ps_buf_cstr(out, out->len > sizeof("{\"models\":[") ? "," : "");
        ps_buf_append(out, model.ptr, model.len - 1); /* the brace */
        ps_buf_cstr(out, ",\"expires_at\":\"" FOREVER "\",\"size_vram\":0,\"context_length\":");
        ps_buf_uint(out, provider->config->context_tokens);
        ps_buf_byte(out, '}');
    }
    ps_buf_deinit(&model);
}

/* Those inside: nothing is known of others. */
static void answer_running(struct ps_conn *conn)
{
    const struct ps_snapshot *snapshot = conn->server->gl->snapshot;
    struct ps_buf out;
    ps_buf_init(&out, BYTES);
    ps_buf_cstr(&out, "{\"models\":[");
    for (size_t i = 0; i < snapshot->route_count; i++) {
        write_running(conn, &snapshot->routes[i], &out);
    }
    ps_buf_cstr(&out, "]}");
    ps_reply(conn, 200, JSON, ps_buf_view(&out));
    ps_buf_deinit(&out);
}

void ps_ollama_answer(struct ps_conn *conn)
{
    struct ps_slice path = conn->request.head->path;
    if (ps_slice_eq_cstr(path, "/api/version")) {
        ps_reply(conn, 200, JSON, PS_SLICE_LIT("{\"version\":\"" API_VERSION "\"}"));
    } else if (ps_slice_eq_cstr(path, "/api/ps")) {
        answer_running(conn);
    } else { /* some clients compare the words */
        ps_reply(conn, 200, "text/plain; charset=utf-8", PS_SLICE_LIT("Ollama is running"));
    }
}

/* ---- a model, shown ---- */

static bool has_tools(const struct ps_dialect *dialect)
{
    enum ps_family family = dialect != NULL ? ps_dialect_family(dialect) : PS_FAMILY_COUNT;
    return dialect != NULL && family != PS_FAMILY_TGI && family != PS_FAMILY_TRITON &&
           family != PS_FAMILY_HTTP;
}

/* What the gateway can hand to the model's provider; whether the model makes use of it is for the
 * provider to say. */
static void write_capabilities(const struct ps_dialect *dialect, struct ps_buf *out)
{
    ps_buf_cstr(out, ",\"capabilities\":[\"completion\"");
    ps_buf_cstr(out, has_tools(dialect) ? ",\"tools\",\"vision\",\"thinking\"]" : "]");
}

static void write_info(const struct ps_provider *provider, struct ps_slice model,
                       struct ps_buf *out)
{
    struct ps_slice kind = ps_slice_cstr(provider->dialect != NULL ? provider->config->dialect
                                                                   : provider->config->engine);
    ps_buf_cstr(out, ",\"model_info\":{\"general.architecture\":");
    ps_buf_json(out, kind);
    ps_buf_cstr(out, ",\"general.basename\":");
    ps_buf_json(out, model);
    if (provider->dialect == NULL) {
        ps_buf_cstr(out, ",\"");
        ps_buf_slice(out, kind); /* a word of the configuration's own */
        ps_buf_cstr(out, ".context_length\":");
        ps_buf_uint(out, provider->config->context_tokens);
    }
    ps_buf_byte(out, '}');
}

static void show(struct ps_conn *conn)
{
    const struct ps_exchange *exchange = conn->request.exchange;
    const struct ps_provider *provider = ps_exchange_route(exchange)->targets[0].provider;
    struct ps_slice model = ps_exchange_request(exchange)->model;
    struct ps_buf out;
    ps_buf_init(&out, BYTES);
    ps_buf_cstr(&out, "{\"license\":\"\",\"modelfile\":\"\",\"parameters\":\"\",\"template\":\"\","
                      "\"details\":{\"parent_model\":\"\",\"format\":\"\",\"family\":\"\","
                      "\"families\":[],\"parameter_size\":\"\",\"quantization_level\":\"\"}");
    write_info(provider, model, &out);
    write_capabilities(provider->dialect, &out);
    ps_buf_byte(&out, '}');
    ps_reply(conn, 200, JSON, ps_buf_view(&out));
    ps_buf_deinit(&out);
}

/* ---- a model to be loaded ---- */

/* Models inside are loaded as long as the gateway runs, others are not its business. */
static void load(struct ps_conn *conn)
{
    const struct ps_request *request = ps_exchange_request(conn->request.exchange);
    const struct ps_writer_options options = {
        .operation = request->operation,
        .mode = request->stream ? PS_WRITER_STREAM : PS_WRITER_WHOLE,
        .max_bytes = BYTES,
        .request = request,
        .model = request->model,
        .created_s = ps_clock_wall_ms() / 1000,
    };
    const struct ps_answer_info info = {.queue_us = 0};
    struct ps_fault fault;
    struct ps_writer *writer =
        ps_writer_new(ps_dialect_of_family(request->family), &options, &conn->arena);
    struct ps_buf out;
    if (writer == NULL) {
        (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL, "The gateway is short of memory.");
        ps_reply_fault(conn, &fault);
        return;
    }
    ps_buf_init(&out, BYTES);
    ps_writer_end(writer, &info, &out);
    ps_reply(conn, 200, ps_writer_content_type(writer), ps_buf_view(&out));
    ps_buf_deinit(&out);
    ps_writer_free(writer);
}

void ps_ollama_idle(struct ps_conn *conn)
{
    if (ps_exchange_request(conn->request.exchange)->operation == PS_OP_PASS) {
        show(conn);
    } else {
        load(conn);
    }
}

/* ---- what is not done here ---- */

static int refuse(struct ps_conn *conn, struct ps_fault *fault)
{
    static const char *const names[] = {"pull", "push", "create", "copy", "delete", "blobs/"};
    struct ps_slice path = conn->request.head->path;
    struct ps_slice rest = ps_slice(path.ptr + 5, path.len - 5); /* behind "/api/" */

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct ps_slice name = ps_slice_cstr(names[i]);
        bool folder = name.ptr[name.len - 1] == '/';
        if (folder ? ps_slice_starts(rest, name) : ps_slice_eq(rest, name)) {
            return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                                "This gateway's models are those of its configuration: it does not "
                                "fetch, make, copy or remove any (GET /api/tags lists them).");
        }
    }
    return ps_fault_set(fault, PS_FAULT_NOT_FOUND, NULL, "There is nothing at this path.");
}

/* Only the beginning: no request gets further. */
const struct ps_side_ops ps_ollama_ops = {refuse, ps_side_ignore, NULL, NULL, NULL};
