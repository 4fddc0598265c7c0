/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The process-wide side of curl, and trusted certificates. Left to itself curl parses the system's
 * bundle for every new connection, tens of milliseconds on the loop; here it is parsed once, off
 * the loop.
 */

static char version[128];

static char *copy_string(const char *text)
{
    return ps_strndup(text, strlen(text));
}

int ps_upstream_global_init(void)
{
    /* Through our allocator, so that tests reach curl's allocations too. */
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, ps_malloc, ps_free, ps_realloc, copy_string,
                             ps_calloc) != CURLE_OK) {
        return -1;
    }
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    /* lane.c hands an OpenSSL store to curl: another TLS library would read it as something else.
     */
    if (info->ssl_version == NULL || strncmp(info->ssl_version, "OpenSSL/", 8) != 0 ||
        (info->features & CURL_VERSION_ASYNCHDNS) == 0) {
        curl_global_cleanup();
        return -1;
    }
    (void)snprintf(version, sizeof(version), "%s %s", info->version, info->ssl_version);
    return 0;
}

void ps_upstream_global_deinit(void)
{
    curl_global_cleanup();
}

const char *ps_upstream_version(void)
{
    return version;
}

static const char *system_bundle(void)
{
    static const char *const usual[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",             /* openSUSE */
        "/etc/ssl/cert.pem",                  /* BSD, macOS */
    };
    const char *named = getenv("SSL_CERT_FILE");

    if (named != NULL && named[0] != '\0') {
        return named;
    }
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        if (access(usual[i], R_OK) == 0) {
            return usual[i];
        }
    }
    return NULL;
}

struct ps_upstream_ca *ps_upstream_ca_new(const char *file, char *ret_error, size_t error_size)
{
    const char *path = file != NULL ? file : system_bundle();
    struct ps_upstream_ca *ca;

    if (path == NULL) {
        (void)snprintf(ret_error, error_size,
                       "no bundle of trusted certificates was found on this system");
        return NULL;
    }
    if (access(path, R_OK) != 0) {
        (void)snprintf(ret_error, error_size, "%s cannot be read", path);
        return NULL;
    }
    ca = ps_calloc(1, sizeof(*ca));
    if (ca == NULL) {
        (void)snprintf(ret_error, error_size, "memory is short");
        return NULL;
    }
    atomic_init(&ca->refs, 1);
    ca->store = X509_STORE_new();
    ERR_clear_error();
    if (ca->store == NULL || X509_STORE_load_file(ca->store, path) != 1) {
        (void)snprintf(ret_error, error_size, "%s holds no usable certificates", path);
        ERR_clear_error();
        X509_STORE_free(ca->store);
        ps_free(ca);
        return NULL;
    }
    /* As curl sets them on a store of its own: a trusted intermediate is an anchor, too. */
    (void)X509_STORE_set_flags(ca->store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    return ca;
}

struct ps_upstream_ca *ps_upstream_ca_ref(struct ps_upstream_ca *ca)
{
    (void)atomic_fetch_add_explicit(&ca->refs, 1, memory_order_relaxed);
    return ca;
}

void ps_upstream_ca_unref(struct ps_upstream_ca *ca)
{
    if (ca != NULL && atomic_fetch_sub_explicit(&ca->refs, 1, memory_order_acq_rel) == 1) {
        X509_STORE_free(ca->store);
        ps_free(ca);
    }
}
