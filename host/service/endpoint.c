/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint64_t endpoint_bounds[ENDPOINT_BOUNDS] = {
    250000,   500000,    1000000,   2500000,    5000000,    10000000,   25000000,
    50000000, 100000000, 250000000, 500000000u, 1000000000, 2500000000, 10000000000,
};

static bool same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void free_endpoint(struct endpoint *endpoint) {
    list_remove(&endpoint->node);
    free(endpoint->subject);
    free(endpoint->queue);
    free(endpoint);
}

struct endpoint *endpoint_join(struct list *list, const char *subject, const char *queue,
                               bool (*taken)(const struct endpoint *endpoint, const void *arg),
                               const void *arg) {
    list_each (struct endpoint, at, list, node)
        if (same(at->subject, subject) && same(at->queue, queue) && !taken(at, arg)) {
            at->users++;
            return at;
        }
    struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return NULL;
    endpoint->users = 1;
    endpoint->subject = strdup(subject);
    endpoint->queue = queue != NULL ? strdup(queue) : NULL;
    if (endpoint->subject == NULL || (queue != NULL && endpoint->queue == NULL)) {
        free_endpoint(endpoint);
        return NULL;
    }
    list_push_back(list, &endpoint->node);
    return endpoint;
}

void endpoint_leave(struct endpoint *endpoint) {
    if (--endpoint->users == 0)
        free_endpoint(endpoint);
}

/* ---- counting ---- */

static void count_code(struct endpoint *endpoint, int code) {
    size_t i = 0;
    while (i < ENDPOINT_CODES && endpoint->codes[i].count > 0 &&
           endpoint->codes[i].code != code)
        i++;
    endpoint->codes[i].code = i < ENDPOINT_CODES ? code : 0;
    endpoint->codes[i].count++;
}

/* The text may be cut in the middle of a character: whoever writes it down copes. */
void endpoint_failed(struct endpoint *endpoint, int code, const char *text) {
    int first_line = (int)strcspn(text, "\r\n");
    endpoint->errors++;
    count_code(endpoint, code);
    snprintf(endpoint->last_error, sizeof(endpoint->last_error), "%d:%.*s", code, first_line,
             text);
}
