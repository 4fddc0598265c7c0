/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"

/*
 * Requests of Ollama's API as neutral ones. /api/generate is a chat of one message: what would go
 * around the model's template (raw, template, context, suffix) has no equal elsewhere and is
 * refused.
 */

#define TOP_LOGPROBS_MAX 20
#define NUMBER_MAX       1e6
#define NOBODY           "\xff" /* a name that no member has: it is not UTF-8 */

enum field {
    MODEL,
    STREAM,
    MESSAGES,
    TOOLS,
    PROMPT,
    SYSTEM,
    IMAGES,
    SUFFIX,
    TEMPLATE,
    CONTEXT,
    RAW,
    INPUT,
    DIMENSIONS,
    FORMAT,
    THINK,
    OPTIONS,
    LOGPROBS,
    TOP_LOGPROBS,
    FIELDS,
};

#define FOR(shape) (1U << PS_OLLAMA_##shape)
#define ANSWERS    (FOR(CHAT) | FOR(GENERATE))

/* What a door does not have counts as unknown there. */
static const struct {
    const char *name;
    unsigned shapes;
} fields[FIELDS] = {
    [MODEL] = {"model", ~0U},
    [STREAM] = {"stream", ~0U},
    [MESSAGES] = {"messages", FOR(CHAT)},
    [TOOLS] = {"tools", FOR(CHAT)},
    [PROMPT] = {"prompt", FOR(GENERATE) | FOR(EMBEDDINGS)},
    [SYSTEM] = {"system", FOR(GENERATE)},
    [IMAGES] = {"images", FOR(GENERATE)},
    [SUFFIX] = {"suffix", FOR(GENERATE)},
    [TEMPLATE] = {"template", FOR(GENERATE)},
    [CONTEXT] = {"context", FOR(GENERATE)},
    [RAW] = {"raw", FOR(GENERATE)},
    [INPUT] = {"input", FOR(EMBED)},
    [DIMENSIONS] = {"dimensions", FOR(EMBED)},
    [FORMAT] = {"format", ANSWERS},
    [THINK] = {"think", ANSWERS},
    [OPTIONS] = {"options", ANSWERS},
    [LOGPROBS] = {"logprobs", ANSWERS},
    [TOP_LOGPROBS] = {"top_logprobs", ANSWERS},
};

struct in {
    struct ps_neutral_build build;
    struct ps_neutral *neutral;
    struct ps_build_member members[FIELDS];
};

static struct ps_slice raw_of(const struct in *in, enum field field)
{
    return in->members[field].raw;
}

/* ---- options ---- */

enum option {
    NUM_PREDICT,
    TEMPERATURE,
    TOP_P,
    TOP_K,
    MIN_P,
    SEED,
    STOP,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    REPEAT_PENALTY,
    OPTION_COUNT,
};

static const struct ps_neutral_at options_at = {NULL, "options", PS_NEUTRAL_NO_INDEX};

static int number(struct in *in, const struct ps_build_member *option, double low, double high,
                  struct ps_slice *ret)
{
    return ps_build_number(&in->build, &options_at, option->name, option->raw, low, high, ret);
}

/* Below `least` it means that there is none. */
static int integer(struct in *in, const struct ps_build_member *option, int64_t least,
                   struct ps_slice *ret)
{
    struct ps_slice raw = PS_SLICE_NONE;
    int64_t value;

    if (ps_build_int(&in->build, &options_at, option->name, option->raw, INT64_MIN, INT64_MAX,
                     &raw) != 0) {
        return -1;
    }
    if (raw.len > 0 && ps_json_int(raw, &value) && value >= least) {
        *ret = raw;
    }
    return 0;
}

/* What is said there beside these is for Ollama's own engine. */
static int read_options(struct in *in)
{
    struct ps_build_member options[OPTION_COUNT] = {
        [NUM_PREDICT] = {"num_predict", PS_SLICE_NONE},
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [TOP_P] = {"top_p", PS_SLICE_NONE},
        [TOP_K] = {"top_k", PS_SLICE_NONE},
        [MIN_P] = {"min_p", PS_SLICE_NONE},
        [SEED] = {"seed", PS_SLICE_NONE},
        [STOP] = {"stop", PS_SLICE_NONE},
        [PRESENCE_PENALTY] = {"presence_penalty", PS_SLICE_NONE},
        [FREQUENCY_PENALTY] = {"frequency_penalty", PS_SLICE_NONE},
        [REPEAT_PENALTY] = {"repeat_penalty", PS_SLICE_NONE},
    };
    struct ps_neutral *neutral = in->neutral;
    struct ps_slice raw = PS_SLICE_NONE;

    if (ps_build_object(&in->build, NULL, "options", raw_of(in, OPTIONS), &raw) != 0) {
        return -1;
    }
    if (raw.len == 0) {
        return 0;
    }
    neutral->max_tokens_name = "options.num_predict";
    if (ps_build_members(&in->build, &options_at, raw, options, OPTION_COUNT) != 0 ||
        integer(in, &options[NUM_PREDICT], 1, &neutral->max_tokens) != 0 ||
        integer(in, &options[TOP_K], 0, &neutral->top_k) != 0 ||
        integer(in, &options[SEED], 0, &neutral->seed) != 0 ||
        number(in, &options[TEMPERATURE], 0, 100, &neutral->temperature) != 0 ||
        number(in, &options[TOP_P], 0, 1, &neutral->top_p) != 0 ||
        number(in, &options[MIN_P], 0, 1, &neutral->min_p) != 0 ||
        number(in, &options[PRESENCE_PENALTY], -2, 2, &neutral->presence_penalty) != 0 ||
        number(in, &options[FREQUENCY_PENALTY], -2, 2, &neutral->frequency_penalty) != 0 ||
        number(in, &options[REPEAT_PENALTY], 0, NUMBER_MAX, &neutral->repetition_penalty) != 0) {
        return -1;
    }
    return ps_build_stops(&in->build, "options.stop", options[STOP].raw, true);
}

/* ---- how to answer ---- */

/* "json", a JSON schema, or "" for neither. */
static int read_format(struct in *in)
{
    struct ps_slice raw = raw_of(in, FORMAT);

    if (raw.len == 0 || ps_raw_word(raw, "")) {
        return 0;
    }
    if (ps_raw_word(raw, "json")) {
        in->neutral->format = PS_FORMAT_JSON_OBJECT;
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(&in->build, NULL, "format", "\"json\" or a JSON schema");
    }
    in->neutral->format = PS_FORMAT_JSON_SCHEMA;
    return ps_build_schema(&in->build, NULL, "format", raw, false, &in->neutral->schema);
}

static int read_think(struct in *in)
{
    static const char *const words[] = {"low", "medium", "high", "max", NULL};
    static const enum ps_effort efforts[] = {PS_EFFORT_LOW, PS_EFFORT_MEDIUM, PS_EFFORT_HIGH,
                                             PS_EFFORT_MAX};
    struct ps_neutral *neutral = in->neutral;
    struct ps_slice raw = raw_of(in, THINK);
    int word = -1;

    if (raw.len == 0) {
        return 0;
    }
    if (ps_raw_begins(raw, 'f')) {
        neutral->thinking = PS_THINKING_OFF;
        return 0;
    }
    neutral->show_reasoning = PS_TRI_YES;
    if (ps_raw_begins(raw, 't')) {
        neutral->thinking = PS_THINKING_ON;
        return 0;
    }
    if (!ps_raw_begins(raw, '"')) {
        return ps_build_expected(&in->build, NULL, "think", "true, false or a level");
    }
    if (ps_build_word(&in->build, NULL, "think", raw, words, &word) != 0) {
        return -1;
    }
    neutral->effort = efforts[word];
    return 0;
}

static int read_answering(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;
    struct ps_neutral_build *build = &in->build;

    if (read_options(in) != 0 || read_format(in) != 0 || read_think(in) != 0 ||
        ps_build_bool(build, NULL, "logprobs", raw_of(in, LOGPROBS), &neutral->logprobs) != 0 ||
        ps_build_int(build, NULL, "top_logprobs", raw_of(in, TOP_LOGPROBS), 0, TOP_LOGPROBS_MAX,
                     &neutral->top_logprobs) != 0) {
        return -1;
    }
    if (!neutral->logprobs) {
        neutral->top_logprobs = PS_SLICE_NONE;
    }
    return 0;
}

/* ---- operations ---- */

/* Only its own engine lets a client write the text that the model sees. */
static int check_generate(struct in *in)
{
    bool raw = false;

    if (ps_build_bool(&in->build, NULL, "raw", raw_of(in, RAW), &raw) != 0) {
        return -1;
    }
    if (raw) {
        return ps_build_unsupported(&in->build, NULL, "raw");
    }
    if (ps_raw_begins(raw_of(in, CONTEXT), '[') && ps_build_count(raw_of(in, CONTEXT)) > 0) {
        return ps_build_unsupported(&in->build, NULL, "context");
    }
    for (enum field i = SUFFIX; i <= TEMPLATE; i++) {
        struct ps_slice text = PS_SLICE_NONE;

        if (ps_build_string(&in->build, NULL, fields[i].name, raw_of(in, i), &text) != 0) {
            return -1;
        }
        if (ps_raw_says(text)) {
            return ps_build_unsupported(&in->build, NULL, fields[i].name);
        }
    }
    return 0;
}

static int read_generate(struct in *in)
{
    return check_generate(in) != 0 || ps_ollama_prompt(&in->build, raw_of(in, SYSTEM),
                                                       raw_of(in, PROMPT), raw_of(in, IMAGES)) != 0
               ? -1
               : read_answering(in);
}

static int read_chat(struct in *in)
{
    return ps_ollama_messages(&in->build, raw_of(in, MESSAGES)) != 0 ||
                   ps_build_openai_tools(&in->build, raw_of(in, TOOLS)) != 0
               ? -1
               : read_answering(in);
}

static int read_embedding(struct in *in, bool older)
{
    enum field field = older ? PROMPT : INPUT;

    if (older && ps_raw_begins(raw_of(in, field), '[')) {
        return ps_build_expected(&in->build, NULL, fields[field].name, "a string"); /* one vector */
    }
    return ps_build_inputs(&in->build, fields[field].name, raw_of(in, field)) != 0
               ? -1
               : ps_build_int(&in->build, NULL, "dimensions", raw_of(in, DIMENSIONS), 1, INT32_MAX,
                              &in->neutral->dimensions);
}

static int read_shape(struct in *in, enum ps_ollama_shape shape)
{
    switch (shape) {
    case PS_OLLAMA_CHAT:
        return read_chat(in);
    case PS_OLLAMA_GENERATE:
        return read_generate(in);
    case PS_OLLAMA_EMBED:
    case PS_OLLAMA_EMBEDDINGS:
        return read_embedding(in, shape == PS_OLLAMA_EMBEDDINGS);
    case PS_OLLAMA_SHOW:
    default:
        return ps_build_unsupported(&in->build, NULL, NULL);
    }
}

int ps_ollama_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    enum ps_ollama_shape shape = ps_ollama_shape_of(request);
    struct in in = {.neutral = ret};

    for (int i = 0; i < FIELDS; i++) {
        in.members[i].name = (fields[i].shapes >> shape & 1) != 0 ? fields[i].name : NOBODY;
    }
    if (ps_build_begin(&in.build, request, arena, ret, ret_fault) != 0 ||
        ps_build_members(&in.build, NULL, in.build.body, in.members, FIELDS) != 0 ||
        read_shape(&in, shape) != 0) {
        return -1;
    }
    ps_build_end(&in.build);
    return 0;
}
