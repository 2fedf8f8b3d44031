/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line says, as services want to hear it. */
#ifndef LUNATS_SETTINGS_H
#define LUNATS_SETTINGS_H

#include "host/link/link.h"
#include "host/options/options.h"
#include "host/script/script.h"

/* The connection; `server` is the only one instead of those of the options, unless NULL.
 * Borrows from both. */
void settings_link(const struct options *options, const char *const *server,
                   struct link_options *out);

/* Commands, and what they run, take their time. */
struct script_limits settings_limits(const struct options *options);

#endif
