/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_STORE_PRIV_H
#define PENSTOCK_STORE_STORE_PRIV_H

#include "penstock/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a verb is, besides its name. */
bool ps_store_verb_writes(enum ps_store_verb verb);
bool ps_store_verb_adds(
    enum ps_store_verb verb); /* new work: refused when the disk is nearly full */

/* Where the disk stands. One thread. */
struct ps_store_space {
    const char *folder; /* borrowed */
    uint64_t reserve_bytes;
    unsigned reserve_percent;
    int64_t looked_us; /* 0: never */
    bool low;
};
/* Looks at most once a second. A folder that cannot be looked at is not low. */
bool ps_store_space_low(struct ps_store_space *space);

/*
 * An engine: what keeps the rows. store.c owns queue, threads, groups and answers; an engine makes
 * transactions of commands. A session belongs to one thread at a time: one that writes, and one
 * that only reads and sees whatever was committed when its transaction began.
 *
 *   open → (begin → execute … → commit | rollback) … → close
 *
 * When begin, execute or commit fail, the transaction is lost with everything in it: rollback, and
 * mend before the next begin.
 */
struct ps_store_session;

struct ps_store_setup {
    char *folder; /* owned: data_dir */
    char *rest;   /* owned: of the url, after the scheme */
    struct ps_blobs *blobs;
};

enum ps_store_mended {
    PS_STORE_MENDED,
    PS_STORE_MEND_LATER, /* the cause is still there */
    PS_STORE_MEND_REOPEN /* this session is of no use any more */
};

struct ps_store_engine {
    const char *scheme; /* "sqlite" */
    /* Touches no disk. */
    bool (*check)(const char *rest, char *ret_error, size_t error_size);
    bool (*exists)(const struct ps_store_setup *setup);
    /* NULL with a sentence. Only the writing session makes what is not there yet. */
    struct ps_store_session *(*open)(const struct ps_store_setup *setup, bool writes,
                                     char *ret_problem, size_t problem_size);
    void (*close)(struct ps_store_session *session);
    enum ps_store_status (*begin)(struct ps_store_session *session);
    /* Sets command->status; a command that fails leaves nothing. False: the transaction is lost,
     * command->status says how. */
    bool (*execute)(struct ps_store_session *session, struct ps_store_command *command);
    enum ps_store_status (*commit)(struct ps_store_session *session);
    void (*rollback)(struct ps_store_session *session);
    enum ps_store_mended (*mend)(struct ps_store_session *session);
    /* Why the last one failed. */
    const char *(*problem)(const struct ps_store_session *session);
    /* Between groups: a slice of housekeeping, with transactions of its own. `idle`: nothing waits.
     * True: there is more to do. */
    bool (*tend)(struct ps_store_session *session, bool idle);
    uint64_t (*log_bytes)(const struct ps_store_session *session);
};

extern const struct ps_store_engine ps_store_sqlite;

#endif
