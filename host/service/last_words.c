/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/last_words.h"

#include "host/base/container_of.h"

static void on_turn(struct clock_timer *timer) {
    struct last_words *words = container_of(timer, struct last_words, turn);
    last_words_cancel(words);
    words->on_done(words);
}

/* In the end of a fiber, where the script cannot be closed. */
static void on_idle(void *owner) {
    struct last_words *words = owner;
    clock_arm(words->clock, &words->turn, 0);
}

bool last_words_wait(struct last_words *words, struct script *script, struct clock *clock,
                     uint32_t bound_ms, void (*on_done)(struct last_words *words)) {
    if (script == NULL || fibers_count(script_fibers(script), FIBER_HANDLER) == 0)
        return false;
    *words = (struct last_words){.clock = clock, .script = script, .on_done = on_done};
    words->turn.fire = on_turn;
    clock_arm(clock, &words->turn, bound_ms < LAST_WORDS_MS ? bound_ms : LAST_WORDS_MS);
    fibers_on_idle(script_fibers(script), FIBER_HANDLER, on_idle, words);
    return true;
}

void last_words_cancel(struct last_words *words) {
    if (words->script == NULL)
        return;
    clock_disarm(words->clock, &words->turn);
    fibers_on_idle(script_fibers(words->script), FIBER_HANDLER, NULL, NULL);
    words->script = NULL;
}
