/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the module "http" know of each other. */
#ifndef LUNATS_MODULES_HTTP_INTERNAL_H
#define LUNATS_MODULES_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "host/base/list.h"
#include "host/http/http.h"

/* ---- a port: port.c ---- */

struct http {
    struct http_options options;
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;          /* of the daemon's epoll descriptor */
    uv_timer_t run;          /* the daemon has something to do without an event */
    uv_idle_t soon;          /* and at once */
    uv_timer_t sweep;        /* deadlines of connections; runs while there are some */
    uv_timer_t bound;        /* of close() */
    struct list connections; /* that whose turn began first is the first */
    size_t count;            /* of the connections */
    size_t unread;           /* bytes of the answers that are under way */
    size_t bodies;           /* bytes of the bodies that have come */
    size_t handles;          /* of the five, not closed yet */
    bool again;              /* run() shall be called once more */
    bool moved;              /* something has happened in this run */
    unsigned barren;         /* runs in a row in which nothing has, and that want another one */
    bool closing;
    bool quiet; /* it takes no more connections */
    void (*on_closed)(void *owner);
    void *close_owner;
};

struct connection {
    struct http *http;
    struct list_node node;
    struct MHD_Connection *mhd;
    int fd;            /* the daemon's */
    size_t unread;     /* bytes of the answer that is under way */
    uint64_t since;    /* when its turn, or ours, began; the same clock */
    uint64_t deadline; /* of what the client does, on the loop's clock; UINT64_MAX: our turn */
    struct request *request; /* under way; NULL: none */
};

/* The next turn of the loop runs the daemon. */
void port_run_soon(struct http *http);
/* What the client does next has to be done within `ms`; 0: it is not its turn. */
void connection_give(struct connection *connection, uint32_t ms);
/* The client has so many bytes to read. */
void connection_answer(struct connection *connection, size_t len);
/* A request is over; while the port closes its connection goes with it. */
void connection_rest(struct connection *connection);

/* ---- a request: request.c ---- */

/* A client is answering or waits for us: worth waiting for at the end. */
bool request_is_dispatched(const struct request *request);
/* Its client hears nothing before we have something to say. */
bool request_is_ours(const struct request *request);
/* The port ends, or the client is gone: answers with 503 what nobody has answered. */
void request_give_up(struct request *request);

/* For the daemon: the request line has come; the header, pieces of the body and its end have;
 * the request is over. `cls` is the port. */
void *request_begin(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result request_go_on(void *cls, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **context);
void request_end(void *cls, struct MHD_Connection *mhd, void **context,
                 enum MHD_RequestTerminationCode code);

/* What the module does for the host. */
const char *request_header(const struct http_request *request, const char *name, size_t *count);
void request_each_header(const struct http_request *request,
                         void (*fn)(void *owner, const char *name, const char *value),
                         void *owner);
void request_remote(const struct http_request *request, char out[HTTP_REMOTE_SIZE]);
void request_answer(struct http_request *request, const struct http_response *response);
size_t request_write(struct http_request *request, const char *bytes, size_t len);
void request_finish(struct http_request *request, bool complete);

/* ---- the answer of a request, piece by piece: stream.c ---- */

/* All zero is empty. */
struct stream {
    char *bytes; /* owned; those from `at` to `len` wait for the client */
    size_t at, len, size;
    bool asleep;   /* the connection waits for more */
    bool full;     /* its writer waits for room */
    bool finished; /* nothing will be added */
    bool broken;   /* the client shall notice that it is not complete */
};

/* The bytes that it has besides when so much is added. */
size_t stream_growth(const struct stream *stream, size_t len);

/* What waits for the client, SIZE_MAX without memory. */
size_t stream_add(struct stream *stream, const char *bytes, size_t len);
size_t stream_take(struct stream *stream, char *out, size_t max);

#endif
