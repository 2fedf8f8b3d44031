/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What JetStream puts on the wire: names, the reply subject of a delivered message, and the
 * statuses by which the server ends or keeps alive a pull. No connection, no state.
 */
#ifndef LUNATS_JETSTREAM_STATUS_H
#define LUNATS_JETSTREAM_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/link/message.h"

/* ---- names ---- */

#define JS_NAME_MAX 255

/* A name of a stream or consumer, safe as a token of a subject: no blanks, dots, wildcards,
 * slashes or control bytes. */
bool js_name_ok(const char *name, size_t len);

/* ---- where a message comes from ---- */

/* A part of somebody else's string. */
struct js_slice {
    const char *at;
    size_t len;
};

/* What the reply subject of a delivered message tells. Slices are borrowed from it. */
struct js_meta {
    struct js_slice domain; /* len 0: none */
    struct js_slice stream, consumer;
    uint64_t num_delivered; /* 1: delivered for the first time */
    uint64_t stream_seq, consumer_seq;
    int64_t timestamp;    /* Unix time in nanoseconds */
    uint64_t num_pending; /* messages of the consumer still to come */
};

/*
 * Reads "$JS.ACK...." of either version. Returns false for anything else, NULL and numbers
 * beyond INT64_MAX included; *out is undefined then.
 */
bool js_parse_reply(const char *reply, struct js_meta *out);

/*
 * Whether a message that came to a reader of `consumer` ("<stream>.<consumer>"; NULL: none) may
 * have its answer at `subject`, see host/link/answer.h: an acknowledgement or flow control of
 * this consumer, or no subject of the server at all.
 */
bool js_answer_ok(const char *subject, const char *consumer);

/*
 * Whether a message with this reply subject (NULL: without one) that came to a reader of
 * `consumer`, as above, is one of the stream: those of a consumer say which one, whatever its
 * ack_policy. All that is done with a message needs to know it.
 */
bool js_comes_from(const char *reply, const char *consumer);

/*
 * Whether a message with this reply subject was delivered by a consumer to a subscription to
 * `pattern`: consumers keep the subject of the stream, while what others publish only comes
 * under subjects that the pattern covers. Whoever pulls by hand, to a listener, can
 * acknowledge.
 */
bool js_delivered(const char *pattern, const char *subject, const char *reply);

/* The consumer in a subject of the API that ends with it, as above; borrowed from there. */
const char *js_consumer_of(const char *subject);

/* ---- statuses ---- */

enum js_status {
    JS_DATA,         /* no status: a message of the stream */
    JS_HEARTBEAT,    /* the consumer is alive */
    JS_FLOW_CONTROL, /* push: answer it */
    JS_NO_MESSAGES,  /* pull over: nothing there, or others have asked first */
    JS_EXPIRED,      /* pull over: its time is up */
    JS_MAX_BYTES,    /* pull over: the next message does not fit into max_bytes */
    JS_COMPLETED,    /* pull over: it is full */
    JS_UNPINNED,     /* pull over: another reader of the priority group is pinned */
    JS_MOVED,        /* pull over: the server that held it went away; ask again */
    JS_BUSY,         /* pull refused: too many are waiting; ask again later */
    JS_ABSENT,       /* 503: consumer absent or without leader at the moment */
    JS_GONE,         /* terminal: the consumer or its stream was deleted, or cannot be pulled */
    JS_REFUSED,      /* terminal: the request is wrong, or above the consumer's own limits */
};

/*
 * Tells what a message on the inbox of a consumer is. A message with an acknowledgement subject
 * is always data: a stored message may carry any header.
 */
enum js_status js_classify(const struct message *msg);

/* The same from status number and text; text may be NULL. */
enum js_status js_classify_status(int status, const char *text);

/* ---- acknowledgements of publishing ---- */

/* A PubAck; the text slices are borrowed from the message. */
struct js_pub_ack {
    const char *stream, *domain; /* domain may be NULL */
    size_t stream_len, domain_len;
    int64_t seq;
    bool duplicate;
};

/*
 * Reads a PubAck as servers write it: an object of stream, seq, duplicate and domain in any
 * order, with names that need no escapes. Anything else, errors of the server included, gives
 * false and is left to a JSON parser. It takes a tenth of the time of one, on the path of every
 * publish.
 */
bool js_scan_pub_ack(const char *data, size_t len, struct js_pub_ack *out);

/* The "err_code" with which the API, or a stream, has refused something; 0: none. */
int js_refusal_code(const char *data, size_t len);

#endif
