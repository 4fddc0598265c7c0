/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

#include "penstock/base/mem.h"

#define KEPT_MAX 32768

static const struct ps_json_path list[PS_ANTHROPIC_VALUES] = {
    [PS_ANTHROPIC_V_TYPE] = {"type", false},
    [PS_ANTHROPIC_V_INDEX] = {"index", false},
    [PS_ANTHROPIC_V_DELTA_TYPE] = {"delta.type", false},
    [PS_ANTHROPIC_V_DELTA_TEXT] = {"delta.text", false},
    [PS_ANTHROPIC_V_DELTA_JSON] = {"delta.partial_json", false},
    [PS_ANTHROPIC_V_DELTA_THINKING] = {"delta.thinking", false},
    [PS_ANTHROPIC_V_DELTA_SIGNATURE] = {"delta.signature", false},
    [PS_ANTHROPIC_V_DELTA_CITATION] = {"delta.citation", false},
    [PS_ANTHROPIC_V_DELTA_STOP_REASON] = {"delta.stop_reason", false},
    [PS_ANTHROPIC_V_DELTA_STOP_SEQUENCE] = {"delta.stop_sequence", false},
    [PS_ANTHROPIC_V_DELTA_EXPLANATION] = {"delta.stop_details.explanation", false},
    [PS_ANTHROPIC_V_BLOCK] = {"content_block", false},
    [PS_ANTHROPIC_V_MESSAGE_ID] = {"message.id", false},
    [PS_ANTHROPIC_V_MESSAGE_MODEL] = {"message.model", false},
    [PS_ANTHROPIC_V_START_INPUT] = {"message.usage.input_tokens", false},
    [PS_ANTHROPIC_V_START_WRITE] = {"message.usage.cache_creation_input_tokens", false},
    [PS_ANTHROPIC_V_START_READ] = {"message.usage.cache_read_input_tokens", false},
    [PS_ANTHROPIC_V_START_OUTPUT] = {"message.usage.output_tokens", false},
    [PS_ANTHROPIC_V_START_THINKING] = {"message.usage.output_tokens_details.thinking_tokens",
                                       false},
    [PS_ANTHROPIC_V_INPUT] = {"usage.input_tokens", false},
    [PS_ANTHROPIC_V_WRITE] = {"usage.cache_creation_input_tokens", false},
    [PS_ANTHROPIC_V_READ] = {"usage.cache_read_input_tokens", false},
    [PS_ANTHROPIC_V_OUTPUT] = {"usage.output_tokens", false},
    [PS_ANTHROPIC_V_THINKING] = {"usage.output_tokens_details.thinking_tokens", false},
    [PS_ANTHROPIC_V_ERROR] = {"error", false},
    [PS_ANTHROPIC_V_ERROR_TYPE] = {"error.type", false},
    [PS_ANTHROPIC_V_ERROR_MESSAGE] = {"error.message", false},
    [PS_ANTHROPIC_V_ID] = {"id", false},
    [PS_ANTHROPIC_V_MODEL] = {"model", false},
    [PS_ANTHROPIC_V_CONTENT] = {"content", false},
    [PS_ANTHROPIC_V_STOP_REASON] = {"stop_reason", false},
    [PS_ANTHROPIC_V_STOP_SEQUENCE] = {"stop_sequence", false},
    [PS_ANTHROPIC_V_EXPLANATION] = {"stop_details.explanation", false},
    [PS_ANTHROPIC_V_COUNT_TOKENS] = {"input_tokens", false},
};
_Static_assert(PS_ANTHROPIC_VALUES <= 64, "a bit for every value");

static struct ps_json_paths *paths;

int ps_anthropic_found_global_init(void)
{
    paths = ps_json_paths_new(list, PS_ANTHROPIC_VALUES);
    return paths != NULL ? 0 : -1;
}

void ps_anthropic_found_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

const struct ps_json_paths *ps_anthropic_found_paths(void)
{
    return paths;
}

int ps_anthropic_found_init(struct ps_anthropic_found *found, bool passing)
{
    found->given = 0;
    found->passing = passing;
    ps_buf_init(&found->kept, KEPT_MAX);
    if (passing) {
        found->tail = ps_malloc(PS_ANTHROPIC_TAIL);
        return found->tail != NULL ? 0 : -1;
    }
    return 0;
}

void ps_anthropic_found_deinit(struct ps_anthropic_found *found)
{
    ps_buf_deinit(&found->kept);
    ps_free(found->tail);
    found->tail = NULL;
}

void ps_anthropic_found_reset(struct ps_anthropic_found *found, struct ps_slice text)
{
    found->given = 0;
    found->text = text;
}

void ps_anthropic_found_enter(struct ps_anthropic_found *found, struct ps_slice piece,
                              uint64_t offset)
{
    found->window = piece;
    found->window_at = offset;
}

void ps_anthropic_found_leave(struct ps_anthropic_found *found)
{
    struct ps_slice window = found->window;
    size_t keep = 0;

    if (window.len >= PS_ANTHROPIC_TAIL) {
        window = ps_slice(window.ptr + window.len - PS_ANTHROPIC_TAIL, PS_ANTHROPIC_TAIL);
    } else {
        keep = PS_ANTHROPIC_TAIL - window.len;
        keep = keep < found->tail_len ? keep : found->tail_len;
        memmove(found->tail, found->tail + found->tail_len - keep, keep);
    }
    if (window.len > 0) {
        memcpy(found->tail + keep, window.ptr, window.len);
    }
    found->tail_len = keep + window.len;
    found->window = PS_SLICE_NONE;
}

/* Copies a short value, which may have begun in earlier pieces or end right before this one. */
static bool keep_value(struct ps_anthropic_found *found, const struct ps_json_value *value,
                       struct ps_anthropic_piece *ret)
{
    uint64_t at = value->start;
    size_t start = found->kept.len;

    if (value->end - value->start > PS_ANTHROPIC_TAIL ||
        value->start + found->tail_len < found->window_at) {
        return false;
    }
    if (at < found->window_at) {
        size_t before = (size_t)(found->window_at - at);
        size_t len = (size_t)(value->end - at);

        ps_buf_append(&found->kept, found->tail + found->tail_len - before,
                      len < before ? len : before);
        at = found->window_at;
    }
    if (at < value->end) {
        ps_buf_append(&found->kept, found->window.ptr + (at - found->window_at),
                      (size_t)(value->end - at));
    }
    *ret = (struct ps_anthropic_piece){start, (size_t)(value->end - value->start)};
    return !found->kept.failed;
}

bool ps_anthropic_found_on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_anthropic_found *found = arg;
    struct ps_anthropic_piece piece = {(size_t)value->start, (size_t)(value->end - value->start)};
    uint64_t bit = UINT64_C(1) << value->path;

    if (value->type == PS_JSON_NULL) {
        found->given &= ~bit;
        return true;
    }
    if (found->passing && !keep_value(found, value, &piece)) {
        piece = (struct ps_anthropic_piece){0, 0}; /* it was there, and that is all we know */
    }
    found->pieces[value->path] = piece;
    found->given |= bit;
    return true;
}

struct ps_slice ps_anthropic_found_raw(const struct ps_anthropic_found *found,
                                       enum ps_anthropic_value value)
{
    struct ps_anthropic_piece piece = found->pieces[value];

    if (!ps_anthropic_found_has(found, value) || piece.len == 0) {
        return PS_SLICE_NONE;
    }
    return ps_slice((found->passing ? found->kept.ptr : found->text.ptr) + piece.at, piece.len);
}
