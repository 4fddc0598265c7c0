/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_JSON_WALK_H
#define PENSTOCK_DIALECT_JSON_WALK_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Walks over the members or elements of one JSON value that a scan has found valid, without a tree
 * and without a copy: what lies deeper is skipped, and walked by itself when it is wanted. Text
 * that has not been scanned must not come here (it ends the walk early, and is never read beyond
 * its end).
 */
struct ps_json_walk {
    const char *at;
    const char *end;
};

/* `raw` is an object or array, brackets included. */
void ps_json_walk_init(struct ps_json_walk *walk, struct ps_slice raw);
/* The next element of an array, raw. False: no more. */
bool ps_json_walk_element(struct ps_json_walk *walk, struct ps_slice *ret_value);
/* The next member of an object: its name, raw with quotes, and its value. */
bool ps_json_walk_member(struct ps_json_walk *walk, struct ps_slice *ret_key,
                         struct ps_slice *ret_value);

/* Whether a raw key means this name, escapes or not. */
bool ps_json_key_is(struct ps_slice key, struct ps_slice name);

#endif
