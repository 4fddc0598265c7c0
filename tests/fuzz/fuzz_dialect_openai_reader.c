/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>

/*
 * First byte: operation and content type; second: size of the pieces; the rest: the body. Read
 * whole and in pieces with the same outcome. What was accepted as JSON goes out as JSON, with the
 * name that it was told to have.
 */

static const char *const types[] = {
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
};

struct outcome {
    int rc;
    struct ps_fault fault;
    struct ps_request request;
    struct ps_arena arena;
    struct ps_block_pool pool;
    struct ps_budget budget;
    struct ps_chain body;
};

static void run(enum ps_operation operation, const char *type, struct ps_slice body, size_t step,
                struct outcome *out)
{
    struct ps_reader_options options = {.operation = operation};
    struct ps_reader *reader;

    memset(out, 0, sizeof(*out));
    atomic_init(&out->budget.limit, (size_t)64 << 20);
    ps_block_pool_init(&out->pool, &out->budget, 0);
    ps_chain_init(&out->body, &out->pool);
    ps_arena_init(&out->arena, (size_t)1 << 20);
    out->request.operation = operation;
    out->request.method = PS_SLICE_LIT("POST");
    out->request.path = PS_SLICE_LIT("/responses");
    out->request.content_type = ps_slice_cstr(type);
    out->request.body = &out->body;
    reader =
        ps_reader_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &options, &out->request, &out->arena);
    if (reader == NULL) {
        abort();
    }
    for (size_t at = 0; out->rc == 0 && at < body.len; at += step) {
        size_t len = step < body.len - at ? step : body.len - at;

        out->rc = ps_reader_feed(reader, body.ptr + at, len, &out->fault);
        if (out->rc == 0 && ps_chain_append(&out->body, body.ptr + at, len) != 0) {
            abort();
        }
    }
    if (out->rc == 0) {
        out->rc = ps_reader_finish(reader, &out->fault);
    }
    if (out->rc != 0 && (out->fault.kind == PS_FAULT_NONE || out->fault.message[0] == '\0')) {
        abort();
    }
}

static void end(struct outcome *out)
{
    ps_arena_deinit(&out->arena);
    ps_chain_clear(&out->body);
    ps_block_pool_deinit(&out->pool);
}

/* The name "t" must come back out of the body that goes out, whatever came in. */
static void check_encoding(struct outcome *out, const char *type)
{
    struct ps_encode_options options = {.model = PS_SLICE_LIT("t"), .active_accounting = true};
    struct ps_encoded encoded;
    struct outcome again;
    char *text;
    size_t len = 0;

    if (ps_dialect_encode(ps_dialect_find("openai"), &out->request, &options, &out->arena, &encoded,
                          &out->fault) != 0) {
        abort();
    }
    text = malloc((size_t)encoded.length + 1);
    if (text == NULL) {
        abort();
    }
    for (size_t i = 0; i < encoded.part_count; i++) {
        memcpy(text + len, encoded.parts[i].ptr, encoded.parts[i].len);
        len += encoded.parts[i].len;
    }
    if (len != encoded.length) {
        abort();
    }
    run(out->request.operation, type, ps_slice(text, len), SIZE_MAX / 2, &again);
    if (again.rc != 0 || again.request.stream != out->request.stream ||
        (out->request.model.len > 0 && !ps_slice_eq(again.request.model, PS_SLICE_LIT("t"))) ||
        (out->request.operation < PS_OP_EMBED &&
         !ps_slice_eq(again.request.model, PS_SLICE_LIT("t"))) ||
        (out->request.operation < PS_OP_EMBED && again.request.stream &&
         !again.request.include_usage)) {
        abort();
    }
    end(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    static struct outcome whole;
    static struct outcome pieces;
    enum ps_operation operation;
    const char *type;
    struct ps_slice body;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    if (size < 2) {
        return 0;
    }
    operation = (enum ps_operation)(data[0] % PS_OP_MODELS);
    type = types[data[0] >> 6];
    body = ps_slice((const char *)data + 2, size - 2);
    run(operation, type, body, SIZE_MAX / 2, &whole);
    run(operation, type, body, (size_t)data[1] % 64 + 1, &pieces);
    if (whole.rc != pieces.rc || strcmp(whole.fault.message, pieces.fault.message) != 0 ||
        whole.request.stream != pieces.request.stream ||
        !ps_slice_eq(whole.request.model, pieces.request.model) ||
        whole.request.model_span.end != pieces.request.model_span.end) {
        abort();
    }
    if (whole.rc == 0 && body.len > 0) {
        check_encoding(&whole, type);
    }
    end(&whole);
    end(&pieces);
    return 0;
}
