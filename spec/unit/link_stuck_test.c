/* SPDX-License-Identifier: Apache-2.0 */
/* An attempt that nats.c does not end, even when its socket is shut down: it is left behind. */
#include "spec/unit/link.h"

#include <dlfcn.h>

#include "host/dial/dial.h"
#include "spec/unit/skip.h"

#define LATE_MS 10000 /* nothing that is tested takes so long; what hangs takes for ever */
#define TIMEOUT_MS 5000

static struct {
    uv_mutex_t mutex;
    uv_cond_t cond;
    int attempts;    /* that are still to hang */
    bool connected;  /* one hangs with a socket */
    bool shut, over; /* the socket was shut down; it may end */
} stuck;

typedef natsStatus (*connect_fn)(natsConnection **, natsOptions *);

/* This one wins over that of libnats. */
natsStatus natsConnection_Connect(natsConnection **nats, natsOptions *options) {
    connect_fn behind;
    *(void **)&behind = dlsym(RTLD_NEXT, "natsConnection_Connect");
    uv_mutex_lock(&stuck.mutex);
    bool hangs = stuck.attempts-- > 0;
    uv_mutex_unlock(&stuck.mutex);
    if (!hangs)
        return behind(nats, options);

    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char bytes[4096];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool connected = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    uv_mutex_lock(&stuck.mutex);
    stuck.connected = connected;
    uv_mutex_unlock(&stuck.mutex);
    while (recv(fd, bytes, sizeof(bytes), 0) > 0)
        ;
    uv_mutex_lock(&stuck.mutex);
    stuck.shut = true;
    while (!stuck.over)
        uv_cond_wait(&stuck.cond, &stuck.mutex);
    uv_mutex_unlock(&stuck.mutex);
    close(fd);
    return NATS_TIMEOUT;
}

static void hang(int attempts) {
    uv_mutex_lock(&stuck.mutex);
    stuck.attempts = attempts;
    stuck.connected = stuck.shut = stuck.over = false;
    uv_mutex_unlock(&stuck.mutex);
}

static void release(void) {
    uv_mutex_lock(&stuck.mutex);
    stuck.over = true;
    uv_cond_broadcast(&stuck.cond);
    uv_mutex_unlock(&stuck.mutex);
}

/* Runs the loop until the other thread has set a flag. */
static bool wait_for(const bool *flag) {
    bool set = false;
    for (int i = 0; i < LATE_MS / 5 && !set; i++) {
        run_until(NULL, 5);
        uv_mutex_lock(&stuck.mutex);
        set = *flag;
        uv_mutex_unlock(&stuck.mutex);
    }
    return set;
}

static bool wait_for_the_end(void) {
    for (int i = 0; i < LATE_MS / 5 && dial_left_behind() > 0; i++)
        run_until(NULL, 5);
    return dial_left_behind() == 0;
}

WITH_SERVER(an_attempt_that_does_not_end_is_left_behind, NULL) {
    hang(1);
    struct link_options o = {.connect_timeout_ms = TIMEOUT_MS, .retry = true};
    bool opened = peer_open_with(&a, &o, server.url) == LN_OK;
    bool connected = opened && wait_for(&stuck.connected);
    skip_ms(TIMEOUT_MS + 500); /* then its socket is shut down */
    bool shut = wait_for(&stuck.shut);
    int early = a.retries;
    skip_ms(3500); /* of silence after that */
    bool told = run_count(&a.retries, 1, LATE_MS);
    unsigned left = dial_left_behind();
    bool again = peer_wait(&a, LINK_CONNECTED, LATE_MS);
    bool works = again && flush(a.link) == LN_OK;
    release();
    bool ended = wait_for_the_end();
    CHECK(opened && connected && shut && told && works && ended);
    CHECK_INT(early, 0);
    CHECK_INT(left, 1);
    CHECK_INT(a.retries, 1);
    CHECK_INT(a.retry_status, LN_ENOSERVER);
    CHECK_STR(a.retry_text, "cannot connect to 127.0.0.1: nats.c does not end the attempt");
}

/* One that ends when its socket is shut down is none of those: nothing is left behind. */
WITH_SERVER(an_attempt_that_ends_late_is_waited_for, NULL) {
    hang(1);
    struct link_options o = {.connect_timeout_ms = TIMEOUT_MS, .retry = true};
    bool opened = peer_open_with(&a, &o, server.url) == LN_OK;
    bool connected = opened && wait_for(&stuck.connected);
    skip_ms(TIMEOUT_MS + 500);
    bool shut = wait_for(&stuck.shut);
    skip_ms(2000);
    run_until(NULL, 50);
    int early = a.retries;
    release();
    bool told = run_count(&a.retries, 1, LATE_MS);
    unsigned left = dial_left_behind();
    bool again = peer_wait(&a, LINK_CONNECTED, LATE_MS);
    CHECK(opened && connected && shut && told && again);
    CHECK_INT(early, 0);
    CHECK_INT(left, 0);
}

static void run_all(void) {
    RUN(an_attempt_that_does_not_end_is_left_behind);
    RUN(an_attempt_that_ends_late_is_waited_for);
}

int main(int argc, char **argv) {
    uv_mutex_init(&stuck.mutex);
    uv_cond_init(&stuck.cond);
    return run_variants(argc, argv, run_all);
}
