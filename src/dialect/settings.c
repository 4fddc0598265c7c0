/* SPDX-License-Identifier: Apache-2.0 */
#include "http_priv.h"

/* What the configuration says of a server, held to what its dialect can do with it. */

struct check {
    const char *key;
    struct ps_slice value;
};

static bool flaw(struct ps_dialect_flaw *ret, const char *key, const char *expected,
                 struct ps_slice found)
{
    *ret = (struct ps_dialect_flaw){key, expected, found};
    return false;
}

static bool is_one_of(struct ps_slice value, const char *const *words)
{
    for (; value.len > 0 && *words != NULL; words++) {
        if (ps_slice_eq_cstr(value, *words)) {
            return true;
        }
    }
    return value.len == 0;
}

/* What may stand in the path of a URL, and a query behind it. */
static bool is_path(struct ps_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.ptr[i];

        if (byte <= 0x20 || byte >= 0x7f || byte == '#' || byte == '\\') {
            return false;
        }
    }
    return value.len == 0 || value.ptr[0] == '/';
}

static bool is_version(struct ps_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char byte = value.ptr[i];

        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
              (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_')) {
            return false;
        }
    }
    return value.len <= 64;
}

static bool is_object(struct ps_slice value)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 100000};
    size_t at = 0;

    while (at < value.len && memchr(" \t\r\n", value.ptr[at], 4) != NULL) {
        at++;
    }
    return value.len == 0 || (at < value.len && value.ptr[at] == '{' &&
                              ps_json_scan_text(value, NULL, &limits, NULL, NULL) == PS_JSON_OK);
}

static bool check_paths(const struct ps_dialect_settings *s, struct ps_dialect_flaw *ret)
{
    static const char expected[] = "a path that begins with '/'";

    if (!is_path(s->path)) {
        return flaw(ret, "path", expected, s->path);
    }
    return is_path(s->stream_path) || flaw(ret, "stream_path", expected, s->stream_path);
}

static bool check_pointers(const struct ps_dialect_settings *s, struct ps_dialect_flaw *ret)
{
    const struct check checks[] = {
        {"request.prompt", s->prompt_at},
        {"request.messages", s->messages_at},
        {"request.model", s->model_at},
        {"request.max_tokens", s->max_tokens_at},
        {"request.temperature", s->temperature_at},
        {"request.stop", s->stop_at},
        {"request.stream", s->stream_at},
        {"response.text", s->text_at},
        {"response.vector", s->vector_at},
        {"response.error", s->error_at},
        {"response.finish", s->finish_at},
    };
    struct ps_pointer pointer;

    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (!ps_pointer_read(checks[i].value, &pointer)) {
            return flaw(ret, checks[i].key,
                        "a JSON pointer (RFC 6901) that begins with '/', of 16 steps at most",
                        checks[i].value);
        }
    }
    return true;
}

static bool check_http(const struct ps_dialect_settings *s, struct ps_dialect_flaw *ret)
{
    static const char *const modes[] = {"none", "ndjson", "sse", "raw", NULL};

    if (!is_one_of(s->stream_mode, modes)) {
        return flaw(ret, "stream_mode", "none, ndjson, sse or raw", s->stream_mode);
    }
    if (!is_object(s->body_template)) {
        return flaw(ret, "body_template", "a JSON object", s->body_template);
    }
    return check_paths(s, ret) && check_pointers(s, ret);
}

static bool check_triton(const struct ps_dialect_settings *s, struct ps_dialect_flaw *ret)
{
    static const char *const shapes[] = {"vllm",   "trtllm",       "llmapi",
                                         "tensor", "tensor-batch", NULL};

    if (!is_one_of(s->shape, shapes)) {
        return flaw(ret, "shape", "vllm, trtllm, llmapi, tensor or tensor-batch", s->shape);
    }
    return check_paths(s, ret);
}

bool ps_dialect_check_settings(const struct ps_dialect *dialect,
                               const struct ps_dialect_settings *settings,
                               struct ps_dialect_flaw *ret_flaw)
{
    if (dialect->family == PS_FAMILY_HTTP) {
        return check_http(settings, ret_flaw);
    }
    if (dialect->family == PS_FAMILY_TRITON) {
        return check_triton(settings, ret_flaw);
    }
    return is_version(settings->api_version) ||
           flaw(ret_flaw, "api_version", "letters, digits, '-', '.' and '_'",
                settings->api_version);
}
