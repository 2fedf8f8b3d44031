/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection that a service has for itself: opened once, lost and found again for ever,
 * with what the log says of it; and the wait until the server has confirmed what was
 * subscribed.
 */
#ifndef LUNATS_SERVICE_UPLINK_H
#define LUNATS_SERVICE_UPLINK_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/unique.h"
#include "host/link/link.h"
#include "host/service/service.h"

/* Embedded in the service; all zero is closed. The service sets the functions. */
struct uplink {
    struct service *service;
    /* LN_OK: connected for the first time. Otherwise why it never will be; then uplink_close()
     * is next. */
    void (*on_first)(struct uplink *uplink, int status, const char *text);
    void (*on_confirmed)(struct uplink *uplink); /* see uplink_confirm() */
    void (*on_closed)(struct uplink *uplink);    /* see uplink_close() */

    struct link *link; /* NULL: closed */
    struct link_call confirm;
    bool confirming;
    char name[64 + 1 + UNIQUE_SIZE]; /* as the server shows it: SERVICE/INSTANCE */
};

/* Starts connecting with the options of the service. What link_open() returns. */
int uplink_open(struct uplink *uplink, uv_loop_t *loop);

/* Makes a round trip to the server, again after a time-out or an outage: everything that was
 * subscribed before has been accepted or refused when on_confirmed() is called, once. */
void uplink_confirm(struct uplink *uplink);

/* on_confirmed() is not called any more. */
void uplink_stop_confirming(struct uplink *uplink);

/* Closes one that is open; on_closed() follows. `hung`: the server does not read what is sent.
 */
void uplink_close(struct uplink *uplink, bool hung);

#endif
