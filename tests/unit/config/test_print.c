/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"
#include "config_testing.h"

#include <stdlib.h>

#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char *print(const struct ps_config *config)
{
    struct ps_buf buf;
    ps_buf_init(&buf, 1 << 20);
    ps_config_print(config, &buf);
    ps_buf_byte(&buf, '\0');
    assert_false(buf.failed);
    char *text = strdup(buf.ptr);
    assert_non_null(text);
    ps_buf_deinit(&buf);
    return text;
}

/* Shows where two long texts part. */
static void assert_same_text(const char *found, const char *expected)
{
    size_t same = 0;
    while (found[same] != '\0' && found[same] == expected[same]) {
        same++;
    }
    if (found[same] != expected[same]) {
        size_t from = same > 60 ? same - 60 : 0;
        fail_msg("expected \"%.120s\", found \"%.120s\"", expected + from, found + from);
    }
}

/* Everything there is, with values other than the defaults. */
static const char everything[] = //
    "listen:\n"
    "  - address: \"127.0.0.1:8080\"\n"
    "    tls: { certificate: /a.pem, key: /a.key }\n"
    "  - address: unix:/run/p.sock\n"
    "  - address: \"[::1]:80\"\n"
    "    tls: [ { certificate: /b.pem, key: /b.key }, { certificate: /c.pem, key: /c.key } ]\n"
    "workers: { event_loops: 3, compute_threads: 4, offload_threads: 5, compute_queue: 6,\n"
    "           compute_queue_tokens: 7, job_concurrency: 8 }\n"
    "limits: { connections: 9, header_bytes: 10KiB, body_bytes: 11MiB, file_bytes: 12GiB, "
    "event_bytes: 1300,\n"
    "          buffer_memory: 14MiB, model_memory: 15GiB, header_timeout: 16ms, body_timeout: "
    "17s,\n"
    "          write_timeout: 18m, idle_timeout: 19h, request_timeout: 20s, first_token_timeout: "
    "21s,\n"
    "          stream_idle_timeout: 22s, stream_timeout: 23s, drain_timeout: 0 }\n"
    "auth:\n"
    "  keys: [ { name: alice, tenant: team, key_sha256: " HASH " } ]\n"
    "cors: { origins: [ \"https://App.example.com:443\", tauri://localhost ] }\n"
    "trusted_proxies: [ 10.0.0.0/8, 192.168.1.1, fd00::/8, unix, \"::1\" ]\n"
    "default_model: p/x\n"
    "providers:\n"
    "  p:\n"
    "    dialect: openai\n"
    "    endpoints: [ \"http://h/v1/\", \"${PS_TEST_URL}\" ]\n"
    "    api_keys: [ \"${PS_TEST_SECRET}\", hush2 ]\n"
    "    headers: { X-A: hush3, \"x-b'\": \"\" }\n"
    "    ca_file: /ca.pem\n"
    "    proxy: http://user:hush4@proxy:3128\n"
    "    timeouts: { connect: 1s, request: 2s, first_token: 3s, stream_idle: 4s, stream: 5s }\n"
    "    accounting: passive\n"
    "    max_connections: 6\n"
    "    max_queue: 0\n"
    "    list_models: false\n"
    "  q: { dialect: openai, base_url: http://q, auth: client }\n"
    "  r: { dialect: openai, base_url: http://r, api_key: hush5, proxy: socks5h://proxy:1 }\n"
    "  e: { engine: llama, model_path: /m.gguf, context_tokens: 4096, slots: 2, gpu_layers: -1,\n"
    "       chat_template: chatml, while_loading: reject }\n"
    "models:\n"
    "  - name: \"123\"\n"
    "    strategy: least_busy\n"
    "    targets: [ { provider: p, model: \"m: #x\", weight: 2 }, { provider: e } ]\n"
    "  - { name: \"null\", targets: [ { provider: q } ] }\n"
    "data_dir: /data dir\n"
    "jobs: { store: \"sqlite:/x.db\", webhook_private: true }\n"
    "log: { level: warn, format: text, file: /log }\n";

static const char printed[] = //
    "# in force, from t.yaml\n"
    "listen:\n"
    "  - address: \"127.0.0.1:8080\"\n"
    "    tls:\n"
    "      - certificate: /a.pem\n"
    "        key: /a.key\n"
    "  - address: \"unix:/run/p.sock\"\n"
    "  - address: \"[::1]:80\"\n"
    "    tls:\n"
    "      - certificate: /b.pem\n"
    "        key: /b.key\n"
    "      - certificate: /c.pem\n"
    "        key: /c.key\n"
    "workers:\n"
    "  event_loops: 3\n"
    "  compute_threads: 4\n"
    "  offload_threads: 5\n"
    "  compute_queue: 6\n"
    "  compute_queue_tokens: 7\n"
    "  job_concurrency: 8\n"
    "limits:\n"
    "  connections: 9\n"
    "  header_bytes: 10KiB\n"
    "  body_bytes: 11MiB\n"
    "  file_bytes: 12GiB\n"
    "  event_bytes: 1300\n"
    "  buffer_memory: 14MiB\n"
    "  model_memory: 15GiB\n"
    "  header_timeout: 16ms\n"
    "  body_timeout: 17s\n"
    "  write_timeout: 18m\n"
    "  idle_timeout: 19h\n"
    "  request_timeout: 20s\n"
    "  first_token_timeout: 21s\n"
    "  stream_idle_timeout: 22s\n"
    "  stream_timeout: 23s\n"
    "  drain_timeout: 0s\n"
    "auth:\n"
    "  keys:\n"
    "    - name: alice\n"
    "      tenant: team\n"
    "      key_sha256: \"****\"\n"
    "cors:\n"
    "  origins:\n"
    "    - \"https://app.example.com\"\n"
    "    - \"tauri://localhost\"\n"
    "trusted_proxies:\n"
    "  - \"10.0.0.0/8\"\n"
    "  - \"192.168.1.1/32\"\n"
    "  - \"fd00:0:0:0:0:0:0:0/8\"\n"
    "  - unix\n"
    "  - \"0:0:0:0:0:0:0:1/128\"\n"
    "default_model: p/x\n"
    "providers:\n"
    "  p:\n"
    "    dialect: openai\n"
    "    endpoints:\n"
    "      - \"http://h/v1\"\n"
    "      - \"http://filled-in/v1\"\n"
    "    api_keys:\n"
    "      - \"****\" # from ${PS_TEST_SECRET}\n"
    "      - \"****\" # literal\n"
    "    headers:\n"
    "      X-A: \"****\"\n"
    "      \"x-b'\": \"****\"\n"
    "    ca_file: /ca.pem\n"
    "    proxy: \"http://****@proxy:3128\"\n"
    "    timeouts:\n"
    "      connect: 1s\n"
    "      request: 2s\n"
    "      first_token: 3s\n"
    "      stream_idle: 4s\n"
    "      stream: 5s\n"
    "    accounting: passive\n"
    "    max_connections: 6\n"
    "    max_queue: 0\n"
    "    list_models: false\n"
    "  q:\n"
    "    dialect: openai\n"
    "    base_url: \"http://q\"\n"
    "    auth: client\n"
    "    timeouts:\n"
    "      connect: 10s\n"
    "    accounting: active\n"
    "    max_connections: 256\n"
    "    max_queue: 1024\n"
    "    list_models: true\n"
    "  r:\n"
    "    dialect: openai\n"
    "    base_url: \"http://r\"\n"
    "    api_key: \"****\" # literal\n"
    "    proxy: \"socks5h://proxy:1\"\n"
    "    timeouts:\n"
    "      connect: 10s\n"
    "    accounting: active\n"
    "    max_connections: 256\n"
    "    max_queue: 1024\n"
    "    list_models: true\n"
    "  e:\n"
    "    engine: llama\n"
    "    model_path: /m.gguf\n"
    "    context_tokens: 4096\n"
    "    slots: 2\n"
    "    gpu_layers: -1\n"
    "    chat_template: chatml\n"
    "    while_loading: reject\n"
    "models:\n"
    "  - name: \"123\"\n"
    "    strategy: least_busy\n"
    "    targets:\n"
    "      - provider: p\n"
    "        model: \"m: #x\"\n"
    "        weight: 2\n"
    "      - provider: e\n"
    "        weight: 1\n"
    "  - name: \"null\"\n"
    "    strategy: ordered\n"
    "    targets:\n"
    "      - provider: q\n"
    "        weight: 1\n"
    "data_dir: \"/data dir\"\n"
    "jobs:\n"
    "  store: \"sqlite:/x.db\"\n"
    "  max_attempts: 5\n"
    "  keep: 720h\n"
    "  response_life: 720h\n"
    "  webhook_private: true\n"
    "log:\n"
    "  level: warn\n"
    "  format: text\n"
    "  file: /log\n";

static int set_up(void **state)
{
    (void)state;
    setenv("PS_TEST_SECRET", "hush1", 1);
    setenv("PS_TEST_URL", "http://filled-in/v1", 1);
    setenv("PS_TEST_HOOK", "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo", 1);
    return 0;
}

static void test_everything_is_printed_and_masked(void **state)
{
    struct ps_config *config = load_good(everything);
    char *text = print(config);
    (void)state;
    assert_same_text(text, printed);
    assert_null(strstr(text, "hush"));
    free(text);
    ps_config_unref(config);
}

/* Replaces every `from` in a text by a `to` that is no longer. */
static void replace(char *text, const char *from, const char *to)
{
    size_t from_len = strlen(from);
    size_t to_len = strlen(to);
    char *at = text;
    while ((at = strstr(at, from)) != NULL) {
        memcpy(at, to, to_len);
        memmove(at + to_len, at + from_len, strlen(at + from_len) + 1);
        at += to_len;
    }
}

/* What is printed is a configuration that prints the same, when the one thing that cannot be masked
 * and loaded, the hash of a key, is put back. */
static void test_what_is_printed_loads_again(void **state)
{
    static const char *const texts[] = {everything, "",
                                        "auth: none\nlisten: [ { address: \"0.0.0.0:1\" } ]\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct ps_config *config = load_good(texts[i]);
        char *text = print(config);
        char again[8192];
        const char *hash = strstr(text, "key_sha256: \"****\"");
        if (hash != NULL) {
            snprintf(again, sizeof again, "%.*skey_sha256: %s%s", (int)(hash - text), text, HASH,
                     hash + strlen("key_sha256: \"****\""));
        } else {
            snprintf(again, sizeof again, "%s", text);
        }
        struct ps_config *second = load_good(again);
        char *second_text = print(second);
        replace(text, "from ${PS_TEST_SECRET}", "literal");
        assert_same_text(second_text, text);
        free(text);
        free(second_text);
        ps_config_unref(config);
        ps_config_unref(second);
    }
}

static void test_signing_secret(void **state)
{
    static const char secret[] = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";
    struct ps_config *config = load_good("jobs: { webhook_secret: \"${PS_TEST_HOOK}\" }\n");
    char *text = print(config);

    (void)state;
    assert_string_equal(config->webhook_secret.value, secret);
    assert_non_null(strstr(text, "webhook_secret: \"****\" # from ${PS_TEST_HOOK}\n"));
    assert_null(strstr(text, secret));
    free(text);
    ps_config_unref(config);
    config = load_good("jobs: { webhook_secret: \"\" }\n");
    assert_null(config->webhook_secret.value);
    ps_config_unref(config);
}

static void test_sources(void **state)
{
    char said[4096];
    struct ps_config_overrides overrides = {.no_files = true};
    struct ps_config *config =
        load_with("providers:\n"
                  "  a: { dialect: x, base_url: http://h, api_key_file: /run/key }\n"
                  "  b: { dialect: x, base_url: http://h, api_key: \"a${PS_TEST_SECRET}"
                  "${PS_TEST_UNSET:-hush}\" }\n",
                  &overrides, said, sizeof said);
    (void)state;
    assert_non_null(config);
    char *text = print(config);
    assert_non_null(strstr(text, "api_key: \"****\" # from api_key_file /run/key\n"));
    assert_non_null(strstr(text, "api_key: \"****\" # from ${PS_TEST_SECRET} ${PS_TEST_UNSET}\n"));
    assert_null(strstr(text, "hush"));
    free(text);
    ps_config_unref(config);
}

static void test_restart_keys(void **state)
{
    static const struct {
        const char *yaml;
        const char *keys;
    } rows[] = {
        {"", ""},
        {"limits: { connections: 3 }\nlog: { level: debug }\n", ""},
        {"workers: { event_loops: 2, offload_threads: 3 }\n",
         "workers.event_loops, workers.offload_threads"},
        {"listen: [ { address: \"127.0.0.1:81\" } ]\n", "listen"},
        {"listen: [ { address: \"127.0.0.1:8080\", tls: { certificate: a, key: b } } ]\n",
         "listen"},
        {"listen: [ { address: \"127.0.0.1:8080\" }, { address: unix:/x } ]\n", "listen"},
        {"listen: [ { address: \"127.0.0.1:8080\" } ]\n", ""},
        {"jobs: { store: \"sqlite:other.db\" }\ndata_dir: x\nlog: { file: y }\n",
         "data_dir, jobs.store, log.file"},
    };
    struct ps_config *before = load_good("");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ps_config *after = load_good(rows[i].yaml);
        struct ps_buf keys;
        ps_buf_init(&keys, 1024);
        size_t count = ps_config_restart_keys(before, after, &keys);
        ps_buf_byte(&keys, '\0');
        assert_string_equal(keys.ptr, rows[i].keys);
        assert_int_equal(count > 0, rows[i].keys[0] != '\0');
        ps_buf_deinit(&keys);
        ps_config_unref(after);
    }
    ps_config_unref(before);
}

static char *read_all(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s cannot be opened", path);
    }
    text = calloc(1, 1 << 20);
    assert_non_null(text);
    len = fread(text, 1, (1 << 20) - 1, file);
    assert_true(len > 0);
    fclose(file);
    return text;
}

/* docs/configuration.md says what the table says. With PENSTOCK_UPDATE_DOCS in the environment it
 * is made to. */
static void test_the_document_is_true(void **state)
{
    static const char path[] = "docs/configuration.md";
    static const char begin[] = "ctest -R unit_config_print -->\n\n";
    static const char end[] = "\n<!-- end of the table -->\n";
    char *text = read_all(path);
    char *from = strstr(text, begin);
    char *to = strstr(text, end);
    struct ps_buf table;
    (void)state;
    ps_buf_init(&table, 1 << 20);
    ps_config_reference(&table);
    ps_buf_byte(&table, '\0');
    assert_false(table.failed);
    assert_non_null(to);
    if (getenv("PENSTOCK_UPDATE_DOCS") != NULL) {
        size_t head = from != NULL ? (size_t)(from - text) + strlen(begin) : (size_t)(to - text);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fprintf(file, "%.*s%s%s", (int)head, text, table.ptr, to);
        assert_int_equal(fclose(file), 0);
    } else {
        assert_non_null(from);
        from += strlen(begin);
        to[0] = '\0';
        assert_same_text(from, table.ptr);
    }
    ps_buf_deinit(&table);
    free(text);
}

/* No row of the table is forgotten by somebody who adds one. */
static void test_the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < ps_option_count; i++) {
        const struct ps_option *option = &ps_options[i];
        assert_ptr_equal(ps_option_at(option->path), option);
        assert_non_null(option->doc);
        assert_true(option->doc[strlen(option->doc) - 1] == '.');
        assert_true(option->min <= option->max);
        assert_int_equal(option->type == PS_OPT_ENUM, option->choices != NULL);
        if (option->type >= PS_OPT_UINT32 && option->type <= PS_OPT_TIME) {
            assert_true(option->max > 0);
        }
        assert_false((option->flags & PS_OPTION_REQUIRED) && option->fallback != NULL);
        assert_int_equal(option->record != PS_RECORD_NONE, option->size > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_everything_is_printed_and_masked, set_up),
        cmocka_unit_test_setup(test_what_is_printed_loads_again, set_up),
        cmocka_unit_test_setup(test_signing_secret, set_up),
        cmocka_unit_test_setup(test_sources, set_up),
        cmocka_unit_test(test_restart_keys),
        cmocka_unit_test(test_the_document_is_true),
        cmocka_unit_test(test_the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
