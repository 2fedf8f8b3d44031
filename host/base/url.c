/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_PORT "4222"

/* ---- reading ---- */

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte of an escape like %40; 0 when there is none. */
static char escaped(const char *at, const char *end) {
    int high = *at == '%' && end - at > 2 ? hex_value(at[1]) : -1;
    int low = high >= 0 ? hex_value(at[2]) : -1;
    return (char)(low >= 0 ? high << 4 | low : 0);
}

/* A copy with escapes decoded; a percent sign that begins none stays what it is. */
static char *decode(const char *text, size_t len) {
    const char *end = text + len;
    char *out = malloc(len + 1), *to = out;
    while (out != NULL && text < end) {
        char byte = escaped(text, end);
        *to++ = byte != '\0' ? byte : *text;
        text += byte != '\0' ? 3 : 1;
    }
    if (out != NULL)
        *to = '\0';
    return out;
}

static bool read_user(struct url *out, const char *at, const char *end) {
    const char *colon = memchr(at, ':', (size_t)(end - at));
    if (at == end)
        return true;
    if (colon == NULL)
        return (out->token = decode(at, (size_t)(end - at))) != NULL;
    out->user = decode(at, (size_t)(colon - at));
    out->password = decode(colon + 1, (size_t)(end - colon - 1));
    return out->user != NULL && out->password != NULL;
}

/* Returns what is wrong with it, or NULL. */
static const char *read_port(struct url *out, const char *at, const char *end) {
    char digits[16] = DEFAULT_PORT;
    size_t len = (size_t)(end - at);
    if (len > 0)
        snprintf(digits, sizeof(digits), "%.*s", (int)len, at);
    char *rest;
    long port = strtol(digits, &rest, 10);
    if (*rest != '\0' || digits[0] < '0' || digits[0] > '9') {
        out->port[0] = '\0';
        return "the port is no number (in user and password , is %2C, : is %3A, @ is %40, / is "
               "%2F)";
    }
    if (port < 1 || port > 65535 || len >= sizeof(digits))
        return "the port must be a number from 1 to 65535";
    snprintf(out->port, sizeof(out->port), "%ld", port);
    return NULL;
}

/* An IPv6 address without brackets, so without a port; it may name an interface. */
static bool is_bare_ip6(const char *at, const char *end) {
    char address[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    const char *zone = memchr(at, '%', (size_t)(end - at));
    size_t len = (size_t)((zone != NULL ? zone : end) - at);
    if (len >= sizeof(address))
        return false;
    memcpy(address, at, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, bytes) == 1;
}

/* What would not be read again as it is written, or would break a line of the log. */
static bool is_host(const char *at, const char *end) {
    for (; at < end; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("[]\"\\<>^`{|}", *at) != NULL)
            return false;
    return true;
}

static const char *read_address(struct url *out, const char *at, const char *end) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    end = slash != NULL ? slash : end;
    const char *close = *at == '[' ? memchr(at, ']', (size_t)(end - at)) : NULL;
    if (*at == '[' && close == NULL)
        return "a [ without its ]";
    const char *from = close != NULL ? close + 1 : at;
    const char *colon = is_bare_ip6(at, end) ? NULL : memchr(from, ':', (size_t)(end - from));
    const char *host_end = close != NULL ? close : colon != NULL ? colon : end;
    if (close != NULL && from < end && *from != ':')
        return "behind ] there can only be a colon and the port";
    at += close != NULL;
    if (!is_host(at, host_end))
        return "the host has a character that no name of a host has";
    out->host = host_end > at ? strndup(at, (size_t)(host_end - at)) : strdup("localhost");
    if (out->host == NULL)
        return "out of memory";
    return read_port(out, colon != NULL ? colon + 1 : end, end);
}

const char *url_read(struct url *out, const char *at) {
    memset(out, 0, sizeof(*out));
    at += strspn(at, " \t");
    const char *end = at + strlen(at), *mark = strstr(at, "://");
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t scheme = mark != NULL ? (size_t)(mark - at) : 0;
    if (scheme == 3 && strncasecmp(at, "tls", 3) == 0)
        out->tls = true;
    else if (mark != NULL && !(scheme == 4 && strncasecmp(at, "nats", 4) == 0))
        return "only nats:// and tls:// are served";
    at = mark != NULL ? mark + 3 : at;
    const char *sign = end;
    while (sign > at && *sign != '@')
        sign--;
    if (sign < end && *sign == '@') {
        if (!read_user(out, at, sign))
            return "out of memory";
        at = sign + 1;
    }
    return read_address(out, at, end);
}

/* Nothing secret is left in memory that others get. */
static void wipe(char *text) {
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void url_free(struct url *url) {
    free(url->host);
    wipe(url->user);
    wipe(url->password);
    wipe(url->token);
    memset(url, 0, sizeof(*url));
}

/* ---- showing ---- */

/* The length of "nats://", or 0 where there is no scheme. */
static size_t scheme_length(const char *url) {
    size_t len = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+");
    return strncmp(url + len, "://", 3) == 0 ? len + 3 : 0;
}

const char *url_shown(const char *url, char *out, size_t size) {
    const char *at = strrchr(url, '@');
    if (at == NULL)
        snprintf(out, size, "%s", url);
    else
        snprintf(out, size, "%.*s%s", (int)scheme_length(url), url, at + 1);
    return out;
}
