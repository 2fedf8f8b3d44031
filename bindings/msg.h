/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as scripts see them. */
#ifndef LUNATS_MSG_H
#define LUNATS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "bindings/codec.h"
#include "host/link/link.h"
#include "host/link/message.h"
#include "host/service/delivery.h"

#define MSG_TYPE "lunats.msg"

/* What becomes of a nak while a consume works on the message in the order of its key: it is
 * kept
 * (./js/consume.c), as what the server delivers again would be overtaken. */
enum msg_held { MSG_FREE, MSG_HELD, MSG_AGAIN };

/*
 * The userdata: one allocation that holds everything, so that a script may keep it as long as
 * it likes. User value 1 caches msg.data, 2 the table of headers, 3 is the codec of MSG_CODEC.
 */
struct msg {
    const char *subject; /* zero-terminated, in bytes[] */
    const char *reply;   /* the same; NULL = none */
    const char *data;
    const char *headers; /* see host/link/message.h; NULL = none */
    size_t len, headers_len;
    unsigned client;    /* id of the struct connection_handle it came by; 0 = the script's own
                           connection */
    unsigned char type; /* enum msg_data */
    bool decoded;       /* user value 1 is msg.data */
    bool settled;       /* JetStream: acknowledged in whatever way */
    bool proven;        /* the reply subject is that of the consumer it came from */
    unsigned char held; /* enum msg_held */
    uint32_t attempts;  /* JetStream: with it here, which the server does not count */
    uint64_t again_ms;  /* while it is MSG_AGAIN: the delay */
    uint64_t expires;   /* fiber_expires() of the one that handles it; 0: not known */
    struct job *job;    /* while a listener handles it: says whether it was answered */
    char bytes[];
};

/* Pushes a copy of `from`, which stays the caller's and must be owned by something that
 * survives a raise. */
struct msg *push_msg(lua_State *L, const struct message *from, enum msg_data type);
/* Shows the subject without its first token; msg->bytes begins with the whole one. One of a
 * single token stays as it is. */
void msg_strip(struct msg *msg);
/* The codec on top, which it pops, is that of the message below it, one of MSG_CODEC. */
void msg_set_codec(lua_State *L);
/* Pushes that of the message at `arg`. */
void msg_push_codec(lua_State *L, int arg);

/* The message at `arg`, or an argument error. */
struct msg *check_msg(lua_State *L, int arg);

/* The message at `arg`, or NULL. */
const struct msg *test_msg(lua_State *L, int arg);

/* Whether something may be published to the reply subject, see host/link/answer.h. */
bool msg_answerable(const struct msg *msg);
/* Logs that it was not, and pushes nil and an error with the code "refused". */
int push_refused(lua_State *L, const struct msg *msg);

/* A field of messages. push() finds the message at 1 as well, and returns 1. */
struct msg_field {
    const char *name;
    int (*push)(lua_State *L, struct msg *msg);
};

/*
 * Adds to the class: for modules that know more about a message than this one. Both lists end
 * with a NULL name and are static.
 */
void msg_extend(lua_State *L, const luaL_Reg *functions, const struct msg_field *members);

/* ---- passing on (./forward.c) ---- */

/*
 * If the headers say that the reply is an error of a service: pushes nil and an error with code
 * "service_error", status and message, and returns true.
 */
bool push_service_error(lua_State *L, const char *headers, size_t len);

/* The same for a message, whose error may be the server's as well: an empty one with a status.
 */
bool push_msg_error(lua_State *L, const struct msg *msg);

/*
 * Sends the message on: sets its body and its headers in *out, without those that NATS has set
 * for one hop, "Nats-...". They are borrowed from the message and from what is pushed. Headers
 * that *out has already win.
 */
void push_forwarded(lua_State *L, const struct msg *msg, struct link_out *out);

#endif
