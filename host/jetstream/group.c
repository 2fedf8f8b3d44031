/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jetstream/group.h"

#include <stdlib.h>
#include <string.h>

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '/' || c == '_' || c == '=' || c == '-';
}

bool js_group_name_ok(const char *name, size_t len) {
    if (len == 0 || len > JS_GROUP_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!name_char(name[i]))
            return false;
    return true;
}

struct js_pin *js_pin_new(void) {
    struct js_pin *pin = calloc(1, sizeof(*pin));
    return pin != NULL ? js_pin_hold(pin) : NULL;
}

struct js_pin *js_pin_hold(struct js_pin *pin) {
    pin->references++;
    return pin;
}

void js_pin_release(struct js_pin *pin) {
    if (pin != NULL && --pin->references == 0)
        free(pin);
}

void js_pin_learn(struct js_pin *pin, const struct message *msg, enum js_status status) {
    if (status == JS_UNPINNED)
        pin->id[0] = '\0';
    if (status != JS_DATA)
        return;
    const char *id = message_header(msg, "Nats-Pin-Id");
    size_t len = id != NULL ? strlen(id) : 0;
    /* A publisher may have stored anything under that name. */
    if (len < JS_PIN_SIZE && js_group_name_ok(id, len))
        memcpy(pin->id, id, len + 1);
}
