/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include "penstock/dialect/dialect.h"
#include "penstock/engine/engine.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: penstock [serve] [-c FILE] [-m MODEL.gguf] [-l ADDRESS]   run the gateway\n"
    "       penstock check -c FILE                                   read the configuration, print "
    "what is in force\n"
    "       penstock jobs submit|list|show|cancel|results            long jobs of a running "
    "gateway; see its --help\n"
    "       penstock version                                         own version and every "
    "library's\n"
    "\n"
    "  -c, --config FILE     configuration (YAML); without it: 127.0.0.1:8080, the built-in model, "
    "and each\n"
    "                        provider whose usual key (OPENAI_API_KEY, …) is in the environment\n"
    "  -m, --model FILE      serve this GGUF model\n"
    "  -l, --listen ADDRESS  host:port, [v6]:port or unix:/path, instead of those in the "
    "configuration\n"
    "  -t, --test            the same as check\n"
    "  -V, --version         the same as version\n"
    "  -h, --help            this text\n"
    "\n"
    "signals: TERM, INT drain (a second one ends at once), HUP reloads, USR1 reopens log files\n";

void ps_arguments_help(void)
{
    (void)fputs(help, stdout);
}

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"model", required_argument, NULL, 'm'},
    {"listen", required_argument, NULL, 'l'},
    {"test", no_argument, NULL, 't'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int read_command(const char *word, enum ps_command *ret)
{
    static const struct {
        const char *word;
        enum ps_command command;
    } commands[] = {{"serve", PS_COMMAND_SERVE},
                    {"check", PS_COMMAND_CHECK},
                    {"version", PS_COMMAND_VERSION},
                    {"help", PS_COMMAND_HELP}};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(word, commands[i].word) == 0) {
            *ret = commands[i].command;
            return 0;
        }
    }
    (void)fprintf(
        stderr, "penstock: no command \"%s\" (serve, check, jobs, version); see penstock --help\n",
        word);
    return -1;
}

int ps_arguments_read(int argc, char **argv, struct ps_arguments *ret)
{
    *ret = (struct ps_arguments){.command = PS_COMMAND_SERVE};
    ret->overrides.dialects = ps_dialect_names();
    ret->overrides.builtin_model = ps_engine_has("llama");
    if (argc > 1 && strcmp(argv[1], "jobs") == 0) {
        ret->command = PS_COMMAND_JOBS; /* the rest is its own */
        return 0;
    }
    for (int option; (option = getopt_long(argc, argv, "c:m:l:tVh", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            ret->config = optarg;
            break;
        case 'm':
            ret->overrides.model_file = optarg;
            break;
        case 'l':
            ret->overrides.listen = optarg;
            break;
        case 't':
            ret->command = PS_COMMAND_CHECK;
            break;
        case 'V':
            ret->command = PS_COMMAND_VERSION;
            return 0;
        case 'h':
            ret->command = PS_COMMAND_HELP;
            return 0;
        default:
            (void)fputs("see penstock --help\n", stderr);
            return -1;
        }
    }
    if (optind < argc && read_command(argv[optind++], &ret->command) != 0) {
        return -1;
    }
    if (optind < argc) {
        (void)fprintf(stderr, "penstock: what is \"%s\" for? see penstock --help\n", argv[optind]);
        return -1;
    }
    return 0;
}
