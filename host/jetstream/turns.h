/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a consume that handles those of one key in order: whose turn it is, those
 * whose key nobody has said yet, and those that rest until they are tried again and keep their
 * key meanwhile.
 */
#ifndef LUNATS_JETSTREAM_TURNS_H
#define LUNATS_JETSTREAM_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/base/clock.h"
#include "host/base/keyed.h"
#include "host/base/list.h"
#include "host/link/key.h"

struct consume_msg;

/* Of one message, from its arrival to its end. */
struct turn {
    struct keyed_item item;
    struct consume_msg *msg;
    struct list_node node; /* while its key is not known, and while it rests */
    uint64_t due;          /* when its rest is over */
    uint64_t again_ms;     /* what its handler wants, see consume_want_again() */
    uint32_t attempts;     /* handlers that have failed with it here */
    bool has_key;
    bool failed; /* its key could not be found */
    bool lost;   /* rests because the server gives it to somebody; it may come again */
};

/* Embedded in its consume. All zero: nothing is ordered by keys. */
struct turns {
    struct keyed *keyed; /* shared with the versions before and after */
    struct message_key source;
    bool doubtful;       /* the server may deliver a message twice and not say so */
    struct list unkeyed; /* in the order of arrival */
    struct list resting; /* by `due` */
    struct clock *clock;
    struct clock_timer timer;
};

/* `on_rested` is the fire() of the timer. Returns LN_OK or what keyed_open() does. */
int turns_open(struct turns *turns, const struct message_key *source, struct clock *clock,
               void (*on_rested)(struct clock_timer *timer));
void turns_close(struct turns *turns);

static inline bool turns_used(const struct turns *turns) {
    return turns->keyed != NULL;
}

/* Gives a message a turn, which has no key yet and stands among `unkeyed`. False: no memory. */
bool turns_add(struct turns *turns, struct consume_msg *msg);

/*
 * Says the key of a message that has none yet; NULL: it has none. If the message waits or is
 * worked on already - the server has delivered it once more - nothing is done and *same is that
 * one, else NULL. Returns LN_OK or LN_ENOMEM.
 */
int turns_put(struct turns *turns, struct consume_msg *msg, const char *key, size_t len,
              struct consume_msg **same);

/* The message whose turn it is, or NULL. */
struct consume_msg *turns_take(struct turns *turns);

/* The first one that waits for this one, which is taken, or NULL. */
struct consume_msg *turns_behind(const struct consume_msg *msg);

/* A taken message rests for so long. */
void turns_rest(struct turns *turns, struct consume_msg *msg, uint64_t ms);
/* The first one that rests; with `due` only if its time is over. It does not any more then.
 * NULL: none. */
struct consume_msg *turns_rested(struct turns *turns, bool due);
/* A taken one waits again, as the first of its key. */
void turns_again(struct turns *turns, struct consume_msg *msg);

/* The end of the turn of a message, whatever it does just now: its key is free. */
void turns_forget(struct turns *turns, struct consume_msg *msg);

/* What `from` has goes on here, in the same order; what is taken there is so here. */
void turns_take_over(struct turns *turns, struct turns *from);

#endif
