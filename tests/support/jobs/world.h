/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_JOBS_WORLD_H
#define PENSTOCK_TESTS_JOBS_WORLD_H

#include "store/depot.h"
#include "upstream/fake_http.h"

#include "penstock/gateway/gateway.h"
#include "penstock/jobs/jobs.h"
#include "penstock/net/pool.h"

#include <uv.h>

/*
 * All that jobs need, in one process: a gateway with a loop, a store in a folder of its own, a
 * pool, and an upstream that answers by script.
 *
 * A script is a provider; "name/x" as the model asks it. It has up to eight answers: the n-th
 * request to it gets the n-th, later ones the last.
 */
#define WORLD_ANSWERS 8

struct world_answer {
    int status; /* 0: it waits for gate 1 and then answers 200 */
    const char *headers;
    const char *body; /* NULL: world_good */
    bool cut;         /* the connection ends in the middle of the body */
};

struct world_script {
    const char *name;
    struct world_answer answers[WORLD_ANSWERS];
};

extern const char world_good[]; /* a chat completion */

/* The scripts live as long as the program; ended by a name that is NULL. Once, before all. */
void world_set_up(const struct world_script *scripts);
void world_tear_down(void);
/* How many requests have come for a script; begins anew with world_open. */
unsigned world_calls(const char *name);
void world_gate(void);

struct world {
    struct ps_metrics *metrics;
    struct ps_gateway gateway;
    struct ps_loop loop;
    struct ps_mailbox mailbox;
    struct ps_gateway_loop gl;
    struct ps_pool *pool;
    struct ps_engine_host *engines;
    uv_timer_t tick;
    struct depot depot;
    struct ps_jobs *jobs; /* NULL: none runs */
    bool stopped;
};

void world_open(struct world *w);
void world_close(struct world *w);
/* Begins a run, and ends it: what is in flight may end, or is aborted. */
void world_start(struct world *w);
void world_stop(struct world *w, bool abort);
void world_turn(struct world *w);

#define WORLD_UNTIL(w, condition)                                                                  \
    do {                                                                                           \
        int64_t world_deadline_ = ps_clock_us() + 30000000;                                        \
        while (!(condition)) {                                                                     \
            if (ps_clock_us() > world_deadline_) {                                                 \
                fail_msg("%s:%d: waited in vain for %s", __FILE__, __LINE__, #condition);          \
            }                                                                                      \
            world_turn(w);                                                                         \
        }                                                                                          \
    } while (0)

/* ---- work ---- */

/* Tenant "t"; `body` may be longer than what fits a row. `life_ms` 0: a day. */
void world_job(struct world *w, const char *id, const char *endpoint, const char *body,
               int64_t life_ms);
/* A batch of that input. */
void world_batch(struct world *w, const char *id, const char *endpoint, const char *input,
                 int64_t life_ms);
void world_cancel(struct world *w, enum ps_store_verb verb, const char *id);

/* As the row is now; slices live until the next of these. */
const struct ps_store_job *world_see_job(struct world *w, const char *id);
const struct ps_store_batch *world_see_batch(struct world *w, const char *id);
bool world_job_is(struct world *w, const char *id, enum ps_job_status status);
bool world_batch_is(struct world *w, const char *id, enum ps_batch_status status);
/* Text of a body or file; to be freed. "" when there is none. */
char *world_body(struct world *w, const struct ps_store_body *body);
char *world_file(struct world *w, const struct ps_id *id);

#endif
