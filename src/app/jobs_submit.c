/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include "penstock/base/id.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Uploads a file of requests as it is read, then makes a batch of it. What is wrong with the lines
 * is the gateway's to find; here only the first one is looked at, for the endpoint it names.
 *
 * The batch is asked for under an idempotency key, so that asking again, when the answer was lost,
 * does not make two.
 */

#define MOST_LINE  ((size_t)32 << 20)
#define MOST_TRIES 8

struct upload {
    FILE *file;         /* owned unless it is stdin */
    const char *name;   /* as the user says it */
    struct ps_buf read; /* what was read to see the first line */
    size_t sent;        /* of it */
    uint64_t passed;    /* bytes handed to curl in all */
    curl_off_t size;    /* -1: unknown */
    bool shorter;       /* the file ended before its size */
    bool failed;
    struct ps_cli_bar bar;
};

static int open_upload(struct upload *upload, const char *path)
{
    struct stat info;

    memset(upload, 0, sizeof(*upload));
    ps_buf_init(&upload->read, MOST_LINE);
    upload->size = -1;
    upload->name = strcmp(path, "-") == 0 ? "stdin" : path;
    upload->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (upload->file == NULL) {
        return ps_cli_complain("%s: %s", path, strerror(errno));
    }
    if (fstat(fileno(upload->file), &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            return ps_cli_complain("%s: this is a folder", upload->name);
        }
        if (S_ISREG(info.st_mode) && upload->file != stdin) {
            upload->size = info.st_size;
        }
    }
    return PS_CLI_OK;
}

static void close_upload(struct upload *upload)
{
    ps_buf_deinit(&upload->read);
    if (upload->file != NULL && upload->file != stdin) {
        (void)fclose(upload->file);
    }
}

/* ---- the first line ---- */

static bool is_blank(struct ps_slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (strchr(" \t\r\n", line.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Without a byte order mark; empty: there is none. -1 after a sentence. */
static int first_line(struct upload *upload, struct ps_slice *ret)
{
    size_t start = 0;

    for (;;) {
        int c = getc(upload->file);
        if (c != EOF) {
            ps_buf_byte(&upload->read, (char)c);
        }
        if (upload->read.failed) {
            return ps_cli_complain("%s: the first line is longer than 32 MiB", upload->name);
        }
        if (c != EOF && c != '\n') {
            continue;
        }
        *ret = ps_slice(upload->read.ptr + start, upload->read.len - start);
        if (start == 0 && ps_slice_starts(*ret, PS_SLICE_LIT("\xef\xbb\xbf"))) {
            *ret = ps_slice(ret->ptr + 3, ret->len - 3);
        }
        if (c == EOF || !is_blank(*ret)) {
            break;
        }
        start = upload->read.len;
    }
    if (ferror(upload->file) != 0) {
        return ps_cli_complain("%s: %s", upload->name, strerror(errno));
    }
    return PS_CLI_OK;
}

/* The url of the first line, copied. */
static int find_endpoint(struct upload *upload, char **ret)
{
    struct ps_slice line = PS_SLICE_NONE;
    int result = first_line(upload, &line);

    if (result != PS_CLI_OK) {
        return result;
    }
    if (is_blank(line)) {
        return ps_cli_complain("%s: there are no requests in it", upload->name);
    }
    cJSON *json = cJSON_ParseWithLength(line.ptr, line.len);
    const char *url = ps_cli_text(json, "url");
    if (url == NULL) {
        result = ps_cli_complain(
            "%s: the first line is %s", upload->name,
            json == NULL ? "not valid JSON" : "no request: it has no \"url\" (or say --endpoint)");
    } else {
        *ret = ps_strndup(url, strlen(url));
        result = *ret != NULL ? PS_CLI_OK : ps_cli_complain("memory is short");
    }
    cJSON_Delete(json);
    return result;
}

/* ---- the upload ---- */

static size_t on_read(char *room, size_t size, size_t count, void *arg)
{
    struct upload *upload = arg;
    size_t want = size * count;
    size_t got = 0;

    if (upload->sent < upload->read.len) {
        got = upload->read.len - upload->sent;
        got = got < want ? got : want;
        memcpy(room, upload->read.ptr + upload->sent, got);
        upload->sent += got;
    } else {
        got = fread(room, 1, want, upload->file);
        if (got == 0 && ferror(upload->file) != 0) {
            upload->failed = true;
            return CURL_READFUNC_ABORT;
        }
    }
    upload->passed += got;
    if (got == 0 && upload->size >= 0 && upload->passed < (uint64_t)upload->size) {
        upload->shorter = true;
        return CURL_READFUNC_ABORT;
    }
    return got;
}

static int on_uploaded(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct upload *upload = arg;

    (void)down_total;
    (void)down;
    if (up > 0) {
        ps_cli_bar_bytes(&upload->bar, "uploading", (uint64_t)up,
                         up_total > 0 ? (uint64_t)up_total : 0);
    }
    return 0;
}

static const char *base_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

static bool make_form(curl_mime *mime, struct upload *upload)
{
    curl_mimepart *purpose = mime != NULL ? curl_mime_addpart(mime) : NULL;
    curl_mimepart *file = purpose != NULL ? curl_mime_addpart(mime) : NULL;
    CURLcode failed = CURLE_OK;

    if (file == NULL) {
        return false;
    }
    failed |= curl_mime_name(purpose, "purpose");
    failed |= curl_mime_data(purpose, "batch", CURL_ZERO_TERMINATED);
    failed |= curl_mime_name(file, "file");
    failed |=
        curl_mime_filename(file, upload->file == stdin ? "stdin.jsonl" : base_name(upload->name));
    failed |= curl_mime_type(file, "application/jsonl");
    failed |= curl_mime_data_cb(file, upload->size, on_read, NULL, NULL, upload);
    return failed == CURLE_OK;
}

/* The id of the file, copied. */
static int send_file(struct ps_cli *cli, struct upload *upload, char **ret_id)
{
    curl_mime *mime = curl_mime_init(cli->easy);
    struct ps_cli_answer answer;
    struct ps_cli_request request = {
        .method = "POST",
        .path = "/v1/files",
        .mime = mime,
        .progress = on_uploaded,
        .progress_arg = upload,
    };
    int result = PS_CLI_FAILED;

    if (!make_form(mime, upload)) {
        curl_mime_free(mime);
        return ps_cli_complain("memory is short");
    }
    ps_cli_bar_begin(&upload->bar);
    ps_cli_ask(cli, &request, &answer);
    ps_cli_bar_end(&upload->bar);
    curl_mime_free(mime);
    const char *id = answer.status / 100 == 2 ? ps_cli_text(answer.json, "id") : NULL;
    if (upload->failed || upload->shorter) {
        (void)ps_cli_complain("%s: %s", upload->name,
                              upload->failed ? "it cannot be read to its end"
                                             : "it became shorter while it was read");
    } else if (id == NULL) {
        result = ps_cli_explain(cli, &answer, NULL);
    } else {
        *ret_id = ps_strndup(id, strlen(id));
        result = *ret_id != NULL ? PS_CLI_OK : ps_cli_complain("memory is short");
    }
    ps_cli_answer_free(&answer);
    return result;
}

/* ---- the batch ---- */

static bool write_batch(struct ps_buf *out, const struct ps_cli_options *options, const char *file,
                        const char *endpoint)
{
    ps_buf_cstr(out, "{\"input_file_id\":");
    ps_buf_json(out, ps_slice_cstr(file));
    ps_buf_cstr(out, ",\"endpoint\":");
    ps_buf_json(out, ps_slice_cstr(endpoint));
    ps_buf_cstr(out, ",\"completion_window\":");
    ps_buf_json(out, ps_slice_cstr(options->window != NULL ? options->window : "24h"));
    for (size_t i = 0; i < options->metadata_count; i++) {
        const char *pair = options->metadata[i];
        const char *equals = strchr(pair, '=');
        ps_buf_cstr(out, i == 0 ? ",\"metadata\":{" : ",");
        ps_buf_json(out, ps_slice(pair, (size_t)(equals - pair)));
        ps_buf_byte(out, ':');
        ps_buf_json(out, ps_slice_cstr(equals + 1));
    }
    ps_buf_cstr(out, options->metadata_count > 0 ? "}}" : "}");
    ps_buf_byte(out, '\0');
    return !out->failed;
}

/* Its upload is of no use without it. */
static void delete_file(struct ps_cli *cli, const char *file)
{
    char path[160];
    struct ps_cli_request request = {.method = "DELETE", .path = path};
    struct ps_cli_answer answer;

    if (strlen(file) < 100 && strpbrk(file, "/?#% ") == NULL) {
        (void)snprintf(path, sizeof(path), "/v1/files/%s", file);
        ps_cli_ask(cli, &request, &answer);
        ps_cli_answer_free(&answer);
    }
}

/* `answer` shows the batch afterwards. */
static int make_batch(struct ps_cli *cli, const struct ps_cli_options *options, const char *file,
                      const char *endpoint, struct ps_cli_answer *answer)
{
    struct ps_cli_state state;
    struct ps_buf body;
    struct ps_id key;
    int result = PS_CLI_OK;

    memset(answer, 0, sizeof(*answer));
    ps_id_make(&key, "cli_");
    ps_buf_init(&body, (size_t)1 << 20);
    if (!write_batch(&body, options, file, endpoint)) {
        ps_buf_deinit(&body);
        return ps_cli_complain("memory is short");
    }
    struct ps_cli_request request = {
        .method = "POST", .path = "/v1/batches", .json = body.ptr, .idempotency_key = key.text};
    for (unsigned attempt = 0;; attempt++) {
        ps_cli_ask(cli, &request, answer);
        if (answer->end == PS_CLI_ANSWERED && answer->status / 100 == 2 &&
            ps_cli_read_state(answer->json, &state)) {
            break;
        }
        if (!ps_cli_may_help(answer) || attempt + 1 == MOST_TRIES ||
            !ps_cli_pause(answer, attempt)) {
            result = ps_cli_explain(cli, answer, NULL);
            if (answer->end == PS_CLI_ANSWERED) {
                delete_file(cli, file);
            }
            break;
        }
        ps_cli_answer_free(answer);
    }
    ps_buf_deinit(&body);
    return result;
}

static int wait_and_write(struct ps_cli *cli, const struct ps_cli_options *options, const char *id)
{
    struct ps_cli_answer answer;
    struct ps_cli_state state;
    int result = ps_cli_wait(cli, id, &answer, &state);

    if (result == PS_CLI_OK) {
        result = ps_cli_verdict(&state, answer.json);
        if (ps_cli_text(answer.json, "output_file_id") != NULL) {
            int written = ps_cli_write_results(cli, answer.json, options->output, false);
            result = written != PS_CLI_OK ? written : result;
        }
    }
    ps_cli_answer_free(&answer);
    return result;
}

static int submit(struct ps_cli *cli, const struct ps_cli_options *options, struct upload *upload)
{
    struct ps_cli_answer answer = {.end = PS_CLI_BROKEN};
    struct ps_cli_state state;
    char *endpoint = NULL;
    char *file = NULL;
    int result = open_upload(upload, options->operand);

    if (result == PS_CLI_OK && options->endpoint == NULL) {
        result = find_endpoint(upload, &endpoint);
    }
    if (result == PS_CLI_OK) {
        result = send_file(cli, upload, &file);
    }
    if (result == PS_CLI_OK) {
        result = make_batch(cli, options, file,
                            options->endpoint != NULL ? options->endpoint : endpoint, &answer);
    }
    if (result == PS_CLI_OK && ps_cli_read_state(answer.json, &state)) {
        /* With --wait stdout is for the results. */
        FILE *to = options->wait ? stderr : stdout;
        (void)fprintf(to, "%s\n", state.id);
        (void)fflush(to);
        if (options->wait) {
            result = wait_and_write(cli, options, state.id);
        }
    }
    ps_cli_answer_free(&answer);
    ps_free(endpoint);
    ps_free(file);
    return result;
}

int ps_cli_submit(struct ps_cli *cli, const struct ps_cli_options *options)
{
    struct upload upload;
    int result = submit(cli, options, &upload);

    close_upload(&upload);
    return result;
}
