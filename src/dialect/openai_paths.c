/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_paths.h"

#define USAGE_PATHS(prefix)                                                                        \
    {prefix, false}, {prefix ".prompt_tokens", false}, {prefix ".completion_tokens", false},       \
        {prefix ".total_tokens", false}, {prefix ".prompt_tokens_details.cached_tokens", false},   \
        {prefix ".completion_tokens_details.reasoning_tokens", false},                             \
        {prefix ".input_tokens", false}, {prefix ".output_tokens", false},                         \
        {prefix ".input_tokens_details.cached_tokens", false},                                     \
        {prefix ".output_tokens_details.reasoning_tokens", false},                                 \
    {                                                                                              \
        prefix ".prompt_cache_hit_tokens", false                                                   \
    }

#define COMMON_PATHS                                                                               \
    {"error", false}, {"error.message", false}, {"error.type", false}, {"error.code", false},      \
        {"error.param", false}, {"object", false}, {"message", false}, {"type", false},            \
        {"code", false}, {"param", false}, {"detail", false}, USAGE_PATHS("usage")

static const struct ps_json_path answer_list[] = {
    COMMON_PATHS,
    {"choices", false},
    {"choices.*", false},
    {"choices.*.index", false},
    {"choices.*.finish_reason", false},
    {"choices.*.text", false},
    {"choices.*.delta.content", false},
    {"choices.*.delta.reasoning_content", false},
    {"choices.*.delta.reasoning", false},
    {"choices.*.delta.refusal", false},
    {"choices.*.delta.tool_calls", false},
    {"choices.*.delta.function_call", false},
    {"choices.*.delta.audio", false},
    {"choices.*.message.content", false},
    {"choices.*.message.reasoning_content", false},
    {"choices.*.message.reasoning", false},
    {"choices.*.message.refusal", false},
    {"choices.*.message.tool_calls", false},
    {"choices.*.message.function_call", false},
    {"choices.*.message.audio", false},
    {"x_groq.usage", false},
    {"x_groq.usage.prompt_tokens", false},
    {"x_groq.usage.completion_tokens", false},
    {"x_groq.usage.total_tokens", false},
};

static const struct ps_json_path other_list[] = {
    COMMON_PATHS,
    {"response.error", false},
    {"response.error.message", false},
    {"response.error.code", false},
    USAGE_PATHS("response.usage"),
};

_Static_assert(sizeof(answer_list) / sizeof(answer_list[0]) == PS_PATH_ANSWER_COUNT,
               "paths and their names");
_Static_assert(sizeof(other_list) / sizeof(other_list[0]) == PS_PATH_OTHER_COUNT,
               "paths and their names");
_Static_assert(PS_PATH_ANSWER_COUNT <= PS_JSON_MAX_PATHS, "one set of paths");

static struct ps_json_paths *answer_paths;
static struct ps_json_paths *other_paths;

int ps_openai_paths_global_init(void)
{
    answer_paths = ps_json_paths_new(answer_list, PS_PATH_ANSWER_COUNT);
    other_paths = ps_json_paths_new(other_list, PS_PATH_OTHER_COUNT);
    return answer_paths != NULL && other_paths != NULL ? 0 : -1;
}

void ps_openai_paths_global_deinit(void)
{
    ps_json_paths_free(answer_paths);
    ps_json_paths_free(other_paths);
    answer_paths = NULL;
    other_paths = NULL;
}

const struct ps_json_paths *ps_openai_paths(bool answers)
{
    return answers ? answer_paths : other_paths;
}
