/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of each other. */
#ifndef LUNATS_HTTP_CLIENT_INTERNAL_H
#define LUNATS_HTTP_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "host/base/list.h"
#include "host/base/text.h"
#include "host/http/client.h"
#include "host/trace/tracer.h"

struct fiber;
struct tally;

/* One request and its answer: a userdata, whose user value keeps what is borrowed. */
struct exchange {
    struct list_node node; /* in a list of those under way */
    const struct http_client_api *api;
    struct http_call *call; /* NULL: it is over */
    struct fiber *fiber;    /* that waits for it, or NULL */
    struct tally *tally;    /* where these two are counted, ... */
    size_t counted;         /* ... as so much */
    struct text headers;    /* name, zero, value, zero, ... */
    struct text body;       /* that nobody has read */
    size_t max;             /* bytes of the body, unless it is streamed */
    int status;             /* 0: not all headers have come */
    bool streamed;
    bool waits; /* the call, until somebody has read */
    const char
        *out; /* of the body of the request: not sent yet; borrowed while it is written */
    size_t out_len;
    bool writes;    /* the fiber, it does not read */
    bool out_waits; /* the call, until somebody has written */
    bool out_ended; /* there is no more */
    bool over;
    const char *code;         /* why it has failed, or NULL; a literal */
    const char *method, *url; /* borrowed, for ... */
    struct span span;         /* ... this, until it is over */
    char detail[256];
};

/* Its class, once. */
void exchange_class(lua_State *L);

/* A new one, over before it has begun. */
struct exchange *push_exchange(lua_State *L, const struct http_client_api *api,
                               struct tally *tally);

/* Where its answer goes: sink and on_done() of struct http_ask, whose owner it is. */
extern const struct http_sink exchange_sink;
void exchange_done(void *owner, const struct http_reply *reply);

/* It could not be sent. */
void exchange_failed(struct exchange *exchange, int status);

/* What it still would bring is not wanted. Again is fine. */
void exchange_end(struct exchange *exchange);

#endif
