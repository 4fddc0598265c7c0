/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "tgi_priv.h"

/*
 * A request of TGI's shape as a neutral one: `inputs` is one message of the user. What TGI alone
 * can do is refused where the answer would be another without it.
 */

static const struct ps_neutral_at params_at = {NULL, "parameters", PS_NEUTRAL_NO_INDEX};
static const struct ps_neutral_at grammar_at = {&params_at, "grammar", PS_NEUTRAL_NO_INDEX};
static const struct ps_neutral_at value_at = {&grammar_at, "value", PS_NEUTRAL_NO_INDEX};

enum {
    MAX_NEW_TOKENS,
    TEMPERATURE,
    TOP_P,
    TOP_K,
    TYPICAL_P,
    REPETITION_PENALTY,
    FREQUENCY_PENALTY,
    SEED,
    STOP,
    DO_SAMPLE,
    BEST_OF,
    RETURN_FULL_TEXT,
    TRUNCATE,
    WATERMARK,
    DETAILS,
    DECODER_INPUT_DETAILS,
    TOP_N_TOKENS,
    GRAMMAR,
    ADAPTER_ID,
    MEMBERS
};

/* ---- grammar ---- */

/* A schema as an object, or as a string that holds one. */
static int take_schema(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice raw)
{
    struct ps_slice object = raw;

    if (!ps_raw_given(raw)) {
        return ps_build_missing(build, at, name);
    }
    if (ps_build_arguments(build, at, name, raw, &object) != 0) {
        return -1;
    }
    build->neutral->format = PS_FORMAT_JSON_SCHEMA;
    return ps_build_schema(build, at, name, object, false, &build->neutral->schema);
}

static int take_grammar(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const char *const types[] = {"json", "json_schema", "regex", NULL};
    struct ps_build_member m[] = {{"type", PS_SLICE_NONE}, {"value", PS_SLICE_NONE}};
    struct ps_build_member config[] = {{"name", PS_SLICE_NONE}, {"schema", PS_SLICE_NONE}};
    int type = -1;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &params_at, "grammar", "an object");
    }
    if (ps_build_members(build, &grammar_at, raw, m, 2) != 0 ||
        ps_build_word(build, &grammar_at, "type", m[0].raw, types, &type) != 0) {
        return -1;
    }
    if (type < 0) {
        return ps_build_missing(build, &grammar_at, "type");
    }
    if (type == 2) {
        return ps_build_unsupported(build, &grammar_at, "type");
    }
    if (type == 0) {
        return take_schema(build, &grammar_at, "value", m[1].raw);
    }
    if (!ps_raw_begins(m[1].raw, '{')) {
        return ps_build_expected(build, &grammar_at, "value", "an object");
    }
    if (ps_build_members(build, &value_at, m[1].raw, config, 2) != 0 ||
        ps_build_string(build, &value_at, "name", config[0].raw, &build->neutral->schema_name) !=
            0) {
        return -1;
    }
    return take_schema(build, &value_at, "schema", config[1].raw);
}

/* ---- sampling ---- */

/* Whether a number leaves the choice of a token as it is without it. */
static bool is_one(struct ps_slice raw)
{
    double value;

    return raw.len > 0 && ps_json_double(raw, &value) && value == 1;
}

static bool is_off(struct ps_slice raw)
{
    return !ps_raw_given(raw) || is_one(raw);
}

/* Without sampling TGI takes the likeliest token, unless something else asks for sampling. */
static int take_choice(struct ps_neutral_build *build, const struct ps_build_member *m)
{
    enum ps_tri sample = PS_TRI_NONE;

    if (ps_build_tri(build, &params_at, "do_sample", m[DO_SAMPLE].raw, &sample) != 0) {
        return -1;
    }
    if (sample == PS_TRI_NO && is_off(m[TEMPERATURE].raw) && is_off(m[TOP_P].raw) &&
        is_off(m[TYPICAL_P].raw) && !ps_raw_given(m[TOP_K].raw)) {
        build->neutral->temperature = PS_SLICE_LIT("0");
    }
    return 0;
}

static int take_sampling(struct ps_neutral_build *build, const struct ps_build_member *m)
{
    const struct ps_neutral_at *at = &params_at;
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice typical = PS_SLICE_NONE;

    if (ps_build_int(build, at, "max_new_tokens", m[MAX_NEW_TOKENS].raw, 1, INT32_MAX,
                     &neutral->max_tokens) != 0 ||
        ps_build_number(build, at, "temperature", m[TEMPERATURE].raw, 0, 100,
                        &neutral->temperature) != 0 ||
        ps_build_number(build, at, "top_p", m[TOP_P].raw, 0, 1, &neutral->top_p) != 0 ||
        ps_build_int(build, at, "top_k", m[TOP_K].raw, 1, INT32_MAX, &neutral->top_k) != 0 ||
        ps_build_number(build, at, "typical_p", m[TYPICAL_P].raw, 0, 1, &typical) != 0 ||
        ps_build_number(build, at, "repetition_penalty", m[REPETITION_PENALTY].raw, 0, 100,
                        &neutral->repetition_penalty) != 0 ||
        ps_build_number(build, at, "frequency_penalty", m[FREQUENCY_PENALTY].raw, -2, 2,
                        &neutral->frequency_penalty) != 0 ||
        ps_build_int(build, at, "seed", m[SEED].raw, 0, INT64_MAX, &neutral->seed) != 0 ||
        ps_build_stops(build, "parameters.stop", m[STOP].raw, false) != 0) {
        return -1;
    }
    neutral->max_tokens_name = "parameters.max_new_tokens";
    if (!is_off(typical)) {
        ps_build_extra(build, at, "typical_p", typical);
    }
    return take_choice(build, m);
}

/* ---- what only a TGI can do ---- */

static int refuse_flag(struct ps_neutral_build *build, const struct ps_build_member *member)
{
    bool wanted = false;

    if (ps_build_bool(build, &params_at, member->name, member->raw, &wanted) != 0) {
        return -1;
    }
    return wanted ? ps_build_unsupported(build, &params_at, member->name) : 0;
}

/* A count that is no more than `harmless` asks for nothing. */
static int refuse_count(struct ps_neutral_build *build, const struct ps_build_member *member,
                        int64_t harmless)
{
    struct ps_slice raw = PS_SLICE_NONE;
    int64_t count = 0;

    if (ps_build_int(build, &params_at, member->name, member->raw, 0, INT32_MAX, &raw) != 0) {
        return -1;
    }
    return raw.len > 0 && ps_json_int(raw, &count) && count > harmless
               ? ps_build_unsupported(build, &params_at, member->name)
               : 0;
}

static int refuse(struct ps_neutral_build *build, const struct ps_build_member *m)
{
    bool known = false;

    if (refuse_flag(build, &m[WATERMARK]) != 0 ||
        refuse_flag(build, &m[DECODER_INPUT_DETAILS]) != 0 ||
        refuse_count(build, &m[BEST_OF], 1) != 0 || refuse_count(build, &m[TOP_N_TOKENS], 0) != 0 ||
        ps_build_bool(build, &params_at, "details", m[DETAILS].raw, &known) != 0 ||
        ps_build_bool(build, &params_at, "return_full_text", m[RETURN_FULL_TEXT].raw, &known) !=
            0) {
        return -1;
    }
    if (ps_raw_given(m[TRUNCATE].raw)) {
        return ps_build_unsupported(build, &params_at, "truncate");
    }
    return ps_raw_given(m[ADAPTER_ID].raw) ? ps_build_unsupported(build, &params_at, "adapter_id")
                                           : 0;
}

/* ---- the whole ---- */

static int take_params(struct ps_neutral_build *build, struct ps_slice raw)
{
    struct ps_build_member m[MEMBERS] = {
        [MAX_NEW_TOKENS] = {"max_new_tokens", PS_SLICE_NONE},
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [TOP_P] = {"top_p", PS_SLICE_NONE},
        [TOP_K] = {"top_k", PS_SLICE_NONE},
        [TYPICAL_P] = {"typical_p", PS_SLICE_NONE},
        [REPETITION_PENALTY] = {"repetition_penalty", PS_SLICE_NONE},
        [FREQUENCY_PENALTY] = {"frequency_penalty", PS_SLICE_NONE},
        [SEED] = {"seed", PS_SLICE_NONE},
        [STOP] = {"stop", PS_SLICE_NONE},
        [DO_SAMPLE] = {"do_sample", PS_SLICE_NONE},
        [BEST_OF] = {"best_of", PS_SLICE_NONE},
        [RETURN_FULL_TEXT] = {"return_full_text", PS_SLICE_NONE},
        [TRUNCATE] = {"truncate", PS_SLICE_NONE},
        [WATERMARK] = {"watermark", PS_SLICE_NONE},
        [DETAILS] = {"details", PS_SLICE_NONE},
        [DECODER_INPUT_DETAILS] = {"decoder_input_details", PS_SLICE_NONE},
        [TOP_N_TOKENS] = {"top_n_tokens", PS_SLICE_NONE},
        [GRAMMAR] = {"grammar", PS_SLICE_NONE},
        [ADAPTER_ID] = {"adapter_id", PS_SLICE_NONE},
    };

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, NULL, "parameters", "an object");
    }
    if (ps_build_members(build, &params_at, raw, m, MEMBERS) != 0 || refuse(build, m) != 0 ||
        take_sampling(build, m) != 0) {
        return -1;
    }
    return take_grammar(build, m[GRAMMAR].raw);
}

int ps_tgi_neutral(const struct ps_request *request, struct ps_arena *arena, struct ps_neutral *ret,
                   struct ps_fault *ret_fault)
{
    struct ps_build_member m[] = {{"inputs", PS_SLICE_NONE},
                                  {"parameters", PS_SLICE_NONE},
                                  {"stream", PS_SLICE_NONE},
                                  {"model", PS_SLICE_NONE}};
    struct ps_neutral_build build;

    if (ps_build_begin(&build, request, arena, ret, ret_fault) != 0 ||
        ps_build_members(&build, NULL, build.body, m, sizeof(m) / sizeof(m[0])) != 0 ||
        ps_generate_user(&build, "inputs", m[0].raw) != 0 || take_params(&build, m[1].raw) != 0) {
        return -1;
    }
    ps_build_end(&build);
    return 0;
}
