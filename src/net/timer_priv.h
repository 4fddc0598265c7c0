/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_TIMER_PRIV_H
#define PENSTOCK_NET_TIMER_PRIV_H

#include "penstock/net/loop.h"

/* What loop.c asks of the timers. */

/* Runs what is due at loop->now_us. Timers set meanwhile wait for the next call. */
void ps_timers_run(struct ps_loop *loop);
/* When ps_timers_run is to be called next (may find that nothing is due); INT64_MAX: never. */
int64_t ps_timers_next(const struct ps_loop *loop);
void ps_timers_deinit(struct ps_loop *loop);

#endif
