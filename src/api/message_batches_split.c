/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"

#include <stdio.h>

/*
 * The strict scan goes over each piece first; what follows counts brackets in text that is known to
 * be JSON as far as it was scanned.
 */

static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};

#define LIST_DEPTH 2 /* directly in the list */

void ps_split_init(struct ps_split *split, size_t item_bytes, const struct ps_split_ops *ops,
                   void *arg)
{
    *split = (struct ps_split){.ops = ops, .arg = arg};
    ps_json_scan_init(&split->scan, NULL, &limits, NULL, NULL);
    ps_buf_init(&split->item, item_bytes);
}

void ps_split_deinit(struct ps_split *split)
{
    ps_buf_deinit(&split->item);
}

static int not_json(enum ps_json_error error, struct ps_fault *fault)
{
    return ps_fault_set(fault, PS_FAULT_BAD_JSON, NULL, "The body %s.", ps_json_error_text(error));
}

static int no_list(struct ps_fault *fault)
{
    return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "requests",
                        "requests must be a list, given once.");
}

static int end_item(struct ps_split *split, struct ps_fault *fault)
{
    char param[PS_FAULT_PARAM];
    if (split->item.len == 0 && !split->item.failed) {
        return 0; /* an empty list */
    }
    if (split->item.failed) {
        (void)snprintf(param, sizeof(param), "requests.%llu", (unsigned long long)split->count);
        return ps_fault_set(fault, PS_FAULT_BODY_TOO_LARGE, param,
                            "%s is larger than a request may be.", param);
    }
    int result = split->ops->on_item(split->arg, split->count, ps_buf_view(&split->item), fault);
    ps_buf_reset(&split->item);
    split->count++;
    return result;
}

static void note_key(struct ps_split *split, char byte)
{
    if (split->key_len < sizeof(split->key)) {
        split->key[split->key_len] = byte;
    }
    split->key_len++;
}

static bool is_wanted(const struct ps_split *split)
{
    return split->key_len <= sizeof(split->key) &&
           ps_slice_eq_cstr(ps_slice(split->key, split->key_len), "requests");
}

static void take_string(struct ps_split *split, char byte)
{
    bool ends = byte == '"' && !split->escaped;
    split->escaped = byte == '\\' && !split->escaped;
    split->in_string = !ends;
    if (split->in_list) {
        ps_buf_byte(&split->item, byte);
    } else if (split->depth == 1 && !ends) {
        note_key(split, byte);
    }
}

static int open_bracket(struct ps_split *split, char byte, struct ps_fault *fault)
{
    if (split->in_list) {
        ps_buf_byte(&split->item, byte);
    } else if (byte == '[' && split->depth == 1 && split->scan.root == PS_JSON_OBJECT &&
               is_wanted(split)) {
        if (split->seen) {
            return no_list(fault);
        }
        split->seen = true;
        split->in_list = true;
    }
    split->depth++;
    return 0;
}

static int close_bracket(struct ps_split *split, char byte, struct ps_fault *fault)
{
    split->depth--;
    if (!split->in_list) {
        return 0;
    }
    if (split->depth >= LIST_DEPTH) {
        ps_buf_byte(&split->item, byte);
        return 0;
    }
    split->in_list = false;
    return end_item(split, fault);
}

static int take_byte(struct ps_split *split, char byte, struct ps_fault *fault)
{
    switch (byte) {
    case '"':
        split->in_string = true;
        split->key_len = split->depth == 1 ? 0 : split->key_len;
        break;
    case '{':
    case '[':
        return open_bracket(split, byte, fault);
    case '}':
    case ']':
        return close_bracket(split, byte, fault);
    case ',':
        if (split->in_list && split->depth == LIST_DEPTH) {
            return end_item(split, fault);
        }
        break;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        return 0; /* between tokens it says nothing */
    default:
        break;
    }
    if (split->in_list) {
        ps_buf_byte(&split->item, byte);
    }
    return 0;
}

int ps_split_feed(struct ps_split *split, const char *ptr, size_t len, struct ps_fault *fault)
{
    enum ps_json_error error = ps_json_scan_feed(&split->scan, ptr, len);
    if (error != PS_JSON_OK) {
        return not_json(error, fault);
    }
    for (size_t i = 0; i < len; i++) {
        if (split->in_string) {
            take_string(split, ptr[i]);
        } else if (take_byte(split, ptr[i], fault) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_split_finish(struct ps_split *split, struct ps_fault *fault)
{
    enum ps_json_error error = ps_json_scan_finish(&split->scan);
    if (error != PS_JSON_OK) {
        return not_json(error, fault);
    }
    if (!split->seen) {
        return no_list(fault);
    }
    return split->count > 0 ? 0
                            : ps_fault_set(fault, PS_FAULT_BAD_FIELD, "requests",
                                           "requests must hold at least one request.");
}
