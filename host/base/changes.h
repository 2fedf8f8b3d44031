/* SPDX-License-Identifier: Apache-2.0 */
/* The files that have changed in a burst; a list, see list.h, that is all zero at first. */
#ifndef LUNATS_BASE_CHANGES_H
#define LUNATS_BASE_CHANGES_H

#include "host/base/list.h"

/* Adds "folder/name", or the name alone for folder "", once. Without memory it does nothing. */
void changes_add(struct list *changes, const char *folder, const char *name);

/* Empties the list. Returns the first file that is there, for free(), or NULL. */
char *changes_take(struct list *changes);

void changes_clear(struct list *changes);

#endif
