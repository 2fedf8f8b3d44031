/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paces the collector of a lua_State by the size of its heap. Messages die young, so a small
 * heap is collected by generations. A full collection of a large one, which cannot be
 * interrupted, would hold the loop for a tenth of a second and more: it is collected in small
 * steps, and begins early enough to stay within half as much memory again.
 *
 * While little runs, a large heap is collected to the end, a millisecond at a time, and what
 * was freed is given back to the system. Nothing is done, and no timer runs, where nothing
 * runs.
 */
#ifndef LUNATS_SCRIPT_COLLECTOR_H
#define LUNATS_SCRIPT_COLLECTOR_H

#include <lua.h>
#include <uv.h>

#include "host/script/fiber.h"

struct collector;
struct pool;

/* Paces that of `L`, whose fibers, scheduler and pool (NULL: none) are borrowed until
 * collector_close(). LN_OK or LN_ENOMEM. The handle on the loop keeps it not alive. */
int collector_open(struct collector **out, uv_loop_t *loop, struct scheduler *scheduler,
                   struct fibers *fibers, lua_State *L, struct pool *pool);
/* Before the fibers end. NULL does nothing. */
void collector_close(struct collector *collector);

#endif
