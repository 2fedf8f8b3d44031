/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that make up app.tcp: sockets for drivers written in Lua, see host/tcp/socket.h. A
 * socket has room for one fiber that reads and for one that writes. A call that fails takes
 * nothing: what has come in can still be read.
 */
#ifndef LUNATS_BINDINGS_TCP_H
#define LUNATS_BINDINGS_TCP_H

#include "bindings/lib/lib.h"
#include "host/tcp/pool.h"
#include "host/tcp/socket.h"

#define BOX_TYPE "lunats.tcp"

/* Of a script; a userdata in its registry. */
struct home {
    struct script_resource resource;
    struct scheduler *scheduler;
    struct tcp_home sockets;
    struct tcp_pool pool;
};

/* User values: its key in the pool, and what messages call it. */
enum { KEY = 1, LABEL = 2 };

struct box {
    struct script_resource resource;
    struct home *home;
    struct tcp_socket *socket;    /* NULL: closed */
    struct io *reading, *writing; /* NULL: nobody does; one for both: it changes to TLS */
    uint64_t timeout_ms;          /* UINT64_MAX: none */
    unsigned uses;                /* before this one */
};

enum io_kind { IO_CONNECT, IO_COUNT, IO_SOME, IO_UNTIL, IO_WRITE };

/* A call, and what it waits for; in the wait area of its fiber. */
struct io {
    struct box *box; /* argument or local of the caller, who keeps it alive */
    struct fiber *fiber;
    enum io_kind kind;
    bool is_line;
    const char *text; /* the delimiter, or what is written; on the stack of the caller */
    size_t len;
    size_t count;      /* bytes wanted, at most for IO_SOME */
    size_t seen;       /* bytes without a delimiter */
    size_t take, skip; /* the result in front of what has come, and what to leave out then */
    size_t done;       /* bytes written */
    int status;
};
_Static_assert(sizeof(struct io) <= FIBER_WAIT_SIZE, "wait area");

/* ---- ./box.c ---- */

struct box *check_box(lua_State *L);
/* Closes its socket, if it has one. */
void box_drop(struct box *box, bool orderly);
/* nil, err: "<what> host:port: <why>"; the box is at `at`. */
int push_refusal(lua_State *L, int at, const char *what, int status, const char *why);
/* The same of the box at 1 from a call that may wait; may yield. */
int fail_call(lua_State *L, struct fiber *fiber, const char *what, int status, const char *why);
/* Raises when a fiber does that already; NULL: none does. */
void check_free(lua_State *L, const struct io *io, const char *what);

/* ---- ./wait.c ---- */

/* Of the socket of a box. */
void box_on_event(void *owner);
/* Whether a reader is done: with io->status, and with take and skip if that is LN_OK. */
bool io_is_read(struct io *io);
/* Whether a writer is done: all is accepted, or io->status says why not. */
bool io_is_written(struct io *io);
/* Waits for what one of these tells. */
int io_wait(lua_State *L, const struct io *call, struct fiber *fiber, lua_KFunction k);
/* Ends that wait, up to fiber_end_wait(); *out is the call as it has ended. */
struct fiber *io_end_wait(lua_State *L, struct io *out);

/* ---- ./connect.c ---- */

int core_tcp_connect(lua_State *L);
int box_starttls(lua_State *L);

/* ---- ./transfer.c ---- */

int box_read(lua_State *L);
int box_write(lua_State *L);

#endif
