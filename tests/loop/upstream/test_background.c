/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include <string.h>

/* Calls in the background: they wait behind all others and leave them places. */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* Every request waits for the gate of its number. */
static const struct fake_step *gated(void *arg, enum fake_moment moment, unsigned connection,
                                     unsigned request, const char *head)
{
    static const struct fake_step steps[] = {
        {FAKE_GATE, NULL, 1}, {FAKE_SEND, OK, 0}, {FAKE_END, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? steps : NULL;
}

static unsigned finished;

static void note_order(struct probe *probe, const char *what)
{
    if (strcmp(what, "end") == 0) {
        *(unsigned *)probe->user = ++finished;
    }
}

struct station {
    struct fake_http *server;
    struct bench bench;
    struct probe probes[8];
    unsigned order[8];
};

static void open_station(struct station *station, uint32_t connections, uint32_t queue)
{
    struct ps_upstream_options options;
    char url[64];
    memset(station, 0, sizeof(*station));
    finished = 0;
    station->server = fake_http_start(gated, NULL);
    bench_options(&options, url, sizeof(url), fake_http_port(station->server));
    options.max_connections = connections;
    options.max_queue = queue;
    bench_open(&station->bench, station->server, &options);
}

static void start(struct station *station, unsigned number, bool background)
{
    struct ps_call_request request;
    struct probe *probe = &station->probes[number];
    probe_request(&request);
    request.background = background;
    probe_init(probe, &station->bench);
    probe->on_event = note_order;
    probe->user = &station->order[number];
    probe_start(probe, &request);
}

static void expect(struct station *station, uint64_t active, uint64_t queued)
{
    struct ps_upstream_stats stats;
    ps_upstream_shared_stats(station->bench.shared, &stats);
    assert_int_equal(stats.active, active);
    assert_int_equal(stats.queued, queued);
}

static void close_station(struct station *station)
{
    expect(station, 0, 0);
    bench_close(&station->bench);
    fake_http_stop(station->server);
}

static void a_part_stays_free(void **state)
{
    static const struct {
        uint32_t connections;
        unsigned background; /* places that calls in the background get */
    } rows[] = {{1, 1}, {2, 1}, {3, 2}, {4, 3}, {8, 6}};
    struct station station;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        open_station(&station, rows[i].connections, 8);
        for (unsigned k = 0; k < 7; k++) {
            start(&station, k, true);
        }
        expect(&station, rows[i].background, 7 - rows[i].background);
        start(&station, 7, false);
        bool alone = rows[i].connections == 1;
        expect(&station, rows[i].background + (alone ? 0 : 1),
               7 - rows[i].background + (alone ? 1 : 0));
        fake_http_open(station.server, 1);
        bench_until(&station.bench, finished == 8);
        close_station(&station);
    }
}

static void live_calls_go_first(void **state)
{
    struct station station;
    (void)state;
    open_station(&station, 1, 8);
    start(&station, 0, true);
    start(&station, 1, true);
    start(&station, 2, true);
    start(&station, 3, false);
    start(&station, 4, false);
    expect(&station, 1, 4);
    fake_http_open(station.server, 1);
    bench_until(&station.bench, finished == 5);
    assert_int_equal(station.order[0], 1);
    assert_int_equal(station.order[3], 2);
    assert_int_equal(station.order[4], 3);
    assert_int_equal(station.order[1], 4);
    assert_int_equal(station.order[2], 5);
    close_station(&station);
}

static void each_queue_has_its_own_length(void **state)
{
    struct station station;
    (void)state;
    open_station(&station, 1, 2);
    for (unsigned k = 0; k < 4; k++) {
        start(&station, k, true);
    }
    for (unsigned k = 4; k < 7; k++) {
        start(&station, k, false);
    }
    bench_until(&station.bench, finished == 2);
    assert_int_equal(station.probes[3].end, PS_CALL_QUEUE_FULL);
    assert_int_equal(station.probes[6].end, PS_CALL_QUEUE_FULL);
    fake_http_open(station.server, 1);
    bench_until(&station.bench, finished == 7);
    close_station(&station);
}

/* The live call at the head was all that kept the background waiting. */
static void the_last_live_call_leaves(void **state)
{
    struct station station;
    (void)state;
    open_station(&station, 2, 8);
    start(&station, 0, false);
    start(&station, 1, false);
    start(&station, 2, false);
    start(&station, 3, true);
    expect(&station, 2, 2);
    ps_call_cancel(station.probes[0].call);
    ps_call_cancel(station.probes[1].call);
    bench_until(&station.bench, fake_http_requests(station.server) >= 1);
    ps_call_cancel(station.probes[2].call);
    fake_http_open(station.server, 1);
    bench_until(&station.bench, finished == 1);
    assert_int_equal(station.probes[3].ends, 1);
    assert_int_equal(station.probes[3].status, 200);
    close_station(&station);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_stays_free),
        cmocka_unit_test(live_calls_go_first),
        cmocka_unit_test(each_queue_has_its_own_length),
        cmocka_unit_test(the_last_live_call_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
