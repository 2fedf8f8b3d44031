/* SPDX-License-Identifier: Apache-2.0 */
#include "host/tcp/pool.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/status.h"

struct idle {
    struct list_node node;
    struct tcp_pool *pool;
    struct tcp_socket *socket;
    struct clock_timer timer;
    unsigned uses;
    size_t key_len;
    char key[];
};

/* Returns its socket. */
static struct tcp_socket *leave(struct idle *idle) {
    struct tcp_socket *socket = idle->socket;
    clock_disarm(idle->pool->clock, &idle->timer);
    list_remove(&idle->node);
    free(idle);
    return socket;
}

static void drop(struct idle *idle) {
    tcp_close(leave(idle), true);
}

static void on_event(void *owner) {
    struct idle *idle = owner;
    if (!tcp_at_rest(idle->socket))
        drop(idle);
}

static void on_old(struct clock_timer *timer) {
    drop(container_of(timer, struct idle, timer));
}

static bool has_key(const struct idle *idle, const char *key, size_t len) {
    return idle->key_len == len && memcmp(idle->key, key, len) == 0;
}

/* Makes room for one more. */
static void shrink(struct tcp_pool *pool, const char *key, size_t len, size_t most) {
    size_t count = 0;
    list_each (struct idle, at, &pool->idle, node)
        if (has_key(at, key, len) && ++count >= most)
            drop(at);
}

int tcp_pool_keep(struct tcp_pool *pool, struct tcp_socket *socket, const char *key,
                  size_t key_len, unsigned uses, uint64_t idle_ms, size_t most) {
    struct idle *idle = calloc(1, sizeof(*idle) + key_len);
    if (idle == NULL) {
        tcp_close(socket, true);
        return LN_ENOMEM;
    }
    shrink(pool, key, key_len, most);
    *idle = (struct idle){.pool = pool, .socket = socket, .uses = uses, .key_len = key_len};
    memcpy(idle->key, key, key_len);
    idle->timer.fire = on_old;
    list_push_front(&pool->idle, &idle->node);
    clock_arm(pool->clock, &idle->timer, idle_ms);
    tcp_want(socket, 0);
    tcp_hand_over(socket, on_event, idle);
    return LN_OK;
}

struct tcp_socket *tcp_pool_take(struct tcp_pool *pool, const char *key, size_t key_len,
                                 unsigned *uses) {
    list_each (struct idle, at, &pool->idle, node) {
        if (!has_key(at, key, key_len))
            continue;
        *uses = at->uses;
        return leave(at);
    }
    return NULL;
}

void tcp_pool_close(struct tcp_pool *pool) {
    struct list_node *node;
    while ((node = list_first(&pool->idle)) != NULL)
        drop(list_item(node, struct idle, node));
}
