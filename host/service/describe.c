/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "host/base/log.h"
#include "host/script/memory.h"
#include "host/service/internal.h"
#include "host/service/reload.h"

/* Somebody has asked for it: also where the log is of warnings only. */
static enum log_level level(void) {
    enum log_level level = LOG_LEVEL_INFO;
    while (!log_enabled(level) && level < LOG_LEVEL_ERROR)
        level++;
    return level;
}

/* "memory: Lua 1.2 MiB, fibers 0.1 KiB, messages and buffers 96.0 KiB; 64.0 MiB of --memory" */
static void describe_memory(struct script *script, char *out, size_t size) {
    const struct memory *memory = script_memory(script);
    struct memory_use use;
    char parts[MEMORY_PARTS_TEXT], limit[MEMORY_SIZE_TEXT];
    memory_get_use(memory, &use);
    int len = snprintf(out, size, "memory: Lua %s", memory_parts(parts, &use));
    if (memory->limit != 0)
        snprintf(out + len, size - (size_t)len, "; of the %s of %s",
                 memory_size(limit, memory->limit), memory->limit_of);
}

static void describe(void *owner, struct script *script, const char *what) {
    const struct service *service = owner;
    char *text = NULL, used[MEMORY_TEXT];
    size_t len;
    describe_memory(script, used, sizeof(used));
    int rc = script_exchange(script, SCRIPT_DESCRIBE, NULL, 0, &text, &len);
    if (rc == LN_OK && text != NULL)
        log_printf(level(), service_name(service), "what runs%s:\n%s\n%s", what, text, used);
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

bool service_reloading(const struct service *service) {
    return reload_under_way(service_reload_state(service));
}

void service_changed(struct service *service) {
    const struct service_options *options = service_options(service);
    if (options->on_change != NULL)
        options->on_change(options->owner, service);
}
