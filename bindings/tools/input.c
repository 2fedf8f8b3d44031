/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.input(): the standard input for commands, read without keeping the loop waiting.
 *
 * libuv's own streams would make the descriptor non-blocking, for whoever shares it as well. So
 * an epoll instance of ours looks at it, and libuv looks at that.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bindings/bindings.h"
#include "bindings/lib/lib.h"

#define INPUT_TYPE "lunats.input"

struct input {
    struct script_resource resource; /* first: on_script_close() casts */
    uv_poll_t poll;                  /* of epoll_fd */
    int epoll_fd;                    /* owned; -1: files and /dev/null never wait */
    struct input **box;              /* the userdata; NULL: gone */
    struct fiber *waiting;           /* in read() */
};

/* ---- memory ---- */

static void on_closed(uv_handle_t *handle) {
    struct input *input = handle->data;
    close(input->epoll_fd);
    free(input);
}

static void close_input(struct input *input) {
    if (input->box != NULL)
        *input->box = NULL;
    input->box = NULL;
    if (input->epoll_fd >= 0)
        uv_close((uv_handle_t *)&input->poll, on_closed);
    else
        free(input);
}

static void on_script_close(struct script_resource *resource) {
    close_input((struct input *)resource);
}

static int input_gc(lua_State *L) {
    struct input **box = luaL_checkudata(L, 1, INPUT_TYPE);
    if (*box == NULL)
        return 0;
    script_remove_resource(&(*box)->resource);
    close_input(*box);
    return 0;
}

/* ---- opening ---- */

static int open_epoll(uv_loop_t *loop, struct input *input) {
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    int rc = epoll_ctl(fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0 ? errno : 0;
    if (rc == 0)
        rc = -uv_poll_init(loop, &input->poll, fd);
    if (rc != 0) {
        close(fd);
        return rc == EPERM ? LN_OK : uv_translate_sys_error(rc);
    }
    input->poll.data = input;
    input->epoll_fd = fd;
    return LN_OK;
}

/* core.input() -> input | nil, err */
static int core_input(lua_State *L) {
    check_open(L);
    struct input **box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = NULL;
    luaL_setmetatable(L, INPUT_TYPE);
    struct input *input = calloc(1, sizeof(*input));
    if (input == NULL)
        return push_failure(L, LN_ENOMEM, NULL);
    struct script *script = script_of(L);
    input->epoll_fd = -1;
    int rc = open_epoll(script_loop(script), input);
    if (rc < 0) {
        free(input);
        return push_failure(L, rc, "standard input");
    }
    input->resource.close = on_script_close;
    script_add_resource(script, &input->resource);
    input->box = box;
    *box = input;
    return 1;
}

/* ---- reading ---- */

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct input *input = poll->data;
    (void)status, (void)events; /* what is wrong, read() says */
    uv_poll_stop(poll);
    if (input->waiting != NULL)
        fiber_wake(input->waiting, LN_OK);
}

static void leave_wait(struct fiber *fiber, void *area) {
    (void)fiber;
    struct input *input = *(struct input **)area;
    uv_poll_stop(&input->poll);
    input->waiting = NULL;
}

static bool is_ready(const struct input *input) {
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    return input->epoll_fd < 0 || poll(&ready, 1, 0) != 0;
}

static int push_piece(lua_State *L) {
    char piece[65536];
    ssize_t n;
    do {
        n = read(STDIN_FILENO, piece, sizeof(piece));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return push_failure(L, uv_translate_sys_error(errno), "standard input");
    if (n == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, piece, (size_t)n);
    return 1;
}

static int read_done(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    fiber_end_wait(wait_resumed(L));
    return push_piece(L);
}

/* input:read() -> the next bytes (of a terminal: a line) | nil at the end | nil, err */
static int input_read(lua_State *L) {
    struct input *input = *(struct input **)luaL_checkudata(L, 1, INPUT_TYPE);
    if (input == NULL)
        return luaL_error(L, "this input was closed");
    struct fiber *fiber = check_fiber(L, "input:read");
    if (input->waiting != NULL)
        return luaL_error(L, "another fiber reads already");
    if (is_ready(input))
        return push_piece(L);
    int rc = uv_poll_start(&input->poll, UV_READABLE, on_readable);
    if (rc < 0)
        return push_failure(L, rc, "standard input");
    input->waiting = fiber;
    *(struct input **)fiber_begin_wait(fiber, leave_wait) = input;
    return wait_yield(L, read_done);
}

/* core.is_terminal(0 | 1 | 2) -> boolean: of the standard input, output or error */
static int core_is_terminal(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

void bindings_input(lua_State *L) {
    static const luaL_Reg methods[] = {{"read", input_read}, {"__gc", input_gc}, {NULL, NULL}};
    add_class(L, INPUT_TYPE, methods);
    lua_pushcfunction(L, core_input);
    lua_setfield(L, -2, "input");
    lua_pushcfunction(L, core_is_terminal);
    lua_setfield(L, -2, "is_terminal");
}
