/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The words of `penstock jobs …`. */

#define WHERE                                                                                      \
    "  --url URL         the gateway: http://host:port, https://… or unix:/path\n"               \
    "                    (PENSTOCK_URL; http://127.0.0.1:8080)\n"                                  \
    "  --key-file FILE   the key, for gateways that want one (or PENSTOCK_API_KEY)\n"              \
    "  --ca-file FILE    authorities that may sign the gateway's certificate\n"                    \
    "  -h, --help        this text\n"

#define EXITS                                                                                      \
    "\n"                                                                                           \
    "exit codes: 0 all is well, 1 refused or a file that cannot be used, 2 wrong usage,\n"         \
    "            3 it ended but not all of it succeeded, 4 no gateway there, 130 Ctrl-C\n"

static const char help_all[] =
    "usage: penstock jobs submit FILE.jsonl [--wait]   a batch of requests, a line each\n"
    "       penstock jobs list                         batches and jobs, newest first\n"
    "       penstock jobs show ID [--wait]             how far it is\n"
    "       penstock jobs cancel ID\n"
    "       penstock jobs results ID                   what came out\n"
    "\n"
    "Each has a --help of its own. An ID begins with batch_, msgbatch_ or job_.\n"
    "\n" WHERE EXITS;

static const char help_submit[] =
    "usage: penstock jobs submit FILE.jsonl [options]\n"
    "\n"
    "Uploads the file and makes a batch of it. Each line is a request:\n"
    "  {\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{…}}\n"
    "FILE may be - for stdin. The batch's id goes to stdout; with --wait the results do.\n"
    "\n"
    "  --endpoint PATH   such as /v1/chat/completions; without it the url of the first line\n"
    "  --wait            until it ends, with the progress on stderr; then writes the results\n"
    "  --output FILE     results go there\n"
    "  --metadata K=V    kept with the batch; up to 16 times\n"
    "  --completion-window TIME   24h\n" WHERE EXITS;

static const char help_list[] =
    "usage: penstock jobs list [options]\n"
    "\n"
    "  --status STATUS   only these: queued, running, validating, in_progress, finalizing,\n"
    "                    cancelling, completed, failed, cancelled, expired\n"
    "  --limit N         at most so many (20)\n"
    "  --json            an object per line, as the gateway gives it\n" WHERE EXITS;

static const char help_show[] =
    "usage: penstock jobs show ID [options]\n"
    "\n"
    "  --wait            until it ends, with the progress on stderr. Ctrl-C ends the waiting only\n"
    "  --json            the object as the gateway gives it\n" WHERE EXITS;

static const char help_cancel[] = "usage: penstock jobs cancel ID [options]\n"
                                  "\n"
                                  "Lines that are under way may still end; those that are done "
                                  "stay.\n"
                                  "\n" WHERE EXITS;

static const char help_results[] =
    "usage: penstock jobs results ID [options]\n"
    "\n"
    "Of a batch: its output file, a line for each request that succeeded. Of a job: its text, or\n"
    "the JSON of its answer.\n"
    "\n"
    "  --errors          what did not succeed instead\n"
    "  --output FILE     write there; the file appears when it is whole\n" WHERE EXITS;

enum word {
    WORD_URL = 256,
    WORD_KEY_FILE,
    WORD_CA_FILE,
    WORD_KEY,
    WORD_ENDPOINT,
    WORD_WAIT,
    WORD_OUTPUT,
    WORD_METADATA,
    WORD_WINDOW,
    WORD_STATUS,
    WORD_LIMIT,
    WORD_JSON,
    WORD_ERRORS
};

#define COMMON                                                                                     \
    {"url", required_argument, NULL, WORD_URL},                                                    \
        {"key-file", required_argument, NULL, WORD_KEY_FILE},                                      \
        {"ca-file", required_argument, NULL, WORD_CA_FILE},                                        \
        {"key", required_argument, NULL, WORD_KEY},                                                \
        {"api-key", required_argument, NULL, WORD_KEY}, {"help", no_argument, NULL, 'h'},          \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

static const struct option submit_options[] = {
    {"endpoint", required_argument, NULL, WORD_ENDPOINT},
    {"wait", no_argument, NULL, WORD_WAIT},
    {"output", required_argument, NULL, WORD_OUTPUT},
    {"metadata", required_argument, NULL, WORD_METADATA},
    {"completion-window", required_argument, NULL, WORD_WINDOW},
    COMMON,
};
static const struct option list_options[] = {
    {"status", required_argument, NULL, WORD_STATUS},
    {"limit", required_argument, NULL, WORD_LIMIT},
    {"json", no_argument, NULL, WORD_JSON},
    COMMON,
};
static const struct option show_options[] = {
    {"wait", no_argument, NULL, WORD_WAIT},
    {"json", no_argument, NULL, WORD_JSON},
    COMMON,
};
static const struct option cancel_options[] = {COMMON};
static const struct option results_options[] = {
    {"errors", no_argument, NULL, WORD_ERRORS},
    {"output", required_argument, NULL, WORD_OUTPUT},
    COMMON,
};

static const struct command {
    const char *name;
    const char *operand; /* NULL: takes none */
    const char *help;
    const struct option *options;
    int (*run)(struct ps_cli *cli, const struct ps_cli_options *options);
} commands[] = {
    {"submit", "FILE", help_submit, submit_options, ps_cli_submit},
    {"list", NULL, help_list, list_options, ps_cli_list},
    {"show", "ID", help_show, show_options, ps_cli_show},
    {"cancel", "ID", help_cancel, cancel_options, ps_cli_cancel},
    {"results", "ID", help_results, results_options, ps_cli_results},
};

volatile sig_atomic_t ps_cli_signal;

int ps_cli_complain(const char *format, ...)
{
    va_list args;

    (void)fputs("penstock jobs: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return PS_CLI_FAILED;
}

static int misuse(const struct command *command, const char *what, const char *word)
{
    (void)ps_cli_complain("%s%s%s; see penstock jobs%s%s --help", what, word != NULL ? ": " : "",
                          word != NULL ? word : "", command != NULL ? " " : "",
                          command != NULL ? command->name : "");
    return PS_CLI_USAGE;
}

static int read_option(const struct command *command, int word, struct ps_cli_options *options)
{
    char *end = NULL;

    switch (word) {
    case WORD_URL:
        options->url = optarg;
        break;
    case WORD_KEY_FILE:
        options->key_file = optarg;
        break;
    case WORD_CA_FILE:
        options->ca_file = optarg;
        break;
    case WORD_KEY:
        return misuse(command,
                      "a key on the command line is seen by everybody on this machine; "
                      "use PENSTOCK_API_KEY or --key-file",
                      NULL);
    case WORD_ENDPOINT:
        options->endpoint = optarg;
        break;
    case WORD_WAIT:
        options->wait = true;
        break;
    case WORD_OUTPUT:
        options->output = optarg;
        break;
    case WORD_METADATA:
        if (strchr(optarg, '=') == NULL || optarg[0] == '=') {
            return misuse(command, "--metadata wants KEY=VALUE", optarg);
        }
        if (options->metadata_count == sizeof(options->metadata) / sizeof(options->metadata[0])) {
            return misuse(command, "--metadata at most 16 times", NULL);
        }
        options->metadata[options->metadata_count++] = optarg;
        break;
    case WORD_WINDOW:
        options->window = optarg;
        break;
    case WORD_STATUS:
        if (!ps_cli_is_status(optarg)) {
            return misuse(command, "no such status", optarg);
        }
        options->status = optarg;
        break;
    case WORD_LIMIT:
        options->limit = strtol(optarg, &end, 10);
        if (*end != '\0' || options->limit < 1 || options->limit > 10000) {
            return misuse(command, "--limit wants a number from 1 to 10000", optarg);
        }
        break;
    case WORD_JSON:
        options->json = true;
        break;
    case WORD_ERRORS:
        options->errors = true;
        break;
    default:
        return misuse(command, "what is this for", NULL);
    }
    return PS_CLI_OK;
}

/* 0, an exit code, or -1: help was asked for. */
static int read_options(const struct command *command, int argc, char **argv,
                        struct ps_cli_options *options)
{
    memset(options, 0, sizeof(*options));
    optind = 0; /* glibc: begin anew */
    for (int word; (word = getopt_long(argc, argv, "h", command->options, NULL)) != -1;) {
        if (word == 'h') {
            return -1;
        }
        int result = word == '?' ? PS_CLI_USAGE : read_option(command, word, options);
        if (result != PS_CLI_OK) {
            return result;
        }
    }
    options->operand = optind < argc ? argv[optind++] : NULL;
    if (options->operand != NULL && command->operand == NULL) {
        return misuse(command, "what is this for", options->operand);
    }
    if (optind < argc) {
        return misuse(command, "what is this for", argv[optind]);
    }
    if (options->operand == NULL && command->operand != NULL) {
        return misuse(command, "there is missing", command->operand);
    }
    if (options->output != NULL && command->run == ps_cli_submit && !options->wait) {
        return misuse(command, "--output is for the results, and needs --wait", NULL);
    }
    return PS_CLI_OK;
}

static void on_signal(int number)
{
    ps_cli_signal = number;
}

/* Without SA_RESTART, so that whoever sleeps or reads wakes up. */
static void hear_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    (void)sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void)sigaction(numbers[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
}

static int run(const struct command *command, const struct ps_cli_options *options)
{
    struct ps_cli cli;
    int result = ps_cli_open(&cli, options);

    if (result == PS_CLI_OK) {
        hear_signals();
        result = command->run(&cli, options);
        ps_cli_close(&cli);
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        result = result == PS_CLI_OK ? PS_CLI_FAILED : result;
    }
    return result;
}

int ps_cli_main(int argc, char **argv)
{
    struct ps_cli_options options;

    if (argc < 2) {
        (void)fputs(help_all, stderr);
        return PS_CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        (void)fputs(help_all, stdout);
        return PS_CLI_OK;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) != 0) {
            continue;
        }
        int result = read_options(&commands[i], argc - 1, argv + 1, &options);
        if (result == -1) {
            (void)fputs(commands[i].help, stdout);
            return PS_CLI_OK;
        }
        return result == PS_CLI_OK ? run(&commands[i], &options) : result;
    }
    return misuse(NULL, "no such command", argv[1]);
}
