/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modules in C of "lunats.core", which is what scripts/ is made with: each adds its
 * functions to the table on top of the stack. ./open.c calls them.
 */
#ifndef LUNATS_BINDINGS_H
#define LUNATS_BINDINGS_H

#include <lua.h>

void bindings_app(lua_State *L);       /* ./app.c: identity, life of the script */
void bindings_cache(lua_State *L);     /* ./cache.c: cache */
void bindings_codec(lua_State *L);     /* ./codec.c: codecs */
void bindings_fiber(lua_State *L);     /* ./fiber.c: starting and ending fibers */
void bindings_coroutine(lua_State *L); /* ./coroutine.c: of the table coroutine */
void bindings_send(lua_State *L);      /* ./send.c: publish, request, flush, ... */
void bindings_listen(lua_State *L);    /* ./listen.c: listen */
void bindings_msg(lua_State *L);       /* ./msg.c: the metatable of messages */
void bindings_tcp(lua_State *L);       /* ./tcp/box.c: tcp_connect */
void bindings_time(lua_State *L);      /* ./time.c: sleep, now, alarm, ... */
void bindings_log(lua_State *L);       /* ./log.c: log */
void bindings_nats(lua_State *L);      /* ./nats.c: nats_* */
void bindings_connect(lua_State *L);   /* ./connect.c: connect */
void bindings_digest(lua_State *L);    /* ./digest.c: sha256, base64, random */
void bindings_gate(lua_State *L);      /* ./lib/gate.c: gate */
void bindings_expiry(lua_State *L);    /* ./lib/expiry.c: expires */
void bindings_guard(lua_State *L);     /* ./guard.c: on_guarded */
void bindings_slice(lua_State *L);     /* ./slice.c: no function; the end of what runs on */
void bindings_wait(lua_State *L);      /* ./lib/wait.c: fail */
void bindings_folder(lua_State *L);    /* ./folder.c: folder, is_below */
void bindings_metrics(lua_State *L);   /* ./metrics.c: meter */
void bindings_vitals(lua_State *L);    /* ./vitals.c: health checks, on_connection */
void bindings_http_out(lua_State *L);  /* ./http_client/client.c: http_client */
void bindings_nearest(lua_State *L);   /* ./lib/nearest.c: nearest */
void bindings_http(lua_State *L);      /* ./http/route.c: http_in */
void bindings_js(lua_State *L);        /* ./js/pull.c: js_* */
void bindings_thread(lua_State *L);    /* ./thread/call.c: threads */

/* ---- for commands and specs ---- */

void bindings_broker(lua_State *L);   /* ./tools/broker.c: broker */
void bindings_hosted(lua_State *L);   /* ./tools/hosted.c: start_service */
void bindings_input(lua_State *L);    /* ./tools/input.c: input, is_terminal */
void bindings_load(lua_State *L);     /* ./tools/load.c: load_service */
void bindings_loop(lua_State *L);     /* ./tools/loop.c: loop_handles, error_watch */
void bindings_process(lua_State *L);  /* ./tools/process.c: process */
void bindings_doctor(lua_State *L);   /* ./tools/doctor.c: versions, module_problem */
void bindings_terminal(lua_State *L); /* ./tools/terminal.c: terminal, terminal_size */
void bindings_watch(lua_State *L);    /* ./tools/watch.c: watch */

#endif
