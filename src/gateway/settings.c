/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_priv.h"

#include <string.h>

/* What the configuration says of a provider, put over its dialect's own defaults. Texts stay where
 * the configuration has them, which the snapshot keeps. */

static void put_text(struct ps_slice *to, const char *from)
{
    if (from != NULL) {
        *to = ps_slice_cstr(from);
    }
}

static void put_tri(bool *to, enum ps_config_tri from)
{
    if (from != PS_CONFIG_AUTO) {
        *to = from == PS_CONFIG_TRUE;
    }
}

/* OpenAI itself: what speaks its dialect elsewhere is often years behind. */
static bool is_openai(const struct ps_dialect *dialect, const char *url)
{
    static const char at[] = "https://api.openai.com/";
    return dialect == ps_dialect_of_family(PS_FAMILY_OPENAI) &&
           strncmp(url, at, sizeof(at) - 1) == 0;
}

struct ps_dialect_settings ps_provider_settings(const struct ps_dialect *dialect,
                                                const struct ps_config_settings *config,
                                                const char *url)
{
    struct ps_dialect_settings s = ps_dialect_defaults(dialect);
    if (is_openai(dialect, url)) {
        s.native_responses = true;
        s.old_max_tokens = false;
    }
    put_text(&s.api_version, config->api_version);
    put_tri(&s.native_responses, config->native_responses);
    put_tri(&s.self_hosted, config->self_hosted);
    put_tri(&s.old_max_tokens, config->old_max_tokens);
    if (config->max_tokens > 0) {
        s.max_tokens = config->max_tokens;
    }
    put_text(&s.thinking, config->thinking);
    put_text(&s.input_type, config->input_type);
    put_text(&s.shape, config->shape);
    put_text(&s.path, config->path);
    put_text(&s.stream_path, config->stream_path);
    put_text(&s.stream_mode, config->stream_mode);
    put_text(&s.body_template, config->body_template);
    put_text(&s.prompt_at, config->prompt_at);
    put_text(&s.messages_at, config->messages_at);
    put_text(&s.model_at, config->model_at);
    put_text(&s.max_tokens_at, config->max_tokens_at);
    put_text(&s.temperature_at, config->temperature_at);
    put_text(&s.stop_at, config->stop_at);
    put_text(&s.stream_at, config->stream_at);
    put_text(&s.text_at, config->text_at);
    put_text(&s.vector_at, config->vector_at);
    put_text(&s.error_at, config->error_at);
    put_text(&s.finish_at, config->finish_at);
    return s;
}

size_t ps_provider_headers(const struct ps_provider *provider, struct ps_call_header *ret,
                           size_t room)
{
    const struct ps_credential *credential = &provider->credentials[0];
    size_t count = 0;
    if (credential->value != NULL && count < room) {
        ret[count++] = (struct ps_call_header){ps_slice_cstr(credential->header),
                                               ps_slice_cstr(credential->value)};
    }
    for (size_t i = 0; i < provider->config->header_count && count < room; i++) {
        const struct ps_config_header *header = &provider->config->headers[i];
        ret[count++] =
            (struct ps_call_header){ps_slice_cstr(header->name), ps_slice_cstr(header->value)};
    }
    return count;
}

struct ps_slice ps_base_path(struct ps_slice url)
{
    for (size_t i = 0, slashes = 0; i < url.len; i++) {
        slashes += url.ptr[i] == '/';
        if (slashes == 3) {
            return ps_slice(url.ptr + i, url.len - i);
        }
    }
    return PS_SLICE_NONE;
}
