/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/warnings.h"

#include <stdio.h>
#include <string.h>

#include "host/base/container_of.h"

/* A warning for which less room is left is not begun. */
#define ROOM_MIN 80

static void tell(struct warnings *warnings, const char *text) {
    if (warnings->on_warning != NULL)
        warnings->on_warning(warnings->owner, text);
}

/* What is told may run Lua, which may warn: that comes behind the others. */
static void tell_all(struct warnings *warnings) {
    for (size_t at = 0; at < warnings->begun; at += strlen(warnings->text + at) + 1)
        tell(warnings, warnings->text + at);
    warnings->len -= warnings->begun;
    memmove(warnings->text, warnings->text + warnings->begun, warnings->len);
    warnings->begun = 0;
    char line[64];
    snprintf(line, sizeof(line), "%zu more warnings were lost", warnings->lost);
    if (warnings->lost > 0)
        tell(warnings, line);
    warnings->lost = 0;
}

static void on_turn(struct clock_timer *timer) {
    tell_all(container_of(timer, struct warnings, turn));
}

void warnings_open(struct warnings *warnings, struct clock *clock,
                   void (*on_warning)(void *owner, const char *text), void *owner) {
    memset(warnings, 0, sizeof(*warnings));
    warnings->clock = clock;
    warnings->on_warning = on_warning;
    warnings->owner = owner;
    warnings->turn.fire = on_turn;
}

void warnings_close(struct warnings *warnings) {
    if (warnings->clock == NULL)
        return;
    clock_disarm(warnings->clock, &warnings->turn);
    tell_all(warnings);
    clock_disarm(warnings->clock, &warnings->turn);
}

static void begin(struct warnings *warnings) {
    warnings->unfinished = true;
    bool full = sizeof(warnings->text) - warnings->len < ROOM_MIN;
    if (full && !warnings->off)
        warnings->lost++;
    warnings->losing = full || warnings->off; /* its parts are no control messages */
}

/* The end of one that is too long is cut. */
static void add(struct warnings *warnings, const char *message) {
    size_t room = sizeof(warnings->text) - warnings->len - 1, len = strlen(message);
    if (len > room)
        len = room;
    memcpy(warnings->text + warnings->len, message, len);
    warnings->len += len;
}

static void end(struct warnings *warnings) {
    warnings->unfinished = false;
    if (!warnings->losing) {
        warnings->text[warnings->len++] = '\0';
        warnings->begun = warnings->len;
    }
    if ((warnings->begun > 0 || warnings->lost > 0) && !clock_armed(&warnings->turn))
        clock_arm(warnings->clock, &warnings->turn, 0);
}

void warnings_take(void *ud, const char *message, int to_be_continued) {
    struct warnings *warnings = ud;
    if (!warnings->unfinished && !to_be_continued && message[0] == '@') {
        if (strcmp(message, "@on") == 0 || strcmp(message, "@off") == 0)
            warnings->off = message[2] == 'f';
        return;
    }
    if (!warnings->unfinished)
        begin(warnings);
    if (!warnings->losing)
        add(warnings, message);
    if (!to_be_continued)
        end(warnings);
}
