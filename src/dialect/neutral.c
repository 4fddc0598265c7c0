/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/dialect/neutral.h"

#include "dialect_priv.h"
#include "fields.h"
#include "signature.h"

#include <stdio.h>

#define STEPS 8

/* Adds to `ret`, which holds `len` bytes; what does not fit is cut. */
static size_t add_step(char *ret, size_t len, const char *name, uint32_t index)
{
    size_t room = PS_FAULT_PARAM - len;
    int more = 0;

    if (name != NULL && index != PS_NEUTRAL_NO_INDEX) {
        more = snprintf(ret + len, room, "%s%s[%u]", len > 0 ? "." : "", name, index);
    } else if (name != NULL) {
        more = snprintf(ret + len, room, "%s%s", len > 0 ? "." : "", name);
    } else if (index != PS_NEUTRAL_NO_INDEX) {
        more = snprintf(ret + len, room, "[%u]", index);
    }
    return (size_t)more < room ? len + (size_t)more : PS_FAULT_PARAM - 1;
}

void ps_neutral_path(char *ret, const struct ps_neutral_at *at, const char *member)
{
    const struct ps_neutral_at *steps[STEPS];
    size_t count = 0;
    size_t len = 0;

    ret[0] = '\0';
    for (; at != NULL && count < STEPS; at = at->parent) {
        steps[count++] = at;
    }
    while (count-- > 0) {
        len = add_step(ret, len, steps[count]->name, steps[count]->index);
    }
    if (member != NULL) {
        (void)add_step(ret, len, member, PS_NEUTRAL_NO_INDEX);
    }
}

const char *ps_effort_name(enum ps_effort effort)
{
    static const char *const names[] = {
        [PS_EFFORT_NONE_GIVEN] = NULL,   [PS_EFFORT_OFF] = "none",
        [PS_EFFORT_MINIMAL] = "minimal", [PS_EFFORT_LOW] = "low",
        [PS_EFFORT_MEDIUM] = "medium",   [PS_EFFORT_HIGH] = "high",
        [PS_EFFORT_XHIGH] = "xhigh",     [PS_EFFORT_MAX] = "max",
    };

    return names[effort];
}

int ps_dialect_neutral(struct ps_request *request, struct ps_arena *arena,
                       const struct ps_neutral **ret, struct ps_fault *ret_fault)
{
    const struct ps_dialect *front = ps_dialect_of_family(request->family);
    struct ps_neutral *neutral;

    if (request->neutral == NULL) {
        if (front == NULL || front->neutral == NULL ||
            (front->reads & PS_FOR(request->operation)) == 0) {
            return ps_fault_set(ret_fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                                "This request (%s) cannot be translated for the provider of this "
                                "model.",
                                ps_operation_name(request->operation));
        }
        neutral = ps_arena_calloc(arena, sizeof(*neutral));
        if (neutral == NULL) {
            return ps_body_out_of_memory(ret_fault);
        }
        neutral->thinking_budget = -1;
        neutral->operation = request->operation;
        neutral->stream = request->stream;
        neutral->include_usage = request->include_usage;
        neutral->base64 = request->base64;
        if (front->neutral(request, arena, neutral, ret_fault) != 0) {
            return -1;
        }
        ps_signature_settle(neutral);
        request->neutral = neutral;
    }
    *ret = request->neutral;
    return 0;
}
