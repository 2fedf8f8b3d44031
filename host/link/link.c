/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a link, and what its parts have to do with each other: the dialler gives a
 * session, which subs, calls and outbox use. Only this file knows all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "host/link/answer.h"
#include "host/link/internal.h"

#define LASTING_MS 5000u /* a connection that held so long was a success */
#define WAKE_MAX 256     /* waiters at a time: together they may publish more than is taken */

static void close_begin(struct link *link);
static void close_end(struct link *link);
static void lose(void *owner, int status, const char *why);

/* ---- one turn of the loop ---- */

static void want_turn(void *owner) {
    struct link *link = owner;
    turn_want(&link->turn);
}

static void wake_waiters(struct link *link) {
    if (!outbox_awaited(link->outbox))
        return;
    outbox_wake(link->outbox, LN_OK, WAKE_MAX);
    if (outbox_awaited(link->outbox))
        want_turn(link);
}

static void on_turn(void *owner) {
    struct link *link = owner;
    if (link->closing && !link->close_begun)
        close_begin(link);
    subs_turn(link->subs);
    turn_run_deferred(&link->turn);
    if (link->stream != NULL && stream_unsent(link->stream) > 0)
        stream_send(link->stream);
    else
        wake_waiters(link);
}

void link_defer(struct link *link, struct link_deferred *deferred) {
    turn_defer(&link->turn, deferred);
}

/* ---- states ---- */

enum link_state link_state(const struct link *link) {
    return link->state;
}

bool link_is_connected(const struct link *link) {
    return link->state == LINK_CONNECTED;
}

void link_observe(struct link *link, struct link_observer *observer) {
    list_push_front(&link->observers, &observer->node);
}

const struct list *link_observers(const struct link *link) {
    return &link->observers;
}

void link_unobserve(struct link_observer *observer) {
    list_remove(&observer->node);
}

/* The next one of `walk`, which had all of them: who is told may end any of them. */
static struct link_observer *walk_on(struct link *link, struct list *walk) {
    struct list_node *node = list_pop_front(walk);
    if (node == NULL)
        return NULL;
    list_push_back(&link->observers, node);
    return list_item(node, struct link_observer, node);
}

static void set_state(struct link *link, enum link_state state, int status, const char *text) {
    if (link->closing)
        return;
    link->state = state;
    if (link->events.on_state != NULL)
        link->events.on_state(link->owner, state, status, text);
    struct list walk = {0};
    list_move(&walk, &link->observers);
    for (struct link_observer *at; (at = walk_on(link, &walk)) != NULL;)
        if (!link->closing && link->state == state)
            at->on_state(at, state);
}

static void tell_error(void *owner, int status, const char *text) {
    struct link *link = owner;
    link_copy_text(link->error, sizeof(link->error), text);
    if (!link->closing && link->events.on_error != NULL)
        link->events.on_error(link->owner, status, text);
}

/* ---- connecting ---- */

static void on_dial_failed(void *owner, const char *url, int status, const char *text,
                           bool news) {
    struct link *link = owner;
    char all[1024];
    link_copy_text(link->error, sizeof(link->error), text);
    bool give_up = link->state == LINK_CONNECTING && !link->options.retry;
    if (give_up && dialler_has_failed(link->dialler, all, sizeof(all))) {
        dialler_stop(link->dialler);
        calls_fail_all(link->calls, status);
        set_state(link, LINK_CLOSED, status, all);
    } else if (news && !give_up && !link->closing && link->events.on_retry != NULL) {
        link->events.on_retry(link->owner, url, status, text);
    }
}

static void on_sent(void *owner) {
    struct link *link = owner;
    if (stream_unsent(link->stream) <= link_publish_mark(link) / 2)
        wake_waiters(link);
    subs_sent(link->subs);
}

/* A session is there. */
static void connected(struct link *link) {
    link->unsent = 0;
    link->inbox_denied = link->lame_duck = false;
    dialler_learn(link->dialler, &link->info, link->options.tls_first);
    bool subscribed = subs_connected(link->subs, link->stream);
    size_t refused = outbox_connected(link->outbox, link->stream, &link->info);
    if (!subscribed) {
        lose(link, LN_ENOMEM, "out of memory");
        return;
    }
    if (refused > 0)
        tell_error(link, LN_ETOOLARGE,
                   "this server does not take some of the messages that were kept for it");
    if (link->closing)
        link->close_begun = false; /* the flush of the close can be done now */
    set_state(link, LINK_CONNECTED, LN_OK, "");
    want_turn(link);
}

static const struct session_events session_events;

static void on_dialled(void *owner, struct dial_result *result) {
    struct link *link = owner;
    const struct link_options *o = &link->options;
    link->info = (struct info){0};
    info_read(result->info, result->info_len, &link->info);
    int rc =
        session_open(&link->session, link->loop, link->clock, result->fd, result->ssl,
                     &link->info, o->high_water, o->ping_interval_ms, &session_events, link);
    if (rc == LN_OK) {
        link->stream = session_stream(link->session);
        connected(link);
    } else {
        dialler_lost(link->dialler, false);
    }
    free(result->info);
}

/* ---- losing ---- */

static void drop_session(struct link *link, bool orderly) {
    if (link->session == NULL)
        return;
    link->unsent = stream_unsent(link->stream);
    subs_disconnected(link->subs);
    outbox_disconnected(link->outbox);
    session_close(link->session, orderly);
    link->session = NULL;
    link->stream = NULL;
}

static void lose(void *owner, int status, const char *why) {
    struct link *link = owner;
    bool lasted = session_age(link->session) >= LASTING_MS;
    drop_session(link, false);
    link_copy_text(link->error, sizeof(link->error), why);
    if (!link->closing)
        link->state = LINK_DISCONNECTED; /* calls made by the callbacks below fail at once */
    calls_fail_all(link->calls, link->closing ? LN_ECLOSED : LN_EDISCONNECTED);
    if (link->closing) {
        close_end(link); /* what was written last is lost with the connection */
        return;
    }
    link->reconnects++;
    dialler_lost(link->dialler, lasted);
    set_state(link, LINK_DISCONNECTED, status, why);
    want_turn(link);
}

void link_partition(struct link *link, uint32_t ms) {
    if (link->closing)
        return;
    dialler_hold(link->dialler, ms);
    if (link->stream != NULL)
        stream_cut(link->stream);
}

/* ---- round trips ---- */

static uint64_t ping(void *owner) {
    struct link *link = owner;
    return session_ping(link->session);
}

/* ---- what the server says ---- */

static void on_message(void *owner, uint64_t sid, const struct message_parts *parts) {
    struct link *link = owner;
    subs_deliver(link->subs, sid, parts);
}

static bool is_prompt(void *owner, uint64_t sid) {
    const struct link *link = owner;
    return subs_is_prompt(link->subs, sid);
}

/* No reply can come. */
static void on_inbox_refused(void *owner, int status, const char *text) {
    struct link *link = owner;
    (void)status, (void)text;
    link->inbox_denied = true;
    calls_fail_requests(link->calls, LN_EINBOX);
    tell_error(link, LN_EINBOX, status_text(LN_EINBOX));
}

/* Requests that are no calls: their answers come to an inbox of whoever observes. */
static void tell_denied(struct link *link, const char *subject, const char *text) {
    struct list walk = {0};
    list_move(&walk, &link->observers);
    for (struct link_observer *at; (at = walk_on(link, &walk)) != NULL;)
        if (!link->closing && at->on_denied != NULL)
            at->on_denied(at, subject, text);
}

static void on_refusal(void *owner, const struct refusal *refusal, const char *text) {
    struct link *link = owner;
    const char *subject = refusal->subject;
    if (refusal->kind == REFUSAL_PUBLISH) {
        if (subject != NULL) {
            calls_fail_subject(link->calls, subject, strlen(subject), LN_EPERMISSION);
            tell_denied(link, subject, text);
        }
        tell_error(link, LN_EPERMISSION, text);
    } else if (subs_refused(link->subs, subject, refusal->queue, LN_EPERMISSION, text) == 0) {
        tell_error(link, LN_EPERMISSION, text);
    }
}

static void on_info(void *owner, struct info *info) {
    struct link *link = owner;
    link->info = *info;
    dialler_learn(link->dialler, &link->info, true); /* inside of TLS, if there is any */
    outbox_set_limits(link->outbox, &link->info);
    bool news = link->info.lame_duck && !link->lame_duck;
    link->lame_duck = link->info.lame_duck;
    if (news && !link->closing && link->events.on_lame_duck != NULL)
        link->events.on_lame_duck(link->owner);
}

static void on_pong(void *owner, uint64_t number) {
    struct link *link = owner;
    subs_on_pong(link->subs, number);
    calls_on_pong(link->calls, number);
}

static const struct session_events session_events = {
    .on_msg = on_message,
    .is_prompt = is_prompt,
    .on_info = on_info,
    .on_pong = on_pong,
    .on_refusal = on_refusal,
    .on_error = tell_error,
    .on_pending = want_turn,
    .on_sent = on_sent,
    .on_lost = lose,
};

static void on_inbox_msg(void *owner, struct message *msg) {
    struct link *link = owner;
    calls_on_msg(link->calls, msg);
}

/* ---- opening ---- */

static int open_dialler(struct link *link, const struct link_options *o) {
    struct dial_target target = options_target(o);
    struct dialler_events dialler_events = {on_dialled, on_dial_failed, link};
    return dialler_open(&link->dialler, link->loop, link->clock, o->servers, o->server_count,
                        &target, &dialler_events);
}

static void free_memory(struct link *link) {
    subs_free(link->subs);
    calls_free(link->calls);
    outbox_free(link->outbox);
    free(link->api_prefix);
    dialler_close(link->dialler);
    free(link);
}

static int open_parts(struct link *link, const struct link_options *options) {
    static const struct subs_events subs_events = {.ping = ping, .want_turn = want_turn};
    link->options = options_with_defaults(options);
    link_copy_text(link->prefix, sizeof(link->prefix), link->options.inbox_prefix);
    if (options->api_prefix != NULL && answer_ok(options->api_prefix) &&
        asprintf(&link->api_prefix, "%s.", options->api_prefix) < 0) {
        link->api_prefix = NULL;
        return LN_ENOMEM;
    }
    link->calls = calls_new(link->prefix);
    link->outbox = outbox_new(link->options.max_control_line);
    link->subs = subs_new(link->clock, &subs_events, link);
    if (link->calls == NULL || link->outbox == NULL || link->subs == NULL)
        return LN_ENOMEM;
    subs_set_max_line(link->subs, link->options.max_control_line);
    subs_set_tally(link->subs, options->tally);
    outbox_set_tally(link->outbox, options->tally);
    int rc = LN_OK;
    if (!options->no_replies)
        rc = subs_add(link->subs, calls_inbox(link->calls), NULL, on_inbox_msg,
                      on_inbox_refused, link, &link->inbox);
    return rc == LN_OK ? open_dialler(link, &link->options) : rc;
}

static void on_close_timer(struct clock_timer *timer) {
    close_end(container_of(timer, struct link, close_timer));
}

bool link_may_answer(const struct link *link, const char *subject) {
    return answer_ok(subject) &&
           (link->api_prefix == NULL ||
            strncmp(subject, link->api_prefix, strlen(link->api_prefix)) != 0);
}

int link_open(struct link **out, uv_loop_t *loop, struct clock *clock,
              const struct link_options *options, const struct link_events *events,
              void *owner) {
    if (!options_ok(options))
        return LN_EINVAL;
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return LN_ENOMEM;
    link->loop = loop;
    link->clock = clock;
    link->owner = owner;
    if (events != NULL)
        link->events = *events;
    link->close_timer.fire = on_close_timer;
    int rc = open_parts(link, options);
    if (rc != LN_OK) {
        free_memory(link);
        return rc;
    }
    turn_open(&link->turn, loop, on_turn, link);
    *out = link;
    return LN_OK;
}

/* ---- closing ---- */

static void on_turn_closed(void *turn_owner) {
    struct link *link = turn_owner;
    void (*on_closed)(void *, size_t) = link->on_closed;
    void *owner = link->closed_owner;
    size_t unsent = link->unsent;
    if (link->kept)
        link->gone = true;
    else
        free_memory(link);
    if (on_closed != NULL)
        on_closed(owner, unsent);
}

void link_keep(struct link *link) {
    link->kept = true;
}

void link_free(struct link *link) {
    link->kept = false;
    if (link->gone)
        free_memory(link);
}

static void close_end(struct link *link) {
    if (link->closed)
        return;
    link->closed = true;
    link_call_cancel(&link->close_call);
    dialler_stop(link->dialler);
    calls_fail_all(link->calls, LN_ECLOSED);
    drop_session(link, true);
    link->unsent += outbox_kept(link->outbox);
    clock_disarm(link->clock, &link->close_timer);
    turn_close(&link->turn, on_turn_closed);
}

static void on_close_flushed(struct link_call *call, int status, struct message *reply) {
    struct link *link = container_of(call, struct link, close_call);
    (void)status, (void)reply;
    if (!link->closed)
        clock_arm(link->clock, &link->close_timer, 0); /* not from inside of a read */
}

/*
 * The first turn after link_close(). "Written" means that the server has processed it: closing
 * a socket with unread data in it resets the connection, and bytes in flight would be lost.
 */
static void close_begin(struct link *link) {
    link->close_begun = true;
    calls_fail_all(link->calls, LN_ECLOSED);
    outbox_wake(link->outbox, LN_ECLOSED, SIZE_MAX);
    bool flushing = link->stream != NULL && link->flush_ms > 0 &&
                    link_round_trip(link, &link->close_call, link->clock, link->flush_ms,
                                    on_close_flushed) == LN_OK;
    bool coming = link->stream == NULL && link->flush_ms > 0 && outbox_kept(link->outbox) > 0;
    if (!flushing && !coming)
        close_end(link);
}

void link_close(struct link *link, uint32_t flush_ms,
                void (*on_closed)(void *owner, size_t unsent), void *owner) {
    if (link->closing)
        return;
    if (link->state == LINK_CLOSED)
        flush_ms = 0; /* the first connection failed */
    link->closing = true;
    link->state = LINK_CLOSED;
    subs_stop(link->subs);
    link->flush_ms = flush_ms;
    link->on_closed = on_closed;
    link->closed_owner = owner;
    if (flush_ms > 0)
        clock_arm(link->clock, &link->close_timer, flush_ms);
    want_turn(link);
}
