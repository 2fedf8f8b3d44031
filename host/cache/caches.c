/* SPDX-License-Identifier: Apache-2.0 */
/* The caches of a process: their names, who has opened them, and what is done from the loop. */
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/cache/cache.h"
#include "host/cache/internal.h"

/* Of a tick, a fraction of a millisecond of work. */
#define SWEEP_BUCKETS 4096 /* of all caches together ... */
#define SWEEP_LEAST 16     /* ... but of each so many */
#define FREE_ENTRIES 1000
#define BUSY_MS 5    /* to the next tick while there is much to remove */
#define CALM_MS 1000 /* otherwise */
/* What a process frees at its end; it would wait for more. */
#define LAST_ENTRIES 100000

struct caches {
    uv_timer_t timer;
    struct list all;   /* struct cache */
    struct list dying; /* nobody has opened them any more: freed a little at a time */
    size_t count;      /* of `all` */
    bool closing;
};

/* A service that has opened a cache, in one version or another. */
struct holder {
    struct list_node node; /* of the cache */
    const void *service;
};

/* ---- what is done from the loop ---- */

static bool sweep_one(struct cache *cache, size_t buckets) {
    const struct cache_user *user =
        list_item(list_first(&cache->users), struct cache_user, node);
    cache_trim(cache, FREE_ENTRIES);
    struct sweep sweep = {0};
    if (user != NULL) /* without one nobody knows the time */
        sweep = cache_sweep(cache, clock_now(user->clock), buckets);
    return cache_is_over(cache) || sweep.removed * 4 > sweep.seen;
}

/* Frees what is left of a cache, if that is not too much. */
static bool bury(struct cache *cache, size_t most) {
    if (!cache_free_some(cache, most))
        return false;
    list_remove(&cache->node);
    free(cache);
    return true;
}

static void on_timer(uv_timer_t *timer) {
    struct caches *caches = container_of(timer, struct caches, timer);
    size_t share = SWEEP_BUCKETS / (caches->count + 1);
    bool busy = false, aged = false;
    list_each (struct cache, cache, &caches->all, node) {
        busy |= sweep_one(cache, share > SWEEP_LEAST ? share : SWEEP_LEAST);
        aged |= cache->aged > 0;
    }
    struct cache *dying = list_item(list_first(&caches->dying), struct cache, node);
    if (dying != NULL)
        busy |= !bury(dying, FREE_ENTRIES) || !list_empty(&caches->dying);
    if (busy || aged)
        uv_timer_start(timer, on_timer, busy ? BUSY_MS : CALM_MS, 0);
}

void caches_want_sweep(struct caches *caches) {
    if (!caches->closing && !uv_is_active((uv_handle_t *)&caches->timer))
        uv_timer_start(&caches->timer, on_timer, CALM_MS, 0);
}

/* ---- those of a process ---- */

int caches_open(struct caches **out, uv_loop_t *loop) {
    struct caches *caches = calloc(1, sizeof(*caches));
    if (caches == NULL)
        return LN_ENOMEM;
    uv_timer_init(loop, &caches->timer); /* cannot fail */
    uv_unref((uv_handle_t *)&caches->timer);
    *out = caches;
    return LN_OK;
}

static void leave(struct cache *cache, const void *service) {
    list_each (struct holder, holder, &cache->services, node) {
        if (service != NULL && holder->service != service)
            continue;
        list_remove(&holder->node);
        free(holder);
    }
    if (!list_empty(&cache->services))
        return;
    list_each (struct cache_user, user, &cache->users, node) {
        list_remove(&user->node);
        user->cache = NULL;
    }
    list_push_back(&cache->caches->dying, &cache->node);
    cache->caches->count--;
    caches_want_sweep(cache->caches);
}

void caches_leave(struct caches *caches, const void *service) {
    if (caches == NULL)
        return;
    list_each (struct cache, cache, &caches->all, node)
        leave(cache, service);
}

/* What is left, still known to whoever looks for leaks. */
static struct caches *left;

static void on_closed(uv_handle_t *handle) {
    struct caches *caches = container_of((uv_timer_t *)handle, struct caches, timer);
    list_each (struct cache, cache, &caches->dying, node) {
        if (!bury(cache, LAST_ENTRIES)) {
            left = caches;
            return;
        }
    }
    free(caches);
}

void caches_close(struct caches *caches) {
    caches->closing = true;
    caches_leave(caches, NULL);
    uv_close((uv_handle_t *)&caches->timer, on_closed);
}

struct cache *caches_next(const struct caches *caches, const struct cache *after) {
    struct list_node *node =
        after != NULL ? list_next(&caches->all, &after->node) : list_first(&caches->all);
    return list_item(node, struct cache, node);
}

/* ---- one that is opened ---- */

static struct cache *find(const struct caches *caches, const char *name) {
    list_each (struct cache, cache, &caches->all, node)
        if (strcmp(cache->name, name) == 0)
            return cache;
    return NULL;
}

static int make(struct caches *caches, const char *name, struct cache **out) {
    uint64_t seed[2];
    if (caches->count >= CACHE_MOST)
        return LN_EFULL;
    int rc = uv_random(NULL, NULL, seed, sizeof(seed), 0, NULL);
    if (rc < 0)
        return rc;
    struct cache *cache = calloc(1, sizeof(*cache));
    char *copy = strdup(name);
    if (cache == NULL || copy == NULL || !cache_init(cache, copy, seed)) {
        free(cache);
        free(copy);
        return LN_ENOMEM;
    }
    cache->caches = caches;
    list_push_back(&caches->all, &cache->node);
    caches->count++;
    *out = cache;
    return LN_OK;
}

static int hold(struct cache *cache, const void *service) {
    list_each (struct holder, holder, &cache->services, node)
        if (holder->service == service)
            return LN_OK;
    struct holder *holder = calloc(1, sizeof(*holder));
    if (holder == NULL)
        return LN_ENOMEM;
    holder->service = service;
    list_push_back(&cache->services, &holder->node);
    return LN_OK;
}

/* While no version has it open its bound stays as it is. */
static void set_bound(struct cache *cache) {
    uint64_t most = 0;
    if (list_empty(&cache->users))
        return;
    list_each (struct cache_user, user, &cache->users, node)
        if (user->max_bytes > most)
            most = user->max_bytes;
    cache->stats.max_bytes = most > 0 ? most : CACHE_DEFAULT_BYTES;
    if (cache_is_over(cache))
        caches_want_sweep(cache->caches);
}

int cache_open(struct caches *caches, const char *name, const void *service,
               struct cache_user *user) {
    struct cache *cache = find(caches, name);
    int rc = cache != NULL ? LN_OK : make(caches, name, &cache);
    if (rc < 0)
        return rc;
    rc = hold(cache, service);
    if (rc < 0) {
        leave(cache, service); /* one that was made for this */
        return rc;
    }
    user->cache = cache;
    list_push_back(&cache->users, &user->node);
    set_bound(cache);
    return LN_OK;
}

void cache_wish(struct cache_user *user, uint64_t max_bytes) {
    user->max_bytes = max_bytes;
    set_bound(user->cache);
}

void cache_close(struct cache_user *user) {
    if (user->cache == NULL)
        return;
    list_remove(&user->node);
    set_bound(user->cache);
    user->cache = NULL;
}
