/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/turn.h"

#define FIRST_LOOK 1 /* messages: each of them may be a long one */

static void on_idle(uv_idle_t *idle) {
    struct turn *turn = idle->data;
    uv_idle_stop(idle);
    turn->wanted = false;
    turn->run(turn->owner);
}

void turn_begin(struct turn_time *time) {
    *time = (struct turn_time){clock_precise(), FIRST_LOOK, FIRST_LOOK};
}

bool turn_look(struct turn_time *time) {
    uint64_t spent = clock_precise() - time->began;
    if (spent > TURN_NS)
        return true;
    /* As many again, or half of those for which there is time at this rate. */
    uint64_t more = (TURN_NS - spent) / (spent / time->count + 1) / 2 + 1;
    if (more > time->count)
        more = time->count;
    time->count += (unsigned)more;
    time->left = (unsigned)more;
    return false;
}

void turn_open(struct turn *turn, uv_loop_t *loop, void (*run)(void *owner), void *owner) {
    uv_idle_init(loop, &turn->idle); /* cannot fail */
    turn->idle.data = turn;
    turn->run = run;
    turn->owner = owner;
}

void turn_want(struct turn *turn) {
    if (turn->wanted || uv_is_closing((uv_handle_t *)&turn->idle))
        return;
    turn->wanted = true;
    uv_idle_start(&turn->idle, on_idle);
}

void turn_defer(struct turn *turn, struct link_deferred *deferred) {
    if (list_linked(&deferred->node))
        return;
    list_push_back(&turn->deferred, &deferred->node);
    turn_want(turn);
}

void link_defer_cancel(struct link_deferred *deferred) {
    list_remove(&deferred->node);
}

void turn_run_deferred(struct turn *turn) {
    for (struct list_node *node; (node = list_pop_front(&turn->deferred)) != NULL;) {
        struct link_deferred *deferred = list_item(node, struct link_deferred, node);
        deferred->fn(deferred);
    }
}

static void on_handle_closed(uv_handle_t *handle) {
    struct turn *turn = handle->data;
    turn->on_closed(turn->owner);
}

void turn_close(struct turn *turn, void (*on_closed)(void *owner)) {
    while (list_pop_front(&turn->deferred) != NULL)
        ;
    turn->on_closed = on_closed;
    uv_close((uv_handle_t *)&turn->idle, on_handle_closed);
}
