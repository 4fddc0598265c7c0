/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What came out of a batch or a job. A file is written beside its place and moved there when it is
 * whole, so that half of it never passes for all of it. A download that breaks off goes on where it
 * was: what the gateway keeps does not change.
 */

#define MOST_TRIES 6

struct output {
    struct ps_cli_sink sink;
    const char *path; /* NULL: stdout */
    char *part;       /* owned: what is being written */
};

static int open_output(struct output *output, const char *path)
{
    memset(output, 0, sizeof(*output));
    if (path == NULL || strcmp(path, "-") == 0) {
        output->sink.file = stdout;
        return PS_CLI_OK;
    }
    size_t size = strlen(path) + 6;
    struct stat info;
    output->path = path;
    output->part = ps_malloc(size);
    if (output->part == NULL) {
        return ps_cli_complain("memory is short");
    }
    /* A pipe or a device is written as it is. */
    bool special = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    (void)snprintf(output->part, size, "%s%s", path, special ? "" : ".part");
    int fd = open(output->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    output->sink.file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (output->sink.file == NULL) {
        (void)ps_cli_complain("%s: %s", output->part, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        ps_free(output->part);
        return PS_CLI_FAILED;
    }
    return PS_CLI_OK;
}

static int close_output(struct output *output, int result)
{
    int error = output->sink.failed ? errno : 0;

    if (output->path == NULL) {
        if (fflush(stdout) != 0 && error == 0) {
            error = errno;
        }
        return error != 0 ? ps_cli_complain("stdout: %s", strerror(error)) : result;
    }
    if (fclose(output->sink.file) != 0 && error == 0) {
        error = errno;
    }
    bool moves = strcmp(output->part, output->path) != 0;
    if (error == 0 && result == PS_CLI_OK && moves && rename(output->part, output->path) != 0) {
        error = errno;
    }
    if (error != 0) {
        result = ps_cli_complain("%s: %s", output->path, strerror(error));
    }
    if (result != PS_CLI_OK && moves) {
        (void)unlink(output->part);
    }
    ps_free(output->part);
    return result;
}

/* `id`: what is at `path`, to be named when it does not come. */
static int download(struct ps_cli *cli, const char *path, const char *id, struct output *output)
{
    struct ps_cli_answer answer;
    struct ps_cli_request request = {.method = "GET", .path = path, .sink = &output->sink};
    int result = PS_CLI_OK;

    for (unsigned attempt = 0;; attempt++) {
        ps_cli_ask(cli, &request, &answer);
        if (answer.end == PS_CLI_ANSWERED && answer.status == 200) {
            break;
        }
        if (output->sink.failed) {
            result = PS_CLI_FAILED; /* said when it is closed */
            break;
        }
        if (!ps_cli_may_help(&answer) || attempt + 1 == MOST_TRIES ||
            !ps_cli_pause(&answer, attempt)) {
            result = ps_cli_explain(cli, &answer, id);
            break;
        }
        ps_cli_answer_free(&answer);
    }
    ps_cli_answer_free(&answer);
    return result;
}

/* A job's result is in its object already: its text, or the JSON as it is. */
static int write_job(const struct ps_cli_state *state, const cJSON *json, const char *path,
                     bool errors)
{
    const cJSON *result = cJSON_GetObjectItemCaseSensitive(json, errors ? "error" : "result");
    const char *text = errors ? NULL : ps_cli_text(result, "text");
    struct output output;
    char *printed = NULL;

    if (cJSON_IsNull(result) || result == NULL) {
        (void)ps_cli_complain("%s has no %s", state->id, errors ? "error" : "result");
        return PS_CLI_INCOMPLETE;
    }
    if (text == NULL) {
        printed = cJSON_PrintUnformatted(result);
        text = printed != NULL ? printed : "";
    }
    int code = open_output(&output, path);
    if (code == PS_CLI_OK) {
        size_t len = strlen(text);
        output.sink.failed =
            fwrite(text, 1, len, output.sink.file) != len ||
            (len > 0 && text[len - 1] != '\n' && fputc('\n', output.sink.file) < 0);
        code = close_output(&output, PS_CLI_OK);
    }
    cJSON_free(printed);
    return code;
}

static int no_results(const struct ps_cli_state *state, bool errors)
{
    (void)ps_cli_complain("%s has no %s", state->id, errors ? "errors" : "results");
    return PS_CLI_INCOMPLETE;
}

/* Where the lines of a batch are. 0, or an exit code. */
static int path_of(struct ps_cli *cli, const struct ps_cli_state *state, const cJSON *json,
                   bool errors, char *ret, size_t size)
{
    if (state->id[0] == 'm') { /* of messages: errors stand among the results */
        (void)snprintf(ret, size, "/v1/messages/batches/%s/results", state->id);
        return errors ? no_results(state, true) : PS_CLI_OK;
    }
    const char *file_id = ps_cli_text(json, errors ? "error_file_id" : "output_file_id");
    if (file_id == NULL) {
        return no_results(state, errors);
    }
    if (strlen(file_id) > 64 || file_id[strspn(file_id, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-")] != '\0') {
        return ps_cli_complain("what answers at %s does not speak like Penstock", cli->shown);
    }
    (void)snprintf(ret, size, "/v1/files/%s/content", file_id);
    return PS_CLI_OK;
}

int ps_cli_write_results(struct ps_cli *cli, const cJSON *json, const char *output_path,
                         bool errors)
{
    struct ps_cli_state state;
    struct output output;

    if (!ps_cli_read_state(json, &state)) {
        return ps_cli_complain("what answers at %s does not speak like Penstock", cli->shown);
    }
    if (!state.is_batch) {
        return write_job(&state, json, output_path, errors);
    }
    char path[160];
    int result = path_of(cli, &state, json, errors, path, sizeof(path));
    if (result == PS_CLI_OK) {
        result = open_output(&output, output_path);
    }
    if (result != PS_CLI_OK) {
        return result;
    }
    return close_output(&output, download(cli, path, state.id, &output));
}

int ps_cli_results(struct ps_cli *cli, const struct ps_cli_options *options)
{
    struct ps_cli_answer answer;
    struct ps_cli_state state;
    char path[128];

    if (!ps_cli_id_path(options->operand, path, sizeof(path))) {
        return PS_CLI_USAGE;
    }
    int result = ps_cli_get(cli, path, options->operand, &answer);
    if (result == PS_CLI_OK && !ps_cli_read_state(answer.json, &state)) {
        result = ps_cli_complain("what answers at %s does not speak like Penstock", cli->shown);
    }
    if (result == PS_CLI_OK && !state.over) {
        result = ps_cli_complain("%s is %s; to wait for it: penstock jobs show %s --wait", state.id,
                                 state.status, state.id);
    } else if (result == PS_CLI_OK) {
        result = ps_cli_write_results(cli, answer.json, options->output, options->errors);
    }
    ps_cli_answer_free(&answer);
    return result;
}
