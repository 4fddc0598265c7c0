/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"
#include "json_walk.h"
#include "prompt_priv.h"

#include "penstock/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define LITTLE_TOP_P 1e-6

int ps_prompt_translate(struct ps_prompt_build *build, const struct ps_request *request)
{
    struct ps_request copy = *request;
    const struct ps_neutral *neutral;

    return ps_dialect_neutral(&copy, build->arena, &neutral, build->fault) == 0
               ? ps_prompt_of_neutral(build, request, neutral)
               : -1;
}

int ps_dialect_prompt(const struct ps_dialect *front, const struct ps_request *request,
                      struct ps_arena *arena, struct ps_prompt *ret, struct ps_fault *fault)
{
    struct ps_prompt_build build = {.prompt = ret, .arena = arena, .fault = fault};

    *ret = (struct ps_prompt){
        .operation = request->operation,
        .max_tokens = -1,
        .temperature = -1,
        .top_p = -1,
        .top_k = -1,
        .min_p = -1,
    };
    if (!ps_dialect_has_writer(front, request->operation) ||
        (front->prompt == NULL && front->neutral == NULL)) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "A model inside the gateway cannot do this operation (%s).",
                            ps_operation_name(request->operation));
    }
    return front->prompt != NULL ? front->prompt(&build, request)
                                 : ps_prompt_translate(&build, request);
}

int ps_prompt_begin(struct ps_prompt_build *build, size_t raw_bytes)
{
    build->text = ps_malloc(raw_bytes + 1);
    if (build->text == NULL) {
        return ps_prompt_no_memory(build);
    }
    if (ps_arena_defer(build->arena, ps_free, build->text) != 0) {
        ps_free(build->text);
        build->text = NULL;
        return ps_prompt_no_memory(build);
    }
    build->text_size = raw_bytes;
    return 0;
}

/* ---- paths ---- */

/* Ours are all shorter than a fault has room for; one that is not is cut. */
static void cut(char *path, int len)
{
    if (len < 0 || len >= PS_FAULT_PARAM) {
        path[PS_FAULT_PARAM - 1] = '\0';
    }
}

void ps_prompt_path(char *ret, const char *path, const char *member)
{
    cut(ret, snprintf(ret, PS_FAULT_PARAM, "%s.%s", path, member));
}

void ps_prompt_element(char *ret, const char *path, size_t index)
{
    cut(ret, snprintf(ret, PS_FAULT_PARAM, "%s[%zu]", path, index));
}

/* ---- faults ---- */

int ps_prompt_expected(struct ps_prompt_build *build, const char *path, const char *what)
{
    return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path, "%s must be %s.", path, what);
}

int ps_prompt_unsupported(struct ps_prompt_build *build, const char *path)
{
    return ps_fault_set(build->fault, PS_FAULT_UNSUPPORTED_OPERATION, path,
                        "The model runs inside the gateway, which does not support the field %s.",
                        path);
}

int ps_prompt_twice(struct ps_prompt_build *build, const char *path)
{
    return ps_fault_set(build->fault, PS_FAULT_BAD_JSON, path,
                        "The request body has the field %s more than once.", path);
}

int ps_prompt_no_memory(struct ps_prompt_build *build)
{
    return ps_body_out_of_memory(build->fault);
}

/* ---- values ---- */

bool ps_raw_filled(struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice first;

    if (!ps_raw_is(raw, '{') && !ps_raw_is(raw, '[')) {
        return false;
    }
    ps_json_walk_init(&walk, raw);
    return ps_json_walk_element(&walk, &first);
}

bool ps_raw_means(struct ps_slice raw, const char *text)
{
    return ps_raw_is_string(raw) && ps_json_key_is(raw, ps_slice_cstr(text));
}

size_t ps_prompt_count(struct ps_slice array)
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

int ps_prompt_text(struct ps_prompt_build *build, const char *path, struct ps_slice raw,
                   struct ps_slice *ret)
{
    char *text = build->text + build->text_len;
    size_t len;

    if (!ps_raw_has(raw)) {
        return 0;
    }
    if (!ps_raw_is_string(raw)) {
        return ps_prompt_expected(build, path, "a string");
    }
    if (raw.len > build->text_size - build->text_len) {
        return ps_prompt_no_memory(build); /* cannot be: see struct ps_prompt_build */
    }
    len = ps_json_unescape(raw, text);
    if (memchr(text, '\0', len) != NULL) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path,
                            "%s must not hold a NUL character.", path);
    }
    build->text_len += len;
    *ret = ps_slice(text, len);
    return 0;
}

int ps_prompt_bool(struct ps_prompt_build *build, const char *path, struct ps_slice raw, bool *ret)
{
    if (!ps_raw_has(raw)) {
        return 0;
    }
    if (!ps_raw_is(raw, 't') && !ps_raw_is(raw, 'f')) {
        return ps_prompt_expected(build, path, "true or false");
    }
    *ret = raw.ptr[0] == 't';
    return 0;
}

int ps_prompt_int(struct ps_prompt_build *build, const char *path, struct ps_slice raw, int64_t low,
                  int64_t high, int64_t *ret)
{
    int64_t number;

    if (!ps_raw_has(raw)) {
        return 0;
    }
    if (!ps_json_int(raw, &number) || number < low || number > high) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path,
                            "%s must be an integer from %" PRId64 " to %" PRId64 ".", path, low,
                            high);
    }
    *ret = number;
    return 0;
}

int ps_prompt_number(struct ps_prompt_build *build, const char *path, struct ps_slice raw,
                     double low, double high, double *ret)
{
    double number;

    if (!ps_raw_has(raw)) {
        return 0;
    }
    if (!ps_json_double(raw, &number) || !(number >= low && number <= high)) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, path,
                            "%s must be a number from %g to %g.", path, low, high);
    }
    *ret = number;
    return 0;
}

struct ps_slice ps_prompt_keep(struct ps_prompt_build *build, struct ps_slice raw)
{
    char *text = build->text + build->text_len;

    if (raw.len > build->text_size - build->text_len) {
        return PS_SLICE_NONE;
    }
    memcpy(text, raw.ptr, raw.len);
    build->text_len += raw.len;
    return ps_slice(text, raw.len);
}

int ps_prompt_members(struct ps_prompt_build *build, const char *path, struct ps_slice object,
                      struct ps_prompt_member *members, size_t count)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (size_t i = 0; i < count; i++) {
            if (!ps_json_key_is(key, ps_slice_cstr(members[i].name))) {
                continue;
            }
            if (members[i].raw.len > 0) {
                char full[PS_FAULT_PARAM];

                ps_prompt_path(full, path, members[i].name);
                return ps_prompt_twice(build, full);
            }
            members[i].raw = value;
            break;
        }
    }
    return 0;
}

/* ---- fields that several fronts have ---- */

int ps_prompt_top_p(struct ps_prompt_build *build, struct ps_slice raw)
{
    double *top_p = &build->prompt->top_p;

    if (ps_prompt_number(build, "top_p", raw, 0, 1, top_p) != 0) {
        return -1;
    }
    if (ps_raw_has(raw) && *top_p < LITTLE_TOP_P) {
        *top_p = LITTLE_TOP_P;
    }
    return 0;
}

int ps_prompt_seed(struct ps_prompt_build *build, struct ps_slice raw)
{
    build->prompt->has_seed = ps_raw_has(raw);
    return ps_prompt_int(build, "seed", raw, INT64_MIN, INT64_MAX, &build->prompt->seed);
}

static int add_stop(struct ps_prompt_build *build, struct ps_slice *stops, struct ps_slice raw)
{
    struct ps_prompt *prompt = build->prompt;
    struct ps_slice *stop = &stops[prompt->stop_count];

    if (prompt->stop_count == PS_PROMPT_STOPS) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, "stop",
                            "stop must hold no more than %d strings.", PS_PROMPT_STOPS);
    }
    if (!ps_raw_is_string(raw)) {
        return ps_prompt_expected(build, "stop", "a string or an array of strings");
    }
    if (ps_prompt_text(build, "stop", raw, stop) != 0) {
        return -1;
    }
    if (stop->len == 0) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, "stop",
                            "stop must not hold an empty string.");
    }
    prompt->stop_count++;
    return 0;
}

int ps_prompt_stop(struct ps_prompt_build *build, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    struct ps_slice *stops;

    if (!ps_raw_has(raw)) {
        return 0;
    }
    stops = ps_arena_alloc(build->arena, PS_PROMPT_STOPS * sizeof(*stops));
    if (stops == NULL) {
        return ps_prompt_no_memory(build);
    }
    build->prompt->stops = stops;
    if (!ps_raw_is(raw, '[')) {
        return add_stop(build, stops, raw);
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &element)) {
        if (add_stop(build, stops, element) != 0) {
            return -1;
        }
    }
    return 0;
}
