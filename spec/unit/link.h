/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the link share: a real nats-server, links to it on a loop, and what they
 * receive. Each test runs plain and over TLS.
 */
#ifndef LUNATS_SPEC_UNIT_LINK_H
#define LUNATS_SPEC_UNIT_LINK_H

#include "host/dial/dial.h"
#include "host/link/link.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nats/nats.h>

#include "spec/unit/certificates.h"
#include "spec/unit/test.h"

/* ---- a server of our own ---- */

static bool with_tls;
static const char *server_address = "127.0.0.1"; /* or ::1 */

struct server {
    pid_t pid;
    int port;
    char dir[64];
    char url[64];
};

static inline void sleep_ms(unsigned ms) {
    usleep(ms * 1000u);
}

static inline int read_port(const char *dir) {
    char path[512], text[1024];
    DIR *d = opendir(dir);
    int port = 0;
    for (struct dirent *e; d != NULL && port == 0 && (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, ".ports") == NULL)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        FILE *f = fopen(path, "r");
        size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
        if (f != NULL)
            fclose(f);
        text[n] = '\0';
        char *at = strstr(text, server_address);
        if (at == NULL || strchr(text, '}') == NULL)
            continue;
        at += strlen(server_address);
        port = atoi(at + strspn(at, "]:"));
    }
    if (d != NULL)
        closedir(d);
    return port;
}

static inline bool accepts(int port) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *to;
    char digits[16];
    snprintf(digits, sizeof(digits), "%d", port);
    if (getaddrinfo(server_address, digits, &hints, &to) != 0)
        abort();
    int fd = socket(to->ai_family, SOCK_STREAM, 0);
    bool ok = connect(fd, to->ai_addr, to->ai_addrlen) == 0;
    close(fd);
    freeaddrinfo(to);
    return ok;
}

/* Writes its configuration; a SIGHUP lets a running one read it. */
static inline void server_configure(const struct server *s, const char *config) {
    char path[128];
    snprintf(path, sizeof(path), "%s/server.conf", s->dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "%s\n", config != NULL ? config : "");
    if (with_tls)
        fprintf(f, "tls { cert_file: \"%s/cert.pem\", key_file: \"%s/key.pem\" }\n", cert_dir,
                cert_dir);
    fclose(f);
}

/* Starts the server on its former port, or on a free one if that is 0. */
static inline void server_run(struct server *s, const char *config) {
    char port[16], path[128];
    snprintf(port, sizeof(port), "%d", s->port == 0 ? -1 : s->port);
    snprintf(path, sizeof(path), "%s/server.conf", s->dir);
    server_configure(s, config);
    s->pid = fork();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execlp("nats-server", "nats-server", "-c", path, "-a", server_address, "-p", port,
               "-sd", s->dir, "--ports_file_dir", s->dir, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 6000 && s->port == 0; i++) {
        s->port = read_port(s->dir);
        sleep_ms(5);
    }
    for (int i = 0; i < 6000 && !accepts(s->port); i++)
        sleep_ms(5);
    bool six = strchr(server_address, ':') != NULL;
    snprintf(s->url, sizeof(s->url), "%s://%s%s%s:%d", with_tls ? "tls" : "nats",
             six ? "[" : "", server_address, six ? "]" : "", s->port);
}

static inline void server_start(struct server *s, const char *config) {
    memset(s, 0, sizeof(*s));
    strcpy(s->dir, "/tmp/link_test.XXXXXX");
    if (mkdtemp(s->dir) == NULL)
        abort();
    server_run(s, config);
}

static inline void server_kill(struct server *s) {
    if (s->pid == 0)
        return;
    kill(s->pid, SIGKILL);
    kill(s->pid, SIGCONT);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static inline void server_stop(struct server *s) {
    char command[128];
    server_kill(s);
    snprintf(command, sizeof(command), "rm -rf '%s'", s->dir);
    if (system(command) != 0)
        printf("# %s is left\n", s->dir);
}

/* ---- a loop with a link ---- */

static uv_loop_t loop;
static struct clock *real_clock;

struct peer {
    struct link *link;
    enum link_state state;
    int status, states, errors, error_status, lame_ducks, retries, retry_status;
    char text[512], error_text[512], retry_text[512], retry_url[128];
    bool closed;
    size_t unsent;
};

static inline void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct peer *p = owner;
    p->state = state;
    p->status = status;
    p->states++;
    snprintf(p->text, sizeof(p->text), "%s", text);
}
static inline void on_error(void *owner, int status, const char *text) {
    struct peer *p = owner;
    p->errors++;
    p->error_status = status;
    snprintf(p->error_text, sizeof(p->error_text), "%s", text);
}
static inline void on_lame_duck(void *owner) {
    ((struct peer *)owner)->lame_ducks++;
}
static inline void on_closed(void *owner, size_t unsent) {
    ((struct peer *)owner)->closed = true;
    ((struct peer *)owner)->unsent = unsent;
}

static inline void on_retry(void *owner, const char *url, int status, const char *text) {
    struct peer *p = owner;
    p->retries++;
    p->retry_status = status;
    snprintf(p->retry_url, sizeof(p->retry_url), "%s", url);
    snprintf(p->retry_text, sizeof(p->retry_text), "%s", text);
}

static const struct link_events events = {.on_state = on_state,
                                          .on_retry = on_retry,
                                          .on_error = on_error,
                                          .on_lame_duck = on_lame_duck};

static inline void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Runs the loop until *flag is true or `ms` passed. */
static inline bool run_until(const bool *flag, unsigned ms) {
    uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000u;
    while (!(flag != NULL && *flag) && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return flag != NULL && *flag;
}

/* The same with a count. */
static inline bool run_count(const int *count, int want, unsigned ms) {
    uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000u;
    while (*count < want && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *count >= want;
}

static inline int peer_open_with(struct peer *p, struct link_options *o, const char *url) {
    const char *servers[] = {url};
    memset(p, 0, sizeof(*p));
    o->tls_ca = with_tls ? ca_path : NULL;
    o->servers = servers;
    o->server_count = 1;
    return link_open(&p->link, &loop, real_clock, o, &events, p);
}

static inline bool peer_wait(struct peer *p, enum link_state state, unsigned ms) {
    for (unsigned i = 0; i < ms / 5 && p->state != state; i++)
        run_until(NULL, 5);
    if (p->state != state)
        printf("# state %d with status %d (%s), not state %d\n", (int)p->state, p->status,
               p->text, (int)state);
    return p->state == state;
}

static inline bool peer_open(struct peer *p, const char *url) {
    struct link_options o = {0};
    return peer_open_with(p, &o, url) == LN_OK && peer_wait(p, LINK_CONNECTED, 3000);
}

static inline bool peer_close(struct peer *p, uint32_t flush_ms) {
    if (p->link == NULL)
        return true;
    link_close(p->link, flush_ms, on_closed, p);
    p->link = NULL;
    return run_until(&p->closed, 10000);
}

static struct server server;
static struct peer a, b;

static inline void begin(const char *config) {
    server_start(&server, config);
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
}
static inline void end(void) {
    if (!peer_close(&a, 100))
        test_fail(__FILE__, __LINE__, "link a is not closed");
    if (!peer_close(&b, 100))
        test_fail(__FILE__, __LINE__, "link b is not closed");
    server_stop(&server);
}

/* Runs a test body with a server and cleans up however it ends. */
#define WITH_SERVER(name, config)                                                              \
    static void name##_body(void);                                                             \
    static void name(void) {                                                                   \
        begin(config);                                                                         \
        name##_body();                                                                         \
        end();                                                                                 \
    }                                                                                          \
    static void name##_body(void)

/* ---- what tests receive ---- */

struct inbox {
    struct link *link;
    struct link_sub *sub;
    int count, errors, error_status, drained;
    char subject[64], data[64], reply[128], header[64];
    int last_number;
    bool ordered;
    void (*then)(struct inbox *);
};

static inline void on_msg(void *owner, struct message *msg) {
    struct inbox *in = owner;
    const char *value = message_header(msg, "X-Test");
    in->count++;
    snprintf(in->subject, sizeof(in->subject), "%s", msg->subject);
    snprintf(in->data, sizeof(in->data), "%s", msg->data);
    snprintf(in->reply, sizeof(in->reply), "%s", msg->reply != NULL ? msg->reply : "");
    if (value != NULL)
        snprintf(in->header, sizeof(in->header), "%s", value);
    int number = atoi(in->data);
    in->ordered = in->count == 1 ? true : in->ordered && number == in->last_number + 1;
    in->last_number = number;
    message_free(msg);
    if (in->then != NULL)
        in->then(in);
}
static inline void on_sub_error(void *owner, int status, const char *text) {
    struct inbox *in = owner;
    (void)text;
    in->errors++;
    in->error_status = status;
}
static inline void on_drained(void *owner) {
    ((struct inbox *)owner)->drained++;
}

static inline int subscribe(struct inbox *in, struct link *link, const char *pattern,
                            const struct link_sub_options *options) {
    void (*then)(struct inbox *) = in->then;
    memset(in, 0, sizeof(*in));
    in->link = link;
    in->then = then;
    return link_subscribe(link, pattern, options, on_msg, on_sub_error, in, &in->sub);
}

static inline int publish(struct link *link, const char *subject, const char *data) {
    struct link_out out = {.subject = subject, .data = data, .len = strlen(data)};
    return link_publish(link, &out);
}
static inline int publish_number(struct link *link, const char *subject, int number) {
    char data[16];
    snprintf(data, sizeof(data), "%d", number);
    return publish(link, subject, data);
}

struct caller {
    struct link_call call; /* first */
    int results, replies, status;
    char data[64];
    struct link *link;
};
static inline void on_result(struct link_call *call, int status, struct message *reply) {
    struct caller *c = (struct caller *)call;
    if (reply != NULL) {
        c->replies++;
        snprintf(c->data, sizeof(c->data), "%.*s", (int)reply->len, reply->data);
        message_free(reply);
        if (link_call_waits(call))
            return;
    }
    c->results++;
    c->status = status;
}
static inline int request(struct caller *c, struct link *link, const char *subject,
                          const char *data, uint32_t ms) {
    struct link_out out = {.subject = subject, .data = data, .len = strlen(data)};
    memset(c, 0, sizeof(*c));
    c->link = link;
    return link_request(link, &c->call, real_clock, &out, ms, on_result);
}
static inline int flush(struct link *link) {
    struct caller c = {.link = link};
    int rc = link_flush(link, &c.call, real_clock, 2000, on_result);
    if (rc != LN_OK)
        return rc;
    run_count(&c.results, 1, 3000);
    link_call_cancel(&c.call);
    return c.results == 1 ? c.status : -1;
}
static inline void echo(struct inbox *in) {
    if (in->reply[0] != '\0')
        publish(in->link, in->reply, in->data);
}

/* ---- running ---- */

static inline void the_loop_is_empty(void) {
    CHECK_INT(uv_loop_close(&loop), 0);
}

static inline int end_all(void) {
    clock_close(real_clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    test_arg_count = 0;
    RUN(the_loop_is_empty);
    while (!dial_close_library()) /* where all is slow */
        ;
    remove_certificates();
    return test_end();
}

/* Runs the tests in all variants; returns the exit status. */
static inline int run_variants(int argc, char **argv, void (*run_all)(void)) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    make_certificates();
    uv_loop_init(&loop);
    clock_open(&real_clock, &loop, false);
    run_all();
    with_tls = true;
    test_variant = " over TLS";
    run_all();
    test_variant = "";
    return end_all();
}

#endif
