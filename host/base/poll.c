/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/poll.h"

#include <stdlib.h>

#include "host/base/status.h"

struct poll {
    uv_fs_poll_t handle; /* first: closed by on_closed() */
    poll_fn on_difference;
    void *owner;
};

static void on_look(uv_fs_poll_t *handle, int status, const uv_stat_t *before,
                    const uv_stat_t *now) {
    (void)status, (void)before, (void)now;
    struct poll *poll = (struct poll *)handle;
    if (!uv_is_closing((uv_handle_t *)handle))
        poll->on_difference(poll->owner);
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

int poll_open(struct poll **out, uv_loop_t *loop, const char *path, unsigned every_ms,
              poll_fn on_difference, void *owner) {
    struct poll *poll = calloc(1, sizeof(*poll));
    if (poll == NULL)
        return LN_ENOMEM;
    uv_fs_poll_init(loop, &poll->handle); /* cannot fail */
    poll->on_difference = on_difference;
    poll->owner = owner;
    int rc = uv_fs_poll_start(&poll->handle, on_look, path, every_ms);
    if (rc < 0) {
        poll_close(poll);
        return rc;
    }
    *out = poll;
    return LN_OK;
}

void poll_close(struct poll *poll) {
    if (poll != NULL)
        uv_close((uv_handle_t *)&poll->handle, on_closed);
}
