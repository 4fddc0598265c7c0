/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <stdio.h>

static size_t advance(struct ps_key_path *path, int written)
{
    size_t mark = path->len;
    size_t room = sizeof path->text - mark - 1;
    path->len += written > 0 && (size_t)written < room ? (size_t)written : room;
    return mark;
}

size_t ps_key_path_name(struct ps_key_path *path, struct ps_slice name)
{
    int shown = name.len < 100 ? (int)name.len : 100;
    return advance(path, snprintf(path->text + path->len, sizeof path->text - path->len, "%s%.*s",
                                  path->len > 0 ? "." : "", shown, name.len > 0 ? name.ptr : ""));
}

size_t ps_key_path_index(struct ps_key_path *path, size_t index)
{
    return advance(path,
                   snprintf(path->text + path->len, sizeof path->text - path->len, "[%zu]", index));
}

void ps_key_path_back(struct ps_key_path *path, size_t mark)
{
    path->text[mark] = '\0';
    path->len = mark;
}
