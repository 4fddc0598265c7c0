/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "neutral_build.h"

/*
 * SGLang's own /generate: {"text":"…","sampling_params":{…},"stream":…}, as a neutral request. Its
 * clients send every parameter, most of them at a value that asks for nothing. What SGLang alone
 * can do is refused where the answer would be another without it.
 */

static const struct ps_neutral_at params_at = {NULL, "sampling_params", PS_NEUTRAL_NO_INDEX};

enum {
    MAX_NEW_TOKENS,
    MIN_NEW_TOKENS,
    N,
    TEMPERATURE,
    TOP_P,
    TOP_K,
    MIN_P,
    FREQUENCY_PENALTY,
    PRESENCE_PENALTY,
    REPETITION_PENALTY,
    SEED,
    STOP,
    STOP_TOKEN_IDS,
    STOP_REGEX,
    IGNORE_EOS,
    JSON_SCHEMA,
    REGEX,
    EBNF,
    STRUCTURAL_TAG,
    SKIP_SPECIAL_TOKENS,
    SPACES_BETWEEN,
    NO_STOP_TRIM,
    MEMBERS
};

/* ---- values that ask for nothing ---- */

static bool is_nothing(struct ps_slice raw)
{
    static const char *const words[] = {"false", "[]", "{}", "\"\"", "0", "-1", "0.0"};

    if (!ps_raw_given(raw)) {
        return true;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ps_slice_eq_cstr(raw, words[i])) {
            return true;
        }
    }
    return raw.ptr[0] == '[' && ps_build_count(raw) == 0;
}

/* Those of `m` from `first` to `last` that ask for something. */
static int refuse(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                  const struct ps_build_member *m, size_t first, size_t last)
{
    for (size_t i = first; i <= last; i++) {
        if (!is_nothing(m[i].raw)) {
            return ps_build_unsupported(build, at, m[i].name);
        }
    }
    return 0;
}

/* ---- sampling_params ---- */

static int take_numbers(struct ps_neutral_build *build, const struct ps_build_member *m)
{
    const struct ps_neutral_at *at = &params_at;
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice top_k = PS_SLICE_NONE;
    int64_t number = 0;

    if (ps_build_int(build, at, m[MAX_NEW_TOKENS].name, m[MAX_NEW_TOKENS].raw, 1, INT32_MAX,
                     &neutral->max_tokens) != 0 ||
        ps_build_number(build, at, m[TEMPERATURE].name, m[TEMPERATURE].raw, 0, 100,
                        &neutral->temperature) != 0 ||
        ps_build_number(build, at, m[TOP_P].name, m[TOP_P].raw, 0, 1, &neutral->top_p) != 0 ||
        ps_build_int(build, at, m[TOP_K].name, m[TOP_K].raw, -1, INT32_MAX, &top_k) != 0 ||
        ps_build_int(build, at, m[SEED].name, m[SEED].raw, INT64_MIN, INT64_MAX, &neutral->seed) !=
            0) {
        return -1;
    }
    neutral->max_tokens_name = "sampling_params.max_new_tokens";
    if (top_k.len > 0 && ps_json_int(top_k, &number) && number > 0) {
        neutral->top_k = top_k; /* else it is off */
    }
    return 0;
}

/* A number that is written only when it does something: not `off`. */
static int take_unless(struct ps_neutral_build *build, const struct ps_build_member *member,
                       double low, double high, double off, struct ps_slice *ret)
{
    struct ps_slice raw = PS_SLICE_NONE;
    double value = off;

    if (ps_build_number(build, &params_at, member->name, member->raw, low, high, &raw) != 0) {
        return -1;
    }
    if (raw.len > 0 && ps_json_double(raw, &value) && (value < off || value > off)) {
        *ret = raw;
    }
    return 0;
}

static int take_penalties(struct ps_neutral_build *build, const struct ps_build_member *m)
{
    struct ps_neutral *neutral = build->neutral;

    if (take_unless(build, &m[MIN_P], 0, 1, 0, &neutral->min_p) != 0 ||
        take_unless(build, &m[FREQUENCY_PENALTY], -2, 2, 0, &neutral->frequency_penalty) != 0 ||
        take_unless(build, &m[PRESENCE_PENALTY], -2, 2, 0, &neutral->presence_penalty) != 0) {
        return -1;
    }
    return take_unless(build, &m[REPETITION_PENALTY], 0, 100, 1, &neutral->repetition_penalty);
}

/* A schema is a string that holds one. */
static int take_schema(struct ps_neutral_build *build, const struct ps_build_member *member)
{
    struct ps_slice object = PS_SLICE_NONE;

    if (is_nothing(member->raw)) {
        return 0;
    }
    build->neutral->format = PS_FORMAT_JSON_SCHEMA;
    return ps_build_arguments(build, &params_at, member->name, member->raw, &object) != 0
               ? -1
               : ps_build_schema(build, &params_at, member->name, object, false,
                                 &build->neutral->schema);
}

static int take_rest(struct ps_neutral_build *build, const struct ps_build_member *m)
{
    struct ps_slice n = PS_SLICE_NONE;
    int64_t count = 1;

    if (ps_build_int(build, &params_at, m[N].name, m[N].raw, 1, 128, &n) != 0) {
        return -1;
    }
    if (n.len > 0 && ps_json_int(n, &count) && count > 1) {
        return ps_build_unsupported(build, &params_at, m[N].name);
    }
    for (size_t i = SKIP_SPECIAL_TOKENS; i <= SPACES_BETWEEN; i++) {
        if (ps_raw_begins(m[i].raw, 'f')) {
            ps_build_extra(build, &params_at, m[i].name, m[i].raw);
        }
    }
    if (!is_nothing(m[MIN_NEW_TOKENS].raw)) {
        ps_build_extra(build, &params_at, m[MIN_NEW_TOKENS].name, m[MIN_NEW_TOKENS].raw);
    }
    if (!is_nothing(m[NO_STOP_TRIM].raw)) {
        ps_build_extra(build, &params_at, m[NO_STOP_TRIM].name, m[NO_STOP_TRIM].raw);
    }
    return refuse(build, &params_at, m, STOP_TOKEN_IDS, IGNORE_EOS) != 0 ||
                   refuse(build, &params_at, m, REGEX, STRUCTURAL_TAG) != 0
               ? -1
               : take_schema(build, &m[JSON_SCHEMA]);
}

static int take_params(struct ps_neutral_build *build, struct ps_slice raw)
{
    struct ps_build_member m[MEMBERS] = {
        [MAX_NEW_TOKENS] = {"max_new_tokens", PS_SLICE_NONE},
        [MIN_NEW_TOKENS] = {"min_new_tokens", PS_SLICE_NONE},
        [N] = {"n", PS_SLICE_NONE},
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [TOP_P] = {"top_p", PS_SLICE_NONE},
        [TOP_K] = {"top_k", PS_SLICE_NONE},
        [MIN_P] = {"min_p", PS_SLICE_NONE},
        [FREQUENCY_PENALTY] = {"frequency_penalty", PS_SLICE_NONE},
        [PRESENCE_PENALTY] = {"presence_penalty", PS_SLICE_NONE},
        [REPETITION_PENALTY] = {"repetition_penalty", PS_SLICE_NONE},
        [SEED] = {"sampling_seed", PS_SLICE_NONE},
        [STOP] = {"stop", PS_SLICE_NONE},
        [STOP_TOKEN_IDS] = {"stop_token_ids", PS_SLICE_NONE},
        [STOP_REGEX] = {"stop_regex", PS_SLICE_NONE},
        [IGNORE_EOS] = {"ignore_eos", PS_SLICE_NONE},
        [JSON_SCHEMA] = {"json_schema", PS_SLICE_NONE},
        [REGEX] = {"regex", PS_SLICE_NONE},
        [EBNF] = {"ebnf", PS_SLICE_NONE},
        [STRUCTURAL_TAG] = {"structural_tag", PS_SLICE_NONE},
        [SKIP_SPECIAL_TOKENS] = {"skip_special_tokens", PS_SLICE_NONE},
        [SPACES_BETWEEN] = {"spaces_between_special_tokens", PS_SLICE_NONE},
        [NO_STOP_TRIM] = {"no_stop_trim", PS_SLICE_NONE},
    };

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, NULL, "sampling_params", "an object");
    }
    return ps_build_members(build, &params_at, raw, m, MEMBERS) != 0 ||
                   take_numbers(build, m) != 0 || take_penalties(build, m) != 0 ||
                   ps_build_stops(build, "sampling_params.stop", m[STOP].raw, true) != 0 ||
                   take_rest(build, m) != 0
               ? -1
               : 0;
}

/* ---- the whole ---- */

int ps_generate_sglang(const struct ps_request *request, struct ps_arena *arena,
                       struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    enum {
        TEXT,
        PARAMS,
        STREAM,
        MODEL,
        FIRST_OTHER,
        LAST_OTHER = FIRST_OTHER + 9,
        ALL
    };
    struct ps_build_member m[ALL] = {
        [TEXT] = {"text", PS_SLICE_NONE},
        [PARAMS] = {"sampling_params", PS_SLICE_NONE},
        [STREAM] = {"stream", PS_SLICE_NONE},
        [MODEL] = {"model", PS_SLICE_NONE},
        [FIRST_OTHER] = {"input_ids", PS_SLICE_NONE},
        {"input_embeds", PS_SLICE_NONE},
        {"image_data", PS_SLICE_NONE},
        {"audio_data", PS_SLICE_NONE},
        {"video_data", PS_SLICE_NONE},
        {"return_logprob", PS_SLICE_NONE},
        {"return_hidden_states", PS_SLICE_NONE},
        {"lora_path", PS_SLICE_NONE},
        {"custom_logit_processor", PS_SLICE_NONE},
        {"session_params", PS_SLICE_NONE},
    };
    struct ps_neutral_build build;

    if (ps_build_begin(&build, request, arena, ret, ret_fault) != 0 ||
        ps_build_members(&build, NULL, build.body, m, ALL) != 0 ||
        refuse(&build, NULL, m, FIRST_OTHER, LAST_OTHER) != 0 ||
        ps_generate_user(&build, "text", m[TEXT].raw) != 0 ||
        take_params(&build, m[PARAMS].raw) != 0) {
        return -1;
    }
    ps_build_end(&build);
    return 0;
}
