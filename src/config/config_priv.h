/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_CONFIG_PRIV_H
#define PENSTOCK_CONFIG_PRIV_H

#include "penstock/base/arena.h"
#include "penstock/base/buf.h"
#include "penstock/base/slice.h"
#include "penstock/config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How a file becomes a snapshot:
 *
 *   bytes ─ yaml.c ─▶ tree of nodes ─ load.c, along the table of options.c ─▶ records
 *                                      fields.c: ${NAME} (env.c), one value (values.c), its place
 *                                      check.c: what several keys say together
 *
 * The tree and everything filled in from the environment live in a scratch arena that is wiped when
 * the load ends; what stays is copied into the arena of the snapshot.
 */

enum {
    PS_CONFIG_DEPTH_MAX = 16,       /* of nested YAML */
    PS_CONFIG_NODES_MAX = 20000,    /* of YAML */
    PS_CONFIG_FILE_MAX = 1 << 20,   /* bytes of YAML */
    PS_CONFIG_MEMORY_MAX = 1 << 25, /* bytes of one arena */
    PS_CONFIG_SECRET_MAX = 4096,    /* bytes of a key in a file or in the environment */
    PS_CONFIG_EXPANDED_MAX = 65536, /* bytes of one scalar after ${NAME} */
    PS_CONFIG_SHOWN_MAX = 80,       /* bytes of a found value in a message */
};

/* ---- key_path.c: where we are: "providers.openai.base_url", "listen[0].address" ---- */

struct ps_key_path {
    size_t len;
    char text[256]; /* NUL-terminated; what does not fit is left out */
};

/* Appends ".name" or "[i]"; the returned mark goes to ps_key_path_back. */
size_t ps_key_path_name(struct ps_key_path *path, struct ps_slice name);
size_t ps_key_path_index(struct ps_key_path *path, size_t index);
void ps_key_path_back(struct ps_key_path *path, size_t mark);

/* ---- yaml.c: the tree ---- */

enum ps_yaml_kind {
    PS_YAML_NOTHING, /* an empty plain scalar, null or ~ */
    PS_YAML_TEXT,
    PS_YAML_LIST,
    PS_YAML_MAP,
    PS_YAML_BROKEN, /* already reported: says nothing more */
};

struct ps_yaml_node {
    enum ps_yaml_kind kind;
    int line;
    struct ps_slice text;       /* TEXT: as written, before ${NAME}; NUL-terminated */
    struct ps_slice key;        /* of a member of a MAP; NUL-terminated */
    struct ps_yaml_node *first; /* of LIST and MAP */
    struct ps_yaml_node *next;  /* the sibling after this one */
    size_t count;               /* children */
};

/*
 * The root mapping of the only document (an empty one for an empty file), in `arena`; NULL when
 * there is none to look at. Mistakes that leave a tree (duplicate keys, anchors, aliases, tags) are
 * reported and the tree is returned all the same, so that the other mistakes are found too.
 */
struct ps_yaml_node *ps_yaml_read(struct ps_slice text, const char *file, struct ps_arena *arena,
                                  struct ps_config_errors *errors);
/* The member of that name, or NULL. */
const struct ps_yaml_node *ps_yaml_get(const struct ps_yaml_node *map, const char *key);
/* Overwrites the text of all scalars below. */
void ps_yaml_wipe(struct ps_yaml_node *node);

/* ---- env.c: ${NAME} and ${NAME:-default} ---- */

struct ps_env_problem {
    const char *expected;
    const char *found;
    struct ps_slice unset; /* the variable that is not set, in the text; else empty */
};

bool ps_env_mentioned(struct ps_slice text);
/*
 * The text with its variables filled in: one pass, what comes from the environment is not looked at
 * again. NUL-terminated, in `arena`, wiped with it. On failure ptr is NULL and `problem` says why
 * (expected NULL: memory is short).
 */
struct ps_slice ps_env_expand(struct ps_slice text, struct ps_arena *arena,
                              struct ps_env_problem *problem);
/* "${A} ${B}": the variables a text names, without their defaults, or NULL when memory is short. */
const char *ps_env_names(struct ps_slice text, struct ps_arena *arena);

/* ---- values.c: one strict reader per kind of value ---- */

bool ps_config_parse_uint(struct ps_slice text, uint64_t *ret);
bool ps_config_parse_int(struct ps_slice text, int64_t *ret);
bool ps_config_parse_size(struct ps_slice text, uint64_t *ret); /* bytes */
bool ps_config_parse_time(struct ps_slice text, int64_t *ret);  /* ms */
bool ps_config_parse_bool(struct ps_slice text, bool *ret);
bool ps_config_parse_choice(struct ps_slice text, const char *const *choices, int *ret);
bool ps_config_parse_sha256(struct ps_slice text, uint8_t ret[PS_KEY_HASH]);

/* These return NULL, or what was expected. */
struct ps_config_address {
    bool is_unix;
    bool is_loopback;
    struct ps_slice host; /* without brackets */
    uint16_t port;
    struct ps_slice path; /* of a Unix socket */
};
const char *ps_config_parse_address(struct ps_slice text, struct ps_config_address *ret);
const char *ps_config_parse_net(struct ps_slice text, struct ps_config_net *ret);

enum ps_config_url_kind {
    PS_URL_BASE,   /* http(s)://host[:port][/path] */
    PS_URL_PROXY,  /* http(s), socks4, socks5, socks5h; userinfo allowed, no path */
    PS_URL_ORIGIN, /* any scheme, no path (RFC 6454 section 6.2) */
};
/* `ret_len` is how much of the text counts: without trailing slashes. */
const char *ps_config_parse_url(struct ps_slice text, enum ps_config_url_kind kind,
                                size_t *ret_len);

const char *ps_config_parse_provider_name(struct ps_slice text);
const char *ps_config_parse_model_name(struct ps_slice text);
const char *ps_config_parse_label(struct ps_slice text); /* of keys and tenants */
const char *ps_config_parse_line(struct ps_slice text);  /* any text without control bytes */
const char *ps_config_parse_path(struct ps_slice text);
const char *ps_config_parse_header_name(struct ps_slice text);
const char *ps_config_parse_header_value(struct ps_slice text);
const char *ps_config_parse_secret(struct ps_slice text);
const char *ps_config_parse_signing_secret(struct ps_slice text);

/* ---- options.c: the table; table.c: questions to it ---- */

enum ps_option_type {
    /* containers */
    PS_OPT_SECTION, /* mapping, in the same record */
    PS_OPT_RECORDS, /* list of mappings */
    PS_OPT_NAMED,   /* mapping of names to mappings */
    PS_OPT_TLS,     /* one mapping or a list of them */
    PS_OPT_AUTH,    /* the word none, or a section */
    /* scalars */
    PS_OPT_UINT32,
    PS_OPT_AUTO32, /* or the word auto: 0 */
    PS_OPT_INT32,
    PS_OPT_UINT64,
    PS_OPT_SIZE,
    PS_OPT_TIME,
    PS_OPT_BOOL,
    PS_OPT_ENUM,
    PS_OPT_TEXT,
    PS_OPT_PROVIDER,
    PS_OPT_MODEL,
    PS_OPT_LABEL,
    PS_OPT_PATH,
    PS_OPT_MODEL_PATH, /* or the word builtin */
    PS_OPT_PROXY,
    PS_OPT_ADDRESS,
    PS_OPT_SHA256,
    PS_OPT_SIGNING_SECRET, /* of webhooks, see ps_config_parse_signing_secret */
    PS_OPT_KEY_FILE,
    /* of a provider */
    PS_OPT_BASE_URL,
    PS_OPT_ENDPOINTS,
    PS_OPT_SECRET,
    PS_OPT_SECRET_FILE,
    PS_OPT_SECRETS,
    PS_OPT_CLIENT_AUTH,
    PS_OPT_HEADERS,
    /* lists of scalars */
    PS_OPT_ORIGINS,
    PS_OPT_NETS,
};

/* Which struct a list or a mapping of names holds. */
enum ps_option_record {
    PS_RECORD_NONE,
    PS_RECORD_LISTENER,
    PS_RECORD_TLS,
    PS_RECORD_KEY,
    PS_RECORD_PROVIDER,
    PS_RECORD_MODEL,
    PS_RECORD_TARGET,
};

enum ps_option_flags {
    PS_OPTION_REQUIRED = 1,
    PS_OPTION_RESTART = 2, /* a reload cannot change it */
    PS_OPTION_SECRET = 4,  /* what was found is never shown */
    PS_OPTION_DIALECT = 8, /* of a provider: only with a dialect */
    PS_OPTION_ENGINE = 16, /* only with an engine */
    PS_OPTION_AT = 32,     /* at_offset is the place of its struct ps_config_at */
    PS_OPTION_FILE = 64,   /* a file that must be there and readable */
    PS_OPTION_QUIET =
        128, /* a number or choice that is printed only when it is not 0, its default */
};

struct ps_option {
    const char *path;     /* "limits.connections", "listen[].address", "providers.*.dialect" */
    const char *fallback; /* the default, as one would write it; NULL: none */
    const char *instead;  /* said in the reference where there is no fallback; NULL: nothing */
    const char *unit;     /* of a plain number; NULL: none */
    const char *doc;
    const char *const *choices; /* of an ENUM, NULL-terminated, in the order of the C enum */
    int64_t min;
    int64_t max;
    size_t offset; /* in the record it lies in */
    size_t count_offset;
    size_t at_offset;
    size_t size; /* of one record */
    unsigned flags;
    enum ps_option_type type;
    enum ps_option_record record;
};

extern const struct ps_option ps_options[];
extern const size_t ps_option_count;

/* The option of that path; it exists. */
const struct ps_option *ps_option_at(const char *path);
/* Whether `option` is a key directly below `parent` (NULL: the top). */
bool ps_option_is_child(const struct ps_option *parent, const struct ps_option *option);
/* Whether it lies in the record that `parent` begins, at any depth of sections but in no inner
 * record. */
bool ps_option_in_record(const struct ps_option *parent, const struct ps_option *option);
const struct ps_option *ps_option_child(const struct ps_option *parent, struct ps_slice key);
/* The last part of its path. */
const char *ps_option_name(const struct ps_option *option);
/* "a size from 1KiB to 1GiB, such as 32MiB" */
void ps_option_expected(const struct ps_option *option, struct ps_buf *out);
/* The type as the reference names it, and its range. */
void ps_option_describe(const struct ps_option *option, struct ps_buf *type, struct ps_buf *range);
/* What to say of a key that is not known here. */
void ps_option_suggest(const struct ps_option *parent, struct ps_slice key, struct ps_buf *out);
/* How far a name is from another, SIZE_MAX when too far for a slip of the finger. */
size_t ps_config_nearness(struct ps_slice a, struct ps_slice b);

void ps_config_format_size(uint64_t bytes, struct ps_buf *out);
void ps_config_format_time(int64_t ms, struct ps_buf *out);

/* ---- load.c, fields.c, check.c, defaults.c ---- */

struct ps_config_load {
    struct ps_arena *arena;          /* of the snapshot */
    struct ps_arena scratch;         /* ends with the load */
    struct ps_config_errors *errors; /* borrowed */
    struct ps_config *config;
    const char *file; /* for messages; in the snapshot */
    const char *dir;  /* absolute; relative paths begin here */
    bool no_files;
    bool without_file;  /* the defaults */
    bool from_file;     /* files that it names must be there; text at hand may name any */
    bool out_of_memory; /* said once */
    struct ps_key_path key;
};

struct ps_config_at ps_config_at_node(const struct ps_config_load *load,
                                      const struct ps_yaml_node *node);
/* "expected …, found …" at the current key; what was found is described from the node. */
void ps_config_mistake(struct ps_config_load *load, const struct ps_option *option,
                       const struct ps_yaml_node *node, const char *expected);
void ps_config_no_memory(struct ps_config_load *load);
/* Memory of the snapshot; NULL was reported. */
void *ps_config_alloc(struct ps_config_load *load, size_t count, size_t size);
const char *ps_config_copy(struct ps_config_load *load, struct ps_slice text);
/* A copy that is overwritten when the snapshot ends. */
const char *ps_config_copy_secret(struct ps_config_load *load, struct ps_slice text);
/* Absolute, in the snapshot. */
const char *ps_config_path(struct ps_config_load *load, const char *dir, struct ps_slice path);

/* The value of a scalar with its variables filled in; lives until the load ends. ptr NULL after a
 * report. */
struct ps_slice ps_config_scalar(struct ps_config_load *load, const struct ps_option *option,
                                 const struct ps_yaml_node *node);
/* Reads a scalar or a list of scalars into its place. */
void ps_config_read_field(struct ps_config_load *load, const struct ps_option *option,
                          const struct ps_yaml_node *node, void *record);
/* Gives everything in the record that `parent` begins its default. */
void ps_config_defaults(struct ps_config_load *load, const struct ps_option *parent, void *record);
/* Fills a listener from its address, or returns what was expected. */
const char *ps_config_set_address(struct ps_config_load *load, struct ps_slice text,
                                  const char *dir, struct ps_config_listener *listener);

/* A record has been read from `node`: are its keys right together? */
void ps_config_check_record(struct ps_config_load *load, const struct ps_option *option,
                            const struct ps_yaml_node *node, void *record);
/* The same for everything. */
void ps_config_check_all(struct ps_config_load *load);

/* The providers whose keys are in the environment. */
void ps_config_from_environment(struct ps_config_load *load, const char *const *dialects);
void ps_config_apply_overrides(struct ps_config_load *load,
                               const struct ps_config_overrides *overrides);

/* ---- files.c ---- */

/* Reads all of a file of at most `max` bytes into memory of its own (ps_free); 0, -errno, or
 * -EFBIG. */
int ps_config_read_file(const char *path, size_t max, char **ret, size_t *ret_len);

#endif
