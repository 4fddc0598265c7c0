/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/* Parts of a turn: of the members that say what a part is there may be one. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    TEXT = PS_GEMINI_TEXT, /* what a part is */
    INLINE_DATA = PS_GEMINI_BLOB,
    FILE_DATA = PS_GEMINI_FILE,
    FUNCTION_CALL = PS_GEMINI_CALL,
    FUNCTION_RESPONSE = PS_GEMINI_RESPONSE,
    EXECUTABLE_CODE, /* and what no other family has */
    CODE_EXECUTION_RESULT,
    TOOL_CALL,
    TOOL_RESPONSE,
    IS,
    THOUGHT = IS, /* and what is said about it */
    SIGNATURE,
    MEMBERS,
};

int ps_gemini_read_part(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                        struct ps_slice raw, struct ps_gemini_part *ret)
{
    struct ps_build_member members[MEMBERS] = {
        [TEXT] = {"text", PS_SLICE_NONE},
        [INLINE_DATA] = {"inlineData", PS_SLICE_NONE},
        [FILE_DATA] = {"fileData", PS_SLICE_NONE},
        [FUNCTION_CALL] = {"functionCall", PS_SLICE_NONE},
        [FUNCTION_RESPONSE] = {"functionResponse", PS_SLICE_NONE},
        [EXECUTABLE_CODE] = {"executableCode", PS_SLICE_NONE},
        [CODE_EXECUTION_RESULT] = {"codeExecutionResult", PS_SLICE_NONE},
        [TOOL_CALL] = {"toolCall", PS_SLICE_NONE},
        [TOOL_RESPONSE] = {"toolResponse", PS_SLICE_NONE},
        [THOUGHT] = {"thought", PS_SLICE_NONE},
        [SIGNATURE] = {"thoughtSignature", PS_SLICE_NONE},
    };
    int found = -1;

    *ret = (struct ps_gemini_part){.kind = PS_GEMINI_TEXT};
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_gemini_members(build, at, raw, members, MEMBERS) != 0 ||
        ps_build_bool(build, at, "thought", members[THOUGHT].raw, &ret->thought) != 0 ||
        ps_build_string(build, at, "thoughtSignature", members[SIGNATURE].raw, &ret->signature) !=
            0) {
        return -1;
    }
    for (int i = 0; i < IS; i++) {
        if (members[i].raw.len > 0 && found >= 0) {
            return ps_build_bad(build, at, members[i].name,
                                "must not be given beside another kind of content.");
        }
        found = members[i].raw.len > 0 ? i : found;
    }
    if (!ps_raw_says(ret->signature)) {
        ret->signature = PS_SLICE_NONE;
    }
    if (found < 0) {
        return ret->signature.len > 0
                   ? 0
                   : ps_build_expected(build, at, NULL,
                                       "an object with text, inlineData, fileData, functionCall "
                                       "or functionResponse");
    }
    if (found >= EXECUTABLE_CODE) {
        return ps_build_unsupported(build, at, members[found].name);
    }
    ret->kind = (enum ps_gemini_kind)found;
    ret->value = members[found].raw;
    return found == TEXT ? ps_build_string(build, at, "text", ret->value, &ret->value)
                         : ps_build_object(build, at, members[found].name, ret->value, &ret->value);
}

/* ---- media ---- */

static enum ps_part_kind kind_of(struct ps_slice media_type)
{
    static const struct {
        struct ps_slice prefix;
        enum ps_part_kind kind;
    } prefixes[] = {
        {PS_SLICE_INIT("image/"), PS_PART_IMAGE},
        {PS_SLICE_INIT("audio/"), PS_PART_AUDIO},
        {PS_SLICE_INIT("video/"), PS_PART_VIDEO},
    };

    for (size_t i = 0; i < COUNT(prefixes); i++) {
        if (media_type.len > prefixes[i].prefix.len &&
            ps_slice_ieq(ps_slice(media_type.ptr, prefixes[i].prefix.len), prefixes[i].prefix)) {
            return prefixes[i].kind;
        }
    }
    return media_type.len > 0 ? PS_PART_DOCUMENT : PS_PART_IMAGE; /* most links go to images */
}

/* Parameters of the type are not kept. */
static int read_media_type(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                           struct ps_slice raw, struct ps_slice *ret)
{
    struct ps_slice text = PS_SLICE_NONE;

    if (ps_build_string(build, at, "mimeType", raw, &text) != 0) {
        return -1;
    }
    if (!ps_raw_says(text)) {
        return 0;
    }
    text = ps_raw_plain(text, build->arena);
    if (text.ptr == NULL) {
        return ps_build_no_memory(build);
    }
    *ret = ps_dialect_media_type(text);
    return ps_media_type_is(*ret) ? 0 : ps_build_expected(build, at, "mimeType", "a media type");
}

/* Clients write bytes in either alphabet of base64; other families know one. */
static int read_data(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice raw, struct ps_slice *ret)
{
    struct ps_slice text = PS_SLICE_NONE;
    char *copy;
    size_t len;

    if (ps_build_string(build, at, "data", raw, &text) != 0) {
        return -1;
    }
    if (text.len == 0 ||
        (memchr(text.ptr, '-', text.len) == NULL && memchr(text.ptr, '_', text.len) == NULL)) {
        return ps_build_base64(build, at, "data", raw, ret);
    }
    text = ps_raw_plain(text, build->arena);
    copy = text.ptr != NULL ? ps_arena_side(build->arena, text.len + 4, 1) : NULL;
    if (copy == NULL) {
        return ps_build_no_memory(build);
    }
    for (len = 0; len < text.len; len++) {
        copy[len] = text.ptr[len] == '-' ? '+' : text.ptr[len] == '_' ? '/' : text.ptr[len];
    }
    while (len % 4 != 0) {
        copy[len++] = '=';
    }
    *ret = ps_slice(copy, len);
    return ps_base64_is(*ret) ? 0 : ps_build_expected(build, at, "data", "valid base64");
}

int ps_gemini_read_media(struct ps_neutral_build *build, const struct ps_gemini_part *from,
                         struct ps_neutral_part *part)
{
    bool is_blob = from->kind == PS_GEMINI_BLOB;
    const struct ps_neutral_at at = {&part->at, is_blob ? "inlineData" : "fileData",
                                     PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"mimeType", PS_SLICE_NONE},
                                        {is_blob ? "data" : "fileUri", PS_SLICE_NONE},
                                        {"displayName", PS_SLICE_NONE}};
    struct ps_neutral_media *media = ps_build_array(build, 1, sizeof(*media));

    if (media == NULL || ps_gemini_members(build, &at, from->value, members, COUNT(members)) != 0 ||
        read_media_type(build, &at, members[0].raw, &media->media_type) != 0 ||
        ps_build_string(build, &at, "displayName", members[2].raw, &media->filename) != 0) {
        return -1;
    }
    if (is_blob && media->media_type.len == 0) {
        return ps_build_missing(build, &at, "mimeType");
    }
    media->source = PS_MEDIA_BASE64;
    if (is_blob ? read_data(build, &at, members[1].raw, &media->data) != 0
                : ps_build_url(build, &at, "fileUri", members[1].raw, media) != 0) {
        return -1;
    }
    part->kind = kind_of(media->media_type);
    part->media = media;
    build->neutral->has_media = true;
    return 0;
}

/* ---- results of functions ---- */

/*
 * {"output":"12 degrees"} is that text, {"error":"no such city"} a failure in those words; whatever
 * else a function gave back is told as JSON.
 */
static int read_output(struct ps_neutral_build *build, struct ps_slice response,
                       struct ps_neutral_result *result, struct ps_slice *ret_text)
{
    static const char *const names[] = {"error", "output", "result"};
    struct ps_json_walk walk;
    struct ps_slice key = PS_SLICE_NONE;
    struct ps_slice value = PS_SLICE_NONE;
    struct ps_slice more;

    if (!ps_raw_given(response)) {
        *ret_text = PS_SLICE_LIT("\"\"");
        return 0;
    }
    ps_json_walk_init(&walk, response);
    if (ps_json_walk_member(&walk, &key, &value) && !ps_json_walk_member(&walk, &more, &more)) {
        for (size_t i = 0; i < COUNT(names); i++) {
            if (ps_json_key_is(key, ps_slice_cstr(names[i]))) {
                result->is_error = i == 0;
                *ret_text = ps_raw_begins(value, '"') ? value : PS_SLICE_NONE;
            }
        }
    }
    if (ret_text->len == 0) {
        *ret_text = ps_raw_quote(response, build->arena);
    }
    return ret_text->ptr != NULL ? 0 : ps_build_no_memory(build);
}

/* Images and files beside it. */
static int read_more(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice raw, struct ps_neutral_part *parts)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct ps_gemini_part part;

        parts[i].at = (struct ps_neutral_at){at, "parts", i};
        parts[i].raw = element;
        if (ps_gemini_read_part(build, &parts[i].at, element, &part) != 0) {
            return -1;
        }
        if (part.kind != PS_GEMINI_BLOB && part.kind != PS_GEMINI_FILE) {
            return ps_build_expected(build, &parts[i].at, NULL,
                                     "an object with inlineData or fileData");
        }
        if (ps_gemini_read_media(build, &part, &parts[i]) != 0) {
            return -1;
        }
        if (parts[i].kind != PS_PART_IMAGE && parts[i].kind != PS_PART_DOCUMENT) {
            return ps_build_unsupported(build, &parts[i].at, NULL);
        }
    }
    return 0;
}

int ps_gemini_read_response(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                            struct ps_slice raw, struct ps_neutral_result *result,
                            struct ps_slice *ret_name)
{
    struct ps_build_member members[] = {{"id", PS_SLICE_NONE},
                                        {"name", PS_SLICE_NONE},
                                        {"response", PS_SLICE_NONE},
                                        {"parts", PS_SLICE_NONE}};
    struct ps_neutral_at *own = ps_build_array(build, 1, sizeof(*own));
    struct ps_slice response = PS_SLICE_NONE;
    struct ps_neutral_part *parts;
    size_t count;

    if (own == NULL) {
        return -1;
    }
    *own = (struct ps_neutral_at){at, "functionResponse", PS_NEUTRAL_NO_INDEX};
    if (ps_gemini_members(build, own, raw, members, COUNT(members)) != 0 ||
        ps_build_string(build, own, "id", members[0].raw, &result->id) != 0 ||
        ps_build_string(build, own, "name", members[1].raw, ret_name) != 0 ||
        ps_build_object(build, own, "response", members[2].raw, &response) != 0) {
        return -1;
    }
    if (members[3].raw.len > 0 && !ps_raw_begins(members[3].raw, '[')) {
        return ps_build_expected(build, own, "parts", "an array");
    }
    count = members[3].raw.len > 0 ? ps_build_count(members[3].raw) : 0;
    parts = ps_build_parts(build, own, count + 1);
    if (parts == NULL) {
        return -1;
    }
    parts[0].at = (struct ps_neutral_at){own, "response", PS_NEUTRAL_NO_INDEX};
    parts[0].kind = PS_PART_TEXT;
    result->parts = parts;
    result->part_count = count + 1;
    return read_output(build, response, result, &parts[0].text) != 0
               ? -1
               : (count > 0 ? read_more(build, own, members[3].raw, parts + 1) : 0);
}
