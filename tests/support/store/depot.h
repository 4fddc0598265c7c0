/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_STORE_DEPOT_H
#define PENSTOCK_TESTS_STORE_DEPOT_H

#include "penstock/store/store.h"

/*
 * A store in a folder of its own, and short ways to fill commands in. Everything that fails here
 * fails the test.
 */
struct depot {
    char folder[64];
    struct ps_store *store;
};

void depot_make(struct depot *depot); /* the folder only */
void depot_open(struct depot *depot); /* the store; with default limits, but never "disk full" */
void depot_close(struct depot *depot);
void depot_remove(struct depot *depot); /* the folder and all in it */
/* "<folder>/<name>", in a static buffer. */
const char *depot_path(const struct depot *depot, const char *name);

struct ps_id depot_id(const char *text);
struct ps_slice depot_text(const char *text);

struct ps_store_command *depot_command(enum ps_store_verb verb);
/* Runs it, checks the status, and frees it. */
void depot_run(struct depot *depot, struct ps_store_command *command, enum ps_store_status status);
/* Runs it and checks the status; `out` is there until the command is freed. */
void depot_ask(struct depot *depot, struct ps_store_command *command, enum ps_store_status status);

/* Commands with what they need filled in. Tenant "t" unless given. */
struct ps_store_command *depot_file_add(const char *tenant, const char *id, const char *blob);
struct ps_store_command *depot_batch_add(const char *tenant, const char *id, const char *file,
                                         int64_t now_ms);
struct ps_store_command *depot_batch_lines(const char *id, uint64_t first, size_t count);
struct ps_store_command *depot_job_add(const char *tenant, const char *id, int64_t now_ms);
struct ps_store_command *depot_take(int64_t now_ms, uint32_t limit);
struct ps_store_command *depot_settle(const struct ps_store_claim *claim, enum ps_job_status status,
                                      int64_t now_ms);
struct ps_store_command *depot_on(enum ps_store_verb verb, const char *tenant, const char *id,
                                  int64_t now_ms);

/* A batch of `lines` lines in progress, with an input file of its own. */
void depot_start_batch(struct depot *depot, const char *tenant, const char *id, size_t lines,
                       int64_t now_ms);
/* A real blob of that content. */
struct ps_blob_name depot_blob(struct depot *depot, const char *text);
bool depot_has_blob(struct depot *depot, const struct ps_blob_name *name);

#endif
