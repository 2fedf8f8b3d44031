/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a link, and what its parts have to do with each other: the dialler gives a
 * session, which subs, calls and outbox use. Only this file knows all of them.
 */
#include "host/link/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/dial/dialler.h"
#include "host/link/answer.h"
#include "host/link/calls.h"
#include "host/link/options.h"
#include "host/link/outbox.h"
#include "host/link/session.h"
#include "host/link/subs.h"
#include "host/link/turn.h"
#include "host/link/wire.h"

#define LASTING_MS 5000u /* a connection that held so long was a success */

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
    uint32_t flush_ms;
    struct link_call close_call;
    struct clock_timer close_timer;
    void (*on_closed)(void *owner, size_t unsent);
    void *closed_owner;
};

static void close_begin(struct link *link);
static void close_end(struct link *link);
static void lose(void *owner, int status, const char *why);

static void copy_text(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text);
}

/* ---- one turn of the loop ---- */

static void on_turn(void *owner) {
    struct link *link = owner;
    if (link->closing && !link->close_begun)
        close_begin(link);
    subs_turn(link->subs);
    turn_run_deferred(&link->turn);
    if (link->stream != NULL && stream_unsent(link->stream) > 0)
        stream_send(link->stream);
    else
        outbox_wake(link->outbox, LN_OK);
}

static void want_turn(void *owner) {
    struct link *link = owner;
    turn_want(&link->turn);
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

static void set_state(struct link *link, enum link_state state, int status, const char *text) {
    if (link->closing)
        return;
    link->state = state;
    if (link->events.on_state != NULL)
        link->events.on_state(link->owner, state, status, text);
    struct list walk = {0};
    list_move(&walk, &link->observers);
    for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
        list_push_back(&link->observers, node);
        if (!link->closing && link->state == state) {
            struct link_observer *observer = list_item(node, struct link_observer, node);
            observer->on_state(observer, state);
        }
    }
}

static void tell_error(void *owner, int status, const char *text) {
    struct link *link = owner;
    copy_text(link->error, sizeof(link->error), text);
    if (!link->closing && link->events.on_error != NULL)
        link->events.on_error(link->owner, status, text);
}

/* ---- connecting ---- */

static void on_dial_failed(void *owner, const char *url, int status, const char *text,
                           bool news) {
    struct link *link = owner;
    char all[1024];
    copy_text(link->error, sizeof(link->error), text);
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
    if (outbox_awaited(link->outbox) &&
        stream_unsent(link->stream) <= link->options.high_water / 2)
        outbox_wake(link->outbox, LN_OK);
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
    copy_text(link->error, sizeof(link->error), why);
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

/* No reply can come. */
static void on_inbox_refused(void *owner, int status, const char *text) {
    struct link *link = owner;
    (void)status, (void)text;
    link->inbox_denied = true;
    calls_fail_requests(link->calls, LN_EINBOX);
    tell_error(link, LN_EINBOX, status_text(LN_EINBOX));
}

static void on_refusal(void *owner, const struct refusal *refusal, const char *text) {
    struct link *link = owner;
    const char *subject = refusal->subject;
    if (refusal->kind == REFUSAL_PUBLISH) {
        if (subject != NULL)
            calls_fail_subject(link->calls, subject, strlen(subject), LN_EPERMISSION);
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
    .on_info = on_info,
    .on_pong = on_pong,
    .on_refusal = on_refusal,
    .on_error = tell_error,
    .on_pending = want_turn,
    .on_sent = on_sent,
    .on_lost = lose,
};

/* ---- publishing ---- */

static int check_out(struct link *link, const struct link_out *out, const char *reply) {
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    bool empty = out->subject == NULL || *out->subject == '\0';
    if (empty || (!out->checked && !link_out_ok(out, reply)))
        return LN_EINVAL;
    if (out->len > WIRE_PAYLOAD_MAX)
        return LN_ETOOLARGE;
    if (link->tap != NULL)
        link->tap(link->tap_owner, out);
    return LN_OK;
}

static int publish(struct link *link, const struct link_out *out, const char *reply) {
    int rc = outbox_publish(link->outbox, out, reply);
    if (rc == LN_ENATS)
        copy_text(link->error, sizeof(link->error), "this server knows no headers");
    return rc;
}

int link_publish(struct link *link, const struct link_out *out) {
    const char *reply = out->reply != NULL && *out->reply != '\0' ? out->reply : NULL;
    int rc = check_out(link, out, reply);
    return rc == LN_OK ? publish(link, out, reply) : rc;
}

void link_set_tap(struct link *link, void (*tap)(void *owner, const struct link_out *out),
                  void *owner) {
    link->tap = tap;
    link->tap_owner = owner;
}

bool link_congested(const struct link *link) {
    return link->stream != NULL && stream_congested(link->stream);
}

void link_wait(struct link *link, struct link_waiter *waiter) {
    outbox_wait(link->outbox, waiter);
    if (!link_congested(link) || link->state == LINK_CLOSED)
        want_turn(link);
}

/* ---- subscribing ---- */

int link_subscribe(struct link *link, const char *pattern,
                   const struct link_sub_options *options, link_msg_fn on_msg,
                   link_sub_error_fn on_error, void *owner, struct link_sub **out) {
    const char *queue = options != NULL ? options->queue : NULL;
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (pattern == NULL || on_msg == NULL || !link_pattern_ok(pattern, strlen(pattern)) ||
        (queue != NULL && !link_queue_ok(queue)))
        return LN_EINVAL;
    return subs_add(link->subs, pattern, options, on_msg, on_error, owner, out);
}

/* ---- requests ---- */

static int request(struct link *link, struct link_call *call, struct clock *clock,
                   const struct link_out *out, uint32_t timeout_ms, bool many,
                   link_reply_fn on_reply) {
    const char *reply;
    if (link->state != LINK_CONNECTED && link->state != LINK_CLOSED)
        return LN_EDISCONNECTED;
    int rc = check_out(link, out, NULL);
    if (rc == LN_OK && link->inbox_denied)
        rc = LN_EINBOX;
    if (rc == LN_OK)
        rc = calls_begin(link->calls, call, clock, out->subject, timeout_ms, many, on_reply,
                         &reply);
    if (rc != LN_OK)
        return rc;
    rc = publish(link, out, out->reply != NULL ? out->reply : reply);
    if (rc != LN_OK)
        link_call_cancel(call);
    return rc;
}

int link_request(struct link *link, struct link_call *call, struct clock *clock,
                 const struct link_out *out, uint32_t timeout_ms, link_reply_fn on_reply) {
    return request(link, call, clock, out, timeout_ms, false, on_reply);
}

int link_request_many(struct link *link, struct link_call *call, struct clock *clock,
                      const struct link_out *out, uint32_t timeout_ms, link_reply_fn on_reply) {
    return request(link, call, clock, out, timeout_ms, true, on_reply);
}

static int flush(struct link *link, struct link_call *call, struct clock *clock,
                 uint32_t timeout_ms, link_reply_fn on_reply) {
    uint64_t number = ping(link);
    if (number == 0)
        return LN_ENOMEM;
    calls_begin_ping(link->calls, call, clock, number, timeout_ms, on_reply);
    return LN_OK;
}

int link_flush(struct link *link, struct link_call *call, struct clock *clock,
               uint32_t timeout_ms, link_reply_fn on_reply) {
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (link->state != LINK_CONNECTED)
        return LN_EDISCONNECTED;
    return flush(link, call, clock, timeout_ms, on_reply);
}

static void on_inbox_msg(void *owner, struct message *msg) {
    struct link *link = owner;
    calls_on_msg(link->calls, msg);
}

void link_new_inbox(struct link *link, char out[LINK_INBOX_SIZE]) {
    calls_new_inbox(link->prefix, out);
}

/* ---- facts ---- */

void link_send(struct link *link) {
    if (link->stream != NULL)
        stream_send(link->stream);
}

size_t link_unsent(const struct link *link) {
    return link->unsent;
}

const char *link_last_error(const struct link *link) {
    return link->error;
}

void link_get_info(const struct link *link, struct link_info *out) {
    *out = (struct link_info){.client_id = link->info.client_id,
                              .max_payload = link->info.max_payload};
    dialler_url(link->dialler, out->url, sizeof(out->url));
    copy_text(out->server_id, sizeof(out->server_id),
              link->session != NULL ? link->info.server_id : "");
    copy_text(out->version, sizeof(out->version),
              link->session != NULL ? link->info.version : "");
    copy_text(out->client_ip, sizeof(out->client_ip), link->info.client_ip);
}

void link_get_stats(const struct link *link, struct link_stats *out) {
    *out = (struct link_stats){.reconnects = link->reconnects};
    subs_received(link->subs, &out->in_msgs, &out->in_bytes);
    outbox_sent(link->outbox, &out->out_msgs, &out->out_bytes);
    out->dropped = subs_dropped(link->subs);
    out->buffered =
        link->stream != NULL ? stream_unsent(link->stream) : outbox_kept(link->outbox);
    out->subscriptions = subs_count(link->subs) - 1; /* the inbox is our own */
    out->calls = calls_count(link->calls);
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
    copy_text(link->prefix, sizeof(link->prefix), link->options.inbox_prefix);
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
    int rc = subs_add(link->subs, calls_inbox(link->calls), NULL, on_inbox_msg,
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
    free_memory(link);
    if (on_closed != NULL)
        on_closed(owner, unsent);
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
    outbox_wake(link->outbox, LN_ECLOSED);
    bool flushing =
        link->stream != NULL && link->flush_ms > 0 &&
        flush(link, &link->close_call, link->clock, link->flush_ms, on_close_flushed) == LN_OK;
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
