/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_PROBE_H
#define PENSTOCK_GATEWAY_PROBE_H

#include "penstock/gateway/gateway.h"

/*
 * Asks servers of our own (vLLM, Triton, TGI …) for their health where there is a path for it, and
 * tells the router: one that is loading or gone is passed over before a client has to wait for it,
 * one that is back is asked again at once. On loop 0.
 */
struct ps_probes;

/* NULL when memory is short. */
struct ps_probes *ps_probes_start(struct ps_gateway_loop *gl) __attribute__((warn_unused_result));
void ps_probes_stop(struct ps_probes *probes); /* NULL is allowed */

#endif
