/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "host/base/log.h"
#include "host/service/internal.h"
#include "host/service/reload.h"

/* Somebody has asked for it: also where the log is of warnings only. */
static enum log_level level(void) {
    enum log_level level = LOG_LEVEL_INFO;
    while (!log_enabled(level) && level < LOG_LEVEL_ERROR)
        level++;
    return level;
}

static void describe(void *owner, struct script *script, const char *what) {
    const struct service *service = owner;
    char *text = NULL;
    size_t len;
    int rc = script_exchange(script, SCRIPT_DESCRIBE, NULL, 0, &text, &len);
    if (rc == LN_OK && text != NULL)
        log_printf(level(), service_name(service), "what runs%s:\n%s", what, text);
    else
        log_warn(service_name(service), "what runs%s cannot be told: %s", what,
                 text != NULL ? text : status_text(rc));
    free(text);
}

void service_describe(const struct service *service) {
    void *owner = (void *)(uintptr_t)service;
    if (service_script(service) != NULL)
        describe(owner, service_script(service), "");
    if (service_reload_state(service) != NULL)
        reload_each(service_reload_state(service), describe, owner);
}

struct reload_counts service_reloads(const struct service *service) {
    return reload_count(service_reload_state(service));
}
