/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"

#include <string.h>

#define METHOD(name) (1u << PS_HTTP_##name)
#define ANY_METHOD   (METHOD(GET) | METHOD(POST) | METHOD(PUT) | METHOD(PATCH) | METHOD(DELETE))
#define READ         (METHOD(GET) | METHOD(HEAD))

/* clang-format off */
#define EXCHANGE(path, label, methods, family, operation)                                          \
    {(path), (label), (methods), PS_DOOR_EXCHANGE, PS_FAMILY_##family, PS_OP_##operation, false, NULL}
#define OWN(path, label, family, kind, is_open)                                                    \
    {(path), (label), READ, PS_DOOR_##kind, PS_FAMILY_##family, PS_OP_PASS, (is_open), NULL}
#define SIDE(path, label, methods, family, ops)                                                    \
    {(path), (label), (methods), PS_DOOR_SIDE, PS_FAMILY_##family, PS_OP_PASS, false, &(ops)}
#define GEMINI(models)                                                                             \
    EXCHANGE(models "**:generateContent", "gemini_generate", METHOD(POST), GEMINI, CHAT),          \
    EXCHANGE(models "**:streamGenerateContent", "gemini_generate", METHOD(POST), GEMINI, CHAT),    \
    EXCHANGE(models "**:countTokens", "gemini_count_tokens", METHOD(POST), GEMINI, COUNT_TOKENS),  \
    EXCHANGE(models "**:embedContent", "gemini_embed", METHOD(POST), GEMINI, EMBED),               \
    EXCHANGE(models "**:batchEmbedContents", "gemini_embed", METHOD(POST), GEMINI, EMBED)

/*
 * First match wins, and of the rows with its path the one that takes the method; HEAD goes with
 * GET, OPTIONS with all. A path that ends with '/', but for "/" itself, is a prefix; a segment '*' is
 * any one that is not empty; "**" is any text that is not, up to what stands behind.
 */
static const struct ps_door doors[] = {
    {"/generate", "generate", METHOD(POST), PS_DOOR_EXCHANGE, PS_FAMILY_GENERATE, PS_OP_CHAT, false,
     &ps_background_ops},
    EXCHANGE("/generate_stream", "generate", METHOD(POST), TGI, CHAT),
    EXCHANGE("/", "generate", METHOD(POST), TGI, CHAT),
    EXCHANGE("/v1/chat/completions", "chat", METHOD(POST), OPENAI, CHAT),
    EXCHANGE("/v1/completions", "completions", METHOD(POST), OPENAI, COMPLETE),
    EXCHANGE("/v1/embeddings", "embeddings", METHOD(POST), OPENAI, EMBED),
    EXCHANGE("/v1/rerank", "rerank", METHOD(POST), OPENAI, RERANK),
    EXCHANGE("/v1/messages", "messages", METHOD(POST), ANTHROPIC, CHAT),
    EXCHANGE("/v1/messages/count_tokens", "count_tokens", METHOD(POST), ANTHROPIC, COUNT_TOKENS),
    SIDE("/v1/messages/batches", "message_batches", READ, ANTHROPIC, ps_message_batches_list_ops),
    SIDE("/v1/messages/batches", "message_batches", METHOD(POST), ANTHROPIC,
         ps_message_batches_ops),
    SIDE("/v1/messages/batches/*", "message_batches", READ | METHOD(DELETE), ANTHROPIC,
         ps_message_batches_one_ops),
    SIDE("/v1/messages/batches/*/cancel", "message_batches", METHOD(POST), ANTHROPIC,
         ps_message_batches_cancel_ops),
    SIDE("/v1/messages/batches/*/results", "message_batches", READ, ANTHROPIC,
         ps_message_batches_results_ops),
    EXCHANGE("/v1/images/generations", "images", METHOD(POST), OPENAI, PASS),
    GEMINI("/v1beta/"), /* models/ and tunedModels/ */
    GEMINI("/v1alpha/"),
    GEMINI("/v1/models/"),
    OWN("/v1beta/models", "models", GEMINI, MODELS, false),
    OWN("/v1beta/models/", "models", GEMINI, MODELS, false),
    OWN("/v1alpha/models", "models", GEMINI, MODELS, false),
    OWN("/v1alpha/models/", "models", GEMINI, MODELS, false),
    OWN("/v1/models", "models", OPENAI, MODELS, false),
    OWN("/v1/models/", "models", OPENAI, MODELS, false),
    SIDE("/v1/files", "files", READ, OPENAI, ps_files_list_ops),
    SIDE("/v1/files", "files", METHOD(POST), OPENAI, ps_files_ops),
    SIDE("/v1/files/*", "files", READ | METHOD(DELETE), OPENAI, ps_files_one_ops),
    SIDE("/v1/files/*/content", "files", READ, OPENAI, ps_files_content_ops),
    SIDE("/v1/batches", "batches", READ, OPENAI, ps_batches_list_ops),
    SIDE("/v1/batches", "batches", METHOD(POST), OPENAI, ps_batches_ops),
    SIDE("/v1/batches/*", "batches", READ, OPENAI, ps_batches_one_ops),
    SIDE("/v1/batches/*/cancel", "batches", METHOD(POST), OPENAI, ps_batches_cancel_ops),
    SIDE("/jobs", "jobs", READ, GENERATE, ps_jobs_list_ops),
    SIDE("/jobs/*", "jobs", READ | METHOD(DELETE), GENERATE, ps_jobs_one_ops),
    SIDE("/jobs/*/events", "jobs", METHOD(GET), GENERATE, ps_jobs_events_ops),
    OWN("/health/live", "health", GENERATE, HEALTH_LIVE, true),
    OWN("/health/ready", "health", GENERATE, HEALTH_READY, true),
    OWN("/health", "health", GENERATE, HEALTH_LIVE, true),
    OWN("/healthz", "health", GENERATE, HEALTH_LIVE, true),
    OWN("/metrics", "metrics", GENERATE, METRICS, true),
    {"/v1/responses", "responses", METHOD(POST), PS_DOOR_EXCHANGE, PS_FAMILY_RESPONSES, PS_OP_CHAT,
     false, &ps_responses_ops},
    SIDE("/v1/responses/*", "responses", READ | METHOD(DELETE), RESPONSES, ps_responses_one_ops),
    SIDE("/v1/responses/*/input_items", "responses", READ, RESPONSES, ps_responses_items_ops),
    EXCHANGE("/v2/chat", "cohere_chat", METHOD(POST), COHERE, CHAT),
    EXCHANGE("/v2/embed", "cohere_embed", METHOD(POST), COHERE, EMBED),
    EXCHANGE("/v2/rerank", "cohere_rerank", METHOD(POST), COHERE, RERANK),
    EXCHANGE("/api/chat", "ollama_chat", METHOD(POST), OLLAMA, CHAT),
    EXCHANGE("/api/generate", "ollama_generate", METHOD(POST), OLLAMA, CHAT),
    EXCHANGE("/api/embed", "ollama_embed", METHOD(POST), OLLAMA, EMBED),
    EXCHANGE("/api/embeddings", "ollama_embed", METHOD(POST), OLLAMA, EMBED),
    EXCHANGE("/api/show", "ollama_show", METHOD(POST), OLLAMA, PASS),
    OWN("/api/tags", "models", OLLAMA, MODELS, false),
    OWN("/api/ps", "ollama", OLLAMA, OLLAMA, false),
    OWN("/api/version", "ollama", OLLAMA, OLLAMA, false),
    OWN("/", "ollama", OLLAMA, OLLAMA, true), /* whoever POSTs there means TGI */
    SIDE("/api/", "ollama", ANY_METHOD | READ, OLLAMA, ps_ollama_ops),
    EXCHANGE("/v1/", "pass", ANY_METHOD, OPENAI, PASS),
};
#undef EXCHANGE
#undef OWN
#undef SIDE
#undef GEMINI
/* clang-format on */

/*
 * What lies in the provider's account and belongs to whoever uploaded it, or is our own: relaying
 * these with a key that all clients share would show each the others' data. Our own rows for some
 * of them stand above; what they do not match is nothing.
 */
static const char *const withheld[] = {
    "files",         "batches",    "messages", "responses",     "organization",
    "fine_tuning",   "uploads",    "threads",  "vector_stores", "assistants",
    "conversations", "containers", "evals"};

static bool names(struct ps_slice path, const char *segment)
{
    size_t len = strlen(segment);
    return path.len >= len && memcmp(path.ptr, segment, len) == 0 &&
           (path.len == len || path.ptr[len] == '/');
}

/* A path behind /v1/ that may be relayed: plain segments, so that what we check is what the
 * upstream sees. */
static bool may_pass(struct ps_slice path)
{
    size_t segment = 0;
    for (size_t i = 0; i <= path.len; i++) {
        char byte = i < path.len ? path.ptr[i] : '/';
        if (byte == '/') {
            struct ps_slice part = ps_slice(path.ptr + segment, i - segment);
            if (part.len == 0 || ps_slice_eq_cstr(part, ".") || ps_slice_eq_cstr(part, "..")) {
                return false;
            }
            segment = i + 1;
        } else if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || strchr("-._~:@", byte) != NULL)) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(withheld) / sizeof(withheld[0]); i++) {
        if (names(path, withheld[i])) {
            return false;
        }
    }
    return true;
}

static bool ends_with(struct ps_slice text, struct ps_slice end)
{
    return text.len >= end.len &&
           ps_slice_eq(ps_slice(text.ptr + text.len - end.len, end.len), end);
}

/* Segment by segment, where a row has a '*'. */
static bool matches(struct ps_slice known, struct ps_slice path)
{
    const char *any = memmem(known.ptr, known.len, "**", 2);
    if (any != NULL) {
        struct ps_slice before = ps_slice(known.ptr, (size_t)(any - known.ptr));
        struct ps_slice behind = ps_slice(any + 2, known.len - before.len - 2);
        return path.len > before.len + behind.len && ps_slice_starts(path, before) &&
               ends_with(path, behind);
    }
    size_t i = 0;
    size_t j = 0;
    while (i < known.len) {
        if (known.ptr[i] == '*') {
            size_t start = j;
            while (j < path.len && path.ptr[j] != '/') {
                j++;
            }
            if (j == start) {
                return false;
            }
            i++;
        } else if (j == path.len || path.ptr[j++] != known.ptr[i++]) {
            return false;
        }
    }
    return j == path.len;
}

const struct ps_door *ps_door_find(struct ps_slice path)
{
    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
        struct ps_slice known = ps_slice_cstr(doors[i].path);
        if (known.len == 1 || known.ptr[known.len - 1] != '/') {
            if (matches(known, path)) {
                return &doors[i];
            }
        } else if (ps_slice_starts(path, known) && path.len > known.len) {
            bool relayed = doors[i].kind == PS_DOOR_EXCHANGE && doors[i].operation == PS_OP_PASS;
            if (!relayed || may_pass(ps_slice(path.ptr + known.len, path.len - known.len))) {
                return &doors[i];
            }
        }
    }
    return NULL;
}

static bool is_same(const struct ps_door *left, const struct ps_door *right)
{
    return strcmp(left->path, right->path) == 0;
}

const struct ps_door *ps_door_taking(const struct ps_door *door, enum ps_http_method method)
{
    const struct ps_door *end = doors + sizeof(doors) / sizeof(doors[0]);
    for (const struct ps_door *other = door; other < end; other++) {
        if ((other->methods >> method & 1) != 0 && is_same(door, other)) {
            return other;
        }
    }
    return door;
}

void ps_door_allow(const struct ps_door *door, char *ret, size_t size)
{
    size_t len = 0;
    ret[0] = '\0';
    for (int method = 0; method < PS_HTTP_OTHER; method++) {
        const struct ps_door *taking = ps_door_taking(door, (enum ps_http_method)method);
        if ((taking->methods >> method & 1) != 0 || method == PS_HTTP_OPTIONS) {
            const char *name = ps_http_method_name((enum ps_http_method)method);
            size_t need = strlen(name) + (len > 0 ? 2 : 0);
            if (len + need < size) {
                memcpy(ret + len, ", ", len > 0 ? 2 : 0);
                memcpy(ret + len + (len > 0 ? 2 : 0), name, strlen(name) + 1);
                len += need;
            }
        }
    }
}
