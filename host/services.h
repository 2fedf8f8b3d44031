/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripts of the process, and the services that they are.
 *
 * Those that the user named start and end together. The folders that the user named go on
 * telling which scripts there are: with a watch, or when services_reload() asks, a new file is
 * started beside the others, and one that is gone is stopped. What is wrong with a new file is
 * logged and hurts nobody else; it is tried again when it changes. A file of a folder that
 * declares nothing is a module of the others and no service.
 */
#ifndef LUNATS_SERVICES_H
#define LUNATS_SERVICES_H

#include <uv.h>

#include "host/options/options.h"
#include "host/service/service.h"

struct services;

struct services_hooks {
    /* Loads the service of a script; `events` has the functions that it has to call and their
     * owner, and whether it waits for a server in any case; the rest is left to the hook. As
     * service_open(). */
    int (*open)(void *owner, const char *path, const struct service_options *events,
                struct service **out);
    /* All that were started run; told once. */
    void (*on_running)(void *owner);
    /* None is left, and none will come. `status` is that of the first one that failed. */
    void (*on_ended)(void *owner, int status);
    /* Something about a service may have changed, or one of them is gone. May be NULL. */
    void (*on_change)(void *owner);
    void *owner;
};

/* What is borrowed lasts as long as *out, which the caller gives to services_free(). */
int services_open(struct services **out, uv_loop_t *loop, const struct options *options,
                  const struct services_hooks *hooks);

/*
 * Loads the scripts: that of the command if it has one, else the user's. Returns EXIT_OK, or
 * the exit status; errors have been logged.
 */
int services_load(struct services *services, const char *command);

void services_start(struct services *services);

/* The services that have not ended, one after the other; the first is after NULL, and NULL is
 * after the last. */
struct service *services_next(const struct services *services, const struct service *after);

/* Reloads what runs, and looks into the folders. False: what it would do is to come already. */
bool services_reload(struct services *services);

/* Loads what is no service yet, as new files of the folders are. */
void services_look(struct services *services);

/* Reloads one of them, and tells how it ends: see trigger_ask(). */
int services_reload_one(const struct services *services, const struct service *service,
                        service_reload_fn on_done, void *owner);

/* Writes into the log what runs in each of them. */
void services_describe(const struct services *services);

/* Stops in order; on_ended() follows. False: none has been started. */
bool services_stop(struct services *services, int status);

/* Frees those that were not started, and ends every watch: nothing more happens by itself. */
void services_discard(struct services *services);
void services_free(struct services *services);

#endif
