/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reload: a transaction that puts a new version of the script in the place of the running one.
 *
 *   load the source in a fresh lua_State -> its on_start hooks -> subscribe what is new,
 * paused, and wait for the server's confirmation -> between two turns of the loop: copy the
 * state, give the subscriptions to the new listeners -> its on_reload hooks, tasks and timers
 *
 * The old version serves all the while. Any failure before the switch undoes what was done and
 * leaves it in place. After the switch it retires: tasks and timers are cancelled, handlers in
 * flight finish within the drain bound, subscriptions that nobody wants any more are drained,
 * then its state is closed. The counters belong to the service and go on.
 *
 * struct reload lasts as long as its service: at most one transaction at a time, and the
 * versions that retire.
 */
#ifndef LUNATS_SERVICE_RELOAD_H
#define LUNATS_SERVICE_RELOAD_H

#include "host/service/service.h"

struct reload;

/* On success *out is the caller's, who hands it to reload_close(). */
int reload_open(struct reload **out, struct service *service);

/* Ends what is under way, at once. Does nothing for NULL. */
void reload_close(struct reload *reload);

/* What service_reload() does, once the service runs. */
int reload_begin(struct reload *reload, const char *source, size_t source_len,
                 service_reload_fn on_done, void *owner);

/* Gives up the transaction that is under way, if there is one. */
void reload_abort(struct reload *reload);

/* The server refuses what the next version wants. */
void reload_refuse(struct reload *reload, const char *reason);

/* os.exit() was called at `where`, see script.h. True: by a version that has not taken over,
 * which ends the reload and nothing else. */
bool reload_take_exit(struct reload *reload, const struct script *script, int status,
                      const char *where);

/* Calls `each` for the version that starts, if there is one, and for those that retire. */
void reload_each(const struct reload *reload,
                 void (*each)(void *owner, struct script *script, const char *what),
                 void *owner);

/* Those that are over; all zero for NULL. */
struct reload_counts reload_count(const struct reload *reload);

/* A transaction is under way; false for NULL. */
bool reload_under_way(const struct reload *reload);

/* A subscription has been drained, maybe the last one of a version that retires. */
void reload_drained(struct reload *reload);

/* Whether handlers of versions before may still run. service_retired() tells the end. */
bool reload_retiring(const struct reload *reload);

/* Closes those versions at once. */
void reload_close_retiring(struct reload *reload);

#endif
