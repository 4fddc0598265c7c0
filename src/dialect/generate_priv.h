/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_GENERATE_PRIV_H
#define PENSTOCK_DIALECT_GENERATE_PRIV_H

#include "dialect_priv.h"
#include "fields.h"
#include "utf8.h"

/* ---- names at the top of a JSON object: generate_keys.c ---- */

#define PS_KEY_BYTES 96 /* escaped; a longer one is known by its beginning */

/*
 * Walks behind the scan over the same bytes, so over valid JSON only, and keeps the first name at
 * the top that `rules` do not have. Our own door knows all its fields: a name it does not know is a
 * mistake.
 */
struct ps_key_walk {
    const struct ps_field_rule *rules;
    size_t rule_count;
    uint32_t depth;
    bool in_string;
    bool escape;   /* the next byte is behind a backslash */
    bool is_key;   /* the string is a name at the top */
    bool want_key; /* a string now would be one */
    size_t len;
    char key[PS_KEY_BYTES + 2]; /* raw, quotes included */
    bool found;
    size_t unknown_len;
    char unknown[PS_KEY_BYTES]; /* unescaped */
};

void ps_key_walk_feed(struct ps_key_walk *walk, const char *ptr, size_t len);
/* The fault for an unknown name, with the name that was probably meant. Returns -1. */
int ps_key_walk_fault(const struct ps_key_walk *walk, struct ps_fault *ret_fault);

/* ---- generate_reader.c ---- */

enum ps_generate_body {
    PS_GENERATE_JSON,
    PS_GENERATE_TEXT,
    PS_GENERATE_SNIFF,  /* form type, nothing but white space so far */
    PS_GENERATE_EITHER, /* form type, begins like an object */
    PS_GENERATE_LATER,  /* form type, was no object after all: text, read from the chain at the end
                         */
};

struct ps_generate_reader {
    struct ps_reader base;
    enum ps_generate_body body;
    struct ps_fields fields;
    struct ps_key_walk walk;
    struct ps_utf8 utf8;
    struct ps_buf text; /* text prompts: a JSON string but for its quotes; freed with the arena */
};

int ps_generate_reader_global_init(void);
void ps_generate_reader_global_deinit(void);
int ps_generate_reader_init(struct ps_reader *reader);
int ps_generate_reader_feed(struct ps_reader *reader, const char *ptr, size_t len,
                            struct ps_fault *ret_fault);
int ps_generate_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

/* ---- generate_sglang.c ---- */

/* request->shape */
enum ps_generate_shape {
    PS_GENERATE_OURS,
    PS_GENERATE_SGLANG, /* {"text":…,"sampling_params":{…}} */
};

/* The neutral form of a body in SGLang's shape. 0, or -1 with a fault. */
int ps_generate_sglang(const struct ps_request *request, struct ps_arena *arena,
                       struct ps_neutral *ret, struct ps_fault *ret_fault);

/* ---- generate_request.c ---- */

/* One message of the user: a raw string, which the client calls `name`. */
struct ps_neutral_build;
int ps_generate_user(struct ps_neutral_build *build, const char *name, struct ps_slice raw);
int ps_generate_neutral(const struct ps_request *request, struct ps_arena *arena,
                        struct ps_neutral *ret, struct ps_fault *ret_fault);

/* ---- generate_prompt.c ---- */

int ps_generate_prompt(struct ps_prompt_build *build, const struct ps_request *request);

/* ---- generate_writer.c ---- */

struct ps_generate_writer {
    struct ps_writer base;
    bool sglang;
    struct ps_buf text; /* WHOLE, or SGLang's: what was said so far; escaped in a stream */
    char stop[64];      /* the stop sequence that was met */
    size_t stop_len;
    bool has_finish;
    char finish[40];
    bool has_usage;
    struct ps_usage usage;
};

int ps_generate_writer_init(struct ps_writer *writer);
void ps_generate_writer_deinit(struct ps_writer *writer);
int ps_generate_writer_event(struct ps_writer *writer, const struct ps_event *event,
                             struct ps_buf *out, struct ps_fault *ret_fault);
void ps_generate_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                            struct ps_buf *out);

/* `key` and a count; null: it is not known. */
void ps_generate_count(struct ps_buf *out, const char *key, int64_t count);

/* ---- generate_sglang_writer.c ---- */

/* The member meta_info, a comma before it; `total_us` below 0: not known yet. */
void ps_generate_sglang_meta(const struct ps_generate_writer *writer, int64_t total_us,
                             struct ps_buf *out);
/* One event of a stream, and the last. The first leaves writer->text failed when that is full. */
void ps_generate_sglang_text(struct ps_generate_writer *writer, struct ps_slice text,
                             struct ps_buf *out);
void ps_generate_sglang_end(const struct ps_generate_writer *writer,
                            const struct ps_answer_info *info, struct ps_buf *out);

#endif
