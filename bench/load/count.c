/* SPDX-License-Identifier: Apache-2.0 */
/* Messages without replies to a service that counts them. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT 4096 /* a counting service reports so often, or each options.ahead messages */

/* Sends the messages; the service's reports say how many of them may be on their way. */
static void run_count(natsSubscription *reports, const char *body, int64_t count) {
    int64_t sent = 0, seen = 0, ahead = options.ahead;
    double last = now();
    while (seen < count) {
        for (int i = 0; i < 256 && sent < count && sent - seen < ahead; i++, sent++)
            check("publish",
                  natsConnection_Publish(connection(), options.subject, body, options.size));
        turn(sent < count && sent - seen < ahead ? -1 : 100);
        for (int n = pending(reports); n > 0; n--) {
            natsMsg *report = take(reports);
            seen += atoll(natsMsg_GetData(report));
            natsMsg_Destroy(report);
            last = now();
        }
        if (now() - last > PATIENCE)
            fail("reports are missing", NATS_TIMEOUT);
    }
}

int mode_count(void) {
    char subject[128], *body = allocate((size_t)options.size + 1, 1);
    memset(body, 'x', (size_t)options.size);
    connect_loop();
    snprintf(subject, sizeof(subject), "%s.report", options.subject);
    natsSubscription *reports = subscribe(subject);
    barrier();
    run_count(reports, body, options.warm_up / REPORT * REPORT);
    int64_t count = options.count / REPORT * REPORT;
    begin_measure();
    double began = now();
    run_count(reports, body, count);
    print_measure(count, now() - began, 0);
    printf("}\n");
    free(body);
    return 0;
}
