/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/*
 * Texts to make vectors of: one content, or a batch of requests with one each. The neutral form has
 * one length and one purpose for all.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    MODEL,
    CONTENT,
    TASK_TYPE,
    DIMENSIONS,
    FIELDS,
};

/* All texts of a content make one vector. */
static int read_text(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice parts, struct ps_slice *ret)
{
    struct ps_json_walk walk;
    struct ps_slice raw;
    struct ps_buf text;
    uint32_t count = 0;
    char *copy;

    ps_buf_init(&text, parts.len + 2);
    ps_buf_byte(&text, '"');
    ps_json_walk_init(&walk, parts);
    for (; ps_json_walk_element(&walk, &raw); count++) {
        const struct ps_neutral_at part_at = {at, "parts", count};
        struct ps_gemini_part part;
        int rc = ps_gemini_read_part(build, &part_at, raw, &part);

        if (rc == 0 && part.kind != PS_GEMINI_TEXT) {
            rc = ps_build_unsupported(build, &part_at, NULL);
        }
        if (rc != 0) {
            ps_buf_deinit(&text);
            return -1;
        }
        if (count > 0) {
            ps_buf_cstr(&text, "\\n");
        }
        if (ps_raw_says(part.value)) {
            ps_buf_append(&text, part.value.ptr + 1, part.value.len - 2);
        }
    }
    ps_buf_byte(&text, '"');
    copy = text.failed ? NULL : ps_arena_side(build->arena, text.len, 1);
    if (copy != NULL) {
        memcpy(copy, text.ptr, text.len);
        *ret = ps_slice(copy, text.len);
    }
    ps_buf_deinit(&text);
    if (copy == NULL) {
        return ps_build_no_memory(build);
    }
    return count > 0 && ps_raw_says(*ret)
               ? 0
               : ps_build_expected(build, at, "parts", "an array of texts that are not empty");
}

static int read_content(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                        struct ps_slice raw, struct ps_slice *ret)
{
    const struct ps_neutral_at at = {top, "content", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"parts", PS_SLICE_NONE}, {"role", PS_SLICE_NONE}};

    if (!ps_raw_given(raw)) {
        return ps_build_missing(build, top, "content");
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, top, "content", "an object");
    }
    if (ps_gemini_members(build, &at, raw, members, COUNT(members)) != 0) {
        return -1;
    }
    return ps_raw_begins(members[0].raw, '[')
               ? read_text(build, &at, members[0].raw, ret)
               : ps_build_expected(build, &at, "parts", "an array of texts that are not empty");
}

/* In Cohere's words, which other families know; what none of them has is named as left out. */
static int read_task(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice raw, struct ps_slice *ret)
{
    static const char *const words[] = {"TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY",
                                        "RETRIEVAL_DOCUMENT",    "SEMANTIC_SIMILARITY",
                                        "CLASSIFICATION",        "CLUSTERING",
                                        "QUESTION_ANSWERING",    "FACT_VERIFICATION",
                                        "CODE_RETRIEVAL_QUERY",  NULL};
    static const struct ps_slice types[] = {
        PS_SLICE_INIT(""),
        PS_SLICE_INIT("\"search_query\""),
        PS_SLICE_INIT("\"search_document\""),
        PS_SLICE_INIT(""),
        PS_SLICE_INIT("\"classification\""),
        PS_SLICE_INIT("\"clustering\""),
        PS_SLICE_INIT("\"search_query\""),
        PS_SLICE_INIT("\"search_query\""),
        PS_SLICE_INIT("\"search_query\""),
    };
    int word = 0;

    if (ps_gemini_word(build, at, "taskType", raw, words, &word) != 0) {
        return -1;
    }
    *ret = types[word];
    if (word != 0 && ret->len == 0) {
        ps_build_extra(build, at, "taskType", raw);
    }
    return 0;
}

/* One request; of several all must want the same. */
static int read_request(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                        struct ps_slice raw, bool first, struct ps_slice *ret_input)
{
    struct ps_build_member fields[FIELDS] = {
        [MODEL] = {"model", PS_SLICE_NONE},
        [CONTENT] = {"content", PS_SLICE_NONE},
        [TASK_TYPE] = {"taskType", PS_SLICE_NONE},
        [DIMENSIONS] = {"outputDimensionality", PS_SLICE_NONE},
    };
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice dimensions = PS_SLICE_NONE;
    struct ps_slice type = PS_SLICE_NONE;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_gemini_members(build, at, raw, fields, FIELDS) != 0 ||
        read_content(build, at, fields[CONTENT].raw, ret_input) != 0 ||
        read_task(build, at, fields[TASK_TYPE].raw, &type) != 0 ||
        ps_gemini_int(build, at, "outputDimensionality", fields[DIMENSIONS].raw, 1, INT32_MAX,
                      &dimensions) != 0) {
        return -1;
    }
    if (first) {
        neutral->input_type = type;
        neutral->dimensions = dimensions;
    } else if (!ps_slice_eq(neutral->input_type, type)) {
        return ps_build_bad(build, at, "taskType",
                            "must be the same in all requests for the provider of this model.");
    } else if (!ps_slice_eq(neutral->dimensions, dimensions)) {
        return ps_build_bad(build, at, "outputDimensionality",
                            "must be the same in all requests for the provider of this model.");
    }
    return 0;
}

static int read_batch(struct ps_neutral_build *build)
{
    struct ps_build_member requests = {"requests", PS_SLICE_NONE};
    struct ps_slice *inputs;
    struct ps_json_walk walk;
    struct ps_slice raw;
    size_t count;

    if (ps_gemini_members(build, NULL, build->body, &requests, 1) != 0) {
        return -1;
    }
    count = ps_raw_begins(requests.raw, '[') ? ps_build_count(requests.raw) : 0;
    if (count == 0) {
        return ps_build_expected(build, NULL, "requests", "an array that is not empty");
    }
    if (count > PS_NEUTRAL_INPUTS) {
        return ps_build_bad(build, NULL, "requests",
                            "holds more texts than the gateway translates.");
    }
    inputs = ps_build_array(build, count, sizeof(*inputs));
    if (inputs == NULL) {
        return -1;
    }
    ps_json_walk_init(&walk, requests.raw);
    for (uint32_t i = 0; i < count && ps_json_walk_element(&walk, &raw); i++) {
        const struct ps_neutral_at at = {NULL, "requests", i};

        if (read_request(build, &at, raw, i == 0, &inputs[i]) != 0) {
            return -1;
        }
    }
    build->neutral->inputs = inputs;
    build->neutral->input_count = count;
    build->neutral->input_name = "requests";
    return 0;
}

int ps_gemini_inputs(struct ps_neutral_build *build)
{
    struct ps_slice *input;

    if ((build->request->shape & PS_GEMINI_BATCH) != 0) {
        return read_batch(build);
    }
    input = ps_build_array(build, 1, sizeof(*input));
    if (input == NULL || read_request(build, NULL, build->body, true, input) != 0) {
        return -1;
    }
    build->neutral->inputs = input;
    build->neutral->input_count = 1;
    build->neutral->input_name = "content";
    build->neutral->input_single = true;
    return 0;
}
