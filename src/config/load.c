/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* From the tree to the snapshot, along the table. */

/* A snapshot lives in one piece of the heap and one arena. */
struct owner {
    struct ps_arena arena;
    struct ps_config config;
};

/* ---- where we are, and what was wrong there ---- */

struct ps_config_at ps_config_at_node(const struct ps_config_load *load,
                                      const struct ps_yaml_node *node)
{
    return (struct ps_config_at){load->file, node->line};
}

void ps_config_no_memory(struct ps_config_load *load)
{
    if (!load->out_of_memory) {
        ps_config_error(load->errors, (struct ps_config_at){load->file, 0}, load->key.text,
                        "out of memory");
    }
    load->out_of_memory = true;
}

static bool is_container(enum ps_option_type type)
{
    return type <= PS_OPT_AUTH || type == PS_OPT_ENDPOINTS || type == PS_OPT_SECRETS ||
           type == PS_OPT_HEADERS || type == PS_OPT_ORIGINS || type == PS_OPT_NETS;
}

/*
 * What stood in the file, as far as it may be shown: nothing of secrets, nothing that came from the
 * environment, no user name or password of a URL and nothing of its query.
 */
static void put_found(struct ps_config_load *load, const struct ps_option *option,
                      const struct ps_yaml_node *node, struct ps_buf *out)
{
    struct ps_slice text = node->text;
    if (node->kind == PS_YAML_NOTHING) {
        ps_buf_cstr(out, "nothing");
    } else if (node->kind == PS_YAML_LIST) {
        ps_buf_cstr(out, "a list");
    } else if (node->kind == PS_YAML_MAP) {
        ps_buf_cstr(out, "keys and values");
    } else if (option->flags & PS_OPTION_SECRET) {
        ps_buf_cstr(out, text.len > 0 ? "another value (not shown)" : "an empty one");
    } else if (ps_env_mentioned(text)) {
        const char *names = ps_env_names(text, &load->scratch);
        ps_buf_printf(out, "the value of %s", names != NULL ? names : "a variable");
    } else if (strstr(text.ptr, "://") != NULL && strchr(text.ptr, '@') != NULL) {
        ps_buf_cstr(out, "a URL with a user name or password (not shown)");
    } else {
        size_t len = strstr(text.ptr, "://") != NULL ? strcspn(text.ptr, "?#") : text.len;
        size_t shown = len < PS_CONFIG_SHOWN_MAX ? len : PS_CONFIG_SHOWN_MAX;
        ps_buf_json(out, ps_slice(text.ptr, shown));
        ps_buf_cstr(out, shown < text.len ? "…" : "");
    }
}

void ps_config_mistake(struct ps_config_load *load, const struct ps_option *option,
                       const struct ps_yaml_node *node, const char *expected)
{
    if (node->kind == PS_YAML_BROKEN) {
        return;
    }
    struct ps_buf usual;
    struct ps_buf found;
    ps_buf_init(&usual, 1024);
    ps_buf_init(&found, 1024);
    if (expected == NULL) {
        ps_option_expected(option, &usual);
    }
    bool no_place_for_text =
        option->type <= PS_OPT_AUTH || (expected == NULL && is_container(option->type));
    if (node->kind == PS_YAML_TEXT && no_place_for_text) {
        ps_buf_cstr(&found,
                    option->flags & PS_OPTION_SECRET ? "another value (not shown)" : "text");
    } else {
        put_found(load, option, node, &found);
    }
    ps_buf_byte(&usual, '\0');
    ps_buf_byte(&found, '\0');
    if (usual.failed || found.failed) {
        ps_config_no_memory(load);
    } else {
        ps_config_error(load->errors, ps_config_at_node(load, node), load->key.text,
                        "expected %s, found %s", expected != NULL ? expected : usual.ptr,
                        found.ptr);
    }
    ps_buf_deinit(&usual);
    ps_buf_deinit(&found);
}

/* ---- memory of the snapshot ---- */

void *ps_config_alloc(struct ps_config_load *load, size_t count, size_t size)
{
    /* Counts come from the tree, which is small. One item more than none keeps NULL for failure. */
    void *memory = ps_arena_calloc(load->arena, (count > 0 ? count : 1) * size);
    if (memory == NULL) {
        ps_config_no_memory(load);
    }
    return memory;
}

const char *ps_config_copy(struct ps_config_load *load, struct ps_slice text)
{
    const char *copy = ps_arena_strdup(load->arena, text);
    if (copy == NULL) {
        ps_config_no_memory(load);
    }
    return copy;
}

static void wipe(void *text)
{
    explicit_bzero(text, strlen(text));
}

const char *ps_config_copy_secret(struct ps_config_load *load, struct ps_slice text)
{
    char *copy = ps_arena_strdup(load->arena, text);
    if (copy != NULL && ps_arena_defer(load->arena, wipe, copy) != 0) {
        wipe(copy);
        copy = NULL;
    }
    if (copy == NULL) {
        ps_config_no_memory(load);
    }
    return copy;
}

const char *ps_config_path(struct ps_config_load *load, const char *dir, struct ps_slice path)
{
    if (path.len > 0 && path.ptr[0] == '/') {
        return ps_config_copy(load, path);
    }
    while (path.len >= 2 && path.ptr[0] == '.' && path.ptr[1] == '/') {
        path = ps_slice(path.ptr + 2, path.len - 2);
    }
    const char *joined =
        ps_arena_printf(load->arena, "%s%s%.*s", dir, strcmp(dir, "/") == 0 ? "" : "/",
                        (int)path.len, path.len > 0 ? path.ptr : "");
    if (joined == NULL) {
        ps_config_no_memory(load);
    }
    return joined;
}

/* ---- records ---- */

void ps_config_defaults(struct ps_config_load *load, const struct ps_option *parent, void *record)
{
    for (size_t i = 0; i < ps_option_count; i++) {
        const struct ps_option *option = &ps_options[i];
        if (!ps_option_in_record(parent, option)) {
            continue;
        }
        if (option->type == PS_OPT_TIME && option->fallback == NULL) {
            int64_t unset = -1;
            memcpy((char *)record + option->offset, &unset, sizeof unset);
        } else if (option->fallback != NULL && !is_container(option->type)) {
            struct ps_yaml_node node = {.kind = PS_YAML_TEXT,
                                        .text = ps_slice_cstr(option->fallback)};
            ps_config_read_field(load, option, &node, record);
        }
    }
}

static void load_members(struct ps_config_load *load, const struct ps_option *parent,
                         const struct ps_yaml_node *node, void *record);

static void check_required(struct ps_config_load *load, const struct ps_option *parent,
                           const struct ps_yaml_node *node)
{
    for (size_t i = 0; i < ps_option_count; i++) {
        const struct ps_option *option = &ps_options[i];
        const char *name = ps_option_name(option);
        if (!(option->flags & PS_OPTION_REQUIRED) || !ps_option_is_child(parent, option) ||
            ps_yaml_get(node, name) != NULL) {
            continue;
        }
        struct ps_yaml_node nothing = {.kind = PS_YAML_NOTHING, .line = node->line};
        size_t mark = ps_key_path_name(&load->key, ps_slice_cstr(name));
        ps_config_mistake(load, option, &nothing, NULL);
        ps_key_path_back(&load->key, mark);
    }
}

static void load_record(struct ps_config_load *load, const struct ps_option *option,
                        const struct ps_yaml_node *node, void *record)
{
    if (option->record != PS_RECORD_TLS) {
        /* The place is the first member of all the others. */
        struct ps_config_at at = ps_config_at_node(load, node);
        memcpy(record, &at, sizeof at);
    }
    ps_config_defaults(load, option, record);
    if (node->kind != PS_YAML_MAP) {
        ps_config_mistake(load, option, node, "keys and values");
        return;
    }
    load_members(load, option, node, record);
    check_required(load, option, node);
    ps_config_check_record(load, option, node, record);
}

_Static_assert(offsetof(struct ps_config_listener, at) == 0 &&
                   offsetof(struct ps_config_key, at) == 0 &&
                   offsetof(struct ps_config_provider, at) == 0 &&
                   offsetof(struct ps_config_model, at) == 0 &&
                   offsetof(struct ps_config_target, at) == 0,
               "load_record writes the place first");

static void load_records(struct ps_config_load *load, const struct ps_option *option,
                         const struct ps_yaml_node *node, void *record)
{
    bool one = option->type == PS_OPT_TLS && node->kind == PS_YAML_MAP;
    bool list = node->kind == PS_YAML_LIST;
    bool required = (option->flags & PS_OPTION_REQUIRED) || option->record == PS_RECORD_LISTENER ||
                    option->type == PS_OPT_TLS;
    if (node->kind == PS_YAML_NOTHING && !required) {
        return;
    }
    if (!one && !list) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    if (list && node->count == 0 && required) {
        ps_config_error(load->errors, ps_config_at_node(load, node), load->key.text,
                        "expected a list with at least one item, found an empty one");
        return;
    }
    size_t count = one ? 1 : node->count;
    char *items = ps_config_alloc(load, count, option->size);
    if (items == NULL) {
        return;
    }
    memcpy((char *)record + option->offset, &items, sizeof items);
    memcpy((char *)record + option->count_offset, &count, sizeof count);
    const struct ps_yaml_node *item = one ? node : node->first;
    for (size_t i = 0; i < count; i++) {
        size_t mark = load->key.len;
        if (list) {
            mark = ps_key_path_index(&load->key, i);
        }
        load_record(load, option, item, items + i * option->size);
        ps_key_path_back(&load->key, mark);
        item = item->next;
    }
}

/* Providers by name. */
static void load_named(struct ps_config_load *load, const struct ps_option *option,
                       const struct ps_yaml_node *node, struct ps_config *config)
{
    if (node->kind == PS_YAML_NOTHING) {
        return;
    }
    if (node->kind != PS_YAML_MAP) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    config->providers = ps_config_alloc(load, node->count, sizeof *config->providers);
    if (config->providers == NULL) {
        return;
    }
    config->provider_count = node->count;
    struct ps_config_provider *provider = config->providers;
    for (const struct ps_yaml_node *item = node->first; item != NULL;
         item = item->next, provider++) {
        size_t mark = ps_key_path_name(&load->key, item->key);
        const char *expected = ps_config_parse_provider_name(item->key);
        if (expected != NULL) {
            ps_config_error(load->errors, ps_config_at_node(load, item), load->key.text,
                            "expected %s, found other characters in it", expected);
        } else {
            provider->name = ps_config_copy(load, item->key);
        }
        load_record(load, option, item, provider);
        ps_key_path_back(&load->key, mark);
    }
}

static void load_auth(struct ps_config_load *load, const struct ps_option *option,
                      const struct ps_yaml_node *node, struct ps_config *config)
{
    if (node->kind == PS_YAML_MAP) {
        config->auth = PS_AUTH_KEYS;
        load_members(load, option, node, config);
        check_required(load, option, node);
        return;
    }
    struct ps_slice text = ps_config_scalar(load, option, node);
    if (text.ptr == NULL) {
        /* Reported; a second message about open listeners would only confuse. */
        config->auth = PS_AUTH_KEYS;
    } else if (ps_slice_eq_cstr(text, "none")) {
        config->auth = PS_AUTH_NONE;
    } else {
        config->auth = PS_AUTH_KEYS;
        ps_config_mistake(load, option, node, NULL);
    }
}

static void load_value(struct ps_config_load *load, const struct ps_option *option,
                       const struct ps_yaml_node *node, void *record)
{
    if (node->kind == PS_YAML_BROKEN) {
        return;
    }
    if (option->type == PS_OPT_SECTION) {
        if (node->kind == PS_YAML_MAP) {
            load_members(load, option, node, record);
        } else if (node->kind != PS_YAML_NOTHING) {
            ps_config_mistake(load, option, node, NULL);
        }
    } else if (option->type == PS_OPT_RECORDS || option->type == PS_OPT_TLS) {
        load_records(load, option, node, record);
    } else if (option->type == PS_OPT_NAMED) {
        load_named(load, option, node, record);
    } else if (option->type == PS_OPT_AUTH) {
        load_auth(load, option, node, record);
    } else {
        ps_config_read_field(load, option, node, record);
    }
}

static void report_unknown(struct ps_config_load *load, const struct ps_option *parent,
                           const struct ps_yaml_node *node)
{
    struct ps_buf expected;
    struct ps_buf found;
    ps_buf_init(&expected, 2048);
    ps_buf_init(&found, 1024);
    ps_option_suggest(parent, node->key, &expected);
    ps_buf_json(&found,
                ps_slice(node->key.ptr, node->key.len < PS_CONFIG_SHOWN_MAX ? node->key.len
                                                                            : PS_CONFIG_SHOWN_MAX));
    ps_buf_byte(&expected, '\0');
    ps_buf_byte(&found, '\0');
    if (expected.failed || found.failed) {
        ps_config_no_memory(load);
    } else {
        ps_config_error(load->errors, ps_config_at_node(load, node), load->key.text,
                        "expected %s, found %s", expected.ptr, found.ptr);
    }
    ps_buf_deinit(&expected);
    ps_buf_deinit(&found);
}

static void load_members(struct ps_config_load *load, const struct ps_option *parent,
                         const struct ps_yaml_node *node, void *record)
{
    for (const struct ps_yaml_node *item = node->first; item != NULL; item = item->next) {
        const struct ps_option *option = ps_option_child(parent, item->key);
        size_t mark = ps_key_path_name(&load->key, item->key);
        if (option == NULL) {
            report_unknown(load, parent, item);
        } else {
            load_value(load, option, item, record);
        }
        ps_key_path_back(&load->key, mark);
    }
}

/* ---- the whole ---- */

static void load_tree(struct ps_config_load *load, struct ps_slice yaml)
{
    struct ps_yaml_node *root = ps_yaml_read(yaml, load->file, &load->scratch, load->errors);
    if (root != NULL) {
        load_members(load, NULL, root, load->config);
        ps_yaml_wipe(root);
    }
}

/* The folder that the relative paths of a file begin at. */
static const char *folder_of(struct ps_config_load *load, const char *file)
{
    char here[PATH_MAX];
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;
    if (slash == file && slash != NULL) {
        return "/";
    }
    struct ps_slice folder = slash != NULL ? ps_slice(file, (size_t)(slash - file)) : PS_SLICE_NONE;
    if (folder.len > 0 && folder.ptr[0] == '/') {
        return ps_config_copy(load, folder);
    }
    if (getcwd(here, sizeof here) == NULL) {
        ps_config_error(load->errors, (struct ps_config_at){load->file, 0}, NULL,
                        "expected a current folder, found: %s", strerror(errno));
        return NULL;
    }
    if (folder.len == 0) {
        return ps_config_copy(load, ps_slice_cstr(here));
    }
    return ps_config_path(load, here, folder);
}

static void add_default_listener(struct ps_config_load *load)
{
    struct ps_config *config = load->config;
    if (config->listener_count > 0) {
        return;
    }
    config->listeners = ps_config_alloc(load, 1, sizeof *config->listeners);
    if (config->listeners != NULL) {
        config->listener_count = 1;
        config->listeners->at = (struct ps_config_at){load->file, 0};
        (void)ps_config_set_address(load, PS_SLICE_LIT("127.0.0.1:8080"), load->dir,
                                    config->listeners);
    }
}

/* yaml.ptr NULL: no file. */
static void build(struct ps_config_load *load, struct ps_slice yaml,
                  const struct ps_config_overrides *overrides, const ps_config_check_fn *checks,
                  size_t check_count)
{
    size_t before = load->errors->count;
    ps_config_defaults(load, NULL, load->config);
    if (yaml.ptr != NULL) {
        load_tree(load, yaml);
    } else {
        load->without_file = true;
        ps_config_from_environment(load, overrides != NULL ? overrides->dialects : NULL);
    }
    if (overrides != NULL) {
        ps_config_apply_overrides(load, overrides);
    }
    add_default_listener(load);
    if (!load->out_of_memory) {
        ps_config_check_all(load);
    }
    /* Upper rooms may rely on what was checked here. */
    for (size_t i = 0; i < check_count && load->errors->count == before; i++) {
        checks[i](load->config, load->errors);
    }
}

static struct ps_config *make(const char *name, const char *path, struct ps_slice yaml,
                              const struct ps_config_overrides *overrides,
                              const ps_config_check_fn *checks, size_t check_count,
                              struct ps_config_errors *errors)
{
    size_t before = errors->count;
    struct owner *owner = ps_calloc(1, sizeof *owner);
    if (owner == NULL) {
        ps_config_error(errors, (struct ps_config_at){name, 0}, NULL, "out of memory");
        return NULL;
    }
    ps_arena_init(&owner->arena, PS_CONFIG_MEMORY_MAX);
    struct ps_config *config = &owner->config;
    atomic_init(&config->refs, 1);
    config->memory = owner;
    struct ps_config_load load = {.arena = &owner->arena,
                                  .errors = errors,
                                  .config = config,
                                  .no_files = overrides != NULL && overrides->no_files,
                                  .from_file = path != NULL};
    ps_arena_init(&load.scratch, PS_CONFIG_MEMORY_MAX);
    load.file = ps_config_copy(&load, ps_slice_cstr(name));
    load.dir = folder_of(&load, path);
    if (load.file != NULL && load.dir != NULL) {
        config->file = yaml.ptr != NULL ? load.file : NULL;
        build(&load, yaml, overrides, checks, check_count);
    }
    ps_arena_deinit(&load.scratch);
    if (errors->count != before) {
        ps_config_unref(config);
        return NULL;
    }
    return config;
}

struct ps_config *ps_config_parse(const char *name, struct ps_slice yaml,
                                  const struct ps_config_overrides *overrides,
                                  const ps_config_check_fn *checks, size_t check_count,
                                  struct ps_config_errors *errors)
{
    struct ps_slice text = yaml.ptr != NULL ? yaml : ps_slice("", 0);
    return make(name != NULL ? name : "text", NULL, text, overrides, checks, check_count, errors);
}

struct ps_config *ps_config_load(const char *file, const struct ps_config_overrides *overrides,
                                 const ps_config_check_fn *checks, size_t check_count,
                                 struct ps_config_errors *errors)
{
    if (file == NULL) {
        return make("defaults", NULL, PS_SLICE_NONE, overrides, checks, check_count, errors);
    }
    char *bytes = NULL;
    size_t len = 0;
    int error = ps_config_read_file(file, PS_CONFIG_FILE_MAX, &bytes, &len);
    if (error != 0) {
        ps_config_error(errors, (struct ps_config_at){file, 0}, NULL,
                        "expected a file of at most %d bytes that can be read, found: %s",
                        PS_CONFIG_FILE_MAX, error == -EFBIG ? "a bigger one" : strerror(-error));
        return NULL;
    }
    struct ps_config *config =
        make(file, file, ps_slice(bytes, len), overrides, checks, check_count, errors);
    explicit_bzero(bytes, len);
    ps_free(bytes);
    return config;
}

struct ps_config *ps_config_ref(struct ps_config *config)
{
    atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
    return config;
}

void ps_config_unref(struct ps_config *config)
{
    if (config == NULL || atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct owner *owner = config->memory;
    ps_arena_deinit(&owner->arena); /* overwrites the secrets */
    ps_free(owner);
}

const struct ps_config_provider *ps_config_provider(const struct ps_config *config,
                                                    struct ps_slice name)
{
    for (size_t i = 0; i < config->provider_count; i++) {
        const char *known = config->providers[i].name;
        if (known != NULL && ps_slice_eq_cstr(name, known)) {
            return &config->providers[i];
        }
    }
    return NULL;
}

const struct ps_config_model *ps_config_model(const struct ps_config *config, struct ps_slice name)
{
    for (size_t i = 0; i < config->model_count; i++) {
        const char *known = config->models[i].name;
        if (known != NULL && ps_slice_eq_cstr(name, known)) {
            return &config->models[i];
        }
    }
    return NULL;
}
