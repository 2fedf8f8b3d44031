/* SPDX-License-Identifier: Apache-2.0 */
/* The link against a real nats-server. */
#include "host/link/link.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spec/unit/test.h"

/* ---- a server of our own ---- */

struct server {
    pid_t pid;
    int port;
    char dir[64];
    char url[64];
};

static void sleep_ms(unsigned ms) {
    usleep(ms * 1000u);
}

static int read_port(const char *dir) {
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
        char *at = strstr(text, "127.0.0.1:");
        if (at != NULL && strchr(text, '}') != NULL)
            port = atoi(at + 10);
    }
    if (d != NULL)
        closedir(d);
    return port;
}

static bool accepts(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    return ok;
}

/* Starts the server on its former port, or on a free one if that is 0. */
static void server_run(struct server *s, const char *config) {
    char port[16], path[128];
    snprintf(port, sizeof(port), "%d", s->port == 0 ? -1 : s->port);
    snprintf(path, sizeof(path), "%s/server.conf", s->dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "%s\n", config != NULL ? config : "");
    fclose(f);
    s->pid = fork();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execlp("nats-server", "nats-server", "-c", path, "-a", "127.0.0.1", "-p", port, "-sd",
               s->dir, "--ports_file_dir", s->dir, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && s->port == 0; i++) {
        s->port = read_port(s->dir);
        sleep_ms(5);
    }
    for (int i = 0; i < 500 && !accepts(s->port); i++)
        sleep_ms(5);
    snprintf(s->url, sizeof(s->url), "nats://127.0.0.1:%d", s->port);
}

static void server_start(struct server *s, const char *config) {
    memset(s, 0, sizeof(*s));
    strcpy(s->dir, "/tmp/link_test.XXXXXX");
    if (mkdtemp(s->dir) == NULL)
        abort();
    server_run(s, config);
}

static void server_kill(struct server *s) {
    if (s->pid == 0)
        return;
    kill(s->pid, SIGKILL);
    kill(s->pid, SIGCONT);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static void server_stop(struct server *s) {
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
    int status, states, errors, error_status, lame_ducks;
    char text[256], error_text[256];
    bool closed;
    size_t unsent;
};

static void on_state(void *owner, enum link_state state, int status, const char *text) {
    struct peer *p = owner;
    p->state = state;
    p->status = status;
    p->states++;
    snprintf(p->text, sizeof(p->text), "%s", text);
}
static void on_error(void *owner, int status, const char *text) {
    struct peer *p = owner;
    p->errors++;
    p->error_status = status;
    snprintf(p->error_text, sizeof(p->error_text), "%s", text);
}
static void on_lame_duck(void *owner) {
    ((struct peer *)owner)->lame_ducks++;
}
static void on_closed(void *owner, size_t unsent) {
    ((struct peer *)owner)->closed = true;
    ((struct peer *)owner)->unsent = unsent;
}

static const struct link_events events = {on_state, on_error, on_lame_duck};

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Runs the loop until *flag is true or `ms` passed. */
static bool run_until(const bool *flag, unsigned ms) {
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
static bool run_count(const int *count, int want, unsigned ms) {
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

static bool by_nats; /* nats.c reads and writes, as it does with TLS */

static int peer_open_with(struct peer *p, struct link_options *o, const char *url) {
    const char *servers[] = {url};
    memset(p, 0, sizeof(*p));
    o->by_nats = by_nats;
    o->servers = servers;
    o->server_count = 1;
    return link_open(&p->link, &loop, o, &events, p);
}

static bool peer_wait(struct peer *p, enum link_state state, unsigned ms) {
    for (unsigned i = 0; i < ms / 5 && p->state != state; i++)
        run_until(NULL, 5);
    if (p->state != state)
        printf("# state %d with status %d (%s), not state %d\n", (int)p->state, p->status,
               p->text, (int)state);
    return p->state == state;
}

static bool peer_open(struct peer *p, const char *url) {
    struct link_options o = {0};
    return peer_open_with(p, &o, url) == LN_OK && peer_wait(p, LINK_CONNECTED, 3000);
}

static bool peer_close(struct peer *p, uint32_t flush_ms) {
    if (p->link == NULL)
        return true;
    link_close(p->link, flush_ms, on_closed, p);
    p->link = NULL;
    return run_until(&p->closed, 10000);
}

static struct server server;
static struct peer a, b;

static void begin(const char *config) {
    server_start(&server, config);
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
}
static void end(void) {
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

static void on_msg(void *owner, struct message *msg) {
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
static void on_sub_error(void *owner, int status, const char *text) {
    struct inbox *in = owner;
    (void)text;
    in->errors++;
    in->error_status = status;
}
static void on_drained(void *owner) {
    ((struct inbox *)owner)->drained++;
}

static int subscribe(struct inbox *in, struct link *link, const char *pattern,
                     const struct link_sub_options *options) {
    void (*then)(struct inbox *) = in->then;
    memset(in, 0, sizeof(*in));
    in->link = link;
    in->then = then;
    return link_subscribe(link, pattern, options, on_msg, on_sub_error, in, &in->sub);
}

static int publish(struct link *link, const char *subject, const char *data) {
    struct link_out out = {.subject = subject, .data = data, .len = strlen(data)};
    return link_publish(link, &out);
}
static int publish_number(struct link *link, const char *subject, int number) {
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
static void on_result(struct link_call *call, int status, struct message *reply) {
    struct caller *c = (struct caller *)call;
    if (reply != NULL) {
        c->replies++;
        snprintf(c->data, sizeof(c->data), "%.*s", (int)reply->len, reply->data);
        message_free(reply);
        if (call->link != NULL)
            return;
    }
    c->results++;
    c->status = status;
}
static int request(struct caller *c, struct link *link, const char *subject, const char *data,
                   uint32_t ms) {
    struct link_out out = {.subject = subject, .data = data, .len = strlen(data)};
    memset(c, 0, sizeof(*c));
    c->link = link;
    return link_request(link, &c->call, real_clock, &out, ms, on_result);
}
static int flush(struct link *link) {
    struct caller c = {.link = link};
    int rc = link_flush(link, &c.call, real_clock, 2000, on_result);
    if (rc != LN_OK)
        return rc;
    run_count(&c.results, 1, 3000);
    link_call_cancel(&c.call);
    return c.results == 1 ? c.status : -1;
}
static void echo(struct inbox *in) {
    if (in->reply[0] != '\0')
        publish(in->link, in->reply, in->data);
}

/* ---- connecting ---- */

WITH_SERVER(connects, NULL) {
    CHECK(peer_open(&a, server.url));
    struct link_info info;
    struct link_stats stats;
    link_get_info(a.link, &info);
    CHECK_INT(info.max_payload, 1048576);
    CHECK_STR(info.url, server.url);
    CHECK(info.server_id[0] == 'N');
    CHECK(info.client_id > 0);
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.subscriptions, 0);
    CHECK_INT(stats.calls, 0);
    CHECK(link_is_connected(a.link));
}

static void refused_without_retry_is_closed(void) {
    memset(&a, 0, sizeof(a));
    struct link_options o = {0};
    CHECK_INT(peer_open_with(&a, &o, "nats://127.0.0.1:1"), LN_OK);
    CHECK(peer_wait(&a, LINK_CLOSED, 2000));
    CHECK_INT(a.status, LN_ENOSERVER);
    CHECK_INT(link_state(a.link), LINK_CLOSED);
    CHECK_INT(publish(a.link, "x", "y"), LN_ECLOSED);
    CHECK(peer_close(&a, 1000));
}

WITH_SERVER(refused_with_retry_connects_later, NULL) {
    server_kill(&server);
    struct link_options o = {.retry = true};
    struct inbox in = {0};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK_INT(subscribe(&in, a.link, "early", NULL), LN_OK);
    CHECK_INT(publish(a.link, "early", "bird"), LN_OK);
    run_until(NULL, 300);
    CHECK_INT(a.states, 0);
    server_run(&server, NULL);
    CHECK(peer_wait(&a, LINK_CONNECTED, 6000));
    CHECK(run_count(&in.count, 1, 1000));
    CHECK_STR(in.data, "bird");
}

WITH_SERVER(wrong_password_is_auth, "authorization { user: u, password: p }") {
    struct link_options o = {.user = "u", .password = "wrong"};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CLOSED, 2000));
    CHECK_INT(a.status, LN_EAUTH);
    struct link_options right = {.user = "u", .password = "p"};
    CHECK_INT(peer_open_with(&b, &right, server.url), LN_OK);
    CHECK(peer_wait(&b, LINK_CONNECTED, 2000));
}

/* ---- messages ---- */

WITH_SERVER(echoes_with_headers, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "e.*", NULL), LN_OK);
    struct link_header h[] = {{"X-Test", "one"}, {"X-Test", "two"}, {"B", "x"}};
    struct link_out out = {.subject = "e.x",
                           .reply = "r.s",
                           .data = "hello",
                           .len = 5,
                           .headers = h,
                           .header_count = 3};
    CHECK_INT(link_publish(a.link, &out), LN_OK);
    CHECK(run_count(&in.count, 1, 1000));
    CHECK_STR(in.subject, "e.x");
    CHECK_STR(in.reply, "r.s");
    CHECK_STR(in.data, "hello");
    CHECK_STR(in.header, "one");
}

WITH_SERVER(refuses_what_must_not_go_out, "max_payload: 1000") {
    CHECK(peer_open(&a, server.url));
    char big[2000];
    memset(big, 'x', sizeof(big));
    struct link_out out = {.subject = "a", .data = big, .len = 1001};
    CHECK_INT(link_publish(a.link, &out), LN_ETOOLARGE);
    out.len = 1000;
    CHECK_INT(link_publish(a.link, &out), LN_OK);
    out.len = 10;
    out.subject = "a b";
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.subject = "a.*";
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.subject = "a";
    out.reply = "x\r\nPUB y";
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.reply = NULL;
    struct link_header bad_value = {"A", "x\r\ny"}, bad_name = {"A:", "x"};
    out.headers = &bad_value;
    out.header_count = 1;
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    out.headers = &bad_name;
    CHECK_INT(link_publish(a.link, &out), LN_EINVAL);
    struct link_sub *sub;
    CHECK_INT(link_subscribe(a.link, "a..b", NULL, on_msg, NULL, NULL, &sub), LN_EINVAL);
    CHECK_INT(flush(a.link), LN_OK);
}

WITH_SERVER(queue_group_shares, NULL) {
    struct inbox one = {0}, two = {0};
    struct link_sub_options q = {.queue = "q"};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&one, a.link, "work", &q), LN_OK);
    CHECK_INT(subscribe(&two, b.link, "work", &q), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 0; i < 1000; i++)
        publish(a.link, "work", "x");
    for (int i = 0; i < 200 && one.count + two.count < 1000; i++)
        run_until(NULL, 5);
    CHECK_INT(one.count + two.count, 1000);
    CHECK(one.count > 100 && two.count > 100);
}

WITH_SERVER(loses_nothing_of_100k, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "n", NULL), LN_OK);
    for (int i = 0; i < 100000; i++) {
        CHECK_INT(publish_number(a.link, "n", i), LN_OK);
        if (i % 1000 == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    CHECK(run_count(&in.count, 100000, 20000));
    CHECK(in.ordered);
}

/* ---- pause, overflow, unsubscribe, drain ---- */

WITH_SERVER(pauses_and_resumes, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", NULL), LN_OK);
    link_sub_pause(in.sub);
    for (int i = 0; i < 5000; i++)
        publish_number(a.link, "p", i);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.count, 0);
    CHECK_INT(link_sub_pending(in.sub), 5000);
    link_sub_resume(in.sub);
    CHECK_INT(in.count, 0);
    publish_number(a.link, "p", 5000);
    CHECK(run_count(&in.count, 5001, 1000));
    CHECK(in.ordered);
    CHECK_INT(link_sub_pending(in.sub), 0);
}

static void pause_self(struct inbox *in) {
    link_sub_pause(in->sub);
}

WITH_SERVER(pauses_inside_a_message, NULL) {
    struct inbox in = {.then = pause_self};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", NULL), LN_OK);
    for (int i = 0; i < 5; i++)
        publish_number(a.link, "p", i);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 1; i < 5; i++) {
        CHECK_INT(in.count, i);
        CHECK_INT(link_sub_pending(in.sub), 5 - i);
        link_sub_resume(in.sub);
        run_until(NULL, 10);
    }
    CHECK_INT(in.count, 5);
    CHECK(in.ordered);
}

WITH_SERVER(overflow_is_reported_once, NULL) {
    struct inbox in = {0};
    struct link_sub_options o = {.pending_msgs = 100};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "p", &o), LN_OK);
    link_sub_pause(in.sub);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 150; i++)
            publish_number(a.link, "p", i);
        CHECK_INT(flush(a.link), LN_OK);
        CHECK_INT(in.errors, round);
        CHECK_INT(in.error_status, LN_EFULL);
        CHECK_INT(link_sub_dropped(in.sub), 50 * round);
        link_sub_resume(in.sub);
        CHECK(run_count(&in.count, 100 * round, 1000));
        link_sub_pause(in.sub);
    }
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.dropped, 100);
}

static void unsubscribe_self(struct inbox *in) {
    if (in->sub != NULL)
        link_unsubscribe(in->sub);
    in->sub = NULL;
}
static struct inbox *victims;
static void unsubscribe_others(struct inbox *in) {
    for (int i = 0; i < 3; i++)
        if (&victims[i] != in && victims[i].sub != NULL) {
            link_unsubscribe(victims[i].sub);
            victims[i].sub = NULL;
        }
    in->then = NULL;
}

WITH_SERVER(unsubscribes_inside_a_message, NULL) {
    struct inbox in = {.then = unsubscribe_self};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "u", NULL), LN_OK);
    for (int i = 0; i < 10; i++)
        publish(a.link, "u", "x");
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(in.count, 1);
    struct inbox three[3] = {{.then = unsubscribe_others},
                             {.then = unsubscribe_others},
                             {.then = unsubscribe_others}};
    victims = three;
    for (int i = 0; i < 3; i++)
        CHECK_INT(subscribe(&three[i], a.link, "v", NULL), LN_OK);
    for (int i = 0; i < 10; i++)
        publish(a.link, "v", "x");
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(three[0].count + three[1].count + three[2].count, 10);
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.subscriptions, 1);
}

static void close_link(struct inbox *in) {
    (void)in;
    if (a.link != NULL)
        link_close(a.link, 100, on_closed, &a);
    a.link = NULL;
}

WITH_SERVER(closes_inside_a_message, NULL) {
    struct inbox in = {.then = close_link};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "u", NULL), LN_OK);
    for (int i = 0; i < 10; i++)
        publish(a.link, "u", "x");
    CHECK(run_until(&a.closed, 2000));
    CHECK_INT(in.count, 1);
}

WITH_SERVER(drain_delivers_everything, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, a.link, "d", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int i = 0; i < 20000; i++)
        publish_number(b.link, "d", i);
    CHECK_INT(flush(b.link), LN_OK);
    int before = in.count;
    link_sub_drain(in.sub, 2000, on_drained);
    publish_number(b.link, "d", -1);
    CHECK(run_count(&in.drained, 1, 3000));
    CHECK_INT(in.drained, 1);
    if (in.count != 20000)
        CHECK_INT(in.count, 20001); /* the last one raced with the UNSUB */
    (void)before;
    int after = in.count;
    publish(b.link, "d", "late");
    CHECK_INT(flush(b.link), LN_OK);
    run_until(NULL, 20);
    CHECK_INT(in.count, after);
}

WITH_SERVER(drain_of_a_paused_subscription_waits, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "d", NULL), LN_OK);
    link_sub_pause(in.sub);
    for (int i = 0; i < 3000; i++)
        publish_number(a.link, "d", i);
    link_sub_drain(in.sub, 2000, on_drained);
    run_until(NULL, 50);
    CHECK_INT(in.drained, 0);
    CHECK_INT(link_sub_pending(in.sub), 3000);
    link_sub_resume(in.sub);
    CHECK(run_count(&in.drained, 1, 2000));
    CHECK_INT(in.count, 3000);
    CHECK(in.ordered);
}

/* ---- calls ---- */

WITH_SERVER(requests, NULL) {
    struct inbox in = {.then = echo};
    struct caller c;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    CHECK_INT(request(&c, a.link, "svc", "ping", 1000), LN_OK);
    CHECK(run_count(&c.results, 1, 0) == false);
    CHECK(run_count(&c.replies, 1, 1000));
    CHECK_STR(c.data, "ping");
    CHECK_INT(c.status, LN_OK);
    CHECK_INT(c.results, 1);
}

WITH_SERVER(no_responders_find_their_call, NULL) {
    struct inbox in = {.then = echo};
    struct caller c[20];
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    for (int i = 0; i < 20; i++)
        CHECK_INT(request(&c[i], a.link, i % 3 == 0 ? "svc" : "nobody", "x", 1000), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    run_until(NULL, 20);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(c[i].results, 1);
        CHECK_INT(c[i].status, i % 3 == 0 ? LN_OK : LN_ENORESPONDERS);
    }
}

WITH_SERVER(requests_time_out_on_their_clock, NULL) {
    struct inbox in = {0};
    struct caller c, m;
    struct clock *manual;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "mute", NULL), LN_OK);
    CHECK_INT(clock_open(&manual, &loop, true), LN_OK);
    struct link_out out = {.subject = "mute"};
    memset(&m, 0, sizeof(m));
    CHECK_INT(link_request(a.link, &m.call, manual, &out, 5000, on_result), LN_OK);
    CHECK_INT(request(&c, a.link, "mute", "x", 50), LN_OK);
    CHECK(run_count(&c.results, 1, 1000));
    CHECK_INT(c.status, LN_ETIMEOUT);
    CHECK_INT(m.results, 0);
    while (clock_step(manual, clock_now(manual) + 4999))
        ;
    CHECK_INT(m.results, 0);
    clock_step(manual, clock_now(manual) + 1);
    CHECK_INT(m.results, 1);
    CHECK_INT(m.status, LN_ETIMEOUT);
    clock_close(manual);
}

WITH_SERVER(cancelled_calls_hear_nothing, NULL) {
    struct inbox in = {.then = echo};
    struct caller c;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    CHECK_INT(request(&c, a.link, "svc", "x", 1000), LN_OK);
    link_call_cancel(&c.call);
    link_call_cancel(&c.call);
    CHECK_INT(flush(a.link), LN_OK);
    run_until(NULL, 20);
    CHECK_INT(in.count, 1);
    CHECK_INT(c.results + c.replies, 0);
}

WITH_SERVER(many_replies, NULL) {
    struct inbox in[3] = {{.then = echo}, {.then = echo}, {.then = echo}};
    struct caller c = {0};
    CHECK(peer_open(&a, server.url));
    for (int i = 0; i < 3; i++)
        CHECK_INT(subscribe(&in[i], a.link, "svc", NULL), LN_OK);
    struct link_out out = {.subject = "svc", .data = "x", .len = 1};
    c.link = a.link;
    CHECK_INT(link_request_many(a.link, &c.call, real_clock, &out, 100, on_result), LN_OK);
    CHECK(run_count(&c.results, 1, 1000));
    CHECK_INT(c.replies, 3);
    CHECK_INT(c.status, LN_ETIMEOUT);
    out.subject = "nobody";
    memset(&c, 0, sizeof(c));
    c.link = a.link;
    CHECK_INT(link_request_many(a.link, &c.call, real_clock, &out, 1000, on_result), LN_OK);
    CHECK(run_count(&c.results, 1, 500));
    CHECK_INT(c.status, LN_ENORESPONDERS);
}

WITH_SERVER(thousands_of_calls_in_flight, NULL) {
    enum { N = 5000 };
    struct inbox in = {.then = echo};
    struct caller *c = calloc(N, sizeof(*c));
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    char text[16];
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_INT(request(&c[i], a.link, "svc", text, 10000), LN_OK);
    }
    CHECK(run_count(&c[N - 1].replies, 1, 10000));
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_STR(c[i].data, text);
        CHECK_INT(c[i].results, 1);
    }
    free(c);
}

/* ---- permissions ---- */

#define USERS                                                                                  \
    "authorization { users = ["                                                                \
    "{ user: u, password: p, permissions: { publish: { deny: [\"no.>\"] },"                    \
    "  subscribe: { deny: [\"no.>\"] } } },"                                                   \
    "{ user: w, password: p, permissions: { publish: { deny: [\"_INBOX.>\"] } } },"            \
    "{ user: x, password: p, permissions: { subscribe: { deny: [\"_INBOX.>\"] } } } ] }"

WITH_SERVER(permission_violations, USERS) {
    struct link_options o = {.user = "u", .password = "p"};
    struct inbox in = {0}, queued = {0}, fine = {0};
    struct caller c, other;
    struct link_sub_options q = {.queue = "qq"};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    CHECK_INT(subscribe(&in, a.link, "no.sub", NULL), LN_OK);
    CHECK_INT(subscribe(&queued, a.link, "no.queue", &q), LN_OK);
    CHECK_INT(subscribe(&fine, a.link, "yes", NULL), LN_OK);
    CHECK(run_count(&in.errors, 1, 1000));
    CHECK(run_count(&queued.errors, 1, 1000));
    CHECK_INT(in.error_status, LN_EPERMISSION);
    CHECK_INT(fine.errors, 0);
    CHECK_INT(a.errors, 0);
    CHECK_INT(publish(a.link, "no.pub", "x"), LN_OK);
    CHECK(run_count(&a.errors, 1, 1000));
    CHECK_INT(a.error_status, LN_EPERMISSION);
    CHECK_INT(request(&other, a.link, "yes", "x", 300), LN_OK);
    CHECK_INT(request(&c, a.link, "no.req", "x", 5000), LN_OK);
    CHECK(run_count(&c.results, 1, 1000));
    CHECK_INT(c.status, LN_EPERMISSION);
    CHECK_INT(other.results, 0);
    link_call_cancel(&other.call);
    CHECK(link_is_connected(a.link));
}

WITH_SERVER(flush_works_without_permission, USERS) {
    struct link_options o = {.user = "w", .password = "p"};
    struct link_options p = {.user = "x", .password = "p", .ping_interval_ms = 100};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK_INT(peer_open_with(&b, &p, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    CHECK(peer_wait(&b, LINK_CONNECTED, 2000));
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    struct caller c;
    CHECK_INT(request(&c, b.link, "x", "y", 100), LN_EPERMISSION);
    run_until(NULL, 600); /* probing goes on without the inbox */
    CHECK_INT(b.states, 1);
    CHECK(link_is_connected(b.link));
}

#define NKEY_SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define NKEY_USER                                                                              \
    "authorization { users = [ "                                                               \
    "{ nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }"

WITH_SERVER(nkeys_are_accepted, NKEY_USER) {
    char path[] = "/tmp/lunats-nkey.XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, NKEY_SEED "\n", strlen(NKEY_SEED) + 1) > 0);
    close(fd);
    struct link_options with = {.nkey = path}, without = {0};
    CHECK_INT(peer_open_with(&a, &with, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    CHECK_INT(flush(a.link), LN_OK);
    CHECK_INT(peer_open_with(&b, &without, server.url), LN_OK);
    CHECK(peer_wait(&b, LINK_CLOSED, 2000));
    unlink(path);
}

/* ---- outages ---- */

WITH_SERVER(loss_fails_calls_and_reconnects, NULL) {
    struct inbox in = {0};
    struct caller c[10];
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "s", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    for (int round = 0; round < 3; round++) {
        int before = in.count;
        for (int i = 0; i < 10; i++)
            CHECK_INT(request(&c[i], a.link, "s", "x", 60000), LN_OK);
        CHECK(run_count(&in.count, before + 10, 1000));
        server_kill(&server);
        CHECK(run_count(&c[9].results, 1, 2000));
        for (int i = 0; i < 10; i++)
            CHECK_INT(c[i].status, LN_EDISCONNECTED);
        CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
        CHECK_INT(a.status, LN_EDISCONNECTED);
        CHECK_INT(request(&c[0], a.link, "s", "x", 1000), LN_EDISCONNECTED);
        for (int i = 0; i < 100; i++)
            CHECK_INT(publish_number(a.link, "s", i), LN_OK);
        in.count = 0;
        server_run(&server, NULL);
        CHECK(peer_wait(&a, LINK_CONNECTED, 9000));
        CHECK(run_count(&in.count, 100, 1000));
        CHECK(in.ordered);
        CHECK_INT(flush(a.link), LN_OK);
    }
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.reconnects, 3);
}

WITH_SERVER(paused_messages_survive_an_outage, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "s", NULL), LN_OK);
    link_sub_pause(in.sub);
    for (int i = 0; i < 10; i++)
        publish_number(a.link, "s", i);
    CHECK_INT(flush(a.link), LN_OK);
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    CHECK_INT(link_sub_pending(in.sub), 10);
    link_sub_resume(in.sub);
    CHECK(run_count(&in.count, 10, 1000));
    CHECK(in.ordered);
}

WITH_SERVER(offline_buffer_is_bounded, NULL) {
    CHECK(peer_open(&a, server.url));
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    char *big = calloc(1, 1000000);
    struct link_header h[] = {{"A", "1"}, {"B", "2"}};
    struct link_out out = {
        .subject = "big", .data = big, .len = 1000000, .headers = h, .header_count = 2};
    int rc = LN_OK, n = 0;
    while ((rc = link_publish(a.link, &out)) == LN_OK && n < 100)
        n++;
    free(big);
    CHECK_INT(rc, LN_EFULL);
    CHECK_INT(n, 8);
    server_run(&server, NULL);
    CHECK(peer_wait(&a, LINK_CONNECTED, 9000));
    CHECK_INT(flush(a.link), LN_OK);
    struct link_stats stats;
    link_get_stats(a.link, &stats);
    CHECK(stats.out_msgs >= 8);
}

WITH_SERVER(what_does_not_fit_any_more_is_told, NULL) {
    static char body[50000];
    CHECK(peer_open(&a, server.url));
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    struct link_out out = {.subject = "big", .data = body, .len = sizeof(body)};
    CHECK_INT(link_publish(a.link, &out), LN_OK);
    CHECK_INT(a.errors, 0);
    server_run(&server, "max_payload: 1000");
    CHECK(run_count(&a.errors, 1, 9000));
    CHECK_INT(a.error_status, LN_ETOOLARGE);
    CHECK_STR(a.error_text, status_text(LN_ETOOLARGE));
}

WITH_SERVER(half_open_connection_is_found, NULL) {
    struct link_options o = {.ping_interval_ms = 100};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    run_until(NULL, 500);
    CHECK_INT(a.states, 1);
    kill(server.pid, SIGSTOP);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    uint64_t start = uv_hrtime();
    publish(a.link, "x", "y"); /* must not block, though a connect is under way */
    run_until(NULL, 200);
    publish(a.link, "x", "y");
    CHECK(uv_hrtime() - start < 400000000u);
    kill(server.pid, SIGCONT);
    CHECK(peer_wait(&a, LINK_CONNECTED, 9000));
}

WITH_SERVER(closed_for_good_by_the_server_comes_back,
            "accounts { A { users: [{user: u, password: p}] } }\n max_subs: 3") {
    struct link_options o = {.user = "u", .password = "p"};
    struct inbox in[4] = {{0}};
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    for (int i = 0; i < 4; i++)
        CHECK_INT(subscribe(&in[i], a.link, "m", NULL), LN_OK);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 2000));
    CHECK_INT(a.status, LN_ENATS);
    CHECK(strstr(a.text, "maximum subscriptions") != NULL);
    link_unsubscribe(in[0].sub);
    link_unsubscribe(in[1].sub);
    CHECK(peer_wait(&a, LINK_CONNECTED, 5000));
    CHECK_INT(flush(a.link), LN_OK);
    publish(a.link, "m", "1");
    CHECK(run_count(&in[3].count, 1, 1000));
}

WITH_SERVER(lame_duck_is_told, NULL) {
    CHECK(peer_open(&a, server.url));
    kill(server.pid, SIGUSR2);
    CHECK(run_count(&a.lame_ducks, 1, 3000));
}

/* ---- congestion ---- */

struct waiter {
    struct link_waiter waiter; /* first */
    int calls, status;
};
static void on_ready(struct link_waiter *waiter, int status) {
    struct waiter *w = (struct waiter *)waiter;
    w->calls++;
    w->status = status;
}

WITH_SERVER(congestion_ends, NULL) {
    struct link_options o = {.high_water = 1000000};
    struct waiter w = {.waiter.on_ready = on_ready}, cancelled = w, early = w;
    CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
    CHECK(peer_wait(&a, LINK_CONNECTED, 2000));
    link_wait(a.link, &early.waiter);
    CHECK_INT(early.calls, 0);
    CHECK(run_count(&early.calls, 1, 1000));
    kill(server.pid, SIGSTOP);
    char *data = calloc(1, 100000);
    struct link_out out = {.subject = "x", .data = data, .len = 100000};
    for (int i = 0; i < 200; i++) {
        link_publish(a.link, &out);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    free(data);
    CHECK(link_congested(a.link));
    link_wait(a.link, &w.waiter);
    link_wait(a.link, &cancelled.waiter);
    link_wait_cancel(&cancelled.waiter);
    run_until(NULL, 100);
    CHECK_INT(w.calls, 0);
    kill(server.pid, SIGCONT);
    CHECK(run_count(&w.calls, 1, 5000));
    CHECK_INT(w.status, LN_OK);
    CHECK_INT(cancelled.calls, 0);
    CHECK(!link_congested(a.link));
    CHECK_INT(flush(a.link), LN_OK);
}

/* ---- closing ---- */

WITH_SERVER(close_writes_what_was_published, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, b.link, "c", NULL), LN_OK);
    CHECK_INT(flush(b.link), LN_OK);
    for (int i = 0; i < 50000; i++)
        publish_number(a.link, "c", i);
    struct caller c;
    struct waiter w = {.waiter.on_ready = on_ready};
    CHECK_INT(request(&c, a.link, "c", "50000", 60000), LN_OK);
    link_wait(a.link, &w.waiter);
    CHECK(peer_close(&a, 5000));
    CHECK_INT(c.status, LN_ECLOSED);
    CHECK_INT(c.results, 1);
    CHECK_INT(w.status, LN_ECLOSED);
    CHECK(run_count(&in.count, 50001, 3000));
    CHECK(in.ordered);
}

WITH_SERVER(close_gives_up_when_nobody_reads, NULL) {
    CHECK(peer_open(&a, server.url));
    kill(server.pid, SIGSTOP);
    char *data = calloc(1, 1000000);
    struct link_out out = {.subject = "x", .data = data, .len = 1000000};
    for (int i = 0; i < 20; i++)
        link_publish(a.link, &out);
    free(data);
    uint64_t start = uv_hrtime();
    CHECK(peer_close(&a, 200));
    CHECK(uv_hrtime() - start < 1000000000u);
    CHECK(a.unsent > 1000000 && a.unsent <= 20001000);
}

static void closes_while_connecting(void) {
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&addr, &len);
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", ntohs(addr.sin_port));
    struct link_options o = {.connect_timeout_ms = 300, .retry = true};
    for (int i = 0; i < 2; i++) {
        CHECK_INT(peer_open_with(&a, &o, url), LN_OK);
        if (i == 1)
            run_until(NULL, 50);
        CHECK(peer_close(&a, 100));
        CHECK_INT(a.states, 0);
    }
    /* Between two attempts, with something published. */
    CHECK_INT(peer_open_with(&a, &o, "nats://127.0.0.1:1"), LN_OK);
    publish(a.link, "x", "y");
    run_until(NULL, 60);
    CHECK(peer_close(&a, 100));
    close(fd);
}

WITH_SERVER(closes_while_disconnected, NULL) {
    struct inbox in = {0};
    CHECK(peer_open(&a, server.url));
    CHECK(peer_open(&b, server.url));
    CHECK_INT(subscribe(&in, a.link, "x", NULL), LN_OK);
    server_kill(&server);
    CHECK(peer_wait(&a, LINK_DISCONNECTED, 1000));
    CHECK(peer_close(&a, 500));
    CHECK(peer_wait(&b, LINK_DISCONNECTED, 1000));
    publish(b.link, "late", "word");
    link_close(b.link, 8000, on_closed, &b);
    b.link = NULL;
    server_run(&server, NULL);
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "late", NULL), LN_OK);
    CHECK_INT(flush(a.link), LN_OK);
    CHECK(run_until(&b.closed, 9000));
}

WITH_SERVER(opens_and_closes_often, NULL) {
    for (int i = 0; i < 50; i++) {
        struct link_options o = {0};
        CHECK_INT(peer_open_with(&a, &o, server.url), LN_OK);
        for (int j = 0; j < i % 5; j++)
            uv_run(&loop, UV_RUN_NOWAIT);
        CHECK(peer_close(&a, i % 2 == 0 ? 0 : 100));
    }
}

static void run_all(void) {
    RUN(connects);
    RUN(refused_without_retry_is_closed);
    RUN(refused_with_retry_connects_later);
    RUN(wrong_password_is_auth);
    RUN(echoes_with_headers);
    RUN(refuses_what_must_not_go_out);
    RUN(queue_group_shares);
    RUN(loses_nothing_of_100k);
    RUN(pauses_and_resumes);
    RUN(pauses_inside_a_message);
    RUN(overflow_is_reported_once);
    RUN(unsubscribes_inside_a_message);
    RUN(closes_inside_a_message);
    RUN(drain_delivers_everything);
    RUN(drain_of_a_paused_subscription_waits);
    RUN(requests);
    RUN(no_responders_find_their_call);
    RUN(requests_time_out_on_their_clock);
    RUN(cancelled_calls_hear_nothing);
    RUN(many_replies);
    RUN(thousands_of_calls_in_flight);
    RUN(permission_violations);
    RUN(flush_works_without_permission);
    RUN(nkeys_are_accepted);
    RUN(loss_fails_calls_and_reconnects);
    RUN(paused_messages_survive_an_outage);
    RUN(offline_buffer_is_bounded);
    RUN(what_does_not_fit_any_more_is_told);
    RUN(half_open_connection_is_found);
    RUN(closed_for_good_by_the_server_comes_back);
    RUN(lame_duck_is_told);
    RUN(congestion_ends);
    RUN(close_writes_what_was_published);
    RUN(close_gives_up_when_nobody_reads);
    RUN(closes_while_connecting);
    RUN(closes_while_disconnected);
    RUN(opens_and_closes_often);
}

static void the_loop_is_empty(void) {
    CHECK_INT(uv_loop_close(&loop), 0);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    uv_loop_init(&loop);
    clock_open(&real_clock, &loop, false);
    run_all();
    by_nats = true;
    test_variant = " by nats.c";
    run_all();
    test_variant = "";
    clock_close(real_clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    test_arg_count = 0;
    RUN(the_loop_is_empty);
    nats_CloseAndWait(2000);
    return test_end();
}
