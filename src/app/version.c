/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/version.h"

#include "app.h"

#include "penstock/engine/engine.h"
#include "penstock/upstream/upstream.h"

#include <llhttp.h>
#include <openssl/crypto.h>
#include <yaml.h>

#include <stdio.h>

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)
#define LLHTTP_VERSION                                                                             \
    TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH)

void ps_version_print(void)
{
    (void)printf("penstock %s\n", PENSTOCK_VERSION);
    (void)printf("libcurl %s\n", ps_upstream_version());
    (void)printf("libuv %s\n", uv_version_string());
    (void)printf("llhttp %s\n", LLHTTP_VERSION);
    (void)printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    (void)printf("%s\n", ps_engine_library());
    (void)printf("libyaml %s\n", yaml_get_version_string());
}

void ps_version_labels(struct ps_slice *ret)
{
    const char *labels[] = {PENSTOCK_VERSION,    ps_upstream_version(),
                            uv_version_string(), OpenSSL_version(OPENSSL_VERSION),
                            LLHTTP_VERSION,      "none"};
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        ret[i] = ps_slice_cstr(labels[i]);
    }
}
