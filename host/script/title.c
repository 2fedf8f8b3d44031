/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/title.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "host/script/internal.h"

/* ---- what they are ---- */

void fibers_add_role(struct fibers *fibers, const struct fiber_role *role) {
    int at = 0;
    while (at < ROLES - 1 && fibers->roles[at] != NULL && fibers->roles[at] != role)
        at++;
    fibers->roles[at] = role;
}

void fibers_watch(struct fibers *fibers, const struct fibers_watch *watch) {
    fibers->watch = *watch;
}

const struct fiber_role *fiber_role(const struct fiber *fiber) {
    struct fibers *fibers = fiber->owner;
    for (int at = 0; at < ROLES && fibers->roles[at] != NULL; at++)
        if (fibers->roles[at]->on_end == fiber->on_end)
            return fibers->roles[at];
    return NULL;
}

void fiber_set_label(struct fiber *fiber, const char *text) {
    free(fiber->label);
    fiber->label = strdup(text);
    fiber->exposed = true; /* not used again, under this label */
    if (fiber->origin != NULL)
        origin_leave(fiber);
}

const char *fiber_label(const struct fiber *fiber) {
    return fiber->label;
}

uint64_t fiber_began(const struct fiber *fiber) {
    return fiber->began;
}

/* ---- in fields ---- */

/* "timer every 2 s", "task sync": a name behind a word. */
static size_t label_facts(const char *label, struct log_field out[LOG_CONTEXT_MAX]) {
    static const char *const kinds[] = {"timer", "task"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t len = strlen(kinds[i]);
        if (strncmp(label, kinds[i], len) == 0 && label[len] == ' ') {
            out[0] = log_text(kinds[i], label + len + 1);
            return 1;
        }
    }
    return 0;
}

size_t fiber_facts(const struct fiber *fiber, struct log_field out[LOG_CONTEXT_MAX]) {
    const struct fiber_role *role = fiber_role(fiber);
    if (role != NULL && role->facts != NULL)
        return role->facts(fiber_arg(fiber), out);
    if (fiber->label != NULL)
        return label_facts(fiber->label, out);
    if (fiber->origin == NULL)
        return 0;
    memcpy(out, fiber->origin->fields, fiber->origin->count * sizeof(out[0]));
    return fiber->origin->count;
}

size_t fiber_log_context(struct log_field out[LOG_CONTEXT_MAX]) {
    static char trace[2 * TRACE_ID_BYTES + 1]; /* borrowed for the call, as all of it */
    char span[2 * SPAN_ID_BYTES + 1];
    const struct fiber *fiber = fiber_running();
    size_t count = fiber != NULL ? fiber_facts(fiber, out) : 0;
    if (fiber != NULL && count < LOG_CONTEXT_MAX && trace_text(fiber->trace, trace, span))
        out[count++] = log_text("trace_id", trace);
    return count;
}

/* ---- what they are started in ---- */

static struct origin *origin_new(const struct log_field *fields, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += fields[i].value.string.len;
    struct origin *origin = malloc(sizeof(*origin) + len);
    if (origin == NULL)
        return NULL;
    origin->users = 0;
    origin->count = count;
    char *to = origin->bytes;
    for (size_t i = 0; i < count; i++) {
        origin->fields[i] = fields[i];
        origin->fields[i].value.string.data =
            memcpy(to, fields[i].value.string.data, fields[i].value.string.len);
        to += fields[i].value.string.len;
    }
    return origin;
}

/* The one of a fiber with a role or label is of itself, made when it starts its first. */
void origin_inherit(struct fiber *fiber, struct fiber *parent) {
    struct log_field fields[LOG_CONTEXT_MAX];
    if (parent->origin == NULL) {
        size_t count = fiber_facts(parent, fields);
        parent->origin = count > 0 ? origin_new(fields, count) : NULL;
        if (parent->origin == NULL)
            return;
        parent->origin->users++;
    }
    fiber->origin = parent->origin;
    fiber->origin->users++;
}

void origin_leave(struct fiber *fiber) {
    if (--fiber->origin->users == 0)
        free(fiber->origin);
    fiber->origin = NULL;
}

/* ---- in words ---- */

void fiber_title(const struct fiber *fiber, char *out, size_t size) {
    const struct fiber_role *role = fiber_role(fiber);
    if (role != NULL)
        role->title(fiber_arg(fiber), out, size);
    else
        snprintf(out, size, "%s",
                 fiber->label != NULL         ? fiber->label
                 : fiber->kind == FIBER_PHASE ? "a hook"
                                              : "a fiber");
}

/* What is read here belongs to the fiber and stays while it runs. */
void fiber_say(const char *what, char *title, char *service, size_t size) {
    const struct fiber *fiber = what == NULL ? fiber_running() : NULL;
    const char *name = fiber != NULL ? fiber->owner->watch.service : NULL;
    if (fiber != NULL)
        fiber_title(fiber, title, size);
    else
        snprintf(title, size, "%s", what != NULL ? what : "a call");
    snprintf(service, size, "%s", name != NULL ? name : "");
}

/* The innermost line that is not ours. Looking at a stack neither allocates nor raises. */
void fiber_place(const struct fiber *fiber, char *out, size_t size) {
    lua_State *L = fiber_thread(fiber);
    lua_Debug at;
    out[0] = '\0';
    for (int level = 0; lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "Sl", &at);
        if (at.currentline > 0 && strncmp(at.source, "=lunats/", 8) != 0) {
            snprintf(out, size, " at %s:%d", at.short_src, at.currentline);
            return;
        }
    }
}

static int describe_fiber(lua_State *L) {
    const struct fiber *fiber = lua_touserdata(L, 1);
    luaL_traceback(L, fiber->L, NULL, 0);
    return 1;
}

void fibers_describe(struct fibers *fibers, enum fiber_kind kind,
                     void (*each)(void *owner, const char *text), void *owner) {
    lua_State *aux = fibers->aux;
    list_each (struct fiber, fiber, &fibers->live, node) {
        if (fiber->kind != kind)
            continue;
        lua_pushcfunction(aux, describe_fiber);
        lua_pushlightuserdata(aux, fiber);
        lua_pcall(aux, 1, 1, 0);
        const char *text = lua_tostring(aux, -1);
        each(owner, text != NULL ? text : "(out of memory)");
        lua_pop(aux, 1);
    }
}
