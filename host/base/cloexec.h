/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes get no descriptors but their standard ones. Ours are opened close-on-exec,
 * but not those of libraries (the sockets of nats.c, files that scripts open), and a connection
 * that a child held as well would never be seen closed by its server.
 */
#ifndef LUNATS_BASE_CLOEXEC_H
#define LUNATS_BASE_CLOEXEC_H

/* Marks everything above stderr close-on-exec: right before each uv_spawn(). */
void cloexec_all(void);

#endif
