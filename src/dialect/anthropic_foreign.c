/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "neutral_build.h"
#include "signature.h"

/*
 * What goes byte for byte to Anthropic's API must not hold thoughts that other models had in this
 * conversation before: it refuses their signatures. They are told by our tag, and only a body that
 * has the tag's first word somewhere is looked into. Their blocks are cut out, with the comma that
 * is too many then, and a message that was nothing else; every other byte stays.
 */

static const struct ps_slice word = PS_SLICE_INIT("\"penstock.");

/* The edits of a body; offsets count from `base`. */
struct cuts {
    const char *base;
    struct ps_buf edits; /* struct ps_edit, in order */
};

static void cut(struct cuts *cuts, const char *start, const char *end)
{
    struct ps_edit edit = {(uint64_t)(start - cuts->base), (uint64_t)(end - cuts->base),
                           PS_SLICE_NONE};

    ps_buf_append(&cuts->edits, &edit, sizeof(edit));
}

static bool is_foreign(struct ps_slice block)
{
    struct ps_slice type = ps_raw_member(block, "type");

    if (ps_raw_word(type, "thinking")) {
        return ps_signature_is_foreign(ps_raw_member(block, "signature"), PS_FAMILY_ANTHROPIC);
    }
    return ps_raw_word(type, "redacted_thinking") &&
           ps_signature_is_foreign(ps_raw_member(block, "data"), PS_FAMILY_ANTHROPIC);
}

/* A message of an assistant that has blocks, all of them foreign. */
static bool is_all_foreign(struct ps_slice message)
{
    struct ps_slice content = ps_raw_member(message, "content");
    struct ps_json_walk walk;
    struct ps_slice block;
    bool any = false;

    if (!ps_raw_begins(content, '[')) {
        return false;
    }
    ps_json_walk_init(&walk, content);
    while (ps_json_walk_element(&walk, &block)) {
        if (!is_foreign(block)) {
            return false;
        }
        any = true;
    }
    return any;
}

/* ---- cutting ---- */

/* Cuts what `goes` out of an array, and what `inside` finds in the rest. */
static void cut_elements(struct cuts *cuts, struct ps_slice array,
                         bool (*goes)(struct ps_slice element),
                         void (*inside)(struct cuts *cuts, struct ps_slice element))
{
    const char *first = NULL; /* of those that went before the first that stays */
    const char *last = NULL;  /* the end of the element before this one */
    bool kept = false;
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_json_walk_init(&walk, array);
    while (ps_json_walk_element(&walk, &element)) {
        const char *end = element.ptr + element.len;

        if (!goes(element)) {
            if (first != NULL) {
                cut(cuts, first, element.ptr);
                first = NULL;
            }
            kept = true;
            if (inside != NULL) {
                inside(cuts, element);
            }
        } else if (kept) {
            cut(cuts, last, end);
        } else if (first == NULL) {
            first = element.ptr;
        }
        last = end;
    }
}

static void cut_blocks(struct cuts *cuts, struct ps_slice message)
{
    struct ps_slice content = ps_raw_member(message, "content");

    if (ps_raw_begins(content, '[')) {
        cut_elements(cuts, content, is_foreign, NULL);
    }
}

int ps_anthropic_foreign(const struct ps_request *request, struct ps_arena *arena,
                         struct ps_edit **ret_edits, size_t *ret_count)
{
    struct cuts cuts = {.base = NULL};
    struct ps_slice body;
    struct ps_slice messages;
    bool failed;

    *ret_edits = NULL;
    *ret_count = 0;
    if (!ps_own_holds(request->body, word)) {
        return 0;
    }
    body = ps_body_piece(request->body, (struct ps_span){0, request->body->len}, arena);
    if (body.ptr == NULL) {
        return -1;
    }
    messages = ps_raw_member(ps_raw_trimmed(body), "messages");
    cuts.base = body.ptr;
    ps_buf_init(&cuts.edits, PS_NEUTRAL_MESSAGES * sizeof(struct ps_edit));
    if (ps_raw_begins(messages, '[')) {
        cut_elements(&cuts, messages, is_all_foreign, cut_blocks);
    }
    *ret_count = cuts.edits.len / sizeof(struct ps_edit);
    *ret_edits = ps_arena_side(arena, *ret_count, sizeof(struct ps_edit));
    if (*ret_edits != NULL && cuts.edits.len > 0) {
        memcpy(*ret_edits, cuts.edits.ptr, cuts.edits.len);
    }
    failed = *ret_edits == NULL || cuts.edits.failed;
    ps_buf_deinit(&cuts.edits);
    return failed ? -1 : 0;
}
