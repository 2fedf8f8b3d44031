/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a service is, beside its state: its server's lame duck, the checks that its script has
 * declared (app.health), its consumers, and who wants to hear of its connection. It belongs to
 * the service, so it lasts over the versions of the script; scripts hold parts of it.
 */
#ifndef LUNATS_SERVICE_VITALS_H
#define LUNATS_SERVICE_VITALS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/keyed.h"
#include "host/base/list.h"
#include "host/base/meter.h"
#include "host/link/link.h"
#include "host/service/faults.h"

/* ---- checks ---- */

enum health { HEALTH_UNKNOWN, HEALTH_OK, HEALTH_FAILED };

/* One check. Versions of a script that declare the same name share it: its last result counts
 * until the new version has one. */
struct health_check {
    struct list_node node;
    char *name; /* owned */
    char *why;  /* owned; of a failure */
    enum health health;
    bool critical;     /* a failure makes the service not ready */
    double checked_at; /* Unix time of the result; 0: none yet */
    unsigned users;
};

/* ---- consumers ---- */

/* How a message of a consumer ended. */
enum settled { SETTLED_ACK, SETTLED_NAK, SETTLED_TERM, SETTLED_WAYS };

enum reader_state { READER_OK, READER_MISSING, READER_SILENT };

/* One consumer of a stream that something in the service reads from. */
struct reader {
    struct list_node node;
    char *stream, *consumer; /* owned */
    char *label;             /* owned; what metrics call it: names that the server has made up
                              * are one, "(ephemeral)" */
    char *key;               /* owned: "stream.consumer.", as it stands in reply subjects */
    size_t key_len;
    char *prefix; /* owned; of the API that knows it; NULL: nobody is asked */
    enum reader_state state;
    char why[160];
    uint64_t last_ms; /* of the last one, on the service's clock; 0: none yet */
    struct series *settled[SETTLED_WAYS]; /* NULL: not counted */
    /* Of whoever handles its messages in order of their keys, until he takes it back; NULL:
     * nobody does. */
    void (*keys)(const void *owner, struct keyed_stats *out);
    const void *keys_owner;
};

/* ---- the connection ---- */

/* Wants to hear of the connection. Embedded; all zero is idle. */
struct connection_watcher {
    struct list_node node;
    /* "connected" (detail: the server's URL), "disconnected" (the reason), "lame_duck" (""). */
    void (*on_change)(struct connection_watcher *watcher, const char *state,
                      const char *detail);
};

/* ---- the whole ---- */

/* Embedded in the service; all zero is one about which nobody has said anything. */
struct vitals {
    bool lame_duck;       /* the server goes away */
    uint64_t collections; /* of Lua's garbage, if they are counted */
    struct list checks, readers, watchers;
    struct faults faults;  /* kept if somebody wants to see them: keep_errors of the options */
    struct meter *settled; /* NULL while nothing is read */
    struct meters meters;  /* of the scripts, and of the host what is counted by labels */
    char *foreign[2];      /* owned; metrics of others that are shown with ours, as text for
                            * Prometheus and as OpenMetrics; NULL: none */
};

void vitals_free(struct vitals *vitals);

/* Takes both texts, of families that nobody else has; NULL: none. */
void vitals_set_foreign(struct vitals *vitals, char *prometheus, char *open_metrics);

/* What the link tells, for the watchers. */
void vitals_connection(struct vitals *vitals, const struct link *link, enum link_state state,
                       const char *text);
void vitals_lame_duck(struct vitals *vitals);

/* The check of this name, made if it is not there, or NULL without memory. Each call is matched
 * by health_release(); the last one removes it. */
struct health_check *health_hold(struct vitals *vitals, const char *name, bool critical);
void health_release(struct health_check *check);
/* Its result; `why` is copied, NULL when it is well. */
void health_set(struct health_check *check, const char *why, double now);

/* Something begins to read; NULL without memory. The caller hands it to reader_close().
 * `named`: its name stays the same when it is made again. `prefix` may be NULL. */
struct reader *reader_open(struct vitals *vitals, const char *stream, const char *consumer,
                           bool named, const char *prefix);
void reader_close(struct reader *reader);
/* Whether none before it has the same stream and label: several ordered consumers, or two
 * versions of a script, read the same. */
bool reader_is_first(const struct vitals *vitals, const struct reader *reader);
/* What is to say of all of these: they are up if each of them is. */
struct reader_together {
    bool up;
    uint64_t last_ms; /* of the latest message; 0: none yet */
    bool keyed;       /* one of them has keys; these are the sums: */
    struct keyed_stats keys;
};
struct reader_together reader_together(const struct vitals *vitals,
                                       const struct reader *reader);
/* The reader of the consumer that has sent a message with this reply subject, "$JS.ACK....", or
 * NULL. Per message: it compares, and does not parse. */
struct reader *reader_of_reply(const struct vitals *vitals, const char *reply);
/* A message has been settled. */
static inline void reader_settled(struct reader *reader, enum settled how) {
    series_add(reader->settled[how], 1);
}
void reader_set(struct reader *reader, enum reader_state state, const char *why);

#endif
