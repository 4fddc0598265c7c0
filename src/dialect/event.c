/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/dialect/event.h"

bool ps_event_commits(enum ps_event_kind kind)
{
    switch (kind) {
    case PS_EVENT_TEXT:
    case PS_EVENT_REASONING:
    case PS_EVENT_REFUSAL:
    case PS_EVENT_TOOL_CALL:
    case PS_EVENT_LOGPROBS:
    case PS_EVENT_EMBEDDING:
    case PS_EVENT_SCORE:
    case PS_EVENT_MEDIA:
    case PS_EVENT_RESULT:
    case PS_EVENT_FINISH:
        return true;
    case PS_EVENT_START:
    case PS_EVENT_BLOCK_START:
    case PS_EVENT_BLOCK_STOP:
    case PS_EVENT_CITATION:
    case PS_EVENT_USAGE:
    case PS_EVENT_PING:
    case PS_EVENT_OPAQUE:
    case PS_EVENT_FAULT:
    case PS_EVENT_DONE:
    default:
        return false;
    }
}
