/* SPDX-License-Identifier: Apache-2.0 */
#include "json_bytes.h"
#include "json_priv.h"

#include <string.h>

/* The insides of tokens: keys and their comparing, strings, numbers, literals. */

static const char *const literals[] = {
    [PS_JSON_NULL] = "null", [PS_JSON_FALSE] = "false", [PS_JSON_TRUE] = "true"};

/* ---- keys ---- */

static void gather(struct ps_json_state *s, const char *ptr, size_t len)
{
    if (len == 0) {
        return;
    }
    if (s->high != 0 || len > sizeof(s->key) - s->key_len) {
        s->key_never = true;
        return;
    }
    memcpy(s->key + s->key_len, ptr, len);
    s->key_len = (uint8_t)(s->key_len + len);
}

/* A \u escape of a watched key is whole. A lone surrogate is no character, so it equals nothing. */
static void gather_unicode(struct ps_json_state *s)
{
    uint32_t code = s->unicode;
    bool low = code >= 0xdc00 && code <= 0xdfff;
    if (low != (s->high != 0)) {
        s->key_never = true;
        return;
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        s->high = s->unicode;
        return;
    }
    if (low) {
        code = 0x10000 + (((uint32_t)s->high - 0xd800) << 10) + (code - 0xdc00);
        s->high = 0;
    }
    char bytes[4];
    gather(s, bytes, ps_json_utf8(code, bytes));
}

static void begin_key(struct ps_json_cursor *c)
{
    struct ps_json_scan *scan = c->scan;
    struct ps_json_state *s = &scan->s;
    s->in_key = true;
    s->node = PS_JSON_NODE_NONE;
    s->key_watched = s->depth == s->live && scan->paths->nodes[s->match[s->depth]].lengths != 0;
    if (s->key_watched) {
        s->key_len = 0;
        s->key_never = false;
        s->high = 0;
        c->run = c->at;
    }
}

/* `close` is the closing quote. */
static bool match_key(struct ps_json_cursor *c, const char *close)
{
    struct ps_json_scan *scan = c->scan;
    struct ps_json_state *s = &scan->s;
    const char *key = c->run;
    size_t len = (size_t)(close - c->run);
    if (s->key_len != 0) {
        gather(s, key, len);
        key = s->key;
        len = s->key_len;
    }
    if (s->key_never || s->high != 0) {
        return true;
    }
    const struct ps_json_node *nodes = scan->paths->nodes;
    uint16_t id = ps_json_paths_child(nodes, s->match[s->depth], key, len);
    if (id == PS_JSON_NODE_NONE) {
        return true;
    }
    uint64_t bit = UINT64_C(1) << nodes[id].ordinal;
    if ((s->seen[s->depth] & bit) != 0 && nodes[id].unique_path >= 0) {
        scan->duplicate = nodes[id].unique_path;
        return ps_json_fail(scan, PS_JSON_DUPLICATE, s->token_start);
    }
    s->seen[s->depth] |= bit;
    s->node = id;
    return true;
}

/* ---- strings ---- */

static bool end_string(struct ps_json_cursor *c, const char *close)
{
    struct ps_json_state *s = &c->scan->s;
    c->at = close + 1;
    if (!s->in_key) {
        return ps_json_end_scalar(c->scan, PS_JSON_STRING, ps_json_offset(c, close) + 1);
    }
    s->mode = PS_JSON_MODE_STRUCTURE;
    s->expect = PS_JSON_EXPECT_COLON;
    s->in_key = false;
    return !s->key_watched || match_key(c, close);
}

/*
 * Behind an escape that lies whole in the chunk, or `at` (a backslash) when it does not, when it is
 * bad or when a key has to be unescaped.
 */
static const char *skip_escape(const struct ps_json_state *s, const char *at, const char *end)
{
    if (s->key_watched || end - at < 2) {
        return at;
    }
    if (ps_json_escape(at[1]) != 0) {
        return at + 2;
    }
    if (end - at >= 6 && at[1] == 'u' && ps_json_hex(at[2]) >= 0 && ps_json_hex(at[3]) >= 0 &&
        ps_json_hex(at[4]) >= 0 && ps_json_hex(at[5]) >= 0) {
        return at + 6;
    }
    return at;
}

/* First byte of a character that is not ASCII, seen byte by byte. */
static bool begin_character(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    unsigned char lead = (unsigned char)*c->at;
    if (lead < 0xc2 || lead > 0xf4) {
        return ps_json_fail_at(c, PS_JSON_UTF8, c->at);
    }
    s->utf8_left = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    /* No overlong forms, no surrogates, nothing above U+10FFFF: the second byte tells. */
    s->utf8_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    s->utf8_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    s->mode = PS_JSON_MODE_UTF8;
    c->at++;
    return true;
}

bool ps_json_walk_utf8(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    for (; c->at < c->end && s->utf8_left > 0; c->at++) {
        unsigned char byte = (unsigned char)*c->at;
        if (byte < s->utf8_low || byte > s->utf8_high) {
            return ps_json_fail_at(c, PS_JSON_UTF8, c->at);
        }
        s->utf8_low = 0x80;
        s->utf8_high = 0xbf;
        s->utf8_left--;
    }
    if (s->utf8_left == 0) {
        s->mode = PS_JSON_MODE_STRING;
    }
    return true;
}

bool ps_json_walk_string(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    const char *at = c->at;
    const char *end = c->end;
    for (;;) {
        at = ps_json_find_special(at, end);
        if (at == end) {
            c->at = at;
            return true;
        }
        unsigned char byte = (unsigned char)*at;
        if (byte == '"') {
            return end_string(c, at);
        }
        const char *next;
        if (byte == '\\') {
            s->escaped = true;
            next = skip_escape(s, at, end);
        } else if (byte >= 0x80) {
            next = ps_json_skip_utf8(at, end);
        } else {
            return ps_json_fail_at(c, PS_JSON_CONTROL, at);
        }
        if (next == at) {
            break;
        }
        at = next;
    }
    c->at = at;
    if (*at != '\\') {
        return begin_character(c);
    }
    if (s->in_key && s->key_watched) {
        gather(s, c->run, (size_t)(at - c->run));
    }
    s->mode = PS_JSON_MODE_ESCAPE;
    c->at++;
    return true;
}

bool ps_json_walk_escape(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    char byte = *c->at;
    char meant = ps_json_escape(byte);
    if (byte == 'u') {
        s->unicode = 0;
        s->sub = 4;
        s->mode = PS_JSON_MODE_HEX;
    } else if (meant != 0) {
        if (s->key_watched) {
            gather(s, &meant, 1);
        }
        s->mode = PS_JSON_MODE_STRING;
    } else {
        return ps_json_fail_at(c, PS_JSON_ESCAPE, c->at);
    }
    c->at++;
    c->run = c->at;
    return true;
}

bool ps_json_walk_hex(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    for (; c->at < c->end && s->sub > 0; c->at++) {
        int digit = ps_json_hex(*c->at);
        if (digit < 0) {
            return ps_json_fail_at(c, PS_JSON_ESCAPE, c->at);
        }
        s->unicode = (uint16_t)(s->unicode << 4 | digit);
        s->sub--;
    }
    if (s->sub == 0) {
        if (s->key_watched) {
            gather_unicode(s);
        }
        s->mode = PS_JSON_MODE_STRING;
        c->run = c->at;
    }
    return true;
}

/* ---- numbers and literals ---- */

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_e(char byte)
{
    return byte == 'e' || byte == 'E';
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at)) {
        at++;
    }
    return at;
}

/* Whether a number may end here. */
static bool is_whole(enum ps_json_place place)
{
    return place == PS_JSON_AT_ZERO || place == PS_JSON_AT_INT || place == PS_JSON_AT_FRACTION ||
           place == PS_JSON_AT_EXPONENT;
}

/* The place behind `byte`, which is not one more digit of a run; the same place: it ends there. */
static enum ps_json_place next_place(enum ps_json_place place, char byte)
{
    bool digit = is_digit(byte);
    switch (place) {
    case PS_JSON_AT_MINUS:
        return byte == '0' ? PS_JSON_AT_ZERO : digit ? PS_JSON_AT_INT : place;
    case PS_JSON_AT_ZERO:
    case PS_JSON_AT_INT:
        return byte == '.' ? PS_JSON_AT_DOT : is_e(byte) ? PS_JSON_AT_E : place;
    case PS_JSON_AT_DOT:
        return digit ? PS_JSON_AT_FRACTION : place;
    case PS_JSON_AT_FRACTION:
        return is_e(byte) ? PS_JSON_AT_E : place;
    case PS_JSON_AT_E:
        return digit ? PS_JSON_AT_EXPONENT : byte == '+' || byte == '-' ? PS_JSON_AT_SIGN : place;
    case PS_JSON_AT_SIGN:
        return digit ? PS_JSON_AT_EXPONENT : place;
    case PS_JSON_AT_EXPONENT:
    default:
        return place;
    }
}

bool ps_json_walk_number(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    enum ps_json_place place = (enum ps_json_place)s->sub;
    const char *at = c->at;
    for (;;) {
        if (place == PS_JSON_AT_INT || place == PS_JSON_AT_FRACTION ||
            place == PS_JSON_AT_EXPONENT) {
            at = skip_digits(at, c->end);
        }
        if (at == c->end) {
            c->at = at;
            s->sub = (uint8_t)place;
            return true;
        }
        enum ps_json_place next = next_place(place, *at);
        if (next == place) {
            break;
        }
        place = next;
        at++;
    }
    c->at = at;
    /* A number runs on as long as bytes come that some number has; "1-2" is no value and a rest. */
    if (!is_whole(place) || is_digit(*at) || is_e(*at) || *at == '-' || *at == '+' || *at == '.') {
        return ps_json_fail_at(c, PS_JSON_BAD_NUMBER, at);
    }
    return ps_json_end_scalar(c->scan, PS_JSON_NUMBER, ps_json_offset(c, at));
}

bool ps_json_walk_literal(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    const char *rest = literals[s->literal] + s->sub;
    for (; c->at < c->end && *rest != '\0'; c->at++, rest++) {
        if (*c->at != *rest) {
            return ps_json_fail_at(c, PS_JSON_SYNTAX, c->at);
        }
        s->sub++;
    }
    return *rest != '\0' ||
           ps_json_end_scalar(c->scan, (enum ps_json_type)s->literal, ps_json_offset(c, c->at));
}

/* ---- first bytes, and what json_scan.c asks ---- */

bool ps_json_begin_string(struct ps_json_cursor *c, const char *at)
{
    struct ps_json_state *s = &c->scan->s;
    c->at = at + 1;
    s->escaped = false;
    s->mode = PS_JSON_MODE_STRING;
    s->token_start = ps_json_offset(c, at);
    if ((s->expect & PS_JSON_EXPECT_KEY) != 0) {
        begin_key(c);
        return true;
    }
    s->key_watched = false;
    return ps_json_begin_value(c, at, PS_JSON_STRING);
}

bool ps_json_begin_number(struct ps_json_cursor *c, const char *at)
{
    struct ps_json_state *s = &c->scan->s;
    c->at = at + 1;
    s->mode = PS_JSON_MODE_NUMBER;
    s->sub = *at == '-' ? PS_JSON_AT_MINUS : *at == '0' ? PS_JSON_AT_ZERO : PS_JSON_AT_INT;
    s->token_start = ps_json_offset(c, at);
    return ps_json_begin_value(c, at, PS_JSON_NUMBER);
}

bool ps_json_begin_literal(struct ps_json_cursor *c, const char *at)
{
    struct ps_json_state *s = &c->scan->s;
    enum ps_json_type type = *at == 'n' ? PS_JSON_NULL : *at == 't' ? PS_JSON_TRUE : PS_JSON_FALSE;
    c->at = at + 1;
    s->mode = PS_JSON_MODE_LITERAL;
    s->literal = (uint8_t)type;
    s->sub = 1;
    s->token_start = ps_json_offset(c, at);
    return ps_json_begin_value(c, at, type);
}

void ps_json_hold_key(struct ps_json_cursor *c)
{
    struct ps_json_state *s = &c->scan->s;
    bool in_run = s->mode == PS_JSON_MODE_STRING || s->mode == PS_JSON_MODE_UTF8;
    if (s->in_key && s->key_watched && in_run) {
        gather(s, c->run, (size_t)(c->end - c->run));
    }
}

bool ps_json_number_is_whole(const struct ps_json_state *s)
{
    return s->mode == PS_JSON_MODE_NUMBER && is_whole((enum ps_json_place)s->sub);
}
