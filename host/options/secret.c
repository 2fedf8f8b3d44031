/* SPDX-License-Identifier: Apache-2.0 */
#include "host/options/secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "host/base/file.h"
#include "host/dial/keys.h"

#define FILE_SIZE 65536

void secret_free(char *value) {
    if (value != NULL)
        explicit_bzero(value, strlen(value));
    free(value);
}

/* Takes `text`, which may be NULL: out of memory. */
static int replace(struct parser *p, char **value, char *text) {
    if (text == NULL)
        return options_fail_memory(p);
    secret_free(*value);
    *value = text;
    return 0;
}

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* ---- paths ---- */

/* "~/x" and "$NAME/x", as the tool does; a variable that is not set is empty. */
static char *expand(const char *path) {
    char *out = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&out, &size);
    if (file == NULL)
        return NULL;
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && getenv("HOME") != NULL)
        fputs(getenv("HOME"), file), path++;
    while (*path != '\0') {
        size_t braces = path[0] == '$' && path[1] == '{';
        const char *name = path + 1 + braces;
        size_t len = 0;
        while (path[0] == '$' && (isalnum((unsigned char)name[len]) || name[len] == '_'))
            len++;
        if (len == 0 || (braces && name[len] != '}')) {
            fputc(*path++, file);
            continue;
        }
        char variable[128];
        snprintf(variable, sizeof(variable), "%.*s", (int)len, name);
        fputs(getenv(variable) != NULL ? getenv(variable) : "", file);
        path = name + len + braces;
    }
    bool ok = !ferror(file);
    if (fclose(file) == 0 && ok)
        return out;
    free(out);
    return NULL;
}

/* ---- texts ---- */

static void cut_blanks(char *text) {
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
}

int secret_read_file(struct parser *p, const char *label, const char *path, char **out) {
    size_t len;
    char *text = calloc(1, FILE_SIZE);
    int rc = text != NULL ? file_read(path, text, FILE_SIZE, &len) : -ENOMEM;
    if (rc < 0) {
        secret_free(text);
        return options_fail(p, "%s: cannot read %s: %s", label, path, file_reason(rc));
    }
    cut_blanks(text);
    *out = text;
    return 0;
}

/* The text behind "data:;base64,"; NULL: it is none. */
static char *decode(const char *base64) {
    size_t len = strlen(base64);
    unsigned char *out = calloc(1, len / 4 * 3 + 4);
    int decoded = -1;
    if (out != NULL && len % 4 == 0 && len <= FILE_SIZE)
        decoded = EVP_DecodeBlock(out, (const unsigned char *)base64, (int)len);
    size_t padding = len > 2 ? (size_t)(base64[len - 1] == '=') + (base64[len - 2] == '=') : 0;
    /* The bytes of the padding are zeros; others would cut the secret. */
    if (decoded < 0 || strlen((char *)out) + padding != (size_t)decoded) {
        free(out);
        return NULL;
    }
    return (char *)out;
}

/* What a URI stands for; *out stays NULL for what is none. */
static int read_uri(struct parser *p, const char *label, const char *uri, char **out) {
    if (begins_with(uri, "file://"))
        return secret_read_file(p, label, uri + strlen("file://"), out);
    if (begins_with(uri, "env://")) {
        const char *name = uri + strlen("env://"), *value = getenv(name);
        if (value == NULL || value[0] == '\0')
            return options_fail(p, "%s: the variable %s is not set", label, name);
        *out = strdup(value);
        return *out != NULL ? 0 : options_fail_memory(p);
    }
    if (begins_with(uri, "data:;base64,")) {
        *out = decode(uri + strlen("data:;base64,"));
        return *out != NULL ? 0 : options_fail(p, "%s: this is not base64", label);
    }
    if (begins_with(uri, "op://") || begins_with(uri, "nsc://") || begins_with(uri, "data:"))
        return options_fail(p,
                            "%s: a secret in %.*s... cannot be read; file://, env:// and "
                            "data:;base64, can",
                            label, (int)strcspn(uri, ":") + 1, uri);
    return 0;
}

int secret_resolve(struct parser *p, const char *label, enum secret_form form, char **value) {
    char *text = NULL;
    bool is_path = form == SECRET_KEYS || form == SECRET_FILE;
    if (form == SECRET_NO)
        return 0;
    if (is_path && begins_with(*value, "file://"))
        return replace(p, value, expand(*value + strlen("file://")));
    int rc = read_uri(p, label, *value, &text);
    if (rc != 0)
        return rc;
    if (text == NULL)
        return is_path ? replace(p, value, expand(*value)) : 0;
    if (form == SECRET_TEXT)
        return replace(p, value, text);
    if (form == SECRET_FILE) {
        secret_free(text);
        return options_fail(p, "%s: the path of a file is needed here", label);
    }
    char *all = NULL;
    if (asprintf(&all, KEYS_INLINE "%s", text) < 0)
        all = NULL;
    secret_free(text);
    return replace(p, value, all);
}
