/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_DIALECT_FRONT_RIG_H
#define PENSTOCK_TESTS_DIALECT_FRONT_RIG_H

#include "rig.h"

/* For shapes that a client may knock in: chats in, bodies for another family out. */

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

static inline void front_check(const struct front_row *row, const struct cut *cut)
{
    const char *note = row->note != NULL ? row->note : "";
    struct ps_encoded encoded;
    struct rig rig;
    char *text;
    int rc = front_read(&rig, row->door, row->path, row->body, cut);

    if (rc == 0) {
        rc = front_encode(&rig, "openai", &encoded);
    }
    if (row->expected == NULL) {
        if (rc == 0 || strcmp(rig.fault.param, note) != 0) {
            fail_msg("%s: expected a fault at %s, found %d at %s: %s", row->body, note, rc,
                     rig.fault.param, rig.fault.message);
        }
        rig_deinit(&rig);
        return;
    }
    if (rc != 0) {
        fail_msg("%s: %s (%s)", row->body, rig.fault.message, rig.fault.param);
    }
    text = rig_join(&encoded);
    if (strcmp(text, row->expected) != 0 || !ps_slice_eq_cstr(encoded.dropped, note)) {
        fail_msg("%s\nexpected %s [%s]\nfound    %s [%.*s]", row->body, row->expected, note, text,
                 (int)encoded.dropped.len, encoded.dropped.ptr);
    }
    free(text);
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

#endif
