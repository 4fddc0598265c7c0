/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* Bodies for Cohere's API. */

#define STOPS_MAX 5
#define TEXTS_MAX 96

/* ---- tools ---- */

static bool is_named(const struct ps_neutral *neutral, const struct ps_neutral_tool *tool)
{
    return neutral->tool_choice != PS_CHOICE_NAMED || ps_raw_same(tool->name, neutral->tool_name);
}

/* No single one can be named there: it is the only one that is offered then. */
static int write_choice(struct ps_encode *encode)
{
    enum ps_tool_choice choice = encode->neutral->tool_choice;

    if (choice == PS_CHOICE_NONE) {
        ps_out_member_cstr(&encode->out, "tool_choice", "NONE");
    } else if (choice == PS_CHOICE_ANY || choice == PS_CHOICE_NAMED) {
        ps_out_member_cstr(&encode->out, "tool_choice", "REQUIRED");
    }
    return encode->neutral->parallel_calls == PS_TRI_NO && !encode->neutral->legacy_calls
               ? ps_drop(encode, "parallel_tool_calls")
               : 0;
}

static int write_tools(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool strict = false;

    if (ps_encode_tool_count(encode) == 0) {
        return 0;
    }
    ps_out_key(out, "tools");
    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->tool_count; i++) {
        const struct ps_neutral_tool *tool = &neutral->tools[i];

        if (tool->excluded || !is_named(neutral, tool)) {
            continue;
        }
        strict = strict || tool->strict == PS_TRI_YES;
        if (ps_encode_function(encode, tool) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    if (strict) {
        ps_out_member_bool(out, "strict_tools", true);
    }
    return write_choice(encode);
}

/* ---- how to answer ---- */

static int write_format(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->format == PS_FORMAT_NONE_GIVEN || neutral->format == PS_FORMAT_TEXT) {
        return 0;
    }
    ps_out_key(out, "response_format");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "json_object");
    if (neutral->format == PS_FORMAT_JSON_SCHEMA) {
        ps_out_member(out, "json_schema", neutral->schema);
    }
    ps_out_close(out, '}');
    return ps_drop_raw(encode, "response_format.json_schema.description",
                       neutral->schema_description);
}

static int write_seed(struct ps_encode *encode)
{
    struct ps_slice seed = encode->neutral->seed;

    if (ps_raw_begins(seed, '-')) {
        return ps_drop(encode, "seed");
    }
    ps_out_member(&encode->out, "seed", seed);
    return 0;
}

static int write_sampling(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    const struct {
        const char *name;
        struct ps_slice raw;
        double low;
        double high;
        const char *client_name;
    } fields[] = {
        {"temperature", neutral->temperature, 0, 1, "temperature"},
        {"p", neutral->top_p, 0.01, 0.99, "top_p"},
        {"k", neutral->top_k, 0, 500, "top_k"},
        {"presence_penalty", neutral->presence_penalty, 0, 1, "presence_penalty"},
        {"frequency_penalty", neutral->frequency_penalty, 0, 1, "frequency_penalty"},
    };

    ps_out_member(&encode->out, "max_tokens", neutral->max_tokens);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (ps_encode_clamped(encode, fields[i].name, fields[i].raw, fields[i].low, fields[i].high,
                              fields[i].client_name) != 0) {
            return -1;
        }
    }
    return write_seed(encode);
}

static int write_stops(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->stop_count > STOPS_MAX) {
        return ps_encode_bad_at(encode, NULL, neutral->stop_name, "no more than 5 strings");
    }
    if (neutral->stop_count > 0) {
        ps_out_key(out, "stop_sequences");
        ps_out_array(out, neutral->stops, neutral->stop_count);
    }
    return 0;
}

/* A model there thinks or does not: how hard is its own affair, unless tokens were counted out. */
static int write_thinking(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool off = neutral->effort == PS_EFFORT_OFF || neutral->thinking == PS_THINKING_OFF;

    if (neutral->effort == PS_EFFORT_NONE_GIVEN && neutral->thinking == PS_THINKING_NONE_GIVEN) {
        return 0;
    }
    ps_out_key(out, "thinking");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", off ? "disabled" : "enabled");
    if (!off && neutral->thinking_budget >= 0) {
        ps_out_member_int(out, "token_budget", neutral->thinking_budget);
    }
    ps_out_close(out, '}');
    if (off || neutral->effort == PS_EFFORT_NONE_GIVEN || neutral->effort == PS_EFFORT_HIGH) {
        return 0;
    }
    return ps_drop(encode, "reasoning_effort");
}

/* ---- operations ---- */

static int write_chat(struct ps_encode *encode)
{
    if (ps_cohere_encode_messages(encode) != 0 || write_tools(encode) != 0 ||
        write_format(encode) != 0 || write_sampling(encode) != 0 || write_stops(encode) != 0 ||
        write_thinking(encode) != 0) {
        return -1;
    }
    if (encode->neutral->stream) {
        ps_out_member_bool(&encode->out, "stream", true);
    }
    return 0;
}

static int write_embedding(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->input_count > TEXTS_MAX) {
        return ps_encode_bad_at(encode, NULL, neutral->input_name, "no more than 96 strings");
    }
    encode->ret->stream = false;
    if (neutral->input_type.len > 0) {
        ps_out_member(out, "input_type", neutral->input_type);
    } else {
        ps_out_member_text(out, "input_type",
                           encode->settings->input_type.len > 0 ? encode->settings->input_type
                                                                : PS_SLICE_LIT("search_document"));
    }
    ps_out_key(out, "texts");
    ps_out_array(out, neutral->inputs, neutral->input_count);
    ps_out_key(out, "embedding_types");
    ps_out_raw(out, PS_SLICE_LIT("[\"float\"]"));
    ps_out_member(out, "output_dimension", neutral->dimensions);
    return 0;
}

/* Documents are strings there; one that is an object has its text in it. */
static int write_document(struct ps_encode *encode, uint32_t index)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_slice document = neutral->inputs[index];
    struct ps_neutral_at at = {NULL, "documents", index};

    if (ps_raw_begins(document, '{')) {
        document = ps_raw_member(document, "text");
        if (!ps_raw_begins(document, '"')) {
            return ps_encode_bad_at(encode, &at, "text", "a string");
        }
    }
    ps_out_raw(&encode->out, document);
    return 0;
}

static int write_ranking(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    encode->ret->stream = false;
    ps_out_member(out, "query", neutral->query);
    ps_out_key(out, "documents");
    ps_out_open(out, '[');
    for (uint32_t i = 0; i < neutral->input_count; i++) {
        if (write_document(encode, i) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    ps_out_member(out, "top_n", neutral->top_n);
    return 0; /* return_documents: the writer has them */
}

int ps_cohere_encode_neutral(struct ps_encode *encode)
{
    static const struct ps_encode_operation operations[PS_OP_COUNT] = {
        [PS_OP_CHAT] = {"/chat", write_chat},
        [PS_OP_EMBED] = {"/embed", write_embedding},
        [PS_OP_RERANK] = {"/rerank", write_ranking},
    };
    const unsigned takes = PS_TAKES_USUAL | PS_TAKES_SEED | PS_TAKES_PRESENCE | PS_TAKES_FREQUENCY |
                           PS_TAKES_INPUT_TYPE;
    struct ps_json_out *out = &encode->out;
    const char *path = NULL;

    ps_out_open(out, '{');
    ps_out_member_text(out, "model", encode->model);
    if (ps_encode_refuse_rest(encode, takes) != 0 ||
        ps_encode_operation(encode, operations, &path) != 0 ||
        ps_encode_drop_rest(encode, takes) != 0 || ps_encode_all_extras(encode) != 0 ||
        ps_encode_path(encode, "/v2", ps_slice_cstr(path), PS_SLICE_NONE) != 0) {
        return -1;
    }
    if (!encode->ret->stream) {
        encode->ret->accept = PS_SLICE_LIT("application/json");
    }
    ps_out_close(out, '}');
    return 0;
}
