/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#define WAIT_MS 5000

/* Whether there is something to read, or an end. A pipe to which nobody has written yet reads
 * as empty, so it is asked first. */
static int wait_readable(int fd, uint64_t until) {
    uint64_t now = uv_hrtime() / 1000000;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    int rc = poll(&poller, 1, now < until ? (int)(until - now) : 0);
    if (rc > 0 || (rc < 0 && errno == EINTR))
        return 0;
    return rc == 0 ? -ETIMEDOUT : -errno;
}

static int read_all(int fd, char *out, size_t size, size_t *len) {
    uint64_t until = uv_hrtime() / 1000000 + WAIT_MS;
    bool wait = true;
    while (*len < size) {
        int rc = wait ? wait_readable(fd, until) : 0;
        if (rc < 0)
            return rc;
        ssize_t n = read(fd, out + *len, size - *len);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        wait = n < 0; /* whoever has written may be gone, which no poll() tells of */
        *len += n > 0 ? (size_t)n : 0;
    }
    return -EFBIG;
}

int file_read(const char *path, char *out, size_t size, size_t *len) {
    *len = 0;
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = read_all(fd, out, size - 1, len);
    out[*len] = '\0';
    close(fd);
    return rc;
}

const char *file_reason(int rc) {
    return rc == -ETIMEDOUT ? "it is no ordinary file, and its end did not come within 5 s"
                            : strerror(-rc);
}

bool file_is_ordinary(const char *path) {
    struct stat st;
    return stat(path, &st) < 0 || S_ISREG(st.st_mode);
}
