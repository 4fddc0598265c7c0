/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "openai_priv.h"

/*
 * Requests for an upstream that speaks OpenAI's API, out of the neutral form. A server of the
 * self-hosted kind gets what only such servers know; for others that is left out, and named.
 */

#define STOPS_MAX     4
#define BUDGET_LOW    4096
#define BUDGET_MEDIUM 16384

/* ---- values ---- */

static void write_tri(struct ps_json_out *out, const char *name, enum ps_tri tri)
{
    if (tri != PS_TRI_NONE) {
        ps_out_member_bool(out, name, tri == PS_TRI_YES);
    }
}

/* A member that only servers of the self-hosted kind know. */
static int write_own(struct ps_encode *encode, const char *name, struct ps_slice raw)
{
    if (!encode->settings->self_hosted) {
        return ps_drop_raw(encode, name, raw);
    }
    ps_out_member(&encode->out, name, raw);
    return 0;
}

static int write_sampling(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool chat = neutral->operation == PS_OP_CHAT;
    bool newer = chat && !encode->settings->old_max_tokens;

    ps_out_member(out, newer ? "max_completion_tokens" : "max_tokens", neutral->max_tokens);
    ps_out_member(out, "temperature", neutral->temperature);
    ps_out_member(out, "top_p", neutral->top_p);
    ps_out_member(out, "presence_penalty", neutral->presence_penalty);
    ps_out_member(out, "frequency_penalty", neutral->frequency_penalty);
    ps_out_member(out, "n", neutral->n);
    ps_out_member(out, "logit_bias", neutral->logit_bias);
    if (neutral->logprobs && chat) {
        encode->ret->memo |= PS_OPENAI_LOGPROBS;
        ps_out_member_bool(out, "logprobs", true);
        ps_out_member(out, "top_logprobs", neutral->top_logprobs);
    } else if (neutral->logprobs) {
        ps_out_key(out, "logprobs");
        ps_out_raw(out, neutral->top_logprobs.len > 0 ? neutral->top_logprobs : PS_SLICE_LIT("0"));
    }
    if (write_own(encode, "top_k", neutral->top_k) != 0 ||
        write_own(encode, "min_p", neutral->min_p) != 0) {
        return -1;
    }
    return write_own(encode, "repetition_penalty", neutral->repetition_penalty);
}

static int write_stops(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->stop_count > STOPS_MAX && !encode->settings->self_hosted) {
        return ps_encode_bad_at(encode, NULL, neutral->stop_name, "no more than 4 strings");
    }
    if (neutral->stop_count > 0) {
        ps_out_key(out, "stop");
        ps_out_array(out, neutral->stops, neutral->stop_count);
    }
    ps_out_member(out, "seed", neutral->seed);
    return 0;
}

/* ---- tools ---- */

static int write_tool(struct ps_encode *encode, const struct ps_neutral_tool *tool)
{
    struct ps_json_out *out = &encode->out;
    const char *kind = tool->kind == PS_TOOL_CUSTOM ? "custom" : "function";

    if (tool->kind == PS_TOOL_OPAQUE) {
        return ps_encode_unsupported_at(encode, &tool->at, NULL);
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", kind);
    ps_out_key(out, kind);
    ps_out_open(out, '{');
    ps_out_member(out, "name", tool->name);
    ps_out_member(out, "description", tool->description);
    ps_out_member(out, "parameters", tool->parameters);
    ps_out_member(out, "format", tool->format);
    write_tri(out, "strict", tool->strict);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return tool->cache_control.len > 0 ? ps_drop(encode, "cache_control") : 0;
}

static void write_named_choice(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    const char *kind = "function";

    for (size_t i = 0; i < neutral->tool_count; i++) {
        if (neutral->tools[i].kind == PS_TOOL_CUSTOM &&
            ps_slice_eq(neutral->tools[i].name, neutral->tool_name)) {
            kind = "custom";
        }
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", kind);
    ps_out_key(out, kind);
    ps_out_open(out, '{');
    ps_out_member(out, "name", neutral->tool_name);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
}

int ps_openai_write_tools(struct ps_encode *encode)
{
    static const char *const words[] = {
        [PS_CHOICE_NONE_GIVEN] = NULL, [PS_CHOICE_AUTO] = "auto",   [PS_CHOICE_NONE] = "none",
        [PS_CHOICE_ANY] = "required",  [PS_CHOICE_NAMED] = "named",
    };
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (ps_encode_tool_count(encode) == 0) {
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
    if (neutral->tool_choice == PS_CHOICE_NAMED) {
        ps_out_key(out, "tool_choice");
        write_named_choice(encode);
    } else {
        ps_out_member_cstr(out, "tool_choice", words[neutral->tool_choice]);
    }
    write_tri(out, "parallel_tool_calls", neutral->parallel_calls);
    return 0;
}

/* ---- the shape of the answer, and how hard to think ---- */

static void write_format(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->format == PS_FORMAT_NONE_GIVEN || neutral->format == PS_FORMAT_TEXT) {
        return;
    }
    ps_out_key(out, "response_format");
    ps_out_open(out, '{');
    if (neutral->format == PS_FORMAT_JSON_OBJECT) {
        ps_out_member_cstr(out, "type", "json_object");
    } else {
        ps_out_member_cstr(out, "type", "json_schema");
        ps_out_key(out, "json_schema");
        ps_out_open(out, '{');
        ps_out_member(out, "name",
                      neutral->schema_name.len > 0 ? neutral->schema_name
                                                   : PS_SLICE_LIT("\"answer\""));
        ps_out_member(out, "description", neutral->schema_description);
        ps_out_member(out, "schema", neutral->schema);
        write_tri(out, "strict", neutral->schema_strict);
        ps_out_close(out, '}');
    }
    ps_out_close(out, '}');
}

static void write_effort(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    const char *effort = ps_effort_name(neutral->effort);

    if (effort == NULL && neutral->thinking != PS_THINKING_OFF && neutral->thinking_budget >= 0) {
        effort = neutral->thinking_budget < BUDGET_LOW      ? "low"
                 : neutral->thinking_budget < BUDGET_MEDIUM ? "medium"
                                                            : "high";
    }
    ps_out_member_cstr(&encode->out, "reasoning_effort", effort);
}

static int write_about(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    ps_out_member(out, "user", neutral->user);
    ps_out_member(out, "verbosity", neutral->verbosity);
    ps_out_member(out, "prompt_cache_key", neutral->cache_key);
    ps_out_member(out, "web_search_options", neutral->web_search);
    if (encode->request->family == PS_FAMILY_ANTHROPIC) {
        if (ps_drop_raw(encode, "service_tier", neutral->service_tier) != 0) {
            return -1; /* other words */
        }
    } else {
        ps_out_member(out, "service_tier", neutral->service_tier);
    }
    if (neutral->store == PS_TRI_YES) {
        ps_out_member_bool(out, "store", true);
        ps_out_member(out, "metadata", neutral->metadata);
    } else if (ps_drop_raw(encode, "metadata", neutral->metadata) != 0) {
        return -1; /* only kept with what is stored */
    }
    return ps_drop_raw(encode, "cache_control", neutral->cache_control);
}

/* ---- operations ---- */

static void write_model(struct ps_encode *encode)
{
    ps_out_member_text(&encode->out, "model", encode->model);
}

static void write_stream(struct ps_encode *encode)
{
    struct ps_json_out *out = &encode->out;

    if (!encode->neutral->stream) {
        return;
    }
    ps_out_member_bool(out, "stream", true);
    if (encode->options->active_accounting || encode->neutral->include_usage) {
        ps_out_key(out, "stream_options");
        ps_out_open(out, '{');
        ps_out_member_bool(out, "include_usage", true);
        ps_out_close(out, '}');
    }
}

static void write_inputs(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->input_single && neutral->input_count == 1) {
        ps_out_raw(out, neutral->inputs[0]);
        return;
    }
    ps_out_array(out, neutral->inputs, neutral->input_count);
}

static int write_answering(struct ps_encode *encode)
{
    if (write_sampling(encode) != 0 || write_stops(encode) != 0) {
        return -1;
    }
    write_format(encode);
    write_stream(encode);
    return 0;
}

static int write_chat(struct ps_encode *encode)
{
    if (ps_openai_write_messages(encode) != 0 || ps_openai_write_tools(encode) != 0 ||
        write_answering(encode) != 0) {
        return -1;
    }
    write_effort(encode);
    return 0;
}

static int write_completion(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    ps_out_key(out, "prompt");
    write_inputs(encode);
    ps_out_member(out, "suffix", neutral->suffix);
    if (neutral->echo) {
        ps_out_member_bool(out, "echo", true);
    }
    ps_out_member(out, "best_of", neutral->best_of);
    return write_answering(encode);
}

static int write_embedding(struct ps_encode *encode)
{
    ps_out_key(&encode->out, "input");
    write_inputs(encode);
    ps_out_member(&encode->out, "dimensions", encode->neutral->dimensions);
    ps_out_member_cstr(&encode->out, "encoding_format", "float");
    encode->ret->stream = false;
    return write_own(encode, "input_type", encode->neutral->input_type);
}

static int write_rerank(struct ps_encode *encode)
{
    struct ps_json_out *out = &encode->out;

    ps_out_member(out, "query", encode->neutral->query);
    ps_out_key(out, "documents");
    write_inputs(encode);
    ps_out_member(out, "top_n", encode->neutral->top_n);
    write_tri(out, "return_documents", encode->neutral->return_documents);
    encode->ret->stream = false;
    return 0;
}

int ps_openai_encode_neutral(struct ps_encode *encode)
{
    static const struct ps_encode_operation operations[PS_OP_COUNT] = {
        [PS_OP_CHAT] = {NULL, write_chat}, /* ps_openai_path_of has the paths */
        [PS_OP_COMPLETE] = {NULL, write_completion},
        [PS_OP_EMBED] = {NULL, write_embedding},
        [PS_OP_RERANK] = {NULL, write_rerank},
    };
    struct ps_json_out *out = &encode->out;

    if (encode->neutral->operation == PS_OP_COUNT_TOKENS) {
        return ps_openai_encode_count(encode);
    }
    encode->ret->path = ps_slice_cstr(ps_openai_path_of(encode->neutral->operation));
    ps_out_open(out, '{');
    write_model(encode);
    if (ps_encode_operation(encode, operations, NULL) != 0 || write_about(encode) != 0 ||
        ps_encode_all_extras(encode) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    return 0;
}
