/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"

/* A request of /generate as a neutral one. The reader has checked all but the messages. */

static const struct ps_neutral_at no_place = {NULL, NULL, PS_NEUTRAL_NO_INDEX};

static int take_prompt(struct ps_neutral_build *build, const struct ps_generate_values *values)
{
    struct ps_neutral *neutral = build->neutral;
    struct ps_neutral_message *messages = ps_build_array(build, 2, sizeof(*messages));
    struct ps_neutral_part *parts = ps_build_parts(build, NULL, 2);

    if (messages == NULL || parts == NULL) {
        return -1;
    }
    neutral->messages = messages;
    for (int i = 0; i < 2; i++) {
        struct ps_slice text = i == 0 ? values->system : values->prompt;
        const char *name = i == 0 ? "system" : "prompt";
        struct ps_neutral_message *message = &messages[neutral->message_count];

        if (text.len == 0) {
            continue;
        }
        parts[i].at = (struct ps_neutral_at){NULL, name, PS_NEUTRAL_NO_INDEX};
        parts[i].text = text;
        message->role = i == 0 ? PS_ROLE_SYSTEM : PS_ROLE_USER;
        message->at = no_place;
        message->parts = &parts[i];
        message->part_count = 1;
        neutral->message_count++;
        neutral->system_count += i == 0;
    }
    return 0;
}

int ps_generate_user(struct ps_neutral_build *build, const char *name, struct ps_slice raw)
{
    struct ps_neutral_message *message = ps_build_array(build, 1, sizeof(*message));
    struct ps_neutral_part *part = ps_build_parts(build, NULL, 1);

    if (message == NULL || part == NULL) {
        return -1;
    }
    if (!ps_raw_says(raw)) {
        return ps_build_expected(build, NULL, name, "a string that is not empty");
    }
    part->at = (struct ps_neutral_at){NULL, name, PS_NEUTRAL_NO_INDEX};
    part->text = raw;
    message->role = PS_ROLE_USER;
    message->at = part->at;
    message->parts = part;
    message->part_count = 1;
    build->neutral->messages = message;
    build->neutral->message_count = 1;
    return 0;
}

int ps_generate_neutral(const struct ps_request *request, struct ps_arena *arena,
                        struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    const struct ps_generate_values *values = request->generate;
    struct ps_neutral_build build = {
        .request = request,
        .arena = arena,
        .fault = ret_fault,
        .neutral = ret,
    };

    if (request->shape == PS_GENERATE_SGLANG) {
        return ps_generate_sglang(request, arena, ret, ret_fault);
    }
    if (values == NULL) {
        return ps_fault_set(ret_fault, PS_FAULT_INTERNAL, NULL,
                            "The request was not prepared for this provider.");
    }
    ret->max_tokens = values->max_tokens;
    ret->max_tokens_name = "max_tokens";
    ret->temperature = values->temperature;
    ret->top_p = values->top_p;
    ret->seed = values->seed;
    if ((values->messages.len > 0
             ? ps_build_openai_messages(&build, values->system, values->messages)
             : take_prompt(&build, values)) != 0 ||
        ps_build_stops(&build, "stop", values->stop, true) != 0) {
        return -1;
    }
    ps_build_end(&build);
    return 0;
}
