/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port that speaks HTTP/1, on the loop: what the module "http" does for the host, which is
 * not linked to its library. `module->api` is a struct http_api.
 *
 * A request is told when all of it has come, its body included, and is answered at once or in a
 * later turn of the loop. Everything happens on the loop thread; nothing here raises.
 */
#ifndef LUNATS_HTTP_H
#define LUNATS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct http;
struct tally;

/* One request. Strings end with a zero and are borrowed until it has been answered. */
struct http_request {
    const char *method;
    const char *path;  /* as it was sent, percent-encoded: up to the '?' */
    const char *query; /* what follows the '?'; "" when there is none */
    const char *body;  /* NULL when it is empty */
    size_t body_len;
    void *data;          /* the owner's; NULL at first */
    struct tally *tally; /* who answers for its memory, see limit_body(); NULL: nobody */
};

struct http_header {
    const char *name, *value;
};

/* A part of a file. */
struct http_file {
    int fd; /* taken */
    uint64_t offset, len;
};

/* Everything but `body` and the file is copied. */
struct http_response {
    int status;
    const struct http_header *headers;
    size_t header_count;
    char *body; /* malloc'd and taken; NULL: empty */
    size_t len;
    const struct http_file *file; /* instead of a body; NULL: none */
    bool stream;                  /* instead of a body: write() and finish() follow */
};

#define HTTP_REFUSAL_HEADERS 4

/* Limits of 0 are the defaults. */
struct http_options {
    int fd;                   /* a listening socket that does not block; taken on success */
    uint32_t max_connections; /* 256, at most a quarter of the descriptors; of more than that
                               * the one goes that has said nothing for the longest time */
    size_t max_header;        /* bytes of a request line with its headers; 16 KiB */
    size_t max_body;          /* bytes; 1 MiB */
    /* Milliseconds, each for all of it, however little comes at a time. */
    uint32_t header_ms; /* from the connection to the end of the first header; 10 s */
    uint32_t body_ms;   /* for the body; 30 s */
    uint32_t answer_ms; /* until the client has read the answer; 30 s */
    uint32_t idle_ms;   /* between two requests, the header of the second included; 60 s */
    /* The header has come: how long the body may be, instead of max_body. It may set the tally
     * of the request, where the body and its answer are counted; a body that is too much for
     * that is answered with 503. May be NULL. */
    size_t (*limit_body)(void *owner, struct http_request *request);
    /* The port has answered by itself, as the body was too long or there was no room for it:
     * on_request() does not follow. May be NULL. */
    void (*on_refused)(void *owner, const struct http_request *request, int status);
    /* Further headers of such an answer, borrowed until the next call; returns how many there
     * are. May be NULL. */
    size_t (*refusal_headers)(void *owner, const struct http_request *request,
                              struct http_header out[HTTP_REFUSAL_HEADERS]);
    /* answer() follows, possibly from inside this call. */
    void (*on_request)(void *owner, struct http_request *request);
    /* The client or the port ends before this request was answered, or before its stream was
     * finished: it is gone after the call. A client that waits is noticed within a second. */
    void (*on_gone)(void *owner, struct http_request *request);
    /* A stream with more than HTTP_STREAM_FULL bytes in its buffer has room again. May be NULL
     * where nothing is streamed. */
    void (*on_room)(void *owner, struct http_request *request);
    void *owner;
};

/* Bytes that wait for the client, from which on whoever writes them should wait, too. */
#define HTTP_STREAM_FULL ((size_t)64 << 10)

#define HTTP_REMOTE_SIZE 64

struct http_api {
    /* Opens a port. On success *out is the caller's, who hands it to close(). Returns LN_OK,
     * LN_ENOMEM or a code of libuv. */
    int (*open)(struct http **out, uv_loop_t *loop, const struct http_options *options);

    /* A header of the request, by its name in any case, or NULL; *count is how often it is
     * there, and may be NULL. */
    const char *(*header)(const struct http_request *request, const char *name, size_t *count);

    /* Calls fn for each header, in their order. */
    void (*each_header)(const struct http_request *request,
                        void (*fn)(void *owner, const char *name, const char *value),
                        void *owner);

    /* The address of the client, without its port; "" when it has none. */
    void (*remote)(const struct http_request *request, char out[HTTP_REMOTE_SIZE]);

    /* Answers; the request is gone after the call, but for a stream. A HEAD request gets the
     * headers only. */
    void (*answer)(struct http_request *request, const struct http_response *response);

    /* Adds to a stream; copies. Returns how many bytes wait for the client, SIZE_MAX without
     * memory, of the process or of its tally. */
    size_t (*write)(struct http_request *request, const char *bytes, size_t len);

    /* Ends a stream, and the request is gone after the call. Unless it is `complete`, the
     * client will notice. */
    void (*finish)(struct http_request *request, bool complete);

    /* No more connections, and the socket is closed; those that are there go on, until each has
     * had its next answer. */
    void (*quiesce)(struct http *http);

    /*
     * No more connections; answers that are under way are written within `bound_ms`, requests
     * that nobody has answered get a 503. on_closed() follows, from the loop, and the memory is
     * gone.
     */
    void (*close)(struct http *http, uint32_t bound_ms, void (*on_closed)(void *owner),
                  void *owner);
};

#endif
