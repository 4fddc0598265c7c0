/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_LOG_PRIV_H
#define PENSTOCK_BASE_LOG_PRIV_H

#include <stddef.h>

/* From the builder (log.c) to the sink (log_writer.c): one whole line with its LF. Never blocks for
 * long. */
void ps_log_submit(const char *ptr, size_t len);
/* Counts lines that were lost before they reached the queue. */
void ps_log_count_dropped(size_t lines);

#endif
