/* SPDX-License-Identifier: Apache-2.0 */
#include "host/admin/loop.h"

#include <stdlib.h>

#include "host/base/status.h"

const double loop_bounds[LOOP_BOUNDS] = {0.0001, 0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 5};

/* A turn goes from one prepare to the next, without the time in which the loop was idle. */
struct loop_watch {
    uv_prepare_t prepare;
    uint64_t last, idle; /* at the last prepare, nanoseconds */
    uint64_t turns[LOOP_BOUNDS + 1];
    double seconds;
};

static void on_prepare(uv_prepare_t *prepare) {
    struct loop_watch *watch = prepare->data;
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(prepare->loop);
    uint64_t spent = now - watch->last, waited = idle - watch->idle;
    double seconds = spent > waited ? (double)(spent - waited) / 1e9 : 0;
    size_t i = 0;
    while (i < LOOP_BOUNDS && seconds > loop_bounds[i])
        i++;
    watch->turns[i]++;
    watch->seconds += seconds;
    watch->last = now;
    watch->idle = idle;
}

int loop_watch_open(struct loop_watch **out, uv_loop_t *loop) {
    struct loop_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return LN_ENOMEM;
    uv_loop_configure(loop, UV_METRICS_IDLE_TIME); /* from libuv 1.39 on */
    uv_prepare_init(loop, &watch->prepare);        /* cannot fail */
    watch->prepare.data = watch;
    watch->last = uv_hrtime();
    watch->idle = uv_metrics_idle_time(loop);
    uv_prepare_start(&watch->prepare, on_prepare);
    uv_unref((uv_handle_t *)&watch->prepare);
    *out = watch;
    return LN_OK;
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

void loop_watch_close(struct loop_watch *watch) {
    uv_close((uv_handle_t *)&watch->prepare, on_closed);
}

const uint64_t *loop_watch_turns(const struct loop_watch *watch, double *seconds) {
    *seconds = watch->seconds;
    return watch->turns;
}
