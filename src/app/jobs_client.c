/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include "penstock/base/mem.h"
#include "penstock/version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/*
 * One request at a time over one kept connection. What comes back is judged here, once: an answer,
 * no gateway, a cut. No proxy of the environment is used, and no redirect followed: the key goes
 * where the user said and nowhere else.
 */

#define DEFAULT_URL     "http://127.0.0.1:8080"
#define MOST_BODY       ((size_t)256 << 20)
#define MOST_KEY        4096
#define CONNECT_S       10L
#define SILENT_S        120L
#define LONGEST_PAUSE_S 60.0

/* ---- opening ---- */

static int no_memory(void)
{
    return ps_cli_complain("memory is short");
}

/* The key, without its last newline. NULL: none, or *ret_result after a sentence. */
static char *read_key_file(const char *path, int *ret_result)
{
    char *key = ps_calloc(1, MOST_KEY + 2);
    FILE *file = fopen(path, "re");

    *ret_result = PS_CLI_FAILED;
    if (key == NULL || file == NULL) {
        (void)ps_cli_complain("%s: %s", path, file == NULL ? strerror(errno) : "memory is short");
        ps_free(key);
        if (file != NULL) {
            (void)fclose(file);
        }
        return NULL;
    }
    size_t len = fread(key, 1, MOST_KEY + 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    len -= len > 0 && key[len - 1] == '\n';
    len -= len > 0 && key[len - 1] == '\r';
    key[len] = '\0';
    if (failed || len == 0 || len > MOST_KEY) {
        (void)ps_cli_complain("%s: this is no key (expected 1 to %d bytes)", path, MOST_KEY);
        explicit_bzero(key, MOST_KEY + 2);
        ps_free(key);
        return NULL;
    }
    *ret_result = PS_CLI_OK;
    return key;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

static int add_key(struct ps_cli *cli, const char *key)
{
    static const char name[] = "Authorization: Bearer ";

    if (!is_printable(key)) {
        return ps_cli_complain("the key holds control characters");
    }
    size_t size = sizeof(name) + strlen(key);
    char *line = ps_malloc(size);
    if (line == NULL) {
        return no_memory();
    }
    (void)snprintf(line, size, "%s%s", name, key);
    cli->headers = curl_slist_append(NULL, line);
    explicit_bzero(line, size);
    ps_free(line);
    return cli->headers != NULL ? PS_CLI_OK : no_memory();
}

static int read_key(struct ps_cli *cli, const char *key_file)
{
    const char *key = getenv("PENSTOCK_API_KEY");
    int result = PS_CLI_OK;

    if (key_file == NULL) {
        return key != NULL && key[0] != '\0' ? add_key(cli, key) : PS_CLI_OK;
    }
    char *read = read_key_file(key_file, &result);
    if (read != NULL) {
        result = add_key(cli, read);
        explicit_bzero(read, MOST_KEY + 2);
        ps_free(read);
    }
    return result;
}

/* "unix:/path", "http(s)://host[:port][/prefix]" */
static int read_url(struct ps_cli *cli, const char *url)
{
    size_t len = strlen(url);

    cli->shown = url;
    if (strncmp(url, "unix:", 5) == 0) {
        if (url[5] != '/' || curl_easy_setopt(cli->easy, CURLOPT_UNIX_SOCKET_PATH, url + 5) != 0) {
            (void)ps_cli_complain("%s: expected unix:/path", url);
            return PS_CLI_USAGE;
        }
        url = "http://localhost";
        len = strlen(url);
    } else if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) {
        (void)ps_cli_complain("%s: expected http://host:port, https://host:port or unix:/path",
                              url);
        return PS_CLI_USAGE;
    }
    if (strchr(url, '@') != NULL || strpbrk(url, "?# ") != NULL) {
        (void)ps_cli_complain("the URL holds more than scheme, host, port and path");
        return PS_CLI_USAGE;
    }
    while (len > 0 && url[len - 1] == '/') {
        len--;
    }
    cli->base = ps_strndup(url, len);
    return cli->base != NULL ? PS_CLI_OK : no_memory();
}

int ps_cli_open(struct ps_cli *cli, const struct ps_cli_options *options)
{
    const char *url = options->url != NULL ? options->url : getenv("PENSTOCK_URL");

    memset(cli, 0, sizeof(*cli));
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return no_memory();
    }
    cli->easy = curl_easy_init();
    if (cli->easy == NULL) {
        ps_cli_close(cli);
        return no_memory();
    }
    int result = read_url(cli, url != NULL && url[0] != '\0' ? url : DEFAULT_URL);
    if (result == PS_CLI_OK) {
        result = read_key(cli, options->key_file);
    }
    if (result == PS_CLI_OK && options->ca_file != NULL &&
        curl_easy_setopt(cli->easy, CURLOPT_CAINFO, options->ca_file) != CURLE_OK) {
        result = no_memory();
    }
    if (result != PS_CLI_OK) {
        ps_cli_close(cli);
    }
    return result;
}

void ps_cli_close(struct ps_cli *cli)
{
    for (struct curl_slist *line = cli->headers; line != NULL; line = line->next) {
        explicit_bzero(line->data, strlen(line->data));
    }
    curl_slist_free_all(cli->headers);
    curl_easy_cleanup(cli->easy);
    ps_free(cli->base);
    curl_global_cleanup();
    memset(cli, 0, sizeof(*cli));
}

/* ---- one request ---- */

struct transfer {
    struct ps_cli *cli;
    const struct ps_cli_request *request;
    struct ps_cli_answer *answer;
};

static bool write_sink(struct ps_cli_sink *sink, const char *ptr, size_t len)
{
    uint64_t known = sink->written > sink->seen ? sink->written - sink->seen : 0;
    size_t skip = known < len ? (size_t)known : len;

    sink->seen += len;
    if (fwrite(ptr + skip, 1, len - skip, sink->file) != len - skip) {
        sink->failed = true;
        return false;
    }
    sink->written += len - skip;
    return true;
}

static size_t on_body(char *ptr, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    struct ps_cli_answer *answer = transfer->answer;
    size_t len = size * count;
    long status = 0;

    (void)curl_easy_getinfo(transfer->cli->easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->request->sink != NULL && status / 100 == 2) {
        return write_sink(transfer->request->sink, ptr, len) ? len : 0;
    }
    ps_buf_append(&answer->body, ptr, len);
    return answer->body.failed ? 0 : len;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    const struct transfer *transfer = arg;
    const struct ps_cli_request *request = transfer->request;

    if (ps_cli_signal != 0) {
        return 1;
    }
    return request->progress != NULL
               ? request->progress(request->progress_arg, down_total, down, up_total, up)
               : 0;
}

static struct curl_slist *make_headers(const struct ps_cli *cli,
                                       const struct ps_cli_request *request)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    char line[160];

    if (headers != NULL && cli->headers != NULL) {
        headers = curl_slist_append(headers, cli->headers->data);
    }
    if (headers != NULL && request->json != NULL) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
    }
    if (headers != NULL && request->idempotency_key != NULL) {
        (void)snprintf(line, sizeof(line), "Idempotency-Key: %s", request->idempotency_key);
        headers = curl_slist_append(headers, line);
    }
    return headers;
}

static bool prepare(struct transfer *transfer, const char *url, struct curl_slist *headers)
{
    const struct ps_cli_request *request = transfer->request;
    CURL *easy = transfer->cli->easy;
    CURLcode failed = CURLE_OK;

    failed |= curl_easy_setopt(easy, CURLOPT_URL, url);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    failed |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "penstock-jobs/" PENSTOCK_VERSION);
    failed |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->cli->error);
    failed |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
    failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    failed |= curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    failed |= curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SILENT_S);
    failed |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    failed |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    failed |= curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    failed |= curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    failed |= curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
    failed |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L); /* forgets the last request's body */
    if (request->mime != NULL) {
        failed |= curl_easy_setopt(easy, CURLOPT_MIMEPOST, request->mime);
    } else if (request->json != NULL) {
        failed |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->json);
        failed |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(request->json));
    }
    failed |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    return failed == CURLE_OK;
}

static enum ps_cli_end classify(const struct transfer *transfer, CURLcode code)
{
    const struct ps_cli_sink *sink = transfer->request->sink;
    long status = transfer->answer->status;

    if (ps_cli_signal != 0) {
        return PS_CLI_STOPPED;
    }
    if (code == CURLE_OK) {
        return PS_CLI_ANSWERED;
    }
    if (transfer->answer->body.failed || (sink != NULL && sink->failed)) {
        return PS_CLI_BROKEN;
    }
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_GOT_NOTHING:
        return PS_CLI_NO_GATEWAY;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return status == 0 ? PS_CLI_NO_GATEWAY : PS_CLI_CUT;
    default:
        return PS_CLI_BROKEN;
    }
}

static void read_head(const struct ps_cli *cli, struct ps_cli_answer *answer)
{
    struct curl_header *header = NULL;
    char *type = NULL;
    char *end = NULL;

    (void)curl_easy_getinfo(cli->easy, CURLINFO_RESPONSE_CODE, &answer->status);
    if (curl_easy_getinfo(cli->easy, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL) {
        (void)snprintf(answer->type, sizeof(answer->type), "%s", type);
    }
    if (curl_easy_header(cli->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) == CURLHE_OK) {
        double seconds = strtod(header->value, &end);
        answer->retry_after_s = *end == '\0' && seconds > 0 ? seconds : 0;
    }
}

void ps_cli_ask(struct ps_cli *cli, const struct ps_cli_request *request,
                struct ps_cli_answer *answer)
{
    struct transfer transfer = {cli, request, answer};
    struct ps_buf url;

    memset(answer, 0, sizeof(*answer));
    ps_buf_init(&answer->body, MOST_BODY);
    cli->error[0] = '\0';
    if (request->sink != NULL) {
        request->sink->seen = 0;
    }
    ps_buf_init(&url, 65536);
    ps_buf_printf(&url, "%s%s", cli->base, request->path);
    ps_buf_byte(&url, '\0');
    struct curl_slist *headers = make_headers(cli, request);
    if (url.failed || headers == NULL || !prepare(&transfer, url.ptr, headers)) {
        (void)snprintf(cli->error, sizeof(cli->error), "memory is short");
        answer->end = PS_CLI_BROKEN;
    } else {
        CURLcode code = curl_easy_perform(cli->easy);
        read_head(cli, answer);
        answer->end = classify(&transfer, code);
        if (cli->error[0] == '\0' && code != CURLE_OK) {
            (void)snprintf(cli->error, sizeof(cli->error), "%s", curl_easy_strerror(code));
        }
    }
    (void)curl_easy_setopt(cli->easy, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(cli->easy, CURLOPT_MIMEPOST, NULL);
    if (headers != NULL && cli->headers != NULL && headers->next != NULL) {
        explicit_bzero(headers->next->data, strlen(headers->next->data));
    }
    curl_slist_free_all(headers);
    ps_buf_deinit(&url);
    ps_buf_byte(&answer->body, '\0');
    if (answer->end == PS_CLI_ANSWERED && !answer->body.failed && answer->body.len > 1 &&
        strncasecmp(answer->type, "application/json", 16) == 0) {
        answer->json = cJSON_ParseWithOpts(answer->body.ptr, NULL, 1);
    }
}

void ps_cli_answer_free(struct ps_cli_answer *answer)
{
    cJSON_Delete(answer->json);
    ps_buf_deinit(&answer->body);
    memset(answer, 0, sizeof(*answer));
}

/* ---- again ---- */

bool ps_cli_may_help(const struct ps_cli_answer *answer)
{
    if (answer->end == PS_CLI_NO_GATEWAY || answer->end == PS_CLI_CUT) {
        return true;
    }
    return answer->end == PS_CLI_ANSWERED &&
           (answer->status == 408 || answer->status == 429 || answer->status >= 502) &&
           answer->status <= 504;
}

bool ps_cli_pause(const struct ps_cli_answer *answer, unsigned attempt)
{
    double seconds = answer->retry_after_s;
    struct timespec left;

    if (seconds <= 0) {
        seconds = 0.25 * (double)(1u << (attempt < 4 ? attempt : 4));
    }
    seconds = seconds < LONGEST_PAUSE_S ? seconds : LONGEST_PAUSE_S;
    left.tv_sec = (time_t)seconds;
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    /* A signal cuts it short; SIGWINCH and its like do no harm. */
    (void)nanosleep(&left, NULL);
    return ps_cli_signal == 0;
}

/* ---- in words ---- */

void ps_cli_put(FILE *file, const char *text)
{
    struct ps_buf clean;

    ps_buf_init(&clean, (size_t)1 << 20);
    ps_buf_printable(&clean, ps_slice_cstr(text));
    if (clean.len > 0) {
        (void)fwrite(clean.ptr, 1, clean.len, file);
    }
    ps_buf_deinit(&clean);
}

const char *ps_cli_text(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

double ps_cli_number(const cJSON *object, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static void put_message(const struct ps_cli_answer *answer)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(answer->json, "error");
    const char *message = ps_cli_text(error, "message");

    if (message != NULL) {
        (void)fputs(": ", stderr);
        ps_cli_put(stderr, message);
    }
    (void)fputc('\n', stderr);
}

static int explain_status(const struct ps_cli *cli, const struct ps_cli_answer *answer,
                          const char *what)
{
    if (answer->status / 100 == 2 || answer->json == NULL ||
        !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(answer->json, "error"))) {
        (void)fprintf(stderr,
                      "penstock jobs: what answers at %s does not speak like Penstock "
                      "(status %ld, ",
                      cli->shown, answer->status);
        ps_cli_put(stderr, answer->type[0] != '\0' ? answer->type : "no content type");
        (void)fputs(")\n", stderr);
        return PS_CLI_FAILED;
    }
    if (answer->status == 401) {
        (void)fprintf(stderr, "penstock jobs: %s (PENSTOCK_API_KEY or --key-file)",
                      cli->headers == NULL ? "the gateway wants a key"
                                           : "the gateway does not take this key");
    } else if (answer->status == 404 && what != NULL) {
        (void)fprintf(stderr, "penstock jobs: there is no %s at %s", what, cli->shown);
    } else {
        (void)fprintf(stderr, "penstock jobs: the gateway refused (status %ld)", answer->status);
    }
    put_message(answer);
    return PS_CLI_FAILED;
}

int ps_cli_explain(const struct ps_cli *cli, const struct ps_cli_answer *answer, const char *what)
{
    switch (answer->end) {
    case PS_CLI_ANSWERED:
        return explain_status(cli, answer, what);
    case PS_CLI_STOPPED:
        return PS_CLI_SIGNAL + (int)ps_cli_signal;
    case PS_CLI_NO_GATEWAY:
        (void)ps_cli_complain("no gateway answers at %s: %s (--url or PENSTOCK_URL says where)",
                              cli->shown, cli->error);
        return PS_CLI_UNREACHABLE;
    case PS_CLI_CUT:
        return ps_cli_complain("the answer of %s was cut off: %s", cli->shown, cli->error);
    case PS_CLI_BROKEN:
        break;
    }
    return ps_cli_complain("%s: %s", cli->shown,
                           answer->body.failed ? "the answer is too large" : cli->error);
}

int ps_cli_get(struct ps_cli *cli, const char *path, const char *what, struct ps_cli_answer *answer)
{
    struct ps_cli_request request = {.method = "GET", .path = path};

    ps_cli_ask(cli, &request, answer);
    if (answer->end == PS_CLI_ANSWERED && answer->status == 200 && cJSON_IsObject(answer->json)) {
        return PS_CLI_OK;
    }
    return ps_cli_explain(cli, answer, what);
}
