/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics: what there is to count, family by family. It reads the structs in which things are
 * counted where they happen, and keeps nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/admin/internal.h"
#include "host/admin/lag.h"
#include "host/admin/loop.h"
#include "host/admin/metrics.h"
#include "host/admin/process.h"
#include "host/base/container_of.h"
#include "host/script/memory.h"
#include "host/service/connection.h"
#include "host/service/endpoint.h"
#include "host/service/service.h"
#include "host/service/vitals.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is being written. */
struct view {
    struct metrics metrics;
    struct admin *admin;
    struct service *service; /* of the family's present sample */
    struct vitals *vitals;
    char label[ADMIN_LABEL_SIZE]; /* of the service */
};

/* A sample with the service and up to two further labels; a NULL name: no label. */
static void put2(struct view *view, double value, const char *name, const char *text,
                 const char *name2, const char *text2) {
    const struct metrics_label labels[] = {
        {"service", view->label},
        {name, name != NULL ? text : NULL},
        {name2, name2 != NULL ? text2 : NULL},
    };
    metrics_sample(&view->metrics, labels, COUNT(labels), value);
}

static void put(struct view *view, double value) {
    put2(view, value, NULL, NULL, NULL, NULL);
}

/* ---- the process ---- */

static void put_one(struct view *view, const char *name, enum meter_type type, const char *help,
                    double value) {
    metrics_family(&view->metrics, name, type, help);
    metrics_sample(&view->metrics, NULL, 0, value);
}

static void put_process(struct view *view) {
    const struct metrics_label build[] = {
        {"version", LN_VERSION}, {"libuv", uv_version_string()}, {"lua", LUA_RELEASE}};
    metrics_family(&view->metrics, "lunats_build_info", METER_GAUGE,
                   "The program; the value is 1.");
    metrics_sample(&view->metrics, build, COUNT(build), 1);
    put_one(view, "lunats_start_time_seconds", METER_GAUGE,
            "When the process started, Unix time.", view->admin->started_at);
    put_one(view, "lunats_cpu_seconds_total", METER_COUNTER,
            "Processor time of the process, user and system.", process_cpu_seconds());
    put_one(view, "lunats_resident_memory_bytes", METER_GAUGE,
            "Memory of the process that is resident.", process_resident_bytes());
    put_one(view, "lunats_heap_bytes", METER_GAUGE,
            "Memory of C in use: malloc, with what Lua has of it.", process_heap_bytes());
    put_one(view, "lunats_open_fds", METER_GAUGE, "Open file descriptors.", process_open_fds());
}

static void put_loop(struct view *view) {
    double seconds;
    const uint64_t *turns = loop_watch_turns(view->admin->loop_watch, &seconds);
    metrics_family(&view->metrics, "lunats_loop_lag_seconds", METER_HISTOGRAM,
                   "Turns of the event loop, by how long each kept everything else waiting.");
    metrics_histogram(&view->metrics, NULL, 0, loop_bounds, turns, LOOP_BOUNDS, seconds);
}

static void put_traces(struct view *view) {
    const struct admin_options *options = &view->admin->options;
    struct exporter_stats stats;
    if (!options->traces(options->owner, &stats))
        return;
    const struct metrics_label exported = {"outcome", "exported"},
                               lost = {"outcome", "dropped"};
    metrics_family(&view->metrics, "lunats_trace_spans_total", METER_COUNTER,
                   "Recorded spans: those that the collector has taken, and those that were "
                   "dropped, as too many waited or it did not want them.");
    metrics_sample(&view->metrics, &exported, 1, (double)stats.sent);
    metrics_sample(&view->metrics, &lost, 1, (double)stats.dropped);
    put_one(view, "lunats_trace_spans_waiting", METER_GAUGE,
            "Recorded spans that the collector does not have yet.", (double)stats.queued);
    put_one(view, "lunats_trace_export_failures_total", METER_COUNTER,
            "Attempts to send spans that have failed.", (double)stats.failures);
}

/* ---- one service ---- */

static void put_info(struct view *view) {
    /* Not "instance": that is what Prometheus calls the target. */
    put2(view, 1, "version", script_about(service_script(view->service))->version, "id",
         service_instance(view->service));
}

static void put_ready(struct view *view) {
    put(view, health_is_ready(view->service));
}

/* Of the service's own connection, and of those of app.connect, which have a label more. */
static void put_links(struct view *view, double (*read)(const struct link *link)) {
    const struct list *others = service_connections(view->service);
    const struct link *own = service_link(view->service);
    put(view, own != NULL ? read(own) : 0);
    const struct connection *at = NULL;
    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        if ((at = connection_next_shown(others, at)) == NULL)
            return;
        put2(view, read(connection_link(at)), "connection", connection_name(at), NULL, NULL);
    }
}

static double read_up(const struct link *link) {
    return link_is_connected(link);
}

static void put_up(struct view *view) {
    put_links(view, read_up);
}

static void put_lame_duck(struct view *view) {
    put(view, view->vitals->lame_duck);
}

#define LINK_FAMILY(field)                                                                     \
    static double read_##field(const struct link *link) {                                      \
        struct link_stats stats;                                                               \
        link_get_stats(link, &stats);                                                          \
        return (double)stats.field;                                                            \
    }                                                                                          \
    static void put_##field(struct view *view) {                                               \
        put_links(view, read_##field);                                                         \
    }

LINK_FAMILY(reconnects)
LINK_FAMILY(in_msgs)
LINK_FAMILY(in_bytes)
LINK_FAMILY(out_msgs)
LINK_FAMILY(out_bytes)
LINK_FAMILY(buffered)
LINK_FAMILY(calls)
LINK_FAMILY(subscriptions)

static const struct listener *next_listener(struct view *view, const struct listener *after) {
    return listener_next(service_intake(view->service), service_script(view->service), after);
}

static bool has_code(const struct endpoint *endpoint, int code) {
    for (size_t i = 0; i <= ENDPOINT_CODES && endpoint->codes[i].count > 0; i++)
        if (endpoint->codes[i].code == code)
            return true;
    return false;
}

static void put_requests(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        const struct endpoint *endpoint = listener_endpoint(at);
        const char *name = listener_endpoint_name(at);
        put2(view, (double)(endpoint->requests - endpoint->errors), "endpoint", name, "code",
             "200");
        if (!has_code(endpoint, 500)) /* so that a rate sees the first error, too */
            put2(view, 0, "endpoint", name, "code", "500");
        for (size_t i = 0; i <= ENDPOINT_CODES && endpoint->codes[i].count > 0; i++) {
            char code[16] = "other";
            if (endpoint->codes[i].code != 0)
                snprintf(code, sizeof(code), "%d", endpoint->codes[i].code);
            put2(view, (double)endpoint->codes[i].count, "endpoint", name, "code", code);
        }
    }
}

static void put_seconds(struct view *view) {
    double bounds[ENDPOINT_BOUNDS];
    for (size_t i = 0; i < ENDPOINT_BOUNDS; i++)
        bounds[i] = (double)endpoint_bounds[i] / 1e9;
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        const struct endpoint *endpoint = listener_endpoint(at);
        const struct metrics_label labels[] = {{"service", view->label},
                                               {"endpoint", listener_endpoint_name(at)}};
        metrics_histogram(&view->metrics, labels, COUNT(labels), bounds, endpoint->buckets,
                          ENDPOINT_BOUNDS, (double)endpoint->nanoseconds / 1e9);
    }
}

static void put_running(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        put2(view, stats.running, "endpoint", listener_endpoint_name(at), NULL, NULL);
    }
}

static void put_limit(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;)
        put2(view, listener_options(at)->concurrency, "endpoint", listener_endpoint_name(at),
             NULL, NULL);
}

static void put_pending(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        put2(view, (double)stats.queued, "endpoint", listener_endpoint_name(at), NULL, NULL);
    }
}

static void put_pending_bytes(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        put2(view, (double)stats.queued_bytes, "endpoint", listener_endpoint_name(at), NULL,
             NULL);
    }
}

static void put_keys(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        if (stats.keyed)
            put2(view, (double)stats.keys.keys, "endpoint", listener_endpoint_name(at), NULL,
                 NULL);
    }
}

static void put_key_waiting(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        if (stats.keyed)
            put2(view, (double)stats.keys.blocked, "endpoint", listener_endpoint_name(at), NULL,
                 NULL);
    }
}

static void put_lost(struct view *view) {
    for (const struct listener *at = NULL; (at = next_listener(view, at)) != NULL;) {
        struct listener_stats stats;
        listener_get_stats(at, &stats);
        put2(view, (double)stats.dropped, "endpoint", listener_endpoint_name(at), NULL, NULL);
    }
}

static void put_fibers(struct view *view) {
    const struct fibers *fibers = script_fibers(service_script(view->service));
    put2(view, (double)fibers_count(fibers, FIBER_HANDLER), "kind", "handler", NULL, NULL);
    put2(view, (double)fibers_count(fibers, FIBER_BACKGROUND), "kind", "background", NULL,
         NULL);
}

static void put_lua_memory(struct view *view) {
    lua_State *L = script_lua(service_script(view->service));
    int kilobytes = lua_gc(L, LUA_GCCOUNT); /* these two raise nothing */
    put(view, kilobytes * 1024.0 + lua_gc(L, LUA_GCCOUNTB));
}

static void put_memory(struct view *view) {
    struct memory_use use;
    memory_get_use(script_memory(service_script(view->service)), &use);
    put2(view, (double)use.lua, "part", "lua", NULL, NULL);
    put2(view, (double)use.fibers, "part", "fibers", NULL, NULL);
    put2(view, (double)use.others, "part", "messages", NULL, NULL);
}

static void put_memory_limit(struct view *view) {
    const struct memory *memory = script_memory(service_script(view->service));
    if (memory->limit != 0)
        put(view, (double)memory->limit);
}

static void put_memory_refusals(struct view *view) {
    put(view, (double)script_memory(service_script(view->service))->refusals);
}

static void put_collections(struct view *view) {
    put(view, (double)view->vitals->collections);
}

static void put_reloads(struct view *view) {
    struct reload_counts counts = service_reloads(view->service);
    put2(view, (double)counts.done, "result", "ok", NULL, NULL);
    put2(view, (double)counts.failed, "result", "failed", NULL, NULL);
}

static void put_last_reload(struct view *view) {
    put(view, !service_reloads(view->service).last_failed);
}

static void put_checks(struct view *view) {
    list_each (struct health_check, at, &view->vitals->checks, node)
        put2(view, at->health == HEALTH_OK, "check", at->name, NULL, NULL);
}

static void put_readers(struct view *view) {
    list_each (struct reader, at, &view->vitals->readers, node)
        if (reader_is_first(view->vitals, at))
            put2(view, reader_together(view->vitals, at).up, "stream", at->stream, "consumer",
                 at->label);
}

static void put_ages(struct view *view) {
    uint64_t now = clock_now(service_clock(view->service));
    list_each (struct reader, at, &view->vitals->readers, node) {
        uint64_t last_ms = reader_together(view->vitals, at).last_ms;
        if (last_ms != 0 && reader_is_first(view->vitals, at))
            put2(view, (double)(now - last_ms) / 1e3, "stream", at->stream, "consumer",
                 at->label);
    }
}

/* `offset` of a size_t in struct keyed_stats. */
static void put_js_keys(struct view *view, size_t offset) {
    list_each (struct reader, at, &view->vitals->readers, node) {
        struct reader_together all = reader_together(view->vitals, at);
        if (!all.keyed || !reader_is_first(view->vitals, at))
            continue;
        const size_t *value = (const size_t *)(const void *)((const char *)&all.keys + offset);
        put2(view, (double)*value, "stream", at->stream, "consumer", at->label);
    }
}

static void put_js_key_count(struct view *view) {
    put_js_keys(view, offsetof(struct keyed_stats, keys));
}

static void put_js_key_blocked(struct view *view) {
    put_js_keys(view, offsetof(struct keyed_stats, blocked));
}

static void put_js_key_bytes(struct view *view) {
    put_js_keys(view, offsetof(struct keyed_stats, bytes));
}

static void put_js_key_longest(struct view *view) {
    put_js_keys(view, offsetof(struct keyed_stats, longest));
}

static void put_dropped(struct view *view) {
    list_each (struct meter, at, &view->vitals->meters.list, node)
        if (at->dropped > 0)
            put2(view, (double)at->dropped, "metric", at->options.name, NULL, NULL);
}

static const struct family {
    const char *name, *help;
    enum meter_type type;
    void (*put)(struct view *view);
} families[] = {
    {"lunats_service_info", "A service; the value is 1.", METER_GAUGE, put_info},
    {"lunats_service_ready", "Whether nothing speaks against the service in /readyz.",
     METER_GAUGE, put_ready},
    {"lunats_connection_up", "Whether there is a connection to NATS.", METER_GAUGE, put_up},
    {"lunats_connection_lame_duck", "Whether the server is about to go away.", METER_GAUGE,
     put_lame_duck},
    {"lunats_reconnects_total", "Connections made after one was lost.", METER_COUNTER,
     put_reconnects},
    {"lunats_received_messages_total", "Messages that came, replies included.", METER_COUNTER,
     put_in_msgs},
    {"lunats_received_bytes_total", "Bytes of the payloads and headers that came.",
     METER_COUNTER, put_in_bytes},
    {"lunats_sent_messages_total", "Messages that were published, replies included.",
     METER_COUNTER, put_out_msgs},
    {"lunats_sent_bytes_total", "Bytes of the payloads and headers that were published.",
     METER_COUNTER, put_out_bytes},
    {"lunats_publish_buffer_bytes", "Bytes published and not yet written to the socket.",
     METER_GAUGE, put_buffered},
    {"lunats_requests_waiting", "Requests of the service that wait for their reply.",
     METER_GAUGE, put_calls},
    {"lunats_subscriptions", "Subscriptions on the server.", METER_GAUGE, put_subscriptions},
    {"lunats_requests_total",
     "Messages that a listener has handled, by the code of the answer; 200: no error.",
     METER_COUNTER, put_requests},
    {"lunats_request_seconds", "From the receipt of a message to the end of its handler.",
     METER_HISTOGRAM, put_seconds},
    {"lunats_handlers_running", "Handlers of a listener that run.", METER_GAUGE, put_running},
    {"lunats_handlers_limit", "Handlers of a listener that may run at once.", METER_GAUGE,
     put_limit},
    {"lunats_pending_messages", "Messages that wait for a handler.", METER_GAUGE, put_pending},
    {"lunats_pending_bytes", "Bytes of the messages that wait for a handler.", METER_GAUGE,
     put_pending_bytes},
    {"lunats_keys", "Keys of which a listener has messages.", METER_GAUGE, put_keys},
    {"lunats_key_waiting_messages",
     "Messages of a listener that wait for another one of their key.", METER_GAUGE,
     put_key_waiting},
    {"lunats_dropped_total", "Messages dropped, as the queue of the listener was full.",
     METER_COUNTER, put_lost},
    {"lunats_fibers", "Fibers: handlers with what they spawned, and tasks and timers.",
     METER_GAUGE, put_fibers},
    {"lunats_lua_memory_bytes", "Memory that the Lua state uses.", METER_GAUGE, put_lua_memory},
    {"lunats_memory_bytes",
     "Memory of a service: Lua, fibers, messages and buffers; what --memory limits.",
     METER_GAUGE, put_memory},
    {"lunats_memory_limit_bytes", "Memory that a service may use, if that is limited.",
     METER_GAUGE, put_memory_limit},
    {"lunats_memory_errors_total",
     "Errors of the version that serves for want of memory, caught ones included.",
     METER_COUNTER, put_memory_refusals},
    {"lunats_lua_collections_total",
     "Runs of the collector of Lua, those for young objects included.", METER_COUNTER,
     put_collections},
    {"lunats_reloads_total", "Reloads, by how they ended.", METER_COUNTER, put_reloads},
    {"lunats_last_reload_successful",
     "0: the last reload failed, and the version before it goes on.", METER_GAUGE,
     put_last_reload},
    {"lunats_health_check_up", "Whether a check of app.health is well.", METER_GAUGE,
     put_checks},
    {"lunats_js_consumer_up", "Whether a consumer of a stream is there and heard of.",
     METER_GAUGE, put_readers},
    {"lunats_js_last_message_age_seconds", "Time since the last message of a consumer.",
     METER_GAUGE, put_ages},
    {"lunats_js_keys", "Keys of which a consumer has messages here.", METER_GAUGE,
     put_js_key_count},
    {"lunats_js_key_waiting_messages",
     "Messages of a consumer that wait for another one of their key.", METER_GAUGE,
     put_js_key_blocked},
    {"lunats_js_key_waiting_bytes", "Bytes of its messages that wait for a handler.",
     METER_GAUGE, put_js_key_bytes},
    {"lunats_js_key_longest_messages", "The most of them that wait for the same key.",
     METER_GAUGE, put_js_key_longest},
    {"lunats_metrics_dropped_total",
     "Values not counted, as a metric had too many sets of labels.", METER_COUNTER,
     put_dropped},
};

static bool next_service(struct view *view) {
    do
        view->service = admin_next(view->admin, view->service);
    while (view->service != NULL && service_script(view->service) == NULL); /* it closes */
    if (view->service == NULL)
        return false;
    view->vitals = service_vitals(view->service);
    admin_label(view->admin, view->service, view->label);
    return true;
}

/* ---- meters: those of scripts, and of what is counted by labels ---- */

/* The one with this name in a service: while a reload changes its labels there are two, and the
 * first one counts. */
static const struct meter *find_meter(const struct vitals *vitals, const char *name) {
    list_each (struct meter, at, &vitals->meters.list, node)
        if (strcmp(at->options.name, name) == 0)
            return at;
    return NULL;
}

/* Whether a service before this one has shown the family. */
static bool is_shown(struct admin *admin, const struct service *before, const char *name) {
    struct service *at = NULL;
    while ((at = admin_next(admin, at)) != before)
        if (find_meter(service_vitals(at), name) != NULL)
            return true;
    return false;
}

/* The same metric of this service and of those behind it. Another type under the same name is
 * left out: a reader could not tell them apart. */
static void put_meter(struct view *view, const struct meter *meter) {
    struct service *from = view->service;
    metrics_family(&view->metrics, meter->options.name, meter->options.type,
                   meter->options.help);
    do {
        const struct meter *at = find_meter(view->vitals, meter->options.name);
        const struct metrics_label label = {"service", view->label};
        if (at != NULL && at->options.type == meter->options.type)
            metrics_meter(&view->metrics, at, &label, 1);
    } while (next_service(view));
    view->service = from;
    view->vitals = service_vitals(from);
    admin_label(view->admin, view->service, view->label);
}

static void put_meters(struct view *view) {
    view->service = NULL;
    while (next_service(view))
        list_each (struct meter, at, &view->vitals->meters.list, node)
            if (find_meter(view->vitals, at->options.name) == at &&
                !is_shown(view->admin, view->service, at->options.name))
                put_meter(view, at);
}

/* What `lunats metrics` knows of the services of others. */
static void put_foreign(struct view *view) {
    view->service = NULL;
    while (next_service(view)) {
        const char *text = view->vitals->foreign[view->metrics.open_metrics];
        if (text != NULL)
            text_puts(view->metrics.text, text);
    }
}

/* ---- the whole ---- */

/* The weight that a client gives to a type, 0: not wanted. */
static double weight(const char *accept, const char *type) {
    const char *at = accept != NULL ? strstr(accept, type) : NULL;
    if (at == NULL)
        return 0;
    size_t len = strcspn(at, ",");
    const char *q = memmem(at, len, "q=", 2);
    return q != NULL ? strtod(q + 2, NULL) : 1;
}

/* One request, until the server has said how far behind consumers are. */
struct scrape {
    struct admin_wait wait;
    struct admin *admin;
    struct http_request *request;
    struct lag *lag; /* while its answers are awaited */
};

static void answer(void *owner, struct lag *lag) {
    struct scrape *scrape = owner;
    const char *accept = scrape->admin->api->header(scrape->request, "Accept", NULL);
    double open = weight(accept, "application/openmetrics-text");
    struct text text = {0};
    struct view view = {.admin = scrape->admin};
    view.metrics.text = &text;
    view.metrics.open_metrics = open > 0 && open >= weight(accept, "text/plain");
    put_process(&view);
    put_loop(&view);
    put_traces(&view);
    for (size_t i = 0; i < COUNT(families); i++) {
        metrics_family(&view.metrics, families[i].name, families[i].type, families[i].help);
        view.service = NULL;
        while (next_service(&view))
            families[i].put(&view);
    }
    lag_write(lag, &view.metrics);
    lag_free(lag);
    caches_write(&view.metrics, scrape->admin->options.caches);
    routes_write(&view.metrics, scrape->admin);
    put_meters(&view);
    put_foreign(&view);
    metrics_end(&view.metrics);
    admin_answer(scrape->admin, scrape->request, 200,
                 view.metrics.open_metrics
                     ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                     : "text/plain; version=0.0.4; charset=utf-8",
                 &text);
    free(scrape);
}

static void give_up(struct http_request *request) {
    struct admin_wait *wait = request->data;
    struct scrape *scrape = container_of(wait, struct scrape, wait);
    lag_free(scrape->lag);
    free(scrape);
}

void page_metrics(struct admin *admin, struct http_request *request) {
    struct scrape *scrape = calloc(1, sizeof(*scrape));
    if (scrape == NULL) {
        admin_refuse(admin, request, 503, status_text(LN_ENOMEM));
        return;
    }
    *scrape = (struct scrape){.wait = {give_up}, .admin = admin, .request = request};
    struct lag *lag = lag_ask(admin, answer, scrape);
    if (lag == NULL)
        return; /* it has been answered */
    scrape->lag = lag;
    request->data = &scrape->wait;
}
