/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* A body for Anthropic's messages API, for a request of another family. */

/* ---- tools ---- */

/* A schema there is of type "object": OpenAI's clients may leave that out. */
static void write_schema(struct ps_json_out *out, struct ps_slice schema)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (schema.len == 0) {
        ps_out_raw(out, PS_SLICE_LIT("{\"type\":\"object\",\"properties\":{}}"));
        return;
    }
    if (ps_raw_find(schema, "type").len > 0) {
        ps_out_raw(out, schema);
        return;
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "object");
    ps_json_walk_init(&walk, schema);
    while (ps_json_walk_member(&walk, &key, &value)) {
        ps_out_raw(out, key);
        ps_buf_byte(out->buf, ':');
        out->comma = false;
        ps_out_raw(out, value);
    }
    ps_out_close(out, '}');
}

static int write_tool(struct ps_encode *encode, const struct ps_neutral_tool *tool)
{
    struct ps_json_out *out = &encode->out;

    if (tool->kind == PS_TOOL_OPAQUE && encode->request->family == PS_FAMILY_ANTHROPIC) {
        ps_out_raw(out, tool->raw);
        return 0;
    }
    if (tool->kind != PS_TOOL_FUNCTION) {
        return ps_encode_unsupported_at(encode, &tool->at, "type");
    }
    ps_out_open(out, '{');
    ps_out_member(out, "name", tool->name);
    ps_out_member(out, "description", tool->description);
    ps_out_key(out, "input_schema");
    write_schema(out, tool->parameters);
    if (tool->strict == PS_TRI_YES) {
        ps_out_member_bool(out, "strict", true);
    }
    ps_out_member(out, "cache_control", tool->cache_control);
    ps_out_close(out, '}');
    return 0;
}

static const char *choice_word(enum ps_tool_choice choice)
{
    switch (choice) {
    case PS_CHOICE_NONE:
        return "none";
    case PS_CHOICE_ANY:
        return "any";
    case PS_CHOICE_NAMED:
        return "tool";
    case PS_CHOICE_NONE_GIVEN:
    case PS_CHOICE_AUTO:
    default:
        return "auto";
    }
}

static void write_choice(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool serial = neutral->parallel_calls == PS_TRI_NO && neutral->tool_choice != PS_CHOICE_NONE;

    if (neutral->tool_choice == PS_CHOICE_NONE_GIVEN && !serial) {
        return;
    }
    ps_out_key(out, "tool_choice");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", choice_word(neutral->tool_choice));
    if (neutral->tool_choice == PS_CHOICE_NAMED) {
        ps_out_member(out, "name", neutral->tool_name);
    }
    if (serial) {
        ps_out_member_bool(out, "disable_parallel_tool_use", true);
    }
    ps_out_close(out, '}');
}

static int write_tools(struct ps_encode *encode)
{
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
    write_choice(encode);
    return 0;
}

/* ---- how to answer ---- */

static void write_thinking(struct ps_encode *encode, const struct ps_anthropic_plan *plan)
{
    struct ps_json_out *out = &encode->out;

    if (plan->thinking == NULL) {
        return;
    }
    ps_out_key(out, "thinking");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", plan->thinking);
    if (plan->budget > 0) {
        ps_out_member_int(out, "budget_tokens", plan->budget);
    }
    if (plan->display != NULL) {
        ps_out_member_cstr(out, "display", plan->display);
    }
    ps_out_close(out, '}');
}

static int write_output(struct ps_encode *encode, const struct ps_anthropic_plan *plan)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool has_schema = neutral->format == PS_FORMAT_JSON_SCHEMA;

    if (has_schema || plan->effort != NULL) {
        ps_out_key(out, "output_config");
        ps_out_open(out, '{');
        if (plan->effort != NULL) {
            ps_out_member_cstr(out, "effort", plan->effort);
        }
        if (has_schema) {
            ps_out_key(out, "format");
            ps_out_open(out, '{');
            ps_out_member_cstr(out, "type", "json_schema");
            ps_out_member(out, "schema", neutral->schema);
            ps_out_close(out, '}');
        }
        ps_out_close(out, '}');
    }
    return ps_drop_raw(encode, "response_format.json_schema.description",
                       neutral->schema_description);
}

/* While a model thinks, it samples as it likes. */
static int write_sampling(struct ps_encode *encode, const struct ps_anthropic_plan *plan)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool thinks = plan->thinking != NULL && strcmp(plan->thinking, "disabled") != 0;
    int64_t top_k;

    if (thinks) {
        double temperature;

        if (neutral->temperature.len > 0 &&
            (!ps_json_double(neutral->temperature, &temperature) || temperature != 1) &&
            ps_drop(encode, "temperature") != 0) {
            return -1;
        }
        return ps_drop_raw(encode, "top_p", neutral->top_p) != 0
                   ? -1
                   : ps_drop_raw(encode, "top_k", neutral->top_k);
    }
    if (ps_encode_clamped(encode, "temperature", neutral->temperature, 0, 1, "temperature") != 0) {
        return -1;
    }
    ps_out_member(out, "top_p", neutral->top_p);
    if (neutral->top_k.len > 0 && ps_json_int(neutral->top_k, &top_k) && top_k > 0) {
        ps_out_member(out, "top_k", neutral->top_k); /* else it is off */
    }
    return 0;
}

static void write_stops(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (neutral->stop_count == 0) {
        return;
    }
    ps_out_key(out, "stop_sequences");
    ps_out_array(out, neutral->stops, neutral->stop_count);
}

static int write_service_tier(struct ps_encode *encode)
{
    struct ps_slice tier = encode->neutral->service_tier;

    if (ps_raw_word(tier, "auto") || ps_raw_word(tier, "standard_only")) {
        ps_out_member(&encode->out, "service_tier", tier);
        return 0;
    }
    if (ps_raw_word(tier, "default")) {
        ps_out_member_cstr(&encode->out, "service_tier", "standard_only");
        return 0;
    }
    return ps_drop_raw(encode, "service_tier", tier);
}

/* ---- the body ---- */

#define TAKES (PS_TAKES_USUAL | PS_TAKES_USER | PS_TAKES_SERVICE_TIER | PS_TAKES_CACHE_CONTROL)

static void write_max_tokens(struct ps_encode *encode, const struct ps_anthropic_plan *plan)
{
    if (plan->max_tokens.len > 0) {
        ps_out_member(&encode->out, "max_tokens", plan->max_tokens);
    } else {
        ps_out_member_int(&encode->out, "max_tokens", plan->max_tokens_value);
    }
}

static int write_answer(struct ps_encode *encode, const struct ps_anthropic_plan *plan)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    write_max_tokens(encode, plan);
    if (write_sampling(encode, plan) != 0 || write_service_tier(encode) != 0) {
        return -1;
    }
    write_stops(encode);
    if (neutral->user.len > 0) {
        ps_out_key(out, "metadata");
        ps_out_open(out, '{');
        ps_out_member(out, "user_id", neutral->user);
        ps_out_close(out, '}');
    }
    if (neutral->stream) {
        ps_out_member_bool(out, "stream", true);
    }
    return ps_encode_drop_rest(encode, TAKES) != 0 ? -1 : ps_encode_all_extras(encode);
}

static int write_body(struct ps_encode *encode)
{
    struct ps_json_out *out = &encode->out;
    struct ps_anthropic_plan plan;

    if (ps_encode_refuse_rest(encode, TAKES) != 0 || ps_anthropic_plan(encode, &plan) != 0) {
        return -1;
    }
    ps_out_open(out, '{');
    ps_out_member_text(out, "model", encode->model);
    if (ps_anthropic_encode_messages(encode) != 0 || write_tools(encode) != 0) {
        return -1;
    }
    write_thinking(encode, &plan);
    if (write_output(encode, &plan) != 0 ||
        (encode->neutral->operation == PS_OP_CHAT && write_answer(encode, &plan) != 0)) {
        return -1;
    }
    ps_out_member(out, "cache_control", encode->neutral->cache_control);
    ps_out_close(out, '}');
    return 0;
}

int ps_anthropic_encode_neutral(struct ps_encode *encode)
{
    bool counts = encode->neutral->operation == PS_OP_COUNT_TOKENS;

    if (ps_encode_path(encode, "/v1",
                       counts ? PS_SLICE_LIT("/messages/count_tokens") : PS_SLICE_LIT("/messages"),
                       PS_SLICE_NONE) != 0 ||
        ps_encode_header(encode, PS_SLICE_LIT("anthropic-version"),
                         ps_anthropic_version(encode->settings)) != 0) {
        return -1;
    }
    return write_body(encode);
}
