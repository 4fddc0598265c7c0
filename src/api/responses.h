/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_RESPONSES_H
#define PENSTOCK_API_RESPONSES_H

#include "side.h"

/* Kept responses: what responses.c and responses_lookup.c share. */

#define PS_RESPONSE_PREFIX "resp_"

struct ps_response_lookup;

/* Beside the exchange of a POST. */
struct ps_responses_side {
    struct ps_store_call call;
    struct ps_response_lookup *lookup; /* goes with the request's arena; NULL: none */
    struct ps_buf out;                 /* the end of the answer, until it may go out */
};
/* Made at the first call; NULL when memory is short. */
struct ps_responses_side *ps_responses_side(struct ps_conn *conn);

/* NULL: memory is short. */
struct ps_store_command *ps_response_command(struct ps_conn *conn, enum ps_store_verb verb,
                                             const struct ps_id *id);

/* The id of an item of a response's input, raw: its own, or one made of its place. */
void ps_response_item_id(struct ps_buf *out, const struct ps_id *response, size_t index,
                         struct ps_slice item);

/* responses_lookup.c: the request ends. NULL is allowed. */
void ps_response_lookup_leave(struct ps_response_lookup *lookup);

#endif
