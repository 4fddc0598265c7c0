/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"
#include "openai_priv.h"

/*
 * What an answer says beside plain text, for fronts that translate: tool calls by their fragments,
 * content in parts, citations, the stop string that was met. Read from the text of the event at
 * hand, which is whole and scanned; an answer that only goes by is never looked at so.
 */

#define CALLS_MAX 1024 /* tool calls of all choices */
#define DEPTH_MAX 4

_Static_assert(CALLS_MAX * 12 <= PS_OPENAI_CALL_BYTES, "room for all calls");

/* A tool call of which something has come. */
struct seen_call {
    uint32_t choice;
    uint32_t block;
    uint32_t fragments;
};

/* ---- text ---- */

static bool is_string(struct ps_slice raw)
{
    return raw.len >= 2 && raw.ptr[0] == '"';
}

/* Room for all that is unescaped for one event, so that nothing moves. */
static bool begin_text(struct ps_openai_decoder *decoder, size_t bytes)
{
    ps_buf_reset(&decoder->text);
    if (ps_buf_reserve(&decoder->text, bytes + 64) == NULL) {
        (void)ps_openai_out_of_memory(decoder);
        return false;
    }
    return true;
}

static struct ps_slice plain(struct ps_openai_decoder *decoder, struct ps_slice raw)
{
    char *at = decoder->text.ptr + decoder->text.len;
    size_t len;

    if (!is_string(raw)) {
        return PS_SLICE_NONE;
    }
    len = ps_json_unescape(raw, at);
    ps_buf_commit(&decoder->text, len);
    return ps_slice(at, len);
}

/* ---- members ---- */

struct member {
    const char *name;
    struct ps_slice raw;
};

static void find(struct ps_slice object, struct member *members, size_t count)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (object.len == 0 || object.ptr[0] != '{') {
        return;
    }
    ps_json_walk_init(&walk, object);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (size_t i = 0; i < count; i++) {
            if (value.ptr[0] != 'n' && ps_json_key_is(key, ps_slice_cstr(members[i].name))) {
                members[i].raw = value;
                break;
            }
        }
    }
}

/* A number that is not below zero; -1: none. */
static int64_t offset_of(struct ps_slice raw)
{
    int64_t number = -1;

    if (raw.len > 0) {
        (void)ps_json_int(raw, &number);
    }
    return number;
}

/* The text of the event, or the whole answer, without the white space around it. */
static struct ps_slice root_of(const struct ps_openai_found *found)
{
    struct ps_slice text = found->text;

    while (text.len > 0 && text.ptr[0] != '{') {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && text.ptr[text.len - 1] != '}') {
        text.len--;
    }
    return text;
}

/* ---- tool calls ---- */

static struct seen_call *last_call(struct ps_openai_decoder *decoder, uint32_t choice)
{
    struct seen_call *calls = (struct seen_call *)(void *)decoder->calls.ptr;

    for (size_t i = decoder->calls.len / sizeof(*calls); i > 0; i--) {
        if (calls[i - 1].choice == choice) {
            return &calls[i - 1];
        }
    }
    return NULL;
}

static struct seen_call *find_call(struct ps_openai_decoder *decoder, uint32_t choice,
                                   uint32_t block)
{
    struct seen_call *calls = (struct seen_call *)(void *)decoder->calls.ptr;

    for (size_t i = decoder->calls.len / sizeof(*calls); i > 0; i--) {
        if (calls[i - 1].choice == choice && calls[i - 1].block == block) {
            return &calls[i - 1];
        }
    }
    return NULL;
}

/*
 * Which call a fragment belongs to: by its index; without one it begins a new call when it brings
 * an id or a name, and goes on with the last one otherwise. NULL: too many.
 */
static struct seen_call *call_of(struct ps_openai_decoder *decoder, uint32_t choice,
                                 struct ps_slice index, bool begins)
{
    struct seen_call *last = last_call(decoder, choice);
    struct seen_call call = {choice, last != NULL ? last->block + 1 : 0, 0};
    int64_t number = offset_of(index);

    if (number >= 0 && number < CALLS_MAX) {
        struct seen_call *known = find_call(decoder, choice, (uint32_t)number);

        if (known != NULL) {
            return known;
        }
        call.block = (uint32_t)number;
    } else if (!begins && last != NULL) {
        return last;
    }
    ps_buf_append(&decoder->calls, &call, sizeof(call));
    return decoder->calls.failed ? NULL : last_call(decoder, choice);
}

enum {
    ID,
    INDEX,
    TYPE,
    FUNCTION,
    CUSTOM,
    EXTRA,
    CALL_MEMBERS,
};

static struct ps_slice signature_of(struct ps_openai_decoder *decoder, struct ps_slice extra)
{
    return plain(decoder, ps_raw_member(ps_raw_member(extra, "google"), "thought_signature"));
}

static bool emit_fragment(struct ps_openai_decoder *decoder, uint32_t choice,
                          const struct member *call, const struct member *body, bool custom)
{
    char made[64];
    struct ps_event_tool tool = {.custom = custom};
    struct ps_event event = {
        .kind = PS_EVENT_TOOL_CALL,
        .choice = choice,
        .usage = PS_USAGE_NONE,
        .tool = &tool,
    };
    struct ps_slice id = plain(decoder, call[ID].raw);
    struct ps_slice name = plain(decoder, body[0].raw);
    struct seen_call *seen = call_of(decoder, choice, call[INDEX].raw, id.len > 0 || name.len > 0);

    if (seen == NULL) {
        (void)ps_openai_out_of_memory(decoder);
        return false;
    }
    event.block = seen->block;
    if (seen->fragments == 0) {
        tool.name = name;
        tool.id = id.len > 0 ? id : ps_decoder_call_id(&decoder->base, made);
        tool.signature = signature_of(decoder, call[EXTRA].raw);
    }
    seen->fragments += seen->fragments < UINT32_MAX;
    /* Some servers give the object itself. */
    event.text = is_string(body[1].raw) ? plain(decoder, body[1].raw) : body[1].raw;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool emit_call(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice raw)
{
    struct member call[CALL_MEMBERS] = {
        [ID] = {"id", PS_SLICE_NONE},         [INDEX] = {"index", PS_SLICE_NONE},
        [TYPE] = {"type", PS_SLICE_NONE},     [FUNCTION] = {"function", PS_SLICE_NONE},
        [CUSTOM] = {"custom", PS_SLICE_NONE}, [EXTRA] = {"extra_content", PS_SLICE_NONE},
    };
    struct member body[] = {{"name", PS_SLICE_NONE}, {"arguments", PS_SLICE_NONE}};
    bool custom;

    find(raw, call, CALL_MEMBERS);
    custom = call[CUSTOM].raw.len > 0;
    body[1].name = custom ? "input" : "arguments";
    find(custom ? call[CUSTOM].raw : call[FUNCTION].raw, body, 2);
    return emit_fragment(decoder, choice, call, body, custom);
}

bool ps_openai_emit_tools(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!begin_text(decoder, raw.len)) {
        return false;
    }
    if (raw.ptr[0] == '{') { /* what was there before tools: one call without an id */
        struct member call[CALL_MEMBERS] = {{"", PS_SLICE_NONE}};
        struct member body[] = {{"name", PS_SLICE_NONE}, {"arguments", PS_SLICE_NONE}};

        find(raw, body, 2);
        call[INDEX].raw = PS_SLICE_LIT("0");
        return emit_fragment(decoder, choice, call, body, false);
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &element)) {
        if (element.ptr[0] == '{' && !emit_call(decoder, choice, element)) {
            return false;
        }
    }
    return true;
}

/* ---- content in parts ---- */

/* Text of a string, or of all parts of an array, by kind; a thinking part may hold parts itself. */
static bool emit_parts(struct ps_openai_decoder *decoder, enum ps_event_kind kind, uint32_t choice,
                       struct ps_slice raw, int depth)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (is_string(raw)) {
        return raw.len == 2 || ps_openai_emit_text(decoder, kind, choice, raw);
    }
    if (raw.len == 0 || raw.ptr[0] != '[' || depth == DEPTH_MAX) {
        return true;
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &element)) {
        struct member members[] = {
            {"text", PS_SLICE_NONE}, {"thinking", PS_SLICE_NONE}, {"refusal", PS_SLICE_NONE}};

        find(element, members, 3);
        if (!emit_parts(decoder, PS_EVENT_REASONING, choice, members[1].raw, depth + 1) ||
            !emit_parts(decoder, kind, choice, members[0].raw, depth + 1) ||
            !emit_parts(decoder, PS_EVENT_REFUSAL, choice, members[2].raw, depth + 1)) {
            return false;
        }
    }
    return true;
}

bool ps_openai_emit_content(struct ps_openai_decoder *decoder, enum ps_event_kind kind,
                            uint32_t choice, struct ps_slice raw)
{
    return emit_parts(decoder, kind, choice, raw, 0);
}

/* ---- citations ---- */

static bool emit_citation(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice raw)
{
    struct member members[] = {{"url", PS_SLICE_NONE},
                               {"title", PS_SLICE_NONE},
                               {"start_index", PS_SLICE_NONE},
                               {"end_index", PS_SLICE_NONE},
                               {"content", PS_SLICE_NONE}};
    struct ps_event_citation citation = {.raw = raw};
    struct ps_event event = {
        .kind = PS_EVENT_CITATION,
        .choice = choice,
        .usage = PS_USAGE_NONE,
        .citation = &citation,
    };

    find(ps_raw_member(raw, "url_citation"), members, 5);
    citation.url = plain(decoder, members[0].raw);
    citation.title = plain(decoder, members[1].raw);
    citation.quote = plain(decoder, members[4].raw);
    citation.start = offset_of(members[2].raw);
    citation.end = offset_of(members[3].raw);
    return citation.url.len == 0 || ps_decoder_emit(&decoder->base, &event);
}

static bool emit_citations(struct ps_openai_decoder *decoder, uint32_t choice,
                           struct ps_slice array)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (array.len == 0 || array.ptr[0] != '[') {
        return true;
    }
    if (!begin_text(decoder, array.len)) {
        return false;
    }
    ps_json_walk_init(&walk, array);
    while (ps_json_walk_element(&walk, &element)) {
        if (element.ptr[0] == '{' && !emit_citation(decoder, choice, element)) {
            return false;
        }
    }
    return true;
}

/* ---- what the paths do not have ---- */

struct ps_slice ps_openai_choice_at(struct ps_openai_found *found, uint32_t position)
{
    if (position + 1 < found->walked || found->walked == 0) {
        struct ps_slice choices = ps_raw_member(root_of(found), "choices");

        if (choices.len == 0 || choices.ptr[0] != '[') {
            return PS_SLICE_NONE;
        }
        ps_json_walk_init(&found->walk, choices);
        found->walked = 0;
    }
    for (; found->walked <= position; found->walked++) {
        if (!ps_json_walk_element(&found->walk, &found->element)) {
            return PS_SLICE_NONE;
        }
    }
    return found->element;
}

bool ps_openai_emit_annotations(struct ps_openai_decoder *decoder, uint32_t choice,
                                struct ps_slice object)
{
    struct ps_slice said = ps_raw_member(object, "delta");

    if (said.len == 0) {
        said = ps_raw_member(object, "message");
    }
    return emit_citations(decoder, choice, ps_raw_member(said, "annotations"));
}

struct ps_slice ps_openai_stop_of(struct ps_openai_decoder *decoder, struct ps_slice object)
{
    struct member members[] = {{"stop_reason", PS_SLICE_NONE}, {"matched_stop", PS_SLICE_NONE}};

    find(object, members, 2);
    if (!is_string(members[0].raw)) {
        members[0] = members[1];
    }
    if (!is_string(members[0].raw) || !begin_text(decoder, members[0].raw.len)) {
        return PS_SLICE_NONE;
    }
    return plain(decoder, members[0].raw);
}

void ps_openai_more_usage(const struct ps_openai_found *found, struct ps_usage *usage)
{
    struct ps_slice raw = ps_raw_member(root_of(found), "usage");
    int64_t number =
        offset_of(ps_raw_member(ps_raw_member(raw, "prompt_tokens_details"), "cache_write_tokens"));

    if (number >= 0) {
        usage->cache_write = number;
    }
}

/* ---- lists: reranked documents, embeddings ---- */

static bool emit_score(struct ps_openai_decoder *decoder, struct ps_slice raw)
{
    struct member members[] = {{"index", PS_SLICE_NONE},
                               {"relevance_score", PS_SLICE_NONE},
                               {"score", PS_SLICE_NONE},
                               {"document", PS_SLICE_NONE}};
    struct ps_event_score score = {0, PS_SLICE_NONE, PS_SLICE_NONE};
    struct ps_event event = {.kind = PS_EVENT_SCORE, .usage = PS_USAGE_NONE, .score = &score};
    int64_t index;

    find(raw, members, 4);
    score.number = members[1].raw.len > 0 ? members[1].raw : members[2].raw;
    score.document = members[3].raw;
    index = offset_of(members[0].raw);
    if (index < 0 || index > INT32_MAX || score.number.len == 0 ||
        !ps_json_double(score.number, &score.relevance)) {
        return true;
    }
    event.index = (uint32_t)index;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool emit_vector(struct ps_openai_decoder *decoder, struct ps_slice raw)
{
    struct member members[] = {{"index", PS_SLICE_NONE}, {"embedding", PS_SLICE_NONE}};
    struct ps_event event = {.kind = PS_EVENT_EMBEDDING, .usage = PS_USAGE_NONE};
    int64_t index;

    find(raw, members, 2);
    index = offset_of(members[0].raw);
    if (index < 0 || index > INT32_MAX || members[1].raw.len == 0 || members[1].raw.ptr[0] != '[') {
        return true;
    }
    event.index = (uint32_t)index;
    event.text = members[1].raw;
    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_openai_emit_list(struct ps_openai_decoder *decoder)
{
    bool ranks = decoder->base.options.operation == PS_OP_RERANK;
    struct ps_slice list = ps_raw_member(root_of(&decoder->found), ranks ? "results" : "data");
    struct ps_json_walk walk;
    struct ps_slice element;

    if (list.len == 0 || list.ptr[0] != '[') {
        return true;
    }
    ps_json_walk_init(&walk, list);
    while (ps_json_walk_element(&walk, &element)) {
        if (!(ranks ? emit_score(decoder, element) : emit_vector(decoder, element))) {
            return false;
        }
    }
    return true;
}
