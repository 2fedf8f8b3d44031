/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything of the load generator: one thread, one connection, one mode per run. What fails
 * ends the process with a line on stderr.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <nats/nats.h>

#define PATIENCE 20.0 /* seconds without anything: lost */

enum envelope { PLAIN, NEST, MOLECULER };

/* The command line: see main.c. */
extern struct options {
    const char *url, *subject;
    int64_t count, warm_up;
    int size, window, subjects, ahead;
    double rate; /* 0: none */
    enum envelope envelope;
    bool file;
} options;

/* ---- main.c ---- */

/* Ends the process, with status 1. */
_Noreturn void fail(const char *what, natsStatus status);

/* Does so unless the status is NATS_OK. */
void check(const char *what, natsStatus status);

/* Zeroed memory, never NULL. The caller owns it. */
void *allocate(size_t count, size_t size);

/* ---- measure.c ---- */

/* Seconds of the monotonic clock. */
double now(void);

/* "NAME=PID", borrowed until the end: the CPU time of this process counts. */
void watch(char *text);

void begin_measure(void);

/* Ends the measured part, which took so many seconds, and begins the line of output. */
void print_measure(int64_t count, double took, int64_t wrong);

/* A field of /proc/PID/status in KiB: VmRSS or VmHWM. -1: there is none. */
long memory_of(pid_t pid, const char *key);

/* ---- loop.c ---- */

/* What all connections have in common. The caller owns them. */
natsOptions *connection_options(void);

/* Connects the loop; once, before everything below. */
void connect_loop(void);

/* The connection of the loop, borrowed. */
natsConnection *connection(void);

/*
 * Writes what is pending, then waits up to ms for input, or for room in the socket. With
 * ms < 0 only for the room: there is more to send.
 */
void turn(int ms);

/* As turn(), for so many seconds, to some microseconds. */
void turn_for(double seconds);

/* The caller owns the subscription; its messages are read with take(). */
natsSubscription *subscribe(const char *subject);

/* The number of its messages that are here. */
int pending(natsSubscription *sub);

/* The next one, for the caller to own. NULL: nobody listens to what was asked. */
natsMsg *take(natsSubscription *sub);

/* Turns until there is a message, at most so many seconds. */
bool wait_for(natsSubscription *sub, double patience);

/* Comes back when the server has seen all that was sent so far. */
void barrier(void);

/* ---- requests.c ---- */

/* What follows a text in the data, or NULL. */
const char *find(const char *data, int len, const char *text);

/* Makes what requests need; once, on a connected loop. */
void prepare_requests(void);

/* Sends one request; is the right reply here within half a millisecond? */
bool answers(int64_t number);

/* ---- modes: the exit status of the process ---- */

int mode_requests(bool json);
int mode_count(void);
int mode_fill(const char *stream, const char *durable); /* NULL: no consumer */
int mode_work(const char *json, const char *stream, const char *durable);
int mode_start(char **command);

#endif
