/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error that ends a call which does not wait, see host/script/interrupt.h. Lua calls the
 * hook between two instructions, or as a function begins, so that no C code of ours is in the
 * middle of something that it could not leave.
 */
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/script/watchdog.h"

/* Finding a level takes as long as it is deep, and nothing can end that. */
#define LEVELS 200

/* The warnings of Lua about finalizers show nothing but strings. */
static bool in_finalizer(lua_State *L) {
    lua_Debug at;
    for (int level = 0; level < LEVELS && lua_getstack(L, level, &at); level++) {
        lua_getinfo(L, "n", &at);
        if (strcmp(at.namewhat, "metamethod") == 0 && strcmp(at.name, "__gc") == 0)
            return true;
    }
    return false;
}

static void on_interrupt(lua_State *L, lua_Debug *at) {
    char text[INTERRUPT_TEXT + 128];
    struct watchdog *dog = scheduler_watchdog(script_scheduler(script_of(L)));
    if (!interrupt_due(dog, L, at, text, sizeof(text)))
        return;
    if (in_finalizer(L))
        lua_pushstring(L, text);
    else
        push_error(L, "slice", text);
    lua_error(L);
}

void bindings_slice(lua_State *L) {
    scheduler_watchdog(script_scheduler(script_of(L)))->interrupt.hook = on_interrupt;
}
