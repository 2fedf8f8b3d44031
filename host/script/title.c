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
}

const char *fiber_label(const struct fiber *fiber) {
    return fiber->label;
}

uint64_t fiber_began(const struct fiber *fiber) {
    return fiber->began;
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
