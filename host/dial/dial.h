/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt to connect to one server, in a thread of its own: names are resolved, nats.c
 * connects to one address after the other, proves who we are, and hands the connection over.
 *
 * How it is handed over: nats.c calls attach() of its event loop adapter when all is done. That
 * function takes a copy of the descriptor and a reference to the SSL object, and then fails. So
 * nats.c ends its connection in the same thread, closes its own descriptor and frees what it
 * has: nothing of it, no thread, callback or lock, is left behind a running link, and it is the
 * same with all its versions.
 */
#ifndef LUNATS_DIAL_H
#define LUNATS_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>
#include <uv.h>

#include "host/base/clock.h"

struct dial;

/* Strings are copied; NULL: none. */
struct dial_target {
    const char *host, *port;
    bool tls; /* TLS or refusal; with a CA, a certificate or tls_first also without this */
    bool tls_first;
    const char *tls_name;        /* whose certificate it must be; also sent to the server */
    const char *ca, *cert, *key; /* paths */
    const char *name, *user, *password, *token;
    const char *creds, *nkey; /* paths */
    uint32_t timeout_ms;      /* for each address */
};

/* Where its strings are, to copy them all. */
#define DIAL_STRINGS 12
void dial_strings(struct dial_target *target, const char **fields[DIAL_STRINGS]);

struct dial_result {
    int status;     /* LN_OK; LN_ENOSERVER: not reached, LN_EAUTH, LN_EINVAL: files, LN_ENATS */
    char text[512]; /* why not, with what can be done about it */
    int fd;         /* the rest with LN_OK only, and then the receiver's */
    SSL *ssl;       /* NULL: plain */
    char *info;     /* JSON of the server's INFO */
    size_t info_len;
};

/*
 * Starts. on_done() comes once, from the loop; then the dial is gone. `clock` is a real one.
 * LN_ENOMEM or a code of libuv when it cannot start.
 */
int dial_start(struct dial **out, uv_loop_t *loop, struct clock *clock,
               const struct dial_target *target,
               void (*on_done)(void *owner, struct dial_result *result), void *owner);

/* Ends it without on_done(). Never waits: a thread that is stuck is left behind, and frees what
 * it has when it gets on. */
void dial_abandon(struct dial *dial);

/* How many of such threads there are in this process. */
unsigned dial_left_behind(void);

/* The version of nats.c that was loaded: "3.4.1". */
const char *dial_library_version(void);

/* At the end of the process, when nobody dials: joins the threads of nats.c. False when a
 * thread that was left behind is stuck inside of nats.c or OpenSSL: then only _exit() is safe.
 */
bool dial_close_library(void);

#endif
