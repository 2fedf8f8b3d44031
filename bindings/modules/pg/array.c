/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of PostgreSQL: '{1,NULL,"a\"b"}', '{{1,2},{3,4}}', '[0:1]={1,2}'. */
#include <string.h>
#include <strings.h>

#include "bindings/modules/pg/internal.h"

#define DEPTH 8 /* PostgreSQL has 6 dimensions at most */

struct reader {
    const char *at, *end;
    int kind, wants;
};

/* Pushes the text of the element at hand; *quoted: it is no NULL then. */
static bool push_text(lua_State *L, struct reader *reader, bool *quoted) {
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    *quoted = reader->at < reader->end && *reader->at == '"';
    reader->at += *quoted;
    while (reader->at < reader->end) {
        char byte = *reader->at;
        if (*quoted ? byte == '"' : byte == ',' || byte == '}')
            break;
        if (byte == '\\' && reader->at + 1 < reader->end)
            byte = *++reader->at;
        luaL_addchar(&buffer, byte);
        reader->at++;
    }
    luaL_pushresult(&buffer);
    bool fine = reader->at < reader->end;
    reader->at += *quoted && fine;
    return fine;
}

static bool push_element(lua_State *L, struct reader *reader) {
    bool quoted;
    size_t len;
    bool fine = push_text(L, reader, &quoted);
    const char *text = lua_tolstring(L, -1, &len);
    if (!quoted && strcasecmp(text, "NULL") == 0)
        lua_pushlightuserdata(L, NULL); /* app.json.null: lists have no holes */
    else
        push_value(L, text, len, reader->kind, reader->wants);
    lua_remove(L, -2);
    return fine;
}

/* From behind the brace to behind its counterpart; a table more on the stack in any case. */
static bool push_list(lua_State *L, struct reader *reader, int depth) {
    lua_newtable(L);
    luaL_setmetatable(L, "lunats.pg.list");
    if (depth > DEPTH)
        return false;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    for (lua_Integer count = 1; reader->at < reader->end && *reader->at != '}'; count++) {
        bool fine;
        if (*reader->at == '{') {
            reader->at++;
            fine = push_list(L, reader, depth + 1);
        } else {
            fine = push_element(L, reader);
        }
        lua_rawseti(L, -2, count);
        if (!fine)
            return false;
        if (reader->at < reader->end && *reader->at == ',')
            reader->at++;
    }
    return reader->at < reader->end && *reader->at++ == '}';
}

void push_array(lua_State *L, const char *text, size_t len, int kind, int wants) {
    struct reader reader = {.at = text, .end = text + len, .kind = kind, .wants = wants};
    if (*text == '[') { /* bounds that do not begin with 1 */
        const char *list = memchr(text, '=', len);
        reader.at = list != NULL ? list + 1 : reader.end;
    }
    if (reader.at < reader.end && *reader.at++ == '{') {
        if (push_list(L, &reader, 1) && reader.at == reader.end)
            return;
        lua_pop(L, 1);
    }
    lua_pushlstring(L, text, len);
}
