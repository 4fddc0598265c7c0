/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/sse.h"

#include <string.h>

/*
 * The current event is contiguous: in the feed as long as that holds all of it, in `held` from the
 * feed on that ended inside it. Everything remembered about it is an offset from its first byte, so
 * it may move from the one to the other. Only complete lines are read; bytes that are held are
 * never searched again.
 */

/* Memory that one big event has claimed is given back behind it. */
#define KEEP_MAX ((size_t)64 * 1024)

/* One call of ps_sse_feed. */
struct feed {
    const char *at;
    const char *end;
    const char *begin; /* bytes of the current event from here on are not in `held` */
    const char *lf;    /* the next LF and CR at or behind `at`; NULL: not known, end: none */
    const char *cr;
};

void ps_sse_init(struct ps_sse *sse, size_t max, bool ndjson, ps_sse_event_fn on_event, void *arg)
{
    *sse = (struct ps_sse){.on_event = on_event, .arg = arg, .max = max, .ndjson = ndjson};
    ps_buf_init(&sse->held, max);
    ps_buf_init(&sse->data, max);
}

void ps_sse_deinit(struct ps_sse *sse)
{
    ps_buf_deinit(&sse->held);
    ps_buf_deinit(&sse->data);
}

static bool fail(struct ps_sse *sse, enum ps_sse_result result)
{
    sse->result = result;
    return false;
}

static bool append(struct ps_sse *sse, struct ps_buf *buf, const char *ptr, size_t len)
{
    ps_buf_append(buf, ptr, len);
    return !buf->failed || fail(sse, PS_SSE_NO_MEMORY);
}

static void empty(struct ps_buf *buf, size_t max)
{
    if (buf->cap > KEEP_MAX) {
        ps_buf_deinit(buf);
        ps_buf_init(buf, max);
    } else {
        ps_buf_reset(buf);
    }
}

/* ---- lines of one event, which begins at `base` ---- */

static bool add_data(struct ps_sse *sse, const char *base, size_t start, size_t len)
{
    sse->data_lines++;
    if (sse->data_lines == 1) {
        sse->first = (struct ps_sse_span){start, len};
        return true;
    }
    if (sse->data_lines == 2 && !append(sse, &sse->data, base + sse->first.start, sse->first.len)) {
        return false;
    }
    return append(sse, &sse->data, "\n", 1) && append(sse, &sse->data, base + start, len);
}

static bool take_field(struct ps_sse *sse, const char *base, size_t start, size_t len)
{
    const char *line = base + start;
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon != NULL ? (size_t)(colon - line) : len;
    size_t skip = colon != NULL ? name_len + 1 : len;
    if (skip < len && line[skip] == ' ') {
        skip++;
    }
    struct ps_slice name = ps_slice(line, name_len);
    if (ps_slice_eq(name, PS_SLICE_LIT("data"))) {
        return add_data(sse, base, start + skip, len - skip);
    }
    if (ps_slice_eq(name, PS_SLICE_LIT("event"))) {
        sse->name = (struct ps_sse_span){start + skip, len - skip};
    }
    return true;
}

/* A line without what ended it. *ret_end: it ends the event. */
static bool take_line(struct ps_sse *sse, const char *base, size_t start, size_t len, bool *ret_end)
{
    if (!sse->bom_checked) {
        sse->bom_checked = true;
        if (ps_slice_starts(ps_slice(base + start, len), PS_SLICE_LIT("\xEF\xBB\xBF"))) {
            start += 3;
            len -= 3;
        }
    }
    *ret_end = sse->ndjson || len == 0;
    if (len == 0) {
        return true;
    }
    return sse->ndjson ? add_data(sse, base, start, len) : take_field(sse, base, start, len);
}

/* Reports the event and makes ready for the next one. */
static bool emit(struct ps_sse *sse, const char *base, size_t len)
{
    struct ps_sse_event event = {
        .raw = ps_slice(base, len),
        .name = ps_slice(base + sse->name.start, sse->name.len),
        .has_data = sse->data_lines > 0,
    };
    if (sse->data_lines == 1) {
        event.data = ps_slice(base + sse->first.start, sse->first.len);
    } else if (sse->data_lines > 1) {
        event.data = ps_buf_view(&sse->data);
    }
    bool more = sse->on_event(sse->arg, &event);
    empty(&sse->held, sse->max);
    empty(&sse->data, sse->max);
    sse->line = 0;
    sse->data_lines = 0;
    sse->name = (struct ps_sse_span){0, 0};
    sse->begun = false;
    return more || fail(sse, PS_SSE_STOPPED);
}

/* ---- cutting ---- */

static const char *find(const char *at, const char *end, char byte, const char *known)
{
    if (known != NULL && known >= at) {
        return known;
    }
    const char *found = memchr(at, byte, (size_t)(end - at));
    return found != NULL ? found : end;
}

/*
 * Finds the end of the current line: *ret_next is behind it. False when the feed ends before it.
 * What the searches find is remembered, else lines that end with CR would search the rest of the
 * feed for LF each.
 */
static bool find_line(struct ps_sse *sse, struct feed *feed, const char **ret_next)
{
    feed->lf = find(feed->at, feed->end, '\n', feed->lf);
    if (sse->ndjson) {
        *ret_next = feed->lf < feed->end ? feed->lf + 1 : feed->end;
        return feed->lf < feed->end;
    }
    feed->cr = find(feed->at, feed->end, '\r', feed->cr);
    if (feed->lf < feed->cr) {
        *ret_next = feed->lf + 1;
        return true;
    }
    if (feed->cr == feed->end) {
        return false;
    }
    *ret_next = feed->cr + 1;
    if (*ret_next == feed->end) {
        sse->skip_lf = true;
    } else if (**ret_next == '\n') {
        (*ret_next)++;
    }
    return true;
}

/* Moves what the feed has of the current event, up to `next`, into `held`. */
static bool hold(struct ps_sse *sse, struct feed *feed, const char *next)
{
    size_t len = (size_t)(next - feed->begin);
    if (len > sse->max - sse->held.len) {
        return fail(sse, PS_SSE_TOO_LARGE);
    }
    if (len > 0 && !append(sse, &sse->held, feed->begin, len)) {
        return false;
    }
    feed->begin = next;
    return true;
}

/* The line that ends before `next`, with what ended it. */
static bool take_raw_line(struct ps_sse *sse, struct feed *feed, const char *next)
{
    const char *base = feed->begin;
    size_t len = (size_t)(next - base);
    if (sse->held.len > 0) {
        if (!hold(sse, feed, next)) {
            return false;
        }
        base = sse->held.ptr;
        len = sse->held.len;
    } else if (len > sse->max) {
        return fail(sse, PS_SSE_TOO_LARGE);
    }
    size_t line_end = len - 1;
    if (base[line_end] == '\n' && line_end > sse->line && base[line_end - 1] == '\r') {
        line_end--;
    }
    bool end;
    if (!take_line(sse, base, sse->line, line_end - sse->line, &end)) {
        return false;
    }
    sse->line = len;
    sse->begun = true;
    if (!end) {
        return true;
    }
    feed->begin = next;
    return emit(sse, base, len);
}

enum ps_sse_result ps_sse_feed(struct ps_sse *sse, const char *ptr, size_t len)
{
    if (sse->result != PS_SSE_OK || len == 0) {
        return sse->result;
    }
    struct feed feed = {.at = ptr, .end = ptr + len, .begin = ptr};
    if (sse->skip_lf && *feed.at == '\n') {
        feed.at++;
        sse->line++;
    }
    sse->skip_lf = false;
    const char *next;
    while (feed.at < feed.end && find_line(sse, &feed, &next)) {
        if (!take_raw_line(sse, &feed, next)) {
            return sse->result;
        }
        feed.at = next;
    }
    sse->begun = sse->begun || feed.at < feed.end;
    hold(sse, &feed, feed.end);
    return sse->result;
}

enum ps_sse_result ps_sse_finish(struct ps_sse *sse, bool *ret_partial)
{
    *ret_partial = false;
    if (sse->result != PS_SSE_OK || sse->held.len == 0) {
        return sse->result;
    }
    *ret_partial = sse->begun;
    size_t len = sse->held.len;
    if (len > sse->line) {
        bool end;
        if (!take_line(sse, sse->held.ptr, sse->line, len - sse->line, &end)) {
            return sse->result;
        }
    }
    emit(sse, sse->held.ptr, len);
    return sse->result;
}
