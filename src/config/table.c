/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Questions to the table of options.c. */

const struct ps_option *ps_option_at(const char *path)
{
    for (size_t i = 0; i < ps_option_count; i++) {
        if (strcmp(ps_options[i].path, path) == 0) {
            return &ps_options[i];
        }
    }
    assert(false && "a path of the table");
    return NULL;
}

/* What stands between the path of a container and the names of its keys. */
static const char *joint(const struct ps_option *parent)
{
    if (parent == NULL) {
        return "";
    }
    if (parent->type == PS_OPT_RECORDS) {
        return "[].";
    }
    return parent->type == PS_OPT_NAMED ? ".*." : ".";
}

/* The part of the option's path below the parent, or NULL when it is not below. */
static const char *below(const struct ps_option *parent, const struct ps_option *option)
{
    const char *path = option->path;
    if (parent != NULL) {
        size_t len = strlen(parent->path);
        if (strncmp(path, parent->path, len) != 0) {
            return NULL;
        }
        path += len;
    }
    size_t len = strlen(joint(parent));
    return strncmp(path, joint(parent), len) == 0 ? path + len : NULL;
}

bool ps_option_is_child(const struct ps_option *parent, const struct ps_option *option)
{
    const char *rest = below(parent, option);
    return rest != NULL && strpbrk(rest, ".[") == NULL;
}

bool ps_option_in_record(const struct ps_option *parent, const struct ps_option *option)
{
    const char *rest = below(parent, option);
    return rest != NULL && strpbrk(rest, "[*") == NULL;
}

const struct ps_option *ps_option_child(const struct ps_option *parent, struct ps_slice key)
{
    for (size_t i = 0; i < ps_option_count; i++) {
        const char *rest = below(parent, &ps_options[i]);
        if (rest != NULL && strpbrk(rest, ".[") == NULL && ps_slice_eq_cstr(key, rest)) {
            return &ps_options[i];
        }
    }
    return NULL;
}

const char *ps_option_name(const struct ps_option *option)
{
    const char *dot = strrchr(option->path, '.');
    return dot != NULL ? dot + 1 : option->path;
}

void ps_config_format_size(uint64_t bytes, struct ps_buf *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    while (unit < 3 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    ps_buf_uint(out, bytes);
    ps_buf_cstr(out, units[unit]);
}

void ps_config_format_time(int64_t ms, struct ps_buf *out)
{
    if (ms % 3600000 == 0 && ms != 0) {
        ps_buf_int(out, ms / 3600000);
        ps_buf_byte(out, 'h');
    } else if (ms % 60000 == 0 && ms != 0) {
        ps_buf_int(out, ms / 60000);
        ps_buf_byte(out, 'm');
    } else if (ms % 1000 == 0) {
        ps_buf_int(out, ms / 1000);
        ps_buf_byte(out, 's');
    } else {
        ps_buf_int(out, ms);
        ps_buf_cstr(out, "ms");
    }
}

static const char *type_name(enum ps_option_type type)
{
    switch (type) {
    case PS_OPT_SECTION:
        return "section";
    case PS_OPT_RECORDS:
        return "list";
    case PS_OPT_NAMED:
        return "section of names";
    case PS_OPT_TLS:
        return "section or list";
    case PS_OPT_AUTH:
        return "`none` or section";
    case PS_OPT_UINT32:
    case PS_OPT_INT32:
    case PS_OPT_UINT64:
        return "number";
    case PS_OPT_AUTO32:
        return "number or `auto`";
    case PS_OPT_SIZE:
        return "size";
    case PS_OPT_TIME:
        return "time";
    case PS_OPT_BOOL:
        return "`true` or `false`";
    case PS_OPT_ENUM:
        return "word";
    case PS_OPT_TEXT:
    case PS_OPT_LABEL:
        return "text";
    case PS_OPT_PROVIDER:
        return "provider";
    case PS_OPT_MODEL:
        return "model";
    case PS_OPT_PATH:
    case PS_OPT_KEY_FILE:
    case PS_OPT_SECRET_FILE:
        return "path";
    case PS_OPT_MODEL_PATH:
        return "path or `builtin`";
    case PS_OPT_PROXY:
    case PS_OPT_BASE_URL:
        return "URL";
    case PS_OPT_ADDRESS:
        return "address";
    case PS_OPT_SHA256:
        return "64 hex digits";
    case PS_OPT_ENDPOINTS:
        return "list of URLs";
    case PS_OPT_SIGNING_SECRET:
    case PS_OPT_SECRET:
        return "secret";
    case PS_OPT_SECRETS:
        return "list of secrets";
    case PS_OPT_CLIENT_AUTH:
        return "`client`";
    case PS_OPT_HEADERS:
        return "names and values";
    case PS_OPT_ORIGINS:
        return "list of origins";
    case PS_OPT_NETS:
        return "list of addresses";
    }
    return "";
}

static void put_bound(const struct ps_option *option, int64_t bound, struct ps_buf *out)
{
    if (option->type == PS_OPT_SIZE) {
        ps_config_format_size((uint64_t)bound, out);
    } else if (option->type == PS_OPT_TIME) {
        ps_config_format_time(bound, out);
    } else {
        ps_buf_int(out, bound);
    }
}

static void put_range(const struct ps_option *option, struct ps_buf *out)
{
    put_bound(option, option->min, out);
    ps_buf_cstr(out, " to ");
    put_bound(option, option->max, out);
}

static void put_choices(const struct ps_option *option, const char *quote, struct ps_buf *out)
{
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        ps_buf_printf(out, "%s%s%s%s", i > 0 ? ", " : "", quote, option->choices[i], quote);
    }
}

/* The kinds whose expectation is a sentence of its own. */
static const char *plain_expectation(enum ps_option_type type)
{
    switch (type) {
    case PS_OPT_SECTION:
        return "keys and values";
    case PS_OPT_RECORDS:
        return "a list of keys and values (\"- key: value\")";
    case PS_OPT_NAMED:
        return "names, each with keys and values";
    case PS_OPT_TLS:
        return "certificate and key, or a list of them";
    case PS_OPT_AUTH:
        return "none, or keys:";
    case PS_OPT_BOOL:
        return "true or false";
    case PS_OPT_TEXT:
        return "text without control characters";
    case PS_OPT_LABEL:
        return "a name";
    case PS_OPT_PROVIDER:
        return "the name of a provider";
    case PS_OPT_MODEL:
        return "the name of a model";
    case PS_OPT_PATH:
        return "a path";
    case PS_OPT_MODEL_PATH:
        return "a path or builtin";
    case PS_OPT_KEY_FILE:
    case PS_OPT_SECRET_FILE:
        return "the path of a file of 1 to 4096 bytes that can be read";
    case PS_OPT_PROXY:
        return "a proxy such as http://proxy.example.com:3128";
    case PS_OPT_BASE_URL:
        return "a URL such as https://api.example.com/v1";
    case PS_OPT_ADDRESS:
        return "an address such as 127.0.0.1:8080";
    case PS_OPT_SHA256:
        return "64 hex digits";
    case PS_OPT_ENDPOINTS:
        return "a list of URLs";
    case PS_OPT_SIGNING_SECRET:
        return "whsec_ and the base64 of 24 to 64 bytes, best as \"${NAME}\"";
    case PS_OPT_SECRET:
        return "a key, best as \"${NAME}\"";
    case PS_OPT_SECRETS:
        return "a list of keys, best as [ \"${NAME}\", … ]";
    case PS_OPT_CLIENT_AUTH:
        return "client";
    case PS_OPT_HEADERS:
        return "names and values of headers";
    case PS_OPT_ORIGINS:
        return "a list of origins such as [ \"https://app.example.com\" ]";
    case PS_OPT_NETS:
        return "a list of addresses such as [ 10.0.0.0/8 ]";
    case PS_OPT_UINT32:
    case PS_OPT_AUTO32:
    case PS_OPT_INT32:
    case PS_OPT_UINT64:
    case PS_OPT_SIZE:
    case PS_OPT_TIME:
    case PS_OPT_ENUM:
        break;
    }
    return NULL;
}

void ps_option_expected(const struct ps_option *option, struct ps_buf *out)
{
    const char *plain = plain_expectation(option->type);
    if (plain != NULL) {
        ps_buf_cstr(out, plain);
    } else if (option->type == PS_OPT_ENUM) {
        ps_buf_cstr(out, "one of ");
        put_choices(option, "", out);
    } else if (option->type == PS_OPT_SIZE || option->type == PS_OPT_TIME) {
        bool size = option->type == PS_OPT_SIZE;
        ps_buf_cstr(out, size ? "a size from " : "a time from ");
        put_range(option, out);
        ps_buf_printf(out, ", such as %s", size ? "64KiB" : "10s");
    } else {
        ps_buf_cstr(out,
                    option->type == PS_OPT_AUTO32 ? "auto or a number from " : "a number from ");
        put_range(option, out);
    }
}

void ps_option_describe(const struct ps_option *option, struct ps_buf *type, struct ps_buf *range)
{
    ps_buf_cstr(type, type_name(option->type));
    if (option->type == PS_OPT_ENUM) {
        put_choices(option, "`", range);
    } else if (plain_expectation(option->type) == NULL) {
        put_range(option, range);
        if (option->unit != NULL) {
            ps_buf_printf(range, " %s", option->unit);
        }
    }
}

/* As keys are compared when one is looked for that was meant: case and "-" do not count. */
static char fold(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c == '-' ? '_' : c;
}

enum {
    NEAR_MAX = 40, /* longer names are not compared */
};

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours between two short names. */
static size_t distance(struct ps_slice a, struct ps_slice b)
{
    size_t rows[3][NEAR_MAX + 1];
    size_t *before = rows[0];
    size_t *last = rows[1];
    size_t *row = rows[2];
    memset(rows, 0, sizeof rows);
    for (size_t j = 0; j <= b.len; j++) {
        last[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = fold(a.ptr[i - 1]) == fold(b.ptr[j - 1]);
            size_t best = min_of(min_of(last[j] + 1, row[j - 1] + 1), last[j - 1] + !same);
            if (i > 1 && j > 1 && fold(a.ptr[i - 1]) == fold(b.ptr[j - 2]) &&
                fold(a.ptr[i - 2]) == fold(b.ptr[j - 1])) {
                best = min_of(best, before[j - 2] + 1);
            }
            row[j] = best;
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b.len];
}

size_t ps_config_nearness(struct ps_slice a, struct ps_slice b)
{
    if (a.len == 0 || b.len == 0 || a.len > NEAR_MAX || b.len > NEAR_MAX) {
        return SIZE_MAX;
    }
    size_t far = distance(a, b);
    size_t longer = a.len > b.len ? a.len : b.len;
    size_t allowed = longer < 4 ? 1 : longer < 8 ? 2 : 3;
    if (far <= allowed && far < longer) {
        return far;
    }
    /* "url" for "base_url", "threads" for "event_threads" */
    struct ps_slice shorter = a.len < b.len ? a : b;
    struct ps_slice other = a.len < b.len ? b : a;
    return shorter.len >= 3 && memmem(other.ptr, other.len, shorter.ptr, shorter.len) != NULL
               ? NEAR_MAX
               : SIZE_MAX;
}

void ps_option_suggest(const struct ps_option *parent, struct ps_slice key, struct ps_buf *out)
{
    const struct ps_option *nearest = NULL;
    const struct ps_option *namesake = NULL;
    size_t nearest_far = SIZE_MAX;
    for (size_t i = 0; i < ps_option_count; i++) {
        const struct ps_option *option = &ps_options[i];
        struct ps_slice name = ps_slice_cstr(ps_option_name(option));
        if (ps_option_is_child(parent, option)) {
            size_t far = ps_config_nearness(key, name);
            if (far < nearest_far) {
                nearest = option;
                nearest_far = far;
            }
        } else if (namesake == NULL && ps_slice_eq(key, name)) {
            namesake = option;
        }
    }
    /* The very key, at another place, is a better guess than one that only looks like it. */
    if (namesake != NULL && (nearest == NULL || nearest_far > 1)) {
        ps_buf_printf(out, "a known key (did you mean \"%s\"?)", namesake->path);
        return;
    }
    if (nearest != NULL) {
        ps_buf_printf(out, "a known key (did you mean \"%s\"?)", ps_option_name(nearest));
        return;
    }
    ps_buf_cstr(out, "one of the keys");
    const char *before = " ";
    for (size_t i = 0; i < ps_option_count; i++) {
        if (ps_option_is_child(parent, &ps_options[i])) {
            ps_buf_printf(out, "%s%s", before, ps_option_name(&ps_options[i]));
            before = ", ";
        }
    }
}
