/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/intake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/service/internal.h"
#include "host/service/keys.h"

/* What a subscription needs in the link, about. */
#define LINK_BYTES 400

/* One NATS subscription and the listeners that share it. */
struct subscription {
    struct intake *intake;
    struct list_node node; /* in intake->subscriptions */
    struct list listeners; /* who gets its messages, in the order of declaration */
    size_t count;          /* of them */
    struct list next;      /* those of the version that is about to take over */
    struct link_sub *sub;
    bool waiting; /* made for the next version: paused until that takes over */
    bool paused;
    bool needed; /* the version that serves cannot do without it */
    bool draining;
    bool ending;   /* its only listener was stopped and goes with it */
    char *subject; /* owned */
    char *queue;   /* owned; NULL = none */
};

struct intake {
    struct intake_events events;
    void *owner;
    struct link *link; /* borrowed; NULL: none yet, or none any more */
    struct list listeners, subscriptions, endpoints;
    struct deliveries deliveries;
    size_t bytes;      /* of memory that listeners need */
    size_t draining;   /* subscriptions that are being drained */
    bool drain_wanted; /* on_drained() has to be called */
    bool ended;        /* nothing can be subscribed any more */
};

/* ---- life ---- */

static void on_job_end(struct listener *listener);

static void on_idle(struct deliveries *deliveries) {
    const struct intake *intake = container_of(deliveries, struct intake, deliveries);
    if (intake->events.on_idle != NULL)
        intake->events.on_idle(intake->owner);
}

int intake_open(struct intake **out, const struct intake_events *events, void *owner) {
    struct intake *intake = calloc(1, sizeof(*intake));
    if (intake == NULL)
        return LN_ENOMEM;
    intake->events = *events;
    intake->owner = owner;
    intake->deliveries.on_job_end = on_job_end;
    intake->deliveries.on_idle = on_idle;
    *out = intake;
    return LN_OK;
}

void intake_close(struct intake *intake) {
    if (intake == NULL)
        return;
    intake_cut(intake);
    for (struct list_node *node; (node = list_pop_front(&intake->listeners)) != NULL;)
        listener_free(list_item(node, struct listener, declared));
    deliveries_free(&intake->deliveries);
    free(intake);
}

void intake_set_tracer(struct intake *intake, struct tracer *tracer) {
    intake->deliveries.tracer = tracer;
}

void intake_set_link(struct intake *intake, struct link *link) {
    intake->link = intake->deliveries.link = link;
}

size_t intake_busy(const struct intake *intake) {
    return intake->deliveries.count;
}

/* Whether another listener of the same script counts there. */
static bool endpoint_taken(const struct endpoint *endpoint, const void *arg) {
    const struct listener *listener = arg;
    list_each (struct listener, at, &listener->intake->listeners, declared)
        if (at->endpoint == endpoint && at->script == listener->script && !at->gone)
            return true;
    return false;
}

size_t intake_memory(const struct intake *intake) {
    return intake->bytes;
}

static size_t length(const char *text) {
    return text != NULL ? strlen(text) : 0;
}

/* Each may have a subscription and an endpoint of its own. */
static size_t memory_of(const struct listener_options *options) {
    size_t texts = 4 * length(options->subject) + 3 * length(options->queue) +
                   2 * length(options->name) + length(options->metadata);
    return sizeof(struct listener) + sizeof(struct subscription) + sizeof(struct endpoint) +
           LINK_BYTES + texts;
}

int intake_add(struct intake *intake, struct listener *listener) {
    listener->endpoint = endpoint_join(&intake->endpoints, listener->options.subject,
                                       listener->options.queue, endpoint_taken, listener);
    if (listener->endpoint == NULL)
        return LN_ENOMEM;
    list_push_back(&intake->listeners, &listener->declared);
    listener->bytes = memory_of(&listener->options);
    intake->bytes += listener->bytes;
    return LN_OK;
}

void intake_remove(struct listener *listener) {
    list_remove(&listener->declared);
    endpoint_leave(listener->endpoint);
    listener->intake->bytes -= listener->bytes;
}

struct listener *listener_next(const struct intake *intake, const struct script *script,
                               const struct listener *after) {
    const struct list *list = &intake->listeners;
    struct list_node *node =
        after != NULL ? list_next(list, &after->declared) : list_first(list);
    for (; node != NULL; node = list_next(list, node)) {
        struct listener *listener = list_item(node, struct listener, declared);
        if (listener->script == script && !listener->gone)
            return listener;
    }
    return NULL;
}

/* ---- messages: a subscription waits while one of its listeners has no slot left ---- */

/* With keys its messages wait elsewhere. */
static bool is_busy(const struct listener *listener) {
    return listener->keys != NULL ? keys_full(listener->keys)
                                  : listener->running >= listener->options.concurrency;
}

static void pause_delivery(struct subscription *subscription) {
    subscription->paused = true;
    link_sub_pause(subscription->sub);
}

static void resume_if_free(struct subscription *subscription) {
    if (!subscription->paused)
        return;
    list_each (struct listener, at, &subscription->listeners, shared)
        if (is_busy(at))
            return;
    subscription->paused = false;
    link_sub_resume(subscription->sub);
}

static void on_job_end(struct listener *listener) {
    listener->running--;
    if (listener->subscription != NULL)
        resume_if_free(listener->subscription);
    listener_free_if_idle(listener);
}

static void tell(const struct intake *intake, int status, const char *text) {
    if (intake->events.on_error != NULL)
        intake->events.on_error(intake->owner, status, text);
}

void listener_tell(const struct listener *listener, int status, const char *format, ...) {
    char text[1024];
    int len = snprintf(text, sizeof(text), "listener %.500s: ", listener->options.subject);
    va_list args;
    va_start(args, format);
    vsnprintf(text + len, sizeof(text) - (size_t)len, format, args);
    va_end(args);
    tell(listener->intake, status, text);
}

__attribute__((format(printf, 3, 4))) static void
tell_error(const struct intake *intake, int status, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tell(intake, status, text);
}

static void on_msg(void *owner, struct message *msg) {
    struct subscription *subscription = owner;
    struct intake *intake = subscription->intake;
    struct delivery *delivery = delivery_new(&intake->deliveries, msg, subscription->count);
    if (delivery == NULL) {
        message_free(msg);
        tell_error(intake, LN_ENOMEM, "out of memory: a message on %s is lost",
                   subscription->subject);
        return;
    }
    /* A handler may end listeners, so all jobs are written down before the first one runs. */
    list_each (struct listener, at, &subscription->listeners, shared) {
        delivery_add(delivery, at);
        if (at->keys != NULL) { /* it runs when its turn has come */
            if (keys_full(at->keys) && !subscription->paused)
                pause_delivery(subscription);
            continue;
        }
        if (++at->running >= at->options.concurrency && !subscription->paused)
            pause_delivery(subscription);
    }
    delivery_start(delivery);
}

/* The listener that holds the others up, or any. */
static const struct listener *slowest(const struct subscription *subscription) {
    list_each (struct listener, at, &subscription->listeners, shared)
        if (is_busy(at))
            return at;
    return list_item(list_first(&subscription->listeners), struct listener, shared);
}

static void tell_dropped(const struct subscription *subscription) {
    const struct listener *listener = slowest(subscription);
    struct link_sub_stats stats;
    link_sub_get_stats(subscription->sub, &stats);
    tell_error(subscription->intake, LN_EFULL,
               "listener %s is too slow: its queue is full; %llu messages (%.1f MB) are "
               "dropped, %llu so far; %zu (%.1f MB) wait, %u of %u handlers run",
               subscription->subject, (unsigned long long)stats.untold,
               (double)stats.untold_bytes / 1e6, (unsigned long long)stats.dropped,
               stats.waiting, (double)stats.bytes / 1e6,
               listener != NULL ? listener->running : 0,
               listener != NULL ? listener->options.concurrency : 0);
}

static void on_sub_error(void *owner, int status, const char *text) {
    const struct subscription *subscription = owner;
    const struct intake *intake = subscription->intake;
    if (status == LN_EFULL) {
        tell_dropped(subscription);
        return;
    }
    if (text == NULL)
        text = status_text(status);
    bool next = subscription->waiting, needed = subscription->needed;
    char reason[1024];
    snprintf(reason, sizeof(reason), "cannot subscribe to %s: %s", subscription->subject, text);
    tell_error(intake, status, "listener %s: %s", subscription->subject, text);
    if ((next || needed) && intake->events.on_refused != NULL)
        intake->events.on_refused(intake->owner, next, status, reason);
}

/* ---- subscriptions ---- */

static bool same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct subscription *find(const struct intake *intake, const struct listener *listener) {
    list_each (struct subscription, at, &intake->subscriptions, node)
        if (!at->draining && same(at->subject, listener->options.subject) &&
            same(at->queue, listener->options.queue))
            return at;
    return NULL;
}

static void detach_all(struct list *listeners) {
    for (struct list_node *node; (node = list_pop_front(listeners)) != NULL;)
        list_item(node, struct listener, shared)->subscription = NULL;
}

static void free_subscription(struct subscription *subscription) {
    detach_all(&subscription->listeners);
    detach_all(&subscription->next);
    list_remove(&subscription->node);
    free(subscription->subject);
    free(subscription->queue);
    free(subscription);
}

static void one_drained(struct intake *intake) {
    if (--intake->draining > 0 || !intake->drain_wanted)
        return;
    intake->drain_wanted = false;
    if (intake->events.on_drained != NULL)
        intake->events.on_drained(intake->owner);
}

/* Ends it at once. */
static void end_subscription(struct subscription *subscription) {
    struct intake *intake = subscription->intake;
    bool draining = subscription->draining;
    link_unsubscribe(subscription->sub);
    free_subscription(subscription);
    if (draining)
        one_drained(intake);
}

static int subscribe(struct intake *intake, const struct listener *listener,
                     struct subscription **out) {
    const struct listener_options *from = &listener->options;
    struct subscription *subscription = calloc(1, sizeof(*subscription));
    if (subscription == NULL)
        return LN_ENOMEM;
    subscription->intake = intake;
    list_push_front(&intake->subscriptions, &subscription->node);
    subscription->subject = strdup(from->subject);
    subscription->queue = from->queue ? strdup(from->queue) : NULL;
    struct link_sub_options options = {
        .queue = from->queue,
        .pending_msgs = from->pending_msgs,
        .pending_bytes = from->pending_bytes,
    };
    int rc = LN_ENOMEM;
    if (subscription->subject != NULL && (from->queue == NULL || subscription->queue != NULL))
        rc = link_subscribe(intake->link, from->subject, &options, on_msg, on_sub_error,
                            subscription, &subscription->sub);
    if (rc < 0)
        free_subscription(subscription);
    else
        *out = subscription;
    return rc;
}

static void join(struct subscription *subscription, struct list *list,
                 struct listener *listener) {
    list_push_back(list, &listener->shared);
    listener->subscription = subscription;
}

static int subscribe_listener(struct listener *listener, bool needed) {
    struct intake *intake = listener->intake;
    if (intake->link == NULL || intake->ended)
        return LN_ECLOSED; /* the script is about to go: nobody would handle the messages */
    struct subscription *subscription = find(intake, listener);
    if (subscription == NULL) {
        int rc = subscribe(intake, listener, &subscription);
        if (rc < 0)
            return rc;
        subscription->needed = needed;
    }
    if (subscription->waiting) { /* made for the next version: this one needs it, too */
        subscription->waiting = subscription->paused = false;
        link_sub_resume(subscription->sub);
    }
    join(subscription, &subscription->listeners, listener);
    subscription->count++;
    return LN_OK;
}

int listener_subscribe(struct listener *listener) {
    return subscribe_listener(listener, listener->options.needed);
}

int intake_subscribe(struct intake *intake, struct script *script, bool needed,
                     struct listener **failed) {
    struct listener *at = NULL;
    while ((at = listener_next(intake, script, at)) != NULL) {
        int rc = at->subscription == NULL ? subscribe_listener(at, needed) : LN_OK;
        if (rc < 0) {
            *failed = at;
            return rc;
        }
    }
    return LN_OK;
}

/* ---- ending ---- */

static void on_drained(void *owner) {
    struct subscription *subscription = owner;
    struct intake *intake = subscription->intake;
    struct listener *stopped = NULL;
    if (subscription->ending)
        stopped = list_item(list_first(&subscription->listeners), struct listener, shared);
    free_subscription(subscription);
    if (stopped != NULL)
        listener_retire(stopped);
    if (intake->events.on_ended != NULL)
        intake->events.on_ended(intake->owner);
    one_drained(intake);
}

static void drain(struct subscription *subscription, uint32_t timeout_ms) {
    if (subscription->draining)
        return;
    subscription->draining = true;
    subscription->intake->draining++;
    link_sub_drain(subscription->sub, timeout_ms, on_drained);
}

void subscription_get_stats(const struct subscription *subscription,
                            struct link_sub_stats *out) {
    *out = (struct link_sub_stats){0};
    if (subscription != NULL && subscription->sub != NULL)
        link_sub_get_stats(subscription->sub, out);
}

void intake_drain(struct intake *intake, uint32_t timeout_ms) {
    intake->ended = intake->drain_wanted = true;
    intake->draining++; /* none of them is the last one before all have been asked */
    /* A drain may end at once and tell the owner, but frees no other subscription. */
    list_each (struct subscription, at, &intake->subscriptions, node)
        drain(at, timeout_ms);
    one_drained(intake);
}

bool intake_drained(const struct intake *intake) {
    return intake->ended && intake->draining == 0;
}

void intake_cut(struct intake *intake) {
    intake->ended = true;
    intake->drain_wanted = false;
    list_each (struct subscription, at, &intake->subscriptions, node)
        end_subscription(at);
}

/* Only the next version wants its messages. */
static void wait_for_next(struct subscription *subscription) {
    subscription->waiting = true;
    pause_delivery(subscription);
}

/* Takes a listener out of its subscription, which it has to itself no longer. */
static void leave(struct listener *listener) {
    struct subscription *subscription = listener->subscription;
    list_remove(&listener->shared);
    listener->subscription = NULL;
    if (list_empty(&subscription->listeners) && list_empty(&subscription->next))
        end_subscription(subscription);
    else if (!list_empty(&subscription->listeners))
        resume_if_free(subscription); /* it may have been the one without a free slot */
    else if (!subscription->waiting)
        wait_for_next(subscription);
}

/* Whether it belongs to the version that is about to take over. */
static bool is_next(const struct listener *listener) {
    list_each (struct listener, at, &listener->subscription->next, shared)
        if (at == listener)
            return true;
    return false;
}

void subscription_leave(struct listener *listener) {
    if (listener->subscription == NULL)
        return;
    if (!is_next(listener))
        listener->subscription->count--;
    leave(listener);
}

bool subscription_stop(struct listener *listener, uint32_t timeout_ms) {
    struct subscription *subscription = listener->subscription;
    if (subscription != NULL && !is_next(listener) && subscription->count == 1 &&
        list_empty(&subscription->next)) {
        subscription->ending = true; /* its messages are handled to the last one */
        drain(subscription, timeout_ms);
        return false;
    }
    subscription_leave(listener);
    return true;
}

/* ---- a new version takes over ---- */

int intake_prepare(struct intake *intake, struct script *next, struct listener **failed) {
    struct listener *at = NULL;
    while ((at = listener_next(intake, next, at)) != NULL) {
        struct subscription *subscription = find(intake, at);
        if (subscription == NULL) {
            int rc = intake->ended ? LN_ECLOSED : subscribe(intake, at, &subscription);
            if (rc < 0) {
                intake_forget_next(intake);
                *failed = at;
                return rc;
            }
            wait_for_next(subscription);
        }
        join(subscription, &subscription->next, at);
    }
    return LN_OK;
}

void intake_forget_next(struct intake *intake) {
    list_each (struct subscription, at, &intake->subscriptions, node) {
        detach_all(&at->next);
        if (at->waiting)
            end_subscription(at);
    }
}

/* The endpoint of a listener is the same in all versions. */
static void hand_over_keys(struct subscription *subscription) {
    list_each (struct listener, next, &subscription->next, shared)
        list_each (struct listener, previous, &subscription->listeners, shared)
            if (next->endpoint == previous->endpoint)
                keys_take_over(next, previous);
}

void intake_switch(struct intake *intake, uint32_t timeout_ms) {
    list_each (struct subscription, at, &intake->subscriptions, node) {
        if (at->draining)
            continue;
        if (list_empty(&at->next)) {
            drain(at, timeout_ms);
            continue;
        }
        hand_over_keys(at);
        detach_all(&at->listeners); /* their jobs go on; the script is closed after them */
        list_move(&at->listeners, &at->next);
        at->count = 0;
        list_each (struct listener, listener, &at->listeners, shared)
            at->count++;
        at->waiting = false;
        at->needed = true;
        resume_if_free(at);
    }
}

static const struct script *script_served(const struct subscription *subscription) {
    const struct listener *first =
        list_item(list_first(&subscription->listeners), struct listener, shared);
    return first != NULL ? first->script : NULL;
}

bool intake_serves(const struct intake *intake, const struct script *script) {
    list_each (struct subscription, at, &intake->subscriptions, node)
        if (script_served(at) == script)
            return true;
    return false;
}
