/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of scripts, with memory that runs out: the code of ours gets 0, 1, 2, ... allocations
 * until a connection has worked from its beginning to its end. Each failure must be told, and
 * leave nothing behind. CMakeLists.txt lets the linker put the functions below in the place of
 * those of libc; what is in shared libraries keeps its own.
 */
#include "spec/unit/tcp.h"

#include <limits.h>
#include <stdatomic.h>

#include "host/base/errand.h"
#include "host/tcp/internal.h"
#include "spec/unit/certificates.h"

/* ---- memory ---- */

static atomic_long allocations = LONG_MAX; /* that are left */

static bool allowed(void) {
    return atomic_load(&allocations) == LONG_MAX || atomic_fetch_sub(&allocations, 1) > 0;
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the linker's names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

void *__wrap_malloc(size_t size) {
    return allowed() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size) {
    return allowed() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *block, size_t size) {
    return allowed() ? __real_realloc(block, size) : NULL;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* ---- a server ---- */

static int listening, port;
static atomic_bool secure;
static uv_thread_t thread;

static void echo_plain(int fd) {
    char bytes[4096];
    for (ssize_t got; (got = recv(fd, bytes, sizeof(bytes), 0)) > 0;)
        if (send(fd, bytes, (size_t)got, MSG_NOSIGNAL) < 0)
            return;
}

static void echo_secure(int fd) {
    char bytes[4096];
    SSL *ssl = accept_tls(fd, "cert");
    for (int got; ssl != NULL && (got = SSL_read(ssl, bytes, sizeof(bytes))) > 0;)
        SSL_write(ssl, bytes, got);
    SSL_free(ssl);
}

static void serve(void *unused) {
    (void)unused;
    for (int fd; (fd = accept(listening, NULL, NULL)) >= 0; close(fd))
        if (secure)
            echo_secure(fd);
        else
            echo_plain(fd);
}

/* ---- a connection ---- */

static struct client a;
static const char *wrong; /* what was not as it should be */

/* The status of something that has failed. */
static bool failed_by_memory(int status) {
    if (status == LN_ENOMEM || (secure && status == LN_ETLS))
        return true;
    printf("# status %d\n", status);
    wrong = "the status";
    return true;
}

/* Whether it has worked from the beginning to the end. */
static bool works(struct tcp_target target) {
    a = (struct client){0};
    int rc = client_open(&a, target);
    if (rc < 0)
        return !failed_by_memory(rc);
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    if (tcp_state(a.socket) == TCP_CONNECTING) {
        wrong = "nothing was told";
        return false;
    }
    if (tcp_state(a.socket) == TCP_FAILED)
        return !failed_by_memory(tcp_status(a.socket));
    ssize_t taken = tcp_write(a.socket, "hello", 5);
    if (taken < 0)
        return !failed_by_memory((int)taken);
    UNTIL(client_len(&a) == 5 || tcp_status(a.socket) != LN_OK);
    if (tcp_status(a.socket) != LN_OK)
        return !failed_by_memory(tcp_status(a.socket));
    if (!client_has(&a, "hello"))
        wrong = "the bytes";
    return true;
}

/* Tries with more and more allocations; returns how many it takes. */
static int sweep(struct tcp_target target) {
    wrong = NULL;
    for (int count = 0; count < 1000 && wrong == NULL; count++) {
        atomic_store(&allocations, count);
        bool worked = works(target);
        client_close(&a);
        atomic_store(&allocations, LONG_MAX);
        turn_on();
        if (!list_empty(&home.sockets) || held != 0)
            wrong = "something is left";
        if (worked && wrong == NULL)
            return count;
    }
    printf("# wrong: %s\n", wrong);
    return -1;
}

static struct tcp_target plain_target(void) {
    return (struct tcp_target){.host = "127.0.0.1", .port = port};
}

static void a_plain_connection(void) {
    CHECK(sweep(plain_target()) > 2);
}

static void one_over_tls(void) {
    struct tcp_target target = plain_target();
    secure = true;
    target.tls = true;
    target.ca = ca_path;
    CHECK(sweep(target) > 5);
    secure = false;
}

/* TLS that begins in the middle fails as a whole. */
static void tls_in_the_middle(void) {
    struct tcp_target target = plain_target();
    target.tls = true;
    target.ca = ca_path;
    for (int count = 0; count < 3; count++) {
        a = (struct client){0};
        CHECK_INT(client_dial(&a, port), LN_OK);
        UNTIL(is_open(&a));
        atomic_store(&allocations, count);
        int rc = tcp_start_tls(a.socket, &target);
        atomic_store(&allocations, LONG_MAX);
        CHECK_INT(rc, LN_ENOMEM);
        CHECK(is_open(&a)); /* it is plain, as before */
        CHECK(!tcp_is_secure(a.socket));
        client_close(&a);
        turn_on();
    }
}

static void a_pool_closes_what_it_cannot_keep(void) {
    struct tcp_pool pool = {.clock = home.clock};
    a = (struct client){0};
    CHECK_INT(client_dial(&a, port), LN_OK);
    UNTIL(is_open(&a));
    atomic_store(&allocations, 0);
    int rc = tcp_pool_keep(&pool, a.socket, "x", 1, 1, 1000, 1);
    atomic_store(&allocations, LONG_MAX);
    CHECK_INT(rc, LN_ENOMEM);
    CHECK(list_empty(&home.sockets));
    CHECK(list_empty(&pool.idle));
}

/* ---- an errand ---- */

static int worked, dropped;

static void work(void *arg) {
    (void)arg;
    worked++;
}

static void drop(void *arg) {
    (void)arg;
    dropped++;
}

static void on_done(void *owner, void *arg) {
    (void)owner, (void)arg;
}

static void an_errand_that_cannot_begin_drops_what_it_was_given(void) {
    static const struct errand_kind kind = {work, drop, on_done};
    struct errand *errand;
    atomic_store(&allocations, 0);
    int rc = errand_start(&errand, &tcp_loop, &kind, NULL, NULL);
    atomic_store(&allocations, LONG_MAX);
    CHECK_INT(rc, LN_ENOMEM);
    CHECK_INT(worked, 0);
    CHECK_INT(dropped, 1);
}

int main(int argc, char **argv) {
    tcp_begin(argc, argv);
    make_certificates();
    in_cert_dir("cp key.pem cert.key");
    listening = listen_at(&port, 8);
    uv_thread_create(&thread, serve, NULL);
    RUN(a_plain_connection);
    RUN(one_over_tls);
    RUN(tls_in_the_middle);
    RUN(a_pool_closes_what_it_cannot_keep);
    RUN(an_errand_that_cannot_begin_drops_what_it_was_given);
    shutdown(listening, SHUT_RDWR);
    uv_thread_join(&thread);
    close(listening);
    remove_certificates();
    return tcp_end();
}
