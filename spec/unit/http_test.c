/* SPDX-License-Identifier: Apache-2.0 */
/* The module "http": later answers, slow and vanishing clients, limits, and its end. */
#include <stdlib.h>
#include <unistd.h>

#include "spec/unit/http.h"

/* ---- tests ---- */

static void answers_at_once(void) {
    open_port((struct http_options){0});
    int fd = dial();
    say(fd, GET GET); /* both in one piece */
    CHECK_INT(hears(fd, "yes"), true);
    CHECK_INT(asked == 2 || hears(fd, "yes"), true);
    CHECK_INT((int)asked, 2);
    CHECK_STR(last, "GET /a%20b ?c=d ");
    close(fd);
    close_port();
}

static void answers_later(void) {
    open_port((struct http_options){0});
    later = true;
    int fds[20];
    for (int i = 0; i < 20; i++)
        say(fds[i] = dial(), GET);
    while (waiting_count < 20)
        turn();
    answer_all();
    for (int i = 0; i < 20; i++) {
        CHECK_INT(hears(fds[i], "yes"), true);
        say(fds[i], GET); /* the connection goes on */
    }
    while (waiting_count < 20)
        turn();
    answer_all();
    for (int i = 0; i < 20; i++) {
        CHECK_INT(hears(fds[i], "yes"), true);
        close(fds[i]);
    }
    close_port();
}

static void outlives_clients_that_leave(void) {
    static const char post[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc";
    static const char *const parts[] = {
        "",  "G", "GET / HT", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX: ",
        GET, post};
    open_port((struct http_options){0});
    for (int round = 0; round < 2; round++) {
        later = round == 1;
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            int fd = dial();
            say(fd, parts[i]);
            for (int n = 0; n < 5; n++)
                turn();
            close(fd);
            for (int n = 0; n < 5; n++)
                turn();
        }
    }
    answer_all(); /* nobody is there any more */
    int fd = dial();
    later = false;
    say(fd, GET);
    CHECK_INT(hears(fd, "yes"), true);
    close(fd);
    close_port();
}

static void reads_bodies(void) {
    open_port((struct http_options){.max_body = 10});
    int fd = dial();
    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
    turn();
    say(fd, "56789");
    CHECK_INT(hears(fd, "yes"), true);
    CHECK_STR(last, "POST /p ? 0123456789");
    say(fd, "POST /q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    turn();
    say(fd, "2\r\nde\r\n0\r\n\r\n");
    CHECK_INT(hears(fd, "yes"), true);
    CHECK_STR(last, "POST /q ? abcde");
    say(fd, "POST /r HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "b\r\n01234567890\r\n0\r\n\r\n");
    CHECK_INT(hears(fd, "413"), true);
    close(fd);
    fd = dial();
    say(fd, "POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n01234567890");
    CHECK_INT(hears(fd, "413"), true);
    close(fd);
    static const char *const at_once[] = {"Content-Length: 99999999\r\n\r\n",
                                          "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        fd = dial();
        say(fd, "POST /t HTTP/1.1\r\nHost: x\r\n");
        say(fd, at_once[i]);
        CHECK_INT(hears(fd, "413"), true);
        close(fd);
    }
    CHECK_INT((int)asked, 2);
    close_port();
}

static void refuses_bodies_with_two_lengths(void) {
    static const char *const wrong[] = {
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 1x\r\n\r\n1",
    };
    open_port((struct http_options){0});
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int fd = dial();
        say(fd, "POST / HTTP/1.1\r\nHost: x\r\n");
        say(fd, wrong[i]);
        /* 400 or 501: newer libraries refuse before we do. */
        CHECK_INT(hears(fd, "\r\nConnection: close\r\n"), true);
        CHECK_INT(hears(fd, NULL), true);
        close(fd);
    }
    CHECK_INT((int)asked, 0);
    close_port();
}

/* One byte every few milliseconds is no silence. */
static bool is_cut_while_it_says(int fd, const char *text) {
    for (size_t i = 0; i < 4000; i++) {
        char byte[2] = {text[i % strlen(text)], '\0'};
        send(fd, byte, 1, MSG_NOSIGNAL);
        for (int n = 0; n < 4; n++)
            turn();
        ssize_t got = recv(fd, heard, sizeof(heard), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return true;
    }
    return false;
}

static void cuts_slow_headers(void) {
    open_port((struct http_options){.header_ms = 100});
    int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nX: ");
    CHECK_INT(is_cut_while_it_says(fd, "abc"), true);
    CHECK_INT((int)asked, 0);
    close(fd);
    close_port();
}

static void cuts_slow_bodies(void) {
    open_port((struct http_options){.body_ms = 100});
    int fd = dial();
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    CHECK_INT(is_cut_while_it_says(fd, "abc"), true);
    CHECK_INT((int)asked, 0);
    close(fd);
    close_port();
}

static void cuts_idle_connections(void) {
    open_port((struct http_options){.idle_ms = 100});
    int fd = dial();
    say(fd, GET);
    CHECK_INT(hears(fd, "yes"), true);
    CHECK_INT(hears(fd, NULL), true);
    close(fd);
    close_port();
}

/* The bytes that come until the end. */
static size_t read_all(int fd) {
    size_t got = 0;
    for (ssize_t n; (n = recv(fd, heard, sizeof(heard), 0)) != 0;) {
        if (n < 0 && errno != EAGAIN)
            break;
        got += n > 0 ? (size_t)n : 0;
        turn();
    }
    return got;
}

static void cuts_who_does_not_read(void) {
    open_port((struct http_options){.answer_ms = 100});
    answer_len = (size_t)64 << 20;
    int fd = dial();
    say(fd, GET);
    while (asked == 0)
        turn();
    for (int i = 0; i < 1500; i++)
        turn();
    CHECK_INT(read_all(fd) < answer_len, true);
    close(fd);
    close_port();
}

static void limits_connections(void) {
    open_port((struct http_options){.max_connections = 4});
    later = true;
    int fds[12];
    for (int i = 0; i < 12; i++)
        say(fds[i] = dial(), GET);
    for (int i = 0; i < 12; i++) {
        while (asked <= (size_t)i)
            turn();
        CHECK_INT(asked <= (size_t)i + 4, true);
        answer(waiting[i]);
        CHECK_INT(hears(fds[i], "yes"), true);
        close(fds[i]); /* the next one's turn */
    }
    waiting_count = 0;
    close_port();
}

static void makes_room_for_those_who_ask(void) {
    open_port((struct http_options){.max_connections = 4});
    int silent[12];
    for (int i = 0; i < 12; i++)
        silent[i] = dial();
    int fd = dial();
    say(fd, GET);
    CHECK_INT(hears(fd, "yes"), true);
    CHECK_INT(hears(silent[0], NULL), true); /* long before its ten seconds are over */
    for (int i = 0; i < 12; i++)
        close(silent[i]);
    close(fd);
    close_port();
}

static void keeps_few_answers_that_nobody_reads(void) {
    open_port((struct http_options){0});
    answer_len = (size_t)20 << 20;
    int fds[6];
    for (int i = 0; i < 6; i++) {
        say(fds[i] = dial(), GET);
        while (asked <= (size_t)i)
            turn();
    }
    CHECK_INT(read_all(fds[0]) < answer_len, true);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    close_port();
}

static struct http_request *ask_for_stream(int *fd) {
    struct http_request *request = ask_for_later(fd);
    static const struct http_response stream = {.status = 200, .stream = true};
    api->answer(request, &stream);
    return request;
}

static void streams(void) {
    int fd;
    open_port((struct http_options){0});
    struct http_request *request = ask_for_stream(&fd);
    CHECK_INT(hears(fd, "chunked\r\n\r\n"), true);
    api->write(request, "abc", 3);
    CHECK_INT(hears(fd, "3\r\nabc\r\n"), true);
    api->write(request, "de", 2);
    api->write(request, "fg", 2);
    api->finish(request, true);
    CHECK_INT(hears(fd, "4\r\ndefg\r\n0\r\n"), true);
    later = false;
    say(fd, GET);
    CHECK_INT(hears(fd, "yes"), true);
    CHECK_INT((int)gone, 0);
    close(fd);
    close_port();
}

static void shows_that_a_stream_is_broken(void) {
    int fd;
    open_port((struct http_options){0});
    struct http_request *request = ask_for_stream(&fd);
    api->write(request, "abc", 3);
    api->finish(request, false);
    CHECK_INT(hears(fd, NULL), true);
    CHECK_INT(strstr(heard, "abc") != NULL && strstr(heard, "\r\n0\r\n") == NULL, true);
    close(fd);
    close_port();
}

static void tells_when_a_stream_has_room(void) {
    static char block[HTTP_STREAM_FULL / 2];
    int fd;
    open_port((struct http_options){0});
    struct http_request *request = ask_for_stream(&fd);
    for (int i = 0; i < 1000 && api->write(request, block, sizeof(block)) <= HTTP_STREAM_FULL;
         i++)
        turn();
    CHECK_INT((int)roomy, 0);
    for (int i = 0; i < 6000 && roomy == 0; i++) {
        while (recv(fd, heard, sizeof(heard), 0) > 0)
            ;
        turn();
    }
    CHECK_INT((int)roomy, 1);
    close(fd);
    while (gone == 0) /* within a second */
        turn();
    close_port();
}

static void notices_who_does_not_wait_any_more(void) {
    int fd;
    open_port((struct http_options){0});
    ask_for_later(&fd);
    close(fd);
    while (gone == 0)
        turn();
    ask_for_stream(&fd);
    CHECK_INT(hears(fd, "chunked"), true);
    close(fd);
    while (gone == 1)
        turn();
    close_port();
    CHECK_INT((int)gone, 2);
}

static void sends_parts_of_files(void) {
    char path[] = "/tmp/lunats-http-XXXXXX";
    struct http_file file = {.fd = mkstemp(path), .offset = 2, .len = 3};
    int fd;
    CHECK_INT(unlink(path), 0);
    CHECK_INT((int)write(file.fd, "0123456789", 10), 10);
    open_port((struct http_options){0});
    struct http_request *request = ask_for_later(&fd);
    struct http_response response = {.status = 206, .file = &file};
    api->answer(request, &response);
    CHECK_INT(hears(fd, "Content-Length: 3\r\n\r\n234"), true);
    CHECK_INT(fcntl(file.fd, F_GETFD), -1); /* closed with the request */
    close(fd);
    close_port();
}

static size_t limit_body(void *owner, struct http_request *request) {
    (void)owner;
    return strcmp(request->path, "/long") == 0 ? 8 : 4;
}

static void limits_bodies_by_path(void) {
    open_port((struct http_options){.limit_body = limit_body});
    int fd = dial();
    say(fd, "POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n01234567");
    CHECK_INT(hears(fd, "yes"), true);
    say(fd, "POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n01234567");
    CHECK_INT(hears(fd, "413"), true);
    close(fd);
    close_port();
}

static void tells_waiting_clients_of_its_end(void) {
    open_port((struct http_options){0});
    later = true;
    int fd = dial(), begun = dial(), idle = dial();
    say(fd, GET);
    say(begun, "GET / HT");
    while (waiting_count < 1)
        turn();
    close_port();
    CHECK_INT((int)gone, 1);
    CHECK_INT(hears(fd, "503 "), true);
    CHECK_INT(hears(begun, NULL), true);
    CHECK_INT(hears(idle, NULL), true);
    close(fd);
    close(begun);
    close(idle);
}

static void ends_within_its_bound(void) {
    open_port((struct http_options){0});
    answer_len = (size_t)64 << 20;
    int fd = dial();
    say(fd, GET);
    while (asked == 0)
        turn();
    close_port(); /* although nobody reads */
    close(fd);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    if (!load_module())
        return test_end();
    RUN(answers_at_once);
    RUN(answers_later);
    RUN(outlives_clients_that_leave);
    RUN(reads_bodies);
    RUN(refuses_bodies_with_two_lengths);
    RUN(cuts_slow_headers);
    RUN(cuts_slow_bodies);
    RUN(cuts_idle_connections);
    RUN(cuts_who_does_not_read);
    RUN(limits_connections);
    RUN(makes_room_for_those_who_ask);
    RUN(keeps_few_answers_that_nobody_reads);
    RUN(streams);
    RUN(shows_that_a_stream_is_broken);
    RUN(tells_when_a_stream_has_room);
    RUN(notices_who_does_not_wait_any_more);
    RUN(sends_parts_of_files);
    RUN(limits_bodies_by_path);
    RUN(tells_waiting_clients_of_its_end);
    RUN(ends_within_its_bound);
    uv_loop_close(&loop);
    return test_end();
}
