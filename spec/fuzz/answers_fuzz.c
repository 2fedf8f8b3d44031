/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the JetStream API, of whatever shape: ./answers.lua asks for them. */
#include "bindings/bindings.h"
#include "host/jetstream/status.h"
#include "spec/fuzz/lua.h"

/* core.js_name_ok(name) -> boolean, as bindings/js/pull.c has it */
static int js_name_is_ok(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    lua_pushboolean(L, js_name_ok(name, len));
    return 1;
}

/* What needs no script below it; ./answers.lua has the rest. */
static int open_core(lua_State *L) {
    lua_newtable(L);
    bindings_app(L);
    bindings_listen(L);
    bindings_nearest(L);
    bindings_digest(L);
    lua_pushcfunction(L, js_name_is_ok);
    lua_setfield(L, -2, "js_name_ok");
    return 1;
}

static void open_answers(lua_State *L) {
    luaL_requiref(L, "lunats.core", open_core, 0);
    fuzz_load(L, "answers");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    lua_State *L = fuzz_state(open_answers);
    fuzz_push(L, "run", bytes, size);
    fuzz_call(L, 1, 0);
    return 0;
}

/* Called by libFuzzer for the next input; it takes the place of the one before, and has at most
 * `max_size` bytes. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max_size, unsigned seed) {
    lua_State *L = fuzz_state(open_answers);
    fuzz_push(L, "mutate", bytes, size);
    lua_pushinteger(L, seed);
    fuzz_call(L, 2, 1);
    size_t len;
    const char *changed = lua_tolstring(L, -1, &len);
    len = len < max_size ? len : max_size;
    memcpy(bytes, changed, len);
    return len;
}
