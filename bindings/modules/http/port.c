/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port: libmicrohttpd without threads. Its epoll descriptor is polled by the loop, and each
 * event, or a timer where it wants no event, runs it. What it wants at once waits for an idle
 * handle, not for a timer of 0 ms: libuv before 1.45 runs such a timer again and again without
 * ever looking at anything else. How long a client may take is seen to
 * here: the library only knows how long it is silent, and one byte every few seconds would hold
 * a connection for ever. A connection whose time is over is shut down, which the library sees
 * as the end of its client.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bindings/modules/http/internal.h"
#include "host/base/module.h"
#include "host/base/status.h"

#define SWEEP_MS 500
#define BARREN_MAX 8                  /* runs in a row in which nothing has happened */
#define BARREN_MS 10                  /* until the next one then */
#define PATIENCE_MS 100               /* with a client, when there is no room for others */
#define UNREAD_MAX ((size_t)64 << 20) /* bytes of all answers that are not read yet */

/* ---- running the daemon ---- */

static void on_run(uv_timer_t *timer);
static void on_soon(uv_idle_t *soon);

/*
 * The library wants to run at once as long as bytes of a client wait in it, also where it can
 * do nothing with them: a line before a piece of a body that is longer than its memory, for
 * example. Then it has to wait.
 */
static void run(struct http *http) {
    MHD_UNSIGNED_LONG_LONG ms = 0;
    http->again = http->moved = false;
    uv_idle_stop(&http->soon);
    MHD_run(http->daemon);
    bool wanted = http->again || MHD_get_timeout(http->daemon, &ms) == MHD_YES;
    bool barren = wanted && ms == 0 && !http->again && !http->moved;
    http->barren = barren ? http->barren + 1 : 0;
    if (http->barren > BARREN_MAX)
        ms = BARREN_MS;
    if (wanted && ms > 0)
        uv_timer_start(&http->run, on_run, ms, 0);
    else
        uv_timer_stop(&http->run);
    if (wanted && ms == 0)
        uv_idle_start(&http->soon, on_soon);
}

static void on_run(uv_timer_t *timer) {
    run(timer->data);
}

static void on_soon(uv_idle_t *soon) {
    run(soon->data);
}

static void on_event(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    run(poll->data);
}

void port_run_soon(struct http *http) {
    http->again = true;
    uv_idle_start(&http->soon, on_soon);
}

/* ---- connections ---- */

static void cut(const struct connection *connection) {
    shutdown(connection->fd, SHUT_RDWR);
}

/* The list is in the order in which their turns began. */
void connection_give(struct connection *connection, uint32_t ms) {
    connection->http->moved = true;
    list_push_back(&connection->http->connections, &connection->node);
    connection->since = uv_now(connection->http->loop);
    connection->deadline = ms != 0 ? connection->since + ms : UINT64_MAX;
}

/* The answers that clients take their time to read are bounded together. */
void connection_answer(struct connection *connection, size_t len) {
    struct http *http = connection->http;
    connection->unread = len;
    http->unread += len;
    size_t left = http->unread;
    list_each (struct connection, at, &http->connections, node) {
        if (left <= UNREAD_MAX)
            return;
        if (at == connection || at->unread == 0)
            continue;
        left -= at->unread;
        cut(at);
    }
}

static void forget_answer(struct connection *connection) {
    connection->http->unread -= connection->unread;
    connection->unread = 0;
}

void connection_rest(struct connection *connection) {
    forget_answer(connection);
    connection->request = NULL;
    connection_give(connection, connection->http->options.idle_ms);
    if (connection->http->closing)
        cut(connection);
}

static bool is_full(const struct http *http) {
    return http->count >= http->options.max_connections;
}

/* Who keeps connections open and says nothing must not keep others out: some of those that we
 * wait for the longest go, but none that may just have asked. */
static void make_room(const struct http *http) {
    uint32_t most = http->options.max_connections / 4 + 1;
    if (!is_full(http))
        return;
    list_each (struct connection, at, &http->connections, node) {
        if (most == 0 || uv_now(http->loop) - at->since < PATIENCE_MS)
            return;
        if (at->deadline == UINT64_MAX)
            continue;
        cut(at);
        most--;
    }
}

/*
 * A client that waits for its answer is not listened to, so its end is asked for. One that only
 * sends nothing more looks the same, and is not waited for either.
 */
#define LOOK 64

static void look_for_gone(struct connection **waiting, struct pollfd *polled, nfds_t count) {
    if (poll(polled, count, 0) <= 0)
        return;
    for (nfds_t i = 0; i < count; i++)
        if (polled[i].revents != 0 && waiting[i]->request != NULL &&
            request_is_ours(waiting[i]->request))
            request_give_up(waiting[i]->request);
}

static void drop_gone(struct http *http) {
    struct connection *waiting[LOOK];
    struct pollfd polled[LOOK];
    nfds_t count = 0;
    struct list walk = {0};
    list_move(&walk, &http->connections); /* what happens here may reorder them */
    for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
        struct connection *at = list_item(node, struct connection, node);
        list_push_back(&http->connections, node);
        if (at->request == NULL || !request_is_ours(at->request) ||
            uv_now(http->loop) - at->since < SWEEP_MS / 2)
            continue;
        waiting[count] = at;
        polled[count++] = (struct pollfd){.fd = at->fd, .events = POLLRDHUP};
        if (count == LOOK) {
            look_for_gone(waiting, polled, count);
            count = 0;
        }
    }
    look_for_gone(waiting, polled, count);
}

static void on_sweep(uv_timer_t *timer);

/* A sweep that is due before that stays. */
static void sweep_within(struct http *http, uint64_t ms) {
    if (!uv_is_active((uv_handle_t *)&http->sweep) || uv_timer_get_due_in(&http->sweep) > ms)
        uv_timer_start(&http->sweep, on_sweep, ms, 0);
}

static void on_sweep(uv_timer_t *timer) {
    struct http *http = timer->data;
    drop_gone(http);
    make_room(http);
    list_each (struct connection, at, &http->connections, node)
        if (at->deadline <= uv_now(http->loop))
            cut(at);
    sweep_within(http, is_full(http) ? PATIENCE_MS : SWEEP_MS);
}

static void *add_connection(struct http *http, struct MHD_Connection *mhd) {
    struct connection *connection = calloc(1, sizeof(*connection));
    int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (connection == NULL) {
        shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    connection->http = http;
    connection->mhd = mhd;
    connection->fd = fd;
    connection_give(connection, http->options.header_ms);
    http->count++;
    sweep_within(http, is_full(http) ? PATIENCE_MS : SWEEP_MS);
    return connection;
}

static void end_if_idle(struct http *http);

static void drop_connection(struct http *http, struct connection *connection) {
    forget_answer(connection);
    list_remove(&connection->node);
    free(connection);
    http->count--;
    port_run_soon(http); /* at its limit it accepts again in its next run */
    if (list_empty(&http->connections))
        uv_timer_stop(&http->sweep);
    end_if_idle(http);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *context = add_connection(cls, mhd);
    else if (*context != NULL)
        drop_connection(cls, *context);
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle) {
    struct http *http = handle->data;
    if (--http->handles > 0)
        return;
    if (http->on_closed != NULL)
        http->on_closed(http->close_owner);
    free(http);
}

static void close_handle(struct http *http, void *handle) {
    uv_handle_t *one = handle;
    one->data = http;
    uv_close(one, on_handle_closed);
}

static void close_handles(struct http *http) {
    http->handles = 5;
    close_handle(http, &http->poll);
    close_handle(http, &http->run);
    close_handle(http, &http->soon);
    close_handle(http, &http->sweep);
    close_handle(http, &http->bound);
}

/* The daemon must not end while it runs, so the loop calls this. */
static void on_bound(uv_timer_t *timer) {
    struct http *http = timer->data;
    struct MHD_Daemon *daemon = http->daemon;
    http->closing = false; /* what its end drops is no reason to come here again */
    uv_poll_stop(&http->poll);
    MHD_stop_daemon(daemon);
    if (!http->quiet)
        close(http->options.fd);
    close_handles(http);
}

static void end_if_idle(struct http *http) {
    if (http->closing && list_empty(&http->connections))
        uv_timer_start(&http->bound, on_bound, 0, 0);
}

static void http_quiesce(struct http *http) {
    if (http->quiet || http->closing)
        return;
    http->quiet = true;
    MHD_quiesce_daemon(http->daemon);
    close(http->options.fd);
}

static void http_close(struct http *http, uint32_t bound_ms, void (*on_closed)(void *owner),
                       void *owner) {
    http->on_closed = on_closed;
    http->close_owner = owner;
    http->closing = true;
    MHD_quiesce_daemon(http->daemon);
    uv_timer_start(&http->bound, on_bound, bound_ms, 0);
    list_each (struct connection, at, &http->connections, node) {
        if (at->request == NULL || !request_is_dispatched(at->request))
            cut(at);
        else
            request_give_up(at->request);
    }
    port_run_soon(http);
    end_if_idle(http);
}

/* ---- the beginning ---- */

static void set_default(uint32_t *value, uint32_t standard) {
    if (*value == 0)
        *value = standard;
}

/* The library stops listening where there are no descriptors left, and clients must not take
 * those that the services need: a quarter of what there is. */
static uint32_t most_connections(void) {
    struct rlimit limit;
    uint32_t most = 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < most)
        most = (uint32_t)(limit.rlim_cur / 4);
    return most > 2 ? most : 2;
}

static void set_defaults(struct http_options *options) {
    set_default(&options->max_connections, most_connections());
    set_default(&options->header_ms, 10000);
    set_default(&options->body_ms, 30000);
    set_default(&options->answer_ms, 30000);
    set_default(&options->idle_ms, 60000);
    if (options->max_header == 0)
        options->max_header = (size_t)16 << 10;
    if (options->max_body == 0)
        options->max_body = (size_t)1 << 20;
}

static bool start_daemon(struct http *http) {
    const struct http_options *options = &http->options;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, request_go_on, http,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)options->fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        options->max_header, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP,
        1, MHD_OPTION_URI_LOG_CALLBACK, request_begin, http, MHD_OPTION_NOTIFY_COMPLETED,
        request_end, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    return http->daemon != NULL;
}

static int http_open(struct http **out, uv_loop_t *loop, const struct http_options *options) {
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return LN_ENOMEM;
    http->options = *options;
    http->loop = loop;
    set_defaults(&http->options);
    if (!start_daemon(http)) {
        free(http);
        return LN_ENOMEM; /* the socket listens: nothing else can go wrong */
    }
    int fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int rc = uv_poll_init(loop, &http->poll, fd);
    if (rc < 0) {
        MHD_quiesce_daemon(http->daemon); /* the socket stays the caller's */
        MHD_stop_daemon(http->daemon);
        free(http);
        return rc;
    }
    uv_timer_init(loop, &http->run); /* cannot fail */
    uv_idle_init(loop, &http->soon);
    uv_timer_init(loop, &http->sweep);
    uv_timer_init(loop, &http->bound);
    http->poll.data = http->run.data = http->soon.data = http;
    http->sweep.data = http->bound.data = http;
    uv_poll_start(&http->poll, UV_READABLE, on_event);
    port_run_soon(http);
    *out = http;
    return LN_OK;
}

static const struct http_api api = {
    .open = http_open,
    .header = request_header,
    .each_header = request_each_header,
    .remote = request_remote,
    .answer = request_answer,
    .write = request_write,
    .finish = request_finish,
    .quiesce = http_quiesce,
    .close = http_close,
};

extern const struct module lunats_module;
MODULE_EXPORT const struct module lunats_module = {.version = MODULE_VERSION, .api = &api};
