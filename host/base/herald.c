/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/herald.h"

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

#define AGAIN_MS 50    /* after which a manager that was behind is told again */
#define SPARE_MS 10000 /* for what comes after the services, at the end */
#define STATUS_SIZE 256
#define LINES_SIZE 512

struct herald {
    uv_timer_t feeding, again; /* again: while a datagram could not be sent */
    unsigned open;             /* of these two handles */
    struct notify *notify;
    enum herald_phase phase;    /* that was told last */
    bool complained;            /* in the log, that it cannot be told */
    char status[STATUS_SIZE];   /* that was told last */
    char unsent[2][LINES_SIZE]; /* "": none; a phase and a status that were not taken */
};

/* ---- sending ---- */

static void complain(struct herald *herald, int rc) {
    if (!herald->complained)
        log_warn(NULL, "NOTIFY_SOCKET: who has started lunats cannot be told how it is: %s",
                 status_text(rc));
    herald->complained = true;
}

/* False: later. */
static bool send_lines(struct herald *herald, const char *lines) {
    int rc = notify_send(herald->notify, lines);
    if (rc < 0 && rc != UV_EAGAIN)
        complain(herald, rc);
    return rc != UV_EAGAIN;
}

static void on_again(uv_timer_t *timer) {
    struct herald *herald = timer->data;
    for (size_t i = 0; i < 2; i++) {
        char *lines = herald->unsent[i];
        if (*lines != '\0' && !send_lines(herald, lines))
            return;
        *lines = '\0';
    }
    uv_timer_stop(timer);
}

/* What could not be sent is replaced by what comes later: the manager wants to know how it is,
 * and not how it has been. */
static void tell(struct herald *herald, bool phase, const char *lines) {
    char *unsent = herald->unsent[!phase];
    if (*herald->unsent[0] == '\0' && send_lines(herald, lines)) {
        *unsent = '\0';
        return;
    }
    snprintf(unsent, LINES_SIZE, "%s", lines);
    if (!uv_is_active((uv_handle_t *)&herald->again))
        uv_timer_start(&herald->again, on_again, AGAIN_MS, AGAIN_MS);
}

static void tell_phase(struct herald *herald, enum herald_phase phase, const char *lines) {
    herald->phase = phase;
    tell(herald, true, lines);
}

/* ---- what there is to tell ---- */

enum herald_phase herald_phase(const struct herald *herald) {
    return herald != NULL ? herald->phase : HERALD_STOPPING;
}

void herald_ready(struct herald *herald) {
    if (herald_phase(herald) != HERALD_STOPPING)
        tell_phase(herald, HERALD_READY, "READY=1");
}

void herald_reloading(struct herald *herald) {
    char lines[LINES_SIZE];
    if (herald_phase(herald) == HERALD_STOPPING)
        return;
    snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             clock_precise() / 1000);
    tell_phase(herald, HERALD_RELOADING, lines);
}

void herald_stopping(struct herald *herald, uint64_t ms) {
    char lines[LINES_SIZE];
    if (herald_phase(herald) == HERALD_STOPPING)
        return;
    snprintf(lines, sizeof(lines), "STOPPING=1\nSTATUS=stops\nEXTEND_TIMEOUT_USEC=%" PRIu64,
             (ms + SPARE_MS) * 1000);
    tell_phase(herald, HERALD_STOPPING, lines);
}

void herald_status(struct herald *herald, const char *status) {
    char lines[LINES_SIZE];
    if (herald_phase(herald) == HERALD_STOPPING || strcmp(status, herald->status) == 0)
        return;
    snprintf(herald->status, sizeof(herald->status), "%s", status);
    snprintf(lines, sizeof(lines), "STATUS=%s", herald->status);
    tell(herald, false, lines);
}

/* ---- life ---- */

static void on_feeding(uv_timer_t *timer) {
    struct herald *herald = timer->data;
    send_lines(herald, "WATCHDOG=1"); /* the next one comes before it bites */
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

static void open_timer(struct herald *herald, uv_loop_t *loop, uv_timer_t *timer) {
    uv_timer_init(loop, timer); /* cannot fail */
    uv_unref((uv_handle_t *)timer);
    timer->data = herald;
    herald->open++;
}

struct herald *herald_open(uv_loop_t *loop) {
    const char *name = getenv("NOTIFY_SOCKET");
    uint64_t bites_ms = watchdog_ms();
    struct herald *herald = NULL;
    if (name == NULL || name[0] == '\0')
        return NULL;
    herald = calloc(1, sizeof(*herald));
    int rc = herald != NULL ? notify_open(&herald->notify, name) : LN_ENOMEM;
    if (rc < 0) {
        log_warn(NULL, "NOTIFY_SOCKET=%s: who has started lunats cannot be told how it is: %s",
                 name, rc == LN_EINVAL ? "it has to be a path or @NAME" : status_text(rc));
        free(herald);
        herald = NULL;
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    if (herald == NULL)
        return NULL;
    open_timer(herald, loop, &herald->feeding);
    open_timer(herald, loop, &herald->again);
    if (bites_ms > 1)
        uv_timer_start(&herald->feeding, on_feeding, 0, bites_ms / 2);
    return herald;
}

static void on_closed(uv_handle_t *handle) {
    struct herald *herald = handle->data;
    if (--herald->open == 0)
        free(herald);
}

void herald_close(struct herald *herald) {
    if (herald == NULL)
        return;
    notify_close(herald->notify);
    uv_close((uv_handle_t *)&herald->feeding, on_closed);
    uv_close((uv_handle_t *)&herald->again, on_closed);
}
