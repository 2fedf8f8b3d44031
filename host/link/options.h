/* SPDX-License-Identifier: Apache-2.0 */
/* struct link_options: whether they can be used, what they mean by default, what the dialler
 * wants to know of them. */
#ifndef LUNATS_LINK_OPTIONS_H
#define LUNATS_LINK_OPTIONS_H

#include "host/dial/dial.h"
#include "host/link/link.h"

#define OPTIONS_PREFIX_MAX 64 /* bytes of an inbox prefix */

bool options_ok(const struct link_options *options);

/* Of a connection for which so many bytes are asked, 0: of the usual one. */
size_t options_high_water(size_t bytes);

/* Strings are borrowed from `options`, which are ok. */
struct link_options options_with_defaults(const struct link_options *options);
struct dial_target options_target(const struct link_options *options);

#endif
