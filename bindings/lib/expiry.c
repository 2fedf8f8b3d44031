/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/lib/expiry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

/* A number of at most as many digits is taken: three hundred thousand years. */
#define DIGITS_MAX 16

static bool read_ms(const char *text, uint64_t *out) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || text[digits] != '\0')
        return false;
    *out = strtoull(text, NULL, 10);
    return true;
}

/* As header_find(), which compares each name. */
static const char *find(const struct message *msg) {
    const char *end = msg->headers + msg->headers_len;
    for (const char *name = msg->headers; name < end;) {
        const char *value = name + strlen(name) + 1;
        if ((*name | 0x20) == 'r' && strcasecmp(name, EXPIRY_HEADER) == 0)
            return value;
        name = value + strlen(value) + 1;
    }
    return NULL;
}

uint64_t expiry_begin(lua_State *L, const struct message *msg) {
    const char *text = find(msg);
    uint64_t ms;
    if (text == NULL || !read_ms(text, &ms))
        return 0;
    const struct script *script = script_of(L);
    uint64_t waited = msg->received != 0 ? (clock_precise() - msg->received) / 1000000 : 0;
    uint64_t now = clock_now(script_clock(script));
    /* 0 would mean that nobody has said anything. */
    uint64_t due = waited < ms ? now + (ms - waited) : now;
    due = due > 0 ? due : 1;
    fiber_set_expires(fibers_current(script_fibers(script)), due);
    return due;
}

static bool has(const struct link_out *out) {
    for (size_t i = 0; i < out->header_count; i++)
        if (strcasecmp(out->headers[i].name, EXPIRY_HEADER) == 0)
            return true;
    return false;
}

/* What begins like this is for the server, and what it says is for nobody else. */
static bool is_of_server(const char *subject) {
    return *subject == '$';
}

/* The headers of *out and ours, in memory that the stack keeps. */
struct told {
    char text[DIGITS_MAX + 8];
    struct link_header headers[];
};

bool expiry_outgoing(lua_State *L, struct link_out *out, uint64_t due, bool tell,
                     uint64_t *ms) {
    if (due != 0) {
        uint64_t now = clock_now(script_clock(script_of(L)));
        uint64_t rest = due > now ? due - now : 0;
        if (rest == 0)
            return false;
        if (rest < *ms)
            *ms = rest;
    }
    if ((due == 0 && !tell) || is_of_server(out->subject) || has(out))
        return true;
    size_t count = out->header_count;
    struct told *told =
        lua_newuserdatauv(L, sizeof(*told) + (count + 1) * sizeof(struct link_header), 0);
    if (count > 0)
        memcpy(told->headers, out->headers, count * sizeof(struct link_header));
    snprintf(told->text, sizeof(told->text), "%" PRIu64, *ms);
    told->headers[count] = (struct link_header){EXPIRY_HEADER, told->text};
    out->headers = told->headers;
    out->header_count = count + 1;
    return true;
}

/* core.expires() -> seconds for which somebody waits for this fiber, 0 when nobody does any
 * more | nil: not known */
static int core_expires(lua_State *L) {
    const struct script *script = script_of(L);
    const struct fiber *fiber = fibers_current(script_fibers(script));
    uint64_t due = fiber != NULL ? fiber_expires(fiber) : 0;
    if (due == 0)
        return 0;
    uint64_t now = clock_now(script_clock(script));
    lua_pushnumber(L, due > now ? (lua_Number)(due - now) / 1e3 : 0);
    return 1;
}

static const luaL_Reg functions[] = {
    {"expires", core_expires},
    {NULL, NULL},
};

void bindings_expiry(lua_State *L) {
    luaL_setfuncs(L, functions, 0);
}
