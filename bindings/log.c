/* SPDX-License-Identifier: Apache-2.0 */
/* app.log: one function per level, with fields. */
#include "host/base/log.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"

#define FIELDS_MAX 32

static bool plain_table(lua_State *L, int index) {
    if (!lua_istable(L, index))
        return false;
    if (luaL_getmetafield(L, index, "__tostring") == LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

/* Protected body: a plain table as JSON, anything else by tostring. */
static int to_text(lua_State *L) {
    if (!plain_table(L, 1)) {
        luaL_tolstring(L, 1, NULL);
        return 1;
    }
    size_t len;
    const char *json = json_encode(L, 1, &len);
    lua_pushlstring(L, json, len);
    return 1;
}

/*
 * Pushes a value as text. Logging must not fail: a value without text is shown as the error
 * that says so. Returns whether it is fine.
 */
static bool push_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    lua_pushcfunction(L, to_text);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        return true;
    const char *error = lua_tostring(L, -1);
    lua_pushfstring(L, "(%s)", error ? error : luaL_typename(L, index));
    lua_remove(L, -2);
    return false;
}

/*
 * Fills in the field for the key and value on top of the stack. Tables are shown as JSON, other
 * things by tostring; their text is kept alive in the table at `keep`.
 */
static void take_field(lua_State *L, int keep, struct log_field *field) {
    field->key = lua_tostring(L, -2);
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        field->type = LOG_TYPE_BOOL;
        field->value.boolean = lua_toboolean(L, -1);
        return;
    case LUA_TNUMBER:
        field->type = lua_isinteger(L, -1) ? LOG_TYPE_INT : LOG_TYPE_FLOAT;
        if (lua_isinteger(L, -1))
            field->value.integer = lua_tointeger(L, -1);
        else
            field->value.number = lua_tonumber(L, -1);
        return;
    default:
        break;
    }
    bool table = plain_table(L, -1);
    field->type = push_text(L, -1) && table ? LOG_TYPE_JSON : LOG_TYPE_STRING;
    field->value.string.data = lua_tolstring(L, -1, &field->value.string.len);
    lua_rawseti(L, keep, (lua_Integer)lua_rawlen(L, keep) + 1);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct log_field *)a)->key, ((const struct log_field *)b)->key);
}

/* core.log(level, message [, fields]): the level is a number, 0 = debug .. 3 = error */
static int core_log(lua_State *L) {
    enum log_level level = (enum log_level)luaL_checkinteger(L, 1);
    lua_settop(L, 3);
    if (!lua_isnil(L, 3) && !lua_istable(L, 3))
        return raise_error(L, "app.log: the fields must be a table, not a %s",
                           luaL_typename(L, 3));
    if (!log_enabled(level))
        return 0;
    struct log_field fields[FIELDS_MAX];
    size_t count = 0;
    if (!lua_isnil(L, 3)) {
        lua_newtable(L); /* 4: keep */
        for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1))
            if (lua_type(L, -2) == LUA_TSTRING && count < FIELDS_MAX)
                take_field(L, 4, &fields[count++]);
        qsort(fields, count, sizeof(fields[0]), by_key); /* the same order in every line */
    }
    push_text(L, 2);
    log_write(level, service_name(script_service(script_of(L))), lua_tostring(L, -1), fields,
              count);
    return 0;
}

void bindings_log(lua_State *L) {
    lua_pushcfunction(L, core_log);
    lua_setfield(L, -2, "log");
}
