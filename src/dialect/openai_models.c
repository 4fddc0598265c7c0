/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

/* The list of models: {"data":[{"id":…}, …]}, or a bare array of the same; and ours. */

#define ID_BYTES 512

enum {
    WRAPPED_ID,
    WRAPPED,
    BARE_ID,
    BARE,
    DATA,
    PATH_COUNT
};

static const struct ps_json_path list[PATH_COUNT] = {
    [WRAPPED_ID] = {"data.*.id", false},
    [WRAPPED] = {"data.*", false},
    [BARE_ID] = {"*.id", false},
    [BARE] = {"*", false},
    [DATA] = {"data", false},
};

static struct ps_json_paths *paths;

int ps_openai_models_global_init(void)
{
    paths = ps_json_paths_new(list, PATH_COUNT);
    return paths != NULL ? 0 : -1;
}

void ps_openai_models_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

struct models {
    struct ps_slice body;
    struct ps_slice id; /* raw, of the object at hand */
    bool is_list;
    void (*fn)(void *arg, struct ps_slice id, struct ps_slice object);
    void *arg;
};

static void tell(const struct models *models, struct ps_slice object)
{
    char id[ID_BYTES];
    size_t len;

    if (models->fn == NULL || models->id.len <= 2 || models->id.len > sizeof(id)) {
        return;
    }
    len = ps_json_unescape(models->id, id);
    models->fn(models->arg, ps_slice(id, len), object);
}

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct models *models = arg;
    struct ps_slice raw =
        ps_slice(models->body.ptr + value->start, (size_t)(value->end - value->start));

    switch (value->path) {
    case WRAPPED_ID:
    case BARE_ID:
        models->id = value->type == PS_JSON_STRING ? raw : PS_SLICE_NONE;
        break;
    case DATA:
        models->is_list = value->type == PS_JSON_ARRAY;
        break;
    default:
        if (value->type == PS_JSON_OBJECT) {
            tell(models, raw);
        }
        models->id = PS_SLICE_NONE;
        break;
    }
    return true;
}

int ps_openai_models(struct ps_slice body,
                     void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};
    struct models models = {.body = body};
    struct ps_json_scan scan;

    /* Twice, so that nothing is told of a list that turns out broken. */
    for (int round = 0; round < 2; round++) {
        models.fn = round == 0 ? NULL : fn;
        models.arg = arg;
        models.id = PS_SLICE_NONE;
        ps_json_scan_init(&scan, paths, &limits, on_value, &models);
        (void)ps_json_scan_feed(&scan, body.ptr, body.len);
        if (ps_json_scan_finish(&scan) != PS_JSON_OK ||
            (scan.root != PS_JSON_ARRAY && !models.is_list)) {
            return -1;
        }
    }
    return 0;
}

void ps_openai_write_model(const struct ps_model_info *model, struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_json(out, model->id);
    ps_buf_cstr(out, ",\"object\":\"model\",\"created\":");
    ps_buf_int(out, model->created_s);
    ps_buf_cstr(out, ",\"owned_by\":");
    ps_buf_json(out, model->owner);
    ps_buf_byte(out, '}');
}
