/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"

#include "penstock/base/mem.h"

#include <inttypes.h>

struct ps_json_paths *ps_fields_compile(const struct ps_field_rule *rules, size_t count)
{
    struct ps_json_path paths[PS_FIELDS_MAX];

    if (count > PS_FIELDS_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        paths[i] = (struct ps_json_path){rules[i].path, rules[i].unique};
    }
    return ps_json_paths_new(paths, count);
}

/* ---- the pass over the bytes ---- */

static void note_message(struct ps_fields *fields, const struct ps_json_value *value)
{
    uint64_t number = (uint64_t)value->element + 1;

    if (fields->bad_message != 0) {
        return;
    }
    if (value->type != PS_JSON_OBJECT || fields->role_element != number) {
        fields->bad_message = number;
        fields->bad_message_is_role = value->type == PS_JSON_OBJECT;
    }
}

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_fields *fields = arg;
    enum ps_field_kind kind = fields->rules[value->path].kind;

    if (kind == PS_FIELD_ROLE) {
        fields->role_element = value->type == PS_JSON_STRING ? (uint64_t)value->element + 1 : 0;
    } else if (kind == PS_FIELD_MESSAGE) {
        note_message(fields, value);
    } else if (kind == PS_FIELD_EACH) {
        if (fields->each != NULL) {
            fields->each(fields->each_arg, value);
        }
    } else if (kind == PS_FIELD_STOP_ITEM) {
        if (value->type != PS_JSON_STRING && fields->bad_stop == 0) {
            fields->bad_stop = (uint64_t)value->element + 1;
        }
    } else {
        fields->found[value->path] =
            (struct ps_field){{value->start, value->end}, value->type, value->escaped};
    }
    return true;
}

int ps_fields_init(struct ps_fields *fields, const struct ps_field_rule *rules, size_t count,
                   const struct ps_json_paths *paths, const struct ps_json_limits *limits,
                   struct ps_arena *arena)
{
    fields->rules = rules;
    fields->count = count;
    fields->found = ps_arena_calloc(arena, count * sizeof(*fields->found));
    ps_json_scan_init(&fields->scan, paths, limits, on_value, fields);
    return fields->found != NULL ? 0 : -1;
}

static int json_fault(const struct ps_fields *fields, struct ps_fault *ret_fault)
{
    const struct ps_json_scan *scan = &fields->scan;

    if (scan->began && scan->root != PS_JSON_OBJECT) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, NULL,
                            "The request body must be a JSON object.");
    }
    if (scan->error == PS_JSON_DUPLICATE) {
        const char *path = fields->rules[scan->duplicate].path;

        return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, path,
                            "The request body has the field %s more than once.", path);
    }
    if (scan->offset == 0 && scan->error == PS_JSON_INCOMPLETE) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, NULL,
                            "The request body is empty; a JSON object was expected.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, NULL,
                        "The request body %s (at byte %" PRIu64 ").",
                        ps_json_error_text(scan->error), scan->offset);
}

int ps_fields_feed(struct ps_fields *fields, const char *ptr, size_t len,
                   struct ps_fault *ret_fault)
{
    enum ps_json_error error = ps_json_scan_feed(&fields->scan, ptr, len);

    if (error != PS_JSON_OK || (fields->scan.began && fields->scan.root != PS_JSON_OBJECT)) {
        return json_fault(fields, ret_fault);
    }
    return 0;
}

/* ---- looking at bytes again ---- */

char ps_body_next(const struct ps_chain *body, uint64_t *offset)
{
    while (*offset < body->len) {
        struct ps_slice run = ps_chain_run(body, (size_t)*offset, body->len - (size_t)*offset);

        for (size_t i = 0; i < run.len; i++) {
            char byte = run.ptr[i];

            if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r') {
                *offset += i;
                return byte;
            }
        }
        *offset += run.len;
    }
    return 0;
}

bool ps_body_is_empty(const struct ps_chain *body, struct ps_span span)
{
    uint64_t inside = span.start + 1;
    char next = ps_body_next(body, &inside);

    return (next == ']' || next == '}') && inside + 1 == span.end;
}

struct ps_slice ps_body_piece(const struct ps_chain *body, struct ps_span span,
                              struct ps_arena *arena)
{
    size_t len = (size_t)(span.end - span.start);
    struct ps_slice run = ps_chain_run(body, (size_t)span.start, len);
    char *copy;

    if (run.len == len) {
        return run;
    }
    copy = ps_malloc(len);
    if (copy == NULL) {
        return PS_SLICE_NONE;
    }
    if (ps_arena_defer(arena, ps_free, copy) != 0) {
        ps_free(copy);
        return PS_SLICE_NONE;
    }
    ps_chain_copy(body, (size_t)span.start, len, copy);
    return ps_slice(copy, len);
}

bool ps_field_has(const struct ps_field *field)
{
    return field->span.end != 0 && field->type != PS_JSON_NULL;
}

int ps_fields_end(struct ps_fields *fields, struct ps_fault *ret_fault)
{
    if (ps_json_scan_finish(&fields->scan) != PS_JSON_OK || fields->scan.root != PS_JSON_OBJECT) {
        return json_fault(fields, ret_fault);
    }
    return 0;
}
