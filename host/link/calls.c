/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nats/nats.h>

#define NO_SLOT UINT32_MAX
#define DIGITS 5
#define TOKEN_LEN (2 * DIGITS)
#define SLOT_MAX (1u << (5 * DIGITS))
static const char alphabet[] = "0123456789abcdefghijklmnopqrstuv";

struct slot {
    struct link_call *call; /* NULL: free */
    uint64_t subject_hash;  /* of the subject requested */
    uint32_t generation, next_free;
};

struct calls {
    struct slot *slots;
    uint32_t slot_count, first_free;
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

/* The slot that a subject of the inbox names, if its call still waits. */
static struct slot *find_slot(struct calls *calls, const char *subject) {
    uint32_t slot, generation;
    size_t len = strlen(subject);
    if (len != calls->inbox_len + TOKEN_LEN ||
        memcmp(subject, calls->inbox, calls->inbox_len) != 0 ||
        !read_digits(subject + calls->inbox_len, &slot) ||
        !read_digits(subject + calls->inbox_len + DIGITS, &generation) ||
        slot >= calls->slot_count)
        return NULL;
    struct slot *found = &calls->slots[slot];
    return found->call != NULL && found->generation == generation ? found : NULL;
}

static uint64_t hash(const char *text, size_t len) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return h;
}

/* ---- slots ---- */

static bool slots_grow(struct calls *calls) {
    uint32_t count = calls->slot_count == 0 ? 64 : calls->slot_count * 2;
    if (count > SLOT_MAX)
        return false;
    struct slot *slots = realloc(calls->slots, count * sizeof(*slots));
    if (slots == NULL)
        return false;
    calls->slots = slots;
    for (uint32_t i = count; i-- > calls->slot_count;) {
        slots[i] = (struct slot){.next_free = calls->first_free};
        calls->first_free = i;
    }
    calls->slot_count = count;
    return true;
}

static void slot_free(struct calls *calls, uint32_t index) {
    struct slot *slot = &calls->slots[index];
    slot->call = NULL;
    slot->generation = (slot->generation + 1) & (SLOT_MAX - 1);
    slot->next_free = calls->first_free;
    calls->first_free = index;
}

/* ---- ends ---- */

/* Makes the call idle: from here its memory may go. */
static void retire(struct link_call *call) {
    struct calls *calls = call->calls;
    clock_disarm(call->clock, &call->deadline);
    list_remove(&call->node);
    if (call->number == 0)
        slot_free(calls, call->slot);
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
    if (calls->first_free == NO_SLOT && !slots_grow(calls))
        return LN_ENOMEM;
    uint32_t index = calls->first_free;
    struct slot *slot = &calls->slots[index];
    calls->first_free = slot->next_free;
    slot->call = call;
    slot->subject_hash = hash(subject, strlen(subject));
    call->slot = index;
    call->number = 0;
    call->many = many;
    begin(calls, call, clock, timeout_ms, on_reply);
    list_push_back(&calls->requests, &call->node);
    write_digits(calls->inbox + calls->inbox_len, index);
    write_digits(calls->inbox + calls->inbox_len + DIGITS, slot->generation);
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
    struct slot *slot = find_slot(calls, msg->subject);
    struct link_call *call = slot != NULL ? slot->call : NULL;
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
static void fail(struct calls *calls, struct list *list, int status, const uint64_t *wanted) {
    struct list walk = {0};
    list_move(&walk, list);
    for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
        struct link_call *call = list_item(node, struct link_call, node);
        list_push_back(list, node);
        if (wanted == NULL || calls->slots[call->slot].subject_hash == *wanted)
            finish(call, status, NULL);
    }
}

void calls_fail_all(struct calls *calls, int status) {
    fail(calls, &calls->requests, status, NULL);
    fail(calls, &calls->pings, status, NULL);
}

void calls_fail_requests(struct calls *calls, int status) {
    fail(calls, &calls->requests, status, NULL);
}

void calls_fail_subject(struct calls *calls, const char *subject, size_t len, int status) {
    uint64_t wanted = hash(subject, len);
    fail(calls, &calls->requests, status, &wanted);
}

size_t calls_count(const struct calls *calls) {
    return calls->count;
}

/* ---- life ---- */

void calls_new_inbox(const char *prefix, char out[LINK_INBOX_SIZE]) {
    natsInbox *inbox = NULL;
    out[0] = '\0';
    if (natsInbox_Create(&inbox) != NATS_OK)
        return;
    const char *nuid = strrchr(inbox, '.');
    snprintf(out, LINK_INBOX_SIZE, "%s.%s", prefix, nuid == NULL ? inbox : nuid + 1);
    natsInbox_Destroy(inbox);
}

const char *calls_inbox(struct calls *calls) {
    strcpy(calls->inbox + calls->inbox_len, "*");
    return calls->inbox;
}

struct calls *calls_new(const char *prefix) {
    struct calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return NULL;
    calls->first_free = NO_SLOT;
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
        free(calls->slots);
    free(calls);
}
