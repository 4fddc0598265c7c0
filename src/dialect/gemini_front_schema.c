/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/*
 * Google's subset of OpenAPI as JSON Schema. What differs: types are written in capitals, what may
 * be null says so in "nullable", limits of lengths come as strings, names come with underscores or
 * without, "ref" and "defs" have no dollar sign. All else, known or not, is copied as it is.
 */

#define TYPE_BYTES 24

static void write_schema(struct ps_json_out *out, struct ps_slice raw);

static void write_key(struct ps_json_out *out, struct ps_slice key)
{
    ps_out_raw(out, key);
    ps_buf_byte(out->buf, ':');
    out->comma = false;
}

/* ---- what a member becomes ---- */

static void write_map(struct ps_json_out *out, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    ps_out_open(out, '{');
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        write_key(out, key);
        write_schema(out, value);
    }
    ps_out_close(out, '}');
}

static void write_list(struct ps_json_out *out, struct ps_slice raw, bool nullable)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_out_open(out, '[');
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &element)) {
        write_schema(out, element);
    }
    if (nullable) {
        ps_out_open(out, '{');
        ps_out_member_cstr(out, "type", "null");
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
}

/* A word of the API as that of JSON Schema; empty when it says nothing. */
static struct ps_slice type_of(struct ps_slice raw, char text[TYPE_BYTES])
{
    size_t len = raw.len >= 2 && raw.len <= TYPE_BYTES ? raw.len - 2 : 0;

    for (size_t i = 0; i < len; i++) {
        char byte = raw.ptr[i + 1];

        text[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
    }
    return ps_slice_eq(ps_slice(text, len), PS_SLICE_LIT("type_unspecified")) ? PS_SLICE_NONE
                                                                              : ps_slice(text, len);
}

static void write_type(struct ps_json_out *out, struct ps_slice raw, bool nullable)
{
    char text[TYPE_BYTES];
    struct ps_slice type;

    if (!ps_raw_begins(raw, '"')) {
        ps_out_member(out, "type", raw); /* a list of types */
        return;
    }
    type = type_of(raw, text);
    if (type.len == 0) {
        return;
    }
    ps_out_key(out, "type");
    if (!nullable || ps_slice_eq_cstr(type, "null")) {
        ps_out_text(out, type);
        return;
    }
    ps_out_open(out, '[');
    ps_out_text(out, type);
    ps_out_cstr(out, "null");
    ps_out_close(out, ']');
}

static void write_enum(struct ps_json_out *out, struct ps_slice raw, bool nullable)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_out_key(out, "enum");
    if (!nullable || !ps_raw_begins(raw, '[')) {
        ps_out_raw(out, raw);
        return;
    }
    ps_out_open(out, '[');
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &element)) {
        ps_out_raw(out, element);
    }
    ps_out_null(out);
    ps_out_close(out, ']');
}

/* "3" as 3: 64 bits have no number of JSON's own there. */
static void write_limit(struct ps_json_out *out, const char *name, struct ps_slice raw)
{
    struct ps_slice inside = raw.len > 2 ? ps_slice(raw.ptr + 1, raw.len - 2) : PS_SLICE_NONE;
    int64_t number;

    if (ps_raw_begins(raw, '"') && inside.len > 0 && ps_json_int(inside, &number)) {
        ps_out_member_int(out, name, number);
    } else {
        ps_out_member(out, name, raw);
    }
}

static void write_ref(struct ps_json_out *out, struct ps_slice raw)
{
    static const struct ps_slice from = PS_SLICE_INIT("\"#/defs/");

    ps_out_key(out, "$ref");
    if (!ps_slice_starts(raw, from)) {
        ps_out_raw(out, raw);
        return;
    }
    ps_out_string_begin(out);
    ps_out_string_plain(out, PS_SLICE_LIT("#/$defs/"));
    ps_out_string_plain(out, ps_slice(raw.ptr + from.len, raw.len - from.len - 1));
    ps_out_string_end(out);
}

/* ---- a schema ---- */

enum what {
    IS_NULLABLE,
    IS_ORDER,
    IS_TYPE,
    IS_ENUM,
    IS_FORMAT,
    IS_EXAMPLE,
    IS_REF,
    IS_LIMIT,
    IS_MAP,
    IS_LIST,
    IS_SCHEMA,
};
static const struct {
    const char *name;
    enum what what;
    const char *becomes;
} members[] = {
    {"nullable", IS_NULLABLE, NULL},
    {"propertyOrdering", IS_ORDER, NULL}, /* says nothing about what is valid */
    {"type", IS_TYPE, "type"},
    {"enum", IS_ENUM, "enum"},
    {"format", IS_FORMAT, "format"},
    {"example", IS_EXAMPLE, "examples"},
    {"ref", IS_REF, "$ref"},
    {"minItems", IS_LIMIT, "minItems"},
    {"maxItems", IS_LIMIT, "maxItems"},
    {"minLength", IS_LIMIT, "minLength"},
    {"maxLength", IS_LIMIT, "maxLength"},
    {"minProperties", IS_LIMIT, "minProperties"},
    {"maxProperties", IS_LIMIT, "maxProperties"},
    {"properties", IS_MAP, "properties"},
    {"defs", IS_MAP, "$defs"},
    {"$defs", IS_MAP, "$defs"},
    {"anyOf", IS_LIST, "anyOf"},
    {"items", IS_SCHEMA, "items"},
    {"additionalProperties", IS_SCHEMA, "additionalProperties"},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static bool is_nullable(struct ps_slice schema)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    ps_json_walk_init(&walk, schema);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_json_key_is(key, PS_SLICE_LIT("nullable"))) {
            return ps_raw_begins(value, 't');
        }
    }
    return false;
}

static void write_member(struct ps_json_out *out, size_t i, struct ps_slice value, bool nullable)
{

    switch (members[i].what) {
    case IS_NULLABLE:
    case IS_ORDER:
        break;
    case IS_TYPE:
        write_type(out, value, nullable);
        break;
    case IS_ENUM:
        write_enum(out, value, nullable);
        break;
    case IS_FORMAT:
        if (!ps_raw_word(value, "enum")) { /* no format of JSON Schema */
            ps_out_member(out, "format", value);
        }
        break;
    case IS_EXAMPLE:
        ps_out_key(out, members[i].becomes);
        ps_out_open(out, '[');
        ps_out_raw(out, value);
        ps_out_close(out, ']');
        break;
    case IS_REF:
        write_ref(out, value);
        break;
    case IS_LIMIT:
        write_limit(out, members[i].becomes, value);
        break;
    case IS_MAP:
    case IS_LIST:
    case IS_SCHEMA:
    default:
        ps_out_key(out, members[i].becomes);
        if (members[i].what == IS_MAP && ps_raw_begins(value, '{')) {
            write_map(out, value);
        } else if (members[i].what == IS_LIST && ps_raw_begins(value, '[')) {
            write_list(out, value, nullable);
        } else {
            write_schema(out, value);
        }
        break;
    }
}

/* As deep as the body's own JSON may be. */
static void write_schema(struct ps_json_out *out, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;
    bool nullable;

    if (!ps_raw_begins(raw, '{')) {
        ps_out_raw(out, raw);
        return;
    }
    nullable = is_nullable(raw);
    ps_out_open(out, '{');
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        size_t i = 0;

        while (i < MEMBERS && !ps_gemini_key_is(key, members[i].name)) {
            i++;
        }
        if (i < MEMBERS && ps_raw_given(value)) {
            write_member(out, i, value, nullable);
        } else if (i == MEMBERS) {
            write_key(out, key);
            ps_out_raw(out, value);
        }
    }
    ps_out_close(out, '}');
}

struct ps_slice ps_gemini_schema(struct ps_neutral_build *build, struct ps_slice raw)
{
    struct ps_json_out out;
    struct ps_buf buf;
    char *copy = NULL;

    ps_buf_init(&buf, 4 * raw.len + 64);
    out = ps_json_out(&buf);
    write_schema(&out, raw);
    if (!buf.failed) {
        copy = ps_arena_side(build->arena, buf.len, 1);
    }
    if (copy != NULL) {
        memcpy(copy, buf.ptr, buf.len);
        raw = ps_slice(copy, buf.len);
    } else {
        (void)ps_build_no_memory(build);
        raw = PS_SLICE_NONE;
    }
    ps_buf_deinit(&buf);
    return raw;
}
