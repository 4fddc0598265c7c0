/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_BASE64_H
#define PENSTOCK_BASE_BASE64_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Base64 with the usual alphabet and padding (RFC 4648 section 4). Pure; any thread. */

/* Room that the text of `len` bytes needs, without a NUL. */
#define PS_BASE64_LENGTH(len) (((len) + 2) / 3 * 4)

/* Writes PS_BASE64_LENGTH(len) characters and returns how many; no NUL. */
size_t ps_base64_encode(const void *ptr, size_t len, char *ret);
/*
 * Strict: no white space, padding where it belongs, unused bits zero, so that every value has one
 * spelling. `ret` has room for text.len / 4 * 3 bytes; false leaves *ret_len untouched.
 */
bool ps_base64_decode(struct ps_slice text, uint8_t *ret, size_t *ret_len);

#endif
