/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_MODELS_H
#define PENSTOCK_GATEWAY_MODELS_H

#include "penstock/base/buf.h"
#include "penstock/gateway/gateway.h"

#include <stdbool.h>

/*
 * The models that can be asked for: our aliases, then each provider's own list as `provider/id`,
 * fetched in the background every five minutes by loop 0 and kept until a newer one comes.
 */

/* Starts the refreshing on this loop. */
int ps_models_start(struct ps_gateway_loop *gl) __attribute__((warn_unused_result));
/* Asks again now: the snapshot has changed. */
void ps_models_restart(struct ps_gateway_loop *gl);
void ps_models_stop(struct ps_gateway_loop *gl);

/* The list object, all on one page, in the shape of that family. Any loop. */
void ps_models_list(struct ps_gateway_loop *gl, enum ps_family shape, struct ps_buf *out);
/* One model object, false when there is no such model. A provider whose list is not known may have
 * any. */
bool ps_models_get(struct ps_gateway_loop *gl, enum ps_family shape, struct ps_slice id,
                   struct ps_buf *out);

#endif
