/* SPDX-License-Identifier: Apache-2.0 */
#include "id_set.h"

#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

#include <stdbool.h>
#include <string.h>

#define FIRST_SIZE 1024

static bool is_free(const unsigned char *place)
{
    static const unsigned char zero[PS_ID_SET_HASH];
    return memcmp(place, zero, PS_ID_SET_HASH) == 0;
}

static unsigned char *place_of(const struct ps_id_set *set, const unsigned char *hash)
{
    size_t at;
    memcpy(&at, hash, sizeof(at));
    for (at &= set->size - 1; !is_free(set->places[at]); at = (at + 1) & (set->size - 1)) {
        if (memcmp(set->places[at], hash, PS_ID_SET_HASH) == 0) {
            break;
        }
    }
    return set->places[at];
}

static int grow(struct ps_id_set *set)
{
    struct ps_id_set bigger = {.size = set->size > 0 ? set->size * 2 : FIRST_SIZE,
                               .count = set->count};
    bigger.places = ps_calloc(bigger.size, PS_ID_SET_HASH);
    if (bigger.places == NULL) {
        return -1;
    }
    for (size_t i = 0; i < set->size; i++) {
        if (!is_free(set->places[i])) {
            memcpy(place_of(&bigger, set->places[i]), set->places[i], PS_ID_SET_HASH);
        }
    }
    ps_free(set->places);
    *set = bigger;
    return 0;
}

int ps_id_set_add(struct ps_id_set *set, struct ps_slice text)
{
    uint8_t hash[PS_SHA256_SIZE];
    if (set->count * 2 >= set->size && grow(set) != 0) {
        return -1;
    }
    ps_sha256(text.ptr, text.len, hash);
    hash[PS_ID_SET_HASH - 1] |= 1; /* never all zero */
    unsigned char *place = place_of(set, hash);
    if (!is_free(place)) {
        return 0;
    }
    memcpy(place, hash, PS_ID_SET_HASH);
    set->count++;
    return 1;
}

void ps_id_set_deinit(struct ps_id_set *set)
{
    ps_free(set->places);
    *set = (struct ps_id_set){0};
}
