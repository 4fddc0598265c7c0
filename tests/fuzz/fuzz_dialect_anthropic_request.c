/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"
#include "penstock/dialect/prompt.h"

#include <stdlib.h>

/*
 * First byte: operation and policy; second: size of the pieces; the rest: the body. Read whole and
 * in pieces with the same outcome. What is relayed comes back with the name that it was told to
 * have; what has a neutral form becomes JSON for every provider that does not refuse it.
 */

struct outcome {
    int rc;
    struct ps_fault fault;
    struct ps_request request;
    struct ps_arena arena;
    struct ps_block_pool pool;
    struct ps_budget budget;
    struct ps_chain body;
};

static void check_fault(const struct ps_fault *fault)
{
    if (fault->kind == PS_FAULT_NONE || fault->message[0] == '\0') {
        abort();
    }
}

static void run(enum ps_operation operation, struct ps_slice body, size_t step, struct outcome *out)
{
    struct ps_reader_options options = {.operation = operation};
    struct ps_reader *reader;

    memset(out, 0, sizeof(*out));
    atomic_init(&out->budget.limit, (size_t)64 << 20);
    ps_block_pool_init(&out->pool, &out->budget, 0);
    ps_chain_init(&out->body, &out->pool);
    ps_arena_init(&out->arena, (size_t)1 << 20);
    out->request.family = PS_FAMILY_ANTHROPIC;
    out->request.operation = operation;
    out->request.content_type = PS_SLICE_LIT("application/json");
    out->request.body = &out->body;
    reader = ps_reader_new(ps_dialect_of_family(PS_FAMILY_ANTHROPIC), &options, &out->request,
                           &out->arena);
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
    if (out->rc != 0) {
        check_fault(&out->fault);
    }
}

static void end(struct outcome *out)
{
    ps_arena_deinit(&out->arena);
    ps_chain_clear(&out->body);
    ps_block_pool_deinit(&out->pool);
}

static struct ps_slice join(const struct ps_encoded *encoded)
{
    char *text = malloc((size_t)encoded->length + 1);
    size_t len = 0;

    if (text == NULL) {
        abort();
    }
    for (size_t i = 0; i < encoded->part_count; i++) {
        memcpy(text + len, encoded->parts[i].ptr, encoded->parts[i].len);
        len += encoded->parts[i].len;
    }
    if (len != encoded->length) {
        abort();
    }
    return ps_slice(text, len);
}

/* The name "t" must come back out of the body that goes out, whatever came in. */
static void check_relay(struct outcome *out)
{
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("t")};
    struct ps_encoded encoded;
    struct outcome again;
    struct ps_slice text;

    if (ps_dialect_encode(ps_dialect_find("anthropic"), &out->request, &options, &out->arena,
                          &encoded, &out->fault) != 0) {
        abort();
    }
    text = join(&encoded);
    run(out->request.operation, text, SIZE_MAX / 2, &again);
    if (again.rc != 0 || again.request.stream != out->request.stream ||
        !ps_slice_eq(again.request.model, PS_SLICE_LIT("t"))) {
        abort();
    }
    end(&again);
    free((void *)(uintptr_t)text.ptr);
}

/* One provider's body; and, as if it came from elsewhere, Anthropic's own. */
static void check_target(struct outcome *out, const char *name, const struct ps_encode_options *how)
{
    /* A schema that has no type gets one, and what stood in the way of a depth may not. */
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 10000000};
    const struct ps_dialect *dialect = ps_dialect_find(name);
    struct ps_encoded encoded;
    struct ps_slice text;

    if (!ps_dialect_speaks(dialect, out->request.family, out->request.operation)) {
        return;
    }
    if (ps_dialect_encode(dialect, &out->request, how, &out->arena, &encoded, &out->fault) != 0) {
        check_fault(&out->fault);
        return;
    }
    text = join(&encoded);
    if (encoded.has_body && text.len > 0 && text.ptr[0] == '{') {
        enum ps_json_error error = ps_json_scan_text(text, NULL, &limits, NULL, NULL);

        /* Another shape may nest deeper than the client's did. */
        if (error != PS_JSON_OK && error != PS_JSON_DEPTH) {
            abort();
        }
    }
    free((void *)(uintptr_t)text.ptr);
}

static void check_neutral(struct outcome *out, uint8_t how)
{
    const struct ps_encode_options options = {
        .model = PS_SLICE_LIT("t"),
        .drop = (how & 2) != 0 ? PS_DROP_REFUSE : PS_DROP_NAME,
    };
    const struct ps_neutral *neutral;

    if (ps_dialect_neutral(&out->request, &out->arena, &neutral, &out->fault) != 0) {
        check_fault(&out->fault);
        return;
    }
    for (const char *const *name = ps_dialect_names(); *name != NULL; name++) {
        if (strcmp(*name, "anthropic") != 0) {
            check_target(out, *name, &options);
        }
    }
    if (out->request.operation == PS_OP_CHAT) {
        out->request.family = PS_FAMILY_OPENAI;
        check_target(out, "anthropic", &options);
        out->request.family = PS_FAMILY_ANTHROPIC;
    }
}

static void check_prompt(struct outcome *out)
{
    struct ps_prompt prompt;

    if (ps_dialect_prompt(ps_dialect_of_family(PS_FAMILY_ANTHROPIC), &out->request, &out->arena,
                          &prompt, &out->fault) != 0) {
        check_fault(&out->fault);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    static struct outcome whole;
    static struct outcome pieces;
    enum ps_operation operation;
    struct ps_slice body;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    if (size < 2) {
        return 0;
    }
    operation = (data[0] & 1) != 0 ? PS_OP_COUNT_TOKENS : PS_OP_CHAT;
    body = ps_slice((const char *)data + 2, size - 2);
    run(operation, body, SIZE_MAX / 2, &whole);
    run(operation, body, (size_t)data[1] % 64 + 1, &pieces);
    if (whole.rc != pieces.rc || strcmp(whole.fault.message, pieces.fault.message) != 0 ||
        whole.request.stream != pieces.request.stream ||
        !ps_slice_eq(whole.request.model, pieces.request.model) ||
        whole.request.model_span.end != pieces.request.model_span.end) {
        abort();
    }
    if (whole.rc == 0) {
        check_relay(&whole);
        check_neutral(&whole, data[0]);
        check_prompt(&whole);
    }
    end(&whole);
    end(&pieces);
    return 0;
}
