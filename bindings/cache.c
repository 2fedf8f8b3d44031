/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app.cache: values that are kept outside of Lua's memory, see host/cache/cache.h. A script has
 * one handle for each name, made by scripts/cache.lua.
 */
#include <math.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/put.h"
#include "host/cache/cache.h"

#define CACHE_TYPE "lunats.cache"

#define KEYS 1000       /* of cache:keys(), if not told otherwise */
#define KEYS_MOST 10000 /* they are copied in one go */
#define KEYS_OLD 10000  /* so many that are too old are passed over */

struct handle {
    const char *kind; /* `kind`, in no other userdata */
    struct cache_user user;
    uint64_t ttl_ms; /* of what this script puts in, unless told otherwise; 0: for ever */
};

/* What a method works with. */
struct call {
    struct handle *handle;
    struct cache *cache;
    struct cache_key key; /* stays on the stack, or is `digits` */
    uint64_t now;
    char digits[1 + NUMBER_SIZE];
};

static const struct option set_options[] = {{"ttl", "number"}, {NULL, NULL}};
static const struct option incr_options[] = {
    {"init", "number"}, {"ttl", "number"}, {NULL, NULL}};

/* ---- arguments ---- */

static const char kind[] = "a cache";

/* Finalizers see closed ones at the end of the script, and whoever has called __gc. */
static struct handle *check_not_closed(lua_State *L, struct handle *handle) {
    if (handle->user.cache == NULL)
        raise_error(L, "the cache is closed");
    return handle;
}

/* A look into a userdata of the same size is less than one at its metatable. */
static struct handle *check_handle(lua_State *L) {
    struct handle *handle = lua_touserdata(L, 1);
    if (handle == NULL || lua_rawlen(L, 1) != sizeof(*handle) || handle->kind != kind)
        handle = luaL_checkudata(L, 1, CACHE_TYPE); /* raises */
    return check_not_closed(L, handle);
}

/* An integer as its text. */
static void write_key(lua_State *L, struct call *call) {
    lua_Integer number = lua_tointeger(L, 2);
    char *at = call->digits;
    if (number < 0)
        *at++ = '-';
    at = put_number(at, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    call->key = (struct cache_key){call->digits, (size_t)(at - call->digits)};
}

static void check_key(lua_State *L, const char *what, struct call *call) {
    if (lua_isinteger(L, 2)) {
        write_key(L, call);
        return;
    }
    if (lua_type(L, 2) != LUA_TSTRING)
        raise_error(L, "%s: the key must be a string or an integer, not a %s", what,
                    lua_isnoneornil(L, 2) ? "nil" : luaL_typename(L, 2));
    call->key.bytes = lua_tolstring(L, 2, &call->key.len);
    if (call->key.len > CACHE_KEY_MAX)
        raise_error(L, "%s: a key has %d bytes at most, not %I", what, CACHE_KEY_MAX,
                    (lua_Integer)call->key.len);
}

static void check_call(lua_State *L, const char *what, struct call *call) {
    call->handle = check_handle(L);
    call->cache = call->handle->user.cache;
    call->now = clock_now(call->handle->user.clock);
    check_key(L, what, call);
}

static struct cache_value check_number(lua_State *L, int arg) {
    if (lua_isinteger(L, arg))
        return (struct cache_value){.type = CACHE_INTEGER, .integer = lua_tointeger(L, arg)};
    return (struct cache_value){.type = CACHE_NUMBER, .number = lua_tonumber(L, arg)};
}

static struct cache_value check_value(lua_State *L, int arg, const char *what) {
    struct cache_value value = {.type = CACHE_BYTES};
    int type = lua_type(L, arg);
    if (type == LUA_TSTRING) {
        value.bytes = lua_tolstring(L, arg, &value.len);
        return value;
    }
    switch (type) {
    case LUA_TNUMBER:
        return check_number(L, arg);
    case LUA_TBOOLEAN:
        value = (struct cache_value){.type = CACHE_BOOLEAN, .boolean = lua_toboolean(L, arg)};
        break;
    case LUA_TNIL:
    case LUA_TNONE:
        raise_error(L, "%s: no value; cache:delete(key) removes one", what);
        break;
    case LUA_TTABLE:
        raise_error(L,
                    "%s: a cache holds strings, numbers and booleans, not tables: keep "
                    "app.json.encode(value), and app.json.decode() what you get",
                    what);
        break;
    default:
        raise_error(L, "%s: a cache holds strings, numbers and booleans, not a %s", what,
                    luaL_typename(L, arg));
    }
    return value;
}

/* The age of options at `arg`, which are checked. */
static uint64_t check_ttl(lua_State *L, int arg, const char *what, uint64_t def) {
    if (lua_gettop(L) < arg) /* as in most calls */
        return def;
    uint64_t ttl_ms = option_ms(L, arg, "ttl", UINT64_MAX);
    if (ttl_ms == 0)
        raise_error(L,
                    "%s: ttl must be more than 0 seconds (math.huge: for ever; cache:delete() "
                    "removes)",
                    what);
    return ttl_ms == UINT64_MAX ? def : ttl_ms;
}

/* ---- results ---- */

static void push_value(lua_State *L, const struct cache_value *value) {
    switch (value->type) {
    case CACHE_BYTES:
        lua_pushlstring(L, value->bytes, value->len);
        break;
    case CACHE_INTEGER:
        lua_pushinteger(L, value->integer);
        break;
    case CACHE_NUMBER:
        lua_pushnumber(L, value->number);
        break;
    case CACHE_BOOLEAN:
        lua_pushboolean(L, value->boolean);
        break;
    }
}

static int push_refusal(lua_State *L, const struct call *call, int status,
                        const struct cache_value *value) {
    if (status != LN_ETOOLARGE)
        return push_failure(L, status, NULL);
    uint64_t cost = cache_entry_cost(call->key, value);
    uint64_t most = cache_stats(call->cache).max_bytes / CACHE_SHARE;
    lua_pushnil(L);
    lua_pushfstring(L,
                    "the entry has %I bytes with its key; in the cache '%s' it may have %I, an "
                    "eighth of its max_bytes",
                    (lua_Integer)cost, cache_name(call->cache), (lua_Integer)most);
    push_error(L, "too_large", lua_tostring(L, -1));
    lua_remove(L, -2);
    return 2;
}

/* ---- methods ---- */

/* cache:get(key) -> value | nil */
static int handle_get(lua_State *L) {
    struct call call;
    check_call(L, "cache:get", &call);
    struct cache_value value;
    if (!cache_get(call.cache, call.key, call.now, &value))
        return 0;
    push_value(L, &value); /* copies before anything can run */
    return 1;
}

/* cache:set(key, value, [{ ttl = }]) -> true | nil, err */
static int handle_set(lua_State *L) {
    struct call call;
    check_call(L, "cache:set", &call);
    if (lua_gettop(L) > 3)
        check_options(L, 4, "cache:set", set_options);
    uint64_t ttl_ms = check_ttl(L, 4, "cache:set", call.handle->ttl_ms);
    struct cache_value value = check_value(L, 3, "cache:set");
    int rc = cache_set(call.cache, call.key, call.now, ttl_ms, &value);
    if (rc < 0)
        return push_refusal(L, &call, rc, &value);
    lua_pushboolean(L, 1);
    return 1;
}

/* cache:add(key, value, [{ ttl = }]) -> true, false when there is one already | nil, err */
static int handle_add(lua_State *L) {
    struct call call;
    check_call(L, "cache:add", &call);
    if (lua_gettop(L) > 3)
        check_options(L, 4, "cache:add", set_options);
    uint64_t ttl_ms = check_ttl(L, 4, "cache:add", call.handle->ttl_ms);
    struct cache_value value = check_value(L, 3, "cache:add");
    bool added;
    int rc = cache_add(call.cache, call.key, call.now, ttl_ms, &value, &added);
    if (rc < 0)
        return push_refusal(L, &call, rc, &value);
    lua_pushboolean(L, added);
    return 1;
}

/* cache:incr(key, [n = 1,] [{ init = 0, ttl = }]) -> number | nil, err */
static int handle_incr(lua_State *L) {
    struct call call;
    check_call(L, "cache:incr", &call);
    struct cache_value init = {.type = CACHE_INTEGER},
                       value = {.type = CACHE_INTEGER, .integer = 1};
    if (lua_istable(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, 3);
    }
    if (!lua_isnoneornil(L, 3)) {
        if (lua_type(L, 3) != LUA_TNUMBER)
            raise_error(L, "cache:incr: a number expected, not a %s", luaL_typename(L, 3));
        value = check_number(L, 3);
    }
    if (check_options(L, 4, "cache:incr", incr_options)) {
        if (lua_getfield(L, 4, "init") == LUA_TNUMBER)
            init = check_number(L, -1);
        lua_pop(L, 1);
    }
    uint64_t ttl_ms = check_ttl(L, 4, "cache:incr", call.handle->ttl_ms);
    int rc = cache_incr(call.cache, call.key, call.now, ttl_ms, &init, &value);
    if (rc == LN_EINVAL)
        return raise_error(L, "cache:incr: what the cache '%s' has under this key is no number",
                           cache_name(call.cache));
    if (rc < 0)
        return push_refusal(L, &call, rc, &value);
    push_value(L, &value);
    return 1;
}

/* cache:delete(key) -> whether it was there */
static int handle_delete(lua_State *L) {
    struct call call;
    check_call(L, "cache:delete", &call);
    lua_pushboolean(L, cache_delete(call.cache, call.key, call.now));
    return 1;
}

/* handle, most -> list */
static int push_keys(lua_State *L) {
    struct handle *handle = check_handle(L);
    uint64_t now = clock_now(handle->user.clock);
    lua_Integer most = lua_tointeger(L, 2), count = 0, passed = 0;
    struct cache_entry *at = NULL;
    struct cache_key key;
    bool old;
    lua_newtable(L);
    while (count < most && passed < KEYS_OLD &&
           (at = cache_next(handle->user.cache, at, now, &key, &old)) != NULL) {
        if (old) {
            passed++;
            continue;
        }
        lua_pushlstring(L, key.bytes, key.len);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* cache:keys([most = 1000]) -> list of keys, the most recently used first */
static int handle_keys(lua_State *L) {
    check_handle(L);
    lua_Integer most = luaL_optinteger(L, 2, KEYS);
    if (most < 1 || most > KEYS_MOST)
        return raise_error(L, "cache:keys: from 1 to %d keys can be asked for", KEYS_MOST);
    lua_settop(L, 1);
    lua_pushinteger(L, most);
    return call_undisturbed(L, push_keys); /* what a finalizer deletes is not to be walked on */
}

/* cache:stats() -> { entries, bytes, max_bytes, hits, misses, evictions, expirations } */
static int handle_stats(lua_State *L) {
    struct cache_stats stats = cache_stats(check_handle(L)->user.cache);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {
        {"entries", stats.entries},         {"bytes", stats.bytes},
        {"max_bytes", stats.max_bytes},     {"hits", stats.hits},
        {"misses", stats.misses},           {"evictions", stats.evictions},
        {"expirations", stats.expirations},
    };
    lua_createtable(L, 0, 7);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        lua_pushinteger(L, (lua_Integer)all[i].value);
        lua_setfield(L, -2, all[i].name);
    }
    return 1;
}

/* ---- opening ---- */

/* nil: 0. */
static uint64_t check_max_bytes(lua_State *L, int arg) {
    if (lua_isnil(L, arg))
        return 0;
    lua_Number bytes = lua_tonumber(L, arg); /* a metatable may give anything */
    if (!(bytes >= CACHE_LEAST_BYTES) || bytes > 0x1p60 || floor(bytes) != bytes)
        raise_error(L, "app.cache: max_bytes must be a whole number of bytes, %d or more",
                    CACHE_LEAST_BYTES);
    return (uint64_t)bytes;
}

/*
 * core.cache(name, options, [handle]) -> handle
 * With the handle that this script has of it already, what the options say is changed.
 */
static int core_cache(lua_State *L) {
    static const struct option options[] = {
        {"max_bytes", "number"}, {"ttl", "number"}, {NULL, NULL}};
    struct script *script = script_of(L);
    struct service *service = script_service(script);
    struct caches *caches = service_options(service)->caches;
    check_open(L);
    lua_settop(L, 3);
    const char *name = luaL_checkstring(L, 1);
    check_options(L, 2, "app.cache", options);
    uint64_t ttl_ms = check_ttl(L, 2, "app.cache", 0);
    if (lua_istable(L, 2))
        lua_getfield(L, 2, "max_bytes");
    else
        lua_pushnil(L);
    uint64_t max_bytes = check_max_bytes(L, 4);
    if (!lua_isnil(L, 3)) {
        struct handle *handle = check_not_closed(L, luaL_checkudata(L, 3, CACHE_TYPE));
        if (max_bytes != 0)
            cache_wish(&handle->user, max_bytes);
        if (ttl_ms != 0)
            handle->ttl_ms = ttl_ms;
        lua_settop(L, 3);
        return 1;
    }
    struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
    *handle = (struct handle){
        .kind = kind,
        .user = {.clock = script_clock(script), .max_bytes = max_bytes},
        .ttl_ms = ttl_ms,
    };
    luaL_setmetatable(L, CACHE_TYPE);
    int rc = cache_open(caches, name, service, &handle->user);
    if (rc == LN_EFULL)
        return raise_error(L,
                           "app.cache: a process has %d caches at most; what differs may be a "
                           "part of the key",
                           CACHE_MOST);
    return rc < 0 ? luaL_error(L, "app.cache: %s", status_text(rc)) : 1;
}

static int handle_gc(lua_State *L) {
    struct handle *handle = luaL_checkudata(L, 1, CACHE_TYPE);
    cache_close(&handle->user);
    return 0;
}

static const luaL_Reg methods[] = {
    {"get", handle_get},       {"set", handle_set},   {"add", handle_add},
    {"incr", handle_incr},     {"keys", handle_keys}, {"stats", handle_stats},
    {"delete", handle_delete}, {"__gc", handle_gc},   {NULL, NULL},
};

void bindings_cache(lua_State *L) {
    add_class(L, CACHE_TYPE, methods);
    lua_pushcfunction(L, core_cache);
    lua_setfield(L, -2, "cache");
}
