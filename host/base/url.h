/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of servers: what they say, and how they are shown in logs, errors and events. */
#ifndef LUNATS_BASE_URL_H
#define LUNATS_BASE_URL_H

#include <stdbool.h>
#include <stddef.h>

#define URL_PORT_SIZE 6

/* Strings are owned; decoded, NULL without. */
struct url {
    bool tls;
    char *host; /* no brackets around an IPv6 address; "localhost" without */
    char port[URL_PORT_SIZE];
    char *user, *password, *token; /* a user without a password is a token */
};

/*
 * Reads [nats|tls://][user[:password]@]host[:port], with blanks around it and a path behind it
 * that mean nothing; the port is 4222 without. In user, password and token %40 and the like are
 * decoded, a percent sign that begins no escape stays what it is, and the last "@" ends them.
 * Returns what is wrong with it, a literal that repeats none of it, or NULL. url_free() in any
 * case.
 */
const char *url_read(struct url *out, const char *text);
void url_free(struct url *url);

/*
 * Writes the URL without user, password and token, cut to `size`, and returns `out`. Whatever
 * stands before the last "@" counts as secret, also in text that is no URL.
 */
const char *url_shown(const char *url, char *out, size_t size);

#endif
