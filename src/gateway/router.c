/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/router.h"

/* A target that fails stays out for COOL_FIRST, twice as long with each further failure in a row,
 * at most COOL_MAX. */
#define COOL_FIRST_US INT64_C(1000000)
#define COOL_MAX_US   INT64_C(60000000)
/* What a Retry-After may ask for at most: a broken upstream must not put itself away for a day. */
#define RETRY_AFTER_MAX_US INT64_C(600000000)
/* While one request tries a target whose time has come, others pass it by for so long. */
#define PROBE_US INT64_C(5000000)

static int64_t health_wait(const struct ps_health *health, int64_t now_us)
{
    int64_t at = atomic_load_explicit(&health->not_before, memory_order_relaxed);
    return at > now_us ? at - now_us : 0;
}

int64_t ps_target_wait(const struct ps_target *target, int64_t now_us)
{
    int64_t endpoint = health_wait(&target->endpoint->health, now_us);
    int64_t key = health_wait(&target->credential->state->health, now_us);
    return endpoint > key ? endpoint : key;
}

static int busy(const struct ps_target *target)
{
    return atomic_load_explicit(&target->endpoint->health.in_flight, memory_order_relaxed);
}

/* The target after a failure: whoever is first to come when its time is over keeps the others away
 * meanwhile. */
static void claim_probe(struct ps_health *health, int64_t now_us)
{
    int_fast64_t at = atomic_load_explicit(&health->not_before, memory_order_relaxed);
    if (at != 0 && at <= now_us) {
        (void)atomic_compare_exchange_strong(&health->not_before, &at, now_us + PROBE_US);
    }
}

void ps_routing_init(struct ps_routing *routing, const struct ps_route *route)
{
    routing->route = route;
    routing->tried = 0;
    routing->count = 0;
}

struct choice {
    const struct ps_routing *routing;
    int64_t now_us;
    uint32_t random;
};

static bool may_try(const struct choice *choice, size_t index)
{
    return (choice->routing->tried >> index & 1) == 0 &&
           ps_target_wait(&choice->routing->route->targets[index], choice->now_us) == 0;
}

/* Of one group (or all, group < 0) the target with the fewest requests in flight for its weight;
 * ties at random. */
static const struct ps_target *least_busy(const struct choice *choice, int64_t group)
{
    const struct ps_route *route = choice->routing->route;
    const struct ps_target *best = NULL;
    size_t start = choice->random % route->target_count;
    for (size_t n = 0; n < route->target_count; n++) {
        size_t i = (start + n) % route->target_count;
        const struct ps_target *target = &route->targets[i];
        if ((group >= 0 && target->group != (uint32_t)group) || !may_try(choice, i)) {
            continue;
        }
        if (best == NULL || (int64_t)(busy(target) + 1) * best->weight <
                                (int64_t)(busy(best) + 1) * target->weight) {
            best = target;
        }
    }
    return best;
}

static const struct ps_target *ordered(const struct choice *choice)
{
    for (uint32_t group = 0; group < choice->routing->route->group_count; group++) {
        const struct ps_target *target = least_busy(choice, group);
        if (target != NULL) {
            return target;
        }
    }
    return NULL;
}

/* A group with chance proportional to its weight, among those that have a target left. */
static const struct ps_target *weighted(const struct choice *choice)
{
    const struct ps_route *route = choice->routing->route;
    uint64_t sum = 0;
    uint64_t seen = 0; /* groups already summed; a route has at most PS_ROUTE_TARGETS */
    for (size_t i = 0; i < route->target_count; i++) {
        uint64_t bit = UINT64_C(1) << route->targets[i].group;
        if ((seen & bit) == 0 && may_try(choice, i)) {
            seen |= bit;
            sum += route->targets[i].weight;
        }
    }
    if (sum == 0) {
        return least_busy(choice, -1); /* weight 0 means: only when nothing else is left */
    }
    uint64_t ticket = choice->random % sum;
    seen = 0;
    for (size_t i = 0; i < route->target_count; i++) {
        uint64_t bit = UINT64_C(1) << route->targets[i].group;
        if ((seen & bit) != 0 || !may_try(choice, i)) {
            continue;
        }
        seen |= bit;
        if (ticket < route->targets[i].weight) {
            return least_busy(choice, route->targets[i].group);
        }
        ticket -= route->targets[i].weight;
    }
    return NULL;
}

/* Nothing is healthy and nothing was tried: the one whose time comes first. */
static const struct ps_target *soonest(const struct choice *choice)
{
    const struct ps_route *route = choice->routing->route;
    const struct ps_target *best = NULL;
    for (size_t i = 0; i < route->target_count; i++) {
        const struct ps_target *target = &route->targets[i];
        if (best == NULL ||
            ps_target_wait(target, choice->now_us) < ps_target_wait(best, choice->now_us)) {
            best = target;
        }
    }
    return best;
}

const struct ps_target *ps_routing_next(struct ps_routing *routing, int64_t now_us, uint32_t random)
{
    struct choice choice = {routing, now_us, random};
    const struct ps_target *target = NULL;
    switch (routing->route->strategy) {
    case PS_STRATEGY_ORDERED:
        target = ordered(&choice);
        break;
    case PS_STRATEGY_WEIGHTED:
        target = weighted(&choice);
        break;
    case PS_STRATEGY_LEAST_BUSY:
        target = least_busy(&choice, -1);
        break;
    }
    if (target == NULL && routing->count == 0) {
        target = soonest(&choice);
    }
    if (target == NULL) {
        return NULL;
    }
    routing->tried |= UINT64_C(1) << (size_t)(target - routing->route->targets);
    routing->count++;
    claim_probe(&target->endpoint->health, now_us);
    claim_probe(&target->credential->state->health, now_us);
    return target;
}

void ps_target_begin(const struct ps_target *target)
{
    atomic_fetch_add_explicit(&target->endpoint->health.in_flight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&target->credential->state->health.in_flight, 1,
                              memory_order_relaxed);
}

static void failed(struct ps_health *health, int64_t now_us, int64_t retry_after_us)
{
    int failures = atomic_fetch_add_explicit(&health->failures, 1, memory_order_relaxed);
    int64_t cool = COOL_FIRST_US << (failures < 6 ? failures : 6);
    if (cool > COOL_MAX_US) {
        cool = COOL_MAX_US;
    }
    if (retry_after_us > 0) {
        cool = retry_after_us < RETRY_AFTER_MAX_US ? retry_after_us : RETRY_AFTER_MAX_US;
    }
    atomic_store_explicit(&health->not_before, now_us + cool, memory_order_relaxed);
}

static void recovered(struct ps_health *health)
{
    if (atomic_load_explicit(&health->failures, memory_order_relaxed) != 0 ||
        atomic_load_explicit(&health->not_before, memory_order_relaxed) != 0) {
        atomic_store_explicit(&health->failures, 0, memory_order_relaxed);
        atomic_store_explicit(&health->not_before, 0, memory_order_relaxed);
    }
}

bool ps_health_heard(struct ps_health *health, bool up, int64_t now_us)
{
    int64_t at = atomic_load_explicit(&health->not_before, memory_order_relaxed);
    if (up) {
        recovered(health);
        return at != 0;
    }
    if (at > now_us) {
        return false; /* put aside already: requests know more of why and how long */
    }
    failed(health, now_us, 0);
    return at == 0;
}

void ps_target_end(const struct ps_target *target, enum ps_verdict verdict, int64_t now_us,
                   int64_t retry_after_us)
{
    struct ps_health *endpoint = &target->endpoint->health;
    struct ps_health *key = &target->credential->state->health;
    atomic_fetch_sub_explicit(&endpoint->in_flight, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&key->in_flight, 1, memory_order_relaxed);
    switch (verdict) {
    case PS_VERDICT_OK:
        recovered(endpoint);
        recovered(key);
        break;
    case PS_VERDICT_ENDPOINT:
        failed(endpoint, now_us, retry_after_us);
        break;
    case PS_VERDICT_CREDENTIAL:
        recovered(endpoint);
        failed(key, now_us, retry_after_us);
        break;
    case PS_VERDICT_NEUTRAL:
        break;
    }
}
