/* SPDX-License-Identifier: Apache-2.0 */
/* A consume as scripts hold it, for its two files. */
#ifndef LUNATS_JS_CONSUME_H
#define LUNATS_JS_CONSUME_H

#include <lua.h>

#include "bindings/js/js.h"
#include "host/jetstream/consume.h"
#include "host/script/script.h"

struct msg;
struct span_label;

struct consume_box {
    struct script_resource resource;
    struct script *script;
    struct consume *consume;         /* NULL: over */
    const struct reader_box *reader; /* user value 1 */
    const struct lease_box *lease;   /* user value 2; NULL: it reads without one */
    struct consume_stats stats;      /* when it is over */
    int self, handler, failed, lost; /* registry references */
    int codec;                       /* the same, of MSG_CODEC */
    int key, keyless;                /* of functions: finds a key, raises why there is none */
    bool finding;                    /* a fiber finds keys, and has a pointer to this */
    lua_Integer max_deliver;         /* 0: no limit */
    uint32_t concurrency;            /* for the log */
    unsigned client;                 /* for struct msg */
    unsigned char type;              /* enum msg_data */
    struct span_label *span_label;   /* owned; NULL: nothing is recorded */
    bool auto_ack;
    bool pushed;
    bool strips; /* subjects are shown without their first token */
    uint64_t failures;
    /* Why it was lost, for the fiber that finds out. */
    int lost_status;
    bool lost_silent;
    char lost_text[160];
    char title[256]; /* for the log */
};

/* Pushes a message as scripts get it. (./consume.c) */
struct msg *consume_push_msg(lua_State *L, const struct consume_box *box,
                             const struct message *from);

/* Clears its registry references, which makes it collectable; again is fine. (./consume.c) */
void consume_box_unref(struct consume_box *box);

/* ---- ./consume_keys.c ---- */

/* Reads `key` and `keyless` of the options at `arg`. */
void consume_keys_take(lua_State *L, int arg, struct consume_box *box,
                       struct consume_options *out);

/* Whether the reader tells of its keys; not when the box is about to go. */
void consume_keys_show(const struct consume_box *box, bool shown);

/* on_unkeyed() of the consume: a fiber finds them. */
void consume_keys_wanted(void *owner);

#endif
