/* SPDX-License-Identifier: Apache-2.0 */
#include "tgi_priv.h"

/* {"inputs":"…","parameters":{…}} */

static bool is_above(struct ps_slice raw, double low)
{
    double value;

    return raw.len > 0 && ps_json_double(raw, &value) && value > low;
}

/*
 * It takes temperatures above 0 and top_p between 0 and 1 only: none of the two at its limit says
 * what leaving it out says. A temperature of 0 is no sampling.
 */
static int write_sampling(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool warm = is_above(neutral->temperature, 0);
    bool cold = neutral->temperature.len > 0 && !warm;
    double top_p;
    int64_t number;

    if (cold) {
        ps_out_member_bool(out, "do_sample", false);
    } else if (warm || neutral->top_p.len > 0 || neutral->top_k.len > 0) {
        ps_out_member_bool(out, "do_sample", true);
    }
    if (warm) {
        ps_out_member(out, "temperature", neutral->temperature);
    }
    if (neutral->top_p.len > 0 && ps_json_double(neutral->top_p, &top_p) && top_p < 1) {
        if (top_p > 0) {
            ps_out_member(out, "top_p", neutral->top_p);
        } else if (ps_drop(encode, "top_p") != 0) {
            return -1;
        }
    }
    if (neutral->top_k.len > 0 && ps_json_int(neutral->top_k, &number) && number > 0) {
        ps_out_member(out, "top_k", neutral->top_k); /* else it is off */
    }
    if (neutral->seed.len > 0 && ps_json_int(neutral->seed, &number) && number >= 0) {
        ps_out_member(out, "seed", neutral->seed);
    } else if (ps_drop_raw(encode, "seed", neutral->seed) != 0) {
        return -1;
    }
    if (is_above(neutral->repetition_penalty, 0)) {
        ps_out_member(out, "repetition_penalty", neutral->repetition_penalty);
    }
    return ps_encode_clamped(encode, "frequency_penalty", neutral->frequency_penalty, -2, 2,
                             "frequency_penalty");
}

static void write_grammar(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->format != PS_FORMAT_JSON_OBJECT && neutral->format != PS_FORMAT_JSON_SCHEMA) {
        return;
    }
    ps_out_key(out, "grammar");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "json");
    ps_out_member(out, "value",
                  neutral->format == PS_FORMAT_JSON_SCHEMA && neutral->schema.len > 0
                      ? neutral->schema
                      : PS_SLICE_LIT("{\"type\":\"object\"}"));
    ps_out_close(out, '}');
}

static int write_parameters(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    ps_out_key(out, "parameters");
    ps_out_open(out, '{');
    ps_out_member(out, "max_new_tokens", neutral->max_tokens);
    if (write_sampling(encode) != 0) {
        return -1;
    }
    if (neutral->stop_count > 0) {
        ps_out_key(out, "stop");
        ps_out_array(&encode->out, encode->neutral->stops, encode->neutral->stop_count);
    }
    write_grammar(encode);
    ps_out_member(out, "best_of", neutral->best_of);
    if (neutral->echo) {
        ps_out_member_bool(out, "return_full_text", true);
    }
    ps_out_member_bool(out, "details", true);
    if (ps_encode_all_extras(encode) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    return 0;
}

int ps_tgi_encode_neutral(struct ps_encode *encode)
{
    struct ps_json_out *out = &encode->out;
    bool stream = encode->neutral->stream;
    unsigned takes = PS_TAKES_MAX_TOKENS | PS_TAKES_TEMPERATURE | PS_TAKES_TOP_P | PS_TAKES_TOP_K |
                     PS_TAKES_SEED | PS_TAKES_FREQUENCY | PS_TAKES_REPETITION | PS_TAKES_STOP |
                     PS_TAKES_FORMAT;

    /* A stream of tokens has neither the prompt's nor those of several tries. */
    if (ps_plain_check(encode, takes | (stream ? 0U : PS_TAKES_ECHO | PS_TAKES_BEST_OF)) != 0) {
        return -1;
    }
    encode->ret->path = stream ? PS_SLICE_LIT("/generate_stream") : PS_SLICE_LIT("/generate");
    ps_out_open(out, '{');
    ps_out_key(out, "inputs");
    if (ps_plain_prompt(encode) != 0 || write_parameters(encode) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    return 0;
}

int ps_tgi_encode(const struct ps_request *request, const struct ps_encode_options *options,
                  struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    (void)options; /* one server, one model: the body names none */
    *ret = (struct ps_encoded){
        .method = "POST",
        .path = request->stream                         ? PS_SLICE_LIT("/generate_stream")
                : (request->shape & PS_TGI_COMPAT) != 0 ? PS_SLICE_LIT("/")
                                                        : PS_SLICE_LIT("/generate"),
        .content_type = PS_SLICE_LIT("application/json"),
        .accept =
            request->stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
        .has_body = true,
        .stream = request->stream,
    };
    return ps_request_parts(request->body, NULL, 0, arena, &ret->parts, &ret->part_count,
                            &ret->length) == 0
               ? 0
               : ps_body_out_of_memory(ret_fault);
}
