/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as a configuration: a snapshot or mistakes, never both and never neither. A snapshot
 * prints without its secrets. No file that the text names is opened.
 */

#include "penstock/config/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ps_config_overrides overrides = {.no_files = true};
    struct ps_config_errors errors;
    ps_config_errors_init(&errors);
    struct ps_config *config = ps_config_parse("fuzz.yaml", ps_slice((const char *)data, size),
                                               &overrides, NULL, 0, &errors);
    if ((config == NULL) != (errors.count > 0)) {
        abort();
    }
    if (config != NULL) {
        struct ps_buf out;
        ps_buf_init(&out, 1 << 24);
        ps_config_print(config, &out);
        ps_buf_deinit(&out);
    }
    ps_config_unref(config);
    ps_config_errors_deinit(&errors);
    return 0;
}
