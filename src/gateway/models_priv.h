/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_MODELS_PRIV_H
#define PENSTOCK_GATEWAY_MODELS_PRIV_H

struct ps_gateway;

/* Frees the providers' lists that the gateway keeps. */
void ps_models_free_lists(struct ps_gateway *gateway);

#endif
