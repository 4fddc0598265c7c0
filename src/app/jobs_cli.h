/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_APP_JOBS_CLI_H
#define PENSTOCK_APP_JOBS_CLI_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * `penstock jobs …`: long jobs from the command line. A client of a running gateway like any other,
 * by HTTP; it knows nothing of the store. One thread that may block.
 *
 *   jobs_command.c   the words of the command line
 *   jobs_client.c    one request and its answer; what went wrong, in words
 *   jobs_submit.c    upload, create
 *   jobs_wait.c      asks until the end; jobs_bar.c shows how far it is
 *   jobs_show.c      list, show, cancel
 *   jobs_results.c   what came out
 *
 * stdout is for what was asked for (an id, a table, results), stderr for everything else.
 */

/* Exit codes; docs/jobs-cli.md lists them. */
enum ps_cli_exit {
    PS_CLI_OK = 0,
    PS_CLI_FAILED = 1,      /* refused, or a file that cannot be read or written */
    PS_CLI_USAGE = 2,       /* the command line */
    PS_CLI_INCOMPLETE = 3,  /* it ended, but not all of it succeeded */
    PS_CLI_UNREACHABLE = 4, /* no gateway there */
    PS_CLI_SIGNAL = 128     /* and the signal's number: 130 after Ctrl-C */
};

/* ---- jobs_command.c ---- */

struct ps_cli_options {
    const char *url;
    const char *key_file;
    const char *ca_file;
    const char *endpoint;
    const char *output;
    const char *status;
    const char *window;
    const char *metadata[16];
    size_t metadata_count;
    long limit; /* 0: not given */
    bool wait;
    bool json;
    bool errors;
    const char *operand; /* FILE or ID; NULL: none */
};

/* `argv` from "jobs" on. Returns the exit code. */
int ps_cli_main(int argc, char **argv);
/* A sentence on stderr. Returns PS_CLI_FAILED. */
int ps_cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The signal that wants us to end, or 0. */
extern volatile sig_atomic_t ps_cli_signal;

/* ---- jobs_client.c ---- */

struct ps_cli {
    CURL *easy;                 /* owned */
    struct curl_slist *headers; /* owned: the key */
    char *base;                 /* owned: "http://host:port", no trailing slash */
    const char *shown;          /* the URL as the user gave it; borrowed */
    char error[CURL_ERROR_SIZE];
};

/* 0, or an exit code after a sentence. */
int ps_cli_open(struct ps_cli *cli, const struct ps_cli_options *options);
void ps_cli_close(struct ps_cli *cli);

/* Where the body of a 2xx answer goes, when it does not go to memory. Survives retries: what has
 * been written once is skipped the next time. */
struct ps_cli_sink {
    FILE *file;
    uint64_t written;
    uint64_t seen; /* by the try that runs */
    bool failed;   /* the file takes no more */
};

struct ps_cli_request {
    const char *method;
    const char *path;            /* "/v1/batches" */
    const char *json;            /* body, or NULL */
    curl_mime *mime;             /* body, or NULL; borrowed */
    const char *idempotency_key; /* or NULL */
    struct ps_cli_sink *sink;    /* or NULL */
    curl_xferinfo_callback progress;
    void *progress_arg;
};

enum ps_cli_end {
    PS_CLI_ANSWERED,
    PS_CLI_NO_GATEWAY, /* no connection, or it broke before an answer */
    PS_CLI_CUT,        /* within the answer */
    PS_CLI_STOPPED,    /* a signal */
    PS_CLI_BROKEN      /* anything else: a bad URL, TLS, our file */
};

struct ps_cli_answer {
    enum ps_cli_end end;
    long status;
    double retry_after_s; /* 0: not said */
    char type[80];
    struct ps_buf body; /* NUL-terminated behind its end */
    cJSON *json;        /* of an application/json body that is one, else NULL */
};

void ps_cli_ask(struct ps_cli *cli, const struct ps_cli_request *request,
                struct ps_cli_answer *answer);
void ps_cli_answer_free(struct ps_cli_answer *answer);
/* Asking once more, later, may help: the gateway is away, or busy. */
bool ps_cli_may_help(const struct ps_cli_answer *answer);
/* Sleeps before the try number `attempt` (from 1), as long as the answer says. False: a signal. */
bool ps_cli_pause(const struct ps_cli_answer *answer, unsigned attempt);
/* Says what is wrong with an answer that is not as hoped; returns the exit code. `what` is what was
 * asked for, such as "batch_0…", or NULL. */
int ps_cli_explain(const struct ps_cli *cli, const struct ps_cli_answer *answer, const char *what);

/* GET, answered with 200 and a JSON object, or explained. */
int ps_cli_get(struct ps_cli *cli, const char *path, const char *what,
               struct ps_cli_answer *answer);

/* Members of JSON; NULL or `otherwise` when missing or of another type. */
const char *ps_cli_text(const cJSON *object, const char *name);
double ps_cli_number(const cJSON *object, const char *name, double otherwise);
/* Text of others on a terminal: without control characters. */
void ps_cli_put(FILE *file, const char *text);

/* ---- jobs_bar.c ---- */

struct ps_cli_state {
    char id[64];
    char status[24];
    bool over;
    bool all_good; /* over, and everything succeeded */
    bool is_batch;
    uint64_t total; /* 0: not known yet */
    uint64_t completed;
    uint64_t failed;
    uint64_t tokens; /* of a job that runs */
};

#define PS_CLI_SAMPLES 16

struct ps_cli_bar {
    bool live;  /* a terminal: one line, drawn again and again */
    bool utf8;  /* it takes other characters than ASCII */
    bool color; /* and colours */
    bool drawn; /* a line stands there unfinished */
    int64_t began_us;
    int64_t told_us; /* plain: when the last line was written; 0: none */
    uint64_t told_done;
    char told_status[24];
    const char *told_note;
    struct {
        int64_t at_us;
        uint64_t done;
    } samples[PS_CLI_SAMPLES];
    size_t sample_count;
    int64_t latest_us; /* of the last answer */
    uint64_t latest_done;
};

void ps_cli_bar_begin(struct ps_cli_bar *bar);
/* Shows it; `fresh`: just answered, not the same once more; `note`, static or NULL, stands behind
 * it, such as "the gateway is away". */
void ps_cli_bar_show(struct ps_cli_bar *bar, const struct ps_cli_state *state, bool fresh,
                     const char *note);
/* Bytes of an upload. */
void ps_cli_bar_bytes(struct ps_cli_bar *bar, const char *what, uint64_t now, uint64_t total);
/* The line stays, the next thing written stands below it. */
void ps_cli_bar_end(struct ps_cli_bar *bar);
/* "3m 20s" */
void ps_cli_duration(char *ret, size_t size, double seconds);

/* ---- jobs_wait.c ---- */

/* "/v1/batches/ID", or "/jobs/ID" for a job or a batch of messages. False after a sentence: not an
 * id. */
bool ps_cli_id_path(const char *id, char *ret, size_t size);
/* Reads a batch or a job. False: it is neither. */
bool ps_cli_read_state(const cJSON *json, struct ps_cli_state *ret);
/* Asks until it is over; `answer` is then the last answer. 0, or an exit code. */
int ps_cli_wait(struct ps_cli *cli, const char *id, struct ps_cli_answer *answer,
                struct ps_cli_state *state);
/* After a wait: what failed, on stderr. PS_CLI_OK or PS_CLI_INCOMPLETE. */
int ps_cli_verdict(const struct ps_cli_state *state, const cJSON *json);

/* ---- jobs_submit.c, jobs_show.c, jobs_results.c: the commands ---- */

int ps_cli_submit(struct ps_cli *cli, const struct ps_cli_options *options);
int ps_cli_list(struct ps_cli *cli, const struct ps_cli_options *options);
int ps_cli_show(struct ps_cli *cli, const struct ps_cli_options *options);
int ps_cli_cancel(struct ps_cli *cli, const struct ps_cli_options *options);
int ps_cli_results(struct ps_cli *cli, const struct ps_cli_options *options);

/* Whether a --status is one. */
bool ps_cli_is_status(const char *word);
/* What came out of a batch or job that is over, to `output` (NULL: stdout). */
int ps_cli_write_results(struct ps_cli *cli, const cJSON *json, const char *output, bool errors);

#endif
