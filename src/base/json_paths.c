/* SPDX-License-Identifier: Apache-2.0 */
#include "json_priv.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"

#include <string.h>

/*
 * Steps of one path; 0 when it is malformed. The empty path has none and is handled by the caller.
 */
static size_t count_steps(const char *path)
{
    size_t steps = 0;
    for (;;) {
        size_t len = strcspn(path, ".");
        if (len == 0 || len > PS_JSON_MAX_KEY) {
            return 0;
        }
        steps++;
        path += len;
        if (*path == '\0') {
            return steps <= PS_JSON_MAX_STEPS ? steps : 0;
        }
        path++;
    }
}

static void init_node(struct ps_json_node *node)
{
    *node = (struct ps_json_node){.path = -1, .unique_path = -1};
}

/* The child of `parent` for one step of a path, made when it is not there. */
static uint16_t take_step(struct ps_json_node *nodes, uint16_t *count, uint16_t parent,
                          const char *step, size_t len, uint8_t depth)
{
    bool star = len == 1 && step[0] == '*';
    uint16_t id = star ? nodes[parent].star : ps_json_paths_child(nodes, parent, step, len);
    if (id != PS_JSON_NODE_NONE) {
        return id;
    }
    id = (*count)++;
    init_node(&nodes[id]);
    if (star) {
        nodes[parent].star = id;
        nodes[id].star_depth = depth;
        return id;
    }
    uint16_t first = nodes[parent].child;
    nodes[id].key = step;
    nodes[id].key_len = (uint8_t)len;
    nodes[id].star_depth = nodes[parent].star_depth;
    nodes[id].sibling = first;
    nodes[id].ordinal = 0;
    if (first != PS_JSON_NODE_NONE) {
        nodes[id].ordinal = (uint8_t)(nodes[first].ordinal + 1);
    }
    nodes[parent].child = id;
    nodes[parent].lengths |= UINT64_C(1) << len;
    return id;
}

/* False when the same path has been added before. */
static bool add_path(struct ps_json_node *nodes, uint16_t *count, const struct ps_json_path *path,
                     size_t index)
{
    uint16_t id = PS_JSON_NODE_ROOT;
    const char *step = path->path;
    for (uint8_t depth = 1; *step != '\0'; depth++) {
        size_t len = strcspn(step, ".");
        id = take_step(nodes, count, id, step, len, depth);
        if (path->unique && nodes[id].unique_path < 0) {
            nodes[id].unique_path = (int16_t)index;
        }
        step += len;
        if (*step == '.') {
            step++;
        }
    }
    if (nodes[id].path >= 0) {
        return false;
    }
    nodes[id].path = (int16_t)index;
    return true;
}

struct ps_json_paths *ps_json_paths_new(const struct ps_json_path *paths, size_t count)
{
    if (count > PS_JSON_MAX_PATHS) {
        return NULL;
    }
    size_t nodes = 2; /* nothing, and the root */
    for (size_t i = 0; i < count; i++) {
        size_t steps = 0;
        if (paths[i].path[0] != '\0') {
            steps = count_steps(paths[i].path);
            if (steps == 0) {
                return NULL;
            }
        }
        nodes += steps;
    }
    _Static_assert(sizeof(struct ps_json_paths) % _Alignof(struct ps_json_node) == 0,
                   "the nodes follow the head of their allocation");
    struct ps_json_paths *ret = ps_malloc(sizeof(*ret) + nodes * sizeof(struct ps_json_node));
    if (ret == NULL) {
        return NULL;
    }
    ret->nodes = (struct ps_json_node *)(void *)(ret + 1);
    init_node(&ret->nodes[PS_JSON_NODE_NONE]);
    init_node(&ret->nodes[PS_JSON_NODE_ROOT]);
    uint16_t used = 2;
    for (size_t i = 0; i < count; i++) {
        if (!add_path(ret->nodes, &used, &paths[i], i)) {
            ps_free(ret);
            return NULL;
        }
    }
    return ret;
}

void ps_json_paths_free(struct ps_json_paths *paths)
{
    ps_free(paths);
}
