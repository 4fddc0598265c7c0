/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_priv.h"

/* What models that take a text make of a request: see plain_priv.h. */

#define PATH_MAX_BYTES 2048

static bool is_one(struct ps_slice raw)
{
    int64_t number;

    return raw.len == 0 || (ps_json_int(raw, &number) && number == 1);
}

static int refuse(struct ps_encode *encode, unsigned takes)
{
    const struct ps_neutral *neutral = encode->neutral;
    bool calls = ps_encode_tool_count(encode) > 0 && neutral->tool_choice != PS_CHOICE_NONE;
    bool formats =
        neutral->format == PS_FORMAT_JSON_OBJECT || neutral->format == PS_FORMAT_JSON_SCHEMA;
    const struct {
        bool refused;
        const char *name;
    } fields[] = {
        {calls, "tools"},
        {!is_one(neutral->n), "n"},
        {!is_one(neutral->best_of) && (takes & PS_PLAIN_BEST_OF) == 0, "best_of"},
        {neutral->logprobs, "logprobs"},
        {neutral->web_search.len > 0, "web_search_options"},
        {ps_raw_says(neutral->suffix), "suffix"},
        {neutral->echo && (takes & PS_PLAIN_ECHO) == 0, "echo"},
        {formats && (takes & PS_PLAIN_FORMAT) == 0, "response_format"},
        {neutral->stop_count > 0 && (takes & PS_PLAIN_STOP) == 0,
         neutral->stop_name != NULL ? neutral->stop_name : "stop"},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].refused) {
            return ps_encode_unsupported(encode, fields[i].name);
        }
    }
    if (neutral->operation == PS_OP_COMPLETE && neutral->input_count != 1) {
        return ps_encode_bad_at(encode, NULL, "prompt", "a single text");
    }
    return 0;
}

/* What one has said about tools that are not to be called, and about thinking. */
static int drop_words(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    const struct {
        bool given;
        const char *name;
    } fields[] = {
        {neutral->tool_count > 0, "tools"},
        {neutral->effort != PS_EFFORT_NONE_GIVEN && neutral->effort != PS_EFFORT_OFF,
         "reasoning_effort"},
        {neutral->thinking == PS_THINKING_ON || neutral->thinking == PS_THINKING_ADAPTIVE,
         "thinking"},
        {neutral->store == PS_TRI_YES, "store"},
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].given && ps_drop(encode, fields[i].name) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_plain_check(struct ps_encode *encode, unsigned takes)
{
    const struct ps_neutral *neutral = encode->neutral;
    const struct {
        unsigned field; /* 0: nobody takes it */
        const char *name;
        struct ps_slice raw;
    } fields[] = {
        {PS_PLAIN_MAX_TOKENS,
         neutral->max_tokens_name != NULL ? neutral->max_tokens_name : "max_tokens",
         neutral->max_tokens},
        {PS_PLAIN_TEMPERATURE, "temperature", neutral->temperature},
        {PS_PLAIN_TOP_P, "top_p", neutral->top_p},
        {PS_PLAIN_TOP_K, "top_k", neutral->top_k},
        {PS_PLAIN_MIN_P, "min_p", neutral->min_p},
        {PS_PLAIN_SEED, "seed", neutral->seed},
        {PS_PLAIN_PRESENCE, "presence_penalty", neutral->presence_penalty},
        {PS_PLAIN_FREQUENCY, "frequency_penalty", neutral->frequency_penalty},
        {PS_PLAIN_REPETITION, "repetition_penalty", neutral->repetition_penalty},
        {0, "logit_bias", neutral->logit_bias},
        {0, "user", neutral->user},
        {0, "metadata", neutral->metadata},
        {0, "service_tier", neutral->service_tier},
        {0, "verbosity", neutral->verbosity},
        {0, "prompt_cache_key", neutral->cache_key},
        {0, "cache_control", neutral->cache_control},
    };

    if (refuse(encode, takes) != 0 || drop_words(encode) != 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if ((takes & fields[i].field) == 0 &&
            ps_drop_raw(encode, fields[i].name, fields[i].raw) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_plain_check_embed(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    encode->ret->stream = false;
    encode->ret->accept = PS_SLICE_LIT("application/json");
    if (neutral->dimensions.len > 0) {
        return ps_encode_unsupported(encode, "dimensions");
    }
    if (ps_drop_raw(encode, "input_type", neutral->input_type) != 0 ||
        ps_drop_raw(encode, "user", neutral->user) != 0) {
        return -1;
    }
    return ps_drop_extras(encode);
}

int ps_plain_prompt(struct ps_encode *encode)
{
    if (encode->neutral->operation == PS_OP_COMPLETE) {
        ps_out_raw(&encode->out, encode->neutral->inputs[0]);
        return 0;
    }
    return ps_encode_prompt_text(encode);
}

void ps_plain_inputs(struct ps_encode *encode)
{
    ps_out_open(&encode->out, '[');
    for (size_t i = 0; i < encode->neutral->input_count; i++) {
        ps_out_raw(&encode->out, encode->neutral->inputs[i]);
    }
    ps_out_close(&encode->out, ']');
}

void ps_plain_stops(struct ps_encode *encode)
{
    ps_out_open(&encode->out, '[');
    for (size_t i = 0; i < encode->neutral->stop_count; i++) {
        ps_out_raw(&encode->out, encode->neutral->stops[i]);
    }
    ps_out_close(&encode->out, ']');
}

int ps_plain_extras(struct ps_encode *encode)
{
    return encode->settings->self_hosted ? ps_encode_extras(encode) : ps_drop_extras(encode);
}

struct ps_slice ps_plain_path(struct ps_encode *encode, struct ps_slice path)
{
    static const struct ps_slice place = PS_SLICE_INIT("{model}");
    struct ps_slice model = ps_encode_segment(encode->arena, encode->model, false);
    struct ps_slice made = PS_SLICE_NONE;
    struct ps_buf buf;
    size_t i = 0;

    ps_buf_init(&buf, PATH_MAX_BYTES);
    while (i < path.len) {
        if (ps_slice_starts(ps_slice(path.ptr + i, path.len - i), place)) {
            ps_buf_slice(&buf, model);
            i += place.len;
        } else {
            ps_buf_byte(&buf, path.ptr[i++]);
        }
    }
    if (buf.failed || model.ptr == NULL) {
        (void)ps_fault_set(encode->fault, PS_FAULT_BAD_FIELD, "model",
                           "The model's name is too long.");
    } else {
        made = ps_arena_copy(encode->arena, ps_buf_view(&buf));
        if (made.ptr == NULL) {
            (void)ps_encode_no_memory(encode);
        }
    }
    ps_buf_deinit(&buf);
    return made;
}
