/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/dialect/request.h"

const char *ps_operation_name(enum ps_operation operation)
{
    switch (operation) {
    case PS_OP_CHAT:
        return "chat";
    case PS_OP_COMPLETE:
        return "complete";
    case PS_OP_EMBED:
        return "embed";
    case PS_OP_RERANK:
        return "rerank";
    case PS_OP_IMAGE:
        return "image";
    case PS_OP_COUNT_TOKENS:
        return "count_tokens";
    case PS_OP_PASS:
        return "pass";
    case PS_OP_MODELS:
        return "models";
    case PS_OP_COUNT:
    default:
        return "unknown";
    }
}

/* The parts between edit `i - 1` and edit `i`; `count` itself stands for the end of the body. */
static void gap_before(const struct ps_chain *body, const struct ps_edit *edits, size_t count,
                       size_t i, uint64_t *ret_start, uint64_t *ret_end)
{
    *ret_start = i > 0 ? edits[i - 1].end : 0;
    *ret_end = i < count ? edits[i].start : body->len;
}

int ps_request_parts(const struct ps_chain *body, const struct ps_edit *edits, size_t edit_count,
                     struct ps_arena *arena, struct ps_slice **ret_parts, size_t *ret_count,
                     uint64_t *ret_length)
{
    struct ps_slice *parts;
    size_t capacity = edit_count;
    size_t count = 0;
    uint64_t length = 0;
    uint64_t start;
    uint64_t end;

    for (size_t i = 0; i <= edit_count; i++) {
        gap_before(body, edits, edit_count, i, &start, &end);
        capacity += ps_chain_parts(body, (size_t)start, (size_t)(end - start), NULL, 0);
    }
    parts = ps_arena_alloc(arena, (capacity + 1) * sizeof(*parts));
    if (parts == NULL) {
        return -1;
    }
    for (size_t i = 0; i <= edit_count; i++) {
        gap_before(body, edits, edit_count, i, &start, &end);
        count += ps_chain_parts(body, (size_t)start, (size_t)(end - start), parts + count,
                                capacity - count);
        length += end - start;
        if (i < edit_count && edits[i].text.len > 0) {
            parts[count++] = edits[i].text;
            length += edits[i].text.len;
        }
    }
    *ret_parts = parts;
    *ret_count = count;
    *ret_length = length;
    return 0;
}
