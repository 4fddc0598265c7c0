/* SPDX-License-Identifier: Apache-2.0 */
#include "store_priv.h"

#include "penstock/base/clock.h"

#include <sys/statvfs.h>

#define LOOK_US 1000000

static bool look(const struct ps_store_space *space)
{
    struct statvfs disk;

    if (statvfs(space->folder, &disk) != 0) {
        return false;
    }
    /* What is kept for root is not ours to use. */
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (left < space->reserve_bytes) {
        return true;
    }
    return space->reserve_percent <= 100 &&
           disk.f_bavail < disk.f_blocks / 100 * space->reserve_percent;
}

bool ps_store_space_low(struct ps_store_space *space)
{
    int64_t now = ps_clock_us();
    if (space->looked_us == 0 || now - space->looked_us >= LOOK_US) {
        space->looked_us = now;
        space->low = look(space);
    }
    return space->low;
}
