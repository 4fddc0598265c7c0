/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int ps_config_read_file(const char *path, size_t max, char **ret, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    /* One byte more than allowed tells a file that is too long. Pipes are read as well as files. */
    char *bytes = ps_malloc(max + 1);
    int error = bytes == NULL ? -ENOMEM : 0;
    size_t len = 0;
    while (error == 0) {
        ssize_t got = read(fd, bytes + len, max + 1 - len);
        if (got < 0) {
            error = errno == EINTR ? 0 : -errno;
            continue;
        }
        len += (size_t)got;
        if (len > max) {
            error = -EFBIG;
        }
        if (got == 0) {
            break;
        }
    }
    close(fd);
    if (error != 0) {
        if (bytes != NULL) {
            explicit_bzero(bytes, len);
        }
        ps_free(bytes);
        return error;
    }
    *ret = bytes;
    *ret_len = len;
    return 0;
}
