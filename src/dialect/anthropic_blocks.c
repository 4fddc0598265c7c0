/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* Blocks of content, out of a body into parts of the neutral form. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- text ---- */

static int read_text(struct ps_neutral_build *build, struct ps_slice raw,
                     struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},
        {"text", PS_SLICE_NONE},
        {"cache_control", PS_SLICE_NONE},
        {"citations", PS_SLICE_NONE},
    };

    part->kind = PS_PART_TEXT;
    if (ps_build_members(build, &part->at, raw, members, COUNT(members)) != 0 ||
        ps_build_needed(build, &part->at, members[1].name, members[1].raw, &part->text) != 0 ||
        ps_build_object(build, &part->at, "cache_control", members[2].raw, &part->cache_control) !=
            0) {
        return -1;
    }
    part->citations = members[3].raw;
    return 0;
}

/* ---- images and documents ---- */

enum {
    SOURCE_TYPE,
    MEDIA_TYPE,
    DATA,
    URL,
    FILE_ID,
    CONTENT,
    SOURCE_MEMBERS
};

static int read_media_type(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                           const struct ps_build_member *member, struct ps_slice *ret)
{
    if (ps_build_name(build, at, member->name, member->raw, ret) != 0) {
        return -1;
    }
    *ret = ps_raw_plain(*ret, build->arena);
    if (ret->ptr == NULL) {
        return ps_build_no_memory(build);
    }
    return ps_media_type_is(*ret) ? 0 : ps_build_expected(build, at, member->name, "a media type");
}

static int read_base64(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const struct ps_build_member *members, struct ps_neutral_media *media)
{
    media->source = PS_MEDIA_BASE64;
    return read_media_type(build, at, &members[MEDIA_TYPE], &media->media_type) != 0
               ? -1
               : ps_build_base64(build, at, "data", members[DATA].raw, &media->data);
}

/* A document that is text, or made of blocks. The latter has no neutral form unless it is one
 * string: *ret_opaque. */
static int read_text_source(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                            const struct ps_build_member *members, struct ps_neutral_media *media,
                            bool *ret_opaque)
{
    bool is_content = ps_raw_word(members[SOURCE_TYPE].raw, "content");
    const struct ps_build_member *text = &members[is_content ? CONTENT : DATA];

    media->source = PS_MEDIA_TEXT;
    media->media_type = PS_SLICE_LIT("text/plain");
    if (is_content && ps_raw_begins(text->raw, '[')) {
        *ret_opaque = true;
        return 0;
    }
    return ps_build_needed(build, at, text->name, text->raw, &media->text);
}

static int read_source(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       struct ps_slice raw, bool is_image, struct ps_neutral_media *media,
                       bool *ret_opaque)
{
    struct ps_build_member members[SOURCE_MEMBERS] = {
        [SOURCE_TYPE] = {"type", PS_SLICE_NONE}, [MEDIA_TYPE] = {"media_type", PS_SLICE_NONE},
        [DATA] = {"data", PS_SLICE_NONE},        [URL] = {"url", PS_SLICE_NONE},
        [FILE_ID] = {"file_id", PS_SLICE_NONE},  [CONTENT] = {"content", PS_SLICE_NONE},
    };
    struct ps_slice type;

    if (!ps_raw_begins(raw, '{')) {
        return ps_raw_given(raw) ? ps_build_expected(build, at, NULL, "an object")
                                 : ps_build_missing(build, at, NULL);
    }
    if (ps_build_members(build, at, raw, members, SOURCE_MEMBERS) != 0 ||
        ps_build_needed(build, at, members[SOURCE_TYPE].name, members[SOURCE_TYPE].raw, &type) !=
            0) {
        return -1;
    }
    if (ps_raw_word(type, "base64")) {
        return read_base64(build, at, members, media);
    }
    if (ps_raw_word(type, "url")) {
        return ps_build_url(build, at, "url", members[URL].raw, media);
    }
    if (ps_raw_word(type, "file")) {
        media->source = PS_MEDIA_FILE;
        return ps_build_name(build, at, members[FILE_ID].name, members[FILE_ID].raw,
                             &media->file_id);
    }
    if (!is_image && (ps_raw_word(type, "text") || ps_raw_word(type, "content"))) {
        return read_text_source(build, at, members, media, ret_opaque);
    }
    return ps_build_expected(
        build, at, "type", is_image ? "base64, url or file" : "base64, text, content, url or file");
}

static int read_media(struct ps_neutral_build *build, struct ps_slice raw, bool is_image,
                      struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},      {"source", PS_SLICE_NONE}, {"cache_control", PS_SLICE_NONE},
        {"citations", PS_SLICE_NONE}, {"title", PS_SLICE_NONE},  {"context", PS_SLICE_NONE},
    };
    struct ps_neutral_media *media = ps_build_array(build, 1, sizeof(*media));
    struct ps_neutral_at *at = ps_build_array(build, 1, sizeof(*at));
    size_t count = is_image ? 3 : COUNT(members);
    bool opaque = false;

    if (media == NULL || at == NULL) {
        return -1;
    }
    *at = (struct ps_neutral_at){&part->at, "source", PS_NEUTRAL_NO_INDEX};
    part->kind = is_image ? PS_PART_IMAGE : PS_PART_DOCUMENT;
    part->media = media;
    build->neutral->has_media = true;
    if (ps_build_members(build, &part->at, raw, members, count) != 0 ||
        read_source(build, at, members[1].raw, is_image, media, &opaque) != 0 ||
        ps_build_object(build, &part->at, "cache_control", members[2].raw, &part->cache_control) !=
            0 ||
        ps_build_object(build, &part->at, "citations", members[3].raw, &media->citations) != 0 ||
        ps_build_string(build, &part->at, "title", members[4].raw, &media->filename) != 0 ||
        ps_build_string(build, &part->at, "context", members[5].raw, &media->context) != 0) {
        return -1;
    }
    if (opaque) {
        part->kind = PS_PART_OPAQUE;
    }
    return 0;
}

/* ---- tools ---- */

static int read_call(struct ps_neutral_build *build, struct ps_slice raw,
                     struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},          {"id", PS_SLICE_NONE},
        {"name", PS_SLICE_NONE},          {"input", PS_SLICE_NONE},
        {"cache_control", PS_SLICE_NONE},
    };
    struct ps_neutral_call *call = ps_build_array(build, 1, sizeof(*call));

    if (call == NULL) {
        return -1;
    }
    call->arguments = PS_SLICE_LIT("{}");
    part->kind = PS_PART_TOOL_CALL;
    part->call = call;
    if (ps_build_members(build, &part->at, raw, members, COUNT(members)) != 0 ||
        ps_build_name(build, &part->at, members[1].name, members[1].raw, &call->id) != 0 ||
        ps_build_name(build, &part->at, members[2].name, members[2].raw, &call->name) != 0 ||
        ps_build_object(build, &part->at, "input", members[3].raw, &call->arguments) != 0 ||
        ps_build_object(build, &part->at, "cache_control", members[4].raw, &part->cache_control) !=
            0) {
        return -1;
    }
    return 0;
}

static int read_result(struct ps_neutral_build *build, struct ps_slice raw,
                       struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},     {"tool_use_id", PS_SLICE_NONE},   {"content", PS_SLICE_NONE},
        {"is_error", PS_SLICE_NONE}, {"cache_control", PS_SLICE_NONE},
    };
    struct ps_neutral_result *result = ps_build_array(build, 1, sizeof(*result));
    struct ps_neutral_part *parts = NULL;

    if (result == NULL) {
        return -1;
    }
    part->kind = PS_PART_TOOL_RESULT;
    part->result = result;
    if (ps_build_members(build, &part->at, raw, members, COUNT(members)) != 0 ||
        ps_build_name(build, &part->at, members[1].name, members[1].raw, &result->id) != 0 ||
        ps_build_find_call(build, &part->at, "tool_use_id", result->id, &result->call) != 0 ||
        ps_build_bool(build, &part->at, "is_error", members[3].raw, &result->is_error) != 0 ||
        ps_build_object(build, &part->at, "cache_control", members[4].raw, &part->cache_control) !=
            0) {
        return -1;
    }
    if (!ps_raw_given(members[2].raw)) {
        return 0;
    }
    if (ps_anthropic_content(build, PS_ROLE_TOOL, &part->at, members[2].raw, &parts,
                             &result->part_count) != 0) {
        return -1;
    }
    result->parts = parts;
    return 0;
}

/* ---- thinking ---- */

static int read_thinking(struct ps_neutral_build *build, struct ps_slice raw, bool redacted,
                         struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},
        {redacted ? "data" : "thinking", PS_SLICE_NONE},
        {"signature", PS_SLICE_NONE},
    };
    struct ps_neutral_reasoning *reasoning = ps_build_array(build, 1, sizeof(*reasoning));

    if (reasoning == NULL) {
        return -1;
    }
    part->kind = PS_PART_REASONING;
    part->reasoning = reasoning;
    if (ps_build_members(build, &part->at, raw, members, redacted ? 2 : 3) != 0 ||
        ps_build_needed(build, &part->at, members[1].name, members[1].raw,
                        redacted ? &reasoning->redacted : &part->text) != 0 ||
        ps_build_string(build, &part->at, "signature", members[2].raw, &reasoning->signature) !=
            0) {
        return -1;
    }
    if (!ps_raw_says(reasoning->signature)) {
        reasoning->signature = PS_SLICE_NONE; /* what our own door gives where there was none */
    }
    return 0;
}

/* ---- any ---- */

#define USER      (1u << PS_ROLE_USER)
#define ASSISTANT (1u << PS_ROLE_ASSISTANT)
#define RESULT    (1u << PS_ROLE_TOOL)
#define SYSTEM    (1u << PS_ROLE_SYSTEM)

enum block_type {
    TEXT,
    IMAGE,
    DOCUMENT,
    TOOL_USE,
    TOOL_RESULT,
    THINKING,
    REDACTED_THINKING,
    OTHER,
};

static const struct {
    const char *name;
    unsigned roles;
} types[OTHER] = {
    [TEXT] = {"text", USER | ASSISTANT | RESULT | SYSTEM},
    [IMAGE] = {"image", USER | RESULT},
    [DOCUMENT] = {"document", USER | RESULT},
    [TOOL_USE] = {"tool_use", ASSISTANT},
    [TOOL_RESULT] = {"tool_result", USER},
    [THINKING] = {"thinking", ASSISTANT},
    [REDACTED_THINKING] = {"redacted_thinking", ASSISTANT},
};

static int type_of(struct ps_neutral_build *build, enum ps_role role, struct ps_slice raw,
                   const struct ps_neutral_part *part, enum block_type *ret)
{
    struct ps_slice type = ps_raw_find(raw, "type");
    int i = 0;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, NULL, "an object");
    }
    if (!ps_raw_given(type)) {
        return ps_build_missing(build, &part->at, "type");
    }
    if (!ps_raw_says(type)) {
        return ps_build_expected(build, &part->at, "type", "a string that is not empty");
    }
    while (i < OTHER && !ps_raw_word(type, types[i].name)) {
        i++;
    }
    if (i < OTHER && (types[i].roles & (1u << role)) == 0) {
        return ps_build_bad(build, &part->at, "type",
                            role == PS_ROLE_TOOL ? "is no block that a tool's result may hold."
                                                 : "is no block that a message of this role may "
                                                   "hold.");
    }
    *ret = (enum block_type)i;
    return 0;
}

int ps_anthropic_block(struct ps_neutral_build *build, enum ps_role role, struct ps_slice raw,
                       struct ps_neutral_part *part)
{
    enum block_type type = OTHER;

    if (type_of(build, role, raw, part, &type) != 0) {
        return -1;
    }
    part->raw = raw;
    switch (type) {
    case TEXT:
        return read_text(build, raw, part);
    case IMAGE:
    case DOCUMENT:
        return read_media(build, raw, type == IMAGE, part);
    case TOOL_USE:
        return read_call(build, raw, part);
    case TOOL_RESULT:
        return read_result(build, raw, part);
    case THINKING:
    case REDACTED_THINKING:
        return read_thinking(build, raw, type == REDACTED_THINKING, part);
    case OTHER: /* tools of the provider, results of searches, and what comes after this was made */
    default:
        part->kind = PS_PART_OPAQUE;
        return 0;
    }
}

int ps_anthropic_content(struct ps_neutral_build *build, enum ps_role role,
                         const struct ps_neutral_at *at, struct ps_slice raw,
                         struct ps_neutral_part **ret, size_t *ret_count)
{
    bool list = ps_raw_begins(raw, '[');
    size_t count = list ? ps_build_count(raw) : 1;
    struct ps_neutral_part *parts;
    struct ps_json_walk walk;
    struct ps_slice block;

    if (!list && !ps_raw_begins(raw, '"')) {
        return ps_build_expected(build, at, "content", "a string or an array of blocks");
    }
    *ret_count = count;
    if (count == 0) {
        return 0;
    }
    parts = ps_build_parts(build, at, count);
    if (parts == NULL) {
        return -1;
    }
    *ret = parts;
    if (!list) {
        parts[0].at = (struct ps_neutral_at){at, "content", PS_NEUTRAL_NO_INDEX};
        parts[0].kind = PS_PART_TEXT;
        parts[0].text = raw;
        return 0;
    }
    ps_json_walk_init(&walk, raw);
    for (size_t i = 0; i < count && ps_json_walk_element(&walk, &block); i++) {
        parts[i].at = (struct ps_neutral_at){at, "content", (uint32_t)i};
        if (ps_anthropic_block(build, role, block, &parts[i]) != 0) {
            return -1;
        }
    }
    return 0;
}
