/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"

#include "fields.h"
#include "json_out.h"

#include "penstock/base/json_scan.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- begin and end ---- */

int ps_build_begin(struct ps_neutral_build *build, const struct ps_request *request,
                   struct ps_arena *arena, struct ps_neutral *ret, struct ps_fault *fault)
{
    *build = (struct ps_neutral_build){
        .request = request,
        .arena = arena,
        .fault = fault,
        .neutral = ret,
    };
    if (request->body == NULL || request->body->len == 0) {
        return 0;
    }
    build->body = ps_body_piece(request->body, (struct ps_span){0, request->body->len}, arena);
    if (build->body.ptr == NULL) {
        return ps_build_no_memory(build);
    }
    build->body = ps_raw_trimmed(build->body);
    return 0;
}

void ps_build_end(struct ps_neutral_build *build)
{
    build->neutral->extras = build->extras;
}

/* ---- members ---- */

/* Steps may lie on the stack of the one who walks. NULL: the top, or no memory. */
static const struct ps_neutral_at *keep_at(struct ps_neutral_build *build,
                                           const struct ps_neutral_at *at)
{
    struct ps_neutral_at *copy = NULL;

    if (at != NULL) {
        copy = ps_arena_alloc(build->arena, sizeof(*copy));
    }
    if (copy != NULL) {
        *copy = (struct ps_neutral_at){keep_at(build, at->parent), at->name, at->index};
    }
    return copy;
}

static void note_extra(struct ps_neutral_build *build, struct ps_neutral_extra extra)
{
    struct ps_neutral *neutral = build->neutral;
    size_t at = neutral->extra_count;

    if (build->extras == NULL) {
        build->extras = ps_arena_calloc(build->arena, PS_NEUTRAL_EXTRAS * sizeof(*build->extras));
    }
    if (build->extras == NULL || neutral->extra_count == PS_NEUTRAL_EXTRAS) {
        neutral->extras_left_out++;
        return;
    }
    extra.at.parent = keep_at(build, extra.at.parent);
    /* Top ones first: they may still be sent. */
    while (!extra.nested && at > 0 && build->extras[at - 1].nested) {
        build->extras[at] = build->extras[at - 1];
        at--;
    }
    build->extras[at] = extra;
    neutral->extra_count++;
}

static void note_unknown(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                         struct ps_slice key, struct ps_slice value)
{
    struct ps_slice name;
    char *text;

    if (!ps_raw_given(value) || build->neutral->extra_count == PS_NEUTRAL_EXTRAS) {
        build->neutral->extras_left_out += ps_raw_given(value);
        return;
    }
    name = ps_raw_plain(ps_slice(key.ptr, key.len < PS_FAULT_PARAM ? key.len : 2), build->arena);
    text = name.ptr != NULL ? ps_arena_strdup(build->arena, name) : NULL;
    note_extra(build, (struct ps_neutral_extra){
                          .at = {at, text != NULL ? text : "", PS_NEUTRAL_NO_INDEX},
                          .key = key,
                          .value = value,
                          .nested = at != NULL,
                      });
}

void ps_build_extra(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice value)
{
    if (ps_raw_given(value)) {
        note_extra(build, (struct ps_neutral_extra){
                              .at = {at, name, PS_NEUTRAL_NO_INDEX},
                              .key = ps_raw_quote(ps_slice_cstr(name), build->arena),
                              .value = value,
                              .nested = at != NULL,
                          });
    }
}

int ps_build_members(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice object, struct ps_build_member *members, size_t count)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;
    uint64_t seen = 0;
    size_t i;

    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (i = 0; i < count && !ps_json_key_is(key, ps_slice_cstr(members[i].name)); i++) {
        }
        if (i == count) {
            note_unknown(build, at, key, value);
            continue;
        }
        if (seen >> i & 1) {
            char path[PS_FAULT_PARAM];

            ps_neutral_path(path, at, members[i].name);
            return ps_fault_set(build->fault, PS_FAULT_BAD_JSON, path,
                                "The request body has the field %s more than once.", path);
        }
        seen |= UINT64_C(1) << i;
        members[i].raw = ps_raw_given(value) ? value : PS_SLICE_NONE;
    }
    return 0;
}

/* ---- values ---- */

int ps_build_string(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret)
{
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '"')) {
        return ps_build_expected(build, at, name, "a string");
    }
    *ret = raw;
    return 0;
}

int ps_build_needed(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret)
{
    return ps_raw_given(raw) ? ps_build_string(build, at, name, raw, ret)
                             : ps_build_missing(build, at, name);
}

int ps_build_name(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, struct ps_slice *ret)
{
    if (ps_build_needed(build, at, name, raw, ret) != 0) {
        return -1;
    }
    return ps_raw_says(*ret) ? 0 : ps_build_expected(build, at, name, "a string that is not empty");
}

int ps_build_object(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret)
{
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, name, "an object");
    }
    *ret = raw;
    return 0;
}

int ps_build_number(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, double low, double high,
                    struct ps_slice *ret)
{
    char path[PS_FAULT_PARAM];
    double number;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_json_double(raw, &number) || !(number >= low && number <= high)) {
        ps_neutral_path(path, at, name);
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path,
                            "%s must be a number from %g to %g.", path, low, high);
    }
    *ret = raw;
    return 0;
}

int ps_build_int(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 struct ps_slice raw, int64_t low, int64_t high, struct ps_slice *ret)
{
    char path[PS_FAULT_PARAM];
    int64_t number;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_json_int(raw, &number) || number < low || number > high) {
        ps_neutral_path(path, at, name);
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path,
                            "%s must be an integer from %" PRId64 " to %" PRId64 ".", path, low,
                            high);
    }
    *ret = raw;
    return 0;
}

int ps_build_tri(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 struct ps_slice raw, enum ps_tri *ret)
{
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, 't') && !ps_raw_begins(raw, 'f')) {
        return ps_build_expected(build, at, name, "true or false");
    }
    *ret = raw.ptr[0] == 't' ? PS_TRI_YES : PS_TRI_NO;
    return 0;
}

int ps_build_bool(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, bool *ret)
{
    enum ps_tri tri = *ret ? PS_TRI_YES : PS_TRI_NO;

    if (ps_build_tri(build, at, name, raw, &tri) != 0) {
        return -1;
    }
    *ret = tri == PS_TRI_YES;
    return 0;
}

static int check_stop(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice raw)
{
    return ps_raw_says(raw) ? 0 : ps_build_expected(build, at, NULL, "a string that is not empty");
}

int ps_build_stops(struct ps_neutral_build *build, const char *name, struct ps_slice raw,
                   bool single)
{
    struct ps_neutral_at at = {NULL, name, PS_NEUTRAL_NO_INDEX};
    bool list = ps_raw_begins(raw, '[');
    size_t count = list ? ps_build_count(raw) : 1;
    struct ps_json_walk walk;
    struct ps_slice *stops;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!list && !(single && ps_raw_begins(raw, '"'))) {
        return ps_build_expected(
            build, NULL, name, single ? "a string or an array of strings" : "an array of strings");
    }
    if (count > PS_NEUTRAL_STOPS) {
        return ps_build_bad(build, NULL, name, "holds too many strings.");
    }
    stops = ps_build_array(build, count, sizeof(*stops));
    if (stops == NULL) {
        return -1;
    }
    build->neutral->stops = stops;
    build->neutral->stop_count = count;
    build->neutral->stop_name = name;
    if (!list) {
        stops[0] = raw;
        return check_stop(build, &at, raw);
    }
    ps_json_walk_init(&walk, raw);
    for (at.index = 0; at.index < count && ps_json_walk_element(&walk, &stops[at.index]);
         at.index++) {
        if (check_stop(build, &at, stops[at.index]) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_build_word(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, const char *const *words, int *ret)
{
    char list[128] = "";
    size_t len = 0;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    for (int i = 0; words[i] != NULL; i++) {
        if (ps_raw_begins(raw, '"') && ps_json_key_is(raw, ps_slice_cstr(words[i]))) {
            *ret = i;
            return 0;
        }
    }
    for (int i = 0; words[i] != NULL && len < sizeof(list); i++) {
        len +=
            (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    return ps_build_expected(build, at, name, list);
}

int ps_build_effort(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, enum ps_effort *ret)
{
    static const char *const words[] = {"none", "minimal", "low", "medium",
                                        "high", "xhigh",   "max", NULL};
    int word = -1;

    if (ps_build_word(build, at, name, raw, words, &word) != 0) {
        return -1;
    }
    if (word >= 0) {
        *ret = (enum ps_effort)(word + PS_EFFORT_OFF);
    }
    return 0;
}

/* ---- arrays ---- */

size_t ps_build_count(struct ps_slice array)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    size_t count = 0;

    ps_json_walk_init(&walk, array);
    while (ps_json_walk_element(&walk, &element)) {
        count++;
    }
    return count;
}

void *ps_build_array(struct ps_neutral_build *build, size_t count, size_t size)
{
    void *array = ps_arena_side(build->arena, count, size);

    if (array == NULL) {
        (void)ps_build_no_memory(build);
    }
    return array;
}

struct ps_neutral_part *ps_build_parts(struct ps_neutral_build *build,
                                       const struct ps_neutral_at *at, size_t count)
{
    build->part_count += count;
    if (build->part_count > PS_NEUTRAL_MESSAGES) {
        (void)ps_build_bad(build, at, NULL, "holds more parts than the gateway translates.");
        return NULL;
    }
    return ps_build_array(build, count, sizeof(struct ps_neutral_part));
}

struct ps_neutral_part *ps_parts_next(struct ps_parts *parts, enum ps_part_kind kind,
                                      const struct ps_neutral_at *parent, const char *name,
                                      uint32_t index)
{
    struct ps_neutral_part *part = &parts->list[parts->count++];

    part->kind = kind;
    part->at = (struct ps_neutral_at){parent, name, index};
    return part;
}

/* ---- raw strings ---- */

struct ps_slice ps_raw_find(struct ps_slice object, const char *name)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(object, '{')) {
        return PS_SLICE_NONE;
    }
    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_json_key_is(key, ps_slice_cstr(name))) {
            return value;
        }
    }
    return PS_SLICE_NONE;
}

struct ps_slice ps_raw_member_of(struct ps_slice object, struct ps_slice name)
{
    struct ps_slice found = PS_SLICE_NONE;
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(object, '{')) {
        return PS_SLICE_NONE;
    }
    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_json_key_is(key, name)) {
            found = value;
        }
    }
    return ps_raw_given(found) ? found : PS_SLICE_NONE;
}

struct ps_slice ps_raw_first(struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_raw_begins(raw, '[')) {
        return raw;
    }
    ps_json_walk_init(&walk, raw);
    return ps_json_walk_element(&walk, &element) ? element : PS_SLICE_NONE;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

struct ps_slice ps_raw_trimmed(struct ps_slice text)
{
    while (text.len > 0 && is_space(text.ptr[0])) {
        text = ps_slice(text.ptr + 1, text.len - 1);
    }
    while (text.len > 0 && is_space(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct ps_slice ps_raw_plain(struct ps_slice raw, struct ps_arena *arena)
{
    char *text;

    if (memchr(raw.ptr, '\\', raw.len) == NULL) {
        return ps_slice(raw.ptr + 1, raw.len - 2);
    }
    text = ps_arena_side(arena, raw.len, 1);
    return text != NULL ? ps_slice(text, ps_json_unescape(raw, text)) : PS_SLICE_NONE;
}

struct ps_slice ps_raw_quote(struct ps_slice text, struct ps_arena *arena)
{
    struct ps_buf buf;
    char *raw = NULL;
    size_t len;

    ps_buf_init(&buf, 6 * text.len + 2); /* every byte escaped */
    ps_buf_json(&buf, text);
    len = buf.len;
    if (!buf.failed) {
        raw = ps_arena_side(arena, len, 1);
    }
    if (raw != NULL) {
        memcpy(raw, buf.ptr, len);
    }
    ps_buf_deinit(&buf);
    return raw != NULL ? ps_slice(raw, len) : PS_SLICE_NONE;
}

/* ---- faults ---- */

int ps_build_expected(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      const char *name, const char *what)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, name);
    return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path, "%s must be %s.", path, what);
}

int ps_build_missing(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     const char *name)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, name);
    return ps_fault_set(build->fault, PS_FAULT_MISSING_FIELD, path, "%s is required.", path);
}

int ps_build_bad(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 const char *why)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, name);
    return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path, "%s %s", path, why);
}

int ps_build_unsupported(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                         const char *name)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, name);
    return ps_fault_set(build->fault, PS_FAULT_UNSUPPORTED_OPERATION, path,
                        "%s cannot be translated for the provider of this model.", path);
}

int ps_build_no_memory(struct ps_neutral_build *build)
{
    return ps_body_out_of_memory(build->fault);
}
