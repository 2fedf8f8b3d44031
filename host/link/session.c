/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/container_of.h"
#include "host/base/put.h"
#include "host/base/status.h"
#include "host/dial/explain.h"
#include "host/link/arrivals.h"
#include "host/link/turn.h"
#include "host/link/wire.h"

#define COMPLAINT_MS 1000 /* within which it is not told again */

struct session {
    uv_loop_t *loop;
    struct clock *clock;
    struct stream *stream;
    struct session_events events;
    void *owner;
    struct info info;
    uint64_t opened_at, last_life; /* loop time */
    uint64_t pings, pongs;
    uint32_t ping_interval;
    struct clock_timer probe;
    bool probed, closed;
    unsigned busy;    /* frames on the stack that use it */
    bool rest;        /* a turn of the loop was over before all that was read was handled */
    bool ahead;       /* this turn was for what goes ahead of them */
    uint64_t handled; /* bytes, in order */
    uint64_t seen;    /* bytes in which those that are prompt were handled */
    struct arrivals arrivals; /* on clock_precise() */
    char complaint[256];      /* of the server, until it is known whether it is the last word */
    char told[256];           /* the complaint that was told last, and when */
    uint64_t told_at;
};

static void leave(struct session *session) {
    if (--session->busy == 0 && session->closed)
        free(session);
}

static void lose(struct session *session, const char *why) {
    char text[512];
    int status = LN_EDISCONNECTED;
    snprintf(text, sizeof(text), "%s", why);
    if (session->complaint[0] != '\0' &&
        explain_error(session->complaint, text, sizeof(text)) == LN_EAUTH)
        status = LN_EAUTH;
    session->events.on_lost(session->owner, status, text);
}

/* ---- is it there? ---- */

static bool say(struct session *session, const char *word) {
    char *at = stream_reserve(session->stream, 6);
    if (at != NULL)
        stream_commit(session->stream, put(at, word, 6));
    return at != NULL;
}

uint64_t session_ping(struct session *session) {
    return say(session, "PING\r\n") ? ++session->pings : 0;
}

/*
 * Finds half-open connections: after a silence of one interval the server has to say something,
 * after another one the connection is given up. What it sends, and what it
 * takes when the socket was full, are signs of life.
 */
static void on_probe(struct clock_timer *timer) {
    struct session *session = container_of(timer, struct session, probe);
    uint64_t silence = uv_now(session->loop) - session->last_life;
    if (silence < session->ping_interval) {
        clock_arm(session->clock, timer, session->ping_interval - silence);
    } else if (!session->probed) {
        session->probed = true;
        session_ping(session);
        clock_arm(session->clock, timer, session->ping_interval);
    } else {
        lose(session, "no sign of life from the server");
    }
}

/* ---- what the server says ---- */

static void on_server_error(struct session *session, const struct wire_frame *frame) {
    char *text = strndup(frame->text, frame->text_len);
    struct refusal refusal;
    refusal_read(frame->text, frame->text_len, &refusal);
    if (refusal.kind != REFUSAL_NONE)
        session->events.on_refusal(session->owner, &refusal,
                                   text != NULL ? text : "permissions violation");
    else
        snprintf(session->complaint, sizeof(session->complaint), "%.*s", (int)frame->text_len,
                 frame->text);
    free(refusal.memory);
    free(text);
}

static void on_pong(struct session *session) {
    if (session->pongs < session->pings)
        session->events.on_pong(session->owner, ++session->pongs);
}

/* The connection goes on, so it was not the last word. A flood of the same is told once. */
static void tell_complaint(struct session *session) {
    char text[sizeof(session->complaint)];
    memcpy(text, session->complaint, sizeof(text));
    session->complaint[0] = '\0';
    bool again = strcmp(text, session->told) == 0 &&
                 uv_now(session->loop) - session->told_at < COMPLAINT_MS;
    if (again)
        return;
    memcpy(session->told, text, sizeof(text));
    session->told_at = uv_now(session->loop);
    session->events.on_error(session->owner, LN_ENATS, text);
}

/* Frames that are no messages, which are few. */
static void on_word(struct session *session, enum wire_kind kind,
                    const struct wire_frame *frame) {
    if (kind == WIRE_ERR)
        on_server_error(session, frame);
    else if (kind == WIRE_INFO && info_read(frame->text, frame->text_len, &session->info))
        session->events.on_info(session->owner, &session->info);
    else if (kind == WIRE_PING)
        say(session, "PONG\r\n");
    else if (kind == WIRE_PONG)
        on_pong(session);
    else if (kind == WIRE_BAD)
        lose(session, "what the server sends is not the protocol of NATS");
}

static bool is_prompt(struct session *session, enum wire_kind kind,
                      const struct wire_frame *frame) {
    return kind == WIRE_PING ||
           (kind == WIRE_MSG && session->events.is_prompt(session->owner, frame->sid));
}

static void on_frame(struct session *session, enum wire_kind kind, struct wire_frame *frame,
                     uint64_t received) {
    frame->parts.received = received;
    if (kind == WIRE_MSG)
        session->events.on_msg(session->owner, frame->sid, &frame->parts);
    else
        on_word(session, kind, frame);
}

/* Handles frames in order while there is time, and returns how many bytes they were. */
static size_t handle(struct session *session, const char *bytes, size_t len, size_t *wanted) {
    struct wire_frame frame;
    struct turn_time time;
    struct arrival arrival = {0};
    size_t at = 0;
    turn_begin(&time);
    arrivals_note(&session->arrivals, session->handled, session->handled + len, time.began);
    session->rest = false;
    while (at < len && !session->closed) {
        if (stream_congested(session->stream) || turn_is_over(&time)) {
            session->rest = true;
            *wanted = 1;
            break;
        }
        enum wire_kind kind = wire_next(bytes + at, len - at, &frame);
        if (kind == WIRE_PART) {
            *wanted = frame.size;
            break;
        }
        uint64_t position = session->handled + at;
        at += frame.size;
        if (session->complaint[0] != '\0')
            tell_complaint(session);
        if (session->closed)
            break;
        if (position >= arrival.end)
            arrival = arrivals_find(&session->arrivals, position);
        if (position >= session->seen || !is_prompt(session, kind, &frame))
            on_frame(session, kind, &frame, arrival.when);
    }
    session->handled += at;
    return at;
}

/* Handles what is prompt among the bytes that wait; returns whether there was something. */
static bool look_ahead(struct session *session, const char *bytes, size_t len) {
    struct wire_frame frame;
    struct turn_time time;
    size_t at = session->seen > session->handled ? session->seen - session->handled : 0;
    bool found = false;
    turn_begin(&time);
    arrivals_note(&session->arrivals, session->handled, session->handled + len, time.began);
    while (at < len && !session->closed && !turn_is_over(&time)) {
        enum wire_kind kind = wire_next(bytes + at, len - at, &frame);
        if (kind == WIRE_PART || kind == WIRE_BAD)
            break;
        uint64_t position = session->handled + at;
        at += frame.size;
        session->seen = session->handled + at;
        if (!is_prompt(session, kind, &frame))
            continue;
        on_frame(session, kind, &frame, arrivals_find(&session->arrivals, position).when);
        found = true;
    }
    return found;
}

/* What is answered ahead of others is sent before they are handled. */
static size_t on_bytes(void *owner, const char *bytes, size_t len, size_t *wanted) {
    struct session *session = owner;
    size_t used = 0;
    session->busy++;
    session->ahead = session->rest && !session->ahead && !stream_congested(session->stream) &&
                     look_ahead(session, bytes, len);
    if (session->ahead)
        *wanted = 1;
    else if (!session->closed)
        used = handle(session, bytes, len, wanted);
    leave(session);
    return used;
}

static void on_alive(void *owner) {
    struct session *session = owner;
    session->last_life = uv_now(session->loop);
    session->probed = false;
}

static void on_pending(void *owner) {
    struct session *session = owner;
    session->events.on_pending(session->owner);
}

static void on_sent(void *owner) {
    struct session *session = owner;
    session->events.on_sent(session->owner);
}

static void on_lost(void *owner, const char *why) {
    lose(owner, why);
}

/* ---- life ---- */

struct stream *session_stream(struct session *session) {
    return session->stream;
}

uint64_t session_age(const struct session *session) {
    return uv_now(session->loop) - session->opened_at;
}

int session_open(struct session **out, uv_loop_t *loop, struct clock *clock, int fd, SSL *ssl,
                 const struct info *info, size_t high_water, uint32_t ping_interval_ms,
                 const struct session_events *events, void *owner) {
    static const struct stream_events stream_events = {
        .on_bytes = on_bytes,
        .on_alive = on_alive,
        .on_pending = on_pending,
        .on_sent = on_sent,
        .on_lost = on_lost,
    };
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        SSL_free(ssl);
        close(fd);
        return LN_ENOMEM;
    }
    int rc = stream_open(&session->stream, loop, fd, ssl, high_water, &stream_events, session);
    if (rc != LN_OK) {
        free(session);
        return rc;
    }
    session->loop = loop;
    session->clock = clock;
    session->events = *events;
    session->owner = owner;
    session->info = *info;
    session->ping_interval = ping_interval_ms;
    session->opened_at = session->last_life = uv_now(loop);
    session->probe.fire = on_probe;
    clock_arm(clock, &session->probe, ping_interval_ms);
    *out = session;
    return LN_OK;
}

void session_close(struct session *session, bool orderly) {
    clock_disarm(session->clock, &session->probe);
    stream_close(session->stream, orderly);
    session->closed = true;
    session->busy++;
    leave(session);
}
