/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/tally.h"
#include "host/base/text.h"
#include "host/script/memory.h"
#include "host/web/internal.h"

/* ---- answers ---- */

static void drop(const struct http_response *response) {
    free(response->body);
    if (response->file != NULL)
        close(response->file->fd);
}

void exchange_answer(struct exchange *exchange, const struct http_response *response) {
    struct http_request *request = exchange->request;
    if (request == NULL) {
        drop(response);
        return;
    }
    exchange->request = NULL;
    exchange->status = response->status;
    exchange->api->answer(request, response);
}

bool exchange_has_room(const struct exchange *exchange, size_t bytes) {
    return exchange->request == NULL || !tally_full(exchange->request->tally, bytes);
}

void exchange_begin(struct exchange *exchange, const struct http_response *response) {
    if (exchange->request == NULL)
        return;
    exchange->streaming = true;
    exchange->status = response->status;
    exchange->api->answer(exchange->request, response);
}

size_t exchange_write(const struct exchange *exchange, const char *bytes, size_t len) {
    return exchange->request != NULL ? exchange->api->write(exchange->request, bytes, len)
                                     : SIZE_MAX;
}

void exchange_finish(struct exchange *exchange, bool complete) {
    struct http_request *request = exchange->request;
    exchange->request = NULL;
    if (request != NULL)
        exchange->api->finish(request, complete);
}

/* Of the answer that was to be, and is not. */
static bool is_of_body(const char *name) {
    static const char *const names[] = {"ETag", "Last-Modified", "Accept-Ranges",
                                        "Cache-Control"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return strncasecmp(name, "Content-", sizeof("Content-") - 1) == 0;
}

void web_refuse(const struct http_api *api, struct http_request *request,
                const struct web_refusal *refusal) {
    struct text json = {0};
    struct http_header few[2 + WEB_CORS_HEADERS], *headers = few, *many = NULL;
    size_t count = 0, more_count = refusal->more_count;
    if (more_count > WEB_CORS_HEADERS) {
        many = calloc(2 + more_count, sizeof(*many));
        headers = many != NULL ? many : few;
        more_count = many != NULL ? more_count : 0;
    }
    if (refusal->text != NULL) {
        headers[count++] = (struct http_header){"Content-Type", "application/json"};
        text_printf(&json, "{\"code\":%d,\"message\":", refusal->status);
        text_json(&json, refusal->text);
        text_put(&json, "}", 1);
    }
    bool has = refusal->header.value != NULL;
    if (has)
        headers[count++] = refusal->header;
    for (size_t i = 0; i < more_count; i++) {
        const char *name = refusal->more[i].name;
        if (!is_of_body(name) && !(has && strcasecmp(name, refusal->header.name) == 0))
            headers[count++] = refusal->more[i];
    }
    if (json.failed)
        text_free(&json);
    struct http_response response = {
        .status = refusal->status,
        .headers = headers,
        .header_count = count,
        .body = json.bytes,
        .len = json.len,
    };
    api->answer(request, &response);
    free(many);
}

void exchange_fail(struct exchange *exchange, int status, const char *text, double seconds) {
    struct exchange_failure *failure = &exchange->failure;
    if (exchange->request == NULL || failure->status != 0)
        return;
    *failure = (struct exchange_failure){.status = status, .seconds = seconds};
    text_puts(&failure->text, text);
}

void exchange_refuse(struct exchange *exchange, const struct http_header *own, size_t count) {
    struct http_request *request = exchange->request;
    const struct exchange_failure *failure = &exchange->failure;
    char whole[32];
    if (request == NULL)
        return;
    exchange->request = NULL;
    exchange->status = failure->status;
    snprintf(whole, sizeof(whole), "%.0f", ceil(failure->seconds)); /* as the header wants it */
    const struct web_refusal refusal = {
        .status = failure->status,
        .text = failure->text.failed ? "out of memory" : failure->text.bytes,
        .header = {"Retry-After", failure->seconds >= 0 ? whole : NULL},
        .more = own,
        .more_count = count,
    };
    web_refuse(exchange->api, request, &refusal);
}

const struct path_template *exchange_template(const struct exchange *exchange) {
    return &exchange->route->path;
}

/* ---- the fiber ---- */

/* What the fiber had to say of it is in the failure, if anything. */
static void end_unanswered(struct exchange *exchange, int status) {
    if (status == LN_ECANCELLED)
        exchange_fail(exchange, 503, "the service is stopping", -1);
    exchange_fail(exchange, 500, "internal error", -1);
    struct http_header cors[WEB_CORS_HEADERS];
    exchange_refuse(exchange, cors, exchange_cors(exchange, cors));
}

static void on_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber;
    struct exchange *exchange = arg;
    struct web_route *route = exchange->route;
    route->options.on_end(exchange, status, text);
    if (exchange->streaming)
        exchange_finish(exchange, status == LN_OK);
    else
        end_unanswered(exchange, status);
    if (exchange->on_room != NULL)
        exchange->on_room(exchange);
    if (exchange->holder != NULL)
        *exchange->holder = NULL;
    uint64_t now = clock_precise();
    exchange_end_trace(exchange, now);
    if (exchange->count != NULL)
        web_count_end(exchange->count,
                      exchange->status != 0 ? exchange->status : WEB_STATUS_GONE,
                      now - exchange->began);
    if (exchange->ended != NULL)
        *exchange->ended = true;
    path_free(&exchange->path);
    text_free(&exchange->failure.text);
    free(exchange);
}

static void write_title(const void *arg, char *out, size_t size) {
    const struct web_route_options *options = &((const struct exchange *)arg)->route->options;
    snprintf(out, size, "HTTP %s %s", options->method != NULL ? options->method : "any",
             options->path);
}

static bool is_awaited(const void *arg) {
    return ((const struct exchange *)arg)->request != NULL;
}

static size_t facts(const void *arg, struct log_field out[LOG_CONTEXT_MAX]) {
    const struct exchange *exchange = arg;
    const struct web_route_options *options = &exchange->route->options;
    out[0] = log_text("route", options->path);
    return 1;
}

const struct fiber_role exchange_role = {on_end, write_title, is_awaited, facts};

void exchange_start(struct web_route *route, const struct http_api *api,
                    struct http_request *request, struct path *path) {
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL) {
        path_free(path);
        web_turn_away(route->web, route, api, request, "out of memory");
        return;
    }
    exchange->route = route;
    exchange->api = api;
    exchange->request = request;
    exchange->path = *path;
    exchange->began = clock_precise();
    request->data = exchange;
    exchange->method = http_method_of(request->method);
    exchange->count = traffic_count(route->traffic, exchange->method);
    if (exchange->count != NULL)
        exchange->count->running++;
    int rc = fiber_spawn(script_fibers(route->script), route->options.kind, route->options.body,
                         exchange, on_end);
    if (rc < 0) {
        char why[MEMORY_TEXT];
        memory_explain(script_memory(route->script), why);
        on_end(NULL, exchange, LN_ESCRIPT, why);
    }
}

void exchange_gone(struct exchange *exchange) {
    bool ended = false;
    exchange->request = NULL;
    exchange->ended = &ended;
    if (exchange->on_room != NULL)
        exchange->on_room(exchange); /* the fiber runs, perhaps to its end */
    if (ended)
        return;
    exchange->ended = NULL;
    if (exchange->fiber != NULL)
        fiber_cancel(exchange->fiber);
}
