/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_BUILTIN_H
#define PENSTOCK_ENGINE_BUILTIN_H

/* models/tiny-story.gguf, put into the program by cmake/builtin.S.in. */
extern const unsigned char ps_builtin_model[];
extern const unsigned char ps_builtin_model_end[];

#endif
