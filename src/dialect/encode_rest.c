/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include "penstock/base/json_scan.h"

/* What a request has beside its conversation, held against what a target takes. */

static bool is_one(struct ps_slice raw)
{
    int64_t number;

    return raw.len == 0 || (ps_json_int(raw, &number) && number == 1);
}

int ps_encode_refuse_rest(struct ps_encode *encode, unsigned takes)
{
    const struct ps_neutral *neutral = encode->neutral;
    const struct {
        bool given;
        enum ps_takes field;
        const char *name;
    } fields[] = {
        {!is_one(neutral->n), PS_TAKES_N, "n"},
        {!is_one(neutral->best_of), PS_TAKES_BEST_OF, "best_of"},
        {neutral->logprobs, PS_TAKES_LOGPROBS,
         neutral->logprobs_name != NULL ? neutral->logprobs_name : "logprobs"},
        {neutral->web_search.len > 0, PS_TAKES_WEB_SEARCH, "web_search_options"},
        {neutral->suffix.len > 2, PS_TAKES_SUFFIX, "suffix"},
        {neutral->echo, PS_TAKES_ECHO, "echo"},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].given && (takes & fields[i].field) == 0) {
            return ps_encode_unsupported(encode, fields[i].name);
        }
    }
    return 0;
}

int ps_encode_drop_rest(struct ps_encode *encode, unsigned takes)
{
    const struct ps_neutral *neutral = encode->neutral;
    const char *max_tokens =
        neutral->max_tokens_name != NULL ? neutral->max_tokens_name : "max_tokens";
    const struct {
        unsigned field; /* 0: nobody takes it */
        const char *name;
        struct ps_slice raw;
    } fields[] = {
        {PS_TAKES_MAX_TOKENS, max_tokens, neutral->max_tokens},
        {PS_TAKES_TEMPERATURE, "temperature", neutral->temperature},
        {PS_TAKES_TOP_P, "top_p", neutral->top_p},
        {PS_TAKES_TOP_K, "top_k", neutral->top_k},
        {PS_TAKES_MIN_P, "min_p", neutral->min_p},
        {PS_TAKES_SEED, "seed", neutral->seed},
        {PS_TAKES_PRESENCE, "presence_penalty", neutral->presence_penalty},
        {PS_TAKES_FREQUENCY, "frequency_penalty", neutral->frequency_penalty},
        {PS_TAKES_REPETITION, "repetition_penalty", neutral->repetition_penalty},
        {0, "logit_bias", neutral->logit_bias},
        {PS_TAKES_USER, "user", neutral->user},
        {0, "metadata", neutral->metadata},
        {PS_TAKES_SERVICE_TIER, "service_tier", neutral->service_tier},
        {0, "verbosity", neutral->verbosity},
        {0, "prompt_cache_key", neutral->cache_key},
        {PS_TAKES_CACHE_CONTROL, "cache_control", neutral->cache_control},
        {PS_TAKES_INPUT_TYPE, "input_type", neutral->input_type},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if ((takes & fields[i].field) == 0 &&
            ps_drop_raw(encode, fields[i].name, fields[i].raw) != 0) {
            return -1;
        }
    }
    return neutral->store == PS_TRI_YES ? ps_drop(encode, "store") : 0;
}

int ps_encode_all_extras(struct ps_encode *encode)
{
    return encode->settings->self_hosted ? ps_encode_extras(encode) : ps_drop_extras(encode);
}

int ps_encode_function(struct ps_encode *encode, const struct ps_neutral_tool *tool)
{
    struct ps_json_out *out = &encode->out;

    if (tool->kind != PS_TOOL_FUNCTION) {
        return ps_encode_unsupported_at(encode, &tool->at, "type");
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "function");
    ps_out_key(out, "function");
    ps_out_open(out, '{');
    ps_out_member(out, "name", tool->name);
    ps_out_member(out, "description", tool->description);
    ps_out_member(out, "parameters",
                  tool->parameters.len > 0
                      ? tool->parameters
                      : PS_SLICE_LIT("{\"type\":\"object\",\"properties\":{}}"));
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return ps_drop_raw(encode, "cache_control", tool->cache_control);
}

int ps_encode_operation(struct ps_encode *encode, const struct ps_encode_operation *operations,
                        const char **ret_path)
{
    const struct ps_encode_operation *found = &operations[encode->neutral->operation];

    if (found->write == NULL) {
        return ps_encode_unsupported(encode, "this operation");
    }
    if (ret_path != NULL) {
        *ret_path = found->path;
    }
    return found->write(encode);
}
