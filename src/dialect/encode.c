/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include "fields.h"

int ps_dialect_encode(const struct ps_dialect *dialect, struct ps_request *request,
                      const struct ps_encode_options *options, struct ps_arena *arena,
                      struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    int rc;

    if (!ps_dialect_speaks(dialect, request->family, request->operation)) {
        return ps_fault_set(ret_fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "The provider of this model does not offer this operation (%s).",
                            ps_operation_name(request->operation));
    }
    rc = dialect->encode(request, options, arena, ret, ret_fault);
    ret->relayed =
        ps_dialect_relays(dialect, options->settings, request->family, request->operation);
    return rc;
}
