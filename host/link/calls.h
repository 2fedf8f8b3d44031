/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and round trips that wait. The reply to a request comes to a token under the one
 * wildcard inbox of the link, which names a slot and its generation: finding the call is an
 * array access, and a late reply to an ended call finds nobody. A round trip ends with the PONG
 * that belongs to its PING.
 *
 * For link.c only, like the others of these: struct link_call is in link.h.
 */
#ifndef LUNATS_LINK_CALLS_H
#define LUNATS_LINK_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/link/link.h"

struct calls;

typedef void (*link_reply_fn)(struct link_call *call, int status, struct message *reply);

/* `prefix` of the inbox, which is "<prefix>.<nuid>". */
struct calls *calls_new(const char *prefix);
/* There are no calls any more. */
void calls_free(struct calls *calls);

/* The subject of the inbox: "<prefix>.<nuid>.*". */
const char *calls_inbox(struct calls *calls);

/*
 * Begins to wait for the reply to a request to `subject`, whose reply subject *reply is
 * borrowed until the next call begins. LN_OK or LN_ENOMEM.
 */
int calls_begin(struct calls *calls, struct link_call *call, struct clock *clock,
                const char *subject, uint32_t timeout_ms, bool many, link_reply_fn on_reply,
                const char **reply);

/* Begins to wait for the PONG with this number. */
void calls_begin_ping(struct calls *calls, struct link_call *call, struct clock *clock,
                      uint64_t number, uint32_t timeout_ms, link_reply_fn on_reply);

size_t calls_count(const struct calls *calls);
/* Bytes that it takes without the calls, which are their owners'. */
size_t calls_memory(const struct calls *calls);

/* A message on the inbox. Takes it. */
void calls_on_msg(struct calls *calls, struct message *msg);

/* The PONGs up to this number have come. */
void calls_on_pong(struct calls *calls, uint64_t number);

/* Ends all, or the requests only, or those to this subject. Callbacks may begin others. */
void calls_fail_all(struct calls *calls, int status);
void calls_fail_requests(struct calls *calls, int status);
void calls_fail_subject(struct calls *calls, const char *subject, size_t len, int status);

/* Writes "<prefix>.<nuid>". */
void calls_new_inbox(const char *prefix, char out[LINK_INBOX_SIZE]);

#endif
