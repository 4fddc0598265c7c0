/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_CONFIG_CONFIG_H
#define PENSTOCK_CONFIG_CONFIG_H

#include "penstock/base/buf.h"
#include "penstock/base/log.h"
#include "penstock/base/slice.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The configuration: one YAML file, checked as it is read against one table of options
 * (src/config/options.c), into a snapshot that never changes afterwards and is held by reference count.
 * Reading blocks (files): never on an event loop. Strings are NUL-terminated and live as long as the
 * snapshot. Sizes in bytes, times in ms. Paths are absolute: those of the file are relative to its folder.
 *
 * Mistakes are collected, each with file:line, key, what was expected and what was found. This room checks
 * types, ranges and names; upper rooms check the meaning of values through ps_config_check_fn, with the same
 * reporting.
 */

/* Where in the file something was said; line 0: a default or the command line. */
struct ps_config_at {
    const char *file; /* as the user named it */
    int line;
};

struct ps_config_tls {
    const char *certificate; /* path of a PEM chain; NULL: no TLS */
    const char *key;         /* path of its private key */
};

struct ps_config_listener {
    struct ps_config_at at;
    const char *address; /* as written */
    bool is_unix;
    bool is_loopback;    /* 127.0.0.0/8, ::1, localhost or a Unix socket */
    const char *host;    /* without brackets; NULL for Unix */
    uint16_t port;       /* 0: any free one */
    const char *path;    /* of the Unix socket */
    struct ps_config_tls *tls; /* array; the first is the default, others are picked by SNI */
    size_t tls_count;
};

struct ps_config_workers {
    uint32_t event_loops;
    uint32_t compute_threads; /* 0: auto */
    uint32_t offload_threads;
    uint32_t compute_queue;
    uint32_t compute_queue_tokens;
    uint32_t job_concurrency;
};

struct ps_config_limits {
    uint64_t connections;
    uint64_t header_bytes;
    uint64_t body_bytes;
    uint64_t file_bytes;
    uint64_t event_bytes;
    uint64_t buffer_memory;
    uint64_t model_memory;
    int64_t header_timeout;
    int64_t body_timeout;
    int64_t write_timeout;
    int64_t idle_timeout;
    int64_t request_timeout;
    int64_t first_token_timeout;
    int64_t stream_idle_timeout;
    int64_t stream_timeout;
    int64_t drain_timeout;
};

#define PS_KEY_HASH 32 /* SHA-256 */

struct ps_config_key {
    struct ps_config_at at;
    const char *name;
    const char *tenant;         /* defaults to name */
    uint8_t sha256[PS_KEY_HASH]; /* of the key: from key_sha256, or of key_file's content without its last newline */
};

enum ps_config_auth { PS_AUTH_UNSET, PS_AUTH_NONE, PS_AUTH_KEYS };

/* A network, for trusted_proxies. IPv4 is held IPv4-mapped (RFC 4291 section 2.5.5.2). */
struct ps_config_net {
    uint8_t address[16];
    uint8_t bits; /* 0-128 */
    bool is_unix; /* the word "unix": peers on Unix sockets */
};

/* Secret text: never printed, logged or compared but here and at its one use. */
struct ps_config_secret {
    struct ps_config_at at;
    const char *value;  /* NULL: none */
    const char *source; /* "${OPENAI_API_KEY}", "api_key_file …" or "literal": what `check` shows */
};

struct ps_config_header {
    struct ps_config_at at;
    const char *name;
    const char *value; /* may hold a secret: masked in `check` */
};

enum ps_config_accounting { PS_ACCOUNTING_ACTIVE, PS_ACCOUNTING_PASSIVE };
enum ps_config_while_loading { PS_WHILE_LOADING_WAIT, PS_WHILE_LOADING_REJECT };

/* Per provider; -1 where not given: then limits.* or the default holds. */
struct ps_config_timeouts {
    int64_t connect;     /* always given: 10 s by default. Name, TCP, proxy and TLS together */
    int64_t request;
    int64_t first_token;
    int64_t stream_idle;
    int64_t stream;
};

/* What its dialect wants to know of a server; every text NULL where not given. */
enum ps_config_tri { PS_CONFIG_AUTO, PS_CONFIG_FALSE, PS_CONFIG_TRUE };
enum ps_config_drop { PS_CONFIG_DROP_NAME, PS_CONFIG_DROP_SILENT, PS_CONFIG_DROP_REFUSE };

struct ps_config_settings {
    const char *api_version;
    enum ps_config_tri native_responses;
    enum ps_config_tri self_hosted;
    enum ps_config_tri old_max_tokens;
    uint32_t max_tokens; /* 0: the dialect's own default */
    const char *thinking;
    const char *input_type;
    const char *shape;
    const char *path;
    const char *stream_path;
    const char *stream_mode;
    const char *body_template;
    /* JSON pointers: where in the request and in the answer things stand */
    const char *prompt_at;
    const char *messages_at;
    const char *model_at;
    const char *max_tokens_at;
    const char *temperature_at;
    const char *stop_at;
    const char *stream_at;
    const char *text_at;
    const char *vector_at;
    const char *error_at;
    const char *finish_at;
    enum ps_config_drop drop;
    const char *health_path; /* NULL: the dialect's own; "": none is asked */
};

struct ps_config_provider {
    struct ps_config_at at;
    const char *name;
    /* exactly one of the two */
    const char *dialect;
    const char *engine;
    struct ps_config_at kind_at; /* of whichever it is */
    /* with a dialect */
    const char **endpoints; /* base URLs without trailing slash: base_url, or endpoints[] (replicas) */
    struct ps_config_at *endpoint_at;
    size_t endpoint_count;
    struct ps_config_secret *api_keys; /* api_key, api_key_file, or api_keys[]; none: no credentials are sent */
    size_t api_key_count;
    bool auth_client; /* auth: client — the caller's own credentials go upstream */
    struct ps_config_header *headers;
    size_t header_count;
    const char *ca_file; /* NULL: the system's */
    struct ps_config_at ca_file_at;
    const char *proxy;   /* URL; NULL: none, the environment's are ignored */
    struct ps_config_timeouts timeouts;
    enum ps_config_accounting accounting;
    uint32_t max_connections; /* default 256, per endpoint, over all loops */
    uint32_t max_queue;       /* default 1024, requests waiting for a connection */
    bool list_models;         /* default true: GET /models is asked for our own /v1/models */
    struct ps_config_settings settings;
    /* with an engine */
    const char *model_path;   /* "builtin" or a path */
    struct ps_config_at model_path_at;
    uint32_t context_tokens;
    uint32_t slots;
    int32_t gpu_layers;
    const char *chat_template;
    struct ps_config_at chat_template_at;
    enum ps_config_while_loading while_loading;
};

struct ps_config_target {
    struct ps_config_at at;
    const char *provider;
    const char *model; /* the provider's name for it; NULL: the alias itself */
    uint32_t weight;   /* default 1 */
};

enum ps_config_strategy { PS_STRATEGY_ORDERED, PS_STRATEGY_WEIGHTED, PS_STRATEGY_LEAST_BUSY };

struct ps_config_model {
    struct ps_config_at at;
    const char *name;
    enum ps_config_strategy strategy;
    struct ps_config_target *targets;
    size_t target_count;
};

struct ps_config {
    atomic_int refs;
    void *memory; /* owned: all that the pointers here lead to */
    const char *file; /* NULL: defaults */

    struct ps_config_listener *listeners;
    size_t listener_count;
    struct ps_config_workers workers;
    struct ps_config_limits limits;
    enum ps_config_auth auth;
    struct ps_config_key *keys;
    size_t key_count;
    const char **cors_origins;
    size_t cors_origin_count;
    struct ps_config_net *trusted_proxies;
    size_t trusted_proxy_count;
    const char *default_model; /* NULL: none */
    struct ps_config_at default_model_at;
    struct ps_config_provider *providers;
    size_t provider_count;
    struct ps_config_model *models;
    size_t model_count;
    const char *data_dir;
    const char *jobs_store;
    struct ps_config_at jobs_store_at;
    uint32_t jobs_max_attempts;
    int64_t jobs_keep;
    int64_t jobs_response_life; /* ms */
    struct ps_config_secret webhook_secret; /* jobs.webhook_secret: "whsec_" + base64 of 24 to 64 bytes */
    bool webhook_private;                   /* jobs.webhook_private */
    enum ps_log_level log_level;
    enum ps_log_format log_format;
    const char *log_file; /* log.file; NULL: stderr */
};

/* What the command line adds or overrides. */
struct ps_config_overrides {
    const char *listen;     /* -l; NULL: none. Replaces listen: */
    const char *model_file; /* -m; NULL: none. Adds provider "embedded" and an alias, the default model */
    bool builtin_model;          /* without a file and without -m: the model inside the program, as "tiny" */
    const char *const *dialects; /* NULL-terminated: which of them providers from the environment may use;
                                    NULL: all */
    bool no_files; /* fuzzing: files that the configuration names are taken as read and never opened */
};

/* Mistakes, in the order found. */
struct ps_config_errors {
    struct ps_buf text; /* lines "file:line: key: expected …, found …\n" */
    size_t count;
};
void ps_config_errors_init(struct ps_config_errors *errors);
void ps_config_errors_deinit(struct ps_config_errors *errors);
/* Adds one; `key` is the path of the key, like "providers.openai.base_url". */
void ps_config_error(struct ps_config_errors *errors, struct ps_config_at at, const char *key, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));

/*
 * Second pass of an upper room: looks at the whole snapshot, reports with ps_config_error. Runs only when
 * nothing was wrong before, so it may rely on what this room has checked.
 */
typedef void (*ps_config_check_fn)(const struct ps_config *config, struct ps_config_errors *errors);

/*
 * Reads `file` (NULL: the defaults and the providers found in the environment), applies the overrides and
 * runs the checks. A snapshot with one reference, or NULL with errors->count > 0. The environment is read
 * through getenv: not while another thread changes it.
 */
struct ps_config *ps_config_load(const char *file, const struct ps_config_overrides *overrides,
                                 const ps_config_check_fn *checks, size_t check_count,
                                 struct ps_config_errors *errors) __attribute__((warn_unused_result));
/* The same from text at hand, for tests and fuzzing; `name` stands in messages and relative paths start at ".". */
struct ps_config *ps_config_parse(const char *name, struct ps_slice yaml, const struct ps_config_overrides *overrides,
                                  const ps_config_check_fn *checks, size_t check_count,
                                  struct ps_config_errors *errors) __attribute__((warn_unused_result));

/*
 * What changed from one snapshot to the next and cannot be had without a restart: the key paths, separated
 * by ", ". Returns how many.
 */
size_t ps_config_restart_keys(const struct ps_config *before, const struct ps_config *after, struct ps_buf *out);

/* Any thread. */
struct ps_config *ps_config_ref(struct ps_config *config);
void ps_config_unref(struct ps_config *config); /* NULL is allowed; secrets are wiped with the last one */

const struct ps_config_provider *ps_config_provider(const struct ps_config *config, struct ps_slice name);
const struct ps_config_model *ps_config_model(const struct ps_config *config, struct ps_slice name);

/* What is in force, as YAML that would load again but for the secrets, which are masked. For `check`. */
void ps_config_print(const struct ps_config *config, struct ps_buf *out);
/* The option table as Markdown, for docs/configuration.md. */
void ps_config_reference(struct ps_buf *out);

#endif
