/* SPDX-License-Identifier: Apache-2.0 */
#include "config_testing.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a provider needs, so that a row shows only its own mistake. */
#define URL  "base_url: http://h"
#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct row {
    const char *yaml;
    const char *said; /* all of it */
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char said[8192];
        struct ps_config *config = load_with(rows[i].yaml, NULL, said, sizeof said);
        if (strcmp(said, rows[i].said) != 0) {
            fail_msg("row %zu\n%s\nexpected %s\nfound    %s", i, rows[i].yaml, rows[i].said, said);
        }
        ps_config_unref(config);
    }
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("PS_TEST_UNSET");
    setenv("PS_TEST_SECRET", "hush-hush", 1);
    setenv("PS_TEST_BROKEN", "hush\nhush", 1);
    return 0;
}

static void test_unknown_keys(void **state)
{
    static const struct row rows[] = {
        {"\nlistn: x\n",
         "t.yaml:2: listn: expected a known key (did you mean \"listen\"?), found \"listn\"\n"},
        {"limits:\n  conections: 3\n", "t.yaml:2: limits.conections: expected a known key (did you "
                                       "mean \"connections\"?), found \"conections\"\n"},
        {"limits: { header-bytes: 3 }\n",
         "t.yaml:1: limits.header-bytes: expected a known key (did you mean \"header_bytes\"?), "
         "found \"header-bytes\"\n"},
        {"drain_timeout: 3s\n", "t.yaml:1: drain_timeout: expected a known key (did you mean "
                                "\"limits.drain_timeout\"?), found "
                                "\"drain_timeout\"\n"},
        {"log: { xyz: 1 }\n",
         "t.yaml:1: log.xyz: expected one of the keys level, format, file, found \"xyz\"\n"},
        {"providers:\n  a:\n    dialect: openai\n    url: http://h\n",
         "t.yaml:4: providers.a.url: expected a known key (did you mean \"base_url\"?), found "
         "\"url\"\n"
         "t.yaml:2: providers.a: expected exactly one of base_url and endpoints, found neither\n"},
        {"models:\n  - name: a\n    target: []\n    targets: []\n",
         "t.yaml:3: models[0].target: expected a known key (did you mean \"targets\"?), found "
         "\"target\"\n"
         "t.yaml:4: models[0].targets: expected a list with at least one item, found an empty "
         "one\n"},
        {"\"a\\e[31mb\": 1\n", NULL},
    };
    (void)state;
    check_rows(rows, COUNT(rows) - 1);
    /* a key cannot speak to the terminal */
    char said[4096];
    assert_null(load_with(rows[COUNT(rows) - 1].yaml, NULL, said, sizeof said));
    assert_null(strchr(said, '\x1b'));
    assert_null(load_with("\"a\\x9bb\": 1\n", NULL, said, sizeof said));
    assert_null(strstr(said, "\xc2\x9b"));
}

static void test_values(void **state)
{
    static const struct row rows[] = {
        {"workers: { event_loops: 0 }\n",
         "t.yaml:1: workers.event_loops: expected a number from 1 to 256, found \"0\"\n"},
        {"workers:\n  event_loops:\n    many\n",
         "t.yaml:3: workers.event_loops: expected a number from 1 to 256, found \"many\"\n"},
        {"workers:\n  event_loops:\n",
         "t.yaml:2: workers.event_loops: expected a number from 1 to 256, found nothing\n"},
        {"workers:\n  event_loops: [1]\n",
         "t.yaml:2: workers.event_loops: expected a number from 1 to 256, found a list\n"},
        {"workers:\n  event_loops: { a: 1 }\n",
         "t.yaml:2: workers.event_loops: expected a number from 1 to 256, found keys and values\n"},
        {"workers: { compute_threads: some }\n", "t.yaml:1: workers.compute_threads: expected auto "
                                                 "or a number from 1 to 1024, found \"some\"\n"},
        {"limits: { body_bytes: 3MB }\n", "t.yaml:1: limits.body_bytes: expected a size from 1 to "
                                          "16GiB, such as 64KiB, found \"3MB\"\n"},
        {"limits: { header_timeout: 10 }\n", "t.yaml:1: limits.header_timeout: expected a time "
                                             "from 1ms to 168h, such as 10s, found \"10\"\n"},
        {"limits: { header_timeout: 0 }\n", "t.yaml:1: limits.header_timeout: expected a time from "
                                            "1ms to 168h, such as 10s, found \"0\"\n"},
        {"limits: 3\n", "t.yaml:1: limits: expected keys and values, found text\n"},
        {"limits: []\n", "t.yaml:1: limits: expected keys and values, found a list\n"},
        {"log: { level: loud }\n",
         "t.yaml:1: log.level: expected one of debug, info, warn, error, found \"loud\"\n"},
        {"trusted_proxies: [10.0.0.1/8, x]\n",
         "t.yaml:1: trusted_proxies[0]: expected a network whose address has no bits beyond its "
         "prefix, found "
         "\"10.0.0.1/8\"\n"
         "t.yaml:1: trusted_proxies[1]: expected an address, a network such as 10.0.0.0/8, or the "
         "word unix, found "
         "\"x\"\n"},
        {"trusted_proxies: 10.0.0.1\n", "t.yaml:1: trusted_proxies: expected a list of addresses "
                                        "such as [ 10.0.0.0/8 ], found text\n"},
        {"cors: { origins: [\"*\", {}] }\n", "t.yaml:1: cors.origins[0]: expected an origin such "
                                             "as https://app.example.com, found \"*\"\n"
                                             "t.yaml:1: cors.origins[1]: expected an origin such "
                                             "as https://app.example.com, found keys and values\n"},
        {"data_dir: \"\"\n", "t.yaml:1: data_dir: expected a path, found \"\"\n"},
        {"default_model: nope\n", "t.yaml:1: default_model: expected the name of one of models, or "
                                  "provider/model, found \"nope\"\n"},
        {"default_model: nope/x\n", "t.yaml:1: default_model: expected the name of one of models, "
                                    "or provider/model, found \"nope/x\"\n"},
        {"default_model: a/\nproviders: { a: { dialect: x, " URL " } }\n",
         "t.yaml:1: default_model: expected the name of one of models, or provider/model, found "
         "\"a/\"\n"},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
}

static void test_listeners(void **state)
{
    static const char address[] = "expected \"host:port\" with a port from 0 to 65535, \"[v6 "
                                  "address]:port\" or \"unix:/path\"";
    char expected[512];
    char said[4096];
    static const struct row rows[] = {
        {"listen: []\n",
         "t.yaml:1: listen: expected a list with at least one item, found an empty one\n"},
        {"listen:\n", "t.yaml:1: listen: expected a list of keys and values (\"- key: value\"), "
                      "found nothing\n"},
        {"listen: 127.0.0.1:80\n",
         "t.yaml:1: listen: expected a list of keys and values (\"- key: value\"), found text\n"},
        {"listen: [ 127.0.0.1:80 ]\n",
         "t.yaml:1: listen[0]: expected keys and values, found text\n"},
        {"listen: [ {} ]\n", "t.yaml:1: listen[0].address: expected an address such as "
                             "127.0.0.1:8080, found nothing\n"},
        {"listen:\n  - address: \"127.0.0.1:80\"\n    tls: { certificate: a }\n",
         "t.yaml:3: listen[0].tls.key: expected a path, found nothing\n"},
        {"listen:\n  - address: \"127.0.0.1:80\"\n    tls:\n      - { certificate: a, key: b }\n   "
         "   - { key: b }\n",
         "t.yaml:5: listen[0].tls[1].certificate: expected a path, found nothing\n"},
        {"listen:\n  - address: \"127.0.0.1:80\"\n    tls:\n",
         "t.yaml:3: listen[0].tls: expected certificate and key, or a list of them, found "
         "nothing\n"},
        {"listen:\n  - address: \"127.0.0.1:80\"\n    tls: []\n",
         "t.yaml:3: listen[0].tls: expected a list with at least one item, found an empty one\n"},
        {"listen:\n  - address: \"127.0.0.1:80\"\n  - address: \"127.0.0.1:80\"\n",
         "t.yaml:3: listen[1].address: expected each address once, found 127.0.0.1:80\n"},
        /* nobody's open relay */
        {"listen:\n  - address: \"127.0.0.1:80\"\n  - address: \"0.0.0.0:80\"\n",
         "t.yaml:3: listen[1].address: expected auth.keys or auth: none, since other machines can "
         "reach this address, "
         "found neither\n"},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
    assert_null(load_with("listen: [ { address: \"0.0.0.0\" } ]\n", NULL, said, sizeof said));
    snprintf(expected, sizeof expected, "t.yaml:1: listen[0].address: %s, found \"0.0.0.0\"\n",
             address);
    assert_string_equal(said, expected);
}

static void test_auth(void **state)
{
    static const struct row rows[] = {
        {"auth: all\n",
         "t.yaml:1: auth: expected none, or keys:, found another value (not shown)\n"},
        {"auth:\n", "t.yaml:1: auth: expected none, or keys:, found nothing\n"},
        {"auth: {}\n", "t.yaml:1: auth.keys: expected a list of keys and values (\"- key: "
                       "value\"), found nothing\n"},
        {"auth: { keys: [] }\n",
         "t.yaml:1: auth.keys: expected a list with at least one item, found an empty one\n"},
        {"auth: { none: true, keys: [ { name: a, key_sha256: " HASH " } ] }\n",
         "t.yaml:1: auth.none: expected one of the keys keys, found \"none\"\n"},
        {"auth:\n  keys:\n    - { key_sha256: " HASH " }\n    - { name: b }\n",
         "t.yaml:3: auth.keys[0].name: expected a name, found nothing\n"
         "t.yaml:4: auth.keys[1]: expected exactly one of key_sha256 and key_file, found "
         "neither\n"},
        {"auth:\n  keys:\n    - { name: a, key_sha256: hush }\n",
         "t.yaml:3: auth.keys[0].key_sha256: expected 64 hex digits, found another value (not "
         "shown)\n"},
        {"auth:\n  keys:\n    - name: a\n      key_sha256: " HASH "\n      key_file: hush\n",
         "t.yaml:5: auth.keys[0].key_file: expected the path of a file of 1 to 4096 bytes that can "
         "be read, found: No "
         "such file or directory\n"
         "t.yaml:5: auth.keys[0].key_file: expected exactly one of key_sha256 and key_file, found "
         "key_file beside "
         "key_sha256\n"},
        {"auth:\n  keys:\n    - { name: a, key_sha256: " HASH
         " }\n    - { name: b, key_sha256: " HASH " }\n",
         "t.yaml:4: auth.keys[1]: expected each key once, found the key of an entry before\n"},
        {"auth:\n  keys:\n    - { name: a, key_sha256: 1" HASH
         " }\n    - { name: a, key_sha256: " HASH " }\n",
         "t.yaml:3: auth.keys[0].key_sha256: expected 64 hex digits, found another value (not "
         "shown)\n"
         "t.yaml:4: auth.keys[1]: expected each name once, found a\n"},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
}

#define PROVIDER(keys) "providers:\n  p:\n    dialect: openai\n    " URL "\n" keys

static void test_providers(void **state)
{
    static const struct row rows[] = {
        {"providers: []\n",
         "t.yaml:1: providers: expected names, each with keys and values, found a list\n"},
        {"providers:\n  p: hush\n",
         "t.yaml:2: providers.p: expected keys and values, found text\n"},
        {"providers:\n  p:\n", "t.yaml:2: providers.p: expected keys and values, found nothing\n"},
        {"providers:\n  p: {}\n",
         "t.yaml:2: providers.p: expected exactly one of dialect and engine, found neither\n"},
        {"providers:\n  p:\n    dialect: a\n    engine: b\n    " URL "\n",
         "t.yaml:4: providers.p.engine: expected exactly one of dialect and engine, found engine "
         "beside dialect\n"},
        {"providers:\n  p q: { dialect: a, " URL " }\n",
         "t.yaml:2: providers.p q: expected a name of 1 to 64 of A-Z a-z 0-9 . _ -, found other "
         "characters in it\n"},
        {"providers:\n  p: { dialect: a }\n",
         "t.yaml:2: providers.p: expected exactly one of base_url and endpoints, found neither\n"},
        {"providers:\n  p:\n    dialect: a\n    " URL "\n    endpoints: [ http://i ]\n",
         "t.yaml:5: providers.p.endpoints: expected exactly one of base_url and endpoints, found "
         "endpoints beside "
         "base_url\n"},
        {"providers:\n  p:\n    dialect: a\n    endpoints: [ http://h/, http://i, http://h ]\n",
         "t.yaml:4: providers.p.endpoints: expected each endpoint once, found http://h\n"},
        {"providers:\n  p:\n    dialect: a\n    endpoints: []\n",
         "t.yaml:4: providers.p.endpoints: expected a list of URLs, found a list\n"},
        {"providers:\n  p:\n    engine: a\n    " URL "\n    api_key: hush\n",
         "t.yaml:4: providers.p.base_url: expected this key only in a provider with a dialect, "
         "found it beside engine\n"
         "t.yaml:5: providers.p.api_key: expected this key only in a provider with a dialect, "
         "found it beside engine\n"},
        {PROVIDER("    slots: 3\n"), "t.yaml:5: providers.p.slots: expected this key only in a "
                                     "provider with an engine, found it beside dialect\n"},
        {PROVIDER("    accounting: lazy\n"),
         "t.yaml:5: providers.p.accounting: expected one of active, passive, found \"lazy\"\n"},
        {PROVIDER("    list_models: yes\n"),
         "t.yaml:5: providers.p.list_models: expected true or false, found \"yes\"\n"},
        {PROVIDER("    timeouts: { connect: soon, speak: 1s }\n"),
         "t.yaml:5: providers.p.timeouts.connect: expected a time from 1ms to 168h, such as 10s, "
         "found \"soon\"\n"
         "t.yaml:5: providers.p.timeouts.speak: expected one of the keys connect, request, "
         "first_token, stream_idle, "
         "stream, found \"speak\"\n"},
    };
    static const struct row urls[] = {
        {"ftp://h", "a URL that begins with http:// or https://, found \"ftp://h\""},
        {"http://u:hush@h", "a URL without user name and password, found a URL with a user name or "
                            "password (not shown)"},
        {"http://h/a?key=hush", "a URL without query and fragment, found \"http://h/a\"…"},
        {"\"http://h/a#b\"", "a URL without query and fragment, found \"http://h/a\"…"},
        {"http://h:99999", "a URL with a port from 1 to 65535, found \"http://h:99999\""},
        {"\"${PS_TEST_SECRET}\"",
         "a URL that begins with http:// or https://, found the value of ${PS_TEST_SECRET}"},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
    for (size_t i = 0; i < COUNT(urls); i++) {
        char yaml[256];
        char said[512];
        snprintf(yaml, sizeof yaml, "providers:\n  p:\n    dialect: a\n    base_url: %s\n",
                 urls[i].yaml);
        snprintf(said, sizeof said, "t.yaml:4: providers.p.base_url: expected %s\n", urls[i].said);
        check_rows(&(struct row){yaml, said}, 1);
    }
}

static void test_credentials(void **state)
{
#define CREDENTIALS                                                                                \
    "expected at most one of api_key, api_key_file, api_keys and auth: client, found "
    static const struct row rows[] = {
        {PROVIDER("    api_key: \"${PS_TEST_UNSET}\"\n"),
         "t.yaml:5: providers.p.api_key: expected the environment variable PS_TEST_UNSET to be set "
         "(or a default: "
         "${PS_TEST_UNSET:-…}), found it unset\n"},
        {PROVIDER("    api_key: \"${PS_TEST_BROKEN}\"\n"),
         "t.yaml:5: providers.p.api_key: expected a key without control characters, found another "
         "value (not shown)\n"},
        {PROVIDER("    api_key: \"${hush hush}\"\n"),
         "t.yaml:5: providers.p.api_key: expected ${NAME} or ${NAME:-default}, found another "
         "name\n"},
        {PROVIDER("    api_key: [ hush ]\n"),
         "t.yaml:5: providers.p.api_key: expected a key, best as \"${NAME}\", found a list\n"},
        {PROVIDER("    api_keys: hush\n"),
         "t.yaml:5: providers.p.api_keys: expected a list of keys, best as [ \"${NAME}\", … ], "
         "found another value (not "
         "shown)\n"},
        {PROVIDER("    api_keys: [ a, \" hush\", {} ]\n"),
         "t.yaml:5: providers.p.api_keys[1]: expected a key without spaces at its ends, found "
         "another value (not "
         "shown)\n"
         "t.yaml:5: providers.p.api_keys[2]: expected a key, best as \"${NAME}\", found keys and "
         "values\n"},
        {PROVIDER("    api_key_file: hush\n"),
         "t.yaml:5: providers.p.api_key_file: expected the path of a file of 1 to 4096 bytes that "
         "can be read, found: No "
         "such file or directory\n"},
        {PROVIDER("    api_key_file: /\n"),
         "t.yaml:5: providers.p.api_key_file: expected the path of a file of 1 to 4096 bytes that "
         "can be read, found: Is "
         "a directory\n"},
        {PROVIDER("    api_key_file: /dev/null\n"),
         "t.yaml:5: providers.p.api_key_file: expected the path of a file of 1 to 4096 bytes that "
         "can be read, found: an "
         "empty file\n"},
        {PROVIDER("    api_key_file: /dev/zero\n"),
         "t.yaml:5: providers.p.api_key_file: expected the path of a file of 1 to 4096 bytes that "
         "can be read, found: a "
         "bigger file\n"},
        {PROVIDER("    api_key: a\n    api_keys: [ b ]\n"),
         "t.yaml:6: providers.p.api_keys: " CREDENTIALS "api_keys beside api_key\n"},
        {PROVIDER("    auth: client\n    api_key: \"${PS_TEST_UNSET:-}\"\n"),
         "t.yaml:5: providers.p.auth: " CREDENTIALS "auth beside api_key\n"},
        {PROVIDER("    auth: hush\n"),
         "t.yaml:5: providers.p.auth: expected client, found another value (not shown)\n"},
        {"jobs:\n  webhook_secret: whsec_hush\n",
         "t.yaml:2: jobs.webhook_secret: expected whsec_ and the base64 of 24 to 64 bytes, found "
         "another value (not shown)\n"},
        {"jobs:\n  webhook_secret: [ hush ]\n",
         "t.yaml:2: jobs.webhook_secret: expected whsec_ and the base64 of 24 to 64 bytes, best as "
         "\"${NAME}\", found a list\n"},
        {PROVIDER("    proxy: http://u:hush@h/x\n"),
         "t.yaml:5: providers.p.proxy: expected a proxy without a path, found another value (not "
         "shown)\n"},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
}

static void test_headers(void **state)
{
    static const struct row rows[] = {
        {PROVIDER("    headers: hush\n"), "t.yaml:5: providers.p.headers: expected names and "
                                          "values of headers, found another value (not shown)\n"},
        {PROVIDER("    headers: { \"a b\": hush }\n"),
         "t.yaml:5: providers.p.headers.a b: expected the name of a header, found other characters "
         "in it\n"},
        {PROVIDER("    headers: { x-a: \"hush\\r\\nHost: x\" }\n"),
         "t.yaml:5: providers.p.headers.x-a: expected a header value without control characters, "
         "found another value "
         "(not shown)\n"},
        {PROVIDER("    headers:\n      x-a: [ hush ]\n"),
         "t.yaml:6: providers.p.headers.x-a: expected the value of a header, found a list\n"},
        {PROVIDER("    headers:\n      X-A: a\n      x-a: b\n"),
         "t.yaml:7: providers.p.headers.x-a: expected each header once, found it again in other "
         "letters\n"},
        {PROVIDER("    headers: { Host: x }\n"), "t.yaml:5: providers.p.headers.Host: expected no "
                                                 "header that Penstock sets itself, found Host\n"},
        {PROVIDER("    headers: { Content-Length: x }\n"),
         "t.yaml:5: providers.p.headers.Content-Length: expected no header that Penstock sets "
         "itself, found "
         "Content-Length\n"},
        {PROVIDER("    headers: { transfer-encoding: x }\n"),
         "t.yaml:5: providers.p.headers.transfer-encoding: expected no header that Penstock sets "
         "itself, found "
         "transfer-encoding\n"},
        {PROVIDER("    headers: { connection: x }\n"),
         "t.yaml:5: providers.p.headers.connection: expected no header that Penstock sets itself, "
         "found connection\n"},
        {PROVIDER("    headers: { Authorization: x }\n    api_key: y\n"),
         "t.yaml:5: providers.p.headers.Authorization: expected no header that Penstock sets "
         "itself, found "
         "Authorization\n"},
        {PROVIDER("    headers: { Authorization: x }\n"), ""},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
}

static void test_models(void **state)
{
    static const struct row rows[] = {
        {"models: { a: b }\n", "t.yaml:1: models: expected a list of keys and values (\"- key: "
                               "value\"), found keys and values\n"},
        {"models: [ {} ]\n",
         "t.yaml:1: models[0].name: expected the name of a model, found nothing\n"
         "t.yaml:1: models[0].targets: expected a list of keys and values (\"- key: value\"), "
         "found nothing\n"},
        {PROVIDER("") "models:\n  - name: a\n    targets: [ { provider: p }, { provider: q } ]\n",
         "t.yaml:7: models[0].targets[1].provider: expected the name of one of the 1 providers, "
         "found \"q\"\n"},
        {"providers: { openai: { dialect: a, " URL
         " } }\nmodels:\n  - name: a\n    targets:\n      - provider: opneai\n",
         "t.yaml:5: models[0].targets[0].provider: expected the name of a provider (did you mean "
         "\"openai\"?), found "
         "\"opneai\"\n"},
        {PROVIDER("") "models:\n  - { name: a, targets: [ { provider: p } ] }\n  - { name: a, "
                      "targets: [ { provider: p, "
                      "weight: 0 } ] }\n",
         "t.yaml:7: models[1].targets[0].weight: expected a number from 1 to 1000000, found \"0\"\n"
         "t.yaml:7: models[1].name: expected each name once, found a\n"},
        {PROVIDER("") "models:\n  - { name: \"a b\", strategy: best, targets: [ { provider: p, "
                      "model: \"\" } ] }\n",
         "t.yaml:6: models[0].name: expected a name of 1 to 128 of A-Z a-z 0-9 . _ - / :, found "
         "\"a b\"\n"
         "t.yaml:6: models[0].strategy: expected one of ordered, weighted, least_busy, found "
         "\"best\"\n"
         "t.yaml:6: models[0].targets[0].model: expected text without control characters, found "
         "\"\"\n"},
    };
    (void)state;
    check_rows(rows, COUNT(rows));
}

/* Whatever is wrong anywhere: no secret of the file and none of the environment is said. */
static void test_secrets_are_never_said(void **state)
{
    static const char *const keys[] = {
        "api_key", "api_keys", "api_key_file", "headers",   "auth",
        "proxy",   "api_kye",  "base_url",     "endpoints",
    };
    static const char *const values[] = {
        "hush-hush\\n", /* these two are no secrets in the last two keys */
        " hush-hush",
        "${PS_TEST_SECRET} \\n ${PS_TEST_UNSET}",
        "${PS_TEST_SECRET}\\n",
        "${PS_TEST_UNSET:-hush-hush\\n}",
        "${hush-hush}",
        "http://user:hush-hush@h/a b",
        "http://h/?key=hush-hush",
    };
    static const char *const openings[] = {"\"", "[ \"", "{ x-a: \""};
    static const char *const closings[] = {"\"", "\" ]", "\" }"};
    (void)state;
    for (size_t i = 0; i < COUNT(keys) * COUNT(values) * COUNT(openings); i++) {
        char yaml[512];
        char said[4096];
        size_t shape = i % COUNT(openings);
        size_t value = i / COUNT(openings) % COUNT(values);
        size_t key = i / COUNT(openings) / COUNT(values);
        if (value < 2 && key >= COUNT(keys) - 2) {
            continue;
        }
        snprintf(yaml, sizeof yaml, "providers:\n  p:\n    dialect: openai\n    %s: %s%s%s\n",
                 keys[key], openings[shape], values[value], closings[shape]);
        assert_null(load_with(yaml, NULL, said, sizeof said));
        if (strstr(said, "hush") != NULL) {
            fail_msg("%s\n%s", yaml, said);
        }
    }
}

static void test_all_are_collected_up_to_a_bound(void **state)
{
    char yaml[4096] = "";
    char said[16384];
    size_t len = 0;
    (void)state;
    for (int i = 0; i < 80; i++) {
        len += (size_t)snprintf(yaml + len, sizeof yaml - len, "zz%d: 1\n", i);
    }
    struct ps_config_errors errors;
    ps_config_errors_init(&errors);
    assert_null(ps_config_parse("t.yaml", ps_slice(yaml, len), NULL, NULL, 0, &errors));
    assert_int_equal(errors.count, 80);
    snprintf(said, sizeof said, "%.*s", (int)errors.text.len, errors.text.ptr);
    size_t lines = 0;
    for (const char *at = said; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 51);
    assert_non_null(strstr(said, "t.yaml:50: zz49: "));
    assert_null(strstr(said, "zz50"));
    assert_non_null(strstr(said, "t.yaml: more mistakes than these were found\n"));
    ps_config_errors_deinit(&errors);
}

static void test_a_long_line_is_cut(void **state)
{
    struct ps_config_errors errors;
    char text[3000];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ps_config_errors_init(&errors);
    ps_config_error(&errors, (struct ps_config_at){text, 3}, text, "expected %s", text);
    ps_config_error(&errors, (struct ps_config_at){NULL, 0}, NULL, "expected %s", "more");
    assert_true(errors.text.len < 1100);
    assert_memory_equal(errors.text.ptr + errors.text.len - 25, "\ndefaults: expected more\n", 25);
    ps_config_errors_deinit(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_auth),
        cmocka_unit_test_setup(test_providers, set_up),
        cmocka_unit_test_setup(test_credentials, set_up),
        cmocka_unit_test_setup(test_headers, set_up),
        cmocka_unit_test(test_models),
        cmocka_unit_test_setup(test_secrets_are_never_said, set_up),
        cmocka_unit_test(test_all_are_collected_up_to_a_bound),
        cmocka_unit_test(test_a_long_line_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
