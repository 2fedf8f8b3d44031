/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching from a pull consumer.
 *
 * A pull belongs to one consumer. Each fetch of it asks the server for messages on an inbox of
 * its own and ends exactly once: full, by a status of the server, by its deadline, or with
 * an error. The inbox of a fetch that ended cleanly serves the next one, so that a loop of
 * fetches costs one publish each. A fetch outlives a lost connection: after the reconnect it
 * asks again, on a new inbox, for what is missing. Nothing in here knows Lua.
 */
#ifndef LUNATS_JETSTREAM_PULL_H
#define LUNATS_JETSTREAM_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/jetstream/group.h"
#include "host/link/link.h"

struct pull;
struct fetch;

#define FETCH_BATCH_MAX 1000000

struct fetch_options {
    uint32_t batch;          /* messages wanted; 1 .. FETCH_BATCH_MAX */
    uint32_t timeout_ms;     /* the fetch has ended a moment after this at the latest */
    uint32_t heartbeat_ms;   /* how often the server shall say that it is alive; 0: 5 s when the
                              * fetch may take 10 s or more; at most half of the timeout */
    uint32_t max_expires_ms; /* the consumer refuses longer requests; 0: no such limit */
    uint64_t max_bytes;      /* of the messages with subjects and headers; 0: as many as the
                              * service may have */
    uint64_t most_bytes;     /* the consumer refuses more; 0: no such limit */
    bool no_wait;            /* only what is there now */
    struct js_group group;   /* without a name: none; its pin is the pull's */
};

/*
 * Opens a pull from `consumer` of `stream`; `prefix` is that of the API ("$JS.API"). On success
 * *out is the caller's, who hands it to pull_close(). `clock` is a real one, borrowed until all
 * fetches are freed. Returns LN_OK, LN_EINVAL (names), LN_ENOMEM.
 */
int pull_open(struct pull **out, struct link *link, struct clock *clock, const char *prefix,
              const char *stream, const char *consumer);

/* Of its priority group; borrowed. */
struct js_pin *pull_pin(const struct pull *pull);

/* Ends its fetches with LN_ECLOSED (their owners still have to free them) and gives up. */
void pull_close(struct pull *pull);

/*
 * Told when a fetch is over, from the loop, never from inside pull_fetch() or fetch_free().
 * The callee may do anything, also free the fetch and close the pull.
 */
typedef void (*fetch_done_fn)(struct fetch *fetch, void *owner);

/*
 * Starts a fetch, whose deadline is one of `clock`; without a connection it waits for one. *out
 * is the caller's, who hands it to fetch_free() at any time. Returns LN_OK, LN_EINVAL,
 * LN_ENOMEM, LN_ECLOSED or LN_ENATS.
 */
int pull_fetch(struct pull *pull, struct clock *clock, const struct fetch_options *options,
               fetch_done_fn on_done, void *owner, struct fetch **out);

/*
 * The result, once it is over: LN_OK also when the time was up and nothing came;
 *   LN_ECONSUMER_LOST  the server said that the consumer is gone, or said nothing at all;
 *                      fetch_silent() tells the two apart
 *   LN_EDISCONNECTED   there was no connection when the time was up
 *   LN_EJETSTREAM      the server refused; fetch_text() says why
 *   LN_ECLOSED, LN_ENOMEM, LN_ENATS, LN_EPERMISSION
 * What came before an error is kept and delivered: with messages the result is LN_OK.
 */
int fetch_status(const struct fetch *fetch);
/* Borrowed until fetch_free(); "" when there is nothing to add to the status. */
const char *fetch_text(const struct fetch *fetch);
/* Lost by silence: the server may still know the consumer. */
bool fetch_silent(const struct fetch *fetch);

/* The messages; they stay the fetch's. */
size_t fetch_count(const struct fetch *fetch);
struct message *fetch_msg(const struct fetch *fetch, size_t i);

/* The messages are in good hands: fetch_free() will not ask for their redelivery. */
void fetch_delivered(struct fetch *fetch);

/*
 * Ends a fetch, whether over or not; on_done is not called any more. Messages that were not
 * delivered go back to the server (-NAK).
 */
void fetch_free(struct fetch *fetch);

#endif
