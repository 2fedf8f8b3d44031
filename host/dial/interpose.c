/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Symbols of other libraries that this program defines, so that the dynamic linker binds
 * libnats to them. Each does what it replaces, which it finds behind itself with RTLD_NEXT (so
 * that LD_PRELOAD tools go on working), but for threads that dial. Where libnats is bound
 * otherwise (-Bsymbolic, statically) they have no effect: errors are worded less well then, and
 * TLS is refused, as no SSL object is seen.
 *
 *   connect           tells the socket, which is the only way to end an attempt (nats.c before
 *                     3.8 waits for ever for a server that falls silent behind its INFO,
 *                     https://github.com/nats-io/nats.c/pull/707), and keeps errno, which no
 *                     version tells
 *   recv, SSL_read    keep what the server said: its INFO, and an -ERR right behind it, which
 *                     nats.c throws away with the rest of its buffer
 *   SSL_write         reads what the server said before it closed the connection: that it wants
 *                     another certificate of ours, say, which with TLS 1.3 comes this late
 *   SSL_do_handshake  tells the SSL object, which no version has a function for; expects the
 *                     certificate of the configured host and sends its name, where nats.c
 *                     knows the address only; keeps why a handshake failed
 *   RAND_bytes        while nats.c is opened: it wants eight random bytes, for which OpenSSL
 *                     would start, with 2.2 MB of memory and a seventh of the time until the
 *                     first reply of a service without TLS
 */
#include "host/dial/interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <nats/nats.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <uv.h>

#include "host/dial/peer.h"

/* Two records with one system call. With more, OpenSSL moves what is left behind each record to
 * the front of its buffer, which costs as much. */
#define READ_BUFFER ((size_t)34 * 1024)
#define HEARD_MAX ((size_t)1024 * 1024)

static _Thread_local struct attempt *attempt;
static _Thread_local bool opening;

void interpose_begin(struct attempt *mine) {
    attempt = mine;
}

void interpose_end(void) {
    attempt = NULL;
}

void interpose_open_nats(void) {
    opening = true;
    struct sigaction pipe; /* nats.c ignores SIGPIPE, which children would inherit */
    sigaction(SIGPIPE, NULL, &pipe);
    nats_Open(-1); /* if it fails, so does connecting */
    sigaction(SIGPIPE, &pipe, NULL);
    opening = false;
}

/* A function by its name; POSIX lets void * be one, ISO C does not. */
#define BEHIND(type, name)                                                                     \
    static _Thread_local type behind;                                                          \
    if (behind == NULL)                                                                        \
        *(void **)&behind = dlsym(RTLD_NEXT, name);                                            \
    if (behind == NULL)                                                                        \
    abort()

/* ---- the socket ---- */

typedef int (*connect_fn)(int, const struct sockaddr *, socklen_t);

static bool is_tcp(int fd, const struct sockaddr *address) {
    int type = 0;
    socklen_t size = sizeof(type);
    return (address->sa_family == AF_INET || address->sa_family == AF_INET6) &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/* Waits for a connection that is being made; returns 0 or why there is none. */
static int wait_connected(int fd, int timeout_ms) {
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    uint64_t end = uv_hrtime() / 1000000 + (uint64_t)timeout_ms;
    for (;;) {
        uint64_t now = uv_hrtime() / 1000000;
        int ready = poll(&poller, 1, now < end ? (int)(end - now) : 0);
        if (ready == 0)
            return ETIMEDOUT;
        if (ready > 0)
            break;
        if (errno != EINTR)
            return errno;
    }
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

int connect(int fd, const struct sockaddr *address, socklen_t len) {
    BEHIND(connect_fn, "connect");
    struct attempt *mine = attempt;
    if (mine == NULL || !is_tcp(fd, address))
        return behind(fd, address, len);
    mine->on_socket(mine->owner, fd);
    int error = behind(fd, address, len) == 0 ? 0 : errno;
    if (error == EINPROGRESS || error == EINTR)
        error = wait_connected(fd, mine->timeout_ms);
    mine->connect_errno = error;
    mine->connected = error == 0;
    errno = error;
    return error == 0 ? 0 : -1;
}

/* ---- what the server says ---- */

/* nats.c reads byte by byte. */
static void keep(struct attempt *mine, const void *bytes, size_t len) {
    size_t need = mine->heard_len + len + 1;
    if (need > HEARD_MAX)
        return;
    if (need > mine->heard_size) {
        char *heard = realloc(mine->heard, need * 2);
        if (heard == NULL)
            return;
        mine->heard = heard;
        mine->heard_size = need * 2;
    }
    memcpy(mine->heard + mine->heard_len, bytes, len);
    mine->heard_len += len;
    mine->heard[mine->heard_len] = '\0';
}

typedef ssize_t (*recv_fn)(int, void *, size_t, int);

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
    BEHIND(recv_fn, "recv");
    ssize_t got = behind(fd, bytes, size, flags);
    struct attempt *mine = attempt;
    if (mine != NULL && got > 0 && mine->ssl == NULL) {
        int kept = errno;
        keep(mine, bytes, (size_t)got);
        errno = kept;
    }
    return got;
}

static void keep_ssl_error(struct attempt *mine) {
    unsigned long error = ERR_peek_error();
    if (error != 0)
        mine->ssl_error = error;
}

/* The end, which nats.c before 3.8 sees in a zero only: after an error it would read on for
 * ever.
 */
static int fail_read(struct attempt *mine, SSL *ssl, int got) {
    int error = SSL_get_error(ssl, got);
    keep_ssl_error(mine);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? got : 0;
}

typedef int (*ssl_read_fn)(SSL *, void *, int);

int SSL_read(SSL *ssl, void *bytes, int size) {
    BEHIND(ssl_read_fn, "SSL_read");
    int got = behind(ssl, bytes, size);
    struct attempt *mine = attempt;
    if (mine != NULL && got > 0)
        keep(mine, bytes, (size_t)got);
    else if (mine != NULL)
        got = fail_read(mine, ssl, got);
    return got;
}

typedef int (*ssl_write_fn)(SSL *, const void *, int);

/* What it fails with is only that the connection is gone. */
int SSL_write(SSL *ssl, const void *bytes, int size) {
    BEHIND(ssl_write_fn, "SSL_write");
    int sent = behind(ssl, bytes, size);
    if (attempt != NULL && sent <= 0 && SSL_get_error(ssl, sent) == SSL_ERROR_SYSCALL) {
        char said[1024];
        int kept = errno;
        SSL_read(ssl, said, sizeof(said));
        ERR_clear_error();
        errno = kept;
    }
    return sent;
}

/* ---- TLS ---- */

typedef int (*handshake_fn)(SSL *);

int SSL_do_handshake(SSL *ssl) {
    BEHIND(handshake_fn, "SSL_do_handshake");
    struct attempt *mine = attempt;
    if (mine == NULL)
        return behind(ssl);
    if (mine->ssl == NULL) {
        mine->ssl = ssl;
        mine->name_refused = !peer_expect_name(ssl, mine->tls_name);
        SSL_set_default_read_buffer_len(ssl, READ_BUFFER);
    }
    int done = mine->name_refused ? -1 : behind(ssl);
    mine->handshake_done = done == 1;
    if (done != 1) {
        mine->verify_result = SSL_get_verify_result(ssl);
        keep_ssl_error(mine);
    }
    return done;
}

/* ---- random bytes ---- */

int RAND_bytes(unsigned char *bytes, int count) {
    if (opening && count > 0 && getrandom(bytes, (size_t)count, 0) == count)
        return 1;
    return count < 0 ? 0 : RAND_bytes_ex(NULL, bytes, (size_t)count, 0);
}
