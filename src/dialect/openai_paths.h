/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_OPENAI_PATHS_H
#define PENSTOCK_DIALECT_OPENAI_PATHS_H

#include "penstock/base/json_scan.h"

/* What is looked for in an answer, by index in one of two sets of paths: chat and completions, and
 * others. */

/* Within a group that counts tokens. */
enum ps_path_usage {
    PS_PATH_USAGE_SELF,
    PS_PATH_USAGE_PROMPT,
    PS_PATH_USAGE_COMPLETION,
    PS_PATH_USAGE_TOTAL,
    PS_PATH_USAGE_CACHED,
    PS_PATH_USAGE_REASONING,
    PS_PATH_USAGE_INPUT,
    PS_PATH_USAGE_OUTPUT,
    PS_PATH_USAGE_INPUT_CACHED,
    PS_PATH_USAGE_OUTPUT_REASONING,
    PS_PATH_USAGE_CACHE_HIT,
    PS_PATH_USAGE_COUNT,
};

/* In a set. Where the groups of paths begin; the first three are the same in both sets. */
enum ps_path {
    PS_PATH_AT_ERROR = 0, /* error, and its message, type, code, param */
    PS_PATH_AT_FLAT = 5,  /* object, the same four at the top, detail */
    PS_PATH_AT_USAGE = 11,
    PS_PATH_AT_REST = PS_PATH_AT_USAGE + PS_PATH_USAGE_COUNT,

    /* answers */
    PS_PATH_CHOICES = PS_PATH_AT_REST,
    PS_PATH_CHOICE,
    PS_PATH_INDEX,
    PS_PATH_FINISH,
    PS_PATH_TEXT,
    PS_PATH_DELTA_CONTENT,
    PS_PATH_DELTA_REASONING_CONTENT,
    PS_PATH_DELTA_REASONING,
    PS_PATH_DELTA_REFUSAL,
    PS_PATH_DELTA_TOOLS,
    PS_PATH_DELTA_FUNCTION,
    PS_PATH_DELTA_AUDIO,
    PS_PATH_MESSAGE_CONTENT,
    PS_PATH_MESSAGE_REASONING_CONTENT,
    PS_PATH_MESSAGE_REASONING,
    PS_PATH_MESSAGE_REFUSAL,
    PS_PATH_MESSAGE_TOOLS,
    PS_PATH_MESSAGE_FUNCTION,
    PS_PATH_MESSAGE_AUDIO,
    PS_PATH_GROQ_USAGE,
    PS_PATH_GROQ_PROMPT,
    PS_PATH_GROQ_COMPLETION,
    PS_PATH_GROQ_TOTAL,
    PS_PATH_ANSWER_COUNT,

    /* others */
    PS_PATH_AT_RESPONSE_ERROR = PS_PATH_AT_REST, /* response.error and two of its members */
    PS_PATH_AT_RESPONSE_USAGE = PS_PATH_AT_RESPONSE_ERROR + 3,
    PS_PATH_OTHER_COUNT = PS_PATH_AT_RESPONSE_USAGE + PS_PATH_USAGE_COUNT,
};

int ps_openai_paths_global_init(void);
void ps_openai_paths_global_deinit(void);
const struct ps_json_paths *ps_openai_paths(bool answers);

#endif
