/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a broker: a worker thread prepares (binary, directory, leftovers of dead owners), the
 * loop thread forks, a timer looks for the ports file, a TCP connection proves that the server
 * accepts. SIGCHLD tells of its end; only this one process is ever waited for. At the very end
 * a worker removes the directory.
 *
 * uv_spawn() is not used because PR_SET_PDEATHSIG has to be set between fork and exec.
 */
#include "host/broker/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/broker/files.h"

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
    uv_signal_t sigchld;
    uv_tcp_t probe; /* the connection that proves that the server accepts */
    uv_connect_t probe_request;
    uv_work_t work;
    bool probing;   /* probe is open or closing */
    bool preparing; /* the worker thread has files, failure and text */
    bool started;   /* a start has succeeded; port and url are valid */
    bool closing;   /* the handles are being closed */
    int handles;    /* timer and sigchld while not closed */

    struct broker_files files; /* the worker's while preparing */
    bool jetstream;
    int port;
    char url[BROKER_URL_SIZE];

    pid_t pid;                   /* 0: none */
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
}

static void work_remove(uv_work_t *work) {
    struct broker *broker = work->data;
    broker_files_remove(&broker->files);
}

/* ---- messages ---- */

static void describe_exit(struct broker *broker, int wait_status) {
    if (WIFSIGNALED(wait_status))
        fail(broker, LN_ENOSERVER, "nats-server was killed by signal %d (%s)",
             WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    else
        fail(broker, LN_ENOSERVER, "nats-server exited with status %d",
             WEXITSTATUS(wait_status));
    broker_files_append_log(&broker->files, broker->log_start, broker->text);
}

/* ---- the process ---- */

#define ARGS_MAX 20

static void build_args(const struct broker *broker, char port[16], const char **args) {
    snprintf(port, 16, "%d", broker->port > 0 ? broker->port : -1);
    size_t n = 0;
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

/*
 * Everything above stderr is closed when the server starts: nats.c opens its sockets without
 * close-on-exec, and a connection that the server held twice would never be seen closed.
 */
static void hide_descriptors(void) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
        return;
#endif
    long max = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < (max > 0 && max < 65536 ? max : 65536); fd++)
        close(fd);
}

/* The child between fork and exec: async-signal-safe calls only. */
_Noreturn static void become_server(const char *const *args, pid_t owner, int log) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != owner)
        _exit(127); /* it died before it could take us along */
    setsid();
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* fails for some, which have no handler anyway */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    hide_descriptors();
    union {
        const char *const *in;
        char *const *out;
    } argv = {.in = args}; /* execv() promises not to write */
    execv(args[0], argv.out);
    const char *reason = strerrordesc_np(errno);
    ssize_t n = write(STDERR_FILENO, reason, strlen(reason));
    (void)n;
    _exit(127);
}

/* Forks with all signals blocked, so that no handler of libuv runs in the child. */
static int fork_server(struct broker *broker, int log) {
    char port[16];
    const char *args[ARGS_MAX];
    build_args(broker, port, args);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t owner = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_server(args, owner, log);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return uv_translate_sys_error(error);
    broker->pid = pid;
    return LN_OK;
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
    if (busy)
        uv_ref((uv_handle_t *)&broker->sigchld);
    else
        uv_unref((uv_handle_t *)&broker->sigchld);
}

static void settle(struct broker *broker, enum broker_state state) {
    broker->state = state;
    uv_timer_stop(&broker->timer);
    set_busy(broker, false);
}

/* Frees a broker whose last handle is gone. */
static void free_if_closed(struct broker *broker) {
    if (broker->handles > 0 || broker->probing)
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

static void on_handle_closed(uv_handle_t *handle) {
    struct broker *broker = handle->data;
    broker->handles--;
    free_if_closed(broker);
}

static void close_handles(struct broker *broker) {
    broker->closing = true;
    uv_close((uv_handle_t *)&broker->timer, on_handle_closed);
    uv_close((uv_handle_t *)&broker->sigchld, on_handle_closed);
}

static void after_remove(uv_work_t *work, int status) {
    (void)status;
    close_handles(work->data);
}

/* Ends a broker that has neither a process nor work under way. */
static void finish(struct broker *broker) {
    if (!broker->files.temporary ||
        uv_queue_work(broker->loop, &broker->work, work_remove, after_remove) < 0)
        close_handles(broker);
}

static void on_timer(uv_timer_t *timer);

/* Starts the process. The outcome goes to on_ready. */
static void launch(struct broker *broker) {
    broker->failure = LN_OK;
    int log = broker_files_open_log(&broker->files, &broker->log_start);
    int rc = log < 0 ? log : fork_server(broker, log);
    if (log >= 0)
        close(log);
    if (rc < 0) {
        fail(broker, rc, "cannot start %s: %s", broker->files.binary, status_text(rc));
        settle(broker, BROKER_DOWN);
        tell_ready(broker, rc, broker->text);
        return;
    }
    broker->state = BROKER_STARTING;
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
static void on_gone(struct broker *broker, int wait_status) {
    switch (broker->state) {
    case BROKER_STARTING:
        if (broker->failure == LN_OK)
            describe_exit(broker, wait_status);
        settle(broker, BROKER_DOWN);
        tell_ready(broker, broker->failure, broker->text);
        break;
    case BROKER_RUNNING:
        describe_exit(broker, wait_status);
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

/* Collects the process if it ended. */
static void reap(struct broker *broker) {
    int wait_status = 0;
    if (broker->pid == 0)
        return;
    pid_t rc = waitpid(broker->pid, &wait_status, WNOHANG);
    if (rc == 0 || (rc < 0 && errno == EINTR))
        return;
    broker_files_remove_ports(&broker->files, broker->pid); /* a killed one left it behind */
    broker->pid = 0;
    on_gone(broker, wait_status);
}

static void on_sigchld(uv_signal_t *handle, int number) {
    (void)number;
    reap(handle->data);
}

/* One look at a server that is starting. */
static void watch_start(struct broker *broker) {
    if (broker->failure != LN_OK)
        return; /* given up already; SIGCHLD will tell */
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
           copy_string(&broker->files.config_file, options->config_file);
}

/* Opens the handles; on failure those that are open are closed and the memory goes with them.
 */
static int open_handles(struct broker *broker) {
    uv_timer_init(broker->loop, &broker->timer); /* cannot fail */
    broker->timer.data = broker->sigchld.data = broker->work.data = broker;
    broker->handles = 1;
    int rc = uv_signal_init(broker->loop, &broker->sigchld);
    if (rc < 0) {
        uv_close((uv_handle_t *)&broker->timer, on_handle_closed);
        return rc;
    }
    broker->handles = 2;
    rc = uv_signal_start(&broker->sigchld, on_sigchld, SIGCHLD);
    if (rc < 0)
        close_handles(broker);
    return rc;
}

int broker_open(struct broker **out, uv_loop_t *loop, const struct broker_options *options,
                broker_ready_fn on_ready, broker_exit_fn on_exit, void *owner) {
    if (options->port < 0 || options->port > 65535 ||
        (options->config_text != NULL && options->config_file != NULL))
        return LN_EINVAL;
    struct broker *broker = calloc(1, sizeof(*broker));
    if (broker == NULL)
        return LN_ENOMEM;
    broker->loop = loop;
    broker->files.lock = -1;
    broker->on_ready = on_ready;
    broker->on_exit = on_exit;
    broker->ready_owner = broker->exit_owner = owner;
    if (!copy_options(broker, options)) {
        free_if_closed(broker);
        return LN_ENOMEM;
    }
    int rc = open_handles(broker);
    if (rc < 0)
        return rc;
    rc = uv_queue_work(loop, &broker->work, work_prepare, after_prepare);
    if (rc < 0) {
        close_handles(broker);
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
    else if (!broker->preparing)
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
    else if (before == BROKER_RUNNING || before == BROKER_STARTING)
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
