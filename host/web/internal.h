/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of host/web know of each other. */
#ifndef LUNATS_WEB_INTERNAL_H
#define LUNATS_WEB_INTERNAL_H

#include "host/base/address.h"
#include "host/base/list.h"
#include "host/web/web.h"

struct web {
    struct web_options options;
    struct list routes;  /* that which says more before the other */
    struct list traffic; /* of struct web_traffic */
    struct web_statuses refused;
    const struct http_api *api;
    struct http *http; /* NULL: the port is not open */
    struct address address;
    char url[ADDRESS_TEXT_SIZE + 10]; /* "": not yet */
    bool shared;                      /* others listen there, too: its file is not ours */
    bool told;                        /* that there is no port for the routes */
    void (*on_closed)(void *owner);
    void *close_owner;
};

struct web_route {
    struct list_node node; /* in web->routes */
    struct script_resource resource;
    struct web *web;
    struct script *script;
    struct web_route_options options;
    struct path_template path;
    struct web_traffic *traffic;
    bool drained; /* its script stops */
    bool stopped;
};

/* A route serves from now on: the port that waits for one opens. */
void web_wake(struct web *web, const struct web_route *route);

/* ---- finding a route: routes.c ---- */

#define WEB_ALLOW_SIZE 128

/* The route for a request, or NULL with the status of the answer: 204 (OPTIONS), 404, 405, 503;
 * with 204 and 405 the methods that there are. */
struct web_route *route_find(const struct web *web, const char *method, const struct path *path,
                             int *status, char allow[WEB_ALLOW_SIZE]);

/* The route that a request is for, if it serves just now or not; NULL: none. */
const struct web_route *route_meant(const struct web *web, const char *method,
                                    const struct path *path);

/* ---- pages of other origins: cors.c ---- */

/* As exchange_cors(); none for a route that is NULL. */
size_t cors_headers(const struct web_route *route, const struct http_api *api,
                    const struct http_request *request,
                    struct http_header out[WEB_CORS_HEADERS]);

/* ---- requests: exchange.c ---- */

/* Without the host that some proxies put in front of it; web.c. */
const char *web_path_of(const struct http_request *request);

/* Starts the handler; without memory it answers itself. Takes the path. */
void exchange_start(struct web_route *route, const struct http_api *api,
                    struct http_request *request, struct path *path);
void exchange_gone(struct exchange *exchange);

/* Ends the span, if there is one; tracing.c. */
void exchange_end_trace(struct exchange *exchange, uint64_t now);

/* With 503, to come again: there is nobody for it just now. It is counted. `route` is the one
 * that it is for, NULL: none; web.c. */
void web_turn_away(struct web *web, const struct web_route *route, const struct http_api *api,
                   struct http_request *request, const char *text);

/* {"code": 404, "message": text} */
struct web_refusal {
    int status;
    const char *text;               /* NULL: no body */
    struct http_header header;      /* without a value: none */
    const struct http_header *more; /* besides, but for what tells of a body */
    size_t more_count;
};
/* Without memory for them `more` are left out. */
void web_refuse(const struct http_api *api, struct http_request *request,
                const struct web_refusal *refusal);

extern const struct fiber_role exchange_role;

#endif
