/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON texts: what is read, written and read again is the same, and what reads only parts of
 * one reads the same.
 */
#include "bindings/json/internal.h"

#include "host/base/json_scan.h"
#include "host/base/utf8.h"
#include "host/jetstream/status.h"
#include "spec/fuzz/lua.h"

/* text, big_as_string -> value, true | message, false */
static int decode(lua_State *L) {
    size_t len, offset = 0;
    const char *text = lua_tolstring(L, 1, &len);
    struct json_options options = {.big_as_string = lua_toboolean(L, 2)};
    char *copy = fuzz_copy(text, len);
    bool ok = json_decode_with(L, copy, len, &options, &offset);
    free(copy);
    HOLDS(lua_gettop(L) == 3);
    HOLDS(ok || (offset >= 1 && offset <= len + 1 && lua_type(L, -1) == LUA_TSTRING));
    lua_pushboolean(L, ok);
    return 2;
}

/* value -> text */
static int encode(lua_State *L) {
    size_t len;
    const char *text = json_encode_sorted(L, 1, &len);
    lua_pushlstring(L, text, len);
    size_t plain;
    json_encode(L, 1, &plain);
    HOLDS(plain == len);
    return 1;
}

/* Pushes the value of a text; false: a message. */
static bool push_decoded(lua_State *L, const char *text, size_t len, bool big_as_string) {
    lua_pushcfunction(L, decode);
    lua_pushlstring(L, text, len);
    lua_pushboolean(L, big_as_string);
    fuzz_call(L, 2, 2);
    bool ok = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return ok;
}

/* Pushes the text of the value on top. */
static const char *push_encoded(lua_State *L, size_t *len) {
    lua_pushcfunction(L, encode);
    lua_pushvalue(L, -2);
    fuzz_call(L, 1, 1);
    return lua_tolstring(L, -1, len);
}

/* Pushes the canonical text of a text that can be read. */
static const char *push_canonical(lua_State *L, const char *text, size_t len, bool big,
                                  size_t *out_len) {
    HOLDS(push_decoded(L, text, len, big));
    return push_encoded(L, out_len);
}

/* The acknowledgement of a published message, as JSON and as the scanner of status.c reads it.
 */
static void check_pub_ack(lua_State *L, const char *text, size_t len, bool valid) {
    struct js_pub_ack ack;
    if (!js_scan_pub_ack(text, len, &ack))
        return;
    HOLDS(valid && lua_istable(L, 1));
    HOLDS(fuzz_inside(ack.stream, ack.stream_len, text, len));
    lua_getfield(L, 1, "stream");
    lua_pushlstring(L, ack.stream, ack.stream_len);
    HOLDS(lua_rawequal(L, -1, -2));
    lua_getfield(L, 1, "seq");
    HOLDS(lua_isinteger(L, -1) && lua_tointeger(L, -1) == ack.seq);
    lua_getfield(L, 1, "duplicate");
    HOLDS(lua_toboolean(L, -1) == ack.duplicate);
    lua_getfield(L, 1, "domain");
    HOLDS((ack.domain != NULL) == !lua_isnil(L, -1));
    HOLDS(ack.domain == NULL || (size_t)lua_rawlen(L, -1) == ack.domain_len);
    lua_settop(L, 1);
}

/* The members as the scanner of host/base finds them, put together again, are the object. */
static void check_members(lua_State *L, const char *text, size_t len, bool big) {
    struct json_member member;
    const char *at = text, *end = text + len;
    int rc = json_first_member(&at, end, &member);
    lua_newtable(L);
    bool whole = memmem(text, len, "\\u0000", 6) == NULL; /* no name is cut */
    for (; rc == 1; rc = json_next_member(&at, end, &member)) {
        HOLDS(fuzz_inside(member.value, (size_t)(member.end - member.value), text, len));
        whole =
            whole && strlen(member.name) < sizeof(member.name) - 4; /* bytes of a character */
        HOLDS(push_decoded(L, member.value, (size_t)(member.end - member.value), big));
        lua_setfield(L, -2, member.name);
    }
    if (rc == 0 && whole) {
        size_t got_len, want_len;
        lua_getglobal(L, "object");
        lua_insert(L, -2);
        fuzz_call(L, 1, 1);
        const char *got = push_encoded(L, &got_len);
        const char *want = push_canonical(L, text, len, big, &want_len);
        HOLDS(got_len == want_len && memcmp(got, want, got_len) == 0);
    }
    lua_settop(L, 1);
}

static void open_names(lua_State *L) {
    lua_getfield(L, -1, "object");
    lua_setglobal(L, "object");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    lua_State *L = fuzz_state(open_names);
    const char *text = (const char *)bytes;
    bool big = size % 2 == 1;
    bool valid = push_decoded(L, text, size, big);
    char *copy = fuzz_copy(text, size);
    check_pub_ack(L, copy, size, valid);
    if (!valid) {
        struct json_member member;
        const char *at = copy;
        for (int rc = json_first_member(&at, copy + size, &member); rc == 1;
             rc = json_next_member(&at, copy + size, &member))
            HOLDS(at > copy && at <= copy + size);
        free(copy);
        return 0;
    }
    size_t once_len, twice_len;
    const char *once = push_encoded(L, &once_len);
    HOLDS(utf8_find_invalid(once, once + once_len) == NULL);
    const char *twice = push_canonical(L, once, once_len, big, &twice_len);
    HOLDS(once_len == twice_len && memcmp(once, twice, once_len) == 0);
    lua_settop(L, 1);
    if (lua_istable(L, 1) && memchr(copy, '{', size) != NULL)
        check_members(L, copy, size, big);
    free(copy);
    return 0;
}
