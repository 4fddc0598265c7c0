/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

/*
 * Every key there is, once: the loader, `penstock check` and docs/configuration.md all read this table. A
 * key of a list of records has "[]." in its path, one of named records ".*.".
 */

#define TOP(member)       .offset = offsetof(struct ps_config, member)
#define TOP_COUNT(member) .count_offset = offsetof(struct ps_config, member)
#define LISTENER(member)  .offset = offsetof(struct ps_config_listener, member)
#define PROVIDER(member)  .offset = offsetof(struct ps_config_provider, member)
#define KEY(member)       .offset = offsetof(struct ps_config_key, member)
#define MODEL(member)     .offset = offsetof(struct ps_config_model, member)
#define TARGET(member)    .offset = offsetof(struct ps_config_target, member)

#define KIB   INT64_C(1024)
#define MIB   (INT64_C(1024) * KIB)
#define GIB   (INT64_C(1024) * MIB)
#define TIB   (INT64_C(1024) * GIB)
#define DAY   INT64_C(86400000)
#define TIMES .min = 1, .max = 7 * DAY

static const char *const strategies[] = {"ordered", "weighted", "least_busy", NULL};
static const char *const accountings[] = {"active", "passive", NULL};
static const char *const while_loadings[] = {"wait", "reject", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"json", "text", NULL};

const struct ps_option ps_options[] = {
    /* clang-format off */
    {.path = "listen", .type = PS_OPT_RECORDS, .record = PS_RECORD_LISTENER,
     TOP(listeners), TOP_COUNT(listener_count), .size = sizeof(struct ps_config_listener),
     .flags = PS_OPTION_RESTART, .instead = "one listener on 127.0.0.1:8080",
     .doc = "Where to listen. An address that other machines can reach needs `auth.keys`, or "
            "`auth: none`."},
    {.path = "listen[].address", .type = PS_OPT_ADDRESS, LISTENER(address),
     .flags = PS_OPTION_REQUIRED | PS_OPTION_RESTART,
     .doc = "`host:port`, `[v6]:port` or `unix:/path`. Port 0 takes any free one."},
    {.path = "listen[].tls", .type = PS_OPT_TLS, .record = PS_RECORD_TLS,
     LISTENER(tls), .count_offset = offsetof(struct ps_config_listener, tls_count),
     .size = sizeof(struct ps_config_tls), .flags = PS_OPTION_RESTART, .instead = "no TLS",
     .doc = "One certificate or a list of them. The first serves clients whose server name (SNI) "
            "fits no other."},
    {.path = "listen[].tls.certificate", .type = PS_OPT_PATH,
     .offset = offsetof(struct ps_config_tls, certificate), .flags = PS_OPTION_REQUIRED,
     .doc = "PEM file with the certificate and its chain. Its content is read again at a reload."},
    {.path = "listen[].tls.key", .type = PS_OPT_PATH,
     .offset = offsetof(struct ps_config_tls, key), .flags = PS_OPTION_REQUIRED,
     .doc = "PEM file with the private key."},

    {.path = "workers", .type = PS_OPT_SECTION, .flags = PS_OPTION_RESTART,
     .doc = "Threads, and how much may wait for them."},
    {.path = "workers.event_loops", .type = PS_OPT_UINT32, TOP(workers.event_loops),
     .fallback = "1", .min = 1, .max = 256, .unit = "threads", .flags = PS_OPTION_RESTART,
     .doc = "Threads with one event loop each."},
    {.path = "workers.compute_threads", .type = PS_OPT_AUTO32, TOP(workers.compute_threads),
     .fallback = "auto", .min = 1, .max = 1024, .unit = "threads", .flags = PS_OPTION_RESTART,
     .doc = "Threads of local inference, in all. `auto`: the usable cores without the event "
            "loops."},
    {.path = "workers.offload_threads", .type = PS_OPT_UINT32, TOP(workers.offload_threads),
     .fallback = "2", .min = 1, .max = 256, .unit = "threads", .flags = PS_OPTION_RESTART,
     .doc = "Threads for tokenising, templates and big JSON."},
    {.path = "workers.compute_queue", .type = PS_OPT_UINT32, TOP(workers.compute_queue),
     .fallback = "64", .min = 1, .max = 1000000, .unit = "requests", .flags = PS_OPTION_RESTART,
     .doc = "Requests that may wait for a local model."},
    {.path = "workers.compute_queue_tokens", .type = PS_OPT_UINT32,
     TOP(workers.compute_queue_tokens),
     .fallback = "65536", .min = 1, .max = INT32_MAX, .unit = "tokens", .flags = PS_OPTION_RESTART,
     .doc = "Prompt tokens of the waiting requests together."},
    {.path = "workers.job_concurrency", .type = PS_OPT_UINT32, TOP(workers.job_concurrency),
     .fallback = "16", .min = 1, .max = 100000, .unit = "lines", .flags = PS_OPTION_RESTART,
     .doc = "Lines of batch jobs in flight at once."},

    {.path = "limits", .type = PS_OPT_SECTION, .doc = "What is too much or too slow."},
    {.path = "limits.connections", .type = PS_OPT_UINT64, TOP(limits.connections),
     .fallback = "16384", .min = 1, .max = 1000000, .unit = "connections",
     .doc = "Connections of clients; one more is answered 503."},
    {.path = "limits.header_bytes", .type = PS_OPT_SIZE, TOP(limits.header_bytes),
     .fallback = "32KiB", .min = 256, .max = 16 * MIB,
     .doc = "Request line and headers of a request."},
    {.path = "limits.body_bytes", .type = PS_OPT_SIZE, TOP(limits.body_bytes),
     .fallback = "32MiB", .min = 1, .max = 16 * GIB, .doc = "Body of a request."},
    {.path = "limits.file_bytes", .type = PS_OPT_SIZE, TOP(limits.file_bytes),
     .fallback = "200MiB", .min = 1, .max = TIB, .doc = "A file uploaded to `/v1/files`."},
    {.path = "limits.event_bytes", .type = PS_OPT_SIZE, TOP(limits.event_bytes),
     .fallback = "16MiB", .min = 256, .max = 16 * GIB, .doc = "One event of a stream."},
    {.path = "limits.buffer_memory", .type = PS_OPT_SIZE, TOP(limits.buffer_memory),
     .fallback = "512MiB", .min = 64 * KIB, .max = 1024 * TIB, .doc = "All buffers together."},
    {.path = "limits.model_memory", .type = PS_OPT_SIZE, TOP(limits.model_memory),
     .fallback = "0", .min = 0, .max = 1024 * TIB,
     .doc = "Weights and KV caches of local models. 0: no cap."},
    {.path = "limits.header_timeout", .type = PS_OPT_TIME, TOP(limits.header_timeout),
     .fallback = "10s", TIMES,
     .doc = "From the first byte of a request to the end of its headers."},
    {.path = "limits.body_timeout", .type = PS_OPT_TIME, TOP(limits.body_timeout),
     .fallback = "60s", TIMES, .doc = "Between two parts of a request's body."},
    {.path = "limits.write_timeout", .type = PS_OPT_TIME, TOP(limits.write_timeout),
     .fallback = "60s", TIMES, .doc = "For a client to take anything of what waits for it."},
    {.path = "limits.idle_timeout", .type = PS_OPT_TIME, TOP(limits.idle_timeout),
     .fallback = "75s", TIMES, .doc = "Between two requests on a connection."},
    {.path = "limits.request_timeout", .type = PS_OPT_TIME, TOP(limits.request_timeout),
     .fallback = "600s", TIMES, .doc = "Until the answer is committed."},
    {.path = "limits.first_token_timeout", .type = PS_OPT_TIME, TOP(limits.first_token_timeout),
     .fallback = "300s", TIMES, .doc = "Until the first token of a streamed answer."},
    {.path = "limits.stream_idle_timeout", .type = PS_OPT_TIME, TOP(limits.stream_idle_timeout),
     .fallback = "120s", TIMES, .doc = "Between two parts of a streamed answer."},
    {.path = "limits.stream_timeout", .type = PS_OPT_TIME, TOP(limits.stream_timeout),
     .fallback = "3600s", TIMES, .doc = "For a streamed answer from begin to end."},
    {.path = "limits.drain_timeout", .type = PS_OPT_TIME, TOP(limits.drain_timeout),
     .fallback = "300s", .min = 0, .max = 7 * DAY, .doc = "For requests under way after SIGTERM."},

    {.path = "auth", .type = PS_OPT_AUTH, TOP(auth), .flags = PS_OPTION_SECRET,
     .instead = "not set: only loopback addresses are listened on",
     .doc = "Who may call: `keys`, or the word `none` for everybody who can connect."},
    {.path = "auth.keys", .type = PS_OPT_RECORDS, .record = PS_RECORD_KEY,
     TOP(keys), TOP_COUNT(key_count),
     .size = sizeof(struct ps_config_key), .flags = PS_OPTION_REQUIRED,
     .doc = "The keys of clients. Each has one of `key_sha256` and `key_file`."},
    {.path = "auth.keys[].name", .type = PS_OPT_LABEL, KEY(name), .flags = PS_OPTION_REQUIRED,
     .doc = "Stands for the key in logs."},
    {.path = "auth.keys[].tenant", .type = PS_OPT_LABEL, KEY(tenant), .instead = "the name",
     .doc = "Whose files and jobs the key sees; keys of one tenant share them."},
    {.path = "auth.keys[].key_sha256", .type = PS_OPT_SHA256,
     KEY(sha256), .flags = PS_OPTION_SECRET,
     .doc = "SHA-256 of the key in hex: `printf %s \"$KEY\" | sha256sum`."},
    {.path = "auth.keys[].key_file", .type = PS_OPT_KEY_FILE,
     KEY(sha256), .flags = PS_OPTION_SECRET,
     .doc = "File with the key, at most 4KiB; a newline at its end does not count."},

    {.path = "cors", .type = PS_OPT_SECTION, .doc = "Calls from web pages."},
    {.path = "cors.origins", .type = PS_OPT_ORIGINS,
     TOP(cors_origins), TOP_COUNT(cors_origin_count),
     .fallback = "[]", .doc = "Origins whose pages may call, such as `https://app.example.com`."},
    {.path = "trusted_proxies", .type = PS_OPT_NETS,
     TOP(trusted_proxies), TOP_COUNT(trusted_proxy_count),
     .fallback = "[]",
     .doc = "Addresses and networks whose `X-Forwarded-For` counts; `unix`: peers on Unix "
            "sockets."},
    {.path = "default_model", .type = PS_OPT_MODEL,
     TOP(default_model), .instead = "none: a request names its model",
     .at_offset = offsetof(struct ps_config, default_model_at), .flags = PS_OPTION_AT,
     .doc = "Model of requests that name none: one of `models`, or `provider/model`."},

    {.path = "providers", .type = PS_OPT_NAMED, .record = PS_RECORD_PROVIDER,
     TOP(providers), TOP_COUNT(provider_count), .size = sizeof(struct ps_config_provider),
     .instead = "none with a file; without one those whose key is in the environment",
     .doc = "Where models run, by name. Each has exactly one of `dialect` and `engine`."},
    {.path = "providers.*.dialect", .type = PS_OPT_TEXT, PROVIDER(dialect),
     .doc = "Which API the server speaks, such as `openai`."},
    {.path = "providers.*.engine", .type = PS_OPT_TEXT, PROVIDER(engine),
     .doc = "What runs the model inside this process, such as `llama`."},
    {.path = "providers.*.base_url", .type = PS_OPT_BASE_URL, .flags = PS_OPTION_DIALECT,
     .doc = "`http(s)://host[:port][/path]`, to which the API's paths are added. Either this or "
            "`endpoints`."},
    {.path = "providers.*.endpoints", .type = PS_OPT_ENDPOINTS, .flags = PS_OPTION_DIALECT,
     .doc = "Base URLs of servers that are alike."},
    {.path = "providers.*.api_key", .type = PS_OPT_SECRET,
     .flags = PS_OPTION_DIALECT | PS_OPTION_SECRET,
     .instead = "no credentials are sent",
     .doc = "The key sent to the server, best as `\"${NAME}\"`. Empty: none. One of this and the "
            "next two."},
    {.path = "providers.*.api_key_file", .type = PS_OPT_SECRET_FILE,
     .flags = PS_OPTION_DIALECT | PS_OPTION_SECRET,
     .doc = "File with the key, at most 4KiB; a newline at its end does not count."},
    {.path = "providers.*.api_keys", .type = PS_OPT_SECRETS,
     .flags = PS_OPTION_DIALECT | PS_OPTION_SECRET,
     .doc = "Several keys, used in turn."},
    {.path = "providers.*.auth", .type = PS_OPT_CLIENT_AUTH, PROVIDER(auth_client),
     .flags = PS_OPTION_DIALECT | PS_OPTION_SECRET, .instead = "the client's credentials stay here",
     .doc = "`client`: the caller's own credentials go to the server, and no key of ours."},
    {.path = "providers.*.headers", .type = PS_OPT_HEADERS, PROVIDER(headers),
     .count_offset = offsetof(struct ps_config_provider, header_count),
     .flags = PS_OPTION_DIALECT | PS_OPTION_SECRET, .instead = "none",
     .doc = "Headers added to every request to the server, as `name: value`."},
    {.path = "providers.*.ca_file", .type = PS_OPT_PATH,
     PROVIDER(ca_file), .flags = PS_OPTION_DIALECT,
     .instead = "the system's",
     .doc = "PEM file with the authorities that may sign the server's certificate."},
    {.path = "providers.*.proxy", .type = PS_OPT_PROXY,
     PROVIDER(proxy), .flags = PS_OPTION_DIALECT | PS_OPTION_SECRET,
     .instead = "none; those of the environment are ignored",
     .doc = "Proxy on the way to the server: `http`, `https`, `socks4`, `socks5` or `socks5h`."},
    {.path = "providers.*.timeouts", .type = PS_OPT_SECTION, .doc = "Waits for this provider."},
    {.path = "providers.*.timeouts.connect", .type = PS_OPT_TIME, PROVIDER(timeouts.connect),
     .fallback = "10s", TIMES,
     .flags = PS_OPTION_DIALECT, .doc = "For name, TCP, proxy and TLS together."},
    {.path = "providers.*.timeouts.request", .type = PS_OPT_TIME, PROVIDER(timeouts.request), TIMES,
     .instead = "`limits.request_timeout`", .doc = "Until the answer is committed."},
    {.path = "providers.*.timeouts.first_token", .type = PS_OPT_TIME,
     PROVIDER(timeouts.first_token), TIMES,
     .instead = "`limits.first_token_timeout`",
     .doc = "Until the first token of a streamed answer."},
    {.path = "providers.*.timeouts.stream_idle", .type = PS_OPT_TIME,
     PROVIDER(timeouts.stream_idle), TIMES,
     .instead = "`limits.stream_idle_timeout`", .doc = "Between two parts of a streamed answer."},
    {.path = "providers.*.timeouts.stream", .type = PS_OPT_TIME, PROVIDER(timeouts.stream), TIMES,
     .instead = "`limits.stream_timeout`", .doc = "For a streamed answer from begin to end."},
    {.path = "providers.*.accounting", .type = PS_OPT_ENUM, PROVIDER(accounting),
     .fallback = "active", .choices = accountings, .flags = PS_OPTION_DIALECT,
     .doc = "`active`: streams are asked to report their usage; `passive`: requests stay as they "
            "are."},
    {.path = "providers.*.max_connections", .type = PS_OPT_UINT32, PROVIDER(max_connections),
     .fallback = "256", .min = 1, .max = 1000000, .unit = "connections", .flags = PS_OPTION_DIALECT,
     .doc = "Connections to each endpoint."},
    {.path = "providers.*.max_queue", .type = PS_OPT_UINT32, PROVIDER(max_queue),
     .fallback = "1024", .min = 0, .max = 1000000, .unit = "requests", .flags = PS_OPTION_DIALECT,
     .doc = "Requests that may wait for a connection."},
    {.path = "providers.*.list_models", .type = PS_OPT_BOOL, PROVIDER(list_models),
     .fallback = "true", .flags = PS_OPTION_DIALECT,
     .doc = "Whether the server is asked for its models, for our `/v1/models`."},
    {.path = "providers.*.model_path", .type = PS_OPT_MODEL_PATH, PROVIDER(model_path),
     .fallback = "builtin", .flags = PS_OPTION_ENGINE,
     .doc = "File of the model, or `builtin` for the one inside the program."},
    {.path = "providers.*.context_tokens", .type = PS_OPT_UINT32, PROVIDER(context_tokens),
     .fallback = "1024", .min = 16, .max = 16 * MIB, .unit = "tokens", .flags = PS_OPTION_ENGINE,
     .doc = "What one request may use, prompt and answer. The KV cache holds `slots` times as "
            "much."},
    {.path = "providers.*.slots", .type = PS_OPT_UINT32, PROVIDER(slots),
     .fallback = "8", .min = 1, .max = 1024, .unit = "requests", .flags = PS_OPTION_ENGINE,
     .doc = "Requests that the model works on at once."},
    {.path = "providers.*.gpu_layers", .type = PS_OPT_INT32, PROVIDER(gpu_layers),
     .fallback = "0", .min = -1, .max = 100000, .unit = "layers", .flags = PS_OPTION_ENGINE,
     .doc = "Layers of the model that go to a GPU. -1: all."},
    {.path = "providers.*.chat_template", .type = PS_OPT_TEXT, PROVIDER(chat_template),
     .flags = PS_OPTION_ENGINE, .instead = "the model's own",
     .doc = "Name of the template that turns messages into a prompt, such as `chatml`."},
    {.path = "providers.*.while_loading", .type = PS_OPT_ENUM, PROVIDER(while_loading),
     .fallback = "wait", .choices = while_loadings, .flags = PS_OPTION_ENGINE,
     .doc = "Requests that come before the model is loaded `wait`, or are refused (`reject`) with "
            "503."},

    {.path = "models", .type = PS_OPT_RECORDS, .record = PS_RECORD_MODEL,
     TOP(models), TOP_COUNT(model_count), .size = sizeof(struct ps_config_model), .fallback = "[]",
     .doc = "Names of our own for models. A model can also be called `provider/model`."},
    {.path = "models[].name", .type = PS_OPT_MODEL, MODEL(name), .flags = PS_OPTION_REQUIRED,
     .doc = "What clients call the model."},
    {.path = "models[].strategy", .type = PS_OPT_ENUM, MODEL(strategy),
     .fallback = "ordered", .choices = strategies, .doc = "How a target is picked."},
    {.path = "models[].targets", .type = PS_OPT_RECORDS, .record = PS_RECORD_TARGET,
     MODEL(targets), .count_offset = offsetof(struct ps_config_model, target_count),
     .size = sizeof(struct ps_config_target), .flags = PS_OPTION_REQUIRED,
     .doc = "Where the model runs; the next one is tried where that can help."},
    {.path = "models[].targets[].provider", .type = PS_OPT_PROVIDER, TARGET(provider),
     .flags = PS_OPTION_REQUIRED, .doc = "One of `providers`."},
    {.path = "models[].targets[].model", .type = PS_OPT_TEXT, TARGET(model),
     .instead = "the name of the alias",
     .doc = "The provider's name for the model."},
    {.path = "models[].targets[].weight", .type = PS_OPT_UINT32, TARGET(weight),
     .fallback = "1", .min = 1, .max = 1000000, .doc = "Its share under `strategy: weighted`."},

    {.path = "data_dir", .type = PS_OPT_PATH, TOP(data_dir), .fallback = "./penstock-data",
     .flags = PS_OPTION_RESTART, .doc = "Folder of the store and of uploaded files."},
    {.path = "jobs", .type = PS_OPT_SECTION, .doc = "Long jobs."},
    {.path = "jobs.store", .type = PS_OPT_TEXT, TOP(jobs_store), .fallback = "sqlite:jobs.db",
     .at_offset = offsetof(struct ps_config, jobs_store_at),
     .flags = PS_OPTION_AT | PS_OPTION_RESTART,
     .doc = "Where jobs are kept; a relative path is below `data_dir`."},
    {.path = "log", .type = PS_OPT_SECTION, .doc = "What is logged, and where."},
    {.path = "log.level", .type = PS_OPT_ENUM, TOP(log_level),
     .fallback = "info", .choices = log_levels, .doc = "The least severe lines that are written."},
    {.path = "log.format", .type = PS_OPT_ENUM, TOP(log_format),
     .fallback = "json", .choices = log_formats, .doc = "How lines look."},
    {.path = "log.file", .type = PS_OPT_PATH, TOP(log_file), .flags = PS_OPTION_RESTART,
     .instead = "stderr", .doc = "File to append to; SIGUSR1 opens it anew."},
    /* clang-format on */
};

const size_t ps_option_count = sizeof ps_options / sizeof ps_options[0];

_Static_assert(PS_STRATEGY_LEAST_BUSY == 2 && PS_ACCOUNTING_PASSIVE == 1 &&
                   PS_WHILE_LOADING_REJECT == 1 && PS_LOG_ERROR == 3 && PS_LOG_TEXT == 1,
               "choices stand in the order of their enums");
