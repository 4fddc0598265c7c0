/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_IDENTITY_H
#define PENSTOCK_GATEWAY_IDENTITY_H

#include "penstock/base/slice.h"
#include "penstock/config/config.h"

#include <stdbool.h>

/* Who asks. Every limit, queue, row and log line takes it. Slices lie in the configuration
 * snapshot. */
struct ps_identity {
    struct ps_slice tenant; /* "default" without keys */
    struct ps_slice key;    /* name of the key; empty without keys */
};

/*
 * Checks a presented key against all configured ones, in time that does not depend on which matches
 * or how nearly. `presented` empty: none was sent. True with *ret when access is granted (always,
 * when the configuration asks for no keys).
 */
bool ps_identify(const struct ps_config *config, struct ps_slice presented,
                 struct ps_identity *ret);

#endif
