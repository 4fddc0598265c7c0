/* SPDX-License-Identifier: Apache-2.0 */
#include "triton_priv.h"

#define SAMPLING_MAX (1u << 20)

/* A member whose name comes from the configuration. */
static void put_key(struct ps_json_out *out, struct ps_slice name)
{
    ps_out_text(out, name);
    ps_buf_byte(out->buf, ':');
    out->comma = false;
}

/* What the decoder compares counts with. */
static uint32_t memo_of(struct ps_slice raw)
{
    int64_t value;

    return raw.len > 0 && ps_json_int(raw, &value) && value > 0 && value < UINT32_MAX
               ? (uint32_t)value
               : 0;
}

/* ---- text ---- */

struct sampler {
    unsigned field;
    const char *vllm; /* NULL: it has none */
    const char *trtllm;
    const char *llmapi;
};

static const struct sampler samplers[] = {
    {PS_TAKES_MAX_TOKENS, "max_tokens", "max_tokens", "sampling_param_max_tokens"},
    {PS_TAKES_TEMPERATURE, "temperature", "temperature", "sampling_param_temperature"},
    {PS_TAKES_TOP_P, "top_p", "top_p", "sampling_param_top_p"},
    {PS_TAKES_TOP_K, "top_k", "top_k", "sampling_param_top_k"},
    {PS_TAKES_MIN_P, "min_p", NULL, "sampling_param_min_p"},
    {PS_TAKES_SEED, "seed", "seed", "sampling_param_seed"},
    {PS_TAKES_PRESENCE, "presence_penalty", "presence_penalty", "sampling_param_presence_penalty"},
    {PS_TAKES_FREQUENCY, "frequency_penalty", "frequency_penalty",
     "sampling_param_frequency_penalty"},
    {PS_TAKES_REPETITION, "repetition_penalty", "repetition_penalty",
     "sampling_param_repetition_penalty"},
    {PS_TAKES_STOP, "stop", "stop_words", "sampling_param_stop"},
};
#define SAMPLER_COUNT (sizeof(samplers) / sizeof(samplers[0]))

static const char *name_of(const struct sampler *sampler, enum ps_triton_shape shape)
{
    return shape == PS_TRITON_VLLM     ? sampler->vllm
           : shape == PS_TRITON_TRTLLM ? sampler->trtllm
                                       : sampler->llmapi;
}

static unsigned takes_of(enum ps_triton_shape shape)
{
    unsigned takes = shape == PS_TRITON_TRTLLM ? PS_TAKES_FORMAT : 0;

    for (size_t i = 0; i < SAMPLER_COUNT; i++) {
        takes |= name_of(&samplers[i], shape) != NULL ? samplers[i].field : 0;
    }
    return takes | PS_TAKES_ECHO;
}

static struct ps_slice value_of(const struct ps_neutral *neutral, unsigned field)
{
    switch (field) {
    case PS_TAKES_MAX_TOKENS:
        return neutral->max_tokens;
    case PS_TAKES_TEMPERATURE:
        return neutral->temperature;
    case PS_TAKES_TOP_P:
        return neutral->top_p;
    case PS_TAKES_TOP_K:
        return neutral->top_k;
    case PS_TAKES_MIN_P:
        return neutral->min_p;
    case PS_TAKES_SEED:
        return neutral->seed;
    case PS_TAKES_PRESENCE:
        return neutral->presence_penalty;
    case PS_TAKES_FREQUENCY:
        return neutral->frequency_penalty;
    case PS_TAKES_REPETITION:
        return neutral->repetition_penalty;
    default:
        return PS_SLICE_NONE;
    }
}

static void write_samplers(struct ps_encode *encode, enum ps_triton_shape shape)
{
    for (size_t i = 0; i < SAMPLER_COUNT; i++) {
        const char *name = name_of(&samplers[i], shape);

        if (name != NULL && samplers[i].field != PS_TAKES_STOP) {
            ps_out_member(&encode->out, name, value_of(encode->neutral, samplers[i].field));
        } else if (name != NULL && encode->neutral->stop_count > 0) {
            ps_out_key(&encode->out, name);
            ps_out_array(&encode->out, encode->neutral->stops, encode->neutral->stop_count);
        }
    }
}

/* vLLM's backend takes them as one string that holds a JSON object. */
static int write_sampling_string(struct ps_encode *encode)
{
    struct ps_json_out body = encode->out;
    struct ps_buf text;
    int rc;

    ps_buf_init(&text, SAMPLING_MAX);
    encode->out = ps_json_out(&text);
    ps_out_open(&encode->out, '{');
    write_samplers(encode, PS_TRITON_VLLM);
    rc = ps_encode_all_extras(encode);
    ps_out_close(&encode->out, '}');
    encode->out = body;
    if (rc == 0 && text.failed) {
        rc = ps_encode_no_memory(encode);
    }
    if (rc == 0) {
        ps_out_member_text(&encode->out, "sampling_parameters", ps_buf_view(&text));
    }
    ps_buf_deinit(&text);
    return rc;
}

static void write_guide(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->format == PS_FORMAT_JSON_SCHEMA) {
        ps_out_member_cstr(out, "guided_decoding_guide_type", "json_schema");
        ps_out_member_text(out, "guided_decoding_guide", neutral->schema);
    } else if (neutral->format == PS_FORMAT_JSON_OBJECT) {
        ps_out_member_cstr(out, "guided_decoding_guide_type", "json");
    }
}

/* A model that has no input of a name takes it for a parameter that nobody reads. */
static int write_text_body(struct ps_encode *encode, enum ps_triton_shape shape)
{
    struct ps_json_out *out = &encode->out;
    bool echo = encode->neutral->echo;

    ps_out_open(out, '{');
    put_key(out, ps_triton_name(encode->settings->prompt_at, "text_input"));
    if (ps_plain_prompt(encode) != 0) {
        return -1;
    }
    ps_out_member_bool(out, shape == PS_TRITON_LLMAPI ? "streaming" : "stream",
                       encode->neutral->stream);
    ps_out_member_bool(out,
                       shape == PS_TRITON_LLMAPI ? "sampling_param_exclude_input_from_output"
                                                 : "exclude_input_in_output",
                       !echo);
    ps_out_member_bool(out, "return_num_input_tokens", true);
    ps_out_member_bool(out, "return_num_output_tokens", true);
    if (shape == PS_TRITON_VLLM) {
        ps_out_member_bool(out, "return_finish_reason", true);
        if (write_sampling_string(encode) != 0) {
            return -1;
        }
    } else {
        write_samplers(encode, shape);
        write_guide(encode);
        if (ps_encode_all_extras(encode) != 0) {
            return -1;
        }
    }
    ps_out_close(out, '}');
    return 0;
}

/* ---- tensors ---- */

static void open_tensor(struct ps_encode *encode, struct ps_slice name, const char *type,
                        size_t count)
{
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_text(out, "name", name);
    ps_out_key(out, "shape");
    ps_out_open(out, '[');
    ps_out_int(out, (int64_t)count);
    if (ps_triton_shape_of(encode->settings) == PS_TRITON_BATCH) {
        ps_out_int(out, 1);
    }
    ps_out_close(out, ']');
    ps_out_member_cstr(out, "datatype", type);
    ps_out_key(out, "data");
}

static void put_tensor(struct ps_encode *encode, struct ps_slice name, const char *type,
                       struct ps_slice raw)
{
    if (name.len == 0 || raw.len == 0) {
        return;
    }
    open_tensor(encode, name, type, 1);
    ps_out_open(&encode->out, '[');
    ps_out_raw(&encode->out, raw);
    ps_out_close(&encode->out, ']');
    ps_out_close(&encode->out, '}');
}

static int put_prompt(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    bool embeds = neutral->operation == PS_OP_EMBED;
    struct ps_json_out *out = &encode->out;

    open_tensor(encode, ps_triton_name(encode->settings->prompt_at, "text_input"), "BYTES",
                embeds ? neutral->input_count : 1);
    if (embeds) {
        ps_out_array(&encode->out, encode->neutral->inputs, encode->neutral->input_count);
    } else {
        ps_out_open(out, '[');
        if (ps_plain_prompt(encode) != 0) {
            return -1;
        }
        ps_out_close(out, ']');
    }
    ps_out_close(out, '}');
    return 0;
}

static int put_settings(struct ps_encode *encode)
{
    const struct ps_dialect_settings *settings = encode->settings;
    const struct ps_neutral *neutral = encode->neutral;
    bool stops = settings->stop_at.len > 0;
    unsigned takes = (settings->max_tokens_at.len > 0 ? PS_TAKES_MAX_TOKENS : 0U) |
                     (settings->temperature_at.len > 0 ? PS_TAKES_TEMPERATURE : 0U) |
                     (stops ? PS_TAKES_STOP : 0U);

    encode->ret->stream = false;
    encode->ret->accept = PS_SLICE_LIT("application/json");
    if (ps_plain_check(encode, takes) != 0 || ps_drop_extras(encode) != 0) {
        return -1;
    }
    put_tensor(encode, settings->max_tokens_at, "INT32", neutral->max_tokens);
    put_tensor(encode, settings->temperature_at, "FP32", neutral->temperature);
    if (stops && neutral->stop_count > 0) {
        open_tensor(encode, settings->stop_at, "BYTES", neutral->stop_count);
        ps_out_array(&encode->out, encode->neutral->stops, encode->neutral->stop_count);
        ps_out_close(&encode->out, '}');
    }
    return 0;
}

static int write_tensor_body(struct ps_encode *encode)
{
    struct ps_json_out *out = &encode->out;
    bool embeds = encode->neutral->operation == PS_OP_EMBED;

    ps_out_open(out, '{');
    ps_out_key(out, "inputs");
    ps_out_open(out, '[');
    if (put_prompt(encode) != 0 ||
        (embeds ? ps_plain_check_embed(encode) : put_settings(encode)) != 0) {
        return -1;
    }
    ps_out_close(out, ']');
    ps_out_key(out, "outputs");
    ps_out_open(out, '[');
    ps_out_open(out, '{');
    ps_out_member_text(out, "name",
                       embeds ? ps_triton_name(encode->settings->vector_at, "embedding")
                              : ps_triton_name(encode->settings->text_at, "text_output"));
    ps_out_close(out, '}');
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    return 0;
}

/* ---- the whole ---- */

static int put_path(struct ps_encode *encode, const char *verb)
{
    struct ps_slice path = encode->settings->path;
    struct ps_slice model;
    char *rest;

    if (path.len > 0) {
        encode->ret->path = ps_plain_path(encode, path);
        return encode->ret->path.ptr != NULL ? 0 : -1;
    }
    if (encode->model.len == 0) {
        return ps_fault_set(encode->fault, PS_FAULT_MISSING_FIELD, "model", "model is required.");
    }
    model = ps_encode_segment(encode->arena, encode->model, false);
    rest = model.ptr != NULL
               ? ps_arena_printf(encode->arena, "/models/%.*s/%s", (int)model.len, model.ptr, verb)
               : NULL;
    if (rest == NULL) {
        return ps_encode_no_memory(encode);
    }
    return ps_encode_path(encode, "/v2", ps_slice_cstr(rest), PS_SLICE_NONE);
}

int ps_triton_encode_neutral(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    enum ps_triton_shape shape = ps_triton_shape_of(encode->settings);
    bool embeds = neutral->operation == PS_OP_EMBED;

    if (embeds || shape == PS_TRITON_TENSOR || shape == PS_TRITON_BATCH) {
        encode->ret->memo = embeds ? (uint32_t)neutral->input_count : memo_of(neutral->max_tokens);
        return put_path(encode, "infer") != 0 ? -1 : write_tensor_body(encode);
    }
    encode->ret->memo = memo_of(neutral->max_tokens);
    if (put_path(encode, neutral->stream ? "generate_stream" : "generate") != 0 ||
        ps_plain_check(encode, takes_of(shape)) != 0) {
        return -1;
    }
    return write_text_body(encode, shape);
}
