/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/jetstream/status.h"
#include "host/link/message.h"

/* Codes of the server: "wrong last sequence", with and without the number. */
#define WRONG_LAST_SEQUENCE 10071
#define WRONG_LAST_SEQUENCE_CONSTANT 10164

#define ID_SIZE 160

/* One sending of the write under way. A second one follows while the first is not answered;
 * that stays open, as its answer may only be late. */
#define ATTEMPTS 2
struct attempt {
    struct link_call call; /* first: on_reply() casts */
    struct lease *lease;
};

struct lease {
    struct attempt attempts[ATTEMPTS];
    struct link *link;
    struct clock *clock;
    struct clock_timer renew, limit;
    struct lease_state state;
    uint64_t ttl_ms;
    bool releasing, over;
    void (*on_lost)(void *owner, const char *why);
    void *owner;
    char *subject, *value, *id; /* in `text` */
    char text[];
};

/* The loop's time may be that of the beginning of a long turn. */
static uint64_t now(const struct lease *lease) {
    return clock_is_manual(lease->clock) ? clock_now(lease->clock) : clock_precise() / 1000000;
}

static uint64_t end_of(const struct lease *lease) {
    return lease->state.confirmed + lease->ttl_ms * 2 / 3;
}

static uint64_t until(const struct lease *lease, uint64_t time) {
    uint64_t at = now(lease);
    return time > at ? time - at : 0;
}

static struct attempt *find_attempt(struct lease *lease, bool waits) {
    for (int i = 0; i < ATTEMPTS; i++)
        if (link_call_waits(&lease->attempts[i].call) == waits)
            return &lease->attempts[i];
    return NULL;
}

static void cancel_attempts(struct lease *lease) {
    for (int i = 0; i < ATTEMPTS; i++)
        link_call_cancel(&lease->attempts[i].call);
}

static void finish(struct lease *lease) {
    lease->over = true;
    cancel_attempts(lease);
    clock_disarm(lease->clock, &lease->renew);
    clock_disarm(lease->clock, &lease->limit);
}

static void lose(struct lease *lease, const char *why) {
    finish(lease);
    if (!lease->releasing)
        lease->on_lost(lease->owner, why);
}

/* ---- writing ---- */

static void send_release(struct lease *lease) {
    char revision[24];
    snprintf(revision, sizeof(revision), "%" PRId64, lease->state.revision);
    const struct link_header headers[] = {
        {"KV-Operation", "DEL"},
        {"Nats-Expected-Last-Subject-Sequence", revision},
    };
    struct link_out out = {.subject = lease->subject, .headers = headers, .header_count = 2};
    link_publish(lease->link, &out); /* without it the others wait for a while */
    finish(lease);
}

static void confirm(struct lease *lease, int64_t revision) {
    struct lease_state *state = &lease->state;
    cancel_attempts(lease);
    *state = (struct lease_state){
        .revision = revision, .number = state->number + 1, .confirmed = state->sent};
    clock_arm(lease->clock, &lease->limit, until(lease, end_of(lease)));
    clock_arm(lease->clock, &lease->renew, until(lease, state->confirmed + lease->ttl_ms / 3));
}

static void try_again(struct lease *lease) {
    clock_arm(lease->clock, &lease->renew, lease->ttl_ms / 12 + 1);
}

static void on_reply(struct link_call *call, int status, struct message *reply) {
    struct lease *lease = ((struct attempt *)call)->lease;
    struct js_pub_ack ack;
    int code = 0;
    bool stored = status == LN_OK && js_scan_pub_ack(reply->data, reply->len, &ack);
    int64_t revision = stored ? ack.seq : 0;
    if (status == LN_OK && !stored)
        code = js_refusal_code(reply->data, reply->len);
    message_free(reply);
    if (code == WRONG_LAST_SEQUENCE || code == WRONG_LAST_SEQUENCE_CONSTANT) {
        lose(lease, "somebody else has written its key");
    } else if (lease->releasing) {
        lease->state.revision = stored ? revision : lease->state.revision;
        send_release(lease);
    } else if (stored) {
        confirm(lease, revision);
    } else {
        try_again(lease);
    }
}

static void on_renew(struct clock_timer *timer) {
    struct lease *lease = container_of(timer, struct lease, renew);
    char revision[24], id[ID_SIZE];
    struct lease_state *state = &lease->state;
    snprintf(revision, sizeof(revision), "%" PRId64, state->revision);
    snprintf(id, sizeof(id), "%s.%" PRIu64, lease->id, state->number);
    const struct link_header headers[] = {
        {"Nats-Expected-Last-Subject-Sequence", revision},
        {"Nats-Msg-Id", id},
    };
    struct link_out out = {.subject = lease->subject,
                           .data = lease->value,
                           .len = strlen(lease->value),
                           .headers = headers,
                           .header_count = 2};
    struct attempt *attempt = find_attempt(lease, false);
    uint64_t began = now(lease);
    if (attempt == NULL)
        return;
    if (link_request(lease->link, &attempt->call, lease->clock, &out, (uint32_t)lease->ttl_ms,
                     on_reply) < 0) {
        try_again(lease);
        return;
    }
    if (state->sent == 0)
        state->sent = began;
    clock_arm(lease->clock, &lease->renew, lease->ttl_ms / 6 + 1);
}

static void on_limit(struct clock_timer *timer) {
    struct lease *lease = container_of(timer, struct lease, limit);
    if (lease_holds(lease)) /* the timer counts from the beginning of a turn */
        clock_arm(lease->clock, &lease->limit, until(lease, end_of(lease)));
    else
        lose(lease, "it could not be renewed in time");
}

/* ---- life ---- */

static char *put(char **at, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

int lease_open(struct lease **out, struct link *link, struct clock *clock,
               const struct lease_options *options) {
    size_t size = strlen(options->subject) + strlen(options->value) + strlen(options->id) + 3;
    struct lease *lease = calloc(1, sizeof(*lease) + size);
    if (lease == NULL)
        return LN_ENOMEM;
    char *at = lease->text;
    lease->subject = put(&at, options->subject);
    lease->value = put(&at, options->value);
    lease->id = put(&at, options->id);
    lease->link = link;
    lease->clock = clock;
    lease->ttl_ms = options->ttl_ms;
    for (int i = 0; i < ATTEMPTS; i++)
        lease->attempts[i].lease = lease;
    lease->state = options->state;
    lease->on_lost = options->on_lost;
    lease->owner = options->owner;
    lease->renew.fire = on_renew;
    lease->limit.fire = on_limit;
    uint64_t due = lease->state.sent > 0 ? 0 : lease->state.confirmed + lease->ttl_ms / 3;
    clock_arm(clock, &lease->limit, until(lease, end_of(lease)));
    clock_arm(clock, &lease->renew, until(lease, due));
    *out = lease;
    return LN_OK;
}

bool lease_holds(const struct lease *lease) {
    return !lease->over && !lease->releasing && now(lease) < end_of(lease);
}

void lease_get_state(const struct lease *lease, struct lease_state *out) {
    *out = lease->state;
}

void lease_release(struct lease *lease) {
    if (lease->over || lease->releasing)
        return;
    lease->releasing = true;
    clock_disarm(lease->clock, &lease->renew);
    clock_disarm(lease->clock, &lease->limit);
    if (find_attempt(lease, true) == NULL)
        send_release(lease);
}

void lease_close(struct lease *lease) {
    finish(lease);
    free(lease);
}
