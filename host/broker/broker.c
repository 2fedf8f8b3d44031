/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a broker: a worker thread prepares (binary, directory, leftovers of dead owners), the
 * loop thread starts the process, a timer looks for the ports file, a TCP connection proves
 * that the server accepts. At the very end a worker removes the directory.
 */
#include "host/broker/broker.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/cloexec.h"
#include "host/broker/files.h"
#include "host/broker/port.h"

#define POLL_MS 2      /* between two looks for the ports file */
#define START_MS 15000 /* until a server without any sign is given up */
#define TERM_MS 2000   /* between SIGTERM and SIGKILL */

enum broker_state {
    BROKER_PREPARING, /* the worker thread is at work; no process */
    BROKER_STARTING,  /* the process runs, not ready yet */
    BROKER_RUNNING,
    BROKER_KILLING,    /* SIGKILL sent by broker_kill() */
    BROKER_RESTARTING, /* being ended by broker_restart() */
    BROKER_DOWN,       /* no process, none on its way */
    BROKER_STOPPING,   /* broker_stop() was called */
};

struct broker {
    enum broker_state state;
    uv_loop_t *loop;
    uv_timer_t timer; /* STARTING: looks for the ports file; ending: SIGKILL */
    uv_process_t process;
    uv_tcp_t probe; /* the connection that proves that the server accepts */
    uv_connect_t probe_request;
    uv_work_t work;
    bool spawned;   /* process is open or closing */
    bool probing;   /* probe is open or closing */
    bool preparing; /* the worker thread has files, failure and text */
    bool started;   /* a start has succeeded; port and url are valid */
    bool closing;   /* the timer, the last handle, is being closed */
    bool closed;    /* it is */

    struct broker_files files; /* the worker's while preparing */
    bool jetstream;
    int port;
    char url[BROKER_URL_SIZE];

    pid_t pid;                   /* 0: none */
    int64_t exit_status;         /* of the last one */
    int term_signal;             /* that killed it, or 0 */
    uint64_t give_up;            /* uv_now() at which a start has failed */
    off_t log_start;             /* size of the log before this start */
    int failure;                 /* status of the preparation, or why a start is being ended */
    char text[BROKER_TEXT_SIZE]; /* goes with failure */

    broker_ready_fn on_ready; /* NULL once called */
    void *ready_owner;
    broker_exit_fn on_exit;
    void *exit_owner;
    void (*on_killed)(void *owner);
    void *killed_owner;
    void (*on_stopped)(void *owner);
    void *stopped_owner;
};

__attribute__((format(printf, 3, 4))) static void fail(struct broker *broker, int status,
                                                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(broker->text, sizeof(broker->text), format, args);
    va_end(args);
    broker->failure = status;
}

static void work_prepare(uv_work_t *work) {
    struct broker *broker = work->data;
    broker->failure = broker_files_prepare(&broker->files, broker->text);
    if (broker->failure != LN_OK || broker->port == 0)
        return;
    int rc = broker_port_check(broker->port);
    if (rc == UV_EADDRINUSE)
        fail(broker, rc, "the port %d of 127.0.0.1 is in use: another server listens on it",
             broker->port);
    else if (rc < 0)
        fail(broker, rc, "cannot listen on port %d of 127.0.0.1: %s", broker->port,
             status_text(rc));
}

static void work_remove(uv_work_t *work) {
    struct broker *broker = work->data;
    broker_files_remove(&broker->files);
}

/* ---- messages ---- */

static void describe_exit(struct broker *broker) {
    if (broker->term_signal != 0)
        fail(broker, LN_ENOSERVER, "nats-server was killed by signal %d (%s)",
             broker->term_signal, strsignal(broker->term_signal));
    else if (broker->files.config_include != NULL && !broker->started)
        fail(broker, LN_ENOSERVER, "nats-server exited with status %d, configured by %s",
             (int)broker->exit_status, broker->files.config_include);
    else
        fail(broker, LN_ENOSERVER, "nats-server exited with status %d",
             (int)broker->exit_status);
    broker_files_append_log(&broker->files, broker->log_start, broker->text);
}

/* ---- the process ---- */

#define ARGS_MAX 24

/*
 * The kernel kills the server when its owner dies, however that happens. The shell makes sure
 * that the owner was still there when that was arranged; both give way to the server.
 */
static void build_args(const struct broker *broker, char owner[16], char port[16],
                       const char **args) {
    snprintf(owner, 16, "%ld", (long)getpid());
    snprintf(port, 16, "%d", broker->port > 0 ? broker->port : -1);
    size_t n = 0;
    args[n++] = "setpriv";
    args[n++] = "--pdeathsig";
    args[n++] = "KILL";
    args[n++] = "/bin/sh";
    args[n++] = "-c";
    args[n++] = "[ $PPID = $0 ] && exec \"$@\"";
    args[n++] = owner;
    args[n++] = broker->files.binary;
    args[n++] = "-a";
    args[n++] = "127.0.0.1";
    args[n++] = "-p";
    args[n++] = port;
    args[n++] = "--ports_file_dir";
    args[n++] = broker->files.dir;
    if (broker->jetstream) {
        args[n++] = "-js";
        args[n++] = "-sd";
        args[n++] = broker->files.dir;
    }
    if (broker->files.config_file != NULL) {
        args[n++] = "-c";
        args[n++] = broker->files.config_file;
    }
    args[n] = NULL;
}

static void on_process_exit(uv_process_t *process, int64_t exit_status, int term_signal);

static int spawn(struct broker *broker, int log) {
    char owner[16], port[16];
    const char *args[ARGS_MAX];
    build_args(broker, owner, port, args);
    union {
        const char **in;
        char **out;
    } argv = {.in = args}; /* libuv does not write */
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = log},
        {.flags = UV_INHERIT_FD, .data.fd = log},
    };
    uv_process_options_t options = {
        .file = args[0],
        .args = argv.out,
        .flags = UV_PROCESS_DETACHED, /* in a session of its own */
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_process_exit,
    };
    cloexec_all();
    broker->spawned = true; /* after a failure, too, it has to be closed */
    int rc = uv_spawn(broker->loop, &broker->process, &options);
    broker->process.data = broker;
    if (rc == LN_OK)
        broker->pid = broker->process.pid;
    return rc;
}

/* ---- readiness ---- */

static void tell_ready(struct broker *broker, int status, const char *text) {
    broker_ready_fn on_ready = broker->on_ready;
    broker->on_ready = NULL;
    if (on_ready != NULL)
        on_ready(broker->ready_owner, status, status == LN_OK ? broker->url : NULL, text);
}

/* A broker that is busy keeps the loop alive. */
static void set_busy(struct broker *broker, bool busy) {
    if (broker->spawned && busy)
        uv_ref((uv_handle_t *)&broker->process);
    else if (broker->spawned)
        uv_unref((uv_handle_t *)&broker->process);
}

static void settle(struct broker *broker, enum broker_state state) {
    broker->state = state;
    uv_timer_stop(&broker->timer);
    set_busy(broker, false);
}

/* Frees a broker whose last handle is gone. */
static void free_if_closed(struct broker *broker) {
    if (!broker->closed || broker->probing)
        return;
    void (*on_stopped)(void *owner) = broker->on_stopped;
    void *owner = broker->stopped_owner;
    broker_files_free(&broker->files);
    free(broker);
    if (on_stopped != NULL)
        on_stopped(owner);
}

static void on_probe_closed(uv_handle_t *handle) {
    struct broker *broker = handle->data;
    broker->probing = false;
    if (broker->closing)
        free_if_closed(broker);
}

static void on_probe(uv_connect_t *request, int status) {
    struct broker *broker = request->data;
    uv_close((uv_handle_t *)&broker->probe, on_probe_closed);
    if (status < 0 || broker->state != BROKER_STARTING)
        return;
    broker->started = true;
    settle(broker, BROKER_RUNNING);
    tell_ready(broker, LN_OK, "");
}

static void probe_port(struct broker *broker) {
    struct sockaddr_in address;
    if (broker->probing || uv_ip4_addr("127.0.0.1", broker->port, &address) < 0 ||
        uv_tcp_init(broker->loop, &broker->probe) < 0)
        return;
    broker->probing = true;
    broker->probe.data = broker;
    broker->probe_request.data = broker;
    if (uv_tcp_connect(&broker->probe_request, &broker->probe,
                       (const struct sockaddr *)&address, on_probe) < 0)
        uv_close((uv_handle_t *)&broker->probe, on_probe_closed);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct broker *broker = handle->data;
    broker->closed = true;
    free_if_closed(broker);
}

static void close_timer(struct broker *broker) {
    broker->closing = true;
    uv_close((uv_handle_t *)&broker->timer, on_timer_closed);
}

static void after_remove(uv_work_t *work, int status) {
    (void)status;
    close_timer(work->data);
}

/* Ends a broker that has neither a process nor work under way. */
static void finish(struct broker *broker) {
    if (!broker->files.temporary ||
        uv_queue_work(broker->loop, &broker->work, work_remove, after_remove) < 0)
        close_timer(broker);
}

static void on_process_closed(uv_handle_t *handle);
static void on_gone(struct broker *broker);
static void on_timer(uv_timer_t *timer);

/* Starts the process. The outcome goes to on_ready. */
static void launch(struct broker *broker) {
    broker->failure = LN_OK;
    int log = broker_files_open_log(&broker->files, &broker->log_start);
    int rc = log < 0 ? log : spawn(broker, log);
    if (log >= 0)
        close(log);
    broker->state = BROKER_STARTING;
    if (rc < 0) {
        fail(broker, rc, "cannot start %s%s: %s", log < 0 ? "" : "setpriv for ",
             broker->files.binary, status_text(rc));
        if (broker->spawned)
            uv_close((uv_handle_t *)&broker->process, on_process_closed);
        else
            on_gone(broker);
        return;
    }
    broker->give_up = uv_now(broker->loop) + START_MS;
    uv_timer_start(&broker->timer, on_timer, POLL_MS, POLL_MS);
}

static void tell_killed(struct broker *broker) {
    void (*on_killed)(void *owner) = broker->on_killed;
    broker->on_killed = NULL;
    if (on_killed != NULL)
        on_killed(broker->killed_owner);
}

/* The process is gone: what that means depends on what was going on. */
static void on_gone(struct broker *broker) {
    switch (broker->state) {
    case BROKER_STARTING:
        if (broker->failure == LN_OK)
            describe_exit(broker);
        settle(broker, BROKER_DOWN);
        tell_ready(broker, broker->failure, broker->text);
        break;
    case BROKER_RUNNING:
        describe_exit(broker);
        settle(broker, BROKER_DOWN);
        if (broker->on_exit != NULL)
            broker->on_exit(broker->exit_owner, broker->failure, broker->text);
        break;
    case BROKER_KILLING:
        settle(broker, BROKER_DOWN);
        tell_ready(broker, LN_ECANCELLED, "the server was killed while it started");
        tell_killed(broker);
        break;
    case BROKER_RESTARTING:
        uv_timer_start(&broker->timer, on_timer, 0, 0);
        tell_killed(broker);
        break;
    case BROKER_STOPPING:
        finish(broker);
        break;
    case BROKER_PREPARING:
    case BROKER_DOWN:
        break; /* there was no process */
    }
}

static void on_process_closed(uv_handle_t *handle) {
    struct broker *broker = handle->data;
    broker->spawned = false;
    on_gone(broker);
}

static void on_process_exit(uv_process_t *process, int64_t exit_status, int term_signal) {
    struct broker *broker = process->data;
    broker_files_remove_ports(&broker->files, broker->pid); /* a killed one left it behind */
    broker->pid = 0;
    broker->exit_status = exit_status;
    broker->term_signal = term_signal;
    uv_close((uv_handle_t *)process, on_process_closed);
}

/* One look at a server that is starting. */
static void watch_start(struct broker *broker) {
    if (broker->failure != LN_OK || broker->pid == 0)
        return; /* given up already, or gone */
    if (broker_files_read_ports(&broker->files, broker->pid, broker->url, &broker->port)) {
        probe_port(broker);
    } else if (uv_now(broker->loop) >= broker->give_up) {
        fail(broker, LN_ETIMEOUT, "nats-server did not get ready within %d s", START_MS / 1000);
        broker_files_append_log(&broker->files, broker->log_start, broker->text);
        kill(broker->pid, SIGKILL);
    }
}

static void on_timer(uv_timer_t *timer) {
    struct broker *broker = timer->data;
    if (broker->state == BROKER_STARTING)
        watch_start(broker);
    else if (broker->pid != 0)
        kill(broker->pid, SIGKILL); /* SIGTERM was not enough */
    else if (broker->state == BROKER_RESTARTING)
        launch(broker);
}

static void after_prepare(uv_work_t *work, int status) {
    struct broker *broker = work->data;
    (void)status;
    broker->preparing = false;
    if (broker->state == BROKER_STOPPING) {
        finish(broker);
    } else if (broker->failure != LN_OK) {
        settle(broker, BROKER_DOWN);
        tell_ready(broker, broker->failure, broker->text);
    } else {
        launch(broker);
    }
}

/* ---- public ---- */

static bool copy_string(char **to, const char *from) {
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool copy_options(struct broker *broker, const struct broker_options *options) {
    const char *binary = options->binary;
    if (binary == NULL || binary[0] == '\0')
        binary = getenv("NATS_SERVER");
    if (binary == NULL || binary[0] == '\0')
        binary = "nats-server";
    broker->port = options->port;
    broker->jetstream = !options->no_jetstream;
    return copy_string(&broker->files.binary, binary) &&
           copy_string(&broker->files.dir, options->dir) &&
           copy_string(&broker->files.config_text, options->config_text) &&
           copy_string(&broker->files.config_include, options->config_include) &&
           copy_string(&broker->files.config_file, options->config_file);
}

int broker_open(struct broker **out, uv_loop_t *loop, const struct broker_options *options,
                broker_ready_fn on_ready, broker_exit_fn on_exit, void *owner) {
    if (options->port < 0 || options->port > 65535 ||
        (options->config_text != NULL) + (options->config_file != NULL) +
                (options->config_include != NULL) >
            1)
        return LN_EINVAL;
    struct broker *broker = calloc(1, sizeof(*broker));
    if (broker == NULL)
        return LN_ENOMEM;
    broker->loop = loop;
    broker->files.lock = -1;
    broker->on_ready = on_ready;
    broker->on_exit = on_exit;
    broker->ready_owner = broker->exit_owner = owner;
    uv_timer_init(loop, &broker->timer); /* cannot fail */
    broker->timer.data = broker->work.data = broker;
    int rc = LN_ENOMEM;
    if (copy_options(broker, options))
        rc = uv_queue_work(loop, &broker->work, work_prepare, after_prepare);
    if (rc < 0) {
        close_timer(broker);
        return rc;
    }
    broker->preparing = true;
    *out = broker;
    return LN_OK;
}

const char *broker_url(const struct broker *broker) {
    return broker->started ? broker->url : NULL;
}

int broker_port(const struct broker *broker) {
    return broker->started ? broker->port : 0;
}

const char *broker_dir(const struct broker *broker) {
    return broker->preparing ? NULL : broker->files.dir;
}

pid_t broker_pid(const struct broker *broker) {
    return broker->pid;
}

/* Asks the process to end; the timer insists. SIGCONT, because a paused one would not hear. */
static void terminate(struct broker *broker) {
    kill(broker->pid, SIGTERM);
    kill(broker->pid, SIGCONT);
    uv_timer_start(&broker->timer, on_timer, TERM_MS, 0);
}

void broker_stop(struct broker *broker, void (*on_stopped)(void *owner), void *owner) {
    broker->on_stopped = on_stopped;
    broker->stopped_owner = owner;
    broker->on_ready = NULL;
    broker->on_exit = NULL;
    broker->on_killed = NULL;
    broker->state = BROKER_STOPPING;
    set_busy(broker, true);
    uv_timer_stop(&broker->timer);
    if (broker->pid != 0)
        terminate(broker);
    else if (!broker->preparing && !broker->spawned)
        finish(broker);
}

int broker_kill(struct broker *broker, void (*on_killed)(void *owner), void *owner) {
    if (broker->pid == 0 || broker->state == BROKER_KILLING)
        return LN_ECLOSED;
    broker->on_killed = on_killed;
    broker->killed_owner = owner;
    broker->state = BROKER_KILLING;
    set_busy(broker, true);
    uv_timer_stop(&broker->timer);
    kill(broker->pid, SIGKILL);
    return LN_OK;
}

int broker_restart(struct broker *broker, broker_ready_fn on_ready, void *owner) {
    if (!broker->started)
        return LN_EINVAL;
    broker->on_ready = on_ready;
    broker->ready_owner = owner;
    enum broker_state before = broker->state;
    broker->state = BROKER_RESTARTING;
    set_busy(broker, true);
    if (before == BROKER_DOWN)
        uv_timer_start(&broker->timer, on_timer, 0, 0);
    else if (broker->pid != 0 && before != BROKER_KILLING)
        terminate(broker);
    return LN_OK;
}

static int send_signal(const struct broker *broker, int number) {
    if (broker->pid == 0)
        return LN_ECLOSED;
    kill(broker->pid, number);
    return LN_OK;
}

int broker_pause(struct broker *broker) {
    int rc = send_signal(broker, SIGSTOP);
    siginfo_t info;
    /* Its threads go on for some microseconds, in which it would still answer. */
    if (rc == LN_OK)
        waitid(P_PID, (id_t)broker->pid, &info, WSTOPPED | WEXITED | WNOWAIT);
    return rc;
}

int broker_resume(struct broker *broker) {
    return send_signal(broker, SIGCONT);
}
