/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_TGI_PRIV_H
#define PENSTOCK_DIALECT_TGI_PRIV_H

#include "plain_priv.h"

int ps_tgi_encode_neutral(struct ps_encode *encode);
int ps_tgi_decoder_init(struct ps_decoder *decoder, struct ps_slice content_type);

#endif
