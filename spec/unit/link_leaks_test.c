/* SPDX-License-Identifier: Apache-2.0 */
/* What connections leave behind: no descriptor, no thread, no memory. */
#include "spec/unit/tls.h"

#include <malloc.h>

#include "host/dial/dial.h"
#include "spec/unit/skip.h"

#define WARM_UP 20
#define KILLS 10 /* of the reconnects, by the end of the server */

static int reconnects = 200, attempts = 50;

/* ---- what the process has ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* The sanitizers keep freed memory for a while, so the size of the process tells nothing. */
size_t __sanitizer_get_current_allocated_bytes(void);
static size_t allocated(void) {
    return __sanitizer_get_current_allocated_bytes();
}
enum { by_sanitizer = true };
#else
static size_t allocated(void) {
    return mallinfo2().uordblks;
}
enum { by_sanitizer = false };
#endif

/* So does valgrind, which does not count for mallinfo2() either: it looks itself. */
static bool by_valgrind(void) {
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

static int count_entries(const char *path) {
    DIR *d = opendir(path);
    int count = 0;
    while (d != NULL && readdir(d) != NULL)
        count++;
    if (d != NULL)
        closedir(d);
    return count;
}

static size_t resident(void) {
    size_t kb = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = (size_t)atol(line + 6);
    if (f != NULL)
        fclose(f);
    return kb * 1024;
}

struct usage {
    int fds, threads;
    size_t allocated, resident;
};

static struct usage usage(void) {
    return (struct usage){.fds = count_entries("/proc/self/fd"),
                          .threads = count_entries("/proc/self/task"),
                          .allocated = allocated(),
                          .resident = resident()};
}

#define MEMORY ((size_t)64 * 1024) /* of fluctuation */
#define RESIDENT ((size_t)3 * 1024 * 1024)

/* A thread that was joined is in /proc for a moment yet; one that was left behind ends soon. */
static void check_as_before(const struct usage *before) {
    struct usage after = usage();
    for (int i = 0; i < 1000 && (after.threads > before->threads || after.fds > before->fds ||
                                 dial_left_behind() > 0);
         i++) {
        run_until(NULL, 10);
        after = usage();
    }
    CHECK_INT(after.fds, before->fds);
    CHECK(after.threads <= before->threads);
    CHECK_INT(dial_left_behind(), 0);
    if (by_valgrind())
        return;
    if (after.allocated > before->allocated + MEMORY)
        test_fail(__FILE__, __LINE__, "%zu bytes more are allocated",
                  after.allocated - before->allocated);
    if (!by_sanitizer && after.resident > before->resident + RESIDENT)
        test_fail(__FILE__, __LINE__, "the process has grown by %zu bytes",
                  after.resident - before->resident);
}

/* ---- reconnecting ---- */

/* Each connection has held long enough to count as one, and its back-off is over at once. */
static void reconnect(int count, int kills) {
    for (int i = 0; i < count; i++) {
        skip_ms(5500);
        run_until(NULL, 5);
        if (i < kills)
            server_kill(&server);
        else
            link_partition(a.link, 0);
        CHECK(peer_wait(&a, LINK_DISCONNECTED, 30000));
        if (i < kills)
            server_run(&server, NULL);
        skip_ms(100);
        CHECK(peer_wait(&a, LINK_CONNECTED, 30000));
        CHECK_INT(flush(a.link), LN_OK);
    }
}

WITH_SERVER(reconnects_leave_nothing, NULL) {
    struct inbox in = {.then = echo};
    struct link_stats stats;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    reconnect(WARM_UP, 2);
    struct usage before = usage();
    reconnect(reconnects, KILLS);
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.reconnects, WARM_UP + reconnects);
    check_as_before(&before);
}

/* ---- attempts that fail ---- */

static void fail(const struct link_options *options, const char *url, int count) {
    for (int i = 0; i < count; i++) {
        struct link_options o = *options;
        CHECK(open_as_is(&a, o, url));
        CHECK(peer_wait(&a, LINK_CLOSED, 30000));
        CHECK(peer_close(&a, 0));
    }
}

static void check_failures(const struct link_options *options, const char *url, int status) {
    fail(options, url, WARM_UP);
    CHECK_INT(a.status, status);
    struct usage before = usage();
    fail(options, url, attempts);
    check_as_before(&before);
}

WITH_SERVER(failed_attempts_leave_nothing, "authorization { user: u, password: p }") {
    struct link_options o = {.user = "u", .password = "wrong"}, stranger = {0};
    o.tls_ca = with_tls ? ca_path : NULL;
    check_failures(&o, server.url, LN_EAUTH);
    check_failures(&o, "nats://127.0.0.1:1", LN_ENOSERVER);
    if (with_tls)
        check_failures(&stranger, server.url, LN_ENATS); /* an authority it does not know */
    stranger.tls_ca = "/nowhere.pem";
    check_failures(&stranger, server.url, LN_EINVAL);
}

/* ---- closing while dialling ---- */

/* After so many turns of the loop that each step of an attempt is met. */
static void close_while_dialling(const char *url, int count) {
    for (int i = 0; i < count; i++) {
        struct link_options o = {.tls_ca = with_tls ? ca_path : NULL,
                                 .connect_timeout_ms = 60000};
        CHECK(open_as_is(&a, o, url));
        for (int j = 0; j < i % 5; j++)
            run_until(NULL, (unsigned)(i % 7));
        CHECK(peer_close(&a, 0));
    }
}

WITH_SERVER(closing_while_dialling_leaves_nothing, NULL) {
    char silent[64];
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 200) == 0 &&
          getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    snprintf(silent, sizeof(silent), "nats://127.0.0.1:%d", ntohs(at.sin_port));
    close_while_dialling(server.url, WARM_UP);
    close_while_dialling(silent, WARM_UP);
    for (int i = 0; i < 1000 && dial_left_behind() > 0; i++)
        run_until(NULL, 10);
    struct usage before = usage();
    close_while_dialling(server.url, attempts);
    close_while_dialling(silent, attempts);
    check_as_before(&before);
    close(fd);
}

static void run_all(void) {
    RUN(reconnects_leave_nothing);
    RUN(failed_attempts_leave_nothing);
    RUN(closing_while_dialling_leaves_nothing);
}

int main(int argc, char **argv) {
    if (by_valgrind())
        reconnects = attempts = 15; /* it is slow */
    return run_variants(argc, argv, run_all);
}
