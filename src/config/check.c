/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <stdio.h>
#include <string.h>

/* What several keys say together. */

static void report(struct ps_config_load *load, struct ps_config_at at, const char *name,
                   const char *expected, const char *found)
{
    size_t mark = name != NULL ? ps_key_path_name(&load->key, ps_slice_cstr(name)) : load->key.len;
    ps_config_error(load->errors, at, load->key.text, "expected %s, found %s", expected, found);
    ps_key_path_back(&load->key, mark);
}

/* ---- one provider ---- */

/* At most one of the keys: the second one is reported. Returns how many there are. */
static size_t check_exclusive(struct ps_config_load *load, const struct ps_yaml_node *node,
                              const char *const *keys, const char *expected)
{
    const char *first = NULL;
    size_t count = 0;
    for (size_t i = 0; keys[i] != NULL; i++) {
        const struct ps_yaml_node *key = ps_yaml_get(node, keys[i]);
        if (key == NULL) {
            continue;
        }
        count++;
        if (first == NULL) {
            first = keys[i];
            continue;
        }
        char found[128];
        snprintf(found, sizeof found, "%s beside %s", keys[i], first);
        report(load, ps_config_at_node(load, key), keys[i], expected, found);
    }
    return count;
}

static void check_kind_of_keys(struct ps_config_load *load, const struct ps_option *option,
                               const struct ps_yaml_node *node, bool engine)
{
    unsigned wrong = engine ? PS_OPTION_DIALECT : PS_OPTION_ENGINE;
    for (const struct ps_yaml_node *item = node->first; item != NULL; item = item->next) {
        const struct ps_option *key = ps_option_child(option, item->key);
        if (key != NULL && (key->flags & wrong)) {
            report(load, ps_config_at_node(load, item), ps_option_name(key),
                   engine ? "this key only in a provider with a dialect"
                          : "this key only in a provider with an engine",
                   engine ? "it beside engine" : "it beside dialect");
        }
    }
}

/* Headers that the connection and our own credentials need (RFC 9110 section 7.6.1). */
static bool header_is_ours(struct ps_slice name, bool has_credentials)
{
    static const char *const ours[] = {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive",
        "te",   "trailer",        "upgrade",           "expect",     "proxy-connection"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (ps_slice_ieq(name, ps_slice_cstr(ours[i]))) {
            return true;
        }
    }
    return has_credentials && ps_slice_ieq(name, PS_SLICE_LIT("authorization"));
}

static void check_headers(struct ps_config_load *load, const struct ps_config_provider *provider,
                          bool has_credentials)
{
    size_t mark = ps_key_path_name(&load->key, PS_SLICE_LIT("headers"));
    for (size_t i = 0; i < provider->header_count; i++) {
        const struct ps_config_header *header = &provider->headers[i];
        struct ps_slice name = ps_slice_cstr(header->name);
        if (header_is_ours(name, has_credentials)) {
            report(load, header->at, header->name, "no header that Penstock sets itself",
                   header->name);
        }
        for (size_t j = 0; j < i; j++) {
            if (ps_slice_ieq(name, ps_slice_cstr(provider->headers[j].name))) {
                report(load, header->at, header->name, "each header once",
                       "it again in other letters");
                break;
            }
        }
    }
    ps_key_path_back(&load->key, mark);
}

static void check_endpoints(struct ps_config_load *load, const struct ps_yaml_node *node,
                            const struct ps_config_provider *provider)
{
    static const char *const keys[] = {"base_url", "endpoints", NULL};
    static const char expected[] = "exactly one of base_url and endpoints";
    if (check_exclusive(load, node, keys, expected) == 0) {
        report(load, provider->at, NULL, expected, "neither");
    }
    for (size_t i = 0; i < provider->endpoint_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(provider->endpoints[i], provider->endpoints[j]) == 0) {
                report(load, provider->endpoint_at[i], "endpoints", "each endpoint once",
                       provider->endpoints[i]);
                break;
            }
        }
    }
}

static void check_provider(struct ps_config_load *load, const struct ps_option *option,
                           const struct ps_yaml_node *node,
                           const struct ps_config_provider *provider)
{
    static const char *const kinds[] = {"dialect", "engine", NULL};
    static const char *const credentials[] = {"api_key", "api_key_file", "api_keys", "auth", NULL};
    size_t kind_count = check_exclusive(load, node, kinds, "exactly one of dialect and engine");
    if (kind_count == 0) {
        report(load, provider->at, NULL, "exactly one of dialect and engine", "neither");
    }
    size_t credential_count = check_exclusive(
        load, node, credentials, "at most one of api_key, api_key_file, api_keys and auth: client");
    check_headers(load, provider, credential_count > 0);
    if (kind_count == 1) {
        bool engine = ps_yaml_get(node, "engine") != NULL;
        check_kind_of_keys(load, option, node, engine);
        if (!engine) {
            check_endpoints(load, node, provider);
        }
    }
}

/* ---- one key of a client ---- */

static void check_key(struct ps_config_load *load, const struct ps_yaml_node *node,
                      struct ps_config_key *key)
{
    static const char *const kinds[] = {"key_sha256", "key_file", NULL};
    static const char expected[] = "exactly one of key_sha256 and key_file";
    if (check_exclusive(load, node, kinds, expected) == 0) {
        report(load, key->at, NULL, expected, "neither");
    }
    if (key->tenant == NULL) {
        key->tenant = key->name;
    }
}

void ps_config_check_record(struct ps_config_load *load, const struct ps_option *option,
                            const struct ps_yaml_node *node, void *record)
{
    switch (option->record) {
    case PS_RECORD_PROVIDER:
        check_provider(load, option, node, record);
        break;
    case PS_RECORD_KEY:
        check_key(load, node, record);
        break;
    case PS_RECORD_LISTENER:
    case PS_RECORD_TLS:
    case PS_RECORD_MODEL:
    case PS_RECORD_TARGET:
    case PS_RECORD_NONE:
        break;
    }
}

/* ---- everything ---- */

static void check_listeners(struct ps_config_load *load)
{
    const struct ps_config *config = load->config;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct ps_config_listener *listener = &config->listeners[i];
        if (listener->address == NULL) {
            continue;
        }
        char key[64];
        snprintf(key, sizeof key, "listen[%zu].address", i);
        if (!listener->is_loopback && config->auth == PS_AUTH_UNSET) {
            report(load, listener->at, key,
                   "auth.keys or auth: none, since other machines can reach this address",
                   "neither");
        }
        bool any_port = !listener->is_unix && listener->port == 0;
        for (size_t j = 0; j < i && !any_port; j++) {
            const char *other = config->listeners[j].address;
            if (other != NULL && strcmp(listener->address, other) == 0) {
                report(load, listener->at, key, "each address once", listener->address);
                break;
            }
        }
    }
}

static void check_keys(struct ps_config_load *load)
{
    static const uint8_t none[PS_KEY_HASH];
    const struct ps_config *config = load->config;
    for (size_t i = 0; i < config->key_count; i++) {
        const struct ps_config_key *key = &config->keys[i];
        bool known = memcmp(key->sha256, none, sizeof none) != 0 && !load->no_files;
        char path[64];
        snprintf(path, sizeof path, "auth.keys[%zu]", i);
        for (size_t j = 0; j < i; j++) {
            const struct ps_config_key *other = &config->keys[j];
            if (key->name != NULL && other->name != NULL && strcmp(key->name, other->name) == 0) {
                report(load, key->at, path, "each name once", key->name);
                break;
            }
            if (known && memcmp(key->sha256, other->sha256, sizeof none) == 0) {
                report(load, key->at, path, "each key once", "the key of an entry before");
                break;
            }
        }
    }
}

/* The provider of that name, or the one that may have been meant, or how many there are. */
static void put_provider_hint(const struct ps_config *config, struct ps_slice name, char *out,
                              size_t size)
{
    size_t nearest_far = SIZE_MAX;
    const char *nearest = NULL;
    for (size_t i = 0; i < config->provider_count; i++) {
        const char *known = config->providers[i].name;
        size_t far = known != NULL ? ps_config_nearness(name, ps_slice_cstr(known)) : SIZE_MAX;
        if (far < nearest_far) {
            nearest = known;
            nearest_far = far;
        }
    }
    if (nearest != NULL) {
        snprintf(out, size, "the name of a provider (did you mean \"%s\"?)", nearest);
    } else {
        snprintf(out, size, "the name of one of the %zu providers", config->provider_count);
    }
}

static void check_targets(struct ps_config_load *load, const struct ps_config_model *model,
                          size_t index)
{
    for (size_t i = 0; i < model->target_count; i++) {
        const struct ps_config_target *target = &model->targets[i];
        struct ps_slice name = ps_slice_cstr(target->provider);
        if (target->provider == NULL || ps_config_provider(load->config, name) != NULL) {
            continue;
        }
        char key[96];
        char expected[160];
        char found[80];
        snprintf(key, sizeof key, "models[%zu].targets[%zu].provider", index, i);
        snprintf(found, sizeof found, "\"%s\"", target->provider);
        put_provider_hint(load->config, name, expected, sizeof expected);
        report(load, target->at, key, expected, found);
    }
}

static void check_models(struct ps_config_load *load)
{
    const struct ps_config *config = load->config;
    for (size_t i = 0; i < config->model_count; i++) {
        const struct ps_config_model *model = &config->models[i];
        if (model->name != NULL && ps_config_model(config, ps_slice_cstr(model->name)) != model) {
            char key[64];
            snprintf(key, sizeof key, "models[%zu].name", i);
            report(load, model->at, key, "each name once", model->name);
        }
        check_targets(load, model, i);
    }
}

/* An alias, or provider/rest. */
static void check_default_model(struct ps_config_load *load)
{
    const struct ps_config *config = load->config;
    const char *name = config->default_model;
    if (name == NULL || ps_config_model(config, ps_slice_cstr(name)) != NULL) {
        return;
    }
    const char *slash = strchr(name, '/');
    if (slash != NULL && slash[1] != '\0' &&
        ps_config_provider(config, ps_slice(name, (size_t)(slash - name))) != NULL) {
        return;
    }
    char found[160];
    snprintf(found, sizeof found, "\"%s\"", name);
    report(load, config->default_model_at, "default_model",
           "the name of one of models, or provider/model", found);
}

void ps_config_check_all(struct ps_config_load *load)
{
    ps_key_path_back(&load->key, 0);
    check_listeners(load);
    check_keys(load);
    check_models(load);
    check_default_model(load);
}
