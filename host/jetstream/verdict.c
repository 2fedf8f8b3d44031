/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/verdict.h"

#include <stddef.h>

#include "host/base/status.h"

#define ABSENT_MAX 3 /* 503 in a row after which the consumer counts as lost */

/* Twice as long each time: a consumer without a leader gets one within a second. */
static struct verdict absent_again(unsigned *absent) {
    uint32_t wait_ms = JS_PAUSE_MS << *absent;
    return (struct verdict){
        .action = ++*absent < ABSENT_MAX ? VERDICT_ASK_AGAIN : VERDICT_LOST,
        .wait_ms = wait_ms,
        .status = LN_ECONSUMER_LOST,
        .text = "no server has this consumer",
        .silent = true,
    };
}

struct verdict verdict_of(enum js_status status, const char *text, unsigned *absent) {
    if (status == JS_ABSENT)
        return absent_again(absent);
    *absent = 0;
    struct verdict verdict = {.action = VERDICT_GO_ON, .status = LN_OK};
    switch (status) {
    case JS_DATA:
    case JS_HEARTBEAT:
    case JS_FLOW_CONTROL:
    case JS_ABSENT:
        break;
    case JS_EXPIRED:
    case JS_MAX_BYTES:
    case JS_COMPLETED:
        verdict.action = VERDICT_OVER;
        break;
    case JS_NO_MESSAGES:
        verdict.action = VERDICT_OVER;
        verdict.wait_ms = JS_PAUSE_MS;
        break;
    case JS_MOVED:
    case JS_UNPINNED:
        verdict.action = VERDICT_ASK_AGAIN;
        verdict.wait_ms = JS_PAUSE_MS;
        break;
    case JS_BUSY:
        verdict.action = VERDICT_ASK_AGAIN;
        verdict.wait_ms = JS_LONG_PAUSE_MS;
        verdict.status = LN_EJETSTREAM;
        verdict.text = "Exceeded MaxWaiting: too many requests wait already";
        break;
    case JS_GONE:
    case JS_REFUSED:
        verdict.action = VERDICT_LOST;
        verdict.status = status == JS_GONE ? LN_ECONSUMER_LOST : LN_EJETSTREAM;
        verdict.text = text;
        verdict.silent = status == JS_REFUSED; /* its limits may have been changed */
        break;
    }
    return verdict;
}
