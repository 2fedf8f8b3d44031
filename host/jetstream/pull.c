/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/list.h"
#include "host/jetstream/internal.h"
#include "host/jetstream/request.h"
#include "host/jetstream/status.h"

#define IDLE_MAX 8 /* inboxes kept by a pull */

struct pull {
    struct link *link;
    struct link_observer observer;
    /* Real time: it is the server's clock that runs. */
    struct clock *clock;
    struct list fetches, idle;
    size_t idle_count;
    unsigned busy; /* frames on the stack that walk it */
    bool closed;
    char *subject; /* of the requests */
    struct js_pin *pin;
};

/* ---- memory ---- */

/* Takes it out of its list and frees it. */
static void destroy(struct fetch *fetch) {
    list_remove(&fetch->node);
    fetch_unsubscribe(fetch);
    free(fetch->msgs);
    free(fetch);
}

static void free_pull(struct pull *pull) {
    js_pin_release(pull->pin);
    free(pull->subject);
    free(pull);
}

static void maybe_free(struct pull *pull) {
    if (pull->closed && list_empty(&pull->fetches) && pull->busy == 0)
        free_pull(pull);
}

/* ---- connections come and go ---- */

static struct fetch *find_resume(struct pull *pull) {
    list_each (struct fetch, fetch, &pull->fetches, node)
        if (fetch->state != OVER && fetch->resume)
            return fetch;
    return NULL;
}

/* Asks again for all fetches, or ends them with the status. An owner may change the list, so
 * each step looks anew. */
static void resume_all(struct pull *pull, int status, const char *text) {
    struct fetch *fetch;
    pull->busy++;
    while ((fetch = find_resume(pull)) != NULL) {
        fetch->resume = false;
        if (status < 0)
            fetch_finish(fetch, status, text);
        else if (fetch->options.no_wait && fetch->count > 0)
            fetch_finish(fetch, LN_OK, NULL);
        else
            fetch_ask_again(fetch);
    }
    pull->busy--;
    maybe_free(pull);
}

static void on_link_state(struct link_observer *observer, enum link_state state) {
    struct pull *pull = container_of(observer, struct pull, observer);
    list_each (struct fetch, fetch, &pull->fetches, node) {
        if (fetch->state == OVER)
            continue;
        /* A request that the server still has must not find its inbox again. */
        fetch_unsubscribe(fetch);
        fetch->state = WAITING;
        fetch->heard = false;
        heartbeat_stop(&fetch->heartbeat);
        clock_disarm(pull->clock, &fetch->retry);
        fetch->resume = state == LINK_CONNECTED || state == LINK_CLOSED;
    }
    if (state == LINK_CONNECTED || state == LINK_CLOSED)
        resume_all(pull, state == LINK_CLOSED ? LN_ECLOSED : LN_OK, NULL);
}

static void on_denied(struct link_observer *observer, const char *subject, const char *text) {
    struct pull *pull = container_of(observer, struct pull, observer);
    if (strcmp(subject, pull->subject) != 0)
        return;
    list_each (struct fetch, fetch, &pull->fetches, node)
        fetch->resume = fetch->state == ASKING;
    resume_all(pull, LN_EPERMISSION, text);
}

/* ---- pulls ---- */

int pull_open(struct pull **out, struct link *link, struct clock *clock, const char *prefix,
              const char *stream, const char *consumer) {
    struct pull *pull = calloc(1, sizeof(*pull));
    if (pull == NULL)
        return LN_ENOMEM;
    int rc = js_request_subject(&pull->subject, prefix, stream, consumer);
    pull->pin = rc < 0 ? NULL : js_pin_new();
    if (pull->pin == NULL) {
        free_pull(pull);
        return rc < 0 ? rc : LN_ENOMEM;
    }
    pull->link = link;
    pull->clock = clock;
    pull->observer.on_state = on_link_state;
    pull->observer.on_denied = on_denied;
    link_observe(link, &pull->observer);
    *out = pull;
    return LN_OK;
}

void pull_close(struct pull *pull) {
    pull->closed = true;
    link_unobserve(&pull->observer);
    list_each (struct fetch, idle, &pull->idle, node)
        destroy(idle);
    list_each (struct fetch, fetch, &pull->fetches, node)
        fetch->resume = true;
    resume_all(pull, LN_ECLOSED, NULL);
}

struct js_pin *pull_pin(const struct pull *pull) {
    return pull->pin;
}

/* An idle one, or a new one; NULL without memory. */
static struct fetch *next_fetch(struct pull *pull) {
    struct list_node *idle = list_pop_front(&pull->idle);
    struct fetch *fetch = list_item(idle, struct fetch, node);
    if (fetch == NULL)
        fetch = calloc(1, sizeof(*fetch));
    else
        pull->idle_count--;
    if (fetch == NULL)
        return NULL;
    fetch->pull = pull;
    fetch->link = pull->link;
    fetch->subject = pull->subject;
    fetch->consumer = js_consumer_of(pull->subject);
    fetch->pin = pull->pin;
    fetch->server_clock = pull->clock;
    list_push_front(&pull->fetches, &fetch->node);
    return fetch;
}

int pull_fetch(struct pull *pull, struct clock *clock, const struct fetch_options *options,
               fetch_done_fn on_done, void *owner, struct fetch **out) {
    if (options->batch == 0 || options->batch > FETCH_BATCH_MAX)
        return LN_EINVAL;
    if (pull->closed)
        return LN_ECLOSED;
    struct fetch *fetch = next_fetch(pull);
    if (fetch == NULL)
        return LN_ENOMEM;
    fetch->on_done = on_done;
    fetch->owner = owner;
    fetch_begin(fetch, clock, options);
    int rc = fetch_ask(fetch);
    if (rc < 0) {
        fetch_stop_timers(fetch);
        destroy(fetch);
        return rc;
    }
    *out = fetch;
    return LN_OK;
}

/* ---- results ---- */

int fetch_status(const struct fetch *fetch) {
    return fetch->status;
}

const char *fetch_text(const struct fetch *fetch) {
    return fetch->text;
}

bool fetch_silent(const struct fetch *fetch) {
    return fetch->silent;
}

size_t fetch_count(const struct fetch *fetch) {
    return fetch->count;
}

struct message *fetch_msg(const struct fetch *fetch, size_t i) {
    return fetch->msgs[i];
}

void fetch_delivered(struct fetch *fetch) {
    fetch->delivered = true;
}

void fetch_free(struct fetch *fetch) {
    struct pull *pull = fetch->pull;
    fetch_stop_timers(fetch);
    for (size_t i = 0; i < fetch->count; i++)
        if (fetch->delivered)
            message_free(fetch->msgs[i]);
        else
            js_return_message(pull->link, fetch->msgs[i]);
    fetch->count = 0;
    if (fetch->state == OVER && fetch->clean && fetch->sub != NULL && !pull->closed &&
        pull->idle_count < IDLE_MAX) {
        list_push_front(&pull->idle, &fetch->node);
        pull->idle_count++;
        fetch->state = IDLE;
        return;
    }
    destroy(fetch);
    maybe_free(pull);
}
