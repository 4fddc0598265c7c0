/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_NUMBER_H
#define PENSTOCK_DIALECT_NUMBER_H

#include "penstock/base/buf.h"

/*
 * A finite float as a JSON number that reads back as the same float, in no more digits than that
 * takes; whatever the locale. Fast for what models say (an embedding has thousands of them).
 */
void ps_dialect_write_float(struct ps_buf *out, float value);

#endif
