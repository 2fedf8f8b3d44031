/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dial/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nats/nats.h>
#include <openssl/crypto.h>

#include "host/base/container_of.h"
#include "host/base/status.h"
#include "host/base/strings.h"
#include "host/dial/explain.h"
#include "host/dial/info.h"
#include "host/dial/interpose.h"
#include "host/dial/keys.h"

#define GRACE_MS 300     /* beyond the timeout, which nats.c sees to, mostly */
#define RESOLVE_MS 15000 /* the resolver of libc asks one name server for 5 s, twice */
#define EARLY_MS 2       /* nats.c counts whole milliseconds */
#define URL_SIZE 128
#define UNLUCKY_MAX 3
#define CLOSE_MS 1000
#define STUCK_MS 3000 /* after the socket was shut down */

struct dial {
    /* Of the loop. */
    uv_async_t async;
    uv_thread_t thread;
    struct clock *clock;
    struct clock_timer limit;
    void (*on_done)(void *owner, struct dial_result *result);
    void *owner;
    /* Of the thread, until it is done. */
    struct dial_target target;
    struct keys keys;
    struct attempt attempt;
    bool unlucky; /* see sign() */
    struct dial_result result;
    /* Of both. */
    atomic_uint refs; /* the handle and the thread */
    /* Of both, under the mutex. */
    uv_mutex_t mutex;
    bool abandoned, done, hung_up;
    int socket;     /* a copy, to hang up; -1: none */
    uint64_t since; /* uv_hrtime() of the present step */
    struct strings strings;
};

/* Threads that nobody waits for, and those of them and the others that may be inside of nats.c
 * or of OpenSSL, which the end of the process takes down: all that are not asking for a name.
 */
static atomic_uint left_behind, in_library;

unsigned dial_left_behind(void) {
    return atomic_load(&left_behind);
}

const char *dial_library_version(void) {
    return nats_GetVersion();
}

bool dial_close_library(void) {
    for (int i = 0; i < CLOSE_MS && atomic_load(&in_library) > 0; i++)
        usleep(1000); /* their sockets are shut down */
    if (atomic_load(&in_library) > 0)
        return false;
    nats_CloseAndWait(CLOSE_MS);
    return true;
}

void dial_strings(struct dial_target *target, const char **fields[DIAL_STRINGS]) {
    struct dial_target *t = target;
    const char **all[DIAL_STRINGS] = {&t->host,     &t->port,  &t->tls_name, &t->ca,
                                      &t->cert,     &t->key,   &t->name,     &t->user,
                                      &t->password, &t->token, &t->creds,    &t->nkey};
    memcpy(fields, all, sizeof(all));
}

static struct dial *dial_new(const struct dial_target *target) {
    struct dial *dial = calloc(1, sizeof(*dial));
    const char **fields[DIAL_STRINGS];
    if (dial == NULL)
        return NULL;
    dial->target = *target;
    dial->socket = dial->result.fd = -1;
    dial_strings(&dial->target, fields);
    if (strings_copy(&dial->strings, fields, DIAL_STRINGS))
        return dial;
    free(dial);
    return NULL;
}

static void drop_result(struct dial_result *result) {
    if (result->fd >= 0)
        close(result->fd);
    SSL_free(result->ssl);
    free(result->info);
}

static void release(struct dial *dial) {
    if (atomic_fetch_sub(&dial->refs, 1) > 1)
        return;
    drop_result(&dial->result); /* if nobody has taken it */
    if (dial->socket >= 0)
        close(dial->socket);
    uv_mutex_destroy(&dial->mutex);
    strings_free(&dial->strings);
    free(dial);
}

/* ---- what the thread tells while it is busy ---- */

static void note_step(struct dial *dial, int fd) {
    uv_mutex_lock(&dial->mutex);
    if (dial->socket >= 0)
        close(dial->socket);
    dial->socket = fd;
    dial->since = uv_hrtime();
    if (dial->abandoned && fd >= 0)
        shutdown(fd, SHUT_RDWR);
    uv_mutex_unlock(&dial->mutex);
}

static void on_socket(void *owner, int fd) {
    fcntl(fd, F_SETFD, FD_CLOEXEC); /* no business of child processes */
    note_step(owner, fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/* ---- the hand-over ---- */

static bool wants_tls(const struct dial_target *target) {
    return target->tls || target->tls_first || target->ca != NULL || target->cert != NULL;
}

/* What nats.c has set up for itself, and what it would do with the connection. */
static void adopt_ssl(SSL *ssl, int fd) {
    SSL_up_ref(ssl);
    SSL_set_ex_data(ssl, 0, NULL);
    BIO_set_fd(SSL_get_rbio(ssl), fd, BIO_NOCLOSE); /* also the one for writing */
    SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_read_ahead(ssl, 1);
}

static int copy_socket(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    /* nats.c asks for a reset instead of an orderly end. */
    struct linger linger = {0};
    if (copy >= 0) {
        setsockopt(copy, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) | O_NONBLOCK);
    }
    return copy;
}

static natsStatus attach(void **data, void *loop, natsConnection *nats, natsSock fd) {
    struct dial *dial = loop;
    struct dial_result *result = &dial->result;
    SSL *ssl = dial->attempt.ssl;
    size_t len = 0;
    const char *info = attempt_info(&dial->attempt, &len);
    struct info told = {0};
    (void)data, (void)nats;
    bool tls = wants_tls(&dial->target) ||
               (info != NULL && info_read(info, len, &told) && told.tls_required);
    if (tls && ssl == NULL) {
        snprintf(result->text, sizeof(result->text),
                 "TLS is wanted, but this libnats has an OpenSSL of its own");
        return NATS_ERR;
    }
    int copy = info != NULL ? copy_socket((int)fd) : -1;
    if (copy < 0) {
        if (info != NULL)
            snprintf(result->text, sizeof(result->text), "cannot keep the connection: %s",
                     strerror(errno));
        return NATS_ERR;
    }
    result->info = strndup(info, len);
    if (result->info == NULL) {
        close(copy);
        return NATS_ERR;
    }
    result->fd = copy;
    if (ssl != NULL)
        adopt_ssl(ssl, result->fd);
    result->ssl = ssl;
    result->info_len = len;
    return NATS_ERR; /* and so it lets go of the connection */
}

static natsStatus on_event(void *data, bool add) {
    (void)data, (void)add;
    return NATS_OK;
}

static natsStatus on_detach(void *data) {
    (void)data;
    return NATS_OK;
}

/* ---- options of nats.c ---- */

static natsStatus give_jwt(char **jwt, char **error, void *closure) {
    struct dial *dial = closure;
    (void)error;
    *jwt = strdup(dial->keys.jwt);
    return *jwt != NULL ? NATS_OK : NATS_NO_MEMORY;
}

/*
 * nats.c before 3.8 forgets to send a signature that begins with a zero byte, one of 256
 * (https://github.com/nats-io/nats.c/pull/705), and is refused: then it is tried again, as the
 * server's next nonce gets another signature.
 */
static natsStatus sign(char **error, unsigned char **signature, int *len, const char *nonce,
                       void *closure) {
    struct dial *dial = closure;
    (void)error;
    *signature = malloc(NKEY_SIGNATURE_SIZE);
    *len = NKEY_SIGNATURE_SIZE;
    if (*signature == NULL ||
        nkey_sign(dial->keys.seed, nonce != NULL ? nonce : "", *signature) != LN_OK) {
        free(*signature);
        return NATS_ERR;
    }
    dial->unlucky = **signature == 0 && nats_GetVersionNumber() < 0x030800;
    return NATS_OK;
}

/* nats.c puts texts into the JSON of its CONNECT as they are. */
static natsStatus set_text(natsOptions *to, const char *text,
                           natsStatus (*set)(natsOptions *, const char *)) {
    char *escaped = malloc(strlen(text) * 6 + 1);
    if (escaped == NULL)
        return NATS_NO_MEMORY;
    json_escape(text, escaped);
    natsStatus s = set(to, escaped);
    OPENSSL_cleanse(escaped, strlen(escaped));
    free(escaped);
    return s;
}

static natsStatus set_user(natsOptions *to, const char *user, const char *password) {
    char *both = malloc((strlen(user) + strlen(password)) * 6 + 2);
    if (both == NULL)
        return NATS_NO_MEMORY;
    json_escape(user, both);
    char *second = both + strlen(both) + 1;
    json_escape(password, second);
    natsStatus s = natsOptions_SetUserInfo(to, both, second);
    OPENSSL_cleanse(both, strlen(both) + strlen(second));
    free(both);
    return s;
}

static natsStatus set_identity(natsOptions *to, struct dial *dial) {
    const struct dial_target *from = &dial->target;
    natsStatus s = from->name != NULL ? set_text(to, from->name, natsOptions_SetName) : NATS_OK;
    if (s == NATS_OK && from->user != NULL)
        s = set_user(to, from->user, from->password != NULL ? from->password : "");
    if (s == NATS_OK && from->token != NULL)
        s = set_text(to, from->token, natsOptions_SetToken);
    if (s == NATS_OK && from->creds != NULL)
        s = natsOptions_SetUserCredentialsCallbacks(to, give_jwt, dial, sign, dial);
    else if (s == NATS_OK && from->nkey != NULL)
        s = natsOptions_SetNKey(to, dial->keys.public, sign, dial);
    return s;
}

/* Since nats.c 3.9. */
extern natsStatus natsOptions_TLSHandshakeFirst(natsOptions *) __attribute__((weak));

static natsStatus set_tls(natsOptions *to, const struct dial_target *from) {
    natsStatus s = wants_tls(from) ? natsOptions_SetSecure(to, true) : NATS_OK;
    if (s == NATS_OK && from->tls_first)
        s = natsOptions_TLSHandshakeFirst(to);
    if (s == NATS_OK && from->ca != NULL)
        s = natsOptions_LoadCATrustedCertificates(to, from->ca);
    if (s == NATS_OK && from->cert != NULL)
        s = natsOptions_LoadCertificatesChain(to, from->cert, from->key);
    return s;
}

static natsStatus set_options(natsOptions *to, struct dial *dial, const char *url) {
    natsStatus s = natsOptions_SetURL(to, url);
    if (s == NATS_OK)
        s = natsOptions_SetNoRandomize(to, true);
    if (s == NATS_OK)
        s = natsOptions_SetIgnoreDiscoveredServers(to, true);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(to, false);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(to, 0); /* no timer */
    if (s == NATS_OK)
        s = natsOptions_SetSendAsap(to, true); /* no flusher thread */
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(to, dial->target.timeout_ms);
    if (s == NATS_OK)
        s = natsOptions_SetEventLoop(to, dial, attach, on_event, on_event, on_detach);
    if (s == NATS_OK)
        s = set_identity(to, dial);
    return s == NATS_OK ? set_tls(to, &dial->target) : s;
}

/* ---- connecting ---- */

static void connect_once(struct dial *dial, const char *url) {
    natsOptions *options = NULL;
    natsConnection *nats = NULL;
    natsStatus s = natsOptions_Create(&options);
    free(dial->attempt.heard);
    dial->attempt = (struct attempt){
        .timeout_ms = (int)dial->target.timeout_ms,
        .tls_name = dial->target.tls_name,
        .on_socket = on_socket,
        .owner = dial,
    };
    dial->result = (struct dial_result){.fd = -1};
    dial->unlucky = false;
    if (s == NATS_OK)
        s = set_options(options, dial, url);
    uint64_t began = uv_hrtime();
    interpose_begin(&dial->attempt);
    if (s == NATS_OK)
        natsConnection_Connect(&nats, options); /* never succeeds: see attach() */
    interpose_end();
    if (dial->result.fd < 0) {
        uv_mutex_lock(&dial->mutex);
        bool late = dial->hung_up;
        dial->hung_up = false;
        uv_mutex_unlock(&dial->mutex);
        uint64_t took_ms = (uv_hrtime() - began) / 1000000;
        late = late || took_ms + EARLY_MS >= dial->target.timeout_ms;
        attempt_explain(&dial->attempt, wants_tls(&dial->target), late, &dial->result);
    }
    natsOptions_Destroy(options);
}

static bool give_up(struct dial *dial) {
    uv_mutex_lock(&dial->mutex);
    bool abandoned = dial->abandoned;
    uv_mutex_unlock(&dial->mutex);
    return abandoned || dial->result.fd >= 0;
}

/* Keeps the failure of the address that got furthest. */
static void try_address(struct dial *dial, const struct addrinfo *address,
                        struct dial_result *best) {
    char host[URL_SIZE / 2], url[URL_SIZE];
    bool six = address->ai_family == AF_INET6;
    if (getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST) != 0)
        return;
    snprintf(url, sizeof(url), "nats://%s%s%s:%s", six ? "[" : "", host, six ? "]" : "",
             dial->target.port);
    for (int tries = 0; tries < UNLUCKY_MAX && !give_up(dial); tries++) {
        connect_once(dial, url);
        if (!dial->unlucky)
            break;
    }
    nats_ReleaseThreadMemory();
    if (best->status == LN_OK || dial->attempt.connected)
        *best = dial->result;
}

/* May take long, and needs nothing of the library: the end of the process does not wait for it.
 */
static int resolve(struct dial *dial, struct addrinfo **out) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct dial_result *result = &dial->result;
    note_step(dial, -1);
    atomic_fetch_sub(&in_library, 1);
    int rc = getaddrinfo(dial->target.host, dial->target.port, &hints, out);
    atomic_fetch_add(&in_library, 1);
    if (rc == 0)
        return LN_OK;
    result->status = LN_ENOSERVER;
    snprintf(result->text, sizeof(result->text), "cannot resolve %s: %s", dial->target.host,
             rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    return LN_ENOSERVER;
}

/* Reads them anew each time, as they may have been renewed. */
static int read_keys(struct dial *dial) {
    const struct dial_target *t = &dial->target;
    struct dial_result *result = &dial->result;
    const char *path = t->creds != NULL ? t->creds : t->nkey;
    int rc = LN_OK;
    if (t->tls_first && natsOptions_TLSHandshakeFirst == NULL) {
        snprintf(result->text, sizeof(result->text), "--tls-first needs nats.c 3.9, this is %s",
                 nats_GetVersion());
        rc = LN_EINVAL;
    }
    if (rc == LN_OK && path != NULL)
        rc = keys_read(&dial->keys, path, t->creds != NULL, result->text, sizeof(result->text));
    if (rc == LN_OK && wants_tls(t))
        rc = keys_check_pem(t->ca, t->cert, t->key, result->text, sizeof(result->text));
    result->status = rc;
    return rc;
}

static void connect_all(struct dial *dial) {
    struct addrinfo *all = NULL;
    struct dial_result best = {.fd = -1};
    if (read_keys(dial) != LN_OK || resolve(dial, &all) != LN_OK)
        return;
    for (struct addrinfo *at = all; at != NULL && !give_up(dial); at = at->ai_next)
        try_address(dial, at, &best);
    freeaddrinfo(all);
    if (dial->result.fd < 0)
        dial->result = best;
}

static void run(void *arg) {
    struct dial *dial = arg;
    connect_all(dial);
    free(dial->attempt.heard);
    keys_forget(&dial->keys);
    uv_mutex_lock(&dial->mutex);
    dial->done = true;
    if (dial->abandoned)
        atomic_fetch_sub(&left_behind, 1);
    else
        uv_async_send(&dial->async);
    uv_mutex_unlock(&dial->mutex);
    release(dial);         /* may free a session of OpenSSL */
    OPENSSL_thread_stop(); /* else at the end of the thread, which nobody waits for */
    atomic_fetch_sub(&in_library, 1);
}

/* ---- the side of the loop ---- */

static void on_closed(uv_handle_t *handle) {
    release(container_of(handle, struct dial, async));
}

void dial_abandon(struct dial *dial) {
    uv_mutex_lock(&dial->mutex);
    bool done = dial->done;
    dial->abandoned = true;
    if (!done)
        atomic_fetch_add(&left_behind, 1);
    if (dial->socket >= 0)
        shutdown(dial->socket, SHUT_RDWR);
    uv_mutex_unlock(&dial->mutex);
    if (done)
        uv_thread_join(&dial->thread);
    else
        pthread_detach(dial->thread);
    clock_disarm(dial->clock, &dial->limit);
    uv_close((uv_handle_t *)&dial->async, on_closed);
}

static void on_async(uv_async_t *async) {
    struct dial *dial = container_of(async, struct dial, async);
    uv_mutex_lock(&dial->mutex);
    bool done = dial->done;
    uv_mutex_unlock(&dial->mutex);
    if (!done)
        return;
    uv_thread_join(&dial->thread);
    struct dial_result result = dial->result;
    dial->result = (struct dial_result){.fd = -1};
    clock_disarm(dial->clock, &dial->limit);
    uv_close((uv_handle_t *)async, on_closed);
    dial->on_done(dial->owner, &result);
}

/* The thread is left behind. */
static void fail_abandoned(struct dial *dial, const char *what, const char *why) {
    struct dial_result result = {.status = LN_ENOSERVER, .fd = -1};
    void (*on_done)(void *, struct dial_result *) = dial->on_done;
    void *owner = dial->owner;
    snprintf(result.text, sizeof(result.text), "%s %s: %s", what, dial->target.host, why);
    dial_abandon(dial);
    on_done(owner, &result);
}

/* nats.c should have ended by now; the socket's end is what always ends it. */
static void on_limit(struct clock_timer *timer) {
    struct dial *dial = container_of(timer, struct dial, limit);
    uv_mutex_lock(&dial->mutex);
    if (dial->done) { /* the socket may be that of a connection now: on_async() comes */
        uv_mutex_unlock(&dial->mutex);
        return;
    }
    bool resolving = dial->socket < 0;
    uint64_t took = (uv_hrtime() - dial->since) / 1000000;
    uint64_t limit = resolving ? RESOLVE_MS : dial->target.timeout_ms + GRACE_MS;
    if (!resolving && took >= limit) {
        shutdown(dial->socket, SHUT_RDWR);
        dial->hung_up = true;
    }
    uv_mutex_unlock(&dial->mutex);
    if (resolving && took >= limit)
        fail_abandoned(dial, "cannot resolve", "no answer within 15 s");
    else if (took >= limit + STUCK_MS)
        fail_abandoned(dial, "cannot connect to", "nats.c does not end the attempt");
    else
        clock_arm(dial->clock, timer, took < limit ? limit - took : GRACE_MS);
}

int dial_start(struct dial **out, uv_loop_t *loop, struct clock *clock,
               const struct dial_target *target,
               void (*on_done)(void *owner, struct dial_result *result), void *owner) {
    interpose_open_nats();
    struct dial *dial = dial_new(target);
    if (dial == NULL)
        return LN_ENOMEM;
    dial->clock = clock;
    dial->refs = 2;
    dial->on_done = on_done;
    dial->owner = owner;
    dial->limit.fire = on_limit;
    dial->since = uv_hrtime();
    int rc = uv_mutex_init(&dial->mutex);
    if (rc < 0) {
        strings_free(&dial->strings);
        free(dial);
        return rc;
    }
    rc = uv_async_init(loop, &dial->async, on_async);
    if (rc < 0) {
        dial->refs = 1;
        release(dial);
        return rc;
    }
    atomic_fetch_add(&in_library, 1); /* until the end of run() */
    rc = uv_thread_create(&dial->thread, run, dial);
    if (rc < 0) {
        atomic_fetch_sub(&in_library, 1);
        dial->refs = 1;
        uv_close((uv_handle_t *)&dial->async, on_closed);
        return rc;
    }
    clock_arm(clock, &dial->limit, target->timeout_ms + GRACE_MS);
    *out = dial;
    return LN_OK;
}
