/* SPDX-License-Identifier: Apache-2.0 */
/* A link as its two files see it: ./link.c lets it live, ./traffic.c is what it is used for. */
#ifndef LUNATS_LINK_INTERNAL_H
#define LUNATS_LINK_INTERNAL_H

#include <stdio.h>

#include "host/dial/dialler.h"
#include "host/link/calls.h"
#include "host/link/link.h"
#include "host/link/options.h"
#include "host/link/outbox.h"
#include "host/link/session.h"
#include "host/link/subs.h"
#include "host/link/turn.h"

struct link {
    uv_loop_t *loop;
    struct clock *clock; /* real */
    struct turn turn;
    struct link_options options;         /* with defaults; strings only while it is opened */
    char prefix[OPTIONS_PREFIX_MAX + 1]; /* of inboxes */
    char *api_prefix;                    /* owned; see link_may_answer(); NULL: none */
    struct link_events events;
    void *owner;
    enum link_state state;
    struct list observers;

    struct dialler *dialler;
    struct session *session; /* NULL: not connected */
    struct stream *stream;   /* the session's; NULL: not connected */
    struct info info;        /* of the connected server, and the last one */
    bool lame_duck;
    char error[256];

    struct subs *subs;
    struct calls *calls;
    struct outbox *outbox;
    struct link_sub *inbox;
    bool inbox_denied;
    void (*tap)(void *owner, const struct link_out *out);
    void *tap_owner;
    size_t unsent; /* bytes published and never written, of the last connection */
    uint64_t reconnects;

    bool closing, close_begun, closed;
    bool kept, gone; /* see link_keep(); only its memory is left */
    uint32_t flush_ms;
    struct link_call close_call;
    struct clock_timer close_timer;
    void (*on_closed)(void *owner, size_t unsent);
    void *closed_owner;
};

/* What link_flush() does to a link that is connected, even while it closes. */
int link_round_trip(struct link *link, struct link_call *call, struct clock *clock,
                    uint32_t timeout_ms,
                    void (*on_reply)(struct link_call *, int, struct message *));

/* Bytes not yet written at which publishers wait. */
static inline size_t link_publish_mark(const struct link *link) {
    return link->options.high_water / 8;
}

/* Cut to `size`. */
static inline void link_copy_text(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text);
}

#endif
