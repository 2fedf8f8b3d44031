/* SPDX-License-Identifier: Apache-2.0 */
#include "host/admin/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "host/admin/channel.h"
#include "host/admin/internal.h"
#include "host/admin/lag.h"
#include "host/admin/loop.h"
#include "host/base/log_recent.h"
#include "host/base/module.h"
#include "host/base/status.h"
#include "host/service/service.h"

#define CLOSE_MS 250
#define MAX_HEADER ((size_t)16 << 10)
#define MAX_BODY ((size_t)16 << 10) /* of 256 clients, before it is known who they are */

/* ---- answers ---- */

void admin_answer_with(struct admin *admin, struct http_request *request, int status,
                       const char *type, const char *policy, struct text *text) {
    const struct http_header headers[] = {
        {"Content-Type", type},
        {"Content-Security-Policy", policy},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Vary", "Accept"},
    };
    if (text->failed) {
        text_free(text);
        status = 503;
    }
    struct http_response response = {
        .status = status,
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .body = text->bytes,
        .len = text->len,
    };
    admin->api->answer(request, &response);
}

void admin_answer(struct admin *admin, struct http_request *request, int status,
                  const char *type, struct text *text) {
    admin_answer_with(admin, request, status, type,
                      "default-src 'none'; frame-ancestors 'none'", text);
}

void admin_refuse(struct admin *admin, struct http_request *request, int status,
                  const char *why) {
    struct text text = {0};
    text_puts(&text, "{\"error\":");
    text_json(&text, why);
    text_puts(&text, "}\n");
    admin_answer(admin, request, status, "application/json", &text);
}

/* ---- what pages ask for ---- */

struct service *admin_next(const struct admin *admin, const struct service *after) {
    return admin->options.next(admin->options.owner, after);
}

void admin_label(const struct admin *admin, const struct service *service,
                 char out[ADMIN_LABEL_SIZE]) {
    const char *name = service_name(service);
    struct service *at = NULL;
    unsigned number = 1;
    while ((at = admin_next(admin, at)) != service)
        number += strcmp(service_name(at), name) == 0;
    size_t len = (size_t)snprintf(out, ADMIN_LABEL_SIZE - 16, "%s", name);
    if (number > 1)
        snprintf(out + len, 16, "#%u", number);
}

/* Decodes up to `len` bytes; false: too long, or no text. */
static bool decode(char *out, size_t size, const char *from, size_t len) {
    size_t at = 0;
    for (size_t i = 0; i < len; i++, at++) {
        unsigned byte = (unsigned char)from[i];
        if (byte == '%' && (i + 2 >= len || sscanf(from + i + 1, "%2x", &byte) != 1))
            return false;
        if (from[i] == '%')
            i += 2;
        if (at + 1 >= size || byte == 0)
            return false;
        out[at] = from[i] == '+' ? ' ' : (char)byte;
    }
    out[at] = '\0';
    return true;
}

bool admin_query(const struct http_request *request, const char *name, char *out, size_t size) {
    const char *at = request->query;
    size_t wanted = strlen(name);
    while (*at != '\0') {
        size_t len = strcspn(at, "&");
        size_t key = strcspn(at, "=&");
        if (key == wanted && memcmp(at, name, key) == 0)
            return key < len && decode(out, size, at + key + 1, len - key - 1);
        at += len + (at[len] == '&');
    }
    return false;
}

/* ---- the pages ---- */

static const struct admin_page_entry pages[] = {
    {"/", "GET", "this list, or in a browser a page with all of it", admin_index},
    {"/livez", "GET", "whether the process lives: restart it when this does not answer",
     page_live},
    {"/readyz", "GET", "whether it can work, and if not, why: 200 or 503, JSON", page_ready},
    {"/metrics", "GET", "everything that is counted, for Prometheus", page_metrics},
    {"/status.json", "GET", "what the page shows, JSON", page_status},
    {"/reload", "POST", "reloads ?service=NAME, or all; with --control and the token",
     page_reload},
    {"/log-level", "POST", "?service=NAME&level=LEVEL, or reset; the same", page_log_level},
    {"/healthz", "GET", "its checks, one by one; 200 as long as it lives, JSON", page_health},
};

#define PAGE_COUNT (sizeof(pages) / sizeof(pages[0]))

void admin_index(struct admin *admin, struct http_request *request) {
    const char *accept = admin->api->header(request, "Accept", NULL);
    struct text text = {0};
    if (accept != NULL && strstr(accept, "text/html") != NULL) {
        page_show(admin, request);
        return;
    }
    text_puts(&text, "lunats " LN_VERSION "\n\n");
    for (size_t i = 0; i < admin->page_count; i++)
        text_printf(&text, "%-4s %-12s %s\n", admin->pages[i].method, admin->pages[i].path,
                    admin->pages[i].about);
    admin_answer(admin, request, 200, "text/plain; charset=utf-8", &text);
}

static const struct admin_page_entry *find_page(const struct admin *admin, const char *path) {
    for (size_t i = 0; i < admin->page_count; i++)
        if (strcmp(admin->pages[i].path, path) == 0)
            return &admin->pages[i];
    return NULL;
}

static bool takes(const struct admin_page_entry *page, const char *method) {
    return strcmp(page->method, method) == 0 ||
           (strcmp(page->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void refuse_method(struct admin *admin, struct http_request *request,
                          const struct admin_page_entry *page) {
    const struct http_header allow = {"Allow", strcmp(page->method, "GET") == 0 ? "GET, HEAD"
                                                                                : page->method};
    const struct http_response response = {.status = 405, .headers = &allow, .header_count = 1};
    admin->api->answer(request, &response);
}

static void on_request(void *owner, struct http_request *request) {
    struct admin *admin = owner;
    const char *why;
    const struct admin_page_entry *page = find_page(admin, request->path);
    int status = admin->options.address != NULL /* a parent has looked itself */
                     ? guard_check(&admin->guard, admin->api, request, &why)
                     : 0;
    if (status != 0)
        admin_refuse(admin, request, status, why);
    else if (page == NULL)
        admin_refuse(admin, request, 404, "there is no such page; / lists those that are");
    else if (!takes(page, request->method))
        refuse_method(admin, request, page);
    else
        page->show(admin, request);
}

static void on_gone(void *owner, struct http_request *request) {
    (void)owner;
    const struct admin_wait *wait = request->data;
    if (wait != NULL)
        wait->give_up(request);
}

/* ---- life ---- */

static int open_port(struct admin *admin, uv_loop_t *loop, char *error, size_t size) {
    struct http_options http = {
        .max_header = MAX_HEADER,
        .max_body = MAX_BODY,
        .on_request = on_request,
        .on_gone = on_gone,
        .owner = admin,
    };
    struct guard *guard = &admin->guard;
    char text[ADDRESS_TEXT_SIZE];
    int rc = address_listen(&guard->address, &http.fd, error, size);
    if (rc < 0)
        return rc;
    rc = admin->api->open(&admin->http, loop, &http);
    if (rc < 0) {
        address_unlink(&guard->address);
        close(http.fd);
        snprintf(error, size, "cannot open the port: %s", status_text(rc));
        return rc;
    }
    address_host(&guard->address, guard->host);
    address_text(&guard->address, text);
    bool local = address_is_unix(&guard->address);
    snprintf(admin->url, sizeof(admin->url), "%s%s%s", local ? "" : "http://", text,
             local ? "" : "/");
    return LN_OK;
}

/* That of a worker. */
static int open_channel(struct admin *admin, uv_loop_t *loop, char *error, size_t size) {
    const struct http_options http = {
        .fd = admin->options.channel,
        .on_request = on_request,
        .on_gone = on_gone,
        .owner = admin,
    };
    admin->api = &channel_api;
    int rc = channel_api.open(&admin->http, loop, &http);
    if (rc == LN_OK)
        channel_on_orphaned(admin->http, admin->options.on_orphaned,
                            admin->options.orphan_owner);
    else
        snprintf(error, size, "cannot talk to the parent: %s", status_text(rc));
    return rc;
}

/* That of everybody else. */
static int open_module(struct admin *admin, uv_loop_t *loop, char *error, size_t size) {
    const struct module *module = NULL;
    const struct admin_options *options = &admin->options;
    const char *fault = address_parse(&admin->guard.address, options->address);
    int rc = fault == NULL ? LN_OK : LN_EINVAL;
    if (fault != NULL)
        snprintf(error, size, "%s %s", options->address, fault);
    if (rc == LN_OK && options->token_file != NULL)
        rc = guard_read_token(&admin->guard, options->token_file, error, size);
    if (rc == LN_OK)
        rc = module_load(&module, "http", error, size);
    if (rc < 0 || module == NULL)
        return rc;
    admin->api = module->api;
    return open_port(admin, loop, error, size);
}

/* What has to be there from the start, to be shown later. */
static int open_watches(struct admin *admin, uv_loop_t *loop) {
    int rc = log_recent_open(&admin->log);
    if (rc == LN_OK && (rc = loop_watch_open(&admin->loop_watch, loop)) < 0)
        log_recent_close(admin->log);
    return rc;
}

static void close_watches(struct admin *admin) {
    loop_watch_close(admin->loop_watch);
    log_recent_close(admin->log);
    lag_free(admin->lag_asked);
    lag_free(admin->lag);
}

int admin_open(struct admin **out, uv_loop_t *loop, const struct admin_options *options,
               char *error, size_t size) {
    struct timespec now;
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL || open_watches(admin, loop) < 0) {
        free(admin);
        snprintf(error, size, "%s", status_text(LN_ENOMEM));
        return LN_ENOMEM;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    admin->started_at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    admin->options = *options;
    admin->pages = options->pages != NULL ? options->pages : pages;
    admin->page_count = options->pages != NULL ? options->page_count : PAGE_COUNT;
    int rc = options->address != NULL ? open_module(admin, loop, error, size)
                                      : open_channel(admin, loop, error, size);
    if (rc < 0) {
        close_watches(admin);
        free(admin);
        return rc;
    }
    *out = admin;
    return LN_OK;
}

const char *admin_url(const struct admin *admin) {
    return admin->url;
}

const void *admin_owner(const struct admin *admin) {
    return admin->options.owner;
}

bool admin_controls(const struct admin *admin) {
    return admin->options.control;
}

bool admin_is_public(const struct admin *admin) {
    return !address_is_local(&admin->guard.address);
}

static void on_closed(void *owner) {
    struct admin *admin = owner;
    void (*tell)(void *) = admin->on_closed;
    void *whom = admin->close_owner;
    OPENSSL_cleanse(admin, sizeof(*admin));
    free(admin);
    tell(whom);
}

void admin_close(struct admin *admin, void (*fn)(void *owner), void *owner) {
    admin->on_closed = fn;
    admin->close_owner = owner;
    if (admin->options.address != NULL)
        address_unlink(&admin->guard.address);
    close_watches(admin);
    admin->api->close(admin->http, CLOSE_MS, on_closed, admin);
}
