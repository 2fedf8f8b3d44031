/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that are passed on: errors of services, and what the next hop gets. */
#include "bindings/msg.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/lib/lib.h"

bool push_service_error(lua_State *L, const char *headers, size_t len) {
    const char *text = header_find(headers, len, "Nats-Service-Error");
    const char *code = header_find(headers, len, "Nats-Service-Error-Code");
    if (text == NULL && code == NULL)
        return false;
    lua_pushnil(L);
    push_error(L, status_word(LN_ESERVICE), text && *text ? text : "the service failed");
    lua_pushinteger(L, code ? strtol(code, NULL, 10) : 500);
    lua_setfield(L, -2, "status");
    const char *after = header_find(headers, len, "Retry-After");
    if (after != NULL && lua_stringtonumber(L, after) != 0) { /* a date is left to the script */
        if (lua_tonumber(L, -1) >= 0)
            lua_setfield(L, -2, "retry_after");
        else
            lua_pop(L, 1);
    }
    return true;
}

/* An empty message with a status is word from the server: 404 "No Messages", say. */
static bool push_status_error(lua_State *L, const struct msg *msg) {
    const char *number = header_find(msg->headers, msg->headers_len, "Status");
    long status = number != NULL && msg->len == 0 ? strtol(number, NULL, 10) : 0;
    if (status < 400 || status > 599)
        return false;
    const char *text = header_find(msg->headers, msg->headers_len, "Description");
    lua_pushnil(L);
    push_error(L, status_word(LN_ESERVICE), text != NULL ? text : "the server refused");
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    return true;
}

bool push_msg_error(lua_State *L, const struct msg *msg) {
    return push_service_error(L, msg->headers, msg->headers_len) || push_status_error(L, msg);
}

/* Word of NATS about this hop: sequence and time in a stream, what a publisher expects of it,
 * where traces go. An error of a service is for whoever gets the message. */
static bool is_of_one_hop(const char *name) {
    return strncasecmp(name, "Nats-", 5) == 0 &&
           strncasecmp(name, "Nats-Service-Error", 18) != 0;
}

void push_forwarded(lua_State *L, const struct msg *msg, struct link_out *out) {
    out->data = msg->data;
    out->len = msg->len;
    if (out->header_count > 0)
        return;
    size_t most = 0;
    const char *end = msg->headers + msg->headers_len;
    for (const char *at = msg->headers; at < end; at += strlen(at) + 1)
        most++; /* names and values */
    if (most == 0)
        return;
    struct link_header *headers = lua_newuserdatauv(L, most / 2 * sizeof(*headers), 0);
    for (const char *name = msg->headers; name < end;) {
        const char *value = name + strlen(name) + 1;
        /* What was received is not always what may be sent. */
        if (!is_of_one_hop(name) && link_header_name_ok(name, strlen(name)) &&
            link_header_value_ok(value, strlen(value)))
            headers[out->header_count++] = (struct link_header){name, value};
        name = value + strlen(value) + 1;
    }
    out->headers = headers;
}
