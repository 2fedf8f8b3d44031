/* SPDX-License-Identifier: Apache-2.0 */
/* The span of a request, in the words of the conventions of OpenTelemetry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/http/method.h"
#include "host/service/service.h"
#include "host/trace/tracer.h"
#include "host/web/internal.h"

/* ---- what it brings ---- */

/* The headers of a request that belong to traces. Two parents are as good as none, while the
 * other two are lists that may come in parts. */
struct brought {
    const char *parent;
    unsigned parents;
    struct text state, baggage;
};

static void add(struct text *list, const char *value) {
    if (list->len > 0)
        text_puts(list, ",");
    text_puts(list, value);
}

static void collect(void *owner, const char *name, const char *value) {
    struct brought *brought = owner;
    if ((*name | 0x20) == 'b') {
        if (strcasecmp(name, "baggage") == 0)
            add(&brought->baggage, value);
    } else if ((*name | 0x20) == 't') {
        if (strcasecmp(name, "traceparent") == 0) {
            brought->parent = value;
            brought->parents++;
        } else if (strcasecmp(name, "tracestate") == 0) {
            add(&brought->state, value);
        }
    }
}

/* ---- what it is ---- */

static void put_number(struct text *text, const char *key, long value) {
    text_printf(text, "{\"key\":\"%s\",\"value\":{\"intValue\":\"%ld\"}},", key, value);
}

/* Whom the client has asked: "shop.example:8080", "[::1]:8080". */
static void put_server(struct text *text, const char *host) {
    size_t len = strcspn(host, "]");
    const char *from = host + (*host == '['),
               *end = *host == '[' && host[len] == ']' ? host + len : NULL;
    const char *colon = strrchr(end != NULL ? end : host, ':');
    if (end == NULL)
        end = colon != NULL ? colon : host + strlen(host);
    char *name = strndup(from, (size_t)(end - from));
    if (name != NULL && *name != '\0')
        span_attribute(text, "server.address", name);
    free(name);
    long port = colon != NULL ? strtol(colon + 1, NULL, 10) : 80;
    if (port > 0 && port < 65536)
        put_number(text, "server.port", port);
}

static void describe(struct exchange *exchange) {
    const struct http_request *request = exchange->request;
    struct text *text = &exchange->attributes;
    const char *method = http_methods[exchange->method];
    char remote[HTTP_REMOTE_SIZE];
    const char *host = exchange->api->header(request, "Host", NULL),
               *agent = exchange->api->header(request, "User-Agent", NULL);
    exchange->api->remote(request, remote);
    span_attribute(text, "http.request.method", method);
    if (strcmp(method, request->method) != 0)
        span_attribute(text, "http.request.method_original", request->method);
    span_attribute(text, "http.route", exchange->route->options.path);
    span_attribute(text, "url.path", web_path_of(request));
    span_attribute(text, "url.scheme", "http");
    if (host != NULL)
        put_server(text, host);
    if (*remote != '\0')
        span_attribute(text, "client.address", remote);
    if (agent != NULL)
        span_attribute(text, "user_agent.original", agent);
}

/* ---- the span ---- */

void exchange_begin_trace(struct exchange *exchange) {
    struct tracer *tracer = service_tracer(script_service(exchange->route->script));
    struct brought brought = {0};
    exchange->api->each_header(exchange->request, collect, &brought);
    const struct trace_headers headers = {
        .parent = brought.parents == 1 ? brought.parent : NULL,
        .state = brought.state.bytes,
        .baggage = brought.baggage.bytes,
    };
    exchange->trace = trace_serve(tracer, &headers, exchange->began);
    text_free(&brought.state);
    text_free(&brought.baggage);
    if (exchange->trace == NULL)
        return;
    fiber_set_trace(exchange->fiber, exchange->trace); /* which owns it */
    if (trace_is_recorded(exchange->trace))
        describe(exchange);
}

void exchange_end_trace(struct exchange *exchange, uint64_t now) {
    if (!trace_is_recorded(exchange->trace))
        return;
    struct text name = {0};
    text_printf(&name, "%s %s",
                exchange->method + 1 < HTTP_METHODS ? http_methods[exchange->method] : "HTTP",
                exchange->route->options.path);
    trace_served(exchange->trace, &(struct span_served){
                                      .name = name.bytes,
                                      .attributes = &exchange->attributes,
                                      .status = exchange->status,
                                      .ended = now,
                                  });
    text_free(&name);
    text_free(&exchange->attributes);
}
