/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that speaks HTTP and HTTPS, on the loop: what the module "curl" does for the host,
 * which is not linked to its library. `module->api` is a struct http_client_api.
 *
 * Everything happens on the loop thread; nothing here raises or blocks. Names are resolved in a
 * thread of the library, which is left behind if it hangs. Redirects are not followed.
 */
#ifndef LUNATS_HTTP_CLIENT_H
#define LUNATS_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "host/http/http.h"

struct http_client;
struct http_call;

/* What came back; borrowed for the call of on_done(). */
struct http_reply {
    int status;        /* of HTTP; 0: there was no answer, and `error` says why */
    const char *error; /* a sentence for people, or NULL */
    const char *body;  /* ends with a zero; cut to max_body */
    size_t len;
    uint32_t retry_after_ms; /* what the server asks for; 0: nothing */
};

/* Strings are copied, but for the body, which is borrowed until on_done(). */
struct http_ask {
    const char *url;
    const char *method;
    const struct http_header *headers;
    size_t header_count;
    const char *tls_ca;             /* path of a PEM file; NULL: what the system trusts */
    const char *tls_cert, *tls_key; /* the same, of the client; NULL: none */
    const char *body;               /* NULL: none */
    size_t len;
    uint32_t timeout_ms; /* for all of it; 0: none */
    size_t max_body;     /* of the answer that is kept; 0: 64 KiB */
    /* Once, from the loop, never from inside send(). The call is gone afterwards. */
    void (*on_done)(void *owner, const struct http_reply *reply);
    void *owner;
};

struct http_client_api {
    /* On success *out is the caller's, who hands it to close(). Its handles do not keep the
     * loop alive. Returns LN_OK, LN_ENOMEM or a code of libuv. */
    int (*open)(struct http_client **out, uv_loop_t *loop);

    /* Returns LN_OK, LN_ENOMEM or LN_EINVAL (the URL). *out is borrowed until on_done(). */
    int (*send)(struct http_call **out, struct http_client *client, const struct http_ask *ask);

    /* on_done() is not called any more. */
    void (*cancel)(struct http_call *call);

    /* Calls under way are cancelled. on_closed() follows, from the loop. */
    void (*close)(struct http_client *client, void (*on_closed)(void *owner), void *owner);
};

#endif
