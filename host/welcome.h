/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What somebody sees who has started `lunats dev` in a terminal, once all services run: who
 * they are, what they listen to and serve, where the server and the page are, and what to try.
 */
#ifndef LUNATS_WELCOME_H
#define LUNATS_WELCOME_H

#include <stdbool.h>

#include "host/services.h"
#include "host/web/web.h"

/* All are borrowed, and NULL where there is none. */
struct welcome {
    const char *server; /* with user and password: for the programs of this user */
    const char *page;   /* of the admin port */
    const char *http;   /* where routes are served */
    const struct web *web;
};

/* Writes it to standard error, if all services run. False: not yet. */
bool welcome_print(const struct welcome *welcome, const struct services *services);

#endif
