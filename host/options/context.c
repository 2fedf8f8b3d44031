/* SPDX-License-Identifier: Apache-2.0 */
#include "host/options/context.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/file.h"
#include "host/base/json_scan.h"
#include "host/base/nearest.h"

#define NAMES_MAX 10 /* that a message lists */

/* ---- where they are ---- */

/* $XDG_CONFIG_HOME/nats or ~/.config/nats; false: there is no home, or it is too long. */
static bool find_folder(char out[PATH_MAX]) {
    const char *folder = getenv("XDG_CONFIG_HOME"), *below = "";
    if (folder == NULL || folder[0] == '\0') {
        const struct passwd *user = getenv("HOME") == NULL ? getpwuid(geteuid()) : NULL;
        folder = user != NULL ? user->pw_dir : getenv("HOME");
        below = "/.config";
    }
    return folder != NULL && folder[0] != '\0' &&
           snprintf(out, PATH_MAX, "%s%s/nats", folder, below) < PATH_MAX;
}

static bool ends_in_json(const char *name) {
    size_t len = strlen(name);
    return len > 5 && strcmp(name + len - 5, ".json") == 0;
}

/* Names the contexts that there are. */
static int fail_unknown(const struct parser *p, const struct context *context,
                        const char *folder) {
    char path[PATH_MAX], names[NAMES_MAX][64], list[NAMES_MAX * 66] = "";
    struct nearest nearest = nearest_to(context->name);
    size_t count = 0;
    DIR *dir =
        snprintf(path, sizeof(path), "%s/context", folder) < PATH_MAX ? opendir(path) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (count == NAMES_MAX || len >= sizeof(names[0]) || !ends_in_json(entry->d_name))
            continue;
        snprintf(names[count], sizeof(names[0]), "%.*s", (int)len - 5, entry->d_name);
        nearest_try(&nearest, names[count]);
        strcat(list, count++ > 0 ? ", " : "");
        strcat(list, names[count - 1]);
    }
    if (dir != NULL)
        closedir(dir);
    if (nearest.best != NULL)
        return options_fail(p, "there is no context %s (%s); did you mean %s?", context->name,
                            context->path, nearest.best);
    return options_fail(p, "there is no context %s (%s); %s%s", context->name, context->path,
                        count > 0 ? "there are " : "`nats context add` makes one", list);
}

/* ---- reading ---- */

/* *out is the whole file, to be wiped and freed; or a negative errno. */
static int read_file(const char *path, char **out) {
    size_t len;
    *out = calloc(1, CONTEXT_SIZE);
    int rc = *out != NULL ? file_read(path, *out, CONTEXT_SIZE, &len) : -ENOMEM;
    if (rc < 0) {
        if (*out != NULL)
            explicit_bzero(*out, CONTEXT_SIZE);
        free(*out);
        *out = NULL;
    }
    return rc;
}

/* The name in context.txt; false: none is selected. */
static bool find_selected(const char *folder, char *out, size_t size) {
    char path[PATH_MAX], *text;
    if (snprintf(path, sizeof(path), "%s/context.txt", folder) >= PATH_MAX ||
        read_file(path, &text) < 0)
        return false;
    char *from = text + strspn(text, " \t\r\n");
    snprintf(out, size, "%.*s", (int)strcspn(from, " \t\r\n"), from);
    free(text);
    return out[0] != '\0';
}

/* Finds its file; *found: there is one to be read. */
static int locate(struct parser *p, const char *name, bool optional, struct context *out,
                  char folder[PATH_MAX], bool *found) {
    bool selected = strcmp(name, CONTEXT_SELECTED) == 0;
    snprintf(out->name, sizeof(out->name), "%s", name);
    *found = true;
    folder[0] = '\0';
    if (!selected && ends_in_json(name)) {
        snprintf(out->path, sizeof(out->path), "%s", name);
        return 0;
    }
    if (!find_folder(folder)) {
        *found = false;
        return optional ? 0 : options_fail(p, "the context %s: HOME is not set", name);
    }
    if (selected && !find_selected(folder, out->name, sizeof(out->name))) {
        *found = false;
        return optional
                   ? 0
                   : options_fail(
                         p, "no context is selected: `nats context select NAME` selects one");
    }
    if (strpbrk(out->name, "/\\") != NULL || strstr(out->name, "..") != NULL)
        return options_fail(p, "%s is not the name of a context, nor a file *.json", out->name);
    if (snprintf(out->path, sizeof(out->path), "%s/context/%s.json", folder, out->name) >=
        PATH_MAX)
        return options_fail(p, "the name of the context is too long");
    return 0;
}

/* A member that we read: a text, true, false or null. What is taken for absent because it is
 * something else would lead to another server, or as somebody else. */
static int check_member(struct parser *p, const struct context *context,
                        const struct json_member *member) {
    static const char *const ours[] = {
        "url",
        "token",
        "user",
        "password",
        "creds",
        "nkey",
        "cert",
        "key",
        "ca",
        "user_jwt",
        "user_seed",
        "tls_first",
        "inbox_prefix",
        "jetstream_domain",
        "jetstream_api_prefix",
    };
    if (strchr("\"tfn", *member->value) != NULL)
        return 0;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strcmp(member->name, ours[i]) == 0)
            return options_fail(p, "the context %s: %s is no text: mend %s", context->name,
                                member->name, context->path);
    return 0;
}

int context_open(struct parser *p, const char *name, bool optional, struct context *out) {
    char folder[PATH_MAX];
    bool found;
    memset(out, 0, sizeof(*out));
    int rc = locate(p, name, optional, out, folder, &found);
    if (rc != 0 || !found)
        return rc;
    rc = read_file(out->path, &out->text);
    if (rc == -ENOENT && folder[0] != '\0')
        return fail_unknown(p, out, folder);
    if (rc < 0)
        return options_fail(p, "cannot read the context %s: %s: %s", out->name, out->path,
                            file_reason(rc));
    const char *at = out->text, *end = at + strlen(at);
    struct json_member member;
    for (rc = json_first_member(&at, end, &member); rc == 1;
         rc = json_next_member(&at, end, &member)) {
        int fault = check_member(p, out, &member);
        if (fault != 0)
            return fault;
    }
    return rc == 0 ? 0
                   : options_fail(p, "the context %s is no JSON object: mend %s", out->name,
                                  out->path);
}

void context_close(struct context *context) {
    if (context->text != NULL)
        explicit_bzero(context->text, CONTEXT_SIZE);
    free(context->text);
    context->text = NULL;
}

char *context_field(const struct context *context, const char *name) {
    const char *at = context->text, *end = at + strlen(at);
    struct json_member member;
    char *found = NULL;
    for (int rc = json_first_member(&at, end, &member); rc == 1 && found == NULL;
         rc = json_next_member(&at, end, &member)) {
        if (strcmp(member.name, name) != 0)
            continue;
        size_t size = (size_t)(member.end - member.value) + 1;
        found = calloc(1, size + 1);
        if (found == NULL)
            return NULL;
        if (json_read_string(member.value, member.end, found, size) == NULL)
            snprintf(found, size + 1, "%s", *member.value == 't' ? "1" : "");
        if (found[0] == '\0') {
            free(found);
            return NULL;
        }
    }
    return found;
}
