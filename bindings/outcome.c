/* SPDX-License-Identifier: Apache-2.0 */
#include "bindings/outcome.h"

#include <string.h>

#include "bindings/json/json.h"
#include "bindings/lib/lib.h"
#include "bindings/msg.h"
#include "host/base/container_of.h"
#include "host/base/log.h"
#include "host/script/title.h"
#include "host/script/trace.h"

/* ---- errors as answers ---- */

/* What the errors that our own calls return are to somebody who has asked us: a gateway passes
 * on what it got. */
static const struct {
    const char *word;
    int code;
} codes[] = {
    {"timeout", 504},   {"no_responders", 503}, {"disconnected", 503},
    {"closed", 503},    {"cancelled", 503},     {"full", 503},
    {"no_stream", 503}, {"consumer_lost", 503}, {"not_found", 404},
    {"exists", 409},    {"too_large", 413},     {"wrong_last_sequence", 409},
};

static bool code_of_word(lua_State *L, int index, lua_Integer *out) {
    bool found = false;
    if (lua_getfield(L, index, "code") == LUA_TSTRING) {
        const char *word = lua_tostring(L, -1);
        for (size_t i = 0; !found && i < sizeof(codes) / sizeof(codes[0]); i++) {
            found = strcmp(codes[i].word, word) == 0;
            *out = codes[i].code;
        }
    }
    lua_pop(L, 1);
    return found;
}

static bool number_field(lua_State *L, int index, const char *name, lua_Integer *out) {
    bool is_number = lua_getfield(L, index, name) == LUA_TNUMBER;
    if (is_number)
        *out = lua_tointeger(L, -1); /* 0 when it is not whole */
    lua_pop(L, 1);
    return is_number;
}

int outcome_code(lua_State *L, int index) {
    lua_Integer code;
    if (!lua_istable(L, index) ||
        (!number_field(L, index, "code", &code) && !code_of_word(L, index, &code) &&
         !number_field(L, index, "status", &code)))
        return 500;
    return code >= 100 && code <= 999 ? (int)code : 500;
}

bool outcome_has_code(lua_State *L, int index) {
    lua_Integer code;
    return lua_istable(L, index) && number_field(L, index, "code", &code);
}

double outcome_retry_after(lua_State *L, int index) {
    if (!lua_istable(L, index))
        return -1;
    lua_getfield(L, index, "retry_after");
    double seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    lua_pop(L, 1);
    return seconds >= 0 && seconds < 1e9 ? seconds : -1;
}

/* What the sender is told of it. */
static int fail(lua_State *L, const struct job *job, int index) {
    index = lua_absindex(L, index);
    int code = outcome_code(L, index);
    const char *text = error_text(L, index);
    double seconds = outcome_retry_after(L, index);
    if (seconds >= 0)
        job_failed_for(job, code, text, seconds);
    else
        job_failed(job, code, text);
    return 0;
}

/* ---- raised errors ---- */

bool outcome_is_senders(lua_State *L, int index) {
    lua_Integer status;
    if (!lua_istable(L, index) || !number_field(L, index, "status", &status) || status != 400)
        return false;
    bool bad = lua_getfield(L, index, "code") == LUA_TSTRING &&
               (strcmp(lua_tostring(L, -1), "bad_json") == 0 ||
                strcmp(lua_tostring(L, -1), "bad_data") == 0 ||
                strcmp(lua_tostring(L, -1), "bad_request") == 0);
    lua_pop(L, 1);
    return bad;
}

/* A raised error that nobody has reported yet; `trace` may be the text again. */
static void report_raised(lua_State *L, const struct job *job, int index, const char *trace) {
    struct script_error error = {.text = trace, .L = L, .value = lua_absindex(L, index)};
    if (!outcome_has_code(L, index)) {
        job_raised(job, &error, error_text(L, index));
        return;
    }
    job_report(job, &error);
    fail(L, job, index);
}

int outcome_on_error(lua_State *L) {
    struct script *script = script_of(L);
    struct fiber *fiber = fibers_current(script_fibers(script));
    struct job *job = fiber_arg(fiber);
    if (fiber_cancelled(fiber))
        return 1;
    if (outcome_is_senders(L, 1)) { /* the sender's mistake: no traceback of ours helps */
        log_warn(service_name(script_service(script)), "%s", error_text(L, 1));
        fail(L, job, 1);
    } else {
        push_traceback(L, L, error_text(L, 1), 1);
        report_raised(L, job, 1, lua_tostring(L, -1));
    }
    job->told = true;
    lua_settop(L, 1); /* what variables that are closed now get to see */
    return 1;
}

/* The handler has raised the value on top of the stack. outcome_on_error() has seen to it,
 * unless memory or the stack ran out. */
static void raised(lua_State *L, const struct job *job, int status) {
    int value = lua_gettop(L);
    if (status != LUA_ERRRUN || !job->told)
        report_raised(L, job, value, error_alone(L, value));
}

/* ---- replies ---- */

static int reply_failed(lua_State *L, const struct job *job, const struct link_out *out,
                        int rc) {
    const char *text = lua_pushfstring(L, "the reply of %I bytes was not sent: %s",
                                       (lua_Integer)out->len, status_text(rc));
    job_report(job, &(struct script_error){.text = text});
    if (rc == LN_ETOOLARGE)
        job_failed(job, 500, "the reply is larger than the max_payload of the server");
    return 0;
}

/* By the codec of the message, if it has one: that runs code of the script. */
static void encode_result(lua_State *L, const struct job *job) {
    const struct msg *msg = container_of(job->holder, struct msg, job);
    if (msg->type != MSG_CODEC)
        return;
    msg_push_codec(L, OUTCOME_AT_MSG);
    codec_encode(L, lua_gettop(L), OUTCOME_AT_RESULT);
}

static int reply(lua_State *L, struct job *job) {
    int type = lua_type(L, OUTCOME_AT_RESULT);
    if (type == LUA_TNIL) {
        if (!lua_isnil(L, OUTCOME_AT_RESULT + 1))
            return fail(L, job, OUTCOME_AT_RESULT + 1);
        return 0;
    }
    const struct msg *msg = type == LUA_TUSERDATA ? test_msg(L, OUTCOME_AT_RESULT) : NULL;
    if (msg != NULL && push_msg_error(L, msg))
        return fail(L, job, -1);
    if (!job_wants_reply(job))
        return 0;
    job->replying = true;
    if (msg == NULL)
        encode_result(L, job);
    struct link_out out = {.subject = job_msg(job)->reply, .checked = true};
    if (!link_may_answer(job_link(job), out.subject)) {
        job_refused(job, out.subject);
        return 0;
    }
    if (msg == NULL)
        out.data = check_message(L, OUTCOME_AT_RESULT, &out.len);
    else
        push_forwarded(L, msg, &out);
    int rc = link_publish(job_link(job), &out);
    if (rc < 0)
        return reply_failed(L, job, &out, rc);
    job_answered(job);
    return 0;
}

int outcome_of_handler(lua_State *L, int status, lua_KContext context) {
    struct job *job = (struct job *)context;
    bool success = status == LUA_OK || status == LUA_YIELD;
    if (!success && fiber_cancelled(fibers_current(script_fibers(script_of(L)))))
        return lua_error(L); /* the fiber ends as cancelled */
    if (success)
        return reply(L, job);
    raised(L, job, status);
    return 0;
}
