/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Opens streams of bench_upstream through a proxy, some number at once, and reads them all to their
 * end. A stream is complete when its bytes are the right ones and the last chunk came; where a door
 * of another family translates it, when the text in it is the right one. Prints one line of JSON:
 * how many were complete, wrong or cut, how many were open at most, the bytes of them, the time it
 * took, and the most memory the sampled processes had.
 *
 *   bench_streams --port 8080 --model stream-20-every-500 --pieces 20 --streams 9500 --open 9500
 *                 [--door /v1/messages] [--key KEY]
 *                 [--pid PID]...     (whose resident memory is sampled, as a sum)
 */

#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_BURST 64 /* per turn, so that the server's backlog is not what is measured */
#define PIDS_MAX      8
#define SAMPLE_MS     100

enum part {
    PART_HEAD,
    PART_SIZE,
    PART_DATA,
    PART_DATA_END,
    PART_LAST_END
};

struct stream {
    int fd;
    enum part part;
    uint64_t chunk_left; /* of this chunk, or the digits read so far */
    unsigned matched;    /* bytes of the blank line seen */
    bool extension;      /* inside a chunk extension */
    unsigned marked;     /* bytes of what stands before a text */
    bool in_text;
    uint64_t hash;
    uint64_t size;
    char status[16];
    unsigned status_size;
};

/* Doors whose bytes are not the upstream's: what stands before each piece of text, whose end is the
 * next quote. */
static const struct door {
    const char *path;
    const char *mark; /* NULL: all bytes are compared */
} doors[] = {
    {"/v1/chat/completions", NULL},
    {"/v1/messages", "\"text_delta\",\"text\":\""},
    {"/generate", "data: {\"text\":\""},
};

static struct {
    const struct door *door;
    const char *key;
    const char *model;
    uint16_t port;
    unsigned pieces;
    unsigned streams;
    unsigned open;
    long pids[PIDS_MAX];
    unsigned pid_count;
} options = {
    .door = doors, .port = 8080, .model = "stream-20", .pieces = 20, .streams = 1, .open = 1};

static struct {
    unsigned started, open, peak_open, complete, wrong, failed, connect_errors;
    uint64_t bytes;
    long peak_rss;
} totals;

static int poller;
static char request[2048];
static size_t request_size;
static uint64_t right_hash = WIRE_HASH_START;
static uint64_t right_size;

static void expect(const char *data, size_t size)
{
    right_hash = wire_hash(right_hash, data, size);
    right_size += size;
}

static void prepare(void)
{
    char event[WIRE_EVENT_MAX];
    for (unsigned i = 0; options.door->mark == NULL && i <= options.pieces + 1; i++) {
        expect(event, wire_event(event, i, options.pieces));
    }
    for (unsigned i = 1; options.door->mark != NULL && i <= options.pieces; i++) {
        expect(event, (size_t)snprintf(event, sizeof(event), WIRE_TEXT, i));
    }
    if (options.door->mark == NULL) {
        expect(WIRE_DONE, sizeof(WIRE_DONE) - 1);
    }

    char body[512];
    int body_size = snprintf(body, sizeof(body),
                             "{\"model\":\"%s\",\"max_tokens\":1000,\"stream\":true,"
                             "\"messages\":[{\"role\":\"user\","
                             "\"content\":\"Why is the sky blue?\"}]}",
                             options.model);
    request_size = (size_t)snprintf(request, sizeof(request),
                                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                                    "Content-Type: application/json\r\nAuthorization: Bearer %s\r\n"
                                    "Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%s",
                                    options.door->path, options.port, options.key, body_size, body);
}

static long read_rss(void)
{
    long sum = 0;
    for (unsigned i = 0; i < options.pid_count; i++) {
        char path[64];
        long pages = 0;
        snprintf(path, sizeof(path), "/proc/%ld/statm", options.pids[i]);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            if (fscanf(file, "%*s %ld", &pages) != 1) {
                pages = 0;
            }
            fclose(file);
        }
        sum += pages * (sysconf(_SC_PAGESIZE) / 1024);
    }
    return sum;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void sample(void)
{
    static time_t last_s;
    static long last_ms;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long ms = now.tv_nsec / 1000000;
    if ((now.tv_sec - last_s) * 1000 + ms - last_ms < SAMPLE_MS) {
        return;
    }
    last_s = now.tv_sec;
    last_ms = ms;
    long rss = read_rss();
    totals.peak_rss = rss > totals.peak_rss ? rss : totals.peak_rss;
}

static void reset(struct stream *stream)
{
    int fd = stream->fd;
    memset(stream, 0, sizeof(*stream));
    stream->fd = fd;
    stream->hash = WIRE_HASH_START;
}

static bool send_request(struct stream *stream)
{
    reset(stream);
    totals.started++;
    return send(stream->fd, request, request_size, MSG_NOSIGNAL) == (ssize_t)request_size;
}

static void shut(struct stream *stream)
{
    close(stream->fd);
    free(stream);
    totals.open--;
}

/* False when no further stream could be opened now. */
static bool open_stream(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        totals.connect_errors++;
        totals.started++;
        totals.failed++;
        return false;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct stream *stream = wire_alloc(sizeof(*stream));
    stream->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    totals.open++;
    totals.peak_open = totals.open > totals.peak_open ? totals.open : totals.peak_open;
    if (!send_request(stream)) {
        totals.failed++;
        shut(stream);
    }
    return true;
}

static void take_status(struct stream *stream, char c)
{
    if (stream->status_size < sizeof(stream->status) - 1) {
        stream->status[stream->status_size++] = c;
    }
}

/* One byte of the framing. */
static void take_frame(struct stream *stream, char c)
{
    static const char blank[] = "\r\n\r\n";
    if (stream->part == PART_HEAD || stream->part == PART_LAST_END) {
        take_status(stream, c);
        stream->matched = c == blank[stream->matched] ? stream->matched + 1 : (c == '\r');
        if (stream->matched == 4 && stream->part == PART_HEAD) {
            stream->part = PART_SIZE;
            stream->matched = 0;
        }
    } else if (stream->part == PART_DATA_END) {
        stream->part = c == '\n' ? PART_SIZE : PART_DATA_END;
        stream->chunk_left = 0;
    } else if (c == '\n') {
        stream->extension = false;
        stream->part = stream->chunk_left > 0 ? PART_DATA : PART_LAST_END;
        stream->matched = stream->chunk_left > 0 ? 0 : 2;
    } else if (c == ';') {
        stream->extension = true;
    } else if (c != '\r' && !stream->extension) {
        int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        stream->chunk_left = stream->chunk_left * 16 + (uint64_t)(digit & 15);
    }
}

static void take_bytes(struct stream *stream, const char *data, size_t size)
{
    stream->hash = wire_hash(stream->hash, data, size);
    stream->size += size;
}

/* The texts out of a translated stream. */
static void take_texts(struct stream *stream, const char *data, size_t size)
{
    const char *mark = options.door->mark;
    for (size_t at = 0; at < size; at++) {
        if (stream->in_text && data[at] != '"') {
            take_bytes(stream, &data[at], 1);
            continue;
        }
        if (!stream->in_text && data[at] == mark[stream->marked]) {
            stream->marked++;
        } else {
            stream->marked = !stream->in_text && data[at] == mark[0] ? 1 : 0;
        }
        stream->in_text = mark[stream->marked] == '\0';
    }
}

/* True when the last chunk has ended. */
static bool take(struct stream *stream, const char *data, size_t size)
{
    size_t at = 0;
    while (at < size && !(stream->part == PART_LAST_END && stream->matched == 4)) {
        if (stream->part != PART_DATA) {
            take_frame(stream, data[at]);
            at++;
            continue;
        }
        size_t part = size - at < stream->chunk_left ? size - at : (size_t)stream->chunk_left;
        (options.door->mark != NULL ? take_texts : take_bytes)(stream, data + at, part);
        stream->chunk_left -= part;
        at += part;
        if (stream->chunk_left == 0) {
            stream->part = PART_DATA_END;
        }
    }
    return stream->part == PART_LAST_END && stream->matched == 4;
}

static void on_ended(struct stream *stream)
{
    bool right = strncmp(stream->status, "HTTP/1.1 200", 12) == 0 && stream->hash == right_hash &&
                 stream->size == right_size;
    *(right ? &totals.complete : &totals.wrong) += 1;
    totals.bytes += stream->size;
    if (totals.started >= options.streams) {
        shut(stream);
    } else if (!send_request(stream)) {
        totals.failed++;
        shut(stream);
    }
}

static void on_readable(struct stream *stream)
{
    static char scratch[64 * 1024];
    ssize_t got = recv(stream->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        if (totals.failed < 3) {
            fprintf(stderr, "a stream was cut after %llu of %llu bytes (%.15s)\n",
                    (unsigned long long)stream->size, (unsigned long long)right_size,
                    stream->status);
        }
        totals.failed++;
        shut(stream);
    } else if (take(stream, scratch, (size_t)got)) {
        on_ended(stream);
    }
}

static void run(void)
{
    struct epoll_event events[256];
    bool opening = true;
    while (opening || totals.open > 0) {
        for (int i = 0; opening && i < CONNECT_BURST; i++) {
            opening = totals.open < options.open && totals.started < options.streams;
            if (opening && !open_stream()) {
                break;
            }
        }
        int ready = epoll_wait(poller, events, 256, opening ? 0 : SAMPLE_MS);
        for (int i = 0; i < ready; i++) {
            on_readable(events[i].data.ptr);
        }
        sample();
    }
}

static bool read_door(const char *path)
{
    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
        if (strcmp(doors[i].path, path) == 0) {
            options.door = &doors[i];
            return true;
        }
    }
    return false;
}

static bool read_options(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        unsigned long number = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(name, "--port") == 0) {
            options.port = (uint16_t)number;
        } else if (strcmp(name, "--model") == 0) {
            options.model = argv[i + 1];
        } else if (strcmp(name, "--door") == 0) {
            if (!read_door(argv[i + 1])) {
                return false;
            }
        } else if (strcmp(name, "--key") == 0) {
            options.key = argv[i + 1];
        } else if (strcmp(name, "--pieces") == 0) {
            options.pieces = (unsigned)number;
        } else if (strcmp(name, "--streams") == 0) {
            options.streams = (unsigned)number;
        } else if (strcmp(name, "--open") == 0) {
            options.open = (unsigned)number;
        } else if (strcmp(name, "--pid") == 0 && options.pid_count < PIDS_MAX) {
            options.pids[options.pid_count++] = (long)number;
        } else {
            return false;
        }
    }
    return argc % 2 == 1;
}

int main(int argc, char **argv)
{
    options.key = "none";
    if (!read_options(argc, argv)) {
        fputs("usage: bench_streams [--port N] [--model NAME] [--pieces N] [--streams N] "
              "[--open N] [--door PATH] [--key KEY] [--pid PID]...\n",
              stderr);
        return 2;
    }
    wire_raise_files();
    poller = epoll_create1(EPOLL_CLOEXEC);
    prepare();
    int64_t began = now_us();
    run();
    printf("{\"streams\":%u,\"complete\":%u,\"wrong\":%u,\"failed\":%u,\"connect_errors\":%u,"
           "\"peak_open\":%u,\"bytes\":%llu,\"took_us\":%lld,\"peak_rss_kib\":%ld}\n",
           options.streams, totals.complete, totals.wrong, totals.failed, totals.connect_errors,
           totals.peak_open, (unsigned long long)totals.bytes, (long long)(now_us() - began),
           totals.peak_rss);
    return totals.complete == options.streams ? 0 : 1;
}
