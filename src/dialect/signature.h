/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_SIGNATURE_H
#define PENSTOCK_DIALECT_SIGNATURE_H

#include "encode.h"

/*
 * What a model has signed (Anthropic's thoughts, Gemini's calls) wants to come back to it in the
 * next turn, and only to it: any other family refuses the request. So where an answer is
 * translated, a signature goes to the client behind a tag that says who made it and what it is
 * over,
 *
 *     penstock.gemini.c.CpcBAb4+…    c: a call   s: a thought   r: a thought that nobody may read
 *
 * and comes back so. '.' is no character of base64, so that no model's own signature looks like it;
 * clients of Gemini keep bytes, so there all of it is base64 once more. A back gets the pure
 * signature of its own family, and nothing of others. One without a tag is of the door's family:
 * relayed answers have none.
 */

/* What our own doors give where a thought was not signed, and the shape wants it to be. */
#define PS_SIGNATURE_NONE "penstock.none.s."

/* Hands an event to the writer's row, signatures tagged. As ps_writer_event. */
int ps_signature_write(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                       struct ps_fault *ret_fault);

/* Gives calls the signatures that a door without a place for them has as thoughts before them. */
void ps_signature_settle(struct ps_neutral *neutral);

/* A call's for this target: a RAW string, or none. */
struct ps_slice ps_encode_call_signature(struct ps_encode *encode,
                                         const struct ps_neutral_call *call);
/* A thought's: RAW strings, at most one of them. `reasoning` may be NULL. */
struct ps_signed {
    struct ps_slice signature;
    struct ps_slice redacted;
};
struct ps_signed ps_encode_thought(struct ps_encode *encode,
                                   const struct ps_neutral_reasoning *reasoning);
/* Whether there is one. */
bool ps_encode_is_signed(const struct ps_encode *encode,
                         const struct ps_neutral_reasoning *reasoning);

/* Whether RAW is a string with a tag that says another family than this, or none. */
bool ps_signature_is_foreign(struct ps_slice raw, enum ps_family family);

#endif
