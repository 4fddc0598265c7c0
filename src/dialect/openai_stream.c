/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

/* ---- what one event says ---- */

static void mark(uint64_t bits[2], uint32_t choice)
{
    if (choice < 128) {
        bits[choice / 64] |= UINT64_C(1) << (choice % 64);
    }
}

/* An event that stands for itself: the upstream tells no more about it. */
static bool emit_other(struct ps_openai_decoder *decoder)
{
    const struct ps_openai_found *found = &decoder->found;

    if (!decoder->started && found->choice_count > 0) {
        decoder->started = true;
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_START);
    }
    return ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
}

/* One thing that a choice says; `raw` is a string, or content in parts, or tool calls. */
static bool emit_said(struct ps_openai_decoder *decoder, enum ps_event_kind kind, uint32_t choice,
                      struct ps_slice raw)
{
    if (!decoder->base.options.fields) {
        return ps_openai_emit_text(decoder, kind, choice, PS_SLICE_NONE);
    }
    return kind == PS_EVENT_TOOL_CALL ? ps_openai_emit_tools(decoder, choice, raw)
                                      : ps_openai_emit_content(decoder, kind, choice, raw);
}

static bool emit_choice(struct ps_openai_decoder *decoder, const struct ps_found_choice *choice,
                        uint32_t position)
{
    const struct ps_openai_found *found = &decoder->found;
    const struct {
        enum ps_event_kind kind;
        struct ps_found_piece piece;
    } said[] = {
        {PS_EVENT_REASONING, choice->reasoning},
        {PS_EVENT_TEXT, choice->text},
        {PS_EVENT_REFUSAL, choice->refusal},
        {PS_EVENT_TOOL_CALL, choice->tools},
    };
    bool any = choice->media;

    if (!ps_openai_emit_logprobs(decoder, choice->index, position)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        if (said[i].piece.len == 0) {
            continue;
        }
        any = true;
        mark(decoder->begun, choice->index);
        if (!emit_said(decoder, said[i].kind, choice->index,
                       ps_openai_found_raw(found, said[i].piece))) {
            return false;
        }
    }
    if (choice->media) {
        struct ps_event event = {
            .kind = PS_EVENT_MEDIA, .choice = choice->index, .usage = PS_USAGE_NONE};

        mark(decoder->begun, choice->index);
        return ps_decoder_emit(&decoder->base, &event);
    }
    /* Citations come in chunks of their own, or with the end. */
    return any || !decoder->base.options.fields ||
           ps_openai_emit_annotations(decoder, choice->index,
                                      ps_openai_choice_at(&decoder->found, position));
}

static bool emit_ending(struct ps_openai_decoder *decoder, const struct ps_found_choice *choice,
                        uint32_t position)
{
    struct ps_slice stop = PS_SLICE_NONE;
    struct ps_slice word = ps_openai_bare(ps_openai_found_raw(&decoder->found, choice->finish));

    if (choice->finish.len == 0) {
        return true;
    }
    if (ps_openai_finish_is_fault(word)) {
        struct ps_openai_error error = {.type = PS_SLICE_LIT("\"server_error\"")};

        (void)ps_openai_emit_fault(decoder, &error);
        return false;
    }
    mark(decoder->begun, choice->index);
    mark(decoder->finished, choice->index);
    if (decoder->base.options.fields) {
        stop = ps_openai_stop_of(decoder, ps_openai_choice_at(&decoder->found, position));
    }
    return ps_openai_emit_finish(decoder, choice->index, word, stop);
}

static bool emit_choices(struct ps_openai_decoder *decoder)
{
    const struct ps_openai_found *found = &decoder->found;
    const char *at = found->choices.ptr;
    struct ps_found_choice choice;

    if (found->choices.failed) {
        (void)ps_openai_out_of_memory(decoder);
        return false;
    }
    for (size_t i = 0; i < found->choices.len / sizeof(choice); i++) {
        memcpy(&choice, at + i * sizeof(choice), sizeof(choice));
        if (!emit_choice(decoder, &choice, (uint32_t)i) ||
            !emit_ending(decoder, &choice, (uint32_t)i)) {
            return false;
        }
    }
    return true;
}

static bool is_word(struct ps_slice raw, const char *word)
{
    return ps_slice_eq_cstr(ps_openai_bare(raw), word);
}

/* The Responses API names its events in "type", and has one that ends the stream. */
static bool emit_response(struct ps_openai_decoder *decoder)
{
    struct ps_slice type = ps_openai_bare(ps_openai_found_type(&decoder->found));

    if (!ps_slice_starts(type, PS_SLICE_LIT("response."))) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_TEXT);
    }
    decoder->responses = true;
    if (is_word(type, "response.created") || is_word(type, "response.in_progress") ||
        is_word(type, "response.queued")) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_START);
    }
    if (is_word(type, "response.completed") || is_word(type, "response.incomplete")) {
        mark(decoder->finished, 0);
        return ps_openai_emit_finish(decoder, 0,
                                     is_word(type, "response.completed") ? PS_SLICE_LIT("stop")
                                                                         : PS_SLICE_LIT("length"),
                                     PS_SLICE_NONE);
    }
    return ps_decoder_emit_kind(&decoder->base, PS_EVENT_TEXT);
}

/* ---- one event ---- */

static bool reports_error(const struct ps_openai_decoder *decoder, const struct ps_sse_event *event)
{
    const struct ps_openai_found *found = &decoder->found;

    return found->error || found->error_object || ps_slice_eq(event->name, PS_SLICE_LIT("error")) ||
           (!decoder->has_finish && (is_word(ps_openai_found_type(found), "error") ||
                                     is_word(ps_openai_found_type(found), "response.failed")));
}

static bool on_json(struct ps_openai_decoder *decoder)
{
    struct ps_openai_found *found = &decoder->found;

    if (!decoder->has_finish) {
        if (!emit_response(decoder)) {
            return false;
        }
    } else if (!emit_choices(decoder)) {
        return false;
    }
    if (found->has_usage) {
        /* The chunk that only tells the usage has no choices. */
        decoder->base.withheld = decoder->base.options.withhold_usage && found->choice_count == 0;
        if (!ps_openai_emit_usage(decoder, &found->usage)) {
            return false;
        }
    }
    return decoder->base.raw.len == 0 || emit_other(decoder);
}

/*
 * [DONE]. A choice that has begun must have finished, and one must: a server that loses its model
 * half-way may still end its stream in good order.
 */
static bool on_done(struct ps_openai_decoder *decoder)
{
    const uint64_t *begun = decoder->begun;
    const uint64_t *finished = decoder->finished;

    if (decoder->has_finish && ((finished[0] | finished[1]) == 0 ||
                                (begun[0] & ~finished[0]) != 0 || (begun[1] & ~finished[1]) != 0)) {
        (void)ps_decoder_break(&decoder->base, PS_FAULT_STREAM_INCOMPLETE,
                               "The provider's stream ended before the answer was finished.");
        return false;
    }
    const struct ps_slice raw = decoder->base.raw;
    decoder->base.lf_due = raw.len > 0 && raw.ptr[raw.len - 1] == '\r';
    (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    return false; /* what follows is dropped */
}

static bool on_scanned(struct ps_openai_decoder *decoder, const struct ps_sse_event *event)
{
    struct ps_openai_found *found = &decoder->found;
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};
    struct ps_openai_error error;

    ps_openai_found_reset(found);
    found->text = event->data;
    if (ps_json_scan_text(event->data, ps_openai_found_paths(found), &limits,
                          ps_openai_found_on_value, found) != PS_JSON_OK) {
        /* One bad event does not end an otherwise good stream: the client sees what we saw. */
        ps_openai_found_reset(found);
        if (ps_slice_eq(event->name, PS_SLICE_LIT("error"))) {
            error = (struct ps_openai_error){.type = PS_SLICE_NONE};
            (void)ps_openai_emit_fault(decoder, &error);
            return false;
        }
        return ps_decoder_emit_kind(&decoder->base,
                                    decoder->has_finish ? PS_EVENT_OPAQUE : PS_EVENT_TEXT);
    }
    if (reports_error(decoder, event)) {
        error = ps_openai_found_error(found);
        (void)ps_openai_emit_fault(decoder, &error);
        return false;
    }
    if (decoder->has_finish && event->name.len == 0 && !ps_openai_wants_logprobs(decoder)) {
        ps_openai_repeat_learn(&decoder->repeat, found);
    }
    return on_json(decoder);
}

static bool on_data(struct ps_openai_decoder *decoder, const struct ps_sse_event *event)
{
    const struct ps_openai_repeat *repeat = &decoder->repeat;
    struct ps_slice text;

    if (event->name.len == 0 && ps_openai_repeat_match(repeat, event->data, &text)) {
        mark(decoder->begun, repeat->choice);
        return ps_openai_emit_text(decoder, repeat->kind, repeat->choice, text);
    }
    return on_scanned(decoder, event);
}

/*
 * A last event without its empty line. [DONE] is taken, as clients take it, and an error is one;
 * any other is left out of an answer that is broken off anyway, so that the error event which ends
 * it can be read.
 */
static bool on_partial(struct ps_openai_decoder *decoder, const struct ps_sse_event *event)
{
    struct ps_openai_found *found = &decoder->found;
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};

    if (!decoder->has_finish && !decoder->responses) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
    }
    decoder->base.raw = PS_SLICE_NONE;
    ps_openai_found_reset(found);
    found->text = event->data;
    if (event->has_data &&
        ps_json_scan_text(event->data, ps_openai_found_paths(found), &limits,
                          ps_openai_found_on_value, found) == PS_JSON_OK &&
        reports_error(decoder, event)) {
        struct ps_openai_error error = ps_openai_found_error(found);

        (void)ps_openai_emit_fault(decoder, &error);
    }
    return false;
}

bool ps_openai_on_sse(void *arg, const struct ps_sse_event *event)
{
    struct ps_openai_decoder *decoder = arg;

    decoder->base.raw = event->raw;
    decoder->base.withheld = false;
    if (event->has_data && ps_slice_eq(ps_slice_trim(event->data), PS_SLICE_LIT("[DONE]"))) {
        return on_done(decoder);
    }
    if (decoder->finishing) {
        return on_partial(decoder, event);
    }
    if (!event->has_data) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_PING);
    }
    return on_data(decoder, event);
}

enum ps_decode ps_openai_stream_finish(struct ps_openai_decoder *decoder)
{
    struct ps_decoder *base = &decoder->base;
    bool partial;

    decoder->finishing = true;
    if (ps_sse_finish(&decoder->sse, &partial) == PS_SSE_NO_MEMORY) {
        return ps_openai_out_of_memory(decoder);
    }
    if (base->broken || base->stopped || base->ended) {
        return ps_decoder_result(base);
    }
    if (decoder->has_finish || (decoder->responses && decoder->finished[0] == 0) || !decoder->any) {
        return ps_decoder_break(base, PS_FAULT_STREAM_INCOMPLETE,
                                "The provider's stream ended before the answer was finished.");
    }
    if (ps_decoder_emit_kind(base, PS_EVENT_RESULT)) {
        (void)ps_decoder_emit_kind(base, PS_EVENT_DONE);
    }
    return ps_decoder_result(base);
}
