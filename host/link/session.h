/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a server, from the end of the dial to its loss: frames in stream order,
 * PING and PONG, errors, and whether the server is still there.
 *
 * Where messages take longer to handle than they come, those behind them wait as bytes. What
 * asks how the service is must not wait with them: the session looks ahead for PINGs and
 * messages that are prompt, and passes over them when their place in the order comes.
 */
#ifndef LUNATS_LINK_SESSION_H
#define LUNATS_LINK_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/dial/info.h"
#include "host/link/message.h"
#include "host/link/refusal.h"
#include "host/link/stream.h"

struct session;

/* All may close the session. */
struct session_events {
    void (*on_msg)(void *owner, uint64_t sid, const struct message_parts *parts);
    /* Whether those with this number go ahead of others that wait. */
    bool (*is_prompt)(void *owner, uint64_t sid);
    /* An INFO; the texts it points at are borrowed. */
    void (*on_info)(void *owner, struct info *info);
    /* The PONGs up to this number have come. */
    void (*on_pong)(void *owner, uint64_t number);
    /* The server refused something; the connection goes on. Both are borrowed. */
    void (*on_refusal)(void *owner, const struct refusal *refusal, const char *text);
    /* Some other error, LN_ENATS, and the connection goes on. */
    void (*on_error)(void *owner, int status, const char *text);
    void (*on_pending)(void *owner); /* see struct stream_events */
    void (*on_sent)(void *owner);
    /* The end: LN_EAUTH when the server does not accept us any more, LN_EDISCONNECTED. The
     * owner closes the session. */
    void (*on_lost)(void *owner, int status, const char *text);
};

/* Takes descriptor and SSL object, also when it fails. The clock, a real one, is borrowed.
 * `info` is what the server has told so far; copied. */
int session_open(struct session **out, uv_loop_t *loop, struct clock *clock, int fd, SSL *ssl,
                 const struct info *info, size_t high_water, uint32_t ping_interval_ms,
                 const struct session_events *events, void *owner);

/* Its memory goes with the loop's next turns. See stream_close(). */
void session_close(struct session *session, bool orderly);

/* For writing. Borrowed. */
struct stream *session_stream(struct session *session);

/* Sends a PING; returns its number, 0 without memory. */
uint64_t session_ping(struct session *session);

/* Milliseconds that it has lasted. */
uint64_t session_age(const struct session *session);

#endif
