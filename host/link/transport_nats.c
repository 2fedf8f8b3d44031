/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport for a TLS socket, whose bytes only nats.c sees: nats.c reads, parses and
 * writes.
 *
 * Only synchronous subscriptions of nats.c are used. After each read event their queues are
 * emptied at once, so the loss of a connection, which empties nats.c's queues, takes nothing
 * away, and the count of messages that a read brought tells when all of them are found. The
 * link's list of subscriptions is kept most recently used first, so that finding them rarely
 * looks at an idle one.
 *
 * A difficulty: natsSubscription_NextMsg() destroys a 503 ("no responders") and returns only a
 * status, so it would be unknown which of several requests was meant. It asks
 * natsMsg_IsNoResponders() for that, a public function of nats.c, which this file replaces with
 * one that says no while the link takes messages. Where libnats is bound to its own copy
 * (-Bsymbolic, macOS) this has no effect: a request that nobody serves then ends by its
 * time-out. spec/unit/link_test.c shows whether it has.
 */
#include "host/link/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* nats.c hands destroyed messages to a thread of its own, which each batch wakes up. */
#define BATCH 256

static _Thread_local bool taking;

/* Replaces the function of nats.c; see above. */
bool natsMsg_IsNoResponders(natsMsg *msg) {
    const char *status = NULL;
    return !taking && msg != NULL && natsMsg_GetDataLength(msg) == 0 &&
           natsMsgHeader_Get(msg, "Status", &status) == NATS_OK && status != NULL &&
           strcmp(status, "503") == 0;
}

/* ---- messages ---- */

struct text {
    char *bytes;
    size_t len, size;
    bool failed;
};

static void append(struct text *text, const char *word) {
    size_t len = strlen(word);
    if (text->failed)
        return;
    if (text->len + len > text->size) {
        size_t size = (text->len + len) * 2;
        char *bytes = realloc(text->bytes, size);
        text->failed = bytes == NULL;
        if (text->failed)
            return;
        text->bytes = bytes;
        text->size = size;
    }
    memcpy(text->bytes + text->len, word, len);
    text->len += len;
}

static void append_values(struct text *text, natsMsg *msg, const char *name) {
    const char **values = NULL;
    int count = 0;
    if (natsMsgHeader_Values(msg, name, &values, &count) != NATS_OK)
        return;
    for (int i = 0; i < count; i++) {
        append(text, name);
        append(text, ": ");
        append(text, values[i]);
        append(text, "\r\n");
    }
    free((void *)values);
}

/* nats.c makes headers of the status line: back again. */
static void append_status(struct text *text, natsMsg *msg) {
    const char *status = NULL, *description = NULL;
    append(text, "NATS/1.0");
    if (natsMsg_GetDataLength(msg) == 0 &&
        natsMsgHeader_Get(msg, "Status", &status) == NATS_OK && status != NULL) {
        append(text, " ");
        append(text, status);
        if (natsMsgHeader_Get(msg, "Description", &description) == NATS_OK &&
            description != NULL) {
            append(text, " ");
            append(text, description);
        }
    }
    append(text, "\r\n");
}

static bool is_status(natsMsg *msg, const char *name) {
    return natsMsg_GetDataLength(msg) == 0 &&
           (strcmp(name, "Status") == 0 || strcmp(name, "Description") == 0);
}

/*
 * The headers as they were on the wire, but for the order of different names. nats.c 3.4 fails
 * at a header without a value; asked again, it has those before it.
 */
static void write_headers(struct text *text, natsMsg *msg) {
    const char **names = NULL;
    int count = 0;
    if (natsMsgHeader_Keys(msg, &names, &count) != NATS_OK &&
        natsMsgHeader_Keys(msg, &names, &count) != NATS_OK)
        return;
    append_status(text, msg);
    for (int i = 0; i < count; i++)
        if (!is_status(msg, names[i]))
            append_values(text, msg, names[i]);
    free((void *)names);
}

static struct message *copy_msg(natsMsg *msg) {
    struct text headers = {0};
    write_headers(&headers, msg);
    const char *subject = natsMsg_GetSubject(msg), *reply = natsMsg_GetReply(msg);
    struct message *copy = headers.failed ? NULL
                                          : message_new(&(struct message_parts){
                                                .subject = subject,
                                                .subject_len = strlen(subject),
                                                .reply = reply,
                                                .reply_len = reply != NULL ? strlen(reply) : 0,
                                                .headers = headers.bytes,
                                                .headers_len = headers.len,
                                                .data = natsMsg_GetData(msg),
                                                .len = (size_t)natsMsg_GetDataLength(msg),
                                            });
    free(headers.bytes);
    return copy;
}

static void deliver(struct link_sub *sub, natsMsg *msg) {
    struct message *copy = copy_msg(msg);
    if (copy != NULL)
        subs_dispatch(sub, copy);
    else if (sub->on_error != NULL)
        sub->on_error(sub->owner, LN_ENOMEM, "out of memory: a message is lost");
}

/* ---- reading ---- */

static void empty(natsMsg **batch, size_t *count) {
    for (size_t i = 0; i < *count; i++)
        natsMsg_Destroy(batch[i]);
    *count = 0;
}

static natsMsg *next_msg(struct link_sub *sub, natsStatus *status) {
    natsMsg *msg = NULL;
    taking = true;
    *status = natsSubscription_NextMsg(&msg, sub->nats, 0);
    taking = false;
    return msg;
}

/* Empties nats.c's queue of one subscription; returns how many messages it held. */
static uint64_t take_from(struct link_sub *sub) {
    int count = 0;
    if (sub->nats == NULL || natsSubscription_GetPending(sub->nats, &count, NULL) != NATS_OK ||
        count <= 0)
        return 0;
    subs_touch(sub);
    sub->busy++;
    natsMsg *batch[BATCH];
    size_t held = 0;
    natsStatus s = NATS_OK;
    for (int i = 0; i < count && !sub->dead && sub->nats != NULL; i++) {
        natsMsg *msg = next_msg(sub, &s);
        if (s == NATS_OK) {
            deliver(sub, msg);
            batch[held++] = msg;
            if (held == BATCH)
                empty(batch, &held);
        } else if (s != NATS_SLOW_CONSUMER && s != NATS_NO_RESPONDERS) {
            break;
        }
    }
    empty(batch, &held);
    subs_leave(sub);
    return (uint64_t)count;
}

static uint64_t count_in_msgs(struct conn *conn) {
    natsStatistics *stats = conn->link->stats;
    uint64_t in_msgs = 0;
    natsConnection_GetStats(conn->nats, stats);
    natsStatistics_GetCounts(stats, &in_msgs, NULL, NULL, NULL, NULL);
    return in_msgs;
}

static void nats_read(struct conn *conn) {
    struct link *link = conn->link;
    natsConnection_ProcessReadEvent(conn->nats);
    uint64_t in_msgs = count_in_msgs(conn);
    uint64_t fresh = in_msgs - conn->seen_msgs;
    conn->seen_msgs = in_msgs;
    if (fresh == 0)
        return;
    for (struct link_sub *sub = link->subs; sub != NULL && fresh > 0; sub = link->cursor) {
        link->cursor = sub->next;
        uint64_t took = take_from(sub);
        fresh -= took < fresh ? took : fresh;
    }
    link->cursor = NULL;
}

/* ---- writing ---- */

static size_t nats_buffered(const struct conn *conn) {
    int left = natsConnection_Buffered(conn->nats);
    return left > 0 ? (size_t)left : 0;
}

static bool nats_write(struct conn *conn) {
    conn->written = false;
    natsConnection_ProcessWriteEvent(conn->nats);
    return conn->written;
}

static natsStatus send_with_headers(struct conn *conn, const struct link_out *out,
                                    const char *reply) {
    natsMsg *msg = NULL;
    natsStatus s = natsMsg_Create(&msg, out->subject, reply, out->data, (int)out->len);
    for (size_t i = 0; s == NATS_OK && i < out->header_count; i++)
        s = natsMsgHeader_Add(msg, out->headers[i].name, out->headers[i].value);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(conn->nats, msg);
    natsMsg_Destroy(msg);
    return s;
}

static int result(struct conn *conn, natsStatus s) {
    return s == NATS_OK ? LN_OK : link_failed(conn->link, s);
}

static int nats_publish(struct conn *conn, const struct link_out *out, const char *reply) {
    natsStatus s;
    if (out->header_count > 0)
        s = send_with_headers(conn, out, reply);
    else if (reply != NULL)
        s = natsConnection_PublishRequest(conn->nats, out->subject, reply, out->data,
                                          (int)out->len);
    else
        s = natsConnection_Publish(conn->nats, out->subject, out->data, (int)out->len);
    return result(conn, s);
}

/* ---- subscriptions ---- */

static natsStatus subscribe(struct conn *conn, struct link_sub *sub) {
    if (sub->queue != NULL)
        return natsConnection_QueueSubscribeSync(&sub->nats, conn->nats, sub->pattern,
                                                 sub->queue);
    return natsConnection_SubscribeSync(&sub->nats, conn->nats, sub->pattern);
}

static int nats_subscribe(struct conn *conn, struct link_sub *sub) {
    natsStatus s = subscribe(conn, sub);
    if (s == NATS_OK) /* emptied after each read, so one read is the bound */
        s = natsSubscription_SetPendingLimits(sub->nats, -1, -1);
    int rc = result(conn, s);
    if (s != NATS_OK && sub->nats != NULL)
        natsSubscription_Destroy(sub->nats);
    if (s != NATS_OK)
        sub->nats = NULL;
    return rc;
}

/* Sends the UNSUB and, unlike Unsubscribe(), lets messages on their way in. The time-out of
 * nats.c is not used. */
static bool nats_drain(struct conn *conn, struct link_sub *sub) {
    (void)conn;
    return natsSubscription_DrainTimeout(sub->nats, 0) == NATS_OK;
}

static void nats_unsubscribe(struct conn *conn, struct link_sub *sub) {
    (void)conn;
    natsSubscription_Destroy(sub->nats);
    sub->nats = NULL;
}

static int nats_provoke(struct conn *conn, const char *subject) {
    natsSubscription *sub = NULL;
    natsStatus s = natsConnection_SubscribeSync(&sub, conn->nats, subject);
    if (s == NATS_OK)
        natsSubscription_Destroy(sub);
    return result(conn, s);
}

/* ---- life ---- */

static void nats_add_stats(const struct conn *conn, struct link_stats *out) {
    uint64_t in_msgs = 0, in_bytes = 0, out_msgs = 0, out_bytes = 0;
    natsStatistics *stats = conn->link->stats;
    natsConnection_GetStats(conn->nats, stats);
    natsStatistics_GetCounts(stats, &in_msgs, &in_bytes, &out_msgs, &out_bytes, NULL);
    out->in_msgs += in_msgs;
    out->in_bytes += in_bytes;
    out->out_msgs += out_msgs;
    out->out_bytes += out_bytes;
}

/*
 * Without blocking: natsConnection_Destroy() of a live connection may wait 500 ms for a flush,
 * but with the socket shut down nats.c closes it on the next read.
 */
static void nats_end(struct conn *conn) {
    if (conn->lost)
        return;
    shutdown(conn->fd, SHUT_RDWR);
    char scrap[4096];
    while (recv(conn->fd, scrap, sizeof(scrap), MSG_DONTWAIT) > 0)
        ;
    for (int i = 0; i < 1000 && !conn->lost; i++)
        natsConnection_ProcessReadEvent(conn->nats);
}

const struct transport transport_nats = {
    .read = nats_read,
    .write = nats_write,
    .publish = nats_publish,
    .subscribe = nats_subscribe,
    .drain = nats_drain,
    .unsubscribe = nats_unsubscribe,
    .provoke = nats_provoke,
    .buffered = nats_buffered,
    .add_stats = nats_add_stats,
    .end = nats_end,
};
