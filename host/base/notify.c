/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/status.h"

struct notify {
    int fd;
    socklen_t len; /* of the address; an abstract one ends without a zero */
    struct sockaddr_un address;
};

int notify_open(struct notify **out, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(address.sun_path))
        return LN_EINVAL;
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    struct notify *notify = malloc(sizeof(*notify));
    if (notify == NULL)
        return LN_ENOMEM;
    notify->address = address;
    notify->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0) {
        free(notify);
        return uv_translate_sys_error(errno);
    }
    *out = notify;
    return LN_OK;
}

int notify_send(const struct notify *notify, const char *lines) {
    ssize_t sent;
    do {
        sent = sendto(notify->fd, lines, strlen(lines), MSG_NOSIGNAL,
                      (const struct sockaddr *)&notify->address, notify->len);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return LN_OK;
    return errno == ENOBUFS ? UV_EAGAIN : uv_translate_sys_error(errno);
}

void notify_close(struct notify *notify) {
    if (notify == NULL)
        return;
    close(notify->fd);
    free(notify);
}
