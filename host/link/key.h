/* SPDX-License-Identifier: Apache-2.0 */
/* Where a message has the key by which it is ordered: what has the same one is handled in
 * order.
 */
#ifndef LUNATS_LINK_KEY_H
#define LUNATS_LINK_KEY_H

#include <stdbool.h>
#include <stddef.h>

struct message;

#define MESSAGE_KEY_HEADER 128 /* bytes of the name of a header, with the zero */

enum message_key_kind {
    MESSAGE_KEY_NONE,    /* all zero: nothing is ordered by keys */
    MESSAGE_KEY_SUBJECT, /* the whole subject */
    MESSAGE_KEY_TOKEN,   /* a token of it */
    MESSAGE_KEY_HEADER_VALUE,
    MESSAGE_KEY_FUNCTION, /* somebody else finds it */
};

struct message_key {
    enum message_key_kind kind;
    unsigned token; /* 1: the first one */
    char header[MESSAGE_KEY_HEADER];
};

/* Reads "subject", "subject:2" or "header:Name". False: it is something else. */
bool message_key_parse(const char *text, struct message_key *out);

/* The key, borrowed from the message, or NULL: it has none. Not for functions. */
const char *message_key_find(const struct message_key *key, const struct message *msg,
                             size_t *len);

#endif
