/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"

/*
 * Bodies for Ollama's own API. What a client says beyond OpenAI's fields goes along: keep_alive,
 * truncate, and "options", which lies among ours.
 */

/* ---- what the client says in Ollama's own words ---- */

static struct ps_slice extra_of(const struct ps_encode *encode, const char *name)
{
    const struct ps_neutral *neutral = encode->neutral;

    for (size_t i = 0; encode->settings->self_hosted && i < neutral->extra_count; i++) {
        if (!neutral->extras[i].nested && ps_raw_word(neutral->extras[i].key, name)) {
            return neutral->extras[i].value;
        }
    }
    return PS_SLICE_NONE;
}

static void write_member(struct ps_json_out *out, struct ps_slice key, struct ps_slice value)
{
    ps_out_raw(out, key);
    ps_buf_byte(out->buf, ':');
    out->comma = false;
    ps_out_raw(out, value);
}

/* Members of the body that are written anyway. */
static bool is_ours(struct ps_slice key)
{
    static const char *const names[] = {"model",  "messages", "tools", "options",   "prompt",
                                        "suffix", "stream",   "input", "dimensions"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ps_raw_word(key, names[i])) {
            return true;
        }
    }
    return false;
}

static int write_extras(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    if (!encode->settings->self_hosted) {
        return ps_drop_extras(encode);
    }
    for (size_t i = 0; i < neutral->extra_count; i++) {
        const struct ps_neutral_extra *extra = &neutral->extras[i];
        bool merged = ps_raw_word(extra->key, "options") && ps_raw_begins(extra->value, '{');

        if (!extra->nested && !is_ours(extra->key)) {
            write_member(&encode->out, extra->key, extra->value);
        } else if ((extra->nested || !merged) && ps_drop_at(encode, &extra->at, NULL) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- options ---- */

struct option {
    const char *name;
    struct ps_slice raw;
};

static bool is_given(const struct option *options, size_t count, struct ps_slice key)
{
    for (size_t i = 0; i < count; i++) {
        if (options[i].raw.len > 0 && ps_raw_word(key, options[i].name)) {
            return true;
        }
    }
    return false;
}

/* OpenAI's fields hold where both say something. */
static void write_own_options(struct ps_encode *encode, const struct option *options, size_t count)
{
    struct ps_slice own = extra_of(encode, "options");
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(own, '{')) {
        return;
    }
    ps_json_walk_init(&walk, own);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (!is_given(options, count, key) &&
            !(encode->neutral->stop_count > 0 && ps_raw_word(key, "stop"))) {
            write_member(&encode->out, key, value);
        }
    }
}

static void write_options(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    const struct option options[] = {
        {"num_predict", neutral->max_tokens},
        {"temperature", neutral->temperature},
        {"top_p", neutral->top_p},
        {"top_k", neutral->top_k},
        {"min_p", neutral->min_p},
        {"seed", neutral->seed},
        {"presence_penalty", neutral->presence_penalty},
        {"frequency_penalty", neutral->frequency_penalty},
        {"repeat_penalty", neutral->repetition_penalty},
    };
    const size_t count = sizeof(options) / sizeof(options[0]);
    bool any = neutral->stop_count > 0 || ps_raw_begins(extra_of(encode, "options"), '{');

    for (size_t i = 0; i < count; i++) {
        any = any || options[i].raw.len > 0;
    }
    if (!any) {
        return;
    }
    ps_out_key(out, "options");
    ps_out_open(out, '{');
    for (size_t i = 0; i < count; i++) {
        ps_out_member(out, options[i].name, options[i].raw);
    }
    if (neutral->stop_count > 0) {
        ps_out_key(out, "stop");
        ps_out_array(out, neutral->stops, neutral->stop_count);
    }
    write_own_options(encode, options, count);
    ps_out_close(out, '}');
}

/* ---- tools ---- */

static int write_tool(struct ps_encode *encode, const struct ps_neutral_tool *tool)
{
    if (ps_encode_function(encode, tool) != 0) {
        return -1;
    }
    return tool->strict == PS_TRI_YES ? ps_drop_at(encode, &tool->at, "strict") : 0;
}

/* A model there calls what it likes: no tools where none may be called, and no promise that one is.
 */
static int write_tools(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->tool_choice == PS_CHOICE_ANY || neutral->tool_choice == PS_CHOICE_NAMED) {
        return ps_encode_unsupported(encode, "tool_choice");
    }
    if (neutral->tool_choice == PS_CHOICE_NONE || ps_encode_tool_count(encode) == 0) {
        return 0;
    }
    ps_out_key(out, "tools");
    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->tool_count; i++) {
        if (!neutral->tools[i].excluded && write_tool(encode, &neutral->tools[i]) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    return neutral->parallel_calls == PS_TRI_NO && !neutral->legacy_calls
               ? ps_drop(encode, "parallel_tool_calls")
               : 0;
}

/* ---- how to answer ---- */

static int write_format(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    if (extra_of(encode, "format").len > 0) {
        return 0;
    }
    if (neutral->format == PS_FORMAT_JSON_OBJECT) {
        ps_out_member_cstr(&encode->out, "format", "json");
    } else if (neutral->format == PS_FORMAT_JSON_SCHEMA) {
        ps_out_member(&encode->out, "format", neutral->schema);
    }
    return ps_drop_raw(encode, "response_format.json_schema.description",
                       neutral->schema_description);
}

static const char *effort_of(enum ps_effort effort)
{
    switch (effort) {
    case PS_EFFORT_MINIMAL:
    case PS_EFFORT_LOW:
        return "low";
    case PS_EFFORT_MEDIUM:
        return "medium";
    case PS_EFFORT_HIGH:
    case PS_EFFORT_XHIGH:
        return "high";
    case PS_EFFORT_MAX:
        return "max";
    case PS_EFFORT_NONE_GIVEN:
    case PS_EFFORT_OFF:
    default:
        return NULL;
    }
}

static void write_think(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    const char *effort = effort_of(neutral->effort);

    if (extra_of(encode, "think").len > 0) {
        return;
    }
    if (neutral->effort == PS_EFFORT_OFF || neutral->thinking == PS_THINKING_OFF) {
        ps_out_member_bool(&encode->out, "think", false);
    } else if (effort != NULL) {
        ps_out_member_cstr(&encode->out, "think", effort);
    } else if (neutral->thinking != PS_THINKING_NONE_GIVEN) {
        ps_out_member_bool(&encode->out, "think", true);
    }
}

static void write_logprobs(struct ps_encode *encode)
{
    if (encode->neutral->logprobs) {
        ps_out_member_bool(&encode->out, "logprobs", true);
        ps_out_member(&encode->out, "top_logprobs", encode->neutral->top_logprobs);
    }
}

/* ---- operations ---- */

static int write_answering(struct ps_encode *encode)
{
    if (write_format(encode) != 0) {
        return -1;
    }
    write_options(encode);
    write_think(encode);
    write_logprobs(encode);
    /* A stream is what is given when nothing is said. */
    ps_out_member_bool(&encode->out, "stream", encode->neutral->stream);
    return 0;
}

static int write_chat(struct ps_encode *encode)
{
    return ps_ollama_encode_messages(encode) != 0 || write_tools(encode) != 0
               ? -1
               : write_answering(encode);
}

static int write_completion(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_neutral_at at = {NULL, neutral->input_name, 1};

    if (neutral->input_count != 1) {
        return ps_encode_unsupported_at(encode, &at, NULL);
    }
    ps_out_member(&encode->out, "prompt", neutral->inputs[0]);
    ps_out_member(&encode->out, "suffix", neutral->suffix);
    return write_answering(encode);
}

static int write_embedding(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    encode->ret->stream = false;
    ps_out_key(out, "input");
    ps_out_array(out, neutral->inputs, neutral->input_count);
    ps_out_member(out, "dimensions", neutral->dimensions);
    write_options(encode);
    return 0;
}

int ps_ollama_encode_neutral(struct ps_encode *encode)
{
    static const struct ps_encode_operation operations[PS_OP_COUNT] = {
        [PS_OP_CHAT] = {"/chat", write_chat},
        [PS_OP_COMPLETE] = {"/generate", write_completion},
        [PS_OP_EMBED] = {"/embed", write_embedding},
    };
    const unsigned takes = PS_TAKES_USUAL | PS_TAKES_MIN_P | PS_TAKES_SEED | PS_TAKES_PRESENCE |
                           PS_TAKES_FREQUENCY | PS_TAKES_REPETITION | PS_TAKES_LOGPROBS |
                           PS_TAKES_SUFFIX;
    struct ps_json_out *out = &encode->out;
    const char *path = NULL;

    ps_out_open(out, '{');
    ps_out_member_text(out, "model", encode->model);
    if (ps_encode_refuse_rest(encode, takes) != 0 ||
        ps_encode_operation(encode, operations, &path) != 0 ||
        ps_encode_drop_rest(encode, takes) != 0 || write_extras(encode) != 0 ||
        ps_encode_path(encode, "/api", ps_slice_cstr(path), PS_SLICE_NONE) != 0) {
        return -1;
    }
    encode->ret->accept = encode->ret->stream ? PS_SLICE_LIT("application/x-ndjson")
                                              : PS_SLICE_LIT("application/json");
    ps_out_close(out, '}');
    return 0;
}
