/* SPDX-License-Identifier: Apache-2.0 */
/* The module "curl": URLs, answers that come in pieces, and what ends a call. */
#include "host/http/client.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/address.h"
#include "host/base/module.h"
#include "host/base/status.h"
#include "spec/unit/test.h"

static uv_loop_t loop;
static uv_timer_t running; /* keeps the loop alive, which the client does not */
static const struct http_client_api *api;
static struct http_client *client;
static struct http_call *call;
static struct address address;
static int listener;
static bool closed, done, cancel_it;
static enum http_taken taken; /* what on_body() says */
static char seen[4096];       /* what the sink has got */

/* ---- the sink ---- */

static void see(const char *text, size_t len) {
    size_t at = strlen(seen);
    snprintf(seen + at, sizeof(seen) - at, "%.*s", (int)len, text);
}

static bool on_header(void *owner, const char *name, size_t name_len, const char *value,
                      size_t value_len) {
    (void)owner;
    see("|", 1);
    see(name != NULL ? name : "begin", name != NULL ? name_len : 5);
    if (name == NULL)
        return true;
    see("=", 1);
    see(value, value_len);
    return true;
}

static void on_head(void *owner, int status) {
    (void)owner;
    char text[32];
    see(text, (size_t)snprintf(text, sizeof(text), "|head %d|", status));
}

static enum http_taken on_body(void *owner, const char *bytes, size_t len) {
    (void)owner;
    if (taken == HTTP_TAKEN)
        see(bytes, len);
    return taken;
}

static void on_news(void *owner) {
    (void)owner;
    if (cancel_it && call != NULL) {
        api->cancel(call);
        call = NULL;
        done = true;
    }
}

static const struct http_sink sink = {
    .on_header = on_header, .on_head = on_head, .on_body = on_body, .on_news = on_news};

static void on_done(void *owner, const struct http_reply *reply) {
    (void)owner;
    char text[64];
    call = NULL;
    done = true;
    see(text, (size_t)snprintf(text, sizeof(text), "|done %d %s", reply->status,
                               reply->code != NULL ? reply->code : "ok"));
}

/* ---- both ends ---- */

static void turn(void) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(500);
}

static void on_closed(void *owner) {
    *(bool *)owner = true;
}

static void on_time(uv_timer_t *timer) {
    (void)timer;
}

static void set_up(void) {
    char error[256];
    seen[0] = '\0';
    closed = done = cancel_it = false;
    taken = HTTP_TAKEN;
    address_parse(&address, "127.0.0.1:0");
    CHECK_INT(address_listen(&address, &listener, error, sizeof(error)), LN_OK);
    CHECK_INT(api->open(&client, &loop), LN_OK);
    uv_timer_start(&running, on_time, 1000000, 0);
}

static void tear_down(void) {
    uv_timer_stop(&running);
    api->close(client, on_closed, &closed);
    call = NULL;
    for (int i = 0; i < 4000 && !closed; i++)
        turn();
    close(listener);
    CHECK_INT(closed, true);
    CHECK_INT(uv_loop_alive(&loop), false);
}

/* Sends a request, and returns the server's end of its connection when it has come. */
static int ask(void) {
    char url[64], request[4096];
    struct sockaddr_in where = {0};
    socklen_t size = sizeof(where);
    CHECK_SOFT(getsockname(listener, (struct sockaddr *)&where, &size) == 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(where.sin_port));
    struct http_ask what = {
        .url = url, .method = "GET", .proxy = "", .sink = &sink, .on_done = on_done};
    CHECK_SOFT(api->send(&call, client, &what) == LN_OK);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    int fd = -1, one = 1;
    for (int i = 0; i < 6000 && fd < 0; i++) {
        turn();
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    for (int i = 0; i < 6000 && recv(fd, request, sizeof(request), 0) < 0; i++)
        turn();
    return fd;
}

/* Sends an answer, so many bytes at a time, and the end; waits for that of the call. */
static void answer(int fd, const char *text, size_t step) {
    for (size_t len = strlen(text), at = 0; at < len && !done; at += step) {
        size_t n = len - at < step ? len - at : step;
        CHECK_INT(send(fd, text + at, n, MSG_NOSIGNAL), n);
        turn();
    }
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 6000 && !done; i++)
        turn();
    close(fd);
    CHECK_INT(done, true);
}

/* ---- tests ---- */

static void reads_urls(void) {
    static const struct {
        const char *base, *url, *text, *shown, *origin;
    } cases[] = {
        {NULL, "http://a", "http://a/", "http://a/", "http://a:80"},
        {NULL, "https://A.example:8443/x?y#z", "https://A.example:8443/x?y#z",
         "https://A.example:8443/x", "https://a.example:8443"},
        {NULL, "http://me:secret@a/x?token=1", "http://me:secret@a/x?token=1", "http://a/x",
         "http://a:80"},
        {NULL, "http://[::1]:81/", "http://[::1]:81/", "http://[::1]:81/", "http://[::1]:81"},
        {"http://me:secret@a/x/y?z", "w", "http://me:secret@a/x/w", "http://a/x/w",
         "http://a:80"},
        {"https://a/x/y", "/z?q", "https://a/z?q", "https://a/z", "https://a:443"},
        {"https://me:secret@a/x", "//b/y", "https://b/y", "https://b/y", "https://b:443"},
        {"https://a/x", "http://b/", "http://b/", "http://b/", "http://b:80"},
    };
    static const char *const wrong[] = {"",
                                        "a",
                                        "http://",
                                        "ftp://a/",
                                        "file:///etc/passwd",
                                        "http://a:99999/",
                                        "http://a b/",
                                        "http://a/\r\nX: y"};
    struct http_url url;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(api->read_url(&url, cases[i].base, cases[i].url) == NULL);
        CHECK_STR(url.text, cases[i].text);
        CHECK_STR(url.shown, cases[i].shown);
        CHECK_STR(url.origin, cases[i].origin);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK(api->read_url(&url, NULL, wrong[i]) != NULL);
}

static void headers_behind_the_body_have_an_end(void) {
    static const char begin[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    static const char line[] = "Trailer: 0123456789012345678901234567890123456789\r\n";
    enum { LINES = 4000 };
    static char text[sizeof(begin) + LINES * sizeof(line)];
    char *at = stpcpy(text, begin);
    for (int i = 0; i < LINES; i++)
        at = stpcpy(at, line);
    set_up();
    answer(ask(), text, 1000);
    CHECK_STR(seen, "|begin|Transfer-Encoding=chunked|head 200||done 0 too_large");
    tear_down();
}

static void answers_are_the_same_in_any_pieces(void) {
    static const char *const cases[][2] = {
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\nB:\r\n"
         "c:  x: y \t\r\nContent-Length: 2\r\n\r\nok",
         "|begin|Link=x|begin|A=1|B=|c=x: y|Content-Length=2|head 200|ok|done 200 ok"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTrailer: "
         "1\r\n\r\n",
         "|begin|Transfer-Encoding=chunked|head 200|ok|done 200 ok"},
        {"HTTP/1.0 404 No\r\n\r\nto the end", "|begin|head 404|to the end|done 404 ok"},
        {"HTTP/1.1 204 Nothing\r\nA: 1\r\n\r\n", "|begin|A=1|head 204||done 204 ok"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
         "|begin|Content-Length=5|head 200|ok|done 0 disconnected"},
        {"", "|done 0 disconnected"},
    };
    for (size_t step = 1; step < 2000; step = step * 4 + 3) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            set_up();
            answer(ask(), cases[i][0], step);
            CHECK_STR(seen, cases[i][1]);
            tear_down();
        }
    }
}

#define LONG_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void a_sink_may_end_the_call(void) {
    set_up();
    taken = HTTP_STOP;
    answer(ask(), LONG_ANSWER, 1000);
    CHECK_STR(seen, "|begin|Content-Length=2|head 200||done 0 stopped");
    tear_down();
}

static void news_may_cancel_the_call(void) {
    set_up();
    cancel_it = true;
    answer(ask(), LONG_ANSWER, 1);
    CHECK_STR(seen, "|begin|Content-Length=2|head 200|");
    tear_down();
}

static void a_call_that_waits_goes_on(void) {
    set_up();
    taken = HTTP_WAIT;
    int fd = ask();
    CHECK_INT(send(fd, LONG_ANSWER, strlen(LONG_ANSWER), MSG_NOSIGNAL), strlen(LONG_ANSWER));
    for (int i = 0; i < 6000 && strstr(seen, "head") == NULL; i++)
        turn();
    for (int i = 0; i < 20; i++)
        turn();
    CHECK_STR(seen, "|begin|Content-Length=2|head 200|");
    taken = HTTP_TAKEN;
    CHECK(api->resume(call));
    answer(fd, "", 1);
    CHECK_STR(seen, "|begin|Content-Length=2|head 200|ok|done 200 ok");
    tear_down();
}

static void a_client_closes_with_calls_under_way(void) {
    set_up();
    int fd = ask();
    tear_down();
    char byte;
    CHECK_INT(recv(fd, &byte, 1, 0), 0);
    close(fd);
    CHECK_STR(seen, "");
}

int main(int argc, char **argv) {
    char error[512] = "";
    const struct module *module;
    test_begin(argc, argv);
    if (module_load(&module, "curl", error, sizeof(error)) < 0) {
        printf("skipped: %s\n", error);
        return test_end();
    }
    api = module->api;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &running);
    RUN(reads_urls);
    RUN(headers_behind_the_body_have_an_end);
    RUN(answers_are_the_same_in_any_pieces);
    RUN(a_sink_may_end_the_call);
    RUN(news_may_cancel_the_call);
    RUN(a_call_that_waits_goes_on);
    RUN(a_client_closes_with_calls_under_way);
    uv_close((uv_handle_t *)&running, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return test_end();
}
