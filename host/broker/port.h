/* SPDX-License-Identifier: Apache-2.0 */
/* The port of a broker. Part of the module broker; nobody else includes it. */
#ifndef LUNATS_BROKER_PORT_H
#define LUNATS_BROKER_PORT_H

/* Whether a server could listen on this port of 127.0.0.1: LN_OK, UV_EADDRINUSE, ... */
int broker_port_check(int port);

#endif
