/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: a publish whose reply comes to a token under the one wildcard inbox of the link.
 * The token names a slot and its generation, so that finding the call is an array access and a
 * late reply to an ended call finds nobody.
 */
#include "host/base/container_of.h"
#include "host/link/internal.h"

#include <stdlib.h>
#include <string.h>

#define NO_SLOT UINT32_MAX
#define DIGITS 5
#define SLOT_MAX (1u << (5 * DIGITS))
static const char alphabet[] = "0123456789abcdefghijklmnopqrstuv";

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

static bool is_inbox(struct link *link, const char *subject, size_t len) {
    return len > link->inbox_len && memcmp(subject, link->inbox, link->inbox_len) == 0;
}

/* The slot that a subject of the inbox names, if its call still waits. */
static struct call_slot *find_slot(struct link *link, const char *subject, size_t len) {
    uint32_t slot, generation;
    if (len != link->inbox_len + LINK_TOKEN_LEN || !is_inbox(link, subject, len) ||
        !read_digits(subject + link->inbox_len, &slot) ||
        !read_digits(subject + link->inbox_len + DIGITS, &generation) ||
        slot >= link->slot_count)
        return NULL;
    struct call_slot *found = &link->slots[slot];
    return found->call != NULL && found->generation == generation ? found : NULL;
}

static uint64_t hash(const char *text, size_t len) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return h;
}

/* ---- slots ---- */

static bool slots_grow(struct link *link) {
    uint32_t count = link->slot_count == 0 ? 64 : link->slot_count * 2;
    if (count > SLOT_MAX)
        return false;
    struct call_slot *slots = realloc(link->slots, count * sizeof(*slots));
    if (slots == NULL)
        return false;
    link->slots = slots;
    for (uint32_t i = count; i-- > link->slot_count;) {
        slots[i] = (struct call_slot){.next_free = link->first_free};
        link->first_free = i;
    }
    link->slot_count = count;
    return true;
}

static void slot_free(struct link *link, uint32_t index) {
    struct call_slot *slot = &link->slots[index];
    slot->call = NULL;
    slot->generation = (slot->generation + 1) & (SLOT_MAX - 1);
    slot->next_free = link->first_free;
    link->first_free = index;
    link->call_count--;
}

/* Makes the call idle: from here its memory may go. */
static void retire(struct link_call *call) {
    struct link *link = call->link;
    if (clock_armed(&call->deadline))
        clock_disarm(call->clock, &call->deadline);
    slot_free(link, call->slot);
    call->link = NULL;
}

static void finish(struct link_call *call, int status, struct message *reply) {
    retire(call);
    call->on_reply(call, status, reply);
}

static void on_deadline(struct clock_timer *timer) {
    finish(container_of(timer, struct link_call, deadline), LN_ETIMEOUT, NULL);
}

void link_call_cancel(struct link_call *call) {
    if (call->link != NULL)
        retire(call);
}

/* ---- beginning ---- */

/* Takes a slot and writes its token into link->inbox. */
static int begin(struct link *link, struct link_call *call, struct clock *clock,
                 uint32_t timeout_ms,
                 void (*on_reply)(struct link_call *, int, struct message *)) {
    if (link->first_free == NO_SLOT && !slots_grow(link))
        return LN_ENOMEM;
    call->clock = clock;
    call->deadline.fire = on_deadline;
    clock_arm(clock, &call->deadline, timeout_ms);
    uint32_t index = link->first_free;
    struct call_slot *slot = &link->slots[index];
    link->first_free = slot->next_free;
    link->call_count++;
    slot->call = call;
    slot->flush = false;
    slot->subject_hash = 0;
    call->link = link;
    call->slot = index;
    call->generation = slot->generation;
    call->on_reply = on_reply;
    call->many = false;
    write_digits(link->inbox + link->inbox_len, index);
    write_digits(link->inbox + link->inbox_len + DIGITS, slot->generation);
    link->inbox[link->inbox_len + LINK_TOKEN_LEN] = '\0';
    return LN_OK;
}

static int request(struct link *link, struct link_call *call, struct clock *clock,
                   const struct link_out *out, uint32_t timeout_ms, bool many,
                   void (*on_reply)(struct link_call *, int, struct message *)) {
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (link->conn == NULL || link->state != LINK_CONNECTED)
        return LN_EDISCONNECTED;
    if (!out->checked && !link_out_ok(out, NULL))
        return LN_EINVAL;
    if (out->len > INT32_MAX)
        return LN_ETOOLARGE;
    if (link->tap != NULL)
        link->tap(link->tap_owner, out);
    if (link->inbox_denied)
        return LN_EPERMISSION;
    int rc = begin(link, call, clock, timeout_ms, on_reply);
    if (rc != LN_OK)
        return rc;
    call->many = many;
    link->slots[call->slot].subject_hash = hash(out->subject, strlen(out->subject));
    rc = link_send(link, out, link->inbox);
    if (rc != LN_OK)
        retire(call);
    return rc;
}

int link_request(struct link *link, struct link_call *call, struct clock *clock,
                 const struct link_out *out, uint32_t timeout_ms,
                 void (*on_reply)(struct link_call *, int, struct message *)) {
    return request(link, call, clock, out, timeout_ms, false, on_reply);
}

int link_request_many(struct link *link, struct link_call *call, struct clock *clock,
                      const struct link_out *out, uint32_t timeout_ms,
                      void (*on_reply)(struct link_call *, int, struct message *)) {
    return request(link, call, clock, out, timeout_ms, true, on_reply);
}

/*
 * Sends what makes the server say the token in link->inbox: a message to it, or, when the user
 * may not subscribe to the inbox, a subscription to it, which is refused by name.
 */
static int send_round_trip(struct link *link) {
    if (!link->inbox_denied) {
        struct link_out out = {.subject = link->inbox, .data = ""};
        return link_send(link, &out, NULL);
    }
    return link->conn->transport->provoke(link->conn, link->inbox);
}

int calls_flush(struct link *link, struct link_call *call, struct clock *clock,
                uint32_t timeout_ms,
                void (*on_reply)(struct link_call *, int, struct message *)) {
    if (link->conn == NULL)
        return LN_EDISCONNECTED;
    int rc = begin(link, call, clock, timeout_ms, on_reply);
    if (rc != LN_OK)
        return rc;
    link->slots[call->slot].flush = true;
    rc = send_round_trip(link);
    if (rc != LN_OK)
        retire(call);
    return rc;
}

int link_flush(struct link *link, struct link_call *call, struct clock *clock,
               uint32_t timeout_ms,
               void (*on_reply)(struct link_call *, int, struct message *)) {
    if (link->state == LINK_CLOSED)
        return LN_ECLOSED;
    if (link->state != LINK_CONNECTED)
        return LN_EDISCONNECTED;
    return calls_flush(link, call, clock, timeout_ms, on_reply);
}

const char *calls_unused_subject(struct link *link) {
    strcpy(link->inbox + link->inbox_len, "alive");
    return link->inbox;
}

/* Asks the server for a sign of life; the read event is the answer. */
void calls_probe(struct link *link) {
    calls_unused_subject(link);
    send_round_trip(link);
}

/* ---- results ---- */

/* Notes a round trip; it finishes when all that came before it is delivered. */
static void flush_came(struct link *link, struct call_slot *slot) {
    if (link->flush_done_count == link->flush_done_size) {
        size_t size = link->flush_done_size == 0 ? 16 : link->flush_done_size * 2;
        uint64_t *done = realloc(link->flush_done, size * sizeof(*done));
        if (done == NULL) {
            finish(slot->call, LN_OK, NULL);
            return;
        }
        link->flush_done = done;
        link->flush_done_size = size;
    }
    link->flush_done[link->flush_done_count++] =
        (uint64_t)slot->generation << 32 | (uint32_t)(slot - link->slots);
}

void calls_deliver_flushed(struct link *link) {
    for (size_t i = 0; i < link->flush_done_count; i++) {
        uint64_t done = link->flush_done[i];
        struct call_slot *slot = &link->slots[(uint32_t)done];
        if (slot->call != NULL && slot->generation == done >> 32)
            finish(slot->call, LN_OK, NULL);
    }
    link->flush_done_count = 0;
}

static void on_inbox_msg(void *owner, struct message *msg) {
    struct link *link = owner;
    struct call_slot *slot = find_slot(link, msg->subject, strlen(msg->subject));
    struct link_call *call = slot != NULL ? slot->call : NULL;
    if (slot != NULL && !slot->flush && msg->status != 503) {
        if (call->many)
            call->on_reply(call, LN_OK, msg);
        else
            finish(call, LN_OK, msg);
        return;
    }
    message_free(msg);
    if (slot != NULL && slot->flush)
        flush_came(link, slot);
    else if (slot != NULL)
        finish(call, LN_ENORESPONDERS, NULL);
}

/* Ends those calls for which `wanted` says yes. Callbacks may begin and cancel others. */
static void fail_if(struct link *link, int status, bool (*wanted)(struct call_slot *, uint64_t),
                    uint64_t hash_of) {
    uint32_t count = link->slot_count;
    uint64_t *waiting = calloc(count + 1, sizeof(*waiting));
    uint32_t n = 0;
    for (uint32_t i = 0; waiting != NULL && i < count; i++)
        if (link->slots[i].call != NULL && wanted(&link->slots[i], hash_of))
            waiting[n++] = (uint64_t)link->slots[i].generation << 32 | i;
    for (uint32_t i = 0; i < n; i++) {
        struct call_slot *slot = &link->slots[(uint32_t)waiting[i]];
        if (slot->call != NULL && slot->generation == waiting[i] >> 32)
            finish(slot->call, status, NULL);
    }
    free(waiting);
}

static bool any(struct call_slot *slot, uint64_t unused) {
    (void)slot;
    (void)unused;
    return true;
}

static bool same_subject(struct call_slot *slot, uint64_t hash_of) {
    return !slot->flush && slot->subject_hash == hash_of;
}

static bool is_request(struct call_slot *slot, uint64_t unused) {
    (void)unused;
    return !slot->flush;
}

void calls_fail_all(struct link *link, int status) {
    fail_if(link, status, any, 0);
    link->flush_done_count = 0;
}

bool calls_own_subject(struct link *link, const char *subject, size_t len) {
    return is_inbox(link, subject, len);
}

bool calls_own_pattern(struct link *link, const char *subject, size_t len) {
    return len == link->inbox_len + 1 && is_inbox(link, subject, len) &&
           subject[len - 1] == '*';
}

/* The server refused a message to `subject`. For a round trip that is as good as its return. */
void calls_denied(struct link *link, const char *subject, size_t len) {
    struct call_slot *slot = find_slot(link, subject, len);
    if (slot != NULL && slot->flush)
        finish(slot->call, LN_OK, NULL);
    else
        fail_if(link, LN_EPERMISSION, same_subject, hash(subject, len));
}

/* The server refused the inbox: no reply can ever come, and round trips need another way. */
void calls_inbox_denied(struct link *link) {
    link->inbox_denied = true;
    for (uint32_t i = 0; i < link->slot_count && link->conn != NULL; i++) {
        if (link->slots[i].call == NULL || !link->slots[i].flush)
            continue;
        write_digits(link->inbox + link->inbox_len, i);
        write_digits(link->inbox + link->inbox_len + DIGITS, link->slots[i].generation);
        link->inbox[link->inbox_len + LINK_TOKEN_LEN] = '\0';
        send_round_trip(link);
    }
    fail_if(link, LN_EPERMISSION, is_request, 0);
    if (!link->closing && link->events.on_error != NULL)
        link->events.on_error(link->owner, LN_EPERMISSION, link->error);
}

/* ---- the inbox ---- */

void calls_connected(struct link *link) {
    link->inbox_denied = false;
    strcpy(link->inbox + link->inbox_len, "*");
    if (link->inbox_sub == NULL)
        subs_open_inbox(link, link->inbox, on_inbox_msg, link, &link->inbox_sub);
}

int calls_open(struct link *link) {
    char inbox[LINK_INBOX_SIZE];
    link->first_free = NO_SLOT;
    link_new_inbox(link, inbox);
    link->inbox_len = strlen(inbox) + 1;
    if (link->inbox_len < 2 || link->inbox_len + LINK_TOKEN_LEN >= sizeof(link->inbox))
        return LN_EINVAL;
    memcpy(link->inbox, inbox, link->inbox_len - 1);
    link->inbox[link->inbox_len - 1] = '.';
    return LN_OK;
}
