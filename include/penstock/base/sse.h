/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_SSE_H
#define PENSTOCK_BASE_SSE_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Server-sent events (WHATWG HTML, 9.2.6) and NDJSON out of a byte stream that may be cut anywhere.
 * Every input byte is in exactly one `raw`, in order, so that a relay can pass the stream on byte
 * for byte.
 *
 * SSE: lines end with LF, CRLF or CR; an event ends with an empty line. An empty line more is an
 * event of its own, without data. A leading BOM belongs to the first raw and to no field. NDJSON:
 * lines end with LF, a CR before it is not data (a CR elsewhere is white space of the JSON text);
 * an empty line has no data.
 *
 * How the stream was cut changes nothing but this: a CR that is the last byte of a feed ends its
 * line, and maybe its event, at once; an LF that comes first in the next feed is then the start of
 * the raw that follows and no line of its own.
 *
 * An event that lies whole in one feed is reported without a copy; one that is cut is gathered in a
 * buffer bounded by `max` bytes. Each byte is looked at once, however the stream is cut.
 */
struct ps_sse_event {
    struct ps_slice raw;  /* exact bytes, the empty line included */
    struct ps_slice data; /* data lines joined by LF; valid when has_data */
    struct ps_slice name; /* of the last `event:` line */
    bool has_data;        /* false: only comments, ids, retry: keep-alive to us */
};
/*
 * The slices live until it returns. Return false to stop: ps_sse_feed then returns PS_SSE_STOPPED.
 * It may not feed, finish or deinit the splitter it is called from.
 */
typedef bool (*ps_sse_event_fn)(void *arg, const struct ps_sse_event *event);

enum ps_sse_result {
    PS_SSE_OK,
    PS_SSE_TOO_LARGE, /* the raw of one event is above max */
    PS_SSE_NO_MEMORY,
    PS_SSE_STOPPED,
};

/* A piece of the current event, counted from its first byte. */
struct ps_sse_span {
    size_t start;
    size_t len;
};

/* Members are the splitter's own. */
struct ps_sse {
    ps_sse_event_fn on_event;
    void *arg;
    size_t max;
    struct ps_buf held;        /* the beginning of an event whose end has not come */
    struct ps_buf data;        /* joined data lines, when there is more than one */
    enum ps_sse_result result; /* the first failure stays */
    size_t line;               /* start of the current line in the event */
    size_t data_lines;
    struct ps_sse_span first; /* value of the first data line */
    struct ps_sse_span name;
    bool begun;       /* the event has more than the LF of a CRLF that was cut */
    bool ndjson;      /* every line is an event, data = the line */
    bool skip_lf;     /* the last byte fed was a CR that ended a line */
    bool bom_checked; /* the first line has been seen */
};

void ps_sse_init(struct ps_sse *sse, size_t max, bool ndjson, ps_sse_event_fn on_event, void *arg);
void ps_sse_deinit(struct ps_sse *sse);
/* PS_SSE_OK, or the failure, which then stays. */
enum ps_sse_result ps_sse_feed(struct ps_sse *sse, const char *ptr, size_t len);
/*
 * End of stream. Bytes after the last empty line are reported as a last event with their data (SDKs
 * take a whole JSON there; what to make of it is the caller's business); *ret_partial says whether
 * there were any. The LF of a CRLF that was cut is reported too when nothing came behind it, but it
 * is not partial.
 */
enum ps_sse_result ps_sse_finish(struct ps_sse *sse, bool *ret_partial);

#endif
