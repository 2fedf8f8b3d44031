/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What takes long in a script is named in the log: what holds the loop, and requests whose
 * answer nobody may wait for any more. Once a minute for each listener, timer, ...
 */
#ifndef LUNATS_SERVICE_SLOW_H
#define LUNATS_SERVICE_SLOW_H

#include "host/script/script.h"

/* Watches the fibers of a script until its end; without memory nothing is noticed. */
void slow_watch(struct script *script);

/* Logs which handlers are about to be cut, how long they have run and where they wait. */
void slow_tell_cut(struct script *script);

#endif
