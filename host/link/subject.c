/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may go on the wire. A subject with CR LF would inject a protocol line, one with a blank
 * shifts the reply, `*` is stored literally.
 */
#include <string.h>

#include "host/link/link.h"

static bool plain(unsigned char c) {
    return c > 0x20 && c != 0x7f;
}

/* Walks over the tokens; `wildcards` allows `*` tokens and a final `>`. */
static bool tokens_ok(const char *subject, size_t len, bool wildcards) {
    size_t start = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && subject[i] != '.') {
            if (!plain((unsigned char)subject[i]))
                return false;
            continue;
        }
        size_t width = i - start;
        if (width == 0)
            return false;
        if (width == 1 && subject[start] == '*' && !wildcards)
            return false;
        if (width == 1 && subject[start] == '>' && (!wildcards || i < len))
            return false;
        start = i + 1;
    }
    return true;
}

bool link_subject_ok(const char *subject, size_t len) {
    return subject != NULL && tokens_ok(subject, len, false);
}

bool link_pattern_ok(const char *subject, size_t len) {
    return subject != NULL && tokens_ok(subject, len, true);
}

bool link_pattern_covers(const char *pattern, const char *subject) {
    for (;;) {
        size_t width = strcspn(pattern, "."), len = strcspn(subject, ".");
        if (width == 1 && *pattern == '>')
            return true;
        bool any = width == 1 && *pattern == '*';
        if (!any && (width != len || memcmp(pattern, subject, len) != 0))
            return false;
        if (pattern[width] == '\0' || subject[len] == '\0')
            return pattern[width] == subject[len];
        pattern += width + 1;
        subject += len + 1;
    }
}

bool link_queue_ok(const char *queue) {
    size_t len = strlen(queue);
    for (size_t i = 0; i < len; i++)
        if (!plain((unsigned char)queue[i]))
            return false;
    return len > 0;
}

bool link_header_name_ok(const char *name, size_t len) {
    if (name == NULL || len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= 0x20 || c >= 0x7f || c == ':')
            return false;
    }
    return true;
}

bool link_header_value_ok(const char *value, size_t len) {
    if (value == NULL)
        return false;
    for (size_t i = 0; i < len; i++)
        if (value[i] == '\r' || value[i] == '\n' || value[i] == '\0')
            return false;
    return true;
}

bool link_out_ok(const struct link_out *out, const char *reply) {
    if (out->subject == NULL || !link_subject_ok(out->subject, strlen(out->subject)) ||
        (reply != NULL && !link_subject_ok(reply, strlen(reply))))
        return false;
    for (size_t i = 0; i < out->header_count; i++) {
        const struct link_header *header = &out->headers[i];
        if (header->name == NULL || header->value == NULL ||
            !link_header_name_ok(header->name, strlen(header->name)) ||
            !link_header_value_ok(header->value, strlen(header->value)))
            return false;
    }
    return true;
}
