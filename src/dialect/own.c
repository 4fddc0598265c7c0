/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "fields.h"

/* Bodies that go out byte for byte to their own family, but for the model's name. */

#define MEMBER_BYTES 2048 /* a model's name, escaped */

/* `"model":"…",` or only the string. */
static struct ps_slice model_text(struct ps_slice model, const char *before, const char *behind,
                                  struct ps_arena *arena)
{
    struct ps_slice text = PS_SLICE_NONE;
    struct ps_buf buf;

    ps_buf_init(&buf, MEMBER_BYTES);
    ps_buf_cstr(&buf, before);
    ps_buf_json(&buf, model);
    ps_buf_cstr(&buf, behind);
    if (!buf.failed) {
        text = ps_arena_copy(arena, ps_buf_view(&buf));
    }
    ps_buf_deinit(&buf);
    return text;
}

bool ps_own_holds(const struct ps_chain *body, struct ps_slice word)
{
    char seam[2 * PS_OWN_WORD];
    size_t left = 0;

    for (size_t at = 0; at < body->len;) {
        struct ps_slice run = ps_chain_run(body, at, body->len - at);
        size_t begin = run.len < word.len - 1 ? run.len : word.len - 1;

        memcpy(seam + left, run.ptr, begin); /* what may lie across two blocks */
        if (memmem(seam, left + begin, word.ptr, word.len) != NULL ||
            memmem(run.ptr, run.len, word.ptr, word.len) != NULL) {
            return true;
        }
        at += run.len;
        left = at < word.len - 1 ? at : word.len - 1;
        ps_chain_copy(body, at - left, left, seam);
    }
    return false;
}

/* All edits of the body, in order; none overlaps the model. */
static int put_in_order(const struct ps_edit *model, const struct ps_edit *edits, size_t count,
                        struct ps_arena *arena, struct ps_edit **ret)
{
    struct ps_edit *all = ps_arena_side(arena, count + 1, sizeof(*all));
    size_t before = 0;

    if (all == NULL) {
        return -1;
    }
    while (before < count && edits[before].start < model->start) {
        all[before] = edits[before];
        before++;
    }
    all[before] = *model;
    for (size_t i = before; i < count; i++) {
        all[i + 1] = edits[i];
    }
    *ret = all;
    return 0;
}

static int edit_body(const struct ps_request *request, struct ps_slice model,
                     const struct ps_edit *edits, size_t count, struct ps_arena *arena,
                     struct ps_encoded *ret)
{
    struct ps_edit *all;
    bool given = request->model_span.end != 0;
    struct ps_edit edit = {.text = PS_SLICE_NONE};
    uint64_t brace = 0;
    uint64_t next;
    bool empty;

    if (model.len == 0 || (given && ps_slice_eq(model, request->model))) {
        return ps_request_parts(request->body, edits, count, arena, &ret->parts, &ret->part_count,
                                &ret->length);
    }
    if (given) {
        edit = (struct ps_edit){request->model_span.start, request->model_span.end,
                                model_text(model, "", "", arena)};
    } else {
        /* New members go to the front. */
        (void)ps_body_next(request->body, &brace);
        next = brace + 1;
        empty = ps_body_next(request->body, &next) == '}';
        edit = (struct ps_edit){brace + 1, brace + 1,
                                model_text(model, "\"model\":", empty ? "" : ",", arena)};
    }
    if (edit.text.ptr == NULL || put_in_order(&edit, edits, count, arena, &all) != 0) {
        return -1;
    }
    return ps_request_parts(request->body, all, count + 1, arena, &ret->parts, &ret->part_count,
                            &ret->length);
}

int ps_own_body_edited(const struct ps_request *request, struct ps_slice model,
                       const struct ps_edit *edits, size_t count, struct ps_arena *arena,
                       struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    return edit_body(request, model, edits, count, arena, ret) == 0
               ? 0
               : ps_body_out_of_memory(ret_fault);
}

int ps_own_body(const struct ps_request *request, struct ps_slice model, struct ps_arena *arena,
                struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    return ps_own_body_edited(request, model, NULL, 0, arena, ret, ret_fault);
}
