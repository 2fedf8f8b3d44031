/* SPDX-License-Identifier: Apache-2.0 */
/* What a script has opened, and what was opened over one of those. */
#ifndef LUNATS_SCRIPT_RESOURCE_H
#define LUNATS_SCRIPT_RESOURCE_H

#include <stdbool.h>

#include "host/base/list.h"

/* All zero is empty. */
struct resources {
    struct list list; /* the latest first */
    /* One has left, but for resources_close(). May be NULL. */
    void (*on_removed)(struct resources *resources);
};

/*
 * Something that the script has opened and that must not outlive it: a listener, an inbox, a
 * connection, a watch. Embedded; all zero is idle.
 */
struct script_resource {
    struct list_node node;  /* of `home`; both are resources_add()'s */
    struct resources *home; /* NULL: in none */
    /* The script begins to serve; one that is added later begins by itself. May be NULL. */
    void (*begin)(struct script_resource *resource);
    /* The script stops: no new work; what is queued may finish. May be NULL. */
    void (*drain)(struct script_resource *resource);
    /* The script ends: let go of everything outside of Lua. Already removed. */
    void (*close)(struct script_resource *resource);
};

/* Resources begin, drain and close in the opposite order of their opening. */
void resources_add(struct resources *resources, struct script_resource *resource);
void resources_begin(const struct resources *resources);
void resources_drain(const struct resources *resources);
/* One may close others with it. */
void resources_close(struct resources *resources);
/* Whether one is left that can be drained. */
bool resources_busy(const struct resources *resources);

/* Does nothing to one that is in none. */
void resource_remove(struct script_resource *resource);

#endif
