/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of a received message in memory of our own, so that the natsMsg can go back early and
 * no array of nats.c is held while Lua code may raise.
 */
#ifndef LUNATS_HEADERS_H
#define LUNATS_HEADERS_H

#include <stddef.h>

#include <nats/nats.h>

/*
 * Copies all headers as "name\0value\0name\0value\0...", a name with several values several
 * times. *out is the caller's to free(); NULL and 0 when there are none. Order between
 * different names is not kept (nats.c hashes them). Returns LN_OK or LN_ENOMEM.
 */
int headers_copy(natsMsg *msg, char **out, size_t *len);

#endif
