/* SPDX-License-Identifier: Apache-2.0 */
/* What the messages of a service may use of the memory that its script may have. */
#ifndef LUNATS_SERVICE_BOUNDS_H
#define LUNATS_SERVICE_BOUNDS_H

struct link_options;
struct script;
struct service;

/* Of a connection that is about to be opened, for that version of the script. */
void bounds_set(const struct service *service, const struct script *script,
                struct link_options *options);

/* Of a service whose script has become another one. */
void bounds_follow(struct service *service);

#endif
