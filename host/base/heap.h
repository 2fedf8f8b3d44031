/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap of malloc(), once it is large: from there on it grows by huge pages, where the
 * system gives them to those who ask (transparent_hugepage is `madvise` on Debian). What is
 * read at random out of hundreds of megabytes waits for the tables of pages otherwise, more
 * than for the memory itself. Nothing of it is done with another malloc() than that of glibc,
 * or under AddressSanitizer.
 */
#ifndef LUNATS_BASE_HEAP_H
#define LUNATS_BASE_HEAP_H

#include <stdbool.h>

struct heap {
    char *begin; /* where its end was at the first look */
    char *end;   /* at the last one */
    bool large;
};

/* Its end is here by now: what has come behind the last one is asked for as huge pages, if it
 * is large. True: it has become that. */
bool heap_grown(struct heap *heap, char *end);

/* Those of the process, and of its loop thread: */

/* To be called when much is allocated, before that is touched. Costs next to nothing. */
void heap_look(void);

/* Gives back to the system what is free of it, and lets it stay with the system: the kernel
 * must not make huge pages again of what was parted. Takes 5 ms for each 10 MB. */
void heap_trim(void);

#endif
