/* SPDX-License-Identifier: Apache-2.0 */

/* Speed of the JSON scanner and the SSE splitter on texts of the kinds that a gateway meets. */

#include "penstock/base/json_scan.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"
#include "penstock/base/sse.h"

#include <stdio.h>
#include <string.h>

#define TEXT_SIZE ((size_t)4 * 1024 * 1024)
#define CHUNK     ((size_t)16 * 1024)
#define RUN_TIME  300000 /* µs of CPU for each line */

struct sample {
    const char *name;
    const char *head;
    const char *body; /* repeated */
    const char *tail;
};

static const struct sample samples[] = {
    {"prose", "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"",
     "The loop is never blocked, and that is the whole idea of this program. ", "\"}]}"},
    {"code in strings", "{\"messages\":[{\"role\":\"user\",\"content\":\"",
     "    if (x == \\\"y\\\") {\\n        return 1;\\n    }\\n", "\"}]}"},
    {"chinese", "{\"messages\":[{\"role\":\"user\",\"content\":\"",
     "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c\xe3\x80\x82", "\"}]}"},
    {"cyrillic", "{\"messages\":[{\"role\":\"user\",\"content\":\"",
     "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xd0\xbc\xd0\xb8\xd1\x80 ", "\"}]}"},
    {"messages", "{\"model\":\"m\",\"stream\":true,\"messages\":[",
     "{\"role\":\"user\",\"content\":\"Why is the sky blue?\"},", "{}]}"},
    {"watched structure", "{\"choices\":[",
     "{\"index\":0,\"delta\":{\"content\":\"ab\"},\"finish_reason\":null},", "{}]}"},
    {"structure", "{\"tools\":[", "{\"a\":[1,2,{\"b\":null}],\"c\":true,\"d\":{}},", "{}]}"},
    {"pretty structure", "{\"tools\":[\n",
     "        {\n            \"a\": [\n                1,\n                2\n            ],\n"
     "            \"c\": true\n        },\n",
     "{}]}"},
    {"floats", "{\"data\":[{\"embedding\":[", "-0.0123456789,0.9876543,", "0]}]}"},
    {"integers", "{\"data\":[{\"tokens\":[", "15339,1917,11,", "0]}]}"},
};

static const struct ps_json_path watched[] = {
    {"model", true},
    {"stream", true},
    {"messages", true},
    {"stream_options.include_usage", true},
    {"max_tokens", false},
    {"temperature", false},
    {"choices.*.index", false},
    {"choices.*.delta.content", false},
    {"choices.*.finish_reason", false},
    {"usage.total_tokens", false},
};

static bool count_value(void *arg, const struct ps_json_value *value)
{
    *(uint64_t *)arg += value->end - value->start;
    return true;
}

static char *make_text(const struct sample *sample, size_t *ret_len)
{
    char *text = ps_malloc(TEXT_SIZE + 1024);
    if (text == NULL) {
        return NULL;
    }
    size_t len = strlen(sample->head);
    memcpy(text, sample->head, len);
    while (len < TEXT_SIZE) {
        size_t body = strlen(sample->body);
        memcpy(text + len, sample->body, body);
        len += body;
    }
    memcpy(text + len, sample->tail, strlen(sample->tail));
    *ret_len = len + strlen(sample->tail);
    return text;
}

static bool scan_once(const struct ps_json_paths *paths, const char *text, size_t len,
                      uint64_t *reported)
{
    static const struct ps_json_limits limits = {64, UINT64_MAX};
    struct ps_json_scan scan;
    ps_json_scan_init(&scan, paths, &limits, count_value, reported);
    for (size_t at = 0; at < len; at += CHUNK) {
        ps_json_scan_feed(&scan, text + at, len - at < CHUNK ? len - at : CHUNK);
    }
    return ps_json_scan_finish(&scan) == PS_JSON_OK;
}

static void print_speed(const char *name, uint64_t bytes, int64_t time)
{
    printf("%-20s %8.0f MB/s\n", name, (double)bytes / (double)time);
}

static void bench_json(const struct ps_json_paths *paths, const struct sample *sample)
{
    size_t len;
    char *text = make_text(sample, &len);
    uint64_t reported = 0;
    uint64_t bytes = 0;
    int64_t begin = ps_clock_thread_cpu_us();
    int64_t now = begin;
    while (text != NULL && now - begin < RUN_TIME) {
        if (!scan_once(paths, text, len, &reported)) {
            printf("%s: the text was refused\n", sample->name);
            break;
        }
        bytes += len;
        now = ps_clock_thread_cpu_us();
    }
    print_speed(sample->name, bytes, now - begin);
    ps_free(text);
}

static bool count_event(void *arg, const struct ps_sse_event *event)
{
    *(uint64_t *)arg += event->data.len;
    return true;
}

/* A small event each, as a stream brings them: split, then scanned. */
struct chunk_bench {
    const struct ps_json_paths *paths;
    uint64_t reported;
    bool failed;
};

static bool scan_event(void *arg, const struct ps_sse_event *event)
{
    struct chunk_bench *bench = arg;
    if (event->has_data &&
        !scan_once(bench->paths, event->data.ptr, event->data.len, &bench->reported)) {
        bench->failed = true;
    }
    return true;
}

static void bench_sse(const char *name, ps_sse_event_fn on_event, void *arg)
{
    static const struct sample stream = {
        "", "",
        "data: "
        "{\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
        "\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        ""};
    size_t len;
    char *text = make_text(&stream, &len);
    uint64_t bytes = 0;
    struct ps_sse sse;
    ps_sse_init(&sse, 1 << 20, false, on_event, arg);
    int64_t begin = ps_clock_thread_cpu_us();
    int64_t now = begin;
    while (text != NULL && now - begin < RUN_TIME) {
        for (size_t at = 0; at < len; at += CHUNK) {
            ps_sse_feed(&sse, text + at, len - at < CHUNK ? len - at : CHUNK);
        }
        bytes += len;
        now = ps_clock_thread_cpu_us();
    }
    print_speed(name, bytes, now - begin);
    printf("%-20s %8.1f million events/s\n", "",
           (double)bytes / (double)strlen(stream.body) / (double)(now - begin));
    ps_sse_deinit(&sse);
    ps_free(text);
}

int main(void)
{
    struct ps_json_paths *paths = ps_json_paths_new(watched, sizeof(watched) / sizeof(watched[0]));
    if (paths == NULL) {
        return 1;
    }
    printf("struct ps_json_scan: %zu bytes\n", sizeof(struct ps_json_scan));
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        bench_json(paths, &samples[i]);
    }
    uint64_t counted = 0;
    bench_sse("sse", count_event, &counted);
    struct chunk_bench bench = {.paths = paths};
    bench_sse("sse and json", scan_event, &bench);
    ps_json_paths_free(paths);
    return bench.failed ? 1 : 0;
}
