/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "neutral_build.h"

/*
 * SGLang's own /generate: {"text":"…","sampling_params":{…},"stream":…}. Both of the first together
 * are a shape that cannot be meant for ours; the answer is ours, which has a "text" too.
 */

static const struct ps_neutral_at params_at = {NULL, "sampling_params", PS_NEUTRAL_NO_INDEX};

static int take_params(struct ps_neutral_build *build, struct ps_slice params,
                       struct ps_generate_values *values)
{
    enum {
        MAX_NEW_TOKENS,
        TEMPERATURE,
        TOP_P,
        SEED,
        STOP,
        MEMBERS
    };
    struct ps_build_member m[MEMBERS] = {
        [MAX_NEW_TOKENS] = {"max_new_tokens", PS_SLICE_NONE},
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [TOP_P] = {"top_p", PS_SLICE_NONE},
        [SEED] = {"sampling_seed", PS_SLICE_NONE},
        [STOP] = {"stop", PS_SLICE_NONE},
    };
    const struct ps_neutral_at *at = &params_at;

    if (ps_build_members(build, at, params, m, MEMBERS) != 0 ||
        ps_build_int(build, at, m[MAX_NEW_TOKENS].name, m[MAX_NEW_TOKENS].raw, 1, INT32_MAX,
                     &values->max_tokens) != 0 ||
        ps_build_number(build, at, m[TEMPERATURE].name, m[TEMPERATURE].raw, 0, 100,
                        &values->temperature) != 0 ||
        ps_build_number(build, at, m[TOP_P].name, m[TOP_P].raw, 0, 1, &values->top_p) != 0 ||
        ps_build_int(build, at, m[SEED].name, m[SEED].raw, INT64_MIN, INT64_MAX, &values->seed) !=
            0 ||
        ps_build_stops(build, "sampling_params.stop", m[STOP].raw, true) != 0) {
        return -1;
    }
    values->stop = m[STOP].raw;
    ps_build_end(build);
    if (build->neutral->extra_count > 0) {
        char path[PS_FAULT_PARAM];

        ps_neutral_path(path, &build->neutral->extras[0].at, NULL);
        return ps_fault_set(build->fault, PS_FAULT_UNKNOWN_FIELD, path,
                            "The field \"%s\" is unknown.", path);
    }
    return 0;
}

int ps_generate_sglang(const struct ps_request *request, struct ps_arena *arena,
                       struct ps_generate_values *values, bool *ret_taken,
                       struct ps_fault *ret_fault)
{
    enum {
        TEXT,
        PARAMS,
        STREAM,
        MODEL,
        BACKGROUND,
        WEBHOOK,
        MEMBERS
    };
    struct ps_build_member m[MEMBERS] = {
        [TEXT] = {"text", PS_SLICE_NONE},
        [PARAMS] = {"sampling_params", PS_SLICE_NONE},
        [STREAM] = {"stream", PS_SLICE_NONE},
        [MODEL] = {"model", PS_SLICE_NONE},
        [BACKGROUND] = {"background", PS_SLICE_NONE},
        [WEBHOOK] = {"webhook", PS_SLICE_NONE},
    };
    struct ps_neutral *neutral = ps_arena_calloc(arena, sizeof(*neutral));
    struct ps_neutral_build build;

    *ret_taken = false;
    if (neutral == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    if (ps_build_begin(&build, request, arena, neutral, ret_fault) != 0 ||
        ps_build_members(&build, NULL, build.body, m, MEMBERS) != 0) {
        return -1;
    }
    ps_build_end(&build);
    if (neutral->extra_count > 0 || !ps_raw_begins(m[TEXT].raw, '"') ||
        !ps_raw_begins(m[PARAMS].raw, '{')) {
        return 0;
    }
    if (!ps_raw_says(m[TEXT].raw)) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "text", "text must not be empty.");
    }
    values->prompt = m[TEXT].raw;
    *ret_taken = true;
    if (m[BACKGROUND].raw.len > 0 || m[WEBHOOK].raw.len > 0) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "background",
                            "Jobs are asked for with a prompt, not with text and sampling_params.");
    }
    return take_params(&build, m[PARAMS].raw, values);
}
