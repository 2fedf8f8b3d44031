/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: who the server is, and that nothing goes out in clear text. */
#include "spec/unit/tls.h"

static void start(const char *certificate, const char *more) {
    server_start(&server, tls_config(certificate, more));
}

/* The URL of the server with another scheme or host. */
static const char *url_of(const char *scheme, const char *host) {
    static char url[128];
    snprintf(url, sizeof(url), "%s://%s:%d", scheme, host, server.port);
    return url;
}

/* Runs a test body and cleans up however it ends. */
#define CLEANED(name)                                                                          \
    static void name##_body(void);                                                             \
    static void name(void) {                                                                   \
        memset(&server, 0, sizeof(server));                                                    \
        memset(&a, 0, sizeof(a));                                                              \
        memset(&b, 0, sizeof(b));                                                              \
        name##_body();                                                                         \
        server_address = "127.0.0.1";                                                          \
        unsetenv("SSL_CERT_FILE");                                                             \
        end();                                                                                 \
    }                                                                                          \
    static void name##_body(void)

/* ---- whose certificate it is ---- */

CLEANED(the_certificate_must_be_that_of_the_host) {
    struct link_options o = {.tls_ca = ca_path};
    issue("elsewhere", "ca", "DNS:nats.example,DNS:*.wild.example");
    start("elsewhere", "");
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tls-name HOST"));
    CHECK(fails_to(o, url_of("tls", "localhost"), LN_ENATS, "--tls-name HOST"));
    CHECK(fails_to(o, url_of("nats", "localhost"), LN_ENATS, "--tls-name HOST"));
    o.tls_name = "other.example";
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "ostname mismatch"));
    o.tls_name = "10.0.0.1";
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tls-name HOST"));
}

CLEANED(the_option_says_whose_certificate_it_must_be) {
    struct link_options o = {.tls_ca = ca_path, .tls_name = "nats.example"};
    issue("elsewhere", "ca", "DNS:nats.example,DNS:*.wild.example");
    start("elsewhere", "");
    CHECK(connects_to(&a, o, url_of("tls", "127.0.0.1")));
    o.tls_name = "a.wild.example";
    CHECK(connects_to(&b, o, url_of("tls", "localhost")));
}

/* In DNS it means that the name is complete; certificates have none. */
CLEANED(a_dot_at_the_end_of_a_name_does_not_count) {
    struct link_options o = {.tls_ca = ca_path, .tls_name = "nats.example."};
    issue("elsewhere", "ca", "DNS:nats.example");
    start("elsewhere", "");
    CHECK(connects_to(&a, o, url_of("tls", "127.0.0.1")));
    o.tls_name = "other.example.";
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tls-name HOST"));
}

/* OpenSSL would take the certificate of any host below ".example", and of any host at all for
 * an empty name. */
CLEANED(what_cannot_be_the_name_of_a_host_is_refused) {
    static const char *const names[] = {".example", ".", "", ".nats.example."};
    struct link_options o = {.tls_ca = ca_path};
    issue("elsewhere", "ca", "DNS:nats.example");
    start("elsewhere", "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        o.tls_name = names[i];
        CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_EINVAL, "cannot be the name"));
    }
}

CLEANED(a_name_is_no_address_and_the_other_way_round) {
    struct link_options o = {.tls_ca = ca_path};
    start("server", ""); /* IP:127.0.0.1 */
    CHECK(connects_to(&a, o, url_of("tls", "127.0.0.1")));
    CHECK(fails_to(o, url_of("tls", "localhost"), LN_ENATS, "--tls-name HOST"));
    o.tls_name = "127.0.0.1";
    CHECK(connects_to(&b, o, url_of("tls", "localhost")));
    server_stop(&server);
    issue("named", "ca", "DNS:localhost,DNS:127.0.0.1");
    start("named", "");
    CHECK(peer_close(&b, 0));
    CHECK(
        connects_to(&b, (struct link_options){.tls_ca = ca_path}, url_of("tls", "localhost")));
    o.tls_name = NULL;
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tls-name HOST"));
}

CLEANED(an_expired_certificate_is_refused) {
    struct link_options o = {.tls_ca = ca_path};
    in_cert_dir("cp server.key old.key && openssl req -new -key old.key -subj /CN=old -out "
                "old.csr && echo 'subjectAltName=IP:127.0.0.1' > ext && touch index.txt && "
                "printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index.txt\\nserial=s\\n"
                "new_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\nprivate_key=ca.key\\n"
                "certificate=ca.pem\\n[p]\\ncommonName=supplied\\n' > cnf && "
                "openssl ca -batch -config cnf -create_serial -rand_serial -startdate "
                "200101000000Z -enddate 200201000000Z -extfile ext -in old.csr -out old.pem");
    start("old", "");
    CHECK(fails_to(o, server.url, LN_ENATS, "renew it on the server"));
}

/* ---- who has signed it ---- */

CLEANED(an_unknown_authority_is_refused) {
    struct link_options o = {0};
    start("server", "");
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
    CHECK(fails_to(o, url_of("nats", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
    o.tls_ca = cert_path("ca2.pem");
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
    o.tls_name = "127.0.0.1";
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
}

CLEANED(a_certificate_that_is_signed_by_itself_is_refused) {
    struct link_options o = {0};
    in_cert_dir("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                "-days 30 -subj /CN=self -addext subjectAltName=IP:127.0.0.1 "
                "-keyout self.key -out self.pem");
    start("self", "");
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
    o.tls_ca = ca_path;
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
}

/* A configured one comes to those of the system. */
CLEANED(the_authorities_of_the_system_count_too) {
    struct link_options o = {0};
    start("server", "");
    setenv("SSL_CERT_FILE", ca_path, 1);
    CHECK(connects_to(&a, o, url_of("tls", "127.0.0.1")));
    o.tls_ca = cert_path("ca2.pem");
    CHECK(connects_to(&b, o, url_of("tls", "127.0.0.1")));
    CHECK(fails_to(o, url_of("tls", "localhost"), LN_ENATS, "--tls-name HOST"));
}

CLEANED(a_file_may_hold_several_authorities) {
    struct link_options o = {.tls_ca = cert_path("both.pem")};
    in_cert_dir("cat ca2.pem ca.pem > both.pem");
    start("server", "");
    CHECK(connects_to(&a, o, url_of("tls", "127.0.0.1")));
}

/* ---- TLS or not ---- */

/* The server's INFO decides, and then all is verified as with tls://. */
CLEANED(a_server_may_demand_tls) {
    struct link_options o = {.tls_ca = ca_path};
    start("server", "");
    CHECK(connects_to(&a, o, url_of("nats", "127.0.0.1")));
    setenv("SSL_CERT_FILE", ca_path, 1);
    o.tls_ca = NULL;
    CHECK(connects_to(&b, o, url_of("nats", "127.0.0.1")));
    CHECK(fails_to(o, url_of("nats", "localhost"), LN_ENATS, "--tls-name HOST"));
    setenv("SSL_CERT_FILE", cert_path("ca2.pem"), 1);
    CHECK(fails_to(o, url_of("nats", "127.0.0.1"), LN_ENATS, "--tlsca FILE"));
}

/* tls://, an authority or a certificate: each of them demands TLS. */
CLEANED(nothing_is_sent_to_a_server_without_tls) {
    char with_password[64], plain[64];
    struct link_options o = {.user = "u", .password = "s3cret"};
    fake_start(PLAIN_INFO);
    snprintf(with_password, sizeof(with_password), "tls://u:s3cret@127.0.0.1:%d", fake.port);
    snprintf(plain, sizeof(plain), "nats://127.0.0.1:%d", fake.port);
    CHECK_SOFT(fails_to((struct link_options){0}, with_password, LN_ENATS, "nothing was sent"));
    o.tls_ca = ca_path;
    CHECK_SOFT(fails_to(o, plain, LN_ENATS, "offers no TLS"));
    o.tls_ca = NULL;
    o.tls_cert = cert_path("server.pem");
    o.tls_key = cert_path("server.key");
    CHECK_SOFT(fails_to(o, plain, LN_ENATS, "offers no TLS"));
    fake_stop();
    CHECK_INT(fake.connections, 3);
    CHECK_INT(fake.heard_len, 0);
}

static int free_port(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&at, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0)
        abort();
    close(fd);
    return ntohs(at.sin_port);
}

/* Waits until the INFO of the server has this word. */
static bool announces(const char *word) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};
    char info[2048] = "";
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 1000 && strstr(info, word) == NULL; i++, sleep_ms(20)) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        ssize_t got = 0;
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            got = read(fd, info, sizeof(info) - 1);
        info[got > 0 ? got : 0] = '\0';
        close(fd);
    }
    return strstr(info, word) != NULL;
}

/* The one with TLS, and another one of its cluster that says it is where the fake is. */
static bool start_cluster(struct server *other, char config[1024]) {
    char theirs[512], word[32];
    int port = free_port();
    snprintf(config, 1024,
             "%s\ncluster { name: c, listen: \"127.0.0.1:%d\" }\n"
             "authorization { user: u, password: s3cret }",
             tls_config("server", ""), port);
    snprintf(theirs, sizeof(theirs),
             "cluster { name: c, listen: \"127.0.0.1:-1\", routes: "
             "[\"nats://127.0.0.1:%d\"] }\nclient_advertise: \"127.0.0.1:%d\"",
             port, fake.port);
    snprintf(word, sizeof(word), "127.0.0.1:%d", fake.port);
    server_start(&server, config);
    server_start(other, theirs);
    return announces(word);
}

/* A plain server that a server with TLS announces. */
CLEANED(an_announced_server_is_not_used_in_clear_text) {
    char config[1024];
    struct server other;
    fake_start(PLAIN_INFO);
    bool announced = start_cluster(&other, config);
    struct link_options o = {
        .user = "u", .password = "s3cret", .tls_ca = ca_path, .retry = true};
    bool connected = connects_to(&a, o, url_of("nats", "127.0.0.1"));
    server_kill(&server);
    server_stop(&other);
    for (int i = 0; i < 2000 && fake.connections == 0; i++)
        run_until(NULL, 10);
    run_count(&a.retries, 2, 20000);
    int connections = fake.connections, state = (int)a.state;
    server_run(&server, config);
    bool again = peer_wait(&a, LINK_CONNECTED, 30000);
    bool closed = peer_close(&a, 0);
    fake_stop();
    CHECK(announced && connected && again && closed);
    CHECK(connections > 0); /* it was tried */
    CHECK_INT(state, LINK_DISCONNECTED);
    CHECK_INT(fake.heard_len, 0);
}

CLEANED(ipv6_has_brackets) {
    struct link_options o = {.tls_ca = ca_path};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool there = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    if (!there) {
        printf("# skipped: there is no ::1 here\n");
        return;
    }
    server_address = "::1";
    issue("six", "ca", "IP:::1");
    start("six", "");
    CHECK(connects_to(&a, o, url_of("tls", "[::1]")));
    struct link_info info;
    link_get_info(a.link, &info);
    CHECK_STR(info.url, url_of("tls", "[::1]"));
    o.tls_name = "127.0.0.1";
    CHECK(fails_to(o, url_of("tls", "[::1]"), LN_ENATS, "--tls-name HOST"));
}

/* ---- TLS before the INFO ---- */

static bool server_knows_tls_first(void) {
    int major = 0, minor = 0;
    FILE *f = popen("nats-server --version", "r");
    bool ok = f != NULL && fscanf(f, "nats-server: v%d.%d", &major, &minor) == 2;
    if (f != NULL)
        pclose(f);
    return ok && (major > 2 || minor >= 10);
}

CLEANED(tls_may_come_first) {
    struct link_options o = {.tls_ca = ca_path, .tls_first = true, .connect_timeout_ms = 500};
    if (nats_GetVersionNumber() < 0x030900) {
        start("server", "");
        CHECK(fails_to(o, server.url, LN_EINVAL, "--tls-first needs nats.c 3.9, this is "));
        return;
    }
    if (!server_knows_tls_first()) {
        printf("# skipped: this nats-server knows no handshake_first\n");
        return;
    }
    start("server", "handshake_first: true");
    o.connect_timeout_ms = 20000;
    CHECK(connects_to(&a, o, url_of("tls", "127.0.0.1")));
    CHECK(fails_to(o, url_of("tls", "localhost"), LN_ENATS, "--tls-name HOST"));
    o.tls_first = false;
    o.connect_timeout_ms = 500;
    CHECK(fails_to(o, url_of("tls", "127.0.0.1"), LN_ENOSERVER, "--tls-first"));
}

static void run_all(void) {
    RUN(the_certificate_must_be_that_of_the_host);
    RUN(the_option_says_whose_certificate_it_must_be);
    RUN(a_dot_at_the_end_of_a_name_does_not_count);
    RUN(what_cannot_be_the_name_of_a_host_is_refused);
    RUN(a_name_is_no_address_and_the_other_way_round);
    RUN(an_expired_certificate_is_refused);
    RUN(an_unknown_authority_is_refused);
    RUN(a_certificate_that_is_signed_by_itself_is_refused);
    RUN(the_authorities_of_the_system_count_too);
    RUN(a_file_may_hold_several_authorities);
    RUN(a_server_may_demand_tls);
    RUN(nothing_is_sent_to_a_server_without_tls);
    RUN(an_announced_server_is_not_used_in_clear_text);
    RUN(ipv6_has_brackets);
    RUN(tls_may_come_first);
}

int main(int argc, char **argv) {
    return run_once(argc, argv, run_all);
}
