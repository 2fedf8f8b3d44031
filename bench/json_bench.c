/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares our JSON codec with lua-cjson (Debian: lua-cjson) inside one Lua state:
 *
 *     gcc -O2 -flto -DNDEBUG -D_GNU_SOURCE -I. $(pkg-config --cflags lua5.4) bench/json_bench.c
 * \ bindings/json*.c -o /tmp/json_bench $(pkg-config --libs lua5.4) -lm && /tmp/json_bench
 *
 * Prints nanoseconds per document, the best of several rounds, and how many times faster ours
 * is. lua-cjson gets documents it handles exactly, but turns integers into floats all the same.
 */
#include "bindings/json.h"

#include <stdio.h>
#include <time.h>

#include <lauxlib.h>
#include <lualib.h>

static int now_ns(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    lua_pushinteger(L, (lua_Integer)t.tv_sec * 1000000000 + t.tv_nsec);
    return 1;
}

static const char script[] =
    "local ours, now = ...\n"
    "local ok, cjson = pcall(require, 'cjson')\n"
    "if not ok then print('lua-cjson is missing') return end\n"
    "local function order(i)\n"
    "  return { id = 1700000000123 + i, customer = 'C-' .. i, paid = i % 2 == 0,\n"
    "    total = i * 1.25 + 0.1, note = 'leave at the \"back\" door',\n"
    "    items = { { sku = 'A-' .. i, count = 2, price = 9.99 },\n"
    "              { sku = 'B-' .. i, count = 1, price = 19.95 } },\n"
    "    tags = { 'new', 'gr\\u{fc}n', 'express' } }\n"
    "end\n"
    "local function orders(n)\n"
    "  local list = {}\n"
    "  for i = 1, n do list[i] = order(i) end\n"
    "  return { orders = list }\n"
    "end\n"
    "local function many(n, make)\n"
    "  local list = {}\n"
    "  for i = 1, n do list[i] = make(i) end\n"
    "  return list\n"
    "end\n"
    "math.randomseed(42)\n"
    "local documents = {\n"
    "  { '100 B', { id = 1700000000123, type = 'order.created', customer = 'C-1042',\n"
    "      total = 99.95, paid = true, count = 3 } },\n"
    "  { '4 KiB', orders(20) }, { '1 MiB', orders(5100) },\n"
    "  { '64 KiB of integers', many(6000, function(i) return i * 123456789 end) },\n"
    "  { '64 KiB of floats', many(4000, function() return math.random() end) },\n"
    "  { '64 KiB of prices', many(9000, function() return math.random(1, 99999) / 100 end) },\n"
    "  { '64 KiB of text', many(64, function() return ('lorem ipsum '):rep(85) end) },\n"
    "}\n"
    "-- Nanoseconds per call of f and g, in turns: the machine may be busy for a while.\n"
    "local function measure(f, g, arg, len)\n"
    "  local count, best = 1 + 2000000 // (len + 100), { [f] = math.huge, [g] = math.huge }\n"
    "  for _ = 1, 15 do\n"
    "    for run in pairs(best) do\n"
    "      collectgarbage()\n"
    "      local start = now()\n"
    "      for _ = 1, count do run(arg) end\n"
    "      best[run] = math.min(best[run], (now() - start) / count)\n"
    "    end\n"
    "  end\n"
    "  return best[f], best[g]\n"
    "end\n"
    "print(('%-20s %-7s %12s %12s %7s'):format('', '', 'ours ns', 'cjson ns', 'ratio'))\n"
    "for _, document in ipairs(documents) do\n"
    "  local name, value = document[1], document[2]\n"
    "  local text = ours.encode(value)\n"
    "  for _, run in ipairs { { 'decode', text }, { 'encode', value } } do\n"
    "    local a, b = measure(ours[run[1]], cjson[run[1]], run[2], #text)\n"
    "    print(('%-20s %-7s %12.0f %12.0f %7.2f   %d bytes'):format(name, run[1], a, b, b / "
    "a,\n"
    "      #text))\n"
    "  end\n"
    "end\n";

int main(void) {
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return 1;
    luaL_openlibs(L);
    if (luaL_loadbuffer(L, script, sizeof(script) - 1, "=json_bench") != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        return 1;
    }
    luaL_requiref(L, "lunats.json", luaopen_lunats_json, 0);
    lua_pushcfunction(L, now_ns);
    int rc = lua_pcall(L, 2, 0, 0);
    if (rc != LUA_OK)
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_close(L);
    return rc == LUA_OK ? 0 : 1;
}
