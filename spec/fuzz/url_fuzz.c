/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of servers. The input is a line with a URL, and one each with user, password and host of
 * another one, which is put together here. */
#include "host/base/url.h"

#include "spec/fuzz/fuzz.h"

static bool equal(const char *text, const char *other) {
    return text == NULL || other == NULL ? text == other : strcmp(text, other) == 0;
}

/* Each byte as an escape, so that none means anything. */
static char *escaped(const char *text) {
    char *out = malloc(strlen(text) * 3 + 1), *to = out;
    HOLDS(out != NULL);
    *to = '\0';
    for (; *text != '\0'; text++)
        to += sprintf(to, "%%%02x", (unsigned char)*text);
    return out;
}

static char *join(const char *scheme, const char *user, const char *password, const char *host,
                  const char *port) {
    char *url = NULL;
    bool brackets = strchr(host, ':') != NULL;
    HOLDS(asprintf(&url, "%s://%s%s%s%s%s%s%s%s%s", scheme, user, *password != '\0' ? ":" : "",
                   password, *user != '\0' || *password != '\0' ? "@" : "", brackets ? "[" : "",
                   host, brackets ? "]" : "", *port != '\0' ? ":" : "", port) > 0);
    return url;
}

/* What was read, written as a URL, is read as the same. */
static void check_rewritten(const struct url *url) {
    char *user = escaped(url->user != NULL ? url->user : url->token != NULL ? url->token : "");
    char *password = escaped(url->password != NULL ? url->password : "");
    char *text = join(url->tls ? "tls" : "nats", user, password, url->host, url->port);
    struct url again;
    HOLDS(url_read(&again, text) == NULL);
    HOLDS(again.tls == url->tls && equal(again.host, url->host));
    HOLDS(strcmp(again.port, url->port) == 0);
    HOLDS(*password == '\0' || (equal(again.user, url->user != NULL ? url->user : "") &&
                                equal(again.password, url->password)));
    HOLDS(url->token == NULL || equal(again.token, url->token));
    url_free(&again);
    free(text);
    free(password);
    free(user);
}

/* Bytes that the name or the address of a host may have; or none of them. */
static bool is_host(const char *host) {
    if (strpbrk(host, "@[]\"\\<>^`{|}") != NULL)
        return false;
    for (; *host != '\0'; host++)
        if ((unsigned char)*host <= ' ' || *host == 0x7f)
            return false;
    return true;
}

static void check_read(const char *text) {
    struct url url;
    const char *fault = url_read(&url, text);
    if (fault == NULL) {
        HOLDS(url.host != NULL && atoi(url.port) >= 1 && atoi(url.port) <= 65535);
        HOLDS(url.token == NULL || (url.user == NULL && url.password == NULL));
        HOLDS((url.user == NULL) == (url.password == NULL));
        HOLDS(is_host(url.host));
        check_rewritten(&url);
    }
    url_free(&url);
}

/* Nothing that is in front of the last "@" is shown, but for the scheme. */
static void check_shown(const char *text) {
    size_t size = strlen(text) + 1;
    char *shown = malloc(size), *cut = malloc(8);
    HOLDS(shown != NULL && cut != NULL);
    HOLDS(url_shown(text, shown, size) == shown && url_shown(text, cut, 8) == cut);
    const char *at = strrchr(text, '@');
    size_t tail = at != NULL ? strlen(at + 1) : 0;
    if (at != NULL) {
        size_t head = strlen(shown) - tail;
        HOLDS(strlen(shown) >= tail && strcmp(shown + head, at + 1) == 0);
        HOLDS(head == 0 || (head >= 3 && strncmp(shown + head - 3, "://", 3) == 0 &&
                            strncmp(shown, text, head) == 0));
    }
    HOLDS(strncmp(cut, shown, 7) == 0);
    free(shown);
    free(cut);
}

/* User and password of any bytes, escaped, come back. */
static void check_user(const char *user, const char *password, const char *host) {
    char *name = escaped(user), *secret = escaped(password);
    char *text = join("nats", name, secret, host, "");
    struct url url;
    if (*user != '\0' && *password != '\0' && is_host(host) && strpbrk(host, ":/") == NULL) {
        HOLDS(url_read(&url, text) == NULL);
        HOLDS(equal(url.user, user) && equal(url.password, password));
        HOLDS(equal(url.host, *host != '\0' ? host : "localhost"));
        url_free(&url);
    }
    free(text);
    free(secret);
    free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct fuzz_input input = {(const char *)bytes, size};
    char *text = fuzz_line(&input), *user = fuzz_line(&input), *password = fuzz_line(&input);
    char *host = fuzz_line(&input);
    check_read(text);
    check_shown(text);
    check_user(user, password, host);
    free(text);
    free(user);
    free(password);
    free(host);
    return 0;
}
