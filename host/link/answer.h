/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to subjects that came over the wire.
 *
 * Whoever sends a message chooses its reply subject, and we publish there with permissions of
 * our own: an error reply to "$JS.API.STREAM.DELETE.ORDERS" deletes that stream. So nothing is
 * published to a subject of the server, which all begin with "$", only because a message asks
 * for it, and nothing to where services take orders. Messages of a JetStream consumer have to
 * prove that they are: js_answer_ok().
 */
#ifndef LUNATS_LINK_ANSWER_H
#define LUNATS_LINK_ANSWER_H

#include <stdbool.h>
#include <string.h>

/* What is below it is ours: an answer to lunats.control.* would be an order, one to
 * lunats.console.* would be code. */
#define ANSWER_OURS "lunats."

/* Whether anybody's message may ask for an answer there. */
static inline bool answer_ok(const char *subject) {
    return subject[0] != '$' && (subject[0] != ANSWER_OURS[0] ||
                                 strncmp(subject, ANSWER_OURS, sizeof(ANSWER_OURS) - 1) != 0);
}

/* What has been logged of refusals, by kind of subject; all zero: nothing. */
struct answer_log {
    unsigned char told;
};

/*
 * Logs that nothing was published to `subject`, once for each kind of subject ("$JS.API.",
 * "$SYS.", ...): a sender must not fill the log. `service` may be NULL; `what` ("listener",
 * "consumer") and `name` say who has read the message.
 */
void answer_refused(struct answer_log *log, const char *service, const char *what,
                    const char *name, const char *subject);

#endif
