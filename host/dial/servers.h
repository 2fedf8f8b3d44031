/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers that a link may connect to: the configured ones and those that the cluster
 * announces; which one comes next, and when.
 */
#ifndef LUNATS_DIAL_SERVERS_H
#define LUNATS_DIAL_SERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/list.h"
#include "host/base/url.h"
#include "host/dial/info.h"

struct servers;

#define SERVER_REASONS 8

/*
 * One server; owned by its servers and valid until a servers_learn() that does not name it.
 * Configured ones and the connected one are never dropped.
 */
struct server {
    struct list_node node;
    struct url url;    /* what is not in an announced one is that of who announced it */
    const char *fault; /* what is wrong with the URL; NULL: nothing */
    char *tls_host;    /* whose certificate it has: its own host's, or the configured one's */
    bool announced;
    bool named; /* by the INFO that is being read */
    unsigned failures;
    uint64_t not_before;           /* loop time in ms */
    char reason[256];              /* why the last attempt failed; "": it has not been tried */
    uint64_t told[SERVER_REASONS]; /* hashes of the reasons since the last connection */
    unsigned told_count;
};

/* Copies the URLs ([nats|tls://][user[:password]@]host[:port], percent-encoding is decoded) and
 * puts them into a random order. NULL without memory. */
struct servers *servers_new(const char *const *urls, size_t count, uint64_t random);
void servers_free(struct servers *servers);

/* The one to try next; *wait is how many ms to wait before. There always is one. */
struct server *servers_next(struct servers *servers, uint64_t now, uint64_t *wait);

/* An attempt failed. Returns true if this server did not fail for this reason before. */
bool servers_failed(struct servers *servers, struct server *server, uint64_t now,
                    const char *reason);
/* Every server has failed since the link was opened or connected. Writes down why, with their
 * URLs if there are several. */
bool servers_all_failed(const struct servers *servers, char *out, size_t size);

/* `tls`: the connection has it, so servers that this one announces shall have it, too. */
void servers_connected(struct servers *servers, struct server *server, bool tls);
/* The connection to the connected one is lost; `lasted`: it was of use. */
void servers_lost(struct servers *servers, uint64_t now, bool lasted);

/* Not before this time, whatever the back-off says. */
void servers_hold(struct servers *servers, uint64_t until);

/* The connected server tells who else is in the cluster. `authentic`: inside of TLS. Returns
 * true if there are new ones. */
bool servers_learn(struct servers *servers, struct info *info, bool authentic);

/* "nats://host:port", without user and password; and without what may be part of them when the
 * URL could not be read. */
void server_url(const struct server *server, char *out, size_t size);

#endif
