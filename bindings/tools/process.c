/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes for `lunats test -j` and --watch: core.process(). Their output is inherited
 * or collected; the handle belongs to libuv until it is closed.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"
#include "host/base/cloexec.h"

#define PROCESS_TYPE "lunats.process"
#define OUTPUT_MAX                                                                             \
    (64U << 20) /* a program that never stops printing must not eat the memory                 \
                 */

struct child {
    struct script_resource resource; /* first: on_script_close() casts */
    uv_process_t process;
    uv_pipe_t pipe;
    struct child **box;    /* the userdata; NULL: gone */
    struct fiber *waiting; /* in wait() */
    char *output;
    size_t len, room;
    int64_t status;
    int signal;
    int open_handles;
    bool captures, exited, ended; /* ended: the output is over, too */
};

/* ---- memory ---- */

static void release(struct child *child) {
    if (child->open_handles > 0 || child->box != NULL || child->waiting != NULL)
        return;
    free(child->output);
    free(child);
}

static void on_closed(uv_handle_t *handle) {
    struct child *child = handle->data;
    child->open_handles--;
    release(child);
}

static void close_handle(uv_handle_t *handle) {
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

/* ---- events ---- */

static void check_end(struct child *child) {
    if (child->ended || !child->exited ||
        (child->captures && !uv_is_closing((uv_handle_t *)&child->pipe)))
        return;
    child->ended = true;
    script_remove_resource(&child->resource);
    if (child->waiting != NULL)
        fiber_wake(child->waiting, LN_OK);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal) {
    struct child *child = process->data;
    child->exited = true;
    child->status = status;
    child->signal = signal;
    close_handle((uv_handle_t *)process);
    check_end(child);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    struct child *child = handle->data;
    (void)suggested;
    if (child->room - child->len < 4096 && child->room < OUTPUT_MAX) {
        size_t room = child->room == 0 ? 16384 : child->room * 2;
        char *grown = realloc(child->output, room);
        if (grown != NULL) {
            child->output = grown;
            child->room = room;
        }
    }
    *buf = uv_buf_init(child->output + child->len, (unsigned)(child->room - child->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct child *child = stream->data;
    (void)buf;
    if (n >= 0) {
        child->len += (size_t)n;
        return;
    }
    close_handle((uv_handle_t *)stream); /* its end, or no room */
    check_end(child);
}

static void on_script_close(struct script_resource *resource) {
    struct child *child = (struct child *)resource;
    if (!child->exited)
        uv_process_kill(&child->process, SIGTERM);
    if (child->captures)
        close_handle((uv_handle_t *)&child->pipe);
}

/* ---- starting ---- */

/* A list of strings as an array that ends with NULL. Pushes the strings and the array. */
static char **check_words(lua_State *L, int arg) {
    int count = (int)lua_rawlen(L, arg), first = lua_gettop(L) + 1;
    luaL_checkstack(L, count + LUA_MINSTACK, "too many words");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, arg, i);
    char **words = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof(*words), 0);
    for (int i = 0; i < count; i++) /* libuv does not write */
        words[i] = (char *)(uintptr_t)luaL_checkstring(L, first + i);
    words[count] = NULL;
    return words;
}

/* After a failure the handles close by themselves; the last one frees. */
static int spawn(uv_loop_t *loop, struct child *child, uv_process_options_t *options) {
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = 0},
        {.flags = UV_INHERIT_FD, .data.fd = 1},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    child->process.data = child->pipe.data = child;
    if (child->captures) {
        int rc = uv_pipe_init(loop, &child->pipe, 0);
        if (rc < 0)
            return rc;
        child->open_handles++;
        stdio[0] = (uv_stdio_container_t){.flags = UV_IGNORE};
        stdio[1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio[1].data.stream = (uv_stream_t *)&child->pipe;
    }
    options->stdio = stdio;
    options->stdio_count = 3;
    options->exit_cb = on_process_exit;
    cloexec_all();
    int rc = uv_spawn(loop, &child->process, options);
    child->open_handles++;
    if (rc < 0) {
        close_handle((uv_handle_t *)&child->process);
        if (child->captures)
            close_handle((uv_handle_t *)&child->pipe);
        return rc;
    }
    if (child->captures && uv_read_start((uv_stream_t *)&child->pipe, on_alloc, on_read) < 0)
        close_handle((uv_handle_t *)&child->pipe); /* no output, but an end */
    return LN_OK;
}

/*
 * core.process(words, capture) -> process | nil, err
 * What is captured is the standard output alone; start a shell with 2>&1 for both.
 */
static int core_process(lua_State *L) {
    check_open(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    uv_process_options_t options = {.args = check_words(L, 1)};
    options.file = options.args[0];
    bool captures = lua_toboolean(L, 2);

    struct child **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, PROCESS_TYPE);
    struct child *child = calloc(1, sizeof(*child));
    if (child == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    child->captures = captures;
    struct script *script = script_of(L);
    int rc = spawn(script_loop(script), child, &options);
    if (rc < 0) {
        release(child); /* or on_closed() does */
        return push_failure(L, rc, options.file);
    }
    child->resource.close = on_script_close;
    script_add_resource(script, &child->resource);
    child->box = box;
    *box = child;
    return 1;
}

/* core.program() -> path of the file that this process runs */
static int core_program(lua_State *L) {
    char path[4096];
    size_t len = sizeof(path);
    int rc = uv_exepath(path, &len);
    if (rc < 0)
        return push_failure(L, rc, NULL);
    lua_pushlstring(L, path, len);
    return 1;
}

/* ---- methods ---- */

static struct child *check_child(lua_State *L) {
    struct child *child = *(struct child **)luaL_checkudata(L, 1, PROCESS_TYPE);
    luaL_argcheck(L, child != NULL, 1, "the process is gone"); /* only in finalizers */
    return child;
}

static void leave_wait(struct fiber *fiber, void *area) {
    (void)fiber;
    struct child *child = *(struct child **)area;
    child->waiting = NULL;
    release(child);
}

static int push_end(lua_State *L, const struct child *child) {
    lua_pushinteger(L, child->signal != 0 ? 128 + child->signal : (int)child->status);
    lua_pushlstring(L, child->output != NULL ? child->output : "", child->len);
    return 2;
}

static int wait_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    struct fiber *fiber = wait_resumed(L);
    struct child *child = *(struct child **)fiber_wait_area(fiber);
    push_end(L, child);
    fiber_end_wait(fiber);
    return 2;
}

/* process:wait() -> exit status (128 + signal), output */
static int process_wait(lua_State *L) {
    struct child *child = check_child(L);
    struct fiber *fiber = check_fiber(L, "process:wait");
    if (child->ended)
        return push_end(L, child);
    if (child->waiting != NULL)
        return luaL_error(L, "another fiber waits for this process already");
    child->waiting = fiber;
    *(struct child **)fiber_begin_wait(fiber, leave_wait) = child;
    return wait_yield(L, wait_done);
}

/* process:kill(signal number) */
static int process_kill(lua_State *L) {
    struct child *child = check_child(L);
    if (!child->exited)
        uv_process_kill(&child->process, (int)luaL_checkinteger(L, 2));
    return 0;
}

static int process_gc(lua_State *L) {
    struct child **box = luaL_checkudata(L, 1, PROCESS_TYPE);
    struct child *child = *box;
    if (child == NULL)
        return 0;
    *box = NULL;
    child->box = NULL;
    release(child);
    return 0;
}

static const luaL_Reg methods[] = {
    {"wait", process_wait},
    {"kill", process_kill},
    {"__gc", process_gc},
    {NULL, NULL},
};

void bindings_process(lua_State *L) {
    add_class(L, PROCESS_TYPE, methods);
    lua_pushcfunction(L, core_process);
    lua_setfield(L, -2, "process");
    lua_pushcfunction(L, core_program);
    lua_setfield(L, -2, "program");
}
