/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <inttypes.h>
#include <string.h>

/* The snapshot as YAML, along the same table that read it. */

struct printer {
    struct ps_buf *out;
    int indent;
    bool dash; /* the next line begins an item of a list */
};

static void begin_line(struct printer *printer)
{
    int spaces = printer->indent - (printer->dash ? 2 : 0);
    for (int i = 0; i < spaces; i++) {
        ps_buf_byte(printer->out, ' ');
    }
    if (printer->dash) {
        ps_buf_cstr(printer->out, "- ");
        printer->dash = false;
    }
}

/* "key:" and what follows up to the value */
static void put_key(struct printer *printer, const char *key)
{
    begin_line(printer);
    ps_buf_printf(printer->out, "%s:", key);
}

static void end_line(struct printer *printer)
{
    ps_buf_byte(printer->out, '\n');
}

/* Bare where YAML takes it as itself, in quotes otherwise. A JSON string is a YAML string too. */
static void put_text(struct printer *printer, const char *text)
{
    size_t len = strlen(text);
    size_t safe =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-");
    bool begins_well =
        (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '/';
    bool is_null = len == 4 && strncasecmp(text, "null", 4) == 0;
    if (len > 0 && safe == len && begins_well && !is_null) {
        ps_buf_cstr(printer->out, text);
    } else {
        ps_buf_json(printer->out, ps_slice(text, len));
    }
}

static void put_pair(struct printer *printer, const char *key, const char *text)
{
    put_key(printer, key);
    ps_buf_byte(printer->out, ' ');
    put_text(printer, text);
    end_line(printer);
}

static const char *text_at(const void *record, size_t offset)
{
    const char *text;
    memcpy(&text, (const char *)record + offset, sizeof text);
    return text;
}

static size_t count_at(const void *record, size_t offset)
{
    size_t count;
    memcpy(&count, (const char *)record + offset, sizeof count);
    return count;
}

static void put_number(struct printer *printer, const struct ps_option *option, const void *record)
{
    const char *place = (const char *)record + option->offset;
    uint32_t narrow;
    int64_t wide;
    memcpy(&narrow, place, sizeof narrow);
    if (option->type == PS_OPT_AUTO32 && narrow == 0) {
        ps_buf_cstr(printer->out, "auto");
    } else if (option->type == PS_OPT_UINT32 || option->type == PS_OPT_AUTO32) {
        ps_buf_uint(printer->out, narrow);
    } else if (option->type == PS_OPT_INT32) {
        ps_buf_int(printer->out, (int32_t)narrow);
    } else {
        memcpy(&wide, place, sizeof wide);
        if (option->type == PS_OPT_SIZE) {
            ps_config_format_size((uint64_t)wide, printer->out);
        } else if (option->type == PS_OPT_TIME) {
            ps_config_format_time(wide, printer->out);
        } else {
            ps_buf_int(printer->out, wide);
        }
    }
}

static void print_number(struct printer *printer, const struct ps_option *option,
                         const void *record)
{
    int64_t wide;
    if (option->type == PS_OPT_TIME) {
        memcpy(&wide, (const char *)record + option->offset, sizeof wide);
        if (wide < 0) {
            return; /* not given */
        }
    }
    put_key(printer, ps_option_name(option));
    ps_buf_byte(printer->out, ' ');
    put_number(printer, option, record);
    end_line(printer);
}

static void print_word(struct printer *printer, const struct ps_option *option, const void *record)
{
    int choice;
    bool flag;
    if (option->type == PS_OPT_ENUM) {
        memcpy(&choice, (const char *)record + option->offset, sizeof choice);
        put_pair(printer, ps_option_name(option), option->choices[choice]);
        return;
    }
    memcpy(&flag, (const char *)record + option->offset, sizeof flag);
    if (option->type == PS_OPT_BOOL) {
        put_key(printer, ps_option_name(option));
        ps_buf_cstr(printer->out, flag ? " true\n" : " false\n");
    } else if (flag) {
        put_pair(printer, ps_option_name(option), "client");
    }
}

/* ---- a provider's own ---- */

static void put_masked(struct printer *printer, const struct ps_config_secret *secret)
{
    ps_buf_cstr(printer->out, "\"****\"");
    ps_buf_printf(printer->out, strcmp(secret->source, "literal") == 0 ? " # %s" : " # from %s",
                  secret->source);
    end_line(printer);
}

static void print_secrets(struct printer *printer, const struct ps_config_provider *provider)
{
    if (provider->api_key_count == 1) {
        put_key(printer, "api_key");
        ps_buf_byte(printer->out, ' ');
        put_masked(printer, provider->api_keys);
    } else if (provider->api_key_count > 1) {
        put_key(printer, "api_keys");
        end_line(printer);
        for (size_t i = 0; i < provider->api_key_count; i++) {
            begin_line(printer);
            ps_buf_cstr(printer->out, "  - ");
            put_masked(printer, &provider->api_keys[i]);
        }
    }
}

static void print_signing_secret(struct printer *printer, const struct ps_option *option,
                                 const void *record)
{
    struct ps_config_secret secret;
    memcpy(&secret, (const char *)record + option->offset, sizeof secret);
    if (secret.value != NULL) {
        put_key(printer, ps_option_name(option));
        ps_buf_byte(printer->out, ' ');
        put_masked(printer, &secret);
    }
}

static void print_texts(struct printer *printer, const char *key, const char *const *texts,
                        size_t count)
{
    put_key(printer, key);
    if (count == 0) {
        ps_buf_cstr(printer->out, " []");
    }
    end_line(printer);
    for (size_t i = 0; i < count; i++) {
        begin_line(printer);
        ps_buf_cstr(printer->out, "  - ");
        put_text(printer, texts[i]);
        end_line(printer);
    }
}

static void print_endpoints(struct printer *printer, const struct ps_config_provider *provider)
{
    if (provider->endpoint_count == 1) {
        put_pair(printer, "base_url", provider->endpoints[0]);
    } else if (provider->endpoint_count > 1) {
        print_texts(printer, "endpoints", provider->endpoints, provider->endpoint_count);
    }
}

static void print_headers(struct printer *printer, const struct ps_config_provider *provider)
{
    if (provider->header_count == 0) {
        return;
    }
    put_key(printer, "headers");
    end_line(printer);
    for (size_t i = 0; i < provider->header_count; i++) {
        begin_line(printer);
        ps_buf_cstr(printer->out, "  ");
        put_text(printer, provider->headers[i].name);
        ps_buf_cstr(printer->out, ": \"****\"\n");
    }
}

/* As written, but for the path of a Unix socket, which is absolute from here on. */
static void print_address(struct printer *printer, const struct ps_config_listener *listener)
{
    if (!listener->is_unix) {
        put_pair(printer, "address", listener->address);
        return;
    }
    put_key(printer, "address");
    ps_buf_cstr(printer->out, " \"unix:");
    ps_buf_cstr(printer->out, listener->path);
    ps_buf_cstr(printer->out, "\"\n");
}

/* The proxy without its user name and password. */
static void print_proxy(struct printer *printer, const char *proxy)
{
    const char *at = proxy != NULL ? strrchr(proxy, '@') : NULL;
    if (proxy == NULL) {
        return;
    }
    put_key(printer, "proxy");
    if (at == NULL) {
        ps_buf_byte(printer->out, ' ');
        put_text(printer, proxy);
    } else {
        size_t scheme = (size_t)(strstr(proxy, "://") - proxy) + 3;
        ps_buf_printf(printer->out, " \"%.*s****%s\"", (int)scheme, proxy, at);
    }
    end_line(printer);
}

/* ---- the top ---- */

static void put_ip(struct ps_buf *out, const struct ps_config_net *net)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const uint8_t *a = net->address;
    if (net->bits >= 96 && memcmp(a, mapped, sizeof mapped) == 0) {
        ps_buf_printf(out, "\"%u.%u.%u.%u/%d\"", a[12], a[13], a[14], a[15], net->bits - 96);
        return;
    }
    ps_buf_byte(out, '"');
    for (size_t i = 0; i < 16; i += 2) {
        ps_buf_printf(out, "%s%x", i > 0 ? ":" : "", (unsigned)a[i] << 8 | a[i + 1]);
    }
    ps_buf_printf(out, "/%d\"", net->bits);
}

static void print_nets(struct printer *printer, const struct ps_config *config)
{
    put_key(printer, "trusted_proxies");
    ps_buf_cstr(printer->out, config->trusted_proxy_count == 0 ? " []\n" : "\n");
    for (size_t i = 0; i < config->trusted_proxy_count; i++) {
        begin_line(printer);
        ps_buf_cstr(printer->out, "  - ");
        if (config->trusted_proxies[i].is_unix) {
            ps_buf_cstr(printer->out, "unix");
        } else {
            put_ip(printer->out, &config->trusted_proxies[i]);
        }
        end_line(printer);
    }
}

static void print_members(struct printer *printer, const struct ps_option *parent,
                          const void *record);

static void print_auth(struct printer *printer, const struct ps_option *option,
                       const struct ps_config *config)
{
    if (config->auth == PS_AUTH_UNSET) {
        begin_line(printer);
        ps_buf_cstr(printer->out,
                    "# auth is not set: everybody who reaches a loopback listener may call\n");
    } else if (config->auth == PS_AUTH_NONE) {
        put_pair(printer, "auth", "none");
    } else {
        put_key(printer, "auth");
        end_line(printer);
        printer->indent += 2;
        print_members(printer, option, config);
        printer->indent -= 2;
    }
}

static void print_records(struct printer *printer, const struct ps_option *option,
                          const void *record)
{
    size_t count = count_at(record, option->count_offset);
    const char *items = text_at(record, option->offset);
    if (count == 0 && option->type == PS_OPT_TLS) {
        return;
    }
    put_key(printer, ps_option_name(option));
    if (count == 0) {
        ps_buf_cstr(printer->out, option->type == PS_OPT_NAMED ? " {}" : " []");
    }
    end_line(printer);
    for (size_t i = 0; i < count; i++) {
        const char *item = items + i * option->size;
        if (option->type == PS_OPT_NAMED) {
            const struct ps_config_provider *provider = (const void *)item;
            printer->indent += 2;
            begin_line(printer);
            put_text(printer, provider->name);
            ps_buf_cstr(printer->out, ":\n");
            printer->indent += 2;
        } else {
            printer->indent += 4;
            printer->dash = true;
        }
        print_members(printer, option, item);
        printer->indent -= 4;
    }
}

/* A section of which nothing is given, such as timeouts, is left out. */
static void print_section(struct printer *printer, const struct ps_option *option,
                          const void *record)
{
    size_t before = printer->out->len;
    put_key(printer, ps_option_name(option));
    end_line(printer);
    size_t empty = printer->out->len;
    printer->indent += 2;
    print_members(printer, option, record);
    printer->indent -= 2;
    if (printer->out->len == empty) {
        printer->out->len = before;
    }
}

static void print_option(struct printer *printer, const struct ps_option *option,
                         const void *record)
{
    const char *text;
    switch (option->type) {
    case PS_OPT_SECTION:
        print_section(printer, option, record);
        break;
    case PS_OPT_RECORDS:
    case PS_OPT_NAMED:
    case PS_OPT_TLS:
        print_records(printer, option, record);
        break;
    case PS_OPT_AUTH:
        print_auth(printer, option, record);
        break;
    case PS_OPT_UINT32:
    case PS_OPT_AUTO32:
    case PS_OPT_INT32:
    case PS_OPT_UINT64:
    case PS_OPT_SIZE:
    case PS_OPT_TIME:
        print_number(printer, option, record);
        break;
    case PS_OPT_BOOL:
    case PS_OPT_ENUM:
    case PS_OPT_CLIENT_AUTH:
        print_word(printer, option, record);
        break;
    case PS_OPT_TEXT:
    case PS_OPT_PROVIDER:
    case PS_OPT_MODEL:
    case PS_OPT_LABEL:
    case PS_OPT_PATH:
    case PS_OPT_MODEL_PATH:
        text = text_at(record, option->offset);
        if (text != NULL) {
            put_pair(printer, ps_option_name(option), text);
        }
        break;
    case PS_OPT_ADDRESS:
        print_address(printer, record);
        break;
    case PS_OPT_PROXY:
        print_proxy(printer, text_at(record, option->offset));
        break;
    case PS_OPT_SHA256:
        put_pair(printer, ps_option_name(option), "****");
        break;
    case PS_OPT_BASE_URL:
        print_endpoints(printer, record);
        break;
    case PS_OPT_SECRET:
        print_secrets(printer, record);
        break;
    case PS_OPT_SIGNING_SECRET:
        print_signing_secret(printer, option, record);
        break;
    case PS_OPT_HEADERS:
        print_headers(printer, record);
        break;
    case PS_OPT_ORIGINS: {
        const struct ps_config *config = record;
        print_texts(printer, ps_option_name(option), config->cors_origins,
                    config->cors_origin_count);
        break;
    }
    case PS_OPT_NETS:
        print_nets(printer, record);
        break;
    case PS_OPT_ENDPOINTS: /* printed in the place of the key that means the same */
    case PS_OPT_SECRET_FILE:
    case PS_OPT_SECRETS:
    case PS_OPT_KEY_FILE:
        break;
    }
}

/* Keys of the other kind of provider mean nothing; some say something only when they are set. */
static bool is_relevant(const struct ps_option *option, const void *record)
{
    if (option->flags & PS_OPTION_QUIET) {
        uint32_t value;
        memcpy(&value, (const char *)record + option->offset, sizeof(value));
        if (value == 0) {
            return false;
        }
    }
    if (!(option->flags & (PS_OPTION_DIALECT | PS_OPTION_ENGINE))) {
        return true;
    }
    const struct ps_config_provider *provider = record;
    return (option->flags & PS_OPTION_ENGINE) ? provider->engine != NULL
                                              : provider->dialect != NULL;
}

static void print_members(struct printer *printer, const struct ps_option *parent,
                          const void *record)
{
    for (size_t i = 0; i < ps_option_count; i++) {
        if (ps_option_is_child(parent, &ps_options[i]) && is_relevant(&ps_options[i], record)) {
            print_option(printer, &ps_options[i], record);
        }
    }
}

void ps_config_print(const struct ps_config *config, struct ps_buf *out)
{
    struct printer printer = {.out = out};
    ps_buf_printf(out, "# in force, from %s\n",
                  config->file != NULL ? config->file : "the defaults and the environment");
    print_members(&printer, NULL, config);
}
