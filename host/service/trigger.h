/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a service reload by itself: changed files, a request on its control subject, and
 * whoever calls trigger_pull() (SIGHUP does).
 */
#ifndef LUNATS_SERVICE_TRIGGER_H
#define LUNATS_SERVICE_TRIGGER_H

#include <stdbool.h>

#include <uv.h>

#include "host/service/service.h"

struct trigger;

struct trigger_options {
    bool watch;       /* the script and every file that it has loaded */
    unsigned poll_ms; /* look for changes that often; 0: the system tells */
    bool control;     /* requests on lunats.control.<service>.<instance>.reload, and .log_level
                       * (./voice.h) */
    /* A file has changed while no service was attached; may be NULL. */
    void (*on_change)(void *owner);
    void *owner;
};

/*
 * Opens the triggers of a script before it is loaded, so that no change is missed: one that
 * comes before the service runs makes it reload then. *out is the caller's.
 */
int trigger_open(struct trigger **out, uv_loop_t *loop, const struct trigger_options *options);
void trigger_close(struct trigger *trigger);

/* The service runs. It is detached no later than in its on_stopped(). */
int trigger_attach(struct trigger *trigger, struct service *service);
void trigger_detach(struct trigger *trigger);

/* The service has a connection again: a version that could not start, maybe for lack of it,
 * gets another chance. */
void trigger_reconnected(struct trigger *trigger);

/* The script is about to be loaded from the beginning: what has changed is of no interest. */
void trigger_forget(struct trigger *trigger);

/* A version of the script has loaded this file, whether it takes over or not. */
void trigger_add_file(struct trigger *trigger, const char *path);

/* Reloads at once, for somebody who wants to know how it ends. As service_reload(); LN_ECLOSED
 * when no service is attached. */
int trigger_ask(struct trigger *trigger, service_reload_fn on_done, void *owner);

/* Reloads: at once, after the reload that is under way, or when the service runs. True: that is
 * a reload more; false: there is one to come already, or the service stops. */
bool trigger_pull(struct trigger *trigger);

#endif
