/* SPDX-License-Identifier: Apache-2.0 */
/* A port of the module "http" on a loop that the test turns, and clients of it. */
#ifndef LUNATS_SPEC_UNIT_HTTP_H
#define LUNATS_SPEC_UNIT_HTTP_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/address.h"
#include "host/base/module.h"
#include "host/base/status.h"
#include "host/http/http.h"
#include "spec/unit/test.h"

#define WAITING_MAX 64

static uv_loop_t loop;
static const struct http_api *api;
static struct http *http;
static struct address address;
static bool later; /* requests are kept in `waiting` */
static struct http_request *waiting[WAITING_MAX];
static size_t waiting_count, asked, gone, answer_len, roomy;
static char last[256]; /* method, path, query, body of the last request */
static bool closed;

/* ---- the port ---- */

static inline void answer(struct http_request *request) {
    size_t len = answer_len != 0 ? answer_len : 3;
    char *body = malloc(len);
    memset(body, '.', len);
    memcpy(body, "yes", 3);
    struct http_response response = {.status = 200, .body = body, .len = len};
    api->answer(request, &response);
}

static inline void on_request(void *owner, struct http_request *request) {
    (void)owner;
    asked++;
    snprintf(last, sizeof(last), "%s %s ?%s %.*s", request->method, request->path,
             request->query, (int)(request->body_len < 60 ? request->body_len : 60),
             request->body != NULL ? request->body : "");
    if (later && waiting_count < WAITING_MAX)
        waiting[waiting_count++] = request;
    else
        answer(request);
}

static inline void on_room(void *owner, struct http_request *request) {
    (void)owner, (void)request;
    roomy++;
}

static inline void on_gone(void *owner, struct http_request *request) {
    (void)owner, (void)request;
    gone++;
}

static inline void answer_all(void) {
    while (waiting_count > 0)
        answer(waiting[--waiting_count]);
}

static inline void open_port(struct http_options options) {
    char error[256];
    asked = gone = waiting_count = answer_len = roomy = 0;
    later = closed = false;
    address_parse(&address, "127.0.0.1:0");
    CHECK_INT(address_listen(&address, &options.fd, error, sizeof(error)), LN_OK);
    options.on_request = on_request;
    options.on_gone = on_gone;
    options.on_room = on_room;
    CHECK_INT(api->open(&http, &loop, &options), LN_OK);
}

static inline void on_closed(void *owner) {
    *(bool *)owner = true;
}

static inline void turn(void) {
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(500);
}

static inline void close_port(void) {
    api->close(http, 100, on_closed, &closed);
    for (int i = 0; i < 4000 && !closed; i++)
        turn();
    CHECK_INT(closed, true);
    CHECK_INT(uv_loop_alive(&loop), false);
}

/* ---- clients ---- */

static inline int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &address.to.any, address.len) < 0)
        perror("connect");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static inline void say(int fd, const char *text) {
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        turn();
}

#define GET "GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\n\r\n"

static char heard[8192];
static size_t heard_len;

/* Runs the loop until the client has heard the text, or the end (NULL). False: in vain. */
static inline bool hears(int fd, const char *text) {
    heard_len = 0;
    for (int i = 0; i < 6000; i++) {
        ssize_t n = recv(fd, heard + heard_len, sizeof(heard) - 1 - heard_len, 0);
        if (n > 0)
            heard_len += (size_t)n;
        heard[heard_len] = '\0';
        if (text != NULL && strstr(heard, text) != NULL)
            return true;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return text == NULL;
        turn();
    }
    return false;
}

/* A client whose answer the test writes. */
static inline struct http_request *ask_for_later(int *fd) {
    later = true;
    *fd = dial();
    say(*fd, GET);
    while (waiting_count == 0)
        turn();
    return waiting[--waiting_count];
}

/* Before the first test. False, and said: there is no such module. */
static inline bool load_module(void) {
    char error[512] = "";
    const struct module *module;
    if (module_load(&module, "http", error, sizeof(error)) < 0) {
        printf("skipped: %s\n", error);
        return false;
    }
    api = module->api;
    uv_loop_init(&loop);
    return true;
}

#endif
