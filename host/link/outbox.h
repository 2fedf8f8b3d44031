/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is published: frames for the connected stream, or kept while there is none; and those
 * who wait until the stream has taken it.
 */
#ifndef LUNATS_LINK_OUTBOX_H
#define LUNATS_LINK_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/dial/info.h"
#include "host/link/link.h"
#include "host/link/stream.h"

struct outbox;

/* `max_line`: bytes of a control line that servers take, without its verb. */
struct outbox *outbox_new(size_t max_line);
/* Whose limit bounds what is not sent; borrowed, NULL: nobody's. */
void outbox_set_tally(struct outbox *outbox, const struct tally *tally);
void outbox_free(struct outbox *outbox);

/* Subject, reply (NULL: none) and headers have been checked. LN_OK, LN_ETOOLARGE, LN_EFULL,
 * LN_ENOMEM, LN_ENATS (a server without headers). */
int outbox_publish(struct outbox *outbox, const struct link_out *out, const char *reply);

/*
 * There is a stream: what was kept goes out, but for messages that this server does not take;
 * returns how many those are. Call it after the subscriptions.
 */
size_t outbox_connected(struct outbox *outbox, struct stream *stream, const struct info *info);
void outbox_disconnected(struct outbox *outbox);
/* What the server takes may change. */
void outbox_set_limits(struct outbox *outbox, const struct info *info);

/* Bytes that are kept. */
size_t outbox_kept(const struct outbox *outbox);
/* Bytes of the buffer for them. */
size_t outbox_memory(const struct outbox *outbox);
/* Published on all connections. */
void outbox_sent(const struct outbox *outbox, uint64_t *messages, uint64_t *bytes);

/* See link_wait(). */
void outbox_wait(struct outbox *outbox, struct link_waiter *waiter);
bool outbox_awaited(const struct outbox *outbox);
/* Wakes the first `most` of those that wait. */
void outbox_wake(struct outbox *outbox, int status, size_t most);

#endif
