/* SPDX-License-Identifier: Apache-2.0 */
/* What lost connections leave behind: nothing. */
#include "spec/unit/link.h"

#include "spec/unit/skip.h"
#include "spec/unit/usage.h"

#define KILLS 10 /* of the reconnects, by the end of the server */

static int reconnects = 200;

/* Each connection has held long enough to count as one, and its back-off is over at once. */
static void reconnect(int count, int kills) {
    for (int i = 0; i < count; i++) {
        skip_ms(5500);
        run_until(NULL, 5);
        if (i < kills)
            server_kill(&server);
        else
            link_partition(a.link, 0);
        CHECK(peer_wait(&a, LINK_DISCONNECTED, 30000));
        if (i < kills)
            server_run(&server, NULL);
        skip_ms(100);
        CHECK(peer_wait(&a, LINK_CONNECTED, 30000));
        CHECK_INT(flush(a.link), LN_OK);
    }
}

WITH_SERVER(reconnects_leave_nothing, NULL) {
    struct inbox in = {.then = echo};
    struct link_stats stats;
    CHECK(peer_open(&a, server.url));
    CHECK_INT(subscribe(&in, a.link, "svc", NULL), LN_OK);
    reconnect(WARM_UP, 2);
    struct usage before = usage();
    reconnect(reconnects, KILLS);
    link_get_stats(a.link, &stats);
    CHECK_INT(stats.reconnects, WARM_UP + reconnects);
    check_as_before(&before);
}

static void run_all(void) {
    RUN(reconnects_leave_nothing);
}

int main(int argc, char **argv) {
    if (by_valgrind() || test_is_emulated())
        reconnects = 15; /* it is slow */
    return run_variants(argc, argv, run_all);
}
