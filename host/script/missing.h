/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Misspelt names of our tables. A name that a table does not have is nil, as in all of Lua, and
 * Lua's error about it knows no better; the text of that error says what was meant.
 */
#ifndef LUNATS_SCRIPT_MISSING_H
#define LUNATS_SCRIPT_MISSING_H

#include <lua.h>

/*
 * Remembers the last name that was looked up in vain, from the arguments on the stack: the
 * name, the path of the table ("app"), and tables that have the names there are. May raise.
 */
void missing_remember(lua_State *L);

/*
 * Replaces the text on top of the stack when it is Lua's error about that name, or about a
 * global that is a function of `app` or of busted. May raise.
 */
void missing_explain(lua_State *L);

#endif
