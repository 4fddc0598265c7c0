/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is there without a file: the providers of the environment; and what the command line says.
 */

static const struct ps_config_at environment = {"environment", 0};
static const struct ps_config_at command_line = {"command line", 0};

struct usual {
    const char *name;
    const char *dialect;
    const char *base_url;
    const char *url_variable; /* NULL: none */
    const char *variables[2]; /* the first that is set holds the key */
    const char *default_model;
};

static const struct usual usuals[] = {
    {"openai",
     "openai",
     "https://api.openai.com/v1",
     "OPENAI_BASE_URL",
     {"OPENAI_API_KEY", NULL},
     "openai/gpt-4o-mini"},
    {"anthropic",
     "anthropic",
     "https://api.anthropic.com",
     "ANTHROPIC_BASE_URL",
     {"ANTHROPIC_API_KEY", NULL},
     NULL},
    {"gemini",
     "gemini",
     "https://generativelanguage.googleapis.com/v1beta",
     NULL,
     {"GOOGLE_API_KEY", "GEMINI_API_KEY"},
     NULL},
    {"groq", "openai", "https://api.groq.com/openai/v1", NULL, {"GROQ_API_KEY", NULL}, NULL},
    {"together", "openai", "https://api.together.ai/v1", NULL, {"TOGETHER_API_KEY", NULL}, NULL},
    {"openrouter",
     "openai",
     "https://openrouter.ai/api/v1",
     NULL,
     {"OPENROUTER_API_KEY", NULL},
     NULL},
    {"deepseek", "openai", "https://api.deepseek.com/v1", NULL, {"DEEPSEEK_API_KEY", NULL}, NULL},
    {"mistral", "openai", "https://api.mistral.ai/v1", NULL, {"MISTRAL_API_KEY", NULL}, NULL},
};

enum {
    USUAL_COUNT = sizeof usuals / sizeof usuals[0],
};

static const char *variable(const char *name)
{
    const char *value = name != NULL ? getenv(name) : NULL;
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool is_listed(const char *const *list, const char *word)
{
    if (list == NULL) {
        return true;
    }
    while (*list != NULL && strcmp(*list, word) != 0) {
        list++;
    }
    return *list != NULL;
}

static const char *base_url(struct ps_config_load *load, const struct usual *usual)
{
    const char *url = variable(usual->url_variable);
    size_t len = 0;
    if (url == NULL) {
        return ps_config_copy(load, ps_slice_cstr(usual->base_url));
    }
    const char *expected = ps_config_parse_url(ps_slice_cstr(url), PS_URL_BASE, &len);
    if (expected != NULL) {
        ps_config_error(load->errors, environment, usual->url_variable,
                        "expected %s, found another value", expected);
        return NULL;
    }
    return ps_config_copy(load, ps_slice(url, len));
}

static void add_usual(struct ps_config_load *load, const struct usual *usual,
                      const char *key_variable)
{
    struct ps_config *config = load->config;
    struct ps_slice key = ps_slice_cstr(variable(key_variable));
    const char *expected = ps_config_parse_secret(key);
    if (expected != NULL) {
        ps_config_error(load->errors, environment, key_variable, "expected %s, found another one",
                        expected);
        return;
    }
    struct ps_config_provider *provider = &config->providers[config->provider_count];
    const char **endpoints = ps_config_alloc(load, 1, sizeof *endpoints);
    struct ps_config_at *places = ps_config_alloc(load, 1, sizeof *places);
    struct ps_config_secret *secret = ps_config_alloc(load, 1, sizeof *secret);
    if (endpoints == NULL || places == NULL || secret == NULL) {
        return;
    }
    ps_config_defaults(load, ps_option_at("providers"), provider);
    provider->at = environment;
    provider->name = usual->name;
    provider->dialect = usual->dialect;
    endpoints[0] = base_url(load, usual);
    places[0] = environment;
    provider->endpoints = endpoints;
    provider->endpoint_at = places;
    provider->endpoint_count = endpoints[0] != NULL;
    secret->at = environment;
    secret->value = ps_config_copy_secret(load, key);
    secret->source = ps_arena_printf(load->arena, "${%s}", key_variable);
    provider->api_keys = secret;
    provider->api_key_count = 1;
    if (secret->source == NULL) {
        ps_config_no_memory(load);
    }
    config->provider_count++;
    if (config->default_model == NULL && usual->default_model != NULL) {
        config->default_model = usual->default_model;
        config->default_model_at = environment;
    }
}

void ps_config_from_environment(struct ps_config_load *load, const char *const *dialects)
{
    load->config->providers = ps_config_alloc(load, USUAL_COUNT, sizeof *load->config->providers);
    if (load->config->providers == NULL) {
        return;
    }
    for (size_t i = 0; i < USUAL_COUNT; i++) {
        const struct usual *usual = &usuals[i];
        const char *key_variable =
            variable(usual->variables[0]) != NULL ? usual->variables[0] : usual->variables[1];
        if (variable(key_variable) != NULL && is_listed(dialects, usual->dialect)) {
            add_usual(load, usual, key_variable);
        }
    }
}

/* ---- the command line ---- */

static const char *here(struct ps_config_load *load)
{
    char folder[4096];
    if (getcwd(folder, sizeof folder) == NULL) {
        ps_config_error(load->errors, command_line, NULL, "expected a current folder, found: %s",
                        strerror(errno));
        return NULL;
    }
    return ps_config_copy(load, ps_slice_cstr(folder));
}

static void override_listen(struct ps_config_load *load, const char *address)
{
    const char *dir = here(load);
    struct ps_config_listener *listener = ps_config_alloc(load, 1, sizeof *listener);
    if (dir == NULL || listener == NULL) {
        return;
    }
    listener->at = command_line;
    const char *expected = ps_config_set_address(load, ps_slice_cstr(address), dir, listener);
    if (expected != NULL) {
        struct ps_buf found;
        ps_buf_init(&found, 1024);
        ps_buf_json(&found, ps_slice(address, strnlen(address, PS_CONFIG_SHOWN_MAX)));
        ps_config_error(load->errors, command_line, "-l", "expected %s, found %.*s", expected,
                        (int)found.len, found.ptr != NULL ? found.ptr : "");
        ps_buf_deinit(&found);
        return;
    }
    load->config->listeners = listener;
    load->config->listener_count = 1;
}

/* The file's name without folder and ".gguf", with "-" for what a model's name cannot hold. */
static const char *alias_of(struct ps_config_load *load, const char *file)
{
    const char *slash = strrchr(file, '/');
    struct ps_slice name = ps_slice_cstr(slash != NULL ? slash + 1 : file);
    if (name.len > 5 && ps_slice_ieq(ps_slice(name.ptr + name.len - 5, 5), PS_SLICE_LIT(".gguf"))) {
        name.len -= 5;
    }
    if (name.len > 128) {
        name.len = 128;
    }
    if (name.len == 0) {
        name = PS_SLICE_LIT("model");
    }
    char *alias = ps_arena_strdup(load->arena, name);
    if (alias == NULL) {
        ps_config_no_memory(load);
        return NULL;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (ps_config_parse_model_name(ps_slice(alias + i, 1)) != NULL) {
            alias[i] = '-';
        }
    }
    return alias;
}

/* The array with room for one more at its end, or NULL. */
static void *one_more(struct ps_config_load *load, const void *items, size_t count, size_t size)
{
    void *grown = ps_config_alloc(load, count + 1, size);
    if (grown != NULL && count > 0) {
        memcpy(grown, items, count * size);
    }
    return grown;
}

/* "embedded" of the file with the model's path replaced, or a new one; NULL after a report. */
static struct ps_config_provider *embedded(struct ps_config_load *load)
{
    struct ps_config *config = load->config;
    for (size_t i = 0; i < config->provider_count; i++) {
        struct ps_config_provider *known = &config->providers[i];
        if (known->name == NULL || strcmp(known->name, "embedded") != 0) {
            continue;
        }
        if (known->engine != NULL) {
            return known;
        }
        ps_config_error(
            load->errors, command_line, "-m",
            "expected that the provider \"embedded\" of the file has an engine, found a dialect");
        return NULL;
    }
    struct ps_config_provider *grown =
        one_more(load, config->providers, config->provider_count, sizeof *config->providers);
    if (grown == NULL) {
        return NULL;
    }
    struct ps_config_provider *provider = &grown[config->provider_count];
    ps_config_defaults(load, ps_option_at("providers"), provider);
    provider->at = command_line;
    provider->name = "embedded";
    provider->engine = "llama";
    config->providers = grown;
    config->provider_count++;
    return provider;
}

/* The alias, new or instead of one of the same name in the file. */
static void set_alias(struct ps_config_load *load, const char *alias)
{
    struct ps_config *config = load->config;
    size_t at = 0;
    while (at < config->model_count &&
           (config->models[at].name == NULL || strcmp(config->models[at].name, alias) != 0)) {
        at++;
    }
    if (at == config->model_count) {
        struct ps_config_model *grown =
            one_more(load, config->models, config->model_count, sizeof *config->models);
        if (grown == NULL) {
            return;
        }
        config->models = grown;
        config->model_count++;
    }
    struct ps_config_target *target = ps_config_alloc(load, 1, sizeof *target);
    if (target == NULL) {
        return;
    }
    *target = (struct ps_config_target){.at = command_line, .provider = "embedded", .weight = 1};
    config->models[at] = (struct ps_config_model){
        .at = command_line, .name = alias, .targets = target, .target_count = 1};
    config->default_model = alias;
    config->default_model_at = command_line;
}

/* The model inside the program: what answers when nothing was configured. */
static void add_builtin(struct ps_config_load *load)
{
    struct ps_config_provider *provider = embedded(load);
    if (provider != NULL) {
        provider->model_path = "builtin";
        set_alias(load, "tiny");
    }
}

static void override_model(struct ps_config_load *load, const char *file)
{
    const char *dir = here(load);
    const char *path = dir != NULL ? ps_config_path(load, dir, ps_slice_cstr(file)) : NULL;
    if (path == NULL) {
        return;
    }
    if (!load->no_files && access(path, R_OK) != 0) {
        ps_config_error(load->errors, command_line, "-m",
                        "expected the file of a model that can be read, found: %s",
                        strerror(errno));
        return;
    }
    const char *alias = alias_of(load, file);
    struct ps_config_provider *provider = alias != NULL ? embedded(load) : NULL;
    if (provider != NULL) {
        provider->model_path = path;
        set_alias(load, alias);
    }
}

void ps_config_apply_overrides(struct ps_config_load *load,
                               const struct ps_config_overrides *overrides)
{
    if (overrides->listen != NULL) {
        override_listen(load, overrides->listen);
    }
    if (overrides->model_file != NULL) {
        override_model(load, overrides->model_file);
    } else if (overrides->builtin_model && load->without_file) {
        add_builtin(load);
    }
}
