/* SPDX-License-Identifier: Apache-2.0 */
/* What attempts leave behind that fail, or that nobody waits for: nothing. */
#include "spec/unit/tls.h"

#include "spec/unit/usage.h"

static int attempts = 50;

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
    RUN(failed_attempts_leave_nothing);
    RUN(closing_while_dialling_leaves_nothing);
}

int main(int argc, char **argv) {
    if (by_valgrind() || test_is_emulated())
        attempts = 15; /* it is slow */
    return run_variants(argc, argv, run_all);
}
