/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error values of Lua as text. For message handlers and other protected bodies: it may raise
 * when memory runs out.
 */
#ifndef LUNATS_SCRIPT_TRACE_H
#define LUNATS_SCRIPT_TRACE_H

#include <lua.h>

/*
 * Makes of the string (or number) at `index` one that C takes for the same text: zero bytes in
 * it become `\x00`, as the log shows bytes that are no characters. Borrowed from the stack.
 */
const char *show_zeros(lua_State *L, int index);

/*
 * Pushes the text of the error value at `index`: the `message` of a table, else what tostring
 * says, or which fields a table has for which that is its address; a __tostring that fails is
 * said in words. Borrowed from the stack.
 */
const char *error_text(lua_State *L, int index);

/* The same for an error that no message handler has seen: of one for want of memory, for which
 * Lua calls none, the traceback is below the text. */
const char *error_alone(lua_State *L, int index);

/* luaL_traceback() of the thread `of`, from that level on, without what of us called the
 * script; of an error that blames the script without what we did between its call and the
 * error. */
void push_traceback(lua_State *L, lua_State *of, const char *text, int level);

/* Message handler: the text of the error with the traceback below it. */
int error_traceback(lua_State *L);

#endif
