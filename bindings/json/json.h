/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON codec, straight between bytes and the Lua stack. Used for `msg.data`, for messages
 * that are tables, and as `app.json`. All functions may raise (they are bindings).
 */
#ifndef LUNATS_JSON_H
#define LUNATS_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

/*
 * Encodes the value at `idx`. Returns the bytes, which live in a scratch buffer of this Lua
 * state: borrowed until the next json_encode() on it, which may come with any call that may
 * take memory of Lua, as a finalizer may encode. Leaves the stack as it was. Raises an error
 * that names the path ("values[3].f: cannot encode a function").
 */
const char *json_encode(lua_State *L, int idx, size_t *len);

/* The same with the fields of each object in the order of their names: for people, and for
 * programs that compare. It costs more. */
const char *json_encode_sorted(lua_State *L, int idx, size_t *len);

/*
 * The bytes of a message: a string as it is, nil as empty, anything else as JSON. Borrowed as
 * above, or until the value leaves the stack: the last of all checks.
 */
const char *check_message(lua_State *L, int arg, size_t *len);

/*
 * Decodes one JSON text. Pushes the value and returns true, or pushes an error message with the
 * byte offset and returns false. Raises only when memory runs out.
 */
bool json_decode(lua_State *L, const char *bytes, size_t len);

/* What json.array() and json.object() do to a table: a metatable of the codec. */
enum json_mark { JSON_MARK_NONE, JSON_MARK_ARRAY, JSON_MARK_OBJECT, JSON_MARK_OTHER };

/* That of the table at `idx`; OTHER: it has another metatable. */
enum json_mark json_get_mark(lua_State *L, int idx);

/* Marks the table on top of the stack. */
void json_set_mark(lua_State *L, enum json_mark mark);

/* The module table: encode, decode, null, array, object, is_array. */
int luaopen_lunats_json(lua_State *L);

#endif
