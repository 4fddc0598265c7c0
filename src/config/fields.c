/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/*
 * One value: from its node, through the environment, to its place in a record. A value that is
 * wrong is reported and leaves its place as it was.
 */

static void *place(void *record, size_t offset)
{
    return (char *)record + offset;
}

static void put_pointer(void *record, size_t offset, const char *value)
{
    memcpy(place(record, offset), &value, sizeof value);
}

static void put_list(void *record, const struct ps_option *option, void *items, size_t count)
{
    memcpy(place(record, option->offset), &items, sizeof items);
    memcpy(place(record, option->count_offset), &count, sizeof count);
}

/* What one item of a list is expected to be; NULL: what the option itself expects. */
static const char *item_expectation(const struct ps_option *option)
{
    if (option->type == PS_OPT_ENDPOINTS) {
        return "a URL such as https://api.example.com/v1";
    }
    if (option->type == PS_OPT_SECRETS) {
        return "a key, best as \"${NAME}\"";
    }
    if (option->type == PS_OPT_HEADERS) {
        return "the value of a header";
    }
    if (option->type == PS_OPT_ORIGINS) {
        return "an origin such as https://app.example.com";
    }
    return option->type == PS_OPT_NETS ? "an address or a network such as 10.0.0.0/8" : NULL;
}

struct ps_slice ps_config_scalar(struct ps_config_load *load, const struct ps_option *option,
                                 const struct ps_yaml_node *node)
{
    if (node->kind == PS_YAML_BROKEN) {
        return PS_SLICE_NONE;
    }
    if (node->kind != PS_YAML_TEXT) {
        ps_config_mistake(load, option, node, item_expectation(option));
        return PS_SLICE_NONE;
    }
    if (!ps_env_mentioned(node->text)) {
        return node->text;
    }
    struct ps_env_problem problem = {NULL, NULL, PS_SLICE_NONE};
    struct ps_slice value = ps_env_expand(node->text, &load->scratch, &problem);
    if (value.ptr != NULL) {
        return value;
    }
    struct ps_config_at at = ps_config_at_node(load, node);
    if (problem.unset.len > 0) {
        int len = (int)problem.unset.len;
        ps_config_error(load->errors, at, load->key.text,
                        "expected the environment variable %.*s to be set (or a default: "
                        "${%.*s:-…}), found it unset",
                        len, problem.unset.ptr, len, problem.unset.ptr);
    } else if (problem.expected != NULL) {
        ps_config_error(load->errors, at, load->key.text, "expected %s, found %s", problem.expected,
                        problem.found);
    } else {
        ps_config_no_memory(load);
    }
    return PS_SLICE_NONE;
}

static void read_number(struct ps_config_load *load, const struct ps_option *option,
                        const struct ps_yaml_node *node, struct ps_slice text, void *record)
{
    int64_t number = 0;
    uint64_t size = 0;
    bool ok;
    if (option->type == PS_OPT_AUTO32 && ps_slice_eq_cstr(text, "auto")) {
        memset(place(record, option->offset), 0, sizeof(uint32_t));
        return;
    }
    if (option->type == PS_OPT_SIZE) {
        ok = ps_config_parse_size(text, &size) && size <= INT64_MAX;
        number = (int64_t)size;
    } else if (option->type == PS_OPT_TIME) {
        ok = ps_config_parse_time(text, &number);
    } else {
        ok = ps_config_parse_int(text, &number);
    }
    if (!ok || number < option->min || number > option->max) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    /* The table's bounds fit the width of the place. */
    if (option->type == PS_OPT_UINT32 || option->type == PS_OPT_AUTO32) {
        uint32_t narrow = (uint32_t)number;
        memcpy(place(record, option->offset), &narrow, sizeof narrow);
    } else if (option->type == PS_OPT_INT32) {
        int32_t narrow = (int32_t)number;
        memcpy(place(record, option->offset), &narrow, sizeof narrow);
    } else {
        memcpy(place(record, option->offset), &number, sizeof number);
    }
}

static void read_choice(struct ps_config_load *load, const struct ps_option *option,
                        const struct ps_yaml_node *node, struct ps_slice text, void *record)
{
    static const char *const client[] = {"client", NULL};
    int choice = 0;
    bool flag = true;
    bool ok = false;
    if (option->type == PS_OPT_BOOL) {
        ok = ps_config_parse_bool(text, &flag);
    } else {
        ok = ps_config_parse_choice(
            text, option->type == PS_OPT_CLIENT_AUTH ? client : option->choices, &choice);
    }
    if (!ok) {
        ps_config_mistake(load, option, node, NULL);
    } else if (option->type == PS_OPT_ENUM) {
        memcpy(place(record, option->offset), &choice, sizeof choice);
    } else {
        memcpy(place(record, option->offset), &flag, sizeof flag);
    }
}

static void read_text(struct ps_config_load *load, const struct ps_option *option,
                      const struct ps_yaml_node *node, struct ps_slice text, void *record)
{
    const char *expected = NULL;
    const char *value = NULL;
    size_t len = text.len;
    if (option->type == PS_OPT_PROVIDER) {
        expected = ps_config_parse_provider_name(text);
    } else if (option->type == PS_OPT_MODEL) {
        expected = ps_config_parse_model_name(text);
    } else if (option->type == PS_OPT_LABEL) {
        expected = ps_config_parse_label(text);
    } else if (option->type == PS_OPT_PROXY) {
        expected = ps_config_parse_url(text, PS_URL_PROXY, &len);
    } else if (option->type == PS_OPT_PATH || option->type == PS_OPT_MODEL_PATH) {
        expected = ps_config_parse_path(text);
    } else {
        expected = ps_config_parse_line(text);
    }
    if (expected != NULL) {
        ps_config_mistake(load, option, node, expected);
        return;
    }
    if (option->type == PS_OPT_PATH ||
        (option->type == PS_OPT_MODEL_PATH && !ps_slice_eq_cstr(text, "builtin"))) {
        value = ps_config_path(load, load->dir, text);
    } else if (option->type == PS_OPT_PROXY) {
        value = ps_config_copy_secret(load, ps_slice(text.ptr, len));
    } else {
        value = ps_config_copy(load, text);
    }
    bool builtin = option->type == PS_OPT_MODEL_PATH && ps_slice_eq_cstr(text, "builtin");
    if ((option->flags & PS_OPTION_FILE) && !builtin && load->from_file && value != NULL &&
        access(value, R_OK) != 0) {
        ps_config_mistake(load, option, node, "a file that can be read");
        return;
    }
    put_pointer(record, option->offset, value);
    if (option->flags & PS_OPTION_AT) {
        struct ps_config_at at = ps_config_at_node(load, node);
        memcpy(place(record, option->at_offset), &at, sizeof at);
    }
}

/* ---- keys and credentials ---- */

static const char *file_problem(int error)
{
    if (error == 0) {
        return "an empty file";
    }
    return error == -EFBIG ? "a bigger file" : strerror(-error);
}

/* The key in a file, without its last newline, in memory of its own; len 0 after a report. */
static struct ps_slice read_key_file(struct ps_config_load *load, const struct ps_option *option,
                                     const struct ps_yaml_node *node, const char *path,
                                     char **ret_memory)
{
    size_t len = 0;
    *ret_memory = NULL;
    if (load->no_files) {
        return PS_SLICE_LIT("unread");
    }
    int error = ps_config_read_file(path, PS_CONFIG_SECRET_MAX, ret_memory, &len);
    struct ps_slice key = ps_slice(*ret_memory, len);
    if (key.len > 0 && key.ptr[key.len - 1] == '\n') {
        key.len--;
        key.len -= key.len > 0 && key.ptr[key.len - 1] == '\r';
    }
    if (error != 0 || key.len == 0) {
        struct ps_buf expected;
        ps_buf_init(&expected, 1024);
        ps_option_expected(option, &expected);
        ps_config_error(load->errors, ps_config_at_node(load, node), load->key.text,
                        "expected %.*s, found: %s", (int)expected.len,
                        expected.ptr != NULL ? expected.ptr : "", file_problem(error));
        ps_buf_deinit(&expected);
        return PS_SLICE_NONE;
    }
    const char *expected = ps_config_parse_secret(key);
    if (expected != NULL) {
        ps_config_error(load->errors, ps_config_at_node(load, node), load->key.text,
                        "expected %s, found another one in the file", expected);
        return PS_SLICE_NONE;
    }
    return key;
}

static void free_key(char *memory)
{
    if (memory != NULL) {
        explicit_bzero(memory, PS_CONFIG_SECRET_MAX);
        ps_free(memory);
    }
}

static void read_client_key(struct ps_config_load *load, const struct ps_option *option,
                            const struct ps_yaml_node *node, struct ps_slice text,
                            struct ps_config_key *key)
{
    if (option->type == PS_OPT_SHA256) {
        if (!ps_config_parse_sha256(text, key->sha256)) {
            ps_config_mistake(load, option, node, NULL);
        }
        return;
    }
    const char *path =
        ps_config_parse_path(text) == NULL ? ps_config_path(load, load->dir, text) : NULL;
    if (path == NULL) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    char *memory;
    struct ps_slice secret = read_key_file(load, option, node, path, &memory);
    if (secret.len > 0) {
        ps_sha256(secret.ptr, secret.len, key->sha256);
    }
    free_key(memory);
}

static void set_secret(struct ps_config_load *load, struct ps_config_secret *secret,
                       const struct ps_yaml_node *node, struct ps_slice value, const char *source)
{
    secret->at = ps_config_at_node(load, node);
    secret->value = ps_config_copy_secret(load, value);
    secret->source = source;
}

static const char *secret_source(struct ps_config_load *load, const struct ps_yaml_node *node)
{
    if (!ps_env_mentioned(node->text)) {
        return "literal";
    }
    const char *names = ps_env_names(node->text, load->arena);
    if (names == NULL) {
        ps_config_no_memory(load);
    }
    return names;
}

/* An empty one is none. */
static void read_secret(struct ps_config_load *load, const struct ps_option *option,
                        const struct ps_yaml_node *node, struct ps_config_secret *secret)
{
    struct ps_slice value = ps_config_scalar(load, option, node);
    if (value.ptr == NULL) {
        return;
    }
    const char *expected = ps_config_parse_secret(value);
    if (expected == NULL && value.len > 0 && option->type == PS_OPT_SIGNING_SECRET) {
        expected = ps_config_parse_signing_secret(value);
    }
    if (expected != NULL) {
        ps_config_mistake(load, option, node, expected);
    } else if (value.len > 0) {
        set_secret(load, secret, node, value, secret_source(load, node));
    }
}

static void read_secrets(struct ps_config_load *load, const struct ps_option *option,
                         const struct ps_yaml_node *node, struct ps_config_provider *provider)
{
    bool many = option->type == PS_OPT_SECRETS;
    size_t count = many ? node->count : 1;
    if (many && node->kind != PS_YAML_LIST) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    if (!many && node->kind == PS_YAML_NOTHING) {
        return; /* as empty as "" */
    }
    struct ps_config_secret *secrets = ps_config_alloc(load, count, sizeof *secrets);
    if (secrets == NULL) {
        return;
    }
    size_t used = 0;
    const struct ps_yaml_node *item = many ? node->first : node;
    for (size_t i = 0; i < count; i++) {
        size_t mark = load->key.len;
        if (many) {
            mark = ps_key_path_index(&load->key, i);
        }
        read_secret(load, option, item, &secrets[used]);
        used += secrets[used].value != NULL;
        ps_key_path_back(&load->key, mark);
        item = item->next;
    }
    provider->api_keys = used > 0 ? secrets : NULL;
    provider->api_key_count = used;
}

static void read_secret_file(struct ps_config_load *load, const struct ps_option *option,
                             const struct ps_yaml_node *node, struct ps_slice text,
                             struct ps_config_provider *provider)
{
    const char *path =
        ps_config_parse_path(text) == NULL ? ps_config_path(load, load->dir, text) : NULL;
    if (path == NULL) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    char *memory;
    struct ps_slice value = read_key_file(load, option, node, path, &memory);
    struct ps_config_secret *secret =
        value.len > 0 ? ps_config_alloc(load, 1, sizeof *secret) : NULL;
    if (secret != NULL) {
        const char *source = ps_arena_printf(load->arena, "api_key_file %s", path);
        if (source == NULL) {
            ps_config_no_memory(load);
        }
        set_secret(load, secret, node, value, source);
        provider->api_keys = secret;
        provider->api_key_count = secret->value != NULL;
    }
    free_key(memory);
}

/* ---- lists ---- */

static const char *copy_url(struct ps_config_load *load, struct ps_slice text, bool lower_host)
{
    char *copy = ps_arena_strdup(load->arena, text);
    if (copy == NULL) {
        ps_config_no_memory(load);
        return NULL;
    }
    const char *colon = strchr(copy, ':');
    size_t end = lower_host || colon == NULL ? text.len : (size_t)(colon - copy);
    for (size_t i = 0; i < end; i++) {
        if (copy[i] >= 'A' && copy[i] <= 'Z') {
            copy[i] = (char)(copy[i] - 'A' + 'a');
        }
    }
    return copy;
}

/* Base URLs, with the places they stand at. */
static void read_endpoints(struct ps_config_load *load, const struct ps_option *option,
                           const struct ps_yaml_node *node, struct ps_config_provider *provider)
{
    bool many = option->type == PS_OPT_ENDPOINTS;
    if (many && (node->kind != PS_YAML_LIST || node->count == 0)) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    size_t count = many ? node->count : 1;
    const char **urls = ps_config_alloc(load, count, sizeof *urls);
    struct ps_config_at *places = ps_config_alloc(load, count, sizeof *places);
    if (urls == NULL || places == NULL) {
        return;
    }
    size_t used = 0;
    const struct ps_yaml_node *item = many ? node->first : node;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t mark = load->key.len;
        if (many) {
            mark = ps_key_path_index(&load->key, i);
        }
        struct ps_slice text = ps_config_scalar(load, option, item);
        size_t len = 0;
        const char *expected =
            text.ptr != NULL ? ps_config_parse_url(text, PS_URL_BASE, &len) : NULL;
        if (expected != NULL) {
            ps_config_mistake(load, option, item, expected);
        } else if (text.ptr != NULL) {
            places[used] = ps_config_at_node(load, item);
            urls[used] = copy_url(load, ps_slice(text.ptr, len), false);
            used += urls[used] != NULL;
        }
        ps_key_path_back(&load->key, mark);
    }
    provider->endpoints = urls;
    provider->endpoint_at = places;
    provider->endpoint_count = used;
}

/* Browsers leave out the default port of an origin. */
static struct ps_slice without_default_port(struct ps_slice origin)
{
    static const struct {
        const char *scheme;
        const char *port;
    } defaults[] = {{"http://", ":80"}, {"https://", ":443"}};
    for (size_t i = 0; i < 2; i++) {
        struct ps_slice scheme = ps_slice_cstr(defaults[i].scheme);
        size_t len = strlen(defaults[i].port);
        if (origin.len > scheme.len + len &&
            ps_slice_ieq(ps_slice(origin.ptr, scheme.len), scheme) &&
            memcmp(origin.ptr + origin.len - len, defaults[i].port, len) == 0) {
            origin.len -= len;
        }
    }
    return origin;
}

static void read_list(struct ps_config_load *load, const struct ps_option *option,
                      const struct ps_yaml_node *node, void *record)
{
    if (node->kind == PS_YAML_NOTHING) {
        return;
    }
    if (node->kind != PS_YAML_LIST) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    bool nets = option->type == PS_OPT_NETS;
    const char **origins = NULL;
    struct ps_config_net *networks = NULL;
    size_t used = 0;
    size_t index = 0;
    if (nets) {
        networks = ps_config_alloc(load, node->count, sizeof *networks);
    } else {
        origins = ps_config_alloc(load, node->count, sizeof *origins);
    }
    if (networks == NULL && origins == NULL) {
        return;
    }
    for (const struct ps_yaml_node *item = node->first; item != NULL; item = item->next, index++) {
        size_t mark = ps_key_path_index(&load->key, index);
        struct ps_slice text = ps_config_scalar(load, option, item);
        const char *expected = NULL;
        if (text.ptr != NULL && nets) {
            expected = ps_config_parse_net(text, &networks[used]);
            used += expected == NULL;
        } else if (text.ptr != NULL) {
            size_t len = 0;
            expected = ps_config_parse_url(text, PS_URL_ORIGIN, &len);
            if (expected == NULL) {
                origins[used] = copy_url(load, without_default_port(ps_slice(text.ptr, len)), true);
                used += origins[used] != NULL;
            }
        }
        if (expected != NULL) {
            ps_config_mistake(load, option, item, expected);
        }
        ps_key_path_back(&load->key, mark);
    }
    put_list(record, option, nets ? (void *)networks : (void *)origins, used);
}

static void read_headers(struct ps_config_load *load, const struct ps_option *option,
                         const struct ps_yaml_node *node, void *record)
{
    if (node->kind == PS_YAML_NOTHING) {
        return;
    }
    if (node->kind != PS_YAML_MAP) {
        ps_config_mistake(load, option, node, NULL);
        return;
    }
    struct ps_config_header *headers = ps_config_alloc(load, node->count, sizeof *headers);
    if (headers == NULL) {
        return;
    }
    size_t used = 0;
    for (const struct ps_yaml_node *item = node->first; item != NULL; item = item->next) {
        size_t mark = ps_key_path_name(&load->key, item->key);
        const char *expected = ps_config_parse_header_name(item->key);
        if (expected != NULL) {
            ps_config_error(load->errors, ps_config_at_node(load, item), load->key.text,
                            "expected %s, found other characters in it", expected);
        }
        struct ps_slice text = ps_config_scalar(load, option, item);
        const char *wrong = text.ptr != NULL ? ps_config_parse_header_value(text) : NULL;
        if (wrong != NULL) {
            ps_config_mistake(load, option, item, wrong);
        }
        if (expected == NULL && text.ptr != NULL && wrong == NULL) {
            headers[used].at = ps_config_at_node(load, item);
            headers[used].name = ps_config_copy(load, item->key);
            headers[used].value = ps_config_copy_secret(load, text);
            used += headers[used].name != NULL && headers[used].value != NULL;
        }
        ps_key_path_back(&load->key, mark);
    }
    put_list(record, option, headers, used);
}

/* ---- the door ---- */

const char *ps_config_set_address(struct ps_config_load *load, struct ps_slice text,
                                  const char *dir, struct ps_config_listener *listener)
{
    struct ps_config_address address;
    const char *expected = ps_config_parse_address(text, &address);
    if (expected != NULL) {
        return expected;
    }
    const char *path = NULL;
    if (address.is_unix) {
        path = ps_config_path(load, dir, address.path);
        /* sun_path holds 107 bytes and a zero (unix(7)) */
        if (path != NULL && strlen(path) > 107) {
            return "a Unix socket whose absolute path has at most 107 bytes";
        }
    }
    listener->address = ps_config_copy(load, text);
    listener->is_unix = address.is_unix;
    listener->is_loopback = address.is_loopback;
    listener->host = address.is_unix ? NULL : ps_config_copy(load, address.host);
    listener->port = address.port;
    listener->path = path;
    return NULL;
}

static void read_scalar(struct ps_config_load *load, const struct ps_option *option,
                        const struct ps_yaml_node *node, void *record)
{
    struct ps_slice text = ps_config_scalar(load, option, node);
    if (text.ptr == NULL) {
        return;
    }
    const char *expected;
    switch (option->type) {
    case PS_OPT_UINT32:
    case PS_OPT_AUTO32:
    case PS_OPT_INT32:
    case PS_OPT_UINT64:
    case PS_OPT_SIZE:
    case PS_OPT_TIME:
        read_number(load, option, node, text, record);
        break;
    case PS_OPT_BOOL:
    case PS_OPT_ENUM:
    case PS_OPT_CLIENT_AUTH:
        read_choice(load, option, node, text, record);
        break;
    case PS_OPT_TEXT:
    case PS_OPT_PROVIDER:
    case PS_OPT_MODEL:
    case PS_OPT_LABEL:
    case PS_OPT_PATH:
    case PS_OPT_MODEL_PATH:
    case PS_OPT_PROXY:
        read_text(load, option, node, text, record);
        break;
    case PS_OPT_ADDRESS:
        expected = ps_config_set_address(load, text, load->dir, record);
        if (expected != NULL) {
            ps_config_mistake(load, option, node, expected);
        }
        break;
    case PS_OPT_SHA256:
    case PS_OPT_KEY_FILE:
        read_client_key(load, option, node, text, record);
        break;
    case PS_OPT_SECRET_FILE:
        read_secret_file(load, option, node, text, record);
        break;
    case PS_OPT_SECTION:
    case PS_OPT_RECORDS:
    case PS_OPT_NAMED:
    case PS_OPT_TLS:
    case PS_OPT_AUTH:
    case PS_OPT_BASE_URL:
    case PS_OPT_ENDPOINTS:
    case PS_OPT_SECRET:
    case PS_OPT_SECRETS:
    case PS_OPT_SIGNING_SECRET:
    case PS_OPT_HEADERS:
    case PS_OPT_ORIGINS:
    case PS_OPT_NETS:
        break;
    }
}

void ps_config_read_field(struct ps_config_load *load, const struct ps_option *option,
                          const struct ps_yaml_node *node, void *record)
{
    if (node->kind == PS_YAML_BROKEN) {
        return;
    }
    if (option->type == PS_OPT_BASE_URL || option->type == PS_OPT_ENDPOINTS) {
        read_endpoints(load, option, node, record);
    } else if (option->type == PS_OPT_SECRET || option->type == PS_OPT_SECRETS) {
        read_secrets(load, option, node, record);
    } else if (option->type == PS_OPT_SIGNING_SECRET) {
        if (node->kind != PS_YAML_NOTHING) { /* as empty as "" */
            read_secret(load, option, node, place(record, option->offset));
        }
    } else if (option->type == PS_OPT_HEADERS) {
        read_headers(load, option, node, record);
    } else if (option->type == PS_OPT_ORIGINS || option->type == PS_OPT_NETS) {
        read_list(load, option, node, record);
    } else {
        read_scalar(load, option, node, record);
    }
}
