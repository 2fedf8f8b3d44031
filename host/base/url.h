/* SPDX-License-Identifier: Apache-2.0 */
/* URLs as they may be shown: in logs, errors and events, without what is secret in them. */
#ifndef LUNATS_BASE_URL_H
#define LUNATS_BASE_URL_H

#include <stddef.h>

/*
 * Writes the URL without user, password and token, cut to `size`, and returns `out`. Whatever
 * stands before the last "@" counts as secret, also in text that is no URL.
 */
const char *url_shown(const char *url, char *out, size_t size);

#endif
