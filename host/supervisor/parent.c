/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/parent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/log.h"
#include "host/base/output.h"
#include "host/base/status.h"
#include "host/base/stop_signal.h"
#include "host/service/service.h"
#include "host/supervisor/internal.h"
#include "host/supervisor/spawn.h"

#define PRINT_MS 10    /* between two looks at a reader that was too slow */
#define READER_MS 1000 /* without a sign of a reader, at the end: nobody reads any more */

/* ---- signals ---- */

/* Of all workers, for the handler: 0: none. */
static volatile pid_t pids[OPTIONS_WORKERS_MAX];

static void on_second_signal(int signum) {
    (void)signum;
    for (size_t i = 0; i < OPTIONS_WORKERS_MAX; i++)
        if (pids[i] != 0)
            kill(pids[i], SIGKILL);
}

/* Writing to a worker that is gone is an error. A handler, unlike SIG_IGN, ends with exec(). */
static void on_pipe(int signum) {
    (void)signum;
}

static void stop(struct parent *parent, int status) {
    herald_stopping(parent->herald, (uint64_t)(parent->options->drain_timeout * 1000));
    if (parent->http >= 0) { /* from now on connections are refused */
        address_unlink(&parent->http_address);
        close(parent->http);
        parent->http = -1;
    }
    supervisor_stop(parent->supervisor, status);
}

static void on_interrupt(uv_async_t *handle) {
    log_info(NULL, "%s: stopping all workers (once more to end at once)",
             stop_signal_text(stop_signal_last()));
    stop(handle->data, EXIT_OK);
}

static void on_hangup(uv_signal_t *handle, int signum) {
    (void)signum;
    struct parent *parent = handle->data;
    log_info(NULL, "hang-up: reloading the workers, one after the other");
    if (herald_phase(parent->herald) == HERALD_RELOADING)
        herald_reloading(parent->herald); /* that of this question, too */
    supervisor_reload(parent->supervisor);
}

static void describe(struct parent *parent, unsigned number) {
    const struct supervisor_worker *worker = supervisor_worker(parent->supervisor, number);
    const struct log_field fields[] = {
        {.key = "worker", .type = LOG_TYPE_INT, .value.integer = number},
        {.key = "pid",
         .type = LOG_TYPE_INT,
         .value.integer = parent_process(parent, number)->pid},
        log_text("state", worker_state_name(worker->state)),
        {.key = "restarts", .type = LOG_TYPE_INT, .value.integer = worker->restarts},
        log_text("last_end", worker->ended),
    };
    log_write(LOG_LEVEL_INFO, NULL, "a worker", fields,
              sizeof(fields) / sizeof(fields[0]) - (worker->ended[0] == '\0'));
}

static void on_inquiry(uv_signal_t *handle, int signum) {
    struct parent *parent = handle->data;
    for (unsigned i = 1; i <= supervisor_count(parent->supervisor); i++) {
        pid_t pid = parent_process(parent, i)->pid;
        describe(parent, i);
        if (pid != 0)
            kill(pid, signum);
    }
}

/* ---- workers ---- */

static void on_gone(struct parent *parent, unsigned number, int status) {
    struct process *process = parent_process(parent, number);
    struct worker_end end = {WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                             WIFSIGNALED(status) ? WTERMSIG(status) : 0};
    struct channel *channel = process->channel;
    process->pid = pids[number - 1] = 0;
    process->channel = NULL;
    parent_keep_metrics(parent, process);
    supervisor_ended(parent->supervisor, number, end);
    if (channel != NULL)
        channel_close(channel); /* nobody answers any more */
}

static void on_child(uv_signal_t *handle, int signum) {
    (void)signum;
    struct parent *parent = handle->data;
    for (unsigned i = 1; i <= supervisor_count(parent->supervisor); i++) {
        int status;
        pid_t pid = parent_process(parent, i)->pid;
        if (pid != 0 && waitpid(pid, &status, WNOHANG) == pid)
            on_gone(parent, i, status);
    }
}

static int start_worker(void *owner, unsigned number) {
    struct parent *parent = owner;
    struct process *process = parent_process(parent, number);
    const struct supervisor_worker *shown = supervisor_worker(parent->supervisor, number);
    struct worker worker = {
        .number = number,
        .count = supervisor_count(parent->supervisor),
        .http = parent->http,
        .restarts = shown->restarts,
    };
    int fd;
    strcpy(worker.ended, shown->ended);
    int rc = spawn_worker(&worker, parent->arguments, &process->pid, &fd);
    if (rc < 0)
        return rc;
    pids[number - 1] = process->pid;
    process->asked = false;
    rc = channel_open(&process->channel, &parent->loop, parent->clock, fd,
                      PARENT_TEXTS / worker.count);
    if (rc < 0) {
        process->channel = NULL; /* without a parent the worker ends; on_child() hears of it */
        close(fd);
        log_error(NULL, "cannot talk to worker %u: %s", number, status_text(rc));
    }
    log_info(NULL, "worker %u of %u is process %ld", number, worker.count, (long)process->pid);
    return LN_OK;
}

static void stop_worker(void *owner, unsigned number) {
    pid_t pid = parent_process(owner, number)->pid;
    if (pid == 0)
        return;
    kill(pid, SIGCONT); /* a paused one would not hear. Not later: who stops threads to look
                         * at them while it ends, as LeakSanitizer does, would wait for ever */
    kill(pid, SIGTERM);
}

static void kill_worker(void *owner, unsigned number) {
    pid_t pid = parent_process(owner, number)->pid;
    if (pid != 0)
        kill(pid, SIGKILL);
}

/* A question to one worker. */
struct asking {
    struct parent *parent;
    unsigned number;
};

static void ask(struct parent *parent, unsigned number, const char *method, const char *target,
                uint64_t timeout_ms, channel_fn *on_answer) {
    struct channel *channel = parent_process(parent, number)->channel;
    struct asking *asking = channel != NULL ? malloc(sizeof(*asking)) : NULL;
    if (asking == NULL)
        return;
    *asking = (struct asking){parent, number};
    if (!channel_ask(channel, method, target, timeout_ms, on_answer, asking))
        on_answer(asking, 0, NULL, 0);
}

static void on_ready(void *owner, int status, const char *body, size_t len) {
    (void)body, (void)len;
    struct asking asking = *(struct asking *)owner;
    free(owner);
    parent_process(asking.parent, asking.number)->asked = false;
    supervisor_ready(asking.parent->supervisor, asking.number, status == 200);
}

static void ask_ready(void *owner, unsigned number) {
    struct process *process = parent_process(owner, number);
    if (process->asked || process->channel == NULL)
        return;
    process->asked = true;
    ask(owner, number, "GET", "/readyz", PARENT_ASK_MS, on_ready);
}

static void on_reloaded(void *owner, int status, const char *body, size_t len) {
    (void)body, (void)len;
    struct asking asking = *(struct asking *)owner;
    free(owner);
    supervisor_reloaded(asking.parent->supervisor, asking.number, status == 200,
                        status == 0     ? "it does not answer"
                        : status == 404 ? "it has no such service"
                                        : "the reload has failed, its log says why");
}

static void reload_worker(void *owner, unsigned number) {
    struct parent *parent = owner;
    char target[512] = "/reload";
    if (parent->reload_query != NULL)
        snprintf(target, sizeof(target), "/reload?%s", parent->reload_query);
    ask(parent, number, "POST", target, SUPERVISOR_TURN_MS, on_reloaded);
}

static void on_round(void *owner, unsigned number, const char *why) {
    struct parent *parent = owner;
    free(parent->reload_query);
    parent->reload_query = NULL;
    parent_answer_reload(parent, number, why);
}

/* ---- end ---- */

static void close_handles(void *owner) {
    struct parent *parent = owner;
    log_on_waiting(NULL, NULL);
    herald_close(parent->herald);
    parent->herald = NULL;
    stop_signal_end();
    uv_close((uv_handle_t *)&parent->printer, NULL);
    uv_close((uv_handle_t *)&parent->interrupt, NULL);
    uv_close((uv_handle_t *)&parent->child, NULL);
    uv_close((uv_handle_t *)&parent->hangup, NULL);
    uv_close((uv_handle_t *)&parent->inquiry, NULL);
    signal(SIGHUP, SIG_IGN); /* too late for these, which would end us with another status */
    signal(SIGUSR1, SIG_IGN);
}

/* Nothing is left to be supervised. */
static void finish(struct parent *parent) {
    struct admin *admin = parent->admin;
    parent->admin = NULL;
    if (admin != NULL)
        admin_close(admin, close_handles, parent);
    else
        close_handles(parent);
}

/* What the manager is told: ready is a parent whose workers have all been ready once. */
static void on_change(void *owner) {
    const struct parent *parent = owner;
    const struct supervisor *supervisor = parent->supervisor;
    enum herald_phase phase = herald_phase(parent->herald);
    unsigned ready = 0, count = supervisor_count(supervisor);
    char status[64];
    if (phase == HERALD_STOPPING)
        return;
    for (unsigned i = 1; i <= count; i++)
        ready += supervisor_worker(supervisor, i)->state == WORKER_READY;
    snprintf(status, sizeof(status), "%u of %u workers are ready%s", ready, count,
             supervisor_reloads(supervisor) ? "; they reload" : "");
    herald_status(parent->herald, status);
    if ((phase == HERALD_STARTING && supervisor_complete(supervisor)) ||
        (phase == HERALD_RELOADING && !supervisor_reloads(supervisor)))
        herald_ready(parent->herald);
    else if (phase == HERALD_READY && supervisor_reloads(supervisor))
        herald_reloading(parent->herald);
}

static void on_ended(void *owner, int status) {
    struct parent *parent = owner;
    parent->status = status;
    if (stop_signal_last() != 0)
        log_info(NULL, "all workers have ended");
    finish(parent);
}

/* ---- start ---- */

static int open_http(struct parent *parent) {
    const char *given = parent->options->http;
    char text[ADDRESS_TEXT_SIZE], error[512];
    if (given == NULL)
        return EXIT_OK;
    address_parse(&parent->http_address, given); /* the option was checked */
    if (address_listen(&parent->http_address, &parent->http, error, sizeof(error)) < 0) {
        parent->http = -1;
        log_error(NULL, "--http: %s", error);
        return EXIT_SCRIPT;
    }
    address_text(&parent->http_address, text);
    log_info(NULL, address_is_unix(&parent->http_address) ? "HTTP at %s" : "HTTP at http://%s/",
             text);
    return EXIT_OK;
}

static int open_admin(struct parent *parent) {
    const struct options *options = parent->options;
    struct admin_options admin = {
        .address = options->admin,
        .token_file = options->admin_token,
        .control = options->control,
        .pages = parent_pages,
        .page_count = parent_page_count,
        .owner = parent,
    };
    char error[1024];
    if (options->admin == NULL)
        return EXIT_OK;
    if (admin_open(&parent->admin, &parent->loop, &admin, error, sizeof(error)) < 0) {
        log_error(NULL, "admin port: %s", error);
        return EXIT_SCRIPT;
    }
    log_info(NULL, "admin port at %s", admin_url(parent->admin));
    if (admin_is_public(parent->admin))
        log_warn(NULL, "the admin port can be reached from other machines: whoever gets there "
                       "can read what it shows");
    return EXIT_OK;
}

static void on_printer(uv_timer_t *timer) {
    if (log_drain())
        uv_timer_stop(timer);
}

static void on_waiting(void *owner) {
    struct parent *parent = owner;
    uv_timer_start(&parent->printer, on_printer, PRINT_MS, PRINT_MS);
}

/* Nothing of these keeps the loop alive but the signal of children. */
static void open_handles(struct parent *parent) {
    const struct stop_signal_hooks hooks = {.async = &parent->interrupt,
                                            .second = on_second_signal};
    uv_async_init(&parent->loop, &parent->interrupt, on_interrupt);
    uv_signal_init(&parent->loop, &parent->child);
    uv_signal_init(&parent->loop, &parent->hangup);
    uv_signal_init(&parent->loop, &parent->inquiry);
    uv_timer_init(&parent->loop, &parent->printer);
    parent->interrupt.data = parent->child.data = parent->hangup.data = parent;
    parent->inquiry.data = parent;
    uv_unref((uv_handle_t *)&parent->interrupt);
    uv_unref((uv_handle_t *)&parent->hangup);
    uv_unref((uv_handle_t *)&parent->inquiry);
    uv_unref((uv_handle_t *)&parent->printer);
    stop_signal_begin(&hooks, false);
    signal(SIGPIPE, on_pipe);
    uv_signal_start(&parent->child, on_child, SIGCHLD);
    uv_signal_start(&parent->hangup, on_hangup, SIGHUP);
    uv_signal_start(&parent->inquiry, on_inquiry, SIGUSR1);
    output_never_wait();
    log_on_waiting(on_waiting, parent);
}

static int open_parent(struct parent *parent) {
    const struct options *options = parent->options;
    unsigned count = (unsigned)options->workers;
    const struct supervisor_hooks hooks = {
        .spawn = start_worker,
        .stop = stop_worker,
        .kill = kill_worker,
        .ask = ask_ready,
        .reload = reload_worker,
        .on_round = on_round,
        .on_change = on_change,
        .on_ended = on_ended,
        .owner = parent,
        .stop_ms = (uint64_t)((options->drain_timeout + WORKER_STOP_S) * 1000),
    };
    parent->processes = calloc(count, sizeof(*parent->processes));
    parent->arguments = calloc(options->inherited_count + 3, sizeof(*parent->arguments));
    if (parent->processes == NULL || parent->arguments == NULL)
        return LN_ENOMEM;
    parent->arguments[0] = options->words[0];
    parent->arguments[1] = (char *)(uintptr_t)options_command_name(options->command);
    for (size_t i = 0; i < options->inherited_count; i++)
        parent->arguments[i + 2] = options->inherited[i];
    int rc = uv_loop_init(&parent->loop);
    if (rc == LN_OK)
        rc = clock_open(&parent->clock, &parent->loop, false);
    if (rc == LN_OK)
        rc = supervisor_open(&parent->supervisor, parent->clock, count, &hooks);
    return rc;
}

static void free_parent(struct parent *parent) {
    supervisor_free(parent->supervisor);
    clock_close(parent->clock);
    uv_run(&parent->loop, UV_RUN_DEFAULT);
    uv_loop_close(&parent->loop);
    text_free(&parent->gone);
    free(parent->processes);
    free(parent->arguments);
    free(parent->reload_query);
}

int parent_run(const struct options *options) {
    struct parent parent = {.options = options, .http = -1};
    int rc = open_parent(&parent);
    if (rc < 0) {
        log_error(NULL, "cannot start: %s", status_text(rc));
        return EXIT_SCRIPT;
    }
    open_handles(&parent);
    parent.herald = herald_open(&parent.loop);
    parent.status = open_http(&parent);
    if (parent.status == EXIT_OK)
        parent.status = open_admin(&parent);
    if (parent.status == EXIT_OK)
        supervisor_start(parent.supervisor);
    else
        stop(&parent, parent.status);
    uv_run(&parent.loop, UV_RUN_DEFAULT);
    free_parent(&parent);
    log_end();
    if (output_flush(READER_MS))
        log_drain();
    return parent.status;
}
