/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"

#include "json_priv.h"

/*
 * A machine that can stop behind any byte. Between tokens `expect` says what may come; inside a
 * token `mode` says which kind, and walk_<mode> goes on with it. Each walker has a fast way for
 * what lies whole in the chunk and a way byte by byte for what does not; on bad input the fast way
 * leaves the byte at fault to the slow one, so that both find the same error at the same offset.
 *
 * Paths: an object or array is live when it lies on a watched path. The live ones are always the
 * outermost `live` of the `depth` open ones, so below them a value costs no more than one
 * comparison.
 */

enum class {
    C_OTHER,
    C_SPACE,
    C_QUOTE,
    C_COLON,
    C_COMMA,
    C_OPEN_OBJECT,
    C_CLOSE_OBJECT,
    C_OPEN_ARRAY,
    C_CLOSE_ARRAY,
    C_MINUS,
    C_DIGIT,
    C_NUMERIC, /* part of a number, but never its first byte */
    C_LITERAL,
};

static const uint8_t classes[256] = {
    [' '] = C_SPACE,       ['\t'] = C_SPACE,       ['\n'] = C_SPACE,     ['\r'] = C_SPACE,
    ['"'] = C_QUOTE,       [':'] = C_COLON,        [','] = C_COMMA,      ['-'] = C_MINUS,
    ['{'] = C_OPEN_OBJECT, ['}'] = C_CLOSE_OBJECT, ['['] = C_OPEN_ARRAY, [']'] = C_CLOSE_ARRAY,
    ['0'] = C_DIGIT,       ['1'] = C_DIGIT,        ['2'] = C_DIGIT,      ['3'] = C_DIGIT,
    ['4'] = C_DIGIT,       ['5'] = C_DIGIT,        ['6'] = C_DIGIT,      ['7'] = C_DIGIT,
    ['8'] = C_DIGIT,       ['9'] = C_DIGIT,        ['+'] = C_NUMERIC,    ['.'] = C_NUMERIC,
    ['n'] = C_LITERAL,     ['t'] = C_LITERAL,      ['f'] = C_LITERAL,
};

/* ---- values ---- */

static bool in_object(const struct ps_json_state *s)
{
    return s->depth > 0 && (s->kinds >> (s->depth - 1) & 1) != 0;
}

/* The node of a value that begins now. A member of an object has it from its key. */
static uint16_t node_of_value(const struct ps_json_scan *scan)
{
    const struct ps_json_state *s = &scan->s;
    if (s->depth != s->live) {
        return PS_JSON_NODE_NONE;
    }
    if (s->depth == 0) {
        return scan->paths != NULL ? PS_JSON_NODE_ROOT : PS_JSON_NODE_NONE;
    }
    return in_object(s) ? s->node : scan->paths->nodes[s->match[s->depth]].star;
}

bool ps_json_begin_value(struct ps_json_cursor *c, const char *at, enum ps_json_type type)
{
    struct ps_json_scan *scan = c->scan;
    struct ps_json_state *s = &scan->s;
    if (s->nodes >= scan->limits.nodes) {
        return ps_json_fail_at(c, PS_JSON_NODES, at);
    }
    s->nodes++;
    s->node = node_of_value(scan);
    if (!scan->began) {
        scan->began = true;
        scan->root = type;
    }
    return true;
}

static bool report(struct ps_json_scan *scan, uint16_t id, enum ps_json_type type, uint64_t start,
                   uint64_t end)
{
    const struct ps_json_node *node = &scan->paths->nodes[id];
    if (node->path < 0 || scan->on_value == NULL) {
        return true;
    }
    struct ps_json_value value = {
        .path = node->path,
        .type = type,
        .element = node->star_depth != 0 ? scan->s.index[node->star_depth] : 0,
        .start = start,
        .end = end,
        .escaped = type == PS_JSON_STRING && scan->s.escaped,
    };
    return scan->on_value(scan->arg, &value) || ps_json_fail(scan, PS_JSON_STOPPED, end);
}

static void expect_after_value(struct ps_json_state *s)
{
    s->mode = PS_JSON_MODE_STRUCTURE;
    s->expect = s->depth != 0 ? PS_JSON_EXPECT_COMMA | PS_JSON_EXPECT_CLOSE : 0;
}

bool ps_json_end_scalar(struct ps_json_scan *scan, enum ps_json_type type, uint64_t end)
{
    struct ps_json_state *s = &scan->s;
    expect_after_value(s);
    return s->node == PS_JSON_NODE_NONE || report(scan, s->node, type, s->token_start, end);
}

static bool open_container(struct ps_json_cursor *c, const char *at, bool object)
{
    struct ps_json_scan *scan = c->scan;
    struct ps_json_state *s = &scan->s;
    if (!ps_json_begin_value(c, at, object ? PS_JSON_OBJECT : PS_JSON_ARRAY)) {
        return false;
    }
    if (s->depth >= scan->limits.depth) {
        return ps_json_fail_at(c, PS_JSON_DEPTH, at);
    }
    uint64_t bit = UINT64_C(1) << s->depth;
    s->kinds = object ? s->kinds | bit : s->kinds & ~bit;
    s->depth++;
    s->expect = object ? PS_JSON_EXPECT_KEY | PS_JSON_EXPECT_CLOSE
                       : PS_JSON_EXPECT_VALUE | PS_JSON_EXPECT_CLOSE;
    if (s->node != PS_JSON_NODE_NONE) {
        s->live = s->depth;
        s->match[s->depth] = s->node;
        s->index[s->depth] = 0;
        s->start[s->depth] = ps_json_offset(c, at);
        s->seen[s->depth] = 0;
    }
    return true;
}

static bool close_container(struct ps_json_cursor *c, const char *at, bool object)
{
    struct ps_json_state *s = &c->scan->s;
    if ((s->expect & PS_JSON_EXPECT_CLOSE) == 0 || in_object(s) != object) {
        return ps_json_fail_at(c, s->expect != 0 ? PS_JSON_SYNTAX : PS_JSON_TRAILING, at);
    }
    uint32_t depth = s->depth--;
    expect_after_value(s);
    if (s->live != depth) {
        return true;
    }
    s->live--;
    return report(c->scan, s->match[depth], object ? PS_JSON_OBJECT : PS_JSON_ARRAY,
                  s->start[depth], ps_json_offset(c, at) + 1);
}

/* ---- between tokens ---- */

static void take_comma(struct ps_json_state *s)
{
    if (in_object(s)) {
        s->expect = PS_JSON_EXPECT_KEY;
        return;
    }
    s->expect = PS_JSON_EXPECT_VALUE;
    if (s->depth == s->live) {
        s->index[s->depth]++;
    }
}

static bool fail_structure(const struct ps_json_cursor *c, const char *at, uint8_t kind)
{
    uint8_t expect = c->scan->s.expect;
    if (expect == 0) {
        return ps_json_fail_at(c, PS_JSON_TRAILING, at);
    }
    bool number = kind == C_NUMERIC && (expect & PS_JSON_EXPECT_VALUE) != 0;
    return ps_json_fail_at(c, number ? PS_JSON_BAD_NUMBER : PS_JSON_SYNTAX, at);
}

/* What must be expected for a byte to pass; brackets that close have a check of their own. */
static const uint8_t allowed_by[] = {
    [C_OTHER] = 0,
    [C_SPACE] = 0xff,
    [C_QUOTE] = PS_JSON_EXPECT_VALUE | PS_JSON_EXPECT_KEY,
    [C_COLON] = PS_JSON_EXPECT_COLON,
    [C_COMMA] = PS_JSON_EXPECT_COMMA,
    [C_OPEN_OBJECT] = PS_JSON_EXPECT_VALUE,
    [C_CLOSE_OBJECT] = 0xff,
    [C_OPEN_ARRAY] = PS_JSON_EXPECT_VALUE,
    [C_CLOSE_ARRAY] = 0xff,
    [C_MINUS] = PS_JSON_EXPECT_VALUE,
    [C_DIGIT] = PS_JSON_EXPECT_VALUE,
    [C_NUMERIC] = 0,
    [C_LITERAL] = PS_JSON_EXPECT_VALUE,
};

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && classes[(unsigned char)*at] == C_SPACE) {
        at++;
    }
    return at;
}

/* Takes brackets, commas and colons up to the first byte of a token, and that byte. */
static bool walk_structure(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    const char *at = c->at;
    for (; (at = skip_space(at, c->end)) < c->end; at++) {
        uint8_t kind = classes[(unsigned char)*at];
        /* A whole text expects nothing; the brackets that pass here fail in close_container. */
        if ((allowed_by[kind] & (s->expect | 0x80)) == 0) {
            return fail_structure(c, at, kind);
        }
        bool ok = true;
        switch ((enum class)kind) {
        case C_QUOTE:
            return ps_json_begin_string(c, at);
        case C_MINUS:
        case C_DIGIT:
            return ps_json_begin_number(c, at);
        case C_LITERAL:
            return ps_json_begin_literal(c, at);
        case C_COLON:
            s->expect = PS_JSON_EXPECT_VALUE;
            break;
        case C_COMMA:
            take_comma(s);
            break;
        case C_OPEN_OBJECT:
        case C_OPEN_ARRAY:
            ok = open_container(c, at, kind == C_OPEN_OBJECT);
            break;
        case C_CLOSE_OBJECT:
        case C_CLOSE_ARRAY:
            ok = close_container(c, at, kind == C_CLOSE_OBJECT);
            break;
        case C_OTHER:
        case C_SPACE:
        case C_NUMERIC:
        default:
            break;
        }
        if (!ok) {
            return false;
        }
    }
    c->at = at;
    return true;
}

/* ---- the door ---- */

static bool walk(struct ps_json_cursor *c)
{
    switch ((enum ps_json_mode)c->scan->s.mode) {
    case PS_JSON_MODE_STRUCTURE:
        return walk_structure(c);
    case PS_JSON_MODE_STRING:
        return ps_json_walk_string(c);
    case PS_JSON_MODE_ESCAPE:
        return ps_json_walk_escape(c);
    case PS_JSON_MODE_HEX:
        return ps_json_walk_hex(c);
    case PS_JSON_MODE_UTF8:
        return ps_json_walk_utf8(c);
    case PS_JSON_MODE_NUMBER:
        return ps_json_walk_number(c);
    case PS_JSON_MODE_LITERAL:
    default:
        return ps_json_walk_literal(c);
    }
}

void ps_json_scan_init(struct ps_json_scan *scan, const struct ps_json_paths *paths,
                       const struct ps_json_limits *limits, ps_json_value_fn on_value, void *arg)
{
    scan->paths = paths;
    scan->on_value = on_value;
    scan->arg = arg;
    scan->limits = *limits;
    if (scan->limits.depth > PS_JSON_MAX_DEPTH) {
        scan->limits.depth = PS_JSON_MAX_DEPTH;
    }
    scan->offset = 0;
    scan->error = PS_JSON_OK;
    scan->duplicate = -1;
    scan->root = PS_JSON_NULL;
    scan->began = false;
    /* What belongs to a token or a depth is set when that begins. */
    scan->s.nodes = 0;
    scan->s.kinds = 0;
    scan->s.depth = 0;
    scan->s.live = 0;
    scan->s.mode = PS_JSON_MODE_STRUCTURE;
    scan->s.expect = PS_JSON_EXPECT_VALUE;
    scan->s.in_key = false;
    scan->s.key_watched = false;
}

enum ps_json_error ps_json_scan_feed(struct ps_json_scan *scan, const char *ptr, size_t len)
{
    if (scan->error != PS_JSON_OK || len == 0) {
        return scan->error;
    }
    struct ps_json_cursor c = {.scan = scan, .chunk = ptr, .at = ptr, .end = ptr + len, .run = ptr};
    while (c.at < c.end) {
        if (!walk(&c)) {
            return scan->error;
        }
    }
    ps_json_hold_key(&c);
    scan->offset += len;
    return PS_JSON_OK;
}

enum ps_json_error ps_json_scan_finish(struct ps_json_scan *scan)
{
    if (scan->error != PS_JSON_OK) {
        return scan->error;
    }
    if (scan->s.depth == 0 && ps_json_number_is_whole(&scan->s) &&
        !ps_json_end_scalar(scan, PS_JSON_NUMBER, scan->offset)) {
        return scan->error;
    }
    if (!ps_json_scan_complete(scan)) {
        scan->error = PS_JSON_INCOMPLETE;
    }
    return scan->error;
}

bool ps_json_scan_complete(const struct ps_json_scan *scan)
{
    return scan->error == PS_JSON_OK && scan->s.mode == PS_JSON_MODE_STRUCTURE &&
           scan->s.expect == 0;
}

enum ps_json_error ps_json_scan_text(struct ps_slice text, const struct ps_json_paths *paths,
                                     const struct ps_json_limits *limits, ps_json_value_fn on_value,
                                     void *arg)
{
    struct ps_json_scan scan;
    ps_json_scan_init(&scan, paths, limits, on_value, arg);
    ps_json_scan_feed(&scan, text.ptr, text.len);
    return ps_json_scan_finish(&scan);
}

const char *ps_json_error_text(enum ps_json_error error)
{
    static const char *const texts[] = {
#define X(name, text) [PS_JSON_##name] = (text),
        PS_JSON_ERRORS(X)
#undef X
    };
    size_t index = (size_t)error;
    return index < sizeof(texts) / sizeof(texts[0]) ? texts[index] : "has an unknown error";
}
