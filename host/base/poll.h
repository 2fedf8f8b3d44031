/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at a path again and again, in a thread of libuv's pool: a folder of the network may
 * hang. */
#ifndef LUNATS_BASE_POLL_H
#define LUNATS_BASE_POLL_H

#include <stdbool.h>

#include <uv.h>

struct poll;

/* What links lead to differs from the look before, or is missing, or there again. The first
 * look, some time after poll_open(), is told in any case. */
typedef void (*poll_fn)(void *owner, bool first);

/* On success *out is the caller's, who gives it to poll_close(). Copies the path. */
int poll_open(struct poll **out, uv_loop_t *loop, const char *path, unsigned every_ms,
              poll_fn on_difference, void *owner);

/* No call afterwards. NULL does nothing. */
void poll_close(struct poll *poll);

#endif
