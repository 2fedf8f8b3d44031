/* SPDX-License-Identifier: Apache-2.0 */
/* Streams to read from, and long requests whose outcome the server must confirm. */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int mode_fill(const char *stream, const char *durable) {
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

int mode_work(const char *json, const char *stream, const char *durable) {
    natsInbox *inbox = NULL;
    jsCtx *js = connect_jetstream();
    connect_loop();
    check("inbox", natsInbox_Create(&inbox));
    natsSubscription *sub = subscribe(inbox);
    barrier();
    begin_measure();
    double began = now();
    check("publish",
          natsConnection_PublishRequestString(connection(), options.subject, inbox, json));
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
