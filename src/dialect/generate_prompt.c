/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "prompt_priv.h"

#define TEMPERATURE_MAX 100

static int read_messages(struct ps_prompt_build *build, const struct ps_generate_values *values)
{
    struct ps_prompt *prompt = build->prompt;
    struct ps_prompt_message *messages;

    if (values->messages.len > 0) {
        return ps_prompt_messages(build, values->system, values->messages);
    }
    messages = ps_arena_calloc(build->arena, 2 * sizeof(*messages));
    if (messages == NULL) {
        return ps_prompt_no_memory(build);
    }
    prompt->messages = messages;
    if (values->system.len > 0) {
        messages[prompt->message_count].role = PS_SLICE_LIT("system");
        if (ps_prompt_text(build, "system", values->system,
                           &messages[prompt->message_count++].content) != 0) {
            return -1;
        }
    }
    messages[prompt->message_count].role = PS_SLICE_LIT("user");
    return ps_prompt_text(build, "prompt", values->prompt,
                          &messages[prompt->message_count++].content);
}

int ps_generate_prompt(struct ps_prompt_build *build, const struct ps_request *request)
{
    struct ps_prompt *prompt = build->prompt;
    const struct ps_generate_values *values = request->generate;

    if (request->shape == PS_GENERATE_SGLANG) {
        return ps_prompt_translate(build, request);
    }
    if (values == NULL) {
        return ps_fault_set(build->fault, PS_FAULT_INTERNAL, NULL,
                            "The request was not prepared for a model inside the gateway.");
    }
    if (ps_prompt_begin(build, values->system.len + values->prompt.len + values->messages.len +
                                   values->stop.len) != 0 ||
        read_messages(build, values) != 0 ||
        ps_prompt_int(build, "max_tokens", values->max_tokens, 1, INT32_MAX, &prompt->max_tokens) !=
            0 ||
        ps_prompt_number(build, "temperature", values->temperature, 0, TEMPERATURE_MAX,
                         &prompt->temperature) != 0 ||
        ps_prompt_top_p(build, values->top_p) != 0 || ps_prompt_seed(build, values->seed) != 0) {
        return -1;
    }
    return ps_prompt_stop(build, values->stop);
}
