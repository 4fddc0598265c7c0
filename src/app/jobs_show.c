/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include <string.h>
#include <time.h>

/* list, show, cancel: what the gateway says of batches and jobs, as a table, in lines, or as it
 * said it. */

#define MOST_LIST 10000
#define PAGE      100

static const char *const job_words[] = {"queued", "running", NULL};
static const char *const batch_words[] = {"validating", "in_progress", "finalizing", "cancelling",
                                          NULL};
static const char *const both_words[] = {"completed", "failed", "cancelled", "expired", NULL};

static bool is_among(const char *word, const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool ps_cli_is_status(const char *word)
{
    return is_among(word, job_words) || is_among(word, batch_words) || is_among(word, both_words);
}

/* ---- times ---- */

static void put_time(char *ret, size_t size, double seconds)
{
    time_t when = (time_t)(seconds > 0 && seconds < 1e11 ? seconds : 0);
    struct tm parts;

    if (gmtime_r(&when, &parts) == NULL || strftime(ret, size, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
        ret[0] = '\0';
    }
}

/* ---- list ---- */

/* A batch of messages as Anthropic shows it gets the members that a job has, as /jobs/{id} would
 * say them, so that one table holds both. */
static void read_messages(cJSON *item)
{
    const cJSON *counts = cJSON_GetObjectItemCaseSensitive(item, "request_counts");
    const char *at = ps_cli_text(item, "created_at");
    const char *word = ps_cli_text(item, "processing_status");
    double good = ps_cli_number(counts, "succeeded", 0);
    double expired = ps_cli_number(counts, "expired", 0);
    double bad = ps_cli_number(counts, "errored", 0) + ps_cli_number(counts, "canceled", 0);
    cJSON *progress = cJSON_AddObjectToObject(item, "progress");
    struct tm parts = {0};

    if (word != NULL && strcmp(word, "ended") == 0) {
        word = ps_cli_text(item, "cancel_initiated_at") != NULL ? "cancelled"
               : expired > 0                                    ? "expired"
                                                                : "completed";
    } else {
        word = "running";
    }
    (void)cJSON_AddStringToObject(item, "status", word);
    (void)cJSON_AddStringToObject(item, "endpoint", "/v1/messages");
    (void)cJSON_AddNumberToObject(progress, "total",
                                  ps_cli_number(counts, "processing", 0) + good + bad + expired);
    (void)cJSON_AddNumberToObject(progress, "completed", good);
    (void)cJSON_AddNumberToObject(progress, "failed", bad + expired);
    if (at != NULL && strptime(at, "%Y-%m-%dT%H:%M:%S", &parts) != NULL) {
        (void)cJSON_ReplaceItemInObjectCaseSensitive(item, "created_at",
                                                     cJSON_CreateNumber((double)timegm(&parts)));
    }
}

/* Moves the wanted items of a page to `found`. Returns how many of the page there were; `last` is
 * the last id. */
static long take_page(cJSON *page, const char *status, long room, cJSON *found, char *last,
                      size_t last_size)
{
    cJSON *data = cJSON_GetObjectItemCaseSensitive(page, "data");
    long count = 0;

    while (cJSON_GetArraySize(data) > 0) {
        struct ps_cli_state state;
        cJSON *item = cJSON_DetachItemFromArray(data, 0);
        count++;
        if (ps_cli_text(item, "processing_status") != NULL) {
            read_messages(item);
        }
        if (!ps_cli_read_state(item, &state)) {
            cJSON_Delete(item);
            continue;
        }
        (void)snprintf(last, last_size, "%s", state.id);
        if (room > 0 && (status == NULL || strcmp(status, state.status) == 0)) {
            (void)cJSON_AddItemToArray(found, item);
            room--;
        } else {
            cJSON_Delete(item);
        }
    }
    return count;
}

/* All of one door, page by page. `after`: the parameter that turns the page. */
static int collect(struct ps_cli *cli, const char *door, const char *after, const char *status,
                   long limit, cJSON *found)
{
    char last[64] = "";
    int wanted = (int)limit;
    int before = cJSON_GetArraySize(found);

    for (;;) {
        struct ps_cli_answer answer;
        char path[256];
        int len = snprintf(path, sizeof(path), "%s?limit=%d", door,
                           limit < PAGE && status == NULL ? wanted : PAGE);
        if (last[0] != '\0') {
            (void)snprintf(path + len, sizeof(path) - (size_t)len, "&%s=%s", after, last);
        }
        int result = ps_cli_get(cli, path, NULL, &answer);
        if (result != PS_CLI_OK) {
            ps_cli_answer_free(&answer);
            return result;
        }
        if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(answer.json, "data"))) {
            ps_cli_answer_free(&answer);
            return ps_cli_complain("what answers at %s does not speak like Penstock", cli->shown);
        }
        bool more = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer.json, "has_more"));
        long had = cJSON_GetArraySize(found) - before;
        long count = take_page(answer.json, status, limit - had, found, last, sizeof(last));
        ps_cli_answer_free(&answer);
        if (!more || count == 0 || cJSON_GetArraySize(found) - before >= wanted) {
            return PS_CLI_OK;
        }
    }
}

static double created(const cJSON *item)
{
    return ps_cli_number(item, "created_at", 0);
}

enum {
    BATCHES,
    MESSAGES,
    JOBS,
    LISTS
};

/* The newest of what is left, which all doors give newest first. */
static cJSON *pick(cJSON *const lists[LISTS])
{
    cJSON *newest = NULL;

    for (int i = 0; i < LISTS; i++) {
        cJSON *item = cJSON_GetArrayItem(lists[i], 0);
        newest =
            item != NULL && (newest == NULL || created(item) > created(newest)) ? item : newest;
    }
    for (int i = 0; i < LISTS && newest != NULL; i++) {
        if (cJSON_GetArrayItem(lists[i], 0) == newest) {
            return cJSON_DetachItemFromArray(lists[i], 0);
        }
    }
    return NULL;
}

static void put_row(const cJSON *item)
{
    struct ps_cli_state state;
    char when[32];
    char done[48];

    if (!ps_cli_read_state(item, &state)) {
        return;
    }
    put_time(when, sizeof(when), created(item));
    (void)snprintf(done, sizeof(done), "%llu/%llu",
                   (unsigned long long)(state.completed + state.failed),
                   (unsigned long long)state.total);
    (void)printf("%-32s  %-11s  %13s  %7llu  %s  ", state.id, state.status, done,
                 (unsigned long long)state.failed, when);
    const char *endpoint = ps_cli_text(item, "endpoint");
    ps_cli_put(stdout, endpoint != NULL ? endpoint : "");
    (void)putchar('\n');
}

static void put_json(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    if (text != NULL) {
        (void)printf("%s\n", text);
        cJSON_free(text);
    }
}

int ps_cli_list(struct ps_cli *cli, const struct ps_cli_options *options)
{
    const char *status = options->status;
    long limit = options->limit > 0 ? options->limit : 20;
    cJSON *lists[LISTS];
    int result = PS_CLI_OK;
    cJSON *item;

    for (int i = 0; i < LISTS; i++) {
        lists[i] = cJSON_CreateArray();
    }
    limit = limit < MOST_LIST ? limit : MOST_LIST;
    if (status == NULL || !is_among(status, job_words)) {
        result = collect(cli, "/v1/batches", "after", status, limit, lists[BATCHES]);
    }
    if (result == PS_CLI_OK && (status == NULL || !is_among(status, batch_words))) {
        result = collect(cli, "/jobs", "after", status, limit, lists[JOBS]);
    }
    if (result == PS_CLI_OK && (status == NULL || !is_among(status, batch_words))) {
        result = collect(cli, "/v1/messages/batches", "after_id", status, limit, lists[MESSAGES]);
    }
    if (result == PS_CLI_OK && !options->json) {
        (void)printf("%-32s  %-11s  %13s  %7s  %-19s  %s\n", "ID", "STATUS", "DONE", "FAILED",
                     "CREATED (UTC)", "ENDPOINT");
    }
    for (long i = 0; result == PS_CLI_OK && i < limit && (item = pick(lists)) != NULL; i++) {
        if (options->json) {
            put_json(item);
        } else {
            put_row(item);
        }
        cJSON_Delete(item);
    }
    for (int i = 0; i < LISTS; i++) {
        cJSON_Delete(lists[i]);
    }
    return result;
}

/* ---- show ---- */

static void put_line(const char *name, const char *text)
{
    if (text != NULL) {
        (void)printf("  %-10s ", name);
        ps_cli_put(stdout, text);
        (void)putchar('\n');
    }
}

static void put_when(const cJSON *json, const char *name, const char *label)
{
    double seconds = ps_cli_number(json, name, 0);
    char when[40];

    if (seconds > 0) {
        put_time(when, sizeof(when) - 5, seconds);
        (void)snprintf(when + strlen(when), 5, " UTC");
        put_line(label, when);
    }
}

static void put_state(const cJSON *json, const struct ps_cli_state *state)
{
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(json, "usage");
    const cJSON *item = NULL;
    char text[160];

    (void)printf("%s  %s\n", state->id, state->status);
    put_line("endpoint", ps_cli_text(json, "endpoint"));
    put_line("model", ps_cli_text(json, "model"));
    if (state->is_batch) {
        (void)snprintf(text, sizeof(text), "%llu: %llu completed, %llu failed",
                       (unsigned long long)state->total, (unsigned long long)state->completed,
                       (unsigned long long)state->failed);
        put_line("requests", text);
    }
    if (ps_cli_number(usage, "total_tokens", 0) > 0) {
        (void)snprintf(text, sizeof(text), "%.0f in, %.0f out",
                       ps_cli_number(usage, "input_tokens", 0),
                       ps_cli_number(usage, "output_tokens", 0));
        put_line("tokens", text);
    }
    put_when(json, "created_at", "created");
    put_when(json, "in_progress_at", "started");
    put_when(json, "started_at", "started");
    put_when(json, "completed_at", "completed");
    put_when(json, "failed_at", "failed");
    put_when(json, "cancelled_at", "cancelled");
    put_when(json, "expired_at", "expired");
    put_when(json, "ended_at", "ended");
    if (!state->over) {
        put_when(json, "expires_at", "expires");
    }
    put_line("input", ps_cli_text(json, "input_file_id"));
    put_line("output", ps_cli_text(json, "output_file_id"));
    put_line("errors", ps_cli_text(json, "error_file_id"));
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "metadata"))
    {
        if (cJSON_IsString(item) && item->string != NULL) {
            (void)snprintf(text, sizeof(text), "%s=%s", item->string, item->valuestring);
            put_line("metadata", text);
        }
    }
}

int ps_cli_show(struct ps_cli *cli, const struct ps_cli_options *options)
{
    struct ps_cli_answer answer;
    struct ps_cli_state state;
    char path[128];
    int result;

    if (!ps_cli_id_path(options->operand, path, sizeof(path))) {
        return PS_CLI_USAGE;
    }
    if (options->wait) {
        result = ps_cli_wait(cli, options->operand, &answer, &state);
    } else {
        result = ps_cli_get(cli, path, options->operand, &answer);
        if (result == PS_CLI_OK && !ps_cli_read_state(answer.json, &state)) {
            result = ps_cli_complain("what answers at %s does not speak like Penstock", cli->shown);
        }
    }
    if (result == PS_CLI_OK) {
        if (options->json) {
            (void)printf("%s\n", answer.body.ptr); /* as it came */
        } else {
            put_state(answer.json, &state);
        }
        (void)fflush(stdout);
        if (options->wait || state.over) {
            int verdict = ps_cli_verdict(&state, answer.json);
            result = options->wait ? verdict : PS_CLI_OK;
        }
    }
    ps_cli_answer_free(&answer);
    return result;
}

/* ---- cancel ---- */

int ps_cli_cancel(struct ps_cli *cli, const struct ps_cli_options *options)
{
    struct ps_cli_answer answer;
    struct ps_cli_state state;
    char path[160];

    if (!ps_cli_id_path(options->operand, path, sizeof(path))) {
        return PS_CLI_USAGE;
    }
    bool is_batch = strncmp(options->operand, "batch_", 6) == 0;
    struct ps_cli_request request = {.method = is_batch ? "POST" : "DELETE", .path = path};
    if (is_batch) {
        request.json = "{}";
        (void)snprintf(path + strlen(path), sizeof(path) - strlen(path), "/cancel");
    }
    ps_cli_ask(cli, &request, &answer);
    int result = PS_CLI_OK;
    if (answer.end == PS_CLI_ANSWERED && answer.status / 100 == 2 &&
        ps_cli_read_state(answer.json, &state)) {
        (void)printf("%s %s\n", state.id, state.status);
    } else {
        result = ps_cli_explain(cli, &answer, options->operand);
    }
    ps_cli_answer_free(&answer);
    return result;
}
