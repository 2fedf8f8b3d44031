/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datagrams of sd_notify(3): lines like READY=1 for the manager that has started this
 * process, mostly systemd, on the socket that NOTIFY_SOCKET names. Nothing here waits.
 */
#ifndef LUNATS_BASE_NOTIFY_H
#define LUNATS_BASE_NOTIFY_H

struct notify;

/* `name`: the path of a socket, or "@" and the name of an abstract one. On success *out is the
 * caller's, who hands it to notify_close(). LN_OK, LN_ENOMEM, LN_EINVAL for what is no such
 * name, or a code of libuv. */
int notify_open(struct notify **out, const char *name);

/* One datagram. LN_OK, UV_EAGAIN while the manager is behind with its work, or another code of
 * libuv. */
int notify_send(const struct notify *notify, const char *lines);

/* Does nothing for NULL. */
void notify_close(struct notify *notify);

#endif
