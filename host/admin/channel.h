/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin port of a worker, which is no port but a connection with its parent: the functions
 * of host/http/http.h on lines "NUMBER METHOD TARGET\n", each answered, in any order, by
 * "NUMBER STATUS LENGTH\n" and a body. It needs no module, and nobody else gets there.
 * Part of host/admin.
 */
#ifndef LUNATS_ADMIN_CHANNEL_H
#define LUNATS_ADMIN_CHANNEL_H

#include "host/http/http.h"

/* `fd` of its options is the connection; of the rest only on_request, on_gone and owner count.
 */
extern const struct http_api channel_api;

/* The parent is gone; told once, from the loop. */
void channel_on_orphaned(struct http *channel, void (*fn)(void *owner), void *owner);

#endif
