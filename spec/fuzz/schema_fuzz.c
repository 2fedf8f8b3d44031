/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas and values that they are asked about: ./schema.lua. */
#include "spec/fuzz/lua.h"

static void open_schema(lua_State *L) {
    fuzz_load(L, "schema");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    lua_State *L = fuzz_state(open_schema);
    fuzz_push(L, "run", bytes, size);
    fuzz_call(L, 1, 0);
    return 0;
}
