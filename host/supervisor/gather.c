/* SPDX-License-Identifier: Apache-2.0 */
/* One question to all workers: whoever does not answer in time costs that time once, and no
 * more, as all are asked at the same time. */
#include <stdlib.h>

#include "host/base/status.h"
#include "host/supervisor/internal.h"

struct round {
    unsigned count, left; /* left: answers to come, and one while they are being asked */
    gather_fn *on_done;
    void *owner;
    struct answer answers[];
};

/* One of its questions. */
struct waiting {
    struct round *round;
    struct answer *answer;
};

static void leave(struct round *round) {
    if (--round->left > 0)
        return;
    round->on_done(round->owner, round->answers);
    for (unsigned i = 0; i < round->count; i++)
        text_free(&round->answers[i].body);
    free(round);
}

static void on_answer(void *owner, int status, const char *body, size_t len) {
    struct waiting *waiting = owner;
    struct round *round = waiting->round;
    struct answer *answer = waiting->answer;
    free(waiting);
    if (status != 0)
        text_put(&answer->body, body, len);
    answer->status = answer->body.failed ? 0 : status;
    leave(round);
}

static void ask(struct round *round, struct channel *channel, struct answer *answer,
                const char *method, const char *target) {
    struct waiting *waiting = malloc(sizeof(*waiting));
    answer->asked = true;
    if (waiting == NULL)
        return;
    *waiting = (struct waiting){round, answer};
    round->left++;
    if (channel_ask(channel, method, target, PARENT_ASK_MS, on_answer, waiting))
        return;
    round->left--;
    free(waiting);
}

int gather(struct parent *parent, unsigned number, const char *method, const char *target,
           gather_fn *on_done, void *owner) {
    unsigned count = supervisor_count(parent->supervisor);
    struct round *round = calloc(1, sizeof(*round) + count * sizeof(round->answers[0]));
    if (round == NULL)
        return LN_ENOMEM;
    round->count = count;
    round->left = 1;
    round->on_done = on_done;
    round->owner = owner;
    for (unsigned i = 0; i < count; i++)
        if (parent->processes[i].channel != NULL && (number == 0 || number == i + 1))
            ask(round, parent->processes[i].channel, &round->answers[i], method, target);
    leave(round);
    return LN_OK;
}
