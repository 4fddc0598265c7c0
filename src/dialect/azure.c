/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "openai_priv.h"

/*
 * Azure OpenAI: OpenAI's API at other places. The dated API names the deployment in the path and
 * wants its api-version in the query; the one without dates is OpenAI's below /openai/v1. Bodies,
 * streams and errors are the family's own (openai_*.c).
 */

static bool ends_with(struct ps_slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len >= len && memcmp(text.ptr + text.len - len, end, len) == 0;
}

static bool is_dated(struct ps_slice version)
{
    return version.len > 0 && version.ptr[0] >= '0' && version.ptr[0] <= '9';
}

/* Whether the dated API has this path below a deployment, and not beside them. */
static bool is_of_deployment(struct ps_slice path)
{
    static const char *const paths[] = {
        "/chat/completions", "/completions",  "/embeddings",           "/images/generations",
        "/images/edits",     "/audio/speech", "/audio/transcriptions", "/audio/translations",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (ps_slice_eq_cstr(path, paths[i])) {
            return true;
        }
    }
    return false;
}

static bool names_version(struct ps_slice query)
{
    static const struct ps_slice name = PS_SLICE_INIT("api-version=");

    while (query.len > 0) {
        const char *next = memchr(query.ptr, '&', query.len);
        size_t len = next != NULL ? (size_t)(next - query.ptr) + 1 : query.len;

        if (ps_slice_starts(query, name)) {
            return true;
        }
        query = ps_slice(query.ptr + len, query.len - len);
    }
    return false;
}

/* What stands between the base URL and the operation's path; ptr NULL when memory is short. */
static struct ps_slice prefix_of(struct ps_slice base, bool dated, struct ps_slice deployment,
                                 struct ps_arena *arena)
{
    const char *openai = ends_with(base, "/openai") ? "" : "/openai";

    if (ends_with(base, "/openai/v1")) {
        return PS_SLICE_LIT(""); /* whoever writes that means the API without dates */
    }
    if (!dated) {
        return ps_slice_cstr(ps_arena_printf(arena, "%s/v1", openai));
    }
    if (deployment.len == 0) {
        return ps_slice_cstr(openai);
    }
    deployment = ps_encode_segment(arena, deployment, false);
    if (deployment.ptr == NULL) {
        return PS_SLICE_NONE;
    }
    return ps_slice_cstr(
        ps_arena_printf(arena, "%s/deployments/%.*s", openai, (int)deployment.len, deployment.ptr));
}

/* Puts OpenAI's path to where Azure has it. */
static int move_path(struct ps_slice base, struct ps_slice version, struct ps_slice model,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    const char *mark = memchr(ret->path.ptr, '?', ret->path.len);
    size_t len = mark != NULL ? (size_t)(mark - ret->path.ptr) : ret->path.len;
    struct ps_slice path = ps_slice(ret->path.ptr, len);
    struct ps_slice query =
        mark != NULL ? ps_slice(mark + 1, ret->path.len - len - 1) : PS_SLICE_NONE;
    bool says = version.len > 0 && !names_version(query);
    bool in_path = is_dated(version) && is_of_deployment(path);
    struct ps_slice prefix;
    char *moved;

    if (in_path && model.len == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_MISSING_FIELD, "model", "model is required.");
    }
    prefix = prefix_of(base, is_dated(version), in_path ? model : PS_SLICE_NONE, arena);
    if (prefix.ptr == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    moved = !says ? ps_arena_printf(arena, "%.*s%.*s", (int)prefix.len, prefix.ptr,
                                    (int)ret->path.len, ret->path.ptr)
                  : ps_arena_printf(arena, "%.*s%.*s%sapi-version=%.*s", (int)prefix.len,
                                    prefix.ptr, (int)ret->path.len, ret->path.ptr,
                                    mark != NULL ? "&" : "?", (int)version.len, version.ptr);
    if (moved == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    ret->path = ps_slice_cstr(moved);
    return 0;
}

static int encode(const struct ps_request *request, const struct ps_encode_options *options,
                  struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    const struct ps_dialect_settings *settings =
        ps_dialect_settings_of(&ps_dialect_azure, options->settings);
    struct ps_slice model = options->model.len > 0 ? options->model : request->model;

    if (ps_openai_encode(request, options, arena, ret, ret_fault) != 0) {
        return -1;
    }
    return move_path(options->base_path, settings->api_version, model, arena, ret, ret_fault);
}

static int encode_neutral(struct ps_encode *encode)
{
    if (ps_openai_encode_neutral(encode) != 0) {
        return -1;
    }
    return move_path(encode->options->base_path, encode->settings->api_version, encode->model,
                     encode->arena, encode->ret, encode->fault);
}

const struct ps_dialect ps_dialect_azure = {
    .name = "azure",
    .family = PS_FAMILY_OPENAI,
    .credential_header = "api-key",
    .credential_prefix = "",
    .own = ~0U,
    .translates = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED),
    .relays = ps_openai_relays,
    .encode = encode,
    .encode_neutral = encode_neutral,
    .decoder_size = sizeof(struct ps_openai_decoder),
    .decoder_init = ps_openai_decoder_init,
    .decoder_deinit = ps_openai_decoder_deinit,
    .decoder_feed = ps_openai_decoder_feed,
    .decoder_finish = ps_openai_decoder_finish,
    .fault = ps_openai_fault,
    .models = ps_openai_models,
};
