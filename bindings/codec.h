/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option `data_type`. What it says but "json" and "string" is a codec, a table with
 * functions of Lua; all that is done with one is in scripts/codec.lua. It runs code of the
 * script, so it is done before anything is checked or borrowed.
 */
#ifndef LUNATS_CODEC_H
#define LUNATS_CODEC_H

#include <lua.h>

/* How msg.data is made from the payload. */
enum msg_data { MSG_JSON, MSG_STRING, MSG_CODEC };

/* The data_type at `index`, where none is JSON; in the place of MSG_CODEC comes the codec. */
enum msg_data check_data_type(lua_State *L, int index);

/* The same of the options table at `arg`. Pushes the codec, or nil. */
enum msg_data option_data_type(lua_State *L, int arg);

/* Replaces the value at `value` by its bytes. */
void codec_encode(lua_State *L, int codec, int value);

/*
 * Replaces the codec on top by three values: that of the bytes, nil and nil; or nil, the code
 * of an error, and what is wrong ("cannot be decoded: ...").
 */
void codec_decode(lua_State *L, const char *bytes, size_t len);

#endif
