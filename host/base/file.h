/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files that users name: keys, contexts, secrets. Some of them are pipes, as in
 * `--creds <(decrypt my.creds)`, and one that nobody writes to must not be waited for without
 * end.
 */
#ifndef LUNATS_BASE_FILE_H
#define LUNATS_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads all of a file into `out`, with a NUL behind it, and waits for what is not an ordinary
 * file for 5 s at most. Returns 0 or a negative errno: -EFBIG for what has no room, -ETIMEDOUT.
 * Then `out` may hold a part.
 */
int file_read(const char *path, char *out, size_t size, size_t *len);

/* What file_read() says, for people. Borrowed. */
const char *file_reason(int rc);

/* Whether it is an ordinary file, which can be read more than once. What cannot be looked at is
 * one: whoever opens it learns why. */
bool file_is_ordinary(const char *path);

#endif
