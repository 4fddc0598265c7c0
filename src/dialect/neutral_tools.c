/* SPDX-License-Identifier: Apache-2.0 */
#include "json_out.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"

#include <stdlib.h>

/* Calls, results and the names of tools. */

bool ps_raw_same(struct ps_slice a, struct ps_slice b)
{
    char left[512];
    char right[512];

    if (ps_slice_eq(a, b)) {
        return true;
    }
    if (a.len > sizeof(left) || b.len > sizeof(right) ||
        (memchr(a.ptr, '\\', a.len) == NULL && memchr(b.ptr, '\\', b.len) == NULL)) {
        return false;
    }
    return ps_slice_eq(ps_slice(left, ps_json_unescape(a, left)),
                       ps_slice(right, ps_json_unescape(b, right)));
}

/* ---- schemas ---- */

static bool is_type(struct ps_slice raw)
{
    static const char *const types[] = {"object",  "array",   "string", "number",
                                        "integer", "boolean", "null"};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ps_raw_begins(raw, '"') && ps_json_key_is(raw, ps_slice_cstr(types[i]))) {
            return true;
        }
    }
    return false;
}

static bool all_are(struct ps_slice array, bool (*fn)(struct ps_slice raw))
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_json_walk_init(&walk, array);
    while (ps_json_walk_element(&walk, &element)) {
        if (!fn(element)) {
            return false;
        }
    }
    return true;
}

static bool is_string(struct ps_slice raw)
{
    return ps_raw_begins(raw, '"');
}

/* What is wrong with one member of a schema; NULL: nothing. */
static const char *member_fault(struct ps_slice key, struct ps_slice value, bool root)
{
    if (ps_json_key_is(key, PS_SLICE_LIT("type"))) {
        if (root && !(is_string(value) && ps_json_key_is(value, PS_SLICE_LIT("object")))) {
            return "must be a JSON schema of the type object.";
        }
        if (!is_type(value) && !(ps_raw_begins(value, '[') && all_are(value, is_type))) {
            return "is no JSON schema: its type is none that JSON has.";
        }
    } else if (ps_json_key_is(key, PS_SLICE_LIT("properties"))) {
        if (!ps_raw_begins(value, '{')) {
            return "is no JSON schema: its properties are no object.";
        }
    } else if (ps_json_key_is(key, PS_SLICE_LIT("required"))) {
        if (!ps_raw_begins(value, '[') || !all_are(value, is_string)) {
            return "is no JSON schema: required is no array of strings.";
        }
    }
    return NULL;
}

int ps_build_schema(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, bool root, struct ps_slice *ret)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, name, "a JSON schema, which is an object");
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        const char *why = member_fault(key, value, root);

        if (why != NULL) {
            return ps_build_bad(build, at, name, why);
        }
    }
    *ret = raw;
    return 0;
}

/* ---- tools ---- */

int ps_build_tools(struct ps_neutral_build *build, struct ps_slice raw,
                   int (*fn)(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                             struct ps_slice raw))
{
    size_t count = ps_raw_begins(raw, '[') ? ps_build_count(raw) : 0;
    struct ps_neutral_tool *tools;
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, NULL, "tools", "an array");
    }
    if (count > PS_NEUTRAL_TOOLS) {
        return ps_build_bad(build, NULL, "tools", "holds more tools than can be translated.");
    }
    tools = ps_build_array(build, count, sizeof(*tools));
    if (tools == NULL) {
        return -1;
    }
    build->neutral->tools = tools;
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        tools[i].at = (struct ps_neutral_at){NULL, "tools", i};
        build->neutral->tool_count++;
        if (fn(build, &tools[i], element) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- arguments ---- */

static bool is_blank(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != ' ' && text.ptr[i] != '\n' && text.ptr[i] != '\t' &&
            text.ptr[i] != '\r') {
            return false;
        }
    }
    return true;
}

int ps_build_arguments(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice raw, struct ps_slice *ret)
{
    const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    struct ps_slice text;

    if (!ps_raw_given(raw)) {
        *ret = PS_SLICE_LIT("{}");
        return 0;
    }
    if (ps_raw_begins(raw, '{')) {
        *ret = raw; /* some servers give the object itself */
        return 0;
    }
    if (!ps_raw_begins(raw, '"')) {
        return ps_build_expected(build, at, name, "a string that holds a JSON object");
    }
    text = ps_raw_plain(raw, build->arena);
    if (text.ptr == NULL) {
        return ps_build_no_memory(build);
    }
    if (is_blank(text)) {
        *ret = PS_SLICE_LIT("{}");
        return 0;
    }
    while (is_blank(ps_slice(text.ptr, 1))) {
        text.ptr++;
        text.len--;
    }
    while (is_blank(ps_slice(text.ptr + text.len - 1, 1))) {
        text.len--;
    }
    if (text.ptr[0] != '{' || ps_json_scan_text(text, NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        return ps_build_expected(build, at, name, "a string that holds a JSON object");
    }
    *ret = text;
    return 0;
}

/* ---- calls and results ---- */

/* By id, and in order where that is the same. Ids with escapes in them are compared as they are
 * written: nobody writes an id in two ways. */
static int by_id(const void *left, const void *right)
{
    const struct ps_neutral_call *a = *(const struct ps_neutral_call *const *)left;
    const struct ps_neutral_call *b = *(const struct ps_neutral_call *const *)right;

    if (a->id.len != b->id.len) {
        return a->id.len < b->id.len ? -1 : 1;
    }
    return memcmp(a->id.ptr, b->id.ptr, a->id.len);
}

int ps_build_note_calls(struct ps_neutral_build *build, const struct ps_neutral_message *message)
{
    size_t count = 0;

    for (size_t i = 0; i < message->part_count; i++) {
        count += message->parts[i].kind == PS_PART_TOOL_CALL;
    }
    if (count == 0) {
        return 0;
    }
    build->calls = ps_build_array(build, count, sizeof(struct ps_neutral_call *));
    if (build->calls == NULL) {
        return -1;
    }
    build->call_count = 0;
    for (size_t i = 0; i < message->part_count; i++) {
        if (message->parts[i].kind == PS_PART_TOOL_CALL) {
            build->calls[build->call_count++] = message->parts[i].call;
        }
    }
    qsort(build->calls, count, sizeof(struct ps_neutral_call *), by_id);
    for (size_t i = 1; i < count; i++) {
        if (by_id(&build->calls[i - 1], &build->calls[i]) == 0) {
            return ps_build_bad(build, &message->at, NULL, "has two tool calls of the same id.");
        }
    }
    return 0;
}

int ps_build_find_call(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice id, const struct ps_neutral_call **ret)
{
    const struct ps_neutral_call wanted = {.id = id};
    const struct ps_neutral_call *key = &wanted;
    const struct ps_neutral_call **found = NULL;

    if (build->call_count > 0) {
        found = bsearch(&key, build->calls, build->call_count, sizeof(key), by_id);
    }
    if (found == NULL) {
        return ps_build_bad(build, at, name,
                            "answers no tool call of the assistant message before it.");
    }
    *ret = *found;
    return 0;
}

int ps_build_find_tool(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice raw, size_t *ret)
{
    const struct ps_neutral *neutral = build->neutral;

    for (size_t i = 0; i < neutral->tool_count; i++) {
        if (neutral->tools[i].name.len > 0 && ps_raw_same(neutral->tools[i].name, raw)) {
            *ret = i;
            return 0;
        }
    }
    return ps_build_bad(build, at, name, "names no tool of this request.");
}
