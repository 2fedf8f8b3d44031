/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/slots.h"
#include "host/base/unique.h"

#define DIGITS 5 /* of slot and generation */
#define TOKEN_LEN (2 * DIGITS)
static const char alphabet[] = "0123456789abcdefghijklmnopqrstuv";

struct calls {
    struct slots slots; /* of the requests */
    struct list requests;
    struct list pings;           /* round trips, by number */
    size_t count;                /* of both */
    char inbox[LINK_INBOX_SIZE]; /* "<prefix>.<nuid>.", then room for a token */
    size_t inbox_len;
};

/* ---- tokens ---- */

static void write_digits(char *out, uint32_t value) {
    for (int i = DIGITS - 1; i >= 0; i--) {
        out[i] = alphabet[value & 31];
        value >>= 5;
    }
}

static bool read_digits(const char *in, uint32_t *value) {
    uint32_t result = 0;
    for (int i = 0; i < DIGITS; i++) {
        char c = in[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'v')
            digit = (uint32_t)(c - 'a' + 10);
        else
            return false;
        result = result << 5 | digit;
    }
    *value = result;
    return true;
}

/* The call that a subject of the inbox names, if it still waits. */
static struct link_call *find_call(struct calls *calls, const char *subject) {
    uint32_t index, generation;
    size_t len = strlen(subject);
    if (len != calls->inbox_len + TOKEN_LEN ||
        memcmp(subject, calls->inbox, calls->inbox_len) != 0 ||
        !read_digits(subject + calls->inbox_len, &index) ||
        !read_digits(subject + calls->inbox_len + DIGITS, &generation))
        return NULL;
    return slots_find(&calls->slots, index, generation);
}

static uint64_t hash(const char *text, size_t len) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return h;
}

/* ---- ends ---- */

/* Makes the call idle: from here its memory may go. */
static void retire(struct link_call *call) {
    struct calls *calls = call->calls;
    clock_disarm(call->clock, &call->deadline);
    list_remove(&call->node);
    if (call->number == 0)
        slots_release(&calls->slots, call->slot);
    calls->count--;
    call->calls = NULL;
}

static void finish(struct link_call *call, int status, struct message *reply) {
    retire(call);
    call->on_reply(call, status, reply);
}

static void on_deadline(struct clock_timer *timer) {
    finish(container_of(timer, struct link_call, deadline), LN_ETIMEOUT, NULL);
}

void link_call_cancel(struct link_call *call) {
    if (call->calls != NULL)
        retire(call);
}

/* ---- beginning ---- */

static void begin(struct calls *calls, struct link_call *call, struct clock *clock,
                  uint32_t timeout_ms, link_reply_fn on_reply) {
    call->calls = calls;
    call->clock = clock;
    call->on_reply = on_reply;
    call->deadline.fire = on_deadline;
    clock_arm(clock, &call->deadline, timeout_ms);
    calls->count++;
}

int calls_begin(struct calls *calls, struct link_call *call, struct clock *clock,
                const char *subject, uint32_t timeout_ms, bool many, link_reply_fn on_reply,
                const char **reply) {
    if (!slots_take(&calls->slots, call, &call->slot))
        return LN_ENOMEM;
    call->subject_hash = hash(subject, strlen(subject));
    call->number = 0;
    call->many = many;
    begin(calls, call, clock, timeout_ms, on_reply);
    list_push_back(&calls->requests, &call->node);
    write_digits(calls->inbox + calls->inbox_len, call->slot);
    write_digits(calls->inbox + calls->inbox_len + DIGITS,
                 slots_generation(&calls->slots, call->slot));
    calls->inbox[calls->inbox_len + TOKEN_LEN] = '\0';
    *reply = calls->inbox;
    return LN_OK;
}

void calls_begin_ping(struct calls *calls, struct link_call *call, struct clock *clock,
                      uint64_t number, uint32_t timeout_ms, link_reply_fn on_reply) {
    call->number = number;
    call->many = false;
    begin(calls, call, clock, timeout_ms, on_reply);
    list_push_back(&calls->pings, &call->node);
}

/* ---- results ---- */

void calls_on_msg(struct calls *calls, struct message *msg) {
    struct link_call *call = find_call(calls, msg->subject);
    if (call == NULL || msg->status == 503) {
        message_free(msg);
        if (call != NULL)
            finish(call, LN_ENORESPONDERS, NULL);
    } else if (call->many) {
        call->on_reply(call, LN_OK, msg);
    } else {
        finish(call, LN_OK, msg);
    }
}

void calls_on_pong(struct calls *calls, uint64_t number) {
    for (struct list_node *node; (node = list_first(&calls->pings)) != NULL;) {
        struct link_call *call = list_item(node, struct link_call, node);
        if (call->number > number)
            return;
        finish(call, LN_OK, NULL);
    }
}

/* Ends those of a list for which `wanted` is their hash; NULL: all of them. */
static void fail(struct list *list, int status, const uint64_t *wanted) {
    struct list walk = {0};
    list_move(&walk, list);
    for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
        struct link_call *call = list_item(node, struct link_call, node);
        list_push_back(list, node);
        if (wanted == NULL || call->subject_hash == *wanted)
            finish(call, status, NULL);
    }
}

void calls_fail_all(struct calls *calls, int status) {
    fail(&calls->requests, status, NULL);
    fail(&calls->pings, status, NULL);
}

void calls_fail_requests(struct calls *calls, int status) {
    fail(&calls->requests, status, NULL);
}

void calls_fail_subject(struct calls *calls, const char *subject, size_t len, int status) {
    uint64_t wanted = hash(subject, len);
    fail(&calls->requests, status, &wanted);
}

size_t calls_count(const struct calls *calls) {
    return calls->count;
}

size_t calls_memory(const struct calls *calls) {
    return sizeof(*calls) + calls->slots.count * sizeof(*calls->slots.all);
}

/* ---- life ---- */

void calls_new_inbox(const char *prefix, char out[LINK_INBOX_SIZE]) {
    char name[UNIQUE_SIZE];
    unique_name(name);
    snprintf(out, LINK_INBOX_SIZE, "%s.%s", prefix, name);
}

const char *calls_inbox(struct calls *calls) {
    strcpy(calls->inbox + calls->inbox_len, "*");
    return calls->inbox;
}

struct calls *calls_new(const char *prefix) {
    struct calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return NULL;
    calls_new_inbox(prefix, calls->inbox);
    calls->inbox_len = strlen(calls->inbox) + 1;
    if (calls->inbox_len < 2 || calls->inbox_len + TOKEN_LEN >= sizeof(calls->inbox)) {
        free(calls);
        return NULL;
    }
    calls->inbox[calls->inbox_len - 1] = '.';
    return calls;
}

void calls_free(struct calls *calls) {
    if (calls != NULL)
        slots_free(&calls->slots);
    free(calls);
}
