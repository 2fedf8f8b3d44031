/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard output and standard error, written to without waiting for whoever reads them.
 *
 * A pipe or terminal whose reader stops would stop the loop, so a process that serves calls
 * output_never_wait(). What is not taken at once is kept then, in order, up to OUTPUT_KEPT
 * bytes; more is lost and counted. The flags of the shared descriptor stay as they are: pipes
 * and terminals are opened a second time for that. Files and devices are written as ever.
 *
 * Both belong to the process and, but for output_aside(), to the loop thread.
 */
#ifndef LUNATS_BASE_OUTPUT_H
#define LUNATS_BASE_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_KEPT ((size_t)1 << 20) /* for each of the two */

enum output { OUTPUT_STDOUT, OUTPUT_STDERR };

/* From the next write on. Before that, writes wait as in any program. */
void output_never_wait(void);
bool output_waits(void);

/* Writes these bytes, or keeps them; false: all of them are lost, and counted. errno stays. */
bool output_write(enum output output, const char *data, size_t len);

/* From any thread: to standard error, past what is kept, or nothing if the reader does not take
 * it at once. Up to PIPE_BUF bytes. */
void output_aside(const char *data, size_t len);

/* Writes what was kept, as far as it goes; true when nothing is kept any more. */
bool output_drain(enum output output);

/* Calls of output_write() that lost something since this was asked last. */
uint64_t output_take_lost(enum output output);

/* The end of the process: waits for readers, as long as they read something every `ms`. True
 * when nothing is kept any more. */
bool output_flush(int ms);

/* Told when something is kept and nothing was before: call output_drain() from time to time. */
void output_on_kept(void (*on_kept)(void *owner), void *owner);

/* The descriptor has been replaced (dup2). For tests. */
void output_reset(enum output output);

#endif
