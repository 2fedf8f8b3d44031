/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the turns of the loop take: for so long everything else waits. It is measured while
 * there is an admin port, and costs nothing without one.
 */
#ifndef LUNATS_ADMIN_LOOP_H
#define LUNATS_ADMIN_LOOP_H

#include <stdint.h>

#include <uv.h>

#define LOOP_BOUNDS 9
extern const double loop_bounds[LOOP_BOUNDS]; /* seconds */

struct loop_watch;

/* On success *out is the caller's, who hands it to loop_watch_close(). */
int loop_watch_open(struct loop_watch **out, uv_loop_t *loop);
void loop_watch_close(struct loop_watch *watch);

/* Turns by the time they took, LOOP_BOUNDS + 1 numbers, and that time in all. Borrowed. */
const uint64_t *loop_watch_turns(const struct loop_watch *watch, double *seconds);

#endif
