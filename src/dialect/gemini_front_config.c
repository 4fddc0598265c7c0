/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/* How a model is to answer. What no other family has, and what does not change the answer's kind,
 * is named as left out: the length of a cache, the resolution of images … */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define TOP_LOGPROBS 20

enum {
    TEMPERATURE,
    TOP_P,
    TOP_K,
    CANDIDATE_COUNT,
    MAX_OUTPUT_TOKENS,
    STOP_SEQUENCES,
    SEED,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    RESPONSE_LOGPROBS,
    LOGPROBS,
    MIME_TYPE,
    SCHEMA,
    JSON_SCHEMA,
    MODALITIES,
    THINKING,
    FIELDS,
};

static int read_sampling(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                         const struct ps_build_member *fields)
{
    struct ps_neutral *neutral = build->neutral;

    neutral->max_tokens_name = "generationConfig.maxOutputTokens";
    if (ps_build_number(build, at, "temperature", fields[TEMPERATURE].raw, 0, 2,
                        &neutral->temperature) != 0 ||
        ps_build_number(build, at, "topP", fields[TOP_P].raw, 0, 1, &neutral->top_p) != 0 ||
        ps_gemini_int(build, at, "topK", fields[TOP_K].raw, 0, INT32_MAX, &neutral->top_k) != 0 ||
        ps_gemini_int(build, at, "candidateCount", fields[CANDIDATE_COUNT].raw, 1,
                      PS_GEMINI_CHOICES, &neutral->n) != 0 ||
        ps_gemini_int(build, at, "maxOutputTokens", fields[MAX_OUTPUT_TOKENS].raw, 1, INT32_MAX,
                      &neutral->max_tokens) != 0 ||
        ps_gemini_int(build, at, "seed", fields[SEED].raw, INT32_MIN, INT32_MAX, &neutral->seed) !=
            0 ||
        ps_build_number(build, at, "presencePenalty", fields[PRESENCE_PENALTY].raw, -2, 2,
                        &neutral->presence_penalty) != 0 ||
        ps_build_number(build, at, "frequencyPenalty", fields[FREQUENCY_PENALTY].raw, -2, 2,
                        &neutral->frequency_penalty) != 0 ||
        ps_build_bool(build, at, "responseLogprobs", fields[RESPONSE_LOGPROBS].raw,
                      &neutral->logprobs) != 0 ||
        ps_gemini_int(build, at, "logprobs", fields[LOGPROBS].raw, 0, TOP_LOGPROBS,
                      &neutral->top_logprobs) != 0) {
        return -1;
    }
    return ps_build_stops(build, "generationConfig.stopSequences", fields[STOP_SEQUENCES].raw,
                          false);
}

/* ---- the form of the answer ---- */

static int read_schema(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const struct ps_build_member *fields)
{
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice google = PS_SLICE_NONE;

    if (fields[SCHEMA].raw.len > 0 && fields[JSON_SCHEMA].raw.len > 0) {
        return ps_build_bad(build, at, "responseJsonSchema",
                            "must not be given beside responseSchema.");
    }
    if (ps_build_object(build, at, "responseSchema", fields[SCHEMA].raw, &google) != 0 ||
        ps_build_object(build, at, "responseJsonSchema", fields[JSON_SCHEMA].raw,
                        &neutral->schema) != 0) {
        return -1;
    }
    if (google.len > 0) {
        neutral->schema = ps_gemini_schema(build, google);
        if (neutral->schema.ptr == NULL) {
            return -1;
        }
    }
    if (neutral->schema.len > 0) {
        neutral->format = PS_FORMAT_JSON_SCHEMA;
    }
    return 0;
}

static int read_format(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const struct ps_build_member *fields)
{
    static const char *const types[] = {"text/plain", "application/json", "text/x.enum", NULL};
    struct ps_neutral *neutral = build->neutral;
    int type = -1;

    if (ps_raw_says(fields[MIME_TYPE].raw) &&
        ps_gemini_word(build, at, "responseMimeType", fields[MIME_TYPE].raw, types, &type) != 0) {
        return -1;
    }
    if (type == 2) { /* one word out of a list, and no JSON: no other family has that */
        return ps_build_unsupported(build, at, "responseMimeType");
    }
    neutral->format = type == 0   ? PS_FORMAT_TEXT
                      : type == 1 ? PS_FORMAT_JSON_OBJECT
                                  : PS_FORMAT_NONE_GIVEN;
    return read_schema(build, at, fields);
}

/* Text is what other families answer with. */
static int read_modalities(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                           struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice word;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, at, "responseModalities", "an array of strings");
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &word)) {
        if (!ps_raw_says(word) ||
            !ps_slice_ieq(ps_slice(word.ptr + 1, word.len - 2), PS_SLICE_LIT("TEXT"))) {
            return ps_build_unsupported(build, at, "responseModalities");
        }
    }
    return 0;
}

/* ---- thinking ---- */

static void set_budget(struct ps_neutral *neutral, struct ps_slice raw)
{
    int64_t budget = -1;

    (void)ps_json_int(raw, &budget);
    if (budget == 0) {
        neutral->thinking = PS_THINKING_OFF;
    } else if (budget < 0) {
        neutral->thinking = PS_THINKING_ADAPTIVE;
    } else {
        neutral->thinking = PS_THINKING_ON;
        neutral->thinking_budget = budget;
    }
}

static int read_thinking(struct ps_neutral_build *build, const struct ps_neutral_at *parent,
                         struct ps_slice raw)
{
    static const char *const levels[] = {
        "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", NULL};
    static const enum ps_effort efforts[] = {PS_EFFORT_NONE_GIVEN, PS_EFFORT_MINIMAL,
                                             PS_EFFORT_LOW,        PS_EFFORT_MEDIUM,
                                             PS_EFFORT_HIGH,       PS_EFFORT_XHIGH};
    const struct ps_neutral_at at = {parent, "thinkingConfig", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"includeThoughts", PS_SLICE_NONE},
                                        {"thinkingBudget", PS_SLICE_NONE},
                                        {"thinkingLevel", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice budget = PS_SLICE_NONE;
    int level = 0;

    if (ps_build_object(build, parent, "thinkingConfig", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_gemini_members(build, &at, raw, members, COUNT(members)) != 0 ||
        ps_build_tri(build, &at, "includeThoughts", members[0].raw, &neutral->show_reasoning) !=
            0 ||
        ps_gemini_int(build, &at, "thinkingBudget", members[1].raw, -1, INT32_MAX, &budget) != 0 ||
        ps_gemini_word(build, &at, "thinkingLevel", members[2].raw, levels, &level) != 0) {
        return -1;
    }
    if (budget.len > 0 && level > 0) {
        return ps_build_bad(build, &at, "thinkingLevel",
                            "must not be given beside thinkingBudget.");
    }
    neutral->effort = efforts[level];
    if (budget.len > 0) {
        set_budget(neutral, budget);
    }
    return 0;
}

int ps_gemini_config(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                     struct ps_slice raw)
{
    struct ps_build_member fields[FIELDS] = {
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [TOP_P] = {"topP", PS_SLICE_NONE},
        [TOP_K] = {"topK", PS_SLICE_NONE},
        [CANDIDATE_COUNT] = {"candidateCount", PS_SLICE_NONE},
        [MAX_OUTPUT_TOKENS] = {"maxOutputTokens", PS_SLICE_NONE},
        [STOP_SEQUENCES] = {"stopSequences", PS_SLICE_NONE},
        [SEED] = {"seed", PS_SLICE_NONE},
        [PRESENCE_PENALTY] = {"presencePenalty", PS_SLICE_NONE},
        [FREQUENCY_PENALTY] = {"frequencyPenalty", PS_SLICE_NONE},
        [RESPONSE_LOGPROBS] = {"responseLogprobs", PS_SLICE_NONE},
        [LOGPROBS] = {"logprobs", PS_SLICE_NONE},
        [MIME_TYPE] = {"responseMimeType", PS_SLICE_NONE},
        [SCHEMA] = {"responseSchema", PS_SLICE_NONE},
        [JSON_SCHEMA] = {"responseJsonSchema", PS_SLICE_NONE},
        [MODALITIES] = {"responseModalities", PS_SLICE_NONE},
        [THINKING] = {"thinkingConfig", PS_SLICE_NONE},
    };
    const struct ps_neutral_at at = {top, "generationConfig", PS_NEUTRAL_NO_INDEX};

    if (ps_build_object(build, top, "generationConfig", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_gemini_members(build, &at, raw, fields, FIELDS) != 0 ||
        read_sampling(build, &at, fields) != 0 || read_format(build, &at, fields) != 0 ||
        read_modalities(build, &at, fields[MODALITIES].raw) != 0) {
        return -1;
    }
    return read_thinking(build, &at, fields[THINKING].raw);
}
