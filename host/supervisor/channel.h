/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's end of the connection with a worker: questions, which are requests of the admin
 * port, and their answers (the other end: host/admin/channel.h). Several may be under way. A
 * worker that does not answer costs its question the time that it was given, and nothing else.
 */
#ifndef LUNATS_SUPERVISOR_CHANNEL_H
#define LUNATS_SUPERVISOR_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "host/base/clock.h"

struct channel;

/* `status` is one of HTTP; 0: there is no answer. The body ends with a zero that `len` does not
 * count, and is borrowed for the call; NULL without an answer. */
typedef void channel_fn(void *owner, int status, const char *body, size_t len);

/* Takes the socket, on success. `limit`: bytes of an answer; a longer one is none. LN_OK,
 * LN_ENOMEM or a code of libuv. */
int channel_open(struct channel **out, uv_loop_t *loop, struct clock *clock, int fd,
                 size_t limit);

/* Asks; on_answer() follows, from the loop, or from inside channel_close(). False: it will not.
 */
bool channel_ask(struct channel *channel, const char *method, const char *target,
                 uint64_t timeout_ms, channel_fn *on_answer, void *owner);

/* Nobody will answer any more. Frees it, later. */
void channel_close(struct channel *channel);

#endif
