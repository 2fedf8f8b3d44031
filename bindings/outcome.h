/* SPDX-License-Identifier: Apache-2.0 */
/* What comes of the handler of a listener: a reply, an error reply, a line in the log. */
#ifndef LUNATS_OUTCOME_H
#define LUNATS_OUTCOME_H

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

#endif
