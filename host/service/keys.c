/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/keys.h"

#include <stdlib.h>
#include <uv.h>

#include "host/base/container_of.h"
#include "host/link/message.h"
#include "host/service/internal.h"

#define PENDING_MSGS 65536
#define PENDING_BYTES ((size_t)64 << 20)
#define KEY_SHARE 4 /* of what may wait, for one key */
#define TELL_MS 1000

/* Of a job, from its arrival to the end of its handler. */
struct job_turn {
    struct keyed_item item;
    struct job *job;
    struct list_node waits;   /* until its handler begins */
    struct list_node unkeyed; /* while nobody has said its key */
    bool failed;              /* its key could not be found */
};

struct listener_keys {
    struct listener *owner; /* of the version that serves; NULL: none any more */
    struct keyed *keyed;
    struct list waiting, unkeyed;
    size_t count, bytes; /* of those that wait */
    size_t most, most_bytes;
    bool pumping, finding;
    unsigned holders;
    uint64_t dropped, untold, told_ms;
};

/* ---- life ---- */

int keys_open(struct listener *listener) {
    struct listener_keys *keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return LN_ENOMEM;
    const struct listener_options *options = &listener->options;
    keys->most = options->pending_msgs > 0 ? (size_t)options->pending_msgs : PENDING_MSGS;
    keys->most_bytes = options->pending_bytes > 0 ? options->pending_bytes : PENDING_BYTES;
    int rc = keyed_open(&keys->keyed, keys->most / KEY_SHARE + 1);
    if (rc < 0) {
        free(keys);
        return rc;
    }
    keys->owner = listener;
    keys->holders = 1;
    listener->keys = keys;
    return LN_OK;
}

struct listener_keys *keys_hold(struct listener_keys *keys) {
    keys->holders++;
    return keys;
}

void keys_release(struct listener_keys *keys) {
    if (--keys->holders > 0)
        return;
    keyed_release(keys->keyed);
    free(keys);
}

/* It does not wait any more. */
static void leave(struct listener_keys *keys, struct job_turn *turn) {
    if (!list_linked(&turn->waits))
        return;
    list_remove(&turn->waits);
    list_remove(&turn->unkeyed);
    keys->count--;
    keys->bytes -= turn->item.weight;
}

void keys_close(struct listener *listener) {
    struct listener_keys *keys = listener->keys;
    if (keys == NULL)
        return;
    listener->keys = NULL;
    if (keys->owner == listener) {
        keys->owner = NULL;
        for (struct list_node *node; (node = list_first(&keys->waiting)) != NULL;) {
            struct job_turn *turn = list_item(node, struct job_turn, waits);
            struct job *job = turn->job;
            leave(keys, turn);
            if (turn->item.lane != NULL)
                keyed_remove(keys->keyed, &turn->item);
            job->turn = NULL;
            free(turn);
            listener->running++;
            job_cancel(job);
        }
    }
    keys_release(keys);
}

/* ---- keys ---- */

static void tell_dropped(struct listener_keys *keys) {
    uint64_t now = uv_hrtime() / 1000000;
    keys->dropped++;
    keys->untold++;
    if (keys->told_ms != 0 && now < keys->told_ms + TELL_MS)
        return;
    keys->told_ms = now;
    listener_tell(keys->owner, LN_EFULL,
                  "too many messages of one key wait: %llu are dropped, %llu so far; %zu (%.1f "
                  "MB) wait for their turn",
                  (unsigned long long)keys->untold, (unsigned long long)keys->dropped,
                  keys->count, (double)keys->bytes / 1e6);
    keys->untold = 0;
}

static void put(struct listener_keys *keys, struct job_turn *turn, const char *key,
                size_t len) {
    list_remove(&turn->unkeyed);
    if (keyed_put(keys->keyed, &turn->item, key, len) == LN_OK)
        return;
    struct job *job = turn->job;
    leave(keys, turn);
    job->turn = NULL;
    free(turn);
    tell_dropped(keys);
    job_drop(job);
}

static void find_key(struct listener_keys *keys, struct job_turn *turn) {
    size_t len = 0;
    const char *key =
        message_key_find(&keys->owner->options.key_source, job_msg(turn->job), &len);
    put(keys, turn, key, len);
}

static bool has_function(const struct listener_keys *keys) {
    return keys->owner->options.key_source.kind == MESSAGE_KEY_FUNCTION;
}

static void find_keys(struct listener_keys *keys);

static void on_keys_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber, (void)text;
    struct listener_keys *keys = arg;
    const struct job *job = listener_unkeyed(keys);
    keys->finding = false;
    if (status == LN_ESCRIPT && job != NULL) /* out of memory; it is told by its handler */
        listener_set_key(keys, job, NULL, 0, true);
    keys_go_on(keys);
    if (keys->owner != NULL)
        find_keys(keys);
    keys_release(keys);
}

/* Of those that have none yet. */
static void find_keys(struct listener_keys *keys) {
    struct list_node *node;
    if (!has_function(keys)) {
        while ((node = list_first(&keys->unkeyed)) != NULL)
            find_key(keys, list_item(node, struct job_turn, unkeyed));
        return;
    }
    if (keys->finding || list_empty(&keys->unkeyed))
        return;
    const struct listener *owner = keys->owner;
    keys->finding = true;
    keys_hold(keys);
    if (fiber_spawn(script_fibers(owner->script), FIBER_HANDLER, owner->options.find_keys, keys,
                    on_keys_end) == LN_OK)
        return;
    keys->finding = false;
    for (const struct job *job; (job = listener_unkeyed(keys)) != NULL;)
        listener_set_key(keys, job, NULL, 0, true);
    keys_release(keys);
}

void keys_add(struct job *job) {
    struct listener_keys *keys = job->listener->keys;
    struct job_turn *turn = calloc(1, sizeof(*turn));
    if (turn == NULL) {
        tell_dropped(keys);
        job_drop(job);
        return;
    }
    turn->job = job;
    turn->item.weight = job_msg(job)->size;
    job->turn = turn;
    list_push_back(&keys->waiting, &turn->waits);
    list_push_back(&keys->unkeyed, &turn->unkeyed);
    keys->count++;
    keys->bytes += turn->item.weight;
    keys_hold(keys);
    find_keys(keys);
    keys_go_on(keys);
    keys_release(keys);
}

const struct job *listener_unkeyed(const struct listener_keys *keys) {
    const struct job_turn *turn =
        list_item(list_first(&keys->unkeyed), struct job_turn, unkeyed);
    return turn != NULL ? turn->job : NULL;
}

const struct listener_options *listener_keys_options(const struct listener_keys *keys,
                                                     const struct script *script) {
    const struct listener *owner = keys->owner;
    return owner != NULL && owner->script == script ? &owner->options : NULL;
}

void listener_set_key(struct listener_keys *keys, const struct job *job, const char *key,
                      size_t len, bool failed) {
    job->turn->failed = failed;
    put(keys, job->turn, failed ? NULL : key, len);
}

bool job_key_failed(const struct job *job) {
    return job->turn != NULL && job->turn->failed;
}

/* ---- turns ---- */

void keys_done(struct job *job) {
    struct job_turn *turn = job->turn;
    job->turn = NULL;
    if (turn == NULL)
        return;
    keyed_done(job->listener->keys->keyed, &turn->item);
    free(turn);
}

void keys_go_on(struct listener_keys *keys) {
    if (keys->pumping)
        return; /* the frame that does it goes on */
    keys->pumping = true;
    keys_hold(keys);
    struct keyed_item *item;
    while (keys->owner != NULL && keys->owner->running < keys->owner->options.concurrency &&
           (item = keyed_take(keys->keyed)) != NULL) {
        struct job_turn *turn = container_of(item, struct job_turn, item);
        leave(keys, turn);
        keys->owner->running++;
        job_start(turn->job);
    }
    keys->pumping = false;
    keys_release(keys);
}

void keys_take_over(struct listener *next, struct listener *previous) {
    struct listener_keys *keys = previous->keys;
    if (keys == NULL || next->keys == NULL)
        return;
    keys_release(next->keys);
    next->keys = keys_hold(keys);
    keys->owner = next;
    list_each (struct job_turn, turn, &keys->waiting, waits)
        turn->job->listener = next;
}

/* ---- looking ---- */

bool keys_full(const struct listener_keys *keys) {
    return keys->count >= keys->most || keys->bytes >= keys->most_bytes;
}

bool keys_waiting(const struct listener_keys *keys) {
    return keys->count > 0;
}

void keys_get_stats(const struct listener_keys *keys, struct keyed_stats *out,
                    uint64_t *dropped) {
    keyed_get_stats(keys->keyed, out);
    out->waiting = keys->count;
    out->bytes = keys->bytes;
    *dropped = keys->dropped;
}
