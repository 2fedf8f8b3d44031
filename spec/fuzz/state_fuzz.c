/* SPDX-License-Identifier: Apache-2.0 */
/* What a version of a script leaves to the next one: ./state.lua. */
#include "spec/fuzz/lua.h"

static void open_state(lua_State *L) {
    fuzz_load(L, "state");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    lua_State *L = fuzz_state(open_state);
    fuzz_push(L, "run", bytes, size);
    fuzz_call(L, 1, 0);
    return 0;
}
