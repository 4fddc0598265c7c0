/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"

#include <stdio.h>

/*
 * The conversation of a request. A message is its text, with images, thoughts and calls of tools
 * beside it. Calls often have no ids: then they get some here, and a result answers the first call
 * of its tool's name that has none yet.
 */

enum member {
    ROLE,
    CONTENT,
    IMAGES,
    THINKING,
    TOOL_CALLS,
    TOOL_NAME,
    TOOL_CALL_ID,
    NAME, /* an older word for the tool's name; elsewhere the speaker's */
    MEMBERS,
};

struct messages {
    struct ps_neutral_build *build;
    struct ps_neutral_message *list;
    const struct ps_neutral_message *calling; /* the last one with calls; NULL: none yet */
    bool *answered;                           /* of its parts */
};

/* ---- parts ---- */

/* Clients say only the bytes: their beginning tells what they are. */
static struct ps_slice media_type_of(struct ps_slice base64)
{
    static const struct {
        struct ps_slice start;
        struct ps_slice type;
    } types[] = {
        {PS_SLICE_INIT("iVBORw0KGgo"), PS_SLICE_INIT("image/png")},
        {PS_SLICE_INIT("/9j/"), PS_SLICE_INIT("image/jpeg")},
        {PS_SLICE_INIT("R0lGOD"), PS_SLICE_INIT("image/gif")},
        {PS_SLICE_INIT("UklGR"), PS_SLICE_INIT("image/webp")},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ps_slice_starts(base64, types[i].start)) {
            return types[i].type;
        }
    }
    return PS_SLICE_NONE;
}

static int read_image(struct ps_neutral_build *build, struct ps_neutral_part *part,
                      struct ps_slice raw)
{
    struct ps_neutral_media *media = ps_build_array(build, 1, sizeof(*media));

    if (media == NULL || ps_build_base64(build, &part->at, NULL, raw, &media->data) != 0) {
        return -1;
    }
    media->source = PS_MEDIA_BASE64;
    media->media_type = media_type_of(media->data);
    part->media = media;
    build->neutral->has_media = true;
    return media->media_type.len > 0
               ? 0
               : ps_build_expected(build, &part->at, NULL, "an image: PNG, JPEG, GIF or WebP");
}

static size_t count_of(struct ps_slice array)
{
    return ps_raw_begins(array, '[') ? ps_build_count(array) : 0;
}

/* A message's text and images. */
static int read_said(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     const char *name, struct ps_slice content, struct ps_slice images,
                     struct ps_parts *parts)
{
    struct ps_json_walk walk;
    struct ps_slice image;

    if (ps_build_string(build, at, name, content, &content) != 0) {
        return -1;
    }
    if (images.len > 0 && !ps_raw_begins(images, '[')) {
        return ps_build_expected(build, at, "images", "an array of images in base64");
    }
    if (ps_raw_says(content)) {
        ps_parts_next(parts, PS_PART_TEXT, at, name, PS_NEUTRAL_NO_INDEX)->text = content;
    }
    if (images.len == 0) {
        return 0;
    }
    ps_json_walk_init(&walk, images);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &image); i++) {
        if (read_image(build, ps_parts_next(parts, PS_PART_IMAGE, at, "images", i), image) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Every message has a part; to say nothing is to say "". */
static void fill(struct ps_parts *parts, const struct ps_neutral_at *at, const char *name)
{
    if (parts->count == 0) {
        ps_parts_next(parts, PS_PART_TEXT, at, name, PS_NEUTRAL_NO_INDEX)->text =
            PS_SLICE_LIT("\"\"");
    }
}

/* ---- calls ---- */

/* Its own id, or one that says where it stands. */
static int read_id(struct ps_neutral_build *build, const struct ps_neutral_part *part,
                   struct ps_slice raw, struct ps_slice *ret)
{
    char *id;

    if (ps_build_string(build, &part->at, "id", raw, ret) != 0) {
        return -1;
    }
    if (ps_raw_says(*ret)) {
        return 0;
    }
    id = ps_arena_printf(build->arena, "\"call_%u_%u\"", (unsigned)part->at.parent->index,
                         (unsigned)part->at.index);
    if (id == NULL) {
        return ps_build_no_memory(build);
    }
    *ret = ps_slice_cstr(id);
    return 0;
}

static int read_function(struct ps_neutral_build *build, const struct ps_neutral_at *parent,
                         struct ps_slice raw, struct ps_neutral_call *call)
{
    struct ps_build_member members[] = {{"name", PS_SLICE_NONE},
                                        {"arguments", PS_SLICE_NONE},
                                        {"index", PS_SLICE_NONE},
                                        {"description", PS_SLICE_NONE}};
    struct ps_neutral_at at = {parent, "function", PS_NEUTRAL_NO_INDEX};

    if (raw.len == 0) {
        return ps_build_missing(build, parent, "function");
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, parent, "function", "an object");
    }
    if (ps_build_members(build, &at, raw, members, 4) != 0 ||
        ps_build_string(build, &at, "name", members[0].raw, &call->name) != 0) {
        return -1;
    }
    if (!ps_raw_says(call->name)) {
        return ps_build_expected(build, &at, "name", "a string that is not empty");
    }
    return ps_build_arguments(build, &at, "arguments", members[1].raw, &call->arguments);
}

static int read_call(struct ps_neutral_build *build, struct ps_neutral_part *part,
                     struct ps_slice raw)
{
    struct ps_build_member members[] = {
        {"id", PS_SLICE_NONE}, {"type", PS_SLICE_NONE}, {"function", PS_SLICE_NONE}};
    struct ps_neutral_call *call = ps_build_array(build, 1, sizeof(*call));

    if (call == NULL) {
        return -1;
    }
    part->call = call;
    part->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, NULL, "an object");
    }
    return ps_build_members(build, &part->at, raw, members, 3) != 0 ||
                   read_id(build, part, members[0].raw, &call->id) != 0
               ? -1
               : read_function(build, &part->at, members[2].raw, call);
}

static int read_assistant(struct messages *messages, struct ps_neutral_message *message,
                          const struct ps_build_member *members)
{
    struct ps_neutral_build *build = messages->build;
    struct ps_slice calls = members[TOOL_CALLS].raw;
    struct ps_slice thinking = PS_SLICE_NONE;
    struct ps_parts parts = {.count = 0};
    struct ps_json_walk walk;
    struct ps_slice call;

    if (calls.len > 0 && !ps_raw_begins(calls, '[')) {
        return ps_build_expected(build, &message->at, "tool_calls", "an array");
    }
    if (ps_build_string(build, &message->at, "thinking", members[THINKING].raw, &thinking) != 0) {
        return -1;
    }
    parts.list =
        ps_build_parts(build, &message->at, count_of(members[IMAGES].raw) + count_of(calls) + 2);
    if (parts.list == NULL) {
        return -1;
    }
    if (ps_raw_says(thinking)) {
        ps_parts_next(&parts, PS_PART_REASONING, &message->at, "thinking", PS_NEUTRAL_NO_INDEX)
            ->text = thinking;
    }
    if (read_said(build, &message->at, "content", members[CONTENT].raw, members[IMAGES].raw,
                  &parts) != 0) {
        return -1;
    }
    if (calls.len > 0) {
        ps_json_walk_init(&walk, calls);
        for (uint32_t i = 0; ps_json_walk_element(&walk, &call); i++) {
            struct ps_neutral_part *part =
                ps_parts_next(&parts, PS_PART_TOOL_CALL, &message->at, "tool_calls", i);

            if (read_call(build, part, call) != 0) {
                return -1;
            }
        }
    }
    fill(&parts, &message->at, "content");
    message->parts = parts.list;
    message->part_count = parts.count;
    if (count_of(calls) > 0) {
        messages->calling = message;
        messages->answered = ps_build_array(build, parts.count, sizeof(*messages->answered));
        if (messages->answered == NULL) {
            return -1;
        }
    }
    return ps_build_note_calls(build, message);
}

/* ---- results ---- */

static const struct ps_neutral_call *find_unanswered(struct messages *messages,
                                                     struct ps_slice name)
{
    const struct ps_neutral_message *calling = messages->calling;

    for (size_t i = 0; calling != NULL && i < calling->part_count; i++) {
        const struct ps_neutral_part *part = &calling->parts[i];

        if (part->kind == PS_PART_TOOL_CALL && !messages->answered[i] &&
            (name.len == 0 || ps_raw_same(part->call->name, name))) {
            messages->answered[i] = true;
            return part->call;
        }
    }
    return NULL;
}

static int find_call(struct messages *messages, const struct ps_neutral_at *at,
                     const struct ps_build_member *members, struct ps_neutral_result *result)
{
    struct ps_neutral_build *build = messages->build;
    struct ps_slice name = PS_SLICE_NONE;
    struct ps_slice id = PS_SLICE_NONE;

    if (ps_build_string(build, at, "name", members[NAME].raw, &name) != 0 ||
        ps_build_string(build, at, "tool_name", members[TOOL_NAME].raw, &name) != 0 ||
        ps_build_string(build, at, "tool_call_id", members[TOOL_CALL_ID].raw, &id) != 0) {
        return -1;
    }
    if (ps_raw_says(id)) {
        result->id = id;
        return ps_build_find_call(build, at, "tool_call_id", id, &result->call);
    }
    result->call = find_unanswered(messages, ps_raw_says(name) ? name : PS_SLICE_NONE);
    if (result->call == NULL) {
        return ps_build_bad(build, at, "tool_name",
                            "answers no tool call of the assistant message before it.");
    }
    result->id = result->call->id;
    return 0;
}

static int read_result(struct messages *messages, struct ps_neutral_message *message,
                       const struct ps_build_member *members)
{
    struct ps_neutral_build *build = messages->build;
    size_t count = count_of(members[IMAGES].raw) + 1;
    struct ps_parts outer = {ps_build_parts(build, &message->at, 1), 0};
    struct ps_parts inner = {ps_build_parts(build, &message->at, count), 0};
    struct ps_neutral_result *result = ps_build_array(build, 1, sizeof(*result));

    if (outer.list == NULL || inner.list == NULL || result == NULL ||
        find_call(messages, &message->at, members, result) != 0 ||
        read_said(build, &message->at, "content", members[CONTENT].raw, members[IMAGES].raw,
                  &inner) != 0) {
        return -1;
    }
    fill(&inner, &message->at, "content");
    result->parts = inner.list;
    result->part_count = inner.count;
    ps_parts_next(&outer, PS_PART_TOOL_RESULT, &message->at, "content", PS_NEUTRAL_NO_INDEX)
        ->result = result;
    message->parts = outer.list;
    message->part_count = 1;
    return 0;
}

/* ---- messages ---- */

static int read_other(struct ps_neutral_build *build, struct ps_neutral_message *message,
                      const char *name, struct ps_slice content, struct ps_slice images)
{
    struct ps_parts parts = {ps_build_parts(build, &message->at, count_of(images) + 1), 0};

    if (parts.list == NULL || read_said(build, message->at.name != NULL ? &message->at : NULL, name,
                                        content, images, &parts) != 0) {
        return -1;
    }
    fill(&parts, message->at.name != NULL ? &message->at : NULL, name);
    message->parts = parts.list;
    message->part_count = parts.count;
    return 0;
}

static int read_message(struct messages *messages, struct ps_neutral_message *message,
                        struct ps_slice raw)
{
    static const char *const words[] = {"system", "user", "assistant", "tool", NULL};
    static const enum ps_role roles[] = {PS_ROLE_SYSTEM, PS_ROLE_USER, PS_ROLE_ASSISTANT,
                                         PS_ROLE_TOOL};
    struct ps_neutral_build *build = messages->build;
    struct ps_build_member members[MEMBERS] = {
        [ROLE] = {"role", PS_SLICE_NONE},
        [CONTENT] = {"content", PS_SLICE_NONE},
        [IMAGES] = {"images", PS_SLICE_NONE},
        [THINKING] = {"thinking", PS_SLICE_NONE},
        [TOOL_CALLS] = {"tool_calls", PS_SLICE_NONE},
        [TOOL_NAME] = {"tool_name", PS_SLICE_NONE},
        [TOOL_CALL_ID] = {"tool_call_id", PS_SLICE_NONE},
        [NAME] = {"name", PS_SLICE_NONE},
    };
    int word = -1;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &message->at, NULL, "an object");
    }
    if (ps_build_members(build, &message->at, raw, members, MEMBERS) != 0 ||
        ps_build_word(build, &message->at, "role", members[ROLE].raw, words, &word) != 0) {
        return -1;
    }
    if (word < 0) {
        return ps_build_missing(build, &message->at, "role");
    }
    message->role = roles[word];
    if (message->role == PS_ROLE_ASSISTANT) {
        return read_assistant(messages, message, members);
    }
    return message->role == PS_ROLE_TOOL
               ? read_result(messages, message, members)
               : read_other(build, message, "content", members[CONTENT].raw, members[IMAGES].raw);
}

static void count_system(struct ps_neutral *neutral)
{
    while (neutral->system_count < neutral->message_count &&
           ps_role_is_system(neutral->messages[neutral->system_count].role)) {
        neutral->system_count++;
    }
}

int ps_ollama_messages(struct ps_neutral_build *build, struct ps_slice array)
{
    struct messages messages = {.build = build};
    struct ps_neutral *neutral = build->neutral;
    size_t count = count_of(array);
    struct ps_json_walk walk;
    struct ps_slice raw;

    if (count == 0) {
        return ps_build_expected(build, NULL, "messages", "an array of messages that is not empty");
    }
    if (count > PS_NEUTRAL_MESSAGES) {
        return ps_build_bad(build, NULL, "messages", "holds more messages than can be translated.");
    }
    messages.list = ps_build_array(build, count, sizeof(*messages.list));
    if (messages.list == NULL) {
        return -1;
    }
    neutral->messages = messages.list;
    ps_json_walk_init(&walk, array);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        messages.list[i].at = (struct ps_neutral_at){NULL, "messages", i};
        neutral->message_count++;
        if (read_message(&messages, &messages.list[i], raw) != 0) {
            return -1;
        }
    }
    count_system(neutral);
    return 0;
}

int ps_ollama_prompt(struct ps_neutral_build *build, struct ps_slice system, struct ps_slice prompt,
                     struct ps_slice images)
{
    struct ps_neutral_message *list = ps_build_array(build, 2, sizeof(*list));
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice said = PS_SLICE_NONE;
    size_t count = 0;

    if (list == NULL || ps_build_string(build, NULL, "system", system, &said) != 0) {
        return -1;
    }
    if (!ps_raw_says(prompt) && count_of(images) == 0) {
        return ps_raw_given(prompt) && !ps_raw_begins(prompt, '"')
                   ? ps_build_expected(build, NULL, "prompt", "a string")
                   : ps_build_missing(build, NULL, "prompt");
    }
    if (ps_raw_says(said)) {
        list[count].role = PS_ROLE_SYSTEM;
        if (read_other(build, &list[count++], "system", said, PS_SLICE_NONE) != 0) {
            return -1;
        }
    }
    list[count].role = PS_ROLE_USER;
    if (read_other(build, &list[count++], "prompt", prompt, images) != 0) {
        return -1;
    }
    neutral->messages = list;
    neutral->message_count = count;
    count_system(neutral);
    return 0;
}
