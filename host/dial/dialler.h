/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dials until there is a connection: one server after the other, each with its own back-off,
 * for ever. Tells why an attempt failed, and leaves to its owner whether that is an end.
 */
#ifndef LUNATS_DIAL_DIALLER_H
#define LUNATS_DIAL_DIALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/dial/dial.h"
#include "host/dial/info.h"

struct dialler;

struct dialler_events {
    /* A connection, which is the receiver's with all that is in the result. No attempt is made
     * until dialler_lost(). */
    void (*on_connected)(void *owner, struct dial_result *result);
    /* An attempt failed, and the next one follows unless dialler_stop() is called. `news`: this
     * server did not fail for this reason before. Texts are borrowed and hold nothing secret.
     */
    void (*on_failed)(void *owner, const char *url, int status, const char *text, bool news);
    void *owner;
};

/*
 * `target` says all that is the same for all servers; what is in a URL comes before it. Strings
 * are copied; `clock`, a real one, is borrowed. The first attempt begins in the next turn.
 * Returns LN_OK or LN_ENOMEM.
 */
int dialler_open(struct dialler **out, uv_loop_t *loop, struct clock *clock,
                 const char *const *urls, size_t count, const struct dial_target *target,
                 const struct dialler_events *events);

/* No attempt any more, and no event. */
void dialler_stop(struct dialler *dialler);
void dialler_close(struct dialler *dialler);

/* Every server has failed since the last connection, or the beginning; writes down why. */
bool dialler_has_failed(const struct dialler *dialler, char *out, size_t size);

/* The connection is lost: dials again. `lasted`: it was of use, so that the back-off begins
 * anew. */
void dialler_lost(struct dialler *dialler, bool lasted);

/* No attempt within the next `ms`. */
void dialler_hold(struct dialler *dialler, uint32_t ms);

/* The connected server tells who else is in the cluster. `authentic`: inside of TLS, where
 * nobody else can say it. */
void dialler_learn(struct dialler *dialler, struct info *info, bool authentic);

/* The connected server, "nats://host:port"; "" without. */
void dialler_url(const struct dialler *dialler, char *out, size_t size);

#endif
