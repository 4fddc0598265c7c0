/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_MESSAGE_BATCHES_H
#define PENSTOCK_API_MESSAGE_BATCHES_H

#include "side.h"

#include "penstock/base/json_scan.h"

/* Anthropic's batches of messages: requests come in one JSON body, results go out as lines. */

/* ---- message_batches_split.c ---- */

/*
 * Takes {"requests":[…]} apart as its bytes arrive: each element is handed over whole, on one line.
 * The body is scanned strictly, so that what looks at the elements may rely on their being JSON.
 */
struct ps_split_ops {
    /* One element, valid until it returns: JSON without line ends. -1 with a fault: refused. */
    int (*on_item)(void *arg, uint64_t index, struct ps_slice item, struct ps_fault *fault);
};

struct ps_split {
    const struct ps_split_ops *ops;
    void *arg;
    struct ps_json_scan scan;
    uint32_t depth;
    bool in_string;
    bool escaped;
    bool in_list; /* inside the array that we want */
    bool seen;    /* it has been there */
    char key[16]; /* the last string directly in the outermost object, as far as it fits */
    size_t key_len;
    struct ps_buf item;
    uint64_t count;
};

void ps_split_init(struct ps_split *split, size_t item_bytes, const struct ps_split_ops *ops,
                   void *arg);
void ps_split_deinit(struct ps_split *split);
/* -1 with a fault; then only ps_split_deinit is left. */
int ps_split_feed(struct ps_split *split, const char *ptr, size_t len, struct ps_fault *fault);
int ps_split_finish(struct ps_split *split, struct ps_fault *fault);

/* ---- message_batches_object.c ---- */

/* How a batch looks to Anthropic's clients. */
void ps_message_batch_write(struct ps_conn *conn, struct ps_buf *out,
                            const struct ps_store_batch *batch);
/* Answers with it. */
void ps_message_batch_show(struct ps_conn *conn, const struct ps_store_batch *batch);
/* Results are kept so long. */
#define PS_MESSAGE_BATCH_LIFE_MS (INT64_C(29) * 86400000)

/* ---- the doors ---- */

extern const struct ps_side_ops ps_message_batches_ops;      /* POST /v1/messages/batches */
extern const struct ps_side_ops ps_message_batches_list_ops; /* GET /v1/messages/batches */
extern const struct ps_side_ops ps_message_batches_one_ops;  /* GET, DELETE …/{id} */
extern const struct ps_side_ops ps_message_batches_cancel_ops;
extern const struct ps_side_ops ps_message_batches_results_ops;

#endif
