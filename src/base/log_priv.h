/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_LOG_PRIV_H
#define PENSTOCK_BASE_LOG_PRIV_H

#include "penstock/base/log.h"

#include <stddef.h>

/* From the builder (log.c) to the sink (log_writer.c): one whole line with its LF. Never blocks for
 * long. */
void ps_log_submit(const char *ptr, size_t len);
/* Closes the line; its bytes, LF included, are then in line->buf. False: it is off or has failed.
 */
bool ps_log_finish(struct ps_log_line *line);
/* Counts lines that were lost before they reached the queue. */
void ps_log_count_dropped(size_t lines);

#endif
