/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message userdata: fields, made when first read, and methods. Other modules add theirs
 * with msg_extend().
 */
#include "bindings/msg.h"

#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "host/link/answer.h"
#include "host/script/missing.h"

enum { VALUE_DATA = 1, VALUE_HEADERS = 2, VALUE_CODEC = 3 };

/* The metatable is what the script keeps for the bindings. */
static void push_metatable(lua_State *L) {
    script_push_kept(script_of(L), L);
}

/* ---- making one ---- */

struct msg *push_msg(lua_State *L, const struct message *from, enum msg_data type) {
    int values = type == MSG_CODEC ? VALUE_CODEC : VALUE_HEADERS;
    struct msg *msg = lua_newuserdatauv(L, sizeof(*msg) + from->size, values);
    memcpy(msg->bytes, from->bytes, from->size);
    msg->subject = msg->bytes;
    msg->reply = from->reply ? msg->bytes + (from->reply - from->bytes) : NULL;
    msg->headers = from->headers ? msg->bytes + (from->headers - from->bytes) : NULL;
    msg->headers_len = from->headers_len;
    msg->data = msg->bytes + (from->data - from->bytes);
    msg->len = from->len;
    msg->type = (unsigned char)type;
    msg->client = 0;
    msg->decoded = msg->settled = msg->proven = false;
    msg->held = MSG_FREE;
    msg->attempts = 0;
    msg->job = NULL;
    msg->expires = 0;
    push_metatable(L);
    lua_setmetatable(L, -2);
    return msg;
}

void msg_strip(struct msg *msg) {
    const char *dot = strchr(msg->bytes, '.');
    if (dot != NULL)
        msg->subject = dot + 1;
}

void msg_set_codec(lua_State *L) {
    lua_setiuservalue(L, -2, VALUE_CODEC);
}

void msg_push_codec(lua_State *L, int arg) {
    lua_getiuservalue(L, arg, VALUE_CODEC);
}

struct msg *check_msg(lua_State *L, int arg) {
    struct msg *msg = lua_touserdata(L, arg);
    if (msg == NULL || !lua_getmetatable(L, arg))
        return luaL_checkudata(L, arg, MSG_TYPE); /* raises */
    bool ours = script_keeps(script_of(L), lua_topointer(L, -1));
    lua_pop(L, 1);
    return ours ? msg : luaL_checkudata(L, arg, MSG_TYPE);
}

const struct msg *test_msg(lua_State *L, int arg) {
    return luaL_testudata(L, arg, MSG_TYPE);
}

bool msg_answerable(const struct msg *msg) {
    return answer_ok(msg->reply) || msg->proven;
}

/* The log of refusals of messages that no listener handles, one for each script. */
static struct answer_log *refusals_of(lua_State *L) {
    static const char key = 'r';
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TUSERDATA) {
        struct answer_log *log = lua_newuserdatauv(L, sizeof(*log), 0);
        *log = (struct answer_log){0};
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    }
    return lua_touserdata(L, -1);
}

int push_refused(lua_State *L, const struct msg *msg) {
    if (msg->job != NULL)
        job_refused(msg->job, msg->reply);
    else
        answer_refused(refusals_of(L), service_name(script_service(script_of(L))), "message",
                       msg->subject, msg->reply);
    return push_failure(L, LN_EANSWER, msg->reply);
}

/* ---- headers ---- */

/* Adds a value to the table on top: one value is a string, several are a list. */
static void add_header(lua_State *L, const char *name, const char *value) {
    int type = lua_getfield(L, -1, name); /* table, old */
    if (type == LUA_TTABLE) {
        lua_pushstring(L, value);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 1);
        return;
    }
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushstring(L, value);
    } else {
        lua_createtable(L, 2, 0); /* table, old, list */
        lua_insert(L, -2);        /* table, list, old */
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, value);
        lua_rawseti(L, -2, 2);
    }
    lua_setfield(L, -2, name);
}

static int push_headers(lua_State *L, struct msg *msg) {
    if (lua_getiuservalue(L, 1, VALUE_HEADERS) == LUA_TTABLE)
        return 1;
    lua_newtable(L);
    for (const char *at = msg->headers, *end = at + msg->headers_len; at != NULL && at < end;) {
        const char *value = at + strlen(at) + 1;
        add_header(L, at, value);
        at = value + strlen(value) + 1;
    }
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, VALUE_HEADERS);
    return 1;
}

/* msg:header(name) -> string | nil */
static int msg_header(lua_State *L) {
    struct msg *msg = check_msg(L, 1);
    const char *value = header_find(msg->headers, msg->headers_len, luaL_checkstring(L, 2));
    lua_pushstring(L, value); /* nil for NULL */
    return 1;
}

/* ---- data ---- */

/* Raises the error of a body that cannot be decoded; the stack top says what is wrong with the
 * message. */
static int raise_bad(lua_State *L, const struct msg *msg, const char *code) {
    lua_pushfstring(L, "%s: the message %s", msg->subject, lua_tostring(L, -1));
    push_error(L, code, lua_tostring(L, -1));
    if (msg->job != NULL) { /* else its sender has asked for nothing */
        lua_pushinteger(L, 400);
        lua_setfield(L, -2, "status");
    }
    return lua_error(L);
}

static void decode_json(lua_State *L, const struct msg *msg) {
    if (json_decode(L, msg->data, msg->len))
        return;
    lua_pushfstring(L, "is not JSON: %s", lua_tostring(L, -1));
    raise_bad(L, msg, "bad_json");
}

static void decode_by_codec(lua_State *L, const struct msg *msg) {
    msg_push_codec(L, 1);
    codec_decode(L, msg->data, msg->len); /* value, code, problem */
    if (!lua_isnil(L, -2))
        raise_bad(L, msg, lua_tostring(L, -2));
    lua_pop(L, 2);
}

static int push_data(lua_State *L, struct msg *msg) {
    if (msg->decoded) {
        lua_getiuservalue(L, 1, VALUE_DATA);
        return 1;
    }
    if (msg->type == MSG_STRING)
        lua_pushlstring(L, msg->data, msg->len);
    else if (msg->type == MSG_CODEC)
        decode_by_codec(L, msg);
    else if (msg->len == 0)
        lua_pushnil(L); /* what publishing nil sends */
    else
        decode_json(L, msg);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, VALUE_DATA);
    msg->decoded = true;
    return 1;
}

static int push_raw(lua_State *L, struct msg *msg) {
    lua_pushlstring(L, msg->data, msg->len);
    return 1;
}

static int push_subject(lua_State *L, struct msg *msg) {
    lua_pushstring(L, msg->subject);
    return 1;
}

static int push_reply_to(lua_State *L, struct msg *msg) {
    lua_pushstring(L, msg->reply);
    return 1;
}

/* Seconds that are left; 0 when they are over. */
static int push_deadline(lua_State *L, struct msg *msg) {
    uint64_t now = clock_now(script_clock(script_of(L)));
    if (msg->expires == 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, msg->expires > now ? (lua_Number)(msg->expires - now) / 1e3 : 0);
    return 1;
}

/* A misspelt name is nil, as in all of Lua; an error about it says what was meant. */
static int no_member(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_settop(L, 2);
        lua_replace(L, 1);
        lua_pushliteral(L, "a message");
        lua_pushvalue(L, lua_upvalueindex(1));
        missing_remember(L);
    }
    lua_pushnil(L);
    return 1;
}

/* Upvalue 1: the members by name; a field is a pointer, all others are methods. */
static int msg_index(lua_State *L) {
    struct msg *msg = check_msg(L, 1);
    lua_pushvalue(L, 2);
    int type = lua_rawget(L, lua_upvalueindex(1));
    if (type == LUA_TNIL)
        return no_member(L);
    if (type != LUA_TLIGHTUSERDATA)
        return 1; /* a method */
    const struct msg_field *field = lua_touserdata(L, -1);
    return field->push(L, msg);
}

/* msg.data = value: a handler may replace what the next one reads. Nothing else can be set. */
static int msg_newindex(lua_State *L) {
    struct msg *msg = check_msg(L, 1);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "data") != 0)
        return luaL_error(L, "msg.%s cannot be set", name);
    lua_settop(L, 3);
    lua_setiuservalue(L, 1, VALUE_DATA);
    msg->decoded = true;
    return 0;
}

static int msg_tostring(lua_State *L) {
    struct msg *msg = check_msg(L, 1);
    lua_pushfstring(L, "msg %s (%I bytes)", msg->subject, (lua_Integer)msg->len);
    return 1;
}

static int respond(lua_State *L);

static int respond_later(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    room_waited(L, 3);
    return respond(L);
}

static int respond(lua_State *L) {
    static const struct option known[] = {{"headers", "table"}, {NULL, NULL}};
    struct msg *msg = check_msg(L, 1);
    struct link *link = push_message_link(L, msg->client);
    struct link_out out = {.subject = msg->reply, .checked = true};
    if (link == NULL)
        return push_failure(L, LN_ECLOSED, NULL);
    if (link_congested(link) && room_can_wait(L))
        return room_wait(L, link, "msg:respond", respond_later);
    if (link_full(link))
        return room_push_full(L, link, "");
    if (check_options(L, 3, "msg:respond", known)) {
        lua_getfield(L, 3, "headers");
        out.headers = check_headers(L, -1, &out.header_count);
    }
    if (msg->reply == NULL) {
        lua_pushnil(L);
        push_error(L, "no_reply", "the sender of this message wants no reply");
        return 2;
    }
    if (!msg->proven && !link_may_answer(link, msg->reply))
        return push_refused(L, msg);
    const struct msg *other = test_msg(L, 2);
    if (other == NULL)
        out.data = check_message(L, 2, &out.len);
    else
        push_forwarded(L, other, &out);
    int rc = link_publish(link, &out);
    if (rc == LN_OK && msg->job != NULL)
        job_answered(msg->job);
    else if (rc == LN_OK)
        msg->settled = true; /* of a stream: whoever responds needs no ack of ours */
    return push_status(L, rc, rc == LN_ENATS ? link_last_error(link) : NULL);
}

/*
 * msg:respond(message [, { headers = }]) -> true | nil, err. Waits as app.publish does. What
 * came by a codec is answered by it.
 */
static int msg_respond(lua_State *L) {
    const struct msg *msg = check_msg(L, 1);
    lua_settop(L, 3);
    if (msg->type == MSG_CODEC && test_msg(L, 2) == NULL) {
        msg_push_codec(L, 1);
        codec_encode(L, 4, 2);
    }
    return respond(L);
}

/* core.is_msg(value) -> boolean */
static int core_is_msg(lua_State *L) {
    lua_pushboolean(L, test_msg(L, 1) != NULL);
    return 1;
}

static const luaL_Reg methods[] = {
    {"header", msg_header},
    {"respond", msg_respond},
    {NULL, NULL},
};

static const struct msg_field fields[] = {
    {"data", push_data},
    {"raw", push_raw},
    {"subject", push_subject},
    {"reply_to", push_reply_to},
    {"headers", push_headers},
    {"deadline", push_deadline},
    {NULL, NULL},
};

/* Adds to the table of members on top of the stack. */
static void add_members(lua_State *L, const luaL_Reg *functions,
                        const struct msg_field *members) {
    luaL_setfuncs(L, functions, 0);
    for (; members->name != NULL; members++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)members); /* only read */
        lua_setfield(L, -2, members->name);
    }
}

void msg_extend(lua_State *L, const luaL_Reg *functions, const struct msg_field *members) {
    push_metatable(L);
    lua_getfield(L, -1, "__index");
    lua_getupvalue(L, -1, 1); /* meta, __index, members */
    add_members(L, functions, members);
    lua_pop(L, 3);
}

void bindings_msg(lua_State *L) {
    luaL_newmetatable(L, MSG_TYPE); /* meta */
    lua_pushvalue(L, -1);
    script_keep(script_of(L), L);
    lua_newtable(L); /* meta, members */
    add_members(L, methods, fields);
    lua_pushcclosure(L, msg_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, msg_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, msg_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    lua_pushcfunction(L, core_is_msg);
    lua_setfield(L, -2, "is_msg");
}
