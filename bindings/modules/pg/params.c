/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of Lua as parameters: text whose type the server finds out, unless scripts/pg.lua has
 * said one. A typed value is a table { text, oid, binary } of class TYPED_TYPE.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/modules/pg/internal.h"

#define MOST 65535 /* of the protocol */

void params_free(struct params *params) {
    free(params->values);
    free(params->lengths);
    free(params->formats);
    free(params->types);
    free(params->digits);
    memset(params, 0, sizeof(*params));
}

static bool grow(void *array, size_t count, size_t size) {
    void *grown = realloc(*(void **)array, count * size);
    if (grown != NULL)
        *(void **)array = grown;
    return grown != NULL;
}

static bool make_room(struct params *params, int count) {
    size_t room = (size_t)count + 8;
    if (count <= params->room && params->values != NULL)
        return true;
    params->room = 0;
    if (!grow(&params->values, room, sizeof(*params->values)) ||
        !grow(&params->lengths, room, sizeof(*params->lengths)) ||
        !grow(&params->formats, room, sizeof(*params->formats)) ||
        !grow(&params->types, room, sizeof(*params->types)) ||
        !grow(&params->digits, room, sizeof(*params->digits)))
        return false;
    params->room = (int)room;
    return true;
}

/* As few digits as read back as the same number, and neither point nor exponent where there is
 * no fraction: 3.0 and 1e15 fit an integer column. */
static void write_float(char out[32], double value) {
    if (isnan(value)) {
        strcpy(out, "NaN");
    } else if (isinf(value)) {
        strcpy(out, value > 0 ? "Infinity" : "-Infinity");
    } else if (fabs(value) < 0x1p63 && trunc(value) == value) {
        snprintf(out, 32, "%.0f", value);
    } else {
        snprintf(out, 32, "%.15g", value);
        if (strtod(out, NULL) != value)
            snprintf(out, 32, "%.17g", value);
    }
}

/* From its end, as it comes; returns where it begins. */
static const char *write_integer(char out[32], lua_Integer value) {
    char *at = out + 31;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    *at = '\0';
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--at = '-';
    return at;
}

static void take_number(lua_State *L, int arg, struct params *params, int i) {
    params->values[i] = params->digits[i];
    if (lua_isinteger(L, arg))
        params->values[i] = write_integer(params->digits[i], lua_tointeger(L, arg));
    else
        write_float(params->digits[i], lua_tonumber(L, arg));
}

static bool is_typed(lua_State *L, int arg) {
    if (!lua_getmetatable(L, arg))
        return false;
    luaL_getmetatable(L, TYPED_TYPE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* The text takes the place of the table, which is the script's and may change. */
static void take_typed(lua_State *L, int arg, struct params *params, int i) {
    size_t len;
    lua_rawgeti(L, arg, 2);
    lua_rawgeti(L, arg, 3);
    params->types[i] = (Oid)lua_tointeger(L, -2);
    params->formats[i] = lua_toboolean(L, -1);
    lua_pop(L, 2);
    lua_rawgeti(L, arg, 1);
    lua_replace(L, arg);
    params->values[i] = lua_tolstring(L, arg, &len);
    params->bytes += len;
    params->lengths[i] = (int)len;
}

/* False: a text with a zero byte. */
static bool check_param(lua_State *L, int arg, struct params *params, int i) {
    size_t len;
    params->values[i] = NULL;
    params->lengths[i] = params->formats[i] = 0;
    params->types[i] = 0;
    switch (lua_type(L, arg)) {
    case LUA_TNIL:
        return true;
    case LUA_TSTRING:
        params->values[i] = lua_tolstring(L, arg, &len);
        params->bytes += len;
        return strlen(params->values[i]) == len;
    case LUA_TNUMBER:
        take_number(L, arg, params, i);
        return true;
    case LUA_TBOOLEAN:
        params->values[i] = lua_toboolean(L, arg) ? "true" : "false";
        return true;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, arg) == NULL) /* app.json.null */
            return true;
        break;
    case LUA_TTABLE:
        if (is_typed(L, arg)) {
            take_typed(L, arg, params, i);
            return true;
        }
        return raise_error(L, "parameter $%d is a table: write pg.json(t) or pg.array(t)",
                           i + 1);
    default:
        break;
    }
    return raise_error(L, "parameter $%d is a %s, which no column can hold", i + 1,
                       luaL_typename(L, arg));
}

bool check_params(lua_State *L, struct conn *conn, int first) {
    struct params *params = &conn->params;
    int count = lua_gettop(L) - first + 1;
    if (count > MOST)
        raise_error(L, "%d parameters; %d is the most", count, MOST);
    if (!make_room(params, count))
        return luaL_error(L, "not enough memory");
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    params->count = count;
    params->bytes = 0;
    for (int i = 0; i < count; i++)
        if (!check_param(L, first + i, params, i))
            return false;
    if (params->bytes > BULKY)
        conn->bulky = true;
    return true;
}
