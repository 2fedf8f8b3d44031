/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A received message, in one allocation of our own. It belongs to whoever it was given to, who
 * frees it with message_free(), on whatever link and however late.
 */
#ifndef LUNATS_LINK_MESSAGE_H
#define LUNATS_LINK_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/tally.h"

struct message {
    struct message *next; /* for whoever owns it: lists */
    char *subject;        /* zero-terminated */
    char *reply;          /* zero-terminated; NULL = none */
    char *headers; /* "name\0value\0name\0value\0...", repeated names repeated; NULL = none */
    char *data;    /* zero-terminated; the payload may have zeros itself */
    size_t headers_len, len;
    /* A message that is no data but word from the server, an empty one with a status in its
     * first header line (503, 404, 100, ...), has its number here, others 0. As in other
     * clients `Status` and `Description` are headers then. */
    int status;
    uint64_t received;   /* when it was read, clock_precise(); 0: it did not come over a wire */
    struct tally *tally; /* who answers for it, borrowed until its end; NULL: nobody */
    size_t class;        /* message.c's */
    size_t size;         /* of bytes */
    char bytes[];        /* all of the above that is not NULL, in this order */
};

/* What a message is made from; not zero-terminated, borrowed for the call. */
struct message_parts {
    const char *subject, *reply; /* reply NULL = none */
    const char *headers; /* as on the wire: "NATS/1.0[ status]\r\nName: value\r\n\r\n" */
    const char *data;
    size_t subject_len, reply_len, headers_len, len;
    uint64_t received; /* see struct message */
};

/*
 * A copy. Lines of the headers that have no colon, or have a zero byte, are left out; values
 * lose the blanks around them.
 * Returns NULL when memory is short.
 */
struct message *message_new(const struct message_parts *parts);

/* It is counted there until its end. NULL: nowhere. */
static inline void message_count(struct message *msg, struct tally *tally) {
    msg->tally = tally;
    if (tally != NULL)
        tally_add(tally, sizeof(*msg) + msg->size);
}

/* Does nothing for NULL. */
void message_free(struct message *msg);

/* The first value of a header, letters of the name in any case; NULL if absent. */
const char *message_header(const struct message *msg, const char *name);

/* The same in a block of headers as in struct message. */
const char *header_find(const char *headers, size_t len, const char *name);

#endif
