/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of TLS share: links that connect or do not, and a server that is none. */
#ifndef LUNATS_SPEC_UNIT_TLS_H
#define LUNATS_SPEC_UNIT_TLS_H

#include <stdatomic.h>

#include <openssl/ssl.h>

#include "spec/unit/link.h"

/* The TLS block of a server with this certificate; `more` of it. */
static inline const char *tls_config(const char *name, const char *more) {
    static char config[512];
    snprintf(config, sizeof(config),
             "tls { cert_file: \"%s/%s.pem\", key_file: \"%s/%s.key\", timeout: 20, %s }\n",
             cert_dir, name, cert_dir, name, more);
    return config;
}

/* As peer_open_with(), but with the options as they are. */
static inline bool open_as_is(struct peer *p, struct link_options o, const char *url) {
    const char *servers[] = {url};
    memset(p, 0, sizeof(*p));
    o.servers = servers;
    o.server_count = 1;
    if (o.connect_timeout_ms == 0)
        o.connect_timeout_ms = 20000;
    return link_open(&p->link, &loop, real_clock, &o, &events, p) == LN_OK;
}

static inline bool connects_to(struct peer *p, struct link_options o, const char *url) {
    return open_as_is(p, o, url) && peer_wait(p, LINK_CONNECTED, 30000) &&
           flush(p->link) == LN_OK;
}

/* Tries once; true if it fails with this status and the reason has these words. Closes it. */
static inline bool fails_to(struct link_options o, const char *url, int status,
                            const char *words) {
    struct peer p;
    bool ok = open_as_is(&p, o, url) && peer_wait(&p, LINK_CLOSED, 30000) &&
              p.status == status && strstr(p.text, words) != NULL;
    if (!ok)
        printf("# state %d, status %d: %s\n", (int)p.state, p.status, p.text);
    return peer_close(&p, 0) && ok;
}

/* ---- a server that only says its INFO, and keeps what it hears or does as it is told ---- */

#define INFO_WITH(more)                                                                        \
    "INFO {\"server_id\":\"F\",\"version\":\"2.9.10\",\"proto\":1,\"headers\":true,"           \
    "\"max_payload\":1048576" more "}\r\n"
#define PLAIN_INFO INFO_WITH("")
#define TLS_INFO INFO_WITH(",\"tls_required\":true")

static struct {
    int fd, port;
    char info[256], heard[1024];
    atomic_size_t heard_len;
    atomic_int connections, ended;
    void (*talk)(int fd); /* with a connection, once the INFO was said */
    uv_thread_t thread;
} fake;

static inline void fake_hear(int fd) {
    for (ssize_t got = 1; got > 0 && fake.heard_len < sizeof(fake.heard) - 1;) {
        size_t len = fake.heard_len;
        got = read(fd, fake.heard + len, sizeof(fake.heard) - 1 - len);
        fake.heard_len += got > 0 ? (size_t)got : 0;
    }
}

static inline void fake_serve(void *unused) {
    (void)unused;
    for (int fd; (fd = accept(fake.fd, NULL, NULL)) >= 0; close(fd)) {
        atomic_fetch_add(&fake.connections, 1);
        if (write(fd, fake.info, strlen(fake.info)) >= 0)
            fake.talk(fd);
        atomic_fetch_add(&fake.ended, 1);
    }
}

static inline void fake_start_with(const char *info, void (*talk)(int fd)) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(fake.heard, 0, sizeof(fake.heard));
    fake.heard_len = 0;
    fake.connections = fake.ended = 0;
    fake.talk = talk;
    snprintf(fake.info, sizeof(fake.info), "%s", info);
    fake.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fake.fd, (struct sockaddr *)&at, size) < 0 || listen(fake.fd, 8) < 0 ||
        getsockname(fake.fd, (struct sockaddr *)&at, &size) < 0)
        abort();
    fake.port = ntohs(at.sin_port);
    uv_thread_create(&fake.thread, fake_serve, NULL);
}

static inline void fake_start(const char *info) {
    fake_start_with(info, fake_hear);
}

static inline void fake_stop(void) {
    shutdown(fake.fd, SHUT_RDWR); /* ends accept() */
    uv_thread_join(&fake.thread);
    close(fake.fd);
}

/* ---- running ---- */

/* Runs tests that see to TLS themselves; returns the exit status. */
static inline int run_once(int argc, char **argv, void (*run_all)(void)) {
    signal(SIGPIPE, SIG_IGN);
    test_begin(argc, argv);
    make_certificates();
    in_cert_dir("cp cert.pem server.pem && cp key.pem server.key");
    make_second_authority();
    uv_loop_init(&loop);
    clock_open(&real_clock, &loop, false);
    run_all();
    return end_all();
}

#endif
