/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"

#include <stdlib.h>

/*
 * Any body through any door into the neutral form, and from there to every dialect that can be
 * asked: what a reader takes is either refused with a path and a sentence, or becomes valid JSON.
 * How the body was cut changes nothing. OpenAI's body made of an OpenAI body stays as it is when it
 * is made of itself once more.
 *
 * The first byte picks door and operation, the second how the body is cut and what kind the server
 * is.
 */

struct run {
    struct ps_budget budget;
    struct ps_block_pool pool;
    struct ps_chain body;
    struct ps_arena arena;
    struct ps_request request;
    struct ps_fault fault;
    int rc;
};

static const struct {
    enum ps_family family;
    enum ps_operation operation;
    const char *path; /* where it says something; NULL: nothing */
} doors[] = {
    {PS_FAMILY_OPENAI, PS_OP_CHAT, NULL},
    {PS_FAMILY_OPENAI, PS_OP_COMPLETE, NULL},
    {PS_FAMILY_OPENAI, PS_OP_EMBED, NULL},
    {PS_FAMILY_OPENAI, PS_OP_RERANK, NULL},
    {PS_FAMILY_OPENAI, PS_OP_IMAGE, NULL},
    {PS_FAMILY_GENERATE, PS_OP_CHAT, NULL},
    {PS_FAMILY_ANTHROPIC, PS_OP_CHAT, NULL},
    {PS_FAMILY_ANTHROPIC, PS_OP_COUNT_TOKENS, NULL},
    {PS_FAMILY_RESPONSES, PS_OP_CHAT, NULL},
    {PS_FAMILY_OPENAI, PS_OP_CHAT, NULL},
    {PS_FAMILY_COHERE, PS_OP_CHAT, NULL},
    {PS_FAMILY_COHERE, PS_OP_EMBED, NULL},
    {PS_FAMILY_COHERE, PS_OP_RERANK, NULL},
    {PS_FAMILY_GEMINI, PS_OP_CHAT, "/v1beta/models/m:streamGenerateContent"},
    {PS_FAMILY_GEMINI, PS_OP_COUNT_TOKENS, "/v1beta/models/m:countTokens"},
    {PS_FAMILY_GEMINI, PS_OP_EMBED, "/v1beta/models/m:embedContent"},
    {PS_FAMILY_GEMINI, PS_OP_EMBED, "/v1beta/models/m:batchEmbedContents"},
    {PS_FAMILY_OLLAMA, PS_OP_CHAT, "/api/chat"},
    {PS_FAMILY_OLLAMA, PS_OP_CHAT, "/api/generate"},
    {PS_FAMILY_OLLAMA, PS_OP_EMBED, "/api/embed"},
    {PS_FAMILY_OLLAMA, PS_OP_EMBED, "/api/embeddings"},
};
#define DOORS (sizeof(doors) / sizeof(doors[0]))

static void begin(struct run *run, size_t door, struct ps_slice body, size_t step)
{
    const struct ps_reader_options options = {.operation = doors[door].operation};
    struct ps_reader *reader;

    memset(run, 0, sizeof(*run));
    atomic_init(&run->budget.limit, (size_t)64 << 20);
    ps_block_pool_init(&run->pool, &run->budget, 4);
    ps_chain_init(&run->body, &run->pool);
    ps_arena_init(&run->arena, (size_t)16 << 20);
    run->request.family = doors[door].family;
    run->request.operation = doors[door].operation;
    run->request.body = &run->body;
    if (doors[door].path != NULL) {
        run->request.path = ps_slice_cstr(doors[door].path);
    }
    reader = ps_reader_new(ps_dialect_of_family(doors[door].family), &options, &run->request,
                           &run->arena);
    if (reader == NULL) {
        abort();
    }
    for (size_t at = 0; at < body.len && run->rc == 0; at += step) {
        size_t len = step < body.len - at ? step : body.len - at;

        run->rc = ps_reader_feed(reader, body.ptr + at, len, &run->fault);
        if (ps_chain_append(&run->body, body.ptr + at, len) != 0) {
            abort();
        }
    }
    if (run->rc == 0) {
        run->rc = ps_reader_finish(reader, &run->fault);
    }
}

static void end(struct run *run)
{
    ps_arena_deinit(&run->arena);
    ps_chain_clear(&run->body);
    ps_block_pool_deinit(&run->pool);
}

/* The body for one dialect; NULL when it is refused. */
static char *encode(struct run *run, const struct ps_dialect *dialect,
                    const struct ps_dialect_settings *settings, size_t *ret_len)
{
    const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    const struct ps_encode_options options = {
        .model = PS_SLICE_LIT("m/\"x\""), .active_accounting = true, .settings = settings};
    struct ps_encoded encoded;
    char *text;
    size_t len = 0;

    memset(&run->fault, 0, sizeof(run->fault));
    if (ps_encode_translate(dialect, &run->request, &options, &run->arena, &encoded, &run->fault) !=
        0) {
        if (run->fault.message[0] == '\0') {
            abort();
        }
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
    if (len != encoded.length || encoded.path.len == 0 || encoded.path.ptr[0] != '/' ||
        ps_json_scan_text(ps_slice(text, len), NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        abort();
    }
    for (size_t i = 0; i < encoded.dropped.len; i++) {
        unsigned char byte = (unsigned char)encoded.dropped.ptr[i];

        if (byte < 0x20 || byte >= 0x7f) {
            abort(); /* it goes into a header */
        }
    }
    *ret_len = len;
    return text;
}

static bool can_ask(const struct ps_dialect *dialect, const struct run *run)
{
    return dialect->encode_neutral != NULL &&
           (dialect->translates & 1U << run->request.operation) != 0;
}

static void compare(struct run *whole, struct run *pieces,
                    const struct ps_dialect_settings *settings)
{
    const char *const *names = ps_dialect_names();

    for (size_t i = 0; names[i] != NULL; i++) {
        const struct ps_dialect *dialect = ps_dialect_find(names[i]);
        size_t len = 0;
        size_t same_len = 0;
        char *text;
        char *same;

        if (!can_ask(dialect, whole)) {
            continue;
        }
        text = encode(whole, dialect, settings, &len);
        same = encode(pieces, dialect, settings, &same_len);
        if ((text == NULL) != (same == NULL) ||
            strcmp(whole->fault.message, pieces->fault.message) != 0 ||
            (text != NULL && (len != same_len || memcmp(text, same, len) != 0))) {
            abort();
        }
        free(text);
        free(same);
    }
}

/* What was made of itself is made of itself. */
static void check_fixed(struct run *whole, const struct ps_dialect_settings *settings)
{
    const struct ps_dialect *openai = ps_dialect_find("openai");
    struct run again;
    size_t len = 0;
    size_t again_len = 0;
    char *text = can_ask(openai, whole) ? encode(whole, openai, settings, &len) : NULL;
    char *same;
    size_t door = 0;

    while (doors[door].family != PS_FAMILY_OPENAI ||
           doors[door].operation != whole->request.operation) {
        if (++door == DOORS) {
            free(text);
            return;
        }
    }
    if (text == NULL || memmem(text, len, "penstock.", 9) != NULL) {
        free(text); /* a tag of a signature behind one of our own, which goes with each time */
        return;
    }
    begin(&again, door, ps_slice(text, len), SIZE_MAX / 2);
    if (again.rc != 0 && whole->request.family == PS_FAMILY_OPENAI) {
        abort();
    }
    same = again.rc == 0 ? encode(&again, openai, settings, &again_len) : NULL;
    if (whole->request.family != PS_FAMILY_OPENAI && (same == NULL || settings->self_hosted)) {
        free(same); /* other doors allow what this one does not; what is unknown there passes, and
                       may be known here */
        free(text);
        end(&again);
        return;
    }
    if (same == NULL || again_len != len || memcmp(text, same, len) != 0) {
        abort();
    }
    free(same);
    free(text);
    end(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    static struct run whole;
    static struct run pieces;
    struct ps_dialect_settings settings = {.self_hosted = false};
    struct ps_slice body;
    size_t door;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    if (size < 2) {
        return 0;
    }
    door = data[0] % DOORS;
    settings.self_hosted = data[1] & 128;
    settings.old_max_tokens = data[1] & 64;
    if (ps_dialect_of_family(doors[door].family) == NULL) {
        return 0;
    }
    body = ps_slice((const char *)data + 2, size - 2);
    begin(&whole, door, body, SIZE_MAX / 2);
    begin(&pieces, door, body, (size_t)data[1] % 64 + 1);
    if (whole.rc != pieces.rc) {
        abort();
    }
    if (whole.rc == 0) {
        compare(&whole, &pieces, &settings);
        check_fixed(&whole, &settings);
    }
    end(&whole);
    end(&pieces);
    return 0;
}
