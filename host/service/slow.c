/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/slow.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/script/title.h"
#include "host/service/service.h"

/* Whoever asks waits so long by default (app.request, and clients in other languages less). */
#define REQUEST_MS 10000
#define MINUTE_MS 60000
/* Titles of the last minute that are remembered. */
#define TOLD 16
/* Handlers that are named when they are cut. */
#define CUT_MAX 20

struct slow {
    struct script_resource resource;
    struct script *script;
    struct clock_timer look; /* when the first request will have waited for long */
    uint64_t looked_until;   /* handlers that began at this time or before have been told */
    struct {
        uint64_t title; /* hash, 0: none */
        uint64_t at_ms;
    } told[TOLD];
    unsigned next; /* of them, to be forgotten */
};

static const char *name_of(const struct slow *slow) {
    return service_name(script_service(slow->script));
}

/* ---- once a minute ---- */

/* A hash of the title without the subject, which follows in parentheses. */
static uint64_t hash(const char *title, char kind) {
    uint64_t value = 14695981039346656037u ^ (unsigned char)kind;
    for (; *title != '\0' && strncmp(title, " (", 2) != 0; title++)
        value = (value ^ (unsigned char)*title) * 1099511628211u;
    return value | 1;
}

static bool may_tell(struct slow *slow, const char *title, char kind) {
    uint64_t key = hash(title, kind);
    uint64_t now = clock_now(service_clock(script_service(slow->script)));
    for (unsigned i = 0; i < TOLD; i++) {
        if (slow->told[i].title != key)
            continue;
        if (now - slow->told[i].at_ms < MINUTE_MS)
            return false;
        slow->told[i].title = 0;
    }
    slow->told[slow->next].title = key;
    slow->told[slow->next].at_ms = now;
    slow->next = (slow->next + 1) % TOLD;
    return true;
}

/* ---- the loop is held ---- */

static void on_held(void *owner, const struct fiber *fiber, uint64_t ms, const char *ended) {
    struct slow *slow = owner;
    char title[TITLE_SIZE], place[TITLE_SIZE];
    fiber_title(fiber, title, sizeof(title));
    fiber_place(fiber, place, sizeof(place)); /* none if it has ended */
    if (!may_tell(slow, title, 'h'))
        return;
    const struct fiber *before = fiber_speak_of(fiber);
    log_warn(
        name_of(slow),
        "%s has held the loop for %.2f s%s%s%s%s: nothing else ran meanwhile (app.thread is "
        "for what blocks, app.sleep(0) for long loops)",
        title, (double)ms / 1000, ended != NULL ? ", was ended at " : "",
        ended != NULL ? ended : "", place[0] != '\0' ? ", until it waited" : "", place);
    fiber_speak_of(before);
}

/* ---- a request waits ---- */

static bool is_awaited(const struct fiber *fiber) {
    const struct fiber_role *role = fiber_role(fiber);
    return role != NULL && role->awaited != NULL && role->awaited(fiber_arg(fiber));
}

struct search {
    struct slow *slow;
    uint64_t now, until, next;
};

static void look_at(struct search *search, const struct fiber *fiber) {
    uint64_t began = fiber_began(fiber);
    char title[TITLE_SIZE], place[TITLE_SIZE];
    if (began == 0 || began <= search->slow->looked_until || !is_awaited(fiber))
        return;
    if (began > search->until) {
        if (began < search->next)
            search->next = began;
        return;
    }
    fiber_title(fiber, title, sizeof(title));
    fiber_place(fiber, place, sizeof(place));
    if (!may_tell(search->slow, title, 'r'))
        return;
    const struct fiber *before = fiber_speak_of(fiber);
    log_warn(name_of(search->slow),
             "%s has not answered for %.3g s, and waits%s: whoever has asked may have given up",
             title, (double)(search->now - began) / 1000, place);
    fiber_speak_of(before);
}

static void on_look(struct clock_timer *timer) {
    struct slow *slow = container_of(timer, struct slow, look);
    struct clock *clock = script_clock(slow->script);
    uint64_t now = clock_now(clock);
    struct search search = {slow, now, now - REQUEST_MS, UINT64_MAX};
    const struct fibers *fibers = script_fibers(slow->script);
    for (const struct fiber *at = NULL; (at = fibers_next(fibers, at)) != NULL;)
        look_at(&search, at);
    slow->looked_until = search.until;
    if (search.next != UINT64_MAX)
        clock_arm(clock, &slow->look, search.next + REQUEST_MS - now);
}

static void on_wait(void *owner, const struct fiber *fiber) {
    struct slow *slow = owner;
    if (!clock_armed(&slow->look) && fiber_kind(fiber) == FIBER_HANDLER && is_awaited(fiber))
        clock_arm(script_clock(slow->script), &slow->look, REQUEST_MS);
}

/* ---- life ---- */

static void on_script_close(struct script_resource *resource) {
    struct slow *slow = container_of(resource, struct slow, resource);
    clock_disarm(script_clock(slow->script), &slow->look);
    free(slow);
}

void slow_watch(struct script *script) {
    struct slow *slow = calloc(1, sizeof(*slow));
    if (slow == NULL)
        return;
    slow->script = script;
    slow->look.fire = on_look;
    slow->resource.close = on_script_close;
    script_add_resource(script, &slow->resource);
    fibers_watch(script_fibers(script), &(struct fibers_watch){.on_wait = on_wait,
                                                               .on_held = on_held,
                                                               .service = name_of(slow),
                                                               .owner = slow});
}

/* ---- a stop ---- */

static void tell_cut(const struct script *script, const struct fiber *fiber) {
    char title[TITLE_SIZE], place[TITLE_SIZE];
    fiber_title(fiber, title, sizeof(title));
    fiber_place(fiber, place, sizeof(place));
    uint64_t began = fiber_began(fiber), now = clock_now(script_clock(script));
    const struct fiber *before = fiber_speak_of(fiber);
    log_warn(service_name(script_service(script)), "%s is cut after %.1f s%s", title,
             began != 0 ? (double)(now - began) / 1000 : 0, place);
    fiber_speak_of(before);
}

void slow_tell_cut(struct script *script) {
    const struct fibers *fibers = script_fibers(script);
    unsigned count = 0;
    for (const struct fiber *at = NULL; (at = fibers_next(fibers, at)) != NULL;)
        if (fiber_kind(at) == FIBER_HANDLER && ++count <= CUT_MAX)
            tell_cut(script, at);
    if (count > CUT_MAX)
        log_warn(service_name(script_service(script)), "... and %u more", count - CUT_MAX);
}
