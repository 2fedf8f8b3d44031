/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/hooks.h"

#include <lauxlib.h>

/*
 * A lua_State of Lua 5.4 begins like this (CommonHeader and the next two members of lstate.h).
 * No function of Lua sets `allowhook`, so hooks_prove() looks whether it is there and does what
 * it should; if not, hooks stay off where Lua has them off.
 */
struct head {
    void *next;
    unsigned char tt, marked, status;
    volatile unsigned char allowhook;
};

static bool proven;

static struct head *head_of(lua_State *L) {
    return (struct head *)(void *)L;
}

bool hooks_allowed(lua_State *L) {
    return !proven || head_of(L)->allowhook != 0;
}

void hooks_allow(lua_State *L) {
    if (proven)
        head_of(L)->allowhook = 1;
}

/* ---- the proof ---- */

struct proof {
    bool off_in_finalizer, called;
};

static struct proof *proof_of(lua_State *L) {
    return *(struct proof **)lua_getextraspace(L);
}

static void on_call(lua_State *L, lua_Debug *at) {
    (void)at;
    proof_of(L)->called = true;
}

static int do_nothing(lua_State *L) {
    (void)L;
    return 0;
}

static int finalize(lua_State *L) {
    struct proof *proof = proof_of(L);
    proof->off_in_finalizer = head_of(L)->allowhook == 0;
    if (!proof->off_in_finalizer)
        return 0;
    lua_sethook(L, on_call, LUA_MASKCALL, 0);
    head_of(L)->allowhook = 1;
    lua_pushcfunction(L, do_nothing);
    lua_call(L, 0, 0);
    lua_sethook(L, NULL, 0, 0);
    return 0;
}

static int collect_one(lua_State *L) {
    lua_newuserdatauv(L, 1, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, finalize);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

void hooks_prove(void) {
    struct proof proof = {0};
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return;
    *(struct proof **)lua_getextraspace(L) = &proof;
    bool on_before = head_of(L)->allowhook == 1;
    lua_pushcfunction(L, collect_one);
    bool ran = on_before && lua_pcall(L, 0, 0, 0) == LUA_OK;
    proven = ran && proof.off_in_finalizer && proof.called && head_of(L)->allowhook == 1;
    lua_close(L);
}
