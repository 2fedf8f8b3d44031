/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How tools and services of any language find this one: the answers to $SRV.PING, $SRV.INFO and
 * $SRV.STATS, alone, with the name of the service, and with its name and instance id (the
 * service API of NATS, ADR-32).
 *
 * Every instance answers, so these nine subscriptions have no queue group. An answer is made in
 * C from what the service counts, ahead of its handlers: one that is busy answers all the same.
 */
#ifndef LUNATS_SERVICE_DISCOVERY_H
#define LUNATS_SERVICE_DISCOVERY_H

#include "host/service/service.h"

struct discovery;

/*
 * Subscribes; a server that refuses is a warning in the log. The service, which is connected
 * and whose listeners are subscribed, is borrowed until discovery_close(). LN_OK or LN_ENOMEM.
 */
int discovery_open(struct discovery **out, struct service *service);

/* Unsubscribes and sets *discovery to NULL; does nothing if it is NULL. */
void discovery_close(struct discovery **discovery);

#endif
