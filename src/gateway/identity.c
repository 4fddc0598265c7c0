/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/identity.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <pthread.h>

/* OpenSSL 3 looks an algorithm up by name at each one-shot call, which costs ten times the hash of
 * a key. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void free_sha256(void)
{
    EVP_MD_free(sha256);
}

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    (void)OPENSSL_atexit(free_sha256);
}

static bool hash_key(struct ps_slice key, uint8_t *ret)
{
    (void)pthread_once(&sha256_once, fetch_sha256);
    EVP_MD_CTX *context = sha256 != NULL ? EVP_MD_CTX_new() : NULL;
    bool ok = context != NULL && EVP_DigestInit_ex2(context, sha256, NULL) == 1 &&
              EVP_DigestUpdate(context, key.ptr, key.len) == 1 &&
              EVP_DigestFinal_ex(context, ret, NULL) == 1;
    EVP_MD_CTX_free(context);
    return ok;
}

bool ps_identify(const struct ps_config *config, struct ps_slice presented, struct ps_identity *ret)
{
    if (config->auth != PS_AUTH_KEYS) {
        *ret = (struct ps_identity){PS_SLICE_LIT("default"), PS_SLICE_NONE};
        return true;
    }

    if (presented.len == 0) {
        return false;
    }
    /* Hashing first makes what is compared unrelated to the text that was presented; looking at
     * every key keeps the time the same whichever one matches. */
    uint8_t hash[PS_KEY_HASH];
    if (!hash_key(presented, hash)) {
        return false;
    }
    const struct ps_config_key *found = NULL;
    for (size_t i = 0; i < config->key_count; i++) {
        if (CRYPTO_memcmp(hash, config->keys[i].sha256, PS_KEY_HASH) == 0) {
            found = &config->keys[i];
        }
    }
    OPENSSL_cleanse(hash, sizeof(hash));
    if (found == NULL) {
        return false;
    }
    ret->tenant = ps_slice_cstr(found->tenant);
    ret->key = ps_slice_cstr(found->name);
    return true;
}
