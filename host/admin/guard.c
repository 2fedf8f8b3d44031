/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the port answers. A page in somebody's browser can send requests to 127.0.0.1, and one
 * whose name it has pointed there afterwards can read the answers; so requests must name us by
 * a name that is ours, and what changes something must come from our own pages and know the
 * token.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "host/admin/internal.h"
#include "host/base/status.h"

#define TOKEN_MIN 16

/* ---- the token ---- */

static int read_file(char *out, size_t size, const char *path, char *error, size_t error_size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_stat = fd >= 0 && fstat(fd, &st) == 0;
    /* The credentials of systemd belong to root, and an access list names the user of the
     * service: that shows as a right of the group. */
    mode_t others = is_stat && st.st_uid == 0 && geteuid() != 0 ? 037 : 077;
    if (!is_stat) {
        snprintf(error, error_size, "cannot read the token in %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        snprintf(error, error_size, "the token in %s is not in an ordinary file", path);
    } else if ((st.st_mode & others) != 0) {
        snprintf(error, error_size, "others can read the token in %s (mode %04o): chmod 600 %s",
                 path, (unsigned)(st.st_mode & 07777), path);
    } else {
        ssize_t len = read(fd, out, size - 1);
        out[len > 0 ? len : 0] = '\0';
        close(fd);
        return LN_OK;
    }
    if (fd >= 0)
        close(fd);
    return LN_EINVAL;
}

int guard_read_token(struct guard *guard, const char *path, char *error, size_t size) {
    char *token = guard->token;
    int rc = read_file(token, sizeof(guard->token), path, error, size);
    if (rc < 0)
        return rc;
    size_t len = strlen(token);
    while (len > 0 && isspace((unsigned char)token[len - 1]))
        token[--len] = '\0';
    bool visible = true;
    for (size_t i = 0; i < len; i++)
        visible &= token[i] > ' ' && token[i] < 0x7f;
    if (visible && len >= TOKEN_MIN && len < TOKEN_MAX)
        return LN_OK;
    snprintf(error, size,
             "the token in %s must have %d to %d visible characters: openssl rand -hex 32 > %s",
             path, TOKEN_MIN, TOKEN_MAX - 1, path);
    return LN_EINVAL;
}

static bool has_token(const struct guard *guard, const char *authorization) {
    static const char scheme[] = "Bearer ";
    const size_t skip = sizeof(scheme) - 1;
    if (authorization == NULL || strncasecmp(authorization, scheme, skip) != 0)
        return false;
    const char *token = authorization + skip + strspn(authorization + skip, " ");
    size_t len = strlen(guard->token);
    return strlen(token) == len && CRYPTO_memcmp(token, guard->token, len) == 0;
}

/* ---- names ---- */

static bool is_address(const char *host) {
    struct in6_addr to;
    char inner[INET6_ADDRSTRLEN] = "";
    size_t len = strlen(host);
    if (inet_pton(AF_INET, host, &to) == 1)
        return true;
    if (host[0] != '[' || host[len - 1] != ']' || len - 2 >= sizeof(inner))
        return false;
    memcpy(inner, host + 1, len - 2);
    return inet_pton(AF_INET6, inner, &to) == 1;
}

/*
 * A name that is ours, with any port: it may have been forwarded. What listens for other
 * machines may be asked by any address, as they may see us behind another one than ours; only
 * names can be turned to where they do not belong.
 */
static bool is_ours(const struct guard *guard, const char *value) {
    static const char *const local[] = {"127.0.0.1", "localhost", "[::1]"};
    char host[ADDRESS_TEXT_SIZE];
    size_t len = strlen(value);
    const char *colon = strrchr(value, ':');
    if (colon != NULL && strspn(colon + 1, "0123456789") == strlen(colon + 1))
        len = (size_t)(colon - value);
    if (address_is_unix(&guard->address))
        return true; /* no browser gets here */
    if (len == 0 || len >= sizeof(host))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)len, value);
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        if (strcasecmp(host, local[i]) == 0)
            return true;
    if (!address_is_local(&guard->address) && is_address(host))
        return true;
    return strcasecmp(host, guard->host) == 0;
}

/* ---- the whole ---- */

static bool changes(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

static bool same_origin(const char *origin, const char *host) {
    static const char scheme[] = "http://";
    return strncasecmp(origin, scheme, sizeof(scheme) - 1) == 0 &&
           strcasecmp(origin + sizeof(scheme) - 1, host) == 0;
}

int guard_check(const struct guard *guard, const struct http_api *api,
                const struct http_request *request, const char **why) {
    size_t count;
    const char *host = api->header(request, "Host", &count);
    if (count != 1) {
        *why = count == 0 ? "a request names its host" : "a request names one host";
        return 400;
    }
    if (!is_ours(guard, host)) {
        *why = "this host is not a name of the admin port: ask by its address";
        return 403;
    }
    if (!changes(request->method))
        return 0;
    const char *origin = api->header(request, "Origin", NULL);
    if (origin != NULL && !same_origin(origin, host)) {
        *why = "other pages may not change anything here";
        return 403;
    }
    if (guard->token[0] == '\0') {
        *why = "nothing can be changed here: lunats was started without --admin-token";
        return 403;
    }
    if (!has_token(guard, api->header(request, "Authorization", NULL))) {
        *why = "this needs the token: Authorization: Bearer ...";
        return 401;
    }
    return 0;
}
