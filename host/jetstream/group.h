/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Priority groups of consumers (nats-server 2.11 and newer): which of several readers gets the
 * messages. "overflow" serves a request only when enough messages wait, "pinned_client" all
 * requests of one reader, which proves by a pin that it is the one, "prioritized" (2.12) the
 * requests with the lowest priority first.
 */
#ifndef LUNATS_JETSTREAM_GROUP_H
#define LUNATS_JETSTREAM_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/jetstream/status.h"
#include "host/link/message.h"

#define JS_GROUP_NAME_MAX 64
#define JS_PIN_SIZE 64

/* What a request says of its group; all zero: the consumer has none. */
struct js_group {
    char name[JS_GROUP_NAME_MAX + 1];
    uint64_t min_pending;     /* messages to come; 0: any number */
    uint64_t min_ack_pending; /* messages that others have not acknowledged; 0: any number */
    unsigned priority;        /* 0, first served, to 9 */
};

/* A name that can stand in JSON as it is: letters, digits and /_=-. */
bool js_group_name_ok(const char *name, size_t len);

/* The pin of a reader, which the server gives it with the first message. Whatever reads for the
 * same subscription shares one; each holds a reference. */
struct js_pin {
    char id[JS_PIN_SIZE]; /* "": none */
    unsigned references;
};

/* One with a reference, which is the caller's; NULL: out of memory. */
struct js_pin *js_pin_new(void);
struct js_pin *js_pin_hold(struct js_pin *pin);
/* NULL is fine. */
void js_pin_release(struct js_pin *pin);

/* What a message or a status says of the pin. */
void js_pin_learn(struct js_pin *pin, const struct message *msg, enum js_status status);

#endif
