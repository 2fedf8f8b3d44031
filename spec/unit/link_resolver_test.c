/* SPDX-License-Identifier: Apache-2.0 */
/* A resolver that hangs: its thread is left behind, and nothing waits for it. */
#include "spec/unit/link.h"

#include <dlfcn.h>

#include "host/dial/dial.h"
#include "spec/unit/skip.h"

#define HANGS "hangs.test"
#define LATE_MS 10000 /* nothing that is tested takes so long; what hangs takes for ever */

/* ---- the resolver ---- */

static struct {
    uv_mutex_t mutex;
    uv_cond_t cond;
    bool released;
    int waiting;
} resolver;

typedef int (*getaddrinfo_fn)(const char *, const char *, const struct addrinfo *,
                              struct addrinfo **);

static int resolve(const char *node, const char *service, const struct addrinfo *hints,
                   struct addrinfo **out) {
    getaddrinfo_fn behind;
    *(void **)&behind = dlsym(RTLD_NEXT, "getaddrinfo");
    return behind(node, service, hints, out);
}

/* This one wins over libc's. The name that hangs is this machine in the end. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    if (node == NULL || strcmp(node, HANGS) != 0)
        return resolve(node, service, hints, out);
    uv_mutex_lock(&resolver.mutex);
    resolver.waiting++;
    while (!resolver.released)
        uv_cond_wait(&resolver.cond, &resolver.mutex);
    resolver.waiting--;
    uv_mutex_unlock(&resolver.mutex);
    return resolve("127.0.0.1", service, hints, out);
}

static void hang(void) {
    uv_mutex_lock(&resolver.mutex);
    resolver.released = false;
    uv_mutex_unlock(&resolver.mutex);
}

static void release(void) {
    uv_mutex_lock(&resolver.mutex);
    resolver.released = true;
    uv_cond_broadcast(&resolver.cond);
    uv_mutex_unlock(&resolver.mutex);
}

static int waiting(void) {
    uv_mutex_lock(&resolver.mutex);
    int count = resolver.waiting;
    uv_mutex_unlock(&resolver.mutex);
    return count;
}

/* Runs the loop until so many threads hang. */
static bool wait_for(int count) {
    for (int i = 0; i < LATE_MS / 5 && waiting() < count; i++)
        run_until(NULL, 5);
    return waiting() == count;
}

static bool wait_for_the_end(void) {
    for (int i = 0; i < LATE_MS / 5 && dial_left_behind() > 0; i++)
        run_until(NULL, 5);
    return dial_left_behind() == 0;
}

/* ---- tests ---- */

static bool open_to(struct peer *p, const char *const *servers, size_t count) {
    struct link_options o = {.servers = servers,
                             .server_count = count,
                             .retry = true,
                             .tls_ca = with_tls ? ca_path : NULL,
                             .tls_name = with_tls ? "127.0.0.1" : NULL};
    memset(p, 0, sizeof(*p));
    return link_open(&p->link, &loop, real_clock, &o, &events, p) == LN_OK;
}

static char hanging_url[64];

static bool open_hanging(struct peer *p) {
    snprintf(hanging_url, sizeof(hanging_url), "nats://" HANGS ":%d", server.port);
    return open_to(p, (const char *const[]){hanging_url}, 1);
}

static unsigned milliseconds_since(uint64_t start) {
    return (unsigned)((uv_hrtime() - start) / 1000000);
}

WITH_SERVER(closing_does_not_wait_for_the_resolver, NULL) {
    hang();
    CHECK(open_hanging(&a));
    CHECK(wait_for(1));
    uint64_t start = uv_hrtime();
    bool closed = peer_close(&a, 5000);
    unsigned took = milliseconds_since(start);
    unsigned left = dial_left_behind();
    int still = waiting();
    release();
    bool ended = wait_for_the_end();
    CHECK(closed && ended);
    CHECK_INT(still, 1);
    CHECK_INT(left, 1);
    CHECK(took < 1000); /* a few milliseconds, on a machine that does nothing else */
}

/* With a clock and a loop of its own, which can be closed. */
static void the_loop_ends_without_the_resolver(void) {
    uv_loop_t own;
    struct clock *clock;
    struct link *link;
    struct peer p = {0};
    const char *servers[] = {"nats://" HANGS ":1"};
    struct link_options o = {.servers = servers, .server_count = 1, .retry = true};
    hang();
    uv_loop_init(&own);
    clock_open(&clock, &own, false);
    bool opened = link_open(&link, &own, clock, &o, &events, &p) == LN_OK;
    while (opened && waiting() == 0)
        uv_run(&own, UV_RUN_NOWAIT);
    if (opened)
        link_close(link, 0, on_closed, &p);
    while (opened && !p.closed)
        uv_run(&own, UV_RUN_ONCE);
    clock_close(clock);
    uv_run(&own, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&own), still = waiting();
    release();
    bool ended = wait_for_the_end();
    CHECK(opened && ended);
    CHECK_INT(rc, 0);
    CHECK_INT(still, 1);
}

/* It finds an address in the end, and nobody is there who wants it. */
static void a_thread_that_was_left_behind_connects_to_nobody(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    struct peer p[4];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 8) == 0 &&
          getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    server.port = ntohs(at.sin_port);
    hang();
    bool opened = true, closed = true;
    for (int i = 0; i < 4; i++)
        opened = open_hanging(&p[i]) && opened;
    bool hung = wait_for(4);
    for (int i = 0; i < 4; i++)
        closed = peer_close(&p[i], 0) && closed;
    release();
    bool ended = wait_for_the_end();
    int connection = accept(fd, NULL, NULL);
    close(fd);
    CHECK(opened && hung && closed && ended);
    CHECK_INT(connection, -1);
}

WITH_SERVER(another_server_is_tried_after_15_s, NULL) {
    hang();
    snprintf(hanging_url, sizeof(hanging_url), "nats://" HANGS ":%d", server.port);
    /* Their order is random, so that a partition may be needed to meet the one that hangs. */
    bool opened = open_to(&a, (const char *const[]){hanging_url, server.url}, 2);
    for (int i = 0; opened && i < LATE_MS / 5 && waiting() == 0; i++) {
        run_until(NULL, 5);
        if (a.state == LINK_CONNECTED)
            link_partition(a.link, 0);
    }
    int states = a.states;
    skip_ms(14000);
    run_until(NULL, 50);
    int before = a.states + a.retries;
    skip_ms(1500);
    bool connected = peer_wait(&a, LINK_CONNECTED, LATE_MS);
    int retries = a.retries;
    release();
    bool ended = wait_for_the_end();
    CHECK(opened && connected && ended);
    CHECK_INT(before, states);
    CHECK_INT(retries, 1);
    CHECK_INT(a.retry_status, LN_ENOSERVER);
    CHECK_STR(a.retry_text, "cannot resolve " HANGS ": no answer within 15 s");
    CHECK_STR(a.retry_url, hanging_url);
}

/* Threads that hang do not pile up. */
WITH_SERVER(no_more_than_a_few_threads_are_left_behind, NULL) {
    enum { MANY = 8 };
    struct peer p[MANY];
    hang();
    bool opened = true, closed = true;
    for (int i = 0; i < MANY; i++)
        opened = open_hanging(&p[i]) && opened;
    bool hung = wait_for(MANY);
    for (int i = 0; i < MANY; i++)
        closed = peer_close(&p[i], 0) && closed;
    opened = open_hanging(&a) && opened;
    skip_ms(1100);
    run_until(NULL, 100);
    skip_ms(1100);
    run_until(NULL, 100);
    int still = waiting();
    release();
    bool ended = wait_for_the_end();
    skip_ms(1100);
    bool connected = peer_wait(&a, LINK_CONNECTED, LATE_MS);
    CHECK(opened && hung && closed && ended && connected);
    CHECK_INT(still, MANY);
}

/* At the end of the process; then the thread gets on, with nats.c closed. */
static void the_library_closes_without_the_resolver(void) {
    hang();
    server.port = 1;
    CHECK(open_hanging(&a));
    CHECK(wait_for(1));
    CHECK(peer_close(&a, 0));
    uint64_t start = uv_hrtime();
    dial_close_library();
    unsigned took = milliseconds_since(start);
    int still = waiting();
    release();
    for (int i = 0; i < LATE_MS / 5 && dial_left_behind() > 0; i++)
        sleep_ms(5);
    CHECK_INT(still, 1);
    CHECK_INT(dial_left_behind(), 0);
    CHECK(took < 5000);
}

static void run_all(void) {
    RUN(closing_does_not_wait_for_the_resolver);
    RUN(the_loop_ends_without_the_resolver);
    RUN(a_thread_that_was_left_behind_connects_to_nobody);
    RUN(another_server_is_tried_after_15_s);
    RUN(no_more_than_a_few_threads_are_left_behind);
    if (with_tls) /* the last one */
        RUN(the_library_closes_without_the_resolver);
}

int main(int argc, char **argv) {
    uv_mutex_init(&resolver.mutex);
    uv_cond_init(&resolver.cond);
    return run_variants(argc, argv, run_all);
}
