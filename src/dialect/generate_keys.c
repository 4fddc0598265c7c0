/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"

/* A rule for a name at the top, not for what lies inside it. */
static bool is_top(const struct ps_field_rule *rule)
{
    return strchr(rule->path, '.') == NULL;
}

static bool is_known(const struct ps_key_walk *walk, struct ps_slice key)
{
    for (size_t i = 0; i < walk->rule_count; i++) {
        if (is_top(&walk->rules[i]) && ps_slice_eq_cstr(key, walk->rules[i].path)) {
            return true;
        }
    }
    return false;
}

static void end_key(struct ps_key_walk *walk)
{
    char plain[PS_KEY_BYTES + 2];
    bool cut = walk->len > PS_KEY_BYTES;
    size_t len = cut ? PS_KEY_BYTES : walk->len;

    if (walk->found) {
        return;
    }
    if (cut) {
        /* Its end is lost, maybe inside an escape; no known name is that long. */
        memcpy(plain, walk->key + 1, len - 1);
        len--;
    } else {
        len = ps_json_unescape(ps_slice(walk->key, len), plain);
    }
    if (!cut && is_known(walk, ps_slice(plain, len))) {
        return;
    }
    walk->found = true;
    walk->unknown_len = len;
    memcpy(walk->unknown, plain, len);
}

static void take_string_byte(struct ps_key_walk *walk, char byte)
{
    if (walk->is_key && !walk->found) {
        if (walk->len < PS_KEY_BYTES) {
            walk->key[walk->len] = byte;
        }
        walk->len += walk->len <= PS_KEY_BYTES ? 1 : 0;
    }
    if (walk->escape) {
        walk->escape = false;
    } else if (byte == '\\') {
        walk->escape = true;
    } else if (byte == '"') {
        walk->in_string = false;
        if (walk->is_key) {
            end_key(walk);
        }
    }
}

static void take_structure_byte(struct ps_key_walk *walk, char byte)
{
    switch (byte) {
    case '{':
    case '[':
        walk->depth++;
        walk->want_key = walk->depth == 1;
        break;
    case '}':
    case ']':
        walk->depth--;
        break;
    case ',':
        walk->want_key = walk->depth == 1;
        break;
    case '"':
        walk->in_string = true;
        walk->is_key = walk->want_key;
        walk->want_key = false;
        walk->key[0] = byte;
        walk->len = 1;
        break;
    default:
        break;
    }
}

void ps_key_walk_feed(struct ps_key_walk *walk, const char *ptr, size_t len)
{
    const char *end = ptr + len;

    for (; ptr < end; ptr++) {
        if (walk->in_string) {
            if (!walk->is_key && !walk->escape) {
                while (ptr < end && *ptr != '"' && *ptr != '\\') {
                    ptr++;
                }
                if (ptr == end) {
                    return;
                }
            }
            take_string_byte(walk, *ptr);
        } else {
            take_structure_byte(walk, *ptr);
        }
    }
}

/* ---- what was meant ---- */

static const struct {
    const char *theirs;
    const char *ours;
} other_names[] = {
    {"input", "prompt"},
    {"text_input", "prompt"},
    {"question", "prompt"},
    {"query", "prompt"},
    {"system_prompt", "system"},
    {"instructions", "system"},
    {"model_name", "model"},
    {"max_new_tokens", "max_tokens"},
    {"max_completion_tokens", "max_tokens"},
    {"max_output_tokens", "max_tokens"},
    {"n_predict", "max_tokens"},
    {"num_predict", "max_tokens"},
    {"stop_sequences", "stop"},
    {"stop_words", "stop"},
    {"random_seed", "seed"},
    {"streaming", "stream"},
};

static char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

/* How many bytes must be changed, added or taken away, upper and lower case being the same. */
static size_t distance(struct ps_slice a, struct ps_slice b)
{
    size_t row[32];

    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = diagonal + (lower(a.ptr[i - 1]) != lower(b.ptr[j - 1]) ? 1 : 0);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[b.len];
}

static const char *meant(const struct ps_key_walk *walk)
{
    struct ps_slice key = ps_slice(walk->unknown, walk->unknown_len);

    for (size_t i = 0; i < sizeof(other_names) / sizeof(other_names[0]); i++) {
        if (ps_slice_eq_cstr(key, other_names[i].theirs)) {
            return other_names[i].ours;
        }
    }
    for (size_t i = 0; key.len < 24 && i < walk->rule_count; i++) {
        struct ps_slice path = ps_slice_cstr(walk->rules[i].path);

        if (is_top(&walk->rules[i]) && walk->rules[i].kind != PS_FIELD_FORBIDDEN &&
            distance(key, path) <= 2) {
            return walk->rules[i].path;
        }
    }
    return NULL;
}

int ps_key_walk_fault(const struct ps_key_walk *walk, struct ps_fault *ret_fault)
{
    const char *hint = meant(walk);
    char name[PS_FAULT_PARAM];
    size_t len = walk->unknown_len < sizeof(name) ? walk->unknown_len : sizeof(name) - 1;

    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)walk->unknown[i];

        name[i] = byte < 0x20 || byte == 0x7f ? '?' : walk->unknown[i];
    }
    name[len] = '\0';
    if (hint != NULL) {
        return ps_fault_set(ret_fault, PS_FAULT_UNKNOWN_FIELD, name,
                            "The field \"%s\" is unknown; did you mean \"%s\"?", name, hint);
    }
    return ps_fault_set(ret_fault, PS_FAULT_UNKNOWN_FIELD, name, "The field \"%s\" is unknown.",
                        name);
}
