/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

#include <stdio.h>

/*
 * Documents that a chat is to be answered from: texts, or objects {"id","data":{…}}. Other families
 * have no such list: they get each as a part of the last that the user says, in front of it, under
 * its id, by which an answer may cite it.
 */

#define NAME_BYTES 32

/* The only string of an object with one member, else the object itself as text. */
static int read_data(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice data, struct ps_slice *ret)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;
    size_t count = 0;

    if (ps_raw_begins(data, '"')) {
        *ret = data;
        return 0;
    }
    if (!ps_raw_begins(data, '{')) {
        return ps_raw_given(data) ? ps_build_expected(build, at, "data", "an object")
                                  : ps_build_missing(build, at, "data");
    }
    ps_json_walk_init(&walk, data);
    for (; ps_json_walk_member(&walk, &key, &value); count++) {
        *ret = value;
    }
    if (count != 1 || !ps_raw_begins(*ret, '"')) {
        *ret = ps_raw_quote(data, build->arena);
    }
    return ret->ptr != NULL ? 0 : ps_build_no_memory(build);
}

int ps_build_document(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice raw, struct ps_slice *ret_id, struct ps_slice *ret_text)
{
    struct ps_build_member members[] = {{"id", PS_SLICE_NONE}, {"data", PS_SLICE_NONE}};

    if (!ps_raw_begins(raw, '{')) {
        return ps_raw_given(raw) ? ps_build_expected(build, at, NULL, "an object")
                                 : ps_build_missing(build, at, NULL);
    }
    if (ps_build_members(build, at, raw, members, 2) != 0 ||
        ps_build_string(build, at, "id", members[0].raw, ret_id) != 0) {
        return -1;
    }
    return read_data(build, at, members[1].raw, ret_text);
}

static int read_document(struct ps_neutral_build *build, struct ps_slice raw, bool cites,
                         struct ps_neutral_part *part)
{
    struct ps_neutral_media *media = ps_build_array(build, 1, sizeof(*media));
    char name[NAME_BYTES];

    if (media == NULL) {
        return -1;
    }
    part->kind = PS_PART_DOCUMENT;
    part->media = media;
    part->raw = raw;
    media->source = PS_MEDIA_TEXT;
    media->media_type = PS_SLICE_LIT("text/plain");
    if (cites) {
        media->citations = PS_SLICE_LIT("{\"enabled\":true}");
    }
    if (ps_raw_begins(raw, '"')) {
        media->text = raw;
    } else if (ps_build_document(build, &part->at, raw, &media->filename, &media->text) != 0) {
        return -1;
    }
    if (!ps_raw_says(media->filename)) {
        (void)snprintf(name, sizeof(name), "doc:%u", part->at.index); /* as the API names it */
        media->filename = ps_raw_quote(ps_slice_cstr(name), build->arena);
    }
    return media->filename.ptr != NULL ? 0 : ps_build_no_memory(build);
}

static struct ps_neutral_message *last_of_user(struct ps_neutral *neutral)
{
    struct ps_neutral_message *messages =
        (struct ps_neutral_message *)(uintptr_t)neutral->messages; /* the build's own */

    for (size_t i = neutral->message_count; i > 0; i--) {
        if (messages[i - 1].role == PS_ROLE_USER) {
            return &messages[i - 1];
        }
    }
    return NULL;
}

static int add_documents(struct ps_neutral_build *build, struct ps_slice documents, bool cites)
{
    struct ps_neutral_message *message = last_of_user(build->neutral);
    size_t count = ps_build_count(documents);
    struct ps_neutral_part *parts;
    struct ps_json_walk walk;
    struct ps_slice element;

    if (count == 0) {
        return 0;
    }
    if (message == NULL) {
        return ps_build_unsupported(build, NULL, "documents");
    }
    parts = ps_build_parts(build, NULL, count + message->part_count);
    if (parts == NULL) {
        return -1;
    }
    ps_json_walk_init(&walk, documents);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        parts[i].at = (struct ps_neutral_at){NULL, "documents", i};
        if (read_document(build, element, cites, &parts[i]) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < message->part_count; i++) {
        parts[count + i] = message->parts[i];
    }
    message->parts = parts;
    message->part_count += count;
    build->neutral->has_media = true;
    return 0;
}

int ps_cohere_read_documents(struct ps_neutral_build *build, struct ps_slice documents,
                             struct ps_slice citation_options)
{
    static const struct ps_neutral_at at = {NULL, "citation_options", PS_NEUTRAL_NO_INDEX};
    static const char *const modes[] = {"DISABLED", "OFF", "ENABLED", "FAST", "ACCURATE", NULL};
    struct ps_build_member mode = {"mode", PS_SLICE_NONE};
    struct ps_slice options = PS_SLICE_NONE;
    int word = 2;

    if (ps_build_object(build, NULL, "citation_options", citation_options, &options) != 0) {
        return -1;
    }
    if (options.len > 0 && (ps_build_members(build, &at, options, &mode, 1) != 0 ||
                            ps_build_word(build, &at, "mode", mode.raw, modes, &word) != 0)) {
        return -1;
    }
    if (!ps_raw_given(documents)) {
        return 0; /* there is nothing to cite */
    }
    if (!ps_raw_begins(documents, '[')) {
        return ps_build_expected(build, NULL, "documents", "an array of documents");
    }
    return add_documents(build, documents, word >= 2);
}
