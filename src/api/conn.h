/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_CONN_H
#define PENSTOCK_API_CONN_H

#include "penstock/api/server.h"
#include "penstock/base/arena.h"
#include "penstock/base/buf.h"
#include "penstock/base/id.h"
#include "penstock/base/list.h"
#include "penstock/gateway/exchange.h"
#include "penstock/http/parser.h"
#include "penstock/http/writer.h"
#include "penstock/net/listener.h"
#include "penstock/net/stream.h"

/* What the files of this room share: a server, its connections, one request at a time on each. */

struct ps_server_listener {
    struct ps_link link; /* in server->listeners */
    struct ps_server *server;
    struct ps_listener *listener; /* owned; NULL while draining */
    int fd;                       /* borrowed */
    struct ps_tls_server *tls;    /* owned reference or NULL */
    char *address;                /* owned: as configured, the metrics label */
    bool is_unix;
    bool is_loopback;
};

struct ps_server {
    struct ps_gateway_loop *gl; /* borrowed */
    struct ps_server_shared *shared;
    struct ps_link listeners;
    struct ps_link conns;
    struct ps_buf scratch; /* what an event becomes, for as long as it is handed on */
    size_t conn_count;
    bool draining;
    void (*on_drained)(void *arg);
    void *on_drained_arg;
    struct ps_task drained;
};

#define PS_CONN_STATES(X)                                                                          \
    X(IDLE)      /* between requests: nothing of the next one has come */                          \
    X(HEAD)      /* a request head is coming */                                                    \
    X(BODY)      /* its body is coming */                                                          \
    X(ANSWERING) /* the answer is due; input waits, end of input means the client is gone */       \
    X(CLOSING)   /* closed or aborted: waiting for the stream's last callback */

enum ps_conn_state {
#define X(name) PS_CONN_##name,
    PS_CONN_STATES(X)
#undef X
};

struct ps_conn;
struct ps_door;

/*
 * A door whose answer needs more than one turn and is no exchange: it waits for the store, reads or
 * writes files. What it keeps is one object of its own (request->side), which it makes in `open`.
 * Answers go out by ps_reply and its kin, or in pieces by ps_body_begin, _write and _end.
 */
struct ps_side_ops {
    /* The head is admitted. -1: refused with a fault, nothing is kept. May call
     * ps_http_parser_limit_body. */
    int (*open)(struct ps_conn *conn, struct ps_fault *fault);
    /* Body bytes. -1: refused; `close` comes at the end of the request all the same. */
    int (*body)(struct ps_conn *conn, const char *ptr, size_t len, struct ps_fault *fault);
    /* The body is complete: an answer will come. */
    void (*run)(struct ps_conn *conn);
    /* The client has read: ps_body_write may go on. NULL: it does not stream. */
    void (*drain)(struct ps_conn *conn);
    /* The request ends, answered or not: request->side goes, and nothing of it touches the
     * connection any more. */
    void (*close)(struct ps_conn *conn);
};

/* The request being read or answered. Zeroed between requests. */
struct ps_conn_request {
    const struct ps_http_head *head; /* in the arena; NULL: none yet */
    const struct ps_door *door;
    struct ps_id id;
    struct ps_identity identity;
    struct ps_slice client_id; /* sane x-request-id, or empty */
    struct ps_slice origin;    /* allowed Origin, or empty */
    char client[64];           /* address: the peer's, or from X-Forwarded-For of a trusted proxy */
    int64_t received_us;
    uint64_t body_bytes;
    int64_t body_since_us;
    int64_t body_paused_us; /* since when we do not read it; 0: we do */
    bool continue_due;      /* the client waits for 100 Continue */
    bool discard_body;      /* nobody wants it, but keep-alive needs its end */

    struct ps_exchange *exchange;   /* owned; NULL for the doors that answer by themselves */
    void *side;                     /* of a door with ps_side_ops; freed by its close */
    struct ps_writer *writer;       /* owned; NULL: raw */
    const struct ps_answer *answer; /* borrowed from the exchange, from its commit on */
    bool want_text;                 /* Accept: text/plain at /generate */
    bool whole;                     /* our own JSON object, written at the end */
    bool sse;                       /* the client gets an event stream */
    enum ps_http_framing framing;
    uint64_t length; /* promised, with PS_HTTP_LENGTH */
    int status;      /* sent; 0: no status line yet */
    uint64_t sent;   /* body bytes */
    bool keep_alive; /* after this answer */
    bool answered;   /* all of the answer is queued, or it was cut */
    enum ps_end_reason reason;
    struct ps_fault fault;
};

struct ps_conn {
    struct ps_link link; /* in server->conns */
    struct ps_server *server;
    struct ps_stream *stream;      /* owned until on_closed */
    struct ps_http_parser *parser; /* owned */
    struct ps_http_limits limits;
    enum ps_conn_state state;
    bool listener_loopback;
    bool listener_unix;
    struct ps_series *open_series; /* gauge of the listener */
    bool refuse;                   /* above limits.connections: answers 503 to its first request */
    bool close_after;              /* no further request: the peer sent FIN, or too much */
    struct ps_arena arena;         /* of the current request */
    struct ps_buf pending;         /* input that came while an answer was due */
    struct ps_timer timer;         /* by state: idle, head, body, silence of a streamed answer */
    struct ps_task next;           /* ends the answered request, goes on with the next */
    struct ps_conn_request request;
};

/* conn.c */
void ps_conn_accept(void *listener, int fd);
/* The answer is complete (all queued): at the end of this turn the request ends and the next one is
 * read. */
void ps_conn_answered(struct ps_conn *conn, enum ps_end_reason reason,
                      const struct ps_fault *fault);
/* The answer cannot be finished: closes so that the client sees it is cut. `flush`: what is queued
 * goes out first. */
void ps_conn_cut(struct ps_conn *conn, enum ps_end_reason reason, const struct ps_fault *fault,
                 bool flush);

/* For doors with ps_side_ops: stops reading the body, or goes on, while something cannot take more.
 * What has been read already still comes. */
void ps_conn_pause_body(struct ps_conn *conn, bool paused);

/* Stops waiting for a next request; one that runs finishes. */
void ps_conn_drain(struct ps_conn *conn);
void ps_conn_abort(struct ps_conn *conn);

/* server.c */
void ps_server_conn_closed(struct ps_server *server);

/* access.c: each -1 with a fault. */
int ps_access_check(struct ps_conn *conn, struct ps_fault *fault);    /* Host and Origin */
int ps_access_identify(struct ps_conn *conn, struct ps_fault *fault); /* keys; sets identity */
void ps_access_client(struct ps_conn *conn); /* sets the client's address */
/* How the client reached us: by TLS, or so a trusted proxy says. */
bool ps_access_is_https(const struct ps_conn *conn);
/* The client's own credential for providers with auth: client: what is not our key. */
struct ps_slice ps_access_credential(const struct ps_conn *conn);

/* reply.c */
/* Status line and the headers every answer has; more may be added until ps_reply_send or _head. */
void ps_reply_begin(struct ps_conn *conn, struct ps_buf *out, int status);
/* Ends the head, queues it and the whole body; the request is answered. */
void ps_reply_send(struct ps_conn *conn, struct ps_buf *out, struct ps_slice body);
/* A whole answer of one of our own doors. */
void ps_reply(struct ps_conn *conn, int status, const char *content_type, struct ps_slice body);
/* An error in the shape of the door that was knocked at. */
void ps_reply_fault(struct ps_conn *conn, const struct ps_fault *fault);

/* doors.c */
enum ps_door_kind {
    PS_DOOR_EXCHANGE,
    PS_DOOR_HEALTH_LIVE,
    PS_DOOR_HEALTH_READY,
    PS_DOOR_METRICS,
    PS_DOOR_MODELS,
    PS_DOOR_OLLAMA, /* what else its clients look at: version, models that run, the front page */
    PS_DOOR_SIDE
};

struct ps_door {
    const char *path;  /* exact, or a prefix when it ends with '/' */
    const char *label; /* for metrics and logs */
    unsigned methods;  /* bits 1 << enum ps_http_method */
    enum ps_door_kind kind;
    enum ps_family family; /* whose errors it speaks */
    enum ps_operation operation;
    bool open;                      /* needs no key */
    const struct ps_side_ops *side; /* PS_DOOR_SIDE */
};
/* NULL: no such path. */
const struct ps_door *ps_door_find(struct ps_slice path);
/* The door behind it at the same path that takes this method, or itself. */
const struct ps_door *ps_door_taking(const struct ps_door *door, enum ps_http_method method);
/* "GET, HEAD, OPTIONS" into ret (at least 64 bytes). */
void ps_door_allow(const struct ps_door *door, char *ret, size_t size);

/* body.c: an answer in pieces. */
struct ps_body_head {
    int status;
    struct ps_slice content_type; /* empty: none */
    int64_t length;               /* -1: not known, sent in chunks */
    bool live;                    /* shown as it comes: nobody on the way may keep it back */
    const struct ps_call_header *headers; /* beside the usual ones */
    size_t header_count;
};
/* The head. -1: memory is short and the connection has been cut. */
int ps_body_begin(struct ps_conn *conn, const struct ps_body_head *head);
/* Queues a piece; the caller looks at ps_stream_is_full afterwards and stops until the door's
 * `drain`. -1 as above. Nothing before the head. */
int ps_body_write(struct ps_conn *conn, struct ps_slice bytes);
/* The body is complete: the request is answered. Cuts when the promised length was not reached. */
void ps_body_end(struct ps_conn *conn);
/* The answer cannot be finished: the client must see that it is cut. */
void ps_body_cut(struct ps_conn *conn, const struct ps_fault *fault);
/* Nothing was written for a while: proxies between us and the client must not take a slow model for
 * a dead one. */
void ps_body_silence(struct ps_conn *conn);

/* inference.c: the front of an exchange. */
int ps_inference_open(struct ps_conn *conn, struct ps_fault *fault);
/* Behind ps_responses_keep: the rest of the answer, or why there is none. */
void ps_inference_finish(struct ps_conn *conn, struct ps_slice rest);
void ps_inference_fail(struct ps_conn *conn, const struct ps_fault *fault);
/* Whose answers and errors the client understands: the door's family, or what the body was found to
 * be of. */
enum ps_family ps_inference_family(const struct ps_conn *conn);
/* ollama.c: PS_DOOR_OLLAMA; and what an exchange has found that asks a model for nothing. */
void ps_ollama_answer(struct ps_conn *conn);
void ps_ollama_idle(struct ps_conn *conn);
/* own.c: doors that answer by themselves, when the request is complete. */
void ps_own_answer(struct ps_conn *conn);
/* Whose client asks: the door's family, or what a header says of it. */
enum ps_family ps_own_family(const struct ps_conn *conn);

static inline const struct ps_config *ps_conn_config(const struct ps_conn *conn)
{
    return conn->server->gl->snapshot->config;
}

#endif
