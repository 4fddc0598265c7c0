/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_DIALECT_RIG_H
#define PENSTOCK_TESTS_DIALECT_RIG_H

#include "testing.h"

#include "penstock/base/mem.h"
#include "penstock/dialect/dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an exchange gives a dialect: an arena, a chain for the body, a request. */
struct rig {
    struct ps_budget budget;
    struct ps_block_pool pool;
    struct ps_chain body;
    struct ps_arena arena;
    struct ps_request request;
    struct ps_fault fault;
};

/* How a text is cut into pieces. */
struct cut {
    size_t at;    /* one cut here, 0: none */
    bool bytes;   /* byte by byte */
    size_t shift; /* so many bytes of it lie in the chain's first block, behind white space; 0: no
                     white space */
};

static inline void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    atomic_init(&rig->budget.used, 0);
    atomic_init(&rig->budget.limit, (size_t)64 << 20);
    ps_block_pool_init(&rig->pool, &rig->budget, 4);
    ps_chain_init(&rig->body, &rig->pool);
    ps_arena_init(&rig->arena, (size_t)16 << 20);
    rig->request.body = &rig->body;
}

static inline void rig_deinit(struct rig *rig)
{
    ps_arena_deinit(&rig->arena);
    ps_chain_clear(&rig->body);
    ps_block_pool_deinit(&rig->pool);
    assert_int_equal(atomic_load(&rig->budget.used), 0);
}

/* One piece, in memory of exactly its size that is gone afterwards. */
static inline int rig_feed(struct rig *rig, struct ps_reader *reader, const char *ptr, size_t len)
{
    char *piece = malloc(len > 0 ? len : 1);
    int rc;

    assert_non_null(piece);
    memcpy(piece, ptr, len);
    rc = ps_reader_feed(reader, piece, len, &rig->fault);
    free(piece);
    if (rc == 0 && ps_chain_append(&rig->body, ptr, len) != 0) {
        return ps_fault_set(&rig->fault, PS_FAULT_NO_MEMORY, NULL, "chain");
    }
    return rc;
}

static inline int rig_feed_cut(struct rig *rig, struct ps_reader *reader, struct ps_slice text,
                               const struct cut *cut)
{
    size_t step = cut->bytes ? 1 : cut->at > 0 ? cut->at : text.len;

    if (cut->shift > 0) {
        static char spaces[PS_BLOCK_BYTES];

        memset(spaces, ' ', sizeof(spaces));
        if (rig_feed(rig, reader, spaces, sizeof(spaces) - cut->shift) != 0) {
            return -1;
        }
    }
    for (size_t at = 0; at < text.len; at += step) {
        if (at > 0 && !cut->bytes) {
            step = text.len - at;
        }
        if (rig_feed(rig, reader, text.ptr + at, step < text.len - at ? step : text.len - at) !=
            0) {
            return -1;
        }
    }
    return 0;
}

/* Reads a whole body. request->family, operation and content_type are set before. 0 or -1 with
 * rig->fault. */
static inline int rig_read(struct rig *rig, const struct ps_reader_options *options,
                           struct ps_slice text, const struct cut *cut)
{
    struct ps_reader *reader = ps_reader_new(ps_dialect_of_family(rig->request.family), options,
                                             &rig->request, &rig->arena);

    if (reader == NULL) {
        return ps_fault_set(&rig->fault, PS_FAULT_NO_MEMORY, NULL, "reader");
    }
    if (rig_feed_cut(rig, reader, text, cut) != 0) {
        return -1;
    }
    return ps_reader_finish(reader, &rig->fault);
}

/* The parts of an encoded body in one piece, NUL-terminated; freed by the caller. */
static inline char *rig_join(const struct ps_encoded *encoded)
{
    char *text = malloc((size_t)encoded->length + 1);
    size_t len = 0;

    assert_non_null(text);
    for (size_t i = 0; i < encoded->part_count; i++) {
        assert_true(encoded->parts[i].len <= encoded->length - len);
        memcpy(text + len, encoded->parts[i].ptr, encoded->parts[i].len);
        len += encoded->parts[i].len;
    }
    assert_int_equal(len, encoded->length);
    text[len] = '\0';
    return text;
}

static inline int dialect_setup(void **state)
{
    (void)state;
    return ps_dialect_global_init();
}

static inline int dialect_teardown(void **state)
{
    (void)state;
    ps_dialect_global_deinit();
    return 0;
}

#endif
