/* SPDX-License-Identifier: Apache-2.0 */
#include "http_priv.h"

#define STEP_BYTES 256

static bool is_escaped_well(struct ps_slice step)
{
    for (size_t i = 0; i < step.len; i++) {
        if (step.ptr[i] == '~' &&
            (i + 1 >= step.len || (step.ptr[i + 1] != '0' && step.ptr[i + 1] != '1'))) {
            return false;
        }
    }
    return step.len <= STEP_BYTES;
}

bool ps_pointer_read(struct ps_slice text, struct ps_pointer *ret)
{
    ret->count = 0;
    if (text.len == 0) {
        return true;
    }
    if (text.ptr[0] != '/') {
        return false;
    }
    while (text.len > 0) {
        const char *next;
        struct ps_slice step = ps_slice(text.ptr + 1, text.len - 1);

        next = step.len > 0 ? memchr(step.ptr, '/', step.len) : NULL;
        if (next != NULL) {
            step.len = (size_t)(next - step.ptr);
        }
        if (ret->count == PS_POINTER_STEPS || !is_escaped_well(step)) {
            return false;
        }
        ret->steps[ret->count++] = step;
        text = ps_slice(text.ptr + 1 + step.len, text.len - 1 - step.len);
    }
    return true;
}

bool ps_pointer_is(struct ps_slice step, struct ps_slice key)
{
    char plain[STEP_BYTES];
    size_t len = 0;

    for (size_t i = 0; i < step.len && len < sizeof(plain); i++) {
        if (step.ptr[i] == '~' && i + 1 < step.len) {
            plain[len++] = step.ptr[++i] == '1' ? '/' : '~';
        } else {
            plain[len++] = step.ptr[i];
        }
    }
    return ps_json_key_is(key, ps_slice(plain, len));
}

int ps_pointer_index(struct ps_slice step)
{
    int index = 0;

    if (step.len == 0 || step.len > 6 || (step.len > 1 && step.ptr[0] == '0')) {
        return -1;
    }
    for (size_t i = 0; i < step.len; i++) {
        if (step.ptr[i] < '0' || step.ptr[i] > '9') {
            return -1;
        }
        index = index * 10 + (step.ptr[i] - '0');
    }
    return index;
}

static struct ps_slice step_into(struct ps_slice json, struct ps_slice step)
{
    struct ps_slice found = PS_SLICE_NONE;
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;
    int index = ps_pointer_index(step);

    ps_json_walk_init(&walk, json);
    if (ps_raw_begins(json, '[')) {
        for (int i = 0; ps_json_walk_element(&walk, &value); i++) {
            if (i == index) {
                return value;
            }
        }
    } else if (ps_raw_begins(json, '{')) {
        while (ps_json_walk_member(&walk, &key, &value)) {
            if (ps_pointer_is(step, key)) {
                found = value;
            }
        }
    }
    return found;
}

struct ps_slice ps_pointer_get(struct ps_slice json, struct ps_slice pointer)
{
    struct ps_pointer steps;

    if (!ps_pointer_read(pointer, &steps)) {
        return PS_SLICE_NONE;
    }
    for (size_t i = 0; i < steps.count && json.len > 0; i++) {
        json = step_into(json, steps.steps[i]);
    }
    return ps_raw_given(json) ? json : PS_SLICE_NONE;
}
