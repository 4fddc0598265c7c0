/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include "penstock/base/json_scan.h"

#include <cjson/cJSON.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Each schema becomes one rule, s0, s1, …; a rule's text is written when the rules it names have
 * their numbers: depth first, children before their parent. White space is one optional space or a
 * line break with up to 8 spaces, since a model held to a grammar may else give blanks for ever.
 */

#define MAX_RULES    512
#define MAX_DEPTH    32
#define MAX_ITEMS    64
#define MAX_CHARS    256
#define MAX_OPTIONAL 32

static const char common[] =
    "ws ::= | \" \" | \"\\n\" [ ]{0,8}\n"
    "char ::= [^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "value ::= object | array | string | number | boolean | null\n"
    "object ::= \"{\" ws (string \":\" ws value (ws \",\" ws string \":\" ws value)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (ws \",\" ws value)*)? ws \"]\"\n";

struct writer {
    struct ps_buf *out;
    struct ps_fault *fault;
    const cJSON *root;
    unsigned rules;
    /* what $ref has led to: their rules, so that a schema may contain itself */
    const cJSON *seen[MAX_RULES];
    unsigned seen_rule[MAX_RULES];
    unsigned seen_count;
};

void ps_schema_object_grammar(struct ps_buf *ret)
{
    ps_buf_cstr(ret, "root ::= object\n");
    ps_buf_cstr(ret, common);
}

static int refuse(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct writer *w, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)ps_fault_set(w->fault, PS_FAULT_BAD_FIELD, "response_format", "The JSON schema %s.",
                       text);
    return -1;
}

static int write_schema(struct writer *w, const cJSON *schema, unsigned depth, unsigned *ret_rule);

/* Text as a quoted literal of the grammar. */
static void put_literal(struct writer *w, const char *text)
{
    ps_buf_byte(w->out, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            ps_buf_byte(w->out, '\\');
            ps_buf_byte(w->out, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            ps_buf_printf(w->out, "\\x%02X", c);
        } else {
            ps_buf_byte(w->out, (char)c);
        }
    }
    ps_buf_byte(w->out, '"');
}

static int put_json(struct writer *w, const cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);
    if (text == NULL) {
        return refuse(w, "needs more memory than there is");
    }
    put_literal(w, text);
    cJSON_free(text);
    return 0;
}

/* The name of a property, quoted as JSON, and its colon. */
static int put_key(struct writer *w, const char *name)
{
    struct ps_buf quoted;
    ps_buf_init(&quoted, 65536);
    ps_buf_json(&quoted, ps_slice_cstr(name));
    ps_buf_byte(&quoted, '\0');
    bool failed = quoted.failed;
    if (!failed) {
        put_literal(w, quoted.ptr);
        ps_buf_cstr(w->out, " \":\" ws ");
    }
    ps_buf_deinit(&quoted);
    return failed ? refuse(w, "has a name that is too long") : 0;
}

static const char *const passive[] = {"title", "description", "default", "examples",    "$schema",
                                      "$id",   "$comment",    "$defs",   "definitions", NULL};

/* Refuses keywords that are neither passive nor in `known`. */
static int check_keywords(struct writer *w, const cJSON *schema, const char *const *known)
{
    for (const cJSON *at = schema->child; at != NULL; at = at->next) {
        bool found = false;
        for (const char *const *name = passive; !found && *name != NULL; name++) {
            found = strcmp(at->string, *name) == 0;
        }
        for (const char *const *name = known; !found && *name != NULL; name++) {
            found = strcmp(at->string, *name) == 0;
        }
        if (!found) {
            return refuse(w, "uses \"%.40s\" here, which is not supported", at->string);
        }
    }
    return 0;
}

static int whole_number(struct writer *w, const cJSON *schema, const char *key, int most,
                        int otherwise, int *ret)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(schema, key);
    *ret = otherwise;
    if (item == NULL) {
        return 0;
    }
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > most ||
        item->valuedouble != (double)item->valueint) {
        return refuse(w, "has a \"%s\" that is no whole number from 0 to %d", key, most);
    }
    *ret = item->valueint;
    return 0;
}

static void begin_rule(struct writer *w, unsigned rule)
{
    ps_buf_printf(w->out, "s%u ::= ", rule);
}

static int write_enum(struct writer *w, const cJSON *values, unsigned rule)
{
    if (!cJSON_IsArray(values) || values->child == NULL) {
        return refuse(w, "has an \"enum\" that is no list of values");
    }
    begin_rule(w, rule);
    for (const cJSON *at = values->child; at != NULL; at = at->next) {
        if (at != values->child) {
            ps_buf_cstr(w->out, " | ");
        }
        if (put_json(w, at) != 0) {
            return -1;
        }
    }
    ps_buf_byte(w->out, '\n');
    return 0;
}

static int write_any(struct writer *w, const cJSON *list, unsigned depth, unsigned rule)
{
    unsigned rules[MAX_OPTIONAL];
    unsigned count = 0;
    if (!cJSON_IsArray(list) || list->child == NULL) {
        return refuse(w, "has an \"anyOf\" that is no list of schemas");
    }
    for (const cJSON *at = list->child; at != NULL; at = at->next) {
        if (count == MAX_OPTIONAL) {
            return refuse(w, "has more than %d alternatives", MAX_OPTIONAL);
        }
        if (write_schema(w, at, depth + 1, &rules[count]) != 0) {
            return -1;
        }
        count++;
    }
    begin_rule(w, rule);
    for (unsigned i = 0; i < count; i++) {
        ps_buf_printf(w->out, "%ss%u", i > 0 ? " | " : "", rules[i]);
    }
    ps_buf_byte(w->out, '\n');
    return 0;
}

static bool is_required(const cJSON *schema, const char *name)
{
    const cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required");
    for (const cJSON *at = required != NULL ? required->child : NULL; at != NULL; at = at->next) {
        if (cJSON_IsString(at) && strcmp(at->valuestring, name) == 0) {
            return true;
        }
    }
    return false;
}

static int check_object(struct writer *w, const cJSON *schema)
{
    static const char *const known[] = {"type", "properties", "required", "additionalProperties",
                                        NULL};
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    const cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required");
    if (check_keywords(w, schema, known) != 0) {
        return -1;
    }
    if (properties != NULL && !cJSON_IsObject(properties)) {
        return refuse(w, "has \"properties\" that are no object");
    }
    if (required != NULL && !cJSON_IsArray(required)) {
        return refuse(w, "has a \"required\" that is no list");
    }
    for (const cJSON *at = required != NULL ? required->child : NULL; at != NULL; at = at->next) {
        if (!cJSON_IsString(at) ||
            cJSON_GetObjectItemCaseSensitive(properties, at->valuestring) == NULL) {
            return refuse(w, "requires a property that it does not describe");
        }
    }
    if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(schema, "additionalProperties"))) {
        return refuse(w, "uses \"additionalProperties\" with a schema, which is not supported");
    }
    return 0;
}

/*
 * Members come in the order of the schema. Two rules per property tell whether a comma is due:
 * sN-first-i is "members from i on, none written yet", sN-rest-i is "members from i on, behind
 * others".
 */
static int write_members(struct writer *w, const cJSON *schema, const unsigned *rules,
                         unsigned rule)
{
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(schema, "properties")->child;
    unsigned i = 0;
    for (; at != NULL; at = at->next, i++) {
        for (int behind = 0; behind < 2; behind++) {
            const char *name = behind ? "rest" : "first";
            ps_buf_printf(w->out, "s%u-%s-%u ::= %s", rule, name, i, behind ? "ws \",\" ws " : "");
            if (put_key(w, at->string) != 0) {
                return -1;
            }
            ps_buf_printf(w->out, "s%u s%u-rest-%u", rules[i], rule, i + 1);
            if (!is_required(schema, at->string)) {
                ps_buf_printf(w->out, " | s%u-%s-%u", rule, name, i + 1);
            }
            ps_buf_byte(w->out, '\n');
        }
    }
    ps_buf_printf(w->out, "s%u-first-%u ::= \"\"\ns%u-rest-%u ::= \"\"\n", rule, i, rule, i);
    begin_rule(w, rule);
    ps_buf_printf(w->out, "\"{\" ws s%u-first-0 ws \"}\"\n", rule);
    return 0;
}

static int write_object(struct writer *w, const cJSON *schema, unsigned depth, unsigned rule)
{
    unsigned rules[MAX_ITEMS];
    unsigned count = 0;
    if (check_object(w, schema) != 0) {
        return -1;
    }
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    if (properties == NULL) {
        begin_rule(w, rule);
        ps_buf_cstr(w->out, "object\n");
        return 0;
    }
    for (const cJSON *at = properties->child; at != NULL; at = at->next) {
        if (count == MAX_ITEMS) {
            return refuse(w, "has an object with more than %d properties", MAX_ITEMS);
        }
        if (write_schema(w, at, depth + 1, &rules[count]) != 0) {
            return -1;
        }
        count++;
    }
    return write_members(w, schema, rules, rule);
}

static int write_array(struct writer *w, const cJSON *schema, unsigned depth, unsigned rule)
{
    static const char *const known[] = {"type", "items", "minItems", "maxItems", NULL};
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    char item[16] = "value";
    int least;
    int most;
    if (check_keywords(w, schema, known) != 0 ||
        whole_number(w, schema, "minItems", MAX_ITEMS, 0, &least) != 0 ||
        whole_number(w, schema, "maxItems", MAX_ITEMS, -1, &most) != 0) {
        return -1;
    }
    if (most >= 0 && most < least) {
        return refuse(w, "has a \"maxItems\" below its \"minItems\"");
    }
    if (items != NULL) {
        unsigned inner;
        if (write_schema(w, items, depth + 1, &inner) != 0) {
            return -1;
        }
        (void)snprintf(item, sizeof(item), "s%u", inner);
    }
    begin_rule(w, rule);
    if (most == 0) {
        ps_buf_cstr(w->out, "\"[\" ws \"]\"\n");
        return 0;
    }
    ps_buf_printf(w->out, "\"[\" ws (%s (ws \",\" ws %s){%d,", item, item,
                  least > 0 ? least - 1 : 0);
    if (most > 0) {
        ps_buf_int(w->out, most - 1);
    }
    ps_buf_printf(w->out, "})%s ws \"]\"\n", least > 0 ? "" : "?");
    return 0;
}

static int write_string(struct writer *w, const cJSON *schema, unsigned rule)
{
    static const char *const known[] = {"type", "minLength", "maxLength", NULL};
    int least;
    int most;
    if (check_keywords(w, schema, known) != 0 ||
        whole_number(w, schema, "minLength", MAX_CHARS, 0, &least) != 0 ||
        whole_number(w, schema, "maxLength", MAX_CHARS, -1, &most) != 0) {
        return -1;
    }
    if (most >= 0 && most < least) {
        return refuse(w, "has a \"maxLength\" below its \"minLength\"");
    }
    begin_rule(w, rule);
    if (most < 0 && least == 0) {
        ps_buf_cstr(w->out, "string\n");
        return 0;
    }
    ps_buf_printf(w->out, "\"\\\"\" char{%d,", least);
    if (most >= 0) {
        ps_buf_int(w->out, most);
    }
    ps_buf_cstr(w->out, "} \"\\\"\"\n");
    return 0;
}

static int write_type(struct writer *w, const cJSON *schema, const char *type, unsigned depth,
                      unsigned rule)
{
    static const char *const known[] = {"type", NULL};
    static const char *const plain[] = {"number", "integer", "boolean", "null", NULL};
    if (strcmp(type, "object") == 0) {
        return write_object(w, schema, depth, rule);
    }
    if (strcmp(type, "array") == 0) {
        return write_array(w, schema, depth, rule);
    }
    if (strcmp(type, "string") == 0) {
        return write_string(w, schema, rule);
    }
    for (const char *const *name = plain; *name != NULL; name++) {
        if (strcmp(type, *name) == 0) {
            begin_rule(w, rule);
            ps_buf_printf(w->out, "%s\n", type);
            return check_keywords(w, schema, known);
        }
    }
    return refuse(w, "has an unknown \"type\" \"%.40s\"", type);
}

/* A list of types: only those that need no keywords of their own beside the others'. */
static int write_types(struct writer *w, const cJSON *schema, const cJSON *types, unsigned depth,
                       unsigned rule)
{
    unsigned rules[8];
    unsigned count = 0;
    for (const cJSON *at = types->child; at != NULL; at = at->next) {
        if (!cJSON_IsString(at) || count == 8 || w->rules == MAX_RULES) {
            return refuse(w, "has a \"type\" list that is too long or holds no names");
        }
        rules[count] = w->rules++;
        /* {"type": ["string", "null"], "maxLength": 5}: the keywords are the one structured type's.
         */
        bool plain =
            strcmp(at->valuestring, "null") == 0 || strcmp(at->valuestring, "boolean") == 0 ||
            strcmp(at->valuestring, "number") == 0 || strcmp(at->valuestring, "integer") == 0;
        if (plain) {
            begin_rule(w, rules[count]);
            ps_buf_printf(w->out, "%s\n", at->valuestring);
        } else if (write_type(w, schema, at->valuestring, depth, rules[count]) != 0) {
            return -1;
        }
        count++;
    }
    if (count == 0) {
        return refuse(w, "has an empty \"type\" list");
    }
    begin_rule(w, rule);
    for (unsigned i = 0; i < count; i++) {
        ps_buf_printf(w->out, "%ss%u", i > 0 ? " | " : "", rules[i]);
    }
    ps_buf_byte(w->out, '\n');
    return 0;
}

static const cJSON *resolve(struct writer *w, const char *ref)
{
    if (strcmp(ref, "#") == 0) {
        return w->root;
    }
    static const char *const places[] = {"$defs", "definitions"};
    for (size_t i = 0; i < 2; i++) {
        char prefix[24];
        int len = snprintf(prefix, sizeof(prefix), "#/%s/", places[i]);
        if (strncmp(ref, prefix, (size_t)len) == 0) {
            return cJSON_GetObjectItemCaseSensitive(
                cJSON_GetObjectItemCaseSensitive(w->root, places[i]), ref + len);
        }
    }
    return NULL;
}

static int write_body(struct writer *w, const cJSON *schema, unsigned depth, unsigned rule)
{
    static const char *const choice[] = {"anyOf", "oneOf", NULL};
    static const char *const values[] = {"type", "enum", "const", NULL};
    const cJSON *any = cJSON_GetObjectItemCaseSensitive(schema, "anyOf");
    const cJSON *one = cJSON_GetObjectItemCaseSensitive(schema, "oneOf");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(schema, "enum");
    const cJSON *constant = cJSON_GetObjectItemCaseSensitive(schema, "const");
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
    if (any != NULL || one != NULL) {
        return check_keywords(w, schema, choice) != 0
                   ? -1
                   : write_any(w, any != NULL ? any : one, depth, rule);
    }
    if (list != NULL || constant != NULL) {
        if (check_keywords(w, schema, values) != 0) {
            return -1;
        }
        if (list != NULL) {
            return write_enum(w, list, rule);
        }
        begin_rule(w, rule);
        int rc = put_json(w, constant);
        ps_buf_byte(w->out, '\n');
        return rc;
    }
    if (cJSON_IsString(type)) {
        return write_type(w, schema, type->valuestring, depth, rule);
    }
    if (cJSON_IsArray(type)) {
        return write_types(w, schema, type, depth, rule);
    }
    if (type == NULL && cJSON_GetObjectItemCaseSensitive(schema, "properties") != NULL) {
        return write_object(w, schema, depth, rule);
    }
    static const char *const none[] = {NULL};
    begin_rule(w, rule);
    ps_buf_cstr(w->out, "value\n");
    return type != NULL ? refuse(w, "has a \"type\" that is no name")
                        : check_keywords(w, schema, none);
}

static int write_schema(struct writer *w, const cJSON *schema, unsigned depth, unsigned *ret_rule)
{
    static const char *const only_ref[] = {"$ref", NULL};
    const cJSON *ref =
        cJSON_IsObject(schema) ? cJSON_GetObjectItemCaseSensitive(schema, "$ref") : NULL;
    if (ref != NULL) {
        if (check_keywords(w, schema, only_ref) != 0) {
            return -1;
        }
        schema = cJSON_IsString(ref) ? resolve(w, ref->valuestring) : NULL;
        if (schema == NULL) {
            return refuse(w, "has a \"$ref\" that leads nowhere in it");
        }
    }
    for (unsigned i = 0; i < w->seen_count; i++) {
        if (w->seen[i] == schema) {
            *ret_rule = w->seen_rule[i];
            return 0;
        }
    }
    if (depth > MAX_DEPTH || w->rules == MAX_RULES) {
        return refuse(w, "is too deep or too long");
    }
    *ret_rule = w->rules++;
    w->seen[w->seen_count] = schema;
    w->seen_rule[w->seen_count++] = *ret_rule;
    if (cJSON_IsTrue(schema)) {
        begin_rule(w, *ret_rule);
        ps_buf_cstr(w->out, "value\n");
        return 0;
    }
    if (!cJSON_IsObject(schema)) {
        return refuse(w, "holds something that is no schema");
    }
    return write_body(w, schema, depth, *ret_rule);
}

int ps_schema_grammar(struct ps_slice schema, struct ps_buf *ret, struct ps_fault *fault)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 16384};
    struct writer w = {.out = ret, .fault = fault};
    enum ps_json_error error = ps_json_scan_text(schema, NULL, &limits, NULL, NULL);
    if (error != PS_JSON_OK) {
        return refuse(&w, "%s", ps_json_error_text(error));
    }
    cJSON *root = cJSON_ParseWithLength(schema.ptr, schema.len);
    unsigned rule = 0;
    w.root = root;
    int rc = root != NULL ? write_schema(&w, root, 0, &rule)
                          : refuse(&w, "needs more memory than there is");
    cJSON_Delete(root);
    ps_buf_printf(ret, "root ::= s%u\n", rule);
    ps_buf_cstr(ret, common);
    if (rc == 0 && ret->failed) {
        return refuse(&w, "is too long");
    }
    return rc;
}
