/* SPDX-License-Identifier: Apache-2.0 */
/* How a socket of a script gets its connection: names, several addresses, Unix sockets. */
#include "spec/unit/tcp.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <sys/un.h>

#include "host/base/list.h"
#include "host/tcp/internal.h"

/* ---- the resolver ---- */

typedef int (*getaddrinfo_fn)(const char *, const char *, const struct addrinfo *,
                              struct addrinfo **);

static const char *several[4]; /* what "several.test" is, up to NULL */
static int failure;            /* of "fails.test" */
static atomic_bool hangs;      /* "slow.test" */
static atomic_int at_work;     /* looking it up */

static int behind(const char *node, const char *service, const struct addrinfo *hints,
                  struct addrinfo **out) {
    getaddrinfo_fn fn;
    *(void **)&fn = dlsym(RTLD_NEXT, "getaddrinfo");
    return fn(node, service, hints, out);
}

static int resolve_several(const char *service, const struct addrinfo *hints,
                           struct addrinfo **out) {
    struct addrinfo **end = out;
    int rc = 0;
    for (size_t i = 0; rc == 0 && several[i] != NULL; i++) {
        rc = behind(several[i], service, hints, end);
        while (rc == 0 && *end != NULL)
            end = &(*end)->ai_next;
    }
    return rc;
}

/* This one wins over libc's. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    bool name = node != NULL && hints != NULL && (hints->ai_flags & AI_NUMERICHOST) == 0;
    if (name && strcmp(node, "several.test") == 0)
        return resolve_several(service, hints, out);
    if (name && strcmp(node, "fails.test") == 0)
        return failure;
    if (!name || strcmp(node, "slow.test") != 0)
        return behind(node, service, hints, out);
    at_work++;
    while (hangs)
        usleep(1000);
    at_work--;
    return behind("127.0.0.1", service, hints, out);
}

/* ---- servers ---- */

/* Listens at this address, on `port` unless that is 0; returns -1 if it is taken. */
static int listen_on(const char *address, int *at_port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*at_port)};
    socklen_t size = sizeof(at);
    inet_pton(AF_INET, address, &at.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0) {
        close(fd);
        return -1;
    }
    *at_port = ntohs(at.sin_port);
    return fd;
}

/* A server that does not answer: its queue is full. */
static struct { int fd, port, callers[8]; } deaf;

static void deafen(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    deaf.fd = listen_at(&deaf.port, 0);
    at.sin_port = htons((uint16_t)deaf.port);
    for (int i = 0; i < 8; i++) {
        deaf.callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(deaf.callers[i], (struct sockaddr *)&at, sizeof(at));
    }
}

static void hear_again(void) {
    for (int i = 0; i < 8; i++)
        close(deaf.callers[i]);
    close(deaf.fd);
}

static struct client a;

static bool fails(struct tcp_target target, int status) {
    a = (struct client){0};
    int rc = client_open(&a, target);
    if (rc < 0) {
        printf("# tcp_open: %d\n", rc);
        return false;
    }
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    bool ok = tcp_state(a.socket) == TCP_FAILED && tcp_status(a.socket) == status &&
              tcp_reason(a.socket)[0] != '\0' && a.events == 1;
    if (!ok)
        printf("# state %d, status %d (%s), %d events\n", (int)tcp_state(a.socket),
               tcp_status(a.socket), tcp_reason(a.socket), a.events);
    client_close(&a);
    turn_on();
    return ok && list_empty(&home.sockets) && held == 0;
}

/* ---- one address ---- */

static void a_port_where_nobody_listens_refuses(void) {
    CHECK(fails((struct tcp_target){.host = "127.0.0.1", .port = closed_port()},
                UV_ECONNREFUSED));
}

static void a_name_that_is_none_fails_with_the_reason_of_the_resolver(void) {
    static const struct {
        int code, status;
    } codes[] = {
        {EAI_NONAME, UV_EAI_NONAME}, {EAI_AGAIN, UV_EAI_AGAIN}, {EAI_FAIL, UV_EAI_FAIL},
        {EAI_MEMORY, UV_EAI_MEMORY}, {EAI_SYSTEM, UV_EAI_FAIL},
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        failure = codes[i].code;
        CHECK(fails((struct tcp_target){.host = "fails.test", .port = 1}, codes[i].status));
    }
}

static void close_it(struct client *client) {
    client_close(client);
}

static void a_socket_may_be_closed_by_who_hears_that_it_has_failed(void) {
    a = (struct client){.then = close_it};
    CHECK_INT(client_dial(&a, closed_port()), LN_OK);
    UNTIL(a.socket == NULL);
    CHECK(a.socket == NULL);
    failure = EAI_NONAME;
    CHECK_INT(client_open(&a, (struct tcp_target){.host = "fails.test", .port = 1}), LN_OK);
    UNTIL(a.socket == NULL);
    CHECK(a.socket == NULL);
    CHECK(list_empty(&home.sockets));
}

static void a_socket_may_be_closed_by_who_hears_that_it_is_connected(void) {
    int port, fd = listen_at(&port, 8);
    a = (struct client){.then = close_it};
    CHECK_INT(client_dial(&a, port), LN_OK);
    UNTIL(a.socket == NULL);
    CHECK(a.socket == NULL);
    turn_on();
    close(fd);
}

static void one_that_failed_can_neither_be_written_to_nor_shut_down(void) {
    a = (struct client){0};
    CHECK_INT(client_dial(&a, closed_port()), LN_OK);
    CHECK_INT(tcp_write(a.socket, "x", 1), LN_ECLOSED); /* not yet */
    tcp_shutdown(a.socket);
    UNTIL(tcp_state(a.socket) == TCP_FAILED);
    CHECK_INT(tcp_write(a.socket, "x", 1), LN_ECLOSED);
    tcp_shutdown(a.socket);
    CHECK_INT(client_len(&a), 0);
    CHECK(!tcp_at_rest(a.socket));
    tcp_close(a.socket, true);
    CHECK(list_empty(&home.sockets));
}

/* ---- closed meanwhile ---- */

static void a_socket_may_be_closed_while_it_connects(void) {
    deafen();
    a = (struct client){0};
    CHECK_INT(client_dial(&a, deaf.port), LN_OK);
    turn_on();
    CHECK_INT(tcp_state(a.socket), TCP_CONNECTING);
    tcp_close(a.socket, true);
    CHECK(list_empty(&home.sockets));
    CHECK_INT(client_dial(&a, deaf.port), LN_OK); /* before the loop has turned */
    client_close(&a);
    turn_on();
    CHECK_INT(a.events, 0);
    hear_again();
}

static void a_socket_may_be_closed_while_its_name_is_looked_up(void) {
    hangs = true;
    a = (struct client){0};
    CHECK_INT(client_open(&a, (struct tcp_target){.host = "slow.test", .port = 1}), LN_OK);
    UNTIL(at_work == 1);
    client_close(&a);
    CHECK(list_empty(&home.sockets));
    turn_on();
    hangs = false;
    UNTIL(at_work == 0);
    CHECK_INT(a.events, 0);
}

static void the_end_of_the_home_closes_what_is_under_way(void) {
    struct client all[3] = {{0}};
    int port, fd = listen_at(&port, 8);
    hangs = true;
    CHECK_INT(client_open(&all[0], (struct tcp_target){.host = "slow.test", .port = 1}), LN_OK);
    CHECK_INT(client_dial(&all[1], port), LN_OK);
    CHECK_INT(client_dial(&all[2], port), LN_OK);
    UNTIL(is_open(&all[1]) && at_work == 1);
    tcp_close_all(&home);
    CHECK(list_empty(&home.sockets));
    CHECK_INT(held, 0);
    hangs = false;
    UNTIL(at_work == 0);
    turn_on();
    close(fd);
}

/* ---- several addresses ---- */

static void the_next_address_is_tried_when_one_has_failed(void) {
    int port = 0, fd = listen_on("127.0.0.3", &port);
    several[0] = "127.0.0.1";
    several[1] = "127.0.0.2";
    several[2] = "127.0.0.3";
    several[3] = NULL;
    a = (struct client){0};
    CHECK_INT(client_open(&a, (struct tcp_target){.host = "several.test", .port = port}),
              LN_OK);
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    CHECK(is_open(&a));
    CHECK_INT(tcp_status(a.socket), LN_OK);
    CHECK_INT(a.events, 1);
    turn_on();
    CHECK_INT(a.socket->handles, 1); /* those that have failed are closed */
    client_close(&a);
    close(fd);
}

static void the_first_failure_of_all_is_told(void) {
    several[0] = "127.0.0.1";
    several[1] = "127.0.0.2";
    several[2] = NULL;
    CHECK(fails((struct tcp_target){.host = "several.test", .port = closed_port()},
                UV_ECONNREFUSED));
}

static void an_address_that_does_not_answer_is_overtaken_by_the_next(void) {
    deafen();
    int port = deaf.port, fd = listen_on("127.0.0.2", &port);
    CHECK(fd >= 0);
    several[0] = "127.0.0.1";
    several[1] = "127.0.0.2";
    several[2] = NULL;
    a = (struct client){0};
    CHECK_INT(client_open(&a, (struct tcp_target){.host = "several.test", .port = port}),
              LN_OK);
    UNTIL(!list_empty(&a.socket->attempts));
    turn_on();
    CHECK_INT(tcp_state(a.socket), TCP_CONNECTING);
    pass_ms(300);
    UNTIL(tcp_state(a.socket) != TCP_CONNECTING);
    CHECK(is_open(&a));
    turn_on();
    CHECK_INT(a.socket->handles, 1);
    client_close(&a);
    close(fd);
    hear_again();
}

static void one_that_may_still_answer_is_waited_for(void) {
    deafen();
    several[0] = "127.0.0.1";
    several[1] = "127.0.0.2"; /* where nobody listens */
    several[2] = NULL;
    a = (struct client){0};
    CHECK_INT(client_open(&a, (struct tcp_target){.host = "several.test", .port = deaf.port}),
              LN_OK);
    UNTIL(!list_empty(&a.socket->attempts));
    pass_ms(300);
    UNTIL(a.socket->next == NULL);
    turn_on();
    CHECK_INT(tcp_state(a.socket), TCP_CONNECTING);
    CHECK_INT(a.events, 0);
    client_close(&a);
    turn_on();
    hear_again();
}

/* ---- Unix sockets ---- */

static void a_unix_socket_has_a_path(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/tcp_connect.XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/socket", folder);
    CHECK(fails((struct tcp_target){.path = path}, UV_ENOENT));
    memcpy(at.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    CHECK(fails((struct tcp_target){.path = path}, UV_ECONNREFUSED));
    CHECK_INT(listen(fd, 1), 0);
    a = (struct client){0};
    CHECK_INT(client_open(&a, (struct tcp_target){.path = path}), LN_OK);
    UNTIL(is_open(&a));
    CHECK(is_open(&a));
    CHECK_INT(tcp_write(a.socket, "hello", 5), 5);
    int peer = accept(fd, NULL, NULL);
    tcp_close(a.socket, true);
    char heard[16];
    turn_on();
    CHECK_INT(hear_all(peer, heard, sizeof(heard)), 5);
    close(peer);
    close(fd);
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv) {
    tcp_begin(argc, argv);
    RUN(a_port_where_nobody_listens_refuses);
    RUN(a_name_that_is_none_fails_with_the_reason_of_the_resolver);
    RUN(a_socket_may_be_closed_by_who_hears_that_it_has_failed);
    RUN(a_socket_may_be_closed_by_who_hears_that_it_is_connected);
    RUN(one_that_failed_can_neither_be_written_to_nor_shut_down);
    RUN(a_socket_may_be_closed_while_it_connects);
    RUN(a_socket_may_be_closed_while_its_name_is_looked_up);
    RUN(the_end_of_the_home_closes_what_is_under_way);
    RUN(the_next_address_is_tried_when_one_has_failed);
    RUN(the_first_failure_of_all_is_told);
    RUN(an_address_that_does_not_answer_is_overtaken_by_the_next);
    RUN(one_that_may_still_answer_is_waited_for);
    RUN(a_unix_socket_has_a_path);
    return tcp_end();
}
