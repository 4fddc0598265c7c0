/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/world.h"
#include "testing.h"

#include "penstock/base/buf.h"
#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Batches: validated, run line by line, their files made. */

#define LARGE       200000
#define EMPTY_TASKS 50001

static char large_body[LARGE + 64];

static const struct world_script scripts[] = {
    {"good", {{200, NULL, NULL, false}}},
    {"wrong", {{400, NULL, "{\"error\":\n {\"message\":\"no\"}}\n", false}}},
    {"html", {{404, NULL, "<html>\n\"gone\"</html>", false}}},
    {"large", {{200, NULL, large_body, false}}},
    {"slow", {{0, NULL, NULL, false}}},
    {"tight",
     {{429, "Retry-After: 0.02\r\n", "{}", false},
      {429, NULL, "{}", false},
      {200, NULL, NULL, false}}},
    {NULL, {{0, NULL, NULL, false}}},
};

#define LINE(id, model)                                                                            \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":"     \
    "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}}"

static unsigned count_lines(const char *text)
{
    unsigned count = 0;
    for (const char *at = strchr(text, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
        count++;
    }
    return count;
}

/* Each line is JSON, and the last one is ended. */
static void check_jsonl(const char *text)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    while (*text != '\0') {
        const char *end = strchr(text, '\n');
        assert_non_null(end);
        assert_int_equal(
            ps_json_scan_text(ps_slice(text, (size_t)(end - text)), NULL, &limits, NULL, NULL),
            PS_JSON_OK);
        text = end + 1;
    }
}

/* The line with this custom_id, in a static buffer; NULL: none. */
static const char *line_of(const char *text, const char *custom_id)
{
    static char line[LARGE + 1024];
    char mark[128];
    (void)snprintf(mark, sizeof(mark), "\"custom_id\":\"%s\"", custom_id);
    const char *at = strstr(text, mark);
    if (at == NULL) {
        return NULL;
    }
    const char *begin = at;
    while (begin > text && begin[-1] != '\n') {
        begin--;
    }
    size_t len = strcspn(begin, "\n");
    assert_true(len < sizeof(line));
    memcpy(line, begin, len);
    line[len] = '\0';
    return line;
}

static void expect_part(const char *text, const char *part)
{
    if (text == NULL || strstr(text, part) == NULL) {
        fail_msg("%s is not in %s", part, text != NULL ? text : "nothing");
    }
}

struct files {
    char *output;
    char *error;
};

static struct files files_of(struct world *w, const char *id)
{
    const struct ps_store_batch *batch = world_see_batch(w, id);
    struct ps_id output = batch->output_file;
    struct ps_id error = batch->error_file;
    struct files files = {world_file(w, &output), world_file(w, &error)};
    check_jsonl(files.output);
    check_jsonl(files.error);
    return files;
}

static void free_files(struct files *files)
{
    free(files->output);
    free(files->error);
}

static void a_batch_end_to_end(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(
        &w, "batch_00000000000000000000000001", "/v1/chat/completions",
        "\xef\xbb\xbf" LINE("r-1", "good/m") "\r\n" LINE("r-2", "wrong/m") "\n" LINE(
            "r-3", "html/m") "\n" LINE("r\\u002d4 \\\"q\\\"", "plain") "\n" LINE("r-5", "nobody/m"),
        0);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_00000000000000000000000001", PS_BATCH_FAILED));
    expect_part(world_see_batch(&w, "batch_00000000000000000000000001")->errors.ptr,
                "model_not_found");
    world_batch(&w, "batch_00000000000000000000000002", "/v1/chat/completions",
                "\xef\xbb\xbf" LINE("r-1", "good/m") "\r\n" LINE("r-2", "wrong/m") "\n" LINE(
                    "r-3", "html/m") "\n" LINE("r\\u002d4 \\\"q\\\"", "plain"),
                0);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_00000000000000000000000002", PS_BATCH_COMPLETED));
    const struct ps_store_batch *batch = world_see_batch(&w, "batch_00000000000000000000000002");
    assert_int_equal(batch->total, 4);
    assert_int_equal(batch->completed, 2);
    assert_int_equal(batch->failed, 2);
    assert_int_equal(batch->input_tokens, 6);
    assert_int_equal(batch->output_tokens, 4);
    struct files files = files_of(&w, "batch_00000000000000000000000002");
    assert_int_equal(count_lines(files.output), 2);
    assert_int_equal(count_lines(files.error), 2);
    const char *line = line_of(files.output, "r-1");
    expect_part(line, "{\"id\":\"batch_req_00000000000000000000000002_0\",\"custom_id\":\"r-1\","
                      "\"response\":{\"status_code\":200,\"request_id\":\"req_");
    expect_part(line, ",\"body\":{\"id\":\"x\",\"object\":\"chat.completion\"");
    expect_part(line, "}},\"error\":null}");
    expect_part(line_of(files.output, "r-4 \\\"q\\\""), "_3\"");
    line = line_of(files.error, "r-2");
    expect_part(line, "\"status_code\":400,");
    expect_part(line, "\"body\":{\"error\": {\"message\":\"no\"}}},\"error\":null}");
    expect_part(line_of(files.error, "r-3"),
                "\"body\":\"<html>\\n\\\"gone\\\"</html>\"},\"error\":null}");
    free_files(&files);
    world_close(&w);
}

static void all_doors(void **state)
{
    static const struct {
        const char *endpoint;
        const char *body;
        const char *part;
    } rows[] = {
        {"/generate", "{\"prompt\":\"x\",\"model\":\"own/m\"}", "\"text\":"},
        {"/generate", "{\"prompt\":\"x\"}", "\"text\":\"hello\""},
        {"/v1/completions", "{\"prompt\":\"x\",\"model\":\"own/m\"}", "text_completion"},
        {"/v1/embeddings", "{\"input\":[\"x\",\"y\"],\"model\":\"own/m\"}", "\"embedding\":["},
    };
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char input[512];
        char id[32];
        (void)snprintf(id, sizeof(id), "batch_%zu", i);
        (void)snprintf(input, sizeof(input),
                       "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"%s\",\"body\":%s}\n\n",
                       rows[i].endpoint, rows[i].body);
        world_batch(&w, id, rows[i].endpoint, input, 0);
        WORLD_UNTIL(&w, world_batch_is(&w, id, PS_BATCH_COMPLETED));
        struct files files = files_of(&w, id);
        expect_part(files.output, rows[i].part);
        assert_int_equal(count_lines(files.output), 1);
        free_files(&files);
    }
    world_close(&w);
}

/* ---- faults of the content ---- */

static char *many_lines(unsigned count)
{
    struct ps_buf text;
    ps_buf_init(&text, (size_t)64 << 20);
    for (unsigned i = 0; i < count; i++) {
        ps_buf_printf(
            &text,
            "{\"custom_id\":\"%05u\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\","
            "\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}}\n",
            i);
    }
    ps_buf_byte(&text, '\0');
    assert_false(text.failed);
    char *copy = strdup(text.ptr);
    ps_buf_deinit(&text);
    return copy;
}

static void faults_are_named(void **state)
{
#define HEAD "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\""
#define GOOD LINE("good", "good/m") "\n"
    static const struct {
        const char *input;
        const char *errors; /* parts of it, in order, separated by '|' */
    } rows[] = {
        {"", "\"code\":\"empty_batch\"|\"param\":null,\"line\":null"},
        {"\n \r\n", "empty_batch"},
        {GOOD "no json\n", "\"code\":\"invalid_json_line\"|\"line\":2}"},
        {GOOD "[]\n", "invalid_json_line|\"line\":2"},
        {GOOD "{\"custom_id\":\n", "invalid_json_line|\"line\":2"},
        {GOOD "\n" LINE("b", "good/m"), "invalid_json_line|empty|\"line\":2"},
        {GOOD "{} {}\n", "invalid_json_line|\"line\":2"},
        {GOOD "{\"custom_id\":\"\xff\"}\n", "invalid_json_line|UTF-8|\"line\":2"},
        {"{\"custom_id\":\"a\",\"custom_id\":\"b\"}\n", "invalid_json_line|duplicate key"},
        {GOOD LINE("b", "good/m") "\n" GOOD, "duplicate_custom_id|custom_id|\"line\":3"},
        {GOOD LINE("goo\\u0064", "good/m"), "duplicate_custom_id|custom_id|\"line\":2"},
        {"{\"method\":\"POST\"}", "invalid_request|\"param\":\"custom_id\",\"line\":1"},
        {LINE("", "good/m"), "invalid_request|\"param\":\"custom_id\",\"line\":1"},
        {"{\"custom_id\":7}", "invalid_request|\"param\":\"custom_id\",\"line\":1"},
        {"{\"custom_id\":\"a\",\"method\":\"GET\"}", "invalid_request|\"param\":\"method\""},
        {"{\"custom_id\":\"a\",\"method\":\"POST\"}", "invalid_request|\"param\":\"url\""},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{}}",
         "url_mismatch|\"param\":\"url\",\"line\":1"},
        {HEAD "}", "invalid_request|\"param\":\"body\""},
        {HEAD ",\"body\":[]}", "invalid_request|\"param\":\"body\""},
        {HEAD ",\"body\":{\"stream\":true}}", "invalid_request|\"param\":\"body.stream\""},
        {HEAD ",\"body\":{\"model\":7}}", "invalid_request|\"param\":\"body.model\""},
        {HEAD ",\"body\":{\"model\":\"nobody\"}}",
         "model_not_found|nobody|\"param\":\"body.model\",\"line\":1"},
        {"x\ny\nz\n", "\"line\":1}|\"line\":2}|\"line\":3}]"},
#undef HEAD
    };
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char id[32];
        char parts[256];
        char *rest = NULL;
        (void)snprintf(id, sizeof(id), "batch_%zu", i);
        world_batch(&w, id, "/v1/chat/completions", rows[i].input, 0);
        WORLD_UNTIL(&w, world_batch_is(&w, id, PS_BATCH_FAILED));
        const struct ps_store_batch *batch = world_see_batch(&w, id);
        char *errors = strndup(batch->errors.ptr, batch->errors.len);
        const char *at = errors;
        (void)snprintf(parts, sizeof(parts), "%s", rows[i].errors);
        for (char *part = strtok_r(parts, "|", &rest); part != NULL;
             part = strtok_r(NULL, "|", &rest)) {
            expect_part(at, part);
            at = strstr(at, part) + strlen(part);
        }
        assert_int_equal(errors[0], '[');
        assert_int_equal(batch->output_file.text[0], '\0');
        free(errors);
    }
    assert_int_equal(world_calls("good"), 0); /* no line has run */
    world_close(&w);
}

static void at_most_a_hundred_faults(void **state)
{
    struct world w;
    char input[401];
    (void)state;
    for (int i = 0; i < 200; i++) {
        memcpy(input + 2 * i, "x\n", 2);
    }
    input[400] = '\0';
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions", input, 0);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_FAILED));
    const struct ps_store_batch *batch = world_see_batch(&w, "batch_1");
    char *errors = strndup(batch->errors.ptr, batch->errors.len);
    expect_part(errors, "\"line\":100}]");
    assert_null(strstr(errors, "\"line\":101"));
    free(errors);
    world_close(&w);
}

static void too_many_lines(void **state)
{
    struct world w;
    char *input = many_lines(EMPTY_TASKS);
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions", input, 0);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_FAILED));
    const struct ps_store_batch *batch = world_see_batch(&w, "batch_1");
    expect_part(batch->errors.ptr, "too_many_tasks");
    free(input);
    world_close(&w);
}

/* ---- what comes between ---- */

static void a_large_answer_goes_through_a_file(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions", LINE("a", "large/m") "\n", 0);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_COMPLETED));
    struct files files = files_of(&w, "batch_1");
    assert_true(strlen(files.output) > LARGE);
    expect_part(files.output, "zzzz\"}]}},\"error\"");
    free_files(&files);
    world_close(&w);
}

static void many_lines_of_several_batches(void **state)
{
    struct world w;
    char *input = many_lines(2500);
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions", input, 0);
    world_batch(&w, "batch_2", "/v1/chat/completions", input, 0);
    free(input);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_COMPLETED));
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_2", PS_BATCH_COMPLETED));
    for (int i = 1; i <= 2; i++) {
        struct files files = files_of(&w, i == 1 ? "batch_1" : "batch_2");
        assert_int_equal(count_lines(files.output), 2500);
        assert_non_null(line_of(files.output, "00000"));
        assert_non_null(line_of(files.output, "02499"));
        free_files(&files);
    }
    assert_int_equal(world_calls("good"), 5000);
    world_close(&w);
}

static void a_tight_model_is_waited_for(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions",
                LINE("1", "tight/m") "\n" LINE("2", "tight/m") "\n" LINE("3", "tight/m") "\n" LINE(
                    "4", "tight/m") "\n" LINE("5", "tight/m") "\n" LINE("6", "tight/m"),
                0);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_COMPLETED));
    assert_int_equal(world_see_batch(&w, "batch_1")->completed, 6);
    assert_int_equal(world_calls("tight"), 8);
    world_close(&w);
}

static void a_batch_is_cancelled(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions",
                LINE("1", "slow/m") "\n" LINE("2", "slow/m") "\n" LINE("3", "slow/m") "\n" LINE(
                    "4", "slow/m") "\n" LINE("5", "slow/m") "\n" LINE("6", "slow/m"),
                0);
    WORLD_UNTIL(&w, world_calls("slow") == 4); /* so many slots there are */
    world_cancel(&w, PS_STORE_BATCH_CANCEL, "batch_1");
    WORLD_UNTIL(&w, w.gl.exchange_count == 4);
    for (int i = 0; i < 50; i++) {
        world_turn(&w);
    }
    assert_true(world_batch_is(&w, "batch_1", PS_BATCH_CANCELLING));
    world_gate();
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_CANCELLED));
    const struct ps_store_batch *batch = world_see_batch(&w, "batch_1");
    assert_int_equal(batch->completed, 4); /* what was in flight may end */
    assert_int_equal(batch->canceled, 2);
    assert_int_equal(world_calls("slow"), 4);
    struct files files = files_of(&w, "batch_1");
    assert_int_equal(count_lines(files.output), 4);
    assert_int_equal(count_lines(files.error), 2);
    expect_part(files.error, "\"response\":null,\"error\":{\"code\":\"batch_cancelled\"");
    free_files(&files);
    world_close(&w);
}

static void a_window_closes(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions",
                LINE("1", "good/m") "\n" LINE("2", "slow/m") "\n" LINE("3", "slow/m") "\n" LINE(
                    "4", "slow/m") "\n" LINE("5", "slow/m") "\n" LINE("6", "slow/m"),
                800);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_EXPIRED));
    const struct ps_store_batch *batch = world_see_batch(&w, "batch_1");
    assert_int_equal(batch->completed, 1);
    assert_int_equal(batch->expired, 5);
    struct files files = files_of(&w, "batch_1");
    assert_int_equal(count_lines(files.output), 1);
    assert_int_equal(count_lines(files.error), 5);
    expect_part(files.error, "\"response\":null,\"error\":{\"code\":\"batch_expired\"");
    free_files(&files);
    world_close(&w);
}

/* Stopped at many moments, begun again each time: everything is there once. */
static void stops_and_starts(void **state)
{
    struct world w;
    char *input = many_lines(300);
    (void)state;
    world_open(&w);
    world_batch(&w, "batch_1", "/v1/chat/completions", input, 0);
    free(input);
    for (int turns = 1; turns < 30; turns += 3) {
        world_start(&w);
        for (int i = 0; i < turns; i++) {
            world_turn(&w);
        }
        world_stop(&w, turns % 2 == 0);
    }
    world_start(&w);
    WORLD_UNTIL(&w, world_batch_is(&w, "batch_1", PS_BATCH_COMPLETED));
    struct files files = files_of(&w, "batch_1");
    assert_int_equal(count_lines(files.output), 300);
    for (unsigned i = 0; i < 300; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%05u", i);
        assert_non_null(line_of(files.output, id));
    }
    free_files(&files);
    world_close(&w);
}

static int set_up(void **state)
{
    static const char head[] = "{\"choices\":[{\"text\":\"";
    (void)state;
    memset(large_body, 'z', LARGE);
    memcpy(large_body, head, sizeof(head) - 1);
    memcpy(large_body + LARGE, "\"}]}", 5);
    world_set_up(scripts);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_tear_down();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_end_to_end),
        cmocka_unit_test(all_doors),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(at_most_a_hundred_faults),
        cmocka_unit_test(too_many_lines),
        cmocka_unit_test(a_large_answer_goes_through_a_file),
        cmocka_unit_test(many_lines_of_several_batches),
        cmocka_unit_test(a_tight_model_is_waited_for),
        cmocka_unit_test(a_batch_is_cancelled),
        cmocka_unit_test(a_window_closes),
        cmocka_unit_test(stops_and_starts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
