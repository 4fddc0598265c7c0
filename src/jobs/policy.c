/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

enum ps_jobs_verdict ps_jobs_judge(int status)
{
    if (status == 429 || status == 503 || status == 529) {
        return PS_JOBS_REFUSED;
    }
    if (status == 408 || status == 409) {
        return PS_JOBS_FAILED;
    }
    return (status >= 200 && status < 300) || (status >= 400 && status < 500) ? PS_JOBS_FINAL
                                                                              : PS_JOBS_FAILED;
}

int64_t ps_jobs_backoff_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, uint64_t random)
{
    int64_t most = base_ms;
    for (unsigned i = 0; i < attempt && most < cap_ms; i++) {
        most *= 2;
    }
    most = most < cap_ms ? most : cap_ms;
    return most > 0 ? (int64_t)(random % ((uint64_t)most + 1)) : 0;
}

uint64_t ps_jobs_random(void)
{
    uint64_t random;
    ps_random_bytes(&random, sizeof(random));
    return random;
}
