/* SPDX-License-Identifier: Apache-2.0 */
#include "net/certs.h"

#include "testing.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static unsigned made;

static void remove_folder(void)
{
    char path[CERT_PATH];
    for (unsigned i = 1; i <= made; i++) {
        (void)snprintf(path, sizeof(path), "%s/%u", folder, i);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

static void new_path(char ret_path[static CERT_PATH])
{
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        (void)snprintf(folder, sizeof(folder), "%s/net-certs-XXXXXX", base != NULL ? base : "/tmp");
        assert_non_null(mkdtemp(folder));
        (void)atexit(remove_folder);
    }
    (void)snprintf(ret_path, CERT_PATH, "%s/%u", folder, ++made);
}

static FILE *create(char ret_path[static CERT_PATH])
{
    new_path(ret_path);
    FILE *file = fopen(ret_path, "wx");
    assert_non_null(file);
    return file;
}

static void add_names(X509 *certificate, const char *names)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct cert cert_make(const char *common_name, const char *names, const char *passphrase)
{
    struct cert cert;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    assert_true(key != NULL && certificate != NULL);

    (void)X509_set_version(certificate, X509_VERSION_3);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), (long)made + 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    (void)X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)common_name, -1, -1, 0),
                     1);
    (void)X509_set_issuer_name(certificate, subject);
    if (names != NULL) {
        add_names(certificate, names);
    }
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);

    FILE *file = create(cert.certificate);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    file = create(cert.key);
    size_t len = passphrase != NULL ? strlen(passphrase) : 0;
    unsigned char secret[64] = {0};
    assert_true(len < sizeof(secret));
    memcpy(secret, passphrase != NULL ? passphrase : "", len);
    assert_int_equal(PEM_write_PrivateKey(file, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                          passphrase != NULL ? secret : NULL, (int)len, NULL, NULL),
                     1);
    assert_int_equal(fclose(file), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return cert;
}

void cert_write_file(const char *text, char ret_path[static CERT_PATH])
{
    FILE *file = create(ret_path);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

void cert_peer_name(const SSL *ssl, char *ret_name, int size)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    assert_non_null(certificate);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                          ret_name, size) > 0);
}
