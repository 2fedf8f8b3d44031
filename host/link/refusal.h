/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An -ERR that refuses something and leaves the connection: what it is about.
 * Source: nats-server, server/client.go ("Permissions Violation for ...").
 */
#ifndef LUNATS_LINK_REFUSAL_H
#define LUNATS_LINK_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

enum refusal_kind {
    REFUSAL_NONE, /* some other error */
    REFUSAL_PUBLISH,
    REFUSAL_SUBSCRIPTION,
};

struct refusal {
    enum refusal_kind kind;
    char *subject; /* NULL: the server does not say which */
    char *queue;   /* "": it has none; NULL: not said */
    char *memory;  /* of both; the receiver frees it */
};

/* `text` is between the quotes of the -ERR. Without memory a refusal names no subject. */
void refusal_read(const char *text, size_t len, struct refusal *out);

#endif
