/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <string.h>

/* What a reload cannot change. */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_listener(const struct ps_config_listener *a, const struct ps_config_listener *b)
{
    if (!same_text(a->address, b->address) || !same_text(a->path, b->path) ||
        a->tls_count != b->tls_count) {
        return false;
    }
    for (size_t i = 0; i < a->tls_count; i++) {
        if (!same_text(a->tls[i].certificate, b->tls[i].certificate) ||
            !same_text(a->tls[i].key, b->tls[i].key)) {
            return false;
        }
    }
    return true;
}

static bool same_listeners(const struct ps_config *a, const struct ps_config *b)
{
    for (size_t i = 0; i < a->listener_count && a->listener_count == b->listener_count; i++) {
        if (!same_listener(&a->listeners[i], &b->listeners[i])) {
            return false;
        }
    }
    return a->listener_count == b->listener_count;
}

static bool same_value(const struct ps_option *option, const struct ps_config *a,
                       const struct ps_config *b)
{
    const char *left = (const char *)a + option->offset;
    const char *right = (const char *)b + option->offset;
    if (option->type == PS_OPT_UINT32 || option->type == PS_OPT_AUTO32) {
        return memcmp(left, right, sizeof(uint32_t)) == 0;
    }
    if (option->type == PS_OPT_SIZE) {
        return memcmp(left, right, sizeof(uint64_t)) == 0;
    }
    if (option->type == PS_OPT_TEXT || option->type == PS_OPT_PATH) {
        const char *texts[2];
        memcpy(&texts[0], left, sizeof texts[0]);
        memcpy(&texts[1], right, sizeof texts[1]);
        return same_text(texts[0], texts[1]);
    }
    if (option->record == PS_RECORD_LISTENER) {
        return same_listeners(a, b);
    }
    return true; /* sections, whose keys are looked at themselves */
}

size_t ps_config_restart_keys(const struct ps_config *before, const struct ps_config *after,
                              struct ps_buf *out)
{
    size_t count = 0;
    for (size_t i = 0; i < ps_option_count; i++) {
        const struct ps_option *option = &ps_options[i];
        if ((option->flags & PS_OPTION_RESTART) && ps_option_in_record(NULL, option) &&
            !same_value(option, before, after)) {
            ps_buf_printf(out, "%s%s", count > 0 ? ", " : "", option->path);
            count++;
        }
    }
    return count;
}
