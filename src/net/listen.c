/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Opening listening sockets, at start, before there is a loop. */

#define SOCKET_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

/* Puts the sentence down and returns -error. */
static int refuse(int error, char *ret_error, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int refuse(int error, char *ret_error, size_t size, const char *format, ...)
{
    va_list args;
    if (size > 0) {
        va_start(args, format);
        (void)vsnprintf(ret_error, size, format, args);
        va_end(args);
    }
    return -error;
}

static int close_failed(int fd, int error)
{
    (void)close(fd);
    return -error;
}

/* A bound and listening socket, or -errno. */
static int open_tcp(const struct addrinfo *address, bool share)
{
    const int on = 1;
    const int off = 0;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCKET_FLAGS, 0);
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        (address->ai_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        return close_failed(fd, errno);
    }
    return fd;
}

static int open_first(const char *host, uint16_t port, bool share, char *ret_error,
                      size_t error_size)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[8];
    int fd = -EADDRNOTAVAIL;

    /* Its IPv6 address is a second socket, which nobody asked for. */
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    int rc = getaddrinfo(name, service, &hints, &found);
    if (rc != 0) {
        return refuse(EADDRNOTAVAIL, ret_error, error_size, "cannot resolve %s: %s", host,
                      gai_strerror(rc));
    }
    for (const struct addrinfo *address = found; address != NULL; address = address->ai_next) {
        fd = open_tcp(address, share);
        if (fd >= 0) {
            break;
        }
    }
    freeaddrinfo(found);
    if (fd < 0) {
        return refuse(-fd, ret_error, error_size, "cannot listen on %s port %u: %s", host,
                      (unsigned)port, strerror(-fd));
    }
    return fd;
}

int ps_listen_tcp(const char *host, uint16_t port, char *ret_error, size_t error_size)
{
    return open_first(host, port, true, ret_error, error_size);
}

int ps_listen_check_tcp(const char *host, uint16_t port, char *ret_error, size_t error_size)
{
    int fd = open_first(host, port, false, ret_error, error_size);
    if (fd < 0) {
        return fd;
    }
    (void)close(fd);
    return 0;
}

uint16_t ps_listen_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET) {
        memcpy(&v4, &address, sizeof(v4));
        return ntohs(v4.sin_port);
    }
    if (address.ss_family == AF_INET6) {
        memcpy(&v6, &address, sizeof(v6));
        return ntohs(v6.sin6_port);
    }
    return 0;
}

/* 0: nobody listens at the socket file, it may go. Else an errno. */
static int check_stale(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) != 0) {
        return errno == ENOENT ? 0 : errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0);
    if (fd < 0) {
        return errno;
    }
    /* EAGAIN: alive, with a full queue. */
    int rc = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int error = errno;
    (void)close(fd);
    return rc != 0 && error == ECONNREFUSED ? 0 : EADDRINUSE;
}

int ps_listen_unix(const char *path, char *ret_error, size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(address.sun_path)) {
        return refuse(ENAMETOOLONG, ret_error, error_size,
                      "socket path %s: expected 1 to %zu bytes", path,
                      sizeof(address.sun_path) - 1);
    }
    memcpy(address.sun_path, path, len + 1);

    int error = check_stale(&address);
    if (error == 0 && unlink(path) != 0 && errno != ENOENT) {
        error = errno;
    }
    int fd = error == 0 ? socket(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0) : -1;
    if (error == 0 && fd < 0) {
        error = errno;
    }
    /* The mode is set before listen: until then nobody can connect. */
    if (error == 0 && (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
                       chmod(path, 0660) != 0 || listen(fd, SOMAXCONN) != 0)) {
        error = errno;
    }
    if (error != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return refuse(error, ret_error, error_size, "cannot listen on %s: %s", path,
                      error == EEXIST ? "the path is taken by something that is no socket"
                                      : strerror(error));
    }
    return fd;
}
