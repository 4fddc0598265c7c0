/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_CLOCK_H
#define PENSTOCK_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic time, µs. For intervals and timers. Any thread. */
int64_t ps_clock_us(void);
/* Wall-clock time UTC, ms since the epoch. For logs, ids and the store. Any thread. */
int64_t ps_clock_wall_ms(void);
/* CPU time of the calling thread, µs. */
int64_t ps_clock_thread_cpu_us(void);

#endif
