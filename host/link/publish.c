/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: on the connection, or into a buffer while there is none; waiting until the socket
 * has taken what was published.
 */
#include "host/link/internal.h"

#include <stdlib.h>

/* ---- publishing ---- */

bool link_out_ok(const struct link_out *out, const char *reply) {
    if (out->subject == NULL || !link_subject_ok(out->subject, strlen(out->subject)) ||
        (reply != NULL && !link_subject_ok(reply, strlen(reply))))
        return false;
    for (size_t i = 0; i < out->header_count; i++) {
        const struct link_header *header = &out->headers[i];
        if (header->name == NULL || header->value == NULL ||
            !link_header_name_ok(header->name, strlen(header->name)) ||
            !link_header_value_ok(header->value, strlen(header->value)))
            return false;
    }
    return true;
}

/* Sends on the connection; everything has been checked. */
int link_send(struct link *link, const struct link_out *out, const char *reply) {
    int rc = link->conn->transport->publish(link->conn, out, reply);
    if (rc == LN_OK)
        link->unwritten += out->len + 64;
    return rc;
}

static size_t offline_record_size(const struct link_out *out, const char *reply) {
    size_t size = 4 * sizeof(size_t) + strlen(out->subject) + 2 + out->len +
                  (reply != NULL ? strlen(reply) : 0);
    for (size_t i = 0; i < out->header_count; i++)
        size += strlen(out->headers[i].name) + strlen(out->headers[i].value) + 2;
    return size;
}

static char *put(char *at, const char *text, size_t len) {
    memcpy(at, text, len);
    at[len] = '\0';
    return at + len + 1;
}

/* Keeps a message for the next connection; send_offline() reads the record. */
static int keep_offline(struct link *link, const struct link_out *out, const char *reply) {
    size_t size = offline_record_size(out, reply);
    if (link->info.max_payload > 0 && out->len > (size_t)link->info.max_payload)
        return LN_ETOOLARGE;
    if (link->offline_len + size > LINK_OFFLINE_MAX)
        return LN_EFULL;
    if (link->offline_len + size > link->offline_size) {
        size_t grown = (link->offline_len + size) * 2;
        char *data = realloc(link->offline, grown);
        if (data == NULL)
            return LN_ENOMEM;
        link->offline = data;
        link->offline_size = grown;
    }
    char *at = link->offline + link->offline_len;
    size_t head[4] = {strlen(out->subject), reply != NULL ? strlen(reply) : 0, out->len,
                      out->header_count};
    memcpy(at, head, sizeof(head));
    at = put(at + sizeof(head), out->subject, head[0]);
    at = put(at, reply != NULL ? reply : "", head[1]);
    for (size_t i = 0; i < out->header_count; i++) {
        at = put(at, out->headers[i].name, strlen(out->headers[i].name));
        at = put(at, out->headers[i].value, strlen(out->headers[i].value));
    }
    if (out->len > 0)
        memcpy(at, out->data, out->len);
    link->offline_len += size;
    return LN_OK;
}

/* Sends what was published while there was no connection. */
void link_send_offline(struct link *link) {
    char *data = link->offline;
    size_t len = link->offline_len, at = 0;
    link->offline = NULL;
    link->offline_len = link->offline_size = 0;
    while (at < len) {
        size_t head[4]; /* lengths of subject, reply and data, number of headers */
        memcpy(head, data + at, sizeof(head));
        at += sizeof(head);
        struct link_header headers[32], *list = headers;
        struct link_out out = {.subject = data + at, .len = head[2]};
        at += head[0] + 1;
        const char *reply = head[1] > 0 ? data + at : NULL;
        at += head[1] + 1;
        if (head[3] > 32)
            list = calloc(head[3], sizeof(*list));
        for (size_t i = 0; i < head[3]; i++) {
            const char *name = data + at;
            at += strlen(name) + 1;
            if (list != NULL)
                list[i] = (struct link_header){.name = name, .value = data + at};
            at += strlen(data + at) + 1;
        }
        out.headers = list;
        out.header_count = list != NULL ? head[3] : 0;
        out.data = data + at;
        at += head[2];
        int rc = link_send(link, &out, reply);
        if (rc != LN_OK && !link->closing && link->events.on_error != NULL)
            link->events.on_error(link->owner, rc, link_error_text(link, rc));
        if (list != headers)
            free(list);
    }
    free(data);
}

int link_publish(struct link *link, const struct link_out *out) {
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    const char *reply = out->reply != NULL && *out->reply != '\0' ? out->reply : NULL;
    if (!out->checked && !link_out_ok(out, reply))
        return LN_EINVAL;
    if (out->len > INT32_MAX)
        return LN_ETOOLARGE;
    if (link->tap != NULL)
        link->tap(link->tap_owner, out);
    return link->conn != NULL ? link_send(link, out, reply) : keep_offline(link, out, reply);
}

void link_set_tap(struct link *link, void (*tap)(void *owner, const struct link_out *out),
                  void *owner) {
    link->tap = tap;
    link->tap_owner = owner;
}

/* ---- waiting for the socket ---- */

bool link_congested(const struct link *link) {
    return link->unwritten > link->high_water;
}

void link_wait(struct link *link, struct link_waiter *waiter) {
    waiter->next = link->waiters;
    waiter->prev = &link->waiters;
    if (waiter->next != NULL)
        waiter->next->prev = &waiter->next;
    link->waiters = waiter;
    if (!link_congested(link) || link->state == LINK_CLOSED)
        link_want_turn(link);
}

void link_wait_cancel(struct link_waiter *waiter) {
    if (waiter->prev == NULL)
        return;
    *waiter->prev = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    waiter->next = NULL;
    waiter->prev = NULL;
}

/* First come, first served; whoever waits again from its callback waits for the next time. */
void link_wake_waiters(struct link *link, int status) {
    struct link_waiter *queue = NULL; /* the list is newest first: turn it round */
    while (link->waiters != NULL) {
        struct link_waiter *waiter = link->waiters;
        link_wait_cancel(waiter);
        waiter->next = queue;
        waiter->prev = &queue;
        if (queue != NULL)
            queue->prev = &waiter->next;
        queue = waiter;
    }
    while (queue != NULL) {
        struct link_waiter *waiter = queue;
        link_wait_cancel(waiter); /* moves queue on */
        waiter->on_ready(waiter, status);
    }
}

void link_on_written(struct link *link) {
    if (link->waiters == NULL)
        return;
    if (link->state == LINK_CLOSED)
        link_wake_waiters(link, LN_ECLOSED);
    else if (link->unwritten <= link->high_water / 2)
        link_wake_waiters(link, LN_OK);
}
