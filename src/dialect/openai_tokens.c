/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"
#include "texts.h"

/* Log probabilities of tokens, as OpenAI's API and Ollama's tell them. */

/* Into room that was made: nothing moves. */
static struct ps_slice plain_of(struct ps_buf *plain, struct ps_slice raw)
{
    size_t start = plain->len;
    char *room;

    if (!ps_raw_says(raw)) {
        return PS_SLICE_NONE;
    }
    room = ps_buf_reserve(plain, raw.len);
    if (room == NULL) {
        return PS_SLICE_NONE;
    }
    ps_buf_commit(plain, ps_json_unescape(raw, room));
    return ps_slice(plain->ptr + start, plain->len - start);
}

/* As its bytes when they are told: a token may be part of a character. */
static bool read_token(struct ps_buf *plain, struct ps_slice raw, struct ps_event_logprob *ret)
{
    struct ps_slice bytes = ps_raw_member(raw, "bytes");
    struct ps_slice number = ps_raw_member(raw, "logprob");
    struct ps_json_walk walk;
    struct ps_slice byte;
    double value;
    size_t start;

    if (number.len == 0 || !ps_json_double(number, &value)) {
        return false;
    }
    ret->logprob = value < -9999 ? -9999.0F : value > 0 ? 0.0F : (float)value;
    ret->token = plain_of(plain, ps_raw_member(raw, "token"));
    if (!ps_raw_begins(bytes, '[')) {
        return true;
    }
    start = plain->len;
    ps_json_walk_init(&walk, bytes);
    while (ps_json_walk_element(&walk, &byte)) {
        int64_t code = ps_texts_count(byte);

        if (code < 0 || code > 255) {
            return true;
        }
        ps_buf_byte(plain, (char)(unsigned char)code);
    }
    if (plain->len > start && !plain->failed) {
        ret->token = ps_slice(plain->ptr + start, plain->len - start);
    }
    return true;
}

bool ps_openai_read_logprob(struct ps_buf *plain, struct ps_slice raw,
                            struct ps_event_logprob top[PS_OPENAI_TOP], struct ps_event *ret)
{
    struct ps_slice list = ps_raw_member(raw, "top_logprobs");
    struct ps_json_walk walk;
    struct ps_slice element;

    *ret = (struct ps_event){.kind = PS_EVENT_LOGPROBS, .usage = PS_USAGE_NONE, .top = top};
    if (!read_token(plain, raw, &ret->logprob)) {
        return false;
    }
    if (ps_raw_begins(list, '[')) {
        ps_json_walk_init(&walk, list);
        while (ret->top_count < PS_OPENAI_TOP && ps_json_walk_element(&walk, &element)) {
            ret->top_count += read_token(plain, element, &top[ret->top_count]);
        }
    }
    return true;
}

static bool emit_token(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice raw)
{
    struct ps_event_logprob top[PS_OPENAI_TOP];
    struct ps_event event;

    ps_buf_reset(&decoder->text);
    if (ps_buf_reserve(&decoder->text, 2 * raw.len + 1) == NULL) {
        (void)ps_openai_out_of_memory(decoder);
        return false;
    }
    if (!ps_openai_read_logprob(&decoder->text, raw, top, &event)) {
        return true;
    }
    event.choice = choice;
    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_openai_wants_logprobs(const struct ps_openai_decoder *decoder)
{
    return decoder->base.options.fields && decoder->base.options.operation == PS_OP_CHAT &&
           (decoder->base.options.memo & PS_OPENAI_LOGPROBS) != 0;
}

bool ps_openai_emit_logprobs(struct ps_openai_decoder *decoder, uint32_t choice, uint32_t position)
{
    struct ps_slice list;
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_openai_wants_logprobs(decoder)) {
        return true;
    }
    list = ps_raw_member(ps_raw_member(ps_openai_choice_at(&decoder->found, position), "logprobs"),
                         "content");
    if (!ps_raw_begins(list, '[')) {
        return true;
    }
    ps_json_walk_init(&walk, list);
    while (ps_json_walk_element(&walk, &element)) {
        if (!emit_token(decoder, choice, element)) {
            return false;
        }
    }
    return true;
}
