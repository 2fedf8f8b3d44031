/* SPDX-License-Identifier: Apache-2.0 */
/* A consumer as the health of the service sees it: there, missing or silent. */
#include "bindings/js/js.h"
#include "bindings/lib/lib.h"
#include "host/service/vitals.h"

#define READER_TYPE "lunats.reader"

/* core.js_reader(stream, consumer, named, api_prefix | nil) -> reader. With the prefix the
 * server can be asked how far behind the consumer is. */
static int js_reader(lua_State *L) {
    const char *stream = luaL_checkstring(L, 1), *consumer = luaL_checkstring(L, 2);
    const char *prefix = luaL_optstring(L, 4, NULL);
    struct vitals *vitals = service_vitals(script_service(script_of(L)));
    if (check_who(L).id != 0) /* another server, which nobody asks */
        prefix = NULL;
    check_open(L);
    struct reader_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    box->reader = NULL;
    luaL_setmetatable(L, READER_TYPE);
    box->reader = reader_open(vitals, stream, consumer, lua_toboolean(L, 3), prefix);
    return box->reader != NULL ? 1 : luaL_error(L, "out of memory");
}

struct reader_box *check_reader(lua_State *L, int arg) {
    return luaL_checkudata(L, arg, READER_TYPE);
}

/* reader:set("ok" | "missing" | "silent", why | nil) */
static int box_set(lua_State *L) {
    static const char *const states[] = {"ok", "missing", "silent", NULL};
    struct reader *reader = check_reader(L, 1)->reader;
    enum reader_state state = (enum reader_state)luaL_checkoption(L, 2, NULL, states);
    const char *why = luaL_optstring(L, 3, "");
    if (reader != NULL)
        reader_set(reader, state, why);
    return 0;
}

/* reader:heard(): a message has come */
static int box_heard(lua_State *L) {
    struct reader *reader = check_reader(L, 1)->reader;
    if (reader != NULL)
        reader->last_ms = clock_now(service_clock(script_service(script_of(L))));
    return 0;
}

/* reader:close(): nothing is read any more */
static int box_close(lua_State *L) {
    struct reader_box *box = luaL_checkudata(L, 1, READER_TYPE);
    if (box->reader != NULL)
        reader_close(box->reader);
    box->reader = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"set", box_set},    {"heard", box_heard}, {"close", box_close},
    {"__gc", box_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"js_reader", js_reader},
    {NULL, NULL},
};

void bindings_js_reader(lua_State *L) {
    add_class(L, READER_TYPE, methods);
    luaL_setfuncs(L, functions, 0);
}
