/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator of ./dev bench. One thread: libnats hangs on a poll(2) loop of this file
 * and subscriptions are read synchronously, so that a reply costs no change of threads.
 *
 *   load echo|json [options] SUBJECT     requests; every reply is checked
 *   load count [options] SUBJECT         messages to a service that reports every 4096th
 *   load fill [options] STREAM [DURABLE] makes the stream <STREAM>, subject <STREAM>.x, anew
 *   load work [options] SUBJECT JSON STREAM [DURABLE]
 *                                        one long request; then the server must agree
 *   load start [options] SUBJECT [NAME=VALUE...] COMMAND...
 *                                        starts a service, with these in its environment: time
 *                                        to its first reply, memory
 * Options:
 *   -u URL      server                     -n N  messages           -b N  bytes of a payload
 *   -w N        requests under way         -k N  requests before the clock runs
 *   -m N        %d in SUBJECT runs from 0 to N - 1
 *   -e FORMAT   envelope: plain, nest, moleculer              -f    the stream is a file
 *   -p NAME=PID a process whose CPU time counts, during the measured part alone
 * Prints one JSON object in one line; exit status 0 only if everything was right.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <nats/nats.h>

#define PATIENCE 20.0      /* seconds without anything: lost */
#define REPORT 4096        /* a counting service reports so often */
#define AHEAD (8 * REPORT) /* messages it may be behind */
#define ENVELOPE 512       /* bytes around a payload */
#define TEXTS 1024         /* JSON bodies, made before the clock runs */

enum envelope { PLAIN, NEST, MOLECULER };

static struct {
    const char *url, *subject;
    int64_t count, warm_up;
    int size, window, subjects;
    enum envelope envelope;
    bool file;
} options = {
    .url = "nats://127.0.0.1:4222", .count = 100000, .size = 128, .window = 256, .subjects = 1};

static void fail(const char *what, natsStatus status) {
    const char *more = nats_GetLastError(NULL);
    fprintf(stderr, "load: %s: %s %s\n", what, natsStatus_GetText(status),
            more != NULL ? more : "");
    exit(1);
}

static void check(const char *what, natsStatus status) {
    if (status != NATS_OK)
        fail(what, status);
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL)
        fail("memory", NATS_NO_MEMORY);
    return memory;
}

static double seconds_of(clockid_t clock) {
    struct timespec now;
    return clock_gettime(clock, &now) != 0 ? NAN
                                           : (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double now(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

/* ---- processes whose CPU time counts ---- */

static struct watched {
    char *name;
    pid_t pid;
    clockid_t clock;
    double before;
} watched[8];
static int watched_count;
static double own_before;

static void watch(char *text) {
    char *equals = strchr(text, '=');
    struct watched *one = &watched[watched_count];
    if (equals == NULL || watched_count == 8)
        fail("-p NAME=PID", NATS_INVALID_ARG);
    *equals = '\0';
    one->name = text;
    one->pid = (pid_t)atol(equals + 1);
    if (clock_getcpuclockid(one->pid, &one->clock) != 0)
        fail("there is no such process", NATS_INVALID_ARG);
    watched_count++;
}

static void begin_measure(void) {
    for (int i = 0; i < watched_count; i++)
        watched[i].before = seconds_of(watched[i].clock);
    own_before = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* VmRSS or VmHWM in KiB. */
static long memory_of(pid_t pid, const char *key) {
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return kib;
    while (kib < 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kib = atol(line + strlen(key) + 1);
    fclose(file);
    return kib;
}

/* Ends the measured part and begins the line of output. */
static void print_measure(int64_t count, double took, int64_t wrong) {
    double own = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - own_before;
    printf("{\"count\":%" PRId64 ",\"seconds\":%.6f,\"wrong\":%" PRId64 ",\"load_cpu\":%.6f",
           count, took, wrong, own);
    for (int i = 0; i < watched_count; i++) {
        const struct watched *one = &watched[i];
        printf(",\"%s_cpu\":%.6f,\"%s_kib\":%ld", one->name,
               seconds_of(one->clock) - one->before, one->name, memory_of(one->pid, "VmHWM"));
    }
}

/* ---- libnats on poll(2) ---- */

static struct {
    natsConnection *connection;
    natsSock fd;
    bool writes;
} loop;

static natsStatus on_attach(void **data, void *unused, natsConnection *nc, natsSock fd) {
    (void)unused;
    *data = &loop;
    loop.connection = nc;
    loop.fd = fd;
    return NATS_OK;
}

static natsStatus on_read(void *data, bool add) {
    (void)data, (void)add;
    return NATS_OK;
}

static natsStatus on_write(void *data, bool add) {
    (void)data;
    loop.writes = add;
    return NATS_OK;
}

static natsStatus on_detach(void *data) {
    (void)data;
    loop.fd = -1;
    return NATS_OK;
}

static natsOptions *connection_options(void) {
    natsOptions *opts = NULL;
    check("options", natsOptions_Create(&opts));
    check("url", natsOptions_SetURL(opts, options.url));
    check("options", natsOptions_SetAllowReconnect(opts, false));
    return opts;
}

static void connect_loop(void) {
    natsOptions *opts = connection_options();
    check("options", natsOptions_SetIOBufSize(opts, 65536));
    /* Without it libnats waits a millisecond for more output, also with a loop. */
    check("options", natsOptions_SetSendAsap(opts, true));
    check("options",
          natsOptions_SetEventLoop(opts, &loop, on_attach, on_read, on_write, on_detach));
    check("connect", natsConnection_Connect(&loop.connection, opts));
    natsOptions_Destroy(opts);
}

/*
 * Writes what is pending, then waits up to ms for input, or for room in the socket. With
 * ms < 0 only for the room: there is more to send.
 */
static void turn(int ms) {
    if (loop.writes)
        natsConnection_ProcessWriteEvent(loop.connection);
    if (ms < 0)
        ms = loop.writes ? 100 : 0;
    struct pollfd poll_fd = {.fd = loop.fd, .events = POLLIN};
    if (loop.writes)
        poll_fd.events |= POLLOUT;
    if (loop.fd < 0)
        fail("the connection is gone", NATS_CONNECTION_CLOSED);
    if (poll(&poll_fd, 1, ms) > 0 && (poll_fd.revents & ~POLLOUT) != 0)
        natsConnection_ProcessReadEvent(loop.connection);
}

static natsSubscription *subscribe(const char *subject) {
    natsSubscription *sub = NULL;
    check("subscribe", natsConnection_SubscribeSync(&sub, loop.connection, subject));
    check("limits", natsSubscription_SetPendingLimits(sub, -1, -1));
    return sub;
}

static int pending(natsSubscription *sub) {
    int count = 0;
    check("pending", natsSubscription_GetPending(sub, &count, NULL));
    return count;
}

/* NULL: nobody listens. */
static natsMsg *take(natsSubscription *sub) {
    natsMsg *msg = NULL;
    natsStatus status = natsSubscription_NextMsg(&msg, sub, 0);
    if (status != NATS_NO_RESPONDERS)
        check("next message", status);
    return msg;
}

static bool wait_for(natsSubscription *sub, double patience) {
    double end = now() + patience;
    while (pending(sub) == 0) {
        if (now() > end)
            return false;
        turn(patience < 0.01 ? 1 : 50);
    }
    return true;
}

/* Comes back when the server has seen all that was sent so far. */
static void barrier(void) {
    natsInbox *inbox = NULL;
    check("inbox", natsInbox_Create(&inbox));
    natsSubscription *sub = subscribe(inbox);
    check("publish", natsConnection_Publish(loop.connection, inbox, "", 0));
    if (!wait_for(sub, PATIENCE))
        fail("barrier", NATS_TIMEOUT);
    natsMsg_Destroy(take(sub));
    natsSubscription_Destroy(sub);
    natsInbox_Destroy(inbox);
}

/* ---- requests ---- */

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
        check("publish", natsConnection_Publish(loop.connection, "MOL.REQ.bench", data, len));
    else
        check("publish", natsConnection_PublishRequest(loop.connection, subject, slot->reply_to,
                                                       data, len));
}

static const char *find(const char *data, int len, const char *text) {
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

static void run_requests(int64_t count) {
    int64_t sent = 0, done = 0;
    while (sent < options.window && sent < count) {
        send_request((int)sent, sent);
        sent++;
    }
    while (done < count) {
        if (!wait_for(requests.sub, PATIENCE))
            fail("replies are missing", NATS_TIMEOUT);
        for (int n = pending(requests.sub); n > 0; n--) {
            int index = take_reply(done++);
            if (sent < count)
                send_request(index, sent++);
        }
    }
}

static void prepare_requests(void) {
    natsInbox *inbox = NULL;
    char subject[96];
    size_t room = (size_t)options.size + 256;
    check("inbox", natsInbox_Create(&inbox));
    slots = allocate((size_t)options.window, sizeof(*slots));
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

static bool answers(int64_t number) {
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
    while (requests.asked > 0 && wait_for(requests.sub, 0.3))
        for (int n = pending(requests.sub); n > 0; n--, requests.asked--)
            natsMsg_Destroy(take(requests.sub));
}

/* Asks, shortly, until the service answers on each subject. */
static void await_service(void) {
    double end = now() + PATIENCE;
    int size = options.size;
    if (size > 16)
        options.size = 16;
    for (int i = 0; i < options.subjects; i++)
        while (!answers(i)) {
            if (now() > end)
                fail("there is no service", NATS_TIMEOUT);
            usleep(1000);
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

static int mode_requests(bool json) {
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

/* ---- counting ---- */

/* Sends the messages; the service's reports say how many of them may be on their way. */
static void run_count(natsSubscription *reports, const char *body, int64_t count) {
    int64_t sent = 0, seen = 0;
    double last = now();
    while (seen < count) {
        for (int i = 0; i < 256 && sent < count && sent - seen < AHEAD; i++, sent++)
            check("publish",
                  natsConnection_Publish(loop.connection, options.subject, body, options.size));
        turn(sent < count && sent - seen < AHEAD ? -1 : 100);
        for (int n = pending(reports); n > 0; n--) {
            natsMsg_Destroy(take(reports));
            seen += REPORT;
            last = now();
        }
        if (now() - last > PATIENCE)
            fail("reports are missing", NATS_TIMEOUT);
    }
}

static int mode_count(void) {
    char subject[128], *body = allocate((size_t)options.size + 1, 1);
    memset(body, 'x', (size_t)options.size);
    connect_loop();
    snprintf(subject, sizeof(subject), "%s.report", options.subject);
    natsSubscription *reports = subscribe(subject);
    barrier();
    run_count(reports, body, options.warm_up / REPORT * REPORT);
    int64_t count = options.count / REPORT * REPORT;
    begin_measure();
    double began = now();
    run_count(reports, body, count);
    print_measure(count, now() - began, 0);
    printf("}\n");
    free(body);
    return 0;
}

/* ---- JetStream ---- */

static jsCtx *connect_jetstream(void) {
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    jsOptions js_options;
    natsOptions *opts = connection_options();
    check("connect", natsConnection_Connect(&nc, opts));
    natsOptions_Destroy(opts);
    check("options", jsOptions_Init(&js_options));
    js_options.PublishAsync.MaxPending = 512;
    js_options.Wait = 30000;
    check("JetStream", natsConnection_JetStream(&js, nc, &js_options));
    return js;
}

static void add_consumer(jsCtx *js, const char *stream, const char *durable) {
    jsConsumerConfig config;
    check("config", jsConsumerConfig_Init(&config));
    config.Durable = durable;
    config.AckPolicy = js_AckExplicit;
    config.AckWait = INT64_C(60000000000);
    config.MaxAckPending = 10000;
    check("consumer", js_AddConsumer(NULL, js, stream, &config, NULL, NULL));
}

static int mode_fill(const char *stream, const char *durable) {
    char subject[128], *body = allocate((size_t)options.size + 1, 1);
    const char *subjects[] = {subject};
    jsCtx *js = connect_jetstream();
    jsStreamConfig config;
    memset(body, 'x', (size_t)options.size);
    snprintf(subject, sizeof(subject), "%s.x", stream);
    js_DeleteStream(js, stream, NULL, NULL); /* of an earlier round */
    check("config", jsStreamConfig_Init(&config));
    config.Name = stream;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = options.file ? js_FileStorage : js_MemoryStorage;
    check("stream", js_AddStream(NULL, js, &config, NULL, NULL));
    for (int64_t i = 0; i < options.count; i++)
        check("publish", js_PublishAsync(js, subject, body, options.size, NULL));
    if (options.count > 0)
        check("publish", js_PublishAsyncComplete(js, NULL));
    if (durable != NULL)
        add_consumer(js, stream, durable);
    printf("{\"count\":%" PRId64 "}\n", options.count);
    free(body);
    return 0;
}

/* How many messages the server has stored, or has seen acknowledged. */
static int64_t settled(jsCtx *js, const char *stream, const char *durable) {
    int64_t count;
    if (durable == NULL) {
        jsStreamInfo *info = NULL;
        check("stream", js_GetStreamInfo(&info, js, stream, NULL, NULL));
        count = (int64_t)info->State.Msgs;
        jsStreamInfo_Destroy(info);
        return count;
    }
    jsConsumerInfo *info = NULL;
    check("consumer", js_GetConsumerInfo(&info, js, stream, durable, NULL, NULL));
    count = info->NumAckPending == 0 ? (int64_t)info->AckFloor.Consumer : -1;
    jsConsumerInfo_Destroy(info);
    return count;
}

static int mode_work(const char *json, const char *stream, const char *durable) {
    natsInbox *inbox = NULL;
    jsCtx *js = connect_jetstream();
    connect_loop();
    check("inbox", natsInbox_Create(&inbox));
    natsSubscription *sub = subscribe(inbox);
    barrier();
    begin_measure();
    double began = now();
    check("publish",
          natsConnection_PublishRequestString(loop.connection, options.subject, inbox, json));
    if (!wait_for(sub, 120))
        fail("the service does not get ready", NATS_TIMEOUT);
    natsMsg *msg = take(sub);
    if (msg == NULL || find(natsMsg_GetData(msg), natsMsg_GetDataLength(msg), "\"n\":") == NULL)
        fail("the service has failed", NATS_ERR);
    double ended = now(), patience = ended + PATIENCE;
    while (settled(js, stream, durable) != options.count && now() < patience) {
        usleep(500);
        ended = now();
    }
    bool wrong = settled(js, stream, durable) != options.count;
    print_measure(options.count, ended - began, wrong);
    printf("}\n");
    return wrong;
}

/* ---- start ---- */

static int mode_start(char **command) {
    options.window = 1;
    connect_loop();
    prepare_requests();
    double began = now();
    pid_t pid = fork();
    if (pid == 0) {
        while (strchr(*command, '=') != NULL)
            putenv(*command++);
        execvp(command[0], command);
        _exit(127);
    }
    bool answered = false;
    while (!(answered = answers(0)) && now() - began < PATIENCE &&
           waitpid(pid, NULL, WNOHANG) == 0)
        usleep(250);
    double took = now() - began;
    usleep(500000);
    long kib = memory_of(pid, "VmRSS");
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    printf("{\"count\":1,\"seconds\":%.6f,\"wrong\":%d,\"kib\":%ld}\n", took, !answered, kib);
    return !answered;
}

/* ---- command line ---- */

static bool set_option(int option, char *value) {
    static const char *const envelopes[] = {"plain", "nest", "moleculer"};
    switch (option) {
    case 'u':
        options.url = value;
        return true;
    case 'n':
        options.count = atoll(value);
        return true;
    case 'k':
        options.warm_up = atoll(value);
        return true;
    case 'b':
        options.size = atoi(value);
        return options.size >= 0;
    case 'w':
        options.window = atoi(value);
        return options.window > 0;
    case 'm':
        options.subjects = atoi(value);
        return options.subjects > 0;
    case 'f':
        options.file = true;
        return true;
    case 'p':
        watch(value);
        return true;
    case 'e':
        for (int i = 0; i < 3; i++)
            if (strcmp(value, envelopes[i]) == 0) {
                options.envelope = (enum envelope)i;
                return true;
            }
        return false;
    default:
        return false;
    }
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    int option;
    argv++, argc--;
    while ((option = getopt(argc, argv, "+u:n:k:b:w:m:p:e:f")) != -1)
        if (!set_option(option, optarg))
            return 2;
    argv += optind, argc -= optind;
    options.subject = argc > 0 ? argv[0] : "";
    if (strcmp(mode, "echo") == 0 && argc == 1)
        return mode_requests(false);
    if (strcmp(mode, "json") == 0 && argc == 1)
        return mode_requests(true);
    if (strcmp(mode, "count") == 0 && argc == 1)
        return mode_count();
    if (strcmp(mode, "fill") == 0 && argc >= 1)
        return mode_fill(argv[0], argv[1]);
    if (strcmp(mode, "work") == 0 && argc >= 3)
        return mode_work(argv[1], argv[2], argv[3]);
    if (strcmp(mode, "start") == 0 && argc >= 2)
        return mode_start(argv + 1);
    fprintf(stderr, "usage: see the head of bench/load.c\n");
    return 2;
}
