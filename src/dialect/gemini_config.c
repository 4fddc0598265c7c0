/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/* How a model is to answer: "generationConfig", and what has no place there. */

#define STOPS      5
#define CANDIDATES PS_GEMINI_CHOICES

/* ---- thinking ---- */

bool ps_gemini_has_levels(const struct ps_encode *encode)
{
    static const struct ps_slice family = PS_SLICE_INIT("gemini-");
    struct ps_slice name = encode->model;

    if (encode->settings->thinking.len > 0) {
        return !ps_slice_eq_cstr(encode->settings->thinking, "budget");
    }
    if (ps_slice_starts(name, PS_SLICE_LIT("models/"))) {
        name = ps_slice(name.ptr + 7, name.len - 7);
    }
    return ps_slice_starts(name, family) && name.len > family.len + 1 &&
           ((name.ptr[family.len] >= '3' && name.ptr[family.len] <= '9') ||
            (name.ptr[family.len] >= '1' && name.ptr[family.len + 1] >= '0' &&
             name.ptr[family.len + 1] <= '9'));
}

static bool is_off(const struct ps_neutral *neutral)
{
    return neutral->thinking == PS_THINKING_OFF || neutral->effort == PS_EFFORT_OFF ||
           neutral->thinking_budget == 0;
}

static bool is_on(const struct ps_neutral *neutral)
{
    return neutral->thinking == PS_THINKING_ON || neutral->thinking == PS_THINKING_ADAPTIVE;
}

/* There is no level for "not at all". */
static const char *level_of(const struct ps_neutral *neutral)
{
    if (is_off(neutral)) {
        return "MINIMAL";
    }
    switch (neutral->effort) {
    case PS_EFFORT_MINIMAL:
        return "MINIMAL";
    case PS_EFFORT_LOW:
        return "LOW";
    case PS_EFFORT_MEDIUM:
        return "MEDIUM";
    case PS_EFFORT_HIGH:
    case PS_EFFORT_XHIGH:
    case PS_EFFORT_MAX:
        return "HIGH";
    case PS_EFFORT_NONE_GIVEN:
    case PS_EFFORT_OFF:
    default:
        break;
    }
    if (neutral->thinking_budget > 0) {
        return neutral->thinking_budget < 4096    ? "LOW"
               : neutral->thinking_budget < 16384 ? "MEDIUM"
                                                  : "HIGH";
    }
    return NULL;
}

/* Tokens; -1: as many as the model likes; -2: not a word about it. */
static int64_t budget_of(const struct ps_neutral *neutral)
{
    if (is_off(neutral)) {
        return 0;
    }
    if (neutral->thinking_budget > 0) {
        return neutral->thinking_budget;
    }
    switch (neutral->effort) {
    case PS_EFFORT_MINIMAL:
    case PS_EFFORT_LOW:
        return 1024;
    case PS_EFFORT_MEDIUM:
        return 8192;
    case PS_EFFORT_HIGH:
    case PS_EFFORT_XHIGH:
    case PS_EFFORT_MAX:
        return 24576;
    case PS_EFFORT_NONE_GIVEN:
    case PS_EFFORT_OFF:
    default:
        return is_on(neutral) ? -1 : -2;
    }
}

static void write_thinking(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool levels = ps_gemini_has_levels(encode);
    const char *level = levels ? level_of(neutral) : NULL;
    int64_t budget = levels ? -2 : budget_of(neutral);
    bool shown = !is_off(neutral) && (neutral->show_reasoning == PS_TRI_YES ||
                                      (neutral->show_reasoning == PS_TRI_NONE && is_on(neutral)));

    if (level == NULL && budget == -2 && !shown) {
        return;
    }
    ps_out_key(out, "thinkingConfig");
    ps_out_open(out, '{');
    if (shown) {
        ps_out_member_bool(out, "includeThoughts", true);
    }
    if (level != NULL) {
        ps_out_member_cstr(out, "thinkingLevel", level);
    } else if (budget >= -1) {
        ps_out_member_int(out, "thinkingBudget", budget);
    }
    ps_out_close(out, '}');
}

/* ---- sampling ---- */

static int refuse_at_top(struct ps_encode *encode, const char *name, const char *what)
{
    const struct ps_neutral_at at = {NULL, name, PS_NEUTRAL_NO_INDEX};

    return ps_encode_bad_at(encode, &at, NULL, what);
}

static int write_stops(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->stop_count == 0) {
        return 0;
    }
    if (neutral->stop_count > STOPS) {
        return refuse_at_top(encode, neutral->stop_name != NULL ? neutral->stop_name : "stop",
                             "at most 5 texts");
    }
    ps_out_key(out, "stopSequences");
    ps_out_array(out, neutral->stops, neutral->stop_count);
    return 0;
}

/* A seed is 32 bits long there: of another one nothing is left to keep. */
static int write_seed(struct ps_encode *encode)
{
    struct ps_slice raw = encode->neutral->seed;
    int64_t seed;

    if (raw.len == 0) {
        return 0;
    }
    if (!ps_json_int(raw, &seed) || seed < INT32_MIN || seed > INT32_MAX) {
        return ps_drop(encode, "seed");
    }
    ps_out_member(&encode->out, "seed", raw);
    return 0;
}

static int write_count(struct ps_encode *encode)
{
    struct ps_slice raw = encode->neutral->n;
    int64_t count;

    if (raw.len == 0 || !ps_json_int(raw, &count) || count == 1) {
        return 0;
    }
    if (count > CANDIDATES) {
        return refuse_at_top(encode, "n", "at most 8");
    }
    ps_out_member(&encode->out, "candidateCount", raw);
    return 0;
}

static int write_sampling(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    int64_t number;

    if (ps_encode_clamped(encode, "temperature", neutral->temperature, 0, 2, "temperature") != 0) {
        return -1;
    }
    ps_out_member(out, "topP", neutral->top_p);
    if (neutral->top_k.len > 0 && ps_json_int(neutral->top_k, &number) && number > 0) {
        ps_out_member(out, "topK", neutral->top_k); /* else it is off */
    }
    ps_out_member(out, "maxOutputTokens", neutral->max_tokens);
    if (write_stops(encode) != 0 || write_seed(encode) != 0 || write_count(encode) != 0) {
        return -1;
    }
    ps_out_member(out, "presencePenalty", neutral->presence_penalty);
    ps_out_member(out, "frequencyPenalty", neutral->frequency_penalty);
    if (neutral->logprobs) {
        ps_out_member_bool(out, "responseLogprobs", true);
        if (neutral->top_logprobs.len > 0 && ps_json_int(neutral->top_logprobs, &number) &&
            number > 0) {
            ps_out_member(out, "logprobs", neutral->top_logprobs);
        }
    }
    return 0;
}

static int write_format(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->format == PS_FORMAT_JSON_OBJECT || neutral->format == PS_FORMAT_JSON_SCHEMA) {
        ps_out_member_cstr(out, "responseMimeType", "application/json");
    }
    if (neutral->format == PS_FORMAT_JSON_SCHEMA) {
        ps_out_member(out, "responseJsonSchema", neutral->schema);
    }
    return ps_drop_raw(encode, "response_format.json_schema.description",
                       neutral->schema_description);
}

/* ---- the rest ---- */

static int write_service_tier(struct ps_encode *encode)
{
    static const struct {
        const char *word;
        const char *tier; /* NULL: what it is anyway */
    } tiers[] = {{"auto", NULL},
                 {"default", "standard"},
                 {"standard_only", "standard"},
                 {"flex", "flex"},
                 {"priority", "priority"}};
    struct ps_slice raw = encode->neutral->service_tier;

    for (size_t i = 0; raw.len > 0 && i < sizeof(tiers) / sizeof(tiers[0]); i++) {
        if (ps_raw_word(raw, tiers[i].word)) {
            if (tiers[i].tier != NULL) {
                ps_out_member_cstr(&encode->out, "serviceTier", tiers[i].tier);
            }
            return 0;
        }
    }
    return ps_drop_raw(encode, "service_tier", raw);
}

int ps_gemini_encode_config(struct ps_encode *encode)
{
    const unsigned takes = PS_TAKES_USUAL | PS_TAKES_SEED | PS_TAKES_PRESENCE | PS_TAKES_FREQUENCY |
                           PS_TAKES_SERVICE_TIER | PS_TAKES_N | PS_TAKES_LOGPROBS |
                           PS_TAKES_WEB_SEARCH;
    struct ps_json_out *out = &encode->out;

    if (ps_encode_refuse_rest(encode, takes) != 0) {
        return -1;
    }
    ps_out_key(out, "generationConfig");
    ps_out_open(out, '{');
    if (write_sampling(encode) != 0 || write_format(encode) != 0) {
        return -1;
    }
    write_thinking(encode);
    ps_out_close(out, '}');
    if (write_service_tier(encode) != 0 || ps_encode_drop_rest(encode, takes) != 0) {
        return -1;
    }
    return ps_encode_all_extras(encode);
}
