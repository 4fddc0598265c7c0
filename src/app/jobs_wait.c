/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include "penstock/base/clock.h"

#include <string.h>
#include <time.h>

/*
 * Asks for a batch or a job until it is over. A gateway that is away or busy is waited for, as
 * long as it takes: it keeps the work, so a restart is no reason to end. Ctrl-C ends the waiting
 * only.
 */

#define FIRST_PAUSE_US   200000
#define LONGEST_PAUSE_US 2000000
#define DRAW_US          250000

static bool is_id(const char *id, const char *prefix)
{
    size_t len = strlen(prefix);
    size_t rest = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-");

    return strncmp(id, prefix, len) == 0 && id[rest] == '\0' && rest > len && rest < 64;
}

bool ps_cli_id_path(const char *id, char *ret, size_t size)
{
    if (is_id(id, "batch_")) {
        (void)snprintf(ret, size, "/v1/batches/%s", id);
        return true;
    }
    if (is_id(id, "job_") || is_id(id, "msgbatch_")) {
        (void)snprintf(ret, size, "/jobs/%s", id);
        return true;
    }
    (void)ps_cli_complain("\"%s\" is no id: those begin with batch_, msgbatch_ or job_", id);
    return false;
}

static uint64_t count_of(const cJSON *object, const char *name)
{
    double number = ps_cli_number(object, name, 0);
    return number > 0 && number < 1e15 ? (uint64_t)number : 0;
}

bool ps_cli_read_state(const cJSON *json, struct ps_cli_state *ret)
{
    static const char *const ends[] = {"completed", "failed", "cancelled", "expired"};
    const char *id = ps_cli_text(json, "id");
    const char *status = ps_cli_text(json, "status");

    memset(ret, 0, sizeof(*ret));
    if (id == NULL || status == NULL ||
        (!is_id(id, "batch_") && !is_id(id, "msgbatch_") && !is_id(id, "job_")) ||
        strlen(status) >= sizeof(ret->status) ||
        status[strspn(status, "abcdefghijklmnopqrstuvwxyz_")] != '\0') {
        return false;
    }
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id);
    (void)snprintf(ret->status, sizeof(ret->status), "%s", status);
    ret->is_batch = id[0] != 'j';
    const cJSON *counts =
        cJSON_GetObjectItemCaseSensitive(json, id[0] == 'b' ? "request_counts" : "progress");
    ret->total = count_of(counts, "total");
    ret->completed = count_of(counts, "completed");
    ret->failed = count_of(counts, "failed");
    ret->tokens = count_of(counts, "tokens");
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        ret->over = ret->over || strcmp(status, ends[i]) == 0;
    }
    ret->all_good = strcmp(status, "completed") == 0 && ret->failed == 0;
    return true;
}

/* Until the next question; the bar moves on meanwhile. */
static void rest(struct ps_cli_bar *bar, const struct ps_cli_state *state, int64_t pause_us)
{
    int64_t end_us = ps_clock_us() + pause_us;

    while (ps_cli_signal == 0) {
        int64_t left_us = end_us - ps_clock_us();
        if (left_us <= 0) {
            return;
        }
        left_us = bar->live && left_us > DRAW_US ? DRAW_US : left_us;
        struct timespec step = {.tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000};
        (void)nanosleep(&step, NULL);
        if (bar->live) {
            ps_cli_bar_show(bar, state, false, NULL);
        }
    }
}

static int interrupted(const char *id)
{
    (void)fprintf(stderr,
                  "%s goes on in the gateway. To wait for it again: penstock jobs show %s --wait\n"
                  "To end it: penstock jobs cancel %s\n",
                  id, id, id);
    return PS_CLI_SIGNAL + (int)ps_cli_signal;
}

static const char *note_of(const struct ps_cli_answer *answer)
{
    return answer->end == PS_CLI_ANSWERED ? "the gateway is busy, waiting"
                                          : "the gateway is away, waiting";
}

/* 0: it answered with a state. -1: not now, ask again. Else an exit code. */
static int ask(struct ps_cli *cli, const char *path, const char *id, struct ps_cli_answer *answer,
               struct ps_cli_state *state, struct ps_cli_bar *bar)
{
    struct ps_cli_request request = {.method = "GET", .path = path};
    struct ps_cli_state fresh;

    ps_cli_ask(cli, &request, answer);
    if (answer->end == PS_CLI_ANSWERED && answer->status == 200 &&
        ps_cli_read_state(answer->json, &fresh)) {
        *state = fresh;
        return 0;
    }
    if (ps_cli_signal != 0 || ps_cli_may_help(answer)) {
        return -1;
    }
    ps_cli_bar_end(bar);
    return ps_cli_explain(cli, answer, id);
}

int ps_cli_wait(struct ps_cli *cli, const char *id, struct ps_cli_answer *answer,
                struct ps_cli_state *state)
{
    struct ps_cli_bar bar;
    char path[128];
    int64_t pause_us = FIRST_PAUSE_US;
    unsigned missed = 0;
    bool known = false;

    memset(answer, 0, sizeof(*answer));
    memset(state, 0, sizeof(*state));
    if (!ps_cli_id_path(id, path, sizeof(path))) {
        return PS_CLI_USAGE;
    }
    (void)snprintf(state->id, sizeof(state->id), "%s", id);
    ps_cli_bar_begin(&bar);
    for (;;) {
        ps_cli_answer_free(answer);
        int result = ask(cli, path, id, answer, state, &bar);
        if (ps_cli_signal != 0) {
            ps_cli_bar_end(&bar);
            return interrupted(id);
        }
        if (result > 0 || (result < 0 && !known && answer->end == PS_CLI_NO_GATEWAY)) {
            /* Where there never was a gateway, one will hardly come. */
            return result > 0 ? result : ps_cli_explain(cli, answer, id);
        }
        if (result < 0) {
            ps_cli_bar_show(&bar, state, false, note_of(answer));
            (void)ps_cli_pause(answer, missed++);
            continue;
        }
        known = true;
        missed = 0;
        ps_cli_bar_show(&bar, state, true, NULL);
        if (state->over) {
            ps_cli_bar_end(&bar);
            return PS_CLI_OK;
        }
        rest(&bar, state, pause_us);
        pause_us = pause_us * 3 / 2 < LONGEST_PAUSE_US ? pause_us * 3 / 2 : LONGEST_PAUSE_US;
    }
}

static void put_error(const cJSON *error)
{
    double line = ps_cli_number(error, "line", -1);
    const char *code = ps_cli_text(error, "code");
    const char *message = ps_cli_text(error, "message");

    (void)fputs("  ", stderr);
    if (line >= 0) {
        (void)fprintf(stderr, "line %.0f: ", line);
    }
    ps_cli_put(stderr, message != NULL ? message : "failed");
    if (code != NULL) {
        (void)fputs(" (", stderr);
        ps_cli_put(stderr, code);
        (void)fputc(')', stderr);
    }
    (void)fputc('\n', stderr);
}

int ps_cli_verdict(const struct ps_cli_state *state, const cJSON *json)
{
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(json, "errors");
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    const cJSON *item = NULL;

    if (state->all_good) {
        return PS_CLI_OK;
    }
    if (strcmp(state->status, "completed") != 0) {
        (void)fprintf(stderr, "%s has %s%s\n", state->id,
                      strcmp(state->status, "cancelled") == 0 ? "been " : "", state->status);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(errors, "data"))
    {
        put_error(item);
    }
    if (cJSON_IsObject(error)) {
        put_error(error);
    }
    if (state->failed > 0 && state->is_batch) {
        (void)fprintf(stderr, "%llu of %llu lines did not succeed: penstock jobs results %s%s\n",
                      (unsigned long long)state->failed, (unsigned long long)state->total,
                      state->id, state->id[0] == 'm' ? "" : " --errors");
    }
    return PS_CLI_INCOMPLETE;
}
