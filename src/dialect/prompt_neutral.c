/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "prompt_priv.h"

#include "penstock/base/json_scan.h"

#include <float.h>

/* Requests of fronts that say all they have in the neutral form, for models that take text. */

#define TEMPERATURE_MAX 100
#define BELOW_ONE       (1 - DBL_EPSILON)
#define ROOM            4096 /* what a front may say in words of its own */

static const struct ps_slice role_words[] = {
    [PS_ROLE_SYSTEM] = PS_SLICE_INIT("system"),
    [PS_ROLE_DEVELOPER] = PS_SLICE_INIT("system"),
    [PS_ROLE_USER] = PS_SLICE_INIT("user"),
    [PS_ROLE_ASSISTANT] = PS_SLICE_INIT("assistant"),
    [PS_ROLE_TOOL] = {NULL, 0},
};

static int unsupported_at(struct ps_prompt_build *build, const struct ps_neutral_at *at)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, NULL);
    return ps_prompt_unsupported(build, path);
}

static void drop(struct ps_prompt_build *build, bool given, const char *name)
{
    struct ps_prompt *prompt = build->prompt;

    if (given && prompt->dropped_count < PS_PROMPT_DROPPED) {
        prompt->dropped[prompt->dropped_count++] = ps_slice_cstr(name);
    }
}

static bool is_text(const struct ps_neutral_part *part)
{
    return part->kind == PS_PART_TEXT || part->kind == PS_PART_REFUSAL ||
           (part->kind == PS_PART_DOCUMENT && part->media->source == PS_MEDIA_TEXT);
}

/* What the front gives no meaning. */
static int drop_extras(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    char path[PS_FAULT_PARAM];

    for (size_t i = 0; i < neutral->extra_count; i++) {
        const char *name;

        ps_neutral_path(path, &neutral->extras[i].at, NULL);
        if (!ps_drop_is_name(ps_slice_cstr(path))) {
            continue;
        }
        name = ps_arena_strdup(build->arena, ps_slice_cstr(path));
        if (name == NULL) {
            return ps_prompt_no_memory(build);
        }
        drop(build, true, name);
    }
    return 0;
}

/* Texts follow each other in the build's memory, a line break between them. */
static int read_message(struct ps_prompt_build *build, const struct ps_neutral_message *message,
                        struct ps_prompt_message *ret)
{
    char *start = build->text + build->text_len;
    char path[PS_FAULT_PARAM];
    bool any = false;

    ret->role = role_words[message->role];
    if (ret->role.len == 0) {
        return unsupported_at(build, &message->at);
    }
    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];
        struct ps_slice text;

        if (part->kind == PS_PART_REASONING) {
            continue; /* its own thoughts are no part of what was said */
        }
        if (!is_text(part)) {
            return unsupported_at(build, &part->at);
        }
        if (any && build->text_len < build->text_size) {
            build->text[build->text_len++] = '\n';
        }
        any = true;
        ps_neutral_path(path, &part->at, NULL);
        if (ps_prompt_text(build, path,
                           part->kind == PS_PART_DOCUMENT ? part->media->text : part->text,
                           &text) != 0) {
            return -1;
        }
    }
    ret->content = ps_slice(start, (size_t)(build->text + build->text_len - start));
    return 0;
}

static int read_messages(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    struct ps_prompt *prompt = build->prompt;
    struct ps_prompt_message *messages;

    if (neutral->message_count > PS_PROMPT_MESSAGES) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, "messages",
                            "messages must hold no more than %d messages.", PS_PROMPT_MESSAGES);
    }
    messages = ps_arena_calloc(build->arena, (neutral->message_count + 1) * sizeof(*messages));
    if (messages == NULL) {
        return ps_prompt_no_memory(build);
    }
    prompt->messages = messages;
    for (size_t i = 0; i < neutral->message_count; i++) {
        if (read_message(build, &neutral->messages[i], &messages[prompt->message_count++]) != 0) {
            return -1;
        }
    }
    return 0;
}

/* EMBED */
static int read_inputs(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    char path[PS_FAULT_PARAM];
    struct ps_slice *inputs;

    if (neutral->input_count > PS_PROMPT_INPUTS) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, neutral->input_name,
                            "%s must hold no more than %d strings.", neutral->input_name,
                            PS_PROMPT_INPUTS);
    }
    inputs = ps_arena_calloc(build->arena, (neutral->input_count + 1) * sizeof(*inputs));
    if (inputs == NULL) {
        return ps_prompt_no_memory(build);
    }
    build->prompt->inputs = inputs;
    build->prompt->base64 = neutral->base64;
    drop(build, neutral->input_type.len > 0, "input_type");
    for (size_t i = 0; i < neutral->input_count; i++) {
        ps_prompt_element(path, neutral->input_name, i);
        if (ps_prompt_text(build, path, neutral->inputs[i],
                           &inputs[build->prompt->input_count++]) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_stops(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    struct ps_slice *stops;

    if (neutral->stop_count == 0) {
        return 0;
    }
    if (neutral->stop_count > PS_PROMPT_STOPS) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, neutral->stop_name,
                            "%s must hold no more than %d strings.", neutral->stop_name,
                            PS_PROMPT_STOPS);
    }
    stops = ps_arena_calloc(build->arena, PS_PROMPT_STOPS * sizeof(*stops));
    if (stops == NULL) {
        return ps_prompt_no_memory(build);
    }
    build->prompt->stops = stops;
    for (size_t i = 0; i < neutral->stop_count; i++) {
        if (ps_prompt_text(build, neutral->stop_name, neutral->stops[i],
                           &stops[build->prompt->stop_count++]) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_sampling(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    struct ps_prompt *prompt = build->prompt;
    const char *length = neutral->max_tokens_name != NULL ? neutral->max_tokens_name : "max_tokens";

    if (ps_prompt_int(build, length, neutral->max_tokens, 1, INT32_MAX, &prompt->max_tokens) != 0 ||
        ps_prompt_number(build, "temperature", neutral->temperature, 0, TEMPERATURE_MAX,
                         &prompt->temperature) != 0 ||
        ps_prompt_top_p(build, neutral->top_p) != 0 ||
        ps_prompt_int(build, "top_k", neutral->top_k, -1, INT32_MAX, &prompt->top_k) != 0 ||
        ps_prompt_number(build, "min_p", neutral->min_p, 0, 1, &prompt->min_p) != 0 ||
        ps_prompt_number(build, "presence_penalty", neutral->presence_penalty, -2, 2,
                         &prompt->presence_penalty) != 0 ||
        ps_prompt_number(build, "frequency_penalty", neutral->frequency_penalty, -2, 2,
                         &prompt->frequency_penalty) != 0 ||
        ps_prompt_seed(build, neutral->seed) != 0) {
        return -1;
    }
    prompt->logprobs = neutral->logprobs;
    if (ps_prompt_int(build, "top_logprobs", neutral->top_logprobs, 0, PS_PROMPT_TOP_LOGPROBS,
                      &prompt->top_logprobs) != 0) {
        return -1;
    }
    if (prompt->top_k < 0 && neutral->top_k.len > 0) {
        prompt->top_k = 0; /* other servers' way to turn it off */
    }
    if (prompt->min_p > BELOW_ONE) {
        prompt->min_p = BELOW_ONE; /* only the likeliest is left */
    }
    return read_stops(build, neutral);
}

static int read_format(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    struct ps_prompt *prompt = build->prompt;

    if (neutral->format == PS_FORMAT_JSON_OBJECT) {
        prompt->format = PS_PROMPT_JSON_OBJECT;
    } else if (neutral->format == PS_FORMAT_JSON_SCHEMA) {
        prompt->format = PS_PROMPT_JSON_SCHEMA;
        prompt->schema = ps_prompt_keep(build, neutral->schema);
        return prompt->schema.ptr != NULL ? 0 : ps_prompt_no_memory(build);
    }
    return 0;
}

static int check_supported(struct ps_prompt_build *build, const struct ps_neutral *neutral)
{
    int64_t count;

    if (neutral->n.len > 0 && (!ps_json_int(neutral->n, &count) || count != 1)) {
        return ps_prompt_unsupported(build, "n");
    }
    if (neutral->tool_count > 0 && neutral->tool_choice != PS_CHOICE_NONE) {
        return ps_prompt_unsupported(build, "tools");
    }
    if (neutral->logit_bias.len > 2) {
        return ps_prompt_unsupported(build, "logit_bias");
    }
    if (neutral->dimensions.len > 0) {
        return ps_prompt_unsupported(build, "dimensions");
    }
    drop(build, neutral->effort != PS_EFFORT_NONE_GIVEN, "reasoning_effort");
    drop(build, neutral->thinking > PS_THINKING_OFF, "thinking");
    drop(build, neutral->user.len > 0, "user");
    drop(build, neutral->metadata.len > 0, "metadata");
    drop(build, neutral->service_tier.len > 0, "service_tier");
    drop(build, neutral->cache_control.len > 0, "cache_control");
    drop(build, neutral->verbosity.len > 0, "verbosity");
    return drop_extras(build, neutral);
}

int ps_prompt_of_neutral(struct ps_prompt_build *build, const struct ps_request *request,
                         const struct ps_neutral *neutral)
{
    size_t body = ps_request_bytes(request);

    if (neutral->operation == PS_OP_EMBED) {
        return check_supported(build, neutral) != 0 || ps_prompt_begin(build, body + ROOM) != 0
                   ? -1
                   : read_inputs(build, neutral);
    }
    if (neutral->operation != PS_OP_CHAT && neutral->operation != PS_OP_COUNT_TOKENS) {
        return ps_fault_set(build->fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "A model inside the gateway cannot do this operation (%s).",
                            ps_operation_name(neutral->operation));
    }
    if (check_supported(build, neutral) != 0 || ps_prompt_begin(build, body + ROOM) != 0 ||
        read_messages(build, neutral) != 0 || read_sampling(build, neutral) != 0) {
        return -1;
    }
    return read_format(build, neutral);
}
