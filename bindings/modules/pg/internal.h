/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL by libpq, for scripts/pg.lua. What the files of the module share: conn.c is a
 * connection on the loop and never raises, session.c and query.c what a fiber does with one,
 * pool.c knows which of them rest, params.c, rows.c and values.c what goes there and comes
 * back, statement.c what the server keeps, cancel.c ends what it still does, resolve.c finds
 * addresses.
 */
#ifndef LUNATS_PG_INTERNAL_H
#define LUNATS_PG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

#include "bindings/lib/lib.h"
#include "host/base/clock.h"
#include "host/base/tally.h"
#include "host/script/resource.h"

#define CONN_TYPE "lunats.pg.connection"
#define TYPED_TYPE "lunats.pg.typed"

/* Bytes of a row or of parameters: the buffers of libpq that have held so much do not shrink.
 */
#define BULKY ((size_t)4 << 20)

enum conn_state {
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_IDLE,
    CONN_BUSY, /* a query has begun, and its last result was not read yet */
};

/* How a column becomes a value of Lua. */
enum kind {
    KIND_TEXT,
    KIND_BOOL,
    KIND_INTEGER,
    KIND_FLOAT,
    KIND_NUMERIC, /* as a number */
    KIND_BYTES,
    KIND_JSON,
    KIND_TIME,          /* as seconds */
    KIND_ARRAY = 0x100, /* of what is added to it */
};

/* What the script wants of values; bits of an integer that scripts/pg.lua makes. */
enum {
    WANT_NUMBERS = 1, /* numeric as numbers */
    WANT_SECONDS = 2, /* timestamps as Unix time */
    WANT_NULL = 4,    /* NULL as app.json.null */
    WANT_REST = 8,    /* no transaction that the query has begun */
    WANT_NOTHING = 16 /* no rows: several statements, without parameters */
};

/* The arguments of a query, in arrays as libpq wants them. */
struct params {
    int count, room;
    size_t bytes;
    const char **values;
    int *lengths, *formats;
    Oid *types;
    char (*digits)[32]; /* of numbers */
};

struct watched;
struct plan;
struct seats;

/* What has come of an answer, and how it is wanted. The rows, and the error, are on the stack
 * of who waits for it. */
struct answer {
    int wants;
    uint64_t due;            /* milliseconds of the clock */
    const struct plan *plan; /* of the rows, of which the stack has the userdata; or NULL */
    lua_Integer rows;        /* that the list has already */
    lua_Integer affected;    /* -1: not told */
    bool failed;
    bool piped; /* there are several */
};

/* The user values of a connection. */
enum {
    CONN_STATEMENTS = 1, /* see statement.h */
    CONN_PLAN,           /* of the last result that was none of a statement's */
    CONN_SEATS,          /* of the pool, if it has one */
    CONN_VALUES = CONN_SEATS
};

/* A field of the class of connections: the metatable of lists. */
#define LIST_CLASS 1

/*
 * A connection: a userdata, which the stack of whoever waits for it holds. All zero is closed;
 * what it has outside of Lua goes in conn_close().
 */
struct conn {
    struct script_resource resource;
    struct script *script;
    PGconn *pg;              /* owned; NULL: closed */
    struct watched *watched; /* its socket, owned until it is closed; or NULL */
    enum conn_state state;
    bool unanswered;      /* nothing has come yet of what the query gives */
    bool whole;           /* all that the query gives was there at once */
    struct fiber *fiber;  /* that waits, or NULL */
    PGnotify *note;       /* the next for who waits, or NULL */
    PGresult *result;     /* that is being read, so that an error leaks nothing */
    struct params params; /* kept from query to query */
    bool prepares;        /* the server keeps statements that come again */
    bool outdated;        /* what they give may be something else from now on */
    uint64_t nonce;       /* of their names */
    unsigned names;       /* that there were, ... */
    unsigned kept, texts; /* ... that the server has, and of which we know */
    bool again;           /* what has failed can be asked for once more */
    int stage;            /* what the results are of that come next, see query.c */
    struct answer answer;
    size_t unread;            /* bytes of a row that is not complete */
    struct tally *tally;      /* where they are counted; borrowed as long as the script */
    struct clock_timer timer; /* closes it when it was idle for too long */
    uint64_t idle_ms, idle_since;
    struct seats *seats; /* of its pool, or NULL */
    struct conn *below;  /* the next one that rests there */
    bool resting;
    bool bulky; /* its buffers have grown, and do not shrink */
    bool lost;  /* it ended without our doing */
    bool ends;  /* at the next turn of the loop */
    char why[512];
};

/* ---- ./conn.c; raises nothing ---- */

/* Begins to connect; `conn` is zero. The fiber that waits is woken with LN_OK or
 * LN_EDISCONNECTED. LN_OK, LN_ENOMEM, or LN_EDISCONNECTED with `why`. */
int conn_start(struct conn *conn, struct script *script, const char *const *keywords,
               const char *const *values);

/* Sends what was asked for and reads what comes; false when the connection is lost. */
bool conn_go(struct conn *conn);

/* It has a query to send, in parts. */
void conn_begin(struct conn *conn);

/* The rows of the query whose results come next: one after the other, so that they need no
 * memory beside that of the script; but all at once when they are few. */
void conn_expect(struct conn *conn);

/* The last result was read. */
void conn_done(struct conn *conn);

/* Ends it, whatever it is doing. `cancel`: the server is told to stop working on it. */
void conn_close(struct conn *conn, bool cancel);

/* The same at the next turn of the loop, for what may come of a finalizer while somebody reads
 * an answer. From now on it is of no use. */
void conn_close_soon(struct conn *conn);
bool conn_open(const struct conn *conn);

/* ---- ./params.c ---- */

/* Takes the arguments from `first` to the top of the stack; pushes nothing. Raises for what is
 * no value. False: one cannot be text, which push_bad_text() tells. */
bool check_params(lua_State *L, struct conn *conn, int first);
void params_free(struct params *params);

/* ---- ./values.c ---- */

/* Of a column, with the modifier of its type. */
int find_kind(Oid type, int modifier, int wants);

/* "-123". False: no such number, or one that does not fit. */
bool read_integer(const char *text, lua_Integer *out);

/* Pushes the value of a column. */
void push_value(lua_State *L, const char *text, size_t len, int kind, int wants);

/* ---- ./array.c ---- */

/* Pushes the table of '{1,2,NULL}'. */
void push_array(lua_State *L, const char *text, size_t len, int kind, int wants);

/* ---- ./stamp.c ---- */

/* Unix time of '2026-11-26 08:09:10.5+01'. False: not such a text. */
bool read_stamp(const char *text, double *seconds);

/* ---- ./failure.c ---- */

/* Push nil and an error; both return 2. */
int push_refused(lua_State *L, const PGresult *result);
int push_lost(lua_State *L, const struct conn *conn);

/* ---- ./cancel.c ---- */

/* Asks the server to give up what `pg` waits for, in a thread that nobody waits for. */
void cancel_start(PGconn *pg);

/* ---- ./resolve.c ---- */

/* native.resolve(host, timeout) -> list of addresses | nil, err */
int pg_resolve(lua_State *L);

/* ---- ./session.c ---- */

int pg_connect(lua_State *L);
void add_conn_class(lua_State *L);
struct conn *check_conn(lua_State *L);

/* Lets the fiber wait for the connection, which ends with the fiber unless that gets as far as
 * waited(): what it was woken with. */
int wait_for(lua_State *L, struct fiber *fiber, struct conn *conn, uint64_t ms,
             lua_KFunction k);
int waited(struct fiber *fiber);
int push_timeout(lua_State *L, const char *text); /* nil, err */

/* Whether another one may use it; it closes itself after so many milliseconds in which nobody
 * does. */
bool conn_rest(struct conn *conn, uint64_t ms);

/* ---- ./pool.c ---- */

int pg_seats(lua_State *L);
int pg_on_close(lua_State *L);
int pg_query(lua_State *L);
void add_seats_class(lua_State *L);

/* ---- ./query.c ---- */

/* A query; the stack is that of conn_query(). */
int ask(lua_State *L, struct conn *conn, int wants, uint64_t ms);
int conn_query(lua_State *L);
int conn_pipeline(lua_State *L);

#endif
