/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP for services: routes that versions of scripts have declared, the port that they share,
 * and requests on their way to a route. A request is run as a fiber of the version whose route
 * it has met, and is answered by it, also when another version has taken over meanwhile.
 *
 * Everything belongs to the loop thread; nothing here raises.
 */
#ifndef LUNATS_WEB_H
#define LUNATS_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>
#include <uv.h>

#include "host/base/text.h"
#include "host/http/http.h"
#include "host/script/script.h"
#include "host/web/path.h"
#include "host/web/traffic.h"

struct trace;
struct web;

/* ---- the port ---- */

struct web_options {
    uv_loop_t *loop;     /* NULL: no port, and no word of it */
    const char *address; /* of the port; borrowed. NULL: none */
    bool late;           /* it opens with the first route, and elsewhere if it is taken */
    int fd;              /* listens there already, for others as well; 0: none does. Taken by
                          * web_listen() */
};

/* LN_OK or LN_ENOMEM. *out is the caller's, who hands it to web_close() after all scripts. */
int web_open(struct web **out, const struct web_options *options);

/* Opens the port, unless there is none or it is late. LN_OK, or a code with a reason. */
int web_listen(struct web *web, char *error, size_t size);

/* Where it serves, as text that lasts until it closes; NULL: nowhere, or not yet. */
const char *web_url(const struct web *web);

/* No more connections: others take them. Those that are there go on. */
void web_quiesce(struct web *web);

/* What clients are answered has that long to be read; on_closed() follows, from the loop or
 * from inside the call. */
void web_close(struct web *web, uint32_t bound_ms, void (*on_closed)(void *owner), void *owner);

/* ---- routes ---- */

struct web_route;
struct exchange;

#define WEB_BODY_MAX ((size_t)1 << 20) /* bytes of a body, where a route says nothing */

struct web_route_options {
    const char *method; /* "GET", static; NULL: any that has no route of its own */
    const char *path;   /* a template, see path.h */
    size_t path_len;
    size_t max_body;      /* bytes */
    enum fiber_kind kind; /* of the fibers */
    /* Of the fiber, whose argument is its struct exchange. */
    lua_CFunction body;
    /* The fiber has ended; see fiber_end_fn. What it has not answered is answered after that.
     */
    void (*on_end)(struct exchange *exchange, int status, const char *text);
    int handler; /* reference in the registry */
    /* The option cors: the origins of pages that may read answers, with a blank after each, and
     * "* " for any; copied. NULL: there is no such option. */
    const char *origins;
    const char *expose; /* what these pages see of the headers; copied. NULL: nothing more */
    bool credentials;   /* they may send cookies */
    const char *where;  /* in which line; copied */
};

/* As struct web_count has them, of all methods that meet the route. */
struct web_route_stats {
    uint64_t requests, errors;
    size_t running;
};

/*
 * Declares a route of a script, with which it goes. It serves as long as the script is the
 * version that runs. Returns LN_OK, LN_ENOMEM, or LN_EINVAL with a reason: a malformed path,
 * one that is there already.
 */
int web_route_open(struct web_route **out, struct web *web, struct script *script,
                   const struct web_route_options *options, char *error, size_t size);

/* No further requests; those that run go on. The route goes with its script. */
void web_route_stop(struct web_route *route);

/* Borrowed, with the route. */
const struct web_route_options *web_route_options(const struct web_route *route);
void web_route_get_stats(const struct web_route *route, struct web_route_stats *out);
/* Those of all versions, in the order in which they are tried: after NULL the first. */
struct web_route *web_route_next(const struct web *web, const struct web_route *after);
struct script *web_route_script(const struct web_route *route);

/* What is counted, path by path: the first is after NULL, and NULL after the last. */
const struct web_traffic *web_traffic_next(const struct web *web,
                                           const struct web_traffic *after);
/* Requests that no handler has got: there is nothing at their path, their body is too long. */
const struct web_statuses *web_refused(const struct web *web);

/* ---- requests ---- */

/* What its client will be told instead of an answer. */
struct exchange_failure {
    int status; /* 0: nothing has failed */
    struct text text;
    double seconds; /* until another attempt may be worth it; negative: not said */
};

struct exchange {
    struct web_route *route;
    const struct http_api *api;
    struct http_request *request; /* NULL: it was answered, or its client is gone */
    struct fiber *fiber;          /* that of the body sets it */
    struct path path;             /* matches that of the route */
    size_t method;                /* of http_methods[] */
    uint64_t began;               /* clock_precise() */
    struct web_count *count;      /* NULL: nothing is counted */
    struct trace *trace;          /* the fiber's; NULL: it is part of none */
    struct text attributes;       /* of the span, if one is recorded */
    int status;                   /* that it was answered with; 0: not yet */
    struct exchange_failure failure;
    bool streaming;           /* exchange_begin() was called */
    struct exchange **holder; /* set to NULL at the end; NULL: nobody holds it */
    bool *ended;              /* set to true at the end, for host/web; may be NULL */
    void (*on_room)(struct exchange *exchange); /* there is room, or the client is gone */
};

const struct path_template *exchange_template(const struct exchange *exchange);

/* The fiber, which is set, works on it from now on: as part of the trace that it brings, or of
 * a new one (./tracing.c). */
void exchange_begin_trace(struct exchange *exchange);

/* Its service has memory for an answer of so many bytes. */
bool exchange_has_room(const struct exchange *exchange, size_t bytes);
/* Both do nothing for an exchange without request; what the response owns is freed then. */
void exchange_answer(struct exchange *exchange, const struct http_response *response);
void exchange_begin(struct exchange *exchange, const struct http_response *response);
/* Returns what waits for the client; SIZE_MAX: gone, or no memory. */
size_t exchange_write(const struct exchange *exchange, const char *bytes, size_t len);
void exchange_finish(struct exchange *exchange, bool complete);
/* Notes what has failed; the first one counts. The answer follows with exchange_refuse(), or at
 * the end of the fiber. */
void exchange_fail(struct exchange *exchange, int status, const char *text, double seconds);
/* Answers with the failure, as {"code": 404, "message": text}, and with `own` headers but those
 * that tell of a body. */
void exchange_refuse(struct exchange *exchange, const struct http_header *own, size_t count);

#define WEB_CORS_HEADERS HTTP_REFUSAL_HEADERS

/* What lets the page read the answer, by the option cors of its route: so many headers,
 * borrowed from the route and the request, which has not been answered. */
size_t exchange_cors(const struct exchange *exchange, struct http_header out[WEB_CORS_HEADERS]);

/* Runs a request that has come some other way than by the port, as specs do; `api` answers.
 * See http_options for when on_gone() and on_room() are to be called. */
void web_run(struct web *web, const struct http_api *api, struct http_request *request);
void web_gone(struct http_request *request);
void web_room(struct http_request *request);

#endif
