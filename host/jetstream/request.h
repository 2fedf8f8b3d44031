/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for the messages of a pull consumer, and what becomes of their inboxes. */
#ifndef LUNATS_JETSTREAM_REQUEST_H
#define LUNATS_JETSTREAM_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "host/jetstream/group.h"
#include "host/link/link.h"

struct js_request {
    uint64_t batch;
    uint64_t expires_ms;   /* not with no_wait */
    uint64_t heartbeat_ms; /* 0: none; half of expires_ms at most, the server refuses more */
    uint64_t max_bytes;    /* of the messages with subjects and headers; 0: any */
    bool no_wait;          /* only what is there */
    const struct js_group *group; /* NULL or without a name: none */
    const struct js_pin *pin;     /* of that group; NULL: none */
};

/*
 * The subject that requests go to; `prefix` is that of the API ("$JS.API"). On success *out is
 * the caller's, who hands it to free(). Returns LN_OK, LN_EINVAL (names), LN_ENOMEM.
 */
int js_request_subject(char **out, const char *prefix, const char *stream,
                       const char *consumer);

/* Sends a request whose answers go to `reply`. Returns what link_publish() does. */
int js_request_send(struct link *link, const char *subject, const char *reply,
                    const struct js_request *request);

/*
 * Gives a message back that was not begun. The delay (nanoseconds) lets those who take over ask
 * first: nats-server 2.9 loses sight of a redelivery until its ack_wait is over when the only
 * requests that it holds are those of an inbox that is gone.
 */
#define JS_NAK_SOON "-NAK {\"delay\":100000000}"

/* Somebody else shall get this message, if it is one of a stream. It is freed. */
void js_return_message(struct link *link, struct message *msg);

/*
 * Ends the inbox of a request that the server still has: messages that are on their way go back
 * instead of being lost until their ack_wait is over. `sub` is gone afterwards.
 */
void js_drain_inbox(struct link *link, struct link_sub *sub);

#endif
