/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "openai_priv.h"

/* A chat completion for a request that came in another family: our own members around its raw
 * values. */

#define PART_MAX 32

struct body {
    struct ps_slice *parts; /* [PART_MAX], in the arena */
    size_t count;
    uint64_t length;
};

static void add(struct body *body, struct ps_slice text)
{
    if (text.len > 0) {
        body->parts[body->count++] = text;
        body->length += text.len;
    }
}

static void add_member(struct body *body, struct ps_slice key, struct ps_slice raw)
{
    if (raw.len > 0) {
        add(body, key);
        add(body, raw);
    }
}

static void add_messages(struct body *body, const struct ps_generate_values *neutral)
{
    add(body, PS_SLICE_LIT("\"messages\":["));
    if (neutral->system.len > 0) {
        add(body, PS_SLICE_LIT("{\"role\":\"system\",\"content\":"));
        add(body, neutral->system);
        add(body, PS_SLICE_LIT("},"));
    }
    if (neutral->messages.len > 0) {
        /* The reader has checked that there is one, so no comma is left hanging. */
        add(body, ps_slice(neutral->messages.ptr + 1, neutral->messages.len - 1));
    } else {
        add(body, PS_SLICE_LIT("{\"role\":\"user\",\"content\":"));
        add(body, neutral->prompt);
        add(body, PS_SLICE_LIT("}]"));
    }
}

int ps_openai_encode_neutral(const struct ps_request *request,
                             const struct ps_encode_options *options, struct ps_arena *arena,
                             struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    const struct ps_generate_values *neutral = request->generate;
    struct ps_slice name = options->model.len > 0 ? options->model : request->model;
    struct ps_slice model = PS_SLICE_NONE;
    struct body body = {.parts = ps_arena_alloc(arena, PART_MAX * sizeof(struct ps_slice))};

    if (neutral == NULL) {
        return ps_fault_set(ret_fault, PS_FAULT_INTERNAL, NULL,
                            "The request was not prepared for this provider.");
    }
    if (name.len > 0) {
        model = ps_openai_model_text(name, true, arena);
    }
    if (body.parts == NULL || (name.len > 0 && model.ptr == NULL)) {
        return ps_body_out_of_memory(ret_fault);
    }
    add(&body, PS_SLICE_LIT("{"));
    if (model.len > 0) {
        add(&body, model);
        add(&body, PS_SLICE_LIT(","));
    }
    add_messages(&body, neutral);
    add_member(&body, PS_SLICE_LIT(",\"max_tokens\":"), neutral->max_tokens);
    add_member(&body, PS_SLICE_LIT(",\"temperature\":"), neutral->temperature);
    add_member(&body, PS_SLICE_LIT(",\"top_p\":"), neutral->top_p);
    add_member(&body, PS_SLICE_LIT(",\"stop\":"), neutral->stop);
    add_member(&body, PS_SLICE_LIT(",\"seed\":"), neutral->seed);
    if (request->stream) {
        add(&body, PS_SLICE_LIT(",\"stream\":true"));
        if (options->active_accounting) {
            add(&body, PS_SLICE_LIT(",\"stream_options\":{\"include_usage\":true}"));
        }
    }
    add(&body, PS_SLICE_LIT("}"));
    ret->parts = body.parts;
    ret->part_count = body.count;
    ret->length = body.length;
    return 0;
}
