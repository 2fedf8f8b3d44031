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
    bool watch;   /* the script and every file that it has loaded */
    bool control; /* requests on lunats.control.<service>.<instance>.reload */
};

/* Opens the triggers of a service that runs. *out is the caller's, who closes it no later than
 * in the service's on_stopped(). */
int trigger_open(struct trigger **out, uv_loop_t *loop, struct service *service,
                 const struct trigger_options *options);
void trigger_close(struct trigger *trigger);

/* A version of the script has loaded this file, whether it takes over or not. */
void trigger_add_file(struct trigger *trigger, const char *path);

/* Reloads; while a reload is under way, once more after it. */
void trigger_pull(struct trigger *trigger);

#endif
