/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_JSON_H
#define PENSTOCK_API_JSON_H

#include "penstock/base/arena.h"
#include "penstock/base/fault.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Small JSON objects that lie in memory as a whole: bodies that create things, stored answers of
 * which one member is wanted. Scanned strictly first; what walks them relies on that.
 */

#define PS_MEMBERS_DEPTH 64
#define PS_MEMBERS_NODES 100000

/* 0 when `text` is one JSON object, else -1 with a fault. */
int ps_object_check(struct ps_slice text, struct ps_fault *ret_fault);

/* The members of a scanned object, one after the other. */
struct ps_members {
    const char *at;
    const char *end;
};
void ps_members_begin(struct ps_members *members, struct ps_slice object);
/* Key and value raw, quotes included. False: no more. */
bool ps_members_next(struct ps_members *members, struct ps_slice *ret_key,
                     struct ps_slice *ret_value);
/* Whether a raw key is this name. */
bool ps_member_is(struct ps_slice raw, const char *name);

/* A member of a scanned object by name; len 0: there is none. The last one where it stands there
 * twice. */
struct ps_slice ps_object_member(struct ps_slice object, const char *name);

/* What stands between the brackets of a scanned array; empty when this is none. */
struct ps_slice ps_array_inside(struct ps_slice array);
/* The next element; `rest` begins where the array's inside does, or behind the last one. False: no
 * more. */
bool ps_array_next(struct ps_slice *rest, struct ps_slice *ret);

/* What a body that creates something may hold. */
struct ps_object_want {
    const char *name;
    struct ps_slice *value; /* gets the raw value; len 0: not given, or null */
};
/* Finds them; -1 with a fault when one stands there twice. Others are passed over. */
int ps_object_take(struct ps_slice object, const struct ps_object_want *wants, size_t count,
                   struct ps_fault *ret_fault);

/* A raw string's text, unescaped into the arena; ptr NULL: memory is short. */
struct ps_slice ps_object_text(struct ps_slice raw, struct ps_arena *arena);
/* Characters of a text that is UTF-8. */
size_t ps_text_length(struct ps_slice text);

#endif
