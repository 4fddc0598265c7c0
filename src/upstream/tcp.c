/* SPDX-License-Identifier: Apache-2.0 */

/* The C library's struct tcp_info ends before what is needed here, and the kernel's header cannot
 * stand beside the library's: hence a file of its own, without the room's header. */

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

uint64_t ps_tcp_received(int fd);

uint64_t ps_tcp_received(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    memset(&info, 0, sizeof(info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}
