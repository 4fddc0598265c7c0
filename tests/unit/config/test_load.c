/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"
#include "config_testing.h"

#include "penstock/base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of abc */

static const char *const usual_variables[] = {
    "OPENAI_API_KEY",     "OPENAI_BASE_URL",  "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL",
    "GOOGLE_API_KEY",     "GEMINI_API_KEY",   "GROQ_API_KEY",      "TOGETHER_API_KEY",
    "OPENROUTER_API_KEY", "DEEPSEEK_API_KEY", "MISTRAL_API_KEY",
};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof usual_variables / sizeof usual_variables[0]; i++) {
        unsetenv(usual_variables[i]);
    }
    return 0;
}

/* ---- a folder for the tests that need files ---- */

struct folder {
    char path[64];
    char file[128]; /* the last one written */
};

static int make_folder(void **state)
{
    static struct folder folder;
    (void)clear_environment(state);
    snprintf(folder.path, sizeof folder.path, "/tmp/penstock-config-XXXXXX");
    if (mkdtemp(folder.path) == NULL) {
        return -1;
    }
    *state = &folder;
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"a.yaml", "key", "key2", "My Model.gguf", "ca.pem", "m.gguf"};
    struct folder *folder = *state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(folder->file, sizeof folder->file, "%s/%s", folder->path, names[i]);
        (void)unlink(folder->file);
    }
    return rmdir(folder->path);
}

static const char *write_file(struct folder *folder, const char *name, const void *bytes,
                              size_t len)
{
    snprintf(folder->file, sizeof folder->file, "%s/%s", folder->path, name);
    int fd = open(folder->file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(close(fd), 0);
    return folder->file;
}

static struct ps_config *load_file(const char *file, const struct ps_config_overrides *overrides,
                                   char *said, size_t size)
{
    struct ps_config_errors errors;
    ps_config_errors_init(&errors);
    struct ps_config *config = ps_config_load(file, overrides, NULL, 0, &errors);
    snprintf(said, size, "%.*s", (int)errors.text.len,
             errors.text.ptr != NULL ? errors.text.ptr : "");
    assert_int_equal(config == NULL, errors.count > 0);
    ps_config_errors_deinit(&errors);
    return config;
}

/* ---- values ---- */

static void test_defaults(void **state)
{
    char said[1024];
    char data_dir[PATH_MAX + 32];
    char here[PATH_MAX];
    struct ps_config *config = load_file(NULL, NULL, said, sizeof said);
    (void)state;
    assert_string_equal(said, "");
    assert_null(config->file);
    assert_int_equal(config->listener_count, 1);
    assert_string_equal(config->listeners[0].address, "127.0.0.1:8080");
    assert_string_equal(config->listeners[0].host, "127.0.0.1");
    assert_int_equal(config->listeners[0].port, 8080);
    assert_true(config->listeners[0].is_loopback && !config->listeners[0].is_unix);
    assert_int_equal(config->listeners[0].tls_count, 0);
    assert_int_equal(config->workers.event_loops, 1);
    assert_int_equal(config->workers.compute_threads, 0);
    assert_int_equal(config->workers.offload_threads, 2);
    assert_int_equal(config->workers.compute_queue, 64);
    assert_int_equal(config->workers.compute_queue_tokens, 65536);
    assert_int_equal(config->workers.job_concurrency, 16);
    assert_int_equal(config->limits.connections, 16384);
    assert_int_equal(config->limits.header_bytes, 32 << 10);
    assert_int_equal(config->limits.body_bytes, 32 << 20);
    assert_int_equal(config->limits.file_bytes, 200 << 20);
    assert_int_equal(config->limits.event_bytes, 16 << 20);
    assert_int_equal(config->limits.buffer_memory, 512 << 20);
    assert_int_equal(config->limits.model_memory, 0);
    assert_int_equal(config->limits.header_timeout, 10000);
    assert_int_equal(config->limits.body_timeout, 60000);
    assert_int_equal(config->limits.write_timeout, 60000);
    assert_int_equal(config->limits.idle_timeout, 75000);
    assert_int_equal(config->limits.request_timeout, 600000);
    assert_int_equal(config->limits.first_token_timeout, 300000);
    assert_int_equal(config->limits.stream_idle_timeout, 120000);
    assert_int_equal(config->limits.stream_timeout, 3600000);
    assert_int_equal(config->limits.drain_timeout, 300000);
    assert_int_equal(config->auth, PS_AUTH_UNSET);
    assert_int_equal(config->cors_origin_count, 0);
    assert_int_equal(config->trusted_proxy_count, 0);
    assert_null(config->default_model);
    assert_int_equal(config->provider_count, 0);
    assert_int_equal(config->model_count, 0);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(data_dir, sizeof data_dir, "%s/penstock-data", here);
    assert_string_equal(config->data_dir, data_dir);
    assert_string_equal(config->jobs_store, "sqlite:jobs.db");
    assert_null(config->webhook_secret.value);
    assert_false(config->webhook_private);
    assert_int_equal(config->log_level, PS_LOG_INFO);
    assert_int_equal(config->log_format, PS_LOG_JSON);
    assert_null(config->log_file);
    ps_config_unref(config);
}

static void test_provider_defaults(void **state)
{
    struct ps_config *config = load_good("providers:\n"
                                         "  a: { dialect: openai, base_url: \"http://h/v1//\" }\n"
                                         "  b: { engine: llama }\n");
    const struct ps_config_provider *a = ps_config_provider(config, PS_SLICE_LIT("a"));
    const struct ps_config_provider *b = ps_config_provider(config, PS_SLICE_LIT("b"));
    (void)state;
    assert_null(ps_config_provider(config, PS_SLICE_LIT("c")));
    assert_string_equal(a->dialect, "openai");
    assert_null(a->engine);
    assert_int_equal(a->at.line, 2);
    assert_string_equal(a->at.file, "t.yaml");
    assert_int_equal(a->endpoint_count, 1);
    assert_string_equal(a->endpoints[0], "http://h/v1");
    assert_int_equal(a->endpoint_at[0].line, 2);
    assert_int_equal(a->api_key_count, 0);
    assert_false(a->auth_client);
    assert_null(a->ca_file);
    assert_null(a->proxy);
    assert_int_equal(a->timeouts.connect, 10000);
    assert_int_equal(a->timeouts.request, -1);
    assert_int_equal(a->timeouts.first_token, -1);
    assert_int_equal(a->timeouts.stream_idle, -1);
    assert_int_equal(a->timeouts.stream, -1);
    assert_int_equal(a->accounting, PS_ACCOUNTING_ACTIVE);
    assert_int_equal(a->max_connections, 256);
    assert_int_equal(a->max_queue, 1024);
    assert_true(a->list_models);
    assert_string_equal(b->engine, "llama");
    assert_string_equal(b->model_path, "builtin");
    assert_int_equal(b->context_tokens, 1024);
    assert_int_equal(b->slots, 8);
    assert_int_equal(b->gpu_layers, 0);
    assert_null(b->chat_template);
    assert_int_equal(b->while_loading, PS_WHILE_LOADING_WAIT);
    ps_config_unref(config);
}

static void test_nothing_is_as_good_as_left_out(void **state)
{
    struct ps_config *config =
        load_good("limits:\nworkers: ~\n"
                  "cors:\n  origins:\ntrusted_proxies:\nproviders:\nmodels:\njobs:\nlog:\n");
    (void)state;
    assert_int_equal(config->listener_count, 1);
    assert_int_equal(config->provider_count, 0);
    ps_config_unref(config);
}

static void test_values_of_a_file(void **state)
{
    struct ps_config *config = load_good(
        "listen:\n"
        "  - address: \"[::1]:0\"\n"
        "    tls: [ { certificate: a.pem, key: ./b.pem }, { certificate: /c, key: d } ]\n"
        "  - address: \"unix:run/p.sock\"\n"
        "auth: { keys: [ { name: alice, key_sha256: " HASH " }, { name: b, tenant: t, key_sha256: "
        "\"0000000000000000000000000000000000000000000000000000000000000001\" } ] }\n"
        "trusted_proxies: [ 10.0.0.0/8, \"::1\", unix ]\n"
        "default_model: a/b\n"
        "providers:\n"
        "  a:\n"
        "    dialect: openai\n"
        "    endpoints: [ http://x/, http://y ]\n"
        "    api_keys: [ k1, \"\", \"${PS_TEST_UNSET:-}\", k2 ]\n"
        "    headers: { X-A: \"1\" }\n"
        "    proxy: http://u:p@proxy/\n"
        "models:\n"
        "  - name: m\n"
        "    strategy: weighted\n"
        "    targets: [ { provider: a, model: \"x/y z\", weight: 3 }, { provider: a } ]\n");
    const struct ps_config_provider *a = &config->providers[0];
    const struct ps_config_model *m = ps_config_model(config, PS_SLICE_LIT("m"));
    char here[PATH_MAX];
    char path[PATH_MAX + 32];
    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(config->listeners[0].port, 0);
    assert_string_equal(config->listeners[0].host, "::1");
    assert_int_equal(config->listeners[0].tls_count, 2);
    snprintf(path, sizeof path, "%s/b.pem", here);
    assert_string_equal(config->listeners[0].tls[0].key, path);
    assert_string_equal(config->listeners[0].tls[1].certificate, "/c");
    assert_true(config->listeners[1].is_unix && config->listeners[1].is_loopback);
    snprintf(path, sizeof path, "%s/run/p.sock", here);
    assert_string_equal(config->listeners[1].path, path);
    assert_int_equal(config->auth, PS_AUTH_KEYS);
    assert_string_equal(config->keys[0].tenant, "alice");
    assert_string_equal(config->keys[1].tenant, "t");
    assert_int_equal(config->keys[0].sha256[0], 0xba);
    assert_int_equal(config->keys[0].sha256[31], 0xad);
    assert_int_equal(config->trusted_proxy_count, 3);
    assert_int_equal(config->trusted_proxies[0].bits, 104);
    assert_int_equal(config->trusted_proxies[1].bits, 128);
    assert_true(config->trusted_proxies[2].is_unix);
    assert_int_equal(a->endpoint_count, 2);
    assert_string_equal(a->endpoints[0], "http://x");
    assert_int_equal(a->api_key_count, 2);
    assert_string_equal(a->api_keys[0].value, "k1");
    assert_string_equal(a->api_keys[1].value, "k2");
    assert_int_equal(a->header_count, 1);
    assert_string_equal(a->headers[0].name, "X-A");
    assert_string_equal(a->headers[0].value, "1");
    assert_string_equal(a->proxy, "http://u:p@proxy");
    assert_non_null(m);
    assert_int_equal(m->strategy, PS_STRATEGY_WEIGHTED);
    assert_int_equal(m->target_count, 2);
    assert_string_equal(m->targets[0].model, "x/y z");
    assert_int_equal(m->targets[0].weight, 3);
    assert_null(m->targets[1].model);
    assert_int_equal(m->targets[1].weight, 1);
    assert_string_equal(config->default_model, "a/b");
    assert_int_equal(config->default_model_at.line, 7);
    ps_config_unref(config);
}

static void test_variables_fill_any_scalar(void **state)
{
    setenv("PS_TEST_PORT", "81", 1);
    setenv("PS_TEST_SECRET", "sk: { [", 1);
    struct ps_config *config =
        load_good("listen: [ { address: \"127.0.0.1:${PS_TEST_PORT}\" } ]\n"
                  "workers: { event_loops: \"${PS_TEST_UNSET:-4}\" }\n"
                  "auth: \"${PS_TEST_UNSET:-none}\"\n"
                  "providers:\n"
                  "  p:\n"
                  "    dialect: openai\n"
                  "    base_url: \"${PS_TEST_UNSET:-http://h}/v1\"\n"
                  "    api_key: ${PS_TEST_SECRET}\n"
                  "    headers: { x-a: \"Bearer ${PS_TEST_SECRET}\" }\n"
                  "  q: { dialect: openai, base_url: http://q, api_key: \"${PS_TEST_UNSET:-}\" }\n"
                  "  r: { dialect: openai, base_url: http://q, api_key: }\n");
    (void)state;
    assert_int_equal(config->listeners[0].port, 81);
    assert_int_equal(config->workers.event_loops, 4);
    assert_int_equal(config->auth, PS_AUTH_NONE);
    assert_string_equal(config->providers[0].endpoints[0], "http://h/v1");
    assert_string_equal(config->providers[0].api_keys[0].value, "sk: { [");
    assert_string_equal(config->providers[0].api_keys[0].source, "${PS_TEST_SECRET}");
    assert_string_equal(config->providers[0].headers[0].value, "Bearer sk: { [");
    assert_int_equal(config->providers[1].api_key_count, 0);
    assert_int_equal(config->providers[2].api_key_count, 0);
    ps_config_unref(config);
}

/* ---- files ---- */

static void test_paths_begin_at_the_file(void **state)
{
    struct folder *folder = *state;
    char said[2048];
    char path[256];
    static const char yaml[] =
        "data_dir: data\n"
        "auth: { keys: [ { name: a, key_file: key } ] }\n"
        "providers:\n"
        "  p: { dialect: openai, base_url: http://h, api_key_file: ./key2, ca_file: ./ca.pem }\n"
        "  e: { engine: llama, model_path: m.gguf }\n";
    (void)write_file(folder, "key", "abc\n", 4);
    (void)write_file(folder, "key2", "def\r\n", 5);
    (void)write_file(folder, "ca.pem", "c", 1);
    (void)write_file(folder, "m.gguf", "m", 1);
    const char *file = write_file(folder, "a.yaml", yaml, sizeof yaml - 1);
    struct ps_config *config = load_file(file, NULL, said, sizeof said);
    assert_string_equal(said, "");
    assert_string_equal(config->file, file);
    snprintf(path, sizeof path, "%s/data", folder->path);
    assert_string_equal(config->data_dir, path);
    /* the SHA-256 of "abc", without its newline */
    assert_int_equal(config->keys[0].sha256[0], 0xba);
    assert_int_equal(config->keys[0].sha256[31], 0xad);
    assert_string_equal(config->providers[0].api_keys[0].value, "def");
    snprintf(path, sizeof path, "api_key_file %s/key2", folder->path);
    assert_string_equal(config->providers[0].api_keys[0].source, path);
    snprintf(path, sizeof path, "%s/ca.pem", folder->path);
    assert_string_equal(config->providers[0].ca_file, path);
    snprintf(path, sizeof path, "%s/m.gguf", folder->path);
    assert_string_equal(config->providers[1].model_path, path);
    ps_config_unref(config);
}

static void test_files_that_are_not_there(void **state)
{
    struct folder *folder = *state;
    char said[2048];
    char expected[2048];
    static const char yaml[] =
        "listen: [ { address: \"127.0.0.1:0\", tls: { certificate: c.pem, key: k.pem } } ]\n"
        "providers:\n"
        "  p: { dialect: openai, base_url: http://h, ca_file: ca.pem }\n"
        "  e: { engine: llama, model_path: m.gguf }\n";
    const char *file = write_file(folder, "a.yaml", yaml, sizeof yaml - 1);
    assert_null(load_file(file, NULL, said, sizeof said));
    snprintf(expected, sizeof expected,
             "%s:1: listen[0].tls.certificate: expected a file that can be read, found \"c.pem\"\n"
             "%s:1: listen[0].tls.key: expected a file that can be read, found \"k.pem\"\n"
             "%s:3: providers.p.ca_file: expected a file that can be read, found \"ca.pem\"\n"
             "%s:4: providers.e.model_path: expected a file that can be read, found \"m.gguf\"\n",
             file, file, file, file);
    assert_string_equal(said, expected);
}

static void test_key_files(void **state)
{
    static char big[4098];
    static const struct {
        const char *bytes;
        size_t len;
        const char *said; /* NULL: taken */
    } rows[] = {
        {"k", 1, NULL},
        {"k\n", 2, NULL},
        {"k l\n", 4, NULL},
        {big, 4096, NULL},
        {big, 4097, "a bigger file"},
        {"", 0, "an empty file"},
        {"\n", 1, "an empty file"},
        {"\r\n", 2, "an empty file"},
        {"k\n\n", 3, "expected a key without control characters"},
        {"k\0", 2, "expected a key without control characters"},
        {"k \n", 3, "expected a key without spaces at its ends"},
    };
    struct folder *folder = *state;
    memset(big, 'k', sizeof big);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char yaml[512];
        char said[1024];
        const char *file = write_file(folder, "key", rows[i].bytes, rows[i].len);
        snprintf(yaml, sizeof yaml,
                 "providers: { p: { dialect: x, base_url: http://h, api_key_file: %s } }\n", file);
        struct ps_config *config = load_with(yaml, NULL, said, sizeof said);
        if ((config != NULL) != (rows[i].said == NULL) ||
            (config == NULL && strstr(said, rows[i].said) == NULL)) {
            fail_msg("row %zu: %s", i, said);
        }
        if (config != NULL) {
            assert_int_equal(config->providers[0].api_key_count, 1);
        }
        ps_config_unref(config);
    }
}

static void test_files_that_cannot_be_read(void **state)
{
    struct folder *folder = *state;
    char said[1024];
    assert_null(load_file("/nonexistent/a.yaml", NULL, said, sizeof said));
    assert_string_equal(
        said,
        "/nonexistent/a.yaml: expected a file of at most 1048576 bytes that can be read, found: No "
        "such file or directory\n");
    assert_null(load_file(folder->path, NULL, said, sizeof said));
    assert_non_null(strstr(said, "Is a directory"));
    assert_null(load_file("/dev/zero", NULL, said, sizeof said));
    assert_non_null(strstr(said, "a bigger one"));
    struct ps_config *config = load_file("/dev/null", NULL, said, sizeof said);
    assert_non_null(config);
    ps_config_unref(config);
}

static void test_the_example_loads(void **state)
{
    char said[2048];
    struct ps_config *config = load_file("config/penstock.yaml", NULL, said, sizeof said);
    (void)state;
    assert_string_equal(said, "");
    assert_non_null(config);
    assert_int_equal(config->providers[0].api_key_count, 0);
    assert_string_equal(config->providers[0].endpoints[0], "https://api.openai.com/v1");
    ps_config_unref(config);
}

/* ---- the environment and the command line ---- */

static void test_providers_of_the_environment(void **state)
{
    static const char *const some[] = {"openai", NULL};
    char said[2048];
    (void)state;
    setenv("OPENAI_API_KEY", "sk-1", 1);
    setenv("ANTHROPIC_API_KEY", "sk-2", 1);
    setenv("GEMINI_API_KEY", "sk-3", 1);
    setenv("GROQ_API_KEY", "", 1);
    setenv("MISTRAL_API_KEY", "sk-4", 1);
    struct ps_config *config = load_file(NULL, NULL, said, sizeof said);
    assert_string_equal(said, "");
    assert_int_equal(config->provider_count, 4);
    assert_string_equal(config->providers[0].name, "openai");
    assert_string_equal(config->providers[0].endpoints[0], "https://api.openai.com/v1");
    assert_string_equal(config->providers[0].api_keys[0].value, "sk-1");
    assert_string_equal(config->providers[0].api_keys[0].source, "${OPENAI_API_KEY}");
    assert_int_equal(config->providers[0].max_connections, 256);
    assert_int_equal(config->providers[0].timeouts.connect, 10000);
    assert_string_equal(config->providers[1].name, "anthropic");
    assert_string_equal(config->providers[1].dialect, "anthropic");
    assert_string_equal(config->providers[1].endpoints[0], "https://api.anthropic.com");
    assert_string_equal(config->providers[2].dialect, "gemini");
    assert_string_equal(config->providers[2].api_keys[0].source, "${GEMINI_API_KEY}");
    assert_string_equal(config->providers[3].endpoints[0], "https://api.mistral.ai/v1");
    assert_string_equal(config->default_model, "openai/gpt-4o-mini");
    ps_config_unref(config);

    /* only what this build speaks */
    setenv("OPENAI_BASE_URL", "http://proxy:1/v1/", 1);
    setenv("GOOGLE_API_KEY", "sk-5", 1);
    config = load_file(NULL, &(struct ps_config_overrides){.dialects = some}, said, sizeof said);
    assert_int_equal(config->provider_count, 2);
    assert_string_equal(config->providers[0].endpoints[0], "http://proxy:1/v1");
    assert_string_equal(config->providers[1].name, "mistral");
    ps_config_unref(config);
    config = load_file(NULL, NULL, said, sizeof said);
    assert_string_equal(config->providers[2].api_keys[0].source, "${GOOGLE_API_KEY}");
    ps_config_unref(config);

    /* without OpenAI there is no default */
    unsetenv("OPENAI_API_KEY");
    config = load_file(NULL, NULL, said, sizeof said);
    assert_null(config->default_model);
    ps_config_unref(config);

    /* a file stands alone */
    config = load_good("");
    assert_int_equal(config->provider_count, 0);
    ps_config_unref(config);
}

static void test_mistakes_of_the_environment(void **state)
{
    char said[2048];
    (void)state;
    setenv("OPENAI_API_KEY", "hush\n", 1);
    setenv("MISTRAL_API_KEY", "sk", 1);
    assert_null(load_file(NULL, NULL, said, sizeof said));
    assert_string_equal(said, "environment: OPENAI_API_KEY: expected a key without control "
                              "characters, found another one\n");
    setenv("OPENAI_API_KEY", "sk", 1);
    setenv("OPENAI_BASE_URL", "http://u:hush@h", 1);
    assert_null(load_file(NULL, NULL, said, sizeof said));
    assert_string_equal(said, "environment: OPENAI_BASE_URL: expected a URL without user name and "
                              "password, found another value\n");
}

static void test_listen_override(void **state)
{
    char said[2048];
    (void)state;
    struct ps_config *config =
        load_with("listen: [ { address: \"127.0.0.1:1\" }, { address: \"127.0.0.1:2\" } ]\n",
                  &(struct ps_config_overrides){.listen = "localhost:3"}, said, sizeof said);
    assert_int_equal(config->listener_count, 1);
    assert_int_equal(config->listeners[0].port, 3);
    ps_config_unref(config);
    assert_null(
        load_with("", &(struct ps_config_overrides){.listen = "\x1b[1m"}, said, sizeof said));
    assert_string_equal(
        said, "command line: -l: expected \"host:port\" with a port from 0 to 65535, \"[v6 "
              "address]:port\" or \"unix:/path\", found \"\\u001b[1m\"\n");
    assert_null(
        load_with("", &(struct ps_config_overrides){.listen = "0.0.0.0:80"}, said, sizeof said));
    assert_string_equal(
        said,
        "command line: listen[0].address: expected auth.keys or auth: none, since other machines "
        "can reach this address, found neither\n");
    config = load_with("auth: none", &(struct ps_config_overrides){.listen = "0.0.0.0:80"}, said,
                       sizeof said);
    assert_non_null(config);
    ps_config_unref(config);
}

static void test_model_override(void **state)
{
    struct folder *folder = *state;
    char said[2048];
    const char *file = write_file(folder, "My Model.gguf", "x", 1);
    struct ps_config_overrides overrides = {.model_file = file};

    struct ps_config *config = load_file(NULL, &overrides, said, sizeof said);
    assert_string_equal(said, "");
    const struct ps_config_provider *embedded =
        ps_config_provider(config, PS_SLICE_LIT("embedded"));
    assert_string_equal(embedded->engine, "llama");
    assert_string_equal(embedded->model_path, file);
    assert_int_equal(embedded->slots, 8);
    assert_string_equal(config->default_model, "My-Model");
    assert_string_equal(ps_config_model(config, PS_SLICE_LIT("My-Model"))->targets[0].provider,
                        "embedded");
    ps_config_unref(config);

    /* beside what a file says, whose provider keeps its other keys */
    config = load_with("providers:\n"
                       "  embedded: { engine: other, slots: 3 }\n"
                       "  p: { dialect: x, base_url: http://h }\n"
                       "models:\n"
                       "  - { name: a, targets: [ { provider: p } ] }\n"
                       "  - { name: My-Model, targets: [ { provider: p } ] }\n"
                       "default_model: a\n",
                       &overrides, said, sizeof said);
    assert_string_equal(said, "");
    assert_int_equal(config->provider_count, 2);
    assert_int_equal(config->model_count, 2);
    embedded = ps_config_provider(config, PS_SLICE_LIT("embedded"));
    assert_string_equal(embedded->engine, "other");
    assert_string_equal(embedded->model_path, file);
    assert_int_equal(embedded->slots, 3);
    assert_string_equal(config->default_model, "My-Model");
    assert_string_equal(ps_config_model(config, PS_SLICE_LIT("My-Model"))->targets[0].provider,
                        "embedded");
    ps_config_unref(config);

    assert_null(load_with("providers: { embedded: { dialect: x, base_url: http://h } }\n",
                          &overrides, said, sizeof said));
    assert_string_equal(
        said,
        "command line: -m: expected that the provider \"embedded\" of the file has an engine, "
        "found a dialect\n");
    overrides.model_file = "/nonexistent.gguf";
    assert_null(load_with("", &overrides, said, sizeof said));
    assert_string_equal(
        said,
        "command line: -m: expected the file of a model that can be read, found: No such file or "
        "directory\n");
}

/* ---- upper rooms ---- */

static int checks_run;

static void good_check(const struct ps_config *config, struct ps_config_errors *errors)
{
    (void)errors;
    assert_non_null(config);
    checks_run++;
}

static void bad_check(const struct ps_config *config, struct ps_config_errors *errors)
{
    checks_run++;
    ps_config_error(errors, config->providers[0].at, "providers.p.dialect",
                    "expected one of %s, found \"%s\"", "openai", config->providers[0].dialect);
}

static void test_checks_of_upper_rooms(void **state)
{
    static const char yaml[] = "providers:\n  p: { dialect: x, base_url: http://h }\n";
    const ps_config_check_fn checks[] = {good_check, bad_check, good_check};
    struct ps_config_errors errors;
    (void)state;
    checks_run = 0;
    ps_config_errors_init(&errors);
    assert_null(ps_config_parse("t.yaml", ps_slice_cstr(yaml), NULL, checks, 3, &errors));
    assert_int_equal(checks_run, 2);
    assert_int_equal(errors.count, 1);
    assert_memory_equal(errors.text.ptr,
                        "t.yaml:2: providers.p.dialect: expected one of openai, found \"x\"\n",
                        errors.text.len);
    /* they are not asked about what is already wrong */
    checks_run = 0;
    assert_null(ps_config_parse("t.yaml", PS_SLICE_LIT("x: y"), NULL, checks, 1, &errors));
    assert_int_equal(checks_run, 0);
    /* and an old mistake does not stand in the way of a new file */
    struct ps_config *config = ps_config_parse("t.yaml", PS_SLICE_NONE, NULL, checks, 1, &errors);
    assert_non_null(config);
    assert_int_equal(checks_run, 1);
    assert_ptr_equal(ps_config_ref(config), config);
    ps_config_unref(config);
    ps_config_unref(config);
    ps_config_unref(NULL);
    ps_config_errors_deinit(&errors);
}

/* ---- memory ---- */

static const char costly[] =
    "listen: [ { address: unix:a, tls: { certificate: a, key: b } } ]\n"
    "auth: { keys: [ { name: a, key_file: k } ] }\n"
    "cors: { origins: [ http://a ] }\n"
    "trusted_proxies: [ 10.0.0.0/8 ]\n"
    "default_model: m\n"
    "providers:\n"
    "  p: { dialect: x, base_url: http://h, api_key: \"${PS_TEST_A:-b}\" }\n"
    "  q: { dialect: x, endpoints: [ http://h ], api_keys: [ b ], headers: { a: b },\n"
    "       proxy: http://h }\n"
    "  r: { dialect: x, base_url: http://h, api_key_file: b }\n"
    "models: [ { name: m, targets: [ { provider: p } ] } ]\n";

/* Every allocation fails once: there is a snapshot or a mistake, and nothing leaks. */
static void test_memory_runs_out(void **state)
{
    const struct ps_config_overrides overrides = {
        .listen = "localhost:1", .model_file = "x.gguf", .no_files = true};
    struct ps_config_errors errors;
    bool failed = true;
    (void)state;
    for (int64_t after = 0; failed; after++) {
        assert_true(after < 10000);
        ps_config_errors_init(&errors);
        (void)ps_mem_fail_after(after);
        struct ps_config *config =
            ps_config_parse("t.yaml", ps_slice_cstr(costly), &overrides, NULL, 0, &errors);
        (void)ps_mem_fail_after(-1);
        failed = config == NULL;
        assert_int_equal(failed, errors.count > 0);
        ps_config_unref(config);
        ps_config_errors_deinit(&errors);
    }
}

static const char *watched; /* a secret in an arena that is about to end */
static char seen[5];

static void look_at_watched(void *arg)
{
    (void)arg;
    memcpy(seen, watched, sizeof seen);
}

/* Cleanups run newest first: one that was there before sees what the wiping has left. */
static void test_secrets_are_wiped(void **state)
{
    static const char zeros[sizeof seen];
    struct ps_env_problem problem;
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ps_arena arena;
        struct ps_config_load load = {.arena = &arena};
        ps_arena_init(&arena, 1 << 16);
        assert_int_equal(ps_arena_defer(&arena, look_at_watched, NULL), 0);
        watched =
            i == 0 ? ps_config_copy_secret(&load, PS_SLICE_LIT("hush!"))
                   : ps_env_expand(PS_SLICE_LIT("hu${PS_TEST_UNSET:-sh!}"), &arena, &problem).ptr;
        assert_string_equal(watched, "hush!");
        memset(seen, 1, sizeof seen);
        ps_arena_deinit(&arena);
        assert_memory_equal(seen, zeros, sizeof seen);
    }
}

/* Every beginning of a file: a snapshot or a mistake. */
static void test_every_split(void **state)
{
    const struct ps_config_overrides overrides = {.no_files = true};
    (void)state;
    for (size_t len = 0; len < sizeof costly; len++) {
        char *cut = malloc(len > 0 ? len : 1);
        struct ps_config_errors errors;
        assert_non_null(cut);
        memcpy(cut, costly, len);
        ps_config_errors_init(&errors);
        struct ps_config *config =
            ps_config_parse("t.yaml", ps_slice(cut, len), &overrides, NULL, 0, &errors);
        assert_int_equal(config == NULL, errors.count > 0);
        ps_config_unref(config);
        ps_config_errors_deinit(&errors);
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, clear_environment),
        cmocka_unit_test(test_provider_defaults),
        cmocka_unit_test(test_nothing_is_as_good_as_left_out),
        cmocka_unit_test(test_values_of_a_file),
        cmocka_unit_test(test_variables_fill_any_scalar),
        cmocka_unit_test_setup_teardown(test_paths_begin_at_the_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_files_that_are_not_there, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_key_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_files_that_cannot_be_read, make_folder, remove_folder),
        cmocka_unit_test_setup(test_the_example_loads, clear_environment),
        cmocka_unit_test_setup(test_providers_of_the_environment, clear_environment),
        cmocka_unit_test_setup(test_mistakes_of_the_environment, clear_environment),
        cmocka_unit_test_setup(test_listen_override, clear_environment),
        cmocka_unit_test_setup_teardown(test_model_override, make_folder, remove_folder),
        cmocka_unit_test(test_checks_of_upper_rooms),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_secrets_are_wiped),
        cmocka_unit_test(test_every_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
