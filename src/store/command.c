/* SPDX-License-Identifier: Apache-2.0 */
#include "store_priv.h"

#include "penstock/base/mem.h"

/* Room for a page of results or a few thousand lines; bodies above 64 KiB are blobs. */
#define ARENA_BYTES ((size_t)16 << 20)

enum nature {
    READS,
    WRITES,
    ADDS /* writes new work */
};

static const enum nature natures[PS_STORE_VERB_COUNT] = {
    [PS_STORE_FILE_ADD] = ADDS,        [PS_STORE_FILE_GET] = READS,
    [PS_STORE_FILE_LIST] = READS,      [PS_STORE_FILE_DELETE] = WRITES,
    [PS_STORE_BATCH_ADD] = ADDS,       [PS_STORE_BATCH_GET] = READS,
    [PS_STORE_BATCH_LIST] = READS,     [PS_STORE_BATCH_CANCEL] = WRITES,
    [PS_STORE_BATCH_DELETE] = WRITES,  [PS_STORE_BATCH_LINES] = ADDS,
    [PS_STORE_BATCH_START] = WRITES,   [PS_STORE_BATCH_FAIL] = WRITES,
    [PS_STORE_BATCH_FINISH] = WRITES,  [PS_STORE_JOB_ADD] = ADDS,
    [PS_STORE_JOB_GET] = READS,        [PS_STORE_JOB_LIST] = READS,
    [PS_STORE_JOB_CANCEL] = WRITES,    [PS_STORE_TAKE] = WRITES,
    [PS_STORE_RENEW] = WRITES,         [PS_STORE_SETTLE] = WRITES,
    [PS_STORE_DEFER] = WRITES,         [PS_STORE_DUE] = WRITES,
    [PS_STORE_OUTCOMES] = READS,       [PS_STORE_RECOVER] = WRITES,
    [PS_STORE_SWEEP] = WRITES,         [PS_STORE_COUNT] = READS,
    [PS_STORE_HOOK_TAKE] = WRITES,     [PS_STORE_HOOK_SETTLE] = WRITES,
    [PS_STORE_OBJECT_PUT] = ADDS,      [PS_STORE_OBJECT_GET] = READS,
    [PS_STORE_OBJECT_DELETE] = WRITES,
};

bool ps_store_verb_writes(enum ps_store_verb verb)
{
    return natures[verb] != READS;
}

bool ps_store_verb_adds(enum ps_store_verb verb)
{
    return natures[verb] == ADDS;
}

const char *ps_store_status_name(enum ps_store_status status)
{
    switch (status) {
    case PS_STORE_OK:
        return "ok";
    case PS_STORE_NOT_FOUND:
        return "not found";
    case PS_STORE_CONFLICT:
        return "conflict";
    case PS_STORE_STALE:
        return "stale";
    case PS_STORE_REPEATED:
        return "repeated";
    case PS_STORE_REUSED:
        return "reused";
    case PS_STORE_DISK_FULL:
        return "disk full";
    case PS_STORE_BUSY:
        return "busy";
    case PS_STORE_BROKEN:
        return "broken";
    case PS_STORE_NO_MEMORY:
        return "no memory";
    }
    return "unknown";
}

struct ps_store_command *ps_store_command_new(enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_calloc(1, sizeof(*command));
    if (command == NULL) {
        return NULL;
    }
    command->verb = verb;
    command->status = PS_STORE_BROKEN;
    ps_list_init(&command->message.link);
    ps_arena_init(&command->arena, ARENA_BYTES);
    return command;
}

void ps_store_command_free(struct ps_store_command *command)
{
    if (command == NULL) {
        return;
    }
    ps_arena_deinit(&command->arena);
    ps_free(command);
}

struct ps_slice ps_store_command_copy(struct ps_store_command *command, struct ps_slice text)
{
    return ps_arena_copy(&command->arena, text);
}
