/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TEST_ENGINE_STATION_H
#define PENSTOCK_TEST_ENGINE_STATION_H

#include "penstock/base/chain.h"
#include "penstock/engine/engine.h"

#include <stdbool.h>

/* A loop with a host, an engine and a port, and records of what came of each request. */

#define STATION_TEXT    65536
#define STATION_VECTORS 8
#define STATION_WIDTH   256

struct station;

struct outcome {
    struct station *station;
    ps_engine_ticket ticket;
    struct ps_fault refused; /* by submit, when ticket is 0 */
    bool started;
    bool ended;
    unsigned results;
    unsigned texts;
    bool broken_text; /* a result that is no whole UTF-8 */
    char text[STATION_TEXT];
    size_t len;
    unsigned logprobs;
    double logprob_sum;
    char logprob_text[4096];
    size_t logprob_len;
    unsigned tops;
    unsigned vectors;
    float vector[STATION_VECTORS][STATION_WIDTH];
    size_t dimensions;
    struct ps_engine_result done;
    struct ps_fault fault;
    size_t order; /* how many had ended before */
    /* what to do when results come */
    unsigned cancel_after; /* results; 0: never */
};

struct station {
    struct ps_budget budget;
    struct ps_loop loop;
    struct ps_engine_host *host; /* NULL: the engine is somebody else's */
    struct ps_engine *engine;
    struct ps_engine_port *port;
    bool closed;
    size_t ended;
    unsigned state_calls;
};

/* The defaults of a test: one compute thread, 8 slots, 256 tokens. */
struct ps_engine_host_options station_host_options(void);
struct ps_engine_options station_options(const char *kind, const char *model_path);

/* Opens everything and waits until the model is loaded (or has failed), unless `wait` is false. */
void station_open(struct station *station, const struct ps_engine_host_options *host,
                  const struct ps_engine_options *options, bool wait);
void station_open_double(struct station *station, const char *model_path);
/* Another loop with a port at somebody else's engine. */
void station_join(struct station *station, struct ps_engine *engine);
/* Closes the port, waits for it, unloads; asserts that nothing is left running. */
void station_close(struct station *station);

/* A raw prompt with these settings; others are set on `request` before station_submit. */
struct ps_engine_request station_prompt(const char *prompt, uint32_t max_tokens);
void station_submit(struct station *station, const struct ps_engine_request *request,
                    struct outcome *outcome);
/* Turns the loop until it has ended. */
void station_run(struct station *station, const struct outcome *outcome);
/* Turns the loop until `done(arg)`. */
void station_until(struct station *station, bool (*done)(void *arg), void *arg);
/* Until nothing runs or waits in the engine. */
void station_idle(struct station *station);

#endif
