/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/base/pooled.h"

#define VERSION "NATS/1.0"

/* A status line becomes two headers, which may be longer than the line: by this much. */
#define STATUS_ROOM (sizeof("Status") + sizeof("Description"))

static char *put(char *at, const char *bytes, size_t len) {
    if (len > 0)
        memcpy(at, bytes, len);
    at[len] = '\0';
    return at + len + 1;
}

/* ---- headers: wire format in NATS ADR-4 ---- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static char *put_trimmed(char *at, const char *bytes, const char *end) {
    while (bytes < end && is_blank(*bytes))
        bytes++;
    while (end > bytes && is_blank(end[-1]))
        end--;
    return put(at, bytes, (size_t)(end - bytes));
}

static int number_of(const char *digits, size_t len) {
    int number = 0;
    for (size_t i = 0; i < 3; i++) {
        if (len != 3 || digits[i] < '0' || digits[i] > '9')
            return 0;
        number = number * 10 + (digits[i] - '0');
    }
    return number;
}

/* "NATS/1.0 503 No Responders": status and description as headers. Only this line makes a
 * status: a header of that name is the business of whoever sent it. */
static char *put_status(char *at, const char *line, const char *end, int *status) {
    line += sizeof(VERSION) - 1;
    while (line < end && is_blank(*line))
        line++;
    const char *text = line;
    while (text < end && !is_blank(*text))
        text++;
    if (line == text)
        return at;
    *status = number_of(line, (size_t)(text - line));
    at = put(at, "Status", 6);
    at = put(at, line, (size_t)(text - line));
    while (text < end && is_blank(*text))
        text++;
    if (text == end)
        return at;
    at = put(at, "Description", 11);
    return put_trimmed(at, text, end);
}

/* Writes the block for the headers of the wire; returns its end. */
static char *put_headers(char *at, const char *line, size_t len, int *status) {
    const char *end = line + len;
    for (bool first = true; line < end; first = false) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        const char *stop = eol != NULL ? eol : end;
        const char *colon = memchr(line, ':', (size_t)(stop - line));
        bool broken = memchr(line, '\0', (size_t)(stop - line)) != NULL;
        if (!broken && first && len >= sizeof(VERSION) - 1 &&
            memcmp(line, VERSION, sizeof(VERSION) - 1) == 0) {
            at = put_status(at, line, stop, status);
        } else if (!broken && colon != NULL && colon > line) {
            at = put(at, line, (size_t)(colon - line));
            at = put_trimmed(at, colon + 1, stop);
        }
        line = stop + 1;
    }
    return at;
}

/* ---- memory ---- */

/*
 * A read brings hundreds of messages before the first one is freed, which is more than malloc()
 * keeps at hand: a tenth of an echo. So small ones wait here for the next ones, of about the
 * same size.
 */
#define STEP ((size_t)128)
#define CLASSES ((size_t)8)
#define KEPT_MAX 1024u /* of a class */

static _Thread_local struct {
    struct message *first;
    unsigned count;
} kept[CLASSES];

/* `room` bytes behind the struct. */
static struct message *take(size_t room) {
    size_t class = (sizeof(struct message) + room - 1) / STEP;
    struct message *msg = LN_POOLED && class < CLASSES ? kept[class].first : NULL;
    if (msg != NULL) {
        kept[class].first = msg->next;
        kept[class].count--;
        return msg;
    }
    msg = malloc(class < CLASSES ? (class + 1) * STEP : sizeof(*msg) + room);
    if (msg != NULL)
        msg->class = class;
    return msg;
}

void message_free(struct message *msg) {
    if (msg == NULL)
        return;
    if (msg->tally != NULL)
        tally_remove(msg->tally, sizeof(*msg) + msg->size);
    if (!LN_POOLED || msg->class >= CLASSES || kept[msg->class].count >= KEPT_MAX) {
        free(msg);
        return;
    }
    msg->next = kept[msg->class].first;
    kept[msg->class].first = msg;
    kept[msg->class].count++;
}

/* ---- messages ---- */

struct message *message_new(const struct message_parts *parts) {
    size_t room = parts->subject_len + 1 + parts->len + 1;
    if (parts->reply != NULL)
        room += parts->reply_len + 1;
    if (parts->headers != NULL)
        room += parts->headers_len + STATUS_ROOM;
    struct message *msg = take(room);
    if (msg == NULL)
        return NULL;
    char *at = msg->bytes;
    msg->subject = at;
    at = put(at, parts->subject, parts->subject_len);
    msg->reply = parts->reply != NULL ? at : NULL;
    if (parts->reply != NULL)
        at = put(at, parts->reply, parts->reply_len);
    msg->headers = at;
    msg->status = 0;
    if (parts->headers != NULL)
        at = put_headers(at, parts->headers, parts->headers_len, &msg->status);
    msg->headers_len = (size_t)(at - msg->headers);
    if (msg->headers_len == 0)
        msg->headers = NULL;
    msg->data = at;
    msg->received = parts->received;
    msg->tally = NULL;
    msg->len = parts->len;
    at = put(at, parts->data, parts->len);
    msg->size = (size_t)(at - msg->bytes);
    if (parts->len > 0)
        msg->status = 0;
    return msg;
}

const char *header_find(const char *headers, size_t len, const char *name) {
    const char *end = headers != NULL ? headers + len : NULL;
    for (const char *at = headers; at < end;) {
        const char *value = at + strlen(at) + 1;
        if (strcasecmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

const char *message_header(const struct message *msg, const char *name) {
    return header_find(msg->headers, msg->headers_len, name);
}
