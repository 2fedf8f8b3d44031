/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a service, from fork() to its first reply. */
#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int mode_start(char **command) {
    options.window = 1;
    connect_loop();
    prepare_requests();
    double began = now();
    pid_t pid = fork();
    if (pid == 0) {
        while (strchr(*command, '=') != NULL)
            putenv(*command++);
        execvp(command[0], command);
        _exit(127);
    }
    bool answered = false;
    while (!(answered = answers(0)) && now() - began < PATIENCE &&
           waitpid(pid, NULL, WNOHANG) == 0)
        usleep(250);
    double took = now() - began;
    usleep(500000);
    long kib = memory_of(pid, "VmRSS");
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    printf("{\"count\":1,\"seconds\":%.6f,\"wrong\":%d,\"kib\":%ld}\n", took, !answered, kib);
    return !answered;
}
