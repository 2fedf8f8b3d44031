/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status codes of the host. Every function of host/ that can fail returns LN_OK (0) or one of
 * these negative numbers; libuv's own codes (UV_E...) travel through unchanged.
 */
#ifndef LUNATS_BASE_STATUS_H
#define LUNATS_BASE_STATUS_H

enum ln_status {
    LN_OK = 0,
    LN_ENOMEM = -5000, /* out of memory */
    LN_ETIMEOUT,       /* the deadline passed */
    LN_ENORESPONDERS,  /* nobody listens to the subject of a request (503) */
    LN_EDISCONNECTED,  /* no connection to the server right now */
    LN_ECLOSED,        /* the link is closed or closing for good */
    LN_ECANCELLED,     /* the waiting fiber was cancelled (reload, shutdown) */
    LN_ETOOLARGE,      /* payload or subject are larger than the server takes */
    LN_EPERMISSION,    /* the server refused the subject */
    LN_EINVAL,         /* a subject, header name or option that must not reach the wire */
    LN_EAUTH,          /* the server refused the credentials */
    LN_EFULL,          /* a bounded queue or buffer is full */
    LN_ENATS,          /* any other failure of the connection; see link_last_error() */
    LN_ESCRIPT,        /* a Lua error; it has been logged with its traceback */
    LN_ENOSERVER,      /* no server could be reached */
    LN_EJETSTREAM,     /* the JetStream API answered with an error */
    LN_ESERVICE,       /* the service answered with an error */
    LN_ECONSUMER_LOST, /* the consumer or its stream is gone, or its heartbeats stopped */
    LN_EINBOX,         /* the server does not let us subscribe to the inbox of replies */
    LN_EANSWER,        /* a message asks for an answer to a subject of the server */
    LN_ETLS,           /* TLS failed: certificates, or what the other side says */
};

/*
 * The stable word of a status as scripts see it in `err.code`: "timeout", "no_responders", ...
 * Borrowed, static. Unknown codes give libuv's name or "error".
 */
const char *status_word(int status);

/* A sentence for people. Borrowed, static. */
const char *status_text(int status);

#endif
