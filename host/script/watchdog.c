/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/watchdog.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/log.h"
#include "host/base/terminal.h"

#define TICK_MS 50
/* Processor time that is long, ... */
#define BUSY_MS 50
/* ... and time that is, whatever it was used for. */
#define BLOCKED_MS 1000
/* ... and time after which the log tells of what has a longer slice, while it lasts. */
#define WORD_MS 1000
/* How much of the time in which the thread sleeps counts as if it computed. */
#define SLEEP_SHARE 10
/* After an error this part of a slice is left to clean up. */
#define GRACE_SHARE 4
/* After so many looks at nothing that runs the thread sleeps. */
#define CALM_TICKS 4

#define NS_PER_MS ((uint64_t)1000000)

/* ---- the thread ---- */

static uint64_t cpu_ns(const struct watchdog *dog) {
    struct timespec at = {0};
    clock_gettime(dog->cpu, &at);
    return (uint64_t)at.tv_sec * 1000 * NS_PER_MS + (uint64_t)at.tv_nsec;
}

/* Reads a file of /proc; an empty text where that fails. */
static void read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
}

/* Of the loop's thread, as proc(5) has it: S waits for something, D for the disk, R computes
 * or waits for its turn. */
static char state_of(const struct watchdog *dog) {
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", dog->id);
    read_text(path, text, sizeof(text));
    const char *name_end = strrchr(text, ')'); /* the name may have any characters */
    return name_end != NULL && strlen(name_end) > 2 ? name_end[2] : 'R';
}

/* For how long this thread has waited for its turn, in nanoseconds: the second number of
 * schedstat. 0 where the system does not count it. */
static uint64_t waited_ns(void) {
    char text[128], *end;
    read_text("/proc/thread-self/schedstat", text, sizeof(text));
    strtoull(text, &end, 10);
    return strtoull(end, NULL, 10);
}

/* What the looks at a call have seen. Times are nanoseconds, on the clock or of the processor.
 */
struct look {
    uint64_t turn;
    uint64_t since, cpu;     /* when it was seen first */
    uint64_t last, last_cpu; /* the last look */
    uint64_t waited;         /* by this thread for its turn, until then */
    uint64_t slept;          /* so long, as far as it was seen */
    uint64_t lost;           /* to the machine: it had no turn, or the process was stopped */
    bool asleep;             /* at the last look */
    uint64_t told;           /* spent when its error was seen; 0: not yet */
    uint64_t next_word;      /* held */
    bool stop_told;          /* that a signal waits for its end */
    bool asked;              /* for a traceback */
    int calm;
};

static uint64_t computed(const struct look *look) {
    return look->last_cpu - look->cpu;
}

/* What counts against the slice. */
static uint64_t spent(const struct look *look) {
    return computed(look) + look->slept / SLEEP_SHARE;
}

/* For how long it really keeps the loop. */
static uint64_t held(const struct look *look) {
    return computed(look) + look->slept;
}

static void look_again(const struct watchdog *dog, struct look *look) {
    uint64_t now = uv_hrtime(), cpu = cpu_ns(dog), passed = now - look->last;
    uint64_t waited = waited_ns(), used = cpu - look->last_cpu;
    char state = used < passed / 10 ? state_of(dog) : 'R';
    if (state != 'R') {
        /* Not all that time, if the process was stopped, and this thread with it. */
        uint64_t most = 2 * TICK_MS * NS_PER_MS + (waited - look->waited);
        used = passed < most ? passed : most;
    }
    look->asleep = state == 'S';
    look->slept += look->asleep ? used : 0;
    look->lost += passed > used ? passed - used : 0;
    look->last = now;
    look->last_cpu = cpu;
    look->waited = waited;
}

/* Says it to the loop, for the end of the call. */
static void publish(struct watchdog *dog, const struct look *look) {
    atomic_store_explicit(&dog->long_since, look->since, memory_order_relaxed);
    atomic_store_explicit(&dog->long_turn, look->turn, memory_order_release);
}

/* ---- what holds on ---- */

static bool has_trace(struct watchdog *dog) {
    return atomic_load_explicit(&dog->interrupt.trace, memory_order_acquire) ==
           INTERRUPT_TRACE_READY;
}

static void say(struct watchdog *dog, enum log_level level, const struct look *look,
                const char *why) {
    const struct interrupt *in = &dog->interrupt;
    bool ready = has_trace(dog);
    char text[INTERRUPT_TEXT + INTERRUPT_TRACE + 256];
    snprintf(text, sizeof(text), "%s has held the loop for %.2f s%s%s%s",
             ready ? in->title : "a call", (double)(look->last - look->since) / 1e9, why,
             ready && in->lines[0] != '\0' ? "\nstack traceback:" : "", ready ? in->lines : "");
    log_aside(level, ready && in->service[0] != '\0' ? in->service : NULL, text);
}

static uint64_t slice_ns(const struct watchdog *dog) {
    return atomic_load_explicit(&dog->slice_ms, memory_order_relaxed) * NS_PER_MS;
}

/* The first word of a call that can be ended is left to its end. */
static bool word_is_due(const struct watchdog *dog, const struct look *look,
                        enum interrupt_level level) {
    uint64_t first = level == INTERRUPT_NONE ? WORD_MS * NS_PER_MS : 0;
    bool has_words = level != INTERRUPT_NONE || slice_ns(dog) > WORD_MS * NS_PER_MS;
    return has_words && held(look) >= (look->next_word != 0 ? look->next_word : first);
}

static void say_what_is_due(struct watchdog *dog, struct look *look,
                            enum interrupt_level level) {
    const char *stop = atomic_load(&dog->stop);
    char why[128];
    if (stop != NULL && !look->stop_told) {
        snprintf(why, sizeof(why), ": %s, stopping when that ends (once more to end at once)",
                 stop);
        look->stop_told = true;
        say(dog, LOG_LEVEL_WARN, look, why);
    } else if (dog->interrupt.stuck) {
        say(dog, LOG_LEVEL_WARN, look,
            ", in a function in C, which nothing can end: nothing else runs");
    } else if (level == INTERRUPT_NONE) {
        say(dog, LOG_LEVEL_WARN, look, ", and goes on: nothing else runs");
    } else {
        return;
    }
    look->next_word = 2 * held(look); /* so that it does not become noise */
}

/* Says what there is to say, with a traceback of this moment; of one that may stall there is
 * one at hand. Returns whether the loop has to be asked for it. */
static bool report(struct watchdog *dog, struct look *look, enum interrupt_level level,
                   bool stalls) {
    bool stop_waits = atomic_load(&dog->stop) != NULL && !look->stop_told;
    bool due = stop_waits || word_is_due(dog, look, level);
    if (!due && !stalls)
        return false;
    if (!look->asked) {
        look->asked = true;
        atomic_store_explicit(&dog->interrupt.trace, INTERRUPT_TRACE_WANTED,
                              memory_order_release);
    } else if (due && has_trace(dog)) {
        look->asked = false;
        say_what_is_due(dog, look, level);
    }
    return true;
}

/* A call that cannot be ended: the supervisor of the process starts it again. */
static void end_process(struct watchdog *dog, const struct look *look) {
    char why[128];
    snprintf(why, sizeof(why),
             ", %.2f s of that computing or asleep: ending the process (--stall-exit)",
             (double)held(look) / 1e9);
    say(dog, LOG_LEVEL_ERROR, look, why);
    terminal_give_back();
    _exit(dog->interrupt.exit_status);
}

/* Returns whether it may come to that. */
static bool look_for_stall(struct watchdog *dog, struct look *look) {
    uint64_t stall = dog->interrupt.stall_ms * NS_PER_MS;
    if (stall == 0 || held(look) < stall / 2)
        return false;
    bool trace_comes = look->asked && !has_trace(dog) && held(look) < stall + stall / 4;
    if (held(look) >= stall && !trace_comes)
        end_process(dog, look);
    return true;
}

static enum interrupt_level level_of(struct watchdog *dog, struct look *look) {
    uint64_t slice = slice_ns(dog);
    bool told = atomic_load_explicit(&dog->interrupt.told, memory_order_relaxed) == look->turn;
    if (slice == 0 || spent(look) < slice)
        return INTERRUPT_NONE;
    if (told && look->told == 0)
        look->told = spent(look);
    bool over = look->told != 0 && spent(look) - look->told >= slice / GRACE_SHARE;
    return over ? INTERRUPT_ALWAYS : INTERRUPT_ONCE;
}

static void follow(struct watchdog *dog, struct look *look) {
    look_again(dog, look);
    enum interrupt_level level = level_of(dog, look);
    bool stalls = look_for_stall(dog, look);
    bool is_long = computed(look) >= BUSY_MS * NS_PER_MS ||
                   look->last - look->since - look->lost >= BLOCKED_MS * NS_PER_MS;
    if (is_long || level != INTERRUPT_NONE)
        publish(dog, look);
    if (report(dog, look, level, stalls) || level != INTERRUPT_NONE)
        interrupt_ask(dog, look->turn, level, (uint32_t)(spent(look) / NS_PER_MS),
                      look->asleep);
}

static void look_at(struct watchdog *dog, struct look *look) {
    uint64_t turn = atomic_load_explicit(&dog->turn, memory_order_acquire);
    if (turn != look->turn) {
        uint64_t now = uv_hrtime(), cpu = cpu_ns(dog);
        *look = (struct look){.turn = turn,
                              .since = now,
                              .cpu = cpu,
                              .last = now,
                              .last_cpu = cpu,
                              .waited = waited_ns()};
        atomic_store_explicit(&dog->interrupt.trace, INTERRUPT_TRACE_NONE,
                              memory_order_relaxed);
    } else if (turn % 2 == 0) {
        look->calm++;
    } else {
        follow(dog, look);
    }
}

static void watch(void *arg) {
    struct watchdog *dog = arg;
    struct look look = {0};
    uv_mutex_lock(&dog->mutex);
    while (!dog->ending) {
        look_at(dog, &look);
        if (look.calm < CALM_TICKS) {
            uv_cond_timedwait(&dog->cond, &dog->mutex, TICK_MS * NS_PER_MS);
            continue;
        }
        look.calm = 0;
        atomic_store(&dog->asleep, true);
        /* A call that began meanwhile may not have seen that: it is followed to its end. */
        do {
            uv_cond_timedwait(&dog->cond, &dog->mutex, TICK_MS * NS_PER_MS);
            look_at(dog, &look);
        } while (atomic_load(&dog->asleep) && !dog->ending && look.turn % 2 == 1);
        while (atomic_load(&dog->asleep) && !dog->ending)
            uv_cond_wait(&dog->cond, &dog->mutex);
    }
    uv_mutex_unlock(&dog->mutex);
}

/* ---- the loop ---- */

/* Signals are for the loop's thread. Without a thread nothing is noticed. */
static void start(struct watchdog *dog) {
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_getcpuclockid(pthread_self(), &dog->cpu) != 0)
        return;
    dog->id = gettid();
    interrupt_open(dog);
    uv_mutex_init(&dog->mutex);
    uv_cond_init(&dog->cond);
    const uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, (size_t)128 * 1024};
    pthread_sigmask(SIG_SETMASK, &all, &before);
    dog->started = uv_thread_create_ex(&dog->thread, &options, watch, dog) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (dog->started)
        return;
    uv_mutex_destroy(&dog->mutex);
    uv_cond_destroy(&dog->cond);
}

void watchdog_init(struct watchdog *dog) {
    *dog = (struct watchdog){.asleep = true};
}

void watchdog_end_process(struct watchdog *dog, uint32_t stall_ms, int exit_status) {
    dog->interrupt.stall_ms = stall_ms;
    dog->interrupt.exit_status = exit_status;
}

void watchdog_stop_waits(struct watchdog *dog, const char *why) {
    atomic_store(&dog->stop, why);
}

void watchdog_wake(struct watchdog *dog) {
    if (dog->on_wake != NULL)
        dog->on_wake(dog->owner);
    if (!dog->started) {
        dog->asleep = false;
        start(dog);
        return;
    }
    uv_mutex_lock(&dog->mutex);
    dog->asleep = false;
    uv_cond_signal(&dog->cond);
    uv_mutex_unlock(&dog->mutex);
}

struct watchdog_held watchdog_over(struct watchdog *dog, uint64_t turn) {
    atomic_thread_fence(memory_order_acquire);
    uint64_t since = atomic_load_explicit(&dog->long_since, memory_order_relaxed);
    lua_State *L = atomic_load_explicit(&dog->L, memory_order_relaxed);
    return (struct watchdog_held){(uv_hrtime() - since) / NS_PER_MS,
                                  interrupt_over(dog, turn, L)};
}

void watchdog_enter(struct watchdog *dog, struct watchdog_outer *outer, lua_State *L,
                    uint32_t slice_ms, const char *what) {
    bool inside = atomic_load_explicit(&dog->turn, memory_order_relaxed) % 2 != 0;
    uint32_t outer_ms = atomic_load_explicit(&dog->slice_ms, memory_order_relaxed);
    *outer = (struct watchdog_outer){
        .L = inside ? atomic_load_explicit(&dog->L, memory_order_relaxed) : NULL,
        .slice_ms = outer_ms,
        .what = dog->what,
        .goes_on = inside && (outer_ms != 0 || slice_ms == 0),
    };
    dog->what = what;
    if (outer->goes_on) {
        watchdog_dive(dog, L);
        return;
    }
    if (inside)
        watchdog_end(dog);
    watchdog_begin(dog, L, slice_ms);
}

void watchdog_leave(struct watchdog *dog, const struct watchdog_outer *outer) {
    dog->what = outer->what;
    if (outer->goes_on) {
        lua_State *L = atomic_load_explicit(&dog->L, memory_order_relaxed);
        watchdog_surface(dog, L, outer->L);
        return;
    }
    watchdog_end(dog);
    if (outer->L != NULL)
        watchdog_begin(dog, outer->L, outer->slice_ms);
}

void watchdog_close(struct watchdog *dog) {
    if (!dog->started)
        return;
    uv_mutex_lock(&dog->mutex);
    dog->ending = true;
    uv_cond_signal(&dog->cond);
    uv_mutex_unlock(&dog->mutex);
    uv_thread_join(&dog->thread);
    interrupt_close(dog);
    uv_mutex_destroy(&dog->mutex);
    uv_cond_destroy(&dog->cond);
    dog->started = false;
}
