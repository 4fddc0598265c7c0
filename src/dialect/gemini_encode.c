/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/* Bodies and paths for the Gemini API. The model stands in the path, and the method behind it. */

#define MODEL_BYTES 256

/* ---- the path ---- */

/* Base URLs of Vertex AI have the version in their middle. */
const char *ps_gemini_version(struct ps_slice base_path)
{
    for (size_t i = 0; i + 2 < base_path.len; i++) {
        const char *at = base_path.ptr + i;

        if (at[0] == '/' && at[1] == 'v' && at[2] >= '1' && at[2] <= '9') {
            return "";
        }
    }
    return "/v1beta";
}

/* Tuned models are a collection beside "models". */
struct ps_slice ps_gemini_resource(struct ps_slice name, struct ps_arena *arena)
{
    static const struct ps_slice prefixes[] = {PS_SLICE_INIT("models/"),
                                               PS_SLICE_INIT("tunedModels/")};
    struct ps_slice prefix = prefixes[0];
    char *text;

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (ps_slice_starts(name, prefixes[i])) {
            prefix = prefixes[i];
            name = ps_slice(name.ptr + prefix.len, name.len - prefix.len);
            break;
        }
    }
    name = ps_encode_segment(arena, name, false);
    if (name.ptr == NULL) {
        return PS_SLICE_NONE;
    }
    text = ps_arena_printf(arena, "%.*s%.*s", (int)prefix.len, prefix.ptr, (int)name.len, name.ptr);
    return ps_slice_cstr(text);
}

static int set_path(struct ps_encode *encode, struct ps_slice resource, const char *method,
                    struct ps_slice query)
{
    char *rest =
        ps_arena_printf(encode->arena, "/%.*s:%s", (int)resource.len, resource.ptr, method);

    if (rest == NULL) {
        return ps_encode_no_memory(encode);
    }
    return ps_encode_path(encode, ps_gemini_version(encode->options->base_path),
                          ps_slice_cstr(rest), query);
}

/* ---- tools ---- */

static int write_function(struct ps_encode *encode, const struct ps_neutral_tool *tool)
{
    struct ps_json_out *out = &encode->out;

    if (tool->kind != PS_TOOL_FUNCTION) {
        return ps_encode_unsupported_at(encode, &tool->at, "type");
    }
    ps_out_open(out, '{');
    ps_out_member(out, "name", tool->name);
    ps_out_member(out, "description", tool->description);
    /* "parameters" would be a dialect of its own; this one is JSON Schema as it is */
    ps_out_member(out, "parametersJsonSchema", tool->parameters);
    ps_out_close(out, '}');
    return tool->cache_control.len > 0 ? ps_drop(encode, "cache_control") : 0;
}

/* Search is a tool there, and has none of OpenAI's options. */
static int write_search(struct ps_encode *encode)
{
    struct ps_slice wish = encode->neutral->web_search;
    struct ps_json_out *out = &encode->out;
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_out_open(out, '{');
    ps_out_key(out, "googleSearch");
    ps_out_open(out, '{');
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    ps_json_walk_init(&walk, wish);
    return ps_json_walk_element(&walk, &element) ? ps_drop(encode, "web_search_options") : 0;
}

static bool wants_strict(const struct ps_neutral *neutral)
{
    for (size_t i = 0; i < neutral->tool_count; i++) {
        if (!neutral->tools[i].excluded && neutral->tools[i].strict == PS_TRI_YES) {
            return true;
        }
    }
    return false;
}

static const char *mode_of(const struct ps_neutral *neutral)
{
    switch (neutral->tool_choice) {
    case PS_CHOICE_NONE:
        return "NONE";
    case PS_CHOICE_ANY:
    case PS_CHOICE_NAMED:
        return "ANY";
    case PS_CHOICE_AUTO:
        return wants_strict(neutral) ? "VALIDATED" : "AUTO";
    case PS_CHOICE_NONE_GIVEN:
    default:
        return wants_strict(neutral) ? "VALIDATED" : NULL;
    }
}

static void write_choice(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    const char *mode = mode_of(neutral);

    if (mode == NULL) {
        return;
    }
    ps_out_key(out, "toolConfig");
    ps_out_open(out, '{');
    ps_out_key(out, "functionCallingConfig");
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "mode", mode);
    if (neutral->tool_choice == PS_CHOICE_NAMED) {
        ps_out_key(out, "allowedFunctionNames");
        ps_out_open(out, '[');
        ps_out_raw(out, neutral->tool_name);
        ps_out_close(out, ']');
    }
    ps_out_close(out, '}');
    ps_out_close(out, '}');
}

static int write_functions(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_key(out, "functionDeclarations");
    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->tool_count; i++) {
        if (!neutral->tools[i].excluded && write_function(encode, &neutral->tools[i]) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    return 0;
}

static int write_tools(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool has_functions = ps_encode_tool_count(encode) > 0;

    if (!has_functions && neutral->web_search.len == 0) {
        return 0;
    }
    ps_out_key(out, "tools");
    ps_out_open(out, '[');
    if ((has_functions && write_functions(encode) != 0) ||
        (neutral->web_search.len > 0 && write_search(encode) != 0)) {
        return -1;
    }
    ps_out_close(out, ']');
    if (has_functions) {
        write_choice(encode);
        if (neutral->parallel_calls == PS_TRI_NO) {
            encode->ret->memo |= PS_GEMINI_SERIAL; /* it cannot be asked for, but be made so */
        }
    }
    return 0;
}

/* ---- operations ---- */

static int write_chat(struct ps_encode *encode, struct ps_slice resource)
{
    struct ps_json_out *out = &encode->out;
    bool streams = encode->neutral->stream;

    ps_out_open(out, '{');
    if (ps_gemini_encode_turns(encode) != 0 || write_tools(encode) != 0 ||
        ps_gemini_encode_config(encode) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    return set_path(encode, resource, streams ? "streamGenerateContent" : "generateContent",
                    streams ? PS_SLICE_LIT("alt=sse") : PS_SLICE_NONE);
}

static int write_count(struct ps_encode *encode, struct ps_slice resource)
{
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_key(out, "generateContentRequest");
    ps_out_open(out, '{');
    ps_out_member_text(out, "model", resource);
    if (ps_gemini_encode_turns(encode) != 0 || write_tools(encode) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return set_path(encode, resource, "countTokens", PS_SLICE_NONE);
}

/* Other families' words for what vectors are for. */
static const char *task_of(struct ps_slice raw)
{
    static const struct {
        const char *word;
        const char *task;
    } tasks[] = {
        {"query", "RETRIEVAL_QUERY"},
        {"search_query", "RETRIEVAL_QUERY"},
        {"document", "RETRIEVAL_DOCUMENT"},
        {"search_document", "RETRIEVAL_DOCUMENT"},
        {"passage", "RETRIEVAL_DOCUMENT"},
        {"classification", "CLASSIFICATION"},
        {"clustering", "CLUSTERING"},
        {"RETRIEVAL_QUERY", "RETRIEVAL_QUERY"},
        {"CLASSIFICATION", "CLASSIFICATION"},
        {"RETRIEVAL_DOCUMENT", "RETRIEVAL_DOCUMENT"},
        {"CLUSTERING", "CLUSTERING"},
        {"SEMANTIC_SIMILARITY", "SEMANTIC_SIMILARITY"},
        {"QUESTION_ANSWERING", "QUESTION_ANSWERING"},
        {"FACT_VERIFICATION", "FACT_VERIFICATION"},
        {"CODE_RETRIEVAL_QUERY", "CODE_RETRIEVAL_QUERY"},
    };

    for (size_t i = 0; raw.len > 0 && i < sizeof(tasks) / sizeof(tasks[0]); i++) {
        if (ps_raw_word(raw, tasks[i].word)) {
            return tasks[i].task;
        }
    }
    return NULL;
}

static void write_input(struct ps_encode *encode, struct ps_slice resource, struct ps_slice input)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    const char *task = task_of(neutral->input_type);

    ps_out_open(out, '{');
    ps_out_member_text(out, "model", resource);
    ps_out_key(out, "content");
    ps_out_open(out, '{');
    ps_out_key(out, "parts");
    ps_out_open(out, '[');
    ps_out_open(out, '{');
    ps_out_member(out, "text", input);
    ps_out_close(out, '}');
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    if (task != NULL) {
        ps_out_member_cstr(out, "taskType", task);
    }
    ps_out_member(out, "outputDimensionality", neutral->dimensions);
    ps_out_close(out, '}');
}

static int write_embedding(struct ps_encode *encode, struct ps_slice resource)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool single = neutral->input_count == 1;

    encode->ret->stream = false;
    encode->ret->accept = PS_SLICE_LIT("application/json");
    if (neutral->dimensions.len > 0) {
        encode->ret->memo |= PS_GEMINI_NORMALISE;
    }
    if (single) {
        write_input(encode, resource, neutral->inputs[0]);
    } else {
        ps_out_open(out, '{');
        ps_out_key(out, "requests");
        ps_out_open(out, '[');
        for (size_t i = 0; i < neutral->input_count; i++) {
            write_input(encode, resource, neutral->inputs[i]);
        }
        ps_out_close(out, ']');
        ps_out_close(out, '}');
    }
    if ((task_of(neutral->input_type) == NULL &&
         ps_drop_raw(encode, "input_type", neutral->input_type) != 0) ||
        ps_drop_raw(encode, "user", neutral->user) != 0 || ps_drop_extras(encode) != 0) {
        return -1;
    }
    return set_path(encode, resource, single ? "embedContent" : "batchEmbedContents",
                    PS_SLICE_NONE);
}

int ps_gemini_encode_neutral(struct ps_encode *encode)
{
    struct ps_slice resource;

    if (encode->model.len == 0 || encode->model.len > MODEL_BYTES) {
        return ps_fault_set(encode->fault, PS_FAULT_MISSING_FIELD, "model",
                            "The provider of this model needs its name.");
    }
    resource = ps_gemini_resource(encode->model, encode->arena);
    if (resource.ptr == NULL) {
        return ps_encode_no_memory(encode);
    }
    switch (encode->neutral->operation) {
    case PS_OP_CHAT:
        return write_chat(encode, resource);
    case PS_OP_COUNT_TOKENS:
        return write_count(encode, resource);
    case PS_OP_EMBED:
        return write_embedding(encode, resource);
    case PS_OP_COMPLETE:
    case PS_OP_RERANK:
    case PS_OP_IMAGE:
    case PS_OP_PASS:
    case PS_OP_MODELS:
    case PS_OP_COUNT:
    default:
        return ps_encode_unsupported(encode, "this operation");
    }
}

int ps_gemini_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    if (request->operation != PS_OP_MODELS) {
        return ps_gemini_own(request, options, arena, ret, ret_fault);
    }
    *ret = (struct ps_encoded){
        .method = "GET",
        .path = ps_slice_cstr(ps_arena_printf(arena, "%s/models?pageSize=1000",
                                              ps_gemini_version(options->base_path))),
        .accept = PS_SLICE_LIT("application/json"),
    };
    return ret->path.ptr != NULL ? 0 : ps_body_out_of_memory(ret_fault);
}
