/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"

#include <inttypes.h>
#include <stdio.h>

/* Whether the values are what the rules say. */

#define NUMBER_BYTES 400 /* a number that is checked is no longer than this */

/* Copies a short value out; false when it is longer than `size`. */
static bool copy_out(const struct ps_field *field, const struct ps_chain *body, char *ret,
                     size_t size, size_t *ret_len)
{
    uint64_t len = field->span.end - field->span.start;

    if (len > size) {
        return false;
    }
    ps_chain_copy(body, (size_t)field->span.start, (size_t)len, ret);
    *ret_len = (size_t)len;
    return true;
}

#define MODEL_RAW (6 * PS_MODEL_BYTES + 2) /* every byte as \u00xx */

/* Unescapes in place into `ret`, MODEL_RAW bytes; false when it is too long. */
static bool read_model(const struct ps_field *field, const struct ps_chain *body, char *ret,
                       size_t *ret_len)
{
    char raw[MODEL_RAW];
    size_t len;

    if (!copy_out(field, body, raw, sizeof(raw), &len)) {
        return false;
    }
    *ret_len = ps_json_unescape(ps_slice(raw, len), ret);
    return true;
}

struct ps_slice ps_fields_model(const struct ps_field *field, const struct ps_chain *body,
                                struct ps_arena *arena)
{
    char name[MODEL_RAW];
    size_t len = 0;

    (void)read_model(field, body, name, &len);
    return ps_arena_copy(arena, ps_slice(name, len));
}

int ps_body_out_of_memory(struct ps_fault *ret_fault)
{
    return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                        "The gateway is short of memory for this request.");
}

int ps_body_check_model(struct ps_slice name, struct ps_fault *ret_fault)
{
    if (name.len == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "model", "model must not be empty.");
    }
    if (name.len > PS_MODEL_BYTES) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "model",
                            "model must be no longer than %d bytes.", PS_MODEL_BYTES);
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char byte = (unsigned char)name.ptr[i];

        if (byte < 0x20 || byte == 0x7f) {
            return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "model",
                                "model must not hold control characters.");
        }
    }
    return 0;
}

/* What a check looks at. */
struct subject {
    const struct ps_fields *fields;
    const struct ps_field_rule *rule;
    const struct ps_field *field;
    const struct ps_chain *body;
    enum ps_operation operation;
    struct ps_fault *fault;
};

static int refuse(const struct subject *s, const char *expected)
{
    return ps_fault_set(s->fault, PS_FAULT_BAD_FIELD, s->rule->path, "%s must be %s.",
                        s->rule->path, expected);
}

static int check_model(const struct subject *s)
{
    char name[MODEL_RAW];
    size_t len;

    if (s->field->type != PS_JSON_STRING) {
        return refuse(s, "a string");
    }
    if (!read_model(s->field, s->body, name, &len)) {
        len = PS_MODEL_BYTES + 1;
    }
    return ps_body_check_model(ps_slice(name, len), s->fault);
}

static bool read_int(const struct subject *s, int64_t *ret_number)
{
    char raw[NUMBER_BYTES];
    size_t len;

    return s->field->type == PS_JSON_NUMBER &&
           copy_out(s->field, s->body, raw, sizeof(raw), &len) &&
           ps_json_int(ps_slice(raw, len), ret_number);
}

static int check_int(const struct subject *s, int64_t low, int64_t high)
{
    int64_t number;

    if (read_int(s, &number) && number >= low && number <= high) {
        return 0;
    }
    return ps_fault_set(s->fault, PS_FAULT_BAD_FIELD, s->rule->path,
                        "%s must be an integer from %" PRId64 " to %" PRId64 ".", s->rule->path,
                        low, high);
}

static int check_any_int(const struct subject *s)
{
    int64_t number;

    return read_int(s, &number) ? 0 : refuse(s, "an integer of at most 64 bits");
}

static int check_number(const struct subject *s)
{
    const struct ps_field_rule *rule = s->rule;
    char raw[NUMBER_BYTES];
    size_t len;
    double number;

    if (s->field->type == PS_JSON_NUMBER && copy_out(s->field, s->body, raw, sizeof(raw), &len) &&
        ps_json_double(ps_slice(raw, len), &number) && number >= (double)rule->low &&
        number <= (double)rule->high) {
        return 0;
    }
    return ps_fault_set(s->fault, PS_FAULT_BAD_FIELD, rule->path,
                        "%s must be a number from %" PRId64 " to %" PRId64 ".", rule->path,
                        rule->low, rule->high);
}

static bool is_filled(const struct subject *s)
{
    if (s->field->type == PS_JSON_STRING) {
        return s->field->span.end - s->field->span.start > 2;
    }
    return !ps_body_is_empty(s->body, s->field->span);
}

static int check_text(const struct subject *s)
{
    if (s->field->type != PS_JSON_STRING) {
        return refuse(s, "a string");
    }
    return s->rule->kind == PS_FIELD_TEXT || is_filled(s) ? 0
                                                          : refuse(s, "a string that is not empty");
}

static int check_input(const struct subject *s)
{
    if ((s->field->type != PS_JSON_STRING && s->field->type != PS_JSON_ARRAY) || !is_filled(s)) {
        return refuse(s, "a string or an array that is not empty");
    }
    return 0;
}

static int check_stop(const struct subject *s)
{
    uint64_t bad = s->fields->bad_stop;

    if (s->field->type != PS_JSON_STRING && (s->field->type != PS_JSON_ARRAY || bad != 0)) {
        return refuse(s, "a string or an array of strings");
    }
    return 0;
}

static int check_messages(const struct subject *s)
{
    uint64_t bad = s->fields->bad_message;
    char path[PS_FAULT_PARAM];

    if (s->field->type != PS_JSON_ARRAY || !is_filled(s)) {
        return refuse(s, "an array of messages that is not empty");
    }
    if (bad == 0) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "messages[%" PRIu64 "]%s", bad - 1,
                   s->fields->bad_message_is_role ? ".role" : "");
    return ps_fault_set(s->fault, PS_FAULT_BAD_FIELD, path,
                        s->fields->bad_message_is_role ? "%s must be given and be a string."
                                                       : "%s must be an object.",
                        path);
}

static int check_kind(const struct subject *s)
{
    enum ps_json_type type = s->field->type;

    switch (s->rule->kind) {
    case PS_FIELD_MODEL:
        return check_model(s);
    case PS_FIELD_BOOL:
        return type == PS_JSON_TRUE || type == PS_JSON_FALSE ? 0 : refuse(s, "true or false");
    case PS_FIELD_INT:
        return s->rule->high == 0 ? check_any_int(s) : check_int(s, s->rule->low, s->rule->high);
    case PS_FIELD_TOKENS:
        return check_int(s, s->operation == PS_OP_COMPLETE ? 0 : 1, INT32_MAX);
    case PS_FIELD_NUMBER:
        return check_number(s);
    case PS_FIELD_TEXT:
    case PS_FIELD_FILLED:
        return check_text(s);
    case PS_FIELD_INPUT:
        return check_input(s);
    case PS_FIELD_STOP:
        return check_stop(s);
    case PS_FIELD_MESSAGES:
        return check_messages(s);
    case PS_FIELD_OBJECT:
        return type == PS_JSON_OBJECT ? 0 : refuse(s, "an object");
    case PS_FIELD_WEBHOOK:
        return type == PS_JSON_STRING || type == PS_JSON_OBJECT
                   ? 0
                   : refuse(s, "a URL, or an object with one");
    case PS_FIELD_FORBIDDEN:
        return ps_fault_set(
            s->fault, PS_FAULT_FORBIDDEN_FIELD, s->rule->path,
            "%s is not allowed in a request: the gateway's configuration chooses the provider "
            "and its key.",
            s->rule->path);
    case PS_FIELD_STOP_ITEM:
    case PS_FIELD_MESSAGE:
    case PS_FIELD_ROLE:
    case PS_FIELD_EACH:
    default:
        return 0; /* part of the array's check, or its reader's */
    }
}

static int check(const struct subject *s)
{
    unsigned operation = PS_FOR(s->operation);
    const struct ps_field_rule *rule = s->rule;
    bool null_counts = rule->kind == PS_FIELD_MODEL || rule->kind == PS_FIELD_FORBIDDEN;

    if (ps_field_has(s->field) || (s->field->span.end != 0 && null_counts)) {
        return (rule->checked & operation) != 0 ? check_kind(s) : 0;
    }
    if ((rule->required & operation) != 0) {
        return ps_fault_set(s->fault, PS_FAULT_MISSING_FIELD, rule->path, "%s is required.",
                            rule->path);
    }
    return 0;
}

int ps_fields_check(const struct ps_fields *fields, const struct ps_chain *body,
                    enum ps_operation operation, struct ps_fault *ret_fault)
{
    struct subject s = {.fields = fields, .body = body, .operation = operation, .fault = ret_fault};

    for (size_t i = 0; i < fields->count; i++) {
        s.rule = &fields->rules[i];
        s.field = &fields->found[i];
        if (check(&s) != 0) {
            return -1;
        }
    }
    return 0;
}
