/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

int ps_openai_whole_init(struct ps_openai_decoder *decoder)
{
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};

    ps_json_scan_init(&decoder->scan, ps_openai_found_paths(&decoder->found), &limits,
                      ps_openai_found_on_value, &decoder->found);
    return 0;
}

static enum ps_decode broken(struct ps_openai_decoder *decoder, const char *why)
{
    return ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, why);
}

static enum ps_decode broken_json(struct ps_openai_decoder *decoder)
{
    (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, "");
    (void)ps_fault_set(&decoder->base.fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                       "The provider's answer %s.", ps_json_error_text(decoder->scan.error));
    return PS_DECODE_BROKEN;
}

enum ps_decode ps_openai_whole_feed(struct ps_openai_decoder *decoder, const char *ptr, size_t len)
{
    struct ps_openai_found *found = &decoder->found;

    if (decoder->base.options.fields) {
        ps_buf_append(&decoder->body, ptr, len);
        if (decoder->body.failed) {
            return broken(decoder,
                          "The provider's answer is larger than the gateway can translate.");
        }
        found->text = ps_buf_view(&decoder->body); /* it may have moved */
    } else {
        ps_openai_found_enter(found, ptr, len, decoder->scan.offset);
    }
    if (ps_json_scan_feed(&decoder->scan, ptr, len) != PS_JSON_OK) {
        return broken_json(decoder);
    }
    if (!decoder->base.options.fields) {
        ps_openai_found_leave(found);
        decoder->base.raw = ps_slice(ptr, len);
        (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
    }
    return ps_decoder_result(&decoder->base);
}

/* ---- the answer is complete ---- */

/*
 * Objects of the API may have an "error" member of their own (a response, a job that failed): where
 * we do not know the operation, only one that names no kind of object is an error.
 */
static bool reports_error(const struct ps_openai_decoder *decoder)
{
    const struct ps_openai_found *found = &decoder->found;

    if (found->error_object) {
        return true;
    }
    return found->error && (decoder->base.options.operation != PS_OP_PASS || !found->has_object);
}

static bool emit_said(struct ps_openai_decoder *decoder, const struct ps_found_choice *choice,
                      uint32_t position)
{
    const struct ps_openai_found *found = &decoder->found;
    bool other = choice->refusal.len > 0 || choice->tools.len > 0;

    if (choice->reasoning.len > 0 &&
        !ps_openai_emit_content(decoder, PS_EVENT_REASONING, choice->index,
                                ps_openai_found_raw(found, choice->reasoning))) {
        return false;
    }
    if (!ps_openai_emit_logprobs(decoder, choice->index, position)) {
        return false;
    }
    if (choice->text.len > 0 ? !ps_openai_emit_content(decoder, PS_EVENT_TEXT, choice->index,
                                                       ps_openai_found_raw(found, choice->text))
                             : !other && !ps_openai_emit_text(decoder, PS_EVENT_TEXT, choice->index,
                                                              PS_SLICE_NONE)) {
        return false;
    }
    if (choice->refusal.len > 0 &&
        !ps_openai_emit_content(decoder, PS_EVENT_REFUSAL, choice->index,
                                ps_openai_found_raw(found, choice->refusal))) {
        return false;
    }
    if (choice->tools.len > 0 &&
        !ps_openai_emit_tools(decoder, choice->index, ps_openai_found_raw(found, choice->tools))) {
        return false;
    }
    return ps_openai_emit_annotations(decoder, choice->index,
                                      ps_openai_choice_at(&decoder->found, position));
}

static bool each_choice(struct ps_openai_decoder *decoder,
                        bool (*fn)(struct ps_openai_decoder *decoder,
                                   const struct ps_found_choice *choice, uint32_t position))
{
    const struct ps_openai_found *found = &decoder->found;
    struct ps_found_choice choice;

    for (size_t i = 0; i < found->choices.len / sizeof(choice); i++) {
        memcpy(&choice, found->choices.ptr + i * sizeof(choice), sizeof(choice));
        if (!fn(decoder, &choice, (uint32_t)i)) {
            return false;
        }
    }
    return true;
}

static bool emit_ending(struct ps_openai_decoder *decoder, const struct ps_found_choice *choice,
                        uint32_t position)
{
    struct ps_slice word = ps_openai_bare(ps_openai_found_raw(&decoder->found, choice->finish));
    struct ps_slice stop = PS_SLICE_NONE;

    if (choice->finish.len == 0) {
        return true;
    }
    if (decoder->base.options.fields) {
        stop = ps_openai_stop_of(decoder, ps_openai_choice_at(&decoder->found, position));
    }
    return ps_openai_emit_finish(decoder, choice->index, word, stop);
}

static bool emit_list(struct ps_openai_decoder *decoder)
{
    enum ps_operation operation = decoder->base.options.operation;

    if (operation == PS_OP_COUNT_TOKENS) {
        return ps_openai_emit_count(decoder);
    }
    return (operation != PS_OP_EMBED && operation != PS_OP_RERANK) || ps_openai_emit_list(decoder);
}

/*
 * RESULT comes first where the front relays: it commits an answer of which the gateway may still
 * hold every byte, and so knows the length. A front that translates wants what was said before it.
 */
static void emit_result(struct ps_openai_decoder *decoder)
{
    struct ps_openai_found *found = &decoder->found;
    bool fields = decoder->base.options.fields;

    if (fields ? !each_choice(decoder, emit_said) || !emit_list(decoder)
               : !ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT)) {
        return;
    }
    if (found->has_usage && !ps_openai_emit_usage(decoder, &found->usage)) {
        return;
    }
    if (!each_choice(decoder, emit_ending)) {
        return;
    }
    if (!fields || ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT)) {
        (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    }
}

static bool is_object_operation(enum ps_operation operation)
{
    return operation == PS_OP_CHAT || operation == PS_OP_COMPLETE || operation == PS_OP_EMBED ||
           operation == PS_OP_RERANK || operation == PS_OP_COUNT_TOKENS;
}

enum ps_decode ps_openai_whole_finish(struct ps_openai_decoder *decoder)
{
    struct ps_decoder *base = &decoder->base;
    struct ps_openai_found *found = &decoder->found;

    if (base->options.operation == PS_OP_PASS && !decoder->any) {
        emit_result(decoder); /* no body at all, a 204 for one */
        return ps_decoder_result(base);
    }
    if (ps_json_scan_finish(&decoder->scan) != PS_JSON_OK) {
        return broken_json(decoder);
    }
    if (found->choices.failed) {
        return ps_openai_out_of_memory(decoder);
    }
    if (decoder->scan.root != PS_JSON_OBJECT && is_object_operation(base->options.operation)) {
        return broken(decoder, "The provider's answer is not a JSON object.");
    }
    if (reports_error(decoder)) {
        struct ps_openai_error error = ps_openai_found_error(found);

        (void)ps_openai_emit_fault(decoder, &error);
        return ps_decoder_result(base);
    }
    if (base->options.fields && decoder->has_finish && found->choice_count == 0) {
        return broken(decoder, "The provider's answer has no choices.");
    }
    emit_result(decoder);
    return ps_decoder_result(base);
}
