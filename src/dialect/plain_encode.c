/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_priv.h"

/* What models that take a text make of a request: see plain_priv.h. */

#define PATH_MAX_BYTES 2048

static int refuse(struct ps_encode *encode, unsigned takes)
{
    const struct ps_neutral *neutral = encode->neutral;
    bool formats =
        neutral->format == PS_FORMAT_JSON_OBJECT || neutral->format == PS_FORMAT_JSON_SCHEMA;

    if (ps_encode_tool_count(encode) > 0 && neutral->tool_choice != PS_CHOICE_NONE) {
        return ps_encode_unsupported(encode, "tools");
    }
    if (ps_encode_refuse_rest(encode, takes) != 0) {
        return -1;
    }
    if (formats && (takes & PS_TAKES_FORMAT) == 0) {
        return ps_encode_unsupported(encode, "response_format");
    }
    if (neutral->stop_count > 0 && (takes & PS_TAKES_STOP) == 0) {
        return ps_encode_unsupported(encode,
                                     neutral->stop_name != NULL ? neutral->stop_name : "stop");
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
    if (refuse(encode, takes) != 0 || drop_words(encode) != 0) {
        return -1;
    }
    return ps_encode_drop_rest(encode, takes);
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

struct ps_slice ps_plain_path(struct ps_encode *encode, struct ps_slice path)
{
    static const struct ps_slice place = PS_SLICE_INIT("{model}");
    struct ps_slice model = ps_encode_segment(encode->arena, encode->model, false);
    struct ps_slice made = PS_SLICE_NONE;
    struct ps_buf buf;
    size_t i = 0;

    if (model.ptr == NULL) {
        (void)ps_encode_no_memory(encode);
        return PS_SLICE_NONE;
    }
    ps_buf_init(&buf, PATH_MAX_BYTES);
    while (i < path.len) {
        if (ps_slice_starts(ps_slice(path.ptr + i, path.len - i), place)) {
            ps_buf_slice(&buf, model);
            i += place.len;
        } else {
            ps_buf_byte(&buf, path.ptr[i++]);
        }
    }
    if (buf.failed) {
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
