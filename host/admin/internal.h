/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of each other. */
#ifndef LUNATS_ADMIN_INTERNAL_H
#define LUNATS_ADMIN_INTERNAL_H

#include "host/admin/admin.h"
#include "host/admin/pages.h"
#include "host/base/address.h"
#include "host/base/text.h"
#include "host/http/http.h"

#define TOKEN_MAX 256

/* Whom the port answers: guard.c. */
struct guard {
    struct address address;
    char host[ADDRESS_TEXT_SIZE]; /* of the address, without its port */
    char token[TOKEN_MAX + 1];    /* "": none */
};

struct admin {
    struct admin_options options;
    const struct admin_page_entry *pages;
    size_t page_count;
    const struct http_api *api;
    struct http *http;
    struct guard guard;
    struct loop_watch *loop_watch;
    struct log_recent *log;
    struct lag *lag, *lag_asked; /* of the page: known, and awaited */
    uint64_t lag_at;             /* uv_hrtime() of the last asking */
    double started_at;           /* Unix time */
    char url[ADDRESS_TEXT_SIZE + 16];
    void (*on_closed)(void *owner);
    void *close_owner;
};

/* ---- guard.c ---- */

/* Reads the file of the token. LN_OK, or LN_EINVAL with a reason in `error`. */
int guard_read_token(struct guard *guard, const char *path, char *error, size_t size);

/* 0: may go on, else the HTTP status to refuse with, and *why. */
int guard_check(const struct guard *guard, const struct http_api *api,
                const struct http_request *request, const char **why);

/* ---- caches.c ---- */

struct metrics;
/* The families of caches; nothing where there is none, or for NULL. */
void caches_write(struct metrics *metrics, const struct caches *caches);

/* ---- routes.c ---- */

/* The families of requests by HTTP; nothing where there is no route. */
void routes_write(struct metrics *metrics, const struct admin *admin);
/* For /status.json: ,"routes":[...] of a service, up to *left of them, and how many there are.
 */
void routes_put(struct text *text, const struct admin *admin, const struct service *service,
                size_t *left);

/* ---- admin.c ---- */

/* As admin_answer(), with a Content-Security-Policy of its own. */
void admin_answer_with(struct admin *admin, struct http_request *request, int status,
                       const char *type, const char *policy, struct text *text);
/* Of a service so many connections of app.connect are shown: scripts give them their names. */
#define ADMIN_CONNECTIONS 100

/* The first service is after NULL, and NULL is after the last. */
struct service *admin_next(const struct admin *admin, const struct service *after);

/* What a service is called in metrics: its name; two samples with the same labels would be an
 * error, so of services with the same name the second is "name#2". */
#define ADMIN_LABEL_SIZE 160
void admin_label(const struct admin *admin, const struct service *service,
                 char out[ADMIN_LABEL_SIZE]);

/* ---- health.c ---- */

/* Whether nothing speaks against it in /readyz. */
bool health_is_ready(struct service *service);

/* Writes "ready":...,"reasons":[...], and returns whether the process is ready. */
bool health_write(const struct admin *admin, struct text *text);

/* "starting", "running", "draining" or "stopping". */
const char *health_state(const struct service *service);

/* ---- board.c ---- */

/* Writes ,"services":[...] and how many there are. */
void board_write(struct admin *admin, struct text *text);

/* ---- pages ---- */

admin_page page_live, page_ready, page_health; /* health.c */
admin_page page_metrics;                       /* samples.c */
admin_page page_reload, page_log_level;        /* control.c */
admin_page page_show;                          /* page.c */
admin_page page_status;                        /* status.c */

#endif
