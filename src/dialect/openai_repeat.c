/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_repeat.h"

#include "penstock/base/json_scan.h"

void ps_openai_repeat_init(struct ps_openai_repeat *repeat)
{
    repeat->before = 0;
    ps_buf_init(&repeat->around, PS_REPEAT_MAX);
}

void ps_openai_repeat_deinit(struct ps_openai_repeat *repeat)
{
    repeat->before = 0;
    ps_buf_deinit(&repeat->around);
}

/* The one string that the choice said; len 0: there is none, or more was said. */
static struct ps_found_piece only_text(const struct ps_found_choice *choice,
                                       enum ps_event_kind *ret_kind)
{
    const struct ps_found_piece none = {0, 0};
    bool text = choice->text.len > 0;
    bool reasoning = choice->reasoning.len > 0;

    if (text == reasoning || choice->refusal.len > 0 || choice->tools.len > 0 ||
        choice->finish.len > 0 || choice->media) {
        return none;
    }
    *ret_kind = text ? PS_EVENT_TEXT : PS_EVENT_REASONING;
    return text ? choice->text : choice->reasoning;
}

void ps_openai_repeat_learn(struct ps_openai_repeat *repeat, const struct ps_openai_found *found)
{
    struct ps_slice data = found->text;
    struct ps_found_choice choice;
    struct ps_found_piece piece;
    enum ps_event_kind kind;

    if (found->choice_count != 1 || found->choices.failed || found->has_usage) {
        return;
    }
    memcpy(&choice, found->choices.ptr, sizeof(choice));
    piece = only_text(&choice, &kind);
    if (piece.len < 2 || data.ptr[piece.at] != '"') {
        return;
    }
    repeat->kind = kind;
    repeat->choice = choice.index;
    repeat->before = piece.at + 1;
    ps_buf_reset(&repeat->around);
    ps_buf_append(&repeat->around, data.ptr, repeat->before);
    ps_buf_append(&repeat->around, data.ptr + piece.at + piece.len - 1,
                  data.len - (piece.at + piece.len - 1));
    if (repeat->around.failed) {
        repeat->before = 0;
    }
}

bool ps_openai_repeat_match(const struct ps_openai_repeat *repeat, struct ps_slice data,
                            struct ps_slice *ret_text)
{
    const struct ps_buf *around = &repeat->around;
    size_t before = repeat->before;
    const char *close;

    /* Longer than what is around it: an empty string says nothing. */
    if (before == 0 || data.len <= around->len) {
        return false;
    }
    close = data.ptr + data.len - (around->len - before);
    if (memcmp(data.ptr, around->ptr, before) != 0 ||
        memcmp(close, around->ptr + before, around->len - before) != 0 ||
        ps_json_string_close(data.ptr + before, data.ptr + data.len) != close) {
        return false;
    }
    *ret_text = ps_slice(data.ptr + before - 1, (size_t)(close + 1 - data.ptr) - (before - 1));
    return true;
}
