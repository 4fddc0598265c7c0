/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_FIELDS_H
#define PENSTOCK_DIALECT_FIELDS_H

#include "penstock/base/arena.h"
#include "penstock/base/chain.h"
#include "penstock/base/fault.h"
#include "penstock/base/json_scan.h"
#include "penstock/dialect/request.h"

/*
 * The fields of a JSON request body that we act on or check: a table of rules per family, one
 * strict pass over the bytes as they come, and checks when the body is complete. Bytes are looked
 * at again only for values that a check needs, and only short ones. A null counts as not given, but
 * for the model.
 */

#define PS_MODEL_BYTES 256 /* a model's name at most */

enum ps_field_kind {
    PS_FIELD_MODEL, /* a name */
    PS_FIELD_BOOL,
    PS_FIELD_INT,    /* low … high; high 0: all of int64 */
    PS_FIELD_TOKENS, /* how many at most: 1 … 2^31 - 1; a completion may ask for none, to score its
                        prompt */
    PS_FIELD_NUMBER, /* low … high */
    PS_FIELD_TEXT,   /* a string */
    PS_FIELD_FILLED, /* a string that is not empty */
    PS_FIELD_INPUT,  /* a string or array that is not empty */
    PS_FIELD_STOP,   /* a string, or an array of strings */
    PS_FIELD_STOP_ITEM,
    PS_FIELD_MESSAGES, /* an array of messages that is not empty */
    PS_FIELD_MESSAGE,  /* an object with a role */
    PS_FIELD_ROLE,     /* a string */
    PS_FIELD_OBJECT,
    PS_FIELD_WEBHOOK,   /* a string, or an object */
    PS_FIELD_EACH,      /* of an array's elements: goes to `each` as it comes */
    PS_FIELD_FORBIDDEN, /* would choose a host or a key */
};

struct ps_field_rule {
    const char *path;
    enum ps_field_kind kind;
    bool unique;       /* acted on: a second one is refused */
    unsigned checked;  /* bit per operation: held to its kind there */
    unsigned required; /* bit per operation */
    int64_t low;
    int64_t high;
};
#define PS_FOR(operation) (1U << (operation))
#define PS_FOR_ALL        (~0U)

/* Rules of every family: only the configuration chooses hosts and keys. */
#define PS_FIELDS_FORBIDDEN(operations)                                                            \
    {"base_url", PS_FIELD_FORBIDDEN, false, (operations), 0, 0, 0},                                \
        {"api_base", PS_FIELD_FORBIDDEN, false, (operations), 0, 0, 0},                            \
        {"api_key", PS_FIELD_FORBIDDEN, false, (operations), 0, 0, 0},                             \
    {                                                                                              \
        "custom_llm_provider", PS_FIELD_FORBIDDEN, false, (operations), 0, 0, 0                    \
    }

struct ps_field {
    struct ps_span span; /* quotes and brackets included; end 0: not given */
    enum ps_json_type type;
    bool escaped;
};

#define PS_FIELDS_MAX 40

struct ps_fields {
    const struct ps_field_rule *rules; /* borrowed: constant */
    size_t count;
    struct ps_json_scan scan;
    struct ps_field *found;   /* [count], in the arena */
    uint64_t role_element;    /* 1 + index of the last message with a role */
    uint64_t bad_message;     /* 1 + index of the first message that is none */
    uint64_t bad_stop;        /* likewise */
    bool bad_message_is_role; /* an object, but its role is missing or no string */
    /* Fields of the kind EACH; may be NULL. A value's `path` is the index of its rule. */
    void (*each)(void *arg, const struct ps_json_value *value);
    void *each_arg;
};

/* The paths of a table of rules, for ps_fields_init. NULL when memory is short. */
struct ps_json_paths *ps_fields_compile(const struct ps_field_rule *rules, size_t count);

/* 0, or -1 when the arena is exhausted. */
int ps_fields_init(struct ps_fields *fields, const struct ps_field_rule *rules, size_t count,
                   const struct ps_json_paths *paths, const struct ps_json_limits *limits,
                   struct ps_arena *arena) __attribute__((warn_unused_result));
/* 0, or -1 with a fault. */
int ps_fields_feed(struct ps_fields *fields, const char *ptr, size_t len,
                   struct ps_fault *ret_fault) __attribute__((warn_unused_result));
/* The body is whole: 0 when it is a JSON object. */
int ps_fields_end(struct ps_fields *fields, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));
/* Then: holds every field to the rule that the operation has for it. */
int ps_fields_check(const struct ps_fields *fields, const struct ps_chain *body,
                    enum ps_operation operation, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));

/* Given, and not null. */
bool ps_field_has(const struct ps_field *field);
static inline bool ps_field_true(const struct ps_field *field)
{
    return field->span.end != 0 && field->type == PS_JSON_TRUE;
}

/* A checked model name, unescaped into the arena; ptr NULL when that is exhausted. */
struct ps_slice ps_fields_model(const struct ps_field *field, const struct ps_chain *body,
                                struct ps_arena *arena);
/*
 * The raw bytes of a span in one piece: in the chain where they lie so, else a copy that lives as
 * long as the arena. ptr NULL when memory is short.
 */
struct ps_slice ps_body_piece(const struct ps_chain *body, struct ps_span span,
                              struct ps_arena *arena);
/* Whether a bracketed value holds nothing but white space. */
bool ps_body_is_empty(const struct ps_chain *body, struct ps_span span);
/* The first byte at or behind `offset` that is no white space; 0 when there is none. */
char ps_body_next(const struct ps_chain *body, uint64_t *offset);

/* Faults that any reader of a body may have. All return -1. */
int ps_body_out_of_memory(struct ps_fault *ret_fault);
int ps_body_check_model(struct ps_slice name, struct ps_fault *ret_fault); /* 0 when it is one */

#endif
