/* SPDX-License-Identifier: Apache-2.0 */
#include "http_priv.h"
#include "openai_priv.h"

/*
 * A body for a plain deployment: the configured object, with values put in at the configured
 * places. What lies on the way there and is not in that object is made: an array where the step is
 * "0" or "-", else an object.
 */

enum put {
    PUT_PROMPT,
    PUT_MESSAGES,
    PUT_MODEL,
    PUT_MAX_TOKENS,
    PUT_TEMPERATURE,
    PUT_STOP,
    PUT_STREAM,
    PUTS,
};

struct merge {
    struct ps_encode *encode;
    struct ps_pointer at[PUTS];
};

static int write_value(struct ps_encode *encode, enum put put)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    switch (put) {
    case PUT_PROMPT:
        if (neutral->operation != PS_OP_EMBED) {
            return ps_plain_prompt(encode);
        }
        if (neutral->input_single && neutral->input_count == 1) {
            ps_out_raw(out, neutral->inputs[0]);
        } else {
            ps_out_array(&encode->out, encode->neutral->inputs, encode->neutral->input_count);
        }
        return 0;
    case PUT_MESSAGES:
        return ps_openai_write_message_list(encode);
    case PUT_MODEL:
        ps_out_text(out, encode->model);
        return 0;
    case PUT_MAX_TOKENS:
        ps_out_raw(out, neutral->max_tokens);
        return 0;
    case PUT_TEMPERATURE:
        ps_out_raw(out, neutral->temperature);
        return 0;
    case PUT_STOP:
        ps_out_array(&encode->out, encode->neutral->stops, encode->neutral->stop_count);
        return 0;
    case PUT_STREAM:
    case PUTS:
    default:
        ps_out_bool(out, encode->ret->stream);
        return 0;
    }
}

/* Those of `set` whose step at this depth is this key, or this index. */
static unsigned matching(const struct merge *merge, unsigned set, size_t depth, struct ps_slice key,
                         int index)
{
    unsigned found = 0;

    for (unsigned i = 0; i < PUTS; i++) {
        struct ps_slice step;

        if ((set & 1U << i) == 0) {
            continue;
        }
        step = merge->at[i].steps[depth];
        if (key.len > 0 ? ps_pointer_is(step, key) : ps_pointer_index(step) == index) {
            found |= 1U << i;
        }
    }
    return found;
}

static unsigned same_step(const struct merge *merge, unsigned set, size_t depth,
                          struct ps_slice step)
{
    unsigned found = 0;

    for (unsigned i = 0; i < PUTS; i++) {
        if ((set & 1U << i) != 0 && ps_slice_eq(merge->at[i].steps[depth], step)) {
            found |= 1U << i;
        }
    }
    return found;
}

static unsigned first_of(unsigned set)
{
    unsigned i = 0;

    while (i < PUTS && (set & 1U << i) == 0) {
        i++;
    }
    return i;
}

static void write_key(struct ps_json_out *out, struct ps_slice step)
{
    ps_out_string_begin(out);
    for (size_t i = 0; i < step.len; i++) {
        size_t from = i;

        if (step.ptr[i] == '~' && i + 1 < step.len) {
            ps_out_string_text(out, step.ptr[++i] == '1' ? PS_SLICE_LIT("/") : PS_SLICE_LIT("~"));
            continue;
        }
        while (i + 1 < step.len && step.ptr[i + 1] != '~') {
            i++;
        }
        ps_out_string_text(out, ps_slice(step.ptr + from, i + 1 - from));
    }
    ps_out_string_end(out);
    ps_buf_byte(out->buf, ':');
    out->comma = false;
}

static int write_node(const struct merge *merge, struct ps_slice base, unsigned set, size_t depth);

static int write_array(const struct merge *merge, struct ps_slice base, unsigned set, size_t depth)
{
    struct ps_json_out *out = &merge->encode->out;
    struct ps_json_walk walk;
    struct ps_slice value;
    unsigned done = 0;
    int index = 0;

    ps_out_open(out, '[');
    if (base.len > 0) {
        ps_json_walk_init(&walk, base);
        for (; ps_json_walk_element(&walk, &value); index++) {
            unsigned here = matching(merge, set & ~done, depth, PS_SLICE_NONE, index);

            done |= here;
            if (write_node(merge, value, here, depth + 1) != 0) {
                return -1;
            }
        }
    }
    /* What is behind its end goes to its end. */
    for (set &= ~done; set != 0; set &= ~done) {
        done = same_step(merge, set, depth, merge->at[first_of(set)].steps[depth]);
        if (write_node(merge, PS_SLICE_NONE, done, depth + 1) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    return 0;
}

static int write_object(const struct merge *merge, struct ps_slice base, unsigned set, size_t depth)
{
    struct ps_json_out *out = &merge->encode->out;
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;
    unsigned done = 0;

    ps_out_open(out, '{');
    if (ps_raw_begins(base, '{')) {
        ps_json_walk_init(&walk, base);
        while (ps_json_walk_member(&walk, &key, &value)) {
            unsigned here = matching(merge, set, depth, key, -1);

            done |= here;
            ps_out_raw(out, key);
            ps_buf_byte(out->buf, ':');
            out->comma = false;
            if (write_node(merge, value, here, depth + 1) != 0) {
                return -1;
            }
        }
    }
    for (set &= ~done; set != 0; set &= ~done) {
        struct ps_slice step = merge->at[first_of(set)].steps[depth];

        done = same_step(merge, set, depth, step);
        write_key(out, step);
        if (write_node(merge, PS_SLICE_NONE, done, depth + 1) != 0) {
            return -1;
        }
    }
    ps_out_close(out, '}');
    return 0;
}

/* `base`, with the values of `set` put in; no deeper than the longest pointer. */
static int write_node(const struct merge *merge, struct ps_slice base, unsigned set, size_t depth)
{
    struct ps_slice step;

    if (set == 0) {
        ps_out_raw(&merge->encode->out, base);
        return 0;
    }
    for (unsigned i = 0; i < PUTS; i++) {
        if ((set & 1U << i) != 0 && merge->at[i].count == depth) {
            return write_value(merge->encode, (enum put)i);
        }
    }
    step = merge->at[first_of(set)].steps[depth];
    if (ps_raw_begins(base, '[') ||
        (base.len == 0 && (ps_slice_eq_cstr(step, "0") || ps_slice_eq_cstr(step, "-")))) {
        return write_array(merge, base, set, depth);
    }
    return write_object(merge, base, set, depth);
}

/* Which values this request has, and where they go. */
static int place(struct merge *merge, unsigned *ret_set)
{
    struct ps_encode *encode = merge->encode;
    const struct ps_dialect_settings *settings = encode->settings;
    const struct ps_neutral *neutral = encode->neutral;
    bool as_messages = neutral->operation == PS_OP_CHAT && settings->messages_at.len > 0;
    const struct {
        bool given;
        struct ps_slice at;
    } places[PUTS] = {
        [PUT_PROMPT] = {!as_messages, settings->prompt_at.len > 0 ? settings->prompt_at
                                                                  : PS_SLICE_LIT("/prompt")},
        [PUT_MESSAGES] = {as_messages, settings->messages_at},
        [PUT_MODEL] = {encode->model.len > 0, settings->model_at},
        [PUT_MAX_TOKENS] = {neutral->max_tokens.len > 0, settings->max_tokens_at},
        [PUT_TEMPERATURE] = {neutral->temperature.len > 0, settings->temperature_at},
        [PUT_STOP] = {neutral->stop_count > 0, settings->stop_at},
        [PUT_STREAM] = {neutral->operation != PS_OP_EMBED, settings->stream_at},
    };

    *ret_set = 0;
    for (unsigned i = 0; i < PUTS; i++) {
        if (!places[i].given || places[i].at.len == 0) {
            continue;
        }
        if (!ps_pointer_read(places[i].at, &merge->at[i])) {
            return ps_fault_set(encode->fault, PS_FAULT_INTERNAL, NULL,
                                "The provider of this model is not well described.");
        }
        *ret_set |= 1U << i;
    }
    return 0;
}

static int check(struct ps_encode *encode)
{
    const struct ps_dialect_settings *settings = encode->settings;
    unsigned takes = (settings->max_tokens_at.len > 0 ? PS_TAKES_MAX_TOKENS : 0U) |
                     (settings->temperature_at.len > 0 ? PS_TAKES_TEMPERATURE : 0U) |
                     (settings->stop_at.len > 0 ? PS_TAKES_STOP : 0U);

    if (encode->neutral->operation == PS_OP_EMBED) {
        return ps_plain_check_embed(encode);
    }
    return ps_plain_check(encode, takes) != 0 ? -1 : ps_drop_extras(encode);
}

static int put_path(struct ps_encode *encode)
{
    const struct ps_dialect_settings *settings = encode->settings;
    struct ps_slice path = encode->ret->stream && settings->stream_path.len > 0
                               ? settings->stream_path
                               : settings->path;

    if (path.len == 0) {
        path = PS_SLICE_LIT("/");
    }
    encode->ret->path = ps_plain_path(encode, path);
    return encode->ret->path.ptr != NULL ? 0 : -1;
}

int ps_http_encode_neutral(struct ps_encode *encode)
{
    struct ps_slice base = encode->settings->body_template;
    struct merge merge = {.encode = encode};
    enum ps_http_stream stream = ps_http_stream_of(encode->settings);
    unsigned set;

    encode->ret->stream = encode->neutral->stream && stream != PS_HTTP_NONE;
    encode->ret->accept = !encode->ret->stream       ? PS_SLICE_LIT("application/json")
                          : stream == PS_HTTP_SSE    ? PS_SLICE_LIT("text/event-stream")
                          : stream == PS_HTTP_NDJSON ? PS_SLICE_LIT("application/x-ndjson")
                                                     : PS_SLICE_LIT("*/*");
    if (check(encode) != 0 || put_path(encode) != 0 || place(&merge, &set) != 0) {
        return -1;
    }
    return write_node(&merge, base.len > 0 ? base : PS_SLICE_LIT("{}"), set, 0);
}
