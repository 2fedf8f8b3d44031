/* SPDX-License-Identifier: Apache-2.0 */
#include "host/welcome.h"

#include <stdio.h>
#include <string.h>

#include "host/base/output.h"
#include "host/base/text.h"
#include "host/service/intake.h"
#include "host/service/service.h"

#define SHOWN 6 /* subjects and routes of a service */

static bool all_run(const struct services *services) {
    const struct service *service = NULL;
    size_t count = 0;
    while ((service = services_next(services, service)) != NULL) {
        if (service_state(service) != SERVICE_RUNNING)
            return false;
        count++;
    }
    return count > 0;
}

static struct listener *next_listener(const struct service *service, struct listener *after) {
    return listener_next(service_intake(service), service_script(service), after);
}

static void put_line(struct text *text, const char *name, const char *value) {
    if (value != NULL)
        text_printf(text, "  %-12s %s\n", name, value);
}

static size_t put_subjects(struct text *text, const struct service *service) {
    struct listener *listener = NULL;
    size_t count = 0;
    while ((listener = next_listener(service, listener)) != NULL) {
        if (count++ < SHOWN)
            text_printf(text, "%s%s", count > 1 ? ", " : "",
                        listener_options(listener)->subject);
    }
    return count;
}

static size_t put_routes(struct text *text, const struct web *web,
                         const struct service *service, size_t count) {
    struct web_route *route = NULL;
    while ((route = web_route_next(web, route)) != NULL) {
        const struct web_route_options *options = web_route_options(route);
        if (web_route_script(route) == service_script(service) && count++ < SHOWN)
            text_printf(text, "%s%s%s%.*s", count > 1 ? ", " : "",
                        options->method != NULL ? options->method : "",
                        options->method != NULL ? " " : "", (int)options->path_len,
                        options->path);
    }
    return count;
}

static void put_service(struct text *text, const struct web *web,
                        const struct service *service) {
    text_printf(text, "  %-12s ", service_name(service));
    size_t count = put_routes(text, web, service, put_subjects(text, service));
    if (count > SHOWN)
        text_printf(text, " and %zu more", count - SHOWN);
    text_puts(text, count == 0 ? "listens to nothing\n" : "\n");
}

/* A subject that can be asked; NULL: there is none. */
static const char *find_subject(const struct services *services) {
    const struct service *service = NULL;
    while ((service = services_next(services, service)) != NULL) {
        struct listener *listener = NULL;
        while ((listener = next_listener(service, listener)) != NULL) {
            const char *subject = listener_options(listener)->subject;
            if (strpbrk(subject, "*>") == NULL)
                return subject;
        }
    }
    return NULL;
}

bool welcome_print(const struct welcome *welcome, const struct services *services) {
    const struct service *service = NULL;
    const char *subject = find_subject(services);
    struct text text = {0};
    if (!all_run(services))
        return false;
    text_puts(&text, "\n");
    while ((service = services_next(services, service)) != NULL)
        put_service(&text, welcome->web, service);
    put_line(&text, "http", welcome->http);
    put_line(&text, "page", welcome->page);
    if (welcome->server != NULL)
        text_printf(&text, "  %-12s export NATS_URL=%s\n", "server", welcome->server);
    if (subject != NULL)
        text_printf(&text, "  %-12s lunats request %s '{}'\n", "try", subject);
    put_line(&text, "", "save a file, and its service is replaced; Ctrl-C ends all");
    text_puts(&text, "\n");
    if (!text.failed)
        output_write(OUTPUT_STDERR, text.bytes, text.len);
    text_free(&text);
    return true;
}
