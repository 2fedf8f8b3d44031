/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/link/message.h"

/* Longest text of an error reply; headers of a message share 64 KiB. */
#define ERROR_TEXT_MAX 1024

/* ---- one message ---- */

static struct inbound *take_inbound(struct service *service, size_t jobs) {
    struct inbound *inbound = service->spare;
    if (inbound != NULL && jobs == 1) {
        service->spare = inbound->next;
    } else {
        inbound = calloc(1, sizeof(*inbound) + jobs * sizeof(struct job));
        if (inbound == NULL)
            return NULL;
        inbound->capacity = jobs;
    }
    inbound->service = service;
    inbound->answered = false;
    inbound->jobs_left = jobs;
    service->inflight++;
    return inbound;
}

static void give_back(struct inbound *inbound) {
    struct service *service = inbound->service;
    message_free(inbound->msg);
    if (inbound->error_code != 0) {
        free(inbound->error_text);
        inbound->error_text = NULL;
        inbound->error_code = 0;
    }
    if (inbound->capacity == 1) {
        inbound->next = service->spare;
        service->spare = inbound;
    } else {
        free(inbound);
    }
    if (--service->inflight == 0)
        service_message_done(service);
}

void inbound_free_spare(struct service *service) {
    while (service->spare != NULL) {
        struct inbound *inbound = service->spare;
        service->spare = inbound->next;
        free(inbound);
    }
}

static void send_error(struct inbound *inbound) {
    if (inbound->answered || inbound->error_code == 0)
        return;
    const char *text = inbound->error_text ? inbound->error_text : "internal error";
    service_reply_error(inbound->service, inbound->msg->reply, inbound->error_code, text);
}

int service_reply_error(struct service *service, const char *reply, int code,
                        const char *text) {
    char line[ERROR_TEXT_MAX], number[16];
    if (reply == NULL)
        return LN_OK;
    /* A header value is one line: the first of the text. */
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\r\n"), text);
    snprintf(number, sizeof(number), "%d", code);
    struct link_header headers[] = {
        {"Nats-Service-Error", line},
        {"Nats-Service-Error-Code", number},
    };
    struct link_out out = {.subject = reply, .headers = headers, .header_count = 2};
    return link_publish(service->link, &out);
}

/* ---- concurrency: a subscription waits while one of its listeners has no slot left ---- */

static void forget_listener(struct listener *listener) {
    if (listener->gone && listener->running == 0)
        script_remove_listener(listener->script, listener);
}

static void resume_if_free(struct subscription *subscription) {
    if (!subscription->paused)
        return;
    for (const struct listener *at = subscription->listeners; at != NULL; at = at->sibling)
        if (at->running >= at->concurrency)
            return;
    subscription->paused = false;
    link_sub_resume(subscription->sub);
}

static void slot_freed(struct listener *listener) {
    listener->running--;
    if (listener->subscription != NULL)
        resume_if_free(listener->subscription);
    forget_listener(listener);
}

static void on_job_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct job *job = arg;
    struct inbound *inbound = job->inbound;
    if (status == LN_ESCRIPT) {
        script_report(job->listener->script, text);
        job_failed(job, 500, text);
    } else if (status == LN_ECANCELLED) {
        job_failed(job, 503, "the service is stopping");
    }
    if (job->holder != NULL)
        *job->holder = NULL;
    slot_freed(job->listener);
    if (--inbound->jobs_left == 0) {
        send_error(inbound);
        give_back(inbound);
    }
}

static void on_msg(void *owner, struct message *msg) {
    struct subscription *subscription = owner;
    struct service *service = subscription->service;
    struct inbound *inbound = take_inbound(service, subscription->count);
    if (inbound == NULL) {
        message_free(msg);
        log_error(service->name, "out of memory: a message on %s is lost",
                  subscription->subject);
        return;
    }
    inbound->msg = msg;
    /* A handler may end listeners, so all jobs are written down before the first one runs. */
    size_t count = 0;
    for (struct listener *at = subscription->listeners; at != NULL; at = at->sibling) {
        inbound->jobs[count++] = (struct job){inbound, at, NULL};
        at->received++;
        if (++at->running >= at->concurrency && !subscription->paused) {
            subscription->paused = true;
            link_sub_pause(subscription->sub);
        }
    }
    for (size_t i = 0; i < count; i++) { /* inbound lives until the last job has ended */
        struct job *job = &inbound->jobs[i];
        struct fibers *fibers = script_fibers(job->listener->script);
        if (fiber_spawn(fibers, FIBER_HANDLER, job->listener->body, job, on_job_end) < 0)
            on_job_end(NULL, job, LN_ESCRIPT, "out of memory");
    }
}

static void on_sub_error(void *owner, int status, const char *text) {
    struct subscription *subscription = owner;
    struct service *service = subscription->service;
    if (status == LN_EFULL) {
        log_warn(service->name,
                 "listener %s is too slow: its queue is full and messages are dropped "
                 "(%llu so far)",
                 subscription->subject,
                 (unsigned long long)link_sub_dropped(subscription->sub));
        return;
    }
    log_error(service->name, "listener %s: %s", subscription->subject,
              text ? text : status_text(status));
    if (subscription->fresh) { /* the running version does not need it */
        char reason[512];
        snprintf(reason, sizeof(reason), "cannot subscribe to %s: %s", subscription->subject,
                 text ? text : status_text(status));
        reload_refuse(service, reason);
        return;
    }
    /* A service that looks healthy and hears nothing would be worse. */
    if (subscription->declared && status == LN_EPERMISSION)
        service_stop(service, EXIT_SCRIPT);
}

/* ---- subscriptions ---- */

static bool same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct subscription *find(struct service *service, const struct listener *listener) {
    struct subscription *at = service->subscriptions;
    while (at != NULL && (at->draining || !same(at->subject, listener->subject) ||
                          !same(at->queue, listener->queue)))
        at = at->next;
    return at;
}

static void detach(struct listener *at) {
    for (; at != NULL; at = at->sibling)
        at->subscription = NULL;
}

static void free_subscription(struct subscription *subscription) {
    detach(subscription->listeners);
    detach(subscription->successors);
    *subscription->prev = subscription->next;
    if (subscription->next != NULL)
        subscription->next->prev = subscription->prev;
    free(subscription->subject);
    free(subscription->queue);
    free(subscription);
}

static int subscribe(struct service *service, const struct listener *listener,
                     struct subscription **out) {
    struct subscription *subscription = calloc(1, sizeof(*subscription));
    if (subscription == NULL)
        return LN_ENOMEM;
    subscription->service = service;
    subscription->declared = service->state == SERVICE_SUBSCRIBING;
    subscription->next = service->subscriptions;
    subscription->prev = &service->subscriptions;
    if (subscription->next != NULL)
        subscription->next->prev = &subscription->next;
    service->subscriptions = subscription;
    subscription->subject = strdup(listener->subject);
    subscription->queue = listener->queue ? strdup(listener->queue) : NULL;
    struct link_sub_options options = {
        .queue = listener->queue,
        .pending_msgs = listener->pending_msgs,
    };
    int rc = LN_ENOMEM;
    if (subscription->subject != NULL && (listener->queue == NULL || subscription->queue))
        rc = link_subscribe(service->link, listener->subject, &options, on_msg, on_sub_error,
                            subscription, &subscription->sub);
    if (rc < 0)
        free_subscription(subscription);
    else
        *out = subscription;
    return rc;
}

/* Puts a listener at the end of a list, so that they are called in the order of declaration. */
static void append(struct subscription *subscription, struct listener **list,
                   struct listener *listener) {
    while (*list != NULL)
        list = &(*list)->sibling;
    *list = listener;
    listener->sibling = NULL;
    listener->subscription = subscription;
}

int service_listen(struct service *service, struct listener *listener) {
    if (service->link == NULL || service->state >= SERVICE_DRAINING)
        return LN_ECLOSED; /* the script is about to go: nobody would handle the messages */
    struct subscription *subscription = find(service, listener);
    if (subscription == NULL) {
        int rc = subscribe(service, listener, &subscription);
        if (rc < 0)
            return rc;
    }
    if (subscription->fresh) { /* made for the next version: now this one needs it, too */
        subscription->fresh = subscription->paused = false;
        link_sub_resume(subscription->sub);
    }
    append(subscription, &subscription->listeners, listener);
    subscription->count++;
    return LN_OK;
}

bool service_takes_over(const struct service *service, const struct script *script,
                        const char *subject) {
    const struct subscription *at = service->subscriptions;
    while (at != NULL && (at->draining || at->fresh || !same(at->subject, subject)))
        at = at->next;
    return at != NULL && at->listeners != NULL && at->listeners->script != script;
}

/* ---- a new version takes over ---- */

static void drain(struct subscription *subscription, uint32_t timeout_ms);

/* Only the next version wants its messages. */
static void wait_for_next(struct subscription *subscription) {
    subscription->fresh = subscription->paused = true;
    link_sub_pause(subscription->sub);
}

static void end_fresh(struct subscription *subscription) {
    link_unsubscribe(subscription->sub);
    free_subscription(subscription);
}

bool inbound_has_fresh(const struct service *service) {
    const struct subscription *at = service->subscriptions;
    while (at != NULL && !at->fresh)
        at = at->next;
    return at != NULL;
}

int inbound_prepare(struct service *service, struct script *next, char *text, size_t size) {
    struct listener *listener = script_listeners(next);
    for (; listener != NULL; listener = listener->next) {
        if (listener->foreign || listener->gone)
            continue;
        struct subscription *subscription = find(service, listener);
        if (subscription == NULL) {
            int rc = subscribe(service, listener, &subscription);
            if (rc < 0) {
                snprintf(text, size, "cannot subscribe to %s: %s", listener->subject,
                         status_text(rc));
                inbound_forget_next(service);
                return rc;
            }
            wait_for_next(subscription);
        }
        append(subscription, &subscription->successors, listener);
        subscription->successor_count++;
    }
    return LN_OK;
}

void inbound_forget_next(struct service *service) {
    for (struct subscription *at = service->subscriptions, *next; at != NULL; at = next) {
        next = at->next;
        detach(at->successors);
        at->successors = NULL;
        at->successor_count = 0;
        if (at->fresh)
            end_fresh(at);
    }
}

void inbound_switch(struct service *service, uint32_t timeout_ms) {
    for (struct subscription *at = service->subscriptions, *next; at != NULL; at = next) {
        next = at->next;
        if (at->draining)
            continue;
        if (at->successors == NULL) {
            drain(at, timeout_ms);
            continue;
        }
        detach(at->listeners); /* their jobs go on; the script is closed after them */
        at->listeners = at->successors;
        at->count = at->successor_count;
        at->successors = NULL;
        at->successor_count = 0;
        at->fresh = false;
        at->declared = true;
        resume_if_free(at);
    }
}

size_t inbound_count(const struct service *service, const struct script *script) {
    size_t count = 0;
    for (const struct subscription *at = service->subscriptions; at != NULL; at = at->next)
        count += at->listeners != NULL && at->listeners->script == script;
    return count;
}

void inbound_drop(struct service *service, const struct script *script) {
    size_t before = service->draining;
    for (struct subscription *at = service->subscriptions, *next; at != NULL; at = next) {
        next = at->next;
        if (at->listeners == NULL || at->listeners->script != script)
            continue;
        service->draining -= at->draining;
        link_unsubscribe(at->sub);
        free_subscription(at);
    }
    if (before > 0 && service->draining == 0 && service->state == SERVICE_DRAINING)
        service_drained(service);
}

/* ---- ending ---- */

static void retire(struct listener *listener) {
    listener->gone = true;
    forget_listener(listener);
}

static void on_drained(void *owner) {
    struct subscription *subscription = owner;
    struct service *service = subscription->service;
    struct listener *ended = subscription->ending ? subscription->listeners : NULL;
    free_subscription(subscription);
    if (ended != NULL)
        retire(ended);
    reload_drained(service);
    if (--service->draining == 0 && service->state == SERVICE_DRAINING)
        service_drained(service);
}

static void drain(struct subscription *subscription, uint32_t timeout_ms) {
    if (subscription->draining)
        return;
    subscription->draining = true;
    subscription->service->draining++;
    link_sub_drain(subscription->sub, timeout_ms, on_drained);
}

/* Takes a listener out of a list of siblings, if it is there. */
static bool unlink_from(struct listener **at, struct listener *listener) {
    while (*at != NULL && *at != listener)
        at = &(*at)->sibling;
    if (*at == NULL)
        return false;
    *at = listener->sibling;
    listener->subscription = NULL;
    return true;
}

void service_unlisten(struct listener *listener) {
    struct subscription *subscription = listener->subscription;
    if (subscription == NULL) {
        retire(listener);
    } else if (unlink_from(&subscription->successors, listener)) {
        subscription->successor_count--;
        retire(listener);
        if (subscription->fresh && subscription->successors == NULL)
            end_fresh(subscription);
    } else if (subscription->count == 1 && subscription->successors == NULL) {
        subscription->ending = true; /* its messages are handled to the last one */
        double bound = subscription->service->options.drain_timeout;
        drain(subscription, (uint32_t)(bound * 1000));
    } else {
        unlink_from(&subscription->listeners, listener);
        subscription->count--;
        retire(listener);
        if (subscription->listeners == NULL)
            wait_for_next(subscription);
        else
            resume_if_free(subscription); /* it may have been the one without a free slot */
    }
}

void inbound_drain(struct service *service, uint32_t timeout_ms) {
    service->draining++; /* so that none of them is the last one before all have been asked */
    for (struct subscription *at = service->subscriptions, *next; at != NULL; at = next) {
        next = at->next;
        drain(at, timeout_ms);
    }
    if (--service->draining == 0)
        service_drained(service);
}

void inbound_forget_listeners(struct service *service) {
    while (service->subscriptions != NULL) {
        struct subscription *subscription = service->subscriptions;
        link_unsubscribe(subscription->sub);
        free_subscription(subscription);
    }
}

/* ---- what a job tells ---- */

struct service *job_service(const struct job *job) {
    return job->inbound->service;
}

struct message *job_msg(const struct job *job) {
    return job->inbound->msg;
}

void job_hold(struct job *job, struct job **holder) {
    job->holder = holder;
    *holder = job;
}

bool job_wants_reply(const struct job *job) {
    return !job->inbound->answered && job->inbound->msg->reply != NULL;
}

void job_answered(const struct job *job) {
    job->inbound->answered = true;
}

void job_failed(const struct job *job, int code, const char *text) {
    struct inbound *inbound = job->inbound;
    job->listener->failed++;
    if (inbound->error_code != 0)
        return;
    inbound->error_code = code;
    inbound->error_text = strdup(text);
}
