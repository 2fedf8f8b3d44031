/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is cut into small blocks, from which their sizes are gone again: what is free of
 * a slab is marked in it, neighbours become one piece that any size can be cut from, and a slab
 * that is free as a whole goes back to the system.
 */
#ifndef LUNATS_SCRIPT_SLABS_H
#define LUNATS_SCRIPT_SLABS_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/list.h"

#define SLABS_GRAIN 16 /* the alignment of blocks; their sizes are multiples of it */
#define SLABS_SIZE ((size_t)64 * 1024)

/* A piece of memory. */
struct slabs_piece {
    char *at, *end;
};

/* Embedded in its owner; all zero has none. */
struct slabs {
    struct list whole, parted;  /* of the second kind parts are marked */
    size_t bytes;               /* of all */
    size_t marked;              /* bytes of them that slabs_cut() gives away again */
    char *next;                 /* where a slab is asked for */
    struct slabs_piece reserve; /* of slabs, once there are many: they share a huge page */
};

/* One more from the system. False without memory. */
bool slabs_add(struct slabs *slabs, struct slabs_piece *out);

/* A block of a piece is free, of SLABS_GRAIN to 64 times that; whoever gives it forgets it. */
void slabs_mark(struct slabs *slabs, void *block, size_t size);

/* A piece of what was marked; its end belongs to no piece before the next slabs_mark(). False:
 * nothing is marked. */
bool slabs_cut(struct slabs *slabs, struct slabs_piece *out);

/* All of them, with whatever is in use. */
void slabs_close(struct slabs *slabs);

#endif
