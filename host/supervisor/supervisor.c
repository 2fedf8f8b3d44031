/* SPDX-License-Identifier: Apache-2.0 */
#include "host/supervisor/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/base/status.h"

#define COULD_NOT_START 1 /* of these exit statuses the least: see host/service/service.h */
#define NO_CONNECTION 3   /* and the greatest */
#define NO_PROGRAM 127    /* there is nothing to execute */

/* What the worker does whose turn it is in a round of reloads. */
enum turn {
    TURN_NONE,
    TURN_BEFORE, /* it must be ready first */
    TURN_RELOAD,
    TURN_AFTER, /* it has reloaded, and must be ready again */
};

struct member {
    struct supervisor_worker shown;
    struct supervisor *supervisor;
    unsigned number;
    struct clock_timer timer; /* waiting: the delay; starting: the next question; ready: until
                               * it counts as steady */
    bool been_ready;          /* at any time */
    uint64_t loop_ms;         /* when the first of its quick ends was */
};

struct supervisor {
    struct supervisor_hooks hooks;
    struct clock *clock;
    unsigned count;
    int status;
    bool any_ready; /* at any time */
    bool stopping, ended;
    unsigned turn_of; /* whose turn it is; 0: no round is under way */
    enum turn turn;
    bool again;               /* one more round */
    struct clock_timer ask;   /* in a turn: the next question */
    struct clock_timer bound; /* of a turn, or of the stop */
    struct member members[];
};

static struct member *member_of(struct supervisor *s, unsigned number) {
    return &s->members[number - 1];
}

static void tell_change(const struct supervisor *s) {
    s->hooks.on_change(s->hooks.owner);
}

static void change(struct member *member, enum worker_state state) {
    member->shown.state = state;
    member->shown.since_ms = clock_now(member->supervisor->clock);
    clock_disarm(member->supervisor->clock, &member->timer);
    tell_change(member->supervisor);
}

static void arm(struct member *member, uint64_t ms) {
    clock_arm(member->supervisor->clock, &member->timer, ms);
}

/* ---- rounds of reloads ---- */

static void end_turn(struct supervisor *s) {
    s->turn = TURN_NONE;
    clock_disarm(s->clock, &s->ask);
    clock_disarm(s->clock, &s->bound);
}

static void end_round(struct supervisor *s, const char *why) {
    unsigned stopped_at = s->turn_of;
    bool again = s->again && !s->stopping;
    end_turn(s);
    s->turn_of = 0;
    s->again = false;
    if (why == NULL)
        log_info(NULL, "all %u workers have reloaded", s->count);
    else if (!s->stopping)
        log_error(NULL, "worker %u: %s: the workers behind it are not reloaded", stopped_at,
                  why);
    tell_change(s);
    if (s->hooks.on_round != NULL)
        s->hooks.on_round(s->hooks.owner, stopped_at, why);
    if (again)
        supervisor_reload(s);
}

static void reload_now(struct supervisor *s) {
    s->turn = TURN_RELOAD;
    log_info(NULL, "worker %u of %u reloads", s->turn_of, s->count);
    s->hooks.reload(s->hooks.owner, s->turn_of);
}

static void start(struct member *member);

/* It runs, but something else keeps it from being ready: a database, perhaps. */
static bool is_slow(const struct member *member) {
    return member->shown.state == WORKER_STARTING &&
           clock_now(member->supervisor->clock) - member->shown.since_ms >= SUPERVISOR_SLOW_MS;
}

static void next_turn(struct supervisor *s) {
    end_turn(s);
    if (s->turn_of == s->count) {
        end_round(s, NULL);
        return;
    }
    struct member *member = member_of(s, ++s->turn_of);
    clock_arm(s->clock, &s->bound, SUPERVISOR_TURN_MS);
    s->turn = TURN_BEFORE;
    if (member->shown.state == WORKER_READY || is_slow(member)) {
        reload_now(s);
    } else if (member->shown.state == WORKER_WAITING) {
        s->turn = TURN_AFTER; /* it loads what there is now */
        start(member);
    }
}

/* The worker whose turn it is has become ready. */
static void go_on(struct supervisor *s) {
    if (s->turn == TURN_BEFORE)
        reload_now(s);
    else if (s->turn == TURN_AFTER)
        next_turn(s);
}

static void on_ask(struct clock_timer *timer) {
    struct supervisor *s = container_of(timer, struct supervisor, ask);
    s->hooks.ask(s->hooks.owner, s->turn_of);
    clock_arm(s->clock, timer, SUPERVISOR_POLL_MS);
}

/* No more can be asked of them. */
static void kill_rest(const struct supervisor *s) {
    for (unsigned i = 0; i < s->count; i++) {
        if (s->members[i].shown.state == WORKER_GONE)
            continue;
        log_error(NULL, "worker %u has not ended %.0f s after it was told to: it is killed",
                  s->members[i].number, (double)s->hooks.stop_ms / 1e3);
        s->hooks.kill(s->hooks.owner, s->members[i].number);
    }
}

static void on_bound(struct clock_timer *timer) {
    struct supervisor *s = container_of(timer, struct supervisor, bound);
    if (s->stopping)
        kill_rest(s);
    else
        end_round(s, s->turn == TURN_RELOAD ? "the reload does not end"
                                            : "it does not become ready");
}

void supervisor_reload(struct supervisor *s) {
    if (s->stopping)
        return;
    if (s->turn_of != 0)
        s->again = true;
    else
        next_turn(s);
    tell_change(s);
}

void supervisor_reloaded(struct supervisor *s, unsigned number, bool ok, const char *text) {
    if (s->turn_of != number || s->turn != TURN_RELOAD)
        return;
    if (!ok) {
        end_round(s, text);
        return;
    }
    s->turn = TURN_AFTER;
    clock_arm(s->clock, &s->ask, 0);
}

/* ---- workers ---- */

static void on_timer(struct clock_timer *timer) {
    struct member *member = container_of(timer, struct member, timer);
    struct supervisor *s = member->supervisor;
    if (member->shown.state == WORKER_WAITING) {
        start(member);
    } else if (member->shown.state == WORKER_STARTING) {
        s->hooks.ask(s->hooks.owner, member->number);
        arm(member, is_slow(member) ? SUPERVISOR_SLOW_POLL_MS : SUPERVISOR_POLL_MS);
    } else if (member->shown.quick > 0) {
        if (member->shown.quick >= SUPERVISOR_LOOP)
            log_info(NULL, "worker %u is steady again", member->number);
        member->shown.quick = 0;
    }
}

static void end_if_gone(struct supervisor *s) {
    for (unsigned i = 0; i < s->count; i++)
        if (s->members[i].shown.state != WORKER_GONE)
            return;
    if (s->ended)
        return;
    s->ended = true;
    clock_disarm(s->clock, &s->bound);
    s->hooks.on_ended(s->hooks.owner, s->status);
}

/* Its process is gone: another one is started later. */
static void put_off(struct member *member) {
    struct supervisor_worker *shown = &member->shown;
    uint64_t delay = SUPERVISOR_DELAY_MS, now = clock_now(member->supervisor->clock);
    if (shown->quick == 0)
        member->loop_ms = now;
    for (unsigned i = 0; i < shown->quick && delay < SUPERVISOR_DELAY_MAX_MS; i++)
        delay *= 2;
    if (delay > SUPERVISOR_DELAY_MAX_MS)
        delay = SUPERVISOR_DELAY_MAX_MS;
    if (++shown->quick == SUPERVISOR_LOOP)
        log_error(NULL,
                  "worker %u is in a crash loop: it has ended %u times within %.1f s, the last "
                  "time: %s",
                  member->number, shown->quick, (double)(now - member->loop_ms) / 1e3,
                  shown->ended);
    log_warn(NULL, "worker %u has ended: %s; the next one starts in %.1f s", member->number,
             shown->ended, (double)delay / 1e3);
    change(member, WORKER_WAITING);
    arm(member, delay);
}

static void start(struct member *member) {
    struct supervisor *s = member->supervisor;
    change(member, WORKER_STARTING);
    if (member->shown.ended[0] != '\0')
        member->shown.restarts++;
    int rc = s->hooks.spawn(s->hooks.owner, member->number);
    if (rc == LN_OK) {
        arm(member, SUPERVISOR_POLL_MS);
        return;
    }
    snprintf(member->shown.ended, WORKER_END_SIZE, "cannot be started: %s", status_text(rc));
    put_off(member);
}

static void describe(struct worker_end end, char out[WORKER_END_SIZE]) {
    if (end.signal != 0)
        snprintf(out, WORKER_END_SIZE, "killed by signal %d (%s)", end.signal,
                 strsignal(end.signal));
    else
        snprintf(out, WORKER_END_SIZE, "exit status %d", end.status);
}

/* What no worker has survived is a mistake in the script or in the settings: without workers
 * the process would end with this status, too. */
static bool is_hopeless(const struct supervisor *s, struct worker_end end) {
    return !s->any_ready && end.signal == 0 &&
           ((end.status >= COULD_NOT_START && end.status <= NO_CONNECTION) ||
            end.status == NO_PROGRAM);
}

void supervisor_ended(struct supervisor *s, unsigned number, struct worker_end end) {
    struct member *member = member_of(s, number);
    describe(end, member->shown.ended);
    if (!s->stopping && is_hopeless(s, end)) {
        change(member, WORKER_GONE);
        log_error(NULL, "worker %u could not start: %s", number, member->shown.ended);
        supervisor_stop(s, end.status);
        return;
    }
    if (s->stopping) {
        bool asked = end.signal == SIGTERM; /* before it could do more, or after all was done */
        change(member, WORKER_GONE);
        if (end.signal != 0 && !asked)
            log_warn(NULL, "worker %u has ended: %s", number, member->shown.ended);
        if (s->status == 0 && !asked)
            s->status = end.signal != 0 ? COULD_NOT_START : end.status;
        end_if_gone(s);
        return;
    }
    put_off(member);
    if (s->turn_of == number) { /* the next one loads what there is now */
        s->turn = TURN_AFTER;
        clock_disarm(s->clock, &s->ask);
    }
}

static void tell_complete(const struct supervisor *s) {
    if (supervisor_complete(s))
        log_info(NULL, "all %u workers are ready", s->count);
}

void supervisor_ready(struct supervisor *s, unsigned number, bool ready) {
    struct member *member = member_of(s, number);
    if (!ready || s->stopping)
        return;
    if (member->shown.state == WORKER_STARTING) {
        bool first = !member->been_ready;
        s->any_ready = member->been_ready = true;
        change(member, WORKER_READY);
        arm(member, SUPERVISOR_STEADY_MS);
        if (first)
            tell_complete(s);
    }
    if (s->turn_of == number && member->shown.state == WORKER_READY)
        go_on(s);
}

/* ---- the whole ---- */

void supervisor_start(struct supervisor *s) {
    for (unsigned i = 0; i < s->count; i++)
        start(&s->members[i]);
}

void supervisor_stop(struct supervisor *s, int status) {
    if (s->stopping)
        return;
    s->stopping = true;
    s->status = status;
    if (s->turn_of != 0)
        end_round(s, "the workers stop");
    clock_arm(s->clock, &s->bound, s->hooks.stop_ms);
    for (unsigned i = 0; i < s->count; i++) {
        struct member *member = &s->members[i];
        clock_disarm(s->clock, &member->timer);
        if (member->shown.state == WORKER_WAITING)
            change(member, WORKER_GONE);
        else if (member->shown.state != WORKER_GONE)
            s->hooks.stop(s->hooks.owner, member->number);
    }
    end_if_gone(s);
}

bool supervisor_stops(const struct supervisor *s) {
    return s->stopping;
}

bool supervisor_complete(const struct supervisor *s) {
    for (unsigned i = 0; i < s->count; i++)
        if (!s->members[i].been_ready)
            return false;
    return true;
}

bool supervisor_reloads(const struct supervisor *s) {
    return s->turn_of != 0;
}

unsigned supervisor_count(const struct supervisor *s) {
    return s->count;
}

const struct supervisor_worker *supervisor_worker(const struct supervisor *s, unsigned number) {
    return &s->members[number - 1].shown;
}

const char *worker_state_name(enum worker_state state) {
    static const char *const names[] = {"waiting", "starting", "ready", "gone"};
    return names[state];
}

int supervisor_open(struct supervisor **out, struct clock *clock, unsigned count,
                    const struct supervisor_hooks *hooks) {
    struct supervisor *s = calloc(1, sizeof(*s) + count * sizeof(s->members[0]));
    if (s == NULL)
        return LN_ENOMEM;
    s->hooks = *hooks;
    s->clock = clock;
    s->count = count;
    s->ask.fire = on_ask;
    s->bound.fire = on_bound;
    for (unsigned i = 0; i < count; i++) {
        s->members[i].supervisor = s;
        s->members[i].number = i + 1;
        s->members[i].timer.fire = on_timer;
    }
    *out = s;
    return LN_OK;
}

void supervisor_free(struct supervisor *s) {
    end_turn(s);
    for (unsigned i = 0; i < s->count; i++)
        clock_disarm(s->clock, &s->members[i].timer);
    free(s);
}
