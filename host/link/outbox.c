/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/put.h"

#define KEPT_MAX ((size_t)8 * 1024 * 1024)
#define VERSION_LINE "NATS/1.0\r\n"

struct outbox {
    struct stream *stream;        /* NULL: not connected */
    const struct tally *tally;    /* NULL: nobody's */
    size_t max_payload, max_line; /* what the server takes; 0: not known yet */
    bool headers;
    struct list waiters; /* first come, first served */
    char *kept;          /* frames, each behind its struct measure */
    size_t kept_len, kept_size;
    uint64_t out_msgs, out_bytes;
};

/* What has to be known of a frame. */
struct measure {
    size_t subject, reply; /* lengths */
    size_t headers;        /* with their version line; 0: none */
    size_t payload;        /* headers and data */
    size_t frame;          /* at most; in `kept` exactly */
};

/* ---- frames ---- */

static size_t headers_size(const struct link_out *out) {
    if (out->header_count == 0)
        return 0;
    size_t size = sizeof(VERSION_LINE) - 1 + 2;
    for (size_t i = 0; i < out->header_count; i++)
        size += strlen(out->headers[i].name) + strlen(out->headers[i].value) + 4;
    return size;
}

static char *put_headers(char *at, const struct link_out *out) {
    at = put_text(at, VERSION_LINE);
    for (size_t i = 0; i < out->header_count; i++) {
        at = put_text(at, out->headers[i].name);
        at = put(at, ": ", 2);
        at = put_text(at, out->headers[i].value);
        at = put(at, "\r\n", 2);
    }
    return put(at, "\r\n", 2);
}

static void measure(const struct link_out *out, const char *reply, struct measure *size) {
    size->subject = strlen(out->subject);
    size->reply = reply != NULL ? strlen(reply) : 0;
    size->headers = headers_size(out);
    size->payload = size->headers + out->len;
    size->frame = size->subject + size->reply + size->payload + 2 * NUMBER_SIZE + 16;
}

/* PUB subject [reply] size, HPUB subject [reply] headers size */
static char *put_frame(char *at, const struct link_out *out, const char *reply,
                       const struct measure *size) {
    at = size->headers > 0 ? put(at, "HPUB ", 5) : put(at, "PUB ", 4);
    at = put(at, out->subject, size->subject);
    *at++ = ' ';
    if (reply != NULL) {
        at = put(at, reply, size->reply);
        *at++ = ' ';
    }
    if (size->headers > 0) {
        at = put_number(at, size->headers);
        *at++ = ' ';
    }
    at = put_number(at, size->payload);
    at = put(at, "\r\n", 2);
    if (size->headers > 0)
        at = put_headers(at, out);
    if (out->len > 0)
        at = put(at, out->data, out->len);
    return put(at, "\r\n", 2);
}

static size_t digits(size_t value) {
    size_t count = 1;
    while ((value /= 10) > 0)
        count++;
    return count;
}

/* Without the verb, as the server counts. */
static size_t line_size(const struct measure *size) {
    return size->subject + 1 + (size->reply > 0 ? size->reply + 1 : 0) +
           (size->headers > 0 ? digits(size->headers) + 1 : 0) + digits(size->payload);
}

/* A server closes the connection over a frame that it does not take. */
static int check(const struct outbox *outbox, const struct measure *size) {
    if (outbox->max_payload > 0 && size->payload > outbox->max_payload)
        return LN_ETOOLARGE;
    if (size->subject + size->reply + 2 * NUMBER_SIZE > outbox->max_line &&
        line_size(size) > outbox->max_line)
        return LN_ETOOLARGE;
    return size->headers > 0 && !outbox->headers ? LN_ENATS : LN_OK;
}

/* ---- publishing ---- */

static size_t most(const struct outbox *outbox) {
    return outbox->tally != NULL && outbox->tally->most != 0 ? outbox->tally->most : SIZE_MAX;
}

/* Keeps a message for the next connection. */
static int keep(struct outbox *outbox, const struct link_out *out, const char *reply,
                struct measure *size) {
    size_t len = outbox->kept_len + sizeof(*size) + size->frame;
    size_t bound = most(outbox) < KEPT_MAX ? most(outbox) : KEPT_MAX;
    if (len > bound)
        return LN_EFULL;
    if (len > outbox->kept_size) {
        size_t grown = len < bound / 2 ? len * 2 : bound;
        char *kept = realloc(outbox->kept, grown);
        if (kept == NULL)
            return LN_ENOMEM;
        outbox->kept = kept;
        outbox->kept_size = grown;
    }
    char *at = outbox->kept + outbox->kept_len, *frame = at + sizeof(*size);
    size->frame = (size_t)(put_frame(frame, out, reply, size) - frame);
    memcpy(at, size, sizeof(*size));
    outbox->kept_len += sizeof(*size) + size->frame;
    return LN_OK;
}

int outbox_publish(struct outbox *outbox, const struct link_out *out, const char *reply) {
    struct measure size;
    measure(out, reply, &size);
    int rc = check(outbox, &size);
    if (rc != LN_OK)
        return rc;
    if (outbox->stream == NULL)
        return keep(outbox, out, reply, &size);
    char *at = stream_reserve_within(outbox->stream, size.frame, most(outbox));
    if (at == NULL)
        return stream_unsent(outbox->stream) + size.frame > most(outbox) ? LN_EFULL : LN_ENOMEM;
    stream_commit(outbox->stream, put_frame(at, out, reply, &size));
    outbox->out_msgs++;
    outbox->out_bytes += out->len;
    return LN_OK;
}

void outbox_set_limits(struct outbox *outbox, const struct info *info) {
    outbox->max_payload = info->max_payload > 0 ? (size_t)info->max_payload : 0;
    outbox->headers = info->headers;
}

size_t outbox_connected(struct outbox *outbox, struct stream *stream, const struct info *info) {
    size_t refused = 0;
    outbox->stream = stream;
    outbox_set_limits(outbox, info);
    for (size_t at = 0; at < outbox->kept_len;) {
        struct measure size;
        memcpy(&size, outbox->kept + at, sizeof(size));
        at += sizeof(size);
        char *to = check(outbox, &size) == LN_OK ? stream_reserve(stream, size.frame) : NULL;
        if (to != NULL) {
            stream_commit(stream, put(to, outbox->kept + at, size.frame));
            outbox->out_msgs++;
            outbox->out_bytes += size.payload - size.headers;
        }
        refused += to == NULL;
        at += size.frame;
    }
    free(outbox->kept);
    outbox->kept = NULL;
    outbox->kept_len = outbox->kept_size = 0;
    return refused;
}

void outbox_disconnected(struct outbox *outbox) {
    outbox->stream = NULL;
}

/* ---- waiting for the socket ---- */

void outbox_wait(struct outbox *outbox, struct link_waiter *waiter) {
    list_push_back(&outbox->waiters, &waiter->node);
}

void link_wait_cancel(struct link_waiter *waiter) {
    list_remove(&waiter->node);
}

bool outbox_awaited(const struct outbox *outbox) {
    return !list_empty(&outbox->waiters);
}

/* Whoever waits again from its callback waits for the next time. */
void outbox_wake(struct outbox *outbox, int status, size_t most) {
    struct list walk = {0};
    list_move(&walk, &outbox->waiters);
    for (struct list_node *node; most > 0 && (node = list_pop_front(&walk)) != NULL; most--) {
        struct link_waiter *waiter = list_item(node, struct link_waiter, node);
        waiter->on_ready(waiter, status);
    }
    list_move(&walk, &outbox->waiters);
    list_move(&outbox->waiters, &walk);
}

/* ---- facts, life ---- */

size_t outbox_kept(const struct outbox *outbox) {
    return outbox->kept_len;
}

size_t outbox_memory(const struct outbox *outbox) {
    return outbox->kept_size;
}

void outbox_set_tally(struct outbox *outbox, const struct tally *tally) {
    outbox->tally = tally;
}

void outbox_sent(const struct outbox *outbox, uint64_t *messages, uint64_t *bytes) {
    *messages = outbox->out_msgs;
    *bytes = outbox->out_bytes;
}

struct outbox *outbox_new(size_t max_line) {
    struct outbox *outbox = calloc(1, sizeof(*outbox));
    if (outbox != NULL) {
        outbox->max_line = max_line;
        outbox->headers = true;
    }
    return outbox;
}

void outbox_free(struct outbox *outbox) {
    if (outbox != NULL)
        free(outbox->kept);
    free(outbox);
}
