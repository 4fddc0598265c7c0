/* SPDX-License-Identifier: Apache-2.0 */
#include "json_out.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"

/* ---- values ---- */

static void before_value(struct ps_json_out *out)
{
    if (out->comma) {
        ps_buf_byte(out->buf, ',');
    }
    out->comma = true;
}

void ps_out_open(struct ps_json_out *out, char bracket)
{
    before_value(out);
    ps_buf_byte(out->buf, bracket);
    out->comma = false;
}

void ps_out_close(struct ps_json_out *out, char bracket)
{
    ps_buf_byte(out->buf, bracket);
    out->comma = true;
}

void ps_out_key(struct ps_json_out *out, const char *name)
{
    before_value(out);
    ps_buf_byte(out->buf, '"');
    ps_buf_cstr(out->buf, name);
    ps_buf_append(out->buf, "\":", 2);
    out->comma = false;
}

/* Copied, or only pointed at when it is long and lives long enough. */
static void put(struct ps_json_out *out, struct ps_slice text);

void ps_out_raw(struct ps_json_out *out, struct ps_slice raw)
{
    before_value(out);
    if (raw.len > 0) {
        put(out, raw);
    } else {
        ps_buf_cstr(out->buf, "null");
    }
}

void ps_out_text(struct ps_json_out *out, struct ps_slice text)
{
    before_value(out);
    ps_buf_json(out->buf, text);
}

void ps_out_cstr(struct ps_json_out *out, const char *text)
{
    ps_out_text(out, ps_slice_cstr(text));
}

void ps_out_int(struct ps_json_out *out, int64_t value)
{
    before_value(out);
    ps_buf_int(out->buf, value);
}

void ps_out_bool(struct ps_json_out *out, bool value)
{
    before_value(out);
    ps_buf_cstr(out->buf, value ? "true" : "false");
}

void ps_out_null(struct ps_json_out *out)
{
    before_value(out);
    ps_buf_cstr(out->buf, "null");
}

void ps_out_array(struct ps_json_out *out, const struct ps_slice *raws, size_t count)
{
    ps_out_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        ps_out_raw(out, raws[i]);
    }
    ps_out_close(out, ']');
}

/* ---- members ---- */

void ps_out_member(struct ps_json_out *out, const char *name, struct ps_slice raw)
{
    if (raw.len > 0) {
        ps_out_key(out, name);
        ps_out_raw(out, raw);
    }
}

void ps_out_member_text(struct ps_json_out *out, const char *name, struct ps_slice text)
{
    if (text.len > 0) {
        ps_out_key(out, name);
        ps_out_text(out, text);
    }
}

void ps_out_member_cstr(struct ps_json_out *out, const char *name, const char *text)
{
    ps_out_member_text(out, name, ps_slice_cstr(text));
}

void ps_out_member_int(struct ps_json_out *out, const char *name, int64_t value)
{
    ps_out_key(out, name);
    ps_out_int(out, value);
}

void ps_out_member_bool(struct ps_json_out *out, const char *name, bool value)
{
    ps_out_key(out, name);
    ps_out_bool(out, value);
}

/* ---- strings of pieces ---- */

/* Between values a line break is as good as a space. */
static void join_lines(char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] == '\n' || ptr[i] == '\r') {
            ptr[i] = ' ';
        }
    }
}

void ps_out_arguments(struct ps_json_out *out, struct ps_slice text)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};
    size_t start = out->buf->len;
    struct ps_json_scan scan;

    ps_json_scan_init(&scan, NULL, &limits, NULL, NULL);
    if (text.len == 0) {
        ps_out_raw(out, PS_SLICE_LIT("{}"));
    } else if (ps_json_scan_feed(&scan, text.ptr, text.len) == PS_JSON_OK &&
               ps_json_scan_finish(&scan) == PS_JSON_OK && scan.root == PS_JSON_OBJECT) {
        ps_out_raw(out, text);
        if (!out->buf->failed) {
            join_lines(out->buf->ptr + start, out->buf->len - start);
        }
    } else {
        ps_out_open(out, '{');
        ps_out_key(out, "INVALID_JSON");
        ps_out_text(out, text);
        ps_out_close(out, '}');
    }
}

void ps_out_string_begin(struct ps_json_out *out)
{
    before_value(out);
    ps_buf_byte(out->buf, '"');
}

void ps_out_string_raw(struct ps_json_out *out, struct ps_slice raw)
{
    if (raw.len > 2) {
        put(out, ps_slice(raw.ptr + 1, raw.len - 2));
    }
}

void ps_out_string_text(struct ps_json_out *out, struct ps_slice text)
{
    size_t start = out->buf->len;

    /* The quotes around it are taken off again. */
    ps_buf_json(out->buf, text);
    if (!out->buf->failed) {
        size_t len = out->buf->len - start - 2;

        memmove(out->buf->ptr + start, out->buf->ptr + start + 1, len);
        out->buf->len = start + len;
    }
}

void ps_out_string_plain(struct ps_json_out *out, struct ps_slice text)
{
    put(out, text);
}

void ps_out_string_end(struct ps_json_out *out)
{
    ps_buf_byte(out->buf, '"');
}

/* ---- a body as parts ---- */

struct piece {
    size_t at; /* in the text */
    struct ps_slice value;
};

static void free_body(void *arg)
{
    struct ps_body_out *body = arg;

    ps_buf_deinit(&body->text);
    ps_buf_deinit(&body->pieces);
}

struct ps_body_out *ps_body_out_new(struct ps_arena *arena, size_t max)
{
    struct ps_body_out *body = ps_arena_calloc(arena, sizeof(*body));

    if (body == NULL) {
        return NULL;
    }
    body->arena = arena;
    ps_buf_init(&body->text, max);
    ps_buf_init(&body->pieces, max);
    return ps_arena_defer(arena, free_body, body) == 0 ? body : NULL;
}

struct ps_json_out ps_body_out_json(struct ps_body_out *body)
{
    return (struct ps_json_out){&body->text, body, false};
}

static void put(struct ps_json_out *out, struct ps_slice text)
{
    if (out->body != NULL && text.len >= PS_BODY_REFERENCE) {
        struct piece piece = {out->buf->len, text};

        ps_buf_append(&out->body->pieces, &piece, sizeof(piece));
    } else {
        ps_buf_slice(out->buf, text);
    }
}

int ps_body_out_finish(struct ps_body_out *body, struct ps_slice **ret_parts, size_t *ret_count,
                       uint64_t *ret_length)
{
    size_t count = body->pieces.len / sizeof(struct piece);
    struct ps_slice *parts;
    size_t used = 0;
    size_t from = 0;
    uint64_t length = body->text.len;

    if (body->text.failed || body->pieces.failed) {
        return -1;
    }
    parts = ps_arena_side(body->arena, 2 * count + 1, sizeof(*parts));
    if (parts == NULL) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        struct piece piece;

        memcpy(&piece, body->pieces.ptr + i * sizeof(piece), sizeof(piece));
        if (piece.at > from) {
            parts[used++] = ps_slice(body->text.ptr + from, piece.at - from);
            from = piece.at;
        }
        parts[used++] = piece.value;
        length += piece.value.len;
    }
    if (body->text.len > from) {
        parts[used++] = ps_slice(body->text.ptr + from, body->text.len - from);
    }
    *ret_parts = parts;
    *ret_count = used;
    *ret_length = length;
    return 0;
}

/* ---- memory ---- */

#define SMALL 2048

void *ps_arena_side(struct ps_arena *arena, size_t count, size_t size)
{
    void *memory;

    if (count < SMALL / size) {
        return ps_arena_calloc(arena, (count + 1) * size);
    }
    memory = ps_calloc(count, size);
    if (memory == NULL) {
        return NULL;
    }
    if (ps_arena_defer(arena, ps_free, memory) != 0) {
        ps_free(memory);
        return NULL;
    }
    return memory;
}
