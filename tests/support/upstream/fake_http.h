/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_FAKE_HTTP_H
#define PENSTOCK_TESTS_FAKE_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A scripted upstream on 127.0.0.1, in a thread of its own. At three moments of a connection it
 * asks the script what to do: when it was accepted, when a request's head is complete, when the
 * whole request is. The script answers with steps, which must live as long as the server.
 */
enum fake_moment {
    FAKE_ACCEPTED,
    FAKE_HEAD,
    FAKE_REQUEST
};

enum fake_op {
    FAKE_END,     /* of the steps: serve the next request */
    FAKE_SEND,    /* text, or len bytes of it */
    FAKE_PATTERN, /* len bytes of fake_pattern */
    FAKE_GATE,    /* wait until fake_http_open has been called with at least `len` */
    FAKE_CLOSE,   /* cleanly */
    FAKE_RESET,   /* with a RST */
    FAKE_DEAF,    /* read no more */
    FAKE_MARK     /* count it in fake_http_marks: what stands before it has been sent */
};

struct fake_step {
    enum fake_op op;
    const char *text;
    size_t len;
};

/* In the server's thread. `connection` counts from 0, `request` within it. NULL: nothing to do. */
typedef const struct fake_step *(*fake_script_fn)(void *arg, enum fake_moment moment,
                                                  unsigned connection, unsigned request,
                                                  const char *head);

struct fake_http;
struct fake_http *fake_http_start(fake_script_fn script, void *arg);
/* The same on another address of the host, 127.0.0.<last>. */
struct fake_http *fake_http_start_on(fake_script_fn script, void *arg, unsigned last);
void fake_http_stop(struct fake_http *server);
int fake_http_port(const struct fake_http *server);
void fake_http_open(struct fake_http *server, unsigned gate);
unsigned fake_http_requests(struct fake_http *server); /* complete ones */
unsigned fake_http_heads(struct fake_http *server);
unsigned fake_http_marks(struct fake_http *server);
unsigned fake_http_accepted(struct fake_http *server);
uint64_t fake_http_body_bytes(struct fake_http *server);
/* FNV-1a over all body bytes received, in order of arrival. */
uint64_t fake_http_body_hash(struct fake_http *server);
/* The last request head, NUL-terminated. */
void fake_http_last_head(struct fake_http *server, char *ret, size_t size);

static inline char fake_pattern(size_t i)
{
    return (char)('a' + (i * 7 + i / 251) % 26);
}

uint64_t fake_hash(uint64_t hash, const char *ptr, size_t len);
#define FAKE_HASH_START 14695981039346656037ULL

#endif
