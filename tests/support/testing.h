/* SPDX-License-Identifier: Apache-2.0 */

/* cmocka and what its header forgets to include, in the order it needs. */

#ifndef PENSTOCK_TESTS_TESTING_H
#define PENSTOCK_TESTS_TESTING_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
