/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/log.h"
#include "penstock/telemetry/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The beginning of a small file in /proc, NUL-terminated; false when it cannot be read. */
static bool read_proc(const char *name, char *ret_text, size_t size)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0) {
        return false;
    }
    got = read(fd, ret_text, size - 1);
    (void)close(fd);
    if (got <= 0) {
        return false;
    }
    ret_text[got] = '\0';
    return true;
}

static bool read_memory(double *ret_bytes)
{
    char text[128];
    char *second;

    if (!read_proc("/proc/self/statm", text, sizeof(text))) {
        return false;
    }
    second = strchr(text, ' ');
    if (second == NULL) {
        return false;
    }
    *ret_bytes = (double)strtoull(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
    return true;
}

/* Linux tells the number as the folder's size since 6.2; before that it is 0, and they are counted.
 */
static bool count_fds(double *ret_count)
{
    struct stat st;
    size_t count = 0;
    DIR *dir;

    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        *ret_count = (double)st.st_size;
        return true;
    }
    dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return false;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    *ret_count = (double)count - 1; /* less the folder itself */
    return true;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Field 22 of /proc/self/stat is the start in ticks since boot; field 2 may hold spaces. */
static double read_start(void)
{
    char text[1024];
    char *at;
    struct timespec wall;
    struct timespec boot;
    double since_boot;

    if (!read_proc("/proc/self/stat", text, sizeof(text)) ||
        clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0) {
        return 0;
    }
    at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return 0;
    }
    since_boot = (double)strtoull(at, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
    return (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 +
           since_boot;
}

static void set(struct ps_metrics_shard *shard, enum ps_metric metric, double value)
{
    ps_series_set(ps_metrics_series(shard, metric, NULL), value);
}

static void show_process(void *arg, struct ps_metrics_shard *shard)
{
    static _Atomic(double) start; /* read once: the two clocks drift apart */
    struct rusage usage;
    double value;

    (void)arg;
    set(shard, PS_METRIC_LOG_DROPPED, (double)ps_log_dropped());
    if (read_memory(&value)) {
        set(shard, PS_METRIC_PROCESS_MEMORY, value);
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        set(shard, PS_METRIC_PROCESS_CPU, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
    if (count_fds(&value)) {
        set(shard, PS_METRIC_PROCESS_FDS, value);
    }
    if (!(start > 0)) {
        start = read_start();
    }
    if (start > 0) {
        set(shard, PS_METRIC_PROCESS_START, start);
    }
}

int ps_metrics_add_process(struct ps_metrics *metrics)
{
    return ps_metrics_on_render(metrics, show_process, NULL);
}
