/* SPDX-License-Identifier: Apache-2.0 */
/* What a page of the admin port is made of, for the port of services and for that of a parent
 * of workers. */
#ifndef LUNATS_ADMIN_PAGES_H
#define LUNATS_ADMIN_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/text.h"
#include "host/http/http.h"

struct admin;

/* Answers its request, at once or later. */
typedef void admin_page(struct admin *admin, struct http_request *request);

struct admin_page_entry {
    const char *path, *method; /* "GET" includes HEAD */
    const char *about;         /* for the list of pages */
    admin_page *show;
};

/* Answers with this text, which is taken. */
void admin_answer(struct admin *admin, struct http_request *request, int status,
                  const char *type, struct text *text);
/* The same with {"error": why}. */
void admin_refuse(struct admin *admin, struct http_request *request, int status,
                  const char *why);

/* The value of a name in the query, percent-decoded. False: it is not there, or too long. */
bool admin_query(const struct http_request *request, const char *name, char *out, size_t size);

/* `data` of a request that is answered later: told when the port ends before. */
struct admin_wait {
    void (*give_up)(struct http_request *request);
};

/* The list of pages as text, or in a browser the page with all of it. */
admin_page admin_index;

/* `owner` of the options of the port. */
const void *admin_owner(const struct admin *admin);
/* Whether what the port shows may be changed by it. */
bool admin_controls(const struct admin *admin);

#endif
