/* SPDX-License-Identifier: Apache-2.0 */
/* What blocks, in threads of its own: who is told, who waits, who is left behind. */
#include "host/base/errand.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "host/base/clock.h"
#include "host/base/status.h"
#include "spec/unit/test.h"

#define MOST 16 /* RUNNING_MAX of errand.c */

struct task {
    struct errand *errand; /* NULL: it is over */
    atomic_int worked, dropped;
    int told;
    bool holds; /* its work, until the gate is open */
    uv_thread_t thread;
};

static uv_loop_t loop;
static uv_timer_t tick; /* lets a turn of the loop end */
static uv_mutex_t mutex;
static uv_cond_t moved;
static bool gate;         /* under the mutex, as are those that are at work */
static int running, most; /* at once */
static atomic_bool no_threads, no_handles;

/* These win over libuv's. */
int uv_thread_create(uv_thread_t *out, uv_thread_cb entry, void *arg) {
    int (*behind)(uv_thread_t *, uv_thread_cb, void *);
    *(void **)&behind = dlsym(RTLD_NEXT, "uv_thread_create");
    return no_threads ? UV_EAGAIN : behind(out, entry, arg);
}

int uv_async_init(uv_loop_t *on, uv_async_t *async, uv_async_cb fn) {
    int (*behind)(uv_loop_t *, uv_async_t *, uv_async_cb);
    *(void **)&behind = dlsym(RTLD_NEXT, "uv_async_init");
    return no_handles ? UV_EMFILE : behind(on, async, fn);
}

/* ---- tasks ---- */

static void work(void *arg) {
    struct task *task = arg;
    uv_mutex_lock(&mutex);
    most = ++running > most ? running : most;
    task->thread = uv_thread_self();
    uv_cond_broadcast(&moved);
    while (task->holds && !gate)
        uv_cond_wait(&moved, &mutex);
    running--;
    uv_mutex_unlock(&mutex);
    task->worked++;
}

static void drop(void *arg) {
    ((struct task *)arg)->dropped++;
}

static void on_done(void *owner, void *arg) {
    struct task *task = owner;
    if (arg == task && task->dropped == 0) /* it is borrowed until here */
        task->told++;
    task->errand = NULL;
}

static const struct errand_kind kind = {work, drop, on_done};

static int start(struct task *task) {
    return errand_start(&task->errand, &loop, &kind, task, task);
}

static void abandon(struct task *task) {
    errand_abandon(task->errand);
    task->errand = NULL;
}

static void open_gate(bool open) {
    uv_mutex_lock(&mutex);
    gate = open;
    uv_cond_broadcast(&moved);
    uv_mutex_unlock(&mutex);
}

static int at_work(void) {
    uv_mutex_lock(&mutex);
    int count = running;
    uv_mutex_unlock(&mutex);
    return count;
}

static void on_tick(uv_timer_t *timer) {
    (void)timer;
}

/* Turns the loop until it is so, or far too much time has passed. */
#define UNTIL(condition)                                                                       \
    for (uint64_t began = clock_precise();                                                     \
         !(condition) && clock_precise() - began < 20000000000;)                               \
    uv_run(&loop, UV_RUN_ONCE)

static bool all_dropped(const struct task *tasks, int count) {
    for (int i = 0; i < count; i++)
        if (tasks[i].dropped == 0)
            return false;
    return true;
}

/* Lets the rest end, and looks that each was dropped once. */
static void settle(struct task *tasks, int count) {
    open_gate(true);
    UNTIL(all_dropped(tasks, count));
    for (int i = 0; i < count; i++)
        CHECK_SOFT(tasks[i].dropped == 1);
    UNTIL(at_work() == 0);
    open_gate(false);
    most = 0;
}

/* ---- what is told ---- */

static void works_in_a_thread_and_tells_the_loop(void) {
    struct task task = {0};
    CHECK_INT(start(&task), LN_OK);
    CHECK_INT(task.told, 0);
    UNTIL(task.told > 0);
    CHECK_INT(task.told, 1);
    CHECK_INT(task.worked, 1);
    uv_thread_t self = uv_thread_self();
    CHECK(!uv_thread_equal(&task.thread, &self));
    settle(&task, 1);
}

/* Each begins the next one from on_done(), as a socket does that looks up another name. */
static int chained;

static void on_link_done(void *owner, void *arg);

static const struct errand_kind chain = {work, drop, on_link_done};

static void on_link_done(void *owner, void *arg) {
    struct task *task = owner;
    on_done(owner, arg);
    if (++chained < 5)
        errand_start(&task->errand, &loop, &chain, task + 1, task + 1);
}

static void may_be_begun_by_the_one_before(void) {
    struct task tasks[5] = {{0}};
    chained = 0;
    CHECK_INT(errand_start(&tasks[0].errand, &loop, &chain, tasks, tasks), LN_OK);
    UNTIL(chained == 5);
    CHECK_INT(tasks[4].told, 1);
    settle(tasks, 5);
}

/* ---- turns ---- */

static void a_few_run_at_once_and_the_others_wait(void) {
    struct task tasks[MOST + 5] = {{0}};
    for (int i = 0; i < MOST + 5; i++) {
        tasks[i].holds = true;
        CHECK_INT(start(&tasks[i]), LN_OK);
    }
    UNTIL(at_work() == MOST);
    CHECK_INT(at_work(), MOST);
    open_gate(true);
    for (int i = 0; i < MOST + 5; i++) {
        UNTIL(tasks[i].told == 1);
        CHECK_INT(tasks[i].told, 1);
        CHECK_INT(tasks[i].worked, 1);
    }
    CHECK(most <= MOST);
    settle(tasks, MOST + 5);
}

static void one_that_nobody_waits_for_never_gets_its_turn(void) {
    struct task tasks[MOST + 2] = {{0}};
    for (int i = 0; i < MOST + 2; i++) {
        tasks[i].holds = i < MOST;
        CHECK_INT(start(&tasks[i]), LN_OK);
    }
    abandon(&tasks[MOST]);
    UNTIL(tasks[MOST].dropped == 1);
    CHECK_INT(tasks[MOST].dropped, 1);
    open_gate(true);
    UNTIL(tasks[MOST + 1].told == 1);
    CHECK_INT(tasks[MOST + 1].told, 1);
    CHECK_INT(tasks[MOST].worked, 0);
    CHECK_INT(tasks[MOST].told, 0);
    settle(tasks, MOST + 2);
}

static void those_that_hang_and_are_left_behind_keep_nobody_waiting(void) {
    struct task stuck[MOST] = {{0}}, next = {0};
    for (int i = 0; i < MOST; i++) {
        stuck[i].holds = true;
        CHECK_INT(start(&stuck[i]), LN_OK);
    }
    UNTIL(at_work() == MOST);
    CHECK_INT(start(&next), LN_OK);
    for (int i = 0; i < MOST; i++)
        abandon(&stuck[i]);
    UNTIL(next.told == 1);
    CHECK_INT(next.told, 1);
    CHECK_INT(stuck[0].dropped, 0); /* its thread still has it */
    settle(stuck, MOST);
    for (int i = 0; i < MOST; i++)
        CHECK_INT(stuck[i].told, 0);
    settle(&next, 1);
}

static void one_may_be_abandoned_between_its_end_and_its_news(void) {
    for (int i = 0; i < 100; i++) {
        struct task task = {0};
        CHECK_INT(start(&task), LN_OK);
        while (task.worked == 0) /* the loop does not turn */
            uv_sleep(0);
        abandon(&task);
        settle(&task, 1);
        CHECK_INT(task.told, 0);
    }
}

/* ---- failures ---- */

static void without_a_thread_it_tells_that_it_has_not_worked(void) {
    struct task task = {0}, other = {0};
    no_threads = true;
    CHECK_INT(start(&task), LN_OK);
    UNTIL(task.told == 1);
    CHECK_INT(task.told, 1);
    CHECK_INT(task.worked, 0);
    CHECK_INT(start(&other), LN_OK);
    abandon(&other);
    no_threads = false;
    settle(&task, 1);
    settle(&other, 1);
    CHECK_INT(other.told, 0);
}

/* The threads are there again for the one after it, and turns are counted right. */
static void one_without_a_thread_takes_nobodys_turn(void) {
    struct task tasks[MOST + 3] = {{0}};
    for (int i = 0; i < MOST + 3; i++) {
        tasks[i].holds = i < MOST;
        CHECK_INT(start(&tasks[i]), LN_OK);
    }
    UNTIL(at_work() == MOST);
    no_threads = true;
    open_gate(true);
    for (int i = 0; i < MOST + 3; i++) {
        UNTIL(tasks[i].told == 1);
        CHECK_INT(tasks[i].told, 1);
        CHECK_INT(tasks[i].worked, i < MOST);
    }
    no_threads = false;
    settle(tasks, MOST + 3);
    a_few_run_at_once_and_the_others_wait();
}

static void a_loop_that_takes_no_more_handles_is_an_error(void) {
    struct task task = {0};
    no_handles = true;
    CHECK_INT(start(&task), UV_EMFILE);
    no_handles = false;
    CHECK_INT(task.dropped, 1);
    CHECK_INT(task.told, 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    uv_loop_init(&loop);
    uv_mutex_init(&mutex);
    uv_cond_init(&moved);
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 1, 1);
    RUN(works_in_a_thread_and_tells_the_loop);
    RUN(may_be_begun_by_the_one_before);
    RUN(a_few_run_at_once_and_the_others_wait);
    RUN(one_that_nobody_waits_for_never_gets_its_turn);
    RUN(those_that_hang_and_are_left_behind_keep_nobody_waiting);
    RUN(one_may_be_abandoned_between_its_end_and_its_news);
    RUN(without_a_thread_it_tells_that_it_has_not_worked);
    RUN(one_without_a_thread_takes_nobodys_turn);
    RUN(a_loop_that_takes_no_more_handles_is_an_error);
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) {
        printf("not ok: handles are left open\n");
        return 1;
    }
    return test_end();
}
