/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator of ./dev bench. One thread: libnats hangs on a poll(2) loop (loop.c) and
 * subscriptions are read synchronously, so that a reply costs no change of threads.
 *
 *   load echo|json [options] SUBJECT     requests; every reply is checked
 *   load count [options] SUBJECT         messages to a service that reports every 4096th, or so
 *                                        often that no more than -a of them are on their way
 *   load fill [options] STREAM [DURABLE] makes the stream <STREAM>, subject <STREAM>.x, anew
 *   load work [options] SUBJECT JSON STREAM [DURABLE]
 *                                        one long request; then the server must agree
 *   load start [options] SUBJECT [NAME=VALUE...] COMMAND...
 *                                        starts a service, with these in its environment: time
 *                                        to its first reply, memory
 * Options:
 *   -u URL      server                     -n N  messages           -b N  bytes of a payload
 *   -w N        requests under way, at most               -k N  requests before the clock runs
 *   -r N        requests per second, evenly; without it as many as are answered
 *   -m N        %d in SUBJECT runs from 0 to N - 1        -a N  messages not reported yet
 *   -e FORMAT   envelope: plain, nest, moleculer              -f    the stream is a file
 *   -p NAME=PID a process whose CPU time counts, during the measured part alone
 * Prints one JSON object in one line; exit status 0 only if everything was right.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options options = {.url = "nats://127.0.0.1:4222",
                          .count = 100000,
                          .size = 128,
                          .window = 256,
                          .subjects = 1,
                          .ahead = 8 * 4096};

void fail(const char *what, natsStatus status) {
    const char *more = nats_GetLastError(NULL);
    fprintf(stderr, "load: %s: %s %s\n", what, natsStatus_GetText(status),
            more != NULL ? more : "");
    exit(1);
}

void check(const char *what, natsStatus status) {
    if (status != NATS_OK)
        fail(what, status);
}

void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL)
        fail("memory", NATS_NO_MEMORY);
    return memory;
}

static bool set_option(int option, char *value) {
    static const char *const envelopes[] = {"plain", "nest", "moleculer"};
    switch (option) {
    case 'u':
        options.url = value;
        return true;
    case 'n':
        options.count = atoll(value);
        return true;
    case 'k':
        options.warm_up = atoll(value);
        return true;
    case 'b':
        options.size = atoi(value);
        return options.size >= 0;
    case 'w':
        options.window = atoi(value);
        return options.window > 0;
    case 'r':
        options.rate = atof(value);
        return options.rate > 0;
    case 'a':
        options.ahead = atoi(value);
        return options.ahead > 0;
    case 'm':
        options.subjects = atoi(value);
        return options.subjects > 0;
    case 'f':
        options.file = true;
        return true;
    case 'p':
        watch(value);
        return true;
    case 'e':
        for (int i = 0; i < 3; i++)
            if (strcmp(value, envelopes[i]) == 0) {
                options.envelope = (enum envelope)i;
                return true;
            }
        return false;
    default:
        return false;
    }
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    int option;
    argv++, argc--;
    while ((option = getopt(argc, argv, "+u:n:k:b:w:r:a:m:p:e:f")) != -1)
        if (!set_option(option, optarg))
            return 2;
    argv += optind, argc -= optind;
    options.subject = argc > 0 ? argv[0] : "";
    if (strcmp(mode, "echo") == 0 && argc == 1)
        return mode_requests(false);
    if (strcmp(mode, "json") == 0 && argc == 1)
        return mode_requests(true);
    if (strcmp(mode, "count") == 0 && argc == 1)
        return mode_count();
    if (strcmp(mode, "fill") == 0 && argc >= 1)
        return mode_fill(argv[0], argv[1]);
    if (strcmp(mode, "work") == 0 && argc >= 3)
        return mode_work(argv[1], argv[2], argv[3]);
    if (strcmp(mode, "start") == 0 && argc >= 2)
        return mode_start(argv + 1);
    fprintf(stderr, "usage: see the head of bench/load/main.c\n");
    return 2;
}
