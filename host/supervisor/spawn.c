/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/cloexec.h"
#include "host/base/status.h"

/* Our environment with one variable more. The caller frees the list, not its members. */
static char **environment(char *variable) {
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **list = malloc((count + 2) * sizeof(*list));
    for (size_t i = 0; list != NULL && i < count; i++)
        if (strncmp(environ[i], WORKER_VARIABLE "=", sizeof(WORKER_VARIABLE)) != 0)
            list[kept++] = environ[i];
    if (list != NULL) {
        list[kept++] = variable;
        list[kept] = NULL;
    }
    return list;
}

/* Until exec() a child has our handlers: a stop would be forgotten, and libuv tells us of it as
 * if we were meant. An inquiry must not end the program before it can answer. */
static void give_back_signals(const sigset_t *mask) {
    for (int signum = 1; signum < NSIG; signum++) {
        struct sigaction action;
        if (sigaction(signum, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            signal(signum, SIG_DFL); /* of SIGKILL and SIGSTOP an error, which is fine */
    }
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* In the child: what is allowed after fork() only. The program is that which runs here, also
 * where its file has been replaced meanwhile. */
__attribute__((noreturn)) static void become(const struct worker *worker,
                                             char *const *arguments, char *const *variables,
                                             const sigset_t *mask) {
    int nothing = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    if (nothing > STDIN_FILENO)
        dup2(nothing, STDIN_FILENO);
    if (nothing > STDERR_FILENO)
        close(nothing);
    fcntl(worker->channel, F_SETFD, 0);
    if (worker->http >= 0)
        fcntl(worker->http, F_SETFD, 0);
    give_back_signals(mask);
    execve("/proc/self/exe", arguments, variables);
    _exit(127);
}

int spawn_worker(const struct worker *worker, char *const *arguments, pid_t *pid, int *fd) {
    int ends[2];
    char variable[256];
    struct worker child = *worker;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return uv_translate_sys_error(errno);
    child.channel = ends[1];
    child.parent = getpid();
    worker_write(&child, variable, sizeof(variable));
    char **variables = environment(variable);
    cloexec_all(); /* also what others have opened in this process */
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    pid_t made = variables != NULL ? fork() : -1;
    if (made == 0)
        become(&child, arguments, variables, &mask);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    int rc = variables == NULL ? LN_ENOMEM : made < 0 ? uv_translate_sys_error(errno) : LN_OK;
    free(variables);
    close(ends[1]);
    if (rc == LN_OK) {
        *pid = made;
        *fd = ends[0];
    } else {
        close(ends[0]);
    }
    return rc;
}
