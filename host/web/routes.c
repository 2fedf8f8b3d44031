/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes of all versions of all scripts, in the order in which they are tried: a literal part
 * before a parameter, that before the rest, a method before any. The order of declaration does
 * not matter, so neither does that of files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/service/service.h"
#include "host/web/internal.h"

/* ---- finding ---- */

static bool takes(const struct web_route *route, const char *method) {
    const char *own = route->options.method;
    return own == NULL || strcmp(own, method) == 0 ||
           (strcmp(own, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Its script is the version that runs. */
static bool serves(const struct web_route *route) {
    return !route->drained && script_state(route->script) == SCRIPT_RUNNING;
}

static void allow_method(char allow[WEB_ALLOW_SIZE], const char *method) {
    size_t len = strlen(allow);
    if (strstr(allow, method) == NULL)
        snprintf(allow + len, WEB_ALLOW_SIZE - len, "%s%s", len > 0 ? ", " : "", method);
}

struct web_route *route_find(const struct web *web, const char *method, const struct path *path,
                             int *status, char allow[WEB_ALLOW_SIZE]) {
    bool waits = false;
    allow[0] = '\0';
    list_each (struct web_route, route, &web->routes, node) {
        if (route->stopped || !path_matches(&route->path, path))
            continue;
        if (!serves(route)) {
            waits = true;
            continue;
        }
        if (takes(route, method))
            return route;
        allow_method(allow, route->options.method);
        if (strcmp(route->options.method, "GET") == 0)
            allow_method(allow, "HEAD");
    }
    if (allow[0] != '\0') {
        allow_method(allow, "OPTIONS");
        *status = strcmp(method, "OPTIONS") == 0 ? 204 : 405;
    } else {
        *status = waits ? 503 : 404;
    }
    return NULL;
}

const struct web_route *route_meant(const struct web *web, const char *method,
                                    const struct path *path) {
    const struct web_route *idle = NULL;
    list_each (struct web_route, route, &web->routes, node) {
        if (route->stopped || !path_matches(&route->path, path) || !takes(route, method))
            continue;
        if (serves(route))
            return route;
        if (idle == NULL)
            idle = route;
    }
    return idle;
}

/* ---- order ---- */

static int compare(const struct web_route *a, const struct web_route *b) {
    int order = path_template_compare(&a->path, &b->path);
    return order != 0 ? order : (a->options.method == NULL) - (b->options.method == NULL);
}

static bool same_method(const struct web_route *a, const struct web_route *b) {
    const char *one = a->options.method, *other = b->options.method;
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

/* Another version of the same service may have it as well. */
static struct web_route *find_rival(const struct web *web, const struct web_route *route) {
    list_each (struct web_route, at, &web->routes, node) {
        bool other_version = at->script != route->script &&
                             script_service(at->script) == script_service(route->script);
        if (!at->stopped && !other_version &&
            path_template_compare(&at->path, &route->path) == 0 && same_method(at, route))
            return at;
    }
    return NULL;
}

static void insert(struct web *web, struct web_route *route) {
    struct list_node *before = list_ends(&web->routes);
    list_each (struct web_route, at, &web->routes, node) {
        if (compare(at, route) > 0)
            break;
        before = &at->node;
    }
    list_insert_after(before, &route->node);
}

/* ---- life ---- */

static void on_begin(struct script_resource *resource) {
    struct web_route *route = container_of(resource, struct web_route, resource);
    web_wake(route->web, route);
}

static void on_drain(struct script_resource *resource) {
    container_of(resource, struct web_route, resource)->drained = true;
}

/* The lua_State is about to go, and its registry with it. */
static void on_close(struct script_resource *resource) {
    struct web_route *route = container_of(resource, struct web_route, resource);
    list_remove(&route->node);
    traffic_leave(route->traffic);
    path_template_free(&route->path);
    free(route);
}

static int refuse(struct web_route *route, const struct web_route *rival, char *error,
                  size_t size) {
    bool own = rival->script == route->script;
    snprintf(error, size, "%s %s is declared %s%s%s",
             route->options.method != NULL ? route->options.method : "any", route->options.path,
             own ? "already, at " : "by the service ",
             own ? rival->options.where : service_name(script_service(rival->script)),
             own ? "" : " already; services of one process share the port");
    path_template_free(&route->path);
    free(route);
    return LN_EINVAL;
}

static size_t size_of(const char *text) {
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *copy(char **to, const char *text, size_t size) {
    char *at = *to;
    *to += size;
    return text != NULL ? memcpy(at, text, size) : NULL;
}

/* With a copy of all that the options have. */
static struct web_route *make(const struct web_route_options *options) {
    size_t path = options->path_len + 1, where = size_of(options->where),
           origins = size_of(options->origins), expose = size_of(options->expose);
    struct web_route *route = calloc(1, sizeof(*route) + path + where + origins + expose);
    if (route == NULL)
        return NULL;
    char *to = (char *)(route + 1);
    route->options = *options;
    route->options.path = copy(&to, options->path, path);
    route->options.where = copy(&to, options->where, where);
    route->options.origins = copy(&to, options->origins, origins);
    route->options.expose = copy(&to, options->expose, expose);
    return route;
}

int web_route_open(struct web_route **out, struct web *web, struct script *script,
                   const struct web_route_options *options, char *error, size_t size) {
    struct web_route *route = make(options);
    if (route == NULL)
        return LN_ENOMEM;
    route->web = web;
    route->script = script;
    const char *fault = path_template_parse(&route->path, options->path, options->path_len);
    if (fault != NULL) {
        snprintf(error, size, "the path '%s' %s", options->path, fault);
        free(route);
        return LN_EINVAL;
    }
    const struct web_route *rival = find_rival(web, route);
    if (rival != NULL)
        return refuse(route, rival, error, size);
    route->traffic = traffic_join(&web->traffic, script_service(script), route->options.path);
    if (route->traffic == NULL) {
        path_template_free(&route->path);
        free(route);
        return LN_ENOMEM;
    }
    if (options->method != NULL) /* so that it is shown before there is a request */
        traffic_count(route->traffic, http_method_of(options->method));
    insert(web, route);
    route->resource.begin = on_begin;
    route->resource.drain = on_drain;
    route->resource.close = on_close;
    script_add_resource(script, &route->resource);
    fibers_add_role(script_fibers(script), &exchange_role);
    if (script_state(script) == SCRIPT_RUNNING)
        on_begin(&route->resource);
    *out = route;
    return LN_OK;
}

void web_route_stop(struct web_route *route) {
    route->stopped = true;
}

const struct web_route_options *web_route_options(const struct web_route *route) {
    return &route->options;
}

/* Another route of the same service has this method at this path. */
static bool is_taken(const struct web_route *route, const char *method) {
    list_each (struct web_route, at, &route->web->routes, node)
        if (at != route && at->traffic == route->traffic && !at->stopped &&
            at->options.method != NULL && takes(at, method))
            return true;
    return false;
}

void web_route_get_stats(const struct web_route *route, struct web_route_stats *out) {
    *out = (struct web_route_stats){0};
    for (size_t i = 0; i < HTTP_METHODS; i++) {
        const struct web_count *count = route->traffic->counts[i];
        if (count == NULL || !takes(route, http_methods[i]) ||
            (route->options.method == NULL && is_taken(route, http_methods[i])))
            continue;
        out->requests += count->requests;
        out->errors += count->errors;
        out->running += count->running;
    }
}

const struct web_traffic *web_traffic_next(const struct web *web,
                                           const struct web_traffic *after) {
    struct list_node *node =
        after == NULL ? list_first(&web->traffic) : list_next(&web->traffic, &after->node);
    return list_item(node, struct web_traffic, node);
}

struct web_route *web_route_next(const struct web *web, const struct web_route *after) {
    struct list_node *node =
        after == NULL ? list_first(&web->routes) : list_next(&web->routes, &after->node);
    return list_item(node, struct web_route, node);
}

struct script *web_route_script(const struct web_route *route) {
    return route->script;
}
