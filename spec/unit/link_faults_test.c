/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server may do wrong in the handshake and behind it, a row each: what it says, when,
 * and what becomes of the connection. Where TLS could make a difference the row is played
 * with it, too.
 */
#include "spec/unit/tls.h"
#include "spec/unit/usage.h"

enum stage {
    FIRST,  /* instead of its INFO, in clear text */
    HELLO,  /* instead of the PONG that ends the handshake */
    STEADY, /* to a client that is connected and has subscribed to "probe" */
};

enum outcome {
    REFUSED, /* the attempt fails */
    LOST,    /* the connection is given up, and the next one is in order */
    KEPT,    /* it goes on: what comes behind is understood */
};

struct row {
    const char *name;
    enum stage stage;
    enum outcome outcome;
    const char *words; /* of the reason, or of the error that is told; NULL: nothing is told */
    const char *bytes;
    size_t len;
    bool closes; /* the server closes behind it */
    bool waits;  /* only the time limit ends it */
    bool tls;    /* played to a connection with TLS, too */
};

#define SAYS(text) .bytes = (text), .len = sizeof(text) - 1
#define NO_SERVER "no NATS server"
#define NO_PROTOCOL "not the protocol of NATS"

static char long_line[2 * 1024 * 1024];
static char many_urls[900 * 1024];

static const struct row rows[] = {
    /* ---- instead of INFO ---- */
    {"http", FIRST, REFUSED, "no NATS server: it says \"HTTP/1.1 400",
     SAYS("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")},
    {"nothing_and_the_end", FIRST, REFUSED, "closes it again without a word", SAYS(""),
     .closes = true},
    {"an_empty_line", FIRST, REFUSED, NO_SERVER, SAYS("\r\n")},
    {"zeros", FIRST, REFUSED, NO_SERVER, SAYS("\0\0\0\0\0\0\0\0\r\n"), .waits = true},
    {"an_info_without_json", FIRST, REFUSED, NO_SERVER, SAYS("INFO\r\n"), .waits = true},
    {"an_info_that_is_cut", FIRST, REFUSED, NO_SERVER, SAYS("INFO {\"server_id\":\"A\"\r\n")},
    {"an_info_that_is_a_list", FIRST, REFUSED, NO_SERVER, SAYS("INFO []\r\n")},
    {"half_an_info_and_the_end", FIRST, REFUSED, "closed the connection during the handshake",
     SAYS("INFO {\"ser"), .closes = true},
    {"half_an_info_and_silence", FIRST, REFUSED, "did not answer within", SAYS("INFO {\"ser"),
     .waits = true},
    {"an_info_without_end", FIRST, REFUSED, "closed the connection during the handshake",
     .bytes = long_line, .len = sizeof(long_line)},
    {"a_ping", FIRST, REFUSED, NO_SERVER, SAYS("PING\r\n")},
    {"a_message", FIRST, REFUSED, NO_SERVER, SAYS("MSG a 1 2\r\nhi\r\n")},
    {"an_alert_of_tls", FIRST, REFUSED, NO_SERVER, SAYS("\x15\x03\x03\x00\x02\x02\x28"),
     .closes = true},
    {"a_refusal", FIRST, REFUSED, "the server is full",
     SAYS("-ERR 'maximum connections exceeded'\r\n")},
    /* ---- instead of PONG ---- */
    {"the_end", HELLO, REFUSED, "closed the connection during the handshake", SAYS(""),
     .closes = true, .tls = true},
    {"silence", HELLO, REFUSED, "did not answer within", SAYS(""), .waits = true, .tls = true},
    {"http", HELLO, REFUSED, "says \"HTTP/1.1 400 Bad Request\" where a PONG",
     SAYS("HTTP/1.1 400 Bad Request\r\n\r\n"), .tls = true},
    {"half_a_pong_and_the_end", HELLO, REFUSED, "closed the connection during the handshake",
     SAYS("PO"), .closes = true, .tls = true},
    {"half_a_pong_and_silence", HELLO, REFUSED, "did not answer within", SAYS("PO"),
     .waits = true},
    {"a_refusal_of_the_user", HELLO, REFUSED, "refuses user, password",
     SAYS("-ERR 'Authorization Violation'\r\n"), .closes = true, .tls = true},
    {"a_refusal_of_the_connection", HELLO, REFUSED, "the server is full",
     SAYS("-ERR 'maximum connections exceeded'\r\n"), .closes = true},
    {"a_refusal_without_words", HELLO, REFUSED, "where a PONG is due", SAYS("-ERR\r\n"),
     .closes = true},
    {"garbage", HELLO, REFUSED, "where a PONG is due", SAYS("\x01\x02\xff\xfe\r\n")},
    {"a_line_without_end", HELLO, REFUSED, "did not answer within", .bytes = long_line,
     .len = sizeof(long_line), .waits = true},
    {"an_ok_before_the_pong", HELLO, REFUSED, "\"+OK\" where a PONG is due",
     SAYS("+OK\r\nPONG\r\n")},
    {"a_ping_before_the_pong", HELLO, REFUSED, "\"PING\" where a PONG is due",
     SAYS("PING\r\nPONG\r\n")},
    {"an_info_before_the_pong", HELLO, REFUSED, "where a PONG is due",
     SAYS("INFO {\"client_id\":5}\r\nPONG\r\n")},
    {"a_message_before_the_pong", HELLO, REFUSED, "where a PONG is due",
     SAYS("MSG a 1 2\r\nhi\r\nPONG\r\n")},
    {"two_pongs", HELLO, KEPT, NULL, SAYS("PONG\r\nPONG\r\n"), .tls = true},
    /* ---- once connected: what is no protocol ---- */
    {"a_word_that_nobody_knows", STEADY, LOST, NO_PROTOCOL, SAYS("HELLO\r\n"), .tls = true},
    {"an_empty_line", STEADY, LOST, NO_PROTOCOL, SAYS("\r\n")},
    {"a_word_of_clients", STEADY, LOST, NO_PROTOCOL, SAYS("PUB a 2\r\nhi\r\n")},
    {"garbage", STEADY, LOST, NO_PROTOCOL, SAYS("\x00\x01\xff\xfe\r\n")},
    {"a_line_without_end", STEADY, LOST, NO_PROTOCOL, .bytes = long_line,
     .len = sizeof(long_line), .tls = true},
    {"a_payload_longer_than_said", STEADY, LOST, NO_PROTOCOL,
     SAYS("MSG probe 1 2\r\nhello\r\n")},
    {"a_payload_shorter_than_said", STEADY, LOST, NO_PROTOCOL,
     SAYS("MSG probe 1 9\r\nhi\r\nPING\r\nPING\r\n")},
    {"a_payload_without_end", STEADY, LOST, "closed the connection",
     SAYS("MSG probe 1 500\r\nhi"), .closes = true, .tls = true},
    {"a_negative_length", STEADY, LOST, NO_PROTOCOL, SAYS("MSG probe 1 -1\r\n\r\n")},
    {"a_length_beyond_64_bits", STEADY, LOST, NO_PROTOCOL,
     SAYS("MSG probe 1 18446744073709551617\r\n\r\n")},
    {"a_length_beyond_reason", STEADY, LOST, NO_PROTOCOL, SAYS("MSG probe 1 268435457\r\n")},
    {"a_length_that_is_no_number", STEADY, LOST, NO_PROTOCOL, SAYS("MSG probe 1 1e3\r\n")},
    {"a_message_without_length", STEADY, LOST, NO_PROTOCOL, SAYS("MSG probe 1\r\n")},
    {"a_message_with_too_much", STEADY, LOST, NO_PROTOCOL, SAYS("MSG a 1 r s 2\r\nhi\r\n")},
    {"a_subscription_that_is_no_number", STEADY, LOST, NO_PROTOCOL,
     SAYS("MSG probe x 2\r\nhi\r\n")},
    {"headers_longer_than_the_message", STEADY, LOST, NO_PROTOCOL,
     SAYS("HMSG probe 1 20 10\r\nNATS/1.0\r\n\r\n")},
    {"headers_without_length", STEADY, LOST, NO_PROTOCOL, SAYS("HMSG probe 1 12\r\n")},
    {"half_a_line_and_the_end", STEADY, LOST, "closed the connection", SAYS("PIN"),
     .closes = true, .tls = true},
    {"the_end", STEADY, LOST, "closed the connection", SAYS(""), .closes = true, .tls = true},
    {"a_last_word", STEADY, LOST, "Slow Consumer", SAYS("-ERR 'Slow Consumer'\r\n"),
     .closes = true, .tls = true},
    {"a_last_word_without_end", STEADY, LOST, "closed the connection",
     SAYS("-ERR 'Slow Consumer'"), .closes = true},
    /* ---- once connected: what is odd ---- */
    {"an_ok", STEADY, KEPT, NULL, SAYS("+OK\r\n+OK anything\r\n")},
    {"a_pong_that_nobody_asked_for", STEADY, KEPT, NULL, SAYS("PONG\r\nPONG\r\n")},
    {"a_message_of_another_subscription", STEADY, KEPT, NULL,
     SAYS("MSG a 0 2\r\nhi\r\nMSG a 999999999999999999 2\r\nhi\r\n")},
    {"a_reply_that_nobody_waits_for", STEADY, KEPT, NULL,
     SAYS("MSG _INBOX.x 1 2\r\nhi\r\nMSG _INBOX. 1 2\r\nhi\r\nMSG . 1 2\r\nhi\r\n")},
    {"headers_of_no_version", STEADY, KEPT, NULL, SAYS("HMSG a 9 3 3\r\nxyz\r\n")},
    {"headers_of_zeros", STEADY, KEPT, NULL, SAYS("HMSG a 9 4 4\r\n\0\0\0\0\r\n")},
    {"an_info_that_is_no_json", STEADY, KEPT, NULL, SAYS("INFO {\r\nINFO []\r\nINFO x\r\n")},
    {"an_info_with_other_types", STEADY, KEPT, NULL,
     SAYS("INFO "
          "{\"max_payload\":\"x\",\"headers\":1,\"connect_urls\":{\"a\":1},\"ldm\":[]}\r\n")},
    {"an_info_with_servers_that_are_none", STEADY, KEPT, NULL,
     SAYS("INFO {\"connect_urls\":[\"\",\":\",\"x "
          "y:2\",\"[::1:9\",\"u:p@h:1\",\"h:-5\",1]}\r\n")},
    {"an_info_with_more_servers_than_there_are", STEADY, KEPT, NULL, .bytes = many_urls,
     .len = sizeof(many_urls), .tls = true},
    {"an_info_that_asks_for_tls", STEADY, KEPT, NULL, SAYS("INFO {\"tls_required\":true}\r\n"),
     .tls = true},
    {"an_error_without_words", STEADY, KEPT, NULL, SAYS("-ERR\r\n-ERR ''\r\n")},
    {"an_error_of_control_characters", STEADY, KEPT, "", SAYS("-ERR '\x1b[31mred'\r\n")},
    {"a_refusal_of_nothing", STEADY, KEPT, "Permissions Violation",
     SAYS("-ERR 'Permissions Violation for Publish to \"'\r\n")},
    {"a_refusal_of_what_is_not_subscribed", STEADY, KEPT, "Permissions Violation",
     SAYS("-ERR 'Permissions Violation for Subscription to \"other\"'\r\n")},
};

static const struct row *row;

/* A line of garbage, and an INFO that lists more than anybody takes. */
static void make_long_rows(void) {
    memset(long_line, 'A', sizeof(long_line));
    memcpy(long_line, "INFO {\"a\":\"", 11);
    memset(many_urls, ' ', sizeof(many_urls));
    char *at = many_urls + sprintf(many_urls, "INFO {\"connect_urls\":[\"127.0.0.1:1\"");
    for (int i = 0; at + 64 < many_urls + sizeof(many_urls); i++)
        at += sprintf(at, ",\"10.%d.%d.%d:4222\"", i >> 16 & 255, i >> 8 & 255, i & 255);
    *at = ' ';
    memcpy(many_urls + sizeof(many_urls) - 4, "]}\r\n", 4);
}

/* ---- the server ---- */

#define PROBE "SUB probe "

struct wire {
    int fd;
    SSL *ssl; /* NULL: plain */
    char heard[4096];
    size_t len;
};

static void say(const struct wire *wire, const char *bytes, size_t len) {
    size_t taken;
    if (len == 0)
        return;
    if (wire->ssl != NULL)
        SSL_write_ex(wire->ssl, bytes, len, &taken);
    else if (write(wire->fd, bytes, len) < 0)
        return; /* the client has gone, as the next read finds */
}

/* Waits for a PING; what came before it is in `heard`. */
static bool hear_ping(struct wire *wire) {
    size_t got = 1;
    for (wire->len = 0; got > 0 && wire->len < sizeof(wire->heard) - 1;) {
        char *to = wire->heard + wire->len;
        ssize_t n = wire->ssl == NULL                          ? read(wire->fd, to, 1)
                    : SSL_read_ex(wire->ssl, to, 1, &got) == 1 ? 1
                                                               : 0;
        if (n <= 0)
            return false;
        wire->heard[++wire->len] = '\0';
        if (wire->len >= 6 && strcmp(to - 5, "PING\r\n") == 0)
            return true;
    }
    return false;
}

/* A message for the subscription to "probe", which was among what was heard. */
static void say_probe(const struct wire *wire) {
    const char *sub = strstr(wire->heard, PROBE);
    char message[64];
    int len = snprintf(message, sizeof(message), "MSG probe %d 2\r\nok\r\n",
                       sub != NULL ? atoi(sub + strlen(PROBE)) : 0);
    say(wire, message, (size_t)len);
}

/* To a client that is connected. */
static void play_steady(struct wire *wire, bool fault) {
    while (hear_ping(wire)) {
        bool subscribed = strstr(wire->heard, PROBE) != NULL;
        say(wire, "PONG\r\n", 6);
        if (subscribed && fault)
            say(wire, row->bytes, row->len);
        if (subscribed && fault && row->closes)
            return;
        if (subscribed)
            say_probe(wire);
    }
}

/* A server that does all right, but for the first time the fault. */
static void play(struct wire *wire) {
    bool fault = fake.connections == 1;
    if (!(fault && row->stage == FIRST) && !hear_ping(wire))
        return;
    if (fault && row->stage != STEADY)
        say(wire, row->bytes, row->len);
    else
        say(wire, "PONG\r\n", 6);
    if (row->outcome != REFUSED)
        play_steady(wire, fault && row->stage == STEADY);
    else if (!row->closes)
        while (hear_ping(wire))
            ; /* until the client goes */
}

static void talk(int fd) {
    struct wire wire = {.fd = fd};
    if (with_tls)
        wire.ssl = accept_tls(fd, "server");
    if (!with_tls || wire.ssl != NULL)
        play(&wire);
    SSL_free(wire.ssl);
}

/* ---- the client ---- */

static struct {
    struct peer peer; /* first */
    int lost;
    char why[512];
} client;

static void on_client_state(void *owner, enum link_state state, int status, const char *text) {
    on_state(owner, state, status, text);
    if (state != LINK_DISCONNECTED)
        return;
    client.lost++;
    snprintf(client.why, sizeof(client.why), "%s", text);
}

static bool open_client(void) {
    static const struct link_events told = {
        .on_state = on_client_state, .on_retry = on_retry, .on_error = on_error};
    char url[64];
    const char *servers[] = {url};
    struct link_options o = {.servers = servers, .server_count = 1};
    snprintf(url, sizeof(url), "%s://127.0.0.1:%d", with_tls ? "tls" : "nats", fake.port);
    o.tls_ca = with_tls ? ca_path : NULL;
    o.connect_timeout_ms = !row->waits ? 20000 : by_valgrind() ? 8000 : 1500; /* computes TLS */
    memset(&client, 0, sizeof(client));
    return link_open(&client.peer.link, &loop, real_clock, &o, &told, &client.peer) == LN_OK;
}

/* Shows what there is instead. */
#define CHECK_WORDS(text)                                                                      \
    do {                                                                                       \
        if (strstr(text, row->words) == NULL)                                                  \
            test_fail(__FILE__, __LINE__, "it says: %s", text);                                \
    } while (0)

static void check_refused(void) {
    CHECK(peer_wait(&client.peer, LINK_CLOSED, 30000));
    CHECK_WORDS(client.peer.text);
}

static void check_connected(void) {
    struct inbox probe = {0};
    struct peer *peer = &client.peer;
    CHECK(peer_wait(peer, LINK_CONNECTED, 30000));
    CHECK_INT(subscribe(&probe, peer->link, "probe", NULL), LN_OK);
    bool came = run_count(&probe.count, 1, 30000);
    link_unsubscribe(probe.sub);
    CHECK_INT(flush(peer->link), LN_OK); /* PINGs and PONGs still belong together */
    CHECK(came);
    CHECK_STR(probe.data, "ok");
    CHECK_INT(client.lost, row->outcome == LOST);
    CHECK_INT(fake.connections, row->outcome == LOST ? 2 : 1);
    if (row->outcome == LOST)
        CHECK_WORDS(client.why);
    else if (row->words != NULL)
        CHECK_WORDS(peer->error_text);
    else
        CHECK_INT(peer->errors, 0);
}

static void play_row(void) {
    bool first = row->stage == FIRST;
    fake_start_with(first ? "" : with_tls ? TLS_INFO : PLAIN_INFO, talk);
    if (!open_client())
        test_fail(__FILE__, __LINE__, "no link");
    else if (row->outcome == REFUSED)
        check_refused();
    else
        check_connected();
    CHECK_SOFT(peer_close(&client.peer, 0));
    fake_stop();
}

static void run_all(void) {
    static const char *const stages[] = {
        [FIRST] = "instead of INFO", [HELLO] = "instead of PONG", [STEADY] = "once connected"};
    make_long_rows();
    for (int variant = 0; variant < 2; variant++) {
        with_tls = variant == 1;
        for (row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++) {
            char where[64];
            if (with_tls && !row->tls)
                continue;
            snprintf(where, sizeof(where), ", %s%s", stages[row->stage],
                     with_tls ? ", over TLS" : "");
            test_variant = where;
            test_run(row->name, play_row);
        }
    }
    with_tls = false;
    test_variant = "";
}

int main(int argc, char **argv) {
    return run_once(argc, argv, run_all);
}
