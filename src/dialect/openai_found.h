/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_OPENAI_FOUND_H
#define PENSTOCK_DIALECT_OPENAI_FOUND_H

#include "json_walk.h"

#include "penstock/base/buf.h"
#include "penstock/base/json_scan.h"
#include "penstock/dialect/event.h"

/*
 * What one JSON text of an answer says: an event of a stream, or a whole answer. One pass notes
 * where the values lie; they are read from the text afterwards. Of a whole answer that only goes
 * by, the text is gone by then: its small values are copied to `kept` as they pass (those up to
 * PS_FOUND_TAIL bytes).
 */

#define PS_FOUND_TAIL    1024
#define PS_FOUND_CHOICES 128

/* Bytes [at, at + len) of the text, or of `kept`; len 0: not there. */
struct ps_found_piece {
    size_t at;
    size_t len;
};

struct ps_found_choice {
    uint32_t index;
    struct ps_found_piece text; /* raw JSON values, all of them */
    struct ps_found_piece reasoning;
    struct ps_found_piece refusal;
    struct ps_found_piece tools;
    struct ps_found_piece finish;
    bool media;
};

/* An error object in any of the shapes seen in the wild, as raw JSON values; len 0: not there. */
struct ps_openai_error {
    struct ps_slice message;
    struct ps_slice type;
    struct ps_slice code;
    struct ps_slice param;
};

struct ps_openai_found {
    /* about the text at hand */
    bool error;        /* "error" is there and truthy */
    bool error_object; /* the text itself is an error ("object": "error") */
    bool has_object;
    bool has_usage;
    bool has_choices; /* an array */
    uint32_t choice_count;
    struct ps_usage usage;
    struct ps_found_piece error_parts[5]; /* the value itself, message, type, code, param */
    struct ps_found_piece flat_parts[6];  /* object, the same four at the top, detail */
    struct ps_found_choice choice;        /* the one that is being read */
    /* over all texts */
    /* where ps_openai_choice_at stands in the array of choices */
    struct ps_json_walk walk;
    struct ps_slice element; /* the last one */
    uint32_t walked;         /* elements so far; 0: not begun */
    struct ps_buf choices;   /* struct ps_found_choice, complete; failed: some are missing */
    struct ps_slice text;    /* the whole text, when it is at hand */
    bool passing;            /* it is not: keep copies */
    bool answers;            /* operations with choices: they are noted */
    struct ps_slice window;  /* passing: the newest bytes */
    uint64_t window_at;
    char *tail; /* passing: owned, the PS_FOUND_TAIL bytes before them */
    size_t tail_len;
    struct ps_buf kept;
};

/* `answers`: chat and completions; otherwise any JSON of the family. -1: memory. */
int ps_openai_found_init(struct ps_openai_found *found, bool answers, bool passing);
void ps_openai_found_deinit(struct ps_openai_found *found);
/* Forgets the last text. */
void ps_openai_found_reset(struct ps_openai_found *found);
const struct ps_json_paths *ps_openai_found_paths(const struct ps_openai_found *found);
bool ps_openai_found_on_value(void *arg, const struct ps_json_value *value);
/* Passing: before and after the scan of a piece. */
void ps_openai_found_enter(struct ps_openai_found *found, const char *ptr, size_t len,
                           uint64_t offset);
void ps_openai_found_leave(struct ps_openai_found *found);

struct ps_slice ps_openai_found_raw(const struct ps_openai_found *found,
                                    struct ps_found_piece piece);
struct ps_openai_error ps_openai_found_error(const struct ps_openai_found *found);
/* The "type" at the top, raw. */
struct ps_slice ps_openai_found_type(const struct ps_openai_found *found);

/* The text of a raw JSON string without its quotes when it has no escapes in it; raw otherwise. */
struct ps_slice ps_openai_bare(struct ps_slice raw);

#endif
