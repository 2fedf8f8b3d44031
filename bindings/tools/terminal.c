/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.terminal(): the terminal, for commands that read its keys or fill its screen. It is
 * taken from the process until this is closed; while the process is stopped (Ctrl-Z) it is
 * given back.
 */
#include "host/base/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/log.h"

#define TERMINAL_TYPE "lunats.terminal"

enum { RESIZED, STOPPED, CONTINUED, SIGNALS };

static const int numbers[SIGNALS] = {SIGWINCH, SIGTSTP, SIGCONT};

struct terminal {
    struct script_resource resource; /* first: on_script_close() casts */
    uv_signal_t signals[SIGNALS];
    struct terminal **box; /* the userdata; NULL: gone */
    struct fiber *waiting; /* in wait() */
    enum terminal_use use;
    struct log_tap tap; /* a screen: log lines would go across it */
    char said[256];     /* the last of them; "" = none */
    bool changed;       /* since the last wait() */
    int open_handles;
};

/* ---- memory ---- */

static void on_closed(uv_handle_t *handle) {
    struct terminal *terminal = handle->data;
    if (--terminal->open_handles == 0)
        free(terminal);
}

static void close_terminal(struct terminal *terminal) {
    terminal_give_back();
    log_tap_remove(&terminal->tap);
    if (terminal->box != NULL)
        *terminal->box = NULL;
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&terminal->signals[i], on_closed);
}

static void on_script_close(struct script_resource *resource) {
    close_terminal((struct terminal *)resource);
}

/* terminal:close() */
static int terminal_close(lua_State *L) {
    struct terminal **box = luaL_checkudata(L, 1, TERMINAL_TYPE);
    if (*box == NULL)
        return 0;
    script_remove_resource(&(*box)->resource);
    struct fiber *waiting = (*box)->waiting;
    if (waiting != NULL) { /* which must not look at it any more */
        *(struct terminal **)fiber_wait_area(waiting) = NULL;
        fiber_wake(waiting, LN_ECLOSED);
    }
    close_terminal(*box);
    return 0;
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *signal, int signum) {
    struct terminal *terminal = signal->data;
    if (signum == SIGTSTP) {
        terminal_give_back();
        raise(SIGSTOP);
        return; /* SIGCONT follows */
    }
    if (signum == SIGCONT)
        terminal_take(terminal->use);
    terminal->changed = true;
    if (terminal->waiting != NULL)
        fiber_wake(terminal->waiting, LN_OK);
}

static bool on_log(struct log_tap *tap, const struct log_record *record) {
    struct terminal *terminal = tap->owner;
    snprintf(terminal->said, sizeof(terminal->said), "%s", record->message);
    return true;
}

/* core.terminal("line" | "screen") -> terminal | nil, err */
static int core_terminal(lua_State *L) {
    static const char *const uses[] = {"line", "screen", NULL};
    check_open(L);
    enum terminal_use use = (enum terminal_use)luaL_checkoption(L, 1, NULL, uses);
    struct terminal **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, TERMINAL_TYPE);
    struct terminal *terminal = calloc(1, sizeof(*terminal));
    if (terminal == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    struct script *script = script_of(L);
    int rc = terminal_take(use);
    if (rc < 0) {
        free(terminal);
        return push_failure(L, rc, "terminal");
    }
    terminal->use = use;
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(script_loop(script), &terminal->signals[i]);
        terminal->signals[i].data = terminal;
        terminal->open_handles++;
        uv_signal_start(&terminal->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&terminal->signals[i]);
    }
    terminal->tap =
        (struct log_tap){.level = LOG_LEVEL_INFO, .on_record = on_log, .owner = terminal};
    if (use == TERMINAL_SCREEN)
        log_tap_add(&terminal->tap);
    terminal->resource.close = on_script_close;
    script_add_resource(script, &terminal->resource);
    terminal->box = box;
    *box = terminal;
    return 1;
}

/* ---- waiting ---- */

static struct terminal *check_terminal(lua_State *L) {
    struct terminal *terminal = *(struct terminal **)luaL_checkudata(L, 1, TERMINAL_TYPE);
    if (terminal == NULL)
        luaL_error(L, "this terminal was closed");
    return terminal;
}

static void leave_wait(struct fiber *fiber, void *area) {
    (void)fiber;
    struct terminal *terminal = *(struct terminal **)area;
    if (terminal != NULL)
        terminal->waiting = NULL;
}

static int wait_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct terminal *terminal = *(struct terminal **)fiber_wait_area(fiber);
    if (terminal != NULL)
        terminal->changed = false;
    fiber_end_wait(fiber);
    lua_pushboolean(L, terminal != NULL);
    return 1;
}

/* terminal:wait() -> true when its size may have changed, or the screen has to be drawn again;
 * false when it was closed */
static int terminal_wait(lua_State *L) {
    struct terminal *terminal = check_terminal(L);
    struct fiber *fiber = check_fiber(L, "terminal:wait");
    if (terminal->waiting != NULL)
        return luaL_error(L, "another fiber waits for this terminal already");
    if (terminal->changed) {
        terminal->changed = false;
        lua_pushboolean(L, true);
        return 1;
    }
    terminal->waiting = fiber;
    *(struct terminal **)fiber_begin_wait(fiber, leave_wait) = terminal;
    return wait_yield(L, wait_done);
}

/* terminal:said() -> the last line for the log, which a screen keeps away from it; nil */
static int terminal_said(lua_State *L) {
    const struct terminal *terminal = check_terminal(L);
    if (terminal->said[0] == '\0')
        return 0;
    lua_pushstring(L, terminal->said);
    return 1;
}

/* core.terminal_size() -> columns, rows | nil: the standard output is no terminal */
static int core_terminal_size(lua_State *L) {
    int columns, rows;
    if (!terminal_size(&columns, &rows))
        return 0;
    lua_pushinteger(L, columns);
    lua_pushinteger(L, rows);
    return 2;
}

void bindings_terminal(lua_State *L) {
    static const luaL_Reg methods[] = {{"wait", terminal_wait},
                                       {"said", terminal_said},
                                       {"close", terminal_close},
                                       {"__gc", terminal_close},
                                       {NULL, NULL}};
    add_class(L, TERMINAL_TYPE, methods);
    lua_pushcfunction(L, core_terminal);
    lua_setfield(L, -2, "terminal");
    lua_pushcfunction(L, core_terminal_size);
    lua_setfield(L, -2, "terminal_size");
}
