/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "penstock/base/mem.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Cores' worth of time that the control group may use, rounded down; 0: no limit is known. */
static unsigned quota_cores(void)
{
    char text[64];
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file == NULL) {
        return 0;
    }
    bool read = fgets(text, sizeof(text), file) != NULL;
    (void)fclose(file);
    if (!read || !isdigit((unsigned char)text[0])) {
        return 0;
    }
    char *end = NULL;
    unsigned long quota = strtoul(text, &end, 10);
    unsigned long period = strtoul(end, NULL, 10);
    return period > 0 ? (unsigned)(quota / period > 0 ? quota / period : 1) : 0;
}

/* A thread too many costs far more than one too few: ggml's threads wait for each other by
 * spinning. */
static unsigned usable_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    unsigned cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned quota = quota_cores();
    return quota > 0 && quota < cores ? quota : cores;
}

struct ps_engine_host *ps_engine_host_new(const struct ps_engine_host_options *options)
{
    struct ps_engine_host *host = ps_calloc(1, sizeof(*host));
    if (host == NULL) {
        return NULL;
    }
    unsigned cores = usable_cores();
    host->options = *options;
    if (host->options.compute_threads == 0) {
        host->options.compute_threads =
            cores > options->event_loops + 1 ? cores - options->event_loops : 1;
    } else if (host->options.compute_threads > cores) {
        host->options.compute_threads = cores;
    }
    (void)pthread_mutex_init(&host->lock, NULL);
    (void)pthread_mutex_init(&host->loading, NULL);
    (void)pthread_cond_init(&host->load_over, NULL);
    (void)pthread_cond_init(&host->turn_over, NULL);
    return host;
}

void ps_engine_host_free(struct ps_engine_host *host)
{
    if (host == NULL) {
        return;
    }
    if (host->pool != NULL) {
        host->pool_free(host->pool);
    }
    (void)pthread_cond_destroy(&host->turn_over);
    (void)pthread_mutex_destroy(&host->lock);
    (void)pthread_cond_destroy(&host->load_over);
    (void)pthread_mutex_destroy(&host->loading);
    ps_free(host);
}

unsigned ps_engine_host_threads(const struct ps_engine_host *host)
{
    return host->options.compute_threads;
}

void ps_host_take_turn(struct ps_engine_host *host)
{
    (void)pthread_mutex_lock(&host->lock);
    uint64_t mine = host->next_turn++;
    while (host->current_turn != mine) {
        (void)pthread_cond_wait(&host->turn_over, &host->lock);
    }
    (void)pthread_mutex_unlock(&host->lock);
}

void ps_host_give_turn(struct ps_engine_host *host)
{
    (void)pthread_mutex_lock(&host->lock);
    host->current_turn++;
    (void)pthread_cond_broadcast(&host->turn_over);
    (void)pthread_mutex_unlock(&host->lock);
}

bool ps_host_take_memory(struct ps_engine_host *host, uint64_t bytes)
{
    uint64_t cap = host->options.model_memory;
    uint64_t used = atomic_load(&host->memory);
    do {
        if (cap > 0 && (bytes > cap || used > cap - bytes)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&host->memory, &used, used + bytes));
    return true;
}

void ps_host_give_memory(struct ps_engine_host *host, uint64_t bytes)
{
    atomic_fetch_sub(&host->memory, bytes);
}
