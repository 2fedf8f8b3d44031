/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/identity.h"

#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define VERSION_CHARS NAME_CHARS ".+"
#define NAME_LENGTH 64

static bool consists_of(const char *text, const char *allowed) {
    size_t len = strlen(text);
    return len > 0 && len <= NAME_LENGTH && strspn(text, allowed) == len;
}

bool identity_name_ok(const char *name) {
    return consists_of(name, NAME_CHARS);
}

bool identity_version_ok(const char *version) {
    return consists_of(version, VERSION_CHARS);
}

char *identity_name_from_path(const char *path) {
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    if (name == NULL)
        return NULL;
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name)
        *dot = '\0';
    if (strlen(name) > NAME_LENGTH)
        name[NAME_LENGTH] = '\0';
    for (char *at = name; *at != '\0'; at++)
        if (strchr(NAME_CHARS, *at) == NULL)
            *at = '_';
    return name;
}
