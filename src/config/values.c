/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include "penstock/base/base64.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

/*
 * Strict: one spelling per value, no white space, no sign that says nothing, no octal by accident.
 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static bool all_of(struct ps_slice text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!is_alpha(c) && !is_digit(c) && (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool has_control(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static struct ps_slice tail(struct ps_slice text, size_t from)
{
    return ps_slice(text.ptr + from, text.len - from);
}

static bool has_suffix(struct ps_slice text, const char *suffix, struct ps_slice *ret_rest)
{
    size_t len = strlen(suffix);
    if (text.len < len || memcmp(text.ptr + text.len - len, suffix, len) != 0) {
        return false;
    }
    *ret_rest = ps_slice(text.ptr, text.len - len);
    return true;
}

bool ps_config_parse_uint(struct ps_slice text, uint64_t *ret)
{
    if (text.len == 0 || text.len > 20 || (text.len > 1 && text.ptr[0] == '0')) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i])) {
            return false;
        }
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

bool ps_config_parse_int(struct ps_slice text, int64_t *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t value;
    if (!ps_config_parse_uint(negative ? tail(text, 1) : text, &value) || value > INT64_MAX) {
        return false;
    }
    *ret = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

bool ps_config_parse_size(struct ps_slice text, uint64_t *ret)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct ps_slice number;
        if (!has_suffix(text, units[i].suffix, &number)) {
            continue;
        }
        uint64_t value;
        if (!ps_config_parse_uint(number, &value) || value > (UINT64_MAX >> units[i].shift)) {
            return false;
        }
        *ret = value << units[i].shift;
        return true;
    }
    return false;
}

bool ps_config_parse_time(struct ps_slice text, int64_t *ret)
{
    static const struct {
        const char *suffix;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    if (ps_slice_eq_cstr(text, "0")) {
        *ret = 0;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct ps_slice number;
        if (!has_suffix(text, units[i].suffix, &number)) {
            continue;
        }
        uint64_t value;
        if (!ps_config_parse_uint(number, &value) || value > (uint64_t)INT64_MAX / units[i].ms) {
            return false;
        }
        *ret = (int64_t)(value * units[i].ms);
        return true;
    }
    return false;
}

bool ps_config_parse_bool(struct ps_slice text, bool *ret)
{
    bool yes = ps_slice_eq_cstr(text, "true");
    if (!yes && !ps_slice_eq_cstr(text, "false")) {
        return false;
    }
    *ret = yes;
    return true;
}

bool ps_config_parse_choice(struct ps_slice text, const char *const *choices, int *ret)
{
    for (int i = 0; choices[i] != NULL; i++) {
        if (ps_slice_eq_cstr(text, choices[i])) {
            *ret = i;
            return true;
        }
    }
    return false;
}

bool ps_config_parse_sha256(struct ps_slice text, uint8_t ret[PS_KEY_HASH])
{
    if (text.len != 2 * (size_t)PS_KEY_HASH) {
        return false;
    }
    for (size_t i = 0; i < PS_KEY_HASH; i++) {
        int high = hex_value(text.ptr[2 * i]);
        int low = hex_value(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* An IPv4 or IPv6 address in the text form of inet_pton; IPv4 comes out IPv4-mapped. */
static bool parse_ip(struct ps_slice text, uint8_t ret[16], bool *ret_v4)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    uint8_t v4[4];
    if (inet_pton(AF_INET, copy, v4) == 1) {
        memcpy(ret, mapped, sizeof mapped);
        memcpy(ret + sizeof mapped, v4, sizeof v4);
        *ret_v4 = true;
        return true;
    }
    *ret_v4 = false;
    return inet_pton(AF_INET6, copy, ret) == 1;
}

/* A name or an IPv4 address. What looks like an address must be one: "127.1" means other things
 * elsewhere. */
static bool is_host(struct ps_slice text)
{
    if (text.len == 0 || text.len > 253 || !all_of(text, "._-") || text.ptr[0] == '.' ||
        text.ptr[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) && text.ptr[i] != '.') {
            return true;
        }
    }
    uint8_t address[16];
    bool v4;
    return parse_ip(text, address, &v4) && v4;
}

static bool parse_port(struct ps_slice text, uint16_t *ret)
{
    uint64_t value;
    if (!ps_config_parse_uint(text, &value) || value > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)value;
    return true;
}

/* "host:port" or "[v6]:port"; without a port `ret_port` is empty. Nothing is said about the port.
 */
static bool split_authority(struct ps_slice text, struct ps_slice *ret_host, bool *ret_v6,
                            struct ps_slice *ret_port, bool *ret_has_port)
{
    struct ps_slice rest;
    *ret_v6 = text.len > 0 && text.ptr[0] == '[';
    if (*ret_v6) {
        const char *end = memchr(text.ptr, ']', text.len);
        if (end == NULL) {
            return false;
        }
        *ret_host = ps_slice(text.ptr + 1, (size_t)(end - text.ptr) - 1);
        rest = tail(text, (size_t)(end - text.ptr) + 1);
        uint8_t address[16];
        bool v4;
        if (!parse_ip(*ret_host, address, &v4) || v4) {
            return false;
        }
    } else {
        const char *colon = memchr(text.ptr, ':', text.len);
        size_t len = colon != NULL ? (size_t)(colon - text.ptr) : text.len;
        *ret_host = ps_slice(text.ptr, len);
        rest = tail(text, len);
        if (!is_host(*ret_host)) {
            return false;
        }
    }
    *ret_has_port = rest.len > 0;
    if (*ret_has_port && rest.ptr[0] != ':') {
        return false;
    }
    *ret_port = *ret_has_port ? tail(rest, 1) : PS_SLICE_NONE;
    return true;
}

static bool host_is_loopback(struct ps_slice host)
{
    uint8_t ip[16];
    bool v4;
    if (!parse_ip(host, ip, &v4)) {
        return ps_slice_ieq(host, PS_SLICE_LIT("localhost"));
    }
    static const uint8_t one[16] = {[15] = 1};
    return v4 ? ip[12] == 127 : memcmp(ip, one, sizeof one) == 0;
}

const char *ps_config_parse_address(struct ps_slice text, struct ps_config_address *ret)
{
    static const char expected[] =
        "\"host:port\" with a port from 0 to 65535, \"[v6 address]:port\" or \"unix:/path\"";
    if (ps_slice_starts(text, PS_SLICE_LIT("unix:"))) {
        struct ps_slice path = tail(text, 5);
        if (path.len == 0 || has_control(path)) {
            return expected;
        }
        *ret = (struct ps_config_address){.is_unix = true, .is_loopback = true, .path = path};
        return NULL;
    }
    struct ps_slice host;
    struct ps_slice port_text;
    bool v6;
    bool has_port;
    uint16_t port;
    if (text.len == 0 || !split_authority(text, &host, &v6, &port_text, &has_port) || !has_port ||
        !parse_port(port_text, &port)) {
        return expected;
    }
    *ret = (struct ps_config_address){
        .is_loopback = host_is_loopback(host), .host = host, .port = port};
    return NULL;
}

const char *ps_config_parse_net(struct ps_slice text, struct ps_config_net *ret)
{
    static const char expected[] = "an address, a network such as 10.0.0.0/8, or the word unix";
    struct ps_config_net net = {.is_unix = ps_slice_eq_cstr(text, "unix")};
    if (net.is_unix) {
        *ret = net;
        return NULL;
    }
    const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    bool v4;
    struct ps_slice ip = slash != NULL ? ps_slice(text.ptr, (size_t)(slash - text.ptr)) : text;
    if (!parse_ip(ip, net.address, &v4)) {
        return expected;
    }
    uint64_t bits = v4 ? 32 : 128;
    if (slash != NULL) {
        uint64_t wanted;
        if (!ps_config_parse_uint(tail(text, ip.len + 1), &wanted) || wanted > bits) {
            return v4 ? "a network with a prefix of 0 to 32 bits"
                      : "a network with a prefix of 0 to 128 bits";
        }
        bits = wanted;
    }
    net.bits = (uint8_t)(v4 ? bits + 96 : bits);
    for (unsigned bit = net.bits; bit < 128; bit++) {
        if (net.address[bit / 8] & (0x80U >> (bit % 8))) {
            return "a network whose address has no bits beyond its prefix";
        }
    }
    *ret = net;
    return NULL;
}

static bool is_url_path(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3 || hex_value(text.ptr[i + 1]) < 0 ||
                hex_value(text.ptr[i + 2]) < 0) {
                return false;
            }
        } else if (!is_alpha(c) && !is_digit(c) &&
                   (c == '\0' || strchr("/-._~!$&'()*+,;=:@", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool is_scheme(struct ps_slice text)
{
    return text.len > 0 && is_alpha(text.ptr[0]) && all_of(text, "+-.");
}

static bool scheme_fits(struct ps_slice scheme, enum ps_config_url_kind kind)
{
    static const char *const proxies[] = {"http", "https", "socks4", "socks5", "socks5h"};
    size_t count = kind == PS_URL_PROXY ? sizeof proxies / sizeof proxies[0] : 2;
    if (kind == PS_URL_ORIGIN) {
        return is_scheme(scheme);
    }
    for (size_t i = 0; i < count; i++) {
        if (ps_slice_ieq(scheme, ps_slice_cstr(proxies[i]))) {
            return true;
        }
    }
    return false;
}

static size_t find(struct ps_slice text, const char *set)
{
    size_t i = 0;
    while (i < text.len && (text.ptr[i] == '\0' || strchr(set, text.ptr[i]) == NULL)) {
        i++;
    }
    return i;
}

static const char *const url_expected[] = {
    [PS_URL_BASE] = "a URL such as https://api.example.com/v1",
    [PS_URL_PROXY] = "a proxy such as http://proxy.example.com:3128",
    [PS_URL_ORIGIN] = "an origin such as https://app.example.com",
};

/* What follows "://". */
static const char *check_url_rest(struct ps_slice rest, enum ps_config_url_kind kind)
{
    struct ps_slice authority = ps_slice(rest.ptr, find(rest, "/?#"));
    struct ps_slice path = tail(rest, authority.len);
    const char *at = authority.len > 0 ? memrchr(authority.ptr, '@', authority.len) : NULL;
    if (at != NULL) {
        struct ps_slice userinfo = ps_slice(authority.ptr, (size_t)(at - authority.ptr));
        if (kind != PS_URL_PROXY) {
            return "a URL without user name and password";
        }
        if (!is_url_path(userinfo) || userinfo.len == 0) {
            return "a user name and password with special characters %-escaped";
        }
        authority = tail(authority, userinfo.len + 1);
    }
    if (find(path, "?#") != path.len) {
        return "a URL without query and fragment";
    }
    struct ps_slice host;
    struct ps_slice port_text;
    bool v6;
    bool has_port;
    uint16_t port = 0;
    if (authority.len == 0 || !split_authority(authority, &host, &v6, &port_text, &has_port) ||
        !is_url_path(path)) {
        return url_expected[kind];
    }
    if (has_port && (!parse_port(port_text, &port) || port == 0)) {
        return "a URL with a port from 1 to 65535";
    }
    if (kind != PS_URL_BASE && path.len > 0 &&
        !(kind == PS_URL_PROXY && ps_slice_eq_cstr(path, "/"))) {
        return kind == PS_URL_PROXY ? "a proxy without a path" : "an origin without a path";
    }
    return NULL;
}

const char *ps_config_parse_url(struct ps_slice text, enum ps_config_url_kind kind, size_t *ret_len)
{
    const char *colon = text.len > 0 ? memchr(text.ptr, ':', text.len) : NULL;
    size_t scheme_len = colon != NULL ? (size_t)(colon - text.ptr) : 0;
    struct ps_slice rest = tail(text, scheme_len);
    if (!scheme_fits(ps_slice(text.ptr, scheme_len), kind) ||
        !ps_slice_starts(rest, PS_SLICE_LIT("://"))) {
        return kind == PS_URL_BASE ? "a URL that begins with http:// or https://"
                                   : url_expected[kind];
    }
    const char *expected = check_url_rest(tail(rest, 3), kind);
    if (expected != NULL) {
        return expected;
    }
    size_t len = text.len;
    while (len > scheme_len + 3 && text.ptr[len - 1] == '/') {
        len--;
    }
    *ret_len = len;
    return NULL;
}

const char *ps_config_parse_provider_name(struct ps_slice text)
{
    return text.len > 0 && text.len <= 64 && all_of(text, "._-")
               ? NULL
               : "a name of 1 to 64 of A-Z a-z 0-9 . _ -";
}

const char *ps_config_parse_model_name(struct ps_slice text)
{
    return text.len > 0 && text.len <= 128 && all_of(text, "._-/:")
               ? NULL
               : "a name of 1 to 128 of A-Z a-z 0-9 . _ - / :";
}

const char *ps_config_parse_label(struct ps_slice text)
{
    return text.len > 0 && text.len <= 64 && all_of(text, "._-@:")
               ? NULL
               : "a name of 1 to 64 of A-Z a-z 0-9 . _ - @ :";
}

const char *ps_config_parse_line(struct ps_slice text)
{
    return text.len > 0 && !has_control(text) ? NULL : "text without control characters";
}

const char *ps_config_parse_path(struct ps_slice text)
{
    return text.len > 0 && text.len < 4096 && !has_control(text) ? NULL : "a path";
}

/* RFC 9110 section 5.6.2 */
const char *ps_config_parse_header_name(struct ps_slice text)
{
    return text.len > 0 && text.len <= 256 && all_of(text, "!#$%&'*+-.^_`|~")
               ? NULL
               : "the name of a header";
}

/* RFC 9110 section 5.5; a tab is allowed */
const char *ps_config_parse_header_value(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return "a header value without control characters";
        }
    }
    return ps_slice_trim(text).len == text.len ? NULL : "a header value without spaces at its ends";
}

const char *ps_config_parse_secret(struct ps_slice text)
{
    if (text.len > PS_CONFIG_SECRET_MAX) {
        return "a key of at most 4096 bytes";
    }
    if (has_control(text)) {
        return "a key without control characters";
    }
    return ps_slice_trim(text).len == text.len ? NULL : "a key without spaces at its ends";
}

/* As the Standard Webhooks specification writes symmetric secrets. */
const char *ps_config_parse_signing_secret(struct ps_slice text)
{
    static const char expected[] = "whsec_ and the base64 of 24 to 64 bytes";
    struct ps_slice prefix = PS_SLICE_LIT("whsec_");
    uint8_t bytes[66];
    size_t len = 0;

    if (!ps_slice_starts(text, prefix) || text.len - prefix.len > PS_BASE64_LENGTH(64)) {
        return expected;
    }
    text = ps_slice(text.ptr + prefix.len, text.len - prefix.len);
    bool good = ps_base64_decode(text, bytes, &len) && len >= 24 && len <= 64;
    explicit_bzero(bytes, sizeof(bytes));
    return good ? NULL : expected;
}
