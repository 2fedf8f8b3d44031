/* SPDX-License-Identifier: Apache-2.0 */
/* With a real nats-server. */
#include "host/broker/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spec/unit/test.h"

static uv_loop_t loop;

/* What a broker told its owner. */
struct seen {
    int ready, exits, killed, stopped;
    int status;
    char url[128], text[2048];
};

static void on_ready(void *owner, int status, const char *url, const char *text) {
    struct seen *seen = owner;
    seen->ready++;
    seen->status = status;
    snprintf(seen->url, sizeof(seen->url), "%s", url != NULL ? url : "");
    snprintf(seen->text, sizeof(seen->text), "%s", text);
}

static void on_exit_seen(void *owner, int status, const char *text) {
    struct seen *seen = owner;
    seen->exits++;
    seen->status = status;
    snprintf(seen->text, sizeof(seen->text), "%s", text);
}

static void on_killed(void *owner) {
    ((struct seen *)owner)->killed++;
}

static void on_stopped(void *owner) {
    ((struct seen *)owner)->stopped++;
}

static void on_wake(uv_timer_t *timer) {
    (void)timer;
}

/* Runs the loop until *counter reached `want`, at most `ms`; true if it did. */
static bool run_until(const int *counter, int want, uint64_t ms) {
    uv_timer_t wake;
    uv_timer_init(&loop, &wake);
    uv_timer_start(&wake, on_wake, 1, 1);
    uint64_t end = uv_hrtime() + ms * 1000000;
    while (*counter < want && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *counter >= want;
}

static bool open_broker(struct broker **out, const struct broker_options *options,
                        struct seen *seen) {
    memset(seen, 0, sizeof(*seen));
    return broker_open(out, &loop, options, on_ready, on_exit_seen, seen) == LN_OK &&
           run_until(&seen->ready, 1, 20000);
}

static bool stop_broker(struct broker *broker, struct seen *seen) {
    broker_stop(broker, on_stopped, seen);
    return run_until(&seen->stopped, 1, 5000);
}

static bool accepts(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", port, &address);
    int rc = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    close(fd);
    return rc == 0;
}

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

/* Waits up to `ms` for a process that is no child of ours to be gone. */
static bool vanishes(pid_t pid, int ms) {
    for (; ms > 0; ms -= 5) {
        char path[64], state = 'X';
        snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
                state = '?';
            fclose(file);
        }
        if (state == 'X' || state == 'Z') /* a zombie waits for the init of the container */
            return true;
        usleep(5000);
    }
    return false;
}

static const struct broker_options defaults;

static void starts_and_stops(void) {
    struct broker *broker;
    struct seen seen;
    uint64_t before = uv_hrtime();
    CHECK(open_broker(&broker, &defaults, &seen));
    printf("# ready after %d ms\n", (int)((uv_hrtime() - before) / 1000000));
    CHECK_STR(seen.text, "");
    CHECK_INT(seen.status, LN_OK);
    CHECK_STR(seen.url, broker_url(broker));
    CHECK(strncmp(seen.url, "nats://lunats:", 14) == 0);
    CHECK(strstr(seen.url, "@127.0.0.1:") != NULL);
    int port = broker_port(broker);
    pid_t pid = broker_pid(broker);
    CHECK(accepts(port));
    CHECK(getsid(pid) == pid);
    char dir[256], store[300];
    snprintf(dir, sizeof(dir), "%s", broker_dir(broker));
    snprintf(store, sizeof(store), "%s/jetstream", dir);
    CHECK(exists(store));
    CHECK(stop_broker(broker, &seen));
    CHECK(!exists(dir));
    CHECK(kill(pid, 0) < 0 && errno == ESRCH);
    CHECK(!accepts(port));
    CHECK_INT(seen.exits, 0);
    CHECK_INT(seen.ready, 1);
}

static void a_running_one_does_not_keep_the_loop_alive(void) {
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
    broker_stop(broker, on_stopped, &seen);
    CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CHECK_INT(seen.stopped, 1);
}

static void can_be_stopped_at_any_moment(void) {
    for (int turns = 0; turns < 40; turns++) {
        struct broker *broker;
        struct seen seen = {0};
        CHECK_INT(broker_open(&broker, &loop, &defaults, on_ready, on_exit_seen, &seen), LN_OK);
        for (int i = 0; i < turns; i++)
            uv_run(&loop, UV_RUN_ONCE);
        seen.ready = 0;
        CHECK(stop_broker(broker, &seen));
        CHECK_INT(seen.ready + seen.exits, 0);
    }
}

static void without_jetstream_and_on_a_given_directory(void) {
    char dir[] = "/tmp/broker_test.XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    struct broker_options options = {.dir = dir, .no_jetstream = true};
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &options, &seen));
    char path[64];
    snprintf(path, sizeof(path), "%s/jetstream", dir);
    CHECK(!exists(path));
    CHECK_STR(broker_dir(broker), dir);
    CHECK(stop_broker(broker, &seen));
    snprintf(path, sizeof(path), "%s/nats-server.log", dir);
    CHECK(exists(path));
    unlink(path);
    CHECK_INT(rmdir(dir), 0); /* nothing else is left in it */
}

static void a_missing_binary_is_explained(void) {
    struct broker_options options = {.binary = "nats-server-of-nobody"};
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &options, &seen));
    CHECK_INT(seen.status, UV_ENOENT);
    CHECK_STR(seen.text, "nats-server-of-nobody not found: install it (apt-get install "
                         "nats-server) or set NATS_SERVER");
    CHECK_INT(broker_restart(broker, on_ready, &seen), LN_EINVAL);
    CHECK(broker_url(broker) == NULL && broker_pid(broker) == 0);
    CHECK(stop_broker(broker, &seen));
}

static void inherits_no_descriptors(void) {
    int ends[2]; /* without close-on-exec, as the sockets of nats.c */
    CHECK_INT(pipe(ends), 0);
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    char byte;
    CHECK_INT(read(ends[0], &byte, 1), 0); /* the end: nobody else can write */
    close(ends[0]);
    CHECK(stop_broker(broker, &seen));
}

static void relative_paths_survive_a_chdir(void) {
    char dir[] = "/tmp/broker_test.XXXXXX", before[1024];
    CHECK(mkdtemp(dir) != NULL && getcwd(before, sizeof(before)) != NULL && chdir(dir) == 0);
    struct broker_options options = {.dir = "store", .config_text = "max_payload: 1000\n"};
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &options, &seen));
    CHECK_STR(seen.text, "");
    CHECK_INT(chdir(before), 0);
    CHECK_INT(broker_restart(broker, on_ready, &seen), LN_OK);
    CHECK(run_until(&seen.ready, 2, 10000));
    CHECK_STR(seen.text, "");
    CHECK(stop_broker(broker, &seen));
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    CHECK_INT(system(command), 0);
}

static void what_cannot_be_started_is_told(void) {
    char before[4096];
    snprintf(before, sizeof(before), "%s", getenv("PATH"));
    struct broker_options options = {.binary = "/bin/true"};
    struct broker *broker;
    struct seen seen;
    setenv("PATH", "/nowhere", 1); /* there is no setpriv */
    bool told = open_broker(&broker, &options, &seen);
    setenv("PATH", before, 1);
    CHECK(told);
    CHECK_INT(seen.status, UV_ENOENT);
    CHECK(strstr(seen.text, "cannot start setpriv for ") == seen.text);
    CHECK_INT(broker_pid(broker), 0);
    CHECK(stop_broker(broker, &seen));
    memset(&seen, 0, sizeof(seen));
    setenv("PATH", "/nowhere", 1);
    int rc = broker_open(&broker, &loop, &options, on_ready, on_exit_seen, &seen);
    while (broker_dir(broker) == NULL) /* as long as the worker is at work */
        uv_run(&loop, UV_RUN_ONCE);
    setenv("PATH", before, 1);
    CHECK_INT(rc, LN_OK);
    CHECK(stop_broker(broker, &seen)); /* while what failed is being closed */
}

static void a_bad_binary_is_explained(void) {
    char script[] = "/tmp/broker_test.XXXXXX";
    int fd = mkstemp(script);
    CHECK(fd >= 0 && fchmod(fd, 0700) == 0 && write(fd, "garbage", 7) == 7);
    close(fd);
    struct broker_options options = {.binary = script};
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &options, &seen));
    unlink(script);
    CHECK_INT(seen.status, LN_ENOSERVER);
    CHECK(strstr(seen.text, "nats-server exited with status 127\n") == seen.text);
    CHECK(stop_broker(broker, &seen));
}

static void a_refused_configuration_shows_the_log(void) {
    struct broker_options options = {.config_text = "no_such_option: 1\n"};
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &options, &seen));
    CHECK_INT(seen.status, LN_ENOSERVER);
    CHECK(strstr(seen.text, "exited with status 1") != NULL);
    CHECK(strstr(seen.text, "no_such_option") != NULL);
    CHECK(stop_broker(broker, &seen));
    options.config_file = "/tmp/x";
    CHECK_INT(broker_open(&broker, &loop, &options, NULL, NULL, NULL), LN_EINVAL);
}

static void a_configuration_is_used(void) {
    struct broker_options options = {.config_text = "authorization { user: u, password: p }\n"};
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &options, &seen));
    CHECK_INT(seen.status, LN_OK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", broker_port(broker), &address);
    CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    char info[2048] = "";
    CHECK(read(fd, info, sizeof(info) - 1) > 0);
    close(fd);
    CHECK(strstr(info, "\"auth_required\":true") != NULL);
    CHECK(stop_broker(broker, &seen));
}

static void a_port_in_use_is_explained(void) {
    struct broker *broker, *other;
    struct seen seen, other_seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    struct broker_options options = {.port = broker_port(broker)};
    CHECK(open_broker(&other, &options, &other_seen));
    CHECK_INT(other_seen.status, UV_EADDRINUSE);
    CHECK(strstr(other_seen.text, "is in use: another server listens on it") != NULL);
    CHECK(stop_broker(other, &other_seen));
    CHECK(stop_broker(broker, &seen));
}

static void kill_and_restart_keep_port_and_store(void) {
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    int port = broker_port(broker);
    pid_t pid = broker_pid(broker);
    CHECK_INT(broker_kill(broker, on_killed, &seen), LN_OK);
    CHECK_INT(broker_kill(broker, on_killed, &seen), LN_ECLOSED);
    CHECK(run_until(&seen.killed, 1, 2000));
    CHECK_INT(broker_pid(broker), 0);
    CHECK(!accepts(port));
    CHECK_INT(broker_pause(broker), LN_ECLOSED);
    for (int round = 0; round < 3; round++) { /* down, running, killed this very turn */
        seen.ready = 0;
        if (round == 2)
            broker_kill(broker, on_killed, &seen);
        CHECK_INT(broker_restart(broker, on_ready, &seen), LN_OK);
        CHECK(run_until(&seen.ready, 1, 10000));
        CHECK_STR(seen.text, "");
        CHECK_INT(broker_port(broker), port);
        CHECK(broker_pid(broker) != pid && accepts(port));
        pid = broker_pid(broker);
    }
    CHECK_INT(seen.killed, 2);
    CHECK_INT(seen.exits, 0);
    CHECK(stop_broker(broker, &seen));
}

static void killed_while_it_starts(void) {
    struct broker *broker;
    struct seen seen = {0};
    CHECK_INT(broker_open(&broker, &loop, &defaults, on_ready, on_exit_seen, &seen), LN_OK);
    CHECK_INT(broker_kill(broker, NULL, NULL), LN_ECLOSED);
    while (broker_pid(broker) == 0)
        uv_run(&loop, UV_RUN_ONCE);
    CHECK_INT(broker_kill(broker, on_killed, &seen), LN_OK);
    CHECK(run_until(&seen.killed, 1, 2000));
    CHECK_INT(seen.ready, 1);
    CHECK_INT(seen.status, LN_ECANCELLED);
    CHECK(stop_broker(broker, &seen));
}

static void an_unexpected_end_is_told(void) {
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    kill(broker_pid(broker), SIGKILL);
    CHECK(run_until(&seen.exits, 1, 2000));
    CHECK_INT(seen.status, LN_ENOSERVER);
    CHECK(strstr(seen.text, "killed by signal 9 (Killed)") != NULL);
    CHECK(strstr(seen.text, "Server is ready") != NULL);
    CHECK_INT(broker_restart(broker, on_ready, &seen), LN_OK);
    CHECK(run_until(&seen.ready, 2, 10000));
    CHECK_INT(seen.status, LN_OK);
    CHECK(stop_broker(broker, &seen));
}

static void a_paused_one_hangs_and_stops_all_the_same(void) {
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    CHECK_INT(broker_pause(broker), LN_OK);
    CHECK_INT(broker_resume(broker), LN_OK);
    CHECK_INT(broker_pause(broker), LN_OK);
    uint64_t before = uv_hrtime();
    CHECK(stop_broker(broker, &seen));
    CHECK((uv_hrtime() - before) / 1000000 < 1500);
}

#define MANY 20

static void many_at_once(void) {
    struct broker *brokers[MANY];
    struct seen seen = {0};
    uint64_t before = uv_hrtime();
    for (int i = 0; i < MANY; i++)
        CHECK_INT(broker_open(&brokers[i], &loop, &defaults, on_ready, on_exit_seen, &seen),
                  LN_OK);
    CHECK(run_until(&seen.ready, MANY, 20000));
    printf("# %d brokers ready after %d ms\n", MANY, (int)((uv_hrtime() - before) / 1000000));
    for (int i = 0; i < MANY; i++) {
        CHECK(broker_url(brokers[i]) != NULL);
        for (int j = 0; j < i; j++)
            CHECK(broker_port(brokers[i]) != broker_port(brokers[j]));
    }
    for (int i = 0; i < MANY; i++)
        broker_stop(brokers[i], on_stopped, &seen);
    CHECK(run_until(&seen.stopped, MANY, 10000));
}

/* A process that owns a broker, reports its pid and directory, and waits to be killed. */
struct report {
    pid_t pid;
    char dir[256];
};

static void own_a_broker(void *pipe_end) {
    uv_loop_t own;
    struct broker *broker;
    struct seen seen = {0};
    uv_loop_init(&own);
    broker_open(&broker, &own, &defaults, on_ready, on_exit_seen, &seen);
    while (seen.ready == 0)
        uv_run(&own, UV_RUN_ONCE);
    struct report report = {.pid = broker_pid(broker)};
    snprintf(report.dir, sizeof(report.dir), "%s", broker_dir(broker));
    if (write(*(int *)pipe_end, &report, sizeof(report)) != (ssize_t)sizeof(report))
        _exit(1);
    for (;;)
        pause();
}

_Noreturn static void be_an_owner(int pipe_end, bool in_thread) {
    uv_thread_t thread;
    if (!in_thread)
        own_a_broker(&pipe_end);
    uv_thread_create(&thread, own_a_broker, &pipe_end);
    uv_thread_join(&thread);
    _exit(1);
}

static void dies_with_an_owner(bool in_thread, int by_signal) {
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    pid_t owner = fork();
    if (owner == 0)
        be_an_owner(ends[1], in_thread);
    close(ends[1]);
    struct report report;
    ssize_t n = read(ends[0], &report, sizeof(report));
    close(ends[0]);
    CHECK_INT(n, sizeof(report));
    CHECK(report.pid > 0 && kill(report.pid, 0) == 0);
    kill(owner, by_signal);
    waitpid(owner, NULL, 0);
    CHECK(vanishes(report.pid, 1000));
    CHECK(exists(report.dir));
    /* The next owner clears up. */
    struct broker *broker;
    struct seen seen;
    CHECK(open_broker(&broker, &defaults, &seen));
    CHECK(!exists(report.dir));
    CHECK(exists(broker_dir(broker)));
    CHECK(stop_broker(broker, &seen));
}

/* In a folder of its own, as any other owner on this machine clears up as well. */
static void dies_with_its_owner(void) {
    char folder[] = "/tmp/broker_test.XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    setenv("TMPDIR", folder, 1);
    dies_with_an_owner(false, SIGKILL);
    dies_with_an_owner(false, SIGTERM);
    dies_with_an_owner(true, SIGKILL);
    unsetenv("TMPDIR");
    CHECK_INT(rmdir(folder), 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    uv_loop_init(&loop);
    /* Neither of them can follow threads behind a fork. */
    if (!test_by_tsan && !test_is_emulated())
        RUN(dies_with_its_owner); /* first: it forks, and libuv has no threads yet */
    RUN(starts_and_stops);
    RUN(a_running_one_does_not_keep_the_loop_alive);
    RUN(can_be_stopped_at_any_moment);
    RUN(without_jetstream_and_on_a_given_directory);
    RUN(inherits_no_descriptors);
    RUN(relative_paths_survive_a_chdir);
    RUN(a_missing_binary_is_explained);
    RUN(what_cannot_be_started_is_told);
    RUN(a_bad_binary_is_explained);
    RUN(a_refused_configuration_shows_the_log);
    RUN(a_configuration_is_used);
    RUN(a_port_in_use_is_explained);
    RUN(kill_and_restart_keep_port_and_store);
    RUN(killed_while_it_starts);
    RUN(an_unexpected_end_is_told);
    RUN(a_paused_one_hangs_and_stops_all_the_same);
    RUN(many_at_once);
    uv_run(&loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop);
    if (rc != 0)
        printf("not ok: the loop has open handles\n");
    return rc != 0 ? 1 : test_end();
}
