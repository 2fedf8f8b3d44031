/* SPDX-License-Identifier: Apache-2.0 */
/* Error tables: what `nil, err` returns and what errors of the host raise. */
#ifndef LUNATS_LIB_ERROR_H
#define LUNATS_LIB_ERROR_H

#include <stdbool.h>

#include <lua.h>

/*
 * Pushes an error table { code = word, message = text } whose tostring is the message; more
 * fields may be added. Returns 1.
 */
int push_error(lua_State *L, const char *code, const char *message);

/* Pushes nil and an error table for a status of the host; returns 2. `detail` may be NULL. */
int push_failure(lua_State *L, int status, const char *detail);

/* Pushes "file:line: " of the innermost Lua function that is not one of ours. */
void push_position(lua_State *L);

/*
 * luaL_error() with the position in the user's code: our own Lua (scripts/) on the way to a
 * primitive is left out.
 */
int raise_error(lua_State *L, const char *format, ...);

/*
 * For the message handler of a protected call, where the traceback exists: below the top of the
 * stack is the error, on it nil, which becomes a table with the error and its text; or the
 * table that was made for the error before in the same call, of which this one is a consequence
 * (a variable that was closed has failed, too) and is told below it. The error of a cancelled
 * fiber is none. The traceback begins at `level`, 1 is the caller of the handler, if that is in
 * C. The handler returns the error as it is, since variables that are closed see it.
 */
void catch_raised(lua_State *L, int level);

/* protected_call(fn, ...) -> true, what fn returns, or false and such a table; the bare error
 * if the fiber was cancelled, or memory ran out. */
int protected_call(lua_State *L);

enum { RAISED_TRACE = 1, RAISED_VALUE = 2 }; /* places in the table, for lua_rawgeti() */
bool is_raised(lua_State *L, int index);

/* Pushes true, or nil and an error. */
int push_status(lua_State *L, int status, const char *detail);

#endif
