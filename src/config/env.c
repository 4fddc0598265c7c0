/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <stdlib.h>
#include <string.h>

/*
 * ${NAME} and ${NAME:-default}, where the default also stands in for an empty variable, as in a
 * shell. A
 * "$" that no "{" follows is itself. What is filled in is never looked at again, so a value that
 * holds
 * "${" or YAML stays a value.
 */

struct reference {
    size_t start; /* of "$" */
    size_t end;   /* after "}" */
    struct ps_slice name;
    struct ps_slice fallback;
    bool has_fallback;
};

static bool is_name(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return text.len > 0 && text.len < 128;
}

static size_t find_open(struct ps_slice text, size_t from)
{
    for (size_t i = from; i + 1 < text.len; i++) {
        if (text.ptr[i] == '$' && text.ptr[i + 1] == '{') {
            return i;
        }
    }
    return text.len;
}

/* 1: the next reference at or after `from`; 0: no more; -1: `problem` says what is wrong. */
static int next_reference(struct ps_slice text, size_t from, struct reference *ret,
                          struct ps_env_problem *problem)
{
    size_t start = find_open(text, from);
    if (start == text.len) {
        return 0;
    }
    *problem = (struct ps_env_problem){"${NAME} or ${NAME:-default}", "a \"${\" without its \"}\"",
                                       PS_SLICE_NONE};
    const char *close = memchr(text.ptr + start, '}', text.len - start);
    if (close == NULL) {
        return -1;
    }
    size_t end = (size_t)(close - text.ptr);
    struct ps_slice inner = ps_slice(text.ptr + start + 2, end - start - 2);
    const char *colon = inner.len > 0 ? memchr(inner.ptr, ':', inner.len) : NULL;
    struct reference reference = {.start = start, .end = end + 1, .name = inner};
    if (colon != NULL) {
        size_t len = (size_t)(colon - inner.ptr);
        reference.name = ps_slice(inner.ptr, len);
        reference.has_fallback = inner.len - len >= 2 && inner.ptr[len + 1] == '-';
        if (!reference.has_fallback) {
            problem->found = "a \":\" that no \"-\" follows";
            return -1;
        }
        reference.fallback = ps_slice(inner.ptr + len + 2, inner.len - len - 2);
        if (find_open(reference.fallback, 0) != reference.fallback.len) {
            problem->found = "a variable inside a default";
            return -1;
        }
    }
    if (!is_name(reference.name)) {
        problem->found = "another name";
        return -1;
    }
    *ret = reference;
    return 1;
}

bool ps_env_mentioned(struct ps_slice text)
{
    return find_open(text, 0) != text.len;
}

/* The value in the environment or the default; false when there is neither. */
static bool look_up(const struct reference *reference, struct ps_slice *ret)
{
    char name[128];
    memcpy(name, reference->name.ptr, reference->name.len);
    name[reference->name.len] = '\0';
    const char *value = getenv(name);
    if (reference->has_fallback && (value == NULL || value[0] == '\0')) {
        *ret = reference->fallback;
        return true;
    }
    *ret = ps_slice_cstr(value);
    return value != NULL;
}

/*
 * Goes through the text once, writing to `out` where that is not NULL. Called twice, to measure and
 * to write, so that no copy of a secret is left behind by a growing buffer. SIZE_MAX: see
 * `problem`.
 */
static size_t fill(struct ps_slice text, char *out, struct ps_env_problem *problem)
{
    size_t from = 0;
    size_t len = 0;
    for (;;) {
        struct reference reference;
        int found = next_reference(text, from, &reference, problem);
        if (found < 0) {
            return SIZE_MAX;
        }
        size_t plain_end = found > 0 ? reference.start : text.len;
        if (out != NULL && plain_end > from) {
            memcpy(out + len, text.ptr + from, plain_end - from);
        }
        len += plain_end - from;
        if (found == 0) {
            return len;
        }
        struct ps_slice value;
        if (!look_up(&reference, &value)) {
            *problem = (struct ps_env_problem){NULL, NULL, reference.name};
            return SIZE_MAX;
        }
        if (value.len > PS_CONFIG_EXPANDED_MAX || len + value.len > PS_CONFIG_EXPANDED_MAX) {
            *problem = (struct ps_env_problem){"at most 65536 bytes from the environment", "more",
                                               PS_SLICE_NONE};
            return SIZE_MAX;
        }
        if (out != NULL && value.len > 0) {
            memcpy(out + len, value.ptr, value.len);
        }
        len += value.len;
        from = reference.end;
    }
}

struct wiped {
    char *ptr;
    size_t len;
};

static void wipe(void *arg)
{
    const struct wiped *wiped = arg;
    explicit_bzero(wiped->ptr, wiped->len);
}

struct ps_slice ps_env_expand(struct ps_slice text, struct ps_arena *arena,
                              struct ps_env_problem *problem)
{
    size_t len = fill(text, NULL, problem);
    if (len == SIZE_MAX) {
        return PS_SLICE_NONE;
    }
    *problem = (struct ps_env_problem){NULL, NULL, PS_SLICE_NONE};
    struct wiped *wiped = ps_arena_calloc(arena, sizeof *wiped);
    char *out = ps_arena_calloc(arena, len + 1);
    if (wiped == NULL || out == NULL) {
        return PS_SLICE_NONE;
    }
    *wiped = (struct wiped){out, len};
    if (ps_arena_defer(arena, wipe, wiped) != 0) {
        return PS_SLICE_NONE;
    }
    (void)fill(text, out, problem);
    return ps_slice(out, len);
}

const char *ps_env_names(struct ps_slice text, struct ps_arena *arena)
{
    struct ps_env_problem problem;
    struct reference reference;
    const char *names = "";
    size_t from = 0;
    while (next_reference(text, from, &reference, &problem) > 0) {
        names = ps_arena_printf(arena, "%s%s${%.*s}", names, names[0] != '\0' ? " " : "",
                                (int)reference.name.len, reference.name.ptr);
        if (names == NULL) {
            return NULL;
        }
        from = reference.end;
    }
    return names;
}
