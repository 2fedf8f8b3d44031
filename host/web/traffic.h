/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the requests to one path of a service, by their method. They last over the
 * versions of its script: routes of the next version with the same path go on counting here.
 *
 * Counted where the thing happens; whoever shows them reads the fields.
 */
#ifndef LUNATS_WEB_TRAFFIC_H
#define LUNATS_WEB_TRAFFIC_H

#include <stdint.h>

#include "host/base/list.h"
#include "host/http/method.h"
#include "host/service/endpoint.h"

struct service;

/* Different ones that are told apart; what comes after them is counted together, as 0. */
#define WEB_STATUSES 16

/* Of a request whose client was gone before it had an answer, as nginx counts it. */
#define WEB_STATUS_GONE 499

struct web_statuses {
    struct {
        int status;
        uint64_t count;
    } list[WEB_STATUSES + 1]; /* unused ones have no count */
};

void web_statuses_add(struct web_statuses *statuses, int status);

/* Requests with one method. */
struct web_count {
    uint64_t requests, errors; /* that have ended; of them with a status from 500 on */
    uint64_t nanoseconds;      /* from when all of it was there to the end of the handler */
    uint64_t buckets[ENDPOINT_BOUNDS + 1];
    size_t running;
    struct web_statuses statuses;
};

struct web_traffic {
    struct list_node node;
    unsigned users; /* routes, of all versions */
    const struct service *service;
    const char *path;                       /* the template; owned */
    struct web_count *counts[HTTP_METHODS]; /* owned; NULL: there was none */
};

/* Takes that of this path, or makes one. NULL without memory. */
struct web_traffic *traffic_join(struct list *list, const struct service *service,
                                 const char *path);

/* The last route that leaves frees it. */
void traffic_leave(struct web_traffic *traffic);

/* That of a method, NULL without memory. Lives as long as the traffic. */
struct web_count *traffic_count(struct web_traffic *traffic, size_t method);

/* A request has ended. */
void web_count_end(struct web_count *count, int status, uint64_t nanoseconds);

#endif
