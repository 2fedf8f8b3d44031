/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a service closes: those who watch errors get to tell of the last ones, of a start that
 * has failed or of on_stop hooks, while the connection is still there.
 */
#ifndef LUNATS_SERVICE_LAST_WORDS_H
#define LUNATS_SERVICE_LAST_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/script/script.h"

/* Embedded in its owner. All zero is idle; the members are last_words.c's. */
struct last_words {
    struct clock *clock;
    struct script *script;
    struct clock_timer turn;
    void (*on_done)(struct last_words *words);
};

/*
 * False when no handler of the script (NULL: none) runs. Otherwise on_done() follows, from the
 * loop: when the last has ended, or when the bound is over, which is LAST_WORDS_MS at most.
 */
#define LAST_WORDS_MS 5000
bool last_words_wait(struct last_words *words, struct script *script, struct clock *clock,
                     uint32_t bound_ms, void (*on_done)(struct last_words *words));

/* on_done() is not called any more. Before the script closes. */
void last_words_cancel(struct last_words *words);

#endif
