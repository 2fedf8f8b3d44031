/* SPDX-License-Identifier: Apache-2.0 */
/* What a test has logged. */
#ifndef LUNATS_SPEC_LOG_CAPTURE_H
#define LUNATS_SPEC_LOG_CAPTURE_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/log.h"
#include "host/base/output.h"

/* stderr goes into a pipe between capture_begin() and capture_end(). */
static int real_stderr, reader;
static char captured[65536];

static inline void capture_begin(void) {
    int ends[2];
    if (pipe(ends) < 0)
        abort();
    real_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    output_reset(OUTPUT_STDERR);
    reader = ends[0];
    fcntl(reader, F_SETFL, O_NONBLOCK);
}

static size_t captured_len;

static inline const char *capture_end(void) {
    ssize_t n = read(reader, captured, sizeof(captured) - 1);
    captured_len = n > 0 ? (size_t)n : 0;
    captured[captured_len] = '\0';
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(reader);
    output_reset(OUTPUT_STDERR);
    return captured;
}

/* How often the text is in it. */
static inline int lines_with(const char *out, const char *text) {
    int count = 0;
    for (; (out = strstr(out, text)) != NULL; out++)
        count++;
    return count;
}

#endif
