/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_priv.h"

#include "penstock/gateway/snapshot.h"

#include <stdio.h>

/* "anthropic, gemini, openai" */
static const char *dialects(char *ret, size_t size)
{
    size_t len = 0;
    ret[0] = '\0';
    for (const char *const *name = ps_dialect_names(); *name != NULL; name++) {
        int more = snprintf(ret + len, size - len, "%s%s", len > 0 ? ", " : "", *name);
        if (more < 0 || (size_t)more >= size - len) {
            break;
        }
        len += (size_t)more;
    }
    return ret;
}

/* What the dialect was told of the server. */
static void check_settings(const struct ps_config_provider *p, struct ps_config_errors *errors)
{
    const struct ps_dialect *dialect = ps_dialect_find(p->dialect);
    struct ps_dialect_settings settings =
        ps_provider_settings(dialect, &p->settings, p->endpoint_count > 0 ? p->endpoints[0] : "");
    struct ps_dialect_flaw flaw;
    char key[160];
    if (!ps_dialect_check_settings(dialect, &settings, &flaw)) {
        (void)snprintf(key, sizeof(key), "providers.%s.%s", p->name, flaw.key);
        ps_config_error(errors, p->kind_at, key, "expected %s, found \"%.*s\"", flaw.expected,
                        (int)(flaw.found.len < 80 ? flaw.found.len : 80), flaw.found.ptr);
    }
}

void ps_gateway_check(const struct ps_config *config, struct ps_config_errors *errors)
{
    for (size_t i = 0; i < config->provider_count; i++) {
        const struct ps_config_provider *p = &config->providers[i];
        char key[160];
        char names[160];
        if (p->engine != NULL && !ps_engine_has(p->engine)) {
            (void)snprintf(key, sizeof(key), "providers.%s.engine", p->name);
            ps_config_error(
                errors, p->kind_at, key, "expected an engine this build has (%s), found \"%s\"",
                ps_engine_has("llama") ? "llama" : "it was built without llama.cpp", p->engine);
        } else if (p->engine != NULL) {
            continue;
        } else if (p->dialect != NULL && ps_dialect_find(p->dialect) == NULL) {
            (void)snprintf(key, sizeof(key), "providers.%s.dialect", p->name);
            ps_config_error(errors, p->kind_at, key,
                            "expected a dialect this build knows (%s), found \"%s\"",
                            dialects(names, sizeof(names)), p->dialect);
        } else if (p->dialect != NULL) {
            check_settings(p, errors);
        }
    }
    for (size_t i = 0; i < config->model_count; i++) {
        size_t expanded = 0;
        for (size_t k = 0; k < config->models[i].target_count; k++) {
            const struct ps_config_provider *p =
                ps_config_provider(config, ps_slice_cstr(config->models[i].targets[k].provider));
            if (p != NULL) {
                expanded += (p->engine != NULL ? 1 : p->endpoint_count) *
                            (p->api_key_count > 0 ? p->api_key_count : 1);
            }
        }
        if (expanded > PS_ROUTE_TARGETS) {
            ps_config_error(errors, config->models[i].at, "models.targets",
                            "expected at most %d targets times endpoints times keys, found %zu",
                            PS_ROUTE_TARGETS, expanded);
        }
    }
}
