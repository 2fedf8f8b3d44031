/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of libpq on the loop. Its socket is polled; libpq may close it and open another
 * one in any call that connects, so that the poll is stopped before, and looked at behind, each
 * of them. Nothing here runs Lua but fiber_wake(), which comes last.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "bindings/modules/pg/internal.h"
#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/script/memory.h"

struct watched {
    uv_poll_t poll;
    struct conn *conn; /* NULL: it is being closed */
    int fd, events;
};

/* ---- its socket ---- */

static void on_poll_closed(uv_handle_t *handle) {
    free(container_of((uv_poll_t *)handle, struct watched, poll));
}

static void unwatch(struct conn *conn) {
    struct watched *watched = conn->watched;
    if (watched == NULL)
        return;
    conn->watched = NULL;
    watched->conn = NULL;
    uv_close((uv_handle_t *)&watched->poll, on_poll_closed);
}

static void on_event(uv_poll_t *poll, int status, int events);

static bool watch_anew(struct conn *conn, int fd) {
    struct watched *watched = calloc(1, sizeof(*watched));
    if (watched == NULL)
        return false;
    if (uv_poll_init_socket(script_loop(conn->script), &watched->poll, fd) < 0) {
        free(watched);
        return false;
    }
    watched->conn = conn;
    watched->fd = fd;
    conn->watched = watched;
    return true;
}

/* Tells libuv only of changes: it takes the socket out of epoll and in again each time. */
static bool watch(struct conn *conn, int events) {
    int fd = PQsocket(conn->pg);
    if (conn->watched != NULL && conn->watched->fd != fd)
        unwatch(conn);
    if (fd < 0 || (conn->watched == NULL && !watch_anew(conn, fd)))
        return false;
    struct watched *watched = conn->watched;
    if (watched->events == events)
        return true;
    watched->events = events;
    return uv_poll_start(&watched->poll, events, on_event) == 0;
}

/* An idle connection does not keep the loop alive. */
static void set_state(struct conn *conn, enum conn_state state) {
    conn->state = state;
    if (conn->watched == NULL)
        return;
    if (state == CONN_IDLE)
        uv_unref((uv_handle_t *)&conn->watched->poll);
    else
        uv_ref((uv_handle_t *)&conn->watched->poll);
}

/* ---- its end ---- */

static void count_unread(struct conn *conn, size_t bytes) {
    if (bytes > conn->unread)
        tally_add(conn->tally, bytes - conn->unread);
    else if (bytes < conn->unread)
        tally_remove(conn->tally, conn->unread - bytes);
    conn->unread = bytes;
}

/* What libpq has read of it is left in memory until the result ends: the poll must not see a
 * socket that is closed meanwhile. */
void conn_close(struct conn *conn, bool cancel) {
    if (conn->pg == NULL)
        return;
    if (cancel && conn->state == CONN_BUSY)
        cancel_start(conn->pg);
    unwatch(conn);
    resource_remove(&conn->resource);
    clock_disarm(script_clock(conn->script), &conn->timer);
    count_unread(conn, 0);
    conn->state = CONN_CLOSED;
    PQclear(conn->result);
    conn->result = NULL;
    PQfreemem(conn->note);
    conn->note = NULL;
    PQfinish(conn->pg);
    conn->pg = NULL;
    params_free(&conn->params);
}

bool conn_open(const struct conn *conn) {
    return conn->pg != NULL && !conn->ends;
}

void conn_close_soon(struct conn *conn) {
    if (!conn_open(conn))
        return;
    conn->ends = true;
    clock_arm(script_clock(conn->script), &conn->timer, 0);
}

static void wake(struct conn *conn, int status) {
    if (conn->fiber != NULL)
        fiber_wake(conn->fiber, status);
}

/* The last line of what libpq says is the latest; a wake tells who waits. */
static void lose(struct conn *conn, const char *why) {
    if (*conn->why == '\0')
        strncat(conn->why, why != NULL ? why : PQerrorMessage(conn->pg), sizeof(conn->why) - 1);
    conn->lost = true;
    struct fiber *fiber = conn->fiber;
    conn_close(conn, false);
    if (fiber != NULL)
        fiber_wake(fiber, LN_EDISCONNECTED);
}

static void on_script_end(struct script_resource *resource) {
    conn_close(container_of(resource, struct conn, resource), true);
}

/* ---- connecting ---- */

static void step(struct conn *conn) {
    if (conn->watched != NULL && conn->watched->events != 0) {
        conn->watched->events = 0;
        uv_poll_stop(&conn->watched->poll);
    }
    switch (PQconnectPoll(conn->pg)) {
    case PGRES_POLLING_READING:
        if (!watch(conn, UV_READABLE))
            lose(conn, "no memory");
        break;
    case PGRES_POLLING_WRITING:
        if (!watch(conn, UV_WRITABLE))
            lose(conn, "no memory");
        break;
    case PGRES_POLLING_OK:
        PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
        if (PQsetnonblocking(conn->pg, 1) < 0 || !watch(conn, UV_READABLE)) {
            lose(conn, "no memory");
            break;
        }
        set_state(conn, CONN_IDLE);
        wake(conn, LN_OK);
        break;
    default:
        lose(conn, NULL);
    }
}

/* NOTICE and WARNING of the server, and why it ends an idle connection. */
static void on_notice(void *owner, const PGresult *result) {
    const struct conn *conn = owner;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (severity == NULL || text == NULL)
        return;
    enum log_level level = strcmp(severity, "WARNING") == 0 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG;
    if (log_enabled(level))
        log_printf(level, service_name(script_service(conn->script)), "PostgreSQL: %s: %s",
                   severity, text);
}

static void end(struct conn *conn) {
    struct fiber *fiber = conn->fiber;
    conn_close(conn, true);
    if (fiber != NULL)
        fiber_wake(fiber, LN_EDISCONNECTED);
}

/* An idle one that was used meanwhile waits for the rest of its time. */
static void on_timer(struct clock_timer *timer) {
    struct conn *conn = container_of(timer, struct conn, timer);
    if (conn->ends) {
        end(conn);
        return;
    }
    struct clock *clock = script_clock(conn->script);
    uint64_t since = conn->state == CONN_IDLE ? clock_now(clock) - conn->idle_since : 0;
    if (since >= conn->idle_ms)
        conn_close(conn, false);
    else
        clock_arm(clock, timer, conn->idle_ms - since);
}

int conn_start(struct conn *conn, struct script *script, const char *const *keywords,
               const char *const *values) {
    conn->pg = PQconnectStartParams(keywords, values, 0);
    if (conn->pg == NULL)
        return LN_ENOMEM;
    conn->script = script;
    conn->tally = service_messages(script_service(script));
    conn->timer.fire = on_timer;
    conn->state = CONN_CONNECTING;
    conn->resource.close = on_script_end;
    script_add_resource(script, &conn->resource);
    if (PQstatus(conn->pg) != CONNECTION_BAD && watch(conn, UV_WRITABLE)) {
        PQsetNoticeReceiver(conn->pg, on_notice, conn);
        PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE); /* with the SQLSTATE */
        return LN_OK;
    }
    lose(conn, NULL);
    return LN_EDISCONNECTED;
}

/* ---- traffic ---- */

/* Of a row that is larger than what was read at once, what is there already. */
static void look_at_size(struct conn *conn, int waiting) {
    struct memory *memory = script_memory(conn->script);
    count_unread(conn, conn->unread + (size_t)(waiting > 0 ? waiting : 0));
    if (conn->unread > BULKY)
        conn->bulky = true;
    if (conn->unread > BULKY / 4 && memory_scarce(memory))
        lose(conn, "a row is larger than the memory that the service may use");
}

#define SMALL ((size_t)16 << 10) /* what libpq reads at once */

/* Whether what is there of the server's messages, as their headers say, ends with the one that
 * it is ready for the next query. */
static bool ends_ready(const unsigned char *at, size_t len) {
    while (len > 5) {
        uint32_t size = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 |
                        (uint32_t)at[4];
        if (size >= len)
            return false;
        if (*at == 'Z' && size + 1 == len)
            return true;
        at += size + 1;
        len -= size + 1;
    }
    return false;
}

static bool all_is_there(const struct conn *conn) {
    unsigned char bytes[SMALL];
    if (PQsslInUse(conn->pg) || PQgssEncInUse(conn->pg))
        return false;
    ssize_t len = recv(PQsocket(conn->pg), bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    return len > 0 && ends_ready(bytes, (size_t)len);
}

void conn_expect(struct conn *conn) {
    if (!conn->whole)
        PQsetSingleRowMode(conn->pg);
}

/* Before libpq reads any of it. */
static void look_at_answer(struct conn *conn) {
    conn->unanswered = false;
    conn->whole = all_is_there(conn);
    conn_expect(conn);
}

/* Reads what is there; OpenSSL may keep some of it, for which the poll never comes. */
static bool consume(struct conn *conn) {
    SSL *ssl = PQsslInUse(conn->pg) ? PQsslStruct(conn->pg, "OpenSSL") : NULL;
    bool fine = PQconsumeInput(conn->pg) == 1;
    while (fine && ssl != NULL && SSL_pending(ssl) > 0)
        fine = PQconsumeInput(conn->pg) == 1;
    return fine;
}

void conn_begin(struct conn *conn) {
    set_state(conn, CONN_BUSY);
    conn->unanswered = true;
}

bool conn_go(struct conn *conn) {
    int rest = PQflush(conn->pg);
    if (rest >= 0 && watch(conn, UV_READABLE | (rest > 0 ? UV_WRITABLE : 0)))
        return true;
    lose(conn, NULL);
    return false;
}

void conn_done(struct conn *conn) {
    count_unread(conn, 0);
    set_state(conn, CONN_IDLE);
}

static void on_answer(struct conn *conn) {
    int waiting = 0;
    if (conn->unanswered)
        look_at_answer(conn);
    if (conn->unread > 0)
        ioctl(PQsocket(conn->pg), FIONREAD, &waiting);
    if (!consume(conn)) {
        /* What the server has said before it went is a result, if it has said something. */
        if (PQisBusy(conn->pg))
            lose(conn, NULL);
        else
            unwatch(conn), wake(conn, LN_OK);
        return;
    }
    if (PQisBusy(conn->pg)) {
        look_at_size(conn, waiting > 0 ? waiting : 1);
        return;
    }
    count_unread(conn, 0);
    wake(conn, LN_OK);
}

static void on_unasked(struct conn *conn) {
    if (!consume(conn)) {
        lose(conn, NULL);
        return;
    }
    if (conn->fiber != NULL && conn->note == NULL)
        conn->note = PQnotifies(conn->pg);
    if (conn->fiber != NULL && conn->note != NULL) {
        wake(conn, LN_OK);
    } else if (conn->fiber == NULL) { /* somebody has said LISTEN in a query */
        for (PGnotify *note; (note = PQnotifies(conn->pg)) != NULL;)
            PQfreemem(note);
    }
}

static void on_event(uv_poll_t *poll, int status, int events) {
    struct watched *watched = container_of(poll, struct watched, poll);
    struct conn *conn = watched->conn;
    if (status < 0) { /* libpq finds it again, behind what the server has said before */
        int wanted = watched->events;
        watched->events = 0; /* libuv has stopped the poll */
        if (!watch(conn, wanted)) {
            lose(conn, NULL);
            return;
        }
    }
    if (conn->state == CONN_CONNECTING) {
        step(conn);
        return;
    }
    if (conn->state == CONN_BUSY && (events & UV_WRITABLE) != 0 && !conn_go(conn))
        return;
    if (status == 0 && (events & UV_READABLE) == 0)
        return;
    if (conn->state == CONN_BUSY)
        on_answer(conn);
    else
        on_unasked(conn);
}
