/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_DIALECT_FRONT_RIG_H
#define PENSTOCK_TESTS_DIALECT_FRONT_RIG_H

#include "rig.h"

/* For shapes that a client may knock in: requests in, bodies for another family out; events in,
 * answers out. */

struct front_row {
    enum ps_family door;
    const char *path;
    const char *body;
    const char *expected; /* for OpenAI; NULL: refused */
    const char *note;     /* dropped, or the path at fault; NULL: nothing */
};

static inline int front_read(struct rig *rig, enum ps_family door, const char *path,
                             const char *body, const struct cut *cut)
{
    const struct ps_reader_options options = {.operation = PS_OP_CHAT};

    rig_init(rig);
    rig->request.family = door;
    rig->request.operation = PS_OP_CHAT;
    rig->request.path = ps_slice_cstr(path);
    return rig_read(rig, &options, ps_slice_cstr(body), cut);
}

static inline int front_encode(struct rig *rig, const char *dialect, struct ps_encoded *encoded)
{
    const struct ps_encode_options options = {.model = PS_SLICE_LIT("up")};

    return ps_dialect_encode(ps_dialect_find(dialect), &rig->request, &options, &rig->arena,
                             encoded, &rig->fault);
}

/* What becomes of a request. */
struct front_fate {
    const char *to;
    const char *expected;    /* NULL: refused */
    const char *note;        /* dropped, or the path at fault; NULL: nothing */
    enum ps_fault_kind kind; /* of what is refused; PS_FAULT_NONE: any */
};

/* Sends on what was read with `rc`. */
static inline void front_meet(struct rig *rig, int rc, const char *body,
                              const struct front_fate *fate, struct ps_encoded *ret)
{
    const char *note = fate->note != NULL ? fate->note : "";
    char *text;

    *ret = (struct ps_encoded){.relayed = false};
    if (rc == 0) {
        rc = front_encode(rig, fate->to, ret);
    }
    if (fate->expected == NULL) {
        if (rc == 0 || strcmp(rig->fault.param, note) != 0 ||
            (fate->kind != PS_FAULT_NONE && fate->kind != rig->fault.kind)) {
            fail_msg("%s: expected %s at %s, found %d %s at %s: %s", body,
                     ps_fault_name(fate->kind), note, rc, ps_fault_name(rig->fault.kind),
                     rig->fault.param, rig->fault.message);
        }
        return;
    }
    if (rc != 0) {
        fail_msg("%s: %s (%s)", body, rig->fault.message, rig->fault.param);
    }
    text = rig_join(ret);
    if (strcmp(text, fate->expected) != 0 || !ps_slice_eq_cstr(ret->dropped, note)) {
        fail_msg("%s\nexpected %s [%s]\nfound    %s [%.*s]", body, fate->expected, note, text,
                 (int)ret->dropped.len, ret->dropped.ptr);
    }
    free(text);
}

static inline void front_check(const struct front_row *row, const struct cut *cut)
{
    const struct front_fate fate = {"openai", row->expected, row->note, PS_FAULT_NONE};
    struct ps_encoded encoded;
    struct rig rig;
    int rc = front_read(&rig, row->door, row->path, row->body, cut);

    front_meet(&rig, rc, row->body, &fate, &encoded);
    rig_deinit(&rig);
}

/* Whole, byte by byte, and cut at every byte. */
static inline void front_check_cuts(const struct front_row *row)
{
    size_t len = strlen(row->body);

    front_check(row, &(struct cut){.bytes = true});
    for (size_t at = 0; at < len; at++) {
        front_check(row, &(struct cut){.at = at});
    }
}

/* ---- answers ---- */

#define FRONT_BYTES 16384

/* An answer in the shape of a door, out of events. */
struct front {
    struct ps_writer *writer;
    struct ps_buf out;
    struct ps_fault fault;
};

static inline void front_open(struct front *front, enum ps_family door,
                              const struct ps_writer_options *options, struct ps_arena *arena)
{
    *front = (struct front){.writer = ps_writer_new(ps_dialect_of_family(door), options, arena)};
    assert_non_null(front->writer);
    ps_buf_init(&front->out, FRONT_BYTES);
}

static inline void front_close(struct front *front)
{
    ps_writer_free(front->writer);
    ps_buf_deinit(&front->out);
}

static inline bool front_tell(struct front *front, struct ps_event event)
{
    if (event.kind != PS_EVENT_USAGE) {
        event.usage = PS_USAGE_NONE;
    }
    return ps_writer_event(front->writer, &event, &front->out, &front->fault) == 0;
}

/* All that was said, with its end. */
static inline void front_expect(struct front *front, const struct ps_answer_info *info,
                                const char *expected)
{
    ps_writer_end(front->writer, info, &front->out);
    ps_buf_byte(&front->out, '\0');
    assert_false(front->out.failed);
    if (strcmp(front->out.ptr, expected) != 0) {
        fail_msg("\nexpected %s\nfound    %s", expected, front->out.ptr);
    }
}

#endif
