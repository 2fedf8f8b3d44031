/* SPDX-License-Identifier: Apache-2.0 */
/* What a service does when the system fails it, which no script can bring about. */
#include "host/service/service.h"

#include <stdlib.h>

#include "spec/unit/test.h"

static int random_status;

/* In the place of libuv's own. */
int uv_random(uv_loop_t *loop, uv_random_t *req, void *buf, size_t buflen, unsigned flags,
              uv_random_cb cb) {
    (void)loop, (void)req, (void)flags, (void)cb;
    if (random_status == 0)
        memset(buf, 7, buflen);
    return random_status;
}

static int open_nothing(lua_State *L) {
    (void)L;
    return 0;
}

/* Opens a service of an empty script and closes it again. */
static int try_open(void) {
    uv_loop_t loop;
    struct scheduler *scheduler;
    struct clock *clock = NULL;
    struct service *service;
    struct service_options options = {
        .path = "empty.lua",
        .source = "",
        .open = open_nothing,
        .offline = true,
    };
    uv_loop_init(&loop);
    scheduler_open(&scheduler, NULL);
    clock_open(&clock, &loop, false);
    options.clock = clock;
    int rc = service_open(&service, &loop, scheduler, &options);
    if (rc == LN_OK)
        service_discard(service);
    clock_close(clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    scheduler_close(scheduler);
    return rc;
}

/* Its subjects would not be its own: two services could answer to one instance id. */
static void without_random_bytes_it_does_not_open(void) {
    random_status = 0;
    CHECK_INT(try_open(), LN_OK);
    random_status = UV_EIO;
    CHECK_INT(try_open(), UV_EIO);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(without_random_bytes_it_does_not_open);
    return test_end();
}
