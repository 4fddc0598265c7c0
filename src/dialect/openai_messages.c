/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"

/* Messages in OpenAI's shape as neutral ones. */

enum role_word {
    WORD_SYSTEM,
    WORD_DEVELOPER,
    WORD_USER,
    WORD_ASSISTANT,
    WORD_TOOL,
    WORD_FUNCTION, /* what there was before tools */
};
static const char *const role_words[] = {"system", "developer", "user", "assistant",
                                         "tool",   "function",  NULL};

enum {
    ROLE,
    CONTENT,
    NAME,
    TOOL_CALLS,
    TOOL_CALL_ID,
    REFUSAL,
    FUNCTION_CALL,
    REASONING_CONTENT,
    REASONING,
    TOOL_PLAN,
    THINKING_BLOCKS,
    AUDIO,
    CACHE_CONTROL,
    MEMBERS,
};

/* ---- media ---- */

/* {"url","detail"}, or the bare URL. */
static int read_url_part(struct ps_neutral_build *build, struct ps_neutral_part *part,
                         enum ps_part_kind kind, const char *name, struct ps_slice raw)
{
    struct ps_build_member members[] = {{"url", PS_SLICE_NONE}, {"detail", PS_SLICE_NONE}};
    struct ps_neutral_at *at;
    struct ps_neutral_media *media;

    if (ps_build_media(build, part, kind, &media) != 0) {
        return -1;
    }
    if (ps_raw_begins(raw, '"')) {
        return ps_build_url(build, &part->at, name, raw, media);
    }
    if (raw.len == 0) {
        return ps_build_missing(build, &part->at, name);
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, name, "an object with a url");
    }
    at = ps_build_array(build, 1, sizeof(*at));
    if (at == NULL) {
        return -1;
    }
    *at = (struct ps_neutral_at){&part->at, name, PS_NEUTRAL_NO_INDEX};
    if (ps_build_members(build, at, raw, members, 2) != 0 ||
        ps_build_string(build, at, "detail", members[1].raw, &media->detail) != 0) {
        return -1;
    }
    return ps_build_url(build, at, "url", members[0].raw, media);
}

static int read_audio(struct ps_neutral_build *build, struct ps_neutral_part *part,
                      struct ps_slice raw)
{
    static const char *const formats[] = {"wav",  "mp3", "flac",  "ogg",
                                          "opus", "aac", "pcm16", NULL};
    static const char *const types[] = {"audio/wav",  "audio/mpeg", "audio/flac", "audio/ogg",
                                        "audio/opus", "audio/aac",  "audio/pcm"};
    struct ps_build_member members[] = {{"data", PS_SLICE_NONE}, {"format", PS_SLICE_NONE}};
    struct ps_neutral_at at = {&part->at, "input_audio", PS_NEUTRAL_NO_INDEX};
    struct ps_neutral_media *media;
    int format = 0;

    part->kind = PS_PART_AUDIO;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, "input_audio", "an object");
    }
    if (ps_build_media(build, part, PS_PART_AUDIO, &media) != 0 ||
        ps_build_members(build, &part->at, raw, members, 2) != 0 ||
        ps_build_base64(build, &at, "data", members[0].raw, &media->data) != 0 ||
        ps_build_string(build, &at, "format", members[1].raw, &media->format) != 0 ||
        ps_build_word(build, &at, "format", members[1].raw, formats, &format) != 0) {
        return -1;
    }
    media->source = PS_MEDIA_BASE64;
    media->media_type = ps_slice_cstr(types[format]);
    return 0;
}

static int read_file(struct ps_neutral_build *build, struct ps_neutral_part *part,
                     struct ps_slice raw)
{
    struct ps_build_member members[] = {
        {"file_id", PS_SLICE_NONE}, {"filename", PS_SLICE_NONE}, {"file_data", PS_SLICE_NONE}};
    struct ps_neutral_at at = {&part->at, "file", PS_NEUTRAL_NO_INDEX};
    struct ps_neutral_media *media;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, "file", "an object");
    }
    if (ps_build_media(build, part, PS_PART_DOCUMENT, &media) != 0 ||
        ps_build_members(build, &part->at, raw, members, 3) != 0 ||
        ps_build_string(build, &at, "file_id", members[0].raw, &media->file_id) != 0 ||
        ps_build_string(build, &at, "filename", members[1].raw, &media->filename) != 0) {
        return -1;
    }
    if (media->file_id.len > 0) {
        media->source = PS_MEDIA_FILE;
        return members[2].raw.len == 0
                   ? 0
                   : ps_build_bad(build, &at, "file_data", "must not be given with a file_id.");
    }
    if (ps_slice_starts(members[2].raw, PS_SLICE_LIT("\"data:"))) {
        return ps_build_url(build, &at, "file_data", members[2].raw, media);
    }
    media->source = PS_MEDIA_BASE64;
    media->media_type = PS_SLICE_LIT("application/pdf");
    return ps_build_base64(build, &at, "file_data", members[2].raw, &media->data);
}

/* A document of Cohere's shape, which may be a tool's result, too: a text under its id. */
static int read_document(struct ps_neutral_build *build, struct ps_neutral_part *part,
                         struct ps_slice raw)
{
    struct ps_neutral_at *at = ps_build_array(build, 1, sizeof(*at));
    struct ps_neutral_media *media;

    if (at == NULL || ps_build_media(build, part, PS_PART_DOCUMENT, &media) != 0) {
        return -1;
    }
    *at = (struct ps_neutral_at){&part->at, "document", PS_NEUTRAL_NO_INDEX};
    media->source = PS_MEDIA_TEXT;
    media->media_type = PS_SLICE_LIT("text/plain");
    return ps_build_document(build, at, raw, &media->filename, &media->text);
}

/* ---- parts ---- */

enum {
    PART_TYPE,
    PART_TEXT,
    PART_REFUSAL,
    PART_IMAGE,
    PART_AUDIO,
    PART_FILE,
    PART_VIDEO,
    PART_DOCUMENT,
    PART_THINKING,
    PART_SIGNATURE,
    PART_DATA,
    PART_CACHE,
    PART_MEMBERS,
};

static int read_thought(struct ps_neutral_build *build, struct ps_neutral_part *part,
                        const struct ps_build_member *members, bool redacted)
{
    struct ps_neutral_reasoning *reasoning = ps_build_array(build, 1, sizeof(*reasoning));

    if (reasoning == NULL) {
        return -1;
    }
    part->kind = PS_PART_REASONING;
    part->reasoning = reasoning;
    if (redacted) {
        return ps_build_needed(build, &part->at, "data", members[PART_DATA].raw,
                               &reasoning->redacted);
    }
    if (ps_build_string(build, &part->at, "signature", members[PART_SIGNATURE].raw,
                        &reasoning->signature) != 0) {
        return -1;
    }
    return ps_build_needed(build, &part->at, "thinking", members[PART_THINKING].raw, &part->text);
}

static int read_typed(struct ps_neutral_build *build, struct ps_neutral_part *part,
                      const struct ps_build_member *members)
{
    struct ps_slice type = members[PART_TYPE].raw;

    if (ps_raw_word(type, "text")) {
        return ps_build_needed(build, &part->at, "text", members[PART_TEXT].raw, &part->text);
    }
    if (ps_raw_word(type, "image_url")) {
        return read_url_part(build, part, PS_PART_IMAGE, "image_url", members[PART_IMAGE].raw);
    }
    if (ps_raw_word(type, "refusal")) {
        part->kind = PS_PART_REFUSAL;
        return ps_build_needed(build, &part->at, "refusal", members[PART_REFUSAL].raw, &part->text);
    }
    if (ps_raw_word(type, "input_audio")) {
        return read_audio(build, part, members[PART_AUDIO].raw);
    }
    if (ps_raw_word(type, "file")) {
        return read_file(build, part, members[PART_FILE].raw);
    }
    if (ps_raw_word(type, "video_url")) {
        return read_url_part(build, part, PS_PART_VIDEO, "video_url", members[PART_VIDEO].raw);
    }
    if (ps_raw_word(type, "document") && members[PART_DOCUMENT].raw.len > 0) {
        return read_document(build, part, members[PART_DOCUMENT].raw);
    }
    if (ps_raw_word(type, "thinking")) {
        return read_thought(build, part, members, ps_raw_says(members[PART_DATA].raw));
    }
    if (ps_raw_word(type, "redacted_thinking")) {
        return read_thought(build, part, members, true);
    }
    part->kind = PS_PART_OPAQUE;
    return 0;
}

/* A text among a tool's results is one, whatever it is called there. */
static void settle_result(struct ps_neutral_build *build, struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;

    if (part->kind == PS_PART_DOCUMENT && media->source == PS_MEDIA_TEXT) {
        ps_build_extra(build, &part->at, "id", media->filename);
        part->kind = PS_PART_TEXT;
        part->media = NULL;
        part->text = media->text;
    }
}

static bool may_have(enum ps_role role, enum ps_part_kind kind)
{
    switch (kind) {
    case PS_PART_TEXT:
    case PS_PART_OPAQUE:
        return true;
    case PS_PART_REASONING:
    case PS_PART_REFUSAL:
        return role == PS_ROLE_ASSISTANT;
    case PS_PART_IMAGE:
    case PS_PART_DOCUMENT:
        return role == PS_ROLE_USER || role == PS_ROLE_TOOL;
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
        return role == PS_ROLE_USER;
    case PS_PART_TOOL_CALL:
    case PS_PART_TOOL_RESULT:
    default:
        return false;
    }
}

static int read_part(struct ps_neutral_build *build, struct ps_neutral_part *part,
                     enum ps_role role, struct ps_slice raw)
{
    struct ps_build_member members[PART_MEMBERS] = {
        [PART_TYPE] = {"type", PS_SLICE_NONE},
        [PART_TEXT] = {"text", PS_SLICE_NONE},
        [PART_REFUSAL] = {"refusal", PS_SLICE_NONE},
        [PART_IMAGE] = {"image_url", PS_SLICE_NONE},
        [PART_AUDIO] = {"input_audio", PS_SLICE_NONE},
        [PART_FILE] = {"file", PS_SLICE_NONE},
        [PART_VIDEO] = {"video_url", PS_SLICE_NONE},
        [PART_DOCUMENT] = {"document", PS_SLICE_NONE},
        [PART_THINKING] = {"thinking", PS_SLICE_NONE},
        [PART_SIGNATURE] = {"signature", PS_SLICE_NONE},
        [PART_DATA] = {"data", PS_SLICE_NONE},
        [PART_CACHE] = {"cache_control", PS_SLICE_NONE},
    };

    part->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, NULL, "an object");
    }
    if (ps_build_members(build, &part->at, raw, members, PART_MEMBERS) != 0) {
        return -1;
    }
    if (!ps_raw_begins(members[PART_TYPE].raw, '"')) {
        return members[PART_TYPE].raw.len == 0
                   ? ps_build_missing(build, &part->at, "type")
                   : ps_build_expected(build, &part->at, "type", "a string");
    }
    if (ps_build_object(build, &part->at, "cache_control", members[PART_CACHE].raw,
                        &part->cache_control) != 0 ||
        read_typed(build, part, members) != 0) {
        return -1;
    }
    if (role == PS_ROLE_TOOL) {
        settle_result(build, part);
    }
    return may_have(role, part->kind) ? 0
                                      : ps_build_bad(build, &part->at, "type",
                                                     "is not allowed in a message of this role.");
}

/* How many parts a content has. */
static size_t count_content(struct ps_slice raw)
{
    return ps_raw_begins(raw, '[') ? ps_build_count(raw) : raw.len > 0;
}

static int read_content(struct ps_neutral_build *build, struct ps_parts *parts,
                        const struct ps_neutral_at *at, enum ps_role role, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (ps_raw_begins(raw, '"')) {
        ps_parts_next(parts, PS_PART_TEXT, at, "content", PS_NEUTRAL_NO_INDEX)->text = raw;
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, at, "content", "a string or an array of parts");
    }
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct ps_neutral_part *part = ps_parts_next(parts, PS_PART_TEXT, at, "content", i);

        if (read_part(build, part, role, element) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- tool calls ---- */

/* What a model of Gemini's wants back with its call. */
static int read_signature(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                          struct ps_slice raw, struct ps_neutral_call *call)
{
    struct ps_build_member google = {"google", PS_SLICE_NONE};
    struct ps_build_member signature = {"thought_signature", PS_SLICE_NONE};

    if (!ps_raw_begins(raw, '{') || ps_build_members(build, at, raw, &google, 1) != 0 ||
        !ps_raw_begins(google.raw, '{')) {
        return 0;
    }
    if (ps_build_members(build, at, google.raw, &signature, 1) != 0) {
        return -1;
    }
    return ps_build_string(build, at, "extra_content", signature.raw, &call->signature);
}

static int read_function(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                         const char *name, struct ps_slice raw, struct ps_neutral_call *call)
{
    struct ps_build_member members[] = {{"name", PS_SLICE_NONE},
                                        {call->custom ? "input" : "arguments", PS_SLICE_NONE}};
    struct ps_neutral_at *inner = ps_build_array(build, 1, sizeof(*inner));

    if (inner == NULL) {
        return -1;
    }
    *inner = (struct ps_neutral_at){at, name, PS_NEUTRAL_NO_INDEX};
    if (raw.len == 0) {
        return ps_build_missing(build, at, name);
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, name, "an object");
    }
    if (ps_build_members(build, inner, raw, members, 2) != 0 ||
        ps_build_name(build, inner, "name", members[0].raw, &call->name) != 0) {
        return -1;
    }
    return call->custom
               ? ps_build_needed(build, inner, "input", members[1].raw, &call->arguments)
               : ps_build_arguments(build, inner, "arguments", members[1].raw, &call->arguments);
}

static int read_call(struct ps_neutral_build *build, struct ps_neutral_part *part,
                     struct ps_slice raw)
{
    struct ps_build_member members[] = {
        {"id", PS_SLICE_NONE},     {"type", PS_SLICE_NONE},  {"function", PS_SLICE_NONE},
        {"custom", PS_SLICE_NONE}, {"index", PS_SLICE_NONE}, {"extra_content", PS_SLICE_NONE}};
    struct ps_neutral_call *call = ps_build_array(build, 1, sizeof(*call));

    if (call == NULL) {
        return -1;
    }
    part->call = call;
    part->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, NULL, "an object");
    }
    if (ps_build_members(build, &part->at, raw, members, 6) != 0 ||
        ps_build_name(build, &part->at, "id", members[0].raw, &call->id) != 0 ||
        read_signature(build, &part->at, members[5].raw, call) != 0) {
        return -1;
    }
    call->custom = ps_raw_word(members[1].raw, "custom");
    if (members[1].raw.len > 0 && !call->custom && !ps_raw_word(members[1].raw, "function")) {
        return ps_build_expected(build, &part->at, "type", "function or custom");
    }
    return call->custom ? read_function(build, &part->at, "custom", members[3].raw, call)
                        : read_function(build, &part->at, "function", members[2].raw, call);
}

static int read_calls(struct ps_neutral_build *build, struct ps_parts *parts,
                      const struct ps_neutral_at *at, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (raw.len == 0) {
        return 0;
    }
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct ps_neutral_part *part = ps_parts_next(parts, PS_PART_TOOL_CALL, at, "tool_calls", i);

        if (read_call(build, part, element) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- messages by role ---- */

static int read_blocks(struct ps_neutral_build *build, struct ps_parts *parts,
                       const struct ps_neutral_at *at, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct ps_neutral_part *part =
            ps_parts_next(parts, PS_PART_REASONING, at, "thinking_blocks", i);

        if (read_part(build, part, PS_ROLE_ASSISTANT, element) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_assistant(struct ps_neutral_build *build, struct ps_neutral_message *message,
                          const struct ps_build_member *members)
{
    const struct ps_neutral_at *at = &message->at;
    int field = members[REASONING_CONTENT].raw.len > 0 ? REASONING_CONTENT
                : members[REASONING].raw.len > 0       ? REASONING
                                                       : TOOL_PLAN;
    const char *thought = members[field].name;
    struct ps_slice reasoning = PS_SLICE_NONE;
    struct ps_slice refusal = PS_SLICE_NONE;
    struct ps_slice calls = members[TOOL_CALLS].raw;
    struct ps_slice blocks = members[THINKING_BLOCKS].raw;
    struct ps_parts parts = {.count = 0};

    if (calls.len > 0 && !ps_raw_begins(calls, '[')) {
        return ps_build_expected(build, at, "tool_calls", "an array");
    }
    if (blocks.len > 0 && !ps_raw_begins(blocks, '[')) {
        return ps_build_expected(build, at, "thinking_blocks", "an array");
    }
    if (members[FUNCTION_CALL].raw.len > 0 && calls.len > 0) {
        return ps_build_bad(build, at, "function_call",
                            "must not be given together with tool_calls.");
    }
    if (members[AUDIO].raw.len > 0) {
        return ps_build_unsupported(build, at, "audio");
    }
    if (ps_build_string(build, at, thought, members[field].raw, &reasoning) != 0 ||
        ps_build_string(build, at, "refusal", members[REFUSAL].raw, &refusal) != 0) {
        return -1;
    }
    parts.list = ps_build_parts(build, at,
                                count_content(members[CONTENT].raw) + ps_build_count(calls) +
                                    ps_build_count(blocks) + 3);
    if (parts.list == NULL || (blocks.len > 0 && read_blocks(build, &parts, at, blocks) != 0)) {
        return -1;
    }
    if (ps_raw_says(reasoning) && parts.count == 0) {
        ps_parts_next(&parts, PS_PART_REASONING, at, thought, PS_NEUTRAL_NO_INDEX)->text =
            reasoning;
    }
    if (members[CONTENT].raw.len > 0 &&
        read_content(build, &parts, at, PS_ROLE_ASSISTANT, members[CONTENT].raw) != 0) {
        return -1;
    }
    if (refusal.len > 0) {
        ps_parts_next(&parts, PS_PART_REFUSAL, at, "refusal", PS_NEUTRAL_NO_INDEX)->text = refusal;
    }
    if (members[FUNCTION_CALL].raw.len > 0 &&
        ps_build_openai_function_call(
            build,
            ps_parts_next(&parts, PS_PART_TOOL_CALL, at, "function_call", PS_NEUTRAL_NO_INDEX),
            at->index, members[FUNCTION_CALL].raw) != 0) {
        return -1;
    }
    if (read_calls(build, &parts, at, calls) != 0) {
        return -1;
    }
    message->parts = parts.list;
    message->part_count = parts.count;
    if (parts.count == 0) {
        return ps_build_missing(build, at, "content");
    }
    return ps_build_note_calls(build, message);
}

/* By the id, or in a message of the role "function" by its name, which then has said all. */
static int find_call(struct ps_neutral_build *build, struct ps_neutral_message *message,
                     const struct ps_build_member *members, struct ps_neutral_result *result)
{
    if (!ps_raw_word(members[ROLE].raw, "function")) {
        return ps_build_needed(build, &message->at, "tool_call_id", members[TOOL_CALL_ID].raw,
                               &result->id) != 0
                   ? -1
                   : ps_build_find_call(build, &message->at, "tool_call_id", result->id,
                                        &result->call);
    }
    if (ps_build_find_function(build, &message->at, message->name, &result->call) != 0) {
        return -1;
    }
    result->id = result->call->id;
    message->name = PS_SLICE_NONE;
    return 0;
}

static int read_tool(struct ps_neutral_build *build, struct ps_neutral_message *message,
                     const struct ps_build_member *members)
{
    struct ps_parts outer = {ps_build_parts(build, &message->at, 1), 0};
    struct ps_neutral_result *result = ps_build_array(build, 1, sizeof(*result));
    size_t count = count_content(members[CONTENT].raw);
    struct ps_parts inner = {ps_build_parts(build, &message->at, count), 0};

    if (outer.list == NULL || result == NULL || inner.list == NULL) {
        return -1;
    }
    if (members[CONTENT].raw.len == 0) {
        return ps_build_missing(build, &message->at, "content");
    }
    if (find_call(build, message, members, result) != 0 ||
        read_content(build, &inner, &message->at, PS_ROLE_TOOL, members[CONTENT].raw) != 0) {
        return -1;
    }
    result->parts = inner.list;
    result->part_count = inner.count;
    ps_parts_next(&outer, PS_PART_TOOL_RESULT, &message->at, "content", PS_NEUTRAL_NO_INDEX)
        ->result = result;
    outer.list[0].cache_control = members[CACHE_CONTROL].raw;
    message->parts = outer.list;
    message->part_count = 1;
    return 0;
}

static int read_other(struct ps_neutral_build *build, struct ps_neutral_message *message,
                      const struct ps_build_member *members)
{
    size_t count = count_content(members[CONTENT].raw);
    struct ps_parts parts = {.count = 0};

    if (members[CONTENT].raw.len == 0) {
        return ps_build_missing(build, &message->at, "content");
    }
    if (count == 0) {
        return ps_build_expected(build, &message->at, "content",
                                 "a string or an array that is not empty");
    }
    parts.list = ps_build_parts(build, &message->at, count);
    if (parts.list == NULL ||
        read_content(build, &parts, &message->at, message->role, members[CONTENT].raw) != 0) {
        return -1;
    }
    message->parts = parts.list;
    message->part_count = parts.count;
    return 0;
}

/* Members that this role does not have. */
static int check_members(struct ps_neutral_build *build, const struct ps_neutral_message *message,
                         const struct ps_build_member *members)
{
    if (message->role != PS_ROLE_ASSISTANT && ps_raw_begins(members[TOOL_CALLS].raw, '[') &&
        ps_build_count(members[TOOL_CALLS].raw) > 0) {
        return ps_build_bad(build, &message->at, "tool_calls",
                            "is only allowed in a message of the role assistant.");
    }
    if (message->role != PS_ROLE_ASSISTANT && members[FUNCTION_CALL].raw.len > 0) {
        return ps_build_bad(build, &message->at, "function_call",
                            "is only allowed in a message of the role assistant.");
    }
    if (message->role != PS_ROLE_TOOL && members[TOOL_CALL_ID].raw.len > 0) {
        return ps_build_bad(build, &message->at, "tool_call_id",
                            "is only allowed in a message of the role tool.");
    }
    return 0;
}

/* On the message: meant for the last of its parts. */
static void mark_cache(struct ps_neutral_build *build, struct ps_neutral_message *message,
                       struct ps_slice cache_control)
{
    struct ps_neutral_part *parts = (struct ps_neutral_part *)(uintptr_t)message->parts;

    (void)build;
    if (ps_raw_begins(cache_control, '{') && message->part_count > 0 &&
        parts[message->part_count - 1].cache_control.len == 0) {
        parts[message->part_count - 1].cache_control = cache_control;
    }
}

static int read_message(struct ps_neutral_build *build, struct ps_neutral_message *message,
                        struct ps_slice raw)
{
    static const enum ps_role roles[] = {PS_ROLE_SYSTEM,    PS_ROLE_DEVELOPER, PS_ROLE_USER,
                                         PS_ROLE_ASSISTANT, PS_ROLE_TOOL,      PS_ROLE_TOOL};
    struct ps_build_member members[MEMBERS] = {
        [ROLE] = {"role", PS_SLICE_NONE},
        [CONTENT] = {"content", PS_SLICE_NONE},
        [NAME] = {"name", PS_SLICE_NONE},
        [TOOL_CALLS] = {"tool_calls", PS_SLICE_NONE},
        [TOOL_CALL_ID] = {"tool_call_id", PS_SLICE_NONE},
        [REFUSAL] = {"refusal", PS_SLICE_NONE},
        [FUNCTION_CALL] = {"function_call", PS_SLICE_NONE},
        [REASONING_CONTENT] = {"reasoning_content", PS_SLICE_NONE},
        [REASONING] = {"reasoning", PS_SLICE_NONE},
        [TOOL_PLAN] = {"tool_plan", PS_SLICE_NONE},
        [THINKING_BLOCKS] = {"thinking_blocks", PS_SLICE_NONE},
        [AUDIO] = {"audio", PS_SLICE_NONE},
        [CACHE_CONTROL] = {"cache_control", PS_SLICE_NONE},
    };
    int word = -1;
    int rc;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &message->at, NULL, "an object");
    }
    if (ps_build_members(build, &message->at, raw, members, MEMBERS) != 0 ||
        ps_build_word(build, &message->at, "role", members[ROLE].raw, role_words, &word) != 0 ||
        ps_build_string(build, &message->at, "name", members[NAME].raw, &message->name) != 0) {
        return -1;
    }
    if (word < 0) {
        return ps_build_missing(build, &message->at, "role");
    }
    message->role = roles[word];
    if (check_members(build, message, members) != 0) {
        return -1;
    }
    rc = message->role == PS_ROLE_ASSISTANT ? read_assistant(build, message, members)
         : message->role == PS_ROLE_TOOL    ? read_tool(build, message, members)
                                            : read_other(build, message, members);
    if (rc == 0) {
        mark_cache(build, message, members[CACHE_CONTROL].raw);
    }
    return rc;
}

/* ---- all of them ---- */

static int add_system(struct ps_neutral_build *build, struct ps_neutral_message *message,
                      struct ps_slice system)
{
    struct ps_parts parts = {ps_build_parts(build, NULL, 1), 0};

    if (parts.list == NULL) {
        return -1;
    }
    message->role = PS_ROLE_SYSTEM;
    message->at = (struct ps_neutral_at){NULL, "system", PS_NEUTRAL_NO_INDEX};
    ps_parts_next(&parts, PS_PART_TEXT, NULL, "system", PS_NEUTRAL_NO_INDEX)->text = system;
    message->parts = parts.list;
    message->part_count = 1;
    return 0;
}

int ps_build_openai_messages(struct ps_neutral_build *build, struct ps_slice system,
                             struct ps_slice array)
{
    struct ps_neutral *neutral = build->neutral;
    size_t count = ps_raw_begins(array, '[') ? ps_build_count(array) : 0;
    struct ps_neutral_message *messages;
    struct ps_json_walk walk;
    struct ps_slice raw;

    if (count == 0) {
        return ps_build_expected(build, NULL, "messages", "an array of messages that is not empty");
    }
    if (count > PS_NEUTRAL_MESSAGES) {
        return ps_build_bad(build, NULL, "messages", "holds more messages than can be translated.");
    }
    messages = ps_build_array(build, count + 1, sizeof(*messages));
    if (messages == NULL) {
        return -1;
    }
    neutral->messages = messages;
    if (system.len > 0 && add_system(build, &messages[neutral->message_count++], system) != 0) {
        return -1;
    }
    ps_json_walk_init(&walk, array);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        struct ps_neutral_message *message = &messages[neutral->message_count++];

        message->at = (struct ps_neutral_at){NULL, "messages", i};
        if (read_message(build, message, raw) != 0) {
            return -1;
        }
    }
    while (neutral->system_count < neutral->message_count &&
           ps_role_is_system(messages[neutral->system_count].role)) {
        neutral->system_count++;
    }
    return 0;
}
