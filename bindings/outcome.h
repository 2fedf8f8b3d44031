/* SPDX-License-Identifier: Apache-2.0 */
/* What comes of the handler of a listener: a reply, an error reply, a line in the log. */
#ifndef LUNATS_OUTCOME_H
#define LUNATS_OUTCOME_H

#include <stdbool.h>

#include <lua.h>

/* Stack of a listener's body: the struct job *, outcome_on_error(), the message; behind them
 * the two results of the handler. */
enum {
    OUTCOME_AT_JOB = 1,
    OUTCOME_AT_ERROR_HANDLER,
    OUTCOME_AT_MSG,
    OUTCOME_AT_RESULT,
};

/* Message handler of the protected call: the traceback exists only here. */
int outcome_on_error(lua_State *L);

/* Continuation of the call; the context is the job. Ends the body. */
int outcome_of_handler(lua_State *L, int status, lua_KContext context);

/* The code of an error value: its numeric `code`, what its word means, its `status` (of another
 * service, or of JetStream), or 500. */
int outcome_code(lua_State *L, int index);
/* It is a table with a numeric `code`: meant for whoever has asked. */
bool outcome_has_code(lua_State *L, int index);
/* Seconds after which it says that another attempt may be worth it; negative: it says nothing.
 */
double outcome_retry_after(lua_State *L, int index);
/* Of the body of what is handled, and so of its sender. */
bool outcome_is_senders(lua_State *L, int index);

#endif
