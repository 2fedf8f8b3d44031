/* SPDX-License-Identifier: Apache-2.0 */
/*
 * It ends in three steps: it drains, its link closes, its owner lets go. The link stays in
 * memory until the last of them, so that whoever still has it is answered.
 */
#include "host/service/connection.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/service/bounds.h"
#include "host/service/internal.h"
#include "host/service/outage.h"

/* Bytes already published get this long to reach the server, and less when it seems to hang. */
#define CLOSE_FLUSH_MS 1000
#define HUNG_FLUSH_MS 250

/* What the log lines of a connection without a name are said by. */
#define NAMELESS "client"

struct connection {
    struct script_resource resource; /* the script's */
    struct resources opened;         /* over it */
    struct list_node node;           /* in service_connections() */
    struct script *script;           /* borrowed while `intake` is there */
    struct service *service;         /* borrowed while it is in its list */
    struct link *link;
    struct intake *intake; /* NULL: closed */
    struct clock_timer turn;
    connection_open_fn on_open; /* NULL: told, or not wanted */
    void *owner;
    char *name;        /* NULL: it has none */
    char failure[512]; /* why the first connection has failed */
    bool connected;    /* once */
    bool draining, closing, link_closed, released;
};

/* ---- what the log says ---- */

static const char *speaker(const struct connection *connection) {
    return connection->name != NULL ? service_name(connection->service) : NAMELESS;
}

__attribute__((format(printf, 3, 4))) static void
tell(const struct connection *connection, enum log_level level, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (connection->name == NULL)
        log_printf(level, speaker(connection), "%s", text);
    else
        log_printf(level, speaker(connection), "connection %s: %s", connection->name, text);
}

/* ---- the end ---- */

static void free_connection(struct connection *connection) {
    if (connection->link != NULL)
        link_free(connection->link);
    free(connection->name);
    free(connection);
}

static void on_link_closed(void *owner, size_t unsent) {
    struct connection *connection = owner;
    if (connection->name != NULL && connection->connected)
        outage_log_unsent(speaker(connection), connection->name, unsent);
    list_remove(&connection->node);
    service_connection_closed(connection->service);
    connection->link_closed = true;
    if (connection->released)
        free_connection(connection);
}

/* The fibers that this wakes run when it is done. */
static void finish(struct connection *connection) {
    struct scheduler *scheduler = script_scheduler(connection->script);
    struct intake *intake = connection->intake;
    bool hangs = connection->draining && !intake_drained(intake);
    scheduler_hold(scheduler);
    connection->closing = true;
    connection->intake = NULL;
    clock_disarm(service_clock(connection->service), &connection->turn);
    script_remove_resource(&connection->resource);
    resources_close(&connection->opened);
    intake_close(intake);
    link_close(connection->link, hangs ? HUNG_FLUSH_MS : CLOSE_FLUSH_MS, on_link_closed,
               connection);
    service_connection_drained(connection->service);
    scheduler_release(scheduler);
}

static void on_script_close(struct script_resource *resource) {
    finish(container_of(resource, struct connection, resource));
}

static void on_turn(struct clock_timer *timer) {
    struct connection *connection = container_of(timer, struct connection, turn);
    if (connection->closing && intake_drained(connection->intake) &&
        intake_busy(connection->intake) == 0 && !resources_busy(&connection->opened))
        finish(connection);
    else
        service_connection_drained(connection->service);
}

/* Something has ended. What follows from it is seen outside of all fibers and finalizers. */
static void look(struct connection *connection) {
    if (connection->intake != NULL)
        clock_arm(service_clock(connection->service), &connection->turn, 0);
}

static void on_removed(struct resources *opened) {
    look(container_of(opened, struct connection, opened));
}

static void drain(struct connection *connection) {
    connection->draining = true;
    resources_drain(&connection->opened);
    intake_drain(connection->intake, service_drain_ms(connection->service));
}

static void on_script_drain(struct script_resource *resource) {
    drain(container_of(resource, struct connection, resource));
}

void connection_close(struct connection *connection) {
    if (connection->closing)
        return;
    connection->closing = true;
    drain(connection);
    look(connection);
}

void connection_give_up(struct connection *connection) {
    connection->on_open = NULL;
    if (!connection->connected)
        connection_close(connection);
}

void connection_release(struct connection *connection) {
    connection->on_open = NULL;
    connection->released = true;
    if (connection->link_closed)
        free_connection(connection);
    else
        connection_close(connection);
}

/* ---- what comes in ---- */

static void on_ended(void *owner) {
    look(owner);
}

static void on_intake_error(void *owner, int status, const char *text) {
    tell(owner, status == LN_EFULL ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "%s", text);
}

void connection_begin(struct connection *connection) {
    struct listener *failed;
    if (connection->closing)
        return;
    int rc = intake_subscribe(connection->intake, connection->script, false, &failed);
    if (rc < 0)
        tell(connection, LOG_LEVEL_ERROR, "cannot listen to %s: %s",
             listener_options(failed)->subject, status_text(rc));
}

static void on_script_begin(struct script_resource *resource) {
    struct connection *connection = container_of(resource, struct connection, resource);
    resources_begin(&connection->opened);
    connection_begin(connection);
}

/* ---- the link ---- */

static void tell_open(struct connection *connection, int status) {
    connection_open_fn on_open = connection->on_open;
    connection->on_open = NULL;
    if (on_open != NULL)
        on_open(connection->owner, status);
}

static void on_failed(struct connection *connection, int status, const char *reason) {
    snprintf(connection->failure, sizeof(connection->failure), "%s",
             reason != NULL ? reason : status_text(status));
    connection_close(connection);
    tell_open(connection, status);
}

static void on_connected(struct connection *connection) {
    struct link_info info;
    if (connection->connected) {
        outage_log_over(speaker(connection), connection->name, connection->link);
        return;
    }
    connection->connected = true;
    link_get_info(connection->link, &info);
    if (connection->name != NULL)
        tell(connection, LOG_LEVEL_INFO, "connected to %s", info.url);
    tell_open(connection, LN_OK);
}

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct connection *connection = owner;
    if (connection->closing)
        return; /* what it still has to send, it sends or tells at the end */
    if (state == LINK_CONNECTED)
        on_connected(connection);
    else if (state == LINK_DISCONNECTED)
        outage_log_lost(speaker(connection), connection->name, connection->link, text);
    else if (state == LINK_CLOSED)
        on_failed(connection, status, text);
}

static void on_retry(void *owner, const char *url, int status, const char *text) {
    const struct connection *connection = owner;
    (void)status;
    if (!connection->closing)
        outage_log_retry(speaker(connection), connection->name, url, text);
}

static void on_link_error(void *owner, int status, const char *text) {
    tell(owner, LOG_LEVEL_ERROR, "%s", text != NULL ? text : status_text(status));
}

static void on_lame_duck(void *owner) {
    tell(owner, LOG_LEVEL_WARN, "the server is going away (lame duck)");
}

/* ---- opening ---- */

static int open_parts(struct connection *connection, const struct connection_options *options) {
    static const struct intake_events intake_events = {
        .on_drained = on_ended,
        .on_ended = on_ended,
        .on_idle = on_ended,
        .on_error = on_intake_error,
    };
    static const struct link_events link_events = {
        .on_state = on_state,
        .on_retry = on_retry,
        .on_error = on_link_error,
        .on_lame_duck = on_lame_duck,
    };
    if (options->name != NULL) {
        connection->name = strdup(options->name);
        if (connection->name == NULL)
            return LN_ENOMEM;
    }
    struct link_options link = options->link;
    bounds_set(connection->service, connection->script, &link);
    char called[256];
    snprintf(called, sizeof(called), "%s/%s", speaker(connection),
             service_instance(connection->service));
    if (link.name == NULL)
        link.name = called;
    int rc = intake_open(&connection->intake, &intake_events, connection);
    if (rc == LN_OK)
        rc = link_open(&connection->link, script_loop(connection->script),
                       service_clock(connection->service), &link, &link_events, connection);
    return rc;
}

int connection_open(struct connection **out, struct script *script,
                    const struct connection_options *options) {
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return LN_ENOMEM;
    connection->script = script;
    connection->service = script_service(script);
    int rc = open_parts(connection, options);
    if (rc < 0) {
        intake_close(connection->intake);
        free_connection(connection);
        return rc;
    }
    connection->turn.fire = on_turn;
    connection->opened.on_removed = on_removed;
    connection->resource.begin = on_script_begin;
    connection->resource.drain = on_script_drain;
    connection->resource.close = on_script_close;
    link_keep(connection->link);
    intake_set_link(connection->intake, connection->link);
    intake_set_tracer(connection->intake, service_tracer(connection->service));
    script_add_resource(script, &connection->resource);
    list_push_back(service_connections(connection->service), &connection->node);
    if (script_state(script) == SCRIPT_RETIRING ||
        service_state(connection->service) >= SERVICE_DRAINING)
        drain(connection); /* to send over it is all that is left */
    *out = connection;
    return LN_OK;
}

void connection_await(struct connection *connection, connection_open_fn on_open, void *owner) {
    connection->on_open = on_open;
    connection->owner = owner;
}

/* ---- what others ask ---- */

struct link *connection_link(const struct connection *connection) {
    return connection->link;
}

struct intake *connection_intake(const struct connection *connection) {
    return connection->intake;
}

struct resources *connection_resources(struct connection *connection) {
    return &connection->opened;
}

const char *connection_name(const struct connection *connection) {
    return connection->name;
}

const char *connection_failure(const struct connection *connection) {
    return *connection->failure != '\0' ? connection->failure
                                        : link_last_error(connection->link);
}

bool connection_same(const struct connection *a, const struct connection *b) {
    return a->name != NULL && b->name != NULL && strcmp(a->name, b->name) == 0;
}

/* ---- all those of a service ---- */

struct connection *connection_next(const struct list *connections,
                                   const struct connection *after) {
    return list_item(after == NULL ? list_first(connections)
                                   : list_next(connections, &after->node),
                     struct connection, node);
}

static bool is_shown(const struct list *connections, const struct connection *connection) {
    if (connection->name == NULL || connection->intake == NULL)
        return false;
    const struct connection *later = connection;
    while ((later = connection_next(connections, later)) != NULL)
        if (later->intake != NULL && connection_same(later, connection))
            return false;
    return true;
}

struct connection *connection_next_shown(const struct list *connections,
                                         const struct connection *after) {
    struct connection *at = connection_next(connections, after);
    while (at != NULL && !is_shown(connections, at))
        at = connection_next(connections, at);
    return at;
}

bool connections_drained(const struct list *connections, const struct script *script) {
    list_each (struct connection, at, connections, node)
        if (at->script == script && at->intake != NULL && !intake_drained(at->intake))
            return false;
    return true;
}

void connections_add_stats(const struct list *connections, struct link_stats *stats) {
    list_each (struct connection, at, connections, node) {
        struct link_stats own;
        link_get_stats(at->link, &own);
        stats->in_msgs += own.in_msgs;
        stats->out_msgs += own.out_msgs;
        stats->buffered += own.buffered;
        stats->calls += own.calls;
    }
}

size_t connections_memory(const struct list *connections) {
    size_t bytes = 0;
    list_each (struct connection, at, connections, node) {
        bytes += sizeof(*at) + link_memory(at->link);
        if (at->intake != NULL)
            bytes += intake_memory(at->intake);
    }
    return bytes;
}

void connections_send(const struct list *connections) {
    list_each (struct connection, at, connections, node)
        link_send(at->link);
}
