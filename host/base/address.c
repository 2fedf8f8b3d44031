/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "host/base/status.h"

#define BACKLOG 128

#define UNIX_PREFIX "unix:"
#define GIVEN_PREFIX "systemd:"
#define GIVEN_FIRST 3 /* the first descriptor that is given */

static const struct sockaddr_in *v4(const struct address *address) {
    return (const struct sockaddr_in *)&address->to;
}

static const struct sockaddr_in6 *v6(const struct address *address) {
    return (const struct sockaddr_in6 *)&address->to;
}

/* ---- reading ---- */

static const char *parse_path(struct address *out, const char *path) {
    struct sockaddr_un *to = &out->to.local;
    if (*path == '\0')
        return "has no path";
    if (strlen(path) >= sizeof(to->sun_path))
        return "has a path of more than 107 bytes, which a socket cannot have";
    to->sun_family = AF_UNIX;
    strcpy(to->sun_path, path);
    out->len = sizeof(*to);
    return NULL;
}

static const char *parse_name(struct address *out, const char *name) {
    if (*name == '\0' || strchr(name, ':') != NULL)
        return "has no name of a socket, as FileDescriptorName= says it";
    if (strlen(name) >= sizeof(out->given))
        return "has a name of more than 47 bytes";
    strcpy(out->given, name);
    return NULL;
}

static bool parse_port(const char *text, in_port_t *port) {
    size_t digits = strspn(text, "0123456789");
    unsigned long number = strtoul(text, NULL, 10);
    if (digits == 0 || digits > 5 || text[digits] != '\0' || number > UINT16_MAX)
        return false;
    *port = htons((uint16_t)number);
    return true;
}

static const char *parse_host(struct address *out, const char *host, in_port_t port) {
    struct sockaddr_in *in = (struct sockaddr_in *)&out->to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->to;
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    size_t len = strlen(host);
    if (host[0] == '[' && host[len - 1] == ']') {
        char inner[INET6_ADDRSTRLEN] = "";
        snprintf(inner, sizeof(inner), "%.*s", (int)(len - 2), host + 1);
        if (inet_pton(AF_INET6, inner, &in6->sin6_addr) != 1)
            return "has no IPv6 address in the brackets";
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
        out->len = sizeof(*in6);
        return NULL;
    }
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
        return "names a host; write its address (127.0.0.1:PORT, [::1]:PORT)";
    in->sin_family = AF_INET;
    in->sin_port = port;
    out->len = sizeof(*in);
    return NULL;
}

const char *address_parse(struct address *out, const char *text) {
    char host[64];
    in_port_t port;
    memset(out, 0, sizeof(*out));
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_path(out, text + strlen(UNIX_PREFIX));
    if (strncmp(text, GIVEN_PREFIX, strlen(GIVEN_PREFIX)) == 0)
        return parse_name(out, text + strlen(GIVEN_PREFIX));
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || strchr(colon, ']') != NULL ||
        (size_t)(colon - text) >= sizeof(host))
        return "is not ADDRESS:PORT (127.0.0.1:8222, [::1]:8222), unix:PATH or systemd:NAME";
    if (!parse_port(colon + 1, &port))
        return "has no port from 0 to 65535 behind the colon";
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    return parse_host(out, host, port);
}

/* ---- looking ---- */

bool address_is_unix(const struct address *address) {
    return address->to.any.sa_family == AF_UNIX;
}

bool address_is_local(const struct address *address) {
    if (address->to.any.sa_family == AF_INET)
        return ntohl(v4(address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return address_is_unix(address) || IN6_IS_ADDR_LOOPBACK(&v6(address)->sin6_addr);
}

bool address_is_any(const struct address *address) {
    if (address->to.any.sa_family == AF_INET)
        return v4(address)->sin_addr.s_addr == htonl(INADDR_ANY);
    return !address_is_unix(address) && IN6_IS_ADDR_UNSPECIFIED(&v6(address)->sin6_addr);
}

void address_host(const struct address *address, char out[ADDRESS_TEXT_SIZE]) {
    char text[INET6_ADDRSTRLEN] = "";
    if (address_is_unix(address)) {
        snprintf(out, ADDRESS_TEXT_SIZE, UNIX_PREFIX "%s", address->to.local.sun_path);
    } else if (address->to.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &v4(address)->sin_addr, text, sizeof(text));
        snprintf(out, ADDRESS_TEXT_SIZE, "%s", text);
    } else {
        inet_ntop(AF_INET6, &v6(address)->sin6_addr, text, sizeof(text));
        snprintf(out, ADDRESS_TEXT_SIZE, "[%s]", text);
    }
}

void address_text(const struct address *address, char out[ADDRESS_TEXT_SIZE]) {
    address_host(address, out);
    if (address_is_unix(address))
        return;
    in_port_t port =
        address->to.any.sa_family == AF_INET ? v4(address)->sin_port : v6(address)->sin6_port;
    size_t len = strlen(out);
    snprintf(out + len, ADDRESS_TEXT_SIZE - len, ":%u", ntohs(port));
}

/* ---- listening ---- */

/* Whoever has left the file is gone: it is removed. Else why not. */
static int remove_stale(const struct address *address) {
    struct stat st;
    const char *path = address->to.local.sun_path;
    if (lstat(path, &st) < 0)
        return LN_OK;
    if (!S_ISSOCK(st.st_mode))
        return UV_EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    int rc = connect(fd, &address->to.any, address->len);
    bool stale = rc < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!stale)
        return UV_EADDRINUSE;
    return unlink(path) < 0 ? uv_translate_sys_error(errno) : LN_OK;
}

static int bind_and_listen(struct address *address, int fd) {
    int on = 1;
    int rc = LN_OK;
    if (address_is_unix(address)) {
        rc = remove_stale(address);
        fchmod(fd, S_IRUSR | S_IWUSR); /* the mode that bind() gives the file */
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address->to.any.sa_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (rc == LN_OK && bind(fd, &address->to.any, address->len) < 0)
        rc = uv_translate_sys_error(errno);
    if (rc == LN_OK && listen(fd, BACKLOG) < 0)
        rc = uv_translate_sys_error(errno);
    if (rc == LN_OK && !address_is_unix(address))
        getsockname(fd, &address->to.any, &address->len);
    return rc;
}

static void explain(const struct address *address, int rc, char *error, size_t size) {
    char text[ADDRESS_TEXT_SIZE];
    const char *more = "";
    address_text(address, text);
    if (rc == UV_EADDRINUSE && address_is_unix(address))
        more = ": another process listens there";
    else if (rc == UV_EADDRINUSE)
        more = ": another process has this port; with port 0 a free one is taken";
    else if (rc == UV_EEXIST)
        more = ": there is a file that is not a socket, and it is left alone";
    else if (rc == UV_EACCES && !address_is_unix(address))
        more = ": ports below 1024 need a privilege";
    else if (rc == UV_EADDRNOTAVAIL)
        more = ": this machine has no such address";
    snprintf(error, size, "cannot listen on %s: %s%s", text, uv_strerror(rc), more);
}

/* A script may change the working directory before the file is removed. */
static int make_absolute(struct address *address) {
    char *path = address->to.local.sun_path;
    char folder[sizeof(address->to.local.sun_path)], whole[2 * sizeof(folder)];
    if (!address_is_unix(address) || path[0] == '/')
        return LN_OK;
    if (getcwd(folder, sizeof(folder)) == NULL)
        return UV_ENAMETOOLONG;
    if (snprintf(whole, sizeof(whole), "%s/%s", folder, path) >= (int)sizeof(folder))
        return UV_ENAMETOOLONG;
    strcpy(path, whole);
    return LN_OK;
}

/* The descriptor of that name; -1: there is none for this process. */
static int find_given(const char *name) {
    const char *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
    const char *count = getenv("LISTEN_FDS");
    if (pid == NULL || names == NULL || count == NULL || strtol(pid, NULL, 10) != getpid())
        return -1;
    for (int i = 0; i < atoi(count); i++) {
        size_t len = strcspn(names, ":");
        if (strlen(name) == len && memcmp(names, name, len) == 0)
            return GIVEN_FIRST + i;
        names += len + (names[len] == ':');
    }
    return -1;
}

/* Takes the socket that is given, and the address that it has. */
static int take_given(struct address *address, int *fd, char *error, size_t size) {
    int found = find_given(address->given), listens = 0;
    socklen_t len = sizeof(listens);
    if (found < 0) {
        snprintf(error, size,
                 "no socket \"%s\" was given to this process: LISTEN_FDNAMES of systemd has no "
                 "such name",
                 address->given);
        return UV_ENOENT;
    }
    address->len = sizeof(address->to);
    if (getsockopt(found, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens ||
        getsockname(found, &address->to.any, &address->len) < 0) {
        snprintf(error, size,
                 "the socket \"%s\" does not listen: Accept=no, ListenStream=", address->given);
        return LN_EINVAL;
    }
    fcntl(found, F_SETFD, FD_CLOEXEC);
    fcntl(found, F_SETFL, fcntl(found, F_GETFL) | O_NONBLOCK);
    *fd = found;
    return LN_OK;
}

int address_listen(struct address *address, int *fd, char *error, size_t size) {
    if (address->given[0] != '\0')
        return take_given(address, fd, error, size);
    int family = address->to.any.sa_family;
    int rc = make_absolute(address);
    int opened =
        rc == LN_OK ? socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (rc == LN_OK)
        rc = opened < 0 ? uv_translate_sys_error(errno) : bind_and_listen(address, opened);
    if (rc == LN_OK) {
        *fd = opened;
        return LN_OK;
    }
    if (opened >= 0)
        close(opened);
    explain(address, rc, error, size);
    return rc;
}

void address_unlink(const struct address *address) {
    if (address_is_unix(address) && address->given[0] == '\0')
        unlink(address->to.local.sun_path);
}
