/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_cli.h"

#include "penstock/base/clock.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * How far it is, on stderr. On a terminal one line is drawn again and again, as wide as the
 * terminal at that moment; nothing else of the terminal is changed, so that an end at any moment
 * leaves nothing to restore but the line. Otherwise plain lines, few of them.
 */

#define WINDOW_US     10000000 /* over which the rate is taken */
#define PLAIN_US      5000000  /* between two plain lines that say only numbers */
#define LONGEST_BAR   40
#define SHORTEST_BAR  8
#define USUAL_COLUMNS 80
#define LINE          512

void ps_cli_bar_begin(struct ps_cli_bar *bar)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");

    memset(bar, 0, sizeof(*bar));
    (void)setlocale(LC_CTYPE, "");
    bar->live =
        isatty(STDERR_FILENO) == 1 && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
    bar->color = bar->live && (no_color == NULL || no_color[0] == '\0');
    bar->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    bar->began_us = ps_clock_us();
}

static size_t columns(void)
{
    struct winsize size;
    const char *said = getenv("COLUMNS");

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    long number = said != NULL ? strtol(said, NULL, 10) : 0;
    return number > 0 && number < 10000 ? (size_t)number : USUAL_COLUMNS;
}

void ps_cli_duration(char *ret, size_t size, double seconds)
{
    long long s = seconds < 0 || seconds > 1e9 ? 0 : (long long)(seconds + 0.5);

    if (s < 60) {
        (void)snprintf(ret, size, "%llds", s);
    } else if (s < 3600) {
        (void)snprintf(ret, size, "%lldm %02llds", s / 60, s % 60);
    } else {
        (void)snprintf(ret, size, "%lldh %02lldm", s / 3600, s / 60 % 60);
    }
}

/* ---- the rate ---- */

/* One sample a second is enough; the oldest one tells where the window begins. */
static void sample(struct ps_cli_bar *bar, int64_t now_us, uint64_t done)
{
    size_t count = bar->sample_count;

    bar->latest_us = now_us;
    bar->latest_done = done;
    if (count > 0 && now_us - bar->samples[count - 1].at_us < WINDOW_US / PS_CLI_SAMPLES) {
        return;
    }
    if (count == PS_CLI_SAMPLES) {
        memmove(&bar->samples[0], &bar->samples[1], sizeof(bar->samples[0]) * (count - 1));
        count--;
    }
    bar->samples[count].at_us = now_us;
    bar->samples[count].done = done;
    bar->sample_count = count + 1;
}

/* Lines per second lately, as of the last answer. Negative: not known. */
static double rate_of(const struct ps_cli_bar *bar)
{
    int64_t over_us = bar->sample_count > 0 ? bar->latest_us - bar->samples[0].at_us : 0;

    if (over_us < 500000 || bar->latest_done < bar->samples[0].done || bar->latest_done == 0) {
        return -1;
    }
    return (double)(bar->latest_done - bar->samples[0].done) * 1e6 / (double)over_us;
}

static void put_rate(char *ret, size_t size, double rate)
{
    (void)snprintf(ret, size, rate < 10 ? "%.1f/s" : "%.0f/s", rate);
}

/* ---- drawing ---- */

/* Characters that take a column; all of ours take one each. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (bool escaped = false; *text != '\0'; text++) {
        if (*text == '\x1b') {
            escaped = true;
        } else if (escaped) {
            escaped = *text != 'm';
        } else {
            width += ((unsigned char)*text & 0xc0) != 0x80;
        }
    }
    return width;
}

/* What fits into the terminal's line but for its last column, where some of them wrap. */
static void draw(struct ps_cli_bar *bar, const char *text, size_t room)
{
    size_t width = 0;
    size_t end = 0;
    bool escaped = false;

    for (; text[end] != '\0'; end++) {
        if (text[end] == '\x1b') {
            escaped = true;
        } else if (escaped) {
            escaped = text[end] != 'm';
        } else if (((unsigned char)text[end] & 0xc0) != 0x80 && ++width > room) {
            break;
        }
    }
    (void)fprintf(stderr, "\r%.*s%s\x1b[K", (int)end, text, bar->color ? "\x1b[0m" : "");
    (void)fflush(stderr);
    bar->drawn = true;
}

/* Eighths of a column where the terminal can. */
static void put_bar(const struct ps_cli_bar *bar, char *ret, size_t size, double part, size_t width)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t full = (size_t)(part * (double)width * 8 + 0.5);
    size_t len = 0;

    full = full < width * 8 ? full : width * 8;
    ret[0] = '\0';
    for (size_t i = 0; i < width && len + 4 < size; i++) {
        const char *cell = " ";
        if (full >= (i + 1) * 8) {
            cell = bar->utf8 ? "█" : "#";
        } else if (bar->utf8 && full > i * 8) {
            cell = eighths[full - i * 8];
        } else if (!bar->utf8) {
            cell = "-";
        }
        len += (size_t)snprintf(ret + len, size - len, "%s", cell);
    }
}

static void put_numbers(const struct ps_cli_bar *bar, const struct ps_cli_state *state,
                        const char *note, char *ret, size_t size)
{
    uint64_t done = state->completed + state->failed;
    double rate = rate_of(bar);
    char text[32];
    size_t len = 0;

#define ADD(...)                                                                                   \
    do {                                                                                           \
        len += (size_t)snprintf(ret + len, size - len, __VA_ARGS__);                               \
        len = len < size ? len : size - 1;                                                         \
    } while (0)
    ADD("%llu/%llu", (unsigned long long)done, (unsigned long long)state->total);
    if (rate >= 0) {
        put_rate(text, sizeof(text), rate);
        ADD("  %s", text);
    }
    if (state->failed > 0) {
        ADD("  %s%llu failed%s", bar->color ? "\x1b[31m" : "", (unsigned long long)state->failed,
            bar->color ? "\x1b[0m" : "");
    }
    if (!state->over && rate > 0 && done < state->total) {
        ps_cli_duration(text, sizeof(text), (double)(state->total - done) / rate);
        ADD("  ETA %s", text);
    }
    if (state->over || strcmp(state->status, "in_progress") != 0) {
        ADD("  %s", state->status);
    }
    if (note != NULL) {
        ADD("  (%s)", note);
    }
}

static void show_live(struct ps_cli_bar *bar, const struct ps_cli_state *state, const char *note)
{
    char numbers[LINE];
    char cells[LONGEST_BAR * 4 + 8];
    char line[LINE * 2];
    size_t room = columns() - 1;
    uint64_t done = state->completed + state->failed;

    put_numbers(bar, state, note, numbers, sizeof(numbers));
    double part = (double)done / (double)state->total;
    size_t taken = width_of(numbers) + 2 + 6; /* brackets or margins, and the percentage */
    size_t width = room > taken ? room - taken : 0;
    width = width < LONGEST_BAR ? width : LONGEST_BAR;
    if (width < SHORTEST_BAR) {
        (void)snprintf(line, sizeof(line), "%s", numbers);
    } else {
        put_bar(bar, cells, sizeof(cells), part < 1 ? part : 1, width);
        double percent = part < 1 ? part * 100 - 0.5 : 100; /* 100 is for the end */
        (void)snprintf(line, sizeof(line), "%3.0f%% [%s] %s", percent > 0 ? percent : 0, cells,
                       numbers);
    }
    draw(bar, line, room);
}

/* No total: a batch that is being read, or a single job. */
static void put_plain_state(const struct ps_cli_bar *bar, const struct ps_cli_state *state,
                            const char *note, int64_t now_us, char *ret, size_t size)
{
    char since[32];

    ps_cli_duration(since, sizeof(since), (double)(now_us - bar->began_us) / 1e6);
    int len = snprintf(ret, size, "%s %s  %s", state->id, state->status, since);
    if (state->tokens > 0 && len > 0 && (size_t)len < size) {
        len += snprintf(ret + len, size - (size_t)len, "  %llu tokens",
                        (unsigned long long)state->tokens);
    }
    if (note != NULL && len > 0 && (size_t)len < size) {
        (void)snprintf(ret + len, size - (size_t)len, "  (%s)", note);
    }
}

static void show_plain(struct ps_cli_bar *bar, const struct ps_cli_state *state, const char *note,
                       int64_t now_us)
{
    uint64_t done = state->completed + state->failed;
    bool changed = strcmp(bar->told_status, state->status) != 0 || note != bar->told_note;
    bool moved = done != bar->told_done && now_us - bar->told_us >= PLAIN_US;
    char numbers[LINE];

    if (bar->told_us != 0 && !changed && !moved) {
        return;
    }
    bar->told_us = now_us;
    bar->told_note = note;
    bar->told_done = done;
    (void)snprintf(bar->told_status, sizeof(bar->told_status), "%s", state->status);
    if (state->is_batch && state->total > 0) {
        put_numbers(bar, state, note, numbers, sizeof(numbers));
        (void)fprintf(stderr, "%s %s\n", state->id, numbers);
    } else {
        put_plain_state(bar, state, note, now_us, numbers, sizeof(numbers));
        (void)fprintf(stderr, "%s\n", numbers);
    }
    (void)fflush(stderr);
}

void ps_cli_bar_show(struct ps_cli_bar *bar, const struct ps_cli_state *state, bool fresh,
                     const char *note)
{
    int64_t now_us = ps_clock_us();
    char line[LINE];

    if (fresh) {
        sample(bar, now_us, state->completed + state->failed);
    }
    if (!bar->live) {
        show_plain(bar, state, note, now_us);
    } else if (state->is_batch && state->total > 0) {
        show_live(bar, state, note);
    } else {
        put_plain_state(bar, state, note, now_us, line, sizeof(line));
        draw(bar, line, columns() - 1);
    }
}

void ps_cli_bar_bytes(struct ps_cli_bar *bar, const char *what, uint64_t now, uint64_t total)
{
    int64_t now_us = ps_clock_us();
    char line[LINE];

    /* Only uploads that take a while are worth a word. */
    if (!bar->live || now_us - bar->began_us < 300000 || now_us - bar->told_us < 100000) {
        return;
    }
    bar->told_us = now_us;
    if (total > 0) {
        (void)snprintf(line, sizeof(line), "%s  %.1f of %.1f MiB", what, (double)now / 1048576,
                       (double)total / 1048576);
    } else {
        (void)snprintf(line, sizeof(line), "%s  %.1f MiB", what, (double)now / 1048576);
    }
    draw(bar, line, columns() - 1);
}

void ps_cli_bar_end(struct ps_cli_bar *bar)
{
    if (bar->drawn) {
        (void)fputc('\n', stderr);
        (void)fflush(stderr);
        bar->drawn = false;
    }
}
