/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/faults.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uv.h>

static void drop(struct faults *faults, struct fault *fault) {
    list_remove(&fault->node);
    faults->count--;
    free(fault);
}

/* The end of what may differ at this place of a text: a number that does not follow a colon, or
 * the id. */
static const char *skip(const char *text, const char *at, const char *id) {
    size_t len = strlen(id);
    if (len > 0 && strncmp(at, id, len) == 0)
        return at + len;
    if (at > text && (at[-1] == ':' || isdigit((unsigned char)at[-1])))
        return at;
    return at + strspn(at, "0123456789");
}

static bool is_same(const struct fault *fault, const char *text, const char *id) {
    const char *a = fault->text, *b = text;
    for (;; a++, b++) {
        const char *a_end = skip(fault->text, a, fault->id), *b_end = skip(text, b, id);
        if ((a_end == a) != (b_end == b))
            return false;
        a = a_end;
        b = b_end;
        if (*a != *b)
            return false;
        if (*a == '\0')
            return true;
    }
}

static struct fault *find(const struct faults *faults, const char *text, const char *id) {
    list_each (struct fault, at, &faults->list, node)
        if (is_same(at, text, id))
            return at;
    return NULL;
}

static double present(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Microseconds, which a double can hold, as JavaScript needs it; also between services the
 * later one has the higher number. */
static uint64_t next_number(struct faults *faults) {
    uint64_t now = uv_hrtime() / 1000;
    faults->number = now > faults->number ? now : faults->number + 1;
    return faults->number;
}

void faults_add(struct faults *faults, const char *text, const char *id) {
    size_t len = strnlen(text, FAULT_TEXT_MAX);
    struct fault *fault = calloc(1, sizeof(*fault) + len + 1);
    if (fault == NULL)
        return;
    memcpy(fault->text, text, len);
    snprintf(fault->id, sizeof(fault->id), "%s", id != NULL ? id : "");
    fault->number = fault->first = next_number(faults);
    fault->last_at = fault->first_at = present();
    struct fault *before = find(faults, fault->text, fault->id);
    if (before != NULL) {
        fault->first = before->first;
        fault->first_at = before->first_at;
        fault->count = before->count;
        drop(faults, before);
    } else if (faults->count == FAULTS_MAX) {
        drop(faults, list_item(list_first(&faults->list), struct fault, node));
    }
    fault->count++;
    list_push_back(&faults->list, &fault->node);
    faults->count++;
}

void faults_free(struct faults *faults) {
    list_each (struct fault, at, &faults->list, node)
        drop(faults, at);
}
