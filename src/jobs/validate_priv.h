/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_VALIDATE_PRIV_H
#define PENSTOCK_JOBS_VALIDATE_PRIV_H

#include "id_set.h"
#include "jobs_priv.h"

/* A validation under way: shared by validate.c, which reads and tells, and lines.c, which judges.
 */

#define PS_SLICE_LINES 1000
#define PS_LINE_TEXT   8192 /* bytes of a value as it stands in the line */

enum {
    PS_LINE_CUSTOM_ID,
    PS_LINE_BODY,
    PS_LINE_MODEL,
    PS_LINE_STREAM,
    PS_LINE_METHOD, /* and what follows: OpenAI's only */
    PS_LINE_URL,
    PS_LINE_BACKGROUND,
    PS_LINE_FIELDS
};

struct ps_line_found {
    bool there;
    enum ps_json_type type;
    uint64_t start; /* in the line */
    uint64_t end;
};

struct ps_validation {
    struct ps_desk *desk;
    int fd;
    uint64_t length;
    uint64_t read; /* bytes of the input read so far */
    char *piece;   /* owned */
    size_t piece_len;
    size_t at;          /* of the piece, taken */
    uint64_t piece_off; /* where the piece stands in the input */
    bool open;

    struct ps_json_scan scan;
    enum ps_json_error error;
    struct ps_line_found found[PS_LINE_FIELDS];
    uint64_t line_off; /* where the line begins */
    uint64_t line_len;
    bool blank;        /* white space only, so far */
    bool any;          /* a byte of it was there */
    uint64_t number;   /* of the line, from 1 */
    uint64_t blank_at; /* an empty line that is the last one, or a fault; 0: none */
    uint64_t requests;

    struct ps_id_set ids;
    struct ps_store_line lines[PS_SLICE_LINES];
    size_t line_count;
    struct ps_buf names;            /* custom_ids of `lines`, one after the other */
    size_t name_at[PS_SLICE_LINES]; /* where each begins */
    bool ended;                     /* the input, or our patience */
    bool short_of_memory;
    struct ps_buf faults; /* JSON array, without its end */
    unsigned fault_count;
    char model[256]; /* of the first line */
    size_t model_len;
    char text[PS_LINE_TEXT];
    char plain[PS_LINE_TEXT];
};

/* A line begins at that place of the input; its bytes without the line end; it is whole. */
void ps_line_begin(struct ps_validation *v, uint64_t offset);
void ps_line_feed(struct ps_validation *v, const char *ptr, size_t len);
void ps_line_end(struct ps_validation *v);
/* Line 0: of the input as a whole. */
void ps_line_fault(struct ps_validation *v, uint64_t line, const char *code, const char *param,
                   const char *message);
/* There is no more: a line without its end is one, too. */
void ps_line_end_of_input(struct ps_validation *v);

#endif
