/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/dialect/dialect.h"
#include "penstock/jobs/jobs.h"

static const struct ps_jobs_endpoint endpoints[] = {
    {"/v1/chat/completions", "batch.chat", PS_FAMILY_OPENAI, PS_OP_CHAT, true},
    {"/v1/completions", "batch.completions", PS_FAMILY_OPENAI, PS_OP_COMPLETE, true},
    {"/v1/embeddings", "batch.embeddings", PS_FAMILY_OPENAI, PS_OP_EMBED, true},
    {"/v1/images/generations", "batch.images", PS_FAMILY_OPENAI, PS_OP_IMAGE, true},
    {"/v1/responses", "batch.responses", PS_FAMILY_RESPONSES, PS_OP_CHAT, true},
    {"/v1/messages", "batch.messages", PS_FAMILY_ANTHROPIC, PS_OP_CHAT, true},
    {"/generate", "batch.generate", PS_FAMILY_GENERATE, PS_OP_CHAT, true},
};

const struct ps_jobs_endpoint *ps_jobs_endpoint(struct ps_slice path)
{
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        if (ps_slice_eq_cstr(path, endpoints[i].path)) {
            return ps_dialect_of_family(endpoints[i].family) != NULL ? &endpoints[i] : NULL;
        }
    }
    return NULL;
}
