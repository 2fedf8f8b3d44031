/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark service as one writes it with nats.c: callbacks, blocking JetStream calls,
 * default options. With cJSON if it was there at the build (-DWITH_CJSON).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nats/nats.h>
#ifdef WITH_CJSON
#include <cjson/cJSON.h>
#endif

static natsConnection *connection;

static void check(const char *what, natsStatus status) {
    if (status == NATS_OK)
        return;
    fprintf(stderr, "peer_cb: %s: %s\n", what, natsStatus_GetText(status));
    exit(1);
}

static void respond(natsMsg *msg, const char *data, int len) {
    check("publish", natsConnection_Publish(connection, natsMsg_GetReply(msg), data, len));
}

static void on_echo(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *unused) {
    (void)nc, (void)sub, (void)unused;
    respond(msg, natsMsg_GetData(msg), natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
}

static void on_count(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *unused) {
    (void)sub, (void)unused;
    static int64_t count;
    if (++count % 4096 == 0)
        check("publish", natsConnection_PublishString(nc, "bench.count.report", "4096"));
    natsMsg_Destroy(msg);
}

#ifdef WITH_CJSON
static void on_json(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *unused) {
    (void)nc, (void)sub, (void)unused;
    cJSON *body =
        cJSON_ParseWithLength(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    const cJSON *value;
    double sum = 0;
    cJSON_ArrayForEach(value, cJSON_GetObjectItem(body, "values")) sum += value->valuedouble;
    cJSON_AddNumberToObject(body, "sum", sum);
    char *text = cJSON_PrintUnformatted(body);
    respond(msg, text, (int)strlen(text));
    free(text);
    cJSON_Delete(body);
    natsMsg_Destroy(msg);
}
#endif

/* The jobs come as flat JSON; this is all of it that is needed. */
static const char *field(natsMsg *msg, const char *name) {
    char key[32];
    snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = strstr(natsMsg_GetData(msg), key);
    if (at == NULL) {
        fprintf(stderr, "peer_cb: no %s\n", name);
        exit(1);
    }
    at += strlen(key);
    return *at == '"' ? at + 1 : at;
}

static void text_field(natsMsg *msg, const char *name, char *out, size_t room) {
    const char *text = field(msg, name);
    snprintf(out, room, "%.*s", (int)strcspn(text, "\""), text);
}

static void respond_count(natsMsg *msg, int64_t count) {
    char text[32];
    respond(msg, text, snprintf(text, sizeof(text), "{\"n\":%" PRId64 "}", count));
}

static void on_pull(natsConnection *nc, natsSubscription *job_sub, natsMsg *msg, void *unused) {
    (void)job_sub, (void)unused;
    char stream[64], durable[64], subject[80];
    text_field(msg, "stream", stream, sizeof(stream));
    text_field(msg, "durable", durable, sizeof(durable));
    snprintf(subject, sizeof(subject), "%s.x", stream);
    int64_t count = atoll(field(msg, "count")), done = 0;
    int batch = atoi(field(msg, "batch"));
    jsCtx *js = NULL;
    jsSubOptions options;
    natsSubscription *sub = NULL;
    check("JetStream", natsConnection_JetStream(&js, nc, NULL));
    check("options", jsSubOptions_Init(&options));
    options.Stream = stream;
    check("subscribe", js_PullSubscribe(&sub, js, subject, durable, NULL, &options, NULL));
    while (done < count) {
        natsMsgList list;
        natsStatus status = natsSubscription_Fetch(&list, sub, batch, 5000, NULL);
        if (status == NATS_TIMEOUT)
            continue;
        check("fetch", status);
        for (int i = 0; i < list.Count; i++)
            check("ack", natsMsg_Ack(list.Msgs[i], NULL));
        done += list.Count;
        natsMsgList_Destroy(&list);
    }
    respond_count(msg, done);
    natsSubscription_Destroy(sub);
    jsCtx_Destroy(js);
    natsMsg_Destroy(msg);
}

static void on_publish(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *unused) {
    (void)sub, (void)unused;
    char subject[80], body[4096];
    text_field(msg, "subject", subject, sizeof(subject));
    int64_t count = atoll(field(msg, "count")), window = atoll(field(msg, "window"));
    int size = atoi(field(msg, "size"));
    jsCtx *js = NULL;
    jsOptions options;
    memset(body, 'x', sizeof(body));
    check("options", jsOptions_Init(&options));
    options.PublishAsync.MaxPending = window;
    check("JetStream", natsConnection_JetStream(&js, nc, &options));
    for (int64_t i = 0; i < count; i++)
        check("publish", window == 1 ? js_Publish(NULL, js, subject, body, size, NULL, NULL)
                                     : js_PublishAsync(js, subject, body, size, NULL));
    if (window > 1)
        check("publish", js_PublishAsyncComplete(js, NULL));
    respond_count(msg, count);
    jsCtx_Destroy(js);
    natsMsg_Destroy(msg);
}

static void listen_to(const char *subject, natsMsgHandler handler) {
    natsSubscription *sub = NULL;
    check(subject, natsConnection_Subscribe(&sub, connection, subject, handler, NULL));
    check(subject, natsSubscription_SetPendingLimits(sub, -1, -1));
}

static void connect_to(const char *url, const char *ca) {
    natsOptions *options = NULL;
    check("options", natsOptions_Create(&options));
    check("url", natsOptions_SetURL(options, url));
    if (ca != NULL) {
        check("tls", natsOptions_SetSecure(options, true));
        check("tls", natsOptions_LoadCATrustedCertificates(options, ca));
    }
    check("connect", natsConnection_Connect(&connection, options));
    natsOptions_Destroy(options);
}

int main(void) {
    connect_to(getenv("NATS_URL"), getenv("NATS_CA"));
    listen_to("bench.echo", on_echo);
#ifdef WITH_CJSON
    listen_to("bench.json", on_json);
#endif
    listen_to("bench.count", on_count);
    listen_to("bench.pull", on_pull);
    listen_to("bench.publish", on_publish);
    for (;;)
        pause();
}
