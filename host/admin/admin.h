/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin port of the process: health, metrics, what an operator may change. It owns no
 * numbers; text is made when somebody asks for it. Its HTTP is that of the module "http", which
 * is loaded for it.
 */
#ifndef LUNATS_ADMIN_H
#define LUNATS_ADMIN_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "host/admin/pages.h"
#include "host/service/service.h"
#include "host/trace/exporter.h"

struct admin;
struct web;

struct admin_options {
    const char *address; /* see host/base/address.h; NULL: of a worker */
    int channel;         /* then this is its connection with its parent; taken on success */
    void (*on_orphaned)(void *owner); /* the parent is gone */
    void *orphan_owner;
    const char *token_file; /* NULL: nothing can be changed by this port */
    bool control;           /* what is changed needs this, and the token */
    /* Instead of the pages about services, which need what follows; NULL: those. */
    const struct admin_page_entry *pages;
    size_t page_count;
    /* The services of the process, one after the other: see services_next(). */
    struct service *(*next)(const void *owner, const struct service *after);
    const struct caches *caches; /* of the process; borrowed */
    /* Reloads one of them: see services_reload_one(). */
    int (*reload)(const void *owner, struct service *service, service_reload_fn on_done,
                  void *done_owner);
    struct web *const
        *web; /* where it stands what scripts serve by HTTP; NULL there: nothing */
    /* Looks for what is to be a service, too, before all are reloaded; NULL: not here. */
    void (*look)(const void *owner);
    /* Of the exporter of traces; false: there is none. */
    bool (*traces)(const void *owner, struct exporter_stats *out);
    const void *owner;
};

/*
 * Opens it. On success *out is the caller's, who hands it to admin_close(). Otherwise returns a
 * negative status with a reason for people in `error`: UV_ENOENT when the module is not
 * installed, LN_EINVAL for what the user has to change, a code of libuv.
 */
int admin_open(struct admin **out, uv_loop_t *loop, const struct admin_options *options,
               char *error, size_t size);

/* Where it is: "http://127.0.0.1:40123/" or "unix:/run/x". Borrowed. */
const char *admin_url(const struct admin *admin);
/* Other machines get there. */
bool admin_is_public(const struct admin *admin);

/* Answers what is under way, within half a second; on_closed() follows, from the loop. */
void admin_close(struct admin *admin, void (*on_closed)(void *owner), void *owner);

#endif
