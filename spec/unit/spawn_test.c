/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/spawn.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/status.h"
#include "spec/unit/test.h"
#include "spec/unit/usage.h"

#define TIMES 30
#define LIVED 7 /* exit status of a worker that nothing has ended */

static volatile sig_atomic_t handled;

static void on_signal(int signum) {
    (void)signum;
    handled++;
}

/* Sends it while the child is about to become a worker; the status with which that ends. */
static int end_after(int signum, struct worker *worker) {
    char *arguments[] = {(char[]){"worker"}, NULL};
    pid_t pid;
    int fd, status = -1;
    if (spawn_worker(worker, arguments, &pid, &fd) != LN_OK)
        return -1;
    kill(pid, signum);
    waitpid(pid, &status, 0);
    close(fd);
    return status;
}

/* Each time it is the worker's, not ours. */
static void check_ends(int signum, int by_signal, int with_status) {
    struct worker worker = {.number = 1, .count = 1, .http = -1};
    handled = 0;
    signal(signum, on_signal);
    for (int i = 0; i < TIMES; i++) {
        int status = end_after(signum, &worker);
        CHECK_INT(WIFSIGNALED(status) ? WTERMSIG(status) : 0, by_signal);
        CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : 0, with_status);
    }
    CHECK_INT(handled, 0);
    signal(signum, SIG_DFL);
}

static void a_stop_ends_it_however_early_it_comes(void) {
    check_ends(SIGTERM, SIGTERM, 0);
}

static void an_inquiry_does_not_end_it(void) {
    if (!by_valgrind()) /* which cannot execute /proc/self/exe */
        check_ends(SIGUSR1, 0, LIVED);
}

static void the_mask_of_the_parent_stays(void) {
    struct worker worker = {.number = 1, .count = 1, .http = -1};
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    end_after(SIGKILL, &worker);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int signum = 1; signum < NSIG; signum++)
        CHECK_INT(sigismember(&after, signum), sigismember(&before, signum));
}

/* As a worker: long enough for a signal that is there already. */
static int live(void) {
    usleep(20000);
    return LIVED;
}

int main(int argc, char **argv) {
    if (getenv(WORKER_VARIABLE) != NULL)
        return live();
    test_begin(argc, argv);
    RUN(a_stop_ends_it_however_early_it_comes);
    RUN(an_inquiry_does_not_end_it);
    RUN(the_mask_of_the_parent_stays);
    return test_end();
}
