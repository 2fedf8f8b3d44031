/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/pull_internal.h"

#define IDLE_MAX 8 /* inboxes kept by a pull */

/* ---- memory ---- */

static void list_add(struct fetch **list, struct fetch *fetch) {
    fetch->next = *list;
    fetch->prev = list;
    if (*list != NULL)
        (*list)->prev = &fetch->next;
    *list = fetch;
}

static void list_remove(struct fetch *fetch) {
    *fetch->prev = fetch->next;
    if (fetch->next != NULL)
        fetch->next->prev = fetch->prev;
}

/* Takes it out of its list and frees it. */
static void destroy(struct fetch *fetch) {
    list_remove(fetch);
    fetch_unsubscribe(fetch);
    free(fetch->msgs);
    free(fetch);
}

static void maybe_free(struct pull *pull) {
    if (pull->closed && pull->fetches == NULL && pull->busy == 0)
        free(pull);
}

/* ---- connections come and go ---- */

static struct fetch *find_resume(struct pull *pull) {
    struct fetch *fetch = pull->fetches;
    while (fetch != NULL && (fetch->state == OVER || !fetch->resume))
        fetch = fetch->next;
    return fetch;
}

/* Asks again for all fetches. An owner may change the list, so each step looks anew. */
static void resume_all(struct pull *pull, int status) {
    struct fetch *fetch;
    pull->busy++;
    while ((fetch = find_resume(pull)) != NULL) {
        fetch->resume = false;
        if (status < 0)
            fetch_finish(fetch, status, NULL);
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
    for (struct fetch *fetch = pull->fetches; fetch != NULL; fetch = fetch->next) {
        if (fetch->state == OVER)
            continue;
        /* A request that the server still has must not find its inbox again. */
        fetch_unsubscribe(fetch);
        fetch->state = WAITING;
        fetch->heard = false;
        clock_disarm(fetch->clock, &fetch->heartbeat);
        clock_disarm(fetch->clock, &fetch->retry);
        fetch->resume = state == LINK_CONNECTED || state == LINK_CLOSED;
    }
    if (state == LINK_CONNECTED || state == LINK_CLOSED)
        resume_all(pull, state == LINK_CLOSED ? LN_ECLOSED : LN_OK);
}

/* ---- pulls ---- */

int pull_open(struct pull **out, struct link *link, const char *prefix, const char *stream,
              const char *consumer) {
    if (!js_name_ok(stream, strlen(stream)) || !js_name_ok(consumer, strlen(consumer)))
        return LN_EINVAL;
    static const char format[] = "%s.CONSUMER.MSG.NEXT.%s.%s";
    size_t size = sizeof(format) + strlen(prefix) + strlen(stream) + strlen(consumer);
    struct pull *pull = calloc(1, sizeof(*pull) + size);
    if (pull == NULL)
        return LN_ENOMEM;
    snprintf(pull->subject, size, format, prefix, stream, consumer);
    if (!link_subject_ok(pull->subject, strlen(pull->subject))) {
        free(pull);
        return LN_EINVAL;
    }
    pull->link = link;
    pull->observer.on_state = on_link_state;
    link_observe(link, &pull->observer);
    *out = pull;
    return LN_OK;
}

void pull_close(struct pull *pull) {
    pull->closed = true;
    link_unobserve(pull->link, &pull->observer);
    while (pull->idle != NULL)
        destroy(pull->idle);
    for (struct fetch *fetch = pull->fetches; fetch != NULL; fetch = fetch->next)
        fetch->resume = true;
    resume_all(pull, LN_ECLOSED);
}

static struct fetch *take_idle(struct pull *pull) {
    struct fetch *fetch = pull->idle;
    if (fetch == NULL) {
        fetch = calloc(1, sizeof(*fetch));
    } else {
        list_remove(fetch);
        pull->idle_count--;
    }
    if (fetch != NULL)
        list_add(&pull->fetches, fetch);
    return fetch;
}

int pull_fetch(struct pull *pull, struct clock *clock, const struct fetch_options *options,
               fetch_done_fn on_done, void *owner, struct fetch **out) {
    if (options->batch == 0 || options->batch > FETCH_BATCH_MAX)
        return LN_EINVAL;
    if (pull->closed)
        return LN_ECLOSED;
    struct fetch *fetch = take_idle(pull);
    if (fetch == NULL)
        return LN_ENOMEM;
    fetch->pull = pull;
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

void fetch_taken(struct fetch *fetch) {
    fetch->taken = true;
}

void fetch_free(struct fetch *fetch) {
    struct pull *pull = fetch->pull;
    fetch_stop_timers(fetch);
    for (size_t i = 0; i < fetch->count; i++)
        if (fetch->taken)
            message_free(fetch->msgs[i]);
        else
            fetch_give_back(pull->link, fetch->msgs[i]);
    fetch->count = 0;
    if (fetch->state == OVER && fetch->clean && fetch->sub != NULL && !pull->closed &&
        pull->idle_count < IDLE_MAX) {
        list_remove(fetch);
        list_add(&pull->idle, fetch);
        pull->idle_count++;
        fetch->state = IDLE;
        return;
    }
    destroy(fetch);
    maybe_free(pull);
}
