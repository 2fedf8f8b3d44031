/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a server on a real connection: what its owner is told does not depend on how
 * they are cut into reads. What is prompt comes in an order of its own.
 *
 * The input is a line that cuts, each of its characters the size of a piece ('1' one byte, 'a'
 * ten times as many as 'A'), over and over, and then the bytes.
 */
#include "host/link/session.h"

#include <sys/socket.h>
#include <unistd.h>

#include "host/base/status.h"
#include "host/link/turn.h"
#include "spec/fuzz/fuzz.h"

#define LOG_SIZE ((size_t)1 << 20)
#define INTERVAL_MS (3600u * 1000)
#define CLOSING_SID 9 /* a message for it makes the owner close the session */
#define PROMPT_SID 7  /* its messages may go ahead of others */
#define SLOW_SID 8    /* a message for it takes longer than a turn */
#define SLOW_NS (TURN_NS + 1000000)

static uv_loop_t loop;
static struct clock *clock_of_loop;

struct notes {
    size_t len;
    char bytes[LOG_SIZE];
};

/* One life of a connection, written down. */
struct life {
    struct session *session; /* NULL: closed */
    bool pending;
    char error[256]; /* the last one: how often it comes again is a matter of time */
    struct notes notes;
    struct notes prompt; /* how far ahead of the rest is a matter of time */
};

static struct life lives[2];

static void note_bytes(struct notes *notes, const char *bytes, size_t len) {
    HOLDS(notes->len + len < LOG_SIZE);
    if (len > 0)
        memcpy(notes->bytes + notes->len, bytes, len);
    notes->len += len;
}

static void note_in(struct notes *notes, const char *word, uint64_t number, const char *text) {
    char line[64];
    int len = snprintf(line, sizeof(line), "\n%s %llu ", word, (unsigned long long)number);
    note_bytes(notes, line, (size_t)len);
    if (text != NULL)
        note_bytes(notes, text, strlen(text));
}

static void note(struct life *life, const char *word, uint64_t number, const char *text) {
    note_in(&life->notes, word, number, text);
}

static void close_session(struct life *life) {
    session_close(life->session, true);
    life->session = NULL;
}

static void be_slow(void) {
    for (uint64_t end = uv_hrtime() + SLOW_NS; uv_hrtime() < end;)
        continue;
}

static bool is_prompt(void *owner, uint64_t sid) {
    (void)owner;
    return sid == PROMPT_SID;
}

static void on_msg(void *owner, uint64_t sid, const struct message_parts *parts) {
    struct life *life = owner;
    struct notes *notes = is_prompt(life, sid) ? &life->prompt : &life->notes;
    note_in(notes, "msg", sid, NULL);
    note_bytes(notes, parts->subject, parts->subject_len);
    note_in(notes, "reply", parts->reply_len, NULL);
    note_bytes(notes, parts->reply, parts->reply_len);
    note_in(notes, "headers", parts->headers_len, NULL);
    note_bytes(notes, parts->headers, parts->headers != NULL ? parts->headers_len : 0);
    note_in(notes, "data", parts->len, NULL);
    note_bytes(notes, parts->data, parts->len);
    if (sid == SLOW_SID)
        be_slow();
    if (sid == CLOSING_SID)
        close_session(life);
}

static void on_info(void *owner, struct info *info) {
    char url[64];
    note(owner, "info", info->client_id, info->version);
    note(owner, "limits", (uint64_t)info->max_payload, info->lame_duck ? "lame duck" : NULL);
    while (info_next_url(info, url, sizeof(url)))
        note(owner, "url", 0, url);
}

static void on_pong(void *owner, uint64_t number) {
    note(owner, "pong", number, NULL);
}

static void on_refusal(void *owner, const struct refusal *refusal, const char *text) {
    note(owner, "refusal", refusal->kind, text);
    note(owner, "of", refusal->queue != NULL, refusal->subject);
}

static void on_error(void *owner, int status, const char *text) {
    struct life *life = owner;
    HOLDS(status == LN_ENATS);
    if (strcmp(life->error, text) != 0)
        note(life, "error", 0, text);
    snprintf(life->error, sizeof(life->error), "%s", text);
}

static void on_pending(void *owner) {
    struct life *life = owner;
    life->pending = true;
}

static void on_sent(void *owner) {
    (void)owner;
}

static void on_lost(void *owner, int status, const char *text) {
    HOLDS(status == LN_EDISCONNECTED || status == LN_EAUTH);
    note(owner, "lost", status == LN_EAUTH, text);
    close_session(owner);
}

static void turn(struct life *life) {
    uv_run(&loop, UV_RUN_NOWAIT);
    if (life->session != NULL && life->pending)
        stream_send(session_stream(life->session));
    life->pending = false;
}

/* How much a session still writes that has to end is not the same each time. */
static void check_written(int fd) {
    char word[6];
    for (ssize_t len; (len = read(fd, word, sizeof(word))) > 0;)
        HOLDS(len == sizeof(word) &&
              (memcmp(word, "PING\r\n", 6) == 0 || memcmp(word, "PONG\r\n", 6) == 0));
}

static void open_session(struct life *life, int fd) {
    static const struct session_events events = {
        .on_msg = on_msg,
        .is_prompt = is_prompt,
        .on_info = on_info,
        .on_pong = on_pong,
        .on_refusal = on_refusal,
        .on_error = on_error,
        .on_pending = on_pending,
        .on_sent = on_sent,
        .on_lost = on_lost,
    };
    static const struct info info;
    HOLDS(session_open(&life->session, &loop, clock_of_loop, fd, NULL, &info, LOG_SIZE,
                       INTERVAL_MS, &events, life) == LN_OK);
    session_ping(life->session);
    session_ping(life->session);
}

static size_t piece(const char *cuts, size_t index) {
    unsigned char c = (unsigned char)cuts[index % strlen(cuts)];
    return c <= '0'   ? 1
           : c <= '9' ? c - (size_t)'0'
           : c <= 'Z' ? c - (size_t)'7'
                      : c * (size_t)8;
}

/* `cuts` "": all at once. */
static void live(struct life *life, const char *cuts, const char *bytes, size_t size) {
    int fds[2];
    life->notes.len = life->prompt.len = 0;
    life->error[0] = '\0';
    HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    open_session(life, fds[0]);
    for (size_t i = 0; size > 0 && life->session != NULL; i++) {
        size_t len = *cuts != '\0' ? piece(cuts, i) : size;
        len = len < size ? len : size;
        HOLDS(send(fds[1], bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
        bytes += len;
        size -= len;
        turn(life);
    }
    shutdown(fds[1], SHUT_WR);
    while (life->session != NULL)
        turn(life);
    turn(life);
    check_written(fds[1]);
    close(fds[1]);
}

/* A session that ends early may have handled more of what is prompt, or less. */
static bool same_start(const struct notes *a, const struct notes *b) {
    return memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (clock_of_loop == NULL)
        HOLDS(uv_loop_init(&loop) == 0 && clock_open(&clock_of_loop, &loop, false) == LN_OK);
    struct fuzz_input input = {(const char *)bytes, size};
    char *cuts = fuzz_line(&input);
    live(&lives[0], "", input.at, input.left);
    live(&lives[1], *cuts != '\0' ? cuts : "1", input.at, input.left);
    HOLDS(lives[0].notes.len == lives[1].notes.len &&
          same_start(&lives[0].notes, &lives[1].notes));
    HOLDS(same_start(&lives[0].prompt, &lives[1].prompt));
    free(cuts);
    return 0;
}
