/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/key.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "host/link/message.h"

/* Subjects have no more than that. */
#define TOKEN_MAX 32768

bool message_key_parse(const char *text, struct message_key *out) {
    static const char subject[] = "subject", header[] = "header:";
    *out = (struct message_key){.kind = MESSAGE_KEY_SUBJECT};
    if (strcmp(text, subject) == 0)
        return true;
    if (strncmp(text, header, sizeof(header) - 1) == 0) {
        const char *name = text + sizeof(header) - 1;
        size_t len = strlen(name);
        out->kind = MESSAGE_KEY_HEADER_VALUE;
        if (len == 0 || len >= sizeof(out->header))
            return false;
        memcpy(out->header, name, len + 1);
        return true;
    }
    if (strncmp(text, subject, sizeof(subject) - 1) != 0 || text[sizeof(subject) - 1] != ':')
        return false;
    const char *digits = text + sizeof(subject);
    char *end;
    long token = isdigit((unsigned char)*digits) ? strtol(digits, &end, 10) : 0;
    if (token < 1 || token > TOKEN_MAX || *end != '\0')
        return false;
    out->kind = MESSAGE_KEY_TOKEN;
    out->token = (unsigned)token;
    return true;
}

static const char *token_of(const char *subject, unsigned number, size_t *len) {
    for (unsigned at = 1;; at++) {
        *len = strcspn(subject, ".");
        if (at == number)
            return subject;
        if (subject[*len] == '\0')
            return NULL;
        subject += *len + 1;
    }
}

const char *message_key_find(const struct message_key *key, const struct message *msg,
                             size_t *len) {
    const char *text;
    switch (key->kind) {
    case MESSAGE_KEY_SUBJECT:
        *len = strlen(msg->subject);
        return msg->subject;
    case MESSAGE_KEY_TOKEN:
        return token_of(msg->subject, key->token, len);
    case MESSAGE_KEY_HEADER_VALUE:
        text = message_header(msg, key->header);
        *len = text != NULL ? strlen(text) : 0;
        return text;
    default:
        *len = 0;
        return NULL;
    }
}
