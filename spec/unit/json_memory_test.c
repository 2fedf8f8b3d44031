/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON codec and the collector: lack of memory, finalizers, large texts. */
#include "bindings/json/internal.h"
#include "spec/unit/budget.h"
#include "spec/unit/json.h"

static int decode_and_encode(lua_State *L) {
    static const char text[] =
        "{\"list\":[1,[2,[3,[4,[]]]],{\"x\":{},\"y\":\"\\u20ac with an escape\"}],"
        "\"key\":\"a string that is longer than the forty bytes of short strings\",\"f\":0.1}";
    size_t len;
    if (!json_decode(L, text, sizeof(text) - 1))
        return lua_error(L);
    lua_createtable(L, 60, 0);
    for (int i = 1; i <= 60; i++) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, i);
    }
    const char *bytes = json_encode(L, -1, &len);
    lua_pushlstring(L, bytes, len);
    bytes = lua_tolstring(L, -1, &len);
    if (!json_decode(L, bytes, len))
        return lua_error(L);
    if (json_decode(L, "[1,{\"a\":\"\\u00e9\",", 18)) /* a failure half-way */
        return luaL_error(L, "accepted");
    lua_pop(L, 1);
    return 0;
}

static void survives_lack_of_memory(void) {
    bool done = false;
    for (long allowed = 0; !done && allowed < 5000; allowed += 1 + allowed / 100) {
        struct budget budget = {.allocations_left = 1000000};
        lua_State *L = lua_newstate(budget_alloc, &budget);
        CHECK(L != NULL);
        budget.allocations_left = allowed;
        lua_pushcfunction(L, decode_and_encode);
        int rc = lua_pcall(L, 0, 0, 0);
        CHECK(rc == LUA_OK || rc == LUA_ERRMEM);
        done = rc == LUA_OK;
        /* The state still works. */
        budget.allocations_left = 1000000;
        lua_pushcfunction(L, decode_and_encode);
        if (lua_pcall(L, 0, 0, 0) != LUA_OK)
            test_fail(__FILE__, __LINE__, "%ld: %s", allowed, lua_tostring(L, -1));
        lua_close(L);
        CHECK_INT(budget.in_use, 0);
    }
    CHECK(done);
}

static void lives_with_finalizers(void) {
    CHECK_LUA(
        "collectgarbage('generational') collectgarbage('incremental', 1, 1000, 1)\n"
        "local runs = 0\n"
        "local function trap()\n"
        "  setmetatable({}, { __gc = function()\n"
        "    runs = runs + 1\n"
        "    assert(json.encode { a = { 1, 2, ('z'):rep(5000) } })\n"
        "    assert(json.decode('{\"k1\":[1,\"\\\\u00e9\"],\"other\":{}}').k1[1] == 1)\n"
        "    trap()\n"
        "  end })\n"
        "end\n"
        "for _ = 1, 10 do trap() end\n"
        "local list = {}\n"
        "for i = 1, 60 do list[i] = { ['k' .. i] = ('v'):rep(i), n = i } end\n"
        "local text = json.encode(list)\n"
        "for _ = 1, 3 do\n"
        "  local back = assert(json.decode(text))\n"
        "  for i = 1, 60 do assert(back[i]['k' .. i] == ('v'):rep(i) and back[i].n == i) end\n"
        "  assert(#json.encode(back) == #text)\n"
        "end\n"
        "assert(runs > 0)\n");
}

static int decode_argument(lua_State *L) {
    size_t len;
    const char *bytes = lua_tolstring(L, 1, &len);
    return json_decode(L, bytes, len) ? 0 : lua_error(L);
}

static bool collects(lua_State *L) {
    return lua_gc(L, LUA_GCISRUNNING) != 0;
}

/* A large text is decoded while the collector waits: it goes on however that ends. */
static void collector_goes_on_after_a_large_text(void) {
    struct budget budget = {.allocations_left = 1000000};
    lua_State *L = lua_newstate(budget_alloc, &budget);
    luaL_openlibs(L);
    CHECK_INT(luaL_dostring(L, "return '[' .. ('[1,{}],'):rep(20000) .. '1]', "
                               "'[' .. ('[1,{}],'):rep(20000) .. '}'"),
              LUA_OK);
    size_t good_len, bad_len, offset;
    const char *good = lua_tolstring(L, 1, &good_len), *bad = lua_tolstring(L, 2, &bad_len);
    const struct json_options options = {.big_as_string = false};
    CHECK(json_decode_with(L, good, good_len, &options, &offset));
    CHECK_INT(lua_rawlen(L, -1), 20001);
    CHECK(collects(L));
    CHECK(!json_decode_with(L, bad, bad_len, &options, &offset));
    CHECK_INT(offset, bad_len);
    CHECK(collects(L));
    CHECK_INT(lua_gettop(L), 4);
    budget.allocations_left = 1000;
    lua_pushcfunction(L, decode_argument);
    lua_pushvalue(L, 1);
    CHECK_INT(lua_pcall(L, 1, 0, 0), LUA_ERRMEM);
    budget.allocations_left = 1000000;
    CHECK(collects(L));
    lua_gc(L, LUA_GCSTOP);
    CHECK(json_decode_with(L, good, good_len, &options, &offset));
    CHECK(!collects(L)); /* it was the script that stopped it */
    lua_close(L);
}

static size_t bytes_in_use(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    return (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
}

static void gives_back_a_large_scratch_buffer(void) {
    lua_State *L = open_state();
    size_t len;
    CHECK_INT(luaL_dostring(L, "return ('x'):rep(3000000)"), LUA_OK);
    json_encode(L, -1, &len);
    CHECK_INT(len, 3000002);
    lua_settop(L, 0);
    CHECK(bytes_in_use(L) > 3000000);
    lua_pushinteger(L, 1);
    json_encode(L, -1, &len); /* may still use it */
    const char *bytes = json_encode(L, -1, &len);
    CHECK_MEM(bytes, len, "1", 1);
    CHECK_INT(lua_gettop(L), 1);
    CHECK(bytes_in_use(L) < 200000);
    lua_close(L);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(survives_lack_of_memory);
    RUN(lives_with_finalizers);
    RUN(collector_goes_on_after_a_large_text);
    RUN(gives_back_a_large_scratch_buffer);
    return test_end();
}
