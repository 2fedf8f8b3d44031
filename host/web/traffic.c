/* SPDX-License-Identifier: Apache-2.0 */
#include "host/web/traffic.h"

#include <stdlib.h>
#include <string.h>

struct web_traffic *traffic_join(struct list *list, const struct service *service,
                                 const char *path) {
    list_each (struct web_traffic, at, list, node)
        if (at->service == service && strcmp(at->path, path) == 0) {
            at->users++;
            return at;
        }
    size_t size = strlen(path) + 1;
    struct web_traffic *traffic = calloc(1, sizeof(*traffic) + size);
    if (traffic == NULL)
        return NULL;
    traffic->users = 1;
    traffic->service = service;
    traffic->path = memcpy(traffic + 1, path, size);
    list_push_back(list, &traffic->node);
    return traffic;
}

void traffic_leave(struct web_traffic *traffic) {
    if (--traffic->users > 0)
        return;
    list_remove(&traffic->node);
    for (size_t i = 0; i < HTTP_METHODS; i++)
        free(traffic->counts[i]);
    free(traffic);
}

struct web_count *traffic_count(struct web_traffic *traffic, size_t method) {
    if (traffic->counts[method] == NULL)
        traffic->counts[method] = calloc(1, sizeof(struct web_count));
    return traffic->counts[method];
}

/* ---- counting ---- */

void web_statuses_add(struct web_statuses *statuses, int status) {
    size_t i = 0;
    while (i < WEB_STATUSES && statuses->list[i].count > 0 &&
           statuses->list[i].status != status)
        i++;
    statuses->list[i].status = i < WEB_STATUSES ? status : 0;
    statuses->list[i].count++;
}

void web_count_end(struct web_count *count, int status, uint64_t nanoseconds) {
    size_t bucket = 0;
    while (bucket < ENDPOINT_BOUNDS && nanoseconds > endpoint_bounds[bucket])
        bucket++;
    count->running--;
    count->requests++;
    count->errors += status >= 500;
    count->nanoseconds += nanoseconds;
    count->buckets[bucket]++;
    web_statuses_add(&count->statuses, status);
}
