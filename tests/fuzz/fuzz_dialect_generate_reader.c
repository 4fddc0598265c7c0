/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>

/*
 * First byte: as what the body is read; second: size of the pieces; the rest: the body. Read whole
 * and in pieces with the same outcome. What was accepted becomes a chat completion that is JSON,
 * and passes our own door for those.
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

static void run(enum ps_family family, uint8_t how, struct ps_slice body, size_t step,
                struct outcome *out)
{
    struct ps_reader_options options = {
        .operation = PS_OP_CHAT,
        .bare_text = (how & 3) == 1,
        .text_or_json = (how & 3) == 2,
        .want_text = (how & 4) != 0,
    };
    struct ps_reader *reader;

    memset(out, 0, sizeof(*out));
    atomic_init(&out->budget.limit, (size_t)64 << 20);
    ps_block_pool_init(&out->pool, &out->budget, 0);
    ps_chain_init(&out->body, &out->pool);
    ps_arena_init(&out->arena, (size_t)1 << 20);
    out->request.family = family;
    out->request.operation = PS_OP_CHAT;
    out->request.body = &out->body;
    reader = ps_reader_new(ps_dialect_of_family(family), &options, &out->request, &out->arena);
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

/* NULL: refused, and the fault says why. */
static char *encode(struct outcome *out, size_t *ret_len)
{
    struct ps_encode_options options = {.model = PS_SLICE_NONE, .active_accounting = true};
    struct ps_encoded encoded;
    char *text;
    size_t len = 0;

    if (ps_dialect_encode(ps_dialect_find("openai"), &out->request, &options, &out->arena, &encoded,
                          &out->fault) != 0) {
        return NULL;
    }
    text = malloc((size_t)encoded.length + 1);
    if (text == NULL) {
        abort();
    }
    for (size_t i = 0; i < encoded.part_count; i++) {
        memcpy(text + len, encoded.parts[i].ptr, encoded.parts[i].len);
        len += encoded.parts[i].len;
    }
    *ret_len = len;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    static struct outcome whole;
    static struct outcome pieces;
    static struct outcome again;
    struct ps_slice body;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    if (size < 2) {
        return 0;
    }
    body = ps_slice((const char *)data + 2, size - 2);
    run(PS_FAMILY_GENERATE, data[0], body, SIZE_MAX / 2, &whole);
    run(PS_FAMILY_GENERATE, data[0], body, (size_t)data[1] % 64 + 1, &pieces);
    if (whole.rc != pieces.rc || strcmp(whole.fault.message, pieces.fault.message) != 0 ||
        strcmp(whole.fault.param, pieces.fault.param) != 0) {
        abort();
    }
    if (whole.rc == 0) {
        size_t len = 0;
        size_t pieces_len = 0;
        char *text = encode(&whole, &len);
        char *same = encode(&pieces, &pieces_len);

        if ((text == NULL) != (same == NULL)) {
            abort();
        }
        if (text == NULL) {
            end(&whole);
            end(&pieces);
            return 0;
        }
        if (len != pieces_len || memcmp(text, same, len) != 0) {
            abort();
        }
        run(PS_FAMILY_OPENAI, 0, ps_slice(text, len), SIZE_MAX / 2, &again);
        if (again.rc != 0 || again.request.stream != whole.request.stream ||
            !ps_slice_eq(again.request.model, whole.request.model)) {
            abort();
        }
        end(&again);
        free(text);
        free(same);
    }
    end(&whole);
    end(&pieces);
    return 0;
}
