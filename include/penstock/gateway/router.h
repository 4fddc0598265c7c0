/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_ROUTER_H
#define PENSTOCK_GATEWAY_ROUTER_H

#include "penstock/gateway/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Which target is asked next. A target that failed is left out until its Retry-After or a cool-down
 * that grows with failures in a row has passed; then one request tries it while others still pass
 * by. When every target is left out the one whose time comes first is asked all the same: with a
 * single upstream its own error is truer than one of ours.
 */

/* The choices of one exchange. Value type; the route outlives it. */
struct ps_routing {
    const struct ps_route *route;
    uint64_t tried; /* bit per target of the route */
    unsigned count; /* how many were handed out */
};

void ps_routing_init(struct ps_routing *routing, const struct ps_route *route);
/* The next target by the route's strategy, or NULL when all that may be tried were. `random`: any
 * number. */
const struct ps_target *ps_routing_next(struct ps_routing *routing, int64_t now_us,
                                        uint32_t random);

enum ps_verdict {
    PS_VERDICT_OK,         /* healthy */
    PS_VERDICT_NEUTRAL,    /* says nothing of the target's health (client's fault, cancelled) */
    PS_VERDICT_ENDPOINT,   /* the endpoint failed */
    PS_VERDICT_CREDENTIAL, /* the key was refused or is over its limit */
};
void ps_target_begin(const struct ps_target *target);
/* Ends what begin began. `retry_after_us` 0: unknown. */
void ps_target_end(const struct ps_target *target, enum ps_verdict verdict, int64_t now_us,
                   int64_t retry_after_us);
/*
 * What a health check says, beside what requests do. Up: the endpoint may be tried at once. Down:
 * it is passed over like after a failed request, as long as that says nothing else. Returns whether
 * that is news.
 */
bool ps_health_heard(struct ps_health *health, bool up, int64_t now_us);
/* µs until it may be tried again; 0: now. */
int64_t ps_target_wait(const struct ps_target *target, int64_t now_us);

#endif
