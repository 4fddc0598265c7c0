/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

#include <inttypes.h>

/*
 * A request as Google's clients send it, in the neutral form. Their JSON is that of protocol
 * buffers: every name may be written in camelCase or with underscores.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define KEY_BYTES 96

enum {
    MODEL,
    CONTENTS,
    SYSTEM,
    TOOLS,
    TOOL_CONFIG,
    GENERATION_CONFIG,
    CACHED_CONTENT,
    SERVICE_TIER,
    STORE,
    FIELDS,
};

/* ---- names ---- */

/* snake_case to camelCase; both are as long as the key at most. */
static struct ps_slice camel(struct ps_slice key, char text[KEY_BYTES])
{
    size_t len = ps_json_unescape(key, text);
    size_t to = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '_' && i > 0 && i + 1 < len && text[i + 1] >= 'a' && text[i + 1] <= 'z') {
            text[to++] = (char)(text[++i] - 'a' + 'A');
        } else {
            text[to++] = text[i];
        }
    }
    return ps_slice(text, to);
}

bool ps_gemini_key_is(struct ps_slice key, const char *name)
{
    char text[KEY_BYTES];

    return ps_json_key_is(key, ps_slice_cstr(name)) ||
           (key.len <= KEY_BYTES && memchr(key.ptr, '_', key.len) != NULL &&
            ps_slice_eq_cstr(camel(key, text), name));
}

static int twice(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, name);
    return ps_fault_set(build->fault, PS_FAULT_BAD_JSON, path,
                        "The request body has the field %s more than once.", path);
}

static int note_unknown(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                        struct ps_slice key, struct ps_slice value)
{
    struct ps_slice name =
        ps_raw_plain(key.len < PS_FAULT_PARAM ? key : PS_SLICE_LIT("\"\""), build->arena);
    const char *text = name.ptr != NULL ? ps_arena_strdup(build->arena, name) : NULL;

    if (text == NULL) {
        return ps_build_no_memory(build);
    }
    ps_build_extra(build, at, text, value);
    return 0;
}

int ps_gemini_members(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice object, struct ps_build_member *members, size_t count)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;
    uint64_t seen = 0;
    size_t i;

    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (i = 0; i < count && !ps_gemini_key_is(key, members[i].name); i++) {
        }
        if (i == count) {
            if (note_unknown(build, at, key, value) != 0) {
                return -1;
            }
            continue;
        }
        if (seen >> i & 1) {
            return twice(build, at, members[i].name);
        }
        seen |= UINT64_C(1) << i;
        members[i].raw = ps_raw_given(value) ? value : PS_SLICE_NONE;
    }
    return 0;
}

int ps_gemini_word(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                   struct ps_slice raw, const char *const *words, int *ret)
{
    for (int i = 0; ps_raw_says(raw) && words[i] != NULL; i++) {
        if (ps_slice_ieq(ps_slice(raw.ptr + 1, raw.len - 2), ps_slice_cstr(words[i]))) {
            *ret = i;
            return 0;
        }
    }
    return ps_build_word(build, at, name, raw, words, ret);
}

int ps_gemini_int(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, int64_t low, int64_t high, struct ps_slice *ret)
{
    bool quoted = ps_raw_says(raw);
    struct ps_slice given = PS_SLICE_NONE;
    int64_t number;
    char *text;

    if (quoted) {
        raw = ps_slice(raw.ptr + 1, raw.len - 2);
    }
    if (ps_build_int(build, at, name, raw, low, high, &given) != 0) {
        return -1;
    }
    if (given.len == 0 || !ps_json_int(given, &number)) {
        return quoted ? ps_build_expected(build, at, name, "an integer") : 0;
    }
    text = ps_arena_printf(build->arena, "%" PRId64, number);
    if (text == NULL) {
        return ps_build_no_memory(build);
    }
    *ret = ps_slice_cstr(text);
    return 0;
}

/* ---- the rest of a conversation's request ---- */

static int read_tier(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                     struct ps_slice raw)
{
    static const char *const words[] = {
        "standard", "flex", "priority", "unspecified", "SERVICE_TIER_UNSPECIFIED", NULL};
    static const struct ps_slice tiers[] = {PS_SLICE_INIT("\"default\""), PS_SLICE_INIT("\"flex\""),
                                            PS_SLICE_INIT("\"priority\"")};
    int word = -1;

    if (ps_gemini_word(build, top, "serviceTier", raw, words, &word) != 0) {
        return -1;
    }
    if (word >= 0 && (size_t)word < COUNT(tiers)) {
        build->neutral->service_tier = tiers[word];
    }
    return 0;
}

static int read_chat(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                     struct ps_slice object)
{
    struct ps_build_member fields[FIELDS] = {
        [MODEL] = {"model", PS_SLICE_NONE},
        [CONTENTS] = {"contents", PS_SLICE_NONE},
        [SYSTEM] = {"systemInstruction", PS_SLICE_NONE},
        [TOOLS] = {"tools", PS_SLICE_NONE},
        [TOOL_CONFIG] = {"toolConfig", PS_SLICE_NONE},
        [GENERATION_CONFIG] = {"generationConfig", PS_SLICE_NONE},
        [CACHED_CONTENT] = {"cachedContent", PS_SLICE_NONE},
        [SERVICE_TIER] = {"serviceTier", PS_SLICE_NONE},
        [STORE] = {"store", PS_SLICE_NONE},
    };

    if (ps_gemini_members(build, top, object, fields, FIELDS) != 0) {
        return -1;
    }
    if (ps_raw_says(fields[CACHED_CONTENT].raw)) { /* a part of the prompt, kept over there */
        return ps_build_unsupported(build, top, "cachedContent");
    }
    if (ps_gemini_contents(build, top, fields[SYSTEM].raw, fields[CONTENTS].raw) != 0 ||
        ps_gemini_tools(build, top, fields[TOOLS].raw, fields[TOOL_CONFIG].raw) != 0 ||
        ps_gemini_config(build, top, fields[GENERATION_CONFIG].raw) != 0 ||
        read_tier(build, top, fields[SERVICE_TIER].raw) != 0) {
        return -1;
    }
    return ps_build_tri(build, top, "store", fields[STORE].raw, &build->neutral->store);
}

/* {"contents":[…]}, or a whole request to count as it would be sent. */
static int read_count(struct ps_neutral_build *build)
{
    static const struct ps_neutral_at at = {NULL, "generateContentRequest", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member inner = {"generateContentRequest", PS_SLICE_NONE};
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    ps_json_walk_init(&walk, build->body);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_gemini_key_is(key, inner.name) && ps_raw_given(value)) {
            inner.raw = value;
        }
    }
    if (inner.raw.len == 0) {
        return read_chat(build, NULL, build->body);
    }
    if (!ps_raw_begins(inner.raw, '{')) {
        return ps_build_expected(build, NULL, inner.name, "an object");
    }
    return ps_gemini_members(build, NULL, build->body, &inner, 1) != 0
               ? -1
               : read_chat(build, &at, inner.raw);
}

int ps_gemini_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    struct ps_neutral_build build;
    int rc;

    if (ps_build_begin(&build, request, arena, ret, ret_fault) != 0) {
        return -1;
    }
    rc = request->operation == PS_OP_EMBED          ? ps_gemini_inputs(&build)
         : request->operation == PS_OP_COUNT_TOKENS ? read_count(&build)
                                                    : read_chat(&build, NULL, build.body);
    if (rc == 0) {
        ps_build_end(&build);
    }
    return rc;
}
