/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of messages that are handled in their order, where a function of the script finds
 * them. */
#include "bindings/js/consume.h"
#include "bindings/lib/lib.h"
#include "host/service/vitals.h"

/* In one go, which must not take long. */
#define KEYS_AT_ONCE 64

/* The function gets a message of its own, which it cannot settle, and must not wait: keys are
 * found in the order of the messages. It may end the consume. */
static void find_key(lua_State *L, struct consume_box *box, struct consume_msg *record) {
    size_t len = 0;
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, box->key);
    consume_push_msg(L, box, record->msg);
    bool found = lua_pcall(L, 1, 1, 0) == LUA_OK;
    const char *key = found && !lua_isnil(L, -1) ? lua_tolstring(L, -1, &len) : NULL;
    if (box->consume != NULL && consume_unkeyed(box->consume) == record)
        consume_set_key(record, key, len, !found);
}

static int find_keys(lua_State *L) {
    struct consume_box *box = lua_touserdata(L, 1);
    struct consume_msg *record;
    for (int i = 0; i < KEYS_AT_ONCE && box->consume != NULL &&
                    (record = consume_unkeyed(box->consume)) != NULL;
         i++)
        find_key(L, box, record);
    return 0;
}

static void on_keys_end(struct fiber *fiber, void *arg, int status, const char *text) {
    (void)fiber, (void)text;
    struct consume_box *box = arg;
    box->finding = false;
    if (box->consume == NULL) {
        consume_box_unref(box);
        return;
    }
    struct consume_msg *record = consume_unkeyed(box->consume);
    if (status == LN_ESCRIPT && record != NULL) /* out of memory; it is told by its handler */
        consume_set_key(record, NULL, 0, true);
    consume_go_on(box->consume);
    if (box->consume != NULL && consume_unkeyed(box->consume) != NULL)
        consume_keys_wanted(box);
}

void consume_keys_wanted(void *owner) {
    struct consume_box *box = owner;
    if (box->finding)
        return;
    box->finding = true;
    if (fiber_spawn(script_fibers(box->script), FIBER_HANDLER, find_keys, box, on_keys_end) ==
        LN_OK)
        return;
    box->finding = false;
    for (struct consume_msg *record; (record = consume_unkeyed(box->consume)) != NULL;)
        consume_set_key(record, NULL, 0, true);
}

/* A function, or a text that the Lua side has checked. */
void consume_keys_take(lua_State *L, int arg, struct consume_box *box,
                       struct consume_options *out) {
    if (lua_getfield(L, arg, "key") == LUA_TFUNCTION) {
        out->key.kind = MESSAGE_KEY_FUNCTION;
        box->key = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_getfield(L, arg, "keyless");
        box->keyless = luaL_ref(L, LUA_REGISTRYINDEX);
    } else if (lua_isstring(L, -1)) {
        message_key_parse(lua_tostring(L, -1), &out->key);
    }
}

/* The version that serves is asked, and the one before has the same. */
static void keys_of(const void *owner, struct keyed_stats *out) {
    const struct consume_box *box = owner;
    struct consume_stats stats = {0};
    if (box->consume != NULL && !consume_stopped(box->consume))
        consume_get_stats(box->consume, &stats);
    *out = stats.keys;
}

void consume_keys_show(const struct consume_box *box, bool shown) {
    struct reader *reader = box->reader != NULL ? box->reader->reader : NULL;
    if (reader == NULL || (!shown && reader->keys_owner != box))
        return;
    reader->keys = shown ? keys_of : NULL;
    reader->keys_owner = shown ? box : NULL;
}
