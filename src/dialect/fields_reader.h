/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_FIELDS_READER_H
#define PENSTOCK_DIALECT_FIELDS_READER_H

#include "dialect_priv.h"
#include "fields.h"

/* The reader of a family whose requests are one JSON object each: a table of rules, and in the end
 * what the family makes of the fields that were found. */

struct ps_fields_reader {
    struct ps_reader base;
    struct ps_fields fields;
};

/* A table of rules, with its paths once it is compiled. */
struct ps_field_table {
    const struct ps_field_rule *rules;
    size_t count;
    struct ps_json_paths *paths;
};
#define PS_FIELD_TABLE(rules)                                                                      \
    {                                                                                              \
        (rules), sizeof(rules) / sizeof((rules)[0]), NULL                                          \
    }

int ps_field_table_compile(struct ps_field_table *table); /* -1: memory */
void ps_field_table_free(struct ps_field_table *table);

int ps_fields_reader_init(struct ps_reader *base, const struct ps_field_table *table);
/* A row's reader_feed. */
int ps_fields_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                          struct ps_fault *ret_fault);
/* The body is whole: every field is held to its rule. */
int ps_fields_reader_end(struct ps_reader *base, struct ps_fault *ret_fault);
/* Then: the model's name goes to the request, when it was given. */
int ps_fields_take_model(const struct ps_field *field, struct ps_request *request,
                         struct ps_arena *arena, struct ps_fault *ret_fault);

static inline const struct ps_field *ps_fields_reader_found(const struct ps_reader *base)
{
    return ((const struct ps_fields_reader *)base)->fields.found;
}

#endif
