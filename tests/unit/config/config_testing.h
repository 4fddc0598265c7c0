/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_CONFIG_TESTING_H
#define PENSTOCK_TESTS_CONFIG_TESTING_H

#include "testing.h"

#include "penstock/config/config.h"

#include <stdio.h>
#include <string.h>

/* The snapshot of a text called t.yaml, or NULL with the mistakes, NUL-terminated, in `said`. */
static inline struct ps_config *
load_with(const char *yaml, const struct ps_config_overrides *overrides, char *said, size_t size)
{
    struct ps_config_errors errors;
    ps_config_errors_init(&errors);
    struct ps_config *config =
        ps_config_parse("t.yaml", ps_slice_cstr(yaml), overrides, NULL, 0, &errors);
    snprintf(said, size, "%.*s", (int)errors.text.len,
             errors.text.ptr != NULL ? errors.text.ptr : "");
    assert_int_equal(config == NULL, errors.count > 0);
    ps_config_errors_deinit(&errors);
    return config;
}

/* The snapshot; fails the test when there is none. */
static inline struct ps_config *load_good(const char *yaml)
{
    char said[4096];
    struct ps_config *config = load_with(yaml, NULL, said, sizeof said);
    if (config == NULL) {
        fail_msg("%s\n%s", yaml, said);
    }
    return config;
}

#endif
