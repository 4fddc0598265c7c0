/* SPDX-License-Identifier: Apache-2.0 */
#include "gguf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is refused has a reason; nothing is read outside the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[128];
    uint64_t bytes = 0;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    int rc = ps_gguf_check(fd, why, sizeof(why), &bytes);
    if ((rc == 0) != (why[0] == '\0') || (rc == 0 && bytes != size)) {
        abort();
    }
    (void)close(fd);
    return 0;
}
