/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that speaks HTTP/1.1, over TLS or not, on the loop: what the module "curl" does for
 * the host, which is not linked to its library. `module->api` is a struct http_client_api.
 *
 * Everything happens on the loop thread; nothing here raises or blocks. Names are resolved in a
 * thread of the library, which is left behind if it hangs. Connections are kept and used again.
 * Redirects are not followed, and of protocols there are these two.
 */
#ifndef LUNATS_HTTP_CLIENT_H
#define LUNATS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "host/http/http.h"

struct http_client;
struct http_call;

/* What came back; borrowed for the call of on_done(). */
struct http_reply {
    int status;        /* of HTTP; 0: there was no answer, or not all of it */
    const char *code;  /* why, a literal: "timeout", "resolve", "connect", "proxy", "tls",
                        * "disconnected", "protocol", "no_memory", "stopped" (by a sink),
                        * "error"; NULL with a status */
    const char *error; /* the same as a sentence for people, or NULL */
    const char *body;  /* ends with a zero; cut to max_body; empty where there is a sink */
    size_t len;
    uint32_t retry_after_ms; /* what the server asks for; 0: nothing */
};

enum http_taken { HTTP_TAKEN, HTTP_WAIT, HTTP_STOP };

/*
 * Where an answer goes while it comes. All but on_news() are called from inside of the library:
 * they copy, and call nothing that may call the client. `owner` is that of the call.
 */
struct http_sink {
    /* One header, borrowed. With `name` NULL an answer begins, and the headers before were of
     * one in between (103). False ends the call: "stopped". */
    bool (*on_header)(void *owner, const char *name, size_t name_len, const char *value,
                      size_t value_len);
    /* All of them have come. */
    void (*on_head)(void *owner, int status);
    /* HTTP_WAIT: nothing was taken, and the same bytes come again after resume(). */
    enum http_taken (*on_body)(void *owner, const char *bytes, size_t len);
    /* Up to `size` bytes of the body of the request, where `upload` says so; *len stays 0 at
     * its end. HTTP_WAIT: there are none, and it is called again after resume(). */
    enum http_taken (*on_read)(void *owner, char *out, size_t size, size_t *len);
    /* Some of the others was called. From the loop, as on_done(), which may follow. */
    void (*on_news)(void *owner);
};

/* Strings are copied, but for the body, which is borrowed until on_done(). */
struct http_ask {
    const char *url;
    const char *method;
    const struct http_header *headers;
    size_t header_count;
    const char *tls_ca;             /* path of a PEM file; NULL: what the system trusts */
    const char *tls_cert, *tls_key; /* the same, of the client; NULL: none */
    bool tls_unverified;            /* whoever answers is good enough */
    const char *proxy;              /* NULL: what the environment says; "": none */
    const char *body;               /* NULL: none */
    size_t len;
    bool upload;                  /* it comes from on_read() of the sink instead, ... */
    int64_t upload_len;           /* ... so many bytes; -1: nobody knows */
    uint32_t connect_ms;          /* for the name, the connection and TLS; 0: 5 s */
    uint32_t timeout_ms;          /* for all of it; 0: none */
    size_t max_body;              /* of the answer that is kept; 0: 64 KiB */
    const struct http_sink *sink; /* NULL: the body is in the reply. Borrowed until on_done() */
    /* Once, from the loop, never from inside send(). The call is gone afterwards. */
    void (*on_done)(void *owner, const struct http_reply *reply);
    void *owner;
};

/* What a URL is, in the eyes of the library that will use it. */
#define HTTP_URL_MAX 8192
struct http_url {
    char text[HTTP_URL_MAX];  /* all of it, for send() */
    char shown[HTTP_URL_MAX]; /* without user, password, query and fragment */
    char origin[512];         /* "https://example.com:443" */
};

struct http_client_api {
    /* On success *out is the caller's, who hands it to close(). Its handles do not keep the
     * loop alive. Returns LN_OK, LN_ENOMEM, a code of libuv, or UV_ENOSYS when the library
     * resolves names without threads. */
    int (*open)(struct http_client **out, uv_loop_t *loop);

    /* Returns LN_OK, LN_ENOMEM or LN_EINVAL (the URL). *out is borrowed until on_done(). */
    int (*send)(struct http_call **out, struct http_client *client, const struct http_ask *ask);

    /* on_done() is not called any more. */
    void (*cancel)(struct http_call *call);

    /* A sink that has said HTTP_WAIT can go on; it may be called from inside this call. False:
     * it cannot go on, and all that is left is to cancel it. */
    bool (*resume)(struct http_call *call);

    /* Calls under way are cancelled. on_closed() follows, from the loop. */
    void (*close)(struct http_client *client, void (*on_closed)(void *owner), void *owner);

    /* Reads a URL, which may be relative where there is a `base`. Returns what is wrong with
     * it, a literal that repeats none of it, or NULL. */
    const char *(*read_url)(struct http_url *out, const char *base, const char *url);
};

#endif
