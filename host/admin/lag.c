/* SPDX-License-Identifier: Apache-2.0 */
#include "host/admin/lag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/admin/internal.h"
#include "host/base/container_of.h"
#include "host/service/service.h"
#include "host/service/vitals.h"

#define ASK_MS 1000
#define ASKS_MAX 200

/* One consumer. */
struct ask {
    struct link_call call;
    struct lag *lag;
    char *service, *stream, *consumer; /* owned: labels */
    bool known;
    double pending, ack_pending;
};

struct lag {
    void (*on_done)(void *owner, struct lag *lag);
    void *owner;
    struct ask asks[ASKS_MAX];
    size_t count, waiting;
    bool asking;
};

static void finish_if_done(struct lag *lag) {
    if (!lag->asking && lag->waiting == 0)
        lag->on_done(lag->owner, lag);
}

/* A number of the answer, which is JSON. A quote inside of a string has a backslash, so a text
 * with this name in it is none. */
static bool read_number(const struct message *msg, const char *name, double *out) {
    const char *at = memmem(msg->data, msg->len, name, strlen(name));
    char digits[24] = "";
    if (at == NULL)
        return false;
    at += strlen(name);
    size_t left = msg->len - (size_t)(at - msg->data), len = 0;
    while (len < left && len < sizeof(digits) - 1 && strchr("0123456789 ", at[len]) != NULL)
        len++;
    memcpy(digits, at, len);
    *out = strtod(digits, NULL);
    return strspn(digits, " ") < len;
}

static void on_info(struct link_call *call, int status, struct message *reply) {
    struct ask *ask = container_of(call, struct ask, call);
    if (status == LN_OK)
        ask->known = read_number(reply, "\"num_pending\":", &ask->pending) &&
                     read_number(reply, "\"num_ack_pending\":", &ask->ack_pending);
    if (reply != NULL)
        message_free(reply);
    ask->lag->waiting--;
    finish_if_done(ask->lag);
}

static void ask_one(struct lag *lag, const struct service *service, const struct reader *reader,
                    const char *label) {
    struct ask *ask = &lag->asks[lag->count];
    char subject[512];
    int len = snprintf(subject, sizeof(subject), "%s.CONSUMER.INFO.%s.%s", reader->prefix,
                       reader->stream, reader->consumer);
    if (len < 0 || (size_t)len >= sizeof(subject))
        return;
    lag->count++;
    ask->lag = lag;
    ask->service = strdup(label);
    ask->stream = strdup(reader->stream);
    ask->consumer = strdup(reader->label);
    struct link_out out = {.subject = subject};
    if (link_request(service_link(service), &ask->call, service_clock(service), &out, ASK_MS,
                     on_info) == LN_OK)
        lag->waiting++;
}

struct lag *lag_ask(struct admin *admin, void (*on_done)(void *owner, struct lag *lag),
                    void *owner) {
    struct lag *lag = calloc(1, sizeof(*lag));
    struct service *service = NULL;
    char label[ADMIN_LABEL_SIZE];
    if (lag == NULL) {
        on_done(owner, NULL);
        return NULL;
    }
    lag->on_done = on_done;
    lag->owner = owner;
    lag->asking = true;
    while ((service = admin_next(admin, service)) != NULL) {
        const struct link *link = service_link(service);
        if (link == NULL || !link_is_connected(link))
            continue;
        admin_label(admin, service, label);
        const struct vitals *vitals = service_vitals(service);
        list_each (struct reader, at, &vitals->readers, node)
            if (at->prefix != NULL && reader_is_first(vitals, at) && lag->count < ASKS_MAX)
                ask_one(lag, service, at, label);
    }
    lag->asking = false;
    bool waits = lag->waiting > 0;
    finish_if_done(lag);
    return waits ? lag : NULL;
}

static void write_family(const struct lag *lag, struct metrics *metrics, const char *name,
                         const char *help, bool ack) {
    metrics_family(metrics, name, METER_GAUGE, help);
    for (size_t i = 0; i < lag->count; i++) {
        const struct ask *ask = &lag->asks[i];
        const struct metrics_label labels[] = {
            {"service", ask->service}, {"stream", ask->stream}, {"consumer", ask->consumer}};
        if (ask->known)
            metrics_sample(metrics, labels, 3, ack ? ask->ack_pending : ask->pending);
    }
}

void lag_write(const struct lag *lag, struct metrics *metrics) {
    if (lag == NULL)
        return;
    write_family(lag, metrics, "lunats_js_consumer_pending",
                 "Messages of the stream that the consumer has not delivered yet.", false);
    write_family(lag, metrics, "lunats_js_consumer_ack_pending",
                 "Messages of a consumer that are delivered and not settled yet.", true);
}

bool lag_find(const struct lag *lag, const char *service, const char *stream,
              const char *consumer, double *pending, double *ack_pending) {
    for (size_t i = 0; lag != NULL && i < lag->count; i++) {
        const struct ask *ask = &lag->asks[i];
        if (!ask->known || strcmp(ask->stream, stream) != 0 ||
            strcmp(ask->consumer, consumer) != 0 || strcmp(ask->service, service) != 0)
            continue;
        *pending = ask->pending;
        *ack_pending = ask->ack_pending;
        return true;
    }
    return false;
}

void lag_free(struct lag *lag) {
    if (lag == NULL)
        return;
    for (size_t i = 0; i < lag->count; i++) {
        link_call_cancel(&lag->asks[i].call);
        free(lag->asks[i].service);
        free(lag->asks[i].stream);
        free(lag->asks[i].consumer);
    }
    free(lag);
}
