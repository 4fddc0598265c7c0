/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

/*
 * Items of the Responses API as neutral messages. What an assistant did is several items there
 * (what it thought, said, called) and one message here; a result of a tool is a message of its own.
 */

struct item {
    struct ps_neutral_at at; /* first: parts point to it */
    struct ps_slice raw;
    struct ps_slice type;
    bool is_assistant;
};

struct items {
    struct ps_neutral_build *build;
    struct item *list;
    size_t count;
    struct ps_neutral_message *messages;
    size_t message_count;
};

/* ---- content ---- */

enum {
    PART_TYPE,
    PART_TEXT,
    PART_REFUSAL,
    PART_IMAGE_URL,
    PART_FILE_ID,
    PART_DETAIL,
    PART_FILENAME,
    PART_FILE_DATA,
    PART_FILE_URL,
    PART_ANNOTATIONS,
    PART_LOGPROBS,
    PART_MEMBERS,
};

static int read_image(struct ps_neutral_build *build, struct ps_neutral_part *part,
                      const struct ps_build_member *members)
{
    struct ps_neutral_media *media;

    if (ps_build_media(build, part, PS_PART_IMAGE, &media) != 0 ||
        ps_build_string(build, &part->at, "detail", members[PART_DETAIL].raw, &media->detail) !=
            0) {
        return -1;
    }
    if (ps_raw_given(members[PART_IMAGE_URL].raw)) {
        return ps_build_url(build, &part->at, "image_url", members[PART_IMAGE_URL].raw, media);
    }
    media->source = PS_MEDIA_FILE;
    return ps_build_needed(build, &part->at, "image_url", members[PART_FILE_ID].raw,
                           &media->file_id);
}

static int read_file(struct ps_neutral_build *build, struct ps_neutral_part *part,
                     const struct ps_build_member *members)
{
    struct ps_slice data = members[PART_FILE_DATA].raw;
    struct ps_neutral_media *media;

    if (ps_build_media(build, part, PS_PART_DOCUMENT, &media) != 0 ||
        ps_build_string(build, &part->at, "filename", members[PART_FILENAME].raw,
                        &media->filename) != 0) {
        return -1;
    }
    if (ps_raw_given(members[PART_FILE_URL].raw)) {
        return ps_build_url(build, &part->at, "file_url", members[PART_FILE_URL].raw, media);
    }
    if (ps_slice_starts(data, PS_SLICE_LIT("\"data:"))) {
        return ps_build_url(build, &part->at, "file_data", data, media);
    }
    if (ps_raw_given(data)) {
        media->source = PS_MEDIA_BASE64;
        media->media_type = PS_SLICE_LIT("application/pdf");
        return ps_build_base64(build, &part->at, "file_data", data, &media->data);
    }
    media->source = PS_MEDIA_FILE;
    return ps_build_needed(build, &part->at, "file_data", members[PART_FILE_ID].raw,
                           &media->file_id);
}

static int read_part(struct ps_neutral_build *build, struct ps_neutral_part *part,
                     enum ps_role role, struct ps_slice raw)
{
    struct ps_build_member members[PART_MEMBERS] = {
        [PART_TYPE] = {"type", PS_SLICE_NONE},
        [PART_TEXT] = {"text", PS_SLICE_NONE},
        [PART_REFUSAL] = {"refusal", PS_SLICE_NONE},
        [PART_IMAGE_URL] = {"image_url", PS_SLICE_NONE},
        [PART_FILE_ID] = {"file_id", PS_SLICE_NONE},
        [PART_DETAIL] = {"detail", PS_SLICE_NONE},
        [PART_FILENAME] = {"filename", PS_SLICE_NONE},
        [PART_FILE_DATA] = {"file_data", PS_SLICE_NONE},
        [PART_FILE_URL] = {"file_url", PS_SLICE_NONE},
        [PART_ANNOTATIONS] = {"annotations", PS_SLICE_NONE},
        [PART_LOGPROBS] = {"logprobs", PS_SLICE_NONE},
    };
    struct ps_slice type;

    part->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, NULL, "an object");
    }
    if (ps_build_members(build, &part->at, raw, members, PART_MEMBERS) != 0) {
        return -1;
    }
    type = members[PART_TYPE].raw;
    if (ps_raw_word(type, "input_text") || ps_raw_word(type, "output_text") ||
        ps_raw_word(type, "text")) {
        return ps_build_needed(build, &part->at, "text", members[PART_TEXT].raw, &part->text);
    }
    if (ps_raw_word(type, "refusal") && role == PS_ROLE_ASSISTANT) {
        part->kind = PS_PART_REFUSAL;
        return ps_build_needed(build, &part->at, "refusal", members[PART_REFUSAL].raw, &part->text);
    }
    if (ps_raw_word(type, "input_image") && (role == PS_ROLE_USER || role == PS_ROLE_TOOL)) {
        return read_image(build, part, members);
    }
    if (ps_raw_word(type, "input_file") && (role == PS_ROLE_USER || role == PS_ROLE_TOOL)) {
        return read_file(build, part, members);
    }
    if (!ps_raw_says(type)) {
        return ps_build_missing(build, &part->at, "type");
    }
    return ps_build_unsupported(build, &part->at, "type");
}

static size_t count_content(struct ps_slice raw)
{
    return ps_raw_begins(raw, '[') ? ps_build_count(raw) : 1;
}

/* A string, or an array of parts, into `parts`, which has room for all of them. */
static int read_content(struct ps_neutral_build *build, const struct item *item, const char *name,
                        enum ps_role role, struct ps_slice raw, struct ps_neutral_part *parts,
                        size_t *count)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (ps_raw_begins(raw, '"')) {
        parts[*count].kind = PS_PART_TEXT;
        parts[*count].at = (struct ps_neutral_at){&item->at, name, PS_NEUTRAL_NO_INDEX};
        parts[(*count)++].text = raw;
        return 0;
    }
    if (!ps_raw_given(raw)) {
        return ps_build_missing(build, &item->at, name);
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, &item->at, name, "a string or an array of parts");
    }
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct ps_neutral_part *part = &parts[(*count)++];

        part->kind = PS_PART_TEXT;
        part->at = (struct ps_neutral_at){&item->at, name, i};
        if (read_part(build, part, role, element) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- what an assistant did ---- */

static bool is_message(const struct item *item)
{
    return !ps_raw_given(item->type) || ps_raw_word(item->type, "message");
}

static bool is_reasoning(const struct item *item)
{
    return ps_raw_word(item->type, "reasoning");
}

static bool is_call(const struct item *item)
{
    return ps_raw_word(item->type, "function_call") || ps_raw_word(item->type, "custom_tool_call");
}

static size_t assistant_parts(const struct item *item)
{
    if (is_message(item)) {
        return count_content(ps_raw_find(item->raw, "content"));
    }
    return 1;
}

static int read_call(struct ps_neutral_build *build, const struct item *item,
                     struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},      {"call_id", PS_SLICE_NONE},
                                        {"name", PS_SLICE_NONE},      {"id", PS_SLICE_NONE},
                                        {"arguments", PS_SLICE_NONE}, {"input", PS_SLICE_NONE},
                                        {"status", PS_SLICE_NONE}};
    struct ps_neutral_call *call = ps_build_array(build, 1, sizeof(*call));

    if (call == NULL) {
        return -1;
    }
    part->kind = PS_PART_TOOL_CALL;
    part->at = item->at;
    part->raw = item->raw;
    part->call = call;
    call->custom = ps_raw_word(item->type, "custom_tool_call");
    if (ps_build_members(build, &item->at, item->raw, members, 7) != 0 ||
        ps_build_name(build, &item->at, "call_id", members[1].raw, &call->id) != 0 ||
        ps_build_name(build, &item->at, "name", members[2].raw, &call->name) != 0) {
        return -1;
    }
    return call->custom
               ? ps_build_needed(build, &item->at, "input", members[5].raw, &call->arguments)
               : ps_build_arguments(build, &item->at, "arguments", members[4].raw,
                                    &call->arguments);
}

/* All texts of the elements of a list of {"type","text"} as one raw string, pieces put together as
 * they are. */
static int join_texts(struct ps_neutral_build *build, struct ps_slice list, struct ps_slice *ret)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    char *text;
    size_t len = 1;

    if (!ps_raw_begins(list, '[') || ps_build_count(list) == 0) {
        return 0;
    }
    text = ps_arena_side(build->arena, list.len + 2, 1);
    if (text == NULL) {
        return ps_build_no_memory(build);
    }
    text[0] = '"';
    ps_json_walk_init(&walk, list);
    while (ps_json_walk_element(&walk, &element)) {
        struct ps_slice raw = ps_raw_find(element, "text");

        if (!ps_raw_says(raw)) {
            continue;
        }
        if (len > 1) {
            memcpy(text + len, "\\n", 2); /* shorter than what stands between two texts */
            len += 2;
        }
        memcpy(text + len, raw.ptr + 1, raw.len - 2);
        len += raw.len - 2;
    }
    text[len++] = '"';
    *ret = len > 2 ? ps_slice(text, len) : PS_SLICE_NONE;
    return 0;
}

/* As our own answers have it: `encrypted_content` is the signature of the text, or, where there is
 * no text, the thought that nobody may read. */
static int read_reasoning(struct ps_neutral_build *build, const struct item *item,
                          struct ps_neutral_part *part)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},    {"id", PS_SLICE_NONE},
        {"summary", PS_SLICE_NONE}, {"content", PS_SLICE_NONE},
        {"status", PS_SLICE_NONE},  {"encrypted_content", PS_SLICE_NONE}};
    struct ps_neutral_reasoning *reasoning = ps_build_array(build, 1, sizeof(*reasoning));
    struct ps_slice hidden = PS_SLICE_NONE;

    if (reasoning == NULL) {
        return -1;
    }
    part->kind = PS_PART_REASONING;
    part->at = item->at;
    part->raw = item->raw;
    part->reasoning = reasoning;
    if (ps_build_members(build, &item->at, item->raw, members, 6) != 0 ||
        ps_build_string(build, &item->at, "id", members[1].raw, &reasoning->id) != 0 ||
        ps_build_string(build, &item->at, "encrypted_content", members[5].raw, &hidden) != 0 ||
        join_texts(build, members[3].raw, &part->text) != 0) {
        return -1;
    }
    if (part->text.len == 0 && join_texts(build, members[2].raw, &part->text) != 0) {
        return -1;
    }
    if (part->text.len > 0) {
        reasoning->signature = ps_raw_says(hidden) ? hidden : PS_SLICE_NONE;
        return 0;
    }
    reasoning->redacted = ps_raw_says(hidden) ? hidden : PS_SLICE_NONE;
    part->text = PS_SLICE_LIT("\"\"");
    return 0;
}

static int check_message(struct ps_neutral_build *build, const struct item *item,
                         struct ps_slice *ret_content)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"role", PS_SLICE_NONE},
                                        {"content", PS_SLICE_NONE},
                                        {"id", PS_SLICE_NONE},
                                        {"status", PS_SLICE_NONE}};

    if (ps_build_members(build, &item->at, item->raw, members, 5) != 0) {
        return -1;
    }
    *ret_content = members[2].raw;
    return 0;
}

static int read_assistant_item(struct ps_neutral_build *build, const struct item *item,
                               struct ps_neutral_part *parts, size_t *count)
{
    struct ps_slice content;

    if (is_call(item)) {
        return read_call(build, item, &parts[(*count)++]);
    }
    if (is_reasoning(item)) {
        return read_reasoning(build, item, &parts[(*count)++]);
    }
    return check_message(build, item, &content) != 0
               ? -1
               : read_content(build, item, "content", PS_ROLE_ASSISTANT, content, parts, count);
}

static bool has_kind(const struct ps_neutral_message *message, enum ps_part_kind kind)
{
    for (size_t i = 0; i < message->part_count; i++) {
        if (message->parts[i].kind == kind) {
            return true;
        }
    }
    return false;
}

/* Items [from, to) are of an assistant. A second text without a call between is a message of its
 * own. */
static int read_assistant(struct items *items, size_t from, size_t to)
{
    struct ps_neutral_build *build = items->build;
    struct ps_neutral_message *message = NULL;
    struct ps_neutral_part *parts;
    size_t total = 0;

    for (size_t i = from; i < to; i++) {
        total += assistant_parts(&items->list[i]);
    }
    parts = ps_build_parts(build, &items->list[from].at, total);
    if (parts == NULL) {
        return -1;
    }
    for (size_t i = from; i < to; i++) {
        const struct item *item = &items->list[i];
        bool begins =
            message == NULL || (is_message(item) && !has_kind(message, PS_PART_TOOL_CALL) &&
                                has_kind(message, PS_PART_TEXT));

        if (begins) {
            parts += message != NULL ? message->part_count : 0;
            message = &items->messages[items->message_count++];
            message->role = PS_ROLE_ASSISTANT;
            message->at = item->at;
            message->parts = parts;
        }
        if (read_assistant_item(build, item, parts, &message->part_count) != 0) {
            return -1;
        }
    }
    /* a result answers the calls of this round: those are all in the last message */
    return message != NULL ? ps_build_note_calls(build, message) : 0;
}

/* ---- what tools answered ---- */

static int read_result(struct items *items, const struct item *item)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"call_id", PS_SLICE_NONE},
                                        {"output", PS_SLICE_NONE},
                                        {"id", PS_SLICE_NONE},
                                        {"status", PS_SLICE_NONE}};
    struct ps_neutral_build *build = items->build;
    struct ps_neutral_message *message = &items->messages[items->message_count++];
    struct ps_neutral_result *result = ps_build_array(build, 1, sizeof(*result));
    struct ps_neutral_part *outer = ps_build_parts(build, &item->at, 1);
    struct ps_neutral_part *inner;

    if (result == NULL || outer == NULL ||
        ps_build_members(build, &item->at, item->raw, members, 5) != 0 ||
        ps_build_needed(build, &item->at, "call_id", members[1].raw, &result->id) != 0 ||
        ps_build_find_call(build, &item->at, "call_id", result->id, &result->call) != 0) {
        return -1;
    }
    inner = ps_build_parts(build, &item->at, count_content(members[2].raw));
    if (inner == NULL || read_content(build, item, "output", PS_ROLE_TOOL, members[2].raw, inner,
                                      &result->part_count) != 0) {
        return -1;
    }
    result->parts = inner;
    outer->kind = PS_PART_TOOL_RESULT;
    outer->at = item->at;
    outer->result = result;
    message->role = PS_ROLE_TOOL;
    message->at = item->at;
    message->parts = outer;
    message->part_count = 1;
    return 0;
}

/* ---- other messages ---- */

static int read_role(struct ps_neutral_build *build, const struct item *item, enum ps_role *ret)
{
    static const char *const words[] = {"user", "system", "developer", "assistant", NULL};
    static const enum ps_role roles[] = {PS_ROLE_USER, PS_ROLE_SYSTEM, PS_ROLE_DEVELOPER,
                                         PS_ROLE_ASSISTANT};
    int word = -1;

    if (ps_build_word(build, &item->at, "role", ps_raw_find(item->raw, "role"), words, &word) !=
        0) {
        return -1;
    }
    if (word < 0) {
        return ps_build_missing(build, &item->at, "role");
    }
    *ret = roles[word];
    return 0;
}

static int read_message(struct items *items, const struct item *item)
{
    struct ps_neutral_build *build = items->build;
    struct ps_neutral_message *message = &items->messages[items->message_count++];
    struct ps_neutral_part *parts;
    struct ps_slice content;

    message->at = item->at;
    if (read_role(build, item, &message->role) != 0 || check_message(build, item, &content) != 0) {
        return -1;
    }
    parts = ps_build_parts(build, &item->at, count_content(content));
    if (parts == NULL || read_content(build, item, "content", message->role, content, parts,
                                      &message->part_count) != 0) {
        return -1;
    }
    message->parts = parts;
    return message->part_count > 0 ? 0
                                   : ps_build_expected(build, &item->at, "content",
                                                       "a string or an array that is not empty");
}

static int read_other(struct items *items, const struct item *item)
{
    if (is_message(item)) {
        return read_message(items, item);
    }
    if (ps_raw_word(item->type, "function_call_output") ||
        ps_raw_word(item->type, "custom_tool_call_output")) {
        return read_result(items, item);
    }
    if (!ps_raw_says(item->type)) {
        return ps_build_expected(items->build, &item->at, "type", "a string that is not empty");
    }
    return ps_build_unsupported(items->build, &item->at, "type");
}

/* ---- all of them ---- */

static int no_such_item(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                        struct ps_slice id)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, "id");
    return ps_fault_set(build->fault, PS_FAULT_NOT_FOUND, path, "Item with id %.*s not found.",
                        (int)(id.len < 80 ? id.len : 80), id.ptr);
}

/* An element that only names an item: what has been found for it. */
static int follow(struct ps_neutral_build *build, struct item *item, size_t *next)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE}, {"id", PS_SLICE_NONE}};
    const struct ps_reference *reference =
        ps_responses_reference(build->request, item->at.index, next);
    struct ps_slice id = PS_SLICE_NONE;

    if (ps_build_members(build, &item->at, item->raw, members, 2) != 0 ||
        ps_build_needed(build, &item->at, "id", members[1].raw, &id) != 0) {
        return -1;
    }
    if (reference == NULL && build->request->reference_count == PS_REFERENCES) {
        return ps_build_bad(build, NULL, "input",
                            "refers to more items by their id than can be looked up.");
    }
    if (reference == NULL || reference->item.len == 0) {
        return no_such_item(build, &item->at, id);
    }
    item->raw = reference->item;
    return 0;
}

/* `found`: some of them may be references, which have been looked for. */
static int note_items(struct items *items, const char *name, struct ps_slice array, bool found)
{
    struct ps_json_walk walk;
    struct ps_slice raw;
    size_t next = 0;

    ps_json_walk_init(&walk, array);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        struct item *item = &items->list[items->count++];

        item->at = (struct ps_neutral_at){NULL, name, i};
        item->raw = raw;
        if (!ps_raw_begins(raw, '{')) {
            return ps_build_expected(items->build, &item->at, NULL, "an object");
        }
        if (found && ps_responses_is_reference(raw) && follow(items->build, item, &next) != 0) {
            return -1;
        }
        raw = item->raw;
        item->type = ps_raw_find(raw, "type");
        item->is_assistant =
            is_call(item) || is_reasoning(item) ||
            (is_message(item) && ps_raw_word(ps_raw_find(raw, "role"), "assistant"));
    }
    return 0;
}

/* The first of all: what is said to the model by `instructions`. */
static int add_text(struct items *items, enum ps_role role, const char *name, struct ps_slice raw)
{
    struct ps_neutral_message *message = &items->messages[items->message_count++];
    struct ps_neutral_part *part = ps_build_parts(items->build, NULL, 1);

    if (part == NULL) {
        return -1;
    }
    message->role = role;
    message->at = (struct ps_neutral_at){NULL, name, PS_NEUTRAL_NO_INDEX};
    message->parts = part;
    message->part_count = 1;
    part->kind = PS_PART_TEXT;
    part->at = message->at;
    part->text = raw;
    return 0;
}

static int check_input(struct ps_neutral_build *build, struct ps_slice previous,
                       struct ps_slice input)
{
    if (!ps_raw_given(input)) {
        return previous.len > 2 ? 0 : ps_build_missing(build, NULL, "input");
    }
    if (ps_raw_begins(input, '"')) {
        return ps_raw_says(input) ? 0
                                  : ps_build_expected(build, NULL, "input",
                                                      "a string or an array that is not empty");
    }
    if (!ps_raw_begins(input, '[') || (ps_build_count(input) == 0 && previous.len <= 2)) {
        return ps_build_expected(build, NULL, "input", "a string or an array that is not empty");
    }
    return 0;
}

static int read_all(struct items *items)
{
    for (size_t i = 0; i < items->count;) {
        size_t end = i;

        while (end < items->count && items->list[end].is_assistant) {
            end++;
        }
        if (end > i) {
            if (read_assistant(items, i, end) != 0) {
                return -1;
            }
            i = end;
        } else if (read_other(items, &items->list[i++]) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_responses_items(struct ps_neutral_build *build, struct ps_slice instructions,
                       struct ps_slice previous, struct ps_slice input)
{
    struct ps_neutral *neutral = build->neutral;
    struct items items = {.build = build};
    struct ps_slice text = PS_SLICE_NONE;
    size_t count;

    if (check_input(build, previous, input) != 0 ||
        ps_build_string(build, NULL, "instructions", instructions, &text) != 0) {
        return -1;
    }
    count = (previous.len > 0 ? ps_build_count(previous) : 0) +
            (ps_raw_begins(input, '[') ? ps_build_count(input) : 0);
    if (count > PS_NEUTRAL_MESSAGES) {
        return ps_build_bad(build, NULL, "input", "holds more items than can be translated.");
    }
    items.list = ps_build_array(build, count + 1, sizeof(*items.list));
    items.messages = ps_build_array(build, count + 2, sizeof(*items.messages));
    if (items.list == NULL || items.messages == NULL) {
        return -1;
    }
    if (ps_raw_says(text) && add_text(&items, PS_ROLE_SYSTEM, "instructions", text) != 0) {
        return -1;
    }
    if ((previous.len > 0 && note_items(&items, "previous_response_id", previous, false) != 0) ||
        (ps_raw_begins(input, '[') && note_items(&items, "input", input, true) != 0) ||
        read_all(&items) != 0 ||
        (ps_raw_begins(input, '"') && add_text(&items, PS_ROLE_USER, "input", input) != 0)) {
        return -1;
    }
    neutral->messages = items.messages;
    neutral->message_count = items.message_count;
    while (neutral->system_count < neutral->message_count &&
           ps_role_is_system(items.messages[neutral->system_count].role)) {
        neutral->system_count++;
    }
    return 0;
}
