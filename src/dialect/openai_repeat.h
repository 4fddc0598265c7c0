/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_OPENAI_REPEAT_H
#define PENSTOCK_DIALECT_OPENAI_REPEAT_H

#include "openai_found.h"

/*
 * Most events of a stream differ from the one before only inside one string: the next piece of the
 * text. What the scan found in the one then holds for the other, so that comparing the bytes around
 * the string and checking its insides takes the place of a scan. This is exact: the scanner would
 * come to the string in the same state, and leave it in the same state.
 */

#define PS_REPEAT_MAX 2048 /* bytes around the string; events with more are scanned each time */

struct ps_openai_repeat {
    struct ps_buf around; /* the bytes up to the string's first quote and from its last one on */
    size_t before;        /* how many of them lie before the insides; 0: nothing is known */
    enum ps_event_kind kind;
    uint32_t choice;
};

void ps_openai_repeat_init(struct ps_openai_repeat *repeat);
void ps_openai_repeat_deinit(struct ps_openai_repeat *repeat);
/* Learns from an event that was scanned, when a piece of text is all that it said. */
void ps_openai_repeat_learn(struct ps_openai_repeat *repeat, const struct ps_openai_found *found);
/* Whether `data` says the same but for the text; *ret_text is its raw string then. */
bool ps_openai_repeat_match(const struct ps_openai_repeat *repeat, struct ps_slice data,
                            struct ps_slice *ret_text);

#endif
