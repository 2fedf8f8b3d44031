/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of app.tcp wait for. */
#include "bindings/tcp/tcp.h"

#include <string.h>

#define DELIMITED_MAX ((size_t)1024 * 1024) /* of a line */

/* Whether what is wanted is there. */
static bool find(struct io *io) {
    size_t len;
    const char *bytes = tcp_bytes(io->box->socket, &len), *at;
    io->take = io->count;
    io->skip = 0;
    switch (io->kind) {
    case IO_COUNT:
        return len >= io->count;
    case IO_SOME:
        io->take = len < io->count ? len : io->count;
        return len > 0;
    default:
        if (len - io->seen < io->len)
            return false;
        at = memmem(bytes + io->seen, len - io->seen, io->text, io->len);
        if (at == NULL) {
            io->seen = len - io->len + 1;
            return false;
        }
        io->take = (size_t)(at - bytes);
        io->skip = io->len;
        if (io->is_line && io->take > 0 && at[-1] == '\r') {
            io->take--;
            io->skip++;
        }
        return true;
    }
}

/* No delimiter has come where one must be. */
static bool is_too_long(const struct io *io, bool found) {
    size_t len;
    tcp_bytes(io->box->socket, &len);
    return io->kind == IO_UNTIL && (found ? io->take : len) > DELIMITED_MAX;
}

bool io_is_read(struct io *io) {
    struct tcp_socket *socket = io->box->socket;
    size_t len;
    io->status = LN_ECLOSED;
    if (socket == NULL)
        return true;
    io->status = LN_OK;
    if (io->kind == IO_CONNECT)
        return tcp_state(socket) != TCP_CONNECTING;
    bool found = find(io);
    if (!found && !is_too_long(io, false)) {
        tcp_bytes(socket, &len);
        tcp_want(socket, io->kind == IO_COUNT ? io->count : len + 1);
        found = find(io); /* what was there has been decrypted */
    }
    if (is_too_long(io, found))
        io->status = LN_ETOOLARGE;
    else if (!found)
        io->status = tcp_status(socket);
    return found || io->status < 0;
}

bool io_is_written(struct io *io) {
    struct tcp_socket *socket = io->box->socket;
    if (io->done == io->len)
        return true;
    if (socket == NULL) {
        io->status = LN_ECLOSED;
        return true;
    }
    ssize_t sent = tcp_write(socket, io->text + io->done, io->len - io->done);
    if (sent < 0)
        io->status = (int)sent;
    else
        io->done += (size_t)sent;
    return sent < 0 || io->done == io->len;
}

/* Nothing that is woken runs before the end. */
void box_on_event(void *owner) {
    struct box *box = owner;
    struct scheduler *scheduler = box->home->scheduler;
    scheduler_hold(scheduler);
    if (box->reading != NULL && io_is_read(box->reading))
        fiber_wake(box->reading->fiber, LN_OK);
    if (box->writing != NULL && box->writing != box->reading && io_is_written(box->writing))
        fiber_wake(box->writing->fiber, LN_OK);
    scheduler_release(scheduler);
}

static void abandon(struct fiber *fiber, void *area) {
    (void)fiber;
    struct io *io = area;
    struct box *box = io->box;
    if (box->reading == io)
        box->reading = NULL;
    if (box->writing == io)
        box->writing = NULL;
    if (io->kind == IO_CONNECT && box->socket != NULL && tcp_state(box->socket) != TCP_OPEN)
        box_drop(box, false);
    else if (io->kind != IO_WRITE && box->socket != NULL)
        tcp_want(box->socket, 0);
}

int io_wait(lua_State *L, const struct io *call, struct fiber *fiber, lua_KFunction k) {
    struct box *box = call->box;
    struct io *io = fiber_begin_wait(fiber, abandon);
    *io = *call;
    io->fiber = fiber;
    if (io->kind != IO_WRITE)
        box->reading = io;
    if (io->kind == IO_WRITE || io->kind == IO_CONNECT)
        box->writing = io;
    if (box->timeout_ms != UINT64_MAX)
        fiber_deadline(fiber, box->timeout_ms);
    return wait_yield(L, k);
}

struct fiber *io_end_wait(lua_State *L, struct io *out) {
    struct fiber *fiber = wait_resumed(L);
    int status = fiber_wake_status(fiber);
    *out = *(struct io *)fiber_wait_area(fiber);
    if (status != LN_OK) /* late, or closed by another fiber */
        out->status = status;
    return fiber;
}
