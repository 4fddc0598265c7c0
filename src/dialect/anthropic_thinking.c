/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "signature.h"

/*
 * How much a model is to think. Newer models take an effort and think as much as they like
 * ("adaptive"), older ones take a budget in tokens: settings.thinking says which. What a client
 * says about effort is a hint: where thinking is not possible (a tool must be called; the turn
 * being continued has no thinking to go on from), the hint is left out and named.
 */

#define DEFAULT_MAX_TOKENS 4096
#define BUDGET_LEAST       1024

/* Our own rule. */
static int64_t budget_of(enum ps_effort effort)
{
    switch (effort) {
    case PS_EFFORT_MINIMAL:
        return BUDGET_LEAST;
    case PS_EFFORT_LOW:
        return 2048;
    case PS_EFFORT_MEDIUM:
        return 8192;
    case PS_EFFORT_HIGH:
        return 16384;
    case PS_EFFORT_XHIGH:
    case PS_EFFORT_MAX:
        return 32000;
    case PS_EFFORT_NONE_GIVEN:
    case PS_EFFORT_OFF:
    default:
        return 0;
    }
}

static const char *effort_word(const struct ps_neutral *neutral)
{
    if (neutral->effort == PS_EFFORT_NONE_GIVEN && neutral->thinking_budget >= 0) {
        return neutral->thinking_budget < 4096    ? "low"
               : neutral->thinking_budget < 16384 ? "medium"
                                                  : "high";
    }
    if (neutral->effort == PS_EFFORT_NONE_GIVEN || neutral->effort == PS_EFFORT_OFF) {
        return NULL;
    }
    return neutral->effort == PS_EFFORT_MINIMAL ? "low" : ps_effort_name(neutral->effort);
}

static bool has_signed_thought(const struct ps_encode *encode,
                               const struct ps_neutral_message *message)
{
    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (part->kind == PS_PART_REASONING && ps_encode_is_signed(encode, part->reasoning)) {
            return true;
        }
    }
    return false;
}

/* A turn that waits for results of tools goes on as it began: without thinking when it began so. */
static bool continues_without(const struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    size_t i = neutral->message_count;

    while (i > 0 && neutral->messages[i - 1].role == PS_ROLE_TOOL) {
        i--;
    }
    return i < neutral->message_count && i > 0 &&
           neutral->messages[i - 1].role == PS_ROLE_ASSISTANT &&
           !has_signed_thought(encode, &neutral->messages[i - 1]);
}

static bool is_possible(const struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    return neutral->tool_choice != PS_CHOICE_ANY && neutral->tool_choice != PS_CHOICE_NAMED &&
           !continues_without(encode);
}

/* By effort: the word, and a wish to see what is thought turns it on. */
static void plan_effort(const struct ps_encode *encode, struct ps_anthropic_plan *plan)
{
    const struct ps_neutral *neutral = encode->neutral;
    bool wants = neutral->thinking == PS_THINKING_ON || neutral->thinking == PS_THINKING_ADAPTIVE ||
                 (neutral->thinking == PS_THINKING_NONE_GIVEN &&
                  neutral->show_reasoning == PS_TRI_YES && neutral->effort != PS_EFFORT_OFF);

    plan->effort = effort_word(neutral);
    if (wants && is_possible(encode)) {
        plan->thinking = "adaptive";
        plan->display = neutral->show_reasoning == PS_TRI_YES  ? "summarized"
                        : neutral->show_reasoning == PS_TRI_NO ? "omitted"
                                                               : NULL;
    }
}

/* By budget: it must leave room for an answer within max_tokens. */
static void plan_budget(const struct ps_encode *encode, struct ps_anthropic_plan *plan)
{
    const struct ps_neutral *neutral = encode->neutral;
    int64_t budget =
        neutral->thinking_budget >= 0 ? neutral->thinking_budget : budget_of(neutral->effort);
    int64_t most;

    if (budget == 0 &&
        (neutral->thinking == PS_THINKING_ON || neutral->thinking == PS_THINKING_ADAPTIVE)) {
        budget = budget_of(PS_EFFORT_MEDIUM);
    }
    if (budget == 0 || !is_possible(encode)) {
        return;
    }
    budget = budget < BUDGET_LEAST ? BUDGET_LEAST : budget;
    if (plan->max_tokens.len > 0 && ps_json_int(plan->max_tokens, &most)) {
        if (neutral->thinking_budget < 0 && budget > most / 2) {
            budget = most / 2;
        }
        if (budget >= most || budget < BUDGET_LEAST) {
            return;
        }
    } else {
        plan->max_tokens_value += budget;
    }
    plan->thinking = "enabled";
    plan->budget = budget;
}

/* What was asked for and will not be. */
static int name_dropped(struct ps_encode *encode, const struct ps_anthropic_plan *plan)
{
    const struct ps_neutral *neutral = encode->neutral;
    bool asked = neutral->thinking == PS_THINKING_ON || neutral->thinking == PS_THINKING_ADAPTIVE ||
                 neutral->thinking_budget > 0;

    if (plan->thinking != NULL || plan->effort != NULL) {
        return 0;
    }
    if (asked && ps_drop(encode, "thinking") != 0) {
        return -1;
    }
    return budget_of(neutral->effort) > 0 ? ps_drop(encode, "reasoning_effort") : 0;
}

int ps_anthropic_plan(struct ps_encode *encode, struct ps_anthropic_plan *ret)
{
    const struct ps_neutral *neutral = encode->neutral;
    const struct ps_dialect_settings *settings = encode->settings;

    *ret = (struct ps_anthropic_plan){
        .max_tokens = neutral->max_tokens,
        .max_tokens_value = settings->max_tokens > 0 ? settings->max_tokens : DEFAULT_MAX_TOKENS,
    };
    if (neutral->thinking == PS_THINKING_OFF || neutral->effort == PS_EFFORT_OFF ||
        neutral->thinking_budget == 0) {
        ret->thinking = "disabled";
        return 0;
    }
    if (ps_slice_eq_cstr(settings->thinking, "budget")) {
        plan_budget(encode, ret);
    } else {
        plan_effort(encode, ret);
    }
    return name_dropped(encode, ret);
}
