/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_GGUF_H
#define PENSTOCK_ENGINE_GGUF_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads a GGUF file over, without loading it: header, keys and the table of tensors are whole,
 * counts and lengths are sane, and every tensor begins inside the file. Not whether the model makes
 * sense. 0, and the file's size; or -1 with what is wrong, as the rest of a sentence ("is cut off
 * inside its keys").
 */
int ps_gguf_check(int fd, char *ret_why, size_t why_size, uint64_t *ret_bytes);

#endif
