/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of app.http know of each other. All functions may raise. */
#ifndef LUNATS_BINDINGS_HTTP_H
#define LUNATS_BINDINGS_HTTP_H

#include <lua.h>

#include "host/web/web.h"

/* Metatables in the registry: of requests, which scripts/http.lua fills, and of responses. */
#define HTTP_REQUEST_TYPE "lunats.http.request"
#define HTTP_RESPONSE_TYPE "lunats.http.response"
#define HTTP_FILE_TYPE "lunats.http.file"

/* Stack of the body: the struct exchange *, the message handler, the request; behind them the
 * two results of the handler. */
enum { HTTP_AT_EXCHANGE = 1, HTTP_AT_ERROR_HANDLER, HTTP_AT_REQUEST, HTTP_AT_RESULT };

/* ---- the request: request.c ---- */

/* Pushes the table that the handler gets. */
void push_http_request(lua_State *L, struct exchange *exchange);

/* ---- its answer: reply.c ---- */

/* Of the protected call: what is raised is reported here, as the traceback exists only here. */
int http_on_error(lua_State *L);
/* Continuation of the call; the context is the exchange. Ends the body. */
int http_outcome(lua_State *L, int status, lua_KContext context);
/* The fiber has ended; raises nothing. */
void http_on_end(struct exchange *exchange, int status, const char *text);

/* ---- headers: headers.c ---- */

/* What the table at `index` (nil is fine), and then the one at `more`, say. The array and its
 * strings are kept alive by what is pushed; there is room for one more. `type`: whether there
 * is a Content-Type. */
struct http_header *check_http_headers(lua_State *L, int index, int more, size_t *count,
                                       bool *type);

/* ---- a stream: stream.c ---- */

/* Pushes the function that writes to it. */
void push_http_writer(lua_State *L, struct exchange *exchange);
void http_stream_class(lua_State *L);

/* ---- a file: file.c ---- */

/* The file at `index`, opened; its descriptor is taken. */
bool take_http_file(lua_State *L, int index, struct http_file *out);
void http_file_class(lua_State *L);
/* http.real_folder(path), http.open_file(folder, path) */
int http_real_folder(lua_State *L);
int http_open_file(lua_State *L);

#endif
