/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests that scripts make: what scripts/http/client.lua is made with. The work is done
 * by the module "curl", which is loaded by the first of them.
 *
 * A client belongs to one version of a script, and each request is an exchange of it. Both are
 * userdata, and hold no reference to each other that the collector does not see.
 */
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/http_client/internal.h"
#include "bindings/lib/lib.h"
#include "bindings/lib/trace.h"
#include "host/base/container_of.h"
#include "host/base/module.h"
#include "host/base/status.h"

#define CLIENT_TYPE "lunats.http_client"

struct client {
    struct script_resource resource;
    const struct http_client_api *api;
    struct http_client *client; /* NULL: it is closed */
    struct list exchanges;      /* whose call is under way */
};

/* ---- sending ---- */

static struct client *check_client(lua_State *L) {
    struct client *client = luaL_checkudata(L, 1, CLIENT_TYPE);
    if (client->client == NULL) /* only in finalizers, at the end of the script */
        raise_error(L, "the script has ended");
    return client;
}

static const char *field_string(lua_State *L, const char *name) {
    lua_getfield(L, 2, name); /* the table keeps it */
    const char *value = lua_tostring(L, -1);
    lua_pop(L, 1);
    return value;
}

static bool field_true(lua_State *L, const char *name) {
    lua_getfield(L, 2, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* The list "headers" of the table at 2, name, value, ..., with those of the trace, whose span
 * begins. The stack keeps them. */
static void check_fields(lua_State *L, struct http_ask *ask, struct span *span) {
    lua_getfield(L, 2, "headers");
    size_t count = lua_rawlen(L, -1) / 2;
    struct link_out out = {.subject = ask->url};
    struct link_header *given = lua_newuserdatauv(L, (count + 1) * sizeof(*given), 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -2, (lua_Integer)(2 * i + 1)); /* the list keeps them */
        lua_rawgeti(L, -3, (lua_Integer)(2 * i + 2));
        given[i] = (struct link_header){luaL_checkstring(L, -2), luaL_checkstring(L, -1)};
        lua_pop(L, 2);
    }
    out.headers = given;
    out.header_count = count;
    if (!field_true(L, "untraced"))
        trace_outgoing(L, &out, span);
    struct http_header *all = lua_newuserdatauv(L, (out.header_count + 1) * sizeof(*all), 0);
    for (size_t i = 0; i < out.header_count; i++)
        all[i] = (struct http_header){out.headers[i].name, out.headers[i].value};
    ask->headers = all;
    ask->header_count = out.header_count;
}

static void check_ask(lua_State *L, struct http_ask *ask, struct span *span) {
    *ask = (struct http_ask){
        .url = field_string(L, "url"),
        .method = field_string(L, "method"),
        .tls_ca = field_string(L, "ca"),
        .tls_cert = field_string(L, "cert"),
        .tls_key = field_string(L, "key"),
        .proxy = field_string(L, "proxy"),
        .connect_ms = short_ms(option_ms(L, 2, "connect_timeout", 0)),
        .tls_unverified = field_true(L, "unverified"),
        .sink = &exchange_sink,
        .on_done = exchange_done,
    };
    lua_getfield(L, 2, "body");
    ask->body = lua_tolstring(L, -1, &ask->len);
    lua_getfield(L, 2, "upload");
    ask->upload = !lua_isnil(L, -1);
    ask->upload_len = lua_tointeger(L, -1);
    lua_pop(L, 2);
    if (ask->url == NULL || ask->method == NULL)
        luaL_error(L, "no URL or no method");
    check_fields(L, ask, span);
}

/*
 * client:send{ url =, shown =, method =, headers = { name, value, ... }, body = | upload =,
 *     max_bytes =, streamed =, untraced =, ca =, cert =, key =, unverified =, proxy =,
 *     connect_timeout = }
 * -> exchange | nil, err
 * The table is not changed afterwards: the exchange keeps it, and borrows what is in it.
 */
static int client_send(lua_State *L) {
    struct client *client = check_client(L);
    struct http_ask ask;
    struct span span = {0};
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    check_memory(L, "make an HTTP request");
    struct exchange *exchange =
        push_exchange(L, client->api, service_messages(script_service(script_of(L)))); /* 3 */
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 3, 1);
    lua_getfield(L, 2, "max_bytes");
    exchange->max = (size_t)lua_tointeger(L, -1);
    exchange->streamed = field_true(L, "streamed");
    exchange->url = field_string(L, "shown");
    check_ask(L, &ask, &span);
    check_client(L); /* a finalizer may have run */

    ask.owner = exchange;
    exchange->method = ask.method;
    exchange->span = span;
    int rc = client->api->send(&exchange->call, client->client, &ask);
    if (rc < 0) {
        exchange_failed(exchange, rc);
        return push_failure(L, rc, NULL);
    }
    exchange->over = false;
    list_push_back(&client->exchanges, &exchange->node);
    lua_settop(L, 3);
    return 1;
}

/*
 * client:url(base | nil, text) -> text, shown, origin | nil, why
 * The URL as it will be asked for; the same without secrets; "https://example.com:443".
 */
static int client_url(lua_State *L) {
    struct client *client = check_client(L);
    struct http_url url;
    size_t len;
    const char *base = luaL_optstring(L, 2, NULL), *text = luaL_checklstring(L, 3, &len);
    const char *wrong =
        strlen(text) == len ? client->api->read_url(&url, base, text) : "it has a zero byte";
    if (wrong != NULL) {
        lua_pushnil(L);
        lua_pushstring(L, wrong);
        return 2;
    }
    lua_pushstring(L, url.text);
    lua_pushstring(L, url.shown);
    lua_pushstring(L, url.origin);
    return 3;
}

/* ---- the client ---- */

static void on_closed(void *owner) {
    (void)owner;
}

static void close_client(struct client *client) {
    struct list_node *node;
    while ((node = list_first(&client->exchanges)) != NULL)
        exchange_end(list_item(node, struct exchange, node));
    if (client->client != NULL)
        client->api->close(client->client, on_closed, NULL);
    client->client = NULL;
}

static void on_script_end(struct script_resource *resource) {
    close_client(container_of(resource, struct client, resource));
}

static int client_gc(lua_State *L) {
    struct client *client = luaL_checkudata(L, 1, CLIENT_TYPE);
    script_remove_resource(&client->resource);
    close_client(client);
    return 0;
}

static const luaL_Reg client_methods[] = {
    {"send", client_send},
    {"url", client_url},
    {"__gc", client_gc},
    {NULL, NULL},
};

/* core.http_client() -> client; an error says what to install */
static int core_http_client(lua_State *L) {
    struct script *script = script_of(L);
    const struct module *module;
    char error[1024];
    check_open(L);
    if (module_load(&module, "curl", error, sizeof(error)) < 0)
        return raise_error(L, "app.http.request: %s", error);
    struct client *client = lua_newuserdatauv(L, sizeof(*client), 0);
    *client = (struct client){.api = module->api, .resource = {.close = on_script_end}};
    luaL_setmetatable(L, CLIENT_TYPE);
    int rc = client->api->open(&client->client, script_loop(script));
    if (rc == UV_ENOSYS)
        return raise_error(L, "app.http.request: this libcurl resolves names without a thread, "
                              "which would keep all services waiting; Debian's has one");
    if (rc < 0)
        return raise_error(L, "app.http.request: %s", status_text(rc));
    script_add_resource(script, &client->resource);
    return 1;
}

void bindings_http_out(lua_State *L) {
    add_class(L, CLIENT_TYPE, client_methods);
    exchange_class(L);
    lua_pushcfunction(L, core_http_client);
    lua_setfield(L, -2, "http_client");
}
