/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private nats-server as a child process, for `dev`, `test` and the demo.
 *
 * It listens on a port of 127.0.0.1, keeps everything in one directory, and dies with its owner
 * however the owner dies. It sits in a session of its own, so that Ctrl-C in the terminal
 * reaches the services, which still need it to drain, and not the server.
 *
 * All functions belong to the loop thread, which must be the main thread of the process: the
 * kernel kills the server when the *thread* that started it ends. Nothing here blocks.
 * Callbacks come from the loop, never from inside a call of the owner. While starting and
 * stopping a broker keeps its loop alive, a running one does not.
 */
#ifndef LUNATS_BROKER_H
#define LUNATS_BROKER_H

#include <stdbool.h>

#include <sys/types.h>
#include <uv.h>

#include "host/base/status.h"

struct broker;

/* What to start. All zero is a good default. Strings are copied by broker_open(). */
struct broker_options {
    const char *binary; /* name or path; default $NATS_SERVER, else nats-server, looked up in
                         * $PATH, /usr/local/bin, /usr/sbin */
    const char *dir;    /* kept, and made if missing; NULL: a temporary one, removed at the end.
                         * One broker at a time has it */
    int port;           /* 0: any free one */
    /* Without a configuration the server asks for a random password, which only the file that
     * it is given and broker_url() have; with one it asks for what that says. */
    const char *config_text; /* contents of a configuration file, or NULL */
    const char *config_file; /* path of a configuration file, or NULL; not both */
    /* Path of a configuration file that comes on top of ours, or NULL; without those above. The
     * password is ours, unless the file has users of its own. */
    const char *config_include;
    bool no_jetstream; /* JetStream is on by default */
};

/*
 * The server is up (LN_OK, with its URL) or could not be started (text says why, with the last
 * lines of its log; url is NULL). UV_ENOENT: no nats-server on this machine. UV_EADDRINUSE:
 * something listens on the port. UV_EBUSY: another broker has the directory. LN_ETIMEOUT: no
 * sign of it for 15 s. LN_ENOSERVER: it gave up. Strings are borrowed for the call.
 */
typedef void (*broker_ready_fn)(void *owner, int status, const char *url, const char *text);

/* The running server ended by itself; text says how, with the last lines of its log. */
typedef void (*broker_exit_fn)(void *owner, int status, const char *text);

/*
 * Starts a server. on_ready follows once, about 10-50 ms later; after that on_exit, at most
 * once per start and only if the server ended without having been asked. Both may be NULL. On
 * success *out is the caller's, who must hand it to broker_stop(), also after a failed start.
 * Returns LN_OK, LN_EINVAL (options), LN_ENOMEM, or libuv's code.
 */
int broker_open(struct broker **out, uv_loop_t *loop, const struct broker_options *options,
                broker_ready_fn on_ready, broker_exit_fn on_exit, void *owner);

/* nats://USER:PASSWORD@127.0.0.1:PORT; NULL before the first start succeeded. Borrowed until
 * broker_stop(). */
const char *broker_url(const struct broker *broker);

/* The port; 0 before the first start succeeded. */
int broker_port(const struct broker *broker);

/* The directory with nats-server.log and the store; NULL until it exists. Borrowed as above. */
const char *broker_dir(const struct broker *broker);

/* The process id of the server; 0 when there is none. */
pid_t broker_pid(const struct broker *broker);

/*
 * Ends the server (SIGTERM, SIGKILL after 2 s), removes the temporary directory, then calls
 * on_stopped(owner), which may be NULL; the memory is gone by then. Works in any state. No
 * other event is delivered once this was called.
 */
void broker_stop(struct broker *broker, void (*on_stopped)(void *owner), void *owner);

/*
 * Kills the server with SIGKILL and keeps directory and port for broker_restart();
 * on_killed(owner) follows when it is gone and may be NULL. on_exit is not called. While
 * starting: the pending on_ready gets LN_ECANCELLED. Returns LN_OK, or LN_ECLOSED when no
 * server runs.
 */
int broker_kill(struct broker *broker, void (*on_killed)(void *owner), void *owner);

/*
 * Starts the server again on the same port and directory, ending it first if it runs.
 * `on_ready` is called with `owner` and follows the rules of the one of broker_open(); it
 * replaces a pending one. Returns LN_OK, or LN_EINVAL when the first start has not succeeded.
 */
int broker_restart(struct broker *broker, broker_ready_fn on_ready, void *owner);

/* Stops and continues the process (SIGSTOP, SIGCONT): a server that hangs. Returns LN_OK, when
 * it stands still, or LN_ECLOSED. */
int broker_pause(struct broker *broker);
int broker_resume(struct broker *broker);

#endif
