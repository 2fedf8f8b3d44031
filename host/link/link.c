/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a link, and what its parts have to do with each other: servers say whom to
 * dial, a dial gives a stream, subs, calls and outbox use it. Only this file knows all of them.
 */
#include "host/link/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "host/link/calls.h"
#include "host/link/dial.h"
#include "host/link/explain.h"
#include "host/link/info.h"
#include "host/link/interpose.h"
#include "host/link/outbox.h"
#include "host/link/put.h"
#include "host/link/refusal.h"
#include "host/link/servers.h"
#include "host/link/stream.h"
#include "host/link/strings.h"
#include "host/link/subs.h"
#include "host/link/wire.h"

#define CONNECT_TIMEOUT_MS 2000
#define PING_INTERVAL_MS 5000
#define MAX_LINE 4096
#define HIGH_WATER ((size_t)8 * 1024 * 1024)
#define LASTING_MS 5000u  /* a connection that held so long was a success */
#define LEFT_BEHIND_MAX 8 /* threads that are stuck in the resolver */
#define LEFT_BEHIND_MS 1000

struct link {
    uv_loop_t *loop;
    struct clock *clock; /* real */
    uv_idle_t idle;      /* active only while on_idle() has something to do */
    struct link_options options;
    struct strings strings; /* of the options */
    struct link_events events;
    void *owner;
    enum link_state state;
    struct list observers;
    struct list deferred;

    struct servers *servers;
    struct server *server; /* the one that is dialled or connected */
    struct dial *dial;     /* NULL: none under way */
    struct clock_timer retry_timer;

    struct stream *stream; /* NULL: not connected */
    struct info info;      /* of the connected server, and the last one */
    struct link_info told;
    uint64_t connected_at, last_read;
    struct clock_timer probe_timer;
    uint64_t pings, pongs; /* on this connection */
    bool probed, lame_duck;
    char complaint[256]; /* of the server, while it is not known whether it is the last word */
    char error[256];

    struct subs *subs;
    struct calls *calls;
    struct outbox *outbox;
    struct link_sub *inbox;
    bool inbox_denied;
    bool send_wanted;
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
static void dial_next(struct link *link);
static void lose(struct link *link, int status, const char *why);

static void copy_text(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text);
}

/* ---- one turn of the loop ---- */

static void on_idle(uv_idle_t *idle) {
    struct link *link = idle->data;
    uv_idle_stop(idle);
    if (link->closing && !link->close_begun)
        close_begin(link);
    subs_turn(link->subs);
    for (struct list_node *node; (node = list_pop_front(&link->deferred)) != NULL;) {
        struct link_deferred *deferred = list_item(node, struct link_deferred, node);
        deferred->fn(deferred);
    }
    bool send = link->send_wanted && link->stream != NULL;
    link->send_wanted = false;
    if (send)
        stream_send(link->stream);
    else if (link->stream == NULL || !stream_congested(link->stream))
        outbox_wake(link->outbox, LN_OK);
}

/*
 * Runs on_idle() before the loop blocks. An idle handle and not a prepare handle, because an
 * active one also keeps the loop from blocking when somebody's prepare callback publishes after
 * ours has run.
 */
static void want_turn(void *owner) {
    struct link *link = owner;
    if (!link->closed)
        uv_idle_start(&link->idle, on_idle);
}

void link_defer(struct link *link, struct link_deferred *deferred) {
    if (list_linked(&deferred->node))
        return;
    list_push_back(&link->deferred, &deferred->node);
    want_turn(link);
}

void link_defer_cancel(struct link_deferred *deferred) {
    list_remove(&deferred->node);
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

static void tell_error(struct link *link, int status, const char *text) {
    copy_text(link->error, sizeof(link->error), text);
    if (!link->closing && link->events.on_error != NULL)
        link->events.on_error(link->owner, status, text);
}

/* ---- connecting ---- */

static void on_retry(struct clock_timer *timer) {
    dial_next(container_of(timer, struct link, retry_timer));
}

/* The attempt to connect to link->server failed. */
static void failed(struct link *link, int status, const char *text) {
    char url[256], all[1024];
    server_url(link->server, url, sizeof(url));
    copy_text(link->error, sizeof(link->error), text);
    bool news = servers_failed(link->servers, link->server, clock_now(link->clock), text);
    bool give_up = link->state == LINK_CONNECTING && !link->options.retry && !link->closing;
    if (give_up && servers_all_failed(link->servers, all, sizeof(all))) {
        calls_fail_all(link->calls, status);
        set_state(link, LINK_CLOSED, status, all);
        return;
    }
    if (news && !give_up && !link->closing && link->events.on_retry != NULL)
        link->events.on_retry(link->owner, url, status, text);
    if (!link->closed)
        dial_next(link);
}

static struct outbox_limits limits_of(const struct link *link) {
    return (struct outbox_limits){
        .max_payload = link->info.max_payload > 0 ? (size_t)link->info.max_payload : 0,
        .max_line = link->options.max_control_line,
        .headers = link->info.headers,
    };
}

static void learn_info(struct link *link) {
    struct link_info *told = &link->told;
    server_url(link->server, told->url, sizeof(told->url));
    copy_text(told->server_id, sizeof(told->server_id), link->info.server_id);
    copy_text(told->client_ip, sizeof(told->client_ip), link->info.client_ip);
    told->client_id = link->info.client_id;
    told->max_payload = link->info.max_payload;
    servers_learn(link->servers, &link->info);
}

static size_t on_bytes(void *owner, const char *bytes, size_t len, size_t *wanted);
static void on_pending(void *owner);

static void on_read(void *owner) {
    struct link *link = owner;
    link->last_read = uv_now(link->loop);
    link->probed = false;
}

static void on_sent(void *owner) {
    struct link *link = owner;
    if (outbox_awaited(link->outbox) &&
        stream_unsent(link->stream) <= link->options.high_water / 2)
        outbox_wake(link->outbox, LN_OK);
}

static void on_lost(void *owner, const char *why) {
    struct link *link = owner;
    char text[512];
    int status = LN_EDISCONNECTED;
    copy_text(text, sizeof(text), why);
    if (link->complaint[0] != '\0' &&
        explain_error(link->complaint, text, sizeof(text)) == LN_EAUTH)
        status = LN_EAUTH;
    lose(link, status, text);
}

static const struct stream_events stream_events = {
    .on_bytes = on_bytes,
    .on_read = on_read,
    .on_pending = on_pending,
    .on_sent = on_sent,
    .on_lost = on_lost,
};

/* A stream is there. */
static void connected(struct link *link, bool tls) {
    link->connected_at = link->last_read = uv_now(link->loop);
    link->pings = link->pongs = 0;
    link->unsent = 0;
    link->probed = link->inbox_denied = link->send_wanted = link->lame_duck = false;
    link->complaint[0] = '\0';
    servers_connected(link->servers, link->server, tls);
    learn_info(link);
    struct outbox_limits limits = limits_of(link);
    bool subscribed = subs_connected(link->subs, link->stream);
    size_t refused = outbox_connected(link->outbox, link->stream, &limits);
    if (!subscribed) {
        lose(link, LN_ENOMEM, "out of memory");
        return;
    }
    if (refused > 0)
        tell_error(link, LN_ETOOLARGE,
                   "this server does not take some of the messages that were kept for it");
    clock_arm(link->clock, &link->probe_timer, link->options.ping_interval_ms);
    if (link->closing)
        link->close_begun = false; /* the flush of the close can be done now */
    set_state(link, LINK_CONNECTED, LN_OK, "");
    want_turn(link);
}

static void on_dialled(void *owner, struct dial_result *result) {
    struct link *link = owner;
    link->dial = NULL;
    if (result->status != LN_OK) {
        failed(link, result->status, result->text);
        return;
    }
    link->info = (struct info){0};
    info_read(result->info, result->info_len, &link->info);
    bool tls = result->ssl != NULL;
    int rc = stream_open(&link->stream, link->loop, result->fd, result->ssl,
                         link->options.high_water, &stream_events, link);
    if (rc == LN_OK)
        connected(link, tls);
    else
        failed(link, rc, status_text(rc));
    free(result->info);
}

static struct dial_target target_of(const struct link *link) {
    const struct link_options *o = &link->options;
    const struct server *server = link->server;
    bool own = server->user != NULL || server->token != NULL; /* the URL is nearer */
    return (struct dial_target){
        .host = server->host,
        .port = server->port,
        .tls = server->tls,
        .tls_first = o->tls_first,
        .tls_name = o->tls_name != NULL ? o->tls_name : server->tls_host,
        .ca = o->tls_ca,
        .cert = o->tls_cert,
        .key = o->tls_key,
        .name = o->name,
        .user = own ? server->user : o->user,
        .password = own ? server->password : o->password,
        .token = own ? server->token : o->token,
        .creds = o->creds,
        .nkey = o->nkey,
        .timeout_ms = o->connect_timeout_ms,
    };
}

static void dial_next(struct link *link) {
    uint64_t wait = 0, now = clock_now(link->clock);
    link->server = servers_next(link->servers, now, &wait);
    if (wait == 0 && dial_left_behind() >= LEFT_BEHIND_MAX)
        wait = LEFT_BEHIND_MS;
    if (wait > 0) {
        clock_arm(link->clock, &link->retry_timer, wait);
        return;
    }
    struct dial_target target = target_of(link);
    int rc = link->server->fault != NULL
                 ? LN_EINVAL
                 : dial_start(&link->dial, link->loop, link->clock, &target, on_dialled, link);
    if (rc != LN_OK)
        failed(link, rc, link->server->fault != NULL ? link->server->fault : status_text(rc));
}

/* ---- losing ---- */

static void lose(struct link *link, int status, const char *why) {
    uint64_t now = uv_now(link->loop);
    link->unsent = stream_unsent(link->stream);
    subs_disconnected(link->subs);
    outbox_disconnected(link->outbox);
    stream_close(link->stream, false);
    link->stream = NULL;
    copy_text(link->error, sizeof(link->error), why);
    clock_disarm(link->clock, &link->probe_timer);
    servers_lost(link->servers, clock_now(link->clock), now - link->connected_at >= LASTING_MS);
    if (!link->closing)
        link->state = LINK_DISCONNECTED; /* calls made by the callbacks below fail at once */
    calls_fail_all(link->calls, link->closing ? LN_ECLOSED : LN_EDISCONNECTED);
    if (link->closing) {
        close_end(link); /* what was written last is lost with the connection */
        return;
    }
    link->reconnects++;
    dial_next(link);
    set_state(link, LINK_DISCONNECTED, status, why);
    want_turn(link);
}

void link_partition(struct link *link, uint32_t ms) {
    if (link->closing)
        return;
    servers_hold(link->servers, clock_now(link->clock) + ms);
    if (link->stream != NULL) {
        stream_cut(link->stream);
    } else if (link->dial == NULL) {
        dial_next(link);
    }
}

/* ---- round trips ---- */

static uint64_t ping(void *owner) {
    struct link *link = owner;
    char *at = stream_reserve(link->stream, 6);
    if (at == NULL)
        return 0;
    stream_commit(link->stream, put(at, "PING\r\n", 6));
    return ++link->pings;
}

static void on_pending(void *owner) {
    struct link *link = owner;
    if (link->send_wanted)
        return;
    link->send_wanted = true;
    want_turn(link);
}

/*
 * Finds half-open connections: after a silence of one interval the server has to say something,
 * after another one the connection is given up. Every read counts as a sign of life.
 */
static void on_probe(struct clock_timer *timer) {
    struct link *link = container_of(timer, struct link, probe_timer);
    uint64_t silence = uv_now(link->loop) - link->last_read;
    uint64_t interval = link->options.ping_interval_ms;
    if (link->stream == NULL)
        return;
    if (silence < interval) {
        clock_arm(link->clock, timer, interval - silence);
    } else if (!link->probed) {
        link->probed = true;
        ping(link);
        clock_arm(link->clock, timer, interval);
    } else {
        lose(link, LN_EDISCONNECTED, "no sign of life from the server");
    }
}

/* ---- what the server says ---- */

static bool is_inbox(const struct link *link, const char *subject) {
    return strcmp(subject, calls_inbox(link->calls)) == 0;
}

static void on_refusal(struct link *link, const struct refusal *refusal, const char *text) {
    if (refusal->kind == REFUSAL_PUBLISH) {
        if (refusal->subject != NULL)
            calls_fail_subject(link->calls, refusal->subject, strlen(refusal->subject),
                               LN_EPERMISSION);
        tell_error(link, LN_EPERMISSION, text);
    } else if (refusal->subject != NULL && is_inbox(link, refusal->subject)) {
        link->inbox_denied = true;
        calls_fail_requests(link->calls, LN_EINBOX);
        tell_error(link, LN_EINBOX, status_text(LN_EINBOX));
    } else if (subs_refused(link->subs, refusal->subject, refusal->queue, LN_EPERMISSION,
                            text) == 0) {
        tell_error(link, LN_EPERMISSION, text);
    }
}

static void on_server_error(struct link *link, const struct wire_frame *frame) {
    char *text = strndup(frame->text, frame->text_len);
    struct refusal refusal;
    refusal_read(frame->text, frame->text_len, &refusal);
    if (refusal.kind != REFUSAL_NONE)
        on_refusal(link, &refusal, text != NULL ? text : "permissions violation");
    else
        snprintf(link->complaint, sizeof(link->complaint), "%.*s", (int)frame->text_len,
                 frame->text);
    free(refusal.memory);
    free(text);
}

static void on_info(struct link *link, const struct wire_frame *frame) {
    if (!info_read(frame->text, frame->text_len, &link->info))
        return; /* what it was before is still the best that is known */
    learn_info(link);
    struct outbox_limits limits = limits_of(link);
    outbox_set_limits(link->outbox, &limits);
    bool news = link->info.lame_duck && !link->lame_duck;
    link->lame_duck = link->info.lame_duck;
    if (news && !link->closing && link->events.on_lame_duck != NULL)
        link->events.on_lame_duck(link->owner);
}

static void on_pong(struct link *link) {
    if (link->pongs < link->pings)
        link->pongs++;
    subs_on_pong(link->subs, link->pongs);
    calls_on_pong(link->calls, link->pongs);
}

static void on_ping(struct link *link) {
    char *at = stream_reserve(link->stream, 6);
    if (at != NULL)
        stream_commit(link->stream, put(at, "PONG\r\n", 6));
}

/* Frames that are no messages, which are few. */
static void on_word(struct link *link, enum wire_kind kind, const struct wire_frame *frame) {
    if (kind != WIRE_ERR && link->complaint[0] != '\0') { /* the connection goes on */
        char text[sizeof(link->complaint)];
        copy_text(text, sizeof(text), link->complaint);
        link->complaint[0] = '\0';
        tell_error(link, LN_ENATS, text);
    }
    if (kind == WIRE_ERR)
        on_server_error(link, frame);
    else if (kind == WIRE_INFO)
        on_info(link, frame);
    else if (kind == WIRE_PING)
        on_ping(link);
    else if (kind == WIRE_PONG)
        on_pong(link);
    else if (kind == WIRE_BAD)
        lose(link, LN_EDISCONNECTED, "what the server sends is not the protocol of NATS");
}

static size_t on_bytes(void *owner, const char *bytes, size_t len, size_t *wanted) {
    struct link *link = owner;
    struct stream *stream = link->stream;
    struct wire_frame frame;
    size_t at = 0;
    while (at < len && link->stream == stream) {
        enum wire_kind kind = wire_next(bytes + at, len - at, &frame);
        if (kind == WIRE_PART) {
            *wanted = frame.size;
            break;
        }
        at += frame.size;
        if (kind == WIRE_MSG)
            subs_deliver(link->subs, frame.sid, &frame.parts);
        else
            on_word(link, kind, &frame);
    }
    return at;
}

/* ---- publishing ---- */

static bool out_ok(const struct link_out *out, const char *reply) {
    if (out->subject == NULL || !link_subject_ok(out->subject, strlen(out->subject)) ||
        (reply != NULL && !link_subject_ok(reply, strlen(reply))))
        return false;
    for (size_t i = 0; i < out->header_count; i++) {
        const struct link_header *header = &out->headers[i];
        if (header->name == NULL || header->value == NULL ||
            !link_header_name_ok(header->name, strlen(header->name)) ||
            !link_header_value_ok(header->value, strlen(header->value)))
            return false;
    }
    return true;
}

static int check_out(struct link *link, const struct link_out *out, const char *reply) {
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (!out->checked && !out_ok(out, reply))
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

static bool queue_ok(const char *queue) {
    size_t len = strlen(queue);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)queue[i] <= 0x20 || queue[i] == 0x7f)
            return false;
    return len > 0;
}

int link_subscribe(struct link *link, const char *pattern,
                   const struct link_sub_options *options, link_msg_fn on_msg,
                   link_sub_error_fn on_error, void *owner, struct link_sub **out) {
    const char *queue = options != NULL ? options->queue : NULL;
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (pattern == NULL || on_msg == NULL || !link_pattern_ok(pattern, strlen(pattern)) ||
        (queue != NULL && !queue_ok(queue)))
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
    rc = publish(link, out, reply);
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
    calls_new_inbox(link->options.inbox_prefix, out);
}

/* ---- facts ---- */

size_t link_unsent(const struct link *link) {
    return link->unsent;
}

const char *link_last_error(const struct link *link) {
    return link->error;
}

void link_get_info(const struct link *link, struct link_info *out) {
    *out = link->told;
    if (link->stream == NULL)
        out->url[0] = out->server_id[0] = '\0';
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

static bool copy_options(struct link *link, const struct link_options *from) {
    struct link_options *o = &link->options;
    const char **const fields[] = {&o->name,    &o->user,     &o->password,    &o->token,
                                   &o->creds,   &o->nkey,     &o->tls_ca,      &o->tls_cert,
                                   &o->tls_key, &o->tls_name, &o->inbox_prefix};
    *o = *from;
    o->servers = NULL; /* link->servers has them */
    if (o->inbox_prefix == NULL)
        o->inbox_prefix = "_INBOX";
    if (o->connect_timeout_ms == 0)
        o->connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (o->ping_interval_ms == 0)
        o->ping_interval_ms = PING_INTERVAL_MS;
    if (o->max_control_line == 0)
        o->max_control_line = MAX_LINE;
    if (o->high_water == 0)
        o->high_water = HIGH_WATER;
    return strings_copy(&link->strings, fields, sizeof(fields) / sizeof(fields[0]));
}

static void free_memory(struct link *link) {
    subs_free(link->subs);
    calls_free(link->calls);
    outbox_free(link->outbox);
    servers_free(link->servers);
    strings_free(&link->strings);
    free(link);
}

static int open_parts(struct link *link, const struct link_options *options) {
    static const struct subs_events subs_events = {.ping = ping, .want_turn = want_turn};
    uint64_t random = uv_hrtime() ^ (uint64_t)(uintptr_t)link;
    if (!copy_options(link, options))
        return LN_ENOMEM;
    link->servers = servers_new(options->servers, options->server_count, random);
    link->calls = calls_new(link->options.inbox_prefix);
    link->outbox = outbox_new(link->options.max_control_line);
    link->subs = subs_new(link->clock, &subs_events, link);
    if (link->servers == NULL || link->calls == NULL || link->outbox == NULL ||
        link->subs == NULL)
        return LN_ENOMEM;
    subs_set_max_line(link->subs, link->options.max_control_line);
    return subs_add(link->subs, calls_inbox(link->calls), NULL, on_inbox_msg, NULL, link,
                    &link->inbox);
}

static bool options_ok(const struct link_options *options) {
    const char *prefix = options->inbox_prefix;
    return options->server_count > 0 && options->servers != NULL &&
           (prefix == NULL ||
            (link_subject_ok(prefix, strlen(prefix)) && strlen(prefix) <= 64));
}

static void on_close_timer(struct clock_timer *timer) {
    close_end(container_of(timer, struct link, close_timer));
}

int link_open(struct link **out, uv_loop_t *loop, struct clock *clock,
              const struct link_options *options, const struct link_events *events,
              void *owner) {
    if (!options_ok(options))
        return LN_EINVAL;
    interpose_open_nats();
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return LN_ENOMEM;
    link->loop = loop;
    link->clock = clock;
    link->owner = owner;
    if (events != NULL)
        link->events = *events;
    link->retry_timer.fire = on_retry;
    link->probe_timer.fire = on_probe;
    link->close_timer.fire = on_close_timer;
    int rc = open_parts(link, options);
    if (rc != LN_OK) {
        free_memory(link);
        return rc;
    }
    uv_idle_init(loop, &link->idle); /* cannot fail */
    link->idle.data = link;
    clock_arm(link->clock, &link->retry_timer, 0);
    *out = link;
    return LN_OK;
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle) {
    struct link *link = handle->data;
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
    if (link->dial != NULL)
        dial_abandon(link->dial);
    link->dial = NULL;
    calls_fail_all(link->calls, LN_ECLOSED);
    if (link->stream != NULL) {
        link->unsent = stream_unsent(link->stream);
        subs_disconnected(link->subs);
        outbox_disconnected(link->outbox);
        stream_close(link->stream, true);
        link->stream = NULL;
    }
    link->unsent += outbox_kept(link->outbox);
    while (list_pop_front(&link->deferred) != NULL)
        ;
    clock_disarm(link->clock, &link->retry_timer);
    clock_disarm(link->clock, &link->probe_timer);
    clock_disarm(link->clock, &link->close_timer);
    uv_idle_stop(&link->idle);
    uv_close((uv_handle_t *)&link->idle, on_handle_closed);
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
