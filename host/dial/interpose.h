/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of other libraries that lunats replaces for the threads that dial, to learn what
 * nats.c keeps to itself. interpose.c says of each why, and since when it is not needed.
 */
#ifndef LUNATS_DIAL_INTERPOSE_H
#define LUNATS_DIAL_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

/* One attempt, as its thread sees it. The owner sets the first part before nats.c connects. */
struct attempt {
    int timeout_ms;       /* for the TCP connection */
    const char *tls_name; /* the host whose certificate the server must have */
    void (*on_socket)(void *owner, int fd); /* it is about to connect */
    void *owner;
    /* What happened. */
    int connect_errno; /* 0: connected */
    bool connected;    /* TCP */
    SSL *ssl;          /* borrowed from nats.c; NULL: no handshake was begun */
    bool name_refused; /* tls_name cannot be the name of a host */
    bool handshake_done;
    long verify_result;      /* X509_V_OK, or why the certificate was refused */
    unsigned long ssl_error; /* of OpenSSL's queue; 0: none */
    char *heard;             /* what the server said in clear text after TLS, if any; owned */
    size_t heard_len, heard_size;
};

/* Between these two the functions are replaced, in this thread. */
void interpose_begin(struct attempt *attempt);
void interpose_end(void);

/* nats_Open(), without starting OpenSSL. */
void interpose_open_nats(void);

#endif
