/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Caches: values by key, outside of Lua's memory, shared by all services of the process and its
 * scripts over their reloads. A cache is bounded by bytes - who was not used for longest goes -
 * and its entries may have an age. It has one name in the whole process, and lives as long as
 * a service that has opened it.
 *
 * Every call costs the same however much there is, apart from the bytes of its value: the table
 * grows by single buckets, aged entries are noticed when somebody asks for them and otherwise
 * swept away a few at a time. All functions belong to the loop thread.
 */
#ifndef LUNATS_CACHE_H
#define LUNATS_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "host/base/clock.h"
#include "host/base/list.h"
#include "host/base/status.h"

#define CACHE_DEFAULT_BYTES ((uint64_t)64 * 1000 * 1000) /* where nobody has said */
#define CACHE_LEAST_BYTES 1024
#define CACHE_MOST 1000 /* caches of a process */
#define CACHE_NAME_MAX 255
#define CACHE_KEY_MAX 65535
#define CACHE_SHARE 8 /* an entry has at most 1/8 of max_bytes: it would push out too many */

struct caches;
struct cache;
struct cache_entry;

/* ---- those of a process: caches.c ---- */

/* LN_OK, LN_ENOMEM, or a code of libuv without random bytes. The handle keeps no loop alive. */
int caches_open(struct caches **out, uv_loop_t *loop);
/* After all services. Its memory goes with the loop; what is in large caches is left to the end
 * of the process. */
void caches_close(struct caches *caches);

/* In the order of their opening: after NULL the first, after the last NULL. */
struct cache *caches_next(const struct caches *caches, const struct cache *after);

/* The service is gone, and with it the caches that nobody else has opened. */
void caches_leave(struct caches *caches, const void *service);

/* ---- one that a version of a script has opened ---- */

/* Embedded by whoever opens it, who fills in the clock and what the script wishes. */
struct cache_user {
    struct list_node node;
    struct cache *cache; /* NULL: not opened, or closed */
    struct clock *clock; /* tells how old entries are; borrowed until cache_close() */
    uint64_t max_bytes;  /* the largest that a user wishes is that of the cache; 0: no wish */
};

/*
 * Opens the cache with this name, which it makes if there is none, for a version of `service`.
 * LN_OK, LN_ENOMEM, or LN_EFULL when there are too many.
 */
int cache_open(struct caches *caches, const char *name, const void *service,
               struct cache_user *user);
/* Another wish of a user that has opened it. */
void cache_wish(struct cache_user *user, uint64_t max_bytes);
/* The version ends; the cache stays for the next one. Does nothing to one that is not open. */
void cache_close(struct cache_user *user);

const char *cache_name(const struct cache *cache);

/* ---- values ---- */

enum cache_type { CACHE_BYTES, CACHE_INTEGER, CACHE_NUMBER, CACHE_BOOLEAN };

struct cache_value {
    enum cache_type type;
    union {
        struct {
            const char *bytes;
            size_t len;
        };
        int64_t integer;
        double number;
        bool boolean;
    };
};

/* A key; `len` is CACHE_KEY_MAX at most. */
struct cache_key {
    const char *bytes;
    size_t len;
};

/* In all of these `now` is milliseconds on the user's clock and `ttl_ms` the age from then on,
 * 0: for ever. */

/* False: it is not there, or too old. The bytes of *out are borrowed until the next call. */
bool cache_get(struct cache *cache, struct cache_key key, uint64_t now,
               struct cache_value *out);

/* LN_OK, LN_ENOMEM, or LN_ETOOLARGE: see CACHE_SHARE; what was there before stays then. */
int cache_set(struct cache *cache, struct cache_key key, uint64_t now, uint64_t ttl_ms,
              const struct cache_value *value);

/* Where there is one already nothing happens, and *added is false. */
int cache_add(struct cache *cache, struct cache_key key, uint64_t now, uint64_t ttl_ms,
              const struct cache_value *value, bool *added);

/*
 * Adds a number to the one that is there, whose age stays; where there is none *value is `init`
 * plus that, with the age `ttl_ms`. Integers wrap around, as in Lua. *value is `by` first, then
 * the result. LN_EINVAL: what is there is no number.
 */
int cache_incr(struct cache *cache, struct cache_key key, uint64_t now, uint64_t ttl_ms,
               const struct cache_value *init, struct cache_value *value);

/* Whether it was there. */
bool cache_delete(struct cache *cache, struct cache_key key, uint64_t now);

/* The most recently used after NULL, and so on; its key is borrowed until the next call of
 * another function. *old: it has lived too long. */
struct cache_entry *cache_next(struct cache *cache, const struct cache_entry *after,
                               uint64_t now, struct cache_key *key, bool *old);

/* The bytes that an entry would count for. */
uint64_t cache_entry_cost(struct cache_key key, const struct cache_value *value);

/* ---- numbers ---- */

struct cache_stats {
    uint64_t entries, bytes, max_bytes; /* bytes: with what an entry needs besides its own */
    uint64_t hits, misses;              /* of cache_get() */
    uint64_t evictions;                 /* entries that had to go for others */
    uint64_t expirations;               /* entries that have lived too long and were removed */
};
struct cache_stats cache_stats(struct cache *cache);

#endif
