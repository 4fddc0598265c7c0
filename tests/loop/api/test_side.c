/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "store/folder.h"
#include "testing.h"

#include "penstock/api/server.h"
#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/net/listener.h"
#include "penstock/upstream/upstream.h"

#include <uv.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The doors that wait for the store, on a real socket with a real store and nobody who runs jobs:
 * clients that leave at every moment, and every allocation of the loop failing once.
 */

#define BIG       200000 /* bytes of what lies in blobs */
#define MAX_ALLOC 500

static struct folder folder;
static struct ps_store *store;
static struct ps_pool *pool;
static struct ps_jobs *jobs;
static struct ps_id file_id;
static struct ps_id done_id; /* a completed job with a long result */
static struct ps_id queued_id;
static struct ps_id batch_id;
static struct ps_id short_response;
static struct ps_id long_response; /* so long that a thread reads it; its input has the short one's
                                      output */

struct world {
    struct ps_metrics *metrics;
    struct ps_gateway gateway;
    struct ps_loop loop;
    struct ps_mailbox mailbox;
    struct ps_gateway_loop gl;
    struct ps_server_shared shared;
    struct ps_server *server;
    int fd;
    uint16_t port;
    bool drained;
    bool home; /* the last command has come home, and with it all before it */
    bool closed;
    uv_timer_t tick;
};

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* only bounds how long a turn sleeps */
}

static void on_drained(void *arg)
{
    ((struct world *)arg)->drained = true;
}

static void on_home(struct ps_store_command *command)
{
    ((struct world *)command->user)->home = true;
    ps_store_command_free(command);
}

static void on_mailbox_closed(struct ps_mailbox *mailbox)
{
    PS_CONTAINER_OF(mailbox, struct world, mailbox)->closed = true;
}

static void world_open(struct world *w)
{
    static const char yaml[] =
        "providers: { nobody: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\", "
        "list_models: false } }\n"
        "default_model: nobody/m\n"
        "auth: none\n"
        "limits: { file_bytes: 1048576 }\n";
    char error[256];
    struct ps_config_errors errors;
    memset(w, 0, sizeof(*w));
    w->metrics = ps_metrics_new();
    assert_non_null(w->metrics);
    assert_int_equal(ps_gateway_init(&w->gateway, w->metrics), 0);
    assert_int_equal(ps_loop_init(&w->loop, 0, &w->gateway.budget), 0);
    assert_int_equal(ps_mailbox_init(&w->mailbox, &w->loop), 0);
    ps_config_errors_init(&errors);
    struct ps_config *config = ps_config_parse("test", PS_SLICE_LIT(yaml), NULL, NULL, 0, &errors);
    if (config == NULL) {
        fail_msg("%.*s", (int)errors.text.len, errors.text.ptr);
    }
    ps_config_errors_deinit(&errors);
    struct ps_snapshot *snapshot = ps_snapshot_new(&w->gateway, config, error, sizeof(error));
    assert_non_null(snapshot);
    assert_int_equal(ps_gateway_loop_init(&w->gl, &w->gateway, &w->loop,
                                          ps_metrics_shard_new(w->metrics), snapshot),
                     0);
    w->gl.mailbox = &w->mailbox;
    w->gateway.offload = pool;
    w->shared.jobs = jobs;
    w->server = ps_server_new(&w->gl, &w->shared);
    assert_non_null(w->server);
    w->fd = ps_listen_tcp("127.0.0.1", 0, error, sizeof(error));
    assert_true(w->fd >= 0);
    w->port = ps_listen_port(w->fd);
    assert_int_equal(ps_server_listen(w->server, w->fd, &config->listeners[0], NULL), 0);
    ps_snapshot_unref(snapshot);
    ps_config_unref(config);
    assert_int_equal(uv_timer_init(&w->loop.uv, &w->tick), 0);
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 2, 2), 0);
}

static void turn_until(struct world *w, const bool *flag)
{
    int64_t deadline = ps_clock_us() + 20000000;
    while (!*flag) {
        (void)ps_loop_turn(&w->loop, true);
        assert_true(ps_clock_us() < deadline);
    }
}

/* Answers of one thread of the store come in the order of the questions. */
static void come_home(struct world *w, enum ps_store_verb verb)
{
    struct ps_store_command *last = ps_store_command_new(verb);
    assert_non_null(last);
    last->user = w;
    w->home = false;
    ps_store_submit(store, last, &w->mailbox, on_home);
    turn_until(w, &w->home);
}

/* What the requests left behind comes home before the mailbox goes: of the thread that reads, and
 * of the one that writes. */
static void world_close(struct world *w)
{
    ps_server_abort(w->server);
    ps_server_drain(w->server, on_drained, w);
    turn_until(w, &w->drained);
    come_home(w, PS_STORE_COUNT);
    come_home(w, PS_STORE_RENEW);
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    ps_server_free(w->server);
    ps_mailbox_close(&w->mailbox, on_mailbox_closed);
    turn_until(w, &w->closed);
    uv_close((uv_handle_t *)&w->tick, NULL);
    ps_gateway_loop_deinit(&w->gl);
    ps_loop_deinit(&w->loop);
    assert_int_equal(atomic_load(&w->gateway.budget.used), 0);
    ps_gateway_deinit(&w->gateway);
    ps_metrics_free(w->metrics);
    assert_int_equal(close(w->fd), 0);
}

static int connect_to(const struct world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static bool sent_some(int fd, struct ps_slice *text)
{
    ssize_t sent = text->len > 0 ? send(fd, text->ptr, text->len, MSG_NOSIGNAL) : 0;
    if (sent > 0) {
        *text = ps_slice(text->ptr + sent, text->len - (size_t)sent);
    }
    return sent >= 0 || errno == EAGAIN;
}

/* Sends and reads until the connection ends, or a whole head has come where `head_only`; the
 * beginning of what came stands in `ret`. */
static size_t converse(struct world *w, int fd, struct ps_slice text, bool head_only, char *ret,
                       size_t size)
{
    size_t len = 0;
    int64_t deadline = ps_clock_us() + 20000000;
    for (;;) {
        char piece[65536];
        (void)sent_some(fd, &text); /* who is refused may be closed to */
        (void)ps_loop_turn(&w->loop, true);
        ssize_t got = recv(fd, piece, sizeof(piece), 0);
        if (got > 0) {
            size_t keep = len < size - 1 ? size - 1 - len : 0;
            keep = keep < (size_t)got ? keep : (size_t)got;
            memcpy(ret + len, piece, keep);
            len += keep;
            ret[len] = '\0';
            if (head_only && strstr(ret, "\r\n\r\n") != NULL) {
                return len;
            }
        } else if (got == 0 || errno != EAGAIN) {
            ret[len] = '\0';
            return len;
        }
        assert_true(ps_clock_us() < deadline);
    }
}

/* ---- requests ---- */

#define HOST             "Host: 127.0.0.1\r\nConnection: close\r\n"
#define FORM             "Content-Type: multipart/form-data; boundary=b\r\n"
#define PART(name, rest) "--b\r\nContent-Disposition: form-data; name=" name rest "\r\n\r\n"

struct request {
    const char *status;
    struct ps_buf text;
    bool endless; /* an event stream of a job that nobody runs */
};
static struct request requests[32];
static size_t request_count;

static struct ps_buf *add(const char *status, bool endless)
{
    struct request *request = &requests[request_count++];
    assert_true(request_count < sizeof(requests) / sizeof(requests[0]));
    request->status = status;
    request->endless = endless;
    ps_buf_init(&request->text, 1 << 21);
    return &request->text;
}

static void add_plain(const char *status, const char *method, const char *path, const char *id,
                      const char *behind)
{
    struct ps_buf *text = add(status, strcmp(behind, "/events") == 0 && id == queued_id.text);
    ps_buf_printf(text, "%s %s%s%s HTTP/1.1\r\n" HOST "\r\n", method, path, id, behind);
}

static void add_body(const char *status, const char *path, const char *headers, const char *before,
                     size_t filler, const char *behind)
{
    struct ps_buf *text = add(status, false);
    ps_buf_printf(text, "POST %s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n%s", path,
                  headers, strlen(before) + filler + strlen(behind), before);
    for (size_t i = 0; i < filler; i++) {
        ps_buf_byte(text, 'x');
    }
    ps_buf_cstr(text, behind);
    assert_false(text->failed);
}

/* A request that names items of kept responses, and perhaps a response. Nobody is there to be
 * asked: whoever gets so far gets a 502. */
static void add_response(const char *status, const char *before, const struct ps_id *holder,
                         const char *numbers)
{
    char text[1024];
    int len = snprintf(text, sizeof(text), "{\"previous_response_id\":%s%s%s,\"input\":[",
                       before != NULL ? "\"" : "", before != NULL ? before : "null",
                       before != NULL ? "\"" : "");
    for (const char *number = numbers; *number != '\0'; number++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len,
                        "%s{\"type\":\"item_reference\",\"id\":\"msg_%s_%c\"}",
                        number == numbers ? "" : ",", holder->text + 5, *number);
    }
    (void)snprintf(text + len, sizeof(text) - (size_t)len, "]}");
    add_body(status, "/v1/responses", "", text, 0, "");
}

static void make_requests(void)
{
    static char batch[256];
    (void)snprintf(batch, sizeof(batch),
                   "{\"input_file_id\":\"%s\",\"endpoint\":\"/v1/chat/completions\","
                   "\"completion_window\":\"24h\",\"metadata\":{\"a\":\"b\"}}",
                   file_id.text);
    add_plain("200", "GET", "/v1/files", "", "?limit=2&order=asc&purpose=batch");
    add_plain("200", "GET", "/v1/files/", file_id.text, "");
    add_plain("200", "GET", "/v1/files/", file_id.text, "/content");
    add_plain("404", "GET", "/v1/files/", "file-01arz3ndektsv4rrffq69g5fav", "/content");
    add_plain("404", "DELETE", "/v1/files/", "file-01arz3ndektsv4rrffq69g5fav", "");
    add_body("200", "/v1/files", FORM, PART("file", "; filename=a") "", 100,
             "\r\n" PART("purpose", "") "batch\r\n--b--");
    add_body("413", "/v1/files", FORM, PART("file", "; filename=a") "", 1048577, "\r\n--b--");
    add_body("400", "/v1/files", FORM, PART("file", "; filename=a") "", BIG, "\r\n--b--");
    add_body("200", "/v1/batches", "Idempotency-Key: k\r\n", batch, 0, "");
    add_body("400", "/v1/batches", "", "{\"endpoint\":7}", 0, "");
    add_plain("200", "GET", "/v1/batches", "", "");
    add_plain("200", "GET", "/v1/batches/", batch_id.text, "");
    add_body("202", "/generate", "", "{\"prompt\":\"", 10, "\",\"background\":true}");
    add_body("202", "/generate", "Prefer: respond-async\r\nContent-Type: text/plain\r\n", "", BIG,
             "");
    add_body("400", "/generate", "", "{\"prompt\":\"x\",\"background\":true,\"webhook\":\"y\"}", 0,
             "");
    add_plain("200", "GET", "/jobs", "", "?status=queued");
    add_plain("200", "GET", "/jobs/", done_id.text, "");
    add_plain("200", "GET", "/jobs/", done_id.text, "/events");
    add_plain("200", "GET", "/jobs/", batch_id.text, "");
    add_plain("409", "DELETE", "/jobs/", done_id.text, "");
    add_plain("200", "GET", "/jobs/", queued_id.text, "/events");
    struct ps_buf *text = add("200", false);
    ps_buf_printf(text, "GET /jobs/%s HTTP/1.1\r\n" HOST "Accept: text/plain\r\n\r\n",
                  done_id.text);
    add_plain("200", "GET", "/v1/responses/", long_response.text, "/input_items?order=asc&limit=1");
    add_response("502", NULL, &short_response, "00");
    add_response("502", NULL, &long_response, "0");
    add_response("404", NULL, &long_response, "01");
    add_response("502", long_response.text, &short_response, "0");
    add_response("404", "resp_01arz3ndektsv4rrffq69g5fav", &short_response, "0");
}

/* ---- tests ---- */

static void expect_status(const struct request *request, const char *got)
{
    char expected[32];
    (void)snprintf(expected, sizeof(expected), "HTTP/1.1 %s ", request->status);
    if (strncmp(got, expected, strlen(expected)) != 0) {
        fail_msg("%.60s: %s", request->text.ptr, got);
    }
}

static void each_request_gets_its_status(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    for (size_t i = 0; i < request_count; i++) {
        char text[8192];
        int fd = connect_to(&w);
        (void)converse(&w, fd, ps_buf_view(&requests[i].text), requests[i].endless, text,
                       sizeof(text));
        expect_status(&requests[i], text);
        (void)close(fd);
    }
    world_close(&w);
}

static void a_client_may_leave_after_any_number_of_turns(void **state)
{
    (void)state;
    for (size_t i = 0; i < request_count; i++) {
        struct world w;
        world_open(&w);
        for (int turns = 0; turns < 14; turns++) {
            struct ps_slice text = ps_buf_view(&requests[i].text);
            int fd = connect_to(&w);
            text.len = turns % 3 == 2 ? text.len / 2 : text.len;
            for (int k = 0; k <= turns; k++) {
                (void)sent_some(fd, &text);
                (void)ps_loop_turn(&w.loop, true);
            }
            if (turns % 2 == 0) {
                struct linger reset = {1, 0};
                (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            }
            (void)close(fd);
        }
        world_close(&w);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < request_count; i++) {
        bool failed = true;
        for (int64_t n = 0; failed && n < MAX_ALLOC; n++) {
            struct world w;
            char text[8192];
            world_open(&w);
            int fd = connect_to(&w);
            (void)ps_mem_fail_after(n);
            size_t len = converse(&w, fd, ps_buf_view(&requests[i].text), requests[i].endless, text,
                                  sizeof(text));
            failed = ps_mem_fail_after(-1) > n;
            if (!failed) {
                expect_status(&requests[i], text);
            } else if (len > 0) { /* an error, or as if nothing had been */
                assert_memory_equal(text, "HTTP/1.1 ", 9);
            }
            (void)close(fd);
            world_close(&w);
        }
        assert_false(failed);
    }
}

/* ---- what is there before ---- */

static struct ps_store_command *command_of(enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    assert_non_null(command);
    command->in.tenant = PS_SLICE_LIT("default");
    command->in.now_ms = ps_clock_wall_ms();
    return command;
}

static void do_it(struct ps_store_command *command)
{
    enum ps_store_status status = ps_store_do(store, command);
    if (status != PS_STORE_OK) {
        char why[256];
        ps_store_problem(store, why, sizeof(why));
        fail_msg("%s: %s", ps_store_status_name(status), why);
    }
}

static struct ps_blob_name make_blob(const char *before, const char *behind, uint64_t *ret_length)
{
    struct ps_blob_name name;
    static char filler[BIG];
    memset(filler, 'x', sizeof(filler));
    struct ps_blob_file *file = ps_blob_create(ps_store_blobs(store));
    assert_non_null(file);
    assert_int_equal(ps_blob_append(file, before, strlen(before)), 0);
    assert_int_equal(ps_blob_append(file, filler, sizeof(filler)), 0);
    assert_int_equal(ps_blob_append(file, behind, strlen(behind)), 0);
    *ret_length = ps_blob_length(file);
    assert_int_equal(ps_blob_commit(file, &name, NULL), 0);
    return name;
}

static void make_file(void)
{
    struct ps_store_command *command = command_of(PS_STORE_FILE_ADD);
    struct ps_store_file *file = &command->in.file;
    ps_id_make(&file_id, "file-");
    *file = (struct ps_store_file){
        .id = file_id,
        .tenant = command->in.tenant,
        .purpose = PS_SLICE_LIT("batch"),
        .filename = PS_SLICE_LIT("a b"),
        .created_ms = command->in.now_ms,
    };
    file->blob = make_blob("{", "}", &file->bytes);
    do_it(command);
    ps_store_command_free(command);
}

static void make_batch(void)
{
    struct ps_store_command *command = command_of(PS_STORE_BATCH_ADD);
    ps_id_make(&batch_id, "batch_");
    command->in.batch = (struct ps_store_batch){
        .id = batch_id,
        .tenant = command->in.tenant,
        .key = PS_SLICE_LIT("k"),
        .endpoint = PS_SLICE_LIT("/generate"),
        .input_file = file_id,
        .created_ms = command->in.now_ms,
        .expires_ms = command->in.now_ms + 86400000,
    };
    do_it(command);
    ps_store_command_free(command);
}

static void make_job(struct ps_id *ret)
{
    struct ps_store_command *command = command_of(PS_STORE_JOB_ADD);
    ps_id_make(ret, "job_");
    command->in.job = (struct ps_store_job){
        .id = *ret,
        .tenant = command->in.tenant,
        .key = PS_SLICE_LIT("k"),
        .endpoint = PS_SLICE_LIT("/generate"),
        .created_ms = command->in.now_ms,
        .expires_ms = command->in.now_ms + 86400000,
        .request = {.bytes = PS_SLICE_INIT("{}"), .length = 2},
    };
    do_it(command);
    ps_store_command_free(command);
}

static void complete_job(void)
{
    struct ps_store_command *take = command_of(PS_STORE_TAKE);
    take->in.lease_ms = 60000;
    take->in.limit = 1;
    do_it(take);
    assert_int_equal(take->out.claim_count, 1);
    struct ps_store_command *settle = command_of(PS_STORE_SETTLE);
    struct ps_store_settlement *end = &settle->in.settlement;
    end->id = take->out.claims[0].id;
    assert_string_equal(end->id.text, done_id.text);
    end->line = -1;
    end->fence = take->out.claims[0].fence;
    end->status = PS_JOB_COMPLETED;
    end->http_status = 200;
    end->body.blob = make_blob("{\"text\":\"", "\"}", &end->body.length);
    do_it(settle);
    ps_store_command_free(settle);
    ps_store_command_free(take);
}

/* `item`: of its input, whatever more it has. */
static void make_response(struct ps_id *ret, const struct ps_id *item, size_t filler)
{
    static const char form[] = "{\"type\":\"message\",\"id\":\"msg_%s_0\",\"role\":\"assistant\","
                               "\"content\":\"a\"}";
    struct ps_store_command *command = command_of(PS_STORE_OBJECT_PUT);
    struct ps_store_object *object = &command->in.object;
    struct ps_buf value;
    ps_id_make(ret, "resp_");
    ps_buf_init(&value, 1 << 21);
    ps_buf_cstr(&value, "{\"input\":[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < filler; i++) {
        ps_buf_byte(&value, 'x');
    }
    ps_buf_cstr(&value, "\"}");
    if (item != NULL) {
        ps_buf_byte(&value, ',');
        ps_buf_printf(&value, form, item->text + 5);
    }
    ps_buf_cstr(&value, "],\"response\":{\"output\":[");
    ps_buf_printf(&value, form, ret->text + 5);
    ps_buf_cstr(&value, "]}}");
    assert_false(value.failed);
    *object = (struct ps_store_object){
        .kind = PS_SLICE_LIT("response"),
        .tenant = command->in.tenant,
        .id = *ret,
        .value = ps_buf_view(&value),
        .created_ms = command->in.now_ms,
        .expires_ms = command->in.now_ms + 86400000,
    };
    do_it(command);
    ps_store_command_free(command);
    ps_buf_deinit(&value);
}

static int set_up(void **state)
{
    (void)state;
    ps_log_configure(PS_LOG_ERROR, PS_LOG_JSON);
    assert_int_equal(ps_upstream_global_init(), 0);
    assert_int_equal(ps_dialect_global_init(), 0);
    folder_make(&folder);
    struct ps_store_options options = {
        .url = "sqlite:jobs.db", .folder = folder.path, .reserve_bytes = 1, .reserve_percent = 101};
    store = ps_store_new(&options);
    pool = ps_pool_new(1, 16);
    assert_true(store != NULL && pool != NULL);
    jobs = ps_jobs_new(store, pool);
    assert_non_null(jobs);
    make_job(&done_id);
    complete_job();
    make_job(&queued_id);
    make_file();
    make_batch();
    make_response(&short_response, NULL, 10);
    make_response(&long_response, &short_response, 2 * BIG);
    make_requests();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < request_count; i++) {
        ps_buf_deinit(&requests[i].text);
    }
    ps_jobs_free(jobs);
    ps_store_free(store);
    ps_pool_free(pool);
    ps_dialect_global_deinit();
    ps_upstream_global_deinit();
    folder_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_gets_its_status),
        cmocka_unit_test(a_client_may_leave_after_any_number_of_turns),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
