/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind {
    UNKNOWN, /* not looked at yet */
    FILE_,   /* a file or device: never waits long */
    OWN,     /* a pipe or terminal, opened again without blocking */
    SOCKET,  /* asked not to block with each call */
    SHARED,  /* a pipe that we may not open: looked at before small writes */
};

struct channel {
    enum kind kind;
    int fd;
    char *kept; /* owned; NULL: nothing is kept */
    size_t start, end, size;
    uint64_t lost;
};

static struct channel channels[] = {
    [OUTPUT_STDOUT] = {.fd = STDOUT_FILENO},
    [OUTPUT_STDERR] = {.fd = STDERR_FILENO},
};

static bool never_wait;

static struct {
    void (*on_kept)(void *owner);
    void *owner;
} listener;

/* ---- writing without waiting ---- */

static int open_again(int fd) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void look_at(struct channel *channel) {
    struct stat st;
    channel->kind = FILE_;
    if (fstat(channel->fd, &st) < 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        channel->kind = SOCKET;
    } else if (S_ISFIFO(st.st_mode) || isatty(channel->fd)) {
        int own = open_again(channel->fd);
        channel->kind = own >= 0 ? OWN : SHARED;
        if (own >= 0)
            channel->fd = own;
    }
}

/* So much goes into a pipe at once or not at all, if it takes anything. */
static ssize_t write_shared(int fd, const char *data, size_t len) {
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (poll(&ready, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, data, len < PIPE_BUF ? len : PIPE_BUF);
}

static ssize_t write_some(struct channel *channel, const char *data, size_t len) {
    switch (channel->kind) {
    case SOCKET:
        return send(channel->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SHARED:
        return write_shared(channel->fd, data, len);
    case UNKNOWN:
    case FILE_:
    case OWN:
        break;
    }
    return write(channel->fd, data, len);
}

/* Returns the number of bytes that were taken; -1: nobody will ever read them. */
static ssize_t write_all(struct channel *channel, const char *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = write_some(channel, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return -1; /* EPIPE, ENOSPC, ... */
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* ---- what is kept ---- */

static void forget(struct channel *channel) {
    free(channel->kept);
    channel->kept = NULL;
    channel->start = channel->end = channel->size = 0;
}

/* Makes room for `len` bytes behind those that are kept. */
static bool make_room(struct channel *channel, size_t len) {
    size_t have = channel->end - channel->start;
    if (have + len > OUTPUT_KEPT)
        return false;
    if (channel->end + len <= channel->size)
        return true;
    if (channel->start > 0)
        memmove(channel->kept, channel->kept + channel->start, have);
    channel->start = 0;
    channel->end = have;
    if (have + len <= channel->size)
        return true;
    size_t size = channel->size > 0 ? channel->size * 2 : 4096;
    while (size < have + len)
        size *= 2;
    char *kept = realloc(channel->kept, size);
    if (kept == NULL)
        return false;
    channel->kept = kept;
    channel->size = size;
    return true;
}

static bool keep(struct channel *channel, const char *data, size_t len) {
    bool first = channel->end == channel->start;
    if (!make_room(channel, len))
        return false;
    memcpy(channel->kept + channel->end, data, len);
    channel->end += len;
    if (first && listener.on_kept != NULL)
        listener.on_kept(listener.owner);
    return true;
}

static bool drain(struct channel *channel) {
    if (channel->end == channel->start)
        return true;
    ssize_t n =
        write_all(channel, channel->kept + channel->start, channel->end - channel->start);
    if (n < 0) {
        channel->lost++; /* how many lines it was nobody knows */
        forget(channel);
        return true;
    }
    channel->start += (size_t)n;
    if (channel->start < channel->end)
        return false;
    forget(channel);
    return true;
}

/* ---- public ---- */

void output_never_wait(void) {
    never_wait = true;
}

bool output_waits(void) {
    return !never_wait;
}

bool output_write(enum output output, const char *data, size_t len) {
    struct channel *channel = &channels[output];
    int saved = errno;
    if (channel->kind == UNKNOWN && never_wait)
        look_at(channel);
    ssize_t n = drain(channel) ? write_all(channel, data, len) : 0;
    bool ok = n >= 0 && ((size_t)n == len || keep(channel, data + n, len - (size_t)n));
    if (!ok)
        channel->lost++;
    errno = saved;
    return ok;
}

void output_aside(const char *data, size_t len) {
    struct channel own = {.fd = STDERR_FILENO};
    look_at(&own);
    while (write_some(&own, data, len) < 0 && errno == EINTR)
        continue;
    if (own.kind == OWN)
        close(own.fd);
}

bool output_drain(enum output output) {
    return drain(&channels[output]);
}

uint64_t output_take_lost(enum output output) {
    uint64_t lost = channels[output].lost;
    channels[output].lost = 0;
    return lost;
}

bool output_flush(int ms) {
    bool all = true;
    for (int i = 0; i < 2; i++) {
        struct channel *channel = &channels[i];
        struct pollfd ready = {.fd = channel->fd, .events = POLLOUT};
        while (!drain(channel) && poll(&ready, 1, ms) > 0)
            continue;
        all = drain(channel) && all;
    }
    return all;
}

void output_on_kept(void (*on_kept)(void *owner), void *owner) {
    listener.on_kept = on_kept;
    listener.owner = owner;
}

void output_reset(enum output output) {
    struct channel *channel = &channels[output];
    if (channel->kind == OWN)
        close(channel->fd);
    forget(channel);
    channel->kind = UNKNOWN;
    channel->fd = output == OUTPUT_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
}
