/* SPDX-License-Identifier: Apache-2.0 */
#include "host/notifier.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/notify.h"
#include "host/base/status.h"
#include "host/link/link.h"
#include "host/service/service.h"

#define AGAIN_MS 50    /* after which a manager that was behind is told again */
#define SPARE_MS 10000 /* for what comes after the services, at the end */
#define STATUS_SIZE 256
#define LINES_SIZE 512

/* Only ever forward, but for RELOADING, which comes and goes. */
enum phase { PHASE_STARTING, PHASE_READY, PHASE_RELOADING, PHASE_STOPPING };

struct notifier {
    uv_timer_t feeding, again; /* again: while a datagram could not be sent */
    unsigned open;             /* of these two handles */
    struct notify *notify;
    const struct services *services;
    enum phase phase;           /* that was told last */
    bool complained;            /* in the log, that it cannot be told */
    char status[STATUS_SIZE];   /* that was told last */
    char unsent[2][LINES_SIZE]; /* "": none; a phase and a status that were not taken */
};

/* ---- sending ---- */

static void complain(struct notifier *notifier, int rc) {
    if (!notifier->complained)
        log_warn(NULL, "NOTIFY_SOCKET: who has started lunats cannot be told how it is: %s",
                 status_text(rc));
    notifier->complained = true;
}

/* False: later. */
static bool send_lines(struct notifier *notifier, const char *lines) {
    int rc = notify_send(notifier->notify, lines);
    if (rc < 0 && rc != UV_EAGAIN)
        complain(notifier, rc);
    return rc != UV_EAGAIN;
}

static void on_again(uv_timer_t *timer) {
    struct notifier *notifier = timer->data;
    for (size_t i = 0; i < 2; i++) {
        char *lines = notifier->unsent[i];
        if (*lines != '\0' && !send_lines(notifier, lines))
            return;
        *lines = '\0';
    }
    uv_timer_stop(timer);
}

/* What could not be sent is replaced by what comes later: the manager wants to know how it is,
 * and not how it has been. */
static void tell(struct notifier *notifier, bool phase, const char *lines) {
    char *unsent = notifier->unsent[!phase];
    if (*notifier->unsent[0] == '\0' && send_lines(notifier, lines)) {
        *unsent = '\0';
        return;
    }
    snprintf(unsent, LINES_SIZE, "%s", lines);
    if (!uv_is_active((uv_handle_t *)&notifier->again))
        uv_timer_start(&notifier->again, on_again, AGAIN_MS, AGAIN_MS);
}

static void tell_phase(struct notifier *notifier, enum phase phase, const char *lines) {
    notifier->phase = phase;
    tell(notifier, true, lines);
}

static void tell_reloading(struct notifier *notifier) {
    char lines[LINES_SIZE];
    snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             clock_precise() / 1000);
    tell_phase(notifier, PHASE_RELOADING, lines);
}

static void tell_status(struct notifier *notifier, const char *status) {
    char lines[LINES_SIZE];
    if (strcmp(status, notifier->status) == 0)
        return;
    snprintf(notifier->status, sizeof(notifier->status), "%s", status);
    snprintf(lines, sizeof(lines), "STATUS=%s", status);
    tell(notifier, false, lines);
}

/* ---- how the services are ---- */

/* What is not as it should be, or NULL. */
static const char *trouble_of(const struct service *service) {
    const struct link *link = service_link(service);
    switch (service_state(service)) {
    case SERVICE_LOADED:
    case SERVICE_CONNECTING:
        return "has no connection to NATS yet";
    case SERVICE_STARTING:
        return "its on_start hooks run";
    case SERVICE_SUBSCRIBING:
        return "waits for the server to confirm its listeners";
    case SERVICE_RUNNING:
        break;
    default:
        return "stops";
    }
    if (service_reloading(service))
        return "reloads";
    if (link != NULL && !link_is_connected(link))
        return "the connection to NATS is lost; it is tried again";
    return service_reloads(service).last_failed
               ? "the last reload failed, the version before runs"
               : NULL;
}

struct look {
    size_t services;
    bool run, reload; /* all of them; one of them */
    char status[STATUS_SIZE];
};

/* The first trouble, else the names. */
static struct look look_at(const struct services *services) {
    struct look look = {.run = true};
    char names[STATUS_SIZE - 16] = "";
    const struct service *service = NULL;
    while ((service = services_next(services, service)) != NULL) {
        const char *trouble = trouble_of(service);
        size_t len = strlen(names);
        snprintf(names + len, sizeof(names) - len, "%s%s", look.services++ > 0 ? ", " : "",
                 service_name(service));
        look.run &= service_state(service) >= SERVICE_RUNNING;
        look.reload |= service_reloading(service);
        if (trouble != NULL && look.status[0] == '\0')
            snprintf(look.status, sizeof(look.status), "%s: %s", service_name(service),
                     trouble);
    }
    look.run &= look.services > 0;
    if (look.services == 0)
        snprintf(look.status, sizeof(look.status), "no service runs");
    else if (look.status[0] == '\0')
        snprintf(look.status, sizeof(look.status), "serves %s", names);
    return look;
}

void notifier_look(struct notifier *notifier) {
    if (notifier == NULL || notifier->phase == PHASE_STOPPING)
        return;
    struct look look = look_at(notifier->services);
    if (notifier->phase == PHASE_READY && look.reload)
        tell_reloading(notifier);
    tell_status(notifier, look.status);
    if ((notifier->phase == PHASE_STARTING && look.run) ||
        (notifier->phase == PHASE_RELOADING && !look.reload))
        tell_phase(notifier, PHASE_READY, "READY=1");
}

void notifier_asked(struct notifier *notifier) {
    if (notifier == NULL || notifier->phase == PHASE_STARTING ||
        notifier->phase == PHASE_STOPPING)
        return;
    tell_reloading(notifier); /* again, perhaps: it is what comes after the question */
    notifier_look(notifier);
}

void notifier_stopping(struct notifier *notifier, uint64_t ms) {
    char lines[LINES_SIZE];
    if (notifier == NULL || notifier->phase == PHASE_STOPPING)
        return;
    snprintf(lines, sizeof(lines), "STOPPING=1\nSTATUS=stops\nEXTEND_TIMEOUT_USEC=%" PRIu64,
             (ms + SPARE_MS) * 1000);
    tell_phase(notifier, PHASE_STOPPING, lines);
}

/* ---- life ---- */

static void on_feeding(uv_timer_t *timer) {
    struct notifier *notifier = timer->data;
    send_lines(notifier, "WATCHDOG=1"); /* the next one comes before it bites */
}

/* Milliseconds after which the manager ends a process that is silent; 0: it waits for nothing.
 */
static uint64_t watchdog_ms(void) {
    const char *text = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    if (text == NULL || (whose != NULL && strtol(whose, NULL, 10) != (long)getpid()))
        return 0;
    unsigned long long ms = strtoull(text, NULL, 10) / 1000;
    return ms < UINT32_MAX ? ms : UINT32_MAX;
}

static void open_timer(struct notifier *notifier, uv_loop_t *loop, uv_timer_t *timer) {
    uv_timer_init(loop, timer); /* cannot fail */
    uv_unref((uv_handle_t *)timer);
    timer->data = notifier;
    notifier->open++;
}

struct notifier *notifier_open(uv_loop_t *loop, const struct services *services) {
    const char *name = getenv("NOTIFY_SOCKET");
    uint64_t bites_ms = watchdog_ms();
    struct notifier *notifier = NULL;
    if (name == NULL || name[0] == '\0')
        return NULL;
    notifier = calloc(1, sizeof(*notifier));
    int rc = notifier != NULL ? notify_open(&notifier->notify, name) : LN_ENOMEM;
    if (rc < 0) {
        log_warn(NULL, "NOTIFY_SOCKET=%s: who has started lunats cannot be told how it is: %s",
                 name, rc == LN_EINVAL ? "it has to be a path or @NAME" : status_text(rc));
        free(notifier);
        notifier = NULL;
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    if (notifier == NULL)
        return NULL;
    notifier->services = services;
    open_timer(notifier, loop, &notifier->feeding);
    open_timer(notifier, loop, &notifier->again);
    if (bites_ms > 1)
        uv_timer_start(&notifier->feeding, on_feeding, 0, bites_ms / 2);
    return notifier;
}

static void on_closed(uv_handle_t *handle) {
    struct notifier *notifier = handle->data;
    if (--notifier->open == 0)
        free(notifier);
}

void notifier_close(struct notifier *notifier) {
    if (notifier == NULL)
        return;
    notify_close(notifier->notify);
    uv_close((uv_handle_t *)&notifier->feeding, on_closed);
    uv_close((uv_handle_t *)&notifier->again, on_closed);
}
