/* SPDX-License-Identifier: Apache-2.0 */
/* What a link is used for: publishing, subscribing, requests; and what is known about it. */
#include <string.h>

#include "host/link/answer.h"
#include "host/link/internal.h"
#include "host/link/options.h"
#include "host/link/wire.h"

/* Bytes that one takes about without its buffers, with its dialler and session. */
#define LINK_BASE ((size_t)12 * 1024)

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
        link_copy_text(link->error, sizeof(link->error), "this server knows no headers");
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
    return link->stream != NULL && stream_unsent(link->stream) > link_publish_mark(link);
}

bool link_full(const struct link *link) {
    return link->stream != NULL && stream_congested(link->stream);
}

void link_set_high_water(struct link *link, size_t bytes) {
    link->options.high_water = options_high_water(bytes);
    if (link->stream != NULL)
        stream_set_high_water(link->stream, link->options.high_water);
    if (link->state != LINK_CLOSED)
        turn_want(&link->turn); /* there may be room for those that wait */
}

void link_wait(struct link *link, struct link_waiter *waiter) {
    outbox_wait(link->outbox, waiter);
    if (!link_congested(link) || link->state == LINK_CLOSED)
        turn_want(&link->turn);
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
    if (rc == LN_OK && (link->inbox_denied || link->inbox == NULL))
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

int link_round_trip(struct link *link, struct link_call *call, struct clock *clock,
                    uint32_t timeout_ms, link_reply_fn on_reply) {
    uint64_t number = session_ping(link->session);
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
    return link_round_trip(link, call, clock, timeout_ms, on_reply);
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
    if (link->session != NULL)
        dialler_url(link->dialler, out->url, sizeof(out->url));
    link_copy_text(out->server_id, sizeof(out->server_id),
                   link->session != NULL ? link->info.server_id : "");
    link_copy_text(out->version, sizeof(out->version),
                   link->session != NULL ? link->info.version : "");
    link_copy_text(out->client_ip, sizeof(out->client_ip), link->info.client_ip);
}

size_t link_memory(const struct link *link) {
    return LINK_BASE + calls_memory(link->calls) + outbox_memory(link->outbox) +
           (link->stream != NULL ? stream_memory(link->stream) : 0);
}

const struct tally *link_tally(const struct link *link) {
    return link->options.tally;
}

void link_get_stats(const struct link *link, struct link_stats *out) {
    *out = (struct link_stats){.reconnects = link->reconnects};
    subs_received(link->subs, &out->in_msgs, &out->in_bytes);
    outbox_sent(link->outbox, &out->out_msgs, &out->out_bytes);
    out->dropped = subs_dropped(link->subs);
    out->buffered =
        link->stream != NULL ? stream_unsent(link->stream) : outbox_kept(link->outbox);
    out->subscriptions = subs_count(link->subs) - (link->inbox != NULL); /* which is our own */
    out->calls = calls_count(link->calls);
}
