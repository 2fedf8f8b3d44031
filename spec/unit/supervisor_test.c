/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/supervisor.h"

#include <signal.h>
#include <stdlib.h>

#include "host/base/log.h"
#include "host/base/status.h"
#include "spec/unit/log_capture.h"
#include "spec/unit/test.h"

#define COUNT 3
#define STOP_MS 40000

static uv_loop_t loop;
static struct clock *clock_;
static struct supervisor *supervisor;
static int spawned[COUNT + 1], stopped[COUNT + 1], killed[COUNT + 1], asked[COUNT + 1],
    reloads[COUNT + 1];
static int spawn_fails, rounds, changes, ended, end_status;
static const char *round_why;
static unsigned round_at;

static int on_spawn(void *owner, unsigned number) {
    (void)owner;
    spawned[number]++;
    return spawn_fails-- > 0 ? UV_EAGAIN : LN_OK;
}

static void on_stop(void *owner, unsigned number) {
    (void)owner;
    stopped[number]++;
}

static void on_kill(void *owner, unsigned number) {
    (void)owner;
    killed[number]++;
}

static void on_ask(void *owner, unsigned number) {
    (void)owner;
    asked[number]++;
}

static void on_reload(void *owner, unsigned number) {
    (void)owner;
    reloads[number]++;
}

static void on_round(void *owner, unsigned number, const char *why) {
    (void)owner;
    rounds++;
    round_at = number;
    round_why = why;
}

static void on_change(void *owner) {
    (void)owner;
    changes++;
}

static void on_ended(void *owner, int status) {
    (void)owner;
    ended++;
    end_status = status;
}

static void begin(void) {
    const struct supervisor_hooks hooks = {.spawn = on_spawn,
                                           .stop = on_stop,
                                           .ask = on_ask,
                                           .reload = on_reload,
                                           .on_round = on_round,
                                           .on_change = on_change,
                                           .on_ended = on_ended,
                                           .kill = on_kill,
                                           .stop_ms = STOP_MS};
    uv_loop_init(&loop);
    clock_open(&clock_, &loop, true);
    supervisor_open(&supervisor, clock_, COUNT, &hooks);
    memset(spawned, 0, sizeof(spawned));
    memset(stopped, 0, sizeof(stopped));
    memset(killed, 0, sizeof(killed));
    memset(asked, 0, sizeof(asked));
    memset(reloads, 0, sizeof(reloads));
    spawn_fails = rounds = changes = ended = 0;
    end_status = -1;
    round_why = NULL;
    capture_begin();
    supervisor_start(supervisor);
}

static const char *end(void) {
    supervisor_free(supervisor);
    clock_close(clock_);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return capture_end();
}

static void pass(uint64_t ms) {
    uint64_t until = clock_now(clock_) + ms;
    while (clock_step(clock_, until))
        ;
}

static void all_ready(void) {
    for (unsigned i = 1; i <= COUNT; i++)
        supervisor_ready(supervisor, i, true);
}

static void ends_by(unsigned number, int signal) {
    supervisor_ended(supervisor, number, (struct worker_end){.signal = signal});
}

static enum worker_state state(unsigned number) {
    return supervisor_worker(supervisor, number)->state;
}

static void starts_all_and_asks_until_they_are_ready(void) {
    begin();
    for (unsigned i = 1; i <= COUNT; i++)
        CHECK_INT(spawned[i], 1);
    pass(SUPERVISOR_POLL_MS * 3);
    CHECK_INT(asked[2], 3);
    supervisor_ready(supervisor, 2, false);
    CHECK(state(2) == WORKER_STARTING && !supervisor_complete(supervisor));
    all_ready();
    pass(SUPERVISOR_POLL_MS * 3);
    CHECK_INT(asked[2], 3);
    CHECK(state(2) == WORKER_READY && supervisor_complete(supervisor));
    CHECK_INT(changes, 6);
    CHECK_INT(lines_with(end(), "all 3 workers are ready"), 1);
}

static void starts_one_again_after_a_delay_that_doubles(void) {
    static const uint64_t delays[] = {100,  200,   400,   800,   1600,  3200,
                                      6400, 12800, 25600, 30000, 30000, 30000};
    begin();
    all_ready();
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        ends_by(1, SIGKILL);
        CHECK(state(1) == WORKER_WAITING);
        pass(delays[i] - 1);
        CHECK_INT(spawned[1], (int)i + 1);
        pass(1);
        CHECK_INT(spawned[1], (int)i + 2);
        CHECK_INT(supervisor_worker(supervisor, 1)->restarts, (int)i + 1);
    }
    CHECK_INT(spawned[2], 1);
    const char *out = end();
    CHECK_INT(lines_with(out, "worker 1 has ended: killed by signal 9 (Killed); the next one"),
              12);
    CHECK_INT(lines_with(out, "worker 1 is in a crash loop: it has ended 5 times within"), 1);
}

static void begins_anew_after_it_was_ready_for_long(void) {
    begin();
    all_ready();
    for (int i = 0; i < SUPERVISOR_LOOP; i++) {
        ends_by(1, SIGSEGV);
        pass(30000);
        supervisor_ready(supervisor, 1, true);
    }
    pass(SUPERVISOR_STEADY_MS);
    CHECK_INT(supervisor_worker(supervisor, 1)->quick, 0);
    ends_by(1, SIGSEGV);
    pass(SUPERVISOR_DELAY_MS);
    CHECK_INT(spawned[1], SUPERVISOR_LOOP + 2);
    const char *out = end();
    CHECK_INT(lines_with(out, "crash loop"), 1);
    CHECK_INT(lines_with(out, "worker 1 is steady again"), 1);
}

static void a_process_that_cannot_be_made_is_tried_again(void) {
    begin();
    all_ready();
    spawn_fails = 1;
    ends_by(1, SIGKILL);
    pass(100);
    CHECK(state(1) == WORKER_WAITING);
    pass(200);
    CHECK(state(1) == WORKER_STARTING);
    CHECK_INT(lines_with(end(), "cannot be started"), 1);
}

static void a_worker_that_ends_by_itself_is_started_again(void) {
    begin();
    all_ready();
    supervisor_ended(supervisor, 1, (struct worker_end){.status = 0});
    supervisor_ended(supervisor, 2, (struct worker_end){.status = 1});
    pass(100);
    CHECK_INT(spawned[1], 2);
    CHECK_INT(spawned[2], 2);
    CHECK_INT(ended, 0);
    end();
}

static void what_none_has_survived_ends_it_all_with_its_status(void) {
    for (int status = 1; status <= 3; status++) {
        begin();
        supervisor_ended(supervisor, 2, (struct worker_end){.status = status});
        CHECK_INT(stopped[1], 1);
        CHECK_INT(stopped[3], 1);
        CHECK_INT(stopped[2], 0);
        supervisor_ended(supervisor, 1, (struct worker_end){.status = 0});
        CHECK_INT(ended, 0);
        supervisor_ended(supervisor, 3, (struct worker_end){.status = status});
        CHECK_INT(ended, 1);
        CHECK_INT(end_status, status);
        end();
    }
}

static void one_that_is_killed_before_any_was_ready_is_started_again(void) {
    begin();
    ends_by(2, SIGKILL);
    pass(100);
    CHECK_INT(spawned[2], 2);
    CHECK_INT(ended, 0);
    end();
}

static void stops_all_and_ends_after_the_last(void) {
    begin();
    all_ready();
    ends_by(3, SIGKILL); /* waits for its next start */
    supervisor_stop(supervisor, 0);
    supervisor_stop(supervisor, 0);
    CHECK_INT(stopped[1], 1);
    CHECK_INT(stopped[3], 0);
    supervisor_ended(supervisor, 1, (struct worker_end){.status = 0});
    CHECK_INT(ended, 0);
    supervisor_ended(supervisor, 2, (struct worker_end){.status = 0});
    CHECK_INT(ended, 1);
    CHECK_INT(end_status, 0);
    pass(60000);
    CHECK_INT(spawned[3], 1);
    end();
}

static void a_worker_that_does_not_stop_is_killed(void) {
    begin();
    all_ready();
    supervisor_stop(supervisor, 0);
    supervisor_ended(supervisor, 1, (struct worker_end){.status = 0});
    pass(STOP_MS - 1);
    CHECK_INT(killed[2], 0);
    pass(1);
    CHECK_INT(killed[1], 0);
    CHECK_INT(killed[2], 1);
    CHECK_INT(killed[3], 1);
    ends_by(2, SIGKILL);
    ends_by(3, SIGKILL);
    CHECK_INT(ended, 1);
    CHECK_INT(end_status, 1);
    CHECK_INT(lines_with(end(), "has not ended 40 s after it was told to: it is killed"), 2);
}

static void a_stop_that_is_over_kills_nobody(void) {
    begin();
    all_ready();
    supervisor_stop(supervisor, 0);
    for (unsigned i = 1; i <= COUNT; i++)
        supervisor_ended(supervisor, i, (struct worker_end){.status = 0});
    pass(STOP_MS);
    CHECK_INT(killed[1] + killed[2] + killed[3], 0);
    end();
}

static void a_worker_that_fails_as_it_stops_gives_the_status(void) {
    begin();
    all_ready();
    supervisor_stop(supervisor, 0);
    supervisor_ended(supervisor, 1, (struct worker_end){.status = 1});
    ends_by(2, SIGKILL);
    supervisor_ended(supervisor, 3, (struct worker_end){.status = 0});
    CHECK_INT(end_status, 1);
    end();
}

static void a_worker_that_the_signal_of_a_stop_kills_has_not_failed(void) {
    begin();
    supervisor_stop(supervisor, 0);
    for (unsigned i = 1; i <= COUNT; i++)
        ends_by(i, SIGTERM);
    CHECK_INT(end_status, 0);
    CHECK_INT(lines_with(end(), "has ended"), 0);
}

static void reloads_one_after_the_other(void) {
    begin();
    all_ready();
    supervisor_reload(supervisor);
    CHECK_INT(reloads[1], 1);
    supervisor_reloaded(supervisor, 1, true, NULL);
    pass(SUPERVISOR_POLL_MS);
    CHECK(asked[1] > 0);
    CHECK_INT(reloads[2], 0);
    supervisor_ready(supervisor, 1, false);
    CHECK_INT(reloads[2], 0);
    supervisor_ready(supervisor, 1, true);
    CHECK_INT(reloads[2], 1);
    supervisor_reloaded(supervisor, 2, true, NULL);
    supervisor_ready(supervisor, 2, true);
    supervisor_reloaded(supervisor, 3, true, NULL);
    CHECK_INT(rounds, 0);
    supervisor_ready(supervisor, 3, true);
    CHECK_INT(rounds, 1);
    CHECK(round_why == NULL && !supervisor_reloads(supervisor));
    CHECK_INT(lines_with(end(), "all 3 workers have reloaded"), 1);
}

static void a_version_that_fails_reaches_one_worker(void) {
    begin();
    all_ready();
    supervisor_reload(supervisor);
    supervisor_reloaded(supervisor, 1, false, "why");
    CHECK_INT(rounds, 1);
    CHECK_INT(round_at, 1);
    CHECK_STR(round_why, "why");
    pass(SUPERVISOR_TURN_MS);
    CHECK_INT(reloads[2], 0);
    CHECK_INT(lines_with(end(), "worker 1: why: the workers behind it are not reloaded"), 1);
}

static void a_worker_that_dies_as_it_reloads_has_its_turn_done(void) {
    begin();
    all_ready();
    supervisor_reload(supervisor);
    ends_by(1, SIGKILL);
    supervisor_reloaded(supervisor, 1, false, "it does not answer");
    CHECK_INT(rounds, 0);
    pass(100);
    supervisor_ready(supervisor, 1, true);
    CHECK_INT(reloads[2], 1);
    end();
}

static void a_reload_starts_a_worker_that_waits(void) {
    begin();
    all_ready();
    ends_by(1, SIGKILL);
    supervisor_reload(supervisor);
    CHECK_INT(spawned[1], 2);
    supervisor_ready(supervisor, 1, true);
    CHECK_INT(reloads[1], 0);
    CHECK_INT(reloads[2], 1);
    end();
}

static void a_reload_does_not_wait_for_ever(void) {
    begin();
    all_ready();
    supervisor_reload(supervisor);
    pass(SUPERVISOR_TURN_MS);
    CHECK_STR(round_why, "the reload does not end");
    supervisor_reload(supervisor);
    supervisor_reloaded(supervisor, 1, true, NULL);
    pass(SUPERVISOR_TURN_MS);
    CHECK_STR(round_why, "it does not become ready");
    end();
}

static void a_reload_during_a_reload_is_one_more(void) {
    begin();
    all_ready();
    supervisor_reload(supervisor);
    supervisor_reload(supervisor);
    supervisor_reload(supervisor);
    for (int round = 1; round <= 2; round++)
        for (unsigned i = 1; i <= COUNT; i++) {
            CHECK_INT(reloads[i], round);
            supervisor_reloaded(supervisor, i, true, NULL);
            supervisor_ready(supervisor, i, true);
        }
    CHECK_INT(rounds, 2);
    CHECK(!supervisor_reloads(supervisor));
    end();
}

static void a_stop_ends_a_reload(void) {
    begin();
    all_ready();
    supervisor_reload(supervisor);
    supervisor_stop(supervisor, 0);
    CHECK_INT(rounds, 1);
    CHECK_STR(round_why, "the workers stop");
    supervisor_reload(supervisor);
    CHECK(!supervisor_reloads(supervisor));
    end();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(starts_all_and_asks_until_they_are_ready);
    RUN(starts_one_again_after_a_delay_that_doubles);
    RUN(begins_anew_after_it_was_ready_for_long);
    RUN(a_process_that_cannot_be_made_is_tried_again);
    RUN(a_worker_that_ends_by_itself_is_started_again);
    RUN(what_none_has_survived_ends_it_all_with_its_status);
    RUN(one_that_is_killed_before_any_was_ready_is_started_again);
    RUN(stops_all_and_ends_after_the_last);
    RUN(a_worker_that_does_not_stop_is_killed);
    RUN(a_stop_that_is_over_kills_nobody);
    RUN(a_worker_that_fails_as_it_stops_gives_the_status);
    RUN(a_worker_that_the_signal_of_a_stop_kills_has_not_failed);
    RUN(reloads_one_after_the_other);
    RUN(a_version_that_fails_reaches_one_worker);
    RUN(a_worker_that_dies_as_it_reloads_has_its_turn_done);
    RUN(a_reload_starts_a_worker_that_waits);
    RUN(a_reload_does_not_wait_for_ever);
    RUN(a_reload_during_a_reload_is_one_more);
    RUN(a_stop_ends_a_reload);
    return test_end();
}
