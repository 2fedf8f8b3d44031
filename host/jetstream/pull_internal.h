/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a pull share. Nobody else includes this.
 *
 *   pull.c    the fetches of a pull, their inboxes, connections that come and go, results
 *   fetch.c   one fetch: asking, answers, the end
 */
#ifndef LUNATS_JETSTREAM_PULL_INTERNAL_H
#define LUNATS_JETSTREAM_PULL_INTERNAL_H

#include "host/jetstream/pull.h"
#include "host/jetstream/status.h"

#define FETCH_TEXT_SIZE 160

enum fetch_state { WAITING, ASKING, OVER, IDLE };

struct fetch {
    struct pull *pull;
    struct fetch *next, **prev; /* in pull->fetches or pull->idle */
    struct link_sub *sub;
    char inbox[LINK_INBOX_SIZE]; /* without ".*" */
    uint32_t number;             /* of the last request on this inbox */
    enum fetch_state state;
    bool clean; /* the server has finished the last request */
    bool heard; /* the server said something about the last request */
    bool taken;
    bool silent;
    bool resume; /* resume_all() has to look at it */
    uint32_t absent, retry_ms;
    struct clock *clock;
    struct clock_timer deadline, heartbeat, retry;
    uint64_t due; /* on the clock: the end as the owner asked for it */
    struct fetch_options options;
    struct message **msgs;
    size_t count, size;
    enum js_word last; /* why a request had to be repeated */
    int status;
    char text[FETCH_TEXT_SIZE];
    fetch_done_fn on_done;
    void *owner;
};

struct pull {
    struct link *link;
    struct link_observer observer;
    struct fetch *fetches, *idle;
    size_t idle_count;
    unsigned busy; /* frames on the stack that walk it */
    bool closed;
    char subject[]; /* of the requests */
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

/* Nobody waits for this message any more: the server shall deliver it to somebody else. */
void fetch_give_back(struct link *link, struct message *msg);

#endif
