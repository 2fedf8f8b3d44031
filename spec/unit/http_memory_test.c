/* SPDX-License-Identifier: Apache-2.0 */
/* The module "http": who answers for the memory of requests and answers. */
#include "host/base/tally.h"
#include "spec/unit/http.h"

static struct tally *tally;

static size_t take_tally(void *owner, struct http_request *request) {
    (void)owner;
    request->tally = tally;
    return (size_t)1 << 20;
}

static void on_refused(void *owner, const struct http_request *request, int status) {
    (void)owner;
    snprintf(last, sizeof(last), "%s %d", request->path, status);
}

static void post(int fd, size_t len) {
    static char body[100000];
    char head[128];
    memset(body, '.', sizeof(body));
    snprintf(head, sizeof(head), "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             len);
    say(fd, head);
    for (size_t sent = 0; sent < len; turn()) {
        ssize_t n = send(fd, body, len - sent, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
    }
}

static void counts_its_memory_for_somebody(void) {
    tally = tally_open();
    tally->most = 160000;
    open_port((struct http_options){.limit_body = take_tally, .on_refused = on_refused});
    later = true;
    int fd = dial(), other = dial();
    post(fd, 100000);
    while (waiting_count < 1)
        turn();
    size_t used = tally->bytes;
    CHECK_INT(used > 100000 && used < 110000, true); /* what was taken for more is given back */
    post(other, 100000);
    CHECK_INT(hears(other, "503 "), true);
    CHECK_INT(strstr(heard, "Retry-After: 1") != NULL, true);
    CHECK_STR(last, "/p 503");
    answer_len = 3000;
    answer_all();
    CHECK_INT(tally->bytes >= used + 3000, true);
    CHECK_INT(hears(fd, "yes"), true);
    while (tally->bytes > 0) /* of the answers have been read */
        turn();
    post(fd, 1000);
    while (waiting_count < 1)
        turn();
    tally_leave(tally); /* and is there until the last one is answered: ASan knows */
    answer_all();
    CHECK_INT(hears(fd, "yes"), true);
    close(fd);
    close(other);
    close_port();
}

static void has_no_memory_for_a_stream(void) {
    static const struct http_response stream = {.status = 200, .stream = true};
    static const char piece[30000];
    tally = tally_open();
    tally->most = 100000;
    open_port((struct http_options){.limit_body = take_tally});
    int fd;
    struct http_request *request = ask_for_later(&fd);
    api->answer(request, &stream);
    CHECK_INT(api->write(request, piece, sizeof(piece)) != SIZE_MAX, true);
    CHECK_INT(tally->bytes > sizeof(piece), true);
    CHECK_INT(api->write(request, piece, sizeof(piece)) != SIZE_MAX, true);
    CHECK_INT(api->write(request, piece, sizeof(piece)) == SIZE_MAX, true);
    api->finish(request, false);
    CHECK_INT(hears(fd, NULL), true);
    while (tally->bytes > 0)
        turn();
    tally_leave(tally);
    close(fd);
    close_port();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    if (!load_module())
        return test_end();
    RUN(counts_its_memory_for_somebody);
    RUN(has_no_memory_for_a_stream);
    uv_loop_close(&loop);
    return test_end();
}
