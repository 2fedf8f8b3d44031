/* SPDX-License-Identifier: Apache-2.0 */
#include "host/thread/crew.h"

#include <stdio.h>
#include <string.h>

#include "host/base/status.h"
#include "spec/unit/test.h"

struct job {
    struct crew_job base; /* first */
    int holds;            /* until gate is open, or it is ended */
    int ran, told, released;
};

static uv_loop_t loop;
static struct crew *crew; /* of the test */
static uv_mutex_t mutex;  /* of what follows, and of `ran` and `released` */
static uv_cond_t moved;
static bool gate;
static int states, ended, freed, running, most;

static void do_job(void *owner, void **state, struct crew_job *base) {
    struct job *job = (struct job *)base;
    (void)owner;
    uv_mutex_lock(&mutex);
    if (*state == NULL) {
        *state = &states;
        states++;
    }
    running++;
    most = running > most ? running : most;
    uv_cond_broadcast(&moved);
    while (job->holds && !gate && !atomic_load(&base->ended))
        uv_cond_timedwait(&moved, &mutex, 1000000);
    running--;
    job->ran++;
    uv_cond_broadcast(&moved);
    uv_mutex_unlock(&mutex);
}

static void end_state(void *owner, void *state) {
    (void)owner, (void)state;
    uv_mutex_lock(&mutex);
    ended++;
    uv_mutex_unlock(&mutex);
}

static void done(void *owner, struct crew_job *base) {
    (void)owner;
    ((struct job *)base)->told++;
}

static void release(struct crew_job *base) {
    uv_mutex_lock(&mutex);
    ((struct job *)base)->released++;
    uv_cond_broadcast(&moved);
    uv_mutex_unlock(&mutex);
}

static void free_owner(void *owner) {
    (void)owner;
    uv_mutex_lock(&mutex);
    freed++;
    uv_cond_broadcast(&moved);
    uv_mutex_unlock(&mutex);
}

static void title(void *owner, const struct crew_job *job, char *out, size_t size) {
    (void)owner, (void)job;
    snprintf(out, size, "a job");
}

static const struct crew_ops ops = {
    .run = do_job,
    .end = end_state,
    .done = done,
    .release = release,
    .free = free_owner,
    .title = title,
};

static void open_crew(unsigned threads) {
    crew = NULL;
    states = ended = freed = running = most = 0;
    gate = false;
    CHECK_INT(crew_open(&crew, &loop, threads, &ops, &states), LN_OK);
}

/* Until `*value` is so much, or all threads have had a minute. */
static void await_value(const int *value, int wanted) {
    uv_mutex_lock(&mutex);
    for (int i = 0; *value < wanted && i < 60; i++)
        uv_cond_timedwait(&moved, &mutex, 1000000000);
    CHECK_INT(*value, wanted);
    uv_mutex_unlock(&mutex);
}

static void open_gate(void) {
    uv_mutex_lock(&mutex);
    gate = true;
    uv_cond_broadcast(&moved);
    uv_mutex_unlock(&mutex);
}

/* Everything is over when the owner was freed: after the last thread. */
static void close_crew(unsigned runs) {
    CHECK_INT(crew_close(crew), runs);
    uv_run(&loop, UV_RUN_DEFAULT);
    await_value(&freed, 1);
    CHECK_INT(ended, states);
}

static void does_all_jobs_and_tells_each(void) {
    struct job jobs[100] = {{.holds = 0}};
    open_crew(4);
    for (int i = 0; i < 100; i++)
        CHECK_INT(crew_submit(crew, &jobs[i].base), LN_OK);
    uv_run(&loop, UV_RUN_DEFAULT); /* an idle crew is no handle */
    for (int i = 0; i < 100; i++)
        CHECK(jobs[i].ran == 1 && jobs[i].told == 1 && jobs[i].released == 1);
    CHECK(states >= 1 && states <= 4);
    close_crew(0);
}

static void runs_as_many_at_once_as_it_may(void) {
    struct job jobs[6] = {{.holds = 0}};
    open_crew(3);
    for (int i = 0; i < 6; i++) {
        jobs[i].holds = 1;
        CHECK_INT(crew_submit(crew, &jobs[i].base), LN_OK);
    }
    await_value(&running, 3);
    open_gate();
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(most, 3);
    for (int i = 0; i < 6; i++)
        CHECK_INT(jobs[i].told, 1);
    close_crew(0);
}

static void forgets_what_waits_and_ends_what_runs(void) {
    struct job runs = {.holds = 1}, waits = {.holds = 0};
    open_crew(1);
    CHECK_INT(crew_submit(crew, &runs.base), LN_OK);
    await_value(&running, 1);
    CHECK_INT(crew_submit(crew, &waits.base), LN_OK);
    crew_forget(crew, &waits.base);
    CHECK(waits.released == 1 && waits.ran == 0);
    crew_forget(crew, &runs.base);
    await_value(&runs.released, 1);
    CHECK_INT(runs.ran, 1);
    crew_forget(crew, &runs.base); /* again: nothing happens */
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(runs.told == 0 && waits.told == 0);
    close_crew(0);
}

static void tells_nothing_once_it_is_closed(void) {
    struct job jobs[3] = {{.holds = 1}, {.holds = 0}, {.holds = 0}};
    open_crew(1);
    CHECK_INT(crew_submit(crew, &jobs[1].base), LN_OK);
    await_value(&jobs[1].ran, 1); /* its thread may not have told yet */
    CHECK_INT(crew_submit(crew, &jobs[0].base), LN_OK);
    await_value(&running, 1);
    CHECK_INT(crew_submit(crew, &jobs[2].base), LN_OK);
    close_crew(1);
    CHECK(jobs[0].ran == 1 && jobs[0].told == 0 && jobs[0].released == 1);
    CHECK(jobs[1].told == 0 && jobs[1].released == 1);
    CHECK(jobs[2].ran == 0 && jobs[2].released == 1);
}

static void bounds_its_queue(void) {
    static struct job jobs[CREW_QUEUE_MAX + 2];
    open_crew(1);
    memset(jobs, 0, sizeof(jobs));
    jobs[0].holds = 1;
    CHECK_INT(crew_submit(crew, &jobs[0].base), LN_OK);
    await_value(&running, 1);
    for (int i = 1; i <= CREW_QUEUE_MAX; i++)
        CHECK_INT(crew_submit(crew, &jobs[i].base), LN_OK);
    CHECK_INT(crew_submit(crew, &jobs[CREW_QUEUE_MAX + 1].base), LN_EFULL);
    open_gate();
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(jobs[CREW_QUEUE_MAX].told == 1 && jobs[CREW_QUEUE_MAX + 1].released == 0);
    close_crew(0);
}

/* One that does not look whether it is ended. */
static void leaves_a_thread_behind_that_does_not_end(void) {
    struct job job = {.holds = 1};
    open_crew(1);
    CHECK(crews_end(60000)); /* of the tests before */
    CHECK_INT(crew_submit(crew, &job.base), LN_OK);
    await_value(&running, 1);
    CHECK(!crews_end(0)); /* as if it were closed */
    close_crew(1);
    CHECK(crews_end(60000));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    uv_loop_init(&loop);
    uv_mutex_init(&mutex);
    uv_cond_init(&moved);
    RUN(does_all_jobs_and_tells_each);
    RUN(runs_as_many_at_once_as_it_may);
    RUN(forgets_what_waits_and_ends_what_runs);
    RUN(tells_nothing_once_it_is_closed);
    RUN(bounds_its_queue);
    RUN(leaves_a_thread_behind_that_does_not_end);
    uv_loop_close(&loop);
    return test_end();
}
