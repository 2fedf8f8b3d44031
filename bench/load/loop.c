/* SPDX-License-Identifier: Apache-2.0 */
/* libnats on a poll(2) loop. */
#include "load.h"

#include <poll.h>
#include <sys/prctl.h>
#include <time.h>

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

natsOptions *connection_options(void) {
    natsOptions *opts = NULL;
    check("options", natsOptions_Create(&opts));
    check("url", natsOptions_SetURL(opts, options.url));
    check("options", natsOptions_SetAllowReconnect(opts, false));
    return opts;
}

void connect_loop(void) {
    prctl(PR_SET_TIMERSLACK, 1UL); /* else the kernel adds 50 us to what turn_for() waits */
    natsOptions *opts = connection_options();
    check("options", natsOptions_SetIOBufSize(opts, 65536));
    /* Without it libnats waits a millisecond for more output, also with a loop. */
    check("options", natsOptions_SetSendAsap(opts, true));
    check("options",
          natsOptions_SetEventLoop(opts, &loop, on_attach, on_read, on_write, on_detach));
    check("connect", natsConnection_Connect(&loop.connection, opts));
    natsOptions_Destroy(opts);
}

natsConnection *connection(void) {
    return loop.connection;
}

void turn_for(double seconds) {
    if (loop.writes)
        natsConnection_ProcessWriteEvent(loop.connection);
    if (seconds < 0)
        seconds = loop.writes ? 0.1 : 0;
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    struct pollfd poll_fd = {.fd = loop.fd, .events = POLLIN};
    if (loop.writes)
        poll_fd.events |= POLLOUT;
    if (loop.fd < 0)
        fail("the connection is gone", NATS_CONNECTION_CLOSED);
    if (ppoll(&poll_fd, 1, &time, NULL) > 0 && (poll_fd.revents & ~POLLOUT) != 0)
        natsConnection_ProcessReadEvent(loop.connection);
}

void turn(int ms) {
    turn_for(ms / 1e3);
}

natsSubscription *subscribe(const char *subject) {
    natsSubscription *sub = NULL;
    check("subscribe", natsConnection_SubscribeSync(&sub, loop.connection, subject));
    check("limits", natsSubscription_SetPendingLimits(sub, -1, -1));
    return sub;
}

int pending(natsSubscription *sub) {
    int count = 0;
    check("pending", natsSubscription_GetPending(sub, &count, NULL));
    return count;
}

natsMsg *take(natsSubscription *sub) {
    natsMsg *msg = NULL;
    natsStatus status = natsSubscription_NextMsg(&msg, sub, 0);
    if (status != NATS_NO_RESPONDERS)
        check("next message", status);
    return msg;
}

bool wait_for(natsSubscription *sub, double patience) {
    double end = now() + patience;
    while (pending(sub) == 0) {
        if (now() > end)
            return false;
        turn(patience < 0.01 ? 1 : 50);
    }
    return true;
}

void barrier(void) {
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
