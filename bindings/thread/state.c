/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Lua state of a thread: the libraries of Lua and what `require` finds, nothing of the
 * service. scripts/in_thread.lua prepares it.
 */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "bindings/embedded.h"
#include "bindings/json/json.h"
#include "bindings/thread/thread.h"

#define PRELUDE "lunats.in_thread"

#define LOOK 1000     /* instructions between two looks whether it shall end */
#define CLEAN_UP 1000 /* so many looks after the error, for those who clean up */
#define ERRORS_MAX 10 /* then there is one at each instruction */
#define WARNING_SIZE 1000

struct state {
    lua_State *L;
    const struct place *place;
    struct call *call; /* that runs, or NULL */
    int enter;         /* registry reference: what scripts/in_thread.lua returns */
    int errors;        /* that a call was given to end it */
    int patience;      /* looks without one */
    char warning[WARNING_SIZE];
    size_t warning_len;
};

static struct state *state_of(lua_State *L) {
    return *(struct state **)lua_getextraspace(L);
}

/* ---- what it tells ---- */

static void add_note(struct state *state, enum note kind, const char *text) {
    struct plain *notes = state->call != NULL ? &state->call->notes : NULL;
    size_t len = strlen(text) + 1;
    if (notes == NULL)
        return;
    if (notes->size - notes->len < len + 1) {
        size_t size = notes->size * 2 + len + 1;
        char *more = account_alloc(notes->account, notes->bytes, notes->size, size);
        if (more == NULL)
            return;
        notes->bytes = more;
        notes->size = size;
    }
    notes->bytes[notes->len] = (char)kind;
    memcpy(notes->bytes + notes->len + 1, text, len);
    notes->len += len + 1;
}

/* Of warn(), and of finalizers that fail; in parts. */
static void on_warning(void *ud, const char *text, int to_be_continued) {
    struct state *state = ud;
    size_t len = strlen(text), room = WARNING_SIZE - 1 - state->warning_len;
    if (len > room)
        len = room;
    memcpy(state->warning + state->warning_len, text, len);
    state->warning_len += len;
    if (to_be_continued)
        return;
    state->warning[state->warning_len] = '\0';
    state->warning_len = 0;
    if (state->warning[0] != '@') /* which would switch them on and off */
        add_note(state, NOTE_WARNING, state->warning);
}

/* note(path): a file was loaded */
static int note_file(lua_State *L) {
    add_note(state_of(L), NOTE_FILE, luaL_checkstring(L, 1));
    return 0;
}

/*
 * os.execute(command), which does not do what system() does to the process: it ignores SIGINT
 * and SIGQUIT as long as the command runs, and so would we.
 */
static int execute(lua_State *L) {
    const char *command = luaL_optstring(L, 1, NULL);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, NULL, NULL};
    pid_t child;
    int status = 0;
    if (command == NULL) {
        lua_pushboolean(L, access("/bin/sh", X_OK) == 0);
        return 1;
    }
    argv[2] = lua_newuserdatauv(L, strlen(command) + 1, 0);
    strcpy(argv[2], command);
    int rc = posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ);
    if (rc != 0) {
        errno = rc;
        return luaL_fileresult(L, 0, NULL);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return luaL_fileresult(L, 0, NULL);
    errno = 0;
    return luaL_execresult(L, status);
}

/* call(fn, ...): calls it, from C */
static int call_function(lua_State *L) {
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- the end of what nobody waits for ---- */

/* A script that catches the error may clean up, and then gets it again and again. */
static void on_count(lua_State *L, lua_Debug *at) {
    struct state *state = state_of(L);
    (void)at;
    if (state->call == NULL || !atomic_load(&state->call->job.ended) || state->patience-- > 0)
        return;
    state->patience = CLEAN_UP;
    if (++state->errors > ERRORS_MAX) {
        state->patience = 0;
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    }
    luaL_error(L, "ended: nobody waits for this call any more");
}

/* ---- its beginning and end ---- */

static int prepare(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"note", note_file}, {"execute", execute}, {"call", call_function}, {NULL, NULL}};
    struct state *state = state_of(L);
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushstring(L, state->place->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, state->place->cpath);
    lua_setfield(L, -2, "cpath");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, luaopen_lunats_json);
    lua_setfield(L, -2, "lunats.json");
    embedded_push(L, PRELUDE);
    luaL_newlib(L, functions);
    lua_call(L, 1, 1);
    state->enter = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct state *state_open(const struct place *place) {
    struct state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return NULL;
    state->place = place;
    state->L = lua_newstate(account_alloc, place->account);
    if (state->L == NULL) {
        free(state);
        return NULL;
    }
    *(struct state **)lua_getextraspace(state->L) = state;
    lua_setwarnf(state->L, on_warning, state);
    lua_pushcfunction(state->L, prepare);
    if (lua_pcall(state->L, 0, 0, 0) != LUA_OK) { /* our own code: out of memory */
        state_close(state);
        return NULL;
    }
    lua_sethook(state->L, on_count, LUA_MASKCOUNT, LOOK); /* its coroutines inherit it */
    return state;
}

void state_close(struct state *state) {
    lua_close(state->L);
    free(state);
}

/* ---- calls ---- */

/* Message handler: pushes the message with its traceback, as long as there is one. */
static int on_raised(lua_State *L) {
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    luaL_traceback(L, L, NULL, 1);
    lua_rawseti(L, -2, 2);
    return 1;
}

/* The message of an error that is a table may be in it. */
static void push_message(lua_State *L, int index) {
    if (lua_istable(L, index)) {
        lua_pushliteral(L, "message");
        if (lua_rawget(L, index) == LUA_TSTRING)
            return;
        lua_pop(L, 1);
    }
    luaL_tolstring(L, index, NULL);
}

static int copy_value(lua_State *L) {
    struct call *call = state_of(L)->call;
    plain_write(L, &call->out, 1, "error");
    return 0;
}

/* The error table is on top. Writes the three values. */
static void write_error(lua_State *L, struct call *call) {
    int table = lua_gettop(L);
    lua_rawgeti(L, table, 1);
    lua_rawgeti(L, table, 2); /* table, raised, traceback */
    push_message(L, table + 1);
    lua_insert(L, -2);
    lua_pushvalue(L, table + 1);
    lua_remove(L, table + 1); /* table, message, traceback, raised */
    bool is_table = lua_istable(L, -1);
    lua_pushvalue(L, -1);
    lua_replace(L, table);
    lua_pop(L, 1); /* raised, message, traceback */
    plain_write(L, &call->out, table + 1, "error");
    size_t len = call->out.len;
    if (is_table) {
        lua_pushcfunction(L, copy_value);
        lua_pushvalue(L, table);
        if (lua_pcall(L, 1, 0, 0) == LUA_OK)
            return;
        lua_pop(L, 1);
    }
    call->out.len = len;
    lua_pushnil(L);
    plain_write(L, &call->out, lua_gettop(L), "error");
}

static int call_body(lua_State *L) {
    struct state *state = state_of(L);
    struct call *call = state->call;
    lua_pushcfunction(L, on_raised);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->enter);
    lua_pushstring(L, call->module);
    lua_pushstring(L, call->function);
    int count = plain_push(L, &call->in);
    plain_free(&call->in);
    int rc = lua_pcall(L, 2 + count, LUA_MULTRET, 1);
    if (rc == LUA_OK) {
        lua_pushfstring(L, "%s.%s: result", call->module, call->function);
        lua_replace(L, 1);
        plain_write(L, &call->out, 2, lua_tostring(L, 1));
        call->outcome = CALL_RETURNED;
        return 0;
    }
    if (rc == LUA_ERRMEM || !lua_istable(L, -1)) /* no handler was called */
        return lua_error(L);
    call->outcome = CALL_RAISED;
    write_error(L, call);
    return 0;
}

/* Results that cannot be copied: the message is on top. */
static int write_refusal(lua_State *L) {
    struct call *call = state_of(L)->call;
    lua_settop(L, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    plain_write(L, &call->out, 1, "error");
    return 0;
}

bool state_call(struct state *state, struct call *call) {
    lua_State *L = state->L;
    state->call = call;
    state->errors = state->patience = 0;
    call->outcome = CALL_RETURNED;
    lua_settop(L, 0);
    lua_pushcfunction(L, call_body);
    int rc = lua_pcall(L, 0, 0, 0);
    if (rc != LUA_OK) {
        call->outcome = rc == LUA_ERRMEM || call->out.refused ? CALL_NO_MEMORY : CALL_RAISED;
        call->out.len = 0;
        if (call->outcome == CALL_RAISED) {
            lua_pushcfunction(L, write_refusal);
            lua_insert(L, 1);
            if (lua_pcall(L, 1, 0, 0) != LUA_OK)
                call->outcome = CALL_NO_MEMORY;
        }
    }
    if (call->outcome == CALL_NO_MEMORY)
        plain_free(&call->out);
    lua_settop(L, 0);
    state->call = NULL;
    return state->errors == 0;
}
