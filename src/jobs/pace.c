/* SPDX-License-Identifier: Apache-2.0 */
#include "pace.h"

#include <string.h>

#define CUT_US INT64_C(1000000)

void ps_paces_init(struct ps_paces *paces, unsigned most)
{
    memset(paces, 0, sizeof(*paces));
    paces->most = most;
    paces->crowd.used = true;
    paces->crowd.limit = most;
}

static void begin(struct ps_pace *pace, struct ps_slice model, unsigned most)
{
    *pace = (struct ps_pace){.used = true, .model_len = model.len, .limit = most};
    if (model.len > 0) {
        memcpy(pace->model, model.ptr, model.len);
    }
}

/* Whether nothing would be lost with it: nobody refers to it and it holds nobody back. */
static bool is_idle(const struct ps_pace *pace, unsigned most, int64_t now_us)
{
    return pace->refs == 0 && (pace->limit >= most || now_us - pace->seen_us > PS_PACE_PAUSE_MAX) &&
           pace->not_before_us <= now_us;
}

struct ps_pace *ps_pace_ref(struct ps_paces *paces, struct ps_slice model, int64_t now_us)
{
    struct ps_pace *place = NULL;
    model.len = model.len < PS_PACE_NAME ? model.len : PS_PACE_NAME;
    for (size_t i = 0; i < PS_PACES; i++) {
        struct ps_pace *pace = &paces->paces[i];
        if (pace->used && ps_slice_eq(ps_slice(pace->model, pace->model_len), model)) {
            pace->refs++;
            pace->seen_us = now_us;
            return pace;
        }
        if (place != NULL && !place->used) {
            continue;
        }
        if (!pace->used || (is_idle(pace, paces->most, now_us) &&
                            (place == NULL || pace->seen_us < place->seen_us))) {
            place = pace;
        }
    }
    if (place != NULL) {
        begin(place, model, paces->most);
    } else {
        place = &paces->crowd;
    }
    place->refs++;
    place->seen_us = now_us;
    return place;
}

void ps_pace_unref(struct ps_pace *pace)
{
    pace->refs--;
}

bool ps_pace_open(const struct ps_pace *pace, int64_t now_us)
{
    return now_us >= pace->not_before_us && pace->in_flight < (unsigned)pace->limit;
}

void ps_pace_begin(struct ps_pace *pace)
{
    pace->in_flight++;
}

static void refuse(struct ps_pace *pace, int64_t after_us, int64_t now_us)
{
    if (pace->cut_us == 0 || now_us - pace->cut_us >= CUT_US) {
        /* What was in flight was too much, whatever was allowed. */
        double half = (pace->in_flight + 1) / 2.0;
        pace->limit = half < 1 ? 1 : half < pace->limit ? half : pace->limit;
        pace->cut_us = now_us;
        pace->refusals++;
    }
    int64_t pause = PS_PACE_PAUSE_US;
    for (unsigned i = 1; i < pace->refusals && pause < PS_PACE_PAUSE_MAX; i++) {
        pause *= 2;
    }
    pause = pause < PS_PACE_PAUSE_MAX ? pause : PS_PACE_PAUSE_MAX;
    int64_t until = now_us + (after_us > 0 ? after_us : pause);
    pace->not_before_us = until > pace->not_before_us ? until : pace->not_before_us;
}

void ps_pace_end(struct ps_paces *paces, struct ps_pace *pace, enum ps_pace_end end,
                 int64_t after_us, int64_t now_us)
{
    pace->in_flight--;
    pace->seen_us = now_us;
    if (end == PS_PACE_REFUSED) {
        refuse(pace, after_us, now_us);
    } else if (end == PS_PACE_OK) {
        pace->refusals = 0;
        pace->limit += 1 / pace->limit;
        pace->limit = pace->limit < paces->most ? pace->limit : paces->most;
    }
}
