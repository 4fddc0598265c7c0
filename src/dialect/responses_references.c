/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

#include "penstock/base/id.h"

/*
 * Elements of the input that only name an item: {"type":"item_reference","id":"msg_…"}, where the
 * type may be left out. While the body is scanned only places are known; what stands there is read
 * when the body is complete, in one walk over its blocks. Ids that are not of our making are left
 * alone: a provider that has this API itself may know them.
 */

#define WORD    "\"item_reference\""
#define RAW_MAX 512 /* of a type or an id: a longer one is neither */

/* ---- ids of items ---- */

#define HOLDER_PREFIX  "resp_"
#define ITEM_PREFIX    8 /* letters at most */
#define ITEM_NUMBER    10
#define HOLDER_RANDOMS 26

static bool is_number(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
    }
    return text.len > 0 && text.len <= ITEM_NUMBER;
}

bool ps_dialect_item_holder(struct ps_slice item, struct ps_id *ret_response)
{
    char text[sizeof(HOLDER_PREFIX) + HOLDER_RANDOMS] = HOLDER_PREFIX;
    size_t at = 0;

    while (at < item.len && item.ptr[at] >= 'a' && item.ptr[at] <= 'z') {
        at++;
    }
    if (at == 0 || at > ITEM_PREFIX || item.len < at + 1 + HOLDER_RANDOMS + 1 ||
        item.ptr[at] != '_' || item.ptr[at + 1 + HOLDER_RANDOMS] != '_' ||
        !is_number(
            ps_slice(item.ptr + at + 2 + HOLDER_RANDOMS, item.len - (at + 2 + HOLDER_RANDOMS)))) {
        return false;
    }
    memcpy(text + sizeof(HOLDER_PREFIX) - 1, item.ptr + at + 1, HOLDER_RANDOMS);
    return ps_id_read(ret_response, HOLDER_PREFIX,
                      ps_slice(text, sizeof(HOLDER_PREFIX) - 1 + HOLDER_RANDOMS));
}

_Static_assert(ITEM_PREFIX + 1 + HOLDER_RANDOMS + 1 + ITEM_NUMBER <= PS_REFERENCE_ID, "it fits");

/* ---- while the body comes ---- */

static int make_room(struct ps_responses_candidates *candidates, struct ps_arena *arena)
{
    size_t room = candidates->room > 0 ? candidates->room * 4 : 16;
    struct ps_responses_candidate *list;

    if (candidates->count < candidates->room) {
        return 0;
    }
    list = ps_arena_side(arena, room, sizeof(*list));
    if (list == NULL) {
        return -1;
    }
    if (candidates->count > 0) {
        memcpy(list, candidates->list, candidates->count * sizeof(*list));
    }
    candidates->list = list;
    candidates->room = room;
    return 0;
}

static void end_element(struct ps_responses_candidates *candidates,
                        const struct ps_json_value *value, struct ps_arena *arena)
{
    struct ps_responses_candidate *next = &candidates->next;
    bool maybe = value->type == PS_JSON_OBJECT && next->id.end != 0 && !candidates->typed &&
                 (next->type.end != 0 || !candidates->named);

    if (maybe && !candidates->failed && candidates->count < PS_REFERENCES) {
        next->element = (struct ps_span){value->start, value->end};
        next->index = value->element;
        if (make_room(candidates, arena) == 0) {
            candidates->list[candidates->count++] = *next;
        } else {
            candidates->failed = true;
        }
    }
    *next = (struct ps_responses_candidate){.index = 0};
    candidates->named = false;
    candidates->typed = false;
}

void ps_responses_note(struct ps_responses_candidates *candidates, enum ps_responses_element which,
                       const struct ps_json_value *value, struct ps_arena *arena)
{
    struct ps_span span = {value->start, value->end};
    uint64_t len = value->end - value->start;
    bool is_string = value->type == PS_JSON_STRING && len <= RAW_MAX;

    if (which == PS_RESPONSES_ELEMENT) {
        end_element(candidates, value, arena);
    } else if (which == PS_RESPONSES_ELEMENT_ROLE) {
        candidates->named = value->type != PS_JSON_NULL;
    } else if (which == PS_RESPONSES_ELEMENT_ID) {
        candidates->next.id = is_string ? span : (struct ps_span){0, 0};
    } else if (value->type == PS_JSON_NULL) {
        candidates->next.type = (struct ps_span){0, 0};
        candidates->typed = false;
    } else {
        /* as long as the word, or escaped: it may be the word */
        bool maybe = is_string && (value->escaped || len == sizeof(WORD) - 1);

        candidates->next.type = maybe ? span : (struct ps_span){0, 0};
        candidates->typed = !maybe;
    }
}

/* ---- when it is complete ---- */

/* A walk over the blocks of a body, forward. */
struct blocks {
    struct ps_slice *list;
    size_t count;
    size_t at;       /* the block that `start` lies in */
    uint64_t offset; /* where it begins */
};

static int open_blocks(struct blocks *blocks, const struct ps_chain *body, struct ps_arena *arena)
{
    *blocks = (struct blocks){.count = ps_chain_parts(body, 0, body->len, NULL, 0)};
    blocks->list = ps_arena_side(arena, blocks->count, sizeof(*blocks->list));
    if (blocks->list == NULL) {
        return -1;
    }
    (void)ps_chain_parts(body, 0, body->len, blocks->list, blocks->count);
    return 0;
}

static void move_to(struct blocks *blocks, uint64_t start)
{
    while (blocks->at < blocks->count && blocks->offset + blocks->list[blocks->at].len <= start) {
        blocks->offset += blocks->list[blocks->at++].len;
    }
}

/* The raw bytes of a short value at or behind where the walk stands, which stays there. */
static struct ps_slice read_raw(struct blocks blocks, struct ps_span span, char *ret)
{
    size_t len = 0;

    move_to(&blocks, span.start);
    for (; span.start + len < span.end && blocks.at < blocks.count; blocks.at++) {
        struct ps_slice block = blocks.list[blocks.at];
        size_t skip = (size_t)(span.start + len - blocks.offset);
        size_t left = (size_t)(span.end - span.start) - len;
        size_t more = block.len - skip < left ? block.len - skip : left;

        memcpy(ret + len, block.ptr + skip, more);
        len += more;
        blocks.offset += block.len;
    }
    return ps_slice(ret, len);
}

static bool read_reference(const struct blocks *blocks,
                           const struct ps_responses_candidate *candidate, struct ps_reference *ret)
{
    char raw[RAW_MAX];
    char plain[RAW_MAX];
    struct ps_id holder;
    size_t len;

    if (candidate->type.end != 0 &&
        !ps_raw_word(read_raw(*blocks, candidate->type, raw), "item_reference")) {
        return false;
    }
    len = ps_json_unescape(read_raw(*blocks, candidate->id, raw), plain);
    if (!ps_dialect_item_holder(ps_slice(plain, len), &holder)) {
        return false;
    }
    *ret = (struct ps_reference){
        .span = candidate->element, .index = candidate->index, .id_len = (uint32_t)len};
    memcpy(ret->id, plain, len);
    return true;
}

int ps_responses_find_references(const struct ps_responses_candidates *candidates,
                                 struct ps_request *request, struct ps_arena *arena)
{
    struct blocks blocks;

    if (candidates->failed) {
        return -1;
    }
    if (candidates->count == 0) {
        return 0;
    }
    request->references = ps_arena_side(arena, candidates->count, sizeof(*request->references));
    if (request->references == NULL || open_blocks(&blocks, request->body, arena) != 0) {
        return -1;
    }
    for (size_t i = 0; i < candidates->count; i++) {
        const struct ps_responses_candidate *candidate = &candidates->list[i];

        move_to(&blocks, candidate->element.start);
        if (read_reference(&blocks, candidate, &request->references[request->reference_count])) {
            request->reference_count++;
        }
    }
    return 0;
}

/* ---- in the neutral form ---- */

bool ps_responses_is_reference(struct ps_slice element)
{
    struct ps_slice type = ps_raw_find(element, "type");

    if (ps_raw_given(type)) {
        return ps_raw_word(type, "item_reference");
    }
    return ps_raw_given(ps_raw_find(element, "id")) &&
           !ps_raw_given(ps_raw_find(element, "role")) &&
           !ps_raw_given(ps_raw_find(element, "content"));
}

const struct ps_reference *ps_responses_reference(const struct ps_request *request, uint32_t index,
                                                  size_t *next)
{
    while (*next < request->reference_count && request->references[*next].index < index) {
        (*next)++;
    }
    return *next < request->reference_count && request->references[*next].index == index
               ? &request->references[*next]
               : NULL;
}
