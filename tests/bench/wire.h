/* SPDX-License-Identifier: Apache-2.0 */

/* What bench_upstream streams, so that bench_streams can tell right bytes from wrong ones. */

#ifndef PENSTOCK_BENCH_WIRE_H
#define PENSTOCK_BENCH_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define WIRE_EVENT_MAX 512
#define WIRE_HEAD                                                                                  \
    "data: {\"id\":\"chatcmpl-8kMqZr3aVbY\",\"object\":\"chat.completion.chunk\","                 \
    "\"created\":1760000000,\"model\":\"bench\",\"system_fingerprint\":\"fp_44709d6fcb\","

#define WIRE_TEXT " piece %u"

/* Event `number` of a stream with `pieces` pieces of text: 0 is the role, the last is the finish.
 */
static inline size_t wire_event(char out[WIRE_EVENT_MAX], unsigned number, unsigned pieces)
{
    int length;
    if (number == 0) {
        length = snprintf(out, WIRE_EVENT_MAX, "%s%s", WIRE_HEAD,
                          "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                          "\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    } else if (number <= pieces) {
        length = snprintf(out, WIRE_EVENT_MAX,
                          "%s\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" WIRE_TEXT "\"},"
                          "\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                          WIRE_HEAD, number);
    } else {
        length = snprintf(out, WIRE_EVENT_MAX, "%s%s", WIRE_HEAD,
                          "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                          "\"finish_reason\":\"stop\"}]}\n\n");
    }
    return (size_t)length;
}

/* Only for a client that asked for usage; Penstock asks and withholds it. */
#define WIRE_USAGE                                                                                 \
    WIRE_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":100,"          \
              "\"total_tokens\":120}}\n\n"
#define WIRE_DONE "data: [DONE]\n\n"

#define WIRE_HASH_START UINT64_C(14695981039346656037)

/* FNV-1a */
static inline uint64_t wire_hash(uint64_t hash, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)data[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

static inline void wire_raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static inline void *wire_alloc(size_t size)
{
    void *made = calloc(1, size);
    if (made == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return made;
}

#endif
