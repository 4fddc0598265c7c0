/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_found.h"

#include "openai_paths.h"

#include "penstock/base/mem.h"

#define KEPT_MAX 32768

const struct ps_json_paths *ps_openai_found_paths(const struct ps_openai_found *found)
{
    return ps_openai_paths(found->answers);
}

int ps_openai_found_init(struct ps_openai_found *found, bool answers, bool passing)
{
    found->answers = answers;
    found->passing = passing;
    ps_buf_init(&found->choices, PS_FOUND_CHOICES * sizeof(struct ps_found_choice));
    ps_buf_init(&found->kept, KEPT_MAX);
    ps_openai_found_reset(found);
    if (passing) {
        found->tail = ps_malloc(PS_FOUND_TAIL);
        return found->tail != NULL ? 0 : -1;
    }
    return 0;
}

void ps_openai_found_deinit(struct ps_openai_found *found)
{
    ps_buf_deinit(&found->choices);
    ps_buf_deinit(&found->kept);
    ps_free(found->tail);
    found->tail = NULL;
}

void ps_openai_found_reset(struct ps_openai_found *found)
{
    found->error = false;
    found->error_object = false;
    found->has_object = false;
    found->has_usage = false;
    found->has_choices = false;
    found->choice_count = 0;
    found->usage = PS_USAGE_NONE;
    memset(found->error_parts, 0, sizeof(found->error_parts));
    memset(found->flat_parts, 0, sizeof(found->flat_parts));
    found->choice = (struct ps_found_choice){.index = 0};
    found->walked = 0;
    ps_buf_reset(&found->choices);
    ps_buf_reset(&found->kept);
}

/* ---- where a value's bytes are ---- */

void ps_openai_found_enter(struct ps_openai_found *found, const char *ptr, size_t len,
                           uint64_t offset)
{
    found->window = ps_slice(ptr, len);
    found->window_at = offset;
}

void ps_openai_found_leave(struct ps_openai_found *found)
{
    struct ps_slice window = found->window;
    size_t keep;

    if (window.len >= PS_FOUND_TAIL) {
        memcpy(found->tail, window.ptr + window.len - PS_FOUND_TAIL, PS_FOUND_TAIL);
        found->tail_len = PS_FOUND_TAIL;
    } else {
        keep = PS_FOUND_TAIL - window.len;
        keep = keep < found->tail_len ? keep : found->tail_len;
        memmove(found->tail, found->tail + found->tail_len - keep, keep);
        memcpy(found->tail + keep, window.ptr, window.len);
        found->tail_len = keep + window.len;
    }
    found->window = PS_SLICE_NONE;
}

/* Copies a value that may have begun in earlier pieces. Its end lies in the window, or right before
 * it. */
static struct ps_found_piece keep_copy(struct ps_openai_found *found,
                                       const struct ps_json_value *value)
{
    size_t len = (size_t)(value->end - value->start);
    size_t early = value->start < found->window_at ? (size_t)(found->window_at - value->start) : 0;
    size_t late = len;
    struct ps_found_piece piece = {found->kept.len, len};

    if (len > PS_FOUND_TAIL || early > found->tail_len) {
        return (struct ps_found_piece){0, 0};
    }
    if (early > 0) {
        size_t from_tail = early < len ? early : len;

        ps_buf_append(&found->kept, found->tail + found->tail_len - early, from_tail);
        late = len - from_tail;
    }
    if (late > 0) {
        uint64_t start = value->start > found->window_at ? value->start - found->window_at : 0;

        ps_buf_append(&found->kept, found->window.ptr + start, late);
    }
    if (found->kept.failed) {
        return (struct ps_found_piece){0, 0};
    }
    return piece;
}

static struct ps_found_piece piece_of(struct ps_openai_found *found,
                                      const struct ps_json_value *value)
{
    if (found->passing) {
        return keep_copy(found, value);
    }
    return (struct ps_found_piece){(size_t)value->start, (size_t)(value->end - value->start)};
}

struct ps_slice ps_openai_found_raw(const struct ps_openai_found *found,
                                    struct ps_found_piece piece)
{
    if (piece.len == 0) {
        return PS_SLICE_NONE;
    }
    return ps_slice((found->passing ? found->kept.ptr : found->text.ptr) + piece.at, piece.len);
}

struct ps_slice ps_openai_bare(struct ps_slice raw)
{
    if (raw.len >= 2 && raw.ptr[0] == '"' && memchr(raw.ptr, '\\', raw.len) == NULL) {
        return ps_slice(raw.ptr + 1, raw.len - 2);
    }
    return raw;
}

/* ---- values ---- */

static bool is_truthy(const struct ps_openai_found *found, const struct ps_json_value *value,
                      struct ps_found_piece piece)
{
    struct ps_slice raw = ps_openai_found_raw(found, piece);

    switch (value->type) {
    case PS_JSON_NULL:
    case PS_JSON_FALSE:
        return false;
    case PS_JSON_STRING:
        return value->end - value->start > 2;
    case PS_JSON_NUMBER:
        return !ps_slice_eq(raw, PS_SLICE_LIT("0"));
    case PS_JSON_ARRAY:
    case PS_JSON_OBJECT:
        for (size_t i = 1; i + 1 < raw.len; i++) {
            if (raw.ptr[i] != ' ' && raw.ptr[i] != '\t' && raw.ptr[i] != '\r' &&
                raw.ptr[i] != '\n') {
                return true;
            }
        }
        return raw.len == 0; /* too long to be kept */
    case PS_JSON_TRUE:
    default:
        return true;
    }
}

static void take_error(struct ps_openai_found *found, int which, const struct ps_json_value *value)
{
    struct ps_found_piece piece = piece_of(found, value);

    if (value->type == PS_JSON_NULL) {
        piece.len = 0;
    }
    if (which == 0) {
        found->error = found->error || is_truthy(found, value, piece);
        if (value->type != PS_JSON_STRING) {
            piece.len = 0; /* its members say more */
        }
    } else if (value->type == PS_JSON_ARRAY || value->type == PS_JSON_OBJECT) {
        piece.len = 0;
    }
    found->error_parts[which] = piece;
}

static void take_flat(struct ps_openai_found *found, int which, const struct ps_json_value *value)
{
    if (value->type != PS_JSON_STRING && value->type != PS_JSON_NUMBER) {
        return;
    }
    found->flat_parts[which] = piece_of(found, value);
    if (which == 0) {
        struct ps_slice raw = ps_openai_found_raw(found, found->flat_parts[0]);

        found->has_object = true;
        found->error_object = ps_slice_eq(raw, PS_SLICE_LIT("\"error\""));
    }
}

/* A count; -1: not one. */
static int64_t count_of(struct ps_openai_found *found, const struct ps_json_value *value)
{
    size_t kept = found->kept.len;
    int64_t number = -1;

    if (value->type == PS_JSON_NUMBER) {
        (void)ps_json_int(ps_openai_found_raw(found, piece_of(found, value)), &number);
    }
    if (found->passing && !found->kept.failed) {
        found->kept.len = kept; /* read, so no longer needed */
    }
    return number >= 0 ? number : -1;
}

static void take_usage(struct ps_openai_found *found, int which, const struct ps_json_value *value)
{
    struct ps_usage *usage = &found->usage;
    int64_t *const counts[PS_PATH_USAGE_COUNT] = {
        [PS_PATH_USAGE_PROMPT] = &usage->input,
        [PS_PATH_USAGE_COMPLETION] = &usage->output,
        [PS_PATH_USAGE_TOTAL] = &usage->total,
        [PS_PATH_USAGE_CACHED] = &usage->cached,
        [PS_PATH_USAGE_REASONING] = &usage->reasoning,
        [PS_PATH_USAGE_INPUT] = &usage->input,
        [PS_PATH_USAGE_OUTPUT] = &usage->output,
        [PS_PATH_USAGE_INPUT_CACHED] = &usage->cached,
        [PS_PATH_USAGE_OUTPUT_REASONING] = &usage->reasoning,
        [PS_PATH_USAGE_CACHE_HIT] = &usage->cached,
    };
    int64_t number;

    if (which == PS_PATH_USAGE_SELF) {
        found->has_usage = found->has_usage || value->type == PS_JSON_OBJECT;
        return;
    }
    number = count_of(found, value);
    if (number >= 0) {
        *counts[which] = number;
    }
}

static void end_choice(struct ps_openai_found *found)
{
    if (found->choice_count >= PS_FOUND_CHOICES) {
        return; /* more than may be asked for */
    }
    found->choice_count++;
    ps_buf_append(&found->choices, &found->choice, sizeof(found->choice));
    found->choice = (struct ps_found_choice){.index = found->choice_count};
}

/* Something was said: a string that is not empty, an array (content in parts, tool calls), an
 * object. */
static bool says_something(const struct ps_openai_found *found, const struct ps_json_value *value)
{
    struct ps_found_piece piece = {(size_t)value->start, (size_t)(value->end - value->start)};

    switch (value->type) {
    case PS_JSON_STRING:
        return piece.len > 2;
    case PS_JSON_ARRAY:
        return is_truthy(found, value, piece);
    case PS_JSON_OBJECT:
        return true;
    case PS_JSON_NULL:
    case PS_JSON_FALSE:
    case PS_JSON_TRUE:
    case PS_JSON_NUMBER:
    default:
        return false;
    }
}

static void take_content(struct ps_openai_found *found, const struct ps_json_value *value)
{
    struct ps_found_choice *choice = &found->choice;
    struct ps_found_piece piece = {(size_t)value->start, (size_t)(value->end - value->start)};

    if (!says_something(found, value)) {
        return;
    }
    switch (value->path) {
    case PS_PATH_TEXT:
    case PS_PATH_DELTA_CONTENT:
    case PS_PATH_MESSAGE_CONTENT:
        choice->text = piece;
        return;
    case PS_PATH_DELTA_REFUSAL:
    case PS_PATH_MESSAGE_REFUSAL:
        choice->refusal = piece;
        return;
    case PS_PATH_DELTA_TOOLS:
    case PS_PATH_DELTA_FUNCTION:
    case PS_PATH_MESSAGE_TOOLS:
    case PS_PATH_MESSAGE_FUNCTION:
        choice->tools = piece;
        return;
    case PS_PATH_DELTA_AUDIO:
    case PS_PATH_MESSAGE_AUDIO:
        choice->media = true;
        return;
    default:
        choice->reasoning = piece;
        return;
    }
}

static void take_choice_member(struct ps_openai_found *found, const struct ps_json_value *value)
{
    int64_t number;

    if (found->choice_count >= PS_FOUND_CHOICES) {
        return;
    }
    if (value->path == PS_PATH_INDEX) {
        number = count_of(found, value);
        if (number >= 0 && number <= INT32_MAX) {
            found->choice.index = (uint32_t)number;
        }
    } else if (value->path == PS_PATH_FINISH) {
        if (value->type == PS_JSON_STRING && value->end - value->start > 2) {
            found->choice.finish = piece_of(found, value);
        }
    } else if (!found->passing) {
        take_content(found, value);
    }
}

static void take_answer(struct ps_openai_found *found, const struct ps_json_value *value)
{
    static const int groq[] = {PS_PATH_USAGE_SELF, PS_PATH_USAGE_PROMPT, PS_PATH_USAGE_COMPLETION,
                               PS_PATH_USAGE_TOTAL};

    if (value->path == PS_PATH_CHOICES) {
        found->has_choices = value->type == PS_JSON_ARRAY;
    } else if (value->path == PS_PATH_CHOICE) {
        end_choice(found);
    } else if (value->path >= PS_PATH_GROQ_USAGE) {
        take_usage(found, groq[value->path - PS_PATH_GROQ_USAGE], value);
    } else {
        take_choice_member(found, value);
    }
}

static void take_other(struct ps_openai_found *found, const struct ps_json_value *value)
{
    static const int parts[] = {0, 1, 3};

    if (value->path >= PS_PATH_AT_RESPONSE_USAGE) {
        take_usage(found, value->path - PS_PATH_AT_RESPONSE_USAGE, value);
    } else if (value->type != PS_JSON_NULL) {
        take_error(found, parts[value->path - PS_PATH_AT_RESPONSE_ERROR], value);
    }
}

bool ps_openai_found_on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_openai_found *found = arg;

    if (value->path < PS_PATH_AT_FLAT) {
        take_error(found, value->path - PS_PATH_AT_ERROR, value);
    } else if (value->path < PS_PATH_AT_USAGE) {
        take_flat(found, value->path - PS_PATH_AT_FLAT, value);
    } else if (value->path < PS_PATH_AT_REST) {
        take_usage(found, value->path - PS_PATH_AT_USAGE, value);
    } else if (found->answers) {
        take_answer(found, value);
    } else {
        take_other(found, value);
    }
    return true;
}

struct ps_openai_error ps_openai_found_error(const struct ps_openai_found *found)
{
    const struct ps_found_piece *nested = found->error_parts;
    const struct ps_found_piece *flat = found->flat_parts;
    bool inside = nested[1].len > 0 || nested[2].len > 0 || nested[3].len > 0;

    if (!inside && nested[0].len > 0) {
        return (struct ps_openai_error){.message = ps_openai_found_raw(found, nested[0])};
    }
    if (!inside && !found->error) {
        nested = flat;
    }
    return (struct ps_openai_error){
        .message =
            ps_openai_found_raw(found, nested == flat && flat[1].len == 0 ? flat[5] : nested[1]),
        .type = ps_openai_found_raw(found, nested[2]),
        .code = ps_openai_found_raw(found, nested[3]),
        .param = ps_openai_found_raw(found, nested[4]),
    };
}

struct ps_slice ps_openai_found_type(const struct ps_openai_found *found)
{
    return ps_openai_found_raw(found, found->flat_parts[2]);
}
