/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "prompt_priv.h"

#define TEMPERATURE_MAX 100

static int read_messages(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    struct ps_prompt *prompt = build->prompt;
    struct ps_prompt_message *messages;

    if (neutral->messages.len > 0) {
        return ps_prompt_messages(build, neutral->system, neutral->messages);
    }
    messages = ps_arena_calloc(build->arena, 2 * sizeof(*messages));
    if (messages == NULL) {
        return ps_prompt_no_memory(build);
    }
    prompt->messages = messages;
    if (neutral->system.len > 0) {
        messages[prompt->message_count].role = PS_SLICE_LIT("system");
        if (ps_prompt_text(build, "system", neutral->system,
                           &messages[prompt->message_count++].content) != 0) {
            return -1;
        }
    }
    messages[prompt->message_count].role = PS_SLICE_LIT("user");
    return ps_prompt_text(build, "prompt", neutral->prompt,
                          &messages[prompt->message_count++].content);
}

int ps_generate_prompt(struct ps_prompt_build *build, const struct ps_request *request)
{
    struct ps_prompt *prompt = build->prompt;
    const struct ps_neutral *neutral = request->neutral;

    if (neutral == NULL) {
        return ps_fault_set(build->fault, PS_FAULT_INTERNAL, NULL,
                            "The request was not prepared for a model inside the gateway.");
    }
    if (ps_prompt_begin(build, neutral->system.len + neutral->prompt.len + neutral->messages.len +
                                   neutral->stop.len) != 0 ||
        read_messages(build, neutral) != 0 ||
        ps_prompt_int(build, "max_tokens", neutral->max_tokens, 1, INT32_MAX,
                      &prompt->max_tokens) != 0 ||
        ps_prompt_number(build, "temperature", neutral->temperature, 0, TEMPERATURE_MAX,
                         &prompt->temperature) != 0 ||
        ps_prompt_top_p(build, neutral->top_p) != 0 || ps_prompt_seed(build, neutral->seed) != 0) {
        return -1;
    }
    return ps_prompt_stop(build, neutral->stop);
}
