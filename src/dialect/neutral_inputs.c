/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"

#include "penstock/base/json_scan.h"

static bool is_text(struct ps_neutral_build *build, struct ps_slice raw)
{
    return ps_raw_says(raw) ||
           (build->neutral->operation == PS_OP_RERANK && ps_raw_begins(raw, '{'));
}

static int bad_text(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    struct ps_slice raw)
{
    if (ps_raw_begins(raw, '[') || (raw.len > 0 && ps_json_int(raw, &(int64_t){0}))) {
        return ps_build_bad(build, at, NULL,
                            "must be text: tokens cannot be translated for the provider of this "
                            "model.");
    }
    return ps_build_expected(build, at, NULL, "a string that is not empty");
}

int ps_build_inputs(struct ps_neutral_build *build, const char *name, struct ps_slice raw)
{
    bool list = ps_raw_begins(raw, '[');
    size_t count = list ? ps_build_count(raw) : 1;
    struct ps_neutral_at at = {NULL, name, PS_NEUTRAL_NO_INDEX};
    struct ps_json_walk walk;
    struct ps_slice *inputs;

    if (raw.len == 0) {
        return ps_build_missing(build, NULL, name);
    }
    if (count == 0 || count > PS_NEUTRAL_INPUTS) {
        return ps_build_expected(build, NULL, name,
                                 "a string or an array of 1 to "
                                 "4096 strings");
    }
    inputs = ps_build_array(build, count, sizeof(*inputs));
    if (inputs == NULL) {
        return -1;
    }
    build->neutral->inputs = inputs;
    build->neutral->input_count = count;
    build->neutral->input_name = name;
    build->neutral->input_single = !list;
    if (!list) {
        inputs[0] = raw;
        return is_text(build, raw) ? 0 : bad_text(build, &at, raw);
    }
    ps_json_walk_init(&walk, raw);
    for (at.index = 0; at.index < count && ps_json_walk_element(&walk, &inputs[at.index]);
         at.index++) {
        if (!is_text(build, inputs[at.index])) {
            return bad_text(build, &at, inputs[at.index]);
        }
    }
    return 0;
}
