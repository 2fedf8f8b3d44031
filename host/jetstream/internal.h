/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fetch of a pull.
 *
 *   pull.c    the fetches of a pull, connections that come and go, results
 *   fetch.c   one fetch: asking, answers, the end
 */
#ifndef LUNATS_JETSTREAM_INTERNAL_H
#define LUNATS_JETSTREAM_INTERNAL_H

#include "host/base/list.h"
#include "host/jetstream/heartbeat.h"
#include "host/jetstream/pull.h"
#include "host/jetstream/verdict.h"
#include "host/link/answer.h"

#define FETCH_TEXT_SIZE 160

enum fetch_state { WAITING, ASKING, OVER, IDLE };

struct fetch {
    /* Of the pull, which outlives it. */
    struct pull *pull;
    struct link *link;
    const char *subject, *consumer; /* "<stream>.<consumer>" */
    struct js_pin *pin;             /* shared by all fetches */
    struct clock *server_clock;     /* real time */
    struct list_node node;          /* among the fetches or the idle ones */

    struct link_sub *sub;
    char inbox[LINK_INBOX_SIZE]; /* without ".*" */
    uint32_t number;             /* of the last request on this inbox */
    enum fetch_state state;
    bool clean; /* the server has finished the last request */
    bool heard; /* the server said something about the last request */
    bool delivered;
    bool silent;
    bool resume;     /* resume_all() has to look at it */
    unsigned absent; /* see verdict_of() */
    struct answer_log refusals;
    struct verdict last; /* why a request had to be repeated */
    struct clock *clock; /* of the owner; NULL: not begun yet */
    struct clock_timer deadline;
    uint64_t due; /* on the clock: the end as the owner asked for it */
    struct clock_timer retry;
    struct heartbeat heartbeat;
    struct fetch_options options;
    struct message **msgs;
    size_t count, size;
    int status;
    char text[FETCH_TEXT_SIZE];
    fetch_done_fn on_done;
    void *owner;
};

/* Makes an idle or new fetch ready for fetch_ask(); its deadline is armed. */
void fetch_begin(struct fetch *fetch, struct clock *clock, const struct fetch_options *options);

/* Opens a request, or waits for the connection. What it returns has no other effect. */
int fetch_ask(struct fetch *fetch);

/* The same for a fetch under way: a failure ends it. */
void fetch_ask_again(struct fetch *fetch);

/* Ends it and calls the owner; nothing of the fetch or the pull may be touched afterwards. */
void fetch_finish(struct fetch *fetch, int status, const char *text);

void fetch_stop_timers(struct fetch *fetch);
void fetch_unsubscribe(struct fetch *fetch);

#endif
