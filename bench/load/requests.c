/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, a fixed number of them under way; every reply is checked. */
#include "load.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVELOPE 512 /* bytes around a payload */
#define TEXTS 1024   /* JSON bodies, made before the clock runs */

static struct text {
    char text[192];
    double sum;
} * texts;

static struct slot {
    double sent, sum;
    int64_t number;
    int len;
    char *body, reply_to[80];
} * slots;

static struct {
    natsSubscription *sub;
    size_t prefix; /* of the reply subjects, before the number of the slot */
    char *packet;
    int64_t wrong;
    int64_t asked;  /* by answers(), and not yet answered */
    float *latency; /* microseconds; NULL: not measured */
    int *slots_free, free;
    bool json;
} requests;

/* Eighths add up exactly, in every language. */
static void make_texts(void) {
    uint32_t random = 12345;
    texts = allocate(TEXTS, sizeof(*texts));
    for (int i = 0; i < TEXTS; i++) {
        size_t len = (size_t)snprintf(texts[i].text, sizeof(texts[i].text),
                                      ",\"name\":\"sensor-%04d\",\"values\":[", i);
        for (int j = 0; j < 8; j++) {
            random = random * 1664525 + 1013904223;
            double value = (random >> 16) % 8000 / 8.0;
            texts[i].sum += value;
            len += (size_t)snprintf(texts[i].text + len, sizeof(texts[i].text) - len, "%g%s",
                                    value, j < 7 ? "," : "]}");
        }
    }
}

static void make_body(struct slot *slot) {
    if (!requests.json) {
        char digits[24];
        int len = snprintf(digits, sizeof(digits), "%015" PRId64, slot->number);
        memcpy(slot->body, digits, (size_t)(len < options.size ? len : options.size));
        slot->len = options.size;
        return;
    }
    const struct text *text = &texts[slot->number % TEXTS];
    slot->sum = text->sum;
    slot->len = sprintf(slot->body, "{\"order\":%" PRId64 "%s", slot->number, text->text);
}

/* What frameworks put around the data; plain text becomes a string. */
static int make_packet(char *out, const struct slot *slot, int index) {
    const char *quote = requests.json ? "" : "\"";
    if (options.envelope == NEST)
        return sprintf(out, "{\"pattern\":\"%s\",\"data\":%s%.*s%s,\"id\":\"%d\"}",
                       options.subject, quote, slot->len, slot->body, quote, index);
    return sprintf(out,
                   "{\"ver\":\"4\",\"sender\":\"load\",\"id\":\"%d\",\"action\":\"%s\","
                   "\"params\":%s%.*s%s,\"meta\":{},\"timeout\":0,\"level\":1,"
                   "\"tracing\":null,\"parentID\":null,\"requestID\":\"r\",\"caller\":null,"
                   "\"stream\":false,\"seq\":null}",
                   index, options.subject, requests.json ? "" : "{\"d\":\"", slot->len,
                   slot->body, requests.json ? "" : "\"}");
}

static void send_request(int index, int64_t number) {
    struct slot *slot = &slots[index];
    char name[128];
    const char *subject = options.subject, *data = slot->body;
    slot->number = number;
    make_body(slot);
    int len = slot->len;
    if (options.envelope != PLAIN) {
        data = requests.packet;
        len = make_packet(requests.packet, slot, index);
    }
    if (options.subjects > 1) {
        const char *place = strstr(subject, "%d");
        snprintf(name, sizeof(name), "%.*s%d%s", (int)(place - subject), subject,
                 (int)(number % options.subjects), place + 2);
        subject = name;
    }
    slot->sent = now();
    if (options.envelope == MOLECULER)
        check("publish", natsConnection_Publish(connection(), "MOL.REQ.bench", data, len));
    else
        check("publish",
              natsConnection_PublishRequest(connection(), subject, slot->reply_to, data, len));
}

const char *find(const char *data, int len, const char *text) {
    const char *at = memmem(data, (size_t)len, text, strlen(text));
    return at != NULL ? at + strlen(text) : NULL;
}

static bool is_right(const struct slot *slot, const char *data, int len) {
    if (requests.json) {
        const char *sum = find(data, len, "\"sum\":"), *order = find(data, len, "\"order\":");
        return sum != NULL && order != NULL && strtoll(order, NULL, 10) == slot->number &&
               fabs(strtod(sum, NULL) - slot->sum) < 1e-6;
    }
    if (options.envelope == PLAIN)
        return len == slot->len && memcmp(data, slot->body, (size_t)len) == 0;
    return memmem(data, (size_t)len, slot->body, (size_t)slot->len) != NULL;
}

/* The slot that a reply is for, or -1. */
static int slot_of(natsMsg *msg) {
    const char *text = natsMsg_GetSubject(msg) + requests.prefix;
    if (options.envelope == MOLECULER)
        text = find(natsMsg_GetData(msg), natsMsg_GetDataLength(msg), "\"id\":\"");
    int index = text != NULL ? atoi(text) : -1;
    return index < options.window ? index : -1;
}

/* Handles one reply and returns its slot. */
static int take_reply(int64_t done) {
    natsMsg *msg = take(requests.sub);
    if (msg == NULL)
        fail("nobody listens", NATS_NO_RESPONDERS);
    int index = slot_of(msg);
    if (index < 0 ||
        !is_right(&slots[index], natsMsg_GetData(msg), natsMsg_GetDataLength(msg))) {
        if (requests.wrong++ < 3)
            fprintf(stderr, "load: wrong reply: %.200s\n", natsMsg_GetData(msg));
        if (index < 0)
            fail("a reply to nothing", NATS_ERR);
    }
    if (requests.latency != NULL)
        requests.latency[done] = (float)((now() - slots[index].sent) * 1e6);
    natsMsg_Destroy(msg);
    return index;
}

/* Seconds until the next one is to be sent, or less than 0; with -r alone they are evenly
 * spread. */
static double due_in(int64_t sent, double began) {
    return options.rate > 0 ? began + (double)sent / options.rate - now() : 0;
}

static void run_requests(int64_t count) {
    int64_t sent = 0, done = 0;
    double began = now();
    requests.free = options.window;
    for (int i = 0; i < options.window; i++)
        requests.slots_free[i] = i;
    while (done < count) {
        double wait = 0;
        while (sent < count && requests.free > 0 && (wait = due_in(sent, began)) <= 0)
            send_request(requests.slots_free[--requests.free], sent++);
        if (wait > 0)
            turn_for(wait);
        else if (!wait_for(requests.sub, PATIENCE))
            fail("replies are missing", NATS_TIMEOUT);
        for (int n = pending(requests.sub); n > 0; n--)
            requests.slots_free[requests.free++] = take_reply(done++);
    }
}

void prepare_requests(void) {
    natsInbox *inbox = NULL;
    char subject[96];
    size_t room = (size_t)options.size + 256;
    check("inbox", natsInbox_Create(&inbox));
    slots = allocate((size_t)options.window, sizeof(*slots));
    requests.slots_free = allocate((size_t)options.window, sizeof(int));
    requests.packet = allocate(room + ENVELOPE, 1);
    for (int i = 0; i < options.window; i++) {
        slots[i].body = allocate(room, 1);
        for (int j = 0; j < options.size; j++)
            slots[i].body[j] = (char)('a' + j % 26);
        snprintf(slots[i].reply_to, sizeof(slots[i].reply_to), "%s.%d", inbox, i);
    }
    requests.prefix = strlen(inbox) + 1;
    snprintf(subject, sizeof(subject), "%s.*", inbox);
    requests.sub = subscribe(options.envelope == MOLECULER ? "MOL.RES.load" : subject);
    natsInbox_Destroy(inbox);
    make_texts();
    barrier();
}

bool answers(int64_t number) {
    send_request(0, number);
    requests.asked++;
    if (!wait_for(requests.sub, 0.0005))
        return false;
    natsMsg *msg = take(requests.sub);
    requests.asked--;
    bool right =
        msg != NULL && is_right(&slots[0], natsMsg_GetData(msg), natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
    return right; /* a framework may answer that it is not ready */
}

/* Takes the answers to what was asked too early from the way. A slow service has many of them;
 * a framework may have none for some. */
static void take_late_answers(void) {
    while (requests.asked > 0 && wait_for(requests.sub, 2))
        for (int n = pending(requests.sub); n > 0; n--, requests.asked--)
            natsMsg_Destroy(take(requests.sub));
}

/* Asks, shortly, until the service answers on each subject. */
static void await_service(void) {
    int size = options.size;
    if (size > 16)
        options.size = 16;
    for (int i = 0; i < options.subjects; i++) {
        double end = now() + PATIENCE;
        while (!answers(i)) {
            if (now() > end)
                fail("there is no service", NATS_TIMEOUT);
            usleep(1000);
        }
    }
    options.size = size;
    take_late_answers();
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(int64_t count, double part) {
    int64_t at = (int64_t)ceil(part * (double)count) - 1;
    return (double)requests.latency[at < 0 ? 0 : at];
}

int mode_requests(bool json) {
    requests.json = json;
    connect_loop();
    prepare_requests();
    await_service();
    run_requests(options.warm_up);
    requests.latency = allocate((size_t)options.count, sizeof(*requests.latency));
    begin_measure();
    double began = now();
    run_requests(options.count);
    print_measure(options.count, now() - began, requests.wrong);
    qsort(requests.latency, (size_t)options.count, sizeof(*requests.latency), compare);
    printf(",\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n", percentile(options.count, 0.5),
           percentile(options.count, 0.99), percentile(options.count, 1));
    return requests.wrong != 0;
}
