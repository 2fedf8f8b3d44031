/* SPDX-License-Identifier: Apache-2.0 */
/* What scripts serve by HTTP: its part of /metrics, and of /status.json. */
#include <stdio.h>

#include "host/admin/internal.h"
#include "host/admin/members.h"
#include "host/admin/metrics.h"
#include "host/web/web.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Requests with one method to one path. */
struct one {
    char service[ADMIN_LABEL_SIZE];
    const char *route, *method;
    const struct web_count *count;
};

static void put(struct metrics *metrics, const struct one *one, double value,
                const char *code) {
    const struct metrics_label labels[] = {
        {"service", one->service},
        {"route", one->route},
        {"method", one->method},
        {"code", code},
    };
    metrics_sample(metrics, labels, COUNT(labels), value);
}

static const char *code_of(int status, char out[16]) {
    snprintf(out, 16, status != 0 ? "%d" : "other", status);
    return out;
}

static bool has(const struct web_statuses *statuses, int status) {
    for (size_t i = 0; i < WEB_STATUSES && statuses->list[i].count > 0; i++)
        if (statuses->list[i].status == status)
            return true;
    return false;
}

static void put_requests(struct metrics *metrics, const struct one *one) {
    const struct web_statuses *statuses = &one->count->statuses;
    char code[16];
    if (!has(statuses, 200)) /* so that a rate sees the first of them, too */
        put(metrics, one, 0, "200");
    if (!has(statuses, 500))
        put(metrics, one, 0, "500");
    for (size_t i = 0; i <= WEB_STATUSES && statuses->list[i].count > 0; i++)
        put(metrics, one, (double)statuses->list[i].count,
            code_of(statuses->list[i].status, code));
}

static void put_seconds(struct metrics *metrics, const struct one *one) {
    const struct metrics_label labels[] = {
        {"service", one->service}, {"route", one->route}, {"method", one->method}};
    double bounds[ENDPOINT_BOUNDS];
    for (size_t i = 0; i < ENDPOINT_BOUNDS; i++)
        bounds[i] = (double)endpoint_bounds[i] / 1e9;
    metrics_histogram(metrics, labels, COUNT(labels), bounds, one->count->buckets,
                      ENDPOINT_BOUNDS, (double)one->count->nanoseconds / 1e9);
}

static void put_running(struct metrics *metrics, const struct one *one) {
    put(metrics, one, (double)one->count->running, NULL);
}

static const struct {
    const char *name, *help;
    enum meter_type type;
    void (*put)(struct metrics *metrics, const struct one *one);
} families[] = {
    {"lunats_http_requests_total",
     "Requests that the handler of a route has had, by the status of the answer; 499: the "
     "client was gone before.",
     METER_COUNTER, put_requests},
    {"lunats_http_request_seconds",
     "From when all of a request was there to the end of its handler, or of its stream.",
     METER_HISTOGRAM, put_seconds},
    {"lunats_http_requests_running", "Requests whose handler runs.", METER_GAUGE, put_running},
};

static void put_refused(struct metrics *metrics, const struct web_statuses *refused) {
    metrics_family(metrics, "lunats_http_refused_total", METER_COUNTER,
                   "Requests that no handler has got, by the status of the answer.");
    for (size_t i = 0; i <= WEB_STATUSES && refused->list[i].count > 0; i++) {
        char text[16];
        const struct metrics_label label = {"code", code_of(refused->list[i].status, text)};
        metrics_sample(metrics, &label, 1, (double)refused->list[i].count);
    }
}

/* A service that closes is not shown any more, here as elsewhere. */
static bool is_shown(const struct admin *admin, const struct service *service) {
    const struct service *at = NULL;
    while ((at = admin_next(admin, at)) != NULL)
        if (at == service)
            return service_script(at) != NULL;
    return false;
}

void routes_write(struct metrics *metrics, const struct admin *admin) {
    const struct web *web = *admin->options.web;
    if (web == NULL || web_traffic_next(web, NULL) == NULL)
        return;
    for (size_t i = 0; i < COUNT(families); i++) {
        metrics_family(metrics, families[i].name, families[i].type, families[i].help);
        const struct web_traffic *at = NULL;
        while ((at = web_traffic_next(web, at)) != NULL) {
            struct one one = {.route = at->path};
            if (!is_shown(admin, at->service))
                continue;
            admin_label(admin, at->service, one.service);
            for (size_t method = 0; method < HTTP_METHODS; method++) {
                one.method = http_methods[method];
                one.count = at->counts[method];
                if (one.count != NULL)
                    families[i].put(metrics, &one);
            }
        }
    }
    put_refused(metrics, web_refused(web));
}

/* ---- /status.json ---- */

static void put_one(struct text *text, const char *route, const char *method,
                    const struct web_count *count) {
    text_puts(text, "{\"route\":");
    text_json(text, route);
    member_string(text, "method", method);
    member_count(text, "requests", count->requests);
    member_count(text, "errors", count->errors);
    member_count(text, "running", count->running);
    if (count->requests > 0)
        member_counts(text, "buckets", count->buckets, ENDPOINT_BOUNDS + 1);
    text_puts(text, "}");
}

void routes_put(struct text *text, const struct admin *admin, const struct service *service,
                size_t *left) {
    const struct web *web = *admin->options.web;
    const struct web_traffic *at = NULL;
    size_t count = 0, shown = 0;
    text_puts(text, ",\"routes\":[");
    while (web != NULL && (at = web_traffic_next(web, at)) != NULL)
        for (size_t i = 0; at->service == service && i < HTTP_METHODS; i++) {
            if (at->counts[i] == NULL || count++ >= *left)
                continue;
            text_puts(text, shown++ > 0 ? "," : "");
            put_one(text, at->path, http_methods[i], at->counts[i]);
        }
    text_puts(text, "]");
    member_count(text, "route_count", count);
    *left -= shown;
}
