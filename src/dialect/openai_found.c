/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_found.h"

#include "penstock/base/mem.h"

#define KEPT_MAX 32768
#define USAGE_PATHS(prefix)                                                                        \
    {prefix, false}, {prefix ".prompt_tokens", false}, {prefix ".completion_tokens", false},       \
        {prefix ".total_tokens", false}, {prefix ".prompt_tokens_details.cached_tokens", false},   \
        {prefix ".completion_tokens_details.reasoning_tokens", false},                             \
        {prefix ".input_tokens", false}, {prefix ".output_tokens", false},                         \
        {prefix ".input_tokens_details.cached_tokens", false},                                     \
        {prefix ".output_tokens_details.reasoning_tokens", false},                                 \
    {                                                                                              \
        prefix ".prompt_cache_hit_tokens", false                                                   \
    }

enum {
    USAGE_SELF,
    USAGE_PROMPT,
    USAGE_COMPLETION,
    USAGE_TOTAL,
    USAGE_CACHED,
    USAGE_REASONING,
    USAGE_INPUT,
    USAGE_OUTPUT,
    USAGE_INPUT_CACHED,
    USAGE_OUTPUT_REASONING,
    USAGE_CACHE_HIT,
    USAGE_COUNT,
};

/* Where the groups of paths begin; the first three are the same in both sets. */
enum {
    AT_ERROR = 0, /* error, and its message, type, code, param */
    AT_FLAT = 5,  /* object, the same four at the top, detail */
    AT_USAGE = 11,
    AT_REST = AT_USAGE + USAGE_COUNT,

    /* answers */
    CHOICES = AT_REST,
    CHOICE,
    INDEX,
    FINISH,
    TEXT,
    DELTA_CONTENT,
    DELTA_REASONING_CONTENT,
    DELTA_REASONING,
    DELTA_REFUSAL,
    DELTA_TOOLS,
    DELTA_FUNCTION,
    DELTA_AUDIO,
    MESSAGE_CONTENT,
    MESSAGE_REASONING_CONTENT,
    MESSAGE_REASONING,
    MESSAGE_REFUSAL,
    MESSAGE_TOOLS,
    MESSAGE_FUNCTION,
    MESSAGE_AUDIO,
    GROQ_USAGE,
    GROQ_PROMPT,
    GROQ_COMPLETION,
    GROQ_TOTAL,
    ANSWER_COUNT,

    /* others */
    AT_RESPONSE_ERROR = AT_REST, /* response.error and two of its members */
    AT_RESPONSE_USAGE = AT_RESPONSE_ERROR + 3,
    OTHER_COUNT = AT_RESPONSE_USAGE + USAGE_COUNT,
};

#define COMMON_PATHS                                                                               \
    {"error", false}, {"error.message", false}, {"error.type", false}, {"error.code", false},      \
        {"error.param", false}, {"object", false}, {"message", false}, {"type", false},            \
        {"code", false}, {"param", false}, {"detail", false}, USAGE_PATHS("usage")

static const struct ps_json_path answer_list[] = {
    COMMON_PATHS,
    {"choices", false},
    {"choices.*", false},
    {"choices.*.index", false},
    {"choices.*.finish_reason", false},
    {"choices.*.text", false},
    {"choices.*.delta.content", false},
    {"choices.*.delta.reasoning_content", false},
    {"choices.*.delta.reasoning", false},
    {"choices.*.delta.refusal", false},
    {"choices.*.delta.tool_calls", false},
    {"choices.*.delta.function_call", false},
    {"choices.*.delta.audio", false},
    {"choices.*.message.content", false},
    {"choices.*.message.reasoning_content", false},
    {"choices.*.message.reasoning", false},
    {"choices.*.message.refusal", false},
    {"choices.*.message.tool_calls", false},
    {"choices.*.message.function_call", false},
    {"choices.*.message.audio", false},
    {"x_groq.usage", false},
    {"x_groq.usage.prompt_tokens", false},
    {"x_groq.usage.completion_tokens", false},
    {"x_groq.usage.total_tokens", false},
};

static const struct ps_json_path other_list[] = {
    COMMON_PATHS,
    {"response.error", false},
    {"response.error.message", false},
    {"response.error.code", false},
    USAGE_PATHS("response.usage"),
};

_Static_assert(sizeof(answer_list) / sizeof(answer_list[0]) == ANSWER_COUNT,
               "paths and their names");
_Static_assert(sizeof(other_list) / sizeof(other_list[0]) == OTHER_COUNT, "paths and their names");
_Static_assert(ANSWER_COUNT <= PS_JSON_MAX_PATHS, "one set of paths");

static struct ps_json_paths *answer_paths;
static struct ps_json_paths *other_paths;

int ps_openai_found_global_init(void)
{
    answer_paths = ps_json_paths_new(answer_list, ANSWER_COUNT);
    other_paths = ps_json_paths_new(other_list, OTHER_COUNT);
    return answer_paths != NULL && other_paths != NULL ? 0 : -1;
}

void ps_openai_found_global_deinit(void)
{
    ps_json_paths_free(answer_paths);
    ps_json_paths_free(other_paths);
    answer_paths = NULL;
    other_paths = NULL;
}

const struct ps_json_paths *ps_openai_found_paths(const struct ps_openai_found *found)
{
    return found->answers ? answer_paths : other_paths;
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
    int64_t *const counts[USAGE_COUNT] = {
        [USAGE_PROMPT] = &usage->input,
        [USAGE_COMPLETION] = &usage->output,
        [USAGE_TOTAL] = &usage->total,
        [USAGE_CACHED] = &usage->cached,
        [USAGE_REASONING] = &usage->reasoning,
        [USAGE_INPUT] = &usage->input,
        [USAGE_OUTPUT] = &usage->output,
        [USAGE_INPUT_CACHED] = &usage->cached,
        [USAGE_OUTPUT_REASONING] = &usage->reasoning,
        [USAGE_CACHE_HIT] = &usage->cached,
    };
    int64_t number;

    if (which == USAGE_SELF) {
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
    case TEXT:
    case DELTA_CONTENT:
    case MESSAGE_CONTENT:
        choice->text = piece;
        return;
    case DELTA_REFUSAL:
    case MESSAGE_REFUSAL:
        choice->refusal = piece;
        return;
    case DELTA_TOOLS:
    case DELTA_FUNCTION:
    case MESSAGE_TOOLS:
    case MESSAGE_FUNCTION:
        choice->tools = piece;
        return;
    case DELTA_AUDIO:
    case MESSAGE_AUDIO:
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
    if (value->path == INDEX) {
        number = count_of(found, value);
        if (number >= 0 && number <= INT32_MAX) {
            found->choice.index = (uint32_t)number;
        }
    } else if (value->path == FINISH) {
        if (value->type == PS_JSON_STRING && value->end - value->start > 2) {
            found->choice.finish = piece_of(found, value);
        }
    } else if (!found->passing) {
        take_content(found, value);
    }
}

static void take_answer(struct ps_openai_found *found, const struct ps_json_value *value)
{
    static const int groq[] = {USAGE_SELF, USAGE_PROMPT, USAGE_COMPLETION, USAGE_TOTAL};

    if (value->path == CHOICES) {
        found->has_choices = value->type == PS_JSON_ARRAY;
    } else if (value->path == CHOICE) {
        end_choice(found);
    } else if (value->path >= GROQ_USAGE) {
        take_usage(found, groq[value->path - GROQ_USAGE], value);
    } else {
        take_choice_member(found, value);
    }
}

static void take_other(struct ps_openai_found *found, const struct ps_json_value *value)
{
    static const int parts[] = {0, 1, 3};

    if (value->path >= AT_RESPONSE_USAGE) {
        take_usage(found, value->path - AT_RESPONSE_USAGE, value);
    } else if (value->type != PS_JSON_NULL) {
        take_error(found, parts[value->path - AT_RESPONSE_ERROR], value);
    }
}

bool ps_openai_found_on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_openai_found *found = arg;

    if (value->path < AT_FLAT) {
        take_error(found, value->path - AT_ERROR, value);
    } else if (value->path < AT_USAGE) {
        take_flat(found, value->path - AT_FLAT, value);
    } else if (value->path < AT_REST) {
        take_usage(found, value->path - AT_USAGE, value);
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
