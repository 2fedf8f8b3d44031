/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a link: opening, the states, what the server says, closing.
 */
#include "host/base/container_of.h"
#include "host/link/internal.h"
#include "host/link/nkey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MAX_MS 4000u
#define LASTING_MS 5000u /* a connection that held so long was a success */

static void close_begin(struct link *link);
static void close_kill(struct link *link);
static void retry_later(struct link *link);

static void keep_error(struct link *link, const char *text) {
    copy_text(link->error, sizeof(link->error), text);
}

/* ---- one turn of the loop ---- */

void link_defer(struct link *link, struct link_deferred *deferred) {
    if (deferred->prev != NULL)
        return;
    deferred->next = link->deferred;
    deferred->prev = &link->deferred;
    if (deferred->next != NULL)
        deferred->next->prev = &deferred->next;
    link->deferred = deferred;
    link_want_turn(link);
}

void link_defer_cancel(struct link_deferred *deferred) {
    if (deferred->prev == NULL)
        return;
    *deferred->prev = deferred->next;
    if (deferred->next != NULL)
        deferred->next->prev = deferred->prev;
    deferred->next = NULL;
    deferred->prev = NULL;
}

static void run_deferred(struct link *link) {
    while (link->deferred != NULL) {
        struct link_deferred *deferred = link->deferred;
        link_defer_cancel(deferred);
        deferred->fn(deferred);
    }
}

static void on_idle(uv_idle_t *idle) {
    struct link *link = idle->data;
    uv_idle_stop(idle);
    if (link->closing && !link->close_begun)
        close_begin(link);
    subs_turn(link);
    run_deferred(link);
    if (link->want_write && link->conn != NULL)
        conn_write(link->conn);
    else
        link_on_written(link);
}

/*
 * Runs on_idle() before the loop blocks. An idle handle and not a prepare handle, because an
 * active one also keeps the loop from blocking when somebody's prepare callback publishes after
 * ours has run.
 */
void link_want_turn(struct link *link) {
    if (!link->close_ended)
        uv_idle_start(&link->idle, on_idle);
}

/* ---- states ---- */

enum link_state link_state(const struct link *link) {
    return link->state;
}

bool link_is_connected(const struct link *link) {
    return link->state == LINK_CONNECTED;
}

void link_observe(struct link *link, struct link_observer *observer) {
    observer->next = link->observers;
    observer->prev = &link->observers;
    if (link->observers != NULL)
        link->observers->prev = &observer->next;
    link->observers = observer;
}

struct link_observer *link_observers(const struct link *link) {
    return link->observers;
}

void link_unobserve(struct link *link, struct link_observer *observer) {
    if (observer->prev == NULL)
        return;
    if (link->observing == observer)
        link->observing = observer->next;
    *observer->prev = observer->next;
    if (observer->next != NULL)
        observer->next->prev = observer->prev;
    observer->next = NULL;
    observer->prev = NULL;
}

static void set_state(struct link *link, enum link_state state, int status, const char *text) {
    if (link->closing)
        return;
    link->state = state;
    if (link->events.on_state != NULL)
        link->events.on_state(link->owner, state, status, text);
    struct link_observer *at = link->observers;
    for (; at != NULL && !link->closing && link->state == state; at = link->observing) {
        link->observing = at->next;
        at->on_state(at, state);
    }
    link->observing = NULL;
}

static uint64_t random_below(struct link *link, uint64_t bound) {
    link->random ^= link->random << 13;
    link->random ^= link->random >> 7;
    link->random ^= link->random << 17;
    return link->random % bound;
}

static void on_retry(struct clock_timer *timer) {
    struct link *link = container_of(timer, struct link, retry_timer);
    if (link->close_killed)
        return;
    if (conn_start(link) != LN_OK)
        retry_later(link);
}

/* Half of the delay is random, so that the clients of a restarted server do not come at once.
 */
static void retry_later(struct link *link) {
    uint64_t delay = BACKOFF_MAX_MS;
    if (link->attempts < 7)
        delay = BACKOFF_FIRST_MS << link->attempts;
    if (delay > BACKOFF_MAX_MS)
        delay = BACKOFF_MAX_MS;
    link->attempts++;
    delay = delay / 2 + random_below(link, delay / 2 + 1);
    uint64_t now = clock_now(link->clock);
    if (link->not_before > now + delay)
        delay = link->not_before - now;
    clock_arm(link->clock, &link->retry_timer, delay);
}

void link_partition(struct link *link, uint32_t ms) {
    if (link->closing)
        return;
    link->not_before = clock_now(link->clock) + ms;
    if (link->conn != NULL)
        shutdown(link->conn->fd, SHUT_RDWR); /* the next read event finds the end */
    else if (clock_armed(&link->retry_timer))
        retry_later(link);
}

/* ---- what became of connections ---- */

void link_on_connected(struct conn *conn) {
    struct link *link = conn->link;
    if (link->close_killed) {
        conn_kill(conn);
        return;
    }
    link->conn = conn;
    link->unwritten = link->unsent = 0;
    link->want_write = false;
    link->connected_at = clock_now(link->clock);
    link_learn_info(link, conn);
    link_learn_servers(link, conn);
    subs_connected(link);
    calls_connected(link);
    link_send_offline(link);
    clock_arm(link->clock, &link->probe_timer, link->ping_interval);
    if (link->closing)
        link->close_begun = false; /* the flush of the close can be done now */
    set_state(link, LINK_CONNECTED, LN_OK, "");
    link_want_turn(link);
}

void link_on_connect_failed(struct conn *conn) {
    struct link *link = conn->link;
    keep_error(link, conn->connect_text);
    if (link->closing) {
        if (!link->close_killed)
            retry_later(link); /* something published still waits for a connection */
    } else if (link->state == LINK_CONNECTING && !link->retry) {
        int status = link_map_status(conn->connect_status);
        calls_fail_all(link, status);
        set_state(link, LINK_CLOSED, status, conn->connect_text);
    } else {
        retry_later(link);
    }
}

/* Why a connection was lost; nats.c keeps the text of older errors around. */
static int loss_reason(struct conn *conn, char *text, size_t size) {
    const char *last = NULL;
    natsStatus status = natsConnection_GetLastError(conn->nats, &last);
    if (conn->why_lost != NULL) {
        copy_text(text, size, conn->why_lost);
        return LN_EDISCONNECTED;
    }
    bool auth = last != NULL && (strcasestr(last, "authoriz") != NULL ||
                                 strcasestr(last, "authentication") != NULL);
    if (last == NULL || *last == '\0' ||
        (!auth && status != NATS_ERR && status != NATS_CONNECTION_AUTH_FAILED))
        last = natsStatus_GetText(status);
    copy_text(text, size, last);
    if (auth)
        return LN_EAUTH;
    int mapped = link_map_status(status);
    return mapped == LN_OK ? LN_EDISCONNECTED : mapped;
}

void link_on_lost(struct conn *conn) {
    struct link *link = conn->link;
    char text[256];
    int status = loss_reason(conn, text, sizeof(text));
    conn->transport->add_stats(conn, &link->closed_stats);
    link->unsent = conn->transport->buffered(conn);
    link->conn = NULL;
    subs_disconnected(link);
    conn_kill(conn);
    link->unwritten = 0;
    link->want_write = false;
    keep_error(link, text);
    clock_disarm(link->clock, &link->probe_timer);
    if (!link->closing)
        link->state = LINK_DISCONNECTED; /* calls made by the callbacks below fail at once */
    calls_fail_all(link, link->closing ? LN_ECLOSED : LN_EDISCONNECTED);
    if (link->closing) {
        close_kill(link); /* what was written last is lost with the connection */
        return;
    }
    if (clock_now(link->clock) - link->connected_at >= LASTING_MS)
        link->attempts = 0;
    link->closed_stats.reconnects++;
    retry_later(link);
    set_state(link, LINK_DISCONNECTED, status, text);
    link_want_turn(link);
}

/* ---- word from the server ---- */

/* Finds the text between the quotes that follow `word`, case ignored. */
static const char *quoted(const char *text, const char *word, size_t *len) {
    const char *at = strcasestr(text, word);
    const char *open = at == NULL ? NULL : strchr(at, '"');
    const char *end = open == NULL ? NULL : strchr(open + 1, '"');
    if (open == NULL)
        return NULL;
    *len = end == NULL ? strlen(open + 1) : (size_t)(end - open - 1);
    return open + 1;
}

static void on_denied(struct link *link, const char *text) {
    size_t len = 0, queue_len = 0;
    const char *subject = quoted(text, "subscription to", &len);
    if (subject != NULL) {
        const char *queue = quoted(text, "using queue", &queue_len);
        if (calls_own_pattern(link, subject, len))
            calls_inbox_denied(link);
        else if (calls_own_subject(link, subject, len))
            calls_denied(link, subject, len);
        else
            subs_denied(link, subject, len, queue, queue_len, text);
        return;
    }
    subject = quoted(text, "publish", &len);
    if (subject != NULL && calls_own_subject(link, subject, len)) {
        calls_denied(link, subject, len);
        return;
    }
    if (subject != NULL)
        calls_denied(link, subject, len);
    if (link->events.on_error != NULL)
        link->events.on_error(link->owner, LN_EPERMISSION, text);
}

void link_on_notice(struct link *link, struct notice *notice) {
    struct conn *conn = notice->conn;
    if (conn != link->conn || conn == NULL)
        return; /* about a connection that is lost */
    if (notice->kind == NOTICE_SERVERS) {
        link_learn_servers(link, conn);
    } else if (notice->kind == NOTICE_LAME_DUCK) {
        if (!link->closing && link->events.on_lame_duck != NULL)
            link->events.on_lame_duck(link->owner);
    } else {
        keep_error(link, notice->text);
        if (notice->status == NATS_NOT_PERMITTED)
            on_denied(link, notice->text);
        else if (!link->closing && link->events.on_error != NULL)
            link->events.on_error(link->owner, link_map_status(notice->status), notice->text);
    }
}

/*
 * Finds half-open connections: after a silence of one interval the server has to say something,
 * after another one the socket is shut down. Every read counts as a sign of life.
 */
static void on_probe(struct clock_timer *timer) {
    struct link *link = container_of(timer, struct link, probe_timer);
    struct conn *conn = link->conn;
    if (conn == NULL)
        return;
    uint64_t silence = uv_now(link->loop) - link->last_read;
    if (silence < link->ping_interval) {
        clock_arm(link->clock, timer, link->ping_interval - silence);
    } else if (!link->probed) {
        link->probed = true;
        calls_probe(link);
        clock_arm(link->clock, timer, link->ping_interval);
    } else {
        conn->why_lost = "no sign of life from the server";
        link_on_lost(conn);
    }
}

/* ---- facts ---- */

size_t link_unsent(const struct link *link) {
    return link->unsent;
}

const char *link_last_error(const struct link *link) {
    return link->error;
}

void link_get_info(const struct link *link, struct link_info *out) {
    *out = link->info;
    if (link->conn == NULL)
        out->url[0] = out->server_id[0] = '\0';
}

void link_get_stats(const struct link *link, struct link_stats *out) {
    *out = link->closed_stats;
    if (link->conn != NULL) {
        link->conn->transport->add_stats(link->conn, out);
        out->buffered = link->conn->transport->buffered(link->conn);
    } else {
        out->buffered = link->offline_len;
    }
    out->subscriptions = link->sub_count - (link->inbox_sub != NULL ? 1 : 0);
    out->calls = link->call_count;
}

void link_new_inbox(struct link *link, char out[LINK_INBOX_SIZE]) {
    natsInbox *inbox = NULL;
    if (natsInbox_Create(&inbox) != NATS_OK) {
        out[0] = '\0';
        return;
    }
    const char *nuid = strrchr(inbox, '.');
    snprintf(out, LINK_INBOX_SIZE, "%s.%s", link->prefix, nuid == NULL ? inbox : nuid + 1);
    natsInbox_Destroy(inbox);
}

/* ---- opening ---- */

static bool copy_strings(struct link *link, const struct link_options *options) {
    link->prefix = strdup(options->inbox_prefix != NULL ? options->inbox_prefix : "_INBOX");
    link->servers = calloc(options->server_count, sizeof(*link->servers));
    if (link->prefix == NULL || link->servers == NULL)
        return false;
    for (size_t i = 0; i < options->server_count; i++) {
        link->servers[i] = strdup(options->servers[i]);
        if (link->servers[i] == NULL)
            return false;
        link->server_count++;
    }
    return true;
}

static void free_memory(struct link *link) {
    while (link->deferred != NULL)
        link_defer_cancel(link->deferred);
    subs_free(link);
    for (size_t i = 0; i < link->server_count; i++)
        free(link->servers[i]);
    free(link->servers);
    free(link->prefix);
    free(link->slots);
    free(link->flush_done);
    free(link->offline);
    natsStatistics_Destroy(link->stats);
    natsOptions_Destroy(link->options);
    uv_mutex_destroy(&link->mutex);
    free(link);
}

/* What needs no handle of the loop. */
static int open_nats(struct link *link, const struct link_options *options) {
    if (!copy_strings(link, options) || natsStatistics_Create(&link->stats) != NATS_OK ||
        natsOptions_Create(&link->options) != NATS_OK)
        return LN_ENOMEM;
    natsStatus s = link_set_options(link, options);
    if (s != NATS_OK)
        return link_failed(link, s);
    return calls_open(link);
}

static bool options_ok(const struct link_options *options) {
    const char *prefix = options->inbox_prefix;
    char key[NKEY_PUBLIC_SIZE];
    if (options->nkey != NULL && nkey_public_from_file(options->nkey, key) != LN_OK)
        return false;
    if (options->server_count == 0 || options->servers == NULL)
        return false;
    return prefix == NULL || (link_subject_ok(prefix, strlen(prefix)) && strlen(prefix) <= 64);
}

static void on_async(uv_async_t *async) {
    conn_on_async(async->data);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct link *link = handle->data;
    if (--link->handles > 0)
        return;
    void (*on_closed)(void *, size_t) = link->on_closed;
    void *owner = link->closed_owner;
    size_t unsent = link->unsent;
    free_memory(link);
    if (on_closed != NULL)
        on_closed(owner, unsent);
}

static int open_handles(struct link *link) {
    int rc = uv_async_init(link->loop, &link->async, on_async);
    if (rc < 0)
        return rc;
    link->async.data = link;
    uv_idle_init(link->loop, &link->idle); /* cannot fail */
    link->idle.data = link;
    link->handles = 2;
    return LN_OK;
}

int link_open(struct link **out, uv_loop_t *loop, const struct link_options *options,
              const struct link_events *events, void *owner) {
    if (!options_ok(options))
        return LN_EINVAL;
    link_open_library();
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return LN_ENOMEM;
    link->loop = loop;
    link->loop_thread = uv_thread_self();
    link->owner = owner;
    if (events != NULL)
        link->events = *events;
    link->retry = options->retry;
    link->connect_timeout =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : 2000;
    link->ping_interval = options->ping_interval_ms > 0 ? options->ping_interval_ms : 20000;
    link->high_water = options->high_water > 0 ? options->high_water : LINK_OFFLINE_MAX;
    link->random = uv_hrtime() ^ (uint64_t)(uintptr_t)link;
    link->notices_tail = &link->notices;
    link->retry_timer.fire = on_retry;
    link->probe_timer.fire = on_probe;
    link->dial_timer.fire = conn_on_dial_timer;
    int rc = uv_mutex_init(&link->mutex);
    if (rc < 0) {
        free(link);
        return rc;
    }
    rc = open_nats(link, options);
    if (rc != LN_OK)
        goto fail_memory;
    rc = clock_open(&link->clock, loop, false);
    if (rc != LN_OK)
        goto fail_memory;
    rc = open_handles(link);
    if (rc != LN_OK)
        goto fail_clock;
    rc = conn_start(link);
    if (rc != LN_OK)
        goto fail_handles;
    *out = link;
    return LN_OK;
fail_handles: /* the rest is freed with the handles */
    clock_close(link->clock);
    uv_close((uv_handle_t *)&link->async, on_handle_closed);
    uv_close((uv_handle_t *)&link->idle, on_handle_closed);
    return rc;
fail_clock:
    clock_close(link->clock);
fail_memory:
    free_memory(link);
    return rc;
}

/* ---- closing ---- */

/* Frees everything once no thread of nats.c can call in any more. */
void link_check_closed(struct link *link) {
    if (!link->close_killed || link->close_ended || link->conns != NULL)
        return;
    link->close_ended = true;
    clock_close(link->clock);
    uv_idle_stop(&link->idle);
    uv_close((uv_handle_t *)&link->async, on_handle_closed);
    uv_close((uv_handle_t *)&link->idle, on_handle_closed);
}

static void close_kill(struct link *link) {
    if (link->close_killed)
        return;
    link->close_killed = true;
    clock_disarm(link->clock, &link->close_timer);
    clock_disarm(link->clock, &link->retry_timer);
    clock_disarm(link->clock, &link->probe_timer);
    link_call_cancel(&link->close_call);
    conn_give_up(link);
    calls_fail_all(link, LN_ECLOSED);
    if (link->conn != NULL) {
        link->unsent = link->conn->transport->buffered(link->conn);
        subs_disconnected(link);
        conn_kill(link->conn);
        link->conn = NULL;
    }
    link->unsent += link->offline_len;
    uv_async_send(&link->async); /* link_check_closed(), not from inside of a walk over conns */
}

static void on_close_timer(struct clock_timer *timer) {
    close_kill(container_of(timer, struct link, close_timer));
}

static void on_close_flushed(struct link_call *call, int status, struct message *reply) {
    struct link *link = container_of(call, struct link, close_call);
    (void)status;
    (void)reply;
    if (!link->close_killed)
        clock_arm(link->clock, &link->close_timer, 0); /* not from inside a take */
}

/*
 * The first turn after link_close(). "Written" means that the server has processed it: closing
 * a socket with unread data in it resets the connection, and bytes in flight would be lost.
 */
static void close_begin(struct link *link) {
    link->close_begun = true;
    calls_fail_all(link, LN_ECLOSED);
    link_wake_waiters(link, LN_ECLOSED);
    subs_close(link);
    if (link->conn != NULL && link->flush_ms > 0) {
        if (calls_flush(link, &link->close_call, link->clock, link->flush_ms,
                        on_close_flushed) != LN_OK)
            close_kill(link);
    } else if (link->conn == NULL && link->flush_ms > 0 && link->offline_len > 0) {
        return; /* the connection may still come */
    } else {
        close_kill(link);
    }
}

void link_close(struct link *link, uint32_t flush_ms,
                void (*on_closed)(void *owner, size_t unsent), void *owner) {
    if (link->closing)
        return;
    if (link->state == LINK_CLOSED)
        flush_ms = 0; /* the first connection failed */
    link->closing = true;
    link->state = LINK_CLOSED;
    link->flush_ms = flush_ms;
    link->on_closed = on_closed;
    link->closed_owner = owner;
    link->close_timer.fire = on_close_timer;
    if (flush_ms > 0)
        clock_arm(link->clock, &link->close_timer, flush_ms);
    link_want_turn(link);
}
