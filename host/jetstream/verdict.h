/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the answer of a server to a request for messages means for the one who asked: the one
 * place that knows when a request is repeated, after how long, and when it is hopeless.
 */
#ifndef LUNATS_JETSTREAM_VERDICT_H
#define LUNATS_JETSTREAM_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "host/jetstream/status.h"

/* Pauses before a request: as a rule, and where the server, or the connection, has too much to
 * do already. */
#define JS_PAUSE_MS 250u
#define JS_LONG_PAUSE_MS 1000u

enum verdict_action {
    VERDICT_GO_ON,     /* the request is open; the consumer is alive */
    VERDICT_OVER,      /* the request has run its course; the next one may go in wait_ms */
    VERDICT_ASK_AGAIN, /* it was not served, which passes: ask again in wait_ms */
    VERDICT_LOST,      /* asking again is of no use */
};

struct verdict {
    enum verdict_action action;
    uint32_t wait_ms; /* OVER, ASK_AGAIN; 0: at once */
    /* LOST: why. ASK_AGAIN: what to say when there is no time left to ask again. */
    int status;
    const char *text; /* NULL: nothing to add */
    bool silent;      /* nobody has said that the consumer is gone */
};

/*
 * `text` is the description that came with the status; borrowed by a verdict of LOST, the texts
 * of the others are literals. `absent` is the asker's, 0 at first: how often in a row no server
 * has known the consumer.
 */
struct verdict verdict_of(enum js_status status, const char *text, unsigned *absent);

#endif
