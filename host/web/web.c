/* SPDX-License-Identifier: Apache-2.0 */
#include "host/web/web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/base/log.h"
#include "host/base/module.h"
#include "host/base/status.h"
#include "host/base/tally.h"
#include "host/service/service.h"
#include "host/web/internal.h"

#define MAX_HEADER                                                                             \
    ((size_t)32 << 10)       /* some hundred cookies, of each of which there is a record */
#define MAX_CONNECTIONS 4096 /* at most half of the descriptors */

/* ---- requests ---- */

/* Proxies may send "http://host/path". */
const char *web_path_of(const struct http_request *request) {
    static const char scheme[] = "http://";
    const char *path = request->path;
    if (strncmp(path, scheme, sizeof(scheme) - 1) != 0)
        return path;
    path = strchr(path + sizeof(scheme) - 1, '/');
    return path != NULL ? path : "/";
}

void web_turn_away(struct web *web, const struct web_route *route, const struct http_api *api,
                   struct http_request *request, const char *text) {
    struct http_header cors[WEB_CORS_HEADERS];
    web_statuses_add(&web->refused, 503);
    web_refuse(api, request,
               &(struct web_refusal){
                   .status = 503,
                   .text = text,
                   .header = {"Retry-After", "1"},
                   .more = cors,
                   .more_count = cors_headers(route, api, request, cors),
               });
}

static const char *reason_of(int status) {
    switch (status) {
    case 204:
        return NULL;
    case 400:
        return "the path is malformed";
    case 405:
        return "this path has other methods";
    case 413:
        return "the body is too long";
    default:
        return "there is nothing at this path";
    }
}

static void refuse(struct web *web, const struct web_route *route, const struct http_api *api,
                   struct http_request *request, int status, const char *allow) {
    if (status == 503) {
        web_turn_away(web, route, api, request, "the service is starting or stopping");
        return;
    }
    struct http_header cors[WEB_CORS_HEADERS];
    web_statuses_add(&web->refused, status);
    struct web_refusal refusal = {.status = status, .text = reason_of(status), .more = cors};
    refusal.more_count = cors_headers(route, api, request, cors);
    if (status == 204 || status == 405)
        refusal.header = (struct http_header){"Allow", allow};
    web_refuse(api, request, &refusal);
}

/* The handler gets a copy, so of what messages may have a body may have half. NULL: of a
 * request that meets none. */
static size_t body_limit(const struct web_route *route) {
    if (route == NULL)
        return WEB_BODY_MAX;
    size_t most = service_messages(script_service(route->script))->most / 2;
    return most != 0 && most < route->options.max_body ? most : route->options.max_body;
}

void web_run(struct web *web, const struct http_api *api, struct http_request *request) {
    struct path path;
    int status;
    char allow[WEB_ALLOW_SIZE];
    if (strcmp(request->path, "*") == 0 && strcmp(request->method, "OPTIONS") == 0) {
        refuse(web, NULL, api, request, 204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return;
    }
    int rc = path_parse(&path, web_path_of(request));
    if (rc == LN_ENOMEM) {
        web_turn_away(web, NULL, api, request, "out of memory");
        return;
    }
    if (rc < 0) {
        refuse(web, NULL, api, request, 400, NULL);
        return;
    }
    struct web_route *route = route_find(web, request->method, &path, &status, allow);
    const struct web_route *meant =
        route != NULL ? route : route_meant(web, request->method, &path);
    bool fits = request->body_len <= body_limit(meant);
    if (route != NULL && fits) {
        exchange_start(route, api, request, &path);
        return;
    }
    path_free(&path);
    refuse(web, meant, api, request, fits ? status : 413, allow);
}

void web_gone(struct http_request *request) {
    if (request->data != NULL)
        exchange_gone(request->data);
}

void web_room(struct http_request *request) {
    struct exchange *exchange = request->data;
    if (exchange->on_room != NULL)
        exchange->on_room(exchange);
}

static void on_request(void *owner, struct http_request *request) {
    const struct web *web = owner;
    web_run(owner, web->api, request);
}

static void on_gone(void *owner, struct http_request *request) {
    (void)owner;
    web_gone(request);
}

static void on_room(void *owner, struct http_request *request) {
    (void)owner;
    web_room(request);
}

static const struct web_route *find(const struct web *web, const struct http_request *request) {
    struct path path;
    if (path_parse(&path, web_path_of(request)) < 0)
        return NULL;
    const struct web_route *route = route_meant(web, request->method, &path);
    path_free(&path);
    return route;
}

/* The port asks before it has a body, so that it keeps none that web_run() would refuse. */
static size_t limit_body(void *owner, struct http_request *request) {
    const struct web_route *route = find(owner, request);
    if (route != NULL)
        request->tally = service_messages(script_service(route->script));
    return body_limit(route);
}

static void on_refused(void *owner, const struct http_request *request, int status) {
    struct web *web = owner;
    const struct web_route *route = status == 503 ? find(web, request) : NULL;
    web_statuses_add(&web->refused, status);
    if (route != NULL)
        log_warn(service_name(script_service(route->script)),
                 "HTTP %s %s: too many bodies of requests are under way for their memory, one "
                 "more is answered with 503",
                 request->method, route->options.path);
}

static size_t refusal_headers(void *owner, const struct http_request *request,
                              struct http_header out[HTTP_REFUSAL_HEADERS]) {
    const struct web *web = owner;
    return cors_headers(find(web, request), web->api, request, out);
}

/* ---- the port ---- */

static uint32_t max_connections(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 2 > MAX_CONNECTIONS)
        return MAX_CONNECTIONS;
    return limit.rlim_cur < 8 ? 4 : (uint32_t)(limit.rlim_cur / 2);
}

static int bind_port(struct web *web, int *fd, char *error, size_t size) {
    char *colon, elsewhere[ADDRESS_TEXT_SIZE];
    const char *fault = address_parse(&web->address, web->options.address);
    if (fault != NULL) {
        snprintf(error, size, "%s %s", web->options.address, fault);
        return LN_EINVAL;
    }
    if (web->options.fd > 0) {
        *fd = web->options.fd;
        web->options.fd = 0;
        return LN_OK;
    }
    int rc = address_listen(&web->address, fd, error, size);
    if (rc != UV_EADDRINUSE || !web->options.late)
        return rc;
    snprintf(elsewhere, sizeof(elsewhere), "%s", web->options.address);
    colon = strrchr(elsewhere, ':');
    if (colon == NULL)
        return rc;
    strcpy(colon, ":0");
    address_parse(&web->address, elsewhere);
    return address_listen(&web->address, fd, error, size);
}

static int open_port(struct web *web, char *error, size_t size) {
    const struct module *module;
    struct http_options http = {
        .max_connections = max_connections(),
        .max_header = MAX_HEADER,
        .limit_body = limit_body,
        .on_refused = on_refused,
        .refusal_headers = refusal_headers,
        .on_request = on_request,
        .on_gone = on_gone,
        .on_room = on_room,
        .owner = web,
    };
    char text[ADDRESS_TEXT_SIZE];
    bool shared = web->options.fd > 0;
    int rc = module_load(&module, "http", error, size);
    if (rc == LN_OK)
        rc = bind_port(web, &http.fd, error, size);
    if (rc < 0)
        return rc;
    web->api = module->api;
    rc = web->api->open(&web->http, web->options.loop, &http);
    if (rc < 0) {
        if (!shared)
            address_unlink(&web->address);
        close(http.fd);
        snprintf(error, size, "%s", status_text(rc));
        return rc;
    }
    web->shared = shared;
    if (shared) /* whoever listens there has said where */
        return LN_OK;
    address_text(&web->address, text);
    snprintf(web->url, sizeof(web->url), address_is_unix(&web->address) ? "%s" : "http://%s/",
             text);
    log_info(NULL, "HTTP at %s", web->url);
    return LN_OK;
}

const char *web_url(const struct web *web) {
    return web != NULL && web->url[0] != '\0' ? web->url : NULL;
}

int web_listen(struct web *web, char *error, size_t size) {
    if (web->options.address == NULL || web->options.late)
        return LN_OK;
    return open_port(web, error, size);
}

void web_wake(struct web *web, const struct web_route *route) {
    char error[1024];
    const char *name = service_name(script_service(route->script));
    if (web->http != NULL || web->told || web->options.loop == NULL)
        return;
    web->told = true;
    if (web->options.address == NULL)
        log_warn(name, "there is no port for what app.http declares: --http HOST:PORT");
    else if (web->options.late && open_port(web, error, sizeof(error)) < 0)
        log_error(name, "no port for app.http: %s", error);
}

const struct web_statuses *web_refused(const struct web *web) {
    return &web->refused;
}

/* ---- life ---- */

int web_open(struct web **out, const struct web_options *options) {
    struct web *web = calloc(1, sizeof(*web));
    if (web == NULL)
        return LN_ENOMEM;
    web->options = *options;
    *out = web;
    return LN_OK;
}

static void on_closed(void *owner) {
    struct web *web = owner;
    void (*tell)(void *) = web->on_closed;
    void *whom = web->close_owner;
    free(web);
    if (tell != NULL)
        tell(whom);
}

/* One that was to be shared, and never was. */
static void drop_shared(struct web *web) {
    if (web->options.fd > 0)
        close(web->options.fd);
    web->options.fd = 0;
}

void web_quiesce(struct web *web) {
    drop_shared(web);
    if (web->http != NULL)
        web->api->quiesce(web->http);
}

void web_close(struct web *web, uint32_t bound_ms, void (*fn)(void *owner), void *owner) {
    web->on_closed = fn;
    web->close_owner = owner;
    drop_shared(web);
    if (web->http == NULL) {
        on_closed(web);
        return;
    }
    if (!web->shared)
        address_unlink(&web->address);
    web->api->close(web->http, bound_ms, on_closed, web);
}
