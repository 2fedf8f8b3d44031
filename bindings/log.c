/* SPDX-License-Identifier: Apache-2.0 */
/* app.log: one function per level, with fields. */
#include "host/base/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/bindings.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "host/base/output.h"
#include "host/script/trace.h"

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
    const char *json = json_encode_sorted(L, 1, &len);
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
 * Fills in the field for the key at `index` and the value behind it. Tables are shown as JSON,
 * other things by tostring; their text takes the place of the value.
 */
static void take_field(lua_State *L, int index, struct log_field *field) {
    field->key = show_zeros(L, index);
    index++;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        field->type = LOG_TYPE_BOOL;
        field->value.boolean = lua_toboolean(L, index);
        return;
    case LUA_TNUMBER:
        field->type = lua_isinteger(L, index) ? LOG_TYPE_INT : LOG_TYPE_FLOAT;
        if (lua_isinteger(L, index))
            field->value.integer = lua_tointeger(L, index);
        else
            field->value.number = lua_tonumber(L, index);
        return;
    default:
        break;
    }
    bool table = plain_table(L, index);
    field->type = push_text(L, index) && table ? LOG_TYPE_JSON : LOG_TYPE_STRING;
    lua_replace(L, index);
    field->value.string.data = lua_tolstring(L, index, &field->value.string.len);
}

/* Pushes key, value, key, value, ... of the table at `index`; returns how many pairs. Runs no
 * Lua, so what __tostring or a finalizer does to the table later comes too late. */
static size_t push_fields(lua_State *L, int index) {
    size_t count = 0;
    luaL_checkstack(L, 2 * FIELDS_MAX + LUA_MINSTACK, NULL);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
        } else if (++count == FIELDS_MAX) {
            break;
        } else {
            lua_pushvalue(L, -2);
        }
    }
    return count;
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
        count = push_fields(L, 3);
        for (size_t i = 0; i < count; i++)
            take_field(L, 4 + 2 * (int)i, &fields[i]);
        qsort(fields, count, sizeof(fields[0]), by_key); /* the same order in every line */
    }
    push_text(L, 2);
    log_write(level, service_name(script_service(script_of(L))), show_zeros(L, -1), fields,
              count);
    return 0;
}

/* core.sorted_json(value) -> JSON whose fields are in order: for what commands print */
static int core_sorted_json(lua_State *L) {
    size_t len;
    luaL_checkany(L, 1);
    const char *json = json_encode_sorted(L, 1, &len);
    lua_pushlstring(L, json, len);
    return 1;
}

/*
 * print() of services: the line goes out at once, and a reader that stops does not stop them.
 * What io.write has left in its buffer goes first, unless that would wait.
 */
static int print(lua_State *L) {
    int count = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&line);
    }
    luaL_addchar(&line, '\n');
    luaL_pushresult(&line);
    struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (__fpending(stdout) > 0 && poll(&ready, 1, 0) > 0)
        fflush(stdout);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    output_write(OUTPUT_STDOUT, text, len);
    return 0;
}

void bindings_log(lua_State *L) {
    if (!output_waits()) {
        lua_pushcfunction(L, print);
        lua_setglobal(L, "print");
    }
    lua_pushcfunction(L, core_log);
    lua_setfield(L, -2, "log");
    lua_pushcfunction(L, core_sorted_json);
    lua_setfield(L, -2, "sorted_json");
}
