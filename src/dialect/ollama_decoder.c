/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"
#include "openai_priv.h"

/*
 * Answers of Ollama's API: lines of JSON, each a piece of the message, the last with "done" and the
 * counts; an error is a line of its own. A whole answer is one such object with all of it. Tool
 * calls come whole, mostly without an id. /api/generate, which is asked for completions and relayed
 * for its own clients, says its text at the top.
 */

/* ---- tools ---- */

static bool say_calls(struct ps_ollama_decoder *decoder, struct ps_slice calls)
{
    struct ps_json_walk walk;
    struct ps_slice call;

    if (!ps_raw_begins(calls, '[')) {
        return true;
    }
    ps_json_walk_init(&walk, calls);
    while (ps_json_walk_element(&walk, &call)) {
        if (!ps_texts_emit_call(&decoder->texts, decoder->calls++, call)) {
            return false;
        }
    }
    return true;
}

/* ---- log probabilities ---- */

static bool say_logprob(struct ps_texts *texts, struct ps_slice raw)
{
    struct ps_event_logprob top[PS_OPENAI_TOP];
    struct ps_event event;

    /* Twice: a token's text, and its bytes. */
    if (!ps_texts_begin(texts, 2 * raw.len)) {
        return false;
    }
    return !ps_openai_read_logprob(&texts->plain, raw, top, &event) ||
           ps_decoder_emit(&texts->base, &event);
}

static bool say_logprobs(struct ps_texts *texts, struct ps_slice list)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_raw_begins(list, '[')) {
        return true;
    }
    ps_json_walk_init(&walk, list);
    while (ps_json_walk_element(&walk, &element)) {
        if (!say_logprob(texts, element)) {
            return false;
        }
    }
    return true;
}

/* ---- one object ---- */

static bool say_error(struct ps_texts *texts, struct ps_slice message)
{
    const struct ps_openai_error error = {.message = message};

    ps_openai_fault_of(0, &error, &texts->base.fault);
    return ps_texts_emit_fault(texts);
}

static bool say_message(struct ps_ollama_decoder *decoder, struct ps_slice text)
{
    struct ps_texts *texts = &decoder->texts;
    struct ps_slice message = ps_raw_member(text, "message");
    bool chat = message.len > 0;
    struct ps_slice from = chat ? message : text;

    if (!decoder->started) {
        decoder->started = true;
        if (!ps_texts_emit_start(texts, PS_SLICE_NONE, ps_raw_member(text, "model"))) {
            return false;
        }
    }
    return (texts->base.options.operation == PS_OP_COMPLETE ||
            ps_texts_emit_text(texts, PS_EVENT_REASONING, 0, ps_raw_member(from, "thinking"))) &&
           say_logprobs(texts, ps_raw_member(text, "logprobs")) &&
           ps_texts_emit_text(texts, PS_EVENT_TEXT, 0,
                              ps_raw_member(from, chat ? "content" : "response")) &&
           say_calls(decoder, ps_raw_member(message, "tool_calls"));
}

static bool say_end(struct ps_ollama_decoder *decoder, struct ps_slice text)
{
    struct ps_slice reason = ps_raw_member(text, "done_reason");
    struct ps_usage usage = PS_USAGE_NONE;
    enum ps_finish finish = decoder->calls > 0              ? PS_FINISH_TOOL_CALLS
                            : ps_raw_word(reason, "length") ? PS_FINISH_LENGTH
                                                            : PS_FINISH_STOP;

    usage.input = ps_texts_count(ps_raw_member(text, "prompt_eval_count"));
    usage.output = ps_texts_count(ps_raw_member(text, "eval_count"));
    return ps_texts_emit_usage(&decoder->texts, &usage) &&
           ps_texts_emit_finish(&decoder->texts, finish, reason);
}

static bool on_text(struct ps_texts *texts, struct ps_slice name, struct ps_slice text)
{
    struct ps_ollama_decoder *decoder = (struct ps_ollama_decoder *)texts;
    struct ps_slice error = ps_raw_member(text, "error");

    (void)name;
    if (error.len > 0) {
        return say_error(texts, error);
    }
    if (!say_message(decoder, text)) {
        return false;
    }
    if (!ps_raw_begins(ps_raw_member(text, "done"), 't')) {
        return true;
    }
    if (say_end(decoder, text)) {
        (void)ps_decoder_emit_kind(&texts->base, PS_EVENT_DONE);
    }
    return false;
}

static bool on_whole(struct ps_texts *texts, struct ps_slice text)
{
    struct ps_ollama_decoder *decoder = (struct ps_ollama_decoder *)texts;
    struct ps_slice error = ps_raw_member(text, "error");
    struct ps_usage usage = PS_USAGE_NONE;

    if (error.len > 0) {
        return say_error(texts, error);
    }
    if (texts->base.options.operation == PS_OP_PASS) {
        return true;
    }
    if (texts->base.options.operation == PS_OP_EMBED) {
        usage.input = ps_texts_count(ps_raw_member(text, "prompt_eval_count"));
        return ps_texts_emit_start(texts, PS_SLICE_NONE, ps_raw_member(text, "model")) &&
               (!texts->base.options.fields ||
                ps_texts_emit_vectors(texts, ps_raw_member(text, "embeddings"))) &&
               ps_texts_emit_usage(texts, &usage);
    }
    if (!ps_raw_begins(ps_raw_member(text, "done"), 't')) {
        return ps_texts_break(texts, "The provider's answer is not finished.");
    }
    return say_message(decoder, text) && say_end(decoder, text);
}

int ps_ollama_decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    static const struct ps_texts_ops ops = {true, on_text, on_whole};

    return ps_texts_init((struct ps_texts *)base, &ops, content_type);
}
