/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/slice.h"
#include "penstock/gateway/exchange.h"

/*
 * The allow-list: which headers pass the gateway, and in which direction. Everything else ends
 * here; credentials, cookies, hop-by-hop and forwarding headers above all. Content-Type and Accept
 * go up as parts of the encoded request, Content-Type comes down as part of the answer, traceparent
 * and tracestate go up when they are valid; they are not in the table.
 */
enum {
    UP = 1,
    DOWN = 2
};

static const struct {
    struct ps_slice name;
    int ways;
    bool prefix;
} allowed[] = {
    {PS_SLICE_INIT("openai-beta"), UP, false},
    {PS_SLICE_INIT("openai-organization"), UP, false},
    {PS_SLICE_INIT("openai-project"), UP, false},
    {PS_SLICE_INIT("anthropic-"), UP, true}, /* -version, -beta, and what coding agents add */
    {PS_SLICE_INIT("idempotency-key"), UP, false},
    {PS_SLICE_INIT("x-ratelimit-"), DOWN, true},
    {PS_SLICE_INIT("anthropic-ratelimit-"), DOWN, true},
    {PS_SLICE_INIT("anthropic-organization-id"), DOWN, false},
    {PS_SLICE_INIT("retry-after"), DOWN, false},
    {PS_SLICE_INIT("retry-after-ms"), DOWN, false},
    {PS_SLICE_INIT("x-should-retry"), DOWN, false},
    {PS_SLICE_INIT("openai-processing-ms"), DOWN, false},
    {PS_SLICE_INIT("openai-version"), DOWN, false},
    {PS_SLICE_INIT("openai-model"), DOWN, false},
    {PS_SLICE_INIT("content-encoding"), DOWN, false},
    {PS_SLICE_INIT("content-disposition"), DOWN, false},
    {PS_SLICE_INIT("content-language"), DOWN, false},
};

static bool passes(struct ps_slice name, int way)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        struct ps_slice known = allowed[i].name;
        if ((allowed[i].ways & way) == 0 || name.len < known.len ||
            (!allowed[i].prefix && name.len != known.len)) {
            continue;
        }
        if (ps_slice_ieq(ps_slice(name.ptr, known.len), known)) {
            return true;
        }
    }
    return false;
}

/* The same number by two families' names. The time of the reset is told in forms that differ, and
 * is left out. */
static const struct {
    struct ps_slice openai;
    struct ps_slice anthropic;
} limits[] = {
    {PS_SLICE_INIT("x-ratelimit-limit-requests"),
     PS_SLICE_INIT("anthropic-ratelimit-requests-limit")},
    {PS_SLICE_INIT("x-ratelimit-remaining-requests"),
     PS_SLICE_INIT("anthropic-ratelimit-requests-remaining")},
    {PS_SLICE_INIT("x-ratelimit-limit-tokens"), PS_SLICE_INIT("anthropic-ratelimit-tokens-limit")},
    {PS_SLICE_INIT("x-ratelimit-remaining-tokens"),
     PS_SLICE_INIT("anthropic-ratelimit-tokens-remaining")},
};

struct ps_slice ps_header_called(enum ps_family client, struct ps_slice name)
{
    struct ps_slice openai = PS_SLICE_LIT("x-ratelimit-");
    struct ps_slice anthropic = PS_SLICE_LIT("anthropic-ratelimit-");
    bool of_openai = name.len > openai.len && ps_slice_ieq(ps_slice(name.ptr, openai.len), openai);
    bool of_anthropic =
        name.len > anthropic.len && ps_slice_ieq(ps_slice(name.ptr, anthropic.len), anthropic);
    bool wants_anthropic = client == PS_FAMILY_ANTHROPIC;
    if ((!of_openai && !of_anthropic) || (wants_anthropic ? of_anthropic : of_openai)) {
        return name;
    }
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (ps_slice_ieq(name, wants_anthropic ? limits[i].openai : limits[i].anthropic)) {
            return wants_anthropic ? limits[i].anthropic : limits[i].openai;
        }
    }
    return PS_SLICE_NONE;
}

bool ps_header_goes_up(struct ps_slice name)
{
    return passes(name, UP);
}

bool ps_header_comes_down(struct ps_slice name)
{
    return passes(name, DOWN);
}
