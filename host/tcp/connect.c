/* SPDX-License-Identifier: Apache-2.0 */
/* How a socket gets its connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/errand.h"
#include "host/base/status.h"
#include "host/tcp/internal.h"
#include "host/tls/context.h"

#define STAGGER_MS 250 /* before the next address is tried besides (RFC 8305) */

/* ---- in a thread: names and files ---- */

struct preparation {
    struct tcp_target target;
    struct strings strings;
    bool resolve;
    int status;
    char text[TCP_TEXT_SIZE];
    struct addrinfo *addresses; /* owned, as is the context; NULL: none */
    SSL_CTX *context;
};

#define STRINGS 6

static bool copy_target(struct tcp_target *out, struct strings *strings,
                        const struct tcp_target *from) {
    *out = *from;
    const char **fields[STRINGS] = {&out->host, &out->path, &out->ca,
                                    &out->cert, &out->key,  &out->server_name};
    return strings_copy(strings, fields, STRINGS);
}

/* getaddrinfo() with the codes of libuv. */
static int look_up(struct addrinfo **out, const char *host, int port, int flags) {
    static const struct {
        int code, status;
    } codes[] = {
        {EAI_AGAIN, UV_EAI_AGAIN},   {EAI_FAIL, UV_EAI_FAIL},     {EAI_MEMORY, UV_EAI_MEMORY},
        {EAI_NONAME, UV_EAI_NONAME}, {EAI_NODATA, UV_EAI_NODATA},
    };
    char service[8];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = flags | AI_NUMERICSERV};
    snprintf(service, sizeof(service), "%d", port);
    *out = NULL;
    int rc = getaddrinfo(host, service, &hints, out);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].code == rc)
            return codes[i].status;
    return rc == 0 ? LN_OK : UV_EAI_FAIL;
}

static void work(void *arg) {
    struct preparation *it = arg;
    const struct tcp_target *target = &it->target;
    it->status = LN_OK;
    if (it->resolve)
        it->status = look_up(&it->addresses, target->host, target->port, 0);
    if (it->status < 0 || !target->tls)
        return;
    const struct tls_files files = {target->ca, target->cert, target->key, target->any_peer};
    it->status = tls_context(&it->context, &files, it->text, sizeof(it->text));
}

static void drop(void *arg) {
    struct preparation *it = arg;
    if (it->addresses != NULL)
        freeaddrinfo(it->addresses);
    SSL_CTX_free(it->context);
    strings_free(&it->strings);
    free(it);
}

/* ---- one address after the other ---- */

static void try_next(struct tcp_socket *socket);

static void on_line_closed(uv_handle_t *handle) {
    struct line *line = container_of(handle, struct line, handle);
    struct tcp_socket *socket = line->socket;
    free(line);
    socket->handles--;
    if (socket->closed && socket->handles == 0)
        free(socket);
}

void socket_close_line(struct line *line) {
    list_remove(&line->node);
    uv_close(&line->handle, on_line_closed);
}

static void drop_attempts(struct tcp_socket *socket) {
    struct list_node *node;
    while ((node = list_first(&socket->attempts)) != NULL)
        socket_close_line(list_item(node, struct line, node));
    clock_disarm(socket->clock, &socket->timer);
    if (socket->addresses != NULL)
        freeaddrinfo(socket->addresses);
    socket->addresses = socket->next = NULL;
}

/* The first failure says most, but for a kind of address that this machine cannot reach. */
static void note_failure(struct tcp_socket *socket, int status) {
    bool weak = socket->raw_status == LN_OK || socket->raw_status == UV_ENETUNREACH ||
                socket->raw_status == UV_EADDRNOTAVAIL || socket->raw_status == UV_EAFNOSUPPORT;
    if (weak)
        socket->raw_status = status;
}

static void on_connected(uv_connect_t *request, int status) {
    struct line *line = container_of(request, struct line, connect);
    struct tcp_socket *socket = line->socket;
    if (!list_linked(&line->node)) /* it is closed */
        return;
    if (status < 0) {
        note_failure(socket, status);
        socket_close_line(line);
        clock_disarm(socket->clock, &socket->timer);
        try_next(socket);
        return;
    }
    list_remove(&line->node);
    drop_attempts(socket);
    socket->raw_status = LN_OK;
    socket_begin(socket, line);
}

static struct line *new_line(struct tcp_socket *socket) {
    struct line *line = calloc(1, sizeof(*line));
    if (line == NULL)
        return NULL;
    line->socket = socket;
    return line;
}

/* One that is open as a handle. */
static int add_line(struct tcp_socket *socket, struct line *line, int rc) {
    socket->handles++;
    list_push_back(&socket->attempts, &line->node);
    if (rc < 0)
        socket_close_line(line);
    return rc;
}

static int try_address(struct tcp_socket *socket, const struct sockaddr *address) {
    struct line *line = new_line(socket);
    if (line == NULL)
        return LN_ENOMEM;
    int rc = uv_tcp_init(socket->home->loop, &line->tcp);
    if (rc < 0) {
        free(line);
        return rc;
    }
    rc = uv_tcp_connect(&line->connect, &line->tcp, address, on_connected);
    return add_line(socket, line, rc);
}

static int try_path(struct tcp_socket *socket) {
    struct line *line = new_line(socket);
    if (line == NULL)
        return LN_ENOMEM;
    int rc = uv_pipe_init(socket->home->loop, &line->pipe, 0);
    if (rc < 0) {
        free(line);
        return rc;
    }
    uv_pipe_connect(&line->connect, &line->pipe, socket->target.path, on_connected);
    return add_line(socket, line, LN_OK);
}

static void on_stagger(struct clock_timer *timer) {
    try_next(container_of(timer, struct tcp_socket, timer));
}

static void try_next(struct tcp_socket *socket) {
    while (socket->next != NULL) {
        const struct addrinfo *at = socket->next;
        socket->next = at->ai_next;
        int rc = try_address(socket, at->ai_addr);
        if (rc == LN_OK) {
            if (socket->next != NULL)
                clock_arm(socket->clock, &socket->timer, STAGGER_MS);
            return;
        }
        note_failure(socket, rc);
    }
    if (!list_empty(&socket->attempts))
        return;
    drop_attempts(socket);
    socket_fail(socket, socket->raw_status, NULL);
}

/* ---- what comes first ---- */

static void on_prepared(void *owner, void *arg) {
    struct tcp_socket *socket = owner;
    struct preparation *it = arg;
    socket->errand = NULL;
    if (it->status < 0) {
        socket_fail(socket, it->status, it->text);
        return;
    }
    socket->context = it->context;
    it->context = NULL;
    if (socket->line != NULL) {
        socket_handshake(socket);
        return;
    }
    if (it->addresses != NULL) {
        socket->addresses = socket->next = it->addresses;
        it->addresses = NULL;
    }
    if (socket->target.path == NULL) {
        try_next(socket);
        return;
    }
    int rc = try_path(socket);
    if (rc < 0)
        socket_fail(socket, rc, NULL);
}

int connect_prepare(struct tcp_socket *socket) {
    static const struct errand_kind kind = {work, drop, on_prepared};
    const struct tcp_target *target = &socket->target;
    bool fresh = socket->line == NULL, resolve = false;
    if (fresh && target->path == NULL) {
        int rc = look_up(&socket->addresses, target->host, target->port, AI_NUMERICHOST);
        resolve = rc < 0;
        socket->next = socket->addresses;
    }
    if (!resolve && !target->tls) {
        if (target->path != NULL)
            return try_path(socket);
        clock_arm(socket->clock, &socket->timer, 0); /* told from the loop, whatever comes */
        return LN_OK;
    }
    struct preparation *it = calloc(1, sizeof(*it));
    if (it == NULL || !copy_target(&it->target, &it->strings, target)) {
        free(it);
        return LN_ENOMEM;
    }
    it->resolve = resolve;
    it->status = UV_EAGAIN; /* unless it runs */
    return errand_start(&socket->errand, socket->home->loop, &kind, it, socket);
}

void connect_abandon(struct tcp_socket *socket) {
    if (socket->errand != NULL)
        errand_abandon(socket->errand);
    socket->errand = NULL;
    drop_attempts(socket);
}

/* ---- opening ---- */

static int set_target(struct tcp_socket *socket, const struct tcp_target *target) {
    struct strings before = socket->strings;
    struct tcp_target copy;
    struct strings strings;
    if (!copy_target(&copy, &strings, target))
        return LN_ENOMEM;
    strings_free(&before);
    socket->target = copy;
    socket->strings = strings;
    return LN_OK;
}

int tcp_open(struct tcp_socket **out, struct tcp_home *home, const struct tcp_target *target,
             void (*on_event)(void *owner), void *owner) {
    struct tcp_socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        return LN_ENOMEM;
    socket->home = home;
    socket->clock = home->clock;
    socket->timer.fire = on_stagger;
    int rc = set_target(socket, target);
    if (rc == LN_OK)
        list_push_back(&home->sockets, &socket->node);
    if (rc == LN_OK)
        rc = connect_prepare(socket);
    if (rc < 0) {
        tcp_close(socket, false);
        return rc;
    }
    socket->on_event = on_event;
    socket->owner = owner;
    *out = socket;
    return LN_OK;
}

int tcp_start_tls(struct tcp_socket *socket, const struct tcp_target *target) {
    struct tcp_target whole = *target;
    whole.host = socket->target.host;
    whole.tls = true;
    int rc = set_target(socket, &whole);
    if (rc == LN_OK)
        rc = connect_prepare(socket);
    if (rc == LN_OK)
        socket->state = TCP_CONNECTING;
    return rc;
}
