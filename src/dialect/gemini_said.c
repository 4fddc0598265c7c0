/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

#include "penstock/base/mem.h"

#include <math.h>
#include <stdio.h>

/* What one answer, or one piece of a stream, says: candidates with parts, and counts. */

#define TOP 20 /* likeliest tokens told of one */

struct saying {
    struct ps_gemini_decoder *decoder;
    struct ps_gemini_choice *choice;
    uint32_t index; /* of the choice */
};

static struct ps_event event_of(const struct saying *saying, enum ps_event_kind kind)
{
    return (struct ps_event){.kind = kind, .choice = saying->index, .usage = PS_USAGE_NONE};
}

static bool is_true(struct ps_slice raw)
{
    return ps_raw_begins(raw, 't');
}

/* Members by their names, raw, in one walk: texts are long. */
static void read_members(struct ps_slice object, const struct ps_slice *names, size_t count,
                         struct ps_slice *values)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(object, '{')) {
        return;
    }
    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (size_t i = 0; i < count; i++) {
            if (ps_json_key_is(key, names[i])) {
                values[i] = ps_raw_given(value) ? value : PS_SLICE_NONE;
                break;
            }
        }
    }
}

/* ---- parts ---- */

static bool say_thought(const struct saying *saying, struct ps_slice text,
                        struct ps_slice signature)
{
    struct ps_event_thought thought = {.is_summary = true};
    struct ps_event event = event_of(saying, PS_EVENT_REASONING);

    event.text = ps_gemini_text(saying->decoder, text);
    thought.signature = ps_gemini_text(saying->decoder, signature);
    event.thought = &thought;
    return (event.text.len == 0 && thought.signature.len == 0) ||
           ps_decoder_emit(&saying->decoder->base, &event);
}

/*
 * The signature of a text is told as a thought that has only that, and only to fronts that give it
 * back: elsewhere it would look like a second thought behind the answer.
 */
static bool say_text(const struct saying *saying, struct ps_slice text, struct ps_slice signature)
{
    struct ps_gemini_decoder *decoder = saying->decoder;
    struct ps_event_thought thought = {.is_summary = true};
    struct ps_event said = event_of(saying, PS_EVENT_TEXT);
    struct ps_event event = event_of(saying, PS_EVENT_REASONING);

    said.text = ps_gemini_text(decoder, text);
    if (said.text.len > 0 && !ps_decoder_emit(&decoder->base, &said)) {
        return false;
    }
    thought.signature = ps_gemini_text(decoder, signature);
    if (thought.signature.len == 0 || saying->choice->signed_text ||
        decoder->base.options.front != PS_FAMILY_OPENAI) {
        return true;
    }
    saying->choice->signed_text = true;
    event.block = 1;
    event.thought = &thought;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool say_call(const struct saying *saying, struct ps_slice call, struct ps_slice signature)
{
    struct ps_gemini_decoder *decoder = saying->decoder;
    struct ps_event_tool tool = {.custom = false};
    struct ps_event event = event_of(saying, PS_EVENT_TOOL_CALL);
    char id[64];

    if ((decoder->base.options.memo & PS_GEMINI_SERIAL) != 0 && saying->choice->calls > 0) {
        return true; /* the client takes one at a time */
    }
    tool.id = ps_gemini_text(decoder, ps_raw_member(call, "id"));
    if (tool.id.len == 0) {
        tool.id = ps_decoder_call_id(&decoder->base, id);
    }
    tool.name = ps_gemini_text(decoder, ps_raw_member(call, "name"));
    tool.signature = ps_gemini_text(decoder, signature);
    event.text = ps_raw_member(call, "args");
    if (!ps_raw_begins(event.text, '{')) {
        event.text = PS_SLICE_LIT("{}");
    }
    event.block = saying->choice->calls++;
    event.tool = &tool;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool say_image(const struct saying *saying, struct ps_slice inline_data)
{
    struct ps_gemini_decoder *decoder = saying->decoder;
    struct ps_event_media media = {.url = PS_SLICE_NONE};
    struct ps_event event = event_of(saying, PS_EVENT_MEDIA);

    media.media_type = ps_gemini_text(decoder, ps_raw_member(inline_data, "mimeType"));
    media.data = ps_gemini_text(decoder, ps_raw_member(inline_data, "data"));
    event.media = &media;
    event.index = decoder->images++;
    return media.data.len == 0 || ps_decoder_emit(&decoder->base, &event);
}

enum {
    TEXT,
    SIGNATURE,
    THOUGHT,
    CALL,
    DATA,
    PART_MEMBERS,
};
static const struct ps_slice part_names[PART_MEMBERS] = {
    [TEXT] = PS_SLICE_INIT("text"),       [SIGNATURE] = PS_SLICE_INIT("thoughtSignature"),
    [THOUGHT] = PS_SLICE_INIT("thought"), [CALL] = PS_SLICE_INIT("functionCall"),
    [DATA] = PS_SLICE_INIT("inlineData"),
};

static bool say_part(const struct saying *saying, struct ps_slice part)
{
    struct ps_slice values[PART_MEMBERS] = {{NULL, 0}};

    if (!ps_gemini_text_begin(saying->decoder, part.len)) {
        return false;
    }
    read_members(part, part_names, PART_MEMBERS, values);
    if (values[CALL].len > 0) {
        return say_call(saying, values[CALL], values[SIGNATURE]);
    }
    if (is_true(values[THOUGHT])) {
        return say_thought(saying, values[TEXT], values[SIGNATURE]);
    }
    if (values[DATA].len > 0) {
        return say_image(saying, values[DATA]);
    }
    /* code that ran there: no door has words for it */
    return say_text(saying, values[TEXT], values[SIGNATURE]);
}

/* ---- log probabilities ---- */

static bool read_token(struct ps_gemini_decoder *decoder, struct ps_slice raw,
                       struct ps_event_logprob *ret)
{
    struct ps_slice number = ps_raw_member(raw, "logProbability");
    double value = 0;

    if (number.len > 0 && !ps_json_double(number, &value)) {
        value = -9999.0;
    }
    ret->token = ps_gemini_text(decoder, ps_raw_member(raw, "token"));
    ret->logprob = value >= -3e38 && value <= 3e38 ? (float)value : -9999.0F;
    return ps_raw_begins(raw, '{');
}

static bool say_token(const struct saying *saying, struct ps_slice chosen, struct ps_slice top)
{
    struct ps_gemini_decoder *decoder = saying->decoder;
    struct ps_event event = event_of(saying, PS_EVENT_LOGPROBS);
    struct ps_slice candidates = ps_raw_member(top, "candidates");
    struct ps_event_logprob likeliest[TOP];
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_gemini_text_begin(decoder, chosen.len + top.len) ||
        !read_token(decoder, chosen, &event.logprob)) {
        return !decoder->base.broken;
    }
    if (ps_raw_begins(candidates, '[')) {
        ps_json_walk_init(&walk, candidates);
        while (event.top_count < TOP && ps_json_walk_element(&walk, &element)) {
            event.top_count += read_token(decoder, element, &likeliest[event.top_count]);
        }
    }
    event.top = event.top_count > 0 ? likeliest : NULL;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool say_logprobs(const struct saying *saying, struct ps_slice result)
{
    struct ps_slice chosen = ps_raw_member(result, "chosenCandidates");
    struct ps_slice top = ps_raw_member(result, "topCandidates");
    struct ps_json_walk tokens;
    struct ps_json_walk tops = {NULL, NULL};
    struct ps_slice token;

    if (!ps_raw_begins(chosen, '[')) {
        return true;
    }
    ps_json_walk_init(&tokens, chosen);
    if (ps_raw_begins(top, '[')) {
        ps_json_walk_init(&tops, top);
    }
    while (ps_json_walk_element(&tokens, &token)) {
        struct ps_slice next = PS_SLICE_NONE;

        (void)ps_json_walk_element(&tops, &next);
        if (!say_token(saying, token, next)) {
            return false;
        }
    }
    return true;
}

/* ---- the content ---- */

/* A text's log probabilities come before it, but behind the thoughts, which have none. */
static bool say_content(const struct saying *saying, struct ps_slice parts,
                        struct ps_slice logprobs)
{
    struct ps_json_walk walk = {NULL, NULL};
    struct ps_slice part;
    bool told = logprobs.len == 0;

    if (ps_raw_begins(parts, '[')) {
        ps_json_walk_init(&walk, parts);
    }
    while (ps_json_walk_element(&walk, &part)) {
        if (!told && !is_true(ps_raw_member(part, "thought"))) {
            told = true;
            if (!say_logprobs(saying, logprobs)) {
                return false;
            }
        }
        if (!say_part(saying, part)) {
            return false;
        }
    }
    return told || say_logprobs(saying, logprobs);
}

/* ---- sources ---- */

static bool say_sources(const struct saying *saying, struct ps_slice grounding)
{
    struct ps_slice chunks = ps_raw_member(grounding, "groundingChunks");
    struct ps_json_walk walk;
    struct ps_slice chunk;

    if (!ps_raw_begins(chunks, '[')) {
        return true;
    }
    ps_json_walk_init(&walk, chunks);
    while (ps_json_walk_element(&walk, &chunk)) {
        struct ps_event_citation citation = {.start = -1, .end = -1, .raw = chunk};
        struct ps_event event = event_of(saying, PS_EVENT_CITATION);
        struct ps_slice web = ps_raw_member(chunk, "web");

        if (!ps_gemini_text_begin(saying->decoder, chunk.len)) {
            return false;
        }
        citation.url = ps_gemini_text(saying->decoder, ps_raw_member(web, "uri"));
        citation.title = ps_gemini_text(saying->decoder, ps_raw_member(web, "title"));
        event.citation = &citation;
        if (citation.url.len > 0 && !ps_decoder_emit(&saying->decoder->base, &event)) {
            return false;
        }
    }
    return true;
}

/* ---- the end ---- */

static enum ps_finish finish_of(const struct ps_gemini_choice *choice)
{
    static const char *const filtered[] = {"SAFETY",
                                           "RECITATION",
                                           "BLOCKLIST",
                                           "SPII",
                                           "IMAGE_SAFETY",
                                           "PROHIBITED_CONTENT",
                                           "MODEL_ARMOR",
                                           "JAILBREAK",
                                           "IMAGE_PROHIBITED_CONTENT",
                                           "IMAGE_RECITATION"};

    if (choice->blocked) {
        return PS_FINISH_CONTENT_FILTER;
    }
    if (strcmp(choice->word, "STOP") == 0) {
        return choice->calls > 0 ? PS_FINISH_TOOL_CALLS : PS_FINISH_STOP;
    }
    if (strcmp(choice->word, "MAX_TOKENS") == 0) {
        return PS_FINISH_LENGTH;
    }
    for (size_t i = 0; i < sizeof(filtered) / sizeof(filtered[0]); i++) {
        if (strcmp(choice->word, filtered[i]) == 0) {
            return PS_FINISH_CONTENT_FILTER;
        }
    }
    return PS_FINISH_OTHER; /* a malformed call, too many of them, a language: no model's stop */
}

static void keep_word(struct ps_gemini_choice *choice, struct ps_slice word)
{
    (void)snprintf(choice->word, sizeof(choice->word), "%.*s",
                   (int)(word.len < sizeof(choice->word) ? word.len : sizeof(choice->word) - 1),
                   word.ptr);
}

/* Why a candidate ended; what is said about a refusal is told with it. */
static bool note_end(const struct saying *saying, struct ps_slice reason, struct ps_slice message)
{
    struct ps_gemini_decoder *decoder = saying->decoder;
    struct ps_event event = event_of(saying, PS_EVENT_REFUSAL);

    if (!ps_raw_says(reason) || ps_raw_word(reason, "FINISH_REASON_UNSPECIFIED")) {
        return true;
    }
    if (!ps_gemini_text_begin(decoder, reason.len + message.len)) {
        return false;
    }
    keep_word(saying->choice, ps_gemini_text(decoder, reason));
    event.text = ps_gemini_text(decoder, message);
    return event.text.len == 0 || finish_of(saying->choice) != PS_FINISH_CONTENT_FILTER ||
           ps_decoder_emit(&decoder->base, &event);
}

bool ps_gemini_is_finished(const struct ps_gemini_decoder *decoder)
{
    for (uint32_t i = 0; i < decoder->choice_count; i++) {
        if (decoder->choices[i].word[0] == '\0') {
            return false;
        }
    }
    return decoder->choice_count > 0;
}

bool ps_gemini_say_ends(struct ps_gemini_decoder *decoder)
{
    for (uint32_t i = 0; i < decoder->choice_count; i++) {
        const struct ps_gemini_choice *choice = &decoder->choices[i];
        struct ps_event event = {.kind = PS_EVENT_FINISH,
                                 .choice = i,
                                 .finish = finish_of(choice),
                                 .finish_text = ps_slice_cstr(choice->word),
                                 .usage = PS_USAGE_NONE};

        if (!ps_decoder_emit(&decoder->base, &event)) {
            return false;
        }
    }
    return true;
}

/* ---- counts ---- */

static int64_t sum(int64_t a, int64_t b)
{
    return b <= 0 ? a : a <= 0 ? b : a > INT64_MAX - b ? INT64_MAX : a + b;
}

bool ps_gemini_say_usage(struct ps_gemini_decoder *decoder)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    int64_t *counts = decoder->counts;
    bool any = false;

    for (int i = 0; i < PS_GEMINI_COUNTS; i++) {
        struct ps_slice raw = decoder->found.values[PS_GEMINI_V_PROMPT + i];
        int64_t count;

        if (raw.len > 0 && ps_json_int(raw, &count) && count >= 0) {
            counts[i] = count;
            any = true;
        }
    }
    if (!any) {
        return true;
    }
    event.usage.input = sum(counts[0], counts[PS_GEMINI_V_TOOL_PROMPT - PS_GEMINI_V_PROMPT]);
    event.usage.cached = counts[PS_GEMINI_V_CACHED - PS_GEMINI_V_PROMPT];
    event.usage.reasoning = counts[PS_GEMINI_V_THOUGHTS - PS_GEMINI_V_PROMPT];
    event.usage.output = sum(counts[PS_GEMINI_V_OUTPUT - PS_GEMINI_V_PROMPT],
                             event.usage.reasoning); /* thoughts are counted apart */
    event.usage.total = counts[PS_GEMINI_V_TOTAL - PS_GEMINI_V_PROMPT];
    return ps_decoder_emit(&decoder->base, &event);
}

/* ---- the whole ---- */

static bool say_start(struct ps_gemini_decoder *decoder)
{
    struct ps_slice id = decoder->found.values[PS_GEMINI_V_ID];
    struct ps_slice model = decoder->found.values[PS_GEMINI_V_MODEL];
    struct ps_event_start start;
    struct ps_event event = {.kind = PS_EVENT_START, .start = &start, .usage = PS_USAGE_NONE};

    if (decoder->started) {
        return true;
    }
    decoder->started = true;
    if (!ps_gemini_text_begin(decoder, id.len + model.len)) {
        return false;
    }
    start.id = ps_gemini_text(decoder, id);
    start.model = ps_gemini_text(decoder, model);
    return ps_decoder_emit(&decoder->base, &event);
}

enum {
    INDEX,
    CONTENT,
    LOGPROBS,
    GROUNDING,
    REASON,
    MESSAGE,
    CANDIDATE_MEMBERS,
};
static const struct ps_slice candidate_names[CANDIDATE_MEMBERS] = {
    [INDEX] = PS_SLICE_INIT("index"),
    [CONTENT] = PS_SLICE_INIT("content"),
    [LOGPROBS] = PS_SLICE_INIT("logprobsResult"),
    [GROUNDING] = PS_SLICE_INIT("groundingMetadata"),
    [REASON] = PS_SLICE_INIT("finishReason"),
    [MESSAGE] = PS_SLICE_INIT("finishMessage"),
};

/* Candidates beyond those that may be asked for are not looked at. */
static bool say_candidate(struct ps_gemini_decoder *decoder, struct ps_slice candidate,
                          int64_t position)
{
    struct ps_slice values[CANDIDATE_MEMBERS] = {{NULL, 0}};
    struct saying saying = {.decoder = decoder};
    int64_t index = position;

    read_members(candidate, candidate_names, CANDIDATE_MEMBERS, values);
    if (!ps_raw_begins(candidate, '{') ||
        (values[INDEX].len > 0 && !ps_json_int(values[INDEX], &index)) || index < 0 ||
        index >= PS_GEMINI_CHOICES) {
        return true;
    }
    saying.index = (uint32_t)index;
    saying.choice = &decoder->choices[index];
    if (decoder->choice_count <= saying.index) {
        decoder->choice_count = saying.index + 1;
    }
    return say_content(&saying, ps_raw_member(values[CONTENT], "parts"), values[LOGPROBS]) &&
           say_sources(&saying, values[GROUNDING]) &&
           note_end(&saying, values[REASON], values[MESSAGE]);
}

/* The prompt was refused: an answer without a word, that says why. */
static bool note_block(struct ps_gemini_decoder *decoder)
{
    struct ps_slice raw = decoder->found.values[PS_GEMINI_V_BLOCK_REASON];

    if (!ps_raw_says(raw) || ps_raw_word(raw, "BLOCK_REASON_UNSPECIFIED") ||
        decoder->choice_count > 0) {
        return true;
    }
    if (!ps_gemini_text_begin(decoder, raw.len)) {
        return false;
    }
    keep_word(&decoder->choices[0], ps_gemini_text(decoder, raw));
    decoder->choices[0].blocked = true;
    decoder->choice_count = 1;
    return true;
}

bool ps_gemini_say(struct ps_gemini_decoder *decoder)
{
    struct ps_slice candidates = decoder->found.values[PS_GEMINI_V_CANDIDATES];
    struct ps_json_walk walk;
    struct ps_slice candidate;

    if (!say_start(decoder)) {
        return false;
    }
    if (ps_raw_begins(candidates, '[')) {
        ps_json_walk_init(&walk, candidates);
        for (int64_t i = 0; ps_json_walk_element(&walk, &candidate); i++) {
            if (!say_candidate(decoder, candidate, i)) {
                return false;
            }
        }
    }
    return note_block(decoder) && ps_gemini_say_usage(decoder);
}

/* ---- vectors ---- */

static size_t read_vector(struct ps_slice raw, float *vector, size_t room)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    size_t count = 0;
    double number;

    ps_json_walk_init(&walk, raw);
    while (count < room && ps_json_walk_element(&walk, &element)) {
        if (!ps_json_double(element, &number) || fabs(number) > 3e38) {
            return 0;
        }
        vector[count++] = (float)number;
    }
    return count;
}

static void normalise(float *vector, size_t count)
{
    double length = 0;

    for (size_t i = 0; i < count; i++) {
        length += (double)vector[i] * (double)vector[i];
    }
    length = sqrt(length);
    for (size_t i = 0; length > 0 && i < count; i++) {
        vector[i] = (float)((double)vector[i] / length);
    }
}

/* Vectors that were cut short have lost their length of 1 in older models. */
static bool say_normalised(struct ps_gemini_decoder *decoder, struct ps_event *event,
                           struct ps_slice raw)
{
    size_t room = raw.len / 2 + 1;
    float *vector = ps_malloc(room * sizeof(*vector));
    bool goes_on = false;

    if (vector == NULL) {
        (void)ps_gemini_out_of_memory(decoder);
        return false;
    }
    event->dimensions = read_vector(raw, vector, room);
    if (event->dimensions == 0) {
        (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                               "The provider's answer has a vector that holds no numbers.");
    } else {
        normalise(vector, event->dimensions);
        event->vector = vector;
        goes_on = ps_decoder_emit(&decoder->base, event);
    }
    ps_free(vector);
    return goes_on;
}

bool ps_gemini_say_vector(struct ps_gemini_decoder *decoder, uint32_t index, struct ps_slice raw)
{
    struct ps_event event = {
        .kind = PS_EVENT_EMBEDDING, .index = index, .text = raw, .usage = PS_USAGE_NONE};

    if (!ps_raw_begins(raw, '[')) {
        (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                               "The provider's answer has no vector.");
        return false;
    }
    return (decoder->base.options.memo & PS_GEMINI_NORMALISE) != 0
               ? say_normalised(decoder, &event, raw)
               : ps_decoder_emit(&decoder->base, &event);
}
