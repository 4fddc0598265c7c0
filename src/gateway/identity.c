/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/identity.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

bool ps_identify(const struct ps_config *config, struct ps_slice presented, struct ps_identity *ret)
{
    if (config->auth != PS_AUTH_KEYS) {
        *ret = (struct ps_identity){PS_SLICE_LIT("default"), PS_SLICE_NONE};
        return true;
    }

    /* Hashing first makes what is compared unrelated to the text that was presented; looking at every key
     * keeps the time the same whichever one matches. An absent key takes the same path as a wrong one. */
    uint8_t hash[PS_KEY_HASH];
    (void)SHA256((const unsigned char *)(presented.len > 0 ? presented.ptr : ""), presented.len, hash);
    const struct ps_config_key *found = NULL;
    for (size_t i = 0; i < config->key_count; i++) {
        if (CRYPTO_memcmp(hash, config->keys[i].sha256, PS_KEY_HASH) == 0) {
            found = &config->keys[i];
        }
    }
    OPENSSL_cleanse(hash, sizeof(hash));
    if (found == NULL || presented.len == 0) {
        return false;
    }
    ret->tenant = ps_slice_cstr(found->tenant);
    ret->key = ps_slice_cstr(found->name);
    return true;
}
