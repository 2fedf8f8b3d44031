/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection on the loop: the thread in which nats.c connects, the adapter through which
 * nats.c tells what it wants from the socket, and the poll handle that drives the transport.
 *
 * With reconnecting switched off, the ping timer off and SendAsap on, nats.c has no thread of
 * its own for a connection. Foreign calls that remain: attach() from our connect thread,
 * write() from the short thread that nats.c starts for a drained subscription, and the
 * callbacks for errors, lame duck and "closed" from its one callback thread.
 */
#include "host/base/container_of.h"
#include "host/link/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DIAL_GRACE_MS 500 /* beyond the connect timeout, which nats.c sees to, mostly */

static bool on_loop(const struct conn *conn) {
    uv_thread_t self = uv_thread_self();
    return uv_thread_equal(&self, &conn->link->loop_thread) != 0;
}

/* ---- callbacks of nats.c, on a thread of its own ---- */

static void post(struct conn *conn, enum notice_kind kind, natsStatus status,
                 const char *text) {
    struct link *link = conn->link;
    struct notice *notice = calloc(1, sizeof(*notice));
    if (notice == NULL)
        return;
    notice->conn = conn;
    notice->kind = kind;
    notice->status = status;
    strncpy(notice->text, text != NULL ? text : "", sizeof(notice->text) - 1);
    uv_mutex_lock(&link->mutex);
    *link->notices_tail = notice;
    link->notices_tail = &notice->next;
    uv_async_send(&link->async);
    uv_mutex_unlock(&link->mutex);
}

static void on_nats_error(natsConnection *nats, natsSubscription *sub, natsStatus status,
                          void *closure) {
    const char *text = NULL;
    (void)sub;
    if (natsConnection_GetLastError(nats, &text) != status || text == NULL)
        text = natsStatus_GetText(status);
    /* The text of this very error is on the stack of this thread; the connection may have seen
     * a newer one already. */
    text = link_plain_text(text);
    natsStatus own = NATS_OK;
    const char *mine = link_plain_text(nats_GetLastError(&own));
    post(closure, NOTICE_ERROR, status,
         own == status && mine != NULL && *mine != '\0' ? mine : text);
}

static void on_nats_lame_duck(natsConnection *nats, void *closure) {
    (void)nats;
    post(closure, NOTICE_LAME_DUCK, NATS_OK, NULL);
}

static void on_nats_servers(natsConnection *nats, void *closure) {
    (void)nats;
    post(closure, NOTICE_SERVERS, NATS_OK, NULL);
}

/* The last callback that nats.c makes for a connection. */
static void on_nats_closed(natsConnection *nats, void *closure) {
    struct conn *conn = closure;
    struct link *link = conn->link;
    (void)nats;
    uv_mutex_lock(&link->mutex);
    conn->callbacks_done = true;
    uv_async_send(&link->async); /* within the lock: the loop may free the link after it */
    uv_mutex_unlock(&link->mutex);
}

/* ---- reading and writing, on the loop thread ---- */

static void after_event(struct conn *conn) {
    if (conn->lost && !conn->dead)
        link_on_lost(conn);
}

static void sign_of_life(struct link *link) {
    link->last_read = uv_now(link->loop);
    link->probed = false;
}

static void on_poll(uv_poll_t *handle, int status, int events);

/* What comes in makes replies, and those would pile up: from a server that does not take them
 * nothing more is read. */
static void poll_again(struct conn *conn) {
    bool stuffed = conn->full && link_congested(conn->link);
    int events = (conn->full ? UV_WRITABLE : 0) | (stuffed ? 0 : UV_READABLE);
    if (!conn->polling || conn->events == events)
        return;
    conn->events = events;
    uv_poll_start(&conn->poll, events, on_poll);
}

static void read_event(struct conn *conn) {
    struct link *link = conn->link;
    sign_of_life(link);
    conn->transport->read(conn);
    subs_after_read(link);
    after_event(conn);
    poll_again(conn);
}

void conn_want_write(struct conn *conn) {
    struct link *link = conn->link;
    if (link->want_write || link->conn != conn)
        return;
    link->want_write = true;
    link_want_turn(link);
}

void conn_write(struct conn *conn) {
    struct link *link = conn->link;
    link->want_write = false;
    conn->full = !conn->transport->write(conn);
    if (conn->lost) {
        after_event(conn);
        return;
    }
    link->unwritten = conn->full ? conn->transport->buffered(conn) : 0;
    poll_again(conn);
    link_on_written(link);
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct conn *conn = handle->data;
    if (status < 0)
        conn->events = 0; /* libuv has stopped the handle */
    /* An error of the socket is found by reading, once what came before it is read. */
    if (status < 0 || (events & UV_READABLE) != 0)
        read_event(conn);
    if (conn->polling && !conn->dead && (events & UV_WRITABLE) != 0) {
        sign_of_life(conn->link); /* it was full, and the peer has taken some */
        conn_write(conn);
    }
}

static void on_poll_closed(uv_handle_t *handle) {
    struct conn *conn = handle->data;
    conn->poll_open = false;
    conn_on_async(conn->link);
}

static void stop_polling(struct conn *conn) {
    if (!conn->polling)
        return;
    conn->polling = false;
    uv_poll_stop(&conn->poll); /* takes the descriptor out of epoll at once */
    uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
}

/* ---- what nats.c calls ---- */

/* From the connect thread, as the last step of connecting: the loop takes over later. */
static natsStatus adapter_attach(void **data, void *loop, natsConnection *nats, natsSock fd) {
    struct conn *conn = loop;
    (void)nats;
    conn->fd = (int)fd;
    conn->attached = true;
    *data = conn;
    return NATS_OK;
}

static natsStatus adapter_read(void *data, bool add) {
    struct conn *conn = data;
    if (!add && on_loop(conn))
        stop_polling(conn); /* nats.c closes the descriptor right after this */
    return NATS_OK;
}

static natsStatus adapter_write(void *data, bool add) {
    struct conn *conn = data;
    struct link *link = conn->link;
    if (!on_loop(conn)) {
        uv_mutex_lock(&link->mutex);
        conn->foreign_write = conn->foreign_write || add;
        uv_async_send(&link->async);
        uv_mutex_unlock(&link->mutex);
    } else if (!add) {
        conn->written = true;
    } else {
        conn->nats_wants = true;
        conn_want_write(conn);
    }
    return NATS_OK;
}

static natsStatus adapter_detach(void *data) {
    struct conn *conn = data;
    conn->lost = true;
    conn->attached = false;
    return NATS_OK;
}

/* ---- connecting ---- */

/*
 * nats.c before 3.8 waits for ever, in an endless loop that takes more and more memory, for a
 * server that falls silent behind its INFO (https://github.com/nats-io/nats.c/pull/707). Only
 * the end of the socket gets it out of there, and only connect() tells which socket that is: so
 * this file replaces the function of libc with one that keeps a copy of the descriptor, in the
 * threads that connect here.
 */
static _Thread_local struct conn *dialling;

static void note_dialled(struct conn *conn, int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    uv_mutex_lock(&conn->link->mutex);
    int old = conn->dialled;
    conn->dialled = copy;
    conn->dials++;
    uv_mutex_unlock(&conn->link->mutex);
    if (old >= 0)
        close(old);
}

/* Replaces the function of libc; see above. */
int connect(int fd, const struct sockaddr *address, socklen_t size) {
    if (dialling != NULL)
        note_dialled(dialling, fd);
    return (int)syscall(SYS_connect, fd, address, size);
}

static void hang_up_dialled(struct conn *conn) {
    uv_mutex_lock(&conn->link->mutex);
    if (conn->dialled >= 0)
        shutdown(conn->dialled, SHUT_RDWR);
    uv_mutex_unlock(&conn->link->mutex);
}

void conn_give_up(struct link *link) {
    if (link->connecting != NULL)
        hang_up_dialled(link->connecting);
}

/* Twice in a row the same socket: nats.c should have given it up long ago. */
void conn_on_dial_timer(struct clock_timer *timer) {
    struct link *link = container_of(timer, struct link, dial_timer);
    struct conn *conn = link->connecting;
    if (conn == NULL)
        return;
    uv_mutex_lock(&link->mutex);
    unsigned dials = conn->dials;
    uv_mutex_unlock(&link->mutex);
    if (dials > 0 && dials == conn->dials_seen)
        hang_up_dialled(conn);
    conn->dials_seen = dials;
    clock_arm(link->clock, timer, link->connect_timeout + DIAL_GRACE_MS);
}

/*
 * Before 3.8 nats.c forgets to send a signature that begins with a zero byte, one of 256
 * (https://github.com/nats-io/nats.c/pull/705), and is refused: the server's next nonce gets
 * another one.
 */
static natsStatus connect_signed(natsConnection **nats, const struct link *link) {
    int tries = link->signs && nats_GetVersionNumber() < 0x030800 ? 3 : 1;
    natsStatus status;
    do
        status = natsConnection_Connect(nats, link->options);
    while (status == NATS_CONNECTION_AUTH_FAILED && --tries > 0);
    return status;
}

/* Blocks (names, TCP, TLS, handshake), hence a thread of its own. */
static void connect_thread(void *arg) {
    struct conn *conn = arg;
    struct link *link = conn->link;
    natsConnection *nats = NULL;
    dialling = conn;
    natsStatus status = connect_signed(&nats, link);
    dialling = NULL;
    const char *text = NULL;
    if (status != NATS_OK)
        text = link_plain_text(nats_GetLastError(NULL));
    uv_mutex_lock(&link->mutex);
    conn->nats = nats;
    conn->connect_status = status;
    if (status != NATS_OK)
        strncpy(conn->connect_text,
                text != NULL && *text != '\0' ? text : natsStatus_GetText(status),
                sizeof(conn->connect_text) - 1);
    conn->connect_done = true;
    uv_async_send(&link->async);
    uv_mutex_unlock(&link->mutex);
    nats_ReleaseThreadMemory();
}

static natsStatus prepare_options(struct conn *conn) {
    natsOptions *options = conn->link->options;
    natsStatus s = natsOptions_SetEventLoop(options, conn, adapter_attach, adapter_read,
                                            adapter_write, adapter_detach);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, on_nats_error, conn);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(options, on_nats_closed, conn);
    if (s == NATS_OK)
        s = natsOptions_SetLameDuckModeCB(options, on_nats_lame_duck, conn);
    if (s == NATS_OK)
        s = natsOptions_SetDiscoveredServersCB(options, on_nats_servers, conn);
    return s;
}

int conn_start(struct link *link) {
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return LN_ENOMEM;
    conn->link = link;
    conn->fd = conn->dialled = -1;
    if (prepare_options(conn) != NATS_OK) {
        free(conn);
        return LN_ENOMEM;
    }
    int rc = uv_thread_create(&conn->thread, connect_thread, conn);
    if (rc < 0) {
        free(conn);
        return rc;
    }
    link->connecting = conn;
    clock_arm(link->clock, &link->dial_timer, link->connect_timeout + DIAL_GRACE_MS);
    conn->next = link->conns;
    link->conns = conn;
    return LN_OK;
}

static void take_over(struct conn *conn) {
    struct link *link = conn->link;
    conn->transport = &transport_nats;
    if (link->direct)
        direct_begin(conn); /* or else nats.c goes on: with TLS it has to */
    int rc = uv_poll_init(link->loop, &conn->poll, conn->fd);
    if (rc == 0) {
        conn->poll.data = conn;
        conn->poll_open = true;
        conn->polling = true;
        poll_again(conn);
        link->last_read = uv_now(link->loop);
        link_on_connected(conn);
        return;
    }
    conn_kill(conn); /* out of handles */
    conn->connect_status = NATS_ERR;
    strncpy(conn->connect_text, uv_strerror(rc), sizeof(conn->connect_text) - 1);
    link_on_connect_failed(conn);
}

void conn_kill(struct conn *conn) {
    if (conn->dead)
        return;
    conn->dead = true;
    stop_polling(conn);
    conn->transport->end(conn);
    natsConnection_Destroy(conn->nats);
    conn->nats = NULL;
}

/* ---- what the foreign threads left for the loop ---- */

static void take_notices(struct link *link) {
    uv_mutex_lock(&link->mutex);
    struct notice *notice = link->notices;
    link->notices = NULL;
    link->notices_tail = &link->notices;
    uv_mutex_unlock(&link->mutex);
    while (notice != NULL) {
        struct notice *next = notice->next;
        link_on_notice(link, notice);
        free(notice);
        notice = next;
    }
}

/* Looks at one connection; returns true if it was freed. */
static bool settle(struct conn **at) {
    struct conn *conn = *at;
    struct link *link = conn->link;
    uv_mutex_lock(&link->mutex);
    bool connected = conn->connect_done;
    bool done = conn->callbacks_done;
    conn->connect_done = false;
    bool write = conn->foreign_write;
    conn->foreign_write = false;
    uv_mutex_unlock(&link->mutex);
    if (connected) {
        uv_thread_join(&conn->thread);
        link->connecting = NULL;
        clock_disarm(link->clock, &link->dial_timer);
        if (conn->dialled >= 0)
            close(conn->dialled);
        if (conn->connect_status == NATS_OK) {
            take_over(conn);
        } else {
            conn->dead = true;
            done = true; /* a connection that never was has no callbacks */
            link_on_connect_failed(conn);
        }
    }
    if (write) {
        conn->nats_wants = true;
        conn_want_write(conn);
    }
    if (!done || !conn->dead || conn->poll_open)
        return false;
    *at = conn->next;
    free(conn);
    return true;
}

void conn_on_async(struct link *link) {
    take_notices(link);
    for (struct conn **at = &link->conns; *at != NULL;)
        if (!settle(at))
            at = &(*at)->next;
    link_check_closed(link);
}
