/* SPDX-License-Identifier: Apache-2.0 */
/* The services in /status.json: what each of them is, and what its parts do. */
#include <stdlib.h>
#include <string.h>

#include "host/admin/internal.h"
#include "host/admin/lag.h"
#include "host/admin/members.h"
#include "host/base/log.h"
#include "host/base/status.h"
#include "host/service/connection.h"
#include "host/service/endpoint.h"
#include "host/service/service.h"
#include "host/service/vitals.h"

#define SERVICES_MAX 100
#define LISTENERS_MAX 200 /* of all services together; the busiest of a service are shown */
#define ROUTES_MAX 200    /* of all services together, too */
#define READERS_MAX 100   /* of a service, and so are checks */
#define TASKS_MAX ((size_t)64 << 10) /* bytes of what a script says of its tasks */
#define LAG_EVERY_NS 5000000000u
#define LAG_OLD_NS 30000000000u

/* ---- listeners ---- */

static void put_listener(struct text *text, const struct listener *listener) {
    const struct endpoint *endpoint = listener_endpoint(listener);
    const struct listener_options *options = listener_options(listener);
    struct listener_stats stats;
    listener_get_stats(listener, &stats);
    text_puts(text, "{\"name\":");
    text_json(text, options->name);
    member_string(text, "id", listener_endpoint_name(listener));
    member_string(text, "subject", options->subject);
    member_string(text, "queue", options->queue);
    member_string(text, "where", options->where);
    member_count(text, "requests", endpoint->requests);
    member_count(text, "errors", endpoint->errors);
    member_count(text, "nanoseconds", endpoint->nanoseconds);
    if (endpoint->requests > 0)
        member_counts(text, "buckets", endpoint->buckets, ENDPOINT_BOUNDS + 1);
    if (endpoint->last_error[0] != '\0')
        member_string(text, "last_error", endpoint->last_error);
    member_count(text, "running", stats.running);
    member_count(text, "concurrency", options->concurrency);
    member_count(text, "queued", stats.queued);
    member_count(text, "dropped", stats.dropped);
    text_puts(text, "}");
}

/* Busier ones first; those that are equal as they were declared. */
struct rank {
    const struct listener *listener;
    uint64_t requests;
    size_t index;
};

static int by_requests(const void *a, const void *b) {
    const struct rank *x = a, *y = b;
    if (x->requests != y->requests)
        return x->requests < y->requests ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static int by_index(const void *a, const void *b) {
    const struct rank *x = a, *y = b;
    return x->index < y->index ? -1 : 1;
}

static size_t count_listeners(const struct service *service) {
    const struct listener *at = NULL;
    size_t count = 0;
    while ((at = listener_next(service_intake(service), service_script(service), at)) != NULL)
        count++;
    return count;
}

/* All that are counted, and up to *left one by one, in the order of their declaration. */
static void put_listeners(struct text *text, const struct service *service, size_t *left) {
    size_t count = count_listeners(service), shown = 0;
    struct rank *ranks = calloc(count + 1, sizeof(*ranks));
    const struct listener *at = NULL;
    if (ranks == NULL) {
        text->failed = true;
        return;
    }
    uint64_t requests = 0, errors = 0, buckets[ENDPOINT_BOUNDS + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        at = listener_next(service_intake(service), service_script(service), at);
        const struct endpoint *endpoint = listener_endpoint(at);
        ranks[i] = (struct rank){at, endpoint->requests, i};
        requests += endpoint->requests;
        errors += endpoint->errors;
        for (size_t j = 0; j <= ENDPOINT_BOUNDS; j++)
            buckets[j] += endpoint->buckets[j];
    }
    shown = count < *left ? count : *left;
    if (shown < count) {
        qsort(ranks, count, sizeof(*ranks), by_requests);
        qsort(ranks, shown, sizeof(*ranks), by_index);
    }
    member_count(text, "requests", requests);
    member_count(text, "errors", errors);
    member_counts(text, "buckets", buckets, ENDPOINT_BOUNDS + 1);
    member_count(text, "listener_count", count);
    text_puts(text, ",\"listeners\":[");
    for (size_t i = 0; i < shown; i++) {
        text_puts(text, i > 0 ? "," : "");
        put_listener(text, ranks[i].listener);
    }
    text_puts(text, "]");
    *left -= shown;
    free(ranks);
}

/* ---- consumers and checks ---- */

/* Asks every few seconds while somebody looks, and shows the last answer meanwhile. */

static void on_lag(void *owner, struct lag *lag) {
    struct admin *admin = owner;
    lag_free(admin->lag);
    admin->lag = lag;
    admin->lag_asked = NULL;
}

static void ask_for_lag(struct admin *admin) {
    uint64_t now = uv_hrtime();
    if (admin->lag_asked != NULL || (admin->lag_at != 0 && now - admin->lag_at < LAG_EVERY_NS))
        return;
    if (now - admin->lag_at > LAG_OLD_NS) { /* nobody has looked */
        lag_free(admin->lag);
        admin->lag = NULL;
    }
    admin->lag_at = now;
    admin->lag_asked = lag_ask(admin, on_lag, admin);
}

static void put_lag(struct text *text, const struct admin *admin, const struct service *service,
                    const struct reader *reader) {
    char label[ADMIN_LABEL_SIZE];
    double pending, ack_pending;
    admin_label(admin, service, label);
    if (!lag_find(admin->lag, label, reader->stream, reader->label, &pending, &ack_pending))
        return;
    member_number(text, "pending", pending);
    member_number(text, "ack_pending", ack_pending);
}

/* The one that speaks for all that read the same: one that is not well, if there is any. */
static const struct reader *worst_reader(const struct vitals *vitals,
                                         const struct reader *reader) {
    list_each (struct reader, at, &vitals->readers, node)
        if (at->state != READER_OK && strcmp(at->stream, reader->stream) == 0 &&
            strcmp(at->label, reader->label) == 0)
            return at;
    return reader;
}

static void put_reader(struct text *text, const struct admin *admin, struct service *service,
                       const struct reader *reader) {
    static const char *const ways[SETTLED_WAYS] = {"acked", "naked", "termed"};
    static const char *const states[] = {"ok", "missing", "silent"};
    const struct reader *worst = worst_reader(service_vitals(service), reader);
    uint64_t last_ms = reader_together(service_vitals(service), reader).last_ms;
    text_puts(text, "{\"stream\":");
    text_json(text, reader->stream);
    member_string(text, "consumer", reader->label);
    member_string(text, "state", states[worst->state]);
    member_string(text, "why", worst->state != READER_OK ? worst->why : NULL);
    for (size_t i = 0; i < SETTLED_WAYS; i++)
        if (reader->settled[i] != NULL)
            member_number(text, ways[i], reader->settled[i]->value);
    put_lag(text, admin, service, reader);
    if (last_ms != 0)
        member_number(text, "age", (double)(clock_now(service_clock(service)) - last_ms) / 1e3);
    text_puts(text, "}");
}

static void put_readers(struct text *text, const struct admin *admin, struct service *service) {
    size_t count = 0;
    text_puts(text, ",\"consumers\":[");
    list_each (struct reader, at, &service_vitals(service)->readers, node) {
        if (!reader_is_first(service_vitals(service), at) || count++ >= READERS_MAX)
            continue;
        text_puts(text, count > 1 ? "," : "");
        put_reader(text, admin, service, at);
    }
    text_puts(text, "]");
    member_count(text, "consumer_count", count);
}

static void put_checks(struct text *text, struct service *service) {
    static const char *const words[] = {"unknown", "ok", "failed"};
    size_t count = 0;
    text_puts(text, ",\"checks\":[");
    list_each (struct health_check, at, &service_vitals(service)->checks, node) {
        if (count++ >= READERS_MAX)
            continue;
        text_puts(text, count > 1 ? ",{\"name\":" : "{\"name\":");
        text_json(text, at->name);
        member_string(text, "status", words[at->health]);
        member_bool(text, "critical", at->critical);
        member_string(text, "why", at->why);
        text_puts(text, "}");
    }
    text_puts(text, "]");
}

/* ---- services ---- */

/* What is still shown of each kind. */
struct room {
    size_t listeners, routes;
};

static void put_link(struct text *text, struct service *service) {
    const struct link *link = service_link(service);
    struct link_stats stats = {0};
    struct link_info info = {0};
    if (link != NULL) {
        link_get_stats(link, &stats);
        link_get_info(link, &info);
    }
    member_bool(text, "connected", link != NULL && link_is_connected(link));
    member_bool(text, "lame_duck", service_vitals(service)->lame_duck);
    member_string(text, "server", info.url);
    member_count(text, "reconnects", stats.reconnects);
    member_count(text, "in_msgs", stats.in_msgs);
    member_count(text, "out_msgs", stats.out_msgs);
    member_count(text, "buffered", stats.buffered);
}

/* Those of app.connect. */
static void put_connections(struct text *text, struct service *service) {
    const struct list *all = service_connections(service);
    const struct connection *at = NULL;
    size_t count = 0;
    text_puts(text, ",\"connections\":[");
    while ((at = connection_next_shown(all, at)) != NULL) {
        if (count++ >= ADMIN_CONNECTIONS)
            continue;
        const struct link *link = connection_link(at);
        const char *why = connection_failure(at);
        struct link_stats stats;
        struct link_info info;
        link_get_stats(link, &stats);
        link_get_info(link, &info);
        text_puts(text, count > 1 ? ",{\"name\":" : "{\"name\":");
        text_json(text, connection_name(at));
        member_bool(text, "connected", link_is_connected(link));
        member_string(text, "server", info.url);
        member_string(text, "why", link_is_connected(link) || *why == '\0' ? NULL : why);
        member_count(text, "reconnects", stats.reconnects);
        member_count(text, "in_msgs", stats.in_msgs);
        member_count(text, "out_msgs", stats.out_msgs);
        member_count(text, "buffered", stats.buffered);
        text_puts(text, "}");
    }
    text_puts(text, "]");
    member_count(text, "connection_count", count);
}

static void put_script(struct text *text, const struct service *service) {
    struct script *script = service_script(service);
    const struct fibers *fibers = script_fibers(script);
    lua_State *L = script_lua(script);
    member_string(text, "version", script_about(script)->version);
    member_string(text, "description", script_about(script)->description);
    member_count(text, "lua_bytes", /* these two raise nothing */
                 (uint64_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (uint64_t)lua_gc(L, LUA_GCCOUNTB));
    member_count(text, "fibers",
                 fibers_count(fibers, FIBER_HANDLER) + fibers_count(fibers, FIBER_BACKGROUND));
}

static void put_service(struct text *text, const struct admin *admin, struct service *service,
                        const char *tasks, struct room *left) {
    struct reload_counts reloads = service_reloads(service);
    text_puts(text, "{\"name\":");
    text_json(text, service_name(service));
    member_string(text, "instance", service_instance(service));
    member_string(text, "state", health_state(service));
    member_string(text, "level", log_level_name(log_level_of(service_name(service))));
    member_number(text, "started_at", service_started(service));
    member_count(text, "reloads", reloads.done);
    member_count(text, "failed_reloads", reloads.failed);
    put_link(text, service);
    put_connections(text, service);
    put_readers(text, admin, service);
    put_checks(text, service);
    if (service_script(service) != NULL) { /* else it closes */
        put_script(text, service);
        put_listeners(text, service, &left->listeners);
        routes_put(text, admin, service, &left->routes);
    }
    text_puts(text, ",\"tasks\":");
    text_puts(text, tasks != NULL ? tasks : "null");
    text_puts(text, "}");
}

/* What a script says of its timers and tasks: JSON, or NULL. */
static char *ask_for_tasks(struct script *script) {
    static const char form[] = "json";
    char *out = NULL;
    size_t len = 0;
    if (script == NULL)
        return NULL;
    int rc = script_exchange(script, SCRIPT_DESCRIBE, form, sizeof(form) - 1, &out, &len);
    if (rc == LN_OK && out != NULL && len <= TASKS_MAX && strlen(out) == len)
        return out;
    free(out);
    return NULL;
}

void board_write(struct admin *admin, struct text *text) {
    ask_for_lag(admin);
    struct service *service = NULL;
    char *tasks[SERVICES_MAX] = {0};
    size_t count = 0, asked = 0;
    struct room left = {LISTENERS_MAX, ROUTES_MAX};
    /* First all that runs Lua: it may call anything, be it in a finalizer. */
    while (asked < SERVICES_MAX && (service = admin_next(admin, service)) != NULL)
        tasks[asked++] = ask_for_tasks(service_script(service));
    text_puts(text, ",\"services\":[");
    service = NULL;
    while ((service = admin_next(admin, service)) != NULL) {
        if (count++ >= asked)
            continue;
        text_puts(text, count > 1 ? "," : "");
        put_service(text, admin, service, tasks[count - 1], &left);
    }
    text_puts(text, "]");
    member_count(text, "service_count", count);
    for (size_t i = 0; i < asked; i++)
        free(tasks[i]);
}
